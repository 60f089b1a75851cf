/* Random numbers for guests: the processor's, or what can be had without. */
#pragma once

#include "arch/x86/lib/types.h"

/* Find out what this processor has. Before others start; all of them are taken to have the same.
 * alloc is asked for memory, for good, where it has nothing. */
void random_init(void *(*alloc)(size_t size));

enum random_source {
    RANDOM_RDSEED, /* and RDRAND for when that has nothing */
    RANDOM_RDRAND,
    RANDOM_JITTER, /* of the TSC: a guess at what nobody can guess (docs/CAVEATS.md) */
};
enum random_source random_source(void);

/*
 * So many bytes of size as there are now; fewer when the processor's generator has no more at the
 * moment. Never jitter in place of what a processor with a generator lacks: who asked waits, and
 * asks again.
 */
size_t random_bytes(void *data, size_t size) MUST_CHECK;
