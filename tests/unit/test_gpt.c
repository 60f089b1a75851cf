/* links: guest/storage/gpt.c arch/x86/lib/crc32.c arch/x86/lib/format.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "guest/storage/gpt.h"

/* A disk of 4 MiB, and a table as sgdisk writes it. */
#define SECTORS 8192u
#define LAST    (SECTORS - 1)

static uint8_t disk[SECTORS * 512];
static unsigned reads;
static uint64_t bad; /* a sector that cannot be read; 0: none */
static struct gpt g;
static const char *why;

static int read(void *ctx, uint64_t sector, void *data)
{
    reads++;
    assert_true(sector < SECTORS);
    memset(data, 0, GPT_READ);
    if (bad && sector <= bad && bad < sector + 8)
        return -EIO;
    memcpy(data, disk + sector * 512, sector > SECTORS - 8 ? (SECTORS - sector) * 512 : GPT_READ);
    return 0;
}

static struct gpt_source source = {SECTORS, 512, read, NULL};

static uint32_t crc(const uint8_t *p, size_t size)
{
    uint32_t c = UINT32_MAX;

    while (size--) {
        c ^= *p++;
        for (unsigned i = 0; i < 8; i++)
            c = c & 1 ? c >> 1 ^ 0xedb88320 : c >> 1;
    }
    return ~c;
}

static void put(uint8_t *at, uint64_t value, unsigned size)
{
    memcpy(at, &value, size);
}

static uint32_t block = 512, entry_size = 128, entry_count = 128;

static uint8_t *entry(uint64_t table, unsigned n)
{
    return disk + table * block + n * entry_size;
}

/* Give a header, and the table of entries that it names, right sums. */
static void seal(uint64_t own)
{
    uint8_t *h = disk + own * block;
    uint64_t table;

    memcpy(&table, h + 72, 8);
    put(h + 88, crc(entry(table, 0), (size_t)entry_count * entry_size), 4);
    put(h + 16, 0, 4);
    put(h + 16, crc(h, 92), 4);
}

static void header(uint64_t own, uint64_t other, uint64_t table)
{
    uint8_t *h = disk + own * block;

    memcpy(h, "EFI PART\0\0\1\0", 12);
    put(h + 12, 92, 4);
    put(h + 24, own, 8);
    put(h + 32, other, 8);
    put(h + 40, 34, 8);
    put(h + 48, SECTORS * 512 / block - 34, 8);
    put(h + 72, table, 8);
    put(h + 80, entry_count, 4);
    put(h + 84, entry_size, 4);
}

static const uint8_t linux_type[16] = {0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47,
                                       0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4};
static const uint8_t esp_type[16] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
                                     0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};

/* The same entry in both tables. */
static void partition(unsigned n, const uint8_t *type, uint64_t first, uint64_t last,
                      const char *label)
{
    uint64_t tables[] = {2, LAST - 32};

    for (unsigned t = 0; t < 2; t++) {
        uint8_t *e = entry(tables[t], n);

        memcpy(e, type, 16);
        for (unsigned i = 0; i < 16; i++)
            e[16 + i] = (uint8_t)(n * 16 + i);
        put(e + 32, first, 8);
        put(e + 40, last, 8);
        for (unsigned i = 0; label[i] && i < 36; i++)
            e[56 + 2 * i] = (uint8_t)label[i];
    }
}

static void seal_both(void)
{
    seal(1);
    seal(LAST);
}

static int setup(void **state)
{
    memset(disk, 0, sizeof(disk));
    block = 512;
    entry_size = entry_count = 128;
    source = (struct gpt_source){SECTORS, 512, read, NULL};
    bad = reads = 0;
    disk[446 + 4] = 0xee; /* a protective MBR */
    put(disk + 510, 0xaa55, 2);
    header(1, LAST, 2);
    header(LAST, 1, LAST - 32);
    partition(0, esp_type, 2048, 4095, "Corbel");
    partition(3, linux_type, 4096, 6143, "root");
    seal_both();
    return 0;
}

static void expect_table(void)
{
    assert_int_equal(gpt_read(&source, &g, &why), 0);
    assert_int_equal(g.count, 2);
    assert_true(gpt_is_esp(&g.partitions[0]));
    assert_string_equal(g.partitions[0].label, "Corbel");
    assert_false(gpt_is_esp(&g.partitions[1]));
    assert_string_equal(g.partitions[1].label, "root");
    assert_int_equal(g.partitions[1].number, 4);
    assert_int_equal(g.partitions[1].first, 4096);
    assert_int_equal(g.partitions[1].sectors, 2048);
    assert_false(g.partitions[0].broken || g.partitions[1].broken);
}

static void test_a_table(void **state)
{
    expect_table();
    assert_false(g.from_backup || g.no_backup);
    assert_true(reads < 20);
}

