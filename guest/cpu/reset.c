/* What a vCPU is like after power-on, RESET, INIT and a start-up IPI, and where a guest's software
 * starts. */
#include "guest/cpu/exit.h"
#include "guest/cpu/events.h"
#include "guest/load/sink.h"

#include "guest/cpu/probe.h"
#include "guest/cpu/pv.h"

#define REAL_LIMIT    0xffff
#define FLAT_LIMIT    0xffffffff
#define PVH_TSS_LIMIT 0x67 /* PVH's boot protocol wants TR with base 0 and this limit */

void vcpu_init_reset(struct vcpu *v)
{
    if (UNLIKELY(probes))
        probes->reset(v);
    vmx_vcpu_reset(&v->hw, VMX_INIT);
    v->event.info = 0;
    v->nmis = 0;
    v->halted = false;
    pv_reset(&v->pv);
    pv_follow_eoi(v);
    cpuid_set_cr4(&v->cpuid, 0);
    lapic_init_reset(&v->lapic);
    vmx_request_interrupt_window(&v->hw, false);
    vmx_request_nmi_window(&v->hw, false);
    vcpu_apic_mode(v);
}

void vcpu_reset(struct vcpu *v, uint64_t tsc_offset)
{
    bool held = vcpu_hold(v);

    if (UNLIKELY(probes))
        probes->reset(v);
    vmx_vcpu_reset(&v->hw, VMX_RESET);
    v->event.info = 0;
    v->nmis = 0;
    v->halted = false;
    pv_reset(&v->pv);
    pv_follow_eoi(v);
    v->wait_for_startup = v->accepts_startup = v->id != 0;
    v->lapic.tsc_offset = tsc_offset;
    vmx_set_tsc_offset(v->lapic.tsc_offset);
    msr_reset(&v->msr);
    cpuid_set_misc_enable(&v->cpuid, v->msr.misc_enable);
    cpuid_set_cr4(&v->cpuid, 0);
    cpuid_set_xcr0(&v->cpuid, XCR0_X87, 0);
    lapic_reset(&v->lapic);
    vmx_request_interrupt_window(&v->hw, false);
    vmx_request_nmi_window(&v->hw, false);
    vcpu_apic_mode(v);
    __atomic_fetch_and(&v->task.requests, REQUESTS_KEPT, __ATOMIC_SEQ_CST);
    vcpu_ask(v, REQUEST_TIMER | REQUEST_EVENT | (vcpu_reload_test ? REQUEST_RELOAD : 0));
    vcpu_release(v, held);
}

void vcpu_start_at(struct vcpu *v, const struct guest_start *start)
{
    bool real = start->mode == GUEST_REAL;
    const struct vmx_segment code = {
        .selector = start->code_selector,
        .limit = real ? REAL_LIMIT : FLAT_LIMIT,
        .access = real                        ? SEGMENT_CODE
                  : start->mode == GUEST_LONG ? SEGMENT_CODE | SEGMENT_LONG | SEGMENT_PAGES
                                              : SEGMENT_CODE | SEGMENT_BIG | SEGMENT_PAGES,
    };
    const struct vmx_segment data = {.selector = start->data_selector,
                                     .limit = real ? REAL_LIMIT : FLAT_LIMIT,
                                     .access = real ? SEGMENT_DATA
                                                    : SEGMENT_DATA | SEGMENT_BIG | SEGMENT_PAGES};
    const struct vmx_segment tr = {.limit = PVH_TSS_LIMIT, .access = SEGMENT_BUSY_TSS};
    bool held = vcpu_hold(v);

    vmx_set_segment(SEG_CS, &code);
    for (enum segment s = SEG_ES; s <= SEG_GS; s++)
        if (s != SEG_CS)
            vmx_set_segment(s, &data);
    vmx_set_segment(SEG_TR, &tr);
    if (!real)
        vmx_set_descriptor_table(false, start->gdt_base, start->gdt_limit);
    vmx_set_efer(&v->hw, start->efer & ~EFER_LMA);
    vmx_set_cr4(&v->hw, start->cr4);
    vmx_set_cr3(&v->hw, start->cr3);
    vmx_set_cr0(&v->hw, start->cr0);
    vmx_set_rip(start->rip);
    vmx_set_gpr(&v->hw, RSP, start->rsp);
    vmx_set_gpr(&v->hw, RAX, start->rax);
    vmx_set_gpr(&v->hw, RBX, start->rbx);
    vmx_set_gpr(&v->hw, RDX, start->rdx);
    vmx_set_gpr(&v->hw, RSI, start->rsi);
    vmx_set_gpr(&v->hw, RDI, start->rdi);
    lapic_virtual_wire(&v->lapic); /* as firmware would leave it */
    vcpu_apic_mode(v);
    vcpu_release(v, held);
}

/* SDM, "MP Initialization Protocol Algorithm for MP Systems"; one start-up IPI after an INIT
 * counts. The boot processor is at the reset vector after an INIT, and waits for none. */
void vcpu_startup_message(struct vcpu *v, uint32_t requests)
{
    if (requests & REQUEST_INIT) {
        vcpu_init_reset(v);
        v->wait_for_startup = !(v->lapic.base & APIC_BASE_BSP);
    }
    if ((requests & REQUEST_STARTUP) && v->wait_for_startup) {
        const struct vmx_segment code = {.selector = (uint16_t)(v->startup_vector << 8),
                                         .base = (uint64_t)v->startup_vector << 12,
                                         .limit = REAL_LIMIT,
                                         .access = SEGMENT_CODE};
        vmx_set_segment(SEG_CS, &code);
        vmx_set_rip(0);
        v->wait_for_startup = false;
    }
}
