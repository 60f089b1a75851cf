/* A VM's balloon: how much memory the VM shall have, and what is known of that. */
#pragma once

#include "guest/vm/control.h"

#define BALLOON_UNKNOWN UINT64_MAX

/* Bytes, but for counts; what the guest tells of itself is BALLOON_UNKNOWN where it does not. */
struct balloon_view {
    uint64_t memory, target, actual; /* its RAM; what it shall have; what it says that it has */
    uint64_t given;                  /* of its RAM: what is somebody else's to use now */
    uint64_t kept;                   /* what it gave, but had to stay: so far */
    bool driver;                     /* somebody in the guest drives it */
    bool waits;                      /* the guest wants pages back, for which there is no memory */
    unsigned updates;                /* how often it has told: */
    uint64_t total, free, available, caches, swap_in, swap_out, major_faults, minor_faults;
};

/* As the control_ functions: 0, or a negative errno with a sentence in error[CONTROL_ERROR]. */
int balloon_find(struct vm_slot *slot, struct balloon_view *out, char *error) MUST_CHECK;
/* So many bytes it shall have from now on, until it ends. -EINVAL: more than its RAM, or less than
 * what it starts from. */
int balloon_resize(struct vm_slot *slot, uint64_t size, char *error) MUST_CHECK;
/* Ask the guest to tell again how it gets along, which it may do. */
void balloon_refresh(struct vm_slot *slot);
