/*
 * What a capture has seen and not sent yet: the blocks of packets, in a ring, and at which
 * interfaces they were, with their counts; and in which order blocks go out. A packet that finds no
 * room is counted, and that is all. Pure: the caller has the lock and the clock.
 */
#pragma once

#include "guest/capture/filter.h"
#include "guest/capture/pcapng.h"
#include "guest/net/switch.h"

#define PACKETS_RING       (256 * KIB)
#define PACKETS_INTERFACES 64u
#define PACKETS_KEEP_LEAST NET_ETHER
#define PACKETS_KEEP_MOST  (NET_MTU_MAX + NET_ETHER + NET_TAG) /* bytes of a packet */
#define PACKETS_BLOCK      (PCAPNG_HEAD + PACKETS_KEEP_MOST + PCAPNG_TAIL)
/* Nanoseconds between two sections: of the line they take a few percent. */
#define PACKETS_AGAIN(interfaces) (UINT64_C(2000000000) + (interfaces)*UINT64_C(250000000))

struct packets_interface {
    char name[2 * NET_NAME];
    uint8_t mac[NET_MAC];
    uint16_t vlan;
    const struct net_switch *on; /* for its name */
    uint64_t seen, matched, lost;
    uint64_t told; /* of the lost: by a packet that came behind them */
};

struct packets {
    char about[PCAPNG_TEXT + 1]; /* the capture, for people; each another */
    struct filter filter;
    uint32_t keep;   /* bytes of each packet, at most */
    uint64_t began;  /* nanoseconds since 1970 */
    uint64_t beyond; /* frames at more interfaces than there may be */
    unsigned count;
    struct packets_interface interface[PACKETS_INTERFACES];

    /* What goes out: statistics of interfaces, then a section, then interfaces, then packets. */
    unsigned described; /* interfaces of the section that goes out */
    unsigned counted;   /* of these: their statistics have gone out since they were due */
    bool section;       /* a new one begins, as soon as these have */
    bool any;           /* packets have gone out in the one before, */
    uint64_t next;      /* which is old enough from then on */
    bool ended, last;   /* no packets come any more; and the last statistics are due */

    uint32_t head, used, held; /* of the ring: where the oldest block is, bytes, packets */
    uint8_t ring[PACKETS_RING];
};

/* One frame at one port. */
struct packets_frame {
    const struct net_port *port;
    const struct net_frame *frame;
    bool sent; /* by the port's owner; else offered to it */
    enum net_drop why;
    uint64_t time;
};

/* Begin anew, with nothing held. `about`, filter and keep are set behind it. */
void packets_init(struct packets *p, uint64_t now);
void packets_see(struct packets *p, const struct packets_frame *f);
/* Whoever reads has come late, or has lost something: a new section is due. */
void packets_again(struct packets *p);
/* No more packets come: when all has gone out, statistics do. */
void packets_end(struct packets *p);
/* The next block for out[PACKETS_BLOCK]: its length, or 0. */
size_t packets_next(struct packets *p, uint8_t *out, uint64_t now);
/* Whether it has ended, and all has gone out. */
bool packets_over(const struct packets *p);
