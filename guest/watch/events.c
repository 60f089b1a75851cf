/* What exits because somebody watches: matched with the VM's watches, told, and carried on with. */
#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "guest/cpu/events.h"
#include "guest/cpu/exit.h"
#include "guest/run/run.h"
#include "guest/watch/watch.h"
#include "vmx/watch.h"

/* Lines on the log: so many at once, and so many more each second, of one VM. */
#define LINES_AT_ONCE    100
#define LINES_PER_SECOND 20
#define LINE             160
/* Without a step: how long a page stays open at most. */
#define OPEN_TICKS 2000

#define MSR_BITMAP_HIGH  0x400
#define MSR_BITMAP_WRITE 0x800

#define CR_EVENTS    (BIT(WATCH_CR0) | BIT(WATCH_CR3) | BIT(WATCH_CR4))
#define TABLE_EVENTS (BIT(WATCH_GDTR) | BIT(WATCH_IDTR) | BIT(WATCH_LDTR) | BIT(WATCH_TR))

/* --- telling --- */

static bool may_say(struct vcpu *v, const struct watch_event *e)
{
    struct watch *w = &v->vm->watches->item[e->number];

    if (watch_limit_pass(&v->vm->watches->limit, rdtsc(), tsc_hz / LINES_PER_SECOND,
                         LINES_AT_ONCE)) {
        __atomic_add_fetch(&w->said, 1, __ATOMIC_RELAXED);
        return true;
    }
    __atomic_add_fetch(&w->lost, 1, __ATOMIC_RELAXED);
    return false;
}

void watch_say(struct vcpu *v, const struct watch_event *e, const char *fmt, ...)
{
    char line[LINE];
    va_list args;

    if (!may_say(v, e))
        return;
    va_start(args, fmt);
    vformat(line, sizeof(line), fmt, args);
    va_end(args);
    log_info("%s: watch %u: %s", v->vm->name, e->number, line);
}

/* A sentence's beginning: what happens where. */
static void describe(const struct watch_event *e, char *text)
{
    static const char *const access[] = {"read of", "write to", "execution at"};
    char linear[32] = "";

    switch (e->kind) {
    case WATCH_READ:
    case WATCH_WRITE:
    case WATCH_EXECUTE:
        if (e->linear != UINT64_MAX)
            format(linear, sizeof(linear), " (linear %lx)", e->linear);
        format(text, LINE, "%s phys:%lx%s%s", access[e->kind], e->gpa, linear,
               e->by_walk     ? " by a walk of page tables"
               : e->by_corbel ? " by Corbel for the guest"
                              : "");
        break;
    case WATCH_MSR:
        format(text, LINE, "MSR %x is set to %lx", e->msr, e->value);
        break;
    case WATCH_CR0:
    case WATCH_CR3:
    case WATCH_CR4:
        format(text, LINE, "%s is set to %lx", watch_kind_name(e->kind), e->value);
        break;
    case WATCH_GDTR:
    case WATCH_IDTR:
        format(text, LINE, "%s was set to base %lx limit %x", watch_kind_name(e->kind), e->value,
               e->limit);
        break;
    case WATCH_LDTR:
    case WATCH_TR:
        format(text, LINE, "%s was set to %x, base %lx", watch_kind_name(e->kind), e->limit,
               e->value);
        break;
    default:
        format(text, LINE, "system call %lu", e->value);
    }
}

static void say_event(struct vcpu *v, const struct watch_event *e, bool pauses)
{
    char text[LINE];

    describe(e, text);
    if (pauses)
        log_info("%s: watch %u: %s, rip %lx, vcpu %u: the VM is paused; resume lets it go on",
                 v->vm->name, e->number, text, e->rip, v->id);
    else
        watch_say(v, e, "%s, rip %lx, vcpu %u", text, e->rip, v->id);
}

/* --- matching --- */

static bool matches(const struct watch *w, const struct watch_event *e, uint32_t kinds, size_t size)
{
    if (!__atomic_load_n(&w->used, __ATOMIC_ACQUIRE) || !(kinds & BIT(w->spec.kind)))
        return false;
    if (w->spec.kind == WATCH_MSR)
        return w->spec.msr == e->msr;
    return !watch_is_memory(w->spec.kind) ||
           (e->gpa < w->gpa + w->spec.length && w->gpa < e->gpa + size);
}

