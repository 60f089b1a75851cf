#include "guest/console/front.h"

/* --- the table --- */

enum step {
    STAY,
    COME, /* the event's VM comes to the front */
    CEDE, /* it does if the VM in front is not awaited any more */
    BE,   /* the VM in front has become one that exists */
    PART, /* the VM in front is shown to its end; then NEXT */
    NEXT, /* whoever has something to say; else the monitor, if somebody is there to use it */
    ASK,  /* the monitor */
    BACK, /* to the console that is behind the monitor */
    TAKE, /* the key that is waited for */
};

/* To be read by columns. */
/* clang-format off */
static const uint8_t table[FRONT_STATES][FRONT_EVENTS] = {
    /*                 starts another ends  shown Ctrl-] key   idle */
    [FRONT_LOG]     = {COME,  COME,   STAY, STAY, ASK,   ASK,  NEXT},
    [FRONT_ASKS]    = {COME,  COME,   STAY, STAY, ASK,   TAKE, STAY},
    [FRONT_AWAITED] = {BE,    CEDE,   NEXT, STAY, ASK,   ASK,  NEXT},
    [FRONT_GUEST]   = {STAY,  STAY,   PART, STAY, ASK,   STAY, STAY},
    [FRONT_PARTING] = {BE,    STAY,   STAY, NEXT, ASK,   ASK,  STAY},
    [FRONT_OFF]     = {BE,    STAY,   STAY, STAY, ASK,   ASK,  STAY},
    [FRONT_MONITOR] = {STAY,  STAY,   STAY, STAY, BACK,  STAY, STAY},
};
/* clang-format on */

/* --- its steps --- */

static bool is(const struct front *f, int vm, unsigned fact)
{
    return vm != FRONT_NO_VM && (f->facts((unsigned)vm) & fact);
}

static enum front_move show(struct front *f, int vm, enum front_state otherwise)
{
    f->vm = vm;
    f->state = is(f, vm, FRONT_VM_EXISTS) ? FRONT_GUEST : otherwise;
    return FRONT_SHOWS;
}

static enum front_move ask(struct front *f)
{
    f->state = FRONT_MONITOR;
    return FRONT_PROMPTS;
}

static enum front_move next(struct front *f)
{
    for (unsigned i = 0; i < f->count && !f->person; i++)
        if (f->facts(i) & (FRONT_VM_EXISTS | FRONT_VM_UNSEEN))
            return show(f, (int)i, FRONT_PARTING);
    if (f->person || f->idle)
        return ask(f);
    f->state = FRONT_LOG;
    return FRONT_CLEARS;
}

static enum front_move part(struct front *f)
{
    if (!is(f, f->vm, FRONT_VM_UNSEEN))
        return next(f);
    f->state = FRONT_PARTING;
    return FRONT_STAYS;
}

static enum front_move back(struct front *f)
{
    if (!is(f, f->vm, FRONT_VM_EXISTS))
        return f->vm == FRONT_NO_VM ? FRONT_STAYS : FRONT_CANNOT;
    f->state = FRONT_GUEST;
    return FRONT_GOES_ON;
}

/* --- what happens --- */

enum front_move front_happens(struct front *f, enum front_event event, int vm)
{
    enum step step = table[f->state][event];

    /* What is typed at a guest's console says nothing of whether whoever types knows the monitor.
     */
    if (event == FRONT_ESCAPE ||
        (event == FRONT_KEY && f->state != FRONT_GUEST && f->state != FRONT_ASKS))
        f->person = true;
    if (event == FRONT_IDLE || event == FRONT_STARTS || event == FRONT_OTHER_STARTS)
        f->idle = event == FRONT_IDLE;
    switch (step) {
    case COME:
        return show(f, vm, FRONT_PARTING);
    case CEDE:
        return is(f, f->vm, FRONT_VM_AWAITED) ? FRONT_STAYS : show(f, vm, FRONT_PARTING);
    case BE:
        f->state = FRONT_GUEST;
        return FRONT_STAYS;
    case PART:
        return part(f);
    case NEXT:
        return next(f);
    case ASK:
        return ask(f);
    case BACK:
        return back(f);
    case TAKE:
        f->answered = true;
        f->state = FRONT_LOG;
        return FRONT_STAYS;
    default:
        return FRONT_STAYS;
    }
}

enum front_move front_vm_starts(struct front *f, unsigned vm)
{
    return front_happens(f, f->vm == (int)vm ? FRONT_STARTS : FRONT_OTHER_STARTS, (int)vm);
}

enum front_move front_vm_ends(struct front *f, unsigned vm)
{
    return f->vm == (int)vm ? front_happens(f, FRONT_ENDS, (int)vm) : FRONT_STAYS;
}

enum front_move front_show(struct front *f, unsigned vm)
{
    return show(f, (int)vm, FRONT_OFF);
}

enum front_move front_ask_monitor(struct front *f)
{
    return f->state == FRONT_MONITOR ? FRONT_STAYS : ask(f);
}

enum front_move front_ask_key(struct front *f)
{
    if (f->state == FRONT_MONITOR || f->person)
        return FRONT_STAYS;
    f->answered = false;
    f->state = FRONT_ASKS;
    return FRONT_CLEARS;
}

enum front_move front_begin(struct front *f, int wish)
{
    f->vm = FRONT_NO_VM;
    if (is(f, wish, FRONT_VM_AWAITED))
        f->vm = wish;
    for (unsigned i = 0; i < f->count && f->vm == FRONT_NO_VM; i++)
        if (f->facts(i) & FRONT_VM_AWAITED)
            f->vm = (int)i;
    if (f->vm == FRONT_NO_VM)
        return FRONT_STAYS;
    f->state = FRONT_AWAITED;
    return FRONT_SHOWS;
}
