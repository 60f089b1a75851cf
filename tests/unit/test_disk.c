/* links: drivers/disk.c drivers/disk_queue.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/tsc.h"
#include "drivers/disk.h"
#include "mm/heap.h"
#include "tests/unit/dma_model.h"

/* The clock, and a driver of a drive that answers when the test wants it to. */
uint64_t tsc_hz = 1000000;
static uint64_t now;

uint64_t test_tsc(void)
{
    return now;
}

static struct {
    struct disk_unit unit;
    struct disk disk;
    uint64_t given; /* slots that the hardware has */
    unsigned starts, resets, cuts, collects, answers;
    int answer[DISK_SLOTS]; /* with `ready`: what it says */
    uint64_t ready;
    int start_error, reset_error;
    unsigned reset_steps, steps; /* a reset needs so many */
    bool never_ready;
    bool exclusive_flush;
    bool wants_reset; /* once, at the next FLUSH that is started */
} m;

static int model_start(struct disk_queue *q, unsigned slot)
{
    const struct block_request *r = q->slots[slot].request;

    assert_false(q->stopped);
    assert_ptr_equal(disk_of(r), &m.disk);
    if (m.exclusive_flush && m.given && r->op == BLOCK_FLUSH)
        return -EAGAIN;
    if (r->op <= BLOCK_WRITE)
        (void)dma_reach(r->segments->address, r->segments->length,
                        r->op == BLOCK_READ ? DMA_WRITE : DMA_READ);
    if (m.start_error)
        return m.start_error;
    if (m.never_ready) {
        disk_want_reset(q, false);
        return -EAGAIN;
    }
    if (m.wants_reset && r->op == BLOCK_FLUSH) {
        m.wants_reset = false;
        disk_want_reset(q, true);
    }
    assert_false(m.given >> slot & 1);
    m.given |= BIT(slot);
    m.starts++;
    return 0;
}

static void model_collect(struct disk_queue *q)
{
    assert_false(q->stopped);
    m.collects++;
    for (unsigned slot = 0; slot < DISK_SLOTS; slot++)
        if (m.ready >> slot & 1) {
            m.ready &= ~BIT(slot);
            m.given &= ~BIT(slot);
            disk_finish(q, slot, m.answer[slot]);
        }
}

static int model_reset(struct disk_unit *u, bool begin)
{
    if (begin) {
        m.resets++;
        m.steps = 0;
    }
    if (m.steps++ < m.reset_steps)
        return -EAGAIN;
    m.given = m.ready = 0;
    return m.reset_error;
}

static unsigned backs;

static void model_cut(struct disk_unit *u)
{
    m.cuts++;
    assert_int_equal(backs, 0); /* before anybody thinks that the memory is his again */
}

static const struct disk_ops ops = {model_start, model_collect, model_reset, model_cut};

static struct block_request requests[200];
static int errors[200];
static unsigned attentions;
static struct block_request *then;

static void done(struct block_request *r, int error)
{
    for (unsigned i = 0; i < DISK_QUEUES && i < m.unit.queue_count; i++)
        assert_int_equal(m.unit.queues[i].lock.next, m.unit.queues[i].lock.owner);
    assert_int_equal(errors[r - requests], 1); /* once */
    assert_int_equal(dma_model.unsettled, 0);  /* nor does the hardware know its memory */
    errors[r - requests] = error;
    backs++;
    if (then) {
        struct block_request *next = then;

        then = NULL;
        block_submit(&m.disk.block, next);
    }
}

static void called(void)
{
    attentions++;
}

static const struct block_segment segment = {0x1000, 4096};

static struct block_request *ask(unsigned n, unsigned op, uint64_t sector)
{
    requests[n] = (struct block_request){.op = (uint8_t)op,
                                         .sector = sector,
                                         .sectors = 8,
                                         .count = 1,
                                         .segments = &segment,
                                         .done = done};
    errors[n] = 1;
    return &requests[n];
}

static void submit(unsigned n, unsigned op, uint64_t sector)
{
    block_submit(&m.disk.block, ask(n, op, sector));
}

static void answer(unsigned slot, int error)
{
    m.ready |= BIT(slot);
    m.answer[slot] = error;
}

static void seconds(unsigned n)
{
    for (unsigned i = 0; i < n * 20; i++) {
        now += tsc_hz / 20;
        disks_work();
    }
}

