/* links: guest/capture/filter.c arch/x86/lib/format.c */
/* Which frames a capture takes: what a person types, right and wrong, on frames that are made here
 * byte by byte, whole and cut off. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/capture/filter.h"

static struct filter filter;
static char error[FILTER_ERROR];

static int parse(const char *text)
{
    size_t length = strlen(text);
    char *copy = malloc(length + !length); /* the sanitizer sees who reads behind it */
    int result;

    memcpy(copy, text, length);
    memset(error, 0, sizeof(error));
    result = filter_parse(copy, length, &filter, error);
    free(copy);
    return result;
}

/* --- frames --- */

#define MAC_A  0x52, 0, 0, 0, 0, 0xa
#define MAC_B  0x52, 0, 0, 0, 0, 0xb
#define ETHER  MAC_B, MAC_A
#define IP4    0x08, 0x00
#define IP6    0x86, 0xdd
#define TAG(n) 0x81, 0, 0x20 | (n) >> 8, (n)&0xff
/* Of 10.0.0.1 to 10.0.0.2. */
#define HEAD4(protocol, fragment)                                                                  \
    0x45, 0, 0, 40, 0, 0, (fragment) >> 8, (fragment)&0xff, 64, protocol, 0, 0, 10, 0, 0, 1, 10,   \
        0, 0, 2
#define HEAD6(next)                                                                                \
    0x60, 0, 0, 0, 0, 20, next, 64, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xfd, 0, 0, \
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2
#define PORTS(from, to) (from) >> 8, (from)&0xff, (to) >> 8, (to)&0xff

struct frame {
    const uint8_t *bytes;
    uint32_t length;
};
#define FRAME(...)                                                                                 \
    (struct frame)                                                                                 \
    {                                                                                              \
        (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})                     \
    }

#define ARP                                                                                        \
    FRAME(255, 255, 255, 255, 255, 255, MAC_A, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, MAC_A, 10, 0, 0, 1,   \
          0, 0, 0, 0, 0, 0, 10, 0, 0, 2)
#define TCP4    FRAME(ETHER, IP4, HEAD4(6, 0x4000), PORTS(40000, 80))
#define UDP4    FRAME(ETHER, IP4, HEAD4(17, 0), PORTS(53, 40000))
#define ICMP4   FRAME(ETHER, IP4, HEAD4(1, 0), 8, 0, 0, 0)
#define TCP6    FRAME(ETHER, IP6, HEAD6(6), PORTS(40000, 80))
#define ICMP6   FRAME(ETHER, IP6, HEAD6(58), 135, 0, 0, 0)
#define TAGGED  FRAME(ETHER, TAG(10), IP4, HEAD4(17, 0), PORTS(53, 40000))
#define UNKNOWN FRAME(ETHER, 0x12, 0x34, 0)

static uint16_t vlan; /* of the port */

/* The frame as it is in memory that ends with it. */
static bool match(struct frame f)
{
    uint8_t *copy = malloc(f.length + !f.length);
    bool result;

    memcpy(copy, f.bytes, f.length);
    result = filter_match(&filter, copy, f.length, vlan);
    free(copy);
    return result;
}

/* A letter for each of all these frames that passes. */
static const char *passing(const char *text)
{
    const struct frame frames[] = {ARP, TCP4, UDP4, ICMP4, TCP6, ICMP6, TAGGED, UNKNOWN};
    static char letters[ARRAY_SIZE(frames) + 1];
    unsigned n = 0;

    if (parse(text) < 0)
        fail_msg("%s: %s", text, error);
    for (unsigned i = 0; i < ARRAY_SIZE(frames); i++)
        if (match(frames[i]))
            letters[n++] = "atui678x"[i];
    letters[n] = '\0';
    return letters;
}

/* --- words --- */

static void test_each_word(void **state)
{
    assert_string_equal(passing(""), "atui678x");
    assert_string_equal(passing("   "), "atui678x");
    assert_string_equal(passing("arp"), "a");
    assert_string_equal(passing("ip"), "tui8");
    assert_string_equal(passing("ip6"), "67");
    assert_string_equal(passing("icmp"), "i");
    assert_string_equal(passing("icmp6"), "7");
    assert_string_equal(passing("tcp"), "t6");
    assert_string_equal(passing("udp"), "u8");
    assert_string_equal(passing("port 80"), "t6");
    assert_string_equal(passing("port 53"), "u8");
    assert_string_equal(passing("port 40000"), "tu68");
    assert_string_equal(passing("tcp port 40000"), "t6");
    assert_string_equal(passing("udp port 40000"), "u8");
    assert_string_equal(passing("host 10.0.0.1"), "atui8");
    assert_string_equal(passing("host 10.0.0.2"), "atui8");
    assert_string_equal(passing("host 10.0.0.3"), "");
    assert_string_equal(passing("mac 52:00:00:00:00:0a"), "atui678x");
    assert_string_equal(passing("mac 52:00:00:00:00:0B"), "tui678x");
    assert_string_equal(passing("mac ff:FF:ff:ff:ff:ff"), "a");
    assert_string_equal(passing("vlan 10"), "8");
    assert_string_equal(passing("vlan 11"), "");
    vlan = 11;
    assert_string_equal(passing("vlan 11"), "atui678x");
    assert_string_equal(passing("vlan 10"), "8");
    vlan = 0;
}

