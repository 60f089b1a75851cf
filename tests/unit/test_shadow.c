/* links: guest/devices/shadow.c guest/devices/flash.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c arch/x86/lib/format.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* What stands between 640 KiB and 1 MiB, by the host bridge's registers PAM0-PAM6 and SMRAM. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/board/pci.h"
#include "tests/unit/no_store.h"
#include "tests/unit/shown.h"

extern const struct device_class flash_class, shadow_class;

static struct board board;
static struct device_list list;
static uint8_t file[0x40000];
static struct bus_view view;

static void make(uint64_t size)
{
    mock_init(&board);
    shown_init(&board);
    for (unsigned i = 0; i < sizeof(file); i++)
        file[i] = (uint8_t)(i * 7);
    board.host.firmware = file;
    board.host.firmware_size = size;
    view = (struct bus_view){0};
    assert_int_equal(device_list_add(&list, &pci_class, &board.setup), 0);
    assert_int_equal(device_list_add(&list, &flash_class, &board.setup), 0);
    assert_int_equal(device_list_add(&list, &shadow_class, &board.setup), 0);
    bus_reset(&board.bus);
}

static int setup(void **state)
{
    make(sizeof(file));
    return 0;
}

static int setup_small(void **state)
{
    make(0x10000);
    return 0;
}

static int teardown(void **state)
{
    struct guest_memory_layer before[GUEST_MEMORY_LAYERS];
    unsigned count = shown_count;

    memcpy(before, shown, sizeof(before));
    assert_true(mock_round_trip(&board));
    assert_int_equal(shown_count, count);
    for (unsigned i = 0; i < count; i++)
        assert_true(shown[i].gpa == before[i].gpa && shown[i].from == before[i].from &&
                    shown[i].shows == before[i].shows && shown[i].writable == before[i].writable);
    mock_destroy(&board);
    device_list_destroy(&list);
    return 0;
}

static uint32_t in(unsigned reg, unsigned size)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000000 | (reg & 0xfc));
    return bus_port_read(&board.bus, (uint16_t)(0xcfc + (reg & 3)), size);
}

static void out(unsigned reg, unsigned size, uint32_t value)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000000 | (reg & 0xfc));
    bus_port_write(&board.bus, (uint16_t)(0xcfc + (reg & 3)), size, value);
}

enum what { NOBODY, ROM, RAM, READ_ONLY_RAM };

static enum what at(uint64_t gpa)
{
    const struct guest_memory_layer *l = shown_at(gpa);

    assert_non_null(l);
    assert_true(l->over_ram);
    if (l->shows == GUEST_LAYER_NOTHING)
        return NOBODY;
    if (l->shows == GUEST_LAYER_FRAMES) {
        assert_false(l->writable);
        assert_int_equal(shown_from(gpa),
                         board.setup.rom + board.setup.rom_size - (0x100000 - gpa));
        return ROM;
    }
    assert_int_equal(shown_from(gpa), gpa);
    return l->writable ? RAM : READ_ONLY_RAM;
}

static void expect(uint64_t from, uint64_t end, enum what what)
{
    for (; from < end; from += PAGE_SIZE)
        assert_int_equal(at(from), what);
}

static void shows_the_roms_end_at_reset(void **state)
{
    expect(0xa0000, 0xe0000, NOBODY);
    expect(0xe0000, 0x100000, ROM);
    assert_null(shown_at(0x9f000));
    assert_null(shown_at(0x100000));
    assert_int_equal(*(const uint8_t *)shown_from(0xffff0), file[sizeof(file) - 16]);
}

static void a_small_rom_is_below_1_mib_once(void **state)
{
    expect(0xc0000, 0xf0000, NOBODY);
    expect(0xf0000, 0x100000, ROM);
}

/* As SeaBIOS does it: all RAM, then parts of it read-only. */
static void segments_become_ram(void **state)
{
    out(0x90, 4, 0x33333330);
    out(0x94, 4, 0x00333333);
    assert_int_equal(in(0x90, 4), 0x33333330);
    assert_int_equal(in(0x94, 4), 0x00333333);
    expect(0xa0000, 0xc0000, NOBODY);
    expect(0xc0000, 0x100000, RAM);
    out(0x90, 4, 0x31111110);
    expect(0xc0000, 0xd4000, READ_ONLY_RAM);
    expect(0xd4000, 0xd8000, RAM);
    expect(0xd8000, 0xf0000, RAM);
    expect(0xf0000, 0x100000, READ_ONLY_RAM);
    bus_reset(&board.bus);
    shows_the_roms_end_at_reset(state);
}

