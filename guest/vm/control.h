/*
 * The VMs of the config and what can be done to them. All of it runs on processor 0, in root mode,
 * between guest entries; none of it waits for a guest. A VM's memory and devices exist from start
 * to end; its slot, by which it is listed, always.
 */
#pragma once

#include "guest/config/config.h"

struct vm;
struct vcpu;

enum slot_state {
    SLOT_OFF,     /* nothing of it exists */
    SLOT_RUNNING, /* its vCPUs run, wait for a processor or are halted */
    SLOT_PAUSED,  /* none of its vCPUs runs; its clock stands still */
    SLOT_ENDING,  /* its vCPUs are leaving the processors */
    SLOT_WAITING, /* it restarts when its second is over: it restarted too quickly */
};

/* What its life costs, in host TSC ticks and bytes: its last start (of which clearing its RAM), its
 * last end, what it takes beside its RAM. */
struct slot_cost {
    uint64_t make, clear, destroy, memory;
};

/* How a VM came to its end last. */
enum slot_end { SLOT_NEVER_RAN, SLOT_POWERED_OFF, SLOT_CRASHED, SLOT_KILLED, SLOT_FAILED };

struct vm_slot {
    const struct vm_config *config;
    char name[CONFIG_MAX_NAME + 1];
    unsigned id; /* index, from 0, in the config's order */
    enum slot_state state;
    enum slot_end ended; /* in state SLOT_OFF */
    struct vm *vm;       /* NULL in state SLOT_OFF */
    /* What `set` may change; from the config at first. */
    uint32_t weight, cap; /* cap in percent of one processor, 0: none */
    struct config_cpus affinity;
    unsigned starts;  /* how often it was started, restarts included */
    const char *kind; /* what its kernel's file was taken for; NULL until it has started */
    struct slot_cost cost;
    /* control.c's own */
    uint64_t began, paused_at, restart_at; /* host TSC */
    bool forced;                           /* a person ends it, not the guest */
};

#define CONTROL_ERROR CONFIG_MESSAGE /* a sentence fits into this */

/* A slot for each of the config's VMs; handover is the TSC at which the loader left. 0, -ENOMEM. */
int control_init(const struct config *config, const struct vm_config *vms,
                 uint64_t handover) MUST_CHECK;
/*
 * For the loop of processor 0, behind what a person or a debugger has asked for: start and restart
 * what is due. Returns the host TSC at which the loop is to come round again: now, when something
 * was done, which others may have to look at.
 */
uint64_t control_work(void);
/* What `when_idle` says waits until that host TSC: somebody has other plans for the machine. */
void control_stay_on(uint64_t until);

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
 * -EBUSY in the wrong state, -ENOMEM, -EINVAL; an empty one where the log has said it. What takes
 * time (a guest that shuts itself down, a vCPU that has to leave its processor) goes on after they
 * return: look at the state.
 */
int control_start(struct vm_slot *slot, char *error) MUST_CHECK;
/* Press its power button; the guest decides. */
int control_stop(struct vm_slot *slot, char *error) MUST_CHECK;
int control_pause(struct vm_slot *slot, char *error) MUST_CHECK;
int control_resume(struct vm_slot *slot, char *error) MUST_CHECK;
/* Only these vCPUs, BIT(number), of which there is one at least; the VM counts as running. */
int control_resume_some(struct vm_slot *slot, uint64_t vcpus, char *error) MUST_CHECK;
/* Power-on state and boot again, without asking the guest. */
int control_reset(struct vm_slot *slot, char *error) MUST_CHECK;
/* End it at once and give back all that it has. */
int control_kill(struct vm_slot *slot, char *error) MUST_CHECK;
/* key = weight, cap or affinity, as in the config. */
int control_set(struct vm_slot *slot, const char *key, size_t key_length, const char *value,
                size_t value_length, char *error) MUST_CHECK;
/*
 * Call fn with a vCPU of a VM that runs or is paused, loaded, so that its VMCS can be read. Where
 * it ran meanwhile it goes on afterwards. fn must be short and change nothing.
 */
int control_inspect(struct vm_slot *slot, unsigned vcpu, void (*fn)(struct vcpu *v, void *arg),
                    void *arg, char *error) MUST_CHECK;
