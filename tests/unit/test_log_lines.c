/* links: drivers/console.c arch/x86/lib/log.c arch/x86/lib/format.c arch/x86/spinlock.c */
/* Lines of the log, whatever is in their text: on the serial port, on the screen, in the ring. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "arch/x86/lib/log.h"
#include "arch/x86/panic.h"
#include "drivers/console.h"
#include "drivers/framebuffer.h"
#include "drivers/serial.h"

struct serial_port com1;
static char sent[1024];
static size_t sent_length, shown;

size_t serial_write(struct serial_port *p, const void *data, size_t size)
{
    assert_true(sent_length + size < sizeof(sent));
    memcpy(sent + sent_length, data, size);
    sent_length += size;
    return size;
}

size_t serial_room(const struct serial_port *p)
{
    return sizeof(sent) - sent_length;
}

void serial_flush(struct serial_port *p)
{
    fail_msg("there is room");
}

void framebuffer_write(const char *text, size_t length, enum framebuffer_color color)
{
    shown += length;
}

void panic_set_writer(void (*fn)(const char *text, size_t length))
{
}

static int setup(void **state)
{
    memset(sent, 0, sizeof(sent));
    sent_length = shown = 0;
    console_init();
    return 0;
}

static void plain(void **state)
{
    char ring[64];

    log_info("a VM starts");
    log_error("no");
    assert_string_equal(sent, "corbel: a VM starts\r\ncorbel: error: no\r\n");
    assert_true(shown > sent_length);
    assert_int_equal(console_history(ring, sizeof(ring)), sent_length - 2);
    assert_memory_equal(ring, "corbel: a VM starts\ncorbel: error: no\n", sent_length - 2);
}

/* A guest's process may have any name, and a handler tells it. */
static void what_steers_a_terminal(void **state)
{
    for (unsigned byte = 1; byte < 256; byte++) {
        const char name[] = {'a', (char)byte, 'b', '\0'};

        setup(NULL);
        log_info("%s", name);
        assert_memory_equal(sent, "corbel: a", 9);
        assert_int_equal(sent[9], byte >= ' ' && byte <= '~' ? (char)byte : '?');
        assert_string_equal(sent + 10, "b\r\n");
    }
    setup(NULL);
    log_info("\xc2\x9b"
             "6n \xe2\x80\xae \x1b]0;title\a");
    assert_string_equal(sent, "corbel: ??6n ??? ?]0;title?\r\n");
}

static void long_ones(void **state)
{
    char text[600];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_warn("%s", text);
    assert_true(sent_length > 200 && sent_length < 400);
    assert_memory_equal(sent, "corbel: warning: xxx", 20);
    assert_string_equal(sent + sent_length - 3, "x\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(plain, setup),
        cmocka_unit_test_setup(what_steers_a_terminal, setup),
        cmocka_unit_test_setup(long_ones, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
