/* See pcapng.h. */
#include "guest/capture/pcapng.h"

#include "arch/x86/lib/string.h"

#define BLOCK_SECTION    0x0a0d0d0au
#define BLOCK_INTERFACE  1u
#define BLOCK_STATISTICS 5u
#define BLOCK_PACKET     6u

#define BYTE_ORDER  0x1a2b3c4du
#define VERSION     1u /* 1.0 */
#define UNKNOWN     UINT64_MAX
#define NANOSECONDS 9u /* ten to the minus ninth */
#define TRAILER     4u /* bytes */

/* Options: those of all blocks, and of one each. */
enum { OPTION_END, OPTION_COMMENT };
enum { SECTION_OS = 3, SECTION_PROGRAM };
enum { INTERFACE_NAME = 2, INTERFACE_ABOUT, INTERFACE_MAC = 6, INTERFACE_RESOLUTION = 9 };
enum { PACKET_FLAGS = 2, PACKET_LOST = 4 };
enum {
    STATISTICS_BEGAN = 2,
    STATISTICS_ENDED,
    STATISTICS_SEEN,
    STATISTICS_LOST,
    STATISTICS_MATCHED
};

struct block {
    uint8_t *bytes;
    size_t used;
};

static void put(struct block *b, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        b->bytes[b->used++] = (uint8_t)(value >> (8 * i));
}

/* The upper half comes first. */
static void put_time(struct block *b, uint64_t time)
{
    put(b, time >> 32, 4);
    put(b, time, 4);
}

static void put_bytes(struct block *b, const void *data, size_t size)
{
    memcpy(b->bytes + b->used, data, size);
    b->used += size;
    put(b, 0, (unsigned)(ALIGN_UP(size, 4u) - size));
}

static void put_option(struct block *b, unsigned code, size_t size)
{
    put(b, code, 2);
    put(b, size, 2);
}

static void put_text(struct block *b, unsigned code, const char *text)
{
    size_t length = strnlen(text, PCAPNG_TEXT);

    put_option(b, code, length);
    put_bytes(b, text, length);
}

static void put_count(struct block *b, unsigned code, uint64_t count)
{
    put_option(b, code, 8);
    put(b, count, 8);
}

static struct block begin(uint8_t *out, uint32_t type)
{
    struct block b = {out, 0};

    put(&b, type, 4);
    put(&b, 0, 4); /* its length, which end() knows */
    return b;
}

static size_t end(struct block *b)
{
    struct block length = {b->bytes, PCAPNG_LENGTH_AT};

    put_option(b, OPTION_END, 0);
    put(&length, b->used + TRAILER, 4);
    put(b, b->used + TRAILER, 4);
    return b->used;
}

size_t pcapng_section(uint8_t out[PCAPNG_SMALL], const char *program, const char *comment)
{
    struct block b = begin(out, BLOCK_SECTION);

    put(&b, BYTE_ORDER, 4);
    put(&b, VERSION, 2);
    put(&b, 0, 2);
    put(&b, UNKNOWN, 8); /* how long it will be */
    put_text(&b, OPTION_COMMENT, comment);
    put_text(&b, SECTION_OS, program);
    put_text(&b, SECTION_PROGRAM, program);
    return end(&b);
}

size_t pcapng_interface(uint8_t out[PCAPNG_SMALL], const struct pcapng_interface *i)
{
    struct block b = begin(out, BLOCK_INTERFACE);

    put(&b, PCAPNG_ETHERNET, 2);
    put(&b, 0, 2);
    put(&b, i->most, 4);
    put_text(&b, INTERFACE_NAME, i->name);
    put_text(&b, INTERFACE_ABOUT, i->about);
    put_option(&b, INTERFACE_MAC, 6);
    put_bytes(&b, i->mac, 6);
    put_option(&b, INTERFACE_RESOLUTION, 1);
    put(&b, NANOSECONDS, 4);
    return end(&b);
}

size_t pcapng_tail(uint8_t out[PCAPNG_TAIL], const struct pcapng_packet *p)
{
    struct block b = {out, 0};

    put(&b, 0, ALIGN_UP(p->kept, 4u) - p->kept);
    put_option(&b, PACKET_FLAGS, 4);
    put(&b, p->flags, 4);
    if (p->lost)
        put_count(&b, PACKET_LOST, p->lost);
    if (p->comment)
        put_text(&b, OPTION_COMMENT, p->comment);
    put_option(&b, OPTION_END, 0);
    put(&b, PCAPNG_HEAD + p->kept + b.used + TRAILER, 4);
    return b.used;
}

size_t pcapng_head(uint8_t out[PCAPNG_HEAD], const struct pcapng_packet *p, size_t tail)
{
    struct block b = begin(out, BLOCK_PACKET);
    size_t whole = PCAPNG_HEAD + p->kept + tail;

    put(&b, p->interface, 4);
    put_time(&b, p->time);
    put(&b, p->kept, 4);
    put(&b, p->length, 4);
    b.used = PCAPNG_LENGTH_AT;
    put(&b, whole, 4);
    return whole;
}

size_t pcapng_statistics(uint8_t out[PCAPNG_SMALL], const struct pcapng_statistics *s)
{
    struct block b = begin(out, BLOCK_STATISTICS);

    put(&b, s->interface, 4);
    put_time(&b, s->time);
    put_option(&b, STATISTICS_BEGAN, 8);
    put_time(&b, s->began);
    put_option(&b, STATISTICS_ENDED, 8);
    put_time(&b, s->time);
    put_count(&b, STATISTICS_SEEN, s->seen);
    put_count(&b, STATISTICS_LOST, s->lost);
    put_count(&b, STATISTICS_MATCHED, s->matched);
    return end(&b);
}
