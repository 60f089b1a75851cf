/* See nic.h: what the driver sends. */
#include "arch/x86/lib/string.h"
#include "guest/devices/e1000/nic.h"
#include "guest/net/finish.h"

/* The command is the upper byte of a descriptor's third dword, whichever kind it is. */
#define CMD_EOP      BIT(24)
#define CMD_IC       BIT(26) /* of a legacy one: insert a checksum; */
#define CMD_TSE      BIT(26) /* of another one: cut it into segments */
#define CMD_RS       BIT(27)
#define CMD_DEXT     BIT(29)
#define CMD_VLE      BIT(30)
#define TYPE(third)  ((third) >> 20 & 15)
#define TYPE_CONTEXT 0u
#define TYPE_DATA    1u

/* A context's command. */
#define CONTEXT_TCP BIT(0)
#define CONTEXT_IP4 BIT(1)

#define OPTION_IP_SUM BIT(0)
#define OPTION_SUM    BIT(1)

#define TX_DD BIT(0)

#define IP4_SIZE     20u
#define IP4_LENGTH   2u
#define IP4_CHECKSUM 10u
#define IP6_SIZE     40u
#define IP6_LENGTH   4u

struct descriptor {
    uint64_t first; /* an address, or offsets */
    uint32_t third, fourth;
};
_Static_assert(sizeof(struct descriptor) == NIC_DESCRIPTOR, "a descriptor");

/* --- headers: in the first bytes, which are ours --- */

static void put16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static uint32_t fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

/* IP's own sum, over its header. */
static bool put_ip_sum(struct nic *n, uint32_t shift, uint32_t head)
{
    const struct nic_context *c = &n->s.context;
    uint32_t start = c->ip_start + shift, end = c->ip_end + 1u + shift, field = c->ip_field + shift,
             sum = 0;

    if (end > head || start >= end || (end - start) % 2 || field + 2 > head)
        return false;
    put16(n->out.head + field, 0);
    for (uint32_t at = start; at < end; at += 2)
        sum += net_get16(n->out.head + at);
    put16(n->out.head + field, ~fold(sum));
    return true;
}

/* What others cut expects lengths as of the whole, in IP's header and in the sum that TCP's begins
 * with: this card's driver leaves both to it. */
static bool begin_segments(struct nic *n, uint32_t shift, uint32_t head, uint32_t length)
{
    const struct nic_context *c = &n->s.context;
    bool four = c->command & CONTEXT_IP4;
    uint32_t ip = c->ip_start + shift, tcp = c->start + shift, field = c->field + shift;
    uint8_t *h = n->out.head;

    if (!(c->command & CONTEXT_TCP) || ip + (four ? IP4_SIZE : IP6_SIZE) > head || tcp < ip ||
        tcp > length || field + 2 > head || length - ip > UINT16_MAX)
        return false;
    if (four) {
        put16(h + ip + IP4_LENGTH, length - ip);
    } else if (length < ip + IP6_SIZE) {
        return false;
    } else {
        put16(h + ip + IP6_LENGTH, length - ip - IP6_SIZE);
    }
    put16(h + field, fold(net_get16(h + field) + length - tcp));
    return true;
}

static bool read_offload(struct nic *n, uint32_t shift, struct net_frame *f)
{
    const struct nic_state *s = &n->s;
    const struct nic_context *c = &s->context;
    struct net_offload *o = &f->offload;
    uint32_t head = f->piece[0].length;
    bool cuts = (s->command & CMD_DEXT) && (s->command & CMD_TSE);

    if (!(s->command & CMD_DEXT) && !(s->command & CMD_IC))
        return true;
    if (cuts && !begin_segments(n, shift, head, f->length))
        return false;
    if ((s->command & CMD_DEXT) && (s->options & OPTION_IP_SUM) && !put_ip_sum(n, shift, head))
        return false;
    if ((s->command & CMD_DEXT) && !cuts && !(s->options & OPTION_SUM))
        return true;
    o->checksum = true;
    o->start = (uint16_t)(c->start + shift);
    o->field = (uint16_t)(c->field + shift);
    if (!(s->command & CMD_DEXT)) { /* its own descriptor says where */
        o->start = (uint16_t)(s->sum_start + shift);
        o->field = (uint16_t)(s->sum_field + shift);
    }
    if (!cuts)
        return true;
    o->gso = c->command & CONTEXT_IP4 ? NET_GSO_TCP4 : NET_GSO_TCP6;
    o->segment = c->segment;
    return true;
}

/* --- a frame --- */

/* All of it from offset on, as pieces behind the first one. */
static bool gather(struct nic *n, uint64_t offset)
{
    for (unsigned i = 0; i < n->s.segments; i++)
        if (!network_add(&n->out, &n->dev, n->s.segment[i].gpa, n->s.segment[i].length, &offset))
            return false;
    return true;
}

/* Its first bytes, as they are once and for all. */
static bool read_head(struct nic *n, uint32_t size)
{
    uint32_t done = 0;

    for (unsigned i = 0; i < n->s.segments && done < size; i++) {
        uint32_t part = MIN(n->s.segment[i].length, size - done);

        if (device_memory_read(&n->dev, n->s.segment[i].gpa, n->out.head + done, part) < 0)
            return false;
        done += part;
    }
    return true;
}

/* Puts the tag behind the addresses. */
static void put_tag(struct nic *n, uint32_t size)
{
    memmove(n->out.head + 2 * NET_MAC + NET_TAG, n->out.head + 2 * NET_MAC, size - 2 * NET_MAC);
    put16(n->out.head + 2 * NET_MAC, NET_TYPE_TAGGED);
    put16(n->out.head + NET_ETHER, n->s.tag);
}

