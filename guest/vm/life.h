/*
 * The life of a VM as a table: in which state it is, what happens, what state follows and what has
 * to be done. Pure; control.c carries it out. docs/USING.md shows the part that a person sees.
 */
#pragma once

#include "arch/x86/lib/types.h"

enum slot_state {
    SLOT_OFF,       /* nothing of it exists */
    SLOT_MAKING,    /* it is being made, or made anew */
    SLOT_RUNNING,   /* its vCPUs run, wait for a processor or are halted */
    SLOT_PAUSING,   /* they are leaving the processors, to go on later */
    SLOT_PAUSED,    /* none of its vCPUs runs; its clock stands still */
    SLOT_AT_START,  /* the same, before its first instruction */
    SLOT_AT_END,    /* the same, for a look at it: it cannot go on */
    SLOT_WAITING,   /* it restarts when its second is over: it restarted too quickly */
    SLOT_RESETTING, /* its vCPUs are leaving the processors: a person wants it reset, */
    SLOT_KILLING,   /* or ended */
    SLOT_KEEPING,   /* it stands still while it is kept, or put back to what was kept: moments.h */
    SLOT_STATES
};

enum life_event {
    /* A person's commands. */
    LIFE_START,
    LIFE_STOP,
    LIFE_PAUSE,
    LIFE_RESUME,
    LIFE_RESET,
    LIFE_KILL,
    LIFE_SNAPSHOT,
    LIFE_RESTORE,
    LIFE_COMMANDS,
    /* The machine goes down, and asks it to end. */
    LIFE_DOWN = LIFE_COMMANDS,
    /* What was to be made is: it may run, or is to stand still at first; or could not be made. */
    LIFE_MADE,
    LIFE_MADE_PAUSED,
    LIFE_FAILED,
    /* All its vCPUs have left their processors: nothing has ended, */
    LIFE_STOOD,
    /* or it has come to its end, and what the config says of that: */
    LIFE_ENDED,
    LIFE_ENDED_RESTART,
    LIFE_ENDED_TOO_SOON, /* a restart that has to wait */
    LIFE_ENDED_PAUSE,
    /* The wait is over. */
    LIFE_DUE,
    /* So is what it stood still for: it goes on, stands still, or is at its end as before. */
    LIFE_KEPT,
    LIFE_KEPT_PAUSED,
    LIFE_KEPT_AT_END,
    LIFE_EVENTS
};

enum life_action {
    LIFE_NOTHING,
    LIFE_REFUSE,     /* and say why */
    LIFE_MAKE,       /* LIFE_MADE, LIFE_MADE_PAUSED or LIFE_FAILED follows */
    LIFE_MAKE_ANEW,  /* the same: power-on state, and its files again */
    LIFE_STOP_SHORT, /* when it is made it is to stand still before its first instruction */
    LIFE_ENTER,      /* its vCPUs run, from the start */
    LIFE_STAND,      /* it stands still from now on */
    LIFE_KEEP,       /* the same, at its end */
    LIFE_HOLD,       /* its restart waits */
    LIFE_LEAVE,  /* its vCPUs are to leave their processors: LIFE_STOOD or LIFE_ENDED... follows */
    LIFE_FORCE,  /* the same, for good */
    LIFE_SETTLE, /* the same where they have left already: its disks may have something to answer */
    LIFE_GO_ON,  /* its clock and vCPUs go on */
    LIFE_WORK,   /* it is kept, or put back: one of LIFE_KEPT... follows */
    LIFE_STAY,   /* it goes on standing still */
    LIFE_PRESS,  /* its power button */
    LIFE_WAKE,   /* GO_ON and PRESS */
    LIFE_TAKE_DOWN, /* it has ended: give back all that it has */
    LIFE_DESTROY,   /* the same, because somebody else ends it */
};

struct life_step {
    uint8_t next; /* enum slot_state */
    uint8_t action;
    const char *refusal; /* behind its name; LIFE_REFUSE */
};

/* down: the machine goes down; then nothing starts. */
struct life_step life_step(enum slot_state state, enum life_event event, bool down);
/* Its guest is there and none of its vCPUs runs. */
bool life_stands_still(enum slot_state state);
