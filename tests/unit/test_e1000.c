/* links: drivers/e1000.c drivers/e1000_ring.c drivers/e1000_models.c drivers/net_card.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
#include "arch/x86/lib/errno.h"
#include "drivers/e1000.h"
#include "tests/unit/net_card_user.h"

/* --- a model of an 82540EM, of an 82574L, or of an 82576 --- */

struct legacy {
    uint64_t address;
    uint16_t length;
    uint8_t checksum, command, status, errors;
    uint16_t special;
};

struct advanced_out {
    uint64_t address;
    uint32_t command, status;
};

/* Read by the card: an address, and 0. */
struct advanced_in {
    uint32_t info[2], status;
    uint16_t length, vlan;
};

static struct {
    uint32_t reg[0x8000 / 4], icr, ims;
    uint16_t eeprom[3];
    bool pcie, keeps; /* keeps: its reset leaves all but itself, as Bochs' */
    bool no_eeprom, stuck_reset;
    bool igb, chipset, mulr, stuck_queue;
    bool late; /* a frame comes when its interrupt is let through again */
    unsigned resets;
    uint32_t filling;
} m;

#define REG(offset) m.reg[(offset) / 4]

static void power_on(void)
{
    uint32_t rxpbs = REG(0x2404), txpbs = REG(0x3404);

    memset(m.reg, 0, sizeof(m.reg));
    REG(0x2404) = rxpbs;
    REG(0x3404) = txpbs;
    m.icr = m.ims = 0;
    REG(0x0000) = 0x40;
    REG(0x0008) = m.igb ? 0x80080781 : 0x80080783;
    REG(0x5400) = 0x12005452;
    REG(0x5404) = 0x80005634;
}

static void *descriptor(unsigned base, unsigned n)
{
    return reach(REG(base) + 16 * (size_t)n, 16, DMA_READ | DMA_WRITE);
}

/* A descriptor of what is to be sent; whether it is a frame's last one. */
static bool send_legacy(struct sent *s)
{
    struct legacy *d = descriptor(0x3800, REG(0x3810));

    assert_true(d->length > 0 && d->address + d->length <= RAM);
    assert_int_equal(d->command & ~1, 2 | 8);
    assert_true(s->length + d->length <= sizeof(s->data));
    memcpy(s->data + s->length, reach(d->address, d->length, DMA_READ), d->length);
    s->length += d->length;
    d->status = 1;
    return d->command & 1;
}

static bool send_advanced(struct sent *s)
{
    struct advanced_out *d = descriptor(0x3800, REG(0x3810));
    uint32_t length = d->command & 0xffff;
    bool ends = d->command >> 24 & 1;

    assert_true(length > 0 && d->address + length <= RAM);
    assert_int_equal(d->command & 0xfeff0000, 0x2a300000);
    assert_true(s->length + length <= sizeof(s->data));
    memcpy(s->data + s->length, reach(d->address, length, DMA_READ), length);
    s->length += length;
    assert_true(ends ? d->status == s->length << 14 : d->status >> 14 > s->length);
    d->status |= 1;
    return ends;
}

static bool enabled(unsigned queue)
{
    return !m.igb || (REG(queue + 0x28) & 1u << 25);
}

static void transmit(void)
{
    while (!wire.mute && (REG(0x400) & 2) && enabled(0x3800) && REG(0x3810) != REG(0x3818)) {
        struct sent *s = &wire.sent[wire.sent_count % SENT];

        if (m.igb ? send_advanced(s) : send_legacy(s)) {
            assert_true(s->length >= 60);
            wire.sent[++wire.sent_count % SENT].length = 0;
        }
        REG(0x3810) = (REG(0x3810) + 1) % (REG(0x3808) / 16);
    }
}

