/* links: guest/net/flow.c */
/* Which flow a frame is of. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "guest/net/flow.h"

enum { TCP = 6, UDP = 17, GRE = 47 };

static uint8_t frame[NET_HEAD];
static uint32_t ip;

static void put16(uint32_t at, uint32_t value)
{
    frame[at] = (uint8_t)(value >> 8);
    frame[at + 1] = (uint8_t)value;
}

/* From one end to the other: their number is the last byte of their addresses. Returns the flow. */
static uint32_t flow(unsigned version, bool tag, unsigned protocol, uint8_t from,
                     uint16_t from_port, uint8_t to, uint16_t to_port)
{
    uint32_t ports;

    for (unsigned i = 0; i < NET_HEAD; i++) /* what is neither address nor port does not count */
        frame[i] = (uint8_t)(from + i);
    ip = NET_ETHER + (tag ? NET_TAG : 0);
    ports = ip + (version == 4 ? 20 : 40);
    if (tag)
        put16(12, NET_TYPE_TAGGED);
    put16(ip - 2, version == 4 ? NET_TYPE_IP4 : NET_TYPE_IP6);
    frame[ip] = version == 4 ? 0x45 : 0x60;
    put16(ip + 6,
          version == 4 ? 0x4000 : (protocol << 8 | 64)); /* not to be cut; or the next header */
    if (version == 4) {
        frame[ip + 9] = (uint8_t)protocol;
        memset(frame + ip + 12, 10, 8);
        frame[ip + 15] = from;
        frame[ip + 19] = to;
    } else {
        memset(frame + ip + 8, 0xfd, 32);
        frame[ip + 23] = from;
        frame[ip + 39] = to;
    }
    put16(ports, from_port);
    put16(ports + 2, to_port);
    return net_flow(frame, NET_HEAD);
}

static void test_both_directions(void **state)
{
    for (unsigned version = 4; version <= 6; version += 2)
        for (unsigned protocol = TCP; protocol <= UDP; protocol += UDP - TCP)
            for (unsigned tag = 0; tag < 2; tag++) {
                uint32_t one = flow(version, tag, protocol, 1, 1000, 2, 80);

                assert_int_equal(flow(version, tag, protocol, 2, 80, 1, 1000), one);
                assert_int_equal(flow(version, !tag, protocol, 2, 80, 1, 1000), one);
                assert_int_not_equal(flow(version, tag, protocol, 2, 1000, 1, 80), one);
                assert_int_not_equal(flow(version, tag, protocol, 1, 1001, 2, 80), one);
                assert_int_not_equal(flow(version, tag, protocol, 1, 1000, 2, 81), one);
                assert_int_not_equal(flow(version, tag, protocol, 3, 1000, 2, 80), one);
                assert_int_not_equal(flow(version, tag, TCP + UDP - protocol, 1, 1000, 2, 80), one);
                assert_int_not_equal(flow(10 - version, tag, protocol, 1, 1000, 2, 80), one);
            }
}

static void test_without_ports(void **state)
{
    for (unsigned version = 4; version <= 6; version += 2) {
        uint32_t one = flow(version, false, GRE, 1, 1000, 2, 80);

        assert_int_equal(flow(version, false, GRE, 1, 1, 2, 2), one);
        assert_int_equal(flow(version, false, GRE, 2, 1, 1, 2), one);
        assert_int_not_equal(flow(version, false, GRE, 1, 1, 3, 2), one);
    }
}

/* The first one has ports and the others have not: so they are of the flow that has none. */
static void test_fragments(void **state)
{
    static const uint16_t fragment[] = {0x2000, 0x2007, 7, 0x1fff};
    uint32_t whole = flow(4, false, UDP, 1, 1000, 2, 80), one = 0;

    for (unsigned i = 0; i < 4; i++)
        for (uint16_t port = 1000; port < 1002; port++) {
            flow(4, false, UDP, 1, port, 2, 80);
            put16(ip + 6, fragment[i]);
            if (i == 0 && port == 1000)
                one = net_flow(frame, NET_HEAD);
            assert_int_equal(net_flow(frame, NET_HEAD), one);
        }
    assert_int_not_equal(one, whole);
}

/* IPv4's options are in between; what is too short for ports, or for IP, has none. */
static void test_lengths(void **state)
{
    uint32_t one = flow(4, false, TCP, 1, 1000, 2, 80), none;

    memmove(frame + ip + 24, frame + ip + 20, 4);
    memset(frame + ip + 20, 1, 4);
    frame[ip] = 0x46;
    assert_int_equal(net_flow(frame, NET_HEAD), one);
    assert_int_equal(net_flow(frame, ip + 28), one);
    none = net_flow(frame, ip + 27);
    assert_int_not_equal(none, one);
    assert_int_equal(net_flow(frame, ip + 20), none);
    assert_int_equal(net_flow(frame, ip + 19), 0);
    one = flow(6, false, TCP, 1, 1000, 2, 80);
    assert_int_equal(net_flow(frame, ip + 44), one);
    assert_int_not_equal(net_flow(frame, ip + 43), one);
    assert_int_equal(net_flow(frame, ip + 39), 0);
    flow(4, false, TCP, 1, 1000, 2, 80);
    put16(12, NET_TYPE_ARP);
    assert_int_equal(net_flow(frame, NET_HEAD), 0);
    put16(12, NET_TYPE_TAGGED);
    put16(16, NET_TYPE_ARP);
    assert_int_equal(net_flow(frame, NET_HEAD), 0);
    /* Whatever it says of itself, nothing behind its end is looked at. */
    for (uint32_t length = NET_ETHER; length <= NET_HEAD; length++) {
        uint8_t exact[NET_HEAD];

        for (unsigned first = 0; first < 256; first += 5) {
            flow(first & 1 ? 4 : 6, first & 2, first & 4 ? TCP : UDP, 1, 1, 2, 2);
            frame[ip] = (uint8_t)first;
            memcpy(exact + NET_HEAD - length, frame, length);
            (void)net_flow(exact + NET_HEAD - length, length);
        }
    }
}

/* Flows are spread evenly, whichever of their bits are looked at. */
static void test_spread(void **state)
{
    static unsigned count[16];

    for (uint16_t port = 0; port < 4096; port++)
        count[flow(4, false, TCP, 1, (uint16_t)(32768 + port), 2, 80) % 16]++;
    for (unsigned i = 0; i < 16; i++)
        assert_uint_in_range(count[i], 180, 332);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_directions), cmocka_unit_test(test_without_ports),
        cmocka_unit_test(test_fragments),       cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_spread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
