/*
 * A VM's guest-physical memory: which frame stands behind each page of its RAM, and what devices
 * let stand elsewhere or over it. This is the truth; EPT is a cache of it that may be dropped and
 * rebuilt. All access by the microkernel and by devices goes through the copy functions.
 */
#pragma once

#include "arch/x86/spinlock.h"
#include "mm/frame.h"

#define GUEST_MEMORY_RANGES 4
#define GUEST_MEMORY_LAYERS 192
#define GUEST_MEMORY_END    BIT(46) /* of all RAM and layers */
#define GUEST_CHUNK         (2 * MIB)
#define GUEST_TOGETHER      (64 * KIB) /* where pages come one by one: those around the one touched */
/* A chunk's word: an address, and in its low bits what is there; see guest_memory.c. */
#define GUEST_CHUNK_KIND  3u
#define GUEST_CHUNK_BLOCK 1u

struct guest_memory_range {
    uint64_t gpa, size;
    uint64_t *chunks; /* one per 2 MiB of guest-physical space touched: see guest_memory.c */
    uint32_t count;
};

struct guest_layers;
struct guest_balloon;
struct guest_ram;

struct guest_memory {
    struct guest_memory_range ranges[GUEST_MEMORY_RANGES]; /* ascending, none overlaps */
    struct guest_layers *layers;   /* NULL: there have never been any, nor room for them; atomic */
    struct guest_balloon *balloon; /* NULL: none of its pages can be given back */
    struct guest_ram *ram;         /* what its frames come from */
    uint32_t range_count;
    uint16_t owner; /* FRAME_VM + id */
    uint64_t size;  /* bytes of RAM */
    /* Called where Corbel or a device writes to RAM and little memory is left: its owner is to see
     * to it that the guest wants no more. On any processor; who calls may have locks of devices.
     * NULL: nobody. */
    void (*scarce)(void *context);
    void *context;
};

struct guest_memory_region {
    uint64_t gpa, size; /* page aligned */
};

/*
 * RAM for a VM: count regions (1 to GUEST_MEMORY_RANGES), page aligned, ascending, not overlapping,
 * below 2^46. It is all zeroes, and takes no frames before it is touched: then 2 MiB at a time
 * where there are so many in one piece. -EINVAL, or -ENOMEM with everything given back.
 */
int guest_memory_create(struct guest_memory *gm, uint16_t owner,
                        const struct guest_memory_region *regions, unsigned count) MUST_CHECK;
/* Promise it all of its RAM, and so many frames for tables of others': from now on no touch of it
 * can fail. Without that it gets what is left when it comes to that. -ENOMEM: there is not so much.
 */
int guest_memory_promise(struct guest_memory *gm, uint64_t tables) MUST_CHECK;
struct frame_promise *guest_memory_tables(const struct guest_memory *gm);
/* Give everything back; no EPT may map it any more and nothing may be pinned. Safe on a zeroed
 * struct. */
void guest_memory_destroy(struct guest_memory *gm);
/* All of it is zeroes again, as if nobody had touched it: the next 2 MiB that somebody has; *done
 * is where to go on, from 0. No EPT may map them, and nobody else use them. false: that was all. */
bool guest_memory_clear_some(struct guest_memory *gm, uint32_t *done);

enum guest_layer_shows {
    GUEST_LAYER_NOTHING, /* no memory: accesses are a device's or nobody's */
    GUEST_LAYER_FRAMES,  /* host memory, contiguous, of mm/frame.h's */
    GUEST_LAYER_RAM,     /* RAM of this VM's, whatever lies over that */
};

/* A layer: from now on something else stands there than would. */
struct guest_memory_layer {
    uint64_t gpa, size; /* page aligned, below GUEST_MEMORY_END */
    uint64_t from;      /* the first frame's address, or the RAM's gpa: page aligned */
    uint8_t shows;      /* enum guest_layer_shows */
    bool writable;
    bool over_ram; /* else it shows only where there is no RAM */
};

/* Room for as many layers as there can be, for as long as the memory is there: before the first of
 * them. Under the lock under which they are changed. -ENOMEM. */
