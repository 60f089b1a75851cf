/* XSAVE area in standard form with all of the guest's XCR0 and XSS, so that nothing here depends on
 * XSAVEC; FXSAVE where there is no XSAVE. */
#include "vmx/fpu.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/string.h"
#include "mm/heap.h"
#include "vmx/cpu.h"
#include "vmx/xsavec.h"

#define FXSAVE_SIZE          512
#define CPUID_D_1_EAX_XSAVEC BIT(1)

size_t fpu_size(void)
{
    if (!(read_cr4() & CR4_OSXSAVE))
        return FXSAVE_SIZE;
    /* ECX: for all features this CPU has in XCR0; the supervisor ones follow compacted. */
    size_t size = cpuid(0xd, 0).ecx;
    if (vmx_caps.xsaves)
        size = MAX(size, cpuid(0xd, 1).ebx);
    return MAX(size, FXSAVE_SIZE + 64);
}

/* All state components the CPU's XCR0 may hold: what one guest left must not show in the next. */
static uint64_t fpu_all_features(void)
{
    struct cpuid r = cpuid(0xd, 0);

    return (uint64_t)r.edx << 32 | r.eax;
}

void fpu_load(struct vmx_vcpu *v)
{
    if (!(read_cr4() & CR4_OSXSAVE)) {
        __asm__ volatile("fxrstor64 (%0)" ::"r"(v->fpu) : "memory");
        return;
    }
    uint64_t all = fpu_all_features();
    xsetbv(0, all);
    __asm__ volatile("xrstor64 (%0)" ::"r"(v->fpu), "a"((uint32_t)all), "d"((uint32_t)(all >> 32))
                     : "memory");
    xsetbv(0, v->xcr0);
    if (vmx_caps.xsaves)
        wrmsr(MSR_XSS, v->xss);
}

void fpu_save(struct vmx_vcpu *v)
{
    if (!(read_cr4() & CR4_OSXSAVE)) {
        __asm__ volatile("fxsave64 (%0)" ::"r"(v->fpu) : "memory");
        return;
    }
    uint64_t all = fpu_all_features();
    v->xcr0 = xgetbv(0);
    xsetbv(0, all);
    __asm__ volatile("xsave64 (%0)" ::"r"(v->fpu), "a"((uint32_t)all), "d"((uint32_t)(all >> 32))
                     : "memory");
    if (vmx_caps.xsaves)
        v->xss = rdmsr(MSR_XSS);
}

static void read_place(uint32_t subleaf, uint32_t *eax, uint32_t *ebx, uint32_t *ecx)
{
    struct cpuid r = cpuid(0xd, subleaf);

    *eax = r.eax;
    *ebx = r.ebx;
    *ecx = r.ecx;
}

bool fpu_xsavec_right(void)
{
    struct xsavec_places places;

    if (!(read_cr4() & CR4_OSXSAVE) || !(cpuid(0xd, 1).eax & CPUID_D_1_EAX_XSAVEC))
        return true;
    if (!xsavec_find_places(&places, fpu_all_features(), read_place))
        return false;
    uint8_t *standard = heap_alloc(2 * XSAVEC_AREA), *compacted = standard + XSAVEC_AREA;
    if (!standard)
        return false;
    uint64_t xcr0 = xgetbv(0), rfbm = places.components;
    xsavec_fill(&places, standard);
    xsetbv(0, rfbm);
    __asm__ volatile("xrstor64 (%0)\n\txsavec64 (%1)"
                     :
                     : "r"(standard), "r"(compacted), "a"((uint32_t)rfbm),
                       "d"((uint32_t)(rfbm >> 32))
                     : "memory");
    xsetbv(0, xcr0);
    bool right = xsavec_right(&places, standard, compacted);
    heap_free(standard);
    return right;
}

void fpu_reset(struct vmx_vcpu *v)
{
    /* FCW and MXCSR as after RESET; with XSTATE_BV zero, XRSTOR initialises every other component.
     */
    memset(v->fpu, 0, fpu_size());
    *(uint16_t *)v->fpu = 0x40;
    *((uint8_t *)v->fpu + 4) = 0xff; /* no register is empty: tag word 5555h */
    *(uint32_t *)((uint8_t *)v->fpu + 24) = 0x1f80;
    if (read_cr4() & CR4_OSXSAVE)
        *(uint64_t *)((uint8_t *)v->fpu + FXSAVE_SIZE) = 3; /* x87 and SSE come from the area */
    v->xcr0 = XCR0_X87;
    v->xss = 0;
}

/* Components that XCR0 takes only in these combinations (SDM, "Extended Control Registers"). */
static bool xcr0_consistent(uint64_t xcr0)
{
    static const uint64_t together[] = {0x18, 0xe0, 0x60000}; /* MPX, AVX-512, AMX */

    for (unsigned i = 0; i < ARRAY_SIZE(together); i++)
        if ((xcr0 & together[i]) && (xcr0 & together[i]) != together[i])
            return false;
    return (xcr0 & XCR0_X87) && (!(xcr0 & BIT(2)) || (xcr0 & BIT(1))) &&
           (!(xcr0 & 0xe0) || (xcr0 & BIT(2)));
}

/* XRSTOR and XSETBV fault on what they refuse, and would do so in root mode. */
bool fpu_valid(const struct vmx_vcpu *v)
{
    const uint8_t *area = v->fpu;
    const uint64_t *header = (const uint64_t *)(area + FXSAVE_SIZE);
    uint32_t mxcsr;

    memcpy(&mxcsr, area + 24, sizeof(mxcsr));
    if (mxcsr & ~0xffffu)
        return false;
    if (!(read_cr4() & CR4_OSXSAVE))
        return true;
    for (unsigned i = 1; i < 8; i++)
        if (header[i])
            return false; /* the standard form: XCOMP_BV and the reserved bytes are 0 */
    return !(header[0] & ~fpu_all_features()) && xcr0_consistent(v->xcr0) &&
           !(v->xcr0 & ~fpu_all_features()) && v->xss == 0;
}
