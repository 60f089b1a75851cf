/* links: guest/devices/hotplug.c guest/devices/acpi_pm.c guest/devices/virtio/blk.c guest/devices/virtio/pci.c guest/devices/virtio/queue.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c guest/board/msix.c guest/board/pci.c guest/board/unplug.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c */
/*
 * Disks come and go while their guest runs: 1,000 times in mid-I/O, after which as many frames,
 * blocks of the heap and pins are there as before; and what the guest finds where one was. The
 * frames and the heap are counted, and the sanitizers watch who comes too late.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/board/pci.h"
#include "guest/board/ports.h"
#include "guest/devices/acpi_pm.h"
#include "guest/devices/hotplug.h"
#include "guest/storage/block.h"
#include "tests/unit/mock_frames.h"
#include "tests/unit/virtq_driver.h"

#define CYCLES 1000
#define FRAMES 16 /* of a disk */
#define RINGS  0x1000
#define HEADER 0x7000
#define STATUS 0x7f00
#define DATA   0x8000
#define V1     (UINT64_C(1) << 32)

extern const struct device_class virtio_blk_class;

static struct board board;
static struct device_list list;
static struct driver driver;
static struct bus_view view;
static unsigned settled, opened, closed;
static uint32_t ejected;
static uint64_t seed = 1;

static uint32_t next_random(void)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(seed >> 33);
}

/* --- disks: a few frames, and requests that are kept until the test gives them back --- */

struct frames {
    struct block_device block;
    paddr frame[FRAMES];
};

static struct block_request *held[200];
static unsigned holding;

static void submit(struct block_device *d, struct block_request *r)
{
    assert_true(holding < ARRAY_SIZE(held));
    held[holding++] = r;
}

static void back(unsigned at)
{
    struct block_request *r = held[at];

    held[at] = held[--holding];
    r->done(r, 0);
}

static const struct block_ops block_ops = {.submit = submit};

static void close_frames(struct block_device *b)
{
    struct frames *f = CONTAINER_OF(b, struct frames, block);

    for (unsigned i = 0; i < FRAMES; i++)
        frame_free(f->frame[i], 0);
    heap_free(f);
    closed++;
}

static int open_frames(void *context, const char *text, size_t length, struct device_disk *out,
                       char *error)
{
    struct frames *f;

    if (length == 3) {
        strcpy(error, "there is no such disk");
        return -EINVAL;
    }
    f = heap_alloc(sizeof(*f));
    if (!f)
        return -ENOMEM;
    f->block = (struct block_device){.ops = &block_ops,
                                     .sectors = FRAMES * PAGE_SIZE / 512,
                                     .logical_block = 512,
                                     .physical_block = 512,
                                     .max_sectors = 8,
                                     .max_segments = 4,
                                     .segment_align = 1,
                                     .highest_address = UINT64_MAX,
                                     .has_flush = true};
    for (unsigned i = 0; i < FRAMES; i++)
        f->frame[i] = frame_alloc(0, 1);
    *out = (struct device_disk){.block = &f->block, .close = close_frames};
    opened++;
    return 0;
}

/* --- the board --- */

/* Nobody may be waited for with a lock held. */
static void settle(void *context)
{
    for (unsigned i = 0; i < list.count; i++) {
        assert_true(device_trylock(list.item[i].device));
        device_unlock(list.item[i].device);
    }
    settled++;
}

static void eject(void *context, uint32_t devices)
{
    ejected |= devices;
}

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    return NULL;
}

static int setup(void **state)
{
    static const struct device_class *const classes[] = {&acpi_pm_class, &hotplug_class, &pci_class,
                                                         &virtio_blk_class};

    mock_reset();
    mock_heap_left = 1000000;
    mock_init(&board);
    board.host =
        (struct device_host){.settle = settle, .eject = eject, .disk = open_frames, .line = line};
    assert_int_equal(device_list_fill(&list, classes, ARRAY_SIZE(classes), &board.setup), 0);
    bus_reset(&board.bus);
    view = (struct bus_view){0};
    settled = opened = closed = ejected = 0;
    return 0;
}

static int teardown(void **state)
{
    while (holding)
        back(0);
    assert_true(mock_round_trip(&board));
    bus_destroy(&board.bus);
    device_list_destroy(&list);
    assert_int_equal(mock_heap_blocks, 0);
    assert_int_equal(mock_used, 0);
    assert_int_equal(opened, closed);
    return 0;
}

