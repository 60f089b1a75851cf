/*
 * Extended page tables (SDM volume 3, "The Extended Page Table Mechanism"): a cache, which the CPU
 * walks, of what guest/memory/rights.h knows. Pure but for the frames it takes; INVEPT and the lock
 * are the caller's.
 */
#pragma once

#include "mm/frame.h"
#include "mm/mtrr.h"
#include "vmx/controls.h"

#define EPT_READ    1u
#define EPT_WRITE   2u
#define EPT_EXECUTE 4u
#define EPT_RWX     7u

#define EPT_IGNORE_PAT BIT(6)

#define EPT_LEVELS 4

/* ept_create() flags */
#define EPT_SMALL_EXECUTABLE                                                                       \
    1u /* executable leaves are 4K: CPUs that machine-check on a large one (CVE-2018-12207) */
#define EPT_ACCESSED_DIRTY 2u /* if the CPU has it */

struct ept {
    paddr root;
    const struct mtrr *mtrr; /* NULL: all host memory is WB */
    /* Where tables come from when nothing else is left; NULL: nowhere. Its owner sets it. */
    struct frame_promise *promise;
    uint32_t redeemed;      /* tables from there that have not gone back */
    uint32_t frames;        /* in use for tables, root and retired ones included */
    uint8_t max_level;      /* largest leaf: 1 4K, 2 2M, 3 1G */
    uint8_t max_exec_level; /* the same for executable ones */
    bool execute_only;
    uint64_t pointer_bits; /* EPTP without the root's address */
    /*
     * Goes up whenever a mapping that a CPU may have cached was removed or lowered. A CPU that last
     * did INVEPT at another generation must do it before it enters the guest.
     */
    uint64_t generation;
    paddr retired; /* tables no longer linked; a CPU may still walk them until it has done INVEPT */
};

/* An empty table. mtrr must outlive it. -ENOMEM. */
int ept_create(struct ept *ept, const struct vmx_features *features, const struct mtrr *mtrr,
               unsigned flags) MUST_CHECK;
/* All tables back to the allocator; no CPU may use the EPTP any more. Safe on a zeroed struct. */
void ept_destroy(struct ept *ept);
/* Drop every mapping but keep the root, so that it can be filled again. */
void ept_clear(struct ept *ept);
/* Free tables that were taken out of use, a list that was in ept->retired; only after every CPU
 * that ran this guest has done INVEPT since. */
void ept_reap(struct ept *ept, paddr retired);
/* The value of the VMCS field EPTP. */
uint64_t ept_pointer(const struct ept *ept);

/*
 * Map [gpa, gpa + size) to hpa with the largest leaves that alignment, CPU, and the MTRRs' types
 * allow. prot of EPT_READ|WRITE|EXECUTE, not 0 and not writable without readable. Page aligned,
 * below 2^48. Replaces what was there. -EINVAL, -ENOMEM (what was mapped so far stays).
 */
int ept_map(struct ept *ept, uint64_t gpa, paddr hpa, uint64_t size, unsigned prot) MUST_CHECK;
/* The same with a given memory type (and EPT_IGNORE_PAT) instead of the MTRRs': device memory. */
int ept_map_type(struct ept *ept, uint64_t gpa, paddr hpa, uint64_t size, unsigned prot,
                 enum memory_type type, bool ignore_pat) MUST_CHECK;
/* Remove what is mapped in the range. -EINVAL, -ENOMEM when a large leaf could not be split (what
 * was removed so far is gone). */
int ept_unmap(struct ept *ept, uint64_t gpa, uint64_t size) MUST_CHECK;
/* The same without memory: a large leaf that the range cuts through goes as a whole. */
void ept_forget(struct ept *ept, uint64_t gpa, uint64_t size);

struct ept_leaf {
    uint64_t entry; /* as the CPU sees it */
    paddr hpa;      /* of the byte at the gpa asked for */
    uint8_t level;  /* 1 4K, 2 2M, 3 1G */
};
/* The leaf that translates gpa: 0, or -ENOENT. */
int ept_lookup(const struct ept *ept, uint64_t gpa, struct ept_leaf *leaf);

/* The entry of a leaf of 4 KiB, as the CPU sees it: with the MTRRs' type, or with write-back
 * whatever the guest's PAT says. prot as for ept_map(). */
uint64_t ept_page_entry(const struct ept *ept, paddr hpa, unsigned prot, bool write_back);

/*
 * A view of one EPT for one vCPU in which some pages differ. Tables of its own where the way to
 * such a page differs, the others shared. It is good until the EPT's generation changes or tables
 * are reaped.
 */
#define EPT_WINDOW_TABLES 40
struct ept_window {
    paddr table[EPT_WINDOW_TABLES]; /* [0] its root; kept from use to use */
    uint8_t used, allocated;
    uint64_t generation; /* of the EPT when the first page was put into it */
};

/*
 * Let the page at gpa be what a leaf of 4 KiB says (the entry as the CPU sees it), or nothing with
 * 0. -EINVAL: beyond what EPT translates; -ENOMEM, also for more pages than it can hold.
 */
int ept_window_put(struct ept_window *w, const struct ept *ept, uint64_t gpa,
                   uint64_t entry) MUST_CHECK;
/* Forget what differs. The CPU must do INVEPT before it uses the window again. */
void ept_window_close(struct ept_window *w);
/* The value of EPTP for it, while anything differs. */
uint64_t ept_window_pointer(const struct ept_window *w, const struct ept *ept);
void ept_window_destroy(struct ept_window *w);
