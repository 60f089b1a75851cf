/* links: guest/moments/stream.c guest/board/state.c arch/x86/lib/crc32c.c arch/x86/lib/format.c */
/* A stream of saved state: cut at each byte, with each byte damaged, of another Corbel's or another
 * VM's, it is refused, and what is wrong is said by name. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/crc32c.h"
#include "arch/x86/lib/errno.h"
#include "guest/moments/stream.h"

#define SIZE 1024

static uint8_t data[SIZE];
static char error[STREAM_ERROR];

struct part {
    const char *name;
    uint16_t version;
    uint8_t length; /* of its bytes, which count up from it */
};

static const struct part vm[] = {{"cpu", 1, 9}, {"uart", 4, 30}, {"rtc", 2, 0}, {"vcpu", 3, 77}};

static void fill(struct state_writer *w, const struct part *parts, unsigned count)
{
    stream_begin(w);
    for (unsigned i = 0; i < count; i++) {
        state_begin(w, parts[i].name, parts[i].version);
        for (unsigned n = 0; n < parts[i].length; n++)
            state_put_u8(w, (uint8_t)(parts[i].length + n));
        state_end(w);
    }
    stream_end(w);
}

static size_t write_parts(uint8_t *to, const struct part *parts, unsigned count)
{
    struct state_writer w = {.data = to, .capacity = SIZE};

    fill(&w, parts, count);
    assert_true(w.used <= SIZE);
    return w.used;
}

static size_t sample(void)
{
    return write_parts(data, vm, ARRAY_SIZE(vm));
}

/* In memory that ends where the stream does. */
static int open_copy(size_t size, struct state_reader *r)
{
    uint8_t *copy = malloc(size ? size : 1);

    memcpy(copy, data, size);
    memset(error, 0, sizeof(error));
    int result = stream_open(copy, size, r, error);
    assert_int_equal(result == 0, error[0] == 0);
    free(copy);
    return result;
}

static void refused(size_t size, const char *why)
{
    struct state_reader r;

    assert_int_equal(open_copy(size, &r), -EBADMSG);
    if (!strstr(error, why))
        fail_msg("'%s' does not say '%s'", error, why);
}

static void checksum(void **state)
{
    uint8_t bytes[100];

    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c_plain(0, "123456789", 9), 0xe3069283);
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37);
    for (unsigned from = 0; from < 20; from++)
        for (unsigned n = 0; n < 60; n++) {
            assert_int_equal(crc32c(n, bytes + from, n), crc32c_plain(n, bytes + from, n));
            assert_int_equal(crc32c(crc32c(0, bytes, from), bytes + from, n),
                             crc32c(0, bytes, from + n));
        }
}

static void comes_back(void **state)
{
    size_t size = sample();
    struct state_writer measure = {0};
    struct state_reader r;

    fill(&measure, vm, ARRAY_SIZE(vm));
    assert_int_equal(measure.used, size);
    assert_int_equal(stream_open(data, size, &r, error), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(vm); i++) {
        assert_int_equal(state_enter(&r, vm[i].name, vm[i].version), 0);
        for (unsigned n = 0; n < vm[i].length; n++)
            assert_int_equal(state_get_u8(&r), vm[i].length + n);
        assert_int_equal(state_leave(&r), 0);
    }
    assert_int_equal(state_enter(&r, "end", 1), -EBADMSG); /* is none of them */
}

/* The first section that one has is where stream_open() says. */
static void nothing_in_it(void **state)
{
    struct state_reader r;

    assert_int_equal(stream_open(data, write_parts(data, vm, 0), &r, error), 0);
    assert_int_equal(r.position, r.size);
}

static void a_short_buffer_is_left_alone(void **state)
{
    size_t size = sample();

    for (size_t capacity = 0; capacity < size; capacity++) {
        uint8_t *small = malloc(capacity ? capacity : 1);
        struct state_writer w = {.data = small, .capacity = capacity};

        fill(&w, vm, ARRAY_SIZE(vm));
        assert_int_equal(w.used, size);
        free(small);
    }
}

static void cut_at_each_byte(void **state)
{
    size_t size = sample();

    for (size_t cut = 0; cut < size; cut++)
        refused(cut, cut < STATE_HEADER ? "is none" : "ends early");
    refused(size + 1, "does not end where it should");
}

