#include "guest/memory/rights.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

/* From one address on, memory that is contiguous and has the same rights everywhere. */
struct piece {
    paddr hpa;
    uint64_t size;
    unsigned stands;  /* what may be done there for all that reasons say; 0: no memory */
    unsigned reasons; /* and these */
    unsigned level;   /* of memory: the largest leaf that its backing allows */
    bool placed;
};

#define ENLARGE_SPAN GIB /* what rights_enlarge() looks through in one go */

unsigned rights_left(unsigned reasons)
{
    static const uint8_t taken[RIGHTS_REASON_COUNT] = {
#define X(name, rights) [NUMBER_##name] = (rights),
        RIGHTS_REASONS(X)
#undef X
    };
    unsigned left = EPT_RWX;

    for (; reasons; reasons &= reasons - 1)
        left &= ~(unsigned)taken[__builtin_ctz(reasons)];
    return left;
}

/* What a CPU can give of these rights: nothing without reading, but for pages that can only be
 * executed where it has them. */
static unsigned possible(const struct rights *r, unsigned prot)
{
    return prot & EPT_READ ? prot : r->ept.execute_only ? prot & EPT_EXECUTE : 0;
}

static unsigned prot_of(const struct rights *r, const struct piece *p)
{
    return possible(r, p->stands & rights_left(p->reasons));
}

/* The piece at gpa; it ends before `end`. */
static struct piece look(const struct rights *r, uint64_t gpa, uint64_t end)
{
    struct piece p = {0};
    struct guest_frame frame;
    unsigned level;

    p.reasons = marks_at(&r->reasons, gpa, &level);
    end = MIN(end, ALIGN_DOWN(gpa, marks_span(level)) + marks_span(level));
    for (unsigned i = 0; i < r->places; i++) {
        const struct rights_place *at = &r->place[i];

        if (gpa - at->gpa < at->size) {
            p.placed = true;
            p.level = 1;
            p.hpa = at->hpa + (gpa - at->gpa);
            p.stands = at->prot;
            end = MIN(end, at->gpa + at->size);
        } else if (at->gpa > gpa) {
            end = MIN(end, at->gpa);
        }
    }
    if (!p.placed && guest_memory_lookup(r->memory, gpa, &frame) == 0) {
        p.hpa = frame.hpa;
        p.stands = frame.writable ? EPT_RWX : EPT_READ | EPT_EXECUTE;
        p.level = frame.level;
        if (frame.hpa == FRAME_NONE)
            p.reasons |= REASON_ABSENT;
        end = MIN(end, gpa + frame.contiguous);
    }
    if (!p.stands)
        end = MIN(end, guest_memory_next(r->memory, gpa));
    p.size = end - gpa;
    return p;
}

/* --- the cache --- */

/* The largest block around gpa that one leaf could map, as far as reasons go. */
static uint64_t block_span(const struct rights *r, uint64_t gpa)
{
    unsigned level;

    (void)marks_at(&r->reasons, gpa, &level);
    return marks_span(MIN(level, r->ept.max_level));
}

static int map(struct rights *r, uint64_t gpa, const struct piece *p)
{
    unsigned prot = prot_of(r, p);

    if (!prot)
        return ept_unmap(&r->ept, gpa, p->size);
    if (p->placed)
        return ept_map_type(&r->ept, gpa, p->hpa, p->size, prot, MEMORY_WB, true);
    return ept_map(&r->ept, gpa, p->hpa, p->size, prot);
}

/* EPT follows what is true of [from, to). Where there is no memory for tables, what would be too
 * much is forgotten. */
static int update(struct rights *r, uint64_t from, uint64_t to)
{
    int worst = 0;

    while (from < to) {
        const struct piece p = look(r, from, to);
        int result = map(r, from, &p);

        if (result < 0) {
            ept_forget(&r->ept, from, p.size);
            worst = result;
        }
        from += p.size;
    }
    return worst;
}

