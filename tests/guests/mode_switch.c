/* From 64-bit mode to 32-bit protected mode, to real mode, and all the way back, several times. */
#include "guest.h"

extern uint8_t modes_code[], modes_end[];
uint32_t modes_run(void); /* in low memory: see the .asm */

#define LOW 0x20000ULL

void test(void)
{
    memcpy((void *)LOW, modes_code, (size_t)(modes_end - modes_code));
    uint32_t (*run)(void) = (uint32_t(*)(void))LOW;
    for (unsigned i = 0; i < 20; i++) {
        uint32_t seen = run();
        CHECK(seen & 1, "32-bit mode did not work");
        CHECK(seen & 2, "EFER.LMA was set without paging");
        CHECK(seen & 4, "real mode did not work");
        CHECK(seen & 8, "an exit in real mode went wrong");
        CHECK(seen & 16, "EFER.LMA is clear in compatibility mode");
        CHECK(seen & 32, "a software interrupt in real mode went wrong");
        CHECK((rdmsr(0xc0000080) & 0x500) == 0x500 && (READ_CR(0) & 0x80000001) == 0x80000001,
              "back in 64-bit mode: EFER %lx, CR0 %lx", rdmsr(0xc0000080), READ_CR(0));
    }
}
