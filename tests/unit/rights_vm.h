/* A VM's rights and the memory behind them, for the tests of guest/memory/rights.c. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>

#include "tests/unit/mock_frames.h"
#include "guest/memory/rights.h"

void spin_wait(struct spinlock *l, uint16_t ticket)
{
    fail_msg("a lock was left taken");
}

static struct rights r;
static struct guest_memory gm;
static struct ept_leaf leaf;

static const struct vmx_features small = {.ept_wb = true}, large = {.ept_wb = true,
                                                                    .ept_2m = true,
                                                                    .ept_1g = true,
                                                                    .ept_execute_only = true};

static inline int fresh(void **state)
{
    mock_reset();
    memset(&r, 0, sizeof(r));
    memset(&gm, 0, sizeof(gm));
    return 0;
}

static inline int all_back(void **state)
{
    rights_destroy(&r);
    guest_memory_destroy(&gm);
    assert_int_equal(mock_used, 0);
    assert_int_equal(mock_heap_blocks, 0);
    return 0;
}

/* All of it has frames. */
static inline void make(const struct vmx_features *f, const struct guest_memory_region *regions,
                        unsigned count)
{
    mock_first = 32 * MIB / PAGE_SIZE; /* what is below stays for tables, whose contents count */
    assert_int_equal(guest_memory_create(&gm, FRAME_VM, regions, count), 0);
    for (unsigned i = 0; i < count; i++)
        for (uint64_t at = 0; at < regions[i].size; at += PAGE_SIZE)
            assert_int_equal(guest_memory_touch(&gm, regions[i].gpa + at), 0);
    mock_first = 1;
    assert_int_equal(rights_init(&r, &gm, f, NULL), 0);
    rights_fill(&r);
}

static inline paddr behind(uint64_t gpa)
{
    struct guest_frame frame;

    assert_int_equal(guest_memory_lookup(&gm, gpa, &frame), 0);
    return frame.hpa;
}

static inline void expect(uint64_t gpa, uint64_t hpa, unsigned level, unsigned prot)
{
    if (rights_lookup(&r, gpa, &leaf) != 0)
        fail_msg("%llx is not mapped", (unsigned long long)gpa);
    assert_true(leaf.hpa == hpa);
    assert_int_equal(leaf.level, level);
    assert_int_equal(leaf.entry & EPT_RWX, prot);
}

static inline void expect_none(uint64_t gpa)
{
    assert_int_equal(rights_lookup(&r, gpa, &leaf), -ENOENT);
}

static const struct guest_memory_region two[] = {{0, 6 * MIB}, {GIB, 80 * MIB}};
