/* links: guest/vm/hotplug.c guest/monitor/attach.c guest/monitor/command.c arch/x86/lib/format.c arch/x86/lib/log.c */
/*
 * `attach` and `detach` as they are typed, over a platform that is a list: what is said, and in
 * which order a device goes.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "guest/monitor/commands.h"
#include "guest/vm/hotplug.h"
#include "guest/vm/platform.h"
#include "guest/vm/vm.h"

#define HZ 1000000u

static struct vm vm;
static struct vm_life life;
static struct vm_slot slot;
static struct vm_config config;
uint64_t tsc_hz = HZ;
static uint64_t now;
static char said[4096], logged[4096];
static bool listens;     /* the guest, to its slots */
static unsigned places;  /* devices of PCI that are free: a bit each */
static unsigned begins;  /* in flight as long as the guest goes on with it */
static unsigned flights; /* looks until nothing is in flight any more */
static unsigned told;    /* devices that were taken away unasked */

uint64_t test_tsc(void)
{
    return now;
}

/* --- the platform --- */

static struct device_class virtual = {.removable = true};
static int at[BUS_DEVICES]; /* by id */
static char names[BUS_DEVICES][DEVICE_NAME];

int platform_attach(struct vm *v, const char *key, const char *text, size_t length,
                    struct platform_attached *out, char *error)
{
    struct device_item *item = &life.devices.item[life.devices.count];

    if (strcmp(key, "disk") != 0 || strncmp(text, "ram:ide", 7) == 0)
        return -ENOTSUP;
    if (strncmp(text, "part:none", 9) == 0) {
        strcpy(error, "disk = part:none: no partition has that name");
        return -EINVAL;
    }
    if (strncmp(text, "ram:large", 9) == 0)
        return -ENOMEM;
    if (!places)
        return -ENOSPC;
    unsigned id = ++life.devices.last_id;
    *item = (struct device_item){.class = &virtual, .id = id, .name = names[id]};
    snprintf(item->name, DEVICE_NAME, "%.*s", (int)strcspn(text, ","), text);
    life.devices.count++;
    at[item->id] = __builtin_ctz(places);
    places &= places - 1;
    *out = (struct platform_attached){.id = item->id, .device = at[item->id], .heard = listens};
    return 0;
}

struct device_item *platform_item(const struct vm *v, unsigned *index)
{
    return *index < life.devices.count ? &life.devices.item[(*index)++] : NULL;
}

int platform_place(const struct vm *v, const struct device_item *item)
{
    assert_true(item->stay < DEVICE_LEAVING);
    return at[item->id];
}

bool platform_ask(struct vm *v, struct device_item *item)
{
    item->stay = DEVICE_ASKED;
    return listens;
}

bool device_item_stop(struct device_item *item)
{
    assert_int_equal(item->stay, DEVICE_STOPPING);
    return !begins;
}

void platform_unplug(struct vm *v, struct device_item *item, bool unasked)
{
    assert_int_equal(item->stay, DEVICE_STOPPING);
    item->stay = DEVICE_LEAVING;
    told += unasked;
}

bool platform_remove(struct vm *v, struct device_item *item)
{
    struct device_list *list = &life.devices;

    assert_int_equal(item->stay, DEVICE_LEAVING);
    if (flights && flights--)
        return false;
    memmove(item, item + 1, (char *)&list->item[list->count--] - (char *)(item + 1));
    return true;
}

/* --- the monitor --- */

static void add(char *to, size_t size, const char *format, va_list args)
{
    size_t used = strlen(to);

    used += (size_t)vsnprintf(to + used, size - used, format, args);
    snprintf(to + used, size - used, "\n");
}

void job_line(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(said, sizeof(said), fmt, args);
    va_end(args);
}

void job_progress(struct job *job, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    said[0] = '\0';
    add(said, sizeof(said), fmt, args);
    va_end(args);
}

struct vm_slot *job_vm(const struct job *job, unsigned i)
{
    return word_is(job->words.word[i], "a") ? &slot : NULL;
}

const char *control_state_text(const struct vm_slot *s)
{
    return s->state == SLOT_OFF ? "off" : "starting";
}

static void note(enum log_level level, const char *line, size_t length)
{
    snprintf(logged + strlen(logged), sizeof(logged) - strlen(logged), "%s\n", line);
}

static struct job job;

/* The first step of it; whether it goes on. */
static bool type(const char *line)
{
    memset(&job, 0, sizeof(job));
    said[0] = logged[0] = '\0';
    assert_true(words_cut(&job.words, line, strlen(line)));
    return word_is(job.words.word[0], "attach") ? command_attach(&job) : command_detach(&job);
}

static bool goes_on(void)
{
    job.step++;
    said[0] = '\0';
    return command_detach(&job);
}

static int setup(void **state)
{
    memset(&vm, 0, sizeof(vm));
    memset(&life, 0, sizeof(life));
    vm.life = &life;
    slot = (struct vm_slot){.config = &config, .name = "a", .state = SLOT_RUNNING, .vm = &vm};
    listens = true;
    places = 0x1e;
    begins = flights = told = 0;
    vms_settling = 0;
    log_set_sink(note);
    now = 50 * HZ;
    return 0;
}

static int teardown(void **state)
{
    assert_int_equal(slot.leaving, 0);
    assert_int_equal(vms_settling, 0);
    return 0;
}

/* --- tests --- */

