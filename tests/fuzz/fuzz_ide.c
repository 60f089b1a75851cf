/* links: guest/devices/ide/ide.c guest/devices/ide/channel.c guest/devices/ide/transfer.c guest/devices/ide/master.c guest/devices/ide/disk.c guest/devices/ide/identify.c guest/devices/ide/atapi.c guest/devices/ide/mmc.c guest/devices/ide/mmc_info.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/*
 * The IDE controller under a hostile driver: any access to its ports and to config space, commands
 * and tables of regions of any shape, a block device that answers at once, later, or with errors,
 * resets, saved state, and state of anybody's making. Each request that the block device gets is
 * one that it takes, of memory that is pinned or the drive's own; in the end none is under way and
 * nothing is pinned.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "guest/board/pci.h"
#include "guest/devices/cdrom.h"
#include "guest/storage/block.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/require.h"
#include "tests/unit/mock_board.h"

#define ACTIONS 600
#define MASTER  0xc000u
#define TABLE   0x1000u
#define MOST    100 /* requests that are held back */

static struct board board;
static struct device_list devices;
static struct block_request *held[MOST];
static unsigned holding, lines, discs;
static struct block_device block;
static bool later;
static uint8_t *buffers[4];
static unsigned buffer_count;
static size_t buffer_size;

void *phys_to_virt(paddr pa)
{
    return (void *)pa;
}

paddr frame_alloc_below(unsigned order, uint16_t owner, paddr limit)
{
    buffer_size = PAGE_SIZE << order;
    buffers[buffer_count] = aligned_alloc(buffer_size, buffer_size);
    return (paddr)buffers[buffer_count++];
}

void frame_free(paddr base, unsigned order)
{
    free((void *)base);
}

static bool is_within(const struct block_segment *s, const uint8_t *memory, size_t size)
{
    paddr base = (paddr)memory;

    return s->address >= base && s->address - base <= size &&
           s->length <= size - (s->address - base);
}

static bool is_known(const struct block_segment *s)
{
    bool known = is_within(s, board.memory, MOCK_MEMORY);

    for (unsigned i = 0; i < buffer_count; i++)
        known = known || is_within(s, buffers[i], buffer_size);
    return known;
}

static void give_back(unsigned which, uint8_t how)
{
    struct block_request *r = held[which];

    held[which] = held[--holding];
    for (unsigned i = 0; i < r->count && r->op <= BLOCK_WRITE; i++)
        memset((void *)r->segments[i].address, how,
               r->op == BLOCK_READ ? r->segments[i].length : 0);
    r->done(r, how > 240 ? -EIO : 0);
}

static void submit(struct block_device *d, struct block_request *r)
{
    uint64_t sum = 0;

    REQUIRE(block_check(d, r) == 0 && holding < MOST);
    REQUIRE(r->op > BLOCK_WRITE || (r->count >= 1 && r->count <= d->max_segments));
    for (unsigned i = 0; i < r->count && r->op <= BLOCK_WRITE; i++) {
        const struct block_segment *s = &r->segments[i];
        REQUIRE(s->length > 0 && is_known(s));
        REQUIRE(((s->address | s->length) & (d->segment_align - 1u)) == 0);
        sum += s->length;
    }
    REQUIRE(r->op > BLOCK_WRITE || sum == (uint64_t)r->sectors * BLOCK_SECTOR);
    held[holding++] = r;
    if (!later)
        give_back(holding - 1, next());
}

static void poll(struct block_device *d, const void *owner)
{
    while (holding)
        give_back(0, 0);
}

static const struct block_ops ops = {.submit = submit, .poll = poll};

static void close_block(struct block_device *b)
{
}

static int open_block(void *context, const char *text, size_t length, struct device_disk *out,
                      char *error)
{
    *out = (struct device_disk){.block = &block, .close = close_block, .read_only = length & 1};
    return 0;
}