static int setup(void **state)
{
    static const struct block_ops *block_ops;

    memset(&m, 0, sizeof(m));
    assert_int_equal(disk_unit_init(&m.unit, &ops, 1, 4), 0);
    m.unit.interrupting = true;
    m.unit.dma = &dma_of_model;
    dma_model_reset();
    m.disk = (struct disk){.unit = &m.unit,
                           .block = {.name = "model0",
                                     .sectors = 1000,
                                     .logical_block = 512,
                                     .max_sectors = 8,
                                     .max_segments = 1,
                                     .has_flush = true}};
    if (!block_ops) {
        disk_unit_add(&m.unit);
        assert_int_equal(disk_add(&m.unit, &m.disk), 0);
        block_ops = m.disk.block.ops;
    }
    m.disk.block.ops = block_ops;
    backs = attentions = 0;
    then = NULL;
    disks_set_attention(called);
    return 0;
}

static int teardown(void **state)
{
    heap_free(m.unit.queues);
    m.unit.queues = NULL;
    return 0;
}

static struct disk_stats stats(void)
{
    struct disk_stats s;

    disk_stats(&m.disk, &s);
    return s;
}

static void test_there_and_back(void **state)
{
    struct disk_queue *q = &m.unit.queues[0];

    submit(0, BLOCK_READ, 0);
    submit(1, BLOCK_WRITE, 8);
    assert_int_equal(m.given, 3);
    assert_int_equal(attentions, 1); /* until it has been looked after */
    answer(1, 0);
    disk_interrupt(q);
    assert_int_equal(errors[0], 1);
    assert_int_equal(errors[1], 0);
    answer(0, 0);
    m.disk.block.ops->poll(&m.disk.block, NULL);
    assert_int_equal(errors[0], 0);
    assert_int_equal(stats().counts.done[BLOCK_READ], 1);
    assert_int_equal(stats().counts.done[BLOCK_WRITE], 1);
    assert_int_equal(q->busy, 0);
    /* The cause of an interrupt is looked for even now. */
    m.collects = 0;
    disk_interrupt(q);
    assert_int_equal(m.collects, 1);
}

static void test_more_than_slots(void **state)
{
    for (unsigned i = 0; i < 100; i++)
        submit(i, BLOCK_READ, i);
    assert_int_equal(m.given, 0xf);
    for (unsigned i = 0; i < 100; i++) {
        answer(i % 4, 0);
        disk_interrupt(&m.unit.queues[0]);
        assert_int_equal(backs, i + 1);
    }
    assert_int_equal(m.starts, 100);
    assert_int_equal(m.given, 0);
}

/* In the order in which they came, also through the wait for room. */
static void test_done_submits(void **state)
{
    then = ask(1, BLOCK_READ, 8);
    submit(0, BLOCK_READ, 0);
    answer(0, 0);
    disk_interrupt(&m.unit.queues[0]);
    assert_int_equal(backs, 1);
    assert_int_equal(m.starts, 2);
    answer(0, 0);
    disk_interrupt(&m.unit.queues[0]);
    assert_int_equal(backs, 2);
}

static void test_refused(void **state)
{
    static const struct {
        struct block_request r;
        int error;
    } rows[] = {
        {{.op = BLOCK_READ, .sector = 993, .sectors = 8, .count = 1}, -EINVAL},
        {{.op = BLOCK_READ, .sector = UINT64_MAX - 3, .sectors = 8, .count = 1}, -EINVAL},
        {{.op = BLOCK_READ, .sector = 0, .sectors = 0, .count = 1}, -EINVAL},
        {{.op = BLOCK_READ, .sector = 0, .sectors = 9, .count = 1}, -EINVAL},
        {{.op = BLOCK_READ, .sector = 0, .sectors = 8, .count = 2}, -EINVAL},
        {{.op = BLOCK_WRITE, .flags = BLOCK_FUA, .sectors = 8, .count = 1}, -ENOTSUP},
        {{.op = BLOCK_DISCARD, .sectors = 8}, -ENOTSUP},
        {{.op = 77, .sectors = 8}, -ENOTSUP},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        requests[i] = rows[i].r;
        requests[i].done = done;
        errors[i] = 1;
        block_submit(&m.disk.block, &requests[i]);
        assert_int_equal(errors[i], rows[i].error);
    }
    m.disk.block.read_only = true;
    submit(20, BLOCK_WRITE, 0);
    assert_int_equal(errors[20], -EROFS);
    m.disk.block.logical_block = 4096;
    submit(21, BLOCK_READ, 4);
    assert_int_equal(errors[21], -EINVAL);
    submit(22, BLOCK_READ, 8);
    assert_int_equal(m.starts, 1);
    /* Without a cache there is nothing to flush. */
    m.disk.block.has_flush = false;
    submit(23, BLOCK_FLUSH, 0);
    assert_int_equal(errors[23], 0);
    assert_int_equal(m.starts, 1);
}

