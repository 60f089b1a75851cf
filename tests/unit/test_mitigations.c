/* links: arch/x86/errata.c arch/x86/mitigations.c arch/x86/lib/cpu_id.c arch/x86/lib/format.c */
/* Errata of speculation and what is done about them, on every generation since Nehalem: what each
 * says of itself with the microcode that its maker gave last, and with none. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "arch/x86/mitigations.h"
#include "arch/x86/msr.h"
#include "guest/config/config.h"

/* --- a processor that can be probed --- */

static struct processor {
    const char *vendor;
    uint32_t leaf1_eax, leaf1_ecx, leaf7_ebx, leaf7_edx, leaf7_2_edx, leaf1a_eax, leaf0b_eax;
    uint32_t max, max7;
    uint64_t capabilities, mcu_opt, platform_info, spec_ctrl;
    bool lacks_msrs;
    bool forgets;      /* writes are taken, and nothing becomes of them */
    uint32_t unwanted; /* a write of it is #GP */
    unsigned commands; /* other than 0 to PRED_CMD and FLUSH_CMD */
    unsigned wrong;
} processor;

static void probe_cpuid(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
    const struct processor *p = ctx;

    memset(r, 0, 16);
    switch (leaf) {
    case 0:
        r[0] = p->max;
        memcpy(&r[1], p->vendor, 4);
        memcpy(&r[3], p->vendor + 4, 4);
        memcpy(&r[2], p->vendor + 8, 4);
        break;
    case 1:
        r[0] = p->leaf1_eax;
        r[2] = p->leaf1_ecx;
        break;
    case 7:
        /* Beyond the last subleaf there is rubbish. */
        r[0] = subleaf ? 0 : p->max7;
        r[1] = subleaf ? ~0u : p->leaf7_ebx;
        r[3] = subleaf == 0 ? p->leaf7_edx : subleaf == 2 && p->max7 >= 2 ? p->leaf7_2_edx : ~0u;
        break;
    case 0xb:
        r[0] = p->leaf0b_eax;
        break;
    case 0x1a:
        r[0] = p->leaf1a_eax;
        break;
    default:
        break;
    }
    if (leaf < 0x80000000 && leaf > p->max)
        memset(r, 0xff, 16);
}

static bool probe_rdmsr(void *ctx, uint32_t msr, uint64_t *value)
{
    struct processor *p = ctx;

    if (p->lacks_msrs)
        return false;
    if (msr == MSR_ARCH_CAPABILITIES && p->leaf7_edx & FEATURE_ARCH_CAPABILITIES)
        *value = p->capabilities;
    else if (msr == MSR_MCU_OPT_CTRL)
        *value = p->mcu_opt;
    else if (msr == MSR_PLATFORM_INFO)
        *value = p->platform_info;
    else if (msr == MSR_SPEC_CTRL && p->leaf7_edx & FEATURE_IBRS)
        *value = p->spec_ctrl;
    else
        p->wrong++;
    return true;
}

static bool probe_wrmsr(void *ctx, uint32_t msr, uint64_t value)
{
    struct processor *p = ctx;

    if (p->lacks_msrs || msr == p->unwanted)
        return false;
    if (msr == MSR_SPEC_CTRL && p->leaf7_edx & FEATURE_IBRS)
        p->spec_ctrl = p->forgets ? p->spec_ctrl : value;
    else if ((msr == MSR_PRED_CMD && p->leaf7_edx & FEATURE_IBRS) ||
             (msr == MSR_FLUSH_CMD && p->leaf7_edx & FEATURE_L1D_FLUSH))
        p->commands += value != 0;
    else
        p->wrong++;
    return true;
}

static struct speculation_probe probe = {&processor, 1, probe_cpuid, probe_rdmsr, probe_wrmsr};

/* --- the generations --- */

#define IBRS  (FEATURE_IBRS | FEATURE_STIBP | FEATURE_SSBD)
#define FLUSH FEATURE_L1D_FLUSH
#define CLEAR FEATURE_MD_CLEAR
#define RNG   FEATURE_SRBDS_CTRL
#define CAP   FEATURE_ARCH_CAPABILITIES
#define OLD   (IBRS | FLUSH | CLEAR) /* what microcode brought to those of before 2018 */
#define NEW   (IBRS | FLUSH | CLEAR | CAP)

