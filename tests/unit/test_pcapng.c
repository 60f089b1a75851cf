/* links: guest/capture/pcapng.c */
/* Blocks of a capture file. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "guest/capture/pcapng.h"

/* As the format has them, byte by byte. */
static void test_blocks(void **state)
{
    static const uint8_t section[] = {
        0x0a, 0x0d, 0x0d, 0x0a, 68,  0,   0,   0,   0x4d, 0x3c, 0x2b, 0x1a, 1,   0,   0,   0,   255,
        255,  255,  255,  255,  255, 255, 255, 1,   0,    5,    0,    'h',  'e', 'l', 'l', 'o', 0,
        0,    0,    3,    0,    6,   0,   'C', 'o', 'r',  'b',  'e',  'l',  0,   0,   4,   0,   6,
        0,    'C',  'o',  'r',  'b', 'e', 'l', 0,   0,    0,    0,    0,    0,   68,  0,   0,   0};
    static const uint8_t interface[] = {
        1,   0, 0, 0, 64, 0, 0,   0,   1,   0,   0,   0,   0x12, 0x24, 0, 0, 2,  0, 3, 0, 'a', '/',
        '0', 0, 3, 0, 8,  0, 'i', 's', ' ', 'a', ' ', 'v', 'm',  '!',  6, 0, 6,  0, 2, 0, 0,   0,
        0,   1, 0, 0, 9,  0, 1,   0,   9,   0,   0,   0,   0,    0,    0, 0, 64, 0, 0, 0};
    static const uint8_t head[] = {6, 0, 0, 0, 64, 0, 0, 0, 3, 0, 0, 0, 4, 3,
                                   2, 1, 8, 7, 6,  5, 5, 0, 0, 0, 9, 0, 0, 0};
    static const uint8_t tail[] = {0, 0, 0, 2, 0, 4, 0, 2, 2, 0, 0, 4,  0, 8, 0, 7,
                                   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0};
    static const uint8_t statistics[] = {
        5, 0, 0, 0, 88, 0, 0, 0, 3, 0, 0, 0, 4, 3, 2, 1, 8, 7, 6, 5, 2, 0, 8, 0, 0,  0, 0, 0, 9, 0,
        0, 0, 3, 0, 8,  0, 4, 3, 2, 1, 8, 7, 6, 5, 4, 0, 8, 0, 1, 2, 0, 0, 0, 0, 0,  0, 5, 0, 8, 0,
        4, 0, 0, 0, 0,  0, 0, 0, 6, 0, 8, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 88, 0, 0, 0};
    const struct pcapng_interface i = {"a/0", "is a vm!", (const uint8_t[]){2, 0, 0, 0, 0, 1},
                                       9234};
    const struct pcapng_packet p = {.interface = 3,
                                    .time = 0x0102030405060708,
                                    .kept = 5,
                                    .length = 9,
                                    .flags = PCAPNG_OUTBOUND | PCAPNG_NO_SUM,
                                    .lost = 7};
    const struct pcapng_statistics s = {3, 0x0102030405060708, 9, 0x201, 3, 4};
    uint8_t out[PCAPNG_SMALL];

    assert_int_equal(pcapng_section(out, "Corbel", "hello"), sizeof(section));
    assert_memory_equal(out, section, sizeof(section));
    assert_int_equal(pcapng_interface(out, &i), sizeof(interface));
    assert_memory_equal(out, interface, sizeof(interface));
    assert_int_equal(pcapng_tail(out, &p), sizeof(tail));
    assert_memory_equal(out, tail, sizeof(tail));
    assert_int_equal(pcapng_head(out, &p, sizeof(tail)), 28 + 5 + sizeof(tail));
    assert_memory_equal(out, head, sizeof(head));
    assert_int_equal(pcapng_statistics(out, &s), sizeof(statistics));
    assert_memory_equal(out, statistics, sizeof(statistics));
}

static void test_longest_texts(void **state)
{
    uint8_t out[PCAPNG_SMALL + 1], mac[6] = {0};
    char text[400];
    struct pcapng_packet p = {.kept = 1, .lost = 1, .comment = text};
    const struct pcapng_interface i = {text, text, mac, 1};

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_true(pcapng_section(out, text, text) <= PCAPNG_SMALL);
    assert_true(pcapng_interface(out, &i) <= PCAPNG_SMALL);
    assert_true(pcapng_tail(out, &p) <= PCAPNG_TAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_longest_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
