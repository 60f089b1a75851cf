/* What a console has said, the newest part of it, and how much of that somebody has seen. Pure. */
#pragma once

#include "arch/x86/lib/types.h"

#define KEPT_SIZE 16384u

struct kept {
    uint64_t head; /* bytes ever said */
    uint64_t sent; /* up to where they were seen; head - sent <= KEPT_SIZE */
    uint64_t lost; /* bytes that were overwritten before anybody had seen them */
    char bytes[KEPT_SIZE];
};

/* One byte more; with `seen` nothing is unseen afterwards. */
void kept_add(struct kept *k, char byte, bool seen);
/* Take up to size unseen bytes, the oldest first; they count as seen. Returns how many. */
size_t kept_take(struct kept *k, char *out, size_t size);

static inline uint64_t kept_unseen(const struct kept *k)
{
    return k->head - k->sent;
}

/* Places to set `sent` to, for showing again: where the oldest whole line begins... */
uint64_t kept_oldest_line(const struct kept *k);
/* ... and the line, or its last KEPT_LINE bytes, within which `sent` is. */
#define KEPT_LINE 256u
uint64_t kept_cut_line(const struct kept *k);
