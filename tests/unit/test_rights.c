/* links: guest/memory/rights.c guest/memory/marks.c vmx/ept.c mm/guest_memory.c mm/guest_layers.c mm/guest_ram.c mm/guest_balloon.c mm/mtrr.c */
#include "tests/unit/rights_vm.h"

static void all_of_it(void **state)
{
    static const struct guest_memory_region three[] = {
        {0, 0xa0000}, {0x100000, 34 * MIB}, {4 * GIB, 32 * MIB}};

    make(&large, three, 3);
    for (unsigned i = 0; i < 3; i++)
        for (uint64_t gpa = three[i].gpa; gpa < three[i].gpa + three[i].size; gpa += 0x31000)
            expect(gpa, behind(gpa), gpa < 2 * MIB || gpa - 34 * MIB < 2 * MIB ? 1 : 2, 7);
    expect_none(0xa0000);
    expect_none(0x100000 + 34 * MIB);
    expect_none(4 * GIB - 1);
    expect_none(4 * GIB + 32 * MIB);
    assert_int_equal(r.ept.generation, 0);
}

/* A leaf splits where a reason begins, and is whole again when the last one has gone. */
static void split_and_merge(void **state)
{
    const uint64_t page = GIB + 10 * MIB + 4096;

    make(&large, two, 2);
    expect(page, behind(page), 2, 7);
    uint64_t tables = r.ept.frames;
    assert_int_equal(rights_change(&r, page, 4096, REASON_WATCH_WRITE, REASONS_WATCH), 0);
    assert_int_equal(r.ept.generation, 1);
    expect(page, behind(page), 1, EPT_READ | EPT_EXECUTE);
    expect(page + 4096, behind(page + 4096), 1, 7);
    expect(GIB, behind(GIB), 2, 7);
    assert_int_equal(rights_reasons(&r, page + 4095, 1), REASON_WATCH_WRITE);
    assert_int_equal(rights_reasons(&r, page + 4096, 1), 0);
    /* two reasons on one page: the second one going leaves what the first takes */
    assert_int_equal(rights_change(&r, page, 4096, REASON_CLEAN | REASON_WATCH_EXECUTE, 0), 0);
    expect(page, behind(page), 1, EPT_READ);
    assert_int_equal(rights_change(&r, page, 4096, 0, REASONS_WATCH), 0);
    expect(page, behind(page), 1, EPT_READ | EPT_EXECUTE);
    assert_int_equal(rights_change(&r, page, 4096, 0, REASON_CLEAN), 0);
    expect(page, behind(page), 2, 7);
    expect(GIB, behind(GIB), 2, 7);
    rights_reap(&r, rights_retired(&r));
    assert_int_equal(r.ept.frames, tables);
    assert_int_equal(r.reasons.frames, 0);
    /* a whole block keeps its leaf, with fewer rights */
    assert_int_equal(rights_change(&r, GIB + 2 * MIB, 2 * MIB, REASON_CLEAN, 0), 0);
    expect(GIB + 2 * MIB, behind(GIB + 2 * MIB), 2, EPT_READ | EPT_EXECUTE);
    assert_int_equal(rights_change(&r, 0, MARKS_END, REASON_CLEAN, 0), 0);
    expect(GIB + 2 * MIB, behind(GIB + 2 * MIB), 2, EPT_READ | EPT_EXECUTE);
    expect(0, behind(0), 2, EPT_READ | EPT_EXECUTE);
    assert_int_equal(r.reasons.frames, 0);
    assert_int_equal(rights_change(&r, 0, MARKS_END, 0, REASON_CLEAN), 0);
    expect(GIB, behind(GIB), 2, 7);
}

static void what_each_takes(void **state)
{
    make(&large, two, 2);
    assert_int_equal(rights_left(0), 7);
    assert_int_equal(rights_left(REASON_WATCH_READ), EPT_EXECUTE);
    assert_int_equal(rights_left(REASON_WATCH_WRITE), EPT_READ | EPT_EXECUTE);
    assert_int_equal(rights_left(REASON_WATCH_EXECUTE), EPT_READ | EPT_WRITE);
    assert_int_equal(rights_left(REASON_ABSENT), 0);
    assert_int_equal(rights_left(REASON_SHARED | REASON_CLEAN), EPT_READ | EPT_EXECUTE);
    assert_int_equal(rights_left(REASON_CLEAN | REASON_WATCH_EXECUTE), EPT_READ);
    assert_int_equal(rights_change(&r, 0, 4096, REASON_WATCH_READ, 0), 0);
    expect(0, behind(0), 1, EPT_EXECUTE);
    assert_int_equal(rights_change(&r, 0, 4096, REASON_WATCH_EXECUTE, 0), 0);
    expect_none(0);
    expect(4096, behind(4096), 1, 7);
    rights_destroy(&r);
    /* a CPU without execute-only pages can give nothing there */
    assert_int_equal(rights_init(&r, &gm, &small, NULL), 0);
    rights_fill(&r);
    expect(0, behind(0), 1, 7);
    assert_int_equal(rights_change(&r, 0, 4096, REASON_WATCH_READ, 0), 0);
    expect_none(0);
    assert_int_equal(rights_fault(&r, 0, EPT_EXECUTE), -EAGAIN);
}

