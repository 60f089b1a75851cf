/* The IDT: exceptions end in a panic, interrupts go to whoever registered their vector. */
#pragma once

#include "arch/x86/lib/types.h"

/* Who has which vector. The priority class is the high digit. */
#define VECTOR_ISA      0x30 /* + IRQ 0-15 */
#define VECTOR_PCI      0x50 /* ... 0xbf: for drivers */
#define VECTOR_KICK     0xe0 /* fixed IPI to another CPU */
#define VECTOR_TIMER    0xe8 /* this CPU's one-shot timer */
#define VECTOR_SPURIOUS 0xff

/* As the stubs in interrupts.asm push it. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

/* Fill in the one IDT that all CPUs share (once), and load it (each CPU). */
void idt_init(void);
void idt_load(void);

/*
 * Call fn(arg) for each interrupt of vector 32-255, with IF=0; the EOI follows when fn returns.
 * -EINVAL for a vector out of range, -EBUSY when it is taken. fn NULL gives the vector back.
 */
int interrupt_register(unsigned vector, void (*fn)(void *), void *arg);
/* An external interrupt that the IDT did not see: from a VM exit that acknowledged it. IF is 0. */
void interrupt_dispatch(unsigned vector);
/* Called with each vector that is dispatched, before its handler; NULL: nobody. */
void interrupt_set_observer(void (*fn)(unsigned vector));

/*
 * After an NMI exit host NMIs stay blocked until an IRET (SDM, "Event Blocking"): count the NMI and
 * execute one.
 */
static inline void nmi_dispatch(void)
{
    __asm__ volatile("int $2" : : : "memory");
}

/*
 * Run fn once; when it raises an exception, give up and return false instead of panicking. For
 * probing MSRs that may not exist and for calling firmware. Not nested.
 */
bool trap_try(void (*fn)(void *), void *arg);
/* RDMSR and WRMSR that survive a #GP: false then. */
bool rdmsr_safe(uint32_t msr, uint64_t *value);
bool wrmsr_safe(uint32_t msr, uint64_t value);

/* The interrupt stubs' C side. */
void trap_handle(struct trap_frame *frame);

const char *exception_name(unsigned vector);
