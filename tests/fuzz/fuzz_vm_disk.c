/* links: guest/devices/virtio/blk.c guest/devices/virtio/rng.c guest/devices/virtio/pci.c guest/devices/virtio/queue.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c guest/board/msix.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/*
 * A disk controller on the PCI bus under a hostile driver: any access to its BAR and to config
 * space, rings and requests of any shape in memory, a block device that answers at once, later, or
 * with errors, resets and saved state in between. Each request that the block device gets is one
 * that it takes, of memory that is pinned; in the end none is under way and nothing is pinned.
 * Or, in its place, a source of random numbers, which gives no more than it may in so short a time.
 */
#include "tests/fuzz/hostile_block.h"

extern const struct device_class virtio_blk_class, virtio_rng_class;

#define ACTIONS 400
#define BAR     0xc0000000u

static bool rng;
static size_t given; /* random bytes */

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    *length = later ? 5 : 6;
    return index == 0 && rng == (key[0] == 'r') ? "ram:xy" : NULL;
}

static size_t random_numbers(void *context, void *data, size_t size)
{
    size_t n = next();

    n = MIN(n, size);
    memset(data, 0x77, n);
    given += n;
    return n;
}

/* A driver that gets as far as DRIVER_OK, so that what comes next finds queues. */
static void start(struct bus_view *view, uint8_t how)
{
    const struct {
        uint32_t at, size;
        uint64_t value;
    } steps[] = {
        {0x14, 1, 0},
        {0x14, 1, 3},
        {8, 4, 0},
        {12, 4, 1u << 28 | (how & 1u) << 29},
        {8, 4, 1},
        {12, 4, how & 2 ? 5 : 1},
        {0x14, 1, 0xb},
        {0x16, 2, how >> 6},
        {0x18, 2, 1u << (how >> 2 & 7)},
        {0x20, 8, 0x1000},
        {0x28, 8, 0x2000},
        {0x30, 8, 0x3000},
        {0x1c, 2, 1},
        {0x14, 1, 0xf},
    };

    bus_port_write(&board.bus, 0xcf8, 4, 0x80000804);
    bus_port_write(&board.bus, 0xcfc, 2, 6);
    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
        bus_mmio_write(&board.bus, view, BAR + steps[i].at, steps[i].size, steps[i].value);
}

static void act(struct bus_view *view)
{
    static const uint8_t sizes[] = {1, 2, 4, 8};
    unsigned size = sizes[next() & 3];
    uint64_t value;
    uint32_t at;

    switch (next() % 12) {
    case 0:
        start(view, next());
        break;
    case 1:
        at = next32() % 0x8000;
        bus_mmio_write(&board.bus, view, BAR + at, size, next32());
        break;
    case 2:
        bus_mmio_read(&board.bus, view, BAR + next32() % 0x8000, size, &value);
        break;
    case 3: /* common configuration, where the most is */
        at = next() & 0x3f;
        bus_mmio_write(&board.bus, view, BAR + at, size, next32());
        break;
    case 4:
        bus_port_write(&board.bus, 0xcf8, 4, 0x80000800 | (next() & 0xfcu));
        bus_port_write(&board.bus, 0xcfc, size & 7 ? size : 4, next32());
        bus_port_read(&board.bus, 0xcfc, 4);
        break;
    case 5: /* a descriptor of the ring, or of a table */
        at = next() % 2 ? 0x1000 : 0x4000;
        at += 16 * (next() % 8);
        put(at, next() % 4 ? 0x5000 + next() * 64u : next32(), 8);
        put(at + 8, next() % 4 ? next() * 16u : next32(), 4);
        put(at + 12, next(), 2);
        put(at + 14, next() % 4 ? next() : next32(), 2);
        break;
    case 6: /* a header */
        at = 0x5000 + next() * 64u;
        put(at, next() % 16, 4);
        put(at + 8, next() % 4 ? next() : next32(), 8);
        break;
    case 7: /* the available ring */
        put(0x2000 + next() % 64, next(), 2);
        put(0x2002, (uint64_t)(board.memory[0x2002] + next() % 4), 2);
        break;
    case 8:
        bus_mmio_write(&board.bus, view, BAR + 0x3000 + 4 * (next() % 17), 2, 0);
        break;
    case 9:
        if (holding)
            give_back(next() % holding, next());
        break;
    case 10:
        mock_ticks(&board, next());
        break;
    default:
        if (next() > 250) {
            REQUIRE(mock_round_trip(&board));
        } else if (next() > 250) {
            bus_reset(&board.bus);
        } else {
            put(next32(), next32(), 4);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct device_class *const classes[] = {&pci_class, &virtio_blk_class,
                                                         &virtio_rng_class};
    static const struct device_host host = {
        .line = line, .disk = open_block, .random = random_numbers};
    struct device_setup s = {.board = &board, .bus = &board.bus, .host = &host};
    struct device_list devices = {0};
    struct bus_view view = {0};

    mock_init(&board);
    make_block(data, size);
    rng = size && data[0] & 2;
    given = 0;
    REQUIRE(device_list_fill(&devices, classes, 3, &s) == 0);
    bus_reset(&board.bus);
    for (unsigned i = 0; i < ACTIONS && left > 0; i++)
        act(&view);
    bus_reset(&board.bus);
    REQUIRE(holding == 0 && board.pins == 0);
    REQUIRE(given <= 4 * 64);
    mock_destroy(&board);
    device_list_destroy(&devices);
    return 0;
}