static int open_disc(void *context, const char *text, size_t length, struct device_disk *out,
                     char *error)
{
    *out = (struct device_disk){.close = close_block, .read_only = true};
    out->block = length ? NULL : &block;
    return 0;
}

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    bool cd = strcmp(key, CDROM_KEY) == 0;

    *length = cd ? index : index ? 13 : 14;
    return index >= (cd ? discs : lines) ? NULL : cd ? "disc" : "ram:x,bus=ide ";
}

static uint16_t some_port(void)
{
    static const uint16_t base[] = {0x1f0, 0x1f0, 0x170, MASTER};
    unsigned which = next();

    if (which > 200)
        return which & 1 ? 0x3f6 : 0x376;
    return (uint16_t)(base[which & 3] + (which >> 2) % (which % 4 == 3 ? 16 : 8));
}

/* A command that has a chance. */
static void command(void)
{
    static const uint8_t codes[] = {0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39, 0x3d,
                                    0x40, 0x42, 0x90, 0x91, 0xc4, 0xc5, 0xc6, 0xc8, 0xca,
                                    0xce, 0xe7, 0xea, 0xec, 0xef, 0xe5, 0x70};
    uint16_t base = next() & 1 ? 0x1f0 : 0x170;

    bus_port_write(&board.bus, (uint16_t)(base + 6), 1, next());
    if (next() & 1)
        for (unsigned i = 2; i < 6; i++)
            bus_port_write(&board.bus, (uint16_t)(base + i), 1, 0);
    bus_port_write(&board.bus, (uint16_t)(base + 1), 1, next());
    bus_port_write(&board.bus, (uint16_t)(base + 2), 1, next());
    bus_port_write(&board.bus, (uint16_t)(base + 3), 1, next());
    bus_port_write(&board.bus, (uint16_t)(base + 4), 1, next() & 1);
    bus_port_write(&board.bus, (uint16_t)(base + 5), 1, 0);
    bus_port_write(&board.bus, (uint16_t)(base + 7), 1, codes[next() % sizeof(codes)]);
}

/* A packet for the second channel, where a CD-ROM drive is as a rule. */
static void packet(void)
{
    static const uint8_t codes[] = {0x00, 0x03, 0x12, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2b,
                                    0x43, 0x46, 0x4a, 0x51, 0x5a, 0xa8, 0xbb, 0xbd, 0xbe};
    uint8_t how = next();

    bus_port_write(&board.bus, 0x176, 1, how & 0x10);
    bus_port_write(&board.bus, 0x171, 1, how & 1);
    bus_port_write(&board.bus, 0x174, 1, next());
    bus_port_write(&board.bus, 0x175, 1, how & 2 ? next() : 8);
    bus_port_write(&board.bus, 0x177, 1, 0xa0);
    bus_port_write(&board.bus, 0x170, 2, codes[next() % sizeof(codes)] | (uint32_t)next() << 8);
    for (unsigned i = 0; i < 5; i++)
        bus_port_write(&board.bus, 0x170, 2, how & 4 ? next32() : next() & 0xf);
}

static void change_disc(uint8_t how)
{
    struct device *d = device_list_find(&devices, &ide_class, 0);
    const struct device_disk disc = {.block = &block, .close = close_block, .read_only = true};
    int result = how & 1 ? cdrom_eject(d, how & 2) : cdrom_insert(d, how & 2 ? &disc : NULL);

    REQUIRE(result <= 0);
}

static void put(uint64_t at, uint64_t value, unsigned size)
{
    memcpy(board.memory + at % (MOCK_MEMORY - 8), &value, size);
}

static void start_master(uint8_t how)
{
    uint16_t base = (uint16_t)(MASTER + (how & 2) * 4);

    bus_port_write(&board.bus, (uint16_t)(base + 4), 4, TABLE + (how & 4) * 8);
    bus_port_write(&board.bus, base, 1, how & 8);
    bus_port_write(&board.bus, base, 1, (how & 8) | 1);
}

