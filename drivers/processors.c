#include "drivers/processors.h"

#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/machine_check.h"
#include "arch/x86/mtrr_copy.h"
#include "arch/x86/panic.h"
#include "arch/x86/smp.h"
#include "arch/x86/trampoline.h"
#include "arch/x86/trap.h"
#include "arch/x86/tsc.h"
#include "arch/x86/tsc_sync.h"
#include "drivers/processor_list.h"
#include "mm/heap.h"
#include "mm/space.h"

/* SDM, "MP Initialization Protocol Algorithm": 10 ms after INIT, 200 us between the startup IPIs.
 */
#define INIT_US   10000
#define SIPI_US   200
#define PASS_US   100000  /* until the trampoline's first instructions */
#define ARRIVE_US 1000000 /* from there to C */
#define SYNC_US   1000000

/* Printing a panic takes most of a page; a machine check may interrupt that. */
#define STACK_MAIN          16384
#define STACK_NMI           4096
#define STACK_DOUBLE_FAULT  8192
#define STACK_MACHINE_CHECK 8192

enum ap_state { AP_AWAITED, AP_ARRIVED, AP_SYNCED };

/* One processor on its way up; its own memory, for as long as Corbel runs. */
struct ap {
    struct percpu cpu;
    struct percpu_stacks stacks;
    uint32_t state; /* enum ap_state; atomic */
    bool passed;    /* it has taken the token: from then on it may use all this */
    bool mtrrs_differed;
    int64_t tsc_corrected;
};

static struct tsc_sync sync;
static struct mtrr_copy mtrrs;
static void (*main_function)(void);
static uint32_t gate; /* 1: all are up; atomic */

int processor_stacks(struct percpu_stacks *stacks)
{
    static const uint64_t sizes[IST_COUNT] = {[IST_NMI - 1] = STACK_NMI,
                                              [IST_DOUBLE_FAULT - 1] = STACK_DOUBLE_FAULT,
                                              [IST_MACHINE_CHECK - 1] = STACK_MACHINE_CHECK};
    int error = stacks->main.top ? 0 : stack_alloc(STACK_MAIN, &stacks->main);

    for (unsigned i = 0; i < IST_COUNT && !error; i++)
        error = stack_alloc(sizes[i], &stacks->ist[i]);
    return error;
}

/* --- the processor that starts --- */

static void set_state(struct ap *ap, enum ap_state state)
{
    __atomic_store_n(&ap->state, state, __ATOMIC_RELEASE);
}

/* From the trampoline, on this processor's stack, with the trampoline's page tables and GDT, no
 * IDT. */
static NORETURN void ap_begin(struct ap *ap)
{
    write_cr3(space_root());
    percpu_load(&ap->cpu, ap->cpu.number, ap->cpu.apic_id, &ap->stacks);
    idt_load();
    cpu_setup();
    ap->mtrrs_differed = mtrr_copy_apply(&mtrrs);
    machine_check_start();
    apic_enable();
    ap->cpu.apic_id = apic_id();
    set_state(ap, AP_ARRIVED);
    ap->cpu.tsc_skew = tsc_sync_ask(&sync, &ap->tsc_corrected);
    set_state(ap, AP_SYNCED);
    while (!__atomic_load_n(&gate, __ATOMIC_ACQUIRE))
        cpu_pause();
    write_cr3(space_root()); /* forgets the trampoline's page */
    main_function();
    panic("ap_main() returned");
}

/* --- the boot processor, which starts it --- */

static bool wait_for_state(const struct ap *ap, enum ap_state state, uint64_t us)
{
    uint64_t start = rdtsc(), ticks = tsc_from_ns(us * 1000);

    while (__atomic_load_n(&ap->state, __ATOMIC_ACQUIRE) < state) {
        if (rdtsc() - start > ticks)
            return false;
        cpu_pause();
    }
    return true;
}

