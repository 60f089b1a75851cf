/* links: mm/guest_memory.c mm/guest_layers.c mm/guest_ram.c mm/guest_balloon.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>

#include "mm/guest_memory.h"
#include "tests/unit/mock_frames.h"

void spin_wait(struct spinlock *l, uint16_t ticket)
{
    fail_msg("a lock was left taken");
}

#define VM0 FRAME_VM

static struct guest_memory gm;

static int fresh(void **state)
{
    mock_reset();
    memset(&gm, 0, sizeof(gm));
    return 0;
}

static int all_back(void **state)
{
    guest_memory_destroy(&gm);
    assert_int_equal(mock_used, 0);
    assert_int_equal(mock_heap_blocks, 0);
    return 0;
}

/* With a promise of all of it. */
static int create(const struct guest_memory_region *regions, unsigned count)
{
    int result = guest_memory_create(&gm, VM0, regions, count);

    if (result == 0 && (result = guest_memory_promise(&gm, 0)) < 0)
        guest_memory_destroy(&gm);
    return result;
}

/* And all of it has frames. */
static int create_there(const struct guest_memory_region *regions, unsigned count)
{
    int result = create(regions, count);

    for (unsigned i = 0; result == 0 && i < count; i++)
        for (uint64_t at = 0; at < regions[i].size; at += PAGE_SIZE)
            assert_int_equal(guest_memory_touch(&gm, regions[i].gpa + at), 0);
    return result;
}

static void blocks(void **state)
{
    struct guest_frame fr;

    assert_int_equal(create(&(struct guest_memory_region){0, 256 * MIB}, 1), 0);
    assert_int_equal(gm.size, 256 * MIB);
    assert_int_equal(mock_used, 1); /* the zeroes that are read */
    assert_int_equal(mock_promised, 256 * MIB / PAGE_SIZE);
    assert_int_equal(guest_memory_lookup(&gm, 3 * MIB + 5, &fr), 0);
    assert_true(fr.hpa == FRAME_NONE);
    assert_int_equal(fr.contiguous, 1 * MIB - 5);
    assert_int_equal(guest_memory_there(&gm), 0);
    assert_int_equal(guest_memory_touch(&gm, 3 * MIB + 5), 0);
    assert_int_equal(guest_memory_touch(&gm, 3 * MIB + 5), 0);
    assert_int_equal(guest_memory_touch(&gm, 256 * MIB), -EFAULT);
    assert_int_equal(guest_memory_there(&gm), 512);
    assert_int_equal(mock_used, 513);
    assert_int_equal(mock_promised, 254 * MIB / PAGE_SIZE);
    assert_int_equal(guest_memory_lookup(&gm, 3 * MIB + 5, &fr), 0);
    assert_int_equal(fr.level, 2);
    assert_int_equal(fr.hpa % (2 * MIB), 1 * MIB + 5);
    assert_int_equal(fr.contiguous, 1 * MIB - 5);
    assert_int_equal(mock_owner[fr.hpa / PAGE_SIZE], VM0);
    assert_int_equal(guest_memory_lookup(&gm, 256 * MIB, &fr), -EFAULT);
    assert_int_equal(guest_memory_lookup(&gm, UINT64_MAX, &fr), -EFAULT);
}

static void odd_ends(void **state)
{
    struct guest_frame fr;
    const struct guest_memory_region r[] = {
        {0, 0xa0000}, {0x100000, 5 * MIB}, {8 * MIB + 4096, 2 * MIB}};

    assert_int_equal(create_there(r, 3), 0);
    assert_int_equal(gm.size, 0xa0000 + 7 * MIB);
    assert_int_equal(guest_memory_lookup(&gm, 0x9ffff, &fr), 0);
    assert_int_equal(fr.level, 1);
    assert_int_equal(fr.contiguous, 1);
    assert_int_equal(guest_memory_lookup(&gm, 0xa0000, &fr), -EFAULT);
    assert_int_equal(guest_memory_lookup(&gm, 0xfffff, &fr), -EFAULT);
    assert_int_equal(guest_memory_lookup(&gm, 0x100000, &fr), 0);
    assert_int_equal(fr.level, 1);
    assert_int_equal(guest_memory_lookup(&gm, 2 * MIB, &fr), 0);
    assert_int_equal(fr.level, 2);
    assert_int_equal(guest_memory_lookup(&gm, 8 * MIB, &fr), -EFAULT);
    assert_int_equal(guest_memory_lookup(&gm, 10 * MIB, &fr), 0);
    assert_int_equal(fr.level, 1);
    assert_int_equal(guest_memory_lookup(&gm, 10 * MIB + 4096, &fr), -EFAULT);
    assert_true(guest_memory_valid(&gm, 0x100000, 5 * MIB));
    assert_false(guest_memory_valid(&gm, 0x100000, 5 * MIB + 1));
    assert_false(guest_memory_valid(&gm, 0x9ffff, 2));
    assert_true(guest_memory_valid(&gm, 0xa0000, 0));
    assert_false(guest_memory_valid(&gm, 0x100000, UINT64_MAX));
}

static void touching_ranges(void **state)
{
    char in[64], out[64];
    const struct guest_memory_region r[] = {{0, 2 * MIB}, {2 * MIB, 2 * MIB}};

    assert_int_equal(create(r, 2), 0);
    memset(in, 0x5a, sizeof(in));
    assert_int_equal(guest_memory_write(&gm, 2 * MIB - 32, in, 64), 0);
    assert_int_equal(guest_memory_read(&gm, 2 * MIB - 32, out, 64), 0);
    assert_int_equal(guest_memory_read(&gm, 4 * MIB - 32, out, 64), -EFAULT);
    assert_false(guest_memory_valid(&gm, 0, 4 * MIB + 1));
    assert_true(guest_memory_valid(&gm, 0, 4 * MIB));
    assert_int_equal(guest_memory_read(&gm, 2 * MIB - 32, out, 64), 0);
    assert_memory_equal(in, out, 64);
}

