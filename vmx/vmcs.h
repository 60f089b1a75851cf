/*
 * VMCS fields (SDM volume 3, "Field Encoding in VMCS") as one enum, and accessors that refuse a
 * field of another width at compile time. Bits 14:13 of an encoding give the width, bits 11:10 the
 * area.
 */
#pragma once

#include "arch/x86/lib/types.h"

enum vmcs_field {
    /* 16-bit control */
    VMCS_VPID = 0x0000,
    VMCS_POSTED_INTR_VECTOR = 0x0002,
    VMCS_EPTP_INDEX = 0x0004,
    /* 16-bit guest state */
    VMCS_GUEST_ES_SELECTOR = 0x0800,
    VMCS_GUEST_CS_SELECTOR = 0x0802,
    VMCS_GUEST_SS_SELECTOR = 0x0804,
    VMCS_GUEST_DS_SELECTOR = 0x0806,
    VMCS_GUEST_FS_SELECTOR = 0x0808,
    VMCS_GUEST_GS_SELECTOR = 0x080a,
    VMCS_GUEST_LDTR_SELECTOR = 0x080c,
    VMCS_GUEST_TR_SELECTOR = 0x080e,
    VMCS_GUEST_INTR_STATUS = 0x0810,
    VMCS_GUEST_PML_INDEX = 0x0812,
    /* 16-bit host state */
    VMCS_HOST_ES_SELECTOR = 0x0c00,
    VMCS_HOST_CS_SELECTOR = 0x0c02,
    VMCS_HOST_SS_SELECTOR = 0x0c04,
    VMCS_HOST_DS_SELECTOR = 0x0c06,
    VMCS_HOST_FS_SELECTOR = 0x0c08,
    VMCS_HOST_GS_SELECTOR = 0x0c0a,
    VMCS_HOST_TR_SELECTOR = 0x0c0c,

    /* 64-bit control */
    VMCS_IO_BITMAP_A = 0x2000,
    VMCS_IO_BITMAP_B = 0x2002,
    VMCS_MSR_BITMAP = 0x2004,
    VMCS_EXIT_MSR_STORE_ADDR = 0x2006,
    VMCS_EXIT_MSR_LOAD_ADDR = 0x2008,
    VMCS_ENTRY_MSR_LOAD_ADDR = 0x200a,
    VMCS_EXECUTIVE_VMCS = 0x200c,
    VMCS_PML_ADDRESS = 0x200e,
    VMCS_TSC_OFFSET = 0x2010,
    VMCS_VIRTUAL_APIC_ADDR = 0x2012,
    VMCS_APIC_ACCESS_ADDR = 0x2014,
    VMCS_POSTED_INTR_DESC = 0x2016,
    VMCS_VM_FUNCTION_CONTROLS = 0x2018,
    VMCS_EPTP = 0x201a,
    VMCS_EOI_EXIT_BITMAP0 = 0x201c,
    VMCS_EOI_EXIT_BITMAP1 = 0x201e,
    VMCS_EOI_EXIT_BITMAP2 = 0x2020,
    VMCS_EOI_EXIT_BITMAP3 = 0x2022,
    VMCS_EPTP_LIST_ADDR = 0x2024,
    VMCS_VMREAD_BITMAP = 0x2026,
    VMCS_VMWRITE_BITMAP = 0x2028,
    VMCS_VIRT_EXCEPTION_ADDR = 0x202a,
    VMCS_XSS_EXIT_BITMAP = 0x202c,
    VMCS_ENCLS_EXIT_BITMAP = 0x202e,
    VMCS_SUB_PAGE_POINTER = 0x2030,
    VMCS_TSC_MULTIPLIER = 0x2032,
    VMCS_TERTIARY_CONTROLS = 0x2034,
    /* 64-bit read-only data */
    VMCS_GUEST_PHYSICAL_ADDRESS = 0x2400,
    /* 64-bit guest state */
    VMCS_LINK_POINTER = 0x2800,
    VMCS_GUEST_DEBUGCTL = 0x2802,
    VMCS_GUEST_PAT = 0x2804,
    VMCS_GUEST_EFER = 0x2806,
    VMCS_GUEST_PERF_GLOBAL_CTRL = 0x2808,
    VMCS_GUEST_PDPTE0 = 0x280a,
    VMCS_GUEST_PDPTE1 = 0x280c,
    VMCS_GUEST_PDPTE2 = 0x280e,
    VMCS_GUEST_PDPTE3 = 0x2810,
    VMCS_GUEST_BNDCFGS = 0x2812,
    /* 64-bit host state */
    VMCS_HOST_PAT = 0x2c00,
    VMCS_HOST_EFER = 0x2c02,
    VMCS_HOST_PERF_GLOBAL_CTRL = 0x2c04,

