#include "guest/board/wall_clock.h"

#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"

static int64_t base_seconds;
static uint64_t base_tsc;

void wall_clock_init(int64_t boot_time, uint64_t tsc)
{
    base_seconds = boot_time;
    base_tsc = tsc;
}

void wall_clock_now(int64_t *seconds, uint32_t *microseconds)
{
    uint64_t ticks = rdtsc() - base_tsc;

    *seconds = base_seconds + (int64_t)(ticks / tsc_hz);
    *microseconds = (uint32_t)(ticks % tsc_hz * 1000000 / tsc_hz);
}
