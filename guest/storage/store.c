/* The partition as a whole: see store.h. */
#include "guest/storage/store_internal.h"

#include "arch/x86/lib/crc32.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/lib/zeroes.h"
#include "drivers/disk.h"
#include "mm/heap.h"

#define PER_BLOCK (STORE_BLOCK / BLOCK_SECTOR)

/* --- blocks --- */

int store_transfer(struct store *s, enum block_op op, uint64_t block)
{
    const struct block_segment segment = {s->page, STORE_BLOCK};
    struct block_request r = {.op = (uint8_t)op,
                              .sector = block * PER_BLOCK,
                              .sectors = PER_BLOCK,
                              .count = 1,
                              .segments = &segment};

    return disk_do(s->device, &r, s->wait);
}

int store_flush(struct store *s)
{
    struct block_request r = {.op = BLOCK_FLUSH};

    return disk_do(s->device, &r, s->wait);
}

uint32_t store_sum(const struct store_head *h, size_t size)
{
    static const uint8_t none[sizeof(h->crc)];
    const uint8_t *bytes = (const uint8_t *)h;
    size_t at = offsetof(struct store_head, crc), behind = at + sizeof(h->crc);
    uint32_t crc = crc32(crc32(0, bytes, at), none, sizeof(none));

    return crc32(crc, bytes + behind, size - behind);
}

bool store_head_is_good(const struct store_head *h, size_t size, const char *magic)
{
    return memcmp(h->magic, magic, sizeof(h->magic)) == 0 && h->crc == store_sum(h, size);
}

/* --- the directory --- */

static bool name_is_good(const char *name)
{
    size_t n = 0;

    while (n < STORE_NAME && name[n] > ' ' && name[n] <= '~')
        n++;
    return n && n < STORE_NAME && !name[n];
}

static bool overlap(const struct store_entry *a, const struct store_entry *b)
{
    return a->first < b->first + b->blocks && b->first < a->first + a->blocks;
}

static bool entry_is_good(const struct store *s, const struct store_directory *d, uint32_t index)
{
    const struct store_entry *e = &d->entry[index];

    if (!name_is_good(e->name) || e->id > d->head.id || e->blocks == 0 || e->first < STORE_FIRST ||
        e->first > s->blocks || e->blocks > s->blocks - e->first)
        return false;
    if (e->kind == STORE_VARIABLES &&
        (e->content == 0 || e->content > STORE_MAPPED || e->blocks != store_blocks(e->content)))
        return false;
    for (uint32_t i = 0; i < index; i++)
        if (overlap(e, &d->entry[i]) || e->id == d->entry[i].id)
            return false;
    return true;
}

/* 0; -EBADMSG; -ENOTSUP: another version's. */
static int judge(const struct store *s, const struct store_directory *d)
{
    if (!store_head_is_good(&d->head, sizeof(*d), STORE_DIRECTORY_MAGIC))
        return -EBADMSG;
    if (d->head.version != STORE_VERSION)
        return -ENOTSUP;
    if (d->head.id > STORE_ID_MAX || d->head.count > STORE_ENTRIES)
        return -EBADMSG;
    for (uint32_t i = 0; i < d->head.count; i++)
        if (!entry_is_good(s, d, i))
            return -EBADMSG;
    return 0;
}

static uint64_t copy_at(unsigned copy)
{
    return copy ? STORE_SECOND : 0;
}

static int read_copy(struct store *s, unsigned copy, struct store_directory *d)
{
    for (unsigned i = 0; i < STORE_DIRECTORY_BLOCKS; i++) {
        if (store_transfer(s, BLOCK_READ, copy_at(copy) + i))
            return -EIO;
        memcpy((uint8_t *)d + i * STORE_BLOCK, phys_to_virt(s->page), STORE_BLOCK);
    }
    return judge(s, d);
}

static void seal(struct store_directory *d)
{
    d->head.version = STORE_VERSION;
    memcpy(d->head.magic, STORE_DIRECTORY_MAGIC, sizeof(d->head.magic));
    d->head.sequence++;
    d->head.crc = store_sum(&d->head, sizeof(*d));
}

/* Over the older copy; then that is the newer one. */
static int write_copy(struct store *s)
{
    seal(s->directory);
    for (unsigned i = 0; i < STORE_DIRECTORY_BLOCKS; i++) {
        memcpy(phys_to_virt(s->page), (uint8_t *)s->directory + i * STORE_BLOCK, STORE_BLOCK);
        if (store_transfer(s, BLOCK_WRITE, copy_at(s->older) + i))
            return -EIO;
    }
    if (store_flush(s))
        return -EIO;
    s->older = !s->older;
    return 0;
}

