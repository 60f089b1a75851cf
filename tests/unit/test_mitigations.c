/* links: arch/x86/errata.c arch/x86/mitigations.c arch/x86/lib/cpu_id.c arch/x86/lib/format.c */
/* What is done about errata of speculation, and what is left open, on every generation. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/unit/generations.h"

static void test_generations(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(generations); i++) {
        const struct generation *g = &generations[i];

        become(g);
        choose();
        if (strcmp(steps_of(&m), g->steps))
            fail_msg("%s: steps %s, not %s", g->name, steps_of(&m), g->steps);
        if (strcmp(open_of(&m), g->open))
            fail_msg("%s: open %s, not %s", g->name, open_of(&m), g->open);
    }
}

static void test_spec_ctrl(void **state)
{
    become(named("Sandy Bridge"));
    choose();
    assert_int_equal(m.spec_ctrl, 0);
    become(named("Skylake"));
    choose();
    assert_int_equal(m.spec_ctrl, SPEC_CTRL_IBRS);
    become(named("Sapphire Rapids"));
    choose();
    assert_int_equal(m.spec_ctrl, SPEC_CTRL_IBRS | SPEC_CTRL_BHI_DIS_S);
}

/* Each bit that denies an erratum, or says what can be done, alone makes the difference. */
static void differs(const char *name, uint64_t capability, uint32_t feature, const char *steps,
                    const char *open)
{
    become(named(name));
    processor.capabilities ^= capability;
    processor.leaf7_edx ^= feature;
    choose();
    assert_string_equal(steps_of(&m), steps);
    assert_string_equal(open_of(&m), open);
}

static void test_each_bit(void **state)
{
    differs("Whiskey Lake", C(MDS_NO), 0, "ibrs rsb-fill ibpb", "");
    differs("Whiskey Lake", C(RDCL_NO), 0, "ibrs rsb-fill ibpb verw", ""); /* SKIP_L1DFL is left */
    differs("Whiskey Lake", C(RDCL_NO) | C(SKIP_L1DFL), 0, "ibrs rsb-fill ibpb l1d", "");
    differs("Whiskey Lake", C(RDCL_NO) | C(SKIP_L1DFL), FLUSH, "ibrs rsb-fill ibpb verw", "L1TF");
    differs("Whiskey Lake", 0, CLEAR, "ibrs rsb-fill ibpb", "MDS");
    differs("Whiskey Lake", 0, RNG, "ibrs rsb-fill ibpb verw", "SRBDS");
    differs("Whiskey Lake", C(GDS_CTRL), 0, "ibrs rsb-fill ibpb verw", "GDS");
    differs("Whiskey Lake", C(GDS_CTRL) | C(GDS_NO), 0, "ibrs rsb-fill ibpb verw", "");
    differs("Cascade Lake", C(TAA_NO), 0, "aligned eibrs bhi-clear rsb-fill ibpb", "ITS");
    differs("Cascade Lake", C(TSX_CTRL), 0, "aligned eibrs bhi-clear rsb-fill ibpb verw", "ITS");
    differs("Cascade Lake", C(TSX_CTRL), CLEAR, "aligned eibrs bhi-clear rsb-fill ibpb", "ITS TAA");
    differs("Cascade Lake", C(ITS_NO), 0, "eibrs bhi-clear rsb-one ibpb tsx-off", "");
    differs("Cascade Lake", C(ITS_NO) | C(PBRSB_NO), 0, "eibrs bhi-clear ibpb tsx-off", "");
    differs("Cascade Lake", C(BHI_NO), 0, "aligned eibrs rsb-fill ibpb tsx-off", "ITS");
    differs("Cascade Lake", C(IBRS_ALL), 0, "ibrs rsb-fill ibpb tsx-off", "");
    differs("Cascade Lake", 0, IBRS, "retpoline rsb-fill tsx-off", "IBRS IBPB");
    differs("Alder Lake, small", C(RFDS_NO), 0, "eibrs bhi-dis rsb-one ibpb", "");
    differs("Alder Lake, large", C(RFDS_CLEAR), 0, "eibrs bhi-dis rsb-one ibpb verw", "");
    differs("Haswell", C(RSBA), CAP, "ibrs rsb-fill ibpb l1d", "");
    differs("Silvermont", 0, 0, "retpoline rsb-fill ibpb verw", "");
}

