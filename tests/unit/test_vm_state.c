/* links: guest/vm/vm_state.c guest/vm/vm_stream.c guest/vm/reload.c guest/moments/stream.c arch/x86/lib/crc32c.c guest/cpu/events.c guest/cpu/msr.c guest/cpu/msr_policy.c guest/cpu/pv_state.c guest/board/lapic.c guest/board/lapic_ipi.c guest/board/lapic_irq.c guest/board/lapic_registers.c guest/board/lapic_timer.c guest/board/state.c vmx/event.c vmx/fields.c vmx/caps.c vmx/controls.c arch/x86/lib/format.c */
/*
 * A VM of several vCPUs, saved, wiped and loaded. Every byte of a vCPU and every field of its
 * VMCS's guest-state area is random then, but for what is named here as none of the state: so what
 * is added to them and is not saved is noticed. Wiped means: replaced by other random values.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <asm/prctl.h>
#include <cmocka.h>

#include "tests/unit/vm_state_stubs.h"

#include "vmx/state.c" /* compiled here, with registers that are variables */

/* --- what is none of the state --- */

struct part {
    size_t offset, size;
};
#define PART(field)                                                                                \
    {                                                                                              \
        offsetof(struct vcpu, field), sizeof(((struct vcpu *)0)->field)                            \
    }
/* From behind one field to the next that is named: padding. */
#define GAP(field, next)                                                                           \
    {                                                                                              \
        offsetof(struct vcpu, field) + sizeof(((struct vcpu *)0)->field),                          \
            offsetof(struct vcpu, next) - offsetof(struct vcpu, field) -                           \
                sizeof(((struct vcpu *)0)->field)                                                  \
    }

/* clang-format off */
static const struct part not_saved[] = {
    /* where it is loaded, and how VMX is set up for it */
    PART(hw.host_rsp), PART(hw.launched), PART(hw.cpu), PART(hw.last_cpu), PART(hw.vmcs),
    PART(hw.msr_bitmap), PART(hw.primary), PART(hw.secondary), PART(hw.entry_controls),
    PART(hw.own_ept), PART(hw.vpid), PART(hw.watched), PART(hw.wrapped),
    PART(hw.x2apic_virtual), PART(hw.guarded), PART(hw.spec_switch), PART(hw.host_spec_ctrl), PART(hw.fpu),
    PART(tpr_shadow), PART(tpr_threshold), PART(vm), PART(board), PART(id),
    PART(lapic_page), PART(msr_bitmap), PART(lapic.board), PART(lapic.page),
    PART(lapic.posted.ndst), PART(lapic.posted.reserved),
    /* a debugger's, watches' and the trace's */
    PART(hw.cr_mask), PART(hw.watched_cr), PART(hw.syscall_watched), PART(hw.guest_sce),
    PART(hw.debug_taken), PART(hw.guest_dr), PART(debug), PART(step), PART(watch), PART(trace),
    PART(traced_vector),
    /* its loop's (what is asked of it is looked at by itself), one exit's, and statistics */
    PART(task), PART(runs), PART(next_exit), PART(timer_armed), PART(exits), PART(ticks),
    PART(exit), PART(device), PART(mov), PART(code), PART(msr.reported), PART(msr.reported_count),
    {offsetof(struct vcpu, progress), sizeof(struct vcpu) - offsetof(struct vcpu, progress)},
    /* follows from what is saved: told_... */
    PART(cpuid), PART(msr_env), PART(apic_view),
    /* what the VM is offered; statistics */
    PART(pv.offered), PART(pv.steady), PART(pv.waited), PART(pv.clocks_written), PART(pv.stolen),
    PART(pv.flushes), PART(pv.eoi_left), PART(pv.eois), PART(pv.ipis), PART(pv.kicks), PART(pv.yields),
    /* looked at by itself, since the clock is what stays */
    PART(lapic.tsc_offset),
    GAP(hw.entry_controls, hw.own_ept), GAP(hw.spec_switch, hw.shared_msr),
    GAP(hw.debug_taken, hw.guest_dr), GAP(accepts_startup, next_exit), GAP(event, vm),
    GAP(id, lapic), GAP(lapic.bsp, cpuid), GAP(msr.reported_count, msr_env),
    GAP(pv.eoi_left, pv.wall_clock),
    GAP(startup_vector, progress),
};
/* clang-format on */

