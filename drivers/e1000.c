/* See e1000.h. Names are the manual's. */
#include "drivers/e1000.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"

#define CTRL         0x0000
#define CTRL_NO_GIO  BIT(2) /* GIO Master Disable */
#define CTRL_LRST    BIT(3)
#define CTRL_ASDE    BIT(5)
#define CTRL_SLU     BIT(6)
#define CTRL_ILOS    BIT(7)
#define CTRL_FORCE   (BIT(11) | BIT(12)) /* speed, duplex */
#define CTRL_RST     BIT(26)
#define CTRL_PAUSE   (BIT(27) | BIT(28))
#define CTRL_VME     BIT(30)
#define CTRL_PHY     BIT(31)
#define STATUS       0x0008
#define STATUS_LU    BIT(1)
#define STATUS_GIO   BIT(19)
#define EERD         0x0014
#define EERD_START   BIT(0)
#define CTRL_EXT     0x0018
#define CTRL_EXT_DRV BIT(28) /* a driver is there: management keeps off */
#define FCAL         0x0028
#define FCAH         0x002c
#define FCT          0x0030
#define ICR          0x00c0
#define ITR          0x00c4
#define ICS          0x00c8
#define IMS          0x00d0
#define IMC          0x00d8
#define CAUSE_LSC    BIT(2)
#define CAUSE_RXDMT  BIT(4)
#define CAUSE_RXO    BIT(6)
#define CAUSE_RXT    BIT(7)
#define CAUSES       (CAUSE_LSC | CAUSE_RXDMT | CAUSE_RXO | CAUSE_RXT)
#define RCTL         0x0100
#define RCTL_EN      BIT(1)
#define RCTL_UPE     BIT(3)
#define RCTL_MPE     BIT(4)
#define RCTL_LPE     BIT(5)
#define RCTL_BAM     BIT(15)
#define RCTL_SECRC   BIT(26)
#define FCTTV        0x0170
#define TCTL         0x0400
#define TCTL_EN      BIT(1)
#define TCTL_VALUE   (BIT(3) | 0x0fu << 4 | 0x40u << 12 | BIT(24)) /* PSP, CT, COLD, RTLC */
#define TIPG         0x0410
#define TIPG_VALUE   0x00602008
#define RDBAL        0x2800
#define RDBAH        0x2804
#define RDLEN        0x2808
#define RDH          0x2810
#define RDT          0x2818
#define RDTR         0x2820
#define RADV         0x282c
#define TDBAL        0x3800
#define TDBAH        0x3804
#define TDLEN        0x3808
#define TDH          0x3810
#define TDT          0x3818
#define TIDV         0x3820
#define TXDCTL       0x3828
#define TXDCTL_DESC  BIT(22)
#define RFCTL        0x5008
#define RAL          0x5400
#define RAH          0x5404
#define RAH_AV       BIT(31)

#define ITR_UNIT_NS 256
#define ITR_RATE    8000 /* interrupts a second */

#define RX_DD  BIT(0)
#define RX_EOP BIT(1)
#define RX_BAD (BIT(0) | BIT(1) | BIT(2) | BIT(4) | BIT(7)) /* CE, SE, SEQ, CXE, RXE */
#define TX_EOP BIT(0)
#define TX_FCS BIT(1)
#define TX_RS  BIT(3)
#define TX_DD  BIT(0)

#define RESET_MS 20
#define QUIET_MS 100

static const struct e1000_model models[] = {
    {0x100e, "82540EM", 9216 + NET_CARD_HEADER, 0},
    {0x100f, "82545EM", 9216 + NET_CARD_HEADER, E1000_NOT_TRIED},
    {0x10d3, "82574L", 9000 + NET_CARD_HEADER, E1000_PCIE},
    {0x10f6, "82574LA", 9000 + NET_CARD_HEADER, E1000_PCIE | E1000_NOT_TRIED},
};

const struct e1000_model *e1000_find(uint16_t device)
{
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
        if (models[i].device == device)
            return &models[i];
    return NULL;
}

