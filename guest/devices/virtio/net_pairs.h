/*
 * virtio-net with several pairs of queues (VIRTIO_NET_F_MQ), which different processors use at the
 * same time.
 *
 * Sending: a queue belongs to whoever has made it `busy`, and else to who has the card's lock; that
 * is free while frames are sent. Who finds a queue busy leaves a note there. Receiving: senders
 * come with the lock of the card's port, and let go of it (net_port_leave()): a queue of buffers is
 * under the lock of its lane. So who has closed the port and waited (net_port_settle()) has all of
 * these to himself. The control queue is under the card's lock, as all else.
 */
#pragma once

#include "guest/devices/virtio/net.h"
#include "guest/devices/virtio/net_card.h"
#include "guest/net/flow.h"

#define CARD_PAIRS VIRTIO_NET_PAIRS
#define CARD_FLOWS 512u

_Static_assert(2 * CARD_PAIRS + 1 <= VIRTIO_QUEUES, "there are queues for all");

struct card_pair {
    struct card_sender s; /* its port is a lane */
    bool busy, asked;     /* with the card's lock: somebody sends; and is to look once more */

    bool ready; /* with the lane's lock: the driver has said that there are buffers */
    struct card_receiver r;
};

struct card_pairs {
    unsigned count;
    unsigned turn; /* whose queue is next when the timer comes; with the card's lock */
    /* All atomic. */
    uint16_t used;            /* by the driver: changes with both locks */
    uint32_t arrived;         /* pairs, a bit each, that have something to tell, perhaps */
    uint32_t pending;         /* what is to be told by who has the card's lock; and */
    uint8_t flow[CARD_FLOWS]; /* which pair has sent of that last, and 1; 0: none has */
    struct card_pair *pair[CARD_PAIRS];
};

static inline unsigned card_receives(unsigned pair)
{
    return 2 * pair + CARD_RECEIVE;
}

static inline unsigned card_sends(unsigned pair)
{
    return 2 * pair + CARD_SEND;
}

/* That pair sends a frame: what comes of the same flow is to be that pair's, too. */
static inline void card_pairs_learn(struct card *n, unsigned pair, const struct net_frame *f)
{
    struct card_pairs *m = n->pairs;
    uint32_t flow;

    if (__atomic_load_n(&m->used, __ATOMIC_RELAXED) == 1)
        return;
    flow = net_flow(f->piece[0].data, f->piece[0].length);
    __atomic_store_n(&m->flow[flow % CARD_FLOWS], (uint8_t)(pair + 1), __ATOMIC_RELAXED);
}

/* Of a card that is made, with its port: it has so many pairs, 2 to CARD_PAIRS, and a life of its
 * own. -ENOMEM. */
int card_pairs_create(struct card *n, unsigned count) MUST_CHECK;
void card_pairs_destroy(struct card *n);
/* The driver uses so many from now on; with the port's lock. False: it cannot. */
bool card_pairs_set(struct card *n, uint16_t pairs);
