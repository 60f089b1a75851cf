/* See iommu.h and dma.h. */
#include "drivers/iommu_internal.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "drivers/acpi.h"
#include "drivers/pci_driver.h"
#include "mm/heap.h"
#include "mm/space.h"

#define REGION_MAX (GIB / 2) /* of memory that firmware wants a device to reach */
#define SNOOP      BIT(11)   /* in a page's entry */

struct vtd iommu_units[DMAR_UNITS];
unsigned iommu_unit_count;
struct dmar iommu_table;

static enum iommu_state state;
static struct iommu_domain *domains;
static bool forgets; /* see iommu_test_forget() */

enum iommu_state iommu_state(void)
{
    return state;
}

/* --- domains --- */

struct iommu_domain *iommu_first_domain(void)
{
    return domains;
}

struct iommu_domain *iommu_domain_of(uint16_t address)
{
    struct iommu_domain *d = domains;

    while (d && d->address != address)
        d = d->next;
    return d;
}

static void settle(struct iommu_domain *d)
{
    vtd_forget(d->unit, d->number);
    vtd_space_settled(&d->space);
}

static int map(struct dma *dma, paddr at, uint64_t size, unsigned rights)
{
    struct iommu_domain *d = CONTAINER_OF(dma, struct iommu_domain, dma);
    unsigned all = rights & DMA_WRITE ? VTD_WRITE : 0;
    int error;

    /* Some read nothing of where they write to. */
    if ((rights & DMA_READ) || (all && !vtd_zero_reads(d->unit)))
        all |= VTD_READ;
    if (UNLIKELY(forgets))
        return 0;
    spin_lock(&d->lock);
    error = vtd_map(&d->space, at, size, all);
    if (d->space.stale || (!error && vtd_remembers_nothing(d->unit)))
        settle(d);
    spin_unlock(&d->lock);
    return error;
}

static void unmap(struct dma *dma, paddr at, uint64_t size)
{
    struct iommu_domain *d = CONTAINER_OF(dma, struct iommu_domain, dma);
    bool was;

    if (UNLIKELY(forgets))
        return;
    spin_lock(&d->lock);
    was = vtd_unmap(&d->space, at, size);
    spin_unlock(&d->lock);
    if (!was)
        log_error("%s: memory at %lx was to be taken from its device, which never had it",
                  d->driver, at);
}

static void settle_dma(struct dma *dma)
{
    struct iommu_domain *d = CONTAINER_OF(dma, struct iommu_domain, dma);

    spin_lock(&d->lock);
    if (d->space.unsettled)
        settle(d);
    spin_unlock(&d->lock);
}

static const struct dma_ops ops = {map, unmap, settle_dma};

static struct vtd *unit_for(uint16_t address)
{
    const struct dmar_unit *u = dmar_unit_of(&iommu_table, host_pci_read_at, address);

    return u ? &iommu_units[u - iommu_table.units] : NULL;
}

static int start_domain(struct iommu_domain *d, struct vtd *unit)
{
    d->unit = unit;
    d->space.levels = unit->levels;
    d->space.coherent = unit->coherent;
    d->space.always = vtd_can_snoop(unit) ? SNOOP : 0;
    d->number = vtd_new_domain(unit);
    if (!d->number || vtd_space_init(&d->space))
        return -ENOMEM;
    d->dma.ops = &ops;
    d->dma.highest = BIT(vtd_address_bits(unit)) - 1;
    return vtd_attach(unit, d->address, &d->space, d->number);
}

/* What the hardware knows by that address reaches nothing yet, unless it has a domain already. */
static struct iommu_domain *domain_for(uint16_t address)
{
    struct iommu_domain *d = iommu_domain_of(address);
    struct vtd *unit = state >= IOMMU_ON ? unit_for(address) : NULL;

    if (d)
        return d;
    d = heap_alloc(sizeof(*d));
    if (!d)
        return NULL;
    d->address = address;
    d->dma.highest = UINT64_MAX;
    spin_init(&d->lock, RANK_DMA);
    if (unit && start_domain(d, unit)) {
        heap_free(d);
        return NULL;
    }
    if (!unit && state >= IOMMU_ON)
        log_warn("VT-d: no unit has %02x:%02x.%u: it reaches all memory", address >> 8,
                 address >> 3 & 31, address & 7);
    d->next = domains;
    domains = d;
    return d;
}

struct dma *dma_claim(const struct host_pci *p, const char *driver,
                      void (*fault)(const struct host_pci *p))
{
    struct iommu_domain *d = domain_for(host_pci_requester(p));

    /* Behind a bridge that speaks for it, it may speak for itself all the same. */
    if (d && d->unit && d->address != p->address &&
        vtd_attach(d->unit, p->address, &d->space, d->number))
        d = NULL;
    if (!d) {
        log_error("%s: %02x:%02x.%u is not used: no memory for what it may reach", driver,
                  p->address >> 8, p->address >> 3 & 31, p->address & 7);
        return NULL;
    }
    d->driver = driver;
    d->fault = fault;
    d->pci = p;
    return &d->dma;
}

/* --- memory --- */

void *dma_alloc(struct dma *d, unsigned order, paddr limit, paddr *at)
{
    void *memory;

    *at = frame_alloc_below(order, FRAME_KERNEL, MIN(limit, d->highest));
    if (*at == FRAME_NONE)
        return NULL;
    memory = phys_to_virt(*at);
    memset(memory, 0, PAGE_SIZE << order);
    if (dma_map(d, *at, PAGE_SIZE << order, DMA_READ | DMA_WRITE)) {
        dma_settle(d);
        frame_free(*at, order);
        *at = FRAME_NONE;
        return NULL;
    }
    return memory;
}

