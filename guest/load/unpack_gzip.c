/*
 * gzip (RFC 1952), with zlib's inflate. How much comes out the file tells only modulo 4 GiB, for
 * its last member, and behind nothing that could be found from its end: so it is unpacked twice,
 * and at first only counted.
 */
#include "arch/x86/lib/crc32.h"
#include "arch/x86/lib/string.h"
#include "guest/load/bytes.h"
#include "guest/load/unpack_internal.h"

#include <zlib.h>
#undef crc32 /* ours, and not zlib's */

#define HEADER  10 /* magic, method, flags, time, extra flags, system */
#define TRAILER 8  /* CRC-32, size modulo 2^32 */
#define DEFLATE 8

#define FLAG_HEADER_CRC BIT(1)
#define FLAG_EXTRA      BIT(2)
#define FLAG_NAME       BIT(3)
#define FLAG_COMMENT    BIT(4)
#define FLAGS           0x1f

#define SCRAP (64 * KIB) /* where what is counted goes */

struct gzip {
    z_stream stream;
    bool member; /* it is in the middle of one, */
    uint32_t crc, bytes;
    uint8_t *scrap;
};

static voidpf alloc(voidpf opaque, uInt items, uInt size)
{
    return unpack_alloc(opaque, (size_t)items * size);
}

static void no_free(voidpf opaque, voidpf p)
{
}

static bool is_member(const struct unpack *u)
{
    return u->size - u->at >= 2 && u->in[u->at] == 0x1f && u->in[u->at + 1] == 0x8b;
}

/* Past a text of the header, with its NUL. */
static uint64_t skip_text(const struct unpack *u, uint64_t at)
{
    while (at < u->size && u->in[at]) {
        at++;
    }
    return at + 1;
}

static int read_header(struct unpack *u, char *error)
{
    const uint8_t *h = u->in + u->at;
    uint64_t at = u->at + HEADER;

    if (at > u->size) {
        return unpack_truncated(u, error);
    }
    if (h[2] != DEFLATE || h[3] & ~FLAGS) {
        return unpack_unknown(u, error, "by a method that is not known; pack it again");
    }
    if (h[3] & FLAG_EXTRA) {
        at = at + 2 <= u->size ? at + 2 + get16(u->in + at) : u->size + 1;
    }
    if (h[3] & FLAG_NAME) {
        at = skip_text(u, at);
    }
    if (h[3] & FLAG_COMMENT) {
        at = skip_text(u, at);
    }
    if (h[3] & FLAG_HEADER_CRC) {
        at += 2;
    }
    if (at > u->size) {
        return unpack_truncated(u, error);
    }
    u->at = at;
    return 0;
}

static int begin_member(struct unpack *u, struct gzip *g, char *error)
{
    int e = read_header(u, error);

    if (e == 0 && inflateReset(&g->stream) != Z_OK) {
        e = unpack_damaged(u, error);
    }
    g->member = true;
    g->crc = g->bytes = 0;
    return e;
}

static int end_member(struct unpack *u, struct gzip *g, char *error)
{
    const uint8_t *trailer = u->in + u->at;

    if (u->size - u->at < TRAILER) {
        return unpack_truncated(u, error);
    }
    if (get32(trailer + 4) != g->bytes || (u->out && get32(trailer) != g->crc)) {
        return unpack_damaged(u, error);
    }
    u->at += TRAILER;
    g->member = false;
    return 0;
}

/* All of the file has been seen. */
static int finish(struct unpack *u, char *error)
{
    int e = unpack_check_rest(u, error);

    if (e < 0 || u->out) {
        return e;
    }
    u->room = u->done;
    u->at = u->done = 0;
    return UNPACK_ROOM;
}

static int begin(struct unpack *u, char *error)
{
    struct gzip *g = unpack_alloc(u, sizeof(*g));

    g->scrap = unpack_alloc(u, SCRAP);
    g->stream = (z_stream){.zalloc = alloc, .zfree = no_free, .opaque = u};
    u->state = g;
    return inflateInit2(&g->stream, -MAX_WBITS) == Z_OK ? UNPACK_MORE : unpack_damaged(u, error);
}

static int gzip_some(struct unpack *u, char *error)
{
    struct gzip *g = u->state;
    uint64_t room = UNPACK_PIECE;
    uInt in, out;
    uint8_t *to;
    int e, result;

    if (!g) {
        return begin(u, error);
    }
    if (!g->member) {
        e = is_member(u) ? begin_member(u, g, error) : finish(u, error);
        return e || !g->member ? e : UNPACK_MORE;
    }
    if (u->out) {
        to = u->out + u->done;
        room = MIN(room, u->room - u->done);
    } else {
        to = g->scrap;
        room = SCRAP;
    }
    in = (uInt)MIN(u->size - u->at, (uint64_t)UNPACK_PIECE);
    out = (uInt)room;
    g->stream.next_in = (z_const Bytef *)(u->in + u->at);
    g->stream.avail_in = in;
    g->stream.next_out = to;
    g->stream.avail_out = out;
    result = inflate(&g->stream, Z_NO_FLUSH);
    in -= g->stream.avail_in;
    out -= g->stream.avail_out;
    u->at += in;
    u->done += out;
    g->bytes += out;
    if (u->out) {
        g->crc = crc32(g->crc, to, out);
    }
    if (u->done > u->most) {
        return unpack_too_much(u, error);
    }
    if (result == Z_STREAM_END) {
        e = end_member(u, g, error);
        return e ? e : UNPACK_MORE;
    }
    if (result != Z_OK && result != Z_BUF_ERROR) {
        return unpack_damaged(u, error);
    }
    if (in || out) {
        return UNPACK_MORE;
    }
    return u->at == u->size ? unpack_truncated(u, error) : unpack_damaged(u, error);
}

const struct packer unpack_gzip = {"gzip", 2, "\x1f\x8b", gzip_some};