static bool wait_for_pass(const struct trampoline_data *data, uint64_t us)
{
    uint64_t start = rdtsc(), ticks = tsc_from_ns(us * 1000);

    while (__atomic_load_n(&data->token, __ATOMIC_ACQUIRE)) {
        if (rdtsc() - start > ticks)
            return false;
        cpu_pause();
    }
    return true;
}

/* The code goes into the first low page, the root of its page tables into the second: CR3 has 32
 * bits only until long mode is on, and ours may lie higher. */
static struct trampoline_data *place_trampoline(paddr page)
{
    uint8_t *at = phys_to_virt(page);
    struct trampoline_data *data = (void *)(at + (trampoline_data - trampoline_begin));

    memcpy(at, trampoline_begin, (size_t)(trampoline_end - trampoline_begin));
    memcpy(at + PAGE_SIZE, phys_to_virt(space_root()), PAGE_SIZE);
    *data = (struct trampoline_data){
        .cr3 = (uint32_t)(page + PAGE_SIZE),
        .cr4 = (uint32_t)(CR4_PAE | (read_cr4() & CR4_LA57)),
        .gdt_limit = (uint16_t)(trampoline_gdt_end - trampoline_gdt - 1),
        .gdt_base = (uint32_t)page + (uint32_t)(trampoline_gdt - trampoline_begin),
        .protected_offset = (uint32_t)page + (uint32_t)(trampoline_protected - trampoline_begin),
        .protected_selector = TRAMPOLINE_CODE32,
        .long_offset = (uint32_t)page + (uint32_t)(trampoline_long - trampoline_begin),
        .long_selector = TRAMPOLINE_CODE64,
        .entry = (uint64_t)ap_begin,
    };
    return data;
}

/* Both startup IPIs even if the first is enough; who is past the token ignores the second. */
static bool send_sipis(struct ap *ap, struct trampoline_data *data, paddr page)
{
    uint32_t id = ap->cpu.apic_id;

    __atomic_store_n(&data->token, 1, __ATOMIC_RELEASE);
    apic_send_sipi(id, (uint8_t)(page / PAGE_SIZE));
    if (wait_for_pass(data, SIPI_US))
        return true;
    apic_send_sipi(id, (uint8_t)(page / PAGE_SIZE));
    return wait_for_pass(data, PASS_US);
}

/* It has had its INIT. Returns what was seen of it when it does not come up, else NULL. */
static const char *start(struct ap *ap, struct trampoline_data *data, paddr page)
{
    data->stack = ap->stacks.main.top;
    data->argument = (uint64_t)ap;
    ap->passed = send_sipis(ap, data, page);
    if (!ap->passed) {
        apic_send_init(ap->cpu.apic_id);
        tsc_delay_us(INIT_US);
        ap->passed = send_sipis(ap, data, page);
    }
    if (ap->passed && wait_for_state(ap, AP_ARRIVED, ARRIVE_US)) {
        tsc_sync_answer(&sync);
        if (wait_for_state(ap, AP_SYNCED, SYNC_US))
            return NULL;
    }
    /* Nobody may pass any more; and INIT puts it where only a startup IPI reaches it. */
    if (!__atomic_exchange_n(&data->token, 0, __ATOMIC_ACQ_REL))
        ap->passed = true;
    apic_send_init(ap->cpu.apic_id);
    return !ap->passed ? "no instruction of it was seen after two INIT-SIPI-SIPI sequences"
           : __atomic_load_n(&ap->state, __ATOMIC_ACQUIRE) < AP_ARRIVED
               ? "it started, but did not get through the trampoline"
               : "it started, but stopped answering while its TSC was compared";
}

