/* Pieces of text for the config's parser: spans, UTF-8, numbers and sizes, and quoting for
 * messages. */
#include "guest/config/config_text.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

struct config_span config_span_of(const char *data, size_t length)
{
    return (struct config_span){data, length};
}

bool config_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct config_span config_trim(struct config_span s)
{
    while (s.length && config_is_blank(s.data[0])) {
        s.data++;
        s.length--;
    }
    while (s.length && config_is_blank(s.data[s.length - 1])) {
        s.length--;
    }
    return s;
}

bool config_span_equal(struct config_span a, struct config_span b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

bool config_span_is(struct config_span s, const char *text)
{
    return config_span_equal(s, config_span_of(text, strlen(text)));
}

/* Cut s before the first c and return what follows c; data is NULL when there is no c, and s stays
 * whole. */
struct config_span config_cut(struct config_span *s, char c)
{
    const char *at = s->length ? memchr(s->data, c, s->length) : NULL;
    struct config_span rest = {NULL, 0};

    if (at) {
        rest = config_span_of(at + 1, s->length - (size_t)(at + 1 - s->data));
        s->length = (size_t)(at - s->data);
    }
    return rest;
}

struct config_span config_without_comment(struct config_span s)
{
    for (size_t i = 0; i < s.length; i++) {
        if (s.data[i] == '#' && (i == 0 || config_is_blank(s.data[i - 1]))) {
            s.length = i;
        }
    }
    return s;
}

/* The length of the UTF-8 sequence at s (Unicode, "Well-Formed UTF-8 Byte Sequences"), or 0 when it
 * is not one. */
static size_t utf8_length(const uint8_t *s, size_t left)
{
    static const struct {
        uint8_t first, last, low, high, length;
    } form[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t f = 0; f < ARRAY_SIZE(form); f++) {
        if (s[0] < form[f].first || s[0] > form[f].last || left < form[f].length) {
            continue;
        }
        if (form[f].length > 1 && (s[1] < form[f].low || s[1] > form[f].high)) {
            return 0;
        }
        for (size_t i = 2; i < form[f].length; i++) {
            if ((s[i] & 0xc0) != 0x80) {
                return 0;
            }
        }
        return form[f].length;
    }
    return 0;
}

/* NULL, or what is wrong with the bytes of s. */
const char *config_text_fault(struct config_span s)
{
    for (size_t i = 0; i < s.length;) {
        uint8_t c = (uint8_t)s.data[i];
        size_t n = utf8_length((const uint8_t *)s.data + i, s.length - i);

        if (n == 0) {
            return "bytes that are not UTF-8";
        }
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return c == 0 ? "a NUL byte" : "a control character";
        }
        i += n;
    }
    return NULL;
}

/* --- numbers, sizes, choices --- */

/* Digits only, at least one; too large a number becomes UINT64_MAX. */
bool config_parse_number(struct config_span s, uint64_t *value)
{
    uint64_t v = 0;

    for (size_t i = 0; i < s.length; i++) {
        unsigned digit = (unsigned char)s.data[i] - (unsigned)'0';

        if (digit > 9) {
            return false;
        }
        v = v > (UINT64_MAX - digit) / 10 ? UINT64_MAX : v * 10 + digit;
    }
    *value = v;
    return s.length > 0;
}

/* A number with K, M or G; too large a size becomes UINT64_MAX. */
bool config_parse_size(struct config_span s, uint64_t *value)
{
    static const char units[] = "KMG";
    uint64_t unit = KIB;

    if (s.length == 0) {
        return false;
    }
    for (size_t i = 0; i < 3; i++, unit *= KIB) {
        char c = s.data[s.length - 1];

        if (c == units[i] || c == units[i] + ('a' - 'A')) {
            s.length--;
            if (!config_parse_number(s, value)) {
                return false;
            }
            *value = *value > UINT64_MAX / unit ? UINT64_MAX : *value * unit;
            return true;
        }
    }
    return false;
}

