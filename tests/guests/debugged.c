/* What tests/machine/gdb.py looks at through a debugger. Without one it passes as well: whatever
 * the debugger does, this must not see it. */
#include "guest.h"

#define NOINLINE __attribute__((noinline, noclone))

static volatile uint64_t counter, watched;
static volatile unsigned breaks, traps;
static volatile uint64_t dr6;

static void on_break(struct frame *f)
{
    breaks++;
}

static void on_debug(struct frame *f)
{
    traps++;
    dr6 = READ_DR(6);
    WRITE_DR(6, 0xffff0ff0);
}

NOINLINE static void inner(uint64_t n)
{
    counter += n;
}

NOINLINE static void outer(uint64_t n)
{
    inner(n);
    watched = n * 16;
}

/* Instructions that show TF, or that Corbel carries out. */
NOINLINE static uint64_t stepped(void)
{
    uint64_t flags;
    uint32_t leaf = 0, b, c, d;

    asm volatile(".globl step_here\nstep_here: pushfq\n pop %0\n nop\n nop\n"
                 : "=r"(flags)::"memory");
    asm volatile("cpuid\n nop" : "+a"(leaf), "=b"(b), "=c"(c), "=d"(d));
    asm volatile("pushfq\n popfq\n nop\n.globl step_end\nstep_end: nop" ::: "memory", "cc");
    return flags;
}

void test(void)
{
    handle(BP, on_break);
    handle(DB, on_debug);
    for (uint64_t i = 1; i <= 3; i++)
        outer(i);
    CHECK(counter == 6, "counter is %lu", counter);
    asm volatile("int3"); /* its own */
    CHECK(breaks == 1, "%u breakpoints of its own", breaks);
    uint64_t flags = stepped();
    CHECK(!(flags & 0x100), "TF shows in the flags: %lx", flags);
    WRITE_DR(0, 0x123456789aUL);
    CHECK(READ_DR(0) == 0x123456789a, "DR0 is %lx", READ_DR(0));
    CHECK(READ_DR(7) == 0x400, "DR7 is %lx", READ_DR(7));
    CHECK(traps == 0, "%u debug exceptions", traps);
    WRITE_DR(7, 0x2400); /* GD: the next access is a fault, whose handler finds GD clear */
    CHECK(READ_DR(0) == 0x123456789a && traps == 1, "GD: %u debug exceptions", traps);
    CHECK(dr6 == 0xffff2ff0, "GD: DR6 %lx", dr6);
    CHECK(READ_DR(7) == 0x400 && traps == 1, "DR7 is %lx after that", READ_DR(7));
}