/* The layers from now on, and EPT has been told of [from, to). */
static void lay(const struct guest_memory_layer *layers, unsigned count, uint64_t from, uint64_t to)
{
    assert_int_equal(guest_memory_make_room(&gm), 0);
    assert_true(guest_memory_set_layers(&gm, layers, count));
    rights_refresh(&r, from, to - from);
}

/* What becomes of an access that was refused. */
static void faults(void **state)
{
    make(&large, two, 2);
    assert_int_equal(rights_fault(&r, 6 * MIB, EPT_READ), -EFAULT);
    assert_int_equal(rights_fault(&r, UINT64_MAX, EPT_READ), -EFAULT);
    assert_int_equal(rights_fault(&r, 5 * MIB, EPT_WRITE), 0); /* nothing was wrong */
    const struct guest_memory_layer l[] = {
        {.gpa = 4096,
         .size = 4096,
         .from = 0x300000,
         .shows = GUEST_LAYER_FRAMES,
         .over_ram = true},
        {.gpa = 8192, .size = 4096, .shows = GUEST_LAYER_NOTHING, .over_ram = true}};
    lay(l, 2, 4096, 12288);
    assert_int_equal(rights_fault(&r, 4096, EPT_WRITE), -EFAULT);
    assert_int_equal(rights_fault(&r, 4096, EPT_READ | EPT_WRITE), -EFAULT);
    assert_int_equal(rights_fault(&r, 4096, EPT_READ), 0);
    assert_int_equal(rights_change(&r, 4096, 4096, REASON_WATCH_EXECUTE | REASON_CLEAN, 0), 0);
    assert_int_equal(rights_fault(&r, 4096, EPT_WRITE), -EFAULT);
    assert_int_equal(rights_fault(&r, 4096, EPT_EXECUTE), -EAGAIN);
    assert_int_equal(rights_change(&r, 8192, 4096, REASON_WATCH_READ, 0), 0);
    assert_int_equal(rights_fault(&r, 8192 + 5, EPT_READ), -EFAULT);
    assert_int_equal(rights_change(&r, 12288, 4096, REASON_ABSENT, 0), 0);
    assert_int_equal(rights_fault(&r, 12288, EPT_READ), -EAGAIN);
    /* whose doing it is */
    assert_true(rights_blames(&r, 4096, EPT_EXECUTE, REASONS_WATCH));
    assert_false(rights_blames(&r, 4096, EPT_WRITE, REASONS_WATCH));
    assert_false(rights_blames(&r, 4096, EPT_READ, REASONS_WATCH));
    assert_false(rights_blames(&r, 8192, EPT_READ, REASONS_WATCH));
    assert_false(rights_blames(&r, 16384, EPT_WRITE, REASONS_WATCH));
    assert_false(rights_blames(&r, UINT64_MAX, EPT_WRITE, REASONS_WATCH));
    assert_true(rights_blames(&r, 12288, EPT_WRITE, REASON_ABSENT | REASON_CLEAN));
}

/* The cache may go at any time, and comes back with what is true. */
static void dropped(void **state)
{
    make(&large, two, 2);
    paddr page = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
    assert_int_equal(rights_place(&r, 0xfee00000, page, 4096, EPT_READ | EPT_WRITE), 0);
    assert_int_equal(rights_change(&r, 2 * MIB, 4096, REASON_WATCH_WRITE, 0), 0);
    uint64_t before = r.ept.generation;
    rights_drop(&r);
    assert_true(r.ept.generation > before);
    expect_none(0);
    expect_none(2 * MIB);
    expect_none(GIB);
    expect(0xfee00123, page + 0x123, 1, 3);
    assert_int_equal(rights_fault(&r, 0xfee00000, EPT_WRITE), 0); /* two that missed it */
    expect(0xfee00123, page + 0x123, 1, 3);
    rights_reap(&r, rights_retired(&r));
    assert_int_equal(rights_fault(&r, 2 * MIB, EPT_WRITE), -EAGAIN);
    assert_int_equal(rights_fault(&r, 2 * MIB + 4096, EPT_WRITE), 0);
    expect(2 * MIB, behind(2 * MIB), 1, EPT_READ | EPT_EXECUTE); /* a neighbour */
    expect(4 * MIB - 1, behind(4 * MIB - 1), 1, 7);
    expect_none(4 * MIB);
    expect_none(0);
    assert_int_equal(rights_fault(&r, GIB + 77 * MIB, EPT_READ), 0);
    expect(GIB + 76 * MIB, behind(GIB + 76 * MIB), 2, 7);
    expect_none(GIB);
    assert_int_equal(rights_change(&r, 2 * MIB, 4096, 0, REASON_WATCH_WRITE), 0);
    rights_drop(&r);
    assert_int_equal(rights_fault(&r, 5 * MIB, EPT_READ), 0); /* no more than its own block */
    expect(4 * MIB, behind(4 * MIB), 2, 7);
    expect_none(0);
    rights_destroy(&r);
    frame_free(page, FRAME_ORDER_4K);
}

