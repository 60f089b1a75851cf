#include "guest/trace/text.h"

#include "arch/x86/lib/format.h"
#include "vmx/exit.h"

#define WORD(symbol, word)        word,
#define CLASS(symbol, word, what) word,
static const char *const classes[] = {TRACE_CLASS_LIST(CLASS)};
static const char *const sched_words[] = {TRACE_SCHED_LIST(WORD)};
static const char *const block_words[] = {TRACE_BLOCK_LIST(WORD)};
static const char *const device_words[] = {TRACE_DEVICE_LIST(WORD)};

static const char *word(const char *const *words, size_t count, uint32_t code)
{
    return code < count ? words[code] : "unknown";
}

static const char *injected_by(uint32_t info)
{
    static const char *const by[8] = {
        [INTR_EXTERNAL] = "interrupt",
        [INTR_NMI] = "NMI",
        [INTR_HARD_EXCEPTION] = "exception",
        [INTR_SOFT_INTERRUPT] = "software interrupt",
        [INTR_PRIV_SOFT_EXCEPTION] = "privileged software exception",
        [INTR_SOFT_EXCEPTION] = "software exception",
        [7] = "other event",
    };

    if (info & TRACE_INJECT_VIRTUAL)
        return "virtual interrupt";
    return by[INTR_TYPE(info)] ? by[INTR_TYPE(info)] : "reserved";
}

static int exit_text(char *out, size_t size, const struct trace_record *r)
{
    const char *name = vmx_exit_name(r->code & 0xffff);

    switch (r->code) {
    case EXIT_IO:
        return format(out, size, "%s: %s %lx %s %lx", name, r->a & IO_IN ? "in" : "out",
                      r->a >> 16 & 0xffff, r->a & IO_IN ? "->" : "<-", r->b);
    case EXIT_EPT_VIOLATION:
        return format(out, size, "%s: %s%s%s%lx", name, r->a & EPT_VIOLATION_READ ? "read " : "",
                      r->a & EPT_VIOLATION_WRITE ? "write " : "",
                      r->a & EPT_VIOLATION_FETCH ? "fetch " : "", r->b);
    case EXIT_RDMSR:
        return format(out, size, "%s: %lx -> %lx", name, r->a, r->b);
    case EXIT_WRMSR:
        return format(out, size, "%s: %lx <- %lx", name, r->a, r->b);
    case EXIT_CPUID:
        return format(out, size, "%s: %lx:%lx", name, r->a, r->b);
    case EXIT_EXCEPTION_NMI:
    case EXIT_EXTERNAL_INTERRUPT:
        return format(out, size, "%s: vector %lx", name, r->a & 0xff);
    default:
        return r->a ? format(out, size, "%s: %lx", name, r->a) : format(out, size, "%s", name);
    }
}

static int block_text(char *out, size_t size, const struct trace_record *r)
{
    char where[48] = "", end[16] = "";
    uint32_t error = TRACE_BLOCK_ERROR(r->code);

    if (r->b)
        format(where, sizeof(where), " %lu+%lu", r->a, r->b);
    if (error)
        format(end, sizeof(end), ": error %u", error);
    else if (r->code & TRACE_BLOCK_OVER)
        format(end, sizeof(end), ": done");
    return format(out, size, "disk %u %s%s%s%s", TRACE_BLOCK_DISK(r->code),
                  word(block_words, ARRAY_SIZE(block_words), r->code & TRACE_BLOCK_OP),
                  r->code & TRACE_BLOCK_FUA ? " FUA" : "", where, end);
}

static int event_text(char *out, size_t size, const struct trace_record *r)
{
    switch (r->kind) {
    case TRACE_EXITS:
        return exit_text(out, size, r);
    case TRACE_INJECTIONS:
        return format(out, size, "%s %x", injected_by(r->code), r->code & 0xff);
    case TRACE_SCHEDULING:
        return format(out, size, "%s", word(sched_words, ARRAY_SIZE(sched_words), r->code));
    case TRACE_INTERRUPTS:
        return format(out, size, "vector %x", r->code);
    case TRACE_HYPERCALLS:
        return format(out, size, "hypercall %lx (%lx)", r->a, r->b);
    case TRACE_DEVICES:
        return format(out, size, "%s %lu %s", word(device_words, ARRAY_SIZE(device_words), r->code),
                      r->a, r->code == TRACE_DEVICE_LINE ? r->b ? "up" : "down" : "");
    case TRACE_BLOCK:
        return block_text(out, size, r);
    default:
        return format(out, size, "kind %u code %u", r->kind, r->code);
    }
}

int trace_text(char out[TRACE_TEXT], const struct trace_record *r, unsigned cpu, const char *vm,
               uint64_t microseconds)
{
    char who[48], event[112], rip[40] = "", cost[24] = "";

    if (r->vm == TRACE_NO_VM)
        format(who, sizeof(who), "-");
    else
        format(who, sizeof(who), "%s/%u", vm, r->vcpu);
    event_text(event, sizeof(event), r);
    if (r->rip)
        format(rip, sizeof(rip), "  rip %lx", r->rip);
    if (r->cost)
        format(cost, sizeof(cost), "  cost %u", r->cost);
    int length = format(out, TRACE_TEXT, "%7lu.%06lu cpu%u %-12s %-11s %s%s%s",
                        microseconds / 1000000, microseconds % 1000000, cpu, who,
                        word(classes, ARRAY_SIZE(classes), r->kind), event, rip, cost);
    return MIN(length, TRACE_TEXT - 1);
}
