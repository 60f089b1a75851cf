/*
 * Which of the known errata of speculation this processor has. Pure: CPUID and MSRs are callbacks,
 * so that unit tests can be any processor. Facts are of Intel's table of affected processors and of
 * what its guidance says of IA32_ARCH_CAPABILITIES.
 */
#pragma once

#include "arch/x86/lib/types.h"

/* CPUID.7.0:EDX */
#define FEATURE_SRBDS_CTRL        BIT(9)
#define FEATURE_MD_CLEAR          BIT(10)
#define FEATURE_IBRS              BIT(26) /* and IBPB: SPEC_CTRL and PRED_CMD are there */
#define FEATURE_STIBP             BIT(27)
#define FEATURE_L1D_FLUSH         BIT(28) /* FLUSH_CMD is there */
#define FEATURE_ARCH_CAPABILITIES BIT(29)
#define FEATURE_SSBD              BIT(31)

/* CPUID.7.2:EDX: bits of SPEC_CTRL that are there */
#define CONTROL_PSFD    BIT(0)
#define CONTROL_IPRED   BIT(1)
#define CONTROL_RRSBA   BIT(2)
#define CONTROL_DDPD_U  BIT(3)
#define CONTROL_BHI     BIT(4)
#define CONTROL_MCDT_NO BIT(5) /* no control: some instructions take equally long with any data */

/* IA32_ARCH_CAPABILITIES */
#define CAPABILITY_RDCL_NO       BIT(0)
#define CAPABILITY_IBRS_ALL      BIT(1) /* enhanced IBRS: set once, it holds */
#define CAPABILITY_RSBA          BIT(2) /* returns behind an empty RSB are predicted otherwise */
#define CAPABILITY_SKIP_L1DFL    BIT(3)
#define CAPABILITY_SSB_NO        BIT(4)
#define CAPABILITY_MDS_NO        BIT(5)
#define CAPABILITY_PSCHANGE_NO   BIT(6)
#define CAPABILITY_TSX_CTRL      BIT(7)
#define CAPABILITY_TAA_NO        BIT(8)
#define CAPABILITY_SBDR_SSDP_NO  BIT(13)
#define CAPABILITY_FBSDP_NO      BIT(14)
#define CAPABILITY_PSDP_NO       BIT(15)
#define CAPABILITY_FB_CLEAR      BIT(17)
#define CAPABILITY_FB_CLEAR_CTRL BIT(18)
#define CAPABILITY_RRSBA         BIT(19)
#define CAPABILITY_BHI_NO        BIT(20)
#define CAPABILITY_PBRSB_NO      BIT(24)
#define CAPABILITY_GDS_CTRL      BIT(25)
#define CAPABILITY_GDS_NO        BIT(26)
#define CAPABILITY_RFDS_NO       BIT(27)
#define CAPABILITY_RFDS_CLEAR    BIT(28)
#define CAPABILITY_ITS_NO        BIT(62)

/* IA32_SPEC_CTRL, IA32_PRED_CMD, IA32_FLUSH_CMD */
#define SPEC_CTRL_IBRS        BIT(0)
#define SPEC_CTRL_STIBP       BIT(1)
#define SPEC_CTRL_SSBD        BIT(2)
#define SPEC_CTRL_IPRED_DIS_U BIT(3)
#define SPEC_CTRL_IPRED_DIS_S BIT(4)
#define SPEC_CTRL_RRSBA_DIS_U BIT(5)
#define SPEC_CTRL_RRSBA_DIS_S BIT(6)
#define SPEC_CTRL_PSFD        BIT(7)
#define SPEC_CTRL_DDPD_U      BIT(8)
#define SPEC_CTRL_BHI_DIS_S   BIT(10)
#define PRED_CMD_IBPB         BIT(0)
#define FLUSH_CMD_L1D         BIT(0)

/* IA32_MCU_OPT_CTRL: what firmware may have switched off of the microcode's own mitigations */
#define MCU_OPT_RNGDS_OFF BIT(0)
#define MCU_OPT_GDS_OFF   BIT(4)

/* What a processor says of itself. */
struct cpu_speculation {
    bool intel;
    bool emulated;   /* it is nobody's silicon, and speculates nothing */
    bool small_core; /* of a hybrid processor: an Atom */
    bool random;     /* RDRAND or RDSEED */
    bool avx, tsx;
    uint8_t thread_bits; /* of the APIC id: which thread of its core */
    uint32_t family, model, stepping;
    uint32_t features;     /* CPUID.7.0:EDX */
    uint32_t controls;     /* CPUID.7.2:EDX */
    uint64_t capabilities; /* IA32_ARCH_CAPABILITIES; 0 where it is not there */
    uint64_t mcu_opt;      /* IA32_MCU_OPT_CTRL, likewise */
};

struct speculation_probe {
    void *ctx;
    uint32_t microcode; /* its revision; 0: none is told */
    void (*cpuid)(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);
    bool (*rdmsr)(void *ctx, uint32_t msr, uint64_t *value); /* false: #GP */
    bool (*wrmsr)(void *ctx, uint32_t msr, uint64_t value);
};

void speculation_read(struct cpu_speculation *s, const struct speculation_probe *probe);

#define ERRATUM_SPECTRE_V2 BIT(0)
#define ERRATUM_RETBLEED   BIT(1) /* returns are predicted as other branches are */
#define ERRATUM_ITS        BIT(2) /* across VM exits: in a line's lower half */
#define ERRATUM_BHI        BIT(3)
#define ERRATUM_PBRSB      BIT(4) /* the first return behind a VM exit, in spite of eIBRS */
#define ERRATUM_L1TF       BIT(5)
#define ERRATUM_MDS        BIT(6)
#define ERRATUM_TAA        BIT(7)
#define ERRATUM_MMIO       BIT(8) /* stale data behind the machine's MMIO */
#define ERRATUM_RFDS       BIT(9)
#define ERRATUM_SRBDS      BIT(10)
#define ERRATUM_GDS        BIT(11)
#define ERRATUM_SSB        BIT(12)
#define ERRATUM_VMSCAPE    BIT(13) /* guests choose branches of the host's less privileged code */
#define ERRATUM_ITS_INSIDE BIT(14) /* ITS, also where it does not cross VM exits */

/* Those that it has. */
uint32_t speculation_errata(const struct cpu_speculation *s);
