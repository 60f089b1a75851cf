#pragma once

#include "guest/cpu/walk.h"

/*
 * Translate as guest_walk() does, for a debugger, that is whatever the access rights say; and where
 * a kernel hides itself from user mode (Linux, "Page Table Isolation") by the tables that it uses
 * itself. Pure. Errors as of guest_walk().
 */
int gdb_walk(const struct walk_context *c, uint64_t linear, uint64_t *gpa) MUST_CHECK;
