/* links: guest/monitor/editor.c guest/monitor/command.c guest/console/replay.c arch/x86/lib/format.c */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "guest/monitor/command.h"
#include "guest/monitor/editor.h"
#include "guest/console/replay.h"
#include "tests/fuzz/require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct command table[] = {
    {"help", "[COMMAND]", 0, 1, {ARGUMENT_COMMAND}, "", "", NULL},
    {"list", "", 0, 0, {ARGUMENT_NONE}, "", "", NULL},
    {"dump", "VM [VCPU]", 1, 2, {ARGUMENT_VM, ARGUMENT_OTHER}, "", "", NULL},
    {"set", "VM KEY=VALUE ...", 2, 7, {ARGUMENT_VM, ARGUMENT_SETTING}, "", "", NULL},
};
#define COUNT ARRAY_SIZE(table)

static size_t sent;

static void send(void *ctx, const char *text, size_t length)
{
    sent += length;
    for (size_t i = 0; i < length; i++)
        REQUIRE((text[i] >= ' ' && text[i] <= '~') || strchr("\a\b\r\n\x1b", text[i]));
}

static const char *choice(void *ctx, const char *before, size_t length, unsigned n)
{
    static const char *const names[] = {"debian", "debian-2", "b", "", NULL};

    switch (command_expects(table, COUNT, before, length)) {
    case ARGUMENT_COMMAND:
        return n < COUNT ? table[n].name : NULL;
    case ARGUMENT_VM:
        return names[n];
    case ARGUMENT_SETTING:
        return n ? NULL : "weight=";
    default:
        return NULL;
    }
}

static void obey(const struct editor *e)
{
    char error[COMMAND_ERROR];
    struct words w;
    const struct command *c = command_parse(table, COUNT, e->line, e->length, &w, error);
    uint64_t n;

    REQUIRE(strnlen(error, sizeof(error)) < sizeof(error));
    REQUIRE(w.count <= COMMAND_WORDS);
    for (unsigned i = 0; i < w.count; i++) {
        REQUIRE(w.word[i].length && w.word[i].text >= e->line &&
                w.word[i].text + w.word[i].length <= e->line + e->length);
        if (word_number(w.word[i], 1000, &n) == 0)
            REQUIRE(n <= 1000);
    }
    if (c)
        REQUIRE(w.count - 1 >= c->min && w.count - 1 <= c->max && !error[0]);
    else
        REQUIRE((w.count == 0) == !error[0]);
}

static void filter(const uint8_t *data, size_t size)
{
    struct replay r = {0};
    char *out = malloc(size + REPLAY_HELD);
    size_t whole = replay_filter(&r, (const char *)data, size, out), parts = 0;
    char *again = malloc(size + REPLAY_HELD);

    memset(&r, 0, sizeof(r));
    for (size_t i = 0; i < size; i++)
        parts += replay_filter(&r, (const char *)data + i, 1, again + parts);
    REQUIRE(parts == whole && memcmp(out, again, whole) == 0);
    free(out);
    free(again);
}

/* Whatever is typed, the line stays printable and within its bounds, and what is sent for each byte
 * does, too. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct editor *e = malloc(sizeof(*e));

    editor_init(e, "corbel> ", send, choice, NULL);
    editor_begin(e);
    for (size_t i = 0; i < size; i++) {
        sent = 0;
        enum editor_event event = editor_input(e, data[i]);
        REQUIRE(sent <= EDITOR_OUTPUT);
        REQUIRE(e->length <= EDITOR_LINE && e->cursor <= e->length && e->left <= e->cursor);
        REQUIRE(strnlen(e->line, sizeof(e->line)) == e->length);
        for (unsigned k = 0; k < e->length; k++)
            REQUIRE(e->line[k] >= ' ' && e->line[k] <= '~');
        if (event == EDITOR_ENTER) {
            obey(e);
            editor_begin(e);
        }
    }
    free(e);
    filter(data, size);
    return 0;
}
