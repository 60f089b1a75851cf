#include "mm/guest_memory.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "mm/guest_memory_internal.h"

/* What RAM that was promised to nobody takes leaves so much of the machine's memory to Corbel, and
 * so much more to what devices and Corbel itself write for guests, which cannot wait. */
#define LEFT_TO_CORBEL  (4 * MIB)
#define LEFT_TO_DEVICES (16 * MIB)

/* What stands at an address, and how far that goes in one piece of host memory. */
struct stand {
    paddr hpa; /* FRAME_NONE: no memory, or without a frame */
    uint64_t size;
    uint64_t ram; /* the gpa of the RAM that it is */
    unsigned kind;
    bool writable;
};

/* How far it is to the RAM that begins next behind gpa. */
static uint64_t until_ram(const struct guest_memory *gm, uint64_t gpa)
{
    for (uint32_t i = 0; i < gm->range_count; i++)
        if (gm->ranges[i].gpa > gpa)
            return gm->ranges[i].gpa - gpa;
    return UINT64_MAX - gpa;
}

/* RAM without a frame. */
static inline bool is_absent(const struct stand *s)
{
    return s->kind == KIND_TABLE && s->hpa == FRAME_NONE;
}

static struct stand ram_at(const struct guest_memory *gm, uint64_t gpa)
{
    const struct guest_memory_range *r = guest_memory_range(gm, gpa);

    if (!r)
        return (struct stand){.hpa = FRAME_NONE, .size = until_ram(gm, gpa)};
    uint64_t chunk = plain(chunk_word(r, gpa));
    paddr base = ALIGN_DOWN(chunk, PAGE_SIZE);
    uint64_t offset = gpa % GUEST_CHUNK, page = gpa % PAGE_SIZE;
    struct stand s = {.kind = chunk & KIND_MASK, .ram = gpa, .writable = true};
    if (chunk == UNTOUCHED) {
        s.kind = KIND_TABLE;
        s.hpa = FRAME_NONE;
        s.size = MIN(GUEST_CHUNK - offset, r->size - (gpa - r->gpa));
    } else if (s.kind != KIND_TABLE) {
        s.hpa = base + offset;
        s.size = GUEST_CHUNK - offset;
    } else {
        paddr frame = frame_of(__atomic_load_n(table_entry(base, gpa), __ATOMIC_ACQUIRE));
        s.hpa = frame ? frame + page : FRAME_NONE;
        s.size = PAGE_SIZE - page;
    }
    return s;
}

/* With all that lies over RAM or beside it. */
static __attribute__((noinline)) struct stand stands_at(const struct guest_memory *gm, uint64_t gpa)
{
    struct guest_memory_layer l;
    struct stand s = ram_at(gm, gpa);
    uint64_t end = s.kind != KIND_NONE ? UINT64_MAX : gpa + s.size;

    if (LIKELY(!gm->layers) && s.kind != KIND_NONE)
        return s;
    bool found = guest_memory_find_layer(gm, gpa, s.kind != KIND_NONE, &l, &end);
    if (found && l.shows == GUEST_LAYER_RAM) {
        s = ram_at(gm, l.from + (gpa - l.gpa));
        s.writable &= l.writable;
    } else if (found) {
        s = (struct stand){.size = UINT64_MAX, .kind = KIND_2M, .writable = l.writable};
        s.hpa = l.shows == GUEST_LAYER_FRAMES ? l.from + (gpa - l.gpa) : FRAME_NONE;
    }
    s.size = MIN(s.size, end - gpa);
    return s;
}

/* What Corbel or a device wants to write to gets its frame. What is left when little is goes by
 * pages, so that it is enough for many such. */
static int back_for_write(const struct guest_memory *gm, uint64_t ram)
{
    int result = guest_ram_back(gm, ram, LEFT_TO_CORBEL + LEFT_TO_DEVICES, false);

    if (result != -ENOMEM)
        return result;
    if (gm->scarce)
        gm->scarce(gm->context);
    return guest_ram_back(gm, ram, LEFT_TO_CORBEL, true);
}

/* The host address of the byte at gpa, and how many bytes of its block follow from there;
 * FRAME_NONE: no memory, or none that could be written. frame: one of its own, not zeroes in its
 * place. */