/* An Alder Lake that does not show its subleaf 2 has no BHI_DIS_S. Who has that has no ITS. */
static void test_controls(void **state)
{
    become(named("Alder Lake, large"));
    processor.max7 = 1;
    choose();
    assert_string_equal(steps_of(&m), "eibrs bhi-clear rsb-one ibpb");
    become(named("Cascade Lake"));
    processor.max7 = 2;
    processor.leaf7_2_edx = CONTROL_BHI;
    choose();
    assert_string_equal(steps_of(&m), "eibrs bhi-dis rsb-one ibpb tsx-off");
    assert_string_equal(open_of(&m), "");
}

/* Stale data of MMIO concerns who lets a guest reach MMIO. */
static void test_mmio(void **state)
{
    use.mmio = true;
    become(named("Ice Lake SP"));
    choose();
    assert_string_equal(steps_of(&m), "eibrs bhi-clear rsb-one ibpb verw");
    processor.capabilities &= ~(uint64_t)C(FB_CLEAR);
    choose();
    assert_string_equal(open_of(&m), "MMIO");
    processor.capabilities |= MMIO_NO & ~C(PSDP_NO); /* not all three */
    choose();
    assert_string_equal(open_of(&m), "MMIO");
    processor.capabilities |= MMIO_NO;
    choose();
    assert_string_equal(steps_of(&m), "eibrs bhi-clear rsb-one ibpb");
    assert_string_equal(open_of(&m), "");
    /* MD_CLEAR does for who has MDS: the flush clears, too. */
    become(named("Haswell EP"));
    choose();
    assert_string_equal(steps_of(&m), "retpoline rsb-fill ibpb l1d");
    assert_string_equal(open_of(&m), "");
}

static void test_microcode_switched_off(void **state)
{
    become(named("Skylake"));
    processor.mcu_opt = MCU_OPT_RNGDS_OFF;
    choose();
    assert_string_equal(open_of(&m), "SRBDS");
    processor.mcu_opt = MCU_OPT_GDS_OFF;
    choose();
    assert_string_equal(open_of(&m), "GDS");
    /* Nobody without a control for it has the register. */
    become(named("Sandy Bridge"));
    processor.mcu_opt = ~0ULL;
    choose();
    assert_int_equal(s.mcu_opt, 0);
}

static void test_no_avx_no_random(void **state)
{
    become(named("Skylake as it was made"));
    processor.leaf1_ecx = 0;
    choose();
    assert_string_equal(open_of(&m), "IBRS IBPB L1TF MDS TAA");
    processor.leaf7_ebx |= (uint32_t)BIT(18); /* RDSEED is enough */
    choose();
    assert_string_equal(open_of(&m), "IBRS IBPB L1TF MDS TAA SRBDS");
}

static void test_threads(void **state)
{
    use.threads = true;
    become(named("Granite Rapids"));
    choose();
    assert_string_equal(open_of(&m), "SMT");
    become(named("Bonnell"));
    choose();
    assert_string_equal(open_of(&m), "");
}

static void test_off(void **state)
{
    become(named("Skylake"));
    choose();
    struct mitigations all = m;
    assert_int_equal(mitigations_off(&m), all.steps);
    assert_int_equal(m.steps, 0);
    assert_int_equal(m.spec_ctrl, 0);
    assert_int_equal(m.open, all.open);
}

#define S(symbol) ((uint32_t)BIT(MITIGATION_##symbol))