static void what_attach_says(void **state)
{
    assert_false(type("attach a disk=ram:x,ro"));
    assert_string_equal(said, "a: disk ram:x,ro is there, at PCI device 1\n");
    listens = false;
    type("attach a disk=part:data");
    assert_string_equal(said,
                        "a: disk part:data is there, at PCI device 2, where its system may not "
                        "look before it starts anew: it does not listen for devices that come\n");
    type("attach a disk=part:none");
    assert_string_equal(said, "disk = part:none: no partition has that name\n");
    type("attach a disk=ram:ide,bus=ide");
    assert_string_equal(said, "a: 'disk=ram:ide,bus=ide' is nothing that can come while a VM runs: "
                              "disk=SOURCE is\n");
    type("attach a aVeryLongKeyIndeed=1");
    assert_non_null(strstr(said, "is nothing that can come while a VM runs"));
    type("attach a disk=ram:large");
    assert_string_equal(said, "a: there is not enough memory for that\n");
    type("attach a disk");
    assert_string_equal(said, "'disk' is not KEY=VALUE, such as disk=part:data\n");
    places = 0;
    type("attach a disk=ram:x");
    assert_string_equal(said, "a has no slot left: there are more when it starts anew\n");
    slot.state = SLOT_OFF;
    type("attach a disk=ram:x");
    assert_string_equal(said, "a is off: devices come and go while it runs or is paused\n");
    assert_false(type("detach a ram:x"));
    assert_string_equal(said, "a is off: devices come and go while it runs or is paused\n");
    slot.state = SLOT_MAKING;
    type("attach a disk=ram:x");
    assert_string_equal(said, "a is starting: devices come and go while it runs or is paused\n");
    assert_int_equal(life.devices.count, 2);
}

static void the_guest_lets_go(void **state)
{
    type("attach a disk=ram:x");
    assert_true(type("detach a ram:x"));
    assert_string_equal(said, "a is asked to let go of ram:x\n");
    assert_true(goes_on());
    assert_string_equal(said, "a has not let go of ram:x yet; Ctrl-C: do not wait for it\n");
    flights = 2;
    life.ejected = 1 << 1 | 1 << 2;
    hotplug_ejected(&slot);
    assert_int_equal(life.ejected, 0);
    assert_int_equal(vms_settling, 1);
    assert_true(goes_on());
    assert_string_equal(said, "a: it has let go of ram:x, of which something is in flight yet\n");
    assert_false(hotplug_settle(&slot));
    assert_true(hotplug_settle(&slot));
    assert_string_equal(logged, "a: ram:x is detached\n");
    assert_false(goes_on());
    assert_string_equal(said, "a: ram:x is gone\n");
    assert_int_equal(told, 0);
}

static void the_guest_does_not_listen(void **state)
{
    type("attach a disk=ram:x");
    listens = false;
    assert_true(type("detach a ram:x"));
    assert_string_equal(said, "a is asked to let go of ram:x, but does not listen: when it starts "
                              "anew it is gone, with 'force' at once\n");
    hotplug_reset(&slot);
    assert_int_equal(life.devices.count, 0);
}

static void by_force(void **state)
{
    type("attach a disk=ram:x");
    begins = 1; /* the guest does not stop */
    assert_true(type("detach a ram:x force"));
    assert_string_equal(said, "a: ram:x is taken away\n");
    assert_int_equal(life.devices.item[0].stay, DEVICE_STOPPING);
    now += HZ;
    assert_false(hotplug_settle(&slot));
    assert_int_equal(told, 0);
    now += 1;
    assert_true(hotplug_settle(&slot)); /* it had its time */
    assert_int_equal(told, 1);
    assert_false(goes_on());
    begins = 0;
    type("attach a disk=ram:x");
    assert_true(type("detach a ram:x force")); /* nothing is in flight */
    assert_int_equal(life.devices.count, 0);
    assert_false(goes_on());
    assert_false(type("detach a ram:x now"));
    assert_string_equal(said, "'now' is not 'force'\n");
}

static void which_one(void **state)
{
    type("attach a disk=ram:x");
    type("attach a disk=ram:y");
    type("attach a disk=ram:x");
    assert_false(type("detach a ram:x"));
    assert_string_equal(said, "a has more than one ram:x: say its PCI device, such as 1 or 3\n");
    assert_false(type("detach a ram:z"));
    assert_string_equal(said, "a has no 'ram:z' that could go\n");
    assert_false(type("detach a ram:"));
    assert_false(type("detach a 4"));
    assert_true(type("detach a 3 force"));
    assert_int_equal(life.devices.count, 2);
    assert_true(type("detach a ram:x force"));
    assert_true(type("detach a ram:y force"));
    assert_int_equal(life.devices.count, 0);
}

/* What the guest lets go of unasked goes, and nothing else; and it may be over at any moment. */
static void reset_and_end(void **state)
{
    type("attach a disk=ram:x");
    type("attach a disk=ram:y");
    type("attach a disk=ram:z");
    type("detach a ram:y");
    life.ejected = 1 << 3;
    hotplug_reset(&slot);
    assert_int_equal(life.devices.count, 1);
    assert_string_equal(life.devices.item[0].name, "ram:x");
    flights = 5;
    type("detach a ram:x force");
    assert_int_equal(vms_settling, 1);
    hotplug_end(&slot);
    slot.vm = NULL;
    hotplug_ejected(&slot);
    assert_false(goes_on());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_attach_says, setup, teardown),
        cmocka_unit_test_setup_teardown(the_guest_lets_go, setup, teardown),
        cmocka_unit_test_setup_teardown(the_guest_does_not_listen, setup, teardown),
        cmocka_unit_test_setup_teardown(by_force, setup, teardown),
        cmocka_unit_test_setup_teardown(which_one, setup, teardown),
        cmocka_unit_test_setup_teardown(reset_and_end, setup, teardown),
    };

    return cmocka_run_group_tests_name("attach", tests, NULL, NULL);
}
