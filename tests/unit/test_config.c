/* links: guest/config/config.c guest/config/config_check.c guest/config/password.c guest/config/config_keys.c guest/config/config_text.c guest/config/config_value.c guest/config/disk.c guest/config/net.c guest/watch/spec.c arch/x86/lib/format.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "guest/config/config.h"
#include "guest/config/config_text.h"
#include "guest/config/disk.h"
#include "guest/config/net.h"
#include "guest/watch/handler.h"
#include "vmx/controls.h"

static const struct watch_handler handler = {
    .name = "mine", .parameter = {"a"}, .kinds = BIT(WATCH_CR3)};
static const struct watch_handler *const table[] = {&handler};
static const struct watch_handlers handlers = {table, table + 1};

static int check_watch(const char *text, size_t length, char *error)
{
    struct watch_spec spec;

    return watch_parse(text, length, &handlers, &spec, error);
}

/* Where there is no NVMe. */
static int check_disk(const char *text, size_t length, char *error)
{
    int result = config_disk_is_at(CONFIG_DISK_NVME, text, length, error);

    return result > 0 ? config_disk_no_bus(text, length, error) : result;
}

struct told {
    uint32_t line;
    char sentence[CONFIG_MESSAGE];
};

static struct told told[CONFIG_MAX_REPORTS + 2];
static unsigned told_count;
static struct config config;
static struct vm_config vms[CONFIG_MAX_VMS];
static char *text_copy; /* exactly as long as the text, so that ASan sees any byte read past it */

static void tell(void *ctx, uint32_t line, const char *sentence)
{
    assert_ptr_equal(ctx, &told);
    assert_true(told_count < ARRAY_SIZE(told));
    assert_true(strlen(sentence) < CONFIG_MESSAGE);
    for (const char *p = sentence; *p; p++) {
        assert_true(*p >= ' ' && *p <= '~');
    }
    told[told_count].line = line;
    strcpy(told[told_count++].sentence, sentence);
}

static size_t parse_bytes(const char *text, size_t length)
{
    size_t count;

    free(text_copy);
    text_copy = malloc(length);
    memcpy(text_copy, text, length);
    told_count = 0;
    memset(&config, 0xa5, sizeof(config));
    memset(vms, 0xa5, sizeof(vms));
    count = config_count_vms(text_copy, length);
    assert_true(count <= CONFIG_MAX_VMS);
    return config_parse(text_copy, length, &config, vms, count, tell, &told);
}

static size_t parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static void expect_span(struct config_span s, const char *text)
{
    assert_int_equal(s.length, strlen(text));
    assert_memory_equal(s.data, text, s.length);
}

/* The config has exactly one problem, in that line. */
static void expect_one(const char *text, uint32_t line, const char *sentence)
{
    parse(text);
    if (told_count) {
        assert_string_equal(told[0].sentence, sentence);
    }
    assert_int_equal(told_count, 1);
    assert_int_equal(told[0].line, line);
    assert_int_equal(config.problems, 1);
}

/* A line of a VM's section breaks that VM, and only that one. */
static void expect_broken(const char *vm_line, const char *sentence)
{
    char text[CONFIG_MAX_CMDLINE + 200];

    snprintf(text, sizeof(text), "[vm a]\nkernel = k\n%s\n[vm b]\nkernel = k\n", vm_line);
    expect_one(text, 3, sentence);
    assert_int_equal(config.vm_count, 2);
    assert_true(vms[0].broken);
    assert_false(vms[1].broken);
}

static void test_the_contract(void **state)
{
    assert_int_equal(
        parse("# comment: at the start of a line or after white space, except in cmdline\n"
              "[host]\n"
              "log = info\n"
              "when_idle = poweroff\n"
              "[vm debian]\n"
              "kernel  = vmlinuz\n"
              "initrd  = initrd.gz\n"
              "cmdline = console=ttyS0\n"
              "memory  = 256M\n"
              "cpus    = 1\n"),
        1);
    assert_int_equal(told_count, 0);
    assert_int_equal(config.log, LOG_INFO);
    assert_int_equal(config.when_idle, CONFIG_IDLE_POWEROFF);
    assert_int_equal(config.vm_count, 1);
    expect_span(vms[0].name, "debian");
    expect_span(vms[0].kernel, "vmlinuz");
    expect_span(vms[0].initrd, "initrd.gz");
    expect_span(vms[0].cmdline, "console=ttyS0");
    assert_int_equal(vms[0].memory, 256 * MIB);
    assert_int_equal(vms[0].cpus, 1);
    assert_false(vms[0].broken);
    assert_int_equal(vms[0].section_line, 5);
    assert_int_equal(config_vm_line(&vms[0], CONFIG_VM_MEMORY), 9);
    assert_int_equal(config_vm_line(&vms[0], CONFIG_VM_HOLE), 5);
}

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

