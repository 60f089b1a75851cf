/* links: guest/devices/lapic*.c guest/state.c */
/* The virtual local APIC against SDM volume 3, "Advanced Programmable Interrupt Controller (APIC)".
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "guest/devices/lapic.h"
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

static int setup(void **state)
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

static uint32_t get(struct lapic *target, unsigned offset)
{
    return (uint32_t)lapic_mmio_read(target, offset, 4);
}

static void set(struct lapic *target, unsigned offset, uint32_t value)
{
    lapic_mmio_write(target, offset, 4, value);
}

static void software_enable(struct lapic *target)
{
    lapic_mmio_write(target, LAPIC_SVR, 4, SVR_ENABLE | 0xff);
}

static int wrmsr(uint32_t msr, uint64_t value)
{
    return lapic_msr_write(l, msr, value);
}

static uint64_t rdmsr(uint32_t msr)
{
    uint64_t value = 0;

    assert_int_equal(lapic_msr_read(l, msr, &value), 0);
    return value;
}

static bool rdmsr_faults(uint32_t msr)
{
    uint64_t value;

    return lapic_msr_read(l, msr, &value) == -EINVAL;
}

static void x2apic(struct lapic *target)
{
    uint64_t bsp = target == l ? APIC_BASE_BSP : 0;

    assert_int_equal(lapic_msr_write(target, MSR_APIC_BASE,
                                     LAPIC_BASE | bsp | APIC_BASE_ENABLE | APIC_BASE_EXTD),
                     0);
    assert_int_equal(lapic_msr_write(target, 0x80f, SVR_ENABLE | 0xff), 0);
}

static void post(uint8_t vector, bool level)
{
    lapic_post(l, vector, level);
    lapic_sync(l);
}

/* --- power-on and IA32_APIC_BASE --- */

static void check_reset_state(void)
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

static void test_power_on(void **state)
{
    check_reset_state();
    assert_true(rdmsr(MSR_APIC_BASE) == 0xfee00900);
    assert_true(lapics[1].base == 0xfee00800);
    assert_int_equal(get(&lapics[1], LAPIC_ID), 1 << 24);
    assert_true(lapic_claims_mmio(l));
}

static void test_init_keeps_mode(void **state)
{
    x2apic(&lapics[3]);
    assert_int_equal(lapic_msr_write(&lapics[3], 0x808, 0x20), 0);
    lapic_post(&lapics[3], 0x40, false);
    lapic_init_reset(&lapics[3]);
    lapic_sync(&lapics[3]);
    assert_true(lapic_x2apic(&lapics[3]));
    assert_int_equal(lapic_tpr(&lapics[3]), 0);
    assert_int_equal(lapic_highest_irr(&lapics[3]), -1);
    assert_int_equal(lapic_register(&lapics[3], LAPIC_LDR), 8);
    assert_int_equal(lapic_register(&lapics[3], LAPIC_ID), 3);
    lapic_reset(&lapics[3]);
    assert_false(lapic_x2apic(&lapics[3]));
}

static void test_base_transitions(void **state)
{
    const uint64_t xapic = LAPIC_BASE | APIC_BASE_BSP | APIC_BASE_ENABLE;
    const uint64_t x2 = xapic | APIC_BASE_EXTD;
    const uint64_t off = LAPIC_BASE | APIC_BASE_BSP;

    assert_int_equal(wrmsr(MSR_APIC_BASE, off | APIC_BASE_EXTD), -EINVAL);
    assert_int_equal(wrmsr(MSR_APIC_BASE, xapic | BIT(9)), -EINVAL);
    assert_int_equal(wrmsr(MSR_APIC_BASE, xapic | BIT(0)), -EINVAL);
    assert_int_equal(wrmsr(MSR_APIC_BASE, xapic | BIT(52)), -EINVAL);
    assert_int_equal(wrmsr(MSR_APIC_BASE, xapic + 0x1000), -EINVAL);
    assert_int_equal(wrmsr(MSR_APIC_BASE, xapic), 0);
    assert_int_equal(mode_changes, 0);
    assert_int_equal(wrmsr(MSR_APIC_BASE, x2), 0);
    assert_int_equal(mode_changes, 1);
    assert_false(lapic_claims_mmio(l));
    assert_int_equal(wrmsr(MSR_APIC_BASE, xapic), -EINVAL);
    assert_int_equal(wrmsr(0x808, 0x30), 0);
    assert_int_equal(wrmsr(MSR_APIC_BASE, off), 0);
    assert_true(rdmsr_faults(0x808));
    assert_int_equal(wrmsr(MSR_APIC_BASE, x2), -EINVAL);
    assert_int_equal(wrmsr(MSR_APIC_BASE, xapic), 0);
    check_reset_state();
}

static void test_disabled_lets_the_8259_through(void **state)
{
    assert_false(lapic_accepts_external(l));
    lapic_virtual_wire(l);
    assert_true(lapic_accepts_external(l));
    assert_int_equal(get(l, LAPIC_LVT_LINT1), 0x400);
    set(l, LAPIC_LVT_LINT0, LVT_MASKED | 0x700);
    assert_false(lapic_accepts_external(l));
    set(l, LAPIC_LVT_LINT0, 0x30);
    assert_false(lapic_accepts_external(l));
    assert_int_equal(wrmsr(MSR_APIC_BASE, LAPIC_BASE | APIC_BASE_BSP), 0);
    assert_true(lapic_accepts_external(l));
    assert_false(lapic_matches(l, 0, false));
}

/* --- xAPIC accesses --- */