static void each_segment_has_its_bits(void **state)
{
    for (unsigned i = 0; i < 12; i++) {
        out(0x91 + i / 2, 1, i % 2 ? 0x30 : 0x03);
        uint64_t from = 0xc0000 + (uint64_t)i * 0x4000;
        expect(from, from + 0x4000, RAM);
        out(0x91 + i / 2, 1, 0);
    }
    expect(0xc0000, 0xe0000, NOBODY);
    expect(0xe0000, 0x100000, ROM);
    out(0x90, 1, 0xff); /* the rest of the bits is not there */
    assert_int_equal(in(0x90, 1), 0x30);
    out(0x91, 1, 0xff);
    assert_int_equal(in(0x91, 1), 0x33);
    out(0x97, 1, 0xff);
    assert_int_equal(in(0x97, 1), 0);
}

static void put(uint64_t gpa, unsigned size, uint64_t value)
{
    assert_true(bus_mmio_write(&board.bus, &view, gpa, size, value));
}

/* RAM is written behind ROM, when the bridge says so; the mock has none there, and refuses. */
static void writes_reach_ram_behind_rom(void **state)
{
    uint64_t value = 0;

    assert_true(bus_mmio_read(&board.bus, &view, 0xc0000, 4, &value));
    assert_int_equal(value, UINT32_MAX);
    put(0xf0000, 4, 1);
    put(0xa0000, 4, 1);
    out(0x90, 1, 0x20); /* write only */
    expect(0xf0000, 0x100000, ROM);
    put(0xf0000, 4, 1);
}

static void smram_is_ram_when_open(void **state)
{
    assert_int_equal(in(0x9d, 2), 0x3802);
    out(0x9d, 1, 0x4a);
    expect(0xa0000, 0xc0000, RAM);
    out(0x9d, 1, 0x42); /* not enabled */
    expect(0xa0000, 0xc0000, NOBODY);
    out(0x9d, 1, 0xff); /* it cannot be locked: nobody could open it again */
    assert_int_equal(in(0x9d, 1), 0x6a);
    out(0x9d, 1, 0x0a);
    expect(0xa0000, 0xc0000, NOBODY);
    out(0x9e, 1, 0x81); /* no TSEG */
    assert_int_equal(in(0x9e, 1), 0x38);
    expect(0xc0000, 0xe0000, NOBODY);
}

/* --- beside a graphics card, whose windows are where SMRAM is --- */

static uint64_t card_read(struct device *d, uint64_t offset, unsigned size)
{
    return 0xca4d;
}

static void card_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
}

static void card_nothing(struct device *d)
{
}

static void card_save(struct device *d, struct state_writer *w)
{
}

static int card_load(struct device *d, struct state_reader *r)
{
    return 0;
}

static const struct device_ops card_ops = {
    .name = "card",
    .mmio_read = card_read,
    .mmio_write = card_write,
    .reset = card_nothing,
    .save = card_save,
    .load = card_load,
};

static void smram_is_over_a_card(void **state)
{
    static struct device card = {.ops = &card_ops};
    static struct bus_range range;
    uint64_t value;

    card.board = &board;
    range = (struct bus_range){
        .device = &card, .size = 0x20000, .space = BUS_MEMORY, .priority = BUS_OVER + 1};
    assert_int_equal(bus_add_device(&board.bus, &card), 0);
    assert_int_equal(bus_add_range(&board.bus, &range), 0);
    assert_int_equal(bus_place(&board.bus, &range, 0xa0000), 0);
    assert_true(bus_mmio_read(&board.bus, &view, 0xb8000, 4, &value));
    assert_int_equal(value, 0xca4d);
    out(0x9d, 1, 0x4a);
    expect(0xa0000, 0xc0000, RAM);
    out(0x9d, 1, 0x0a);
    expect(0xa0000, 0xc0000, NOBODY);
    assert_true(bus_mmio_read(&board.bus, &view, 0xb8000, 4, &value));
    assert_int_equal(value, 0xca4d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(test)       cmocka_unit_test_setup_teardown(test, setup, teardown)
#define SMALL_TEST(test) cmocka_unit_test_setup_teardown(test, setup_small, teardown)
        TEST(shows_the_roms_end_at_reset), SMALL_TEST(a_small_rom_is_below_1_mib_once),
        TEST(segments_become_ram),         TEST(each_segment_has_its_bits),
        TEST(writes_reach_ram_behind_rom), TEST(smram_is_ram_when_open),
        TEST(smram_is_over_a_card),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
