/*
 * What tests of layers below disks (guest/storage/layer.h) share: memory, a drive that answers when
 * it is told to, a guest who knows what it must find, and its snapshots. After cmocka.h.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "guest/storage/layer.h"
#include "mm/heap.h"

#define SECTORS   (12 * 8 + 3u)
#define BLOCKS    13u
#define REQUESTS  6u
#define MOST      20u /* sectors of a request */
#define SNAPSHOTS 5u
#define FRAMES    256u
#define HELD      40u

static uint64_t seed;

static unsigned chance(unsigned n)
{
    seed = seed * 6364136223846793005 + 1442695040888963407;
    return (unsigned)(seed >> 33) % n;
}

/* --- memory: what a frame has is undefined at first, and only a sector's first word counts --- */

static uint8_t memory[FRAMES][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static bool taken[FRAMES];
static unsigned frames_taken, frames_left, blocks_taken, next_frame;
static paddr highest;

void spin_wait(struct spinlock *l, uint16_t ticket)
{
    fail_msg("a lock was left taken");
}

void *phys_to_virt(paddr pa)
{
    return (void *)pa;
}

void frame_stats(struct frame_stats *out)
{
    *out = (struct frame_stats){.free = frames_left * PAGE_SIZE};
}

paddr frame_alloc_below(unsigned order, uint16_t owner, paddr limit)
{
    assert_int_equal(order, FRAME_ORDER_4K);
    assert_int_equal(owner, FRAME_VM);
    assert_int_equal(limit, highest);
    if (frames_left == 0)
        return FRAME_NONE;
    while (taken[next_frame % FRAMES])
        next_frame++;
    unsigned n = next_frame++ % FRAMES;
    taken[n] = true;
    frames_left--;
    frames_taken++;
    for (unsigned i = 0; i < 8; i++)
        memset(memory[n] + 512 * i, 0xa5, 4);
    return (paddr)memory[n];
}

static unsigned frame_number(paddr frame)
{
    uint64_t n = (frame - (paddr)memory) / PAGE_SIZE;

    assert_true(n < FRAMES && taken[n]);
    return (unsigned)n;
}

void frame_free(paddr frame, unsigned order)
{
    taken[frame_number(frame)] = false;
    frames_left++;
    frames_taken--;
}

void *heap_alloc(size_t size)
{
    blocks_taken++;
    return calloc(1, size);
}

void heap_free(void *p)
{
    blocks_taken -= p != NULL;
    free(p);
}

/* --- the drive: it carries out what it has when it likes, and forgets its cache at a power cut ---
 */

static struct {
    uint32_t now[SECTORS], medium[SECTORS];
    struct block_request *held[HELD];
    unsigned holding;
    unsigned errors;                 /* of so many requests one fails; 0: none */
    uint64_t submitted[SECTORS];     /* the number of the last write of a guest's to it */
    unsigned reads, writes, flushes; /* carried out */
    uint64_t broken; /* a sector that cannot be written; UINT64_MAX: there is none */
    bool at_once;
    void (*submitted_to)(struct block_request *r); /* NULL; or it is told */
} drive;

static struct block_device under;

struct asked {
    struct block_request request;
    struct block_segment segment[2];
    bool busy, given; /* given to the drive */
    uint64_t number;
    uint32_t first, sectors;
    uint32_t value[MOST];
    uint8_t data[MOST * 512];
};

static struct asked asked[REQUESTS];
static struct block_layer layer;

/* Sectors of one of its blocks. */
static uint32_t per_block(void)
{
    return under.logical_block / 512;
}

static struct asked *asked_by(const struct block_request *r)
{
    return r->owner == asked ? CONTAINER_OF(r, struct asked, request) : NULL;
}

static uint32_t *word_at(const struct block_request *r, uint64_t at)
{
    for (unsigned i = 0; i < r->count; i++) {
        if (at < r->segments[i].length)
            return (uint32_t *)(r->segments[i].address + at);
        at -= r->segments[i].length;
    }
    fail_msg("segments are too short");
    return NULL;
}

static int carry_out(const struct block_request *r)
{
    bool fails = drive.errors && !chance(drive.errors);

    fails |= r->op == BLOCK_WRITE && drive.broken - r->sector < r->sectors;
    if (r->op == BLOCK_FLUSH && !fails)
        memcpy(drive.medium, drive.now, sizeof(drive.now));
    drive.flushes += r->op == BLOCK_FLUSH;
    drive.reads += r->op == BLOCK_READ;
    drive.writes += r->op != BLOCK_READ && r->op != BLOCK_FLUSH;
    for (uint32_t i = 0; r->op != BLOCK_FLUSH && i < r->sectors; i++) {
        uint32_t *place = &drive.now[r->sector + i];

        if (fails && chance(2)) /* some of it was done all the same */
            continue;
        if (r->op == BLOCK_READ)
            *word_at(r, 512 * i) = *place;
        else if (r->op == BLOCK_WRITE)
            *place = *word_at(r, 512 * i);
        else
            *place = 0;
        if (r->flags & BLOCK_FUA)
            drive.medium[r->sector + i] = *place;
    }
    return fails ? -EIO : 0;
}

static void give_back(unsigned which)
{
    struct block_request *r = drive.held[which];
    int error = carry_out(r);

    drive.held[which] = drive.held[--drive.holding];
    r->done(r, error);
}

static void check_request(const struct block_request *r)
{
    uint64_t bytes = 0;

    assert_int_equal(block_check(&under, r), 0);
    assert_true(r->count <= under.max_segments);
    if (r->op != BLOCK_FLUSH)
        assert_int_equal((r->sector | r->sectors) % per_block(), 0);
    for (unsigned i = 0; i < r->count && r->op <= BLOCK_WRITE; i++) {
        bytes += r->segments[i].length;
        if (!asked_by(r))
            (void)frame_number(ALIGN_DOWN(r->segments[i].address, PAGE_SIZE));
        if (!asked_by(r))
            assert_true(r->segments[i].address % PAGE_SIZE == 0);
    }
    if (r->op <= BLOCK_WRITE)
        assert_int_equal(bytes, r->sectors * 512);
}

static void drive_submit(struct block_device *d, struct block_request *r)
{
    struct asked *a = asked_by(r);

    check_request(r);
    if (a)
        a->given = true;
    for (uint32_t i = 0; a && r->op != BLOCK_READ && r->op != BLOCK_FLUSH && i < r->sectors; i++) {
        assert_true(a->number > drive.submitted[r->sector + i]); /* overlapping ones in order */
        drive.submitted[r->sector + i] = a->number;
    }
    if (drive.submitted_to)
        drive.submitted_to(r);
    assert_true(drive.holding < HELD);
    drive.held[drive.holding++] = r;
    if (drive.at_once)
        give_back(drive.holding - 1);
}

static void drive_poll(struct block_device *d, const void *owner)
{
    for (unsigned i = drive.holding; i--;)
        if (i < drive.holding && drive.held[i]->owner == owner)
            give_back(i);
}

static const struct block_ops drive_ops = {.submit = drive_submit, .poll = drive_poll};

/* --- the guest --- */

static struct {
    uint64_t number;          /* of requests so far */
    uint32_t value;           /* written last */
    uint32_t expect[SECTORS]; /* what it must find there, */
    bool sure[SECTORS];       /* if that is so */
    uint32_t promised[SECTORS];
    bool kept[SECTORS]; /* promised: by a FLUSH or FUA, and not written since */
    unsigned errors;
} guest;

static struct past_memory kept;
static unsigned starves, left_over;

static void attention(struct block_layer *starved)
{
    if (!starved) {
        left_over++;
        return;
    }
    assert_ptr_equal(starved, &layer);
    assert_true(layer_is_starved(starved));
    starves++;
}

/* What processor 0 does. */
static void look_after(void)
{
    while (left_over) {
        left_over--;
        layer_work(&layer);
    }
}

static bool overlaps(const struct asked *a, const struct asked *b)
{
    return a->first < b->first + b->sectors && b->first < a->first + a->sectors;
}

static bool is_write(const struct asked *a)
{
    return a->request.op != BLOCK_READ && a->request.op != BLOCK_FLUSH;
}

static void doubt(const struct asked *a)
{
    for (uint32_t i = 0; i < a->sectors; i++)
        guest.sure[a->first + i] = guest.kept[a->first + i] = false;
}

static void written(struct asked *a)
{
    for (uint32_t i = 0; i < a->sectors; i++) {
        guest.expect[a->first + i] = a->value[i];
        guest.sure[a->first + i] = true;
        guest.kept[a->first + i] = a->request.flags & BLOCK_FUA;
        guest.promised[a->first + i] = a->value[i];
    }
    for (unsigned i = 0; i < REQUESTS; i++)
        if (asked[i].busy && &asked[i] != a && is_write(&asked[i]) && overlaps(a, &asked[i]))
            doubt(a);
    if (a->request.op == BLOCK_DISCARD)
        doubt(a);
}

static void flushed(const struct asked *a)
{
    static bool covered[SECTORS];

    for (unsigned s = 0; s < SECTORS; s++)
        covered[s] = guest.sure[s];
    for (unsigned i = 0; i < REQUESTS; i++)
        for (uint32_t s = 0; asked[i].busy && is_write(&asked[i]) && s < asked[i].sectors; s++)
            covered[asked[i].first + s] = false;
    for (unsigned s = 0; s < SECTORS && a->sectors == 0; s++)
        if (covered[s]) {
            guest.kept[s] = true;
            guest.promised[s] = guest.expect[s];
        }
}

static void done(struct block_request *r, int error)
{
    struct asked *a = asked_by(r);

    assert_non_null(a);
    assert_true(a->busy);
    assert_true(error == 0 || error == -EIO || (error == -ENOMEM && !a->given));
    assert_true(error || a->given || r->op == BLOCK_DISCARD);
    guest.errors += error != 0;
    if (is_write(a) && error)
        doubt(a);
    else if (is_write(a))
        written(a);
    else if (r->op == BLOCK_READ && !error)
        for (uint32_t i = 0; i < a->sectors; i++)
            assert_true(!guest.sure[a->first + i] || a->value[i] != a->number ||
                        *(uint32_t *)(a->data + 512 * i) == guest.expect[a->first + i]);
    else if (!error)
        flushed(a);
    a->busy = false;
}

/* --- snapshots --- */

static struct {
    bool there;
    uint32_t was[SECTORS];
} snapshots[SNAPSHOTS];
static unsigned starved_then;

static void forget(unsigned n)
{
    if (!snapshots[n].there)
        return;
    layer_forget(&layer, &snapshots[n]);
    assert_false(layer_has(&layer, &snapshots[n]));
    assert_int_equal(layer_size(&layer, &snapshots[n]), 0);
    snapshots[n].there = false;
}

/* What somebody does who is told that memory is out. */
static void more_memory(void)
{
    unsigned how = chance(3);

    if (how == 0)
        kept.limit += 2 * PAGE_SIZE;
    if (how == 1)
        forget(chance(SNAPSHOTS));
    if (how == 2)
        layer_give_up(&layer);
    else
        layer_go_on(&layer);
    starved_then++;
}

/* All that is under way comes to an end. */
static void settle(void)
{
    for (unsigned n = 0; !layer_idle(&layer) || drive.holding; n++) {
        assert_true(n < 10000);
        look_after();
        if (drive.holding)
            give_back(chance(drive.holding));
        else if (layer_is_starved(&layer))
            more_memory();
    }
    for (unsigned i = 0; i < REQUESTS; i++)
        assert_false(asked[i].busy);
    layer_go_on(&layer);
    for (unsigned s = 0; s < SECTORS; s++) {
        if (guest.sure[s])
            assert_int_equal(drive.now[s], guest.expect[s]);
        guest.expect[s] = drive.now[s];
        guest.sure[s] = true;
    }
}

static int restore_once(unsigned n, struct layer_failure *where)
{
    unsigned steps = 0;
    int result;

    memset(guest.sure, 0, sizeof(guest.sure));
    memset(guest.kept, 0, sizeof(guest.kept));
    if (layer_restore_begin(&layer, &snapshots[n]) < 0)
        return -ENOMEM;
    while ((result = layer_restore_step(&layer, where)) == -EAGAIN) {
        assert_true(++steps < 10000);
        look_after();
        for (unsigned i = chance(4); i && drive.holding; i--)
            give_back(chance(drive.holding));
        if (chance(500) == 0) { /* it is stopped, and asked for again */
            while (!layer_restore_stop(&layer))
                ;
            return -EAGAIN;
        }
    }
    assert_int_equal(drive.holding, 0);
    return result;
}

/* --- a new disk --- */

static void begin(uint64_t number)
{
    seed = number * 2 + 1;
    (void)chance(2);
    memset(&drive, 0, sizeof(drive));
    memset(&guest, 0, sizeof(guest));
    memset(snapshots, 0, sizeof(snapshots));
    drive.broken = UINT64_MAX;
    drive.errors = chance(3) ? 0 : 20;
    drive.at_once = !chance(10);
    bool large_blocks = !chance(4);
    highest = chance(2) ? UINT64_MAX : UINT32_MAX;
    frames_left = FRAMES;
    for (unsigned s = 0; s < SECTORS; s++)
        drive.now[s] = drive.medium[s] = chance(4) ? ++guest.value : 0;
    if (chance(2)) /* a block of zeroes */
        memset(drive.now + 8 * chance(BLOCKS - 1), 0, 8 * sizeof(drive.now[0]));
    memcpy(drive.medium, drive.now, sizeof(drive.now));
    under = (struct block_device){.ops = &drive_ops,
                                  .sectors = large_blocks ? SECTORS / 8 * 8 : SECTORS,
                                  .logical_block = large_blocks ? 4096 : 512,
                                  .physical_block = 4096,
                                  .max_sectors = chance(2) ? 64 : 24,
                                  .max_segments = chance(2) ? 2 : 20,
                                  .segment_align = 1,
                                  .highest_address = highest,
                                  .has_flush = true,
                                  .has_fua = true,
                                  .discard_sectors = MOST,
                                  .write_zeroes_sectors = MOST};
    kept = (struct past_memory){.owner = FRAME_VM,
                                .limit = chance(3) ? MIB : chance(100) * 1024,
                                .spare = chance(3) ? 0 : (FRAMES - chance(40)) * PAGE_SIZE};
    assert_int_equal(layer_init(&layer, &under, &kept, attention), 0);
}
