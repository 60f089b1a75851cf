/*
 * Machine checks of this processor: its banks, from start to the moment in which one strikes. What
 * they mean is mce.h's.
 */
#pragma once

#include "arch/x86/mce.h"

#define MACHINE_CHECK_TEXT 160

/* Switch the calling processor's banks on; what they hold from before the start is told, and
 * forgotten. */
void machine_check_start(void);
/* Whether there is anything to be looked at. */
bool machine_check_present(void);

/*
 * Who is asked about a page whose content is lost and that nobody has used yet. Called in the
 * middle of anything, so it takes no lock; false: the page is not one that can be spared.
 */
void machine_check_set_keeper(bool (*spare)(uint64_t page));

/*
 * #MC has come: out of the guest, or out of root mode (machine_check_trap()). Pages that can be
 * spared have been told of, and the banks are as before, unless `stop` is set:
 * machine_check_text() then says what it was.
 */
struct mce_result machine_check_take(enum mce_where where);
/* In root mode; whether what was interrupted may go on. */
bool machine_check_trap(void);
/* Of the machine check that is the machine's end: a sentence. */
const char *machine_check_text(void);

/* Errors that have come without #MC, or with one that was survived, since the last look. */
struct machine_check_look {
    unsigned corrected, unused;
    char text[MACHINE_CHECK_TEXT]; /* of one of them */
};
void machine_check_look(struct machine_check_look *out);
