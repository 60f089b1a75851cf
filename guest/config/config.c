/* The parser of corbel.conf: reports, keys, then sections and lines. */
#include "guest/config/config_parser.h"
#include "guest/config/disk.h"
#include "guest/config/net.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

/* --- reports --- */

void config_report_line(struct config_parser *p, uint32_t line, const char *fmt, ...)
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
    /* Others' parsers quote the text as it is: a config_check does. */
    for (char *c = sentence; *c; c++) {
        if (*c < ' ' || *c > '~') {
            *c = '?';
        }
    }
    p->report(p->ctx, line, sentence);
}

const char *config_section_name(const struct config_parser *p, struct config_quote *q)
{
    if (p->vm) {
        format(q->text, sizeof(q->text), "[vm %.*s]", (int)p->vm->name.length, p->vm->name.data);
    } else if (p->disk) {
        format(q->text, sizeof(q->text), "[disk %.*s]", (int)p->disk->name.length,
               p->disk->name.data);
    } else if (p->net_switch) {
        format(q->text, sizeof(q->text), "[switch %.*s]", (int)p->net_switch->name.length,
               p->net_switch->name.data);
    } else {
        return "[host]";
    }
    return q->text;
}

/* --- keys --- */

/* A key with a problem is as if it had not been given. */
static void set_default(struct config_parser *p, const struct config_key *key, void *object)
{
    memset((char *)object + key->offset, 0, config_value_size(key->type));
    if (key->initial) {
        config_set_value(p, key, config_span_of(key->initial, strlen(key->initial)), object);
    }
}

static void set_defaults(struct config_parser *p, const struct config_key *keys, size_t count,
                         void *object)
{
    for (size_t i = 0; i < count; i++) {
        set_default(p, &keys[i], object);
    }
}

static int find_key(const struct config_key *keys, int count, struct config_span name)
{
    for (int i = 0; i < count; i++) {
        if (config_span_is(name, keys[i].name)) {
            return i;
        }
    }
    return -1;
}

/* The kinds of sections: their keys, and what they are called. */
static const struct {
    const struct config_key *keys;
    int count;
    const char *words;
} kinds[] = {
    [SECTION_HOST] = {config_host_keys, CONFIG_HOST_KEYS, "[host]"},
    [SECTION_VM] = {config_vm_keys, CONFIG_VM_KEYS, "a [vm NAME] section"},
    [SECTION_DISK] = {config_disk_keys, CONFIG_DISK_KEYS, "a [disk NAME] section"},
    [SECTION_SWITCH] = {config_switch_keys, CONFIG_SWITCH_KEYS, "a [switch NAME] section"},
};

/* Where the open section's are kept, and their lines. */
static void *open_object(struct config_parser *p, uint32_t **key_line)
{
    switch (p->section) {
    case SECTION_VM:
        *key_line = p->vm->key_line;
        return p->vm;
    case SECTION_DISK:
        *key_line = p->disk->key_line;
        return p->disk;
    case SECTION_SWITCH:
        *key_line = p->net_switch->key_line;
        return p->net_switch;
    default:
        *key_line = p->out->key_line;
        return p->out;
    }
}

/* Which kind of section a key belongs in, in words, or NULL. */
static const char *home_of(struct config_span name)
{
    for (enum section s = SECTION_HOST; s <= SECTION_SWITCH; s++)
        if (find_key(kinds[s].keys, kinds[s].count, name) >= 0)
            return kinds[s].words;
    return NULL;
}

static void unknown_key(struct config_parser *p, const struct config_key *keys, int count,
                        struct config_span name)
{
    const char *best = NULL;
    unsigned best_distance = 3;
    struct config_quote q, s;
    char list[CONFIG_MESSAGE];
    const char *names[CONFIG_HOST_KEYS + CONFIG_VM_KEYS + 1] = {NULL};

    for (int i = 0; i < count; i++) {
        unsigned distance = config_edit_distance(name, keys[i].name);

        names[i] = keys[i].name;
        if (distance < best_distance && distance < name.length) { /* something of it is left */
            best = keys[i].name;
            best_distance = distance;
        }
    }
    config_quote(&q, name);
    if (home_of(name)) {
        problem(p, "'%s' does not belong in %s but in %s", q.text, config_section_name(p, &s),
                home_of(name));
    } else if (best) {
        problem(p, "unknown key '%s' in %s; did you mean '%s'?", q.text, config_section_name(p, &s),
                best);
    } else {
        problem(p, "unknown key '%s' in %s; it must be %s", q.text, config_section_name(p, &s),
                config_list_choices(names, list, sizeof(list)));
    }
}