static void test_mmio_access_rules(void **state)
{
    software_enable(l);
    set(l, LAPIC_TPR, 0xffffff42);
    assert_int_equal(get(l, LAPIC_TPR), 0x42);
    lapic_mmio_write(l, LAPIC_TPR, 1, 0x11);
    lapic_mmio_write(l, LAPIC_TPR, 8, 0x11);
    lapic_mmio_write(l, LAPIC_TPR + 4, 4, 0x11);
    lapic_mmio_write(l, LAPIC_TPR + 1, 4, 0x11);
    assert_int_equal(get(l, LAPIC_TPR), 0x42);
    assert_int_equal(lapic_mmio_read(l, LAPIC_VERSION + 2, 1), 5);
    assert_int_equal(lapic_mmio_read(l, LAPIC_VERSION, 2), 0x14);
    assert_int_equal(lapic_mmio_read(l, LAPIC_VERSION + 3, 2), 0);
    assert_int_equal(lapic_mmio_read(l, LAPIC_VERSION + 4, 4), 0);
    assert_int_equal(lapic_mmio_read(l, LAPIC_VERSION, 8), 0x00050014);
    set(l, LAPIC_VERSION, 0);
    set(l, LAPIC_ID, 0x55000000);
    set(l, LAPIC_ISR + 0x10, 0xffffffff);
    set(l, LAPIC_IRR + 0x10, 0xffffffff);
    set(l, LAPIC_TMCCT, 0xffffffff);
    assert_int_equal(get(l, LAPIC_VERSION), 0x00050014);
    assert_int_equal(get(l, LAPIC_ID), 0);
    assert_int_equal(get(l, LAPIC_ISR + 0x10), 0);
    assert_int_equal(get(l, LAPIC_IRR + 0x10), 0);
    assert_int_equal(get(l, LAPIC_EOI), 0);
    set(l, LAPIC_ESR, 0);
    assert_int_equal(get(l, LAPIC_ESR), 0);
}

static void test_writable_bits(void **state)
{
    software_enable(l);
    set(l, LAPIC_LDR, 0xffffffff);
    assert_int_equal(get(l, LAPIC_LDR), 0xff000000);
    set(l, LAPIC_DFR, 0);
    assert_int_equal(get(l, LAPIC_DFR), 0x0fffffff);
    set(l, LAPIC_SVR, 0xffffffff);
    assert_int_equal(get(l, LAPIC_SVR), 0x3ff);
    set(l, LAPIC_LVT_TIMER, 0xffffffff);
    assert_int_equal(get(l, LAPIC_LVT_TIMER), 0x700ff);
    set(l, LAPIC_LVT_THERMAL, 0xffffffff);
    assert_int_equal(get(l, LAPIC_LVT_THERMAL), 0x107ff);
    set(l, LAPIC_LVT_PERF, 0xffffffff);
    assert_int_equal(get(l, LAPIC_LVT_PERF), 0x107ff);
    set(l, LAPIC_LVT_LINT0, 0xffffffff);
    assert_int_equal(get(l, LAPIC_LVT_LINT0), 0x1a7ff);
    set(l, LAPIC_LVT_ERROR, 0xffffffff);
    assert_int_equal(get(l, LAPIC_LVT_ERROR), 0x100ff);
    set(l, LAPIC_TDCR, 0xffffffff);
    assert_int_equal(get(l, LAPIC_TDCR), 0xb);
    set(l, LAPIC_ICR_HIGH, 0xffffffff);
    assert_int_equal(get(l, LAPIC_ICR_HIGH), 0xff000000);
    set(l, LAPIC_ICR, 0xfffff0ff & ~0xff00u);
    assert_int_equal(get(l, LAPIC_ICR), 0xc00ff);
}

static void test_software_disable_masks(void **state)
{
    software_enable(l);
    set(l, LAPIC_LVT_TIMER, 0x30);
    post(0x51, false);
    set(l, LAPIC_SVR, 0xff);
    assert_int_equal(get(l, LAPIC_LVT_TIMER), LVT_MASKED | 0x30);
    set(l, LAPIC_LVT_TIMER, 0x30);
    assert_int_equal(get(l, LAPIC_LVT_TIMER), LVT_MASKED | 0x30);
    /* what is pending is held */
    assert_int_equal(lapic_pending_vector(l), 0x51);
    const struct apic_message fixed = {.vector = 0x60};
    assert_false(lapic_receive(l, &fixed));
    const struct apic_message nmi = {.mode = APIC_NMI};
    assert_true(lapic_receive(l, &nmi));
    assert_int_equal(event_mode, APIC_NMI);
}

/* --- x2APIC MSRs --- */

static void test_x2apic_registers(void **state)
{
    static const uint8_t readable[] = {0x02, 0x03, 0x08, 0x0a, 0x0d, 0x0f, 0x28, 0x30, 0x32,
                                       0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3e};
    static const uint8_t writable[] = {0x08, 0x0b, 0x0f, 0x28, 0x30, 0x32, 0x33,
                                       0x34, 0x35, 0x36, 0x37, 0x38, 0x3e, 0x3f};

    for (unsigned n = 0; n < 0x100; n++) {
        assert_true(rdmsr_faults(0x800 + n)); /* all of them outside x2APIC mode */
        assert_int_equal(wrmsr(0x800 + n, 0), -EINVAL);
    }
    x2apic(l);
    for (unsigned n = 0; n < 0x100; n++) {
        bool r = n >= 0x10 && n < 0x28, w = false;
        for (unsigned i = 0; i < ARRAY_SIZE(readable); i++) {
            r |= readable[i] == n;
        }
        for (unsigned i = 0; i < ARRAY_SIZE(writable); i++) {
            w |= writable[i] == n;
        }
        assert_int_equal(rdmsr_faults(0x800 + n), !r);
        assert_int_equal(wrmsr(0x800 + n, 0), w ? 0 : -EINVAL);
    }
}

