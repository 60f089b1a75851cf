/* What watching does to one vCPU; part of struct vcpu, and of the processor that runs it. */
#pragma once

#include "vmx/ept.h"

#define WATCHES_MAX   16 /* of one VM */
#define WATCH_NO_PAGE UINT64_MAX

/* Which instruction an event was that has paused the VM: it goes through when it comes again. */
struct watch_passed {
    bool valid;
    uint32_t kinds; /* BIT(enum watch_kind) */
    uint64_t rip, what;
};

struct watch_vcpu {
    uint32_t needs;    /* BIT(enum watch_kind): what its VMCS has been told to exit for */
    unsigned revision; /* of the VM's watches, when they were last taken up */
    /* Pages that are open to it for the instruction that is being stepped. */
    struct ept_window window;
    uint64_t window_page;             /* the only one open in it, or WATCH_NO_PAGE */
    const struct vmx_cpu *window_cpu; /* which knows no other translations by it */
    bool undefined;                   /* #UD is to exit: SYSCALL is watched */
    bool open;
    bool until_exit;                    /* without a step: until the next exit */
    bool tables_open;                   /* descriptor-table exiting is off for the step */
    uint64_t table_end;                 /* where RIP is behind it */
    bool table_loaded;                  /* and the instruction loads */
    uint8_t table;                      /* which table: enum watch_kind */
    struct watch_passed passed, opened; /* opened: for which the window is */
    uint64_t memory[WATCHES_MAX];       /* the handlers' */
};
