/* See table.h. */
#include "guest/net/table.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define NONE NET_ENTRIES

_Static_assert(NET_ENTRIES <= UINT16_MAX, "entries and ports are numbered by 16 bits");

static uint16_t *chain_of(struct net_table *t, const uint8_t *mac, uint16_t vlan)
{
    uint64_t h = (uint64_t)vlan << 48;

    memcpy(&h, mac, NET_MAC);
    h = (h ^ t->seed) * 0x9e3779b97f4a7c15ULL;
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93ULL;
    return &t->chain[h >> 32 & (NET_CHAINS - 1)];
}

static bool is(const struct net_entry *e, const uint8_t *mac, uint16_t vlan)
{
    return e->vlan == vlan && memcmp(e->mac, mac, NET_MAC) == 0;
}

static struct net_entry *look_up(struct net_table *t, const uint8_t *mac, uint16_t vlan)
{
    for (unsigned i = *chain_of(t, mac, vlan); i != NONE; i = t->entry[i].next)
        if (is(&t->entry[i], mac, vlan))
            return &t->entry[i];
    return NULL;
}

static void remove(struct net_table *t, struct net_entry *e)
{
    uint16_t number = (uint16_t)(e - t->entry), *link = chain_of(t, e->mac, e->vlan);

    while (*link != number)
        link = &t->entry[*link].next;
    *link = e->next;
    if (!e->fixed) {
        t->learned--;
        t->learned_at[e->port]--;
    }
    e->used = false;
    e->next = t->free;
    t->free = number;
}

static struct net_entry *add(struct net_table *t, const uint8_t *mac, uint16_t vlan, unsigned port,
                             bool fixed)
{
    uint16_t number = t->free, *chain = chain_of(t, mac, vlan);
    struct net_entry *e = &t->entry[number];

    if (number == NONE)
        return NULL;
    t->free = e->next;
    *e = (struct net_entry){
        .vlan = vlan, .port = (uint16_t)port, .next = *chain, .used = true, .fixed = fixed};
    memcpy(e->mac, mac, NET_MAC);
    *chain = number;
    if (!fixed) {
        t->learned++;
        t->learned_at[port]++;
    }
    return e;
}

static bool is_old(const struct net_table *t, const struct net_entry *e, uint64_t now)
{
    return !e->fixed && now > e->seen && now - e->seen > t->age;
}

void net_table_init(struct net_table *t, uint64_t seed, uint64_t age)
{
    memset(t, 0, sizeof(*t));
    t->seed = seed;
    t->age = age;
    for (unsigned i = 0; i < NET_CHAINS; i++)
        t->chain[i] = NONE;
    for (unsigned i = 0; i < NET_ENTRIES; i++)
        t->entry[i].next = (uint16_t)(i + 1);
}

int net_table_fix(struct net_table *t, const uint8_t *mac, uint16_t vlan, unsigned port)
{
    struct net_entry *e = look_up(t, mac, vlan);

    if (e && e->fixed)
        return e->port == port ? 0 : -EEXIST;
    if (e) /* whoever sent with it before was not its owner */
        remove(t, e);
    return add(t, mac, vlan, port, true) ? 0 : -ENOSPC;
}

void net_table_forget(struct net_table *t, unsigned port)
{
    for (unsigned i = 0; i < NET_ENTRIES; i++)
        if (t->entry[i].used && t->entry[i].port == port)
            remove(t, &t->entry[i]);
}

static bool may_be_source(const uint8_t *mac)
{
    static const uint8_t zero[NET_MAC];

    return !net_mac_is_group(mac) && memcmp(mac, zero, NET_MAC) != 0;
}

enum net_learned net_table_learn(struct net_table *t, const uint8_t *mac, uint16_t vlan,
                                 unsigned port, uint64_t now)
{
    struct net_entry *old = &t->entry[t->hand], *e;

    t->hand = (uint16_t)((t->hand + 1) % NET_ENTRIES);
    if (old->used && is_old(t, old, now))
        remove(t, old);
    if (!may_be_source(mac))
        return NET_LEARNED_FORGED;
    e = look_up(t, mac, vlan);
    if (e && e->fixed)
        return e->port == port ? NET_LEARNED_IT : NET_LEARNED_FORGED;
    if (!e || e->port != port) {
        if (t->learned_at[port] == NET_LEARNED_EACH || (!e && t->learned == NET_LEARNED))
            return NET_LEARNED_NOT;
        if (e) /* it has moved */
            remove(t, e);
        e = add(t, mac, vlan, port, false);
        if (!e)
            return NET_LEARNED_NOT;
    }
    e->seen = now;
    return NET_LEARNED_IT;
}

unsigned net_table_find(struct net_table *t, const uint8_t *mac, uint16_t vlan, uint64_t now)
{
    struct net_entry *e = look_up(t, mac, vlan);

    if (!e)
        return NET_NOWHERE;
    if (is_old(t, e, now)) {
        remove(t, e);
        return NET_NOWHERE;
    }
    return e->port;
}
