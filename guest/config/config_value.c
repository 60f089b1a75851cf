/* From the text behind a key's `=` to the field that the key describes. */
#include "guest/config/config_parser.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

static config_check checks[CONFIG_VM_KEYS];

/* name: of one that there is. */
static unsigned key_index(const char *name)
{
    unsigned i = 0;

    while (strcmp(config_vm_keys[i].name, name) != 0)
        i++;
    return i;
}

void config_set_check(const char *key, config_check check)
{
    checks[key_index(key)] = check;
}

bool config_vm_says(const struct vm_config *vm, const char *name, unsigned index,
                    struct config_line *out)
{
    unsigned i = key_index(name);
    const struct config_key *key = &config_vm_keys[i];
    const void *field = (const char *)vm + key->offset;

    if (key->type == CONFIG_LINES) {
        const struct config_lines *lines = field;

        if (index >= lines->count)
            return false;
        *out = lines->item[index];
        return true;
    }
    if (key->type == CONFIG_PATH) {
        const struct config_span *path = field;

        *out = (struct config_line){*path, vm->key_line[i]};
        return index == 0 && path->data;
    }
    if (index > 0 || !*(const uint32_t *)field)
        return false;
    *out = (struct config_line){config_span_of("yes", 3), vm->key_line[i]};
    if (key->type == CONFIG_NUMBER)
        out->text = config_span_of(&"0123456789"[*(const uint32_t *)field], 1);
    return true;
}

static void set_choice(struct config_parser *p, const struct config_key *key,
                       struct config_span value, uint32_t *field)
{
    struct config_quote q;
    char list[160];

    if (!config_find_choice(key->choices, value, field)) {
        problem(p, "%s = '%s' is not known; it must be %s", key->name, config_quote(&q, value),
                config_list_choices(key->choices, list, sizeof(list)));
    }
}

static void set_flags(struct config_parser *p, const struct config_key *key,
                      struct config_span value, uint32_t *field)
{
    struct config_quote q;
    char list[160];

    while (value.data) {
        struct config_span rest = config_cut(&value, ',');
        uint32_t bit;

        if (config_find_choice(key->choices, config_trim(value), &bit)) {
            *field |= 1u << bit;
        } else {
            problem(p, "'%s' is not known for %s; known are %s",
                    config_quote(&q, config_trim(value)), key->name,
                    config_list_choices(key->choices, list, sizeof(list)));
        }
        value = rest;
    }
}

static void set_string(struct config_parser *p, const struct config_key *key,
                       struct config_span value, struct config_span *field)
{
    struct config_quote s;

    if (value.length > key->max) {
        problem(p, "%s in %s is %zu bytes long; at most %llu are possible", key->name,
                config_section_name(p, &s), value.length, (unsigned long long)key->max);
        return;
    }
    *field = value;
}

/* Add `file args` to the modules so far. */
static void add_module(struct config_parser *p, const struct config_key *key,
                       struct config_span value, struct config_modules *modules)
{
    struct config_module module = {.file = value, .args = {"", 0}, .line = p->line};
    struct config_span whole = {NULL, 0};
    struct config_quote s;

    set_string(p, key, value, &whole);
    if (!whole.data) {
        return;
    }
    for (size_t i = 0; i < module.file.length; i++) {
        if (config_is_blank(value.data[i])) {
            module.args = config_trim(config_span_of(value.data + i, value.length - i));
            module.file.length = i;
        }
    }
    if (module.file.length > CONFIG_MAX_PATH) {
        problem(p, "the file of a %s in %s is %zu bytes long; at most %u are possible", key->name,
                config_section_name(p, &s), module.file.length, CONFIG_MAX_PATH);
    } else if (modules->count == CONFIG_MAX_MODULES) {
        problem(p, "%s has one %s too many: at most %u are possible", config_section_name(p, &s),
                key->name, CONFIG_MAX_MODULES);
    } else {
        modules->item[modules->count++] = module;
    }
}

static void add_line(struct config_parser *p, const struct config_key *key,
                     struct config_span value, struct config_lines *lines)
{
    config_check check = checks[key - config_vm_keys];
    struct config_span text = {NULL, 0};
    char error[CONFIG_MESSAGE];
    struct config_quote s;

    set_string(p, key, value, &text);
    if (!text.data)
        return;
    if (check && check(text.data, text.length, error) < 0)
        problem(p, "%s in %s: %s", key->name, config_section_name(p, &s), error);
    else if (lines->count == key->limit)
        problem(p, "%s has one %s too many: at most %u are possible", config_section_name(p, &s),
                key->name, key->limit);
    else
        lines->item[lines->count++] = (struct config_line){text, p->line};
}

