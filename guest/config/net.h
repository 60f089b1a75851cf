/* What a `net = SWITCH[,mac=MAC][,vlan=N][,rate=RATE][,isolated][,any-mac][,queues=N]
 * [,model=virtio|e1000]` says. */
#pragma once

#include "guest/config/config.h"

#define CONFIG_MAC      6
#define CONFIG_VLAN_MAX 4094u
#define CONFIG_PAIRS    16u /* of queues */
/* Bits per second, in the config as Kbit, Mbit or Gbit. */
#define CONFIG_RATE_MIN 64000u
#define CONFIG_RATE_MAX 100000000000u

struct config_net {
    struct config_span on; /* the switch */
    bool has_mac, isolated, any_mac, e1000;
    uint8_t mac[CONFIG_MAC];
    uint8_t queues; /* pairs of them; 0: not said */
    uint16_t vlan;  /* 0: none */
    uint64_t rate;  /* bits per second; 0: as fast as can be */
};

/* 0, or -EINVAL with a sentence in error[CONFIG_MESSAGE]. */
int config_net_parse(const char *text, size_t length, struct config_net *out, char *error);
/* What `uplink =` says: the first card that there is, or one by its place or its address. */
struct config_uplink {
    bool by_place, by_mac;
    uint16_t place; /* bus << 8 | device << 3 | function */
    uint8_t mac[CONFIG_MAC];
};
/* False: it is none of these. */
bool config_uplink_parse(struct config_span text, struct config_uplink *out);

/* What the text alone does not show: whether there is that switch, and what it wants of its ports.
 * 0, or as above. */
int config_net_fits(const struct config_net *net, const struct config *config, char *error);
/* The switch of that name, or NULL. */
const struct switch_config *config_switch(const struct config *config, struct config_span name);
/* The address of a VM's card number index, where the config gives none: locally administered, and
 * the same each time. */
void config_net_mac(struct config_span vm, unsigned index, uint8_t *mac);