void dma_free(struct dma *d, paddr at, unsigned order)
{
    dma_unmap(d, at, PAGE_SIZE << order);
    dma_settle(d);
    frame_free(at, order);
}

/* --- what firmware wants devices to reach --- */

/* Never memory that is ours. */
static bool is_firmwares(const struct dmar_region *r)
{
    if (r->end - r->base > REGION_MAX)
        return false;
    for (paddr at = r->base; at < r->end; at += PAGE_SIZE)
        if (frame_owner(at) != FRAME_RESERVED)
            return false;
    return true;
}

static void open_region(const struct dmar_region *r, const struct host_pci *p)
{
    unsigned bus = p->address >> 8, device = p->address >> 3 & 31, function = p->address & 7;
    struct iommu_domain *d;

    if (!is_firmwares(r)) {
        log_warn("VT-d: firmware wants %02x:%02x.%u to reach %lx-%lx, which is not its: refused",
                 bus, device, function, r->base, r->end - 1);
        return;
    }
    d = domain_for(host_pci_requester(p));
    if (!d || dma_map(&d->dma, r->base, r->end - r->base, DMA_READ | DMA_WRITE)) {
        log_warn("VT-d: no memory to let %02x:%02x.%u reach what firmware wants it to", bus, device,
                 function);
        return;
    }
    host_pci_unquiet(p);
    log_info("VT-d: %02x:%02x.%u may reach %lx-%lx, as firmware wants it", bus, device, function,
             r->base, r->end - 1);
}

static void open_regions(void)
{
    for (unsigned i = 0; i < iommu_table.region_count; i++) {
        const struct dmar_region *r = &iommu_table.regions[i];
        const struct host_pci *p;

        for (unsigned n = 0; (p = host_pci_get(n)) && !r->segment; n++)
            if (dmar_has(&iommu_table, r->first, r->count, host_pci_read_at, p->address))
                open_region(r, p);
    }
}

/* --- start --- */

/* NULL, or why this unit cannot be used. */
static const char *prepare(const struct dmar_unit *u, struct vtd *v)
{
    void *mapped;
    uint64_t size;

    if (frame_owner(u->registers) != FRAME_RESERVED)
        return "its registers are in memory";
    mapped = map_mmio(u->registers, PAGE_SIZE, CACHE_UC);
    if (!mapped)
        return "its registers cannot be mapped";
    v->registers = (struct io){.base = (uint64_t)mapped, .size = PAGE_SIZE};
    size = vtd_size(&v->registers);
    if (size > PAGE_SIZE) {
        mapped = map_mmio(u->registers, size, CACHE_UC);
        if (!mapped)
            return "its registers cannot be mapped";
        v->registers = (struct io){.base = (uint64_t)mapped, .size = size};
    }
    return vtd_probe(v);
}

/* All of segment 0, or none: a device of another unit's would not be held back. */
static bool start_units(void)
{
    for (unsigned i = 0; i < iommu_table.unit_count; i++) {
        const struct dmar_unit *u = &iommu_table.units[i];
        const char *why = u->segment ? NULL : prepare(u, &iommu_units[i]);

        if (!why && !u->segment && vtd_prepare(&iommu_units[i]))
            why = "no memory";
        if (why) {
            log_warn("VT-d: the unit at %lx cannot be used: %s", u->registers, why);
            return false;
        }
    }
    iommu_unit_count = iommu_table.unit_count;
    return true;
}

/* All of them, or none is on. */
static bool switch_on(void)
{
    unsigned on = 0;

    while (on < iommu_unit_count && (!iommu_units[on].root || !vtd_start(&iommu_units[on])))
        on++;
    if (on == iommu_unit_count)
        return true;
    log_error("VT-d: the unit at %lx does not come up: devices reach all memory",
              iommu_table.units[on].registers);
    do
        if (iommu_units[on].root)
            vtd_stop(&iommu_units[on]);
    while (on--);
    for (struct iommu_domain *d = domains; d; d = d->next)
        d->dma.ops = NULL;
    return false;
}

static enum iommu_state bring_up(bool use)
{
    const struct acpi_header *h = acpi_find("DMAR");
    int error;

    if (!h)
        return IOMMU_NONE;
    if (!use)
        return IOMMU_OFF;
    error = dmar_read((const uint8_t *)h, h->length, &iommu_table);
    if (error) {
        log_warn("VT-d: the DMAR table %s: devices reach all memory",
                 error == -EBADMSG  ? "is damaged"
                 : error == -ENOSPC ? "names more than Corbel has room for"
                                    : "names no unit");
        return IOMMU_BAD;
    }
    return start_units() ? IOMMU_ON : IOMMU_BAD;
}

void iommu_init(bool use)
{
    bool interrupts = false;

    (void)host_pci_find();
    domains = NULL;
    state = bring_up(use);
    if (state != IOMMU_ON)
        return;
    open_regions();
    if (!switch_on()) {
        state = IOMMU_BAD;
        return;
    }
    iommu_faults_init();
    interrupts = iommu_interrupts_init();
    if (interrupts)
        state = IOMMU_ON_WITH_INTERRUPTS;
    log_info("VT-d: %u unit%s; devices reach what their drivers map; interrupts %s",
             iommu_unit_count, iommu_unit_count == 1 ? "" : "s",
             interrupts ? "are remapped" : "are not remapped");
}

void iommu_test_forget(bool on)
{
    forgets = on;
}
