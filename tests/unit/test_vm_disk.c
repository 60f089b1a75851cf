/* links: guest/devices/virtio/blk.c guest/devices/virtio/pci.c guest/devices/virtio/queue.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c guest/board/msix.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/*
 * virtio-blk and the PCI transport, by a driver that finds it on the bus and keeps to Virtio 1.2,
 * over a block device that keeps requests until it is told to give them back.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest/devices/disk.h"
#include "tests/unit/blk_driver.h"
#include "tests/unit/boots.h"

static void test_what_is_seen(void **state)
{
    unsigned seen = 0;

    assert_int_equal(config(0, 4), 0x10421af4);
    assert_int_equal(config(PCI_REVISION, 1), 1);
    assert_int_equal(config(PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af4);
    assert_int_equal(config(PCI_BAR0, 4), BAR);
    for (unsigned at = config(PCI_CAPABILITIES, 1); at; at = config(at + 1, 1))
        if (config(at, 1) == 9) {
            seen |= 1u << config(at + 3, 1);
            assert_true(config(at + 2, 1) == 16 || config(at + 2, 1) == 20);
        }
    assert_int_equal(seen, 0x3e);
    config_write(PCI_COMMAND, 2, 2);
    assert_true(offered() == (V1 | PACKED_RING | INDIRECT | 1 << 29 | 1 << 2 | 1 << 6 | 1 << 9 |
                              1 << 10 | 1 << 12 | 1 << 13 | 1 << 14));
    assert_int_equal(in(0x12, 2), 16); /* queues */
    assert_int_equal(in(0x18, 2), 128);
    assert_int_equal(in(0x2000, 4), MOCK_SECTORS);
    assert_int_equal(in(0x2004, 4), 0);
    assert_int_equal(in(0x200c, 4), 126); /* seg_max */
    assert_int_equal(in(0x2014, 4), 512);
    assert_int_equal(in(0x2018, 1), 3);
    assert_int_equal(in(0x2022, 2), 16);
    assert_int_equal(in(0x2024, 4), 5);
    assert_int_equal(in(0x2030, 4), 7);
    assert_int_equal(in(0x203c, 4), 0);
    out(0x16, 2, 16); /* a queue that is none */
    assert_int_equal(in(0x18, 2), 0);
    out(0x18, 2, 4);
    out(0x1c, 2, 1);
    assert_int_equal(in(0x1c, 2), 0);
}

/* Reads and writes of both kinds of rings, larger than the block device takes at once. */
static void test_transfers(void **state)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        start(V1 | INDIRECT | (packed ? PACKED_RING : 0));
        submitted = 0;
        int id = offer(0, 3, false, DATA + 0x10, 0x3000, 0x600);
        kick();
        expect_done(id, 0, 0x3601);
        assert_memory_equal(board.memory + DATA + 0x10, medium + 3 * 512, 0x3600);
        assert_true(submitted >= 2);
        memset(board.memory + DATA, 0x42 + (int)packed, 1024);
        id = offer(1, 10, true, DATA, 512, 512);
        kick();
        expect_done(id, 0, 1);
        assert_memory_equal(medium + 10 * 512, board.memory + DATA, 1024);
        assert_true(medium[12 * 512] == (uint8_t)(12 * 7));
        assert_int_equal(board.pins, 0);
    }
}

static void test_other_requests(void **state)
{
    static const uint8_t zeroes[20 * 512];
    int id;

    start(V1 | INDIRECT | 1 << 9);
    id = offer(4, 0, false, 0, 0, 0);
    kick();
    expect_done(id, 0, 1);
    assert_int_equal(last.op, BLOCK_FLUSH);
    id = offer(8, 0, false, DATA, 20, 0);
    kick();
    expect_done(id, 0, 21);
    assert_memory_equal(board.memory + DATA, "serial-1\0\0\0\0\0\0\0\0\0\0\0\0", 20);
    id = offer(8, 0, false, DATA, 7, 30);
    kick();
    expect_done(id, 0, 21);
    for (unsigned type = 11; type <= 13; type += 2) {
        driver_put(&v, DATA, 20, 8);
        driver_put(&v, DATA + 8, 12, 8);
        id = offer(type, 0, true, DATA, 16, 0);
        submitted = 0;
        kick();
        expect_done(id, 0, 1);
        assert_int_equal(submitted, type == 11 ? 3 : 2);
        assert_memory_equal(medium + 20 * 512, zeroes, 12 * 512);
        assert_true(medium[32 * 512 + 1] != 0);
        assert_true(medium[19 * 512 + 1] != 0);
        memset(medium + 20 * 512, 1, 12 * 512);
    }
    assert_int_equal(last.flags, 0);
    driver_put(&v, DATA + 12, 1, 4); /* UNMAP */
    id = offer(13, 0, true, DATA, 16, 0);
    kick();
    expect_done(id, 0, 1);
    assert_int_equal(last.flags, BLOCK_UNMAP);
    id = offer(11, 0, true, DATA, 16, 0);
    kick();
    expect_done(id, 2, 1);
    id = offer(13, 0, true, DATA, 16, 16); /* two ranges */
    kick();
    expect_done(id, 1, 1);
    id = offer(77, 0, true, DATA, 16, 0);
    kick();
    expect_done(id, 2, 1);
}

