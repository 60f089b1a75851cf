/*
 * Messages: sent by the interrupt command register, addressed, received; errors; the local
 * interrupt pins.
 */
#include "guest/board/lapic_internal.h"

#define ICR_LOGICAL        BIT(11)
#define ICR_ASSERT         BIT(14)
#define ICR_LEVEL          BIT(15)
#define ICR_SHORTHAND(low) (((low) >> 18) & 3)

#define DFR_FLAT 0xfu

void lapic_error(struct lapic *l, uint32_t error)
{
    uint32_t lvt = lapic_peek(l, LAPIC_LVT_ERROR);
    bool raise = !(lvt & LVT_MASKED);

    if (raise && (lvt & 0xff) < FIRST_VECTOR) {
        error |= ESR_RECEIVE_ILLEGAL_VECTOR;
        raise = false;
    }
    __atomic_fetch_or(&l->esr_pending, error, __ATOMIC_SEQ_CST);
    if (raise && lapic_post(l, (uint8_t)lvt, false)) {
        lapic_notify(l);
    }
}

void lapic_self_ipi(struct lapic *l, uint8_t vector)
{
    if (UNLIKELY(vector < FIRST_VECTOR)) {
        lapic_error(l, ESR_SEND_ILLEGAL_VECTOR);
    } else if (l->page[LAPIC_SVR / 4] & SVR_ENABLE) {
        lapic_raise(l, vector);
    }
}

static __attribute__((noinline)) void send_ipi(struct lapic *l, uint32_t low, uint32_t dest)
{
    enum apic_mode mode = MESSAGE_MODE(low);
    enum apic_shorthand shorthand = ICR_SHORTHAND(low);
    uint8_t vector = (uint8_t)low;

    switch (mode) {
    case APIC_FIXED:
    case APIC_LOWEST_PRIORITY:
        if (vector < FIRST_VECTOR) {
            lapic_error(l, ESR_SEND_ILLEGAL_VECTOR);
            return;
        }
        break;
    case APIC_INIT:
        /* INIT level de-assert only matters to processors before the Pentium 4. */
        if ((low & ICR_LEVEL) && !(low & ICR_ASSERT)) {
            return;
        }
        break;
    case APIC_RESERVED_MODE:
    case APIC_EXTINT:
        return;
    default:
        break;
    }
    /* SDM "Valid Combinations for the ... Local xAPIC Interrupt Command Register" */
    if (mode != APIC_FIXED && (shorthand == APIC_SELF || shorthand == APIC_ALL)) {
        return;
    }
    struct apic_message m = {
        .dest = dest,
        .vector = vector,
        .mode = (uint8_t)mode,
        .shorthand = (uint8_t)shorthand,
        .logical = (low & ICR_LOGICAL) != 0,
    };
    lapic_send(l, &m);
}

/* low: the ICR's bits 31:0; dest: 32 bits wide, an xAPIC's ffh already made APIC_BROADCAST. */
void lapic_write_icr(struct lapic *l, uint32_t low, uint32_t dest)
{
    enum apic_shorthand shorthand = ICR_SHORTHAND(low);
    bool to_itself = shorthand == APIC_SELF ||
                     (shorthand == APIC_NO_SHORTHAND && !(low & ICR_LOGICAL) && dest == l->id);

    if (MESSAGE_MODE(low) == APIC_FIXED && to_itself) {
        lapic_self_ipi(l, (uint8_t)low);
    } else {
        send_ipi(l, low, dest);
    }
}

