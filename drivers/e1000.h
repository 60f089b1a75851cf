/*
 * Intel's 8254x family and those that look like it ("PCI/PCI-X Family of Gigabit Ethernet
 * Controllers Software Developer's Manual"): registers only. Legacy descriptors, one queue each
 * way.
 */
#pragma once

#include "drivers/net_card.h"
#include "mm/frame.h"

#define E1000_RING   256u /* descriptors of 16 bytes: a page */
#define E1000_BUFFER 2048u
#define E1000_PAGES  (E1000_RING / (PAGE_SIZE / E1000_BUFFER)) /* of buffers, each way */

struct e1000_descriptor {
    uint64_t address;
    uint16_t length;
    uint8_t checksum; /* and its upper half; of what is sent: offset, command */
    uint8_t command;
    uint8_t status, errors;
    uint16_t special;
};
_Static_assert(sizeof(struct e1000_descriptor) == 16, "a descriptor");

#define E1000_PCIE      BIT(0) /* as 82571 and later: GIO master disable, EERD's other layout */
#define E1000_NOT_TRIED BIT(1)

struct e1000_model {
    uint16_t device;
    const char *name;
    uint32_t longest;
    unsigned flags;
};

struct e1000_ring {
    volatile struct e1000_descriptor *descriptor;
    paddr at;
    uint8_t *page[E1000_PAGES];
    paddr page_at[E1000_PAGES];
    unsigned next; /* the one that is looked at, or filled, next */
    unsigned last; /* the oldest one that is the other side's to give back */
};

struct e1000 {
    struct net_card card; /* first */
    struct io registers;
    const struct e1000_model *model;
    struct e1000_ring in, out;
    bool skips; /* the rest of a frame that is too long */
};

extern const struct net_card_ops e1000_ops; /* but for prepare() */

/* The model of that PCI device of Intel's, or NULL. */
const struct e1000_model *e1000_find(uint16_t device);
/* registers and model are set: it is silent from now on, and its address is known. -EIO. */
int e1000_init(struct e1000 *e) MUST_CHECK;
/* Its rings' memory, once; in e1000_pci.c. */
int e1000_prepare(struct net_card *c) MUST_CHECK;