    /* 32-bit control */
    VMCS_PIN_CONTROLS = 0x4000,
    VMCS_PRIMARY_CONTROLS = 0x4002,
    VMCS_EXCEPTION_BITMAP = 0x4004,
    VMCS_PF_ERROR_MASK = 0x4006,
    VMCS_PF_ERROR_MATCH = 0x4008,
    VMCS_CR3_TARGET_COUNT = 0x400a,
    VMCS_EXIT_CONTROLS = 0x400c,
    VMCS_EXIT_MSR_STORE_COUNT = 0x400e,
    VMCS_EXIT_MSR_LOAD_COUNT = 0x4010,
    VMCS_ENTRY_CONTROLS = 0x4012,
    VMCS_ENTRY_MSR_LOAD_COUNT = 0x4014,
    VMCS_ENTRY_INTR_INFO = 0x4016,
    VMCS_ENTRY_ERROR_CODE = 0x4018,
    VMCS_ENTRY_INSTRUCTION_LENGTH = 0x401a,
    VMCS_TPR_THRESHOLD = 0x401c,
    VMCS_SECONDARY_CONTROLS = 0x401e,
    VMCS_PLE_GAP = 0x4020,
    VMCS_PLE_WINDOW = 0x4022,
    VMCS_NOTIFY_WINDOW = 0x4024,
    /* 32-bit read-only data */
    VMCS_INSTRUCTION_ERROR = 0x4400,
    VMCS_EXIT_REASON = 0x4402,
    VMCS_EXIT_INTR_INFO = 0x4404,
    VMCS_EXIT_ERROR_CODE = 0x4406,
    VMCS_IDT_VECTORING_INFO = 0x4408,
    VMCS_IDT_VECTORING_ERROR = 0x440a,
    VMCS_EXIT_INSTRUCTION_LENGTH = 0x440c,
    VMCS_EXIT_INSTRUCTION_INFO = 0x440e,
    /* 32-bit guest state */
    VMCS_GUEST_ES_LIMIT = 0x4800,
    VMCS_GUEST_CS_LIMIT = 0x4802,
    VMCS_GUEST_SS_LIMIT = 0x4804,
    VMCS_GUEST_DS_LIMIT = 0x4806,
    VMCS_GUEST_FS_LIMIT = 0x4808,
    VMCS_GUEST_GS_LIMIT = 0x480a,
    VMCS_GUEST_LDTR_LIMIT = 0x480c,
    VMCS_GUEST_TR_LIMIT = 0x480e,
    VMCS_GUEST_GDTR_LIMIT = 0x4810,
    VMCS_GUEST_IDTR_LIMIT = 0x4812,
    VMCS_GUEST_ES_ACCESS = 0x4814,
    VMCS_GUEST_CS_ACCESS = 0x4816,
    VMCS_GUEST_SS_ACCESS = 0x4818,
    VMCS_GUEST_DS_ACCESS = 0x481a,
    VMCS_GUEST_FS_ACCESS = 0x481c,
    VMCS_GUEST_GS_ACCESS = 0x481e,
    VMCS_GUEST_LDTR_ACCESS = 0x4820,
    VMCS_GUEST_TR_ACCESS = 0x4822,
    VMCS_GUEST_INTERRUPTIBILITY = 0x4824,
    VMCS_GUEST_ACTIVITY = 0x4826,
    VMCS_GUEST_SMBASE = 0x4828,
    VMCS_GUEST_SYSENTER_CS = 0x482a,
    VMCS_PREEMPTION_TIMER = 0x482e,
    /* 32-bit host state */
    VMCS_HOST_SYSENTER_CS = 0x4c00,

