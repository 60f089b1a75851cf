/*
 * Records on their way out: packets that a reader finds in a stream of bytes wherever it joins, and
 * each of which it understands without those before. docs/TRACE.md has the format.
 */
#pragma once

#include "guest/config/config.h"
#include "guest/trace/ring.h"

#define TRACE_VERSION     1
#define TRACE_PACKET_MAX  256 /* bytes, all in all */
#define TRACE_HEADER_SIZE 8
#define TRACE_CRC_SIZE    4

enum trace_packet { TRACE_PACKET_INFO = 1, TRACE_PACKET_RECORDS = 2 };

/* What a reader has to know to make sense of records. */
struct trace_info {
    uint64_t tsc_hz;
    uint64_t now, start; /* host TSC: now, and when tracing was switched on first */
    uint32_t events;     /* BIT(enum trace_class): what is being recorded */
    uint16_t cpus;
    const struct vm_config *vms; /* for the names */
    size_t vm_count;
};

/*
 * Both fill out[TRACE_PACKET_MAX] and return the packet's length. sequence numbers the packets.
 * Names do not all fit: *next_name, kept by the caller, says with which VM to go on.
 */
size_t trace_pack_info(const struct trace_info *info, size_t *next_name, uint16_t sequence,
                       uint8_t out[TRACE_PACKET_MAX]);
/* Takes as many records as fit from the ring; 0 when it has none. */
size_t trace_pack_records(struct trace_ring *ring, uint16_t cpu, uint16_t sequence,
                          uint8_t out[TRACE_PACKET_MAX]);
