/* One virtual CPU: making it, its stay in the guest, and how others look at it. */
#include "guest/cpu/exit.h"
#include "guest/cpu/events.h"
#include "guest/cpu/timers.h"

#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/trap.h"
#include "arch/x86/tsc.h"
#include "guest/cpu/probe.h"
#include "guest/cpu/pv.h"
#include "guest/run/run.h"
#include "mm/heap.h"
#include "vmx/cpu.h"

static void host_cpuid(void *context, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    struct cpuid r = cpuid(leaf, subleaf);

    *out = (struct cpuid_regs){.eax = r.eax, .ebx = r.ebx, .ecx = r.ecx, .edx = r.edx};
}

static void build_cpuid(struct vcpu *v)
{
    bool xsave = read_cr4() & CR4_OSXSAVE;
    struct cpuid host = cpuid(0xd, 0);

    pv_offer(v);
    const struct cpuid_inputs in = {
        .tsc_hz = tsc_hz,
        .lapic_shift = LAPIC_BUS_SHIFT,
        .vcpus = v->vm->config->cpus,
        .apic_id = v->id,
        .xcr0 = xsave ? (uint64_t)host.edx << 32 | host.eax : 0,
        .physical_bits = MIN(vmx_features.physical_bits, 48), /* four levels of EPT */
        .rdtscp = vmx_features.rdtscp,
        .invpcid = vmx_features.invpcid,
        .xsaves = vmx_features.xsaves,
        .xsavec = vmx_features.xsavec,
        .user_wait = false,
        .pv = v->pv.offered,
        .spec_features = spec_guest.features,
        .spec_controls = spec_guest.controls,
    };

    cpuid_build(&v->cpuid, &in, host_cpuid, NULL);
}

/* --- what the MSR model asks --- */

static int env_lapic_read(void *context, uint32_t msr, uint64_t *value)
{
    return lapic_msr_read(&((struct vcpu *)context)->lapic, msr, value);
}

static int env_lapic_write(void *context, uint32_t msr, uint64_t value)
{
    return lapic_msr_write(&((struct vcpu *)context)->lapic, msr, value);
}

static uint64_t env_tsc(void *context)
{
    return vcpu_tsc(context);
}

/* The guest moves its TSC. A deadline is a TSC value and stays; a count that is running takes as
 * long as before. */
static void env_tsc_add(void *context, uint64_t delta)
{
    struct vcpu *v = context;

    v->lapic.tsc_offset += delta;
    vmx_set_tsc_offset(v->lapic.tsc_offset);
    lapic_tsc_moved(&v->lapic, delta);
    vcpu_update_deadline(v);
    vcpu_ask(v, REQUEST_TIMER);
}

/* In place of env_tsc_add() where a paravirtual clock may follow the TSC. */
static void env_tsc_add_pv(void *context, uint64_t delta)
{
    env_tsc_add(context, delta);
    pv_tsc_moved(context);
}

static int env_pv_read(void *context, uint32_t msr, uint64_t *value)
{
    return pv_read_msr(context, msr, value);
}

static int env_pv_write(void *context, uint32_t msr, uint64_t value)
{
    return pv_write_msr(context, msr, value);
}

static int env_cpu_read(void *context, uint32_t msr, uint64_t *value)
{
    return vmx_read_msr(&((struct vcpu *)context)->hw, msr, value);
}

static int env_cpu_write(void *context, uint32_t msr, uint64_t value)
{
    struct vcpu *v = context;

    if (msr == MSR_XSS)
        cpuid_set_xcr0(&v->cpuid, xgetbv(0), value);
    return vmx_write_msr(&v->hw, msr, value);
}

static uint64_t env_spec_ctrl(void *context)
{
    return ((struct vcpu *)context)->hw.spec_ctrl;
}

/* The first write of SPEC_CTRL comes here, later ones only where somebody looks on. */
static int env_spec_write(void *context, uint32_t msr, uint64_t value)
{
    struct vcpu *v = context;

    if (msr != MSR_SPEC_CTRL)
        return wrmsr_safe(msr, value) ? 0 : -EINVAL;
    v->hw.spec_ctrl = value;
    if (!v->hw.spec_passed) {
        vmx_pass_spec_ctrl(&v->hw, true);
        vcpu_build_msr_bitmap(v);
        vcpu_ask(v, REQUEST_RESCHEDULE); /* back by way of vmx_run() */
    }
    return 0;
}

