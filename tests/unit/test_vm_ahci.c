/* links: guest/devices/ahci/hba.c guest/devices/ahci/port.c guest/devices/ahci/answer.c guest/devices/ahci/drive.c guest/devices/ahci/pages.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/*
 * The AHCI controller of VMs, by a driver that finds it on the bus and keeps to AHCI 1.3.1, or does
 * not, over block devices that keep requests until they are told to give them back.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/pci.h"
#include "guest/storage/block.h"
#include "tests/unit/mock_board.h"

#define SECTORS 5000
#define BAR     0xc0000000u
#define LIST    0x1000u
#define FIS     0x1400u
#define TABLES  0x2000u
#define TABLE   0x200u
#define DATA    0x8000u
#define NOWHERE 0x7000000u

/* Registers. */
#define GHC  0x04
#define IS   0x08
#define P(n) (0x100 + 0x80 * (n))
enum {
    CLB = 0,
    FB = 8,
    PIS = 0x10,
    PIE = 0x14,
    CMD = 0x18,
    TFD = 0x20,
    SIG = 0x24,
    SSTS = 0x28,
    SCTL = 0x2c,
    SERR = 0x30,
    SACT = 0x34,
    CI = 0x38
};
#define ST   1u
#define CLO  8u
#define FRE  0x10u
#define FR   0x4000u
#define CR   0x8000u
#define DHRS 1u
#define PSS  2u
#define SDBS 8u
#define DPS  0x20u
#define PCS  0x40u
#define OFS  0x1000000u
#define IFS  0x8000000u
#define HBFS 0x20000000u
#define TFES 0x40000000u

/* Commands. */
enum {
    TRIM = 0x06,
    READ = 0x20,
    READ_EXT = 0x25,
    READ_LOG = 0x2f,
    WRITE_EXT = 0x35,
    WRITE_FUA = 0x3d,
    READ_Q = 0x60,
    WRITE_Q = 0x61,
    READ_28 = 0xc8,
    STANDBY = 0xe0,
    POWER = 0xe5,
    FLUSH = 0xe7,
    FLUSH_EXT = 0xea,
    IDENTIFY_PACKET = 0xa1,
    IDENTIFY = 0xec,
    FEATURES = 0xef,
};

extern const struct device_class ahci_class;

static struct board board;
static struct device_list devices;
static struct bus_view view;

/* --- the block devices, one for each port --- */

static uint8_t medium[SECTORS * 512];
static struct block_request *held[100];
static unsigned holding, opened, closed, submitted;
static bool at_once; /* requests come back from inside submit() */
static int next_error;
static uint8_t ops_seen[1000], flags_seen[1000];

static void carry_out(struct block_request *r)
{
    uint64_t at = r->sector * 512;
    int error = next_error;

    next_error = 0;
    for (unsigned i = 0; i < r->count && error == 0 && r->op <= BLOCK_WRITE; i++) {
        uint8_t *memory = (uint8_t *)r->segments[i].address;
        if (r->op == BLOCK_READ)
            memcpy(memory, medium + at, r->segments[i].length);
        else
            memcpy(medium + at, memory, r->segments[i].length);
        at += r->segments[i].length;
    }
    if (error == 0 && r->op == BLOCK_DISCARD)
        memset(medium + at, 0, r->sectors * 512);
    r->done(r, error);
}

static void submit(struct block_device *d, struct block_request *r)
{
    assert_int_equal(block_check(d, r), 0);
    ops_seen[submitted % 1000] = r->op;
    flags_seen[submitted++ % 1000] = r->flags;
    if (at_once)
        carry_out(r);
    else
        held[holding++] = r;
}

static void back(unsigned which)
{
    struct block_request *r = held[which];

    assert_true(holding > which);
    memmove(held + which, held + which + 1, (--holding - which) * sizeof(held[0]));
    carry_out(r);
}

static void poll(struct block_device *d, const void *owner)
{
    while (holding)
        back(0);
}

static const struct block_ops block_ops = {.submit = submit, .poll = poll};
static const struct block_ops unhurried = {.submit = submit};
static struct block_device block;
static struct device_disk_counts counts;

static void close_block(struct block_device *b)
{
    closed++;
}

static int open_block(void *context, const char *text, size_t length, struct device_disk *out,
                      char *error)
{
    if (memcmp(text, "ram:bad", 7) == 0)
        return -EINVAL;
    *out = (struct device_disk){.block = &block, .close = close_block, .counts = &counts};
    if (memcmp(text, "ram:one", 7) == 0)
        memcpy(out->serial, "serial-1", 9);
    out->read_only = memcmp(text, "ram:ro", 6) == 0;
    opened++;
    return 0;
}

static const char *const *texts;

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    if (!texts[index])
        return NULL;
    *length = strlen(texts[index]);
    *number = 10 + index;
    return texts[index];
}

/* --- the driver --- */

static uint32_t in(uint32_t at)
{
    uint64_t value;

    assert_true(bus_mmio_read(&board.bus, &view, BAR + at, 4, &value));
    return (uint32_t)value;
}

static void out(uint32_t at, uint32_t value)
{
    assert_true(bus_mmio_write(&board.bus, &view, BAR + at, 4, value));
}

static uint32_t config(unsigned device, unsigned at, unsigned size)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000000 | device << 11 | (at & 0xfc));
    return bus_port_read(&board.bus, (uint16_t)(0xcfc + (at & 3)), size);
}

static void config_write(unsigned at, unsigned size, uint32_t value)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000800 | (at & 0xfc));
    bus_port_write(&board.bus, (uint16_t)(0xcfc + (at & 3)), size, value);
}

static void put(uint64_t at, uint64_t value, unsigned size)
{
    memcpy(board.memory + at, &value, size);
}

static uint32_t get(uint64_t at)
{
    uint32_t value;

    memcpy(&value, board.memory + at, 4);
    return value;
}

/* As drivers do it: reset, AHCI, memory, FISes, the link, interrupts, commands. */
static void start(void)
{
    config_write(PCI_COMMAND, 2, 6);
    out(GHC, in(GHC) | 1);
    assert_int_equal(in(GHC), 0x80000000);
    out(P(0) + CLB, LIST);
    out(P(0) + CLB + 4, 0);
    out(P(0) + FB, FIS);
    out(P(0) + FB + 4, 0);
    out(P(0) + CMD, FRE);
    out(P(0) + SERR, UINT32_MAX);
    out(P(0) + PIS, UINT32_MAX);
    out(IS, UINT32_MAX);
    out(P(0) + PIE, 0x7dc000ff);
    out(GHC, 0x80000002);
    assert_int_equal(in(P(0) + TFD), 0x150);
    out(P(0) + CMD, FRE | ST);
    memset(board.memory + FIS, 0, 256);
}

