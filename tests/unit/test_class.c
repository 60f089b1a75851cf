/* links: guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* Devices by their classes: how many instances there are of each, what they get, and what is left
 * of them when one cannot be made. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "tests/unit/mock_board.h"

static struct board board;
static struct device_list list;
static const char *lines[8];
static unsigned created, destroyed;
static char order[BUS_DEVICES];

/* --- a class of which there is one, with ports; and one that a key makes, with timers --- */

struct plain {
    struct device dev;
    unsigned written;
};

static uint32_t plain_read(struct device *d, uint16_t port, unsigned size)
{
    return port & 0xff;
}

static void plain_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    CONTAINER_OF(d, struct plain, dev)->written += value;
}

static void nothing(struct device *d)
{
}

static void nothing_saved(struct device *d, struct state_writer *w)
{
}

static int nothing_loaded(struct device *d, struct state_reader *r)
{
    return 0;
}

static const struct device_ops plain_ops = {
    .name = "plain",
    .version = 1,
    .port_read = plain_read,
    .port_write = plain_write,
    .reset = nothing,
    .save = nothing_saved,
    .load = nothing_loaded,
};

static const struct device_class plain_class = {
    .ops = &plain_ops,
    .size = sizeof(struct plain),
    .ports = {{0x510, 2}, {0x80, 1}},
};

struct named {
    struct device dev;
    char name[16];
    uint32_t line;
};

static void on_timer(struct device *d, unsigned timer, uint64_t now)
{
}

static const struct device_ops named_ops = {
    .name = "named",
    .version = 1,
    .timer = on_timer,
    .reset = nothing,
    .save = nothing_saved,
    .load = nothing_loaded,
};

static int named_create(struct device *d, struct device_setup *s)
{
    struct named *n = CONTAINER_OF(d, struct named, dev);

    assert_ptr_equal(d->board, &board);
    assert_true(d->deadline[0] == TIMER_OFF && d->deadline[1] == TIMER_OFF);
    if (strcmp(s->text, "bad") == 0) {
        snprintf(s->error, sizeof(s->error), "is bad");
        return -EINVAL;
    }
    memcpy(n->name, s->text, s->length);
    n->line = s->line;
    created++;
    return 0;
}

static void named_destroy(struct device *d)
{
    order[destroyed++] = CONTAINER_OF(d, struct named, dev)->name[0];
}

static const struct device_class named_class = {
    .ops = &named_ops,
    .size = sizeof(struct named),
    .key = "name",
    .create = named_create,
    .destroy = named_destroy,
};

static const struct device_class *const classes[] = {&named_class, &plain_class};

/* --- classes that share a key: each has the lines that begin with its letter --- */

static int begins(const char *text, char letter, char *error)
{
    if (text[0] == '?') {
        snprintf(error, DEVICE_ERROR, "is no name");
        return -EINVAL;
    }
    return text[0] == letter;
}

static int check_a(const char *text, size_t length, char *error)
{
    return begins(text, 'a', error);
}

static int check_b(const char *text, size_t length, char *error)
{
    return begins(text, 'b', error);
}

/* Up to three lines in one instance: its name is of their second letters. */
static int three_create(struct device *d, struct device_setup *s)
{
    struct named *n = CONTAINER_OF(d, struct named, dev);
    unsigned i = 0;

    do {
        n->name[i] = s->text[1];
        n->line = s->line;
        if (n->name[i++] == '!')
            return -EINVAL;
    } while (i < 3 && device_setup_next(s));
    created++;
    return 0;
}

static const struct device_class a_class = {
    .ops = &named_ops,
    .size = sizeof(struct named),
    .key = "name",
    .check = check_a,
    .create = named_create,
    .destroy = named_destroy,
};

static const struct device_class b_class = {
    .ops = &named_ops,
    .size = sizeof(struct named),
    .key = "name",
    .check = check_b,
    .create = three_create,
    .destroy = named_destroy,
};

