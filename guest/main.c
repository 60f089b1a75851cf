/*
 * The hypervisor proper: from a machine whose basics work to VMs that run, one after another in the
 * config's order, and what is done when the last one has ended.
 */
#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/panic.h"
#include "arch/x86/smp.h"
#include "arch/x86/tsc.h"
#include "drivers/machine.h"
#include "drivers/processors.h"
#include "drivers/processors_test.h"
#include "drivers/serial.h"
#include "guest/check.h"
#include "guest/console.h"
#include "guest/control.h"
#include "guest/summary.h"
#include "guest/trace/trace.h"
#include "guest/vm.h"
#include "guest/wall_clock.h"
#include "mm/heap.h"
#include "mm/mtrr.h"
#include "vmx/cpu.h"

/* A guest that restarts faster than this is held back. */
#define RESTART_MIN_MS 1000

struct mtrr host_mtrr;
unsigned test_reload;

static struct vmx_cpu boot_vmx_cpu;
static const struct handover *handover;
static struct config config;
static struct vm_config *vms;

/* --- config --- */

static void report(void *ctx, uint32_t line, const char *sentence)
{
    if (line)
        log_error("corbel.conf:%u: %s", line, sentence);
    else
        log_error("corbel.conf: %s", sentence);
}

static const char *status_text(int status)
{
    switch (status) {
    case -ENOENT:
        return "there is no such file";
    case -21: /* EISDIR */
        return "it is a directory";
    case -ENOMEM:
        return "it does not fit into this machine's memory";
    case -E2BIG:
        return "it is too large";
    default:
        return "the boot disk could not be read";
    }
}

static void read_config(void)
{
    if (handover->config_status < 0) {
        config_defaults(&config);
        log_error("no configuration: \\corbel\\corbel.conf: %s",
                  status_text(handover->config_status));
        return;
    }
    const char *text = phys_to_virt(handover->config);
    size_t count = config_count_vms(text, handover->config_size);
    vms = heap_alloc((count + 1) * sizeof(*vms));
    if (!vms) {
        config_defaults(&config);
        log_error("no memory for the configuration");
        return;
    }
    config_parse(text, handover->config_size, &config, vms, count, report, NULL);
    log_set_level((enum log_level)config.log);
    test_reload = config.test_reload;
    panic_set_action(config.on_panic == CONFIG_PANIC_RESET ? machine_reset : NULL);
}

static uint32_t without_bits(void)
{
    uint32_t bits = 0;

    for (unsigned i = 0; i < CONFIG_WITHOUT_COUNT; i++)
        if (config.without & BIT(i))
            bits |= vmx_without_bit(config_without_names[i], strlen(config_without_names[i]));
    return bits;
}

/* --- files --- */

/* The loaded file that the config calls by that path; an error names the line. */
static int find_file(const struct vm_config *vm, uint32_t line, struct config_span path,
                     struct file *out)
{
    const struct handover_file *files = phys_to_virt(handover->files);
    int status = -ENOENT;

    for (uint32_t i = 0; i < handover->file_count; i++) {
        if (files[i].path_length != path.length ||
            memcmp(phys_to_virt(files[i].path), path.data, path.length) != 0)
            continue;
        status = files[i].status;
        if (status == 0) {
            out->data = phys_to_virt(files[i].base);
            out->size = files[i].size;
            return 0;
        }
        break;
    }
    log_error("corbel.conf:%u: [vm %.*s]: '%.*s' cannot be loaded: %s", line, (int)vm->name.length,
              vm->name.data, (int)path.length, path.data, status_text(status));
    return status;
}

static int find_files(const struct vm_config *c, struct vm_files *out)
{
    int e = find_file(c, config_vm_line(c, CONFIG_VM_KERNEL), c->kernel, &out->kernel);

    if (e == 0 && c->initrd.data)
        e = find_file(c, config_vm_line(c, CONFIG_VM_INITRD), c->initrd, &out->initrd);
    for (unsigned i = 0; i < c->modules.count && e == 0; i++)
        e = find_file(c, c->modules.item[i].line, c->modules.item[i].file, &out->module[i]);
    return e;
}

/* --- VMs --- */

/* A guest that restarts in a loop must not keep the machine busy with nothing else. */
static void hold_back(struct vm *vm, uint64_t since)
{
    uint64_t least = tsc_hz / 1000 * RESTART_MIN_MS, ran = rdtsc() - since;

    if (ran >= least)
        return;
    log_warn("%s: restarts after less than %u ms: held back for the rest of them", vm->name,
             RESTART_MIN_MS);
    while (rdtsc() - since < least) {
        serial_poll(&com1);
        tsc_delay_us(1000);
    }
}

static void run_vm(struct vm_slot *slot, struct vm *vm, const struct vm_files *files)
{
    slot->vm = vm;
    slot->state = SLOT_RUNNING;
    slot->starts++;
    console_vm_starts(slot);
    for (;;) {
        uint64_t start = rdtsc();
        vcpu_run(vm->vcpu[0]);
        if (vm->killed || vm->request != VM_REQUEST_RESET)
            break;
        console_vm_ends(slot, true);
        log_info("%s: restarts: %s", vm->name, vm->why);
        hold_back(vm, start);
        vm->resets++;
        slot->starts++;
        vm_reset(vm);
        guest_memory_clear(&vm->memory);
        if (vm_boot(vm, files) < 0)
            break;
    }
    slot->vm = NULL;
    slot->state = SLOT_OFF;
    slot->ended = vm->killed ? SLOT_KILLED : SLOT_POWERED_OFF;
    vm->state = vm->killed ? VM_KILLED : VM_POWERED_OFF;
    console_vm_ends(slot, false);
    vm_print_summary(vm);
}

