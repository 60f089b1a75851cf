/* A config's text is read, and what is said of it is remembered. For tests of that; after cmocka.h.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/config/config.h"
#include "guest/config/disk.h"
#include "guest/watch/handler.h"

static const struct watch_handler handler = {
    .name = "mine", .parameter = {"a"}, .kinds = BIT(WATCH_CR3)};
static const struct watch_handler *const table[] = {&handler};
static const struct watch_handlers handlers = {table, table + 1};

static inline int check_watch(const char *text, size_t length, char *error)
{
    struct watch_spec spec;

    return watch_parse(text, length, &handlers, &spec, error);
}

/* Where there is no NVMe. */
static inline int check_disk(const char *text, size_t length, char *error)
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

static inline void tell(void *ctx, uint32_t line, const char *sentence)
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

static inline size_t parse_bytes(const char *text, size_t length)
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

static inline size_t parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static inline void expect_span(struct config_span s, const char *text)
{
    assert_int_equal(s.length, strlen(text));
    assert_memory_equal(s.data, text, s.length);
}

/* The config has exactly one problem, in that line. */
static inline void expect_one(const char *text, uint32_t line, const char *sentence)
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
static inline void expect_broken(const char *vm_line, const char *sentence)
{
    char text[2 * CONFIG_MAX_CMDLINE + 200];

    snprintf(text, sizeof(text), "[vm a]\nkernel = k\n%s\n[vm b]\nkernel = k\n", vm_line);
    expect_one(text, 3, sentence);
    assert_int_equal(config.vm_count, 2);
    assert_true(vms[0].broken);
    assert_false(vms[1].broken);
}

/* Of the group of tests. */
static inline int begin(void **state)
{
    config_set_check("watch", check_watch);
    config_set_check("disk", check_disk);
    return 0;
}

static inline int end(void **state)
{
    free(text_copy);
    return 0;
}
