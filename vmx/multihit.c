#include "vmx/multihit.h"

#include "arch/x86/errata.h"
#include "arch/x86/msr.h"

/* Of family 6, those that have VT-x, never had the fault, and need not say so: Atoms and Xeon Phis.
 * What is newer says it by the MSR. */
static const uint8_t free_models[] = {
    0x1c, 0x26, 0x27, 0x35, 0x36,       /* Bonnell, Saltwell */
    0x37, 0x4a, 0x4d, 0x5a, 0x5d,       /* Silvermont */
    0x4c, 0x65, 0x6e, 0x75,             /* Airmont */
    0x5c, 0x5f, 0x7a, 0x86, 0x96, 0x9c, /* Goldmont, Goldmont Plus, Tremont */
    0x57, 0x85,                         /* Knights Landing, Knights Mill */
};

enum { EAX, EBX, ECX, EDX };

static bool is_free(unsigned model)
{
    for (unsigned i = 0; i < ARRAY_SIZE(free_models); i++)
        if (free_models[i] == model)
            return true;
    return false;
}

bool vmx_multihit(const struct vmx_probe *probe)
{
    uint32_t r[4];

    probe->cpuid(probe->ctx, 0, 0, r);
    uint32_t last = r[EAX];
    if (r[EBX] != 0x756e6547 || r[EDX] != 0x49656e69 || r[ECX] != 0x6c65746e)
        return false;
    probe->cpuid(probe->ctx, 1, 0, r);
    unsigned family = r[EAX] >> 8 & 0xf;
    unsigned model = (r[EAX] >> 4 & 0xf) | (r[EAX] >> 12 & 0xf0);
    if (family != 6 || is_free(model))
        return false;
    if (last < 7)
        return true;
    probe->cpuid(probe->ctx, 7, 0, r);
    if (!(r[EDX] & FEATURE_ARCH_CAPABILITIES))
        return true;
    return !(probe->rdmsr(probe->ctx, MSR_ARCH_CAPABILITIES) & CAPABILITY_PSCHANGE_NO);
}
