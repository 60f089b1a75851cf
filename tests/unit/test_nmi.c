/* links: guest/cpu/events.c guest/cpu/step.c vmx/event.c vmx/debug.c vmx/watch.c vmx/audit*.c vmx/fields.c vmx/caps.c vmx/controls.c vmx/exit_names.c arch/x86/spinlock.c arch/x86/lib/format.c */
/*
 * Events on their way into the guest, against a model of what the SDM lets a processor do: it exits
 * wherever that is not forbidden. Each entry passes the auditor, no two exits in a row change
 * nothing, and two NMIs are two.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/cpu_files.h"
#include "tests/unit/nmi_stubs.h"

#define SHADOWS (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS)

enum operation { END, NOP, SET_IF, CLEAR_IF, LOAD_SS, SKIPPED, FAULTING, RETURN };
static const char insn_name[] = ".ntcmsfr";

enum { MAIN, NMI, INTERRUPT, FAULT, ROUTINES };

#define LENGTH 3  /* of the program whose every form is run */
#define TAIL   12 /* instructions with interrupts on, behind it */
#define TIMER  3  /* instructions until the exit that Corbel has asked for by next_exit */

struct scene {
    uint8_t program[LENGTH + TAIL + 2];
    const uint8_t *nmi_handler;
    bool interrupts;     /* RFLAGS.IF at the beginning */
    bool eager;          /* exits by NMI-window exiting under STI blocking */
    bool interrupt;      /* one is pending */
    unsigned arrival[3]; /* NMIs: before that instruction, counted as they are carried out */
    unsigned nmis;       /* how many of them */
    unsigned step;       /* a debugger steps that instruction; ~0u: none */
};

static struct vm vm;
static struct vcpu vcpu, *const v = &vcpu;
static struct vmx_caps caps;
static struct vmx_controls controls;
static const struct scene *scene;

static struct frame {
    uint8_t routine, ip;
    uint64_t rflags;
} frames[8];
static unsigned depth, carried_out, arrived, timer, idle_exits;
static unsigned nmis_taken, taken_at, interrupts_taken, nested;
static bool stepped;

static const uint8_t plain_handler[] = {RETURN};
static const uint8_t long_handler[] = {NOP, NOP, NOP, RETURN};
static const uint8_t open_handler[] = {SET_IF, RETURN};
static const uint8_t shadow_handler[] = {LOAD_SS, SKIPPED, RETURN};

static void broken(const char *what, const char *detail)
{
    char program[sizeof(scene->program)] = "";

    for (unsigned i = 0; i < LENGTH; i++)
        program[i] = insn_name[scene->program[i]];
    fail_msg("%s: program %s, if %d, %s, NMIs before %u %u %u, handler of %u, step %d: %s", what,
             program, scene->interrupts, scene->eager ? "eager" : "lazy", scene->arrival[0],
             scene->arrival[1], scene->arrival[2], scene->nmi_handler[0], (int)scene->step, detail);
}

static enum operation next_insn(void)
{
    static const uint8_t other_handler[] = {NOP, RETURN};
    const struct frame *f = &frames[depth];

    return (enum operation)(f->routine == MAIN  ? scene->program
                            : f->routine == NMI ? scene->nmi_handler
                                                : other_handler)[f->ip];
}

/* --- the processor --- */

static void deliver(uint8_t routine)
{
    struct frame *f = &frames[depth];

    if (depth + 1 == ARRAY_SIZE(frames))
        broken("events nest without an end", "");
    f->rflags = fields[VMCS_GUEST_RFLAGS];
    frames[++depth] = (struct frame){.routine = routine};
    fields[VMCS_GUEST_RFLAGS] &= ~(uint64_t)RFLAGS_IF;
    idle_exits = 0;
}

static uint64_t read_field(void *ctx, enum vmcs_field field)
{
    return fields[field];
}

static void report(void *ctx, const char *sentence)
{
    broken("an entry that ends or hangs the VM", sentence);
}