/* As tcpdump has it: `not` binds a term, and the rest goes from left to right. */
static void test_several(void **state)
{
    assert_string_equal(passing("not arp"), "tui678x");
    assert_string_equal(passing("not not arp"), "a");
    assert_string_equal(passing("tcp and host 10.0.0.1"), "t");
    assert_string_equal(passing("arp or icmp"), "ai");
    assert_string_equal(passing("not tcp port 80"), "aui78x");
    assert_string_equal(passing("not arp and not ip6"), "tui8x");
    assert_string_equal(passing("arp or icmp and ip"), "i");
    assert_string_equal(passing("ip and icmp or arp"), "ai");
    assert_string_equal(passing("  udp   and  not vlan 10  "), "u");
    assert_string_equal(passing("tcp or udp or icmp or icmp6 or arp"), "atui678");
}

static void refuse(const char *text, const char *why)
{
    assert_int_equal(parse(text), -EINVAL);
    if (strcmp(error, why) != 0)
        fail_msg("%s: %s; but: %s", text, why, error);
}

static void test_refused(void **state)
{
#define ANY "arp, ip, ip6, icmp, icmp6, tcp, udp, port, host, mac or vlan is expected"
    refuse("arps", "'arps' stands where " ANY);
    refuse("and arp", "'and' stands where " ANY);
    refuse("arp and", "the filter ends where " ANY);
    refuse("not", "the filter ends where " ANY);
    refuse("arp or or tcp", "'or' stands where " ANY);
    refuse("arp tcp", "'tcp' stands where `and` or `or` is expected");
    refuse("ARP", "'ARP' stands where " ANY);
    refuse("port", "the filter ends where a port is expected, as in: port 80");
    refuse("port 65536", "'65536' is not a port, as in: port 80");
    refuse("port 99999999999999999999", "'99999999999999999999' is not a port, as in: port 80");
    refuse("tcp port http", "'http' is not a port, as in: port 80");
    refuse("port -1", "'-1' is not a port, as in: port 80");
    refuse("host 10.0.0", "'10.0.0' is not an IPv4 address, as in: host 10.0.0.1");
    refuse("host 10.0.0.", "'10.0.0.' is not an IPv4 address, as in: host 10.0.0.1");
    refuse("host 10.0.0.256", "'10.0.0.256' is not an IPv4 address, as in: host 10.0.0.1");
    refuse("host 10.0.0.1.2", "'10.0.0.1.2' is not an IPv4 address, as in: host 10.0.0.1");
    refuse("host fd00::1", "'fd00::1' is not an IPv4 address, as in: host 10.0.0.1");
    refuse("mac 52:00:00:00:00", "'52:00:00:00:00' is not a card's address, as in: "
                                 "mac 52:00:00:00:00:01");
    refuse("mac 52-00-00-00-00-01", "'52-00-00-00-00-01' is not a card's address, as in: "
                                    "mac 52:00:00:00:00:01");
    refuse("mac 52:00:00:00:00:0g", "'52:00:00:00:00:0g' is not a card's address, as in: "
                                    "mac 52:00:00:00:00:01");
    refuse("vlan 4095", "'4095' is not a VLAN, as in: vlan 10");
    refuse("arp or arp or arp or arp or arp or arp or arp or arp or arp or arp or arp or arp or "
           "arp or arp or arp or arp or arp",
           "a filter has 16 terms at most");
    assert_int_equal(parse("arp or arp or arp or arp or arp or arp or arp or arp or arp or arp or "
                           "arp or arp or arp or arp or arp or arp"),
                     0);
    char longest[300];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(parse(longest), -EINVAL);
    assert_true(strlen(error) < FILTER_ERROR);
}

/* --- frames that are not what they seem --- */

/* Each of them, cut off after each byte: what a filter needs and is not there does not match. */
static void test_cut_off(void **state)
{
    const struct {
        const char *text;
        struct frame frame;
        uint32_t needs;
    } rows[] = {
        {"arp", ARP, 14},
        {"host 10.0.0.2", ARP, 42},
        {"ip", TCP4, 14},
        {"tcp", TCP4, 34},
        {"port 80", TCP4, 38},
        {"host 10.0.0.2", TCP4, 34},
        {"icmp", ICMP4, 34},
        {"tcp", TCP6, 54},
        {"port 80", TCP6, 58},
        {"vlan 10", TAGGED, 18},
        {"udp port 53", TAGGED, 42},
        {"mac 52:00:00:00:00:0a", UNKNOWN, 14},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(parse(rows[i].text), 0);
        for (uint32_t n = 0; n <= rows[i].frame.length; n++)
            if (match((struct frame){rows[i].frame.bytes, n}) != (n >= rows[i].needs))
                fail_msg("%s, %u bytes", rows[i].text, n);
    }
}