static void parse_key(struct config_parser *p, struct config_span name, struct config_span value)
{
    const struct config_key *keys = kinds[p->section].keys;
    int count = kinds[p->section].count, i = find_key(keys, count, name);
    uint32_t *key_line;
    void *object = open_object(p, &key_line);
    const char *fault = config_text_fault(value);
    uint32_t before = p->out->problems;
    struct config_quote s;

    if (i < 0) {
        unknown_key(p, keys, count, name);
        return;
    }
    if (key_line[i] && keys[i].type != CONFIG_MODULES && keys[i].type != CONFIG_LINES) {
        problem(p, "'%s' is given twice in %s, first in line %u; keep one of them", keys[i].name,
                config_section_name(p, &s), key_line[i]);
    } else {
        key_line[i] = key_line[i] ? key_line[i] : p->line;
        if (value.length == 0 && keys[i].type != CONFIG_TEXT) {
            problem(p, "'%s' in %s has no value; give it one or remove the line", keys[i].name,
                    config_section_name(p, &s));
        } else if (fault) {
            problem(p, "the value of '%s' in %s has %s; it must be UTF-8 text", keys[i].name,
                    config_section_name(p, &s), fault);
        } else {
            config_set_value(p, &keys[i], value, object);
        }
    }
    p->spoiled |= p->out->problems != before ? BIT(i) : 0;
    if (p->spoiled & BIT(i)) {
        set_default(p, &keys[i], object);
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

static void open_host(struct config_parser *p)
{
    if (p->out->host_line) {
        problem(p, "[host] is given twice, first in line %u; put all its keys into one section",
                p->out->host_line);
        return;
    }
    p->out->host_line = p->line;
    p->section = SECTION_HOST;
    p->spoiled = 0;
}

static void open_vm(struct config_parser *p, struct config_span name)
{
    struct vm_config *vm = &p->vms[p->out->vm_count];
    struct config_quote q;

    if (!name_is_valid(name)) {
        problem(p, "'%s' is not a VM's name; it must be 1 to %u of A-Z, a-z, 0-9, '_' and '-'",
                config_quote(&q, name), CONFIG_MAX_NAME);
        return;
    }
    for (size_t i = 0; i < p->out->vm_count; i++) {
        if (config_span_equal(p->vms[i].name, name)) {
            p->vms[i].broken = true;
            problem(p, "[vm %s] is given twice, first in line %u; give each VM its own name",
                    config_quote(&q, name), p->vms[i].section_line);
            return;
        }
    }
    if (p->out->vm_count == p->max_vms) {
        p->limit_told = true;
        problem(p,
                "[vm %s] is one too many: at most %zu VMs are possible; it and all later ones are "
                "left out",
                config_quote(&q, name), p->max_vms);
        return;
    }
    *vm = (struct vm_config){.name = name, .section_line = p->line};
    set_defaults(p, config_vm_keys, CONFIG_VM_KEYS, vm);
    p->out->vm_count++;
    p->section = SECTION_VM;
    p->spoiled = 0;
    p->vm = vm;
}

static void open_disk(struct config_parser *p, struct config_span name)
{
    struct config_quote q;

    if (!name_is_valid(name)) {
        problem(p, "'%s' is not a disk's name; it must be 1 to %u of A-Z, a-z, 0-9, '_' and '-'",
                config_quote(&q, name), CONFIG_MAX_NAME);
        return;
    }
    for (size_t i = 0; i < p->out->disk_count; i++) {
        if (config_span_equal(p->out->disks[i].name, name)) {
            problem(p, "[disk %s] is given twice, first in line %u; give each disk its own name",
                    config_quote(&q, name), p->out->disks[i].section_line);
            return;
        }
    }
    if (p->out->disk_count == CONFIG_MAX_DISKS) {
        problem(p, "[disk %s] is one too many: at most %u are possible", config_quote(&q, name),
                CONFIG_MAX_DISKS);
        return;
    }
    p->disk = &p->out->disks[p->out->disk_count++];
    *p->disk = (struct disk_config){.name = name, .section_line = p->line};
    p->section = SECTION_DISK;
    p->spoiled = 0;
}

static void open_switch(struct config_parser *p, struct config_span name)
{
    struct config_quote q;
    const struct switch_config *other = config_switch(p->out, name);

    if (!name_is_valid(name)) {
        problem(p, "'%s' is not a switch's name; it must be 1 to %u of A-Z, a-z, 0-9, '_' and '-'",
                config_quote(&q, name), CONFIG_MAX_NAME);
        return;
    }
    if (other) {
        problem(p, "[switch %s] is given twice, first in line %u; give each switch its own name",
                config_quote(&q, name), other->section_line);
        return;
    }
    if (p->out->switch_count == CONFIG_MAX_SWITCHES) {
        problem(p, "[switch %s] is one too many: at most %u are possible", config_quote(&q, name),
                CONFIG_MAX_SWITCHES);
        return;
    }
    p->net_switch = &p->out->switches[p->out->switch_count++];
    *p->net_switch = (struct switch_config){.name = name, .section_line = p->line};
    set_defaults(p, config_switch_keys, CONFIG_SWITCH_KEYS, p->net_switch);
    p->section = SECTION_SWITCH;
    p->spoiled = 0;
}

/* line begins with '['; whatever is wrong with it, the keys that follow belong to no other section.
 */
static void parse_section(struct config_parser *p, struct config_span line)
{
    struct config_span kind = config_span_of(line.data + 1, line.length - 1),
                       after = config_cut(&kind, ']'), name = {NULL, 0};
    struct config_quote q;

    p->section = SECTION_SKIPPED;
    p->vm = NULL;
    p->disk = NULL;
    p->net_switch = NULL;
    if (!after.data || config_trim(after).length) {
        problem(p,
                "'%s' is not a section's header; it must be [host], [vm NAME], [disk NAME] or "
                "[switch NAME], alone in its line",
                config_quote(&q, line));
        return;
    }
    kind = config_trim(kind);
    for (size_t i = 0; i < kind.length; i++) {
        if (config_is_blank(kind.data[i])) {
            name = config_trim(config_span_of(kind.data + i, kind.length - i));
            kind.length = i;
        }
    }
    if (config_span_is(kind, "host") && !name.length) {
        open_host(p);
    } else if (config_span_is(kind, "vm")) {
        if (!p->limit_told) {
            open_vm(p, name);
        }
    } else if (config_span_is(kind, "disk")) {
        open_disk(p, name);
    } else if (config_span_is(kind, "switch")) {
        open_switch(p, name);
    } else {
        problem(p,
                "unknown section '%s'; it must be [host], [vm NAME], [disk NAME] or [switch NAME]",
                config_quote(&q, line));
    }
}

/* --- lines --- */

static void parse_line(struct config_parser *p, struct config_span line)
{
    struct config_span name, value;
    struct config_quote q;

    if (line.length && line.data[line.length - 1] == '\r') {
        line.length--;
    }
    name = line = config_trim(line);
    value = config_cut(&name, '=');
    if (line.length == 0 || line.data[0] == '#') {
        return;
    }
    if (!config_span_is(config_trim(name), config_vm_keys[CONFIG_VM_CMDLINE].name)) {
        name = line = config_trim(config_without_comment(line));
        value = config_cut(&name, '=');
    }
    if (line.data[0] == '[') {
        parse_section(p, line);
    } else if (p->section == SECTION_NONE) {
        if (!p->orphan_told) {
            problem(p, "'%s' stands before any section; [host] or [vm NAME] must come first",
                    config_quote(&q, line));
        }
        p->orphan_told = true;
    } else if (p->section != SECTION_SKIPPED) {
        if (value.data) {
            parse_key(p, config_trim(name), config_trim(value));
        } else {
            problem(p, "'%s' is neither a section's header nor 'key = value'",
                    config_quote(&q, line));
        }
    }
}

/* Take the next line off text, without its newline. */
static struct config_span next_line(struct config_span *text)
{
    struct config_span line = *text;

    *text = config_cut(&line, '\n');
    return line;
}

static struct config_span skip_bom(struct config_span text)
{
    if (text.length >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0) {
        return config_span_of(text.data + 3, text.length - 3);
    }
    return text;
}

size_t config_count_vms(const char *text, size_t length)
{
    struct config_span rest = skip_bom(config_span_of(text, length));
    size_t count = 0;

    while (rest.length && count < CONFIG_MAX_VMS) {
        struct config_span line = config_trim(next_line(&rest));

        if (line.length && line.data[0] == '[') {
            line = config_trim(config_span_of(line.data + 1, line.length - 1));
            count += line.length >= 2 && memcmp(line.data, "vm", 2) == 0;
        }
    }
    return count;
}

void config_defaults(struct config *out)
{
    struct config_parser p = {.out = out};

    *out = (struct config){0};
    set_defaults(&p, config_host_keys, CONFIG_HOST_KEYS, out);
}

size_t config_parse(const char *text, size_t length, struct config *out, struct vm_config *vms,
                    size_t max_vms, config_report report, void *ctx)
{
    struct config_parser p = {.out = out,
                              .vms = vms,
                              .max_vms = MIN(max_vms, (size_t)CONFIG_MAX_VMS),
                              .report = report,
                              .ctx = ctx};
    struct config_span rest = skip_bom(config_span_of(text, length));
    size_t runnable = 0;

    config_defaults(out);
    if (length >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0)) {
        config_report_line(&p, 1, "the file is UTF-16; save it as UTF-8");
        return 0;
    }
    while (rest.length) {
        p.line++;
        parse_line(&p, next_line(&rest));
    }
    for (size_t i = 0; i < out->vm_count; i++) {
        struct vm_config *vm = &vms[i];

        config_check_vm(&p, vm);
        runnable += !vm->broken;
    }
    config_check_rest(&p);
    return runnable;
}

/* --- what others ask of the result --- */

uint32_t config_vm_line(const struct vm_config *vm, enum config_vm_key key)
{
    return vm->key_line[key] ? vm->key_line[key] : vm->section_line;
}

bool config_has_display(const struct vm_config *vm)
{
    static const char none[] = "none";

    return vm->display.data && !config_span_equal(vm->display, config_span_of(none, strlen(none)));
}

struct file_list {
    struct config_file *files;
    size_t max, found;
};

static void add_file(struct file_list *list, struct config_file file)
{
    for (size_t i = 0; i < MIN(list->found, list->max); i++) {
        if (config_span_equal(list->files[i].path, file.path)) {
            return;
        }
    }
    if (list->found < list->max) {
        list->files[list->found] = file;
    }
    list->found++;
}

size_t config_files(const struct vm_config *vms, size_t count, struct config_file *files,
                    size_t max)
{
    struct file_list list = {files, max, 0};

    for (size_t i = 0; i < count; i++) {
        const struct vm_config *vm = &vms[i];

        if (vm->broken) {
            continue;
        }
        if (vm->kernel.data) {
            add_file(&list, (struct config_file){vm->kernel, config_vm_line(vm, CONFIG_VM_KERNEL),
                                                 (uint32_t)i, true});
        }
        if (vm->firmware.data) {
            add_file(&list,
                     (struct config_file){vm->firmware, config_vm_line(vm, CONFIG_VM_FIRMWARE),
                                          (uint32_t)i, false});
        }
        if (config_has_display(vm)) {
            add_file(&list, (struct config_file){vm->display, config_vm_line(vm, CONFIG_VM_DISPLAY),
                                                 (uint32_t)i, false});
        }
        if (vm->initrd.data) {
            add_file(&list, (struct config_file){vm->initrd, config_vm_line(vm, CONFIG_VM_INITRD),
                                                 (uint32_t)i, false});
        }
        for (size_t j = 0; j < vm->modules.count; j++) {
            const struct config_module *m = &vm->modules.item[j];

            add_file(&list, (struct config_file){m->file, m->line, (uint32_t)i, false});
        }
        for (size_t j = 0; j < vm->disks.count; j++) {
            const struct config_line *line = &vm->disks.item[j];
            struct config_disk disk;
            char error[CONFIG_MESSAGE];

            if (config_disk_parse(line->text.data, line->text.length, &disk, error) == 0 &&
                disk.kind == CONFIG_DISK_RAM)
                add_file(&list, (struct config_file){disk.name, line->line, (uint32_t)i, false});
        }
        for (size_t j = 0; j < vm->cdroms.count; j++) {
            const struct config_line *line = &vm->cdroms.item[j];
            struct config_span file;

            if (config_cdrom_file(line->text, &file))
                add_file(&list, (struct config_file){file, line->line, (uint32_t)i, false});
        }
    }
    return list.found;
}
