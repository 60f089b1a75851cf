/* Commands of the NVM command set, and where a command's data is. */
#include "guest/devices/nvme/nvme.h"

#define BLOCK_SHIFT 9
_Static_assert(BLOCK_SECTOR == 1 << BLOCK_SHIFT, "sectors");

enum { FLUSH, WRITE, READ, WRITE_ZEROES = 0x08, DATASET_MANAGEMENT };

#define FUSE_AND_PSDT 0xc3 /* flags: fused with another command, or data by an SGL */

/* Bits of dword 12. */
#define BLOCKS(dw12) (((dw12)&0xffff) + 1)
#define DEALLOCATE   BIT(25) /* Write Zeroes */
#define FUA          BIT(30)

/* Dataset Management: dword 11, and "Range Definition". */
#define ATTRIBUTE_DEALLOCATE BIT(2)
struct range {
    uint32_t attributes, blocks;
    uint64_t first;
} PACKED;
#define DISCARD_MOST (UINT32_MAX & ~7u) /* sectors: more than that may stay what they are */

static uint64_t sectors(const struct nvme_controller *n, uint64_t blocks)
{
    return blocks << (n->shift - BLOCK_SHIFT);
}

/* --- "Physical Region Page Entry and List" --- */

/* One more piece; those that meet become one. */
static void add(struct disk_segment *out, unsigned *count, uint64_t gpa, uint64_t length)
{
    struct disk_segment *last = *count ? &out[*count - 1] : NULL;

    if (last && last->gpa + last->length == gpa)
        last->length += (uint32_t)length;
    else
        out[(*count)++] = (struct disk_segment){gpa, (uint32_t)length};
}

/*
 * A list's first page may begin anywhere within it; its last entry leads on where there are more.
 * What follows is a whole page of entries, more than any command has: no list has a third page.
 */
static unsigned map_list(struct nvme_controller *n, uint64_t at, uint64_t left,
                         struct disk_segment *out, unsigned *count)
{
    if (at % 8)
        return NVME_INVALID_PRP_OFFSET;
    while (left > 0) {
        uint64_t pages = (left + PAGE_SIZE - 1) / PAGE_SIZE,
                 room = (PAGE_SIZE - at % PAGE_SIZE) / 8;
        uint64_t entries = MIN(pages, room), data = pages > room ? room - 1 : pages;

        if (device_memory_read(&n->dev, at, n->list, entries * 8) < 0)
            return NVME_DATA_TRANSFER_ERROR;
        for (uint64_t i = 0; i < entries; i++)
            if (n->list[i] % PAGE_SIZE)
                return NVME_INVALID_PRP_OFFSET;
        for (uint64_t i = 0; i < data; i++) {
            uint64_t length = MIN(left, PAGE_SIZE);
            add(out, count, n->list[i], length);
            left -= length;
        }
        at = n->list[entries - 1];
    }
    return NVME_SUCCESS;
}

unsigned nvme_map(struct nvme_controller *n, const struct nvme_command *c, uint64_t length,
                  struct disk_segment *out, unsigned *count)
{
    uint64_t first = MIN(length, PAGE_SIZE - c->prp1 % PAGE_SIZE), left = length - first;

    *count = 0;
    if (c->prp1 % 4)
        return NVME_INVALID_PRP_OFFSET;
    add(out, count, c->prp1, first);
    if (left > PAGE_SIZE)
        return map_list(n, c->prp2, left, out, count);
    if (left > 0 && c->prp2 % PAGE_SIZE)
        return NVME_INVALID_PRP_OFFSET;
    if (left > 0)
        add(out, count, c->prp2, left);
    return NVME_SUCCESS;
}

/* Two pieces at the most, and no list: n->page is free for what goes there. */
unsigned nvme_give(struct nvme_controller *n, const struct nvme_command *c, unsigned size)
{
    struct disk_segment piece[2];
    unsigned count, done = 0, status = nvme_map(n, c, size, piece, &count);

    for (unsigned i = 0; i < count && !status; i++) {
        if (device_memory_write(&n->dev, piece[i].gpa, n->page + done, piece[i].length) < 0)
            status = NVME_DATA_TRANSFER_ERROR;
        done += piece[i].length;
    }
    return status;
}

/* --- coming back --- */

