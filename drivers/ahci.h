/* AHCI (Serial ATA AHCI 1.3.1 Specification): each port with a drive is a unit of its own. */
#pragma once

#include "drivers/ata.h"

#define AHCI_SLOTS    32
#define AHCI_PORTS    32
#define AHCI_SEGMENTS 56 /* of a command: its table is 1 KiB then */
#define AHCI_TABLE    1024

struct ahci_port {
    struct disk_unit unit;
    struct disk disk;
    struct ata_identity id;
    struct io registers; /* of this port */
    uint8_t *lists;      /* a page: 32 command headers, and behind them what the drive sends */
    uint8_t *tables;     /* AHCI_SLOTS command tables */
    paddr lists_at, tables_at;
    uint64_t step_until;
    uint8_t step;
    bool hard;    /* the reset is one of the link, too */
    bool flushes; /* what was given to the drive last is a FLUSH */
};

struct ahci {
    struct io registers;
    unsigned slots, ports; /* ports: a bit for each that is there */
    bool wide;             /* 64-bit addresses */
    struct ahci_port *port[AHCI_PORTS];
};

/* Take the controller over from firmware, whose ports it stops. 0; -ENODEV: it does not answer as
 * it should. */
int ahci_init(struct ahci *a) MUST_CHECK;
/* Whether a drive is at port n; where not, nothing goes on there any more. */
bool ahci_port_there(const struct ahci *a, unsigned n);
/*
 * Start port n, whose memory the caller has provided and cleared, and find out what is there. 0,
 * and it is known to disk_get(); -ENODEV: no disk.
 */
int ahci_port_init(struct ahci *a, unsigned n, struct ahci_port *p, const char *name) MUST_CHECK;
/* The controller's interrupt. */
void ahci_interrupt(void *ahci);