static struct e1000 *of(struct net_card *c)
{
    return CONTAINER_OF(c, struct e1000, card);
}

static uint32_t get(const struct e1000 *e, unsigned reg)
{
    return io_read32(&e->registers, reg);
}

static void put(const struct e1000 *e, unsigned reg, uint64_t value)
{
    io_write32(&e->registers, reg, (uint32_t)value);
}

static bool wait_clear(const struct e1000 *e, unsigned reg, uint64_t bits, unsigned ms)
{
    uint64_t until = rdtsc() + tsc_hz / 1000 * ms;

    while (get(e, reg) & bits)
        if (rdtsc() >= until)
            return false;
    return true;
}

/* What is written before is in memory before the card is told. */
static void publish(void)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

/* --- life --- */

/* Some models' reset leaves rings and masks as they are: so that is done by hand. */
static void stop(struct net_card *c)
{
    struct e1000 *e = of(c);

    put(e, IMC, UINT32_MAX);
    put(e, RCTL, 0);
    put(e, TCTL, 0);
    (void)get(e, STATUS);
    tsc_delay_us(10000); /* what it is writing now, it has written then */
    if (e->model->flags & E1000_PCIE) {
        put(e, CTRL, get(e, CTRL) | CTRL_NO_GIO);
        (void)wait_clear(e, STATUS, STATUS_GIO, QUIET_MS);
    }
    put(e, CTRL, get(e, CTRL) | CTRL_RST);
    tsc_delay_us(5000); /* until its EEPROM has been read */
    (void)wait_clear(e, CTRL, CTRL_RST, RESET_MS);
    put(e, IMC, UINT32_MAX);
    (void)get(e, ICR);
    for (unsigned reg = RDBAL; reg <= RDLEN; reg += 4) {
        put(e, reg, 0);
        put(e, reg + TDBAL - RDBAL, 0);
    }
    put(e, RDH, 0);
    put(e, RDT, 0);
    put(e, TDH, 0);
    put(e, TDT, 0);
}

static bool is_address(const uint8_t *mac)
{
    uint8_t any = 0;

    for (unsigned i = 0; i < 6; i++)
        any |= mac[i];
    return any && !(mac[0] & 1);
}

static bool read_word(const struct e1000 *e, unsigned n, uint16_t *out)
{
    bool pcie = e->model->flags & E1000_PCIE;
    uint32_t done = pcie ? BIT(1) : BIT(4), value;
    uint64_t until = rdtsc() + tsc_hz / 100;

    put(e, EERD, n << (pcie ? 2 : 8) | EERD_START);
    do {
        value = get(e, EERD);
        if (value & done) {
            *out = (uint16_t)(value >> 16);
            return true;
        }
    } while (rdtsc() < until);
    return false;
}

static int read_address(struct e1000 *e)
{
    uint32_t low = get(e, RAL), high = get(e, RAH);
    uint16_t word[3] = {(uint16_t)low, (uint16_t)(low >> 16), (uint16_t)high};
    bool good = high & RAH_AV;

    memcpy(e->card.mac, word, sizeof(word));
    if (good && is_address(e->card.mac))
        return 0;
    for (unsigned i = 0; i < 3; i++)
        if (!read_word(e, i, &word[i]))
            return -EIO;
    memcpy(e->card.mac, word, sizeof(word));
    return is_address(e->card.mac) ? 0 : -EIO;
}

int e1000_init(struct e1000 *e)
{
    if (get(e, STATUS) == UINT32_MAX)
        return -EIO;
    e->card.ops = &e1000_ops;
    e->card.model = e->model->name;
    e->card.tried = !(e->model->flags & E1000_NOT_TRIED);
    e->card.longest = e->model->longest;
    stop(&e->card);
    return read_address(e);
}

static void ring_init(struct e1000_ring *r)
{
    for (unsigned i = 0; i < E1000_RING; i++)
        r->descriptor[i] =
            (struct e1000_descriptor){.address = r->page_at[i / 2] + i % 2 * E1000_BUFFER};
    r->next = r->last = 0;
}

