/* The parser of corbel.conf: reports, spans, values, keys, then sections and lines. */
#include "guest/config.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

/* --- the parser's state and its reports --- */

enum section { SECTION_NONE, SECTION_HOST, SECTION_VM, SECTION_SKIPPED };

struct parser {
    struct config *out;
    struct vm_config *vms;
    size_t max_vms;
    config_report report;
    void *ctx;
    uint32_t line;
    enum section section;
    struct vm_config *vm; /* of the open section; NULL outside SECTION_VM */
    bool orphan_told;     /* that keys stand before the first section */
    bool limit_told;      /* that there are too many VMs */
};

static void report_line(struct parser *p, uint32_t line, const char *fmt, ...) PRINTF(3, 4);

static void report_line(struct parser *p, uint32_t line, const char *fmt, ...)
{
    char sentence[CONFIG_MESSAGE];
    va_list args;

    p->out->problems++;
    if (!p->report || p->out->problems > CONFIG_MAX_REPORTS + 1) {
        return;
    }
    if (p->out->problems == CONFIG_MAX_REPORTS + 1) {
        format(sentence, sizeof(sentence),
               "there are more problems from here on; only the first %u are told",
               CONFIG_MAX_REPORTS);
    } else {
        va_start(args, fmt);
        vformat(sentence, sizeof(sentence), fmt, args);
        va_end(args);
    }
    p->report(p->ctx, line, sentence);
}

/* A problem in the current line breaks the VM of the open section. */
#define problem(p, ...)                                                                            \
    do {                                                                                           \
        if ((p)->vm) {                                                                             \
            (p)->vm->broken = true;                                                                \
        }                                                                                          \
        report_line((p), (p)->line, __VA_ARGS__);                                                  \
    } while (0)

#define QUOTE_MAX 40

struct quote {
    char text[QUOTE_MAX + 4];
};

/* What the file says, fit to be printed: cut to QUOTE_MAX bytes, '?' for what is not printable
 * ASCII. */
static const char *quote(struct quote *q, struct config_span s)
{
    size_t n = MIN(s.length, (size_t)QUOTE_MAX);

    for (size_t i = 0; i < n; i++) {
        q->text[i] = s.data[i] >= ' ' && s.data[i] <= '~' ? s.data[i] : '?';
    }
    memcpy(q->text + n, s.length > n ? "..." : "", s.length > n ? 4 : 1);
    return q->text;
}

/* The open section as its header names it. */
static const char *section_name(const struct parser *p, struct quote *q)
{
    if (!p->vm) {
        return "[host]";
    }
    format(q->text, sizeof(q->text), "[vm %.*s]", (int)p->vm->name.length, p->vm->name.data);
    return q->text;
}

/* --- spans --- */

