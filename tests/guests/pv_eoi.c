/* An EOI may be a bit that the handler clears; interrupts come one after the other and nested all
 * the same, and none stays in service. Where the hardware does EOIs it is not offered. */
#include "pv.h"

#define LOW    0x41
#define HIGH   0x91
#define ROUNDS 200

static uint64_t word __attribute__((aligned(64)));
static volatile unsigned got_low, got_high, by_bit, by_register;
static volatile bool nest;

static void complete(void)
{
    bool was;

    asm volatile("btrq $0, %0; setc %1" : "+m"(word), "=q"(was)::"cc", "memory");
    if (was) {
        by_bit = by_bit + 1;
        return;
    }
    by_register = by_register + 1;
    lapic_eoi();
}

static void on_low(struct frame *f)
{
    got_low = got_low + 1;
    if (nest) {
        lapic_self_ipi(HIGH);
        asm volatile("sti; nop; cli" ::: "memory");
    }
    complete();
}

static void on_high(struct frame *f)
{
    got_high = got_high + 1;
    complete();
}

static void send(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        lapic_self_ipi(LOW);
        asm volatile("sti; nop; cli" ::: "memory");
        CHECK(got_low == i + 1, "of %u interrupts %u have come", i + 1, got_low);
    }
    cpuid(0, 0); /* an exit: what was completed by the bit is so */
    for (unsigned offset = 0x100; offset < 0x180; offset += 0x10)
        CHECK(lapic_read(offset) == 0, "%x in service at %x", lapic_read(offset), offset);
}

static void run(bool x2apic)
{
    lapic_on(x2apic);
    got_low = got_high = by_bit = by_register = 0;
    wrmsr(PV_EOI_MSR, (uint64_t)&word | PV_ON);
    CHECK(word == 0, "the word is %lx", word);
    send(ROUNDS);
    CHECK(by_bit >= ROUNDS / 2, "only %u of %u by the bit", by_bit, ROUNDS);
    nest = true;
    got_low = 0;
    send(ROUNDS);
    nest = false;
    CHECK(got_high == ROUNDS, "%u of %u nested ones", got_high, ROUNDS);
    CHECK(by_bit + by_register == 3 * ROUNDS, "%u + %u were completed", by_bit, by_register);
    wrmsr(PV_EOI_MSR, 0);
    by_bit = got_low = 0;
    send(ROUNDS);
    CHECK(by_bit == 0, "it is off, and %u were completed by the bit", by_bit);
    say("%s: %u by the register\n", x2apic ? "x2APIC" : "xAPIC", by_register);
}

void test(void)
{
    CHECK(rdmsr(PV_POLL) == 1, "poll control is %lx", rdmsr(PV_POLL));
    wrmsr(PV_POLL, 0);
    CHECK(rdmsr(PV_POLL) == 0, "poll control is %lx", rdmsr(PV_POLL));
    CHECK(try_wrmsr(PV_POLL, 2) == GP, "2 is a poll control");
    if (!(pv_features() & BIT(6))) {
        CHECK(try_wrmsr(PV_EOI_MSR, 0) == GP, "it is not offered, and there");
        say("not offered\n");
        return;
    }
    CHECK(try_wrmsr(PV_EOI_MSR, (uint64_t)&word | 3) == GP, "bit 1 is taken");
    CHECK(try_wrmsr(PV_EOI_MSR, BIT(50) | PV_ON) == GP, "an address without RAM is taken");
    handle(LOW, on_low);
    handle(HIGH, on_high);
    run(false);
    run(true);
}
