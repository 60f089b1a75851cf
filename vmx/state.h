/* A vCPU's register state as a stream: what VMX holds of it, what the CPU's registers hold, and its
 * FPU. */
#pragma once

#include "guest/board/state.h"
#include "vmx/vcpu.h"

/* The loaded vCPU's whole register state, as one section. */
void vmx_vcpu_save(struct vmx_vcpu *v, struct state_writer *w);
/*
 * Replace the loaded vCPU's register state. 0, or -EBADMSG with the vCPU in power-on state. Values
 * that the processor itself would refuse are refused at VM entry, which ends the VM and nothing
 * else.
 */
int vmx_vcpu_restore(struct vmx_vcpu *v, struct state_reader *r) MUST_CHECK;
