/* links: guest/check_disks.c guest/storage/gpt.c arch/x86/lib/log.c arch/x86/lib/crc32.c arch/x86/lib/format.c */
/* The tests of `check_disks`, on a drive that does not do what it says. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/tsc.h"
#include "drivers/drives.h"
#include "guest/board/wall_clock.h"
#include "guest/check.h"
#include "guest/storage/tables.h"
#include "tests/unit/mock_frames.h"

#define SECTORS 4096u
#define FIRST   1000u
#define LENGTH  2000u

uint64_t tsc_hz = 1000000000;
static uint64_t now;

uint64_t test_tsc(void)
{
    return now += 100;
}

/* Another one in each run, while the TSC is the same again. */
static int64_t wall_clock;

void wall_clock_now(int64_t *seconds, uint32_t *microseconds)
{
    *seconds = wall_clock;
    *microseconds = 0;
}

uint64_t tsc_to_ns(uint64_t ticks)
{
    return ticks;
}

paddr frame_alloc_below(unsigned order, uint16_t owner, paddr limit)
{
    return frame_alloc(order, owner);
}

/* --- the drive --- */

static struct disk disk;
static struct disk_unit unit;
static struct disk_table table;
static struct gpt gpt;
static uint8_t medium[SECTORS][512];
static struct block_request *waiting[64];
static unsigned waits, requests;
static bool drops_writes, flush_fails;
static uint64_t bad;     /* a sector: writing it fails, after all is on the medium; 0: none */
static unsigned lost_at; /* the request with which it is lost; 0: never */

/* Where there is an IOMMU, what is asked for next does not arrive. */
static bool guarded, forgotten;

void iommu_test_forget(bool on)
{
    forgotten = on && guarded;
}

static int carry_out(const struct block_request *r)
{
    uint8_t *data = r->count ? phys_to_virt(r->segments[0].address) : NULL;

    if (++requests > 100000)
        fail_msg("futile requests");
    if (lost_at && requests >= lost_at)
        disk.lost = true;
    if (disk.lost)
        return -EIO;
    if (r->op == BLOCK_FLUSH)
        return flush_fails ? -EIO : 0;
    assert_int_equal(r->segments[0].length, r->sectors * 512);
    assert_true(r->sector + r->sectors <= disk.block.sectors);
    for (uint64_t s = r->sector; s < r->sector + r->sectors && s < SECTORS; s++, data += 512)
        if (r->op == BLOCK_READ && forgotten)
            continue;
        else if (r->op == BLOCK_READ)
            memcpy(data, medium[s], 512);
        else if (!drops_writes)
            memcpy(medium[s], data, 512);
    return r->op == BLOCK_WRITE && bad && r->sector <= bad && bad < r->sector + r->sectors ? -EIO
                                                                                           : 0;
}

static void submit(struct block_device *d, struct block_request *r)
{
    assert_true(waits < ARRAY_SIZE(waiting));
    waiting[waits++] = r;
}

uint64_t disks_work(void)
{
    while (waits) {
        struct block_request *r = waiting[--waits];

        r->done(r, carry_out(r));
    }
    return UINT64_MAX;
}

int disk_do(struct block_device *d, struct block_request *r, void (*wait)(void))
{
    return carry_out(r);
}

void disk_stats(const struct disk *d, struct disk_stats *out)
{
    *out = (struct disk_stats){0};
}

struct disk *disk_get(unsigned index)
{
    return index ? NULL : &disk;
}

void drives_init(void)
{
}

void drives_wait(void)
{
}

void tables_read(void (*wait)(void))
{
}

const struct disk_table *table_of(unsigned index)
{
    return &table;
}

const struct gpt_partition *tables_find(const char *text, size_t length, struct disk **d,
                                        const char **why)
{
    *d = &disk;
    return &gpt.partitions[0];
}

/* --- what is said --- */

static char said[1 << 14];
static struct config_span own; /* `state` */
static bool strays;            /* `test_dma` */

static void keep(enum log_level level, const char *line, size_t length)
{
    strncat(said, line, length);
    strcat(said, "\n");
}

static void check(const char *how)
{
    said[0] = 0;
    requests = 0;
    now = 0;
    wall_clock++;
    check_disks((struct config_span){how, strlen(how)}, own, strays);
    assert_int_equal(waits, 0);
}

