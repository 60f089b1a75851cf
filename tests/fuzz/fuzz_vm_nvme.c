/* links: guest/devices/nvme/admin.c guest/devices/nvme/controller.c guest/devices/nvme/features.c guest/devices/nvme/identify.c guest/devices/nvme/io.c guest/devices/nvme/queues.c guest/devices/nvme/state.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c guest/board/msix.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/*
 * An NVMe controller under a hostile driver: any access to its BAR and to config space, queues,
 * commands and lists of any shape in memory, a block device that answers at once, later, or with
 * errors, resets and saved state in between. In the end nothing is under way and nothing is pinned.
 */
#include "tests/fuzz/hostile_block.h"

extern const struct device_class nvme_class;

#define ACTIONS 400
#define BAR     0xc0000000u
#define SIZE    0x4000u

/* Where things are, so that what comes by chance often is there. */
#define ADMIN_SQ 0x1000u
#define ADMIN_CQ 0x2000u
#define QUEUES   0x3000u /* a page each */
#define LISTS    0x9000u
#define SHADOW   0xa000u
#define DATA     0xc000u

static struct bus_view view;

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    static const char *const text[] = {"ram:x,bus=nvme", "ram:xy,bus=nvme"};

    *length = strlen(text[later]);
    return index == 0 ? text[later] : NULL;
}

static void out(uint32_t at, uint32_t value)
{
    bus_mmio_write(&board.bus, &view, BAR + at, 4, value);
}

/* A driver that gets as far as CSTS.RDY. */
static void start(uint8_t how)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000804);
    bus_port_write(&board.bus, 0xcfc, 2, 6);
    out(0x14, 0);
    out(0x24, (how & 7) << 16 | (how >> 3 & 7));
    out(0x28, ADMIN_SQ);
    out(0x30, ADMIN_CQ);
    out(0x14, 0x460001);
}

static uint64_t somewhere(void)
{
    uint8_t how = next();
    uint64_t page = DATA + 0x1000u * (how >> 4 & 3);

    switch (how & 7) {
    case 0:
        return next32();
    case 1:
        return LISTS + 8u * next();
    case 2:
        return LISTS + 0xff8;
    case 3:
        return page + 4u * next();
    case 4:
        return QUEUES + 0x1000u * (how >> 4 & 3);
    case 5:
        return SHADOW + 0x1000u * (how >> 4 & 1);
    default:
        return page;
    }
}

/* A command that often means something, in a place of a queue. */
static void put_command(void)
{
    static const uint8_t admin[] = {0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 0x7c}, io[] = {0, 1, 2, 8, 9};
    uint8_t where = next();
    uint64_t at = (where & 1 ? QUEUES : ADMIN_SQ) + 64u * (where >> 1 & 7);
    uint8_t opcode = next();

    if (opcode < 0xf0)
        opcode = where & 1 ? io[opcode % ARRAY_SIZE(io)] : admin[opcode % ARRAY_SIZE(admin)];
    put(at, opcode | (uint32_t)next() << 16 | (where > 250 ? next32() & 0xff00 : 0), 4);
    put(at + 4, next() > 230 ? next32() : 1, 4);
    put(at + 24, somewhere(), 8);
    put(at + 32, somewhere(), 8);
    for (unsigned dword = 10; dword < 14; dword++) {
        uint8_t how = next();
        put(at + 4 * dword,
            how > 200   ? next32()
            : how > 120 ? (uint32_t)(how & 7) << 16 | (how >> 3 & 7)
                        : how & 15,
            4);
    }
}

static void act(void)
{
    static const uint8_t sizes[] = {1, 2, 4, 8};
    unsigned size = sizes[next() & 3];
    uint64_t value;

    switch (next() % 14) {
    case 0:
        if (next() > 200)
            start(next());
        break;
    case 1:
        bus_mmio_write(&board.bus, &view, BAR + next32() % SIZE, size, next32());
        break;
    case 2:
        bus_mmio_read(&board.bus, &view, BAR + next32() % SIZE, size, &value);
        break;
    case 3:
        bus_mmio_write(&board.bus, &view, BAR + (next() & 0x3f), size, next32());
        break;
    case 4:
        bus_port_write(&board.bus, 0xcf8, 4, 0x80000800 | (next() & 0xfcu));
        bus_port_write(&board.bus, 0xcfc, size & 7 ? size : 4, next32());
        bus_port_read(&board.bus, 0xcfc, 4);
        break;
    case 5:
    case 6:
    case 7:
        put_command();
        break;
    case 8:
    case 9: /* doorbells */
        out(0x1000 + 4 * (next() % 8), next() > 240 ? next32() : next() % 9);
        break;
    case 10: /* an entry of a list, or a shadow */
        put(LISTS + 8 * (next() % 2 ? next() : 511), somewhere(), 8);
        put(SHADOW + 4 * (next() % 8), next() % 9, 4);
        break;
    case 11:
        if (holding)
            give_back(next() % holding, next());
        break;
    case 12:
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
    static const struct device_class *const classes[] = {&pci_class, &nvme_class};
    static const struct device_host host = {.line = line, .disk = open_block};
    struct device_setup s = {.board = &board, .bus = &board.bus, .host = &host};
    struct device_list devices = {0};

    view = (struct bus_view){0};
    mock_init(&board);
    make_block(data, size);
    REQUIRE(device_list_fill(&devices, classes, 2, &s) == 0);
    bus_reset(&board.bus);
    start(0x3f);
    for (unsigned i = 0; i < ACTIONS && left > 0; i++)
        act();
    bus_reset(&board.bus);
    REQUIRE(holding == 0 && board.pins == 0);
    mock_destroy(&board);
    device_list_destroy(&devices);
    return 0;
}