static void test_errors_of_the_medium_are_final(void **state)
{
    submit(0, BLOCK_READ, 7);
    submit(1, BLOCK_FLUSH, 0);
    answer(0, -EIO);
    answer(1, -EIO);
    disk_interrupt(&m.unit.queues[0]);
    assert_int_equal(errors[0], -EIO);
    assert_int_equal(errors[1], -EIO);
    assert_int_equal(m.starts, 2);
    assert_int_equal(stats().counts.errors, 2);
    assert_int_equal(stats().counts.done[BLOCK_FLUSH], 0);
}

static void test_errors_on_the_way_are_tried_again(void **state)
{
    submit(0, BLOCK_READ, 0);
    answer(0, -EAGAIN);
    disk_interrupt(&m.unit.queues[0]);
    assert_int_equal(m.starts, 2);
    answer(0, 0);
    disk_interrupt(&m.unit.queues[0]);
    assert_int_equal(errors[0], 0);
    submit(1, BLOCK_READ, 0);
    for (unsigned i = 0; i < DISK_TRIES; i++) {
        assert_int_equal(errors[1], 1);
        answer(0, -EAGAIN);
        disk_interrupt(&m.unit.queues[0]);
    }
    assert_int_equal(errors[1], -EIO);
    assert_int_equal(m.starts, 2 + DISK_TRIES);
}

/* Nobody waits: nothing happens. */
static void test_answers_twice(void **state)
{
    submit(0, BLOCK_READ, 0);
    answer(0, 0);
    disk_interrupt(&m.unit.queues[0]);
    answer(0, 0);
    answer(3, 0);
    answer(40, 0); /* a slot that the queue does not have */
    disk_interrupt(&m.unit.queues[0]);
    assert_int_equal(backs, 1);
    assert_int_equal(m.unit.queues[0].busy, 0);
    assert_int_equal(m.unit.queues[0].strays, 3);
    submit(1, BLOCK_READ, 0);
    answer(40, 0); /* nor is it that of another one */
    disk_interrupt(&m.unit.queues[0]);
    assert_int_equal(backs, 1);
    assert_int_equal(m.unit.queues[0].strays, 4);
}

/* A FLUSH that cannot go beside others waits for them, and holds up what comes behind. */
static void test_not_while_others_are_under_way(void **state)
{
    m.exclusive_flush = true;
    submit(0, BLOCK_WRITE, 0);
    submit(1, BLOCK_FLUSH, 0);
    submit(2, BLOCK_WRITE, 8);
    assert_int_equal(m.given, 1);
    answer(0, 0);
    disk_interrupt(&m.unit.queues[0]);
    assert_int_equal(requests[1].op, BLOCK_FLUSH);
    assert_int_equal(m.given, 3);
    answer(0, 0);
    answer(1, 0);
    disk_interrupt(&m.unit.queues[0]);
    assert_int_equal(backs, 3);
}

static void test_start_fails(void **state)
{
    m.start_error = -EIO;
    submit(0, BLOCK_READ, 0);
    submit(1, BLOCK_READ, 0);
    assert_int_equal(errors[0], -EIO);
    assert_int_equal(errors[1], -EIO);
    assert_int_equal(m.unit.queues[0].busy, 0);
    m.start_error = -ENODEV;
    submit(2, BLOCK_READ, 0);
    assert_int_equal(errors[2], -EIO);
    assert_true(m.disk.lost);
}

/* It has answered, but its interrupt got lost: no reset. */
static void test_lost_interrupt(void **state)
{
    submit(0, BLOCK_READ, 0);
    answer(0, 0);
    seconds(2);
    assert_int_equal(errors[0], 0);
    assert_int_equal(m.resets, 0);
}

