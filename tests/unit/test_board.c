/* links: guest/board/board.c guest/board/bus.c guest/board/bus_ranges.c guest/board/msi.c guest/board/pic.c guest/board/ioapic.c guest/board/lapic.c guest/board/lapic_ipi.c guest/board/lapic_irq.c guest/board/lapic_registers.c guest/board/lapic_timer.c guest/board/state.c */
/* A board's life: nothing of it is left when it could not be made, or has gone; and whose it is. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "guest/board/board_internal.h"
#include "guest/board/ioapic.h"
#include "guest/board/wall_clock.h"
#include "mm/guest_memory.h"
#include "mm/heap.h"
#include "tests/unit/no_guest_memory.h"

#define NOW 5000ULL

/* --- what stands for the rest of Corbel --- */

uint64_t tsc_hz = 2000000000;
bool spin_forsaken;

static unsigned allocated, left; /* pieces of memory that there are, and that may be had */

void *heap_alloc(size_t size)
{
    if (left == 0)
        return NULL;
    left--;
    allocated++;
    return calloc(1, size);
}

void heap_free(void *p)
{
    if (p)
        allocated--;
    free(p);
}

uint64_t test_tsc(void)
{
    return NOW;
}

void spin_wait(struct spinlock *l, uint16_t ticket)
{
    fail_msg("%s", __func__);
}

void wall_clock_now(int64_t *seconds, uint32_t *microseconds)
{
    fail_msg("%s", __func__);
}

static struct guest_memory_layer layer[4];
static unsigned layers, rooms, rooms_left = UINT_MAX;

int guest_memory_make_room(struct guest_memory *gm)
{
    if (rooms_left == 0)
        return -ENOMEM;
    rooms_left--;
    rooms++;
    return 0;
}

bool guest_memory_set_layers(struct guest_memory *gm, const struct guest_memory_layer *set,
                             unsigned count)
{
    assert_true(count <= ARRAY_SIZE(layer));
    memcpy(layer, set, count * sizeof(*set));
    layers = count;
    return false;
}

/* --- its owner --- */

static int owner; /* its address says who is asked */
static unsigned asked, seen;

static void timers(void *who, bool earlier)
{
    assert_ptr_equal(who, &owner);
    asked++;
}

static void eoi(void *who)
{
    assert_ptr_equal(who, &owner);
    asked++;
}

static void request(void *who, enum vm_request what, const char *why)
{
    assert_ptr_equal(who, &owner);
    asked++;
}

static void line_changed(void *who, unsigned gsi, bool level)
{
    assert_ptr_equal(who, &owner);
    seen++;
}

static const struct board_cpus cpus = {.timers = timers, .eoi = eoi, .request = request};
static uint32_t read_page[1024];

static struct board *make(void)
{
    struct board *board = NULL;

    left = UINT32_MAX;
    assert_int_equal(board_create(&board, &cpus, &owner, NULL, read_page), 0);
    assert_non_null(board);
    return board;
}

/* --- what has to be so --- */

static void gives_all_back(void **state)
{
    for (unsigned n = 0;; n++) {
        struct board *board = NULL;

        left = n;
        int result = board_create(&board, &cpus, &owner, NULL, read_page);
        if (result == 0) {
            assert_true(n > 1);
            board_destroy(board);
            assert_int_equal(allocated, 0);
            return;
        }
        assert_int_equal(result, -ENOMEM);
        assert_null(board);
        assert_int_equal(allocated, 0);
    }
}

static void begins_at_0(void **state)
{
    struct board *board = make();
    struct device d = {.board = board};

    assert_ptr_equal(board_bus(board), board);
    assert_int_equal(device_now(&d), 0);
    board_front(board)->tsc_offset += 100;
    assert_int_equal(device_now(&d), 100);
    board_destroy(board);
}

static void saves_its_lines(void **state)
{
    struct board *board = make();
    struct device d = {.board = board};

    assert_int_equal(board_lines(board), 0);
    device_irq(&d, 4, true);
    device_irq(&d, 20, true);
    assert_int_equal(board_lines(board), 1 << 4 | 1 << 20);
    board_reset(board);
    assert_int_equal(board_lines(board), 0);
    board_load_lines(board, UINT32_MAX); /* a stream is hostile */
    assert_int_equal(board_lines(board), 0xffffff);
    board_destroy(board);
}

static void asks_its_owner(void **state)
{
    struct board *board = make();
    struct device d = {.board = board};

    asked = seen = 0;
    device_vm_request(&d, VM_REQUEST_RESET, "test");
    assert_int_equal(asked, 1);
    device_timer_set(&d, 0, 1000);
    assert_int_equal(asked, 2);
    struct bus_view view = {0};
    assert_true(bus_mmio_write(board_bus(board), &view, IOAPIC_BASE, 4, 0x10));
    assert_true(bus_mmio_write(board_bus(board), &view, IOAPIC_BASE + 0x10, 4, 0x8031));
    assert_int_equal(asked, 3);
    board_set_observer(line_changed);
    device_irq(&d, 4, true);
    board_set_observer(NULL);
    device_irq(&d, 4, false);
    assert_int_equal(seen, 1);
    board_destroy(board);
}

