/* links: mm/guest_memory.c mm/guest_layers.c mm/guest_ram.c mm/guest_balloon.c */
/* A VM's RAM that is not there yet: promised or not, touched by whomever, given and cleared again.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>

#include "mm/guest_memory.h"
#include "tests/unit/mock_frames.h"

#define VM0 FRAME_VM

static struct guest_memory gm;
static unsigned scarce;

void spin_wait(struct spinlock *l, uint16_t ticket)
{
    fail_msg("a lock was left taken");
}

static int fresh(void **state)
{
    mock_reset();
    memset(&gm, 0, sizeof(gm));
    scarce = 0;
    return 0;
}

static int all_back(void **state)
{
    guest_memory_destroy(&gm);
    assert_int_equal(mock_used, 0);
    assert_int_equal(mock_promised, 0);
    assert_int_equal(mock_heap_blocks, 0);
    return 0;
}

static void create(uint64_t size, bool promised)
{
    assert_int_equal(guest_memory_create(&gm, VM0, &(struct guest_memory_region){0, size}, 1), 0);
    if (promised)
        assert_int_equal(guest_memory_promise(&gm, 0), 0);
}

static uint8_t byte_at(uint64_t gpa)
{
    uint8_t b = 0xee;

    assert_int_equal(guest_memory_read(&gm, gpa, &b, 1), 0);
    return b;
}

static int put(uint64_t gpa, uint8_t b)
{
    return guest_memory_write(&gm, gpa, &b, 1);
}

static void set(const struct guest_memory_layer *layers, unsigned count)
{
    assert_int_equal(guest_memory_make_room(&gm), 0);
    assert_true(guest_memory_set_layers(&gm, layers, count));
}

/* What only reads takes nothing. */
static void looked_at(void **state)
{
    uint8_t bytes[3 * PAGE_SIZE];
    uint64_t word = 1;

    create(3 * GIB, true);
    memset(bytes, 0xee, sizeof(bytes));
    assert_int_equal(guest_memory_read(&gm, 2 * MIB - 5000, bytes, sizeof(bytes)), 0);
    for (unsigned i = 0; i < sizeof(bytes); i++)
        assert_int_equal(bytes[i], 0);
    assert_int_equal(guest_memory_load(&gm, GIB, 8, &word), 0);
    assert_int_equal(word, 0);
    assert_int_equal(guest_memory_read_u64(&gm, GIB + 8, &word), 0);
    assert_int_equal(guest_memory_read_operand(&gm, GIB + 4093, 8, &word), 0);
    assert_int_equal(word, 0);
    assert_null(guest_memory_view(&gm, 0));
    assert_true(guest_memory_valid(&gm, 0, 3 * GIB));
    assert_false(guest_memory_valid(&gm, 0, 3 * GIB + 1));
    assert_int_equal(guest_memory_zero(&gm, 0, 3 * GIB), 0);
    assert_int_equal(guest_memory_zero(&gm, 0, 3 * GIB + 1), -EFAULT);
    assert_int_equal(guest_memory_next(&gm, 3 * MIB), 4 * MIB);
    assert_true(guest_memory_next_there(&gm, 0) == UINT64_MAX);
    assert_int_equal(guest_memory_there(&gm), 0);
    assert_int_equal(mock_used, 1);
}

