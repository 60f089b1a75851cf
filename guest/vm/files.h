/* The files that the loader has brought into memory for the VMs. */
#pragma once

#include "boot/handover.h"
#include "guest/vm/vm.h"

void files_init(const struct handover *h);
/* What is wrong with a file of that status (struct handover_file). */
const char *files_status_text(int status);
/* The file that the config calls by that path: 0, or its status. */
int files_find_one(struct config_span path, struct file *out) MUST_CHECK;
/* A VM's kernel or firmware, initrd and modules. 0, or the first one's error, which has been logged
 * with the config's line. */
int files_find(const struct vm_config *config, struct vm_files *out) MUST_CHECK;