static uint64_t table(unsigned slot)
{
    return TABLES + TABLE * slot;
}

/* The entries of a command's memory; the last one has length 0. */
struct piece {
    uint64_t gpa;
    uint32_t length;
};

static void pieces(unsigned slot, const struct piece *p)
{
    unsigned n = 0;

    for (; p[n].length; n++) {
        put(table(slot) + 0x80 + 16 * n, p[n].gpa, 8);
        put(table(slot) + 0x8c + 16 * n, p[n].length - 1, 4);
    }
    put(LIST + 32 * slot, 5 | n << 16, 4);
    put(LIST + 32 * slot + 4, 0xffffffff, 4);
    put(LIST + 32 * slot + 8, table(slot), 8);
}

static void fis(unsigned slot, uint8_t command, uint64_t lba, uint16_t count, uint8_t device)
{
    uint8_t *f = board.memory + table(slot);

    if (!get(LIST + 32 * slot))
        pieces(slot, (struct piece[]){{0, 0}});
    memset(f, 0, 64);
    f[0] = 0x27;
    f[1] = 0x80;
    f[2] = command;
    for (unsigned i = 0; i < 3; i++) {
        f[4 + i] = (uint8_t)(lba >> 8 * i);
        f[8 + i] = (uint8_t)(lba >> (24 + 8 * i));
    }
    f[7] = device;
    f[12] = (uint8_t)count;
    f[13] = (uint8_t)(count >> 8);
}

static void prepare(unsigned slot, uint8_t command, uint64_t lba, uint16_t sectors, uint64_t gpa,
                    uint32_t length)
{
    pieces(slot, (struct piece[]){{gpa, length}, {0, 0}});
    fis(slot, command, lba, sectors, 0x40);
}

static void prepare_queued(unsigned slot, uint8_t command, uint64_t lba, uint16_t sectors,
                           uint64_t gpa)
{
    prepare(slot, command, lba, 0, gpa, sectors * 512u);
    board.memory[table(slot) + 3] = (uint8_t)sectors;
    board.memory[table(slot) + 11] = (uint8_t)(sectors >> 8);
    board.memory[table(slot) + 12] = (uint8_t)(slot << 3);
}

static void issue(uint32_t slots)
{
    out(P(0) + CI, slots);
}

static void issue_queued(uint32_t slots)
{
    out(P(0) + SACT, slots);
    out(P(0) + CI, slots);
}

/* What has happened since this was asked last, and forget it. */
static uint32_t events(void)
{
    uint32_t is = in(P(0) + PIS);

    out(P(0) + PIS, is);
    out(IS, in(IS));
    return is;
}

static void recover(void)
{
    out(P(0) + CMD, FRE);
    assert_int_equal(in(P(0) + CMD) & (ST | CR), 0);
    assert_int_equal(in(P(0) + CI), 0);
    assert_int_equal(in(P(0) + SACT), 0);
    out(P(0) + SERR, UINT32_MAX);
    events();
    out(P(0) + CMD, FRE | ST);
}

static void read_page(uint8_t command, uint8_t log)
{
    events();
    prepare(0, command, log, command == READ_LOG, DATA, 512);
    issue(1);
    assert_int_equal(in(P(0) + CI), 0);
    assert_int_equal(in(P(0) + TFD), 0x50);
    assert_int_equal(events(), PSS);
}

static uint16_t word(unsigned n)
{
    return (uint16_t)get(DATA + 2 * n);
}

/* --- life --- */

static int setup_with(const char *const *lines)
{
    static const struct device_class *const classes[] = {&pci_class, &ahci_class};
    static struct device_host host;
    struct device_setup s = {.board = &board, .bus = &board.bus, .host = &host};

    host = (struct device_host){.line = line, .disk = open_block};
    texts = lines;
    mock_init(&board);
    view = (struct bus_view){0};
    devices = (struct device_list){0};
    block = (struct block_device){
        .ops = &block_ops,
        .sectors = SECTORS,
        .logical_block = 512,
        .physical_block = 4096,
        .max_sectors = 16,
        .max_segments = 4,
        .segment_align = 2,
        .highest_address = UINT64_MAX,
        .has_flush = true,
        .discard_sectors = 50,
    };
    at_once = true;
    holding = opened = closed = submitted = 0;
    next_error = 0;
    counts = (struct device_disk_counts){0};
    for (unsigned i = 0; i < sizeof(medium); i++)
        medium[i] = (uint8_t)(i / 512 * 7 + i);
    int error = device_list_fill(&devices, classes, 2, &s);
    if (error == 0)
        bus_reset(&board.bus);
    return error;
}

static int setup(void **state)
{
    static const char *const one[] = {"ram:one,bus=ahci", NULL};

    return setup_with(one);
}

static int teardown(void **state)
{
    block.ops = &block_ops; /* a test that failed may have left another */
    bool good = mock_round_trip(&board);

    mock_destroy(&board);
    device_list_destroy(&devices);
    return good && board.pins == 0 && closed == opened ? 0 : -1;
}

static void again_with(const char *const *lines)
{
    assert_int_equal(teardown(NULL), 0);
    assert_int_equal(setup_with(lines), 0);
}

/* --- what is seen --- */

static void test_the_function(void **state)
{
    unsigned cap = config(1, PCI_CAPABILITIES, 1);

    assert_int_equal(config(1, 0, 4), 0x29228086);
    assert_int_equal(config(1, PCI_REVISION, 4), 0x01060102);
    assert_int_equal(config(1, PCI_BAR0 + 20, 4), BAR);
    assert_int_equal(config(1, PCI_INTERRUPT_PIN, 1), 1);
    assert_int_equal(config(1, cap, 1), 5);
    assert_int_equal(config(1, 0x92, 2) & 0x3f, 1);
    config_write(PCI_COMMAND, 2, 2);
    assert_int_equal(in(0), 0xc1241f00 | 2 << 20 | 1 << 15);
    assert_int_equal(in(GHC), 0x80000000);
    assert_int_equal(in(0xc), 1);
    assert_int_equal(in(0x10), 0x10301);
    assert_int_equal(in(P(0) + SSTS), 0x123);
    assert_int_equal(in(P(0) + SIG), 0xffffffff);
    assert_int_equal(in(P(0) + TFD), 0x80); /* the signature waits */
    assert_int_equal(in(P(0) + PIS), PCS | 0x400000);
    assert_int_equal(in(P(1) + SSTS), 0);
    out(P(0) + FB, FIS);
    out(P(0) + CMD, FRE);
    assert_int_equal(in(P(0) + SIG), 0x101);
    assert_int_equal(in(P(0) + TFD), 0x150);
    assert_int_equal(get(FIS + 0x40), 0x01500034);
    assert_int_equal(in(P(0) + CMD) & ~6u, FRE | FR);
}

