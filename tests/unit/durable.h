/*
 * What was flushed is never lost, whatever stands between a guest and the drive: a disk controller
 * of a VM with a driver of its own (struct front), below it drivers/disk.c, and below that a drive
 * with a volatile cache, which answers in any order, late, with errors and through resets. Its
 * power is cut at any moment, and of what is in its cache then it keeps what it likes. The guest
 * resets its controller at any moment, too, in the end after each cut: then nothing is under way
 * any more, and no frame is pinned. CORBEL_CUTS cuts; where that is not set 25,000 of each front,
 * which in `make test-all` are 100,000.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/tsc.h"
#include "drivers/disk.h"
#include "mm/heap.h"

#define CUT_SECTORS 16u
#define CUT_FLUSH   CUT_SECTORS /* the tag of a flush; those of writes are their sectors */
#define CUT_DEPTH   8u
#define CUT_STEPS   120u
#define CUT_PUSHES  100000u /* nothing takes longer */

struct front {
    uint64_t data; /* where in the guest's memory the sectors are that are written */
    /* From a controller that was reset; stable: what is written is not to be cached. */
    void (*start)(bool stable);
    /* Begin to write the sector; false: it has no room for that now. */
    bool (*write)(unsigned sector, bool stable);
    bool (*flush)(void);
    /* Call guest_told() for what has come back. */
    void (*collect)(void);
    void (*reset)(void);
    bool (*is_reset)(void);
};

static const struct front *front;

/* --- the drive: a medium, and versions of sectors in its cache, the oldest first --- */

uint64_t tsc_hz = 1000;
static uint64_t tsc_now, cut_seed = 1;

uint64_t test_tsc(void)
{
    return tsc_now;
}

static unsigned chance(unsigned n)
{
    cut_seed = cut_seed * 6364136223846793005 + 1442695040888963407;
    return (unsigned)(cut_seed >> 33) % n;
}

static struct {
    uint32_t medium[CUT_SECTORS];
    struct {
        uint32_t sector, version;
    } cache[1000];
    unsigned cached;
    bool given[CUT_DEPTH], done[CUT_DEPTH];
    int answer[CUT_DEPTH];
    bool mute;
    bool well;    /* it does at once what it is asked */
    bool dropped; /* a flush has failed, and lost something: whose, nobody knows for certain */
} drive;

static struct disk_unit unit;
static struct disk disk;

static void write_back(void)
{
    for (unsigned i = 0; i < drive.cached; i++)
        drive.medium[drive.cache[i].sector] = drive.cache[i].version;
    drive.cached = 0;
}

static void drive_write(const struct block_request *r)
{
    uint32_t version;

    assert_true(r->sectors == 1 && r->sector < CUT_SECTORS && drive.cached < 1000);
    memcpy(&version, (void *)r->segments->address, sizeof(version));
    drive.cache[drive.cached].sector = (uint32_t)r->sector;
    drive.cache[drive.cached++].version = version;
}

static void drive_do(const struct block_request *r, int error)
{
    if (r->op == BLOCK_WRITE && (!error || chance(2)))
        drive_write(r);
    if (r->op == BLOCK_WRITE && (r->flags & BLOCK_FUA) && !error)
        write_back();
    if (r->op == BLOCK_FLUSH && !error) {
        write_back();
    } else if (r->op == BLOCK_FLUSH && drive.cached) {
        drive.cached--; /* what it could not write is gone */
        drive.dropped = true;
    }
}

/* It carries out what it was given when it likes, and says so later. */
static void drive_work(struct disk_queue *q)
{
    for (unsigned slot = 0; slot < CUT_DEPTH; slot++) {
        if (!drive.given[slot] || drive.done[slot] || drive.mute || (!drive.well && chance(3)))
            continue;
        drive.answer[slot] = drive.well ? 0 : !chance(20) ? -EAGAIN : !chance(20) ? -EIO : 0;
        drive.done[slot] = true;
        drive_do(q->slots[slot].request, drive.answer[slot]);
    }
}

static int drive_start(struct disk_queue *q, unsigned slot)
{
    drive.given[slot] = true;
    drive.done[slot] = false;
    return 0;
}

