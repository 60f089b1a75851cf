/*
 * The local APIC's timer (SDM "APIC Timer"): one-shot and periodic counting of 2^bus_shift TSC
 * ticks times the divide configuration, and TSC-deadline. Each is one absolute deadline on the
 * guest's TSC.
 */
#include "guest/board/lapic_internal.h"

static bool counts_down(const struct lapic *l)
{
    return l->timer_mode == LAPIC_ONE_SHOT || l->timer_mode == LAPIC_PERIODIC;
}

/* A guest may have set its TSC close to the end of time. */
static uint64_t later(uint64_t now, uint64_t ticks)
{
    uint64_t deadline = now + ticks;

    return deadline < now ? LAPIC_TIMER_OFF : deadline;
}

void lapic_write_lvt_timer(struct lapic *l, uint32_t value)
{
    uint8_t mode = (value >> 17) & 3;
    bool counted = counts_down(l);

    l->page[LAPIC_LVT_TIMER / 4] = value;
    if (mode == l->timer_mode) {
        return;
    }
    l->timer_mode = mode;
    /* Between one-shot and periodic, silicon goes on counting and looks at the mode when it reaches
     * 0. */
    if (!counted || !counts_down(l)) {
        l->timer_deadline = LAPIC_TIMER_OFF;
        l->tsc_deadline = 0;
        l->page[LAPIC_TMICT / 4] = 0;
    }
}

void lapic_write_tmict(struct lapic *l, uint32_t value)
{
    if (!counts_down(l)) {
        l->page[LAPIC_TMICT / 4] = 0; /* ignored in TSC-deadline mode */
        return;
    }
    l->page[LAPIC_TMICT / 4] = value;
    l->timer_deadline =
        value != 0 ? later(lapic_now(l), (uint64_t)value << l->count_shift) : LAPIC_TIMER_OFF;
}

void lapic_write_tdcr(struct lapic *l, uint32_t value)
{
    uint8_t old = l->count_shift;
    uint8_t shift = l->bus_shift + lapic_divide_shift(value);

    l->page[LAPIC_TDCR / 4] = value;
    if (shift == old) {
        return;
    }
    /* The count stays as it is, and goes on at the new rate. */
    if (counts_down(l) && l->timer_deadline != LAPIC_TIMER_OFF) {
        uint64_t now = lapic_now(l);
        lapic_run_timer(l, now);
        if (l->timer_deadline != LAPIC_TIMER_OFF) {
            uint64_t left = l->timer_deadline - now;
            left = shift > old ? left << (shift - old) : left >> (old - shift);
            l->timer_deadline = later(now, MAX(left, 1u));
        }
    }
    l->count_shift = shift;
}

uint32_t lapic_read_tmcct(struct lapic *l)
{
    if (!counts_down(l) || l->timer_deadline == LAPIC_TIMER_OFF) {
        return 0;
    }
    uint64_t now = lapic_now(l);
    lapic_run_timer(l, now);
    if (l->timer_deadline == LAPIC_TIMER_OFF) {
        return 0;
    }
    uint64_t left = l->timer_deadline - now;
    uint64_t count = ((left - 1) >> l->count_shift) + 1;
    return (uint32_t)MIN(count, l->page[LAPIC_TMICT / 4]);
}

void lapic_tsc_moved(struct lapic *l, uint64_t delta)
{
    if (counts_down(l) && l->timer_deadline != LAPIC_TIMER_OFF) {
        l->timer_deadline += delta;
    }
}

static uint64_t next_period(const struct lapic *l, uint64_t due, uint64_t now)
{
    uint64_t period = (uint64_t)l->page[LAPIC_TMICT / 4] << l->count_shift;

    if (period == 0) {
        return LAPIC_TIMER_OFF;
    }
    /* From the deadline, not from now: no drift. Periods missed are one interrupt in IRR anyhow. */
    uint64_t missed = now - due < period ? 0 : (now - due) / period;
    uint64_t next = due + (missed + 1) * period;
    return next > now ? next : LAPIC_TIMER_OFF;
}

void lapic_timer_expired(struct lapic *l, uint64_t now)
{
    uint64_t due = l->timer_deadline;
    uint32_t lvt = l->page[LAPIC_LVT_TIMER / 4];

    if (due == LAPIC_TIMER_OFF) {
        return; /* a guest can set its TSC to that very number */
    }
    l->timer_deadline = LAPIC_TIMER_OFF;
    l->tsc_deadline = 0;
    if (l->timer_mode == LAPIC_PERIODIC) {
        l->timer_deadline = next_period(l, due, now);
    }
    if (lvt & LVT_MASKED) {
        return;
    }
    if (UNLIKELY((lvt & 0xff) < FIRST_VECTOR)) {
        lapic_error(l, ESR_RECEIVE_ILLEGAL_VECTOR);
        return;
    }
    lapic_raise(l, (uint8_t)lvt);
}
