/*
 * virtio-net (Virtio 1.2, "Network Device"): what its files share. net.c has its life and sends,
 * net_receive.c takes what comes, net_control.c does what its control queue asks. A card with
 * several pairs of queues has a life of its own, in net_pairs.c: what that does with one queue is
 * in the other files, as functions that are always inlined where a card with one pair uses them.
 *
 * The queue of receive buffers is under the lock of the card's port, with which senders come; the
 * rest is under the card's own. Who has both has taken the port's last. With several pairs the
 * queues are under neither: see net_pairs.h.
 */
#pragma once

#include "guest/devices/network.h"
#include "guest/devices/virtio/virtio.h"

#define CARD_TYPE  1
#define CARD_CLASS 0x020000 /* PCI: an Ethernet controller */
#define CARD_NAME  "virtio-net"

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
#define F_MQ             BIT(22)
#define F_CTRL_MAC_ADDR  BIT(23)
#define F_GUEST_USO4     BIT(54)
#define F_GUEST_USO6     BIT(55)
#define F_HOST_USO       BIT(56)

/* What others may leave to the driver. */
#define CARD_OFFLOADS                                                                              \
    (F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_ECN | F_GUEST_USO4 | F_GUEST_USO6)

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
#define GSO_UDP           5 /* UDP_L4 */
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

#define CARD_AT_ONCE 64u         /* frames, or requests, before the timer comes */
#define CARD_WORK    (256 * KIB) /* and bytes that are copied */

/* A queue of what the driver sends, or asks. */
struct card_sender {
    struct net_port *port;
    bool waiting;  /* there is something to send, or to be asked, when the timer comes */
    uint32_t left; /* frames and requests that may be looked at before that, */
    uint64_t work; /* and bytes copied */
    struct virtq_chain chain;
    struct network_frame out;
};

/* A queue of buffers for what comes. */
struct card_receiver {
    bool starved; /* the driver will say when there are buffers again */
    bool arrived; /* frames of which it has not been told */
    struct virtq_chain buffer;
};

struct card {
    struct virtio virtio; /* first */
    struct net_port *port;
    bool any_mac;

    struct card_sender sender; /* with several pairs: for the control queue alone */

    struct card_filter filter;     /* with the port's lock held, */
    struct card_receiver receiver; /* and this, where there is one pair */

    uint8_t pending; /* CARD_TELL_: for who has the card's lock; atomic */

    struct card_pairs *pairs; /* NULL: there is one; see net_pairs.h */
};

#define CARD_INLINE static inline __attribute__((always_inline))

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
/* For several pairs. Whether the driver wants a frame that is offered; with the port's lock held.
 */
bool card_wants(const struct card *n, const struct net_frame *f);
/* Into the buffers of that queue, which nobody else uses. */
enum net_drop card_put(struct card *n, struct card_receiver *r, struct virtq *q,
                       const struct net_frame *f);

/* --- net_control.c --- */

/* As after reset. */
void card_filter_init(struct card *n);
/* Carry out the request in n->sender.chain, which is that queue's, and give it back. False: it has
 * no place for an answer. */
bool card_control(struct card *n, struct virtq *q);

/* --- net.c, for several pairs --- */

/* What is in that queue, or in the control queue, as net.c does it for one pair; but what has been
 * given back is not told. False: the queue is broken. */
bool card_send(struct card *n, struct card_sender *s, unsigned pair);
bool card_ask(struct card *n, struct virtq *q);
/* A queue is broken: the card is of no use any more. */
void card_break(struct card *n);
/* The card's cable may be another one than its driver has been told. */
void card_follow_link(struct card *n);
/* What reset leaves of all that is not a queue's. */
void card_wipe(struct card *n);
/* What is saved of it, but for its queues. load: 0 or -EBADMSG. */
void card_save(const struct card *n, struct state_writer *w);
int card_load(struct card *n, struct state_reader *r) MUST_CHECK;
