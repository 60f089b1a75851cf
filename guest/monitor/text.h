/* How the monitor writes things down: tables, shares, sizes, times. Pure. */
#pragma once

#include "arch/x86/lib/types.h"

#define TEXT_CELL 24  /* a number in words fits into this */
#define TEXT_ROW  256 /* a table's line fits into this; longer ones are cut */

struct column {
    const char *title;
    uint8_t width; /* without the two blanks between columns */
    bool right;
};

/*
 * One line of a table into row[TEXT_ROW], terminated, without newline and without blanks at its
 * end: cells[0..count), or the titles where cells is NULL. A cell that is too wide pushes the
 * others aside.
 */
void text_row(char *row, const struct column *columns, unsigned count, const char *const *cells);

/* Each writes into cell[TEXT_CELL] and returns it. */
char *text_number(char *cell, uint64_t n);
/* part of whole, as 12.3 % without the sign; "-" of nothing */
char *text_percent(char *cell, uint64_t part, uint64_t whole);
/* bytes: 512, 16K, 1.5M, 256M, 2G */
char *text_size(char *cell, uint64_t bytes);
/* milliseconds: 0.250 s, 12.3 s, 3:05, 2:00:07, 5d 02:03 */
char *text_duration(char *cell, uint64_t ms);
/* nanoseconds, in at most seven characters below a day: 850 us, 1.2 ms, 33.1 ms, 812 ms, 10.2 s */
char *text_latency(char *cell, uint64_t ns);
