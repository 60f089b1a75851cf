/*
 * What is typed at the monitor's prompt, cut into a command and its arguments by the table of all
 * commands; and what the table says for help and completion. Pure.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define COMMAND_WORDS 8
#define COMMAND_ERROR 160

struct word {
    const char *text; /* not terminated */
    size_t length;
};

struct words {
    struct word word[COMMAND_WORDS]; /* [0] is the command */
    unsigned count;
};

/* What an argument is, for completion. */
enum argument {
    ARGUMENT_NONE,
    ARGUMENT_VM,
    ARGUMENT_MOMENT, /* of a VM, that is kept */
    ARGUMENT_DISK,   /* of the machine's drives one, or a VM */
    ARGUMENT_COMMAND,
    ARGUMENT_SETTING,
    ARGUMENT_TRACE,
    ARGUMENT_EVENT,
    ARGUMENT_POLICY,
    ARGUMENT_CAPTURE,
    ARGUMENT_TEXT, /* the last one: the rest of the line */
    ARGUMENT_OTHER
};

/* Who may have it obeyed: nobody who only looks changes anything. */
enum right {
    RIGHT_LOOK = 1,  /* everybody: it only shows */
    RIGHT_LOOK_BARE, /* everybody with its fewest arguments, with more who is logged in */
    RIGHT_ALL,       /* who is logged in: it changes something, or shows what is a guest's own */
};

struct job;

struct command {
    const char *name;
    const char *arguments; /* as help shows them; "" when there are none */
    unsigned min, max;     /* how many there may be */
    enum right right;
    enum argument kinds[COMMAND_WORDS - 1];
    const char *help;    /* one line, without full stop */
    const char *example; /* what one could type, and what comes of it */
    /* Prints the next piece of output and returns whether there is more to come. */
    bool (*run)(struct job *job);
};

/* Cut text[0..length) at blanks. false: it has more than COMMAND_WORDS words. */
bool words_cut(struct words *w, const char *text, size_t length);
/* The same, but word number last is all of the rest, blanks at its end included. */
void words_cut_rest(struct words *w, const char *text, size_t length, unsigned last);
bool word_is(struct word w, const char *text);
/* A decimal number up to max: 0, or -EINVAL, -ERANGE. */
int word_number(struct word w, uint64_t max, uint64_t *value) MUST_CHECK;

/*
 * Find what a line asks for in table[0..count): the command with its words; NULL for an empty line
 * (error is empty then) and for one that cannot be obeyed, with the sentence in
 * error[COMMAND_ERROR].
 */
const struct command *command_parse(const struct command *table, unsigned count, const char *line,
                                    size_t length, struct words *w, char *error);
/* Whether somebody may have it obeyed with these words; all: who is logged in. */
bool command_is_permitted(const struct command *c, const struct words *w, bool all);
/* By its name; NULL when there is none. */
const struct command *command_find(const struct command *table, unsigned count, struct word name);
/* What the next word may be after the complete words before[0..length). */
enum argument command_expects(const struct command *table, unsigned count, const char *before,
                              size_t length);
