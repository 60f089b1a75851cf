/* links: vmx/xsavec.c */
/* The self-test of XSAVEC's layout: the right one passes, Bochs 2.7's does not, nor does a wrong
 * byte anywhere. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "vmx/xsavec.h"

#define XCR0 0x2e7 /* x87, SSE, AVX, AVX-512, PKRU */

/* As on Skylake-X; ECX bit 1: aligned to 64 in compacted form. */
static void skylake(uint32_t subleaf, uint32_t *eax, uint32_t *ebx, uint32_t *ecx)
{
    static const uint32_t rows[XSAVEC_COMPONENTS][3] = {
        [2] = {256, 576, 0}, [5] = {64, 1088, 0}, [6] = {512, 1152, 0}, [7] = {1024, 1664, 2}};

    *eax = rows[subleaf][0];
    *ebx = rows[subleaf][1];
    *ecx = rows[subleaf][2];
}

static void odd_size(uint32_t subleaf, uint32_t *eax, uint32_t *ebx, uint32_t *ecx)
{
    skylake(subleaf, eax, ebx, ecx);
    *eax -= subleaf == 6 ? 8 : 0;
}

static void too_large(uint32_t subleaf, uint32_t *eax, uint32_t *ebx, uint32_t *ecx)
{
    skylake(subleaf, eax, ebx, ecx);
    *ebx = subleaf == 7 ? XSAVEC_AREA - 1023 : *ebx;
}

static void absurd(uint32_t subleaf, uint32_t *eax, uint32_t *ebx, uint32_t *ecx)
{
    *eax = ~0u;
    *ebx = ~0u;
    *ecx = 2;
}

static uint8_t standard[XSAVEC_AREA], compacted[XSAVEC_AREA];
static struct xsavec_places places;

/* XSAVEC, as the SDM has it; `avx` is where the components behind the header begin. */
static void xsavec(uint64_t xcr0, uint32_t avx)
{
    assert_true(xsavec_find_places(&places, xcr0, skylake));
    xsavec_fill(&places, standard);
    memset(compacted, 0, sizeof(compacted));
    memcpy(compacted + 160, standard + 160, 256);
    memcpy(compacted + avx, standard + 576, 256);
    if (xcr0 & 0xe0) {
        memcpy(compacted + 832, standard + 1088, 64);
        memcpy(compacted + 896, standard + 1152, 512);
        memcpy(compacted + 1408, standard + 1664, 1024);
    }
    uint64_t bv = places.components & ~1ULL, comp = places.components | 1ULL << 63;
    memcpy(compacted + 512, &bv, 8);
    memcpy(compacted + 520, &comp, 8);
}

static void right_ones(void **state)
{
    xsavec(XCR0, 576);
    assert_int_equal(places.components, 0xe7);
    assert_int_equal(standard[512], 0xe7);
    assert_true(xsavec_right(&places, standard, compacted));
    compacted[512] |= 1; /* x87 state may be saved although it is initial */
    assert_true(xsavec_right(&places, standard, compacted));
    xsavec(7, 576);
    assert_true(xsavec_right(&places, standard, compacted));
    assert_true(xsavec_find_places(&places, XCR0, odd_size));
    assert_int_equal(places.place[6].compacted, 896);
    assert_int_equal(places.place[7].compacted, 1408); /* aligned again */
}

static void bochs(void **state)
{
    xsavec(7, 416); /* over the header */
    assert_false(xsavec_right(&places, standard, compacted));
    uint64_t bv = 7, comp = 7 | 1ULL << 63;
    memcpy(compacted + 512, &bv, 8); /* which may be written afterwards */
    memcpy(compacted + 520, &comp, 8);
    assert_false(xsavec_right(&places, standard, compacted));
    memset(compacted + 528, 0, 48);
    assert_false(xsavec_right(&places, standard, compacted));
}

static void one_wrong_byte(void **state)
{
    xsavec(XCR0, 576);
    for (unsigned i = 160; i < 2432; i++) {
        if (i == 512 || (i >= 416 && i < 512))
            continue; /* unused; XSTATE_BV's first bit is free */
        compacted[i] ^= 2;
        if (xsavec_right(&places, standard, compacted))
            fail_msg("byte %u", i);
        compacted[i] ^= 2;
    }
}

static void no_places(void **state)
{
    assert_false(xsavec_find_places(&places, XCR0, too_large));
    assert_false(xsavec_find_places(&places, XCR0, absurd));
    assert_true(xsavec_find_places(&places, 3, absurd));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_ones),
        cmocka_unit_test(bochs),
        cmocka_unit_test(one_wrong_byte),
        cmocka_unit_test(no_places),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
