#include "guest/watch/spec.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/msr.h"
#include "guest/watch/handler.h"

#define SHOWN 40 /* characters of a wrong word */

static const char *const kind_names[WATCH_KINDS] = {"read", "write", "execute", "cr0",
                                                    "cr3",  "cr4",   "msr",     "gdtr",
                                                    "idtr", "ldtr",  "tr",      "syscall"};
static const char *const policy_names[] = {"log", "count", "pause"};

struct span {
    const char *text;
    size_t length;
};

static bool is(struct span s, const char *text)
{
    return s.length == strlen(text) && memcmp(s.text, text, s.length) == 0;
}

static struct span next_word(struct span *rest)
{
    struct span word;

    while (rest->length && (*rest->text == ' ' || *rest->text == '\t')) {
        rest->text++;
        rest->length--;
    }
    word = (struct span){rest->text, 0};
    while (rest->length && *rest->text != ' ' && *rest->text != '\t') {
        rest->text++;
        rest->length--;
        word.length++;
    }
    return word;
}

static int refuse(char *error, struct span word, const char *why)
{
    format(error, WATCH_ERROR, "'%.*s' %s", (int)MIN(word.length, SHOWN), word.text, why);
    return -EINVAL;
}

/* --- numbers --- */

static int digits(struct span s, unsigned base, uint64_t *value)
{
    uint64_t n = 0;

    if (!s.length)
        return -EINVAL;
    for (size_t i = 0; i < s.length; i++) {
        char c = s.text[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                                : base;
        if (digit >= base || n > (UINT64_MAX - digit) / base)
            return -EINVAL;
        n = n * base + digit;
    }
    *value = n;
    return 0;
}

static bool skip(struct span *s, const char *prefix)
{
    size_t length = strlen(prefix);

    if (s->length < length || memcmp(s->text, prefix, length) != 0)
        return false;
    s->text += length;
    s->length -= length;
    return true;
}

int watch_hex(const char *text, size_t length, uint64_t *value)
{
    struct span s = {text, length};

    skip(&s, "0x");
    return digits(s, 16, value);
}

/* Decimal, or hexadecimal behind 0x. */
static int number(struct span s, uint64_t *value)
{
    return skip(&s, "0x") ? digits(s, 16, value) : digits(s, 10, value);
}

int watch_address(const char *text, size_t length, bool *physical, uint64_t *address)
{
    struct span s = {text, length};

    *physical = skip(&s, "phys:");
    return watch_hex(s.text, s.length, address);
}

/* Decimal with K or M or G, or hexadecimal behind 0x. */
static int size_number(struct span s, uint64_t *value)
{
    static const char units[] = "KMG";
    const char *unit = s.length ? strchr(units, s.text[s.length - 1]) : NULL;
    unsigned shift = unit && *unit ? 10 * (unsigned)(unit - units + 1) : 0;

    s.length -= shift ? 1 : 0;
    if (number(s, value) < 0 || *value > WATCH_REGION >> shift)
        return -EINVAL;
    *value <<= shift;
    return 0;
}

/* --- the parts of a line --- */

static int parse_region(struct span word, struct watch_spec *spec, char *error)
{
    const char *plus = memchr(word.text, '+', word.length);
    size_t length = plus ? (size_t)(plus - word.text) : word.length;

    spec->length = 1;
    if (!word.length) {
        format(error, WATCH_ERROR, "%s needs to know where: ADDR, ADDR+LENGTH or phys:ADDR",
               kind_names[spec->kind]);
        return -EINVAL;
    }
    if (watch_address(word.text, length, &spec->physical, &spec->address) < 0)
        return refuse(error, word, "is no address: write it in hexadecimal, perhaps behind phys:");
    if (plus &&
        (size_number((struct span){plus + 1, word.length - length - 1}, &spec->length) < 0 ||
         !spec->length))
        return refuse(error, word, "has no length that is possible: from 1 to 1G, such as +4K");
    if (spec->address + (spec->length - 1) < spec->address)
        return refuse(error, word, "goes beyond the end of all addresses");
    return 0;
}

static int parse_msr(struct span word, struct watch_spec *spec, char *error)
{
    uint64_t msr;

    if (watch_hex(word.text, word.length, &msr) < 0 || msr > UINT32_MAX)
        return word.length ? refuse(error, word, "is no MSR's number: write it in hexadecimal")
                           : refuse(error, (struct span){"msr", 3}, "needs a number");
    if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST)
        return refuse(error, word,
                      "is the local APIC's, which the processor may serve itself: it cannot be "
                      "watched");
    spec->msr = (uint32_t)msr;
    return 0;
}

