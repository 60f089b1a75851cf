/* Who types at VMs' keyboards, and moves their mice. On processor 0. */
#pragma once

#include "guest/vm/control.h"

/* What is typed reaches the guest bit by bit, as it reads. Each returns 0; or -EINVAL or -EBUSY,
 * nothing has been typed, and error[CONTROL_ERROR] says why. */

/* Characters as a keyboard of the United States has them; \n is Enter, \t Tab, \\ a backslash. */
int keys_type(const struct vm_slot *slot, const char *text, size_t length, char *error) MUST_CHECK;
/* A chord, such as ctrl-alt-del. */
int keys_press(const struct vm_slot *slot, const char *text, size_t length, char *error) MUST_CHECK;

enum keys_button { KEYS_NO_BUTTON, KEYS_LEFT, KEYS_RIGHT, KEYS_MIDDLE };
#define KEYS_FURTHEST 10000
/* Move the mouse, x to the right and y down, at most KEYS_FURTHEST; then press that button and let
 * it go. */
int keys_mouse(const struct vm_slot *slot, int x, int y, enum keys_button button,
               char *error) MUST_CHECK;
