/*
 * What a guest has set of a terminal: modes, and how text looks; how that is taken back for others,
 * and given again.
 */
#include "guest/console/terminal_internal.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

/* --- what goes out --- */

void terminal_put(struct terminal_out *o, const char *text, size_t length)
{
    memcpy(o->text + o->used, text, length);
    o->used += length;
}

void terminal_put_text(struct terminal_out *o, const char *text)
{
    terminal_put(o, text, strlen(text));
}

void terminal_put_number(struct terminal_out *o, unsigned n)
{
    o->used += (size_t)format(o->text + o->used, 8, "%u", n);
}

/* --- modes --- */

enum {
    INSERT,
    CURSOR_KEYS,
    ORIGIN,
    WRAP,
    CURSOR,
    SCREEN_47,
    SCREEN_1047,
    SCREEN_1049,
    PASTE,
    KEYPAD,
    ROWS,   /* that scroll: all of a screen with 24, maybe of this one */
    REGION, /* fewer */
};

static const struct mode {
    uint16_t number; /* of CSI h and CSI l; 0: it has sequences of its own */
    bool private;    /* with `?` */
    bool at_first;
    bool alone; /* a line of Corbel's must not find it as the guest has it */
    const char *normal, *other;
} modes[] = {
    [INSERT] = {4, false, false, true, "\x1b[4l", "\x1b[4h"},
    [CURSOR_KEYS] = {1, true, false, false, "\x1b[?1l", "\x1b[?1h"},
    [ORIGIN] = {6, true, false, false, "\x1b[?6l", ""},
    [WRAP] = {7, true, true, true, "\x1b[?7h", "\x1b[?7l"},
    [CURSOR] = {25, true, true, false, "\x1b[?25h", "\x1b[?25l"},
    [SCREEN_47] = {47, true, false, false, "\x1b[?47l", "\x1b[?47h"},
    [SCREEN_1047] = {1047, true, false, false, "\x1b[?1047l", "\x1b[?1047h"},
    [SCREEN_1049] = {1049, true, false, false, "\x1b[?1049l", "\x1b[?1049h"},
    [PASTE] = {2004, true, false, false, "\x1b[?2004l", "\x1b[?2004h"},
    [KEYPAD] = {0, false, false, false, "\x1b>", "\x1b="},
    [ROWS] = {0, false, false, false, "\x1b[r", ""},
    [REGION] = {0, false, false, false, "\x1b[r", ""},
};

#define FULL (BIT(ORIGIN) | BIT(SCREEN_47) | BIT(SCREEN_1047) | BIT(SCREEN_1049) | BIT(REGION))

static void put_modes(struct terminal_out *o, bool back, bool all)
{
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
        if ((o->t->modes & BIT(i)) && (all || modes[i].alone))
            terminal_put_text(o, back ? modes[i].other : modes[i].normal);
}

static int mode_of(const struct terminal *t, unsigned number)
{
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
        if (number && modes[i].number == number && modes[i].private == (t->private == '?'))
            return (int)i;
    return -1;
}

static void note(struct terminal *t, unsigned mode, bool differs)
{
    t->modes = (uint16_t)(differs ? t->modes | BIT(mode) : t->modes & ~BIT(mode));
}

bool terminal_set_mode(struct terminal *t, unsigned number, bool on)
{
    int mode = mode_of(t, number);

    if (mode < 0)
        return false;
    note(t, (unsigned)mode, on != modes[mode].at_first);
    if (BIT(mode) & FULL)
        t->moved = true;
    t->doubt |= mode == SCREEN_1049 && !on;
    return true;
}

void terminal_set_keypad(struct terminal *t, bool on)
{
    note(t, KEYPAD, on);
}

void terminal_set_rows(struct terminal *t)
{
    const uint16_t *rows = t->param;
    bool some = rows[0] > 1 || (rows[1] && rows[1] < 24);

    note(t, REGION, some);
    note(t, ROWS, !some && rows[1]);
}

/* --- how text looks --- */

/* 38 and 48 choose from a table or of 2^24; the other colours are what SGR calls them. */
#define OF_TABLE BIT(30)
#define OF_ALL   BIT(31)

static bool is_normal(const struct terminal_look *l)
{
    return !l->attributes && !l->ink && !l->paper && !l->sets && !l->shifted;
}

static void put_colour(struct terminal_out *o, uint32_t colour, unsigned chooser)
{
    if (!colour)
        return;
    terminal_put_text(o, ";");
    if (!(colour & (OF_TABLE | OF_ALL))) {
        terminal_put_number(o, colour);
        return;
    }
    terminal_put_number(o, chooser);
    terminal_put_text(o, colour & OF_TABLE ? ";5;" : ";2;");
    for (int shift = colour & OF_TABLE ? 0 : 16; shift >= 0; shift -= 8) {
        terminal_put_number(o, colour >> shift & 0xff);
        terminal_put_text(o, shift ? ";" : "");
    }
}

