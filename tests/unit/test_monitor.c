/* links: guest/monitor/monitor.c guest/monitor/table.c guest/monitor/command.c guest/monitor/editor.c guest/monitor/job.c guest/monitor/users.c guest/monitor/login.c guest/monitor/pbkdf2.c guest/config/password.c guest/config/config_text.c arch/x86/lib/log.c arch/x86/lib/format.c */
/*
 * The monitor with all commands, which only note that they were called: who only looks has nothing
 * obeyed that changes anything, whatever is typed. Each command stands here, too, with its right.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/cpu.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/tsc.h"
#include "drivers/serial.h"
#include "guest/console/console.h"
#include "guest/monitor/commands.h"
#include "guest/monitor/login.h"
#include "guest/monitor/monitor.h"
#include "guest/monitor/users.h"
#include "guest/vm/control.h"
#include "guest/vm/down.h"
#include "guest/watch/watch.h"
#include "mm/heap.h"

/* login and logout are themselves. */
#define COMMANDS(X)                                                                                \
    X(help, LOOK)                                                                                  \
    X(list, LOOK)                                                                                  \
    X(console, LOOK)                                                                               \
    X(ports, LOOK)                                                                                 \
    X(resize, ALL)                                                                                 \
    X(start, ALL)                                                                                  \
    X(stop, ALL)                                                                                   \
    X(pause, ALL)                                                                                  \
    X(resume, ALL)                                                                                 \
    X(reset, ALL)                                                                                  \
    X(kill, ALL)                                                                                   \
    X(snapshot, ALL)                                                                               \
    X(restore, ALL)                                                                                \
    X(snapshots, LOOK)                                                                             \
    X(forget, ALL)                                                                                 \
    X(set, ALL)                                                                                    \
    X(boot, ALL)                                                                                   \
    X(attach, ALL)                                                                                 \
    X(detach, ALL)                                                                                 \
    X(balloon, LOOK_BARE)                                                                          \
    X(eject, ALL)                                                                                  \
    X(insert, ALL)                                                                                 \
    X(screenshot, ALL)                                                                             \
    X(type, ALL)                                                                                   \
    X(keys, ALL)                                                                                   \
    X(mouse, ALL)                                                                                  \
    X(top, LOOK)                                                                                   \
    X(stats, LOOK)                                                                                 \
    X(show, LOOK)                                                                                  \
    X(dump, ALL)                                                                                   \
    X(regs, ALL)                                                                                   \
    X(read, ALL)                                                                                   \
    X(write, ALL)                                                                                  \
    X(walk, ALL)                                                                                   \
    X(watch, ALL)                                                                                  \
    X(watches, LOOK)                                                                               \
    X(unwatch, ALL)                                                                                \
    X(trace, LOOK_BARE)                                                                            \
    X(com2, LOOK)                                                                                  \
    X(nets, LOOK)                                                                                  \
    X(switch, LOOK)                                                                                \
    X(link, ALL)                                                                                   \
    X(capture, LOOK_BARE)                                                                          \
    X(cpus, LOOK)                                                                                  \
    X(memory, LOOK)                                                                                \
    X(disks, LOOK)                                                                                 \
    X(variables, LOOK_BARE)                                                                        \
    X(log, LOOK)                                                                                   \
    X(poweroff, ALL)                                                                               \
    X(reboot, ALL)

static const struct {
    const char *name;
    enum right right;
} expected[] = {
#define ROW(name, right) {#name, RIGHT_##right},
    COMMANDS(ROW){"login", RIGHT_LOOK},
    {"logout", RIGHT_LOOK},
};

static unsigned ran[ARRAY_SIZE(expected)], stops, cancels;
static bool lasts; /* commands that were called go on for ever */

static void stop(struct job *job)
{
    stops++;
}

/* What holds of all of them: nobody who only looks has come here with more than a look. */
static bool run(struct job *job, unsigned n)
{
    if (!users_permit()) {
        assert_int_not_equal(expected[n].right, RIGHT_ALL);
        if (expected[n].right == RIGHT_LOOK_BARE)
            assert_int_equal(job->words.count - 1, job->command->min);
    }
    ran[n]++;
    job->stop = stop;
    job->wake = CONSOLE_NEVER;
    return lasts;
}

enum {
#define NUMBER(name, right) NUMBER_##name,
    COMMANDS(NUMBER)
};

