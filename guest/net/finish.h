/*
 * What a sender has left to others and a receiver cannot do: checksums are computed, and what is
 * longer than a frame is cut into segments ("TCP Segmentation Offload", and UDP's). Pure.
 */
#pragma once

#include "guest/net/frame.h"

/*
 * Whether the headers are what f->offload says they are: a segment's are TCP or UDP over IP, all in
 * the first piece, and the checksum's field is theirs; a checksum's field is inside the frame. Sets
 * offload.headers, and which UDP it is. Who makes a frame asks that before.
 */
bool net_offload_good(struct net_frame *f) MUST_CHECK;

/* Give `emit` the frame, or what becomes of it, with nothing left to do but what `can` has: until
 * it says false. What f->scratch holds is overwritten. */
void net_finish(const struct net_frame *f, unsigned can,
                bool (*emit)(void *context, const struct net_frame *f), void *context);
