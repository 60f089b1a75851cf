/*
 * The life of a virtual local APIC: power-on, INIT, the three modes of IA32_APIC_BASE, saved state.
 */
#include "guest/board/lapic_internal.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define VERSION_INTEGRATED 0x14u
#define STATE_VERSION      1
#define APIC_BASE_PAGE     (~0xfffULL)
#define PHYSICAL_BITS_MAX  52

static void clear_registers(struct lapic *l)
{
    memset(l->page, 0, PAGE_SIZE);
    l->page[LAPIC_VERSION / 4] = (LVT_COUNT - 1) << 16 | VERSION_INTEGRATED;
    l->page[LAPIC_SVR / 4] = 0xff;
    for (unsigned n = 0; n < LVT_COUNT; n++) {
        l->page[(LAPIC_LVT_TIMER + n * 16) / 4] = LVT_MASKED;
    }
    l->timer_mode = LAPIC_ONE_SHOT;
    l->timer_deadline = LAPIC_TIMER_OFF;
    l->tsc_deadline = 0;
    l->count_shift = l->bus_shift + lapic_divide_shift(0);
    __atomic_store_n(&l->esr_pending, 0, __ATOMIC_SEQ_CST);
    lapic_clear_posted(l);
    lapic_count_words(l);
}

/*
 * ID, LDR, DFR and the ICR's upper half are what depends on the mode, other than where software
 * finds them.
 */
static void enter_mode(struct lapic *l)
{
    bool x2apic = lapic_x2apic(l);

    l->page[LAPIC_ID / 4] = x2apic ? l->id : l->id << 24;
    l->page[LAPIC_LDR / 4] = x2apic ? (l->id >> 4) << 16 | 1u << (l->id & 15) : 0;
    l->page[LAPIC_DFR / 4] = 0xffffffff;
    l->page[LAPIC_ICR / 4 + 1] = 0;
    l->page[LAPIC_ICR_HIGH / 4] = 0;
}

static void set_base(struct lapic *l, uint64_t base)
{
    bool xapic = (base & (APIC_BASE_ENABLE | APIC_BASE_EXTD)) == APIC_BASE_ENABLE;

    l->base = base;
    l->claimed = xapic ? base & APIC_BASE_PAGE : LAPIC_NO_PAGE;
}

void lapic_set_physical_bits(struct lapic *l, unsigned bits)
{
    l->physical_bits = (uint8_t)bits;
}

/* The flag is the processor's that the hardware chooses at RESET, whatever software has made of it.
 */
static uint64_t base_after_reset(const struct lapic *l)
{
    return LAPIC_BASE | APIC_BASE_ENABLE | (l->bsp ? APIC_BASE_BSP : 0);
}

void lapic_init(struct lapic *l, void *page, uint32_t id, bool bsp, unsigned bus_shift)
{
    memset(l, 0, sizeof(*l));
    l->page = page;
    l->id = id;
    l->bus_shift = (uint8_t)MIN(bus_shift, LAPIC_MAX_SHIFT);
    l->bsp = bsp;
    l->physical_bits = PHYSICAL_BITS_MAX;
    set_base(l, base_after_reset(l));
    lapic_init_reset(l);
}

void lapic_init_reset(struct lapic *l)
{
    clear_registers(l);
    enter_mode(l);
}

void lapic_reset(struct lapic *l)
{
    set_base(l, base_after_reset(l));
    lapic_init_reset(l);
    lapic_mode_changed(l);
}

void lapic_virtual_wire(struct lapic *l)
{
    l->page[LAPIC_SVR / 4] = SVR_ENABLE | 0xf;
    l->page[LAPIC_LVT_LINT0 / 4] = APIC_EXTINT << 8;
    l->page[LAPIC_LVT_LINT1 / 4] = APIC_NMI << 8;
}

/* SDM "Relocating the Local APIC Registers": any page below MAXPHYADDR. */
static bool base_valid(const struct lapic *l, uint64_t base)
{
    uint64_t page = base & ~(APIC_BASE_BSP | APIC_BASE_EXTD | APIC_BASE_ENABLE);

    return (page & (PAGE_SIZE - 1)) == 0 && page >> l->physical_bits == 0 &&
           (base & (APIC_BASE_EXTD | APIC_BASE_ENABLE)) != APIC_BASE_EXTD;
}

