#include "mm/space.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/panic.h"
#include "arch/x86/spinlock.h"
#include "mm/paging.h"

#define MMIO_SIZE      (64 * GIB)
#define LARGE          (PAGE_SIZE << FRAME_ORDER_2M)
#define RAM_FLAGS      (PTE_WRITE | PTE_GLOBAL | PTE_NX)
#define CPUID_PAGES_1G BIT(26)
#define CPUID_EXTENDED 0x80000001u
#define RANGES_MAX     64

extern uint8_t kernel_image_start[], kernel_image_end[];
extern uint8_t kernel_text_start[], kernel_text_end[];
extern uint8_t kernel_rodata_start[], kernel_rodata_end[];
extern uint8_t kernel_data_start[], kernel_data_end[];
extern uint8_t kernel_symbols_start[];
extern uint8_t boot_stack_guard[], boot_stack_base[], boot_stack_top[];

static struct spinlock lock = SPINLOCK(RANK_SPACE);
static struct paging space;
static paddr kernel_base; /* where the microkernel's image lies */
static uint64_t mmio_next = SPACE_MMIO, stack_next = SPACE_STACKS;

/* What the direct map covers. Ranges beyond the array's end are mapped all the same, but not known
 * to be. */
static struct {
    paddr base, end;
} ranges[RANGES_MAX];
static unsigned range_count;

static void map_or_panic(uint64_t va, paddr pa, uint64_t size, uint64_t flags)
{
    int error = paging_map(&space, va, pa, size, flags);

    if (error)
        panic("cannot map %lx+%lx at %lx: error %d", pa, size, va, -error);
}

