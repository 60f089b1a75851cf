/*
 * Intel's gigabit cards. The 8254x family and those that look like it ("PCI/PCI-X Family of Gigabit
 * Ethernet Controllers Software Developer's Manual"; 82574; I217 to I219) have legacy descriptors;
 * the 82576 and its kin (I210, I211) advanced ones, registers of a queue that is enabled by itself,
 * and most of the rest as before. One queue each way, interrupts by ICR in all of them.
 */
#pragma once

#include "drivers/net_card.h"
#include "mm/frame.h"

#define E1000_RING    256u /* descriptors of 16 bytes: a page */
#define E1000_BUFFER  2048u
#define E1000_PAGES   (E1000_RING / (PAGE_SIZE / E1000_BUFFER)) /* of buffers, each way */
#define E1000_DEVICES 48

/* What the words say is in e1000_ring.c. */
struct e1000_descriptor {
    uint64_t address;
    uint32_t word[2];
};
_Static_assert(sizeof(struct e1000_descriptor) == 16, "a descriptor");

#define E1000_PCIE      BIT(0) /* as 82571 and later: GIO master disable, EERD's other layout */
#define E1000_NOT_TRIED BIT(1)
#define E1000_PCH       BIT(2) /* the chipset's: a reset takes longer, queues are enabled */
#define E1000_MULR      BIT(3) /* I219's: a reset may hang what it fetches */
#define E1000_ADVANCED  BIT(4) /* the 82576's descriptors, queues and interrupt throttling */
#define E1000_PBS       BIT(5) /* I210's: a reset leaves the sizes of its packet buffers */
#define E1000_NO_EERD   BIT(6) /* it has read its address itself, or has none */

struct e1000_model {
    const char *name;
    uint32_t longest;
    unsigned flags;
    uint16_t device[E1000_DEVICES]; /* PCI's; the rest is 0 */
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

/* The model of that PCI device of Intel's, or NULL; in e1000_models.c. */
const struct e1000_model *e1000_find(uint16_t device);
/* registers and model are set: it is silent from now on, and its address is known. -EIO. */
int e1000_init(struct e1000 *e) MUST_CHECK;
/* Its rings' memory, once; in e1000_pci.c. */
int e1000_prepare(struct net_card *c) MUST_CHECK;

/* --- its rings (e1000_ring.c) --- */

void e1000_rings_init(struct e1000 *e);
/* See net_card.h. */
bool e1000_send(struct net_card *c, const struct net_piece *piece, unsigned count, uint32_t length);
unsigned e1000_settle(struct net_card *c);
int e1000_take(struct net_card *c, struct net_arrival *a);
/* What has been taken is the card's again, up to the tail that is returned. */
unsigned e1000_refill(struct e1000 *e);
