/* links: guest/config/config.c guest/config/config_check.c guest/config/password.c guest/config/config_keys.c guest/config/config_text.c guest/config/config_value.c guest/config/disk.c guest/config/net.c guest/watch/spec.c arch/x86/lib/format.c */
/* What a config says of a VM: [vm NAME]. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest/config/config_text.h"
#include "tests/unit/config_read.h"

static void test_boot_order(void **state)
{
    struct config_boot order;

    parse("[vm a]\nboot = cd, disk\nfirmware = uefi\n");
    assert_int_equal(told_count, 0);
    expect_span(vms[0].boot, "cd, disk");
    assert_true(config_parse_boot(vms[0].boot, &order));
    assert_int_equal(order.count, 3);
    assert_memory_equal(order.kind,
                        ((uint8_t[]){CONFIG_BOOT_CD, CONFIG_BOOT_DISK, CONFIG_BOOT_NET}), 3);
    expect_one("[vm a]\nkernel = k\nboot = cd\n", 3,
               "'boot' is firmware's: it does not go with 'kernel' in [vm a]");
    assert_true(vms[0].broken);
    expect_one(
        "[vm a]\nfirmware = bios\nboot = cd,usb\n", 3,
        "boot = 'cd,usb' in [vm a] is no order; it must be of cd, disk and net, each at most "
        "once, such as cd,disk");
    assert_true(vms[0].broken);
}

/* Whichever line comes first; nobody gets a whole disk by a slip of the pen. */
static void test_whole_disks(void **state)
{
    expect_one("[vm a]\nkernel = k\ndisk = part:x\ndisk = disk:S 1,ro\n", 4,
               "disk = disk:S 1 needs `allow_whole_disk = yes` in [vm a]");
    assert_true(vms[0].broken);
    expect_one("[vm a]\nkernel = k\nallow_whole_disk = no\ndisk = disk:S\n[vm b]\nkernel = k\n", 4,
               "disk = disk:S needs `allow_whole_disk = yes` in [vm a]");
    assert_false(vms[1].broken);
    parse("[vm a]\nkernel = k\ndisk = disk:S\nallow_whole_disk = yes\n");
    assert_int_equal(config.problems, 0);
    assert_false(vms[0].broken);
}

static void test_cmdline(void **state)
{
    char text[4096], value[CONFIG_MAX_CMDLINE + 2];

    parse("[vm a]\nkernel=k\ncmdline = root=/dev/vda rw x=\"a = b\"\n[vm b]\nkernel=k\ncmdline=\n");
    assert_int_equal(told_count, 0);
    expect_span(vms[0].cmdline, "root=/dev/vda rw x=\"a = b\"");
    expect_span(vms[1].cmdline, "");

    memset(value, 'x', sizeof(value));
    value[CONFIG_MAX_CMDLINE] = '\0';
    snprintf(text, sizeof(text), "[vm a]\nkernel=k\ncmdline = %s\n", value);
    assert_int_equal(parse(text), 1);
    assert_int_equal(vms[0].cmdline.length, CONFIG_MAX_CMDLINE);
    value[CONFIG_MAX_CMDLINE] = 'x';
    value[CONFIG_MAX_CMDLINE + 1] = '\0';
    snprintf(text, sizeof(text), "cmdline = %s", value);
    expect_broken(text, "cmdline in [vm a] is 2048 bytes long; at most 2047 are possible");
}

