#include "vmx/speculation.h"

#include "arch/x86/branches.h"
#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/panic.h"
#include "arch/x86/smp.h"
#include "arch/x86/trap.h"
#include "mm/space.h"
#include "vmx/cpu.h"

#define LINE 240

#define STEP(symbol) ((uint32_t)BIT(MITIGATION_##symbol))
/* Those that the guarded road carries out. */
#define ROAD                                                                                       \
    (STEP(IBRS) | STEP(BHI_CLEAR) | STEP(RSB_FILL) | STEP(RSB_ONE) | STEP(L1D) | STEP(VERW))

#define TSX_CTRL_OFF (BIT(0) | BIT(1)) /* transactions abort at once; CPUID hides them */

/* entry.asm */
int vmx_run_guarded(struct vmx_vcpu *v);
void vmx_fill_returns(void);
extern const struct step_site {
    uint64_t address, step; /* five bytes of jump over it; enum mitigation */
} vmx_steps[], vmx_steps_end[];
extern uint8_t branch_stubs[];      /* branches.asm */
extern uint8_t kernel_text_start[]; /* linker.ld */
extern const uint32_t kernel_branches_start[], kernel_branches_end[];

static uint32_t all_steps; /* of any processor */

struct spec_guest spec_guest;

static bool probe_rdmsr(void *ctx, uint32_t msr, uint64_t *value)
{
    return rdmsr_safe(msr, value);
}

static bool probe_wrmsr(void *ctx, uint32_t msr, uint64_t value)
{
    return wrmsr_safe(msr, value);
}

void speculation_look(struct vmx_speculation *s, uint32_t microcode)
{
    const struct speculation_probe probe = {
        .microcode = microcode, .cpuid = probe_cpuid, .rdmsr = probe_rdmsr, .wrmsr = probe_wrmsr};

    speculation_read(&s->cpu, &probe);
}

/* Of the next processor in VMX operation; *n is 0 at first, and then one behind it. NULL: none. */
static struct vmx_speculation *next(unsigned *n)
{
    while (*n < smp_cpus) {
        struct vmx_cpu *vmx = cpu_by_number((*n)++)->vmx;

        if (vmx)
            return &vmx->speculation;
    }
    return NULL;
}

/* --- choosing --- */

/* Whether another processor that is used is a thread of the same core. */
static bool has_sibling(unsigned n, unsigned thread_bits)
{
    uint32_t core = cpu_by_number(n)->apic_id >> thread_bits;

    for (unsigned i = 0; i < smp_cpus; i++)
        if (i != n && cpu_by_number(i)->apic_id >> thread_bits == core)
            return true;
    return false;
}

/* The guarded road is the same for all: an MSR that it writes each of them has to have. */
static uint32_t possible_on_all(void)
{
    struct vmx_speculation *s;
    uint32_t possible = ~0u;

    for (unsigned n = 0; (s = next(&n));)
        possible &= mitigations_possible(&s->cpu);
    return possible;
}

static int choose(bool off, uint32_t forced)
{
    struct vmx_speculation *s;
    const char *why = NULL;

    for (unsigned n = 0; (s = next(&n)) && !why;)
        why = mitigations_refuse(&s->cpu, forced);
    if (why)
        log_error("test_mitigations: %s", why);
    for (unsigned n = 0; (s = next(&n));) {
        const struct mitigation_use use = {
            .threads = has_sibling(n - 1, s->cpu.thread_bits),
            .possible = possible_on_all(),
        };

        mitigations_choose(&s->chosen, &s->cpu, &use);
        s->missing = off ? mitigations_off(&s->chosen) : 0;
        if (!why)
            mitigations_force(&s->chosen, forced);
        all_steps |= s->chosen.steps;
    }
    return why ? -ENOTSUP : 0;
}

/* A guest runs on any processor: it is shown what is the same on all of them. */
static void choose_for_guests(void)
{
    struct vmx_speculation *s;
    struct spec_guest one;
    bool first = true;

    for (unsigned n = 0; (s = next(&n)); first = false) {
        spec_guest_offer(&one, &s->cpu, &s->chosen);
        if (first)
            spec_guest = one;
        if (spec_guest_same(&spec_guest, &one))
            continue;
        log_warn("speculation: processors differ: guests are shown no registers for it");
        spec_guest = (struct spec_guest){0};
        return;
    }
}

/* --- the text --- */

struct change {
    bool guarded; /* some vCPU may have to take the guarded road */
    int error;
};

static size_t text_offset(uint64_t address)
{
    return address - (uint64_t)kernel_text_start;
}

