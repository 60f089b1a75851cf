/* links: guest/vm/clearing.c guest/memory/rights.c guest/memory/marks.c vmx/ept.c mm/guest_memory.c mm/guest_layers.c mm/guest_ram.c mm/guest_balloon.c mm/mtrr.c */
/* RAM of a VM that begins anew: of what was there EPT knows nothing when it begins. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>

#include "arch/x86/cpu.h"
#include "guest/vm/vm.h"
#include "tests/unit/mock_frames.h"

#define RAM (64 * MIB)

static struct vm vm;
static struct vm_life life;
static struct ept_leaf leaf;
static uint64_t now;

uint64_t test_tsc(void)
{
    return now += 10;
}

void spin_wait(struct spinlock *l, uint16_t ticket)
{
    fail_msg("a lock was left taken");
}

static int setup(void **state)
{
    static const struct vmx_features features = {.ept_wb = true, .ept_2m = true, .ept_1g = true};
    const struct guest_memory_region region = {0, RAM};

    mock_reset();
    memset(&vm, 0, sizeof(vm));
    memset(&life, 0, sizeof(life));
    now = 0;
    vm.life = &life;
    assert_int_equal(guest_memory_create(&vm.memory, FRAME_VM, &region, 1), 0);
    assert_int_equal(guest_memory_promise(&vm.memory, rights_tables(&vm.memory, &features)), 0);
    assert_int_equal(rights_init(&vm.rights, &vm.memory, &features, NULL), 0);
    for (uint64_t gpa = 0; gpa < RAM; gpa += 2 * MIB)
        assert_int_equal(guest_memory_touch(&vm.memory, gpa), 0);
    rights_fill(&vm.rights);
    assert_int_equal(rights_lookup(&vm.rights, RAM - 1, &leaf), 0);
    return 0;
}

static int teardown(void **state)
{
    rights_destroy(&vm.rights);
    guest_memory_destroy(&vm.memory);
    assert_int_equal(mock_used, 0);
    assert_int_equal(mock_promised, 0);
    assert_int_equal(mock_heap_blocks, 0);
    return 0;
}

static void expect_nothing(void)
{
    for (uint64_t gpa = 0; gpa < RAM; gpa += PAGE_SIZE)
        assert_int_equal(rights_lookup(&vm.rights, gpa, &leaf), -ENOENT);
    assert_int_equal(guest_memory_there(&vm.memory), 0);
}

static void in_pieces(void **state)
{
    unsigned pieces = 1;

    while (vm_clear_some(&vm, now + 45)) /* a few blocks each */
        pieces++;
    assert_uint_in_range(pieces, 5, 16);
    expect_nothing();
    assert_uint_in_range(life.clear_ticks, 32 * 10, now);
    assert_false(vm_clear_some(&vm, UINT64_MAX));
}

/* Somebody watches memory before all of it is clear, or does so no more. */
static void watched_meanwhile(void **state)
{
    const unsigned reason = REASON_WATCH_WRITE;

    for (unsigned piece = 0; vm_clear_some(&vm, 0); piece++) {
        if (piece % 10 == 3)
            assert_int_equal(rights_change(&vm.rights, MIB, PAGE_SIZE, reason, 0), 0);
        if (piece % 10 == 5)
            assert_int_equal(rights_change(&vm.rights, MIB, PAGE_SIZE, 0, reason), 0);
    }
    expect_nothing();
    /* As many tables are promised as before. */
    assert_int_equal(mock_promised, RAM / PAGE_SIZE + guest_memory_tables(&vm.memory)->pages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(watched_meanwhile, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
