/* links: guest/storage/ram.c guest/storage/slice.c arch/x86/lib/format.c tests/unit/mock_heap.c */
/* Block devices that need no hardware: a disk in memory, a part of another device. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest/storage/ram.h"
#include "guest/storage/slice.h"

#define OWNER (FRAME_VM + 3)

/* Physical memory is the C library's, and every run of frames a block of its own. */
static unsigned runs, runs_left;

void *phys_to_virt(paddr pa)
{
    return (void *)pa;
}

paddr frame_run_alloc(uint64_t pages, uint16_t owner)
{
    assert_int_equal(owner, OWNER);
    if (runs_left == 0)
        return FRAME_NONE;
    runs_left--;
    runs++;
    return (paddr)memset(aligned_alloc(PAGE_SIZE, pages * PAGE_SIZE), 0xee, pages * PAGE_SIZE);
}

void frame_run_free(paddr base)
{
    runs--;
    free((void *)base);
}

static unsigned dones;
static int last_error;

static void done(struct block_request *r, int error)
{
    dones++;
    last_error = error;
}

static int ask(struct block_device *d, struct block_request r)
{
    unsigned before = dones;

    r.done = done;
    block_submit(d, &r);
    assert_int_equal(dones, before + 1);
    return last_error;
}

/* One segment. */
static int transfer(struct block_device *d, unsigned op, uint64_t sector, void *data, size_t size)
{
    struct block_segment s = {(paddr)data, (uint32_t)size};

    return ask(d, (struct block_request){
                      .op = (uint8_t)op,
                      .sector = sector,
                      .sectors = (uint32_t)(size / BLOCK_SECTOR),
                      .segments = &s,
                      .count = 1,
                  });
}

#define FILE_SIZE (5 * MIB + 700) /* three chunks, and not whole sectors */

static uint8_t file[FILE_SIZE];
static struct block_device *disk;

static int setup(void **state)
{
    srandom(1);
    for (size_t i = 0; i < sizeof(file); i++)
        file[i] = (uint8_t)random();
    runs_left = 100;
    disk = ram_disk_create(file, sizeof(file), OWNER);
    return disk ? 0 : -1;
}

static int teardown(void **state)
{
    ram_disk_destroy(disk);
    return runs == 0 ? 0 : -1;
}

static void test_ram_holds_the_file(void **state)
{
    static uint8_t data[MIB];

    assert_int_equal(disk->sectors, FILE_SIZE / 512 + 1);
    for (size_t at = 0; at + sizeof(data) <= FILE_SIZE; at += sizeof(data)) {
        assert_int_equal(transfer(disk, BLOCK_READ, at / 512, data, sizeof(data)), 0);
        assert_memory_equal(data, file + at, sizeof(data));
    }
    assert_int_equal(transfer(disk, BLOCK_READ, disk->sectors - 1, data, 512), 0);
    assert_memory_equal(data, file + FILE_SIZE / 512 * 512, FILE_SIZE % 512);
    for (size_t i = FILE_SIZE % 512; i < 512; i++)
        assert_int_equal(data[i], 0);
}

/* Over the border of two chunks, from segments of any length; the file itself stays as it was. */
static void test_ram_writes(void **state)
{
    uint8_t data[2048], back[2048], before[2048];
    struct block_segment s[3] = {
        {(paddr)data, 1}, {(paddr)data + 1, 1300}, {(paddr)data + 1301, 747}};
    uint64_t sector = 2 * MIB / 512 - 2;

    memset(data, 0x5a, sizeof(data));
    data[0] = 1;
    data[2047] = 2;
    memcpy(before, file + sector * 512, sizeof(before));
    assert_int_equal(
        ask(disk,
            (struct block_request){
                .op = BLOCK_WRITE, .sector = sector, .sectors = 4, .segments = s, .count = 3}),
        0);
    assert_memory_equal(file + sector * 512, before, sizeof(before));
    assert_int_equal(transfer(disk, BLOCK_READ, sector, back, sizeof(back)), 0);
    assert_memory_equal(back, data, sizeof(data));
    assert_int_equal(transfer(disk, BLOCK_READ, sector - 1, back, 512), 0);
    assert_memory_equal(back, file + (sector - 1) * 512, 512);
    assert_int_equal(transfer(disk, BLOCK_READ, sector + 4, back, 512), 0);
    assert_memory_equal(back, file + (sector + 4) * 512, 512);
}

static void test_ram_zeroes(void **state)
{
    uint8_t data[512], zeroes[512] = {0};

    for (unsigned op = BLOCK_DISCARD; op <= BLOCK_WRITE_ZEROES; op++) {
        uint64_t sector = 2 * MIB / 512 * (op - 2) - 1;
        assert_int_equal(
            ask(disk, (struct block_request){.op = (uint8_t)op, .sector = sector, .sectors = 2}),
            0);
        for (unsigned i = 0; i < 2; i++) {
            assert_int_equal(transfer(disk, BLOCK_READ, sector + i, data, 512), 0);
            assert_memory_equal(data, zeroes, 512);
        }
        assert_int_equal(transfer(disk, BLOCK_READ, sector + 2, data, 512), 0);
        assert_memory_equal(data, file + (sector + 2) * 512, 512);
    }
    assert_int_equal(ask(disk, (struct block_request){.op = BLOCK_FLUSH}), 0);
}

