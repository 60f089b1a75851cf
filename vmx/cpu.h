/*
 * One processor in VMX operation: the capability MSRs read once for the machine, VMXON on each CPU,
 * and which VMCS is current where.
 */
#pragma once

#include "arch/x86/percpu.h"
#include "vmx/controls.h"
#include "vmx/speculation.h"
#include "vmx/vcpu.h"

struct vmx_cpu {
    paddr vmxon_region;
    struct vmx_vcpu *current;
    uint64_t host_xcr0, host_xss;
    struct vmx_speculation speculation;
    uint64_t domain; /* whose guest ran here last: speculation_part() */
};

static inline struct vmx_cpu *vmx_this_cpu(void)
{
    return this_cpu()->vmx;
}

/* Read-only after vmx_probe(). */
extern struct vmx_caps vmx_caps;
extern struct vmx_controls vmx_controls;
extern struct vmx_features vmx_features;
/* A page of ones, both I/O bitmaps of every VMCS: every port access of every guest exits. */
extern paddr vmx_io_bitmap;

/* Read vmx_caps. Touches no MSR that is VMX's where CPUID does not show VMX. */
void vmx_read_caps(void);
/*
 * Find out what VMX this machine has and choose the control words; says on the log what is missing
 * and what to do about it. `without` is a set of VMX_WITHOUT bits. 0, or -ENOTSUP.
 */
int vmx_probe(uint32_t without) MUST_CHECK;
/* What may be executed in large EPT leaves, after vmx_probe(): nothing where the processor would
 * not stand that, or all or nothing whatever it is. */
enum vmx_leaves { VMX_LEAVES_AUTO, VMX_LEAVES_SMALL, VMX_LEAVES_LARGE };
void vmx_choose_leaves(enum vmx_leaves leaves);
/* Log what will be used and which fallback stands in for what is not there. */
void vmx_log_features(void);
/* Enter VMX root operation on this CPU, which becomes *cpu (vmx_this_cpu()). 0, -ENOMEM, -ENOTSUP
 * with the reason on the log. */
int vmx_cpu_start(struct vmx_cpu *cpu) MUST_CHECK;
/* Leave VMX operation; no VMCS may be current. */
void vmx_cpu_stop(struct vmx_cpu *cpu);
/* INVEPT and INVVPID for everything on this CPU. */
void vmx_flush_all(void);