/* What lies over RAM and beside it: leaves split for it, and are whole again without it. */
static void layers(void **state)
{
    struct guest_memory_layer l[] = {
        {0xe0000, 0x10000, 0x2000000, GUEST_LAYER_FRAMES, false, true},
        {0xf0000, 0x10000, GIB + 0xf0000, GUEST_LAYER_RAM, false, true},
        {3 * GIB, 4 * MIB, 0x2000000, GUEST_LAYER_FRAMES, true, false}};

    make(&large, two, 2);
    expect(0xe0000, behind(0xe0000), 2, 7);
    lay(l, 3, 0xe0000, 0x100000);
    rights_refresh(&r, 3 * GIB, 4 * MIB);
    expect(0xdf000, behind(0xdf000), 1, 7);
    expect(0xe0000, 0x2000000, 1, 5);
    expect(0xf0000, behind(GIB + 0xf0000), 1, 5);
    expect(0x100000, behind(0x100000), 1, 7);
    expect(2 * MIB, behind(2 * MIB), 2, 7);
    expect(GIB + 0xf0000, behind(GIB + 0xf0000), 2, 7);
    expect(3 * GIB + 2 * MIB, 0x2200000, 2, 7);
    expect_none(3 * GIB + 4 * MIB);
    assert_int_equal(rights_fault(&r, 0xe0000, EPT_WRITE), -EFAULT);
    assert_int_equal(rights_fault(&r, 0xf0000, EPT_WRITE), -EFAULT);
    assert_int_equal(rights_fault(&r, 3 * GIB + 4 * MIB, EPT_READ), -EFAULT);

    /* a cache: dropped, it comes back the same; and a reason is on top of it */
    rights_drop(&r);
    expect_none(0xe0000);
    assert_int_equal(rights_fault(&r, 0xe0000, EPT_EXECUTE), 0);
    expect(0xe0000, 0x2000000, 1, 5);
    expect(0xf0000, behind(GIB + 0xf0000), 1, 5);
    assert_int_equal(rights_fault(&r, 3 * GIB, EPT_WRITE), 0);
    expect(3 * GIB, 0x2000000, 2, 7);
    assert_int_equal(rights_change(&r, 0xf0000, 4096, REASON_WATCH_EXECUTE, 0), 0);
    expect(0xf0000, behind(GIB + 0xf0000), 1, 1);
    assert_int_equal(rights_fault(&r, GIB + 0xf0000, EPT_WRITE), 0);
    expect(GIB + 0xf0000, behind(GIB + 0xf0000), 2, 7); /* the address's, not the frame's */
    assert_int_equal(rights_fault(&r, 0xf0000, EPT_EXECUTE), -EAGAIN);
    assert_int_equal(rights_fault(&r, 0xf0000, EPT_WRITE), -EFAULT);
    assert_int_equal(rights_change(&r, 0xf0000, 4096, 0, REASON_WATCH_EXECUTE), 0);

    /* it can be written, shows a device, has moved, and is gone */
    l[1].writable = true;
    l[0].shows = GUEST_LAYER_NOTHING;
    lay(l, 3, 0xe0000, 0x100000);
    expect(0xf0000, behind(GIB + 0xf0000), 1, 7);
    expect_none(0xe0000);
    assert_int_equal(rights_fault(&r, 0xe0000, EPT_READ), -EFAULT);
    l[2].gpa = 3 * GIB + 4 * MIB;
    lay(l, 3, 3 * GIB, 3 * GIB + 8 * MIB);
    expect_none(3 * GIB);
    expect(3 * GIB + 6 * MIB, 0x2200000, 2, 7);
    lay(NULL, 0, 0xe0000, 0x100000);
    rights_refresh(&r, 3 * GIB + 4 * MIB, 4 * MIB);
    expect(0xe0000, behind(0xe0000), 2, 7);
    expect_none(3 * GIB + 4 * MIB);
    rights_reap(&r, rights_retired(&r));
}