static void fragmented(void **state)
{
    struct guest_frame fr;

    mock_max_order = 0; /* no 2 MiB block is left */
    assert_int_equal(create(&(struct guest_memory_region){0, 4 * MIB}, 1), 0);
    assert_int_equal(mock_promised, 1024 + 2 * 2); /* tables of ours, and of EPT */
    assert_int_equal(guest_memory_touch(&gm, 3 * MIB), 0);
    assert_int_equal(guest_memory_lookup(&gm, 3 * MIB, &fr), 0);
    assert_int_equal(fr.level, 1);
    assert_int_equal(mock_used, 2 + 16);
    assert_int_equal(guest_memory_lookup(&gm, 3 * MIB + GUEST_TOGETHER, &fr), 0);
    assert_true(fr.hpa == FRAME_NONE); /* pages come by a few */
    assert_int_equal(fr.contiguous, PAGE_SIZE);
    assert_int_equal(guest_memory_there(&gm), 16);
    assert_int_equal(guest_memory_next_there(&gm, 0), 3 * MIB);
    assert_int_equal(guest_memory_next_there(&gm, 3 * MIB + 5), 3 * MIB + 5);
    assert_true(guest_memory_next_there(&gm, 3 * MIB + GUEST_TOGETHER) == UINT64_MAX);
    /* There are blocks again: the rest has some. */
    mock_max_order = FRAME_ORDER_2M;
    assert_int_equal(guest_memory_touch(&gm, 0), 0);
    assert_int_equal(guest_memory_lookup(&gm, MIB, &fr), 0);
    assert_int_equal(fr.level, 2);
    assert_int_equal(guest_memory_there(&gm), 512 + 16);
}

/* All of it, of which so many chunks have been touched. */
static void clear(uint32_t chunks)
{
    uint32_t done = 0;

    for (uint32_t i = 0; i < chunks; i++)
        assert_true(guest_memory_clear_some(&gm, &done));
    assert_false(guest_memory_clear_some(&gm, &done));
    assert_int_equal(guest_memory_there(&gm), 0);
}

static void zeroed(void **state)
{
    const struct guest_memory_region two[] = {{0, 4 * MIB}, {16 * MIB, 4 * MIB}};
    uint8_t page[4096];

    for (unsigned order = 0; order <= FRAME_ORDER_2M; order += FRAME_ORDER_2M) {
        mock_reset();
        mock_max_order = order;
        assert_int_equal(create(two, 2), 0);
        clear(0);
        assert_int_equal(guest_memory_write(&gm, MIB, "x", 1), 0);
        assert_int_equal(guest_memory_write(&gm, 20 * MIB - 1, "x", 1), 0);
        clear(2);
        assert_int_equal(mock_used, 1);
        assert_int_equal(mock_promised, 2048 + (order ? 0 : 4 * 2));
        for (uint64_t gpa = 0; gpa < 3 * MIB; gpa += PAGE_SIZE)
            assert_int_equal(guest_memory_touch(&gm, gpa), 0);
        for (uint64_t gpa = 0; gpa < 4 * MIB; gpa += 4096) {
            assert_int_equal(guest_memory_read(&gm, gpa, page, 4096), 0);
            for (size_t i = 0; i < 4096; i++)
                assert_int_equal(page[i], 0);
        }
        assert_int_equal(guest_memory_write(&gm, 3 * MIB, "x", 1), 0);
        assert_int_equal(guest_memory_write(&gm, 20 * MIB - 1, "x", 1), 0);
        clear(3);
        assert_int_equal(guest_memory_read(&gm, 3 * MIB, page, 1), 0);
        assert_int_equal(page[0], 0);
        assert_int_equal(guest_memory_read(&gm, 20 * MIB - 1, page, 1), 0);
        assert_int_equal(page[0], 0);
        guest_memory_destroy(&gm);
    }
}

static void copies(void **state)
{
    static uint8_t in[3 * MIB], out[3 * MIB];
    uint64_t v;

    mock_max_order = 0;
    assert_int_equal(create(&(struct guest_memory_region){1 * MIB, 4 * MIB}, 1), 0);
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)(i * 7 + (i >> 12));
    assert_int_equal(guest_memory_write(&gm, 1 * MIB + 123, in, sizeof(in)), 0);
    assert_int_equal(guest_memory_read(&gm, 1 * MIB + 123, out, sizeof(out)), 0);
    assert_memory_equal(in, out, sizeof(in));
    assert_int_equal(guest_memory_zero(&gm, 1 * MIB + 200, 5001), 0);
    assert_int_equal(guest_memory_read(&gm, 1 * MIB + 123, out, sizeof(out)), 0);
    memset(in + 77, 0, 5001);
    assert_memory_equal(in, out, sizeof(in));

    /* nothing is copied when the last byte is not RAM */
    memset(out, 0xee, 16);
    assert_int_equal(guest_memory_read(&gm, 5 * MIB - 15, out, 16), -EFAULT);
    assert_int_equal(out[0], 0xee);
    assert_int_equal(guest_memory_write(&gm, 5 * MIB - 15, out, 16), -EFAULT);
    assert_int_equal(guest_memory_read(&gm, 5 * MIB - 15, out, 15), 0);
    assert_int_equal(out[0], 0);
    assert_int_equal(guest_memory_zero(&gm, 5 * MIB - 15, 16), -EFAULT);
    assert_int_equal(guest_memory_read(&gm, 0, out, 1), -EFAULT);
    assert_int_equal(guest_memory_read(&gm, UINT64_MAX - 3, out, 16), -EFAULT);
    assert_int_equal(guest_memory_read(&gm, 9 * GIB, out, 0), 0);

    assert_int_equal(guest_memory_write(&gm, 2 * MIB, &(uint64_t){0x1122334455667788}, 8), 0);
    assert_int_equal(guest_memory_read_u64(&gm, 2 * MIB, &v), 0);
    assert_true(v == 0x1122334455667788);
    assert_int_equal(guest_memory_read_u64(&gm, 2 * MIB + 4, &v), -EFAULT);
    assert_int_equal(guest_memory_read_u64(&gm, 5 * MIB, &v), -EFAULT);
}

