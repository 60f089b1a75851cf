/* SDM volume 3, "Checks on the Guest State Area", in its order; the segment registers are in
 * audit_segments.c. */
#include "vmx/audit_internal.h"

#define RFLAGS_TF    BIT(8)
#define RFLAGS_IF    BIT(9)
#define RFLAGS_VM    BIT(17)
#define DEBUGCTL_BTF BIT(1)

static bool ia32e(const struct vmcs_audit *a)
{
    return audit_get(a, VMCS_ENTRY_CONTROLS) & ENTRY_IA32E_GUEST;
}

static void check_control_registers(struct vmcs_audit *a)
{
    uint64_t cr0 = audit_get(a, VMCS_GUEST_CR0), cr4 = audit_get(a, VMCS_GUEST_CR4);
    uint64_t free = CR0_NW | CR0_CD; /* VM entry does not change these two */

    if (audit_secondary(a) & SEC_UNRESTRICTED_GUEST)
        free |= CR0_PE | CR0_PG;
    audit_fixed(a, VMCS_GUEST_CR0, a->caps->cr0_fixed0, a->caps->cr0_fixed1, free);
    CHECK(!(cr0 & CR0_PG) || cr0 & CR0_PE, VMCS_GUEST_CR0, "PG needs PE");
    audit_fixed(a, VMCS_GUEST_CR4, a->caps->cr4_fixed0, a->caps->cr4_fixed1, 0);
    CHECK(!(cr4 & CR4_CET) || cr0 & CR0_WP, VMCS_GUEST_CR4, "CET needs CR0.WP");
    if (ia32e(a)) {
        CHECK(cr0 & CR0_PG, VMCS_GUEST_CR0, "IA-32e mode guest needs PG");
        CHECK(cr4 & CR4_PAE, VMCS_GUEST_CR4, "IA-32e mode guest needs PAE");
    } else {
        CHECK(!(cr4 & CR4_PCIDE), VMCS_GUEST_CR4, "PCIDE needs IA-32e mode guest");
    }
    audit_address(a, VMCS_GUEST_CR3, 0, false);
}

static void check_msrs(struct vmcs_audit *a)
{
    uint32_t entry = (uint32_t)audit_get(a, VMCS_ENTRY_CONTROLS);

    if (entry & ENTRY_LOAD_DEBUG) {
        CHECK((audit_get(a, VMCS_GUEST_DEBUGCTL) & ~0xffc7ULL) == 0, VMCS_GUEST_DEBUGCTL,
              "reserved bits are set");
        CHECK(audit_get(a, VMCS_GUEST_DR7) >> 32 == 0, VMCS_GUEST_DR7, "bits 63:32 must be 0");
    }
    audit_canonical(a, VMCS_GUEST_SYSENTER_ESP);
    audit_canonical(a, VMCS_GUEST_SYSENTER_EIP);
    if (entry & ENTRY_LOAD_PAT)
        audit_pat(a, VMCS_GUEST_PAT);
    if (entry & ENTRY_LOAD_EFER) {
        uint64_t efer = audit_get(a, VMCS_GUEST_EFER);
        audit_efer(a, VMCS_GUEST_EFER);
        CHECK(!!(efer & EFER_LMA) == ia32e(a), VMCS_GUEST_EFER,
              "LMA must equal the IA-32e-mode-guest control");
        if (audit_get(a, VMCS_GUEST_CR0) & CR0_PG)
            CHECK(!!(efer & EFER_LMA) == !!(efer & EFER_LME), VMCS_GUEST_EFER,
                  "LMA must equal LME under paging");
    }
    if (entry & ENTRY_LOAD_BNDCFGS) {
        CHECK((audit_get(a, VMCS_GUEST_BNDCFGS) & 0xffc) == 0, VMCS_GUEST_BNDCFGS,
              "bits 11:2 must be 0");
        audit_canonical(a, VMCS_GUEST_BNDCFGS);
    }
}

static void check_tables(struct vmcs_audit *a)
{
    audit_canonical(a, VMCS_GUEST_GDTR_BASE);
    audit_canonical(a, VMCS_GUEST_IDTR_BASE);
    CHECK(audit_get(a, VMCS_GUEST_GDTR_LIMIT) >> 16 == 0, VMCS_GUEST_GDTR_LIMIT,
          "bits 31:16 must be 0");
    CHECK(audit_get(a, VMCS_GUEST_IDTR_LIMIT) >> 16 == 0, VMCS_GUEST_IDTR_LIMIT,
          "bits 31:16 must be 0");
}