static void test_disks_and_ports(void **state)
{
    static const char *const seven[] = {"ram:one,bus=ahci", "ram:2,bus=ahci",  "part:3",
                                        "ram:ro,bus=ahci",  "ram:4,bus=ahci",  "ram:5,bus=ahci",
                                        "ram:6,bus=ahci",   "disk:7,bus=ahci", NULL};
    static const char *const bad[] = {"ram:one,bus=ahci", "ram:bad,bus=ahci", NULL};

    again_with(seven);
    config_write(PCI_COMMAND, 2, 2);
    assert_int_equal(opened, 7); /* that without a bus is another controller's */
    assert_int_equal(in(0xc), 0x3f);
    assert_int_equal(in(0) & 0x1f, 5);
    assert_int_equal(config(2, 0, 4), 0x29228086); /* one more HBA */
    assert_int_equal(config(3, 0, 4), UINT32_MAX);
    assert_int_equal(teardown(NULL), 0);
    assert_int_equal(setup_with(bad), -EINVAL);
    assert_int_equal(opened, closed);
    mock_destroy(&board);
    device_list_destroy(&devices);
    assert_int_equal(setup(NULL), 0);
}

static void test_identify(void **state)
{
    uint8_t sum = 0;

    start();
    read_page(IDENTIFY, 0);
    assert_int_equal(get(LIST + 4), 512);
    assert_memory_equal(board.memory + FIS + 0x20, "\x5f\x60\x58\0", 4);
    assert_int_equal(board.memory[FIS + 0x20 + 15], 0x50);
    assert_int_equal(get(FIS + 0x20 + 16), 512);
    assert_memory_equal(board.memory + DATA + 20, "esirla1-            ", 20);
    assert_memory_equal(board.memory + DATA + 54, "oCbrled si k", 12);
    assert_int_equal(word(0), 0x40);
    assert_int_equal(word(60), SECTORS);
    assert_int_equal(word(100), SECTORS);
    assert_int_equal(word(75), 31);
    assert_int_equal(word(76) & 0x100, 0x100);
    assert_int_equal(word(83), 0x7400);
    assert_int_equal(word(84), 0x4060);
    assert_int_equal(word(85) & 0x20, 0x20);
    assert_int_equal(word(88), 0x203f);
    assert_int_equal(word(106), 0x6003);
    assert_int_equal(word(169), 1);
    for (unsigned i = 0; i < 512; i++)
        sum += board.memory[DATA + i];
    assert_int_equal(sum, 0);
    /* To several places, the last of them longer than what is left. */
    memcpy(board.memory + DATA + 0x1000, board.memory + DATA, 512);
    pieces(3, (struct piece[]){{DATA + 2, 10}, {DATA + 0x100, 500}, {DATA + 0x800, 4096}, {0, 0}});
    fis(3, IDENTIFY, 0, 0, 0);
    issue(8);
    assert_memory_equal(board.memory + DATA + 2, board.memory + DATA + 0x1000, 10);
    assert_memory_equal(board.memory + DATA + 0x100, board.memory + DATA + 0x100a, 500);
    assert_memory_equal(board.memory + DATA + 0x800, board.memory + DATA + 0x11fe, 2);
    assert_int_equal(get(LIST + 32 * 3 + 4), 512);
}

static void test_identify_of_other_disks(void **state)
{
    static const char *const read_only[] = {"ram:ro,bus=ahci", NULL};

    again_with(read_only);
    block.logical_block = block.physical_block = 4096;
    block.has_flush = false;
    bus_reset(&board.bus);
    start();
    read_page(IDENTIFY, 0);
    assert_memory_equal(board.memory + DATA + 20, "ocbrle1- 0          ", 20);
    assert_int_equal(word(82) & 0x20, 0); /* no cache, no trim */
    assert_int_equal(word(85) & 0x20, 0);
    assert_int_equal(word(169), 0);
    assert_int_equal(word(106), 0x5000);
    assert_int_equal(word(117), 2048);
    assert_int_equal(word(100), SECTORS / 8);
    prepare(0, WRITE_EXT, 0, 1, DATA, 4096);
    issue(1);
    assert_int_equal(in(P(0) + TFD), 0x4051);
    assert_int_equal(submitted, 0);
    assert_int_equal(counts.errors, 1);
    recover();
    prepare(0, READ_EXT, 3, 2, DATA, 8192);
    issue(1);
    assert_memory_equal(board.memory + DATA, medium + 3 * 4096, 8192);
    assert_int_equal(get(LIST + 4), 8192);
}

/* --- transfers --- */

static void test_transfers(void **state)
{
    start();
    pieces(0, (struct piece[]){{DATA + 0x10, 0x3000}, {DATA + 0x4000, 0x602}, {0, 0}});
    put(table(0) + 0x9c, 0x80000601, 4); /* with an interrupt behind it */
    fis(0, READ_EXT, 3, 27, 0x40);
    issue(1);
    assert_int_equal(in(P(0) + CI), 0);
    assert_int_equal(events(), DHRS | DPS);
    assert_memory_equal(board.memory + DATA + 0x10, medium + 3 * 512, 0x3000);
    assert_memory_equal(board.memory + DATA + 0x4000, medium + 3 * 512 + 0x3000, 0x600);
    assert_int_equal(get(LIST + 4), 27 * 512);
    assert_int_equal(get(FIS + 0x40), 0x00504034);
    assert_true(submitted >= 2);
    memset(board.memory + DATA, 0x42, 1024);
    prepare(1, WRITE_EXT, 10, 2, DATA, 1024);
    issue(2);
    assert_int_equal(events(), DHRS);
    assert_memory_equal(medium + 10 * 512, board.memory + DATA, 1024);
    assert_true(medium[12 * 512] == (uint8_t)(12 * 7));
    prepare(0, READ, 9, 3, DATA, 1536);
    issue(1);
    assert_int_equal(events(), PSS);
    assert_memory_equal(board.memory + DATA, medium + 9 * 512, 1536);
    fis(0, READ_28, 0x1388 - 256, 0, 0x40); /* 256 of them, to the last */
    pieces(0, (struct piece[]){
                  {DATA, 0x8000}, {DATA, 0x8000}, {DATA, 0x8000}, {DATA, 0x8000}, {0, 0}});
    issue(1);
    assert_int_equal(events(), DHRS);
    assert_int_equal(get(LIST + 4), 256 * 512);
    assert_int_equal(board.pins, 0);
}

