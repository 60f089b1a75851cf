/* See net_cards.h. */
#include "drivers/net_cards.h"

#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"
#include "drivers/virtio.h"

#define CLASS_NETWORK     2
#define SUBCLASS_ETHERNET 0
#define INTEL             0x8086
#define VIRTIO_NET        0x1041
#define VIRTIO_NET_0      0x1000 /* one that older drivers know, too */

bool net_card_is(const struct host_pci *p)
{
    return p->class == CLASS_NETWORK && p->subclass == SUBCLASS_ETHERNET;
}

void net_cards_init(void)
{
    static bool done;
    unsigned count;

    if (done)
        return;
    done = true;
    count = host_pci_find();
    for (unsigned i = 0; i < count; i++) {
        const struct host_pci *p = host_pci_get(i);

        if (net_card_is(p) && p->vendor == INTEL)
            e1000_probe(p);
        if (p->vendor == VIRTIO_VENDOR && (p->device == VIRTIO_NET || p->device == VIRTIO_NET_0))
            virtio_net_probe(p);
    }
}

struct net_card *net_card_of(const struct host_pci *p)
{
    struct net_card *c;

    for (unsigned i = 0; (c = net_card_get(i)); i++)
        if (c->pci == p)
            return c;
    return NULL;
}

void net_cards_wait(void)
{
    apic_timer_set(rdtsc() + tsc_hz / 1000);
    cpu_idle_once();
}

bool net_card_try_interrupt(struct net_card *c, unsigned ms)
{
    uint64_t before = c->counts.interrupts, until = rdtsc() + tsc_hz / 1000 * ms;

    c->ops->raise(c);
    while (c->counts.interrupts == before && rdtsc() < until)
        net_cards_wait();
    c->ops->stop(c);
    return c->counts.interrupts != before;
}
