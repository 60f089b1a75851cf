/* links: guest/storage/layer.c guest/storage/layer_restore.c guest/storage/past.c */
/*
 * A disk with snapshots against arrays of what it held at each of them: random sequences of writes,
 * zeroes, discards, FLUSHes, snapshots, restores and forgets, whatever order the drive answers in,
 * with errors and memory that is out. CORBEL_SEQUENCES of them; where that is not set 10,000, or
 * 100,000 with CORBEL_TEST_ALL.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/layer_drive.h"

static unsigned failed_then, restored, shared;

/* --- the guest --- */

/* What the read finds of that write is anybody's guess. */
static void blur(struct asked *read, const struct asked *write)
{
    for (uint32_t s = 0; s < read->sectors; s++)
        if (read->first + s - write->first < write->sectors)
            read->value[s] = 0;
}

/* A FLUSH covers what had come back before it: it is begun when nothing else is under way. */
static void ask(unsigned op)
{
    bool has_fua = op == BLOCK_WRITE || op == BLOCK_WRITE_ZEROES;
    struct asked *a = &asked[chance(REQUESTS)];
    unsigned busy = 0, blocks = (unsigned)under.sectors / per_block();
    unsigned most = 1 + chance(MOST / per_block());

    for (unsigned i = 0; i < REQUESTS; i++)
        busy += asked[i].busy;
    if (a->busy || (op == BLOCK_FLUSH && busy))
        return;
    a->busy = true;
    a->given = false;
    a->number = ++guest.number;
    a->first = op == BLOCK_FLUSH ? 0 : chance(blocks);
    a->sectors = op == BLOCK_FLUSH ? 0 : MIN(most, blocks - a->first) * per_block();
    a->first *= per_block();
    a->request = (struct block_request){.op = (uint8_t)op,
                                        .flags = has_fua && !chance(4) ? BLOCK_FUA : 0,
                                        .sector = a->first,
                                        .sectors = a->sectors,
                                        .segments = a->segment,
                                        .done = done,
                                        .owner = asked};
    uint32_t cut = a->sectors > 1 && chance(2) ? 1 + chance(a->sectors - 1) : a->sectors;
    a->segment[0] = (struct block_segment){(paddr)a->data, cut * 512};
    a->segment[1] = (struct block_segment){(paddr)a->data + cut * 512, (a->sectors - cut) * 512};
    a->request.count = op > BLOCK_WRITE ? 0 : cut < a->sectors ? 2 : 1;
    for (uint32_t i = 0; i < a->sectors; i++) {
        a->value[i] = op != BLOCK_WRITE || !chance(3) ? 0 : ++guest.value;
        if (op == BLOCK_READ) /* what is written meanwhile may be in it or not */
            a->value[i] = (uint32_t)a->number;
        if (op == BLOCK_WRITE)
            *(uint32_t *)(a->data + 512 * i) = a->value[i];
    }
    for (unsigned i = 0; i < REQUESTS; i++) {
        if (asked[i].busy && is_write(a) && asked[i].request.op == BLOCK_READ)
            blur(&asked[i], a);
        if (asked[i].busy && op == BLOCK_READ && is_write(&asked[i]))
            blur(a, &asked[i]);
    }
    if (is_write(a))
        doubt(a);
    block_submit(&under, &a->request);
}

/* --- snapshots --- */

static void snapshot(void)
{
    unsigned n = chance(SNAPSHOTS);

    if (snapshots[n].there)
        return;
    settle();
    assert_int_equal(layer_keep(&layer, &snapshots[n]), 0);
    assert_true(layer_has(&layer, &snapshots[n]));
    memcpy(snapshots[n].was, drive.now, sizeof(drive.now));
    snapshots[n].there = true;
}

static void restore(void)
{
    unsigned n = chance(SNAPSHOTS), tries = 0;
    struct layer_failure where;
    uint64_t cost, used;
    bool enough;
    int result;

    settle(); /* which may forget it */
    if (!snapshots[n].there)
        return;
    cost = layer_restore_cost(&layer, &snapshots[n]);
    used = kept.used;
    enough = used + cost <= kept.limit && kept.spare + cost < frames_left * PAGE_SIZE;
    shared += cost != 0;
    while ((result = restore_once(n, &where)) < 0) {
        assert_true(result == -EIO || result == -ENOMEM || result == -EAGAIN);
        assert_false(result == -ENOMEM && enough && tries == 0);
        assert_true(tries++ < 1000);
        failed_then++;
        if (result == -ENOMEM)
            kept.limit += 3 * PAGE_SIZE;
        if (!chance(4)) { /* whoever tried goes away: the guest begins anew, on what is there */
            settle();
            return;
        }
    }
    if (!tries)
        assert_true(kept.used <= used + cost);
    restored++;
    for (unsigned s = 0; s < SECTORS; s++) {
        assert_int_equal(drive.now[s], snapshots[n].was[s]);
        assert_int_equal(drive.medium[s], snapshots[n].was[s]); /* and no power cut takes it */
        guest.sure[s] = guest.kept[s] = true;
        guest.expect[s] = guest.promised[s] = drive.now[s];
    }
    settle();
}

/* --- a life of the disk --- */

static void power_cut(void)
{
    for (unsigned s = 0; s < SECTORS; s++)
        if (guest.kept[s])
            assert_int_equal(drive.medium[s], guest.promised[s]);
}

static void step(void)
{
    if (chance(2))
        look_after();
    switch (layer_is_starved(&layer) ? 20 + chance(8) : chance(24)) {
    case 0:
        snapshot();
        break;
    case 1:
        restore();
        break;
    case 2:
        forget(chance(SNAPSHOTS));
        break;
    case 3:
        ask(BLOCK_WRITE_ZEROES);
        break;
    case 4:
        ask(BLOCK_DISCARD);
        break;
    case 5:
    case 6:
        ask(BLOCK_FLUSH);
        break;
    case 7:
    case 8:
        ask(BLOCK_READ);
        break;
    case 9:
        settle();
        break;
    case 10:
        under.ops->poll(&under, asked);
        break;
    case 11:
    case 12:
    case 13:
    case 14:
    case 15:
    case 16:
        ask(BLOCK_WRITE);
        break;
    case 27:
        more_memory();
        break;
    default:
        if (drive.holding)
            give_back(chance(drive.holding));
    }
    power_cut();
}

static void test_against_arrays(void **state)
{
    const char *wish = getenv("CORBEL_SEQUENCES");
    unsigned long sequences = wish                        ? strtoul(wish, NULL, 10)
                              : getenv("CORBEL_TEST_ALL") ? 100000
                                                          : 10000;
    unsigned long errors = 0;

    for (unsigned long n = 0; n < sequences; n++) {
        begin(n);
        for (unsigned i = 0, most = 20 + chance(100); i < most; i++) {
            step();
            assert_true(kept.used <= kept.limit);
        }
        kept.spare = 0;
        settle();
        errors += guest.errors;
        for (unsigned i = 0; i < SNAPSHOTS; i++)
            forget(i);
        assert_int_equal(kept.used, 0);
        assert_int_equal(frames_taken, 0);
        assert_int_equal(blocks_taken, 0);
    }
    assert_true(errors > sequences / 10);
    assert_true(restored > sequences / 2);
    assert_true(shared > sequences / 20);
    assert_true(starved_then > sequences / 20);
    assert_true(failed_then > sequences / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_arrays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
