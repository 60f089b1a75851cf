/*
 * A switch's way out of the machine: a network card, behind one port of the switch or, where it has
 * VLANs, behind one for each of them. What goes to addresses that are no VM's goes there,
 * completed: the wire knows no checksum that is still to be computed. On the wire a VLAN's frames
 * have its tag (IEEE 802.1Q), at the switch they have none.
 */
#pragma once

#include "drivers/net_card.h"
#include "guest/net/switch.h"

#define UPLINK_VLANS  64u
#define UPLINK_PIECES 170u /* of a frame with a tag put in */

struct uplink;

struct uplink_port {
    struct uplink *of;
    struct net_port *port;
    uint16_t vlan; /* 0: the switch has none */
    /* With the port's lock held. */
    uint8_t tag[NET_TAG];
    struct net_piece piece[UPLINK_PIECES];
};

struct uplink {
    struct net_switch *on;
    struct net_card *card;
    /* Processor 0's. */
    unsigned count;
    struct uplink_port *port[UPLINK_VLANS];
    struct uplink_port *arrived; /* that frames have come for since they were told */
    uint64_t elsewhere;          /* frames that came in no VLAN of the switch's */
    uint8_t head[NET_HEAD];      /* of the frame that is coming */
};

/* -EBUSY: the card is another switch's; -EINVAL: the switch's MTU is more than it can; -EEXIST: its
 * address is a VM's; -ENOMEM, -EIO. */
int uplink_start(struct uplink *u, struct net_switch *on, struct net_card *card) MUST_CHECK;
/* From now on that VLAN is outside, too; on processor 0. -ENOSPC, -ENOMEM, -EEXIST. */
int uplink_add_vlan(struct uplink *u, uint16_t vlan) MUST_CHECK;
/* For unit tests: nobody sends at that switch any more. */
void uplink_stop(struct uplink *u);