bool lapic_matches(const struct lapic *l, uint32_t dest, bool logical)
{
    uint64_t base = __atomic_load_n(&l->base, __ATOMIC_RELAXED);

    if (!(base & APIC_BASE_ENABLE)) {
        return false;
    }
    if (dest == APIC_BROADCAST) {
        return true;
    }
    if (!logical) {
        return dest == l->id;
    }
    uint32_t ldr = lapic_peek(l, LAPIC_LDR);
    if (base & APIC_BASE_EXTD) {
        return dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff) != 0;
    }
    ldr >>= 24;
    switch (lapic_peek(l, LAPIC_DFR) >> 28) {
    case DFR_FLAT:
        return dest <= 0xff && (dest & ldr) != 0;
    case 0: /* cluster */
        return dest >> 4 == ldr >> 4 && (dest & ldr & 0xf) != 0;
    default:
        return false;
    }
}

bool lapic_receive(struct lapic *l, const struct apic_message *m)
{
    switch (m->mode) {
    case APIC_FIXED:
    case APIC_LOWEST_PRIORITY:
        if (UNLIKELY(m->vector < FIRST_VECTOR)) {
            lapic_error(l, ESR_RECEIVE_ILLEGAL_VECTOR);
            return false;
        }
        if (!(lapic_peek(l, LAPIC_SVR) & SVR_ENABLE)) {
            return false;
        }
        if (lapic_post(l, m->vector, m->level)) {
            lapic_notify(l);
        }
        return true;
    case APIC_RESERVED_MODE:
        return false;
    default:
        lapic_event(l, m->mode, m->vector);
        return true;
    }
}

static bool addresses(const struct lapic *l, const struct lapic *from, const struct apic_message *m)
{
    switch (m->shorthand) {
    case APIC_SELF:
        return l == from;
    case APIC_ALL:
        return lapic_enabled(l);
    case APIC_ALL_BUT_SELF:
        return l != from && lapic_enabled(l);
    default:
        return lapic_matches(l, m->dest, m->logical);
    }
}

bool apic_route(struct lapic *const *lapics, unsigned count, const struct lapic *from,
                const struct apic_message *m)
{
    struct lapic *lowest = NULL;
    uint32_t lowest_priority = 0;
    bool accepted = false;

    for (unsigned i = 0; i < count; i++) {
        struct lapic *l = lapics[i];
        if (!addresses(l, from, m)) {
            continue;
        }
        if (m->mode != APIC_LOWEST_PRIORITY) {
            accepted |= lapic_receive(l, m);
            continue;
        }
        /* Since the Pentium 4 the chipset compares task priorities only. */
        uint32_t priority = lapic_peek(l, LAPIC_TPR) & 0xff;
        bool enabled = lapic_peek(l, LAPIC_SVR) & SVR_ENABLE;
        if (enabled && (lowest == NULL || priority < lowest_priority)) {
            lowest = l;
            lowest_priority = priority;
        }
    }
    return lowest != NULL ? lapic_receive(lowest, m) : accepted;
}

void lapic_set_lint(struct lapic *l, unsigned pin, bool level)
{
    uint8_t bit = (uint8_t)(1u << (pin & 1));

    if (!level) {
        __atomic_fetch_and(&l->lint, (uint8_t)~bit, __ATOMIC_SEQ_CST);
        return;
    }
    if (__atomic_fetch_or(&l->lint, bit, __ATOMIC_SEQ_CST) & bit) {
        return;
    }
    uint32_t lvt = lapic_peek(l, pin & 1 ? LAPIC_LVT_LINT1 : LAPIC_LVT_LINT0);
    struct apic_message m = {
        .dest = l->id,
        .vector = (uint8_t)lvt,
        .mode = MESSAGE_MODE(lvt),
    };
    if ((lvt & LVT_MASKED) || m.mode == APIC_EXTINT || m.mode == APIC_LOWEST_PRIORITY) {
        return;
    }
    lapic_receive(l, &m);
}

bool lapic_accepts_external(const struct lapic *l)
{
    uint32_t lint0 = lapic_peek(l, LAPIC_LVT_LINT0);

    return !(__atomic_load_n(&l->base, __ATOMIC_RELAXED) & APIC_BASE_ENABLE) ||
           (lint0 & (LVT_MASKED | 0x700)) == APIC_EXTINT << 8;
}
