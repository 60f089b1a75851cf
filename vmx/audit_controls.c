/* SDM volume 3, "Checks on VMX Controls", in its order. */
#include "vmx/audit_internal.h"

#include "arch/x86/msr.h"
#include "vmx/controls.h"

static void check_word(struct vmcs_audit *a, enum vmcs_field field, enum vmx_word word,
                       uint64_t capability)
{
    uint32_t value = (uint32_t)audit_get(a, field);

    for (unsigned bit = 0; bit < 32; bit++) {
        const char *name = vmx_control_name(word, bit);
        if (capability & BIT(bit) && !(value & BIT(bit)))
            audit_fail(a, field, "bit %u (%s) must be 1 on this CPU", bit,
                       name ? name : "reserved");
        if (!(capability >> 32 & BIT(bit)) && value & BIT(bit))
            audit_fail(a, field, "bit %u (%s) must be 0 on this CPU", bit,
                       name ? name : "reserved");
    }
}

static void check_words(struct vmcs_audit *a)
{
    check_word(a, VMCS_PIN_CONTROLS, VMX_WORD_PIN, a->caps->pin);
    check_word(a, VMCS_PRIMARY_CONTROLS, VMX_WORD_PRIMARY, a->caps->primary);
    uint32_t primary = (uint32_t)audit_get(a, VMCS_PRIMARY_CONTROLS);
    if (primary & CPU_SECONDARY)
        check_word(a, VMCS_SECONDARY_CONTROLS, VMX_WORD_SECONDARY, a->caps->secondary);
    if (primary & CPU_TERTIARY)
        CHECK((audit_get(a, VMCS_TERTIARY_CONTROLS) & ~a->caps->tertiary) == 0,
              VMCS_TERTIARY_CONTROLS, "bits that this CPU does not have");
    uint64_t targets = a->caps->misc >> 16 & 0x1ff;
    CHECK(audit_get(a, VMCS_CR3_TARGET_COUNT) <= targets, VMCS_CR3_TARGET_COUNT,
          "this CPU has %u targets", (unsigned)targets);
}

static void check_apic(struct vmcs_audit *a, uint32_t pin, uint32_t primary, uint32_t secondary)
{
    const uint32_t needs_shadow = SEC_VIRTUALIZE_X2APIC | SEC_APIC_REGISTER | SEC_VIRTUAL_INTERRUPT;

    if (primary & CPU_TPR_SHADOW) {
        bool readable = audit_address(a, VMCS_VIRTUAL_APIC_ADDR, 0xfff, true) && a->memory;
        uint64_t threshold = audit_get(a, VMCS_TPR_THRESHOLD);
        uint32_t vtpr;
        if (!(secondary & SEC_VIRTUAL_INTERRUPT)) {
            CHECK(threshold >> 4 == 0, VMCS_TPR_THRESHOLD, "bits 31:4 must be 0");
            if (!(secondary & SEC_VIRTUALIZE_APIC_ACCESSES) && readable &&
                a->memory(a->ctx, audit_get(a, VMCS_VIRTUAL_APIC_ADDR) + 0x80, &vtpr, sizeof(vtpr)))
                CHECK((threshold & 15) <= (vtpr >> 4 & 15), VMCS_TPR_THRESHOLD,
                      "above bits 7:4 of the virtual TPR, which is 0x%x", vtpr);
        }
    } else {
        CHECK(!(secondary & needs_shadow), VMCS_SECONDARY_CONTROLS,
              "x2APIC mode, APIC-register virtualization and virtual-interrupt delivery need the "
              "TPR shadow");
    }
    if (secondary & SEC_VIRTUALIZE_APIC_ACCESSES) {
        audit_address(a, VMCS_APIC_ACCESS_ADDR, 0xfff, true);
        CHECK(!(secondary & SEC_VIRTUALIZE_X2APIC), VMCS_SECONDARY_CONTROLS,
              "virtualize APIC accesses and virtualize x2APIC mode exclude each other");
    }
    if (secondary & SEC_VIRTUAL_INTERRUPT)
        CHECK(pin & PIN_EXTERNAL_INTERRUPT, VMCS_PIN_CONTROLS,
              "virtual-interrupt delivery needs external-interrupt exiting");
    if (pin & PIN_POSTED_INTERRUPTS) {
        CHECK(secondary & SEC_VIRTUAL_INTERRUPT, VMCS_PIN_CONTROLS,
              "posted interrupts need virtual-interrupt delivery");
        CHECK(audit_get(a, VMCS_EXIT_CONTROLS) & EXIT_ACK_INTERRUPT, VMCS_EXIT_CONTROLS,
              "posted interrupts need acknowledge interrupt on exit");
        CHECK(audit_get(a, VMCS_POSTED_INTR_VECTOR) <= 255, VMCS_POSTED_INTR_VECTOR,
              "bits 15:8 must be 0");
        audit_address(a, VMCS_POSTED_INTR_DESC, 63, true);
    }
}