static const struct device_class *const sharing[] = {&plain_class, &b_class, &a_class};

static const struct device_class also_class = {
    .ops = &named_ops,
    .size = sizeof(struct named),
    .key = "name",
    .also = "more",
    .check = check_b,
    .create = three_create,
    .destroy = named_destroy,
};

/* --- the board's owner --- */

static const char *more[2];

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    const char *text;

    assert_ptr_equal(context, lines);
    if (strcmp(key, "name") != 0)
        text = index < 2 ? more[index] : NULL;
    else
        text = index < ARRAY_SIZE(lines) ? lines[index] : NULL;
    if (!text)
        return NULL;
    *length = strlen(text);
    *number = 10 + index;
    return text;
}

static int setup(void **state)
{
    mock_init(&board);
    board.host.context = lines;
    board.host.line = line;
    memset(lines, 0, sizeof(lines));
    memset(order, 0, sizeof(order));
    created = destroyed = 0;
    return 0;
}

static int teardown(void **state)
{
    device_list_destroy(&list);
    assert_int_equal(list.count, 0);
    mock_destroy(&board);
    return 0;
}

static int fill(void)
{
    return device_list_fill(&list, classes, ARRAY_SIZE(classes), &board.setup);
}

static void one_without_a_key(void **state)
{
    assert_int_equal(fill(), 0);
    assert_int_equal(list.count, 1);
    assert_null(device_list_find(&list, &named_class, 0));
    assert_non_null(device_list_find(&list, &plain_class, 0));
    assert_null(device_list_find(&list, &plain_class, 1));
    assert_int_equal(mock_in(&board, 0x511), 0x11);
    assert_int_equal(mock_in(&board, 0x80), 0x80);
    assert_int_equal(mock_in(&board, 0x512), 0xff);
    mock_out(&board, 0x510, 7);
    assert_int_equal(
        CONTAINER_OF(device_list_find(&list, &plain_class, 0), struct plain, dev)->written, 7);
}

static void one_for_each_line(void **state)
{
    lines[0] = "first";
    lines[1] = "second";
    lines[2] = "third";
    assert_int_equal(fill(), 0);
    assert_int_equal(list.count, 4);
    for (unsigned i = 0; i < 3; i++) {
        struct device *d = device_list_find(&list, &named_class, i);

        assert_string_equal(CONTAINER_OF(d, struct named, dev)->name, lines[i]);
        assert_int_equal(CONTAINER_OF(d, struct named, dev)->line, 10 + i);
    }
    assert_null(device_list_find(&list, &named_class, 3));
    device_list_destroy(&list);
    assert_string_equal(order, "tsf");
}

static void a_line_that_cannot_be_made(void **state)
{
    lines[0] = "first";
    lines[1] = "bad";
    lines[2] = "third";
    assert_int_equal(fill(), -EINVAL);
    assert_string_equal(board.setup.error, "is bad");
    assert_int_equal(board.setup.line, 11);
    assert_int_equal(created, 1);
    assert_int_equal(list.count, 1);
    device_list_destroy(&list);
    assert_string_equal(order, "f");
}

static const char *name_of(const struct device_class *class, unsigned index)
{
    struct device *d = device_list_find(&list, class, index);

    return d ? CONTAINER_OF(d, struct named, dev)->name : NULL;
}

static void a_key_that_is_shared(void **state)
{
    static const char *const texts[] = {"b1", "a1", "b2", "a2", "b3", "c", "b4"};

    memcpy(lines, texts, sizeof(texts));
    assert_int_equal(device_list_fill(&list, sharing, 3, &board.setup), 0);
    assert_int_equal(list.count, 5); /* a line for nobody is left out */
    assert_string_equal(name_of(&b_class, 0), "123");
    assert_string_equal(name_of(&b_class, 1), "4");
    assert_string_equal(name_of(&a_class, 0), "a1");
    assert_string_equal(name_of(&a_class, 1), "a2");
    assert_int_equal(CONTAINER_OF(device_list_find(&list, &b_class, 0), struct named, dev)->line,
                     14);
    /* And one that is added alone has no further lines. */
    lines[7] = "b8";
    board.setup.text = "b7";
    board.setup.length = 2;
    assert_int_equal(device_list_add(&list, &b_class, &board.setup), 0);
    assert_string_equal(name_of(&b_class, 2), "7");
}

