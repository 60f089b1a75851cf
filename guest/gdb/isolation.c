/*
 * While a program runs, an isolated kernel's code and data are in no page table: a breakpoint in it
 * could not be set. Linux keeps the root of the kernel's tables one page below that of the
 * program's, of which the lower half is the same.
 */
#include "guest/gdb/isolation.h"

#define USER_ROOT BIT(12) /* in CR3 */
#define LOWER     256     /* entries for the lower half of the address space */
#define PRESENT   BIT(0)
#define ACCESSED  BIT(5)
#define DIRTY     BIT(6)
#define NX        BIT(63)

#define CR0_WP   BIT(16)
#define CR0_PG   BIT(31)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)
#define CR4_PKE  BIT(22)
#define EFER_LMA BIT(10)

/* Whether the page below the root is a root, too, with the same lower half: the kernel's has NX. */
static bool has_twin(const struct walk_context *c)
{
    uint64_t root = c->cr3 & ((1ULL << c->physical_bits) - 1) & ~0xfffULL, user, kernel, any = 0;

    for (unsigned i = 0; i < LOWER; i++) {
        if (c->read(c->opaque, root + 8 * i, &user) < 0 ||
            c->read(c->opaque, root - USER_ROOT + 8 * i, &kernel) < 0 ||
            ((user ^ kernel) & ~(ACCESSED | DIRTY | NX)))
            return false;
        any |= user & PRESENT;
    }
    return any;
}

int gdb_walk(const struct walk_context *c, uint64_t linear, uint64_t *gpa)
{
    struct walk_context free = *c;
    uint32_t error;
    int result;

    free.cr0 &= ~CR0_WP;
    free.cr4 &= ~(CR4_SMEP | CR4_SMAP | CR4_PKE);
    result = guest_walk(&free, linear, 0, gpa, &error);
    if (result == 0 || !(c->cr0 & CR0_PG) || !(c->efer & EFER_LMA) || !(linear >> 63) ||
        !(c->cr3 & USER_ROOT) || !has_twin(c))
        return result;
    free.cr3 &= ~USER_ROOT;
    return guest_walk(&free, linear, 0, gpa, &error);
}
