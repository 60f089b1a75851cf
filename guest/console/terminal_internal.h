/*
 * Between the filter's files: terminal.c takes a guest's bytes apart, terminal_functions.c decides
 * which control functions pass, terminal_set.c knows what they have left set.
 */
#pragma once

#include "guest/console/terminal.h"

/* The states of struct terminal. */
enum { TEXT, UTF8, AFTER_ESC, CONTROL, STRING, STRING_ESC };

/* What struct terminal's `matched` is after a whole "corbel:" or "corbel>". */
#define TERMINAL_MATCHED 7

/* What one call sends. */
struct terminal_out {
    struct terminal *t;
    char *text; /* of TERMINAL_OUT bytes */
    size_t used;
};

/* --- terminal_set.c --- */

void terminal_put(struct terminal_out *o, const char *text, size_t length);
void terminal_put_text(struct terminal_out *o, const char *text);
void terminal_put_number(struct terminal_out *o, unsigned n);
/* Send what the guest has set, where terminal_between() has taken it away. */
void terminal_resume(struct terminal_out *o);
/* Send what takes back all that the guest has set. */
void terminal_put_reset(struct terminal_out *o);
/* A mode by its number in SM and RM, or DECSET and DECRST, is set or reset: whether it passes. */
bool terminal_set_mode(struct terminal *t, unsigned number, bool on);
void terminal_set_keypad(struct terminal *t, bool on);
/* The rows that scroll are those of t's first two parameters. */
void terminal_set_rows(struct terminal *t);
/* One parameter of SGR: whether it passes. */
bool terminal_set_look(struct terminal_look *l, unsigned n);
/* A colour that takes several parameters, from number i on: how many; 0: it is none. */
unsigned terminal_set_colour(struct terminal *t, unsigned i);

/* --- terminal_functions.c --- */

/* A character comes that is not ASCII's, or a control function: what looks like Corbel's is told
 * from it. */
void terminal_disturb(struct terminal_out *o);
void terminal_put_character(struct terminal_out *o, const void *bytes, size_t length);
/* A byte below 20h that begins no sequence. */
void terminal_control_code(struct terminal_out *o, uint8_t byte);
/* ESC and what is in t, up to the last byte. */
void terminal_escape_sequence(struct terminal_out *o, char final);
/* The same with CSI; live: as terminal_byte() has it. */
void terminal_control_sequence(struct terminal_out *o, char final, bool live);