static void expect_said(const char *text)
{
    if (!strstr(said, text))
        fail_msg("'%s' is not in:\n%s", text, said);
}

static void expect_unsaid(const char *text)
{
    if (strstr(said, text))
        fail_msg("'%s' is in:\n%s", text, said);
}

#define IS_THERE "what was written and flushed is there"

static int setup(void **state)
{
    static const struct block_ops ops = {submit, NULL};

    if (!mock_memory)
        mock_reset(); /* once: check_disks keeps its buffers */
    memset(medium, 7, sizeof(medium));
    unit = (struct disk_unit){.interrupting = true};
    disk = (struct disk){.unit = &unit,
                         .block = {.ops = &ops,
                                   .name = "sata0",
                                   .sectors = SECTORS,
                                   .logical_block = 512,
                                   .max_sectors = 256}};
    gpt.count = 1;
    gpt.partitions[0] =
        (struct gpt_partition){.number = 1, .label = "scratch", .first = FIRST, .sectors = LENGTH};
    table.table = &gpt;
    drops_writes = flush_fails = strays = guarded = forgotten = false;
    bad = lost_at = 0;
    log_set_sink(keep);
    return 0;
}

/* The only partition is found by any name here. */
static void test_what_is_corbels_own(void **state)
{
    own = (struct config_span){"part:own", 8};
    check("write:scratch");
    own = (struct config_span){0};
    expect_said("check_disks: 'scratch' is not written to: Corbel keeps its own things there: "
                "`state` in [host] names it");
    expect_unsaid("writing to partition");
    assert_int_equal(requests, 0);
}

static void test_strays(void **state)
{
    check("");
    expect_unsaid("test_dma");
    strays = true;
    check("");
    expect_said("disk sata0: test_dma: error 0; what lay there has changed");
    guarded = true;
    check("");
    expect_said("disk sata0: test_dma: error 0; what lay there is as it was");
}

static void test_write(void **state)
{
    static uint8_t sevens[SECTORS][512];

    check("write:scratch");
    expect_said(IS_THERE);
    expect_said("sata0: written 0 MiB");
    memset(sevens, 7, sizeof(sevens));
    assert_memory_equal(medium, sevens, FIRST * 512);
    assert_memory_equal(medium[FIRST + LENGTH], sevens, (SECTORS - FIRST - LENGTH) * 512);
    for (unsigned i = FIRST; i < FIRST + LENGTH; i++)
        assert_memory_not_equal(medium[i], medium[i == FIRST ? FIRST + 1 : i - 1], 512);
}

/* It has what another run has written. */
static void test_dropped_writes(void **state)
{
    check("write:scratch");
    expect_said(IS_THERE);
    drops_writes = true;
    check("write:scratch");
    expect_unsaid(IS_THERE);
    expect_said("2000 sectors hold something else than was written");
}

static void test_errors(void **state)
{
    bad = FIRST + 150;
    check("write:scratch");
    expect_said("1 blocks cannot be written; the first is at sector 1150");
    expect_unsaid(IS_THERE);
    expect_unsaid("something else");
    expect_unsaid("cannot be read");
    bad = 0;
    flush_fails = true;
    check("write:scratch");
    expect_said("could not be flushed");
    expect_unsaid(IS_THERE);
}

/* 8 TB of a drive that is not there any more are not asked for. */
static void test_lost(void **state)
{
    disk.block.sectors = gpt.partitions[0].sectors = 1ull << 34;
    gpt.partitions[0].first = 0;
    lost_at = 100;
    check("read");
    expect_said("given up");
    assert_true(requests < 150);
    disk.lost = false;
    check("write:scratch");
    expect_said("given up");
    expect_unsaid("sata0: read");
    expect_unsaid(IS_THERE);
    assert_true(requests < 150);
    check("read"); /* lost from the beginning */
    assert_true(requests < 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_what_is_corbels_own, setup),
        cmocka_unit_test_setup(test_strays, setup),
        cmocka_unit_test_setup(test_write, setup),
        cmocka_unit_test_setup(test_dropped_writes, setup),
        cmocka_unit_test_setup(test_errors, setup),
        cmocka_unit_test_setup(test_lost, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