static void test_queued(void **state)
{
    at_once = false;
    start();
    for (unsigned slot = 0; slot < 32; slot++)
        prepare_queued(slot, READ_Q, 100 + slot, 1, DATA + 512 * slot);
    issue_queued(UINT32_MAX);
    assert_int_equal(holding, 32);
    assert_int_equal(in(P(0) + CI), 0); /* accepted */
    assert_int_equal(in(P(0) + SACT), UINT32_MAX);
    assert_int_equal(in(P(0) + TFD), 0x50);
    assert_int_equal(events(), 0);
    back(7);
    assert_int_equal(in(P(0) + SACT), ~(1u << 7));
    assert_int_equal(get(FIS + 0x58), 0x005040a1);
    assert_int_equal(get(FIS + 0x5c), 1 << 7);
    assert_int_equal(events(), SDBS);
    assert_memory_equal(board.memory + DATA + 7 * 512, medium + 107 * 512, 512);
    memset(board.memory + DATA + 0x6000, 0x77, 1024);
    prepare_queued(7, WRITE_Q, 500, 2, DATA + 0x6000);
    issue_queued(1 << 7);
    assert_int_equal(holding, 32);
    while (holding)
        back(holding / 2);
    assert_int_equal(in(P(0) + SACT), 0);
    assert_int_equal(events(), SDBS);
    assert_memory_equal(medium + 500 * 512, board.memory + DATA + 0x6000, 1024);
    for (unsigned slot = 0; slot < 32; slot++)
        if (slot != 7)
            assert_memory_equal(board.memory + DATA + 512 * slot, medium + (100 + slot) * 512, 512);
}

/* Commands that are not queued are carried out one after the other, from that behind the last. */
static void test_one_at_a_time(void **state)
{
    at_once = false;
    start();
    for (unsigned slot = 0; slot < 3; slot++)
        prepare(slot, READ_EXT, slot, 1, DATA + 512 * slot, 512);
    issue(2);
    issue(5);
    assert_int_equal(holding, 1);
    assert_int_equal(in(P(0) + TFD) & 0xff, 0x80);
    assert_int_equal(in(P(0) + CI), 7);
    assert_int_equal(in(P(0) + CMD) >> 8 & 31, 1);
    back(0);
    assert_int_equal(in(P(0) + CI), 5);
    assert_int_equal(in(P(0) + CMD) >> 8 & 31, 2);
    back(0);
    assert_int_equal(in(P(0) + CI), 1);
    back(0);
    assert_int_equal(in(P(0) + CI), 0);
    assert_int_equal(in(P(0) + TFD), 0x50);
    assert_memory_equal(board.memory + DATA, medium, 1536);
}

static void test_flush_and_stable_writes(void **state)
{
    static const uint8_t commands[] = {FLUSH, FLUSH_EXT, STANDBY};

    start();
    for (unsigned i = 0; i < 3; i++) {
        fis(0, commands[i], 0, 0, 0);
        submitted = 0;
        issue(1);
        assert_int_equal(events(), DHRS);
        assert_int_equal(submitted, 1);
        assert_int_equal(ops_seen[0], BLOCK_FLUSH);
    }
    fis(0, POWER, 0, 0, 0);
    issue(1);
    assert_int_equal(board.memory[FIS + 0x4c], 0);
    for (unsigned fua = 0; fua < 2; fua++) {
        block.has_fua = fua;
        prepare(0, WRITE_FUA, 1, 1, DATA, 512);
        submitted = 0;
        issue(1);
        assert_int_equal(submitted, 2 - fua);
        assert_int_equal(flags_seen[0], fua ? BLOCK_FUA : 0);
        assert_true(fua || ops_seen[1] == BLOCK_FLUSH);
        prepare_queued(0, WRITE_Q, 1, 1, DATA);
        board.memory[table(0) + 7] = 0xc0;
        submitted = 0;
        issue_queued(1);
        assert_int_equal(submitted, 2 - fua);
        assert_int_equal(in(P(0) + SACT), 0);
    }
    fis(0, POWER, 0, 0, 0);
    issue(1);
    assert_int_equal(board.memory[FIS + 0x4c], 0xff);
    /* Without its write cache, which is flushed first, each write is stable. */
    fis(0, FEATURES, 0, 0, 0);
    board.memory[table(0) + 3] = 0x82;
    submitted = 0;
    issue(1);
    assert_int_equal(ops_seen[0], BLOCK_FLUSH);
    prepare(0, WRITE_EXT, 1, 1, DATA, 512);
    submitted = 0;
    issue(1);
    assert_int_equal(flags_seen[0], BLOCK_FUA);
    read_page(IDENTIFY, 0);
    assert_int_equal(word(85) & 0x20, 0);
    next_error = -EIO;
    fis(0, FLUSH, 0, 0, 0);
    issue(1);
    assert_int_equal(in(P(0) + TFD), 0x451);
}

static void test_trim(void **state)
{
    static const uint8_t zeroes[120 * 512];

    start();
    prepare(0, TRIM, 0, 1, DATA, 512);
    board.memory[table(0) + 3] = 1;
    memset(board.memory + DATA, 0, 512);
    put(DATA, 20 | UINT64_C(120) << 48, 8);
    put(DATA + 16, 200 | UINT64_C(3) << 48, 8);
    put(DATA + 504, 300 | UINT64_C(1) << 48, 8);
    issue(1);
    assert_int_equal(events(), DHRS);
    assert_int_equal(submitted, 5);
    assert_memory_equal(medium + 20 * 512, zeroes, 120 * 512);
    assert_memory_equal(medium + 200 * 512, zeroes, 3 * 512);
    assert_memory_equal(medium + 300 * 512, zeroes, 512);
    assert_true(medium[140 * 512 + 1] && medium[203 * 512 + 1] && medium[19 * 512 + 1]);
    put(DATA + 16, SECTORS | UINT64_C(3) << 48, 8);
    issue(1);
    assert_int_equal(in(P(0) + TFD), 0x451);
    recover();
    memset(board.memory + DATA, 0, 512); /* nothing at all */
    issue(1);
    assert_int_equal(events(), DHRS);
}

