/* What is behind the disks that a VM's config names. */
#pragma once

#include "guest/board/class.h"
#include "guest/config/disk.h"

struct config;
struct disk;
struct vm;
struct vm_config;

/* Where a VM, or `state`, asks for a drive of the machine's: bring the drives up, and read what is
 * on them. On the boot processor, before any VM starts. */
void disks_begin(const struct config *config, const struct vm_config *vms);

/* struct device_host's disk(): context is the struct vm. */
int disk_open(void *context, const char *text, size_t length, struct device_disk *out, char *error);

/* Who is told of VMs' requests to their disks, by the number of the disk among its VM's, with a
 * controller's lock held; NULL: nobody. */
typedef void (*vm_disk_observer)(const struct vm *vm, unsigned disk,
                                 const struct device_disk_event *event);
void vm_disks_set_observer(vm_disk_observer observer);

/* --- for who looks at them, on processor 0 --- */

/* A disk of a VM that is there. */
struct vm_disk {
    struct config_disk config;
    struct block_device *block;
    const struct disk *drive; /* NULL: it is in memory */
    uint64_t first;           /* else where on the drive it begins */
    struct device_disk_counts counts;
};

/* The VM's disk number index, in the order in which they came; NULL: there are not so many. */
const struct vm_disk *vm_disk(const struct vm *vm, unsigned index);
/* Whether disks_begin() has looked for drives. */
bool disks_wanted(void);
