#include "guest/console/replay.h"

#include "arch/x86/lib/string.h"

/* ECMA-48's control functions, as xterm answers them. */
#define ENQ 0x05
#define BEL 0x07
#define ESC 0x1b

enum { TEXT, AFTER_ESC, SEQUENCE, STRING, STRING_ESC };

/* Device status report, device attributes, terminal parameters. */
static bool is_request(char final)
{
    return final == 'n' || final == 'c' || final == 'x';
}

static size_t release(struct replay *r, char *out)
{
    size_t held = r->held;

    memcpy(out, r->hold, held);
    r->held = 0;
    r->state = TEXT;
    return held;
}

static void hold(struct replay *r, char c)
{
    r->hold[r->held++] = c;
}

static size_t step(struct replay *r, char c, char *out)
{
    uint8_t byte = (uint8_t)c;
    size_t released;

    if (byte == ESC && (r->state == AFTER_ESC || r->state == SEQUENCE)) {
        released = release(r, out); /* cut off: another one begins */
        r->state = AFTER_ESC;
        hold(r, c);
        return released;
    }
    switch (r->state) {
    case STRING: /* ESC ], ESC P: titles, colours, requests; to BEL or ESC \ */
        if (byte == BEL || byte == '\n')
            r->state = TEXT;
        else if (byte == ESC)
            r->state = STRING_ESC;
        return 0;
    case STRING_ESC:
        r->state = byte == '\\' ? TEXT : STRING;
        return 0;
    case TEXT:
        if (byte == ENQ)
            return 0;
        if (byte != ESC) {
            *out = c;
            return 1;
        }
        r->state = AFTER_ESC;
        hold(r, c);
        return 0;
    case AFTER_ESC:
        if (byte == ']' || byte == 'P' || byte == 'Z') {
            r->held = 0;
            r->state = byte == 'Z' ? TEXT : STRING;
            return 0;
        }
        hold(r, c);
        if (byte != '[')
            return release(r, out);
        r->state = SEQUENCE;
        return 0;
    default:
        if (byte >= '@' && byte <= '~' && is_request(c)) {
            r->held = 0;
            r->state = TEXT;
            return 0;
        }
        hold(r, c);
        if (byte < ' ' || byte >= '@' || r->held == REPLAY_HELD)
            return release(r, out);
        return 0;
    }
}

size_t replay_filter(struct replay *r, const char *in, size_t length, char *out)
{
    size_t used = 0;

    for (size_t i = 0; i < length; i++)
        used += step(r, in[i], out + used);
    return used;
}