/* Which bytes of it are. */
static bool is_saved[sizeof(struct vcpu)];

static void find_saved(void)
{
    memset(is_saved, true, sizeof(is_saved));
    for (unsigned i = 0; i < ARRAY_SIZE(not_saved); i++)
        memset(&is_saved[not_saved[i].offset], false, not_saved[i].size);
}

static bool vmcs_field_saved(enum vmcs_field field)
{
    switch (field) {
    case VMCS_CR0_SHADOW:
    case VMCS_CR4_SHADOW:
    case VMCS_ENTRY_INTR_INFO:
    case VMCS_ENTRY_ERROR_CODE:
    case VMCS_ENTRY_INSTRUCTION_LENGTH:
    case VMCS_EOI_EXIT_BITMAP0: /* these follow from local and I/O APICs */
    case VMCS_EOI_EXIT_BITMAP1:
    case VMCS_EOI_EXIT_BITMAP2:
    case VMCS_EOI_EXIT_BITMAP3:
        return true;
    case VMCS_LINK_POINTER:
    case VMCS_GUEST_ACTIVITY:   /* always "active" */
    case VMCS_PREEMPTION_TIMER: /* next_exit's */
    case VMCS_GUEST_PML_INDEX:
    case VMCS_GUEST_SMBASE:           /* for SMM's monitor */
    case VMCS_GUEST_PERF_GLOBAL_CTRL: /* what guests do not have */
    case VMCS_GUEST_BNDCFGS:
        return false;
    default:
        return (field >> 10 & 3) == 2;
    }
}

/* --- a random VM, in a state in which it could be --- */

static void fill_vectors(struct lapic *l, unsigned offset)
{
    for (unsigned i = 0; i < VECTOR_WORDS; i++)
        *vector_word(l, offset, i) = one_in(2) ? (uint32_t)any() & (i ? ~0u : 0xffff0000) : 0;
}

static void fill_registers(struct lapic *l)
{
    uint32_t *page = l->page;
    bool x2apic = lapic_x2apic(l);

    memset(page, 0, PAGE_SIZE);
    page[LAPIC_VERSION / 4] = (LVT_COUNT - 1) << 16 | 0x14;
    page[LAPIC_ID / 4] = x2apic ? l->id : l->id << 24;
    page[LAPIC_LDR / 4] = x2apic ? (l->id >> 4) << 16 | 1u << (l->id & 15) : (uint32_t)any() << 24;
    page[LAPIC_DFR / 4] = x2apic ? ~0u : DFR_READ_AS_ONE | (uint32_t)any() << 28;
    page[LAPIC_ICR / 4 + 1] = x2apic ? (uint32_t)any() : 0;
    page[LAPIC_ICR_HIGH / 4] = x2apic ? 0 : (uint32_t)any() << 24;
    page[LAPIC_TPR / 4] = (uint8_t)any();
    page[LAPIC_SVR / 4] = (uint32_t)any() & SVR_WRITABLE;
    page[LAPIC_ESR / 4] = (uint32_t)any() & ESR_VALID;
    page[LAPIC_ICR / 4] = (uint32_t)any() & ICR_WRITABLE;
    page[LAPIC_TDCR / 4] = (uint32_t)any() & TDCR_WRITABLE;
    for (unsigned n = 0; n < LVT_COUNT; n++) {
        uint32_t *lvt = &page[(LAPIC_LVT_TIMER + n * 16) / 4];
        *lvt = (uint32_t)any() & lapic_lvt_writable[n];
        if (!(page[LAPIC_SVR / 4] & SVR_ENABLE))
            *lvt |= LVT_MASKED;
    }
    fill_vectors(l, LAPIC_ISR);
    fill_vectors(l, LAPIC_TMR);
    fill_vectors(l, LAPIC_IRR);
}

