/* See moments.h. */
#include "guest/vm/moments.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "guest/vm/down.h"
#include "guest/vm/layers.h"
#include "guest/vm/making.h"
#include "mm/heap.h"

static struct moment **find(struct vm_slot *s, const char *name, size_t length)
{
    struct moment **at = &s->moments.kept;

    while (*at && (strlen((*at)->name) != length || memcmp((*at)->name, name, length) != 0))
        at = &(*at)->next;
    return at;
}

static bool is_name(const char *name, size_t length)
{
    bool good = length > 0 && length <= MOMENT_NAME;

    for (size_t i = 0; good && i < length; i++)
        good = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') ||
               (name[i] >= '0' && name[i] <= '9') || strchr("-_.", name[i]);
    return good;
}

static int none(const struct vm_slot *s, const char *name, size_t length, char *error)
{
    format(error, CONTROL_ERROR, "%s has no snapshot '%.*s': 'snapshots' lists them", s->name,
           (int)MIN(length, (size_t)40), name);
    return -ENOENT;
}

/* What is asked of a VM that is there can be done; else life.c says why not. */
static int possible(const struct vm_slot *s, char *error)
{
    if (s->moments.work)
        return slot_refuse(error, -EBUSY, s, "is just being kept, or put back: try again");
    return s->vm && s->state != SLOT_MAKING ? moment_possible(s, error) : 0;
}

static unsigned count(const struct vm_slot *s)
{
    unsigned n = 0;

    for (const struct moment *m = s->moments.kept; m; m = m->next)
        n++;
    return n;
}

int moments_keep(struct vm_slot *s, const char *name, size_t length, char *error)
{
    struct moment *m;
    int result = possible(s, error);

    if (result < 0)
        return result;
    if (s->vm && vm_layers_torn(s->vm))
        return slot_refuse(error, -EBUSY, s, "has disks that are of two moments: restore it first");
    if (!is_name(name, length)) {
        format(error, CONTROL_ERROR,
               "'%.*s' is no name: it has 1 to %u letters, digits, and -_. between them",
               (int)MIN(length, (size_t)40), name, MOMENT_NAME);
        return -EINVAL;
    }
    if (*find(s, name, length)) {
        format(error, CONTROL_ERROR,
               "%s has a snapshot '%.*s' already: forget it, or take another "
               "name",
               s->name, (int)length, name);
        return -EEXIST;
    }
    if (count(s) == MOMENTS_MAX)
        return slot_refuse(error, -ENOSPC, s, "has as many snapshots as it may: forget one");
    m = heap_alloc(sizeof(*m));
    if (!m)
        return slot_refuse(error, -ENOMEM, s, "is not kept: memory is out");
    memcpy(m->name, name, length);
    s->moments.work = m;
    s->moments.back = s->moments.given_up = false;
    result = control_keep(s, error);
    if (result < 0) {
        s->moments.work = NULL;
        moment_destroy(s, m);
    }
    return result;
}

int moments_put_back(struct vm_slot *s, const char *name, size_t length, char *error)
{
    struct moment *m = *find(s, name, length);
    int result = m ? possible(s, error) : none(s, name, length, error);

    if (result < 0)
        return result;
    s->moments.work = m;
    s->moments.back = true;
    s->moments.given_up = false;
    result = control_keep(s, error);
    if (result < 0)
        s->moments.work = NULL;
    return result;
}

bool moments_working(const struct vm_slot *s)
{
    return s->moments.work != NULL;
}

void moments_give_up(struct vm_slot *s)
{
    s->moments.given_up = true;
}

int moments_forget(struct vm_slot *s, const char *name, size_t length, char *error)
{
    struct moment **at = find(s, name, length), *m = *at;

    if (!m)
        return none(s, name, length, error);
    if ((s->moments.work && s->moments.back) || (s->vm && !vm_layers_quiet(s->vm)))
        return slot_refuse(error, -EBUSY, s, "is just being put back: try again");
    *at = m->next;
    moment_destroy(s, m);
    return 0;
}

const struct moment *moments_next(const struct vm_slot *s, const struct moment *m)
{
    return m ? m->next : s->moments.kept;
}

uint64_t moments_size(const struct moment *m)
{
    return ALIGN_UP(m->state.size, PAGE_SIZE) + m->pages.frames * PAGE_SIZE + vm_layers_size(m);
}

/*
 * What a guest writes waits until there is memory for what its snapshots have of its disk: so it
 * stands still, until somebody has forgotten one. Where the machine goes down all of them are as
 * good as forgotten.
 */
void moments_starved(void)
{
    char said[CONTROL_ERROR], error[CONTROL_ERROR];

    for (unsigned i = 0; i < control_count(); i++) {
        struct vm_slot *s = control_slot(i);

        if (!s->vm || !vm_layers_starve(s->vm, said))
            continue;
        if (down_wanted()) {
            vm_layers_lose(s->vm);
            continue;
        }
        log_error("%s", said);
        (void)!control_pause(s, error); /* else it does so already, or ends */
    }
}
