/* See finish.h. Field names are those of RFC 768, RFC 791, RFC 8200 and RFC 9293. */
#include "guest/net/finish.h"

#include "arch/x86/lib/string.h"

#define PROTOCOL_TCP 6u
#define PROTOCOL_UDP 17u

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

#define UDP_SIZE     8u
#define UDP_LENGTH   4u
#define UDP_CHECKSUM 6u

/* What several use and none is to wait for. */
#define INLINE inline __attribute__((always_inline))

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

/* What a sum is as a checksum: 0 would say that UDP has none. */
static INLINE uint16_t checksum_of(uint64_t s, bool udp)
{
    uint16_t value = (uint16_t)~fold(s);

    return value == 0 && udp ? 0xffff : value;
}

/* The sum over all from start on, which includes what stands in the field, becomes the field's. */
static INLINE void complete(uint8_t *data, uint32_t length, uint32_t start, uint32_t field)
{
    put16(data + field,
          checksum_of(sum(data + start, length - start), field - start == UDP_CHECKSUM));
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

/* Whether IP of that version is all that is before what begins so many bytes behind it. */
static INLINE bool good_ip(const uint8_t *ip, unsigned version, uint32_t size, unsigned protocol)
{
    if (version == 4)
        return ip[0] >> 4 == 4 && (ip[0] & 15) * 4u == size && size >= IP4_SIZE &&
               ip[IP4_PROTOCOL] == protocol;
    return version == 6 && ip[0] >> 4 == 6 && size == IP6_SIZE && ip[IP6_NEXT] == protocol;
}

static bool is_udp(const struct net_offload *o)
{
    return o->gso >= NET_GSO_UDP4;
}

/* Of which version of IP what begins there is to be; 0: of none. */
static unsigned version_of(unsigned gso)
{
    static const uint8_t versions[] = {[NET_GSO_TCP4] = 4, [NET_GSO_TCP6] = 6, [NET_GSO_UDP] = 0};

    return versions[gso];
}

static bool good_tcp(struct net_frame *f)
{
    struct net_offload *o = &f->offload;
    const uint8_t *head = f->piece[0].data;
    uint32_t first = f->piece[0].length, ip;
    unsigned version;

    if (first < NET_ETHER + NET_TAG + IP4_SIZE + TCP_SIZE || !o->checksum || o->segment == 0)
        return false;
    ip = find_ip(head, &version);
    if (version != version_of(o->gso) || o->start < ip || o->start + TCP_SIZE > first)
        return false;
    o->headers = (uint16_t)(o->start + (head[o->start + TCP_OFFSET] >> 4) * 4u);
    return good_ip(head + ip, version, o->start - ip, PROTOCOL_TCP) &&
           o->field == o->start + TCP_CHECKSUM && o->headers >= o->start + TCP_SIZE &&
           o->headers <= first && o->headers < f->length &&
           (f->length - o->headers) / o->segment <= MOST_SEGMENTS;
}

static bool good_udp(struct net_frame *f)
{
    struct net_offload *o = &f->offload;
    const uint8_t *head = f->piece[0].data;
    uint32_t first = f->piece[0].length, ip;
    unsigned version;

    if (first < NET_ETHER + IP4_SIZE + UDP_SIZE || !o->checksum || o->segment == 0 || o->ecn)
        return false;
    ip = find_ip(head, &version);
    if (o->start < ip || o->start + UDP_SIZE > first ||
        !good_ip(head + ip, version, o->start - ip, PROTOCOL_UDP))
        return false;
    o->gso = version == 4 ? NET_GSO_UDP4 : NET_GSO_UDP6;
    o->headers = (uint16_t)(o->start + UDP_SIZE);
    return o->field == o->start + UDP_CHECKSUM && o->headers < f->length &&
           (f->length - o->headers) / o->segment <= MOST_SEGMENTS;
}

bool net_offload_good(struct net_frame *f)
{
    const struct net_offload *o = &f->offload;

    if (o->gso) /* what is to be TCP is not kept waiting */
        return good_tcp(f) || (is_udp(o) && good_udp(f));
    return !o->checksum ||
           (o->start >= NET_ETHER && o->field >= o->start && o->field + 2u <= f->length);
}

/* --- segments --- */

/* What IP adds to a checksum: addresses, protocol, and how many bytes there are. */
static uint64_t pseudo_header(const uint8_t *ip, bool four, unsigned protocol, uint32_t length)
{
    uint64_t s = four ? sum(ip + IP4_SOURCE, 8) : sum(ip + IP6_SOURCE, 32);

    return s + protocol + length;
}

static void fix_tcp(const struct net_offload *o, uint8_t *tcp, uint32_t number, bool last)
{
    put32(tcp + TCP_SEQUENCE, get32(tcp + TCP_SEQUENCE) + number * o->segment);
    if (!last)
        tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    if (number > 0)
        tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
}

/* head: a copy of the headers of all, with IP at `at`; number: of the segment, which has so many
 * bytes. The checksum is the pseudo header's alone. */
static void fix_headers(const struct net_offload *o, uint8_t *head, uint32_t at, uint32_t number,
                        uint32_t size, bool last)
{
    uint32_t length = o->headers - at + size;
    bool four = o->gso == NET_GSO_TCP4 || o->gso == NET_GSO_UDP4;
    unsigned protocol = PROTOCOL_TCP;
    uint8_t *ip = head + at;

    if (four) {
        put16(ip + IP4_LENGTH, length);
        put16(ip + IP4_ID, net_get16(ip + IP4_ID) + number);
        put16(ip + IP4_CHECKSUM, 0);
        complete(ip, o->start - at, 0, IP4_CHECKSUM);
    } else {
        put16(ip + IP6_LENGTH, length - IP6_SIZE);
    }
    length = o->headers - o->start + size;
    if (is_udp(o)) {
        protocol = PROTOCOL_UDP;
        put16(head + o->start + UDP_LENGTH, length);
    } else {
        fix_tcp(o, head + o->start, number, last);
    }
    put16(head + o->field, fold(pseudo_header(ip, four, protocol, length)));
}

/* What is in f->scratch, all of it, in pieces of a header and payload. */
static void cut(const struct net_frame *f, unsigned can,
                bool (*emit)(void *context, const struct net_frame *f), void *context)
{
    const struct net_offload *o = &f->offload;
    uint32_t at = o->headers, size, ip;
    unsigned version;

    ip = find_ip(f->scratch, &version);
    for (uint32_t number = 0; at < f->length; number++, at += size) {
        uint8_t head[NET_HEAD];
        struct net_piece piece[2] = {{head, o->headers}};
        struct net_frame part = {.piece = piece, .count = 2};

        size = MIN(o->segment, f->length - at);
        memcpy(head, f->scratch, o->headers);
        fix_headers(o, head, ip, number, size, at + size == f->length);
        if (can & NET_CAN_CHECKSUM) {
            part.offload =
                (struct net_offload){.checksum = true, .start = o->start, .field = o->field};
        } else {
            uint64_t s = sum(head + o->start, o->headers - o->start);
            put16(head + o->field, checksum_of(s + sum(f->scratch + at, size), is_udp(o)));
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
