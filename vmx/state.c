#include "vmx/state.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/trap.h"
#include "vmx/cpu.h"
#include "vmx/fpu.h"

#define SECTION "vmx-vcpu"
#define VERSION 2

/* Guest state beside the eight segments, which follow one another, and what of the controls belongs
 * to the guest. */
static const enum vmcs_field fields[] = {
    VMCS_GUEST_CR0,           VMCS_GUEST_CR3,
    VMCS_GUEST_CR4,           VMCS_CR0_SHADOW,
    VMCS_CR4_SHADOW,          VMCS_GUEST_EFER,
    VMCS_GUEST_PAT,           VMCS_GUEST_DEBUGCTL,
    VMCS_GUEST_DR7,           VMCS_GUEST_RSP,
    VMCS_GUEST_RIP,           VMCS_GUEST_RFLAGS,
    VMCS_GUEST_GDTR_BASE,     VMCS_GUEST_GDTR_LIMIT,
    VMCS_GUEST_IDTR_BASE,     VMCS_GUEST_IDTR_LIMIT,
    VMCS_GUEST_SYSENTER_CS,   VMCS_GUEST_SYSENTER_ESP,
    VMCS_GUEST_SYSENTER_EIP,  VMCS_GUEST_PDPTE0,
    VMCS_GUEST_PDPTE1,        VMCS_GUEST_PDPTE2,
    VMCS_GUEST_PDPTE3,        VMCS_GUEST_INTERRUPTIBILITY,
    VMCS_GUEST_PENDING_DEBUG, VMCS_ENTRY_INTR_INFO,
    VMCS_ENTRY_ERROR_CODE,    VMCS_ENTRY_INSTRUCTION_LENGTH,
};

void vmx_vcpu_save(struct vmx_vcpu *v, struct state_writer *w)
{
    struct vmx_segment s;

    state_begin(w, SECTION, VERSION);
    for (unsigned i = 0; i < GPR_COUNT; i++)
        state_put_u64(w, v->gpr[i]);
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
        state_put_u64(w, vmread_any(fields[i]));
    for (enum segment i = SEG_ES; i < SEG_COUNT; i++) {
        vmx_get_segment(i, &s);
        state_put_u16(w, s.selector);
        state_put_u32(w, s.limit);
        state_put_u32(w, s.access);
        state_put_u64(w, s.base);
    }
    for (unsigned i = 0; i < SHARED_MSR_COUNT; i++)
        state_put_u64(w, vmx_get_shared_msr(i));
    state_put_u64(w, read_cr2());
    state_put_u64(w, read_dr0());
    state_put_u64(w, read_dr1());
    state_put_u64(w, read_dr2());
    state_put_u64(w, read_dr3());
    state_put_u64(w, read_dr6());
    state_put_u64(w, v->spec_ctrl);
    state_put_u8(w, v->spec_passed);
    fpu_save(v);
    fpu_load(v);
    state_put_u64(w, v->xcr0);
    state_put_u64(w, v->xss);
    state_put_u32(w, (uint32_t)fpu_size());
    state_put(w, v->fpu, fpu_size());
    state_end(w);
}

int vmx_vcpu_restore(struct vmx_vcpu *v, struct state_reader *r)
{
    struct vmx_segment s;
    bool bad = false;

    if (state_enter(r, SECTION, VERSION) < 0)
        return -EBADMSG;
    for (unsigned i = 0; i < GPR_COUNT; i++)
        v->gpr[i] = state_get_u64(r);
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
        vmwrite_any(fields[i], state_get_u64(r));
    for (enum segment i = SEG_ES; i < SEG_COUNT; i++) {
        s.selector = state_get_u16(r);
        s.limit = state_get_u32(r);
        s.access = state_get_u32(r);
        s.base = state_get_u64(r);
        vmx_set_segment(i, &s);
    }
    for (unsigned i = 0; i < SHARED_MSR_COUNT; i++)
        bad |= !vmx_set_shared_msr(i, state_get_u64(r));
    write_cr2(state_get_u64(r));
    write_dr0(state_get_u64(r));
    write_dr1(state_get_u64(r));
    write_dr2(state_get_u64(r));
    write_dr3(state_get_u64(r));
    write_dr6((uint32_t)state_get_u64(r)); /* bits 63:32 fault */
    uint64_t spec_ctrl = state_get_u64(r);
    bool spec_passed = state_get_u8(r);
    bad |= spec_ctrl & ~spec_guest.spec_ctrl || (spec_passed && !spec_guest.spec_ctrl);
    v->xcr0 = state_get_u64(r);
    v->xss = state_get_u64(r);
    bad |= state_get_u32(r) != fpu_size();
    if (!bad)
        state_get(r, v->fpu, fpu_size());
    bad |= !fpu_valid(v);
    if (state_leave(r) < 0 || bad) {
        vmx_vcpu_reset(v, VMX_RESET);
        return -EBADMSG;
    }
    fpu_load(v);
    v->spec_ctrl = spec_ctrl;
    vmx_pass_spec_ctrl(v, spec_passed);
    vmx_set_efer(v, vmx_get_efer()); /* the entry control that goes with LMA */
    vmx_flush_linear(v);
    return 0;
}
