/*
 * When nothing is left to do: what `when_idle` says. Where an error kept every VM from starting,
 * the machine stays on for a minute first, or until a key, for somebody to read it. On processor 0.
 */
#pragma once

#include "guest/config/config.h"

/* Nothing is left to do. why: the reason, for the log; error: what went wrong, or NULL. */
void idle_begin(const struct config *config, const char *why, const char *error);
/* Go on with what idle_begin() has begun. Returns the host TSC at which to call it again at the
 * latest, UINT64_MAX for never. */
uint64_t idle_work(void);
