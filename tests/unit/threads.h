/*
 * For tests whose threads stand for processors, built with the thread sanitizer (see Makefile): how
 * often it has told of something, and how one waits for a lock. SPIN_PAUSE: what a test has its
 * threads do meanwhile.
 */
#pragma once

#include <sched.h>

#include "arch/x86/spinlock.h"

#ifndef SPIN_PAUSE
#define SPIN_PAUSE() sched_yield() /* threads may be more than processors */
#endif

static unsigned reports; /* of the sanitizer; atomic */

void __tsan_on_report(void *report);
void __tsan_on_report(void *report)
{
    __atomic_fetch_add(&reports, 1, __ATOMIC_SEQ_CST);
}

bool spin_forsaken;

void spin_wait(struct spinlock *l, uint16_t ticket)
{
    while (__atomic_load_n(&l->owner, __ATOMIC_ACQUIRE) != ticket)
        SPIN_PAUSE();
}