static void test_answers_late(void **state)
{
    m.reset_steps = 5;
    submit(0, BLOCK_READ, 0);
    submit(1, BLOCK_WRITE, 0); /* innocent */
    submit(3, BLOCK_FLUSH, 0); /* who knows what became of it */
    seconds(FLUSH_SECONDS - 1);
    assert_int_equal(m.resets, 0);
    now += 2 * tsc_hz;
    disks_work();
    assert_int_equal(m.resets, 1);
    /* In the middle of the reset: it is not asked, and what comes waits. */
    answer(0, 0);
    disk_interrupt(&m.unit.queues[0]);
    submit(2, BLOCK_READ, 0);
    assert_int_equal(backs, 0);
    assert_int_equal(m.starts, 3);
    seconds(1);
    assert_int_equal(errors[3], -ETIMEDOUT);
    assert_int_equal(m.starts, 6);
    assert_int_equal(m.given, 7);
    for (unsigned i = 0; i < 3; i++)
        answer(i, 0);
    disk_interrupt(&m.unit.queues[0]);
    assert_int_equal(errors[0], 0);
    assert_int_equal(errors[1], 0);
    assert_int_equal(errors[2], 0);
}

static void test_answers_never(void **state)
{
    submit(0, BLOCK_READ, 0);
    seconds(DISK_TRIES * (DISK_SECONDS + 1));
    assert_int_equal(errors[0], -ETIMEDOUT);
    assert_int_equal(m.resets, DISK_TRIES);
    assert_false(m.disk.lost);
    backs = 0;
    /* Others do not wait as long. */
    for (unsigned i = 1; i < 20; i++)
        submit(i, BLOCK_WRITE, 0);
    seconds(DISK_SECONDS + 1);
    assert_int_equal(backs, 19);
    assert_int_equal(errors[19], -EIO);
    assert_int_equal(m.cuts, 1);
    assert_true(m.disk.lost);
    submit(30, BLOCK_READ, 0);
    assert_int_equal(errors[30], -EIO);
    submit(31, BLOCK_FLUSH, 0); /* no cache, no flush: it is not there to say so */
    assert_int_equal(errors[31], -EIO);
    assert_int_equal(disks_work(), UINT64_MAX);
}

static void test_a_flush_gets_more_time(void **state)
{
    submit(0, BLOCK_FLUSH, 0);
    seconds(FLUSH_SECONDS - 1);
    assert_int_equal(m.resets, 0);
    seconds(2);
    assert_int_equal(m.resets, 1);
}

/* A drive that does one thing at a time is not late with what came behind a FLUSH. */
static void test_behind_a_flush(void **state)
{
    submit(0, BLOCK_READ, 0);
    answer(0, 0);
    seconds(1);
    submit(1, BLOCK_READ, 0); /* the slot in front */
    submit(2, BLOCK_FLUSH, 0);
    seconds(FLUSH_SECONDS - 2);
    assert_int_equal(m.resets, 0);
    answer(1, 0);
    seconds(2);
    assert_int_equal(errors[2], 0);
    assert_int_equal(m.resets, 0); /* its turn has just come */
    answer(0, 0);
    seconds(1);
    assert_int_equal(errors[1], 0);
    submit(3, BLOCK_FLUSH, 0);
    submit(4, BLOCK_READ, 0);
    seconds(20);
    answer(0, 0);
    seconds(DISK_SECONDS + 2);
    assert_int_equal(errors[3], 0);
    assert_int_equal(m.resets, 1);
}

/* One that is forgotten while FLUSHes come and go is late some day all the same. */
static void test_forgotten_among_flushes(void **state)
{
    submit(0, BLOCK_READ, 0);
    for (unsigned i = 1; i < 40 && !m.resets; i++) {
        submit(i, BLOCK_FLUSH, 0);
        seconds(5);
        answer(1, 0);
        disks_work();
        assert_true(m.resets || errors[i] == 0);
    }
    assert_int_equal(m.resets, 1);
}

/* What another processor says while queues run again is about the next reset. */
static void test_doubt_behind_a_reset(void **state)
{
    m.reset_steps = 5;
    submit(0, BLOCK_READ, 0);
    seconds(DISK_SECONDS - 1);
    now += 2 * tsc_hz;
    disks_work();
    assert_int_equal(m.resets, 1);
    submit(1, BLOCK_FLUSH, 0);
    m.wants_reset = true;
    seconds(1);
    assert_int_equal(m.resets, 2);
    assert_int_equal(errors[1], -ETIMEDOUT);
}

