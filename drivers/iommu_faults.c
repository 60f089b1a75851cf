/* What IOMMUs have blocked: it is read, named, and told to the driver. */
#include "drivers/iommu_internal.h"

#include "arch/x86/lib/log.h"
#include "arch/x86/tsc.h"
#include "drivers/pci_driver.h"

#define AT_ONCE 8 /* faults of a unit that are read in one go */
#define LINES   8 /* of the log, at most, in so many seconds: */
#define SECONDS 10
#define REST_HZ 10 /* a unit that has more is heard again so much later */
#define LOOK_HZ 1  /* without an interrupt */

static void (*attention)(void);
static bool interrupting, waiting; /* waiting: some unit is masked until rest_until */
static uint64_t rest_until, lines_from, untold;
static unsigned lines;

/* Whether one more line may be said; how many were not is said with the next one. */
static bool may_tell(void)
{
    uint64_t now = rdtsc();

    if (!lines_from || now - lines_from >= SECONDS * tsc_hz) {
        if (untold)
            log_warn("VT-d: %lu more were blocked, and not told", untold);
        lines_from = now;
        lines = 0;
        untold = 0;
    }
    if (lines++ < LINES)
        return true;
    untold++;
    return false;
}

static const char *driver_of(const struct iommu_domain *d)
{
    return d && d->driver ? d->driver : "no driver";
}

static void tell(const struct vtd_fault *f, const struct iommu_domain *d)
{
    unsigned bus = f->source >> 8, device = f->source >> 3 & 31, function = f->source & 7;

    if (!may_tell())
        return;
    if (vtd_is_interrupt(f->reason))
        log_warn("VT-d: blocked: interrupt %lu of %02x:%02x.%u (%s): %s", f->address, bus, device,
                 function, driver_of(d), vtd_reason(f->reason));
    else
        log_warn("VT-d: blocked: %02x:%02x.%u (%s) %s %lx: %s", bus, device, function, driver_of(d),
                 f->read ? "reads" : "writes", f->address, vtd_reason(f->reason));
}

/* The address may be a function's that has another one beyond its bridge. */
static struct iommu_domain *domain_of_fault(uint16_t source)
{
    struct iommu_domain *d = iommu_domain_of(source);

    for (struct iommu_domain *other = iommu_first_domain(); other && !d; other = other->next)
        if (other->pci && other->pci->address == source)
            d = other;
    return d;
}

/* True: there may be more. */
static bool drain(struct vtd *v)
{
    struct vtd_fault f;
    bool lost = false;
    unsigned n = 0;

    while (n < AT_ONCE && vtd_take_fault(v, &f, &lost)) {
        struct iommu_domain *d = domain_of_fault(f.source);

        tell(&f, d);
        if (d && d->fault && !d->told) {
            d->told = true;
            d->fault(d->pci);
        }
        n++;
    }
    for (struct iommu_domain *d = iommu_first_domain(); d; d = d->next)
        d->told = false;
    if (lost)
        untold++;
    return n == AT_ONCE;
}

static void drain_all(void)
{
    for (unsigned i = 0; i < iommu_unit_count; i++) {
        struct vtd *v = &iommu_units[i];

        if (v->root && drain(v)) {
            vtd_mask_faults(v, true);
            waiting = true;
        }
    }
}

/* A device that reaches for what is not its does so again and again: so there is a rest. */
static void interrupt(void *arg)
{
    drain_all();
    if (!waiting)
        return;
    rest_until = rdtsc() + tsc_hz / REST_HZ;
    if (attention)
        attention();
}

uint64_t iommu_work(void)
{
    uint64_t now = rdtsc();

    if (iommu_state() < IOMMU_ON)
        return UINT64_MAX;
    if (!interrupting) {
        if (now >= rest_until) {
            drain_all();
            rest_until = now + tsc_hz / LOOK_HZ;
        }
        return rest_until;
    }
    if (!waiting)
        return UINT64_MAX;
    if (now < rest_until)
        return rest_until;
    waiting = false;
    drain_all();
    for (unsigned i = 0; i < iommu_unit_count && !waiting; i++)
        if (iommu_units[i].root)
            vtd_mask_faults(&iommu_units[i], false);
    rest_until = now + tsc_hz / REST_HZ;
    return waiting ? rest_until : UINT64_MAX;
}

void iommu_set_attention(void (*fn)(void))
{
    attention = fn;
}

/* What firmware has left there is told, too. This message goes by no table. */
void iommu_faults_init(void)
{
    struct host_pci_message m;

    interrupting = host_interrupt_message(interrupt, NULL, &m) == 0;
    for (unsigned i = 0; i < iommu_unit_count; i++)
        if (iommu_units[i].root && interrupting)
            vtd_set_fault_message(&iommu_units[i], m.address, m.data);
    if (!interrupting)
        log_warn("VT-d: no interrupt for what is blocked: it is looked for each second");
    drain_all();
}
