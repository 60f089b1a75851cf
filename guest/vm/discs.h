/* Discs in a VM's CD-ROM drives: what the config says, and as a person changes them. On processor
 * 0. */
#pragma once

#include "guest/board/class.h"
#include "guest/vm/control.h"

/* struct device_host's disc(): context is the struct vm. Any file that the config names will do. */
int disc_open(void *context, const char *text, size_t length, struct device_disk *out,
              char *error) MUST_CHECK;

/* 0, or a negative errno with a sentence in error[CONTROL_ERROR]. now: in spite of a lock of the
 * guest's. */
int discs_eject(struct vm_slot *slot, bool now, char *error) MUST_CHECK;
/* Close the tray, with that file of the boot disk in it; without a name (length 0) with what was in
 * it. */
int discs_insert(struct vm_slot *slot, const char *name, size_t length, char *error) MUST_CHECK;