static void check_rip_rflags(struct vmcs_audit *a)
{
    uint64_t rip = audit_get(a, VMCS_GUEST_RIP), rflags = audit_get(a, VMCS_GUEST_RFLAGS);
    uint32_t info = (uint32_t)audit_get(a, VMCS_ENTRY_INTR_INFO);
    bool code_64bit = ia32e(a) && audit_get(a, VMCS_GUEST_CS_ACCESS) & BIT(13);

    if (!code_64bit) {
        CHECK(rip >> 32 == 0, VMCS_GUEST_RIP, "bits 63:32 must be 0 outside 64-bit mode");
    } else {
        /* Bits above the linear-address width must be equal, but need not equal the highest bit
         * below. */
        uint64_t high = (uint64_t)((int64_t)rip >> a->caps->linear_bits);
        CHECK(high == 0 || high == UINT64_MAX, VMCS_GUEST_RIP, "bits 63:%u must be equal",
              a->caps->linear_bits);
    }
    CHECK((rflags & ~0x3f7fd7ULL) == 0, VMCS_GUEST_RFLAGS, "reserved bits are set");
    CHECK(rflags & BIT(1), VMCS_GUEST_RFLAGS, "bit 1 must be 1");
    CHECK(!(rflags & RFLAGS_VM) || (!ia32e(a) && audit_get(a, VMCS_GUEST_CR0) & CR0_PE),
          VMCS_GUEST_RFLAGS, "virtual-8086 mode needs protected mode outside IA-32e mode");
    if (info & INTR_VALID && INTR_TYPE(info) == INTR_EXTERNAL)
        CHECK(rflags & RFLAGS_IF, VMCS_GUEST_RFLAGS, "injecting an external interrupt needs IF");
}

/* Events that may be injected into a CPU that is not active. */
static bool wakes(uint64_t activity, unsigned type, unsigned vector)
{
    switch (activity) {
    case ACTIVITY_HLT:
        return type == INTR_EXTERNAL || type == INTR_NMI || (type == INTR_OTHER && vector == 0) ||
               (type == INTR_HARD_EXCEPTION && (vector == 1 || vector == 18));
    case ACTIVITY_SHUTDOWN:
        return type == INTR_NMI || (type == INTR_HARD_EXCEPTION && vector == 18);
    default:
        return false;
    }
}

static void check_activity(struct vmcs_audit *a)
{
    uint64_t activity = audit_get(a, VMCS_GUEST_ACTIVITY);
    uint32_t info = (uint32_t)audit_get(a, VMCS_ENTRY_INTR_INFO);

    CHECK(activity <= ACTIVITY_WAIT_FOR_SIPI, VMCS_GUEST_ACTIVITY, "no activity state");
    if (activity == ACTIVITY_ACTIVE || activity > ACTIVITY_WAIT_FOR_SIPI)
        return;
    CHECK(a->caps->misc & BIT(5 + activity), VMCS_GUEST_ACTIVITY,
          "this CPU does not support that state");
    if (activity == ACTIVITY_HLT)
        CHECK((audit_get(a, VMCS_GUEST_SS_ACCESS) >> 5 & 3) == 0, VMCS_GUEST_ACTIVITY,
              "HLT needs SS.DPL 0");
    CHECK(!(audit_get(a, VMCS_GUEST_INTERRUPTIBILITY) & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS)),
          VMCS_GUEST_ACTIVITY, "must be active while STI or MOV SS blocks");
    if (info & INTR_VALID)
        CHECK(wakes(activity, INTR_TYPE(info), INTR_VECTOR(info)), VMCS_GUEST_ACTIVITY,
              "the event in the VM-entry interruption-information field may not be injected in "
              "that state");
}

