/*
 * Machine checks that are about memory, away from guests: pages whose content is lost before
 * anybody has used it end the VM that they are of; what the machine has corrected is counted and
 * told, once a minute for each processor.
 */
#pragma once

#include "arch/x86/lib/types.h"

void lost_memory_init(void);
/* A chore of processor 0's loop; returns the host TSC of the next one. */
uint64_t lost_memory_work(void);
