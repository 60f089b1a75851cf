/* What tests of the IDE controller share: a board with it, the block device behind its drives, and
 * a driver's accesses to the first channel. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "guest/board/class.h"
#include "guest/board/pci.h"
#include "guest/config/disk.h"
#include "guest/devices/cdrom.h"
#include "guest/storage/block.h"
#include "tests/unit/mock_board.h"

#define SECTORS 5000u
#define DATA    0x4000u /* in the guest's memory; its tables of regions are below, from: */
#define TABLE   0x1000u

/* Commands, and a drive's status when there is nothing to be said. */
#define READ_SECTORS  0x20
#define WRITE_SECTORS 0x30
#define READ_DMA      0xc8
#define WRITE_DMA     0xca
#define READY         0x50

static struct board board;
static struct device_list devices;
static uint16_t base = 0x1f0, master; /* the channel that is used, */
static unsigned irq = 14;             /* and its interrupt */
static uint8_t buffer[0x4000] __attribute__((unused));

void *phys_to_virt(paddr pa)
{
    return (void *)pa;
}

paddr frame_alloc_below(unsigned order, uint16_t owner, paddr limit)
{
    return (paddr)aligned_alloc(PAGE_SIZE << order, PAGE_SIZE << order);
}

void frame_free(paddr at, unsigned order)
{
    free((void *)at);
}

/* --- the block device --- */

static uint8_t medium[SECTORS * 512];
static struct block_request *held[100];
static unsigned holding, opened, closed, submitted;
static bool at_once; /* requests come back from inside submit() */
static bool slow;    /* nor do they when they are looked for */
static int next_error;
static int64_t fails_at; /* the sector that cannot be read or written */
static struct block_request last;
static struct block_segment last_segments[32];

static void carry_out(struct block_request *r)
{
    uint64_t at = r->sector * 512;
    int error = next_error;

    next_error = 0;
    if (r->op <= BLOCK_WRITE && fails_at >= (int64_t)r->sector &&
        fails_at < (int64_t)(r->sector + r->sectors))
        error = -EIO;
    for (unsigned i = 0; i < r->count && error == 0 && r->op <= BLOCK_WRITE; i++) {
        uint8_t *memory = (uint8_t *)r->segments[i].address;
        if (r->op == BLOCK_READ)
            memcpy(memory, medium + at, r->segments[i].length);
        else
            memcpy(medium + at, memory, r->segments[i].length);
        at += r->segments[i].length;
    }
    r->done(r, error);
}

static void submit(struct block_device *d, struct block_request *r)
{
    assert_int_equal(block_check(d, r), 0);
    submitted++;
    last = *r;
    for (unsigned i = 0; i < r->count && r->op <= BLOCK_WRITE; i++) {
        last_segments[i] = r->segments[i];
        assert_int_equal(r->segments[i].address % d->segment_align, 0);
    }
    last.segments = last_segments;
    if (at_once)
        carry_out(r);
    else
        held[holding++] = r;
}

/* Give back the one that has waited longest. */
static void one_back(void)
{
    struct block_request *r = held[0];

    assert_true(holding > 0);
    memmove(held, held + 1, --holding * sizeof(held[0]));
    carry_out(r);
}

static void poll(struct block_device *d, const void *owner)
{
    while (holding && !slow)
        one_back();
}

static const struct block_ops block_ops = {.submit = submit, .poll = poll};
static struct block_device block, *behind = &block; /* behind: what a disk is opened with */

static void close_block(struct block_device *b)
{
    closed++;
}

static struct device_disk_counts counts;

static int open_block(void *context, const char *text, size_t length, struct device_disk *out,
                      char *error)
{
    struct config_disk disk;

    assert_int_equal(config_disk_parse(text, length, &disk, error), 0);
    counts = (struct device_disk_counts){0};
    *out = (struct device_disk){
        .block = behind, .close = close_block, .serial = "serial-1", .counts = &counts};
    out->read_only = disk.read_only;
    opened++;
    return 0;
}

static int open_disc(void *context, const char *text, size_t length, struct device_disk *out,
                     char *error)
{
    *out = (struct device_disk){.read_only = true};
    if (strcmp(text, "none") == 0)
        return 0;
    out->block = &block;
    out->close = close_block;
    memcpy(out->serial, "disc", 4);
    opened++;
    return 0;
}

static const char *texts[8], *discs[8], *said;

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    const char *text = strcmp(key, CDROM_KEY) ? texts[index] : discs[index];

    if (!text)
        return NULL;
    *length = strlen(text);
    *number = index + 1;
    return text;
}

/* --- the board --- */

static void use_channel(unsigned channel);

/* With those lines, and NULL behind them; -1: it could not be made, and why is said. */
static int setup_ide(const char *text, ...)
{
    static const struct device_class *const classes[] = {&pci_class, &ide_class};
    static struct device_host host = {.line = line, .disk = open_block, .disc = open_disc};
    static struct device_setup s;
    uint32_t logical_block = block.logical_block;
    va_list more;

    va_start(more, text);
    memset(texts, 0, sizeof(texts));
    for (unsigned i = 0; text; i++, text = va_arg(more, const char *))
        texts[i] = text;
    va_end(more);
    s = (struct device_setup){.board = &board, .bus = &board.bus, .host = &host};
    mock_init(&board);
    devices = (struct device_list){0};
    block = (struct block_device){
        .ops = &block_ops,
        .sectors = SECTORS,
        .logical_block = logical_block ? logical_block : 512,
        .physical_block = 4096,
        .max_sectors = 16,
        .max_segments = 4,
        .segment_align = 1,
        .highest_address = UINT64_MAX,
        .has_flush = true,
    };
    at_once = true;
    slow = false;
    holding = opened = closed = submitted = 0;
    next_error = 0;
    fails_at = -1;
    for (unsigned i = 0; i < sizeof(medium); i++)
        medium[i] = (uint8_t)(i / 512 * 7 + i);
    if (device_list_fill(&devices, classes, 2, &s) < 0) {
        said = s.error;
        return -1;
    }
    bus_reset(&board.bus);
    use_channel(0);
    return 0;
}