/* RAM shows from elsewhere, and there it begins only after two pages. */
static void shows_nothing_and_then_ram(void **state)
{
    static const struct guest_memory_region regions[] = {{0, 6 * MIB}, {4 * GIB, 2 * MIB}};
    const struct guest_memory_layer l = {.gpa = 2 * MIB,
                                         .size = 0x4000,
                                         .from = 4 * GIB - 0x2000,
                                         .shows = GUEST_LAYER_RAM,
                                         .writable = true,
                                         .over_ram = true};

    make(&large, regions, 2);
    lay(&l, 1, 2 * MIB, 2 * MIB + 0x4000);
    assert_int_equal(guest_memory_next(&gm, 2 * MIB), 2 * MIB + 0x2000);
    assert_true(behind(2 * MIB + 0x2000) == behind(4 * GIB));
    expect_none(2 * MIB + 0x1000);
    assert_int_equal(rights_fault(&r, 2 * MIB + 0x1000, EPT_READ), -EFAULT);
    assert_int_equal(rights_fault(&r, 2 * MIB + 0x2000, EPT_READ), 0);
    expect(2 * MIB + 0x2000, behind(4 * GIB), 1, EPT_RWX);
}

/* No memory for tables: nothing says what is not so, and faults bring the rest back. */
static void layers_without_memory(void **state)
{
    const struct guest_memory_region region = {0, 4 * MIB};
    const struct guest_memory_layer l = {0xe0000, 0x10000, 0x2000000, GUEST_LAYER_FRAMES,
                                         false,   true};

    make(&large, &region, 1);
    mock_limit = mock_used;
    lay(&l, 1, 0xe0000, 0xf0000);
    expect_none(0xe0000);
    assert_int_equal(rights_fault(&r, 0xe0000, EPT_READ), -ENOMEM);
    mock_limit = MOCK_FRAMES;
    assert_int_equal(rights_fault(&r, 0xe0000, EPT_READ), 0);
    expect(0xe0000, 0x2000000, 1, 5);
    expect(0xdf000, behind(0xdf000), 1, 7);
}

/* A view is outdated by what is new, too: a range without memory has none to lose. */
static void layers_and_views(void **state)
{
    const struct guest_memory_layer l = {GIB, 0x10000, 0x2000000, GUEST_LAYER_FRAMES, false, false};
    const struct guest_memory_region region = {0, 4 * MIB};
    struct ept_window w = {0};

    make(&large, &region, 1);
    assert_int_equal(rights_open(&r, &w, 0, REASONS_WATCH), 0);
    assert_false(rights_outdated(&r, &w));
    lay(&l, 1, GIB, GIB + 0x10000);
    assert_true(rights_outdated(&r, &w));
    ept_window_destroy(&w);
}

/* A page that was given back: no leaf, nobody's device, and what it gets stands there when it is
 * missed again. Its neighbours are reached as before. */
static void given_back(void **state)
{
    const struct guest_memory_region region = {0, 6 * MIB};
    const uint64_t page = 2 * MIB + 4096;
    struct ept_window w = {0};
    paddr frame;

    make(&large, &region, 1);
    assert_int_equal(guest_memory_balloon(&gm), 0);
    assert_int_equal(guest_memory_give(&gm, page, &frame), 0);
    expect(page, frame, 2, 7); /* not yet */
    uint64_t generation = r.ept.generation;
    rights_withdraw(&r, page, 4096);
    assert_int_not_equal(r.ept.generation, generation);
    guest_memory_leave(&gm, frame, 4096);
    expect_none(page);
    expect(page - 4096, behind(page - 4096), 1, 7);
    expect(page + 4096, frame + 4096, 1, 7);
    assert_int_equal(rights_fault(&r, page, EPT_READ), -EAGAIN);
    assert_int_equal(rights_fault(&r, page - 4096, EPT_WRITE), 0); /* fills what is around it */
    expect_none(page);
    assert_int_equal(rights_reasons(&r, page, 1), 0); /* nobody has any */
    assert_false(rights_blames(&r, page, EPT_WRITE, REASONS_WATCH));
    assert_int_equal(rights_open(&r, &w, page, REASONS_WATCH), 0);
    assert_int_equal(guest_memory_back(&gm, page), 0);
    assert_int_equal(rights_fault(&r, page, EPT_READ), 0);
    expect(page, behind(page), 1, 7);
    /* One that is watched since: who watches is asked, when it has a frame. */
    assert_int_equal(guest_memory_give(&gm, page, &frame), 0);
    rights_withdraw(&r, page, 4096);
    guest_memory_leave(&gm, frame, 4096);
    assert_int_equal(rights_change(&r, page, 4096, REASON_WATCH_WRITE, 0), 0);
    assert_false(rights_blames(&r, page, EPT_WRITE, REASONS_WATCH));
    assert_int_equal(guest_memory_back(&gm, page), 0);
    assert_true(rights_blames(&r, page, EPT_WRITE, REASONS_WATCH));
    assert_int_equal(rights_fault(&r, page, EPT_READ), 0);
    expect(page, behind(page), 1, EPT_READ | EPT_EXECUTE);
    ept_window_destroy(&w);
    /* Without memory for the tables that are smaller, the whole leaf goes, and comes back. */
    mock_limit = mock_used + 1;
    assert_int_equal(guest_memory_give(&gm, 4 * MIB, &frame), 0);
    rights_withdraw(&r, 4 * MIB, 4096);
    guest_memory_leave(&gm, frame, 4096);
    expect_none(4 * MIB);
    mock_limit = MOCK_FRAMES;
    assert_int_equal(rights_fault(&r, 4 * MIB + 4096, EPT_READ), 0);
    expect_none(4 * MIB);
    expect(4 * MIB + 4096, behind(4 * MIB + 4096), 1, 7);
    rights_reap(&r, rights_retired(&r));
}

