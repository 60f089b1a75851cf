/*
 * Who runs on which processor. Each has one loop and one stack: it serves what other processors
 * ask, wakes vCPUs whose timers are due, lets the scheduler choose (guest/sched/), runs that vCPU
 * until it leaves, and is halted when there is none. There are no other threads.
 */
#pragma once

#include "arch/x86/percpu.h"
#include "guest/vm/vm.h"

/* Processor n will run VMs; the boot processor calls this for each, itself first. 0, -ENOMEM. */
int run_join(unsigned n) MUST_CHECK;
/* Whether it has. */
bool run_takes_part(unsigned n);
/* All have joined: their loops begin. */
void run_open(void);
/* What a processor does from its start on. */
NORETURN void run_processor(void);
/* The calling processor's loop, for good. On processor 0 it also looks after consoles and VMs'
 * lives: see control_work(). */
NORETURN void run_loop(void);

/* Whether this processor's loop has something to do that its vCPU should be left for. */
static inline bool run_wanted(void)
{
    const struct percpu *cpu = this_cpu();

    return __atomic_load_n(&cpu->calls, __ATOMIC_RELAXED) != NULL ||
           __atomic_load_n(&cpu->attention, __ATOMIC_RELAXED);
}

/* Have processor n go through its loop soon. From anywhere, with any lock held. */
void run_attention(unsigned n);
/* The calling processor's loop is to come round again at that host TSC at the latest; from within
 * an exit or the loop. */
void run_again_at(uint64_t deadline);

/* --- vCPUs; on processor 0 only --- */

/* A new vCPU, away: known to the scheduler, but not to be run. */
void run_add(struct vcpu *v);
/* Let those of a VM's vCPUs that are away be scheduled from now on: bit n stands for vCPU n. */
void run_enter(struct vm *vm, uint64_t vcpus);
/* The VM's vCPUs are to go away; its `parked` work runs on processor 0 when the last one has. */
void run_leave(struct vm *vm);
/* Whatever vCPU the calling processor has loaded is put away. */
void run_unload(void);
/* Forget the VM's translations on every processor that ran it. When it returns, none of them looks
 * at a vCPU that is away any more. */
void run_flush(struct vm *vm);
/* Every processor that ran it has left its guest and forgotten the VM's translations when this
 * returns; vCPUs go on by vcpu_run(). */
void run_synchronize(struct vm *vm);
/* Its share: see guest/config/config.h; an empty set of processors means all. -EINVAL. */
int run_schedule(struct vm *vm, uint32_t weight, uint32_t cap,
                 const struct config_cpus *set) MUST_CHECK;
struct sched_stats run_stats(struct vcpu *v);
/* Host TSC ticks that it has run; and whatever else the scheduler knows of it. */
uint64_t run_time(struct vcpu *v);
/*
 * Call fn with the vCPU's state loaded, wherever that is; where it ran meanwhile it goes on
 * afterwards. fn is short and takes no lock but the console's. 0, or -EBUSY when the vCPU moves
 * about too quickly.
 */
int run_inspect(struct vcpu *v, void (*fn)(struct vcpu *v, void *arg), void *arg) MUST_CHECK;