int guest_memory_make_room(struct guest_memory *gm) MUST_CHECK;
/*
 * These, at most GUEST_MEMORY_LAYERS of which none overlaps another, instead of those before. On
 * any processor; who changes them does so under a lock of his own. All functions below see them at
 * once, and EPT when rights_refresh() (guest/memory/rights.h) has been told. Frames that a layer
 * has shown must stay until no vCPU of the VM runs any more and nothing of them is pinned. Whether
 * something is different now.
 */
bool guest_memory_set_layers(struct guest_memory *gm, const struct guest_memory_layer *layers,
                             unsigned count);
/* Where memory stands next after gpa, where there is none: at that address or later. UINT64_MAX:
 * nowhere. */
uint64_t guest_memory_next(const struct guest_memory *gm, uint64_t gpa);

struct guest_frame {
    paddr hpa;           /* of the byte at gpa; FRAME_NONE: it has no frame */
    uint64_t contiguous; /* bytes from gpa to the end of its block, contiguous in host memory */
    uint8_t level;       /* largest leaf the backing allows: 1 4K, 2 2M */
    bool writable;
};
/* What stands behind gpa: 0, or -EFAULT when it is no memory. */
int guest_memory_lookup(const struct guest_memory *gm, uint64_t gpa,
                        struct guest_frame *out) MUST_CHECK;
/* What stands at gpa has a frame: a vCPU wants it. -EFAULT: it is no memory; -ENOMEM: it was not
 * promised, and too little is left. */
int guest_memory_touch(const struct guest_memory *gm, uint64_t gpa) MUST_CHECK;
/* How many pages have frames; and the next address from gpa on where one does, UINT64_MAX: none. */
uint64_t guest_memory_there(const struct guest_memory *gm);
uint64_t guest_memory_next_there(const struct guest_memory *gm, uint64_t gpa);

/*
 * Where the byte at gpa lies in host memory, for the fastest readers: good to the end of its 4 KiB
 * page and until the VM's memory changes, so not to be kept. NULL when it is not RAM, or when
 * guest_memory_read() has to tell.
 */
static inline const void *guest_memory_view(const struct guest_memory *gm, uint64_t gpa)
{
    const struct guest_memory_range *low = &gm->ranges[0];
    uint64_t chunk;

    if (UNLIKELY(gpa >= low->size || low->gpa != 0))
        return NULL;
    /* One load, on which those of what is behind it depend. An atomic one would have the compiler
     * read all of *gm anew at each level of a page walk. */
    chunk = low->chunks[gpa / GUEST_CHUNK];
    __asm__("" : "+r"(chunk));
    if (UNLIKELY((chunk & GUEST_CHUNK_KIND) != GUEST_CHUNK_BLOCK))
        return NULL;
    return (const char *)phys_to_virt(ALIGN_DOWN(chunk, PAGE_SIZE)) + gpa % GUEST_CHUNK;
}

/* Whether every byte of [gpa, gpa + size) is memory. True for size 0. */
bool guest_memory_valid(const struct guest_memory *gm, uint64_t gpa, uint64_t size);
/* Copies: 0, or -EFAULT with nothing copied when any byte is no memory, or to be written and
 * read-only. Who writes: -ENOMEM, no memory is left for all of it. */
int guest_memory_read(const struct guest_memory *gm, uint64_t gpa, void *data,
                      size_t size) MUST_CHECK;
int guest_memory_write(struct guest_memory *gm, uint64_t gpa, const void *data,
                       size_t size) MUST_CHECK;
int guest_memory_zero(struct guest_memory *gm, uint64_t gpa, uint64_t size) MUST_CHECK;
/* An instruction's operand of 1 to 8 bytes: the same, and atomic against the guest's own accesses
 * where it is aligned. */
int guest_memory_read_operand(const struct guest_memory *gm, uint64_t gpa, unsigned size,
                              uint64_t *value) MUST_CHECK;
int guest_memory_write_operand(struct guest_memory *gm, uint64_t gpa, unsigned size,
                               uint64_t value) MUST_CHECK;
