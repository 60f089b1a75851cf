/* STI holds interrupts off for one more instruction, also when that instruction is emulated. */
#include "guest.h"

static uint64_t taken;
static unsigned count;

static void on_interrupt(struct frame *f)
{
    taken = f->rip;
    count++;
    lapic_eoi();
}

#define SHADOW(name, first, ...)                                                                   \
    do {                                                                                           \
        uint64_t after_;                                                                           \
        taken = 0;                                                                                 \
        lapic_self_ipi(0x50);                                                                      \
        asm volatile("lea 1f(%%rip), %0; sti; " first "; 1: nop; nop; cli"                         \
                     : "=&S"(after_)__VA_ARGS__);                                                  \
        CHECK(taken == after_, name ": interrupt at %lx, not at %lx", taken, after_);              \
    } while (0)

void test(void)
{
    lapic_on(true);
    handle(0x50, on_interrupt);
    SHADOW("NOP", "nop", ::"memory");
    SHADOW("CPUID", "cpuid", : "a"(0), "c"(0) : "rbx", "rdx", "memory");
    SHADOW("OUT", "outb %%al, $0x80", : "a"(0) : "memory");
    SHADOW("RDMSR", "rdmsr", : "c"(0x2ff) : "rax", "rdx", "memory");
    CHECK(count == 4, "%u interrupts of 4", count);
    lapic_self_ipi(0x50);
    asm volatile("sti; cli; nop" ::: "memory");
    CHECK(count == 4, "STI; CLI let an interrupt in");
    asm volatile("sti; nop; cli" ::: "memory");
    CHECK(count == 5, "the interrupt was lost");
}
