/* links: arch/x86/errata.c arch/x86/mitigations.c arch/x86/lib/cpu_id.c arch/x86/lib/format.c */
/* What processors say of themselves, and what is made of it where it is odd or not there. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/unit/generations.h"

/* CPUID shows registers that an emulator does not have; and a processor from before leaf 7. */
static void test_missing(void **state)
{
    become(named("Cascade Lake"));
    processor.lacks_msrs = true;
    choose();
    assert_int_equal(s.capabilities, 0);
    assert_string_equal(steps_of(&m), "retpoline rsb-fill verw");
    assert_string_equal(open_of(&m), "IBRS IBPB L1TF GDS");
    become(named("Nehalem as it was made"));
    processor.max = 1;
    choose();
    assert_int_equal(s.features | s.controls | s.thread_bits, 0);
    assert_false(s.small_core || s.tsx);
    assert_string_equal(steps_of(&m), "retpoline rsb-fill");
}

/* Each register is tried, with nothing that does something, and is as it was afterwards. */
static void test_registers_tried(void **state)
{
    become(named("Skylake"));
    processor.spec_ctrl = SPEC_CTRL_SSBD;
    choose();
    assert_int_equal(processor.spec_ctrl, SPEC_CTRL_SSBD);
    assert_int_equal(processor.commands, 0);
    processor.forgets = true;
    choose();
    assert_string_equal(steps_of(&m), "retpoline rsb-fill l1d");
    processor.forgets = false;
    processor.unwanted = MSR_PRED_CMD;
    choose();
    assert_string_equal(steps_of(&m), "retpoline rsb-fill l1d");
    processor.unwanted = MSR_FLUSH_CMD;
    choose();
    assert_string_equal(steps_of(&m), "ibrs rsb-fill ibpb verw");
    assert_string_equal(open_of(&m), "L1TF");
}

static void test_thread_bits(void **state)
{
    become(named("Skylake"));
    processor.leaf0b_eax = 0xffffffe2; /* the upper bits are reserved */
    choose();
    assert_int_equal(s.thread_bits, 2);
}

/* Of another maker nothing is known but what is so everywhere; another family has no list. */
static void test_others(void **state)
{
    become(named("Skylake as it was made"));
    processor.vendor = "  Shanghai  ";
    choose();
    assert_string_equal(steps_of(&m), "retpoline rsb-fill");
    assert_string_equal(open_of(&m), "IBPB");
    become(named("Skylake as it was made"));
    processor.leaf1_eax = (processor.leaf1_eax & ~0xf00u) | 0xf00;
    choose();
    assert_string_equal(open_of(&m), "IBPB L1TF MDS TAA");
}

static void test_vmscape_needs_nothing(void **state)
{
    become(named("Sandy Bridge"));
    choose();
    assert_true(speculation_errata(&s) & ERRATUM_VMSCAPE);
    become(named("Ice Lake SP"));
    choose();
    assert_false(speculation_errata(&s) & ERRATUM_VMSCAPE);
}

/* No microcode, no clock, no hypervisor: Bochs' Skylake, which has none of it. */
static void test_emulated(void **state)
{
    become(named("Skylake as it was made"));
    probe.microcode = 0;
    choose();
    assert_true(s.emulated);
    assert_string_equal(steps_of(&m), "");
    assert_string_equal(open_of(&m), "");
    processor.lacks_msrs = true;
    choose();
    assert_string_equal(steps_of(&m), "");
    processor.lacks_msrs = false;
    processor.platform_info = 0x80000000; /* as KVM has it: no ratio */
    choose();
    assert_true(s.emulated);
    /* Each of these alone is silicon's. */
    processor.platform_info = 0x1c00;
    choose();
    assert_string_equal(steps_of(&m), "retpoline rsb-fill");
    processor.platform_info = 0;
    processor.leaf1_ecx |= (uint32_t)BIT(31);
    choose();
    assert_string_equal(steps_of(&m), "retpoline rsb-fill");
    processor.leaf1_ecx &= ~(uint32_t)BIT(31);
    probe.microcode = 0xb0;
    choose();
    assert_string_equal(steps_of(&m), "retpoline rsb-fill");
}

static void test_store_bypass(void **state)
{
    become(named("Skylake"));
    choose();
    assert_true(speculation_errata(&s) & ERRATUM_SSB);
    become(named("Silvermont"));
    choose();
    assert_false(speculation_errata(&s) & ERRATUM_SSB);
    become(named("unknown, good"));
    choose();
    assert_false(speculation_errata(&s) & ERRATUM_SSB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_missing, setup),
        cmocka_unit_test_setup(test_registers_tried, setup),
        cmocka_unit_test_setup(test_thread_bits, setup),
        cmocka_unit_test_setup(test_others, setup),
        cmocka_unit_test_setup(test_vmscape_needs_nothing, setup),
        cmocka_unit_test_setup(test_emulated, setup),
        cmocka_unit_test_setup(test_store_bypass, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
