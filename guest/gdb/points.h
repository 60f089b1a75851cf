/*
 * Breakpoints and watchpoints of the one VM that is being debugged. Changed on processor 0 while
 * that VM stands still, read by the processors that run it.
 */
#pragma once

#include "guest/gdb/stub.h"
#include "mm/guest_memory.h"

/* Plant INT3 at a guest-physical address. 0; -EFAULT: no RAM there, -ENOSPC: too many. */
int points_plant(struct guest_memory *gm, uint64_t linear, uint64_t gpa) MUST_CHECK;
/* Put back what was there, unless the guest has changed it; -ENOENT when there is none. */
int points_uproot(struct guest_memory *gm, uint64_t linear);
/* Whether the INT3 there is ours. */
bool points_planted(uint64_t gpa);
/*
 * The memory has been cleared and loaded anew: INT3s are lost, and planted again where the code is
 * the same as around them before, and mapped to where it was: what a kernel that unpacks itself has
 * written already it still reads. That may be later: points_recover() looks again, also while the
 * VM runs.
 */
void points_lose(void);
/* How many INT3s are wanted, and how many of them wait for their code. */
typedef bool (*points_mapped)(uint64_t linear, uint64_t gpa);
unsigned points_recover(struct guest_memory *gm, points_mapped mapped, unsigned *waiting);
/* Give up one that waits; false when none does. */
bool points_give_up(uint64_t *linear);
/* Guest-physical memory as if nothing were planted; -EFAULT as the guest_memory_ functions. */
int points_read(struct guest_memory *gm, uint64_t gpa, void *data, size_t size) MUST_CHECK;
int points_write(struct guest_memory *gm, uint64_t gpa, const void *data, size_t size) MUST_CHECK;

/* One of the four that the processor has: 0; -ENOSPC; -EINVAL for what it cannot watch: 1, 2, 4 or
 * 8 bytes, aligned. */
int points_watch(const struct gdb_point *p) MUST_CHECK;
int points_unwatch(const struct gdb_point *p);
/* DR0 to DR3 and DR7 for them; false when there are none. */
bool points_debug_registers(uint64_t dr[4], uint64_t *dr7);
/* Of those among DR6's bits 3:0 the watchpoints, of which there may be several: how many. */
unsigned points_hit(uint64_t dr6, struct gdb_hit hit[GDB_HITS]);
/* Whether a breakpoint is among them. */
bool points_hit_code(uint64_t dr6);

/* Whether there is such a watchpoint. */
bool points_watched(const struct gdb_hit *hit);

/* All of them; gm NULL: the memory is gone or has been cleared. */
void points_remove_all(struct guest_memory *gm);
