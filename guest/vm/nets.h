/* The switches that the config names, and what is behind the network cards of its VMs. */
#pragma once

#include "guest/board/class.h"
#include "guest/net/switch.h"

struct config;
struct uplink;
struct vm;

/* On the boot processor, before any VM starts. */
void nets_begin(const struct config *config);
/* Number index, from 0, in the config's order; NULL: there are not so many. */
struct net_switch *nets_get(unsigned index);

/* By what frames leave it, or NULL. */
const struct uplink *nets_uplink(unsigned index);

/* struct device_host's net(): context is the struct vm. */
int net_open(void *context, const char *text, size_t length, struct net_switch **on,
             struct net_port_setup *what, char *error);

/* The cable of the VM's card number `card`, from 0, is put in, or pulled. On processor 0; -ENOENT.
 */
int nets_plug(struct vm *vm, unsigned card, bool in) MUST_CHECK;
