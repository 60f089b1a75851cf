/* See vtd.h. Names are the specification's. */
#include "drivers/vtd.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"

#define VER             0x00
#define CAP             0x08
#define CAP_DOMAINS(c)  (4 + 2 * ((c)&7)) /* bits of a domain's number */
#define CAP_RWBF        BIT(4)
#define CAP_CM          BIT(7)
#define CAP_SAGAW(c)    ((c) >> 8 & 0x1f) /* a bit for each number of levels, from 2 on */
#define CAP_MGAW(c)     (((c) >> 16 & 0x3f) + 1)
#define CAP_ZLR         BIT(22)
#define CAP_FRO(c)      (((c) >> 24 & 0x3ff) * 16)
#define CAP_NFR(c)      (((c) >> 40 & 0xff) + 1)
#define ECAP            0x10
#define ECAP_C          BIT(0)
#define ECAP_QI         BIT(1)
#define ECAP_IR         BIT(3)
#define ECAP_EIM        BIT(4)
#define ECAP_SC         BIT(7)
#define ECAP_IRO(e)     (((e) >> 8 & 0x3ff) * 16)
#define GCMD            0x18
#define GSTS            0x1c
#define GSTS_KEPT       0x96ffffffu /* one-shot commands are not repeated */
#define G_TE            BIT(31)
#define G_SRTP          BIT(30)
#define G_WBF           BIT(27)
#define G_QIE           BIT(26)
#define G_IRE           BIT(25)
#define G_SIRTP         BIT(24)
#define G_CFI           BIT(23)
#define RTADDR          0x20
#define CCMD            0x28
#define CCMD_GO         BIT(63)
#define CCMD_GLOBAL     BIT(61)
#define FSTS            0x34
#define FSTS_PFO        BIT(0)
#define FSTS_QUEUE      (BIT(4) | BIT(5) | BIT(6)) /* IQE, ICE, ITE */
#define FECTL           0x38
#define FECTL_MASKED    BIT(31)
#define FEDATA          0x3c
#define FEADDR          0x40
#define FEUADDR         0x44
#define PMEN            0x64
#define PMEN_ON         BIT(31)
#define PMEN_STATUS     BIT(0)
#define IQT             0x88
#define IQA             0x90
#define IRTA            0xb8
#define IRTA_EIME       BIT(11)
#define IRTA_SIZE       7u /* 2^8 entries */
#define IOTLB           8  /* behind IRO */
#define IOTLB_GO        BIT(63)
#define IOTLB_GLOBAL    BIT(60)
#define IOTLB_DOMAIN(n) (BIT(61) | (uint64_t)(n) << 32)
#define IOTLB_DRAIN     (BIT(49) | BIT(48))

/* What is put into the queue. */
#define ASK_CONTEXTS   (1u | 1u << 4)
#define ASK_ALL        (2u | 1u << 4 | DRAIN)
#define ASK_DOMAIN(n)  (2u | 2u << 4 | DRAIN | (uint64_t)(n) << 16)
#define ASK_INTERRUPTS 4u
#define ASK_WRITE      (5u | 1u << 5) /* a word, behind all that was asked before */
#define DRAIN          (BIT(6) | BIT(7))
#define QUEUE_ENTRIES  (PAGE_SIZE / sizeof(struct vtd_entry))

#define FAULT_SIZE   16
#define FAULT_READ   BIT(30) /* of its highest dword */
#define FAULT_F      BIT(31)
#define REASON_IR    0x20
#define REASON_IR_TO 0x26

#define PATIENCE_MS 1000

static uint32_t get(const struct vtd *v, unsigned reg)
{
    return io_read32(&v->registers, reg);
}

static void put(const struct vtd *v, unsigned reg, uint64_t value)
{
    io_write32(&v->registers, reg, (uint32_t)value);
}

static uint64_t deadline(void)
{
    return rdtsc() + tsc_hz / 1000 * PATIENCE_MS;
}

/* It has not done what it was told: that is said once, and it is not waited for again. */
static void give_up(struct vtd *v)
{
    if (v->on && !v->dead)
        log_error("VT-d: a unit does not do what it is told: what devices reach by it nobody knows "
                  "any more");
    v->dead = true;
}

