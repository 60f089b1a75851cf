/* What may be changed of a VM at any time: its weight, its cap, where it may run, and what it
 * starts from. */
#include "arch/x86/lib/errno.h"
#include "guest/config/config_text.h"
#include "guest/vm/making.h"

int control_set(struct vm_slot *s, const char *key, size_t key_length, const char *value,
                size_t value_length, char *error)
{
    static const enum config_vm_key keys[] = {CONFIG_VM_WEIGHT, CONFIG_VM_CAP, CONFIG_VM_AFFINITY};
    struct vm_config *c = s->config;
    const struct config_cpus affinity = c->affinity;
    const uint32_t weight = c->weight, cap = c->cap;
    struct config_span name = {key, key_length};
    unsigned i = 0;
    int result;

    while (i < ARRAY_SIZE(keys) && !config_span_is(name, config_vm_keys[keys[i]].name))
        i++;
    if (i == ARRAY_SIZE(keys))
        return slot_refuse(error, -EINVAL, s, "has weight, cap and affinity to be set");
    if (!config_change(c, keys[i], (struct config_span){value, value_length}, error))
        return -EINVAL;
    result = slot_check(s, error);
    if (result < 0) {
        c->affinity = affinity;
        c->weight = weight;
        c->cap = cap;
        return result;
    }
    return s->vm ? slot_schedule(s) : 0;
}

int control_boot(struct vm_slot *s, const char *text, size_t length, char *error)
{
    struct config_boot order;

    if (!s->config->firmware.data)
        return slot_refuse(error, -EINVAL, s, "has no firmware: its kernel is what starts");
    if (!config_parse_boot((struct config_span){text, length}, &order))
        return slot_refuse(
            error, -EINVAL, s,
            "can look at cd, disk and net first, each at most once, such as cd,disk");
    s->boot = order;
    return 0;
}
