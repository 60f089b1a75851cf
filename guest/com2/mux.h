/*
 * Who sends next on the second serial port, and whose the bytes are that come: channels with a
 * queue in each direction, all bounded. What does not fit is dropped whole and counted. Pure: the
 * caller has the lock, the clock and the line.
 */
#pragma once

#include "guest/com2/frame.h"

#define COM2_CHANNELS_MAX 8u
#define COM2_NAME_MAX     8u /* of a channel's name; it fits into a status */
/* That many bytes of urgent channels go ahead of a bulk one that waits; then it has its turn. */
#define COM2_AHEAD 1024u

enum com2_class {
    COM2_URGENT, /* somebody waits for the answer */
    COM2_BULK,
};

struct com2_kind {
    const char *name;
    enum com2_class class;
    unsigned out, in; /* bytes of its queues; in: 0 where nobody reads */
};

/* Of the channel that every line has; what is on it docs/COM2.md says. */
#define COM2_CONTROL 0u
#define COM2_CONTROL_KIND                                                                          \
    {                                                                                              \
        "control", COM2_URGENT, COM2_FRAME_MAX, 0                                                  \
    }
#define COM2_STATUS            1 /* first byte of a payload */
#define COM2_HELLO             1
#define COM2_VERSION           1
#define COM2_STATUS_PER_SECOND 1

struct com2_queue {
    uint8_t *bytes;
    unsigned size, used, tail; /* tail: the oldest byte */
};

/* Since the start. */
struct com2_counts {
    uint64_t frames, bytes;           /* of payloads */
    uint64_t lost_frames, lost_bytes; /* there was no room for them, or nobody who reads */
    uint64_t missing;                 /* frames that were lost on the line, by their numbers */
};

struct com2_channel {
    const struct com2_kind *kind;
    bool used;                   /* somebody has it */
    bool heard;                  /* since the other end began: its next frame's number is known */
    uint16_t sequence, expected; /* of the next frame to send, and to receive */
    uint64_t served;             /* bytes, as its class counts them */
    struct com2_queue out, in;
    struct com2_counts sent, received;
};

struct com2_mux {
    unsigned count;
    struct com2_channel channel[COM2_CHANNELS_MAX];
    struct com2_receiver receiver;
    uint64_t strangers; /* frames for channels that there are not */
    uint64_t greetings; /* hellos */
    uint64_t second;    /* of the clock */
    uint64_t heard_at;  /* when the last byte came */
    uint64_t began;     /* another one for each start */
    uint64_t served[2]; /* by class: that of whoever sent last */
    unsigned ahead;     /* bytes that have gone ahead of a bulk channel that waits */
    bool asked;         /* for a status */
    uint64_t changes,
        told; /* what a status tells has changed so often; so often when it last did */
    uint64_t next_status;
};

/* How many bytes of memory the queues of these channels take. */
size_t com2_mux_memory(const struct com2_kind *kinds, unsigned count);
/* kinds[COM2_CONTROL] is COM2_CONTROL_KIND. */
void com2_mux_init(struct com2_mux *m, const struct com2_kind *kinds, unsigned count,
                   uint8_t *memory, uint64_t now, uint64_t second);

/* Have it sent, in as many frames as it takes. False: there was no room for all of it, and none of
 * it is sent; that is counted. */
bool com2_mux_put(struct com2_mux *m, unsigned channel, const void *data, size_t size);
/* How much com2_mux_put() takes. */
size_t com2_mux_room(const struct com2_mux *m, unsigned channel);
/* Whether a channel has something to be sent. */
bool com2_mux_waits(const struct com2_mux *m, unsigned channel);
/* The next frame for the line into out[COM2_FRAME_MAX]: its length, or 0. */
size_t com2_mux_next(struct com2_mux *m, uint64_t now, uint8_t out[COM2_FRAME_MAX]);
/* Tell the other end once more how things are. */
void com2_mux_tell(struct com2_mux *m);

/* A byte from the line. */
void com2_mux_input(struct com2_mux *m, uint8_t byte, uint64_t now);
/* Now and then: what has come of a frame is given up when the rest does not come. */
void com2_mux_idle(struct com2_mux *m, uint64_t now);
/* The next byte that has come for a channel, or -1. */
int com2_mux_get(struct com2_mux *m, unsigned channel);
