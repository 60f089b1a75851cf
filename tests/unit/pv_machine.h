/* A VM with three vCPUs, as far as guest/cpu/pv.c looks at it, for tests of it; after cmocka.h. */
#pragma once

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/tsc.h"
#include "guest/board/wall_clock.h"
#include "guest/cpu/pv.h"
#include "guest/cpu/pv_page.h"
#include "tests/unit/mock_frames.h"
#include "vmx/cpu.h"

enum { CPUS = 3 };

#define RAM   (4 * MIB)
#define PAGE  0x201000ULL /* of vCPU 0; the others' follow */
#define CROSS (2 * MIB - 8)
#define DAY   1800000000 /* seconds since 1970 */

static struct vm vm;
static struct board_front board;
static struct vcpu vcpus[CPUS];
static struct vm_config config;
static struct percpu processors[2];
static uint64_t now; /* the host's TSC */
static unsigned said, flushed;

struct vmx_features vmx_features;
uint64_t tsc_hz;
unsigned smp_cpus = ARRAY_SIZE(processors);

uint64_t test_tsc(void)
{
    return now;
}

void spin_wait(struct spinlock *l, uint16_t ticket)
{
    fail_msg("a lock was left taken");
}

struct percpu *cpu_by_number(unsigned n)
{
    return &processors[n];
}

void wall_clock_now(int64_t *seconds, uint32_t *microseconds)
{
    *seconds = DAY + (int64_t)(now / tsc_hz);
    *microseconds = (uint32_t)(now % tsc_hz * 1000000 / tsc_hz);
}

uint64_t tsc_to_ns(uint64_t ticks)
{
    return (uint64_t)((unsigned __int128)ticks * 1000000000 / tsc_hz);
}

void vmx_flush_linear(struct vmx_vcpu *hw)
{
    flushed++;
}

void vmx_wrap_exits(struct vmx_vcpu *hw, bool on)
{
    hw->wrapped = on;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    said++;
}

/* As its processor's loop would, and at once. */
void task_notify(struct task *t, uint32_t requests)
{
    pv_serve(CONTAINER_OF(t, struct vcpu, task), requests);
}

/* --- the machine --- */

/* All that vcpu_create() and vm_reset() have to do with it. */
static void begin(uint32_t pv, bool invariant)
{
    config.pv = pv;
    vm = (struct vm){.config = &config, .board = (struct board *)&board, .vcpu_count = CPUS};
    assert_int_equal(
        guest_memory_create(&vm.memory, FRAME_VM, &(struct guest_memory_region){0, RAM}, 1), 0);
    board.tsc_offset = -now;
    now += 12345678; /* it is made, and reset */
    vm.pv.clock_start = now + board.tsc_offset;
    for (unsigned i = 0; i < CPUS; i++) {
        struct vcpu *v = vm.vcpu[i] = &vcpus[i];
        memset(v, 0, sizeof(*v));
        v->vm = &vm;
        v->board = vm.board;
        v->id = i;
        v->lapic.tsc_offset = -now;
        v->cpuid.slots[64 + 7].first = 1;
        v->cpuid.regs[1].edx = invariant ? BIT(8) : 0;
        pv_offer(v);
        pv_init(v);
        pv_reset(&v->pv);
    }
}

static int setup(void **state)
{
    mock_reset();
    memset(processors, 0, sizeof(processors));
    vmx_features = (struct vmx_features){0};
    now = 987654321987;
    tsc_hz = 2500000000;
    said = flushed = 0;
    begin(BIT(CONFIG_PV_ALL), true);
    return 0;
}

static int teardown(void **state)
{
    guest_memory_destroy(&vm.memory);
    assert_int_equal(mock_used, 0);
    return 0;
}

static uint64_t page_of(unsigned cpu)
{
    return PAGE + cpu * 64;
}

static void write_msr(unsigned cpu, uint32_t msr, uint64_t value)
{
    assert_int_equal(pv_write_msr(&vcpus[cpu], msr, value), 0);
    uint64_t kept = 0;
    assert_int_equal(pv_read_msr(&vcpus[cpu], msr, &kept), 0);
    assert_int_equal(kept, value);
}

static void refused(uint32_t msr, uint64_t value)
{
    uint64_t kept = 0, still = 0;

    assert_int_equal(pv_read_msr(&vcpus[0], msr, &kept), 0);
    assert_int_equal(pv_write_msr(&vcpus[0], msr, value), -EINVAL);
    assert_int_equal(pv_read_msr(&vcpus[0], msr, &still), 0);
    assert_int_equal(kept, still);
}
