#include "arch/x86/lib/cpu_id.h"

#include "arch/x86/lib/string.h"

#define LEAF_BRAND 0x80000002u /* and the next two */

static void trim(char name[49])
{
    size_t from = 0, length = strnlen(name, 48);

    while (from < length && name[from] == ' ')
        from++;
    while (length > from && name[length - 1] == ' ')
        length--;
    memmove(name, name + from, length - from);
    name[length - from] = '\0';
}

void cpu_identify(struct cpu_id *id,
                  void (*cpuid)(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]),
                  void *ctx)
{
    uint32_t r[4];

    memset(id, 0, sizeof(*id));
    cpuid(ctx, 0, 0, r);
    memcpy(id->vendor, &r[1], 4);
    memcpy(id->vendor + 4, &r[3], 4);
    memcpy(id->vendor + 8, &r[2], 4);
    cpuid(ctx, 1, 0, r);
    id->stepping = r[0] & 15;
    id->model = r[0] >> 4 & 15;
    id->family = r[0] >> 8 & 15;
    /* AMD adds the extended model for family Fh only; so does Intel, and for family 6. */
    if (id->family == 6 || id->family == 15)
        id->model += r[0] >> 12 & 0xf0;
    if (id->family == 15)
        id->family += r[0] >> 20 & 0xff;

    cpuid(ctx, 0x80000000, 0, r);
    if (r[0] >= LEAF_BRAND + 2)
        for (uint32_t i = 0; i < 3; i++) {
            cpuid(ctx, LEAF_BRAND + i, 0, r);
            memcpy(id->name + 16 * i, r, 16);
        }
    trim(id->name);
    if (!id->name[0])
        memcpy(id->name, "unnamed", 8);
}
