/*
 * Devices that come and go while their VM runs, as a person or the guest wants it. On processor 0,
 * with no lock held, like guest/vm/control.h, whose sentences these are.
 */
#pragma once

#include "guest/vm/control.h"

/* What of VMs is looked at each millisecond until nothing of it is in flight any more: VMs that
 * end, and devices that leave. */
extern unsigned vms_settling;

/*
 * `key = text` comes to a VM that runs or stands still. 0, or an error; said[CONTROL_ERROR] is what
 * there is to say of it.
 */
int hotplug_attach(struct vm_slot *slot, const char *key, size_t key_length, const char *text,
                   size_t length, char *said) MUST_CHECK;

/* How far one is with leaving. */
enum hotplug_state { HOTPLUG_GONE, HOTPLUG_ASKED, HOTPLUG_LEAVING };

/*
 * What came as `name` or is that device of PCI is to go: the guest is asked to let go of it, or,
 * with force, it is taken away from it at once. 0 and *id for hotplug_state(), or an error;
 * said[CONTROL_ERROR] as above.
 */
int hotplug_detach(struct vm_slot *slot, const char *name, size_t length, bool force, unsigned *id,
                   char *said) MUST_CHECK;
enum hotplug_state hotplug_state(const struct vm_slot *slot, unsigned id);

/* What the guest has let go of leaves; slot->eject. */
void hotplug_ejected(void *slot);
/* Whether the last of a VM's devices that leave has gone. Asked while vms_settling says so. */
bool hotplug_settle(struct vm_slot *slot);
/* The VM is to be reset, and its guest does not run: nobody has a use any more for what was to go.
 */
void hotplug_reset(struct vm_slot *slot);
/* The VM is to end, with all that it has. */
void hotplug_end(struct vm_slot *slot);
