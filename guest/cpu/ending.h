/*
 * How a VM comes to its end. A vCPU, a device or a person asks for it here; the first request
 * counts, and all vCPUs of the VM leave their processors. What then follows - power off, restart, a
 * pause for a look at it - is decided in guest/vm/control.c, when the last vCPU has left.
 */
#pragma once

#include "guest/board/device.h"

struct vm;
struct vcpu;

struct ending {
    bool wanted; /* the vCPUs are to leave for good; atomic */
    bool killed; /* because of a fault; atomic */
    bool broken; /* its memory is: nobody may look at it, nor start anything in it; atomic */
    enum vm_request request;
    char why[120]; /* a sentence for the log */
};

/* End the VM or restart it, when its vCPUs have left their processors. From any processor. */
void vm_request(struct vm *vm, enum vm_request request, const char *why);
/* It wants memory that it was not promised, and too little is left: its vCPUs are to leave, and it
 * stands still until somebody lets it go on. From any processor, with locks below RANK_SCHED. */
void vm_starve(struct vm *vm);
/* Memory of the VM's is lost: log why, and end it, whatever else was to become of it. */
void vm_break(struct vm *vm, const char *why);
/* The guest did what cannot be carried on with: log why, with the state of the vCPU, which is
 * loaded, and end the VM, whatever the guest had asked for. */
void vm_kill(struct vcpu *v, const char *why, ...) PRINTF(2, 3);
