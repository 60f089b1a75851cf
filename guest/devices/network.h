/* What network cards of VMs share: a line's place in the config, and at a switch. */
#pragma once

#include "guest/board/class.h"
#include "guest/net/switch.h"

/* For create: find what the line says, and take a port there. ops and owner of what are set, the
 * rest is then. 0 or an error, as create's. */
int network_attach(struct device_setup *s, struct net_port_setup *what, struct net_switch **on,
                   struct net_port **port) MUST_CHECK;
/* For check: whether the line is for a card of that model. */
int network_check(const char *text, size_t length, bool e1000, char *error) MUST_CHECK;