/* SDM "x2APIC State Transitions" */
int lapic_write_base(struct lapic *l, uint64_t value)
{
    uint64_t changed = l->base ^ value;
    bool enable = value & APIC_BASE_ENABLE;
    bool x2apic = value & APIC_BASE_EXTD;

    if (!base_valid(l, value)) {
        return -EINVAL;
    }
    if (lapic_x2apic(l) && enable && !x2apic) {
        return -EINVAL; /* back to xAPIC only by way of disabled */
    }
    if (!lapic_enabled(l) && x2apic) {
        return -EINVAL;
    }
    set_base(l, value);
    if (changed & (APIC_BASE_EXTD | APIC_BASE_ENABLE)) {
        if (!enable) {
            clear_registers(l); /* on the way back to enabled it starts as after power-on */
        }
        enter_mode(l);
    }
    if (changed & (APIC_BASE_EXTD | APIC_BASE_ENABLE | APIC_BASE_PAGE)) {
        lapic_mode_changed(l);
    }
    return 0;
}

/* --- saved state --- */

/* The registers that are kept as they stand, in the order of saved state. */
static const uint16_t saved_registers[] = {
    LAPIC_TPR,       LAPIC_LDR,         LAPIC_DFR,      LAPIC_SVR,
    LAPIC_ESR,       LAPIC_ICR,         LAPIC_ICR + 4,  LAPIC_ICR_HIGH,
    LAPIC_LVT_TIMER, LAPIC_LVT_THERMAL, LAPIC_LVT_PERF, LAPIC_LVT_LINT0,
    LAPIC_LVT_LINT1, LAPIC_LVT_ERROR,   LAPIC_TMICT,    LAPIC_TDCR,
};

void lapic_save(const struct lapic *l, struct state_writer *w)
{
    state_begin(w, "lapic", STATE_VERSION);
    state_put_u32(w, l->id);
    state_put_u8(w, l->bus_shift);
    state_put_u64(w, l->base);
    state_put_u64(w, l->timer_deadline);
    state_put_u64(w, l->tsc_deadline);
    state_put_u32(w, __atomic_load_n(&l->esr_pending, __ATOMIC_RELAXED));
    state_put_u8(w, l->lint);
    for (unsigned i = 0; i < ARRAY_SIZE(saved_registers); i++) {
        state_put_u32(w, l->page[saved_registers[i] / 4]);
    }
    for (unsigned i = 0; i < VECTOR_WORDS; i++) {
        state_put_u32(w, *vector_word(l, LAPIC_ISR, i));
        state_put_u32(w, *vector_word(l, LAPIC_TMR, i));
        state_put_u32(w, *vector_word(l, LAPIC_IRR, i));
    }
    for (unsigned i = 0; i < ARRAY_SIZE(l->posted.pir); i++) {
        state_put_u64(w, __atomic_load_n(&l->posted.pir[i], __ATOMIC_RELAXED));
        state_put_u64(w, __atomic_load_n(&l->level[i], __ATOMIC_RELAXED));
    }
    state_end(w);
}

static bool registers_valid(const struct lapic *l)
{
    const uint32_t *page = l->page;
    bool x2apic = lapic_x2apic(l);
    uint32_t svr = page[LAPIC_SVR / 4];

    for (unsigned n = 0; n < LVT_COUNT; n++) {
        uint32_t lvt = page[(LAPIC_LVT_TIMER + n * 16) / 4];
        if ((lvt & ~lapic_lvt_writable[n]) || (!(svr & SVR_ENABLE) && !(lvt & LVT_MASKED))) {
            return false;
        }
    }
    if (x2apic ? page[LAPIC_ICR_HIGH / 4] != 0 : page[LAPIC_ICR / 4 + 1] != 0) {
        return false;
    }
    if (x2apic ? page[LAPIC_DFR / 4] != 0xffffffff : (page[LAPIC_LDR / 4] & 0xffffff) != 0) {
        return false;
    }
    return page[LAPIC_TPR / 4] <= 0xff && !(svr & ~SVR_WRITABLE) &&
           (page[LAPIC_DFR / 4] & DFR_READ_AS_ONE) == DFR_READ_AS_ONE &&
           !(page[LAPIC_ESR / 4] & ~ESR_VALID) && !(l->esr_pending & ~ESR_VALID) &&
           !(page[LAPIC_ICR / 4] & ~ICR_WRITABLE) && !(page[LAPIC_ICR_HIGH / 4] & 0xffffff) &&
           !(page[LAPIC_TDCR / 4] & ~TDCR_WRITABLE);
}

