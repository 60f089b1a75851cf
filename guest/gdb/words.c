#include "guest/gdb/words.h"

#include <stdarg.h>

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

/* --- what is said --- */

void gdb_say(struct gdb_text *t, const char *fmt, ...)
{
    va_list args;
    int length;

    va_start(args, fmt);
    length = vformat(t->text + t->length, sizeof(t->text) - t->length, fmt, args);
    va_end(args);
    if (length > 0)
        t->length = MIN(t->length + (size_t)length, sizeof(t->text) - 1);
}

void gdb_answer(struct gdb_stub *s, const char *fmt, ...)
{
    va_list args;
    int length;

    va_start(args, fmt);
    length = vformat(s->reply + s->length, sizeof(s->reply) - s->length, fmt, args);
    va_end(args);
    if (length > 0)
        s->length = MIN(s->length + (size_t)length, sizeof(s->reply) - 1);
}

void gdb_answer_hex(struct gdb_stub *s, const void *data, size_t size)
{
    size = MIN(size, (sizeof(s->reply) - s->length) / 2);
    gdb_put_hex(s->reply + s->length, data, size);
    s->length += 2 * size;
}

void gdb_answer_result(struct gdb_stub *s, int result)
{
    if (result < 0)
        gdb_answer(s, "E%02x", (unsigned)-result & 0xff);
    else
        gdb_answer(s, "OK");
}

/* --- what is read --- */

bool gdb_skip(struct gdb_cursor *c, char what)
{
    if (c->at >= c->end || *c->at != what)
        return false;
    c->at++;
    return true;
}

bool gdb_skip_word(struct gdb_cursor *c, const char *word)
{
    size_t length = strlen(word);

    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0)
        return false;
    c->at += length;
    return true;
}

bool gdb_number(struct gdb_cursor *c, uint64_t *value)
{
    return gdb_get_number(&c->at, c->end, value);
}

bool gdb_thread_id(struct gdb_stub *s, struct gdb_cursor *c, int *thread)
{
    uint64_t n;

    if (gdb_skip_word(c, "-1")) {
        *thread = GDB_ALL_THREADS;
        return true;
    }
    if (!gdb_number(c, &n) || n > s->target->threads())
        return false;
    *thread = n ? (int)n - 1 : (int)s->thread;
    return true;
}
