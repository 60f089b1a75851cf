/* What network cards of VMs share: a line's place in the config, and at a switch; a frame that the
 * driver sends. */
#pragma once

#include "guest/board/class.h"
#include "guest/net/switch.h"

#define NETWORK_PIECES 160u

/* What is sent: its first bytes are the card's, the rest is the guest's. */
struct network_frame {
    uint8_t head[NET_HEAD];
    uint8_t *scratch; /* see struct net_frame */
    unsigned pins;
    struct net_piece piece[NETWORK_PIECES]; /* pinned, but for the first */
};

/* Pin that memory, and put it behind the pieces that there are: without its first *skip bytes,
 * which *skip is less from then on. False: it is not there, or in too many pieces. */
bool network_add(struct network_frame *f, struct device *d, uint64_t gpa, uint64_t length,
                 uint64_t *skip) MUST_CHECK;
/* Whatever is pinned. */
void network_unpin(struct network_frame *f, struct device *d);

/* For create: find what the line says, and take a port there. ops and owner of what are set, the
 * rest is then. 0 or an error, as create's. */
int network_attach(struct device_setup *s, struct net_port_setup *what, struct net_switch **on,
                   struct net_port **port) MUST_CHECK;
/* For check: whether the line is for a card of that model. */
int network_check(const char *text, size_t length, bool e1000, char *error) MUST_CHECK;