uint64_t model_read(const struct io *r, unsigned offset, unsigned size)
{
    uint32_t value;

    assert_true(size == 4 && offset % 4 == 0 && offset < sizeof(m.reg));
    if (wire.gone)
        return UINT32_MAX;
    switch (offset) {
    case 0xc0:
        value = m.icr;
        m.icr = 0;
        return value;
    case 0x14:
        assert_false(m.chipset);
        value = REG(0x14);
        if (!m.no_eeprom && (value & 1)) {
            unsigned n = m.pcie ? value >> 2 & 0x3fff : value >> 8 & 0xff;

            assert_true(n < 3);
            return (uint32_t)m.eeprom[n] << 16 | (m.pcie ? 2 : 16);
        }
        return value;
    case 0x08:
        return REG(8) & ~(m.pcie && (REG(0) & 4) ? 1u << 19 : 0);
    default:
        return REG(offset);
    }
}

void model_write(const struct io *r, unsigned offset, unsigned size, uint64_t value)
{
    uint32_t v = (uint32_t)value;

    assert_true(size == 4 && offset % 4 == 0 && offset < sizeof(m.reg));
    if (wire.gone)
        return;
    switch (offset) {
    case 0x00:
        if (v & 1u << 26) {
            m.resets++;
            if (m.pcie)
                assert_true(v & 4); /* it has been asked to stop before */
            if (m.mulr)
                assert_true(REG(0x5bbc) & 1 << 13);
            if (!m.keeps)
                power_on();
            if (m.stuck_reset)
                REG(0) |= 1u << 26;
            return;
        }
        break;
    case 0xc8:
        m.icr |= v;
        return;
    case 0xd0:
        if (m.late)
            m.late = !arrives(pattern, 60);
        m.ims |= v;
        return;
    case 0xd8:
        m.ims &= ~v;
        return;
    case 0x2808:
    case 0x3808:
        assert_int_equal(v % 128, 0);
        break;
    case 0x2820: /* they are the old ones', or the new ones' */
    case 0x282c:
    case 0x3820:
    case 0xc4:
        assert_false(m.igb);
        break;
    case 0x20: /* its PHY negotiates when it is told, and where it is not switched off */
        assert_true(m.igb && (v >> 21 & 31) == 1);
        if (v >> 27 & 1)
            v = (v & 0xffff0000) | 0x0940;
        else if ((v & 0x1a00) == 0x1200)
            REG(8) |= 2;
        v |= 1u << 28;
        break;
    case 0x1514:
    case 0x1528:
    case 0x1680:
    case 0x1700:
    case 0x280c:
    case 0x5004:
        assert_true(m.igb);
        break;
    case 0x2828:
    case 0x3828:
        if (m.stuck_queue)
            v &= ~(1u << 25);
        break;
    case 0x2818:
        assert_true(v == 0 || (v < REG(0x2808) / 16 && enabled(0x2800)));
        break;
    case 0x3818:
        assert_true(v == 0 || (v < REG(0x3808) / 16 && enabled(0x3800)));
        REG(offset) = v;
        transmit();
        return;
    default:
        break;
    }
    REG(offset) = v;
    if (offset == 0x400)
        transmit();
}

/* One descriptor's worth, as the card writes it. False: it has none. */
static bool put(const uint8_t *data, uint16_t length, uint8_t status, uint8_t errors)
{
    unsigned head = REG(0x2810);
    struct legacy *d = descriptor(0x2800, head);

    if (!(REG(0x100) & 2) || !enabled(0x2800) || head == REG(0x2818))
        return false;
    assert_true(d->address + E1000_BUFFER <= RAM && d->status == 0);
    if (data)
        memcpy(reach(d->address, E1000_BUFFER, DMA_WRITE), data, MIN(length, E1000_BUFFER));
    if (m.igb) {
        assert_int_equal(REG(0x280c), 0x02000002);
        *(struct advanced_in *)(void *)d = (struct advanced_in){
            {0x12345678, 0x9abcdef0}, (uint32_t)errors << 24 | 0x60060 | status, length, 0};
    } else {
        d->length = length;
        d->errors = errors;
        d->status = status;
    }
    REG(0x2810) = (head + 1) % (REG(0x2808) / 16);
    m.icr |= 0x80;
    return true;
}

