/* links: guest/storage/store.c guest/storage/store_area.c arch/x86/lib/crc32.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
/*
 * Corbel's own partition: an area holds what it held before the write that was under way, or after
 * it, whenever the power goes, and whatever the drive's cache makes of that. CORBEL_CUTS cuts in a
 * row; where that is not set 1,000, which in `make test-all` are 10,000.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <limits.h>

#include "arch/x86/lib/crc32.h"
#include "arch/x86/lib/log.h"
#include "tests/unit/store_drive.h"

void *phys_to_virt(paddr pa)
{
    return (void *)pa;
}

static struct store store;
static const char *why;

static int open(void)
{
    why = NULL;
    return store_open(&store, &drive, drive_wait, &why);
}

static int setup(void **state)
{
    drive_init();
    assert_int_equal(open(), 0);
    return 0;
}

static int teardown(void **state)
{
    store_close(&store);
    assert_int_equal(frames, 0);
    return 0;
}

static void reopen(void)
{
    store_close(&store);
    assert_int_equal(open(), 0);
}

/* What block i of that version is. */
static const uint8_t *block_of(unsigned version, uint32_t i)
{
    static uint8_t block[STORE_BLOCK];

    memset(block, (int)(version + i), sizeof(block));
    memcpy(block, &version, sizeof(version));
    return block;
}

static struct store_area *get(const char *name, uint32_t content)
{
    struct store_area *a = store_variables(&store, name, content);

    assert_non_null(a);
    assert_int_equal(store_save(&store), 0);
    return a;
}

static void fill(struct store_area *a, unsigned version)
{
    for (uint32_t i = 0; i < a->entry.content; i++)
        store_area_put(a, i, block_of(version, i));
    store_area_write(a);
}

static void expect_version(const struct store_area *a, unsigned version)
{
    assert_non_null(store_area_content(a));
    for (uint32_t i = 0; i < a->entry.content; i++)
        assert_memory_equal(store_area_content(a) + i * STORE_BLOCK, block_of(version, i),
                            STORE_BLOCK);
}

static struct store_area *load(const char *name, uint32_t content, int how)
{
    struct store_area *a = get(name, content);

    assert_int_equal(store_area_load(a), how);
    return a;
}

/* --- what is there --- */

static void a_blank_partition_gets_a_directory(void **state)
{
    assert_memory_equal(medium, STORE_DIRECTORY_MAGIC, 8);
    assert_memory_equal(medium + STORE_SECOND * STORE_BLOCK, STORE_DIRECTORY_MAGIC, 8);
    assert_int_equal(store_free(&store), DRIVE_SIZE / STORE_BLOCK - STORE_FIRST);
    reopen();
    assert_false(store.changed);
    assert_null(store.first);
}

static void what_was_written_is_there_again(void **state)
{
    struct store_area *a = load("web", 5, STORE_EMPTY);

    assert_null(store_area_content(a));
    fill(a, 7);
    assert_true(store_area_idle(a));
    fill(load("db", 3, STORE_EMPTY), 100);
    reopen();
    expect_version(load("web", 5, STORE_WHOLE), 7);
    expect_version(load("db", 3, STORE_WHOLE), 100);
    assert_null(store_area_content(load("web", 3, STORE_EMPTY))); /* of another size */
    assert_null(store_area_content(load("dc", 3, STORE_EMPTY)));
    assert_int_equal(store_free(&store), DRIVE_SIZE / STORE_BLOCK - STORE_FIRST - 12 - 3 * 8);
}

/* A block of one copy, and what describes it, and a FLUSH; then the other one's. */
static void only_what_has_changed_is_written(void **state)
{
    struct store_area *a = load("web", 5, STORE_EMPTY);

    fill(a, 7);
    asked = 0;
    store_area_write(a);
    assert_int_equal(asked, 0);
    store_area_put(a, 3, block_of(9, 3));
    store_area_write(a);
    assert_int_equal(asked, 6);
    reopen();
    a = load("web", 5, STORE_WHOLE);
    assert_memory_equal(store_area_content(a) + 3 * STORE_BLOCK, block_of(9, 3), STORE_BLOCK);
    assert_memory_equal(store_area_content(a) + 4 * STORE_BLOCK, block_of(7, 4), STORE_BLOCK);
}