/* Until these bits of a register are that. */
static int wait_for(struct vtd *v, unsigned reg, uint64_t bits, uint64_t what)
{
    uint64_t until = deadline();

    while ((get(v, reg) & bits) != what)
        if (rdtsc() >= until) {
            give_up(v);
            return -ETIMEDOUT;
        }
    return 0;
}

/* A global command: it is on, or done, when its bit of the status says so. */
static int command(struct vtd *v, uint64_t bit, bool on)
{
    uint64_t status = get(v, GSTS) & GSTS_KEPT;

    put(v, GCMD, on ? status | bit : status & ~bit);
    return wait_for(v, GSTS, bit, on ? bit : 0);
}

/* --- what it can do --- */

uint64_t vtd_size(const struct io *registers)
{
    uint64_t cap = io_read64(registers, CAP), ecap = io_read64(registers, ECAP);

    return MAX(CAP_FRO(cap) + CAP_NFR(cap) * FAULT_SIZE, ECAP_IRO(ecap) + 16);
}

const char *vtd_probe(struct vtd *v)
{
    uint32_t version = get(v, VER);

    v->cap = io_read64(&v->registers, CAP);
    v->ecap = io_read64(&v->registers, ECAP);
    if (version == UINT32_MAX || !(version & 0xff))
        return "it does not answer";
    if (vtd_size(&v->registers) > v->registers.size)
        return "its registers are elsewhere";
    for (unsigned levels = 3; levels <= 5; levels++) /* five only where it has nothing else */
        if ((CAP_SAGAW(v->cap) >> (levels - 2) & 1) && (levels < 5 || !v->levels))
            v->levels = levels;
    if (!v->levels)
        return "its page tables are of a kind that Corbel does not make";
    v->coherent = v->ecap & ECAP_C;
    v->queued = v->ecap & ECAP_QI;
    v->domains = 1u << MIN(CAP_DOMAINS(v->cap), 16u);
    spin_init(&v->lock, RANK_IOMMU);
    return NULL;
}

bool vtd_remembers_nothing(const struct vtd *v)
{
    return v->cap & CAP_CM;
}

unsigned vtd_address_bits(const struct vtd *v)
{
    return (unsigned)MIN(CAP_MGAW(v->cap), 12u + 9 * v->levels);
}

bool vtd_can_snoop(const struct vtd *v)
{
    return v->ecap & ECAP_SC;
}

bool vtd_zero_reads(const struct vtd *v)
{
    return v->cap & CAP_ZLR;
}

unsigned vtd_new_domain(struct vtd *v)
{
    return v->domain_last + 1 < v->domains ? ++v->domain_last : 0;
}

/* --- what it is told; the lock is held --- */

static void ask_by_register(struct vtd *v, unsigned reg, uint64_t value)
{
    io_write64(&v->registers, reg, value);
    (void)wait_for(v, reg + 4, CCMD_GO >> 32, 0);
}

static void enqueue(struct vtd *v, uint64_t low, uint64_t high)
{
    v->queue[v->tail].low = low;
    v->queue[v->tail].high = high;
    v->tail = (v->tail + 1) % QUEUE_ENTRIES;
}

/* The word behind the queue is written when all that was asked before has been done. */
static volatile uint32_t *answer(const struct vtd *v)
{
    return (volatile uint32_t *)(v->queue + QUEUE_ENTRIES);
}

