/* RFLAGS.RF as an exception pushes it, for instructions that a hypervisor carries out (SDM, "Resume
 * Flag" and "Instruction-Breakpoint Exception Condition"): a fault's is 1, a trap's 0; between two
 * repetitions of a string instruction it is 1 whatever comes. With it the error code, CR2, DR6 and
 * the address that is pushed. */
#include "guest.h"

#define RF   BIT(16)
#define HOLE 0x8000000000ULL /* beyond the page tables' 4 GiB */

/* One instruction that faults at 1: the vector, and what goes with a fault. */
#define FAULTS(what, vector_, error_, code, ...)                                                   \
    do {                                                                                           \
        uint64_t at_;                                                                              \
        WRITE_DR(6, 0xffff0ff0);                                                                   \
        asm volatile("lea 1f(%%rip), %0\n\tmov %0, faulting\n\tmovq $-1, caught\n\t"               \
                     "movq $77f, recover\n"                                                        \
                     "1:\t" code "\n77:\tmovq $0, recover"                                         \
                     : "=&r"(at_)                                                                  \
                     : __VA_ARGS__                                                                 \
                     : "memory", "cc");                                                            \
        check_fault(what, vector_, error_);                                                        \
    } while (0)

extern volatile uint64_t faulting;
volatile uint64_t faulting;

static void check_fault(const char *what, int64_t vector, uint64_t error)
{
    CHECK(caught.vector == vector, "%s: vector %ld, not %ld", what, caught.vector, vector);
    CHECK(caught.error == error, "%s: error code %lx", what, caught.error);
    CHECK(caught.rip == faulting, "%s: pushed rip %lx, not %lx", what, caught.rip, faulting);
    CHECK(caught.rflags & RF, "%s: a fault without RF: %lx", what, caught.rflags);
    CHECK(READ_DR(6) == 0xffff0ff0, "%s: DR6 %lx", what, READ_DR(6));
}

static void faults(void)
{
    struct regs one = cpuid(1, 0);

    FAULTS("RDMSR", GP, 0, "rdmsr", "c"(0x802)); /* which an APIC in xAPIC mode has not */
    FAULTS("WRMSR", GP, 0, "wrmsr", "c"(0x80b), "a"(0), "d"(0));
    FAULTS("WRMSR of a reserved bit", GP, 0, "wrmsr", "c"(0xc0000080), "a"(0x502), "d"(0));
    FAULTS("RDPMC", GP, 0, "rdpmc", "c"(0x40000000));
    FAULTS("MOV to CR0", GP, 0, "mov %1, %%cr0", "r"(BIT(31)));
    FAULTS("MOV to CR4", GP, 0, "mov %1, %%cr4", "r"(READ_CR(4) | BIT(63)));
    FAULTS("MOV to CR4 without PAE", GP, 0, "mov %1, %%cr4", "r"(READ_CR(4) & ~BIT(5)));
    FAULTS("MOV to CR8", GP, 0, "mov %1, %%cr8", "r"(16ULL));
    if (!(one.ecx >> 3 & 1))
        FAULTS("MONITOR", UD, 0, "monitor", "a"(faulting), "c"(0), "d"(0));
    FAULTS("VMXOFF", UD, 0, "vmxoff", "c"(0));
    FAULTS("VMREAD", UD, 0, "vmread %%rax, %%rbx", "c"(0));
    FAULTS("GETSEC", UD, 0, "getsec", "a"(0));
    if (one.ecx >> 26 & 1) {
        WRITE_CR(4, READ_CR(4) | BIT(18));
        FAULTS("XSETBV", GP, 0, "xsetbv", "c"(0), "a"(0), "d"(0));
        WRITE_CR(4, READ_CR(4) & ~BIT(18));
    }
    FAULTS("OUTS", PF, 0, "outsb", "S"(HOLE), "d"(0x80));
    CHECK(caught.cr2 == HOLE, "OUTS: CR2 %lx", caught.cr2);
    FAULTS("INS", PF, 2, "rep insb", "D"(HOLE + 5), "d"(0x80), "c"(3ULL));
    CHECK(caught.cr2 == HOLE + 5, "INS: CR2 %lx", caught.cr2);
    FAULTS("MOVS", PF, 2, "movsl", "S"(IOAPIC), "D"(HOLE + 7));
    CHECK(caught.cr2 == HOLE + 7, "MOVS: CR2 %lx", caught.cr2);
    CHECK(caught.cr2 == HOLE + 7 && READ_CR(2) == HOLE + 7, "CR2 does not stay");
    FAULTS("RDMSR", GP, 0, "rdmsr", "c"(0x802));
    CHECK(READ_CR(2) == HOLE + 7, "a #GP has changed CR2");
}

/* --- traps --- */

static struct event {
    uint64_t vector, rip, rflags, dr6;
} events[64];
static volatile unsigned count;

static void note(struct frame *f)
{
    if (count < ARRAY_SIZE(events))
        events[count++] = (struct event){f->vector, f->rip, f->rflags, READ_DR(6)};
    WRITE_DR(6, 0xffff0ff0);
    if (f->vector >= 32)
        lapic_eoi();
}

static void software_interrupt(struct frame *f)
{
    events[count++] = (struct event){f->vector, f->rip, f->rflags, 0};
}