static void test_reset_fails(void **state)
{
    m.reset_error = -EIO;
    for (unsigned i = 0; i < 10; i++)
        submit(i, BLOCK_WRITE, 0);
    seconds(DISK_SECONDS + 1);
    assert_int_equal(backs, 10);
    assert_int_equal(m.cuts, 1);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(errors[i], -EIO);
}

static unsigned masters_off;

static void master_off(const struct host_pci *p)
{
    assert_ptr_equal(p, m.unit.pci);
    assert_int_equal(backs, 0); /* see model_cut() */
    masters_off++;
}

/* A function with several units is bus master until the last of them is lost. */
static void test_cut_off_by_its_function(void **state)
{
    static struct disk_unit other;

    other.pci = (const struct host_pci *)&other;
    disk_unit_add(&other);
    for (unsigned i = 0; i < 2; i++) {
        m.reset_error = -EIO;
        m.unit.pci = other.pci;
        m.unit.master_off = master_off;
        masters_off = 0;
        submit(0, BLOCK_READ, 0);
        seconds(DISK_SECONDS + 1);
        assert_int_equal(errors[0], -EIO);
        assert_int_equal(m.cuts, 1);
        assert_int_equal(masters_off, i);
        teardown(NULL);
        setup(NULL);
        other.state = DISK_LOST;
    }
    other.pci = NULL;
}

/* Each reset does well, and then it takes no command all the same. */
static void test_resets_in_vain(void **state)
{
    m.never_ready = true;
    submit(0, BLOCK_WRITE, 0);
    seconds(2);
    assert_int_equal(errors[0], -EIO);
    assert_int_equal(m.cuts, 1);
    assert_int_equal(m.resets, 3);
}

static void test_reset_never_ends(void **state)
{
    m.reset_steps = UINT32_MAX;
    submit(0, BLOCK_WRITE, 0);
    seconds(DISK_SECONDS + RESET_SECONDS + 2);
    assert_int_equal(errors[0], -EIO);
    assert_int_equal(m.cuts, 1);
}

/* The driver wants a reset because one has failed: the others are tried again as often as it takes.
 */
static void test_reset_for_an_error(void **state)
{
    for (unsigned i = 0; i < 4; i++)
        submit(i, BLOCK_READ, 0);
    for (unsigned i = 0; i < 3; i++) {
        unsigned slot = 0;

        while (m.unit.queues[0].slots[slot].request != &requests[i])
            slot++;
        attentions = 0;
        spin_lock(&m.unit.queues[0].lock);
        disk_finish(&m.unit.queues[0], slot, -EIO);
        disk_want_reset(&m.unit.queues[0], false);
        spin_unlock(&m.unit.queues[0].lock);
        m.disk.block.ops->poll(&m.disk.block, NULL);
        assert_true(attentions > 0);
        disks_work();
        assert_int_equal(m.resets, i + 1);
        assert_int_equal(errors[i], -EIO);
        assert_int_equal(m.unit.queues[0].busy, 3 - i);
    }
    for (unsigned i = 0; i < 4; i++)
        if (m.given >> i & 1)
            answer(i, 0);
    disk_interrupt(&m.unit.queues[0]);
    assert_int_equal(errors[3], 0);
}

static void test_unplugged(void **state)
{
    submit(0, BLOCK_READ, 0);
    submit(1, BLOCK_READ, 0);
    answer(0, -ENODEV);
    disk_interrupt(&m.unit.queues[0]);
    assert_int_equal(errors[0], -EIO);
    assert_true(m.disk.lost);
    submit(2, BLOCK_READ, 0);
    assert_int_equal(errors[2], -EIO);
    answer(1, -EAGAIN);
    disk_interrupt(&m.unit.queues[0]);
    assert_int_equal(errors[1], -EIO);
    assert_int_equal(m.starts, 2);
}

static void test_when_it_wants_to_be_called(void **state)
{
    assert_int_equal(disks_work(), UINT64_MAX);
    submit(0, BLOCK_READ, 0);
    assert_int_equal(disks_work(), now + tsc_hz);
    m.unit.interrupting = false;
    assert_true(disks_work() < now + tsc_hz / 1000);
    answer(0, 0);
    assert_int_equal(disks_work(), UINT64_MAX);
    assert_int_equal(errors[0], 0);
}

