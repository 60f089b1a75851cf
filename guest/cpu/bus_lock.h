/*
 * Bus locks: a locked access to two cache lines, or to memory that is not write-back, keeps the
 * whole machine from its memory. The processor tells of each, behind it by a VM exit, or before it
 * by #AC (split locks alone); a VM that takes more of them than `bus_locks` says is slowed down,
 * not ended.
 */
#pragma once

#include "arch/x86/lib/types.h"

struct vcpu;

/* Of a VM. */
struct bus_locks {
    uint64_t count; /* atomic, like the others */
    uint64_t due;   /* host TSC: when as many as there have been would be allowed */
    uint64_t stood; /* host TSC ticks for which its vCPUs have stood still for it */
};

/* How long a vCPU stands still at most. A tenth of a second's locks may come at once. */
#define BUS_LOCK_PATIENCE(hz) (hz)
#define BUS_LOCK_BURST(hz)    ((hz) / 10)

/* One more at `now`, where `limit` are allowed in a second of hz ticks: until when the vCPU that
 * took it is to stand still; now: it may go on. */
uint64_t bus_lock_until(struct bus_locks *b, uint64_t now, uint32_t limit, uint64_t hz);
/* Whether #AC is what the guest has asked for: alignment checks. */
bool alignment_checked(uint64_t cr0, uint64_t rflags, unsigned cpl);

/* The loaded vCPU has taken one. */
void vcpu_bus_lock(struct vcpu *v);
/* #AC in it: whether it was a split lock, which it is now to take, and no more. */
bool split_lock_begin(struct vcpu *v);
void split_lock_stepped(struct vcpu *v);
