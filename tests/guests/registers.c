/* Every general register is after an exit what it was before. */
#include "guest.h"

#define COUNT 15

extern uint64_t registers_before[COUNT], registers_after[COUNT];
uint64_t registers_before[COUNT], registers_after[COUNT];
void registers_run(unsigned how);

void test(void)
{
    static const char *const names[COUNT] = {"RAX", "RCX", "RDX", "RBX", "RBP", "RSI", "R8", "R9",
                                             "R10", "R11", "R12", "R13", "R14", "R15", "RDI"};
    static const char *const ways[] = {"OUT", "a store to a device", "WBINVD"};

    for (unsigned way = 0; way < ARRAY_SIZE(ways); way++) {
        for (unsigned i = 0; i < COUNT; i++)
            registers_before[i] = 0x9e3779b97f4a7c15 * (way * COUNT + i + 1);
        registers_run(way);
        for (unsigned i = 0; i < COUNT; i++)
            CHECK(registers_after[i] == registers_before[i], "%s: %s is %lx, was %lx", ways[way],
                  names[i], registers_after[i], registers_before[i]);
    }
}