int store_save(struct store *s)
{
    bool made = false;

    if (!s->changed)
        return 0;
    for (struct store_area *a = s->first; a; a = a->next) {
        if (a->fresh && store_area_make(a))
            return -EIO;
        made |= a->fresh;
    }
    /* What the directory names is there before. The second copy is not begun before the first is
     * certain. */
    if ((made && store_flush(s)) || write_copy(s) || write_copy(s))
        return -EIO;
    s->changed = false;
    for (struct store_area *a = s->first; a; a = a->next)
        a->fresh = false;
    return 0;
}

/* --- opening --- */

/* Whether nothing is before the areas: 1, 0 or an error. A directory whose making was cut off is
 * there, or is nothing: all that it is stands in its first sector. */
static int is_blank(struct store *s)
{
    for (uint64_t block = 0; block < STORE_FIRST; block++) {
        if (store_transfer(s, BLOCK_READ, block))
            return -EIO;
        if (!is_zeroes(phys_to_virt(s->page), STORE_BLOCK))
            return 0;
    }
    return 1;
}

static struct store_area *add_area(struct store *s, const struct store_entry *e)
{
    struct store_area *a = heap_alloc(sizeof(*a)), **end = &s->first;

    if (!a)
        return NULL;
    while (*end)
        end = &(*end)->next;
    *end = a;
    a->store = s;
    a->entry = *e;
    a->page = FRAME_NONE;
    return a;
}

static int find_areas(struct store *s)
{
    for (uint32_t i = 0; i < s->directory->head.count; i++) {
        const struct store_entry *e = &s->directory->entry[i];
        struct store_area *a;

        if (e->kind != STORE_VARIABLES)
            continue;
        a = add_area(s, e);
        if (!a)
            return -ENOMEM;
        store_area_look(a);
    }
    return 0;
}

/* One copy at least is good: the newer one counts. */
static void choose(struct store *s, struct store_directory *const copy[2], const int result[2])
{
    unsigned newer;

    if (result[0] == 0 && result[1] == 0)
        newer = store_follows(copy[1]->head.sequence, copy[0]->head.sequence);
    else
        newer = result[0] != 0;
    s->older = !newer;
    memcpy(s->directory, copy[newer], sizeof(*s->directory));
    /* The other one is to be the same, but for its number. */
    s->changed = result[!newer] || copy[0]->head.count != copy[1]->head.count ||
                 memcmp(copy[0]->entry, copy[1]->entry, sizeof(copy[0]->entry)) != 0;
}

static int make_directory(struct store *s)
{
    memset(s->directory, 0, sizeof(*s->directory));
    s->older = 0;
    return write_copy(s) || write_copy(s) ? -EIO : 0;
}

static int open_directory(struct store *s, struct store_directory *const copy[2], const char **why)
{
    int result[2] = {read_copy(s, 0, copy[0]), read_copy(s, 1, copy[1])};
    bool ours = false;
    int blank;

    *why = "it cannot be read";
    if (result[0] == 0 || result[1] == 0) {
        choose(s, copy, result);
        return 0;
    }
    for (unsigned i = 0; i < 2; i++)
        ours |= result[i] != -EIO && memcmp(copy[i]->head.magic, STORE_DIRECTORY_MAGIC,
                                            sizeof(copy[i]->head.magic)) == 0;
    if (result[0] == -ENOTSUP || result[1] == -ENOTSUP) {
        *why = "a later version of Corbel has made it, which this one does not know";
        return -ENOTSUP;
    }
    blank = is_blank(s);
    if (blank < 0)
        return -EIO;
    if (blank) {
        *why = "it cannot be written";
        return make_directory(s);
    }
    *why = ours ? "it is damaged: both copies of its directory are"
                : "it holds something that is not Corbel's: its first 128 KiB have to be zeroes";
    return ours ? -EBADMSG : -EEXIST;
}