/* The same in leaves as large as they can be now: blocks that reach into it are done as a whole. */
static int update_blocks(struct rights *r, uint64_t from, uint64_t to)
{
    return update(r, ALIGN_DOWN(from, block_span(r, from)), ALIGN_UP(to, block_span(r, to - 1)));
}

void rights_drop(struct rights *r)
{
    spin_lock(&r->lock);
    ept_clear(&r->ept);
    for (unsigned i = 0; i < r->places; i++) /* which no fault would bring back */
        (void)!update(r, r->place[i].gpa, r->place[i].gpa + r->place[i].size);
    spin_unlock(&r->lock);
}

paddr rights_retired(struct rights *r)
{
    spin_lock(&r->lock);
    paddr retired = r->ept.retired;
    r->ept.retired = 0;
    spin_unlock(&r->lock);
    return retired;
}

void rights_reap(struct rights *r, paddr retired)
{
    spin_lock(&r->lock);
    ept_reap(&r->ept, retired);
    spin_unlock(&r->lock);
}

void rights_forget(struct rights *r)
{
    rights_drop(r);
    rights_reap(r, rights_retired(r));
}

int rights_lookup(struct rights *r, uint64_t gpa, struct ept_leaf *leaf)
{
    spin_lock(&r->lock);
    int result = ept_lookup(&r->ept, gpa, leaf);
    spin_unlock(&r->lock);
    return result;
}

/* A page was missed: map the leaf that it is part of, and its neighbours, which come next. Of RAM
 * in pages those are no more than have come together. */
static int fill(struct rights *r, uint64_t page, const struct piece *p)
{
    uint64_t around = MIN(block_span(r, page), marks_span(p->level)), from;
    int result;

    around = MAX(around, p->level > 1 ? marks_span(2) : GUEST_TOGETHER);
    from = ALIGN_DOWN(page, around);
    result = update(r, from, from + around);
    return result < 0 ? update(r, page, page + PAGE_SIZE) : 0;
}

/* What one leaf may map now around a page whose memory has changed: no more than its new backing.
 */
static uint64_t leaf_span(const struct rights *r, uint64_t page)
{
    const struct piece p = look(r, page, page + PAGE_SIZE);

    return MAX(MIN(block_span(r, page), marks_span(p.level ? p.level : 1)), marks_span(2));
}

/* They miss what is new, which EPT does not count. */
static void views_are_old(struct rights *r)
{
    __atomic_store_n(&r->ept.generation, r->ept.generation + 1, __ATOMIC_RELAXED);
}

void rights_refresh(struct rights *r, uint64_t gpa, uint64_t size)
{
    spin_lock(&r->lock);
    (void)!update(r, ALIGN_DOWN(gpa, leaf_span(r, gpa)),
                  ALIGN_UP(gpa + size, leaf_span(r, gpa + size - PAGE_SIZE)));
    views_are_old(r);
    spin_unlock(&r->lock);
}

void rights_withdraw(struct rights *r, uint64_t gpa, uint64_t size)
{
    spin_lock(&r->lock);
    (void)!update(r, gpa, gpa + size);
    spin_unlock(&r->lock);
}

/* iTLB multihit: code is in small leaves, its 2 MiB with it. Of what may be executed none is in
 * another leaf, so whoever has a translation of the old one cannot have fetched by it. */
static int make_small(struct rights *r, uint64_t page)
{
    const uint64_t span = marks_span(2);
    int result = marks_change(&r->reasons, ALIGN_DOWN(page, span), span, 0, REASON_LARGE);

    if (result < 0)
        return result;
    const struct piece p = look(r, page, page + PAGE_SIZE);
    result = fill(r, page, &p);
    views_are_old(r);
    return result < 0 ? result : 1;
}

/* Where memory stands at gpa or later; MARKS_END: nowhere. */
static uint64_t memory_from(const struct rights *r, uint64_t gpa)
{
    while (gpa < MARKS_END) {
        const struct piece p = look(r, gpa, MARKS_END);

        if (p.stands)
            break;
        gpa += p.size;
    }
    return gpa;
}

