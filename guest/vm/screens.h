/* What VMs' displays show. On processor 0. */
#pragma once

#include "guest/vm/control.h"

#define SCREEN_COLUMNS 160u /* letters of a row of text, at most */
#define SCREEN_WIDTH   2560u
#define SCREEN_HEIGHT  2048u

struct screen {
    enum { SCREEN_BLANK, SCREEN_TEXT, SCREEN_POINTS } kind;
    unsigned width, height; /* letters, or points */
};

/* What the VM's display shows now; -EINVAL: it has none, or is not on, and error[CONTROL_ERROR]
 * says so. */
int screen_find(const struct vm_slot *slot, struct screen *s, char *error) MUST_CHECK;
/* Row y of text, in ASCII: s->width bytes. false: it shows something else meanwhile. */
bool screen_text(const struct vm_slot *slot, const struct screen *s, unsigned y,
                 char *out) MUST_CHECK;
/* Row y of points: red, green and blue of each, 3 * s->width bytes. false: as above. */
bool screen_points(const struct vm_slot *slot, const struct screen *s, unsigned y,
                   uint8_t *out) MUST_CHECK;