#define C(x) CAPABILITY_##x
/* Cascade Lake, Ice Lake, and those behind them. */
#define FIXED    (C(RDCL_NO) | C(IBRS_ALL) | C(SKIP_L1DFL) | C(MDS_NO) | C(PSCHANGE_NO))
#define MMIO_NO  (C(SBDR_SSDP_NO) | C(FBSDP_NO) | C(PSDP_NO))
#define ICE_LAKE (FIXED | C(TAA_NO) | C(TSX_CTRL) | C(FB_CLEAR) | C(RRSBA) | C(GDS_CTRL))
#define ALDER    (FIXED | C(TAA_NO) | MMIO_NO | C(RRSBA) | C(GDS_NO))
#define CONTROLS (CONTROL_PSFD | CONTROL_IPRED | CONTROL_RRSBA | CONTROL_BHI)

static const struct generation {
    const char *name;
    uint8_t model, stepping;
    bool small, tsx, random;
    uint32_t features, controls;
    uint64_t capabilities;
    const char *steps, *open;
} generations[] = {
    {"Nehalem", 0x1a, 5, false, false, false, IBRS | FLUSH, 0, 0, "retpoline rsb-fill ibpb l1d",
     "MDS"},
    {"Nehalem as it was made", 0x1e, 5, false, false, false, 0, 0, 0, "retpoline rsb-fill",
     "IBPB L1TF MDS"},
    {"Westmere", 0x2c, 2, false, false, false, IBRS | FLUSH, 0, 0, "retpoline rsb-fill ibpb l1d",
     "MDS"},
    {"Sandy Bridge", 0x2a, 7, false, false, false, OLD, 0, 0, "retpoline rsb-fill ibpb l1d", ""},
    {"Ivy Bridge", 0x3a, 9, false, false, true, OLD | RNG, 0, 0, "retpoline rsb-fill ibpb l1d", ""},
    {"Ivy Bridge without its last microcode", 0x3a, 9, false, false, true, OLD, 0, 0,
     "retpoline rsb-fill ibpb l1d", "SRBDS"},
    {"Ivy Bridge EP", 0x3e, 4, false, false, true, OLD, 0, 0, "retpoline rsb-fill ibpb l1d", ""},
    {"Haswell", 0x3c, 3, false, false, true, OLD | RNG, 0, 0, "retpoline rsb-fill ibpb l1d", ""},
    {"Haswell EP", 0x3f, 2, false, false, true, OLD, 0, 0, "retpoline rsb-fill ibpb l1d", ""},
    {"Broadwell", 0x3d, 4, false, true, true, OLD | RNG, 0, 0, "retpoline rsb-fill ibpb l1d", ""},
    {"Broadwell EP", 0x4f, 1, false, true, true, OLD, 0, 0, "retpoline rsb-fill ibpb l1d", ""},
    {"Skylake", 0x5e, 3, false, true, true, NEW | RNG, 0, C(RSBA) | C(GDS_CTRL) | C(FB_CLEAR),
     "ibrs rsb-fill ibpb l1d", ""},
    {"Skylake as it was made", 0x5e, 3, false, true, true, 0, 0, 0, "retpoline rsb-fill",
     "IBRS IBPB L1TF MDS TAA SRBDS GDS"},
    {"Skylake SP", 0x55, 4, false, true, true, NEW, 0, C(RSBA) | C(GDS_CTRL) | C(FB_CLEAR),
     "ibrs rsb-fill ibpb l1d", ""},
    {"Cascade Lake", 0x55, 7, false, true, true, NEW, 0,
     FIXED | C(TSX_CTRL) | C(FB_CLEAR) | C(RRSBA) | C(GDS_CTRL),
     "aligned eibrs bhi-clear rsb-fill ibpb tsx-off", "ITS"},
    {"Cooper Lake", 0x55, 11, false, true, true, NEW, 0, ICE_LAKE,
     "aligned eibrs bhi-clear rsb-fill ibpb", "ITS"},
    {"Kaby Lake", 0x9e, 9, false, true, true, NEW | RNG, 0, C(RSBA) | C(GDS_CTRL),
     "ibrs rsb-fill ibpb l1d", ""},
    {"Coffee Lake refreshed", 0x9e, 13, false, true, true, NEW | RNG, 0,
     FIXED | C(TSX_CTRL) | C(FB_CLEAR) | C(RRSBA) | C(GDS_CTRL),
     "aligned eibrs bhi-clear rsb-fill ibpb tsx-off", "ITS"},
    {"Whiskey Lake", 0x8e, 11, false, false, true, NEW | RNG, 0,
     C(RDCL_NO) | C(SKIP_L1DFL) | C(RSBA) | C(GDS_CTRL), "ibrs rsb-fill ibpb verw", ""},
    {"Cannon Lake", 0x66, 3, false, false, true, NEW, 0, C(RSBA), "ibrs rsb-fill ibpb l1d", ""},
    {"Comet Lake", 0xa5, 5, false, false, true, NEW | RNG, 0,
     FIXED | C(TAA_NO) | C(TSX_CTRL) | C(FB_CLEAR) | C(RRSBA) | C(GDS_CTRL),
     "aligned eibrs bhi-clear rsb-fill ibpb", "ITS"},
    {"Ice Lake", 0x7e, 5, false, false, true, NEW | RNG, 0, ICE_LAKE,
     "eibrs bhi-clear rsb-one ibpb", ""},
    {"Ice Lake SP", 0x6a, 6, false, false, true, NEW, 0, ICE_LAKE, "eibrs bhi-clear rsb-one ibpb",
     ""},
    {"Ice Lake SP without its last microcode", 0x6a, 6, false, false, true, NEW, 0,
     ICE_LAKE & ~C(GDS_CTRL), "eibrs bhi-clear rsb-one ibpb", "GDS"},
    {"Tiger Lake", 0x8c, 1, false, false, true, NEW, 0, ICE_LAKE | MMIO_NO,
     "eibrs bhi-clear rsb-one ibpb", ""},
    {"Rocket Lake", 0xa7, 1, false, false, true, NEW, 0, ICE_LAKE, "eibrs bhi-clear rsb-one ibpb",
     ""},
    {"Alder Lake, large", 0x97, 2, false, false, true, NEW, CONTROLS, ALDER,
     "eibrs bhi-dis rsb-one ibpb", ""},
    {"Alder Lake, small", 0x97, 2, true, false, true, NEW, CONTROLS, ALDER | C(RFDS_CLEAR),
     "eibrs bhi-dis rsb-one ibpb verw", ""},
    {"Alder Lake, small, without its last microcode", 0x97, 2, true, false, true, NEW, CONTROLS,
     ALDER, "eibrs bhi-dis rsb-one ibpb", "RFDS"},
    {"Raptor Lake", 0xba, 2, false, false, true, NEW, CONTROLS, ALDER | C(RFDS_CLEAR) | C(PBRSB_NO),
     "eibrs bhi-dis ibpb verw", ""},
    {"Meteor Lake", 0xaa, 4, false, false, true, NEW, CONTROLS, ALDER | C(RFDS_NO) | C(PBRSB_NO),
     "eibrs bhi-dis ibpb", ""},
    {"Arrow Lake", 0xc6, 2, false, false, true, NEW, CONTROLS,
     ALDER | C(RFDS_NO) | C(PBRSB_NO) | C(ITS_NO), "eibrs bhi-dis ibpb", ""},
    {"Lunar Lake", 0xbd, 1, false, false, true, NEW, CONTROLS,
     ALDER | C(RFDS_NO) | C(PBRSB_NO) | C(ITS_NO) | C(BHI_NO), "eibrs ibpb", ""},
    {"Sapphire Rapids", 0x8f, 8, false, true, true, NEW, CONTROLS, ALDER | C(RFDS_NO),
     "eibrs bhi-dis rsb-one ibpb", ""},
    {"Emerald Rapids", 0xcf, 2, false, true, true, NEW, CONTROLS, ALDER | C(RFDS_NO) | C(PBRSB_NO),
     "eibrs bhi-dis ibpb", ""},
    {"Granite Rapids", 0xad, 1, false, true, true, NEW, CONTROLS,
     ALDER | C(RFDS_NO) | C(PBRSB_NO) | C(ITS_NO), "eibrs bhi-dis ibpb", ""},
    /* Atoms */
    {"Bonnell", 0x1c, 2, false, false, false, 0, 0, 0, "", ""},
    {"Silvermont", 0x4d, 8, false, false, true, IBRS | CLEAR, 0, 0, "retpoline rsb-fill ibpb verw",
     ""},
    {"Goldmont", 0x5c, 9, false, false, true, IBRS | CAP, 0, C(RDCL_NO) | C(RFDS_CLEAR),
     "retpoline rsb-fill ibpb verw", ""},
    {"Goldmont Plus", 0x7a, 8, false, false, true, IBRS | CAP, 0, C(IBRS_ALL) | C(BHI_NO),
     "eibrs ibpb", "RFDS"},
    {"Tremont", 0x86, 7, false, false, true, NEW, CONTROLS,
     FIXED | C(TAA_NO) | C(FB_CLEAR) | C(RFDS_CLEAR), "eibrs bhi-dis ibpb verw", ""},
    {"Crestmont", 0xaf, 3, false, false, true, NEW, CONTROLS, ALDER | C(RFDS_NO) | C(PBRSB_NO),
     "eibrs bhi-dis ibpb", ""},
    /* One that nobody knows yet, and that denies nothing. */
    {"unknown", 0xfe, 0, false, true, true, 0, 0, 0, "retpoline rsb-fill", "IBPB L1TF MDS TAA"},
    {"unknown, good", 0xfe, 0, false, false, true, NEW, CONTROLS,
     ALDER | C(RFDS_NO) | C(PBRSB_NO) | C(BHI_NO) | C(SSB_NO), "eibrs ibpb", ""},
};