static void load_store(void **state)
{
    const struct guest_memory_region region = {0, 3 * MIB};
    uint64_t v;

    assert_int_equal(create(&region, 1), 0);
    for (unsigned size = 2; size <= 8; size *= 2) {
        uint64_t ones = UINT64_MAX >> (64 - 8 * size);
        assert_int_equal(guest_memory_write(&gm, 2 * MIB, &(uint64_t[2]){0}, 16), 0);
        assert_int_equal(guest_memory_store(&gm, 2 * MIB, size, 0x1122334455667788), 0);
        assert_int_equal(guest_memory_load(&gm, 2 * MIB, size, &v), 0);
        assert_true(v == (0x1122334455667788 & ones));
        assert_int_equal(guest_memory_read_u64(&gm, 2 * MIB, &v), 0);
        assert_true(v == (0x1122334455667788 & ones));
        assert_int_equal(guest_memory_load(&gm, 2 * MIB + 1, size, &v), -EFAULT);
        assert_int_equal(guest_memory_store(&gm, 2 * MIB + 1, size, 0), -EFAULT);
        assert_int_equal(guest_memory_load(&gm, 3 * MIB, size, &v), -EFAULT);
        assert_int_equal(guest_memory_store(&gm, 3 * MIB, size, 0), -EFAULT);
        assert_int_equal(guest_memory_load(&gm, 3 * MIB - size, size, &v), 0);
    }
    uint8_t old = 0;
    assert_int_equal(guest_memory_exchange(&gm, 3 * MIB - 1, 0x7e, &old), 0);
    assert_int_equal(guest_memory_exchange(&gm, 3 * MIB - 1, 1, &old), 0);
    assert_int_equal(old, 0x7e);
    assert_int_equal(guest_memory_load(&gm, 3 * MIB - 2, 2, &v), 0);
    assert_int_equal(v >> 8, 1);
    assert_int_equal(guest_memory_exchange(&gm, 3 * MIB, 1, &old), -EFAULT);
    assert_int_equal(guest_memory_exchange(&gm, UINT64_MAX, 1, &old), -EFAULT);
}

static void operands(void **state)
{
    static const uint64_t word = 0x1122334455667788;
    uint64_t v;

    assert_int_equal(create(&(struct guest_memory_region){0, 4 * MIB}, 1), 0);
    for (unsigned size = 1; size <= 8; size++) {
        for (unsigned offset = 0; offset < 9; offset++) { /* over the end of a chunk, too */
            uint64_t gpa = 2 * MIB - 8 + offset;
            uint64_t low = word & UINT64_MAX >> (64 - 8 * size), byte;
            assert_int_equal(guest_memory_zero(&gm, 2 * MIB - 32, 64), 0);
            assert_int_equal(guest_memory_write_operand(&gm, gpa, size, word), 0);
            assert_int_equal(guest_memory_read_operand(&gm, gpa, size, &v), 0);
            assert_true(v == low);
            assert_int_equal(guest_memory_read(&gm, gpa, &v, 8), 0);
            assert_true(v == low); /* and nothing behind it */
            assert_int_equal(guest_memory_read_operand(&gm, gpa - 1, 1, &byte), 0);
            assert_int_equal(byte, 0);
            assert_int_equal(guest_memory_zero(&gm, 2 * MIB - 32, 64), 0);
            assert_int_equal(guest_memory_write_ram(&gm, gpa, &word, size), 0);
            assert_int_equal(guest_memory_read(&gm, gpa, &v, 8), 0);
            assert_true(v == low);
        }
        assert_int_equal(guest_memory_write_operand(&gm, 4 * MIB, size, word), -EFAULT);
        assert_int_equal(guest_memory_read_operand(&gm, 4 * MIB, size, &v), -EFAULT);
        if (size > 1)
            assert_int_equal(guest_memory_write_operand(&gm, 4 * MIB - 1, size, word), -EFAULT);
    }
}

static void pins(void **state)
{
    struct guest_frame fr;
    paddr address;
    uint64_t length;

    assert_int_equal(create_there(&(struct guest_memory_region){0, 4 * MIB}, 1), 0);
    assert_int_equal(guest_memory_lookup(&gm, 0, &fr), 0);
    assert_int_equal(guest_memory_pin(&gm, 0xfff, 2, true, &address, &length), 0); /* two pages */
    assert_int_equal(address, fr.hpa + 0xfff);
    assert_int_equal(length, 2);
    assert_int_equal(mock_pins[fr.hpa / PAGE_SIZE], 1);
    assert_int_equal(mock_pins[fr.hpa / PAGE_SIZE + 1], 1);
    assert_int_equal(mock_pins[fr.hpa / PAGE_SIZE + 2], 0);
    guest_memory_unpin(address, length);
    assert_int_equal(mock_pins[fr.hpa / PAGE_SIZE], 0);
    assert_int_equal(mock_pins[fr.hpa / PAGE_SIZE + 1], 0);

    /* As far as host memory is one piece, and RAM is. */
    assert_int_equal(guest_memory_pin(&gm, 2 * MIB - 1, 2, true, &address, &length), 0);
    assert_int_equal(length, 1);
    guest_memory_unpin(address, length);
    assert_int_equal(guest_memory_pin(&gm, 4 * MIB - 1, 2, true, &address, &length), 0);
    assert_int_equal(length, 1);
    guest_memory_unpin(address, length);
    assert_int_equal(guest_memory_pin(&gm, 4 * MIB, 1, true, &address, &length), -EFAULT);
    assert_int_equal(guest_memory_pin(&gm, 0, 0, true, &address, &length), -EFAULT);

    /* A frame that cannot be pinned once more: nor are those before it. */
    mock_pins[fr.hpa / PAGE_SIZE + 2] = mock_most_pins;
    assert_int_equal(guest_memory_pin(&gm, 0, 3 * PAGE_SIZE, true, &address, &length), -EAGAIN);
    assert_int_equal(mock_pins[fr.hpa / PAGE_SIZE], 0);
    assert_int_equal(mock_pins[fr.hpa / PAGE_SIZE + 1], 0);
    mock_pins[fr.hpa / PAGE_SIZE + 2] = 0;
}

