/* links: guest/storage/sources.c guest/storage/tables.c guest/storage/slice.c guest/storage/gpt.c arch/x86/lib/log.c arch/x86/lib/crc32.c arch/x86/lib/format.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "guest/storage/sources.h"
#include "tests/unit/mock_frames.h"

paddr frame_alloc_below(unsigned order, uint16_t owner, paddr limit)
{
    return frame_alloc(order, owner);
}

/* --- three disks with tables of their own --- */

#define SECTORS 4096u

static uint8_t media[3][SECTORS][512];
static struct disk disks[3];
static unsigned disk_count;
static unsigned unreadable; /* the disk that cannot be read, from 1 */

struct disk *disk_get(unsigned index)
{
    return index < disk_count ? &disks[index] : NULL;
}

int disk_do(struct block_device *d, struct block_request *r, void (*wait)(void))
{
    unsigned n = (unsigned)(CONTAINER_OF(d, struct disk, block) - disks);

    assert_true(r->op == BLOCK_READ && r->sector + r->sectors <= SECTORS && r->count == 1);
    if (n + 1 == unreadable)
        return -EIO;
    memcpy(phys_to_virt(r->segments[0].address), media[n][r->sector], r->segments[0].length);
    return 0;
}

static struct block_request *last_request;

static void submit(struct block_device *d, struct block_request *r)
{
    last_request = r;
}

static const struct block_ops ops = {submit, NULL};

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

static void seal(unsigned n)
{
    uint8_t *h = media[n][1];

    memcpy(h, "EFI PART\0\0\1\0\x5c\0\0\0", 16);
    put(h + 24, 1, 8);
    put(h + 32, SECTORS - 1, 8);
    put(h + 40, 34, 8);
    put(h + 48, SECTORS - 34, 8);
    put(h + 72, 2, 8);
    put(h + 80, 4, 4);
    put(h + 84, 128, 4);
    put(h + 88, crc(media[n][2], 512), 4);
    put(h + 16, 0, 4);
    put(h + 16, crc(h, 92), 4);
}

static const uint8_t esp[16] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
                                0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};

static void partition(unsigned n, unsigned entry, const char *label, uint64_t first, uint64_t last)
{
    uint8_t *e = media[n][2] + 128 * entry;

    memset(e, 7, 16);
    if (strcmp(label, "ESP") == 0)
        memcpy(e, esp, 16);
    memset(e + 16, (int)(0x10 * n + entry), 16);
    put(e + 32, first, 8);
    put(e + 40, last, 8);
    for (unsigned i = 0; label[i]; i++)
        put(e + 56 + 2 * i, (uint8_t)label[i], 2);
    seal(n);
}

static void wait(void)
{
}

static struct source_claim a, b, c;
static char why[SOURCE_MESSAGE];

static int setup(void **state)
{
    static const char *const serials[] = {"BOOT", "DATA", "TWIN"};

    mock_reset();
    memset(media, 0, sizeof(media));
    memset(disks, 0, sizeof(disks));
    unreadable = 0;
    disk_count = 3;
    tables_set_boot(true, (const uint8_t *)"no such partition");
    for (unsigned i = 0; i < 3; i++) {
        disks[i].block = (struct block_device){
            .ops = &ops, .sectors = SECTORS, .logical_block = 512, .max_sectors = 8};
        strcpy(disks[i].block.serial, serials[i]);
    }
    partition(0, 0, "ESP", 34, 999);
    partition(0, 1, "root", 1000, 1999);
    partition(1, 0, "home", 100, 199);
    partition(1, 1, "twice", 200, 299);
    partition(1, 2, "over", 290, 350);
    partition(2, 0, "swap", 100, 199);
    partition(2, 1, "home2", 300, 399);
    return 0;
}

static int teardown(void **state)
{
    source_release(&a);
    source_release(&b);
    source_release(&c);
    for (unsigned i = 0; i < 3; i++)
        heap_free(table_of(i)->table);
    return 0;
}

static int want(struct source_claim *claim, const char *text, const char *owner, unsigned flags)
{
    struct source_wish wish = {.text = text,
                               .length = strlen(text),
                               .owner = owner,
                               .read_only = flags & 1,
                               .whole_allowed = flags & 2};

    why[0] = 0;
    return source_claim(&wish, claim, why);
}

static void test_a_partition(void **state)
{
    struct block_request r = {.op = BLOCK_READ, .sector = 5, .sectors = 1};

    tables_read(wait);
    assert_int_equal(want(&a, "part:root", "x", 0), 0);
    assert_int_equal(a.slice.device.sectors, 1000);
    assert_string_equal(a.slice.device.name, "part:root");
    assert_false(a.slice.device.read_only);
    block_submit(&a.slice.device, &r);
    assert_ptr_equal(last_request, &r);
    assert_int_equal(r.sector, 1005);
    assert_int_equal(want(&b, "part:10101010-1010-1010-1010-101010101010", "x", 0), 0);
    assert_int_equal(b.slice.first, 100);
    assert_int_equal(want(&c, "part:20202020-2020-2020-2020-202020202020", "x", 1), 0);
    assert_true(c.slice.device.read_only);
}