/* Two who settle: each frees what was retired before it began. */
static void reaped_by_two(void **state)
{
    const struct guest_memory_region region = {0, 4 * MIB};
    paddr first, second;

    make(&large, &region, 1);
    uint64_t frames = rights_frames(&r);
    assert_int_equal(rights_change(&r, 0, 4096, REASON_CLEAN, 0), 0);
    assert_int_equal(rights_change(&r, 0, 4096, 0, REASON_CLEAN), 0);
    first = rights_retired(&r);
    assert_true(first != 0);
    assert_int_equal(rights_change(&r, 2 * MIB, 4096, REASON_CLEAN, 0), 0);
    assert_int_equal(rights_change(&r, 2 * MIB, 4096, 0, REASON_CLEAN), 0);
    uint64_t now = rights_frames(&r);
    rights_reap(&r, first);
    assert_int_equal(rights_frames(&r), now - 1);
    second = rights_retired(&r);
    assert_true(second != 0 && second != first);
    rights_reap(&r, second);
    assert_int_equal(rights_frames(&r), frames);
}

static void places(void **state)
{
    const struct guest_memory_region region = {0, 4 * MIB};

    make(&large, &region, 1);
    expect(3 * MIB, behind(3 * MIB), 2, 7);
    /* ROM over RAM */
    assert_int_equal(rights_place(&r, 2 * MIB + 0x10000, 0x7000000, 0x4000, EPT_READ | EPT_EXECUTE),
                     0);
    expect(2 * MIB + 0xffff, behind(2 * MIB + 0xffff), 1, 7);
    expect(2 * MIB + 0x10000, 0x7000000, 1, 5);
    assert_int_equal(leaf.entry & 0x78, 0x70); /* write-back whatever the guest's PAT says */
    expect(2 * MIB + 0x13fff, 0x7003fff, 1, 5);
    expect(2 * MIB + 0x14000, behind(2 * MIB + 0x14000), 1, 7);
    assert_int_equal(leaf.entry & 0x78, 0x30);
    assert_int_equal(rights_fault(&r, 2 * MIB + 0x10000, EPT_WRITE), -EFAULT);
    assert_int_equal(rights_fault(&r, 2 * MIB + 0x10000, EPT_EXECUTE), 0);
    /* reasons count there, too */
    assert_int_equal(rights_change(&r, 2 * MIB + 0x11000, 4096, REASON_WATCH_EXECUTE, 0), 0);
    expect(2 * MIB + 0x11000, 0x7001000, 1, 1);
    assert_false(rights_blames(&r, 2 * MIB + 0x11000, EPT_WRITE, REASONS_WATCH));
    assert_true(rights_blames(&r, 2 * MIB + 0x11000, EPT_EXECUTE, REASONS_WATCH));
    assert_int_equal(rights_change(&r, 2 * MIB + 0x11000, 4096, 0, REASONS_WATCH), 0);
    /* beyond RAM, in large leaves */
    assert_int_equal(rights_place(&r, GIB, 64 * MIB, 4 * MIB, EPT_READ), 0);
    expect(GIB + 3 * MIB, 67 * MIB, 2, 1);
    assert_int_equal(rights_place(&r, GIB - 4096, 0x7000000, 8192, EPT_READ), -EEXIST);
    assert_int_equal(rights_place(&r, GIB + 4 * MIB - 4096, 0x7000000, 4096, EPT_READ), -EEXIST);
    assert_int_equal(rights_place(&r, GIB + 4 * MIB, 0x7000000, 4096, EPT_READ), 0);
    /* gone again: the RAM below is one leaf */
    assert_int_equal(rights_unplace(&r, 2 * MIB), -ENOENT);
    assert_int_equal(rights_unplace(&r, 2 * MIB + 0x10000), 0);
    expect(2 * MIB + 0x10000, behind(2 * MIB + 0x10000), 2, 7);
    assert_int_equal(rights_unplace(&r, GIB), 0);
    expect_none(GIB + 3 * MIB);
    expect(GIB + 4 * MIB, 0x7000000, 1, 1);

    assert_int_equal(rights_place(&r, 8 * MIB, 0x7000000, 4096, EPT_WRITE), -EINVAL);
    assert_int_equal(rights_place(&r, 8 * MIB, 0x7000000, 4096, 8 | EPT_READ), -EINVAL);
    assert_int_equal(rights_place(&r, 8 * MIB + 1, 0x7000000, 4096, EPT_READ), -EINVAL);
    assert_int_equal(rights_place(&r, 8 * MIB, 0x7000000, 0, EPT_READ), -EINVAL);
    assert_int_equal(rights_place(&r, MARKS_END - 4096, 0x7000000, 8192, EPT_READ), -EINVAL);
    unsigned free = RIGHTS_PLACES - r.places;
    for (unsigned i = 0; i < free; i++)
        assert_int_equal(rights_place(&r, 8 * MIB + i * 4096, 0x7000000, 4096, EPT_READ), 0);
    assert_int_equal(rights_place(&r, 16 * MIB, 0x7000000, 4096, EPT_READ), -ENOSPC);
}

