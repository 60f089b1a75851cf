/* See slice.h. */
#include "guest/storage/slice.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"

static void submit(struct block_device *device, struct block_request *r)
{
    struct block_slice *s = CONTAINER_OF(device, struct block_slice, device);
    int error = block_check(device, r);

    if (error) {
        r->done(r, error);
        return;
    }
    r->sector += s->first;
    block_submit(s->under, r);
}

static void poll(struct block_device *device, const void *owner)
{
    struct block_device *under = CONTAINER_OF(device, struct block_slice, device)->under;

    under->ops->poll(under, owner);
}

static const struct block_ops polled = {.submit = submit, .poll = poll};
static const struct block_ops not_polled = {.submit = submit};

int block_slice_init(struct block_slice *s, struct block_device *under, const char *name,
                     uint64_t first, uint64_t sectors)
{
    if (sectors == 0 || first > under->sectors || sectors > under->sectors - first ||
        (first | sectors) % (under->logical_block / BLOCK_SECTOR) != 0)
        return -EINVAL;
    s->device = *under;
    s->device.ops = under->ops->poll ? &polled : &not_polled;
    s->device.sectors = sectors;
    format(s->device.name, sizeof(s->device.name), "%s", name);
    s->under = under;
    s->first = first;
    return 0;
}
