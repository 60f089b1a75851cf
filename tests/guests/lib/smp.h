/*
 * Guests with several vCPUs. They have the APIC ids 0, 1, ... and each its own GDT, TSS and stack
 * of 4 KiB below 1 MiB; IDT and page tables are the boot vCPU's. All run with interrupts off until
 * they let them in. TRY is for one of them at a time.
 */
#pragma once

#include "guest.h"

#define SMP_MAX 64

#define SMP_INIT      0x4500u
#define SMP_STARTUP   (0x4600u | SMP_TRAMPOLINE >> 12)
#define SMP_NMI       0x4400u
#define SMP_FIXED(v)  (0x4000u | (v))
#define SMP_LOGICAL   BIT(11)
#define SMP_ALL       (2u << 18)
#define SMP_OTHERS    (3u << 18)
#define SMP_BROADCAST (~0u) /* as a destination */

/* Below 1 MiB; trampoline.asm knows them, too (smp.inc). */
#define SMP_TRAMPOLINE 0x10000u
#define SMP_AREAS      0x20000u
#define SMP_AREA_SIZE  0x1800u

/* How many vCPUs there are, by CPUID leaf 0Bh; fails when it is not from 1 to SMP_MAX. */
unsigned smp_count(void);
/* The number of the vCPU that asks. */
unsigned smp_self(void);
/* What each vCPU runs from its next start on; returning halts it for good. */
void smp_prepare(bool x2apic, void (*main)(unsigned self));
/* smp_prepare(), then INIT and two start-up IPIs to all others; waits for them. Returns
 * smp_count(). */
unsigned smp_start(bool x2apic, void (*main)(unsigned self));
/* INIT and one start-up IPI to one vCPU; does not wait for it. */
void smp_restart(unsigned id);
/* Send what icr says to APIC id (or logical address) dest, which a shorthand in icr overrules. */
void smp_send(uint32_t dest, uint32_t icr);
/* How often a vCPU has begun to run main. */
unsigned smp_starts(unsigned id);

/* Wait, for up to a second of the guest's time. Returns whether *what has become value. */
bool smp_wait(volatile uint32_t *what, uint32_t value);
/* Wait, for up to 20 seconds, until all vCPUs, count of them, have counted *done up; else a
 * failure. */
void smp_finish(volatile uint32_t *done, unsigned count);
/* All vCPUs meet here before any goes on; count of them. Fails after 10 seconds. */
void smp_meet(unsigned count);

static inline void pause(void)
{
    asm volatile("pause" ::: "memory");
}

static inline uint32_t add(volatile uint32_t *what, uint32_t n)
{
    return __atomic_add_fetch(what, n, __ATOMIC_SEQ_CST);
}