static inline paddr translate(const struct guest_memory *gm, uint64_t gpa, bool write, bool frame,
                              uint64_t *available)
{
    const struct guest_memory_range *r = guest_memory_range(gm, gpa);
    uint64_t chunk = 0;

    if (LIKELY(r)) {
        chunk = chunk_word(r, gpa);
        if (LIKELY((chunk & KIND_MASK) == KIND_2M)) {
            uint64_t offset = gpa % GUEST_CHUNK;
            *available = GUEST_CHUNK - offset;
            return ALIGN_DOWN(chunk, PAGE_SIZE) + offset;
        }
    } else if (LIKELY(!gm->layers)) {
        return FRAME_NONE;
    }
    struct stand s = stands_at(gm, gpa);
    if (write && !s.writable)
        return FRAME_NONE;
    if (UNLIKELY(is_absent(&s))) {
        if (!frame) {
            *available = PAGE_SIZE - gpa % PAGE_SIZE;
            return gm->ram->zero + gpa % PAGE_SIZE;
        }
        if (back_for_write(gm, s.ram) < 0)
            return FRAME_NONE;
        s = stands_at(gm, gpa); /* a page may be given again meanwhile */
    }
    *available = s.size;
    return s.hpa;
}

int guest_memory_lookup(const struct guest_memory *gm, uint64_t gpa, struct guest_frame *out)
{
    const struct guest_memory_range *r = guest_memory_range(gm, gpa);
    uint64_t chunk = r ? chunk_word(r, gpa) : 0;

    if (LIKELY((chunk & KIND_MASK) == KIND_2M)) { /* which no layer touches */
        out->hpa = ALIGN_DOWN(chunk, PAGE_SIZE) + gpa % GUEST_CHUNK;
        out->contiguous = GUEST_CHUNK - gpa % GUEST_CHUNK;
        out->level = 2;
        out->writable = true;
        return 0;
    }
    const struct stand s = stands_at(gm, gpa);
    if (s.hpa == FRAME_NONE && !is_absent(&s))
        return -EFAULT;
    *out = (struct guest_frame){
        .hpa = s.hpa,
        .contiguous = s.size,
        .level = s.kind == KIND_TABLE ? 1 : 2,
        .writable = s.writable,
    };
    return 0;
}

int guest_memory_touch(const struct guest_memory *gm, uint64_t gpa)
{
    const struct stand s = stands_at(gm, gpa);

    if (!is_absent(&s))
        return s.hpa == FRAME_NONE ? -EFAULT : 0;
    return guest_ram_back(gm, s.ram, LEFT_TO_CORBEL + LEFT_TO_DEVICES, false);
}

int guest_memory_back(const struct guest_memory *gm, uint64_t gpa)
{
    return guest_ram_back(gm, gpa, LEFT_TO_CORBEL + LEFT_TO_DEVICES, false);
}

uint64_t guest_memory_next(const struct guest_memory *gm, uint64_t gpa)
{
    const struct stand s = stands_at(gm, gpa);

    return s.size < UINT64_MAX - gpa ? gpa + s.size : UINT64_MAX;
}

/* The next piece in host memory: at most *size bytes, and *size becomes how many. */
static inline void *piece(const struct guest_memory *gm, uint64_t gpa, bool write, uint64_t *size)
{
    uint64_t available;
    paddr pa = translate(gm, gpa, write, write, &available);

    if (pa == FRAME_NONE)
        return NULL;
    *size = MIN(*size, available);
    return phys_to_virt(pa);
}

static bool allowed(const struct guest_memory *gm, uint64_t gpa, uint64_t size, bool write)
{
    for (uint64_t n; size > 0; gpa += n, size -= n) {
        const struct stand s = stands_at(gm, gpa);

        if ((s.hpa == FRAME_NONE && !is_absent(&s)) || (write && !s.writable))
            return false;
        n = MIN(size, s.size);
    }
    return true;
}

/* Why nothing could be written there. */
static __attribute__((noinline)) int refusal(const struct guest_memory *gm, uint64_t gpa)
{
    return allowed(gm, gpa, 1, true) ? -ENOMEM : -EFAULT;
}

/* --- words, each in one load or store --- */

static inline bool is_word(uint64_t gpa, size_t size)
{
    return (size == 2 || size == 4 || size == 8) && IS_ALIGNED(gpa, size);
}

static inline uint64_t load_word(const void *p, unsigned size)
{
    return size == 2   ? __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED)
           : size == 4 ? __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED)
                       : __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED);
}

static inline void store_word(void *p, unsigned size, uint64_t value)
{
    if (size == 2)
        __atomic_store_n((uint16_t *)p, (uint16_t)value, __ATOMIC_RELAXED);
    else if (size == 4)
        __atomic_store_n((uint32_t *)p, (uint32_t)value, __ATOMIC_RELAXED);
    else
        __atomic_store_n((uint64_t *)p, value, __ATOMIC_RELAXED);
}

