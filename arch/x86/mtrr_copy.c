#include "arch/x86/mtrr_copy.h"

#include "arch/x86/cpu.h"

#define CPUID_1_EDX_MTRR BIT(12)
#define MTRRCAP_VARIABLE 0xffu
#define MTRRCAP_FIXED    BIT(8)
#define DEF_TYPE_ENABLE  BIT(11)

static void add(struct mtrr_copy *copy, uint32_t msr)
{
    copy->msr[copy->count] = msr;
    copy->value[copy->count++] = rdmsr(msr);
}

void mtrr_copy_read(struct mtrr_copy *copy)
{
    uint64_t cap;

    copy->count = 0;
    if (!(cpuid(1, 0).edx & CPUID_1_EDX_MTRR))
        return;
    cap = rdmsr(MSR_MTRRCAP);
    add(copy, MSR_MTRR_DEF_TYPE); /* first: mtrr_copy_apply() */
    if (cap & MTRRCAP_FIXED) {
        add(copy, MSR_MTRR_FIX64K_00000);
        add(copy, MSR_MTRR_FIX16K_80000);
        add(copy, MSR_MTRR_FIX16K_A0000);
        for (uint32_t i = 0; i < 8; i++)
            add(copy, MSR_MTRR_FIX4K_C0000 + i);
    }
    for (uint32_t i = 0; i < 2 * MIN(cap & MTRRCAP_VARIABLE, 32); i++)
        add(copy, MSR_MTRR_PHYSBASE0 + i);
}

static bool differs(const struct mtrr_copy *copy)
{
    for (unsigned i = 0; i < copy->count; i++)
        if (rdmsr(copy->msr[i]) != copy->value[i])
            return true;
    return false;
}

/* SDM, "MemTypeSet() Function": no line and no translation of the old types may be left. */
bool mtrr_copy_apply(const struct mtrr_copy *copy)
{
    uint64_t cr0 = read_cr0(), cr4 = read_cr4();

    if (!differs(copy))
        return false;
    write_cr0((cr0 | CR0_CD) & ~CR0_NW);
    wbinvd();
    write_cr4(cr4 & ~CR4_PGE);
    write_cr3(read_cr3());
    wrmsr(MSR_MTRR_DEF_TYPE, copy->value[0] & ~DEF_TYPE_ENABLE);
    for (unsigned i = 1; i < copy->count; i++)
        if (rdmsr(copy->msr[i]) != copy->value[i])
            wrmsr(copy->msr[i], copy->value[i]);
    wrmsr(MSR_MTRR_DEF_TYPE, copy->value[0]);
    wbinvd();
    write_cr3(read_cr3());
    write_cr0(cr0);
    write_cr4(cr4);
    return true;
}
