/* See stream.h. */
#include "guest/moments/stream.h"

#include "arch/x86/lib/crc32c.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

#define FIRST   "corbel-state"
#define LAST    "end"
#define VERSION 1 /* of the stream: of its first and its last section */

#define FIRST_SIZE (STATE_HEADER + 8)
#define SUM        4u                           /* bytes of a checksum */
#define LAST_MIN   (STATE_HEADER + 4 + 2 * SUM) /* with one section's */

/* --- writing --- */

void stream_begin(struct state_writer *w)
{
    state_begin(w, FIRST, VERSION);
    state_put_u64(w, 0);
    state_end(w);
}

static void put_at(struct state_writer *w, size_t at, uint64_t value, bool wide)
{
    struct state_writer there = {.data = w->data, .capacity = w->capacity, .used = at};

    if (wide)
        state_put_u64(&there, value);
    else
        state_put_u32(&there, (uint32_t)value);
}

void stream_end(struct state_writer *w)
{
    unsigned count = w->sections;
    size_t end = w->used;
    struct state_section s;

    put_at(w, STATE_HEADER, end + STATE_HEADER + 4 + (count + 1) * SUM, true);
    state_begin(w, LAST, VERSION);
    state_put_u32(w, count);
    for (size_t at = 0; at < end; at += STATE_HEADER + s.length) {
        if (w->capacity < end) { /* it is only measured */
            state_put(w, NULL, count * SUM);
            break;
        }
        state_section(w->data + at, &s);
        state_put_u32(w, crc32c(0, w->data + at, STATE_HEADER + s.length));
    }
    state_put_u32(w, 0);
    state_end(w);
    if (w->used <= w->capacity)
        put_at(w, w->used - SUM, crc32c(0, w->data, w->used - SUM), false);
}

/* --- reading --- */

static int wrong(char *error, const char *fmt, ...) PRINTF(2, 3);

static int wrong(char *error, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vformat(error, STREAM_ERROR, fmt, args);
    va_end(args);
    return -EBADMSG;
}

static uint64_t get_at(const uint8_t *data, size_t at, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)data[at + i] << (8 * i);
    return value;
}

/* The section at `at`, if there is one before end. */
static bool section_at(const uint8_t *data, size_t at, size_t end, struct state_section *s)
{
    if (end < at || end - at < STATE_HEADER)
        return false;
    state_section(data + at, s);
    return s->good && s->length <= end - at - STATE_HEADER;
}

static int check_first(const uint8_t *data, size_t size, char *error)
{
    struct state_section s;
    uint64_t length;

    if (size < STATE_HEADER)
        return wrong(error, "is none: it has %lu bytes", size);
    state_section(data, &s);
    if (strcmp(s.name, FIRST) != 0)
        return wrong(error, "is none: it does not begin as one");
    if (s.version != VERSION)
        return wrong(error, "is a stream of version %u, and this Corbel reads version %u",
                     s.version, VERSION);
    if (size < FIRST_SIZE + LAST_MIN)
        return wrong(error, "ends early: %lu bytes are no whole one", size);
    if (!s.good || s.length != FIRST_SIZE - STATE_HEADER)
        return wrong(error, "is damaged where it begins");
    length = get_at(data, STATE_HEADER, 8);
    if (length != size)
        return wrong(error, "%s: %lu bytes are there, and it says %lu",
                     length > size ? "ends early" : "does not end where it should", size, length);
    return 0;
}

/*
 * Where the last section begins. Whether all others fit together is found out on the way, and if
 * their checksums are to be believed, what each comes to.
 */
static int walk(const uint8_t *data, size_t size, size_t *last, char *error)
{
    struct state_section s;
    uint64_t count = 0, sums;
    size_t at = 0;

    for (; section_at(data, at, size, &s) && strcmp(s.name, LAST) != 0; count++)
        at += STATE_HEADER + s.length;
    if (!section_at(data, at, size, &s) || at + STATE_HEADER + s.length != size ||
        s.length != 4 + (count + 1) * SUM || get_at(data, at + STATE_HEADER, 4) != count)
        return wrong(error, "is damaged: its sections do not fit together");
    if (s.version != VERSION)
        return wrong(error, "ends in version %u, and this Corbel reads version %u", s.version,
                     VERSION);
    *last = at;
    sums = at + STATE_HEADER + 4;
    at = 0;
    for (uint64_t i = 0; i < count; i++, at += STATE_HEADER + s.length) {
        state_section(data + at, &s);
        if (crc32c(0, data + at, STATE_HEADER + s.length) != get_at(data, sums + i * SUM, SUM))
            return wrong(error, "is damaged in its section '%s'", s.name);
    }
    return 0;
}

int stream_open(const void *data, size_t size, struct state_reader *r, char *error)
{
    size_t last = 0;
    int result = check_first(data, size, error);

    if (result == 0)
        result = walk(data, size, &last, error);
    if (result == 0 && crc32c(0, data, size - SUM) != get_at(data, size - SUM, SUM))
        result = wrong(error, "is damaged: its checksum is wrong");
    if (result < 0)
        return result;
    *r = (struct state_reader){
        .data = data, .size = last, .position = FIRST_SIZE, .section_end = FIRST_SIZE};
    return 0;
}

/* --- whose --- */

static bool has(const struct state_reader *r, size_t at, const char *name)
{
    struct state_section s;

    for (; section_at(r->data, at, r->size, &s); at += STATE_HEADER + s.length)
        if (strcmp(s.name, name) == 0)
            return true;
    return false;
}

/* They differ from here on, or one of them has come to its end. */
static int differs(const struct state_reader *r, size_t at, const struct state_reader *own,
                   size_t own_at, char *error)
{
    struct state_section s, o;
    bool more = section_at(r->data, at, r->size, &s);
    bool own_more = section_at(own->data, own_at, own->size, &o);

    if (more && !has(own, own_at, s.name))
        return wrong(error, "has a section '%s' that this VM does not have", s.name);
    if (own_more && !has(r, at, o.name))
        return wrong(error, "lacks the section '%s' that this VM has", o.name);
    return wrong(error, "has its section '%s' in another place than this VM",
                 more ? s.name : o.name);
}

int stream_same(const struct state_reader *r, const struct state_reader *own, char *error)
{
    size_t at = r->position, own_at = own->position;
    struct state_section s, o;

    while (section_at(r->data, at, r->size, &s)) {
        if (!section_at(own->data, own_at, own->size, &o) || strcmp(s.name, o.name) != 0)
            return differs(r, at, own, own_at, error);
        if (s.version != o.version)
            return wrong(error, "is of %s Corbel: its section '%s' has version %u, here it is %u",
                         s.version > o.version ? "a newer" : "an older", s.name, s.version,
                         o.version);
        at += STATE_HEADER + s.length;
        own_at += STATE_HEADER + o.length;
    }
    return own_at < own->size ? differs(r, at, own, own_at, error) : 0;
}
