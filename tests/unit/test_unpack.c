/* links: guest/load/unpack.c guest/load/unpack_gzip.c guest/load/unpack_xz.c guest/load/unpack_zstd.c arch/x86/lib/crc32.c arch/x86/lib/format.c */
/* What the programs of others pack comes out as it was; what is damaged does not come out. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "arch/x86/lib/crc32.h"
#include "guest/load/image.h"
#include "guest/load/unpack.h"

#define MOST (64 * MIB)

struct bytes {
    uint8_t *data;
    size_t size;
};

static char error[LOAD_ERROR];
static unsigned steps;

static struct bytes read_all(FILE *f)
{
    struct bytes b = {malloc(1 << 16), 0};
    size_t room = 1 << 16, n;

    while ((n = fread(b.data + b.size, 1, room - b.size, f)) > 0) {
        b.size += n;
        if (b.size == room)
            b.data = realloc(b.data, room *= 2);
    }
    return b;
}

/* What a command makes of those bytes. */
static struct bytes pipe_through(const char *command, struct bytes in)
{
    char name[] = "/tmp/corbel-unpack-XXXXXX", line[512];
    int fd = mkstemp(name);
    struct bytes out;
    FILE *f;

    assert_true(fd >= 0 && write(fd, in.data, in.size) == (ssize_t)in.size);
    close(fd);
    snprintf(line, sizeof(line), command, name);
    f = popen(line, "r");
    assert_non_null(f);
    out = read_all(f);
    assert_int_equal(pclose(f), 0);
    unlink(name);
    return out;
}

/* 0, with *out, or the error. Each buffer is as long as it is said to be. */
static int unpack(struct bytes in, uint64_t most, struct bytes *out)
{
    uint8_t *file = malloc(in.size ? in.size : 1);
    void *work = aligned_alloc(16, UNPACK_WORK);
    struct unpack *u;
    int e;

    if (in.size)
        memcpy(file, in.data, in.size);
    memset(work, 0xa5, UNPACK_WORK);
    *out = (struct bytes){NULL, 0};
    steps = 0;
    u = unpack_begin(work, file, in.size, most);
    while ((e = unpack_some(u, error)) > 0) {
        steps++;
        assert_true(steps < 100000);
        if (e == UNPACK_ROOM) {
            assert_null(out->data);
            assert_true(unpack_room(u) <= most);
            out->data = malloc(unpack_room(u) ? unpack_room(u) : 1);
            unpack_into(u, out->data);
        }
    }
    if (e == UNPACK_DONE) {
        assert_true(unpack_size(u) <= unpack_room(u));
        out->size = unpack_size(u);
    }
    free(work);
    free(file);
    return e;
}

static void expect_same(struct bytes packed, struct bytes plain, const char *how)
{
    struct bytes out;
    int e = unpack(packed, MOST, &out);

    if (e)
        fail_msg("%s: %s", how, error);
    if (out.size != plain.size || memcmp(out.data, plain.data, plain.size) != 0)
        fail_msg("%s: %zu bytes come out as something else", how, plain.size);
    free(out.data);
}

static void expect_error(struct bytes packed, uint64_t most, int number, const char *sentence)
{
    struct bytes out;

    assert_int_equal(unpack(packed, most, &out), number);
    assert_string_equal(error, sentence);
    free(out.data);
}

/* Bytes of several kinds: of one value, of code, of text, and of no order at all. */
static struct bytes make(size_t size, unsigned kind)
{
    struct bytes b = {calloc(1, size + 1), size};
    uint32_t random = kind + 1;

    for (size_t i = 0; kind && i < size; i++) {
        random = random * 1664525 + 1013904223;
        b.data[i] = kind == 1   ? (uint8_t)(random >> 24)
                    : kind == 2 ? (uint8_t)(i / 7 * 3 ^ i % 13)
                                : (uint8_t)("\xe8\x12\x34\0\0\x0f\x84\x55\x48\x89"[i % 10] +
                                            (i % 10 == 1 ? random >> 28 : 0));
    }
    return b;
}

