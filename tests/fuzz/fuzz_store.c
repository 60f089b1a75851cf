/* links: guest/storage/store.c guest/storage/store_area.c arch/x86/lib/crc32.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/crc32.h"
#include "arch/x86/lib/errno.h"
#include "drivers/disk.h"
#include "guest/storage/store.h"
#include "tests/fuzz/require.h"

/*
 * A partition on which anything may stand. The input: a byte of options, one that is how many bytes
 * of each directory follow, in units of 16; the rest is the areas' beginning. Sums are put right,
 * which a fuzzer would never find. Whatever it is, nothing is written but directories and areas
 * that do not overlap; and what is put is there when it is opened again.
 */
#define SIZE   MIB
#define BLOCKS (SIZE / STORE_BLOCK)

static uint8_t medium[SIZE] __attribute__((aligned(4096)));
static bool may_write[BLOCKS];
static struct block_device drive;
static unsigned asked;

static int carry_out(const struct block_request *r)
{
    uint8_t *there = medium + r->sector * BLOCK_SECTOR, *data;

    REQUIRE(block_check(&drive, r) == 0 && ++asked < 20000);
    if (r->op == BLOCK_FLUSH)
        return 0;
    REQUIRE(r->sectors == 8 && r->sector % 8 == 0 && r->count == 1);
    REQUIRE(r->segments->length == STORE_BLOCK);
    data = (uint8_t *)r->segments->address;
    if (r->op == BLOCK_READ) {
        memcpy(data, there, STORE_BLOCK);
    } else {
        REQUIRE(r->op == BLOCK_WRITE && may_write[r->sector / 8]);
        memcpy(there, data, STORE_BLOCK);
    }
    return 0;
}

int disk_do(struct block_device *d, struct block_request *r, void (*wait)(void))
{
    return carry_out(r);
}

static void submit(struct block_device *d, struct block_request *r)
{
    r->done(r, carry_out(r));
}

paddr frame_alloc_below(unsigned order, uint16_t owner, paddr limit)
{
    return (paddr)aligned_alloc(PAGE_SIZE, PAGE_SIZE);
}

void frame_free(paddr base, unsigned order)
{
    free((void *)base);
}

void *phys_to_virt(paddr pa)
{
    return (void *)pa;
}

static void wait(void)
{
}

static void put_right(struct store_head *h, size_t size, const char *magic)
{
    memcpy(h->magic, magic, sizeof(h->magic));
    h->crc = 0;
    h->crc = crc32(0, h, size);
}

/* Areas that overlap could ask for any number of sums. So many are enough; that of zeroes, which
 * most blocks are, is known. */
#define SUMS 64
static unsigned sums_left;

static uint32_t sum_of_block(const uint8_t *block)
{
    static const uint8_t zeroes[STORE_BLOCK];
    static uint32_t of_zeroes;

    if (memcmp(block, zeroes, STORE_BLOCK) != 0)
        return sums_left && sums_left-- ? crc32(0, block, STORE_BLOCK) : 0;
    if (!of_zeroes)
        of_zeroes = crc32(0, zeroes, STORE_BLOCK);
    return of_zeroes;
}

/* Of an area that lies on the partition: what describes it, too. */
static void put_area_right(const struct store_entry *e)
{
    for (unsigned copy = 0; copy < 2; copy++) {
        uint64_t first = e->first + copy * (1 + (uint64_t)e->content);
        struct store_map *m;

        if (e->first >= BLOCKS || e->content > BLOCKS || first >= BLOCKS || !sums_left)
            return;
        m = (struct store_map *)(medium + first * STORE_BLOCK);
        for (uint32_t i = 0; i < MIN(m->head.count, STORE_MAPPED); i++)
            if (m->head.count == e->content && first + 1 + i < BLOCKS)
                m->block[i].crc = sum_of_block(medium + (first + 1 + i) * STORE_BLOCK);
        put_right(&m->head, sizeof(*m), STORE_AREA_MAGIC);
        sums_left -= sums_left != 0;
    }
}