static void test_sizes(void **state)
{
    parse("[vm a]\nkernel=k\nmemory=2M\nhole=16M\n[vm b]\nkernel=k\nmemory=131072K\nhole=2816M\n"
          "[vm c]\nkernel=k\nmemory = 1024G\nhole=1g\n");
    assert_int_equal(told_count, 0);
    assert_int_equal(vms[0].memory, 2 * MIB);
    assert_int_equal(vms[0].hole, 16 * MIB);
    assert_int_equal(vms[1].memory, 128 * MIB);
    assert_int_equal(vms[1].hole, 2816 * MIB);
    assert_int_equal(vms[2].memory, 1024 * GIB);
    assert_int_equal(vms[2].hole, GIB);

#define NOT_A_SIZE " in [vm a] is not a size; write a number and K, M or G, such as 256M"
    expect_broken("memory = 256", "memory = '256'" NOT_A_SIZE);
    expect_broken("memory = M", "memory = 'M'" NOT_A_SIZE);
    expect_broken("memory = 1T", "memory = '1T'" NOT_A_SIZE);
    expect_broken("memory = 256MB", "memory = '256MB'" NOT_A_SIZE);
    expect_broken("memory = -1M", "memory = '-1M'" NOT_A_SIZE);
    expect_broken("memory = 1.5G", "memory = '1.5G'" NOT_A_SIZE);
    expect_broken("memory = 0x10M", "memory = '0x10M'" NOT_A_SIZE);
    expect_broken("memory = 1 M", "memory = '1 M'" NOT_A_SIZE);
    expect_broken("memory = 1M", "memory = 1M in [vm a] is too small; it must be from 2M to 1024G");
    expect_broken("memory = 1025G",
                  "memory = 1025G in [vm a] is too large; it must be from 2M to 1024G");
    expect_broken(
        "memory = 18446744073709551616G",
        "memory = 18446744073709551616G in [vm a] is too large; it must be from 2M to 1024G");
    expect_broken(
        "memory = 18014398509481984K", /* 2^64 bytes */
        "memory = 18014398509481984K in [vm a] is too large; it must be from 2M to 1024G");
    expect_broken("memory = 17179869185G", /* 2^64 + 1 GiB */
                  "memory = 17179869185G in [vm a] is too large; it must be from 2M to 1024G");
    expect_broken("memory = 4097K", "memory = 4097K in [vm a] must be a multiple of 4K");
    expect_broken("hole = 17M", "hole = 17M in [vm a] must be a multiple of 2M");
    expect_broken("hole = 4G", "hole = 4G in [vm a] is too large; it must be from 16M to 2816M");
}

static void test_numbers(void **state)
{
    parse("[vm a]\nkernel=k\ncpus=64\n");
    assert_int_equal(vms[0].cpus, 64);
    expect_broken("cpus = 0", "cpus = 0 in [vm a] is too small; it must be from 1 to 64");
    expect_broken("cpus = 65", "cpus = 65 in [vm a] is too large; it must be from 1 to 64");
    expect_broken("cpus = 99999999999999999999999",
                  "cpus = 99999999999999999999999 in [vm a] is too large; it must be from 1 to 64");
    expect_broken("cpus = two", "cpus = 'two' in [vm a] is not a number; it must be from 1 to 64");
    expect_broken("cpus = 1x", "cpus = '1x' in [vm a] is not a number; it must be from 1 to 64");
}

static void test_processors(void **state)
{
    static const char *const bad[] = {"x",
                                      "1-",
                                      "-1",
                                      "3-1",
                                      "256",
                                      "0-256",
                                      "1,,2",
                                      ",",
                                      "1, x",
                                      "1 2",
                                      "0-99999999999999999999999"};
    char line[80];

    parse("[vm a]\nkernel=k\naffinity = 0, 2-3 ,63-64,255\n");
    assert_int_equal(told_count, 0);
    assert_true(vms[0].affinity.bits[0] == (BIT(0) | BIT(2) | BIT(3) | BIT(63)));
    assert_true(vms[0].affinity.bits[1] == 1 && vms[0].affinity.bits[2] == 0);
    assert_true(vms[0].affinity.bits[3] == BIT(63));
    parse("[vm a]\nkernel=k\n");
    for (unsigned i = 0; i < 4; i++)
        assert_true(vms[0].affinity.bits[i] == 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(line, sizeof(line), "[vm a]\nkernel=k\naffinity = %s\n", bad[i]);
        parse(line);
        assert_int_equal(told_count, 1);
        assert_non_null(strstr(told[0].sentence, "is not a list of processors"));
        assert_true(vms[0].broken);
    }
}