/* --- layers --- */

#define ROM_FRAMES (40 * MIB) /* have memory of their own, and the RAM lies below */

static void set(const struct guest_memory_layer *layers, unsigned count)
{
    assert_int_equal(guest_memory_make_room(&gm), 0);
    assert_true(guest_memory_set_layers(&gm, layers, count));
    assert_false(guest_memory_set_layers(&gm, layers, count));
}

static uint8_t byte_at(uint64_t gpa)
{
    uint8_t b = 0;

    assert_int_equal(guest_memory_read(&gm, gpa, &b, 1), 0);
    return b;
}

static void layers(void **state)
{
    const struct guest_memory_layer l[] = {
        /* a ROM over RAM, RAM at another place, a device's calls; and below RAM, and beside it */
        {0xe0000, 0x10000, ROM_FRAMES, GUEST_LAYER_FRAMES, false, true},
        {0xf0000, 0x10000, 0x200000, GUEST_LAYER_RAM, true, true},
        {0x100000, 0x1000, 0, GUEST_LAYER_NOTHING, false, true},
        {0x110000, 0x1000, ROM_FRAMES, GUEST_LAYER_FRAMES, true, false},
        {0x300000, 0x200000, ROM_FRAMES, GUEST_LAYER_FRAMES, true, false},
        {0xfffe0000, 0x20000, ROM_FRAMES, GUEST_LAYER_FRAMES, false, false},
    };
    struct guest_frame fr;
    paddr address;
    uint64_t length, word;
    uint8_t two[2];

    assert_int_equal(create(&(struct guest_memory_region){0, 4 * MIB}, 1), 0);
    memset(phys_to_virt(ROM_FRAMES), 0x55, 2 * MIB);
    for (uint64_t gpa = 0; gpa < 4 * MIB; gpa += PAGE_SIZE)
        assert_int_equal(guest_memory_write(&gm, gpa, &(uint64_t){1}, 8), 0);
    assert_non_null(guest_memory_view(&gm, 0));
    set(l, ARRAY_SIZE(l));

    /* ROM */
    assert_null(guest_memory_view(&gm, 0xe0000));
    assert_int_equal(byte_at(0xdf000), 1);
    assert_int_equal(byte_at(0xe0000), 0x55);
    assert_int_equal(guest_memory_write(&gm, 0xe0000, two, 1), -EFAULT);
    assert_int_equal(guest_memory_write(&gm, 0xdffff, two, 2), -EFAULT);
    assert_int_equal(guest_memory_zero(&gm, 0xd0000, 0x10001), -EFAULT);
    assert_int_equal(guest_memory_store(&gm, 0xe0000, 8, 7), -EFAULT);
    assert_int_equal(guest_memory_exchange(&gm, 0xe0001, 7, two), -EFAULT);
    assert_int_equal(guest_memory_read_u64(&gm, 0xe0000, &word), 0);
    assert_true(word == 0x5555555555555555);
    assert_int_equal(guest_memory_read(&gm, 0xdffff, two, 2), 0);
    assert_int_equal(two[1], 0x55);
    assert_int_equal(guest_memory_pin(&gm, 0xe0000, 1, true, &address, &length), -EFAULT);
    assert_int_equal(guest_memory_pin(&gm, 0xe0ff8, 0x20000, false, &address, &length), 0);
    assert_int_equal(address, ROM_FRAMES + 0xff8);
    assert_int_equal(length, 0xf008);
    guest_memory_unpin(address, length);
    assert_int_equal(guest_memory_pin(&gm, 0xdf000, 8192, true, &address, &length), 0);
    assert_int_equal(length, 4096);
    guest_memory_unpin(address, length);
    assert_int_equal(guest_memory_lookup(&gm, 0xe0000, &fr), 0);
    assert_false(fr.writable);
    assert_int_equal(fr.contiguous, 0x10000);
    assert_int_equal(guest_memory_write_ram(&gm, 0xe0000, &(uint8_t){9}, 1), 0);
    assert_int_equal(byte_at(0xe0000), 0x55);
    assert_int_equal(guest_memory_write_ram(&gm, 4 * MIB - 1, two, 2), -EFAULT);

    /* RAM, both ways */
    assert_int_equal(guest_memory_write(&gm, 0xf1234, &(uint8_t){7}, 1), 0);
    assert_int_equal(byte_at(0x201234), 7);
    assert_int_equal(guest_memory_write(&gm, 0x201235, &(uint8_t){8}, 1), 0);
    assert_int_equal(byte_at(0xf1235), 8);

    /* no memory, and where the next is */
    assert_int_equal(guest_memory_read(&gm, 0x100fff, two, 2), -EFAULT);
    assert_int_equal(guest_memory_lookup(&gm, 0x100000, &fr), -EFAULT);
    assert_false(guest_memory_valid(&gm, 0xf0000, 0x10001));
    assert_true(guest_memory_valid(&gm, 0xd0000, 0x30000));
    assert_int_equal(guest_memory_next(&gm, 0x100008), 0x101000);
    assert_int_equal(byte_at(0x101000), 1);
    assert_int_equal(guest_memory_next(&gm, 5 * MIB), 0xfffe0000);
    assert_true(guest_memory_next(&gm, 4 * GIB) == UINT64_MAX);

    /* what lies below RAM shows where that ends; beside it */
    assert_int_equal(byte_at(0x110000), 1);
    assert_int_equal(byte_at(0x3ff000), 1);
    assert_int_equal(byte_at(0x400000), 0x55);
    assert_int_equal(guest_memory_write(&gm, 0x400000, &(uint8_t){0x56}, 1), 0);
    assert_int_equal(byte_at(0xfffe0000), 0x55);
    assert_int_equal(byte_at(0xffffffff), 0x55);
    assert_int_equal(guest_memory_read(&gm, 0xffffffff, two, 2), -EFAULT);
    assert_non_null(guest_memory_view(&gm, 0x200000)); /* no layer touches this chunk */

    /* cleared is RAM; and where layers lie it comes as elsewhere */
    clear(2);
    assert_int_equal(byte_at(0xe0000), 0x55);
    assert_int_equal(byte_at(0xf1234), 0);
    assert_int_equal(guest_memory_there(&gm), 0);
    assert_int_equal(guest_memory_write(&gm, 0xf1234, &(uint8_t){7}, 1), 0);
    assert_int_equal(byte_at(0x201234), 7);
    assert_int_equal(guest_memory_there(&gm), 512);
    assert_int_equal(guest_memory_touch(&gm, 0xe0000), 0);        /* ROM is there */
    assert_int_equal(guest_memory_touch(&gm, 0x100000), -EFAULT); /* and nothing here */
    assert_int_equal(guest_memory_there(&gm), 512);
    assert_int_equal(guest_memory_write(&gm, 0xdffff, &(uint8_t){7}, 1), 0);
    assert_int_equal(guest_memory_there(&gm), 1024);
    assert_int_equal(guest_memory_lookup(&gm, 0xd0000, &fr), 0);
    assert_int_equal(fr.contiguous, 0x10000);
    assert_int_equal(byte_at(0xe0000), 0x55);

    /* another ROM while the first stays, and none */
    const struct guest_memory_layer rest = l[0];
    set(&rest, 1);
    assert_int_equal(byte_at(0xe0000), 0x55);
    assert_int_equal(byte_at(0x100000), 0);
    assert_int_equal(guest_memory_read(&gm, 0xffffffff, two, 1), -EFAULT);
    set(NULL, 0);
    assert_int_equal(byte_at(0xe0000), 0);
    assert_non_null(guest_memory_view(&gm, 0));
    set(&rest, 1); /* and the VM ends with it */
}

