/*
 * Instances of devices leave a board while its guest runs (class.h). First the guest's way to it is
 * taken away, then what is in flight comes back, and at last nobody is left who could have it in
 * hand: each time all processors have been elsewhere since.
 */
#include "arch/x86/lib/string.h"
#include "guest/board/class.h"
#include "guest/board/pci.h"
#include "mm/heap.h"

static void settle(const struct device_setup *s)
{
    if (s->host->settle)
        s->host->settle(s->host->context);
}

static bool is_idle(struct device *d)
{
    return !d->ops->idle || d->ops->idle(d, true);
}

bool device_item_stop(struct device_item *item)
{
    device_lock(item->device);
    bool idle = is_idle(item->device);
    device_unlock(item->device);
    return idle;
}

void device_item_unplug(struct device_item *item, struct device_setup *s)
{
    item->stay = DEVICE_LEAVING;
    pci_remove_device(s->pci, item->device);
    settle(s);
}

bool device_list_remove(struct device_list *list, struct device_item *item, struct device_setup *s)
{
    struct device *d = item->device;

    device_lock(d);
    bool idle = is_idle(d);
    if (idle)
        bus_remove_device(s->bus, d); /* timers were the last that might call it */
    device_unlock(d);
    if (!idle)
        return false;
    settle(s);
    if (item->class->destroy)
        item->class->destroy(d);
    heap_free(d);
    heap_free(item->name);
    unsigned at = (unsigned)(item - list->item);
    memmove(item, item + 1, (--list->count - at) * sizeof(*item));
    return true;
}
