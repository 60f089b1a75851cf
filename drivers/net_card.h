/*
 * The machine's network cards: the seam between who sends and hears frames (a switch's uplink, the
 * check) and the drivers, which know registers and nothing else.
 *
 * Anybody may send, with locks of his own held: a frame is copied into the card's buffers, so that
 * nobody waits for the wire. What comes is processor 0's: interrupts, or net_cards_work() where
 * there are none, hand it to the card's user, with no lock held. A card that hangs is reset; one
 * that hangs again and again, or in vain, is lost: it is cut off from memory, and its link is down
 * for good.
 */
#pragma once

#include "arch/x86/spinlock.h"
#include "drivers/dma.h"
#include "drivers/io.h"
#include "drivers/net_piece.h"

#define NET_CARDS       16u /* of the machine; more are left out */
#define NET_CARD_NAME   8
#define NET_CARD_PIECES 5u   /* of a frame that has come */
#define NET_CARD_FIRST  256u /* bytes of its first piece, at least, where that is not all of it */
#define NET_CARD_HEADER 18u  /* Ethernet, with a tag */
#define NET_CARD_SHORT  60u  /* what is shorter is padded on the wire */
#define NET_CARD_BUDGET 48u  /* frames that are taken at once */
#define NET_CARD_TRIES  3u   /* resets in vain, until it is lost; */
#define NET_CARD_WORN   10u  /* or any that are not forgotten yet: */
#define NET_CARD_REST   10u  /* one in so many seconds is */
#define NET_CARD_HANG   2u   /* seconds in which nothing that was to be sent has gone */
#define NET_CARD_STRAYS 1000 /* interrupts in a row with which nothing came, between two looks */

struct host_pci;
struct net_card;

/* A frame that has come. */
struct net_arrival {
    struct net_piece piece[NET_CARD_PIECES];
    unsigned count;
    uint32_t length;
};

#define NET_CARD_CAUSE_ANY     BIT(0) /* the interrupt was the card's */
#define NET_CARD_CAUSE_LINK    BIT(1)
#define NET_CARD_CAUSE_OVERRUN BIT(2) /* it had no buffers for something */

struct net_card_ops {
    /* Its memory, once. -ENOMEM. */
    int (*prepare)(struct net_card *c);
    /* Whatever it was doing, it begins anew; interrupts come. 0, or it does not work. */
    int (*start)(struct net_card *c);
    /* It is silent, and touches no memory any more. */
    void (*stop)(struct net_card *c);

    /* With the card's lock held. */
    bool (*send)(struct net_card *c, const struct net_piece *piece, unsigned count,
                 uint32_t length);          /* false: there is no room */
    void (*kick)(struct net_card *c);       /* there is something to send */
    unsigned (*settle)(struct net_card *c); /* how much is still to be sent; what has gone makes
                                               room */

    /* Processor 0's. */
    unsigned (*causes)(struct net_card *c); /* NET_CARD_CAUSE_, and they are forgotten */
    /* The next frame: 1; 0, none is there; -EIO, it was a bad one. */
    int (*take)(struct net_card *c, struct net_arrival *out);
    void (*give)(struct net_card *c); /* what has been taken is the card's again */
    bool (*link)(struct net_card *c);
    bool (*gone)(struct net_card *c);  /* it answers no more */
    bool (*sick)(struct net_card *c);  /* only a reset helps it, so it says or shows; or NULL */
    void (*raise)(struct net_card *c); /* an interrupt, to see whether it arrives; or NULL */
    void (*quiet)(struct net_card *c, bool on); /* what comes does not interrupt, or does again */
};

/* On processor 0, with no locks held. */
struct net_card_user {
    void (*receive)(void *context, const struct net_arrival *a); /* nothing of it is kept */
    void (*received)(void *context);                             /* no more for now */
    void (*link)(void *context, bool up);
};

