/*
 * Control functions (ECMA-48): which of them pass.
 */
#include "guest/console/terminal_internal.h"

#include "arch/x86/lib/string.h"

#define BEL 0x07
#define SO  0x0e
#define SI  0x0f
#define ESC 0x1b

void terminal_disturb(struct terminal_out *o)
{
    if (o->t->matched == TERMINAL_MATCHED)
        terminal_put_text(o, TERMINAL_MARK);
    o->t->matched = 0;
}

/* A control function of which nothing is seen, and behind which the text goes on. */
static void unseen(struct terminal_out *o)
{
    if (o->t->matched == TERMINAL_MATCHED)
        terminal_disturb(o);
}

void terminal_put_character(struct terminal_out *o, const void *bytes, size_t length)
{
    terminal_resume(o);
    terminal_put(o, bytes, length);
    o->t->in_line = o->t->away = true;
}

void terminal_control_code(struct terminal_out *o, uint8_t byte)
{
    struct terminal *t = o->t;

    switch (byte) {
    case BEL:
        terminal_put(o, "\a", 1);
        break;
    case '\n':
        terminal_disturb(o);
        terminal_resume(o);
        terminal_put(o, "\n", 1);
        t->in_line = false;
        break;
    case '\r':
        unseen(o);
        terminal_put(o, "\r", 1);
        t->away = false;
        break;
    case '\b':
    case '\t':
        unseen(o);
        terminal_put_character(o, &byte, 1);
        break;
    case SO:
    case SI:
        t->look.shifted = byte == SO;
        terminal_resume(o);
        terminal_put(o, (const char *)&byte, 1);
        break;
    default: /* nothing that a terminal shows */
        break;
    }
}

static void put_sequence(struct terminal_out *o, char final)
{
    const struct terminal *t = o->t;

    terminal_resume(o);
    terminal_put_text(o, "\x1b[");
    if (t->private)
        terminal_put(o, (const char *)&t->private, 1);
    for (unsigned i = 0; i < t->params; i++) {
        terminal_put_text(o, i ? ";" : "");
        terminal_put_number(o, t->param[i]);
    }
    terminal_put(o, &final, 1);
}

static void put_move(struct terminal_out *o, char final)
{
    terminal_disturb(o);
    put_sequence(o, final);
    o->t->in_line = o->t->away = o->t->moved = true;
}

static void put_edit(struct terminal_out *o, char final)
{
    if (strchr("JKX", final))
        unseen(o);
    else
        terminal_disturb(o);
    put_sequence(o, final);
    o->t->in_line = o->t->away = true;
}

static void select_look(struct terminal_out *o)
{
    struct terminal *t = o->t;
    unsigned kept = 0, none = t->params == 0;

    if (none)
        (void)terminal_set_look(&t->look, 0);
    for (unsigned i = 0, n; i < t->params; i += n) {
        n = terminal_set_colour(t, i);
        if (!n && (t->param[i] == 38 || t->param[i] == 48 || t->param[i] == 58))
            break; /* what follows belongs to it */
        if (!n && !terminal_set_look(&t->look, t->param[i])) {
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

static void select_modes(struct terminal_out *o, char final)
{
    struct terminal *t = o->t;
    unsigned kept = 0;

    for (unsigned i = 0; i < t->params; i++) {
        if (!terminal_set_mode(t, t->param[i], final == 'h'))
            continue;
        t->param[kept++] = t->param[i];
    }
    t->params = (uint8_t)kept;
    if (kept) {
        unseen(o);
        put_sequence(o, final);
    }
}

static void select_region(struct terminal_out *o)
{
    terminal_set_rows(o->t);
    put_move(o, 'r');
}

static void save(struct terminal_out *o, bool back, const char *sequence)
{
    if (back)
        terminal_disturb(o);
    else
        unseen(o);
    terminal_resume(o);
    terminal_put_text(o, sequence);
    if (!back) {
        o->t->saved = o->t->look;
        return;
    }
    o->t->look = o->t->saved;
    o->t->doubt = true;
    o->t->in_line = o->t->away = o->t->moved = true;
}

static void move_line(struct terminal_out *o, const char *sequence)
{
    terminal_disturb(o);
    terminal_resume(o);
    terminal_put_text(o, sequence);
    o->t->in_line = o->t->away = o->t->moved = true;
}

static void private_sequence(struct terminal_out *o, char final)
{
    if (o->t->private == '?' && (final == 'h' || final == 'l'))
        select_modes(o, final);
}

void terminal_control_sequence(struct terminal_out *o, char final, bool live)
{
    struct terminal *t = o->t;

    if (t->bad)
        return;
    if (t->intermediate == '!' && final == 'p' && !t->private)
        terminal_put_reset(o);
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

void terminal_escape_sequence(struct terminal_out *o, char final)
{
    struct terminal *t = o->t;

    if (t->intermediate) {
        uint8_t set = t->intermediate == '(' ? BIT(0) : t->intermediate == ')' ? BIT(1) : 0;
        char sequence[] = {ESC, (char)t->intermediate, final};

        if (t->bad || !set || (final != 'B' && final != '0'))
            return;
        t->look.sets = (uint8_t)(final == '0' ? t->look.sets | set : t->look.sets & ~set);
        terminal_resume(o);
        terminal_put(o, sequence, sizeof(sequence));
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
        terminal_control_code(o, '\r');
        terminal_control_code(o, '\n');
        break;
    case '=':
    case '>':
        terminal_set_keypad(t, final == '=');
        terminal_put_text(o, final == '=' ? "\x1b=" : "\x1b>");
        break;
    case 'c': /* a reset, which would take the person's own settings with it */
        terminal_disturb(o);
        terminal_put_reset(o);
        terminal_put_text(o, "\x1b[H\x1b[2J");
        t->in_line = t->away = t->moved = true;
        break;
    default:
        break;
    }
}