static bool arrives(const uint8_t *data, uint32_t length)
{
    for (uint32_t at = 0, size; at < length; at += size) {
        size = MIN(length - at, E1000_BUFFER);
        if (!put(data + at, (uint16_t)size, at + size == length ? 3 : 1, 0))
            return false;
    }
    return true;
}

/* --- the driver on it --- */

static struct e1000 the_card, *const e = &the_card;
static uint16_t device; /* what it is */
static const struct host_pci function = {.vendor = 0x8086};

static void new_ring(struct e1000_ring *r)
{
    r->descriptor = (void *)new_page(&r->at);
    for (unsigned i = 0; i < E1000_PAGES; i++)
        r->page[i] = new_page(&r->page_at[i]);
}

int e1000_prepare(struct net_card *c)
{
    assert_ptr_equal(c, card);
    new_ring(&e->in);
    new_ring(&e->out);
    return 0;
}

/* Another one, for who looks after cards in the old one's place. */
static void new_card(uint16_t id)
{
    struct spinlock lock = card->lock;

    memset(e, 0, sizeof(*e));
    card->lock = lock;
    e->model = e1000_find(id);
    assert_non_null(e->model);
    e->registers = (struct io){.base = 1, .size = 0x10000};
    card->pci = &function;
    m.igb = m.pcie = e->model->flags & E1000_ADVANCED;
    power_on();
}

static int setup(void **state)
{
    memset(&m, 0, sizeof(m));
    begin(&the_card.card);
    power_on();
    new_card(device);
    return 0;
}

static void start_up_to(uint32_t longest)
{
    assert_int_equal(e1000_init(e), 0);
    run(longest);
}

static void start(void)
{
    start_up_to(1518);
}

static void address(void **state)
{
    static const uint8_t by_register[] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56},
                         by_eeprom[] = {0x02, 0x01, 0x04, 0x03, 0x06, 0x05};

    assert_int_equal(e1000_init(e), 0);
    assert_memory_equal(card->mac, by_register, 6);
    for (unsigned i = 0; i < 2; i++) { /* both layouts of EERD */
        m.keeps = true;
        m.igb = false;
        m.pcie = i == 1;
        e->model = e1000_find(m.pcie ? 0x10d3 : 0x100e);
        REG(0x5400) = REG(0x5404) = REG(0x14) = 0;
        m.eeprom[0] = 0x0102;
        m.eeprom[1] = 0x0304;
        m.eeprom[2] = 0x0506;
        assert_int_equal(e1000_init(e), 0);
        assert_memory_equal(card->mac, by_eeprom, 6);
    }
    m.eeprom[0] = 0x0103; /* a group's */
    assert_int_equal(e1000_init(e), -EIO);
    m.no_eeprom = true;
    assert_int_equal(e1000_init(e), -EIO);
    wire.gone = true;
    assert_int_equal(e1000_init(e), -EIO);
    assert_null(e1000_find(0x1234));
    assert_null(e1000_find(0));
}

/* What firmware had under way goes nowhere, also where a reset resets nothing. */
static void begins_anew(void **state)
{
    m.keeps = true;
    REG(0x100) = 2;
    REG(0x400) = 2;
    REG(0x2810) = 77;
    REG(0x3810) = REG(0x3818) = 99;
    m.ims = UINT32_MAX;
    m.icr = 0x84;
    start();
    assert_int_equal(REG(0x2810), 0);
    assert_int_equal(REG(0x2818), E1000_RING - 1);
    assert_int_equal(m.ims, 0xd4);
    fill(1);
    assert_true(send(100));
    net_card_sent(card);
    assert_int_equal(wire.sent_count, 1);
    assert_true(arrives(pattern, 64));
    net_card_interrupt(card);
    assert_int_equal(heard.frames, 1);
    m.stuck_reset = true;
    net_card_stop(card);
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -EIO);
    m.stuck_reset = false;
    REG(0) = 0x40;
    assert_int_equal(net_card_start(card, &user, &heard, 1518), 0);
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -EBUSY);
}

