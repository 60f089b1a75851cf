/* NMIs to other vCPUs: they end HLT with interrupts off, reach one that spins, and each counts;
 * also when the sender itself halts right behind it, so that all of them are halted with IF = 0. */
#include "smp.h"

#define ROUNDS 100

static volatile uint32_t nmis[SMP_MAX], spins, quiet;

extern const uint8_t halt_from[], halt_to[];

/* HLT unless an NMI has come since *count was n. */
static __attribute__((noinline, noclone)) void halt_unless_changed(volatile uint32_t *count,
                                                                   uint32_t n)
{
    asm volatile("halt_from: cmpl %1, %0\n\tjne halt_to\n\thlt\nhalt_to:" ::"m"(*count), "r"(n)
                 : "memory", "cc");
}

static void on_nmi(struct frame *f)
{
    unsigned self = smp_self();

    if (f->rip >= (uint64_t)halt_from && f->rip < (uint64_t)halt_to)
        f->rip = (uint64_t)halt_to; /* it came between the look and HLT */
    add(&nmis[self], 1);
    if (self && !quiet)
        smp_send(0, SMP_NMI);
}

static void live(unsigned self)
{
    for (;;)
        if (spins)
            asm volatile("cli; pause");
        else
            asm volatile("cli; hlt" ::: "memory");
}

static void run(unsigned count)
{
    for (unsigned i = 1; i < count; i++) {
        for (unsigned n = 0; n < ROUNDS; n++) {
            uint32_t mine = nmis[0], its = nmis[i];
            smp_send(i, SMP_NMI);
            if (!spins && n % 2)
                halt_unless_changed(&nmis[0], mine);
            CHECK(smp_wait(&nmis[0], mine + 1), "NMI %u of vCPU %u: no answer", n, i);
            CHECK(nmis[i] == its + 1, "NMI %u: vCPU %u took %u", n, i, nmis[i] - its);
        }
    }
}

void test(void)
{
    unsigned count;

    handle(NMI, on_nmi);
    count = smp_start(true, live);
    spins = 1;
    delay_us(100);
    run(count);
    spins = 0;
    quiet = 1;
    smp_send(0, SMP_NMI | SMP_OTHERS);
    delay_us(100);
    quiet = 0;
    run(count);
    for (unsigned n = 0; n < ROUNDS; n++) {
        uint32_t before[SMP_MAX];
        quiet = 1;
        for (unsigned i = 1; i < count; i++)
            before[i] = nmis[i];
        smp_send(0, SMP_NMI | SMP_OTHERS);
        for (unsigned i = 1; i < count; i++)
            CHECK(smp_wait(&nmis[i], before[i] + 1), "broadcast %u did not wake vCPU %u", n, i);
    }
}
