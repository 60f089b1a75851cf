/* `dump`: a vCPU at one moment, taken at once and printed by and by. */
#include "guest/monitor/commands.h"

#include "arch/x86/lib/string.h"
#include "guest/control.h"
#include "guest/vm.h"
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

static bool begin(struct job *job)
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
    if (control_inspect(slot, (unsigned)vcpu, take, job->data, error) < 0) {
        job_line("%s", error);
        return false;
    }
    return true;
}

bool command_dump(struct job *job)
{
    struct picture *p;

    if (job->step == 0 && !begin(job))
        return false;
    p = job->data;
    if (p->shown == p->length)
        return false;
    job_line("%s", p->text + p->shown);
    p->shown += strlen(p->text + p->shown) + 1;
    return true;
}