static void test_scheduling_keys(void **state)
{
    parse("[vm a]\nkernel=k\nweight=10000\ncap=25\nautostart=no\non_crash=restart\n"
          "on_reboot=stop\non_poweroff=pause\n[vm b]\nkernel=k\n");
    assert_int_equal(vms[0].weight, 10000);
    assert_int_equal(vms[0].cap, 25);
    assert_int_equal(vms[0].autostart, 0);
    assert_int_equal(vms[0].on_crash, CONFIG_END_RESTART);
    assert_int_equal(vms[0].on_reboot, CONFIG_END_STOP);
    assert_int_equal(vms[0].on_poweroff, CONFIG_END_PAUSE);
    assert_int_equal(vms[1].weight, 100);
    assert_int_equal(vms[1].cap, 0);
    assert_int_equal(vms[1].autostart, 1);
    assert_int_equal(vms[1].on_crash, CONFIG_END_STOP);
    assert_int_equal(vms[1].on_reboot, CONFIG_END_RESTART);
    assert_int_equal(vms[1].on_poweroff, CONFIG_END_STOP);
    expect_broken("weight = 0", "weight = 0 in [vm a] is too small; it must be from 1 to 10000");
    expect_broken("on_crash = explode",
                  "on_crash = 'explode' is not known; it must be restart, stop or pause");
}

/* What devices are made from. */
static void test_what_a_vm_says(void **state)
{
    struct config_line line;

    parse("[vm a]\nkernel=k\ndisk=ram:x\nrng=yes\ndisk = ram:y,ro\n[vm b]\nkernel=k\nrng=no\n");
    assert_int_equal(told_count, 0);
    assert_true(config_vm_says(&vms[0], "disk", 1, &line));
    assert_int_equal(line.line, 5);
    assert_int_equal(line.text.length, 8);
    assert_memory_equal(line.text.data, "ram:y,ro", 8);
    assert_false(config_vm_says(&vms[0], "disk", 2, &line));
    assert_true(config_vm_says(&vms[0], "rng", 0, &line));
    assert_int_equal(line.line, 4);
    assert_int_equal(line.text.length, 3);
    assert_memory_equal(line.text.data, "yes", 3);
    assert_false(config_vm_says(&vms[0], "rng", 1, &line));
    assert_false(config_vm_says(&vms[1], "disk", 0, &line));
    assert_false(config_vm_says(&vms[1], "rng", 0, &line));
    parse("[vm a]\nkernel=k\nconsole=8\n");
    assert_false(config_vm_says(&vms[0], "rng", 0, &line)); /* its default */
    assert_true(config_vm_says(&vms[0], "console", 0, &line));
    assert_int_equal(line.line, 3);
    assert_int_equal(line.text.length, 1);
    assert_int_equal(line.text.data[0], '8');
    assert_false(config_vm_says(&vms[0], "console", 1, &line));
    parse("[vm a]\nkernel=k\nconsole=0\n");
    assert_int_equal(told_count, 0);
    assert_false(config_vm_says(&vms[0], "console", 0, &line));
    expect_broken("console = 9", "console = 9 in [vm a] is too large; it must be from 0 to 8");
    expect_broken("rng = /dev/random", "rng = '/dev/random' is not known; it must be no or yes");
}

static void test_paravirtual_interfaces(void **state)
{
    parse("[vm a]\nkernel = k\n[vm b]\nkernel = k\npv = clock, ipi\n[vm c]\nkernel = k\npv = all\n"
          "[vm d]\nkernel = k\npv = none\n");
    assert_int_equal(told_count, 0);
    assert_int_equal(vms[0].pv, 0);
    assert_int_equal(vms[1].pv, BIT(CONFIG_PV_CLOCK) | BIT(CONFIG_PV_IPI));
    assert_int_equal(vms[2].pv, BIT(CONFIG_PV_ALL));
    assert_int_equal(vms[3].pv, BIT(CONFIG_PV_NONE));
    expect_one("[vm a]\nkernel = k\npv = clock, kvm\n", 3,
               "'kvm' is not known for pv; known are clock, steal, tlb-flush, ipi, unhalt, yield, "
               "eoi, poll, io-delay, all or none");
    assert_int_equal(vms[0].pv, 0);
}