    /* natural-width control */
    VMCS_CR0_MASK = 0x6000,
    VMCS_CR4_MASK = 0x6002,
    VMCS_CR0_SHADOW = 0x6004,
    VMCS_CR4_SHADOW = 0x6006,
    /* natural-width read-only data */
    VMCS_EXIT_QUALIFICATION = 0x6400,
    VMCS_GUEST_LINEAR_ADDRESS = 0x640a,
    /* natural-width guest state */
    VMCS_GUEST_CR0 = 0x6800,
    VMCS_GUEST_CR3 = 0x6802,
    VMCS_GUEST_CR4 = 0x6804,
    VMCS_GUEST_ES_BASE = 0x6806,
    VMCS_GUEST_CS_BASE = 0x6808,
    VMCS_GUEST_SS_BASE = 0x680a,
    VMCS_GUEST_DS_BASE = 0x680c,
    VMCS_GUEST_FS_BASE = 0x680e,
    VMCS_GUEST_GS_BASE = 0x6810,
    VMCS_GUEST_LDTR_BASE = 0x6812,
    VMCS_GUEST_TR_BASE = 0x6814,
    VMCS_GUEST_GDTR_BASE = 0x6816,
    VMCS_GUEST_IDTR_BASE = 0x6818,
    VMCS_GUEST_DR7 = 0x681a,
    VMCS_GUEST_RSP = 0x681c,
    VMCS_GUEST_RIP = 0x681e,
    VMCS_GUEST_RFLAGS = 0x6820,
    VMCS_GUEST_PENDING_DEBUG = 0x6822,
    VMCS_GUEST_SYSENTER_ESP = 0x6824,
    VMCS_GUEST_SYSENTER_EIP = 0x6826,
    /* natural-width host state */
    VMCS_HOST_CR0 = 0x6c00,
    VMCS_HOST_CR3 = 0x6c02,
    VMCS_HOST_CR4 = 0x6c04,
    VMCS_HOST_FS_BASE = 0x6c06,
    VMCS_HOST_GS_BASE = 0x6c08,
    VMCS_HOST_TR_BASE = 0x6c0a,
    VMCS_HOST_GDTR_BASE = 0x6c0c,
    VMCS_HOST_IDTR_BASE = 0x6c0e,
    VMCS_HOST_SYSENTER_ESP = 0x6c10,
    VMCS_HOST_SYSENTER_EIP = 0x6c12,
    VMCS_HOST_RSP = 0x6c14,
    VMCS_HOST_RIP = 0x6c16,
};

enum vmcs_width { VMCS_WIDTH_16, VMCS_WIDTH_64, VMCS_WIDTH_32, VMCS_WIDTH_NATURAL };
enum vmcs_area { VMCS_AREA_CONTROL, VMCS_AREA_READ_ONLY, VMCS_AREA_GUEST, VMCS_AREA_HOST };
#define VMCS_FIELD_WIDTH(f) (((f) >> 13) & 3)
#define VMCS_FIELD_AREA(f)  (((f) >> 10) & 3)

/* Pin-based controls */
#define PIN_EXTERNAL_INTERRUPT BIT(0)
#define PIN_NMI                BIT(3)
#define PIN_VIRTUAL_NMI        BIT(5)
#define PIN_PREEMPTION_TIMER   BIT(6)
#define PIN_POSTED_INTERRUPTS  BIT(7)

/* Primary processor-based controls */
#define CPU_INTERRUPT_WINDOW  BIT(2)
#define CPU_TSC_OFFSETTING    BIT(3)
#define CPU_HLT               BIT(7)
#define CPU_INVLPG            BIT(9)
#define CPU_MWAIT             BIT(10)
#define CPU_RDPMC             BIT(11)
#define CPU_RDTSC             BIT(12)
#define CPU_CR3_LOAD          BIT(15)
#define CPU_CR3_STORE         BIT(16)
#define CPU_TERTIARY          BIT(17)
#define CPU_CR8_LOAD          BIT(19)
#define CPU_CR8_STORE         BIT(20)
#define CPU_TPR_SHADOW        BIT(21)
#define CPU_NMI_WINDOW        BIT(22)
#define CPU_MOV_DR            BIT(23)
#define CPU_IO                BIT(24)
#define CPU_IO_BITMAPS        BIT(25)
#define CPU_MONITOR_TRAP_FLAG BIT(27)
#define CPU_MSR_BITMAPS       BIT(28)
#define CPU_MONITOR           BIT(29)
#define CPU_PAUSE             BIT(30)
#define CPU_SECONDARY         BIT(31)

