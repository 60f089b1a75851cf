/*
 * The VMs of the config and what can be done to them. All of it runs on processor 0, in root mode,
 * between guest entries; none of it waits for a guest. A VM's memory and devices exist from start
 * to end; its slot, by which it is listed, always.
 */
#pragma once

#include "arch/x86/smp.h"
#include "guest/config/config.h"
#include "guest/vm/life.h"
#include "guest/vm/moment.h"

struct vm;
struct vcpu;

/* What the life of a VM costs. */
struct slot_cost {
    uint64_t make;    /* host TSC ticks of its last start */
    uint64_t clear;   /* of these, for clearing its RAM */
    uint64_t destroy; /* host TSC ticks of its last end */
    uint64_t memory;  /* bytes that it takes beside its RAM */
};

/* How a VM came to its end last. */
enum slot_end { SLOT_NEVER_RAN, SLOT_POWERED_OFF, SLOT_CRASHED, SLOT_KILLED, SLOT_FAILED };

struct vm_slot {
    struct vm_config *config; /* as the file says, but for what `set` has changed */
    char name[CONFIG_MAX_NAME + 1];
    unsigned id; /* index, from 0, in the config's order */
    enum slot_state state;
    enum slot_end ended; /* in state SLOT_OFF */
    struct vm *vm;       /* NULL in state SLOT_OFF */
    unsigned starts;     /* how often it was started, restarts included */
    const char *kind;    /* what its kernel's file was taken for; NULL until it has started, and
                            with firmware */
    const char *packed;  /* what that is packed with; NULL: with nothing */
    struct slot_cost cost;
    struct slot_moments moments; /* moments.h */
    uint64_t paused_at;          /* host TSC: since then its clock stands still */
    struct config_boot boot; /* the order for its next start alone; count 0: as the config says */
    /* control.c's own */
    uint64_t began, restart_at; /* host TSC */
    uint64_t resumed;           /* vCPUs that are to go on, by number */
    bool stops_short;           /* paused while it was being made */
    bool settling;    /* its vCPUs have left for good, and something of its devices' is in flight */
    unsigned leaving; /* of its devices; hotplug.c */
    struct cpu_work eject; /* looks at what its guest has let go of */
    char why[80]; /* it is to be reset or to end, though its guest has not asked for it; or "" */
};

#define CONTROL_ERROR CONFIG_MESSAGE /* a sentence fits into this */

/* A slot for each of the config's VMs; handover is the TSC at which the loader left. 0, -ENOMEM. */
int control_init(const struct config *config, struct vm_config *vms, uint64_t handover) MUST_CHECK;
/*
 * Start and restart the VMs that are due. A chore of processor 0's loop, after those of the
 * debugger and the console, so that what they ask for is done in the same round. Returns the host
 * TSC at which it is to be called again at the latest: if something was done that is now, since the
 * other chores may have to look at it.
 */
uint64_t control_work(void);

unsigned control_count(void);
/* The slot number index, below control_count(). */
struct vm_slot *control_slot(unsigned index);
/* Whether nothing more has to happen for it to start by itself. */
bool control_awaits(const struct vm_slot *slot);
/* By name; NULL when there is none. */
struct vm_slot *control_find(const char *name, size_t length);
/* "off", "running", ... as a person reads it. */
const char *control_state_text(const struct vm_slot *slot);

/*
 * Each returns 0, or a negative errno with a sentence in error[CONTROL_ERROR] that says why not:
 * -EBUSY in the wrong state (life.c says which), -ENOMEM, -EINVAL; an empty one where the log has
 * said it. What takes time (a guest that shuts itself down, a vCPU that has to leave its processor)
 * goes on after they return: look at the state.
 */
int control_start(struct vm_slot *slot, char *error) MUST_CHECK;
/* In state SLOT_MAKING: how much of its memory has been cleared, in percent. */
unsigned control_progress(const struct vm_slot *slot);
/* Press its power button; the guest decides. */
int control_stop(struct vm_slot *slot, char *error) MUST_CHECK;
int control_pause(struct vm_slot *slot, char *error) MUST_CHECK;
int control_resume(struct vm_slot *slot, char *error) MUST_CHECK;
/* Only these vCPUs, BIT(number), of which there is one at least; the VM counts as running. */
int control_resume_some(struct vm_slot *slot, uint64_t vcpus, char *error) MUST_CHECK;
/* Power-on state and boot again, without asking the guest. */
int control_reset(struct vm_slot *slot, char *error) MUST_CHECK;
/* End it at once and give back all that it has; why is for the log. */
int control_kill(struct vm_slot *slot, const char *why, char *error) MUST_CHECK;
/* Have slot->moments.work kept, or put back, while its vCPUs are away. */
int control_keep(struct vm_slot *slot, char *error) MUST_CHECK;
/* The machine goes down: its power button if it runs; what stands still is woken for it, or ended
 * where nobody can be asked. */
void control_go_down(struct vm_slot *slot);
/* key = weight, cap or affinity, as in the config. */
int control_set(struct vm_slot *slot, const char *key, size_t key_length, const char *value,
                size_t value_length, char *error) MUST_CHECK;
/* Where its firmware looks first at its next start or reset, once: as the config's `boot`. -EINVAL.
 */
int control_boot(struct vm_slot *slot, const char *order, size_t length, char *error) MUST_CHECK;
/*
 * Call fn with a vCPU of a VM that runs or is paused, loaded, so that its VMCS can be read. Where
 * it ran meanwhile it goes on afterwards. fn must be short and change nothing.
 */
int control_inspect(struct vm_slot *slot, unsigned vcpu, void (*fn)(struct vcpu *v, void *arg),
                    void *arg, char *error) MUST_CHECK;
