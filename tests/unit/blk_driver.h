/* A board with virtio-blk, and a driver that finds it on the bus and keeps to Virtio 1.2. */
#pragma once

#include "tests/unit/mock_block.h"
#include "tests/unit/virtq_driver.h"

#include "tests/unit/function_io.h"

#define RINGS  0x1000
#define HEADER 0x7000
#define STATUS 0x7f00
#define DATA   0x8000

extern const struct device_class virtio_blk_class;

static struct device_list devices;
static struct driver v;

static const char *text;

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    if (index > 0)
        return NULL;
    *length = strlen(text);
    return text;
}

/* --- the driver --- */

static inline uint64_t offered(void)
{
    uint64_t low;

    out(0, 4, 0);
    low = in(4, 4);
    out(0, 4, 1);
    return low | in(4, 4) << 32;
}

/* As Linux does it; queue 0 with a vector, message 0x30 to vector 1 of the table. */
static inline void start(uint64_t features)
{
    config_write(PCI_COMMAND, 2, 6);
    out(0x14, 1, 0);
    assert_int_equal(in(0x14, 1), 0);
    out(0x14, 1, 1);
    out(0x14, 1, 3);
    out(8, 4, 0);
    out(12, 4, (uint32_t)features);
    out(8, 4, 1);
    out(12, 4, features >> 32);
    out(0x14, 1, 0xb);
    assert_int_equal(in(0x14, 1), 0xb);
    driver_init(&v, &board, features >> 34 & 1, DRIVER_SIZE, RINGS);
    out(0x16, 2, 0);
    out(0x18, 2, DRIVER_SIZE);
    assert_int_equal(in(0x18, 2), DRIVER_SIZE);
    out(0x20, 8, v.descriptors);
    out(0x28, 4, v.driver);
    out(0x2c, 4, 0);
    out(0x30, 8, v.device);
    out(0x1a, 2, 1);
    assert_int_equal(in(0x1a, 2), 1);
    out(0x1c, 2, 1);
    assert_int_equal(in(0x1c, 2), 1);
    out(0x14, 1, 0xf);
    assert_int_equal(in(0x14, 1), 0xf);
}

static inline void use_msix(void)
{
    unsigned cap = config(PCI_CAPABILITIES, 1);

    assert_int_equal(config(cap, 1), 0x11);
    config_write(cap + 2, 2, 0x8000);
    for (unsigned i = 0; i < 2; i++) {
        out(0x4000 + 16 * i, 4, 0xfee00000);
        out(0x4008 + 16 * i, 4, 0x30 + i);
        out(0x400c + 16 * i, 4, 0);
    }
}

/* Offer a request with up to two segments of data; its id. */
static inline int offer(uint32_t type, uint64_t sector, bool to_device, uint64_t gpa,
                        uint32_t length, uint32_t length2)
{
    struct driver_segment s[4] = {{HEADER, 16, false}};
    unsigned n = 1;

    driver_put(&v, HEADER, type, 8);
    driver_put(&v, HEADER + 8, sector, 8);
    if (length)
        s[n++] = (struct driver_segment){gpa, length, !to_device};
    if (length2)
        s[n++] = (struct driver_segment){gpa + length, length2, !to_device};
    s[n++] = (struct driver_segment){STATUS, 1, true};
    board.memory[STATUS] = 0xee;
    return driver_offer(&v, s, n, n == 3);
}

static inline void kick(void)
{
    out(0x3000, 2, 0);
}

/* The first notification capability is a port, for all queues; the second one is in BAR 0. */
static inline uint16_t doorbell(void)
{
    unsigned at = config(PCI_CAPABILITIES, 1), found[2], n = 0;

    for (; at; at = config(at + 1, 1))
        if (config(at, 1) == 9 && config(at + 3, 1) == 2 && n < 2)
            found[n++] = at;
    assert_int_equal(n, 2);
    assert_int_equal(config(found[0] + 4, 1), 2);
    assert_int_equal(config(found[0] + 8, 4), 0);
    assert_int_equal(config(found[0] + 12, 4), 4);
    assert_int_equal(config(found[0] + 16, 4), 0);
    assert_int_equal(config(found[1] + 4, 1), 0);
    assert_int_equal(config(found[1] + 16, 4), 4);
    assert_int_equal(config(PCI_BAR0 + 8, 4) & 3, 1);
    return (uint16_t)(config(PCI_BAR0 + 8, 4) & ~3u);
}

static inline void expect_done(int id, uint8_t status, uint32_t written)
{
    uint32_t w;

    assert_int_equal(driver_take(&v, &w), id);
    assert_int_equal(w, written);
    assert_int_equal(board.memory[STATUS], status);
}

#define V1          (UINT64_C(1) << 32)
#define PACKED_RING (UINT64_C(1) << 34)
#define INDIRECT    (UINT64_C(1) << 28)
#define EVENT_IDX   (UINT64_C(1) << 29)

static inline int setup_disk(const char *disk)
{
    static const struct device_class *const classes[] = {&pci_class, &virtio_blk_class};
    static const struct device_host host = {.line = line, .disk = mock_open};
    struct device_setup s = {.board = &board, .bus = &board.bus, .host = &host};

    text = disk;
    mock_init(&board);
    view = (struct bus_view){0};
    devices = (struct device_list){0};
    mock_block_init();
    if (device_list_fill(&devices, classes, 2, &s) < 0)
        return -1;
    bus_reset(&board.bus);
    return 0;
}

static inline int setup(void **state)
{
    return setup_disk("ram:x");
}

static inline int teardown(void **state)
{
    bool good = mock_round_trip(&board);

    mock_destroy(&board);
    device_list_destroy(&devices);
    return good && board.pins == 0 && counts.in_flight == 0 && closed == 1 ? 0 : -1;
}