/* Each who writes finds zeroes beside what he has written. */
static void written(void **state)
{
    uint8_t old;

    create(16 * MIB, true);
    assert_int_equal(put(2 * MIB - 1, 1), 0);
    assert_int_equal(guest_memory_store(&gm, 4 * MIB, 8, 0x0202020202020202), 0);
    assert_int_equal(guest_memory_write_operand(&gm, 6 * MIB, 3, 0x030303), 0);
    assert_int_equal(guest_memory_write_ram(&gm, 8 * MIB, "\4", 1), 0);
    assert_int_equal(guest_memory_exchange(&gm, 10 * MIB, 5, &old), 0);
    assert_int_equal(old, 0);
    assert_int_equal(guest_memory_there(&gm), 5 * 512);
    for (uint64_t gpa = 0; gpa < 12 * MIB; gpa += 777)
        assert_int_equal(byte_at(gpa), 0);
    assert_int_equal(byte_at(2 * MIB - 1), 1);
    assert_int_equal(byte_at(4 * MIB + 7), 2);
    assert_int_equal(byte_at(6 * MIB + 2), 3);
    assert_int_equal(byte_at(6 * MIB + 3), 0);
    assert_int_equal(byte_at(8 * MIB), 4);
    assert_int_equal(byte_at(10 * MIB), 5);
    /* Over the end of a chunk: both. */
    assert_int_equal(guest_memory_write(&gm, 14 * MIB - 1, "ab", 2), 0);
    assert_int_equal(guest_memory_there(&gm), 7 * 512);
    /* Nothing is taken for what is no memory, nor in front of it. */
    assert_int_equal(guest_memory_write(&gm, 16 * MIB, "a", 1), -EFAULT);
    assert_int_equal(guest_memory_write(&gm, 16 * MIB - 1, "ab", 2), -EFAULT);
    assert_int_equal(byte_at(16 * MIB - 1), 0);
    assert_int_equal(guest_memory_there(&gm), 7 * 512);
    /* What is cleared is promised again at once. */
    uint32_t done = 0;
    assert_true(guest_memory_clear_some(&gm, &done));
    assert_int_equal(mock_promised, 2 * 512);
}

/* What is written as a whole is not cleared before: it holds that when others find it. */
static void written_in_blocks(void **state)
{
    static uint8_t in[5 * MIB], out[5 * MIB];
    const struct guest_memory_layer l = {8 * MIB, PAGE_SIZE, 0, GUEST_LAYER_RAM, true, true};

    for (unsigned order = 0; order <= FRAME_ORDER_2M; order += FRAME_ORDER_2M) {
        mock_reset();
        mock_max_order = order;
        create(16 * MIB, true);
        for (size_t i = 0; i < sizeof(in); i++)
            in[i] = (uint8_t)(i * 3 + (i >> 12));
        assert_int_equal(guest_memory_write(&gm, MIB + 123, in, sizeof(in)), 0);
        assert_int_equal(guest_memory_read(&gm, MIB + 123, out, sizeof(out)), 0);
        assert_memory_equal(in, out, sizeof(in));
        assert_int_equal(byte_at(MIB + 122), 0);
        assert_int_equal(byte_at(6 * MIB + 123), 0);
        assert_int_equal(guest_memory_there(&gm), order ? 4 * 512 : 5 * 256 + 16);
        /* What is there already, and what lies over it. */
        assert_int_equal(guest_memory_write(&gm, 2 * MIB, in + 1, 4 * MIB), 0);
        assert_int_equal(guest_memory_read(&gm, 2 * MIB, out, 4 * MIB), 0);
        assert_memory_equal(in + 1, out, 4 * MIB);
        set(&l, 1);
        assert_int_equal(guest_memory_write(&gm, 12 * MIB, in, sizeof(in)), -EFAULT);
        assert_int_equal(guest_memory_there(&gm), order ? 4 * 512 : 5 * 256 + 16);
        assert_int_equal(guest_memory_write(&gm, 8 * MIB, in + 7, 2 * MIB), 0);
        assert_int_equal(guest_memory_read(&gm, 8 * MIB, out, 2 * MIB), 0);
        assert_memory_equal(in + 7, out, 2 * MIB);
        assert_int_equal(byte_at(0), in[7]);
        guest_memory_destroy(&gm);
    }
}

/* What was cleared ahead is not cleared again. */
static void cleared_ahead(void **state)
{
    struct guest_frame fr;

    create(8 * MIB, true);
    mock_cleared = frame_alloc(FRAME_ORDER_2M, FRAME_KERNEL);
    paddr block = mock_cleared;
    memset(phys_to_virt(block), 0x77, PAGE_SIZE);
    assert_int_equal(guest_memory_touch(&gm, 5 * MIB), 0);
    assert_int_equal(guest_memory_lookup(&gm, 4 * MIB, &fr), 0);
    assert_true(fr.hpa == block);
    assert_int_equal(byte_at(4 * MIB), 0x77);
    assert_int_equal(mock_owner[block / PAGE_SIZE], VM0);
    assert_int_equal(mock_promised, 3 * 512);
    assert_int_equal(guest_memory_touch(&gm, 0), 0);
    assert_int_equal(byte_at(0), 0);
}

