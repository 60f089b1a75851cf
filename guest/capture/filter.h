/*
 * Which frames a capture takes, in words that a person types. Those that tcpdump knows, too, mean
 * what they mean there, but that a VLAN's tag hides nothing. Pure.
 *
 *     filter = term { and|or term }, from left to right
 *     term   = [not] arp | ip | ip6 | icmp | icmp6 | tcp | udp | [tcp|udp] port N
 *                    | host A.B.C.D | mac XX:XX:XX:XX:XX:XX | vlan N
 */
#pragma once

#include "guest/net/frame.h"

#define FILTER_TERMS 16u
#define FILTER_ERROR 128u

struct filter_term {
    uint8_t kind;     /* filter.c's */
    bool negated;     /* what it says does not hold */
    bool either;      /* it or what stands before it; else both have to hold */
    uint8_t narrowed; /* a port to a protocol, a protocol to a version of IP; 0: to none */
    uint16_t number;
    uint8_t address[NET_MAC]; /* of IPv4 the first four */
};

struct filter {
    unsigned count; /* 0: every frame */
    struct filter_term term[FILTER_TERMS];
};

/* 0; -EINVAL, with a sentence in error[FILTER_ERROR]. */
int filter_parse(const char *text, size_t length, struct filter *out, char *error) MUST_CHECK;
/* head: the frame's first bytes, as far as they are to be looked at; vlan: the port's, or 0. */
bool filter_match(const struct filter *f, const uint8_t *head, uint32_t length, uint16_t vlan);