static void sends(void **state)
{
    static const uint32_t lengths[] = {14, 59, 60, 61, 1514, 2047, 2048, 2049, 4096, 9234};

    start_up_to(9234);
    assert_int_equal(REG(0x100) & 0x20, 0x20); /* RCTL.LPE */
    for (unsigned round = 0; round < 60; round++)
        for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
            const struct sent *s = &wire.sent[wire.sent_count % SENT];

            fill((uint8_t)(round + i));
            assert_true(send(lengths[i]));
            net_card_sent(card);
            assert_int_equal(s->length, MAX(lengths[i], 60u));
            assert_memory_equal(s->data, pattern, lengths[i]);
            for (uint32_t at = lengths[i]; at < s->length; at++)
                assert_int_equal(s->data[at], 0);
        }
    assert_int_equal(card->counts.sent, 600);
    assert_int_equal(card->counts.no_room, 0);
    assert_false(send(9235));
    assert_int_equal(card->counts.no_room, 1);
}

static void too_long_for_it(void **state)
{
    assert_int_equal(e1000_init(e), 0);
    assert_int_equal(net_card_start(card, &user, &heard, 9235), -EINVAL);
    assert_int_equal(card->state, NET_CARD_IDLE);
}

/* Several are told of at once; where the ring is full nothing is lost but what comes then. */
static void full(void **state)
{
    unsigned n = 0;

    start();
    fill(3);
    wire.mute = true;
    while (send(300))
        n++;
    assert_int_equal(n, E1000_RING - 1);
    net_card_sent(card);
    wire.mute = false;
    net_card_sent(card); /* nothing new: no register is written */
    assert_int_equal(wire.sent_count, 0);
    model_write(NULL, 0x400, 4, REG(0x400));
    assert_int_equal(wire.sent_count, E1000_RING - 1);
    assert_true(send(300));
    net_card_sent(card);
    assert_int_equal(wire.sent_count, E1000_RING);
}

static void receives(void **state)
{
    static const uint32_t lengths[] = {14, 60, 1514, 2048, 2049, 9234};

    start_up_to(9234);
    for (unsigned round = 0; round < 200; round++)
        for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
            fill((uint8_t)(round + i));
            hears(lengths[i]);
        }
    assert_int_equal(heard.ends, heard.frames);
    assert_int_equal(card->counts.bad, 0);
}

/* Not before its last piece is there. */
static void in_pieces(void **state)
{
    start_up_to(9234);
    fill(9);
    assert_true(put(pattern, 2048, 1, 0));
    net_card_interrupt(card);
    assert_int_equal(heard.frames, 0);
    assert_true(put(pattern + 2048, 100, 3, 0));
    net_card_interrupt(card);
    assert_int_equal(heard.frames, 1);
    assert_int_equal(heard.length, 2148);
    assert_memory_equal(heard.data, pattern, 2148);
    assert_true(put(pattern, NET_CARD_FIRST, 1, 0));
    assert_true(put(pattern + NET_CARD_FIRST, 1, 3, 0));
    net_card_interrupt(card);
    assert_int_equal(heard.length, NET_CARD_FIRST + 1);
}

/* A card that says anything: such frames are counted and nobody hears them, and what follows is as
 * good as ever. */