/* DMA has a frame of its own, and as much in one piece as where it was there. */
static void pinned(void **state)
{
    struct guest_frame fr;
    paddr at;
    uint64_t length;

    create(4 * MIB, true);
    assert_int_equal(guest_memory_pin(&gm, MIB, 2 * MIB, false, &at, &length), 0);
    assert_int_equal(length, MIB);
    assert_int_equal(guest_memory_lookup(&gm, MIB, &fr), 0);
    assert_true(fr.hpa == at);
    assert_int_equal(mock_pins[at / PAGE_SIZE + 255], 1);
    assert_int_equal(guest_memory_touch(&gm, MIB), 0);
    assert_int_equal(guest_memory_lookup(&gm, MIB, &fr), 0);
    assert_true(fr.hpa == at);
    guest_memory_unpin(at, length);
}

/* --- promises --- */

/* Nobody else gets it; and whoever touches it first, there is enough to the last page. */
static void promised(void **state)
{
    struct guest_memory other = {0};

    for (unsigned order = 0; order <= FRAME_ORDER_2M; order += FRAME_ORDER_2M) {
        mock_reset();
        mock_max_order = order;
        mock_limit = 5 * MIB / PAGE_SIZE + 10; /* tables of a chunk that is not whole, and so on */
        create(5 * MIB, true);
        assert_int_equal(
            guest_memory_create(&other, VM0 + 1, &(struct guest_memory_region){0, 2 * MIB}, 1), 0);
        assert_int_equal(guest_memory_promise(&other, 0), -ENOMEM);
        assert_int_equal(guest_memory_touch(&other, 0), -ENOMEM);
        while (frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL) != FRAME_NONE)
            ;
        for (uint64_t gpa = 5 * MIB; gpa; gpa -= PAGE_SIZE)
            assert_int_equal(put(gpa - PAGE_SIZE, 1), 0);
        assert_int_equal(guest_memory_there(&gm), 5 * MIB / PAGE_SIZE);
        guest_memory_destroy(&other);
        guest_memory_destroy(&gm);
        assert_int_equal(mock_promised, 0);
    }
    mock_used = 0;
}

/* Frames for others' tables are part of it, over a reset, too. */
static void promised_tables(void **state)
{
    mock_limit = 2 * MIB / PAGE_SIZE + 1 + 7;
    create(2 * MIB, false);
    assert_int_equal(guest_memory_promise(&gm, 8), -ENOMEM);
    assert_int_equal(guest_memory_promise(&gm, 7), 0);
    assert_int_equal(put(0, 1), 0);
    uint32_t done = 0;
    while (guest_memory_clear_some(&gm, &done))
        ;
    assert_int_equal(mock_promised, 512 + 7);
    struct frame_promise *p = guest_memory_tables(&gm);
    for (unsigned i = 0; i < 7; i++) {
        paddr table = frame_redeem(p, FRAME_ORDER_4K, FRAME_KERNEL);
        assert_true(table != FRAME_NONE);
        frame_free(table, FRAME_ORDER_4K);
    }
    assert_int_equal(p->pages, 0);
    assert_int_equal(guest_memory_touch(&gm, 0), 0);
}

/* Nor does anybody get it while it is cleared, a piece at a time: its tables are part of it. */
static void promised_over_a_reset(void **state)
{
    mock_max_order = 0;
    create(8 * MIB, true);
    uint64_t promised = mock_promised;
    mock_limit = mock_used + promised;
    for (unsigned round = 0; round < 2; round++) {
        uint32_t done = 0;
        for (uint64_t gpa = 0; gpa < 8 * MIB; gpa += PAGE_SIZE)
            assert_int_equal(guest_memory_touch(&gm, gpa), 0);
        while (guest_memory_clear_some(&gm, &done))
            assert_true(frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL) == FRAME_NONE);
        assert_int_equal(mock_promised, promised);
    }
}

static void on_scarce(void *context)
{
    assert_ptr_equal(context, &scarce);
    scarce++;
}