static void test_x2apic_reserved_bits(void **state)
{
    x2apic(l);
    assert_int_equal(wrmsr(0x808, 0x100), -EINVAL);
    assert_int_equal(wrmsr(0x808, BIT(32)), -EINVAL);
    assert_int_equal(wrmsr(0x808, 0xff), 0);
    assert_int_equal(wrmsr(0x80b, 1), -EINVAL);
    assert_int_equal(wrmsr(0x80f, BIT(12)), -EINVAL); /* EOI-broadcast suppression is not offered */
    assert_int_equal(wrmsr(0x828, 1), -EINVAL);
    assert_int_equal(wrmsr(0x830, BIT(13)), -EINVAL);
    assert_int_equal(wrmsr(0x830, BIT(16)), -EINVAL);
    assert_int_equal(wrmsr(0x830, BIT(20)), -EINVAL);
    assert_int_equal(wrmsr(0x832, BIT(19)), -EINVAL);
    assert_int_equal(wrmsr(0x832, BIT(8)), -EINVAL);
    assert_int_equal(wrmsr(0x832, BIT(17) | 0x30), 0);
    assert_int_equal(wrmsr(0x833, BIT(13)), -EINVAL);
    assert_int_equal(wrmsr(0x835, BIT(15) | 0x30), 0);
    assert_int_equal(wrmsr(0x837, BIT(8)), -EINVAL);
    assert_int_equal(wrmsr(0x838, BIT(32)), -EINVAL);
    assert_int_equal(wrmsr(0x83e, 4), -EINVAL);
    assert_int_equal(wrmsr(0x83f, 0x100), -EINVAL);
    assert_int_equal(wrmsr(0x802, 0), -EINVAL);
    assert_int_equal(wrmsr(0x80d, 0), -EINVAL);
    assert_int_equal(rdmsr(0x808), 0xff);
}

static void test_x2apic_identity(void **state)
{
    static uint32_t page[PAGE_SIZE / 4];
    struct lapic big;

    lapic_init(&big, page, 0x1234, false, 0);
    assert_int_equal(
        lapic_msr_write(&big, MSR_APIC_BASE, LAPIC_BASE | APIC_BASE_ENABLE | APIC_BASE_EXTD), 0);
    assert_int_equal(lapic_register(&big, LAPIC_ID), 0x1234);
    assert_int_equal(lapic_register(&big, LAPIC_LDR), 0x01230010);
    assert_true(lapic_matches(&big, 0x1234, false));
    assert_true(lapic_matches(&big, 0x01230010, true));
    assert_true(lapic_matches(&big, 0x0123ffff, true));
    assert_false(lapic_matches(&big, 0x01230020, true));
    assert_false(lapic_matches(&big, 0x01220010, true));
    assert_true(lapic_matches(&big, APIC_BROADCAST, true));
    assert_true(lapic_matches(&big, APIC_BROADCAST, false));
    assert_false(lapic_matches(&big, 0xff, false));
}

static void test_x2apic_icr_is_one_register(void **state)
{
    x2apic(l);
    x2apic(&lapics[2]);
    assert_int_equal(wrmsr(0x830, 2ULL << 32 | 0x4041), 0);
    assert_true(rdmsr(0x830) == (2ULL << 32 | 0x4041));
    /* 8 bytes at 300h, where the hardware reads them */
    assert_int_equal(pages[0][0x304 / 4], 2);
    lapic_sync(&lapics[2]);
    assert_int_equal(lapic_pending_vector(&lapics[2]), 0x41);
    assert_int_equal(notified[2], 1);
}

/* --- priorities --- */

static void test_priority(void **state)
{
    software_enable(l);
    assert_int_equal(lapic_pending_vector(l), -1);
    post(0x31, false);
    post(0x45, false);
    assert_int_equal(lapic_pending_vector(l), 0x45);
    lapic_accept(l, 0x45);
    assert_int_equal(lapic_register(l, LAPIC_PPR), 0x40);
    assert_int_equal(lapic_pending_vector(l), -1);
    post(0x4f, false); /* the same class waits */
    assert_int_equal(lapic_pending_vector(l), -1);
    post(0x50, false);
    assert_int_equal(lapic_pending_vector(l), 0x50);
    lapic_accept(l, 0x50);
    assert_int_equal(get(l, LAPIC_ISR + 0x20), 1u << 5 | 1u << 16);
    assert_int_equal(lapic_interrupt_status(l), 0x504f);
    set(l, LAPIC_EOI, 0);
    assert_int_equal(get(l, LAPIC_PPR), 0x40);
    set(l, LAPIC_EOI, 0);
    assert_int_equal(get(l, LAPIC_PPR), 0);
    assert_int_equal(lapic_pending_vector(l), 0x4f);
    set(l, LAPIC_EOI, 0); /* with nothing in service */
    lapic_accept(l, 0x4f);
    set(l, LAPIC_EOI, 0);
    lapic_accept(l, 0x31);
    set(l, LAPIC_EOI, 0);
    assert_int_equal(lapic_highest_irr(l), -1);
    assert_int_equal(lapic_highest_isr(l), -1);
    assert_int_equal(lapic_interrupt_status(l), 0);
    assert_int_equal(eois, 0);
}

static void test_task_priority(void **state)
{
    software_enable(l);
    set(l, LAPIC_TPR, 0x4f);
    assert_int_equal(get(l, LAPIC_PPR), 0x4f);
    post(0x45, false);
    assert_int_equal(lapic_pending_vector(l), -1);
    assert_int_equal(lapic_tpr_threshold(l), 4);
    set(l, LAPIC_TPR, 0x3f);
    assert_int_equal(lapic_tpr_threshold(l), 0);
    assert_int_equal(lapic_pending_vector(l), 0x45);
    lapic_accept(l, 0x45);
    assert_int_equal(get(l, LAPIC_PPR), 0x40);
    lapic_set_tpr(l, 0x48); /* the same class: TPR's sub-class shows */
    assert_int_equal(get(l, LAPIC_PPR), 0x48);
    lapic_set_tpr(l, 0x42);
    assert_int_equal(get(l, LAPIC_PPR), 0x42);
    lapic_set_tpr(l, 0x70);
    post(0x60, false);
    assert_int_equal(lapic_tpr_threshold(l), 6);
    lapic_set_tpr(l, 0x50);
    assert_int_equal(lapic_pending_vector(l), 0x60);
    lapic_accept(l, 0x60);
    post(0x61, false);
    lapic_set_tpr(l, 0xf0);
    assert_int_equal(lapic_tpr_threshold(l), 0); /* its turn comes with the EOI, not with TPR */
}

static void test_post_and_notify(void **state)
{
    software_enable(l);
    assert_true(lapic_post(l, 0x40, false));
    assert_false(lapic_post(l, 0x40, false));
    assert_false(lapic_post(l, 0xff, false));
    assert_int_equal(lapic_highest_irr(l), -1);
    lapic_sync(l);
    assert_int_equal(lapic_highest_irr(l), 0xff);
    assert_true(lapic_post(l, 0x41, false));
    assert_int_equal(get(l, LAPIC_IRR + 0x20), 3); /* a guest that looks sees it */
    assert_int_equal(get(l, LAPIC_IRR + 0x70), 0x80000000);
}

