/*
 * Files that are packed as a whole by gzip, xz or zstd. Nothing is allocated here: the caller gives
 * some working memory, and room for what comes out when it is known how much that is, or may be.
 * All is done in pieces.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define UNPACK_WORK (192 * KIB)

/* What a file is packed with, such as "gzip", judged by how it begins; NULL: with nothing that is
 * known here. */
const char *unpack_kind(const void *file, uint64_t size);

struct unpack;

#define UNPACK_MOST GIB /* what may come out of any file */

/* Begin with a file of a known kind, in work[UNPACK_WORK], aligned to 16. What comes out may have
 * `most` bytes, if these are no more than UNPACK_MOST. Nothing is to be given back at the end,
 * whenever that comes. */
struct unpack *unpack_begin(void *work, const void *file, uint64_t size, uint64_t most);

enum unpack_next {
    UNPACK_DONE,
    UNPACK_MORE, /* call unpack_some() again */
    UNPACK_ROOM, /* and unpack_into() before that */
};

/* The next piece: some hundred KiB. Returns enum unpack_next; -EBADMSG: the file is damaged, or
 * packed in a way that is not known; -ENOMEM: more than `most` would come out; with a sentence in
 * error[LOAD_ERROR], to be written behind the file's name. */
int unpack_some(struct unpack *u, char *error) MUST_CHECK;

/* UNPACK_ROOM: how many bytes are wanted, and here they are. */
uint64_t unpack_room(const struct unpack *u);
void unpack_into(struct unpack *u, void *out);

/* UNPACK_DONE: how many have come out, unpack_room() at most. */
uint64_t unpack_size(const struct unpack *u);
