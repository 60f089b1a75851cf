/*
 * One Ethernet frame on its way from who sends it to who gets it: pieces of the sender's memory,
 * which a receiver copies into its own.
 */
#pragma once

#include "arch/x86/lib/types.h"
#include "drivers/net_piece.h"

#define NET_MAC       6
#define NET_ETHER     14u /* two addresses and a type */
#define NET_TAG       4u  /* IEEE 802.1Q */
#define NET_MAX_FRAME (65535u + NET_ETHER + NET_TAG)
#define NET_HEAD      192u /* Ethernet, a tag, IP and TCP or UDP with all their options */
#define NET_NAME      31

/* What a frame's type says of what is behind it; a tag stands in front of another type. */
#define NET_TYPE_IP4     0x0800u
#define NET_TYPE_ARP     0x0806u
#define NET_TYPE_TAGGED  0x8100u
#define NET_TYPE_IP6     0x86ddu
#define NET_TYPE_CONTROL 0x8808u /* IEEE 802.3, annex 31: pauses and the like */
#define NET_TYPE_SERVICE 0x88a8u
#define NET_VID_MASK     0xfffu /* of a tag: the VLAN */

enum net_gso {
    NET_GSO_NONE,
    NET_GSO_TCP4,
    NET_GSO_TCP6,
    NET_GSO_UDP4,
    NET_GSO_UDP6,
    NET_GSO_UDP, /* either: net_offload_good() says which */
};

/* What the sender has left to others: in bytes from the frame's start. */
struct net_offload {
    uint8_t gso;      /* enum net_gso: it is to be cut into segments; then checksum is set */
    bool ecn;         /* of TCP: and its CWR is the first segment's */
    bool checksum;    /* the sum from `start` to the end is to be added to the field at: */
    uint16_t start;   /* where the layer that has the checksum begins */
    uint16_t field;   /* where its checksum stands */
    uint16_t headers; /* gso: bytes of headers that each segment has */
    uint16_t segment; /* gso: bytes of payload in each but the last one */
};

/* Receivers that take frames with what is left to do. */
#define NET_CAN_CHECKSUM BIT(0)
#define NET_CAN_TCP4     BIT(1)
#define NET_CAN_TCP6     BIT(2)
#define NET_CAN_ECN      BIT(3)
#define NET_CAN_UDP4     BIT(4)
#define NET_CAN_UDP6     BIT(5)

/*
 * The first piece is memory that nobody changes: it has the first NET_HEAD bytes, or all of a
 * shorter frame, and has been looked at. The others may change under everybody's hands.
 */
struct net_frame {
    const struct net_piece *piece;
    unsigned count;
    uint32_t length; /* the sum */
    struct net_offload offload;
    uint8_t *scratch; /* NET_MAX_FRAME bytes of the sender's, for who has to finish it */
};

/* Segments behind the first one, of what is to be cut. */
static inline uint32_t net_frame_more(const struct net_frame *f)
{
    return (f->length - f->offload.headers - 1) / f->offload.segment;
}

/* Bytes that a rate counts: of what is to be cut each segment has the headers. */
static inline uint64_t net_frame_bytes(const struct net_frame *f)
{
    if (!f->offload.gso)
        return f->length;
    return f->length + (uint64_t)net_frame_more(f) * f->offload.headers;
}

/* Why a frame came to nothing: X(symbol, in words). Those from CLOSED on are the receiver's. */
#define NET_DROP_LIST(X)                                                                           \
    X(SHORT, "too short")                                                                          \
    X(LONG, "longer than the MTU")                                                                 \
    X(MALFORMED, "malformed")                                                                      \
    X(FORGED, "forged source")                                                                     \
    X(RESERVED, "reserved")                                                                        \
    X(TAGGED, "tagged")                                                                            \
    X(STORM, "storm")                                                                              \
    X(NOBODY, "nobody there")                                                                      \
    X(UNPLUGGED, "link down")                                                                      \
    X(CLOSED, "nobody takes them")                                                                 \
    X(RATE, "over its rate")                                                                       \
    X(FULL, "no buffers")                                                                          \
    X(FILTERED, "not asked for")                                                                   \
    X(BROKEN, "broken queue")

enum net_drop {
    NET_TAKEN,
#define NET_DROP_ENUM(symbol, words) NET_DROP_##symbol,
    NET_DROP_LIST(NET_DROP_ENUM)
#undef NET_DROP_ENUM
        NET_DROPS
};

static inline bool net_mac_is_group(const uint8_t *mac)
{
    return mac[0] & 1;
}

static inline bool net_mac_is_broadcast(const uint8_t *mac)
{
    return (mac[0] & mac[1] & mac[2] & mac[3] & mac[4] & mac[5]) == 0xff;
}

/* A field of 16 bits, as it is on the wire. */
static inline uint16_t net_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
