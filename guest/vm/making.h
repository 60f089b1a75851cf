/* How a slot comes by its VM: for control.c, settings.c and inspect.c. */
#pragma once

#include "guest/vm/control.h"

/* Returns result, with "NAME why" in error[CONTROL_ERROR]. */
int slot_refuse(char *error, int result, const struct vm_slot *slot, const char *why);
/* Whether this machine has a processor of its affinity. 0, or -EINVAL with a sentence in
 * error[CONTROL_ERROR]. A cap that is larger than the machine is only warned of. */
int slot_check(const struct vm_slot *s, char *error) MUST_CHECK;
/* Have its VM scheduled by its weight, cap and affinity from now on. 0, or -EINVAL. */
int slot_schedule(struct vm_slot *s) MUST_CHECK;
/* Make its VM, and note what that costs. slot_clear_some() comes next, until it is done, and then
 * slot_boot(). 0, or a negative errno after a line on the log. */
int slot_make(struct vm_slot *s, const struct config *config) MUST_CHECK;
/* Put its VM, whose vCPUs are away, back into the state after power-on; the same comes next. */
void slot_make_anew(struct vm_slot *s);
/* Clear some of its RAM; false: that was all of it. */
bool slot_clear_some(struct vm_slot *s);
/* Load its files, of which the kernel's may have to be unpacked. 1: call it again; 0: it is ready
 * for its first instruction; or a negative errno after a line on the log. */
int slot_boot(struct vm_slot *s) MUST_CHECK;
/* If `[host] test_invalid` names it: make its boot vCPU's state one that VM entry refuses. */
void slot_invalidate(struct vm_slot *s, const struct config *config);