static void test_errors(void **state)
{
    int id;

    start(V1 | INDIRECT);
    id = offer(0, MOCK_SECTORS - 1, false, DATA, 1024, 0);
    kick();
    expect_done(id, 1, 1);
    id = offer(0, UINT64_MAX, false, DATA, 512, 512);
    kick();
    expect_done(id, 1, 1);
    id = offer(0, 0, false, DATA, 500, 0);
    kick();
    expect_done(id, 1, 1);
    id = offer(0, 0, false, 0, 0, 0);
    kick();
    expect_done(id, 1, 1);
    id = offer(0, 0, false, MOCK_MEMORY - 256, 512, 0); /* not all RAM */
    kick();
    expect_done(id, 1, 1);
    assert_int_equal(submitted, 0);
    next_error = -EIO;
    id = offer(0, 0, false, DATA, 512 * 40, 0);
    kick();
    expect_done(id, 1, 1);
    assert_int_equal(submitted, 1);
    assert_int_equal(in(0x14, 1), 0xf);
}

static void test_read_only(void **state)
{
    uint8_t before[512];
    int id;

    teardown(NULL);
    assert_int_equal(setup_disk("ram:x,ro"), 0);
    config_write(PCI_COMMAND, 2, 2);
    assert_int_equal(offered() & (1 << 5 | 1 << 13 | 1 << 14), 1 << 5);
    start(V1 | INDIRECT | 1 << 5);
    memcpy(before, medium, 512);
    id = offer(1, 0, true, DATA, 512, 0);
    kick();
    expect_done(id, 1, 1);
    driver_put(&v, DATA, 0, 8);
    driver_put(&v, DATA + 8, 1, 8);
    id = offer(13, 0, true, DATA, 16, 0);
    kick();
    expect_done(id, 1, 1);
    assert_memory_equal(medium, before, 512);
    id = offer(0, 0, false, DATA, 512, 0);
    kick();
    expect_done(id, 0, 513);
}

/* Requests of the guest's, however many the block device was given for one; and what ended badly,
 * whoever refused it. */
static void test_what_is_counted(void **state)
{
    int id;

    start(V1 | INDIRECT | 1 << 9);
    id = offer(0, 3, false, DATA, 512 * 40, 0);
    kick();
    expect_done(id, 0, 512 * 40 + 1);
    assert_true(submitted > 1);
    id = offer(1, 3, true, DATA, 512, 1024);
    kick();
    expect_done(id, 0, 1);
    id = offer(4, 0, false, 0, 0, 0);
    kick();
    expect_done(id, 0, 1);
    driver_put(&v, DATA, 20, 8);
    driver_put(&v, DATA + 8, 12, 8);
    id = offer(11, 0, true, DATA, 16, 0);
    kick();
    expect_done(id, 0, 1);
    id = offer(8, 0, false, DATA, 20, 0); /* its serial number is asked of nobody */
    kick();
    expect_done(id, 0, 21);
    assert_int_equal(counts.reads, 1);
    assert_int_equal(counts.read_sectors, 40);
    assert_int_equal(counts.writes, 1);
    assert_int_equal(counts.written_sectors, 3);
    assert_int_equal(counts.flushes, 1);
    assert_int_equal(counts.others, 1);
    assert_int_equal(counts.errors, 0);
    next_error = -EIO;
    id = offer(0, 0, false, DATA, 512, 0);
    kick();
    expect_done(id, 1, 1);
    id = offer(0, MOCK_SECTORS, false, DATA, 512, 0);
    kick();
    expect_done(id, 1, 1);
    id = offer(0, 0, false, DATA, 500, 0);
    kick();
    expect_done(id, 1, 1);
    id = offer(77, 0, true, DATA, 16, 0);
    kick();
    expect_done(id, 2, 1);
    assert_int_equal(counts.errors, 4);
    assert_int_equal(counts.reads, 1);
    at_once = false;
    (void)offer(0, 0, false, DATA, 512, 0);
    (void)offer(0, 1, false, DATA, 512, 0);
    kick();
    assert_int_equal(counts.in_flight, 2);
    one_back();
    assert_int_equal(counts.in_flight, 1);
    assert_int_equal(counts.reads, 2);
    one_back();
    assert_int_equal(counts.in_flight, 0);
}

