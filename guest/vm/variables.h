/* Variables of VMs' firmware over power-offs: in Corbel's own partition, by the VM's name. */
#pragma once

#include "guest/config/config.h"

struct store_area;

/* Open the partition that `state` names, and bring what it has for these VMs into memory. On the
 * boot processor, behind disks_begin(), before any VM starts. */
void variables_begin(const struct config *config, const struct vm_config *vms);

/* struct device_host's variables(): context is the struct vm. */
struct store_area *variables_of(void *context, uint32_t size);

/* --- for who looks at them, on processor 0 --- */

/* Whether there is such a partition, and it can be used. */
bool variables_are_kept(void);
/* Number index, from 0, of those that are there: whose, and how many bytes; NULL: there are not so
 * many. */
const char *variables_get(unsigned index, uint32_t *size);
/* Begin to forget those of a VM that is off, or that there is none of any more. 0, or a negative
 * errno with a sentence in error[CONFIG_MESSAGE]. */
int variables_forget(const char *name, size_t length, char *error) MUST_CHECK;
/* How that stands: 1, it is done; 0, not yet; -EIO, the drive has not taken it. */
int variables_forgotten(const char *name, size_t length);
