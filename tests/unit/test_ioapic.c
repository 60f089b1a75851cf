/* links: guest/board/ioapic.c guest/board/state.c */
/* The I/O APIC against the 82093AA data sheet. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest/board/ioapic.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define LEVEL  0x8000ULL
#define MASKED 0x10000ULL

static struct ioapic io;
static unsigned sent, changes;
static bool accept;
static struct apic_message last;

bool ioapic_send(struct ioapic *from, const struct apic_message *m)
{
    sent++;
    last = *m;
    return accept;
}

void ioapic_changed(struct ioapic *from)
{
    changes++;
}

static int setup(void **state)
{
    memset(&io, 0xa5, sizeof(io));
    ioapic_init(&io, NULL, 9);
    sent = changes = 0;
    accept = true;
    return 0;
}

static uint32_t in(uint32_t offset)
{
    return (uint32_t)io.device.ops->mmio_read(&io.device, offset, 4);
}

static void out(uint32_t offset, uint32_t value)
{
    io.device.ops->mmio_write(&io.device, offset, 4, value);
}

static uint32_t get(uint8_t reg)
{
    out(0, reg);
    return in(0x10);
}

static void set(uint8_t reg, uint32_t value)
{
    out(0, reg);
    out(0x10, value);
}

static void route(unsigned pin, uint64_t entry)
{
    set((uint8_t)(0x11 + pin * 2), (uint32_t)(entry >> 32));
    set((uint8_t)(0x10 + pin * 2), (uint32_t)entry);
}

static uint64_t entry_of(unsigned pin)
{
    return (uint64_t)get((uint8_t)(0x11 + pin * 2)) << 32 | get((uint8_t)(0x10 + pin * 2));
}

static void test_registers(void **state)
{
    assert_int_equal(get(0), 9u << 24);
    assert_int_equal(get(1), 0x00170020);
    set(1, 0);
    assert_int_equal(get(1), 0x00170020);
    set(0, 0xffffffff);
    assert_int_equal(get(0), 0x0f000000);
    assert_int_equal(get(2), 0x0f000000);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        assert_true(entry_of(pin) == MASKED);
    }
    route(3, UINT64_MAX);
    assert_true(entry_of(3) ==
                0xff0000000001afffULL); /* delivery status and Remote IRR are read-only */
    for (unsigned reg = 0x40; reg < 0x100; reg++) {
        set((uint8_t)reg, 0xffffffff);
        assert_int_equal(get((uint8_t)reg), 0);
    }
    set(3, 0xffffffff);
    assert_int_equal(get(3), 0);
    assert_int_equal(in(0x20), 0);
    assert_int_equal(in(0x40), 0);
}

static void test_access_sizes(void **state)
{
    const struct device_ops *ops = io.device.ops;

    ops->mmio_write(&io.device, 0, 1, 1);
    assert_int_equal(ops->mmio_read(&io.device, 0x10, 1), 0x20);
    assert_int_equal(ops->mmio_read(&io.device, 0x10, 2), 0x20);
    assert_true(ops->mmio_read(&io.device, 0x10, 8) == 0x00170020);
    assert_int_equal(ops->mmio_read(&io.device, 0x12, 2), 0);
    assert_int_equal(ops->mmio_read(&io.device, 0, 4), 1);
    out(0, 0x10);
    ops->mmio_write(&io.device, 0x10, 1, 0x33);
    ops->mmio_write(&io.device, 0x11, 4, 0x33);
    assert_int_equal(in(0x10), MASKED);
    out(0, 0xffffff01); /* 8 bits of index */
    assert_int_equal(in(0x10), 0x00170020);
}

static void test_edge(void **state)
{
    ioapic_set_irq(&io, 4, true); /* masked: lost */
    route(4, 0x34);
    assert_int_equal(sent, 0);
    ioapic_set_irq(&io, 4, true); /* no edge */
    ioapic_set_irq(&io, 4, false);
    assert_int_equal(sent, 0);
    ioapic_set_irq(&io, 4, true);
    assert_int_equal(sent, 1);
    assert_int_equal(last.vector, 0x34);
    assert_int_equal(last.mode, APIC_FIXED);
    assert_int_equal(last.dest, 0);
    assert_false(last.logical || last.level);
    ioapic_set_irq(&io, 4, false);
    ioapic_set_irq(&io, 4, true); /* edges wait for no EOI */
    assert_int_equal(sent, 2);
    assert_true(entry_of(4) == 0x34);
    ioapic_eoi(&io, 0x34);
    assert_int_equal(sent, 2);
    ioapic_set_irq(&io, 24, true);
    ioapic_set_irq(&io, 200, true);
    assert_int_equal(sent, 2);
}

