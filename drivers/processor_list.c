#include "drivers/processor_list.h"

#define XAPIC_ALL  0xffu
#define X2APIC_ALL 0xffffffffu

enum processor_verdict processor_verdict(const struct handover_cpu *list, uint32_t index,
                                         uint32_t own, bool x2apic)
{
    uint32_t id = list[index].apic_id;

    if (id == own)
        return PROCESSOR_SELF;
    if (!(list[index].flags & HANDOVER_CPU_ENABLED))
        return PROCESSOR_DISABLED;
    if (id >= (x2apic ? X2APIC_ALL : XAPIC_ALL))
        return PROCESSOR_UNREACHABLE;
    for (uint32_t i = 0; i < index; i++)
        if (list[i].apic_id == id && (list[i].flags & HANDOVER_CPU_ENABLED))
            return PROCESSOR_TWICE;
    return PROCESSOR_START;
}
