/*
 * The second serial port, and who has it. Plain, it is one user's alone, whose bytes are on the
 * line as they are; with `com2 = framed` all users share it, each by a channel of its own, and
 * tools/com2 takes them apart at the other end (mux.h, docs/COM2.md).
 *
 * What one com2_write() takes stays together. Any CPU may call.
 */
#pragma once

#include "guest/com2/mux.h"

enum com2_user { COM2_GDB = 1, COM2_TRACE, COM2_SCREEN, COM2_CAPTURE, COM2_USERS };

/* Before anybody else's call: whether there are frames. */
void com2_init(bool framed);
bool com2_framed(void);
/* Use the port from now on. 0; -ENODEV: there is none; -EBUSY: it is plain and another user's.
 * Where the user listens (gdb), processor 0 comes to its loop after bytes have arrived. */
int com2_open(enum com2_user u) MUST_CHECK;
/* Whether com2_open() says, or would say, 0. */
bool com2_may_open(enum com2_user u);

/* How much com2_write() takes. */
size_t com2_room(enum com2_user u);
/* Have it sent by and by. What there is no room for is lost, and counted. */
void com2_write(enum com2_user u, const void *data, size_t size);
/* Whether something of this user's has yet to get onto the line. */
bool com2_sending(enum com2_user u);
/* The next byte that has come for this user, or -1. */
int com2_read(enum com2_user u);
/* Move bytes between the queues and the port without waiting. */
void com2_poll(void);
/* The same with frames, in processor 0's loop: the host TSC at which it is to be called again. */
uint64_t com2_pump(void);
/* With frames: how often somebody at the other end has begun to read. */
uint64_t com2_greetings(void);
/* Wait until all is sent that the machine must not go down without: what gdb was told; with frames,
 * everything. */
void com2_flush(void);

/* --- for the monitor --- */

struct com2_state {
    bool present, framed;
    unsigned owner;       /* plain: enum com2_user; 0: nobody */
    uint64_t sent, heard; /* plain: bytes */
    uint64_t lost;        /* plain: bytes that there was no room for */
    uint64_t skipped;     /* framed: bytes from the line that belong to no frame */
    uint64_t damaged;     /* framed: frames from the line whose CRC was wrong */
    uint64_t strangers;   /* framed: frames from the line for no channel */
    unsigned backlog;     /* bytes on their way */
};

struct com2_state com2_state(void);
const char *com2_user_name(unsigned user);

struct com2_channel_state {
    const char *name;
    bool used;
    unsigned waiting; /* bytes in its queue */
    struct com2_counts sent, received;
};

/* With frames: how a channel is; false behind the last one. */
bool com2_channel_state(unsigned channel, struct com2_channel_state *s);
