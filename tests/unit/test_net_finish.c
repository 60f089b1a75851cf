/* links: guest/net/finish.c */
/* Checksums and segments, against a computation of their own. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "guest/net/finish.h"

static uint8_t frame[NET_MAX_FRAME], scratch[NET_MAX_FRAME];
static struct net_piece pieces[3];
static struct net_frame f;

static struct part {
    uint8_t data[2000];
    uint32_t length;
    struct net_offload offload;
} parts[64];
static unsigned count, most;

static bool emit(void *context, const struct net_frame *part)
{
    struct part *p = &parts[count++];

    assert_true(count <= 64 && part->length <= sizeof(p->data));
    p->length = 0;
    for (unsigned i = 0; i < part->count; i++) {
        memcpy(p->data + p->length, part->piece[i].data, part->piece[i].length);
        p->length += part->piece[i].length;
    }
    assert_int_equal(p->length, part->length);
    p->offload = part->offload;
    return count < most;
}

static void finish(unsigned can)
{
    count = 0;
    net_finish(&f, can, emit, NULL);
}

/* A frame of that length out of three pieces. */
static void make(uint32_t length)
{
    uint32_t first = MIN(length, NET_HEAD), second = (length - first) / 3;

    pieces[0] = (struct net_piece){frame, first};
    pieces[1] = (struct net_piece){frame + first, second};
    pieces[2] = (struct net_piece){frame + first + second, length - first - second};
    f = (struct net_frame){.piece = pieces, .count = 3, .length = length, .scratch = scratch};
    if (second == 0)
        f.count = 1;
}

static void put(uint32_t at, uint32_t value, unsigned size)
{
    while (size > 0) {
        frame[at + --size] = (uint8_t)value;
        value >>= 8;
    }
}

static uint32_t get(const uint8_t *p, unsigned size)
{
    uint32_t v = 0;

    while (size-- > 0)
        v = v << 8 | *p++;
    return v;
}

/* The one's complement sum of the words that are there, and of some that are said beside. */
static uint32_t words(const uint8_t *p, uint32_t length, uint32_t more)
{
    uint32_t s = more;

    for (uint32_t i = 0; i < length; i++) {
        s += i % 2 ? p[i] : (uint32_t)p[i] << 8;
        s = (s & 0xffff) + (s >> 16);
    }
    return (s & 0xffff) + (s >> 16);
}

/* TCP over IP of that version, with a tag or not, `options` bytes of TCP's; where TCP begins. */
static uint32_t make_tcp(unsigned version, bool tag, uint32_t options, uint32_t payload)
{
    uint32_t ip = NET_ETHER + (tag ? NET_TAG : 0), tcp = ip + (version == 4 ? 20 : 40);
    uint32_t length = tcp + 20 + options + payload;

    for (uint32_t i = 0; i < length; i++)
        frame[i] = (uint8_t)(i * 7 + i / 256);
    if (tag)
        put(12, 0x81000003, 4);
    put(ip - 2, version == 4 ? 0x0800 : 0x86dd, 2);
    frame[ip] = version == 4 ? 0x45 : 0x60;
    if (version == 4) {
        put(ip + 2, length - ip, 2);
        put(ip + 4, 0xfffe, 2); /* its id goes round */
        frame[ip + 9] = 6;
    } else {
        put(ip + 4, length - tcp, 2);
        frame[ip + 6] = 6;
    }
    put(tcp + 4, 0xffffff00, 4);
    frame[tcp + 12] = (uint8_t)((20 + options) / 4 << 4);
    frame[tcp + 13] = 0x99; /* CWR, ACK, PSH, FIN */
    make(length);
    f.offload = (struct net_offload){.gso = version == 4 ? NET_GSO_TCP4 : NET_GSO_TCP6,
                                     .checksum = true,
                                     .start = (uint16_t)tcp,
                                     .field = (uint16_t)(tcp + 16),
                                     .segment = 1000};
    most = 64;
    return tcp;
}