static void layers_without_memory(void **state)
{
    const struct guest_memory_layer l = {0xe0000, 0x10000, ROM_FRAMES, GUEST_LAYER_FRAMES,
                                         false,   true};

    assert_int_equal(create_there(&(struct guest_memory_region){0, 4 * MIB}, 1), 0);
    mock_heap_left = 0;
    assert_int_equal(guest_memory_make_room(&gm), -ENOMEM);
    assert_non_null(guest_memory_view(&gm, 0));
    mock_heap_left = 1;
    mock_limit = mock_used;
    set(&l, 1); /* asks for room again, which takes none */
    assert_null(guest_memory_view(&gm, 0));
    assert_int_equal(byte_at(0xe0000), *(uint8_t *)phys_to_virt(ROM_FRAMES));
    set(NULL, 0);
    assert_non_null(guest_memory_view(&gm, 0));
}

/* What lies beside RAM ends where that begins, however far it would go on. */
static void layer_up_to_ram(void **state)
{
    const struct guest_memory_region regions[] = {{0, 2 * MIB}, {4 * MIB, 2 * MIB}};
    const struct guest_memory_layer bar = {3 * MIB, 2 * MIB, ROM_FRAMES, GUEST_LAYER_FRAMES,
                                           true,    false};
    uint8_t two[2];
    paddr address;
    uint64_t length;

    assert_int_equal(create(regions, ARRAY_SIZE(regions)), 0);
    memset(phys_to_virt(ROM_FRAMES), 0x55, 2 * MIB);
    assert_int_equal(guest_memory_write(&gm, 4 * MIB, &(uint8_t){1}, 1), 0);
    set(&bar, 1);
    assert_int_equal(guest_memory_read(&gm, 4 * MIB - 1, two, 2), 0);
    assert_int_equal(two[0], 0x55);
    assert_int_equal(two[1], 1);
    assert_int_equal(guest_memory_pin(&gm, 3 * MIB, 2 * MIB, true, &address, &length), 0);
    assert_int_equal(address, ROM_FRAMES);
    assert_int_equal(length, MIB);
    guest_memory_unpin(address, length);
}

/* As many as there can be, each of a page. */
static void the_most_layers(void **state)
{
    static struct guest_memory_layer l[GUEST_MEMORY_LAYERS];

    assert_int_equal(create(&(struct guest_memory_region){0, 4 * MIB}, 1), 0);
    for (unsigned i = 0; i < GUEST_MEMORY_LAYERS; i++)
        l[i] = (struct guest_memory_layer){.gpa = 2 * PAGE_SIZE * i,
                                           .size = PAGE_SIZE,
                                           .from = ROM_FRAMES + PAGE_SIZE * i,
                                           .shows = GUEST_LAYER_FRAMES,
                                           .over_ram = true};
    for (unsigned i = 0; i < GUEST_MEMORY_LAYERS; i++)
        memset(phys_to_virt(ROM_FRAMES + PAGE_SIZE * i), (int)i, PAGE_SIZE);
    set(l, GUEST_MEMORY_LAYERS);
    for (unsigned i = 0; i < GUEST_MEMORY_LAYERS; i++)
        assert_int_equal(byte_at(2 * PAGE_SIZE * i), i);
}

