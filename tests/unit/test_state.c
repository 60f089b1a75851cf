/* links: guest/board/state.c */
/* Saved state: what is written comes back, and nothing wrong is believed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/state.h"

#define HEADER 24

static uint8_t buffer[256];

static size_t write_sample(uint8_t *data, size_t capacity)
{
    struct state_writer w = {.data = data, .capacity = capacity};

    state_begin(&w, "first", 3);
    state_put_u8(&w, 0x12);
    state_put_u16(&w, 0x3456);
    state_put_u32(&w, 0x789abcde);
    state_put_u64(&w, 0x0123456789abcdefULL);
    state_end(&w);
    state_begin(&w, "fifteen letters", 1);
    state_put(&w, "bytes", 5);
    state_end(&w);
    state_begin(&w, "empty", 0);
    state_end(&w);
    return w.used;
}

static void values_come_back(void **state)
{
    struct state_reader r = {.data = buffer, .size = write_sample(buffer, sizeof(buffer))};
    char bytes[5];

    assert_int_equal(r.size, 3 * HEADER + 15 + 5);
    assert_int_equal(state_enter(&r, "first", 3), 0);
    assert_int_equal(state_get_u8(&r), 0x12);
    assert_int_equal(state_get_u16(&r), 0x3456);
    assert_int_equal(state_get_u32(&r), 0x789abcde);
    assert_int_equal(state_get_u64(&r), 0x0123456789abcdefULL);
    assert_int_equal(state_leave(&r), 0);
    assert_int_equal(state_enter(&r, "fifteen letters", 1), 0);
    state_get(&r, bytes, 5);
    assert_memory_equal(bytes, "bytes", 5);
    assert_int_equal(state_leave(&r), 0);
    assert_int_equal(state_enter(&r, "empty", 0), 0);
    assert_int_equal(state_leave(&r), 0);
    assert_null(r.error);
    assert_int_equal(r.position, r.size);
    assert_int_equal(state_enter(&r, "empty", 0), -EBADMSG);
    assert_non_null(strstr(r.error, "ends early"));
}

static void layout_is_fixed(void **state)
{
    static const uint8_t expected[HEADER + 1] = {'f', 'i', 'r', 's', 't', 0, 0, 0,  0, 0, 0, 0,   0,
                                                 0,   0,   0,   3,   0,   0, 0, 15, 0, 0, 0, 0x12};

    write_sample(buffer, sizeof(buffer));
    assert_memory_equal(buffer, expected, sizeof(expected));
}

static void a_first_pass_measures(void **state)
{
    size_t size = write_sample(NULL, 0);

    for (size_t capacity = 0; capacity <= size; capacity++) {
        memset(buffer, 0xa5, sizeof(buffer));
        assert_int_equal(write_sample(buffer, capacity), size);
        for (size_t i = capacity; i < sizeof(buffer); i++)
            assert_int_equal(buffer[i], 0xa5);
    }
}

static void wrong_sections_are_refused(void **state)
{
    size_t size = write_sample(buffer, sizeof(buffer));
    struct state_reader name = {.data = buffer, .size = size}, version = name, header = name;
    struct state_reader left = name, newer = name;

    assert_int_equal(state_enter(&name, "second", 3), -EBADMSG);
    assert_non_null(strstr(name.error, "another section"));
    assert_int_equal(state_enter(&version, "first", 2), -EBADMSG);
    assert_non_null(strstr(version.error, "version"));
    assert_int_equal(state_enter(&newer, "first", 4), -EBADMSG);
    assert_non_null(strstr(newer.error, "version"));
    assert_int_equal(state_enter(&left, "first", 3), 0);
    state_get_u8(&left);
    assert_int_equal(state_leave(&left), -EBADMSG);
    assert_non_null(strstr(left.error, "too long"));
    buffer[18] = 1;
    assert_int_equal(state_enter(&header, "first", 3), -EBADMSG);
    assert_non_null(strstr(header.error, "malformed"));
}

static void a_section_has_no_more_than_its_length(void **state)
{
    struct state_reader r = {.data = buffer, .size = write_sample(buffer, sizeof(buffer))};

    assert_int_equal(state_enter(&r, "first", 3), 0);
    state_get_u64(&r);
    assert_int_equal(state_get_u64(&r), 0); /* 7 bytes are left */
    assert_non_null(strstr(r.error, "too short"));
    assert_int_equal(state_get_u8(&r), 0);
    assert_int_equal(state_leave(&r), -EBADMSG);
    assert_int_equal(state_enter(&r, "fifteen letters", 1), -EBADMSG);
}

static void every_truncation_is_noticed(void **state)
{
    size_t size = write_sample(buffer, sizeof(buffer));

    for (size_t cut = 0; cut < size; cut++) {
        struct state_reader r = {.data = buffer, .size = cut};
        char bytes[15];

        if (state_enter(&r, "first", 3) == 0) {
            state_get(&r, bytes, 15);
            state_leave(&r);
        }
        if (state_enter(&r, "fifteen letters", 1) == 0) {
            state_get(&r, bytes, 5);
            state_leave(&r);
        }
        assert_int_equal(state_enter(&r, "empty", 0), -EBADMSG);
        assert_non_null(r.error);
    }
}

static void a_length_beyond_the_end_is_refused(void **state)
{
    struct state_reader r = {.data = buffer, .size = write_sample(buffer, sizeof(buffer))};

    memset(buffer + 20, 0xff, 4);
    assert_int_equal(state_enter(&r, "first", 3), -EBADMSG);
    assert_non_null(strstr(r.error, "within a section"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(layout_is_fixed),
        cmocka_unit_test(a_first_pass_measures),
        cmocka_unit_test(wrong_sections_are_refused),
        cmocka_unit_test(a_section_has_no_more_than_its_length),
        cmocka_unit_test(every_truncation_is_noticed),
        cmocka_unit_test(a_length_beyond_the_end_is_refused),
    };

    return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
