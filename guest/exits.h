/* A VM's exits by reason, added up over its vCPUs. */
#pragma once

#include "vmx/exit_names.h"

struct vm;

struct exit_row {
    unsigned reason;
    uint64_t count;
};

/* The reasons that occurred, most frequent first; returns how many. *total: all exits. */
unsigned vm_exit_rows(const struct vm *vm, struct exit_row rows[VMX_EXIT_REASONS], uint64_t *total);