static void change_text(void *ctx, uint8_t *text, size_t size)
{
    static const uint8_t nop[] = {0x0f, 0x1f, 0x44, 0, 0};
    const struct branch_text t = {text, (uint64_t)kernel_text_start, size,
                                  text_offset((uint64_t)branch_stubs)};
    struct change *c = ctx;

    if (all_steps & (STEP(RETPOLINE) | STEP(ALIGNED)))
        c->error = branches_patch(&t, kernel_branches_start,
                                  (uint32_t)(kernel_branches_end - kernel_branches_start),
                                  all_steps & STEP(RETPOLINE) ? BRANCH_RETPOLINE : BRANCH_ALIGNED);
    for (const struct step_site *s = vmx_steps; s < vmx_steps_end; s++)
        if (all_steps & BIT(s->step))
            memcpy(text + text_offset(s->address), nop, sizeof(nop));
    if (c->guarded)
        branch_put_jump(&t, text_offset((uint64_t)vmx_run), text_offset((uint64_t)vmx_run_guarded));
}

static void change_alone(void *ctx)
{
    struct change *c = ctx;
    int error = space_change_text(change_text, c);

    if (error < 0)
        c->error = error;
}

/* --- each processor --- */

static void set_up(void)
{
    const struct vmx_speculation *s = &vmx_this_cpu()->speculation;
    uint64_t tsx;

    /* Firmware may have left anything there. */
    if (s->cpu.features & FEATURE_IBRS)
        wrmsr(MSR_SPEC_CTRL, s->chosen.spec_ctrl);
    if (s->chosen.steps & STEP(TSX_OFF) && rdmsr_safe(MSR_TSX_CTRL, &tsx))
        (void)wrmsr_safe(MSR_TSX_CTRL, tsx | TSX_CTRL_OFF);
}

static void each(void *ctx)
{
    cpu_forget_all();
    if (vmx_this_cpu())
        set_up();
}

int speculation_begin(bool off, uint32_t forced)
{
    int result = choose(off, forced);
    struct change change = {.guarded = all_steps & ROAD};

    choose_for_guests();
    change.guarded |= spec_guest.spec_ctrl != 0;
    if (!all_steps && !change.guarded)
        return result;
    smp_hold(change_alone, each, &change);
    if (change.error)
        panic("the microkernel's text could not be patched against speculation: error %d",
              -change.error);
    return result;
}

/* --- vCPUs --- */

void speculation_guard(struct vmx_vcpu *v)
{
    const struct mitigations *m = &v->cpu->speculation.chosen;

    v->host_spec_ctrl = m->spec_ctrl;
    v->spec_switch = m->steps & STEP(IBRS) ? 2 : v->spec_passed;
    v->guarded = v->spec_switch || m->steps & ROAD;
}

bool speculation_parts(void)
{
    return all_steps & STEP(IBPB);
}

/* Of what another guest has taught: where branches go, and where returns do. */
void speculation_part(uint64_t domain)
{
    struct vmx_cpu *cpu = vmx_this_cpu();

    if (cpu->domain == domain)
        return;
    cpu->domain = domain;
    if (!(cpu->speculation.chosen.steps & STEP(IBPB)))
        return;
    wrmsr(MSR_PRED_CMD, PRED_CMD_IBPB);
    vmx_fill_returns();
}

/* --- who asks --- */

static bool same_kind(const struct vmx_speculation *a, const struct vmx_speculation *b)
{
    return a->cpu.family == b->cpu.family && a->cpu.model == b->cpu.model &&
           a->cpu.stepping == b->cpu.stepping && a->cpu.small_core == b->cpu.small_core &&
           a->chosen.steps == b->chosen.steps && a->chosen.open == b->chosen.open;
}

bool speculation_next_kind(unsigned *n, struct speculation_kind *kind)
{
    struct vmx_speculation *s, *other;

    while ((s = next(n))) {
        bool first = true;

        *kind = (struct speculation_kind){s, 0};
        for (unsigned i = 0; (other = next(&i));) {
            first &= i >= *n || !same_kind(other, s);
            kind->count += same_kind(other, s);
        }
        if (first)
            return true;
    }
    return false;
}

bool speculation_text(char *text, size_t size, const struct speculation_kind *kind, unsigned line)
{
    const struct vmx_speculation *s = kind->of;
    char list[LINE];

    if (line > 1 || (line == 1 && !s->chosen.open))
        return false;
    if (line == 1) {
        openings_text(list, sizeof(list), s->chosen.open);
        format(text, size, "speculation: left open: %s", list);
        return true;
    }
    mitigations_text(list, sizeof(list), s->chosen.steps);
    format(text, size, "speculation: %u processor%s %u.%u.%u%s: %s%s", kind->count,
           kind->count == 1 ? "" : "s", s->cpu.family, s->cpu.model, s->cpu.stepping,
           s->cpu.emulated     ? " (emulated)"
           : s->cpu.small_core ? " (small)"
                               : "",
           list, s->missing ? "; what they need is switched off (mitigations = off)" : "");
    return true;
}

void speculation_log(void)
{
    char text[LINE];
    struct speculation_kind kind;

    for (unsigned n = 0; speculation_next_kind(&n, &kind);)
        for (unsigned line = 0; speculation_text(text, sizeof(text), &kind, line); line++)
            log_info("%s", text);
}