static void traps(void)
{
    uint64_t after, repeated;

    handle(DB, note);
    count = 0;
    asm volatile("pushfq; orq $0x100, (%%rsp); popfq\n\t"
                 "rdmsr\n"
                 "1:\tcpuid\n\t"
                 "in $0x80, %%al\n\t"
                 "mov (%2), %%eax\n\t"
                 "pushfq; andq $~0x100, (%%rsp); popfq\n\t"
                 "lea 1b(%%rip), %0"
                 : "=&r"(after), "=&r"(repeated)
                 : "r"(IOAPIC), "c"(0x2ff)
                 : "rax", "rbx", "rdx", "memory", "cc");
    CHECK(count >= 4 && events[0].rip == after, "%u traps, the first at %+ld", count,
          (long)(events[0].rip - after));
    for (unsigned i = 0; i < 4; i++)
        CHECK(!(events[i].rflags & RF) && events[i].dr6 == 0xffff4ff0,
              "trap %u: rflags %lx, DR6 %lx", i, events[i].rflags, events[i].dr6);

    /* each repetition traps: RF says that there are more to come */
    uint64_t rsi = (uint64_t)events, rcx = 3;
    count = 0;
    asm volatile("pushfq; orq $0x100, (%%rsp); popfq\n\t"
                 "1:\trep outsb\n"
                 "2:\tpushfq; andq $~0x100, (%%rsp); popfq\n\t"
                 "lea 1b(%%rip), %0; lea 2b(%%rip), %1"
                 : "=&r"(repeated), "=&r"(after), "+S"(rsi), "+c"(rcx)
                 : "d"(0x80)
                 : "memory", "cc");
    CHECK(count >= 3, "%u traps of rep outsb", count);
    for (unsigned i = 0; i < 3; i++)
        CHECK(events[i].rip == (i < 2 ? repeated : after) && !(events[i].rflags & RF) == (i == 2),
              "repetition %u: trap at %+ld, rflags %lx", i, (long)(events[i].rip - repeated),
              events[i].rflags);

    handle(0x50, software_interrupt);
    count = 0;
    asm volatile("int $0x50" ::: "memory");
    CHECK(count == 1 && !(events[0].rflags & RF), "INT 50h: rflags %lx", events[0].rflags);
    handle(BP, software_interrupt);
    asm volatile("int3" ::: "memory");
    CHECK(count == 2 && !(events[1].rflags & RF), "INT3: rflags %lx", events[1].rflags);
}

/* An interrupt between two repetitions, and one behind an instruction. */
static void interrupts(void)
{
    static uint8_t bytes[2000];
    uint64_t repeated, after, rdi, rcx;

    handle(0x60, note);
    lapic_on(false);
    count = 0;
    lapic_self_ipi(0x60);
    rdi = (uint64_t)bytes, rcx = sizeof(bytes);
    asm volatile("sti\n"
                 "1:\trep insb\n"
                 "2:\tcli\n\t"
                 "lea 1b(%%rip), %0; lea 2b(%%rip), %1"
                 : "=&r"(repeated), "=&r"(after), "+D"(rdi), "+c"(rcx)
                 : "d"(COM1 + 7)
                 : "memory", "cc");
    CHECK(rcx == 0 && count == 1, "%u interrupts, rcx %lu", count, rcx);
    if (events[0].rip == repeated)
        CHECK(events[0].rflags & RF, "between two repetitions: rflags %lx", events[0].rflags);
    else
        CHECK(events[0].rip == after && !(events[0].rflags & RF), "at %+ld: rflags %lx",
              (long)(events[0].rip - after), events[0].rflags);

    count = 0;
    lapic_self_ipi(0x60);
    asm volatile("sti\n\t"
                 "mov (%1), %%eax\n"
                 "1:\tcli\n\t"
                 "lea 1b(%%rip), %0"
                 : "=&r"(after)
                 : "r"(IOAPIC)
                 : "rax", "memory", "cc");
    CHECK(count == 1 && events[0].rip == after && !(events[0].rflags & RF),
          "behind a device access: at %+ld, rflags %lx", (long)(events[0].rip - after),
          events[0].rflags);
}

/* An instruction breakpoint that RF has suppressed stays so for all the repetitions. */
static void breakpoint(void)
{
    static uint8_t bytes[700];
    uint64_t rdi = (uint64_t)bytes, rcx = sizeof(bytes);

    count = 0;
    WRITE_DR(7, 0x402); /* G0, execution */
    asm volatile("mov %%rsp, %%r8; mov %%ss, %%eax; push %%rax; push %%r8\n\t"
                 "pushfq; orq $0x10000, (%%rsp)\n\t"
                 "mov %%cs, %%eax; push %%rax\n\t"
                 "lea 1f(%%rip), %%rax; mov %%rax, %%db0; push %%rax; iretq\n"
                 "1:\trep insb"
                 : "+D"(rdi), "+c"(rcx)
                 : "d"(COM1 + 7)
                 : "rax", "r8", "memory", "cc");
    WRITE_DR(7, 0x400);
    CHECK(rcx == 0 && count == 0, "an instruction breakpoint under RF: hit %u times, rcx %lu",
          count, rcx);
}

void test(void)
{
    faults();
    traps();
    interrupts();
    breakpoint();
}
