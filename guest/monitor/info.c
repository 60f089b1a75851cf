/* Commands that tell about VMs and the machine. */
#include "guest/monitor/commands.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/smp.h"
#include "arch/x86/tsc.h"
#include "drivers/console.h"
#include "guest/console/console.h"
#include "guest/vm/moments.h"
#include "guest/monitor/text.h"
#include "guest/vm/vm.h"
#include "mm/frame.h"
#include "mm/heap.h"
#include "vmx/cpu.h"

static void print_row(const struct column *columns, unsigned count, const char *const *cells)
{
    char row[TEXT_ROW];

    text_row(row, columns, count, cells);
    job_line("%s", row);
}

/* --- list --- */

bool command_list(struct job *job)
{
    static const struct column columns[] = {
        {"VM", 16, false},   {"STATE", 13, false}, {"CPUS", 4, true},     {"MEMORY", 7, true},
        {"WEIGHT", 6, true}, {"STARTS", 6, true},  {"CONSOLE", 7, false},
    };
    char cpus[TEXT_CELL], memory[TEXT_CELL], weight[TEXT_CELL], starts[TEXT_CELL];

    if (job->step == 0) {
        print_row(columns, ARRAY_SIZE(columns), NULL);
        return control_count() > 0;
    }
    const struct vm_slot *slot = control_slot(job->step - 1);
    const char *const cells[] = {
        slot->name,
        control_state_text(slot),
        text_number(cpus, slot->config->cpus),
        text_size(memory, slot->config->memory),
        text_number(weight, slot->config->weight),
        text_number(starts, slot->starts),
        slot == console_front() && slot->vm ? "Ctrl-]"
        : console_unseen(slot)              ? "new"
                                            : "",
    };
    print_row(columns, ARRAY_SIZE(columns), cells);
    return job->step < control_count();
}

/* --- show --- */

static void processors_text(char *text, size_t size, const struct config_cpus *set)
{
    size_t used = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < CONFIG_PROCESSORS && used < size; i++)
        if (set->bits[i / 64] & BIT(i % 64))
            used += (size_t)format(text + used, size - used, "%s%u", used ? "," : "", i);
    if (!used)
        format(text, size, "all");
}

/* The names of what is set; the last choice of a key is that nothing is. */
static void flags_text(char *text, size_t size, const struct config_key *key, uint32_t flags)
{
    size_t used = 0;

    for (unsigned i = 0; key->choices[i]; i++)
        if ((flags & BIT(i) || (!flags && !key->choices[i + 1])) && used < size)
            used +=
                (size_t)format(text + used, size - used, "%s%s", used ? "," : "", key->choices[i]);
}

#define SHOWN 200 /* characters of a value in one line */

static void show_text(const char *key, struct config_span text)
{
    do {
        size_t n = MIN(text.length, (size_t)SHOWN);

        job_line("  %-16s %.*s", key, (int)n, text.data);
        text.data += n;
        text.length -= n;
        key = "";
    } while (text.length);
}

static void show_module(const struct config_module *m)
{
    if (m->file.length + m->args.length < SHOWN) {
        job_line("  %-16s %.*s %.*s", "module", (int)m->file.length, m->file.data,
                 (int)m->args.length, m->args.data);
        return;
    }
    show_text("module", m->file);
    show_text("", m->args);
}

static const void *field_of(const struct vm_slot *slot, const struct config_key *key)
{
    return (const char *)slot->config + key->offset;
}

/* How many times it may stand there; one is shown at a time, as there is room for so much only. */
static unsigned items_of(const struct vm_slot *slot, const struct config_key *key)
{
    return key->type == CONFIG_MODULES ? ((const struct config_modules *)field_of(slot, key))->count
           : key->type == CONFIG_LINES ? ((const struct config_lines *)field_of(slot, key))->count
                                       : 1;
}

