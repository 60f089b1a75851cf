/* Starting the other processors (SDM, "Multiple-Processor (MP) Initialization"). */
#pragma once

#include "arch/x86/percpu.h"
#include "boot/handover.h"

/*
 * Bring up all enabled CPUs of the hand-over. Each gets its per-CPU data, guarded stacks, the IDT,
 * control registers, PAT, MTRRs and APIC mode as the boot processor has them, and a TSC as close to
 * the boot processor's as can be had. When the last has answered or been given up, all of them call
 * ap_main(), which must not return, on their own stacks with IF=0. Those that do not come up are
 * told on the log and left out. Called once, by the boot processor.
 */
void smp_start(const struct handover *h, void (*ap_main)(void));

/* Guarded stacks for one CPU; the main one only when it has none yet. 0 or -ENOMEM. */
int processor_stacks(struct percpu_stacks *stacks) MUST_CHECK;
