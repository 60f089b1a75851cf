/* links: guest/monitor/capture.c guest/monitor/text.c guest/monitor/job.c guest/monitor/command.c guest/capture/filter.c arch/x86/lib/format.c */
/* The monitor's `capture`: what is typed becomes what is captured, or a sentence that says why not;
 * and what it shows. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/tsc.h"
#include "guest/capture/capture.h"
#include "guest/console/console.h"
#include "guest/monitor/commands.h"
#include "guest/vm/control.h"
#include "guest/vm/nets.h"

uint64_t tsc_hz = 1000000;

uint64_t test_tsc(void)
{
    return 0;
}

static char said[4000];

void console_write(const char *text, size_t length)
{
    strncat(said, text, length);
}

/* --- a machine --- */

static struct net_switch switches[2] = {{.name = "lan"}, {.name = "b"}};
static struct vm_config configs[3] = {{.nets.count = 2}, {.nets.count = 1}, {.nets.count = 0}};
static struct vm_slot slots[3] = {{.name = "a", .config = &configs[0]},
                                  {.name = "b", .config = &configs[1]},
                                  {.name = "c", .config = &configs[2]}};

struct net_switch *nets_get(unsigned index)
{
    return index < ARRAY_SIZE(switches) ? &switches[index] : NULL;
}

unsigned control_count(void)
{
    return ARRAY_SIZE(slots);
}

struct vm_slot *control_slot(unsigned index)
{
    return &slots[index];
}

struct vm_slot *control_find(const char *name, size_t length)
{
    for (unsigned i = 0; i < ARRAY_SIZE(slots); i++)
        if (strlen(slots[i].name) == length && memcmp(slots[i].name, name, length) == 0)
            return &slots[i];
    return NULL;
}

/* --- captures --- */

static struct capture_what what; /* the last one */
static unsigned started, stopped;
static int answer;
static struct capture_state current;
static struct packets_interface interfaces[2] = {
    {.name = "a/0", .on = &switches[0], .seen = 10, .matched = 7, .lost = 2},
    {.name = "uplink net0", .vlan = 20, .on = &switches[1], .seen = 12345, .matched = 1}};

int capture_start(const struct capture_what *w)
{
    what = *w;
    started++;
    return answer;
}

void capture_stop(void)
{
    stopped++;
}

struct capture_state capture_state(void)
{
    return current;
}

bool capture_interface(unsigned index, struct packets_interface *out)
{
    if (index >= current.interfaces)
        return false;
    *out = interfaces[index];
    return true;
}

/* --- typing --- */

static void type(const char *text)
{
    static const struct command command = {
        "capture",      "", 0, 2, RIGHT_LOOK_BARE, {ARGUMENT_CAPTURE, ARGUMENT_TEXT}, "", "",
        command_capture};
    char error[COMMAND_ERROR];
    struct job job = {.command = &command};

    said[0] = '\0';
    started = stopped = 0;
    assert_ptr_equal(command_parse(&command, 1, text, strlen(text), &job.words, error), &command);
    for (; command_capture(&job); job.step++)
        assert_true(job.step < 100);
}

static void expect_said(const char *text)
{
    assert_string_equal(said, text);
}

static void expect_target(const char *text, const struct net_switch *on, const char *card)
{
    type(text);
    if (started != 1)
        fail_msg("%s: %s", text, said);
    assert_ptr_equal(what.on, on);
    assert_string_equal(what.card, card);
}

static void test_whom(void **state)
{
    answer = 0;
    expect_target("capture lan", &switches[0], "");
    expect_said(
        "capture: lan, 128 bytes of each frame: on; `tools/com2 LINE --capture FILE` at the "
        "other end of COM2 keeps it\r\n");
    expect_target("capture a", NULL, "a/");
    expect_target("capture a/1", NULL, "a/1");
    expect_target("capture b", &switches[1], ""); /* a switch before a VM */
    expect_target("capture b/0", NULL, "b/0");
    type("capture d");
    expect_said("there is no switch and no VM 'd': nets and list show them\r\n");
    type("capture off now");
    expect_said("there is no switch and no VM 'off': nets and list show them\r\n");
    type("capture c");
    expect_said("c has no network card\r\n");
    type("capture c/0");
    expect_said("c has no network card\r\n");
    type("capture a/2");
    expect_said("a has the network cards 0 to 1\r\n");
    type("capture a/");
    expect_said("a has the network cards 0 to 1\r\n");
    type("capture a/0/0");
    expect_said("a has the network cards 0 to 1\r\n");
    assert_int_equal(started, 0);
}

