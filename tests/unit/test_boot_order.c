/* links: guest/vm/boot_order.c */
/* The order in which a VM's firmware looks for what it starts. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "guest/vm/boot_order.h"

/* Devices: what one has, by kinds, and its number. */
struct thing {
    struct device dev;
    unsigned number, has[3];
};

static bool boots(struct device *d, enum device_boot kind, unsigned index, char *path)
{
    const struct thing *t = CONTAINER_OF(d, struct thing, dev);

    if (index >= t->has[kind])
        return false;
    snprintf(path, DEVICE_BOOT_PATH, "/%u/%s%u", t->number,
             (const char *[]){"disk", "cd", "net"}[kind], index);
    return true;
}

static const struct device_class each = {.boots = boots}, several = {.boots = boots},
                                 card = {.boots = boots}, other;
static struct thing things[6];
static struct device_list list;
static struct config_lines disks;
static char text[BOOT_TEXT_SIZE];

struct device *device_list_find(const struct device_list *l, const struct device_class *class,
                                unsigned index)
{
    for (unsigned i = 0; i < l->count; i++)
        if (l->item[i].class == class && index-- == 0)
            return l->item[i].device;
    return NULL;
}

static const struct device_class *class_of(const char *line, size_t length)
{
    return line[0] == 'e' ? &each : line[0] == 's' ? &several : line[0] == 'o' ? &other : NULL;
}

static void add(const struct device_class *class, unsigned disk, unsigned cd, unsigned net)
{
    struct thing *t = &things[list.count];

    *t = (struct thing){.number = list.count, .has = {disk, cd, net}};
    list.item[list.count++] = (struct device_item){.class = class, .device = &t->dev};
}

static void line(const char *disk)
{
    disks.item[disks.count++].text = (struct config_span){disk, strlen(disk)};
}

static int setup(void **state)
{
    list.count = 0;
    disks.count = 0;
    add(&other, 0, 0, 0);
    add(&each, 1, 0, 0);
    add(&each, 1, 0, 0);
    add(&several, 2, 2, 0);
    add(&card, 0, 0, 1);
    add(&card, 0, 0, 1);
    line("s0");
    line("e0");
    line("s1");
    line("e1");
    return 0;
}

static void expect(struct config_boot order, const char *lines)
{
    size_t size = boot_order(&order, &list, &disks, class_of, text);

    assert_int_equal(size, strlen(lines) + 1);
    assert_string_equal(text, lines);
}

#define DISKS "/3/disk0\n/1/disk0\n/3/disk1\n/2/disk0"
#define CDS   "/3/cd0\n/3/cd1"
#define NETS  "/4/net0\n/5/net0"

static void kinds_in_their_order(void **state)
{
    expect((struct config_boot){3, {CONFIG_BOOT_CD, CONFIG_BOOT_DISK, CONFIG_BOOT_NET}},
           CDS "\n" DISKS "\n" NETS);
    expect((struct config_boot){3, {CONFIG_BOOT_NET, CONFIG_BOOT_CD, CONFIG_BOOT_DISK}},
           NETS "\n" CDS "\n" DISKS);
    expect((struct config_boot){1, {CONFIG_BOOT_CD}}, CDS);
    expect((struct config_boot){0}, "");
}

/* What is not there, or cannot start anything, has no place. */
static void what_is_missing_has_no_place(void **state)
{
    list.item[2].class = &other;
    line("none");
    line("o");
    expect((struct config_boot){1, {CONFIG_BOOT_DISK}}, "/3/disk0\n/1/disk0\n/3/disk1");
    list.count = 1;
    expect((struct config_boot){3, {CONFIG_BOOT_CD, CONFIG_BOOT_DISK, CONFIG_BOOT_NET}}, "");
}

static void what_is_too_much_is_left_out(void **state)
{
    list.count = 0;
    add(&several, 0, 1000, 0);
    struct config_boot order = {1, {CONFIG_BOOT_CD}};
    size_t size = boot_order(&order, &list, &disks, class_of, text);
    assert_true(size <= BOOT_TEXT_SIZE && size > BOOT_TEXT_SIZE - DEVICE_BOOT_PATH);
    assert_int_equal(strlen(text), size - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(kinds_in_their_order, setup),
        cmocka_unit_test_setup(what_is_missing_has_no_place, setup),
        cmocka_unit_test_setup(what_is_too_much_is_left_out, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