static const char *const commands[] = {
    "gzip -1c %s",
    "gzip -9nc %s",
    "xz -0c %s",
    "xz -6c --check=crc32 %s",
    "xz -9c --check=none %s",
    "xz -c --x86 --lzma2=preset=6 --check=crc32 %s",
    "xz -c --x86=start=4096 --lzma2=preset=1,lc=1,lp=2,pb=1 %s",
    "xz -c --block-size=65536 %s",
    "xz -T2 -0c --block-size=300000 %s",
    "zstd -qc %s",
    "zstd -19 -qc %s",
    "cat %s | zstd -3 -qc", /* how much comes out it does not say */
    "cat %s | zstd --no-check -1 -qc",
    "zstd --ultra -22 --long=27 -qc %s",
};

static void pack_and_unpack(const char *command, size_t size, unsigned kind)
{
    struct bytes plain = make(size, kind), packed = pipe_through(command, plain);

    expect_same(packed, plain, command);
    assert_non_null(unpack_kind(packed.data, packed.size));
    free(packed.data);
    free(plain.data);
}

static void test_what_others_pack(void **state)
{
    for (size_t c = 0; c < ARRAY_SIZE(commands); c++) {
        pack_and_unpack(commands[c], 0, 0);
        pack_and_unpack(commands[c], 1, 1);
        pack_and_unpack(commands[c], 65536, 2);
        pack_and_unpack(commands[c], 300000, 1);
        pack_and_unpack(commands[c], 700001, 3);
    }
    pack_and_unpack("gzip -1c %s", 3 * MIB + 5, 3);
    pack_and_unpack("xz -c --x86 --lzma2=preset=0 %s", 3 * MIB + 5, 3);
    pack_and_unpack("zstd -1qc %s", 3 * MIB + 5, 3);
}

static struct bytes join(struct bytes a, struct bytes b)
{
    struct bytes both = {malloc(a.size + b.size + 1), a.size + b.size};

    memcpy(both.data, a.data, a.size);
    memcpy(both.data + a.size, b.data, b.size);
    return both;
}

/* Several in one, zeros behind it, something else behind it. */
static void test_what_follows(void **state)
{
    static const char *const each[] = {"gzip -c %s", "zstd -qc %s", "xz -c %s"};
    struct bytes plain = make(5000, 2), zeros = {calloc(1, 600), 600}, twice = join(plain, plain);

    for (unsigned i = 0; i < ARRAY_SIZE(each); i++) {
        struct bytes packed = pipe_through(each[i], plain), both = join(packed, packed),
                     padded = join(packed, zeros), more;

        expect_same(padded, plain, each[i]);
        if (i < 2)
            expect_same(both, twice, each[i]);
        else
            expect_error(both, MOST, -EBADMSG,
                         "is packed with xz in several streams, of which one is possible; pack it "
                         "again");
        padded.data[padded.size - 1] = 1;
        assert_int_equal(unpack(padded, MOST, &more), -EBADMSG);
        free(more.data);
        free(packed.data);
        free(both.data);
        free(padded.data);
    }
    free(plain.data);
    free(zeros.data);
    free(twice.data);
}

/* gzip's header with all that may be in it. */
static void test_gzip_headers(void **state)
{
    static const uint8_t extra[] = {5, 0, 1, 2, 3, 4, 5};
    struct bytes plain = make(3000, 2), packed = pipe_through("gzip -nc %s", plain);
    struct bytes long_one = {malloc(packed.size + 100), 0};
    uint8_t *p = long_one.data;

    memcpy(p, packed.data, 10);
    p[3] = 0x1e;
    p += 10;
    memcpy(p, extra, sizeof(extra));
    p += sizeof(extra);
    memcpy(p, "name\0comment\0\x12\x34", 15);
    p += 15;
    long_one.size = (size_t)(p - long_one.data) + packed.size - 10;
    memcpy(p, packed.data + 10, packed.size - 10);
    expect_same(long_one, plain, "all of a header");
    for (size_t cut = 10; cut < 32; cut++) {
        expect_error((struct bytes){long_one.data, cut}, MOST, -EBADMSG,
                     cut == 10   ? "is packed with gzip and truncated at 10 bytes; copy it again"
                     : cut == 31 ? "is packed with gzip and truncated at 31 bytes; copy it again"
                                 : error);
        assert_non_null(strstr(error, "truncated"));
    }
    packed.data[2] = 7;
    expect_error(packed, MOST, -EBADMSG,
                 "is packed with gzip by a method that is not known; pack it again");
    packed.data[2] = 8;
    packed.data[3] = 0x20;
    expect_error(packed, MOST, -EBADMSG,
                 "is packed with gzip by a method that is not known; pack it again");
    packed.data[3] = 0;
    packed.data[packed.size - 8] ^= 1; /* the sum */
    expect_error(packed, MOST, -EBADMSG, "is packed with gzip and damaged; copy it again");
    packed.data[packed.size - 8] ^= 1;
    packed.data[packed.size - 4] ^= 1; /* the length */
    expect_error(packed, MOST, -EBADMSG, "is packed with gzip and damaged; copy it again");
    free(long_one.data);
    free(packed.data);
    free(plain.data);
}

