/* See flow.h. Field names are those of RFC 791, RFC 8200. */
#include "guest/net/flow.h"

#include "arch/x86/lib/string.h"

#define PROTOCOL_TCP 6u
#define PROTOCOL_UDP 17u

#define IP4_SIZE     20u
#define IP4_FRAGMENT 6u
#define IP4_PROTOCOL 9u
#define IP4_SOURCE   12u
#define IP4_ADDRESS  4u
#define IS_FRAGMENT  0x3fffu /* more of them follow, or it is not the first */
#define IP6_SIZE     40u
#define IP6_NEXT     6u
#define IP6_SOURCE   8u
#define IP6_ADDRESS  16u
#define PORT         2u

/* So that each bit of what goes in is in each bit of what comes out. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93ULL;
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93ULL;
    return x ^ x >> 32;
}

/* Of one end: its address and its port. */
static uint64_t end_of(const uint8_t *address, uint32_t size, const uint8_t *port)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < size; i += 4) {
        uint32_t part;

        memcpy(&part, address + i, sizeof(part));
        value = mix(value ^ part);
    }
    return port ? mix(value + 1 + net_get16(port)) : value;
}

uint32_t net_flow(const uint8_t *first, uint32_t length)
{
    uint32_t ip = NET_ETHER, size, source, address, protocol;
    const uint8_t *ports;
    uint16_t type;
    bool whole = true;

    if (length >= NET_ETHER + NET_TAG && net_get16(first + ip - 2) == NET_TYPE_TAGGED)
        ip += NET_TAG;
    if (length < ip + IP4_SIZE)
        return 0;
    type = net_get16(first + ip - 2);
    if (type == NET_TYPE_IP4) {
        size = (first[ip] & 15) * 4u;
        source = ip + IP4_SOURCE;
        address = IP4_ADDRESS;
        protocol = first[ip + IP4_PROTOCOL];
        whole = !(net_get16(first + ip + IP4_FRAGMENT) & IS_FRAGMENT);
    } else if (type == NET_TYPE_IP6 && length >= ip + IP6_SIZE) {
        size = IP6_SIZE;
        source = ip + IP6_SOURCE;
        address = IP6_ADDRESS;
        protocol = first[ip + IP6_NEXT];
    } else {
        return 0;
    }
    ports = whole && (protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP) &&
                    length >= ip + size + 2 * PORT
                ? first + ip + size
                : NULL;
    /* A sum does not know which end is which. */
    return (uint32_t)mix(end_of(first + source, address, ports) +
                         end_of(first + source + address, address, ports ? ports + PORT : NULL) +
                         protocol);
}