static bool one(struct vcpu *v, struct watch *w, struct watch_event *e)
{
    e->kind = w->spec.kind;
    e->number = (unsigned)(w - v->vm->watches->item);
    e->parameter = w->spec.parameter;
    e->memory = &v->watch.memory[e->number];
    __atomic_add_fetch(&w->hits, 1, __ATOMIC_RELAXED);
    switch (w->spec.policy) {
    case WATCH_LOG:
        say_event(v, e, false);
        return false;
    case WATCH_PAUSE:
        say_event(v, e, true);
        return true;
    case WATCH_CALL:
        if (w->spec.handler->run(v, e) == WATCH_GO_ON)
            return false;
        say_event(v, e, true);
        return true;
    default:
        return false;
    }
}

/*
 * Tell all who want to know of an instruction that does these kinds of things at once; size is that
 * of an access to memory, what tells one instruction at a RIP from another. Whether the VM pauses:
 * then the instruction comes again, and passes.
 */
static bool announce(struct vcpu *v, struct watch_event *e, uint32_t kinds, size_t size,
                     uint64_t what)
{
    struct watch_passed *p = &v->watch.passed;
    bool pause = false;

    if (p->valid && p->kinds == kinds && p->rip == e->rip && p->what == what) {
        p->valid = false;
        return false;
    }
    for (unsigned i = 0; i < WATCHES_MAX; i++)
        if (matches(&v->vm->watches->item[i], e, kinds, size))
            pause |= one(v, &v->vm->watches->item[i], e);
    if (pause) {
        *p = (struct watch_passed){.valid = true, .kinds = kinds, .rip = e->rip, .what = what};
        run_leave(&v->vm->tasks);
    }
    return pause;
}

/* --- before a stay in the guest --- */

/* The window itself stays for the next time: it is the same page most often. */
static void close_window(struct vcpu *v)
{
    v->watch.until_exit = false;
    if (v->watch.open)
        vmx_use_ept(vcpu_ept_pointer(v));
    v->watch.open = false;
}

static void forget_window(struct watch_vcpu *w)
{
    ept_window_close(&w->window);
    w->window_page = WATCH_NO_PAGE;
}

/* Whatever is open for an instruction is closed: it comes again, and has been told. */
static void cancel(struct vcpu *v)
{
    step_end(v, STEP_WATCH);
    if (v->watch.open)
        v->watch.passed = v->watch.opened;
    close_window(v);
    forget_window(&v->watch);
    if (v->watch.tables_open)
        vmx_watch_descriptor_tables(&v->hw, true);
    v->watch.tables_open = false;
}

void watch_reset(struct vcpu *v)
{
    if (!v->vm->watches)
        return;
    cancel(v);
    v->watch.passed.valid = false;
    memset(v->watch.memory, 0, sizeof(v->watch.memory));
}

static void intercept_msr(uint8_t *bitmap, uint32_t msr)
{
    if ((msr & ~0x1fffu) == 0xc0000000)
        bitmap += MSR_BITMAP_HIGH;
    else if (msr > 0x1fff)
        return; /* exits always */
    bitmap[(msr & 0x1fff) / 8] |= (uint8_t)BIT(msr % 8);
}

void watch_msr_bitmap(struct vcpu *v)
{
    const struct watch_set *set = v->vm->watches;
    uint8_t *bitmap = phys_to_virt(v->msr_bitmap);

    for (unsigned i = 0; i < WATCHES_MAX; i++)
        if (__atomic_load_n(&set->item[i].used, __ATOMIC_ACQUIRE) &&
            set->item[i].spec.kind == WATCH_MSR)
            intercept_msr(bitmap + MSR_BITMAP_WRITE, set->item[i].spec.msr);
    if (set->needs & BIT(WATCH_SYSCALL))
        intercept_msr(bitmap, MSR_EFER); /* whose SCE is not what the guest has set */
}

void watch_arm(struct vcpu *v)
{
    const struct watch_set *set = v->vm->watches;
    struct watch_vcpu *w = &v->watch;
    unsigned revision = __atomic_load_n(&set->revision, __ATOMIC_ACQUIRE);
    uint32_t needs = set->needs;

    if (w->open && rights_outdated(&v->vm->rights, &w->window))
        cancel(v);
    if (w->open) /* perhaps on another processor than before */
        vmx_flush_eptp(ept_window_pointer(&w->window, &v->vm->rights.ept));
    if (w->revision == revision)
        return;
    cancel(v);
    w->revision = revision;
    w->needs = needs;
    w->undefined = needs & BIT(WATCH_SYSCALL);
    vmx_watch_cr(&v->hw, 0, needs & BIT(WATCH_CR0));
    vmx_watch_cr(&v->hw, 3, needs & BIT(WATCH_CR3));
    vmx_watch_cr(&v->hw, 4, needs & BIT(WATCH_CR4));
    vmx_watch_descriptor_tables(&v->hw, needs & TABLE_EVENTS);
    vmx_watch_syscall(&v->hw, needs & BIT(WATCH_SYSCALL));
    step_intercept(v);
    msr_bitmap_build(phys_to_virt(v->msr_bitmap), &v->msr_env.features);
    watch_msr_bitmap(v);
}

