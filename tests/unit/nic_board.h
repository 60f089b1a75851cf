/* A VM's 82540EM on a mock board, whose switch has one more port: the peer's, for tests and
 * fuzzers. */
#pragma once

#include <string.h>

#include "guest/devices/e1000/e1000.h"
#include "guest/devices/e1000/nic.h"

#include "tests/unit/function_config.h"

#define PORTS_AT 0xc000u

static struct device_list devices;
static struct net_switch lan;
static struct net_port *peer;

void *phys_to_virt(paddr pa)
{
    return (void *)pa;
}

paddr virt_to_phys(const void *va)
{
    return (paddr)va;
}

static inline uint64_t net_clock(void)
{
    return board.now;
}

static inline void peer_received(void *owner)
{
}

static inline int find(void *context, const char *text, size_t length, struct net_switch **on,
                       struct net_port_setup *what, char *error)
{
    static const uint8_t mac[NET_MAC] = {2, 0, 0, 0, 0, 1};

    memcpy(what->mac, mac, NET_MAC);
    *on = &lan;
    return 0;
}

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    *length = 15;
    return index == 0 ? "lan,model=e1000" : NULL;
}

/* Both plugged in, its registers where a driver wants them. 0, or -1. */
static inline int nic_board_init(uint32_t mtu, const struct net_port_ops *ops)
{
    static const struct device_class *const classes[] = {&pci_class, &e1000_class};
    static const struct device_host host = {.line = line, .net = find};
    struct device_setup s = {.board = &board, .bus = &board.bus, .host = &host};
    struct net_port_setup what = {.mac = {2, 0, 0, 0, 0, 2}, .any_mac = true, .ops = ops};

    mock_init(&board);
    view = (struct bus_view){0};
    devices = (struct device_list){0};
    lan = (struct net_switch){.mtu = mtu, .now = net_clock, .hz = board.hz};
    net_switch_init(&lan, 1);
    if (net_port_attach(&lan, &what, &peer) || device_list_fill(&devices, classes, 2, &s) < 0)
        return -1;
    net_port_open(peer, 0);
    bus_reset(&board.bus);
    config_write(PCI_BAR0 + 4, 4, PORTS_AT);
    config_write(PCI_COMMAND, 2, 7);
    return 0;
}

static inline void nic_board_destroy(void)
{
    mock_destroy(&board);
    device_list_destroy(&devices);
    net_port_detach(peer);
    net_switch_destroy(&lan);
}