/* Whoever polls may hold locks that another one's done() would want. */
static void test_polling_is_for_oneself(void **state)
{
    static const int a, b;

    ask(0, BLOCK_READ, 0)->owner = &a;
    ask(1, BLOCK_READ, 8)->owner = &b;
    ask(2, BLOCK_READ, 16)->owner = &b;
    for (unsigned i = 0; i < 3; i++)
        block_submit(&m.disk.block, &requests[i]);
    for (unsigned i = 0; i < 3; i++)
        answer(i, 0);
    attentions = 0;
    m.disk.block.ops->poll(&m.disk.block, &a);
    assert_int_equal(backs, 1);
    assert_int_equal(errors[0], 0);
    assert_true(attentions > 0);
    m.disk.block.ops->poll(&m.disk.block, &a);
    assert_int_equal(backs, 1);
    disks_work();
    assert_int_equal(backs, 3);
    assert_int_equal(disks_work(), UINT64_MAX);
}

/* Processor 0 may be the one that waits: then nobody else looks after the unit. */
static void test_polling_alone_ends(void **state)
{
    static const int a;

    ask(0, BLOCK_READ, 0)->owner = &a;
    block_submit(&m.disk.block, &requests[0]);
    m.reset_steps = 3;
    for (unsigned i = 0; i < 100 * DISK_SECONDS && !backs; i++) {
        now += tsc_hz / 10;
        m.disk.block.ops->poll(&m.disk.block, &a);
    }
    assert_int_equal(errors[0], -ETIMEDOUT);
    assert_int_equal(m.resets, DISK_TRIES);
}

/* A polls alone while the drive dies; B shares it. */
static void test_lost_while_another_polls(void **state)
{
    static const int a, b;

    ask(0, BLOCK_READ, 0)->owner = &a;
    ask(1, BLOCK_WRITE, 8)->owner = &b;
    block_submit(&m.disk.block, &requests[0]);
    block_submit(&m.disk.block, &requests[1]);
    m.reset_error = -EIO;
    now += (DISK_SECONDS + 1) * tsc_hz;
    m.disk.block.ops->poll(&m.disk.block, &a); /* A's virtio status read, or platform_idle() of A */
    assert_int_equal(errors[0], -EIO);
    assert_true(m.disk.lost);
    for (unsigned i = 0; i < 1000; i++) {
        now += tsc_hz;
        disks_work();                              /* processor 0 */
        m.disk.block.ops->poll(&m.disk.block, &b); /* and B's own platform_idle() */
    }
    assert_int_equal(errors[1], -EIO); /* 1: done() was never called */
}

/* Bytes, time from submission on, errors and further tries, what the hardware has and what waits.
 */
static void test_what_is_counted(void **state)
{
    struct disk_stats s;

    m.disk.block.discard_sectors = m.disk.block.write_zeroes_sectors = 8;
    submit(0, BLOCK_READ, 0);
    submit(1, BLOCK_WRITE, 8);
    ask(2, BLOCK_READ, 16)->sectors = 3;
    block_submit(&m.disk.block, &requests[2]);
    submit(3, BLOCK_DISCARD, 0);
    now += 10;
    submit(4, BLOCK_WRITE_ZEROES, 0); /* these two wait: their time begins all the same */
    submit(5, BLOCK_FLUSH, 0);
    s = stats();
    assert_int_equal(s.given, 4);
    assert_int_equal(s.waiting, 2);
    assert_int_equal(s.requests, 0);
    assert_int_equal(s.counts.ticks, 0);
    now += 20;
    answer(0, 0);
    answer(2, 0);
    disk_interrupt(&m.unit.queues[0]);
    s = stats();
    assert_int_equal(s.given, 4);
    assert_int_equal(s.waiting, 0);
    assert_int_equal(s.requests, 2);
    assert_int_equal(s.counts.done[BLOCK_READ], 2);
    assert_int_equal(s.counts.sectors[BLOCK_READ], 11);
    assert_int_equal(s.counts.sectors[BLOCK_WRITE], 0);
    assert_int_equal(s.counts.ticks, 60);
    assert_int_equal(s.counts.longest, 30);
    for (unsigned i = 0; i < 4; i++)
        answer(i, i == 1 ? -EIO : 0); /* 1: the WRITE */
    now += 70;
    disk_interrupt(&m.unit.queues[0]);
    s = stats();
    assert_int_equal(s.given + s.waiting, 0);
    assert_int_equal(s.requests, 6);
    assert_int_equal(s.counts.errors, 1);
    assert_int_equal(s.counts.done[BLOCK_WRITE], 0);
    assert_int_equal(s.counts.done[BLOCK_DISCARD], 1);
    assert_int_equal(s.counts.done[BLOCK_WRITE_ZEROES], 1);
    assert_int_equal(s.counts.done[BLOCK_FLUSH], 1);
    assert_int_equal(s.counts.sectors[BLOCK_WRITE], 0);
    assert_int_equal(s.counts.ticks, 60 + 2 * 100 + 2 * 90);
    assert_int_equal(s.counts.longest, 100);
    assert_int_equal(s.counts.retries, 0);
}

