/* links: vmx/audit*.c vmx/fields.c vmx/caps.c vmx/controls.c vmx/exit_names.c arch/x86/lib/format.c */
/* A good VMCS passes in each guest mode; one wrong field at a time is reported by its name. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/audit_state.h"
#include "tests/unit/cpu_files.h"
#include "vmx/exit_names.h"

static struct cpu cpu;
static struct vmx_caps caps;
static struct vmx_controls controls;
static struct vmx_features features;

static char reports[16384];
static uint8_t memory_page[4096];

static uint64_t mock_read(void *ctx, enum vmcs_field field)
{
    if (!vmcs_field_exists(&caps, field))
        fail_msg("VMREAD of %s, which this CPU does not have", vmcs_field_name(field));
    return fields[field];
}

static void mock_report(void *ctx, const char *sentence)
{
    strcat(reports, sentence);
    strcat(reports, "\n");
}

static bool mock_memory(void *ctx, uint64_t pa, void *data, size_t size)
{
    memcpy(data, memory_page + pa % 2048, size);
    return true;
}

static int audit(void)
{
    struct vmcs_audit a = {
        .caps = &caps, .read = mock_read, .report = mock_report, .memory = mock_memory};

    reports[0] = 0;
    return audit_vmcs(&a);
}

static void use_cpu(const char *name)
{
    cpu_load(&cpu, name);
    cpu_probe(&cpu, &caps);
    assert_true(vmx_choose_controls(&caps, 0, &controls, &features, NULL, NULL) >= 0);
    memset(memory_page, 0, sizeof(memory_page));
}

static void good(void **state)
{
    static const char *const cpus[] = {
        "corei5_arrandale_m520",    "corei7_haswell_4770", "corei7_skylake_x",
        "corei7_skylake_x_bochs30", "tigerlake",           "nested_kvm_on_skylake_x"};
    for (size_t i = 0; i < ARRAY_SIZE(cpus); i++) {
        use_cpu(cpus[i]);
        for (enum audit_mode mode = LONG; mode <= V86; mode++) {
            good_state(&controls, mode);
            caps.nx = true; /* the nested file does not say */
            if (audit() != 0)
                fail_msg("%s, mode %d: %s", cpus[i], mode, reports);
        }
    }
}

#define RPL3 3

struct mutation {
    enum audit_mode mode;
    enum vmcs_field field;
    uint64_t value;
    const char *name, *rule; /* both must be in one sentence */
    uint64_t scene[4];       /* field, value, field, value that go with it */
};