static struct config_span span(const char *data, size_t length)
{
    return (struct config_span){data, length};
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct config_span trim(struct config_span s)
{
    while (s.length && is_blank(s.data[0])) {
        s.data++;
        s.length--;
    }
    while (s.length && is_blank(s.data[s.length - 1])) {
        s.length--;
    }
    return s;
}

bool config_span_equal(struct config_span a, struct config_span b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

static bool span_is(struct config_span s, const char *text)
{
    return config_span_equal(s, span(text, strlen(text)));
}

/* Cut s before the first c and return what follows c; data is NULL when there is no c, and s stays
 * whole. */
static struct config_span cut(struct config_span *s, char c)
{
    const char *at = s->length ? memchr(s->data, c, s->length) : NULL;
    struct config_span rest = {NULL, 0};

    if (at) {
        rest = span(at + 1, s->length - (size_t)(at + 1 - s->data));
        s->length = (size_t)(at - s->data);
    }
    return rest;
}

static struct config_span without_comment(struct config_span s)
{
    for (size_t i = 0; i < s.length; i++) {
        if (s.data[i] == '#' && (i == 0 || is_blank(s.data[i - 1]))) {
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
static const char *text_fault(struct config_span s)
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

/* --- values --- */

/* Digits only, at least one; too large a number becomes UINT64_MAX. */
static bool parse_number(struct config_span s, uint64_t *value)
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
static bool parse_size(struct config_span s, uint64_t *value)
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
            if (!parse_number(s, value)) {
                return false;
            }
            *value = *value > UINT64_MAX / unit ? UINT64_MAX : *value * unit;
            return true;
        }
    }
    return false;
}

/* A size as one would write it in the config. */
static const char *size_text(struct quote *q, uint64_t size)
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
static const char *list_choices(const char *const *choices, char *buf, size_t size)
{
    size_t used = 0;

    buf[0] = '\0';
    for (size_t i = 0; choices[i] && used < size; i++) {
        const char *before = i == 0 ? "" : choices[i + 1] ? ", " : " or ";

        used += (size_t)format(buf + used, size - used, "%s%s", before, choices[i]);
    }
    return buf;
}

static bool find_choice(const char *const *choices, struct config_span s, uint32_t *index)
{
    for (uint32_t i = 0; choices[i]; i++) {
        if (span_is(s, choices[i])) {
            *index = i;
            return true;
        }
    }
    return false;
}

static void set_choice(struct parser *p, const struct config_key *key, struct config_span value,
                       uint32_t *field)
{
    struct quote q;
    char list[160];

    if (!find_choice(key->choices, value, field)) {
        problem(p, "%s = '%s' is not known; it must be %s", key->name, quote(&q, value),
                list_choices(key->choices, list, sizeof(list)));
    }
}

static void set_flags(struct parser *p, const struct config_key *key, struct config_span value,
                      uint32_t *field)
{
    struct quote q;
    char list[160];

    while (value.data) {
        struct config_span rest = cut(&value, ',');
        uint32_t bit;

        if (find_choice(key->choices, trim(value), &bit)) {
            *field |= 1u << bit;
        } else {
            problem(p, "'%s' is not known for %s; known are %s", quote(&q, trim(value)), key->name,
                    list_choices(key->choices, list, sizeof(list)));
        }
        value = rest;
    }
}

static void set_string(struct parser *p, const struct config_key *key, struct config_span value,
                       struct config_span *field)
{
    struct quote s;

    if (value.length > key->max) {
        problem(p, "%s in %s is %zu bytes long; at most %llu are possible", key->name,
                section_name(p, &s), value.length, (unsigned long long)key->max);
        return;
    }
    *field = value;
}

static bool check_range(struct parser *p, const struct config_key *key, struct config_span value,
                        uint64_t v)
{
    struct quote q, low, high, s;

    if (v >= key->min && v <= key->max) {
        return true;
    }
    if (key->type == CONFIG_SIZE) {
        size_text(&low, key->min);
        size_text(&high, key->max);
    } else {
        format(low.text, sizeof(low.text), "%llu", (unsigned long long)key->min);
        format(high.text, sizeof(high.text), "%llu", (unsigned long long)key->max);
    }
    problem(p, "%s = %s in %s is too %s; it must be from %s to %s", key->name, quote(&q, value),
            section_name(p, &s), v < key->min ? "small" : "large", low.text, high.text);
    return false;
}

static void set_size(struct parser *p, const struct config_key *key, struct config_span value,
                     uint64_t *field)
{
    struct quote q, s;
    uint64_t v;

    if (!parse_size(value, &v)) {
        problem(p, "%s = '%s' in %s is not a size; write a number and K, M or G, such as %s",
                key->name, quote(&q, value), section_name(p, &s), key->initial);
    } else if (check_range(p, key, value, v)) {
        if (v % key->multiple) {
            problem(p, "%s = %s in %s must be a multiple of %s", key->name, quote(&q, value),
                    section_name(p, &s), size_text(&(struct quote){""}, key->multiple));
        } else {
            *field = v;
        }
    }
}

static void set_number(struct parser *p, const struct config_key *key, struct config_span value,
                       uint32_t *field)
{
    struct quote q, s;
    uint64_t v;

    if (!parse_number(value, &v)) {
        problem(p, "%s = '%s' in %s is not a number; it must be from %llu to %llu", key->name,
                quote(&q, value), section_name(p, &s), (unsigned long long)key->min,
                (unsigned long long)key->max);
    } else if (check_range(p, key, value, v)) {
        *field = (uint32_t)v;
    }
}

/* Store value in the field of *object (struct config or struct vm_config) that key describes. */
static void set_value(struct parser *p, const struct config_key *key, struct config_span value,
                      void *object)
{
    void *field = (char *)object + key->offset;

    switch (key->type) {
    case CONFIG_CHOICE:
        set_choice(p, key, value, field);
        break;
    case CONFIG_FLAGS:
        set_flags(p, key, value, field);
        break;
    case CONFIG_PATH:
    case CONFIG_TEXT:
        set_string(p, key, value, field);
        break;
    case CONFIG_SIZE:
        set_size(p, key, value, field);
        break;
    case CONFIG_NUMBER:
        set_number(p, key, value, field);
        break;
    }
}

static void set_defaults(struct parser *p, const struct config_key *keys, size_t count,
                         void *object)
{
    for (size_t i = 0; i < count; i++) {
        if (keys[i].initial) {
            set_value(p, &keys[i], span(keys[i].initial, strlen(keys[i].initial)), object);
        }
    }
}

/* --- keys --- */

static int find_key(const struct config_key *keys, int count, struct config_span name)
{
    for (int i = 0; i < count; i++) {
        if (span_is(name, keys[i].name)) {
            return i;
        }
    }
    return -1;
}

/* Letters to insert, delete or replace to make b of a; more than 15 of a count as too many. */
static unsigned edit_distance(struct config_span a, const char *b)
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

static void unknown_key(struct parser *p, const struct config_key *keys, int count,
                        struct config_span name)
{
    const char *best = NULL;
    unsigned best_distance = 3;
    struct quote q, s;
    char list[80];
    const char *names[CONFIG_HOST_KEYS + CONFIG_VM_KEYS + 1] = {NULL};

    for (int i = 0; i < count; i++) {
        unsigned distance = edit_distance(name, keys[i].name);

        names[i] = keys[i].name;
        if (distance < best_distance) {
            best = keys[i].name;
            best_distance = distance;
        }
    }
    quote(&q, name);
    if (p->section == SECTION_HOST ? find_key(config_vm_keys, CONFIG_VM_KEYS, name) >= 0
                                   : find_key(config_host_keys, CONFIG_HOST_KEYS, name) >= 0) {
        problem(p, "'%s' does not belong in %s but in %s", q.text, section_name(p, &s),
                p->section == SECTION_HOST ? "a [vm NAME] section" : "[host]");
    } else if (best) {
        problem(p, "unknown key '%s' in %s; did you mean '%s'?", q.text, section_name(p, &s), best);
    } else {
        problem(p, "unknown key '%s' in %s; it must be %s", q.text, section_name(p, &s),
                list_choices(names, list, sizeof(list)));
    }
}

static void parse_key(struct parser *p, struct config_span name, struct config_span value)
{
    bool host = p->section == SECTION_HOST;
    const struct config_key *keys = host ? config_host_keys : config_vm_keys;
    int count = host ? (int)CONFIG_HOST_KEYS : (int)CONFIG_VM_KEYS;
    uint32_t *key_line = host ? p->out->key_line : p->vm->key_line;
    int i = find_key(keys, count, name);
    const char *fault = text_fault(value);
    struct quote s;

    if (i < 0) {
        unknown_key(p, keys, count, name);
    } else if (key_line[i]) {
        problem(p, "'%s' is given twice in %s, first in line %u; keep one of them", keys[i].name,
                section_name(p, &s), key_line[i]);
    } else {
        key_line[i] = p->line;
        if (value.length == 0 && keys[i].type != CONFIG_TEXT) {
            problem(p, "'%s' in %s has no value; give it one or remove the line", keys[i].name,
                    section_name(p, &s));
        } else if (fault) {
            problem(p, "the value of '%s' in %s has %s; it must be UTF-8 text", keys[i].name,
                    section_name(p, &s), fault);
        } else {
            set_value(p, &keys[i], value, host ? (void *)p->out : (void *)p->vm);
        }
    }
}

/* --- sections --- */

static bool name_is_valid(struct config_span s)
{
    for (size_t i = 0; i < s.length; i++) {
        char c = s.data[i];

        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-')) {
            return false;
        }
    }
    return s.length >= 1 && s.length <= CONFIG_MAX_NAME;
}

static void open_host(struct parser *p)
{
    if (p->out->host_line) {
        problem(p, "[host] is given twice, first in line %u; put all its keys into one section",
                p->out->host_line);
        return;
    }
    p->out->host_line = p->line;
    p->section = SECTION_HOST;
}

static void open_vm(struct parser *p, struct config_span name)
{
    struct vm_config *vm = &p->vms[p->out->vm_count];
    struct quote q;

    if (!name_is_valid(name)) {
        problem(p, "'%s' is not a VM's name; it must be 1 to %u of A-Z, a-z, 0-9, '_' and '-'",
                quote(&q, name), CONFIG_MAX_NAME);
        return;
    }
    for (size_t i = 0; i < p->out->vm_count; i++) {
        if (config_span_equal(p->vms[i].name, name)) {
            p->vms[i].broken = true;
            problem(p, "[vm %s] is given twice, first in line %u; give each VM its own name",
                    quote(&q, name), p->vms[i].section_line);
            return;
        }
    }
    if (p->out->vm_count == p->max_vms) {
        p->limit_told = true;
        problem(p,
                "[vm %s] is one too many: at most %zu VMs are possible; it and all later ones are "
                "left out",
                quote(&q, name), p->max_vms);
        return;
    }
    *vm = (struct vm_config){.name = name, .section_line = p->line};
    set_defaults(p, config_vm_keys, CONFIG_VM_KEYS, vm);
    p->out->vm_count++;
    p->section = SECTION_VM;
    p->vm = vm;
}

/* line begins with '['; whatever is wrong with it, the keys that follow belong to no other section.
 */
static void parse_section(struct parser *p, struct config_span line)
{
    struct config_span kind = span(line.data + 1, line.length - 1), after = cut(&kind, ']'),
                       name = {NULL, 0};
    struct quote q;

    p->section = SECTION_SKIPPED;
    p->vm = NULL;
    if (!after.data || trim(after).length) {
        problem(p,
                "'%s' is not a section's header; it must be [host] or [vm NAME], alone in its line",
                quote(&q, line));
        return;
    }
    kind = trim(kind);
    for (size_t i = 0; i < kind.length; i++) {
        if (is_blank(kind.data[i])) {
            name = trim(span(kind.data + i, kind.length - i));
            kind.length = i;
        }
    }
    if (span_is(kind, "host") && !name.length) {
        open_host(p);
    } else if (span_is(kind, "vm")) {
        if (!p->limit_told) {
            open_vm(p, name);
        }
    } else {
        problem(p, "unknown section '%s'; it must be [host] or [vm NAME]", quote(&q, line));
    }
}

/* --- lines --- */

static void parse_line(struct parser *p, struct config_span line)
{
    struct config_span name, value;
    struct quote q;

    if (line.length && line.data[line.length - 1] == '\r') {
        line.length--;
    }
    name = line = trim(line);
    value = cut(&name, '=');
    if (line.length == 0 || line.data[0] == '#') {
        return;
    }
    if (!span_is(trim(name), config_vm_keys[CONFIG_VM_CMDLINE].name)) {
        name = line = trim(without_comment(line));
        value = cut(&name, '=');
    }
    if (line.data[0] == '[') {
        parse_section(p, line);
    } else if (p->section == SECTION_NONE) {
        if (!p->orphan_told) {
            problem(p, "'%s' stands before any section; [host] or [vm NAME] must come first",
                    quote(&q, line));
        }
        p->orphan_told = true;
    } else if (p->section != SECTION_SKIPPED) {
        if (value.data) {
            parse_key(p, trim(name), trim(value));
        } else {
            problem(p, "'%s' is neither a section's header nor 'key = value'", quote(&q, line));
        }
    }
}

/* Take the next line off text, without its newline. */
static struct config_span next_line(struct config_span *text)
{
    struct config_span line = *text;