static bool check_range(struct config_parser *p, const struct config_key *key,
                        struct config_span value, uint64_t v)
{
    struct config_quote q, low, high, s;

    if (v >= key->min && v <= key->max) {
        return true;
    }
    if (key->type == CONFIG_SIZE) {
        config_size_text(&low, key->min);
        config_size_text(&high, key->max);
    } else {
        format(low.text, sizeof(low.text), "%llu", (unsigned long long)key->min);
        format(high.text, sizeof(high.text), "%llu", (unsigned long long)key->max);
    }
    problem(p, "%s = %s in %s is too %s; it must be from %s to %s", key->name,
            config_quote(&q, value), config_section_name(p, &s), v < key->min ? "small" : "large",
            low.text, high.text);
    return false;
}

static void set_size(struct config_parser *p, const struct config_key *key,
                     struct config_span value, uint64_t *field)
{
    struct config_quote q, s, least;
    uint64_t v;

    if (!config_parse_size(value, &v)) {
        problem(p, "%s = '%s' in %s is not a size; write a number and K, M or G, such as %s",
                key->name, config_quote(&q, value), config_section_name(p, &s),
                key->initial ? key->initial : config_size_text(&least, key->min));
    } else if (check_range(p, key, value, v)) {
        if (v % key->multiple) {
            problem(p, "%s = %s in %s must be a multiple of %s", key->name, config_quote(&q, value),
                    config_section_name(p, &s),
                    config_size_text(&(struct config_quote){""}, key->multiple));
        } else {
            *field = v;
        }
    }
}

static void set_number(struct config_parser *p, const struct config_key *key,
                       struct config_span value, uint32_t *field)
{
    struct config_quote q, s;
    uint64_t v;

    if (!config_parse_number(value, &v)) {
        problem(p, "%s = '%s' in %s is not a number; it must be from %llu to %llu", key->name,
                config_quote(&q, value), config_section_name(p, &s), (unsigned long long)key->min,
                (unsigned long long)key->max);
    } else if (check_range(p, key, value, v)) {
        *field = (uint32_t)v;
    }
}

static void set_processors(struct config_parser *p, const struct config_key *key,
                           struct config_span value, struct config_cpus *field)
{
    struct config_quote q, s;
    struct config_cpus set;

    if (config_parse_processors(value, key->max, &set)) {
        *field = set;
        return;
    }
    problem(p,
            "%s = '%s' in %s is not a list of processors; write numbers from 0 to %llu and ranges, "
            "such as 0,2-3",
            key->name, config_quote(&q, value), config_section_name(p, &s),
            (unsigned long long)key->max);
}

size_t config_value_size(enum config_type type)
{
    const struct vm_config *vm;

    switch (type) {
    case CONFIG_PATH:
    case CONFIG_TEXT:
    case CONFIG_NAME:
        return sizeof(vm->cmdline);
    case CONFIG_MODULES:
        return sizeof(vm->modules);
    case CONFIG_LINES:
        return sizeof(vm->watches);
    case CONFIG_SIZE:
        return sizeof(vm->memory);
    case CONFIG_PROCESSOR_SET:
        return sizeof(vm->affinity);
    default: /* CONFIG_CHOICE, CONFIG_FLAGS, CONFIG_NUMBER */
        return sizeof(vm->cpus);
    }
}

void config_set_value(struct config_parser *p, const struct config_key *key,
                      struct config_span value, void *object)
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
    case CONFIG_NAME:
        set_string(p, key, value, field);
        break;
    case CONFIG_MODULES:
        add_module(p, key, value, field);
        break;
    case CONFIG_LINES:
        add_line(p, key, value, field);
        break;
    case CONFIG_SIZE:
        set_size(p, key, value, field);
        break;
    case CONFIG_NUMBER:
        set_number(p, key, value, field);
        break;
    case CONFIG_PROCESSOR_SET:
        set_processors(p, key, value, field);
        break;
    }
}

/* --- by itself --- */

static void keep_sentence(void *ctx, uint32_t line, const char *sentence)
{
    format(ctx, CONFIG_MESSAGE, "%s", sentence);
}

bool config_change(struct vm_config *vm, enum config_vm_key key, struct config_span value,
                   char *error)
{
    struct config none = {0};
    struct config_parser p = {.out = &none, .vm = vm, .report = keep_sentence, .ctx = error};
    bool broken = vm->broken;

    config_set_value(&p, &config_vm_keys[key], value, vm);
    vm->broken = broken;
    return none.problems == 0;
}
