#include "vmx/ept.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define ENTRIES      512u
#define ENTRY_TYPE   3 /* shift of a leaf's memory type */
#define ENTRY_LEAF   BIT(7)
#define ENTRY_AD     (BIT(8) | BIT(9))
#define ADDRESS_MASK 0x000ffffffffff000ULL
#define GPA_END      BIT(48)
#define HPA_END      BIT(52)

#define EPTP_WALK_4 (3u << 3)
#define EPTP_AD     BIT(6)

static unsigned shift(unsigned level)
{
    return 12 + 9 * (level - 1);
}

static unsigned index_of(uint64_t gpa, unsigned level)
{
    return gpa >> shift(level) & (ENTRIES - 1);
}

static bool present(uint64_t entry)
{
    return entry & EPT_RWX;
}

static bool is_leaf(uint64_t entry, unsigned level)
{
    return level == 1 || entry & ENTRY_LEAF;
}

static uint64_t *table_at(uint64_t entry)
{
    return phys_to_virt(entry & ADDRESS_MASK);
}

/* Other CPUs may walk the table meanwhile: what an entry points at must be there before the entry
 * is. */
static void set_entry(uint64_t *entry, uint64_t value)
{
    __atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

static paddr new_table(struct ept *ept)
{
    paddr table = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);

    if (table == FRAME_NONE && ept->promise) {
        table = frame_redeem(ept->promise, FRAME_ORDER_4K, FRAME_KERNEL);
        ept->redeemed += table != FRAME_NONE;
    }
    if (table != FRAME_NONE) {
        memset(phys_to_virt(table), 0, PAGE_SIZE);
        ept->frames++;
    }
    return table;
}

/* As many go back to the promise as have come out of it. */
static void free_table(struct ept *ept, paddr table)
{
    ept->frames--;
    if (ept->redeemed) {
        ept->redeemed--;
        frame_return(ept->promise, table, FRAME_ORDER_4K);
    } else {
        frame_free(table, FRAME_ORDER_4K);
    }
}

int ept_create(struct ept *ept, const struct vmx_features *features, const struct mtrr *mtrr,
               unsigned flags)
{
    *ept = (struct ept){.mtrr = mtrr, .execute_only = features->ept_execute_only};
    ept->max_level = features->ept_1g ? 3 : features->ept_2m ? 2 : 1;
    ept->max_exec_level = flags & EPT_SMALL_EXECUTABLE ? 1 : ept->max_level;
    ept->pointer_bits = (features->ept_wb ? MEMORY_WB : MEMORY_UC) | EPTP_WALK_4;
    if (flags & EPT_ACCESSED_DIRTY && features->ept_ad)
        ept->pointer_bits |= EPTP_AD;
    ept->root = new_table(ept);
    if (ept->root == FRAME_NONE) {
        *ept = (struct ept){0};
        return -ENOMEM;
    }
    return 0;
}

uint64_t ept_pointer(const struct ept *ept)
{
    return ept->root | ept->pointer_bits;
}

/* The first entry from i on that is present, or ENTRIES: of most tables few are, so four are looked
 * at in one. */
static unsigned next_present(const uint64_t *entries, unsigned i)
{
    while (i < ENTRIES && !present(entries[i])) {
        i++;
        while (i % 4 == 0 && i < ENTRIES &&
               !present(entries[i] | entries[i + 1] | entries[i + 2] | entries[i + 3]))
            i += 4;
    }
    return i;
}

/*
 * Put a table and all below it on the retired list. The link lies in entry 0: its low bits say "not
 * present" to a CPU that still walks there.
 */
static void retire(struct ept *ept, paddr table, unsigned level)
{
    uint64_t *entries = phys_to_virt(table);

    for (unsigned i = 0; level > 1 && (i = next_present(entries, i)) < ENTRIES; i++)
        if (!is_leaf(entries[i], level))
            retire(ept, entries[i] & ADDRESS_MASK, level - 1);
    set_entry(&entries[0], ept->retired);
    ept->retired = table;
}

void ept_reap(struct ept *ept, paddr retired)
{
    while (retired) {
        paddr table = retired;
        retired = *(const uint64_t *)phys_to_virt(table);
        free_table(ept, table);
    }
}

void ept_clear(struct ept *ept)
{
    uint64_t *root = phys_to_virt(ept->root);

    for (unsigned i = 0; (i = next_present(root, i)) < ENTRIES; i++) {
        uint64_t entry = root[i];
        set_entry(&root[i], 0);
        retire(ept, entry & ADDRESS_MASK, EPT_LEVELS - 1);
    }
    ept->generation++;
}

void ept_destroy(struct ept *ept)
{
    if (!ept->pointer_bits)
        return;
    ept_clear(ept);
    ept_reap(ept, ept->retired);
    frame_free(ept->root, FRAME_ORDER_4K);
    *ept = (struct ept){0};
}

static void fill_split(uint64_t *entries, uint64_t leaf, unsigned level)
{
    if (level == 2)
        leaf &= ~ENTRY_LEAF;
    for (unsigned i = 0; i < ENTRIES; i++)
        entries[i] = leaf + ((uint64_t)i << shift(level - 1));
}