static void what_is_forgotten_is_not_there(void **state)
{
    fill(load("web", 5, STORE_EMPTY), 7);
    fill(load("db", 5, STORE_EMPTY), 8);
    reopen();
    struct store_area *a = get("web", 5);
    assert_false(a->empty);
    assert_int_equal(store_area_forget(a), 0); /* without having been loaded */
    assert_true(a->empty);
    reopen();
    a = load("web", 5, STORE_EMPTY);
    expect_version(load("db", 5, STORE_WHOLE), 8);
    fill(a, 9);
    assert_int_equal(store_area_forget(a), 0);
    assert_null(store_area_content(a));
    fill(a, 10);
    reopen();
    expect_version(load("web", 5, STORE_WHOLE), 10);
}

static void names_and_sizes_are_bounded(void **state)
{
    assert_null(store_variables(&store, "a-name-that-has-32-characters-32", 5));
    assert_null(store_variables(&store, "web", 0));
    assert_null(store_variables(&store, "web", STORE_MAPPED + 1));
    assert_false(store.changed);
}

/* There are 480 blocks for areas here. */
static void a_full_store_says_so(void **state)
{
    fill(load("one", 100, STORE_EMPTY), 1);
    fill(load("two", 100, STORE_EMPTY), 2);
    assert_null(store_variables(&store, "three", 100));
    assert_non_null(store_variables(&store, "small", 30));
    assert_int_equal(store_save(&store), 0);
    reopen(); /* the small one is empty, and nobody asks for it */
    assert_non_null(store_variables(&store, "large", 36));
    assert_null(store_variables(&store, "small", 30));
    assert_int_equal(store_save(&store), 0);
    reopen();
    expect_version(load("one", 100, STORE_WHOLE), 1);
    expect_version(load("two", 100, STORE_WHOLE), 2);
    assert_null(store_area_content(load("large", 36, STORE_EMPTY)));
}

/* What one has left where another one is now is not the other one's. */
static void nobody_finds_what_was_anothers(void **state)
{
    struct store_area *a = load("one", 5, STORE_EMPTY);

    fill(a, 1);
    assert_int_equal(store_area_forget(a), 0);
    reopen();
    a = get("two", 234); /* no room beside it */
    assert_int_equal(a->entry.first, STORE_FIRST);
    assert_int_equal(store_area_load(a), STORE_EMPTY);
    store_close(&store);
    for (unsigned copy = 0; copy < 2; copy++) {
        struct store_directory *d =
            (struct store_directory *)(medium + copy * STORE_SECOND * STORE_BLOCK);
        assert_int_equal(d->head.count, 1);
        d->entry[0].id--;
        d->head.crc = 0;
        d->head.crc = crc32(0, d, sizeof(*d));
    }
    assert_int_equal(open(), 0);
    load("two", 234, STORE_DAMAGED); /* it is there, but not this one's */
}

/* --- what is damaged --- */

static uint8_t *at(uint64_t block)
{
    return medium + block * STORE_BLOCK;
}

static void one_copy_is_enough(void **state)
{
    struct store_area *a = load("web", 5, STORE_EMPTY);

    fill(a, 1);
    fill(a, 2);
    for (unsigned i = 0; i < 12; i++) { /* any block of either copy */
        at(STORE_FIRST + i)[77] ^= 4;
        reopen();
        a = load("web", 5, STORE_REPAIRED);
        expect_version(a, 2);
        assert_true(a->good[0] && a->good[1]);
        reopen();
        expect_version(load("web", 5, STORE_WHOLE), 2);
    }
    at(STORE_FIRST + 1)[0] ^= 1; /* a block of each */
    at(STORE_FIRST + 6 + 2)[0] ^= 1;
    reopen();
    expect_version(load("web", 5, STORE_REPAIRED), 2);
}

static unsigned version_at(const struct store_area *a, uint32_t block)
{
    unsigned version;

    memcpy(&version, store_area_content(a) + block * STORE_BLOCK, sizeof(version));
    assert_memory_equal(store_area_content(a) + block * STORE_BLOCK, block_of(version, block),
                        STORE_BLOCK);
    return version;
}

/*
 * A write was cut off behind the block that describes it, and another block of that copy is
 * damaged: the first copy has the new block 1, the second one block 0, and the whole of the older
 * version.
 */