/* --- who looks on --- */

static struct device_disk_event seen[8];
static unsigned looks;
static uint64_t stamp[8]; /* that came with seen[] */

static void see(const struct device_disk_counts *of, const struct device_disk_event *event)
{
    assert_ptr_equal(of, &counts);
    assert_true(looks < 8);
    stamp[looks] = *event->begun;
    if (event->result == DEVICE_DISK_BEGINS)
        *event->begun = 1000 + looks;
    seen[looks++] = *event;
}

static void expect_seen(unsigned n, uint8_t op, uint64_t sector, uint32_t sectors, int result)
{
    assert_int_equal(seen[n].op, op);
    assert_int_equal(seen[n].sector, sector);
    assert_int_equal(seen[n].sectors, sectors);
    assert_int_equal(seen[n].result, result);
}

/* Each request once when it begins, however many parts it is carried out in, and once when it is
 * over, before the guest knows. */
static void test_who_looks_on(void **state)
{
    looks = 0;
    at_once = false;
    start(V1 | INDIRECT | 1 << 9);
    disk_set_observer(see);
    (void)offer(0, 3, false, DATA, 512 * 40, 0);
    kick();
    (void)offer(4, 77, false, 0, 0, 0);
    kick();
    assert_int_equal(looks, 2);
    expect_seen(0, BLOCK_READ, 3, 40, DEVICE_DISK_BEGINS);
    expect_seen(1, BLOCK_FLUSH, 0, 0, DEVICE_DISK_BEGINS);
    mock_back(1);
    assert_int_equal(looks, 3);
    expect_seen(2, BLOCK_FLUSH, 0, 0, 0);
    assert_int_equal(stamp[2], 1001);
    while (holding)
        one_back();
    assert_int_equal(looks, 4);
    expect_seen(3, BLOCK_READ, 3, 40, 0);
    assert_int_equal(stamp[3], 1000);
    at_once = true;
    (void)offer(1, MOCK_SECTORS - 1, true, DATA, 1024, 0); /* past the end */
    kick();
    next_error = -EIO;
    (void)offer(0, 9, false, DATA, 512, 0);
    kick();
    assert_int_equal(looks, 8);
    expect_seen(4, BLOCK_WRITE, MOCK_SECTORS - 1, 2, DEVICE_DISK_BEGINS);
    expect_seen(5, BLOCK_WRITE, MOCK_SECTORS - 1, 2, -EINVAL);
    expect_seen(6, BLOCK_READ, 9, 1, DEVICE_DISK_BEGINS);
    expect_seen(7, BLOCK_READ, 9, 1, -EIO);
    disk_set_observer(NULL);
    (void)offer(0, 0, false, DATA, 512, 0);
    kick();
    assert_int_equal(looks, 8);
}

static uint64_t flags[4]; /* of the device, as each request began */

static void see_flags(const struct device_disk_counts *of, const struct device_disk_event *event)
{
    if (event->result == DEVICE_DISK_BEGINS) {
        assert_true(looks < 4);
        flags[looks++] = driver_get(&v, v.device + (v.packed ? 2 : 0), 2);
    }
}

/* The driver need not notify while more is begun than one request, and has to afterwards. */
static void test_silence(void **state)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        looks = 0;
        start(V1 | INDIRECT | (packed ? PACKED_RING : 0));
        disk_set_observer(see_flags);
        for (unsigned i = 0; i < 3; i++)
            assert_true(offer(0, i, false, DATA, 512, 0) >= 0);
        kick();
        assert_int_equal(looks, 3);
        assert_int_equal(flags[0], 0);
        assert_int_equal(flags[1], 1);
        assert_int_equal(flags[2], 1);
        assert_int_equal(driver_get(&v, v.device + (packed ? 2 : 0), 2), 0);
    }
}