static void test_guid(void **state)
{
    char text[GPT_GUID_TEXT];

    gpt_guid_text(esp_type, text);
    assert_string_equal(text, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    assert_true(gpt_guid_is(esp_type, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", 36));
    assert_true(gpt_guid_is(esp_type, text, 36));
    assert_false(gpt_guid_is(esp_type, text, 35));
    text[35]++;
    assert_false(gpt_guid_is(esp_type, text, 36));
}

static void test_damaged_primary(void **state)
{
    disk[512 + 40]++;
    expect_table();
    assert_true(g.from_backup);
    setup(NULL);
    entry(2, 3)[60]++; /* the header is right, an entry is not */
    expect_table();
    assert_true(g.from_backup);
    setup(NULL);
    memset(disk + 512, 0, 512);
    expect_table();
    assert_true(g.from_backup);
    setup(NULL);
    bad = 1;
    expect_table();
    assert_true(g.from_backup);
    setup(NULL);
    put(disk + 512 + 24, 2, 8); /* a copy of some other block's */
    seal(1);
    expect_table();
    assert_true(g.from_backup);
}

static void expect_no_table(void)
{
    assert_int_equal(gpt_read(&source, &g, &why), -ENOENT);
    assert_string_equal(why, "it has no partition table (GPT)");
    assert_int_equal(g.count, 0);
}

/* What was written over the disk's beginning has left the backup of the table that was there. */
static void test_stale_backup(void **state)
{
    memset(disk + 512, 0, 512);
    disk[446 + 4] = 0x83; /* an MBR */
    expect_no_table();
    disk[446 + 3 * 16 + 4] = 0xee; /* a hybrid one */
    expect_table();
    assert_true(g.from_backup);
    disk[511] = 0;
    expect_no_table();
    memset(disk, 0, 512); /* a file system on the whole disk */
    expect_no_table();
    memset(disk + 512, 0xe5, 512);
    expect_no_table();
}

static void test_without_backup(void **state)
{
    disk[LAST * 512 + 20]++;
    disk[LAST * 512 + 50]++;
    expect_table();
    assert_true(g.no_backup);
    setup(NULL);
    put(disk + 512 + 32, UINT64_MAX, 8);
    seal(1);
    expect_table();
    assert_true(g.no_backup);
    /* The disk has grown: the backup is where the primary says. */
    setup(NULL);
    source.sectors = SECTORS;
    header(4000, 1, LAST - 32);
    seal(4000);
    put(disk + 512 + 32, 4000, 8);
    seal(1);
    memset(disk + LAST * 512, 0, 512);
    expect_table();
    assert_false(g.no_backup);
}

static void test_none(void **state)
{
    memset(disk + 512, 0, 512);
    memset(disk + LAST * 512, 0, 512);
    expect_no_table();
    source.sectors = 5;
    assert_int_equal(gpt_read(&source, &g, &why), -ENOENT);
    source.sectors = 0;
    assert_int_equal(gpt_read(&source, &g, &why), -ENOENT);
}

static void test_both_damaged(void **state)
{
    disk[512 + 40]++;
    disk[LAST * 512 + 40]++;
    assert_int_equal(gpt_read(&source, &g, &why), -EBADMSG);
    assert_non_null(strstr(why, "damaged"));
    assert_int_equal(g.count, 0);
    bad = 1;
    memset(disk + LAST * 512, 0, 512);
    assert_int_equal(gpt_read(&source, &g, &why), -EIO);
}

/* Each field that leads somewhere, with right sums, in both tables. */
static void test_headers_that_lie(void **state)
{
    static const struct {
        unsigned offset, size;
        uint64_t value;
        int error;
    } lies[] = {
        {12, 4, 91, -EBADMSG},       {12, 4, 513, -EBADMSG},        {12, 4, UINT32_MAX, -EBADMSG},
        {40, 8, SECTORS, -EBADMSG},  {48, 8, SECTORS, -EBADMSG},    {48, 8, UINT64_MAX, -EBADMSG},
        {72, 8, 1, -EBADMSG},        {72, 8, SECTORS, -EBADMSG},    {72, 8, UINT64_MAX, -EBADMSG},
        {84, 4, 0, -EBADMSG},        {84, 4, 64, -EBADMSG},         {84, 4, 129, -EBADMSG},
        {84, 4, 8192, -EBADMSG},     {84, 4, UINT32_MAX, -EBADMSG}, {80, 4, 1000000, -E2BIG},
        {80, 4, UINT32_MAX, -E2BIG},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
        uint64_t own[] = {1, LAST};

        setup(NULL);
        for (unsigned t = 0; t < 2; t++) {
            uint8_t *h = disk + own[t] * 512;
            uint32_t size;

            put(h + lies[i].offset, lies[i].value, lies[i].size);
            memcpy(&size, h + 12, 4);
            put(h + 16, 0, 4);
            put(h + 16, crc(h, size > 512 ? 92 : size), 4);
        }
        assert_int_equal(gpt_read(&source, &g, &why), lies[i].error);
        assert_int_equal(g.count, 0);
        assert_true(reads < 80);
    }
}

static void test_entries_that_lie(void **state)
{
    partition(5, linux_type, 33, 100, "before");
    partition(6, linux_type, 7000, SECTORS - 20, "behind");
    partition(7, linux_type, 6200, 6199, "empty");
    partition(8, linux_type, 6300, 6400, "first");
    partition(9, linux_type, 6400, 6500, "over it");
    partition(10, linux_type, 6501, 6501, "one");
    partition(11, linux_type, 0, UINT64_MAX, "all");
    seal_both();
    assert_int_equal(gpt_read(&source, &g, &why), 0);
    assert_int_equal(g.count, 9);
    for (unsigned i = 0; i < g.count; i++)
        assert_int_equal(g.partitions[i].broken, i != 0 && i != 1 && i != 7);
    assert_int_equal(g.partitions[7].sectors, 1);
}

static void test_labels(void **state)
{
    static const uint16_t units[36] = {0xe4, 0x20ac, 0xd83d, 0xde00, 7, 'x', 0x9b, 0, 'y'};

    partition(3, linux_type, 4096, 6143, "abcdefghijklmnopqrstuvwxyz0123456789");
    memcpy(entry(2, 0) + 56, units, sizeof(units));
    for (unsigned i = 0; i < 36; i++)
        put(entry(2, 5) + 56 + 2 * i, 0x20ac, 2); /* the longest text */
    memcpy(entry(2, 5), linux_type, 16);
    seal(1);
    assert_int_equal(gpt_read(&source, &g, &why), 0);
    assert_string_equal(g.partitions[0].label, "\xc3\xa4\xe2\x82\xac???x?");
    assert_string_equal(g.partitions[1].label, "abcdefghijklmnopqrstuvwxyz0123456789");
    assert_int_equal(strlen(g.partitions[2].label), 108);
}

static void test_many(void **state)
{
    for (unsigned i = 0; i < 128; i++)
        partition(i, linux_type, 100 + i, 100 + i, "x");
    seal_both();
    assert_int_equal(gpt_read(&source, &g, &why), 0);
    assert_int_equal(g.count, 128);
    entry_count = 132; /* four more in the first table's last sector, which is unused */
    put(disk + 512 + 80, entry_count, 4);
    for (unsigned i = 128; i < 132; i++)
        memcpy(entry(2, i), linux_type, 16);
    seal(1);
    memset(disk + LAST * 512, 0, 512);
    assert_int_equal(gpt_read(&source, &g, &why), -E2BIG);
    assert_int_equal(g.count, 0);
}

static void test_blocks_of_4_kib(void **state)
{
    memset(disk, 0, sizeof(disk));
    block = 4096;
    entry_size = 256;
    entry_count = 32;
    source.logical_block = 4096;
    header(1, 1023, 2);
    put(disk + 4096 + 40, 6, 8);
    put(disk + 4096 + 48, 1018, 8);
    memcpy(entry(2, 31), linux_type, 16);
    put(entry(2, 31) + 32, 10, 8);
    put(entry(2, 31) + 40, 19, 8);
    seal(1);
    assert_int_equal(gpt_read(&source, &g, &why), 0);
    assert_int_equal(g.count, 1);
    assert_int_equal(g.partitions[0].first, 80);
    assert_int_equal(g.partitions[0].sectors, 80);
    assert_int_equal(g.partitions[0].number, 32);
    assert_true(g.no_backup);
}

/* A table whose "usable" part is all of the disk: a partition over the table itself. */
static void test_partition_over_the_table(void **state)
{
    static const struct {
        uint64_t first, last;
        bool broken;
    } at[] = {{0, 0, true}, {1, 1, true}, {33, 40, true}, {0, 2047, true}, {34, 40, false}};

    for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
        for (unsigned k = 0; k < 2; k++) {
            uint8_t *h = disk + (k ? LAST : 1) * 512;
            put(h + 40, 0, 8);
            put(h + 48, LAST, 8);
        }
        partition(3, linux_type, at[i].first, at[i].last, "root");
        seal_both();
        assert_int_equal(gpt_read(&source, &g, &why), 0);
        assert_int_equal(g.partitions[1].broken, at[i].broken);
        assert_false(g.partitions[0].broken);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_partition_over_the_table, setup),
        cmocka_unit_test_setup(test_a_table, setup),
        cmocka_unit_test_setup(test_guid, setup),
        cmocka_unit_test_setup(test_damaged_primary, setup),
        cmocka_unit_test_setup(test_stale_backup, setup),
        cmocka_unit_test_setup(test_without_backup, setup),
        cmocka_unit_test_setup(test_none, setup),
        cmocka_unit_test_setup(test_both_damaged, setup),
        cmocka_unit_test_setup(test_headers_that_lie, setup),
        cmocka_unit_test_setup(test_entries_that_lie, setup),
        cmocka_unit_test_setup(test_labels, setup),
        cmocka_unit_test_setup(test_many, setup),
        cmocka_unit_test_setup(test_blocks_of_4_kib, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
