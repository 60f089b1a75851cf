/* What tests of the bus share: two devices at it that note what reaches them. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "tests/unit/mock_board.h"

/* A device that notes its accesses and returns its tag with the port's low byte. */
struct probe {
    struct device dev;
    uint8_t tag;
    unsigned reads, writes, timers, resets;
    uint64_t where, value;
    unsigned size;
    uint64_t timer_now;
    uint64_t rearm; /* what the timer function sets the timer to again, unless 0 */
};

static uint32_t probe_port_read(struct device *d, uint16_t port, unsigned size)
{
    struct probe *p = CONTAINER_OF(d, struct probe, dev);
    uint32_t value = 0xffffffff;

    p->reads++;
    p->where = port;
    p->size = size;
    for (unsigned i = 0; i < size; i++)
        value = (value & ~(0xffu << (8 * i))) | (uint32_t)((p->tag + port + i) & 0xff) << (8 * i);
    return value;
}

static void probe_port_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    struct probe *p = CONTAINER_OF(d, struct probe, dev);

    p->writes++;
    p->where = port;
    p->size = size;
    p->value = p->value << 8 * size | value;
}

static uint64_t probe_mmio_read(struct device *d, uint64_t offset, unsigned size)
{
    struct probe *p = CONTAINER_OF(d, struct probe, dev);

    p->reads++;
    p->where = offset;
    p->size = size;
    return 0x1111111111111111ULL * p->tag;
}

static void probe_mmio_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
    struct probe *p = CONTAINER_OF(d, struct probe, dev);

    p->writes++;
    p->where = offset;
    p->size = size;
    p->value = value;
}

static void probe_timer(struct device *d, unsigned timer, uint64_t now)
{
    struct probe *p = CONTAINER_OF(d, struct probe, dev);

    assert_true(d->deadline[timer] == TIMER_OFF);
    p->timers++;
    p->timer_now = now;
    if (p->rearm)
        device_timer_set(d, timer, p->rearm);
}

static void probe_reset(struct device *d)
{
    CONTAINER_OF(d, struct probe, dev)->resets++;
}

static void probe_save(struct device *d, struct state_writer *w)
{
    state_put_u8(w, CONTAINER_OF(d, struct probe, dev)->tag);
}

static int probe_load(struct device *d, struct state_reader *r)
{
    return state_get_u8(r) == CONTAINER_OF(d, struct probe, dev)->tag ? 0 : -EBADMSG;
}

#define PROBE_OPS                                                                                  \
    .version = 1, .port_read = probe_port_read, .port_write = probe_port_write,                    \
    .mmio_read = probe_mmio_read, .mmio_write = probe_mmio_write, .timer = probe_timer,            \
    .reset = probe_reset, .save = probe_save, .load = probe_load

static const struct device_ops any_width = {.name = "any", PROBE_OPS};
static const struct device_ops bytes_only = {.name = "bytes", .port_width = 1, PROBE_OPS};
static const struct device_ops no_access = {
    .name = "none", .reset = probe_reset, .save = probe_save, .load = probe_load};

static struct board board;
static struct probe a, b;
static struct bus_view view;

static int setup(void **state)
{
    mock_init(&board);
    view = (struct bus_view){0};
    a = (struct probe){.dev = {.ops = &any_width, .board = &board}, .tag = 0x10};
    b = (struct probe){.dev = {.ops = &bytes_only, .board = &board}, .tag = 0x80};
    assert_int_equal(bus_add_device(&board.bus, &a.dev), 0);
    assert_int_equal(bus_add_device(&board.bus, &b.dev), 0);
    return 0;
}

static int teardown(void **state)
{
    mock_destroy(&board);
    return 0;
}
