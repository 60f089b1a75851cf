#include "vmx/debug.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/trap.h"
#include "vmx/cpu.h"
#include "vmx/event.h"
#include "vmx/fpu.h"

#define PENDING_BS    BIT(14) /* pending debug exceptions: single-step */
#define FXSAVE_MXCSR  24
#define FXSAVE_LEGACY 416 /* the rest of the area is nobody's */
#define XSTATE_BV     (*(uint64_t *)((uint8_t *)v->fpu + VMX_FXSAVE))

void vmx_set_monitor_trap(struct vmx_vcpu *v, bool on)
{
    vmx_set_primary(v, CPU_MONITOR_TRAP_FLAG, on);
}

void vmx_drop_trap(void)
{
    uint64_t pending = vmread_natural(VMCS_GUEST_PENDING_DEBUG);

    if (pending & PENDING_BS)
        vmwrite_natural(VMCS_GUEST_PENDING_DEBUG, pending & ~PENDING_BS);
}

/* As behind an STI. With TF set a VM entry would want a trap to be pending, too. */
void vmx_hold_interrupts(void)
{
    uint64_t rflags = vmread_natural(VMCS_GUEST_RFLAGS);
    uint32_t blocking = vmread32(VMCS_GUEST_INTERRUPTIBILITY);

    if ((rflags & RFLAGS_IF) && !(rflags & RFLAGS_TF) && !blocking && !vmx_injection_pending())
        vmwrite32(VMCS_GUEST_INTERRUPTIBILITY, BLOCKING_BY_STI);
}

/* --- debug registers --- */

static void write_all(const uint64_t dr[4])
{
    write_dr0(dr[0]);
    write_dr1(dr[1]);
    write_dr2(dr[2]);
    write_dr3(dr[3]);
}

void vmx_take_debug_registers(struct vmx_vcpu *v, const uint64_t dr[4], uint64_t dr7)
{
    if (!v->debug_taken) {
        v->guest_dr[0] = read_dr0();
        v->guest_dr[1] = read_dr1();
        v->guest_dr[2] = read_dr2();
        v->guest_dr[3] = read_dr3();
        v->guest_dr[6] = read_dr6();
        v->guest_dr[7] = vmread_natural(VMCS_GUEST_DR7);
        v->debug_taken = true;
        vmx_set_primary(v, CPU_MOV_DR, true);
    }
    write_all(dr);
    vmwrite_natural(VMCS_GUEST_DR7, dr7);
}

void vmx_return_debug_registers(struct vmx_vcpu *v)
{
    if (!v->debug_taken)
        return;
    v->debug_taken = false;
    vmx_set_primary(v, CPU_MOV_DR, false);
    write_all(v->guest_dr);
    write_dr6(v->guest_dr[6]);
    vmwrite_natural(VMCS_GUEST_DR7, v->guest_dr[7]);
}

uint64_t *vmx_taken_debug_register(struct vmx_vcpu *v, unsigned n)
{
    return &v->guest_dr[n & 7];
}

/* --- x87 and SSE --- */

void vmx_get_fpu(struct vmx_vcpu *v, uint8_t area[VMX_FXSAVE])
{
    fpu_save(v);
    fpu_load(v);
    memcpy(area, v->fpu, VMX_FXSAVE);
}

bool vmx_set_fpu(struct vmx_vcpu *v, const uint8_t area[VMX_FXSAVE])
{
    uint32_t mxcsr;

    memcpy(&mxcsr, area + FXSAVE_MXCSR, sizeof(mxcsr));
    if (mxcsr & ~0xffffu)
        return false;
    fpu_save(v);
    memcpy(v->fpu, area, FXSAVE_LEGACY);
    if (read_cr4() & CR4_OSXSAVE)
        XSTATE_BV |= 3;
    fpu_load(v);
    return true;
}
