/* See boot_order.h. Pure. */
#include "guest/vm/boot_order.h"

#include "arch/x86/lib/string.h"

_Static_assert((int)DEVICE_BOOT_DISK == (int)CONFIG_BOOT_DISK &&
                   (int)DEVICE_BOOT_CD == (int)CONFIG_BOOT_CD &&
                   (int)DEVICE_BOOT_NET == (int)CONFIG_BOOT_NET,
               "what the config names devices know");

struct lines {
    const struct device_list *devices;
    char *text;
    size_t used;
};

/* There is room for all that a config can have; what was attached later has none. */
static void add(struct lines *l, const char *path)
{
    size_t length = strlen(path);

    if (l->used + length + 2 > BOOT_TEXT_SIZE)
        return;
    if (l->used)
        l->text[l->used++] = '\n';
    memcpy(l->text + l->used, path, length);
    l->used += length;
}

/* Number n of the disks that instances of that class have. */
static void add_disk(struct lines *l, const struct device_class *class, unsigned n)
{
    char path[DEVICE_BOOT_PATH];
    struct device *d;

    for (unsigned i = 0; (d = device_list_find(l->devices, class, i)); i++)
        for (unsigned k = 0; class->boots(d, DEVICE_BOOT_DISK, k, path); k++)
            if (n-- == 0) {
                add(l, path);
                return;
            }
}

static void add_disks(struct lines *l, const struct config_lines *disks,
                      const struct device_class *(*class_of)(const char *text, size_t length))
{
    const struct device_class *class[CONFIG_MAX_LINES];

    for (unsigned i = 0; i < disks->count; i++) {
        unsigned before = 0;

        class[i] = class_of(disks->item[i].text.data, disks->item[i].text.length);
        for (unsigned k = 0; k < i; k++)
            before += class[k] == class[i];
        if (class[i] && class[i] -> boots)
            add_disk(l, class[i], before);
    }
}

static void add_all(struct lines *l, enum device_boot kind)
{
    char path[DEVICE_BOOT_PATH];

    for (unsigned i = 0; i < l->devices->count; i++) {
        const struct device_item *item = &l->devices->item[i];

        for (unsigned k = 0; item->class->boots && item->class->boots(item->device, kind, k, path);
             k++)
            add(l, path);
    }
}

size_t boot_order(const struct config_boot *order, const struct device_list *devices,
                  const struct config_lines *disks,
                  const struct device_class *(*class_of)(const char *text, size_t length),
                  char *text)
{
    struct lines l = {.devices = devices, .text = text};

    for (uint32_t i = 0; i < order->count; i++) {
        if (order->kind[i] == CONFIG_BOOT_DISK)
            add_disks(&l, disks, class_of);
        else
            add_all(&l, (enum device_boot)order->kind[i]);
    }
    text[l.used++] = '\0';
    return l.used;
}
