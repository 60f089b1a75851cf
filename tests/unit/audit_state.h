/*
 * VMCS states for the auditor's test and fuzzer: fields in an array indexed by encoding, filled
 * with a state that every check passes, in one of four guest modes.
 */
#pragma once

#include <string.h>

#include "vmx/audit.h"
#include "vmx/controls.h"

enum audit_mode { LONG, REAL, PAE, V86 };

static uint64_t fields[0x7000];

static void set_segment(unsigned n, uint64_t selector, uint64_t base, uint64_t limit,
                        uint64_t access)
{
    fields[VMCS_GUEST_ES_SELECTOR + 2 * n] = selector;
    fields[VMCS_GUEST_ES_BASE + 2 * n] = base;
    fields[VMCS_GUEST_ES_LIMIT + 2 * n] = limit;
    fields[VMCS_GUEST_ES_ACCESS + 2 * n] = access;
}

static void good_controls(const struct vmx_controls *c)
{
    fields[VMCS_PIN_CONTROLS] = c->pin;
    fields[VMCS_PRIMARY_CONTROLS] = c->primary;
    fields[VMCS_SECONDARY_CONTROLS] = c->secondary;
    fields[VMCS_EXIT_CONTROLS] = c->exit;
    fields[VMCS_ENTRY_CONTROLS] = c->entry;
    fields[VMCS_VPID] = 1;
    fields[VMCS_IO_BITMAP_A] = 0x10000;
    fields[VMCS_IO_BITMAP_B] = 0x11000;
    fields[VMCS_MSR_BITMAP] = 0x12000;
    fields[VMCS_VIRTUAL_APIC_ADDR] = 0x13000;
    fields[VMCS_APIC_ACCESS_ADDR] = 0x14000;
    fields[VMCS_EPTP] = 0x1501e;
    fields[VMCS_TSC_MULTIPLIER] = 1ULL << 48;
    fields[VMCS_LINK_POINTER] = UINT64_MAX;
}

static void good_host(void)
{
    fields[VMCS_HOST_CR0] = 0x80050033;
    fields[VMCS_HOST_CR3] = 0x100000;
    fields[VMCS_HOST_CR4] = 0x26a0;
    fields[VMCS_HOST_PAT] = 0x0007040600070406;
    fields[VMCS_HOST_EFER] = 0xd01;
    fields[VMCS_HOST_CS_SELECTOR] = 8;
    fields[VMCS_HOST_SS_SELECTOR] = 16;
    fields[VMCS_HOST_TR_SELECTOR] = 24;
    fields[VMCS_HOST_GS_BASE] = fields[VMCS_HOST_TR_BASE] = fields[VMCS_HOST_GDTR_BASE] =
        fields[VMCS_HOST_IDTR_BASE] = fields[VMCS_HOST_RIP] = fields[VMCS_HOST_RSP] =
            0xffffffff80001000;
}

static void good_guest(enum audit_mode mode)
{
    fields[VMCS_GUEST_CR4] = 0x2000;
    fields[VMCS_GUEST_RFLAGS] = 0x202;
    fields[VMCS_GUEST_RIP] = 0x1000;
    fields[VMCS_GUEST_DR7] = 0x400;
    fields[VMCS_GUEST_PAT] = 0x0007040600070406;
    fields[VMCS_GUEST_GDTR_LIMIT] = fields[VMCS_GUEST_IDTR_LIMIT] = 0xffff;
    for (unsigned n = 0; n < 6; n++)
        set_segment(n, 0x10, 0, 0xffffffff, 0xc093);
    set_segment(1, 8, 0, 0xffffffff, mode == LONG ? 0xa09b : 0xc09b);
    set_segment(6, 0, 0, 0, 0x10000);
    set_segment(7, 0x18, 0, 0x67, 0x8b);
    switch (mode) {
    case LONG:
        fields[VMCS_ENTRY_CONTROLS] |= ENTRY_IA32E_GUEST;
        fields[VMCS_GUEST_CR0] = 0x80050033;
        fields[VMCS_GUEST_CR3] = 0x1000;
        fields[VMCS_GUEST_CR4] = 0x20a0;
        fields[VMCS_GUEST_EFER] = 0xd01;
        fields[VMCS_GUEST_RIP] = 0xffffffff81000000;
        break;
    case REAL:
        fields[VMCS_GUEST_CR0] = 0x20;
        for (unsigned n = 0; n < 6; n++)
            set_segment(n, 0x100, 0x1000, 0xffff, n == 1 ? 0x9b : 0x93);
        break;
    case PAE:
        fields[VMCS_GUEST_CR0] = 0x80000033;
        fields[VMCS_GUEST_CR4] = 0x2020;
        fields[VMCS_GUEST_PDPTE0] = 0x1001;
        break;
    case V86:
        fields[VMCS_GUEST_CR0] = 0x80000033;
        fields[VMCS_GUEST_RFLAGS] = 0x23202;
        for (unsigned n = 0; n < 6; n++)
            set_segment(n, 0x100, 0x1000, 0xffff, 0xf3);
        break;
    }
}

static void good_state(const struct vmx_controls *controls, enum audit_mode mode)
{
    memset(fields, 0, sizeof(fields));
    good_controls(controls);
    good_host();
    good_guest(mode);
}