static void test_message_fields(void **state)
{
    route(5, 0x02ULL << 56 | 0x0955);
    ioapic_set_irq(&io, 5, true);
    assert_int_equal(last.dest, 2);
    assert_true(last.logical);
    assert_int_equal(last.mode, APIC_LOWEST_PRIORITY);
    assert_int_equal(last.shorthand, APIC_NO_SHORTHAND);
    route(6, 0xffULL << 56 | LEVEL | 0x400); /* NMI is an edge, whatever the trigger bit says */
    ioapic_set_irq(&io, 6, true);
    assert_true(last.dest == APIC_BROADCAST);
    assert_int_equal(last.mode, APIC_NMI);
    assert_false(last.level);
    assert_int_equal(io.remote_irr, 0);
}

static void test_level(void **state)
{
    route(9, LEVEL | 0x51);
    ioapic_set_irq(&io, 9, true);
    assert_int_equal(sent, 1);
    assert_true(last.level);
    assert_true(entry_of(9) == (LEVEL | 0x4051));
    ioapic_set_irq(&io, 9, false);
    ioapic_set_irq(&io, 9, true); /* while Remote IRR is set nothing more is sent */
    assert_int_equal(sent, 1);
    ioapic_eoi(&io, 0x52);
    assert_int_equal(sent, 1);
    ioapic_eoi(&io, 0x51); /* still asserted: once more, and only once */
    assert_int_equal(sent, 2);
    assert_true(entry_of(9) & 0x4000);
    ioapic_set_irq(&io, 9, false);
    out(0x40, 0x51); /* the EOI register does the same */
    assert_int_equal(sent, 2);
    assert_false(entry_of(9) & 0x4000);
}

static void test_level_unmasked_later(void **state)
{
    route(10, MASKED | LEVEL | 0x60);
    ioapic_set_irq(&io, 10, true);
    assert_int_equal(sent, 0);
    route(10, LEVEL | 0x60);
    assert_int_equal(sent, 1);
    route(10, MASKED | LEVEL | 0x60);
    ioapic_eoi(&io, 0x60); /* masked: cleared, not sent again */
    assert_int_equal(sent, 1);
    assert_int_equal(io.remote_irr, 0);
    route(10, LEVEL | 0x60);
    assert_int_equal(sent, 2);
    /* mask, edge, level, unmask: clears Remote IRR without an EOI */
    route(10, MASKED | 0x60);
    assert_int_equal(io.remote_irr, 0);
    route(10, LEVEL | 0x60);
    assert_int_equal(sent, 3);
}

static void test_level_nobody_accepts(void **state)
{
    accept = false;
    route(11, LEVEL | 0x61);
    ioapic_set_irq(&io, 11, true);
    assert_int_equal(sent, 1);
    assert_false(entry_of(11) & 0x4000); /* nobody will ever send its EOI */
    accept = true;
    route(11, 1ULL << 56 | LEVEL | 0x61);
    assert_true(entry_of(11) & 0x4000);
}

static void test_two_pins_one_vector(void **state)
{
    route(16, LEVEL | 0x70);
    route(17, LEVEL | 0x70);
    ioapic_set_irq(&io, 16, true);
    ioapic_set_irq(&io, 17, true);
    assert_int_equal(sent, 2);
    ioapic_set_irq(&io, 16, false);
    ioapic_eoi(&io, 0x70);
    assert_int_equal(sent, 3);
    assert_int_equal(io.remote_irr, 1u << 17);
}

static void test_eoi_bitmap(void **state)
{
    uint64_t bitmap[4] = {1, 0, 0, 0};

    route(1, 0x31);
    route(2, LEVEL | 0x42);
    route(3, LEVEL | MASKED | 0x82);
    route(4, LEVEL | 0xc3);
    ioapic_set_irq(&io, 4, true);
    unsigned before = changes;
    route(4, LEVEL | MASKED | 0xc3); /* in flight: its EOI still counts */
    assert_int_equal(changes, before + 1);
    route(4, 3ULL << 56 | LEVEL | MASKED | 0xc3);
    assert_int_equal(changes, before + 1);
    ioapic_eoi_bitmap(&io, bitmap);
    assert_true(bitmap[0] == 1);
    assert_true(bitmap[1] == BIT(0x42 - 64));
    assert_true(bitmap[2] == 0);
    assert_true(bitmap[3] == BIT(0xc3 - 192));
}