/* Secondary processor-based controls */
#define SEC_VIRTUALIZE_APIC_ACCESSES BIT(0)
#define SEC_EPT                      BIT(1)
#define SEC_DESCRIPTOR_TABLE         BIT(2)
#define SEC_RDTSCP                   BIT(3)
#define SEC_VIRTUALIZE_X2APIC        BIT(4)
#define SEC_VPID                     BIT(5)
#define SEC_WBINVD                   BIT(6)
#define SEC_UNRESTRICTED_GUEST       BIT(7)
#define SEC_APIC_REGISTER            BIT(8)
#define SEC_VIRTUAL_INTERRUPT        BIT(9)
#define SEC_PAUSE_LOOP               BIT(10)
#define SEC_RDRAND                   BIT(11)
#define SEC_INVPCID                  BIT(12)
#define SEC_VM_FUNCTIONS             BIT(13)
#define SEC_VMCS_SHADOWING           BIT(14)
#define SEC_ENCLS                    BIT(15)
#define SEC_RDSEED                   BIT(16)
#define SEC_PML                      BIT(17)
#define SEC_EPT_VIOLATION_VE         BIT(18)
#define SEC_CONCEAL_FROM_PT          BIT(19)
#define SEC_XSAVES                   BIT(20)
#define SEC_MODE_BASED_EXECUTE       BIT(22)
#define SEC_SUB_PAGE                 BIT(23)
#define SEC_PT_GUEST_PHYSICAL        BIT(24)
#define SEC_TSC_SCALING              BIT(25)
#define SEC_USER_WAIT                BIT(26)
#define SEC_PCONFIG                  BIT(27)
#define SEC_ENCLV                    BIT(28)
#define SEC_BUS_LOCK                 BIT(30)
#define SEC_NOTIFY                   BIT(31)

/* VM-exit controls */
#define EXIT_SAVE_DEBUG       BIT(2)
#define EXIT_HOST_64BIT       BIT(9)
#define EXIT_LOAD_PERF_GLOBAL BIT(12)
#define EXIT_ACK_INTERRUPT    BIT(15)
#define EXIT_SAVE_PAT         BIT(18)
#define EXIT_LOAD_PAT         BIT(19)
#define EXIT_SAVE_EFER        BIT(20)
#define EXIT_LOAD_EFER        BIT(21)
#define EXIT_SAVE_PREEMPTION  BIT(22)
#define EXIT_CLEAR_BNDCFGS    BIT(23)
#define EXIT_CONCEAL_FROM_PT  BIT(24)
#define EXIT_LOAD_CET         BIT(28)
#define EXIT_LOAD_PKRS        BIT(29)

/* VM-entry controls */
#define ENTRY_LOAD_DEBUG       BIT(2)
#define ENTRY_IA32E_GUEST      BIT(9)
#define ENTRY_SMM              BIT(10)
#define ENTRY_DEACTIVATE_DUAL  BIT(11)
#define ENTRY_LOAD_PERF_GLOBAL BIT(13)
#define ENTRY_LOAD_PAT         BIT(14)
#define ENTRY_LOAD_EFER        BIT(15)
#define ENTRY_LOAD_BNDCFGS     BIT(16)
#define ENTRY_CONCEAL_FROM_PT  BIT(17)
#define ENTRY_LOAD_CET         BIT(20)
#define ENTRY_LOAD_PKRS        BIT(22)

/* Interruption information (entry, exit and IDT-vectoring use one layout) */
#define INTR_VECTOR(info)   ((info)&0xff)
#define INTR_TYPE(info)     (((info) >> 8) & 7)
#define INTR_HAS_ERROR      BIT(11)
#define INTR_NMI_UNBLOCKING BIT(12) /* exit information only */
#define INTR_VALID          BIT(31)
enum intr_type {
    INTR_EXTERNAL,
    INTR_NMI = 2,
    INTR_HARD_EXCEPTION,
    INTR_SOFT_INTERRUPT,
    INTR_PRIV_SOFT_EXCEPTION,
    INTR_SOFT_EXCEPTION,
    INTR_OTHER
};

/* Guest interruptibility state */
#define BLOCKING_BY_STI    BIT(0)
#define BLOCKING_BY_MOV_SS BIT(1)
#define BLOCKING_BY_SMI    BIT(2)
#define BLOCKING_BY_NMI    BIT(3)

enum activity_state { ACTIVITY_ACTIVE, ACTIVITY_HLT, ACTIVITY_SHUTDOWN, ACTIVITY_WAIT_FOR_SIPI };

/* Segment access rights as the VMCS holds them (SDM, "Guest Register State"). Type, S, DPL and P of
 * segments that are present, and of DPL 0: */
#define SEGMENT_CODE     0x9b /* execute and read, accessed */
#define SEGMENT_DATA     0x93 /* read and write, accessed */
#define SEGMENT_LDT      0x82
#define SEGMENT_BUSY_TSS 0x8b /* of 32 or 64 bits */
/* and what may be added to them: */
#define SEGMENT_DPL_3    (3u << 5)
#define SEGMENT_LONG     BIT(13) /* L: 64-bit code */
#define SEGMENT_BIG      BIT(14) /* D/B: 32-bit code, data, stack */
#define SEGMENT_PAGES    BIT(15) /* G: the limit counts pages */
#define SEGMENT_UNUSABLE BIT(16)