static uint64_t send_good(struct nic *n, uint32_t length)
{
    uint32_t shift = n->s.tagged ? NET_TAG : 0, size = (uint32_t)MIN(length, NET_HEAD - shift);
    struct net_frame f = {
        .piece = n->out.piece, .length = length + shift, .scratch = n->out.scratch};

    if (!read_head(n, size) || !gather(n, size)) {
        net_port_refuse(n->port, NET_DROP_MALFORMED);
        return 0;
    }
    if (shift)
        put_tag(n, size);
    n->out.piece[0] = (struct net_piece){n->out.head, size + shift};
    f.count = n->out.pins + 1;
    if (!read_offload(n, shift, &f) || !net_offload_good(&f)) {
        net_port_refuse(n->port, NET_DROP_MALFORMED);
        return 0;
    }
    if (net_port_plugged(n->port))
        nic_count_out(n, &f);
    return net_port_send(n->port, &f);
}

/* The frame whose descriptors have all come. */
static void send_frame(struct nic *n)
{
    uint64_t length = 0, work = 0;

    for (unsigned i = 0; i < n->s.segments; i++)
        length += n->s.segment[i].length;
    if (n->s.bad || length > NET_MAX_FRAME - NET_TAG)
        net_port_refuse(n->port, n->s.bad ? NET_DROP_MALFORMED : NET_DROP_LONG);
    else if (length < NET_ETHER)
        net_port_refuse(n->port, NET_DROP_SHORT);
    else
        work = send_good(n, (uint32_t)length);
    network_unpin(&n->out, &n->dev);
    n->work -= MIN(n->work, work);
    n->s.segments = n->s.begun = n->s.bad = 0;
}

/* --- descriptors --- */

static void read_context(struct nic *n, const struct descriptor *d)
{
    n->s.context = (struct nic_context){
        .ip_start = (uint8_t)d->first,
        .ip_field = (uint8_t)(d->first >> 8),
        .ip_end = (uint16_t)(d->first >> 16),
        .start = (uint8_t)(d->first >> 32),
        .field = (uint8_t)(d->first >> 40),
        .command = (uint8_t)(d->third >> 24),
        .segment = (uint16_t)(d->fourth >> 16),
    };
}

/* What a frame's first descriptor says is so for all of it, but for its tag, which the last one
 * has; of legacy ones the last one has it all. */
static void add_data(struct nic *n, const struct descriptor *d)
{
    struct nic_state *s = &n->s;
    bool extended = d->third & CMD_DEXT;
    uint32_t length = d->third & (extended ? 0xfffff : 0xffff);

    if (!s->begun || !extended) {
        s->begun = 1;
        s->command = d->third;
        s->options = (uint8_t)(d->fourth >> 8);
        s->sum_field = (uint8_t)(d->third >> 16);
        s->sum_start = (uint8_t)(d->fourth >> 8);
    }
    if (s->segments == NIC_SEGMENTS)
        s->bad = 1;
    else if (length > 0)
        s->segment[s->segments++] = (struct nic_segment){.gpa = d->first, .length = length};
    if (!(d->third & CMD_EOP))
        return;
    s->tagged = (d->third & CMD_VLE) && (s->ctrl & CTRL_VME);
    s->tag = (uint16_t)(d->fourth >> 16);
    send_frame(n);
}

/* False: there is no such memory, and nothing goes on until the driver says where it is. */
static bool take(struct nic *n)
{
    struct nic_ring *r = &n->s.out_ring;
    uint64_t at = nic_descriptor(r, r->head);
    struct descriptor d;
    uint32_t done;

    if (device_memory_read(&n->dev, at, &d, sizeof(d)) < 0)
        return false;
    if (!(d.third & CMD_DEXT) || TYPE(d.third) == TYPE_DATA)
        add_data(n, &d);
    else if (TYPE(d.third) == TYPE_CONTEXT)
        read_context(n, &d);
    r->head = (r->head + 1) % nic_ring_size(r);
    done = (uint32_t)(d.fourth | TX_DD);
    return !(d.third & CMD_RS) || device_memory_write(&n->dev, at + 12, &done, sizeof(done)) == 0;
}

static bool is_work(const struct nic *n)
{
    const struct nic_ring *r = &n->s.out_ring;
    uint32_t size = nic_ring_size(r);

    return (n->s.tctl & TCTL_EN) && r->head < size && r->tail < size && r->head != r->tail;
}

/* However often the guest asks for it in one exit, what it may keep the processor busy with is
 * renewed by the timer alone. */
static void look_again(struct nic *n)
{
    bool rests = n->left > 0 && n->work > 0; /* for its rate alone */

    if (n->s.waiting)
        device_timer_set(&n->dev, NIC_TIMER_GO_ON,
                         device_now(&n->dev) + (rests ? net_port_wait(n->port) : 0));
}

void nic_send(struct nic *n)
{
    bool good = true, any = false;

    if (n->s.waiting)
        return;
    while (good && is_work(n) && n->left > 0 && n->work > 0 && net_port_wait(n->port) == 0) {
        n->left--;
        good = take(n);
        any = true;
    }
    if (!good)
        n->s.tctl &= (uint32_t)~TCTL_EN;
    n->s.waiting = is_work(n);
    if (any) {
        net_port_sent(n->port);
        nic_cause(n, ICR_TXDW | (n->s.waiting ? 0 : ICR_TXQE));
    }
    look_again(n);
}

void nic_go_on(struct nic *n)
{
    n->left = NIC_AT_ONCE;
    n->work = NIC_WORK;
    n->s.waiting = 0;
    nic_send(n);
}
