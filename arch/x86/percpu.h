/*
 * What each CPU has for itself: found by the GS base in root mode, always (SWAPGS is never used; a
 * VM exit loads HOST_GS_BASE). The CPU's GDT and TSS live here too, so that each CPU has a TSS
 * descriptor of its own to mark busy.
 */
#pragma once

#include "arch/x86/lib/types.h"

/* Selectors: their low three bits are 0, as VM exits demand of host selectors, and TR and CS are
 * not 0. */
#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_TSS  0x18
#define GDT_ENTRIES   5 /* null, code, data, TSS (two) */

#define IST_NMI           1
#define IST_DOUBLE_FAULT  2
#define IST_MACHINE_CHECK 3
#define IST_COUNT         3

struct PACKED tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7]; /* IST n is ist[n - 1] */
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_map_base;
};
/* A VM exit sets TR's limit to 67h (SDM, "Loading Host Segment and Descriptor-Table Registers"):
 * nothing may lie behind. */
_Static_assert(sizeof(struct tss) == 0x68, "TSS");

/* A stack's memory; it has unmapped pages on either side. */
struct stack {
    uint64_t base, top;
};

struct percpu_stacks {
    struct stack main;
    struct stack ist[IST_COUNT];
};

/*
 * One thing to be done on another CPU, in the caller's storage: zeroed, fn and arg filled in. It
 * belongs to the target's queue until fn begins; fn may free it or queue it again.
 */
struct cpu_work {
    struct cpu_work *next;
    void (*fn)(void *arg);
    void *arg;
    uint32_t queued; /* atomic */
};

struct percpu {
    struct percpu *self; /* first: this_cpu() reads it at %gs:0 */
    uint32_t number;     /* 0 is the boot processor */
    uint32_t apic_id;
    void *task;    /* what this CPU's loop runs, or NULL; guest/run's */
    void *current; /* the vCPU that is it; guest/cpu's */
    void *vmx;     /* struct vmx_cpu of this CPU; vmx/'s */
    struct percpu_stacks stacks;
    volatile uint64_t nmi_count; /* NMIs taken in root mode */
    volatile uint32_t nmi_flag;  /* set by each NMI, cleared by who waits for it */
    uint32_t attention;          /* atomic: this CPU's loop has something to decide; guest/'s */
    uint64_t trap_recovery;      /* trap_try()'s stack pointer while it runs, else 0 */
    uint64_t interrupts;         /* taken or dispatched */
    uint64_t spurious;
    struct cpu_work *calls; /* what other CPUs want done here, newest first: arch/x86/smp.h */
    uint64_t kicks;         /* VECTOR_KICK interrupts taken */
    uint64_t calls_served;
    struct cpu_work hold; /* smp_hold()'s */
    int64_t tsc_skew;     /* of this CPU's TSC against the boot processor's, as last measured */
    uint64_t lock_ranks;  /* held now: two bits each, in a debug build */
    uint32_t stopped;     /* 1: halted for good */
    struct tss tss __attribute__((aligned(16)));
    uint64_t gdt[GDT_ENTRIES] __attribute__((aligned(16)));
};

static inline struct percpu *this_cpu(void)
{
    struct percpu *p;
    __asm__("movq %%gs:0, %0" : "=r"(p));
    return p;
}

/*
 * Fill in p and make it the calling CPU's: GDT, segment registers, TSS, GS base. The IDT is
 * idt_load()'s business. Runs on any stack.
 */
void percpu_load(struct percpu *p, uint32_t number, uint32_t apic_id,
                 const struct percpu_stacks *stacks);
