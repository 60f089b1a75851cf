/* How a slot comes by its VM: for control.c, settings.c and inspect.c. */
#pragma once

#include "guest/vm/control.h"

/* Returns result, with "NAME why" in error[CONTROL_ERROR]. */
int slot_refuse(char *error, int result, const struct vm_slot *slot, const char *why);
/* Whether what the scheduler is to be told of it suits this machine; an errno with a sentence. */
int slot_check(const struct vm_slot *s, char *error) MUST_CHECK;
/* Have its VM scheduled by its weight, cap and affinity from now on. 0, or -EINVAL. */
int slot_schedule(struct vm_slot *s) MUST_CHECK;
/* Make its VM, and note what that takes; slot_clear_some() comes next. An errno, logged. */
int slot_make(struct vm_slot *s, const struct config *config) MUST_CHECK;
/* Power-on state for its VM, whose vCPUs are away; the same comes next. */
void slot_make_anew(struct vm_slot *s);
/* Clear some of its RAM; false: that was all of it. */
bool slot_clear_some(struct vm_slot *s);
/* Load its files: it is ready for its first instruction. An errno, logged. */
int slot_boot(struct vm_slot *s) MUST_CHECK;
/* `test_invalid`: make the state invalid in which it is to be entered. */
void slot_invalidate(struct vm_slot *s, const struct config *config);