static void enter(void)
{
    struct vmcs_audit a = {.caps = &caps, .read = read_field, .report = report};
    uint64_t info = fields[VMCS_ENTRY_INTR_INFO];

    audit_guest(&a);
    audit_progress(&a);
    if (!(info & INTR_VALID))
        return;
    fields[VMCS_ENTRY_INTR_INFO] = 0;
    fields[VMCS_GUEST_INTERRUPTIBILITY] &= ~(uint64_t)SHADOWS;
    switch (INTR_TYPE(info)) {
    case INTR_NMI:
        for (unsigned i = 0; i <= depth; i++)
            nested += frames[i].routine == NMI;
        fields[VMCS_GUEST_INTERRUPTIBILITY] |= BLOCKING_BY_NMI;
        nmis_taken++;
        taken_at = carried_out;
        deliver(NMI);
        break;
    case INTR_EXTERNAL:
        interrupts_taken++;
        deliver(INTERRUPT);
        break;
    default:
        deliver(FAULT);
    }
}

/* Carry one instruction out; false: it exits. */
static bool carry_out(enum operation insn)
{
    uint64_t *rflags = &fields[VMCS_GUEST_RFLAGS], *blocking = &fields[VMCS_GUEST_INTERRUPTIBILITY];
    uint64_t shadow = 0;

    if (insn == SKIPPED || insn == FAULTING)
        return false;
    switch (insn) {
    case SET_IF:
        shadow = *rflags & RFLAGS_IF ? 0 : BLOCKING_BY_STI;
        *rflags |= RFLAGS_IF;
        break;
    case CLEAR_IF:
        *rflags &= ~(uint64_t)RFLAGS_IF;
        break;
    case LOAD_SS:
        shadow = BLOCKING_BY_MOV_SS;
        break;
    default:
        break;
    }
    *blocking = (*blocking & ~(uint64_t)SHADOWS) | shadow;
    if (insn == RETURN) {
        *rflags = frames[--depth].rflags;
        *blocking &= ~(uint64_t)BLOCKING_BY_NMI;
    } else {
        frames[depth].ip++;
    }
    return true;
}

static bool arrives(void)
{
    return arrived < scene->nmis && carried_out >= scene->arrival[arrived];
}

/* From an entry to the next exit. */
static enum exit_reason run(void)
{
    bool one = false;

    enter();
    for (;;) {
        uint64_t primary = fields[VMCS_PRIMARY_CONTROLS],
                 blocking = fields[VMCS_GUEST_INTERRUPTIBILITY];
        if (primary & CPU_MONITOR_TRAP_FLAG && one)
            return EXIT_MONITOR_TRAP;
        if (arrives() || (carried_out == scene->step && !stepped))
            return EXIT_EXTERNAL_INTERRUPT;
        if (v->next_exit != UINT64_MAX && timer-- == 0)
            return EXIT_PREEMPTION_TIMER;
        if (primary & CPU_NMI_WINDOW && !(blocking & (BLOCKING_BY_NMI | BLOCKING_BY_MOV_SS)) &&
            (scene->eager || !(blocking & BLOCKING_BY_STI)))
            return EXIT_NMI_WINDOW;
        if (primary & CPU_INTERRUPT_WINDOW && fields[VMCS_GUEST_RFLAGS] & RFLAGS_IF &&
            !(blocking & SHADOWS))
            return EXIT_INTERRUPT_WINDOW;
        enum operation insn = next_insn();
        if (insn == END)
            return EXIT_HLT;
        carried_out++;
        idle_exits = 0;
        if (!carry_out(insn))
            return EXIT_CPUID;
        one = true;
    }
}

/* --- Corbel --- */

