/* SDM volume 3, "Checks on Host-State Area" and "Checks Related to Address-Space Size". */
#include "vmx/audit_internal.h"

static void check_registers(struct vmcs_audit *a, bool host_64bit)
{
    uint32_t exit = (uint32_t)audit_get(a, VMCS_EXIT_CONTROLS);

    audit_fixed(a, VMCS_HOST_CR0, a->caps->cr0_fixed0, a->caps->cr0_fixed1, 0);
    audit_fixed(a, VMCS_HOST_CR4, a->caps->cr4_fixed0, a->caps->cr4_fixed1, 0);
    CHECK(!(audit_get(a, VMCS_HOST_CR4) & CR4_CET) || audit_get(a, VMCS_HOST_CR0) & CR0_WP,
          VMCS_HOST_CR4, "CET needs CR0.WP");
    audit_address(a, VMCS_HOST_CR3, 0, false);
    audit_canonical(a, VMCS_HOST_SYSENTER_ESP);
    audit_canonical(a, VMCS_HOST_SYSENTER_EIP);
    if (exit & EXIT_LOAD_PAT)
        audit_pat(a, VMCS_HOST_PAT);
    if (exit & EXIT_LOAD_EFER) {
        uint64_t efer = audit_get(a, VMCS_HOST_EFER);
        audit_efer(a, VMCS_HOST_EFER);
        CHECK(!!(efer & EFER_LMA) == host_64bit, VMCS_HOST_EFER,
              "LMA must equal host address-space size");
        CHECK(!!(efer & EFER_LME) == host_64bit, VMCS_HOST_EFER,
              "LME must equal host address-space size");
    }
}

static void check_segments(struct vmcs_audit *a, bool host_64bit)
{
    static const enum vmcs_field selectors[] = {
        VMCS_HOST_CS_SELECTOR, VMCS_HOST_SS_SELECTOR, VMCS_HOST_DS_SELECTOR, VMCS_HOST_ES_SELECTOR,
        VMCS_HOST_FS_SELECTOR, VMCS_HOST_GS_SELECTOR, VMCS_HOST_TR_SELECTOR};
    static const enum vmcs_field bases[] = {VMCS_HOST_FS_BASE, VMCS_HOST_GS_BASE,
                                            VMCS_HOST_GDTR_BASE, VMCS_HOST_IDTR_BASE,
                                            VMCS_HOST_TR_BASE};

    for (size_t i = 0; i < ARRAY_SIZE(selectors); i++)
        CHECK((audit_get(a, selectors[i]) & 7) == 0, selectors[i], "RPL and TI must be 0");
    CHECK(audit_get(a, VMCS_HOST_CS_SELECTOR) != 0, VMCS_HOST_CS_SELECTOR, "must not be null");
    CHECK(audit_get(a, VMCS_HOST_TR_SELECTOR) != 0, VMCS_HOST_TR_SELECTOR, "must not be null");
    CHECK(host_64bit || audit_get(a, VMCS_HOST_SS_SELECTOR) != 0, VMCS_HOST_SS_SELECTOR,
          "must not be null for a 32-bit host");
    for (size_t i = 0; i < ARRAY_SIZE(bases); i++)
        audit_canonical(a, bases[i]);
}

int audit_host(struct vmcs_audit *a)
{
    int before = a->failures;
    bool host_64bit = audit_get(a, VMCS_EXIT_CONTROLS) & EXIT_HOST_64BIT;

    check_registers(a, host_64bit);
    check_segments(a, host_64bit);
    /* The microkernel runs in IA-32e mode, so that nothing but a 64-bit host is possible. */
    CHECK(host_64bit, VMCS_EXIT_CONTROLS, "host address-space size must be 1 in IA-32e mode");
    CHECK(audit_get(a, VMCS_HOST_CR4) & CR4_PAE, VMCS_HOST_CR4, "a 64-bit host needs PAE");
    audit_canonical(a, VMCS_HOST_RIP);
    return a->failures - before;
}