/* Cut off anywhere, or with a bit that is wrong anywhere: an error, or what it was. */
static void test_damage(void **state)
{
    static const char *const each[] = {"gzip -c %s", "xz -c --x86 --lzma2=preset=6 %s",
                                       "xz -c --block-size=1000 --check=crc32 %s", "zstd -qc %s",
                                       "cat %s | zstd --check -qc"};
    struct bytes plain = make(2500, 3);

    for (unsigned i = 0; i < ARRAY_SIZE(each); i++) {
        struct bytes packed = pipe_through(each[i], plain), out;

        for (size_t cut = 6; cut < packed.size; cut++) {
            int e = unpack((struct bytes){packed.data, cut}, MOST, &out);

            assert_true(e == -EBADMSG);
            assert_non_null(strstr(error, "copy it again"));
            free(out.data);
        }
        for (size_t bit = 6 * 8; bit < packed.size * 8; bit++) {
            packed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            int e = unpack(packed, 4 * MIB, &out);

            if (e == 0)
                assert_true(out.size == plain.size &&
                            memcmp(out.data, plain.data, plain.size) == 0);
            else
                assert_true(e == -EBADMSG || e == -ENOMEM);
            packed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            free(out.data);
        }
        free(packed.data);
    }
    free(plain.data);
}

/* Small files of which much comes out. */
static void test_bombs(void **state)
{
    struct bytes plain = make(8 * MIB, 0);

    for (size_t c = 0; c < ARRAY_SIZE(commands); c += 2) {
        struct bytes packed = pipe_through(commands[c], plain), out;

        assert_true(packed.size < MIB);
        assert_int_equal(unpack(packed, 3 * MIB, &out), -ENOMEM);
        assert_null(out.data); /* nothing was asked for */
        assert_non_null(strstr(error,
                               ", and more comes out than may: 3M, which is the VM's memory, "
                               "or 1024M where it has more"));
        assert_int_equal(unpack(packed, 8 * MIB - 1, &out), -ENOMEM);
        /* where zstd has not said how much it is, its last block might be full */
        assert_int_equal(unpack(packed, 8 * MIB + 256 * KIB, &out), 0);
        assert_int_equal(out.size, 8 * MIB);
        assert_true(steps >= 8 * MIB / (512 * KIB));
        free(out.data);
        free(packed.data);
    }
    free(plain.data);
}

/* Whatever a caller allows, and a file says. */
static void test_no_file_may_be_larger(void **state)
{
    /* A frame that says how much it is, and has one block of nothing. */
    uint8_t file[16] = {0x28, 0xb5, 0x2f, 0xfd, 0xe0, [13] = 1};
    void *work = aligned_alloc(16, UNPACK_WORK);

    for (unsigned more = 0; more < 2; more++) {
        uint64_t bytes = GIB + more;
        struct unpack *u = unpack_begin(work, file, sizeof(file), UINT64_MAX);

        memcpy(file + 5, &bytes, sizeof(bytes));
        assert_int_equal(unpack_some(u, error), more ? -ENOMEM : UNPACK_ROOM);
        if (more)
            assert_non_null(strstr(error, "more comes out than may: 1024M, which"));
        else
            assert_int_equal(unpack_room(u), GIB);
    }
    free(work);
}

