/* links: guest/memory/rights.c guest/memory/marks.c vmx/ept.c mm/guest_memory.c mm/guest_layers.c mm/guest_ram.c mm/guest_balloon.c mm/mtrr.c */
/* iTLB multihit: what may be executed is in small leaves, and in large ones again later. */
#include "tests/unit/rights_vm.h"

static const struct vmx_features careful = {
    .ept_wb = true, .ept_2m = true, .ept_1g = true, .small_executable = true};

/* iTLB multihit: there is never a leaf that is large and may be executed. */
static void no_large_code(void)
{
    for (uint64_t gpa = 0; gpa < 2 * GIB + 8 * MIB; gpa += 2 * MIB)
        if (rights_lookup(&r, gpa, &leaf) == 0 && leaf.level > 1 && leaf.entry & EPT_EXECUTE)
            fail_msg("%llx is large and executable", (unsigned long long)gpa);
}

static void small_code(void **state)
{
    const uint64_t code = GIB + 4 * MIB + 0x5000;

    make(&careful, two, 2);
    expect(0, behind(0), 2, EPT_READ | EPT_WRITE);
    expect(code, behind(code), 2, EPT_READ | EPT_WRITE);
    no_large_code();
    assert_int_equal(rights_reasons(&r, code, PAGE_SIZE), 0); /* nobody has given one */
    assert_int_equal(rights_fault(&r, code, EPT_READ), 0);
    expect(code, behind(code), 2, EPT_READ | EPT_WRITE);
    /* executed: its 2 MiB are small, and nothing else */
    uint64_t generation = r.ept.generation;
    assert_int_equal(rights_fault(&r, code + 7, EPT_EXECUTE), 1);
    assert_true(r.ept.generation > generation); /* views are made anew */
    for (uint64_t gpa = GIB + 4 * MIB; gpa < GIB + 6 * MIB; gpa += 4096)
        expect(gpa, behind(gpa), 1, 7);
    expect(GIB + 2 * MIB, behind(GIB + 2 * MIB), 2, EPT_READ | EPT_WRITE);
    expect(GIB + 6 * MIB, behind(GIB + 6 * MIB), 2, EPT_READ | EPT_WRITE);
    assert_int_equal(rights_fault(&r, code, EPT_EXECUTE), 0); /* another vCPU was later */
    /* which a cache that is dropped does not forget */
    rights_drop(&r);
    assert_int_equal(rights_fault(&r, code, EPT_READ), 0);
    expect(code, behind(code), 1, 7);
    assert_int_equal(rights_fault(&r, 4 * MIB, EPT_WRITE), 0);
    expect(4 * MIB, behind(4 * MIB), 2, EPT_READ | EPT_WRITE);
    no_large_code();
    rights_reap(&r, rights_retired(&r));
}

/* Others' reasons hold beside it, and are found out after it. */
static void small_code_and_reasons(void **state)
{
    const uint64_t code = GIB + 4 * MIB + 0x5000;

    make(&careful, two, 2);
    assert_int_equal(rights_change(&r, code, 4096, REASON_WATCH_EXECUTE | REASON_CLEAN, 0), 0);
    expect(code, behind(code), 1, EPT_READ);
    assert_false(rights_blames(&r, code, EPT_EXECUTE, REASONS_WATCH));
    assert_int_equal(rights_fault(&r, code, EPT_EXECUTE), 1);
    assert_true(rights_blames(&r, code, EPT_EXECUTE, REASONS_WATCH));
    assert_int_equal(rights_fault(&r, code, EPT_EXECUTE), -EAGAIN);
    expect(code + 4096, behind(code + 4096), 1, 7);
    assert_int_equal(rights_reasons(&r, code, PAGE_SIZE), REASON_WATCH_EXECUTE | REASON_CLEAN);
    assert_int_equal(rights_change(&r, code, 4096, 0, REASON_WATCH_EXECUTE | REASON_CLEAN), 0);
    expect(code, behind(code), 1, 7);
    assert_int_equal(rights_fault(&r, 2 * GIB + 64 * MIB, EPT_EXECUTE), -EFAULT);
    assert_int_equal(rights_fault(&r, code + 4 * MIB, EPT_EXECUTE), 1);
    no_large_code();
    rights_reap(&r, rights_retired(&r));
}

/* Where there is no memory for small leaves, nothing large may be executed either. */
static void small_code_without_memory(void **state)
{
    make(&careful, two, 2);
    for (unsigned left = 0;; left++) {
        mock_limit = mock_used + left;
        int result = rights_fault(&r, GIB, EPT_EXECUTE);
        mock_limit = MOCK_FRAMES;
        no_large_code();
        if (result >= 0)
            break;
        assert_int_equal(result, -ENOMEM);
    }
    assert_int_equal(rights_fault(&r, GIB, EPT_EXECUTE), 0);
    expect(GIB, behind(GIB), 1, 7);
}

static void large_again(void **state)
{
    make(&careful, two, 2);
    /* of each piece of RAM a table of small leaves may be wanted, and is promised */
    assert_int_equal(rights_tables(&gm, &careful), rights_tables(&gm, &small));
    uint64_t tables = rights_frames(&r);
    assert_int_equal(rights_fault(&r, 2 * MIB, EPT_EXECUTE), 1);
    assert_int_equal(rights_fault(&r, GIB, EPT_EXECUTE), 1);
    assert_false(rights_enlarge(&r, 5, 1000)); /* the first time is when it begins */
    /* a GiB each time, and not so soon after the last one */
    assert_true(rights_enlarge(&r, 1005, 1000));
    expect(2 * MIB, behind(2 * MIB), 2, EPT_READ | EPT_WRITE);
    expect(GIB, behind(GIB), 1, 7);
    assert_int_not_equal(r.ept.retired, 0);
    assert_false(rights_enlarge(&r, 2004, 1000));
    expect(GIB, behind(GIB), 1, 7);
    assert_true(rights_enlarge(&r, 2005, 1000));
    expect(GIB, behind(GIB), 2, EPT_READ | EPT_WRITE);
    no_large_code();
    rights_reap(&r, rights_retired(&r));
    assert_int_equal(rights_frames(&r), tables);
    /* round again, with what others want */
    assert_int_equal(rights_fault(&r, 2 * MIB, EPT_EXECUTE), 1);
    assert_int_equal(rights_change(&r, 2 * MIB, 4096, REASON_WATCH_WRITE, 0), 0);
    assert_true(rights_enlarge(&r, 3005, 1000));
    expect(2 * MIB, behind(2 * MIB), 1, EPT_READ);
    expect(2 * MIB + 4096, behind(2 * MIB + 4096), 1, EPT_READ | EPT_WRITE);
    assert_int_equal(rights_reasons(&r, 2 * MIB, PAGE_SIZE), REASON_WATCH_WRITE);
    rights_reap(&r, rights_retired(&r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(small_code, fresh, all_back),
        cmocka_unit_test_setup_teardown(small_code_and_reasons, fresh, all_back),
        cmocka_unit_test_setup_teardown(small_code_without_memory, fresh, all_back),
        cmocka_unit_test_setup_teardown(large_again, fresh, all_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