bool rights_enlarge(struct rights *r, uint64_t now, uint64_t pause)
{
    spin_lock(&r->lock);
    if (!r->enlarged)
        r->enlarged = now;
    bool due = now - r->enlarged >= pause;
    if (due) {
        r->enlarged = now;
        uint64_t from = memory_from(r, r->enlarge_gpa);
        from = ALIGN_DOWN(from < MARKS_END ? from : memory_from(r, 0), ENLARGE_SPAN);
        r->enlarge_gpa = from + ENLARGE_SPAN;
        if (marks_change(&r->reasons, from, ENLARGE_SPAN, REASON_LARGE, 0) == 0)
            (void)!update(r, from, from + ENLARGE_SPAN);
    }
    spin_unlock(&r->lock);
    return due;
}

int rights_fault(struct rights *r, uint64_t gpa, unsigned access)
{
    uint64_t page = ALIGN_DOWN(gpa, PAGE_SIZE);
    int result;

    if (gpa >= MARKS_END)
        return -EFAULT;
    spin_lock(&r->lock);
    const struct piece p = look(r, page, page + PAGE_SIZE);
    if (access & ~p.stands)
        result = -EFAULT;
    else if (access & ~prot_of(r, &p))
        result = access & EPT_EXECUTE && p.reasons & REASON_LARGE ? make_small(r, page) : -EAGAIN;
    else
        result = fill(r, page, &p);
    spin_unlock(&r->lock);
    return result;
}

/* --- reasons --- */

int rights_change(struct rights *r, uint64_t gpa, uint64_t size, unsigned add, unsigned remove)
{
    spin_lock(&r->lock);
    int result = marks_change(&r->reasons, gpa, size, add, remove);
    if (result == 0)
        result = update_blocks(r, gpa, gpa + size);
    spin_unlock(&r->lock);
    return result;
}

unsigned rights_reasons(struct rights *r, uint64_t gpa, uint64_t size)
{
    uint64_t end = MIN(gpa + size, MARKS_END);
    unsigned level, reasons = 0;

    spin_lock(&r->lock);
    for (; gpa < end; gpa = ALIGN_DOWN(gpa, marks_span(level)) + marks_span(level))
        reasons |= marks_at(&r->reasons, gpa, &level) & ~(unsigned)REASON_LARGE;
    spin_unlock(&r->lock);
    return reasons;
}

bool rights_blames(struct rights *r, uint64_t gpa, unsigned access, unsigned reasons)
{
    uint64_t page = ALIGN_DOWN(gpa, PAGE_SIZE);
    bool blamed = false;

    spin_lock(&r->lock);
    if (gpa < MARKS_END) {
        struct piece p = look(r, page, page + PAGE_SIZE);
        bool refused = access & ~prot_of(r, &p);
        p.reasons &= ~reasons;
        blamed = refused && !(access & ~prot_of(r, &p));
    }
    spin_unlock(&r->lock);
    return blamed;
}

/* --- places --- */

static int add_place(struct rights *r, const struct rights_place *new)
{
    for (unsigned i = 0; i < r->places; i++)
        if (new->gpa < r->place[i].gpa + r->place[i].size && r->place[i].gpa < new->gpa + new->size)
            return -EEXIST;
    if (r->places == RIGHTS_PLACES)
        return -ENOSPC;
    r->place[r->places++] = *new;
    return update(r, new->gpa, new->gpa + new->size); /* no leaf becomes larger */
}

int rights_place(struct rights *r, uint64_t gpa, paddr hpa, uint64_t size, unsigned prot)
{
    const struct rights_place new = {.gpa = gpa, .size = size, .hpa = hpa, .prot = prot};

    if (size == 0 || !IS_ALIGNED(gpa | hpa | size, PAGE_SIZE) || gpa >= MARKS_END ||
        size > MARKS_END - gpa || !(prot & EPT_READ) || prot & ~EPT_RWX)
        return -EINVAL;
    spin_lock(&r->lock);
    int result = add_place(r, &new);
    spin_unlock(&r->lock);
    return result;
}