static void become(const struct generation *g)
{
    processor = (struct processor){
        .vendor = "GenuineIntel",
        .leaf1_eax = 0x600 | (g->model & 0xfu) << 4 | (g->model & 0xf0u) << 12 | g->stepping,
        .leaf1_ecx = (g->random ? (uint32_t)BIT(30) : 0) | (uint32_t)BIT(28),
        .leaf7_ebx = g->tsx ? BIT(11) : 0,
        .leaf7_edx = g->features,
        .leaf7_2_edx = g->controls,
        .leaf1a_eax = g->small ? 0x20000001 : 0x40000001,
        .leaf0b_eax = 1,
        .max = 0x1a,
        .max7 = g->controls ? 2 : 0,
        .capabilities = g->capabilities,
    };
}

static const struct generation *named(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(generations); i++)
        if (!strcmp(generations[i].name, name))
            return &generations[i];
    fail_msg("%s is no generation", name);
    return NULL;
}

/* --- names of what came out --- */

#define NAME(symbol, name, what) name,
static const char *const step_names[] = {CONFIG_STEP_LIST(NAME)};
#define SYMBOL(symbol, words) #symbol,
static const char *const opening_names[] = {OPENING_LIST(SYMBOL)};

static const char *names(const char *const *name, unsigned count, uint32_t set)
{
    static char text[2][256];
    static unsigned turn;
    char *t = text[turn ^= 1];

    t[0] = '\0';
    for (unsigned i = 0; i < count; i++)
        if (set & BIT(i)) {
            strcat(t, t[0] ? " " : "");
            strcat(t, name[i]);
        }
    return t;
}

