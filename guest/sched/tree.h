/* A balanced tree (AVL) of vCPUs, intrusive: by key, with two summaries of each subtree, so that
 * "the first by key that also ..." is found in O(log n). Keys and values are points on a scale that
 * wraps: all of one tree lie within 2^63 of each other.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define SCHED_MAX_CPUS 256

struct sched_cpus {
    uint64_t word[SCHED_MAX_CPUS / 64];
};

struct sched_node {
    struct sched_node *parent, *child[2];
    uint32_t height;
    uint64_t key;
    uint64_t value;
    uint64_t lowest;        /* of the values in this subtree */
    struct sched_cpus cpus; /* where this one may run */
    struct sched_cpus any;  /* where any of this subtree may run */
};

struct sched_tree {
    struct sched_node *root, *first;
    uint32_t count;
};

/* Is a before b? */
static inline bool sched_before(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0;
}

static inline bool sched_cpus_have(const struct sched_cpus *set, unsigned cpu)
{
    return set->word[cpu / 64] >> (cpu % 64) & 1;
}

/* Put n, whose key, value and cpus are set, behind those of the same key. O(log n), as are the
 * others. */
void sched_tree_insert(struct sched_tree *t, struct sched_node *n);
void sched_tree_remove(struct sched_tree *t, struct sched_node *n);
/* The first by key; of those whose value is not after limit; of those that may run on cpu. NULL if
 * there is none. */
static inline struct sched_node *sched_tree_first(const struct sched_tree *t)
{
    return t->first;
}
struct sched_node *sched_tree_first_until(const struct sched_tree *t, uint64_t limit);
struct sched_node *sched_tree_first_on(const struct sched_tree *t, unsigned cpu);

#ifdef CORBEL_HOSTED
extern uint64_t sched_tree_steps; /* nodes visited, by all of the above: what tests bound */
#endif