static void check_interruptibility(struct vmcs_audit *a)
{
    uint64_t blocking = audit_get(a, VMCS_GUEST_INTERRUPTIBILITY);
    uint32_t info = (uint32_t)audit_get(a, VMCS_ENTRY_INTR_INFO);
    bool sti = blocking & BLOCKING_BY_STI, mov_ss = blocking & BLOCKING_BY_MOV_SS;

    CHECK((blocking & ~0x1fULL) == 0, VMCS_GUEST_INTERRUPTIBILITY, "reserved bits are set");
    CHECK(!(sti && mov_ss), VMCS_GUEST_INTERRUPTIBILITY, "STI and MOV SS cannot both block");
    CHECK(!sti || audit_get(a, VMCS_GUEST_RFLAGS) & RFLAGS_IF, VMCS_GUEST_INTERRUPTIBILITY,
          "blocking by STI needs RFLAGS.IF");
    CHECK(!(blocking & BLOCKING_BY_SMI), VMCS_GUEST_INTERRUPTIBILITY,
          "SMIs are blocked in SMM only");
    CHECK(!(blocking & BIT(4)) || !mov_ss, VMCS_GUEST_INTERRUPTIBILITY,
          "an enclave interruption excludes blocking by MOV SS");
    if (!(info & INTR_VALID))
        return;
    if (INTR_TYPE(info) == INTR_EXTERNAL)
        CHECK(!sti && !mov_ss, VMCS_GUEST_INTERRUPTIBILITY,
              "injecting an external interrupt while STI or MOV SS blocks");
    if (INTR_TYPE(info) == INTR_NMI) {
        /* Some CPUs refuse an NMI under blocking by STI as well. */
        CHECK(!sti && !mov_ss, VMCS_GUEST_INTERRUPTIBILITY,
              "injecting an NMI while STI or MOV SS blocks");
        CHECK(!(blocking & BLOCKING_BY_NMI) || !(audit_get(a, VMCS_PIN_CONTROLS) & PIN_VIRTUAL_NMI),
              VMCS_GUEST_INTERRUPTIBILITY, "injecting an NMI while NMIs are blocked");
    }
}

static void check_pending_debug(struct vmcs_audit *a)
{
    uint64_t pending = audit_get(a, VMCS_GUEST_PENDING_DEBUG),
             blocking = audit_get(a, VMCS_GUEST_INTERRUPTIBILITY);
    bool bs = pending & BIT(14), rtm = pending & BIT(16);

    /* Bit 11 (bus lock) is reserved on older CPUs only. */
    CHECK((pending & ~0x1580fULL) == 0, VMCS_GUEST_PENDING_DEBUG, "reserved bits are set");
    if (blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS) ||
        audit_get(a, VMCS_GUEST_ACTIVITY) == ACTIVITY_HLT) {
        bool steps = audit_get(a, VMCS_GUEST_RFLAGS) & RFLAGS_TF &&
                     !(audit_get(a, VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF);
        CHECK(bs || !steps, VMCS_GUEST_PENDING_DEBUG,
              "BS must be 1: TF is set, BTF clear, and STI, MOV SS or HLT holds");
        CHECK(!bs || steps, VMCS_GUEST_PENDING_DEBUG,
              "BS must be 0 unless TF is set and BTF clear");
    }
    if (rtm) {
        CHECK((pending & 0xefff) == 0 && pending & BIT(12), VMCS_GUEST_PENDING_DEBUG,
              "with RTM, of bits 15:0 only bit 12 must be 1");
        CHECK(!(blocking & BLOCKING_BY_MOV_SS), VMCS_GUEST_PENDING_DEBUG,
              "RTM excludes blocking by MOV SS");
    }
}

static void check_link_pointer(struct vmcs_audit *a)
{
    uint64_t link = audit_get(a, VMCS_LINK_POINTER);
    uint32_t header;

    if (link == UINT64_MAX)
        return;
    if (!audit_address(a, VMCS_LINK_POINTER, 0xfff, true) || !a->memory ||
        !a->memory(a->ctx, link, &header, sizeof(header)))
        return;
    CHECK((header & 0x7fffffff) == VMX_REVISION(a->caps), VMCS_LINK_POINTER,
          "the VMCS there has revision 0x%x", header & 0x7fffffff);
    CHECK(!!(header & BIT(31)) == !!(audit_secondary(a) & SEC_VMCS_SHADOWING), VMCS_LINK_POINTER,
          "the VMCS there must be a shadow VMCS if and only if VMCS shadowing is on");
}

static void check_pdptes(struct vmcs_audit *a)
{
    uint64_t reserved = 0x1e6 | ~(BIT(a->caps->physical_bits) - 1);

    if (!(audit_secondary(a) & SEC_EPT) || ia32e(a) || !(audit_get(a, VMCS_GUEST_CR0) & CR0_PG) ||
        !(audit_get(a, VMCS_GUEST_CR4) & CR4_PAE))
        return;
    for (unsigned i = 0; i < 4; i++) {
        enum vmcs_field field = (enum vmcs_field)(VMCS_GUEST_PDPTE0 + 2 * i);
        uint64_t pdpte = audit_get(a, field);
        CHECK(!(pdpte & 1) || (pdpte & reserved) == 0, field,
              "reserved bits are set in a present entry");
    }
}

int audit_guest(struct vmcs_audit *a)
{
    int before = a->failures;

    check_control_registers(a);
    check_msrs(a);
    audit_segments(a);
    check_tables(a);
    check_rip_rflags(a);
    check_activity(a);
    check_interruptibility(a);
    check_pending_debug(a);
    check_link_pointer(a);
    check_pdptes(a);
    return a->failures - before;
}
