/* A vCPU's deadlines. */
#pragma once

#include "guest/cpu/vcpu.h"

/* Guest TSC of this vCPU now. */
uint64_t vcpu_tsc(const struct vcpu *v);
/* It begins to run on this processor, and ends. */
void vcpu_begins(struct vcpu *v);
void vcpu_ends(struct vcpu *v);
/* A timer of a device has changed: the vCPU that runs here does that; nobody does who runs here. */
void vcpu_keep_time(struct vcpu *v);
void vcpu_tell_timekeeper(struct vm *vm);
/* Fire what is due of the local APIC's and the devices' timers, and find the next deadline. */
bool vcpu_run_timers(struct vcpu *v);
/* The host TSC at which its next timer fires; UINT64_MAX when none is set. */
uint64_t vcpu_timer_deadline(const struct vcpu *v);
/* The same of a vCPU that is halted or waits for a start-up IPI, and is loaded. *dead: only another
 * one of its VM can wake it. */
uint64_t vcpu_sleeps_until(const struct vcpu *v, bool *dead);
/* Find the next deadline anew after one of them has changed. */
void vcpu_update_deadline(struct vcpu *v);