/* A controller that is not there is refused where it stands. */
static void test_disk_buses(void **state)
{
    parse("[vm a]\nkernel = k\ndisk = part:x\ndisk = ram:y,bus=virtio\n");
    assert_int_equal(told_count, 0);
    expect_one("[vm a]\nkernel = k\ndisk = part:x\n\ndisk = ram:y,bus=nvme,ro\n", 5,
               "disk in [vm a]: bus=nvme: this Corbel has no such controller for VMs");
    assert_true(vms[0].broken);
    expect_one(
        "[vm a]\nkernel = k\ndisk = ram:y,bus=sata\n", 3,
        "disk in [vm a]: bus=sata of a disk is not known; it must be virtio, ide, ahci or nvme");
}

static void test_watches(void **state)
{
    char text[2000], long_one[400];
    int n;

    assert_int_equal(
        parse("[vm a]\nkernel = k\nwatch = cr3 count # so\nwatch = write phys:1000+2M  "
              "pause\n"),
        1);
    assert_int_equal(vms[0].watches.count, 2);
    expect_span(vms[0].watches.item[0].text, "cr3 count");
    assert_int_equal(vms[0].watches.item[0].line, 3);
    expect_span(vms[0].watches.item[1].text, "write phys:1000+2M  pause");
    assert_int_equal(vms[0].watches.item[1].line, 4);
    n = sprintf(text, "[vm a]\nkernel = k\n");
    for (unsigned i = 0; i < CONFIG_MAX_WATCHES; i++)
        n += sprintf(text + n, "watch = msr %x log\n", i);
    assert_int_equal(parse(text), 1);
    assert_int_equal(vms[0].watches.count, CONFIG_MAX_WATCHES);
    sprintf(text + n, "watch = cr0 log\n");
    expect_one(text, 3 + CONFIG_MAX_WATCHES,
               "[vm a] has one watch too many: at most 8 are possible");
    expect_one("[vm a]\nkernel = k\nwatch =\n", 3,
               "'watch' in [vm a] has no value; give it one or remove the line");
    expect_one("[vm a]\nkernel = k\nwatch = wr\xc3\xa9 log\n", 3,
               "watch in [vm a]: 'wr\?\?' is no event: read, write, execute, cr0, cr3, cr4, msr, "
               "gdtr, idtr, ldtr, tr, syscall are");
    memset(long_one, 'x', sizeof(long_one));
    sprintf(text, "[vm a]\nkernel = k\nwatch = %.*s\n", CONFIG_MAX_WATCH + 1, long_one);
    expect_one(text, 3, "watch in [vm a] is 201 bytes long; at most 200 are possible");
}

static void test_a_change_is_as_in_the_file(void **state)
{
    char error[CONFIG_MESSAGE] = "";

    parse("[vm a]\nkernel = k\nweight = 7\n");
    assert_true(config_change(&vms[0], CONFIG_VM_WEIGHT, (struct config_span){"200", 3}, error));
    assert_int_equal(vms[0].weight, 200);
    assert_false(config_change(&vms[0], CONFIG_VM_WEIGHT, (struct config_span){"0", 1}, error));
    assert_int_equal(vms[0].weight, 200);
    assert_false(vms[0].broken);
    assert_string_equal(error, "weight = 0 in [vm a] is too small; it must be from 1 to 10000");
    expect_broken("weight = 0", error);
    assert_true(
        config_change(&vms[0], CONFIG_VM_AFFINITY, (struct config_span){"0,2-3", 5}, error));
    assert_int_equal(vms[0].affinity.bits[0], 0xd);
    assert_false(config_change(&vms[0], CONFIG_VM_AFFINITY, (struct config_span){"1-", 2}, error));
    expect_broken("affinity = 1-", error);
}

