/*
 * What passes at a switch, or at a VM's network cards, as a file that stock viewers read (pcapng),
 * on a channel of the second serial port: tools/com2 hands it to whoever wants it. One at a time
 * for the machine. What the line is too slow for is counted, and not captured; no frame waits for
 * it, and none is lost. All calls are processor 0's.
 */
#pragma once

#include "guest/capture/packets.h"

struct capture_what {
    char about[PCAPNG_TEXT + 1]; /* as a person has said it */
    /* What comes in at this switch, each frame once; or, if it is NULL, */
    const struct net_switch *on;
    /* what the card of that name ("vm/0") sends and is offered; all cards that begin with it, where
     * it ends in a slash. */
    char card[2 * NET_NAME];
    struct filter filter;
    uint32_t keep; /* bytes of each frame: PACKETS_KEEP_LEAST to PACKETS_KEEP_MOST */
};

/* In place of the one before, of which what has not been sent is dropped. -ENOMEM; -ENODEV: the
 * second serial port does not carry frames. */
int capture_start(const struct capture_what *what) MUST_CHECK;
/* Nothing more is taken; what has been goes out. */
void capture_stop(void);
/* Gives the second serial port as much as it takes, in processor 0's loop, before com2_pump(). */
uint64_t capture_pump(void);

/* Packets that have yet to be sent, or one for what ends a file; 0, too, where the port takes
 * nothing for a second. */
uint64_t capture_left(void);

struct capture_state {
    bool on;      /* it takes frames, */
    bool sending; /* or has some still to send */
    char about[PCAPNG_TEXT + 1];
    unsigned interfaces;
    uint32_t held, bytes; /* packets that have yet to be sent, and their blocks' size */
    uint64_t beyond;      /* frames at more interfaces than there may be */
};

struct capture_state capture_state(void);
/* One of these; false: it is no more. */
bool capture_interface(unsigned index, struct packets_interface *out);