static void drive_collect(struct disk_queue *q)
{
    for (unsigned slot = 0; slot < CUT_DEPTH; slot++)
        if (drive.given[slot] && drive.done[slot] && (drive.well || chance(2))) {
            drive.given[slot] = false;
            disk_finish(q, slot, drive.answer[slot]);
        }
}

static int drive_reset(struct disk_unit *u, bool begin)
{
    if (!drive.well && chance(2))
        return -EAGAIN;
    memset(drive.given, 0, sizeof(drive.given));
    drive.mute = false;
    return 0;
}

static void drive_cut(struct disk_unit *u)
{
}

static const struct disk_ops drive_ops = {drive_start, drive_collect, drive_reset, drive_cut};

/* --- the guest --- */

static struct {
    uint32_t next;
    uint32_t sent[CUT_SECTORS], written[CUT_SECTORS], promised[CUT_SECTORS];
    bool busy[CUT_SECTORS], stable[CUT_SECTORS];
    uint32_t at_flush[CUT_SECTORS]; /* what had come back when the flush was begun */
    bool flushing, wants_flush;
    bool all_stable;
    unsigned flushes;
} guest;

static unsigned long resets_in_flight;

static void guest_told(unsigned tag, bool good)
{
    if (tag == CUT_FLUSH) {
        guest.flushing = false;
        guest.flushes += good;
        for (unsigned i = 0; i < CUT_SECTORS && good; i++)
            guest.promised[i] = MAX(guest.promised[i], guest.at_flush[i]);
        return;
    }
    guest.busy[tag] = false;
    if (!good)
        return;
    guest.written[tag] = guest.sent[tag];
    if (guest.stable[tag] || guest.all_stable)
        guest.promised[tag] = guest.sent[tag];
}

static bool guest_waits(void)
{
    bool waits = guest.flushing;

    for (unsigned i = 0; i < CUT_SECTORS; i++)
        waits |= guest.busy[i];
    return waits;
}

static void guest_write(void)
{
    unsigned sector = chance(CUT_SECTORS);
    uint32_t version = guest.next + 1;

    if (guest.busy[sector] || guest.wants_flush)
        return;
    memcpy(board.memory + front->data + 512 * sector, &version, sizeof(version));
    guest.stable[sector] = !chance(4);
    guest.sent[sector] = version;
    guest.busy[sector] = true;
    guest.next++;
    if (!front->write(sector, guest.stable[sector]))
        guest.busy[sector] = false;
}

static void guest_flush(void)
{
    if (guest.flushing || guest.all_stable)
        return;
    memcpy(guest.at_flush, guest.written, sizeof(guest.written));
    guest.flushing = true;
    guest.flushing = front->flush();
    guest.wants_flush = !guest.flushing;
}

/* Time passes: the drive works, interrupts, is found to be late and reset. */
static void push(void)
{
    drive_work(&unit.queues[0]);
    disk_interrupt(&unit.queues[0]);
    mock_ticks(&board, 1);
    tsc_now += !drive.mute                 ? 2
               : unit.state == DISK_RESETS ? DISK_SECONDS * tsc_hz
                                           : FLUSH_SECONDS * tsc_hz;
    (void)disks_work();
}

static void push_until(bool (*good)(void))
{
    unsigned n = 0;

    while (!good()) {
        push();
        assert_true(++n < CUT_PUSHES);
    }
}

static bool drive_runs(void)
{
    return unit.state != DISK_RESETS && !unit.wanted && !unit.queues[0].busy &&
           !unit.queues[0].first;
}

static void guest_reset(void)
{
    resets_in_flight += guest_waits();
    front->reset();
    push_until(front->is_reset);
    assert_int_equal(board.pins, 0);
    assert_int_equal(counts.in_flight, 0);
    assert_true(!unit.queues[0].busy && !unit.queues[0].first && !unit.queues[0].back);
    memset(guest.busy, 0, sizeof(guest.busy));
    guest.flushing = guest.wants_flush = false;
}

/* --- a life of the drive, until its power goes --- */