static void test_features(void **state)
{
    static const struct {
        uint8_t feature, count;
        bool good;
    } what[] = {{3, 0x45, true},  {3, 0x46, false}, {3, 0x0c, true}, {3, 0x22, true},
                {3, 0x23, false}, {3, 0x90, false}, {2, 0, true},    {0x55, 0, true},
                {0xaa, 0, true},  {0x66, 0, true},  {0x10, 2, false}};

    start();
    for (unsigned i = 0; i < ARRAY_SIZE(what); i++) {
        fis(0, FEATURES, 0, what[i].count, 0);
        board.memory[table(0) + 3] = what[i].feature;
        issue(1);
        assert_int_equal(in(P(0) + TFD), what[i].good ? 0x50 : 0x451);
        if (!what[i].good)
            recover();
    }
    fis(0, 0xc6, 0, 8, 0);
    issue(1);
    read_page(IDENTIFY, 0);
    assert_int_equal(word(59), 0x108);
    prepare(0, 0xc4, 5, 9, DATA, 9 * 512);
    issue(1);
    assert_int_equal(events(), PSS);
    fis(0, 0x90, 0, 0, 0); /* EXECUTE DEVICE DIAGNOSTIC */
    issue(1);
    assert_int_equal(in(P(0) + CI), 0);
    assert_int_equal(in(P(0) + TFD), 0x150);
    assert_int_equal(events(), DHRS);
}

/* --- errors --- */

/* "Error Recovery": nothing goes on before PxCMD.ST was cleared, and the driver sees which command
 * it was. SeaBIOS asks thus whether it is a CD. */
static void test_unknown_command(void **state)
{
    start();
    prepare(4, IDENTIFY_PACKET, 0, 0, DATA, 512);
    issue(1 << 4);
    assert_int_equal(in(P(0) + TFD), 0x451);
    assert_int_equal(in(P(0) + CI), 1 << 4);
    assert_int_equal(in(P(0) + CMD) >> 8 & 31, 4);
    assert_int_equal(get(FIS + 0x40), 0x04514034);
    assert_int_equal(events(), DHRS | TFES);
    prepare(5, READ_EXT, 0, 1, DATA, 512);
    issue(1 << 5);
    assert_int_equal(submitted, 0);
    assert_int_equal(in(P(0) + CI), 3 << 4);
    recover();
    assert_int_equal(submitted, 0);
    assert_int_equal(in(P(0) + CMD) >> 8 & 31, 0);
    issue(1 << 5);
    assert_int_equal(events(), DHRS);
}

static void test_errors(void **state)
{
    static const struct {
        uint8_t command;
        uint64_t lba;
        int error;
        uint8_t says;
    } what[] = {{READ_EXT, SECTORS - 1, 0, 0x10}, {READ_EXT, UINT64_C(0xffffffffffff), 0, 0x10},
                {READ_EXT, 7, -EIO, 0x40},        {WRITE_EXT, 7, -EIO, 0x04},
                {WRITE_EXT, SECTORS, 0, 0x10},    {0x42, SECTORS - 1, 0, 0x10}};

    start();
    for (unsigned i = 0; i < ARRAY_SIZE(what); i++) {
        next_error = what[i].error;
        prepare(0, what[i].command, what[i].lba, 2, DATA, 1024);
        issue(1);
        assert_int_equal(in(P(0) + TFD), what[i].says << 8 | 0x51);
        assert_int_equal(events(), DHRS | TFES);
        recover();
    }
    /* Not by LBA; and the second part of a long one, whose first block is told. */
    fis(0, READ_EXT, 0, 1, 0);
    issue(1);
    assert_int_equal(in(P(0) + TFD), 0x1051);
    recover();
    at_once = false;
    prepare(0, READ_EXT, 0x10, 20, DATA, 20 * 512);
    issue(1);
    back(0);
    assert_int_equal(holding, 1);
    next_error = -EIO;
    back(0);
    assert_int_equal(in(P(0) + TFD), 0x4051);
    assert_int_equal(board.memory[FIS + 0x44], 0x20);
    /* What is no multiple of what the device takes. */
    recover();
    block.segment_align = 512;
    prepare(0, READ_EXT, 0, 1, DATA + 2, 512);
    issue(1);
    assert_int_equal(in(P(0) + TFD), 0x451);
}

/* Serial ATA 2.6: an error of a queued command ends all, and is in the log until that is read. */
static void test_queued_error(void **state)
{
    at_once = false;
    start();
    for (unsigned slot = 0; slot < 4; slot++)
        prepare_queued(slot, READ_Q, 0x123456 % SECTORS + slot, 1, DATA + 512 * slot);
    issue_queued(0xf);
    back(0);
    assert_int_equal(in(P(0) + SACT), 0xe);
    events();
    next_error = -EIO;
    back(1); /* slot 2 */
    assert_int_equal(in(P(0) + TFD), 0x4051);
    assert_int_equal(in(P(0) + SACT), 0xe);
    assert_int_equal(get(FIS + 0x58), 0x405140a1);
    assert_int_equal(get(FIS + 0x5c), 0);
    assert_int_equal(events(), TFES);
    back(0); /* too late */
    assert_int_equal(in(P(0) + SACT), 0xe);
    assert_int_equal(events(), 0);
    out(P(0) + CMD, FRE);
    assert_int_equal(in(P(0) + CMD) & CR, 0); /* asked, the last one comes back */
    assert_int_equal(holding, 0);
    out(P(0) + CMD, FRE | ST);
    fis(0, FLUSH, 0, 0, 0);
    issue(1);
    assert_int_equal(in(P(0) + TFD), 0x451);
    recover();
    at_once = true;
    read_page(READ_LOG, 0x10);
    assert_int_equal(board.memory[DATA], 2);
    assert_int_equal(get(DATA) >> 16, 0x4051);
    assert_int_equal(get(DATA + 4) & 0xffffff, 0x123456 % SECTORS + 2);
    uint8_t sum = 0;
    for (unsigned i = 0; i < 512; i++)
        sum += board.memory[DATA + i];
    assert_int_equal(sum, 0);
    fis(0, FLUSH, 0, 0, 0);
    issue(1);
    assert_int_equal(events(), DHRS);
    read_page(READ_LOG, 0);
    assert_int_equal(word(0), 1);
    assert_int_equal(word(0x10), 1);
    assert_int_equal(word(0x11), 0);
    prepare(0, READ_LOG, 0x30, 1, DATA, 512);
    issue(1);
    assert_int_equal(in(P(0) + TFD), 0x451);
}