static int start(struct net_card *c)
{
    struct e1000 *e = of(c);
    uint32_t control = get(e, CTRL);

    if (get(e, STATUS) == UINT32_MAX || (control & CTRL_RST))
        return -EIO;
    ring_init(&e->in);
    ring_init(&e->out);
    e->skips = false;
    control &= (uint32_t) ~(CTRL_LRST | CTRL_ILOS | CTRL_FORCE | CTRL_PAUSE | CTRL_VME | CTRL_PHY |
                            CTRL_NO_GIO);
    put(e, CTRL, control | CTRL_SLU | CTRL_ASDE);
    if (e->model->flags & E1000_PCIE) {
        put(e, CTRL_EXT, get(e, CTRL_EXT) | CTRL_EXT_DRV);
        put(e, TXDCTL, get(e, TXDCTL) | TXDCTL_DESC);
        put(e, RFCTL, 0);
    }
    put(e, FCAL, 0); /* nobody's pauses are heard: the switch drops instead */
    put(e, FCAH, 0);
    put(e, FCT, 0);
    put(e, FCTTV, 0);
    put(e, ITR, 1000000000 / ITR_UNIT_NS / ITR_RATE);
    put(e, RDTR, 0);
    put(e, RADV, 0);
    put(e, TIDV, 0);
    put(e, RDBAL, (uint32_t)e->in.at);
    put(e, RDBAH, e->in.at >> 32);
    put(e, RDLEN, PAGE_SIZE);
    put(e, TDBAL, (uint32_t)e->out.at);
    put(e, TDBAH, e->out.at >> 32);
    put(e, TDLEN, PAGE_SIZE);
    put(e, TIPG, TIPG_VALUE);
    put(e, TCTL, TCTL_VALUE | TCTL_EN);
    put(e, RCTL,
        RCTL_EN | RCTL_UPE | RCTL_MPE | RCTL_BAM | RCTL_SECRC |
            (c->longest > 1500 + NET_CARD_HEADER ? RCTL_LPE : 0));
    publish();
    put(e, RDT, E1000_RING - 1); /* head and tail at the same place would be none */
    put(e, IMS, CAUSES);
    return 0;
}

/* --- sending --- */

static unsigned after(unsigned n)
{
    return (n + 1) % E1000_RING;
}

static unsigned settle(struct net_card *c)
{
    struct e1000_ring *r = &of(c)->out;

    for (; r->last != r->next && (r->descriptor[r->last].status & TX_DD); r->last = after(r->last))
        c->gone++;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return (r->next + E1000_RING - r->last) % E1000_RING;
}

static uint8_t *buffer_of(const struct e1000_ring *r, unsigned n)
{
    return r->page[n / 2] + n % 2 * E1000_BUFFER;
}

/* The frame's pieces behind one another, in buffers that are free. */
static void copy(const struct e1000_ring *r, const struct net_piece *piece, unsigned count)
{
    unsigned n = r->next;
    uint32_t used = 0;

    for (unsigned i = 0; i < count; i++) {
        const uint8_t *data = piece[i].data;

        for (uint32_t left = piece[i].length, size; left; left -= size, data += size) {
            if (used == E1000_BUFFER) {
                n = after(n);
                used = 0;
            }
            size = MIN(left, E1000_BUFFER - used);
            memcpy(buffer_of(r, n) + used, data, size);
            used += size;
        }
    }
}

static bool send(struct net_card *c, const struct net_piece *piece, unsigned count, uint32_t length)
{
    struct e1000_ring *r = &of(c)->out;
    uint32_t total = MAX(length, NET_CARD_SHORT);
    unsigned needs = (total + E1000_BUFFER - 1) / E1000_BUFFER,
             room = (r->last + E1000_RING - r->next - 1) % E1000_RING;

    if (needs > room)
        return false;
    copy(r, piece, count);
    if (length < total) /* what an earlier frame has left there is nobody's to see */
        memset(buffer_of(r, r->next) + length, 0, total - length);
    for (uint32_t left = total, size; left; left -= size, r->next = after(r->next)) {
        size = MIN(left, E1000_BUFFER);
        r->descriptor[r->next] = (struct e1000_descriptor){
            .address = r->page_at[r->next / 2] + r->next % 2 * E1000_BUFFER,
            .length = (uint16_t)size,
            .command = (uint8_t)(TX_FCS | TX_RS | (size == left ? TX_EOP : 0))};
    }
    return true;
}