static bool env_paging(void *context)
{
    return vmx_get_cr0() & CR0_PG;
}

static void env_misc_enable(void *context, uint64_t value)
{
    cpuid_set_misc_enable(&((struct vcpu *)context)->cpuid, value);
}

static void build_msr_env(struct vcpu *v)
{
    v->msr_env = (struct msr_env){
        .name = v->vm->name,
        .context = v,
        .features =
            {
                .rdtscp = vmx_features.rdtscp,
                .xsaves = vmx_features.xsaves,
                .efer_valid = v->cpuid.efer_valid,
                .physical_bits = v->cpuid.physical_bits,
                .microcode = cpu_microcode(true),
                .pv = v->pv.offered,
                .spec_ctrl = spec_guest.spec_ctrl,
                .flush = spec_guest.features & FEATURE_L1D_FLUSH,
                .has_capabilities = spec_guest.features & FEATURE_ARCH_CAPABILITIES,
                .capabilities = spec_guest.capabilities,
            },
        .lapic_read = env_lapic_read,
        .lapic_write = env_lapic_write,
        .tsc = env_tsc,
        .tsc_add = v->pv.offered & PV_CLOCK ? env_tsc_add_pv : env_tsc_add,
        .cpu_read = env_cpu_read,
        .cpu_write = env_cpu_write,
        .paging = env_paging,
        .misc_enable = env_misc_enable,
        .pv_read = env_pv_read,
        .pv_write = env_pv_write,
        .spec_ctrl = env_spec_ctrl,
        .spec_write = env_spec_write,
    };
}

/* --- as a task of its processor's loop (guest/run/task.h) --- */

static struct vcpu *vcpu_of_task(struct task *t)
{
    return CONTAINER_OF(t, struct vcpu, task);
}

static void task_load(struct task *t)
{
    vmx_vcpu_load(&vcpu_of_task(t)->hw);
}

static void task_put(struct task *t)
{
    vmx_vcpu_put(&vcpu_of_task(t)->hw);
}

static enum task_end task_run(struct task *t)
{
    struct vcpu *v = vcpu_of_task(t);
    struct percpu *cpu = this_cpu();
    int leave;

    v->timer_armed = 0;
    vcpu_begins(v);
    cpu->current = v;
    leave = vcpu_run(v);
    cpu->current = NULL;
    vcpu_ends(v);
    return leave == VCPU_HALTED ? TASK_BLOCKED : leave == VCPU_REQUEST ? TASK_GONE : TASK_PREEMPTED;
}

static uint64_t task_deadline(struct task *t, bool *dead)
{
    return vcpu_sleeps_until(vcpu_of_task(t), dead);
}

/* In place of that where the guest is offered to be told when its vCPUs are away, or to end their
 * HLT: who is not does not pay for it. */
static enum task_end task_run_pv(struct task *t)
{
    struct vcpu *v = vcpu_of_task(t);

    pv_runs(v);
    enum task_end end = task_run(t);
    pv_stops(v);
    return end == TASK_BLOCKED && pv_unhalts(v) ? TASK_PREEMPTED : end;
}

/* Where the processor has to forget what the last VM's guest has taught it. */
static void task_load_apart(struct task *t)
{
    speculation_part(vcpu_of_task(t)->vm->id + 1);
    task_load(t);
}

static const struct task_ops *task_ops(bool pv)
{
#define OPS(load_, run_)                                                                           \
    {                                                                                              \
        .load = load_, .put = task_put, .run = run_, .deadline = task_deadline,                    \
        .quiet = REQUEST_RELOAD                                                                    \
    }
    static const struct task_ops ops[2][2] = {
        {OPS(task_load, task_run), OPS(task_load, task_run_pv)},
        {OPS(task_load_apart, task_run), OPS(task_load_apart, task_run_pv)},
    };

    return &ops[speculation_parts()][pv];
}

/* --- life --- */

