/*
 * Lanes of a port of a switch, for a card that sends by several queues at the same time: each lane
 * is another sender, on another processor. It sends and refuses as a port does (net_port_send(),
 * net_port_sent(), net_port_refuse(), net_port_plugged()), with counters of its own and a list of
 * whom it has reached of its own; what is limited is so for its port as a whole. What comes is the
 * port's. A port that has lanes does not send itself.
 */
#pragma once

#include "guest/net/switch.h"

/* One more, before any of them sends; it goes with the port. -ENOMEM. */
int net_lane_add(struct net_port *p, struct net_port **lane) MUST_CHECK;

/* As net_port_wait() and net_port_send(). */
uint64_t net_lane_wait(struct net_port *lane);
uint64_t net_lane_send(struct net_port *lane, const struct net_frame *f);

/*
 * The owner of a port, called by its switch, lets go of its lock until net_port_return() has it
 * again: meanwhile other frames come to the port, and it may be closed, and be another's, but not
 * before the owner has waited for all who are inside. A lane's lock (net_port_lock()) is there for
 * what the owner has of which one at a time may use. net_port_return(): whether the port was not
 * closed meanwhile; else the owner may not be there any more.
 */
uint32_t net_port_leave(struct net_port *p);
bool net_port_return(struct net_port *p, uint32_t left);
/* With the port closed, or its lock held: nobody is inside any more. They wait for no device. */
void net_port_settle(struct net_port *p);

/* --- for the switch --- */

/* Whether another frame may go to several ports. */
bool net_lane_storm(struct net_port *lane, uint64_t units, uint64_t now);
/* With the switch's lock held. */
void net_lanes_free(struct net_port *p);