static void check_ept(struct vmcs_audit *a, uint32_t secondary)
{
    const uint32_t needs_ept = SEC_UNRESTRICTED_GUEST | SEC_PML | SEC_MODE_BASED_EXECUTE |
                               SEC_SUB_PAGE | SEC_PT_GUEST_PHYSICAL;

    if (secondary & SEC_EPT) {
        uint64_t eptp = audit_get(a, VMCS_EPTP), cap = a->caps->ept_vpid;
        unsigned type = eptp & 7, walk = eptp >> 3 & 7;
        CHECK((type == 0 && cap & BIT(8)) || (type == 6 && cap & BIT(14)), VMCS_EPTP,
              "memory type %u is not supported for the tables", type);
        CHECK((walk == 3 && cap & BIT(6)) || (walk == 4 && cap & BIT(7)), VMCS_EPTP,
              "page-walk length minus 1 is %u", walk);
        CHECK(!(eptp & BIT(6)) || cap & BIT(21), VMCS_EPTP,
              "this CPU has no accessed and dirty flags for EPT");
        CHECK(!(eptp & BIT(7)) || cap & BIT(23), VMCS_EPTP,
              "this CPU has no supervisor shadow-stack control");
        CHECK((eptp & 0xf00) == 0, VMCS_EPTP, "bits 11:8 must be 0");
        audit_address(a, VMCS_EPTP, 0, false);
    } else {
        CHECK(!(secondary & needs_ept), VMCS_SECONDARY_CONTROLS,
              "a control that needs EPT is on, EPT is off");
    }
    if (secondary & SEC_PML)
        audit_address(a, VMCS_PML_ADDRESS, 0xfff, true);
    if (secondary & SEC_SUB_PAGE)
        audit_address(a, VMCS_SUB_PAGE_POINTER, 0xfff, true);
    if (secondary & SEC_VM_FUNCTIONS) {
        uint64_t functions = audit_get(a, VMCS_VM_FUNCTION_CONTROLS);
        CHECK((functions & ~a->caps->vmfunc) == 0, VMCS_VM_FUNCTION_CONTROLS,
              "functions that this CPU lacks");
        if (functions & BIT(0)) {
            CHECK(secondary & SEC_EPT, VMCS_VM_FUNCTION_CONTROLS, "EPTP switching needs EPT");
            audit_address(a, VMCS_EPTP_LIST_ADDR, 0xfff, true);
        }
    }
    if (secondary & SEC_EPT_VIOLATION_VE)
        audit_address(a, VMCS_VIRT_EXCEPTION_ADDR, 0xfff, true);
}

