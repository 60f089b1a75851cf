#include "guest/cpu/progress.h"

static uint64_t mix(const uint64_t gpr[16])
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < 16; i++)
        sum = (sum << 7 | sum >> 57) + gpr[i];
    return sum;
}

bool progress_none(struct progress *p, uint64_t rip, uint64_t what, const uint64_t gpr[16],
                   uint64_t exits)
{
    uint64_t registers = mix(gpr);
    bool same =
        p->rip == rip && p->what == what && p->registers == registers && p->exits + 1 == exits;

    p->count = same ? p->count + 1 : 0;
    p->rip = rip;
    p->what = what;
    p->registers = registers;
    p->exits = exits;
    return p->count < PROGRESS_BOUND;
}