static void fill_timer(struct lapic *l)
{
    bool armed = one_in(2);

    l->timer_mode = l->page[LAPIC_LVT_TIMER / 4] >> 17 & 3;
    l->count_shift = (uint8_t)(BUS_SHIFT + lapic_divide_shift(l->page[LAPIC_TDCR / 4]));
    l->timer_deadline = LAPIC_TIMER_OFF;
    l->tsc_deadline = 0;
    if (l->timer_mode == LAPIC_TSC_DEADLINE) {
        l->tsc_deadline = armed ? any() | 1 : 0;
        if (armed)
            l->timer_deadline = l->tsc_deadline;
    } else if (l->timer_mode <= LAPIC_PERIODIC) {
        l->page[LAPIC_TMICT / 4] = (uint32_t)any() | armed;
        if (armed)
            l->timer_deadline = any();
    }
}

static void fill_lapic(struct lapic *l, unsigned id)
{
    static const uint64_t modes[] = {0, APIC_BASE_ENABLE, APIC_BASE_ENABLE | APIC_BASE_EXTD};
    uint64_t mode = modes[any() % 3], page = one_in(2) ? LAPIC_BASE : (any() & 0x7ffffff) << 12;

    l->id = id;
    l->page = all->page[id];
    l->board = vm->board;
    l->bus_shift = BUS_SHIFT;
    l->physical_bits = 39;
    l->bsp = id == 0;
    l->base = page | mode | (one_in(2) ? APIC_BASE_BSP : 0);
    l->claimed = mode == APIC_BASE_ENABLE ? page : LAPIC_NO_PAGE;
    l->esr_pending &= ESR_VALID;
    l->lint &= LINT_PIN_VALID;
    fill_registers(l);
    fill_timer(l);
    uint64_t posted = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(l->posted.pir); i++) {
        if (one_in(2))
            l->posted.pir[i] = 0;
        if (i == 0)
            l->posted.pir[0] &= ~0xffffULL;
        posted |= l->posted.pir[i];
    }
    l->level[0] &= ~0xffffULL;
    l->posted.control = posted ? POSTED_ON : 0;
    l->virtual_delivery = vmx_features.vid && mode;
    lapic_count_words(l);
    lapic_update_ppr(l);
}

static uint64_t mtrr_types(void)
{
    static const uint8_t types[] = {0, 1, 4, 5, 6};
    uint64_t value = 0;

    for (unsigned i = 0; i < 8; i++)
        value = value << 8 | types[any() % ARRAY_SIZE(types)];
    return value;
}

static void fill_msrs(struct msr_state *m)
{
    m->umwait_control &= 0xfffffffd;
    m->mtrr_def_type = (any() & 0xc00) | (mtrr_types() & 0xff);
    for (unsigned i = 0; i < MTRR_FIXED; i++)
        m->mtrr_fixed[i] = mtrr_types();
    for (unsigned i = 0; i < 2 * MTRR_VARIABLE; i++)
        m->mtrr_variable[i] =
            (any() & 0x7ffffff) << 12 | (i & 1 ? any() & 0x800 : mtrr_types() & 0xff);
    m->misc_enable =
        BIT(11) | BIT(12) | (any() & (BIT(0) | MISC_ENABLE_LIMIT_CPUID | MISC_ENABLE_NO_XD));
}

static void fill_pv(struct pv_vcpu *pv)
{
    pv->offered = PV_CLOCK | PV_STEAL | PV_UNHALT | PV_EOI | PV_POLL;
    pv->kicked = one_in(2);
    pv->steal &= ~0x3eULL;
    pv->eoi &= ~2ULL;
    pv->poll &= 1;
    pv->wall_clock &= ~3ULL;
    pv->clock &= ~2ULL;
}

