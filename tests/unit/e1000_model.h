/* An Intel network card of the machine, as a model, and its driver on it, for tests. */
#pragma once

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

static inline void power_on(void)
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

static inline void *descriptor(unsigned base, unsigned n)
{
    return reach(REG(base) + 16 * (size_t)n, 16, DMA_READ | DMA_WRITE);
}

/* A descriptor of what is to be sent; whether it is a frame's last one. */
static inline bool send_legacy(struct sent *s)
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

static inline bool send_advanced(struct sent *s)
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

static inline bool enabled(unsigned queue)
{
    return !m.igb || (REG(queue + 0x28) & 1u << 25);
}

static inline void transmit(void)
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
static inline bool put(const uint8_t *data, uint16_t length, uint8_t status, uint8_t errors)
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

static inline void new_ring(struct e1000_ring *r)
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
static inline void new_card(uint16_t id)
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

static inline int setup(void **state)
{
    memset(&m, 0, sizeof(m));
    begin(&the_card.card);
    power_on();
    new_card(device);
    return 0;
}

static inline void start_up_to(uint32_t longest)
{
    assert_int_equal(e1000_init(e), 0);
    run(longest);
}

static inline void start(void)
{
    start_up_to(1518);
}

/* --- tests, on either kind --- */

static inline int an_82540em(void **state)
{
    device = 0x100e;
    return 0;
}

static inline int an_82576(void **state)
{
    device = 0x10c9;
    return 0;
}

#define RUN_ON_BOTH(tests)                                                                         \
    (cmocka_run_group_tests_name("82540EM", tests, an_82540em, NULL) +                             \
     cmocka_run_group_tests_name("82576", tests, an_82576, NULL))
