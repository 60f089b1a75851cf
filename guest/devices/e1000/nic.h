/*
 * The 82540EM ("PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual"), for
 * systems that know no virtio: what its files share. card.c has its registers and its life, send.c
 * sends, receive.c takes what comes, interrupts.c tells of it, statistics.c counts it, chip.c has
 * its EEPROM and its PHY.
 *
 * What receive.c uses is under the lock of the card's port, with which senders come; the rest is
 * under the card's own. Who has both has taken the port's last.
 */
#pragma once

#include "guest/board/pci.h"
#include "guest/devices/network.h"

#define NIC_TIMER_GO_ON 0
#define NIC_TIMER_TELL  1

#define NIC_AT_ONCE    256u        /* descriptors before the timer comes */
#define NIC_WORK       (256 * KIB) /* and bytes that are copied */
#define NIC_SEGMENTS   96u         /* of a frame that is sent */
#define NIC_ADDRESSES  16u
#define NIC_TABLE      128u /* dwords of the tables of groups and of VLANs */
#define NIC_WORDS      64u  /* of the EEPROM */
#define NIC_PHY        32u
#define NIC_PLAIN      26u
#define NIC_DESCRIPTOR 16u

/* Causes of interrupts. */
#define ICR_TXDW  BIT(0)
#define ICR_TXQE  BIT(1)
#define ICR_LSC   BIT(2)
#define ICR_RXDMT BIT(4)
#define ICR_RXO   BIT(6)
#define ICR_RXT   BIT(7)
#define ICR_MDAC  BIT(9)
#define ICR_ALL   0x1ffffu

#define CTRL_VME BIT(30) /* tags are taken off and put in by the card */

#define RCTL_EN BIT(1)
#define TCTL_EN BIT(1)

/* What is counted: what comes, with the port's lock held; what is sent, with the card's. */
enum nic_count {
    NIC_IN_ALL,
    NIC_IN_ALL_BYTES,
    NIC_IN_GOOD,
    NIC_IN_GOOD_BYTES,
    NIC_IN_BROADCAST,
    NIC_IN_MULTICAST,
    NIC_IN_MISSED,
    NIC_IN_NO_BUFFERS,
    NIC_IN_LONG,
    NIC_IN_SIZE, /* by length: 64 and less, 127, 255, 511, 1023, more */
    NIC_OUT_ALL = NIC_IN_SIZE + 6,
    NIC_OUT_ALL_BYTES,
    NIC_OUT_GOOD,
    NIC_OUT_GOOD_BYTES,
    NIC_OUT_BROADCAST,
    NIC_OUT_MULTICAST,
    NIC_OUT_CUT, /* into segments */
    NIC_OUT_SIZE,
    NIC_COUNTS = NIC_OUT_SIZE + 6
};

/* A ring as the driver has described it. */
struct nic_ring {
    uint32_t base[2], length, head, tail;
};

/* What a context descriptor has said. */
struct nic_context {
    uint8_t ip_start, ip_field, start, field;
    uint16_t ip_end, segment;
    uint8_t command, unused[3];
};

struct nic_segment {
    uint64_t gpa;
    uint32_t length, unused;
};

/* Saved as it is: no byte of it is padding. */
struct nic_state {
    uint32_t plain[NIC_PLAIN]; /* registers that keep what is written, and are nothing more */
    uint32_t ctrl, icr, ims, itr, tctl, address, mdic, eerd, eecd;
    uint16_t phy[NIC_PHY];

    /* The EEPROM's serial line. */
    uint16_t shifted, out; /* what has come in; which bit goes out */
    uint8_t bits;          /* how many have */
    uint8_t reading;
    uint8_t waiting; /* there is something to send when the timer comes */

    /* Sending: a frame's descriptors come one by one. */
    uint8_t segments; /* so many yet */
    uint8_t begun, bad, options, tagged;
    uint16_t tag;
    uint8_t sum_field, sum_start; /* as a legacy descriptor says */
    uint32_t command;
    struct nic_ring out_ring;
    struct nic_context context;
    struct nic_segment segment[NIC_SEGMENTS];

    /* Receiving: with the port's lock held. */
    uint32_t rctl, strips; /* strips: CTRL.VME */
    struct nic_ring in_ring;
    uint32_t filter[NIC_ADDRESSES][2], groups[NIC_TABLE], vlans[NIC_TABLE];

    /* The card's again. */
    uint16_t linked; /* its cable is in, as its driver has been told */
    uint16_t raised; /* the interrupt's line, */
    uint64_t quiet;  /* not once more before that moment */

    uint64_t count[NIC_COUNTS];
};

struct nic {
    struct device dev; /* first */
    struct pci_function function;
    struct bus_range registers, ports;
    struct net_port *port;
    uint16_t eeprom[NIC_WORDS];
    struct nic_state s;

    /* Sending. */
    uint32_t left; /* descriptors that may be looked at before the timer comes, */
    uint64_t work; /* and bytes copied */
    struct network_frame out;

    uint32_t arrived; /* causes of which nobody has told; with the port's lock held */
    uint32_t pending; /* those for who has the card's lock; atomic */
};

static inline struct nic *nic_of(struct device *d)
{
    return CONTAINER_OF(d, struct nic, dev);
}

/* Descriptors that a ring has; 0: it is none. */
static inline uint32_t nic_ring_size(const struct nic_ring *r)
{
    return r->length / NIC_DESCRIPTOR;
}

static inline uint64_t nic_descriptor(const struct nic_ring *r, uint32_t n)
{
    return ((uint64_t)r->base[1] << 32 | r->base[0]) + (uint64_t)n * NIC_DESCRIPTOR;
}

/* --- interrupts.c --- */

/* Tell the driver what it wants to know of the causes that are there, now or as soon as it may be
 * told again. */
void nic_interrupt(struct nic *n);
/* These causes are there, too. */
void nic_cause(struct nic *n, uint64_t causes);

/* --- statistics.c --- */

/* What the driver reads there; 0 where nothing is counted. */
uint32_t nic_statistic(struct nic *n, unsigned at);
/* A frame has come to the card, which has done that with it; with the port's lock held. */
void nic_count_in(struct nic *n, const struct net_frame *f, enum net_drop why);
/* It has sent one. */
void nic_count_out(struct nic *n, const struct net_frame *f);

/* --- send.c --- */

/* What is in the ring, as long as the guest may be kept waiting. */
void nic_send(struct nic *n);
/* The timer has come. */
void nic_go_on(struct nic *n);

/* --- receive.c --- */

extern const struct net_port_ops nic_port_ops;

/* What has arrived is told; with the card's lock held. */
void nic_tell(struct nic *n);
/* The same, for frames whose sender has not come to say that he is done. */
void nic_settle(struct nic *n);

/* --- chip.c --- */

void nic_eeprom_init(struct nic *n);
void nic_phy_reset(struct nic *n);
uint32_t nic_eecd_read(const struct nic *n);
void nic_eecd_write(struct nic *n, uint32_t value);
void nic_eerd_write(struct nic *n, uint32_t value);
void nic_mdic_write(struct nic *n, uint32_t value);