static void fill_vmcs(struct vcpu *v)
{
    static const unsigned bits[] = {16, 64, 32, 64};
    enum vmcs_field field;
    uint64_t bitmap[4] = {0};

    for (unsigned n = 0; vmcs_field_at(n, &field); n++)
        all->vmcs[v->id][field] = any() >> (64 - bits[field >> 13 & 3]);
    all->vmcs[v->id][VMCS_TSC_OFFSET] = v->lapic.tsc_offset;
    all->vmcs[v->id][VMCS_GUEST_INTR_STATUS] =
        v->virtual_delivery ? lapic_interrupt_status(&v->lapic) : 0;
    if (!vmx_features.vid) {
        for (unsigned i = 0; i < 4; i++)
            all->vmcs[v->id][VMCS_EOI_EXIT_BITMAP0 + 2 * i] = 0;
        return;
    }
    board_eoi_bitmap(vm->board, bitmap);
    lapic_eoi_bitmap(&v->lapic, bitmap);
    for (unsigned i = 0; i < 4; i++)
        all->vmcs[v->id][VMCS_EOI_EXIT_BITMAP0 + 2 * i] = bitmap[i];
}

static void fill_vcpu(unsigned id)
{
    struct vcpu *v = &all->vcpu[id];

    for (size_t i = 0; i < sizeof(*v); i++)
        ((uint8_t *)v)[i] = is_saved[i] ? (uint8_t)any() : 0;
    v->hw.fpu = all->fpu[id];
    randomize(all->fpu[id], FPU);
    v->hw.dr6 &= ~0U; /* the upper half reads 0 */
    v->hw.spec_ctrl &= spec_guest.spec_ctrl;
    v->hw.spec_passed = one_in(2);
    v->vm = vm;
    v->board = vm->board;
    v->id = id;
    v->task.on_cpu = -1;
    v->task.requests =
        (uint32_t)any() & (REQUEST_HALT | REQUEST_INIT | REQUEST_STARTUP | REQUEST_UNHALT |
                           REQUEST_LEAVE | REQUEST_RESCHEDULE | REQUEST_VIEW);
    v->halted = one_in(2);
    v->wait_for_startup = one_in(2);
    v->accepts_startup = one_in(2);
    v->nmis = (uint8_t)(any() % (NMIS_MAX + 1));
    fill_lapic(&v->lapic, id);
    v->lapic.tsc_offset = all->board.tsc_offset + (one_in(2) ? any() : 0);
    v->virtual_delivery = v->lapic.virtual_delivery;
    v->tpr_shadow = true;
    fill_msrs(&v->msr);
    fill_pv(&v->pv);
    v->msr_env.features = (struct msr_features){.physical_bits = 39, .efer_valid = EFER_NXE};
    fill_vmcs(v);
    vm->vcpu[id] = v;
}

static void fill(uint64_t seed)
{
    random_state = seed;
    all->devices = any();
    vm->life = &life;
    vm->vcpu_count = CPUS;
    vm->pv.clock_start = any();
    vm->board = (struct board *)&all->board;
    all->lines = (uint32_t)any() & 0xffffff;
    all->board.tsc_offset = any();
    for (unsigned i = 0; i < CPUS; i++)
        fill_vcpu(i);
}

/* Power-on state is as good as any other that is not the one that was saved. */
void vm_reset(struct vm *m)
{
    resets++;
    tsc += 1000003;
    memset(told_misc_enable, 0, sizeof(told_misc_enable));
    memset(placed, 0, sizeof(placed));
    fill(any());
    vm->ending.wanted = false;
    for (unsigned i = 0; i < CPUS; i++)
        all->vcpu[i].task.requests = REQUEST_TIMER | REQUEST_EVENT | REQUEST_RELOAD;
}

/* --- the same again? --- */

#define PENDING_REQUESTS (REQUEST_HALT | REQUEST_INIT | REQUEST_STARTUP | REQUEST_UNHALT)

