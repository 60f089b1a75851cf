/*
 * Who sleeps until when: a pairing heap, intrusive, by time. Whoever wakes before all others comes
 * and goes in front of it in the same few steps, however many sleep behind; taking out any other
 * one costs O(log n) on average, and at most a step for each that came since the last time.
 */
#pragma once

#include "arch/x86/lib/types.h"

struct sleeper {
    uint64_t until;
    struct sleeper *child; /* the first of those that are not before this one */
    struct sleeper *next;  /* its parent's next child */
    struct sleeper *back;  /* the child before it, or its parent; NULL: in front of all */
};

struct sleepers {
    struct sleeper *first; /* NULL: nobody sleeps */
};

/* Put in one whose time is set. */
void sleepers_add(struct sleepers *all, struct sleeper *s);
/* Take out one that is in. */
void sleepers_remove(struct sleepers *all, struct sleeper *s);