static void test_level_triggered(void **state)
{
    uint64_t bitmap[4] = {0};

    software_enable(l);
    post(0x71, true);
    assert_int_equal(get(l, LAPIC_TMR + 0x30), 1u << 17);
    lapic_eoi_bitmap(l, bitmap);
    assert_true(bitmap[1] == BIT(0x71 - 64) && !bitmap[0] && !bitmap[2] && !bitmap[3]);
    lapic_accept(l, 0x71);
    set(l, LAPIC_EOI, 0);
    assert_int_equal(eois, 1);
    assert_int_equal(eoi_vector, 0x71);
    post(0x71, false);
    assert_int_equal(get(l, LAPIC_TMR + 0x30), 0);
    lapic_accept(l, 0x71);
    set(l, LAPIC_EOI, 0);
    assert_int_equal(eois, 1);
    post(0x71, true);
    lapic_raise(l, 0x71);
    assert_int_equal(get(l, LAPIC_TMR + 0x30), 0);
}

static void test_hardware_delivers(void **state)
{
    software_enable(l);
    assert_int_equal(lapic_highest_irr(l), -1);
    lapic_set_virtual_delivery(l, true);
    pages[0][(LAPIC_IRR + 0x40) / 4] = 2; /* as a self-IPI would without an exit */
    pages[0][(LAPIC_ISR + 0x10) / 4] = 4;
    assert_int_equal(lapic_interrupt_status(l), 0x2281);
    pages[0][(LAPIC_IRR + 0x40) / 4] = 0;
    assert_int_equal(lapic_interrupt_status(l), 0x2200);
    pages[0][(LAPIC_IRR + 0x70) / 4] = 1;
    assert_int_equal(lapic_interrupt_status(l), 0x22e0);
    lapic_eoi_exit(l, 0x22);
    assert_int_equal(eoi_vector, 0x22);
    assert_int_equal(lapic_interrupt_status(l), 0x22e0);
    lapic_after_write(l, LAPIC_EOI);
    assert_int_equal(lapic_interrupt_status(l), 0x00e0);
    lapic_accept(l, 0xe0);
    lapic_after_write(l, LAPIC_EOI);
    assert_int_equal(lapic_interrupt_status(l), 0);
    pages[0][(LAPIC_IRR + 0x70) / 4] = 1;
    pages[0][(LAPIC_ISR + 0x10) / 4] = 4;
    assert_int_equal(lapic_interrupt_status(l), 0x22e0);
    pages[0][(LAPIC_ISR + 0x70) / 4] = 8;
    lapic_set_virtual_delivery(l, false);
    assert_int_equal(lapic_highest_isr(l), 0xe3);
    assert_int_equal(lapic_highest_irr(l), 0xe0);
}

static void test_after_write(void **state)
{
    uint32_t *page = pages[0];

    software_enable(l);
    page[LAPIC_ID / 4] = 0x77000000;
    lapic_after_write(l, LAPIC_ID);
    assert_int_equal(page[LAPIC_ID / 4], 0);
    page[LAPIC_SVR / 4] = 0xfffff0ff;
    lapic_after_write(l, LAPIC_SVR);
    assert_int_equal(page[LAPIC_SVR / 4], 0xff);
    software_enable(l);
    page[LAPIC_LVT_TIMER / 4] = 0xffff0030;
    lapic_after_write(l, LAPIC_LVT_TIMER);
    assert_int_equal(page[LAPIC_LVT_TIMER / 4], 0x70030);
    page[LAPIC_LVT_TIMER / 4] = 0x30;
    lapic_after_write(l, LAPIC_LVT_TIMER);
    page[LAPIC_TMICT / 4] = 100;
    lapic_after_write(l, LAPIC_TMICT);
    assert_true(l->timer_deadline == now + (100 << (BUS_SHIFT + 1)));
    page[LAPIC_ICR_HIGH / 4] = 0x01ffffff;
    lapic_after_write(l, LAPIC_ICR_HIGH);
    page[LAPIC_ICR / 4] = 0x1041;
    lapic_after_write(l, LAPIC_ICR);
    assert_int_equal(page[LAPIC_ICR / 4], 0x41);
    assert_int_equal(last_sent.dest, 1);
    page[LAPIC_ESR / 4] = 0x12345678;
    lapic_after_write(l, LAPIC_ESR);
    assert_int_equal(page[LAPIC_ESR / 4], 0);
    post(0x33, false);
    lapic_accept(l, 0x33);
    lapic_after_write(l, LAPIC_EOI);
    assert_int_equal(lapic_highest_isr(l), -1);
    page[LAPIC_SELF_IPI / 4] = 0x50;
    lapic_after_write(l, LAPIC_SELF_IPI);
    assert_int_equal(lapic_highest_irr(l), -1);
    x2apic(l);
    page[LAPIC_SELF_IPI / 4] = 0x50;
    lapic_after_write(l, LAPIC_SELF_IPI);
    assert_int_equal(lapic_highest_irr(l), 0x50);
    for (unsigned offset = 0; offset < 0x2000; offset++) {
        lapic_after_write(l, offset); /* whatever the hardware says */
    }
}

/* --- errors --- */

static void test_errors(void **state)
{
    software_enable(l);
    set(l, LAPIC_LVT_ERROR, 0xfe);
    set(l, LAPIC_ICR, 0x4000 | 1 << 18 | 0xf); /* self, vector 15 */
    assert_int_equal(get(l, LAPIC_ESR), 0);
    lapic_sync(l);
    assert_int_equal(lapic_pending_vector(l), 0xfe);
    set(l, LAPIC_ESR, 0);
    assert_int_equal(get(l, LAPIC_ESR), 0x20);
    set(l, LAPIC_ESR, 0xff);
    assert_int_equal(get(l, LAPIC_ESR), 0);
    const struct apic_message illegal = {.vector = 3};
    assert_false(lapic_receive(l, &illegal));
    get(l, 0x2f0); /* LVT CMCI is not there */
    set(l, 0x500, 1);
    set(l, LAPIC_ESR, 0);
    assert_int_equal(get(l, LAPIC_ESR), 0xc0);
    set(l, LAPIC_LVT_ERROR, 0x5);
    set(l, LAPIC_ICR, 0x4000 | 2 << 18 | 0xf);
    set(l, LAPIC_ESR, 0);
    assert_int_equal(get(l, LAPIC_ESR), 0x60);
    assert_int_equal(sent, 0);
}