static void a_second_key(void **state)
{
    static const struct device_class *const class = &also_class;

    more[0] = "x5";
    more[1] = "x6";
    lines[0] = "b1";
    lines[1] = "a2";
    lines[2] = "b3";
    assert_int_equal(device_list_fill(&list, &class, 1, &board.setup), 0);
    assert_int_equal(list.count, 2);
    assert_string_equal(name_of(class, 0), "135");
    assert_string_equal(name_of(class, 1), "6");
    assert_null(board.setup.key);
    device_list_destroy(&list);
    memset(lines, 0, sizeof(lines));
    assert_int_equal(device_list_fill(&list, &class, 1, &board.setup), 0);
    assert_string_equal(name_of(class, 0), "56");
    memset(more, 0, sizeof(more));
}

static void one_of_its_lines_is_wrong(void **state)
{
    lines[0] = "a1";
    lines[1] = "b1";
    lines[2] = "b!";
    assert_int_equal(device_list_fill(&list, sharing + 1, 2, &board.setup), -EINVAL);
    assert_int_equal(board.setup.line, 12);
    device_list_destroy(&list);
    lines[2] = "?!"; /* who is asked first has it, to refuse it */
    assert_int_equal(device_list_fill(&list, sharing + 1, 2, &board.setup), -EINVAL);
    assert_int_equal(board.setup.line, 12);
}

static void what_the_config_is_told(void **state)
{
    char error[DEVICE_ERROR];

    assert_int_equal(device_class_check(sharing, 3, "name", "a", 1, error), 1);
    assert_int_equal(device_class_check(sharing, 3, "name", "b", 1, error), 1);
    assert_int_equal(device_class_check(sharing, 3, "name", "c", 1, error), 0);
    assert_int_equal(device_class_check(sharing, 3, "game", "a", 1, error), 0);
    assert_int_equal(device_class_check(sharing, 3, "name", "?", 1, error), -EINVAL);
    assert_string_equal(error, "is no name");
    assert_int_equal(device_class_check(classes, 2, "name", "c", 1, error), 1);
}

static void ports_that_somebody_has(void **state)
{
    assert_int_equal(fill(), 0);
    assert_int_equal(device_list_add(&list, &plain_class, &board.setup), -EEXIST);
    assert_int_equal(board.setup.error[0], 0);
    assert_int_equal(list.count, 1);
}

static void as_many_as_the_list_holds(void **state)
{
    board.setup.text = "x";
    board.setup.length = 1;
    for (unsigned i = 1; i < BUS_DEVICES; i++) /* the bus counts nobody as one */
        assert_int_equal(device_list_add(&list, &named_class, &board.setup), 0);
    assert_int_equal(device_list_add(&list, &named_class, &board.setup), -ENOSPC);
    struct device_list full = {.count = BUS_DEVICES}; /* whatever the bus says */
    assert_int_equal(device_list_add(&full, &named_class, &board.setup), -ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_without_a_key, setup, teardown),
        cmocka_unit_test_setup_teardown(one_for_each_line, setup, teardown),
        cmocka_unit_test_setup_teardown(a_line_that_cannot_be_made, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_that_is_shared, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_key, setup, teardown),
        cmocka_unit_test_setup_teardown(one_of_its_lines_is_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_config_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(ports_that_somebody_has, setup, teardown),
        cmocka_unit_test_setup_teardown(as_many_as_the_list_holds, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