static const char *steps_of(const struct mitigations *m)
{
    return names(step_names, ARRAY_SIZE(step_names), m->steps);
}

static const char *open_of(const struct mitigations *m)
{
    return names(opening_names, ARRAY_SIZE(opening_names), m->open);
}

static struct mitigations m;
static struct cpu_speculation s;
static struct mitigation_use use;

static void choose(void)
{
    speculation_read(&s, &probe);
    memset(&m, 0xa5, sizeof(m));
    mitigations_choose(&m, &s, &use);
    assert_int_equal(processor.wrong, 0);
}

static int setup(void **state)
{
    use = (struct mitigation_use){.possible = ~0u};
    probe.microcode = 1;
    return 0;
}

/* --- tests --- */

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
        cmocka_unit_test_setup(test_missing, setup),
        cmocka_unit_test_setup(test_registers_tried, setup),
        cmocka_unit_test_setup(test_thread_bits, setup),
        cmocka_unit_test_setup(test_others, setup),
        cmocka_unit_test_setup(test_vmscape_needs_nothing, setup),
        cmocka_unit_test_setup(test_emulated, setup),
        cmocka_unit_test_setup(test_store_bypass, setup),
        cmocka_unit_test_setup(test_off, setup),
        cmocka_unit_test_setup(test_force, setup),
        cmocka_unit_test_setup(test_force_branches, setup),
        cmocka_unit_test_setup(test_possible, setup),
        cmocka_unit_test_setup(test_text, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
