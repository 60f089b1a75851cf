/*
 * What this CPU's VMX can do: the capability MSRs (SDM volume 3, appendix "VMX Capability Reporting
 * Facility") read once, and the few CPUID facts that go with them. Pure: the machine is reached
 * through two callbacks.
 */
#pragma once

#include "arch/x86/lib/types.h"

struct vmx_probe {
    void *ctx;
    uint64_t (*rdmsr)(void *ctx, uint32_t msr);
    /* regs receives EAX, EBX, ECX, EDX. */
    void (*cpuid)(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);
};

/* An MSR that the CPU does not have reads as 0 here, which allows nothing. */
struct vmx_caps {
    bool vmx; /* CPUID.1:ECX.VMX; without it nothing below was read except the CPUID facts */
    bool intel;
    bool smx, rdtscp, invpcid, xsaves, waitpkg, nx, page_1g, la57;
    uint8_t physical_bits, linear_bits;

    uint64_t feature_control;
    uint64_t basic;
    /* Low half: bits that must be 1; high half: bits that may be 1. The TRUE variants where the CPU
     * has them. */
    uint64_t pin, primary, exit, entry;
    uint64_t secondary;
    uint64_t tertiary; /* 64 bits that may be 1 */
    uint64_t misc;
    uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
    uint64_t vmcs_enum;
    uint64_t ept_vpid;
    uint64_t vmfunc;
};

/* Read everything, touching only MSRs that exist: reading a missing one is #GP on silicon. */
void vmx_caps_read(struct vmx_caps *caps, const struct vmx_probe *probe);

/* IA32_VMX_BASIC */
#define VMX_REVISION(caps) ((uint32_t)(caps)->basic & 0x7fffffff)
#define VMX_BASIC_32BIT    BIT(48) /* VMX structures must lie below 4 GiB */
#define VMX_BASIC_INS_OUTS BIT(54) /* exits report INS/OUTS information */
#define VMX_BASIC_TRUE     BIT(55)
#define VMX_BASIC_NO_ERROR                                                                         \
    BIT(56) /* any hardware exception may be injected without an error code */

/* IA32_FEATURE_CONTROL */
#define FEATURE_CONTROL_LOCK       BIT(0)
#define FEATURE_CONTROL_VMX_IN_SMX BIT(1)
#define FEATURE_CONTROL_VMX        BIT(2)

enum vmx_firmware {
    VMX_FIRMWARE_ON,   /* VMXON will work */
    VMX_FIRMWARE_OPEN, /* write vmx_feature_control_value() first; it locks */
    VMX_FIRMWARE_OFF   /* no way: *sentence says what the user can do */
};
/* Whether VMXON is possible, from CPUID and IA32_FEATURE_CONTROL. *sentence is set for
 * VMX_FIRMWARE_OFF only. */
enum vmx_firmware vmx_check_firmware(const struct vmx_caps *caps, const char **sentence);
uint64_t vmx_feature_control_value(const struct vmx_caps *caps);