/* --- messages --- */

static void test_self_ipi(void **state)
{
    x2apic(l);
    assert_int_equal(wrmsr(0x83f, 0x55), 0);
    assert_int_equal(lapic_pending_vector(l), 0x55);
    lapic_accept(l, 0x55);
    assert_int_equal(wrmsr(0x80b, 0), 0);
    assert_int_equal(wrmsr(0x830, 1 << 18 | 0x56), 0);
    assert_int_equal(lapic_pending_vector(l), 0x56);
    lapic_accept(l, 0x56);
    assert_int_equal(wrmsr(0x80b, 0), 0);
    assert_int_equal(wrmsr(0x830, 0x57), 0); /* physical, to its own id */
    assert_int_equal(lapic_pending_vector(l), 0x57);
    assert_int_equal(sent, 0);
    assert_int_equal(notified[0], 0);
    assert_int_equal(wrmsr(0x830, 1ULL << 32 | 1 << 11 | 0x58), 0); /* logical */
    assert_int_equal(sent, 1);
    lapic_sync(l);
    assert_int_equal(lapic_pending_vector(l), 0x58);
}

static unsigned receivers(uint32_t icr_high, uint32_t icr)
{
    unsigned mask = 0;

    set(l, LAPIC_ICR_HIGH, icr_high);
    set(l, LAPIC_ICR, icr);
    for (unsigned i = 0; i < CPUS; i++) {
        lapic_sync(&lapics[i]);
        int vector = lapic_pending_vector(&lapics[i]);
        if (vector >= 0) {
            mask |= 1u << i;
            lapic_accept(&lapics[i], (uint8_t)vector);
            lapic_eoi(&lapics[i]);
        }
    }
    return mask;
}

static void test_destinations(void **state)
{
    for (unsigned i = 0; i < CPUS; i++) {
        software_enable(&lapics[i]);
        set(&lapics[i], LAPIC_LDR, 1u << (24 + i));
    }
    assert_int_equal(receivers(2u << 24, 0x4040), 4);
    assert_int_equal(receivers(9u << 24, 0x4040), 0);
    assert_int_equal(receivers(0xffu << 24, 0x4040), 0xf);
    assert_int_equal(receivers(0, 0x4040 | 1 << 18), 1);
    assert_int_equal(receivers(0, 0x4040 | 2 << 18), 0xf);
    assert_int_equal(receivers(0, 0x4040 | 3 << 18), 0xe);
    assert_int_equal(receivers(0xau << 24, 0x4840), 0xa);
    assert_int_equal(receivers(0xffu << 24, 0x4840), 0xf);
    for (unsigned i = 0; i < CPUS; i++) { /* two clusters of two */
        set(&lapics[i], LAPIC_DFR, 0);
        set(&lapics[i], LAPIC_LDR, (i / 2) << 28 | 1u << (24 + i % 2));
    }
    assert_int_equal(receivers(0x13u << 24, 0x4840), 0xc);
    assert_int_equal(receivers(0x01u << 24, 0x4840), 1);
    assert_int_equal(receivers(0x0cu << 24, 0x4840), 0);
    assert_int_equal(receivers(0xffu << 24, 0x4840), 0xf);
    /* combinations that the SDM calls invalid go nowhere */
    assert_int_equal(receivers(0, 0x4140 | 1 << 18), 0);
    assert_int_equal(receivers(0, 0x4140 | 2 << 18), 0);
    assert_int_equal(receivers(2u << 24, 0x4340), 0);
    assert_int_equal(receivers(2u << 24, 0x4740), 0);
}

static void test_lowest_priority(void **state)
{
    for (unsigned i = 0; i < CPUS; i++) {
        software_enable(&lapics[i]);
        set(&lapics[i], LAPIC_TPR, i == 2 ? 0x10 : 0x20);
    }
    assert_int_equal(receivers(0xffu << 24, 0x4140), 4);
    set(&lapics[2], LAPIC_SVR, 0xff);
    assert_int_equal(receivers(0xffu << 24, 0x4140), 1);
}

static void test_init_and_startup(void **state)
{
    set(l, LAPIC_ICR_HIGH, 3u << 24);
    set(l, LAPIC_ICR, 0xc500); /* INIT, level, assert */
    assert_int_equal(events, 1);
    assert_int_equal(event_cpu, 3);
    assert_int_equal(event_mode, APIC_INIT);
    set(l, LAPIC_ICR, 0x8500); /* de-assert */
    assert_int_equal(events, 1);
    set(l, LAPIC_ICR, 0x4608); /* start-up at 8000h: vector 8 is no illegal vector */
    assert_int_equal(events, 2);
    assert_int_equal(event_mode, APIC_STARTUP);
    assert_int_equal(event_vector, 8);
    set(l, LAPIC_ICR, 0x4400);
    assert_int_equal(event_mode, APIC_NMI);
    set(l, LAPIC_ICR, 0x4200);
    assert_int_equal(event_mode, APIC_SMI);
    set(l, LAPIC_ICR, 0xc500 | 3 << 18);
    assert_int_equal(events, 7);
}

static void test_message_from_io_apic(void **state)
{
    const struct apic_message level = {.dest = 1, .vector = 0x61, .level = true};
    const struct apic_message nobody = {.dest = 7, .vector = 0x61, .level = true};

    assert_false(apic_route(all, CPUS, NULL, &level)); /* software-disabled */
    software_enable(&lapics[1]);
    assert_true(apic_route(all, CPUS, NULL, &level));
    assert_false(apic_route(all, CPUS, NULL, &nobody));
    lapic_sync(&lapics[1]);
    assert_int_equal(lapic_pending_vector(&lapics[1]), 0x61);
    lapic_accept(&lapics[1], 0x61);
    lapic_eoi(&lapics[1]);
    assert_int_equal(eoi_vector, 0x61);
}

