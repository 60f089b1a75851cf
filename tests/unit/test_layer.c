/* links: guest/storage/layer.c guest/storage/layer_restore.c guest/storage/past.c */
/* Layers below disks, one thing at a time: what waits for what, what is told when something goes
 * wrong. test_layer_model.c has all of it at once. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/layer_drive.h"

static int fresh(void **state)
{
    memset(asked, 0, sizeof(asked));
    begin(1);
    drive.errors = 0;
    drive.at_once = false;
    under.max_sectors = 64;
    under.max_segments = 20;
    under.logical_block = 512;
    under.sectors = SECTORS;
    kept.limit = MIB;
    kept.spare = 0;
    for (unsigned s = 0; s < SECTORS; s++)
        drive.now[s] = drive.medium[s] = 1000 + s;
    starves = left_over = 0;
    return 0;
}

static int nothing_left(void **state)
{
    for (unsigned i = 0; i < SNAPSHOTS; i++)
        forget(i);
    assert_int_equal(kept.used, 0);
    assert_int_equal(frames_taken, 0);
    assert_int_equal(blocks_taken, 0);
    return 0;
}

static struct asked *put(unsigned which, unsigned op, uint32_t first, uint32_t sectors)
{
    struct asked *a = &asked[which];

    a->busy = true;
    a->given = false;
    a->number = ++guest.number;
    a->first = first;
    a->sectors = sectors;
    a->segment[0] = (struct block_segment){(paddr)a->data, sectors * 512};
    a->request = (struct block_request){.op = (uint8_t)op,
                                        .count = op <= BLOCK_WRITE,
                                        .sector = first,
                                        .sectors = sectors,
                                        .segments = a->segment,
                                        .done = done,
                                        .owner = asked};
    for (uint32_t i = 0; i < sectors; i++)
        a->value[i] = *(uint32_t *)(a->data + 512 * i) = 5;
    block_submit(&under, &a->request);
    return a;
}

static void keep(unsigned n)
{
    assert_int_equal(layer_keep(&layer, &snapshots[n]), 0);
    memcpy(snapshots[n].was, drive.now, sizeof(drive.now));
    snapshots[n].there = true;
}

/* What is asked is the drive's at once, and the same request: nothing is added, read or kept. */
static void test_without_a_snapshot(void **state)
{
    for (unsigned op = BLOCK_READ; op < BLOCK_OPS; op++) {
        put(0, op, 0, 20);
        assert_int_equal(drive.holding, 1);
        assert_ptr_equal(drive.held[0], &asked[0].request);
        give_back(0);
        assert_false(asked[0].busy);
    }
    assert_int_equal(kept.used, 0);
    keep(0);
    forget(0);
    put(0, BLOCK_WRITE, 0, 20);
    assert_ptr_equal(drive.held[0], &asked[0].request);
    give_back(0);
}

/* Reads and FLUSHes never wait, nor does what is kept already. */
static void test_what_waits(void **state)
{
    keep(0);
    put(0, BLOCK_READ, 0, 8);
    put(1, BLOCK_FLUSH, 0, 0);
    assert_int_equal(drive.holding, 2);
    give_back(0);
    give_back(0);
    put(0, BLOCK_WRITE, 3, 8); /* of two blocks */
    assert_int_equal(drive.holding, 1);
    assert_int_equal(drive.held[0]->op, BLOCK_READ);
    assert_int_equal(drive.held[0]->sector, 0);
    assert_int_equal(drive.held[0]->sectors, 16);
    put(1, BLOCK_WRITE, 5, 1); /* behind it, and nothing more is read for that */
    put(2, BLOCK_READ, 3, 1);
    assert_int_equal(drive.holding, 2);
    assert_ptr_equal(drive.held[1], &asked[2].request);
    give_back(1);
    give_back(0);
    assert_int_equal(drive.holding, 2); /* both are on their way, in order: drive_submit() looks */
    give_back(0);
    give_back(0);
    put(0, BLOCK_WRITE_ZEROES, 0, 16);
    assert_ptr_equal(drive.held[0], &asked[0].request);
    give_back(0);
    assert_int_equal(drive.reads, 3);
    put(0, BLOCK_DISCARD, 20, 10);
    assert_false(asked[0].busy);
    assert_int_equal(drive.holding, 0);
    put(0, BLOCK_WRITE, 0, 8);
    give_back(0);
    assert_int_equal(drive.reads, 3);
}

static void refused(struct block_request *r, int error)
{
    r->note[0] = (uint64_t)(int64_t)error;
}

