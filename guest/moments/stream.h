/*
 * The state of a VM as one stream of bytes, that may be kept, or come from anywhere: sections as
 * guest/board/state.h has them, the first of which says what this is and how long, and the last one
 * closes it with a checksum (CRC-32C) of each and one of all. Nothing of it is believed before all
 * of it has been checked. Pure.
 *
 *   "corbel-state"  version of the stream; the length of all of it, 64 bits
 *   ...             the sections that are kept, each with its own version
 *   "end"           how many those and the first are, 32 bits; the checksum of each, header
 *                   included, 32 bits; the checksum of all bytes before, 32 bits
 */
#pragma once

#include "guest/board/state.h"

#define STREAM_ERROR 200 /* a sentence fits into this; it goes on behind "the saved state ..." */

/* w is fresh. */
void stream_begin(struct state_writer *w);
/* No section comes any more. */
void stream_end(struct state_writer *w);

/*
 * Check all of a stream: 0, and r is before the first of the sections that are kept, or -EBADMSG
 * with what is wrong in error[STREAM_ERROR].
 */
int stream_open(const void *data, size_t size, struct state_reader *r, char *error) MUST_CHECK;
/*
 * Whether a stream that has been opened has the sections, of the versions, that `own` has, another
 * one: what the VM for which it is meant would write itself. 0, or -EBADMSG with the name of what
 * is missing, too much, newer or older.
 */
int stream_same(const struct state_reader *r, const struct state_reader *own,
                char *error) MUST_CHECK;
