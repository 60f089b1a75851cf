/*
 * The monitor: the prompt at which a person sees and steers all VMs. It runs on processor 0 between
 * guest entries, in pieces: a command prints a little whenever the terminal has room for it, so
 * that neither long output nor a slow terminal holds up a guest.
 */
#pragma once

struct console_monitor;

/* For the console (guest/console/console.h). */
extern const struct console_monitor monitor;

void monitor_init(void);