static void test_checksum(void **state)
{
    for (uint32_t length = 60; length < 1500; length += 717) {
        make(length);
        for (uint32_t i = 0; i < length; i++)
            frame[i] = (uint8_t)(i * 13);
        f.offload = (struct net_offload){.checksum = true, .start = 34, .field = 50};
        assert_true(net_offload_good(&f));
        finish(0);
        assert_int_equal(count, 1);
        assert_int_equal(parts[0].length, length);
        assert_false(parts[0].offload.checksum);
        /* What stood in the field was part of the sum. */
        uint32_t s = words(frame + 34, length - 34, 0);
        assert_int_equal(get(parts[0].data + 50, 2), ~s & 0xffff);
        memcpy(parts[0].data + 50, frame + 50, 2);
        assert_memory_equal(parts[0].data, frame, length);
    }
    /* UDP: none would be 0. */
    make(60);
    memset(frame, 0, 60);
    put(34, 0xffff, 2);
    f.offload = (struct net_offload){.checksum = true, .start = 34, .field = 40};
    finish(0);
    assert_int_equal(get(parts[0].data + 40, 2), 0xffff);
    f.offload.field = 50;
    finish(0);
    assert_int_equal(get(parts[0].data + 50, 2), 0);
}

static void check_segments(unsigned version, bool tag, uint32_t options, unsigned can)
{
    uint32_t payload = 4321, tcp = make_tcp(version, tag, options, payload), at = 0;
    uint32_t headers = tcp + 20 + options, ip = NET_ETHER + (tag ? NET_TAG : 0);

    assert_true(net_offload_good(&f));
    assert_int_equal(f.offload.headers, headers);
    finish(can);
    assert_int_equal(count, 5);
    for (unsigned i = 0; i < count; i++) {
        struct part *p = &parts[i];
        uint8_t *t = p->data + tcp;
        uint32_t size = p->length - headers, tcp_size = p->length - tcp, s;
        uint32_t pseudo = version == 4 ? words(p->data + ip + 12, 8, 6 + tcp_size)
                                       : words(p->data + ip + 8, 32, 6 + tcp_size);

        assert_int_equal(size, i == 4 ? 321 : 1000);
        assert_memory_equal(p->data + headers, frame + headers + at, size);
        assert_int_equal(get(t + 4, 4), 0xffffff00u + 1000 * i);
        assert_int_equal(t[13], 0x10 | (i == 0 ? 0x80 : 0) | (i == 4 ? 0x09 : 0));
        if (version == 4) {
            assert_int_equal(get(p->data + ip + 2, 2), p->length - ip);
            assert_int_equal(get(p->data + ip + 4, 2), (0xfffe + i) & 0xffff);
            assert_int_equal(words(p->data + ip, 20, 0), 0xffff);
        } else {
            assert_int_equal(get(p->data + ip + 4, 2), tcp_size);
        }
        s = words(t, tcp_size, 0);
        if (can & NET_CAN_CHECKSUM) {
            assert_int_equal(get(t + 16, 2), pseudo);
            assert_int_equal(p->offload.start, tcp);
            assert_int_equal(p->offload.field, tcp + 16);
        } else {
            assert_int_equal(words(t, tcp_size, pseudo), 0xffff);
        }
        assert_int_equal(p->offload.checksum, can & NET_CAN_CHECKSUM);
        assert_int_equal(p->offload.gso, NET_GSO_NONE);
        assert_true(s != 0);
        at += size;
    }
    assert_int_equal(at, payload);
    most = 2;
    finish(can); /* who has no room gets no more */
    assert_int_equal(count, 2);
}

static void test_segments(void **state)
{
    for (unsigned can = 0; can <= NET_CAN_CHECKSUM; can += NET_CAN_CHECKSUM) {
        check_segments(4, false, 0, can);
        check_segments(4, true, 12, can);
        check_segments(6, false, 40, can);
        check_segments(6, true, 0, can);
    }
}

/* UDP over IP of that version, with a tag or not; where UDP begins. */
static uint32_t make_udp(unsigned version, bool tag, uint32_t payload)
{
    uint32_t udp = make_tcp(version, tag, 0, payload), length = udp + 8 + payload;
    uint32_t ip = NET_ETHER + (tag ? NET_TAG : 0);

    frame[version == 4 ? ip + 9 : ip + 6] = 17;
    if (version == 4)
        put(ip + 2, length - ip, 2);
    else
        put(ip + 4, length - udp, 2);
    put(udp, 0x12345678, 4); /* two ports */
    put(udp + 4, length - udp, 2);
    put(udp + 6, 0x5555, 2);
    make(length);
    f.offload = (struct net_offload){.gso = NET_GSO_UDP,
                                     .checksum = true,
                                     .start = (uint16_t)udp,
                                     .field = (uint16_t)(udp + 6),
                                     .segment = 1000};
    return udp;
}

