/*
 * A guest's page tables in software (Intel SDM vol. 3, "Paging"). Faults come in the CPU's order:
 * from the root down not-present and reserved bits per entry, then the access rights of all entries
 * together. Protection keys and shadow stacks are not offered to guests. A linear address that is
 * not canonical counts as not present.
 */
#include "guest/cpu/walk.h"

#include "arch/x86/lib/errno.h"

#define CR0_WP   BIT(16)
#define CR0_PG   BIT(31)
#define CR4_PSE  BIT(4)
#define CR4_PAE  BIT(5)
#define CR4_LA57 BIT(12)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)
#define FLAG_AC  BIT(18)

#define ENTRY_PRESENT BIT(0)
#define ENTRY_WRITE   BIT(1)
#define ENTRY_USER    BIT(2)
#define ENTRY_LARGE   BIT(7)
#define ENTRY_NX      BIT(63)

#define ERROR_PRESENT  0x01U
#define ERROR_WRITE    0x02U
#define ERROR_USER     0x04U
#define ERROR_RESERVED 0x08U
#define ERROR_FETCH    0x10U

/* Bits high to low, both included; none when high < low. */
static inline uint64_t bits(unsigned high, unsigned low)
{
    return high < low ? 0 : ~0ULL >> (63 - high) & ~0ULL << low;
}

struct translation {
    uint64_t gpa;
    uint64_t rights; /* AND of all entries' R/W and U/S */
    bool nx;         /* OR of all entries' XD */
    uint32_t error;  /* ERROR_PRESENT | ERROR_RESERVED when the walk ended early */
};

/* 4-level, 5-level and PAE paging: tables of 512 entries of 8 bytes. Whether a page was reached. */
static bool walk_wide(const struct walk_context *c, uint64_t linear, unsigned levels,
                      struct translation *t)
{
    bool pae = levels == 3;
    unsigned physical = MIN(MAX(c->physical_bits, 32U), 52U);
    uint64_t address = bits(physical - 1, 12), nx = (c->efer & EFER_NXE) ? 0 : ENTRY_NX;
    uint64_t reserved = bits(pae ? 62 : 51, physical) | nx;
    uint64_t table = pae ? c->cr3 & bits(31, 5) : c->cr3 & address;

    for (unsigned level = levels;; level--) {
        unsigned shift = 12 + 9 * (level - 1);
        uint64_t entry;
        if (c->read(c->opaque, table + (linear >> shift & 511) * 8, &entry) < 0 ||
            !(entry & ENTRY_PRESENT))
            return false;
        /* PAE's four root entries have no rights. */
        bool root = pae && level == 3;
        bool large = !root && level <= 3 && level > 1 && (entry & ENTRY_LARGE);
        uint64_t wrong = root        ? bits(8, 5) | bits(2, 1) | bits(63, physical)
                         : large     ? bits(shift - 1, 13) | reserved
                         : level > 3 ? ENTRY_LARGE | reserved
                                     : reserved;
        if (entry & wrong) {
            t->error = ERROR_PRESENT | ERROR_RESERVED;
            return false;
        }
        if (!root) {
            t->rights &= entry;
            t->nx |= (entry & ENTRY_NX) != 0;
        }
        if (level == 1 || large) {
            t->gpa = (entry & address & ~bits(shift - 1, 0)) | (linear & bits(shift - 1, 0));
            return true;
        }
        table = entry & address;
    }
}

static bool read32(const struct walk_context *c, uint64_t gpa, uint64_t *entry)
{
    uint64_t pair;

    if (c->read(c->opaque, gpa & ~7ULL, &pair) < 0)
        return false;
    *entry = gpa & 4 ? pair >> 32 : (uint32_t)pair;
    return *entry & ENTRY_PRESENT;
}

/* 32-bit paging; its 4 MiB pages reach 40 physical bits by PSE-36. */
static bool walk_32(const struct walk_context *c, uint64_t linear, struct translation *t)
{
    unsigned physical = MIN(MAX(c->physical_bits, 32U), 40U);
    uint64_t entry;

    if (!read32(c, (c->cr3 & bits(31, 12)) + (linear >> 22) * 4, &entry))
        return false;
    t->rights &= entry;
    if (entry & ENTRY_LARGE && c->cr4 & CR4_PSE) {
        /* Bits 20:13 are address bits 39:32; those beyond MAXPHYADDR and bit 21 are reserved. */
        if (entry & bits(21, physical - 19)) {
            t->error = ERROR_PRESENT | ERROR_RESERVED;
            return false;
        }
        t->gpa = (entry & bits(31, 22)) | (entry & bits(20, 13)) << 19 | (linear & bits(21, 0));
        return true;
    }
    if (!read32(c, (entry & bits(31, 12)) + (linear >> 12 & 1023) * 4, &entry))
        return false;
    t->rights &= entry;
    t->gpa = (entry & bits(31, 12)) | (linear & bits(11, 0));
    return true;
}

/* SDM vol. 3, "Determination of Access Rights". */
static bool allowed(const struct walk_context *c, unsigned access, const struct translation *t)
{
    bool user_page = t->rights & ENTRY_USER, writable = t->rights & ENTRY_WRITE;

    if (access & WALK_FETCH && t->nx)
        return false;
    if (access & WALK_USER)
        return user_page && (writable || !(access & WALK_WRITE));
    if (user_page) {
        if (access & WALK_FETCH)
            return !(c->cr4 & CR4_SMEP);
        if (c->cr4 & CR4_SMAP && (access & WALK_IMPLICIT || !(c->rflags & FLAG_AC)))
            return false;
    }
    return !(access & WALK_WRITE) || writable || !(c->cr0 & CR0_WP);
}

/* Is the address the sign extension of its low bits? */
static bool canonical(uint64_t linear, unsigned width)
{
    return (uint64_t)((int64_t)(linear << (64 - width)) >> (64 - width)) == linear;
}

int guest_walk(const struct walk_context *c, uint64_t linear, unsigned access, uint64_t *gpa,
               uint32_t *error)
{
    struct translation t = {.rights = ~0ULL};
    bool reached;

    if (access & WALK_IMPLICIT)
        access &= ~(unsigned)WALK_USER;
    if (!(c->efer & EFER_LMA))
        linear = (uint32_t)linear;
    if (!(c->cr0 & CR0_PG)) {
        *gpa = linear;
        return 0;
    }
    if (c->efer & EFER_LMA) {
        unsigned levels = (c->cr4 & CR4_LA57) ? 5 : 4;
        reached = canonical(linear, 12 + 9 * levels) && walk_wide(c, linear, levels, &t);
    } else if (c->cr4 & CR4_PAE) {
        reached = walk_wide(c, linear, 3, &t);
    } else {
        reached = walk_32(c, linear, &t);
    }
    if (reached && allowed(c, access, &t)) {
        *gpa = t.gpa;
        return 0;
    }

    *error = t.error | (reached ? ERROR_PRESENT : 0);
    if (access & WALK_WRITE)
        *error |= ERROR_WRITE;
    if (access & WALK_USER)
        *error |= ERROR_USER;
    /* The CPU tells fetches apart only where it can forbid them. */
    if (access & WALK_FETCH && (c->cr4 & CR4_SMEP || (c->cr4 & CR4_PAE && c->efer & EFER_NXE)))
        *error |= ERROR_FETCH;
    return -EFAULT;
}
