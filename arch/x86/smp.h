/*
 * Several CPUs: which there are, making one look at its work, running a function on one, stopping
 * them all. drivers/processors.h brings them up.
 */
#pragma once

#include "arch/x86/percpu.h"

/* More than these are left out, and said so. */
#define SMP_CPUS_MAX 256

/*
 * How many CPUs are online; they have the numbers 0 to smp_cpus - 1, 0 is the boot processor. It is
 * 1 until smp_start(), and no longer changes when the first ap_main() runs.
 */
extern unsigned smp_cpus;

/* n must be below smp_cpus. */
struct percpu *cpu_by_number(unsigned n);
/* The CPU with the next number is online; the boot processor is the first. Called by it alone. */
void smp_add_cpu(struct percpu *cpu);

/* --- cross-CPU work --- */

/*
 * Make CPU n leave its guest or its HLT, and look at what it has to do: a fixed IPI (VECTOR_KICK)
 * whose handler does nothing. A CPU in root mode leaves its next guest stay, or HLT, at once. Does
 * nothing when n is the calling CPU.
 */
void cpu_kick(unsigned n);

/*
 * Run work->fn on CPU n soon, in root mode with IF=0 and no lock held, in the order of calls; does
 * not wait. On the calling CPU, too, it runs when the queue is served next. Returns false when the
 * work was queued already and has not begun: it will run once, and see whatever the caller wrote
 * before.
 */
bool cpu_call_async(unsigned n, struct cpu_work *work);

/*
 * Run fn(arg) on CPU n as above and wait until it has returned. Meanwhile the calling CPU serves
 * those who wait for it, so that two CPUs may call each other; fn itself must not wait for another
 * CPU. Work that nobody waits for keeps until the queue is served next: it may be the end of what
 * the caller has in his hands. A CPU that does not answer within 100 us gets an NMI, and another
 * each millisecond. No lock may be held.
 */
void cpu_call(unsigned n, void (*fn)(void *arg), void *arg);

/*
 * Run alone(arg) while all other CPUs stand still in a loop with their interrupts off, and then
 * each(arg) on every CPU, before it does anything else. While the machine comes up: the boot
 * processor calls it, no other CPU is waiting for another, and no lock may be held.
 */
void smp_hold(void (*alone)(void *arg), void (*each)(void *arg), void *arg);

/*
 * Do what others have queued for this CPU. To be called with IF=0 and no lock held, after each exit
 * that a kick or an NMI caused, before each VM entry from the run loop and before each HLT.
 */
void smp_serve(struct percpu *cpu);
static inline void cpu_serve_calls(void)
{
    struct percpu *cpu = this_cpu();

    if (UNLIKELY(__atomic_load_n(&cpu->calls, __ATOMIC_RELAXED) != NULL))
        smp_serve(cpu);
}

/* --- the end --- */

/*
 * Stop all other CPUs for good by NMI, wherever they are; waits at most 100 ms. Locks are not
 * waited for any more then. Returns how many did not answer. When another CPU is at it already, the
 * calling one is stopped.
 */
unsigned smp_stop_others(void);
/*
 * What a CPU has to do before it stops for good or the machine is restarted; NULL: nothing. It may
 * have been interrupted anywhere, by an NMI.
 */
extern void (*smp_leave)(void);
/* For the NMI handler: stop here when somebody has asked for it. */
void smp_stop_if_asked(struct percpu *cpu);
