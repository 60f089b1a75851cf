#include "guest/console/terminal.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

#define BEL 0x07
#define SO  0x0e
#define SI  0x0f
#define CAN 0x18
#define SUB 0x1a
#define ESC 0x1b
#define DEL 0x7f

enum { TEXT, UTF8, AFTER_ESC, CONTROL, STRING, STRING_ESC };

static const char pattern[] = "corbel"; /* and then a colon or what ends the prompt */
#define NAMED   (sizeof(pattern) - 1)
#define MATCHED (NAMED + 1) /* both */

/* --- what goes out --- */

struct out {
    struct terminal *t;
    char *text;
    size_t used;
};

static void put(struct out *o, const char *text, size_t length)
{
    memcpy(o->text + o->used, text, length);
    o->used += length;
}

static void put_text(struct out *o, const char *text)
{
    put(o, text, strlen(text));
}

static void put_number(struct out *o, unsigned n)
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

static void put_modes(struct out *o, bool back, bool all)
{
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
        if ((o->t->modes & BIT(i)) && (all || modes[i].alone))
            put_text(o, back ? modes[i].other : modes[i].normal);
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

/* --- how text looks --- */

/* 38 and 48 choose from a table or of 2^24; the other colours are what SGR calls them. */
#define OF_TABLE BIT(30)
#define OF_ALL   BIT(31)

static bool is_normal(const struct terminal_look *l)
{
    return !l->attributes && !l->ink && !l->paper && !l->sets && !l->shifted;
}

static void put_colour(struct out *o, uint32_t colour, unsigned chooser)
{
    if (!colour)
        return;
    put_text(o, ";");
    if (!(colour & (OF_TABLE | OF_ALL))) {
        put_number(o, colour);
        return;
    }
    put_number(o, chooser);
    put_text(o, colour & OF_TABLE ? ";5;" : ";2;");
    for (int shift = colour & OF_TABLE ? 0 : 16; shift >= 0; shift -= 8) {
        put_number(o, colour >> shift & 0xff);
        put_text(o, shift ? ";" : "");
    }
}

static void put_look(struct out *o, const struct terminal_look *l)
{
    put_text(o, "\x1b[0");
    for (unsigned n = 1; n <= 9; n++)
        if (l->attributes & BIT(n)) {
            put_text(o, ";");
            put_number(o, n);
        }
    put_colour(o, l->ink, 38);
    put_colour(o, l->paper, 48);
    put_text(o, "m");
    put_text(o, l->sets & BIT(0) ? "\x1b(0" : "\x1b(B");
    put_text(o, l->sets & BIT(1) ? "\x1b)0" : "\x1b)B");
    put(o, l->shifted ? "\x0e" : "\x0f", 1);
}

static void put_normal_look(struct out *o)
{
    static const struct terminal_look normal;

    if (o->t->doubt)
        put_text(o, modes[ORIGIN].normal);
    if (o->t->doubt || !is_normal(&o->t->look))
        put_look(o, &normal);
    o->t->doubt = false;
}

/* What the guest has set, where terminal_between() has taken it away. */
static void resume(struct out *o)
{
    if (!o->t->pending)
        return;
    o->t->pending = false;
    if (!is_normal(&o->t->look))
        put_look(o, &o->t->look);
    put_modes(o, true, false);
}

/* One parameter of SGR: whether it passes. */
static bool look_takes(struct terminal_look *l, unsigned n)
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

/* A colour that takes several parameters, from number i on: how many; 0: it is none. */
static unsigned look_takes_colour(struct terminal *t, unsigned i)
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

/* --- text that looks like Corbel's --- */

/* A character comes that is not ASCII's, or a control function. */
static void disturb(struct out *o)
{
    if (o->t->matched == MATCHED)
        put_text(o, TERMINAL_MARK);
    o->t->matched = 0;
}

static void match(struct out *o, uint8_t byte)
{
    struct terminal *t = o->t;
    uint8_t small = byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;

    if (t->matched == MATCHED && byte == ' ')
        disturb(o);
    else if (t->matched == NAMED && (byte == ':' || byte == '>'))
        t->matched++;
    else if (t->matched < NAMED && small == (uint8_t)pattern[t->matched])
        t->matched++;
    else
        t->matched = small == (uint8_t)pattern[0];
}

/* --- characters --- */

static void put_character(struct out *o, const void *bytes, size_t length)
{
    resume(o);
    put(o, bytes, length);
    o->t->in_line = o->t->away = true;
}

static void ascii(struct out *o, uint8_t byte)
{
    match(o, byte);
    put_character(o, &byte, 1);
}

/* What UTF-8 does not know. */
static void no_character(struct out *o)
{
    disturb(o);
    put_character(o, "?", 1);
}

static void control_code(struct out *o, uint8_t byte)
{
    struct terminal *t = o->t;

    switch (byte) {
    case BEL:
        put(o, "\a", 1);
        break;
    case '\n':
        disturb(o);
        resume(o);
        put(o, "\n", 1);
        t->in_line = false;
        break;
    case '\r':
        if (t->matched == MATCHED)
            disturb(o);
        put(o, "\r", 1);
        t->away = false;
        break;
    case '\b':
    case '\t':
        if (t->matched == MATCHED)
            disturb(o);
        put_character(o, &byte, 1);
        break;
    case SO:
    case SI:
        t->look.shifted = byte == SO;
        resume(o);
        put(o, (const char *)&byte, 1);
        break;
    default: /* nothing that a terminal shows */
        break;
    }
}

/* How many bytes a character of UTF-8 has that begins with this one; 0: none does. */
static unsigned utf8_length(uint8_t lead)
{
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* The second byte's limits keep out what is longer than need be, surrogates, and what is beyond
 * Unicode's end. */
static bool utf8_goes_on(const struct terminal *t, uint8_t byte)
{
    uint8_t lead = t->letter[0];
    bool second = t->letters == 1;

    return byte >= (second && lead == 0xe0   ? 0xa0
                    : second && lead == 0xf0 ? 0x90
                                             : 0x80) &&
           byte <= (second && lead == 0xed   ? 0x9f
                    : second && lead == 0xf4 ? 0x8f
                                             : 0xbf);
}

static uint32_t utf8_character(const struct terminal *t)
{
    uint32_t c = t->letter[0] & (0x7fu >> t->wanted);

    for (unsigned i = 1; i < t->wanted; i++)
        c = c << 6 | (t->letter[i] & 0x3f);
    return c;
}

/* Those that turn text's direction: what stands there would not be what was written. */
static bool turns(uint32_t c)
{
    return c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

/* Nothing is seen of them: "corbel:" with one inside is "corbel:". */
static bool is_invisible(uint32_t c)
{
    return c == 0xad || (c >= 0x200b && c <= 0x200d) || (c >= 0x2060 && c <= 0x2064) || c == 0xfeff;
}

/* --- control sequences --- */

static void begin_sequence(struct terminal *t, uint8_t state)
{
    t->state = state;
    t->private = t->intermediate = t->params = 0;
    t->bad = false;
    t->length = 0;
}

static void put_sequence(struct out *o, char final)
{
    const struct terminal *t = o->t;

    resume(o);
    put_text(o, "\x1b[");
    if (t->private)
        put(o, (const char *)&t->private, 1);
    for (unsigned i = 0; i < t->params; i++) {
        put_text(o, i ? ";" : "");
        put_number(o, t->param[i]);
    }
    put(o, &final, 1);
}

static void put_move(struct out *o, char final)
{
    disturb(o);
    put_sequence(o, final);
    o->t->in_line = o->t->away = o->t->moved = true;
}

static void put_edit(struct out *o, char final)
{
    disturb(o);
    put_sequence(o, final);
    o->t->in_line = o->t->away = true;
}

static void select_look(struct out *o)
{
    struct terminal *t = o->t;
    unsigned kept = 0, none = t->params == 0;

    if (none)
        (void)look_takes(&t->look, 0);
    for (unsigned i = 0, n; i < t->params; i += n) {
        n = look_takes_colour(t, i);
        if (!n && (t->param[i] == 38 || t->param[i] == 48 || t->param[i] == 58))
            break; /* what follows belongs to it */
        if (!n && !look_takes(&t->look, t->param[i])) {
            n = 1;
            continue;
        }
        n = n ? n : 1;
        memmove(t->param + kept, t->param + i, n * sizeof(t->param[0]));
        kept += n;
    }
    t->params = (uint8_t)kept;
    if (kept || none)
        put_sequence(o, 'm');
}

static void select_modes(struct out *o, char final)
{
    struct terminal *t = o->t;
    unsigned kept = 0;

    for (unsigned i = 0; i < t->params; i++) {
        int mode = mode_of(t, t->param[i]);
        if (mode < 0)
            continue;
        note(t, (unsigned)mode, (final == 'h') != modes[mode].at_first);
        if (BIT(mode) & FULL)
            t->moved = true;
        t->doubt |= mode == SCREEN_1049 && final == 'l';
        t->param[kept++] = t->param[i];
    }
    t->params = (uint8_t)kept;
    if (kept) {
        disturb(o);
        put_sequence(o, final);
    }
}

static void select_region(struct out *o)
{
    const uint16_t *rows = o->t->param;
    bool some = rows[0] > 1 || (rows[1] && rows[1] < 24);

    note(o->t, REGION, some);
    note(o->t, ROWS, !some && rows[1]);
    put_move(o, 'r');
}

static void save(struct out *o, bool back, const char *sequence)
{
    disturb(o);
    resume(o);
    put_text(o, sequence);
    if (!back) {
        o->t->saved = o->t->look;
        return;
    }
    o->t->look = o->t->saved;
    o->t->doubt = true;
    o->t->in_line = o->t->away = o->t->moved = true;
}

static void move_line(struct out *o, const char *sequence)
{
    disturb(o);
    resume(o);
    put_text(o, sequence);
    o->t->in_line = o->t->away = o->t->moved = true;
}

/* All that terminal_leave() takes back. */
static void put_reset(struct out *o)
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

static void private_sequence(struct out *o, char final)
{
    if (o->t->private == '?' && (final == 'h' || final == 'l'))
        select_modes(o, final);
}

static void control_sequence(struct out *o, char final, bool live)
{
    struct terminal *t = o->t;

    if (t->bad)
        return;
    if (t->intermediate == '!' && final == 'p' && !t->private)
        put_reset(o);
    if (t->private && !t->intermediate)
        private_sequence(o, final);
    if (t->private || t->intermediate)
        return;
    switch (final) {
    case 'C': /* within the line */
    case 'D':
    case 'G':
    case '`':
    case 'a':
    case 'I':
    case 'Z':
    case '@':
    case 'P':
    case 'X':
    case 'b':
        put_edit(o, final);
        break;
    case 'A': /* to others */
    case 'B':
    case 'E':
    case 'F':
    case 'H':
    case 'f':
    case 'd':
    case 'e':
    case 'L':
    case 'M':
    case 'S':
        put_move(o, final);
        break;
    case 'T': /* with more it follows the mouse */
        if (t->params <= 1)
            put_move(o, final);
        break;
    case 'J': /* 3 would take what has scrolled away, which is not the guest's alone */
    case 'K':
        if (t->params <= 1 && t->param[0] <= 2)
            put_edit(o, final);
        break;
    case 'm':
        select_look(o);
        break;
    case 'h':
    case 'l':
        select_modes(o, final);
        break;
    case 'r':
        if (t->params <= 2)
            select_region(o);
        break;
    case 's': /* with parameters: margins */
    case 'u':
        if (!t->params)
            save(o, final == 'u', final == 'u' ? "\x1b[u" : "\x1b[s");
        break;
    case 'n': /* where the cursor is; its answer goes to whoever is in front */
        if (t->params == 1 && t->param[0] == 6 && live && !t->asked) {
            t->asked = true;
            put_sequence(o, final);
        }
        break;
    default:
        break;
    }
}

static void escape_sequence(struct out *o, char final)
{
    struct terminal *t = o->t;

    if (t->intermediate) {
        uint8_t set = t->intermediate == '(' ? BIT(0) : t->intermediate == ')' ? BIT(1) : 0;
        char sequence[] = {ESC, (char)t->intermediate, final};

        if (t->bad || !set || (final != 'B' && final != '0'))
            return;
        t->look.sets = (uint8_t)(final == '0' ? t->look.sets | set : t->look.sets & ~set);
        resume(o);
        put(o, sequence, sizeof(sequence));
        return;
    }
    switch (final) {
    case '7':
        save(o, false, "\x1b\x37");
        break;
    case '8':
        save(o, true, "\x1b\x38");
        break;
    case 'D':
        move_line(o, "\x1b\x44");
        break;
    case 'M':
        move_line(o, "\x1b\x4d");
        break;
    case 'E':
        control_code(o, '\r');
        control_code(o, '\n');
        break;
    case '=':
    case '>':
        note(t, KEYPAD, final == '=');
        put_text(o, final == '=' ? "\x1b=" : "\x1b>");
        break;
    case 'c': /* a reset, which would take the person's own settings with it */
        disturb(o);
        put_reset(o);
        put_text(o, "\x1b[H\x1b[2J");
        t->in_line = t->away = t->moved = true;
        break;
    default:
        break;
    }
}

/* --- byte by byte --- */

static void text_byte(struct out *o, uint8_t byte)
{
    struct terminal *t = o->t;

    t->state = TEXT;
    if (byte == ESC) {
        begin_sequence(t, AFTER_ESC);
    } else if (byte < ' ') {
        control_code(o, byte);
    } else if (byte < DEL) {
        ascii(o, byte);
    } else if (byte > DEL) {
        t->wanted = (uint8_t)utf8_length(byte);
        t->letter[0] = byte;
        t->letters = 1;
        if (t->wanted)
            t->state = UTF8;
        else
            no_character(o);
    }
}

static void after_esc(struct out *o, uint8_t byte)
{
    struct terminal *t = o->t;

    if (byte < ' ' || byte >= DEL || ++t->length > TERMINAL_LONG) {
        text_byte(o, byte);
    } else if (byte < '0') {
        t->bad |= t->intermediate != 0;
        t->intermediate = byte;
    } else if (!t->intermediate && byte == '[') {
        begin_sequence(t, CONTROL);
    } else if (!t->intermediate && strchr("]PX^_k", byte)) {
        begin_sequence(t, STRING);
    } else {
        t->state = TEXT;
        escape_sequence(o, (char)byte);
    }
}

static void parameter(struct terminal *t, uint8_t byte)
{
    bool first = t->length == 1;

    if (byte >= '<' && first) {
        t->private = byte;
    } else if (byte > ';' || byte == ':' || t->intermediate) {
        t->bad = true;
    } else {
        if (!t->params)
            t->param[t->params++] = 0;
        if (byte != ';') {
            uint16_t *p = &t->param[t->params - 1];
            *p = (uint16_t)MIN(*p * 10 + (byte - '0'), 9999);
        } else if (t->params < TERMINAL_PARAMS) {
            t->param[t->params++] = 0;
        } else {
            t->bad = true;
        }
    }
}

static void in_sequence(struct out *o, uint8_t byte, bool live)
{
    struct terminal *t = o->t;

    if (byte < ' ' || byte >= DEL || ++t->length > TERMINAL_LONG) {
        text_byte(o, byte); /* cut off */
    } else if (byte < '0') {
        t->bad |= t->intermediate != 0;
        t->intermediate = byte;
    } else if (byte < '@') {
        parameter(t, byte);
    } else {
        t->state = TEXT;
        if (!t->params)
            t->param[0] = 0;
        if (t->params < 2)
            t->param[1] = 0;
        control_sequence(o, (char)byte, live);
    }
}

/* Nothing of it goes out. What ends it belongs to it, but not the end of a line. */
static void in_string(struct out *o, uint8_t byte)
{
    struct terminal *t = o->t;

    if (t->state == STRING_ESC && byte != '\\' && byte != ESC) {
        begin_sequence(t, AFTER_ESC); /* cut off: another one begins */
        after_esc(o, byte);
    } else if (byte == ESC) {
        t->state = STRING_ESC;
    } else if (byte == '\n') {
        text_byte(o, byte);
    } else if (byte == BEL || byte == CAN || byte == SUB || t->state == STRING_ESC ||
               ++t->length == TERMINAL_STRING) {
        t->state = TEXT;
    }
}

static void in_character(struct out *o, uint8_t byte)
{
    struct terminal *t = o->t;
    uint32_t c;

    if (!utf8_goes_on(t, byte)) {
        no_character(o);
        text_byte(o, byte);
        return;
    }
    t->letter[t->letters++] = byte;
    if (t->letters < t->wanted)
        return;
    t->state = TEXT;
    c = utf8_character(t);
    if (c < 0xa0) { /* C1: ESC and a letter in one */
        begin_sequence(t, AFTER_ESC);
        after_esc(o, (uint8_t)(c - 0x40));
    } else if (!turns(c)) {
        if (!is_invisible(c))
            disturb(o);
        put_character(o, t->letter, t->wanted);
    }
}

size_t terminal_byte(struct terminal *t, uint8_t byte, bool live, char out[TERMINAL_OUT])
{
    struct out o = {t, out, 0};

    switch (t->state) {
    case UTF8:
        in_character(&o, byte);
        break;
    case AFTER_ESC:
        after_esc(&o, byte);
        break;
    case CONTROL:
        in_sequence(&o, byte, live);
        break;
    case STRING:
    case STRING_ESC:
        in_string(&o, byte);
        break;
    default:
        text_byte(&o, byte);
        break;
    }
    return o.used;
}

/* --- others come to the terminal --- */

bool terminal_is_full(const struct terminal *t)
{
    return t->modes & FULL;
}

static void put_fresh_line(struct out *o)
{
    struct terminal *t = o->t;

    if (t->moved)
        put_text(o, "\x1b[999;1H"); /* to the last line, below which nothing stands */
    if (t->in_line || t->away || t->moved || o->used)
        put_text(o, "\r\n");
    t->in_line = t->away = t->moved = false;
    t->matched = 0;
}

size_t terminal_between(struct terminal *t, char out[TERMINAL_OUT])
{
    struct out o = {t, out, 0};

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
    struct out o = {t, out, 0};

    put_reset(&o);
    put_fresh_line(&o);
    *t = (struct terminal){0};
    return o.used;
}

size_t terminal_return(struct terminal *t, char out[TERMINAL_OUT])
{
    struct out o = {t, out, 0};

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
