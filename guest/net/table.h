/*
 * Which address is at which port of a switch. Those of the ports themselves are fixed; others are
 * learned from who sends, limited in number, and forgotten with time. Pure; under its switch's
 * lock.
 */
#pragma once

#include "guest/net/frame.h"

#define NET_PORTS        1024u
#define NET_LEARNED      1024u /* entries, of all ports */
#define NET_LEARNED_EACH 128u  /* of one */
#define NET_ENTRIES      (NET_PORTS + NET_LEARNED)
#define NET_CHAINS       512u
#define NET_NOWHERE      NET_PORTS

struct net_entry {
    uint64_t seen;
    uint8_t mac[NET_MAC];
    uint16_t vlan, port;
    uint16_t next; /* of its chain, or of the free ones; NET_ENTRIES: none */
    bool used, fixed;
};

struct net_table {
    uint64_t seed, age; /* ticks for which a learned address is good */
    uint16_t chain[NET_CHAINS], free;
    uint16_t hand; /* where the search for what is too old goes on */
    uint16_t learned, learned_at[NET_PORTS];
    struct net_entry entry[NET_ENTRIES];
};

enum net_learned { NET_LEARNED_IT, NET_LEARNED_NOT, NET_LEARNED_FORGED };

/* seed: so that nobody can choose addresses that share a chain. */
void net_table_init(struct net_table *t, uint64_t seed, uint64_t age);
/* The address of a port itself. -EEXIST: it is another one's; -ENOSPC. */
int net_table_fix(struct net_table *t, const uint8_t *mac, uint16_t vlan, unsigned port) MUST_CHECK;
/* The port has gone, and all that was there. */
void net_table_forget(struct net_table *t, unsigned port);
/* Something came from there. FORGED: that address is another port's own, or nobody's can be; NOT:
 * there is no room. */
enum net_learned net_table_learn(struct net_table *t, const uint8_t *mac, uint16_t vlan,
                                 unsigned port, uint64_t now);
/* The port, or NET_NOWHERE. */
unsigned net_table_find(struct net_table *t, const uint8_t *mac, uint16_t vlan, uint64_t now);
