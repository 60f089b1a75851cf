/*
 * The VM-entry auditor: replays in software the checks that the SDM's chapter "VM Entries" lists,
 * so that a failed entry names the field that is wrong. Pure: the VMCS is read through a callback.
 */
#pragma once

#include "vmx/caps.h"
#include "vmx/vmcs.h"

struct vmcs_audit {
    const struct vmx_caps *caps;
    void *ctx;
    /* Called only for fields that exist on this CPU: VMREAD of another fails. */
    uint64_t (*read)(void *ctx, enum vmcs_field field);
    /* One sentence per failed check: field, value, rule. */
    void (*report)(void *ctx, const char *sentence);
    /* Copy size bytes of host-physical memory; false when it cannot be read. May be NULL: checks
     * that need it are left out (virtual TPR, MSR-load lists, the VMCS behind the link pointer). */
    bool (*memory)(void *ctx, uint64_t pa, void *data, size_t size);
    int failures; /* the auditor's own */
};

/* Check controls, host state and guest state; returns the number of checks that failed. */
int audit_vmcs(struct vmcs_audit *audit);
/* The three parts, each returning how many of its checks failed. */
int audit_controls(struct vmcs_audit *audit);
int audit_host(struct vmcs_audit *audit);
int audit_guest(struct vmcs_audit *audit);
/*
 * What VM entry takes, and what exits again before the guest's next instruction, with nothing
 * delivered that would change it: such a vCPU makes no progress. Not among the checks of
 * audit_vmcs(). The number of causes that were reported.
 */
int audit_progress(struct vmcs_audit *audit);

/* Whether this CPU's VMCS has the field, by its capabilities ("not all fields exist on all
 * processors"). */
bool vmcs_field_exists(const struct vmx_caps *caps, enum vmcs_field field);
/* Field number n (0, 1, ...) of all known ones; false past the last. For dumps. */
bool vmcs_field_at(unsigned n, enum vmcs_field *field);
/* The field's name as in the SDM; "unknown field" for none of ours. */
const char *vmcs_field_name(enum vmcs_field field);