static void bad_frames(void **state)
{
    static const struct {
        unsigned pieces;
        uint16_t length;
        uint8_t errors;
        unsigned bad;
    } cases[] = {
        {1, 100, 0x01, 1}, {1, 100, 0x02, 1}, {1, 100, 0x10, 1}, {1, 100, 0x80, 1},
        {1, 0, 0, 1},      {1, 13, 0, 1},     {1, 2049, 0, 1},   {1, 65535, 0, 1},
        {1, 1519, 0, 1},   {2, 2048, 0, 1},   {5, 0, 0, 1},      {6, 2048, 0, 2},
        {2, 13, 0, 1},     {2, 255, 0, 1},    {13, 2048, 0, 3},  {100, 65535, 0xff, 20},
    };
    unsigned bad = 0;

    start();
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        for (unsigned n = 1; n <= cases[i].pieces; n++)
            assert_true(put(NULL, cases[i].length, n == cases[i].pieces ? 3 : 1, cases[i].errors));
        fill((uint8_t)i);
        assert_true(arrives(pattern, 77));
        net_card_interrupt(card);
        bad += cases[i].bad;
        assert_int_equal(card->counts.bad, bad);
        assert_int_equal(heard.frames, i + 1);
        assert_int_equal(heard.length, 77);
        assert_memory_equal(heard.data, pattern, 77);
    }
}

/* The same where so much may be of one frame. */
static void bad_long_frames(void **state)
{
    static const struct {
        unsigned pieces;
        uint16_t length;
        unsigned bad;
    } cases[] = {{1, 2049, 1}, {1, 9000, 1}, {2, 2049, 1}, {5, 2048, 1}, {6, 2048, 2}, {13, 64, 3}};
    unsigned bad = 0;

    start_up_to(9234);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        for (unsigned n = 1; n <= cases[i].pieces; n++)
            assert_true(put(NULL, cases[i].length, n == cases[i].pieces ? 3 : 1, 0));
        fill((uint8_t)i);
        assert_true(arrives(pattern, 77));
        net_card_interrupt(card);
        bad += cases[i].bad;
        assert_int_equal(card->counts.bad, bad);
        assert_int_equal(heard.frames, i + 1);
        assert_memory_equal(heard.data, pattern, 77);
    }
}

static unsigned calls;

static void called(void)
{
    calls++;
}

/* What comes at once is not all taken at once, however often the card interrupts, which it does not
 * any more: somebody looks at it now and then. */
static void a_flood(void **state)
{
    start();
    calls = 0;
    net_cards_set_attention(called);
    fill(5);
    for (unsigned i = 0; i < E1000_RING - 1; i++)
        assert_true(arrives(pattern, 60));
    assert_false(arrives(pattern, 60));
    for (unsigned i = 0; i < 3; i++) {
        net_card_interrupt(card);
        assert_true(net_cards_work() < now + tsc_hz / 1000);
        assert_int_equal(heard.frames, NET_CARD_BUDGET);
    }
    assert_int_equal(calls, 1);
    assert_int_equal(m.ims, 4); /* it tells of its link alone */
    for (unsigned i = 2; i < 6; i++) {
        now += tsc_hz / 4000;
        assert_true(net_cards_work() < now + tsc_hz / 1000);
        assert_int_equal(heard.frames, i * NET_CARD_BUDGET);
    }
    now += tsc_hz / 4000;
    m.late = true;
    assert_true(net_cards_work() > now + tsc_hz / 1000);
    assert_int_equal(heard.frames, E1000_RING);
    assert_int_equal(m.ims, 0xd4);
    assert_true(arrives(pattern, 60));
    net_card_interrupt(card);
    assert_int_equal(heard.frames, E1000_RING + 1);
    /* A reset ends it, too. */
    for (unsigned i = 0; i < 2 * NET_CARD_BUDGET; i++)
        assert_true(arrives(pattern, 60));
    net_card_interrupt(card);
    assert_int_equal(m.ims, 4);
    wire.mute = true;
    assert_true(send(100));
    net_card_sent(card);
    while (!card->counts.resets) {
        for (unsigned i = 0; i < NET_CARD_BUDGET; i++)
            (void)arrives(pattern, 60);
        now += tsc_hz / 4000;
        (void)net_cards_work();
    }
    assert_int_equal(m.ims, 0xd4);
    hears(60);
    net_cards_set_attention(NULL);
}