/* What a view shows of gpa: its entry at the last level. */
static uint64_t seen(const struct ept_window *w, uint64_t gpa)
{
    paddr table = w->table[0];

    for (unsigned level = 4;; level--) {
        uint64_t entry = ((uint64_t *)phys_to_virt(table))[gpa >> (3 + 9 * level) & 511];
        if (level == 1 || entry & BIT(7) || !(entry & EPT_RWX))
            return entry;
        table = entry & 0xffffffffff000;
    }
}

static void views(void **state)
{
    struct ept_window w = {0};

    make(&large, two, 2);
    assert_int_equal(rights_place(&r, 0xfee00000, 0x7000000, 4096, EPT_READ | EPT_WRITE), 0);
    /* watched, and ROM: open to the instruction is what a ROM allows */
    assert_int_equal(rights_change(&r, 0, 2 * MIB, REASON_WATCH_READ | REASON_WATCH_EXECUTE, 0), 0);
    assert_int_equal(rights_change(&r, 12288, 4096, REASON_CLEAN, 0), 0);
    const struct guest_memory_layer rom = {
        .gpa = 4096, .size = 4096, .from = 4096, .shows = GUEST_LAYER_RAM, .over_ram = true};
    lay(&rom, 1, 4096, 8192);
    assert_int_equal(rights_open(&r, &w, 5, REASONS_WATCH), 0);
    assert_false(rights_outdated(&r, &w));
    assert_int_equal(seen(&w, 0), behind(0) | 0x37);
    assert_int_equal(seen(&w, 8192), 0);
    assert_int_equal(rights_open(&r, &w, 4096 + 5, REASONS_WATCH), 0);
    assert_int_equal(seen(&w, 4096), behind(4096) | 0x35);
    assert_int_equal(rights_open(&r, &w, 12288, REASONS_WATCH), 0);
    assert_int_equal(seen(&w, 12288), behind(12288) | 0x35); /* and what others allow */
    assert_int_equal(seen(&w, 0), behind(0) | 0x37);
    expect_none(0); /* to the others */
    assert_int_equal(rights_open(&r, &w, 7 * MIB, REASONS_WATCH), -EFAULT);
    assert_int_equal(rights_open(&r, &w, UINT64_MAX, REASONS_WATCH), -EFAULT);
    assert_int_equal(rights_open(&r, &w, 0xfee00000, REASONS_WATCH), 0);
    assert_int_equal(seen(&w, 0xfee00000), 0x7000000 | 0x73);
    assert_int_equal(rights_change(&r, 4 * MIB, 4096, REASON_CLEAN, 0), 0);
    assert_true(rights_outdated(&r, &w));

    ept_window_close(&w);
    assert_int_equal(rights_move(&r, &w, 0xfee00000, GIB + 0x5000), 0);
    assert_false(rights_outdated(&r, &w));
    assert_int_equal(seen(&w, 0xfee00000), 0);
    assert_int_equal(seen(&w, GIB + 0x5000), 0x7000000 | 0x73);
    assert_int_equal(seen(&w, GIB + 0x4000), behind(GIB + 0x4000) | 0x37);
    expect(GIB + 0x5000, behind(GIB + 0x5000), 2, 7);
    ept_window_close(&w);
    assert_int_equal(rights_move(&r, &w, 0xfed00000, GIB + 0x5000), 0); /* nothing stands there */
    assert_int_equal(seen(&w, GIB + 0x5000), 0);
    ept_window_destroy(&w);
}