/* --- copies --- */

bool guest_memory_valid(const struct guest_memory *gm, uint64_t gpa, uint64_t size)
{
    return allowed(gm, gpa, size, false);
}

/*
 * The same for what nearly always is asked for: RAM in one block of host memory that nothing lies
 * over. False: look closer.
 */
static inline bool in_block(const struct guest_memory *gm, uint64_t gpa, uint64_t size, void **p)
{
    const struct guest_memory_range *r = &gm->ranges[0];
    uint64_t offset = gpa % GUEST_CHUNK, chunk;

    if (UNLIKELY(gpa - r->gpa >= r->size)) {
        r = guest_memory_range(gm, gpa);
        if (!r)
            return false;
    }
    chunk = chunk_word(r, gpa);
    if (UNLIKELY((chunk & KIND_MASK) != KIND_2M || size > GUEST_CHUNK - offset))
        return false;
    *p = phys_to_virt(ALIGN_DOWN(chunk, PAGE_SIZE) + offset);
    return true;
}

static __attribute__((noinline)) int read_pieces(const struct guest_memory *gm, uint64_t gpa,
                                                 void *data, size_t size)
{
    if (!allowed(gm, gpa, size, false))
        return -EFAULT;
    for (uint64_t n, done = 0; done < size; done += n) {
        n = size - done;
        const void *p = piece(gm, gpa + done, false, &n);
        if (!p) /* a layer has come meanwhile */
            return -EFAULT;
        memcpy((char *)data + done, p, n);
    }
    return 0;
}

/* Descriptors of rings and what stands in them: moves, where a string instruction takes its time to
 * begin. */
static inline void copy(void *to, const void *from, size_t size)
{
    if (size == 16)
        __builtin_memcpy(to, from, 16);
    else if (size == 8)
        __builtin_memcpy(to, from, 8);
    else if (size == 1)
        __builtin_memcpy(to, from, 1);
    else
        memcpy(to, from, size);
}

int guest_memory_read(const struct guest_memory *gm, uint64_t gpa, void *data, size_t size)
{
    void *p;

    if (UNLIKELY(!in_block(gm, gpa, size, &p)))
        return read_pieces(gm, gpa, data, size);
    copy(data, p, size);
    return 0;
}

static __attribute__((noinline)) int write_pieces(struct guest_memory *gm, uint64_t gpa,
                                                  const void *data, size_t size)
{
    if (!allowed(gm, gpa, size, true))
        return -EFAULT;
    for (uint64_t n, done = 0; done < size; done += n) {
        const char *from = (const char *)data + done;
        n = size - done;
        if (n >= GUEST_CHUNK &&
            guest_ram_write_block(gm, gpa + done, from, LEFT_TO_CORBEL + LEFT_TO_DEVICES)) {
            n = GUEST_CHUNK;
            continue;
        }
        void *p = piece(gm, gpa + done, true, &n);
        if (!p)
            return refusal(gm, gpa + done);
        memcpy(p, from, n);
    }
    return 0;
}

int guest_memory_write(struct guest_memory *gm, uint64_t gpa, const void *data, size_t size)
{
    void *p;

    if (UNLIKELY(!in_block(gm, gpa, size, &p)))
        return write_pieces(gm, gpa, data, size);
    copy(p, data, size);
    return 0;
}

static void zero_bytes(void *p, size_t size)
{
    size_t words = size / 8, rest = size % 8;

    __asm__ volatile("rep stosq" : "+D"(p), "+c"(words) : "a"(0UL) : "memory");
    memset(p, 0, rest);
}

/* What has no frame reads as zeroes as it is. */
int guest_memory_zero(struct guest_memory *gm, uint64_t gpa, uint64_t size)
{
    struct stand s;

    if (!allowed(gm, gpa, size, true))
        return -EFAULT;
    for (uint64_t done = 0; done < size; done += MIN(s.size, size - done)) {
        s = stands_at(gm, gpa + done);
        if (s.hpa != FRAME_NONE && s.writable)
            zero_bytes(phys_to_virt(s.hpa), MIN(s.size, size - done));
    }
    return 0;
}

int guest_memory_read_operand(const struct guest_memory *gm, uint64_t gpa, unsigned size,
                              uint64_t *value)
{
    uint64_t n = size;
    const void *p = piece(gm, gpa, false, &n);

    if (!p)
        return -EFAULT;
    if (is_word(gpa, size)) {
        *value = load_word(p, size);
        return 0;
    }
    *value = 0;
    return guest_memory_read(gm, gpa, value, size);
}

