/* The microkernel's own symbol table, as tools/symbols.py writes it. */
#include "arch/x86/symbols.h"

#include "arch/x86/lib/string.h"

struct entry {
    uint32_t address; /* its low 32 bits */
    uint32_t name;    /* offset behind the entries */
};

const char *symbol_find(const void *table, size_t size, uint32_t address, uint64_t *offset)
{
    const struct entry *entries = (const struct entry *)((const char *)table + 4);
    const char *names;
    uint32_t count, low = 0, high;
    size_t names_size;

    if (size < 4)
        return NULL;
    memcpy(&count, table, 4);
    if (count > (size - 4) / sizeof(*entries))
        return NULL;
    names = (const char *)(entries + count);
    names_size = size - 4 - count * sizeof(*entries);

    for (high = count; low < high;) {
        uint32_t middle = low + (high - low) / 2;

        if (entries[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low)
        return NULL;
    low--;
    if (entries[low].name >= names_size ||
        !memchr(names + entries[low].name, 0, names_size - entries[low].name))
        return NULL;
    *offset = address - entries[low].address;
    return names + entries[low].name;
}
