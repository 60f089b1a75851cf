/* See class.h. */
#include "guest/board/class.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "mm/heap.h"

int device_class_check(const struct device_class *const *classes, unsigned count, const char *key,
                       const char *text, size_t length, char *error)
{
    int result = 0;

    for (unsigned i = 0; i < count && result == 0; i++)
        if (classes[i]->key && strcmp(classes[i]->key, key) == 0)
            result = classes[i]->check ? classes[i]->check(text, length, error) : 1;
    return result;
}

/* The next line of the key that the class has its lines of now. */
static const char *next_line(struct device_setup *s, size_t *length, uint32_t *line)
{
    const char *text;

    while (!(text = s->host->line(s->host->context, s->key, s->lines, length, line))) {
        if (!s->class->also || s->key == s->class->also)
            return NULL;
        s->key = s->class->also;
        s->lines = 0;
    }
    s->lines++;
    return text;
}

bool device_setup_next(struct device_setup *s)
{
    const struct device_class *class = s->class;
    const char *text;
    size_t length;
    uint32_t line;

    while (class && (text = next_line(s, &length, &line))) {
        if (s->key == class->key && class->check && class->check(text, length, s->error) == 0)
            continue;
        s->text = text;
        s->length = length;
        s->line = line;
        return true;
    }
    return false;
}

int device_make(const struct device_class *class, struct device *d, struct device_setup *s)
{
    int result;

    memset(d, 0, class->size);
    d->ops = class->ops;
    d->board = s->board;
    s->error[0] = '\0';
    result = bus_add_device(s->bus, d);
    for (unsigned i = 0; i < DEVICE_PORTS && class->ports[i].count && result == 0; i++)
        result = bus_add_ports(s->bus, d, class->ports[i].base, class->ports[i].count);
    return result == 0 && class->create ? class->create(d, s) : result;
}

/* Nobody finds it any more, and who had found it is somewhere else. */
static void leave_bus(struct device *d, const struct device_setup *s)
{
    bus_remove_device(s->bus, d);
    if (s->host && s->host->settle)
        s->host->settle(s->host->context);
}

/* What its line names it; NULL: no memory. */
static char *name_of(const struct device_setup *s)
{
    size_t length = 0;
    char *name;

    while (length < s->length && length + 1 < DEVICE_NAME && s->text[length] != ',')
        length++;
    name = heap_alloc(length + 1);
    return name ? memcpy(name, s->text, length) : NULL;
}

int device_list_add(struct device_list *list, const struct device_class *class,
                    struct device_setup *s)
{
    struct device *d;
    char *name = NULL;
    int result;

    if (list->count == ARRAY_SIZE(list->item))
        return -ENOSPC;
    if (class->key && !(name = name_of(s)))
        return -ENOMEM;
    d = heap_alloc(class->size);
    result = d ? device_make(class, d, s) : -ENOMEM;
    if (result < 0) {
        if (d)
            leave_bus(d, s);
        heap_free(d);
        heap_free(name);
        return result;
    }
    list->item[list->count++] =
        (struct device_item){.class = class, .device = d, .id = ++list->last_id, .name = name};
    return 0;
}

static int add_lines(struct device_list *list, const struct device_class *class,
                     struct device_setup *s)
{
    int result = 0;

    s->class = class;
    s->key = class->key;
    s->lines = 0;
    while (result == 0 && device_setup_next(s))
        result = device_list_add(list, class, s);
    s->class = NULL;
    s->key = NULL;
    return result;
}

int device_list_fill(struct device_list *list, const struct device_class *const *classes,
                     unsigned count, struct device_setup *s)
{
    int result = 0;

    for (unsigned i = 0; i < count && result == 0; i++) {
        s->text = NULL;
        s->line = 0;
        result =
            classes[i]->key ? add_lines(list, classes[i], s) : device_list_add(list, classes[i], s);
    }
    return result;
}

struct device *device_list_find(const struct device_list *list, const struct device_class *class,
                                unsigned index)
{
    for (unsigned i = 0; i < list->count; i++)
        if (list->item[i].class == class && index-- == 0)
            return list->item[i].device;
    return NULL;
}

void device_list_destroy(struct device_list *list)
{
    while (list->count) {
        const struct device_class *class = list->item[--list->count].class;
        struct device *d = list->item[list->count].device;

        if (class->destroy)
            class->destroy(d);
        heap_free(d);
        heap_free(list->item[list->count].name);
    }
}