    *text = cut(&line, '\n');
    return line;
}

static struct config_span skip_bom(struct config_span text)
{
    if (text.length >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0) {
        return span(text.data + 3, text.length - 3);
    }
    return text;
}

size_t config_count_vms(const char *text, size_t length)
{
    struct config_span rest = skip_bom(span(text, length));
    size_t count = 0;

    while (rest.length && count < CONFIG_MAX_VMS) {
        struct config_span line = trim(next_line(&rest));

        if (line.length && line.data[0] == '[') {
            line = trim(span(line.data + 1, line.length - 1));
            count += line.length >= 2 && memcmp(line.data, "vm", 2) == 0;
        }
    }
    return count;
}

void config_defaults(struct config *out)
{
    struct parser p = {.out = out};

    *out = (struct config){0};
    set_defaults(&p, config_host_keys, CONFIG_HOST_KEYS, out);
}

size_t config_parse(const char *text, size_t length, struct config *out, struct vm_config *vms,
                    size_t max_vms, config_report report, void *ctx)
{
    struct parser p = {.out = out,
                       .vms = vms,
                       .max_vms = MIN(max_vms, (size_t)CONFIG_MAX_VMS),
                       .report = report,
                       .ctx = ctx};
    struct config_span rest = skip_bom(span(text, length));
    size_t runnable = 0;

    config_defaults(out);
    if (length >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0)) {
        report_line(&p, 1, "the file is UTF-16; save it as UTF-8");
        return 0;
    }
    while (rest.length) {
        p.line++;
        parse_line(&p, next_line(&rest));
    }
    for (size_t i = 0; i < out->vm_count; i++) {
        struct vm_config *vm = &vms[i];

        if (!vm->broken && !vm->key_line[CONFIG_VM_KERNEL]) {
            vm->broken = true;
            report_line(&p, vm->section_line, "[vm %.*s] has no kernel; add a line 'kernel = FILE'",
                        (int)vm->name.length, vm->name.data);
        }
        runnable += !vm->broken;
    }
    return runnable;
}

/* --- what others ask of the result --- */

uint32_t config_vm_line(const struct vm_config *vm, enum config_vm_key key)
{
    return vm->key_line[key] ? vm->key_line[key] : vm->section_line;
}

size_t config_files(const struct vm_config *vms, size_t count, struct config_file *files,
                    size_t max)
{
    size_t found = 0;

    for (size_t i = 0; i < 2 * count; i++) {
        const struct vm_config *vm = &vms[i / 2];
        bool kernel = i % 2 == 0, known = false;
        struct config_span path = kernel ? vm->kernel : vm->initrd;

        for (size_t j = 0; j < MIN(found, max) && !known; j++) {
            known = config_span_equal(files[j].path, path);
        }
        if (vm->broken || !path.data || known) {
            continue;
        }
        if (found < max) {
            files[found] = (struct config_file){
                .path = path,
                .line = config_vm_line(vm, kernel ? CONFIG_VM_KERNEL : CONFIG_VM_INITRD),
                .vm = (uint32_t)(i / 2),
                .kernel = kernel,
            };
        }
        found++;
    }
    return found;
}