static int parse_policy(struct span word, const struct watch_handlers *handlers,
                        struct watch_spec *spec, char *error)
{
    for (unsigned i = 0; i < ARRAY_SIZE(policy_names); i++) {
        if (is(word, policy_names[i])) {
            spec->policy = (enum watch_policy)i;
            return 0;
        }
    }
    for (const struct watch_handler *const *h = handlers->first; h < handlers->end; h++) {
        if (!is(word, (*h)->name))
            continue;
        spec->policy = WATCH_CALL;
        spec->handler = *h;
        if ((*h)->kinds & BIT(spec->kind))
            return 0;
        format(error, WATCH_ERROR, "%s is not for the event %s", (*h)->name,
               kind_names[spec->kind]);
        return -EINVAL;
    }
    if (!word.length) {
        format(error, WATCH_ERROR, "what is to be done? log, count, pause, or a handler's name");
        return -EINVAL;
    }
    return refuse(error, word, "is not log, count or pause, and no handler has that name");
}

static int parse_parameter(struct span word, struct watch_spec *spec, unsigned *given, char *error)
{
    const char *equals = memchr(word.text, '=', word.length);
    struct span name = {word.text, equals ? (size_t)(equals - word.text) : 0};
    const struct watch_handler *h = spec->handler;

    for (unsigned i = 0; h && equals && i < WATCH_PARAMETERS && h->parameter[i]; i++) {
        if (!is(name, h->parameter[i]))
            continue;
        *given |= BIT(i);
        if (number((struct span){equals + 1, word.length - name.length - 1}, &spec->parameter[i]) ==
            0)
            return 0;
        return refuse(error, word, "has no number: decimal, or hexadecimal behind 0x");
    }
    return refuse(error, word, "is too much");
}

static int check_parameters(const struct watch_spec *spec, unsigned given, char *error)
{
    const struct watch_handler *h = spec->handler;

    for (unsigned i = 0; h && i < WATCH_PARAMETERS && h->parameter[i]; i++) {
        if (!(given & BIT(i))) {
            format(error, WATCH_ERROR, "%s needs %s=NUMBER", h->name, h->parameter[i]);
            return -EINVAL;
        }
    }
    return 0;
}

int watch_parse(const char *text, size_t length, const struct watch_handlers *handlers,
                struct watch_spec *spec, char *error)
{
    struct span rest = {text, length}, word = next_word(&rest);
    unsigned kind = 0, given = 0;

    memset(spec, 0, sizeof(*spec));
    while (kind < WATCH_KINDS && !is(word, kind_names[kind]))
        kind++;
    if (kind == WATCH_KINDS)
        return refuse(error, word,
                      "is no event: read, write, execute, cr0, cr3, cr4, msr, gdtr, idtr, ldtr, "
                      "tr, syscall are");
    spec->kind = (enum watch_kind)kind;
    if (watch_is_memory(spec->kind) && parse_region(next_word(&rest), spec, error) < 0)
        return -EINVAL;
    if (spec->kind == WATCH_MSR && parse_msr(next_word(&rest), spec, error) < 0)
        return -EINVAL;
    if (parse_policy(next_word(&rest), handlers, spec, error) < 0)
        return -EINVAL;
    while ((word = next_word(&rest)).length)
        if (parse_parameter(word, spec, &given, error) < 0)
            return -EINVAL;
    return check_parameters(spec, given, error);
}

/* --- in words --- */

const char *watch_kind_name(unsigned n)
{
    return n < WATCH_KINDS ? kind_names[n] : NULL;
}

const char *watch_policy_name(unsigned n, const struct watch_handlers *handlers)
{
    if (n < ARRAY_SIZE(policy_names))
        return policy_names[n];
    n -= ARRAY_SIZE(policy_names);
    return n < (size_t)(handlers->end - handlers->first) ? handlers->first[n]->name : NULL;
}

char *watch_event_text(const struct watch_spec *spec, char *out)
{
    const char *name = kind_names[spec->kind];

    if (spec->kind == WATCH_MSR)
        format(out, WATCH_TEXT, "%s %x", name, spec->msr);
    else if (watch_is_memory(spec->kind))
        format(out, WATCH_TEXT, "%s %s%lx+0x%lx", name, spec->physical ? "phys:" : "",
               spec->address, spec->length);
    else
        format(out, WATCH_TEXT, "%s", name);
    return out;
}

const char *watch_policy_text(const struct watch_spec *spec)
{
    return spec->policy == WATCH_CALL ? spec->handler->name : policy_names[spec->policy];
}

/* --- how much may be said --- */

bool watch_limit_pass(struct watch_limit *l, uint64_t now, uint64_t interval, unsigned burst)
{
    uint64_t old = __atomic_load_n(&l->next, __ATOMIC_RELAXED), next;

    do {
        next = MAX(old, now);
        if (next - now >= burst * interval)
            return false;
    } while (!__atomic_compare_exchange_n(&l->next, &old, next + interval, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return true;
}
