/* links: vmx/spec_guest.c arch/x86/errata.c arch/x86/lib/cpu_id.c */
/* What guests are shown of speculation, by what their processor says of itself. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "vmx/spec_guest.h"

static struct cpu_speculation s;
static struct mitigations m;
static struct spec_guest g;

#define ALL_FEATURES (SPEC_GUEST_FEATURES | FEATURE_MD_CLEAR | FEATURE_SRBDS_CTRL)

static int setup(void **state)
{
    s = (struct cpu_speculation){
        .intel = true, .avx = true, .family = 6, .model = 0x8f, .features = ALL_FEATURES};
    m = (struct mitigations){0};
    return 0;
}

static void offer(void)
{
    spec_guest_offer(&g, &s, &m);
}

static void test_features(void **state)
{
    offer();
    assert_int_equal(g.features, SPEC_GUEST_FEATURES); /* MD_CLEAR is not decided here */
    s.features = 0;
    offer();
    assert_int_equal(g.features | g.controls | g.spec_ctrl | g.capabilities, 0);
    /* Bits of a register that is not there. */
    s.features = FEATURE_STIBP | FEATURE_SSBD | FEATURE_L1D_FLUSH;
    s.controls = ~0u;
    offer();
    assert_int_equal(g.features, FEATURE_L1D_FLUSH);
    assert_int_equal(g.controls | g.spec_ctrl, 0);
}

static void test_reserved_bits(void **state)
{
    static const struct {
        uint32_t control;
        uint64_t bits;
    } each[] = {{CONTROL_PSFD, BIT(7)},           {CONTROL_IPRED, BIT(3) | BIT(4)},
                {CONTROL_RRSBA, BIT(5) | BIT(6)}, {CONTROL_DDPD_U, BIT(8)},
                {CONTROL_BHI, BIT(10)},           {CONTROL_MCDT_NO, 0}};

    s.features = FEATURE_IBRS;
    offer();
    assert_int_equal(g.spec_ctrl, BIT(0) | BIT(1));
    s.features |= FEATURE_SSBD;
    offer();
    assert_int_equal(g.spec_ctrl, BIT(0) | BIT(1) | BIT(2));
    for (unsigned i = 0; i < ARRAY_SIZE(each); i++) {
        s.controls = each[i].control;
        offer();
        assert_int_equal(g.controls, each[i].control);
        assert_int_equal(g.spec_ctrl, BIT(0) | BIT(1) | BIT(2) | each[i].bits);
    }
    s.controls = ~0u;
    offer();
    assert_int_equal(g.controls, SPEC_GUEST_CONTROLS);
    assert_int_equal(g.spec_ctrl, 0x5ff);
}

/* What is about registers that guests do not have stays away. */
static void test_capabilities(void **state)
{
    s.capabilities = ~0ULL;
    offer();
    assert_false(g.capabilities &
                 (CAPABILITY_TSX_CTRL | CAPABILITY_FB_CLEAR_CTRL | CAPABILITY_GDS_CTRL | BIT(9) |
                  BIT(10) | BIT(11) | BIT(12) | BIT(16) | BIT(21) | BIT(22) | BIT(23) | BIT(63)));
    assert_int_equal(g.capabilities, 0x400000001d1ae17fULL);
    s.features &= ~(uint32_t)FEATURE_ARCH_CAPABILITIES;
    offer();
    assert_int_equal(g.capabilities, 0);
}

/* Nothing is promised that is not so. */
static void test_promises(void **state)
{
    s.model = 0x55; /* Cascade Lake: GDS, TAA and ITS */
    s.stepping = 7;
    s.tsx = true;
    m.open = BIT(OPENING_GDS);
    offer();
    assert_int_equal(g.capabilities, 0);
    m.open = 0; /* microcode does it, and guests cannot see that */
    offer();
    assert_int_equal(g.capabilities, CAPABILITY_GDS_NO);
    m.steps = BIT(MITIGATION_TSX_OFF);
    offer();
    assert_int_equal(g.capabilities, CAPABILITY_GDS_NO | CAPABILITY_TAA_NO);
    s.model = 0x8f;
    offer();
    assert_int_equal(g.capabilities, CAPABILITY_GDS_NO | CAPABILITY_TAA_NO | CAPABILITY_ITS_NO);
    s.model = 0x6a; /* Ice Lake: inside of a guest it is there */
    offer();
    assert_false(g.capabilities & CAPABILITY_ITS_NO);
    s.model = 0x55;
    s.stepping = 4; /* Skylake has none */
    offer();
    assert_true(g.capabilities & CAPABILITY_ITS_NO);
}

static void test_same(void **state)
{
    struct spec_guest other;

    offer();
    other = g;
    assert_true(spec_guest_same(&g, &other));
    other.features ^= FEATURE_STIBP;
    assert_false(spec_guest_same(&g, &other));
    other = g;
    other.controls ^= CONTROL_BHI;
    assert_false(spec_guest_same(&g, &other));
    other = g;
    other.spec_ctrl ^= SPEC_CTRL_PSFD;
    assert_false(spec_guest_same(&g, &other));
    other = g;
    other.capabilities ^= CAPABILITY_MDS_NO;
    assert_false(spec_guest_same(&g, &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_features, setup),
        cmocka_unit_test_setup(test_reserved_bits, setup),
        cmocka_unit_test_setup(test_capabilities, setup),
        cmocka_unit_test_setup(test_promises, setup),
        cmocka_unit_test_setup(test_same, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
