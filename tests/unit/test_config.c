/* links: guest/config/config.c guest/config/config_check.c guest/config/password.c guest/config/config_keys.c guest/config/config_text.c guest/config/config_value.c guest/config/disk.c guest/config/net.c guest/watch/spec.c arch/x86/lib/format.c */
/* A config as text: its lines, sections and keys, what is wrong with them, and its manual. */
#include <stdarg.h>
#include <stddef.h>
#include <inttypes.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest/config/config_text.h"
#include "tests/unit/config_read.h"

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

#define VM_KEYS                                                                                    \
    "kernel, firmware, display, boot, initrd, module, cmdline, memory, overcommit, cpus, hole, "   \
    "weight, cap, affinity, bus_locks, pv, "                                                       \
    "autostart, "                                                                                  \
    "paused, disk, allow_whole_disk, snapshot_memory, net, rng, balloon, console, terminal, "      \
    "cdrom, watch, on_crash, "                                                                     \
    "on_reboot or on_poweroff"

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

/* What may stand there, and how often, behind the key's row. */
static void expect_limits(const struct config_key *k, const char *row)
{
    char limits[3][80] = {"", "", ""}, line[1024];
    struct config_quote low, high;

    snprintf(line, sizeof(line), "%.*s", (int)strcspn(row, "\n"), row);
    if (k->type == CONFIG_SIZE)
        snprintf(limits[0], sizeof(limits[0]), "from `%s` to `%s`", config_size_text(&low, k->min),
                 config_size_text(&high, k->max));
    else if (k->type == CONFIG_NUMBER && strncmp(k->name, "test_", 5) != 0)
        snprintf(limits[0], sizeof(limits[0]), "from %" PRIu64 " to %" PRIu64, k->min, k->max);
    else if (k->type == CONFIG_LINES || k->type == CONFIG_MODULES || k->type == CONFIG_TEXT)
        snprintf(limits[0], sizeof(limits[0]), "at most %" PRIu64 " bytes", k->max);
    if (k->type == CONFIG_SIZE && k->initial)
        snprintf(limits[1], sizeof(limits[1]), "a multiple of `%s`",
                 config_size_text(&low, k->multiple));
    if (k->type == CONFIG_LINES || k->type == CONFIG_MODULES)
        snprintf(limits[2], sizeof(limits[2]), "at most %u times",
                 k->type == CONFIG_LINES ? k->limit : CONFIG_MAX_MODULES);
    for (unsigned i = 0; i < ARRAY_SIZE(limits); i++)
        if (!strstr(line, limits[i]))
            fail_msg("docs/CONFIG.md: %s lacks '%s'", k->name, limits[i]);
}

static void expect_row(const char *doc, const struct config_key *k, const char *initial)
{
    char row[512];
    const char *at;

    snprintf(row, sizeof(row), "| `%s` | %s | %s", k->name, initial, k->help);
    at = strstr(doc, row);
    if (!at)
        fail_msg("docs/CONFIG.md lacks: %s", row);
    expect_limits(k, at);
}

/* docs/CONFIG.md has each key, its values, limits and default as the table has it. */
static void test_the_documentation_is_complete(void **state)
{
    char *doc = read_the_documentation(), text[200];

    for (size_t i = 0; i < CONFIG_HOST_KEYS + CONFIG_VM_KEYS + CONFIG_SWITCH_KEYS; i++) {
        const struct config_key *k =
            i < CONFIG_HOST_KEYS ? &config_host_keys[i]
            : i < CONFIG_HOST_KEYS + CONFIG_VM_KEYS
                ? &config_vm_keys[i - CONFIG_HOST_KEYS]
                : &config_switch_keys[i - CONFIG_HOST_KEYS - CONFIG_VM_KEYS];

        snprintf(text, sizeof(text), "`%s`", k->initial ? k->initial : "");
        expect_row(doc, k, k->initial ? text : "none");
        for (const char *const *c = k->choices; c && *c; c++) {
            snprintf(text, sizeof(text), "`%s`", *c);
            assert_non_null(strstr(doc, text));
        }
    }
    expect_row(doc, &config_disk_keys[CONFIG_DISK_SIZE], "the file's");
    expect_row(doc, &config_disk_keys[CONFIG_DISK_FROM], "none");
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
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_nothing_at_all),
        cmocka_unit_test(test_comments),
        cmocka_unit_test(test_lines_end_in_any_way),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_any_problem_leaves_the_default),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_bytes_that_are_no_text),
        cmocka_unit_test(test_a_line_of_a_mebibyte),
        cmocka_unit_test(test_ten_thousand_vms),
        cmocka_unit_test(test_reports_are_bounded),
        cmocka_unit_test(test_without_a_listener),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_the_documentation_is_complete),
        cmocka_unit_test(test_the_documentations_example),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
