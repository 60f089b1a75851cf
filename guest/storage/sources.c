#include "guest/storage/sources.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

static struct source_claim *claims; /* the oldest first */

static bool begins(const char *text, size_t length, const char *with)
{
    size_t n = strlen(with);

    return length > n && memcmp(text, with, n) == 0;
}

const struct source_claim *source_claims(const struct source_claim *after, const struct disk *d,
                                         uint64_t first, uint64_t sectors)
{
    const struct source_claim *c = after ? after->next : claims;

    while (c && !(c->disk == d && c->slice.first < first + sectors &&
                  first < c->slice.first + c->slice.device.sectors))
        c = c->next;
    return c;
}

/* Who has a sector of that range so that nobody else can, or that nobody else can write; or NULL.
 */
static const struct source_claim *rival(const struct disk *d, uint64_t first, uint64_t sectors,
                                        bool writes)
{
    const struct source_claim *c = NULL;

    while ((c = source_claims(c, d, first, sectors)))
        if (!c->owner || (writes && c->writes))
            return c;
    return NULL;
}

static int refuse(char *why, int error, const char *sentence)
{
    format(why, SOURCE_MESSAGE, "%s", sentence);
    return error;
}

static int take(const struct source_wish *wish, struct source_claim *claim, struct disk *d,
                uint64_t first, uint64_t sectors, char *why)
{
    bool writes = !wish->read_only && !d->block.read_only;
    const struct source_claim *other = rival(d, first, sectors, writes);
    struct source_claim **end = &claims;
    char name[BLOCK_NAME];

    if (other && !other->owner)
        return refuse(why, -EBUSY, "Corbel keeps its own things there: `state` in [host] names it");
    if (other) {
        format(why, SOURCE_MESSAGE,
               other->kept ? "VM %s has snapshots of it: forget those first" : "VM %s writes to it",
               other->owner);
        return -EBUSY;
    }
    format(name, sizeof(name), "%.*s", (int)MIN(wish->length, sizeof(name) - 1), wish->text);
    if (block_slice_init(&claim->slice, &d->block, name, first, sectors))
        return refuse(why, -EINVAL, "it does not lie at borders of the drive's blocks");
    claim->slice.device.read_only |= wish->read_only;
    claim->disk = d;
    claim->owner = wish->owner;
    claim->writes = writes;
    claim->next = NULL;
    while (*end)
        end = &(*end)->next;
    *end = claim;
    return 0;
}

static int claim_partition(const struct source_wish *wish, struct source_claim *claim, char *why)
{
    const struct gpt_partition *p;
    const char *sentence;
    struct disk *d;

    p = tables_find(wish->text + 5, wish->length - 5, &d, &sentence);
    return p ? take(wish, claim, d, p->first, p->sectors, why) : refuse(why, -ENOENT, sentence);
}

static bool has_esp(const struct disk_table *t)
{
    for (uint32_t i = 0; t->table && i < t->table->count; i++)
        if (gpt_is_esp(&t->table->partitions[i]))
            return true;
    return false;
}

static int claim_disk(const struct source_wish *wish, struct source_claim *claim, char *why)
{
    const char *serial = wish->text + 5;
    size_t length = wish->length - 5;
    struct disk *d, *found = NULL;
    const struct disk_table *t = NULL;

    if (!wish->whole_allowed)
        return refuse(why, -EINVAL, "a whole disk needs `allow_whole_disk = yes`");
    for (unsigned i = 0; (d = disk_get(i)); i++) {
        if (strlen(d->block.serial) != length || memcmp(d->block.serial, serial, length))
            continue;
        if (found)
            return refuse(why, -EEXIST, "two disks have this serial number");
        found = d;
        t = table_of(i);
    }
    if (!found)
        return refuse(why, -ENOENT, "no disk that Corbel drives has this serial number");
    if (t->boot)
        return refuse(why, -EINVAL, "Corbel itself was started from it");
    if (t->error && t->error != -ENOENT) /* maybe it was, or firmware starts from it */
        return refuse(why, -EINVAL, t->why);
    if (has_esp(t))
        return refuse(why, -EINVAL, "there is an EFI system partition on it");
    return take(wish, claim, found, 0, found->block.sectors, why);
}

int source_claim(const struct source_wish *wish, struct source_claim *claim, char *why)
{
    if (begins(wish->text, wish->length, "part:"))
        return claim_partition(wish, claim, why);
    if (begins(wish->text, wish->length, "disk:"))
        return claim_disk(wish, claim, why);
    return refuse(why, -EINVAL, "it must be part:NAME, part:GUID or disk:SERIAL");
}

void source_release(struct source_claim *claim)
{
    for (struct source_claim **at = &claims; *at; at = &(*at)->next)
        if (*at == claim) {
            *at = claim->next;
            return;
        }
}
