/*
 * What a guest sends to the terminal, made harmless: text, colours, the cursor and what a program
 * that fills the screen needs pass; what makes a terminal answer, change its keys, title, clipboard
 * or size, or outlives the guest does not (docs/USING.md has the table). ECMA-48's control
 * functions, as xterm knows them, to a terminal that takes UTF-8. Pure.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define TERMINAL_OUT    192  /* bytes that one call sends at most */
#define TERMINAL_PARAMS 16   /* of a control sequence; one with more is dropped */
#define TERMINAL_LONG   256  /* bytes of a control sequence; then it is none */
#define TERMINAL_STRING 4096 /* bytes of a control string, which ends at a line's end, too */
/* Behind a guest's `corbel:` or `corbel>` that a blank would follow, which Corbel's lines and
 * prompt begin with. */
#define TERMINAL_MARK "(guest)"

/* How text looks: what SGR and the choice of character sets have made of it. */
struct terminal_look {
    uint16_t attributes;   /* BIT(n) for SGR n, 1 to 9 */
    uint32_t ink, paper;   /* 0: the terminal's own; see terminal.c */
    uint8_t sets, shifted; /* BIT(n): Gn draws lines; Shift Out */
};

struct terminal {
    /* All three 0: between two characters, with nothing begun. */
    uint8_t state;
    uint8_t matched; /* characters of "corbel:" that the text ends in */
    bool pending;    /* the guest's look is to be set before its next byte */

    uint8_t private, intermediate, params; /* of a control sequence; intermediate: also of ESC */
    bool bad;                              /* it will be dropped */
    uint16_t length;                       /* of it or the string so far */
    uint16_t param[TERMINAL_PARAMS];       /* 0: not given */
    uint8_t letter[4], letters, wanted;    /* UTF-8's bytes of one character */

    struct terminal_look look, saved;
    uint16_t modes; /* that differ from what a terminal begins with: bits of terminal.c */
    bool doubt;     /* the terminal has brought back what it had saved: its looks, maybe more */
    bool in_line;   /* something stands behind the last line feed */
    bool away;      /* ... behind the last carriage return */
    bool moved;     /* the cursor may be anywhere, and what stands below it anything */
    bool asked;     /* for the cursor's place, and nothing was typed since */
};

/* What the guest's next byte makes of it goes to out; returns how much. live: the answer to a
 * question would reach whoever asks, and now. */
size_t terminal_byte(struct terminal *t, uint8_t byte, bool live, char out[TERMINAL_OUT]);

/* Whether the byte goes out as it is, and leaves all as it is but in_line. */
static inline bool terminal_is_plain(const struct terminal *t, uint8_t byte)
{
    return !(t->state | t->matched | t->pending) && byte >= ' ' && byte < 0x7f &&
           (byte | 0x20) != 'c';
}

/* Something is typed into the guest: it may ask for the cursor's place again. */
static inline void terminal_typed(struct terminal *t)
{
    t->asked = false;
}

/* A program has the whole screen: no place for a line of anybody else's. */
bool terminal_is_full(const struct terminal *t);
/*
 * Send what makes a line of Corbel's stand alone, in the terminal's own colours: nothing where it
 * would anyway. Behind it the guest goes on as it was.
 */
size_t terminal_between(struct terminal *t, char out[TERMINAL_OUT]);
/* Send what takes back all that the guest has set, and ends its line. */
size_t terminal_leave(struct terminal *t, char out[TERMINAL_OUT]);
/* The guest of which terminal_leave() was called with a copy of *t comes back: set it again. What
 * was begun has to come again. */
size_t terminal_return(struct terminal *t, char out[TERMINAL_OUT]);
