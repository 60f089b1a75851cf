/* links: drivers/disk.c drivers/disk_queue.c guest/storage/layer.c guest/storage/past.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/format.c */
/*
 * What was flushed is never lost: a drive with a volatile cache, which answers in any order, late,
 * with errors and through resets, has its power cut at any moment; of what is in its cache then it
 * keeps what it likes. And again with a layer above it, of which snapshots are made and forgotten.
 * CORBEL_CUTS cuts of each, 100,000 where that is not set.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/tsc.h"
#include "drivers/disk.h"
#include "guest/storage/layer.h"
#include "mm/heap.h"

#define SECTORS 16u
#define DEPTH   8u
#define STEPS   120u

uint64_t tsc_hz = 1000;
static uint64_t now;
static uint64_t seed = 1;

uint64_t test_tsc(void)
{
    return now;
}

static unsigned chance(unsigned n)
{
    seed = seed * 6364136223846793005 + 1442695040888963407;
    return (unsigned)(seed >> 33) % n;
}

/* --- memory: all of it is given back at a power cut --- */

#define FRAMES 200u
#define HEAP   (256 * 1024u)

static uint8_t frames[FRAMES][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static uint8_t heap[HEAP] __attribute__((aligned(16)));
static unsigned frames_used;
static size_t heap_used, heap_first; /* heap_first: of what stays */

void *heap_alloc(size_t size)
{
    void *p = heap + heap_used;

    heap_used += ALIGN_UP(size, 16);
    assert_true(heap_used <= HEAP);
    return memset(p, 0, size);
}

void heap_free(void *p)
{
}

void *phys_to_virt(paddr pa)
{
    return (void *)pa;
}

void frame_stats(struct frame_stats *out)
{
    *out = (struct frame_stats){.free = GIB};
}

paddr frame_alloc_below(unsigned order, uint16_t owner, paddr limit)
{
    return frames_used < FRAMES ? (paddr)frames[frames_used++] : FRAME_NONE;
}

void frame_free(paddr frame, unsigned order)
{
}

/* --- the drive: a medium, and versions of sectors in its cache, the oldest first --- */

static struct {
    uint32_t medium[SECTORS];
    struct {
        uint32_t sector, version;
    } cache[1000];
    unsigned cached;
    bool given[DEPTH], done[DEPTH];
    int answer[DEPTH];
    bool mute;
    unsigned resets, flushes_failed;
} drive;

static struct disk_unit unit;
static struct disk disk;
static const struct block_ops *plain; /* the disk's, without a layer */
static struct block_layer layer;
static bool layered;

static uint32_t version_of(const struct block_request *r)
{
    return (uint32_t)r->segments->address;
}

static void flush_cache(void)
{
    for (unsigned i = 0; i < drive.cached; i++)
        drive.medium[drive.cache[i].sector] = drive.cache[i].version;
    drive.cached = 0;
}

/* It carries out what it was given when it likes, and says so later. */
static void work(struct disk_queue *q)
{
    for (unsigned slot = 0; slot < DEPTH; slot++) {
        const struct block_request *r = q->slots[slot].request;

        if (!drive.given[slot] || drive.done[slot] || drive.mute || chance(3))
            continue;
        drive.answer[slot] = !chance(20) ? -EAGAIN : !chance(20) ? -EIO : 0;
        drive.done[slot] = true;
        if (r->op == BLOCK_WRITE && (!drive.answer[slot] || chance(2))) {
            drive.cache[drive.cached].sector = (uint32_t)r->sector;
            drive.cache[drive.cached++].version = version_of(r);
        }
        if (r->op == BLOCK_WRITE && (r->flags & BLOCK_FUA) && !drive.answer[slot])
            flush_cache();
        if (r->op == BLOCK_FLUSH && !drive.answer[slot])
            flush_cache();
        else if (r->op == BLOCK_FLUSH && drive.cached)
            drive.cached--; /* what it could not write is gone */
    }
}

static int start(struct disk_queue *q, unsigned slot)
{
    drive.given[slot] = true;
    drive.done[slot] = false;
    return 0;
}

static void collect(struct disk_queue *q)
{
    for (unsigned slot = 0; slot < DEPTH; slot++)
        if (drive.given[slot] && drive.done[slot] && chance(2)) {
            drive.given[slot] = false;
            disk_finish(q, slot, drive.answer[slot]);
        }
}

static int reset(struct disk_unit *u, bool begin)
{
    drive.resets += begin;
    if (chance(2))
        return -EAGAIN;
    memset(drive.given, 0, sizeof(drive.given));
    drive.mute = false;
    return 0;
}

static void cut(struct disk_unit *u)
{
}

static const struct disk_ops ops = {start, collect, reset, cut};

/* --- who writes --- */

static struct {
    uint32_t next, written[SECTORS], promised[SECTORS];
    bool busy[SECTORS];
    struct block_request request[SECTORS], flush;
    struct block_segment segment[SECTORS];
    uint32_t at_flush[SECTORS]; /* what had come back when the flush was submitted */
    bool flushing, spoiled;
    unsigned flushes, writes;
} user;

static void written(struct block_request *r, int error)
{
    unsigned sector = (unsigned)r->sector;

    user.busy[sector] = false;
    if (error)
        return;
    user.writes++;
    user.written[sector] = version_of(r);
    if (r->flags & BLOCK_FUA)
        user.promised[sector] = version_of(r);
}

static void flushed(struct block_request *r, int error)
{
    user.flushing = false;
    if (error) {
        user.spoiled = true; /* whoever hears that knows that he knows nothing any more */
        return;
    }
    user.flushes++;
    for (unsigned i = 0; i < SECTORS && !user.spoiled; i++)
        user.promised[i] = MAX(user.promised[i], user.at_flush[i]);
}

static void write_some(void)
{
    unsigned sector = chance(SECTORS);

    if (user.busy[sector])
        return;
    user.busy[sector] = true;
    user.segment[sector] = (struct block_segment){++user.next, 512};
    user.request[sector] = (struct block_request){.op = BLOCK_WRITE,
                                                  .flags = chance(8) ? 0 : BLOCK_FUA,
                                                  .sector = sector,
                                                  .sectors = 1,
                                                  .count = 1,
                                                  .segments = &user.segment[sector],
                                                  .done = written};
    block_submit(&disk.block, &user.request[sector]);
}

static void flush(void)
{
    if (user.flushing)
        return;
    user.flushing = true;
    memcpy(user.at_flush, user.written, sizeof(user.written));
    user.flush = (struct block_request){.op = BLOCK_FLUSH, .done = flushed};
    block_submit(&disk.block, &user.flush);
}

/* --- snapshots --- */

static struct past_memory kept;
static char snapshots[3];
static unsigned long snapshots_made, copies;

static void attention(struct block_layer *starved)
{
}

static void snapshot(void)
{
    const char *of = &snapshots[chance(3)];
    bool busy = user.flushing;

    for (unsigned i = 0; i < SECTORS; i++)
        busy |= user.busy[i];
    if (layer_has(&layer, of)) {
        copies += layer_size(&layer, of) != 0;
        layer_forget(&layer, of);
    } else if (!busy) {
        assert_true(layer_idle(&layer));
        assert_int_equal(layer_keep(&layer, of), 0);
        snapshots_made++;
    }
}

/* --- a life of the drive, until its power goes --- */

static void step(void)
{
    if (layered && !chance(4))
        snapshot();
    switch (chance(8)) {
    case 0:
        flush();
        break;
    case 1:
    case 2:
    case 3:
        write_some();
        break;
    case 4:
        disk_interrupt(&unit.queues[0]);
        break;
    case 5: /* it is late now, but for a reset */
        now += chance(40)                  ? 10
               : unit.state == DISK_RESETS ? DISK_SECONDS * tsc_hz
                                           : FLUSH_SECONDS * tsc_hz;
        disks_work();
        break;
    case 6:
        drive.mute |= !chance(60);
        break;
    default:
        work(&unit.queues[0]);
    }
}

static void check(void)
{
    uint32_t now_on[SECTORS];

    /* Of the cache any part has reached the medium, in any order. */
    memcpy(now_on, drive.medium, sizeof(now_on));
    for (unsigned i = 0; i < drive.cached; i++)
        if (chance(2))
            now_on[drive.cache[i].sector] = drive.cache[i].version;
    for (unsigned i = 0; i < SECTORS && !user.spoiled; i++)
        if (now_on[i] < user.promised[i])
            fail_msg("sector %u: version %u was flushed, and %u is there", i, user.promised[i],
                     now_on[i]);
}

static void make_drive(void)
{
    disk.block.logical_block = 512;
    assert_int_equal(disk_unit_init(&unit, &ops, 1, DEPTH), 0);
    unit.interrupting = true;
    disk_unit_add(&unit);
    disk.block.sectors = SECTORS;
    disk.block.max_sectors = 8;
    disk.block.max_segments = 1;
    disk.block.highest_address = UINT64_MAX;
    disk.block.has_flush = disk.block.has_fua = true;
    assert_int_equal(disk_add(&unit, &disk), 0);
    plain = disk.block.ops;
    heap_first = heap_used;
}

/* Nothing of the old one comes back. */
static void new_drive(void)
{
    memset(unit.queues[0].slots, 0, sizeof(unit.queues[0].slots));
    unit.queues[0].first = unit.queues[0].back = NULL;
    unit.queues[0].busy = 0;
    unit.queues[0].stopped = false;
    unit.state = DISK_RUNS;
    unit.wanted = unit.in_vain = 0;
    unit.doubt = disk.lost = false;
    heap_used = heap_first;
    frames_used = 0;
    kept = (struct past_memory){.limit = MIB};
    disk.block.ops = plain;
    assert_int_equal(layer_init(&layer, &disk.block, &kept, attention), 0);
}

static void cut_many(void)
{
    const char *wish = getenv("CORBEL_CUTS");
    unsigned long cuts = wish ? strtoul(wish, NULL, 10) : 100000, good = 0, resets = 0;

    for (unsigned long n = 0; n < cuts; n++) {
        new_drive();
        memset(&drive, 0, sizeof(drive));
        memset(&user, 0, sizeof(user));
        for (unsigned i = 0, most = chance(STEPS); i < most; i++)
            step();
        check();
        good += user.flushes;
        resets += drive.resets;
    }
    assert_true(good > cuts / 2);
    assert_true(resets > cuts / 100);
}

static void test_what_was_flushed_is_there(void **state)
{
    make_drive();
    cut_many();
}

static void test_what_was_flushed_through_a_layer(void **state)
{
    layered = true;
    cut_many();
    assert_true(snapshots_made > 1000);
    assert_true(copies > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_flushed_is_there), /* the first makes the drive */
        cmocka_unit_test(test_what_was_flushed_through_a_layer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
