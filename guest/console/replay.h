/*
 * What a guest said earlier, made fit to be shown again: without the requests that a terminal
 * answers, since the answers would be typed into the guest now. Pure.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define REPLAY_HELD 32 /* a longer sequence passes */

struct replay {
    uint8_t state, held;
    char hold[REPLAY_HELD]; /* a sequence that is not complete */
};

/* Filter in[0..length) into out, which has room for length + REPLAY_HELD; returns how much it is.
 */
size_t replay_filter(struct replay *r, const char *in, size_t length, char *out);
