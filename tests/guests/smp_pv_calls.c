/* IPIs to many by one call, HLT ended by another vCPU, and what is no call or no right one. */
#include "pv.h"

#define VECTOR 0x58

static unsigned count;
static volatile uint32_t got[SMP_MAX], nmis, halting, out, done;

static void on_ipi(struct frame *f)
{
    lapic_eoi();
    add(&got[smp_self()], 1);
}

static void on_nmi(struct frame *f)
{
    add(&nmis, 1);
}

static void other(unsigned self)
{
    if (self == 1) { /* with interrupts off: nothing else ends that */
        add(&halting, 1);
        asm volatile("hlt");
        add(&out, 1);
        smp_meet(2); /* the next kick comes before its HLT */
        smp_meet(2);
        asm volatile("hlt");
        add(&out, 1);
    }
    add(&done, 1);
    for (;;)
        asm volatile("sti; hlt; cli" ::: "memory");
}

static void check_kicks(void)
{
    smp_wait(&halting, 1);
    delay_us(500);
    CHECK(out == 0, "HLT ends by itself");
    CHECK(pv_call(PV_CALL_KICK, 0, 1, 0, 0) == 0, "a kick fails");
    CHECK(smp_wait(&out, 1), "a kick does not end HLT");
    smp_meet(2);
    CHECK(pv_call(PV_CALL_KICK, 0, 1, 0, 0) == 0, "a kick fails");
    smp_meet(2);
    CHECK(smp_wait(&out, 2), "a kick before HLT is lost");
}

static void check_ipis(void)
{
    uint64_t all = (count == 64 ? 0 : BIT(count)) - 1;
    int64_t result = pv_call(PV_CALL_IPI, all, 0, 0, VECTOR);

    CHECK(result == count, "to %u vCPUs: %ld", count, result);
    sti();
    for (unsigned i = 0; i < count; i++)
        CHECK(smp_wait(&got[i], 1), "vCPU %u has %u", i, got[i]);
    result = pv_call(PV_CALL_IPI, 1, 0, 1, VECTOR); /* bit 0 is vCPU 1 */
    CHECK(result == 1 && smp_wait(&got[1], 2), "to vCPU 1: %ld, it has %u", result, got[1]);
    cli();
    result = pv_call(PV_CALL_IPI, all & ~1ULL, 0, 0, 0x400);
    CHECK(result == count - 1 && smp_wait(&nmis, count - 1), "%ld NMIs: %u", result, nmis);
    CHECK(pv_call(PV_CALL_IPI, 0, 1, 0, VECTOR) == 0, "there is a vCPU 64");
    CHECK(pv_call(PV_CALL_IPI, ~0ULL, ~0ULL, count, VECTOR) == 0, "vCPUs behind the last");
    CHECK(pv_call(PV_CALL_IPI, 2, 0, 0, BIT(11) | VECTOR) == -22, "a logical address is taken");
    CHECK(pv_call(PV_CALL_IPI, 2, 0, 0, SMP_ALL | VECTOR) == -22, "a shorthand is taken");
}

void test(void)
{
    handle(VECTOR, on_ipi);
    handle(NMI, on_nmi);
    count = smp_start(true, other);
    check_kicks();
    smp_finish(&done, count - 1);
    check_ipis();
    for (unsigned i = 0; i <= count; i++)
        CHECK(pv_call(PV_CALL_YIELD, i, 0, 0, 0) == 0, "no yield to %u", i);
    CHECK(pv_call(PV_CALL_KICK, 0, 1000, 0, 0) == 0, "a kick of nobody");
    CHECK(pv_call(9, 0, 0, 0, 0) == -1000, "call 9 is one");
    CHECK(pv_call(0x436f0000, 0, 0, 0, 0) == -1000, "call 436F0000h is one");
    CHECK(pv_call(BIT(32) | PV_CALL_KICK, 0, 1, 0, 0) == -1000, "a number has 32 bits");
}
