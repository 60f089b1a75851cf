/* links: guest/console/lines.c */
/* Corbel's lines at a port that takes them or does not: in order, whole, and with a word of those
 * that were lost. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "drivers/serial.h"
#include "guest/console/lines.h"
#include "guest/console/port.h"

struct serial_port com1;

static char sent[4 * LINES_SIZE];
static size_t room;

size_t serial_room(const struct serial_port *p)
{
    return room;
}

size_t serial_write(struct serial_port *p, const void *data, size_t size)
{
    assert_true(size <= room);
    strncat(sent, data, size);
    room -= size;
    return size;
}

void serial_flush(struct serial_port *p)
{
    room = SERIAL_TX_SIZE;
}

static int setup(void **state)
{
    memset(&lines, 0, sizeof(lines));
    sent[0] = '\0';
    room = SERIAL_TX_SIZE;
    return 0;
}

static void line(const char *text, enum lines_gate gate)
{
    lines_write(text, strlen(text), gate);
}

static void lines_go_where_they_may_stand(void **state)
{
    line("1\r\n", LINES_BETWEEN);
    assert_string_equal(sent, "1\r\n");
    assert_false(lines_wait());
    line("2\r\n", LINES_BARRED);
    line("3\r\n", LINES_BETWEEN); /* not before the second */
    assert_string_equal(sent, "1\r\n");
    assert_true(lines_wait());
    lines_send(LINES_BARRED);
    assert_string_equal(sent, "1\r\n");
    lines_send(LINES_BETWEEN);
    assert_string_equal(sent, "1\r\n2\r\n3\r\n");
    assert_false(lines_wait());
}

static void room_is_left_for_others(void **state)
{
    room = PORT_RESERVE + 2;
    line("1\r\n", LINES_BETWEEN);
    assert_string_equal(sent, "");
    room = PORT_RESERVE + 3;
    lines_send(LINES_BETWEEN);
    assert_string_equal(sent, "1\r\n");
}

static void alone_they_wait_for_the_port(void **state)
{
    line("1\r\n", LINES_BARRED);
    room = 0;
    line("2\r\n", LINES_ALONE);
    assert_string_equal(sent, "1\r\n2\r\n");
    room = 2;
    line("3\r\n", LINES_ALONE);
    assert_string_equal(sent, "1\r\n2\r\n3\r\n");
}

static void lost_lines_are_told_of(void **state)
{
    char taken[LINES_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < LINES_SIZE / 6 + 2; i++)
        line("line\r\n", LINES_BARRED);
    assert_int_equal(lines.lost, 2);
    while (lines.length) {
        assert_int_equal(lines_take(taken), 6);
        assert_memory_equal(taken, "line\r\n", 6);
        count++;
    }
    assert_int_equal(count, LINES_SIZE / 6);
    assert_true(lines_wait());
    lines_send(LINES_BETWEEN);
    assert_non_null(strstr(sent, "lines were lost"));
    assert_false(lines_wait());
}

static void a_long_line_comes_in_pieces(void **state)
{
    char text[LINES_MAX + 3], taken[LINES_MAX];

    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\n';
    lines_write(text, sizeof(text), LINES_BARRED);
    assert_int_equal(lines_take(taken), LINES_MAX);
    assert_int_equal(lines_take(taken), 3);
    assert_memory_equal(taken, "xx\n", 3);
    assert_false(lines_wait());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(lines_go_where_they_may_stand, setup),
        cmocka_unit_test_setup(room_is_left_for_others, setup),
        cmocka_unit_test_setup(alone_they_wait_for_the_port, setup),
        cmocka_unit_test_setup(lost_lines_are_told_of, setup),
        cmocka_unit_test_setup(a_long_line_comes_in_pieces, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