static int attach(const char *text)
{
    board.setup.text = text;
    board.setup.length = strlen(text);
    return device_list_add(&list, &virtio_blk_class, &board.setup);
}

static struct device_item *newest(void)
{
    return &list.item[list.count - 1];
}

static unsigned place(const struct device_item *item)
{
    int device = pci_device_of(board.setup.pci, item->device);

    assert_true(device > 0);
    return (unsigned)device;
}

/* --- the guest --- */

static uint32_t config(unsigned device, unsigned at, unsigned size)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000000 | device << 11 | (at & 0xfc));
    return bus_port_read(&board.bus, (uint16_t)(0xcfc + (at & 3)), size);
}

static void config_write(unsigned device, unsigned at, unsigned size, uint32_t value)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000000 | device << 11 | (at & 0xfc));
    bus_port_write(&board.bus, (uint16_t)(0xcfc + (at & 3)), size, value);
}

static bool out(uint64_t bar, uint32_t at, unsigned size, uint64_t value)
{
    return bus_mmio_write(&board.bus, &view, bar + at, size, value);
}

/* Its driver starts it. Where its BAR is. */
static uint64_t start(unsigned device)
{
    static const struct {
        uint32_t at, size;
        uint64_t value;
    } steps[] = {
        {0x14, 1, 0},
        {0x14, 1, 1},
        {0x14, 1, 3},
        {8, 4, 1},
        {12, 4, V1 >> 32},
        {0x14, 1, 0xb},
        {0x16, 2, 0},
        {0x18, 2, DRIVER_SIZE},
        {0x20, 8, RINGS},
        {0x28, 8, RINGS + 0x1000},
        {0x30, 8, RINGS + 0x1800},
        {0x1c, 2, 1},
        {0x14, 1, 0xf},
    };
    uint64_t bar = config(device, PCI_BAR0, 4), status;

    assert_int_equal(config(device, 0, 4), 0x10421af4);
    config_write(device, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    driver_init(&driver, &board, false, DRIVER_SIZE, RINGS);
    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
        assert_true(out(bar, steps[i].at, steps[i].size, steps[i].value));
    assert_true(bus_mmio_read(&board.bus, &view, bar + 0x14, 1, &status));
    assert_int_equal(status, 0xf);
    return bar;
}

static void offer(uint64_t bar, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct driver_segment s[3] = {
            {HEADER + 16 * i, 16, false}, {DATA + 512 * i, 512, true}, {STATUS + i, 1, true}};
        driver_put(&driver, HEADER + 16 * i, 0, 8);
        driver_put(&driver, HEADER + 16 * i + 8, i, 8);
        board.memory[STATUS + i] = 0xee;
        assert_true(driver_offer(&driver, s, 3, false) >= 0);
    }
    out(bar, 0x3000, 2, 0);
}

static unsigned taken(void)
{
    unsigned count = 0;
    uint32_t written;

    while (driver_take(&driver, &written) >= 0)
        count++;
    return count;
}

/* Whatever is in flight comes back in some order while the board waits for it. */
static void remove_it(struct device_item *item)
{
    while (!device_list_remove(&list, item, &board.setup)) {
        assert_true(holding > 0);
        back(next_random() % holding);
    }
}

/* --- tests --- */

