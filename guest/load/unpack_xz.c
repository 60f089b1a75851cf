/*
 * xz (The .xz File Format, version 1.1.0): one stream of any number of blocks, with LZMA2 and
 * before that the filter for x86, by 7-Zip's decoders. The index at its end says where the blocks
 * are and how much comes out of each. Blocks are unpacked straight to where they belong, which is
 * their dictionary, too, however large they want one. As the index is read in one go, it may not be
 * larger than any piece.
 */
#include "arch/x86/lib/crc32.h"
#include "arch/x86/lib/string.h"
#include "guest/load/bytes.h"
#include "guest/load/unpack_internal.h"

#include <Bra.h>
#include <Lzma2Dec.h>

#define HEADER       12 /* magic, flags, CRC-32 */
#define FOOTER       12 /* CRC-32, size of the index, flags, magic */
#define FOOTER_MAGIC 0x5a59
#define INDEX_LEAST  8 /* indicator, number of records, padding, CRC-32 */
#define INDEX_MOST   UNPACK_PIECE
#define UNIT         4

#define CHECK_NONE  0
#define CHECK_CRC32 1
#define CHECK_CRC64 4

#define BLOCK_FILTERS  0x03 /* how many but one */
#define BLOCK_RESERVED 0x3c
#define BLOCK_PACKED   0x40 /* its sizes are told */
#define BLOCK_UNPACKED 0x80
#define FILTER_X86     4
#define FILTER_LZMA2   0x21

/* A span of the file, read from its front. */
struct reader {
    const uint8_t *data;
    uint64_t left;
};

struct xz {
    uint8_t check, check_size;
    struct reader records; /* of blocks that have not begun */
    uint64_t blocks;       /* how many those are */
    enum { BETWEEN, DECODES, FILTERS, CHECKS } state;
    /* Of the block that has: */
    uint8_t *out;
    uint64_t packed, bytes;     /* what is left to be read; what comes out */
    uint64_t filtered, checked; /* how many of these have been */
    bool x86;
    uint32_t x86_start, x86_state;
    uint64_t sum;
    CLzma2Dec decoder;
    ISzAlloc alloc;
    struct unpack *u;
};

static void *alloc(ISzAllocPtr p, size_t size)
{
    return unpack_alloc(CONTAINER_OF(p, struct xz, alloc)->u, size);
}

static void no_free(ISzAllocPtr p, void *address)
{
}

