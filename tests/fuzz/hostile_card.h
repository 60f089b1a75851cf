/*
 * The input, and what is around the driver of a network card that lies: time, memory, and a user.
 * What he hears are bytes of the card's buffers and no others, as many as a frame may have, and
 * none of them twice.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "arch/x86/tsc.h"
#include "drivers/net_card.h"
#include "drivers/pci.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/require.h"

#define RAM     (2 * MIB) /* the first half is for what comes: rings, and buffers */
#define BUFFER  2048
#define ACTIONS 400

uint64_t tsc_hz = 1000000;
static uint64_t now;
static uint8_t *ram;
static const uint8_t *buffers; /* the first of those for what comes */
static bool lies;              /* registers do */
static uint32_t most;
static uint64_t heard;

uint64_t test_tsc(void)
{
    return now += 50;
}

void tsc_delay_us(uint64_t us)
{
    now += us;
}

void host_pci_command(const struct host_pci *p, uint16_t set, uint16_t clear)
{
}

/* --- the user --- */

static void on_frame(void *context, const struct net_arrival *a)
{
    uint32_t sum = 0;
    uint8_t bytes = 0;

    REQUIRE(a->count >= 1 && a->count <= NET_CARD_PIECES && a->length >= 14 && a->length <= most);
    REQUIRE(a->count == 1 || a->piece[0].length >= NET_CARD_FIRST);
    for (unsigned i = 0; i < a->count; sum += a->piece[i++].length) {
        const uint8_t *p = a->piece[i].data;

        REQUIRE(p >= buffers && p + a->piece[i].length <= ram + MIB);
        for (unsigned k = 0; k < i; k++)
            REQUIRE((p - ram) / BUFFER != ((const uint8_t *)a->piece[k].data - ram) / BUFFER);
        for (uint32_t n = 0; n < a->piece[i].length; n++)
            bytes ^= p[n];
    }
    REQUIRE(sum == a->length && bytes <= 255);
    heard++;
}

static void on_end(void *context)
{
}

static void on_link(void *context, bool up)
{
}

static const struct net_card_user user = {on_frame, on_end, on_link};

/* The input's first byte is whether registers lie. */
static void begin(const uint8_t *data, size_t size)
{
    if (!ram)
        ram = aligned_alloc(PAGE_SIZE, RAM);
    take_input(data, size);
    lies = next() & 1;
}

/* Nobody's yet; one card is the machine's, for good. */
static void add(struct net_card *c)
{
    static bool added;

    if (!added)
        REQUIRE(net_card_add(c) == 0);
    added = true;
    c->state = NET_CARD_IDLE;
}

static void some_go(struct net_card *c)
{
    static uint8_t data[10240];
    struct net_piece piece[2] = {{data, 1 + next32() % 5000}, {data, 1 + next32() % 5000}};

    (void)net_card_send(c, piece, 2, piece[0].length + piece[1].length);
    if (next() & 1)
        net_card_sent(c);
}

/* It runs, and until the input is at its end something happens. */
static void run(struct net_card *c, void (*act)(void))
{
    most = next() & 1 ? 1518 : 9018;
    if (net_card_start(c, &user, NULL, most) != 0)
        return;
    for (unsigned i = 0; i < ACTIONS && left > 0; i++)
        act();
    lies = false;
    net_card_stop(c);
}