static void kick(struct net_card *c)
{
    struct e1000 *e = of(c);

    publish();
    put(e, TDT, e->out.next);
}

/* --- what comes: nothing that a descriptor says is believed --- */

static unsigned causes(struct net_card *c)
{
    uint32_t icr = get(of(c), ICR);

    if (icr == 0 || icr == UINT32_MAX)
        return 0;
    return NET_CARD_CAUSE_ANY | (icr & CAUSE_LSC ? NET_CARD_CAUSE_LINK : 0) |
           (icr & CAUSE_RXO ? NET_CARD_CAUSE_OVERRUN : 0);
}

/* Adds one buffer to a frame: whether it is a good one still. */
static bool add_piece(const struct e1000_ring *r, unsigned n, uint16_t length, uint8_t errors,
                      struct net_arrival *a)
{
    if ((errors & RX_BAD) || length == 0 || length > E1000_BUFFER || a->count == NET_CARD_PIECES)
        return false;
    a->piece[a->count++] = (struct net_piece){buffer_of(r, n), length};
    a->length += length;
    return true;
}

/* How many descriptors a frame has that is there as a whole; 0: it is not. One that has more than
 * it may is cut off. */
static unsigned whole_frame(const struct e1000_ring *r, bool *ends)
{
    unsigned n = r->next;

    *ends = false;
    for (unsigned count = 1; count <= NET_CARD_PIECES; count++, n = after(n)) {
        uint8_t status = r->descriptor[n].status;

        if (!(status & RX_DD))
            return 0;
        if (status & RX_EOP) {
            *ends = true;
            return count;
        }
    }
    return NET_CARD_PIECES;
}

static int take(struct net_card *c, struct net_arrival *a)
{
    struct e1000 *e = of(c);
    struct e1000_ring *r = &e->in;
    bool ends, good = !e->skips;
    unsigned count = whole_frame(r, &ends);

    /* One is always ours, so that the ring is never taken for empty. */
    if (count == 0 || (r->next + E1000_RING - r->last) % E1000_RING + count >= E1000_RING)
        return 0;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    *a = (struct net_arrival){0};
    for (unsigned i = 0; i < count; i++, r->next = after(r->next)) {
        volatile struct e1000_descriptor *d = &r->descriptor[r->next];

        good = add_piece(r, r->next, d->length, d->errors, a) && good;
    }
    e->skips = !ends;
    return good && ends && a->length >= 14 && a->length <= c->longest ? 1 : -EIO;
}

static void give(struct net_card *c)
{
    struct e1000 *e = of(c);
    struct e1000_ring *r = &e->in;

    for (; r->last != r->next; r->last = after(r->last))
        r->descriptor[r->last] = (struct e1000_descriptor){.address = r->page_at[r->last / 2] +
                                                                      r->last % 2 * E1000_BUFFER};
    publish();
    put(e, RDT, (r->last + E1000_RING - 1) % E1000_RING);
}

/* --- what it is like --- */

static bool link(struct net_card *c)
{
    uint32_t status = get(of(c), STATUS);

    return status != UINT32_MAX && (status & STATUS_LU);
}

static bool gone(struct net_card *c)
{
    return get(of(c), STATUS) == UINT32_MAX;
}

static void raise(struct net_card *c)
{
    put(of(c), IMS, CAUSE_LSC);
    put(of(c), ICS, CAUSE_LSC);
}

const struct net_card_ops e1000_ops = {
    .prepare = e1000_prepare,
    .start = start,
    .stop = stop,
    .send = send,
    .kick = kick,
    .settle = settle,
    .causes = causes,
    .take = take,
    .give = give,
    .link = link,
    .gone = gone,
    .raise = raise,
};
