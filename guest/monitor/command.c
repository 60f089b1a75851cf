#include "guest/monitor/command.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

bool words_cut(struct words *w, const char *text, size_t length)
{
    size_t i = 0;

    w->count = 0;
    for (;;) {
        while (i < length && text[i] == ' ')
            i++;
        if (i == length)
            return true;
        if (w->count == COMMAND_WORDS)
            return false;
        struct word *word = &w->word[w->count++];
        word->text = text + i;
        while (i < length && text[i] != ' ')
            i++;
        word->length = (size_t)(text + i - word->text);
    }
}

void words_cut_rest(struct words *w, const char *text, size_t length, unsigned last)
{
    (void)words_cut(w, text, length);
    if (w->count <= last)
        return;
    w->count = last + 1;
    w->word[last].length = (size_t)(text + length - w->word[last].text);
}

bool word_is(struct word w, const char *text)
{
    return w.length == strlen(text) && memcmp(w.text, text, w.length) == 0;
}

int word_number(struct word w, uint64_t max, uint64_t *value)
{
    uint64_t n = 0;

    if (!w.length)
        return -EINVAL;
    for (size_t i = 0; i < w.length; i++) {
        unsigned digit = (unsigned)(w.text[i] - '0');
        if (digit > 9)
            return -EINVAL;
        if (n > (max - digit) / 10 || digit > max)
            return -ERANGE;
        n = n * 10 + digit;
    }
    *value = n;
    return 0;
}

const struct command *command_find(const struct command *table, unsigned count, struct word name)
{
    for (unsigned i = 0; i < count; i++)
        if (word_is(name, table[i].name))
            return &table[i];
    return NULL;
}

const struct command *command_parse(const struct command *table, unsigned count, const char *line,
                                    size_t length, struct words *w, char *error)
{
    bool fits = words_cut(w, line, length);
    const struct command *c;

    error[0] = '\0';
    if (!w->count)
        return NULL;
    c = command_find(table, count, w->word[0]);
    if (!c) {
        format(error, COMMAND_ERROR, "there is no command '%.*s': help lists them",
               (int)MIN(w->word[0].length, 40), w->word[0].text);
        return NULL;
    }
    if (c->max && c->kinds[c->max - 1] == ARGUMENT_TEXT) {
        words_cut_rest(w, line, length, c->max);
        fits = true;
    }
    if (!fits || w->count - 1 < c->min || w->count - 1 > c->max) {
        format(error, COMMAND_ERROR, "usage: %s%s%s", c->name, c->arguments[0] ? " " : "",
               c->arguments);
        return NULL;
    }
    return c;
}

bool command_is_permitted(const struct command *c, const struct words *w, bool all)
{
    return all || c->right == RIGHT_LOOK || (c->right == RIGHT_LOOK_BARE && w->count - 1 == c->min);
}

enum argument command_expects(const struct command *table, unsigned count, const char *before,
                              size_t length)
{
    struct words w;
    const struct command *c;

    if (!words_cut(&w, before, length) || w.count == COMMAND_WORDS)
        return ARGUMENT_NONE;
    if (!w.count)
        return ARGUMENT_COMMAND;
    c = command_find(table, count, w.word[0]);
    return c ? c->kinds[w.count - 1] : ARGUMENT_NONE;
}
