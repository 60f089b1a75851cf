/* A load of SS holds interrupts and single-step traps off for one instruction. */
#include "guest.h"

static uint64_t traps[8], taken;
static unsigned count;

static void on_debug(struct frame *f)
{
    if (count < ARRAY_SIZE(traps))
        traps[count++] = f->rip;
}

static void on_interrupt(struct frame *f)
{
    taken = f->rip;
    lapic_eoi();
}

void test(void)
{
    uint64_t at[3];
    lapic_on(true);
    handle(DB, on_debug);
    handle(0x50, on_interrupt);

    /* traps at 1 (after POPF's next instruction), none at 2 (after MOV SS), at 3 (after what
     * follows it) */
    asm volatile("lea 1f(%%rip), %0; lea 3f(%%rip), %1\n\t"
                 "pushfq; orq $0x100, (%%rsp); popfq; nop\n"
                 "1:\tmov %%ss, %%ecx; mov %%ecx, %%ss; nop\n"
                 "3:\tpushfq; andq $~0x100, (%%rsp); popfq"
                 : "=&r"(at[0]), "=&r"(at[1])::"rcx", "memory");
    CHECK(count >= 3 && traps[0] == at[0], "first trap at %lx, not %lx", traps[0], at[0]);
    CHECK(traps[2] == at[1], "after MOV SS a trap at %lx, not at %lx", traps[2], at[1]);

    /* the same with an instruction that exits behind MOV SS */
    count = 0;
    asm volatile("lea 3f(%%rip), %0\n\t"
                 "pushfq; orq $0x100, (%%rsp); popfq; mov %%ss, %%esi; mov %%esi, %%ss; cpuid\n"
                 "3:\tpushfq; andq $~0x100, (%%rsp); popfq"
                 : "=&D"(at[0])
                 : "a"(0), "c"(0)
                 : "rbx", "rdx", "rsi", "memory");
    CHECK(count >= 2 && traps[1] == at[0], "after MOV SS; CPUID a trap at %lx, not at %lx",
          traps[1], at[0]);

    /* interrupts on, then one requested by the instruction in the shadow of MOV SS: taken behind it
     */
    asm volatile("mov %%ss, %%esi; lea 3f(%%rip), %%rdi; sti; nop; mov %%esi, %%ss; wrmsr; 3: nop; "
                 "nop; cli; mov %%rdi, %0"
                 : "=r"(at[0])
                 : "c"(0x83f), "a"(0x50), "d"(0)
                 : "rsi", "rdi", "memory");
    CHECK(taken == at[0], "interrupt at %lx, not at %lx", taken, at[0]);
}