static void test_ip4(void **state)
{
    assert_int_equal(parse("port 80"), 0);
    assert_true(
        match(FRAME(ETHER, IP4, HEAD4(17, 0x2000), PORTS(80, 1))));     /* the first of several */
    assert_false(match(FRAME(ETHER, IP4, HEAD4(17, 1), PORTS(80, 1)))); /* the next one */
    assert_false(match(FRAME(ETHER, IP4, HEAD4(1, 0), PORTS(80, 1))));
    assert_false(match(FRAME(ETHER, IP4, 0x46, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10,
                             0, 0, 2, PORTS(80, 80)))); /* those are options */
    assert_true(match(FRAME(ETHER, IP4, 0x46, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0,
                            0, 2, 0, 0, 0, 0, PORTS(1, 80))));
    assert_false(match(FRAME(ETHER, IP4, 0x44, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10,
                             0, 0, 2, PORTS(80, 80)))); /* no header is so short */
    assert_false(match(FRAME(ETHER, IP4, 0x65, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10,
                             0, 0, 2, PORTS(80, 80))));
    assert_int_equal(parse("udp"), 0);
    assert_true(match(FRAME(ETHER, IP4, HEAD4(17, 1), PORTS(80, 1))));
    assert_int_equal(parse("host 10.0.0.1"), 0);
    assert_false(match(FRAME(ETHER, 8, 6, 0, 1, 0x86, 0xdd, 6, 4, 0, 1, MAC_A, 10, 0, 0, 1, 0, 0, 0,
                             0, 0, 0, 10, 0, 0, 2))); /* not IP's ARP */
}

static void test_ip6(void **state)
{
    assert_int_equal(parse("tcp port 80"), 0);
    assert_true(match(FRAME(ETHER, IP6, HEAD6(0), 43, 0, 0, 0, 0, 0, 0, 0, 60, 1, 0, 0, 0, 0, 0, 0,
                            0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, PORTS(80, 9))));
    assert_true(
        match(FRAME(ETHER, IP6, HEAD6(51), 6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, PORTS(9, 80))));
    assert_true(match(FRAME(ETHER, IP6, HEAD6(44), 6, 0, 0, 1, 0, 0, 0, 0, PORTS(80, 9))));
    assert_false(match(FRAME(ETHER, IP6, HEAD6(44), 6, 0, 0, 8, 0, 0, 0, 0, PORTS(80, 9))));
    assert_false(match(FRAME(ETHER, IP6, HEAD6(0), 6, 200, 0, 0, 0, 0, 0, 0, PORTS(80, 9))));
    assert_int_equal(parse("tcp"), 0);
    assert_true(match(FRAME(ETHER, IP6, HEAD6(44), 6, 0, 0, 8, 0, 0, 0, 0, PORTS(80, 9))));
    assert_int_equal(parse("icmp"), 0);
    assert_false(match(FRAME(ETHER, IP6, HEAD6(1), 8, 0, 0, 0)));
    assert_int_equal(parse("icmp6"), 0);
    assert_false(match(FRAME(ETHER, IP4, HEAD4(58, 0), 8, 0, 0, 0)));
    /* No end of extensions: it is not looked for for ever. */
    uint8_t chain[200] = {ETHER, IP6, HEAD6(60)};
    for (unsigned at = 54; at + 8 <= sizeof(chain); at += 8)
        chain[at] = at < 150 ? 60 : 6;
    assert_int_equal(parse("tcp"), 0);
    assert_false(match((struct frame){chain, sizeof(chain)}));
}

static void test_tags(void **state)
{
    assert_int_equal(parse("vlan 20 and udp port 53"), 0);
    assert_true(match(FRAME(ETHER, 0x88, 0xa8, 0, 30, TAG(20), IP4, HEAD4(17, 0), PORTS(53, 1))));
    assert_int_equal(parse("vlan 30 and udp port 53"), 0);
    assert_true(match(FRAME(ETHER, 0x88, 0xa8, 0, 30, TAG(20), IP4, HEAD4(17, 0), PORTS(53, 1))));
    assert_int_equal(parse("vlan 7"), 0); /* more than two are not looked behind */
    assert_false(match(FRAME(ETHER, TAG(1), TAG(2), TAG(7), IP4)));
    vlan = 4094;
    assert_true(match(FRAME(ETHER, TAG(1), TAG(7), TAG(2), IP4)));
    vlan = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_word), cmocka_unit_test(test_several),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_ip4),       cmocka_unit_test(test_ip6),
        cmocka_unit_test(test_tags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