static void test_queue_misused(void **state)
{
    at_once = false;
    start();
    prepare_queued(0, READ_Q, 0, 1, DATA);
    board.memory[table(0) + 12] = 1 << 3; /* another's tag */
    issue_queued(1);
    assert_int_equal(in(P(0) + TFD), 0x451);
    assert_int_equal(events(), TFES);
    recover();
    at_once = true;
    read_page(READ_LOG, 0x10);
    at_once = false;
    prepare_queued(0, READ_Q, 0, 1, DATA);
    issue_queued(1);
    fis(1, FLUSH, 0, 0, 0); /* what is not queued, among them */
    pieces(1, (struct piece[]){{0, 0}});
    issue(2);
    assert_int_equal(in(P(0) + TFD), 0x451);
    assert_int_equal(events(), DHRS | TFES);
    back(0);
    recover();
    at_once = true;
    read_page(READ_LOG, 0x10);
    assert_int_equal(board.memory[DATA], 0x80);
    at_once = false;
    prepare_queued(0, READ_Q, 0, 1, DATA);
    issue_queued(1);
    issue_queued(1); /* once more */
    assert_int_equal(holding, 1);
    assert_int_equal(events(), IFS);
    back(0);
    recover();
}

/* "PxIS.HBFS": lists, tables, FISes and data that are not in memory; then a command that is none.
 */
static void test_memory_that_is_none(void **state)
{
    static const uint32_t places[] = {CLB, FB, 0, 1, 2, 3};

    start();
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        prepare(0, i < 3 ? FLUSH : i == 3 ? IDENTIFY : READ_EXT, 0, 1, i < 3 ? DATA : NOWHERE, 512);
        if (i < 2)
            out(P(0) + places[i], NOWHERE);
        else if (i == 2)
            put(LIST + 8, UINT64_C(0xfffffffffffff000), 8);
        else if (i == 5)
            put(LIST + 8, MOCK_MEMORY - 0x80, 8); /* behind which the PRDT is */
        if (i == 5)
            memcpy(board.memory + MOCK_MEMORY - 0x80, board.memory + table(0), 20);
        issue(1);
        assert_int_equal(in(P(0) + CI), 1);
        assert_int_equal(events() & ~DHRS, HBFS);
        out(P(0) + CLB, LIST);
        out(P(0) + FB, FIS);
        /* It has not said that it is through with it. */
        out(P(0) + CMD, FRE);
        out(P(0) + CMD, FRE | CLO);
        assert_int_equal(in(P(0) + CMD) & CLO, 0);
        assert_int_equal(in(P(0) + TFD) & 0x88, 0);
        out(P(0) + CMD, FRE | ST);
    }
    assert_int_equal(board.pins, 0);
    /* Queued, what is not memory is seen when the data is to move. */
    prepare_queued(3, READ_Q, 0, 8, NOWHERE);
    issue_queued(8);
    assert_int_equal(events(), HBFS);
    assert_int_equal(in(P(0) + SACT), 8);
    recover();
    put(LIST, 4, 4); /* a FIS of 16 bytes */
    issue(1);
    assert_int_equal(events(), IFS);
    recover();
    fis(0, FLUSH, 0, 0, 0);
    put(LIST, 5, 4);
    put(LIST + 8, table(0), 8);
    board.memory[table(0)] = 0x34;
    issue(1);
    assert_int_equal(events(), IFS);
    recover();
    prepare(0, READ_EXT, 0, 3, DATA, 1024); /* less memory than data */
    issue(1);
    assert_int_equal(events(), OFS | IFS);
}

static void test_many_pieces(void **state)
{
    start();
    prepare(0, READ_EXT, 0, 1, DATA, 512);
    put(LIST + 8, 0x3000, 8);
    fis(0, READ_EXT, 0, 64, 0x40);
    memcpy(board.memory + 0x3000, board.memory + table(0), 20);
    put(LIST, 5 | 256 << 16, 4);
    for (unsigned i = 0; i < 300; i++) {
        put(0x3080 + 16 * i, DATA + 128 * (i % 256), 8);
        put(0x308c + 16 * i, 127, 4);
    }
    issue(1);
    assert_int_equal(events(), DHRS);
    assert_memory_equal(board.memory + DATA, medium, 64 * 512);
    put(LIST, 5 | 300u << 16, 4);
    board.memory[0x3000 + 12] = 73;
    issue(1); /* more than it keeps */
    assert_int_equal(in(P(0) + TFD), 0x451);
}

/* --- resets --- */

static void test_comreset(void **state)
{
    at_once = false;
    start();
    prepare(0, READ_EXT, 0, 20, DATA, 20 * 512);
    issue(1);
    block.ops = &unhurried;
    out(P(0) + CMD, FRE);
    assert_int_equal(in(P(0) + CMD) & CR, CR); /* not yet */
    assert_int_equal(in(P(0) + CI), 0);
    out(P(0) + SCTL, 0x301);
    assert_int_equal(in(P(0) + SSTS), 0);
    out(P(0) + SCTL, 0x300);
    assert_int_equal(in(P(0) + SSTS), 0); /* nor this */
    memset(board.memory + FIS, 0x55, 256);
    back(0);
    assert_int_equal(holding, 0); /* its rest is not read any more */
    assert_int_equal(in(P(0) + SSTS), 0x123);
    assert_int_equal(in(P(0) + TFD), 0x150);
    assert_int_equal(in(P(0) + CMD) & CR, 0);
    assert_int_equal(get(FIS + 0x40), 0x01500034);
    assert_int_equal(in(P(0) + PIS), PCS | 0x400000);
    out(P(0) + SERR, UINT32_MAX);
    assert_int_equal(in(P(0) + PIS), 0);
    block.ops = &block_ops;
    at_once = true;
    out(P(0) + CMD, FRE | ST);
    prepare(0, READ_EXT, 0, 20, DATA, 20 * 512);
    issue(1);
    assert_int_equal(events(), DHRS);
    /* Slower, or off. */
    out(P(0) + SCTL, 0x311);
    out(P(0) + SCTL, 0x310);
    assert_int_equal(in(P(0) + SSTS), 0x113);
    out(P(0) + SCTL, 0x304);
    assert_int_equal(in(P(0) + SSTS), 4);
    assert_int_equal(in(P(0) + TFD), 0x7f);
    issue(1);
    assert_int_equal(submitted, 3);
    out(P(0) + SCTL, 0x300);
    assert_int_equal(in(P(0) + SSTS), 0x123);
}