static void test_save_and_load(void **state)
{
    uint8_t data[512], again[512], bad[512];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    const struct device_ops *ops = io.device.ops;

    route(9, LEVEL | 0x51);
    route(4, 7ULL << 56 | 0x34);
    ioapic_set_irq(&io, 9, true);
    ioapic_set_irq(&io, 4, true);
    set(0, 3u << 24);
    out(0, 0x18);
    state_begin(&w, ops->name, ops->version);
    ops->save(&io.device, &w);
    state_end(&w);
    assert_true(w.used < sizeof(data));

    for (size_t i = 0; i <= w.used; i++) {
        for (unsigned value = 0; value < (i < w.used ? 256 : 1); value++) {
            memcpy(bad, data, w.used);
            if (i < w.used) {
                bad[i] = (uint8_t)value;
            }
            struct state_reader r = {.data = bad, .size = w.used};
            ops->reset(&io.device);
            if (state_enter(&r, ops->name, ops->version) != 0) {
                continue;
            }
            sent = 0;
            if (ops->load(&io.device, &r) != 0 || state_leave(&r) != 0) {
                assert_int_equal(io.remote_irr, 0);
                continue;
            }
            struct state_writer w2 = {.data = again, .capacity = sizeof(again)};
            state_begin(&w2, ops->name, ops->version);
            ops->save(&io.device, &w2);
            state_end(&w2);
            assert_int_equal(w2.used, w.used);
            assert_memory_equal(bad, again, w.used);
            assert_int_equal(sent, 0); /* loading is no event */
        }
    }
    assert_int_equal(io.select, 0x18);
    assert_int_equal(io.remote_irr, 1u << 9);
    ioapic_eoi(&io, 0x51);
    assert_int_equal(sent, 1);
    io.remote_irr = 1u << 4; /* of a pin that is edge-triggered */
    w.used = 0;
    state_begin(&w, ops->name, ops->version);
    ops->save(&io.device, &w);
    state_end(&w);
    struct state_reader r = {.data = data, .size = w.used};
    assert_int_equal(state_enter(&r, ops->name, ops->version), 0);
    assert_int_equal(ops->load(&io.device, &r), -EBADMSG);
    ops->reset(&io.device);
    assert_int_equal(get(0), 9u << 24);
}

/* What the guest reads without an exit is what a read would give, whatever changed it. */
static void test_read_page(void **state)
{
    static uint32_t page[PAGE_SIZE / 4];

    route(4, LEVEL | 0x31);
    ioapic_set_read_page(&io, page);
    assert_int_equal(page[0], 0x18);
    assert_int_equal(page[4], LEVEL | 0x31);
    ioapic_set_irq(&io, 4, true);
    assert_int_equal(page[4], LEVEL | 0x4000 | 0x31);
    ioapic_set_irq(&io, 4, false);
    ioapic_eoi(&io, 0x31);
    assert_int_equal(page[4], LEVEL | 0x31);
    out(0x10, 0x32);
    assert_int_equal(page[4], 0x32);
    out(0, 1);
    assert_int_equal(page[4], 0x00170020);
    io.device.ops->reset(&io.device);
    assert_int_equal(page[0], 0);
    assert_int_equal(page[4], 9u << 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_registers, setup),
        cmocka_unit_test_setup(test_access_sizes, setup),
        cmocka_unit_test_setup(test_edge, setup),
        cmocka_unit_test_setup(test_message_fields, setup),
        cmocka_unit_test_setup(test_level, setup),
        cmocka_unit_test_setup(test_level_unmasked_later, setup),
        cmocka_unit_test_setup(test_level_nobody_accepts, setup),
        cmocka_unit_test_setup(test_two_pins_one_vector, setup),
        cmocka_unit_test_setup(test_eoi_bitmap, setup),
        cmocka_unit_test_setup(test_read_page, setup),
        cmocka_unit_test_setup(test_save_and_load, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
