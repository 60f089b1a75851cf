/* The stream of sections that guest/board/state.h describes. A section's header is its name (16
 * bytes, zero padded), version (16 bits), zero (16 bits) and length (32 bits). */
#include "guest/board/state.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

void state_put(struct state_writer *w, const void *data, size_t size)
{
    if (w->used <= w->capacity && size <= w->capacity - w->used)
        memcpy(w->data + w->used, data, size);
    w->used += size;
}

static void put_little_endian(struct state_writer *w, uint64_t v, size_t size)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(v >> (8 * i));
    state_put(w, bytes, size);
}

void state_put_u8(struct state_writer *w, uint8_t v)
{
    state_put(w, &v, 1);
}

void state_put_u16(struct state_writer *w, uint16_t v)
{
    put_little_endian(w, v, 2);
}

void state_put_u32(struct state_writer *w, uint32_t v)
{
    put_little_endian(w, v, 4);
}

void state_put_u64(struct state_writer *w, uint64_t v)
{
    put_little_endian(w, v, 8);
}

void state_begin(struct state_writer *w, const char *name, uint16_t version)
{
    char padded[STATE_NAME] = {0};

    memcpy(padded, name, strnlen(name, STATE_NAME - 1));
    state_put(w, padded, STATE_NAME);
    state_put_u16(w, version);
    state_put_u16(w, 0);
    w->section = w->used;
    state_put_u32(w, 0);
}

void state_end(struct state_writer *w)
{
    struct state_writer length = {.data = w->data, .capacity = w->capacity, .used = w->section};

    state_put_u32(&length, (uint32_t)(w->used - length.used - 4));
    w->sections++;
}

static int fail(struct state_reader *r, const char *error)
{
    if (!r->error)
        r->error = error;
    return -EBADMSG;
}

void state_get(struct state_reader *r, void *data, size_t size)
{
    if (r->error || size > r->section_end - r->position) {
        fail(r, "a section of the saved state is too short");
        memset(data, 0, size);
        return;
    }
    memcpy(data, r->data + r->position, size);
    r->position += size;
}

static uint64_t get_little_endian(struct state_reader *r, size_t size)
{
    uint8_t bytes[8];
    uint64_t v = 0;

    state_get(r, bytes, size);
    for (size_t i = 0; i < size; i++)
        v |= (uint64_t)bytes[i] << (8 * i);
    return v;
}

uint8_t state_get_u8(struct state_reader *r)
{
    return (uint8_t)get_little_endian(r, 1);
}

uint16_t state_get_u16(struct state_reader *r)
{
    return (uint16_t)get_little_endian(r, 2);
}

uint32_t state_get_u32(struct state_reader *r)
{
    return (uint32_t)get_little_endian(r, 4);
}

uint64_t state_get_u64(struct state_reader *r)
{
    return get_little_endian(r, 8);
}

int state_enter(struct state_reader *r, const char *name, uint16_t version)
{
    char expected[STATE_NAME] = {0}, found[STATE_NAME];
    uint16_t found_version, zero;
    uint32_t length;

    if (r->error)
        return -EBADMSG;
    if (r->position != r->section_end)
        return fail(r, "a section of the saved state was left before its end");
    if (r->size - r->position < STATE_HEADER)
        return fail(r, "the saved state ends early");
    r->section_end = r->position + STATE_HEADER;
    state_get(r, found, STATE_NAME);
    found_version = state_get_u16(r);
    zero = state_get_u16(r);
    length = state_get_u32(r);
    memcpy(expected, name, strnlen(name, STATE_NAME - 1));
    memcpy(r->name, expected, STATE_NAME);
    if (memcmp(found, expected, STATE_NAME) != 0)
        return fail(r, "the saved state has another section than this VM expects here");
    if (found_version != version)
        return fail(r, "a section of the saved state has a version that this build cannot read");
    if (zero != 0)
        return fail(r, "a section header of the saved state is malformed");
    if (length > r->size - r->position)
        return fail(r, "the saved state ends within a section");
    r->section_end = r->position + length;
    return 0;
}

int state_leave(struct state_reader *r)
{
    if (r->error)
        return -EBADMSG;
    if (r->position != r->section_end)
        return fail(r, "a section of the saved state is too long");
    return 0;
}

void state_section(const void *header, struct state_section *out)
{
    const uint8_t *bytes = header;
    bool ends = false;

    *out = (struct state_section){.good = bytes[0] != 0 && bytes[STATE_NAME - 1] == 0};
    for (unsigned i = 0; i < STATE_NAME - 1; i++) {
        bool printable = bytes[i] >= ' ' && bytes[i] <= '~';

        ends = ends || bytes[i] == 0;
        out->good = out->good && (ends ? bytes[i] == 0 : printable);
        out->name[i] = (char)(ends ? 0 : printable ? bytes[i] : '?');
    }
    bytes += STATE_NAME;
    out->version = (uint16_t)(bytes[0] | bytes[1] << 8);
    out->good = out->good && bytes[2] == 0 && bytes[3] == 0;
    out->length =
        bytes[4] | (uint32_t)bytes[5] << 8 | (uint32_t)bytes[6] << 16 | (uint32_t)bytes[7] << 24;
}
