/* Vector registers and XCR0 survive exits of every kind and the host's own timer. */
#include "guest.h"

static uint8_t before[64 * 16] __attribute__((aligned(64))),
    after[64 * 16] __attribute__((aligned(64)));

#define SSE_LOAD(i)  asm volatile("movdqa %0, %%xmm" #i ::"m"(before[64 * i]) : "memory");
#define SSE_STORE(i) asm volatile("movdqa %%xmm" #i ", %0" : "=m"(after[64 * i])::"memory");
#define AVX_LOAD(i)  asm volatile("vmovdqa %0, %%ymm" #i ::"m"(before[64 * i]) : "memory");
#define AVX_STORE(i) asm volatile("vmovdqa %%ymm" #i ", %0" : "=m"(after[64 * i])::"memory");
#define ALL(op)                                                                                    \
    op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) \
        op(15)

static volatile unsigned ticks;

static void on_timer(struct frame *f)
{
    ticks++;
    lapic_eoi();
    if (ticks < 50)
        wrmsr(0x6e0, rdtsc() + 20000);
}

static void disturb(void)
{
    cpuid(0, 0);
    inb(COM1 + 7);
    inl(PM_TIMER);
    read32(IOAPIC + 0x10);
    rdmsr(0x2ff);
    asm volatile("wbinvd" ::: "memory");
    ticks = 0;
    wrmsr(0x6e0, rdtsc() + 20000);
    sti();
    while (ticks < 50)
        ;
    asm volatile("hlt" ::: "memory");
}

static void on_wake(struct frame *f)
{
    lapic_eoi();
}

static void run(bool avx)
{
    unsigned size = avx ? 32 : 16;
    for (unsigned i = 0; i < sizeof(before); i++)
        before[i] = (uint8_t)(i * 31 + avx);
    if (avx) {
        ALL(AVX_LOAD)
    } else {
        ALL(SSE_LOAD)
    }
    wrmsr(0x6e0, 0);
    pit_start(0, 30000); /* ends the HLT */
    disturb();
    cli();
    if (avx) {
        ALL(AVX_STORE)
    } else {
        ALL(SSE_STORE)
    }
    for (unsigned r = 0; r < 16; r++)
        for (unsigned i = 0; i < size; i++)
            CHECK(after[64 * r + i] == before[64 * r + i], "%s%u byte %u is %x, was %x",
                  avx ? "ymm" : "xmm", r, i, after[64 * r + i], before[64 * r + i]);
}

void test(void)
{
    lapic_on(true);
    handle(0x60, on_timer);
    handle(0x61, on_wake);
    lapic_write(0x320, 0x40060);
    ioapic_route(2, 0x61 | (uint64_t)lapic_read(0x20) << 56);
    uint16_t control = 0x027f, back;
    uint32_t mxcsr = 0x5f80, mxcsr_back;
    asm volatile("fninit; fldcw %0; ldmxcsr %1" ::"m"(control), "m"(mxcsr) : "memory");
    run(false);
    asm volatile("fnstcw %0; stmxcsr %1" : "=m"(back), "=m"(mxcsr_back)::"memory");
    CHECK(back == control && mxcsr_back == mxcsr, "x87 control %x, MXCSR %x", back, mxcsr_back);
    if (cpuid(1, 0).ecx >> 28 & 1) {
        WRITE_CR(4, READ_CR(4) | BIT(18));
        asm volatile("xsetbv" ::"a"(7), "d"(0), "c"(0) : "memory");
        run(true);
        uint32_t low, high;
        asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        CHECK(low == 7 && high == 0, "XCR0 is %x%08x", high, low);
    }
}