static int teardown_unseen(void **state)
{
    disk_set_observer(NULL);
    return teardown(state);
}

/* More than there are requests: they wait, and are begun as others come back. */
static void test_many(void **state)
{
    unsigned offers = 0, back = 0;
    uint32_t w;

    at_once = false;
    start(V1 | INDIRECT);
    srandom(3);
    for (unsigned i = 0; i < 20000; i++) {
        if (random() % 3 == 0 &&
            offer(0, (uint64_t)random() % MOCK_SECTORS, false, DATA, 512, 0) >= 0) {
            offers++;
            kick();
        }
        if (holding && random() % 3 == 0)
            one_back();
        if (random() % 50 == 0)
            mock_ticks(&board, 1);
        while (driver_take(&v, &w) >= 0)
            back++;
    }
    while (holding)
        one_back();
    while (driver_take(&v, &w) >= 0)
        back++;
    assert_int_equal(offers, back);
    assert_true(offers > 3000);
    assert_int_equal(board.pins, 0);
}

static void test_broken_rings(void **state)
{
    start(V1 | INDIRECT);
    use_msix();
    out(0x10, 2, 0);
    driver_put(&v, v.driver + 2, 1000, 2);
    kick();
    assert_int_equal(in(0x14, 1), 0x4f);
    assert_int_equal(board.msi_data, 0x30);
    start(V1 | INDIRECT); /* nothing but reset helps, and it does */
    int id = offer(0, 0, false, DATA, 512, 0);
    kick();
    expect_done(id, 0, 513);
    /* Nowhere to put an answer. */
    struct driver_segment s = {HEADER, 16, false};
    assert_true(driver_offer(&v, &s, 1, false) >= 0);
    kick();
    assert_int_equal(in(0x14, 1), 0x4f);
}

static void test_features(void **state)
{
    config_write(PCI_COMMAND, 2, 2);
    out(0x14, 1, 3);
    out(8, 4, 0);
    out(12, 4, 1 << 28);
    out(0x14, 1, 0xb); /* not without VERSION_1 */
    assert_int_equal(in(0x14, 1), 3);
    out(8, 4, 1);
    out(12, 4, 1 | 1 << 30); /* what was not offered */
    out(0x14, 1, 0xb);
    assert_int_equal(in(0x14, 1), 3);
    out(12, 4, 1);
    out(0x14, 1, 0xb);
    assert_int_equal(in(0x14, 1), 0xb);
    out(12, 4, 5); /* too late */
    assert_int_equal(in(12, 4), 1);
}

/* The window in config space: the same registers, for who cannot reach the BAR. */
static void test_window(void **state)
{
    unsigned cap = config(PCI_CAPABILITIES, 1);

    while (config(cap, 1) != 9 || config(cap + 3, 1) != 5)
        cap = config(cap + 1, 1);
    config_write(cap + 4, 1, 0);
    config_write(cap + 8, 4, 0x12);
    config_write(cap + 12, 4, 2);
    assert_int_equal(config(cap + 16, 2), 16);
    config_write(cap + 8, 4, 0x14);
    config_write(cap + 12, 4, 1);
    config_write(cap + 16, 1, 1);
    config_write(PCI_COMMAND, 2, 2);
    assert_int_equal(in(0x14, 1), 1);
    config_write(cap + 8, 4, 0x8000);
    (void)config(cap + 16, 4);
    config_write(cap + 4, 1, 1);
    config_write(cap + 16, 4, 0);
    assert_int_equal(in(0x14, 1), 1);
}