static void map_image(const struct handover *h)
{
    struct {
        uint8_t *start, *end;
        uint64_t flags;
    } parts[] = {
        {kernel_text_start, kernel_text_end, PTE_GLOBAL},
        {kernel_rodata_start, kernel_rodata_end, PTE_GLOBAL | PTE_NX},
        {kernel_data_start, boot_stack_guard, RAM_FLAGS},
        {boot_stack_base, kernel_data_end, RAM_FLAGS},
        {kernel_symbols_start, kernel_image_end, PTE_GLOBAL | PTE_NX},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
        map_or_panic((uint64_t)parts[i].start,
                     h->kernel_base + (uint64_t)(parts[i].start - kernel_image_start),
                     (uint64_t)(parts[i].end - parts[i].start), parts[i].flags);
}

/* The microkernel's image is left out: its text would be writable through the direct map. */
static bool in_direct_map(const struct handover_mem *m)
{
    return m->type == HANDOVER_MEM_USABLE || m->type == HANDOVER_MEM_LOADER ||
           m->type == HANDOVER_MEM_ACPI;
}

static void map_direct(const struct handover *h)
{
    const struct handover_mem *map = phys_to_virt(h->memory);

    for (unsigned i = 0; i < h->memory_count;) {
        paddr base = map[i].base, end = base;

        while (i < h->memory_count && in_direct_map(&map[i]) && map[i].base == end)
            end += map[i++].size;
        if (end == base) {
            i++;
            continue;
        }
        map_or_panic(DIRECT_MAP + base, base, end - base, RAM_FLAGS);
        if (range_count < RANGES_MAX) {
            ranges[range_count].base = base;
            ranges[range_count++].end = end;
        }
    }
}

void space_init(const struct handover *h)
{
    bool pages_1g = cpuid(0x80000000, 0).eax >= CPUID_EXTENDED &&
                    (cpuid(CPUID_EXTENDED, 0).edx & CPUID_PAGES_1G);

    kernel_base = h->kernel_base;
    if (paging_init(&space, read_cr4() & CR4_LA57 ? 5 : 4, pages_1g))
        panic("no memory for page tables");
    map_image(h);
    map_direct(h);
    /* The loader's tables may have used global pages: they go only when PGE is switched off. */
    write_cr4(read_cr4() & ~CR4_PGE);
    write_cr3(space.root);
    write_cr4(read_cr4() | CR4_PGE);
}

paddr space_root(void)
{
    return space.root;
}

bool direct_map_covers(paddr base, uint64_t size)
{
    for (unsigned i = 0; i < range_count; i++)
        if (base >= ranges[i].base && base < ranges[i].end && size <= ranges[i].end - base)
            return true;
    return false;
}

/* Addresses for length bytes that begin at offset first in a page; 0 when there are none left. */
static uint64_t window_alloc(paddr first, uint64_t length)
{
    uint64_t va = mmio_next;

    /* Large ranges get the same offset within a large page as in physical memory, so that large
     * pages fit. */
    if (length >= LARGE)
        va = ALIGN_UP(va, LARGE) + (first & (LARGE - 1));
    if (va + length + PAGE_SIZE > SPACE_MMIO + MMIO_SIZE)
        return 0;
    /* A page stays free behind each; and the addresses of a mapping that failed half-way are not
     * used again. */
    mmio_next = va + length + PAGE_SIZE;
    return va;
}

static void *map_window(paddr base, uint64_t size, uint64_t flags)
{
    paddr first = ALIGN_DOWN(base, PAGE_SIZE);
    uint64_t length = ALIGN_UP(base + size, PAGE_SIZE) - first, va;
    int error = 0;

    if (!size || base + size < base || length > MMIO_SIZE)
        return NULL;
    spin_lock(&lock);
    va = window_alloc(first, length);
    if (va)
        error = paging_map(&space, va, first, length, flags);
    spin_unlock(&lock);
    if (error)
        log_error("cannot map %lx+%lx: out of memory for page tables", base, size);
    return va && !error ? (void *)(va + (base - first)) : NULL;
}

/* By the PAT that cpu_setup() loads: entry 1 (PWT) is write-combining, entry 3 (PCD and PWT)
 * uncached. */
void *map_mmio(paddr base, uint64_t size, enum cache cache)
{
    static const uint64_t bits[] = {
        [CACHE_WB] = 0, [CACHE_WC] = PTE_PWT, [CACHE_UC] = PTE_PCD | PTE_PWT};

    return map_window(base, size, RAM_FLAGS | bits[cache]);
}

const void *map_table(paddr base, uint64_t size)
{
    if (direct_map_covers(base, size))
        return phys_to_virt(base);
    return map_window(base, size, PTE_GLOBAL | PTE_NX);
}

int space_change_text(void (*change)(void *ctx, uint8_t *text, size_t size), void *ctx)
{
    size_t size = (size_t)(kernel_text_end - kernel_text_start);
    paddr base = kernel_base + (uint64_t)(kernel_text_start - kernel_image_start);
    uint8_t *text = map_window(base, size, RAM_FLAGS);
    bool gone = true;

    if (!text)
        return -ENOMEM;
    change(ctx, text, size);
    spin_lock(&lock);
    for (size_t at = 0; at < size; at += PAGE_SIZE)
        gone &= paging_unmap(&space, (uint64_t)text + at);
    spin_unlock(&lock);
    cpu_forget_all();
    return gone ? 0 : -EINVAL;
}

int stack_alloc(uint64_t size, struct stack *out)
{
    uint64_t base;
    int error = 0;

    spin_lock(&lock);
    base = stack_next + PAGE_SIZE;
    *out = (struct stack){base, base + ALIGN_UP(size, PAGE_SIZE)};
    stack_next = out->top; /* the next stack's guard page is this one's upper neighbour */
    for (uint64_t va = base; va < out->top && !error; va += PAGE_SIZE) {
        paddr frame = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);

        error = frame == FRAME_NONE ? -ENOMEM : paging_map(&space, va, frame, PAGE_SIZE, RAM_FLAGS);
    }
    spin_unlock(&lock);
    return error;
}

static int map_one_to_one(paddr base, uint64_t size, uint64_t flags)
{
    int error;

    spin_lock(&lock);
    error = paging_map(&space, base, base, size, flags);
    spin_unlock(&lock);
    return error;
}

int space_map_runtime(const struct handover_mem *map, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        int error = map_one_to_one(map[i].base, map[i].size, PTE_WRITE);

        if (error && error != -EEXIST)
            return error;
    }
    return 0;
}

int space_map_identity(paddr page)
{
    return map_one_to_one(page, PAGE_SIZE, 0);
}

void space_unmap_identity(paddr page)
{
    spin_lock(&lock);
    paging_unmap(&space, page);
    spin_unlock(&lock);
    invlpg((void *)page);
}
