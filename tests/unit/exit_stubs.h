/* What guest/cpu/exit.c is linked with, and none of its tests calls; after cmocka.h. */
#pragma once

#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/trap.h"
#include "guest/cpu/bus_lock.h"
#include "guest/cpu/events.h"
#include "guest/cpu/exit.h"
#include "guest/cpu/linear.h"
#include "guest/cpu/probe.h"
#include "guest/cpu/pv.h"
#include "guest/cpu/timers.h"
#include "tests/unit/unused.h"
#include "vmx/cpu.h"

struct vmx_features vmx_features;
const struct probes *probes;

#define UNUSED_EXIT(name) UNUSED(enum exit_result name(struct vcpu *v, struct vm_exit *e))

UNUSED_EXIT(exit_apic_access)
UNUSED_EXIT(exit_cr_access)
UNUSED_EXIT(exit_ept_violation)
UNUSED_EXIT(exit_io)
UNUSED_EXIT(exit_monitor_trap)
UNUSED_EXIT(exit_rdmsr)
UNUSED_EXIT(exit_task_switch)
UNUSED_EXIT(exit_wrmsr)
UNUSED_EXIT(exit_xsetbv)
UNUSED(int rights_lookup(struct rights *r, uint64_t gpa, struct ept_leaf *leaf))
UNUSED(unsigned vcpu_code_width(const struct vcpu *v))
UNUSED(bool vcpu_run_timers(struct vcpu *v))
UNUSED(bool vcpu_wakes(struct vcpu *v))
UNUSED(const char *vmx_exit_name(unsigned reason))
UNUSED_VOID(void pv_serve(struct vcpu *v, uint32_t requests))
UNUSED_VOID(void interrupt_dispatch(unsigned vector))
UNUSED_VOID(void lapic_after_write(struct lapic *l, unsigned offset))
UNUSED_VOID(void lapic_eoi_exit(struct lapic *l, uint8_t vector))
UNUSED_VOID(void log_line(enum log_level level, const char *fmt, ...))
UNUSED_VOID(void vcpu_startup_message(struct vcpu *v, uint32_t requests))
UNUSED_VOID(void vcpu_update_deadline(struct vcpu *v))
UNUSED_VOID(void vcpu_write_eoi_bitmap(struct vcpu *v))
UNUSED_VOID(void vm_request(struct vm *m, enum vm_request request, const char *why))
UNUSED_VOID(void vmx_report_entry_failure(struct vmx_vcpu *v))
UNUSED_VOID(void vmx_set_resume_flag(void))
UNUSED_VOID(void vmx_set_rip(uint64_t rip))