/* As Linux does it: two FISes that are no commands, without a look at the link. */
static void test_software_reset(void **state)
{
    at_once = false;
    start();
    prepare_queued(3, READ_Q, 0, 1, DATA);
    issue_queued(8);
    block.ops = &unhurried;
    pieces(0, (struct piece[]){{0, 0}});
    fis(0, 0, 0, 0, 0);
    board.memory[table(0) + 1] = 0;
    board.memory[table(0) + 15] = 4;
    put(LIST, 5 | 1 << 8 | 1 << 10, 4);
    issue(1);
    assert_int_equal(in(P(0) + CI), 0);
    put(LIST, 5, 4);
    board.memory[table(0) + 15] = 0;
    memset(board.memory + FIS, 0, 256);
    issue(1);
    assert_int_equal(in(P(0) + CI), 1); /* something is in flight */
    back(0);
    mock_microseconds(&board, 1000);
    assert_int_equal(in(P(0) + CI), 0);
    assert_int_equal(in(P(0) + TFD), 0x150);
    assert_int_equal(get(FIS + 0x40), 0x01500034);
    assert_int_equal(events(), 0);
    block.ops = &block_ops;
    fis(0, FLUSH, 0, 0, 0);
    issue(1);
    back(0);
    assert_int_equal(events(), DHRS);
}

static void test_hba_reset(void **state)
{
    at_once = false;
    start();
    prepare(0, READ_EXT, 0, 20, DATA, 20 * 512);
    issue(1);
    block.ops = &unhurried;
    out(GHC, 0x80000003);
    assert_int_equal(in(GHC)&1, 1);
    out(P(0) + PIE, 1); /* not heard */
    memset(board.memory + FIS, 0x55, 256);
    back(0);
    assert_int_equal(holding, 0);
    assert_int_equal(in(GHC), 0x80000000);
    assert_int_equal(in(P(0) + CLB), LIST); /* stays */
    assert_int_equal(in(P(0) + PIE), 0);
    assert_int_equal(in(P(0) + CMD) & (ST | FRE | CR | FR), 0);
    assert_int_equal(in(P(0) + CI), 0);
    assert_int_equal(get(FIS + 0x40), 0x55555555);
    assert_int_equal(board.pins, 0);
    block.ops = &block_ops;
    at_once = true;
    start();
    read_page(IDENTIFY, 0);
}

/* A VM that ends: nothing new begins, and nothing of the guest's is touched. */
static void test_idle_before_the_end(void **state)
{
    at_once = false;
    start();
    for (unsigned slot = 0; slot < 3; slot++)
        prepare_queued(slot, READ_Q, 0, 40, DATA);
    prepare(4, READ_EXT, 0, 1, DATA, 512);
    issue_queued(7);
    assert_int_equal(submitted, 3);
    block.ops = &unhurried;
    memset(board.memory + FIS, 0x55, 256);
    for (unsigned i = 0; i < 3; i++) {
        assert_false(bus_idle(&board.bus, true));
        issue(8);
        back(0);
    }
    assert_true(bus_idle(&board.bus, true));
    mock_microseconds(&board, 2000);
    (void)in(P(0) + CMD);
    out(P(0) + CMD, FRE);
    out(P(0) + CMD, FRE | ST);
    issue(1 << 4);
    assert_int_equal(submitted, 3);
    assert_int_equal(get(FIS + 0x58), 0x55555555);
    block.ops = &block_ops;
    bus_reset(&board.bus);
    config_write(PCI_COMMAND, 2, 6);
    assert_int_equal(in(P(0) + SACT), 0);
}

/* --- interrupts, timers, saved state --- */

static void test_interrupts(void **state)
{
    unsigned cap = config(1, PCI_CAPABILITIES, 1);

    start();
    prepare(0, READ_EXT, 0, 1, DATA, 512);
    issue(1);
    assert_true(board.irq[10]);
    assert_int_equal(in(IS), 1);
    out(IS, 1); /* before its cause: it stays */
    assert_int_equal(in(IS), 1);
    out(P(0) + PIS, DHRS);
    assert_true(board.irq[10]);
    out(IS, 1);
    assert_false(board.irq[10]);
    out(P(0) + PIE, PSS);
    issue(1);
    assert_int_equal(in(IS), 0);
    out(P(0) + PIE, DHRS);
    assert_int_equal(in(IS), 1);
    assert_true(board.irq[10]);
    out(GHC, 0x80000000);
    assert_false(board.irq[10]);
    out(GHC, 0x80000002);
    assert_true(board.irq[10]);
    config_write(cap + 4, 4, 0xfee01003);
    config_write(cap + 8, 2, 0x4055);
    config_write(cap + 2, 2, 1);
    assert_false(board.irq[10]);
    assert_int_equal(board.msis, 1); /* what was pending */
    assert_int_equal(board.msi_address, 0xfee01000);
    assert_int_equal(board.msi_data, 0x4055);
    assert_int_equal(events(), DHRS);
    assert_int_equal(board.msis, 1);
    issue(1);
    issue(1);
    assert_int_equal(board.msis, 2); /* IS has not been cleared */
    out(IS, 1);
    assert_int_equal(board.msis, 3); /* and now it has, but not its cause */
    events();
    assert_int_equal(board.msis, 3);
}

/* One message for all ports: none of them is lost while another's is cleared. */
static void test_interrupts_of_two_ports(void **state)
{
    static const char *const two[] = {"ram:one,bus=ahci", "ram:2,bus=ahci", NULL};
    unsigned before;

    again_with(two);
    start();
    config_write(config(1, PCI_CAPABILITIES, 1) + 2, 2, 1);
    prepare(0, READ_EXT, 0, 1, DATA, 512);
    out(P(1) + CLB, LIST);
    out(P(1) + FB, FIS + 0x100);
    out(P(1) + CMD, FRE);
    out(P(1) + SERR, UINT32_MAX);
    out(P(1) + PIE, DHRS);
    out(P(1) + CMD, FRE | ST);
    issue(1);
    before = board.msis;
    out(P(0) + PIS, DHRS);
    out(P(1) + CI, 1);
    assert_int_equal(board.msis, before + 1);
    out(IS, 1);
    assert_int_equal(board.msis, before + 2);
    assert_int_equal(in(IS), 2);
    out(P(1) + PIS, DHRS);
    out(IS, 2);
    assert_int_equal(board.msis, before + 2);
}

