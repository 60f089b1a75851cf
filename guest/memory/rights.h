/*
 * What a VM's processors may do with guest-physical memory without an exit: the one owner of the
 * VM's EPT. What stands at an address is the truth: memory (mm/guest_memory.h), or a page that has
 * been placed there. Whoever wants to hear of accesses adds a reason to pages; a page's rights are
 * those of what stands there without what any of its reasons takes. EPT is a cache of the answer,
 * in the largest leaves in which it is one answer; it may be dropped at any time and is filled
 * again by faults.
 *
 * Everything here takes the lock (RANK_GUEST) itself, on any processor. Rights that are given work
 * at once. Of rights that are taken every processor that runs the VM still has old translations
 * until it has done INVEPT: see vm_settle_rights() (guest/cpu/vm.h).
 */
#pragma once

#include "arch/x86/spinlock.h"
#include "guest/memory/marks.h"
#include "mm/guest_memory.h"
#include "vmx/ept.h"

/* Reasons: each takes these rights from a page. Another one is a row here. */
#define RIGHTS_REASONS(X)                                                                          \
    X(WATCH_READ, EPT_READ | EPT_WRITE) /* a write-only page is no combination that CPUs know */   \
    X(WATCH_WRITE, EPT_WRITE)                                                                      \
    X(WATCH_EXECUTE, EPT_EXECUTE)                                                                  \
    X(ABSENT, EPT_RWX)    /* it has no frame: memory says so, nobody adds it */                    \
    X(SHARED, EPT_WRITE)  /* to be copied before it is written */                                  \
    X(CLEAN, EPT_WRITE)   /* who writes makes it dirty */                                          \
    X(LARGE, EPT_EXECUTE) /* its leaf may be large, where such must not be executed */

enum rights_reason_number {
#define X(name, taken) NUMBER_##name,
    RIGHTS_REASONS(X)
#undef X
        RIGHTS_REASON_COUNT
};

enum rights_reason {
#define X(name, taken) REASON_##name = 1u << NUMBER_##name,
    RIGHTS_REASONS(X)
#undef X
};

#define REASONS_WATCH (REASON_WATCH_READ | REASON_WATCH_WRITE | REASON_WATCH_EXECUTE)

#define RIGHTS_PLACES 16

/* Memory of Corbel's or a device's own, contiguous, that stands in guest-physical space. */
struct rights_place {
    uint64_t gpa, size;
    paddr hpa;
    unsigned prot; /* EPT_READ and so on */
};

struct rights {
    struct spinlock lock;
    const struct guest_memory *memory;
    struct rights_place place[RIGHTS_PLACES];
    unsigned places;
    struct marks reasons;
    struct ept ept;
    uint64_t enlarged;    /* rights_enlarge(): host TSC of the last time, */
    uint64_t enlarge_gpa; /* and where it goes on */
};

/* All RAM, with all rights; EPT says nothing of it yet. memory and mtrr (NULL: all is write-back)
 * stay in place. -ENOMEM. */
int rights_init(struct rights *r, const struct guest_memory *memory,
                const struct vmx_features *features, const struct mtrr *mtrr) MUST_CHECK;
/* How many tables EPT takes for all of that RAM in blocks of 2 MiB, with some for what stands
 * beside it. */
uint64_t rights_tables(const struct guest_memory *memory, const struct vmx_features *features);
/* EPT has leaves for all RAM that has frames, as far as there is memory: what is going to be used
 * is not missed. */
void rights_fill(struct rights *r);
/* No processor may use the EPT any more. Safe on a zeroed struct. */
void rights_destroy(struct rights *r);

/*
 * Add reasons to the pages of a range (page aligned, below 2^48) and take others away, whatever
 * stands there. They are the address's: memory that shows at another one, too, is not watched
 * there. 0; -EINVAL; -ENOMEM: nothing has changed, or the reasons hold and there is no memory for
 * the leaves that they want, which will be missed.
 */
