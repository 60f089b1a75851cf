/* What guest/vm/vm_state.c and vmx/state.c ask of the rest of Corbel, for test_vm_state.c: VMCSs in
 * arrays, registers in variables, of which nothing can be touched but the loaded vCPU's. */
#pragma once

#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/smp.h"
#include "arch/x86/tsc.h"
#include "guest/board/lapic_internal.h"
#include "guest/cpu/events.h"
#include "guest/cpu/exit.h"
#include "guest/cpu/needs.h"
#include "guest/cpu/nmi.h"
#include "guest/cpu/probe.h"
#include "guest/cpu/pv.h"
#include "guest/run/run.h"
#include "guest/vm/reload.h"
#include "guest/vm/vm_state.h"
#include "guest/vm/vm_stream.h"
#include "mm/heap.h"
#include "vmx/audit.h"
#include "vmx/cpu.h"
#include "vmx/fpu.h"
#include "guest/vm/layers.h"
#include "tests/unit/unused.h"

enum { CPUS = 3, FPU = 512, VMCS_FIELDS = 0x7000, BUS_SHIFT = 2 };

struct registers { /* what vmx_vcpu_load() and vmx_vcpu_put() swap */
    uint64_t cr2, dr[4], dr6, xcr0, xss, shared_msr[SHARED_MSR_COUNT];
    uint8_t fpu[FPU];
};

struct whole {
    struct vm vm;
    struct board_front board; /* as much of one as is looked at */
    uint32_t lines;           /* of it */
    struct vcpu vcpu[CPUS];
    uint32_t page[CPUS][PAGE_SIZE / 4];
    uint64_t vmcs[CPUS][VMCS_FIELDS];
    uint8_t fpu[CPUS][FPU];
    uint64_t devices; /* all that the bus has, and the EOIs that they wait for */
};

struct vmx_features vmx_features;
struct vmx_caps vmx_caps;
const struct probes *probes;
void (*vcpu_reload_test)(struct vcpu *v);

static struct whole now, before, *const all = &now;
static struct vm *const vm = &now.vm;
static struct vm_life life;
static struct registers registers;
static struct vcpu *loaded;
static uint8_t bitmaps[PAGE_SIZE], *stream;
static size_t stream_size;
static uint64_t tsc, random_state;
static uint64_t told_misc_enable[CPUS], told_cr4[CPUS], told_xcr0[CPUS], told_xss[CPUS];
static unsigned resets, drops, leaves, kills, placed[CPUS];

uint64_t test_tsc(void)
{
    return tsc;
}

static uint64_t any(void)
{
    random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return random_state >> 32 ^ random_state << 31;
}

static bool one_in(unsigned n)
{
    return any() % n == 0;
}

static void randomize(void *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)p)[i] = (uint8_t)any();
}

/* --- VMX, as far as it is needed: nothing can be read of a vCPU that is not loaded --- */

uint64_t vmread_any(enum vmcs_field field)
{
    assert_non_null(loaded);
    return all->vmcs[loaded->id][field];
}

void vmwrite_any(enum vmcs_field field, uint64_t value)
{
    assert_non_null(loaded);
    all->vmcs[loaded->id][field] = value;
}

bool vmread_checked(enum vmcs_field field, uint64_t *value)
{
    *value = vmread_any(field);
    return true;
}

bool vcpu_hold(struct vcpu *v)
{
    if (loaded == v)
        return false;
    assert_null(loaded);
    loaded = v;
    registers = (struct registers){
        .cr2 = v->hw.cr2, .dr6 = v->hw.dr6, .xcr0 = v->hw.xcr0, .xss = v->hw.xss};
    memcpy(registers.dr, v->hw.dr, sizeof(registers.dr));
    memcpy(registers.shared_msr, v->hw.shared_msr, sizeof(registers.shared_msr));
    memcpy(registers.fpu, v->hw.fpu, FPU);
    return true;
}