static struct device *hba(void)
{
    return device_list_find(&devices, &ahci_class, 0);
}

static void test_back_while_it_is_run(void **state)
{
    at_once = false;
    start();
    prepare_queued(0, READ_Q, 0, 1, DATA);
    issue_queued(1);
    device_lock(hba());
    back(0);
    device_unlock(hba());
    assert_int_equal(in(P(0) + SACT), 1);
    mock_ticks(&board, 0);
    assert_int_equal(in(P(0) + SACT), 0);
    assert_true(board.irq[10]);
    assert_int_equal(board.bus.next_deadline, TIMER_OFF);
}

static void test_pinned_by_others(void **state)
{
    start();
    board.pins = MOCK_PINS;
    prepare(0, READ_EXT, 0, 40, DATA, 40 * 512);
    issue(1);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(mock_microseconds(&board, 1000), 1); /* looks again, now and then */
    assert_int_equal(submitted, 0);
    out(P(0) + CMD, FRE); /* does not wait for them */
    assert_int_equal(in(P(0) + CMD) & CR, 0);
    out(P(0) + CMD, FRE | ST);
    issue(1);
    board.pins = 0;
    mock_microseconds(&board, 1000);
    assert_int_equal(events(), DHRS);
}

/* What one exit may ask of the processor: the rest is begun by the timer. */
static void test_what_one_exit_may_ask(void **state)
{
    start();
    for (unsigned slot = 0; slot < 32; slot++) {
        fis(slot, READ_Q, 0, (uint16_t)(slot << 3), 0x40);
        board.memory[table(slot) + 3] = 0xff; /* 255 sectors, of which there is room for 8 KiB */
        pieces(slot, (struct piece[]){
                         {DATA, 0x7f80}, {DATA, 0x7f80}, {DATA, 0x7f80}, {DATA, 0x7f80}, {0, 0}});
    }
    issue_queued(UINT32_MAX);
    assert_uint_in_range(submitted, 4096 / 16, 4096 / 8);
    assert_true(in(P(0) + SACT) != 0);
    mock_ticks(&board, 1);
    assert_int_equal(in(P(0) + SACT), 0);
}

static void test_saved_in_flight(void **state)
{
    at_once = false;
    start();
    for (unsigned slot = 0; slot < 3; slot++)
        prepare(slot, READ_EXT, slot, 1, DATA + 512 * slot, 512);
    issue(7);
    assert_int_equal(holding, 1);
    assert_true(mock_round_trip(&board)); /* the others are not begun before that */
    at_once = true;
    mock_ticks(&board, 1);
    assert_int_equal(in(P(0) + CI), 0);
    assert_int_equal(events(), DHRS);
    assert_memory_equal(board.memory + DATA, medium, 1536);
    at_once = false;
    prepare_queued(5, READ_Q, 9, 40, DATA);
    issue_queued(1 << 5);
    assert_true(mock_round_trip(&board));
    assert_int_equal(in(P(0) + SACT), 0);
    assert_int_equal(events(), SDBS);
    /* A reset that the driver waits for is over. */
    prepare(0, READ_EXT, 0, 40, DATA, 40 * 512);
    issue(1);
    block.ops = &unhurried;
    out(GHC, 0x80000003);
    block.ops = &block_ops;
    assert_true(mock_round_trip(&board));
    assert_int_equal(in(GHC), 0x80000000);
    assert_int_equal(holding, 0);
    /* An error stays one. */
    at_once = true;
    start();
    fis(0, IDENTIFY_PACKET, 0, 0, 0);
    issue(1);
    assert_true(mock_round_trip(&board));
    issue(2);
    assert_int_equal(in(P(0) + CI), 3);
    assert_int_equal(in(P(0) + TFD), 0x451);
    recover();
}

static void test_any_access(void **state)
{
    uint64_t value;

    start();
    assert_true(bus_mmio_read(&board.bus, &view, BAR, 8, &value));
    assert_true(value == (in(0) | (uint64_t)in(4) << 32));
    assert_true(bus_mmio_read(&board.bus, &view, BAR + 3, 1, &value));
    assert_int_equal(value & 0xff, 0xc1);
    assert_true(
        bus_mmio_write(&board.bus, &view, BAR + P(0) + CLB, 8, UINT64_C(0x123456789abcdef)));
    assert_int_equal(in(P(0) + CLB), 0x89abcc00);
    assert_int_equal(in(P(0) + CLB + 4), 0x1234567);
    assert_true(bus_mmio_write(&board.bus, &view, BAR + P(0) + CLB, 1, 0));
    assert_int_equal(in(P(0) + CLB), 0x89abcc00);
    for (uint32_t at = 0; at < 0x1000; at += 4)
        if (at != GHC && at != P(0) + CI && at != P(0) + CMD) {
            out(at, 0xffffffff);
            (void)in(at);
        }
    assert_int_equal(in(0x10), 0x10301);
    assert_int_equal(in(P(0) + PIE), 0x7dc000ff);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_the_function),
        TEST(test_disks_and_ports),
        TEST(test_identify),
        TEST(test_identify_of_other_disks),
        TEST(test_transfers),
        TEST(test_queued),
        TEST(test_one_at_a_time),
        TEST(test_flush_and_stable_writes),
        TEST(test_trim),
        TEST(test_features),
        TEST(test_unknown_command),
        TEST(test_errors),
        TEST(test_queued_error),
        TEST(test_queue_misused),
        TEST(test_memory_that_is_none),
        TEST(test_many_pieces),
        TEST(test_comreset),
        TEST(test_software_reset),
        TEST(test_hba_reset),
        TEST(test_idle_before_the_end),
        TEST(test_interrupts),
        TEST(test_interrupts_of_two_ports),
        TEST(test_back_while_it_is_run),
        TEST(test_pinned_by_others),
        TEST(test_what_one_exit_may_ask),
        TEST(test_saved_in_flight),
        TEST(test_any_access),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