static unsigned status_of(const struct nvme_request *r, int error)
{
    switch (error) {
    case 0:
        return NVME_SUCCESS;
    case -EROFS:
        return NVME_WRITE_PROTECTED;
    case -EFAULT:
    case -EINVAL: /* memory that the block device cannot reach, or not at that address */
        return NVME_DATA_TRANSFER_ERROR;
    case -ENOTSUP:
        return NVME_INVALID_OPCODE;
    case -ENOMEM:
    case -EAGAIN:
        return NVME_INTERNAL_ERROR;
    default:
        return r->opcode == READ ? NVME_READ_ERROR : NVME_WRITE_FAULT;
    }
}

/* What has failed is told in the log, and not to be tried again. */
static void fail(struct nvme_controller *n, unsigned sq, uint16_t cid, unsigned status,
                 uint64_t lba)
{
    if (!nvme_runs(n))
        return;
    nvme_log_error(n, (uint16_t)sq, cid, status, lba);
    nvme_answer(n, sq, cid, status | (unsigned)(NVME_MORE | NVME_DNR), 0);
}

static void give_back(struct nvme_controller *n, struct nvme_request *r, unsigned status)
{
    r->next_free = n->free;
    n->free = r;
    if (status) {
        n->media_errors += status == NVME_READ_ERROR || status == NVME_WRITE_FAULT;
        fail(n, r->sq, r->cid, status, r->disk.sector >> (n->shift - BLOCK_SHIFT));
        return;
    }
    if (r->opcode == READ) {
        n->reads++;
        n->sectors_read += r->disk.sectors;
    } else if (r->opcode == WRITE) {
        n->writes++;
        n->sectors_written += r->disk.sectors;
    }
    nvme_answer(n, r->sq, r->cid, NVME_SUCCESS, 0);
}

/* The next range with anything in it; each is read when its turn comes, once. */
static void next_range(struct nvme_controller *n, struct nvme_request *r)
{
    while (r->range < r->ranges) {
        uint32_t at = r->range++ * (uint32_t)sizeof(struct range), done = 0;
        struct range range = {0};

        /* It may lie on both sides of a page's end. */
        for (unsigned i = 0; done < sizeof(range); i++) {
            const struct disk_segment *s = &r->data[i];
            if (at >= s->length) {
                at -= s->length;
                continue;
            }
            uint32_t length = MIN((uint32_t)sizeof(range) - done, s->length - at);
            if (device_memory_read(&n->dev, s->gpa + at, (uint8_t *)&range + done, length) < 0) {
                give_back(n, r, NVME_DATA_TRANSFER_ERROR);
                return;
            }
            done += length;
            at = 0;
        }
        if (range.first > n->blocks || range.blocks > n->blocks - range.first) {
            give_back(n, r, NVME_LBA_OUT_OF_RANGE);
            return;
        }
        if (range.blocks == 0)
            continue;
        r->disk.sector = sectors(n, range.first);
        r->disk.sectors = (uint32_t)MIN(sectors(n, range.blocks), DISCARD_MOST);
        disk_submit(&n->disk, &r->disk);
        return;
    }
    give_back(n, r, NVME_SUCCESS);
}

void nvme_finished(struct disk_io *d, struct disk_request *dr, int error)
{
    struct nvme_controller *n = CONTAINER_OF(d, struct nvme_controller, disk);
    struct nvme_request *r = CONTAINER_OF(dr, struct nvme_request, disk);

    if (dr == &n->last_flush) {
        /* Where it did not reach the medium the shutdown is never complete. */
        if (error == 0)
            n->shutdown = NVME_SHUTDOWN_COMPLETE;
        else
            n->fatal = true;
        return;
    }
    if (error == 0 && r->has_next && nvme_runs(n)) {
        r->has_next = false;
        dr->op = r->next;
        dr->flags = 0;
        disk_submit(d, dr);
    } else if (error == 0 && r->opcode == DATASET_MANAGEMENT && nvme_runs(n)) {
        next_range(n, r);
    } else {
        give_back(n, r, status_of(r, error));
    }
}

/* --- beginning --- */

/* On the medium before it is answered, by what the block device has for that. */
static void force(struct nvme_controller *n, struct nvme_request *r)
{
    if (n->source.block->has_fua) {
        r->disk.flags |= BLOCK_FUA;
    } else if (n->source.block->has_flush) {
        r->has_next = true;
        r->next = BLOCK_FLUSH;
    }
}