/* --- registers --- */

static bool on_cr_access(struct vcpu *v)
{
    struct watch_event e = {.kind = WATCH_CR0, .rip = vmx_rip()};
    struct vm_exit x;

    vmx_decode_exit(&x, NEED_QUALIFICATION);
    uint64_t q = x.qualification;
    unsigned cr = q & 0xf;
    switch (q >> 4 & 3) {
    case 0: /* MOV to CR */
        e.kind = cr == 0 ? WATCH_CR0 : cr == 3 ? WATCH_CR3 : WATCH_CR4;
        e.value = vmx_get_gpr(&v->hw, (enum gpr)(q >> 8 & 0xf));
        if (cr == 8)
            return false;
        break;
    case 2: /* CLTS */
        e.value = vmx_get_cr0() & ~(uint64_t)CR0_TS;
        break;
    case 3: /* LMSW: bits 3:0, of which PE can only be set */
        e.value = (vmx_get_cr0() & ~0xeULL) | (q >> 16 & 0xf);
        break;
    default:
        return false;
    }
    return announce(v, &e, (uint32_t)BIT(e.kind), 0, e.value);
}

static bool on_wrmsr(struct vcpu *v)
{
    struct watch_event e = {.kind = WATCH_MSR,
                            .rip = vmx_rip(),
                            .msr = (uint32_t)v->hw.gpr[RCX],
                            .value = v->hw.gpr[RDX] << 32 | (uint32_t)v->hw.gpr[RAX]};

    return announce(v, &e, BIT(WATCH_MSR), 0, e.msr);
}

bool watch_exit(struct vcpu *v, uint64_t reason)
{
    struct vmx_event cut; /* an event's delivery that goes on keeps what is open for it */

    if (UNLIKELY(v->watch.until_exit) &&
        !(reason == EXIT_EPT_VIOLATION && vmx_interrupted_event(&cut)))
        close_window(v);
    if (reason == EXIT_CR_ACCESS && (v->watch.needs & CR_EVENTS))
        return on_cr_access(v);
    if (reason == EXIT_WRMSR && (v->watch.needs & BIT(WATCH_MSR)))
        return on_wrmsr(v);
    return false;
}

/* --- descriptor tables: told when the instruction has been carried out --- */

enum exit_result watch_descriptor_table(struct vcpu *v, struct vm_exit *e)
{
    static const enum watch_kind tables[] = {WATCH_GDTR, WATCH_IDTR, WATCH_LDTR, WATCH_TR};
    bool selectors = e->reason == EXIT_LDTR_TR;

    /* Bits 29:28 of the instruction information: store first, store second, load first, ... */
    vmx_decode_exit(e, NEED_INSTRUCTION);
    v->watch.table = tables[(selectors ? 2 : 0) + (e->instruction >> 28 & 1)];
    v->watch.table_loaded = e->instruction >> 29 & 1;
    v->watch.tables_open = true;
    v->watch.table_end = vmx_rip() + vmx_exit_instruction_length();
    vmx_watch_descriptor_tables(&v->hw, false);
    vmx_set_resume_flag(); /* it comes again, and its breakpoint does not */
    step_begin(v, STEP_WATCH);
    return EXIT_RESUME;
}

static void tell_table(struct vcpu *v)
{
    struct watch_event e = {.kind = v->watch.table, .rip = v->step.rip};
    struct vmx_segment s;

    if (e.kind == WATCH_GDTR || e.kind == WATCH_IDTR) {
        struct vmx_table t = vmx_descriptor_table(e.kind == WATCH_IDTR);
        e.value = t.base;
        e.limit = t.limit;
    } else {
        vmx_get_segment(e.kind == WATCH_LDTR ? SEG_LDTR : SEG_TR, &s);
        e.value = s.base;
        e.limit = s.selector;
    }
    if (announce(v, &e, (uint32_t)BIT(e.kind), 0, 0))
        v->watch.passed.valid = false; /* it has been carried out, and does not come again */
}

/* --- memory --- */

static uint32_t kinds_of(uint64_t qualification)
{
    return (qualification & EPT_VIOLATION_READ ? (uint32_t)BIT(WATCH_READ) : 0) |
           (qualification & EPT_VIOLATION_WRITE ? (uint32_t)BIT(WATCH_WRITE) : 0) |
           (qualification & EPT_VIOLATION_FETCH ? (uint32_t)BIT(WATCH_EXECUTE) : 0);
}

