/* See finish.h. Field names are those of RFC 791, RFC 8200 and RFC 9293. */
#include "guest/net/finish.h"

#include "arch/x86/lib/string.h"

#define PROTOCOL_TCP 6u

#define IP4_SIZE     20u
#define IP4_LENGTH   2u
#define IP4_ID       4u
#define IP4_PROTOCOL 9u
#define IP4_CHECKSUM 10u
#define IP4_SOURCE   12u
#define IP6_SIZE     40u
#define IP6_LENGTH   4u
#define IP6_NEXT     6u
#define IP6_SOURCE   8u

#define TCP_SIZE     20u
#define TCP_SEQUENCE 4u
#define TCP_OFFSET   12u
#define TCP_FLAGS    13u
#define TCP_CHECKSUM 16u
#define TCP_FIN      BIT(0)
#define TCP_PSH      BIT(3)
#define TCP_CWR      BIT(7)
#define UDP_CHECKSUM 6u

#define MOST_SEGMENTS 128u /* all the 64 KiB there can be, with the smallest MTU */

static void put16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)net_get16(p) << 16 | net_get16(p + 2);
}

static void put32(uint8_t *p, uint32_t value)
{
    put16(p, value >> 16);
    put16(p + 2, value);
}

/* --- sums, as of RFC 1071 --- */

static uint64_t sum(const uint8_t *p, uint32_t length)
{
    uint64_t s = 0;

    for (; length >= 2; p += 2, length -= 2)
        s += net_get16(p);
    return length ? s + ((uint32_t)*p << 8) : s;
}

static uint16_t fold(uint64_t s)
{
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return (uint16_t)s;
}

/* The sum over all from start on, which includes what stands in the field, becomes the field's. A
 * sum of 0 would say that UDP has none. */
static void complete(uint8_t *data, uint32_t length, uint32_t start, uint32_t field)
{
    uint16_t value = (uint16_t)~fold(sum(data + start, length - start));

    put16(data + field, value == 0 && field - start == UDP_CHECKSUM ? 0xffff : value);
}

/* --- what it is --- */

/* Where IP begins, and which: 4, 6 or 0. */
static uint32_t find_ip(const uint8_t *head, unsigned *version)
{
    uint32_t at = NET_ETHER;
    uint16_t type = net_get16(head + at - 2);

    if (type == NET_TYPE_TAGGED || type == NET_TYPE_SERVICE) {
        at += NET_TAG;
        type = net_get16(head + at - 2);
    }
    *version = type == NET_TYPE_IP4 ? 4 : type == NET_TYPE_IP6 ? 6 : 0;
    return at;
}

static bool good_ip(const uint8_t *ip, unsigned version, uint32_t tcp)
{
    if (version == 4)
        return ip[0] >> 4 == 4 && (ip[0] & 15) * 4u == tcp && tcp >= IP4_SIZE &&
               ip[IP4_PROTOCOL] == PROTOCOL_TCP;
    return version == 6 && ip[0] >> 4 == 6 && tcp == IP6_SIZE && ip[IP6_NEXT] == PROTOCOL_TCP;
}

static bool good_segments(struct net_frame *f)
{
    struct net_offload *o = &f->offload;
    const uint8_t *head = f->piece[0].data;
    uint32_t first = f->piece[0].length, ip;
    unsigned version;

    if (first < NET_ETHER + NET_TAG + IP4_SIZE + TCP_SIZE || !o->checksum || o->segment == 0)
        return false;
    ip = find_ip(head, &version);
    if (version != (o->gso == NET_GSO_TCP4 ? 4 : 6) || o->start < ip || o->start + TCP_SIZE > first)
        return false;
    o->headers = (uint16_t)(o->start + (head[o->start + TCP_OFFSET] >> 4) * 4u);
    return good_ip(head + ip, version, o->start - ip) && o->field == o->start + TCP_CHECKSUM &&
           o->headers >= o->start + TCP_SIZE && o->headers <= first && o->headers < f->length &&
           (f->length - o->headers) / o->segment <= MOST_SEGMENTS;
}

bool net_offload_good(struct net_frame *f)
{
    const struct net_offload *o = &f->offload;

    if (o->gso)
        return good_segments(f);
    return !o->checksum ||
           (o->start >= NET_ETHER && o->field >= o->start && o->field + 2u <= f->length);
}

/* --- segments --- */

/* The addresses' and the protocol's part of TCP's checksum, for so many bytes of it. */
static uint64_t pseudo_header(const uint8_t *ip, bool four, uint32_t length)
{
    uint64_t s = four ? sum(ip + IP4_SOURCE, 8) : sum(ip + IP6_SOURCE, 32);

    return s + PROTOCOL_TCP + length;
}

/* head: a copy of the headers of all; number: of the segment, which has so many bytes. */
static void fix_headers(const struct net_offload *o, uint8_t *head, uint32_t number, uint32_t size,
                        bool last)
{
    unsigned version;
    uint32_t at = find_ip(head, &version), length = o->headers - at + size;
    uint8_t *ip = head + at, *tcp = head + o->start;

    if (o->gso == NET_GSO_TCP4) {
        put16(ip + IP4_LENGTH, length);
        put16(ip + IP4_ID, net_get16(ip + IP4_ID) + number);
        put16(ip + IP4_CHECKSUM, 0);
        complete(ip, o->start - at, 0, IP4_CHECKSUM);
    } else {
        put16(ip + IP6_LENGTH, length - IP6_SIZE);
    }
    put32(tcp + TCP_SEQUENCE, get32(tcp + TCP_SEQUENCE) + number * o->segment);
    if (!last)
        tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    if (number > 0)
        tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
    put16(tcp + TCP_CHECKSUM,
          fold(pseudo_header(ip, o->gso == NET_GSO_TCP4, o->headers - o->start + size)));
}

/* What is in f->scratch, all of it, in pieces of a header and payload. */
static void cut(const struct net_frame *f, unsigned can,
                bool (*emit)(void *context, const struct net_frame *f), void *context)
{
    const struct net_offload *o = &f->offload;
    uint32_t at = o->headers, size;

    for (uint32_t number = 0; at < f->length; number++, at += size) {
        uint8_t head[NET_HEAD];
        struct net_piece piece[2] = {{head, o->headers}};
        struct net_frame part = {.piece = piece, .count = 2};

        size = MIN(o->segment, f->length - at);
        memcpy(head, f->scratch, o->headers);
        fix_headers(o, head, number, size, at + size == f->length);
        if (can & NET_CAN_CHECKSUM) {
            part.offload =
                (struct net_offload){.checksum = true, .start = o->start, .field = o->field};
        } else {
            uint64_t s = sum(head + o->start, o->headers - o->start);
            put16(head + o->field, (uint16_t)~fold(s + sum(f->scratch + at, size)));
        }
        piece[1] = (struct net_piece){f->scratch + at, size};
        part.length = o->headers + size;
        if (!emit(context, &part))
            return;
    }
}

void net_finish(const struct net_frame *f, unsigned can,
                bool (*emit)(void *context, const struct net_frame *f), void *context)
{
    struct net_piece whole = {f->scratch, f->length};
    struct net_frame done = {.piece = &whole, .count = 1, .length = f->length};
    uint32_t at = 0;

    for (unsigned i = 0; i < f->count; at += f->piece[i++].length)
        memcpy(f->scratch + at, f->piece[i].data, f->piece[i].length);
    if (f->offload.gso) {
        cut(f, can, emit, context);
        return;
    }
    complete(f->scratch, f->length, f->offload.start, f->offload.field);
    emit(context, &done);
}