/* State is hostile, too: whatever is taken can be gone on with. */
static void load_anything(void)
{
    static uint8_t stream[0x20000];
    struct state_writer w = {.data = stream, .capacity = sizeof(stream)};
    struct state_reader r = {.data = stream};

    while (!bus_idle(&board.bus, false))
        ;
    bus_save(&board.bus, &w);
    REQUIRE(w.used <= w.capacity);
    r.size = w.used;
    for (unsigned i = next() % 8; i > 0; i--)
        stream[next32() % w.used] = next();
    if (bus_load(&board.bus, &r) < 0)
        bus_reset(&board.bus);
}

static void act(void)
{
    static const uint8_t sizes[] = {1, 2, 4, 2};
    unsigned size = sizes[next() & 3], n;
    uint16_t port;

    switch (next() % 14) {
    case 0:
    case 1:
        command();
        break;
    case 2:
        bus_port_write(&board.bus, some_port(), size, next32());
        break;
    case 3:
        bus_port_read(&board.bus, some_port(), size);
        break;
    case 4:
    case 5:
        port = next() & 1 ? 0x1f0 : 0x170;
        for (n = 2u * next(); n > 0; n--)
            if (size & 1)
                bus_port_read(&board.bus, port, 2);
            else
                bus_port_write(&board.bus, port, 2, n);
        break;
    case 6: /* regions */
        for (n = next() % 8; n > 0; n--) {
            port = (uint16_t)(TABLE + 8 * (next() & 7));
            put(port, next() % 16 ? 0x2000 + 2 * next() : next32(), 4);
            put(port + 4u, next() % 8 ? 0x200u << (next() & 3) : next32(), 4);
            put(port + 7u, next() & 0x80, 1);
        }
        break;
    case 7:
        start_master(next());
        break;
    case 8:
        if (holding)
            give_back(next() % holding, next());
        break;
    case 9:
        mock_ticks(&board, next());
        break;
    case 10:
        bus_port_write(&board.bus, 0xcf8, 4, 0x80000800 | (next() & 0xfcu));
        if (next() > 200)
            bus_port_write(&board.bus, 0xcfc, size, next32());
        bus_port_read(&board.bus, 0xcfc, 4);
        break;
    case 11:
        packet();
        break;
    case 12:
        change_disc(next());
        break;
    default:
        n = next();
        if (n > 250)
            REQUIRE(mock_round_trip(&board));
        else if (n > 245)
            load_anything();
        else if (n > 240)
            bus_reset(&board.bus);
        else
            put(next32(), next32(), 4);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct device_class *const classes[] = {&pci_class, &ide_class};
    static const struct device_host host = {.line = line, .disk = open_block, .disc = open_disc};
    struct device_setup s = {.board = &board, .bus = &board.bus, .host = &host};

    devices = (struct device_list){0};
    take_input(data, size);
    later = next() & 1;
    lines = next() % 4;
    discs = 1 + next() % (4 - lines);
    holding = buffer_count = 0;
    mock_init(&board);
    block = (struct block_device){
        .ops = &ops,
        .sectors = 400,
        .logical_block = next() & 1 ? 512 : 4096,
        .physical_block = 4096,
        .max_sectors = 8u + (next() & 0x38),
        .max_segments = (uint16_t)(1 + next() % 40),
        .segment_align = (uint16_t)(1u << next() % 10),
        .highest_address = UINT64_MAX,
        .no_gaps = next() & 1,
        .has_flush = next() & 1,
    };
    REQUIRE(device_list_fill(&devices, classes, 2, &s) == 0);
    bus_reset(&board.bus);
    for (unsigned i = 0; i < ACTIONS && left > 0; i++)
        act();
    bus_reset(&board.bus);
    REQUIRE(holding == 0 && board.pins == 0);
    mock_destroy(&board);
    device_list_destroy(&devices);
    return 0;
}
