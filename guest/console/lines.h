/*
 * Corbel's own lines on the port that the guests' consoles share. A line never stands inside a
 * guest's line: until it may be sent it is kept here. All of it under console_lock().
 */
#pragma once

#include "arch/x86/lib/types.h"

#define LINES_SIZE 8192 /* bytes that are kept */
#define LINES_MAX  512  /* bytes of one line, as lines_take() gives it */

/* What a line finds at the port. */
enum lines_gate {
    LINES_ALONE,   /* neither a guest nor the monitor has it, so there is time to wait for room */
    LINES_BETWEEN, /* a line may begin here, if the port has room */
    LINES_BARRED,  /* it may not: a guest's line is unfinished, or the monitor has the port */
};

struct lines {
    size_t length; /* of text */
    unsigned lost; /* lines for which there was no room since the last one that was kept */
    char text[LINES_SIZE];
};

extern struct lines lines;

/* Whether something is kept, or has to be said of what was lost. */
static inline bool lines_wait(void)
{
    return lines.length || lines.lost;
}

/* Send a complete line, which ends in CR LF, or keep it. */
void lines_write(const char *line, size_t length, enum lines_gate gate);
/* Send what is kept, as far as the gate and the port let it. */
void lines_send(enum lines_gate gate);
/* Take out the oldest line that is kept, or its first LINES_MAX bytes; something waits. Returns how
 * many bytes. */
size_t lines_take(char line[LINES_MAX]);
