/*
 * A switch's way out of the machine: one of its ports belongs to a network card. What goes to
 * addresses that are no VM's goes there, completed: the wire knows no checksum that is still to be
 * computed.
 */
#pragma once

#include "drivers/net_card.h"
#include "guest/net/switch.h"

struct uplink {
    struct net_switch *on;
    struct net_card *card;
    struct net_port *port;
    uint8_t head[NET_HEAD]; /* of the frame that is coming */
};

/* -EBUSY: the card is another switch's; -EINVAL: the switch's MTU is more than it can; -EEXIST: its
 * address is a VM's; -ENOMEM, -EIO. */
int uplink_start(struct uplink *u, struct net_switch *on, struct net_card *card) MUST_CHECK;
/* For unit tests: nobody sends at that switch any more. */
void uplink_stop(struct uplink *u);