static void test_how_much(void **state)
{
    answer = 0;
    expect_target("capture lan", &switches[0], "");
    assert_int_equal(what.keep, 128);
    assert_int_equal(what.filter.count, 0);
    expect_target("capture lan snap 14", &switches[0], "");
    assert_int_equal(what.keep, 14);
    expect_target("capture   lan  snap   9234   not  arp ", &switches[0], "");
    assert_int_equal(what.keep, 9234);
    assert_int_equal(what.filter.count, 1);
    assert_string_equal(what.about, "lan, 9234 bytes of each frame, not  arp ");
    expect_target("capture lan tcp port 80 and host 10.0.0.1 or arp or icmp", &switches[0], "");
    assert_int_equal(what.filter.count, 4);
    assert_string_equal(what.about,
                        "lan, 128 bytes of each frame, tcp port 80 and host 10.0.0.1 or "
                        "arp or icmp");
#define SNAP "snap is how many bytes of each frame are kept, 14 to 9234: snap 1514\r\n"
    type("capture lan snap");
    expect_said(SNAP);
    type("capture lan snap 13");
    expect_said(SNAP);
    type("capture lan snap 9235 arp");
    expect_said(SNAP);
    type("capture lan snap arp");
    expect_said(SNAP);
    type("capture lan arp snap 100");
    expect_said("'snap' stands where `and` or `or` is expected\r\n");
    assert_int_equal(started, 0);
}

static void test_refused(void **state)
{
    answer = -ENODEV;
    type("capture lan");
    expect_said("what is captured goes over the second serial port (2F8h), which carries it with "
                "`com2 = framed` in [host]\r\n");
    answer = -ENOMEM;
    type("capture lan");
    expect_said("there is no memory for it\r\n");
}

static void test_shown(void **state)
{
    current = (struct capture_state){0};
    type("capture");
    expect_said("nothing is captured\r\n");
    type("capture off");
    expect_said("nothing is captured\r\n");
    assert_int_equal(stopped, 0);
    current = (struct capture_state){.on = true, .sending = true, .about = "lan, arp"};
    type("capture");
    expect_said("capture: lan, arp\r\n0 packets, 0, have yet to be sent\r\n");
    current.interfaces = 2;
    current.held = 7;
    current.bytes = 3000;
    current.beyond = 5;
    type("capture");
    expect_said("capture: lan, arp\r\n"
                "CARD              SWITCH            VLAN       SEEN      TAKEN       LOST\r\n"
                "a/0               lan                  -         10          5          2\r\n"
                "uplink net0       b                   20      12345          1          0\r\n"
                "5 frames of more cards than 64 are not captured\r\n"
                "7 packets, 2.9K, have yet to be sent\r\n");
    type("capture off");
    expect_said("capture: off; 7 packets have yet to be sent\r\n");
    assert_int_equal(stopped, 1);
    current.on = false;
    type("capture");
    assert_non_null(strstr(said, "capture: lan, arp, which is off\r\n"));
    type("capture off");
    expect_said("nothing is captured\r\n");
}

static void test_completion(void **state)
{
    static const char *const expected[] = {"off", "lan", "b", "a", "b", "c"};

    for (unsigned i = 0; i < ARRAY_SIZE(expected); i++)
        assert_string_equal(capture_choice(i), expected[i]);
    assert_null(capture_choice(ARRAY_SIZE(expected)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whom),       cmocka_unit_test(test_how_much),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_shown),
        cmocka_unit_test(test_completion),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
