/*
 * A locked access to two cache lines locks the bus for everybody. Where the processor has it, #AC
 * comes before that (SDM volume 3, "Detection of Split Locks"; IA32_CORE_CAPABILITIES), for whoever
 * runs on the core, root mode included.
 */
#pragma once

#include "arch/x86/lib/types.h"

/* Whether the calling processor can do it. */
bool split_lock_present(void);
/* On the calling processor, which can. */
void split_lock_detect(bool on);
/* #AC in root mode, where nothing else raises it: whether it was this. The access is let through,
 * and the processor detects no more until somebody switches it on again. */
bool split_lock_trap(void);