static void each_bit_damaged(void **state)
{
    size_t size = sample();
    struct state_reader r;

    for (size_t at = 0; at < size; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            data[at] ^= (uint8_t)(1u << bit);
            assert_int_equal(open_copy(size, &r), -EBADMSG);
            data[at] ^= (uint8_t)(1u << bit);
        }
    }
    data[STATE_HEADER + 8 + STATE_HEADER + 9 + STATE_HEADER + 5] ^= 1;
    refused(size, "is damaged in its section 'uart'");
}

/* The checksums are those of what is there. */
static void seal(size_t size)
{
    size_t at = 0, length = 8;

    for (unsigned i = 0; i <= ARRAY_SIZE(vm); i++) {
        uint32_t sum = crc32c(0, data + at, STATE_HEADER + length);

        memcpy(data + size - 4 * (ARRAY_SIZE(vm) + 2 - i), &sum, 4);
        at += STATE_HEADER + length;
        length = i < ARRAY_SIZE(vm) ? vm[i].length : 0;
    }
    uint32_t all = crc32c(0, data, size - 4);
    memcpy(data + size - 4, &all, 4);
}

/* Checksums are no proof: these are right. */
static void right_sums_of_nonsense(void **state)
{
    size_t size = sample();
    struct state_reader r;

    seal(size);
    assert_int_equal(open_copy(size, &r), 0);
    for (unsigned i = 0; i < STATE_HEADER - 4; i++) {
        if (i == STATE_NAME || i == STATE_NAME + 1)
            continue; /* any version */
        size = sample();
        data[STATE_HEADER + 8 + i] = i < 3 ? 0x07 : 0x80;
        seal(size);
        refused(size, "do not fit together");
    }
    size = sample();

    data[size - 4 * 6 - 4]++; /* more sections than there are */
    uint32_t sum = crc32c(0, data, size - 4);
    memcpy(data + size - 4, &sum, 4);
    refused(size, "do not fit together");
    size = sample();
    data[STATE_NAME] = 2;
    refused(size, "a stream of version 2, and this Corbel reads version 1");
    size = sample();
    memcpy(data, "ELF", 3);
    refused(size, "is none");
}

static void compared(const struct part *parts, unsigned count, const char *why)
{
    static uint8_t mine[SIZE];
    struct state_reader r, own;
    size_t size = write_parts(mine, vm, ARRAY_SIZE(vm));

    assert_int_equal(stream_open(mine, size, &own, error), 0);
    assert_int_equal(stream_open(data, write_parts(data, parts, count), &r, error), 0);
    memset(error, 0, sizeof(error));
    int result = stream_same(&r, &own, error);
    assert_int_equal(result, why ? -EBADMSG : 0);
    if (why && !strstr(error, why))
        fail_msg("'%s' does not say '%s'", error, why);
}

static void of_another_vm(void **state)
{
    struct part p[6];

    memcpy(p, vm, sizeof(vm));
    p[1].length = 31; /* what a device says may be longer now */
    compared(p, 4, NULL);
    p[1].version = 5;
    compared(p, 4, "is of a newer Corbel: its section 'uart' has version 5, here it is 4");
    p[1].version = 3;
    compared(p, 4, "is of an older Corbel: its section 'uart' has version 3, here it is 4");
    p[1] = (struct part){"virtio-net", 1, 8};
    compared(p, 4, "has a section 'virtio-net' that this VM does not have");
    memcpy(p, vm, sizeof(vm));
    compared(p, 3, "lacks the section 'vcpu' that this VM has");
    p[1] = vm[2];
    p[2] = vm[3];
    compared(p, 3, "lacks the section 'uart' that this VM has");
    memcpy(p, vm, sizeof(vm));
    p[4] = (struct part){"vcpu", 3, 77};
    compared(p, 5, "has a section 'vcpu' that this VM does not have");
    p[4] = (struct part){"nvme", 1, 7};
    compared(p, 5, "has a section 'nvme' that this VM does not have");
    memcpy(p, vm, sizeof(vm));
    p[1] = vm[2];
    p[2] = vm[1];
    compared(p, 4, "has its section 'rtc' in another place");
    compared(p, 0, "lacks the section 'cpu' that this VM has");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksum),
        cmocka_unit_test(comes_back),
        cmocka_unit_test(nothing_in_it),
        cmocka_unit_test(a_short_buffer_is_left_alone),
        cmocka_unit_test(cut_at_each_byte),
        cmocka_unit_test(each_bit_damaged),
        cmocka_unit_test(right_sums_of_nonsense),
        cmocka_unit_test(of_another_vm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