/* Without a promise: vCPUs leave 20 MiB to others, devices 4 MiB. */
static void overcommitted(void **state)
{
    paddr at;
    uint64_t length, there;

    create(64 * GIB, false);
    gm.scarce = on_scarce;
    gm.context = &scarce;
    mock_limit = 30 * MIB / PAGE_SIZE;
    for (there = 0; guest_memory_touch(&gm, there) == 0; there += PAGE_SIZE)
        ; /* the last ones one by one */
    assert_int_equal(mock_used, 10 * MIB / PAGE_SIZE);
    assert_int_equal(guest_memory_back(&gm, there), -ENOMEM);
    assert_int_equal(guest_memory_touch(&gm, 32 * GIB), -ENOMEM);
    assert_int_equal(mock_used, 10 * MIB / PAGE_SIZE); /* nor a table for that */
    assert_int_equal(scarce, 0);
    assert_int_equal(put(there, 1), 0);
    assert_int_equal(scarce, 1);
    assert_int_equal(byte_at(there), 1);
    assert_int_equal(guest_memory_touch(&gm, there), 0);
    /* Of that each takes no more than its page, with a table where it is the first in its 2 MiB. */
    uint64_t used = mock_used, old, far = 40 * GIB;
    for (unsigned i = 0; i < 1000; i++, far += 2 * MIB) {
        assert_int_equal(guest_memory_pin(&gm, far, 1, true, &at, &length), 0);
        guest_memory_unpin(at, length);
    }
    assert_int_equal(mock_used, used + 2 * 1000);
    assert_int_equal(scarce, 1001);
    while (guest_memory_pin(&gm, there += PAGE_SIZE, 1, true, &at, &length) == 0)
        guest_memory_unpin(at, length);
    assert_uint_in_range(mock_used, 26 * MIB / PAGE_SIZE - 1, 26 * MIB / PAGE_SIZE + 1);
    /* And then who writes hears what it is that is not there. */
    assert_int_equal(put(there, 1), -ENOMEM);
    assert_int_equal(guest_memory_store(&gm, there, 4, 1), -ENOMEM);
    assert_int_equal(guest_memory_write_operand(&gm, there + 5, 3, 1), -ENOMEM);
    assert_int_equal(guest_memory_write_ram(&gm, there, "a", 1), -ENOMEM);
    assert_int_equal(guest_memory_exchange(&gm, there, 1, (uint8_t *)&old), -ENOMEM);
    assert_int_equal(put(64 * GIB, 1), -EFAULT);
    assert_int_equal(guest_memory_store(&gm, 64 * GIB, 4, 1), -EFAULT);
    assert_int_equal(guest_memory_write_operand(&gm, 64 * GIB, 3, 1), -EFAULT);
    assert_int_equal(guest_memory_exchange(&gm, 64 * GIB, 1, (uint8_t *)&old), -EFAULT);
    assert_int_equal(byte_at(there), 0);
    /* More has come. */
    mock_limit += 100 * MIB / PAGE_SIZE;
    assert_int_equal(guest_memory_touch(&gm, there), 0);
    assert_int_equal(guest_memory_touch(&gm, 64 * GIB - 1), 0);
    /* Nothing is promised after a reset either. */
    uint32_t done = 0;
    while (guest_memory_clear_some(&gm, &done))
        ;
    assert_int_equal(mock_used, 1);
    assert_int_equal(mock_promised, 0);
}

/* --- what is given --- */

static int give(uint64_t gpa)
{
    paddr frame = 0;
    int result = guest_memory_give(&gm, gpa, &frame);

    if (result == 0) {
        guest_memory_leave(&gm, frame, PAGE_SIZE);
        guest_memory_let_go(&gm, guest_memory_leaving(&gm));
    }
    return result;
}