static void lay_out(const uint8_t *data, size_t size)
{
    size_t part = MIN((size_t)data[1] * 16, sizeof(struct store_directory));

    data += 2;
    size -= 2;
    memset(medium, 0, sizeof(medium));
    for (unsigned copy = 0; copy < 2; copy++) {
        struct store_directory *d =
            (struct store_directory *)(medium + copy * STORE_SECOND * STORE_BLOCK);
        size_t n = MIN(part, size);

        memcpy(d, data, n);
        data += n;
        size -= n;
    }
    memcpy(medium + STORE_FIRST * STORE_BLOCK, data,
           MIN(size, sizeof(medium) - STORE_FIRST * STORE_BLOCK));
}

static void put_sums_right(void)
{
    sums_left = SUMS;
    for (unsigned copy = 0; copy < 2; copy++) {
        struct store_directory *d =
            (struct store_directory *)(medium + copy * STORE_SECOND * STORE_BLOCK);

        for (uint32_t i = 0; i < MIN(d->head.count, STORE_ENTRIES); i++)
            put_area_right(&d->entry[i]);
        put_right(&d->head, sizeof(*d), STORE_DIRECTORY_MAGIC);
    }
}

/* Then one is made of it. */
static bool is_blank(void)
{
    for (unsigned i = 0; i < STORE_FIRST * STORE_BLOCK; i++)
        if (medium[i])
            return false;
    return true;
}

/* From now on what the directory says may be written, and no block is in two areas. */
static void look_at(const struct store *s)
{
    memset(may_write, 0, sizeof(may_write));
    for (unsigned i = 0; i < STORE_DIRECTORY_BLOCKS; i++)
        may_write[i] = may_write[STORE_SECOND + i] = true;
    REQUIRE(s->directory->head.count <= STORE_ENTRIES);
    for (uint32_t i = 0; i < s->directory->head.count; i++) {
        const struct store_entry *e = &s->directory->entry[i];

        REQUIRE(e->first >= STORE_FIRST && e->blocks && e->blocks <= BLOCKS - e->first);
        for (uint32_t k = 0; k < e->blocks; k++) {
            REQUIRE(!may_write[e->first + k]);
            may_write[e->first + k] = true;
        }
    }
    REQUIRE(store_free(s) <= BLOCKS - STORE_FIRST);
}

static void use(struct store *s, uint8_t options)
{
    static const uint8_t block[STORE_BLOCK] = {1, 2, 3};
    struct store_area *new = store_variables(s, "new", 1 + (options & 7)), *a;

    look_at(s);
    REQUIRE(store_save(s) == 0);
    for (a = s->first; a; a = a->next) {
        if (options & 8 && a != new) {
            REQUIRE(store_area_forget(a) == 0 && store_area_idle(a));
            continue;
        }
        REQUIRE(store_area_load(a) >= 0);
        for (uint32_t i = 0; i < a->entry.content; i++)
            if (!store_area_content(a) || i == options % a->entry.content)
                for (uint32_t k = i; k < a->entry.content; k++)
                    store_area_put(a, k, block);
        store_area_write(a);
        REQUIRE(store_area_idle(a) && !a->failed && a->good[0] && a->good[1]);
    }
}

static void look_again(struct store *s, uint8_t options)
{
    const char *why;

    REQUIRE(store_open(s, &drive, wait, &why) == 0 && !s->changed);
    for (struct store_area *a = s->first; a; a = a->next) {
        int loaded = store_area_load(a);

        REQUIRE(loaded == STORE_WHOLE || (options & 8 && loaded == STORE_EMPTY));
    }
    store_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    static const struct block_ops ops = {submit, NULL};
    struct store s;
    const char *why = NULL;

    if (length < 2)
        return 0;
    drive = (struct block_device){.ops = &ops,
                                  .name = "part:state",
                                  .sectors = SIZE / BLOCK_SECTOR,
                                  .logical_block = 512,
                                  .max_sectors = 8,
                                  .max_segments = 1,
                                  .highest_address = UINT32_MAX,
                                  .has_flush = true};
    asked = 0;
    lay_out(data, length);
    if (data[0] & 16)
        put_sums_right();
    memset(may_write, is_blank(), sizeof(may_write));
    if (store_open(&s, &drive, wait, &why)) {
        REQUIRE(why && !s.directory && s.page == FRAME_NONE);
        return 0;
    }
    use(&s, data[0]);
    store_close(&s);
    look_again(&s, data[0]);
    return 0;
}
