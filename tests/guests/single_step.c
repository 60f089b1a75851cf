/* RFLAGS.TF traps behind every instruction, emulated ones included, each exactly once. */
#include "guest.h"

static uint64_t traps[32];
static unsigned count;
static uint64_t dr6;

static void on_debug(struct frame *f)
{
    dr6 = READ_DR(6);
    WRITE_DR(6, 0xffff0ff0);
    if (count < ARRAY_SIZE(traps))
        traps[count++] = f->rip;
}

extern const uint32_t step_marks[];
extern const uint64_t step_count;
extern uint8_t step_hypercall[];
uint64_t step_run(void);

void test(void)
{
    handle(DB, on_debug);
    lapic_on(true);
    if (!(cpuid(1, 0).ecx >> 31)) /* no hypervisor: a NOP of the same length */
        memcpy(step_hypercall, "\x0f\x1f\x00", 3);
    uint64_t base = step_run();
    for (unsigned i = 0; i < step_count; i++)
        CHECK(i < count && traps[i] == base + step_marks[i], "trap %u of %u at +%lx, not at +%x", i,
              count, i < count ? traps[i] - base : 0, step_marks[i]);
    CHECK(dr6 == 0xffff4ff0, "DR6 is %lx", dr6);
}
