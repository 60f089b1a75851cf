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

int audit_vmcs(struct vmcs_audit *audit)
{
    return audit_controls(audit) + audit_host(audit) + audit_guest(audit);
}
