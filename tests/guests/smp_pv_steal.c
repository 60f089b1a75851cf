/* Steal time is what passes while a vCPU could run and does not; who is away is marked, and forgets
 * translations on its return when it is told to. */
#include "pv.h"

#define VECTOR  0x57
#define WINDOW  0x40000000ULL /* a page that is mapped here and there */
#define PRESENT 3ULL

static struct pv_steal pages[SMP_MAX];
static uint64_t here[512] __attribute__((aligned(4096))), there[512] __attribute__((aligned(4096)));
static volatile uint32_t ready, woken, done, go;
static volatile uint64_t seen;

static void on_ipi(struct frame *f)
{
    lapic_eoi();
    add(&woken, 1);
}

static uint64_t read_window(void)
{
    return *(volatile uint64_t *)WINDOW;
}

/* How long nobody has let it run, by gaps between two readings of the TSC, in ns. */
static uint64_t gaps(uint64_t ticks)
{
    uint64_t sum = 0, least = tsc_hz() / 20000, end = rdtsc() + ticks;

    for (uint64_t last = rdtsc(), now = last; (int64_t)(end - now) > 0; last = now) {
        now = rdtsc();
        if (now - last > least)
            sum += now - last;
    }
    return sum * 1000 / (tsc_hz() / 1000000);
}

static void compare(unsigned self)
{
    uint64_t before = pv_stolen(&pages[self]), inside = gaps(tsc_hz() / 20),
             told = pv_stolen(&pages[self]) - before;

    if (self == 0)
        say("vCPU 0: %lu us away, %lu us stolen\n", inside / 1000, told / 1000);
    /* The loop's own part of a gap, and gaps that are too short to count. */
    CHECK(told < inside + inside / 10 + 2000000 && inside < told + told / 10 + 2000000,
          "vCPU %u was away for %lu us, %lu us of it stolen", self, inside / 1000, told / 1000);
    CHECK(!(pages[self].preempted & 1), "vCPU %u runs and is marked as away", self);
}

static void other(unsigned self)
{
    wrmsr(PV_STEAL, (uint64_t)&pages[self] | PV_ON);
    if (self == 1)
        seen = read_window();
    add(&ready, 1);
    while (!go)
        pause();
    compare(self);
    add(&done, 1);
    if (self != 1)
        return;
    /* Asleep; woken it forgets, without having been told to by its own program. */
    asm volatile("sti; hlt; cli" ::: "memory");
    seen = read_window();
    add(&done, 1);
}

/* Wait until it is marked as away, and leave it a flush. */
static bool leave_flush(volatile struct pv_steal *s)
{
    for (uint64_t end = rdtsc() + tsc_hz(); (int64_t)(end - rdtsc()) > 0; pause()) {
        uint8_t was = s->preempted;
        if (was & 1 && __atomic_compare_exchange_n(&s->preempted, &was, was | 2, false,
                                                   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return true;
    }
    return false;
}

static void check_values(void)
{
    CHECK((pv_features() & BIT(5)) && (pv_features() & BIT(9)), "not offered: %x", pv_features());
    for (unsigned bit = 1; bit < 6; bit++)
        CHECK(try_wrmsr(PV_STEAL, (uint64_t)&pages[0] | BIT(bit) | PV_ON) == GP, "bit %u is taken",
              bit);
    CHECK(try_wrmsr(PV_STEAL, 0xb0000000 | PV_ON) == GP, "an address without RAM is taken");
    CHECK(try_wrmsr(PV_STEAL, BIT(50) | PV_ON) == GP, "an address beyond all is taken");
    CHECK(rdmsr(PV_STEAL) == 0, "the MSR reads as %lx", rdmsr(PV_STEAL));
}

void test(void)
{
    unsigned count;

    check_values();
    here[0] = 0x1111;
    there[0] = 0x2222;
    handle(VECTOR, on_ipi);
    uint64_t *entry = page_entry(WINDOW);
    *entry = (uint64_t)here | PRESENT;
    wrmsr(PV_STEAL, (uint64_t)&pages[0] | PV_ON);
    CHECK(pages[0].version && !(pages[0].version & 1), "the version is %u", pages[0].version);
    count = smp_start(true, other);
    smp_wait(&ready, count - 1);
    go = 1;
    compare(0);
    smp_finish(&done, count - 1);
    CHECK(seen == 0x1111, "the window shows %lx", seen);
    *entry = (uint64_t)there | PRESENT;
    CHECK(leave_flush(&pages[1]), "vCPU 1 halts and is not marked as away: %u", pages[1].preempted);
    smp_send(1, SMP_FIXED(VECTOR));
    smp_finish(&done, count);
    CHECK(seen == 0x2222, "after the flush that was left for it vCPU 1 sees %lx", seen);
}