static void run_configured(unsigned id, const struct vm_config *c)
{
    struct vm_files files = {0};
    struct vm *vm;

    if (c->cpus > 1) {
        log_error("corbel.conf:%u: [vm %.*s]: cpus = %u: this version runs one vCPU per VM; write "
                  "cpus = 1",
                  config_vm_line(c, CONFIG_VM_CPUS), (int)c->name.length, c->name.data, c->cpus);
        return;
    }
    if (find_files(c, &files) < 0)
        return;
    if (vm_create(&vm, id, c) < 0)
        return;
    if (vm_boot(vm, &files) == 0) {
        log_info("%s: starts with %lu MiB and %u vCPU", vm->name, c->memory / MIB, c->cpus);
        vm->start_ticks = rdtsc() - handover->tsc_handover;
        if (config.test_invalid == id + 1) {
            const struct vmx_segment none = {.access = BIT(16)};
            vmx_set_segment(SEG_TR, &none); /* which must always be usable */
        }
        run_vm(control_slot(id), vm, &files);
    }
    vm_destroy(vm);
}

static void start_trace(void)
{
    uint32_t events =
        config.trace & BIT(CONFIG_TRACE_ALL) ? TRACE_EVERYTHING : config.trace & TRACE_EVERYTHING;

    trace_init(vms, config.vm_count, config.trace_memory);
    if (events && !(config.trace & BIT(CONFIG_TRACE_OFF)) && trace_on(TRACE_ALL_VMS, events) == 0)
        log_info("trace: on; %lu KiB of memory for each processor", config.trace_memory / KIB);
}

static void run_one(unsigned i)
{
    if (!vms[i].broken)
        run_configured(i, &vms[i]);
    console_vm_ends(control_slot(i), false); /* it may not have started at all */
}

/* Whose console is in front at first: a VM's number, or -1 for the monitor. */
static int attach_at_first(void)
{
    unsigned i;

    if (config_span_equal(config.attach, (struct config_span){CONFIG_MONITOR, 7}))
        return -1;
    for (i = 0; i < config.vm_count; i++)
        if (config_span_equal(vms[i].name, config.attach))
            return (int)i;
    for (i = 0; i + 1 < config.vm_count && vms[i].broken; i++)
        ;
    return (int)i;
}

static NORETURN void idle(const char *why)
{
    trace_flush();
    if (config.when_idle == CONFIG_IDLE_POWEROFF) {
        log_info("%s: power off", why);
        console_flush();
        machine_poweroff();
    }
    log_info("%s: the machine stays on (when_idle = stay)", why);
    console_monitor();
    for (;;) {
        uint64_t wake = console_pump();
        if (wake != UINT64_MAX)
            apic_timer_set(wake);
        cpu_idle_once();
    }
}

/* The other processors: nothing to do but what they are asked. */
static NORETURN void park_forever(void)
{
    for (;;) {
        cpu_serve_calls();
        cpu_idle_once();
    }
}

static void start_processors(struct handover *h)
{
    if (config.test_smp)
        processors_test_list(h);
    smp_start(h, park_forever);
    if (config.test_smp)
        processors_test(config.test_smp);
    if (config.test_panic)
        processors_test_panic(config.test_panic - 1);
}

static uint64_t read_mtrr_msr(void *ctx, uint32_t msr)
{
    return rdmsr(msr);
}

NORETURN void corbel_main(struct handover *h)
{
    struct frame_stats frames;
    size_t runnable = 0;

    handover = h;
    console_mux_init();
    wall_clock_init(h->boot_time, h->boot_time_tsc);
    read_config();
    frame_stats(&frames);
    log_info("Corbel on %u processor%s at %lu MHz, %lu MiB free", h->cpu_count,
             h->cpu_count == 1 ? "" : "s", tsc_hz / 1000000, frames.free / MIB);
    if (config.mode == CONFIG_MODE_CHECK) {
        start_processors(h);
        check_machine(h, without_bits());
        idle("the check is done");
    }
    if (vmx_probe(without_bits()) < 0 || vmx_cpu_start(&boot_vmx_cpu) < 0) {
        log_error("no VM can run on this machine");
        idle("no VM is left");
    }
    vmx_log_features();
    start_processors(h);
    mtrr_read(&host_mtrr, cpuid(1, 0).edx & BIT(12), vmx_features.physical_bits, read_mtrr_msr,
              NULL);
    start_trace();
    for (unsigned i = 0; i < config.vm_count; i++)
        runnable += !vms[i].broken;
    if (!runnable)
        log_error("the configuration has no VM that can run");
    if (control_init(vms, (unsigned)config.vm_count) < 0)
        panic("no memory for the VMs' slots");
    if (runnable)
        console_begin(attach_at_first());
    for (unsigned i = 0; i < config.vm_count; i++)
        run_one(i);
    idle("no VM is left");
}
