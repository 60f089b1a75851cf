/* virtio-net: "Control Virtqueue" of Virtio 1.2. See net_card.h; with the card's lock held. */
#include "arch/x86/lib/string.h"
#include "guest/devices/virtio/net_pairs.h"

enum { ACK_OK, ACK_ERR };
enum { CLASS_RX, CLASS_MAC, CLASS_VLAN, CLASS_ANNOUNCE, CLASS_MQ, CLASS_OFFLOADS };
enum { MAC_TABLE_SET, MAC_ADDR_SET };
enum { VLAN_ADD, VLAN_DEL };
enum { ANNOUNCE_ACK };
enum { PAIRS_SET };
enum { OFFLOADS_SET };
#define RX_COMMANDS 6u /* their bits are HEAR_, in this order */
#define RX_PLAIN    2u /* so many without VIRTIO_NET_F_CTRL_RX_EXTRA */

struct command {
    uint8_t class, command;
} PACKED;

static bool agreed(const struct card *n, uint64_t feature)
{
    return n->virtio.accepted & feature;
}

/* Of the request, behind the command. (Which queue it is of does not matter: all of them are of the
 * same memory.) */
static bool get(const struct card *n, uint64_t offset, void *data, size_t size)
{
    return virtq_read(&n->virtio.queue[CARD_CONTROL], &n->sender.chain,
                      sizeof(struct command) + offset, data, size);
}

void card_filter_init(struct card *n)
{
    n->filter = (struct card_filter){.how = HEAR_ALL, .offloads = CARD_OFFLOADS};
    memcpy(n->filter.mac, n->virtio.config, NET_MAC);
}

/* "Packet Receive Filtering" */
static bool set_mode(struct card *n, uint8_t command)
{
    uint8_t on, bit;

    if (command >= (agreed(n, F_CTRL_RX_EXTRA) ? RX_COMMANDS : RX_PLAIN) || !get(n, 0, &on, 1))
        return false;
    bit = (uint8_t)(1u << command);
    n->filter.how = (uint8_t)(on ? n->filter.how | bit : n->filter.how & ~bit);
    return true;
}

/* One of the two tables: what does not fit is as if all were wanted. Where the next one begins. */
static bool get_table(const struct card *n, uint64_t *offset, uint8_t (*table)[NET_MAC],
                      uint8_t most, uint8_t *count, bool *overflow)
{
    uint32_t entries;

    if (!get(n, *offset, &entries, sizeof(entries)))
        return false;
    *overflow = entries > most;
    *count = *overflow ? 0 : (uint8_t)entries;
    if (!get(n, *offset + sizeof(entries), table, (size_t)*count * NET_MAC))
        return false;
    *offset += sizeof(entries) + (uint64_t)entries * NET_MAC;
    return true;
}

/* "Setting MAC Address Filtering" */
static bool set_tables(struct card *n)
{
    struct card_filter f = n->filter;
    bool uni, multi;
    uint64_t offset = 0;

    if (!get_table(n, &offset, f.unicast, CARD_UNICAST, &f.unicasts, &uni) ||
        !get_table(n, &offset, f.multicast, CARD_MULTICAST, &f.multicasts, &multi))
        return false;
    f.overflow = (uint8_t)((uni ? HEAR_ALL_UNI : 0) | (multi ? HEAR_ALL_MULTI : 0));
    n->filter = f;
    return true;
}

/* Its own address: another one only where its port may send from that. */
static bool set_address(struct card *n)
{
    uint8_t mac[NET_MAC];

    if (!get(n, 0, mac, sizeof(mac)) || net_mac_is_group(mac))
        return false;
    if (!n->any_mac)
        return memcmp(mac, n->filter.mac, NET_MAC) == 0;
    memcpy(n->filter.mac, mac, NET_MAC);
    memcpy(n->virtio.config, mac, NET_MAC);
    return true;
}

static bool set_vlan(struct card *n, uint8_t command)
{
    uint16_t vid;

    if (command > VLAN_DEL || !get(n, 0, &vid, sizeof(vid)) || vid >= 4096)
        return false;
    if (command == VLAN_ADD)
        n->filter.vlans[vid / 64] |= BIT(vid % 64);
    else
        n->filter.vlans[vid / 64] &= ~BIT(vid % 64);
    return true;
}

static bool announced(struct card *n)
{
    n->virtio.config[offsetof(struct card_config, status)] &= (uint8_t)~STATUS_ANNOUNCE;
    return true;
}

/* "Automatic receive steering in multiqueue mode": how many pairs the driver uses from now on. */
static bool set_pairs(struct card *n, uint8_t command)
{
    uint16_t pairs;

    return command == PAIRS_SET && get(n, 0, &pairs, sizeof(pairs)) && card_pairs_set(n, pairs);
}

/* "Offloads State Configuration": what is left to the driver of what comes from now on. */
static bool set_offloads(struct card *n, uint8_t command)
{
    uint64_t offloads;

    if (command != OFFLOADS_SET || !get(n, 0, &offloads, sizeof(offloads)) ||
        (offloads & ~(n->virtio.accepted & CARD_OFFLOADS)))
        return false;
    n->filter.offloads = offloads;
    n->port->can = (uint8_t)card_can(n);
    return true;
}

/* With the port's lock held, too, as frames come by what is set here. */
static bool carry_out(struct card *n, const struct command *c)
{
    switch (c->class) {
    case CLASS_RX:
        return agreed(n, F_CTRL_RX) && set_mode(n, c->command);
    case CLASS_MAC:
        if (c->command == MAC_TABLE_SET)
            return agreed(n, F_CTRL_RX) && set_tables(n);
        return c->command == MAC_ADDR_SET && agreed(n, F_CTRL_MAC_ADDR) && set_address(n);
    case CLASS_VLAN:
        return agreed(n, F_CTRL_VLAN) && set_vlan(n, c->command);
    case CLASS_ANNOUNCE:
        return agreed(n, F_GUEST_ANNOUNCE) && c->command == ANNOUNCE_ACK && announced(n);
    case CLASS_MQ:
        return agreed(n, F_MQ) && set_pairs(n, c->command);
    case CLASS_OFFLOADS:
        return agreed(n, F_CTRL_OFFLOADS) && set_offloads(n, c->command);
    default:
        return false;
    }
}

bool card_control(struct card *n, struct virtq *q)
{
    const struct virtq_chain *c = &n->sender.chain;
    struct command command;
    uint8_t ack = ACK_ERR;

    if (c->readable == c->count)
        return false;
    net_port_lock(n->port);
    if (virtq_read(q, c, 0, &command, sizeof(command)) && carry_out(n, &command))
        ack = ACK_OK;
    net_port_unlock(n->port);
    if (device_memory_write(&n->virtio.dev, c->segment[c->readable].gpa, &ack, 1) < 0)
        return false;
    virtq_return(q, c, 1);
    return true;
}
