#include "guest/monitor/editor.h"

#include "arch/x86/lib/string.h"

#define CTRL(c)   ((c) - '@')
#define ESC       0x1b
#define BACKSPACE 0x08
#define DELETE    0x7f

#define ERASE_TO_END "\x1b[K"

enum escape_state { NO_ESCAPE, AFTER_ESC, AFTER_CSI, AFTER_SS3 };
#define ESCAPE_MAX 16 /* bytes; a longer sequence is none */

/* --- output --- */

static void send(struct editor *e, const char *text, size_t length)
{
    if (length)
        e->send(e->ctx, text, length);
}

static void send_text(struct editor *e, const char *text)
{
    send(e, text, strlen(text));
}

static void repeat(struct editor *e, char c, unsigned count)
{
    while (count--)
        send(e, &c, 1);
}

/* Once, however long it goes on: somebody may have pasted a file. */
static void bell(struct editor *e)
{
    if (!e->belled)
        send_text(e, "\a");
    e->belled = true;
}

/* Characters of the line that fit behind the prompt, with one column left for the cursor. */
static unsigned room(const struct editor *e)
{
    size_t prompt = strlen(e->prompt);

    return prompt < EDITOR_COLUMNS / 2 ? (unsigned)(EDITOR_COLUMNS - 1 - prompt)
                                       : EDITOR_COLUMNS / 2;
}

void editor_redraw(struct editor *e)
{
    unsigned shown;

    /* By half a screen: most keys need no drawing anew then. */
    if (e->cursor < e->left || e->cursor - e->left > room(e))
        e->left = e->cursor > room(e) ? e->cursor - room(e) / 2 : 0;
    shown = MIN(e->length - e->left, room(e));
    send_text(e, "\r");
    send_text(e, e->prompt);
    send(e, e->line + e->left, shown);
    send_text(e, ERASE_TO_END);
    repeat(e, '\b', shown - (e->cursor - e->left));
}

void editor_erase(struct editor *e)
{
    send_text(e, "\r" ERASE_TO_END);
}

static void set_line(struct editor *e, const char *text)
{
    e->length = (unsigned)strnlen(text, EDITOR_LINE);
    memmove(e->line, text, e->length);
    e->line[e->length] = '\0';
    e->cursor = e->length;
    e->left = 0;
}

void editor_begin(struct editor *e)
{
    set_line(e, "");
    e->back = 0;
    editor_redraw(e);
}

void editor_init(struct editor *e, const char *prompt,
                 void (*send_fn)(void *ctx, const char *text, size_t length),
                 const char *(*choice)(void *ctx, const char *before, size_t length, unsigned n),
                 void *ctx)
{
    memset(e, 0, sizeof(*e));
    e->prompt = prompt;
    e->send = send_fn;
    e->choice = choice;
    e->ctx = ctx;
}

/* --- the line --- */

static void insert(struct editor *e, const char *text, unsigned count)
{
    bool at_end = e->cursor == e->length;

    if (count > EDITOR_LINE - e->length) {
        bell(e);
        return;
    }
    memmove(e->line + e->cursor + count, e->line + e->cursor, e->length - e->cursor + 1);
    memcpy(e->line + e->cursor, text, count);
    e->length += count;
    e->cursor += count;
    if (at_end && e->cursor - e->left <= room(e))
        send(e, text, count);
    else
        editor_redraw(e);
}

static void remove_range(struct editor *e, unsigned from, unsigned to)
{
    if (from == to) {
        bell(e);
        return;
    }
    memmove(e->line + from, e->line + to, e->length - to + 1);
    e->length -= to - from;
    e->cursor = from;
    editor_redraw(e);
}

static void move(struct editor *e, unsigned to)
{
    if (to == e->cursor) {
        bell(e);
        return;
    }
    e->cursor = to;
    editor_redraw(e);
}

static unsigned word_left(const struct editor *e)
{
    unsigned i = e->cursor;

    while (i && e->line[i - 1] == ' ')
        i--;
    while (i && e->line[i - 1] != ' ')
        i--;
    return i;
}