static void test_local_pins(void **state)
{
    software_enable(l);
    lapic_set_lint(l, 0, true); /* masked: lost */
    set(l, LAPIC_LVT_LINT0, 0x35);
    lapic_sync(l);
    assert_int_equal(lapic_highest_irr(l), -1);
    lapic_set_lint(l, 0, true);
    lapic_sync(l);
    assert_int_equal(lapic_highest_irr(l), -1);
    lapic_set_lint(l, 0, false);
    lapic_set_lint(l, 0, true);
    lapic_sync(l);
    assert_int_equal(lapic_highest_irr(l), 0x35);
    set(l, LAPIC_LVT_LINT1, 0x400);
    lapic_set_lint(l, 1, true);
    assert_int_equal(events, 1);
    assert_int_equal(event_mode, APIC_NMI);
}

/* --- timer --- */

#define COUNT(n, divide) ((uint64_t)(n) * (divide) << BUS_SHIFT)

static bool timer_fires(uint64_t at)
{
    now = at;
    lapic_run_timer(l, now);
    lapic_sync(l);
    int vector = lapic_pending_vector(l);
    if (vector < 0) {
        return false;
    }
    assert_int_equal(vector, 0x40);
    lapic_accept(l, 0x40);
    lapic_eoi(l);
    return true;
}

static void test_divide_configuration(void **state)
{
    static const uint8_t divide[][2] = {{0, 2},  {1, 4},  {2, 8},     {3, 16},
                                        {8, 32}, {9, 64}, {0xa, 128}, {0xb, 1}};

    software_enable(l);
    for (unsigned i = 0; i < ARRAY_SIZE(divide); i++) {
        set(l, LAPIC_TDCR, divide[i][0]);
        set(l, LAPIC_TMICT, 1000);
        assert_true(l->timer_deadline == now + COUNT(1000, divide[i][1]));
        assert_int_equal(get(l, LAPIC_TMCCT), 1000);
    }
}

static void test_one_shot(void **state)
{
    uint64_t start = now;

    software_enable(l);
    set(l, LAPIC_LVT_TIMER, 0x40);
    set(l, LAPIC_TDCR, 0xb);
    set(l, LAPIC_TMICT, 100);
    assert_false(timer_fires(start + COUNT(100, 1) - 1));
    assert_int_equal(get(l, LAPIC_TMCCT), 1);
    assert_true(timer_fires(start + COUNT(100, 1)));
    assert_int_equal(get(l, LAPIC_TMCCT), 0);
    assert_int_equal(get(l, LAPIC_TMICT), 100);
    assert_false(timer_fires(start + COUNT(1000, 1)));
    set(l, LAPIC_TMICT, 100);
    now += COUNT(40, 1);
    assert_int_equal(get(l, LAPIC_TMCCT), 60);
    set(l, LAPIC_TMICT, 0);
    assert_int_equal(get(l, LAPIC_TMCCT), 0);
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF);
    set(l, LAPIC_TMICT, 0xffffffff);
    assert_int_equal(get(l, LAPIC_TMCCT), 0xffffffff);
    set(l, LAPIC_TMICT, 10);
    set(l, LAPIC_LVT_TIMER, LVT_MASKED | 0x40); /* goes on counting */
    now += COUNT(4, 1);
    assert_int_equal(get(l, LAPIC_TMCCT), 6);
    assert_false(timer_fires(now + COUNT(6, 1)));
}

static void test_periodic_does_not_drift(void **state)
{
    uint64_t start = now;

    software_enable(l);
    set(l, LAPIC_LVT_TIMER, 0x20040);
    set(l, LAPIC_TDCR, 0xb);
    set(l, LAPIC_TMICT, 50);
    for (unsigned i = 1; i < 20; i++) {
        assert_true(timer_fires(start + i * COUNT(50, 1) + i)); /* always a little late */
        assert_true(l->timer_deadline == start + (i + 1) * COUNT(50, 1));
    }
    /* many periods in one go make one interrupt, and stay in step */
    assert_true(timer_fires(start + 100 * COUNT(50, 1)));
    assert_true(l->timer_deadline == start + 101 * COUNT(50, 1));
    assert_false(timer_fires(start + 100 * COUNT(50, 1) + 1));
    now = start + 103 * COUNT(50, 1) + COUNT(20, 1);
    assert_int_equal(get(l, LAPIC_TMCCT), 30);
    assert_true(timer_fires(now));
    set(l, LAPIC_TMICT, 0);
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF);
}

static void test_tsc_deadline(void **state)
{
    software_enable(l);
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, now + 5), 0); /* another mode: ignored */
    assert_int_equal(rdmsr(MSR_TSC_DEADLINE), 0);
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF);
    set(l, LAPIC_LVT_TIMER, 0x40040);
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, now + 5), 0);
    assert_true(rdmsr(MSR_TSC_DEADLINE) == now + 5);
    set(l, LAPIC_TMICT, 100);
    assert_int_equal(get(l, LAPIC_TMICT), 0);
    assert_int_equal(get(l, LAPIC_TMCCT), 0);
    assert_false(timer_fires(now + 4));
    assert_true(timer_fires(now + 1));
    assert_int_equal(rdmsr(MSR_TSC_DEADLINE), 0);
    assert_false(timer_fires(now + 100));
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, now - 100), 0); /* already due */
    assert_true(timer_fires(now));
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, now + 5), 0);
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, 0), 0);
    assert_false(timer_fires(now + 100));
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, UINT64_MAX), 0);
    assert_true(rdmsr(MSR_TSC_DEADLINE) == UINT64_MAX);
    assert_false(timer_fires(now + 100));
}

