/* See ram.h. */
#include "guest/storage/ram.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "mm/heap.h"

#define CHUNK    (2 * MIB)
#define MAX_SIZE BIT(41)

struct ram_disk {
    struct block_device device;
    uint32_t count; /* of its own frames */
    paddr chunk[];  /* of CHUNK bytes each, the last one of as many as there are */
};

static uint64_t chunk_size(const struct ram_disk *d, uint32_t i)
{
    return MIN(CHUNK, d->device.sectors * BLOCK_SECTOR - i * CHUNK);
}

/* What lies at that byte of the disk, and how many bytes follow it in one piece: *size, at most. */
static void *place(const struct ram_disk *d, uint64_t at, uint64_t *size)
{
    *size = MIN(*size, CHUNK - at % CHUNK);
    return phys_to_virt(d->chunk[at / CHUNK] + at % CHUNK);
}

static void copy(const struct ram_disk *d, uint64_t at, void *data, uint64_t size, bool write)
{
    for (uint64_t n; size > 0; size -= n, at += n, data = (char *)data + n) {
        n = size;
        void *here = place(d, at, &n);
        if (write)
            memcpy(here, data, n);
        else
            memcpy(data, here, n);
    }
}

static void zero(const struct ram_disk *d, uint64_t at, uint64_t size)
{
    for (uint64_t n; size > 0; size -= n, at += n) {
        n = size;
        void *here = place(d, at, &n);
        memset(here, 0, n);
    }
}

static int carry_out(const struct ram_disk *d, const struct block_request *r)
{
    uint64_t at = r->sector * BLOCK_SECTOR;
    int error = block_check(&d->device, r);

    if (error)
        return error;
    switch (r->op) {
    case BLOCK_READ:
    case BLOCK_WRITE:
        for (unsigned i = 0; i < r->count; i++) {
            copy(d, at, phys_to_virt(r->segments[i].address), r->segments[i].length,
                 r->op == BLOCK_WRITE);
            at += r->segments[i].length;
        }
        break;
    case BLOCK_DISCARD:
    case BLOCK_WRITE_ZEROES:
        zero(d, at, (uint64_t)r->sectors * BLOCK_SECTOR);
        break;
    }
    return 0;
}

static void submit(struct block_device *device, struct block_request *r)
{
    r->done(r, carry_out(CONTAINER_OF(device, struct ram_disk, device), r));
}

static const struct block_ops ops = {.submit = submit};

static struct ram_disk *allocate(uint64_t size)
{
    uint64_t count = (size + CHUNK - 1) / CHUNK;
    struct ram_disk *d;

    if (size == 0 || size >= MAX_SIZE)
        return NULL;
    d = heap_alloc(sizeof(*d) + count * sizeof(d->chunk[0]));
    if (!d)
        return NULL;
    d->device = (struct block_device){
        .ops = &ops,
        .sectors = (size + BLOCK_SECTOR - 1) / BLOCK_SECTOR,
        .logical_block = BLOCK_SECTOR,
        .physical_block = PAGE_SIZE,
        .max_sectors = MIB / BLOCK_SECTOR,
        .max_segments = UINT16_MAX,
        .segment_align = 1,
        .highest_address = UINT64_MAX,
        .has_fua = true,
    };
    format(d->device.name, sizeof(d->device.name), "ram");
    return d;
}

struct block_device *ram_disk_create(const void *file, uint64_t size, uint16_t owner)
{
    struct ram_disk *d = allocate(size);

    if (!d)
        return NULL;
    d->device.discard_sectors = d->device.write_zeroes_sectors = CHUNK / BLOCK_SECTOR;
    for (uint32_t i = 0; i < (size + CHUNK - 1) / CHUNK; i++) {
        d->chunk[i] = frame_run_alloc((chunk_size(d, i) + PAGE_SIZE - 1) / PAGE_SIZE, owner);
        if (d->chunk[i] == FRAME_NONE) {
            ram_disk_destroy(&d->device);
            return NULL;
        }
        d->count++;
    }
    copy(d, 0, (void *)file, size, true);
    zero(d, size, d->device.sectors * BLOCK_SECTOR - size);
    return &d->device;
}

struct block_device *ram_disk_of(paddr file, uint64_t size)
{
    struct ram_disk *d = allocate(size);

    if (!d)
        return NULL;
    d->device.read_only = true;
    for (uint32_t i = 0; i < (size + CHUNK - 1) / CHUNK; i++)
        d->chunk[i] = file + (uint64_t)i * CHUNK;
    return &d->device;
}

void ram_disk_destroy(struct block_device *device)
{
    struct ram_disk *d = CONTAINER_OF(device, struct ram_disk, device);

    if (!device)
        return;
    for (uint32_t i = 0; i < d->count; i++)
        frame_run_free(d->chunk[i]);
    heap_free(d);
}

void *ram_disk_page(struct block_device *device, uint64_t number)
{
    const struct ram_disk *d = CONTAINER_OF(device, struct ram_disk, device);
    uint64_t at = number * PAGE_SIZE, size = 1;

    return at < device->sectors * BLOCK_SECTOR ? place(d, at, &size) : NULL;
}