static void test_what_nobody_gets(void **state)
{
    static const struct {
        const char *text, *why;
        int error;
    } rows[] = {
        {"part:none", "no disk has a partition of this name or GUID", -ENOENT},
        {"part:ESP", "it is an EFI system partition, which firmware starts the machine from",
         -ENOENT},
        {"part:00000000-0000-0000-0000-000000000000",
         "it is an EFI system partition, which firmware starts the machine from", -ENOENT},
        {"part:twice", "the partition leaves its disk, or lies over another one", -ENOENT},
        {"part:", "it must be part:NAME, part:GUID or disk:SERIAL", -EINVAL},
        {"/dev/sda", "it must be part:NAME, part:GUID or disk:SERIAL", -EINVAL},
        {"disk:DATA", "a whole disk needs `allow_whole_disk = yes`", -EINVAL},
    };

    tables_read(wait);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(want(&a, rows[i].text, "x", 0), rows[i].error);
        assert_string_equal(why, rows[i].why);
    }
    assert_int_equal(want(&a, "disk:BOOT", "x", 2), -EINVAL);
    assert_string_equal(why, "there is an EFI system partition on it");
    assert_int_equal(want(&a, "disk:NONE", "x", 2), -ENOENT);
    assert_int_equal(want(&a, "disk:", "x", 2), -EINVAL); /* not one without a number */
}

static void read_again(void)
{
    for (unsigned i = 0; i < 3; i++)
        heap_free(table_of(i)->table);
    tables_read(wait);
}

static enum partition_use use_of(unsigned disk, unsigned i)
{
    return tables_use(table_of(disk), &table_of(disk)->table->partitions[i]);
}

/* The same for who only looks. */
static void test_what_a_partition_is_for(void **state)
{
    static const uint8_t guid[16] = {0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10,
                                     0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10};

    tables_set_boot(true, guid);
    tables_read(wait);
    assert_int_equal(use_of(0, 0), PARTITION_ESP);
    assert_int_equal(use_of(0, 1), PARTITION_FREE);
    assert_int_equal(use_of(1, 0), PARTITION_BOOT);
    assert_int_equal(use_of(1, 2), PARTITION_BROKEN);
    tables_set_boot(false, guid); /* by the disk's MBR, which has something else */
    read_again();
    assert_int_equal(use_of(1, 0), PARTITION_FREE);
}

/* The oldest first, those that have a part of it included. */
static void test_who_has_what(void **state)
{
    tables_read(wait);
    assert_int_equal(want(&a, "disk:DATA", "all", 3), 0);
    assert_int_equal(want(&b, "part:home", "writer", 0), 0);
    assert_int_equal(want(&c, "part:swap", "other", 0), 0);
    assert_ptr_equal(source_claims(NULL, &disks[1], 100, 100), &a);
    assert_ptr_equal(source_claims(&a, &disks[1], 100, 100), &b);
    assert_null(source_claims(&b, &disks[1], 100, 100));
    assert_ptr_equal(source_claims(&a, &disks[1], 199, 1), &b);
    assert_null(source_claims(&a, &disks[1], 200, 100));
    assert_null(source_claims(&a, &disks[1], 0, 100));
    assert_ptr_equal(source_claims(NULL, &disks[2], 0, SECTORS), &c);
    assert_null(source_claims(NULL, &disks[0], 0, SECTORS));
}

/* What type it has is nobody's business then: firmware starts whatever holds a file system. */
static void test_what_corbel_was_started_from(void **state)
{
    static const uint8_t guid[16] = {0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10,
                                     0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10};
    static const uint8_t signature[16] = {1, 2, 3, 4, 9, 9, 9, 9};

    tables_set_boot(true, guid);
    tables_read(wait);
    assert_int_equal(want(&a, "part:10101010-1010-1010-1010-101010101010", "x", 0), -ENOENT);
    assert_string_equal(why, "Corbel itself was started from it");
    assert_int_equal(want(&a, "disk:DATA", "x", 2), -EINVAL);
    assert_string_equal(why, "Corbel itself was started from it");
    assert_int_equal(want(&a, "disk:DATA", "x", 3), -EINVAL); /* not to read either */
    assert_int_equal(want(&a, "part:swap", "x", 0), 0);
    source_release(&a);

    tables_set_boot(false, signature); /* a disk without a GPT */
    memset(media[1][1], 0, 512);
    read_again();
    assert_int_equal(want(&a, "disk:DATA", "x", 2), 0); /* some other disk */
    source_release(&a);
    memcpy(&media[1][0][440], "\1\2\3\4", 4);
    memcpy(&media[1][0][510], "\x55\xaa", 2);
    read_again();
    assert_int_equal(want(&a, "disk:DATA", "x", 2), -EINVAL);
    assert_string_equal(why, "Corbel itself was started from it");
    memset(&media[1][0][440], 0, 4);
    read_again();
    assert_int_equal(want(&a, "disk:DATA", "x", 2), 0);
}

