#include "guest/cpu/msr_policy.h"

#include "arch/x86/lib/string.h"
#include "guest/cpu/pv_state.h"

/* IA32_MTRRCAP: variable pairs, fixed ranges, write combining. */
#define MTRRCAP (MTRR_VARIABLE | BIT(8) | BIT(10))

const struct msr_row msr_rows[] = {
    {0x000, 0x001, MSR_CONSTANT, MSR_IGNORED, 0, 0, "P5 machine check: never anything"},
    {MSR_TSC, MSR_TSC, MSR_PASS, MSR_TIME, 0, 0, "the VMCS adds the offset, which a write moves"},
    {MSR_PLATFORM_ID, MSR_PLATFORM_ID, MSR_CONSTANT, MSR_FAULT, 0, 0,
     "selects microcode, which guests do not load"},
    {MSR_APIC_BASE, MSR_APIC_BASE, MSR_LAPIC, MSR_LAPIC, 0, 0, "emulated local APIC"},
    {0x034, 0x034, MSR_CONSTANT, MSR_FAULT, 0, 0, "SMI count: guests see none"},
    {MSR_FEATURE_CONTROL, MSR_FEATURE_CONTROL, MSR_CONSTANT, MSR_FAULT, 0, 1,
     "locked, VMX and SGX off"},
    {MSR_TSC_ADJUST, MSR_TSC_ADJUST, MSR_TIME, MSR_TIME, 0, 0, "emulated with the TSC"},
    {0x079, 0x079, MSR_FAULT, MSR_IGNORED, 0, 0, "microcode update: the host's business"},
    {MSR_BIOS_SIGN_ID, MSR_BIOS_SIGN_ID, MSR_MICROCODE, MSR_IGNORED, 0, 0,
     "the host's revision, by which guests know errata; guests write 0 before they read it"},
    {MSR_PLATFORM_INFO, MSR_PLATFORM_INFO, MSR_CONSTANT, MSR_FAULT, 0, 0,
     "no ratios, no CPUID faulting"},
    {MSR_UMWAIT_CONTROL, MSR_UMWAIT_CONTROL, MSR_UMWAIT, MSR_UMWAIT, NEED_WAITPKG, 0,
     "kept; the host sets no limit"},
    {MSR_MTRRCAP, MSR_MTRRCAP, MSR_CONSTANT, MSR_FAULT, 0, MTRRCAP, "what is kept below"},
    {MSR_SYSENTER_CS, MSR_SYSENTER_EIP, MSR_PASS, MSR_PASS, 0, 0, "in the VMCS"},
    {MSR_MCG_CAP, MSR_MCG_CAP, MSR_CONSTANT, MSR_FAULT, 0, 0,
     "no machine-check banks: memory errors are the host's"},
    {MSR_MCG_STATUS, MSR_MCG_STATUS, MSR_CONSTANT, MSR_ZERO, 0, 0, "no machine check in progress"},
    {MSR_MISC_ENABLE, MSR_MISC_ENABLE, MSR_ENABLES, MSR_ENABLES, 0, 0,
     "fast strings, leaf 0's limit, NX; guests set and clear other bits without asking what there "
     "is"},
    {MSR_DEBUGCTL, MSR_DEBUGCTL, MSR_CPU, MSR_DEBUG, 0, 0,
     "in the VMCS; single-step on branches, no branch records"},
    {0x1db, 0x1de, MSR_CONSTANT, MSR_FAULT, 0, 0, "last branch and exception: none recorded"},
    {MSR_MTRR_PHYSBASE0, MSR_MTRR_PHYSBASE0 + 2 * MTRR_VARIABLE - 1, MSR_MTRR, MSR_MTRR, 0, 0,
     "kept; EPT and the guest's PAT decide"},
    {MSR_MTRR_FIX64K_00000, MSR_MTRR_FIX64K_00000, MSR_MTRR, MSR_MTRR, 0, 0, "kept"},
    {MSR_MTRR_FIX16K_80000, MSR_MTRR_FIX16K_A0000, MSR_MTRR, MSR_MTRR, 0, 0, "kept"},
    {MSR_MTRR_FIX4K_C0000, MSR_MTRR_FIX4K_C0000 + 7, MSR_MTRR, MSR_MTRR, 0, 0, "kept"},
    {MSR_PAT, MSR_PAT, MSR_PASS, MSR_PASS, 0, 0, "loaded and saved with the VMCS"},
    {MSR_MTRR_DEF_TYPE, MSR_MTRR_DEF_TYPE, MSR_MTRR, MSR_MTRR, 0, 0, "kept"},
    {MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, MSR_LAPIC, MSR_LAPIC, 0, 0, "emulated local APIC"},
    {MSR_X2APIC, MSR_X2APIC + 0xff, MSR_LAPIC, MSR_LAPIC, 0, 0, "emulated local APIC"},
    {MSR_XSS, MSR_XSS, MSR_CPU, MSR_XSAVE_STATES, NEED_XSAVES, 0, "switched with the vCPU"},
    {MSR_EFER, MSR_EFER, MSR_PASS, MSR_MODE, 0, 0,
     "VM entry loads it; a write may change the mode"},
    {MSR_STAR, MSR_FMASK, MSR_PASS, MSR_PASS, 0, 0, "switched with the vCPU"},
    {MSR_FS_BASE, MSR_GS_BASE, MSR_PASS, MSR_PASS, 0, 0, "in the VMCS"},
    {MSR_KERNEL_GS_BASE, MSR_KERNEL_GS_BASE, MSR_PASS, MSR_PASS, 0, 0, "switched with the vCPU"},
    {MSR_TSC_AUX, MSR_TSC_AUX, MSR_PASS, MSR_PASS, NEED_RDTSCP, 0, "switched with the vCPU"},
    /*
     * Not here, and so #GP: TSX_CTRL, MCU_OPT_CTRL (the host's; ARCH_CAPABILITIES hides them),
     * performance monitoring and P-states (no PMU, no EIST), RAPL and thermal (the host's), VMX
     * capabilities (not nested), MISC_FEATURES_ENABLES (no CPUID faulting), AMD's.
     */
};
const unsigned msr_row_count = ARRAY_SIZE(msr_rows);

