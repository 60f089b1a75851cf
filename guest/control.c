/* The VMs of the config, which run one after another: there is one at a time to be steered. */
#include "guest/control.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/vm.h"
#include "mm/heap.h"

static struct vm_slot *slots;
static unsigned slot_count;

int control_init(const struct vm_config *vms, unsigned count)
{
    slots = heap_alloc((count + 1) * sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    slot_count = count;
    for (unsigned i = 0; i < count; i++) {
        struct vm_slot *s = &slots[i];
        s->config = &vms[i];
        s->id = i;
        memcpy(s->name, vms[i].name.data, MIN(vms[i].name.length, sizeof(s->name) - 1));
        s->weight = vms[i].weight;
        s->cap = vms[i].cap;
        s->affinity = vms[i].affinity;
    }
    return 0;
}

unsigned control_count(void)
{
    return slot_count;
}

struct vm_slot *control_slot(unsigned index)
{
    return &slots[index];
}

struct vm_slot *control_find(const char *name, size_t length)
{
    for (unsigned i = 0; i < slot_count; i++)
        if (strlen(slots[i].name) == length && memcmp(slots[i].name, name, length) == 0)
            return &slots[i];
    return NULL;
}

const char *control_state_text(const struct vm_slot *slot)
{
    static const char *const state[] = {"off", "running", "paused", "ending", "waiting"};

    return state[slot->state];
}

static int not_running(const struct vm_slot *slot, char *error)
{
    if (slot->vm)
        return 0;
    format(error, CONTROL_ERROR, "%s does not run", slot->name);
    return -EBUSY;
}

static int not_there(char *error)
{
    format(error, CONTROL_ERROR, "this version runs VMs one after another, each once");
    return -ENOTSUP;
}

int control_start(struct vm_slot *slot, char *error)
{
    return not_there(error);
}

int control_stop(struct vm_slot *slot, char *error)
{
    int e = not_running(slot, error);

    if (e < 0)
        return e;
    acpi_pm_power_button(&slot->vm->acpi_pm);
    vcpu_ask(slot->vm->vcpu[0], REQUEST_EVENT);
    return 0;
}

int control_pause(struct vm_slot *slot, char *error)
{
    return not_there(error);
}

int control_resume(struct vm_slot *slot, char *error)
{
    return not_there(error);
}

int control_reset(struct vm_slot *slot, char *error)
{
    int e = not_running(slot, error);

    if (e == 0)
        vm_request(slot->vm, VM_REQUEST_RESET, "reset from the monitor");
    return e;
}

int control_kill(struct vm_slot *slot, char *error)
{
    int e = not_running(slot, error);

    if (e < 0)
        return e;
    vm_request(slot->vm, VM_REQUEST_POWEROFF, "from the monitor");
    slot->vm->killed = true;
    return 0;
}

int control_set(struct vm_slot *slot, const char *key, size_t key_length, const char *value,
                size_t value_length, char *error)
{
    return not_there(error);
}

int control_inspect(struct vm_slot *slot, unsigned vcpu, void (*fn)(struct vcpu *v, void *arg),
                    void *arg, char *error)
{
    int e = not_running(slot, error);

    if (e < 0)
        return e;
    if (vcpu >= slot->vm->vcpu_count) {
        format(error, CONTROL_ERROR, "%s has no vCPU %u", slot->name, vcpu);
        return -EINVAL;
    }
    fn(slot->vm->vcpu[vcpu], arg);
    return 0;
}
