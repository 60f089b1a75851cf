#include "guest/exits.h"

#include "guest/vm.h"

static uint64_t exits_of(const struct vm *vm, unsigned reason)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < vm->vcpu_count; i++)
        n += vm->vcpu[i]->exits[reason];
    return n;
}

unsigned vm_exit_rows(const struct vm *vm, struct exit_row rows[VMX_EXIT_REASONS], uint64_t *total)
{
    unsigned count = 0;

    *total = 0;
    for (unsigned reason = 0; reason < VMX_EXIT_REASONS; reason++) {
        uint64_t n = exits_of(vm, reason);
        unsigned at = count;

        if (!n)
            continue;
        for (; at && rows[at - 1].count < n; at--)
            rows[at] = rows[at - 1];
        rows[at] = (struct exit_row){.reason = reason, .count = n};
        count++;
        *total += n;
    }
    return count;
}
