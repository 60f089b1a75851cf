/* See lane.h. */
#include "guest/net/lane.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "mm/heap.h"

int net_lane_add(struct net_port *p, struct net_port **lane)
{
    struct net_port *l = heap_alloc(sizeof(*l));

    if (!l)
        return -ENOMEM;
    spin_lock(&p->on->lock);
    *l = (struct net_port){.on = p->on,
                           .number = p->number,
                           .what = p->what,
                           .ways_out = p->ways_out,
                           .way_out = p->way_out,
                           .unplugged = !net_port_plugged(p),
                           .lanes = p->lanes,
                           .lane_of = p};
    spin_init(&l->lock, RANK_PORT);
    p->lanes = l;
    spin_unlock(&p->on->lock);
    *lane = l;
    return 0;
}

void net_lanes_free(struct net_port *p)
{
    while (p->lanes) {
        struct net_port *l = p->lanes;

        p->lanes = l->lanes;
        heap_free(l);
    }
}

uint64_t net_lane_wait(struct net_port *lane)
{
    struct net_port *p = lane->lane_of;
    uint64_t wait;

    if (p->what.rate == 0)
        return 0;
    spin_lock(&p->on->lock);
    wait = bucket_wait(&p->out, p->on->now());
    spin_unlock(&p->on->lock);
    return wait;
}

uint64_t net_lane_send(struct net_port *lane, const struct net_frame *f)
{
    struct net_port *p = lane->lane_of;

    if (p->what.rate) {
        spin_lock(&p->on->lock);
        /* Who cares has asked net_lane_wait(). */
        (void)bucket_take(&p->out, net_frame_bytes(f), p->on->now());
        spin_unlock(&p->on->lock);
    }
    return net_port_send(lane, f);
}

/* --- what comes --- */

uint32_t net_port_leave(struct net_port *p)
{
    uint32_t closed = p->closed;

    __atomic_fetch_add(&p->inside, 1, __ATOMIC_RELAXED);
    spin_unlock(&p->lock);
    return closed;
}

bool net_port_return(struct net_port *p, uint32_t left)
{
    __atomic_fetch_sub(&p->inside, 1, __ATOMIC_RELEASE);
    spin_lock(&p->lock);
    return p->closed == left;
}

void net_port_settle(struct net_port *p)
{
    while (__atomic_load_n(&p->inside, __ATOMIC_ACQUIRE))
        cpu_pause();
}

/* --- for the switch --- */

bool net_lane_storm(struct net_port *lane, uint64_t units, uint64_t now)
{
    struct net_port *p = lane->lane_of;
    bool allowed;

    spin_lock(&p->on->lock);
    allowed = bucket_take(&p->storm, units, now);
    spin_unlock(&p->on->lock);
    return allowed;
}