static void check_vcpu(unsigned id, uint64_t old_tsc)
{
    const struct vcpu *was = &before.vcpu[id], *is = &all->vcpu[id];
    enum vmcs_field field;

    for (size_t i = 0; i < sizeof(*is); i++)
        if (is_saved[i] && ((uint8_t *)is)[i] != ((uint8_t *)was)[i])
            fail_msg("vCPU %u: byte %#zx of its struct is %x and was %x (%zx: hw, %zx: lapic, %zx: "
                     "msr)",
                     id, i, ((uint8_t *)is)[i], ((uint8_t *)was)[i], offsetof(struct vcpu, hw),
                     offsetof(struct vcpu, lapic), offsetof(struct vcpu, msr));
    for (unsigned n = 0; vmcs_field_at(n, &field); n++)
        if (vmcs_field_saved(field) && all->vmcs[id][field] != before.vmcs[id][field])
            fail_msg("vCPU %u: %s is %lx and was %lx", id, vmcs_field_name(field),
                     all->vmcs[id][field], before.vmcs[id][field]);
    assert_memory_equal(all->page[id], before.page[id], PAGE_SIZE);
    assert_memory_equal(all->fpu[id], before.fpu[id], FPU);
    /* no tick of its clock has passed */
    assert_int_equal(tsc + is->lapic.tsc_offset, old_tsc + was->lapic.tsc_offset);
    assert_int_equal(all->vmcs[id][VMCS_TSC_OFFSET], is->lapic.tsc_offset);
    assert_int_equal(is->task.requests & PENDING_REQUESTS, was->task.requests & PENDING_REQUESTS);
    assert_int_equal(is->task.requests & (REQUEST_TIMER | REQUEST_EVENT | REQUEST_RELOAD),
                     REQUEST_TIMER | REQUEST_EVENT | REQUEST_RELOAD);
    assert_int_equal(told_misc_enable[id], was->msr.misc_enable);
    assert_int_equal(told_cr4[id], before.vmcs[id][VMCS_CR4_SHADOW]);
    assert_int_equal(told_xcr0[id], was->hw.xcr0);
    assert_int_equal(told_xss[id], was->hw.xss);
    assert_int_equal(is->task.requests & REQUEST_CLOCK, is->pv.clock & PV_ON ? REQUEST_CLOCK : 0);
    assert_int_equal(is->hw.wrapped, (was->pv.eoi & PV_ON) || (was->pv.offered & PV_CALLS));
    assert_int_equal(is->pv.waited, 3 * task_waited(&is->task));
    assert_true(placed[id]);
    assert_true(is->tpr_shadow);
}

static void check(uint64_t old_tsc)
{
    assert_null(loaded);
    assert_int_equal(all->lines, before.lines);
    assert_int_equal(vm->pv.clock_start, before.vm.pv.clock_start);
    assert_int_equal(tsc + all->board.tsc_offset, old_tsc + before.board.tsc_offset);
    assert_int_equal(all->devices, before.devices);
    for (unsigned i = 0; i < CPUS; i++)
        check_vcpu(i, old_tsc);
}

/* --- the tests --- */

static int setup(void **state)
{
    static struct percpu cpu;

    assert_int_equal(syscall(SYS_arch_prctl, ARCH_SET_GS, &cpu), 0);
    find_saved();
    vmx_features = (struct vmx_features){.vid = true,
                                         .tpr_shadow = true,
                                         .apic_register = true,
                                         .virtualize_x2apic = true,
                                         .virtualize_apic_accesses = true};
    resets = drops = leaves = kills = 0;
    life = (struct vm_life){.random = 1};
    vm->ending.wanted = false;
    return 0;
}

static void save(void)
{
    struct state_writer out = {0};

    vm_save(vm, &out);
    stream_size = out.used;
    heap_free(stream);
    stream = heap_alloc(stream_size);
    out = (struct state_writer){.data = stream, .capacity = stream_size};
    vm_save(vm, &out);
    assert_int_equal(out.used, stream_size);
}

