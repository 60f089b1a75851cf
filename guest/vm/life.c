#include "guest/vm/life.h"

#define GO(state, action)                                                                          \
    {                                                                                              \
        SLOT_##state, LIFE_##action, NULL                                                          \
    }
#define NO(state, why)                                                                             \
    {                                                                                              \
        SLOT_##state, LIFE_REFUSE, why                                                             \
    }

#define IS_OFF      "is off"
#define START_FIRST "is off: start it first"
#define NOT_OFF     "is not off"
#define NOT_PAUSED  "is not paused"
#define NOT_RUNNING "is not running"
#define STANDS      "stands still: resume it first"
#define STARTING    "is just starting"
#define PAUSING     "is about to stand still: try again"
#define RESETTING   "is being reset"
#define ENDING      "is about to end"
#define AT_END      "has come to its end: reset or kill it"
#define RESTARTS    "is about to restart"
#define KEPT        "is just being kept, or put back: try again"

/* The machine's own events come only where they are named; elsewhere they change nothing. */
static const struct life_step table[SLOT_STATES][LIFE_EVENTS] =
    {
        [SLOT_OFF] =
            {
                [LIFE_START] = GO(MAKING, MAKE),
                [LIFE_STOP] = NO(OFF, IS_OFF),
                [LIFE_PAUSE] = NO(OFF, IS_OFF),
                [LIFE_RESUME] = NO(OFF, IS_OFF),
                [LIFE_RESET] = NO(OFF, IS_OFF),
                [LIFE_KILL] = NO(OFF, IS_OFF),
                [LIFE_SNAPSHOT] = NO(OFF, IS_OFF),
                [LIFE_RESTORE] = NO(OFF, START_FIRST),
            },
        [SLOT_MAKING] =
            {
                [LIFE_START] = NO(MAKING, STARTING),
                [LIFE_STOP] = NO(MAKING, STARTING),
                [LIFE_PAUSE] = GO(MAKING, STOP_SHORT),
                [LIFE_RESUME] = NO(MAKING, STARTING),
                [LIFE_RESET] = NO(MAKING, STARTING),
                [LIFE_KILL] = GO(OFF, DESTROY),
                [LIFE_SNAPSHOT] = NO(MAKING, STARTING),
                [LIFE_RESTORE] = NO(MAKING, STARTING),
                [LIFE_DOWN] = GO(OFF, DESTROY),
                [LIFE_MADE] = GO(RUNNING, ENTER),
                [LIFE_MADE_PAUSED] = GO(AT_START, STAND),
                [LIFE_FAILED] = GO(OFF, TAKE_DOWN),
            },
        [SLOT_RUNNING] =
            {
                [LIFE_START] = NO(RUNNING, NOT_OFF),
                [LIFE_STOP] = GO(RUNNING, PRESS),
                [LIFE_PAUSE] = GO(PAUSING, LEAVE),
                [LIFE_RESUME] = NO(RUNNING, NOT_PAUSED),
                [LIFE_RESET] = GO(RESETTING, FORCE),
                [LIFE_KILL] = GO(KILLING, FORCE),
                [LIFE_SNAPSHOT] = GO(PAUSING, LEAVE),
                [LIFE_RESTORE] = GO(PAUSING, LEAVE),
                [LIFE_DOWN] = GO(RUNNING, PRESS),
                [LIFE_STOOD] = GO(PAUSED, STAND),
                [LIFE_ENDED] = GO(OFF, TAKE_DOWN),
                [LIFE_ENDED_RESTART] = GO(MAKING, MAKE_ANEW),
                [LIFE_ENDED_TOO_SOON] = GO(WAITING, HOLD),
                [LIFE_ENDED_PAUSE] = GO(AT_END, KEEP),
            },
        [SLOT_PAUSING] =
            {
                [LIFE_START] = NO(PAUSING, NOT_OFF),
                [LIFE_STOP] = NO(PAUSING, STANDS),
                [LIFE_PAUSE] = NO(PAUSING, NOT_RUNNING),
                [LIFE_RESUME] = NO(PAUSING, PAUSING),
                [LIFE_RESET] = GO(RESETTING, FORCE),
                [LIFE_KILL] = GO(KILLING, FORCE),
                [LIFE_SNAPSHOT] = NO(PAUSING, PAUSING),
                [LIFE_RESTORE] = NO(PAUSING, PAUSING),
                [LIFE_DOWN] = GO(PAUSING, NOTHING), /* asked again when it stands still */
                [LIFE_STOOD] = GO(PAUSED, STAND),
                [LIFE_ENDED] = GO(OFF, TAKE_DOWN),
                [LIFE_ENDED_RESTART] = GO(MAKING, MAKE_ANEW),
                [LIFE_ENDED_TOO_SOON] = GO(WAITING, HOLD),
                [LIFE_ENDED_PAUSE] = GO(AT_END, KEEP),
            },
        [SLOT_PAUSED] =
            {
                [LIFE_START] = NO(PAUSED, NOT_OFF),
                [LIFE_STOP] = NO(PAUSED, STANDS),
                [LIFE_PAUSE] = NO(PAUSED, NOT_RUNNING),
                [LIFE_RESUME] = GO(RUNNING, GO_ON),
                [LIFE_RESET] = GO(RESETTING, SETTLE),
                [LIFE_KILL] = GO(KILLING, SETTLE),
                [LIFE_SNAPSHOT] = GO(KEEPING, WORK),
                [LIFE_RESTORE] = GO(KEEPING, WORK),
                [LIFE_DOWN] = GO(RUNNING, WAKE),
            },
        [SLOT_AT_START] =
            {
                [LIFE_START] = NO(AT_START, NOT_OFF),
                [LIFE_STOP] = NO(AT_START, STANDS),
                [LIFE_PAUSE] = NO(AT_START, NOT_RUNNING),
                [LIFE_RESUME] = GO(RUNNING, GO_ON),
                [LIFE_RESET] = GO(MAKING, MAKE_ANEW),
                [LIFE_KILL] = GO(OFF, DESTROY),
                [LIFE_SNAPSHOT] = GO(KEEPING, WORK),
                [LIFE_RESTORE] = GO(KEEPING, WORK),
                [LIFE_DOWN] = GO(OFF, DESTROY), /* there is nobody in it yet to ask */
            },
        [SLOT_AT_END] =
            {
                [LIFE_START] = NO(AT_END, NOT_OFF),
                [LIFE_STOP] = NO(AT_END, AT_END),
                [LIFE_PAUSE] = NO(AT_END, NOT_RUNNING),
                [LIFE_RESUME] = NO(AT_END, AT_END),
                [LIFE_RESET] = GO(MAKING, MAKE_ANEW),
                [LIFE_KILL] = GO(OFF, DESTROY),
                [LIFE_SNAPSHOT] = NO(AT_END, AT_END),
                [LIFE_RESTORE] = GO(KEEPING, WORK),
                [LIFE_DOWN] = GO(OFF, TAKE_DOWN),
            },
        [SLOT_WAITING] =
            {
                [LIFE_START] = NO(WAITING, NOT_OFF),
                [LIFE_STOP] = NO(WAITING, RESTARTS),
                [LIFE_PAUSE] = NO(WAITING, NOT_RUNNING),
                [LIFE_RESUME] = NO(WAITING, NOT_PAUSED),
                [LIFE_RESET] = GO(MAKING, MAKE_ANEW),
                [LIFE_KILL] = GO(OFF, DESTROY),
                [LIFE_SNAPSHOT] = NO(WAITING, RESTARTS),
                [LIFE_RESTORE] = NO(WAITING, RESTARTS),
                [LIFE_DOWN] = GO(OFF, TAKE_DOWN),
                [LIFE_DUE] = GO(MAKING, MAKE_ANEW),
            },
        [SLOT_RESETTING] =
            {
                [LIFE_START] = NO(RESETTING, NOT_OFF),
                [LIFE_STOP] = NO(RESETTING, RESETTING),
                [LIFE_PAUSE] = NO(RESETTING, RESETTING),
                [LIFE_RESUME] = NO(RESETTING, RESETTING),
                [LIFE_RESET] = NO(RESETTING, RESETTING),
                [LIFE_KILL] = GO(KILLING, FORCE),
                [LIFE_SNAPSHOT] = NO(RESETTING, RESETTING),
                [LIFE_RESTORE] = NO(RESETTING, RESETTING),
                [LIFE_DOWN] = GO(KILLING, FORCE),
                /* However it ended. */
                [LIFE_STOOD] = GO(MAKING, MAKE_ANEW),
                [LIFE_ENDED] = GO(MAKING, MAKE_ANEW),
                [LIFE_ENDED_RESTART] = GO(MAKING, MAKE_ANEW),
                [LIFE_ENDED_TOO_SOON] = GO(MAKING, MAKE_ANEW),
                [LIFE_ENDED_PAUSE] = GO(MAKING, MAKE_ANEW),
            },
        [SLOT_KILLING] =
            {
                [LIFE_START] = NO(KILLING, NOT_OFF),
                [LIFE_STOP] = NO(KILLING, ENDING),
                [LIFE_PAUSE] = NO(KILLING, ENDING),
                [LIFE_RESUME] = NO(KILLING, ENDING),
                [LIFE_RESET] = NO(KILLING, ENDING),
                [LIFE_KILL] = NO(KILLING, ENDING),
                [LIFE_SNAPSHOT] = NO(KILLING, ENDING),
                [LIFE_RESTORE] = NO(KILLING, ENDING),
                [LIFE_DOWN] = GO(KILLING, NOTHING),
                [LIFE_STOOD] = GO(OFF, DESTROY),
                [LIFE_ENDED] = GO(OFF, DESTROY),
                [LIFE_ENDED_RESTART] = GO(OFF, DESTROY),
                [LIFE_ENDED_TOO_SOON] = GO(OFF, DESTROY),
                [LIFE_ENDED_PAUSE] = GO(OFF, DESTROY),
            },
        [SLOT_KEEPING] =
            {
                [LIFE_START] = NO(KEEPING, NOT_OFF),
                [LIFE_STOP] = NO(KEEPING, KEPT),
                [LIFE_PAUSE] = NO(KEEPING, KEPT),
                [LIFE_RESUME] = NO(KEEPING, KEPT),
                [LIFE_RESET] = NO(KEEPING, KEPT),
                [LIFE_KILL] = GO(KILLING, SETTLE),
                [LIFE_SNAPSHOT] = NO(KEEPING, KEPT),
                [LIFE_RESTORE] = NO(KEEPING, KEPT),
                [LIFE_DOWN] = GO(KEEPING, NOTHING), /* asked again when that is over */
                [LIFE_KEPT] = GO(RUNNING, GO_ON),
                [LIFE_KEPT_PAUSED] = GO(PAUSED, STAY),
                [LIFE_KEPT_AT_END] = GO(AT_END, STAY),
            },
};

