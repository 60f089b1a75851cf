/*
 * `mode = check`: what this machine has, what it lacks, what Corbel would use and whether it would
 * run, in plain words that fit on one screen.
 */
#pragma once

#include "arch/x86/lib/cpu_id.h"
#include "boot/handover.h"
#include "drivers/iommu.h"
#include "guest/config/config.h"
#include "vmx/controls.h"

#define CHECK_COLUMNS 91 /* a line's length: with "corbel: " a screen of 800 pixels shows it */
#define CHECK_ROWS    33 /* of 37 that a screen of 600 pixels has */

enum check_vmxon { CHECK_VMXON_NOT_TRIED, CHECK_VMXON_WORKS, CHECK_VMXON_REFUSED };

struct check_facts {
    struct cpu_id cpu;
    const struct vmx_caps *caps;
    uint32_t without;   /* VMX_WITHOUT bits */
    uint64_t microcode; /* 0: not told */
    enum check_vmxon vmxon;
    unsigned processors, enabled, running; /* in the list, by firmware, by Corbel */
    uint64_t ram, left, free; /* bytes: in the machine, left by firmware, free for VMs now */
    uint64_t tsc_hz;
    const char *tsc_source, *tsc_confirmed; /* the latter NULL: by nothing */
    bool rsdp, acpi;                        /* firmware names ACPI tables; they can be read */
    enum iommu_state iommu;
    bool serial, serial_interrupts;
    bool screen_text;                     /* Corbel shows text on it */
    uint32_t screen_width, screen_height; /* 0: no framebuffer */
};

/* Why VMs cannot run by what CPUID and the MSRs say, or NULL. */
const char *check_obstacle(const struct vmx_caps *caps);

/*
 * Pass the report line by line, each at most CHECK_COLUMNS long, at most CHECK_ROWS in all. Returns
 * whether Corbel would run.
 */
bool check_report(const struct check_facts *f, void (*line)(void *ctx, const char *text),
                  void *ctx);

/*
 * Gather the facts of this machine and log the report. Where nothing stands against it VMX is
 * switched on, and off again. h is the hand-over, whose addresses are physical.
 */
void check_machine(const struct handover *h, uint32_t without);

/*
 * Find the disks, list them and what lies on them, and test them: how is `read`, `write:NAME`, or
 * nothing. state: the partition that is Corbel's own, as the config says it, and not written to.
 * stray: for tests, each drive is told to write to memory that is not mapped for it.
 */
void check_disks(struct config_span how, struct config_span state, bool stray);

/* List the network cards; and, with `ask`, speak ARP. */
void check_nets(bool ask);
