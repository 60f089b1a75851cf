/*
 * What a debugger outside the guest needs of a vCPU: exits for breakpoints, a trap behind the next
 * instruction, the debug registers. All of it works on the vCPU that is loaded on this CPU.
 */
#pragma once

#include "vmx/vcpu.h"

/* Exit behind the next instruction, or behind an event's delivery (monitor trap flag); only where
 * vmx_features.monitor_trap_flag says so. */
void vmx_set_monitor_trap(struct vmx_vcpu *v, bool on);
/* An exit has come before the instruction was carried out: no trap of RFLAGS.TF waits for the
 * entry, whatever the exit has saved. */
void vmx_drop_trap(void);
/* Keep interrupts from being taken before the next instruction, if one could be. */
void vmx_hold_interrupts(void);

/*
 * Have the debug registers for ourselves: the guest's are kept, and its MOV DR exit. May be called
 * again with other values.
 */
void vmx_take_debug_registers(struct vmx_vcpu *v, const uint64_t dr[4], uint64_t dr7);
void vmx_return_debug_registers(struct vmx_vcpu *v);
/* While they are taken: the guest's DRn, n in 0 to 3, 6, 7. */
uint64_t *vmx_taken_debug_register(struct vmx_vcpu *v, unsigned n);

/* The x87 and SSE state as FXSAVE lays it out (SDM, "FXSAVE Area"). Writing it returns false, with
 * nothing changed, for an MXCSR that the CPU would refuse. */
#define VMX_FXSAVE 512
void vmx_get_fpu(struct vmx_vcpu *v, uint8_t area[VMX_FXSAVE]);
bool vmx_set_fpu(struct vmx_vcpu *v, const uint8_t area[VMX_FXSAVE]) MUST_CHECK;
