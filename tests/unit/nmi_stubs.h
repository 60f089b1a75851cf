/* What guest/cpu/events.c and guest/cpu/step.c ask of the rest of Corbel, for test_nmi.c: a VMCS in
 * an array, and nothing much. */
#pragma once

#include "guest/cpu/probe.h"
#include "guest/cpu/bus_lock.h"
#include "guest/cpu/events.h"
#include "guest/cpu/exit.h"
#include "guest/cpu/linear.h"
#include "guest/cpu/nmi.h"
#include "tests/unit/audit_state.h"
#include "vmx/cpu.h"
#include "vmx/fpu.h"
#include "vmx/watch.h"
#include "tests/unit/unused.h"

struct vmx_features vmx_features;
static int pending_vector; /* of the local APIC */

uint64_t vmread_any(enum vmcs_field field)
{
    return fields[field];
}

void vmwrite_any(enum vmcs_field field, uint64_t value)
{
    fields[field] = value;
}

bool vmread_checked(enum vmcs_field field, uint64_t *value)
{
    *value = fields[field];
    return true;
}

void vm_request(struct vm *m, enum vm_request request, const char *why)
{
    fail_msg("%s", why);
}

void task_notify(struct task *to, uint32_t requests)
{
    task_ask(to, requests);
}

static unsigned no_progress;

void vcpu_no_progress(struct vcpu *v, uint64_t what)
{
    no_progress++;
}

int lapic_evaluate(const struct lapic *l)
{
    return pending_vector;
}

void lapic_accept(struct lapic *l, uint8_t vector)
{
    pending_vector = -1;
}

static void debugger_stepped(struct vcpu *v)
{
    step_end(v, STEP_DEBUGGER);
}

static const struct probes a_debugger = {.debugger_stepped = debugger_stepped};
const struct probes *probes = &a_debugger;

uint64_t vmx_get_cr0(void)
{
    return fields[VMCS_GUEST_CR0];
}

uint64_t vmx_get_cr4(void)
{
    return fields[VMCS_GUEST_CR4];
}

UNUSED_VOID(void split_lock_stepped(struct vcpu *v))
UNUSED(int lapic_highest_irr(const struct lapic *l))
UNUSED(unsigned lapic_blocking_class(const struct lapic *l))
UNUSED(bool lapic_accepts_external(const struct lapic *l))
UNUSED_VOID(void lapic_sync_posted(struct lapic *l))
UNUSED_VOID(void lapic_set_virtual_delivery(struct lapic *l, bool on))
UNUSED(uint16_t lapic_interrupt_status(const struct lapic *l))
UNUSED_VOID(void lapic_eoi_bitmap(const struct lapic *l, uint64_t bitmap[4]))
UNUSED_VOID(void board_eoi_bitmap(struct board *board, uint64_t bitmap[4]))
UNUSED(int board_acknowledge(struct board *board, struct lapic *l))
UNUSED(void *phys_to_virt(paddr pa))
UNUSED_VOID(void vmx_set_apic_mode(struct vmx_vcpu *hw, enum vmx_apic_mode mode))
UNUSED_VOID(void msr_bitmap_build(uint8_t bitmap[4096], const struct msr_features *f))
UNUSED_VOID(void cpuid_set_apic_enabled(struct cpuid_table *t, bool on))
UNUSED_VOID(void vcpu_place_apic(struct vcpu *v))
UNUSED_VOID(void vmx_set_segment(enum segment s, const struct vmx_segment *in))
UNUSED_VOID(void vmx_get_segment(enum segment s, struct vmx_segment *out))
UNUSED_VOID(void vmx_set_rip(uint64_t rip))
UNUSED_VOID(void vmx_set_rflags(uint64_t rflags))
UNUSED(uint64_t vmx_get_gpr(const struct vmx_vcpu *hw, enum gpr r))
UNUSED(size_t linear_fetch(struct vcpu *v, uint64_t linear, void *data, size_t size))
UNUSED(int linear_find(struct vcpu *v, uint64_t linear, uint64_t *gpa))
UNUSED(unsigned vcpu_code_width(const struct vcpu *v))
UNUSED(uint64_t vcpu_linear_rip(const struct vcpu *v))
UNUSED(int guest_memory_read(const struct guest_memory *m, uint64_t gpa, void *data, size_t size))
UNUSED(int guest_memory_write(struct guest_memory *m, uint64_t gpa, const void *data, size_t size))
UNUSED_VOID(void fpu_save(struct vmx_vcpu *hw))
UNUSED_VOID(void fpu_load(struct vmx_vcpu *hw))
