#include "guest/monitor/login.h"

#include "arch/x86/lib/string.h"

#define CTRL_D    0x04
#define CTRL_U    0x15
#define BACKSPACE 0x08
#define ESC       0x1b
#define DELETE    0x7f

/* Where in ESC [ parameters letter. */
enum { NO_ESCAPE, AFTER_ESC, SEQUENCE };

static void forget(struct login *l)
{
    pbkdf2_wipe(l->typed, sizeof(l->typed));
    pbkdf2_wipe(&l->work, sizeof(l->work));
    l->length = 0;
    l->escape = NO_ESCAPE;
}

void login_init(struct login *l, bool guarded, const struct config_password *wanted,
                uint64_t second, uint32_t logout)
{
    *l = (struct login){
        .guarded = guarded, .wanted = wanted, .second = second, .logout = logout * second};
}

enum login_begins login_begin(struct login *l, uint64_t now, uint64_t *seconds)
{
    if (login_permits(l))
        return LOGIN_NEEDLESS;
    if (!l->wanted)
        return LOGIN_LOCKED;
    if (now < l->wait) {
        *seconds = (l->wait - now + l->second - 1) / l->second;
        return LOGIN_TOO_SOON;
    }
    forget(l);
    l->state = LOGIN_ASKS;
    l->until = now + LOGIN_ASKS_FOR * l->second;
    return LOGIN_BEGINS;
}

/* Whether the byte belongs to a key like the cursor's, or to what a terminal answers a guest. */
static bool escaped(struct login *l, uint8_t byte)
{
    if (byte == ESC)
        l->escape = AFTER_ESC;
    else if (l->escape == AFTER_ESC)
        l->escape = byte == '[' || byte == 'O' ? SEQUENCE : NO_ESCAPE;
    else if (l->escape == SEQUENCE && byte >= '@')
        l->escape = NO_ESCAPE;
    else
        return l->escape == SEQUENCE;
    return true;
}

static void enter(struct login *l)
{
    l->state = LOGIN_WORKS;
    pbkdf2_begin(&l->work, l->typed, l->length, l->wanted->salt, sizeof(l->wanted->salt),
                 l->wanted->rounds);
    pbkdf2_wipe(l->typed, sizeof(l->typed));
}

void login_key(struct login *l, uint8_t byte)
{
    if (l->state != LOGIN_ASKS)
        return;
    if (byte == '\r' || byte == '\n') {
        enter(l);
    } else if (escaped(l, byte)) {
        return;
    } else if (byte == CTRL_D) {
        l->until = 0;
    } else if (byte == CTRL_U) {
        l->length = 0;
    } else if (byte == BACKSPACE || byte == DELETE) {
        l->length -= l->length > 0;
    } else if (byte >= ' ' && l->length <= sizeof(l->typed)) {
        if (l->length < sizeof(l->typed))
            l->typed[l->length] = byte;
        l->length++;
    }
}

static enum login_event judge(struct login *l, uint64_t now)
{
    bool good = pbkdf2_is(&l->work, l->wanted->hash) && l->length <= sizeof(l->typed);

    forget(l);
    l->state = good ? LOGIN_IN : LOGIN_OUT;
    if (good) {
        login_used(l, now);
        return LOGIN_GOOD;
    }
    l->failures++;
    l->wait = now + login_wait(l) * l->second;
    return LOGIN_BAD;
}

enum login_event login_work(struct login *l, uint64_t now)
{
    switch (l->state) {
    case LOGIN_ASKS:
        if (now < l->until)
            return LOGIN_NOTHING;
        login_out(l);
        return LOGIN_GIVEN_UP;
    case LOGIN_WORKS:
        return pbkdf2_work(&l->work, LOGIN_ROUNDS) ? judge(l, now) : LOGIN_NOTHING;
    case LOGIN_IN:
        if (!l->logout || now < l->until)
            return LOGIN_NOTHING;
        login_out(l);
        return LOGIN_ENDED;
    default:
        return LOGIN_NOTHING;
    }
}

void login_used(struct login *l, uint64_t now)
{
    if (l->state == LOGIN_IN)
        l->until = now + l->logout;
}

void login_out(struct login *l)
{
    forget(l);
    l->state = LOGIN_OUT;
}

unsigned login_wait(const struct login *l)
{
    unsigned wait = 1;

    for (unsigned i = 1; i < l->failures && wait < LOGIN_WAIT_MOST; i++)
        wait *= 2;
    return l->failures ? MIN(wait, LOGIN_WAIT_MOST) : 0;
}