/* --- pages that are given back --- */

static int give(uint64_t gpa)
{
    paddr frame = 0;
    int result = guest_memory_give(&gm, gpa, &frame);

    if (result == 0)
        guest_memory_leave(&gm, frame, PAGE_SIZE);
    return result;
}

static void gone(void)
{
    guest_memory_let_go(&gm, guest_memory_leaving(&gm));
    assert_int_equal(guest_memory_leaving(&gm), 0);
}

static void given(void **state)
{
    const struct guest_memory_region region = {0, 6 * MIB};
    uint8_t byte = 0x77, zeroes[16], bytes[16];
    struct guest_frame fr;

    assert_int_equal(create_there(&region, 1), 0);
    assert_int_equal(guest_memory_given(&gm), 0);
    assert_int_equal(guest_memory_leaving(&gm), 0);
    assert_int_equal(guest_memory_balloon(&gm), 0);
    uint64_t used = mock_used;
    memset(zeroes, 0, sizeof(zeroes));
    assert_int_equal(guest_memory_write(&gm, 3 * MIB - 1, &byte, 1), 0);
    assert_int_equal(guest_memory_write(&gm, 3 * MIB + PAGE_SIZE, &byte, 1), 0);
    assert_int_equal(guest_memory_lookup(&gm, 3 * MIB - PAGE_SIZE, &fr), 0);
    paddr before = fr.hpa;

    assert_int_equal(give(3 * MIB + 5), 0);
    assert_int_equal(give(3 * MIB), -ENOENT);
    assert_int_equal(give(6 * MIB), -EFAULT);
    assert_int_equal(give(UINT64_MAX), -EFAULT);
    assert_int_equal(guest_memory_given(&gm), 1);
    assert_int_equal(mock_used, used + 1); /* a table, and it has not gone yet */
    gone();
    assert_int_equal(mock_used, used);
    /* Its neighbours are where they were, and nothing else is. */
    assert_int_equal(guest_memory_lookup(&gm, 3 * MIB - PAGE_SIZE, &fr), 0);
    assert_int_equal(fr.hpa, before);
    assert_int_equal(fr.level, 1);
    assert_int_equal(guest_memory_lookup(&gm, 3 * MIB + 8, &fr), 0);
    assert_true(fr.hpa == FRAME_NONE);
    assert_int_equal(fr.contiguous, PAGE_SIZE - 8);
    assert_int_equal(guest_memory_next(&gm, 3 * MIB + 8), 3 * MIB + PAGE_SIZE);
    assert_int_equal(guest_memory_lookup(&gm, 2 * MIB - 1, &fr), 0);
    assert_int_equal(fr.level, 2);
    /* It is RAM: zeroes, which take no frame to be read. */
    assert_true(guest_memory_valid(&gm, 3 * MIB - 1, PAGE_SIZE + 2));
    assert_int_equal(guest_memory_read(&gm, 3 * MIB - 1, bytes, 16), 0);
    assert_int_equal(bytes[0], 0x77);
    assert_memory_equal(bytes + 1, zeroes, 15);
    assert_int_equal(guest_memory_read(&gm, 3 * MIB + PAGE_SIZE - 1, bytes, 2), 0);
    assert_int_equal(bytes[0], 0);
    assert_int_equal(bytes[1], 0x77);
    uint64_t value = 5;
    assert_int_equal(guest_memory_load(&gm, 3 * MIB, 8, &value), 0);
    assert_int_equal(value, 0);
    assert_int_equal(guest_memory_given(&gm), 1);
    assert_int_equal(mock_used, used);
    /* Written: there it is again, and nobody else sees what was written. */
    assert_int_equal(guest_memory_write(&gm, 3 * MIB + 100, &byte, 1), 0);
    assert_int_equal(guest_memory_given(&gm), 0);
    assert_int_equal(mock_used, used + 1);
    assert_int_equal(guest_memory_read(&gm, 3 * MIB + 99, bytes, 3), 0);
    assert_memory_equal(bytes, "\0\x77\0", 3);
    assert_int_equal(guest_memory_lookup(&gm, 3 * MIB, &fr), 0);
    assert_int_equal(mock_owner[fr.hpa / PAGE_SIZE], VM0);
    assert_int_equal(give(4 * MIB), 0);
    assert_int_equal(guest_memory_read(&gm, 4 * MIB, bytes, 16), 0);
    assert_memory_equal(bytes, zeroes, 16);
}