static void check_execution(struct vmcs_audit *a)
{
    uint32_t pin = (uint32_t)audit_get(a, VMCS_PIN_CONTROLS),
             primary = (uint32_t)audit_get(a, VMCS_PRIMARY_CONTROLS);
    uint32_t secondary = audit_secondary(a);

    if (primary & CPU_IO_BITMAPS) {
        audit_address(a, VMCS_IO_BITMAP_A, 0xfff, true);
        audit_address(a, VMCS_IO_BITMAP_B, 0xfff, true);
    }
    if (primary & CPU_MSR_BITMAPS)
        audit_address(a, VMCS_MSR_BITMAP, 0xfff, true);
    CHECK(pin & PIN_NMI || !(pin & PIN_VIRTUAL_NMI), VMCS_PIN_CONTROLS,
          "virtual NMIs need NMI exiting");
    CHECK(pin & PIN_VIRTUAL_NMI || !(primary & CPU_NMI_WINDOW), VMCS_PRIMARY_CONTROLS,
          "NMI-window exiting needs virtual NMIs");
    check_apic(a, pin, primary, secondary);
    if (secondary & SEC_VPID)
        CHECK(audit_get(a, VMCS_VPID) != 0, VMCS_VPID,
              "0 is the host's; with VPIDs on it must be another");
    check_ept(a, secondary);
    if (secondary & SEC_VMCS_SHADOWING) {
        audit_address(a, VMCS_VMREAD_BITMAP, 0xfff, true);
        audit_address(a, VMCS_VMWRITE_BITMAP, 0xfff, true);
    }
    if (secondary & SEC_TSC_SCALING)
        CHECK(audit_get(a, VMCS_TSC_MULTIPLIER) != 0, VMCS_TSC_MULTIPLIER,
              "0 stops the guest's TSC");
}

/* An MSR area of 16-byte entries: the address, its last byte, and how many entries the CPU promises
 * to take. */
static bool check_msr_area(struct vmcs_audit *a, enum vmcs_field count_field,
                           enum vmcs_field address)
{
    uint64_t count = audit_get(a, count_field), most = 512 * ((a->caps->misc >> 25 & 7) + 1);
    int before = a->failures;

    if (count == 0)
        return true;
    audit_address(a, address, 15, true);
    uint64_t last = audit_get(a, address) + count * 16 - 1;
    unsigned bits = a->caps->basic & VMX_BASIC_32BIT ? 32 : a->caps->physical_bits;
    CHECK(last >> bits == 0, address, "the area's last byte lies beyond %u address bits", bits);
    CHECK(count <= most, count_field, "more than the %u entries that this CPU takes",
          (unsigned)most);
    return a->failures == before;
}

static void check_exit(struct vmcs_audit *a)
{
    uint32_t exit = (uint32_t)audit_get(a, VMCS_EXIT_CONTROLS);

    check_word(a, VMCS_EXIT_CONTROLS, VMX_WORD_EXIT, a->caps->exit);
    CHECK(!(exit & EXIT_SAVE_PREEMPTION) || audit_get(a, VMCS_PIN_CONTROLS) & PIN_PREEMPTION_TIMER,
          VMCS_EXIT_CONTROLS, "saving the VMX-preemption timer needs the timer to be active");
    check_msr_area(a, VMCS_EXIT_MSR_STORE_COUNT, VMCS_EXIT_MSR_STORE_ADDR);
    check_msr_area(a, VMCS_EXIT_MSR_LOAD_COUNT, VMCS_EXIT_MSR_LOAD_ADDR);
}