/* CRC-64 as in ECMA-182, reflected; four bits at a time. */
static uint64_t crc64(uint64_t crc, const uint8_t *data, uint64_t size)
{
    static const uint64_t table[16] = {
        0x0000000000000000, 0x7d9ba13851336649, 0xfb374270a266cc92, 0x86ace348f355aadb,
        0x64b62bcaebc387a1, 0x192d8af2baf0e1e8, 0x9f8169ba49a54b33, 0xe21ac88218962d7a,
        0xc96c5795d7870f42, 0xb4f7f6ad86b4690b, 0x325b15e575e1c3d0, 0x4fc0b4dd24d2a599,
        0xadda7c5f3c4488e3, 0xd041dd676d77eeaa, 0x56ed3e2f9e224471, 0x2b769f17cf112238,
    };

    crc = ~crc;
    for (uint64_t i = 0; i < size; i++) {
        crc ^= data[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

/* --- the format's numbers --- */

static bool read_byte(struct reader *r, uint8_t *value)
{
    if (r->left == 0) {
        return false;
    }
    *value = *r->data++;
    r->left--;
    return true;
}

/* Seven bits in each byte, the lowest first; the last byte is not 0, unless it is the only one. */
static bool read_number(struct reader *r, uint64_t *value)
{
    uint8_t byte;

    *value = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
        if (!read_byte(r, &byte)) {
            return false;
        }
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            return byte || !shift;
        }
    }
    return false;
}

static bool is_zero(const struct reader *r)
{
    for (uint64_t i = 0; i < r->left; i++) {
        if (r->data[i]) {
            return false;
        }
    }
    return true;
}

/* --- the stream --- */

/* A block's record in the index: its size in the file without padding, and what comes out. */
static bool read_record(struct reader *r, uint64_t *unpadded, uint64_t *bytes)
{
    return read_number(r, unpadded) && read_number(r, bytes) && *unpadded >= UNIT + 1 &&
           *unpadded < BIT(62);
}

/* All blocks: they lie between header and index, one after the other. */
static int measure(struct unpack *u, struct xz *x, uint64_t index, char *error)
{
    struct reader r = x->records;
    uint64_t sum = HEADER, unpadded, bytes;

    for (uint64_t i = 0; i < x->blocks; i++) {
        if (!read_record(&r, &unpadded, &bytes) ||
            ALIGN_UP(unpadded, (uint64_t)UNIT) > index - sum) {
            return unpack_damaged(u, error);
        }
        sum += ALIGN_UP(unpadded, (uint64_t)UNIT);
        if (bytes > u->most - u->room) {
            return unpack_too_much(u, error);
        }
        u->room += bytes;
    }
    if (r.left >= UNIT || !is_zero(&r)) {
        return unpack_damaged(u, error);
    }
    if (sum != index) {
        return unpack_unknown(u, error,
                              "in several streams, of which one is possible; pack it again");
    }
    return 0;
}

static int check_flags(const struct unpack *u, struct xz *x, char *error)
{
    static const uint8_t sizes[16] = {0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64};

    if (u->in[6] || u->in[7] > 0x0f ||
        (u->in[7] != CHECK_NONE && u->in[7] != CHECK_CRC32 && u->in[7] != CHECK_CRC64)) {
        return unpack_unknown(
            u, error, "with a check that is not known; pack it again with --check=crc64 or crc32");
    }
    x->check = u->in[7];
    x->check_size = sizes[x->check];
    return 0;
}

/* Header, footer and index; zeros behind them belong to nothing. */
static int read_stream(struct unpack *u, struct xz *x, char *error)
{
    uint64_t end = u->size, index_size;
    const uint8_t *footer, *index;
    int e;

    if (u->size < HEADER || get32(u->in + 8) != crc32(0, u->in + 6, 2)) {
        return u->size < HEADER ? unpack_truncated(u, error) : unpack_damaged(u, error);
    }
    e = check_flags(u, x, error);
    if (e < 0) {
        return e;
    }
    while (end > HEADER && u->in[end - 1] == 0) {
        end--;
    }
    footer = u->in + end - FOOTER;
    if (end < HEADER + INDEX_LEAST + FOOTER || get16(footer + 10) != FOOTER_MAGIC ||
        get32(footer) != crc32(0, footer + 4, 6)) {
        return unpack_truncated(u, error);
    }
    index_size = ((uint64_t)get32(footer + 4) + 1) * UNIT;
    if (get16(footer + 8) != get16(u->in + 6) || index_size < INDEX_LEAST ||
        index_size > end - HEADER - FOOTER) {
        return unpack_damaged(u, error);
    }
    if (index_size > INDEX_MOST) {
        return unpack_unknown(u, error,
                              "in more blocks than are possible; pack it again in larger ones");
    }
    index = footer - index_size;
    if (index[0] != 0 || get32(footer - 4) != crc32(0, index, index_size - 4)) {
        return unpack_damaged(u, error);
    }
    x->records = (struct reader){index + 1, index_size - 1 - 4};
    if (!read_number(&x->records, &x->blocks)) {
        return unpack_damaged(u, error);
    }
    return measure(u, x, (uint64_t)(index - u->in), error);
}

static int begin(struct unpack *u, char *error)
{
    struct xz *x = unpack_alloc(u, sizeof(*x));
    int e;

    x->u = u;
    Lzma2Dec_CONSTRUCT(&x->decoder);
    x->alloc = (ISzAlloc){alloc, no_free};
    u->state = x;
    e = read_stream(u, x, error);
    u->at = HEADER;
    return e ? e : UNPACK_ROOM;
}

/* --- a block --- */

/* Its filters: LZMA2 is the last one. *property: of its dictionary. */
static bool read_filters(struct xz *x, struct reader *r, unsigned count, uint8_t *property)
{
    uint64_t id, size;

    x->x86 = count == 2;
    x->x86_start = x->x86_state = Z7_BRANCH_CONV_ST_X86_STATE_INIT_VAL;
    if (count > 2) {
        return false;
    }
    if (x->x86) {
        if (!read_number(r, &id) || !read_number(r, &size) || id != FILTER_X86 ||
            (size != 0 && size != 4) || size > r->left) {
            return false;
        }
        if (size) {
            x->x86_start = get32(r->data);
            r->data += size;
            r->left -= size;
        }
    }
    return read_number(r, &id) && read_number(r, &size) && id == FILTER_LZMA2 && size == 1 &&
           read_byte(r, property);
}

static int begin_block(struct unpack *u, struct xz *x, char *error)
{
    const uint8_t *header = u->in + u->at;
    uint64_t unpadded, header_size = ((uint64_t)header[0] + 1) * UNIT, told;
    uint8_t flags, property;
    struct reader r;

    if (!read_record(&x->records, &unpadded, &x->bytes) || header[0] == 0 ||
        unpadded <= header_size + x->check_size ||
        get32(header + header_size - 4) != crc32(0, header, header_size - 4)) {
        return unpack_damaged(u, error);
    }
    x->blocks--;
    x->packed = unpadded - header_size - x->check_size;
    r = (struct reader){header + 2, header_size - 2 - 4};
    flags = header[1];
    if (flags & BLOCK_RESERVED ||
        (flags & BLOCK_PACKED && (!read_number(&r, &told) || told != x->packed)) ||
        (flags & BLOCK_UNPACKED && (!read_number(&r, &told) || told != x->bytes))) {
        return unpack_damaged(u, error);
    }
    if (!read_filters(x, &r, (flags & BLOCK_FILTERS) + 1u, &property)) {
        return unpack_unknown(
            u, error,
            "with a filter that is not known; pack it again with --lzma2 alone, or --x86 --lzma2");
    }
    if (!is_zero(&r)) {
        return unpack_damaged(u, error);
    }
    x->out = u->out + u->done;
    if (Lzma2Dec_AllocateProbs(&x->decoder, property, &x->alloc) != SZ_OK) {
        return unpack_damaged(u, error);
    }
    x->decoder.decoder.dic = x->out;
    x->decoder.decoder.dicBufSize = x->bytes;
    Lzma2Dec_Init(&x->decoder);
    x->filtered = x->checked = x->sum = 0;
    x->state = DECODES;
    u->at += header_size;
    return UNPACK_MORE;
}

static int decode_some(struct unpack *u, struct xz *x, char *error)
{
    CLzmaDec *d = &x->decoder.decoder;
    SizeT before = d->dicPos, limit = MIN(before + UNPACK_PIECE, x->bytes);
    SizeT read = MIN(x->packed, UNPACK_PIECE);
    ELzmaStatus status;
    SRes e = Lzma2Dec_DecodeToDic(&x->decoder, limit, u->in + u->at, &read,
                                  limit == x->bytes ? LZMA_FINISH_END : LZMA_FINISH_ANY, &status);

    u->at += read;
    x->packed -= read;
    if (e == SZ_OK && status == LZMA_STATUS_FINISHED_WITH_MARK) {
        x->state = FILTERS;
        return d->dicPos == x->bytes && x->packed == 0 ? UNPACK_MORE : unpack_damaged(u, error);
    }
    return e == SZ_OK && (read || d->dicPos != before) ? UNPACK_MORE : unpack_damaged(u, error);
}

/* The filter knows the next four bytes behind those that it has done, and leaves the last as they
 * are. */
static int filter_some(struct xz *x)
{
    uint64_t size = MIN(x->bytes - x->filtered, UNPACK_PIECE);
    uint8_t *from = x->out + x->filtered, *to;

    if (!x->x86 || size == 0) {
        x->state = CHECKS;
        return UNPACK_MORE;
    }
    to = z7_BranchConvSt_X86_Dec(from, size, x->x86_start + (uint32_t)x->filtered, &x->x86_state);
    x->filtered = to == from ? x->bytes : x->filtered + (uint64_t)(to - from);
    return UNPACK_MORE;
}

static int check_some(struct unpack *u, struct xz *x, char *error)
{
    uint64_t size = MIN(x->bytes - x->checked, UNPACK_PIECE);
    const uint8_t *from = x->out + x->checked, *told;

    if (size) {
        x->sum = x->check == CHECK_CRC64   ? crc64(x->sum, from, size)
                 : x->check == CHECK_CRC32 ? crc32((uint32_t)x->sum, from, size)
                                           : 0;
        x->checked += size;
        return UNPACK_MORE;
    }
    while (u->at % UNIT) {
        if (u->in[u->at++]) {
            return unpack_damaged(u, error);
        }
    }
    told = u->in + u->at;
    if ((x->check == CHECK_CRC64 && get64(told) != x->sum) ||
        (x->check == CHECK_CRC32 && get32(told) != x->sum)) {
        return unpack_damaged(u, error);
    }
    u->at += x->check_size;
    u->done += x->bytes;
    x->state = BETWEEN;
    return UNPACK_MORE;
}

static int xz_some(struct unpack *u, char *error)
{
    struct xz *x = u->state;

    if (!x) {
        return begin(u, error);
    }
    switch (x->state) {
    case DECODES:
        return decode_some(u, x, error);
    case FILTERS:
        return filter_some(x);
    case CHECKS:
        return check_some(u, x, error);
    default:
        return x->blocks ? begin_block(u, x, error) : UNPACK_DONE;
    }
}

const struct packer unpack_xz = {"xz", 6,
                                 "\xfd"
                                 "7zXZ",
                                 xz_some};
