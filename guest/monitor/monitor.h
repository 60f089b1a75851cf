/*
 * The monitor: the prompt at which a person sees and steers all VMs. It runs on processor 0 between
 * guest entries, in pieces: a command prints a little whenever the terminal has room for it, so
 * that neither long output nor a slow terminal holds up a guest.
 */
#pragma once

#include "guest/monitor/command.h"

struct vm_slot;

/* For the console (guest/console/console.h). */
extern const struct console_monitor monitor;

void monitor_init(void);

/* --- for commands --- */

/* A command that runs. */
struct job {
    const struct command *command;
    struct words words;
    unsigned step; /* how often run() was called before */
    uint64_t wake; /* host TSC before which not to be called again, except for a key */
    bool keys;     /* it takes keys, and draws the whole screen */
    bool line;     /* its last line, which it writes again and again, stands without an end */
    void (*stop)(
        struct job *job); /* for Ctrl-C, which ends the command, to end more than that; or NULL */
    uint8_t key;          /* the one typed since the last call; 0: none */
    unsigned next;        /* the command's own, 0 at first: where to go on */
    void *data;           /* the command's own, from the heap, freed at its end */
};

extern const struct command commands[];
extern const unsigned command_count;

/* A line, formatted as by format(); what is not printable becomes '?'. */
void job_line(const char *fmt, ...) PRINTF(1, 2);
/* The same in place of its last such line; the cursor stays there. */
void job_progress(struct job *job, const char *fmt, ...) PRINTF(2, 3);
/* As it is: for terminal control. */
void job_text(const char *text, size_t length);
/* The VM that argument number i (1 is the first) names; NULL after saying that there is none. */
struct vm_slot *job_vm(const struct job *job, unsigned i);
