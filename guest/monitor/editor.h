/*
 * The line that is being typed: bytes from a terminal in, what the terminal shows out. Knows cursor
 * keys, history and completion. Pure; whatever comes in, what it holds and sends is bounded.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define EDITOR_LINE    255 /* characters in a line at most; a bell for those beyond */
#define EDITOR_HISTORY 32
#define EDITOR_COLUMNS 80   /* a longer line scrolls sideways */
#define EDITOR_CHOICES 64   /* that one Tab shows at most */
#define EDITOR_OUTPUT  4096 /* what one byte of input makes it send at most */

/* What a byte has led to. */
enum editor_event {
    EDITOR_NOTHING,
    EDITOR_ENTER,  /* line[0..length) is complete */
    EDITOR_CANCEL, /* Ctrl-C; the line is empty now */
    EDITOR_END,    /* Ctrl-D on an empty line */
};

struct editor {
    const char *prompt; /* printable */
    void *ctx;
    void (*send)(void *ctx, const char *text, size_t length);
    /*
     * The n-th word that may follow the complete words before[0..length), terminated; NULL past the
     * last. One that ends in '=' is followed by a value. May be NULL.
     */
    const char *(*choice)(void *ctx, const char *before, size_t length, unsigned n);

    char line[EDITOR_LINE + 1]; /* terminated */
    unsigned length, cursor;
    unsigned left; /* first character on the screen */

    char history[EDITOR_HISTORY][EDITOR_LINE + 1];
    unsigned history_count;      /* lines ever kept */
    unsigned back;               /* how far back in them the line comes from; 0: it is new */
    char draft[EDITOR_LINE + 1]; /* the new line meanwhile */

    uint8_t escape; /* where in an escape sequence we are */
    uint8_t escape_bytes;
    uint16_t parameter;
    bool after_return; /* the last byte was CR: LF belongs to it */
    bool belled;       /* since the last key that did something */
};

/* Start with prompt; ctx goes to send and choice. Sends nothing yet. */
void editor_init(struct editor *e, const char *prompt,
                 void (*send)(void *ctx, const char *text, size_t length),
                 const char *(*choice)(void *ctx, const char *before, size_t length, unsigned n),
                 void *ctx);
/* One byte from the terminal. After EDITOR_ENTER, editor_begin() starts the next line. */
enum editor_event editor_input(struct editor *e, uint8_t byte);
/* An empty line and its prompt. */
void editor_begin(struct editor *e);
/* Draw prompt and line again, over what stands in the terminal's line. */
void editor_redraw(struct editor *e);
/* Take prompt and line off the screen, for something else to be written there. */
void editor_erase(struct editor *e);