int guest_memory_write_operand(struct guest_memory *gm, uint64_t gpa, unsigned size, uint64_t value)
{
    uint64_t n = size;
    void *p = piece(gm, gpa, true, &n);

    if (!p)
        return refusal(gm, gpa);
    if (!is_word(gpa, size))
        return guest_memory_write(gm, gpa, &value, size);
    store_word(p, size, value);
    return 0;
}

int guest_memory_write_ram(struct guest_memory *gm, uint64_t gpa, const void *data, size_t size)
{
    const struct guest_memory_range *r = guest_memory_range(gm, gpa);

    if (!r || size > r->size - (gpa - r->gpa))
        return -EFAULT;
    for (size_t done = 0; done < size;) {
        int result = back_for_write(gm, gpa + done);
        if (result < 0)
            return result;
        const struct stand s = ram_at(gm, gpa + done);
        size_t n = MIN(size - done, s.size);
        if (s.hpa == FRAME_NONE)
            return -EFAULT;
        if (is_word(gpa, size)) {
            uint64_t value = 0;
            memcpy(&value, data, size);
            store_word(phys_to_virt(s.hpa), (unsigned)size, value);
        } else {
            memcpy(phys_to_virt(s.hpa), (const char *)data + done, n);
        }
        done += n;
    }
    return 0;
}

int guest_memory_read_u64(const struct guest_memory *gm, uint64_t gpa, uint64_t *value)
{
    uint64_t n = sizeof(*value);
    const uint64_t *p = piece(gm, gpa, false, &n);

    if (!p || !IS_ALIGNED(gpa, sizeof(*value)))
        return -EFAULT;
    *value = __atomic_load_n(p, __ATOMIC_RELAXED);
    return 0;
}

static __attribute__((noinline)) int load_piece(const struct guest_memory *gm, uint64_t gpa,
                                                unsigned size, uint64_t *value)
{
    uint64_t n = size;
    const void *p = piece(gm, gpa, false, &n);

    if (!p || !IS_ALIGNED(gpa, size))
        return -EFAULT;
    *value = load_word(p, size);
    return 0;
}

int guest_memory_load(const struct guest_memory *gm, uint64_t gpa, unsigned size, uint64_t *value)
{
    void *p;

    if (UNLIKELY(!in_block(gm, gpa, size, &p) || !IS_ALIGNED(gpa, size)))
        return load_piece(gm, gpa, size, value);
    *value = load_word(p, size);
    return 0;
}

static __attribute__((noinline)) int store_piece(struct guest_memory *gm, uint64_t gpa,
                                                 unsigned size, uint64_t value)
{
    uint64_t n = size;
    void *p = piece(gm, gpa, true, &n);

    if (!p)
        return refusal(gm, gpa);
    if (!IS_ALIGNED(gpa, size))
        return -EFAULT;
    store_word(p, size, value);
    return 0;
}

int guest_memory_store(struct guest_memory *gm, uint64_t gpa, unsigned size, uint64_t value)
{
    void *p;

    if (UNLIKELY(!in_block(gm, gpa, size, &p) || !IS_ALIGNED(gpa, size)))
        return store_piece(gm, gpa, size, value);
    store_word(p, size, value);
    return 0;
}

int guest_memory_exchange(struct guest_memory *gm, uint64_t gpa, uint8_t value, uint8_t *old)
{
    uint64_t n = 1;
    uint8_t *p = piece(gm, gpa, true, &n);

    if (!p)
        return refusal(gm, gpa);
    *old = __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST);
    return 0;
}

/* --- DMA --- */

static void unpin(paddr first, paddr end)
{
    for (; first < end; first += PAGE_SIZE)
        frame_unpin(first);
}

int guest_memory_pin(struct guest_memory *gm, uint64_t gpa, uint64_t size, bool write,
                     paddr *address, uint64_t *length)
{
    uint64_t here;
    paddr pa = translate(gm, gpa, write, true, &here), first = ALIGN_DOWN(pa, PAGE_SIZE);

    if (pa == FRAME_NONE || size == 0)
        return -EFAULT;
    *address = pa;
    *length = MIN(size, here);
    for (paddr frame = first; frame < pa + *length; frame += PAGE_SIZE) {
        if (!frame_pin(frame)) {
            unpin(first, frame);
            return -EAGAIN;
        }
    }
    return 0;
}

void guest_memory_unpin(paddr address, uint64_t length)
{
    unpin(ALIGN_DOWN(address, PAGE_SIZE), address + length);
}
