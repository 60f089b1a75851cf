/* Four local APICs and a vCPU's side of them that records; for test_lapic*.c, after cmocka.h. */
#pragma once

#include "guest/board/lapic.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define CPUS      4
#define BUS_SHIFT 4

static struct lapic lapics[CPUS];
static uint32_t pages[CPUS][PAGE_SIZE / 4];
static struct lapic *const all[CPUS] = {&lapics[0], &lapics[1], &lapics[2], &lapics[3]};
static struct lapic *const l = &lapics[0];

/* --- the vCPU's side, recorded --- */

static uint64_t now;
static unsigned notified[CPUS];
static unsigned events, sent, eois, mode_changes;
static enum apic_mode event_mode;
static uint8_t event_vector, eoi_vector;
static unsigned event_cpu;
static struct apic_message last_sent;

uint64_t lapic_now(struct lapic *target)
{
    return now;
}

void lapic_send(struct lapic *from, const struct apic_message *m)
{
    sent++;
    last_sent = *m;
    apic_route(all, CPUS, from, m);
}

void lapic_notify(struct lapic *target)
{
    notified[target - lapics]++;
}

void lapic_event(struct lapic *target, enum apic_mode mode, uint8_t vector)
{
    events++;
    event_cpu = (unsigned)(target - lapics);
    event_mode = mode;
    event_vector = vector;
}

void lapic_broadcast_eoi(struct lapic *target, uint8_t vector)
{
    eois++;
    eoi_vector = vector;
}

void lapic_mode_changed(struct lapic *target)
{
    mode_changes++;
}

static inline int setup(void **state)
{
    memset(lapics, 0, sizeof(lapics));
    memset(pages, 0xa5, sizeof(pages));
    memset(notified, 0, sizeof(notified));
    now = 1000000;
    events = sent = eois = mode_changes = 0;
    for (unsigned i = 0; i < CPUS; i++) {
        lapic_init(&lapics[i], pages[i], i, i == 0, BUS_SHIFT);
    }
    return 0;
}

static inline uint32_t get(struct lapic *target, unsigned offset)
{
    return (uint32_t)lapic_mmio_read(target, offset, 4);
}

static inline void set(struct lapic *target, unsigned offset, uint32_t value)
{
    lapic_mmio_write(target, offset, 4, value);
}

static inline void software_enable(struct lapic *target)
{
    lapic_mmio_write(target, LAPIC_SVR, 4, SVR_ENABLE | 0xff);
}

static inline int wrmsr(uint32_t msr, uint64_t value)
{
    return lapic_msr_write(l, msr, value);
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint64_t value = 0;

    assert_int_equal(lapic_msr_read(l, msr, &value), 0);
    return value;
}

static inline bool rdmsr_faults(uint32_t msr)
{
    uint64_t value;

    return lapic_msr_read(l, msr, &value) == -EINVAL;
}

static inline void x2apic(struct lapic *target)
{
    uint64_t bsp = target == l ? APIC_BASE_BSP : 0;

    assert_int_equal(lapic_msr_write(target, MSR_APIC_BASE,
                                     LAPIC_BASE | bsp | APIC_BASE_ENABLE | APIC_BASE_EXTD),
                     0);
    assert_int_equal(lapic_msr_write(target, 0x80f, SVR_ENABLE | 0xff), 0);
}

static inline void post(uint8_t vector, bool level)
{
    lapic_post(l, vector, level);
    lapic_sync(l);
}

static inline void check_reset_state(void)
{
    assert_int_equal(get(l, LAPIC_ID), 0);
    assert_int_equal(get(l, LAPIC_VERSION), 0x00050014);
    assert_int_equal(get(l, LAPIC_TPR), 0);
    assert_int_equal(get(l, LAPIC_LDR), 0);
    assert_int_equal(get(l, LAPIC_DFR), 0xffffffff);
    assert_int_equal(get(l, LAPIC_SVR), 0xff);
    assert_int_equal(get(l, LAPIC_ESR), 0);
    assert_int_equal(get(l, LAPIC_TMICT), 0);
    assert_int_equal(get(l, LAPIC_TMCCT), 0);
    assert_int_equal(get(l, LAPIC_TDCR), 0);
    for (unsigned offset = LAPIC_LVT_TIMER; offset <= LAPIC_LVT_ERROR; offset += 16) {
        assert_int_equal(get(l, offset), LVT_MASKED);
    }
    for (unsigned i = 0; i < 24; i++) {
        assert_int_equal(get(l, LAPIC_ISR + i * 16), 0);
    }
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF);
}
