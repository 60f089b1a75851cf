#include "boot/memmap.h"
#include "arch/x86/lib/errno.h"

uint32_t memmap_type(uint32_t efi_type)
{
    static const uint8_t types[] = {
        [0] = HANDOVER_MEM_RESERVED, /* EfiReservedMemoryType */
        [1] = HANDOVER_MEM_USABLE,   /* EfiLoaderCode: the loader's own image, which ends with the
                                        jump */
        [2] = HANDOVER_MEM_LOADER,   /* EfiLoaderData */
        [3] = HANDOVER_MEM_USABLE,   /* EfiBootServicesCode */
        [4] = HANDOVER_MEM_USABLE,   /* EfiBootServicesData */
        [5] = HANDOVER_MEM_RUNTIME,  /* EfiRuntimeServicesCode */
        [6] = HANDOVER_MEM_RUNTIME,  /* EfiRuntimeServicesData */
        [7] = HANDOVER_MEM_USABLE,   /* EfiConventionalMemory */
        [8] = HANDOVER_MEM_RESERVED, /* EfiUnusableMemory */
        [9] = HANDOVER_MEM_ACPI,     /* EfiACPIReclaimMemory */
        [10] = HANDOVER_MEM_ACPI,    /* EfiACPIMemoryNVS */
        [11] = HANDOVER_MEM_MMIO,    /* EfiMemoryMappedIO */
        [12] = HANDOVER_MEM_MMIO,    /* EfiMemoryMappedIOPortSpace */
    };

    return efi_type < ARRAY_SIZE(types) ? types[efi_type] : HANDOVER_MEM_RESERVED;
}

/* Bounds of an entry in whole pages; end <= base means that nothing is left. */
static uint64_t first(const struct handover_mem *m)
{
    if (m->type == HANDOVER_MEM_USABLE)
        return m->base > UINT64_MAX - PAGE_SIZE ? UINT64_MAX : ALIGN_UP(m->base, PAGE_SIZE);
    return ALIGN_DOWN(m->base, PAGE_SIZE);
}

static uint64_t end(const struct handover_mem *m)
{
    uint64_t limit = ALIGN_DOWN(UINT64_MAX, PAGE_SIZE);
    uint64_t e = m->size > limit - MIN(m->base, limit) ? limit : m->base + m->size;

    if (!m->size)
        return 0;
    if (m->type == HANDOVER_MEM_USABLE)
        return ALIGN_DOWN(e, PAGE_SIZE);
    return e > limit - PAGE_SIZE ? limit : ALIGN_UP(e, PAGE_SIZE);
}

/* The next address above at where some entry begins or ends. */
static uint64_t next_edge(const struct handover_mem *in, uint32_t count, uint64_t at)
{
    uint64_t best = UINT64_MAX;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t b = first(&in[i]), e = end(&in[i]);

        if (b > at && b < best)
            best = b;
        if (e > at && e < best)
            best = e;
    }
    return best;
}

int memmap_build(const struct handover_mem *in, uint32_t in_count, struct handover_mem *out,
                 uint32_t room)
{
    uint32_t n = 0;

    for (uint64_t at = 0, to; (to = next_edge(in, in_count, at)) != UINT64_MAX; at = to) {
        const struct handover_mem *owner = NULL;

        for (uint32_t i = 0; i < in_count; i++)
            if (first(&in[i]) <= at && end(&in[i]) >= to && (!owner || in[i].type > owner->type))
                owner = &in[i];
        if (!owner)
            continue;
        if (n && out[n - 1].base + out[n - 1].size == at && out[n - 1].type == owner->type &&
            out[n - 1].efi_type == owner->efi_type &&
            out[n - 1].efi_attribute == owner->efi_attribute) {
            out[n - 1].size += to - at;
            continue;
        }
        if (n == room)
            return -ENOSPC;
        out[n] = *owner;
        out[n].base = at;
        out[n].size = to - at;
        n++;
    }
    return (int)n;
}
