/* INT3, INT1, INT n and UD2: the right vector, and the saved RIP before or behind the instruction.
 */
#include "guest.h"

static struct frame last;
static uint64_t seen;

static void on_any(struct frame *f)
{
    last = *f;
    seen = f->vector;
    if (f->vector == UD)
        f->rip += 2;
}

#define SOFT(name, vector, code, behind)                                                           \
    do {                                                                                           \
        uint64_t begin_, end_;                                                                     \
        seen = 999;                                                                                \
        asm volatile("lea 1f(%%rip), %0; lea 2f(%%rip), %1\n1: " code "\n2:"                       \
                     : "=&r"(begin_), "=&r"(end_)::"memory");                                      \
        CHECK(seen == (vector), name " gives vector %lu", seen);                                   \
        CHECK(last.rip == ((behind) ? end_ : begin_), name ": rip %lx of %lx-%lx", last.rip,       \
              begin_, end_);                                                                       \
    } while (0)

void test(void)
{
    handle(DB, on_any);
    handle(BP, on_any);
    handle(OF, on_any);
    handle(UD, on_any);
    handle(0x20, on_any);
    handle(0x80, on_any);
    handle(0xff, on_any);
    SOFT("INT3", BP, "int3", true);
    SOFT("INT 3", BP, ".byte 0xcd, 3", true);
    SOFT("INT1", DB, ".byte 0xf1", true);
    SOFT("INT 4", OF, "int $4", true);
    SOFT("INT 20h", 0x20, "int $0x20", true);
    SOFT("INT 80h", 0x80, "int $0x80", true);
    SOFT("INT FFh", 0xff, "int $0xff", true);
    SOFT("UD2", UD, "ud2", false);
    handle(OF, NULL);
    idt[2 * OF] &= ~BIT(47); /* not present */
    int vector = TRY("int $4", ::: "memory");
    CHECK(vector == NP && caught.error == OF * 8 + 2, "INT 4 without a gate: vector %d, error %lx",
          vector, caught.error);
    load_idt(idt, 16 * 32 - 1);
    vector = TRY("int $0x80", ::: "memory");
    CHECK(vector == GP && caught.error == 0x80 * 8 + 2,
          "INT 80h beyond the IDT: vector %d, error %lx", vector, caught.error);
}