static void guest_start(void)
{
    bool before = drive.well;

    drive.well = true;
    drive.mute = false;
    push_until(drive_runs);
    front->start(guest.all_stable);
    drive.well = before;
}

static void cut_step(void)
{
    switch (chance(9)) {
    case 0:
        guest_flush();
        break;
    case 1:
    case 2:
    case 3:
        if (guest.wants_flush)
            guest_flush();
        guest_write();
        break;
    case 4:
        disk_interrupt(&unit.queues[0]);
        break;
    case 5: /* it is late now, but for a reset */
        tsc_now += chance(40)                  ? 10
                   : unit.state == DISK_RESETS ? DISK_SECONDS * tsc_hz
                                               : FLUSH_SECONDS * tsc_hz;
        (void)disks_work();
        break;
    case 6:
        drive.mute |= !chance(60);
        if (!chance(30) && unit.state != DISK_LOST) {
            guest_reset();
            if (unit.state != DISK_LOST)
                guest_start();
        }
        break;
    case 7:
        mock_ticks(&board, 1);
        break;
    default:
        drive_work(&unit.queues[0]);
    }
    if (unit.state != DISK_LOST)
        front->collect();
}

static void cut_check(void)
{
    uint32_t now_on[CUT_SECTORS];

    /* Of the cache any part has reached the medium, in any order. */
    memcpy(now_on, drive.medium, sizeof(now_on));
    for (unsigned i = 0; i < drive.cached; i++)
        if (chance(2))
            now_on[drive.cache[i].sector] = drive.cache[i].version;
    for (unsigned i = 0; i < CUT_SECTORS && !drive.dropped; i++)
        if (now_on[i] < guest.promised[i])
            fail_msg("sector %u: version %u was flushed, and %u is there", i, guest.promised[i],
                     now_on[i]);
}

/* The unit as it was at first; nothing is under way. */
static void new_drive(void)
{
    memset(&drive, 0, sizeof(drive));
    memset(&guest, 0, sizeof(guest));
    unit.queues[0].stopped = false;
    unit.state = DISK_RUNS;
    unit.wanted = unit.in_vain = 0;
    unit.doubt = disk.lost = false;
    disk.block.has_fua = chance(2);
    guest.all_stable = !chance(5);
}

static void make_drive(void)
{
    disk.block = (struct block_device){.sectors = CUT_SECTORS,
                                       .logical_block = 512,
                                       .physical_block = 512,
                                       .max_sectors = 8,
                                       .max_segments = 4,
                                       .segment_align = 1,
                                       .highest_address = UINT64_MAX,
                                       .has_flush = true};
    assert_int_equal(disk_unit_init(&unit, &drive_ops, 1, CUT_DEPTH), 0);
    unit.interrupting = true;
    disk_unit_add(&unit);
    assert_int_equal(disk_add(&unit, &disk), 0);
}

/* The front is there, on the disk, and nobody has begun with it. */
static void cut_many(const struct front *f)
{
    const char *wish = getenv("CORBEL_CUTS");
    unsigned long cuts = wish                        ? strtoul(wish, NULL, 10)
                         : getenv("CORBEL_TEST_ALL") ? 100000
                                                     : 25000;
    unsigned long good = 0;

    front = f;
    for (unsigned long n = 0; n < cuts; n++) {
        new_drive();
        guest_start();
        for (unsigned i = 0, most = chance(CUT_STEPS); i < most; i++)
            cut_step();
        cut_check();
        good += guest.flushes;
        drive.well = true;
        drive.mute = false;
        guest_reset();
        push_until(drive_runs);
    }
    assert_true(good > cuts / 5);             /* IDE does one thing at a time */
    assert_true(resets_in_flight > cuts / 2); /* 10,000 at least, as cuts are by default */
}

/* The test of a front that come() brings onto the disk, and its driver's teardown() takes away. */
static void cut_front(const struct front *f, int (*come)(void))
{
    make_drive();
    behind = &disk.block;
    assert_int_equal(come(), 0);
    cut_many(f);
    assert_int_equal(teardown(NULL), 0);
    heap_free(unit.queues);
}