int store_open(struct store *s, struct block_device *device, void (*wait)(void), const char **why)
{
    struct store_directory *copy[2];
    int result = -ENOMEM;

    *s = (struct store){
        .device = device, .wait = wait, .blocks = device->sectors / PER_BLOCK, .page = FRAME_NONE};
    if (device->read_only) {
        *why = "it can only be read";
        return -EROFS;
    }
    if (device->sectors < STORE_LEAST / BLOCK_SECTOR || device->logical_block > STORE_BLOCK) {
        *why = device->logical_block > STORE_BLOCK ? "its drive's blocks are larger than 4 KiB"
                                                   : "it is too small: it needs 1 MiB, better 16";
        return -ENOSPC;
    }
    *why = "no memory is left";
    copy[0] = heap_alloc(sizeof(*copy[0]));
    copy[1] = heap_alloc(sizeof(*copy[1]));
    s->directory = heap_alloc(sizeof(*s->directory));
    s->page = frame_alloc_below(FRAME_ORDER_4K, FRAME_KERNEL, device->highest_address);
    if (copy[0] && copy[1] && s->directory && s->page != FRAME_NONE)
        result = open_directory(s, copy, why);
    heap_free(copy[0]);
    heap_free(copy[1]);
    if (result == 0 && (result = find_areas(s)) < 0)
        *why = "no memory is left";
    if (result < 0)
        store_close(s);
    return result;
}

void store_close(struct store *s)
{
    while (s->first) {
        struct store_area *a = s->first;

        s->first = a->next;
        store_area_free(a);
    }
    if (s->page != FRAME_NONE)
        frame_free(s->page, FRAME_ORDER_4K);
    heap_free(s->directory);
    s->directory = NULL;
    s->page = FRAME_NONE;
}

/* --- room --- */

/* Whether these blocks are in no area; else *next is behind the one that has some of them. */
static bool is_free(const struct store *s, uint64_t first, uint32_t blocks, uint64_t *next)
{
    for (uint32_t i = 0; i < s->directory->head.count; i++) {
        const struct store_entry *e = &s->directory->entry[i];

        *next = e->first + e->blocks;
        if (first < *next && e->first < first + blocks)
            return false;
    }
    return true;
}

/* The first place for them, or 0. */
static uint64_t find_room(const struct store *s, uint32_t blocks)
{
    uint64_t at = STORE_FIRST, next;

    while (blocks <= s->blocks && at <= s->blocks - blocks) {
        if (is_free(s, at, blocks, &next))
            return at;
        at = next;
    }
    return 0;
}

uint64_t store_free(const struct store *s)
{
    uint64_t left = s->blocks - STORE_FIRST;

    for (uint32_t i = 0; i < s->directory->head.count; i++)
        left -= s->directory->entry[i].blocks;
    return left;
}

static void drop_entry(struct store *s, uint64_t id)
{
    struct store_directory *d = s->directory;
    uint32_t i = 0;

    while (d->entry[i].id != id)
        i++;
    memmove(&d->entry[i], &d->entry[i + 1], (--d->head.count - i) * sizeof(d->entry[0]));
    memset(&d->entry[d->head.count], 0, sizeof(d->entry[0]));
    s->changed = true;
}

/* Areas with nothing in them that nobody has asked for. */
static void drop_empty(struct store *s)
{
    struct store_area **at = &s->first;

    while (*at) {
        struct store_area *a = *at;

        if (a->wanted || !a->empty) {
            at = &a->next;
            continue;
        }
        *at = a->next;
        drop_entry(s, a->entry.id);
        store_area_free(a);
    }
}

static struct store_area *add_entry(struct store *s, const char *name, uint32_t content)
{
    struct store_directory *d = s->directory;
    struct store_entry e = {.kind = STORE_VARIABLES,
                            .id = d->head.id + 1,
                            .first = find_room(s, store_blocks(content)),
                            .blocks = store_blocks(content),
                            .content = content};
    struct store_area *a;

    if (e.first == 0 || d->head.count == STORE_ENTRIES || e.id > STORE_ID_MAX)
        return NULL;
    memcpy(e.name, name, strlen(name) + 1);
    a = add_area(s, &e);
    if (!a)
        return NULL;
    a->fresh = a->empty = true;
    d->entry[d->head.count++] = e;
    d->head.id = e.id;
    s->changed = true;
    return a;
}

struct store_area *store_variables(struct store *s, const char *name, uint32_t content)
{
    struct store_area *a = s->first;

    while (a && (a->entry.content != content || strcmp(a->entry.name, name) != 0))
        a = a->next;
    if (!a && content && content <= STORE_MAPPED && strlen(name) < STORE_NAME) {
        a = add_entry(s, name, content);
        if (!a) {
            drop_empty(s);
            a = add_entry(s, name, content);
        }
    }
    if (a)
        a->wanted = true;
    return a;
}