int rights_change(struct rights *r, uint64_t gpa, uint64_t size, unsigned add,
                  unsigned remove) MUST_CHECK;
/* What guest_memory_lookup() says of a range (page aligned, below 2^48) is not what it was. Without
 * memory for tables the leaves come back by faults. */
void rights_refresh(struct rights *r, uint64_t gpa, uint64_t size);
/* What was at gpa (page aligned, as size) has been given back (guest_memory_give()): EPT has no
 * leaf for it any more. */
void rights_withdraw(struct rights *r, uint64_t gpa, uint64_t size);
/* Those of the page at gpa that somebody has given it; or of any page up to gpa + size. */
unsigned rights_reasons(struct rights *r, uint64_t gpa, uint64_t size);
/* Whether these reasons refuse an access that wants these rights, and nothing else does. */
bool rights_blames(struct rights *r, uint64_t gpa, unsigned access, unsigned reasons);
/* The rights that these reasons leave of all. */
unsigned rights_left(unsigned reasons);

/*
 * Let host memory stand at [gpa, gpa + size) instead of what does: write-back whatever the guest's
 * PAT says, since we write it through a cached mapping. Who copies guest memory
 * (guest_memory_read()) sees the RAM below. -EINVAL, -EEXIST over another place, -ENOSPC, -ENOMEM.
 */
int rights_place(struct rights *r, uint64_t gpa, paddr hpa, uint64_t size,
                 unsigned prot) MUST_CHECK;
/* What was placed at gpa goes; what stood there before is there again. -ENOENT, -ENOMEM. */
int rights_unplace(struct rights *r, uint64_t gpa) MUST_CHECK;

/*
 * After an EPT violation by an access that wants these rights: 0, it may be tried again; 1: so it
 * may, and for its sake a large leaf has become small ones; -EFAULT: no memory that allows it
 * stands there, so it is a device's or nobody's; -EAGAIN: a reason that is nobody's device refuses
 * it, and whoever gave it is to be asked; -ENOMEM.
 */
int rights_fault(struct rights *r, uint64_t gpa, unsigned access) MUST_CHECK;
/*
 * The other way: what has been executed may be in a large leaf again, until it is executed the next
 * time; a GiB of it, the next one each time, and not before `pause` ticks after the last time. now
 * is the host's TSC. True: rights have been taken.
 */
bool rights_enlarge(struct rights *r, uint64_t now, uint64_t pause) MUST_CHECK;
/* Forget all that EPT says of RAM. */
void rights_drop(struct rights *r);
/* Tables that are used no more: the caller's from now on. When every processor that ran the VM has
 * done INVEPT since, and nobody uses a view that is older, rights_reap() frees them. */
paddr rights_retired(struct rights *r);
void rights_reap(struct rights *r, paddr retired);
/* rights_drop(), and its tables are free at once: all processors that ran the VM have done INVEPT
 * since they left it. */
void rights_forget(struct rights *r);
/* In use for tables. */
static inline uint64_t rights_frames(const struct rights *r)
{
    return r->ept.frames + r->reasons.frames;
}
/* The leaf that translates gpa: 0, or -ENOENT. */
int rights_lookup(struct rights *r, uint64_t gpa, struct ept_leaf *leaf);

/* In a vCPU's own view, the page at gpa is as it would be without these reasons. -EFAULT: nothing
 * stands there; -ENOMEM. */
int rights_open(struct rights *r, struct ept_window *w, uint64_t gpa, unsigned reasons) MUST_CHECK;
/* In a vCPU's own view, what stands at the page `from` stands at the page `to`, and nothing at
 * `from`. -ENOMEM. */
int rights_move(struct rights *r, struct ept_window *w, uint64_t from, uint64_t to) MUST_CHECK;
/* Whether the view is no longer what it was made from. */
static inline bool rights_outdated(const struct rights *r, const struct ept_window *w)
{
    return w->generation != __atomic_load_n(&r->ept.generation, __ATOMIC_RELAXED);
}