/* The time of one that was tried again is all that it took. */
static void test_time_of_further_tries(void **state)
{
    submit(0, BLOCK_WRITE, 0);
    for (unsigned i = 0; i < 2; i++) {
        now += 500;
        answer(0, i ? 0 : -EAGAIN);
        disk_interrupt(&m.unit.queues[0]);
    }
    assert_int_equal(stats().counts.retries, 1);
    assert_int_equal(stats().counts.longest, 1000);
    assert_int_equal(stats().counts.sectors[BLOCK_WRITE], 8);
    assert_int_equal(stats().requests, 1);
    /* The TSC of another processor, where it came back, is a little behind. */
    submit(1, BLOCK_READ, 0);
    now -= 5;
    answer(0, 0);
    disk_interrupt(&m.unit.queues[0]);
    assert_int_equal(stats().counts.ticks, 1000);
    assert_int_equal(stats().counts.longest, 1000);
}

/* A request's memory is the hardware's while that has it: not before, not behind. */
static void test_lent_memory(void **state)
{
    static const struct block_segment two[] = {{0x5000, 2048}, {0x9000, 2048}};

    for (unsigned i = 0; i < 6; i++)
        submit(i, i % 2 ? BLOCK_WRITE : BLOCK_READ, 0);
    assert_int_equal(dma_model.mapped, 4); /* two wait for a slot */
    submit(6, BLOCK_FLUSH, 0);
    for (unsigned i = 0; i < 6; i++) {
        answer(i % 4, 0);
        disk_interrupt(&m.unit.queues[0]);
    }
    assert_int_equal(backs, 6);
    assert_int_equal(dma_model.mapped, 0);
    for (unsigned slot = 0; slot < 4; slot++)
        if (m.given >> slot & 1)
            answer(slot, 0);
    disk_interrupt(&m.unit.queues[0]);
    assert_int_equal(backs, 7);
    dma_model_is_idle();
    /* One that cannot be lent whole is not lent at all. */
    m.disk.block.max_segments = 2;
    ask(0, BLOCK_READ, 0)->segments = two;
    requests[0].count = 2;
    dma_model.error = -ENOMEM;
    dma_model.before = 1;
    block_submit(&m.disk.block, &requests[0]);
    assert_int_equal(errors[0], -ENOMEM);
    dma_model_is_idle();
    /* Not now: later. */
    ask(0, BLOCK_READ, 0)->segments = two;
    requests[0].count = 2;
    dma_model.error = -EAGAIN;
    dma_model.before = 1;
    block_submit(&m.disk.block, &requests[0]);
    assert_int_equal(errors[0], 1);
    assert_int_equal(m.given, 0);
    assert_int_equal(dma_model.mapped, 0);
    disks_work();
    assert_int_equal(dma_model.mapped, 2);
    answer(0, 0);
    disk_interrupt(&m.unit.queues[0]);
    assert_int_equal(errors[0], 0);
    dma_model_is_idle();
    m.start_error = -EINVAL;
    submit(0, BLOCK_READ, 0);
    assert_int_equal(errors[0], -EINVAL);
    dma_model_is_idle();
}

static const struct host_pci *function = (const struct host_pci *)&m;

