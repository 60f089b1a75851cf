/* Debug registers keep their values over exits, and breakpoints on code and data trap where they
 * should. */
#include "guest.h"

static uint64_t dr6, rip;
static unsigned count;
static volatile uint32_t watched;
extern uint8_t break_here[];

static void on_debug(struct frame *f)
{
    dr6 = READ_DR(6);
    WRITE_DR(6, 0xffff0ff0);
    rip = f->rip;
    count++;
    f->rflags |= BIT(16); /* RF: go on over a code breakpoint */
}

void test(void)
{
    handle(DB, on_debug);
    WRITE_DR(0, 0x1111111111ULL);
    WRITE_DR(1, 0x2222222222ULL);
    WRITE_DR(2, 0x3333333333ULL);
    WRITE_DR(3, 0x4444444444ULL);
    for (unsigned i = 0; i < 10; i++) {
        cpuid(0, 0);
        inb(COM1 + 7);
        CHECK(READ_DR(0) == 0x1111111111ULL && READ_DR(1) == 0x2222222222ULL &&
                  READ_DR(2) == 0x3333333333ULL && READ_DR(3) == 0x4444444444ULL,
              "DR0-3 changed: %lx %lx", READ_DR(0), READ_DR(3));
    }
    CHECK(READ_DR(7) == 0x400, "DR7 starts as %lx", READ_DR(7));

    WRITE_DR(0, (uint64_t)break_here);
    WRITE_DR(7, 0x402);
    asm volatile("nop; .globl break_here; break_here: cpuid"
                 : "+a"(count), "+c"(count)::"rbx", "rdx", "memory");
    WRITE_DR(7, 0x400);
    CHECK(dr6 == 0xffff0ff1 && rip == (uint64_t)break_here, "code breakpoint: DR6 %lx, rip %lx",
          dr6, rip);

    uint64_t after;
    WRITE_DR(1, (uint64_t)&watched);
    WRITE_DR(7, 0xd00408);
    count = 0;
    asm volatile("lea 1f(%%rip), %0; movl $5, %1; 1: nop" : "=r"(after), "=m"(watched)::"memory");
    WRITE_DR(7, 0x400);
    CHECK(count == 1 && dr6 == 0xffff0ff2 && rip == after,
          "data breakpoint: %u traps, DR6 %lx, rip %lx", count, dr6, rip);

    count = 0;
    WRITE_DR(7, 0x2400); /* GD */
    asm volatile("mov %%db0, %%rax" ::: "rax", "memory");
    CHECK(count == 1 && (dr6 & BIT(13)), "general detect: %u traps, DR6 %lx", count, dr6);
    CHECK(!(READ_DR(7) & 0x2000), "general detect did not clear itself");
    handle(DB, NULL);
    CHECK(TRY("mov %0, %%db7", ::"r"(BIT(32) | 0x400) : "memory") == GP, "DR7 takes bit 32");
    CHECK(TRY("mov %0, %%db6", ::"r"(BIT(32)) : "memory") == GP, "DR6 takes bit 32");
    WRITE_CR(4, READ_CR(4) | BIT(3));
    CHECK(TRY("mov %%db4, %%rax", ::: "rax", "memory") == UD, "DR4 exists under CR4.DE");
}