/* So few at a time that the queue is never full. */
static void ask(struct vtd *v, uint64_t low)
{
    uint64_t until;

    enqueue(v, low, 0);
    enqueue(v, ASK_WRITE | (uint64_t)++v->ticket << 32, v->queue_at + PAGE_SIZE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    put(v, IQT, v->tail * sizeof(struct vtd_entry));
    until = deadline();
    while (__atomic_load_n(answer(v), __ATOMIC_ACQUIRE) != v->ticket)
        if (rdtsc() >= until || (get(v, FSTS) & FSTS_QUEUE)) {
            give_up(v);
            return;
        }
}

static void tell(struct vtd *v, uint64_t by_queue, unsigned reg, uint64_t by_register)
{
    if (!v->on || v->dead)
        return;
    if (v->cap & CAP_RWBF) {
        put(v, GCMD, (get(v, GSTS) & GSTS_KEPT) | G_WBF);
        if (wait_for(v, GSTS, G_WBF, 0))
            return;
    }
    if (v->queued)
        ask(v, by_queue);
    else
        ask_by_register(v, reg, by_register);
}

static void forget_contexts(struct vtd *v)
{
    tell(v, ASK_CONTEXTS, CCMD, CCMD_GO | CCMD_GLOBAL);
}

static void forget_all(struct vtd *v)
{
    tell(v, ASK_ALL, (unsigned)ECAP_IRO(v->ecap) + IOTLB, IOTLB_GO | IOTLB_GLOBAL | IOTLB_DRAIN);
}

void vtd_forget(struct vtd *v, unsigned domain)
{
    spin_lock(&v->lock);
    tell(v, ASK_DOMAIN(domain), (unsigned)ECAP_IRO(v->ecap) + IOTLB,
         IOTLB_GO | IOTLB_DOMAIN(domain) | IOTLB_DRAIN);
    spin_unlock(&v->lock);
}

void vtd_forget_interrupts(struct vtd *v)
{
    spin_lock(&v->lock);
    tell(v, ASK_INTERRUPTS, 0, 0);
    spin_unlock(&v->lock);
}

/* --- starting it --- */

static void *new_frames(unsigned order, paddr *at, bool coherent)
{
    *at = frame_alloc(order, FRAME_KERNEL);
    if (*at == FRAME_NONE)
        return NULL;
    memset(phys_to_virt(*at), 0, PAGE_SIZE << order);
    if (!coherent)
        vtd_write_back(phys_to_virt(*at), PAGE_SIZE << order);
    return phys_to_virt(*at);
}

int vtd_prepare(struct vtd *v)
{
    v->root = new_frames(FRAME_ORDER_4K, &v->root_at, v->coherent);
    if (v->queued)
        v->queue = new_frames(1, &v->queue_at, true);
    return v->root && (v->queue || !v->queued) ? 0 : -ENOMEM;
}

/* What firmware has left on of it goes, but for its translation, until ours is there. */
static int take_over(struct vtd *v)
{
    int error = 0;

    if (get(v, GSTS) & G_IRE)
        error = command(v, G_IRE, false);
    if (!error && (get(v, GSTS) & G_QIE))
        error = command(v, G_QIE, false);
    return error;
}

static int start_queue(struct vtd *v)
{
    io_write64(&v->registers, IQT, 0);
    io_write64(&v->registers, IQA, v->queue_at);
    put(v, FSTS, FSTS_QUEUE);
    return command(v, G_QIE, true);
}

int vtd_start(struct vtd *v)
{
    int error = take_over(v);

    if (!error && v->queued)
        error = start_queue(v);
    if (error)
        return error;
    v->on = true;
    io_write64(&v->registers, RTADDR, v->root_at);
    error = command(v, G_SRTP, true);
    if (error)
        return error;
    spin_lock(&v->lock);
    forget_contexts(v);
    forget_all(v);
    spin_unlock(&v->lock);
    if (!v->dead)
        error = command(v, G_TE, true);
    /* Firmware's regions that no device reaches would be in the way of our tables. */
    if (!error && !v->dead && (get(v, PMEN) & PMEN_STATUS)) {
        put(v, PMEN, get(v, PMEN) & ~PMEN_ON);
        error = wait_for(v, PMEN, PMEN_STATUS, 0);
    }
    return v->dead ? -ETIMEDOUT : error;
}

void vtd_stop(struct vtd *v)
{
    (void)command(v, G_TE, false);
    v->on = false;
}

/* The context entries of a bus; NULL: no memory for them. */
static struct vtd_entry *contexts(struct vtd *v, unsigned bus)
{
    struct vtd_entry *table;
    paddr at = v->root[bus].low & ~(PAGE_SIZE - 1);

    if (at)
        return phys_to_virt(at);
    table = new_frames(FRAME_ORDER_4K, &at, v->coherent);
    if (table)
        vtd_set_entry(&v->root[bus], vtd_root_entry(at), v->coherent);
    return table;
}

int vtd_attach(struct vtd *v, uint16_t address, const struct vtd_space *s, unsigned domain)
{
    struct vtd_entry *table;

    spin_lock(&v->lock);
    table = contexts(v, address >> 8);
    if (table) {
        vtd_set_entry(&table[address & 0xff], vtd_context_entry(s, domain), v->coherent);
        forget_contexts(v); /* only where what is not there is remembered; it costs nothing else */
    }
    spin_unlock(&v->lock);
    return table ? 0 : -ENOMEM;
}

/* --- interrupts --- */

bool vtd_can_remap(const struct vtd *v, bool x2apic)
{
    return v->queued && (v->ecap & ECAP_IR) && (!x2apic || (v->ecap & ECAP_EIM));
}

int vtd_remap(struct vtd *v, paddr table, bool x2apic)
{
    int error;

    io_write64(&v->registers, IRTA, table | (x2apic ? IRTA_EIME : 0) | IRTA_SIZE);
    error = command(v, G_SIRTP, true);
    if (error)
        return error;
    vtd_forget_interrupts(v);
    if (get(v, GSTS) & G_CFI) /* those that name a processor themselves do not pass */
        error = command(v, G_CFI, false);
    return error ? error : command(v, G_IRE, true);
}

/* --- faults --- */

void vtd_set_fault_message(struct vtd *v, uint64_t address, uint32_t data)
{
    put(v, FEDATA, data);
    put(v, FEADDR, address);
    put(v, FEUADDR, address >> 32);
    vtd_mask_faults(v, false);
}

void vtd_mask_faults(struct vtd *v, bool masked)
{
    put(v, FECTL, masked ? FECTL_MASKED : 0);
    (void)get(v, FECTL);
}

bool vtd_take_fault(struct vtd *v, struct vtd_fault *out, bool *lost)
{
    for (unsigned i = 0; i < CAP_NFR(v->cap); i++) {
        unsigned at = (unsigned)CAP_FRO(v->cap) + i * FAULT_SIZE;
        uint32_t top = get(v, at + 12);

        if (top == UINT32_MAX || !(top & FAULT_F))
            continue;
        *out = (struct vtd_fault){.source = (uint16_t)get(v, at + 8),
                                  .reason = (uint8_t)top,
                                  .read = top & FAULT_READ,
                                  .address = io_read64(&v->registers, at) & ~(PAGE_SIZE - 1)};
        if (vtd_is_interrupt(out->reason))
            out->address = io_read64(&v->registers, at) >> 48;
        put(v, at + 12, FAULT_F);
        return true;
    }
    if (get(v, FSTS) & FSTS_PFO) {
        *lost = true;
        put(v, FSTS, FSTS_PFO);
    }
    return false;
}

bool vtd_is_interrupt(unsigned reason)
{
    return reason >= REASON_IR && reason <= REASON_IR_TO;
}

const char *vtd_reason(unsigned reason)
{
    static const char *const names[] = {
        [0x1] = "no device of its bus may reach memory",
        [0x2] = "it may reach no memory",
        [0x3] = "its context entry is wrong",
        [0x4] = "the address is beyond what there can be",
        [0x5] = "it may not write there",
        [0x6] = "it may not read there",
        [0x7] = "a page table cannot be read",
        [0x8] = "the root table cannot be read",
        [0x9] = "a context table cannot be read",
        [0xa] = "a root entry has reserved bits",
        [0xb] = "a context entry has reserved bits",
        [0xc] = "a page table's entry has reserved bits",
        [0xd] = "it calls the address translated",
        [0x20] = "the interrupt has reserved bits",
        [0x21] = "there is no interrupt of that index",
        [0x22] = "nobody has that interrupt",
        [0x23] = "the interrupt table cannot be read",
        [0x24] = "an entry of the interrupt table has reserved bits",
        [0x25] = "the interrupt names a processor itself",
        [0x26] = "the interrupt is another device's",
    };

    if (reason < ARRAY_SIZE(names) && names[reason])
        return names[reason];
    return "for a reason that Corbel does not know";
}
