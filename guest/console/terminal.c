#include "guest/console/terminal_internal.h"

#include "arch/x86/lib/string.h"

#define BEL 0x07
#define CAN 0x18
#define SUB 0x1a
#define ESC 0x1b
#define DEL 0x7f

static const char pattern[] = "corbel"; /* and then a colon or what ends the prompt */
#define NAMED (sizeof(pattern) - 1)
_Static_assert(TERMINAL_MATCHED == NAMED + 1, "both");

/* --- text that looks like Corbel's --- */

static void match(struct terminal_out *o, uint8_t byte)
{
    struct terminal *t = o->t;
    uint8_t small = byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;

    if (t->matched == TERMINAL_MATCHED && byte == ' ')
        terminal_disturb(o);
    else if (t->matched == NAMED && (byte == ':' || byte == '>'))
        t->matched++;
    else if (t->matched < NAMED && small == (uint8_t)pattern[t->matched])
        t->matched++;
    else
        t->matched = small == (uint8_t)pattern[0];
}

/* --- characters --- */

static void ascii(struct terminal_out *o, uint8_t byte)
{
    match(o, byte);
    terminal_put_character(o, &byte, 1);
}

/* What UTF-8 does not know. */
static void no_character(struct terminal_out *o)
{
    terminal_disturb(o);
    terminal_put_character(o, "?", 1);
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

/* Nothing is seen of them: "corbel:" with one inside is "corbel:". Unicode's
 * Default_Ignorable_Code_Point, but for those that are as wide as a blank; and annotations. */
static bool is_invisible(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0xad, 0xad},       {0x34f, 0x34f},   {0x1160, 0x1160},   {0x17b4, 0x17b5},
        {0x180b, 0x180f},   {0x200b, 0x200d}, {0x2060, 0x206f},   {0xfe00, 0xfe0f},
        {0xfeff, 0xfeff},   {0xfff0, 0xfffb}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
        {0xe0000, 0xe0fff},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

/* --- byte by byte --- */

static void begin_sequence(struct terminal *t, uint8_t state)
{
    t->state = state;
    t->private = t->intermediate = t->params = 0;
    t->bad = false;
    t->length = 0;
}

static void text_byte(struct terminal_out *o, uint8_t byte)
{
    struct terminal *t = o->t;

    t->state = TEXT;
    if (byte == ESC) {
        begin_sequence(t, AFTER_ESC);
    } else if (byte < ' ') {
        terminal_control_code(o, byte);
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

static void after_esc(struct terminal_out *o, uint8_t byte)
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
        terminal_escape_sequence(o, (char)byte);
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

static void in_sequence(struct terminal_out *o, uint8_t byte, bool live)
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
        terminal_control_sequence(o, (char)byte, live);
    }
}

/* Nothing of it goes out. What ends it belongs to it, but not the end of a line. */
static void in_string(struct terminal_out *o, uint8_t byte)
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

static void in_character(struct terminal_out *o, uint8_t byte)
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
            terminal_disturb(o);
        terminal_put_character(o, t->letter, t->wanted);
    }
}

size_t terminal_byte(struct terminal *t, uint8_t byte, bool live, char out[TERMINAL_OUT])
{
    struct terminal_out o = {t, out, 0};

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