const struct msr_row msr_pv_rows[] = {
    {PV_MSR_WALL_CLOCK, PV_MSR_CLOCK, MSR_PV, MSR_PV, 0, PV_CLOCK, "pages with the time"},
    {PV_MSR_STEAL, PV_MSR_STEAL, MSR_PV, MSR_PV, 0, PV_STEAL, "a page with a vCPU's steal time"},
    {PV_MSR_EOI, PV_MSR_EOI, MSR_PV, MSR_PV, 0, PV_EOI, "a byte in place of EOI"},
    {PV_MSR_POLL, PV_MSR_POLL, MSR_PV, MSR_PV, 0, PV_POLL,
     "kept: nobody polls before a vCPU sleeps"},
    /* Not here: 11h and 12h (the same under their first numbers), 4B564D02h, 06h and 07h (no page
     * faults are asynchronous: RAM is not swapped), 08h (nothing is encrypted). */
};
const unsigned msr_pv_row_count = ARRAY_SIZE(msr_pv_rows);

const struct msr_row msr_spec_rows[] = {
    {MSR_SPEC_CTRL, MSR_SPEC_CTRL, MSR_SPECULATION, MSR_SPECULATION, NEED_SPEC_CTRL, 0,
     "switched at exits, and passed, once the guest has written it"},
    {MSR_PRED_CMD, MSR_PRED_CMD, MSR_FAULT, MSR_SPECULATION, NEED_SPEC_CTRL, 0,
     "passed: a command to the processor, of which it keeps nothing"},
    {MSR_ARCH_CAPABILITIES, MSR_ARCH_CAPABILITIES, MSR_CAPABILITIES, MSR_FAULT, NEED_CAPABILITIES,
     0, "what of the host's is so in a VM"},
    {MSR_FLUSH_CMD, MSR_FLUSH_CMD, MSR_FAULT, MSR_SPECULATION, NEED_FLUSH, 0,
     "passed: a command to the processor, of which it keeps nothing"},
};
const unsigned msr_spec_row_count = ARRAY_SIZE(msr_spec_rows);

static __attribute__((noinline)) const struct msr_row *find_spec(const struct msr_features *f,
                                                                 uint32_t msr)
{
    const struct msr_row *row = msr_spec_rows;

    while (row->first != msr)
        if (++row == msr_spec_rows + ARRAY_SIZE(msr_spec_rows))
            return NULL;
    switch (row->need) {
    case NEED_SPEC_CTRL:
        return f->spec_ctrl ? row : NULL;
    case NEED_FLUSH:
        return f->flush ? row : NULL;
    default:
        return f->has_capabilities ? row : NULL;
    }
}

