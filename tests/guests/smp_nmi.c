/* NMIs to other vCPUs: they end HLT with interrupts off, reach one that spins, and each counts;
 * also when the sender itself halts right behind it, so that all of them are halted with IF = 0.
 * Two in a row are two.
 *
 * Bochs 2.7 forgets at VM entry that a processor blocked NMIs for another vCPU (docs/CAVEATS.md):
 * so all who wait run IRET now and then. */
#include "smp.h"

#define ROUNDS 100

static volatile uint32_t nmis[SMP_MAX], turns[SMP_MAX], spins, quiet;

extern const uint8_t halt_from[], halt_to[];

/* HLT unless an NMI has come since *count was n. */
static __attribute__((noinline, noclone)) void halt_unless_changed(volatile uint32_t *count,
                                                                   uint32_t n)
{
    asm volatile("halt_from: cmpl %1, %0\n\tjne halt_to\n\thlt\nhalt_to:" ::"m"(*count), "r"(n)
                 : "memory", "cc");
}

static void unblock_nmis(void)
{
    asm volatile("mov %%rsp, %%rax\n\tmov %%ss, %%ecx\n\tpush %%rcx\n\tpush %%rax\n\tpushf\n\t"
                 "mov %%cs, %%ecx\n\tpush %%rcx\n\tpush $1f\n\tiretq\n1:" ::
                     : "rax", "rcx", "memory", "cc");
}

static bool answered(volatile uint32_t *count, uint32_t n)
{
    uint64_t end = rdtsc() + tsc_hz();

    while (*count != n && (int64_t)(rdtsc() - end) < 0) {
        pause();
        unblock_nmis();
    }
    return *count == n;
}

/* Until it is another one. */
static void changed(volatile uint32_t *count, uint32_t n)
{
    uint64_t end = rdtsc() + tsc_hz();

    while (*count == n && (int64_t)(rdtsc() - end) < 0) {
        pause();
        unblock_nmis();
    }
}

static void on_nmi(struct frame *f)
{
    unsigned self = smp_self();
    bool answer = self && !quiet; /* as it is before the sender knows that this one has come */

    if (f->rip >= (uint64_t)halt_from && f->rip < (uint64_t)halt_to)
        f->rip = (uint64_t)halt_to; /* it came between the look and HLT */
    add(&nmis[self], 1);
    if (answer)
        smp_send(0, SMP_NMI);
}

static void live(unsigned self)
{
    for (;;) {
        unblock_nmis();
        add(&turns[self], 1);
        if (spins)
            asm volatile("cli; pause");
        else
            asm volatile("cli; hlt" ::: "memory");
    }
}

static void run(unsigned count)
{
    for (unsigned i = 1; i < count; i++) {
        for (unsigned n = 0; n < ROUNDS; n++) {
            uint32_t mine = nmis[0], its = nmis[i];
            smp_send(i, SMP_NMI);
            if (!spins && n % 2)
                halt_unless_changed(&nmis[0], mine);
            CHECK(answered(&nmis[0], mine + 1), "NMI %u of vCPU %u: no answer", n, i);
            CHECK(nmis[i] == its + 1, "NMI %u: vCPU %u took %u", n, i, nmis[i] - its);
        }
    }
}

/* All others take one, and answer nothing. */
static void broadcast(unsigned count, unsigned n)
{
    uint32_t before[SMP_MAX];

    for (unsigned i = 1; i < count; i++)
        before[i] = nmis[i];
    smp_send(0, SMP_NMI | SMP_OTHERS);
    for (unsigned i = 1; i < count; i++)
        CHECK(answered(&nmis[i], before[i] + 1), "broadcast %u did not reach vCPU %u", n, i);
}

/* Two in a row, to one that runs and to one that waits for this one's processor; not to one that is
 * in its handler still, where two are one. */
static void pairs(unsigned count)
{
    for (unsigned i = 1; i < count; i++) {
        for (unsigned n = 0; n < ROUNDS; n++) {
            uint32_t before = nmis[i], turn = turns[i];
            smp_send(i, SMP_NMI);
            smp_send(i, SMP_NMI);
            answered(&nmis[i], before + 2);
            changed(&turns[i], turn);
            CHECK(nmis[i] == before + 2, "of two NMIs vCPU %u took %u", i, nmis[i] - before);
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
    broadcast(count, 0);
    quiet = 0;
    run(count);
    quiet = 1;
    pairs(count);
    for (unsigned n = 1; n <= ROUNDS; n++)
        broadcast(count, n);
}
