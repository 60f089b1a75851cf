#include "arch/x86/cpu.h"

#include "arch/x86/trap.h"

/* PAT entry 1 (PWT) becomes write-combining; the others stay as after reset, entry 3 (PCD, PWT) is
 * uncached. */
#define PAT_VALUE 0x0007040600070106ULL

#define CPUID_1_ECX_XSAVE  BIT(26)
#define CPUID_1_ECX_RDRAND BIT(30)
#define CPUID_1_EDX_MCE    BIT(7)
#define CPUID_7_EBX_SMEP   BIT(7)
#define CPUID_7_EBX_RDSEED BIT(18)
#define CPUID_7_EBX_SMAP   BIT(20)

void cpu_setup(void)
{
    struct cpuid features = cpuid(1, 0);
    struct cpuid structured = cpuid(0, 0).eax >= 7 ? cpuid(7, 0) : (struct cpuid){0};
    uint64_t cr0 = read_cr0(), cr4;

    /* CR4.CET must be off before CR0.WP could be touched, so CR4 comes first. */
    cr4 = CR4_PAE | CR4_PGE | CR4_DE | CR4_OSFXSR | CR4_OSXMMEXCPT | (read_cr4() & CR4_LA57);
    if (features.ecx & CPUID_1_ECX_XSAVE)
        cr4 |= CR4_OSXSAVE;
    if (features.edx & CPUID_1_EDX_MCE)
        cr4 |= CR4_MCE;
    if (structured.ebx & CPUID_7_EBX_SMEP)
        cr4 |= CR4_SMEP;
    if (structured.ebx & CPUID_7_EBX_SMAP)
        cr4 |= CR4_SMAP;
    write_cr4(cr4);

    if (cr0 & CR0_CD)
        wbinvd();
    write_cr0(CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG);
    wrmsr(MSR_EFER, (rdmsr(MSR_EFER) & ~EFER_SCE) | EFER_NXE);

    write_dr7(0x400);
    /* Nothing is mapped with PWT yet; the flush is for lines that firmware may have left under
     * another type. */
    wrmsr(MSR_PAT, PAT_VALUE);
    write_cr3(read_cr3());
}

bool cpu_has_rdrand(void)
{
    return cpuid(1, 0).ecx & CPUID_1_ECX_RDRAND;
}

bool cpu_has_rdseed(void)
{
    return cpuid(0, 0).eax >= 7 && (cpuid(7, 0).ebx & CPUID_7_EBX_RDSEED);
}

bool cpu_random(uint64_t *out)
{
    if (!cpu_has_rdrand())
        return false;
    for (int tries = 0; tries < 10; tries++)
        if (rdrand_step(out))
            return true;
    return false;
}

/* SDM, "Determining the Signature": CPUID fills the MSR in. An emulator may lack it. */
uint32_t cpu_microcode(bool intel)
{
    uint64_t value = 0;

    if (intel && !wrmsr_safe(MSR_BIOS_SIGN_ID, 0))
        return 0;
    (void)cpuid(1, 0);
    if (!rdmsr_safe(MSR_BIOS_SIGN_ID, &value))
        return 0;
    return intel ? value >> 32 : (uint32_t)value;
}
