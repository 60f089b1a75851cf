/* What several processors do with each other, tried on the machine itself: `[host] test_smp`. */
#pragma once

#include "boot/handover.h"
#include "arch/x86/lib/types.h"

/* Add processors to the hand-over's list that must be left out: one that is not there, and doubles.
 */
void processors_test_list(struct handover *h);
/*
 * All processors call each other, want one lock, and use the heap and the log, rounds times each;
 * one that is deaf has to be woken by NMI. Says on the log what it found. After smp_start(); the
 * others must serve their calls.
 */
void processors_test(unsigned rounds);
/* Panic on processor n; returns when there is none. */
void processors_test_panic(unsigned n);
