/* See balloon.h. */
#include "guest/vm/balloon.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "guest/devices/virtio/balloon.h"
#include "guest/vm/files.h"
#include "guest/vm/making.h"
#include "guest/vm/platform.h"
#include "guest/vm/vm.h"

extern const struct device_class virtio_balloon_class;

static struct device *balloon_of(const struct vm_slot *s)
{
    return s->vm ? platform_device(s->vm, &virtio_balloon_class) : NULL;
}

static int refuse_without(const struct vm_slot *s, char *error)
{
    if (!s->config->balloon)
        return slot_refuse(error, -EINVAL, s,
                           "has no balloon: `balloon = yes` in its section gives it one");
    return slot_refuse(error, -EBUSY, s, "is off");
}

static uint64_t stat(const struct balloon_state *s, enum balloon_stat which)
{
    return s->known >> which & 1 ? s->stat[which] : BALLOON_UNKNOWN;
}

int balloon_find(struct vm_slot *slot, struct balloon_view *out, char *error)
{
    struct device *d = balloon_of(slot);
    uint64_t memory = slot->config->memory;
    struct balloon_state s;

    if (!d)
        return refuse_without(slot, error);
    balloon_look(d, &s);
    *out = (struct balloon_view){
        .memory = memory,
        .target = memory - s.target * PAGE_SIZE,
        .actual = memory - MIN(memory, s.actual * PAGE_SIZE),
        .given = guest_memory_given(&slot->vm->memory) * PAGE_SIZE,
        .kept = s.kept * PAGE_SIZE,
        .driver = s.running,
        .waits = s.starved,
        .updates = s.updates,
        .total = stat(&s, BALLOON_TOTAL),
        .free = stat(&s, BALLOON_FREE),
        .available = stat(&s, BALLOON_AVAILABLE),
        .caches = stat(&s, BALLOON_CACHES),
        .swap_in = stat(&s, BALLOON_SWAP_IN),
        .swap_out = stat(&s, BALLOON_SWAP_OUT),
        .major_faults = stat(&s, BALLOON_MAJOR_FAULTS),
        .minor_faults = stat(&s, BALLOON_MINOR_FAULTS),
    };
    return 0;
}

/* What its loader has put into its memory, and what lies below 1 MiB. */
static uint64_t least(const struct vm_slot *s)
{
    struct vm_files files = {0};
    uint64_t size = MIB;

    if (files_find(s->config, &files) == 0) {
        size += files.kernel.size + files.initrd.size;
        for (unsigned i = 0; i < s->config->modules.count; i++)
            size += files.module[i].size;
    }
    return MIN(ALIGN_UP(size, MIB), s->config->memory);
}

int balloon_resize(struct vm_slot *slot, uint64_t size, char *error)
{
    struct device *d = balloon_of(slot);
    uint64_t memory = slot->config->memory;

    if (!d)
        return refuse_without(slot, error);
    if (size > memory || size < least(slot)) {
        format(error, CONTROL_ERROR, "%s can have %lu MiB to %lu MiB%s", slot->name,
               least(slot) / MIB, memory / MIB,
               size > memory ? ", its memory in corbel.conf"
                             : ": less is less than what it is started from");
        return -EINVAL;
    }
    balloon_set(d, (uint32_t)((memory - size) / PAGE_SIZE));
    return 0;
}

void balloon_refresh(struct vm_slot *slot)
{
    struct device *d = balloon_of(slot);

    if (d)
        balloon_ask(d);
}
