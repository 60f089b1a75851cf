/* links: guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c */
/* What `disk =` may say. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>

#include "guest/config/disk.h"

static struct config_disk d;
static char error[CONFIG_MESSAGE];

static int parse(const char *text)
{
    error[0] = '\0';
    return config_disk_parse(text, strlen(text), &d, error);
}

static void expect_name(const char *name)
{
    assert_int_equal(d.name.length, strlen(name));
    assert_memory_equal(d.name.data, name, d.name.length);
}

static void test_what_is_good(void **state)
{
    assert_int_equal(parse("ram:disks/root.img"), 0);
    expect_name("disks/root.img");
    assert_int_equal(d.kind, CONFIG_DISK_RAM);
    assert_false(d.read_only);
    assert_string_equal(d.serial, "");
    assert_int_equal(parse("ram: a b ,ro , serial=x-1"), 0);
    expect_name("a b");
    assert_true(d.read_only);
    assert_string_equal(d.serial, "x-1");
    assert_int_equal(parse("part:root,ro"), 0);
    expect_name("root");
    assert_int_equal(d.kind, CONFIG_DISK_PARTITION);
    assert_int_equal(d.source.length, strlen("part:root"));
    assert_int_equal(parse("disk:S 7"), 0);
    expect_name("S 7");
    assert_int_equal(d.kind, CONFIG_DISK_WHOLE);
    assert_int_equal(parse("ram:c:d,serial=12345678901234567890"), 0);
    expect_name("c:d");
    assert_string_equal(d.serial, "12345678901234567890");
}

static void test_buses(void **state)
{
    static const char *const texts[] = {"ram:a,bus=virtio", "ram:a,bus=ide", "ram:a,bus=ahci",
                                        "ram:a,bus=nvme"};

    assert_int_equal(parse("ram:a,ro"), 0);
    assert_int_equal(d.bus, CONFIG_DISK_VIRTIO);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(parse(texts[i]), 0);
        assert_int_equal(d.bus, i);
        for (unsigned bus = 0; bus < 4; bus++)
            assert_int_equal(config_disk_is_at(bus, texts[i], strlen(texts[i]), error), i == bus);
    }
    assert_int_equal(parse("part:a , bus=ahci, serial=bus=ide ,ro"), 0);
    assert_int_equal(d.bus, CONFIG_DISK_AHCI);
    assert_string_equal(d.serial, "bus=ide");
    assert_true(d.read_only);
    assert_int_equal(config_disk_is_at(CONFIG_DISK_VIRTIO, "ram:a,rw", 8, error), -EINVAL);
    assert_string_equal(error,
                        "'rw' of a disk is not known; known are ro, serial=TEXT and bus=BUS");
    assert_int_equal(config_disk_no_bus("ram:a,bus=nvme", 14, error), -EINVAL);
    assert_string_equal(error, "bus=nvme: this Corbel has no such controller for VMs");
    assert_int_equal(config_disk_no_bus("ram:", 4, error), -EINVAL);
    assert_string_equal(error, "disk = ram: names no file");
}

static void expect_bad(const char *text, const char *sentence)
{
    assert_int_equal(parse(text), -EINVAL);
    assert_string_equal(error, sentence);
}

static void test_what_is_not(void **state)
{
    expect_bad(
        "root.img",
        "disk = 'root.img' is not known; write part:NAME, part:GUID, disk:SERIAL or ram:FILE");
    expect_bad(
        "rom:root.img",
        "disk = 'rom:root.img' is not known; write part:NAME, part:GUID, disk:SERIAL or ram:FILE");
    expect_bad("ram:", "disk = ram: names no file");
    expect_bad("part:,ro", "disk = part: names no partition");
    expect_bad("disk:", "disk = disk: names no disk");
    expect_bad("ram: ,ro", "disk = ram: names no file");
    expect_bad("ram:a,rw", "'rw' of a disk is not known; known are ro, serial=TEXT and bus=BUS");
    expect_bad("ram:a,", "'' of a disk is not known; known are ro, serial=TEXT and bus=BUS");
    expect_bad("ram:a,serial=",
               "serial= of a disk must be 1 to 20 characters of ASCII, without blanks");
    expect_bad(
        "ram:a,serial=123456789012345678901",
        "serial=123456789012345678901 of a disk must be 1 to 20 characters of ASCII, without "
        "blanks");
    expect_bad("ram:a,serial=a b",
               "serial=a b of a disk must be 1 to 20 characters of ASCII, without blanks");
    expect_bad("ram:a,bus=scsi",
               "bus=scsi of a disk is not known; it must be virtio, ide, ahci or nvme");
    expect_bad("ram:a,bus=", "bus= of a disk is not known; it must be virtio, ide, ahci or nvme");
    expect_bad("ram:a,bus=AHCI",
               "bus=AHCI of a disk is not known; it must be virtio, ide, ahci or nvme");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_good),
        cmocka_unit_test(test_buses),
        cmocka_unit_test(test_what_is_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
