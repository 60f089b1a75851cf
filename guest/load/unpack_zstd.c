/* zstd (RFC 8878), with libzstd's decoder: block by block straight to where it belongs, which is
 * the window for what follows, too. */
#include "guest/load/unpack_internal.h"

#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

struct zstd {
    ZSTD_DCtx *context;
    bool frame; /* it is in the middle of one */
};

/* How much comes out of the file, at most: frame after frame, by what their headers say, or else by
 * their blocks. Frames are followed by nothing, or zeros. */
static int measure(struct unpack *u, char *error)
{
    uint64_t at = 0;

    while (at < u->size && u->in[at]) {
        size_t size = ZSTD_findFrameCompressedSize(u->in + at, u->size - at);
        unsigned long long bytes;

        if (ZSTD_isError(size)) {
            return ZSTD_getErrorCode(size) == ZSTD_error_srcSize_wrong ? unpack_truncated(u, error)
                                                                       : unpack_damaged(u, error);
        }
        bytes = ZSTD_decompressBound(u->in + at, size);
        if (bytes == ZSTD_CONTENTSIZE_ERROR) {
            return unpack_damaged(u, error);
        }
        if (bytes > u->most - u->room) {
            return unpack_too_much(u, error);
        }
        u->room += bytes;
        at += size;
    }
    return UNPACK_ROOM;
}

static int begin(struct unpack *u, char *error)
{
    struct zstd *z = unpack_alloc(u, sizeof(*z));
    size_t size = ZSTD_estimateDCtxSize();
    void *memory = unpack_alloc(u, size);

    u->state = z;
    z->context = memory ? ZSTD_initStaticDCtx(memory, size) : NULL;
    return z->context ? measure(u, error) : unpack_damaged(u, error);
}

static int zstd_some(struct unpack *u, char *error)
{
    struct zstd *z = u->state;
    uint64_t from = u->at, before = u->done;

    if (!z) {
        return begin(u, error);
    }
    if (!z->frame && (u->at == u->size || !u->in[u->at])) {
        return unpack_check_rest(u, error);
    }
    if (!z->frame) {
        z->frame = !ZSTD_isError(ZSTD_decompressBegin(z->context));
    }
    /* A header, a block, a checksum: no piece of a file is larger than a block. */
    while (z->frame && u->done - before < UNPACK_PIECE && u->at - from < UNPACK_PIECE) {
        size_t next = ZSTD_nextSrcSizeToDecompress(z->context), bytes;

        if (next == 0) {
            z->frame = false;
            return UNPACK_MORE;
        }
        if (next > u->size - u->at) {
            return unpack_truncated(u, error);
        }
        bytes = ZSTD_decompressContinue(z->context, u->out + u->done, u->room - u->done,
                                        u->in + u->at, next);
        if (ZSTD_isError(bytes)) {
            return unpack_damaged(u, error);
        }
        u->at += next;
        u->done += bytes;
    }
    return z->frame ? UNPACK_MORE : unpack_damaged(u, error);
}

const struct packer unpack_zstd = {"zstd", 4, "\x28\xb5\x2f\xfd", zstd_some};