static void test_names_that_two_have(void **state)
{
    partition(2, 0, "home", 100, 199);
    strcpy(disks[2].block.serial, "DATA");
    tables_read(wait);
    assert_int_equal(want(&a, "part:home", "x", 0), -ENOENT);
    assert_string_equal(why, "two partitions are called so: name it by its GUID");
    assert_int_equal(want(&a, "disk:DATA", "x", 2), -EEXIST);
    assert_int_equal(want(&a, "part:20202020-2020-2020-2020-202020202020", "x", 0), 0);
}

static void test_one_writes(void **state)
{
    tables_read(wait);
    assert_int_equal(want(&a, "part:home", "first", 0), 0);
    assert_int_equal(want(&b, "part:home", "second", 0), -EBUSY);
    assert_string_equal(why, "VM first writes to it");
    assert_int_equal(want(&b, "part:home", "second", 1), 0); /* who only reads may */
    source_release(&b);
    assert_int_equal(want(&b, "disk:DATA", "second", 2), -EBUSY);
    source_release(&a);
    assert_int_equal(want(&b, "disk:DATA", "second", 2), 0);
    assert_int_equal(want(&a, "part:home", "first", 0), -EBUSY);
    assert_string_equal(why, "VM second writes to it");
    b.kept = true;
    assert_int_equal(want(&a, "part:home", "first", 0), -EBUSY);
    assert_string_equal(why, "VM second has snapshots of it: forget those first");
    assert_int_equal(want(&a, "part:swap", "first", 0), 0); /* of another disk, at the same place */
    source_release(&b);
    source_release(&b);
    assert_int_equal(want(&c, "part:home", "third", 0), 0);
}

/* Not even to read: other VMs' things are there. */
static void test_corbels_own(void **state)
{
    tables_read(wait);
    assert_int_equal(want(&a, "part:home", NULL, 0), 0);
    for (unsigned flags = 0; flags < 2; flags++) {
        assert_int_equal(want(&b, "part:home", "x", flags), -EBUSY);
        assert_string_equal(why, "Corbel keeps its own things there: `state` in [host] names it");
        assert_int_equal(want(&b, "disk:DATA", "x", flags | 2), -EBUSY);
    }
    assert_int_equal(want(&b, "part:swap", "x", 0), 0);
    assert_int_equal(want(&c, "part:ESP", NULL, 0), -ENOENT); /* it gets no more than others */
}

static void test_read_only_drives(void **state)
{
    disks[1].block.read_only = true;
    tables_read(wait);
    assert_int_equal(want(&a, "part:home", "first", 0), 0);
    assert_true(a.slice.device.read_only);
    assert_int_equal(want(&b, "part:home", "second", 0), 0);
}

/* The others' partitions are there all the same. */
static void test_a_disk_that_cannot_be_read(void **state)
{
    unreadable = 1;
    memset(media[1][1], 0, 512);
    tables_read(wait);
    assert_int_equal(want(&a, "part:root", "x", 0), -ENOENT);
    assert_string_equal(table_of(0)->why, "its partition table cannot be read");
    assert_string_equal(table_of(1)->why, "it has no partition table (GPT)");
    assert_int_equal(want(&a, "part:swap", "x", 0), 0);
}

static void test_no_memory(void **state)
{
    mock_heap_left = 2;
    tables_read(wait);
    assert_null(table_of(2)->table);
    assert_string_equal(table_of(2)->why, "no memory for its partition table");
    assert_int_equal(want(&a, "part:root", "x", 0), 0);
    for (unsigned i = 0; i < 3; i++)
        heap_free(table_of(i)->table);
    mock_heap_left = 100;
    mock_limit = 0;
    tables_read(wait);
    assert_null(table_of(0)->table);
}

/* The boot disk's table cannot be read (one bad sector at start, no memory, 129 partitions). */
static void test_disk_whose_table_is_not_known(void **state)
{
    static const uint8_t guid[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

    tables_set_boot(true, guid); /* "root" of disk 0 */
    unreadable = 1;
    tables_read(wait);
    assert_string_equal(table_of(0)->why, "its partition table cannot be read");
    assert_int_equal(want(&a, "disk:BOOT", "x", 2), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_partition),
        TEST(test_what_nobody_gets),
        TEST(test_what_a_partition_is_for),
        TEST(test_who_has_what),
        TEST(test_names_that_two_have),
        TEST(test_what_corbel_was_started_from),
        TEST(test_one_writes),
        TEST(test_corbels_own),
        TEST(test_read_only_drives),
        TEST(test_a_disk_that_cannot_be_read),
        TEST(test_disk_whose_table_is_not_known),
        TEST(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
