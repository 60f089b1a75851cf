/*
 * The machine's PCI functions (PCI Local Bus Specification 3.0, chapter 6; PCI Express Base
 * Specification, "PCI Express Enhanced Configuration Access Mechanism"). Firmware has given the
 * BARs their places; they stay there.
 */
#pragma once

#include "drivers/io.h"

#define HOST_PCI_MAX 512 /* functions that are kept; more are left out, and said so */

enum host_pci_register {
    HOST_PCI_ID = 0x00,
    HOST_PCI_COMMAND = 0x04,
    HOST_PCI_CLASS = 0x08,
    HOST_PCI_HEADER = 0x0c,
    HOST_PCI_BAR = 0x10,
    HOST_PCI_BUSES = 0x18, /* of a bridge: primary, secondary, subordinate */
    HOST_PCI_CAPABILITIES = 0x34,
    HOST_PCI_INTERRUPT = 0x3c, /* line, pin */
};

#define HOST_PCI_IO       0x1u
#define HOST_PCI_MEMORY   0x2u
#define HOST_PCI_MASTER   0x4u
#define HOST_PCI_INTX_OFF 0x400u

#define HOST_PCI_CAP_MSI     0x05
#define HOST_PCI_CAP_VENDOR  0x09
#define HOST_PCI_CAP_EXPRESS 0x10
#define HOST_PCI_CAP_MSIX    0x11

struct host_pci {
    uint16_t address; /* bus << 8 | device << 3 | function */
    uint16_t vendor, device;
    uint8_t class, subclass, interface;
};

/* Configuration space of segment 0 by aligned dwords. Absent functions read as ones. */
struct host_pci_access {
    uint32_t (*read)(uint16_t address, unsigned offset);
    void (*write)(uint16_t address, unsigned offset, uint32_t value);
    bool all_buses; /* buses beside those that bridges lead to may be looked at */
};

/* Mechanism #1, for as long as nothing is mapped yet. */
const struct host_pci_access *host_pci_by_ports(void);
/* The same, or ECAM where the ACPI tables have an MCFG. */
const struct host_pci_access *host_pci_access_init(void);

/* Find all functions: behind bridges, each bus once. Returns how many there are. */
unsigned host_pci_init(const struct host_pci_access *access);
/* The functions in the order of their addresses; NULL from the last on. */
struct host_pci *host_pci_get(unsigned index);

/*
 * Before a driver has claimed it no function reaches memory by itself: what firmware left running,
 * and its own words, stops here. Bridges and host bridges pass on what others do, and stay as they
 * are. Returns how many had been left so, in all.
 */
unsigned host_pci_quiet(void);
/* One that firmware wants to go on; where it was. */
void host_pci_unquiet(const struct host_pci *p);
/* The address by which what it does beyond the bridges above it is known: its own, or that of a
 * bridge that speaks for it. */
uint16_t host_pci_requester(const struct host_pci *p);

/* Whatever is at that address; ones where there is nothing. */
uint32_t host_pci_read_at(uint16_t address, unsigned offset);
uint32_t host_pci_read(const struct host_pci *p, unsigned offset);
void host_pci_write(const struct host_pci *p, unsigned offset, uint32_t value);
/* Set and clear bits of the command register; clears none of the status bits beside it. */
void host_pci_command(const struct host_pci *p, uint16_t set, uint16_t clear);

/* The next capability of that kind behind `after` (0: from the first on), or 0. A list that loops
 * ends, and none of it is found twice. */
unsigned host_pci_capability(const struct host_pci *p, uint8_t id, unsigned after);

struct host_pci_bar {
    uint64_t base, size;
    bool ports;
};
/* Where BAR n lies and how large it is. While that is found out its decoding is off. 0, or -ENODEV
 * when there is none or firmware gave it no place. */
int host_pci_bar(const struct host_pci *p, unsigned n, struct host_pci_bar *out) MUST_CHECK;

/* --- interrupts by message (chapter 6.8) --- */

struct host_pci_message {
    uint64_t address;
    uint32_t data;
};
/* How many vectors MSI-X has, and where its table lies; 0: there is no MSI-X. */
unsigned host_pci_msix(const struct host_pci *p, unsigned *bar, uint32_t *offset);
/* Let entry n of the table, mapped at io, send this message; masked before. */
void host_pci_msix_set(const struct io *table, unsigned n, const struct host_pci_message *m);
/* On: MSI and INTx are off then. */
void host_pci_msix_enable(const struct host_pci *p, bool on);
/* One vector by MSI, and MSI-X and INTx are off; -ENODEV where there is none. */
int host_pci_msi_enable(const struct host_pci *p, const struct host_pci_message *m) MUST_CHECK;
