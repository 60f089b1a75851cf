/*
 * Who sits at COM1: whether what is typed there may change anything. With `password` in the config
 * that takes a login, which ends by itself. The time is the caller's. Pure.
 */
#pragma once

#include "guest/config/password.h"
#include "guest/monitor/pbkdf2.h"

#define LOGIN_ASKS_FOR   60  /* seconds until a password that is asked for must be there */
#define LOGIN_WAIT_MOST  60  /* seconds; from 1 on each failure doubles them */
#define LOGIN_ROUNDS     16u /* of the hash in one go */
#define LOGIN_NO_CHANGES "read-only: type `login`"

enum login_state {
    LOGIN_OUT,
    LOGIN_ASKS,  /* the password is being typed */
    LOGIN_WORKS, /* ... has been, and is hashed */
    LOGIN_IN,
};

struct login {
    bool guarded;                         /* there is a password */
    const struct config_password *wanted; /* NULL: none that anybody could know */
    uint64_t second, logout; /* ticks of the clock; logout: without a key, 0: does not count */
    enum login_state state;
    uint64_t until;    /* ASKS: it is given up; IN: it ends, if logout is not 0 */
    uint64_t wait;     /* before that no password is asked for */
    unsigned failures; /* since somebody was let in */
    unsigned length;   /* of what is typed; more than fits counts, and is wrong */
    unsigned escape;   /* of a key that sends several bytes: none is part of it */
    uint8_t typed[PBKDF2_PASSWORD];
    struct pbkdf2 work;
};

/* second: the clock's ticks in one; logout: seconds. */
void login_init(struct login *l, bool guarded, const struct config_password *wanted,
                uint64_t second, uint32_t logout);

static inline bool login_permits(const struct login *l)
{
    return !l->guarded || l->state == LOGIN_IN;
}

enum login_begins {
    LOGIN_BEGINS,   /* type it */
    LOGIN_NEEDLESS, /* all is permitted */
    LOGIN_LOCKED,   /* there is no password that would do */
    LOGIN_TOO_SOON, /* after a wrong one; *seconds: until then */
};
enum login_begins login_begin(struct login *l, uint64_t now, uint64_t *seconds);
/* A byte of the password is typed; at Enter it is complete. */
void login_key(struct login *l, uint8_t byte);

/* What becomes of it. */
enum login_event {
    LOGIN_NOTHING,
    LOGIN_GOOD,
    LOGIN_BAD,
    LOGIN_GIVEN_UP, /* it was asked for too long, or somebody has pressed Ctrl-D */
    LOGIN_ENDED,    /* no key for so long */
};
/* Do some of the work, and look at the clock: at l->until at the latest while somebody is in or
 * asked, and again and again in LOGIN_WORKS. */
enum login_event login_work(struct login *l, uint64_t now);
/* A key was typed, wherever that goes. */
void login_used(struct login *l, uint64_t now);
/* Nobody is logged in, and no password asked for, from now on. */
void login_out(struct login *l);
/* Seconds that the next try has to wait. */
unsigned login_wait(const struct login *l);
