/* See nic.h: what the driver reads of what has passed ("Statistics Registers"). */
#include "guest/devices/e1000/nic.h"

#define CHECKSUM 4u  /* bytes of the wire's own: lengths have them */
#define SHORTEST 64u /* with these */

/* The registers, and those of 64 bits, whose upper half comes behind. All are read and forgotten at
 * once; the latter when their upper half is read. */
static const struct {
    uint16_t at;
    uint8_t count; /* enum nic_count */
    bool wide;
} registers[] = {
    {0x4010, NIC_IN_MISSED, false},     {0x405c, NIC_IN_SIZE, false},
    {0x4060, NIC_IN_SIZE + 1, false},   {0x4064, NIC_IN_SIZE + 2, false},
    {0x4068, NIC_IN_SIZE + 3, false},   {0x406c, NIC_IN_SIZE + 4, false},
    {0x4070, NIC_IN_SIZE + 5, false},   {0x4074, NIC_IN_GOOD, false},
    {0x4078, NIC_IN_BROADCAST, false},  {0x407c, NIC_IN_MULTICAST, false},
    {0x4080, NIC_OUT_GOOD, false},      {0x4088, NIC_IN_GOOD_BYTES, true},
    {0x4090, NIC_OUT_GOOD_BYTES, true}, {0x40a0, NIC_IN_NO_BUFFERS, false},
    {0x40ac, NIC_IN_LONG, false},       {0x40c0, NIC_IN_ALL_BYTES, true},
    {0x40c8, NIC_OUT_ALL_BYTES, true},  {0x40d0, NIC_IN_ALL, false},
    {0x40d4, NIC_OUT_ALL, false},       {0x40d8, NIC_OUT_SIZE, false},
    {0x40dc, NIC_OUT_SIZE + 1, false},  {0x40e0, NIC_OUT_SIZE + 2, false},
    {0x40e4, NIC_OUT_SIZE + 3, false},  {0x40e8, NIC_OUT_SIZE + 4, false},
    {0x40ec, NIC_OUT_SIZE + 5, false},  {0x40f0, NIC_OUT_MULTICAST, false},
    {0x40f4, NIC_OUT_BROADCAST, false}, {0x40f8, NIC_OUT_CUT, false},
};

/* The counter's value; upper half or not. With the lock that it is under. */
static uint32_t take(uint64_t *count, bool wide, bool upper)
{
    uint64_t value = *count;

    if (wide && !upper)
        return (uint32_t)value;
    *count = 0;
    return upper ? (uint32_t)(value >> 32) : (uint32_t)MIN(value, (uint64_t)UINT32_MAX);
}

uint32_t nic_statistic(struct nic *n, unsigned at)
{
    for (unsigned i = 0; i < ARRAY_SIZE(registers); i++) {
        bool upper = registers[i].wide && at == registers[i].at + 4u;
        uint32_t value;

        if (at != registers[i].at && !upper)
            continue;
        net_port_lock(n->port);
        value = take(&n->s.count[registers[i].count], registers[i].wide, upper);
        net_port_unlock(n->port);
        return value;
    }
    return 0;
}

/* Which of the counters of sizes. */
static unsigned size_class(uint32_t length)
{
    static const uint16_t most[] = {64, 127, 255, 511, 1023};
    unsigned i = 0;

    while (i < ARRAY_SIZE(most) && length > most[i])
        i++;
    return i;
}

static uint32_t on_the_wire(uint32_t length)
{
    return MAX(length + CHECKSUM, SHORTEST);
}

void nic_count_in(struct nic *n, const struct net_frame *f, enum net_drop why)
{
    const uint8_t *to = f->piece[0].data;
    uint32_t length = on_the_wire(f->length);
    uint64_t *count = n->s.count;

    count[NIC_IN_ALL]++;
    count[NIC_IN_ALL_BYTES] += length;
    if (why == NET_DROP_FULL) {
        count[NIC_IN_MISSED]++;
        count[NIC_IN_NO_BUFFERS]++;
    }
    if (why != NET_TAKEN)
        return;
    count[NIC_IN_GOOD]++;
    count[NIC_IN_GOOD_BYTES] += length;
    count[NIC_IN_SIZE + size_class(length)]++;
    if (net_mac_is_broadcast(to))
        count[NIC_IN_BROADCAST]++;
    else if (net_mac_is_group(to))
        count[NIC_IN_MULTICAST]++;
}

/* So many frames of that length. */
static void count_sent(uint64_t *count, const uint8_t *to, uint32_t frames, uint32_t length)
{
    uint64_t bytes = (uint64_t)frames * on_the_wire(length);

    count[NIC_OUT_GOOD] += frames;
    count[NIC_OUT_ALL] += frames;
    count[NIC_OUT_GOOD_BYTES] += bytes;
    count[NIC_OUT_ALL_BYTES] += bytes;
    count[NIC_OUT_SIZE + size_class(on_the_wire(length))] += frames;
    if (net_mac_is_broadcast(to))
        count[NIC_OUT_BROADCAST] += frames;
    else if (net_mac_is_group(to))
        count[NIC_OUT_MULTICAST] += frames;
}

void nic_count_out(struct nic *n, const struct net_frame *f)
{
    const struct net_offload *o = &f->offload;
    const uint8_t *to = f->piece[0].data;
    uint64_t *count = n->s.count;
    uint32_t whole;

    if (!o->gso) {
        count_sent(count, to, 1, f->length);
        return;
    }
    whole = (f->length - o->headers - 1) / o->segment; /* segments before the last one */
    count_sent(count, to, whole, (uint32_t)o->headers + o->segment);
    count_sent(count, to, 1, f->length - whole * o->segment);
    count[NIC_OUT_CUT]++;
}