static void test_what_is_refused(void **state)
{
    struct block_request r = {.op = BLOCK_WRITE, .sector = SECTORS, .sectors = 1, .done = refused};
    struct block_layer other;

    keep(0);
    block_submit(&under, &r);
    assert_int_equal((int)r.note[0], -EINVAL);
    under.read_only = true;
    r.sector = 0;
    block_submit(&under, &r);
    assert_int_equal((int)r.note[0], -EROFS);
    under.read_only = false;
    assert_int_equal(drive.holding, 0);
    under.logical_block = 8192;
    assert_int_equal(layer_init(&other, &under, &kept, attention), -EINVAL);
    under.logical_block = 4096;
    under.write_zeroes_sectors = UINT32_MAX;
    assert_int_equal(layer_init(&other, &under, &kept, attention), 0);
    assert_int_equal(under.write_zeroes_sectors, 32768);
    under.sectors = PAST_BLOCKS * 8;
    assert_int_equal(layer_init(&other, &under, &kept, attention), -EINVAL);
}

/* The old content cannot be read: the write has failed, and was not made. */
static void test_old_content_unreadable(void **state)
{
    keep(0);
    drive.errors = 1;
    put(0, BLOCK_WRITE, 0, 20);
    put(1, BLOCK_WRITE, 40, 1);
    assert_int_equal(drive.holding, 2);
    give_back(0);
    drive.errors = 0;
    assert_false(asked[0].busy);
    assert_int_equal(guest.errors, 1);
    assert_int_equal(drive.now[0], 1000);
    assert_true(asked[1].busy);
    give_back(0);
    give_back(0);
    assert_int_equal(guest.errors, 1);
    assert_int_equal(drive.now[40], 5);
    assert_int_equal(drive.writes, 1);
}

static void test_memory_is_out(void **state)
{
    keep(0);
    put(0, BLOCK_WRITE, 0, 8);
    give_back(0);
    give_back(0);
    keep(1);
    kept.limit = kept.used + 1000;
    put(0, BLOCK_WRITE, 8, 8);
    put(1, BLOCK_WRITE, 0, 8);
    assert_int_equal(starves, 1);
    assert_int_equal(drive.holding, 0);
    layer_go_on(&layer); /* there is not more of it: it is said again */
    assert_int_equal(starves, 2);
    assert_true(layer_is_starved(&layer));
    assert_false(layer_idle(&layer));
    forget(0);
    assert_true(layer_is_starved(&layer)); /* until somebody says so */
    kept.limit = MIB;
    layer_go_on(&layer);
    assert_int_equal(drive.holding, 2);
    settle();
    assert_int_equal(guest.errors, 0);
    assert_int_equal(drive.now[8], 5);
    /* It is given up: the guest is told, and nothing was written. */
    kept.limit = kept.used;
    put(0, BLOCK_WRITE, 24, 8);
    assert_int_equal(starves, 3);
    layer_give_up(&layer);
    assert_false(asked[0].busy);
    put(0, BLOCK_WRITE, 24, 8);
    assert_false(asked[0].busy);
    assert_int_equal(guest.errors, 2);
    assert_int_equal(drive.now[24], 1024);
    assert_int_equal(starves, 3);
    /* The last one is forgotten: what waits needs no memory any more. */
    layer_go_on(&layer);
    put(0, BLOCK_WRITE, 24, 8);
    forget(1);
    assert_int_equal(drive.holding, 1);
    give_back(0);
    assert_int_equal(drive.now[24], 5);
}

/* A guest that asks for the next thing as soon as the drive has the last one. */
static unsigned asks;

static void ask_again(struct block_request *r)
{
    if (asks && asks--)
        put(&asked[1].request == r ? 0 : 1, BLOCK_WRITE, 0, 8);
}

/* Whoever brings one request does not see to what others bring for ever: processor 0 is told. */
static void test_quick_drive(void **state)
{
    unsigned before, turns = 0;

    keep(0);
    drive.at_once = true;
    put(0, BLOCK_WRITE, 0, 8);
    assert_int_equal(left_over, 0);
    before = drive.writes;
    drive.submitted_to = ask_again;
    asks = 999;
    put(0, BLOCK_WRITE, 0, 8);
    assert_uint_in_range(drive.writes - before, 1, 64);
    assert_false(layer_idle(&layer));
    while (left_over) {
        before = drive.writes;
        left_over--;
        layer_work(&layer);
        assert_uint_in_range(drive.writes - before, 0, 64);
        turns++;
    }
    assert_uint_in_range(turns, 10, 20);
    assert_true(layer_idle(&layer));
    assert_int_equal(drive.writes, 1 + 1000);
    assert_int_equal(guest.errors, 0);
}

/* What is left over is not processor 0's alone: whoever polls goes on, too. */
static void test_left_over(void **state)
{
    keep(0);
    drive.at_once = true;
    put(0, BLOCK_WRITE, 0, 8);
    drive.submitted_to = ask_again;
    asks = 100;
    put(0, BLOCK_WRITE, 0, 8);
    assert_false(layer_idle(&layer));
    under.ops->poll(&under, asked);
    assert_true(layer_idle(&layer));
    look_after();
}

