/* Model-specific registers, by their names in the SDM ("Model-Specific Registers"). */
#pragma once

#include "arch/x86/lib/types.h"

#define MSR_TSC                   0x010u
#define MSR_PLATFORM_ID           0x017u
#define MSR_APIC_BASE             0x01bu
#define MSR_TEST_CTRL             0x033u
#define MSR_FEATURE_CONTROL       0x03au
#define MSR_TSC_ADJUST            0x03bu
#define MSR_SPEC_CTRL             0x048u
#define MSR_PRED_CMD              0x049u
#define MSR_BIOS_SIGN_ID          0x08bu
#define MSR_SMM_MONITOR_CTL       0x09bu
#define MSR_CORE_CAPABILITIES     0x0cfu
#define MSR_PLATFORM_INFO         0x0ceu
#define MSR_UMWAIT_CONTROL        0x0e1u
#define MSR_MPERF                 0x0e7u
#define MSR_APERF                 0x0e8u
#define MSR_MTRRCAP               0x0feu
#define MSR_ARCH_CAPABILITIES     0x10au
#define MSR_FLUSH_CMD             0x10bu
#define MSR_TSX_CTRL              0x122u
#define MSR_MCU_OPT_CTRL          0x123u
#define MSR_MISC_FEATURES_ENABLES 0x140u
#define MSR_SYSENTER_CS           0x174u
#define MSR_SYSENTER_ESP          0x175u
#define MSR_SYSENTER_EIP          0x176u
#define MSR_MCG_CAP               0x179u
#define MSR_MCG_STATUS            0x17au
#define MSR_MCG_CTL               0x17bu
#define MSR_PERF_STATUS           0x198u
#define MSR_PERF_CTL              0x199u
#define MSR_THERM_STATUS          0x19cu
#define MSR_MISC_ENABLE           0x1a0u
#define MSR_DEBUGCTL              0x1d9u
#define MSR_MTRR_PHYSBASE0        0x200u /* + 2n; PHYSMASKn is the next one */
#define MSR_MTRR_FIX64K_00000     0x250u
#define MSR_MTRR_FIX16K_80000     0x258u
#define MSR_MTRR_FIX16K_A0000     0x259u
#define MSR_MTRR_FIX4K_C0000      0x268u /* ... FIX4K_F8000 = 0x26f */
#define MSR_PAT                   0x277u
#define MSR_MTRR_DEF_TYPE         0x2ffu
#define MSR_PERF_GLOBAL_CTRL      0x38fu
#define MSR_MC0_CTL               0x400u /* + 4n */
#define MSR_MCI_CTL(n)            (0x400u + 4 * (n))
#define MSR_MCI_STATUS(n)         (0x401u + 4 * (n))
#define MSR_MCI_ADDR(n)           (0x402u + 4 * (n))
#define MSR_MCI_MISC(n)           (0x403u + 4 * (n))
#define MSR_X2APIC_FIRST          0x800u
#define MSR_X2APIC_LAST           0x8ffu

#define MSR_VMX_BASIC               0x480u
#define MSR_VMX_PINBASED_CTLS       0x481u
#define MSR_VMX_PROCBASED_CTLS      0x482u
#define MSR_VMX_EXIT_CTLS           0x483u
#define MSR_VMX_ENTRY_CTLS          0x484u
#define MSR_VMX_MISC                0x485u
#define MSR_VMX_CR0_FIXED0          0x486u
#define MSR_VMX_CR0_FIXED1          0x487u
#define MSR_VMX_CR4_FIXED0          0x488u
#define MSR_VMX_CR4_FIXED1          0x489u
#define MSR_VMX_VMCS_ENUM           0x48au
#define MSR_VMX_PROCBASED_CTLS2     0x48bu
#define MSR_VMX_EPT_VPID_CAP        0x48cu
#define MSR_VMX_TRUE_PINBASED_CTLS  0x48du
#define MSR_VMX_TRUE_PROCBASED_CTLS 0x48eu
#define MSR_VMX_TRUE_EXIT_CTLS      0x48fu
#define MSR_VMX_TRUE_ENTRY_CTLS     0x490u
#define MSR_VMX_VMFUNC              0x491u
#define MSR_VMX_PROCBASED_CTLS3     0x492u

#define MSR_MCG_EXT_CTL    0x4d0u
#define MSR_TSC_DEADLINE   0x6e0u
#define MSR_X2APIC         0x800u /* + register offset in the xAPIC page >> 4 */
#define MSR_X2APIC_TPR     0x808u
#define MSR_X2APIC_EOI     0x80bu
#define MSR_X2APIC_ICR     0x830u
#define MSR_X2APIC_SELF    0x83fu
#define MSR_XSS            0xda0u
#define MSR_EFER           0xc0000080u
#define MSR_STAR           0xc0000081u
#define MSR_LSTAR          0xc0000082u
#define MSR_CSTAR          0xc0000083u
#define MSR_FMASK          0xc0000084u
#define MSR_FS_BASE        0xc0000100u
#define MSR_GS_BASE        0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX        0xc0000103u

#define APIC_BASE_BSP    BIT(8)
#define APIC_BASE_X2APIC BIT(10)
#define APIC_BASE_ENABLE BIT(11)
#define APIC_BASE_ADDR   0x000ffffffffff000ULL

#define FEATURE_CONTROL_LOCK        BIT(0)
#define FEATURE_CONTROL_VMX_IN_SMX  BIT(1)
#define FEATURE_CONTROL_VMX_OUT_SMX BIT(2)
#define FEATURE_CONTROL_LMCE        BIT(20)