static void version_in_two_copies(void)
{
    struct store_area *a = load("web", 2, STORE_EMPTY);

    fill(a, 1);
    hold = true;
    store_area_put(a, 1, block_of(2, 1));
    store_area_write(a);
    one_back();
    one_back();
    write_back();
    cut();
    hold = false;
    at(STORE_FIRST + 1)[77] ^= 4;
}

/* Once it has been read no cut brings the older one back. */
static void a_version_in_two_copies_is_made_whole_first(void **state)
{
    static uint8_t before[DRIVE_SIZE];

    version_in_two_copies();
    memcpy(before, medium, sizeof(before));
    for (unsigned n = 0; n < 14; n++)
        for (unsigned again = 0; again < 4; again++) {
            struct store_area *a;
            int result;

            memcpy(medium, before, sizeof(before));
            reopen();
            a = get("web", 2);
            asked_left = 6 + n; /* to read it */
            if (store_area_load(a) >= 0)
                fill(a, 3);
            cut();
            reopen();
            a = get("web", 2);
            result = store_area_load(a);
            assert_true(result == STORE_WHOLE || result == STORE_REPAIRED);
            assert_true((version_at(a, 0) == 1 && version_at(a, 1) == 2) ||
                        (version_at(a, 0) == 3 && version_at(a, 1) == 3));
        }
}

static void nothing_is_written_where_that_fails(void **state)
{
    struct store_area *a;

    version_in_two_copies();
    reopen();
    next_error = -EIO;
    a = load("web", 2, -EIO);
    asked = 0;
    fill(a, 3);
    assert_true(a->failed && store_area_idle(a) && asked == 0);
    expect_version(a, 3);
    reopen();
    a = load("web", 2, STORE_REPAIRED);
    assert_true(version_at(a, 0) == 1 && version_at(a, 1) == 2);
}

static void damaged_copies_are_nothing(void **state)
{
    fill(load("web", 5, STORE_EMPTY), 1);
    at(STORE_FIRST + 1)[0] ^= 1;
    at(STORE_FIRST + 6 + 1)[0] ^= 1;
    reopen();
    struct store_area *a = load("web", 5, STORE_DAMAGED);
    assert_null(store_area_content(a));
    fill(a, 2);
    reopen();
    expect_version(load("web", 5, STORE_WHOLE), 2);
    memset(at(STORE_FIRST), 0, STORE_BLOCK);
    memset(at(STORE_FIRST + 6), 0, STORE_BLOCK);
    reopen();
    a = load("web", 5, STORE_DAMAGED);
    fill(a, 3);
    reopen();
    expect_version(load("web", 5, STORE_WHOLE), 3);
}

static void one_directory_is_enough(void **state)
{
    fill(load("web", 5, STORE_EMPTY), 1);
    for (unsigned i = 0; i < 2 * STORE_DIRECTORY_BLOCKS; i++) {
        at(i < 4 ? i : STORE_SECOND + i - 4)[99] ^= 1;
        reopen();
        assert_true(store.changed);
        expect_version(load("web", 5, STORE_WHOLE), 1);
        assert_false(store.changed);
        reopen();
        assert_false(store.changed);
    }
    at(0)[0] ^= 1;
    at(STORE_SECOND)[99] ^= 1;
    store_close(&store);
    assert_int_equal(open(), -EBADMSG);
    assert_string_equal(why, "it is damaged: both copies of its directory are");
}

static void other_peoples_things_stay(void **state)
{
    static uint8_t before[DRIVE_SIZE];

    store_close(&store);
    for (unsigned i = 0; i < STORE_FIRST; i++) {
        memset(medium, 0, sizeof(medium));
        at(i)[1024] = 1; /* a file system's, say */
        memcpy(before, medium, sizeof(before));
        assert_int_equal(open(), -EEXIST);
        assert_memory_equal(before, medium, sizeof(before));
        assert_int_equal(cached, 0);
    }
    assert_string_equal(
        why, "it holds something that is not Corbel's: its first 128 KiB have to be zeroes");
    memset(medium, 0, sizeof(medium));
    assert_int_equal(open(), 0);
    store_close(&store);
    for (unsigned copy = 0; copy < 2; copy++) { /* the same with another version's number */
        struct store_directory *d = (struct store_directory *)at(copy * STORE_SECOND);
        d->head.version = 2;
        d->head.crc = 0;
        d->head.crc = crc32(0, d, sizeof(*d));
    }
    assert_int_equal(open(), -ENOTSUP);
    assert_string_equal(why, "a later version of Corbel has made it, which this one does not know");
}

