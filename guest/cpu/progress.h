/*
 * A second line of defence: an exit whose handler neither moved RIP nor delivered anything leaves
 * the guest where it was, and if the next one does the same for ever the guest is dead and its
 * processor busy. Asked only by such handlers. Pure.
 */
#pragma once

#include "arch/x86/lib/types.h"

/* So many in a row end the VM. */
#define PROGRESS_BOUND 10000

struct progress {
    uint64_t rip, what, registers, exits;
    unsigned count;
};

/*
 * An exit has left the guest at rip with these 16 registers; what tells one cause from another (the
 * address, say), exits is how many exits the vCPU has had, without those that come from outside.
 * False: nothing else has happened the last PROGRESS_BOUND times.
 */
bool progress_none(struct progress *p, uint64_t rip, uint64_t what, const uint64_t gpr[16],
                   uint64_t exits);