/* What an event amounts to while the machine goes down. */
static enum life_event downwards(enum life_event event)
{
    switch (event) {
    case LIFE_ENDED_RESTART:
    case LIFE_ENDED_TOO_SOON:
    case LIFE_ENDED_PAUSE:
        return LIFE_ENDED;
    case LIFE_MADE:
    case LIFE_MADE_PAUSED:
    case LIFE_DUE:
        return LIFE_DOWN;
    case LIFE_KEPT:
        return LIFE_KEPT_PAUSED; /* and is asked to end as others that stand still */
    default:
        return event;
    }
}

struct life_step life_step(enum slot_state state, enum life_event event, bool down)
{
    static const struct life_step refusal = NO(OFF, "stays as it is: the machine goes down");
    static const struct life_step end = GO(OFF, DESTROY);
    struct life_step step = table[state][down ? downwards(event) : event];
    bool begins = event == LIFE_START || event == LIFE_RESET || event == LIFE_PAUSE ||
                  event == LIFE_SNAPSHOT || event == LIFE_RESTORE;

    if (down && begins && step.action != LIFE_REFUSE)
        step = refusal;
    else if (down && step.action == LIFE_MAKE_ANEW)
        step = end;
    if (step.action == LIFE_NOTHING || step.action == LIFE_REFUSE)
        step.next = (uint8_t)state;
    return step;
}

bool life_stands_still(enum slot_state state)
{
    return state == SLOT_PAUSED || state == SLOT_AT_START || state == SLOT_AT_END;
}
