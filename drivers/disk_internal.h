/* What queues (disk_queue.c) and units (disk.c) share. */
#pragma once

#include "drivers/disk.h"

/* Whose requests are given back, in place of an owner: no locks are held that a done() may want. */
#define DISK_EVERYONE ((const void *)&disk_call_attention)

static inline enum disk_state disk_state(const struct disk_unit *u)
{
    return __atomic_load_n(&u->state, __ATOMIC_SEQ_CST);
}

/* Something is for processor 0 to look after. */
void disk_call_attention(void);
/* All that is asked of it fails from now on. */
void disk_lose(struct disk *d);

/*
 * Queues. None of their locks is held; `who` gets his requests back at once, and the others' are
 * for processor 0.
 */
void disk_queue_submit(struct block_device *b, struct block_request *r);
/* Collect and start. An interrupt has to be looked after even where nothing is under way: its cause
 * must go. */
void disk_queue_look(struct disk_queue *q, bool interrupt, const void *who);

/*
 * A drive may do one thing at a time: while a FLUSH is within its time nothing else is late, and
 * behind it everybody has his own time once more. But what a drive has forgotten among FLUSHes is
 * late some day.
 */
struct disk_lateness {
    bool flushing;       /* a FLUSH is within its time */
    bool late, too_late; /* something is: beside a FLUSH, too */
};
/* Adds what is late there. Whether something is under way. */
bool disk_queue_late(struct disk_queue *q, struct disk_lateness *found, const void *who);
/* Before a reset: nobody calls the driver for this queue any more. */
void disk_queue_stop(struct disk_queue *q, const void *who);
/* Behind it: what the hardware had is asked once more; in doubt whether it was carried out, FLUSHes
 * have failed. */
void disk_queue_go_on(struct disk_queue *q, bool doubt, const void *who);
/* The unit is lost: all that is here fails. */
void disk_queue_fail(struct disk_queue *q, const void *who);
/* What came back while another one polled. */
void disk_queue_give_rest(struct disk_queue *q, const void *who);
