/*
 * Blocks of a capture file in the format pcapng (draft-ietf-opsawg-pcapng), little-endian. Each
 * function fills `out` and returns how much that is, a multiple of 4. Times are nanoseconds since
 * 1970. Pure.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define PCAPNG_TEXT      127u /* letters of any text; what is longer is cut */
#define PCAPNG_SMALL     512u /* bytes of a section, an interface or statistics, at most */
#define PCAPNG_HEAD      28u  /* of a packet: before its data, */
#define PCAPNG_TAIL      192u /* and behind them at most */
#define PCAPNG_ETHERNET  1u   /* the link's type */
#define PCAPNG_LENGTH_AT 4u   /* in any block: its length, 32 bits */

/* "Section Header Block": all that follows until the next one. */
size_t pcapng_section(uint8_t out[PCAPNG_SMALL], const char *program, const char *comment);

/* "Interface Description Block". Packets name it by its number in the section, from 0. */
struct pcapng_interface {
    const char *name, *about;
    const uint8_t *mac; /* 6 bytes */
    uint32_t most;      /* bytes of a packet that are ever kept */
};
size_t pcapng_interface(uint8_t out[PCAPNG_SMALL], const struct pcapng_interface *i);

/* "Enhanced Packet Block": its head, `kept` bytes of data, its tail. */
#define PCAPNG_INBOUND  1u
#define PCAPNG_OUTBOUND 2u
#define PCAPNG_NO_SUM   BIT(9)  /* its checksum is still to be computed */
#define PCAPNG_UNCUT    BIT(11) /* TCP that is still to be cut into segments */
struct pcapng_packet {
    uint32_t interface;
    uint64_t time;
    uint32_t kept, length; /* of so many bytes */
    uint32_t flags;
    uint64_t lost;       /* before it, at its interface */
    const char *comment; /* or NULL */
};
size_t pcapng_tail(uint8_t out[PCAPNG_TAIL], const struct pcapng_packet *p);
/* tail: how long that is. Returns the length of the whole block. */
size_t pcapng_head(uint8_t out[PCAPNG_HEAD], const struct pcapng_packet *p, size_t tail);

/* "Interface Statistics Block" */
struct pcapng_statistics {
    uint32_t interface;
    uint64_t time, began;
    uint64_t seen, matched, lost; /* packets: at the interface, of these as the filter wants them,
                                     of these without room */
};
size_t pcapng_statistics(uint8_t out[PCAPNG_SMALL], const struct pcapng_statistics *s);