/* Replace a large leaf by a table of smaller ones that translate the same. */
static int split(struct ept *ept, uint64_t *entry, unsigned level)
{
    paddr table = new_table(ept);

    if (table == FRAME_NONE)
        return -ENOMEM;
    fill_split(phys_to_virt(table), *entry, level);
    set_entry(entry, table | EPT_RWX);
    return 0;
}

/* The entry for gpa at a level, with the tables above it made or split as needed. */
static int entry_for(struct ept *ept, uint64_t gpa, unsigned level, uint64_t **out)
{
    uint64_t *table = phys_to_virt(ept->root);

    for (unsigned l = EPT_LEVELS; l > level; l--) {
        uint64_t *entry = &table[index_of(gpa, l)];
        if (!present(*entry)) {
            paddr next = new_table(ept);
            if (next == FRAME_NONE)
                return -ENOMEM;
            set_entry(entry, next | EPT_RWX);
        } else if (is_leaf(*entry, l)) {
            int rc = split(ept, entry, l);
            if (rc < 0)
                return rc;
        }
        table = table_at(*entry);
    }
    *out = &table[index_of(gpa, level)];
    return 0;
}

static void set_leaf(struct ept *ept, uint64_t *entry, unsigned level, uint64_t leaf)
{
    uint64_t old = *entry;

    if ((old & ~ENTRY_AD) == leaf)
        return;
    set_entry(entry, leaf);
    if (!present(old))
        return;
    if (!is_leaf(old, level)) {
        retire(ept, old & ADDRESS_MASK, level - 1);
        ept->generation++;
    } else if ((old ^ leaf) & ~(ENTRY_AD | EPT_RWX) || old & ~leaf & EPT_RWX) {
        ept->generation++;
    }
}

static bool range_valid(uint64_t gpa, uint64_t size)
{
    return size > 0 && IS_ALIGNED(gpa | size, PAGE_SIZE) && gpa < GPA_END && size <= GPA_END - gpa;
}

/* Rights that the CPU does not take for a misconfiguration. */
static bool rights_valid(const struct ept *ept, unsigned prot)
{
    if (prot == 0 || prot & ~EPT_RWX)
        return false;
    return prot & EPT_READ || (prot == EPT_EXECUTE && ept->execute_only);
}

/* type_bits: memory type and EPT_IGNORE_PAT in place, or -1 to ask the MTRRs. */
static int map_range(struct ept *ept, uint64_t gpa, paddr hpa, uint64_t size, unsigned prot,
                     int type_bits)
{
    if (!range_valid(gpa, size) || !rights_valid(ept, prot) || !IS_ALIGNED(hpa, PAGE_SIZE) ||
        hpa >= HPA_END || size > HPA_END - hpa)
        return -EINVAL;
    uint64_t *entry = NULL, same_until = 0; /* of the leaf before; of small ones' type */
    enum memory_type small_type = MEMORY_WB;
    while (size > 0) {
        unsigned level = prot & EPT_EXECUTE ? ept->max_exec_level : ept->max_level;
        enum memory_type type = MEMORY_WB;
        for (; level > 1; level--) {
            uint64_t span = BIT(shift(level));
            if (!IS_ALIGNED(gpa | hpa, span) || size < span)
                continue;
            if (type_bits >= 0 || !ept->mtrr || mtrr_uniform(ept->mtrr, hpa, span, &type))
                break;
        }
        if (level == 1 && type_bits < 0 && ept->mtrr) {
            if (hpa >= same_until)
                small_type = mtrr_type(ept->mtrr, hpa, &same_until);
            type = small_type;
        }
        uint64_t leaf = hpa | prot | (level > 1 ? ENTRY_LEAF : 0);
        leaf |= type_bits >= 0 ? (uint64_t)type_bits : (uint64_t)type << ENTRY_TYPE;
        if (entry && gpa & (BIT(shift(2)) - 1)) { /* small leaves, in one table */
            entry++;
        } else {
            int rc = entry_for(ept, gpa, level, &entry);
            if (rc < 0)
                return rc;
        }
        set_leaf(ept, entry, level, leaf);
        uint64_t span = BIT(shift(level));
        gpa += span;
        hpa += span;
        size -= span;
    }
    return 0;
}

int ept_map(struct ept *ept, uint64_t gpa, paddr hpa, uint64_t size, unsigned prot)
{
    return map_range(ept, gpa, hpa, size, prot, -1);
}

int ept_map_type(struct ept *ept, uint64_t gpa, paddr hpa, uint64_t size, unsigned prot,
                 enum memory_type type, bool ignore_pat)
{
    int bits = (int)type << ENTRY_TYPE | (ignore_pat ? (int)EPT_IGNORE_PAT : 0);

    return map_range(ept, gpa, hpa, size, prot, bits);
}