/* A page that nobody has touched: no frame comes of it, but nobody keeps one for it. */
static void given_untouched(void **state)
{
    create(4 * MIB, true);
    assert_int_equal(guest_memory_balloon(&gm), 0);
    assert_int_equal(give(PAGE_SIZE), -ENOENT);
    assert_int_equal(guest_memory_given(&gm), 1);
    assert_int_equal(mock_promised, 1023 + 1); /* EPT has another table for it */
    assert_int_equal(give(PAGE_SIZE), -ENOENT);
    assert_int_equal(guest_memory_given(&gm), 1);
    assert_int_equal(mock_promised, 1023 + 1);
    /* Its neighbour still is. */
    mock_limit = mock_used + mock_promised;
    assert_int_equal(guest_memory_touch(&gm, 0), 0);
    assert_int_equal(guest_memory_there(&gm), 15); /* with those around it, but the one */
    assert_int_equal(guest_memory_touch(&gm, PAGE_SIZE), -ENOMEM);
    assert_int_equal(byte_at(PAGE_SIZE), 0);
    mock_limit++;
    assert_int_equal(put(PAGE_SIZE, 3), 0);
    assert_int_equal(guest_memory_given(&gm), 0);
    assert_int_equal(give(20 * PAGE_SIZE), -ENOENT);
    assert_int_equal(give(0), 0);
    assert_int_equal(guest_memory_given(&gm), 2);
    for (uint64_t gpa = 3 * PAGE_SIZE; gpa < 4 * MIB; gpa += PAGE_SIZE)
        if (gpa != 20 * PAGE_SIZE)
            assert_int_equal(guest_memory_touch(&gm, gpa), 0);
    assert_int_equal(mock_promised, 1);
}

/* Where nothing is left a page that nobody has touched stays promised, and can be touched. */
static void given_without_memory(void **state)
{
    create(4 * MIB, true);
    assert_int_equal(guest_memory_balloon(&gm), 0);
    for (unsigned left = 0; left < 2; left++) {
        mock_limit = mock_used + mock_promised + left;
        assert_int_equal(give(PAGE_SIZE), -ENOMEM);
        assert_int_equal(guest_memory_given(&gm), 0);
        assert_int_equal(mock_promised, 1024);
    }
    assert_int_equal(guest_memory_touch(&gm, PAGE_SIZE), 0);
    assert_int_equal(guest_memory_there(&gm), 512);
}

static void given_without_promise(void **state)
{
    create(4 * MIB, false);
    assert_int_equal(guest_memory_balloon(&gm), 0);
    assert_int_equal(give(0), -ENOENT);
    assert_int_equal(guest_memory_given(&gm), 0);
    assert_int_equal(mock_used, 1); /* no table for that */
    mock_max_order = 0;
    assert_int_equal(guest_memory_touch(&gm, PAGE_SIZE), 0);
    assert_int_equal(give(GUEST_TOGETHER), -ENOENT);
    assert_int_equal(guest_memory_given(&gm), 0);
    assert_int_equal(give(PAGE_SIZE), 0);
    assert_int_equal(guest_memory_given(&gm), 1);
    assert_int_equal(guest_memory_there(&gm), 15);
    assert_int_equal(guest_memory_touch(&gm, PAGE_SIZE), 0);
    assert_int_equal(guest_memory_given(&gm), 0);
    mock_max_order = FRAME_ORDER_2M;
    assert_int_equal(guest_memory_touch(&gm, 2 * MIB), 0);
    assert_int_equal(give(2 * MIB), 0);
    assert_int_equal(mock_promised, 0);
}

static int give_block(uint64_t gpa, paddr *block)
{
    int result = guest_memory_give_block(&gm, gpa, block);

    if (result == 0)
        guest_memory_leave(&gm, *block, 2 * MIB);
    return result;
}

