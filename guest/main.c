/* The hypervisor proper: from a machine whose basics work to processors that run VMs. */
#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/panic.h"
#include "arch/x86/smp.h"
#include "arch/x86/tsc.h"
#include "drivers/iommu.h"
#include "drivers/machine.h"
#include "drivers/processors.h"
#include "drivers/processors_test.h"
#include "drivers/serial.h"
#include "guest/check.h"
#include "guest/capture/capture.h"
#include "guest/com2/com2.h"
#include "guest/console/console.h"
#include "drivers/disk.h"
#include "drivers/net_card.h"
#include "guest/vm/control.h"
#include "guest/vm/disks.h"
#include "guest/vm/nets.h"
#include "guest/vm/down.h"
#include "guest/vm/files.h"
#include "guest/gdb/gdb.h"
#include "guest/observers.h"
#include "guest/vm/idle.h"
#include "guest/vm/lost_memory.h"
#include "guest/monitor/monitor.h"
#include "guest/monitor/users.h"
#include "guest/storage/tables.h"
#include "guest/vm/platform.h"
#include "guest/vm/variables.h"
#include "guest/run/run.h"
#include "guest/trace/trace.h"
#include "guest/vm/vm.h"
#include "guest/vm/reload.h"
#include "guest/board/wall_clock.h"
#include "guest/watch/handler.h"
#include "mm/heap.h"
#include "mm/mtrr.h"
#include "vmx/cpu.h"

static struct handover *handover;
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

_Static_assert(WATCH_ERROR <= CONFIG_MESSAGE, "a watch's sentence fits into a report's");