static void given_comes_back(void **state)
{
    const struct guest_memory_region region = {0, 6 * MIB};
    uint8_t bytes[PAGE_SIZE], zeroes[PAGE_SIZE] = {0};

    assert_int_equal(create_there(&region, 1), 0);
    assert_int_equal(guest_memory_balloon(&gm), 0);
    memset(bytes, 0x5a, sizeof(bytes));
    for (uint64_t gpa = 2 * MIB; gpa < 4 * MIB; gpa += PAGE_SIZE) {
        assert_int_equal(guest_memory_write(&gm, gpa, bytes, PAGE_SIZE), 0);
        assert_int_equal(give(gpa), 0);
        gone();
    }
    assert_int_equal(guest_memory_given(&gm), 512);
    mock_limit = mock_used + mock_promised;
    assert_int_equal(guest_memory_back(&gm, 2 * MIB), -ENOMEM);
    assert_int_equal(guest_memory_write(&gm, 2 * MIB - 1, bytes, 2), -ENOMEM);
    assert_int_equal(guest_memory_zero(&gm, 2 * MIB, 1), 0); /* it is */
    assert_int_equal(guest_memory_touch(&gm, 2 * MIB), -ENOMEM);
    assert_int_equal(guest_memory_store(&gm, 2 * MIB, 8, 1), -ENOMEM);
    assert_int_equal(guest_memory_write_ram(&gm, 2 * MIB, bytes, 1), -ENOMEM);
    assert_int_equal(guest_memory_back(&gm, 2 * MIB - 1), 0); /* which is there */
    assert_int_equal(guest_memory_back(&gm, 6 * MIB), -EFAULT);
    mock_limit += 100;
    for (uint64_t gpa = 2 * MIB; gpa < 2 * MIB + 100 * PAGE_SIZE; gpa += PAGE_SIZE) {
        assert_int_equal(guest_memory_back(&gm, gpa + 7), 0);
        assert_int_equal(guest_memory_back(&gm, gpa), 0);
        assert_int_equal(guest_memory_read(&gm, gpa, bytes, PAGE_SIZE), 0);
        assert_memory_equal(bytes, zeroes, PAGE_SIZE);
    }
    assert_int_equal(guest_memory_given(&gm), 412);
    assert_int_equal(mock_used + mock_promised, mock_limit);
    /* A reset is promised all of it, if there is so much: its tables are no more. */
    clear(3);
    assert_int_equal(guest_memory_given(&gm), 412);
    mock_limit = mock_used + mock_promised + 1536;
    assert_int_equal(guest_memory_write(&gm, 2 * MIB, bytes, PAGE_SIZE), 0);
    clear(1);
    assert_int_equal(guest_memory_given(&gm), 0);
    assert_int_equal(mock_promised, 1536);
}

/* Pinned frames are not given; and one that is pinned in the last moment is kept until it is not.
 */
static void given_and_pinned(void **state)
{
    const struct guest_memory_region region = {0, 2 * GIB};
    struct guest_frame fr;
    paddr frame, at;
    uint64_t length;

    assert_int_equal(create(&region, 1), 0);
    assert_int_equal(guest_memory_touch(&gm, GIB), 0);
    assert_int_equal(guest_memory_touch(&gm, 2 * GIB - 1), 0);
    assert_int_equal(guest_memory_balloon(&gm), 0);
    assert_int_equal(guest_memory_lookup(&gm, GIB, &fr), 0);
    assert_int_equal(fr.level, 2);
    assert_int_equal(guest_memory_pin(&gm, GIB + 100, 8, false, &at, &length), 0);
    assert_int_equal(give(GIB), -EBUSY);
    assert_int_equal(guest_memory_lookup(&gm, GIB, &fr), 0);
    assert_int_equal(fr.level, 2); /* nothing was split for that */
    assert_int_equal(give(GIB + 2 * PAGE_SIZE), 0);
    gone();
    assert_int_equal(give(GIB), -EBUSY);
    assert_int_equal(guest_memory_lookup(&gm, GIB, &fr), 0);
    assert_int_equal(fr.hpa + 100, at);
    assert_int_equal(guest_memory_lookup(&gm, 2 * GIB - 1, &fr), 0);
    assert_int_equal(fr.level, 2);
    guest_memory_unpin(at, length);
    uint64_t used = mock_used;
    assert_int_equal(guest_memory_give(&gm, GIB, &frame), 0);
    assert_true(frame_pin(frame)); /* by who had found it just before */
    guest_memory_leave(&gm, frame, PAGE_SIZE);
    guest_memory_let_go(&gm, guest_memory_leaving(&gm));
    assert_int_equal(mock_used, used);
    assert_true(guest_memory_leaving(&gm) > 0);
    frame_unpin(frame);
    gone();
    assert_int_equal(mock_used, used - 1);
    /* DMA out of a page that was given has a frame of its own. */
    assert_int_equal(guest_memory_pin(&gm, GIB, 8, false, &at, &length), 0);
    assert_int_equal(guest_memory_given(&gm), 1);
    assert_int_equal(mock_owner[at / PAGE_SIZE], VM0);
    guest_memory_unpin(at, length);
    mock_limit = mock_used;
    assert_int_equal(guest_memory_pin(&gm, GIB + 2 * PAGE_SIZE, 8, false, &at, &length), -EFAULT);
}

/* Two who settle: each lets go what had left before it began, once. */
static void given_twice_settled(void **state)
{
    const struct guest_memory_region region = {0, 4 * MIB};

    assert_int_equal(create_there(&region, 1), 0);
    assert_int_equal(guest_memory_balloon(&gm), 0);
    assert_int_equal(give(0), 0);
    uint64_t first = guest_memory_leaving(&gm), used = mock_used;
    assert_int_equal(give(PAGE_SIZE), 0);
    guest_memory_let_go(&gm, first);
    assert_int_equal(mock_used, used - 1);
    guest_memory_let_go(&gm, first);
    assert_int_equal(mock_used, used - 1);
    gone();
    assert_int_equal(mock_used, used - 2);
    for (unsigned i = 0; i < 256; i++)
        assert_int_equal(give((2 + i) * PAGE_SIZE), 0);
    assert_int_equal(give(300 * PAGE_SIZE), -EAGAIN);
    gone();
    assert_int_equal(give(300 * PAGE_SIZE), 0);
}

