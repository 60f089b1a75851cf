/* links: guest/vm/settings.c guest/config/config.c guest/config/config_check.c guest/config/password.c guest/config/disk.c guest/config/net.c guest/config/config_keys.c guest/config/config_text.c guest/config/config_value.c arch/x86/lib/format.c */
/* What `set` changes of a VM: a value that is refused, by its key or by the machine, changes
 * nothing. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/vm/making.h"

static struct vm_config config;
static struct vm_slot slot;
static char error[CONTROL_ERROR];
static bool unfit; /* this machine has not what it wants */
static unsigned scheduled;

int slot_refuse(char *sentence, int result, const struct vm_slot *s, const char *why)
{
    snprintf(sentence, CONTROL_ERROR, "%s %s", s->name, why);
    return result;
}

int slot_check(const struct vm_slot *s, char *sentence)
{
    strcpy(sentence, "unfit");
    return unfit ? -EINVAL : 0;
}

int slot_schedule(struct vm_slot *s)
{
    scheduled++;
    return 0;
}

static int setup(void **state)
{
    config = (struct vm_config){.name = {"a", 1}, .weight = 100, .cap = 0, .affinity = {{3}}};
    slot = (struct vm_slot){.config = &config, .name = "a"};
    unfit = false;
    scheduled = 0;
    return 0;
}

static int set(const char *key, const char *value)
{
    return control_set(&slot, key, strlen(key), value, strlen(value), error);
}

static void takes_values(void **state)
{
    assert_int_equal(set("weight", "200"), 0);
    assert_int_equal(set("cap", "50"), 0);
    assert_int_equal(set("affinity", "2-3"), 0);
    assert_int_equal(config.weight, 200);
    assert_int_equal(config.cap, 50);
    assert_int_equal(config.affinity.bits[0], 12);
    assert_int_equal(scheduled, 0);
}

static void a_vm_that_exists_is_scheduled_anew(void **state)
{
    slot.vm = (struct vm *)&slot;
    assert_int_equal(set("weight", "200"), 0);
    assert_int_equal(scheduled, 1);
}

static void what_is_refused_changes_nothing(void **state)
{
    static const char *const bad[][2] = {
        {"weight", "0"},   {"weight", "10001"}, {"weight", "x"}, {"cap", "25601"},
        {"affinity", "x"}, {"memory", "1G"},    {"", "1"},       {"weigh", "1"},
    };
    struct vm_config before = config;

    slot.vm = (struct vm *)&slot;
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        error[0] = '\0';
        assert_int_equal(set(bad[i][0], bad[i][1]), -EINVAL);
        assert_true(error[0]);
        assert_memory_equal(&config, &before, sizeof(config));
    }
    unfit = true;
    assert_int_equal(set("affinity", "9"), -EINVAL);
    assert_string_equal(error, "unfit");
    assert_memory_equal(&config, &before, sizeof(config));
    assert_int_equal(scheduled, 0);
}

static void is_told_where_to_look_first(void **state)
{
    static const char *const bad[] = {"", "cd,", "cd,cd", "usb", "cd disk", "cd,disk,net,cd"};

    assert_int_equal(control_boot(&slot, "cd", 2, error), -EINVAL);
    assert_string_equal(error, "a has no firmware: its kernel is what starts");
    config.firmware = (struct config_span){"uefi", 4};
    assert_int_equal(control_boot(&slot, "net,cd", 6, error), 0);
    assert_int_equal(slot.boot.count, 3); /* what is not named comes behind */
    assert_memory_equal(slot.boot.kind,
                        ((uint8_t[]){CONFIG_BOOT_NET, CONFIG_BOOT_CD, CONFIG_BOOT_DISK}), 3);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(control_boot(&slot, bad[i], strlen(bad[i]), error), -EINVAL);
        assert_int_equal(slot.boot.kind[0], CONFIG_BOOT_NET);
    }
    assert_string_equal(error,
                        "a can look at cd, disk and net first, each at most once, such as cd,disk");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(takes_values, setup),
        cmocka_unit_test_setup(a_vm_that_exists_is_scheduled_anew, setup),
        cmocka_unit_test_setup(what_is_refused_changes_nothing, setup),
        cmocka_unit_test_setup(is_told_where_to_look_first, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
