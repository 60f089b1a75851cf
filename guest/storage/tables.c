#include "guest/storage/tables.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "mm/frame.h"
#include "mm/heap.h"

static struct disk_table tables[DISKS_MAX];

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

static void read_one(struct reader *reader, struct disk_table *t)
{
    const struct gpt_source source = {reader->device->sectors, reader->device->logical_block, read,
                                      reader};

    t->why = "no memory for its partition table";
    t->table = heap_alloc(sizeof(*t->table));
    if (t->table && gpt_read(&source, t->table, &t->why)) {
        heap_free(t->table);
        t->table = NULL;
    }
}

void tables_read(void (*wait)(void))
{
    struct reader reader = {.wait = wait};
    struct disk *d;

    reader.buffer = frame_alloc_below(FRAME_ORDER_4K, FRAME_KERNEL, UINT32_MAX);
    for (unsigned i = 0; (d = disk_get(i)); i++) {
        reader.device = &d->block;
        tables[i].table = NULL;
        if (reader.buffer == FRAME_NONE)
            tables[i].why = "no memory for its partition table";
        else
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

const struct gpt_partition *tables_find(const char *text, size_t length, struct disk **disk,
                                        const char **why)
{
    const struct gpt_partition *found = NULL;
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
            *disk = d;
        }
    if (!found)
        *why = "no disk has a partition of this name or GUID";
    else if (found->broken)
        *why = "the partition leaves its disk, or lies over another one";
    else if (gpt_is_esp(found))
        *why = "it is an EFI system partition, which firmware starts the machine from";
    else
        return found;
    return NULL;
}