/* To RAM, whatever lies over it: 0, or -EFAULT when that is not all in one RAM range. 2, 4 and 8
 * bytes that are aligned are one store. */
int guest_memory_write_ram(struct guest_memory *gm, uint64_t gpa, const void *data,
                           size_t size) MUST_CHECK;
/* One aligned 8-byte load (a page-table entry): atomic against the guest's own stores. -EFAULT also
 * when unaligned. */
int guest_memory_read_u64(const struct guest_memory *gm, uint64_t gpa, uint64_t *value) MUST_CHECK;
/* One aligned load or store of 2, 4 or 8 bytes, atomic against the guest's own. -EFAULT also when
 * unaligned. */
int guest_memory_load(const struct guest_memory *gm, uint64_t gpa, unsigned size,
                      uint64_t *value) MUST_CHECK;
int guest_memory_store(struct guest_memory *gm, uint64_t gpa, unsigned size,
                       uint64_t value) MUST_CHECK;

/* One byte for another, at once: atomic against the guest's own accesses. -EFAULT as above. */
int guest_memory_exchange(struct guest_memory *gm, uint64_t gpa, uint8_t value,
                          uint8_t *old) MUST_CHECK;

/*
 * Pin for DMA the memory from gpa on, as far as it is in one piece of the host's and at most size
 * bytes: where it is, and how long. write: the device is to write it. -EFAULT: that is no memory,
 * or to be written and read-only, or none is left for it; -EAGAIN: a frame of it is pinned as often
 * as can be. guest_memory_unpin() gets the same address and length. What lies there meanwhile does
 * not count.
 */
int guest_memory_pin(struct guest_memory *gm, uint64_t gpa, uint64_t size, bool write,
                     paddr *address, uint64_t *length) MUST_CHECK;
void guest_memory_unpin(paddr address, uint64_t length);

/*
 * --- pages without frames ---
 *
 * Of RAM a page may stand there without a frame: nobody has touched it yet, or the guest has given
 * it back. It is RAM all the same: what is read of it is zero, and before something is written
 * there, or pinned, it gets a frame. EPT has no leaf for it, and who touches it asks
 * guest_memory_touch().
 */

/* The page of RAM at gpa has a frame, a zeroed one if it had none, whatever lies over it. -EFAULT:
 * it is no RAM; -ENOMEM. */
int guest_memory_back(const struct guest_memory *gm, uint64_t gpa) MUST_CHECK;

/* --- and those that the guest gives back (mm/guest_balloon.c) --- */

/* From now on pages may be given. -ENOMEM. */
int guest_memory_balloon(struct guest_memory *gm) MUST_CHECK;
/*
 * The page at gpa has no frame any more: *frame. Processors may still use that: EPT has to forget
 * it, then guest_memory_leave() gets it; both by one caller at a time. -EFAULT: it is no RAM;
 * -ENOENT: it has none, and if it was promised one that is so no more; -EBUSY: it is pinned, or a
 * layer lies close by; -ENOMEM: no memory to note it; -EAGAIN: too many are leaving, or it is just
 * touched.
 */
int guest_memory_give(struct guest_memory *gm, uint64_t gpa, paddr *frame) MUST_CHECK;
/*
 * The same of the 2 MiB at gpa, which are as if nobody had touched them then. -EINVAL: they are
 * promised, so that nothing would come of it, or there is no such block.
 */
int guest_memory_give_block(struct guest_memory *gm, uint64_t gpa, paddr *block) MUST_CHECK;
void guest_memory_leave(struct guest_memory *gm, paddr base, uint64_t size);
/* How many have left so far; 0: none of them is there yet. When every processor has done INVEPT,
 * and has looked for work, since then: guest_memory_let_go() gives them to the allocator, but for
 * those that are pinned. */
uint64_t guest_memory_leaving(const struct guest_memory *gm);
/* Whether that is so for all that had left when guest_memory_leaving() said this. */
bool guest_memory_settled(const struct guest_memory *gm, uint64_t leaving);
void guest_memory_let_go(struct guest_memory *gm, uint64_t leaving);
/* How many pages the guest has given, and has not used again. */
uint64_t guest_memory_given(const struct guest_memory *gm);
