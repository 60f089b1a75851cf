/* `dump` and `regs`: a vCPU at one moment, taken at once and printed by and by; and changed. */
#include "guest/monitor/commands.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/vm/control.h"
#include "guest/gdb/inspect.h"
#include "guest/vm/vm.h"
#include "guest/watch/spec.h"
#include "mm/heap.h"
#include "vmx/dump.h"

struct picture {
    size_t length, shown;
    char text[24 * KIB]; /* lines, each with its '\0' */
};

static void add_line(void *ctx, const char *text)
{
    struct picture *p = ctx;
    size_t size = strlen(text) + 1;

    if (size > sizeof(p->text) - p->length)
        return;
    memcpy(p->text + p->length, text, size);
    p->length += size;
}

static void take(struct vcpu *v, void *picture)
{
    vcpu_describe(v, add_line, picture);
    vmx_dump_vmcs(add_line, picture);
}

static void take_registers(struct vcpu *v, void *picture)
{
    vcpu_describe(v, add_line, picture);
}

static bool begin(struct job *job, void (*fn)(struct vcpu *v, void *picture))
{
    struct vm_slot *slot = job_vm(job, 1);
    char error[CONTROL_ERROR];
    uint64_t vcpu = 0;

    if (!slot)
        return false;
    if (job->words.count > 2 && word_number(job->words.word[2], CONFIG_MAX_CPUS, &vcpu) < 0) {
        job_line("'%.*s' is not a vCPU's number", (int)MIN(job->words.word[2].length, 40),
                 job->words.word[2].text);
        return false;
    }
    job->data = heap_alloc(sizeof(struct picture));
    if (!job->data) {
        job_line("there is no memory for it");
        return false;
    }
    if (control_inspect(slot, (unsigned)vcpu, fn, job->data, error) < 0) {
        job_line("%s", error);
        return false;
    }
    return true;
}

static bool show(struct job *job, void (*fn)(struct vcpu *v, void *picture))
{
    struct picture *p;

    if (job->step == 0 && !begin(job, fn))
        return false;
    p = job->data;
    if (p->shown == p->length)
        return false;
    job_line("%s", p->text + p->shown);
    p->shown += strlen(p->text + p->shown) + 1;
    return true;
}

bool command_dump(struct job *job)
{
    return show(job, take);
}

/* --- regs --- */

static const char *const general[GPR_COUNT] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                               "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                               "r12", "r13", "r14", "r15"};

struct change {
    const struct job *job;
    unsigned first; /* word */
    char error[CONTROL_ERROR];
};

static bool set_one(struct gdb_registers *r, struct word name, uint64_t value)
{
    for (unsigned i = 0; i < GPR_COUNT; i++) {
        if (word_is(name, general[i])) {
            r->gpr[i] = value;
            return true;
        }
    }
    if (word_is(name, "rip"))
        r->rip = value;
    else if (word_is(name, "rflags"))
        r->eflags = (uint32_t)value;
    else if (word_is(name, "fs_base"))
        r->fs_base = value;
    else if (word_is(name, "gs_base"))
        r->gs_base = value;
    else
        return false;
    return true;
}

static void change(struct vcpu *v, void *arg)
{
    static struct gdb_registers r;
    struct change *c = arg;
    const struct words *words = &c->job->words;
    uint64_t value;

    gdb_get_registers(v, &r);
    for (unsigned i = c->first; i < words->count; i++) {
        struct word w = words->word[i];
        const char *equals = memchr(w.text, '=', w.length);
        struct word name = {w.text, equals ? (size_t)(equals - w.text) : 0};

        if (!equals || watch_hex(equals + 1, w.length - name.length - 1, &value) < 0 ||
            !set_one(&r, name, value)) {
            format(c->error, sizeof(c->error),
                   "'%.*s' is not NAME=HEXADECIMAL, with rax to r15, rip, rflags, fs_base, gs_base",
                   (int)MIN(w.length, 40), w.text);
            return;
        }
    }
    if (gdb_set_registers(v, &r) < 0)
        format(c->error, sizeof(c->error), "the processor would refuse these values");
}

static void change_registers(const struct job *job, unsigned first)
{
    struct vm_slot *slot = job_vm(job, 1);
    struct change c = {.job = job, .first = first};
    uint64_t vcpu = 0;

    if (!slot)
        return;
    if (!life_stands_still(slot->state))
        format(c.error, sizeof(c.error),
               "%s is not paused: registers change under a guest that runs", slot->name);
    else if (first == 3 && word_number(job->words.word[2], CONFIG_MAX_CPUS, &vcpu) < 0)
        format(c.error, sizeof(c.error), "'%.*s' is not a vCPU's number",
               (int)MIN(job->words.word[2].length, 40), job->words.word[2].text);
    else
        (void)!control_inspect(slot, (unsigned)vcpu, change, &c, c.error);
    job_line("%s", c.error[0] ? c.error : "done");
}

bool command_regs(struct job *job)
{
    const struct words *w = &job->words;
    unsigned first = w->count > 2 && !memchr(w->word[2].text, '=', w->word[2].length) ? 3 : 2;

    if (w->count <= first)
        return show(job, take_registers);
    change_registers(job, first);
    return false;
}
