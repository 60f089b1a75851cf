/*
 * VM exits that only somebody who watches the guest wants, switched on and off for the vCPU that is
 * loaded on this CPU. The guest does not see them.
 */
#pragma once

#include "vmx/vcpu.h"

/* Exceptions that exit beside those that always do: BIT(vector). */
void vmx_intercept_exceptions(uint32_t vectors);
/* Every write to CR0, CR3 or CR4 (cr = 0, 3, 4). */
void vmx_watch_cr(struct vmx_vcpu *v, unsigned cr, bool on);
/* Instructions that load or store GDTR, IDTR, LDTR or TR; only where vmx_features.descriptor_table
 * says so. */
void vmx_watch_descriptor_tables(struct vmx_vcpu *v, bool on);
/*
 * SYSCALL and SYSRET raise #UD, which the caller intercepts: EFER.SCE is off, and the guest's is
 * kept.
 */
void vmx_watch_syscall(struct vmx_vcpu *v, bool on);
/* Whether the guest has SYSCALL switched on, while it is watched. */
static inline bool vmx_guest_syscall(const struct vmx_vcpu *v)
{
    return v->guest_sce;
}

/* Use the EPT with this EPTP from the next entry on. */
void vmx_use_ept(uint64_t eptp);

/* GDTR or IDTR. */
struct vmx_table {
    uint64_t base;
    uint32_t limit;
};
struct vmx_table vmx_descriptor_table(bool idt);