static void says_what_is_wrong_with_a_partition(void **state)
{
    store_close(&store);
    drive.sectors = MIB / BLOCK_SECTOR - 1;
    assert_int_equal(open(), -ENOSPC);
    assert_string_equal(why, "it is too small: it needs 1 MiB, better 16");
    drive_init();
    drive.read_only = true;
    assert_int_equal(open(), -EROFS);
    drive.read_only = false;
    asked_left = 0;
    assert_int_equal(open(), -EIO);
    assert_string_equal(why, "it cannot be read");
    asked_left = 45; /* 40 of them are to read */
    assert_int_equal(open(), -EIO);
    assert_string_equal(why, "it cannot be written");
}

/* A partition that has become smaller: what is behind its end is not reached for. */
static void an_area_lies_on_the_partition(void **state)
{
    fill(load("web", 200, STORE_EMPTY), 1);
    store_close(&store);
    drive.sectors = MIB / BLOCK_SECTOR;
    assert_int_equal(open(), -EBADMSG);
}

/* --- errors --- */

/* What failed is in memory, and written the next time, to the copy that is not the good one. */
static void an_error_leaves_the_other_copy(void **state)
{
    struct store_area *a = load("web", 2, STORE_EMPTY);
    int result;

    fill(a, 1);
    for (unsigned n = 0; n < 8; n++) {
        fill(a, 2 * n + 2);
        hold = true;
        fill(a, 2 * n + 3);
        for (unsigned i = 0; i < n; i++)
            one_back();
        next_error = -EIO;
        one_back();
        assert_true(store_area_idle(a) && a->failed);
        assert_int_equal(holding, 0);
        assert_true(a->good[0] || a->good[1]);
        expect_version(a, 2 * n + 3);
        hold = false;
        cut();
        reopen();
        a = get("web", 2);
        result = store_area_load(a);
        assert_true(result == STORE_WHOLE || result == STORE_REPAIRED);
        expect_version(a, n < 4 ? 2 * n + 2 : 2 * n + 3);
    }
    next_error = -EIO;
    fill(a, 50);
    assert_true(a->failed);
    store_area_write(a); /* nothing more has changed */
    assert_true(!a->failed && a->good[0] && a->good[1]);
    reopen();
    expect_version(load("web", 2, STORE_WHOLE), 50);
}

/* A write of one block more fails: so much has come back before. */
static void fails_behind(struct store_area *a, unsigned version, unsigned requests)
{
    hold = true;
    fill(a, version);
    while (requests--)
        one_back();
    next_error = -EIO;
    one_back();
    assert_true(a->failed);
}

/* The second copy is the newer one, and what is written next is newer than that. */
static void the_newer_copy_counts(void **state)
{
    struct store_area *a = load("web", 2, STORE_EMPTY);

    fill(a, 1);
    fails_behind(a, 2, 4); /* two blocks, what describes them, and the FLUSH */
    for (unsigned version = 3; version < 7; version++) {
        hold = true;
        fill(a, version);
        for (unsigned i = 0; i < 4; i++)
            one_back();
        cut();
        reopen();
        a = get("web", 2);
        assert_int_equal(store_area_load(a), STORE_REPAIRED); /* held up at its first block */
        expect_version(a, version);
        next_error = -EIO;
        one_back();
        hold = false;
    }
}

/* The newest version cannot be had: no later write brings it back. */
static void what_was_passed_over_stays_so(void **state)
{
    struct store_area *a;

    version_in_two_copies();
    at(STORE_FIRST + 1)[77] ^= 4;
    at(STORE_FIRST + 2)[77] ^= 4; /* the new one */
    reopen();
    a = get("web", 2);
    hold = true;
    assert_int_equal(store_area_load(a), STORE_REPAIRED);
    expect_version(a, 1);
    next_error = -EIO;
    one_back();
    store_area_put(a, 0, block_of(4, 0));
    store_area_put(a, 1, block_of(2, 1)); /* as it was in there */
    store_area_write(a);
    one_back();
    one_back();
    write_back();
    cut();
    hold = false;
    reopen();
    expect_version(load("web", 2, STORE_REPAIRED), 1);
}