/* A guest puts a BAR over both APICs' pages: it shows beside them. */
static void apics_are_never_covered(void **state)
{
    static const uint64_t apics[] = {IOAPIC_BASE, LAPIC_BASE};

    for (unsigned i = 0; i < ARRAY_SIZE(apics); i++) {
        struct board *board = make();
        struct bus_range bar = {.device = &board->ioapic.device, /* any that has the functions */
                                .size = 0x4000,
                                .space = BUS_MEMORY,
                                .priority = BUS_MOVABLE,
                                .shows = BUS_FRAMES,
                                .from = 0x7000000};

        assert_int_equal(bus_add_range(board_bus(board), &bar), 0);
        assert_int_equal(bus_place(board_bus(board), &bar, apics[i] - 0x1000), 0);
        assert_int_equal(layers, 2);
        assert_int_equal(layer[0].gpa, apics[i] - 0x1000);
        assert_int_equal(layer[0].size, 0x1000);
        assert_int_equal(layer[1].gpa, apics[i] + 0x1000);
        assert_int_equal(layer[1].from, 0x7002000);
        board_destroy(board);
    }
}

static uint64_t no_read(struct device *d, uint64_t offset, unsigned size)
{
    return 0;
}

static void no_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
}

static void nothing_to_reset(struct device *d)
{
}

static void nothing_to_save(struct device *d, struct state_writer *w)
{
}

static int nothing_to_load(struct device *d, struct state_reader *r)
{
    return 0;
}

static uint32_t read_7(struct device *d, uint16_t port, unsigned size)
{
    return 7;
}

static void drop(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
}

/* Ports that found no memory to be seen in are there once others of their page do. */
static void ports_without_memory_come_later(void **state)
{
    static const struct device_ops ops = {
        .name = "ports",
        .port_read = read_7,
        .port_write = drop,
        .reset = nothing_to_reset,
        .save = nothing_to_save,
        .load = nothing_to_load,
    };
    struct board *board = make();
    struct bus *bus = board_bus(board);
    struct device d = {.board = board, .ops = &ops};
    struct bus_range first = {.device = &d, .size = 8, .space = BUS_PORTS};
    struct bus_range second = {.device = &d, .size = 8, .space = BUS_PORTS};

    assert_int_equal(bus_add_device(bus, &d), 0);
    assert_int_equal(bus_add_range(bus, &first), 0);
    assert_int_equal(bus_add_range(bus, &second), 0);
    left = 0;
    assert_int_equal(bus_place(bus, &first, 0x5000), -ENOMEM);
    assert_int_equal(bus_port_read(bus, 0x5000, 1), 0xff);
    left = 1;
    assert_int_equal(bus_place(bus, &second, 0x50f8), 0);
    assert_int_equal(bus_port_read(bus, 0x50ff, 1), 7);
    assert_int_equal(bus_port_read(bus, 0x5007, 1), 7);
    assert_int_equal(bus_port_read(bus, 0x5008, 1), 0xff);
    bus_withdraw(bus, &first);
    assert_int_equal(bus_port_read(bus, 0x5007, 1), 0xff);
    assert_int_equal(bus_port_read(bus, 0x50f8, 1), 7);
    board_destroy(board);
    assert_int_equal(allocated, 0);
}

/* Only a board whose devices may show memory has room for it, from before they can. */
static void takes_memory_for_what_shows(void **state)
{
    static const struct device_ops ops = {
        .name = "rom",
        .mmio_read = no_read,
        .mmio_write = no_write,
        .reset = nothing_to_reset,
        .save = nothing_to_save,
        .load = nothing_to_load,
    };
    struct board *board = make();
    struct bus *bus = board_bus(board);
    struct device d = {.board = board, .ops = &ops};
    struct bus_range bar = {
        .device = &d, .size = PAGE_SIZE, .space = BUS_MEMORY, .priority = BUS_MOVABLE};
    struct bus_range over = bar;
    unsigned before = allocated;

    over.priority = BUS_OVER;
    rooms = 0;
    rooms_left = 1;
    assert_int_equal(bus_add_device(bus, &d), 0);
    left = 0;
    assert_int_equal(bus_add_range(bus, &bar), 0);
    assert_int_equal(bus_place(bus, &bar, 0x80000000), 0);
    assert_int_equal(rooms, 0);
    assert_int_equal(bus_show(bus, &bar, BUS_FRAMES, 0x7000000, false), -ENOMEM);
    assert_int_equal(bar.shows, BUS_CALLS);
    assert_int_equal(bus_add_range(bus, &over), -ENOMEM);
    left = 1;
    rooms_left = 0;
    assert_int_equal(bus_add_range(bus, &over), -ENOMEM);
    assert_int_equal(left, 1);
    rooms_left = 1;
    assert_int_equal(bus_add_range(bus, &over), 0);
    assert_int_equal(allocated, before + 1);
    assert_int_equal(bus_place(bus, &over, 0x1000), 0); /* from now on it takes none */
    assert_int_equal(layers, 1);
    assert_int_equal(bus_show(bus, &bar, BUS_FRAMES, 0x7000000, false), 0);
    assert_int_equal(layers, 2);
    bus_withdraw(bus, &over);
    bus_withdraw(bus, &bar);
    assert_int_equal(layers, 0);
    board_destroy(board);
    assert_int_equal(allocated, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_all_back),
        cmocka_unit_test(begins_at_0),
        cmocka_unit_test(saves_its_lines),
        cmocka_unit_test(asks_its_owner),
        cmocka_unit_test(apics_are_never_covered),
        cmocka_unit_test(ports_without_memory_come_later),
        cmocka_unit_test(takes_memory_for_what_shows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