/* The config's `watch` and the monitor's have one parser, and so one answer. */
static void test_a_watch_that_says_nothing(void **state)
{
    static const char *const texts[] = {
        "wirte phys:1000 log", "write phys:1000", "write log",    "write phys:1000+2G log",
        "msr 830 log",         "cr3 look",        "cr3 mine",     "cr0 mine a=1",
        "cr3 mine a=1 b=2",    "cr3 mine a=x",    "cr3 log more", "cr3 mine a=1",
    };

    expect_broken("watch = wirte phys:1000 log",
                  "watch in [vm a]: 'wirte' is no event: read, write, execute, cr0, cr3, cr4, msr, "
                  "gdtr, idtr, ldtr, tr, syscall are");
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        char text[100], sentence[CONFIG_MESSAGE], error[WATCH_ERROR];
        struct watch_spec spec;
        int result = watch_parse(texts[i], strlen(texts[i]), &handlers, &spec, error);

        snprintf(text, sizeof(text), "watch = %s", texts[i]);
        snprintf(sentence, sizeof(sentence), "watch in [vm a]: %s", result < 0 ? error : "");
        assert_int_equal(result < 0, i + 1 < ARRAY_SIZE(texts));
        if (result < 0)
            expect_broken(text, sentence);
    }
    parse("[vm a]\nkernel = k\nwatch = cr3 mine a=1\n");
    assert_int_equal(told_count, 0);
    assert_int_equal(vms[0].watches.count, 1);
}

static void test_modules(void **state)
{
    char text[2000], value[1100];
    struct config_file files[5];
    int n;

    assert_int_equal(
        parse("[vm a]\nkernel = k\nmodule = m1\nmodule = m2 \t a=b  c # no\ninitrd = m1\n"
              "module = dir/m3\targ\n"),
        1);
    assert_int_equal(vms[0].modules.count, 3);
    expect_span(vms[0].modules.item[0].file, "m1");
    expect_span(vms[0].modules.item[0].args, "");
    assert_int_equal(vms[0].modules.item[0].line, 3);
    expect_span(vms[0].modules.item[1].file, "m2");
    expect_span(vms[0].modules.item[1].args, "a=b  c");
    assert_int_equal(vms[0].modules.item[1].line, 4);
    expect_span(vms[0].modules.item[2].file, "dir/m3");
    expect_span(vms[0].modules.item[2].args, "arg");
    assert_int_equal(config_vm_line(&vms[0], CONFIG_VM_MODULE), 3);
    assert_int_equal(config_files(vms, 1, NULL, 0), 5);
    assert_int_equal(config_files(vms, 1, files, ARRAY_SIZE(files)), 4);
    expect_span(files[0].path, "k");
    expect_span(files[1].path, "m1");
    assert_int_equal(files[1].line, 5); /* the initrd comes first */
    expect_span(files[2].path, "m2");
    assert_int_equal(files[2].line, 4);
    assert_false(files[2].kernel);
    expect_span(files[3].path, "dir/m3");
    /* limits */
    n = sprintf(text, "[vm a]\nkernel = k\n");
    for (unsigned i = 0; i < CONFIG_MAX_MODULES; i++) {
        n += sprintf(text + n, "module = m%u\n", i);
    }
    assert_int_equal(parse(text), 1);
    assert_int_equal(vms[0].modules.count, CONFIG_MAX_MODULES);
    sprintf(text + n, "module = x\n");
    expect_one(text, 3 + CONFIG_MAX_MODULES,
               "[vm a] has one module too many: at most 16 are possible");
    memset(value, 'x', sizeof(value));
    sprintf(value + 512, " y");
    snprintf(text, sizeof(text), "module = %s", value);
    expect_broken(text,
                  "the file of a module in [vm a] is 512 bytes long; at most 511 are possible");
    snprintf(text, sizeof(text), "[vm a]\nkernel=k\nmodule = %s", value + 1);
    assert_int_equal(parse(text), 1);
    memset(value, 'x', sizeof(value));
    value[3] = ' ';
    value[1024] = '\0';
    snprintf(text, sizeof(text), "module = %s", value);
    expect_broken(text, "module in [vm a] is 1024 bytes long; at most 1023 are possible");
    snprintf(text, sizeof(text), "[vm a]\nkernel=k\nmodule = %.1023s", value);
    assert_int_equal(parse(text), 1);
    expect_broken("module =", "'module' in [vm a] has no value; give it one or remove the line");
    expect_broken("module = m \x01", "the value of 'module' in [vm a] has a control character; it "
                                     "must be UTF-8 text");
}