int vcpu_create(struct vcpu **out, struct vm *vm, unsigned id)
{
    struct vcpu *v = heap_alloc(ALIGN_UP(sizeof(*v), PAGE_SIZE));

    if (!v)
        return -ENOMEM;
    v->vm = vm;
    v->board = vm->board;
    v->id = id;
    v->lapic.tsc_offset = board_front(vm->board)->tsc_offset;
    v->lapic_page = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
    v->msr_bitmap = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
    if (v->lapic_page == FRAME_NONE || v->msr_bitmap == FRAME_NONE) {
        vcpu_destroy(v);
        return -ENOMEM;
    }
    memset(phys_to_virt(v->lapic_page), 0, PAGE_SIZE);
    build_cpuid(v);
    pv_init(v);
    v->task.ops = task_ops(v->pv.offered & (PV_STEAL | PV_UNHALT));
    build_msr_env(v);
    msr_bitmap_build(phys_to_virt(v->msr_bitmap), &v->msr_env.features);
    const struct vmx_vcpu_setup setup = {
        .ept = &vm->rights.ept,
        .msr_bitmap = v->msr_bitmap,
        .virtual_apic_page = v->lapic_page,
        .apic_access_page = vm->apic_access_page,
        .vpid = (uint16_t)(1 + (vm->id * CONFIG_MAX_CPUS + id) % UINT16_MAX), /* never 0 */
        .tsc_offset = v->lapic.tsc_offset,
        .pause_loop = vm->config->cpus > 1,
        /* OSXSAVE and PKE show in CPUID; MCE must stay on for the host; VMXE is not the guest's. */
        .cr4_allowed =
            v->cpuid.cr4_valid & ~(CR4_OSXSAVE | CR4_PKE | CR4_MCE | CR4_VMXE | CR4_SMXE),
    };
    int result = vmx_vcpu_init(&v->hw, &setup);
    if (result < 0) {
        vcpu_destroy(v);
        return result;
    }
    *out = v;
    return 0;
}

void vcpu_destroy(struct vcpu *v)
{
    if (!v)
        return;
    ept_window_destroy(&v->watch.window);
    ept_window_destroy(&v->apic_view);
    vmx_vcpu_destroy(&v->hw);
    if (v->lapic_page != FRAME_NONE && v->lapic_page)
        frame_free(v->lapic_page, FRAME_ORDER_4K);
    if (v->msr_bitmap != FRAME_NONE && v->msr_bitmap)
        frame_free(v->msr_bitmap, FRAME_ORDER_4K);
    heap_free(v);
}

bool vcpu_hold(struct vcpu *v)
{
    if (v->hw.cpu)
        return false;
    vmx_vcpu_load(&v->hw);
    return true;
}

void vcpu_release(struct vcpu *v, bool held)
{
    if (held)
        vmx_vcpu_put(&v->hw);
}

/* --- running --- */

/* While somebody looks on. */
static __attribute__((noinline)) int stay_watched(struct vcpu *v)
{
    int leave;

    probes->enter(v);
    leave = vcpu_prepare(v);
    if (leave == VCPU_STAY) {
        probes->stay(v);
        vmx_watch_exits(&v->hw, v->trace != 0 || v->step.users || v->watch.needs);
        leave = vmx_run(&v->hw);
        probes->stayed(v, leave);
    }
    probes->leave(v, leave);
    return leave;
}

static int stay(struct vcpu *v)
{
    int leave = vcpu_prepare(v);

    return leave == VCPU_STAY ? vmx_run(&v->hw) : leave;
}

int vcpu_run(struct vcpu *v)
{
    int leave = UNLIKELY(probes) ? stay_watched(v) : stay(v);

    if (leave == VMX_ENTRY_FAILED) {
        vmx_report_entry_failure(&v->hw);
        vm_kill(v, "the processor refused VM entry");
        return VCPU_REQUEST;
    }
    return leave;
}

/* --- from outside --- */

struct inspection {
    void (*fn)(struct vcpu *v, void *arg);
    void *arg;
};

static void inspect(struct task *t, void *arg)
{
    const struct inspection *i = arg;

    i->fn(vcpu_of_task(t), i->arg);
}

int vcpu_inspect(struct vcpu *v, void (*fn)(struct vcpu *v, void *arg), void *arg)
{
    struct inspection i = {.fn = fn, .arg = arg};

    return run_inspect(&v->task, inspect, &i);
}

void vcpu_again_at(uint64_t deadline)
{
    struct task *t = run_again_at(deadline);

    if (t)
        vcpu_of_task(t)->next_exit = MIN(vcpu_of_task(t)->next_exit, deadline);
}
