/* What the auditor's parts share; see audit.h. */
#pragma once

#include "vmx/audit.h"

#define CR0_PE    BIT(0)
#define CR0_WP    BIT(16)
#define CR0_NW    BIT(29)
#define CR0_CD    BIT(30)
#define CR0_PG    BIT(31)
#define CR4_PAE   BIT(5)
#define CR4_PCIDE BIT(17)
#define CR4_CET   BIT(23)
#define EFER_LME  BIT(8)
#define EFER_LMA  BIT(10)
#define EFER_NXE  BIT(11)

/* The field's value, or 0 when this CPU does not have it. */
uint64_t audit_get(const struct vmcs_audit *a, enum vmcs_field field);
/* Secondary controls as the CPU uses them: 0 unless the primary controls activate them. */
uint32_t audit_secondary(const struct vmcs_audit *a);

/* One sentence: the field's name, its value, and the rule that it breaks, which is formatted. */
void audit_fail(struct vmcs_audit *a, enum vmcs_field field, const char *rule, ...) PRINTF(3, 4);

#define CHECK(condition, field, ...)                                                               \
    do {                                                                                           \
        if (!(condition))                                                                          \
            audit_fail(a, field, __VA_ARGS__);                                                     \
    } while (0)

/* Checks that several areas share. */
void audit_canonical(struct vmcs_audit *a, enum vmcs_field field);
/*
 * Low bits given by `aligned` clear, nothing above the physical-address width (`limit32`: above 4
 * GiB where IA32_VMX_BASIC says so). True when the address is right, so that what it points at may
 * be read.
 */
bool audit_address(struct vmcs_audit *a, enum vmcs_field field, uint64_t aligned, bool limit32);
void audit_pat(struct vmcs_audit *a, enum vmcs_field field);
/* The reserved bits of IA32_EFER. */
void audit_efer(struct vmcs_audit *a, enum vmcs_field field);
/* CR0 or CR4 against its FIXED0 and FIXED1 MSRs; bits in `free` are not looked at. */
void audit_fixed(struct vmcs_audit *a, enum vmcs_field field, uint64_t fixed0, uint64_t fixed1,
                 uint64_t free);

/* Parts of audit_guest(). */
void audit_segments(struct vmcs_audit *a);
