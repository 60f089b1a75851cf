/* See nic.h: interrupts, and how soon one may follow another ("Interrupt Throttling Register"). */
#include "guest/devices/e1000/nic.h"

#define ITR_NS        256u
#define NS_PER_SECOND 1000000000u

/* Ticks between two interrupts, at least. */
static uint64_t interval(struct nic *n)
{
    return (uint64_t)n->s.itr * ITR_NS * device_tsc_hz(&n->dev) / NS_PER_SECOND;
}

/* Whether it may not be raised yet; else when the next one may. */
static bool is_quiet(struct nic *n)
{
    uint64_t now = device_now(&n->dev), ticks = interval(n);

    if (now < n->s.quiet && n->s.quiet - now <= ticks) {
        device_timer_set(&n->dev, NIC_TIMER_TELL, n->s.quiet);
        return true;
    }
    n->s.quiet = now + ticks;
    return false;
}

void nic_interrupt(struct nic *n)
{
    bool level = n->s.icr & n->s.ims;

    if (level && !n->s.raised && n->s.itr && is_quiet(n))
        return;
    n->s.raised = level;
    pci_intx(&n->function, level);
}

void nic_cause(struct nic *n, uint64_t causes)
{
    n->s.icr |= (uint32_t)(causes & ICR_ALL);
    nic_interrupt(n);
}