static void put_look(struct terminal_out *o, const struct terminal_look *l)
{
    terminal_put_text(o, "\x1b[0");
    for (unsigned n = 1; n <= 9; n++)
        if (l->attributes & BIT(n)) {
            terminal_put_text(o, ";");
            terminal_put_number(o, n);
        }
    put_colour(o, l->ink, 38);
    put_colour(o, l->paper, 48);
    terminal_put_text(o, "m");
    terminal_put_text(o, l->sets & BIT(0) ? "\x1b(0" : "\x1b(B");
    terminal_put_text(o, l->sets & BIT(1) ? "\x1b)0" : "\x1b)B");
    terminal_put(o, l->shifted ? "\x0e" : "\x0f", 1);
}

static void put_normal_look(struct terminal_out *o)
{
    static const struct terminal_look normal;

    if (o->t->doubt)
        terminal_put_text(o, modes[ORIGIN].normal);
    if (o->t->doubt || !is_normal(&o->t->look))
        put_look(o, &normal);
    o->t->doubt = false;
}

void terminal_resume(struct terminal_out *o)
{
    if (!o->t->pending)
        return;
    o->t->pending = false;
    if (!is_normal(&o->t->look))
        put_look(o, &o->t->look);
    put_modes(o, true, false);
}

bool terminal_set_look(struct terminal_look *l, unsigned n)
{
    if (n == 0) {
        l->attributes = 0;
        l->ink = l->paper = 0;
    } else if (n <= 9 && n != 8) {
        l->attributes |= (uint16_t)BIT(n);
    } else if (n == 21) {
        l->attributes |= BIT(4);
    } else if (n == 22) {
        l->attributes &= (uint16_t) ~(BIT(1) | BIT(2));
    } else if (n >= 23 && n <= 29 && n != 26) {
        l->attributes &= (uint16_t) ~(BIT(n - 20) | (n == 25 ? BIT(6) : 0));
    } else if ((n >= 30 && n <= 37) || (n >= 90 && n <= 97)) {
        l->ink = n;
    } else if ((n >= 40 && n <= 47) || (n >= 100 && n <= 107)) {
        l->paper = n;
    } else if (n == 39) {
        l->ink = 0;
    } else if (n == 49) {
        l->paper = 0;
    } else {
        return false;
    }
    return true;
}

unsigned terminal_set_colour(struct terminal *t, unsigned i)
{
    unsigned left = t->params - i, n = t->param[i];
    uint32_t *colour = n == 38 ? &t->look.ink : &t->look.paper;
    const uint16_t *p = t->param + i;

    if ((n != 38 && n != 48) || left < 3)
        return 0;
    if (p[1] == 5 && p[2] < 256) {
        *colour = OF_TABLE | p[2];
        return 3;
    }
    if (p[1] == 2 && left >= 5 && p[2] < 256 && p[3] < 256 && p[4] < 256) {
        *colour = OF_ALL | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
        return 5;
    }
    return 0;
}

/* --- others come to the terminal --- */

void terminal_put_reset(struct terminal_out *o)
{
    o->t->doubt |= o->t->modes & BIT(SCREEN_1049);
    if (o->t->doubt || (o->t->modes & (FULL | BIT(ROWS))))
        o->t->moved = true; /* some of them do */
    put_modes(o, false, true);
    put_normal_look(o);
    o->t->modes = 0;
    o->t->look = o->t->saved = (struct terminal_look){0};
    o->t->pending = false;
}

bool terminal_is_full(const struct terminal *t)
{
    return t->modes & FULL;
}

static void put_fresh_line(struct terminal_out *o)
{
    struct terminal *t = o->t;

    if (t->moved)
        terminal_put_text(o, "\x1b[999;1H"); /* to the last line, below which nothing stands */
    if (t->in_line || t->away || t->moved || o->used)
        terminal_put_text(o, "\r\n");
    t->in_line = t->away = t->moved = false;
    t->matched = 0;
}

size_t terminal_between(struct terminal *t, char out[TERMINAL_OUT])
{
    struct terminal_out o = {t, out, 0};

    if (!t->pending) {
        put_modes(&o, false, false);
        put_normal_look(&o);
    }
    t->pending |= !is_normal(&t->look) || o.used;
    put_fresh_line(&o);
    return o.used;
}

size_t terminal_leave(struct terminal *t, char out[TERMINAL_OUT])
{
    struct terminal_out o = {t, out, 0};

    terminal_put_reset(&o);
    put_fresh_line(&o);
    *t = (struct terminal){0};
    return o.used;
}

size_t terminal_return(struct terminal *t, char out[TERMINAL_OUT])
{
    struct terminal_out o = {t, out, 0};

    t->state = TEXT;
    t->matched = 0;
    t->pending = t->in_line = t->away = false;
    t->moved = terminal_is_full(t);
    t->modes &= (uint16_t) ~(BIT(ROWS) | BIT(REGION) | BIT(ORIGIN));
    if (!is_normal(&t->look))
        put_look(&o, &t->look);
    put_modes(&o, true, true);
    return o.used;
}