static void read_config(void)
{
    config_set_check("watch", watch_check);
    platform_set_checks();
    if (handover->config_status < 0) {
        config_defaults(&config);
        log_error("no configuration: \\corbel\\corbel.conf: %s",
                  files_status_text(handover->config_status));
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
    vm_reload_test_init(config.test_reload);
    panic_set_action(config.on_panic == CONFIG_PANIC_RESET ? machine_reset : NULL);
}

/* vmx/ numbers the features that `without` names as the config does. */
#define SAME_BIT(symbol, name, what)                                                               \
    _Static_assert(BIT(CONFIG_WITHOUT_##symbol) == VMX_WITHOUT_##symbol, name);
CONFIG_WITHOUT_LIST(SAME_BIT)

/* And arch/x86 what is done against speculation. */
#define SAME_STEP(symbol, name, what)                                                              \
    _Static_assert((unsigned)CONFIG_STEP_##symbol == (unsigned)MITIGATION_##symbol, name);
CONFIG_STEP_LIST(SAME_STEP)
_Static_assert((unsigned)CONFIG_STEP_COUNT == (unsigned)MITIGATION_COUNT, "steps");

static const enum vmx_leaves leaves[] = {
    [CONFIG_SMALL_AUTO] = VMX_LEAVES_AUTO,
    [CONFIG_SMALL_ON] = VMX_LEAVES_SMALL,
    [CONFIG_SMALL_OFF] = VMX_LEAVES_LARGE,
};

/* --- processors --- */

static void start_vmx(void *result)
{
    struct vmx_cpu *cpu = heap_alloc(sizeof(*cpu));

    *(int *)result = cpu ? vmx_cpu_start(cpu) : -ENOMEM;
}

static void start_processors(void)
{
    if (config.test_smp)
        processors_test_list(handover);
    smp_start(handover, run_processor);
    if (config.test_smp)
        processors_test(config.test_smp);
    if (config.test_panic)
        processors_test_panic(config.test_panic - 1);
}

/* All that can run VMs. */
static int bring_up_processors(void)
{
    int result;

    start_processors();
    start_vmx(&result);
    if (result < 0 || (result = run_join(0)) < 0)
        return result;
    for (unsigned n = 1; n < smp_cpus; n++) {
        cpu_call(n, start_vmx, &result);
        if (result < 0 || (result = run_join(n)) < 0)
            log_warn("processor %u runs no VM (error %d)", n, -result);
    }
    if (speculation_begin(config.mitigations, config.test_mitigations) < 0)
        config.problems++;
    return 0;
}

static void start_trace(void)
{
    uint32_t events =
        config.trace & BIT(CONFIG_TRACE_ALL) ? TRACE_EVERYTHING : config.trace & TRACE_EVERYTHING;

    trace_init(vms, config.vm_count, config.trace_memory);
    if (events && !(config.trace & BIT(CONFIG_TRACE_OFF)) && trace_on(TRACE_ALL_VMS, events) == 0)
        log_info("trace: on; %lu KiB of memory for each processor", config.trace_memory / KIB);
}

/* Whose console is in front at first, as console_begin() wants it. */
static int attach_at_first(void)
{
    if (config_span_equal(config.attach, (struct config_span){CONFIG_MONITOR, 7}))
        return CONSOLE_MONITOR;
    for (unsigned i = 0; i < config.vm_count; i++)
        if (config_span_equal(vms[i].name, config.attach))
            return (int)i;
    return CONSOLE_ANY;
}

static uint64_t read_mtrr_msr(void *ctx, uint32_t msr)
{
    return rdmsr(msr);
}

/* Without interrupts from the serial port it is looked at this often. */
#define SERIAL_POLL_HZ 100

static uint64_t serial_chore(void)
{
    return rdtsc() + tsc_hz / SERIAL_POLL_HZ;
}

/* Interrupts come in between two pieces of clearing. */
static uint64_t idle_chores(void)
{
    uint64_t next = trace_pump();

    return frame_clear_ahead(this_cpu()->number) ? rdtsc() : next;
}

/* gdb_pump comes before control_work, which may end the machine: so a debugger is told first that
 * its VM has ended. */
static uint64_t (*const often[])(void) = {
    capture_pump,     com2_pump,  gdb_pump,       console_pump, control_work,
    lost_memory_work, disks_work, net_cards_work, iommu_work,   serial_chore};

/* IOMMUs are looked after on processor 0. */
static void iommu_attention(void)
{
    run_attention(0);
}

static struct run_chores chores = {
    .often = often,
    .often_count = ARRAY_SIZE(often),
    .idle = idle_chores,
    .flush = vmx_flush_all,
};

static NORETURN void stay(const char *why, const char *error)
{
    idle_begin(&config, why, error);
    for (;;) {
        uint64_t console = console_pump(), idle = idle_work();
        uint64_t down = down_wanted() ? down_work() : UINT64_MAX, wake = MIN(console, idle);

        wake = MIN(wake, down);
        if (wake != UINT64_MAX)
            apic_timer_set(wake);
        cpu_idle_once();
    }
}

NORETURN void corbel_main(struct handover *h)
{
    struct frame_stats frames;
    size_t runnable = 0;

    handover = h;
    if (h->boot.kind != HANDOVER_BOOT_NONE)
        tables_set_boot(h->boot.kind == HANDOVER_BOOT_GPT, h->boot.signature);
    observers_init();
    monitor_init();
    console_mux_init(&monitor);
    wall_clock_init(h->boot_time, h->boot_time_tsc);
    files_init(h);
    read_config();
    users_init(&config);
    down_init(&config);
    frame_stats(&frames);
    log_info("Corbel on %u processor%s at %lu MHz, %lu MiB free", h->cpu_count,
             h->cpu_count == 1 ? "" : "s", tsc_hz / 1000000, frames.free / MIB);
    iommu_init(!config.iommu);
    serial_missed(&com1); /* while interrupts found their new way */
    if (config.mode == CONFIG_MODE_CHECK) {
        start_processors();
        check_disks(config.check_disks, config.state, config.test_dma);
        check_nets(config.check_net);
        check_machine(h, config.without);
        stay("the check is done", config.problems ? "corbel.conf has a problem, see above" : NULL);
    }
    if (vmx_probe(config.without) < 0 || bring_up_processors() < 0) {
        stay("no VM is left", "no VM can run on this machine");
    }
    vmx_choose_leaves(leaves[config.small_executable]);
    vmx_log_features();
    speculation_log();
    mtrr_read(&host_mtrr, cpuid(1, 0).edx & BIT(12), vmx_features.physical_bits, read_mtrr_msr,
              NULL);
    com2_init(config.com2);
    start_trace();
    if (config.gdb)
        gdb_init();
    for (unsigned i = 0; i < config.vm_count; i++)
        runnable += !vms[i].broken;
    if (!runnable)
        log_error("the configuration has no VM that can run");
    if (serial_interrupts(&com1))
        chores.often_count--; /* serial_chore */
    if (!com2_framed()) {
        chores.often += 2; /* capture_pump, com2_pump */
        chores.often_count -= 2;
    }
    run_init(&chores);
    iommu_set_attention(iommu_attention);
    disks_begin(&config, vms);
    variables_begin(&config, vms);
    nets_begin(&config);
    if (control_init(&config, vms, h->tsc_handover) < 0)
        panic("no memory for the list of VMs");
    lost_memory_init();
    console_begin(attach_at_first());
    run_open();
    run_loop();
}