static void test_disks(void **state)
{
    char many[1000] = "";

    assert_int_equal(
        parse("[disk root]\nsize = 256M # of it\nfrom = a/root.qcow2\n[vm a]\nkernel = "
              "k\n[disk more]\nfrom = m\n"),
        1);
    assert_int_equal(told_count, 0);
    assert_int_equal(config.disk_count, 2);
    expect_span(config.disks[0].name, "root");
    assert_int_equal(config.disks[0].size, 256 * MIB);
    expect_span(config.disks[0].from, "a/root.qcow2");
    assert_int_equal(config.disks[1].size, 0);
    expect_one("[disk a]\nsize = 1M\n[disk a]\nsize = 2M\n", 3,
               "[disk a] is given twice, first in line 1; give each disk its own name");
    expect_one("[disk a b]\nsize = 1M\n", 1,
               "'a b' is not a disk's name; it must be 1 to 31 of A-Z, a-z, 0-9, '_' and '-'");
    expect_one("[disk a]\n[host]\n", 1,
               "[disk a] has neither size nor from; add a line 'size = 1G'");
    expect_one("[disk a]\nsize = 1M\nmemory = 1M\n", 3,
               "'memory' does not belong in [disk a] but in a [vm NAME] section");
    expect_one("[host]\nsize = 1M\n", 2,
               "'size' does not belong in [host] but in a [disk NAME] section");
    expect_one("[disk a]\nsize = 1K\n", 2,
               "size = 1K in [disk a] is too small; it must be from 1M to 16384G");
    for (unsigned i = 0; i <= CONFIG_MAX_DISKS; i++)
        snprintf(many + strlen(many), 40, "[disk d%u]\nsize = 1M\n", i);
    expect_one(many, 2 * CONFIG_MAX_DISKS + 1,
               "[disk d16] is one too many: at most 16 are possible");
}

static void test_defaults(void **state)
{
    assert_int_equal(parse("[vm x]\nkernel=k"), 1);
    assert_int_equal(told_count, 0);
    assert_int_equal(config.log, LOG_INFO);
    assert_int_equal(config.when_idle, CONFIG_IDLE_POWEROFF);
    assert_int_equal(config.on_panic, CONFIG_PANIC_HALT);
    assert_int_equal(config.without, 0);
    assert_int_equal(vms[0].memory, 256 * MIB);
    assert_int_equal(vms[0].hole, 2816 * MIB);
    assert_int_equal(vms[0].cpus, 1);
    assert_null(vms[0].initrd.data);
    assert_null(vms[0].cmdline.data);

    memset(&config, 0xa5, sizeof(config));
    config_defaults(&config);
    assert_int_equal(config.log, LOG_INFO);
    assert_int_equal(config.vm_count, 0);
}

