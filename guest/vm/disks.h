/* What is behind the disks that a VM's config names. */
#pragma once

#include "guest/board/class.h"

/* struct device_host's disk(): context is the struct vm. */
int disk_open(void *context, const char *text, size_t length, struct device_disk *out, char *error);