static bool vectors_valid(const struct lapic *l)
{
    uint32_t illegal = *vector_word(l, LAPIC_ISR, 0) | *vector_word(l, LAPIC_TMR, 0) |
                       *vector_word(l, LAPIC_IRR, 0) | (uint32_t)l->posted.pir[0] |
                       (uint32_t)l->level[0];

    return (illegal & 0xffff) == 0;
}

static bool timer_valid(const struct lapic *l)
{
    bool armed = l->timer_deadline != LAPIC_TIMER_OFF;
    uint32_t tmict = l->page[LAPIC_TMICT / 4];

    switch (l->timer_mode) {
    case LAPIC_ONE_SHOT:
    case LAPIC_PERIODIC:
        return l->tsc_deadline == 0 && (!armed || tmict != 0);
    case LAPIC_TSC_DEADLINE:
        return tmict == 0 &&
               l->timer_deadline == (l->tsc_deadline ? l->tsc_deadline : LAPIC_TIMER_OFF);
    default:
        return !armed && l->tsc_deadline == 0 && tmict == 0;
    }
}

int lapic_load(struct lapic *l, struct state_reader *r)
{
    uint64_t old_base = l->base;
    uint8_t old_lint = l->lint;
    bool valid = state_enter(r, "lapic", STATE_VERSION) == 0;

    clear_registers(l);
    valid &= state_get_u32(r) == l->id;
    valid &= state_get_u8(r) == l->bus_shift;
    set_base(l, state_get_u64(r));
    l->timer_deadline = state_get_u64(r);
    l->tsc_deadline = state_get_u64(r);
    l->esr_pending = state_get_u32(r);
    l->lint = state_get_u8(r);
    enter_mode(l);
    uint32_t ldr = l->page[LAPIC_LDR / 4];
    for (unsigned i = 0; i < ARRAY_SIZE(saved_registers); i++) {
        l->page[saved_registers[i] / 4] = state_get_u32(r);
    }
    for (unsigned i = 0; i < VECTOR_WORDS; i++) {
        *vector_word(l, LAPIC_ISR, i) = state_get_u32(r);
        *vector_word(l, LAPIC_TMR, i) = state_get_u32(r);
        *vector_word(l, LAPIC_IRR, i) = state_get_u32(r);
    }
    uint64_t posted = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(l->posted.pir); i++) {
        l->posted.pir[i] = state_get_u64(r);
        l->level[i] = state_get_u64(r);
        posted |= l->posted.pir[i];
    }
    l->timer_mode = (l->page[LAPIC_LVT_TIMER / 4] >> 17) & 3;
    l->count_shift = l->bus_shift + lapic_divide_shift(l->page[LAPIC_TDCR / 4]);
    if (posted != 0) {
        l->posted.control |= POSTED_ON;
    }
    valid &= base_valid(l, l->base) && l->lint <= LINT_PIN_VALID;
    valid &= !lapic_x2apic(l) || l->page[LAPIC_LDR / 4] == ldr;
    valid &= registers_valid(l) && vectors_valid(l) && timer_valid(l);
    if (state_leave(r) != 0 || !valid) {
        set_base(l, old_base);
        l->lint = old_lint; /* the pins' levels, which no reset changes */
        lapic_reset(l);
        return -EBADMSG;
    }
    lapic_count_words(l);
    lapic_update_ppr(l);
    lapic_mode_changed(l);
    return 0;
}
