/*
 * Whether XSAVEC lays its area out as the SDM says ("Compacted Form of XSAVE Area"). Bochs 2.7 does
 * not: it stores the upper halves of YMM at byte 416, over the header. Pure; vmx/fpu.c runs it.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define XSAVEC_COMPONENTS 8    /* those below PKRU, whose registers take any value */
#define XSAVEC_AREA       4096 /* bytes; what they need is less */

/* Where state components lie in an XSAVE area in either form. */
struct xsavec_places {
    uint64_t components; /* RFBM */
    struct xsavec_place {
        uint32_t size, standard, compacted;
    } place[XSAVEC_COMPONENTS];
};

/* CPUID leaf 0Dh, subleaf n: EAX, EBX, ECX. */
typedef void (*xsavec_cpuid)(uint32_t subleaf, uint32_t *eax, uint32_t *ebx, uint32_t *ecx);

/* The places of SSE's state and of what else of xcr0 takes any value; false when they do not fit.
 */
bool xsavec_find_places(struct xsavec_places *p, uint64_t xcr0, xsavec_cpuid cpuid) MUST_CHECK;
/* An area in standard form for XRSTOR, each byte of a register another. */
void xsavec_fill(const struct xsavec_places *p, uint8_t standard[XSAVEC_AREA]);
/* Whether an area that was clear holds the same after XSAVEC. */
bool xsavec_right(const struct xsavec_places *p, const uint8_t standard[XSAVEC_AREA],
                  const uint8_t compacted[XSAVEC_AREA]);