int rights_unplace(struct rights *r, uint64_t gpa)
{
    int result = -ENOENT;

    spin_lock(&r->lock);
    for (unsigned i = 0; i < r->places; i++) {
        const struct rights_place old = r->place[i];

        if (old.gpa != gpa)
            continue;
        r->place[i] = r->place[--r->places];
        result = update_blocks(r, old.gpa, old.gpa + old.size);
        break;
    }
    spin_unlock(&r->lock);
    return result;
}

/* --- views of one vCPU --- */

static int put(struct rights *r, struct ept_window *w, uint64_t gpa, const struct piece *p)
{
    unsigned prot = prot_of(r, p);

    return ept_window_put(w, &r->ept, gpa,
                          prot ? ept_page_entry(&r->ept, p->hpa, prot, p->placed) : 0);
}

int rights_open(struct rights *r, struct ept_window *w, uint64_t gpa, unsigned reasons)
{
    uint64_t page = ALIGN_DOWN(gpa, PAGE_SIZE);
    int result = -EFAULT;

    if (gpa >= MARKS_END)
        return -EFAULT;
    spin_lock(&r->lock);
    struct piece p = look(r, page, page + PAGE_SIZE);
    p.reasons &= ~reasons;
    if (p.stands)
        result = put(r, w, page, &p);
    spin_unlock(&r->lock);
    return result;
}

int rights_move(struct rights *r, struct ept_window *w, uint64_t from, uint64_t to)
{
    spin_lock(&r->lock);
    const struct piece p = look(r, from, from + PAGE_SIZE);
    int result = ept_window_put(w, &r->ept, from, 0);
    if (result == 0)
        result = put(r, w, to, &p);
    spin_unlock(&r->lock);
    return result;
}

/* --- life --- */

/* For what is placed, or shows, elsewhere than in RAM, and for leaves that split. */
#define TABLES_BESIDE 16

int rights_init(struct rights *r, const struct guest_memory *memory,
                const struct vmx_features *features, const struct mtrr *mtrr)
{
    memset(r, 0, sizeof(*r));
    spin_init(&r->lock, RANK_GUEST);
    r->memory = memory;
    int result =
        ept_create(&r->ept, features, mtrr, features->small_executable ? EPT_SMALL_EXECUTABLE : 0);
    if (result == 0 && features->small_executable)
        result = marks_change(&r->reasons, 0, MARKS_END, REASON_LARGE, 0);
    r->ept.promise = guest_memory_tables(memory);
    return result;
}

uint64_t rights_tables(const struct guest_memory *memory, const struct vmx_features *features)
{
    uint64_t tables = TABLES_BESIDE;

    for (uint32_t i = 0; i < memory->range_count; i++) {
        const struct guest_memory_range *range = &memory->ranges[i];

        for (unsigned level = features->ept_2m && !features->small_executable ? 3 : 2;
             level <= EPT_LEVELS; level++) {
            uint64_t span = marks_span(level);
            tables += ALIGN_UP(range->gpa + range->size, span) / span - range->gpa / span;
        }
    }
    return tables;
}

void rights_fill(struct rights *r)
{
    uint64_t left = guest_memory_there(r->memory), gpa = 0;
    struct piece p;

    spin_lock(&r->lock);
    for (; left; left -= MIN(left, p.size / PAGE_SIZE), gpa += p.size) {
        gpa = guest_memory_next_there(r->memory, gpa);
        if (gpa >= MARKS_END)
            break;
        p = look(r, gpa, MARKS_END);
        if (map(r, gpa, &p) < 0)
            break;
    }
    spin_unlock(&r->lock);
}

void rights_destroy(struct rights *r)
{
    ept_destroy(&r->ept);
    marks_destroy(&r->reasons);
}
