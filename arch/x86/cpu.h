/* The instructions that C has no words for. */
#pragma once

#include "arch/x86/count.h"
#include "arch/x86/lib/types.h"
#include "arch/x86/msr.h"
#include "arch/x86/regs.h"

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;

    COUNT(msr);
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
    COUNT(msr);
    __asm__ volatile("wrmsr"
                     :
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

#if __STDC_HOSTED__
uint64_t test_tsc(void) __attribute__((weak)); /* a unit test may have a clock of its own */
#endif

static inline uint64_t rdtsc(void)
{
#if __STDC_HOSTED__
    if (test_tsc)
        return test_tsc();
#endif
    uint64_t low, high; /* the instruction clears their upper halves */
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return high << 32 | low;
}

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r;
    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

/* For pure code, which asks it by a callback. */
static inline void probe_cpuid(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    struct cpuid r = cpuid(leaf, subleaf);

    regs[0] = r.eax;
    regs[1] = r.ebx;
    regs[2] = r.ecx;
    regs[3] = r.edx;
}

#define CPU_CONTROL_REGISTER(name, reg)                                                            \
    static inline uint64_t read_##name(void)                                                       \
    {                                                                                              \
        uint64_t v;                                                                                \
        __asm__ volatile("mov %%" reg ", %0" : "=r"(v) : : "memory");                              \
        return v;                                                                                  \
    }                                                                                              \
    static inline void write_##name(uint64_t v)                                                    \
    {                                                                                              \
        __asm__ volatile("mov %0, %%" reg : : "r"(v) : "memory");                                  \
    }
CPU_CONTROL_REGISTER(cr0, "cr0")
CPU_CONTROL_REGISTER(cr2, "cr2")
CPU_CONTROL_REGISTER(cr3, "cr3")
CPU_CONTROL_REGISTER(cr4, "cr4")
CPU_CONTROL_REGISTER(cr8, "cr8")
CPU_CONTROL_REGISTER(dr0, "dr0")
CPU_CONTROL_REGISTER(dr1, "dr1")
CPU_CONTROL_REGISTER(dr2, "dr2")
CPU_CONTROL_REGISTER(dr3, "dr3")
CPU_CONTROL_REGISTER(dr6, "dr6")
CPU_CONTROL_REGISTER(dr7, "dr7")
#undef CPU_CONTROL_REGISTER

/* XCR registers: CR4.OSXSAVE must be set. */
static inline uint64_t xgetbv(uint32_t index)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(index));
    return (uint64_t)high << 32 | low;
}

static inline void xsetbv(uint32_t index, uint64_t value)
{
    __asm__ volatile("xsetbv"
                     :
                     : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

static inline uint8_t inb(uint16_t port)
{
    uint8_t v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline uint16_t inw(uint16_t port)
{
    uint16_t v;
    __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline uint32_t inl(uint16_t port)
{
    uint32_t v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline void outb(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void outw(uint16_t port, uint16_t v)
{
    __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

/* Forget all translations, also global ones, and what was decoded ahead of code that has changed:
 * MOV to CR4 serialises. */
static inline void cpu_forget_all(void)
{
    uint64_t cr4 = read_cr4();

    write_cr4(cr4 & ~(uint64_t)CR4_PGE);
    write_cr4(cr4);
}

static inline void invlpg(const void *va)
{
    __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
}

static inline void wbinvd(void)
{
    __asm__ volatile("wbinvd" : : : "memory");
}

/* The line that holds this byte is in memory as it is in the caches, once a fence has passed. */
static inline void clflush(const void *p)
{
    __asm__ volatile("clflush %0" : : "m"(*(const char *)p) : "memory");
}

static inline void cpu_pause(void)
{
    __asm__ volatile("pause" : : : "memory");
}

static inline void cpu_hlt(void)
{
    __asm__ volatile("hlt" : : : "memory");
}

static inline void cpu_cli(void)
{
    __asm__ volatile("cli" : : : "memory");
}

static inline void cpu_sti(void)
{
    __asm__ volatile("sti" : : : "memory");
}

/* Wait for the next interrupt and take it. STI's shadow covers HLT, so that no wake-up falls
 * between the two. */
static inline void cpu_idle_once(void)
{
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}

static inline uint64_t read_rflags(void)
{
    uint64_t v;
    __asm__ volatile("pushfq; popq %0" : "=r"(v) : : "memory");
    return v;
}

#define CPU_SEGMENT(name)                                                                          \
    static inline uint16_t read_##name(void)                                                       \
    {                                                                                              \
        uint16_t v;                                                                                \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(v));                                         \
        return v;                                                                                  \
    }
CPU_SEGMENT(cs)
CPU_SEGMENT(ss)
CPU_SEGMENT(ds)
CPU_SEGMENT(es)
CPU_SEGMENT(fs)
CPU_SEGMENT(gs)
#undef CPU_SEGMENT

static inline uint16_t read_tr(void)
{
    uint16_t v;
    __asm__ volatile("str %0" : "=r"(v));
    return v;
}

struct PACKED descriptor_table {
    uint16_t limit;
    uint64_t base;
};

static inline struct descriptor_table read_gdtr(void)
{
    struct descriptor_table d;
    __asm__ volatile("sgdt %0" : "=m"(d));
    return d;
}

static inline struct descriptor_table read_idtr(void)
{
    struct descriptor_table d;
    __asm__ volatile("sidt %0" : "=m"(d));
    return d;
}

/*
 * The control registers as root mode wants them: WP, NE, NX, SMEP and SMAP where the CPU has them,
 * caches on, CET off, CR4.OSXSAVE, and a PAT with write-combining. Each processor calls it once, on
 * our page tables.
 */
void cpu_setup(void);

/* RDRAND and RDSEED, once: whether there was a word. Where a test runs, its own. */
bool cpu_has_rdrand(void);
bool cpu_has_rdseed(void);
#if __STDC_HOSTED__
bool rdrand_step(uint64_t *out);
bool rdseed_step(uint64_t *out);
#else
static inline bool rdrand_step(uint64_t *out)
{
    bool ok;

    __asm__ volatile("rdrand %0" : "=r"(*out), "=@ccc"(ok));
    return ok;
}

static inline bool rdseed_step(uint64_t *out)
{
    bool ok;

    __asm__ volatile("rdseed %0" : "=r"(*out), "=@ccc"(ok));
    return ok;
}
#endif

/* Random bits from RDRAND when the CPU has it and it answers; false otherwise. */
bool cpu_random(uint64_t *out);

/* The revision of the microcode; 0 where none is told. It is another half of the MSR that has it
 * where the CPU is not Intel's. */
uint32_t cpu_microcode(bool intel);