static unsigned word_right(const struct editor *e)
{
    unsigned i = e->cursor;

    while (i < e->length && e->line[i] == ' ')
        i++;
    while (i < e->length && e->line[i] != ' ')
        i++;
    return i;
}

/* --- history --- */

static char *history_line(struct editor *e, unsigned back)
{
    return e->history[(e->history_count - back) % EDITOR_HISTORY];
}

static void keep(struct editor *e)
{
    if (!e->length || (e->history_count && strcmp(history_line(e, 1), e->line) == 0))
        return;
    memcpy(e->history[e->history_count++ % EDITOR_HISTORY], e->line, e->length + 1);
}

static void show_history(struct editor *e, unsigned back)
{
    if (back > MIN(e->history_count, EDITOR_HISTORY)) {
        bell(e);
        return;
    }
    if (e->back == 0)
        memcpy(e->draft, e->line, e->length + 1);
    e->back = back;
    set_line(e, back ? history_line(e, back) : e->draft);
    editor_redraw(e);
}

static void newer(struct editor *e)
{
    if (e->back)
        show_history(e, e->back - 1);
    else
        bell(e);
}

/* --- completion --- */

static bool matches(const struct editor *e, unsigned start, const char *choice)
{
    return strncmp(choice, e->line + start, e->cursor - start) == 0;
}

/* How many choices begin like the word before the cursor; what all of them begin with. */
static unsigned find_common(struct editor *e, unsigned start, const char **first, size_t *common)
{
    const char *choice;
    unsigned count = 0;

    for (unsigned n = 0; (choice = e->choice(e->ctx, e->line, start, n)); n++) {
        if (!matches(e, start, choice))
            continue;
        if (count++ == 0) {
            *first = choice;
            *common = strlen(choice);
        }
        for (size_t i = 0; i < *common; i++)
            if (choice[i] != (*first)[i])
                *common = i;
    }
    return count;
}

static void show_choices(struct editor *e, unsigned start, unsigned count)
{
    const char *choice;
    unsigned column = 0, shown = 0;

    for (unsigned n = 0; shown < EDITOR_CHOICES && (choice = e->choice(e->ctx, e->line, start, n));
         n++) {
        unsigned length = (unsigned)strnlen(choice, EDITOR_COLUMNS / 2);
        if (!matches(e, start, choice))
            continue;
        if (!shown || column + 2 + length >= EDITOR_COLUMNS) {
            send_text(e, "\r\n");
            column = 0;
        } else {
            send_text(e, "  ");
            column += 2;
        }
        send(e, choice, length);
        column += length;
        shown++;
    }
    if (shown < count)
        send_text(e, "\r\n...");
    send_text(e, "\r\n");
    editor_redraw(e);
}

static void complete(struct editor *e)
{
    unsigned start = e->cursor, count;
    const char *first = "";
    size_t common = 0, typed;

    while (start && e->line[start - 1] != ' ')
        start--;
    typed = e->cursor - start;
    count = e->choice ? find_common(e, start, &first, &common) : 0;
    if (count == 0) {
        bell(e);
        return;
    }
    if (common > typed && common - typed <= EDITOR_LINE)
        insert(e, first + typed, (unsigned)(common - typed));
    else if (count > 1)
        show_choices(e, start, count);
    if (count == 1 && first[common ? common - 1 : 0] != '=' && e->line[e->cursor] != ' ')
        insert(e, " ", 1);
}

/* --- keys --- */

