#include "vmx/audit_internal.h"

#include "arch/x86/lib/format.h"

uint64_t audit_get(const struct vmcs_audit *a, enum vmcs_field field)
{
    return vmcs_field_exists(a->caps, field) ? a->read(a->ctx, field) : 0;
}

uint32_t audit_secondary(const struct vmcs_audit *a)
{
    if (!(audit_get(a, VMCS_PRIMARY_CONTROLS) & CPU_SECONDARY))
        return 0;
    return (uint32_t)audit_get(a, VMCS_SECONDARY_CONTROLS);
}

void audit_fail(struct vmcs_audit *a, enum vmcs_field field, const char *rule, ...)
{
    char text[224];
    va_list args;
    int n = format(text, sizeof(text), "%s is 0x%llx: ", vmcs_field_name(field),
                   (unsigned long long)audit_get(a, field));

    va_start(args, rule);
    if (n > 0 && (size_t)n < sizeof(text))
        vformat(text + n, sizeof(text) - (size_t)n, rule, args);
    va_end(args);
    a->failures++;
    if (a->report)
        a->report(a->ctx, text);
}

void audit_canonical(struct vmcs_audit *a, enum vmcs_field field)
{
    uint64_t high = (uint64_t)((int64_t)audit_get(a, field) >> (a->caps->linear_bits - 1));

    CHECK(high == 0 || high == UINT64_MAX, field, "not a canonical address");
}

bool audit_address(struct vmcs_audit *a, enum vmcs_field field, uint64_t aligned, bool limit32)
{
    uint64_t value = audit_get(a, field);
    unsigned bits = a->caps->physical_bits;

    if (limit32 && a->caps->basic & VMX_BASIC_32BIT)
        bits = 32;
    int before = a->failures;
    CHECK((value & aligned) == 0, field, "must be aligned to %u bytes", (unsigned)aligned + 1);
    CHECK(value >> bits == 0, field, "beyond %u address bits", bits);
    return a->failures == before;
}

void audit_pat(struct vmcs_audit *a, enum vmcs_field field)
{
    uint64_t pat = audit_get(a, field);

    for (unsigned i = 0; i < 8; i++) {
        unsigned type = pat >> (i * 8) & 0xff;
        CHECK(type < 8 && type != 2 && type != 3, field, "PA%u is %u, no memory type", i, type);
    }
}

void audit_efer(struct vmcs_audit *a, enum vmcs_field field)
{
    uint64_t allowed = BIT(0) | EFER_LME | EFER_LMA | (a->caps->nx ? EFER_NXE : 0);

    CHECK((audit_get(a, field) & ~allowed) == 0, field, "reserved bits are set");
}

void audit_fixed(struct vmcs_audit *a, enum vmcs_field field, uint64_t fixed0, uint64_t fixed1,
                 uint64_t free)
{
    uint64_t value = audit_get(a, field), missing = fixed0 & ~value & ~free,
             extra = value & ~fixed1 & ~free;

    CHECK(missing == 0, field, "VMX needs bits 0x%llx to be 1", (unsigned long long)missing);
    CHECK(extra == 0, field, "VMX or the CPU needs bits 0x%llx to be 0", (unsigned long long)extra);
}

enum { WINDOW_INTERRUPT = 7, WINDOW_NMI = 8 }; /* basic exit reasons */

/* SDM, "Other Causes of VM Exits" and "VM Exits Induced by the TPR Threshold". An event that is
 * delivered with the entry, and a trap that waits, come before all of them. */
int audit_progress(struct vmcs_audit *a)
{
    uint64_t primary = audit_get(a, VMCS_PRIMARY_CONTROLS),
             blocking = audit_get(a, VMCS_GUEST_INTERRUPTIBILITY),
             rflags = audit_get(a, VMCS_GUEST_RFLAGS);
    uint32_t reason = (uint32_t)audit_get(a, VMCS_EXIT_REASON), vtpr;
    int before = a->failures;

    if (primary & CPU_TPR_SHADOW && !(audit_secondary(a) & SEC_VIRTUAL_INTERRUPT) && a->memory &&
        a->memory(a->ctx, audit_get(a, VMCS_VIRTUAL_APIC_ADDR) + 0x80, &vtpr, sizeof(vtpr)))
        CHECK((audit_get(a, VMCS_TPR_THRESHOLD) & 15) <= (vtpr >> 4 & 15), VMCS_TPR_THRESHOLD,
              "above bits 7:4 of the virtual TPR, which is 0x%x: each entry exits", vtpr);
    if (audit_get(a, VMCS_ENTRY_INTR_INFO) & INTR_VALID ||
        audit_get(a, VMCS_GUEST_PENDING_DEBUG) & BIT(14))
        return a->failures - before;
    /* Behind another exit the first one by a window is to be served yet. */
    CHECK(reason != WINDOW_INTERRUPT || !(primary & CPU_INTERRUPT_WINDOW) || !(rflags & BIT(9)) ||
              blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS),
          VMCS_PRIMARY_CONTROLS, "the interrupt window is open still, and nothing went through it");
    CHECK(reason != WINDOW_NMI || !(primary & CPU_NMI_WINDOW) ||
              blocking & (BLOCKING_BY_MOV_SS | BLOCKING_BY_NMI),
          VMCS_PRIMARY_CONTROLS, "the NMI window is open still, %s",
          blocking & BLOCKING_BY_STI ? "and STI's blocking does not shut it on every CPU"
                                     : "and nothing went through it");
    return a->failures - before;
}

int audit_vmcs(struct vmcs_audit *audit)
{
    return audit_controls(audit) + audit_host(audit) + audit_guest(audit);
}
