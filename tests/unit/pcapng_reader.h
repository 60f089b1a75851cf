/* A reader of capture files (pcapng), strict: what is not as the format has it is refused. It takes
 * what Corbel writes: little-endian, one kind of packets. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "arch/x86/lib/types.h"

enum { READ_INTERFACES = 80 };

struct read_packet {
    unsigned interface;
    uint64_t time, lost;
    uint32_t kept, length, flags;
    const uint8_t *data;
    char comment[128];
};

struct reader {
    const uint8_t *bytes;
    size_t size, at;

    unsigned sections, interfaces, described, packets, statistics;
    char about[128]; /* the section's */
    struct read_interface {
        char name[128], about[128];
        uint8_t mac[6];
        uint32_t most;
        uint64_t seen, lost, matched, began, ended; /* by its last statistics */
        unsigned statistics;
    } interface[READ_INTERFACES];
    struct read_packet packet; /* the last one */
};

static inline uint64_t reader_number(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << 8 * i;
    return value;
}

static inline uint64_t reader_time(const uint8_t *at)
{
    return reader_number(at, 4) << 32 | reader_number(at + 4, 4);
}

/* The next option in at[0..size): its code, or -1 where they are not as they should be. */
static inline int reader_option(const uint8_t *at, size_t size, size_t *length)
{
    int code;

    if (size < 4)
        return -1;
    code = (int)reader_number(at, 2);
    *length = reader_number(at + 2, 2);
    if (ALIGN_UP(*length, 4u) > size - 4 || (code == 0 && (*length || size != 4)))
        return -1;
    for (size_t i = *length; i < ALIGN_UP(*length, 4u); i++)
        if (at[4 + i])
            return -1;
    return code;
}

static inline bool reader_text(char text[128], const uint8_t *at, size_t length)
{
    if (length >= 128)
        return false;
    memcpy(text, at, length);
    text[length] = '\0';
    return true;
}

static inline bool reader_take_option(struct reader *r, uint32_t type, unsigned which, int code,
                                      const uint8_t *at, size_t length)
{
    struct read_interface *i = &r->interface[which];

    if (type == 0x0a0d0d0a && code == 1)
        return reader_text(r->about, at, length);
    if (type == 0x0a0d0d0a)
        return (code == 3 || code == 4) && length == 6 && memcmp(at, "Corbel", 6) == 0;
    if (type == 1 && code == 2)
        return reader_text(i->name, at, length);
    if (type == 1 && code == 3)
        return reader_text(i->about, at, length);
    if (type == 1 && code == 6 && length == 6)
        return memcpy(i->mac, at, 6);
    if (type == 1)
        return code == 9 && length == 1 && *at == 9;
    if (type == 6 && code == 1)
        return reader_text(r->packet.comment, at, length);
    if (type == 6 && code == 2 && length == 4)
        return r->packet.flags = (uint32_t)reader_number(at, 4), true;
    if (type == 6)
        return code == 4 && length == 8 && (r->packet.lost = reader_number(at, 8)) != 0;
    if (length != 8)
        return false;
    uint64_t *const counts[] = {&i->seen, &i->lost, &i->matched};
    if (code == 2)
        i->began = reader_time(at);
    else if (code == 3)
        i->ended = reader_time(at);
    else if (code >= 4 && code <= 6)
        *counts[code - 4] = reader_number(at, 8);
    else
        return false;
    return true;
}

static inline bool reader_options(struct reader *r, uint32_t type, unsigned which,
                                  const uint8_t *at, size_t size)
{
    size_t length;
    int code;

    while ((code = reader_option(at, size, &length)) > 0) {
        if (!reader_take_option(r, type, which, code, at + 4, length))
            return false;
        at += 4 + ALIGN_UP(length, 4u);
        size -= 4 + ALIGN_UP(length, 4u);
    }
    return code == 0;
}

static inline bool reader_section(struct reader *r, const uint8_t *b, size_t size)
{
    r->sections++;
    r->described = 0;
    return size >= 28 && reader_number(b + 8, 4) == 0x1a2b3c4d && reader_number(b + 12, 4) == 1 &&
           reader_number(b + 16, 8) == UINT64_MAX &&
           reader_options(r, 0x0a0d0d0a, 0, b + 24, size - 28);
}

static inline bool reader_interface(struct reader *r, const uint8_t *b, size_t size)
{
    unsigned n = r->described++;

    if (!r->sections || n == READ_INTERFACES || size < 20 || reader_number(b + 8, 4) != 1)
        return false;
    r->interfaces = MAX(r->interfaces, r->described);
    r->interface[n].most = (uint32_t)reader_number(b + 12, 4);
    return reader_options(r, 1, n, b + 16, size - 20);
}

static inline bool reader_packet(struct reader *r, const uint8_t *b, size_t size)
{
    struct read_packet *p = &r->packet;

    if (size < 32)
        return false;
    *p = (struct read_packet){.interface = (unsigned)reader_number(b + 8, 4),
                              .time = reader_time(b + 12),
                              .kept = (uint32_t)reader_number(b + 20, 4),
                              .length = (uint32_t)reader_number(b + 24, 4),
                              .data = b + 28};
    r->packets++;
    if (p->interface >= r->described || p->kept > p->length || p->kept > size - 32 ||
        p->kept > r->interface[p->interface].most)
        return false;
    for (size_t i = p->kept; i < ALIGN_UP(p->kept, 4u); i++)
        if (p->data[i])
            return false;
    return reader_options(r, 6, 0, p->data + ALIGN_UP(p->kept, 4u),
                          size - 32 - ALIGN_UP(p->kept, 4u));
}

static inline bool reader_statistics(struct reader *r, const uint8_t *b, size_t size)
{
    unsigned n;

    if (size < 24 || (n = (unsigned)reader_number(b + 8, 4)) >= r->described)
        return false;
    r->statistics++;
    r->interface[n].statistics++;
    return reader_options(r, 5, n, b + 20, size - 24) &&
           reader_time(b + 12) == r->interface[n].ended;
}

/* The next block: its type; 0 at the end; -1 where it is none. */
static inline int64_t reader_next(struct reader *r)
{
    const uint8_t *b = r->bytes + r->at;
    size_t rest = r->size - r->at, size;
    uint32_t type;
    bool good;

    if (rest == 0)
        return 0;
    if (rest < 12)
        return -1;
    type = (uint32_t)reader_number(b, 4);
    size = reader_number(b + 4, 4);
    if (size < 12 || size % 4 || size > rest || reader_number(b + size - 4, 4) != size)
        return -1;
    good = type == 0x0a0d0d0a ? reader_section(r, b, size)
           : type == 1        ? reader_interface(r, b, size)
           : type == 5        ? reader_statistics(r, b, size)
           : type == 6        ? reader_packet(r, b, size)
                              : false;
    r->at += size;
    return good ? (int64_t)type : -1;
}
