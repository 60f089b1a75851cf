#include "boot/cpu.h"
#include "boot/loader.h"
#include "arch/x86/lib/cpu_id.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define CPUID_1_ECX_VMX        BIT(5)
#define CPUID_80000001_EDX_NX  BIT(20)
#define CR4_LA57               BIT(12)
#define IA32_FEATURE_CONTROL   0x3a
#define FEATURE_CONTROL_LOCKED BIT(0)
#define FEATURE_CONTROL_VMXON  BIT(2) /* enable VMX outside SMX operation */
#define IA32_MISC_ENABLE       0x1a0
#define MISC_ENABLE_XD_DISABLE BIT(34)

static void read_cpuid(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    struct cpuid r = cpuid(leaf);

    memcpy(regs, &r, sizeof(r));
}

static int vmx_check(bool intel, const char *vendor, const char *name)
{
    uint64_t control;

    if (!(cpuid(1).ecx & CPUID_1_ECX_VMX)) {
        if (!intel)
            say("Corbel needs an Intel processor with VT-x; this is %s by %s.", name, vendor);
        else
            say("this CPU has no VT-x (Intel VMX): %s. Corbel needs an Intel processor with VT-x; "
                "inside a virtual machine, one with nested virtualisation switched on.",
                name);
        return -ENODEV;
    }
    control = rdmsr(IA32_FEATURE_CONTROL);
    if ((control & FEATURE_CONTROL_LOCKED) && !(control & FEATURE_CONTROL_VMXON)) {
        say("VT-x is switched off and locked by firmware: enable Intel Virtualization Technology "
            "in setup, then switch the machine off and on again.");
        return -ENODEV;
    }
    return 0;
}

int requirements_check(bool check_only)
{
    struct cpu_id id;
    bool intel;

    cpu_identify(&id, read_cpuid, NULL);
    intel = strcmp(id.vendor, "GenuineIntel") == 0;
    if (!check_only && vmx_check(intel, id.vendor, id.name) < 0)
        return -ENODEV;
    if (read_cr4() & CR4_LA57) {
        say("firmware runs with 5-level paging, which Corbel does not: switch it off in setup.");
        return -ENODEV;
    }
    /* Firmware setup's "Execute Disable" may hide NX; Corbel has it back. */
    if (!(cpuid(0x80000001).edx & CPUID_80000001_EDX_NX) && intel)
        wrmsr(IA32_MISC_ENABLE, rdmsr(IA32_MISC_ENABLE) & ~MISC_ENABLE_XD_DISABLE);
    if (!(cpuid(0x80000001).edx & CPUID_80000001_EDX_NX)) {
        say("this CPU cannot forbid execution of data (NX): %s. Corbel needs a later one.",
            id.name);
        return -ENODEV;
    }
    say("processor: %s", id.name);
    return 0;
}
