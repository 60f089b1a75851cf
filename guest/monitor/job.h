/* A command of the monitor that runs, and how it writes. */
#pragma once

#include "guest/monitor/command.h"

struct vm_slot;

struct job {
    const struct command *command;
    struct words words;
    unsigned step; /* how often run() was called before */
    uint64_t wake; /* host TSC before which not to be called again, except for a key */
    uint64_t show; /* host TSC before which no progress is written; 0: it has made none */
    bool keys;     /* it takes keys, and draws the whole screen */
    bool line;     /* its last line, which it writes again and again, stands without an end */
    void (*typed)(uint8_t byte); /* takes what is typed, of which nothing is shown; or NULL */
    void (*stop)(
        struct job *job); /* for Ctrl-C, which ends the command, to end more than that; or NULL */
    uint8_t key;          /* the one typed since the last call; 0: none */
    unsigned next;        /* the command's own, 0 at first: where to go on */
    uint64_t deadline;    /* the command's own */
    void *data;           /* the command's own, from the heap, freed at its end */
};

/* A line, formatted as by format(); what is not printable becomes '?'. */
void job_line(const char *fmt, ...) PRINTF(1, 2);
/* For a command that waits: it is called again soon, and a line that says how far things are is
 * written now and then, in place of its last such line; the cursor stays there. */
void job_progress(struct job *job, const char *fmt, ...) PRINTF(2, 3);
#define JOB_ERASE_TO_END "\x1b[K" /* of the line, for the terminal */
/* Write `by` where job_progress() has left a line without an end, which that ends. */
void job_end_progress(struct job *job, const char *by);
/* As it is: for terminal control. */
void job_text(const char *text, size_t length);
/* The VM that argument number i (1 is the first) names; NULL after saying that there is none. */
struct vm_slot *job_vm(const struct job *job, unsigned i);
/* The same of VM, VM_SERIAL, or VM.PORT; NULL also when it has no such port. */
struct vm_slot *job_console(const struct job *job, unsigned i, int *port);
