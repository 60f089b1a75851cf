/* SDM, "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT": what the first
 * start-up IPI finds after each of the three, and who is the bootstrap processor then. */
#include "smp.h"

#define BYTE_OF_RUN 0x50
#define SECOND_RUN  0xa5
#define LOOK        0x18000u
#define CD_NW       0x60000000u
#define PAT         0x0007040600070406ULL
#define BSP         BIT(8)

enum {
    APIC_BASE,
    SYSENTER_CS,
    SYSENTER_ESP,
    SYSENTER_EIP,
    PAT_MSR,
    DEBUGCTL,
    EFER,
    STAR,
    LSTAR,
    FMASK,
    KERNEL_GS,
    MTRR_DEF,
    TSC_ADJUST,
    TSC,
    MSRS
};

static const uint32_t msr_number[MSRS] = {
    0x1b,       0x174,      0x175,      0x176,      0x277, 0x1d9, 0xc0000080,
    0xc0000081, 0xc0000082, 0xc0000084, 0xc0000102, 0x2ff, 0x3b,  0x10};

struct found {
    uint32_t there, eflags, gpr[8], cr[4], dr[6];
    uint16_t selector[5];
    struct {
        uint16_t limit;
        uint32_t base;
    } PACKED gdtr, idtr;
    struct {
        uint32_t control, status, tag, ip, cs, dp, ds;
    } PACKED x87;
    uint32_t mxcsr;
    uint8_t xmm3[16];
    uint32_t xcr0;
    uint64_t msr[MSRS];
} PACKED;

extern const uint8_t look[], look_end[];
extern const uint32_t look_found;

static volatile uint32_t dirty;
static uint64_t old[MSRS]; /* what vCPU 1 has left */
static uint32_t old_xcr0;
static const char *after;

static volatile struct found *found(void)
{
    return (volatile struct found *)(uint64_t)(LOOK + look_found);
}