static int load(size_t size)
{
    struct state_reader r = {.data = stream, .size = size};
    int result = vm_load(vm, &r);

    assert_true((result == 0) == !r.error);
    return result;
}

static void comes_back(void **state)
{
    for (unsigned seed = 1; seed < 200; seed++) {
        vmx_features.vid = seed % 4 != 0;
        fill(seed);
        before = *all;
        uint64_t old_tsc = tsc;
        save();
        vm_reset(vm);
        assert_int_equal(load(stream_size), 0);
        check(old_tsc);
    }
}

static void is_refused(void **state)
{
    fill(77);
    save();
    resets = 0;
    for (size_t cut = 0; cut < stream_size; cut++) {
        assert_int_equal(load(cut), -EBADMSG);
        assert_int_equal(resets, cut + 1);
        assert_null(loaded);
    }
    vm->vcpu_count = CPUS - 1; /* another VM's */
    assert_int_equal(load(stream_size), -EBADMSG);
    fill(78);
    all->vcpu[2].nmis = NMIS_MAX + 1;
    save();
    assert_int_equal(load(stream_size), -EBADMSG);
    fill(79);
    all->vcpu[1].id = 2;
    save();
    all->vcpu[1].id = 1;
    assert_int_equal(load(stream_size), -EBADMSG);
}

/* --- as one stream --- */

static char error[VM_STREAM_ERROR];

/* Its name is part of what the VM is made of. */
static bool no_memory;

void *heap_alloc(size_t size)
{
    return no_memory ? NULL : calloc(1, size);
}

void heap_free(void *p)
{
    free(p);
}

static void add_device(const char *name)
{
    static const struct device_ops device_ops = {.name = "virtio-blk"};
    static const struct device_class class = {.ops = &device_ops};
    static char texts[2][DEVICE_NAME];
    struct device_item *item = &life.devices.item[life.devices.count];
    char *text = texts[life.devices.count++];

    snprintf(text, sizeof(texts[0]), "%s", name);
    *item = (struct device_item){.class = &class, .id = life.devices.count, .name = text};
}

/* Nothing of the VM has changed. */
static void refused(const struct vm_stream *s, const char *why)
{
    unsigned reset = resets;

    before = *all;
    memset(error, 0, sizeof(error));
    assert_int_equal(vm_stream_load(vm, s, error), -EBADMSG);
    assert_int_equal(resets, reset);
    assert_memory_equal(all->vmcs, before.vmcs, sizeof(all->vmcs));
    assert_memory_equal(all->page, before.page, sizeof(all->page));
    assert_int_equal(all->devices, before.devices);
    if (!strstr(error, why))
        fail_msg("'%s' does not say '%s'", error, why);
}

static void streams(void **state)
{
    struct vm_stream s, again;

    fill(9);
    vm->memory.range_count = 1;
    add_device("part:root");
    before = *all;
    uint64_t old_tsc = tsc;
    assert_int_equal(vm_stream_save(vm, &s), 0);
    fill(10);
    assert_int_equal(vm_stream_load(vm, &s, error), 0);
    check(old_tsc);
    assert_int_equal(vm_stream_save(vm, &again), 0); /* now that it knows how much it is */
    assert_int_equal(again.size, s.size);
    vm_stream_free(&again);
    fill(11);
    no_memory = true;
    assert_int_equal(vm_stream_load(vm, &s, error), -ENOMEM);
    assert_int_equal(vm_stream_load_again(vm, &s, error), 0);
    no_memory = false;
    check(old_tsc);

    const struct vm_stream cut = {s.data, s.size - 1};
    refused(&cut, "ends early");
    for (size_t at = 0; at < s.size; at += 97) {
        ((uint8_t *)s.data)[at] ^= 0x10;
        refused(&s, "");
        ((uint8_t *)s.data)[at] ^= 0x10;
    }
    lacking = "needs a better processor";
    refused(&s, lacking);
    lacking = NULL;
    vm->vcpu_count--;
    refused(&s, "has a section 'vcpu' that this VM does not have");
    vm->vcpu_count++;
    vm->memory.ranges[0].size += PAGE_SIZE;
    refused(&s, "is of a VM with other memory");
    vm->memory.ranges[0].size -= PAGE_SIZE;
    life.devices.item[0].id++;
    refused(&s,
            "has a device 'virtio-blk part:root' where this VM has virtio-blk part:root, another");
    life.devices.item[0].id--;
    life.devices.item[0].name = NULL;
    refused(&s, "has a device 'virtio-blk part:root' where this VM has virtio-blk");
    life.devices.count = 0;
    refused(&s, "has a device 'virtio-blk part:root' where this VM has none");
    add_device("part:root");
    add_device("part:data");
    refused(&s, "knows no device 'part:data', which this VM has");
    vm_stream_free(&s);
}

