/*
 * One remapping unit (Intel VT-d specification, "Register Descriptions"): its registers, its root
 * and context tables, what it is told to forget, and the faults that it has recorded.
 */
#pragma once

#include "arch/x86/spinlock.h"
#include "drivers/io.h"
#include "drivers/vtd_tables.h"

#define VTD_INTERRUPTS 256 /* entries of the interrupt-remapping table, which all units share */

struct vtd {
    struct io registers;
    uint64_t cap, ecap;
    unsigned levels; /* of its page tables */
    bool coherent;
    bool queued; /* it is told by a queue; else by registers */
    bool on;     /* it knows something that it may have to forget */
    bool dead;   /* it has not done what it was told */
    unsigned domains, domain_last;
    struct vtd_entry *root;
    paddr root_at;
    struct spinlock lock; /* RANK_IOMMU: its queue, its registers of commands, root and contexts */
    volatile struct vtd_entry *queue;
    paddr queue_at;
    unsigned tail;
    uint32_t ticket; /* that it writes when it has done what was asked before */
};

struct vtd_fault {
    uint16_t source; /* bus << 8 | device << 3 | function */
    uint8_t reason;
    bool read;
    uint64_t address; /* of the page; of an interrupt: its index */
};

/* How many bytes of registers it has, by its first page. */
uint64_t vtd_size(const struct io *registers);
/* registers is set: what it can do. NULL, or why it cannot be used. */
const char *vtd_probe(struct vtd *v);
/* Tables of its own: no device reaches anything by them. -ENOMEM. */
int vtd_prepare(struct vtd *v) MUST_CHECK;
/* From now on its devices go through its tables. -ETIMEDOUT. */
int vtd_start(struct vtd *v) MUST_CHECK;

/* They go through nothing any more. */
void vtd_stop(struct vtd *v);

/* A domain's number, or 0: there are no more. */
unsigned vtd_new_domain(struct vtd *v);
/* The function at that address reaches what is in s, and nothing else. -ENOMEM. */
int vtd_attach(struct vtd *v, uint16_t address, const struct vtd_space *s,
               unsigned domain) MUST_CHECK;
/* When it returns, nothing is known of what was in the domain's tables before. */
void vtd_forget(struct vtd *v, unsigned domain);
/* Bits of an address at most. */
unsigned vtd_address_bits(const struct vtd *v);
/* What is marked so is read and written by way of the caches, whatever the device wants. */
bool vtd_can_snoop(const struct vtd *v);
/* Reads of no length pass where only writes may. */
bool vtd_zero_reads(const struct vtd *v);
/* Whether what is not there is remembered, too. */
bool vtd_remembers_nothing(const struct vtd *v);

/* Whether interrupts can be remapped; with ids of more than eight bits. */
bool vtd_can_remap(const struct vtd *v, bool x2apic);
/* By a table of VTD_INTERRUPTS entries; others pass no more. -ETIMEDOUT. */
int vtd_remap(struct vtd *v, paddr table, bool x2apic) MUST_CHECK;
/* Entries of that table have changed. */
void vtd_forget_interrupts(struct vtd *v);

/* Faults are told of by this message. */
void vtd_set_fault_message(struct vtd *v, uint64_t address, uint32_t data);
void vtd_mask_faults(struct vtd *v, bool masked);
/* The next fault that was recorded; false: there is none, and more are recorded. *lost is set
 * where some found no room. */
bool vtd_take_fault(struct vtd *v, struct vtd_fault *out, bool *lost);
/* What a fault's reason means; whether it is an interrupt's. */
bool vtd_is_interrupt(unsigned reason);
const char *vtd_reason(unsigned reason);
