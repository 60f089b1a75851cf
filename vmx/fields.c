#include "vmx/audit.h"

/* Which capability a field comes with; a field that no capability gives is on every CPU. */
enum word { ALWAYS, PIN, PRIMARY, SECONDARY, EXIT, ENTRY, FUNCTION };

static const struct row {
    uint16_t field;
    uint8_t word;
    uint32_t bit;
    const char *name;
} rows[] = {
    {VMCS_VPID, SECONDARY, SEC_VPID, "virtual-processor identifier"},
    {VMCS_POSTED_INTR_VECTOR, PIN, PIN_POSTED_INTERRUPTS, "posted-interrupt notification vector"},
    {VMCS_EPTP_INDEX, SECONDARY, SEC_EPT_VIOLATION_VE, "EPTP index"},
    {VMCS_GUEST_ES_SELECTOR, ALWAYS, 0, "guest ES selector"},
    {VMCS_GUEST_CS_SELECTOR, ALWAYS, 0, "guest CS selector"},
    {VMCS_GUEST_SS_SELECTOR, ALWAYS, 0, "guest SS selector"},
    {VMCS_GUEST_DS_SELECTOR, ALWAYS, 0, "guest DS selector"},
    {VMCS_GUEST_FS_SELECTOR, ALWAYS, 0, "guest FS selector"},
    {VMCS_GUEST_GS_SELECTOR, ALWAYS, 0, "guest GS selector"},
    {VMCS_GUEST_LDTR_SELECTOR, ALWAYS, 0, "guest LDTR selector"},
    {VMCS_GUEST_TR_SELECTOR, ALWAYS, 0, "guest TR selector"},
    {VMCS_GUEST_INTR_STATUS, SECONDARY, SEC_VIRTUAL_INTERRUPT, "guest interrupt status"},
    {VMCS_GUEST_PML_INDEX, SECONDARY, SEC_PML, "PML index"},
    {VMCS_HOST_ES_SELECTOR, ALWAYS, 0, "host ES selector"},
    {VMCS_HOST_CS_SELECTOR, ALWAYS, 0, "host CS selector"},
    {VMCS_HOST_SS_SELECTOR, ALWAYS, 0, "host SS selector"},
    {VMCS_HOST_DS_SELECTOR, ALWAYS, 0, "host DS selector"},
    {VMCS_HOST_FS_SELECTOR, ALWAYS, 0, "host FS selector"},
    {VMCS_HOST_GS_SELECTOR, ALWAYS, 0, "host GS selector"},
    {VMCS_HOST_TR_SELECTOR, ALWAYS, 0, "host TR selector"},
    {VMCS_IO_BITMAP_A, ALWAYS, 0, "address of I/O bitmap A"},
    {VMCS_IO_BITMAP_B, ALWAYS, 0, "address of I/O bitmap B"},
    {VMCS_MSR_BITMAP, PRIMARY, CPU_MSR_BITMAPS, "address of MSR bitmaps"},
    {VMCS_EXIT_MSR_STORE_ADDR, ALWAYS, 0, "VM-exit MSR-store address"},
    {VMCS_EXIT_MSR_LOAD_ADDR, ALWAYS, 0, "VM-exit MSR-load address"},
    {VMCS_ENTRY_MSR_LOAD_ADDR, ALWAYS, 0, "VM-entry MSR-load address"},
    {VMCS_EXECUTIVE_VMCS, ALWAYS, 0, "executive-VMCS pointer"},
    {VMCS_PML_ADDRESS, SECONDARY, SEC_PML, "PML address"},
    {VMCS_TSC_OFFSET, ALWAYS, 0, "TSC offset"},
    {VMCS_VIRTUAL_APIC_ADDR, PRIMARY, CPU_TPR_SHADOW, "virtual-APIC address"},
    {VMCS_APIC_ACCESS_ADDR, SECONDARY, SEC_VIRTUALIZE_APIC_ACCESSES, "APIC-access address"},
    {VMCS_POSTED_INTR_DESC, PIN, PIN_POSTED_INTERRUPTS, "posted-interrupt descriptor address"},
    {VMCS_VM_FUNCTION_CONTROLS, SECONDARY, SEC_VM_FUNCTIONS, "VM-function controls"},
    {VMCS_EPTP, SECONDARY, SEC_EPT, "EPT pointer"},
    {VMCS_EOI_EXIT_BITMAP0, SECONDARY, SEC_VIRTUAL_INTERRUPT, "EOI-exit bitmap 0"},
    {VMCS_EOI_EXIT_BITMAP1, SECONDARY, SEC_VIRTUAL_INTERRUPT, "EOI-exit bitmap 1"},
    {VMCS_EOI_EXIT_BITMAP2, SECONDARY, SEC_VIRTUAL_INTERRUPT, "EOI-exit bitmap 2"},
    {VMCS_EOI_EXIT_BITMAP3, SECONDARY, SEC_VIRTUAL_INTERRUPT, "EOI-exit bitmap 3"},
    {VMCS_EPTP_LIST_ADDR, FUNCTION, BIT(0), "EPTP-list address"},
    {VMCS_VMREAD_BITMAP, SECONDARY, SEC_VMCS_SHADOWING, "VMREAD-bitmap address"},
    {VMCS_VMWRITE_BITMAP, SECONDARY, SEC_VMCS_SHADOWING, "VMWRITE-bitmap address"},
    {VMCS_VIRT_EXCEPTION_ADDR, SECONDARY, SEC_EPT_VIOLATION_VE,
     "virtualization-exception information address"},
    {VMCS_XSS_EXIT_BITMAP, SECONDARY, SEC_XSAVES, "XSS-exiting bitmap"},
    {VMCS_ENCLS_EXIT_BITMAP, SECONDARY, SEC_ENCLS, "ENCLS-exiting bitmap"},
    {VMCS_SUB_PAGE_POINTER, SECONDARY, SEC_SUB_PAGE, "sub-page-permission-table pointer"},
    {VMCS_TSC_MULTIPLIER, SECONDARY, SEC_TSC_SCALING, "TSC multiplier"},
    {VMCS_TERTIARY_CONTROLS, PRIMARY, CPU_TERTIARY,
     "tertiary processor-based VM-execution controls"},
    {VMCS_GUEST_PHYSICAL_ADDRESS, SECONDARY, SEC_EPT, "guest-physical address"},
    {VMCS_LINK_POINTER, ALWAYS, 0, "VMCS link pointer"},
    {VMCS_GUEST_DEBUGCTL, ALWAYS, 0, "guest IA32_DEBUGCTL"},
    {VMCS_GUEST_PAT, ENTRY, ENTRY_LOAD_PAT, "guest IA32_PAT"},
    {VMCS_GUEST_EFER, ENTRY, ENTRY_LOAD_EFER, "guest IA32_EFER"},
    {VMCS_GUEST_PERF_GLOBAL_CTRL, ENTRY, ENTRY_LOAD_PERF_GLOBAL, "guest IA32_PERF_GLOBAL_CTRL"},
    {VMCS_GUEST_PDPTE0, SECONDARY, SEC_EPT, "guest PDPTE0"},
    {VMCS_GUEST_PDPTE1, SECONDARY, SEC_EPT, "guest PDPTE1"},
    {VMCS_GUEST_PDPTE2, SECONDARY, SEC_EPT, "guest PDPTE2"},
    {VMCS_GUEST_PDPTE3, SECONDARY, SEC_EPT, "guest PDPTE3"},
    {VMCS_GUEST_BNDCFGS, ENTRY, ENTRY_LOAD_BNDCFGS, "guest IA32_BNDCFGS"},
    {VMCS_HOST_PAT, EXIT, EXIT_LOAD_PAT, "host IA32_PAT"},
    {VMCS_HOST_EFER, EXIT, EXIT_LOAD_EFER, "host IA32_EFER"},
    {VMCS_HOST_PERF_GLOBAL_CTRL, EXIT, EXIT_LOAD_PERF_GLOBAL, "host IA32_PERF_GLOBAL_CTRL"},
    {VMCS_PIN_CONTROLS, ALWAYS, 0, "pin-based VM-execution controls"},
    {VMCS_PRIMARY_CONTROLS, ALWAYS, 0, "primary processor-based VM-execution controls"},
    {VMCS_EXCEPTION_BITMAP, ALWAYS, 0, "exception bitmap"},
    {VMCS_PF_ERROR_MASK, ALWAYS, 0, "page-fault error-code mask"},
    {VMCS_PF_ERROR_MATCH, ALWAYS, 0, "page-fault error-code match"},
    {VMCS_CR3_TARGET_COUNT, ALWAYS, 0, "CR3-target count"},
    {VMCS_EXIT_CONTROLS, ALWAYS, 0, "VM-exit controls"},
    {VMCS_EXIT_MSR_STORE_COUNT, ALWAYS, 0, "VM-exit MSR-store count"},
    {VMCS_EXIT_MSR_LOAD_COUNT, ALWAYS, 0, "VM-exit MSR-load count"},
    {VMCS_ENTRY_CONTROLS, ALWAYS, 0, "VM-entry controls"},
    {VMCS_ENTRY_MSR_LOAD_COUNT, ALWAYS, 0, "VM-entry MSR-load count"},
    {VMCS_ENTRY_INTR_INFO, ALWAYS, 0, "VM-entry interruption-information field"},
    {VMCS_ENTRY_ERROR_CODE, ALWAYS, 0, "VM-entry exception error code"},
    {VMCS_ENTRY_INSTRUCTION_LENGTH, ALWAYS, 0, "VM-entry instruction length"},
    {VMCS_TPR_THRESHOLD, PRIMARY, CPU_TPR_SHADOW, "TPR threshold"},
    {VMCS_SECONDARY_CONTROLS, PRIMARY, CPU_SECONDARY,
     "secondary processor-based VM-execution controls"},
    {VMCS_PLE_GAP, SECONDARY, SEC_PAUSE_LOOP, "PLE_Gap"},
    {VMCS_PLE_WINDOW, SECONDARY, SEC_PAUSE_LOOP, "PLE_Window"},
    {VMCS_NOTIFY_WINDOW, SECONDARY, SEC_NOTIFY, "notify window"},
    {VMCS_INSTRUCTION_ERROR, ALWAYS, 0, "VM-instruction error"},
    {VMCS_EXIT_REASON, ALWAYS, 0, "exit reason"},
    {VMCS_EXIT_INTR_INFO, ALWAYS, 0, "VM-exit interruption information"},
    {VMCS_EXIT_ERROR_CODE, ALWAYS, 0, "VM-exit interruption error code"},
    {VMCS_IDT_VECTORING_INFO, ALWAYS, 0, "IDT-vectoring information"},
    {VMCS_IDT_VECTORING_ERROR, ALWAYS, 0, "IDT-vectoring error code"},
    {VMCS_EXIT_INSTRUCTION_LENGTH, ALWAYS, 0, "VM-exit instruction length"},
    {VMCS_EXIT_INSTRUCTION_INFO, ALWAYS, 0, "VM-exit instruction information"},
    {VMCS_GUEST_ES_LIMIT, ALWAYS, 0, "guest ES limit"},
    {VMCS_GUEST_CS_LIMIT, ALWAYS, 0, "guest CS limit"},
    {VMCS_GUEST_SS_LIMIT, ALWAYS, 0, "guest SS limit"},
    {VMCS_GUEST_DS_LIMIT, ALWAYS, 0, "guest DS limit"},
    {VMCS_GUEST_FS_LIMIT, ALWAYS, 0, "guest FS limit"},
    {VMCS_GUEST_GS_LIMIT, ALWAYS, 0, "guest GS limit"},
    {VMCS_GUEST_LDTR_LIMIT, ALWAYS, 0, "guest LDTR limit"},
    {VMCS_GUEST_TR_LIMIT, ALWAYS, 0, "guest TR limit"},
    {VMCS_GUEST_GDTR_LIMIT, ALWAYS, 0, "guest GDTR limit"},
    {VMCS_GUEST_IDTR_LIMIT, ALWAYS, 0, "guest IDTR limit"},
    {VMCS_GUEST_ES_ACCESS, ALWAYS, 0, "guest ES access rights"},
    {VMCS_GUEST_CS_ACCESS, ALWAYS, 0, "guest CS access rights"},
    {VMCS_GUEST_SS_ACCESS, ALWAYS, 0, "guest SS access rights"},
    {VMCS_GUEST_DS_ACCESS, ALWAYS, 0, "guest DS access rights"},
    {VMCS_GUEST_FS_ACCESS, ALWAYS, 0, "guest FS access rights"},
    {VMCS_GUEST_GS_ACCESS, ALWAYS, 0, "guest GS access rights"},
    {VMCS_GUEST_LDTR_ACCESS, ALWAYS, 0, "guest LDTR access rights"},
    {VMCS_GUEST_TR_ACCESS, ALWAYS, 0, "guest TR access rights"},
    {VMCS_GUEST_INTERRUPTIBILITY, ALWAYS, 0, "guest interruptibility state"},
    {VMCS_GUEST_ACTIVITY, ALWAYS, 0, "guest activity state"},
    {VMCS_GUEST_SMBASE, ALWAYS, 0, "guest SMBASE"},
    {VMCS_GUEST_SYSENTER_CS, ALWAYS, 0, "guest IA32_SYSENTER_CS"},
    {VMCS_PREEMPTION_TIMER, PIN, PIN_PREEMPTION_TIMER, "VMX-preemption timer value"},
    {VMCS_HOST_SYSENTER_CS, ALWAYS, 0, "host IA32_SYSENTER_CS"},
    {VMCS_CR0_MASK, ALWAYS, 0, "CR0 guest/host mask"},
    {VMCS_CR4_MASK, ALWAYS, 0, "CR4 guest/host mask"},
    {VMCS_CR0_SHADOW, ALWAYS, 0, "CR0 read shadow"},
    {VMCS_CR4_SHADOW, ALWAYS, 0, "CR4 read shadow"},
    {VMCS_EXIT_QUALIFICATION, ALWAYS, 0, "exit qualification"},
    {VMCS_GUEST_LINEAR_ADDRESS, ALWAYS, 0, "guest-linear address"},
    {VMCS_GUEST_CR0, ALWAYS, 0, "guest CR0"},
    {VMCS_GUEST_CR3, ALWAYS, 0, "guest CR3"},
    {VMCS_GUEST_CR4, ALWAYS, 0, "guest CR4"},
    {VMCS_GUEST_ES_BASE, ALWAYS, 0, "guest ES base address"},
    {VMCS_GUEST_CS_BASE, ALWAYS, 0, "guest CS base address"},
    {VMCS_GUEST_SS_BASE, ALWAYS, 0, "guest SS base address"},
    {VMCS_GUEST_DS_BASE, ALWAYS, 0, "guest DS base address"},
    {VMCS_GUEST_FS_BASE, ALWAYS, 0, "guest FS base address"},
    {VMCS_GUEST_GS_BASE, ALWAYS, 0, "guest GS base address"},
    {VMCS_GUEST_LDTR_BASE, ALWAYS, 0, "guest LDTR base address"},
    {VMCS_GUEST_TR_BASE, ALWAYS, 0, "guest TR base address"},
    {VMCS_GUEST_GDTR_BASE, ALWAYS, 0, "guest GDTR base address"},
    {VMCS_GUEST_IDTR_BASE, ALWAYS, 0, "guest IDTR base address"},
    {VMCS_GUEST_DR7, ALWAYS, 0, "guest DR7"},
    {VMCS_GUEST_RSP, ALWAYS, 0, "guest RSP"},
    {VMCS_GUEST_RIP, ALWAYS, 0, "guest RIP"},
    {VMCS_GUEST_RFLAGS, ALWAYS, 0, "guest RFLAGS"},
    {VMCS_GUEST_PENDING_DEBUG, ALWAYS, 0, "guest pending debug exceptions"},
    {VMCS_GUEST_SYSENTER_ESP, ALWAYS, 0, "guest IA32_SYSENTER_ESP"},
    {VMCS_GUEST_SYSENTER_EIP, ALWAYS, 0, "guest IA32_SYSENTER_EIP"},
    {VMCS_HOST_CR0, ALWAYS, 0, "host CR0"},
    {VMCS_HOST_CR3, ALWAYS, 0, "host CR3"},
    {VMCS_HOST_CR4, ALWAYS, 0, "host CR4"},
    {VMCS_HOST_FS_BASE, ALWAYS, 0, "host FS base address"},
    {VMCS_HOST_GS_BASE, ALWAYS, 0, "host GS base address"},
    {VMCS_HOST_TR_BASE, ALWAYS, 0, "host TR base address"},
    {VMCS_HOST_GDTR_BASE, ALWAYS, 0, "host GDTR base address"},
    {VMCS_HOST_IDTR_BASE, ALWAYS, 0, "host IDTR base address"},
    {VMCS_HOST_SYSENTER_ESP, ALWAYS, 0, "host IA32_SYSENTER_ESP"},
    {VMCS_HOST_SYSENTER_EIP, ALWAYS, 0, "host IA32_SYSENTER_EIP"},
    {VMCS_HOST_RSP, ALWAYS, 0, "host RSP"},
    {VMCS_HOST_RIP, ALWAYS, 0, "host RIP"},
};

static const struct row *find(enum vmcs_field field)
{
    size_t low = 0, high = ARRAY_SIZE(rows);

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (rows[middle].field == field)
            return &rows[middle];
        if (rows[middle].field < field)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

bool vmcs_field_exists(const struct vmx_caps *caps, enum vmcs_field field)
{
    const uint64_t may_be_1[] = {
        [PIN] = caps->pin >> 32,
        [PRIMARY] = caps->primary >> 32,
        [SECONDARY] = caps->secondary >> 32,
        [EXIT] = caps->exit >> 32,
        [ENTRY] = caps->entry >> 32,
        [FUNCTION] = caps->vmfunc,
    };
    const struct row *row = find(field);

    if (!row)
        return false;
    return row->word == ALWAYS || may_be_1[row->word] & row->bit;
}

bool vmcs_field_at(unsigned n, enum vmcs_field *field)
{
    if (n >= ARRAY_SIZE(rows))
        return false;
    *field = (enum vmcs_field)rows[n].field;
    return true;
}

const char *vmcs_field_name(enum vmcs_field field)
{
    const struct row *row = find(field);

    return row ? row->name : "unknown field";
}
