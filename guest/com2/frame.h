/*
 * Frames on the second serial port: how bytes of several channels share one line, and how a reader
 * finds them again wherever it joins and whatever else the line carries. Pure. docs/COM2.md has the
 * format.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define COM2_PAYLOAD     256u /* bytes of a frame's payload at most */
#define COM2_HEADER_SIZE 8u
#define COM2_CRC_SIZE    4u
#define COM2_FRAME_MAX   (COM2_HEADER_SIZE + COM2_PAYLOAD + COM2_CRC_SIZE)

struct com2_frame {
    uint8_t channel;
    uint16_t sequence;
    size_t length;
    const uint8_t *payload;
};

/* Fill out[COM2_FRAME_MAX] with a frame; returns its length. */
size_t com2_frame_pack(const struct com2_frame *f, uint8_t out[COM2_FRAME_MAX]);

/* What has come, from the first byte that may begin a frame on. */
struct com2_receiver {
    uint8_t bytes[COM2_FRAME_MAX];
    size_t used;
    size_t taken;     /* of these, by the frame that was found last */
    uint64_t skipped; /* bytes that belong to no frame */
    uint64_t damaged; /* headers that were right, and whose frame's CRC was not */
};

/* Take one byte. com2_receiver_next() comes behind it until it finds nothing. */
void com2_receiver_put(struct com2_receiver *r, uint8_t byte);
/* The next whole frame; its payload stays until the next call. False: more bytes are needed. */
bool com2_receiver_next(struct com2_receiver *r, struct com2_frame *f);
/* What is there will not become a frame any more, as nothing has come for long: its first byte is
 * skipped. com2_receiver_next() comes behind it. False: nothing is there. */
bool com2_receiver_give_up(struct com2_receiver *r);