#define STUB(name, right)                                                                          \
    bool command_##name(struct job *job)                                                           \
    {                                                                                              \
        return run(job, NUMBER_##name);                                                            \
    }
COMMANDS(STUB)

/* --- what the monitor stands on --- */

uint64_t tsc_hz = 1000000;
static uint64_t now = 1000000;
struct serial_port com1;
static bool hung_up;
static char screen[1 << 16];
static size_t shown;
static char logged[4096];

uint64_t test_tsc(void)
{
    return now += 20;
}

void console_write(const char *text, size_t length)
{
    if (shown + length >= sizeof(screen))
        shown = 0;
    memcpy(screen + shown, text, length);
    shown += length;
    screen[shown] = '\0';
}

size_t console_room(void)
{
    return SERIAL_TX_SIZE;
}

void console_back(void)
{
}

bool serial_hung_up(struct serial_port *p)
{
    bool was = hung_up;

    hung_up = false;
    return was;
}

void down_cancel(void)
{
    assert_true(users_permit());
    cancels++;
}

unsigned control_count(void)
{
    return 0;
}

struct vm_slot *control_slot(unsigned index)
{
    fail();
    return NULL;
}

struct vm_slot *control_find(const char *name, size_t length)
{
    return NULL;
}

const char *moments_choice(const char *before, size_t length, unsigned n)
{
    return NULL;
}

const char *capture_choice(unsigned n)
{
    return NULL;
}

const char *disks_choice(unsigned n)
{
    return NULL;
}

const struct watch_handlers watch_handlers;

const char *watch_kind_name(unsigned n)
{
    return NULL;
}

const char *watch_policy_name(unsigned n, const struct watch_handlers *handlers)
{
    return NULL;
}

void heap_free(void *p)
{
}

static void sink(enum log_level level, const char *line, size_t length)
{
    snprintf(logged + strlen(logged), sizeof(logged) - strlen(logged), "%.*s\n", (int)length, line);
}

/* --- a person --- */

#define SALT "30313233343536373839616263646566" /* 0123456789abcdef */

static char text[CONFIG_MAX_PASSWORD];
static struct config config;

static void guard(const char *password, unsigned logout)
{
    struct pbkdf2 p;
    size_t used = (size_t)snprintf(text, sizeof(text), "pbkdf2-blake2s$1000$" SALT "$");

    pbkdf2_begin(&p, password, strlen(password), "0123456789abcdef", 16, 1000);
    assert_true(pbkdf2_work(&p, 1000));
    for (unsigned i = 0; i < PBKDF2_SIZE; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%02x", p.sum[i]);
    config = (struct config){.password = {text, used}, .logout = logout};
    config.key_line[CONFIG_HOST_PASSWORD] = 2;
    users_init(&config);
    memset(ran, 0, sizeof(ran));
    logged[0] = '\0';
    shown = 0;
    lasts = false;
    stops = cancels = 0;
    monitor.enter();
}

static void pump(unsigned times)
{
    while (times--) {
        (void)monitor.work();
        now += tsc_hz / 100;
    }
}

static void type_at_once(const char *keys)
{
    for (; *keys; keys++) {
        monitor.typed();
        monitor.input((uint8_t)*keys);
    }
}

static void type(const char *keys)
{
    type_at_once(keys);
    pump(40);
}

static void expect_shown(const char *what)
{
    if (!strstr(screen, what))
        fail_msg("not shown: %s; but: %s", what, screen);
    shown = 0;
    screen[0] = '\0';
}

static void test_every_command_has_a_right(void **state)
{
    assert_int_equal(command_count, ARRAY_SIZE(expected));
    for (unsigned i = 0; i < command_count; i++) {
        unsigned n = 0;

        while (n < ARRAY_SIZE(expected) && strcmp(expected[n].name, commands[i].name) != 0)
            n++;
        if (n == ARRAY_SIZE(expected) || expected[n].right != commands[i].right)
            fail_msg("%s: say here and in guest/monitor/table.c who may have it obeyed",
                     commands[i].name);
    }
}

static void test_without_a_password(void **state)
{
    guard("secret", 600);
    config.key_line[CONFIG_HOST_PASSWORD] = 0;
    config.password = (struct config_span){NULL, 0};
    users_init(&config);
    type("kill debian\r");
    assert_int_equal(ran[NUMBER_kill], 1);
    type("login\r");
    expect_shown("corbel.conf has no password: everything is allowed");
    type("\x03");
    assert_int_equal(cancels, 1);
}

static void test_a_broken_password(void **state)
{
    guard("secret", 600);
    config.password = (struct config_span){NULL, 0}; /* as the parser leaves it */
    users_init(&config);
    type("kill debian\r");
    expect_shown(LOGIN_NO_CHANGES);
    type("login\r");
    expect_shown("nobody can log in");
    assert_int_equal(ran[NUMBER_kill], 0);
}

static void test_login(void **state)
{
    guard("secret", 600);
    type("kill debian\r");
    expect_shown("\r\n" LOGIN_NO_CHANGES "\r\n");
    assert_int_equal(ran[NUMBER_kill], 0);
    type("list\r");
    assert_int_equal(ran[NUMBER_list], 1);
    type("login\r");
    expect_shown("password: ");
    type("wrong\r");
    assert_null(strstr(screen, "wrong"));
    expect_shown("that is not the password");
    assert_string_equal(logged, "console: a login failed, the 1. since one was good\n");
    type("login\r");
    expect_shown("try again in 1 s");
    now += tsc_hz;
    type("login\rsecret\rkill debian\r"); /* without waiting for anything */
    pump(400);
    assert_null(strstr(screen, "secret"));
    expect_shown(
        "before that it failed 1 time\r\nlogged in, until `logout` or 600 s without a key");
    type("kill debian\r");
    assert_int_equal(ran[NUMBER_kill], 1);
    type("login\r");
    expect_shown("you are logged in");
    type("\x03");
    assert_int_equal(cancels, 1);
    type("logout\r");
    expect_shown("logged out");
    type("kill debian\r");
    assert_int_equal(ran[NUMBER_kill], 1);
}

static void log_in(void)
{
    type("login\r");
    type("secret\r");
    pump(400);
    assert_true(users_permit());
}

static void test_what_ends_it(void **state)
{
    guard("secret", 600);
    log_in();
    hung_up = true;
    pump(200);
    assert_false(users_permit());
    log_in();
    for (unsigned i = 0; i < 3; i++) {
        now += 599 * tsc_hz;
        monitor.typed(); /* into a guest */
        pump(1);
        assert_true(users_permit());
    }
    now += 600 * tsc_hz;
    pump(1);
    assert_false(users_permit());
    assert_non_null(strstr(logged, "logged out, as no key was pressed for 600 s"));
    assert_non_null(strstr(logged, "logged out, as COM1's line was dropped"));
}

/* What runs on when nobody is logged in any more, nobody calls off. */
static void test_a_command_that_outlasts_it(void **state)
{
    guard("secret", 600);
    log_in();
    lasts = true;
    type("poweroff\r");
    assert_int_equal(ran[NUMBER_poweroff], 1);
    now += 601 * tsc_hz;
    pump(1);
    assert_false(users_permit());
    type("\x03\x03");
    assert_int_equal(stops + cancels, 0);
    lasts = false;
    log_in();
    lasts = true;
    type("poweroff\r");
    type("\x03");
    assert_int_equal(stops, 1);
    lasts = false;
}

static void test_a_password_that_is_not_wanted_any_more(void **state)
{
    guard("secret", 600);
    type("login\rsec\x03");
    type("ret\r");
    assert_false(users_permit());
    type("login\rsec");
    monitor.leave();
    monitor.enter();
    type("ret\r");
    pump(400);
    assert_false(users_permit());
    type_at_once("login\rsecret\r");
    pump(2);
    monitor.leave(); /* while it is hashed */
    monitor.enter();
    pump(400);
    assert_false(users_permit());
    type("login\rsec");
    now += (LOGIN_ASKS_FOR + 1) * tsc_hz;
    pump(2);
    type("ret\r");
    assert_false(users_permit());
}

/* Whatever is typed. */
static void test_only_looking(void **state)
{
    static const char *const pieces[] = {
        "\r",       "\r",   "\r",     "\n",       " ",         " debian", " debian 1",
        " on",      " off", " save",  " now",     " all",      "\t",      "\x03",
        "\x04",     "\x15", "\x1b[A", "\x1b[A\r", "\x1b",      "login\r", "login\rwrong\r",
        "logout\r", "q",    " 128M",  "x=1",      " weight=2", "\x10\r",  "\b",
    };
    unsigned seed = 1, looked = 0;
    size_t typed = 0;

    guard("secret", 600);
    while (typed < 1000000) {
        char random[] = {(char)(rand_r(&seed) % 255 + 1), '\0'};
        unsigned kind = (unsigned)rand_r(&seed) % 4;
        const char *keys = kind == 0   ? commands[(unsigned)rand_r(&seed) % command_count].name
                           : kind == 1 ? random
                                       : pieces[(unsigned)rand_r(&seed) % ARRAY_SIZE(pieces)];

        type_at_once(keys);
        typed += strlen(keys);
        if (rand_r(&seed) % 4 == 0)
            pump(1);
        lasts = rand_r(&seed) % 8 == 0;
    }
    assert_int_equal(cancels + stops, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(expected); i++) {
        looked += ran[i] != 0;
        if (expected[i].right == RIGHT_ALL)
            assert_int_equal(ran[i], 0);
    }
    assert_true(looked > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_command_has_a_right),
        cmocka_unit_test(test_without_a_password),
        cmocka_unit_test(test_a_broken_password),
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_what_ends_it),
        cmocka_unit_test(test_a_command_that_outlasts_it),
        cmocka_unit_test(test_a_password_that_is_not_wanted_any_more),
        cmocka_unit_test(test_only_looking),
    };

    log_set_sink(sink);
    monitor_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