/* Remove every leaf in [from, to). One that the range cuts through is split, or goes as a whole. */
static int unmap(struct ept *ept, uint64_t *table, unsigned level, uint64_t from, uint64_t to,
                 bool may_split)
{
    uint64_t span = BIT(shift(level)), next;

    for (; from < to; from = next) {
        uint64_t *entry = &table[index_of(from, level)], old = *entry;
        int result = 0;

        next = MIN(ALIGN_DOWN(from, span) + span, to);
        if (!present(old))
            continue;
        bool leaf = is_leaf(old, level);
        if (next - from == span || (leaf && !may_split)) {
            set_entry(entry, 0);
            if (!leaf)
                retire(ept, old & ADDRESS_MASK, level - 1);
            ept->generation++;
            continue;
        }
        if (leaf)
            result = split(ept, entry, level);
        if (result == 0)
            result = unmap(ept, table_at(*entry), level - 1, from, next, may_split);
        if (result < 0)
            return result;
    }
    return 0;
}

int ept_unmap(struct ept *ept, uint64_t gpa, uint64_t size)
{
    if (!range_valid(gpa, size))
        return -EINVAL;
    return unmap(ept, phys_to_virt(ept->root), EPT_LEVELS, gpa, gpa + size, true);
}

void ept_forget(struct ept *ept, uint64_t gpa, uint64_t size)
{
    if (range_valid(gpa, size))
        (void)!unmap(ept, phys_to_virt(ept->root), EPT_LEVELS, gpa, gpa + size, false);
}

int ept_lookup(const struct ept *ept, uint64_t gpa, struct ept_leaf *leaf)
{
    const uint64_t *table = phys_to_virt(ept->root);

    if (gpa >= GPA_END)
        return -ENOENT;
    for (unsigned level = EPT_LEVELS;; level--) {
        uint64_t entry = table[index_of(gpa, level)];
        if (!present(entry))
            return -ENOENT;
        if (is_leaf(entry, level)) {
            leaf->entry = entry;
            leaf->level = (uint8_t)level;
            leaf->hpa = (entry & ADDRESS_MASK) + (gpa & (BIT(shift(level)) - 1));
            return 0;
        }
        table = table_at(entry);
    }
}

uint64_t ept_page_entry(const struct ept *ept, paddr hpa, unsigned prot, bool write_back)
{
    uint64_t type = MEMORY_WB;

    if (write_back)
        prot |= EPT_IGNORE_PAT;
    else if (ept->mtrr)
        type = mtrr_type(ept->mtrr, hpa, NULL);
    return hpa | prot | type << ENTRY_TYPE;
}

/* --- windows --- */

/* A table of the window's own, with anything in it. */
static int own_table(struct ept_window *w, paddr *out)
{
    if (w->used == EPT_WINDOW_TABLES)
        return -ENOMEM;
    if (w->used == w->allocated) {
        paddr table = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
        if (table == FRAME_NONE)
            return -ENOMEM;
        w->table[w->allocated++] = table;
    }
    *out = w->table[w->used++];
    return 0;
}

static bool is_own(const struct ept_window *w, paddr table)
{
    for (unsigned i = 0; i < w->used; i++)
        if (w->table[i] == table)
            return true;
    return false;
}

/* A table of the window's own below this entry of it, that translates the same. */
static int own_below(struct ept_window *w, uint64_t *entry, unsigned level)
{
    uint64_t old = *entry;
    paddr table;
    int rc;

    if (present(old) && !is_leaf(old, level) && is_own(w, old & ADDRESS_MASK))
        return 0;
    rc = own_table(w, &table);
    if (rc < 0)
        return rc;
    if (!present(old))
        memset(phys_to_virt(table), 0, PAGE_SIZE);
    else if (is_leaf(old, level))
        fill_split(phys_to_virt(table), old, level);
    else
        memcpy(phys_to_virt(table), table_at(old), PAGE_SIZE);
    *entry = table | EPT_RWX;
    return 0;
}

int ept_window_put(struct ept_window *w, const struct ept *ept, uint64_t gpa, uint64_t entry)
{
    paddr root;
    int rc;

    if (gpa >= GPA_END)
        return -EINVAL;
    if (!w->used) {
        rc = own_table(w, &root);
        if (rc < 0)
            return rc;
        memcpy(phys_to_virt(root), phys_to_virt(ept->root), PAGE_SIZE);
        w->generation = ept->generation;
    }
    uint64_t *table = phys_to_virt(w->table[0]);
    for (unsigned level = EPT_LEVELS; level > 1; level--) {
        uint64_t *e = &table[index_of(gpa, level)];
        rc = own_below(w, e, level);
        if (rc < 0)
            return rc;
        table = table_at(*e);
    }
    table[index_of(gpa, 1)] = entry;
    return 0;
}

void ept_window_close(struct ept_window *w)
{
    w->used = 0;
}

uint64_t ept_window_pointer(const struct ept_window *w, const struct ept *ept)
{
    return w->table[0] | ept->pointer_bits;
}

void ept_window_destroy(struct ept_window *w)
{
    for (unsigned i = 0; i < w->allocated; i++)
        frame_free(w->table[i], FRAME_ORDER_4K);
    *w = (struct ept_window){0};
}