/* No memory for tables: never more rights than there should be, and what is missing comes back. */
static void exhaustion(void **state)
{
    make(&large, two, 2);
    uint64_t used = mock_used;

    for (unsigned more = 0; more < 6; more++) {
        mock_limit = used + more;
        int result = rights_change(&r, GIB + 4096, 4096, REASON_WATCH_WRITE, 0);
        assert_int_equal(result, more < 5 ? -ENOMEM : 0); /* 4 for reasons, 1 for leaves */
        if (more >= 4) {
            assert_true(rights_lookup(&r, GIB + 4096, &leaf) < 0 || !(leaf.entry & EPT_WRITE));
            assert_int_equal(rights_reasons(&r, GIB + 4096, 1), REASON_WATCH_WRITE);
            assert_int_equal(rights_fault(&r, GIB + 4096, EPT_WRITE), -EAGAIN);
            assert_int_equal(rights_fault(&r, GIB, EPT_WRITE), more < 5 ? -ENOMEM : 0);
        } else {
            expect(GIB + 4096, behind(GIB + 4096), 2, 7);
        }
        mock_limit = MOCK_FRAMES;
        assert_int_equal(rights_fault(&r, GIB, EPT_WRITE), 0);
        assert_int_equal(rights_change(&r, GIB + 4096, 4096, 0, REASON_WATCH_WRITE), 0);
        rights_reap(&r, rights_retired(&r));
        assert_int_equal(mock_used, used);
        expect(GIB + 4096, behind(GIB + 4096), 2, 7);
    }
    rights_destroy(&r);
    mock_limit = mock_used;
    assert_int_equal(rights_init(&r, &gm, &large, NULL), -ENOMEM);
    /* What there is no memory for is missed. */
    for (unsigned limit = 1; limit < 6; limit++) {
        mock_limit = mock_used + limit;
        assert_int_equal(rights_init(&r, &gm, &large, NULL), 0);
        rights_fill(&r);
        assert_int_equal(rights_lookup(&r, 0, &leaf), limit < 3 ? -ENOENT : 0);
        assert_int_equal(rights_lookup(&r, GIB, &leaf), limit < 4 ? -ENOENT : 0);
        rights_destroy(&r);
    }
    mock_limit = MOCK_FRAMES;
    assert_int_equal(rights_init(&r, &gm, &large, NULL), 0);
}

/* RAM that is not there yet: no leaf, whoever asks; with its frames it has one, and so have those
 * that came with it. */
static void not_there_yet(void **state)
{
    const struct guest_memory_region region = {0, 6 * GIB};

    assert_int_equal(guest_memory_create(&gm, FRAME_VM, &region, 1), 0);
    assert_int_equal(rights_init(&r, &gm, &large, NULL), 0);
    rights_fill(&r);
    expect_none(0);
    assert_int_equal(rights_fault(&r, 5 * GIB, EPT_READ), -EAGAIN);
    assert_int_equal(rights_fault(&r, 6 * GIB, EPT_READ), -EFAULT);
    assert_int_equal(guest_memory_touch(&gm, 5 * GIB + 4096), 0);
    expect_none(5 * GIB);
    assert_int_equal(rights_fault(&r, 5 * GIB + 4096, EPT_WRITE), 0);
    expect(5 * GIB, behind(5 * GIB), 2, 7);
    expect_none(5 * GIB + 2 * MIB);
    /* Reasons are there before. */
    assert_int_equal(rights_change(&r, 8 * MIB, 4096, REASON_WATCH_WRITE, 0), 0);
    assert_false(rights_blames(&r, 8 * MIB, EPT_WRITE, REASONS_WATCH));
    assert_int_equal(guest_memory_touch(&gm, 8 * MIB), 0);
    assert_true(rights_blames(&r, 8 * MIB, EPT_WRITE, REASONS_WATCH));
    assert_int_equal(rights_fault(&r, 8 * MIB, EPT_READ), 0);
    expect(8 * MIB, behind(8 * MIB), 1, EPT_READ | EPT_EXECUTE);
    expect(8 * MIB + 4096, behind(8 * MIB + 4096), 1, 7);
    /* What came while EPT was not asked. */
    mock_max_order = 0;
    assert_int_equal(guest_memory_write(&gm, 3 * GIB + 4096, "a", 1), 0);
    rights_fill(&r);
    expect(3 * GIB + 4096, behind(3 * GIB + 4096), 1, 7);
    expect_none(3 * GIB + GUEST_TOGETHER);
    /* Cleared, nothing is left of it. */
    uint32_t done = 0;
    while (guest_memory_clear_some(&gm, &done))
        ;
    rights_drop(&r);
    rights_fill(&r);
    expect_none(3 * GIB + 4096);
    expect_none(5 * GIB);
}

