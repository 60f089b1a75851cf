/* links: guest/devices/ahci/hba.c guest/devices/ahci/port.c guest/devices/ahci/answer.c guest/devices/ahci/drive.c guest/devices/ahci/pages.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/*
 * The AHCI controller of VMs under a hostile driver: any register, command lists, tables and FISes
 * of any shape, anywhere, disks that answer at once, later, or with errors, resets of all kinds and
 * saved state in between. Each request that a block device gets is one that it takes, of memory
 * that is pinned; whatever has happened, a driver that resets the HBA can use it, and in the end
 * nothing is under way or pinned.
 */
#include "tests/fuzz/hostile_block.h"

extern const struct device_class ahci_class;

#define ACTIONS 400
#define BAR     0xc0000000u
#define DISKS   2
#define LIST    0x1000u
#define FIS     0x1400u
#define TABLES  0x2000u
#define TABLE   0x100u
#define DATA    0x6000u

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    static const char *const lines[DISKS + 1] = {"ram:x,bus=ahci", "ram:ro,bus=ahci", NULL};

    *length = index < DISKS ? strlen(lines[index]) : 0; /* an odd one cannot be written */
    *number = index;
    return lines[index];
}

/* --- the driver --- */

static uint32_t in(struct bus_view *view, uint32_t at)
{
    uint64_t value = 0;

    bus_mmio_read(&board.bus, view, BAR + at, 4, &value);
    return (uint32_t)value;
}

static void out(struct bus_view *view, uint32_t at, uint32_t value)
{
    bus_mmio_write(&board.bus, view, BAR + at, 4, value);
}

/* A driver that gets a port as far as PxCMD.ST, with or without a reset. */
static void start(struct bus_view *view, uint8_t how)
{
    uint32_t port = 0x100 + 0x80 * (how & 1);

    bus_port_write(&board.bus, 0xcf8, 4, 0x80000804);
    bus_port_write(&board.bus, 0xcfc, 2, 6);
    if (how & 2)
        out(view, 4, 0x80000001);
    out(view, port + 0x18, how & 4 ? 0x10 : 0);
    out(view, port + 0, LIST);
    out(view, port + 4, 0);
    out(view, port + 8, FIS);
    out(view, port + 12, 0);
    out(view, port + 0x14, 0x7dc000ff);
    out(view, 4, 0x80000002);
    out(view, port + 0x18, 0x18);
    out(view, port + 0x18, 0x11);
}

/* Most commands are such as a drive knows. */
static void prepare(void)
{
    static const uint8_t commands[] = {0x60, 0x61, 0x60, 0x61, 0x25, 0x35, 0xc8, 0x20, 0x3d,
                                       0x06, 0x2f, 0xea, 0xe0, 0xef, 0xec, 0xc6, 0x90, 0xa1};
    unsigned slot = next() % 32, pieces = next() % 8;
    uint64_t table = TABLES + TABLE * slot;
    uint8_t command = next(), count = next() % 32;

    command = command < 200 ? commands[command % sizeof(commands)] : next();
    put(LIST + 32 * slot, 5u | (uint32_t)pieces << 16, 4);
    put(LIST + 32 * slot + 8, table, 8);
    for (unsigned i = 0; i < pieces; i++) {
        put(table + 0x80 + 16 * i, DATA + next() * 128u, 8);
        put(table + 0x8c + 16 * i, next() * 32u + 511, 4);
    }
    put(table, 0x27 | 0x80 << 8 | (uint32_t)command << 16 | (uint32_t)count << 24, 4);
    put(table + 4, next() | 0x40u << 24, 4);
    put(table + 8, 0, 4);
    put(table + 12, command >> 1 == 0x30 ? slot << 3 : count, 4);
}

static void act(struct bus_view *view)
{
    static const uint8_t sizes[] = {1, 2, 4, 8};
    uint32_t port = 0x100 + 0x80 * (next() & 1u), at;
    uint64_t value;

    switch (next() % 13) {
    case 0:
        start(view, next());
        break;
    case 1:
        at = next32() % 0x1000;
        bus_mmio_write(&board.bus, view, BAR + at, sizes[next() & 3], next32());
        break;
    case 2:
        at = next32() % 0x1000;
        bus_mmio_read(&board.bus, view, BAR + at, sizes[next() & 3], &value);
        break;
    case 3:
        out(view, port + 4 * (next() % 16), next32());
        break;
    case 4:
        bus_port_write(&board.bus, 0xcf8, 4, 0x80000800 | (next() & 0xfcu));
        bus_port_write(&board.bus, 0xcfc, 4, next32());
        bus_port_read(&board.bus, 0xcfc, 4);
        break;
    case 5:
    case 6:
        prepare();
        break;
    case 7:
        at = next32();
        out(view, port + 0x34, at);
        out(view, port + 0x38, at);
        break;
    case 8:
        out(view, port + 0x38, 1u << next() % 32);
        break;
    case 9:
        if (holding)
            give_back(next() % holding, next());
        break;
    case 10:
        mock_ticks(&board, (uint64_t)next() << 16);
        break;
    case 11: /* the link, the commands */
        out(view, port + 0x2c, next() % 6);
        out(view, port + 0x18, next() & 0x19u);
        in(view, port + 0x18);
        break;
    default:
        if (next() > 250)
            REQUIRE(mock_round_trip(&board));
        else if (next() > 250)
            bus_reset(&board.bus);
        else
            put(next32(), next32(), 4);
    }
}

/* As a driver does that has just been loaded: each port answers. */
static void must_work(struct bus_view *view)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000824);
    bus_port_write(&board.bus, 0xcfc, 4, BAR);
    for (uint32_t i = 0; i < DISKS; i++) {
        uint32_t port = 0x100 + 0x80 * i;

        start(view, 0);
        out(view, 4, 0x80000001);
        for (unsigned n = 0; in(view, 4) & 1; n++)
            REQUIRE(n < 10);
        start(view, (uint8_t)i);
        REQUIRE(in(view, port + 0x20) == 0x150 && in(view, port + 0x28) == 0x123);
        put(LIST, 5 | 1 << 16, 4);
        put(LIST + 8, TABLES, 8);
        put(TABLES, 0x00ec8027, 4);
        put(TABLES + 0x80, DATA, 8);
        put(TABLES + 0x8c, 511, 4);
        out(view, port + 0x38, 1);
        REQUIRE(in(view, port + 0x38) == 0 && in(view, port + 0x20) == 0x50);
        REQUIRE(in(view, port + 0x10) & 2 && in(view, 8) & 1u << i);
        REQUIRE(board.memory[DATA] == 0x40 && board.memory[DATA + 510] == 0xa5);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct device_class *const classes[] = {&pci_class, &ahci_class};
    static const struct device_host host = {.line = line, .disk = open_block};
    struct device_setup s = {.board = &board, .bus = &board.bus, .host = &host};
    struct device_list devices = {0};
    struct bus_view view = {0};

    make_block(data, size);
    block.has_flush = next() & 1;
    block.has_fua = next() & 1;
    block.write_zeroes_sectors = 0;
    mock_init(&board);
    REQUIRE(device_list_fill(&devices, classes, 2, &s) == 0);
    bus_reset(&board.bus);
    for (unsigned i = 0; i < ACTIONS && left > 0; i++)
        act(&view);
    must_work(&view);
    bus_reset(&board.bus);
    REQUIRE(holding == 0 && board.pins == 0);
    mock_destroy(&board);
    device_list_destroy(&devices);
    return 0;
}