static void check_datagrams(unsigned version, bool tag, unsigned can)
{
    uint32_t payload = 4321, udp = make_udp(version, tag, payload), at = 0;
    uint32_t ip = NET_ETHER + (tag ? NET_TAG : 0);

    assert_true(net_offload_good(&f));
    assert_int_equal(f.offload.gso, version == 4 ? NET_GSO_UDP4 : NET_GSO_UDP6);
    assert_int_equal(f.offload.headers, udp + 8);
    assert_int_equal(net_frame_more(&f), 4);
    assert_int_equal(net_frame_bytes(&f), f.length + 4 * (udp + 8));
    finish(can);
    assert_int_equal(count, 5);
    for (unsigned i = 0; i < count; i++) {
        struct part *p = &parts[i];
        uint32_t size = p->length - udp - 8;
        uint32_t pseudo = version == 4 ? words(p->data + ip + 12, 8, 17 + 8 + size)
                                       : words(p->data + ip + 8, 32, 17 + 8 + size);

        assert_int_equal(size, i == 4 ? 321 : 1000);
        assert_memory_equal(p->data, frame, ip);
        assert_memory_equal(p->data + udp, frame + udp, 4);
        assert_int_equal(get(p->data + udp + 4, 2), 8 + size);
        assert_memory_equal(p->data + udp + 8, frame + udp + 8 + at, size);
        if (version == 4) {
            assert_int_equal(get(p->data + ip + 2, 2), p->length - ip);
            assert_int_equal(get(p->data + ip + 4, 2), (0xfffe + i) & 0xffff);
            assert_int_equal(words(p->data + ip, 20, 0), 0xffff);
        } else {
            assert_int_equal(get(p->data + ip + 4, 2), 8 + size);
        }
        if (can & NET_CAN_CHECKSUM) {
            assert_int_equal(get(p->data + udp + 6, 2), pseudo);
            assert_int_equal(p->offload.start, udp);
            assert_int_equal(p->offload.field, udp + 6);
        } else {
            assert_int_equal(words(p->data + udp, 8 + size, pseudo), 0xffff);
            assert_int_not_equal(get(p->data + udp + 6, 2), 0);
        }
        assert_int_equal(p->offload.checksum, can & NET_CAN_CHECKSUM);
        assert_int_equal(p->offload.gso, NET_GSO_NONE);
        at += size;
    }
    assert_int_equal(at, payload);
    most = 2;
    finish(can);
    assert_int_equal(count, 2);
}

static void test_datagrams(void **state)
{
    for (unsigned can = 0; can <= NET_CAN_CHECKSUM; can += NET_CAN_CHECKSUM)
        for (unsigned i = 0; i < 4; i++)
            check_datagrams(i & 1 ? 6 : 4, i & 2, can);
}

/* A checksum that comes out as 0 would say that there is none. */
static void test_datagram_without_checksum(void **state)
{
    uint32_t udp = make_udp(4, false, 4), sum;

    memset(frame + 26, 0, 8); /* addresses */
    put(udp, 0, 4);
    f.offload.segment = 2;
    assert_true(net_offload_good(&f));
    sum = 17 + 2 * (8 + 2); /* of the first one, but for its payload */
    put(udp + 8, 0xffff - sum, 2);
    finish(0);
    assert_int_equal(count, 2);
    assert_int_equal(get(parts[0].data + udp + 6, 2), 0xffff);
}

/* However little they carry. */
static void test_shortest_datagrams(void **state)
{
    for (unsigned i = 0; i < 4; i++) {
        uint32_t udp = make_udp(i & 1 ? 6 : 4, i & 2, 2);

        f.offload.segment = 1;
        assert_true(net_offload_good(&f));
        finish(0);
        assert_int_equal(count, 2);
        assert_int_equal(parts[1].length, udp + 9);
    }
}

