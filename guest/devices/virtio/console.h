/* virtio-console, as the VM's owner sees it: ports that carry bytes both ways. */
#pragma once

#include "guest/board/device.h"

struct vconsole_port {
    bool there;       /* the driver has taken it into use */
    bool open;        /* somebody in the guest has it open */
    unsigned typed;   /* bytes that were typed, and that the guest has not read */
    uint64_t dropped; /* bytes that were typed while nobody had it open, or that found no room */
};

/* All with no device's lock held, on any processor; port is below the number of its ports. */
void vconsole_look(struct device *d, unsigned port, struct vconsole_port *out);
/* How many bytes it takes now: those that are typed while nobody has it open are dropped. */
unsigned vconsole_room(struct device *d, unsigned port);
/* A byte is typed. */
void vconsole_type(struct device *d, unsigned port, uint8_t byte);
/* The terminal of port 0 has so many columns and rows. */
void vconsole_resize(struct device *d, uint16_t columns, uint16_t rows);