static void what_happened_is_told_once(void **state)
{
    struct hotplug *h =
        CONTAINER_OF(device_list_find(&list, &hotplug_class, 0), struct hotplug, dev);
    struct acpi_pm *pm = board.setup.pm;

    assert_int_equal(bus_port_read(&board.bus, 0xae00, 4), 0);
    hotplug_come(h, 3);
    hotplug_come(h, 30);
    hotplug_go(h, 5);
    assert_true(mock_round_trip(&board));
    assert_int_equal(bus_port_read(&board.bus, 0xae00, 1), 0xff); /* as a whole only */
    assert_int_equal(bus_port_read(&board.bus, 0xae00, 4), 0x40000008);
    assert_int_equal(bus_port_read(&board.bus, 0xae00, 4), 0);
    assert_int_equal(bus_port_read(&board.bus, 0xae04, 4), 0x20);
    assert_int_equal(bus_port_read(&board.bus, 0xae04, 4), 0);
    hotplug_come(h, 3);
    hotplug_go(h, 3); /* before the guest has looked */
    assert_int_equal(bus_port_read(&board.bus, 0xae00, 4), 0);
    assert_int_equal(bus_port_read(&board.bus, 0xae04, 4), 8);
    bus_port_write(&board.bus, 0xae08, 2, 0x10);
    assert_int_equal(ejected, 0);
    bus_port_write(&board.bus, 0xae08, 4, 0x30);
    assert_int_equal(ejected, 0x30);
    assert_int_equal(bus_port_read(&board.bus, 0xae08, 4), 0xffffffff);
    /* Its event: heard when it is switched on. */
    assert_false(acpi_pm_event(pm, GPE_HOTPLUG));
    assert_false(board.irq[GSI_SCI]);
    assert_int_equal(bus_port_read(&board.bus, PORT_GPE0, 2), 2);
    bus_port_write(&board.bus, PORT_GPE0 + 2, 2, 2);
    assert_true(board.irq[GSI_SCI]);
    bus_port_write(&board.bus, PORT_GPE0, 2, 2);
    assert_false(board.irq[GSI_SCI]);
    assert_true(acpi_pm_event(pm, GPE_HOTPLUG));
    assert_true(board.irq[GSI_SCI]);
    bus_port_write(&board.bus, PORT_GPE0, 2, 2);
    hotplug_come(h, 1);
    bus_reset(&board.bus);
    assert_int_equal(bus_port_read(&board.bus, 0xae00, 4), 0);
}

static void a_cycle(void)
{
    assert_int_equal(attach("ram:disk,serial=1"), 0);
    struct device_item *item = newest();
    unsigned device = place(item), count = next_random() % 5, done = 0;
    assert_string_equal(item->name, "ram:disk");
    uint64_t bar = start(device), value;

    offer(bar, count);
    while (holding && next_random() % 3) {
        back(next_random() % holding);
        done++;
    }
    assert_int_equal(taken(), done);
    if (next_random() % 2) /* as the guest's driver does before it lets go of it */
        out(bar, 0x14, 1, 0);
    device_item_unplug(item, &board.setup);
    assert_int_equal(config(device, 0, 4), 0xffffffff);
    assert_int_equal(config(device, PCI_STATUS, 2), 0xffff);
    assert_false(bus_mmio_read(&board.bus, &view, bar, 4, &value));
    assert_false(out(bar, 0x3000, 2, 0));
    if (next_random() % 4 == 0) { /* another one comes meanwhile */
        assert_int_equal(attach("ram:other"), 0);
        struct device_item *other = newest();
        assert_int_equal(place(other), device);
        device_item_unplug(other, &board.setup);
        assert_true(device_list_remove(&list, other, &board.setup));
    }
    remove_it(item);
    assert_int_equal(holding, 0);
    assert_int_equal(taken(), 0); /* nobody has touched its rings since */
    mock_ticks(&board, board.hz / 100);
}

static void a_thousand_times(void **state)
{
    long blocks;
    uint64_t frames = mock_used;
    unsigned devices, ranges, timed, count = list.count;

    a_cycle(); /* whose places stay */
    a_cycle();
    blocks = mock_heap_blocks;
    devices = board.bus.device_count;
    timed = board.bus.timed_count;
    ranges = board.bus.range_count;
    for (unsigned i = 0; i < CYCLES; i++) {
        a_cycle();
        assert_int_equal(mock_heap_blocks, blocks);
        assert_int_equal(mock_used, frames);
        assert_int_equal(board.pins, 0);
        assert_int_equal(board.bus.range_count, ranges);
        assert_true(board.bus.device_count <= devices + 1);
        assert_true(board.bus.timed_count <= timed + 1);
        assert_int_equal(list.count, count);
    }
    assert_true(settled >= 2 * CYCLES);
    assert_true(board.bus.next_deadline == TIMER_OFF);
}

/* A VM ends, or is reset, with a disk that leaves and something of it in flight. */
static void the_end_comes_first(void **state)
{
    assert_int_equal(attach("ram:disk"), 0);
    uint64_t bar = start(place(newest()));
    offer(bar, 4);
    device_item_unplug(newest(), &board.setup);
    assert_false(device_list_remove(&list, newest(), &board.setup));
    back(0);
    assert_false(bus_idle(&board.bus, true));
    while (holding)
        back(0);
    assert_true(bus_idle(&board.bus, true));
    bus_reset(&board.bus);
    assert_true(mock_round_trip(&board));
    assert_int_equal(board.pins, 0);
}