void vcpu_release(struct vcpu *v, bool held)
{
    if (!held)
        return;
    assert_ptr_equal(loaded, v);
    v->hw.cr2 = registers.cr2;
    memcpy(v->hw.dr, registers.dr, sizeof(registers.dr));
    v->hw.dr6 = registers.dr6;
    memcpy(v->hw.shared_msr, registers.shared_msr, sizeof(registers.shared_msr));
    fpu_save(&v->hw);
    loaded = NULL;
}

size_t fpu_size(void)
{
    return FPU;
}

void fpu_save(struct vmx_vcpu *hw)
{
    memcpy(hw->fpu, registers.fpu, FPU);
    hw->xcr0 = registers.xcr0;
    hw->xss = registers.xss;
}

void fpu_load(struct vmx_vcpu *hw)
{
    memcpy(registers.fpu, hw->fpu, FPU);
    registers.xcr0 = hw->xcr0;
    registers.xss = hw->xss;
}

bool fpu_valid(const struct vmx_vcpu *hw)
{
    return true;
}

uint64_t vmx_get_shared_msr(enum vmx_shared_msr i)
{
    return registers.shared_msr[i];
}

bool vmx_set_shared_msr(enum vmx_shared_msr i, uint64_t value)
{
    registers.shared_msr[i] = value;
    return true;
}

void vmx_get_segment(enum segment s, struct vmx_segment *out)
{
    out->selector = (uint16_t)vmread_any(VMCS_GUEST_ES_SELECTOR + 2 * s);
    out->base = vmread_any(VMCS_GUEST_ES_BASE + 2 * s);
    out->limit = (uint32_t)vmread_any(VMCS_GUEST_ES_LIMIT + 2 * s);
    out->access = (uint32_t)vmread_any(VMCS_GUEST_ES_ACCESS + 2 * s);
}

void vmx_set_segment(enum segment s, const struct vmx_segment *in)
{
    vmwrite_any(VMCS_GUEST_ES_SELECTOR + 2 * s, in->selector);
    vmwrite_any(VMCS_GUEST_ES_BASE + 2 * s, in->base);
    vmwrite_any(VMCS_GUEST_ES_LIMIT + 2 * s, in->limit);
    vmwrite_any(VMCS_GUEST_ES_ACCESS + 2 * s, in->access);
}

uint64_t vmx_get_cr4(void)
{
    return vmread_natural(VMCS_CR4_SHADOW);
}

uint64_t vmx_get_efer(void)
{
    return vmread64(VMCS_GUEST_EFER);
}

void vmx_set_efer(struct vmx_vcpu *hw, uint64_t efer)
{
    vmwrite64(VMCS_GUEST_EFER, efer);
}

void vmx_set_tsc_offset(uint64_t offset)
{
    vmwrite64(VMCS_TSC_OFFSET, offset);
}

void vmx_set_apic_mode(struct vmx_vcpu *hw, enum vmx_apic_mode mode)
{
}

void vmx_flush_linear(struct vmx_vcpu *hw)
{
}

uint64_t tsc_to_ns(uint64_t ticks)
{
    return 3 * ticks;
}

void vmx_wrap_exits(struct vmx_vcpu *hw, bool on)
{
    hw->wrapped = on;
}

struct spec_guest spec_guest = {.spec_ctrl = 0x5ff};

void vmx_pass_spec_ctrl(struct vmx_vcpu *hw, bool pass)
{
    hw->spec_passed = pass;
}

void vmx_vcpu_reset(struct vmx_vcpu *hw, enum vmx_reset kind)
{
}

/* --- the rest of Corbel --- */

void *phys_to_virt(paddr pa)
{
    return bitmaps;
}

static unsigned index_of(const struct cpuid_table *t)
{
    return (unsigned)(CONTAINER_OF(t, struct vcpu, cpuid) - all->vcpu);
}

void cpuid_set_misc_enable(struct cpuid_table *t, uint64_t value)
{
    told_misc_enable[index_of(t)] = value;
}

void cpuid_set_cr4(struct cpuid_table *t, uint64_t cr4)
{
    told_cr4[index_of(t)] = cr4;
}

void cpuid_set_xcr0(struct cpuid_table *t, uint64_t xcr0, uint64_t xss)
{
    told_xcr0[index_of(t)] = xcr0;
    told_xss[index_of(t)] = xss;
}