/* Of a directory of which one copy was written, that one stays while the other one is. Seven names
 * more, and it takes two sectors. */
static void the_newer_directory_is_kept(void **state)
{
    for (unsigned again = 0; again < 100; again++) {
        store_close(&store);
        drive_init();
        assert_int_equal(open(), 0);
        for (char name[] = "1"; name[0] <= '7'; name[0]++)
            (void)get(name, 1);
        assert_non_null(store_variables(&store, "web", 2));
        asked_left = 2 + 1 + STORE_DIRECTORY_BLOCKS + 1; /* the area, one copy */
        assert_int_equal(store_save(&store), -EIO);
        cut();
        reopen();
        struct store_area *a = store_variables(&store, "web", 2);
        assert_non_null(store_variables(&store, "more", 1));
        unreliable = 6;
        (void)!store_save(&store);
        unreliable = 0;
        assert_int_equal(store_area_load(a), STORE_EMPTY);
        fill(a, 1);
        reopen();
        expect_version(load("web", 2, STORE_WHOLE), 1);
    }
}

/* --- cuts --- */

#define WEB 3

static unsigned certain[4]; /* after how many requests this version is there for certain */

static void live(struct store_area *a)
{
    for (unsigned version = 1; version <= 3; version++) {
        if (version == 3 && (!store_variables(&store, "db", 2) || store_save(&store)))
            return;
        fill(a, version);
        if (!store_area_idle(a) || a->failed)
            return;
        certain[version] = asked;
    }
}

/* From blank to three versions and a second area. */
static void life(void)
{
    struct store_area *a;

    if (open())
        return;
    a = store_variables(&store, "web", WEB);
    if (!store_save(&store) && store_area_load(a) >= 0)
        live(a);
    store_close(&store);
}

/* Which of the versions has been written for certain, and which may have been. */
static void look_after(unsigned n, unsigned least)
{
    struct store_area *a;
    unsigned version = 0;

    assert_int_equal(open(), 0);
    a = get("web", WEB);
    int result = store_area_load(a);
    assert_true(result == STORE_EMPTY || result == STORE_WHOLE || result == STORE_REPAIRED);
    if (store_area_content(a)) {
        memcpy(&version, store_area_content(a), sizeof(version));
        expect_version(a, version);
    }
    if (version < least || version > 3)
        fail_msg("cut at request %u: version %u of at least %u", n, version, least);
    assert_true(store_area_idle(a) && (!version || (a->good[0] && a->good[1])));
    store_close(&store);
}

static void a_cut_at_every_request(void **state)
{
    unsigned ends[4];

    store_close(&store);
    drive_init();
    life();
    memcpy(ends, certain, sizeof(ends));
    for (unsigned n = 0; n <= ends[3]; n++)
        for (unsigned again = 0; again < 3; again++) {
            unsigned least = 0;

            drive_init();
            asked_left = n;
            life();
            cut();
            while (least < 3 && n >= ends[least + 1])
                least++;
            look_after(n, least);
        }
    assert_int_equal(open(), 0); /* for teardown */
}

/* --- cuts in a row, and errors, with two areas that are written at once --- */

#define AREAS   2
#define VERSION 200 /* attempts that are remembered */

static const struct {
    const char *name;
    uint32_t content;
} wanted[AREAS] = {{"web", 3}, {"db", 4}};

static struct owner {
    struct store_area *area;
    /* What it was when it was certain, and what it was to become since. */
    unsigned tried[VERSION][4], count;
    unsigned now[4];
    bool empty[VERSION];
    bool writing;
} owners[AREAS];
static unsigned next_version;

static bool is_at(const struct owner *o, unsigned attempt)
{
    const uint8_t *content = store_area_content(o->area);

    if (!content || o->empty[attempt])
        return !content && o->empty[attempt];
    for (uint32_t i = 0; i < o->area->entry.content; i++)
        if (memcmp(content + i * STORE_BLOCK, block_of(o->tried[attempt][i], i), STORE_BLOCK) != 0)
            return false;
    return true;
}

