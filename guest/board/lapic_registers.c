/*
 * The guest's accesses to the local APIC's registers: xAPIC loads and stores, x2APIC MSRs, APIC-
 * write exits.
 */
#include "guest/board/lapic_internal.h"
#include "arch/x86/lib/errno.h"

/* Registers by number: offset / 10h, which is also the MSR's number - 800h. */
#define REGISTERS      0x40u
#define REGISTER(n)    BIT(n)
#define REGISTERS_8(n) (0xffULL << (n))
#define VECTORS        (REGISTERS_8(0x10) | REGISTERS_8(0x18) | REGISTERS_8(0x20)) /* ISR, TMR, IRR */
#define LVTS           (0x3fULL << 0x32)
#define NUMBER(offset) ((offset) >> 4)

#define COMMON                                                                                     \
    (REGISTER(0x02) | REGISTER(0x03) | REGISTER(0x08) | REGISTER(0x0a) | REGISTER(0x0d) |          \
     REGISTER(0x0f) | VECTORS | REGISTER(0x28) | REGISTER(0x30) | LVTS | REGISTER(0x38) |          \
     REGISTER(0x39) | REGISTER(0x3e))

/* EOI, APR and RRD have a place in the xAPIC page and read 0. */
static const uint64_t xapic_registers =
    COMMON | REGISTER(0x09) | REGISTER(0x0b) | REGISTER(0x0c) | REGISTER(0x0e) | REGISTER(0x31);
static const uint64_t x2apic_readable = COMMON;
static const uint64_t x2apic_writable = REGISTER(0x08) | REGISTER(0x0b) | REGISTER(0x0f) |
                                        REGISTER(0x28) | REGISTER(0x30) | LVTS | REGISTER(0x38) |
                                        REGISTER(0x3e) | REGISTER(0x3f);

const uint32_t lapic_lvt_writable[LVT_COUNT] = {
    LVT_TIMER_WRITABLE, LVT_PERF_WRITABLE, LVT_PERF_WRITABLE,
    LVT_LINT_WRITABLE,  LVT_LINT_WRITABLE, LVT_ERROR_WRITABLE,
};

/*
 * Bits that WRMSR may set; others are reserved (#GP). Delivery status and remote IRR are read-only,
 * not reserved.
 */
static const uint64_t x2apic_mask[REGISTERS] = {
    [0x08] = 0xff,
    [0x0f] = SVR_WRITABLE,
    [0x30] = 0xffffffff00000000ULL | ICR_WRITABLE | BIT(12),
    [0x32] = LVT_TIMER_WRITABLE | BIT(12),
    [0x33] = LVT_PERF_WRITABLE | BIT(12),
    [0x34] = LVT_PERF_WRITABLE | BIT(12),
    [0x35] = LVT_LINT_WRITABLE | BIT(12) | BIT(14),
    [0x36] = LVT_LINT_WRITABLE | BIT(12) | BIT(14),
    [0x37] = LVT_ERROR_WRITABLE | BIT(12),
    [0x38] = 0xffffffff,
    [0x3e] = TDCR_WRITABLE,
    [0x3f] = 0xff,
};

static void write_svr(struct lapic *l, uint32_t value)
{
    l->page[LAPIC_SVR / 4] = value & SVR_WRITABLE;
    if (!(value & SVR_ENABLE)) {
        for (unsigned n = 0; n < LVT_COUNT; n++) {
            l->page[(LAPIC_LVT_TIMER + n * 16) / 4] |= LVT_MASKED;
        }
    }
}

static void write_lvt(struct lapic *l, unsigned offset, uint32_t value)
{
    value &= lapic_lvt_writable[NUMBER(offset - LAPIC_LVT_TIMER)];
    if (!(l->page[LAPIC_SVR / 4] & SVR_ENABLE)) {
        value |= LVT_MASKED;
    }
    if (offset == LAPIC_LVT_TIMER) {
        lapic_write_lvt_timer(l, value);
    } else {
        /* LINT0 opens: whoever raises it meanwhile sees that, or its level is seen here. */
        __atomic_store_n(&l->page[offset / 4], value, __ATOMIC_SEQ_CST);
    }
}

/*
 * What a store to a register does, whether software still has to put the value into the page or
 * hardware has.
 */
static void store(struct lapic *l, unsigned offset, uint32_t value)
{
    uint32_t *reg = &l->page[offset / 4];

    switch (offset) {
    case LAPIC_EOI:
        *reg = 0;
        lapic_eoi(l);
        break;
    case LAPIC_ICR: /* of an xAPIC */
        *reg = value & ICR_WRITABLE;
        uint32_t dest = l->page[LAPIC_ICR_HIGH / 4] >> 24;
        lapic_write_icr(l, value, dest == 0xff ? APIC_BROADCAST : dest);
        break;
    case LAPIC_ICR_HIGH:
    case LAPIC_LDR:
        *reg = value & 0xff000000;
        break;
    case LAPIC_TPR:
        *reg = value & 0xff;
        break;
    case LAPIC_TMICT:
        lapic_write_tmict(l, value);
        break;
    case LAPIC_LVT_TIMER:
    case LAPIC_LVT_THERMAL:
    case LAPIC_LVT_PERF:
    case LAPIC_LVT_LINT0:
    case LAPIC_LVT_LINT1:
    case LAPIC_LVT_ERROR:
        write_lvt(l, offset, value);
        break;
    case LAPIC_ESR:
        *reg = __atomic_exchange_n(&l->esr_pending, 0, __ATOMIC_SEQ_CST);
        break;
    case LAPIC_SVR:
        write_svr(l, value);
        break;
    case LAPIC_TDCR:
        lapic_write_tdcr(l, value & TDCR_WRITABLE);
        break;
    case LAPIC_DFR:
        *reg = value | DFR_READ_AS_ONE;
        break;
    case LAPIC_ID: /* read-only here, but hardware stores to it */
        *reg = l->id << 24;
        break;
    default: /* the other read-only registers */
        break;
    }
}