static void test_what_is_refused(void **state)
{
    static uint8_t data[MIB + 512];
    uint64_t end = disk->sectors;

    assert_int_equal(transfer(disk, BLOCK_READ, end, data, 512), -EINVAL);
    assert_int_equal(transfer(disk, BLOCK_READ, end - 1, data, 1024), -EINVAL);
    assert_int_equal(transfer(disk, BLOCK_WRITE, UINT64_MAX, data, 1024), -EINVAL);
    assert_int_equal(transfer(disk, BLOCK_READ, 0, data, 0), -EINVAL);
    assert_int_equal(transfer(disk, BLOCK_READ, 0, data, sizeof(data)), -EINVAL);
    assert_int_equal(transfer(disk, BLOCK_WRITE_ZEROES + 1, 0, data, 512), -ENOTSUP);
    assert_int_equal(
        ask(disk, (struct block_request){.op = BLOCK_DISCARD, .sector = end - 1, .sectors = 2}),
        -EINVAL);
    assert_int_equal(ask(disk, (struct block_request){.op = BLOCK_DISCARD,
                                                      .sectors = disk->discard_sectors + 1}),
                     -EINVAL);
    disk->read_only = true;
    assert_int_equal(transfer(disk, BLOCK_WRITE, 0, data, 512), -EROFS);
    assert_int_equal(ask(disk, (struct block_request){.op = BLOCK_WRITE_ZEROES, .sectors = 1}),
                     -EROFS);
    assert_int_equal(transfer(disk, BLOCK_READ, 0, data, 512), 0);
    disk->has_fua = false;
    assert_int_equal(
        ask(disk,
            (struct block_request){.op = BLOCK_WRITE_ZEROES, .sectors = 1, .flags = BLOCK_FUA}),
        -ENOTSUP);
}

static void test_ram_without_memory(void **state)
{
    for (unsigned n = 0; n < 3; n++) {
        runs_left = n;
        assert_null(ram_disk_create(file, sizeof(file), OWNER));
    }
    runs_left = 100;
    assert_null(ram_disk_create(file, 0, OWNER));
    ram_disk_destroy(NULL);
}

static void test_slice(void **state)
{
    struct block_slice s;
    uint8_t data[1024], back[1024];

    assert_int_equal(block_slice_init(&s, disk, "part", 100, 50), 0);
    assert_int_equal(s.device.sectors, 50);
    assert_string_equal(s.device.name, "part");
    assert_int_equal(transfer(&s.device, BLOCK_READ, 0, data, 1024), 0);
    assert_memory_equal(data, file + 100 * 512, 1024);
    memset(data, 0x77, sizeof(data));
    assert_int_equal(transfer(&s.device, BLOCK_WRITE, 48, data, 1024), 0);
    assert_int_equal(transfer(disk, BLOCK_READ, 148, back, 1024), 0);
    assert_memory_equal(back, data, 1024);
    /* Nothing beyond its ends. */
    assert_int_equal(transfer(&s.device, BLOCK_WRITE, 49, data, 1024), -EINVAL);
    assert_int_equal(transfer(&s.device, BLOCK_WRITE, 50, data, 512), -EINVAL);
    assert_int_equal(transfer(&s.device, BLOCK_WRITE, -UINT64_C(1), data, 512), -EINVAL);
    assert_int_equal(transfer(disk, BLOCK_READ, 150, back, 1024), 0);
    assert_memory_equal(back, file + 150 * 512, 1024);
    /* On a part of a part. */
    struct block_slice t;
    assert_int_equal(block_slice_init(&t, &s.device, "part of it", 10, 1), 0);
    assert_int_equal(transfer(&t.device, BLOCK_READ, 0, back, 512), 0);
    assert_memory_equal(back, file + 110 * 512, 512);
    assert_int_equal(transfer(&t.device, BLOCK_READ, 1, back, 512), -EINVAL);
}

static void test_slice_that_is_none(void **state)
{
    struct block_slice s;
    uint64_t end = disk->sectors;

    assert_int_equal(block_slice_init(&s, disk, "x", 0, 0), -EINVAL);
    assert_int_equal(block_slice_init(&s, disk, "x", 0, end), 0);
    assert_int_equal(block_slice_init(&s, disk, "x", 1, end), -EINVAL);
    assert_int_equal(block_slice_init(&s, disk, "x", end + 1, 1), -EINVAL);
    assert_int_equal(block_slice_init(&s, disk, "x", UINT64_MAX, 2), -EINVAL);
    disk->logical_block = 4096;
    assert_int_equal(block_slice_init(&s, disk, "x", 4, 8), -EINVAL);
    assert_int_equal(block_slice_init(&s, disk, "x", 8, 12), -EINVAL);
    assert_int_equal(block_slice_init(&s, disk, "x", 8, 8), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ram_holds_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ram_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ram_zeroes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ram_without_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slice_that_is_none, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
