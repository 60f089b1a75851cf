/* links: guest/cpu/msr_policy.c */
/* Which MSRs a guest reaches without an exit. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest/cpu/msr_policy.h"

static struct msr_features features;

static int fresh(void **unused)
{
    features = (struct msr_features){.rdtscp = true, .xsaves = true, .waitpkg = true};
    return 0;
}

static uint8_t bitmap[4096];

static bool exits(uint32_t msr, bool write)
{
    unsigned at = (write ? 0x800 : 0) + (msr >= 0xc0000000 ? 0x400 : 0) + (msr & 0x1fff) / 8;
    return bitmap[at] >> (msr & 7) & 1;
}

static unsigned passed(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < sizeof(bitmap); i++)
        n += 8 - (unsigned)__builtin_popcount(bitmap[i]);
    return n;
}

static void test_what_the_rows_pass(void **unused)
{
    msr_bitmap_build(bitmap, &features);
    static const uint32_t both[] = {0x174,      0x175,      0x176,      0x277,
                                    0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
                                    0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103};
    for (unsigned i = 0; i < ARRAY_SIZE(both); i++) {
        assert_false(exits(both[i], false));
        assert_false(exits(both[i], true));
    }
    assert_false(exits(MSR_TSC, false));
    assert_true(exits(MSR_TSC, true));
    assert_false(exits(MSR_EFER, false));
    assert_true(exits(MSR_EFER, true));
    assert_int_equal(passed(), 2 * ARRAY_SIZE(both) + 2); /* and nothing else */

    features.rdtscp = false;
    msr_bitmap_build(bitmap, &features);
    assert_true(exits(MSR_TSC_AUX, false));
    assert_true(exits(MSR_TSC_AUX, true));
}

/* Commands pass; SPEC_CTRL does when it has been written, and in x2APIC mode as well. */
static void test_speculation(void **unused)
{
    unsigned without;

    msr_bitmap_build(bitmap, &features);
    without = passed();
    features.spec_ctrl = 1;
    features.flush = features.has_capabilities = true;
    for (unsigned i = 0; i < 2; i++) {
        msr_bitmap_build(bitmap, &features);
        assert_true(exits(MSR_PRED_CMD, false));
        assert_false(exits(MSR_PRED_CMD, true));
        assert_true(exits(MSR_FLUSH_CMD, false));
        assert_false(exits(MSR_FLUSH_CMD, true));
        assert_true(exits(MSR_ARCH_CAPABILITIES, false));
        assert_int_equal(exits(MSR_SPEC_CTRL, false), i == 0);
        assert_int_equal(exits(MSR_SPEC_CTRL, true), i == 0);
        assert_int_equal(passed(), without + 2 + 2 * i);
        features.spec_passed = true;
    }
    features.x2apic_mode = true;
    msr_bitmap_build(bitmap, &features);
    assert_false(exits(MSR_SPEC_CTRL, true));
}

static void test_x2apic_mode(void **unused)
{
    msr_bitmap_build(bitmap, &features);
    unsigned without = passed();

    features.apic_register = features.virtual_interrupt = true;
    msr_bitmap_build(bitmap, &features);
    assert_int_equal(passed(), without); /* not in x2APIC mode */

    features.x2apic_mode = true;
    msr_bitmap_build(bitmap, &features);
    static const uint32_t reads[] = {0x802, 0x803, 0x808, 0x80a, 0x80d, 0x80f,
                                     0x810, 0x827, 0x828, 0x832, 0x838, 0x83e};
    static const uint32_t read_exits[] = {0x800, 0x801, 0x804, 0x80b, 0x80e, 0x82f,
                                          0x830, 0x831, 0x839, 0x83f, 0x840};
    for (unsigned i = 0; i < ARRAY_SIZE(reads); i++)
        assert_false(exits(reads[i], false));
    for (unsigned i = 0; i < ARRAY_SIZE(read_exits); i++)
        assert_true(exits(read_exits[i], false));
    for (uint32_t msr = 0x800; msr < 0x900; msr++)
        assert_int_equal(exits(msr, true), msr != 0x808 && msr != 0x80b && msr != 0x83f);
    assert_true(exits(MSR_TSC_DEADLINE, true));

    features.virtual_interrupt = false;
    msr_bitmap_build(bitmap, &features);
    assert_true(exits(0x80b, true));
    assert_true(exits(0x83f, true));
    assert_true(exits(0x80a, false));
    assert_true(exits(0x820, false));
    assert_false(exits(0x80d, false));
    assert_false(exits(0x808, true));

    features.apic_register = false;
    msr_bitmap_build(bitmap, &features);
    assert_int_equal(passed(), without + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_what_the_rows_pass, fresh),
        cmocka_unit_test_setup(test_speculation, fresh),
        cmocka_unit_test_setup(test_x2apic_mode, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
