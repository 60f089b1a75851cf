/*
 * Bus 0 of PCI with its host bridge: configuration space by mechanism #1 and by ECAM, BARs that the
 * guest moves, INTx (PCI Local Bus Specification 3.0, chapters 2, 3 and 6; PCI Express Base
 * Specification, "PCI Express Enhanced Configuration Access Mechanism").
 */
#pragma once

#include "guest/board/class.h"

#define PCI_DEVFN(device, function) ((device) << 3 | (function))

enum pci_config {
    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION = 0x08,
    PCI_PROG_IF = 0x09,
    PCI_SUBCLASS = 0x0a,
    PCI_CLASS = 0x0b,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_SUBSYSTEM_VENDOR_ID = 0x2c,
    PCI_SUBSYSTEM_ID = 0x2e,
    PCI_CAPABILITIES = 0x34,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,
    PCI_FIRST_CAPABILITY = 0x40,
};

#define PCI_LPC PCI_DEVFN(31, 0) /* where the chipset's bridge to the devices of a PC is */

#define PCI_COMMAND_IO          BIT(0)
#define PCI_COMMAND_MEMORY      BIT(1)
#define PCI_COMMAND_MASTER      BIT(2)
#define PCI_COMMAND_INTX_OFF    BIT(10)
#define PCI_STATUS_INTX         BIT(3)
#define PCI_STATUS_CAPABILITIES BIT(4)
#define PCI_BARS                6
#define PCI_DEVICES             32
#define PCI_BAR_IO              1
#define PCI_BAR_64              4
#define PCI_BAR_PREFETCH        8

/* Where INTx pins lead: INTA of device d is line d % PCI_INTX_LINES, and so on. */
#define PCI_INTX_LINES 4
static inline unsigned pci_intx_line(unsigned device, unsigned pin) /* pin from 0: INTA */
{
    return (device + pin) % PCI_INTX_LINES;
}

struct pci_function;

struct pci_function_ops {
    /* The guest has written size bytes at offset; config holds the outcome. BARs and command may
     * have changed. */
    void (*written)(struct pci_function *f, unsigned offset, unsigned size);
    /* Bring config's device-owned bytes up to date before a read. Either may be NULL. */
    void (*reading)(struct pci_function *f, unsigned offset, unsigned size);
};

struct pci_function {
    const struct pci_function_ops *ops;
    uint8_t config[256];
    uint8_t initial[256];    /* what reset restores: a copy of config, made by pci_add_function() */
    uint8_t writable[256];   /* bits that the guest sets */
    uint8_t clearable[256];  /* bits that the guest clears by writing 1 */
    uint8_t changeable[256]; /* further bits that the device itself changes, so that load accepts
                                them */
    struct pci *pci;         /* pci_add_function() */
    uint8_t devfn;
    uint8_t capabilities_end; /* where the next capability goes; 0: there is none yet */
    bool intx;                /* what pci_intx() was told last; atomic */
    bool drives;              /* its line, as counted in pci.asserted */
    struct bus_range *range[PCI_BARS];
};

struct pci {
    struct device dev;
    struct bus *bus;
    uint32_t address;
    struct pci_function *function[256]; /* by devfn */
    struct pci_function bridge;
    struct bus_range ecam;
    void (*bridge_written)(struct device *d, const uint8_t *config); /* pci_bridge_registers() */
    struct device *bridge_owner;
    uint32_t places;                  /* which devices pci_add_device() may take: a bit each */
    struct spinlock intx_lock;        /* over who drives which line: */
    uint8_t asserted[PCI_INTX_LINES]; /* functions that do */
};

/* The bus for the functions, with a host bridge on it. */
extern const struct device_class pci_class;

/* A zeroed config space with vendor, device, class (24 bits: class, subclass, interface), and the
 * usual writable bits. */
void pci_function_init(struct pci_function *f, const struct pci_function_ops *ops, uint16_t vendor,
                       uint16_t device, uint32_t class_code);
/*
 * Declare BAR number bar (0-5) of size bytes, a power of two (at least 4 for I/O, 16 for memory),
 * with PCI_BAR_ flags. A 64-bit BAR takes two. -EINVAL when it does not fit.
 */
int pci_function_bar(struct pci_function *f, unsigned bar, uint64_t size,
                     unsigned flags) MUST_CHECK;
/* Where the guest has put the BAR; 0 when it is unplaced or its decoding is off in the command
 * register. */
uint64_t pci_function_bar_base(const struct pci_function *f, unsigned bar);
/*
 * What stands behind a BAR: a range of that size, whose device is on the bus. It is where the guest
 * puts the BAR, and nowhere while its decoding is off.
 */
int pci_function_map(struct pci_function *f, unsigned bar, struct bus *bus,
                     struct bus_range *range) MUST_CHECK;
/* A capability of that id and size (with its two bytes of header), at the end of the list: where
 * its bytes are, or -ENOSPC. */
int pci_function_capability(struct pci_function *f, uint8_t id, unsigned size) MUST_CHECK;
/* Raise or lower the function's INTx pin: what the guest sees depends on the command register, and
 * on the functions that share the line. */
void pci_intx(struct pci_function *f, bool level);
/* Put f at devfn of bus 0. Its config is complete now; memory BARs begin where firmware
 * would have put them. -EEXIST, -EINVAL (function n without
 * function 0: add 0 first). */
int pci_add_function(struct pci *p, unsigned devfn, struct pci_function *f) MUST_CHECK;
/* The same, at the first device that is free for that. -ENOSPC: there is none. */
int pci_add_device(struct pci *p, struct pci_function *f) MUST_CHECK;
/* A place behind a function as firmware is told of it, which compares it as text: IEEE 1275,
 * "Device tree", with names as QEMU gives them. path[DEVICE_BOOT_PATH]. */
void pci_boot_path(const struct pci_function *f, const char *name, const char *behind, char *path);
/* The number on the bus of the device that has a range behind a BAR there, or -ENOENT. */
int pci_device_of(const struct pci *p, const struct device *d);
/*
 * The host bridge has these registers, too, from `at` on, of which the guest sets bits that are
 * writable. written is called with the bridge's config space after each change of that, with the
 * bus's lock held and not d's. One device does so, when it is made.
 */
void pci_bridge_registers(struct pci *p, unsigned at, const uint8_t *value, const uint8_t *writable,
                          unsigned count, void (*written)(struct device *d, const uint8_t *config),
                          struct device *d);
/* It stops, and all its functions are gone: their BARs are nowhere, their pins down. Accesses that
 * have begun may still come to what they have found. */
void pci_remove_device(struct pci *p, struct device *d);
/* Nothing is on it but the host bridge. */
bool pci_is_bare(const struct pci *p);
