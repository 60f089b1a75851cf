/* See hotplug.h. */
#include "guest/devices/hotplug.h"
#include "guest/board/ports.h"

static uint32_t hotplug_read(struct device *d, uint16_t port, unsigned size)
{
    struct hotplug *h = CONTAINER_OF(d, struct hotplug, dev);
    unsigned offset = port - PORT_HOTPLUG;
    uint32_t *bits = offset == HOTPLUG_COME ? &h->come : offset == HOTPLUG_GO ? &h->go : NULL;
    uint32_t value;

    if (!bits || size != 4) /* registers are there as a whole */
        return UINT32_MAX;
    value = *bits;
    *bits = 0; /* what has happened is told once */
    return value;
}

static void hotplug_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    struct hotplug *h = CONTAINER_OF(d, struct hotplug, dev);

    if (port - PORT_HOTPLUG == HOTPLUG_EJECT && size == 4)
        h->eject(h->context, value);
}

static void note(struct hotplug *h, uint32_t *to, uint32_t *other, unsigned device)
{
    device_lock(&h->dev);
    *to |= UINT32_C(1) << device;
    *other &= ~(UINT32_C(1) << device);
    device_unlock(&h->dev);
}

void hotplug_come(struct hotplug *h, unsigned device)
{
    note(h, &h->come, &h->go, device);
}

void hotplug_go(struct hotplug *h, unsigned device)
{
    note(h, &h->go, &h->come, device);
}

/* --- life --- */

static void hotplug_reset(struct device *d)
{
    struct hotplug *h = CONTAINER_OF(d, struct hotplug, dev);

    h->come = h->go = 0;
}

static void hotplug_save(struct device *d, struct state_writer *w)
{
    struct hotplug *h = CONTAINER_OF(d, struct hotplug, dev);

    state_put_u32(w, h->come);
    state_put_u32(w, h->go);
}

static int hotplug_load(struct device *d, struct state_reader *r)
{
    struct hotplug *h = CONTAINER_OF(d, struct hotplug, dev);

    h->come = state_get_u32(r);
    h->go = state_get_u32(r);
    return 0;
}

static const struct device_ops hotplug_ops = {
    .name = "hotplug",
    .version = 1,
    .port_read = hotplug_read,
    .port_write = hotplug_write,
    .reset = hotplug_reset,
    .save = hotplug_save,
    .load = hotplug_load,
};

static int hotplug_create(struct device *d, struct device_setup *s)
{
    struct hotplug *h = CONTAINER_OF(d, struct hotplug, dev);

    h->context = s->host->context;
    h->eject = s->host->eject;
    return 0;
}

const struct device_class hotplug_class = {
    .ops = &hotplug_ops,
    .size = sizeof(struct hotplug),
    .ports = {{PORT_HOTPLUG, HOTPLUG_SIZE}},
    .create = hotplug_create,
};
