#include "guest/vm/lost_memory.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/machine_check.h"
#include "arch/x86/smp.h"
#include "arch/x86/tsc.h"
#include "guest/vm/control.h"
#include "mm/frame.h"

#define LOOK_SECONDS 60
#define PAGES        16

/* Told of, and not looked after yet; 0: none. Written in the middle of anything. */
static uint64_t pages[PAGES];
static bool told; /* there may be some: all that the loop looks at each time it comes by */
static uint64_t next_look;
static uint64_t corrected, unused; /* since the start */

/* A page's owner is read without a lock; one that has been retired has been told of before. */
static bool spare(uint64_t page)
{
    uint16_t owner = frame_owner(page);

    if (owner == FRAME_RETIRED)
        return true;
    if (owner < FRAME_VM || !page)
        return false;
    for (unsigned i = 0; i < PAGES; i++) {
        uint64_t none = 0;

        if (__atomic_compare_exchange_n(&pages[i], &none, page, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE) ||
            none == page) {
            __atomic_store_n(&told, true, __ATOMIC_RELEASE);
            return true;
        }
    }
    return false;
}

static void lose(uint64_t page)
{
    uint16_t owner = frame_owner(page);
    char why[sizeof(((struct vm_slot *)0)->why)], error[CONTROL_ERROR];

    if (owner < FRAME_VM || (unsigned)(owner - FRAME_VM) >= control_count())
        return; /* it has ended meanwhile; or another processor has told of it, too */
    frame_retire(page);
    struct vm_slot *s = control_slot(owner - FRAME_VM);
    format(why, sizeof(why), "the machine has lost what was in its memory at %lx", page);
    log_error("%s: %s", s->name, why);
    if (control_kill(s, why, error) < 0)
        log_error("%s", error);
}

static void look_here(void *out)
{
    machine_check_look(out);
}

static void look(unsigned processor)
{
    struct machine_check_look found;

    cpu_call(processor, look_here, &found);
    if (!found.corrected && !found.unused)
        return;
    corrected += found.corrected;
    unused += found.unused;
    log_warn("machine check: processor %u: %u corrected, %u not corrected and not used, %lu and "
             "%lu since the start%s%s",
             processor, found.corrected, found.unused, corrected, unused, found.text[0] ? "; " : "",
             found.text);
}

void lost_memory_init(void)
{
    machine_check_set_keeper(spare);
    next_look = machine_check_present() ? rdtsc() + LOOK_SECONDS * tsc_hz : UINT64_MAX;
}

static void lose_those(void)
{
    __atomic_store_n(&told, false, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < PAGES; i++) {
        uint64_t page = __atomic_exchange_n(&pages[i], 0, __ATOMIC_ACQ_REL);

        if (page)
            lose(page);
    }
}

uint64_t lost_memory_work(void)
{
    if (UNLIKELY(__atomic_load_n(&told, __ATOMIC_ACQUIRE)))
        lose_those();
    if (rdtsc() < next_look)
        return next_look;
    for (unsigned n = 0; n < smp_cpus; n++)
        look(n);
    next_look = rdtsc() + LOOK_SECONDS * tsc_hz;
    return next_look;
}