/* Looked up last, so that who has none of them looks no longer for the others. */
static const struct msr_row *find_pv(const struct msr_features *f, uint32_t msr)
{
    for (unsigned i = 0; i < ARRAY_SIZE(msr_pv_rows); i++)
        if (msr >= msr_pv_rows[i].first && msr <= msr_pv_rows[i].last)
            return f->pv & msr_pv_rows[i].value ? &msr_pv_rows[i] : NULL;
    return find_spec(f, msr);
}

const struct msr_row *msr_find(const struct msr_features *f, uint32_t msr)
{
    unsigned low = 0, high = ARRAY_SIZE(msr_rows);
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (msr > msr_rows[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == ARRAY_SIZE(msr_rows) || msr < msr_rows[low].first)
        return find_pv(f, msr);
    const bool have[] = {
        [NEED_NOTHING] = true,
        [NEED_RDTSCP] = f->rdtscp,
        [NEED_XSAVES] = f->xsaves,
        [NEED_WAITPKG] = f->waitpkg,
    };
    return have[msr_rows[low].need] ? &msr_rows[low] : NULL;
}

/* --- the bitmap --- */

#define WRITE_BITMAP 0x800
#define HIGH_BITMAP  0x400

static void pass(uint8_t *bitmap, uint32_t msr)
{
    if (msr >= 0xc0000000)
        bitmap += HIGH_BITMAP;
    bitmap[(msr & 0x1fff) / 8] &= (uint8_t)~BIT(msr % 8);
}

/*
 * x2APIC registers that the hardware serves from the virtual-APIC page (SDM, "Virtualizing
 * MSR-Based APIC Accesses"). Only registers that exist are passed: reads of the others would give
 * what the page holds instead of #GP. Those that software computes when they are read exit: TMCCT,
 * ICR (two registers of the page in one), and PPR, IRR and ISR unless the hardware evaluates them.
 */
static void pass_x2apic(uint8_t *bitmap, const struct msr_features *f)
{
    static const uint8_t plain[] = {0x02, 0x03, 0x0d, 0x0f, 0x28, 0x32, 0x33,
                                    0x34, 0x35, 0x36, 0x37, 0x38, 0x3e};
    uint8_t *write = bitmap + WRITE_BITMAP;

    pass(bitmap, MSR_X2APIC_TPR);
    pass(write, MSR_X2APIC_TPR);
    if (f->apic_register)
        for (unsigned i = 0; i < ARRAY_SIZE(plain); i++)
            pass(bitmap, MSR_X2APIC + plain[i]);
    if (f->apic_register && f->virtual_interrupt) {
        pass(bitmap, MSR_X2APIC + 0x0a);
        for (unsigned i = 0x10; i < 0x28; i++)
            pass(bitmap, MSR_X2APIC + i);
    }
    if (f->virtual_interrupt) {
        pass(write, MSR_X2APIC_EOI);
        pass(write, MSR_X2APIC_SELF);
    }
}

static void pass_speculation(uint8_t *bitmap, const struct msr_features *f)
{
    uint8_t *write = bitmap + WRITE_BITMAP;

    if (f->spec_ctrl)
        pass(write, MSR_PRED_CMD);
    if (f->flush)
        pass(write, MSR_FLUSH_CMD);
    if (f->spec_passed) {
        pass(bitmap, MSR_SPEC_CTRL);
        pass(write, MSR_SPEC_CTRL);
    }
}

void msr_bitmap_build(uint8_t bitmap[4096], const struct msr_features *f)
{
    memset(bitmap, 0xff, 4096);
    for (unsigned i = 0; i < ARRAY_SIZE(msr_rows); i++) {
        const struct msr_row *row = &msr_rows[i];
        if (row->read != MSR_PASS && row->write != MSR_PASS)
            continue;
        for (uint32_t msr = row->first; msr <= row->last && msr_find(f, msr); msr++) {
            if (row->read == MSR_PASS)
                pass(bitmap, msr);
            if (row->write == MSR_PASS)
                pass(bitmap + WRITE_BITMAP, msr);
        }
    }
    pass_speculation(bitmap, f);
    if (f->x2apic_mode)
        pass_x2apic(bitmap, f);
}