static unsigned place(struct nvme_controller *n, struct nvme_request *r,
                      const struct nvme_command *c)
{
    uint64_t first = c->dw10 | (uint64_t)c->dw11 << 32;
    uint32_t blocks = BLOCKS(c->dw12);

    if (first > n->blocks || blocks > n->blocks - first)
        return NVME_LBA_OUT_OF_RANGE;
    r->disk.sector = sectors(n, first);
    r->disk.sectors = (uint32_t)sectors(n, blocks);
    return NVME_SUCCESS;
}

static bool read_only(const struct nvme_controller *n)
{
    return n->source.read_only || n->source.block->read_only;
}

static unsigned transfer(struct nvme_controller *n, struct nvme_request *r,
                         const struct nvme_command *c)
{
    uint64_t length = (uint64_t)BLOCKS(c->dw12) << n->shift;
    bool write = c->opcode == WRITE;
    unsigned status;

    if (length > PAGE_SIZE << NVME_MDTS)
        return NVME_INVALID_FIELD;
    if (write && read_only(n))
        return NVME_WRITE_PROTECTED;
    if ((status = place(n, r, c)) || (status = nvme_map(n, c, length, r->data, &r->disk.count)))
        return status;
    r->disk.op = write ? BLOCK_WRITE : BLOCK_READ;
    r->disk.segments = r->data;
    if (write && ((c->dw12 & FUA) || !n->number[NVME_WRITE_CACHE])) {
        force(n, r);
    } else if (!write && (c->dw12 & FUA) && n->source.block->has_flush) {
        /* From the medium: what is in the cache comes there first. */
        r->disk.op = BLOCK_FLUSH;
        r->has_next = true;
        r->next = BLOCK_READ;
    }
    return NVME_SUCCESS;
}

static unsigned write_zeroes(struct nvme_controller *n, struct nvme_request *r,
                             const struct nvme_command *c)
{
    if (!n->source.block->write_zeroes_sectors)
        return NVME_INVALID_OPCODE;
    if (read_only(n))
        return NVME_WRITE_PROTECTED;
    r->disk.op = BLOCK_WRITE_ZEROES;
    r->disk.flags = c->dw12 & DEALLOCATE ? BLOCK_UNMAP : 0;
    if ((c->dw12 & FUA) || !n->number[NVME_WRITE_CACHE])
        force(n, r);
    return place(n, r, c);
}

static unsigned manage(struct nvme_controller *n, struct nvme_request *r,
                       const struct nvme_command *c)
{
    unsigned count;

    if (!n->source.block->discard_sectors)
        return NVME_INVALID_OPCODE;
    r->ranges = (c->dw10 & 0xff) + 1;
    if (!(c->dw11 & ATTRIBUTE_DEALLOCATE))
        r->ranges = 0; /* hints of how it will be used */
    else if (read_only(n))
        return NVME_WRITE_PROTECTED;
    r->disk.op = BLOCK_DISCARD;
    return nvme_map(n, c, r->ranges * sizeof(struct range), r->data, &count);
}

static unsigned prepare(struct nvme_controller *n, struct nvme_request *r,
                        const struct nvme_command *c)
{
    r->disk.flags = 0;
    r->disk.sector = r->disk.sectors = 0;
    r->has_next = false;
    r->range = 0;
    if (c->flags & FUSE_AND_PSDT)
        return NVME_INVALID_FIELD;
    if (c->nsid != 1 && !(c->opcode == FLUSH && c->nsid == UINT32_MAX))
        return NVME_INVALID_NAMESPACE;
    switch (c->opcode) {
    case FLUSH:
        r->disk.op = BLOCK_FLUSH;
        return NVME_SUCCESS;
    case WRITE:
    case READ:
        return transfer(n, r, c);
    case WRITE_ZEROES:
        return write_zeroes(n, r, c);
    case DATASET_MANAGEMENT:
        return manage(n, r, c);
    default:
        return NVME_INVALID_OPCODE;
    }
}

void nvme_io(struct nvme_controller *n, unsigned sq, const struct nvme_command *c)
{
    struct nvme_request *r = n->free;
    unsigned status = prepare(n, r, c);

    if (status) {
        if (n->source.counts)
            n->source.counts->errors++;
        fail(n, sq, c->cid, status, c->dw10 | (uint64_t)c->dw11 << 32);
        return;
    }
    n->free = r->next_free;
    r->sq = (uint16_t)sq;
    r->cid = c->cid;
    r->opcode = c->opcode;
    if (c->opcode == DATASET_MANAGEMENT)
        next_range(n, r);
    else
        disk_submit(&n->disk, &r->disk);
}