bool config_parse_processors(struct config_span s, uint64_t max, struct config_cpus *set)
{
    memset(set, 0, sizeof(*set));
    do {
        struct config_span rest = config_cut(&s, ','), first = config_trim(s);
        struct config_span last = config_cut(&first, '-');
        uint64_t from, to;

        if (!config_parse_number(config_trim(first), &from)) {
            return false;
        }
        to = from;
        if (last.data && !config_parse_number(config_trim(last), &to)) {
            return false;
        }
        if (from > to || to > max) {
            return false;
        }
        for (; from <= to; from++) {
            set->bits[from / 64] |= BIT(from % 64);
        }
        s = rest;
    } while (s.data);
    return true;
}

bool config_parse_boot(struct config_span s, struct config_boot *order)
{
    static const char *const names[] = {
        [CONFIG_BOOT_DISK] = "disk", [CONFIG_BOOT_CD] = "cd", [CONFIG_BOOT_NET] = "net", NULL};
    uint32_t kind, seen = 0;

    order->count = 0;
    do {
        struct config_span rest = config_cut(&s, ',');

        if (!config_find_choice(names, config_trim(s), &kind) || (seen & BIT(kind)))
            return false;
        seen |= BIT(kind);
        order->kind[order->count++] = (uint8_t)kind;
        s = rest;
    } while (s.data);
    for (kind = 0; kind < CONFIG_BOOT_KINDS; kind++)
        if (!(seen & BIT(kind)))
            order->kind[order->count++] = (uint8_t)kind;
    return true;
}

/* A size as one would write it in the config. */
const char *config_size_text(struct config_quote *q, uint64_t size)
{
    bool gib = size % GIB == 0, mib = size % MIB == 0;

    format(q->text, sizeof(q->text), "%llu%c",
           (unsigned long long)(size / (gib   ? GIB
                                        : mib ? MIB
                                              : KIB)),
           gib   ? 'G'
           : mib ? 'M'
                 : 'K');
    return q->text;
}

/* "error, warn, info or debug" */
const char *config_list_choices(const char *const *choices, char *buf, size_t size)
{
    size_t used = 0;

    buf[0] = '\0';
    for (size_t i = 0; choices[i] && used < size; i++) {
        const char *before = i == 0 ? "" : choices[i + 1] ? ", " : " or ";

        used += (size_t)format(buf + used, size - used, "%s%s", before, choices[i]);
    }
    return buf;
}

bool config_find_choice(const char *const *choices, struct config_span s, uint32_t *index)
{
    for (uint32_t i = 0; choices[i]; i++) {
        if (config_span_is(s, choices[i])) {
            *index = i;
            return true;
        }
    }
    return false;
}

/* --- for messages --- */

/* What the file says, fit to be printed: cut to CONFIG_QUOTE bytes, '?' for what is not printable
 * ASCII. */
const char *config_quote(struct config_quote *q, struct config_span s)
{
    size_t n = MIN(s.length, (size_t)CONFIG_QUOTE);

    for (size_t i = 0; i < n; i++) {
        q->text[i] = s.data[i] >= ' ' && s.data[i] <= '~' ? s.data[i] : '?';
    }
    memcpy(q->text + n, s.length > n ? "..." : "", s.length > n ? 4 : 1);
    return q->text;
}

/* Letters to insert, delete or replace to make b of a; more than 15 of a count as too many. */
unsigned config_edit_distance(struct config_span a, const char *b)
{
    unsigned row[16], length = (unsigned)strlen(b);

    if (a.length > 15 || length > 15) {
        return UINT32_MAX;
    }
    for (unsigned j = 0; j <= length; j++) {
        row[j] = j;
    }
    for (unsigned i = 1; i <= a.length; i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (unsigned j = 1; j <= length; j++) {
            unsigned replaced = diagonal + (a.data[i - 1] != b[j - 1]);

            diagonal = row[j];
            row[j] = MIN(MIN(row[j], row[j - 1]) + 1, replaced);
        }
    }
    return row[length];
}