static void test_timer_mode_changes(void **state)
{
    software_enable(l);
    set(l, LAPIC_TDCR, 0xb);
    set(l, LAPIC_LVT_TIMER, 0x40);
    set(l, LAPIC_TMICT, 100);
    uint64_t deadline = l->timer_deadline;
    set(l, LAPIC_LVT_TIMER, 0x20040);
    assert_true(l->timer_deadline == deadline);
    set(l, LAPIC_LVT_TIMER, 0x40040);
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF);
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, now + 5), 0);
    set(l, LAPIC_LVT_TIMER, 0x50040); /* only masked */
    assert_true(l->timer_deadline == now + 5);
    set(l, LAPIC_LVT_TIMER, 0x40);
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF);
    assert_int_equal(rdmsr(MSR_TSC_DEADLINE), 0);
    set(l, LAPIC_LVT_TIMER, 0x60040);
    set(l, LAPIC_TMICT, 100);
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, now + 5), 0);
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF);
}

static void test_divide_change_keeps_the_count(void **state)
{
    software_enable(l);
    set(l, LAPIC_LVT_TIMER, 0x40);
    set(l, LAPIC_TDCR, 0xb);
    set(l, LAPIC_TMICT, 100);
    now += COUNT(40, 1);
    set(l, LAPIC_TDCR, 0);
    assert_int_equal(get(l, LAPIC_TMCCT), 60);
    now += COUNT(30, 2);
    assert_int_equal(get(l, LAPIC_TMCCT), 30);
    assert_true(timer_fires(now + COUNT(30, 2)));
}

static void test_tsc_moved(void **state)
{
    software_enable(l);
    set(l, LAPIC_LVT_TIMER, 0x40);
    set(l, LAPIC_TMICT, 100);
    now -= 500000;
    lapic_tsc_moved(l, (uint64_t)-500000);
    assert_int_equal(get(l, LAPIC_TMCCT), 100);
    set(l, LAPIC_LVT_TIMER, 0x40040);
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, now + 5), 0);
    lapic_tsc_moved(l, 1000); /* a TSC deadline stays where it is */
    assert_true(l->timer_deadline == now + 5);
}

static void test_timer_at_the_end_of_time(void **state)
{
    software_enable(l);
    set(l, LAPIC_LVT_TIMER, 0x20040);
    set(l, LAPIC_TDCR, 0xb);
    set(l, LAPIC_TMICT, 0xffffffff);
    lapic_run_timer(l, UINT64_MAX);
    lapic_run_timer(l, UINT64_MAX);
    now = UINT64_MAX - 5;
    set(l, LAPIC_TMICT, 0xffffffff);
    get(l, LAPIC_TMCCT);
    set(l, LAPIC_TDCR, 0);
    lapic_run_timer(l, UINT64_MAX);
    /* a TSC that jumped over the last period that fits */
    setup(NULL);
    software_enable(l);
    set(l, LAPIC_LVT_TIMER, 0x20040);
    set(l, LAPIC_TMICT, 0x80000000);
    lapic_run_timer(l, UINT64_MAX - 1);
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF);
    /* hardware stores the count before software hears of it */
    set(l, LAPIC_TMICT, 100);
    pages[0][LAPIC_TMICT / 4] = 0;
    lapic_run_timer(l, UINT64_MAX - 1);
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF);
}

/* --- saved state --- */

static size_t save(struct lapic *from, uint8_t *data, size_t capacity)
{
    struct state_writer w = {.data = data, .capacity = capacity};

    lapic_save(from, &w);
    assert_true(w.used <= capacity);
    return w.used;
}

static void busy_state(void)
{
    software_enable(l);
    set(l, LAPIC_TPR, 0x20);
    set(l, LAPIC_LVT_TIMER, 0x20040);
    set(l, LAPIC_TMICT, 77);
    post(0x71, true);
    lapic_accept(l, 0x71);
    post(0x91, false);
    get(l, 0x500);
    lapic_post(l, 0xa2, true);
    lapic_set_lint(l, 1, true);
}

static void test_save_and_load(void **state)
{
    uint8_t first[1024], second[1024];

    for (unsigned mode = 0; mode < 3; mode++) {
        setup(NULL);
        busy_state();
        if (mode == 1) {
            x2apic(l);
            assert_int_equal(wrmsr(0x830, 3ULL << 32 | 0x4041), 0);
        } else if (mode == 2) {
            set(l, LAPIC_LVT_TIMER, 0x40040);
            assert_int_equal(wrmsr(MSR_TSC_DEADLINE, now + 5), 0);
        }
        size_t size = save(l, first, sizeof(first));
        lapic_update_ppr(l);
        static uint32_t before[PAGE_SIZE / 4];
        memcpy(before, pages[0], sizeof(before));
        memset(pages[0], 0x5a, sizeof(pages[0]));
        lapic_init(l, pages[0], 0, true, BUS_SHIFT);
        struct state_reader r = {.data = first, .size = size};
        assert_int_equal(lapic_load(l, &r), 0);
        assert_memory_equal(before, pages[0], sizeof(before));
        assert_int_equal(save(l, second, sizeof(second)), size);
        assert_memory_equal(first, second, size);
        lapic_sync(l);
        assert_int_equal(lapic_pending_vector(l), 0xa2);
    }
}

static void test_load_refuses(void **state)
{
    uint8_t good[1024], bad[1024];

    busy_state();
    size_t size = save(l, good, sizeof(good));
    for (size_t cut = 0; cut < size; cut++) {
        struct state_reader r = {.data = good, .size = cut};
        assert_int_equal(lapic_load(l, &r), -EBADMSG);
    }
    check_reset_state();
    /* any byte: either refused, or loads to a state that saves to the very same bytes */
    for (size_t i = 0; i < size; i++) {
        for (unsigned value = 0; value < 256; value++) {
            uint8_t again[1024];
            memcpy(bad, good, size);
            bad[i] = (uint8_t)value;
            struct state_reader r = {.data = bad, .size = size};
            if (lapic_load(l, &r) == 0) {
                assert_int_equal(save(l, again, sizeof(again)), size);
                assert_memory_equal(bad, again, size);
            } else {
                assert_true(l->base == (LAPIC_BASE | APIC_BASE_BSP | APIC_BASE_ENABLE));
            }
        }
    }
    struct state_reader r = {.data = good, .size = size};
    assert_int_equal(lapic_load(&lapics[1], &r), -EBADMSG); /* another id */
}

static bool loads(void)
{
    uint8_t data[1024];
    size_t size = save(l, data, sizeof(data));
    struct state_reader r = {.data = data, .size = size};

    return lapic_load(l, &r) == 0;
}

