/*
 * A learning switch. A port belongs to a network card of a VM, which sends through it under the
 * card's own lock; what comes to a port is under the port's lock. So nobody waits for whoever takes
 * long: a sender takes no lock of a receiver's but that one, under which a bounded amount of work
 * is done.
 *
 * A frame goes to the port where its destination is: that port's own address, or one that was
 * learned there. Only ports that may send from other addresses than their own (any_mac) can have
 * others behind them: so they alone are asked where a destination is not known, and where there is
 * one of them, that is where it is. Groups go to all ports of the VLAN. Two isolated ports do not
 * hear each other. Nothing goes back to where it came from.
 */
#pragma once

#include "arch/x86/spinlock.h"
#include "guest/net/bucket.h"
#include "guest/net/frame.h"
#include "guest/net/table.h"

#define NET_AGE_SECONDS 300u
#define NET_STORM_RATE  5000u /* frames that go to several ports, a second of one port */
#define NET_STORM_BURST 1000u
#define NET_BURST       131072u /* bytes that a port with a rate may send or get at once */
#define NET_PORT_WORK   128u
#define NET_VLAN_MAX    4094u
#define NET_MTU_MIN     576u
#define NET_MTU_MAX     9216u

/* What a port does for its switch: with the port's lock held, on any processor. They may let go of
 * it for a while. */
struct net_port_ops {
    /* A frame: NET_TAKEN, or why not. Nothing of it is kept. It has nothing left to do that the
     * port has not said it can. NET_DROP_CLOSED: the port was closed while its lock was free, and
     * is perhaps another one's since. */
    enum net_drop (*receive)(void *owner, const struct net_frame *frame);
    /* No more frames come for now: it may be worth an interrupt. Waits for no device's lock. */
    void (*received)(void *owner);
};

struct net_port_setup {
    char name[2 * NET_NAME]; /* for people */
    uint8_t mac[NET_MAC];
    uint16_t vlan; /* of all its frames, which have no tag; 0: there are none */
    bool isolated, any_mac;
    uint8_t pairs; /* of queues that its card has, if it can; 0: one */
    uint64_t rate; /* bytes per second in each direction; 0: as fast as can be */
    const struct net_port_ops *ops;
    void *owner;
};

struct net_counts {
    uint64_t sent, sent_bytes, received, received_bytes;
    uint64_t dropped[NET_DROPS];
};

/* A lane is one, too, as far as it sends: see lane.h. */
struct net_port {
    struct net_switch *on;
    unsigned number;
    struct net_port_setup what; /* changes with both locks held, and no sender */
    /* How many others of its VLAN have any_mac; if that is one, which. With the switch's lock. */
    unsigned ways_out, way_out;
    bool unplugged;           /* atomic */
    struct net_counts counts; /* atomic, of one writer each: the sender, or who has the lock */
    struct net_port *lanes;   /* the first; or the next. Its owner changes it, and with the lock */
    struct net_port *lane_of; /* of a lane */
    uint32_t inside;          /* whom `receive` has let in without the lock; atomic */

    /* The sender's; where there are lanes, with the switch's lock. */
    struct net_bucket out, storm;
    uint64_t reached[NET_PORTS / 64]; /* ports whose `received` has to be called */

    struct spinlock lock; /* RANK_PORT, over what follows */
    bool attached;
    bool open;       /* it takes frames */
    uint8_t can;     /* NET_CAN_ */
    uint32_t closed; /* so often: who lets go of the lock meanwhile knows by that */
    struct net_bucket in;
};

typedef void (*net_watch_fn)(const struct net_port *port, const struct net_frame *f, bool sent,
                             enum net_drop why);

struct net_switch {
    char name[NET_NAME + 1];
    unsigned mtu;
    bool vlans;
    uint64_t (*now)(void);
    uint64_t hz; /* of now() */

    /* Atomic, NULL: nobody watches. Whoever does is told of each frame: as `port` has sent it, when
     * that is done, and as it has been offered to `port`, whose lock is held; with what has come of
     * it. Nothing of it is kept. */
    net_watch_fn watch;

    struct spinlock lock; /* RANK_SWITCH, over what follows */
    struct net_table table;
    unsigned count;                   /* of ports that there have been; atomic */
    struct net_port *port[NET_PORTS]; /* never freed while the switch is there */
};

/* name, mtu, vlans, now and hz are set. */
void net_switch_init(struct net_switch *s, uint64_t seed);
/* watch: from now on, or NULL. Who is just sending may still tell the one before. */
void net_switch_watch(struct net_switch *s, net_watch_fn watch);
/* All its ports are detached. */
void net_switch_destroy(struct net_switch *s);

/* -EEXIST: its address is another port's; -ENOSPC, -ENOMEM. It is closed, and its cable in. */
int net_port_attach(struct net_switch *s, const struct net_port_setup *what,
                    struct net_port **out) MUST_CHECK;
/* When it returns its owner is not called any more. */
void net_port_detach(struct net_port *p);
/* Frames come from now on, with so much left to do, or do not come any more. */
void net_port_open(struct net_port *p, unsigned can);
void net_port_close(struct net_port *p);
/* What `receive` uses may be changed. */
void net_port_lock(struct net_port *p);
void net_port_unlock(struct net_port *p);
/* The cable is in, or out: nothing goes either way. */
void net_port_plug(struct net_port *p, bool in);
bool net_port_plugged(const struct net_port *p);

/* Ticks of the switch's clock until the port may send by its rate; 0: now. */
uint64_t net_port_wait(struct net_port *p);
/* Send: how much work that was: bytes that were to be copied, for each receiver and each time, and
 * NET_PORT_WORK for each port that was looked at. */
uint64_t net_port_send(struct net_port *p, const struct net_frame *f);
/* No more for now: receivers are told. */
void net_port_sent(struct net_port *p);
/* For a frame that never came so far. */
void net_port_refuse(struct net_port *p, enum net_drop why);

struct net_port_view {
    char name[2 * NET_NAME];
    uint8_t mac[NET_MAC];
    uint16_t vlan;
    bool isolated, any_mac, plugged, open;
    uint64_t rate;
    unsigned learned; /* addresses behind it */
    struct net_counts counts;
};

/* Port number index, from 0: 1, 0 where none is attached, -ENOENT past the last one. */
int net_switch_look(struct net_switch *s, unsigned index, struct net_port_view *out) MUST_CHECK;
const char *net_drop_text(enum net_drop why);
