#include "arch/x86/split_lock.h"

#include "arch/x86/cpu.h"
#include "arch/x86/trap.h"

#define CPUID_7_EDX_CORE_CAPABILITIES BIT(30)
#define CORE_CAPABILITIES_SPLIT_LOCK  BIT(5)
#define TEST_CTRL_SPLIT_LOCK          BIT(29)

static bool used; /* on any processor */

/* An emulator may lack the MSRs, whatever CPUID says. */
bool split_lock_present(void)
{
    uint64_t value;

    return cpuid(0, 0).eax >= 7 && cpuid(7, 0).edx & CPUID_7_EDX_CORE_CAPABILITIES &&
           rdmsr_safe(MSR_CORE_CAPABILITIES, &value) && value & CORE_CAPABILITIES_SPLIT_LOCK &&
           rdmsr_safe(MSR_TEST_CTRL, &value);
}

void split_lock_detect(bool on)
{
    uint64_t value = rdmsr(MSR_TEST_CTRL) & ~TEST_CTRL_SPLIT_LOCK;

    used = true;
    wrmsr(MSR_TEST_CTRL, on ? value | TEST_CTRL_SPLIT_LOCK : value);
}

bool split_lock_trap(void)
{
    if (!used)
        return false;
    split_lock_detect(false);
    return true;
}
