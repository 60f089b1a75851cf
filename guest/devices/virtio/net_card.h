/*
 * virtio-net (Virtio 1.2, "Network Device"): what its three files share. net.c has its life and
 * sends, net_receive.c takes what comes, net_control.c does what its control queue asks.
 *
 * The queue of receive buffers is under the lock of the card's port, with which senders come; the
 * rest is under the card's own. Who has both has taken the port's last.
 */
#pragma once

#include "guest/devices/network.h"
#include "guest/devices/virtio/virtio.h"

enum { CARD_RECEIVE, CARD_SEND, CARD_CONTROL, CARD_QUEUES };
enum { CARD_TIMER_GO_ON, CARD_TIMER_TELL };

/* "Feature bits" */
#define F_CSUM           BIT(0)
#define F_GUEST_CSUM     BIT(1)
#define F_CTRL_OFFLOADS  BIT(2)
#define F_MTU            BIT(3)
#define F_MAC            BIT(5)
#define F_GUEST_TSO4     BIT(7)
#define F_GUEST_TSO6     BIT(8)
#define F_GUEST_ECN      BIT(9)
#define F_HOST_TSO4      BIT(11)
#define F_HOST_TSO6      BIT(12)
#define F_HOST_ECN       BIT(13)
#define F_MRG_RXBUF      BIT(15)
#define F_STATUS         BIT(16)
#define F_CTRL_VQ        BIT(17)
#define F_CTRL_RX        BIT(18)
#define F_CTRL_VLAN      BIT(19)
#define F_CTRL_RX_EXTRA  BIT(20)
#define F_GUEST_ANNOUNCE BIT(21)
#define F_CTRL_MAC_ADDR  BIT(23)

/* What others may leave to the driver. */
#define CARD_OFFLOADS (F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_ECN)

/* "Device configuration layout" */
struct card_config {
    uint8_t mac[NET_MAC];
    uint16_t status, max_queue_pairs, mtu;
} PACKED;
#define STATUS_LINK_UP  BIT(0)
#define STATUS_ANNOUNCE BIT(1)

/* "Device Operation": before each frame. */
struct card_header {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
} PACKED;
#define HEADER_NEEDS_CSUM BIT(0)
#define GSO_TCP4          1
#define GSO_TCP6          4
#define GSO_ECN           0x80

/* What the driver wants to hear: "Control Virtqueue". */
#define CARD_UNICAST   32
#define CARD_MULTICAST 64
#define HEAR_ALL       BIT(0)
#define HEAR_ALL_MULTI BIT(1)
#define HEAR_ALL_UNI   BIT(2)
#define HEAR_NO_MULTI  BIT(3)
#define HEAR_NO_UNI    BIT(4)
#define HEAR_NO_BCAST  BIT(5)

/* Saved as it is: no byte of it is padding. */
struct card_filter {
    uint64_t offloads; /* of CARD_OFFLOADS, of those that were agreed on */
    uint64_t vlans[4096 / 64];
    uint8_t mac[NET_MAC];
    uint8_t how;                  /* HEAR_ */
    uint8_t overflow;             /* the same, for tables that do not fit */
    uint8_t unicasts, multicasts; /* of these: */
    uint8_t unicast[CARD_UNICAST][NET_MAC], multicast[CARD_MULTICAST][NET_MAC];
    uint8_t unused[6];
};
_Static_assert(sizeof(struct card_filter) == 8 + 512 + 10 + 96 * NET_MAC + 6, "no padding");

struct card {
    struct virtio virtio; /* first */
    struct net_port *port;
    bool any_mac;

    /* Sending. */
    bool waiting;  /* there is something to send, or to be asked, when the timer comes */
    uint32_t left; /* frames and requests that may be looked at before that, */
    uint64_t work; /* and bytes copied */
    struct virtq_chain chain;
    struct network_frame out;

    /* Receiving: with the port's lock held. */
    struct card_filter filter;
    bool starved; /* the driver will say when there are buffers again */
    bool arrived; /* frames of which it has not been told */
    struct virtq_chain buffer;

    uint8_t pending; /* CARD_TELL_: for who has the card's lock; atomic */
};

#define CARD_TELL_ARRIVED BIT(0)
#define CARD_TELL_BROKEN  BIT(1)

static inline struct card *card_of(struct device *d)
{
    return CONTAINER_OF(d, struct card, virtio.dev);
}

/* --- net_receive.c --- */

extern const struct net_port_ops card_port_ops;

/* NET_CAN_ by the features that were agreed on, and by what the driver wants of them. */
unsigned card_can(const struct card *n);
/* The driver has put buffers there. */
void card_refilled(struct card *n);
/* What has arrived is worth an interrupt, perhaps; with the card's lock held. */
void card_tell(struct card *n);
/* The same, for frames whose sender has not come to say that he is done. */
void card_settle(struct card *n);

/* --- net_control.c --- */

/* As after reset. */
void card_filter_init(struct card *n);
/* Carry out the request in n->chain, and give it back. False: it has no place for an answer. */
bool card_control(struct card *n);
