/* Which network cards the machine has, and who drives them. */
#pragma once

#include "drivers/net_card.h"
#include "drivers/pci_driver.h"

/* Each driver's look at a function of its vendor's; what it finds is known to net_card_get(). */
void e1000_probe(const struct host_pci *p);
void virtio_net_probe(const struct host_pci *p);

/* An Ethernet controller, whoever drives it. */
bool net_card_is(const struct host_pci *p);
/* The card of that function, or NULL. */
struct net_card *net_card_of(const struct host_pci *p);

/* Whether an interrupt that the card raises now arrives in so many milliseconds. */
bool net_card_try_interrupt(struct net_card *c, unsigned ms);
/* For start-up: until something happens, a millisecond at most. */
void net_cards_wait(void);