static void show_item(const struct vm_slot *slot, const struct config_key *key, unsigned item)
{
    const void *field = field_of(slot, key);
    const struct config_span *span = field;
    char text[128];

    switch (key->type) {
    case CONFIG_PATH:
    case CONFIG_TEXT:
    case CONFIG_NAME:
        if (span->data)
            show_text(key->name, *span);
        return;
    case CONFIG_MODULES:
        show_module(&((const struct config_modules *)field)->item[item]);
        return;
    case CONFIG_LINES:
        show_text(key->name, ((const struct config_lines *)field)->item[item].text);
        return;
    case CONFIG_SIZE:
        text_size(text, *(const uint64_t *)field);
        break;
    case CONFIG_CHOICE:
        format(text, sizeof(text), "%s", key->choices[*(const uint32_t *)field]);
        break;
    case CONFIG_FLAGS:
        flags_text(text, sizeof(text), key, *(const uint32_t *)field);
        break;
    case CONFIG_PROCESSOR_SET:
        processors_text(text, sizeof(text), (const struct config_cpus *)field);
        break;
    default:
        format(text, sizeof(text), "%u", *(const uint32_t *)field);
    }
    job_line("  %-16s %s", key->name, text);
}

/* False: there are not so many. */
static bool show_next(const struct vm_slot *slot, unsigned n)
{
    for (unsigned i = 0; i < CONFIG_VM_KEYS; i++) {
        const struct config_key *key = &config_vm_keys[i];
        unsigned items = items_of(slot, key);

        if (n < items) {
            show_item(slot, key, n);
            return true;
        }
        n -= items;
    }
    return false;
}

bool command_show(struct job *job)
{
    const struct vm_slot *slot = job_vm(job, 1);

    if (!slot)
        return false;
    if (job->step == 0) {
        job_line("[vm %s], line %u of corbel.conf; it is %s", slot->name,
                 slot->config->section_line, control_state_text(slot));
        return true;
    }
    if (show_next(slot, job->step - 1))
        return true;
    if (slot->kind)
        job_line("  its kernel was taken for %s%s%s", slot->kind,
                 slot->packed ? ", packed with " : "", slot->packed ? slot->packed : "");
    if (slot->cost.make)
        job_line("  made in %lu ticks, %lu of them to clear its RAM; %lu KiB beside its RAM",
                 slot->cost.make, slot->cost.clear, slot->cost.memory / KIB);
    if (slot->cost.destroy)
        job_line("  taken down in %lu ticks when it ended last", slot->cost.destroy);
    return false;
}

/* --- the machine --- */

/* What runs there, or is loaded while it waits. */
static const char *loaded_text(char *text, size_t size, const struct percpu *cpu)
{
    const struct vmx_cpu *vmx = cpu->vmx;
    const struct vcpu *v = vmx ? (const struct vcpu *)vmx->current : NULL;

    text[0] = '\0';
    if (v)
        format(text, size, "%s vcpu %u%s", v->vm->name, v->id, v->halted ? ", halted" : "");
    return text;
}

/* What is done about the errata of each kind of processor. */
static void print_speculation(void)
{
    char text[TEXT_ROW];
    struct speculation_kind kind;

    for (unsigned n = 0; speculation_next_kind(&n, &kind);)
        for (unsigned line = 0; speculation_text(text, sizeof(text), &kind, line); line++)
            job_line("%s", text);
}

bool command_cpus(struct job *job)
{
    static const struct column columns[] = {{"CPU", 3, true},         {"APIC", 4, true},
                                            {"INTERRUPTS", 10, true}, {"KICKS", 8, true},
                                            {"TSC SKEW", 8, true},    {"LOADED", 20, false}};
    char number[TEXT_CELL], apic[TEXT_CELL], interrupts[TEXT_CELL], kicks[TEXT_CELL];
    char skew[TEXT_CELL], loaded[CONFIG_MAX_NAME + 32];

    if (job->step == 0) {
        job_line("%u processor%s, TSC at %lu MHz", smp_cpus, smp_cpus == 1 ? "" : "s",
                 tsc_hz / 1000000);
        print_row(columns, ARRAY_SIZE(columns), NULL);
        return true;
    }
    const struct percpu *cpu = cpu_by_number(job->step - 1);
    format(skew, sizeof(skew), "%ld", cpu->tsc_skew);
    const char *const cells[] = {text_number(number, cpu->number),
                                 text_number(apic, cpu->apic_id),
                                 text_number(interrupts, cpu->interrupts),
                                 text_number(kicks, cpu->kicks),
                                 skew,
                                 loaded_text(loaded, sizeof(loaded), cpu)};
    print_row(columns, ARRAY_SIZE(columns), cells);
    if (job->step == smp_cpus)
        print_speculation();
    return job->step < smp_cpus;
}

