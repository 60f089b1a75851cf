/* links: guest/load/unpack.c guest/load/unpack_gzip.c guest/load/unpack_xz.c guest/load/unpack_zstd.c arch/x86/lib/crc32.c arch/x86/lib/format.c */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "arch/x86/lib/crc32.h"
#include "guest/load/image.h"
#include "guest/load/unpack.h"
#include "tests/fuzz/require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_crc(uint8_t *at, const uint8_t *data, size_t size)
{
    uint32_t crc = crc32(0, data, size);

    memcpy(at, &crc, sizeof(crc));
}

/* The sums of an xz file's header, first block's header, index and footer, as far as these are
 * there, so that what they guard is looked at. */
static void mend(uint8_t *f, size_t size)
{
    uint8_t *footer = f + size - 12;
    size_t block, index;
    uint32_t units;

    if (size < 32 || f[0] != 0xfd) {
        return;
    }
    memcpy(footer + 8, f + 6, 2);
    put_crc(f + 8, f + 6, 2);
    put_crc(footer, footer + 4, 6);
    block = (f[12] + 1u) * 4;
    if (f[12] && 12 + block <= size) {
        put_crc(f + 12 + block - 4, f + 12, block - 4);
    }
    memcpy(&units, footer + 4, 4);
    index = ((size_t)units + 1) * 4;
    if (index >= 8 && index <= size - 24) {
        put_crc(footer - 4, footer - index, index - 4);
    }
}

/* Byte 0: whether sums are mended, and how much may come out. The rest is the file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static _Alignas(16) uint8_t work[UNPACK_WORK];
    char error[LOAD_ERROR];
    uint8_t *file, *out = NULL;
    unsigned steps = 0;
    uint64_t most;
    struct unpack *u;
    int e;

    if (size < 1 || !unpack_kind(data + 1, size - 1)) {
        return 0;
    }
    file = malloc(size - 1);
    memcpy(file, data + 1, size - 1);
    if (data[0] & 1) {
        mend(file, size - 1);
    }
    most = (data[0] >> 1) * (16 * KIB);
    memset(work, 0x5a, sizeof(work));
    memset(error, 0xa5, sizeof(error));
    u = unpack_begin(work, file, size - 1, most);
    while ((e = unpack_some(u, error)) > 0) {
        REQUIRE(e == UNPACK_MORE || e == UNPACK_ROOM);
        REQUIRE(++steps < 100 + 8 * size);
        if (e == UNPACK_ROOM) {
            REQUIRE(!out && unpack_room(u) <= most);
            out = malloc(unpack_room(u) + 1);
            unpack_into(u, out);
        }
    }
    if (e == UNPACK_DONE) {
        REQUIRE(out && unpack_size(u) <= unpack_room(u));
        volatile uint8_t sum = 0;
        for (uint64_t i = 0; i < unpack_size(u); i++) {
            sum = (uint8_t)(sum + out[i]);
        }
    } else {
        REQUIRE(e == -EBADMSG || e == -ENOMEM);
        REQUIRE(strnlen(error, sizeof(error)) > 10 &&
                strnlen(error, sizeof(error)) < sizeof(error));
    }
    free(out);
    free(file);
    return 0;
}
