/* links: vmx/multihit.c */
/* Who has the iTLB multihit fault: a fake processor for each generation, by family, model and what
 * it says of itself. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/unit/cpu_files.h"
#include "vmx/multihit.h"

#define NO_MSR UINT64_MAX

struct generation {
    const char *name;
    uint32_t signature;
    uint64_t capabilities; /* IA32_ARCH_CAPABILITIES; NO_MSR: there is none */
    bool has_it;
};

static const struct generation generations[] = {
    {"Nehalem", 0x106a5, NO_MSR, true},
    {"Westmere", 0x206c2, NO_MSR, true},
    {"Sandy Bridge", 0x206a7, NO_MSR, true},
    {"Ivy Bridge", 0x306a9, NO_MSR, true},
    {"Haswell", 0x306c3, NO_MSR, true},
    {"Broadwell", 0x306d4, NO_MSR, true},
    {"Skylake", 0x506e3, 0, true},
    {"Skylake-X", 0x50654, 0, true},
    {"Kaby Lake", 0x906e9, 0, true},
    {"Coffee Lake", 0x906ed, 0x2b, true},
    {"Cascade Lake, first", 0x50656, 0x2b, true},
    {"Cascade Lake, later", 0x50657, 0x6b, false},
    {"Comet Lake", 0xa0655, 0x6b, false},
    {"Ice Lake", 0x706e5, 0x6b, false},
    {"Tiger Lake", 0x806c1, 0xeb, false},
    {"Sapphire Rapids", 0x806f8, 0x10eb, false},
    {"one that hides it below a hypervisor", 0x806f8, NO_MSR, true},
    {"Bonnell", 0x106c2, NO_MSR, false},
    {"Silvermont", 0x30678, NO_MSR, false},
    {"Airmont", 0x406c4, NO_MSR, false},
    {"Goldmont", 0x506c9, 0, false},
    {"Goldmont Plus", 0x706a8, 0, false},
    {"Tremont", 0x90661, 0, false},
    {"Knights Landing", 0x50671, NO_MSR, false},
    {"Knights Mill", 0x80650, NO_MSR, false},
    {"family 18", 0xc00f10, NO_MSR, false},
};

static struct cpu cpu;

static void leaf(uint32_t number, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    cpu.cpuid[cpu.cpuids].leaf = number;
    memcpy(cpu.cpuid[cpu.cpuids++].regs, (uint32_t[4]){a, b, c, d}, 16);
}

static bool asked(void)
{
    return vmx_multihit(&(struct vmx_probe){&cpu, mock_rdmsr, mock_cpuid});
}

/* An MSR that is not there fails the test when it is read. */
static bool has_it(uint32_t last, uint32_t signature, uint64_t capabilities)
{
    memset(&cpu, 0, sizeof(cpu));
    leaf(0, last, 0x756e6547, 0x6c65746e, 0x49656e69);
    leaf(1, signature, 0, 0, 0);
    leaf(7, 0, 0, 0, capabilities == NO_MSR ? ~BIT(29) : BIT(29));
    if (capabilities != NO_MSR) {
        cpu.msr[0].number = 0x10a;
        cpu.msr[cpu.msrs++].value = capabilities;
    }
    return asked();
}

static void by_generation(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(generations); i++) {
        const struct generation *g = &generations[i];

        if (has_it(0x1f, g->signature, g->capabilities) != g->has_it)
            fail_msg("%s", g->name);
    }
}

/* A leaf that is not there is not asked for what it would say. */
static void before_leaf_7(void **state)
{
    assert_true(has_it(6, 0x806f8, 0x40));
    assert_false(has_it(7, 0x806f8, 0x40));
}

static void others(void **state)
{
    const uint32_t amd[] = {0x68747541, 0x444d4163, 0x69746e65};

    for (unsigned alike = 0; alike < 7; alike++) { /* in so many parts of Intel's name */
        memset(&cpu, 0, sizeof(cpu));
        leaf(0, 0xd, alike & 1 ? 0x756e6547 : amd[0], alike & 2 ? 0x6c65746e : amd[1],
             alike & 4 ? 0x49656e69 : amd[2]);
        leaf(1, 0x306c3, 0, 0, 0);
        leaf(7, 0, 0, 0, 0);
        assert_false(asked());
    }
}

/* What the emulators say that Corbel is tested in. */
static void emulated(void **state)
{
    cpu_load(&cpu, "corei7_ivy_bridge_3770k");
    assert_true(asked());
    cpu_load(&cpu, "corei7_haswell_4770");
    assert_true(asked());
    cpu_load(&cpu, "ryzen");
    assert_false(asked());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_generation),
        cmocka_unit_test(before_leaf_7),
        cmocka_unit_test(others),
        cmocka_unit_test(emulated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