static int teardown(void **state)
{
    bool good = mock_round_trip(&board);

    mock_destroy(&board);
    device_list_destroy(&devices);
    block.logical_block = 0;
    memset(discs, 0, sizeof(discs));
    return good && board.pins == 0 && closed == opened ? 0 : -1;
}

static void use_channel(unsigned channel)
{
    base = channel ? 0x170 : 0x1f0;
    master = channel ? 0xc008 : 0xc000;
    irq = 14 + channel;
}

/* --- ports --- */

static inline uint8_t in8(unsigned port)
{
    return (uint8_t)bus_port_read(&board.bus, (uint16_t)port, 1);
}

static inline uint16_t in16(uint16_t port)
{
    return (uint16_t)bus_port_read(&board.bus, port, 2);
}

static inline uint32_t in32(uint16_t port)
{
    return bus_port_read(&board.bus, port, 4);
}

static inline void out8(unsigned port, uint8_t value)
{
    bus_port_write(&board.bus, (uint16_t)port, 1, value);
}

static inline void out32(uint16_t port, uint32_t value)
{
    bus_port_write(&board.bus, port, 4, value);
}

static inline uint32_t config(unsigned at, unsigned size)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000800 | (at & 0xfc));
    return bus_port_read(&board.bus, (uint16_t)(0xcfc + (at & 3)), size);
}

static inline void config_write(unsigned at, unsigned size, uint32_t value)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000800 | (at & 0xfc));
    bus_port_write(&board.bus, (uint16_t)(0xcfc + (at & 3)), size, value);
}

/* --- commands --- */

static inline void read_data(uint8_t *to, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i += 2) {
        uint16_t v = in16(base);
        memcpy(to + i, &v, 2);
    }
}

static inline void write_data(const uint8_t *from, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i += 2) {
        uint16_t v;
        memcpy(&v, from + i, 2);
        bus_port_write(&board.bus, base, 2, v);
    }
}

static inline void command(unsigned drive, uint8_t code, uint8_t count, uint32_t lba)
{
    out8(base + 6, (uint8_t)(0xe0 | drive << 4 | lba >> 24));
    out8(base + 1, 0);
    out8(base + 2, count);
    out8(base + 3, (uint8_t)lba);
    out8(base + 4, (uint8_t)(lba >> 8));
    out8(base + 5, (uint8_t)(lba >> 16));
    out8(base + 7, code);
}

static inline void command48(unsigned drive, uint8_t code, uint16_t count, uint64_t lba)
{
    out8(base + 6, (uint8_t)(0xe0 | drive << 4));
    out8(base + 2, (uint8_t)(count >> 8));
    out8(base + 3, (uint8_t)(lba >> 24));
    out8(base + 4, (uint8_t)(lba >> 32));
    out8(base + 5, (uint8_t)(lba >> 40));
    out8(base + 2, (uint8_t)count);
    out8(base + 3, (uint8_t)lba);
    out8(base + 4, (uint8_t)(lba >> 8));
    out8(base + 5, (uint8_t)(lba >> 16));
    out8(base + 7, code);
}

static inline void set_features(uint8_t feature, uint8_t count)
{
    out8(base + 6, 0xe0);
    out8(base + 1, feature);
    out8(base + 2, count);
    out8(base + 7, 0xef);
}

/* There was an interrupt, which reading the status acknowledges. */
static inline bool interrupted(void)
{
    bool was = board.irq[irq];

    (void)in8(base + 7);
    return was && !board.irq[irq];
}

static inline void settle(void)
{
    while (holding)
        one_back();
    (void)in8(base + 7);
}

static inline void soft_reset(void)
{
    out8(base + 0x206, 4);
    out8(base + 0x206, 0);
    settle();
}

static inline void identify(unsigned drive, uint16_t words[256])
{
    command(drive, 0xec, 0, 0);
    assert_true(interrupted());
    assert_int_equal(in8(base + 7), 0x58);
    read_data((uint8_t *)words, 512);
    assert_int_equal(in8(base + 7), 0x50);
}

static inline void text_of(const uint16_t *words, unsigned count, char *out)
{
    for (unsigned i = 0; i < count; i++) {
        *out++ = (char)(words[i] >> 8);
        *out++ = (char)words[i];
    }
    *out = '\0';
}

static inline uint32_t address(void)
{
    return in8(base + 3) | (uint32_t)in8(base + 4) << 8 | (uint32_t)in8(base + 5) << 16 |
           (uint32_t)(in8(base + 6) & 0xf) << 24;
}

/* --- the bus master --- */

static inline void prd(unsigned i, uint32_t gpa, uint32_t length, bool end)
{
    uint32_t entry[2] = {gpa, (length & 0xffff) | (end ? 0x80000000u : 0)};

    memcpy(board.memory + TABLE + i * 8 % 0x3000, entry, 8);
}

static inline void start_master(bool to_memory)
{
    out32((uint16_t)(master + 4), TABLE);
    out8(master, to_memory ? 8 : 0);
    out8(master, to_memory ? 9 : 1);
}

/* As drivers do: the direction, the command, then the start. */
static inline void dma(uint8_t code, uint8_t count, uint32_t lba)
{
    bool to_memory = code == 0xc8;

    out32((uint16_t)(master + 4), TABLE);
    out8(master, to_memory ? 8 : 0);
    command(0, code, count, lba);
    out8(master, to_memory ? 9 : 1);
}