/* A whole block that is free in the guest: as if nobody had touched it. */
static void given_as_a_block(void **state)
{
    const struct guest_memory_layer l = {4 * MIB, PAGE_SIZE, 0, GUEST_LAYER_NOTHING, true, true};
    paddr block, at;
    uint64_t length;

    create(9 * MIB, false);
    assert_true(guest_memory_valid(&gm, 8 * MIB, MIB));
    assert_false(guest_memory_valid(&gm, 8 * MIB, MIB + 1));
    assert_int_equal(guest_memory_balloon(&gm), 0);
    assert_int_equal(give_block(2 * MIB, &block), -ENOENT);
    assert_int_equal(give_block(2 * MIB + PAGE_SIZE, &block), -EINVAL);
    assert_int_equal(give_block(10 * MIB, &block), -EFAULT);
    for (uint64_t gpa = 0; gpa < 9 * MIB; gpa += PAGE_SIZE)
        assert_int_equal(put(gpa, 1), 0);
    uint64_t used = mock_used;
    assert_int_equal(give_block(8 * MIB, &block), -EINVAL); /* it is no block */
    assert_int_equal(give_block(2 * MIB, &block), 0);
    assert_int_equal(byte_at(2 * MIB), 0);
    assert_int_equal(guest_memory_there(&gm), 9 * 256 - 512);
    assert_int_equal(mock_used, used);
    uint64_t leaving = guest_memory_leaving(&gm);
    assert_false(guest_memory_settled(&gm, leaving));
    /* Used again before that: another one. */
    assert_int_equal(put(2 * MIB, 2), 0);
    struct guest_frame fr;
    assert_int_equal(guest_memory_lookup(&gm, 2 * MIB, &fr), 0);
    assert_true(fr.hpa != block);
    assert_int_equal(byte_at(2 * MIB + PAGE_SIZE), 0);
    guest_memory_let_go(&gm, leaving);
    assert_true(guest_memory_settled(&gm, leaving));
    assert_int_equal(guest_memory_leaving(&gm), 0);
    assert_int_equal(mock_used, used);
    /* Not while hardware has a page of it, nor where layers lie; nor if one comes in between. */
    assert_int_equal(guest_memory_pin(&gm, 3 * MIB, 8, true, &at, &length), 0);
    assert_int_equal(give_block(2 * MIB, &block), -EBUSY);
    guest_memory_unpin(at, length);
    set(&l, 1);
    assert_int_equal(give_block(4 * MIB, &block), -EBUSY);
    assert_int_equal(give_block(2 * MIB, &block), 0);
    assert_true(frame_pin(block + 77 * PAGE_SIZE)); /* by who had found it just before */
    leaving = guest_memory_leaving(&gm);
    guest_memory_let_go(&gm, leaving);
    assert_true(guest_memory_settled(&gm, leaving));
    assert_true(guest_memory_leaving(&gm) > 0);
    assert_int_equal(mock_used, used);
    frame_unpin(block + 77 * PAGE_SIZE);
    guest_memory_let_go(&gm, guest_memory_leaving(&gm));
    assert_int_equal(mock_used, used - 512);
    assert_int_equal(give_block(0, &block), 0); /* and the VM ends with it */
}

static void given_block_of_a_promise(void **state)
{
    paddr block;

    create(4 * MIB, true);
    assert_int_equal(guest_memory_balloon(&gm), 0);
    assert_int_equal(guest_memory_touch(&gm, 0), 0);
    assert_int_equal(give_block(0, &block), -EINVAL);
    assert_int_equal(guest_memory_there(&gm), 512);
}

/* A block of which a page is given is in pages in EPT, too, for whose table there is memory. */
static void given_of_a_block(void **state)
{
    create(4 * MIB, true);
    assert_int_equal(guest_memory_balloon(&gm), 0);
    assert_int_equal(guest_memory_touch(&gm, 0), 0);
    uint64_t promised = mock_promised;
    for (unsigned left = 0; left < 2; left++) {
        mock_limit = mock_used + mock_promised + left;
        assert_int_equal(give(PAGE_SIZE), -ENOMEM);
        assert_int_equal(mock_promised, promised);
        assert_int_equal(guest_memory_there(&gm), 512);
    }
    mock_limit++;
    assert_int_equal(give(PAGE_SIZE), 0);
    assert_int_equal(guest_memory_there(&gm), 511);
    assert_int_equal(mock_promised, promised + 1);
    assert_int_equal(guest_memory_tables(&gm)->pages, 1);
    assert_int_equal(give(2 * PAGE_SIZE), 0);
    assert_int_equal(guest_memory_tables(&gm)->pages, 1);
}

