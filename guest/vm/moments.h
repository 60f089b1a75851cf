/*
 * What is kept of VMs, by name: asked for by a person. On processor 0, as guest/vm/control.h, whose
 * sentences these are. What is kept stays when its VM ends, until it is forgotten or the machine
 * goes down.
 */
#pragma once

#include "guest/vm/control.h"

#define MOMENTS_MAX 64 /* of one VM */

/*
 * Begin to keep the VM as it is now, or to put it back to what was kept: 0, or a negative errno and
 * a sentence. It goes on by itself: moments_working().
 */
int moments_keep(struct vm_slot *slot, const char *name, size_t length, char *error) MUST_CHECK;
int moments_put_back(struct vm_slot *slot, const char *name, size_t length, char *error) MUST_CHECK;
/* Whether that still goes on. slot->moments.said tells what came of it, "": what was wanted. */
bool moments_working(const struct vm_slot *slot);
/* What is being kept is not wanted any more. */
void moments_give_up(struct vm_slot *slot);
int moments_forget(struct vm_slot *slot, const char *name, size_t length, char *error) MUST_CHECK;
/* The next one behind m, NULL: the first; NULL: there is none. */
const struct moment *moments_next(const struct vm_slot *slot, const struct moment *m);
/* For vm_layers_set_attention(). */
void moments_starved(void);
/* Bytes that it takes: what several have in common is counted once. */
uint64_t moments_size(const struct moment *m);
