/* Broadcasts and logical addresses: each IPI reaches each vCPU that it names once, and no other. */
#include "smp.h"

#define VECTOR 0x71
#define ROUNDS 40

static volatile uint32_t got[SMP_MAX], ready;
static unsigned count;

static void on_ipi(struct frame *f)
{
    lapic_eoi();
    add(&got[smp_self()], 1);
}

static void listen(unsigned self)
{
    if (!(rdmsr(0x1b) & BIT(10)))
        lapic_write(0xd0, 1u << (24 + self % 8));
    add(&ready, 1);
    for (;;)
        asm volatile("sti; hlt" ::: "memory");
}

static void expect(const char *what, uint32_t dest, uint32_t icr, uint64_t whom)
{
    uint32_t before[SMP_MAX];

    for (unsigned n = 0; n < ROUNDS; n++) {
        for (unsigned i = 0; i < count; i++)
            before[i] = got[i];
        smp_send(dest, SMP_FIXED(VECTOR) | icr);
        asm volatile("sti; nop; nop; cli" ::: "memory");
        for (unsigned i = 0; i < count; i++)
            if ((whom >> i & 1) && !smp_wait(&got[i], before[i] + 1)) {
                wrong("%s: vCPU %u took %u", what, i, got[i] - before[i]);
                return;
            }
        for (unsigned i = 0; i < count; i++)
            CHECK(got[i] - before[i] == (whom >> i & 1), "%s: vCPU %u took %u", what, i,
                  got[i] - before[i]);
    }
}

void test(void)
{
    uint64_t all;

    handle(VECTOR, on_ipi);
    count = smp_count();
    all = BIT(count) - 1;
    for (unsigned x2apic = 0; x2apic < 2; x2apic++) {
        const char *mode = x2apic ? "x2APIC" : "xAPIC";
        ready = 1;
        smp_start(x2apic, listen);
        CHECK(smp_wait(&ready, count), "%u of %u vCPUs are ready", ready, count);
        if (!x2apic)
            lapic_write(0xd0, 1u << 24);
        say("%s\n", mode);
        expect("all", 0, SMP_ALL, all);
        expect("all but oneself", 0, SMP_OTHERS, all & ~1ULL);
        expect("physical broadcast", SMP_BROADCAST, 0, all);
        expect("logical broadcast", SMP_BROADCAST, SMP_LOGICAL, all);
        if (count <= 8) {
            expect("logical, odd ones", 0xaa, SMP_LOGICAL, all & 0xaa);
            expect("logical, the last", 1u << (count - 1), SMP_LOGICAL, BIT(count - 1));
        }
        for (unsigned i = 0; i < count; i++)
            expect("physical", i, 0, BIT(i));
    }
}