#define ROW(mode, field, value, name, rule, ...)                                                   \
    {                                                                                              \
        mode, field, value, name, rule,                                                            \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

#define NMI_INFO  (INTR_VALID | 0x202)
#define EXT_INFO  (INTR_VALID | 0x30)
#define GP_INFO   (INTR_VALID | 0xb0d)
#define NOT_CANON 0x0000800000000000ULL
#define TOO_HIGH  0x0000010000000000ULL /* bit 40 of a CPU with 40 */

/* The values are XORed into what the good state has. */
static const struct mutation flips[] = {
    /* controls */
    ROW(LONG, VMCS_PIN_CONTROLS, BIT(1), "pin-based", "bit 1 (reserved) must be 1"),
    ROW(LONG, VMCS_PIN_CONTROLS, BIT(31), "pin-based", "bit 31 (reserved) must be 0"),
    ROW(LONG, VMCS_PIN_CONTROLS, PIN_NMI, "pin-based", "virtual NMIs need NMI exiting"),
    ROW(LONG, VMCS_PIN_CONTROLS, PIN_EXTERNAL_INTERRUPT, "pin-based",
        "needs external-interrupt exiting"),
    ROW(LONG, VMCS_PIN_CONTROLS, PIN_VIRTUAL_NMI, "primary",
        "NMI-window exiting needs virtual NMIs", VMCS_PRIMARY_CONTROLS, CPU_NMI_WINDOW),
    ROW(LONG, VMCS_PRIMARY_CONTROLS, BIT(1), "primary", "bit 1 (reserved) must be 1"),
    ROW(LONG, VMCS_PRIMARY_CONTROLS, BIT(0), "primary", "bit 0 (reserved) must be 0"),
    ROW(LONG, VMCS_PRIMARY_CONTROLS, CPU_TPR_SHADOW, "secondary", "need the TPR shadow"),
    ROW(LONG, VMCS_SECONDARY_CONTROLS, BIT(29), "secondary", "bit 29 (reserved) must be 0"),
    ROW(LONG, VMCS_SECONDARY_CONTROLS, SEC_SUB_PAGE, "secondary",
        "bit 23 (sub-page write permissions for EPT)"),
    ROW(LONG, VMCS_SECONDARY_CONTROLS, SEC_EPT, "secondary", "EPT is off"),
    ROW(LONG, VMCS_SECONDARY_CONTROLS, SEC_VIRTUALIZE_APIC_ACCESSES | SEC_VIRTUALIZE_X2APIC,
        "secondary", "exclude each other"),
    ROW(LONG, VMCS_CR3_TARGET_COUNT, 5, "CR3-target count", "has 4 targets"),
    ROW(LONG, VMCS_IO_BITMAP_A, 1, "I/O bitmap A", "aligned to 4096"),
    ROW(LONG, VMCS_IO_BITMAP_B, TOO_HIGH, "I/O bitmap B", "beyond 40"),
    ROW(LONG, VMCS_MSR_BITMAP, 0x800, "MSR bitmaps", "aligned"),
    ROW(LONG, VMCS_VIRTUAL_APIC_ADDR, 16, "virtual-APIC address", "aligned"),
    ROW(LONG, VMCS_VIRTUAL_APIC_ADDR, TOO_HIGH, "virtual-APIC address", "beyond"),
    ROW(LONG, VMCS_APIC_ACCESS_ADDR, 4, "APIC-access address", "aligned", VMCS_SECONDARY_CONTROLS,
        SEC_VIRTUALIZE_APIC_ACCESSES),
    ROW(LONG, VMCS_TPR_THRESHOLD, 0x10, "TPR threshold", "31:4", VMCS_SECONDARY_CONTROLS,
        SEC_VIRTUAL_INTERRUPT),
    ROW(LONG, VMCS_TPR_THRESHOLD, 1, "TPR threshold", "virtual TPR", VMCS_SECONDARY_CONTROLS,
        SEC_VIRTUAL_INTERRUPT),
    ROW(LONG, VMCS_POSTED_INTR_VECTOR, 0x100, "notification vector", "15:8", VMCS_PIN_CONTROLS,
        PIN_POSTED_INTERRUPTS),
    ROW(LONG, VMCS_POSTED_INTR_DESC, 32, "descriptor address", "aligned to 64", VMCS_PIN_CONTROLS,
        PIN_POSTED_INTERRUPTS),
    ROW(LONG, VMCS_PIN_CONTROLS, PIN_POSTED_INTERRUPTS, "pin-based",
        "need virtual-interrupt delivery", VMCS_SECONDARY_CONTROLS, SEC_VIRTUAL_INTERRUPT),
    ROW(LONG, VMCS_EXIT_CONTROLS, EXIT_ACK_INTERRUPT, "VM-exit controls", "need acknowledge",
        VMCS_PIN_CONTROLS, PIN_POSTED_INTERRUPTS),
    ROW(LONG, VMCS_VPID, 1, "virtual-processor identifier", "host's"),
    ROW(LONG, VMCS_EPTP, 1, "EPT pointer", "memory type 7"),
    ROW(LONG, VMCS_EPTP, 0x8, "EPT pointer", "page-walk length minus 1 is 2"),
    ROW(LONG, VMCS_EPTP, 0x80, "EPT pointer", "shadow-stack"),
    ROW(LONG, VMCS_EPTP, 0x100, "EPT pointer", "11:8"),
    ROW(LONG, VMCS_EPTP, 0x800, "EPT pointer", "11:8"),
    ROW(LONG, VMCS_EPTP, TOO_HIGH, "EPT pointer", "beyond"),
    ROW(LONG, VMCS_PML_ADDRESS, 8, "PML address", "aligned", VMCS_SECONDARY_CONTROLS, SEC_PML),
    ROW(LONG, VMCS_VM_FUNCTION_CONTROLS, 2, "VM-function", "lacks", VMCS_SECONDARY_CONTROLS,
        SEC_VM_FUNCTIONS),
    ROW(LONG, VMCS_EPTP_LIST_ADDR, 2, "EPTP-list", "aligned", VMCS_SECONDARY_CONTROLS,
        SEC_VM_FUNCTIONS, VMCS_VM_FUNCTION_CONTROLS, 1),
    ROW(LONG, VMCS_VIRT_EXCEPTION_ADDR, 2, "virtualization-exception", "aligned",
        VMCS_SECONDARY_CONTROLS, SEC_EPT_VIOLATION_VE),
    ROW(LONG, VMCS_VMREAD_BITMAP, 2, "VMREAD-bitmap", "aligned", VMCS_SECONDARY_CONTROLS,
        SEC_VMCS_SHADOWING),
    ROW(LONG, VMCS_VMWRITE_BITMAP, 2, "VMWRITE-bitmap", "aligned", VMCS_SECONDARY_CONTROLS,
        SEC_VMCS_SHADOWING),
    ROW(LONG, VMCS_TSC_MULTIPLIER, BIT(48), "TSC multiplier", "stops", VMCS_SECONDARY_CONTROLS,
        SEC_TSC_SCALING),
    ROW(LONG, VMCS_EXIT_CONTROLS, BIT(0), "VM-exit controls", "bit 0 (reserved)"),
    ROW(LONG, VMCS_EXIT_CONTROLS, EXIT_LOAD_PKRS, "VM-exit controls", "load PKRS"),
    ROW(LONG, VMCS_EXIT_CONTROLS, EXIT_SAVE_PREEMPTION, "VM-exit controls", "timer to be active",
        VMCS_PIN_CONTROLS, PIN_PREEMPTION_TIMER),
    ROW(LONG, VMCS_EXIT_MSR_STORE_ADDR, 8, "MSR-store address", "aligned to 16",
        VMCS_EXIT_MSR_STORE_COUNT, 1),
    ROW(LONG, VMCS_EXIT_MSR_STORE_COUNT, 513, "MSR-store count", "512 entries"),
    ROW(LONG, VMCS_EXIT_MSR_LOAD_ADDR, TOO_HIGH, "MSR-load address", "beyond",
        VMCS_EXIT_MSR_LOAD_COUNT, 1),
    ROW(LONG, VMCS_EXIT_MSR_LOAD_ADDR, TOO_HIGH - 16, "MSR-load address", "last byte",
        VMCS_EXIT_MSR_LOAD_COUNT, 2),
    ROW(LONG, VMCS_ENTRY_CONTROLS, BIT(0), "VM-entry controls", "bit 0"),
    ROW(LONG, VMCS_ENTRY_CONTROLS, ENTRY_SMM, "VM-entry controls", "SMM only"),
    ROW(LONG, VMCS_ENTRY_CONTROLS, ENTRY_DEACTIVATE_DUAL, "VM-entry controls", "SMM only"),
    ROW(LONG, VMCS_ENTRY_MSR_LOAD_ADDR, 4, "VM-entry MSR-load address", "aligned",
        VMCS_ENTRY_MSR_LOAD_COUNT, 1),
    ROW(LONG, VMCS_ENTRY_MSR_LOAD_COUNT, 600, "VM-entry MSR-load count", "512"),
    /* injection */
    ROW(LONG, VMCS_ENTRY_INTR_INFO, INTR_VALID | 0x100, "interruption-information", "type 1"),
    ROW(LONG, VMCS_ENTRY_INTR_INFO, INTR_VALID | 0x203, "interruption-information",
        "NMI has vector 2"),
    ROW(LONG, VMCS_ENTRY_INTR_INFO, INTR_VALID | 0x320, "interruption-information", "0 to 31"),
    ROW(LONG, VMCS_ENTRY_INTR_INFO, INTR_VALID | 0x701, "interruption-information", "vector 0"),
    ROW(LONG, VMCS_ENTRY_INTR_INFO, EXT_INFO | INTR_HAS_ERROR, "interruption-information",
        "only a hardware"),
    ROW(LONG, VMCS_ENTRY_INTR_INFO, INTR_VALID | 0x306 | INTR_HAS_ERROR, "interruption-information",
        "6 delivers no"),
    ROW(LONG, VMCS_ENTRY_INTR_INFO, INTR_VALID | 0x30d, "interruption-information",
        "13 delivers an"),
    ROW(LONG, VMCS_ENTRY_INTR_INFO, INTR_VALID | 0x311, "interruption-information",
        "17 delivers an"),
    ROW(REAL, VMCS_ENTRY_INTR_INFO, GP_INFO, "interruption-information", "protected mode"),
    ROW(LONG, VMCS_ENTRY_INTR_INFO, EXT_INFO | BIT(12), "interruption-information", "30:12"),
    ROW(LONG, VMCS_ENTRY_ERROR_CODE, BIT(16), "error code", "31:16", VMCS_ENTRY_INTR_INFO, GP_INFO),
    ROW(LONG, VMCS_ENTRY_INSTRUCTION_LENGTH, 16, "instruction length", "at most 15",
        VMCS_ENTRY_INTR_INFO, INTR_VALID | 0x480),
    /* host */
    ROW(LONG, VMCS_HOST_CR0, BIT(5), "host CR0", "to be 1"),
    ROW(LONG, VMCS_HOST_CR0, BIT(32), "host CR0", "to be 0"),
    ROW(LONG, VMCS_HOST_CR4, BIT(13), "host CR4", "to be 1"),
    ROW(LONG, VMCS_HOST_CR4, BIT(31), "host CR4", "to be 0"),
    ROW(LONG, VMCS_HOST_CR4, BIT(5), "host CR4", "PAE"),
    ROW(LONG, VMCS_HOST_CR3, TOO_HIGH, "host CR3", "beyond"),
    ROW(LONG, VMCS_HOST_SYSENTER_ESP, NOT_CANON, "host IA32_SYSENTER_ESP", "canonical"),
    ROW(LONG, VMCS_HOST_SYSENTER_EIP, NOT_CANON, "host IA32_SYSENTER_EIP", "canonical"),
    ROW(LONG, VMCS_HOST_PAT, 4, "host IA32_PAT", "PA0 is 2"),
    ROW(LONG, VMCS_HOST_EFER, BIT(10), "host IA32_EFER", "LMA"),
    ROW(LONG, VMCS_HOST_EFER, BIT(8), "host IA32_EFER", "LME"),
    ROW(LONG, VMCS_HOST_EFER, BIT(12), "host IA32_EFER", "reserved"),
    ROW(LONG, VMCS_HOST_CS_SELECTOR, 3, "host CS selector", "RPL"),
    ROW(LONG, VMCS_HOST_SS_SELECTOR, 4, "host SS selector", "TI"),
    ROW(LONG, VMCS_HOST_CS_SELECTOR, 8, "host CS selector", "null"),
    ROW(LONG, VMCS_HOST_TR_SELECTOR, 24, "host TR selector", "null"),
    ROW(LONG, VMCS_HOST_GS_SELECTOR, 1, "host GS selector", "RPL"),
    ROW(LONG, VMCS_HOST_FS_BASE, NOT_CANON, "host FS base", "canonical"),
    ROW(LONG, VMCS_HOST_GS_BASE, BIT(60), "host GS base", "canonical"),
    ROW(LONG, VMCS_HOST_TR_BASE, BIT(60), "host TR base", "canonical"),
    ROW(LONG, VMCS_HOST_GDTR_BASE, BIT(60), "host GDTR base", "canonical"),
    ROW(LONG, VMCS_HOST_IDTR_BASE, BIT(60), "host IDTR base", "canonical"),
    ROW(LONG, VMCS_HOST_RIP, BIT(60), "host RIP", "canonical"),
    ROW(LONG, VMCS_EXIT_CONTROLS, EXIT_HOST_64BIT, "VM-exit controls", "address-space size"),
    /* guest: control registers and MSRs */
    ROW(LONG, VMCS_GUEST_CR0, BIT(5), "guest CR0", "to be 1"),
    ROW(LONG, VMCS_GUEST_CR0, BIT(32), "guest CR0", "to be 0"),
    ROW(LONG, VMCS_GUEST_CR0, BIT(0), "guest CR0", "PG needs PE"),
    ROW(LONG, VMCS_GUEST_CR0, BIT(31), "guest CR0", "needs PG"),
    ROW(LONG, VMCS_GUEST_CR4, BIT(13), "guest CR4", "to be 1"),
    ROW(LONG, VMCS_GUEST_CR4, BIT(23), "guest CR4", "to be 0"),
    ROW(LONG, VMCS_GUEST_CR4, BIT(5), "guest CR4", "PAE"),
    ROW(PAE, VMCS_GUEST_CR4, BIT(17), "guest CR4", "PCIDE"),
    ROW(LONG, VMCS_GUEST_CR3, TOO_HIGH, "guest CR3", "beyond"),
    ROW(LONG, VMCS_GUEST_DEBUGCTL, BIT(3), "guest IA32_DEBUGCTL", "reserved"),
    ROW(LONG, VMCS_GUEST_DR7, BIT(32), "guest DR7", "63:32"),
    ROW(LONG, VMCS_GUEST_SYSENTER_ESP, NOT_CANON, "guest IA32_SYSENTER_ESP", "canonical"),
    ROW(LONG, VMCS_GUEST_SYSENTER_EIP, NOT_CANON, "guest IA32_SYSENTER_EIP", "canonical"),
    ROW(LONG, VMCS_GUEST_PAT, 0x0600, "guest IA32_PAT", "PA1"),
    ROW(LONG, VMCS_GUEST_EFER, BIT(1), "guest IA32_EFER", "reserved"),
    ROW(LONG, VMCS_GUEST_EFER, BIT(10), "guest IA32_EFER", "IA-32e-mode-guest"),
    ROW(LONG, VMCS_GUEST_EFER, BIT(8), "guest IA32_EFER", "under paging"),
    ROW(LONG, VMCS_ENTRY_CONTROLS, ENTRY_IA32E_GUEST, "guest IA32_EFER", "IA-32e-mode-guest"),
    /* guest: segments */
    ROW(LONG, VMCS_GUEST_CS_BASE, BIT(32), "guest CS base", "63:32"),
    ROW(LONG, VMCS_GUEST_SS_BASE, BIT(33), "guest SS base", "63:32"),
    ROW(LONG, VMCS_GUEST_FS_BASE, NOT_CANON, "guest FS base", "canonical"),
    ROW(LONG, VMCS_GUEST_GS_BASE, NOT_CANON, "guest GS base", "canonical"),
    ROW(LONG, VMCS_GUEST_TR_BASE, NOT_CANON, "guest TR base", "canonical"),
    ROW(LONG, VMCS_GUEST_TR_SELECTOR, 4, "guest TR selector", "TI"),
    ROW(LONG, VMCS_GUEST_LDTR_SELECTOR, 4, "guest LDTR selector", "TI", VMCS_GUEST_LDTR_ACCESS,
        0x10082),
    ROW(LONG, VMCS_GUEST_LDTR_BASE, NOT_CANON, "guest LDTR base", "canonical",
        VMCS_GUEST_LDTR_ACCESS, 0x10082),
    ROW(LONG, VMCS_GUEST_LDTR_ACCESS, 0x10083, "guest LDTR access rights", "type must be 2"),
    ROW(LONG, VMCS_GUEST_CS_ACCESS, 2, "guest CS access rights", "DPL must equal SS.DPL",
        VMCS_GUEST_SS_ACCESS, 0x60),
    ROW(LONG, VMCS_GUEST_CS_ACCESS, 8, "guest CS access rights", "DPL of a data segment",
        VMCS_GUEST_CS_ACCESS, 0x60),
    ROW(LONG, VMCS_GUEST_CS_ACCESS, 1, "guest CS access rights", "type 10"),
    ROW(LONG, VMCS_GUEST_CS_ACCESS, 4 | 0x60, "guest CS access rights", "must not be above"),
    ROW(LONG, VMCS_GUEST_CS_ACCESS, BIT(4), "guest CS access rights", "S must be 1"),
    ROW(LONG, VMCS_GUEST_CS_ACCESS, BIT(7), "guest CS access rights", "P must be 1"),
    ROW(LONG, VMCS_GUEST_CS_ACCESS, BIT(8), "guest CS access rights", "11:8"),
    ROW(LONG, VMCS_GUEST_CS_ACCESS, BIT(17), "guest CS access rights", "31:17"),
    ROW(LONG, VMCS_GUEST_CS_ACCESS, BIT(14), "guest CS access rights", "D must be 0"),
    ROW(LONG, VMCS_GUEST_CS_ACCESS, BIT(15), "guest CS access rights", "G must be 1"),
    ROW(LONG, VMCS_GUEST_CS_LIMIT, 1, "guest CS access rights", "G must be 0"),
    ROW(LONG, VMCS_GUEST_SS_ACCESS, 2, "guest SS access rights", "type 1"),
    ROW(LONG, VMCS_GUEST_SS_ACCESS, BIT(9), "guest SS access rights", "11:8"),
    ROW(LONG, VMCS_GUEST_LDTR_ACCESS, 0x10092, "guest LDTR access rights", "S must be 0"),
    ROW(LONG, VMCS_EXIT_CONTROLS, EXIT_HOST_64BIT, "host SS selector", "32-bit host",
        VMCS_HOST_SS_SELECTOR, 16),
    ROW(LONG, VMCS_GUEST_DS_ACCESS, 1, "guest DS access rights", "not accessed"),
    ROW(LONG, VMCS_GUEST_ES_ACCESS, 10, "guest ES access rights", "cannot be read"),
    ROW(LONG, VMCS_GUEST_GS_ACCESS, BIT(7), "guest GS access rights", "P must be 1"),
    ROW(LONG, VMCS_GUEST_TR_ACCESS, 8, "guest TR access rights", "must be 11"),
    ROW(PAE, VMCS_GUEST_TR_ACCESS, 2, "guest TR access rights", "3 or 11"),
    ROW(LONG, VMCS_GUEST_TR_ACCESS, BIT(4), "guest TR access rights", "S must be 0"),
    ROW(LONG, VMCS_GUEST_TR_ACCESS, SEGMENT_UNUSABLE, "guest TR access rights", "usable"),
    ROW(LONG, VMCS_GUEST_TR_ACCESS, BIT(15), "guest TR access rights", "G must be 0"),
    ROW(LONG, VMCS_GUEST_TR_LIMIT, BIT(20), "guest TR access rights", "G must be 1"),
    ROW(REAL, VMCS_GUEST_SS_ACCESS, 0x60, "guest SS access rights", "DPL must be 0"),
    ROW(V86, VMCS_GUEST_DS_BASE, 16, "guest DS base", "times 16"),
    ROW(V86, VMCS_GUEST_GS_LIMIT, 1, "guest GS limit", "0xffff"),
    ROW(V86, VMCS_GUEST_CS_ACCESS, 0x20, "guest CS access rights", "0xf3"),
    /* guest: tables, RIP, RFLAGS */
    ROW(LONG, VMCS_GUEST_GDTR_BASE, NOT_CANON, "guest GDTR base", "canonical"),
    ROW(LONG, VMCS_GUEST_IDTR_BASE, NOT_CANON, "guest IDTR base", "canonical"),
    ROW(LONG, VMCS_GUEST_GDTR_LIMIT, BIT(16), "guest GDTR limit", "31:16"),
    ROW(LONG, VMCS_GUEST_IDTR_LIMIT, BIT(16), "guest IDTR limit", "31:16"),
    ROW(LONG, VMCS_GUEST_RIP, BIT(60), "guest RIP", "63:48"),
    ROW(PAE, VMCS_GUEST_RIP, BIT(32), "guest RIP", "63:32"),
    ROW(LONG, VMCS_GUEST_RFLAGS, BIT(1), "guest RFLAGS", "bit 1"),
    ROW(LONG, VMCS_GUEST_RFLAGS, BIT(15), "guest RFLAGS", "reserved"),
    ROW(LONG, VMCS_GUEST_RFLAGS, BIT(17), "guest RFLAGS", "virtual-8086"),
    ROW(REAL, VMCS_GUEST_RFLAGS, BIT(17), "guest RFLAGS", "virtual-8086"),
    ROW(LONG, VMCS_GUEST_RFLAGS, BIT(9), "guest RFLAGS", "needs IF", VMCS_ENTRY_INTR_INFO,
        EXT_INFO),
    /* guest: non-register state */
    ROW(LONG, VMCS_GUEST_ACTIVITY, 4, "guest activity", "no activity"),
    ROW(LONG, VMCS_GUEST_ACTIVITY, 1, "guest activity", "SS.DPL", VMCS_GUEST_SS_ACCESS, 0x60),
    ROW(LONG, VMCS_GUEST_ACTIVITY, 1, "guest activity", "while STI", VMCS_GUEST_INTERRUPTIBILITY,
        BLOCKING_BY_STI),
    ROW(LONG, VMCS_GUEST_ACTIVITY, 1, "guest activity", "may not be injected", VMCS_ENTRY_INTR_INFO,
        GP_INFO),
    ROW(LONG, VMCS_GUEST_ACTIVITY, 2, "guest activity", "may not be injected", VMCS_ENTRY_INTR_INFO,
        EXT_INFO),
    ROW(LONG, VMCS_GUEST_ACTIVITY, 3, "guest activity", "may not be injected", VMCS_ENTRY_INTR_INFO,
        NMI_INFO),
    ROW(LONG, VMCS_GUEST_INTERRUPTIBILITY, BIT(5), "guest interruptibility", "reserved"),
    ROW(LONG, VMCS_GUEST_INTERRUPTIBILITY, 3, "guest interruptibility", "both"),
    ROW(LONG, VMCS_GUEST_INTERRUPTIBILITY, 1, "guest interruptibility", "needs RFLAGS.IF",
        VMCS_GUEST_RFLAGS, BIT(9)),
    ROW(LONG, VMCS_GUEST_INTERRUPTIBILITY, 4, "guest interruptibility", "SMM only"),
    ROW(LONG, VMCS_GUEST_INTERRUPTIBILITY, 0x12, "guest interruptibility", "enclave"),
    ROW(LONG, VMCS_GUEST_INTERRUPTIBILITY, 1, "guest interruptibility", "external interrupt",
        VMCS_ENTRY_INTR_INFO, EXT_INFO),
    ROW(LONG, VMCS_GUEST_INTERRUPTIBILITY, 2, "guest interruptibility", "an NMI while",
        VMCS_ENTRY_INTR_INFO, NMI_INFO),
    ROW(LONG, VMCS_GUEST_INTERRUPTIBILITY, 8, "guest interruptibility", "NMIs are blocked",
        VMCS_ENTRY_INTR_INFO, NMI_INFO),
    ROW(LONG, VMCS_GUEST_PENDING_DEBUG, BIT(4), "pending debug", "reserved"),
    ROW(LONG, VMCS_GUEST_RFLAGS, BIT(8), "pending debug", "BS must be 1",
        VMCS_GUEST_INTERRUPTIBILITY, 1),
    ROW(LONG, VMCS_GUEST_PENDING_DEBUG, BIT(14), "pending debug", "BS must be 0",
        VMCS_GUEST_ACTIVITY, 1),
    ROW(LONG, VMCS_GUEST_PENDING_DEBUG, BIT(16), "pending debug", "RTM"),
    ROW(LONG, VMCS_GUEST_PENDING_DEBUG, BIT(16) | BIT(12), "pending debug", "RTM excludes",
        VMCS_GUEST_INTERRUPTIBILITY, 2),
    ROW(LONG, VMCS_LINK_POINTER, 1, "VMCS link pointer", "aligned"),
    ROW(PAE, VMCS_GUEST_PDPTE0, 2, "guest PDPTE0", "reserved"),
    ROW(PAE, VMCS_GUEST_PDPTE3, TOO_HIGH | 1, "guest PDPTE3", "reserved"),
};

static bool one_line_has(const char *name, const char *rule)
{
    static char copy[sizeof(reports)];

    strcpy(copy, reports);
    for (char *line = strtok(copy, "\n"); line; line = strtok(NULL, "\n")) {
        const char *n = strstr(line, name);
        if (n && n < strstr(line, " is 0x") && strstr(line, rule))
            return true;
    }
    return false;
}

static void one_wrong_field(void **state)
{
    use_cpu("corei7_skylake_x_bochs30");
    for (size_t i = 0; i < ARRAY_SIZE(flips); i++) {
        const struct mutation *m = &flips[i];
        good_state(&controls, m->mode);
        fields[m->scene[0]] ^= m->scene[1];
        fields[m->scene[2]] ^= m->scene[3];
        fields[m->field] ^= m->value;
        int failures = audit();
        if (failures == 0 || !one_line_has(m->name, m->rule))
            fail_msg("row %zu: no report with \"%s\" and \"%s\", but %d:\n%s", i, m->name, m->rule,
                     failures, reports);
        /* one wrong field is a few sentences, but the VM flag turns every segment wrong */
        if (failures > (strstr(m->rule, "virtual-8086") ? 20 : 4))
            fail_msg("row %zu: %d failures:\n%s", i, failures, reports);
    }
}

static void expect_report(const char *name, const char *rule)
{
    assert_int_not_equal(audit(), 0);
    assert_true(one_line_has(name, rule));
}

static void expect_good(void)
{
    if (audit() != 0)
        fail_msg("%s", reports);
}

static int audit_loop(uint32_t exit_reason)
{
    struct vmcs_audit a = {
        .caps = &caps, .read = mock_read, .report = mock_report, .memory = mock_memory};

    reports[0] = 0;
    fields[VMCS_EXIT_REASON] = exit_reason;
    return audit_progress(&a);
}

/* States that an entry takes and that exit again with nothing done; and their neighbours, which are
 * served behind the next exit. */
static void no_progress(void **state)
{
    enum { INTERRUPT_WINDOW = 7, NMI_WINDOW = 8, CPUID = 10 };

    use_cpu("corei7_skylake_x_bochs30");
    good_state(&controls, LONG);
    fields[VMCS_PRIMARY_CONTROLS] |= CPU_NMI_WINDOW;
    assert_int_equal(audit_loop(CPUID), 0);
    assert_int_equal(audit_loop(NMI_WINDOW), 1);
    assert_true(one_line_has("primary", "nothing went through"));
    fields[VMCS_GUEST_INTERRUPTIBILITY] = BLOCKING_BY_STI;
    assert_int_equal(audit_loop(NMI_WINDOW), 1);
    assert_true(one_line_has("primary", "STI's blocking"));
    assert_int_equal(audit(), 0);
    fields[VMCS_GUEST_INTERRUPTIBILITY] = BLOCKING_BY_MOV_SS;
    assert_int_equal(audit_loop(NMI_WINDOW), 0);
    fields[VMCS_GUEST_INTERRUPTIBILITY] = BLOCKING_BY_NMI;
    assert_int_equal(audit_loop(NMI_WINDOW), 0);
    fields[VMCS_GUEST_INTERRUPTIBILITY] = 0;
    fields[VMCS_ENTRY_INTR_INFO] = GP_INFO;
    assert_int_equal(audit_loop(NMI_WINDOW), 0);
    fields[VMCS_ENTRY_INTR_INFO] = 0;
    fields[VMCS_GUEST_PENDING_DEBUG] = BIT(14);
    assert_int_equal(audit_loop(NMI_WINDOW), 0);

    good_state(&controls, LONG);
    fields[VMCS_PRIMARY_CONTROLS] |= CPU_INTERRUPT_WINDOW;
    assert_int_equal(audit_loop(CPUID), 0);
    assert_int_equal(audit_loop(INTERRUPT_WINDOW), 1);
    assert_true(one_line_has("primary", "interrupt window"));
    fields[VMCS_GUEST_INTERRUPTIBILITY] = BLOCKING_BY_STI;
    assert_int_equal(audit_loop(INTERRUPT_WINDOW), 0);
    fields[VMCS_GUEST_INTERRUPTIBILITY] = 0;
    fields[VMCS_GUEST_RFLAGS] &= ~BIT(9);
    assert_int_equal(audit_loop(INTERRUPT_WINDOW), 0);

    good_state(&controls, LONG);
    fields[VMCS_TPR_THRESHOLD] = 3;
    assert_int_equal(audit_loop(CPUID), 0); /* virtual-interrupt delivery does not look at it */
    fields[VMCS_SECONDARY_CONTROLS] &= ~(uint64_t)SEC_VIRTUAL_INTERRUPT;
    assert_int_equal(audit_loop(CPUID), 1);
    assert_true(one_line_has("TPR threshold", "each entry exits"));
    memory_page[0x80] = 0x30;
    assert_int_equal(audit_loop(CPUID), 0);
}

/* What other CPUs allow or refuse, and states that look odd but are right. */
static void depends_on_the_cpu(void **state)
{
    use_cpu("corei7_skylake_x"); /* no monitor trap flag */
    good_state(&controls, LONG);
    fields[VMCS_ENTRY_INTR_INFO] = INTR_VALID | 0x700;
    expect_report("interruption-information", "monitor trap flag");
    good_state(&controls, LONG);
    fields[VMCS_ENTRY_INTR_INFO] = INTR_VALID | 0x480; /* software interrupt of no length */
    expect_good();
    caps.misc &= ~BIT(30);
    expect_report("instruction length", "needs its instruction");
    fields[VMCS_ENTRY_INSTRUCTION_LENGTH] = 2;
    expect_good();

    use_cpu("tigerlake"); /* BASIC[56]: error codes are free */
    good_state(&controls, LONG);
    fields[VMCS_ENTRY_INTR_INFO] = INTR_VALID | 0x30d;
    expect_good();
    fields[VMCS_ENTRY_INTR_INFO] = INTR_VALID | 0x306 | INTR_HAS_ERROR;
    expect_good();
    good_state(&controls, LONG);
    fields[VMCS_SECONDARY_CONTROLS] |= SEC_SUB_PAGE;
    fields[VMCS_SUB_PAGE_POINTER] = 1;
    expect_report("sub-page-permission-table", "aligned");

    use_cpu("corei7_haswell_4770");
    good_state(&controls, LONG);
    fields[VMCS_ENTRY_INTR_INFO] = GP_INFO;
    expect_good();
    fields[VMCS_ENTRY_INTR_INFO] = EXT_INFO;
    fields[VMCS_GUEST_ACTIVITY] = ACTIVITY_HLT;
    expect_good();
    fields[VMCS_ENTRY_INTR_INFO] = INTR_VALID | 0x312; /* so does a machine check */
    expect_good();
    fields[VMCS_ENTRY_INTR_INFO] = NMI_INFO;
    fields[VMCS_GUEST_ACTIVITY] = ACTIVITY_SHUTDOWN;
    expect_good();
    caps.misc &= ~BIT(7);
    expect_report("guest activity", "does not support");
    good_state(&controls, LONG);
    fields[VMCS_GUEST_INTERRUPTIBILITY] = BLOCKING_BY_STI;
    expect_good();
    good_state(&controls, PAE);
    fields[VMCS_GUEST_PDPTE0 + 4] = 0x1e6; /* not present: nothing is reserved */
    expect_good();
    good_state(&controls, REAL);
    fields[VMCS_GUEST_CS_ACCESS] = 0x93; /* real mode with a data segment in CS */
    expect_good();
    caps.basic |= BIT(48);
    fields[VMCS_MSR_BITMAP] = 0x100000000;
    expect_report("MSR bitmaps", "beyond 32");
    caps.basic &= ~BIT(48);
    expect_good();
    fields[VMCS_EPTP] |= BIT(6);
    expect_good();
    caps.ept_vpid &= ~BIT(21);
    expect_report("EPT pointer", "accessed and dirty");
}

/* Controls and states that only newer CPUs have. */
static void newer_cpus(void **state)
{
    use_cpu("sapphire_rapids_bochs31");
    good_state(&controls, LONG);
    fields[VMCS_GUEST_CR4] |= BIT(23);
    fields[VMCS_HOST_CR4] |= BIT(23);
    expect_good();
    fields[VMCS_GUEST_CR0] &= ~BIT(16);
    expect_report("guest CR4", "CET needs CR0.WP");
    good_state(&controls, LONG);
    fields[VMCS_HOST_CR4] |= BIT(23);
    fields[VMCS_HOST_CR0] &= ~BIT(16);
    expect_report("host CR4", "CET needs CR0.WP");

    good_state(&controls, LONG);
    fields[VMCS_PRIMARY_CONTROLS] |= CPU_TERTIARY;
    expect_good();
    fields[VMCS_TERTIARY_CONTROLS] = 1;
    expect_report("tertiary", "does not have");

    good_state(&controls, LONG);
    caps.entry |= ENTRY_LOAD_BNDCFGS << 32;
    fields[VMCS_ENTRY_CONTROLS] |= ENTRY_LOAD_BNDCFGS;
    fields[VMCS_GUEST_BNDCFGS] = 0x1003;
    expect_good();
    fields[VMCS_GUEST_BNDCFGS] = 0x1004;
    expect_report("guest IA32_BNDCFGS", "11:2");
    fields[VMCS_GUEST_BNDCFGS] = BIT(60);
    expect_report("guest IA32_BNDCFGS", "canonical");

    good_state(&controls, LONG);
    fields[VMCS_SECONDARY_CONTROLS] ^= SEC_VM_FUNCTIONS | SEC_EPT;
    fields[VMCS_VM_FUNCTION_CONTROLS] = 1;
    expect_report("VM-function", "needs EPT");
}

static void restricted_guest(void **state)
{
    use_cpu("corei5_lynnfield_750");
    good_state(&controls, LONG);
    fields[VMCS_SECONDARY_CONTROLS] &= ~SEC_UNRESTRICTED_GUEST;
    expect_good();
    fields[VMCS_GUEST_SS_SELECTOR] |= RPL3;
    expect_report("guest SS selector", "RPL");
    expect_report("guest SS access rights", "DPL must equal the selector's RPL");
    fields[VMCS_GUEST_SS_SELECTOR] ^= RPL3;
    fields[VMCS_GUEST_DS_SELECTOR] |= RPL3;
    expect_report("guest DS access rights", "below the selector's RPL");
    fields[VMCS_GUEST_DS_SELECTOR] ^= RPL3;
    fields[VMCS_GUEST_CS_ACCESS] = 0xa093;
    expect_report("guest CS access rights", "needs unrestricted guest");
    good_state(&controls, REAL);
    fields[VMCS_SECONDARY_CONTROLS] &= ~SEC_UNRESTRICTED_GUEST;
    expect_report("guest CR0", "to be 1");
}

static void behind_pointers(void **state)
{
    struct {
        uint32_t index, reserved;
        uint64_t value;
    } msr = {0xc0000100, 0, 0};

    use_cpu("corei7_haswell_4770");
    good_state(&controls, LONG);
    fields[VMCS_ENTRY_MSR_LOAD_COUNT] = 1;
    fields[VMCS_ENTRY_MSR_LOAD_ADDR] = 0x1000;
    memcpy(memory_page, &msr, sizeof(msr));
    expect_report("VM-entry MSR-load address", "0xc0000100");
    msr.index = 0x808;
    memcpy(memory_page, &msr, sizeof(msr));
    expect_report("VM-entry MSR-load address", "0x808");
    msr.index = 0x8ff;
    memcpy(memory_page, &msr, sizeof(msr));
    expect_report("VM-entry MSR-load address", "0x8ff");
    msr.index = 0x7ff;
    memcpy(memory_page, &msr, sizeof(msr));
    expect_good();
    msr.index = 0xc0000102;
    memcpy(memory_page, &msr, sizeof(msr));
    expect_good();
    msr.reserved = 1;
    memcpy(memory_page, &msr, sizeof(msr));
    expect_report("VM-entry MSR-load address", "0xc0000102");
    good_state(&controls, LONG);
    fields[VMCS_EXIT_MSR_STORE_COUNT] = 1;
    fields[VMCS_EXIT_MSR_STORE_ADDR] = (1ULL << caps.physical_bits) - 16; /* just so */
    expect_good();

    good_state(&controls, LONG);
    fields[VMCS_LINK_POINTER] = 0x2000;
    expect_report("VMCS link pointer", "revision");
    uint32_t revision = VMX_REVISION(&caps);
    memcpy(memory_page, &revision, 4);
    expect_good();
    revision |= BIT(31);
    memcpy(memory_page, &revision, 4);
    expect_report("VMCS link pointer", "shadow VMCS");

    good_state(&controls, LONG);
    fields[VMCS_SECONDARY_CONTROLS] &= ~SEC_VIRTUAL_INTERRUPT;
    fields[VMCS_TPR_THRESHOLD] = 3;
    memory_page[0x80] = 0x20;
    expect_report("TPR threshold", "virtual TPR");
    memory_page[0x80] = 0x30;
    expect_good();
}

/* An old CPU with everything wrong: no field is read that it does not have, and nothing overruns.
 */
static void rubbish_on_an_old_cpu(void **state)
{
    static const char *const cpus[] = {"core2_penryn_t9600", "corei5_lynnfield_750",
                                       "sapphire_rapids_bochs31"};

    for (size_t i = 0; i < ARRAY_SIZE(cpus); i++) {
        use_cpu(cpus[i]);
        memset(fields, 0xff, sizeof(fields));
        assert_true(audit() > 30);
        memset(fields, 0, sizeof(fields));
        assert_true(audit() > 10);
    }
}

static void names(void **state)
{
    enum vmcs_field f, last = 0;
    unsigned n = 0;

    for (; vmcs_field_at(n, &f); n++) {
        assert_true(n == 0 || f > last); /* the search needs them in order */
        last = f;
        assert_string_not_equal(vmcs_field_name(f), "unknown field");
    }
    assert_true(n > 140);
    assert_string_equal(vmcs_field_name(VMCS_GUEST_CS_ACCESS), "guest CS access rights");
    assert_string_equal(vmcs_field_name(VMCS_GUEST_EFER), "guest IA32_EFER");
    assert_string_equal(vmcs_field_name((enum vmcs_field)0x7ffe), "unknown field");
    assert_string_equal(vmcs_field_name((enum vmcs_field)1), "unknown field");
    use_cpu("core2_penryn_t9600");
    assert_false(vmcs_field_exists(&caps, VMCS_EPTP));
    assert_false(vmcs_field_exists(&caps, VMCS_EPTP_LIST_ADDR));
    assert_false(vmcs_field_exists(&caps, (enum vmcs_field)0x7ffe));
    assert_true(vmcs_field_exists(&caps, VMCS_APIC_ACCESS_ADDR));
    use_cpu("corei7_haswell_4770");
    assert_true(vmcs_field_exists(&caps, VMCS_EPTP));
    assert_true(vmcs_field_exists(&caps, VMCS_EPTP_LIST_ADDR));

    assert_string_equal(vmx_exit_name(10), "CPUID");
    assert_string_equal(vmx_exit_name(48), "EPT violation");
    assert_string_equal(vmx_exit_name(35), "reserved exit reason");
    assert_string_equal(vmx_exit_name(78), "reserved exit reason");
    assert_string_equal(vmx_exit_name(~0u), "reserved exit reason");
    assert_non_null(strstr(vmx_instruction_error(7), "invalid control fields"));
    assert_string_equal(vmx_instruction_error(0), "reserved VM-instruction error");
    assert_string_equal(vmx_instruction_error(14), "reserved VM-instruction error");
    assert_string_equal(vmx_instruction_error(29), "reserved VM-instruction error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(no_progress),
        cmocka_unit_test(one_wrong_field),
        cmocka_unit_test(depends_on_the_cpu),
        cmocka_unit_test(newer_cpus),
        cmocka_unit_test(restricted_guest),
        cmocka_unit_test(behind_pointers),
        cmocka_unit_test(rubbish_on_an_old_cpu),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