static void handle(enum exit_reason reason)
{
    unsigned before = no_progress;

    v->exit.reason = reason;
    switch (reason) {
    case EXIT_EXTERNAL_INTERRUPT:
        if (carried_out == scene->step && !stepped) {
            stepped = true;
            step_begin(v, STEP_DEBUGGER);
        }
        while (arrives()) {
            arrived++;
            vcpu_nmi(v);
        }
        break;
    case EXIT_MONITOR_TRAP:
        exit_monitor_trap(v, NULL);
        break;
    case EXIT_CPUID:
        if (next_insn() == FAULTING)
            vcpu_exception(v, VECTOR_UD, 0);
        else
            vmx_end_shadow();
        frames[depth].ip++;
        break;
    default:
        v->next_exit = UINT64_MAX;
        vcpu_deliver_events(v);
    }
    while (v->task.requests) {
        v->task.requests = 0;
        vcpu_deliver_events(v);
    }
    if (no_progress == before)
        no_progress = 0;
    timer = TIMER;
}

static void play(const struct scene *s)
{
    scene = s;
    memset(v, 0, sizeof(*v));
    v->vm = &vm;
    v->next_exit = UINT64_MAX;
    v->lapic.irr_words = 1;
    v->hw.primary = controls.primary;
    fields[VMCS_PRIMARY_CONTROLS] = controls.primary;
    fields[VMCS_GUEST_INTERRUPTIBILITY] = fields[VMCS_ENTRY_INTR_INFO] = 0;
    fields[VMCS_GUEST_RFLAGS] = RFLAGS_ONE | (s->interrupts ? RFLAGS_IF : 0);
    pending_vector = s->interrupt ? 0x30 : -1;
    vcpu_ask(v, REQUEST_EVENT);
    memset(frames, 0, sizeof(frames));
    depth = carried_out = arrived = idle_exits = nmis_taken = interrupts_taken = nested = 0;
    stepped = s->step == ~0u;
    enum exit_reason reason = EXIT_PREEMPTION_TIMER;
    while (reason != EXIT_HLT) {
        fields[VMCS_EXIT_REASON] = reason;
        handle(reason);
        reason = run();
        /* What Corbel knows of them is nothing compared with what ends a VM. */
        assert_true(no_progress < 8);
        if (++idle_exits > 4)
            broken("exits without an end", reason == EXIT_NMI_WINDOW ? "NMI window" : "another");
    }
    if (nested)
        broken("an NMI inside an NMI's handler", "");
    if (interrupts_taken != s->interrupt)
        broken("the interrupt", "");
}

static void use_cpu(void)
{
    static struct cpu cpu;

    cpu_load(&cpu, "corei7_skylake_x_bochs30"); /* it has the monitor trap flag */
    cpu_probe(&cpu, &caps);
    assert_int_equal(vmx_choose_controls(&caps, 0, &controls, &vmx_features, NULL, NULL), 0);
    vmx_features.vid = false;
    good_state(&controls, LONG);
}

static void complete(struct scene *s)
{
    uint8_t *tail = s->program + LENGTH;

    *tail++ = SET_IF;
    memset(tail, NOP, TAIL);
    tail[TAIL] = END;
}

/* Program number n; false past the last. */
static bool program(struct scene *s, unsigned n)
{
    for (unsigned i = 0; i < LENGTH; i++, n /= RETURN - NOP)
        s->program[i] = (uint8_t)(NOP + n % (RETURN - NOP));
    complete(s);
    return n == 0;
}

static void play_all(struct scene *s, unsigned expected)
{
    for (unsigned i = 0; i < 8; i++) {
        s->interrupts = i & 1;
        s->eager = i & 2;
        s->interrupt = i & 4;
        play(s);
        if (nmis_taken != expected)
            broken("NMIs", nmis_taken < expected ? "too few" : "too many");
    }
}

/* Two of them, wherever they arrive: while it is not running, both at once, in a shadow, in the
 * handler of the first. */
static void two_are_two(void **state)
{
    static const uint8_t *const handlers[] = {plain_handler, open_handler, shadow_handler};
    struct scene s = {.nmis = 2, .step = ~0u};

    use_cpu();
    for (unsigned n = 0; program(&s, n); n++)
        for (unsigned h = 0; h < ARRAY_SIZE(handlers); h++)
            for (unsigned i = 0; i < 6; i++)
                for (unsigned j = i; j < 6; j++) {
                    s.nmi_handler = handlers[h];
                    s.arrival[0] = i;
                    s.arrival[1] = j;
                    play_all(&s, 2);
                }
}