/* Each frame goes to many: one look is over when half a millisecond is, and as much is for others
 * before the next one. */
static void a_slow_flood(void **state)
{
    start();
    fill(5);
    heard.ticks = tsc_hz / 1000;
    for (unsigned i = 0; i < 10; i++)
        assert_true(arrives(pattern, 60));
    net_card_interrupt(card);
    assert_int_equal(heard.frames, 1);
    for (unsigned i = 2; i <= 10; i++) {
        uint64_t from = now, before = now;

        while (heard.frames < i) {
            before = now += tsc_hz / 20000;
            (void)net_cards_work();
        }
        assert_int_equal(heard.frames, i);
        assert_true(before - from >= tsc_hz / 1000 - tsc_hz / 20000);
    }
    now += tsc_hz / 100;
    (void)net_cards_work();
    assert_int_equal(m.ims, 0xd4);
    heard.ticks = 0;
    hears(60);
}

static void a_link(void **state)
{
    start();
    REG(8) &= ~2u;
    m.icr |= 4;
    net_card_interrupt(card);
    assert_int_equal(heard.downs, 1);
    REG(8) |= 2; /* and nobody says so */
    second(1);
    assert_int_equal(heard.ups, 2);
    net_card_interrupt(card);
    assert_int_equal(heard.ups, 2);
}

static void polled(void **state)
{
    start();
    hears_by_polling();
}

static unsigned cut;

static void cut_line(struct net_card *c)
{
    cut++;
}

static void somebody_elses_interrupt(void **state)
{
    start();
    cut = 0;
    card->disconnect = cut_line;
    for (unsigned i = 0; i < NET_CARD_STRAYS - 1; i++)
        net_card_interrupt(card);
    hears(60); /* it was its own in between */
    for (unsigned i = 0; i < NET_CARD_STRAYS - 1; i++)
        net_card_interrupt(card);
    assert_int_equal(cut, 0);
    second(1); /* so many in a longer time are none too many */
    for (unsigned i = 0; i < NET_CARD_STRAYS - 1; i++)
        net_card_interrupt(card);
    assert_int_equal(cut, 0);
    assert_true(card->interrupting);
    net_card_interrupt(card);
    net_card_interrupt(card);
    assert_int_equal(cut, 1);
    assert_false(card->interrupting);
    assert_int_equal(card->counts.resets, 0);
}

/* By messages, each of which the card says is its own: but its link is as it was, and nothing has
 * come. */
static void interrupts_for_nothing(void **state)
{
    start();
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < NET_CARD_STRAYS - 1; i++) {
            m.icr = 4;
            net_card_interrupt(card);
        }
        second(1);
    }
    assert_int_equal(card->counts.resets, 0);
    for (unsigned round = 0; card->state == NET_CARD_RUNS; round++) {
        assert_int_equal(card->counts.resets, round);
        for (unsigned i = 0; i < NET_CARD_STRAYS; i++) {
            m.icr = 4;
            net_card_interrupt(card);
        }
        second(1);
    }
    assert_int_equal(card->counts.resets, NET_CARD_TRIES);
    assert_false(wire.master);
}

static void a_hang(void **state)
{
    unsigned resets;

    start();
    resets = m.resets;
    hangs_once();
    assert_true(m.resets > resets);
}

/* It has reached for memory that is not its: at the next look, which is soon, it begins anew. */
static void a_stray(void **state)
{
    start();
    net_cards_strayed((const struct host_pci *)&heard); /* another one */
    second(2);
    assert_int_equal(card->counts.resets, 0);
    net_cards_strayed(card->pci);
    (void)net_cards_work();
    assert_int_equal(card->counts.resets, 1);
    second(2);
    assert_int_equal(card->counts.resets, 1);
    assert_true(send(300));
}