void cpuid_set_apic_enabled(struct cpuid_table *t, bool on)
{
}

void vcpu_place_apic(struct vcpu *v)
{
    assert_ptr_equal(v, loaded);
    placed[v->id]++;
}

void lapic_mode_changed(struct lapic *l)
{
    vcpu_apic_mode(CONTAINER_OF(l, struct vcpu, lapic));
}

/* Nothing is in flight when it is asked the second time. */
static bool at_rest;

bool vm_layers_any(const struct vm *of)
{
    return false;
}

bool bus_idle(struct bus *bus, bool over)
{
    assert_false(over);
    at_rest = !at_rest;
    return !at_rest;
}

void bus_save(struct bus *bus, struct state_writer *out)
{
    assert_false(at_rest);
    state_begin(out, "devices", 1);
    state_put_u64(out, all->devices);
    state_end(out);
}

int bus_load(struct bus *bus, struct state_reader *r)
{
    if (state_enter(r, "devices", 1) < 0)
        return -EBADMSG;
    all->devices = state_get_u64(r);
    return state_leave(r);
}

uint32_t board_lines(const struct board *board)
{
    return all->lines;
}

void board_load_lines(struct board *board, uint32_t lines)
{
    all->lines = lines;
}

void board_eoi_bitmap(struct board *board, uint64_t bitmap[4])
{
    bitmap[1] |= all->devices;
}

void vm_kill(struct vcpu *v, const char *why, ...)
{
    kills++;
}

void run_leave(struct task_group *g)
{
    leaves++;
}

void run_unload(void)
{
}

void run_flush(struct task_group *g)
{
}

void rights_forget(struct rights *r)
{
    drops++;
}

void log_line(enum log_level level, const char *fmt, ...)
{
}

/* --- what a stream needs of a processor --- */

uint64_t tsc_hz = 1000000000;
static const char *lacking; /* what this one lacks */

void needs_save(const struct cpu_has *has, struct state_writer *w)
{
    assert_ptr_equal(has->cpuid, &all->vcpu[0].cpuid);
    assert_int_equal(has->fpu_size, FPU);
    state_begin(w, "cpu", 1);
    state_end(w);
}

int needs_check(const struct cpu_has *has, struct state_reader *r, char *error)
{
    if (lacking)
        memcpy(error, lacking, strlen(lacking) + 1);
    return lacking ? -EBADMSG : state_enter(r, "cpu", 1) < 0 ? -EBADMSG : state_leave(r);
}

UNUSED(uint64_t lapic_now(struct lapic *l))
UNUSED(int board_acknowledge(struct board *board, struct lapic *l))
UNUSED(struct percpu *cpu_by_number(unsigned n))
UNUSED_VOID(void apic_send_nmi(uint32_t apic_id))
UNUSED_VOID(void lapic_send(struct lapic *from, const struct apic_message *m))
UNUSED_VOID(void lapic_notify(struct lapic *target))
UNUSED_VOID(void lapic_event(struct lapic *target, enum apic_mode mode, uint8_t vector))
UNUSED_VOID(void lapic_broadcast_eoi(struct lapic *l, uint8_t vector))
UNUSED_VOID(void task_notify(struct task *t, uint32_t requests))
UNUSED_VOID(void vcpu_no_progress(struct vcpu *v, uint64_t what))
UNUSED_VOID(void vm_request(struct vm *m, enum vm_request request, const char *why))

/* The registers that vmx/state.c reads and writes itself. */
#define read_cr2()       registers.cr2
#define read_dr0()       registers.dr[0]
#define read_dr1()       registers.dr[1]
#define read_dr2()       registers.dr[2]
#define read_dr3()       registers.dr[3]
#define read_dr6()       registers.dr6
#define write_cr2(value) (void)(registers.cr2 = (value))
#define write_dr0(value) (void)(registers.dr[0] = (value))
#define write_dr1(value) (void)(registers.dr[1] = (value))
#define write_dr2(value) (void)(registers.dr[2] = (value))
#define write_dr3(value) (void)(registers.dr[3] = (value))
#define write_dr6(value) (void)(registers.dr6 = (value))
