/* What the benchmarks' guests share: the TSC as it is, an interrupt's shortest handler, and what
 * many samples say. */
#pragma once

#include "smp.h"

#define RUNS     200
#define DRAIN_US 20000 /* until what was said last has left the serial port: that costs exits */
#define VECTOR   0x61

static inline uint64_t ticks(void)
{
    uint32_t low, high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
    return (uint64_t)high << 32 | low;
}

#define WRMSR(msr, value)                                                                          \
    asm volatile("wrmsr" ::"c"(msr), "a"((uint32_t)(value)), "d"((uint32_t)((value) >> 32))        \
                 : "memory")
#define WAIT(condition)                                                                            \
    while (!(condition))                                                                           \
    asm volatile("" ::: "memory")

extern volatile uint64_t taken, taken_at;
volatile uint64_t taken, taken_at;
extern char on_interrupt[];

/* The interrupt's handler, as short as one can be: the time, and EOI in x2APIC mode. */
asm(".pushsection .text\n"
    "on_interrupt:\n"
    "	push %rax\n	push %rcx\n	push %rdx\n"
    "	rdtsc\n	shl $32, %rdx\n	or %rdx, %rax\n"
    "	mov %rax, taken_at\n	incq taken\n"
    "	mov $0x80b, %ecx\n	xor %eax, %eax\n	xor %edx, %edx\n	wrmsr\n"
    "	pop %rdx\n	pop %rcx\n	pop %rax\n	iretq\n"
    ".popsection");

struct samples {
    unsigned count;
    uint64_t value[RUNS]; /* in ascending order */
};

static inline bool full(const struct samples *s)
{
    return s->count == RUNS;
}

static inline void sample(struct samples *s, uint64_t value)
{
    unsigned at = s->count;

    if (full(s))
        return;
    for (; at && s->value[at - 1] > value; at--)
        s->value[at] = s->value[at - 1];
    s->value[at] = value;
    s->count++;
}

/* "sample NAME LEAST MEDIAN MOST" */
static inline void say_samples(const char *name, const struct samples *s)
{
    if (s->count)
        say("sample %s %lu %lu %lu\n", name, s->value[0], s->value[s->count / 2],
            s->value[s->count - 1]);
}
