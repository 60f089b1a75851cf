/*
 * The end: the other CPUs are stopped, registers and a symbolised backtrace printed, then halt or
 * what panic_set_action() chose. Of several CPUs that panic, the first prints.
 */
#pragma once

#include "arch/x86/lib/types.h"

struct trap_frame;

NORETURN void panic(const char *fmt, ...) PRINTF(1, 2);
/* For an exception in root mode that nobody expected. */
NORETURN void panic_exception(const struct trap_frame *frame);

/* Where the text goes: fn gets bytes and returns when they are out (polled; no locks, no
 * interrupts). */
void panic_set_writer(void (*fn)(const char *text, size_t length));
/* What to do after printing: a function that does not return (machine_reset), or NULL to halt. */
void panic_set_action(void (*fn)(void));

/* The symbol at or below address, or NULL; *offset is the distance from it. */
const char *symbol_lookup(uint64_t address, uint64_t *offset);

/* A fresh random stack-protector guard; the caller must not return to a function that checked in
 * the old one. */
void stack_guard_init(void);