static void test_force(void **state)
{
    uint32_t plain = S(RETPOLINE) | S(VERW) | S(RSB_FILL) | S(BHI_CLEAR);

    become(named("Bonnell"));
    choose();
    assert_null(mitigations_refuse(&s, plain));
    mitigations_force(&m, plain);
    assert_string_equal(steps_of(&m), "retpoline bhi-clear rsb-fill verw");
    static const struct {
        uint32_t step;
        const char *needs;
    } refused[] = {
        {S(IBRS), "IA32_SPEC_CTRL"}, {S(EIBRS), "IA32_SPEC_CTRL"}, {S(IBPB), "IA32_PRED_CMD"},
        {S(BHI_DIS), "BHI_DIS_S"},   {S(L1D), "IA32_FLUSH_CMD"},   {S(TSX_OFF), "IA32_TSX_CTRL"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(refused); i++) {
        const char *why = mitigations_refuse(&s, refused[i].step | S(RSB_ONE));

        assert_non_null(why);
        assert_non_null(strstr(why, refused[i].needs));
    }
    become(named("Cascade Lake"));
    processor.leaf7_2_edx = CONTROL_BHI;
    processor.max7 = 2;
    processor.capabilities |= C(BHI_NO);
    choose();
    assert_null(mitigations_refuse(&s, S(IBRS) | S(BHI_DIS) | S(L1D) | S(TSX_OFF) | S(IBPB)));
    mitigations_force(&m, S(BHI_DIS));
    assert_int_equal(m.spec_ctrl, SPEC_CTRL_IBRS | SPEC_CTRL_BHI_DIS_S);
}

/* One way for indirect branches: the one that was asked for. */
static void test_force_branches(void **state)
{
    become(named("Cascade Lake"));
    choose();
    mitigations_force(&m, S(RETPOLINE));
    assert_string_equal(steps_of(&m), "retpoline eibrs bhi-clear rsb-fill ibpb tsx-off");
    assert_non_null(mitigations_refuse(&s, S(RETPOLINE) | S(ALIGNED)));
    become(named("Sandy Bridge"));
    choose();
    mitigations_force(&m, S(ALIGNED));
    assert_string_equal(steps_of(&m), "aligned rsb-fill ibpb l1d");
}

/* What another processor of the machine cannot do is not chosen here either. */
static void test_possible(void **state)
{
    become(named("Skylake"));
    use.possible = ~(S(IBRS) | S(L1D) | S(IBPB));
    choose();
    assert_string_equal(steps_of(&m), "retpoline rsb-fill verw");
    assert_string_equal(open_of(&m), "IBRS IBPB L1TF");
    become(named("Sapphire Rapids"));
    use.possible = ~S(BHI_DIS);
    choose();
    assert_string_equal(steps_of(&m), "eibrs bhi-clear rsb-one ibpb");
}

static void test_text(void **state)
{
    char text[512], few[12];

    mitigations_text(text, sizeof(text), 0);
    assert_string_equal(text, "nothing");
    mitigations_text(text, sizeof(text), S(EIBRS) | S(IBPB));
    assert_string_equal(text, "eIBRS, IBPB when VMs change");
    openings_text(text, sizeof(text), BIT(OPENING_L1TF) | BIT(OPENING_SMT));
    assert_string_equal(text, "L1TF (no L1D_FLUSH), what threads of a core share");
    mitigations_text(few, sizeof(few), ~0u);
    assert_int_equal(strlen(few), sizeof(few) - 1);
    mitigations_text(text, sizeof(text), ~0u);
    assert_uint_in_range(strlen(text), 1, sizeof(text) - 2);
    openings_text(text, sizeof(text), ~0u);
    assert_uint_in_range(strlen(text), 1, sizeof(text) - 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_generations, setup),
        cmocka_unit_test_setup(test_spec_ctrl, setup),
        cmocka_unit_test_setup(test_each_bit, setup),
        cmocka_unit_test_setup(test_controls, setup),
        cmocka_unit_test_setup(test_mmio, setup),
        cmocka_unit_test_setup(test_microcode_switched_off, setup),
        cmocka_unit_test_setup(test_no_avx_no_random, setup),
        cmocka_unit_test_setup(test_threads, setup),
        cmocka_unit_test_setup(test_off, setup),
        cmocka_unit_test_setup(test_force, setup),
        cmocka_unit_test_setup(test_force_branches, setup),
        cmocka_unit_test_setup(test_possible, setup),
        cmocka_unit_test_setup(test_text, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
