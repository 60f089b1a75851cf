/* links: guest/board/lapic*.c guest/board/state.c */
/* Registers, priorities and errors of the virtual local APIC, against the SDM. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/mock_lapic.h"

/* --- power-on and IA32_APIC_BASE --- */

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

/* Software has moved the flag: INIT leaves it there, RESET does not. */
static void test_reset_chooses_the_bootstrap_processor(void **state)
{
    const uint64_t plain = LAPIC_BASE | APIC_BASE_ENABLE;

    assert_int_equal(lapic_msr_write(&lapics[0], MSR_APIC_BASE, plain), 0);
    assert_int_equal(lapic_msr_write(&lapics[1], MSR_APIC_BASE, plain | APIC_BASE_BSP), 0);
    lapic_init_reset(&lapics[0]);
    lapic_init_reset(&lapics[1]);
    assert_int_equal(lapics[0].base, plain);
    assert_int_equal(lapics[1].base, plain | APIC_BASE_BSP);
    lapic_reset(&lapics[0]);
    lapic_reset(&lapics[1]);
    assert_int_equal(lapics[0].base, plain | APIC_BASE_BSP);
    assert_int_equal(lapics[1].base, plain);
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

/* SDM "Relocating the Local APIC Registers" */
static void test_the_registers_move(void **state)
{
    const uint64_t flags = APIC_BASE_BSP | APIC_BASE_ENABLE;

    lapic_set_physical_bits(l, 40);
    assert_true(lapic_claims(l, LAPIC_BASE + 0xfff));
    assert_false(lapic_claims(l, LAPIC_BASE + 0x1000));
    set(l, LAPIC_TPR, 0x50);
    assert_int_equal(wrmsr(MSR_APIC_BASE, 0x123456000 | flags), 0);
    assert_true(rdmsr(MSR_APIC_BASE) == (0x123456000 | flags));
    assert_int_equal(mode_changes, 1); /* the vCPU's memory follows */
    assert_true(lapic_claims(l, 0x123456000));
    assert_false(lapic_claims(l, LAPIC_BASE));
    assert_int_equal(get(l, LAPIC_TPR), 0x50); /* nothing else changes */
    assert_int_equal(wrmsr(MSR_APIC_BASE, flags), 0);
    assert_true(lapic_claims(l, 0x20));
    assert_int_equal(wrmsr(MSR_APIC_BASE, 0xfffffff000 | flags), 0);
    assert_int_equal(wrmsr(MSR_APIC_BASE, BIT(40) | flags), -EINVAL);
    assert_int_equal(wrmsr(MSR_APIC_BASE, BIT(63) | flags), -EINVAL);
    assert_true(lapic_claims(l, 0xfffffff000));
    assert_int_equal(wrmsr(MSR_APIC_BASE, 0x8000 | flags | APIC_BASE_EXTD), 0);
    assert_false(lapic_claims_mmio(l)); /* no x2APIC has a page */
    assert_false(lapic_claims(l, 0x8000));
    assert_int_equal(wrmsr(MSR_APIC_BASE, 0x8000), 0);
    assert_false(lapic_claims(l, 0x8000));
    assert_int_equal(wrmsr(MSR_APIC_BASE, 0x8000 | flags), 0);
    lapic_init_reset(l); /* INIT leaves it there */
    assert_true(lapic_claims(l, 0x8000));
    lapic_reset(l);
    assert_true(lapic_claims(l, LAPIC_BASE));
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

/* The EOI of a level-triggered vector exits, whether it is requested or in service; an edge's does
 * not. */
static void test_eoi_bitmap(void **state)
{
    uint64_t bitmap[4] = {0};

    software_enable(l);
    post(0xb2, true);
    lapic_accept(l, 0xb2);
    post(0xe0, false);
    lapic_accept(l, 0xe0);
    post(0x33, false);
    post(0x71, true);
    lapic_eoi_bitmap(l, bitmap);
    assert_true(bitmap[1] == BIT(0x71 - 64) && bitmap[2] == BIT(0xb2 - 128));
    assert_true(!bitmap[0] && !bitmap[3]);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_power_on, setup),
        cmocka_unit_test_setup(test_init_keeps_mode, setup),
        cmocka_unit_test_setup(test_reset_chooses_the_bootstrap_processor, setup),
        cmocka_unit_test_setup(test_base_transitions, setup),
        cmocka_unit_test_setup(test_the_registers_move, setup),
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
        cmocka_unit_test_setup(test_eoi_bitmap, setup),
        cmocka_unit_test_setup(test_hardware_delivers, setup),
        cmocka_unit_test_setup(test_after_write, setup),
        cmocka_unit_test_setup(test_errors, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
