/*
 * Handlers: functions that are called for each event of a watch whose policy is their name. One
 * file in guest/handlers/ holds one, and is all that it takes:
 *
 *     static enum watch_verdict mine(struct vcpu *v, const struct watch_event *e) { ... }
 *     WATCH_HANDLER(mine, "my-handler", "what it does", BIT(WATCH_CR3), "a", "b");
 *
 * It runs on the processor that runs the vCPU, which is loaded and stands before the instruction
 * (behind it for descriptor tables). It must be short, take no lock, and believe nothing that it
 * reads in the guest. docs/RESEARCH.md has more.
 */
#pragma once

#include "guest/watch/spec.h"

struct vcpu;

enum watch_verdict { WATCH_GO_ON, WATCH_STOP /* pause the VM, as policy pause does */ };

struct watch_event {
    enum watch_kind kind;
    unsigned number; /* of the watch */
    bool by_walk;    /* an access to memory by the processor's walk of page tables */
    bool by_corbel;  /* by Corbel, for an instruction or a device */
    uint64_t rip;
    uint64_t gpa, linear; /* memory; linear UINT64_MAX when it is not known */
    uint64_t value; /* a control register's or MSR's new one; a table's base; RAX of SYSCALL */
    uint32_t msr;
    uint32_t limit;            /* of GDTR and IDTR; a selector of LDTR and TR */
    const uint64_t *parameter; /* the watch's, in the handler's order */
    uint64_t *memory; /* a word of this watch's and this vCPU's own, 0 at first, that stays */
};

struct watch_handler {
    const char *name, *help;
    const char *parameter[WATCH_PARAMETERS]; /* NULL ends; all must be given */
    uint32_t kinds;                          /* BIT(enum watch_kind) that it can be used for */
    enum watch_verdict (*run)(struct vcpu *v, const struct watch_event *e);
};

/* Who only wants to know which there are compiles handlers with WATCH_NAMES_ONLY. */
#ifdef WATCH_NAMES_ONLY
#define WATCH_RUN(function) (false ? (function) : NULL)
#else
#define WATCH_RUN(function) (function)
#endif

/* events as bits; then the parameters' names, at most WATCH_PARAMETERS, or NULL. */
#define WATCH_HANDLER(function, text, what, events, ...)                                           \
    static const struct watch_handler handler_##function = {.name = text,                          \
                                                            .help = what,                          \
                                                            .parameter = {__VA_ARGS__},            \
                                                            .kinds = events,                       \
                                                            .run = WATCH_RUN(function)};           \
    static const struct watch_handler *const pointer_##function                                    \
        __attribute__((section("watch_handlers"), used)) = &handler_##function

/* All that are linked in: guest/watch/check.c. */
extern const struct watch_handlers watch_handlers;
/* Whether that text is a watch: 0, or -EINVAL with a sentence in error[WATCH_ERROR]. */
int watch_check(const char *text, size_t length, char *error) MUST_CHECK;

/* A line of the watch's on the log, within its limit. */
void watch_say(struct vcpu *v, const struct watch_event *e, const char *fmt, ...) PRINTF(3, 4);