static void settle_on(struct owner *o, unsigned attempt)
{
    memcpy(o->tried[0], o->tried[attempt], sizeof(o->tried[0]));
    memcpy(o->now, o->tried[attempt], sizeof(o->now));
    o->empty[0] = o->empty[attempt];
    o->count = 1;
    o->writing = false;
}

static void begin(struct owner *o)
{
    bool all = !store_area_content(o->area);

    if (o->count == VERSION)
        return;
    if (!all && !chance(10)) {
        assert_int_equal(store_area_forget(o->area), 0);
        o->empty[o->count++] = true;
        o->writing = true;
        return;
    }
    for (uint32_t i = 0; i < o->area->entry.content; i++)
        if (all || chance(2)) {
            o->now[i] = ++next_version;
            store_area_put(o->area, i, block_of(o->now[i], i));
        }
    memcpy(o->tried[o->count], o->now, sizeof(o->now));
    o->empty[o->count++] = false;
    o->writing = true;
    store_area_write(o->area);
}

static void check(struct owner *o)
{
    if (!o->writing || __atomic_load_n(&o->area->under_way, __ATOMIC_ACQUIRE))
        return;
    if (!o->area->failed)
        settle_on(o, o->count - 1);
    o->writing = false;
}

static void come_back(unsigned n)
{
    int result = open();

    if (result)
        fail_msg("cut %u: %s", n, why);
    for (unsigned k = 0; k < AREAS; k++)
        owners[k].area = store_variables(&store, wanted[k].name, wanted[k].content);
    if (!chance(40)) /* another one comes */
        (void)!store_variables(&store, "more", 1 + chance(20));
    assert_int_equal(store_save(&store), 0);
    hold = true;
    for (unsigned k = 0; k < AREAS; k++) {
        struct owner *o = &owners[k];
        unsigned found = 0;

        assert_non_null(o->area);
        assert_int_not_equal(store_area_load(o->area), STORE_DAMAGED);
        while (found < o->count && !is_at(o, found))
            found++;
        if (found == o->count)
            fail_msg("cut %u: %s is nothing that it was", n, wanted[k].name);
        settle_on(o, found);
    }
}

static void cuts_in_a_row(void **state)
{
    const char *wish = getenv("CORBEL_CUTS");
    unsigned long cuts = wish ? strtoul(wish, NULL, 10) : getenv("CORBEL_TEST_ALL") ? 10000 : 1000;
    unsigned long good = 0;

    for (unsigned k = 0; k < AREAS; k++) {
        owners[k] = (struct owner){.count = 1};
        owners[k].empty[0] = true;
    }
    store_close(&store);
    for (unsigned n = 0; n < cuts; n++) {
        hold = false;
        come_back(n);
        unreliable = chance(3) ? 0 : 4 + chance(20);
        for (unsigned i = chance(80); i > 0; i--) {
            struct owner *o = &owners[chance(AREAS)];

            if (!__atomic_load_n(&o->area->under_way, __ATOMIC_ACQUIRE) && chance(3)) {
                check(o);
                begin(o);
            } else if (holding) {
                one_back();
            }
            for (unsigned k = 0; k < AREAS; k++) {
                unsigned before = owners[k].count;
                check(&owners[k]);
                good += owners[k].count < before;
            }
        }
        cut();
        store_close(&store);
    }
    assert_true(good > cuts);
    assert_int_equal(open(), 0); /* for teardown */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
        TEST(a_blank_partition_gets_a_directory),
        TEST(what_was_written_is_there_again),
        TEST(only_what_has_changed_is_written),
        TEST(what_is_forgotten_is_not_there),
        TEST(names_and_sizes_are_bounded),
        TEST(a_full_store_says_so),
        TEST(nobody_finds_what_was_anothers),
        TEST(one_copy_is_enough),
        TEST(a_version_in_two_copies_is_made_whole_first),
        TEST(nothing_is_written_where_that_fails),
        TEST(damaged_copies_are_nothing),
        TEST(one_directory_is_enough),
        TEST(other_peoples_things_stay),
        TEST(says_what_is_wrong_with_a_partition),
        TEST(an_area_lies_on_the_partition),
        TEST(an_error_leaves_the_other_copy),
        TEST(the_newer_copy_counts),
        TEST(what_was_passed_over_stays_so),
        TEST(the_newer_directory_is_kept),
        TEST(a_cut_at_every_request),
        TEST(cuts_in_a_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
