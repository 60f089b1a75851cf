/* See hotplug.h. */
#include "guest/vm/hotplug.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "guest/vm/platform.h"
#include "guest/vm/vm.h"

#define STOP_MS 1000

unsigned vms_settling;

_Static_assert(CONTROL_ERROR >= DEVICE_ERROR, "a sentence of a device's fits into one of ours");

/* Its guest was told of its slots, and is there. */
static bool is_there(const struct vm_slot *s)
{
    return s->state == SLOT_RUNNING || s->state == SLOT_PAUSED || s->state == SLOT_AT_START;
}

static int refuse_state(const struct vm_slot *s, char *said)
{
    format(said, CONTROL_ERROR, "%s is %s: devices come and go while it runs or is paused", s->name,
           control_state_text(s));
    return -EBUSY;
}

/* --- coming --- */

int hotplug_attach(struct vm_slot *s, const char *key, size_t key_length, const char *text,
                   size_t length, char *said)
{
    struct platform_attached a;
    char name[16];
    int result;

    if (!is_there(s))
        return refuse_state(s, said);
    format(name, sizeof(name), "%.*s", (int)MIN(key_length, sizeof(name) - 1), key);
    said[0] = '\0';
    result =
        key_length < sizeof(name) ? platform_attach(s->vm, name, text, length, &a, said) : -ENOTSUP;
    if (result == 0)
        format(said, CONTROL_ERROR, "%s: %s %.*s is there, at PCI device %d%s", s->name, name,
               (int)MIN(length, (size_t)80), text, a.device,
               a.heard
                   ? ""
                   : ", where its system may not look before it starts anew: it does not listen "
                     "for devices that come");
    else if (result == -ENOTSUP)
        format(said, CONTROL_ERROR,
               "%s: '%s=%.*s' is nothing that can come while a VM runs: disk=SOURCE is", s->name,
               name, (int)MIN(length, (size_t)80), text);
    else if (result == -ENOSPC)
        format(said, CONTROL_ERROR, "%s has no slot left: there are more when it starts anew",
               s->name);
    else if (!said[0])
        format(said, CONTROL_ERROR, "%s: there is not enough memory for that", s->name);
    return result;
}

/* --- going --- */

/*
 * First what is in flight comes back, so that nothing writes into memory of which the guest thinks
 * that it is its own again; a guest that goes on with the device all the same keeps it no longer
 * than that.
 */
static bool may_unplug(struct device_item *item)
{
    return device_item_stop(item) || rdtsc() - item->since > tsc_hz / 1000 * STOP_MS;
}

/* The next step of one that goes; whether it is gone. */
static bool go_on(struct vm_slot *s, struct device_item *item)
{
    char name[DEVICE_NAME];

    if (item->stay == DEVICE_STOPPING && may_unplug(item))
        platform_unplug(s->vm, item, item->unasked);
    format(name, sizeof(name), "%s", item->name);
    if (item->stay != DEVICE_LEAVING || !platform_remove(s->vm, item))
        return false;
    log_info("%s: %s is detached", s->name, name);
    s->leaving--;
    vms_settling--;
    return true;
}

bool hotplug_settle(struct vm_slot *s)
{
    struct device_item *item;

    for (unsigned i = 0; s->leaving && (item = platform_item(s->vm, &i));)
        if (item->stay >= DEVICE_STOPPING && go_on(s, item))
            i = 0; /* the others have moved */
    return s->leaving == 0;
}

static void leave(struct vm_slot *s, struct device_item *item, bool unasked)
{
    item->stay = DEVICE_STOPPING;
    item->unasked = unasked;
    item->since = rdtsc();
    s->leaving++;
    vms_settling++;
    (void)hotplug_settle(s);
}

/* Those of `devices`, and with asked those that the guest was asked to let go of. */
static void leave_some(struct vm_slot *s, uint32_t devices, bool asked)
{
    struct device_item *item;

    for (unsigned i = 0; (item = platform_item(s->vm, &i));) {
        if (item->stay >= DEVICE_STOPPING)
            continue;
        if (!(devices >> platform_place(s->vm, item) & 1) && !(asked && item->stay == DEVICE_ASKED))
            continue;
        leave(s, item, false);
        i = 0;
    }
}

static uint32_t take_ejected(struct vm *vm)
{
    return __atomic_exchange_n(&vm->life->ejected, 0, __ATOMIC_SEQ_CST);
}

void hotplug_ejected(void *slot)
{
    struct vm_slot *s = slot;

    if (s->vm)
        leave_some(s, take_ejected(s->vm), false);
}

void hotplug_reset(struct vm_slot *s)
{
    leave_some(s, take_ejected(s->vm), true);
    while (!hotplug_settle(s))
        cpu_pause();
}

void hotplug_end(struct vm_slot *s)
{
    vms_settling -= s->leaving;
    s->leaving = 0;
}

/* By its name, or the number of its device. NULL and a sentence: there is none, or more than one.
 */
static struct device_item *find(const struct vm_slot *s, const char *name, size_t length,
                                char *said)
{
    struct device_item *item, *found = NULL;
    char number[4];
    int at;

    for (unsigned i = 0; (item = platform_item(s->vm, &i));) {
        if (item->stay >= DEVICE_STOPPING)
            continue;
        at = platform_place(s->vm, item);
        format(number, sizeof(number), "%d", at);
        if (strlen(number) == length && memcmp(number, name, length) == 0)
            return item;
        if (strlen(item->name) != MIN(length, DEVICE_NAME - 1u) ||
            memcmp(item->name, name, strlen(item->name)) != 0)
            continue;
        if (found) {
            format(said, CONTROL_ERROR,
                   "%s has more than one %s: say its PCI device, such as %d or %d", s->name,
                   item->name, platform_place(s->vm, found), at);
            return NULL;
        }
        found = item;
    }
    if (!found)
        format(said, CONTROL_ERROR, "%s has no '%.*s' that could go", s->name,
               (int)MIN(length, (size_t)80), name);
    return found;
}

int hotplug_detach(struct vm_slot *s, const char *name, size_t length, bool force, unsigned *id,
                   char *said)
{
    struct device_item *item;

    if (!is_there(s))
        return refuse_state(s, said);
    item = find(s, name, length, said);
    if (!item)
        return -ENOENT;
    *id = item->id;
    if (force) {
        format(said, CONTROL_ERROR, "%s: %s is taken away", s->name, item->name);
        leave(s, item, true);
    } else if (platform_ask(s->vm, item)) {
        format(said, CONTROL_ERROR, "%s is asked to let go of %s", s->name, item->name);
    } else {
        format(said, CONTROL_ERROR,
               "%s is asked to let go of %s, but does not listen: when it starts anew it is gone, "
               "with 'force' at once",
               s->name, item->name);
    }
    return 0;
}

enum hotplug_state hotplug_state(const struct vm_slot *s, unsigned id)
{
    struct device_item *item;

    for (unsigned i = 0; s->vm && (item = platform_item(s->vm, &i));)
        if (item->id == id)
            return item->stay >= DEVICE_STOPPING ? HOTPLUG_LEAVING : HOTPLUG_ASKED;
    return HOTPLUG_GONE;
}