/* While the first is in its handler, one is kept. */
static void one_is_latched(void **state)
{
    struct scene s = {.nmis = 3, .step = ~0u, .nmi_handler = long_handler};

    use_cpu();
    memset(s.program, NOP, LENGTH);
    complete(&s);
    for (unsigned i = 0; i < 3; i++)
        for (unsigned j = 1; j <= 3; j++)
            for (unsigned k = j; k <= 3; k++) {
                s.arrival[0] = i;
                s.arrival[1] = i + j;
                s.arrival[2] = i + k;
                play_all(&s, 2);
            }
    /* nor are there more than two of which none is in service */
    memset(s.arrival, 0, sizeof(s.arrival));
    play_all(&s, 2);
}

/* An NMI comes while interrupts are held back for one instruction, or is waiting when that begins.
 */
static void while_stepping(void **state)
{
    struct scene s = {.nmis = 2, .nmi_handler = shadow_handler};

    use_cpu();
    for (unsigned n = 0; program(&s, n); n++)
        for (s.step = 0; s.step < 6; s.step++)
            for (unsigned i = 0; i < 5; i++) {
                s.arrival[0] = i;
                s.arrival[1] = i + 1;
                play_all(&s, 2);
            }
}

/* The instruction behind STI clears IF: the interrupt window stays shut, and the NMI comes all the
 * same. */
static void shadow_that_ends_in_cli(void **state)
{
    struct scene s = {.nmis = 1,
                      .step = ~0u,
                      .nmi_handler = plain_handler,
                      .arrival = {1},
                      .program = {SET_IF, CLEAR_IF, NOP, NOP, NOP, NOP, NOP, NOP, END}};

    use_cpu();
    s.eager = true;
    play(&s);
    assert_int_equal(nmis_taken, 1);
}

/* Another leaves it set: the NMI comes at the shadow's end, and not by the timer. */
static void shadow_that_ends(void **state)
{
    struct scene s = {.nmis = 1, .step = ~0u, .nmi_handler = plain_handler, .arrival = {1}};

    use_cpu();
    memset(s.program, NOP, LENGTH);
    complete(&s);
    s.program[0] = SET_IF;
    for (s.eager = false;; s.eager = true) {
        play(&s);
        assert_int_equal(nmis_taken, 1);
        assert_int_equal(taken_at, 2);
        if (s.eager)
            break;
    }
}

/* The first has been injected, and more arrive before the entry. */
static void before_its_entry(void **state)
{
    struct scene s = {.step = ~0u, .nmi_handler = plain_handler};

    use_cpu();
    complete(&s);
    play(&s);
    for (unsigned i = 0; i < 3; i++) {
        vcpu_nmi(v);
        vcpu_deliver_events(v);
    }
    assert_int_equal(fields[VMCS_ENTRY_INTR_INFO], INTR_VALID | INTR_NMI << 8 | VECTOR_NMI);
    assert_int_equal(v->nmis, 1);
}

static void arrivals(void **state)
{
    uint8_t waiting = 0;

    nmi_arrive(&waiting);
    assert_int_equal(waiting, 1);
    nmi_arrive(&waiting);
    nmi_arrive(&waiting);
    assert_int_equal(waiting, 2);
    nmi_keep_one(&waiting);
    nmi_keep_one(&waiting);
    assert_int_equal(waiting, 1);
    nmi_take(&waiting);
    nmi_keep_one(&waiting);
    assert_int_equal(waiting, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrivals),
        cmocka_unit_test(two_are_two),
        cmocka_unit_test(one_is_latched),
        cmocka_unit_test(while_stepping),
        cmocka_unit_test(shadow_that_ends_in_cli),
        cmocka_unit_test(before_its_entry),
        cmocka_unit_test(shadow_that_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