/* Blocks of zeroes take no memory; the last block is shorter. */
static void test_zeroes(void **state)
{
    uint64_t before;
    struct layer_failure where;

    memset(drive.now + 8, 0, 8 * sizeof(drive.now[0]));
    memset(drive.now + 96, 0, 3 * sizeof(drive.now[0]));
    keep(0);
    put(0, BLOCK_WRITE, 0, 8);
    settle();
    before = kept.used;
    put(0, BLOCK_WRITE, 8, 8);
    put(1, BLOCK_WRITE, 96, 3); /* of a block that the disk ends in */
    settle();
    assert_int_equal(kept.used, before);
    assert_int_equal(layer_size(&layer, &snapshots[0]), before);
    assert_int_equal(restore_once(0, &where), 0);
    assert_memory_equal(drive.now, snapshots[0].was, sizeof(drive.now));
}

/* However much its VM may take: others have memory left. */
static void test_spare(void **state)
{
    keep(0);
    kept.spare = frames_left * PAGE_SIZE;
    put(0, BLOCK_WRITE, 0, 8);
    assert_int_equal(starves, 1);
    assert_int_equal(kept.used, 0);
    assert_int_equal(drive.holding, 0);
    kept.spare = 0;
    layer_go_on(&layer);
    settle();
    assert_false(asked[0].busy);
    assert_int_equal(starves, 1);
}

/* It says where, and is tried again. */
static void test_restore_that_fails(void **state)
{
    struct layer_failure where;

    keep(0);
    put(0, BLOCK_WRITE, 0, 20);
    put(1, BLOCK_WRITE, 64, 20);
    settle();
    drive.broken = 70;
    assert_int_equal(restore_once(0, &where), -EIO);
    assert_int_equal(where.sector, 64);
    assert_int_equal(where.sectors, 24);
    assert_int_equal(drive.flushes, 0);
    drive.broken = UINT64_MAX;
    assert_int_equal(restore_once(0, &where), 0);
    assert_memory_equal(drive.medium, snapshots[0].was, sizeof(drive.now));
    /* A FLUSH that fails: all of it is written again. */
    put(0, BLOCK_WRITE, 0, 20);
    settle();
    assert_int_equal(layer_restore_begin(&layer, &snapshots[0]), 0);
    assert_int_equal(layer_restore_step(&layer, &where), -EAGAIN);
    give_back(0);
    assert_int_equal(layer_restore_step(&layer, &where), -EAGAIN);
    assert_int_equal(drive.held[0]->op, BLOCK_FLUSH);
    drive.errors = 1;
    give_back(0);
    assert_int_equal(layer_restore_step(&layer, &where), -EIO);
    assert_int_equal(where.sectors, 0);
    drive.errors = 0;
    unsigned writes = drive.writes;
    assert_int_equal(restore_once(0, &where), 0);
    assert_int_equal(drive.writes, writes + 1);
    assert_memory_equal(drive.medium, snapshots[0].was, sizeof(drive.now));
    /* What is there again takes no memory. */
    assert_int_equal(layer_size(&layer, &snapshots[0]), 0);
    frames_left = 0;
    assert_int_equal(layer_restore_begin(&layer, &snapshots[0]), -ENOMEM);
    frames_left = FRAMES;
}

/* A newer snapshot keeps its contents when an older one is put back, which takes memory. */
static void test_restore_of_an_older_one(void **state)
{
    struct layer_failure where;
    uint64_t limit;

    keep(0);
    put(0, BLOCK_WRITE, 0, 20);
    settle();
    keep(1);
    assert_int_equal(layer_restore_cost(&layer, &snapshots[1]), 0);
    assert_int_equal(layer_restore_cost(&layer, &snapshots[0]), 3 * PAGE_SIZE + 6 * 512);
    limit = kept.limit;
    kept.limit = kept.used + PAGE_SIZE;
    assert_int_equal(restore_once(0, &where), -ENOMEM);
    kept.limit = limit;
    assert_int_equal(restore_once(0, &where), 0);
    assert_memory_equal(drive.now, snapshots[0].was, sizeof(drive.now));
    assert_int_equal(restore_once(1, &where), 0);
    assert_memory_equal(drive.now, snapshots[1].was, sizeof(drive.now));
    forget(0);
    put(0, BLOCK_WRITE, 30, 3);
    settle();
    assert_int_equal(restore_once(1, &where), 0);
    assert_memory_equal(drive.now, snapshots[1].was, sizeof(drive.now));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh, nothing_left)
    const struct CMUnitTest tests[] = {
        TEST(test_without_a_snapshot),
        TEST(test_what_waits),
        TEST(test_what_is_refused),
        TEST(test_old_content_unreadable),
        TEST(test_memory_is_out),
        TEST(test_quick_drive),
        TEST(test_left_over),
        TEST(test_zeroes),
        TEST(test_spare),
        TEST(test_restore_that_fails),
        TEST(test_restore_of_an_older_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