/* Those around it, of the same 64 KiB and of what is RAM, as far as there is memory. */
static void together(void **state)
{
    const struct guest_memory_region region = {5 * PAGE_SIZE, 60 * PAGE_SIZE};

    assert_int_equal(guest_memory_create(&gm, VM0, &region, 1), 0);
    assert_int_equal(guest_memory_touch(&gm, 9 * PAGE_SIZE), 0);
    assert_int_equal(guest_memory_there(&gm), 11);
    assert_int_equal(guest_memory_next_there(&gm, 0), 5 * PAGE_SIZE);
    assert_int_equal(guest_memory_touch(&gm, 64 * PAGE_SIZE), 0);
    assert_int_equal(guest_memory_there(&gm), 12);
    mock_limit = mock_used + 20 * MIB / PAGE_SIZE + 3;
    assert_int_equal(guest_memory_touch(&gm, 40 * PAGE_SIZE), 0);
    assert_int_equal(guest_memory_there(&gm), 15);
    assert_int_equal(guest_memory_touch(&gm, 40 * PAGE_SIZE), 0);
    assert_int_equal(guest_memory_touch(&gm, 60 * PAGE_SIZE), -ENOMEM);
    assert_int_equal(guest_memory_there(&gm), 15);
}

/* --- layers over what is not there --- */

static void under_layers(void **state)
{
    const struct guest_memory_layer l[] = {
        {0x100000, 0x1000, 0, GUEST_LAYER_NOTHING, true, true},
        {0x200000, 0x1000, 0x600000, GUEST_LAYER_RAM, false, true},
        {GIB, 0x1000, 0x400000, GUEST_LAYER_RAM, true, false},
    };
    struct guest_frame fr;

    create(8 * MIB, true);
    set(l, 3);
    assert_int_equal(guest_memory_there(&gm), 0);
    /* By another address: that RAM, and no other. */
    assert_int_equal(guest_memory_lookup(&gm, GIB, &fr), 0);
    assert_true(fr.hpa == FRAME_NONE);
    assert_int_equal(fr.contiguous, 0x1000);
    assert_int_equal(guest_memory_touch(&gm, GIB + 5), 0);
    assert_int_equal(guest_memory_next_there(&gm, 0), 4 * MIB);
    assert_int_equal(put(GIB, 4), 0);
    assert_int_equal(byte_at(4 * MIB), 4);
    /* Read-only, and what lies below. */
    assert_int_equal(put(0x200000, 1), -EFAULT);
    assert_int_equal(guest_memory_there(&gm), 512);
    assert_int_equal(guest_memory_write_ram(&gm, 0x200000, "a", 1), 0);
    assert_int_equal(byte_at(0x200000), 0);
    assert_int_equal(put(0x201000, 2), 0);
    assert_int_equal(guest_memory_there(&gm), 1024);
    assert_int_equal(guest_memory_back(&gm, 0x100000), 0); /* RAM has, whatever lies over it */
    assert_int_equal(guest_memory_touch(&gm, 0x100000), -EFAULT);
    assert_int_equal(put(0x101000, 3), 0);
    assert_null(guest_memory_view(&gm, 0));
    /* Without layers the short way is open again, and where nothing is it is not. */
    set(NULL, 0);
    assert_non_null(guest_memory_view(&gm, 0));
    assert_non_null(guest_memory_view(&gm, 2 * MIB));
    assert_null(guest_memory_view(&gm, 6 * MIB));
    assert_int_equal(byte_at(0x200000), 'a');
    assert_int_equal(byte_at(0x101000), 3);
    set(l, 3);
    uint32_t done = 0;
    while (guest_memory_clear_some(&gm, &done))
        ;
    assert_int_equal(mock_promised, 2048);
    set(NULL, 0);
    assert_null(guest_memory_view(&gm, 2 * MIB));
    assert_int_equal(byte_at(0x200000), 0);
    assert_int_equal(put(0x200000, 1), 0);
}

/* --- against an array --- */

#define SIZE  (9 * MIB) /* with a chunk that is not whole */
#define PAGES (SIZE / PAGE_SIZE)
enum { LATER, THERE, GIVEN };

static uint8_t is[PAGES], holds[PAGES];
static uint64_t seed = 77;

static uint32_t next_random(uint32_t below)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(seed >> 33) % below;
}

/* The frames of a block come at once, but for pages that are there or given. */
static void comes(unsigned page)
{
    unsigned first = page & ~511u;
    struct guest_frame fr;

    is[page] = THERE;
    for (unsigned i = first; i < MIN(first + 512, (unsigned)PAGES); i++) {
        assert_int_equal(guest_memory_lookup(&gm, i * PAGE_SIZE, &fr), 0);
        if (is[i] == LATER && fr.hpa != FRAME_NONE)
            is[i] = THERE;
        assert_int_equal(fr.hpa != FRAME_NONE, is[i] == THERE);
    }
}