static void test_nothing_at_all(void **state)
{
    assert_int_equal(parse_bytes("", 0), 0);
    assert_int_equal(parse("\n\n  \n\t\r\n# only\n   # comments"), 0);
    assert_int_equal(parse("\xef\xbb\xbf"), 0);
    assert_int_equal(told_count, 0);
    assert_int_equal(config.vm_count, 0);
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

#define SAME_BIT(symbol, name, what)                                                               \
    _Static_assert(BIT(CONFIG_WITHOUT_##symbol) == VMX_WITHOUT_##symbol, name);
CONFIG_WITHOUT_LIST(SAME_BIT)

static void test_comments(void **state)
{
    parse("[host] # one\n\tlog = warn\t# two\n[vm a]#b\n[vm c]\nkernel = a#b #c\n"
          "cmdline = quiet # not a comment\n#cmdline = x\n  # kernel = y\ninitrd=#i\n");
    assert_int_equal(config.log, LOG_WARN);
    assert_int_equal(told_count, 1); /* '#' not after a blank is no comment */
    assert_string_equal(told[0].sentence,
                        "'[vm a]#b' is not a section's header; it must be [host], [vm NAME], "
                        "[disk NAME] or [switch NAME], alone in its line");
    assert_int_equal(config.vm_count, 1);
    expect_span(vms[0].kernel, "a#b");
    expect_span(vms[0].cmdline, "quiet # not a comment");
    expect_span(vms[0].initrd, "#i");
}

static void test_lines_end_in_any_way(void **state)
{
    assert_int_equal(
        parse("\xef\xbb\xbf[vm a]\r\nkernel = k \r\ncmdline = \t a  b\t \r\nmemory=1G\r"), 1);
    assert_int_equal(told_count, 0);
    expect_span(vms[0].kernel, "k");
    expect_span(vms[0].cmdline, "a  b");
    assert_int_equal(vms[0].memory, GIB);
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

#define VM_KEYS                                                                                    \
    "kernel, firmware, display, boot, initrd, module, cmdline, memory, cpus, hole, weight, cap, "  \
    "affinity, pv, "                                                                               \
    "autostart, "                                                                                  \
    "paused, disk, allow_whole_disk, net, rng, balloon, console, terminal, cdrom, watch, "         \
    "on_crash, "                                                                                   \
    "on_reboot or on_poweroff"

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

static void test_keys(void **state)
{
    expect_broken("memroy = 1G", "unknown key 'memroy' in [vm a]; did you mean 'memory'?");
    expect_broken("Kernel = x", "unknown key 'Kernel' in [vm a]; did you mean 'kernel'?");
    expect_broken("frobnicate = 1", "unknown key 'frobnicate' in [vm a]; it must be " VM_KEYS);
    expect_broken("= 1", "unknown key '' in [vm a]; it must be " VM_KEYS);
    expect_broken("xy = 1", "unknown key 'xy' in [vm a]; it must be " VM_KEYS);
    expect_broken("px = 1", "unknown key 'px' in [vm a]; did you mean 'pv'?");
    expect_broken("log = info", "'log' does not belong in [vm a] but in [host]");
    expect_broken("kernel = other",
                  "'kernel' is given twice in [vm a], first in line 2; keep one of them");
    expect_broken("initrd =", "'initrd' in [vm a] has no value; give it one or remove the line");
    expect_broken("initrd = # none",
                  "'initrd' in [vm a] has no value; give it one or remove the line");
    expect_broken("hello world", "'hello world' is neither a section's header nor 'key = value'");
    expect_one("[host]\nkernel=k\n", 2,
               "'kernel' does not belong in [host] but in a [vm NAME] section");
    expect_one("[host]\nlog=info\nlog=warn\n", 3,
               "'log' is given twice in [host], first in line 2; keep one of them");
    expect_one("[host]\nlogg=info\n", 2, "unknown key 'logg' in [host]; did you mean 'log'?");
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
               "ept-2m, ept-ad, invpcid, rdtscp, xsaves, mtf, pml or ins-outs");
    assert_int_equal(config.without, 0);
    parse("[host]\nwithout = ,vid,\n");
    assert_int_equal(told_count, 2);
}

/* --- a problem leaves a key at its default, whichever key and problem --- */

/* A value that is possible, and not the default. */
static const char *good_value(const struct config_key *key, char *out, size_t size)
{
    switch (key->type) {
    case CONFIG_CHOICE:
        return key->choices[strcmp(key->choices[0], key->initial) == 0];
    case CONFIG_FLAGS:
        snprintf(out, size, "%s, %s", key->choices[1], key->choices[0]);
        return out;
    case CONFIG_MODULES:
        return "file with arguments";
    case CONFIG_LINES:
        return "cr3 log";
    case CONFIG_NAME:
        return "a";
    case CONFIG_SIZE:
        snprintf(out, size, "%lluK",
                 (unsigned long long)(key->min + key->multiple) / (unsigned long long)KIB);
        return out;
    case CONFIG_NUMBER:
        snprintf(out, size, "%llu", (unsigned long long)key->min + 2);
        return out;
    case CONFIG_PROCESSOR_SET:
        return "1-2";
    default:
        return "text";
    }
}

#define BAD_VALUES 5

/* Values with a problem each; NULL: the type has no such one. */
static const char *bad_value(const struct config_key *key, unsigned n, char *out, size_t size)
{
    bool list = key->type == CONFIG_FLAGS;

    switch (n) {
    case 0: /* too long, or nothing that is known */
        memset(out, 'x', size);
        out[size - 1] = '\0';
        return out;
    case 1:
        return key->type == CONFIG_TEXT ? NULL : "";
    case 2:
        return "\xff";
    case 3: /* half of it is right */
        snprintf(out, size, "%s, nonsense, %s", list ? key->choices[0] : "1",
                 list ? key->choices[1] : "2");
        return list || key->type == CONFIG_PROCESSOR_SET ? out : NULL;
    default:
        return key->type == CONFIG_NUMBER || key->type == CONFIG_PROCESSOR_SET ? "99999999" : NULL;
    }
}

/* Each line is "key = value"; what the field holds then is the default. */
static void expect_default(const struct config_key *key, bool host, const char *a, const char *b)
{
    static char text[4 * CONFIG_MAX_CMDLINE];
    struct config none;
    struct vm_config vm;
    int n;

    parse("[vm a]\n");
    none = config;
    vm = vms[0];
    n = snprintf(text, sizeof(text), "[vm a]\n%s\n%s = %s\n", host ? "[host]" : "", key->name, a);
    if (b)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "%s = %s\n", key->name, b);
    assert_true(n > 0 && (size_t)n < sizeof(text));
    parse(text);
    if (told_count < (host ? 2 : 1)) /* one is that VM a has no kernel */
        fail_msg("%s: no problem with '%.20s' and '%.20s'", key->name, a, b ? b : "");
    if (memcmp((char *)(host ? (void *)&config : (void *)&vms[0]) + key->offset,
               (char *)(host ? (void *)&none : (void *)&vm) + key->offset,
               config_value_size(key->type)) != 0)
        fail_msg("%s is not at its default after '%.20s' and '%.20s'", key->name, a, b ? b : "");
    assert_true(host || vms[0].broken);
}

static void walk_keys(const struct config_key *keys, size_t count, bool host)
{
    static char good_text[64], bad_text[CONFIG_MAX_CMDLINE + 2];

    for (const struct config_key *key = keys; key < keys + count; key++) {
        const char *good = good_value(key, good_text, sizeof(good_text));
        bool repeats = key->type == CONFIG_MODULES || key->type == CONFIG_LINES;

        for (unsigned n = 0; n < BAD_VALUES; n++) {
            const char *bad = bad_value(key, n, bad_text, sizeof(bad_text));

            if (!bad)
                continue;
            expect_default(key, host, bad, NULL);
            expect_default(key, host, good, bad);
            expect_default(key, host, bad, good);
        }
        if (!repeats)
            expect_default(key, host, good, good);
    }
}

static void test_any_problem_leaves_the_default(void **state)
{
    walk_keys(config_host_keys, CONFIG_HOST_KEYS, true);
    walk_keys(config_vm_keys, CONFIG_VM_KEYS, false);
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

/* The config's `watch` and the monitor's have one parser, and so one answer. */
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

static void test_sections(void **state)
{
    expect_one("[vm a]\nkernel=k\n[vm a]\nkernel=l\n[vm b]\nkernel=k\n", 3,
               "[vm a] is given twice, first in line 1; give each VM its own name");
    assert_int_equal(config.vm_count, 2);
    assert_true(vms[0].broken);
    assert_false(vms[1].broken);
    expect_one("[host]\nlog=warn\n[host]\nlog=debug\n", 3,
               "[host] is given twice, first in line 1; put all its keys into one section");
    assert_int_equal(config.log, LOG_WARN);
    expect_one("[guest a]\nkernel=k\n", 1,
               "unknown section '[guest a]'; it must be [host], [vm NAME], [disk NAME] "
               "or [switch NAME]");
    expect_one("[host x]\nlog=warn\n", 1,
               "unknown section '[host x]'; it must be [host], [vm NAME], [disk NAME] "
               "or [switch NAME]");
    expect_one("[vm a\nkernel=k\n", 1,
               "'[vm a' is not a section's header; it must be [host], [vm NAME], [disk NAME] "
               "or [switch NAME], "
               "alone in its line");
    expect_one("[vm a] b\nkernel=k\n", 1,
               "'[vm a] b' is not a section's header; it must be [host], [vm NAME], [disk NAME] "
               "or [switch NAME], "
               "alone in its line");
    expect_one("kernel = k\ninitrd = i\n[vm a]\nkernel=k\n", 1,
               "'kernel = k' stands before any section; [host] or [vm NAME] must come first");
    assert_int_equal(config.vm_count, 1);
    expect_one("[vm a]\nmemory = 1G\n", 1,
               "[vm a] has no kernel; add a line 'kernel = FILE', or 'firmware = uefi'");
    assert_true(vms[0].broken);
    assert_int_equal(parse("[ vm\ta ] # with blanks\nkernel=k"), 1);
    expect_span(vms[0].name, "a");
}

#define BAD_NAME " is not a VM's name; it must be 1 to 31 of A-Z, a-z, 0-9, '_' and '-'"

static void test_names(void **state)
{
    assert_int_equal(parse("[vm Az09_-xxxxxxxxxxxxxxxxxxxxxxxxx]\nkernel=k"), 1);
    assert_int_equal(vms[0].name.length, 31);
    expect_one("[vm]\nkernel=k\n", 1, "''" BAD_NAME);
    expect_one("[vm a b]\nkernel=k\n", 1, "'a b'" BAD_NAME);
    expect_one("[vm a.b]\nkernel=k\n", 1, "'a.b'" BAD_NAME);
    expect_one("[vm \xc3\xa4]\nkernel=k\n", 1,
               "'?"
               "?'" BAD_NAME);
    expect_one("[vm Az09_-xxxxxxxxxxxxxxxxxxxxxxxxxy]\n", 1,
               "'Az09_-xxxxxxxxxxxxxxxxxxxxxxxxxy'" BAD_NAME);
}

static void test_bytes_that_are_no_text(void **state)
{
    static const char nul[] = "[vm a]\nkernel=k\0k\n[vm b]\nkernel=k\n";

#define NOT_TEXT(what) "the value of 'initrd' in [vm a] has " what "; it must be UTF-8 text"
    expect_broken("initrd = \xff", NOT_TEXT("bytes that are not UTF-8"));
    expect_broken("initrd = a\xc3", NOT_TEXT("bytes that are not UTF-8"));
    expect_broken("initrd = \xc0\xaf", NOT_TEXT("bytes that are not UTF-8")); /* overlong '/' */
    expect_broken("initrd = \xe0\x80\xaf", NOT_TEXT("bytes that are not UTF-8"));
    expect_broken("initrd = \xf0\x80\x80\xaf", NOT_TEXT("bytes that are not UTF-8"));
    expect_broken("initrd = \xed\xa0\x80", NOT_TEXT("bytes that are not UTF-8")); /* a surrogate */
    expect_broken("initrd = \xf4\x90\x80\x80",
                  NOT_TEXT("bytes that are not UTF-8")); /* above 10FFFFh */
    expect_broken("initrd = a\x7f", NOT_TEXT("a control character"));
    expect_broken("initrd = a\rb", NOT_TEXT("a control character"));
    assert_int_equal(parse("[vm a]\nkernel = \xc3\xa4/\xe2\x82\xac/\xf0\x9f\x98\x80 # \xff\n"), 1);
    assert_int_equal(told_count, 0);
    assert_int_equal(parse("[vm a]\nkernel = \xe2\x82"), 0); /* the file ends within a letter */
    assert_int_equal(told_count, 1);
    parse_bytes(nul, sizeof(nul) - 1);
    assert_int_equal(told_count, 1);
    assert_string_equal(told[0].sentence,
                        "the value of 'kernel' in [vm a] has a NUL byte; it must be UTF-8 text");
    assert_true(vms[0].broken);
    assert_false(vms[1].broken);
    parse_bytes("\xff\xfe[\0v\0m\0", 8);
    assert_int_equal(told_count, 1);
    assert_string_equal(told[0].sentence, "the file is UTF-16; save it as UTF-8");
}

static void test_a_line_of_a_mebibyte(void **state)
{
    static const char *const starts[] = {
        "", "[", "[vm ", "#", "x=", "cmdline=", "kernel=", "memory=", "\xff="};
    char *text = malloc(MIB + 100);

    for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
        int n = sprintf(text, "[vm a]\n%s", starts[i]);

        memset(text + n, i % 2 ? 'x' : '9', MIB);
        n += (int)MIB;
        n += sprintf(text + n, "\n[vm b]\nkernel=k\n");
        assert_int_equal(parse_bytes(text, (size_t)n), 1);
        assert_uint_in_range(told_count, 1, 2);
        assert_uint_in_range(told[0].line, 1, 2);
        assert_false(vms[config.vm_count - 1].broken);
    }
    free(text);
}

static void test_ten_thousand_vms(void **state)
{
    char *text = malloc(10000 * 32);
    int n = 0;

    for (int i = 0; i < 10000; i++) {
        n += sprintf(text + n, "[vm v%d]\nkernel=k\n", i);
    }
    assert_int_equal(config_count_vms(text, (size_t)n), CONFIG_MAX_VMS);
    assert_int_equal(parse_bytes(text, (size_t)n), CONFIG_MAX_VMS);
    assert_int_equal(told_count, 1);
    assert_int_equal(told[0].line, 2 * CONFIG_MAX_VMS + 1);
    assert_string_equal(told[0].sentence, "[vm v1024] is one too many: at most 1024 VMs are "
                                          "possible; it and all later ones are left out");
    expect_span(vms[CONFIG_MAX_VMS - 1].name, "v1023");
    free(text);
}

static void test_reports_are_bounded(void **state)
{
    char *text = malloc(100000), sentence[CONFIG_MESSAGE];
    int n = sprintf(text, "[vm a]\nkernel=k\n");

    for (int i = 0; i < 1000; i++) {
        n += sprintf(text + n, "x%d\n", i);
    }
    n += sprintf(text + n, "[vm b]\nkernel=k\n[vm c]\ncpus=0");
    assert_int_equal(parse_bytes(text, (size_t)n), 1);
    assert_int_equal(told_count, CONFIG_MAX_REPORTS + 1);
    sprintf(sentence, "there are more problems from here on; only the first %u are told",
            CONFIG_MAX_REPORTS);
    assert_string_equal(told[CONFIG_MAX_REPORTS].sentence, sentence);
    assert_int_equal(config.problems, 1001);
    assert_true(vms[0].broken);
    assert_false(vms[1].broken);
    assert_true(vms[2].broken);
    free(text);
}

static void test_without_a_listener(void **state)
{
    static const char text[] = "[vm a]\nfoo\n[vm b]\nkernel=k\n";

    assert_int_equal(config_parse(text, sizeof(text) - 1, &config, vms, 2, NULL, NULL), 1);
    assert_int_equal(config.problems, 1);
}

static void test_files(void **state)
{
    struct config_file files[4];

    parse("[vm a]\ninitrd=i\nkernel=k\n[vm broken]\nkernel=z\nfoo=1\n[vm b]\nkernel=k\n"
          "[vm c]\nkernel=k2\ninitrd=i\n[vm d]\nkernel=i\ninitrd=k3\n");
    assert_int_equal(config_files(vms, config.vm_count, files, ARRAY_SIZE(files)), 4);
    expect_span(files[0].path, "k");
    assert_int_equal(files[0].line, 3);
    assert_int_equal(files[0].vm, 0);
    assert_true(files[0].kernel);
    expect_span(files[1].path, "i");
    assert_false(files[1].kernel);
    expect_span(files[2].path, "k2");
    expect_span(files[3].path, "k3");
    assert_int_equal(files[3].line, 14);
    assert_int_equal(files[3].vm, 4);
    assert_true(config_files(vms, config.vm_count, files, 1) >= 1);
    assert_int_equal(config_files(vms, config.vm_count, NULL, 0), 7);
    assert_int_equal(config_files(NULL, 0, files, 4), 0);
    assert_int_equal(parse("[vm a]\nkernel=k\ncdrom = none\ncdrom = a.iso\ncdrom = k\n"), 1);
    assert_int_equal(config_files(vms, 1, files, ARRAY_SIZE(files)), 2);
    expect_span(files[1].path, "a.iso");
    assert_int_equal(files[1].line, 4);
    expect_one("[vm a]\nkernel=k\ncdrom=a\ncdrom=b\ncdrom=c\ncdrom=d\ncdrom=e\n", 7,
               "[vm a] has one cdrom too many: at most 4 are possible");
}

static char *read_the_documentation(void)
{
    char *doc = calloc(1, 65536);
    FILE *f = fopen("docs/CONFIG.md", "r");

    assert_non_null(f);
    assert_true(fread(doc, 1, 65535, f) > 0);
    fclose(f);
    return doc;
}

static void test_switches_and_cards(void **state)
{
    static const struct {
        const char *net, *sentence;
    } wrong[] = {
        {"wan", "[vm a]: net = wan: there is no [switch wan] in this file"},
        {",vlan=4", "[vm a]: net names no switch; write the name of a [switch NAME]"},
        {"lan,vlan=4", "[vm a]: net = lan: vlan=4 needs `vlans = yes` in the switch's section"},
        {"parts", "[vm a]: net = parts: that switch has VLANs; say which by vlan=N"},
        {"parts,vlan=4095", "[vm a]: vlan=4095 must be from 1 to 4094"},
        {"lan,rate=10", "[vm a]: rate=10 must be from 64Kbit to 100Gbit, such as 10Mbit"},
        {"lan,rate=63Kbit", "[vm a]: rate=63Kbit must be from 64Kbit to 100Gbit, such as 10Mbit"},
        {"lan,rate=101Gbit", "[vm a]: rate=101Gbit must be from 64Kbit to 100Gbit, such as 10Mbit"},
        {"lan,mac=52:54:00:12:34", "[vm a]: mac=52:54:00:12:34 must be the address of one network "
                                   "card, such as 52:54:00:12:34:56"},
        {"lan,mac=53:54:00:12:34:56", "[vm a]: mac=53:54:00:12:34:56 must be the address of one "
                                      "network card, such as 52:54:00:12:34:56"},
        {"lan,mac=5x:54:00:12:34:56", "[vm a]: mac=5x:54:00:12:34:56 must be the address of one "
                                      "network card, such as 52:54:00:12:34:56"},
        {"lan,model=ne2000", "[vm a]: model=ne2000 of a network card is not known; it must be "
                             "virtio or e1000"},
        {"lan,fast", "[vm a]: 'fast' of a network card is not known; known are mac=MAC, vlan=N, "
                     "rate=RATE, isolated, any-mac and model=MODEL"},
    };
    static const char *const uplinks[] = {"eth0",   "00:20.0", "00:03.8",  "00-03.0",
                                          "0:03.0", "0x:03.0", "00:03.00", "53:54:00:12:34:56"};
    char text[300], line[100], error[CONFIG_MESSAGE];
    struct config_uplink uplink;
    struct config_net net;
    uint8_t mac[3][CONFIG_MAC];

    assert_int_equal(parse("[vm a]\nkernel=k\nnet = lan\nnet=parts , vlan=7,rate=10Mbit, "
                           "isolated,any-mac,model=virtio,mac=52:54:00:aB:cd:ef\n"
                           "[switch lan]\nmtu=9000\n[switch parts]\nvlans=yes\n"),
                     1);
    assert_int_equal(told_count, 0);
    assert_int_equal(config.switch_count, 2);
    assert_int_equal(config.switches[0].mtu, 9000);
    assert_int_equal(config.switches[0].vlans, 0);
    assert_int_equal(config.switches[1].mtu, 1500);
    assert_int_equal(config.switches[1].vlans, 1);
    assert_int_equal(vms[0].nets.count, 2);
    assert_int_equal(config_net_parse(vms[0].nets.item[1].text.data,
                                      vms[0].nets.item[1].text.length, &net, error),
                     0);
    assert_true(config_switch(&config, net.on) == &config.switches[1]);
    assert_int_equal(net.vlan, 7);
    assert_int_equal(net.rate, 10000000);
    assert_true(net.isolated && net.any_mac && net.has_mac && !net.e1000);
    assert_memory_equal(net.mac, "\x52\x54\x00\xab\xcd\xef", 6);
    assert_int_equal(config_net_parse("lan,model=e1000", 15, &net, error), 0);
    assert_true(net.e1000 && !net.isolated);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snprintf(text, sizeof(text),
                 "[vm a]\nkernel=k\nnet=%s\n[switch lan]\n[switch parts]\nvlans=yes\n",
                 wrong[i].net);
        expect_one(text, 3, wrong[i].sentence);
        assert_true(vms[0].broken);
    }
    for (size_t i = 0; i < ARRAY_SIZE(uplinks); i++) {
        snprintf(text, sizeof(text),
                 "uplink = %s in [switch lan] must be `first`, a network "
                 "card's place such as 00:03.0, or its MAC address",
                 uplinks[i]);
        snprintf(line, sizeof(line), "[switch lan]\nuplink = %s\n", uplinks[i]);
        expect_one(line, 2, text);
        assert_null(config.switches[0].uplink.data);
    }
    assert_true(config_uplink_parse(config_span_of("first", 5), &uplink));
    assert_false(uplink.by_place || uplink.by_mac);
    assert_true(config_uplink_parse(config_span_of("a1:1f.7", 7), &uplink));
    assert_true(uplink.by_place && uplink.place == 0xa1ff);
    assert_true(config_uplink_parse(config_span_of("52:54:00:ab:cd:ef", 17), &uplink));
    assert_true(uplink.by_mac && uplink.mac[5] == 0xef);
    expect_one("[switch lan]\n[switch lan]\n", 2,
               "[switch lan] is given twice, first in line 1; give each switch its own name");
    expect_one("[switch l n]\n", 1,
               "'l n' is not a switch's name; it must be 1 to 31 of A-Z, a-z, 0-9, '_' and '-'");
    expect_one("[switch lan]\nmtu = 500\n", 2,
               "mtu = 500 in [switch lan] is too small; it must be from 576 to 9216");
    expect_one("[host]\nmtu = 1500\n", 2,
               "'mtu' does not belong in [host] but in a [switch NAME] section");
    /* Of one card, locally administered, and the same each time. */
    config_net_mac(config_span_of("a", 1), 0, mac[0]);
    config_net_mac(config_span_of("a", 1), 1, mac[1]);
    config_net_mac(config_span_of("b", 1), 0, mac[2]);
    assert_int_equal(mac[0][0] & 3, 2);
    assert_memory_not_equal(mac[0], mac[1], CONFIG_MAC);
    assert_memory_not_equal(mac[0], mac[2], CONFIG_MAC);
    assert_memory_equal(mac[0], "\x02\x4e\x48\xe2\x19\x21", CONFIG_MAC);
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

/* docs/CONFIG.md has each key, value and default as the table has it. */
static void test_the_documentation_is_complete(void **state)
{
    char *doc = read_the_documentation(), row[512];

    for (size_t i = 0; i < CONFIG_HOST_KEYS + CONFIG_VM_KEYS + CONFIG_SWITCH_KEYS; i++) {
        const struct config_key *k =
            i < CONFIG_HOST_KEYS ? &config_host_keys[i]
            : i < CONFIG_HOST_KEYS + CONFIG_VM_KEYS
                ? &config_vm_keys[i - CONFIG_HOST_KEYS]
                : &config_switch_keys[i - CONFIG_HOST_KEYS - CONFIG_VM_KEYS];

        if (k->initial) {
            snprintf(row, sizeof(row), "| `%s` | `%s` | %s", k->name, k->initial, k->help);
        } else {
            snprintf(row, sizeof(row), "| `%s` | none | %s", k->name, k->help);
        }
        if (!strstr(doc, row)) {
            fail_msg("docs/CONFIG.md lacks: %s", row);
        }
        for (const char *const *c = k->choices; c && *c; c++) {
            snprintf(row, sizeof(row), "`%s`", *c);
            assert_non_null(strstr(doc, row));
        }
    }
    free(doc);
}

/* Its example of all keys, those for tests left out, is right. */
static void test_the_documentations_example(void **state)
{
    char *doc = read_the_documentation(), *example = strstr(doc, "## An example of every key"),
         key[64];

    assert_non_null(example);
    example = strstr(example, "\n    [host]");
    assert_non_null(example);
    *strstr(example, "\n## ") = '\0';
    assert_int_equal(parse(example), 3);
    assert_int_equal(told_count, 0);
    assert_int_equal(config.vm_count, 3);
    for (size_t i = 0; i < CONFIG_HOST_KEYS + CONFIG_VM_KEYS; i++) {
        const struct config_key *k =
            i < CONFIG_HOST_KEYS ? &config_host_keys[i] : &config_vm_keys[i - CONFIG_HOST_KEYS];

        snprintf(key, sizeof(key), "\n    %s = ", k->name);
        if (strncmp(k->name, "test_", 5) != 0 && !strstr(example, key)) {
            fail_msg("the example lacks: %s", k->name);
        }
    }
    free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_contract),
        cmocka_unit_test(test_check_disks),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_boot_order),
        cmocka_unit_test(test_disks),
        cmocka_unit_test(test_paravirtual_interfaces),
        cmocka_unit_test(test_switches_and_cards),
        cmocka_unit_test(test_whole_disks),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_nothing_at_all),
        cmocka_unit_test(test_every_host_key),
        cmocka_unit_test(test_whom_to_attach),
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_who_has_the_second_port),
        cmocka_unit_test(test_comments),
        cmocka_unit_test(test_lines_end_in_any_way),
        cmocka_unit_test(test_cmdline),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_processors),
        cmocka_unit_test(test_scheduling_keys),
        cmocka_unit_test(test_what_a_vm_says),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_a_bad_host_value_leaves_the_default),
        cmocka_unit_test(test_any_problem_leaves_the_default),
        cmocka_unit_test(test_modules),
        cmocka_unit_test(test_a_change_is_as_in_the_file),
        cmocka_unit_test(test_watches),
        cmocka_unit_test(test_disk_buses),
        cmocka_unit_test(test_a_watch_that_says_nothing),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_bytes_that_are_no_text),
        cmocka_unit_test(test_a_line_of_a_mebibyte),
        cmocka_unit_test(test_ten_thousand_vms),
        cmocka_unit_test(test_reports_are_bounded),
        cmocka_unit_test(test_without_a_listener),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_firmware),
        cmocka_unit_test(test_display),
        cmocka_unit_test(test_the_documentation_is_complete),
        cmocka_unit_test(test_the_documentations_example),
    };

    config_set_check("watch", check_watch);
    config_set_check("disk", check_disk);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    free(text_copy);
    return failed;
}
