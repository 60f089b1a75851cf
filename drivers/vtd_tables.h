/*
 * What VT-d's hardware reads from memory (Intel VT-d specification, "Translation Structure
 * Formats", legacy mode): entries, and a domain's second-level page tables. Pure but for the frames
 * that it takes.
 */
#pragma once

#include "arch/x86/cpu.h"
#include "mm/frame.h"

#define VTD_READ  BIT(0)
#define VTD_WRITE BIT(1)

/* Root, context and interrupt-remapping entries alike. */
struct vtd_entry {
    uint64_t low, high;
};

/* A device's address is the physical one. Who uses a space has a lock over it. */
struct vtd_space {
    paddr root;
    unsigned levels; /* 3, 4 or 5: 39, 48 or 57 bits */
    uint64_t always; /* bits of each page's entry */
    bool coherent;   /* the hardware sees what is in processors' caches */
    bool unsettled;  /* something was unmapped since vtd_space_settled() */
    bool stale;      /* the hardware may know a page with fewer rights than it has now */
    paddr unlinked;  /* tables that the hardware may still have in mind, each names the next */
    paddr spare;     /* empty ones, the same */
    unsigned spares;
};

/* levels, always and coherent are set. -ENOMEM. */
int vtd_space_init(struct vtd_space *s) MUST_CHECK;
/*
 * All pages that [at, at + size) touches are within reach. Each of them may be mapped again, and is
 * out of reach when it has been unmapped as often; until then it has all the rights that it was
 * ever given. Where `stale` is set behind it, the hardware has to be told to forget. 0; -ENOMEM;
 * -EAGAIN: one is mapped as often as can be counted; -ERANGE: beyond what the tables can say. Then
 * nothing has changed.
 */
int vtd_map(struct vtd_space *s, paddr at, uint64_t size, unsigned rights) MUST_CHECK;
/* The hardware may still know them until it has been told to forget, and then vtd_space_settled().
 * False: one of them was not mapped. */
bool vtd_unmap(struct vtd_space *s, paddr at, uint64_t size);
void vtd_space_settled(struct vtd_space *s);
/* The rights of a page. */
unsigned vtd_rights(const struct vtd_space *s, paddr at);

/* Entry n of a bus's or a root's table. */
void vtd_set_entry(struct vtd_entry *at, struct vtd_entry e, bool coherent);
/* Of a root table: where a bus's context entries are. */
struct vtd_entry vtd_root_entry(paddr contexts);
struct vtd_entry vtd_context_entry(const struct vtd_space *s, unsigned domain);
/* That vector, by edge or level, to the processor with that APIC id, and only from that function.
 */
struct vtd_entry vtd_interrupt_entry(unsigned vector, uint32_t apic_id, bool x2apic, bool level,
                                     uint16_t source);

/* What the processor has written there is in memory. */
#if __STDC_HOSTED__
void vtd_write_back(const void *from, size_t size); /* a unit test's */
#else
static inline void vtd_write_back(const void *from, size_t size)
{
    for (uint64_t line = ALIGN_DOWN((uint64_t)from, 64); line < (uint64_t)from + size; line += 64)
        clflush((const void *)line);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
#endif
