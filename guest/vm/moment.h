/*
 * A moment of a VM that is kept in memory: its devices' and vCPUs' state, its RAM, and what its
 * disks in memory hold; of disks of drives what is overwritten from then on (layers.h). While one
 * is kept, or put back, the VM stands still (SLOT_KEEPING): its disks have answered, its network
 * cards are deaf, and what is typed waits. It is done in pieces, by control.c, between which
 * processor 0 does other things.
 */
#pragma once

#include "guest/vm/vm_stream.h"
#include "mm/guest_copy.h"

#define MOMENT_NAME  31
#define MOMENT_ERROR 352 /* as CONTROL_ERROR */

struct vm_slot;

struct moment {
    char name[MOMENT_NAME + 1];
    struct vm_stream state;
    struct page_store pages; /* of RAM, and behind them those of disks */
    uint64_t taken;          /* host TSC */
    struct moment *next;
};

enum moment_phase {
    MOMENT_DRAINS, /* what is in flight comes back */
    MOMENT_ROOM,   /* pages that had been given back get frames: to be put back */
    MOMENT_PAGES,
    MOMENT_DISKS, /* those of drives are put back */
};

/* Of a slot: what is kept of it, and what is being done. Processor 0's. */
struct slot_moments {
    struct moment *kept; /* those that are whole, the oldest first */
    struct moment *work; /* NULL, or: that one is kept, */
    bool back;           /* or put back */
    bool ran, at_end;    /* before that */
    bool given_up;       /* somebody does not want it any more: of one that is kept */
    uint8_t phase;
    uint64_t page;           /* the next one */
    char said[MOMENT_ERROR]; /* why the last one came to nothing; "": it came to an end */
};

enum moment_result { MOMENT_MORE, MOMENT_LATER, MOMENT_OVER, MOMENT_RUINED };

/* What is to be done before a VM's vCPUs leave their processors: s->moments.work has been set.
 * Whether it can be; if not, error says why. */
int moment_possible(const struct vm_slot *s, char *error) MUST_CHECK;
/* The VM stands still. */
void moment_begin(struct vm_slot *s);
/* The next piece. MOMENT_LATER: in a millisecond. MOMENT_OVER: s->moments.said tells how, and work
 * is none any more. MOMENT_RUINED: the same, and the VM cannot go on. */
enum moment_result moment_step(struct vm_slot *s);
/* Nothing comes of it: the VM ends, or begins anew. */
void moment_drop(struct vm_slot *s, const char *why);
/* Give back what it takes, but for what others of the slot have of it. It is not in their list. */
void moment_destroy(struct vm_slot *s, struct moment *m);
/* How much of it is done, in percent. */
unsigned moment_progress(const struct vm_slot *s);