static void report(const struct ap *ap)
{
    uint32_t id = ap->cpu.apic_id;

    log_debug("processor %u: APIC id %u", ap->cpu.number, id);
    if (ap->mtrrs_differed)
        log_debug(
            "processor %u (APIC id %u): firmware gave it other MTRRs than the boot processor: "
            "they are equal now",
            ap->cpu.number, id);
    if (ap->tsc_corrected)
        log_info("processor %u (APIC id %u): its TSC was %ld ticks ahead: corrected",
                 ap->cpu.number, id, ap->tsc_corrected);
    if (ap->cpu.tsc_skew)
        log_warn(
            "processor %u (APIC id %u): its TSC is %ld ticks ahead of the boot processor's, and "
            "cannot be corrected",
            ap->cpu.number, id, ap->cpu.tsc_skew);
}

static const char *why_not(enum processor_verdict verdict)
{
    switch (verdict) {
    case PROCESSOR_TWICE:
        return "firmware lists it twice";
    case PROCESSOR_UNREACHABLE:
        return apic_is_x2apic() ? "its APIC id means all processors"
                                : "without x2APIC, ids up to 254 can be reached";
    default:
        return NULL;
    }
}

static struct ap *make_ap(void)
{
    struct ap *ap = heap_alloc(sizeof(*ap));

    if (ap && processor_stacks(&ap->stacks)) {
        heap_free(ap);
        return NULL;
    }
    return ap;
}

/* Start the processor with this APIC id. Why that is not possible, or NULL. *spare is memory that
 * no processor has seen, or NULL. */
static const char *bring_up(uint32_t id, struct trampoline_data *data, paddr page,
                            struct ap **spare)
{
    struct ap *ap;
    const char *why;

    if (smp_cpus == SMP_CPUS_MAX)
        return "there are too many";
    ap = *spare ? *spare : make_ap();
    if (!ap)
        return "no memory is left for it";
    ap->cpu.number = smp_cpus;
    ap->cpu.apic_id = id;
    tsc_sync_init(&sync);
    why = start(ap, data, page);
    /* What a processor may have begun to use stays its own, even if it is lost. */
    *spare = ap->passed ? NULL : ap;
    if (why)
        return why;
    smp_add_cpu(&ap->cpu);
    report(ap);
    return NULL;
}

/* One after another, but all wait for the end of INIT at the same time. */
static void start_all(const struct handover_cpu *list, uint32_t count, paddr page)
{
    struct trampoline_data *data = place_trampoline(page);
    struct ap *spare = NULL;

    for (uint32_t i = 0; i < count; i++)
        if (processor_verdict(list, i, apic_id(), apic_is_x2apic()) == PROCESSOR_START)
            apic_send_init(list[i].apic_id);
    tsc_delay_us(INIT_US);
    for (uint32_t i = 0; i < count; i++) {
        enum processor_verdict verdict = processor_verdict(list, i, apic_id(), apic_is_x2apic());
        const char *why = why_not(verdict);

        if (verdict == PROCESSOR_START)
            why = bring_up(list[i].apic_id, data, page, &spare);
        if (why)
            log_warn("processor with APIC id %u is not used: %s", list[i].apic_id, why);
    }
}

void smp_start(const struct handover *h, void (*ap_main)(void))
{
    paddr page = h->low_pages;

    main_function = ap_main;
    mtrr_copy_read(&mtrrs);
    if (h->cpu_count > 1 && !page) {
        log_warn("firmware has no memory below 640 KiB left: the other processors are not used");
    } else if (h->cpu_count > 1 && space_map_identity(page)) {
        log_warn("no memory is left to start the other processors: they are not used");
    } else if (h->cpu_count > 1) {
        start_all(phys_to_virt(h->cpus), h->cpu_count, page);
        space_unmap_identity(page);
    }
    log_debug("%u processor%s, APICs in %s mode, timers %s", smp_cpus,
              smp_cpus == 1 ? " runs" : "s run", apic_is_x2apic() ? "x2APIC" : "xAPIC",
              apic_timer_is_deadline() ? "by TSC deadline" : "one-shot");
    __atomic_store_n(&gate, 1, __ATOMIC_RELEASE);
}