#define EXPECT(what, value)                                                                        \
    do {                                                                                           \
        uint64_t is_ = f->what, is_to_be_ = (value);                                               \
        CHECK(is_ == is_to_be_, "after %s " #what " is %lx, not %lx", after, is_, is_to_be_);      \
    } while (0)

static void start(bool init)
{
    memcpy((void *)(uint64_t)LOOK, look, (size_t)(look_end - look));
    if (init)
        smp_send(1, SMP_INIT);
    smp_send(1, (SMP_STARTUP & ~0xffu) | LOOK >> 12);
    CHECK(smp_wait((volatile uint32_t *)(uint64_t)(LOOK + look_found), 1),
          "after %s vCPU 1 does not start", after);
}

/* The rows that are alike for all three. */
static void check_common(const volatile struct found *f)
{
    for (unsigned i = 0; i < 8; i++)
        if (i != 2)
            EXPECT(gpr[i], 0);
    EXPECT(gpr[2], cpuid(1, 0).eax);
    for (unsigned i = 0; i < 5; i++)
        EXPECT(selector[i], 0);
    EXPECT(eflags, 2);
    EXPECT(gdtr.base, 0);
    EXPECT(gdtr.limit, 0xffff);
    EXPECT(idtr.base, 0);
    EXPECT(idtr.limit, 0xffff);
    EXPECT(cr[1], 0);
    EXPECT(cr[2], 0);
    EXPECT(cr[3], 0);
    for (unsigned i = 0; i < 4; i++)
        EXPECT(dr[i], 0);
    EXPECT(dr[4], 0xffff0ff0);
    EXPECT(dr[5], 0x400);
    EXPECT(msr[EFER], 0);
}

static void check_reset(const volatile struct found *f)
{
    check_common(f);
    EXPECT(cr[0], CD_NW | 0x10);
    EXPECT(x87.control & 0xffff, 0x40);
    EXPECT(x87.status & 0xffff, 0);
    EXPECT(x87.tag & 0xffff, 0x5555);
    EXPECT(mxcsr, 0x1f80);
    for (unsigned i = 0; i < 16; i++)
        EXPECT(xmm3[i], 0);
    if (cpuid(1, 0).ecx >> 26 & 1)
        EXPECT(xcr0, 1);
    EXPECT(msr[APIC_BASE], LAPIC | BIT(11));
    EXPECT(msr[PAT_MSR], PAT);
    EXPECT(msr[TSC_ADJUST], 0);
    static const uint8_t zero[] = {SYSENTER_CS, SYSENTER_ESP, SYSENTER_EIP, DEBUGCTL,
                                   STAR,        LSTAR,        FMASK,        KERNEL_GS};
    for (unsigned i = 0; i < sizeof(zero); i++)
        EXPECT(msr[zero[i]], 0);
    CHECK(rdmsr(0x1b) & BSP, "after %s the boot vCPU is not the bootstrap processor", after);
}

static void check_init(const volatile struct found *f)
{
    check_common(f);
    EXPECT(cr[0], CD_NW | 0x10);
    EXPECT(x87.control & 0xffff, 0x27f);
    EXPECT(x87.tag & 0xffff, 0x3fff); /* one register is in use */
    EXPECT(mxcsr, 0x5f80);
    for (unsigned i = 0; i < 16; i++)
        EXPECT(xmm3[i], 0xa0 + i);
    EXPECT(xcr0, old_xcr0);
    for (unsigned i = 0; i < TSC; i++)
        if (i != EFER)
            EXPECT(msr[i], old[i]);
    CHECK(f->msr[TSC] > old[TSC], "after INIT the TSC is %lx, was %lx", f->msr[TSC], old[TSC]);
}

/* Everything that INIT leaves, and what it does not. */
static void make_dirty(void)
{
    static uint8_t xmm[16] __attribute__((aligned(16)));
    uint16_t control = 0x27f;
    uint32_t mxcsr = 0x5f80;

    for (unsigned i = 0; i < 16; i++)
        xmm[i] = (uint8_t)(0xa0 + i);
    asm volatile("fninit; fldcw %0; fld1; ldmxcsr %1; movaps %2, %%xmm3" ::"m"(control), "m"(mxcsr),
                 "m"(xmm)
                 : "memory");
    WRITE_CR(2, 0x12345000);
    WRITE_DR(0, 0x1000);
    WRITE_DR(1, 0x2000);
    WRITE_DR(2, 0x3000);
    WRITE_DR(3, 0x4000);
    WRITE_DR(6, 0xffff0ff5);
    for (unsigned i = SYSENTER_CS; i <= SYSENTER_EIP; i++)
        wrmsr(msr_number[i], 0x100 * i);
    wrmsr(0x277, 0x0007040600070404);
    wrmsr(0x1d9, 2);
    wrmsr(msr_number[STAR], 0x0010000800000000);
    wrmsr(msr_number[LSTAR], 0x123000);
    wrmsr(msr_number[FMASK], 0x700);
    wrmsr(msr_number[KERNEL_GS], 0x456000);
    wrmsr(0x3b, 0x100000);
    if (cpuid(1, 0).ecx >> 26 & 1) {
        WRITE_CR(4, READ_CR(4) | BIT(18));
        old_xcr0 = 3;
        asm volatile("xsetbv" ::"a"(3), "d"(0), "c"(0) : "memory");
    }
    asm volatile("wbinvd" ::: "memory");
    WRITE_CR(0, READ_CR(0) | CD_NW);
    for (unsigned i = 0; i < MSRS; i++)
        old[i] = rdmsr(msr_number[i]);
}

static void live(unsigned self)
{
    make_dirty();
    dirty = 1;
    for (;;)
        asm volatile("cli; hlt" ::: "memory");
}

/* And its own flag for the other's. */
static void take_the_flag(unsigned self)
{
    make_dirty();
    wrmsr(0x1b, rdmsr(0x1b) | BSP);
    dirty = 1;
    for (;;)
        asm volatile("cli; hlt" ::: "memory");
}

static void run_dirty(void (*main)(unsigned self))
{
    dirty = 0;
    smp_prepare(false, main);
    smp_restart(1);
    CHECK(smp_wait(&dirty, 1), "vCPU 1 does not run");
}

void test(void)
{
    bool second = cmos_read(BYTE_OF_RUN) == SECOND_RUN;

    cmos_write(BYTE_OF_RUN, second ? 0 : SECOND_RUN);
    after = second ? "RESET" : "power-up";
    CHECK(rdtsc() < 10 * tsc_hz(), "after %s the TSC is %lx", after, rdtsc());
    smp_prepare(false, live);
    start(false);
    check_reset(found());
    if (second)
        return;
    run_dirty(live);
    after = "INIT";
    start(true);
    check_init(found());
    run_dirty(take_the_flag);
    wrmsr(0x1b, rdmsr(0x1b) & ~BSP);
    make_dirty();
    delay_us(100000);
    outb(0xcf9, 2);
    outb(0xcf9, 6);
    delay_us(100000);
    fail("the reset did not come");
}