/* The last byte of ESC [ parameter letter, or of ESC O letter. */
static void escape_key(struct editor *e, uint8_t letter)
{
    bool control = e->parameter == 15; /* "1;5": the separator is left out */

    if (letter == '~') {
        static const char key[] = {[1] = 'H', [3] = DELETE, [4] = 'F', [7] = 'H', [8] = 'F'};
        letter = e->parameter < sizeof(key) ? (uint8_t)key[e->parameter] : 0;
    }
    switch (letter) {
    case 'A':
        show_history(e, e->back + 1);
        break;
    case 'B':
        newer(e);
        break;
    case 'C':
        move(e, control ? word_right(e) : MIN(e->cursor + 1, e->length));
        break;
    case 'D':
        move(e, control ? word_left(e) : e->cursor - (e->cursor > 0));
        break;
    case 'F':
        move(e, e->length);
        break;
    case 'H':
        move(e, 0);
        break;
    case DELETE:
        remove_range(e, e->cursor, MIN(e->cursor + 1, e->length));
        break;
    default:
        bell(e);
    }
}

static void escape(struct editor *e, uint8_t byte)
{
    if (e->escape == AFTER_ESC) {
        e->escape = byte == '[' ? AFTER_CSI : byte == 'O' ? AFTER_SS3 : NO_ESCAPE;
        e->escape_bytes = 0;
        e->parameter = 0;
        if (byte == 'b')
            move(e, word_left(e));
        if (byte == 'f')
            move(e, word_right(e));
        return;
    }
    if (byte >= '@' && byte <= '~') {
        e->escape = NO_ESCAPE;
        escape_key(e, byte);
    } else if (byte < ' ' || byte > '~' || ++e->escape_bytes > ESCAPE_MAX) {
        e->escape = NO_ESCAPE;
        bell(e);
    } else if (byte >= '0' && byte <= '9') {
        e->parameter = (uint16_t)MIN(e->parameter * 10 + (byte - '0'), 9999);
    }
}

static enum editor_event enter(struct editor *e)
{
    keep(e);
    e->cursor = e->length; /* the newline goes below the whole line */
    send_text(e, "\r\n");
    return EDITOR_ENTER;
}

static enum editor_event key(struct editor *e, uint8_t byte)
{
    switch (byte) {
    case CTRL('A'):
        move(e, 0);
        break;
    case CTRL('B'):
        move(e, e->cursor - (e->cursor > 0));
        break;
    case CTRL('C'):
        send_text(e, "^C\r\n");
        editor_begin(e);
        return EDITOR_CANCEL;
    case CTRL('D'):
        if (!e->length)
            return EDITOR_END;
        remove_range(e, e->cursor, MIN(e->cursor + 1, e->length));
        break;
    case CTRL('E'):
        move(e, e->length);
        break;
    case CTRL('F'):
        move(e, MIN(e->cursor + 1, e->length));
        break;
    case BACKSPACE:
    case DELETE:
        remove_range(e, e->cursor - (e->cursor > 0), e->cursor);
        break;
    case '\t':
        complete(e);
        break;
    case CTRL('K'):
        remove_range(e, e->cursor, e->length);
        break;
    case CTRL('L'):
        send_text(e, "\x1b[H\x1b[2J");
        editor_redraw(e);
        break;
    case CTRL('N'):
        newer(e);
        break;
    case CTRL('P'):
        show_history(e, e->back + 1);
        break;
    case CTRL('U'):
        remove_range(e, 0, e->cursor);
        break;
    case CTRL('W'):
        remove_range(e, word_left(e), e->cursor);
        break;
    case ESC:
        e->escape = AFTER_ESC;
        break;
    default:
        bell(e);
    }
    return EDITOR_NOTHING;
}

enum editor_event editor_input(struct editor *e, uint8_t byte)
{
    bool line_feed_of_return = byte == '\n' && e->after_return;

    e->after_return = byte == '\r';
    if (line_feed_of_return)
        return EDITOR_NOTHING;
    if (e->escape) {
        escape(e, byte);
        return EDITOR_NOTHING;
    }
    if (byte == '\r' || byte == '\n') {
        e->belled = false;
        return enter(e);
    }
    if (byte >= ' ' && byte <= '~') {
        char c = (char)byte;
        unsigned before = e->length;

        insert(e, &c, 1);
        if (e->length != before)
            e->belled = false;
        return EDITOR_NOTHING;
    }
    if (byte < 0x80)
        return key(e, byte);
    bell(e);
    return EDITOR_NOTHING;
}
