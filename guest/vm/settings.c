/* What may be changed of a VM at any time: its weight, its cap, and where it may run. */
#include "arch/x86/lib/errno.h"
#include "guest/config/config_text.h"
#include "guest/vm/making.h"

static int change(struct vm_slot *s, enum config_vm_key key, struct config_span value, char *error)
{
    static struct vm_config values; /* too large for the stack */

    values = *s->config;
    if (!config_change(&values, key, value, error))
        return -EINVAL;
    if (key == CONFIG_VM_WEIGHT)
        s->weight = values.weight;
    else if (key == CONFIG_VM_CAP)
        s->cap = values.cap;
    else
        s->affinity = values.affinity;
    return 0;
}

int control_set(struct vm_slot *s, const char *key, size_t key_length, const char *value,
                size_t value_length, char *error)
{
    static const enum config_vm_key keys[] = {CONFIG_VM_WEIGHT, CONFIG_VM_CAP, CONFIG_VM_AFFINITY};
    struct config_span name = {key, key_length};
    struct vm_slot changed = *s;
    unsigned i = 0;
    int result;

    while (i < ARRAY_SIZE(keys) && !config_span_is(name, config_vm_keys[keys[i]].name))
        i++;
    if (i == ARRAY_SIZE(keys))
        return slot_refuse(error, -EINVAL, s, "has weight, cap and affinity to be set");
    result = change(&changed, keys[i], (struct config_span){value, value_length}, error);
    if (result == 0)
        result = slot_check(&changed, error);
    if (result < 0)
        return result;
    s->weight = changed.weight;
    s->cap = changed.cap;
    s->affinity = changed.affinity;
    return s->vm ? slot_schedule(s) : 0;
}
