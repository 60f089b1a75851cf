/*
 * The console's front: who is there, and with that who takes what is typed. That is a VM that
 * exists, or else the monitor: nothing that is typed goes to nobody, and no console is given to
 * nobody while another VM has something to say. Pure; guest/console/console.c carries it out.
 */
#pragma once

#include "arch/x86/lib/types.h"

enum front_state {
    FRONT_LOG,     /* nobody: only Corbel's own lines are shown */
    FRONT_ASKS,    /* nobody, and a key is waited for as an answer */
    FRONT_AWAITED, /* a VM that does not exist yet, but is about to start by itself */
    FRONT_GUEST,   /* a VM that exists */
    FRONT_PARTING, /* a VM that has ended: what it said is still being sent */
    FRONT_OFF,     /* a VM that is off: somebody wants to see what it said */
    FRONT_MONITOR, /* the monitor's prompt */
    FRONT_STATES
};

enum front_event {
    FRONT_STARTS,       /* the VM in front exists from now on */
    FRONT_OTHER_STARTS, /* another one */
    FRONT_ENDS,         /* the VM in front exists no longer, or does not come into being */
    FRONT_SHOWN,        /* all that it has said is out */
    FRONT_ESCAPE,       /* Ctrl-] */
    FRONT_KEY,          /* another byte is typed */
    FRONT_IDLE,         /* no VM exists nor starts by itself, and the machine stays on */
    FRONT_EVENTS
};

/* What is to be done after an event. */
enum front_move {
    FRONT_STAYS,   /* nothing: whoever is in front stays there */
    FRONT_SHOWS,   /* show the console of `vm`, from its oldest line that is kept */
    FRONT_GOES_ON, /* show the console of `vm` again, from where it was left */
    FRONT_PROMPTS, /* show the monitor's prompt */
    FRONT_CLEARS,  /* show nobody's console */
    FRONT_CANNOT,  /* say that there is no way back: the VM behind the monitor is off */
};

/* Facts about a VM. */
#define FRONT_VM_EXISTS  1u
#define FRONT_VM_AWAITED 2u /* it is about to start by itself */
#define FRONT_VM_UNSEEN  4u /* it has said what nobody has seen */

#define FRONT_NO_VM (-1)

struct front {
    enum front_state state;
    int vm; /* in front, or behind the monitor; or FRONT_NO_VM */
    bool
        person; /* somebody has used the monitor: from then on no VM comes to the front by itself */
    bool idle;  /* FRONT_IDLE still holds */
    bool answered;  /* a key was typed in state FRONT_ASKS */
    unsigned count; /* of VMs */
    unsigned (*facts)(unsigned vm);
};

/* Who is in front at first: VM `wish` if it is awaited, else the first that is, else nobody. */
enum front_move front_begin(struct front *f, int wish);
/* Events of the VM in front and those without one; vm is that of FRONT_OTHER_STARTS. */
enum front_move front_happens(struct front *f, enum front_event event, int vm);
/* A VM has started, or has ended or will not start: front_happens() with the event that it is. */
enum front_move front_vm_starts(struct front *f, unsigned vm);
enum front_move front_vm_ends(struct front *f, unsigned vm);
/* Somebody wants to see it. */
enum front_move front_show(struct front *f, unsigned vm);
enum front_move front_ask_monitor(struct front *f);
/* A key is waited for: any but Ctrl-], unless the monitor is in front or in use. */
enum front_move front_ask_key(struct front *f);

/* Whether that VM's console is in front. */
static inline bool front_has(const struct front *f, unsigned vm)
{
    return f->state >= FRONT_AWAITED && f->state <= FRONT_OFF && f->vm == (int)vm;
}