static void its_interrupt_goes_with_it(void **state)
{
    assert_int_equal(attach("ram:disk"), 0);
    struct device_item *item = newest();
    unsigned gsi = GSI_PIRQ(pci_intx_line(place(item), 0));
    uint64_t bar = start(place(item));

    offer(bar, 2);
    back(0);
    assert_true(board.irq[gsi]);
    device_item_unplug(item, &board.setup);
    assert_false(board.irq[gsi]);
    back(0); /* which may not interrupt any more */
    assert_false(board.irq[gsi]);
    remove_it(item);
    assert_int_equal(attach("ram:disk"), 0);
    start(place(newest()));
    assert_false(board.irq[gsi]);
}

static void slots_and_names(void **state)
{
    struct pci *pci = board.setup.pci;
    char name[DEVICE_NAME + 20];

    pci->places = 1u << 4 | 1u << 7;
    assert_int_equal(attach("part:a,ro"), 0);
    assert_int_equal(place(newest()), 4);
    assert_string_equal(newest()->name, "part:a");
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(attach(name), 0);
    assert_int_equal(place(newest()), 7);
    assert_int_equal(strlen(newest()->name), DEVICE_NAME - 1);
    assert_int_equal(config(4, PCI_BAR0, 4), 0xc0000000);
    assert_int_equal(config(7, PCI_BAR0, 4), 0xc0008000);
    assert_int_equal(attach("part:b"), -ENOSPC);
    assert_int_equal(attach("xxx"), -EINVAL);
    assert_string_equal(board.setup.error, "there is no such disk");
    assert_int_not_equal(list.item[list.count - 1].id, list.item[list.count - 2].id);
    device_item_unplug(&list.item[list.count - 2], &board.setup);
    remove_it(&list.item[list.count - 2]);
    assert_int_equal(place(newest()), 7);
    assert_int_equal(attach("part:b"), 0);
    assert_int_equal(place(newest()), 4);
    assert_int_equal(config(4, PCI_BAR0, 4), 0xc0000000);
}

/* Memory is exhausted at each step of making one. */
static void without_memory(void **state)
{
    long blocks = mock_heap_blocks;
    uint64_t frames = mock_used;
    unsigned steps = 0, ranges = board.bus.range_count;

    for (mock_heap_left = 0; attach("ram:disk") < 0; mock_heap_left = (long)++steps) {
        assert_int_equal(mock_heap_blocks, blocks);
        assert_int_equal(mock_used, frames);
        assert_int_equal(board.bus.range_count, ranges);
        assert_int_equal(config(1, 0, 4), 0xffffffff);
        assert_true(steps < 10);
    }
    assert_true(steps > 2);
    mock_heap_left = 1000;
    start(place(newest()));
}

/* Ports of one that goes are nobody's, and those of the next are its own. */
static void ports_of_a_device_that_goes(void **state)
{
    struct device *d = device_list_find(&list, &hotplug_class, 0);
    long blocks = mock_heap_blocks;

    device_lock(d);
    bus_remove_device(&board.bus, d);
    device_unlock(d);
    bus_remove_device(&board.bus, d); /* which is none any more */
    assert_int_equal(bus_port_read(&board.bus, 0xae00, 4), 0xffffffff);
    assert_int_equal(mock_heap_blocks, blocks - 1);
    assert_int_equal(bus_add_device(&board.bus, d), 0);
    assert_int_equal(bus_port_read(&board.bus, 0xae00, 4), 0xffffffff);
    assert_int_equal(bus_add_ports(&board.bus, d, 0xae00, 16), 0);
    assert_int_equal(bus_port_read(&board.bus, 0xae00, 4), 0);
    bus_reset(&board.bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_happened_is_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_thousand_times, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_comes_first, setup, teardown),
        cmocka_unit_test_setup_teardown(its_interrupt_goes_with_it, setup, teardown),
        cmocka_unit_test_setup_teardown(slots_and_names, setup, teardown),
        cmocka_unit_test_setup_teardown(without_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(ports_of_a_device_that_goes, setup, teardown),
    };

    return cmocka_run_group_tests_name("hotplug", tests, NULL, NULL);
}
