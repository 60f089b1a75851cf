/* A board with AHCI controllers, and a driver that finds the first one on the bus and keeps to
 * AHCI 1.3.1, or does not. */
#pragma once

#include "guest/board/pci.h"
#include "tests/unit/mock_block.h"
#include "tests/unit/mock_board.h"

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

static unsigned opened;
static const char *const *texts;

/* `disk` of struct device_host: the disk "one" alone has a serial number. */
static inline int open_disk(void *context, const char *text, size_t length, struct device_disk *out,
                            char *error)
{
    if (memcmp(text, "ram:bad", 7) == 0)
        return -EINVAL;
    mock_serial = memcmp(text, "ram:one", 7) == 0 ? "serial-1" : "";
    opened++;
    return mock_open(context, text, length, out, error);
}

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

static inline uint32_t in(uint32_t at)
{
    uint64_t value;

    assert_true(bus_mmio_read(&board.bus, &view, BAR + at, 4, &value));
    return (uint32_t)value;
}

static inline void out(uint32_t at, uint32_t value)
{
    assert_true(bus_mmio_write(&board.bus, &view, BAR + at, 4, value));
}

static inline uint32_t config(unsigned device, unsigned at, unsigned size)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000000 | device << 11 | (at & 0xfc));
    return bus_port_read(&board.bus, (uint16_t)(0xcfc + (at & 3)), size);
}

static inline void config_write(unsigned at, unsigned size, uint32_t value)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000800 | (at & 0xfc));
    bus_port_write(&board.bus, (uint16_t)(0xcfc + (at & 3)), size, value);
}

static inline void put(uint64_t at, uint64_t value, unsigned size)
{
    memcpy(board.memory + at, &value, size);
}

static inline uint32_t get(uint64_t at)
{
    uint32_t value;

    memcpy(&value, board.memory + at, 4);
    return value;
}

/* As drivers do it: reset, AHCI, memory, FISes, the link, interrupts, commands. */
static inline void start(void)
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

static inline uint64_t table(unsigned slot)
{
    return TABLES + TABLE * slot;
}

/* The entries of a command's memory; the last one has length 0. */
struct piece {
    uint64_t gpa;
    uint32_t length;
};

static inline void pieces(unsigned slot, const struct piece *p)
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

static inline void fis(unsigned slot, uint8_t command, uint64_t lba, uint16_t count, uint8_t device)
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

static inline void prepare(unsigned slot, uint8_t command, uint64_t lba, uint16_t sectors,
                           uint64_t gpa, uint32_t length)
{
    pieces(slot, (struct piece[]){{gpa, length}, {0, 0}});
    fis(slot, command, lba, sectors, 0x40);
}

static inline void prepare_queued(unsigned slot, uint8_t command, uint64_t lba, uint16_t sectors,
                                  uint64_t gpa)
{
    prepare(slot, command, lba, 0, gpa, sectors * 512u);
    board.memory[table(slot) + 3] = (uint8_t)sectors;
    board.memory[table(slot) + 11] = (uint8_t)(sectors >> 8);
    board.memory[table(slot) + 12] = (uint8_t)(slot << 3);
}

static inline void issue(uint32_t slots)
{
    out(P(0) + CI, slots);
}

static inline void issue_queued(uint32_t slots)
{
    out(P(0) + SACT, slots);
    out(P(0) + CI, slots);
}

/* What has happened since this was asked last, and forget it. */
static inline uint32_t events(void)
{
    uint32_t is = in(P(0) + PIS);

    out(P(0) + PIS, is);
    out(IS, in(IS));
    return is;
}

static inline void recover(void)
{
    out(P(0) + CMD, FRE);
    assert_int_equal(in(P(0) + CMD) & (ST | CR), 0);
    assert_int_equal(in(P(0) + CI), 0);
    assert_int_equal(in(P(0) + SACT), 0);
    out(P(0) + SERR, UINT32_MAX);
    events();
    out(P(0) + CMD, FRE | ST);
}

static inline void read_page(uint8_t command, uint8_t log)
{
    events();
    prepare(0, command, log, command == READ_LOG, DATA, 512);
    issue(1);
    assert_int_equal(in(P(0) + CI), 0);
    assert_int_equal(in(P(0) + TFD), 0x50);
    assert_int_equal(events(), PSS);
}

static inline uint16_t word(unsigned n)
{
    return (uint16_t)get(DATA + 2 * n);
}

/* --- life --- */

static inline int setup_with(const char *const *lines)
{
    static const struct device_class *const classes[] = {&pci_class, &ahci_class};
    static const struct device_host host = {.line = line, .disk = open_disk};
    struct device_setup s = {.board = &board, .bus = &board.bus, .host = &host};

    texts = lines;
    mock_init(&board);
    view = (struct bus_view){0};
    devices = (struct device_list){0};
    opened = 0;
    mock_block_init();
    block.segment_align = 2;
    block.discard_sectors = 50;
    int error = device_list_fill(&devices, classes, 2, &s);
    if (error == 0)
        bus_reset(&board.bus);
    return error;
}

static inline int setup(void **state)
{
    static const char *const one[] = {"ram:one,bus=ahci", NULL};

    return setup_with(one);
}

static inline int teardown(void **state)
{
    block.ops = &mock_block_ops; /* a test that failed may have left another */
    bool good = mock_round_trip(&board);

    mock_destroy(&board);
    device_list_destroy(&devices);
    return good && board.pins == 0 && closed == opened ? 0 : -1;
}

static inline void again_with(const char *const *lines)
{
    assert_int_equal(teardown(NULL), 0);
    assert_int_equal(setup_with(lines), 0);
}
