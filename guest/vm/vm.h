/* A VM's life, from its section of the config to its end. */
#pragma once

#include "arch/x86/smp.h"
#include "guest/board/class.h"
#include "guest/cpu/vcpu.h"
#include "guest/load/e820.h"
#include "guest/vm/unpacked.h"

/* The part of a VM that its vCPUs do not need: struct vm.life. */
struct vm_life {
    struct gpa_layout layout;
    struct device_list devices;
    /* Devices of PCI that can go, and that the guest has let go of, a bit each; atomic. */
    uint32_t removable, ejected;
    struct cpu_work *eject; /* that looks at them, on processor 0 */
    paddr ioapic_page;      /* what reads of the I/O APIC give: mapped read-only */

    uint32_t cleared; /* how far clearing its RAM has come since the last reset, in 2 MiB blocks */
    uint64_t started; /* host TSC at its first instruction; 0: it has not come to that */
    /* Host TSC ticks: from the loader's hand-over to its first instruction, and of these what it
     * took to clear its RAM and to load its files. */
    uint64_t start_ticks, clear_ticks, load_ticks;
    const char *kind; /* what its kernel's file was taken for; NULL: it has firmware */
    struct vm_unpacked unpacked;
    struct firmware_items *firmware; /* what that is told: see firmware.h */
    struct config_boot boot; /* the order for its firmware from this start on; count 0: none */
    unsigned resets;
    bool held;          /* nothing that is typed reaches its consoles: see moment.h */
    size_t stream_size; /* of its state when it was saved last */
    /* The reload test (reload.h): exits until the next reload (atomic), how many there were,
     * whether the vCPUs are leaving for one (atomic), and the state of its random numbers. */
    unsigned reload_in, reloads;
    bool reloading;
    uint64_t random;
};

struct file {
    const void *data;
    uint64_t size;
};

/* What a VM is made of beside its config: the contents of its files, which stay in place while it
 * lives. */
struct vm_files {
    struct file kernel, firmware, initrd;
    struct file module[CONFIG_MAX_MODULES]; /* as many as the config names */
};

/* Build everything but the guest's software. 0, or an error that has been logged with the config's
 * line. */
int vm_create(struct vm **out, unsigned id, const struct vm_config *config) MUST_CHECK;
/* Load kernel and initrd and put the boot vCPU at their entry; or get ready what firmware asks for,
 * which begins at the reset vector. 0, or an error that has been logged.
 */
int vm_boot(struct vm *vm, const struct vm_files *files) MUST_CHECK;
/* Put every device and vCPU into the state after power-on; vm_clear_some() comes next. */
void vm_reset(struct vm *vm);
/* Clear RAM until all of it is clear or the host TSC is `until`. Returns whether some is left; if
 * not, vm_boot() may come. */
bool vm_clear_some(struct vm *vm, uint64_t until);
void vm_destroy(struct vm *vm);
/* Add delta TSC ticks to its clock; a negative one makes up for a pause. Its vCPUs are away. */
void vm_move_clock(struct vm *vm, uint64_t delta);
