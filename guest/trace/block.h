/* Requests to VMs' disks, as the trace records them. */
#pragma once

#include "guest/board/class.h"
#include "guest/trace/record.h"

/*
 * The record of what happens to a request of VM vm to its disk number disk at `now`, which is noted
 * with the request when it begins. What has begun before `since` has no cost: nobody has noted it.
 */
struct trace_record trace_block_record(uint64_t now, uint64_t since, unsigned vm, unsigned disk,
                                       const struct device_disk_event *event);