static uint32_t load(struct lapic *l, unsigned offset)
{
    switch (offset) {
    case LAPIC_PPR:
        return lapic_update_ppr(l);
    case LAPIC_TMCCT:
        return lapic_read_tmcct(l);
    default:
        if (NUMBER(offset) >= NUMBER(LAPIC_IRR) && NUMBER(offset) < NUMBER(LAPIC_ESR)) {
            lapic_sync(l);
        }
        return l->page[offset / 4];
    }
}

static bool exists_in_xapic(const struct lapic *l, unsigned offset)
{
    return NUMBER(offset) < REGISTERS && (xapic_registers >> NUMBER(offset) & 1);
}

uint64_t lapic_mmio_read(struct lapic *l, unsigned offset, unsigned size)
{
    unsigned byte = offset & 15;

    offset &= 0xff0;
    if (!exists_in_xapic(l, offset)) {
        lapic_error(l, ESR_ILLEGAL_REGISTER);
        return 0;
    }
    if (byte == 0 && size >= 4) {
        return load(l, offset);
    }
    if (byte + size > 4) {
        return 0;
    }
    return (load(l, offset) >> (byte * 8)) & ((1u << (size * 8)) - 1);
}

void lapic_mmio_write(struct lapic *l, unsigned offset, unsigned size, uint64_t value)
{
    if (UNLIKELY(size != 4 || (offset & 15) != 0)) {
        return;
    }
    offset &= 0xff0;
    if (UNLIKELY(!exists_in_xapic(l, offset))) {
        lapic_error(l, ESR_ILLEGAL_REGISTER);
        return;
    }
    store(l, offset, (uint32_t)value);
}

void lapic_after_write(struct lapic *l, unsigned offset)
{
    offset &= 0xff0;
    if (offset == LAPIC_SELF_IPI) {
        /* Of an x2APIC: hardware sends valid ones by itself. Software keeps nothing here. */
        uint8_t vector = (uint8_t)l->page[offset / 4];
        l->page[offset / 4] = 0;
        if (lapic_x2apic(l)) {
            lapic_self_ipi(l, vector);
        }
    } else if (!lapic_x2apic(l)) {
        store(l, offset, l->page[offset / 4]);
    } else if (offset == LAPIC_TPR || (offset == LAPIC_EOI && !l->virtual_delivery)) {
        store(l, offset, l->page[offset / 4]);
    }
}

int lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t *value)
{
    unsigned number = msr - MSR_X2APIC_FIRST;

    if (msr == MSR_APIC_BASE) {
        *value = l->base;
        return 0;
    }
    if (msr == MSR_TSC_DEADLINE) {
        *value = l->tsc_deadline;
        return 0;
    }
    if (!lapic_x2apic(l) || number >= REGISTERS || !(x2apic_readable >> number & 1)) {
        return -EINVAL;
    }
    *value = load(l, number * 16);
    if (number == NUMBER(LAPIC_ICR)) {
        *value |= (uint64_t)l->page[LAPIC_ICR / 4 + 1] << 32;
    }
    return 0;
}

int lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t value)
{
    unsigned number = msr - MSR_X2APIC_FIRST;

    if (msr == MSR_TSC_DEADLINE) {
        lapic_set_tsc_deadline(l, value);
        return 0;
    }
    if (msr == MSR_APIC_BASE) {
        return lapic_write_base(l, value);
    }
    if (!lapic_x2apic(l) || number >= REGISTERS || !(x2apic_writable >> number & 1) ||
        (value & ~x2apic_mask[number]) != 0) {
        return -EINVAL;
    }
    if (number == NUMBER(LAPIC_EOI)) {
        lapic_eoi(l);
    } else if (number == NUMBER(LAPIC_SELF_IPI)) {
        lapic_self_ipi(l, (uint8_t)value);
    } else if (number == NUMBER(LAPIC_ICR)) {
        /* 64 bits in one place, where RDMSR finds them under APIC-register virtualization. */
        l->page[LAPIC_ICR / 4] = (uint32_t)value & ICR_WRITABLE;
        l->page[LAPIC_ICR / 4 + 1] = (uint32_t)(value >> 32);
        lapic_write_icr(l, (uint32_t)value, (uint32_t)(value >> 32));
    } else {
        store(l, number * 16, (uint32_t)value);
    }
    return 0;
}
