/*
 * A VM as its vCPUs see it, and those who look on. How it comes to be, what its life is and what
 * devices it has is guest/vm/'s (guest/vm/vm.h).
 */
#pragma once

#include "guest/board/board.h"
#include "guest/config/config.h"
#include "guest/cpu/ending.h"
#include "guest/cpu/pv_state.h"
#include "guest/memory/rights.h"
#include "guest/run/task.h"
#include "mm/guest_memory.h"

struct bus_locks;
struct vcpu;
struct vm_life;

struct vm {
    char name[CONFIG_MAX_NAME + 1];
    unsigned id;
    const struct vm_config *config;
    struct vm_life *life; /* what only guest/vm/ and those above it know of it */

    struct ending ending;
    bool debugged;             /* a debugger may stop it; changes while its vCPUs are away */
    bool stopping;             /* and one of its vCPUs has come to a stop; atomic */
    unsigned turns;            /* vCPUs that have not had their turn since it was resumed; atomic */
    struct watch_set *watches; /* NULL: nobody has watched it yet */
    struct task_group tasks;   /* its vCPUs, as the processors' loops see them */

    struct guest_memory memory;
    bool starved;         /* its vCPUs have left since it wants more than there is; atomic */
    struct rights rights; /* its EPT */
    paddr apic_access_page;

    struct vcpu *vcpu[CONFIG_MAX_CPUS];
    unsigned vcpu_count;

    struct pv_vm pv; /* of KVM's paravirtual interfaces */
    struct bus_locks *bus_locks;

    struct board *board; /* its vCPUs have this pointer, too */
};

/*
 * Rights have been taken, or tables of its EPT are used no more: when this returns, every processor
 * has left its vCPUs and forgotten what was. On any processor, no lock held.
 */
void vm_settle_rights(struct vm *vm);