/* What it was told before is lent once more behind the reset. */
static void test_strayed(void **state)
{
    m.unit.pci = function;
    submit(0, BLOCK_READ, 0);
    disks_strayed((const struct host_pci *)&backs); /* another one */
    disks_work();
    assert_int_equal(m.resets, 0);
    attentions = 0;
    disks_strayed(function);
    assert_int_equal(attentions, 1);
    disks_work();
    assert_int_equal(m.resets, 1);
    assert_int_equal(m.starts, 2);
    assert_int_equal(dma_model.mapped, 1);
    answer(0, 0);
    disk_interrupt(&m.unit.queues[0]);
    assert_int_equal(errors[0], 0);
    dma_model_is_idle();
    disks_work();
    assert_int_equal(m.resets, 1);
    m.unit.pci = NULL;
}

/* Two drives of one channel, and two queues of one drive. */
static void test_whose_counts(void **state)
{
    struct disk_queue *two = heap_alloc(2 * sizeof(*two));
    struct disk_stats s;
    struct disk other = m.disk;

    submit(0, BLOCK_READ, 0);
    disk_stats(&other, &s);
    assert_int_equal(s.given, 0);
    answer(0, 0);
    disk_interrupt(&m.unit.queues[0]);
    disk_stats(&other, &s);
    assert_int_equal(s.requests, 0);
    for (unsigned i = 0; i < 2; i++) {
        spin_init(&two[i].lock, RANK_DISK);
        two[i] = (struct disk_queue){
            .lock = two[i].lock, .unit = &m.unit, .number = i, .depth = DISK_SLOTS};
    }
    heap_free(m.unit.queues);
    m.unit.queues = two;
    m.unit.queue_count = 2;
    for (unsigned i = 1; i < 3; i++) {
        ask(i, BLOCK_READ, 0)->note[0] = (uint64_t)&m.disk;
        assert_int_equal(dma_map(&dma_of_model, segment.address, segment.length, DMA_WRITE), 0);
        requests[i].note[2] = now;
        two[1].slots[i].request = &requests[i];
        two[1].busy++;
    }
    now += 77;
    spin_lock(&two[1].lock);
    disk_finish(&two[1], 1, 0);
    spin_unlock(&two[1].lock);
    disk_queue_stats(&m.disk, 0, &s);
    assert_int_equal(s.requests, 1);
    assert_int_equal(s.given, 0);
    disk_queue_stats(&m.disk, 1, &s);
    assert_int_equal(s.requests, 1);
    assert_int_equal(s.given, 1);
    assert_int_equal(s.counts.longest, 77);
    assert_int_equal(stats().requests, 2);
    assert_int_equal(stats().given, 1);
    assert_int_equal(stats().counts.longest, 77);
    assert_int_equal(stats().counts.sectors[BLOCK_READ], 16);
}

static void wait(void)
{
    now += tsc_hz / 100;
    if (m.given && ++m.answers == 3)
        answer(0, -EIO);
}

static void test_do(void **state)
{
    assert_int_equal(disk_do(&m.disk.block, ask(0, BLOCK_READ, 0), wait), -EIO);
    assert_int_equal(m.answers, 3);
    assert_int_equal(disk_do(&m.disk.block, ask(0, BLOCK_READ, 1000), wait), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_there_and_back),
        TEST(test_more_than_slots),
        TEST(test_done_submits),
        TEST(test_refused),
        TEST(test_errors_of_the_medium_are_final),
        TEST(test_errors_on_the_way_are_tried_again),
        TEST(test_answers_twice),
        TEST(test_not_while_others_are_under_way),
        TEST(test_start_fails),
        TEST(test_lost_interrupt),
        TEST(test_answers_late),
        TEST(test_answers_never),
        TEST(test_a_flush_gets_more_time),
        TEST(test_behind_a_flush),
        TEST(test_forgotten_among_flushes),
        TEST(test_doubt_behind_a_reset),
        TEST(test_reset_fails),
        TEST(test_cut_off_by_its_function),
        TEST(test_resets_in_vain),
        TEST(test_reset_never_ends),
        TEST(test_reset_for_an_error),
        TEST(test_unplugged),
        TEST(test_when_it_wants_to_be_called),
        TEST(test_polling_is_for_oneself),
        TEST(test_polling_alone_ends),
        TEST(test_lost_while_another_polls),
        TEST(test_what_is_counted),
        TEST(test_time_of_further_tries),
        TEST(test_lent_memory),
        TEST(test_strayed),
        TEST(test_whose_counts),
        TEST(test_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
