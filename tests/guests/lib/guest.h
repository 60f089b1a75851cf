/*
 * The test guests' runtime: a guest checks one architectural rule, says "PASS name" or "FAIL name:
 * what" on COM1 and powers the VM off. It runs in 64-bit mode at ring 0 on identity page tables of
 * the first 4 GiB, interrupts off.
 */
#pragma once

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/lib/types.h"

#define COM1        0x3f8
#define PM1_CONTROL 0x604
#define PM_TIMER    0x608
#define IOAPIC      0xfec00000ULL
#define LAPIC       0xfee00000ULL
#define PAGE_TABLES 0x2000ULL /* PML4, PDPT, four page directories, as the loader made them */

/* The test itself; returning is passing. */
void test(void);

/* --- verdicts --- */

void say(const char *fmt, ...) PRINTF(1, 2);
void fail(const char *fmt, ...) PRINTF(1, 2) NORETURN;
/* A failure in a VM; on a PC without Corbel a difference, behind which the test goes on. */
void wrong(const char *fmt, ...) PRINTF(1, 2);
void pass(void) NORETURN;
void power_off(void) NORETURN;
#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            wrong(__VA_ARGS__);                                                                    \
    } while (0)

/* --- instructions --- */

struct regs {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct regs cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct regs r;
    asm volatile("cpuid"
                 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                 : "a"(leaf), "c"(subleaf));
    return r;
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;
    asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high)::"memory");
    return (uint64_t)high << 32 | low;
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
    return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
    asm volatile("wrmsr" ::"c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

static inline uint8_t inb(uint16_t port)
{
    uint8_t v;
    asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}

static inline uint16_t inw(uint16_t port)
{
    uint16_t v;
    asm volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}

static inline uint32_t inl(uint16_t port)
{
    uint32_t v;
    asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}

static inline void outb(uint16_t port, uint8_t v)
{
    asm volatile("outb %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

static inline void outw(uint16_t port, uint16_t v)
{
    asm volatile("outw %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t v)
{
    asm volatile("outl %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

#define READ_CR(n)                                                                                 \
    ({                                                                                             \
        uint64_t cr_;                                                                              \
        asm volatile("mov %%cr" #n ", %0" : "=r"(cr_)::"memory");                                  \
        cr_;                                                                                       \
    })
#define WRITE_CR(n, v) asm volatile("mov %0, %%cr" #n ::"r"((uint64_t)(v)) : "memory")
#define READ_DR(n)                                                                                 \
    ({                                                                                             \
        uint64_t dr_;                                                                              \
        asm volatile("mov %%db" #n ", %0" : "=r"(dr_)::"memory");                                  \
        dr_;                                                                                       \
    })
#define WRITE_DR(n, v) asm volatile("mov %0, %%db" #n ::"r"((uint64_t)(v)) : "memory")

static inline void cli(void)
{
    asm volatile("cli" ::: "memory");
}

static inline void sti(void)
{
    asm volatile("sti" ::: "memory");
}

static inline uint32_t read32(uint64_t address)
{
    return *(volatile uint32_t *)address;
}

static inline void write32(uint64_t address, uint32_t value)
{
    *(volatile uint32_t *)address = value;
}

/* --- exceptions and interrupts --- */

struct frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

typedef void (*handler)(struct frame *f);
/* NULL: an exception there is a failure unless a TRY is under way. */
void handle(unsigned vector, handler h);

struct caught {
    int64_t vector; /* -1: nothing */
    uint64_t error, rip, cr2, rflags;
};
extern volatile struct caught caught;
extern volatile uint64_t recover;

/*
 * Run instructions that may fault; gives the vector of the exception, or -1. The rest of the
 * arguments are the asm statement's operands; the clobbers must name "memory".
 */
#define TRY(code, ...)                                                                             \
    ({                                                                                             \
        caught.vector = -1;                                                                        \
        asm volatile("movq $77f, recover\n\t" code "\n77:\tmovq $0, recover" __VA_ARGS__);         \
        (int)caught.vector;                                                                        \
    })

int try_rdmsr(uint32_t msr, uint64_t *value);
int try_wrmsr(uint32_t msr, uint64_t value);

enum { DE, DB, NMI, BP, OF, BR, UD, NM, DF, TS = 10, NP, SS, GP, PF, MF = 16, AC, MC, XM };

/* The IDT as it stands, and a gate in it: type 0eh interrupt, 0fh trap; ist 0-2. */
extern uint64_t idt[512];
void set_gate(unsigned vector, uint64_t address, unsigned type, unsigned dpl, unsigned ist);
void load_idt(const void *base, uint16_t limit);
extern uint64_t boot_gdt[];
extern uint8_t tss[];

/* --- time and interrupt controllers --- */

/* The TSC's frequency by CPUID leaf 15h; 100 MHz where there is none. */
uint64_t tsc_hz(void);
/* The APIC timer's: the crystal's of CPUID leaf 15h; the TSC's where there is none, as in Bochs. */
uint64_t apic_hz(void);
void delay_us(uint64_t us);
/* Local APIC on, in xAPIC or x2APIC mode, spurious vector ffh, everything else masked. */
void lapic_on(bool x2apic);
uint32_t lapic_read(unsigned offset); /* by the xAPIC offset in either mode */
void lapic_write(unsigned offset, uint32_t value);
void lapic_self_ipi(uint8_t vector);
void lapic_eoi(void);
void ioapic_write(uint8_t reg, uint32_t value);
uint32_t ioapic_read(uint8_t reg);
void ioapic_route(unsigned pin, uint64_t entry);
/* 8259s initialised to vectors base.. and base+8.., all masked. */
void pic_init(uint8_t base);
/* Channel 0 of the 8254 in the given mode. */
void pit_start(unsigned mode, uint16_t count);

/* boot_params as the loader left them. */
extern const uint8_t *boot_params;
/* 4 KiB page of CMOS RAM that survives a reset of the VM: one byte, index 50h. */
uint8_t cmos_read(uint8_t index);
void cmos_write(uint8_t index, uint8_t value);
/* A 4 KiB leaf for one address, splitting the loader's 2 MiB page; at most 16 such 2 MiB pages. */
uint64_t *page_entry(uint64_t address);
