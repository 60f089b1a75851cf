/* links: guest/config/config.c guest/config/config_check.c guest/config/password.c guest/config/config_keys.c guest/config/config_text.c guest/config/config_value.c guest/config/disk.c guest/config/net.c guest/watch/spec.c arch/x86/lib/format.c */
/* What a config says of the machine: [host]. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/config_read.h"
#include "vmx/controls.h"

static void test_check_disks(void **state)
{
    parse("[host]\ncheck_disks = read\n");
    assert_int_equal(told_count, 0);
    expect_span(config.check_disks, "read");
    parse("[host]\ncheck_disks = write:my scratch # all of it\n");
    assert_int_equal(told_count, 0);
    expect_span(config.check_disks, "write:my scratch");
    expect_one("[host]\ncheck_disks = write:\n", 2,
               "check_disks = 'write:' is not known; it must be read or write:NAME");
    assert_null(config.check_disks.data);
    expect_one("[host]\ncheck_disks = all\n", 2,
               "check_disks = 'all' is not known; it must be read or write:NAME");
}

static void test_state(void **state)
{
    parse("[host]\nstate = part:my state\n");
    assert_int_equal(told_count, 0);
    expect_span(config.state, "part:my state");
    expect_one("[host]\nstate = part:\n", 2,
               "state = 'part:' names no partition; it must be part:NAME");
    assert_null(config.state.data);
    expect_one("[host]\nstate = disk:S\n", 2,
               "state = 'disk:S' names no partition; it must be part:NAME");
}

static void test_every_host_key(void **state)
{
    parse("[host]\nlog=error\nwhen_idle=stay\non_panic=reset\nwithout = vid , ept-1g,pml\n");
    assert_int_equal(told_count, 0);
    assert_int_equal(config.log, LOG_ERROR);
    assert_int_equal(config.when_idle, CONFIG_IDLE_STAY);
    assert_int_equal(config.on_panic, CONFIG_PANIC_RESET);
    assert_int_equal(config.without, VMX_WITHOUT_VID | VMX_WITHOUT_EPT_1G | VMX_WITHOUT_PML);
}

#define SAME_BIT(symbol, name, what)                                                               \
    _Static_assert(BIT(CONFIG_WITHOUT_##symbol) == VMX_WITHOUT_##symbol, name);
CONFIG_WITHOUT_LIST(SAME_BIT)

static void test_whom_to_attach(void **state)
{
    parse("[vm a]\nkernel=k\n");
    assert_null(config.attach.data);
    parse("[host]\nattach = b\n[vm a]\nkernel=k\n[vm b]\nkernel=k\n");
    assert_int_equal(told_count, 0);
    expect_span(config.attach, "b");
    parse("[host]\nattach = monitor # first\n");
    assert_int_equal(told_count, 0);
    expect_span(config.attach, CONFIG_MONITOR);
    expect_one("[host]\nattach = c\n[vm a]\nkernel=k\n", 2,
               "attach = 'c': there is no such VM; it must be the name of one, or monitor");
    assert_null(config.attach.data);
    expect_one("[host]\nattach =\n", 2,
               "'attach' in [host] has no value; give it one or remove the line");
}

/* One that is wrong must not leave the console open: the key counts as given. */
static void test_passwords(void **state)
{
#define GOOD                                                                                       \
    "pbkdf2-blake2s$300000$516a969a78c995674c17ad1aee5f75c2$"                                      \
    "eb3ca7ac708a557b6d547b52a7139b706b7826ac48ec99058df77608575ff754"
    static const char sentence[] = "password is not what `make password` says: nobody can log in";
    char text[400];

    parse("[host]\n");
    assert_null(config.password.data);
    assert_int_equal(config.key_line[CONFIG_HOST_PASSWORD], 0);
    assert_int_equal(config.logout, 600);
    parse("[host]\npassword = " GOOD " # of COM1\nlogout = 0\n");
    assert_int_equal(told_count, 0);
    expect_span(config.password, GOOD);
    assert_int_equal(config.logout, 0);
    expect_one("[host]\npassword = secret\n", 2, sentence);
    assert_null(config.password.data);
    assert_int_equal(config.key_line[CONFIG_HOST_PASSWORD], 2);
    expect_one("[host]\npassword = " GOOD "0\n", 2, sentence);
    expect_one("[host]\npassword =\n", 2,
               "'password' in [host] has no value; give it one or remove the line");
    assert_int_equal(config.key_line[CONFIG_HOST_PASSWORD], 2);
    expect_one("[host]\npassword = " GOOD "\npassword = " GOOD "\n", 3,
               "'password' is given twice in [host], first in line 2; keep one of them");
    assert_null(config.password.data);
    assert_int_equal(config.key_line[CONFIG_HOST_PASSWORD], 2);
    snprintf(text, sizeof(text), "[host]\npassword = %0161d\n", 1);
    expect_one(text, 2, "password in [host] is 161 bytes long; at most 160 are possible");
    assert_int_equal(config.key_line[CONFIG_HOST_PASSWORD], 2);
#undef GOOD
}

static void test_who_has_the_second_port(void **state)
{
    parse("[host]\ngdb = com2\ntrace = off\n");
    assert_int_equal(told_count, 0);
    assert_int_equal(config.gdb, 1);
    assert_int_equal(config.com2, 0);
    parse("[host]\ncom2 = framed\ngdb = com2\ntrace = all\n");
    assert_int_equal(told_count, 0);
    assert_int_equal(config.gdb, 1);
    assert_int_equal(config.com2, 1);
    parse("[host]\ncom2 = plain\ntrace = exits\n");
    assert_int_equal(told_count, 0);
    expect_one(
        "[host]\ntrace = exits\ngdb = com2\n[vm a]\nkernel=k\n", 3,
        "gdb = com2 and trace in [host] cannot both have the second serial port as it is: the "
        "trace gets it; add a line 'com2 = framed', by which they share it, or keep one of "
        "them");
    assert_int_equal(config.gdb, 0);
    assert_true(config.trace);
    expect_one("[host]\ncom2 = frames\n", 2,
               "com2 = 'frames' is not known; it must be plain or framed");
}

static void test_a_bad_host_value_leaves_the_default(void **state)
{
    expect_one("[host]\nlog = loud\nwhen_idle = stay\n[vm a]\nkernel=k\n", 2,
               "log = 'loud' is not known; it must be error, warn, info or debug");
    assert_int_equal(config.log, LOG_INFO);
    assert_int_equal(config.when_idle, CONFIG_IDLE_STAY);
    assert_false(vms[0].broken);
    expect_one("[host]\nwithout = vid,foo\n", 2,
               "'foo' is not known for without; known are vid, apicv, x2apic-virt, tpr, preempt, "
               "vpid, ept-1g, "
               "ept-2m, ept-ad, invpcid, rdtscp, xsaves, mtf, pml, ins-outs, bus-lock or notify");
    assert_int_equal(config.without, 0);
    parse("[host]\nwithout = ,vid,\n");
    assert_int_equal(told_count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_disks),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_every_host_key),
        cmocka_unit_test(test_whom_to_attach),
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_who_has_the_second_port),
        cmocka_unit_test(test_a_bad_host_value_leaves_the_default),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
