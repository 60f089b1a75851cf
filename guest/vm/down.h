/*
 * The machine goes down: VMs are asked to end, those that do not are ended, what the trace has
 * recorded is sent, and then the machine is powered off or reset. Each step has a bound. It goes on
 * whatever the person who asked for it does meanwhile. On processor 0.
 */
#pragma once

#include "guest/config/config.h"

enum down_kind { DOWN_NOT, DOWN_POWEROFF, DOWN_REBOOT };

void down_init(const struct config *config);
/* From now on nothing starts, and down_work() does the rest. why: for the log, while it lasts. */
void down_begin(enum down_kind kind, const char *why);
/* The machine stays on after all; VMs that were asked to end may do so. */
void down_cancel(void);
/* Whether it goes down. */
bool down_wanted(void);
/* Without asking or waiting for anybody. */
NORETURN void down_now(enum down_kind kind);
/* The next step. Returns the host TSC at which to be called again, if it does. */
uint64_t down_work(void);
#define DOWN_TEXT 80
/* What it waits for, and how many seconds it still will, to be shown at a terminal. */
void down_text(char text[DOWN_TEXT]);