/* However a guest asks, in one exit it keeps the processor busy for so long and no longer. */
static void test_what_one_exit_may_ask(void **state)
{
    uint32_t w;
    int id;

    start(V1 | INDIRECT);
    for (unsigned i = 0; i < 64; i++) {
        id = offer(4, 0, false, 0, 0, 0);
        kick();
        expect_done(id, 0, 1);
    }
    id = offer(4, 0, false, 0, 0, 0);
    kick();
    kick();
    assert_int_equal(driver_take(&v, &w), -1);
    mock_ticks(&board, 1);
    expect_done(id, 0, 1);

    /* One request that is longer than that. */
    driver_put(&v, DATA, 0, 8);
    driver_put(&v, DATA + 8, MOCK_SECTORS, 8);
    id = offer(13, 0, true, DATA, 16, 0);
    submitted = 0;
    kick();
    assert_int_equal(driver_take(&v, &w), -1);
    assert_uint_in_range(submitted, 4096 / 7, 4096 / 7 + 1);
    kick();
    assert_uint_in_range(submitted, 4096 / 7, 4096 / 7 + 1);
    mock_ticks(&board, 1);
    expect_done(id, 0, 1);
    assert_int_equal(medium[MOCK_SECTORS * 512 - 1], 0);

    /* And one that is reset in between. */
    offer(13, 0, true, DATA, 16, 0);
    mock_ticks(&board, 1);
    kick();
    out(0x14, 1, 0);
    assert_int_equal(in(0x14, 1), 0);
}

/* Another vCPU offers a chain, and takes it back, each time that the device looks. */
static void test_offered_and_taken_back(void **state)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        start(V1 | INDIRECT | EVENT_IDX | (packed ? PACKED_RING : 0));
        board.flickers = packed ? v.descriptors + 14 : v.driver + 2;
        board.flicker = packed ? 0x80 : 1; /* a descriptor is available; the index */
        board.flicks = 0;
        kick();
        board.flickers = 0;
        assert_uint_in_range(board.flicks, 1, 1000);
    }
}

/* Virtio 1.2, 5.2.6.2: FLUSH was offered, and not negotiated: a completed write is stable. */
static void test_driver_without_flush(void **state)
{
    int id;

    start(V1 | INDIRECT); /* without VIRTIO_BLK_F_FLUSH (9) */
    assert_true(offered() & 1 << 9);
    id = offer(1, 0, true, DATA, 512, 0);
    kick();
    expect_done(id, 0, 1);
    assert_true(last.op == BLOCK_FLUSH || (last.flags & BLOCK_FUA));
}

static void test_doorbell(void **state)
{
    uint16_t port;
    int id;

    start(V1 | INDIRECT);
    port = doorbell();
    id = offer(0, 3, false, DATA, 512, 0);
    bus_port_write(&board.bus, port, 2, 0); /* I/O space is off */
    assert_int_equal(submitted, 0);
    config_write(PCI_COMMAND, 2, 7);
    bus_port_write(&board.bus, port, 2, 1); /* no such queue */
    bus_port_write(&board.bus, port, 2, 0xffff);
    bus_port_write(&board.bus, (uint16_t)(port + 2), 2, 0);
    bus_port_write(&board.bus, port, 4, 0xffff0001);
    assert_int_equal(submitted, 0);
    bus_port_write(&board.bus, port, 2, 0);
    assert_int_equal(submitted, 1);
    expect_done(id, 0, 513);
    config_write(PCI_BAR0 + 8, 4, 0xd000);
    id = offer(0, 3, false, DATA, 512, 0);
    bus_port_write(&board.bus, port, 2, 0); /* it has moved */
    assert_int_equal(submitted, 1);
    bus_port_write(&board.bus, 0xd000, 2, 0);
    expect_done(id, 0, 513);
}

static void test_where_it_starts_from(void **state)
{
    expect_boots(&devices, &virtio_blk_class, DEVICE_BOOT_DISK, 0, "/pci@i0cf8/scsi@1/disk@0,0");
    expect_boots(&devices, &virtio_blk_class, DEVICE_BOOT_DISK, 1, NULL);
    expect_boots(&devices, &virtio_blk_class, DEVICE_BOOT_CD, 0, NULL);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_where_it_starts_from),
        TEST(test_what_is_seen),
        TEST(test_transfers),
        TEST(test_other_requests),
        TEST(test_errors),
        TEST(test_what_is_counted),
        cmocka_unit_test_setup_teardown(test_who_looks_on, setup, teardown_unseen),
        cmocka_unit_test_setup_teardown(test_silence, setup, teardown_unseen),
        TEST(test_read_only),
        TEST(test_many),
        TEST(test_broken_rings),
        TEST(test_features),
        TEST(test_window),
        TEST(test_doorbell),
        TEST(test_what_one_exit_may_ask),
        TEST(test_offered_and_taken_back),
        TEST(test_driver_without_flush),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