/* Firmware stands in a kernel's place, and is a file like it. */
static void test_firmware(void **state)
{
    struct config_file files[4];
    struct config_line line;

    parse("[vm a]\nfirmware = uefi\ndisk = ram:d\n[vm b]\nkernel = k\n");
    assert_int_equal(told_count, 0);
    expect_span(vms[0].firmware, "uefi");
    assert_null(vms[0].kernel.data);
    assert_null(vms[1].firmware.data);
    assert_int_equal(config_files(vms, 2, files, ARRAY_SIZE(files)), 3);
    expect_span(files[0].path, "uefi");
    assert_int_equal(files[0].line, 2);
    assert_false(files[0].kernel);
    expect_span(files[1].path, "d");
    expect_span(files[2].path, "k");
    assert_true(config_vm_says(&vms[0], "firmware", 0, &line));
    expect_span(line.text, "uefi");
    assert_int_equal(line.line, 2);
    assert_false(config_vm_says(&vms[0], "firmware", 1, &line));
    assert_false(config_vm_says(&vms[1], "firmware", 0, &line));

    static const char *const others[] = {"kernel", "initrd", "module", "cmdline"};
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        char text[100], sentence[200];

        snprintf(text, sizeof(text), "[vm a]\n%s = x\nfirmware = f\n", others[i]);
        snprintf(sentence, sizeof(sentence),
                 "'%s' does not go with 'firmware' in [vm a], which starts what is on the VM's "
                 "disks; keep one of them",
                 others[i]);
        expect_one(text, 2, sentence);
    }
}

/* A display has its video BIOS's file; `none` is none. */
static void test_display(void **state)
{
    struct config_file files[4];
    struct config_line line;

    parse("[vm a]\nkernel = k\ndisplay = vga\n[vm b]\nkernel = k\ndisplay = none\n[vm c]\nkernel = "
          "k\n");
    assert_int_equal(told_count, 0);
    assert_true(config_has_display(&vms[0]));
    assert_false(config_has_display(&vms[1]));
    assert_false(config_has_display(&vms[2]));
    assert_int_equal(config_files(vms, 3, files, ARRAY_SIZE(files)), 2);
    expect_span(files[1].path, "vga");
    assert_int_equal(files[1].line, 3);
    assert_false(files[1].kernel);
    assert_true(config_vm_says(&vms[0], "display", 0, &line));
    expect_span(line.text, "vga");
    assert_false(config_vm_says(&vms[0], "display", 1, &line));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boot_order),
        cmocka_unit_test(test_paravirtual_interfaces),
        cmocka_unit_test(test_whole_disks),
        cmocka_unit_test(test_cmdline),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_processors),
        cmocka_unit_test(test_scheduling_keys),
        cmocka_unit_test(test_what_a_vm_says),
        cmocka_unit_test(test_modules),
        cmocka_unit_test(test_a_change_is_as_in_the_file),
        cmocka_unit_test(test_watches),
        cmocka_unit_test(test_disk_buses),
        cmocka_unit_test(test_a_watch_that_says_nothing),
        cmocka_unit_test(test_firmware),
        cmocka_unit_test(test_display),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