/* A window in which the page is open, and what was open already for this instruction. */
static int prepare_window(struct vcpu *v, uint64_t page)
{
    struct watch_vcpu *w = &v->watch;
    struct rights *rights = &v->vm->rights;
    bool old = rights_outdated(rights, &w->window);
    int result;

    if (!w->open && !old && w->window_page == page && w->window_cpu == v->hw.cpu)
        return 0;
    if (!w->open || old)
        forget_window(w);
    w->window_page = w->window.used ? WATCH_NO_PAGE : page;
    w->window_cpu = v->hw.cpu;
    result = rights_open(rights, &w->window, page, REASONS_WATCH);
    if (result == 0 && UNLIKELY(v->hw.own_ept))
        result = vcpu_put_apic(v, &w->window);
    if (result == 0)
        vmx_flush_eptp(ept_window_pointer(&w->window, &rights->ept));
    else
        forget_window(w);
    return result;
}

/* Let the vCPU have the page for its instruction. */
static void open_page(struct vcpu *v, const struct vm_exit *e)
{
    struct watch_vcpu *w = &v->watch;
    struct vm *vm = v->vm;

    if (prepare_window(v, ALIGN_DOWN(e->gpa, PAGE_SIZE)) < 0) {
        close_window(v);
        vm_kill(v,
                "no memory left to open guest-physical %lx, which is watched, for an instruction",
                e->gpa);
        return;
    }
    w->opened = (struct watch_passed){true, kinds_of(e->qualification), vmx_rip(), e->gpa};
    vmx_use_ept(ept_window_pointer(&w->window, &vm->rights.ept));
    w->open = true;
    if (!(e->interrupted.info & INTR_VALID)) {
        step_begin(v, STEP_WATCH);
    } else if (!v->step.users) { /* an event's delivery is no instruction that could be stepped */
        w->until_exit = true;
        v->next_exit = MIN(v->next_exit, rdtsc() + OPEN_TICKS);
    }
}

bool watch_ept_violation(struct vcpu *v, const struct vm_exit *e)
{
    struct watch_event event = {.rip = vmx_rip(), .gpa = e->gpa, .linear = UINT64_MAX};
    struct vm_exit x;

    /* Rights and kinds of access have the same order. */
    if (!rights_blames(&v->vm->rights, e->gpa, e->qualification & EPT_RWX, REASONS_WATCH))
        return false;
    if (e->qualification & EPT_VIOLATION_GLA_VALID) {
        vmx_decode_exit(&x, NEED_GLA);
        event.linear = x.gla;
    }
    event.by_walk = (e->qualification & EPT_VIOLATION_GLA_VALID) &&
                    !(e->qualification & EPT_VIOLATION_GLA_FINAL);
    if (!announce(v, &event, kinds_of(e->qualification), 1, e->gpa))
        open_page(v, e);
    return true;
}

void watch_touched(struct vcpu *v, uint64_t linear, uint64_t gpa, size_t size, bool write)
{
    struct watch_event e = {.kind = write ? WATCH_WRITE : WATCH_READ,
                            .by_corbel = true,
                            .rip = vmx_rip(),
                            .gpa = gpa,
                            .linear = linear};

    if (!(v->watch.needs & BIT(e.kind)))
        return;
    if (announce(v, &e, (uint32_t)BIT(e.kind), size, gpa))
        v->watch.passed.valid = false; /* it is being carried out */
}

/* --- SYSCALL --- */

bool watch_undefined(struct vcpu *v)
{
    struct watch_event e = {.kind = WATCH_SYSCALL, .rip = vmx_rip(), .value = v->hw.gpr[RAX]};
    enum syscall_kind kind;
    unsigned length;

    if (!(v->watch.needs & BIT(WATCH_SYSCALL)))
        return false;
    kind = syscall_at_rip(v, &length);
    if (kind == SYSCALL_NONE)
        return false;
    step_fault(v); /* it has been the instruction, and is carried out here */
    if (kind == SYSCALL_CALL && announce(v, &e, BIT(WATCH_SYSCALL), 0, e.value))
        return true;
    syscall_carry_out(v, kind, length);
    return true;
}

/* --- the end of a step --- */

void watch_step_done(struct vcpu *v, bool carried_out)
{
    struct watch_vcpu *w = &v->watch;
    /* The monitor trap flag ends the step also behind the delivery of a fault. */
    bool tell = carried_out && w->tables_open && w->table_loaded && vmx_rip() == w->table_end;

    close_window(v);
    if (w->tables_open)
        vmx_watch_descriptor_tables(&v->hw, w->needs & TABLE_EVENTS);
    w->tables_open = false;
    if (tell)
        tell_table(v);
}