static void test_load_refuses_what_no_guest_makes(void **state)
{
    static const struct {
        uint16_t offset;
        uint32_t bits;
    } bad[] = {
        {LAPIC_TPR, 0x100},          {LAPIC_LDR, 1},
        {LAPIC_SVR, 0x1000},         {LAPIC_ESR, 1},
        {LAPIC_ICR, 0x1000},         {LAPIC_ICR + 4, 1},
        {LAPIC_ICR_HIGH, 1},         {LAPIC_LVT_TIMER, 0x80000},
        {LAPIC_LVT_THERMAL, 0x8000}, {LAPIC_LVT_PERF, 0x2000},
        {LAPIC_LVT_LINT0, 0x4000},   {LAPIC_LVT_LINT1, 0x1000},
        {LAPIC_LVT_ERROR, 0x100},    {LAPIC_TDCR, 4},
        {LAPIC_ISR, 0x8000},         {LAPIC_TMR, 1},
        {LAPIC_IRR, 0x10},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        setup(NULL);
        busy_state();
        assert_true(loads());
        pages[0][bad[i].offset / 4] |= bad[i].bits;
        assert_false(loads());
        check_reset_state();
    }
    setup(NULL);
    pages[0][LAPIC_LVT_ERROR / 4] = 0x30; /* unmasked although software-disabled */
    assert_false(loads());
    pages[0][LAPIC_DFR / 4] = 0xf0000000;
    assert_false(loads());
    l->esr_pending = 1;
    assert_false(loads());
    l->lint = 4;
    assert_false(loads());
    l->lint = 0;
    l->posted.pir[0] = 1;
    assert_false(loads());
    l->base = LAPIC_BASE | APIC_BASE_EXTD;
    assert_false(loads());
    l->base = 0xfec00000 | APIC_BASE_ENABLE;
    assert_false(loads());
    lapic_init(l, pages[0], 0, true, BUS_SHIFT);
    l->timer_deadline = 5; /* with no count to go by */
    assert_false(loads());
    l->tsc_deadline = 5; /* in one-shot mode */
    assert_false(loads());
    software_enable(l);
    set(l, LAPIC_LVT_TIMER, 0x40040);
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, 5), 0);
    l->timer_deadline = 6;
    assert_false(loads());
    x2apic(l);
    assert_true(loads());
    pages[0][LAPIC_LDR / 4] = 2;
    assert_false(loads());
    check_reset_state();
}

/* --- two CPUs at once --- */

#define ROUNDS 200000u

static void *poster(void *taken)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        lapic_post(l, (uint8_t)(16 + i % 240), i & 1);
        while (__atomic_load_n((unsigned *)taken, __ATOMIC_ACQUIRE) + 3 < i) {
            sched_yield(); /* at most a few ahead, so that each vector is seen by itself */
        }
    }
    return NULL;
}

static void test_no_vector_is_lost(void **state)
{
    unsigned taken = 0;
    pthread_t thread;

    software_enable(l);
    assert_int_equal(pthread_create(&thread, NULL, poster, &taken), 0);
    time_t end = time(NULL) + 20;
    while (taken < ROUNDS && time(NULL) < end) {
        lapic_sync(l);
        for (int vector = lapic_pending_vector(l); vector >= 0; vector = lapic_pending_vector(l)) {
            lapic_accept(l, (uint8_t)vector);
            lapic_eoi(l);
            __atomic_store_n(&taken, taken + 1, __ATOMIC_RELEASE);
        }
        sched_yield();
    }
    assert_int_equal(taken, ROUNDS);
    pthread_join(thread, NULL);
    assert_int_equal(eois, ROUNDS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_power_on, setup),
        cmocka_unit_test_setup(test_init_keeps_mode, setup),
        cmocka_unit_test_setup(test_base_transitions, setup),
        cmocka_unit_test_setup(test_disabled_lets_the_8259_through, setup),
        cmocka_unit_test_setup(test_mmio_access_rules, setup),
        cmocka_unit_test_setup(test_writable_bits, setup),
        cmocka_unit_test_setup(test_software_disable_masks, setup),
        cmocka_unit_test_setup(test_x2apic_registers, setup),
        cmocka_unit_test_setup(test_x2apic_reserved_bits, setup),
        cmocka_unit_test_setup(test_x2apic_identity, setup),
        cmocka_unit_test_setup(test_x2apic_icr_is_one_register, setup),
        cmocka_unit_test_setup(test_priority, setup),
        cmocka_unit_test_setup(test_task_priority, setup),
        cmocka_unit_test_setup(test_post_and_notify, setup),
        cmocka_unit_test_setup(test_level_triggered, setup),
        cmocka_unit_test_setup(test_hardware_delivers, setup),
        cmocka_unit_test_setup(test_after_write, setup),
        cmocka_unit_test_setup(test_errors, setup),
        cmocka_unit_test_setup(test_self_ipi, setup),
        cmocka_unit_test_setup(test_destinations, setup),
        cmocka_unit_test_setup(test_lowest_priority, setup),
        cmocka_unit_test_setup(test_init_and_startup, setup),
        cmocka_unit_test_setup(test_message_from_io_apic, setup),
        cmocka_unit_test_setup(test_local_pins, setup),
        cmocka_unit_test_setup(test_divide_configuration, setup),
        cmocka_unit_test_setup(test_one_shot, setup),
        cmocka_unit_test_setup(test_periodic_does_not_drift, setup),
        cmocka_unit_test_setup(test_tsc_deadline, setup),
        cmocka_unit_test_setup(test_timer_mode_changes, setup),
        cmocka_unit_test_setup(test_divide_change_keeps_the_count, setup),
        cmocka_unit_test_setup(test_tsc_moved, setup),
        cmocka_unit_test_setup(test_timer_at_the_end_of_time, setup),
        cmocka_unit_test_setup(test_save_and_load, setup),
        cmocka_unit_test_setup(test_load_refuses, setup),
        cmocka_unit_test_setup(test_load_refuses_what_no_guest_makes, setup),
        cmocka_unit_test_setup(test_no_vector_is_lost, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
