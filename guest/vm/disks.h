/* What is behind the disks that a VM's config names. */
#pragma once

#include "guest/board/class.h"

struct vm_config;

/* Where a VM asks for a drive of the machine's: bring the drives up, and read what is on them. On
 * the boot processor, before any VM starts. */
void disks_begin(const struct vm_config *vms, size_t count);

/* struct device_host's disk(): context is the struct vm. */
int disk_open(void *context, const char *text, size_t length, struct device_disk *out, char *error);
