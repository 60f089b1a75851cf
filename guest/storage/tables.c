#include "guest/storage/tables.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "mm/frame.h"
#include "mm/heap.h"

static struct disk_table tables[DISKS_MAX];

/* Where the machine was started from. */
static enum { UNKNOWN, BY_MBR, BY_GUID } boot_known;
static uint8_t boot_signature[16];

#define MBR_SIGNATURE 440 /* of four bytes */
#define MBR_MAGIC     510

struct reader {
    struct block_device *device;
    void (*wait)(void);
    paddr buffer; /* a page that any disk can write to */
};

static int read(void *ctx, uint64_t sector, void *data)
{
    const struct reader *reader = ctx;
    uint32_t sectors =
        (uint32_t)MIN((uint64_t)GPT_READ / BLOCK_SECTOR, reader->device->sectors - sector);
    const struct block_segment segment = {reader->buffer, sectors * BLOCK_SECTOR};
    struct block_request r = {
        .op = BLOCK_READ, .sector = sector, .sectors = sectors, .count = 1, .segments = &segment};
    void *page = phys_to_virt(reader->buffer);

    memset(page, 0, GPT_READ);
    if (disk_do(reader->device, &r, reader->wait))
        return -EIO;
    memcpy(data, page, GPT_READ);
    return 0;
}

static bool is_boot(const struct gpt_partition *p)
{
    return boot_known == BY_GUID && memcmp(p->guid, boot_signature, sizeof(p->guid)) == 0;
}

/* The boot disk's when it cannot be read, too. */
static bool has_boot_mbr(const struct reader *reader)
{
    static uint8_t sector[GPT_READ]; /* too large for the stack; processor 0's */

    if (boot_known != BY_MBR)
        return false;
    return read((void *)reader, 0, sector) ||
           (sector[MBR_MAGIC] == 0x55 && sector[MBR_MAGIC + 1] == 0xaa &&
            memcmp(sector + MBR_SIGNATURE, boot_signature, 4) == 0);
}

static void read_one(struct reader *reader, struct disk_table *t)
{
    const struct gpt_source source = {reader->device->sectors, reader->device->logical_block, read,
                                      reader};

    t->why = "no memory for its partition table";
    t->table = heap_alloc(sizeof(*t->table));
    t->error = t->table ? gpt_read(&source, t->table, &t->why) : -ENOMEM;
    if (t->error) {
        heap_free(t->table);
        t->table = NULL;
    }
    t->boot = has_boot_mbr(reader);
    for (uint32_t i = 0; t->table && i < t->table->count; i++)
        t->boot |= is_boot(&t->table->partitions[i]);
}

void tables_set_boot(bool by_guid, const uint8_t signature[16])
{
    boot_known = by_guid ? BY_GUID : BY_MBR;
    memcpy(boot_signature, signature, sizeof(boot_signature));
}

void tables_read(void (*wait)(void))
{
    struct reader reader = {.wait = wait};
    struct disk *d;

    reader.buffer = frame_alloc_below(FRAME_ORDER_4K, FRAME_KERNEL, UINT32_MAX);
    for (unsigned i = 0; (d = disk_get(i)); i++) {
        reader.device = &d->block;
        tables[i].table = NULL;
        tables[i].boot = false;
        tables[i].error = -ENOMEM;
        tables[i].why = "no memory for its partition table";
        if (reader.buffer != FRAME_NONE)
            read_one(&reader, &tables[i]);
    }
    if (reader.buffer != FRAME_NONE)
        frame_free(reader.buffer, FRAME_ORDER_4K);
}

const struct disk_table *table_of(unsigned index)
{
    return &tables[index];
}

static bool called(const struct gpt_partition *p, const char *text, size_t length)
{
    return gpt_guid_is(p->guid, text, length) ||
           (length && strlen(p->label) == length && memcmp(p->label, text, length) == 0);
}

enum partition_use tables_use(const struct disk_table *t, const struct gpt_partition *p)
{
    /* An MBR's signature names the disk, not one of its partitions. */
    bool boot = boot_known == BY_MBR ? t->boot : is_boot(p);

    return p->broken       ? PARTITION_BROKEN
           : gpt_is_esp(p) ? PARTITION_ESP
           : boot          ? PARTITION_BOOT
                           : PARTITION_FREE;
}

const struct gpt_partition *tables_find(const char *text, size_t length, struct disk **disk,
                                        const char **why)
{
    static const char *const never[] = {
        [PARTITION_BROKEN] = "the partition leaves its disk, or lies over another one",
        [PARTITION_ESP] = "it is an EFI system partition, which firmware starts the machine from",
        [PARTITION_BOOT] = "Corbel itself was started from it"};
    const struct gpt_partition *found = NULL;
    enum partition_use use = PARTITION_FREE;
    struct disk *d;

    for (unsigned i = 0; (d = disk_get(i)); i++)
        for (uint32_t k = 0; tables[i].table && k < tables[i].table->count; k++) {
            const struct gpt_partition *p = &tables[i].table->partitions[k];

            if (!called(p, text, length))
                continue;
            if (found) {
                *why = "two partitions are called so: name it by its GUID";
                return NULL;
            }
            found = p;
            use = tables_use(&tables[i], p);
            *disk = d;
        }
    if (!found)
        *why = "no disk has a partition of this name or GUID";
    else if (use != PARTITION_FREE)
        *why = never[use];
    else
        return found;
    return NULL;
}
