/* What a processor holds for a vCPU besides its general registers is there again, wherever and
 * after whomever it runs next: SSE registers, debug registers, CR2, the SYSCALL MSRs. */
#include "smp.h"

#define RUN_MS 60
#define LSTAR  0xc0000082
#define STAR   0xc0000081
#define FMASK  0xc0000084
#define GS     0xc0000102 /* KERNEL_GS_BASE */

static volatile uint32_t done;

static uint64_t mixed(unsigned self, uint32_t round, unsigned what)
{
    return ((uint64_t)round << 16 | self << 8 | what) & 0x7fffffffffff;
}

static void put(unsigned self, uint32_t round)
{
    uint32_t mxcsr = 0x1f80 | (round + self) % 4 << 13;

    asm volatile("movq %0, %%xmm0" ::"r"(mixed(self, round, 0)));
    asm volatile("movq %0, %%xmm15" ::"r"(mixed(self, round, 1)));
    asm volatile("ldmxcsr %0" ::"m"(mxcsr));
    WRITE_DR(0, mixed(self, round, 2));
    WRITE_DR(3, mixed(self, round, 3));
    WRITE_CR(2, mixed(self, round, 4));
    wrmsr(LSTAR, mixed(self, round, 5));
    wrmsr(STAR, mixed(self, round, 6));
    wrmsr(FMASK, mixed(self, round, 7) & 0xffffffff);
    wrmsr(GS, mixed(self, round, 8));
}

static void check(unsigned self, uint32_t round)
{
    uint64_t xmm0, xmm15;
    uint32_t mxcsr;

    asm volatile("movq %%xmm0, %0" : "=r"(xmm0));
    asm volatile("movq %%xmm15, %0" : "=r"(xmm15));
    asm volatile("stmxcsr %0" : "=m"(mxcsr));
    const uint64_t is[] = {xmm0,         xmm15,       READ_DR(0),   READ_DR(3), READ_CR(2),
                           rdmsr(LSTAR), rdmsr(STAR), rdmsr(FMASK), rdmsr(GS)};
    for (unsigned i = 0; i < ARRAY_SIZE(is); i++) {
        uint64_t was = mixed(self, round, i);
        CHECK(is[i] == (i == 7 ? was & 0xffffffff : was), "vCPU %u: value %u is %lx, not %lx", self,
              i, is[i], was);
    }
    CHECK((mxcsr >> 13 & 3) == (round + self) % 4, "vCPU %u: MXCSR is %x", self, mxcsr);
}

static void work(unsigned self)
{
    uint64_t end = rdtsc() + RUN_MS * tsc_hz() / 1000;

    for (uint32_t round = 0; (int64_t)(rdtsc() - end) < 0; round++) {
        put(self, round);
        for (unsigned i = 0; i < 5; i++) {
            delay_us(1 + (round + 7 * self) % 50);
            check(self, round);
        }
        if (round % 8 == self % 8)
            cpuid(0, 0); /* an exit */
    }
    add(&done, 1);
}

void test(void)
{
    unsigned count = smp_start(true, work);

    work(0);
    smp_finish(&done, count);
}