/* A touch that has been promised finds its tables, too, when nothing else is left. */
static void tables_are_promised(void **state)
{
    static const struct guest_memory_region regions[] = {
        {0, 6 * MIB}, {GIB, MIB}, {5 * GIB, 4 * MIB}};
    const struct vmx_features *const features[] = {&large, &small};

    for (unsigned i = 0; i < 4; i++) {
        mock_reset();
        mock_max_order = i & 1 ? 0 : FRAME_ORDER_2M;
        mock_first = 8 * MIB / PAGE_SIZE;
        assert_int_equal(guest_memory_create(&gm, FRAME_VM, regions, 3), 0);
        assert_int_equal(rights_tables(&gm, features[i / 2]), i / 2 ? 16 + 3 + 1 + 2 + 6 : 16 + 6);
        assert_int_equal(guest_memory_promise(&gm, rights_tables(&gm, features[i / 2])), 0);
        mock_first = 1;
        assert_int_equal(rights_init(&r, &gm, features[i / 2], NULL), 0);
        mock_limit = mock_used + mock_promised;
        for (unsigned n = 0; n < 3; n++) {
            for (uint64_t at = 0; at < regions[n].size; at += PAGE_SIZE) {
                assert_int_equal(guest_memory_touch(&gm, regions[n].gpa + at), 0);
                assert_int_equal(rights_fault(&r, regions[n].gpa + at, EPT_WRITE), 0);
            }
        }
        assert_int_equal(guest_memory_there(&gm), 11 * MIB / PAGE_SIZE);
        rights_destroy(&r);
        guest_memory_destroy(&gm);
    }
}

/* And again after each reset, whoever takes meanwhile what is nobody's. */
static void tables_are_promised_again(void **state)
{
    static const struct guest_memory_region regions[] = {{0, 6 * MIB}, {5 * GIB, 4 * MIB}};

    mock_first = 12 * MIB / PAGE_SIZE;
    assert_int_equal(guest_memory_create(&gm, FRAME_VM, regions, 2), 0);
    assert_int_equal(guest_memory_promise(&gm, rights_tables(&gm, &large)), 0);
    mock_first = 1;
    assert_int_equal(rights_init(&r, &gm, &large, NULL), 0);
    assert_int_equal(rights_place(&r, 0xfee00000, 0x7000000, 4096, EPT_READ), 0);
    uint64_t others = mock_used + mock_promised; /* and so much is anybody's */
    for (unsigned i = 0; i < 4; i++) {
        mock_limit = mock_used + mock_promised;
        assert_int_equal(mock_limit, others);
        for (unsigned n = 0; n < 2; n++) {
            for (uint64_t at = 0; at < regions[n].size; at += 2 * MIB) {
                assert_int_equal(guest_memory_touch(&gm, regions[n].gpa + at), 0);
                assert_int_equal(rights_fault(&r, regions[n].gpa + at, EPT_WRITE), 0);
            }
        }
        mock_limit = MOCK_FRAMES;
        uint32_t done = 0;
        rights_drop(&r);
        rights_reap(&r, rights_retired(&r));
        while (guest_memory_clear_some(&gm, &done))
            ;
        assert_int_equal(guest_memory_there(&gm), 0);
    }
}

/* RAM that comes in pages: those that have come together are mapped together. */
static void in_pages(void **state)
{
    const struct guest_memory_region region = {MIB, 2 * MIB};

    mock_first = 16 * MIB / PAGE_SIZE;
    assert_int_equal(guest_memory_create(&gm, FRAME_VM, &region, 1), 0);
    assert_int_equal(rights_init(&r, &gm, &large, NULL), 0);
    assert_int_equal(guest_memory_touch(&gm, MIB + 0x25123), 0);
    assert_int_equal(rights_fault(&r, MIB + 0x25123, EPT_READ), 0);
    expect_none(MIB + 0x1f000);
    for (uint64_t gpa = MIB + 0x20000; gpa < MIB + 0x30000; gpa += PAGE_SIZE)
        expect(gpa, behind(gpa), 1, 7);
    expect_none(MIB + 0x30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_of_it, fresh, all_back),
        cmocka_unit_test_setup_teardown(split_and_merge, fresh, all_back),
        cmocka_unit_test_setup_teardown(what_each_takes, fresh, all_back),
        cmocka_unit_test_setup_teardown(faults, fresh, all_back),
        cmocka_unit_test_setup_teardown(dropped, fresh, all_back),
        cmocka_unit_test_setup_teardown(places, fresh, all_back),
        cmocka_unit_test_setup_teardown(layers, fresh, all_back),
        cmocka_unit_test_setup_teardown(shows_nothing_and_then_ram, fresh, all_back),
        cmocka_unit_test_setup_teardown(layers_without_memory, fresh, all_back),
        cmocka_unit_test_setup_teardown(given_back, fresh, all_back),
        cmocka_unit_test_setup_teardown(reaped_by_two, fresh, all_back),
        cmocka_unit_test_setup_teardown(layers_and_views, fresh, all_back),
        cmocka_unit_test_setup_teardown(views, fresh, all_back),
        cmocka_unit_test_setup_teardown(exhaustion, fresh, all_back),
        cmocka_unit_test_setup_teardown(not_there_yet, fresh, all_back),
        cmocka_unit_test_setup_teardown(tables_are_promised, fresh, all_back),
        cmocka_unit_test_setup_teardown(tables_are_promised_again, fresh, all_back),
        cmocka_unit_test_setup_teardown(in_pages, fresh, all_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