static void test_datagrams_that_lie(void **state)
{
    uint32_t udp = make_udp(4, false, 3000);
    struct net_offload good = f.offload;

#define WITH_UDP(change)                                                                           \
    do {                                                                                           \
        f.offload = good;                                                                          \
        change;                                                                                    \
        assert_false(net_offload_good(&f));                                                        \
        make_udp(4, false, 3000);                                                                  \
        assert_true(net_offload_good(&f));                                                         \
    } while (0)
    WITH_UDP(f.offload.checksum = false);
    WITH_UDP(f.offload.ecn = true);
    WITH_UDP(f.offload.segment = 0);
    WITH_UDP(f.offload.segment = 3000 / 130);
    WITH_UDP(f.offload.gso = NET_GSO_TCP4);
    WITH_UDP(f.offload.gso = NET_GSO_TCP6);
    WITH_UDP(f.offload.start++);
    WITH_UDP(f.offload.start = 13);
    WITH_UDP(f.offload.start = 0xffff);
    WITH_UDP(f.offload.field += 2);
    WITH_UDP(f.offload.field = (uint16_t)(udp + 16));
    WITH_UDP(frame[12] = 9);
    WITH_UDP(frame[NET_ETHER] = 0x46);
    WITH_UDP(frame[NET_ETHER] = 0x65);
    WITH_UDP(frame[NET_ETHER + 9] = 6);
    WITH_UDP(f.length = udp + 8);
    WITH_UDP(pieces[0].length = udp + 7);
    WITH_UDP(pieces[0].length = 20);
    udp = make_udp(6, false, 3000);
    pieces[0].length = udp + 7; /* all of it would be in the first piece by IPv4 */
    assert_false(net_offload_good(&f));
    make_udp(6, false, 3000);
    frame[NET_ETHER + 6] = 44; /* a fragment's header */
    assert_false(net_offload_good(&f));
    make_tcp(6, false, 0, 3000); /* TCP that says it is UDP */
    f.offload.gso = NET_GSO_UDP;
    assert_false(net_offload_good(&f));
    make_tcp(4, false, 0, 3000);
    f.offload.gso = NET_GSO_UDP;
    assert_false(net_offload_good(&f));
    frame[12] = 9; /* and what is no IP */
    assert_false(net_offload_good(&f));
}

/* Each field that may lie. */
static void test_lies(void **state)
{
    struct net_offload good;
    uint32_t tcp = make_tcp(4, false, 12, 3000);

    good = f.offload;
#define WITH(change)                                                                               \
    do {                                                                                           \
        f.offload = good;                                                                          \
        change;                                                                                    \
        assert_false(net_offload_good(&f));                                                        \
        make_tcp(4, false, 12, 3000);                                                              \
        assert_true(net_offload_good(&f));                                                         \
    } while (0)
    WITH(f.offload.checksum = false);
    WITH(f.offload.segment = 0);
    WITH(f.offload.segment = 3000 / 130);
    WITH(f.offload.gso = NET_GSO_TCP6);
    WITH(f.offload.start++);
    WITH(f.offload.start = 13);
    WITH(f.offload.start = 0xffff);
    WITH(f.offload.field -= 2);
    WITH(frame[12] = 9);
    WITH(frame[NET_ETHER] = 0x46);
    WITH(frame[NET_ETHER] = 0x65);
    WITH(frame[NET_ETHER + 9] = 17);
    WITH(frame[tcp + 12] = 0x40);
    WITH(f.length = tcp + 32);
    WITH(pieces[0].length = tcp + 31);
    WITH(pieces[0].length = 20);
    make_tcp(6, false, 0, 3000);
    frame[NET_ETHER + 6] = 0; /* hop-by-hop options */
    assert_false(net_offload_good(&f));
    make(60);
    f.offload = (struct net_offload){.checksum = true, .start = 34, .field = 58};
    assert_true(net_offload_good(&f));
    f.offload.field = 59;
    assert_false(net_offload_good(&f));
    f.offload.field = 33;
    assert_false(net_offload_good(&f));
    f.offload = (struct net_offload){.checksum = true, .start = 13, .field = 20};
    assert_false(net_offload_good(&f));
    f.offload = (struct net_offload){.start = 0xffff};
    assert_true(net_offload_good(&f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum),
        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_datagrams),
        cmocka_unit_test(test_datagram_without_checksum),
        cmocka_unit_test(test_datagrams_that_lie),
        cmocka_unit_test(test_shortest_datagrams),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