static void given_without_memory(void **state)
{
    const struct guest_memory_region region = {0, 4 * MIB};
    struct guest_frame fr;

    assert_int_equal(create_there(&region, 1), 0);
    mock_heap_left = 0;
    assert_int_equal(guest_memory_balloon(&gm), -ENOMEM);
    mock_heap_left = 10;
    mock_limit = mock_used;
    assert_int_equal(guest_memory_balloon(&gm), 0);
    assert_int_equal(give(0), -ENOMEM); /* for a table */
    assert_int_equal(guest_memory_given(&gm), 0);
    assert_int_equal(guest_memory_lookup(&gm, 0, &fr), 0);
    assert_int_equal(fr.level, 2);
}

/* Where layers lie, nothing is given; and they find what was given before. */
static void given_under_layers(void **state)
{
    const struct guest_memory_region region = {0, 2 * GIB};
    struct guest_memory_layer l[] = {
        {4 * MIB, PAGE_SIZE, 0, GUEST_LAYER_NOTHING, true, true},
        {3 * GIB, 0x4000, 8 * MIB, GUEST_LAYER_RAM, true, false},
    };
    struct guest_frame fr;
    uint8_t byte = 1;

    assert_int_equal(create(&region, 1), 0);
    assert_int_equal(guest_memory_touch(&gm, 4 * MIB), 0);
    assert_int_equal(guest_memory_touch(&gm, 8 * MIB), 0);
    assert_int_equal(guest_memory_balloon(&gm), 0);
    assert_int_equal(give(8 * MIB + PAGE_SIZE), 0);
    set(l, 2);
    assert_int_equal(give(4 * MIB), -EBUSY);
    assert_int_equal(give(4 * MIB + PAGE_SIZE), -EBUSY);
    assert_int_equal(guest_memory_lookup(&gm, 4 * MIB, &fr), -EFAULT);
    assert_int_equal(guest_memory_lookup(&gm, 3 * GIB + PAGE_SIZE, &fr), 0);
    assert_true(fr.hpa == FRAME_NONE);
    assert_int_equal(guest_memory_write(&gm, 3 * GIB + PAGE_SIZE, &byte, 1), 0);
    assert_int_equal(guest_memory_given(&gm), 0);
    assert_int_equal(guest_memory_lookup(&gm, 8 * MIB + PAGE_SIZE, &fr), 0);
    assert_int_equal(*(uint8_t *)phys_to_virt(fr.hpa), 1);
    gone();
}

static void refused(void **state)
{
    const struct guest_memory_region bad[][2] = {
        {{1, 4096}},       {{0, 4095}},       {{0, 0}},
        {{BIT(46), 4096}}, {{4096, BIT(46)}}, {{0, UINT64_MAX - 4095}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(create(bad[i], 1), -EINVAL);
    assert_int_equal(create((struct guest_memory_region[]){{0, 8192}, {4096, 8192}}, 2), -EINVAL);
    assert_int_equal(create((struct guest_memory_region[]){{8192, 4096}, {0, 4096}}, 2), -EINVAL);
    assert_int_equal(create(bad[0], 0), -EINVAL);
    assert_int_equal(create((struct guest_memory_region[5]){{0, 4096}}, 5), -EINVAL);
}

/* Memory runs out at every possible point; each time all is given back. */
static void exhaustion(void **state)
{
    const struct guest_memory_region r[] = {{0, 5 * MIB}, {16 * MIB, 4096}};

    for (uint64_t limit = 0; limit < 5 * MIB / PAGE_SIZE + 6; limit += limit < 20 ? 1 : 97) {
        mock_limit = limit;
        assert_int_equal(create(r, 2), -ENOMEM);
        assert_int_equal(mock_used, 0);
        assert_int_equal(mock_heap_blocks, 0);
    }
    mock_limit = MOCK_FRAMES;
    for (long n = 0; n < 3; n++) {
        mock_heap_left = n;
        assert_int_equal(create(r, 2), -ENOMEM);
        assert_int_equal(mock_used, 0);
        assert_int_equal(mock_heap_blocks, 0);
    }
    /* a VM far beyond the machine is refused, too */
    mock_heap_left = 10;
    mock_limit = 1000;
    assert_int_equal(create(&(struct guest_memory_region){0, 64 * GIB}, 1), -ENOMEM);
    assert_int_equal(mock_used, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(blocks, fresh, all_back),
        cmocka_unit_test_setup_teardown(odd_ends, fresh, all_back),
        cmocka_unit_test_setup_teardown(touching_ranges, fresh, all_back),
        cmocka_unit_test_setup_teardown(fragmented, fresh, all_back),
        cmocka_unit_test_setup_teardown(zeroed, fresh, all_back),
        cmocka_unit_test_setup_teardown(copies, fresh, all_back),
        cmocka_unit_test_setup_teardown(load_store, fresh, all_back),
        cmocka_unit_test_setup_teardown(operands, fresh, all_back),
        cmocka_unit_test_setup_teardown(pins, fresh, all_back),
        cmocka_unit_test_setup_teardown(layers, fresh, all_back),
        cmocka_unit_test_setup_teardown(layers_without_memory, fresh, all_back),
        cmocka_unit_test_setup_teardown(layer_up_to_ram, fresh, all_back),
        cmocka_unit_test_setup_teardown(the_most_layers, fresh, all_back),
        cmocka_unit_test_setup_teardown(given, fresh, all_back),
        cmocka_unit_test_setup_teardown(given_comes_back, fresh, all_back),
        cmocka_unit_test_setup_teardown(given_and_pinned, fresh, all_back),
        cmocka_unit_test_setup_teardown(given_twice_settled, fresh, all_back),
        cmocka_unit_test_setup_teardown(given_without_memory, fresh, all_back),
        cmocka_unit_test_setup_teardown(given_under_layers, fresh, all_back),
        cmocka_unit_test_setup_teardown(refused, fresh, all_back),
        cmocka_unit_test_setup_teardown(exhaustion, fresh, all_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