/* A frame that ends too soon, and one with a block of a kind that there is not. */
static void test_blocks_of_zstd(void **state)
{
    uint8_t file[16] = {0x28, 0xb5, 0x2f, 0xfd, 0xe0, [13] = 7};

    expect_error((struct bytes){file, 15}, MOST, -EBADMSG,
                 "is packed with zstd and truncated at 15 bytes; copy it again");
    expect_error((struct bytes){file, 16}, MOST, -EBADMSG,
                 "is packed with zstd and damaged; copy it again");
}

static void test_what_is_not_known(void **state)
{
    struct bytes plain = make(5000, 2);
    struct bytes sha = pipe_through("xz -c --check=sha256 %s", plain);
    struct bytes delta = pipe_through("xz -c --delta --lzma2 %s", plain);
    struct bytes three = pipe_through("xz -c --x86 --delta --lzma2 %s", plain);

    expect_error(sha, MOST, -EBADMSG,
                 "is packed with xz with a check that is not known; pack it again with "
                 "--check=crc64 or crc32");
    expect_error(delta, MOST, -EBADMSG,
                 "is packed with xz with a filter that is not known; pack it again with --lzma2 "
                 "alone, or --x86 --lzma2");
    expect_error(three, MOST, -EBADMSG,
                 "is packed with xz with a filter that is not known; pack it again with --lzma2 "
                 "alone, or --x86 --lzma2");
    free(sha.data);
    free(delta.data);
    free(three.data);
    free(plain.data);
}

/* An index that would take long to read is not read at all, whatever is in it; others have to have
 * their sum. */
static void test_index_of_an_xz_file(void **state)
{
    struct bytes plain = make(5000, 2), packed = pipe_through("xz -c %s", plain);
    struct bytes f = {calloc(1, packed.size + 256 * KIB + 4), packed.size + 256 * KIB + 4};
    uint8_t *footer = f.data + f.size - 12;
    uint32_t units = 256 * KIB / 4 - 1, crc;

    memcpy(f.data, packed.data, packed.size - 12);
    memcpy(footer, packed.data + packed.size - 12, 12);
    for (unsigned more = 0; more < 2; more++, units++) {
        memcpy(footer + 4, &units, 4);
        crc = crc32(0, footer + 4, 6);
        memcpy(footer, &crc, 4);
        expect_error(f, MOST, -EBADMSG,
                     more ? "is packed with xz in more blocks than are possible; pack it again in "
                            "larger ones"
                          : "is packed with xz and damaged; copy it again");
    }
    packed.data[packed.size - 12 - 1] ^= 1; /* its sum */
    expect_error(packed, MOST, -EBADMSG, "is packed with xz and damaged; copy it again");
    free(f.data);
    free(packed.data);
    free(plain.data);
}

static void test_kinds(void **state)
{
    static const uint8_t gzip[] = {0x1f, 0x8b}, xz[] = {0xfd, '7', 'z', 'X', 'Z', 0},
                         zstd[] = {0x28, 0xb5, 0x2f, 0xfd};

    assert_string_equal(unpack_kind(gzip, 2), "gzip");
    assert_string_equal(unpack_kind(xz, 6), "xz");
    assert_string_equal(unpack_kind(zstd, 4), "zstd");
    assert_null(unpack_kind(gzip, 1));
    assert_null(unpack_kind(xz, 5));
    assert_null(unpack_kind(zstd, 3));
    assert_null(unpack_kind("", 0));
    assert_null(unpack_kind("MZ234567", 8));
    for (unsigned size = 2; size < 24; size++) { /* a file that is cut off in its header */
        uint8_t file[32] = {0};
        memcpy(file, size < 4 ? gzip : size < 6 ? zstd : xz, size < 4 ? 2 : size < 6 ? 4 : 6);
        struct bytes out;
        assert_int_equal(unpack((struct bytes){file, size}, MOST, &out), -EBADMSG);
        assert_true(strlen(error) > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_what_others_pack),
        cmocka_unit_test(test_what_follows),
        cmocka_unit_test(test_gzip_headers),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_index_of_an_xz_file),
        cmocka_unit_test(test_blocks_of_zstd),
        cmocka_unit_test(test_what_is_not_known),
        cmocka_unit_test(test_no_file_may_be_larger),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