/* A value that its section's checksum says nothing of: it is refused by who loads it, and what was
 * is there again. */
static void taken_back(void **state)
{
    struct vm_stream s;

    fill(12);
    all->vcpu[2].nmis = NMIS_MAX + 1;
    assert_int_equal(vm_stream_save(vm, &s), 0);
    fill(13);
    vm->ending = (struct ending){.wanted = true, .killed = true};
    before = *all;
    uint64_t old_tsc = tsc;
    assert_int_equal(vm_stream_load(vm, &s, error), -EBADMSG);
    assert_non_null(strstr(error, "cannot be loaded: a value of the saved state is out of its "
                                  "range, in its section 'vcpu'"));
    check(old_tsc);
    assert_true(vm->ending.wanted && vm->ending.killed);
    vm_stream_free(&s);
}

/* As `[host] test_reload` does it. */
static void at_random_exits(void **state)
{
    enum { EVERY = 10, RELOADS = 400 };
    unsigned exits = 0, dropped = 0, first[CPUS] = {0};

    fill(5);
    vm_reload_test_init(EVERY);
    for (unsigned n = 1; n <= RELOADS; n++) {
        vmx_features.vid = n > RELOADS / 2;
        fill(n);
        assert_false(vm_reload_parked(vm)); /* it was paused */
        for (leaves = 0; !leaves; exits++)
            vcpu_reload_test(&all->vcpu[exits % CPUS]);
        before = *all;
        uint64_t old_tsc = tsc;
        assert_true(vm_reload_parked(vm));
        check(old_tsc);
        assert_int_equal(life.reloads, n);
        assert_int_equal(resets, n);
        assert_false(vm_reload_parked(vm)); /* once */
        assert_uint_in_range(vm->tasks.first, 0, CPUS - 1);
        first[vm->tasks.first]++;
        if (n == RELOADS / 2)
            dropped = drops;
    }
    assert_uint_in_range(dropped, RELOADS / 16, RELOADS / 5);
    assert_int_equal(drops, dropped); /* none with virtual-interrupt delivery */
    assert_uint_in_range(exits, EVERY * RELOADS * 8 / 10, EVERY * RELOADS * 12 / 10);
    for (unsigned i = 0; i < CPUS; i++) /* nobody waits for ever behind the others */
        assert_uint_in_range(first[i], RELOADS / CPUS / 2, RELOADS);
    assert_int_equal(kills, 0);
    /* Its guest has come to its end meanwhile: that stays as it is. */
    for (leaves = 0; !leaves;)
        vcpu_reload_test(&all->vcpu[0]);
    vm->ending.wanted = true;
    assert_false(vm_reload_parked(vm));
    assert_true(vm->ending.wanted);
    assert_int_equal(life.reloads, RELOADS);
    vm_reload_test_init(0);
    assert_null(vcpu_reload_test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(comes_back, setup),      cmocka_unit_test_setup(is_refused, setup),
        cmocka_unit_test_setup(streams, setup),         cmocka_unit_test_setup(taken_back, setup),
        cmocka_unit_test_setup(at_random_exits, setup),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    heap_free(stream);
    return failed;
}