static void memory_line(const char *what, uint64_t bytes, uint64_t total)
{
    char size[TEXT_CELL], share[TEXT_CELL];

    job_line("  %-22s %8s %6s %%", what, text_size(size, bytes), text_percent(share, bytes, total));
}

/* What is kept of it, which stays when it has ended. */
static void show_kept(const struct vm_slot *slot)
{
    char size[TEXT_CELL];
    uint64_t kept = 0;

    for (const struct moment *m = moments_next(slot, NULL); m; m = moments_next(slot, m))
        kept += moments_size(m);
    if (kept)
        job_line("  %s: %s of snapshots", slot->name, text_size(size, kept));
}

static void show_memory(const struct vm_slot *slot)
{
    const struct vm *vm = slot->vm;
    uint64_t given = guest_memory_given(&vm->memory) * PAGE_SIZE;
    char size[TEXT_CELL], there[TEXT_CELL], back[TEXT_CELL], tables[TEXT_CELL];

    job_line("  %s: %s of RAM%s%s, %s in use%s, %s of page tables", slot->name,
             text_size(size, vm->memory.size), given ? ", of which it has given back " : "",
             given ? text_size(back, given) : "",
             text_size(there, guest_memory_there(&vm->memory) * PAGE_SIZE),
             vm->starved ? ", and it waits for more" : "",
             text_size(tables, rights_frames(&vm->rights) * PAGE_SIZE));
}

bool command_memory(struct job *job)
{
    struct frame_stats s;
    char size[TEXT_CELL];

    if (job->step == 0) {
        frame_stats(&s);
        job_line("%s of RAM, %lu frames of 4K are free", text_size(size, s.total),
                 s.free / PAGE_SIZE);
        memory_line("free", s.free, s.total);
        memory_line("VMs", s.vm, s.total);
        memory_line("promised to VMs", s.promised, s.total);
        memory_line("Corbel", s.kernel, s.total);
        memory_line("Corbel's frame table", s.metadata, s.total);
        memory_line("files of the boot disk", s.loader, s.total);
        return control_count() > 0;
    }
    const struct vm_slot *slot = control_slot(job->step - 1);
    if (slot->vm)
        show_memory(slot);
    show_kept(slot);
    return job->step < control_count();
}

/* --- log --- */

#define LOG_SIZE 16384u

struct log_copy {
    size_t length;
    char text[LOG_SIZE];
};

/* Where the last so many lines begin. */
static size_t last_lines(const struct log_copy *log, uint64_t lines)
{
    size_t at = log->length;

    while (at && (log->text[at - 1] != '\n' || at == log->length || lines--))
        at--;
    return at;
}

static bool log_begin(struct job *job)
{
    uint64_t lines = UINT64_MAX - 1;
    struct log_copy *log;

    if (job->words.count > 1 && word_number(job->words.word[1], 100000, &lines) < 0) {
        job_line("'%.*s' is not a number of lines", (int)MIN(job->words.word[1].length, 40),
                 job->words.word[1].text);
        return false;
    }
    job->data = log = heap_alloc(sizeof(*log));
    if (!log) {
        job_line("there is no memory for it");
        return false;
    }
    log->length = console_history(log->text, sizeof(log->text));
    job->next = lines ? (unsigned)last_lines(log, lines - 1) : (unsigned)log->length;
    return true;
}

bool command_log(struct job *job)
{
    const struct log_copy *log;
    const char *line, *end;

    if (job->step == 0 && !log_begin(job))
        return false;
    log = job->data;
    if (job->next >= log->length)
        return false;
    line = log->text + job->next;
    end = memchr(line, '\n', log->length - job->next);
    if (!end)
        end = log->text + log->length;
    job_line("%.*s", (int)(end - line), line);
    job->next = (unsigned)(end - log->text) + 1;
    return true;
}