static void check_injection(struct vmcs_audit *a)
{
    const uint32_t error_vectors =
        BIT(8) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(17);
    uint32_t info = (uint32_t)audit_get(a, VMCS_ENTRY_INTR_INFO);
    unsigned type = INTR_TYPE(info), vector = INTR_VECTOR(info);
    bool has_error = info & INTR_HAS_ERROR, hard = type == INTR_HARD_EXCEPTION;

    if (!(info & INTR_VALID))
        return;
    CHECK(type != 1, VMCS_ENTRY_INTR_INFO, "interruption type 1 is reserved");
    CHECK(type != INTR_OTHER || a->caps->primary >> 32 & CPU_MONITOR_TRAP_FLAG,
          VMCS_ENTRY_INTR_INFO, "interruption type 7 needs a CPU with the monitor trap flag");
    CHECK(type != INTR_NMI || vector == 2, VMCS_ENTRY_INTR_INFO, "an NMI has vector 2");
    CHECK(!hard || vector <= 31, VMCS_ENTRY_INTR_INFO, "a hardware exception has vector 0 to 31");
    CHECK(type != INTR_OTHER || vector == 0, VMCS_ENTRY_INTR_INFO, "an other event has vector 0");

    bool protected_mode =
        !(audit_secondary(a) & SEC_UNRESTRICTED_GUEST) || audit_get(a, VMCS_GUEST_CR0) & CR0_PE;
    bool free = a->caps->basic & VMX_BASIC_NO_ERROR;
    bool pushes = hard && vector < 32 && error_vectors & BIT(vector);
    CHECK(!has_error || (hard && protected_mode), VMCS_ENTRY_INTR_INFO,
          "only a hardware exception in protected mode delivers an error code");
    CHECK(!has_error || !hard || pushes || free, VMCS_ENTRY_INTR_INFO,
          "exception %u delivers no error code", vector);
    CHECK(has_error || !pushes || !protected_mode || free, VMCS_ENTRY_INTR_INFO,
          "exception %u delivers an error code", vector);
    CHECK((info & 0x7ffff000) == 0, VMCS_ENTRY_INTR_INFO, "bits 30:12 must be 0");
    if (has_error)
        CHECK(audit_get(a, VMCS_ENTRY_ERROR_CODE) >> 16 == 0, VMCS_ENTRY_ERROR_CODE,
              "bits 31:16 must be 0");
    if (type == INTR_SOFT_INTERRUPT || type == INTR_PRIV_SOFT_EXCEPTION ||
        type == INTR_SOFT_EXCEPTION) {
        uint64_t length = audit_get(a, VMCS_ENTRY_INSTRUCTION_LENGTH);
        CHECK(length <= 15, VMCS_ENTRY_INSTRUCTION_LENGTH, "an instruction has at most 15 bytes");
        CHECK(length > 0 || a->caps->misc & BIT(30), VMCS_ENTRY_INSTRUCTION_LENGTH,
              "a software event needs its instruction's length");
    }
}

/* SDM, "Loading MSRs" of the entry: what makes an entry of the list fail. */
static void check_entry_msrs(struct vmcs_audit *a)
{
    struct {
        uint32_t index, reserved;
        uint64_t value;
    } entry;
    uint64_t count = audit_get(a, VMCS_ENTRY_MSR_LOAD_COUNT);

    for (uint64_t i = 0; i < count; i++) {
        if (!a->memory(a->ctx, audit_get(a, VMCS_ENTRY_MSR_LOAD_ADDR) + i * sizeof(entry), &entry,
                       sizeof(entry)))
            return;
        bool bad = entry.reserved || entry.index == MSR_FS_BASE || entry.index == MSR_GS_BASE ||
                   entry.index == MSR_SMM_MONITOR_CTL ||
                   (entry.index >= MSR_X2APIC_FIRST && entry.index <= MSR_X2APIC_LAST);
        if (bad) { /* the CPU stops there, too */
            audit_fail(a, VMCS_ENTRY_MSR_LOAD_ADDR, "entry %u may not load MSR 0x%x", (unsigned)i,
                       entry.index);
            return;
        }
    }
}

static void check_entry(struct vmcs_audit *a)
{
    check_word(a, VMCS_ENTRY_CONTROLS, VMX_WORD_ENTRY, a->caps->entry);
    CHECK(!(audit_get(a, VMCS_ENTRY_CONTROLS) & (ENTRY_SMM | ENTRY_DEACTIVATE_DUAL)),
          VMCS_ENTRY_CONTROLS,
          "entry to SMM and deactivate dual-monitor treatment are for SMM only");
    check_injection(a);
    if (check_msr_area(a, VMCS_ENTRY_MSR_LOAD_COUNT, VMCS_ENTRY_MSR_LOAD_ADDR) && a->memory)
        check_entry_msrs(a);
}

int audit_controls(struct vmcs_audit *a)
{
    int before = a->failures;

    check_words(a);
    check_execution(a);
    check_exit(a);
    check_entry(a);
    return a->failures - before;
}
