/* links: guest/monitor/editor.c guest/monitor/command.c guest/monitor/login.c guest/monitor/pbkdf2.c guest/config/password.c guest/config/config_text.c arch/x86/lib/format.c */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "guest/monitor/command.h"
#include "guest/monitor/editor.h"
#include "guest/monitor/login.h"
#include "tests/fuzz/require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct command table[] = {
    {"help", "[COMMAND]", 0, 1, RIGHT_LOOK, {ARGUMENT_COMMAND}, "", "", NULL},
    {"list", "", 0, 0, RIGHT_LOOK, {ARGUMENT_NONE}, "", "", NULL},
    {"dump", "VM [VCPU]", 1, 2, RIGHT_ALL, {ARGUMENT_VM, ARGUMENT_OTHER}, "", "", NULL},
    {"set", "VM KEY=VALUE ...", 2, 7, RIGHT_ALL, {ARGUMENT_VM, ARGUMENT_SETTING}, "", "", NULL},
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

/* As a config's password, and as what is typed for one: nobody comes in. */
static void password(const uint8_t *data, size_t size)
{
    static const struct config_password wanted = {.rounds = 1};
    static struct login l;
    struct config_password parsed;
    uint64_t seconds;

    if (config_password_parse((struct config_span){(const char *)data, size}, &parsed) == 0)
        REQUIRE(parsed.rounds >= CONFIG_PASSWORD_ROUNDS_MIN);
    login_init(&l, true, &wanted, 1000, 600);
    REQUIRE(login_begin(&l, 0, &seconds) == LOGIN_BEGINS);
    for (size_t i = 0; i < size; i++) {
        login_key(&l, data[i]);
        REQUIRE(l.length <= PBKDF2_PASSWORD + 1);
    }
    while (login_work(&l, 1) == LOGIN_NOTHING && l.state == LOGIN_WORKS)
        ;
    REQUIRE(!login_permits(&l));
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
    password(data, size);
    return 0;
}
