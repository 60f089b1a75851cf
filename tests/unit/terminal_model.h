/*
 * A terminal that reads what has been made harmless: sequences it knows, anything else counts as
 * harmful; and which of its settings differ from what they were at first. Strict, and apart from
 * guest/console/terminal.c: it has a list of its own of what may come.
 */
#pragma once

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define INK   (1u << 10)
#define PAPER (1u << 11)

struct model {
    unsigned harmful;
    char sequence[160];
    size_t length;
    unsigned wanted; /* bytes of UTF-8 yet to come */
    unsigned looks;  /* SGR 1 to 9, and the above */
    bool graphics[2], shifted, insert, keys, origin, cut, hidden, other_screen, paste, keypad,
        region;
    bool was_1049; /* named by the sequence that is being read */
    bool fresh;    /* the last byte was a line feed behind a return, or nothing ever came */
    char last;
};

static void model_mode(struct model *m, long number, bool private, bool set)
{
    bool *mode = private       ? number == 1      ? &m->keys
                                 : number == 6    ? &m->origin
                                 : number == 7    ? &m->cut
                                 : number == 25   ? &m->hidden
                                 : number == 47   ? &m->other_screen
                                 : number == 1047 ? &m->other_screen
                                 : number == 1049 ? &m->other_screen
                                 : number == 2004 ? &m->paste
                                                  : NULL
                 : number == 4 ? &m->insert
                               : NULL;

    m->was_1049 |= number == 1049;
    if (mode)
        *mode = number == 7 || number == 25 ? !set : set;
    else
        m->harmful++;
}

/* skip: how many of the parameters that follow belong to a colour; -1: the next one says. */
static void model_look(struct model *m, long number, int *skip)
{
    if (*skip) {
        *skip = *skip > 0 ? *skip - 1 : number == 5 ? 1 : 3;
        return;
    }
    if (number == 38 || number == 48)
        *skip = -1;
    if (number == 0)
        m->looks = 0;
    else if (number < 10)
        m->looks |= 1u << number;
    else if (number < 30) /* 21 is the other underline */
        m->looks = number == 21 ? m->looks | 1u << 4 : m->looks & ~(1u << (number - 20));
    else
        m->looks = number == 39                                    ? m->looks & ~INK
                   : number == 49                                  ? m->looks & ~PAPER
                   : number < 40 || (number >= 90 && number < 100) ? m->looks | INK
                                                                   : m->looks | PAPER;
    if (number == 22)
        m->looks &= ~(1u << 1);
    if (number == 25)
        m->looks &= ~(1u << 6);
}

/* What was saved, whatever that was. */
static void model_comes_back(struct model *m)
{
    m->looks = INK;
    m->graphics[0] = m->graphics[1] = m->shifted = m->origin = true;
}

static void model_control(struct model *m)
{
    char final = m->sequence[m->length - 1];
    const char *p = m->sequence + 2;
    bool private = *p == '?';
    bool below = false;
    int skip = 0;

    if (strspn(p + private, "0123456789;") != m->length - 3 - private) {
        m->harmful++;
        return;
    }
    for (p += private; *p && (*p == ';' || (*p >= '0' && *p <= '9')); p++) {
        char *end;
        long number = strtol(p, &end, 10);

        if (final == 'h' || final == 'l')
            model_mode(m, number, private, final == 'h');
        else if (final == 'm')
            model_look(m, number, &skip);
        else if (final == 'J' && number > 2)
            m->harmful++;
        else if (final == 'n' && (number != 6 || private))
            m->harmful++;
        below |= number > 1;
        p = *end ? end : end - 1;
        if (*p != ';')
            break;
    }
    if (final == 'u' || (final == 'l' && m->was_1049))
        model_comes_back(m);
    m->was_1049 = false;
    if (final == 'r')
        m->region = below;
    if (final == 'm' && m->length == 3)
        m->looks = 0;
    if (private ? final != 'h' && final != 'l' : !strchr("ABCDEFGHIJKLMPSTXZ@abdefhlmnrsu`", final))
        m->harmful++;
}

static void model_escape(struct model *m)
{
    const char *s = m->sequence + 1;

    if (strcmp(s, "=") == 0 || strcmp(s, ">") == 0)
        m->keypad = *s == '=';
    else if (*s == '(' || *s == ')')
        m->graphics[*s == ')'] = s[1] == '0';
    else if (*s == '8')
        model_comes_back(m);
    else if (strlen(s) != 1 || !strchr("7DM", *s))
        m->harmful++;
}

static void model_reads(struct model *m, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];

        if (m->length) {
            if (c < ' ' || c > '~' || m->length + 2 > sizeof(m->sequence)) {
                m->harmful++; /* half a sequence */
                m->length = 0;
                continue;
            }
            m->sequence[m->length++] = (char)c;
            m->sequence[m->length] = '\0';
            bool control = m->sequence[1] == '[';
            if (m->length == 2 ? c != '[' && c >= '0' : control ? c >= '@' : c >= '0') {
                if (control)
                    model_control(m);
                else
                    model_escape(m);
                m->length = 0;
            }
        } else if (c == 0x1b) {
            m->sequence[m->length++] = (char)c;
        } else if (m->wanted) {
            m->harmful += c < 0x80 || c > 0xbf;
            m->wanted--;
        } else if (c >= 0x80) {
            m->wanted = c < 0xc2 || c > 0xf4 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
            m->harmful += !m->wanted;
        } else if (c < ' ' || c == 0x7f) {
            if (c == 0x0e || c == 0x0f)
                m->shifted = c == 0x0e;
            m->harmful += !strchr("\a\b\t\n\r\x0e\x0f", c) || !c;
        }
        m->fresh = c == '\n' && m->last == '\r';
        m->last = (char)c;
    }
}

/* For a line of Corbel's, or, when the guest has left, for everybody. */
static void model_is_fit(const struct model *m, bool left)
{
    assert_int_equal(m->length, 0);
    assert_int_equal(m->wanted, 0);
    assert_false(m->looks || m->graphics[0] || m->graphics[1] || m->shifted || m->insert ||
                 m->cut || m->origin);
    if (left)
        assert_false(m->keys || m->hidden || m->other_screen || m->paste || m->keypad || m->region);
}
