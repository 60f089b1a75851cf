/*
 * Each generation of processors since Nehalem, and what has to be done against its errata of
 * speculation: what it says of itself with the microcode that its maker gave last, and with none.
 */
#pragma once

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
