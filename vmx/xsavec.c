#include "vmx/xsavec.h"

#include "arch/x86/lib/string.h"

#define XMM        160
#define HEADER     512
#define EXTENDED   576
#define INIT_FCW   0x37f
#define INIT_MXCSR 0x1f80
#define X87_SSE    3ULL
#define COMPACTED  BIT(63)
/* AVX and AVX-512. MPX's bounds are gone from processors. */
#define ANY_VALUE (BIT(2) | BIT(5) | BIT(6) | BIT(7))

bool xsavec_find_places(struct xsavec_places *p, uint64_t xcr0, xsavec_cpuid cpuid)
{
    uint32_t next = EXTENDED, ecx;

    *p = (struct xsavec_places){.components = X87_SSE | (xcr0 & ANY_VALUE)};
    p->place[1] = (struct xsavec_place){.size = 256, .standard = XMM, .compacted = XMM};
    for (unsigned i = 2; i < XSAVEC_COMPONENTS; i++) {
        struct xsavec_place *at = &p->place[i];
        if (!(p->components & BIT(i)))
            continue;
        cpuid(i, &at->size, &at->standard, &ecx);
        at->compacted = ecx & 2 ? ALIGN_UP(next, 64u) : next;
        if (at->size > XSAVEC_AREA || at->standard > XSAVEC_AREA - at->size ||
            at->compacted > XSAVEC_AREA - at->size)
            return false;
        next = at->compacted + at->size;
    }
    return true;
}

static void put64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof(value));
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

void xsavec_fill(const struct xsavec_places *p, uint8_t standard[XSAVEC_AREA])
{
    uint8_t next = 1;

    memset(standard, 0, XSAVEC_AREA);
    put64(standard, INIT_FCW);
    put64(standard + 24, INIT_MXCSR);
    put64(standard + HEADER, p->components);
    for (unsigned i = 1; i < XSAVEC_COMPONENTS; i++)
        for (uint32_t n = 0; n < p->place[i].size; n++, next += next == 0xfb ? 6 : 1)
            standard[p->place[i].standard + n] = next;
}

bool xsavec_right(const struct xsavec_places *p, const uint8_t standard[XSAVEC_AREA],
                  const uint8_t compacted[XSAVEC_AREA])
{
    const uint8_t *header = compacted + HEADER;

    /* x87 state is the initial one, which XSAVEC need not save. */
    if ((get64(header) | 1) != p->components || get64(header + 8) != (COMPACTED | p->components))
        return false;
    for (unsigned i = 16; i < EXTENDED - HEADER; i++)
        if (header[i])
            return false;
    for (unsigned i = 1; i < XSAVEC_COMPONENTS; i++) {
        const struct xsavec_place *at = &p->place[i];
        if (memcmp(compacted + at->compacted, standard + at->standard, at->size) != 0)
            return false;
    }
    return true;
}