/* Without a link nothing goes, and that is no hang. */
static void no_link(void **state)
{
    start();
    wire.mute = true;
    REG(8) &= ~2u;
    second(1);
    assert_true(send(300));
    net_card_sent(card);
    second(20);
    assert_int_equal(card->counts.resets, 0);
    REG(8) |= 2;
    second(1);
    assert_int_equal(card->counts.resets, 0);
}

static void hangs_for_good(void **state)
{
    start();
    hangs_until_lost();
    assert_int_equal(REG(0x100) & 2, 0);
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -EIO);
}

static void goes_away(void **state)
{
    start();
    is_taken_away();
}

static void deaf(void **state)
{
    start();
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(card->counts.resets, 0);
        m.icr |= 0x40;
        net_card_interrupt(card);
        now += tsc_hz;
        (void)net_cards_work();
    }
    assert_int_equal(card->counts.overruns, 3);
    assert_int_equal(card->counts.resets, 1);
    for (unsigned i = 0; i < 9;
         i++) { /* something comes in between, or somebody sends what is bad */
        m.icr |= 0x40;
        fill(1);
        assert_true(arrives(pattern, i < 4 ? 60 : 1600));
        net_card_interrupt(card);
        now += tsc_hz;
        (void)net_cards_work();
    }
    assert_int_equal(card->counts.bad, 5);
    assert_int_equal(card->counts.resets, 1);
}

/* The chipset's: no EERD, a register of its own before each reset, queues that are enabled. */
static void a_chipset(void **state)
{
    static const uint16_t ids[] = {0x153a, 0x15a3, 0x156f, 0x550d};

    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
        setup(NULL);
        new_card(ids[i]);
        m.pcie = m.chipset = true;
        m.mulr = i > 1;
        start();
        assert_false(card->tried);
        assert_int_equal(card->longest, 1518);
        assert_true(REG(0x3828) & REG(0x2828) & 1u << 25);
        fill((uint8_t)i);
        assert_true(send(1518));
        net_card_sent(card);
        assert_memory_equal(wire.sent[0].data, pattern, 1518);
        net_card_stop(card);
        m.keeps = true;
        REG(0x5404) = 0;
        assert_int_equal(e1000_init(e), -EIO);
    }
}

static void an_i210(void **state)
{
    new_card(0x1533);
    REG(0x2404) = 1; /* as somebody else has left them, and a reset, too */
    REG(0x3404) = 1;
    start_up_to(9234);
    assert_int_equal(REG(0x2404), 0xa2);
    assert_int_equal(REG(0x3404), 0x04000014);
    assert_int_equal(REG(0x5004), 9238);
    fill(1);
    assert_true(arrives(pattern, 9234));
    net_card_interrupt(card);
    assert_int_equal(heard.frames, 1);
    assert_memory_equal(heard.data, pattern, 9234);
    net_card_stop(card);
    m.stuck_queue = true;
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -EIO);
}

static int an_82540em(void **state)
{
    device = 0x100e;
    return 0;
}

static int an_82576(void **state)
{
    device = 0x10c9;
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(address),
        TEST(begins_anew),
        TEST(sends),
        TEST(too_long_for_it),
        TEST(full),
        TEST(receives),
        TEST(in_pieces),
        TEST(bad_frames),
        TEST(bad_long_frames),
        TEST(a_flood),
        TEST(a_slow_flood),
        TEST(a_link),
        TEST(polled),
        TEST(somebody_elses_interrupt),
        TEST(interrupts_for_nothing),
        TEST(a_hang),
        TEST(a_stray),
        TEST(no_link),
        TEST(deaf),
        TEST(hangs_for_good),
        TEST(goes_away),
        TEST(a_chipset),
        TEST(an_i210),
    };

    return cmocka_run_group_tests_name("82540EM", tests, an_82540em, NULL) +
           cmocka_run_group_tests_name("82576", tests, an_82576, NULL);
}
