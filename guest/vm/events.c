#include "guest/vm/events.h"

const struct vm_events *vm_events;

void vm_events_init(const struct vm_events *all)
{
    vm_events = all;
}
