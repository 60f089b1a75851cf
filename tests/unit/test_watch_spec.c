/* links: guest/watch/spec.c arch/x86/lib/format.c */
/* What a watch's text means, and what is said of one that means nothing. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "guest/watch/handler.h"

static const struct watch_handler both = {
    .name = "both", .parameter = {"a", "bc"}, .kinds = BIT(WATCH_CR3) | BIT(WATCH_WRITE)};
static const struct watch_handler none = {.name = "none", .kinds = ~0u};
static const struct watch_handler *const table[] = {&both, &none};
static const struct watch_handlers handlers = {table, table + ARRAY_SIZE(table)};

static struct watch_spec spec;
static char error[WATCH_ERROR];

static int parse(const char *text)
{
    size_t length = strlen(text);
    char exact[200]; /* not terminated: what lies behind it must not matter */

    memset(exact, '7', sizeof(exact));
    memcpy(exact, text, length);
    return watch_parse(exact, length, &handlers, &spec, error);
}

#define REFUSED(text, sentence)                                                                    \
    do {                                                                                           \
        assert_int_equal(parse(text), -EINVAL);                                                    \
        assert_string_equal(error, sentence);                                                      \
    } while (0)

static void test_memory(void **state)
{
    char text[WATCH_TEXT];

    assert_int_equal(parse("write phys:1000+2M pause"), 0);
    assert_int_equal(spec.kind, WATCH_WRITE);
    assert_int_equal(spec.policy, WATCH_PAUSE);
    assert_true(spec.physical);
    assert_int_equal(spec.address, 0x1000);
    assert_int_equal(spec.length, 2 << 20);
    assert_string_equal(watch_event_text(&spec, text), "write phys:1000+0x200000");
    assert_string_equal(watch_policy_text(&spec), "pause");
    assert_int_equal(parse("  execute\t0xffffffff81000000   count "), 0);
    assert_int_equal(spec.kind, WATCH_EXECUTE);
    assert_false(spec.physical);
    assert_int_equal(spec.address, 0xffffffff81000000);
    assert_int_equal(spec.length, 1);
    assert_int_equal(parse("read ABCdef+0x10 log"), 0);
    assert_int_equal(spec.address, 0xabcdef);
    assert_int_equal(spec.length, 16);
    assert_int_equal(parse("read ffffffffffffffff log"), 0);
    assert_int_equal(parse("read 0+1G log"), 0);
    assert_int_equal(spec.length, 1 << 30);
    assert_int_equal(parse("read fffffffffffff000+4096 log"), 0);
    REFUSED("read fffffffffffff000+4097 log",
            "'fffffffffffff000+4097' goes beyond the end of all addresses");
    REFUSED("read", "read needs to know where: ADDR, ADDR+LENGTH or phys:ADDR");
    REFUSED("read log", "'log' is no address: write it in hexadecimal, perhaps behind phys:");
    REFUSED("read 10000000000000000 log", "'10000000000000000' is no address: write it in "
                                          "hexadecimal, perhaps behind phys:");
    assert_int_equal(parse("read phys: log"), -EINVAL);
    assert_int_equal(parse("read 0x log"), -EINVAL);
    for (unsigned i = 0; i < 7; i++) {
        static const char *const lengths[] = {"0", "", "K", "2G", "1025M", "0x40000001", "12x"};
        char line[64];
        snprintf(line, sizeof(line), "read 1000+%s log", lengths[i]);
        assert_int_equal(parse(line), -EINVAL);
        assert_non_null(strstr(error, "has no length that is possible"));
    }
}

static void test_registers(void **state)
{
    char text[WATCH_TEXT];

    for (unsigned i = 0; watch_kind_name(i); i++) {
        char line[64];
        if (watch_is_memory((enum watch_kind)i) || i == WATCH_MSR)
            continue;
        snprintf(line, sizeof(line), "%s log", watch_kind_name(i));
        assert_int_equal(parse(line), 0);
        assert_int_equal(spec.kind, i);
        assert_string_equal(watch_event_text(&spec, text), watch_kind_name(i));
    }
    assert_int_equal(parse("msr c0000082 count"), 0);
    assert_int_equal(spec.msr, 0xc0000082);
    assert_string_equal(watch_event_text(&spec, text), "msr c0000082");
    REFUSED("msr 80b count", "'80b' is the local APIC's, which the processor may serve itself: it "
                             "cannot be watched");
    REFUSED("msr 100000000 log", "'100000000' is no MSR's number: write it in hexadecimal");
    REFUSED("msr", "'msr' needs a number");
    REFUSED("cr3", "what is to be done? log, count, pause, or a handler's name");
    REFUSED("cr3 halt", "'halt' is not log, count or pause, and no handler has that name");
    REFUSED("cr3 log again", "'again' is too much");
    REFUSED("cr2 log", "'cr2' is no event: read, write, execute, cr0, cr3, cr4, msr, gdtr, idtr, "
                       "ldtr, tr, syscall are");
    REFUSED("", "'' is no event: read, write, execute, cr0, cr3, cr4, msr, gdtr, idtr, ldtr, tr, "
                "syscall are");
}

static void test_handlers(void **state)
{
    assert_int_equal(parse("cr3 both bc=0x20 a=10"), 0);
    assert_int_equal(spec.policy, WATCH_CALL);
    assert_ptr_equal(spec.handler, &both);
    assert_int_equal(spec.parameter[0], 10);
    assert_int_equal(spec.parameter[1], 0x20);
    assert_string_equal(watch_policy_text(&spec), "both");
    assert_int_equal(parse("write 1000 both a=1 bc=2"), 0);
    assert_int_equal(parse("syscall none"), 0);
    REFUSED("cr4 both a=1 bc=2", "both is not for the event cr4");
    REFUSED("cr3 both a=1", "both needs bc=NUMBER");
    REFUSED("cr3 both a=1 bc=x", "'bc=x' has no number: decimal, or hexadecimal behind 0x");
    REFUSED("cr3 both a=1 bc=", "'bc=' has no number: decimal, or hexadecimal behind 0x");
    REFUSED("cr3 both a=1 bc=2 d=3", "'d=3' is too much");
    REFUSED("cr3 none a=1", "'a=1' is too much");
    assert_string_equal(watch_policy_name(0, &handlers), "log");
    assert_string_equal(watch_policy_name(4, &handlers), "none");
    assert_null(watch_policy_name(5, &handlers));
}

static void test_wrong_words_are_cut(void **state)
{
    char line[200];

    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    assert_int_equal(watch_parse(line, sizeof(line) - 1, &handlers, &spec, error), -EINVAL);
    assert_true(strlen(error) < WATCH_ERROR - 1);
}

/* A burst, then one each interval, then a burst again after a pause. */
static void test_limit(void **state)
{
    struct watch_limit l = {0};
    unsigned passed = 0;

    for (unsigned i = 0; i < 1000; i++)
        passed += watch_limit_pass(&l, 5000, 10, 100);
    assert_int_equal(passed, 100);
    passed = 0;
    for (unsigned i = 1; i <= 1000; i++)
        passed += watch_limit_pass(&l, 5000 + i, 10, 100);
    assert_int_equal(passed, 100);
    passed = 0;
    for (unsigned i = 0; i < 1000; i++)
        passed += watch_limit_pass(&l, 1000000, 10, 100);
    assert_int_equal(passed, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),   cmocka_unit_test(test_registers),
        cmocka_unit_test(test_handlers), cmocka_unit_test(test_wrong_words_are_cut),
        cmocka_unit_test(test_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