static void random_step(void)
{
    unsigned page = next_random(PAGES);
    uint64_t gpa = page * PAGE_SIZE + next_random(PAGE_SIZE), at, length;
    uint8_t value = (uint8_t)next_random(256);

    mock_max_order = next_random(3) ? FRAME_ORDER_2M : 0;
    switch (next_random(7)) {
    case 0:
        assert_int_equal(guest_memory_touch(&gm, gpa), 0);
        comes(page);
        break;
    case 1:
        assert_int_equal(guest_memory_write(&gm, page * PAGE_SIZE, &value, 1), 0);
        holds[page] = value;
        comes(page);
        break;
    case 2:
        assert_int_equal(guest_memory_pin(&gm, gpa, 1, false, &at, &length), 0);
        guest_memory_unpin(at, length);
        comes(page);
        break;
    case 3:
        if (next_random(4) == 0) {
            assert_int_equal(guest_memory_zero(&gm, page * PAGE_SIZE, PAGE_SIZE), 0);
            holds[page] = 0;
        }
        break;
    case 4:
    case 5:
        assert_int_equal(give(gpa), is[page] == THERE ? 0 : -ENOENT);
        is[page] = GIVEN;
        holds[page] = 0;
        break;
    case 6: {
        uint32_t done = 0;
        if (next_random(100))
            break;
        while (guest_memory_clear_some(&gm, &done))
            ;
        memset(is, LATER, sizeof(is));
        memset(holds, 0, sizeof(holds));
        break;
    }
    }
}

static void like_an_array(void **state)
{
    create(SIZE, true);
    assert_int_equal(guest_memory_balloon(&gm), 0);
    memset(is, LATER, sizeof(is));
    memset(holds, 0, sizeof(holds));
    for (unsigned round = 0; round < 6000; round++) {
        unsigned counts[3] = {0};

        random_step();
        if (round % 20)
            continue;
        for (unsigned i = 0; i < PAGES; i++) {
            counts[is[i]]++;
            assert_int_equal(byte_at(i * PAGE_SIZE), holds[i]);
        }
        assert_int_equal(guest_memory_there(&gm), counts[THERE]);
        assert_int_equal(guest_memory_given(&gm), counts[GIVEN]);
        /* What has not come yet is promised, and not much beside it: tables. */
        assert_uint_in_range(mock_promised, counts[LATER], counts[LATER] + 3 * 5);
        assert_uint_in_range(mock_used, counts[THERE] + 1, counts[THERE] + 1 + 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(looked_at, fresh, all_back),
        cmocka_unit_test_setup_teardown(written, fresh, all_back),
        cmocka_unit_test_setup_teardown(written_in_blocks, fresh, all_back),
        cmocka_unit_test_setup_teardown(cleared_ahead, fresh, all_back),
        cmocka_unit_test_setup_teardown(pinned, fresh, all_back),
        cmocka_unit_test_setup_teardown(promised, fresh, all_back),
        cmocka_unit_test_setup_teardown(promised_tables, fresh, all_back),
        cmocka_unit_test_setup_teardown(promised_over_a_reset, fresh, all_back),
        cmocka_unit_test_setup_teardown(overcommitted, fresh, all_back),
        cmocka_unit_test_setup_teardown(given_untouched, fresh, all_back),
        cmocka_unit_test_setup_teardown(given_without_memory, fresh, all_back),
        cmocka_unit_test_setup_teardown(given_without_promise, fresh, all_back),
        cmocka_unit_test_setup_teardown(given_as_a_block, fresh, all_back),
        cmocka_unit_test_setup_teardown(given_block_of_a_promise, fresh, all_back),
        cmocka_unit_test_setup_teardown(given_of_a_block, fresh, all_back),
        cmocka_unit_test_setup_teardown(together, fresh, all_back),
        cmocka_unit_test_setup_teardown(under_layers, fresh, all_back),
        cmocka_unit_test_setup_teardown(like_an_array, fresh, all_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
