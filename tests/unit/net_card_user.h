/*
 * What is around the driver of a network card, for tests: time, memory, a wire, and the user who
 * sends and hears frames. The test has the model of the card, which arrives() is a part of.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "arch/x86/tsc.h"
#include "drivers/net_card.h"
#include "drivers/pci.h"
#include "tests/unit/dma_model.h"

#define RAM   (4 * MIB)
#define SENT  64
#define FRAME 10240

uint64_t tsc_hz = 1000000;
static uint64_t now;
static uint8_t ram[RAM] __attribute__((aligned(4096)));
static paddr next_page;
static struct net_card *card;

/* What the card has put there, and how it is. */
static struct {
    bool mute, gone, master;
    struct sent {
        uint8_t data[FRAME];
        uint32_t length;
    } sent[SENT];
    unsigned sent_count;
} wire;

static struct {
    unsigned frames, ends, ups, downs;
    uint8_t data[FRAME];
    uint32_t length;
    uint64_t ticks; /* that it takes to hear one */
} heard;

uint64_t test_tsc(void)
{
    return now++;
}

void tsc_delay_us(uint64_t us)
{
    now += us;
}

void host_pci_command(const struct host_pci *p, uint16_t set, uint16_t clear)
{
    if (clear & HOST_PCI_MASTER)
        wire.master = false;
}

static inline uint8_t *new_page(paddr *at)
{
    *at = next_page;
    next_page += PAGE_SIZE;
    dma_model_own(*at, PAGE_SIZE);
    return ram + *at;
}

/* What the card reads or writes has to be in such a page. */
static inline uint8_t *reach(paddr at, uint64_t size, unsigned rights)
{
    return ram + dma_reach(at, size, rights);
}

/* A frame comes; false: the card has no room. */
static bool arrives(const uint8_t *data, uint32_t length);

/* --- the user --- */

static void on_frame(void *context, const struct net_arrival *a)
{
    uint32_t at = 0;

    assert_ptr_equal(context, &heard);
    for (unsigned i = 0; i < a->count; at += a->piece[i++].length)
        memcpy(heard.data + at, a->piece[i].data, a->piece[i].length);
    assert_int_equal(at, a->length);
    heard.length = at;
    heard.frames++;
    now += heard.ticks;
}

static void on_end(void *context)
{
    heard.ends++;
}

static void on_link(void *context, bool up)
{
    if (up)
        heard.ups++;
    else
        heard.downs++;
}

static const struct net_card_user user = {on_frame, on_end, on_link};

/* Nothing has happened yet. */
static inline void begin(struct net_card *c)
{
    memset(&wire, 0, sizeof(wire));
    memset(ram, 0xa5, sizeof(ram));
    memset(&heard, 0, sizeof(heard));
    wire.master = true;
    next_page = 16 * PAGE_SIZE;
    dma_model_reset();
    now = 1;
    card = c;
}

static inline int teardown(void **state)
{
    net_card_stop(card);
    return 0;
}

/* The card, which its driver knows already. */
static inline void run(uint32_t longest)
{
    static bool added; /* it is the machine's, for good */

    if (!added)
        assert_int_equal(net_card_add(card), 0);
    added = true;
    card->interrupting = true;
    assert_int_equal(net_card_start(card, &user, &heard, longest), 0);
    assert_int_equal(heard.ups, 1);
}

static uint8_t pattern[FRAME];

static inline void fill(uint8_t salt)
{
    for (unsigned i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(i * 7 + salt);
}

static inline bool send(uint32_t length)
{
    struct net_piece piece[3] = {{pattern, 14},
                                 {pattern + 14, length > 100 ? 50 : length - 14},
                                 {pattern + 64, length - 64}};

    return net_card_send(card, piece, length > 100 ? 3 : 2, length);
}

static inline void hears(uint32_t length)
{
    unsigned before = heard.frames;

    assert_true(arrives(pattern, length));
    net_card_interrupt(card);
    assert_int_equal(heard.frames, before + 1);
    assert_int_equal(heard.length, length);
    assert_memory_equal(heard.data, pattern, length);
}

static inline void second(unsigned n)
{
    for (unsigned i = 0; i < 2 * n; i++) {
        now += tsc_hz / 2;
        (void)net_cards_work();
    }
}

/* Polled, where no interrupt comes. */
static inline void hears_by_polling(void)
{
    card->interrupting = false;
    (void)net_cards_work();
    assert_true(net_cards_work() <= now + tsc_hz / 1000 + 10);
    fill(1);
    assert_true(arrives(pattern, 60));
    (void)net_cards_work();
    assert_int_equal(heard.frames, 1);
}

/* Out of the machine, while it runs. */
static inline void is_taken_away(void)
{
    wire.gone = true;
    net_card_interrupt(card);
    second(1);
    assert_int_equal(card->state, NET_CARD_LOST);
    assert_int_equal(heard.downs, 1);
    assert_false(wire.master);
}

/* It hangs, is reset, and is as good as before. */
static inline void hangs_once(void)
{
    fill(2);
    wire.mute = true;
    assert_true(send(300));
    net_card_sent(card);
    second(1);
    assert_int_equal(card->counts.resets, 0);
    second(3);
    assert_int_equal(card->counts.resets, 1);
    wire.mute = false;
    assert_true(send(300));
    net_card_sent(card);
    assert_int_equal(wire.sent_count, 1);
    hears(60);
    second(20);
    assert_int_equal(card->counts.resets, 1);
    assert_int_equal(card->in_vain, 0);
}

/* It hangs again whenever it has been reset, until it is given up. */
static inline void hangs_until_lost(void)
{
    wire.mute = true;
    for (unsigned i = 0; i < 30; i++) {
        (void)send(300);
        net_card_sent(card);
        second(1);
    }
    assert_int_equal(card->state, NET_CARD_LOST);
    assert_int_equal(card->counts.resets, NET_CARD_TRIES);
    assert_false(wire.master);
    assert_int_equal(heard.downs, 1);
    assert_false(send(300));
}