/* Each has one writer at a time: the lock's holder, or processor 0. Atomic. */
struct net_card_counts {
    uint64_t sent, sent_bytes, received, received_bytes;
    uint64_t no_room; /* not sent: the card is slower than who sends */
    uint64_t bad;     /* came, but broken, or too long */
    uint64_t overruns, interrupts, strays, resets;
};

enum net_card_state { NET_CARD_IDLE, NET_CARD_RUNS, NET_CARD_RESETS, NET_CARD_LOST };

struct net_card {
    const struct net_card_ops *ops;
    const struct host_pci *pci;
    struct dma *dma;          /* what it may reach: what its prepare() has had from there */
    char name[NET_CARD_NAME]; /* for people: "net0" */
    const char *model;
    uint8_t mac[6];
    bool tried;        /* the driver has been seen with this model, in an emulator at least */
    uint32_t longest;  /* bytes of a frame, at most: first the card's, from the start its user's */
    bool interrupting; /* else it is polled */
    void (*disconnect)(struct net_card *c); /* where others may share its interrupt; or NULL */

    struct spinlock lock; /* RANK_NET_CARD: sending, and its state */
    enum net_card_state state;
    bool queued;   /* something waits for the kick */
    uint64_t gone; /* frames that have been sent, and room made */
    struct net_card_counts counts;

    /* Processor 0's. */
    const struct net_card_user *user;
    void *context;
    bool up, said_up;                           /* said_up: on the log */
    uint64_t next_look, hang_from, gone_before; /* hang_from: 0, nothing waits */
    uint64_t next_take; /* 0, or so much has come at once that it is quiet, and looked at then */
    uint64_t forgotten; /* when all resets will be */
    unsigned in_vain, for_nothing, deaf;
    bool strayed; /* it has reached for memory that is not its */
    bool overrun; /* since the last look */
    uint64_t came_before;
};

/* --- for drivers --- */

/* The machine's next card, with ops, model, mac and longest set. -ENOSPC. */
int net_card_add(struct net_card *c) MUST_CHECK;
/* That function has reached for memory that is not its: its card is reset. */
void net_cards_strayed(const struct host_pci *p);
/* The interrupt's handler; arg is the card. */
void net_card_interrupt(void *card);
/* A frame's pieces behind one another, in buffers of so many bytes, of which the first has `skip`
 * others before; buffer() says where the n-th is. */
void net_card_spread(const struct net_piece *piece, unsigned count, uint32_t skip, uint32_t size,
                     uint8_t *(*buffer)(const void *ring, unsigned n), const void *ring);

/* It is one of a card, and not of nobody. */
static inline bool net_card_is_address(const uint8_t *mac)
{
    uint8_t any = 0;

    for (unsigned i = 0; i < 6; i++)
        any |= mac[i];
    return any && !(mac[0] & 1);
}

/* --- for their users --- */

/* Find the machine's cards, the first time; on the boot processor (net_cards.c). */
void net_cards_init(void);
/* In the order in which they were found; NULL from the last on. */
struct net_card *net_card_get(unsigned index);
/* From now on frames come. longest: bytes that one may have, with all headers. -EBUSY: it is
 * another one's; -EINVAL: so long ones it cannot; -ENOMEM, -EIO. */
int net_card_start(struct net_card *c, const struct net_card_user *user, void *context,
                   uint32_t longest) MUST_CHECK;
/* It is nobody's any more. Nobody sends meanwhile. */
void net_card_stop(struct net_card *c);
/* Queue a frame; false: it is not sent. Behind the last of several: */
bool net_card_send(struct net_card *c, const struct net_piece *piece, unsigned count,
                   uint32_t length);
void net_card_sent(struct net_card *c);

/* Whether it runs, and its counters. */
enum net_card_state net_card_look(struct net_card *c, struct net_card_counts *out);

/* Polling, links, hangs: processor 0 calls this. Returns the TSC at which it wants to be called
 * again; UINT64_MAX: no card is used. */
uint64_t net_cards_work(void);
/* Called on processor 0 when net_cards_work() has something to do earlier than it said. */
void net_cards_set_attention(void (*fn)(void));
