/* A VM's exits by reason and what they cost, added up over its vCPUs. */
#pragma once

#include "vmx/exit_names.h"

struct vm;

struct exit_count {
    unsigned reason;
    uint64_t count;
    uint64_t ticks; /* of the host's TSC, from VM exit to VM entry */
};

/* The reasons that occurred, most frequent first; returns how many. *all: their sums. */
unsigned vm_exit_counts(const struct vm *vm, struct exit_count rows[VMX_EXIT_REASONS],
                        struct exit_count *all);
