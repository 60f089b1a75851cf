/*
 * What somebody wants to be told of a guest, as one line of text says it:
 *
 *     EVENT [WHERE] POLICY [NAME=NUMBER ...]
 *
 * for the monitor's `watch` and the config's `watch =`. Pure.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define WATCH_PARAMETERS 3
#define WATCH_ERROR      160 /* a sentence fits into this */
#define WATCH_TEXT       96  /* as does a watch in words */
#define WATCH_REGION     GIB /* at most so many bytes */

enum watch_kind {
    WATCH_READ,
    WATCH_WRITE,
    WATCH_EXECUTE,
    WATCH_CR0,
    WATCH_CR3,
    WATCH_CR4,
    WATCH_MSR,
    WATCH_GDTR,
    WATCH_IDTR,
    WATCH_LDTR,
    WATCH_TR,
    WATCH_SYSCALL,
    WATCH_KINDS
};

enum watch_policy { WATCH_LOG, WATCH_COUNT, WATCH_PAUSE, WATCH_CALL };

struct watch_handler;

struct watch_spec {
    enum watch_kind kind;
    enum watch_policy policy;
    bool physical;            /* address is guest-physical; else linear, by vCPU 0's page tables */
    uint64_t address, length; /* WATCH_READ, _WRITE, _EXECUTE */
    uint32_t msr;
    const struct watch_handler *handler;
    uint64_t parameter[WATCH_PARAMETERS]; /* the handler's, in its own order */
};

/* Functions for WATCH_CALL: see guest/watch/handler.h. */
struct watch_handlers {
    const struct watch_handler *const *first, *const *end;
};

/* Parse text[0..length): 0, or -EINVAL with a sentence in error[WATCH_ERROR]. */
int watch_parse(const char *text, size_t length, const struct watch_handlers *handlers,
                struct watch_spec *spec, char *error) MUST_CHECK;
/* EVENT and WHERE again, into out[WATCH_TEXT]. */
char *watch_event_text(const struct watch_spec *spec, char *out);
const char *watch_policy_text(const struct watch_spec *spec);
/* The words that an event may be, for completion; NULL past the last. */
const char *watch_kind_name(unsigned n);
const char *watch_policy_name(unsigned n, const struct watch_handlers *handlers);

/* A hexadecimal number, with or without 0x: the way addresses are written. -EINVAL. */
int watch_hex(const char *text, size_t length, uint64_t *value) MUST_CHECK;
/* "phys:ADDR" or "ADDR". -EINVAL. */
int watch_address(const char *text, size_t length, bool *physical, uint64_t *address) MUST_CHECK;

static inline bool watch_is_memory(enum watch_kind kind)
{
    return kind <= WATCH_EXECUTE;
}

/* --- how much may be said --- */

/* A bucket that lets through a burst, and one more each interval. */
struct watch_limit {
    uint64_t next;
};

/* Whether one may pass now; now and interval in the same unit. */
bool watch_limit_pass(struct watch_limit *l, uint64_t now, uint64_t interval, unsigned burst);
