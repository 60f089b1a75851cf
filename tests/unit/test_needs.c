/* links: guest/cpu/needs.c guest/cpu/cpuid.c guest/board/state.c arch/x86/lib/format.c */
/* What a saved vCPU needs of a processor: each recorded one runs what was saved on itself, an older
 * one refuses what a newer one has, and says what that is. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/cpu/needs.h"
#include "tests/unit/cpu_files.h"

static struct cpu cpus[2];
static struct cpuid_table tables[2];
static uint8_t data[4096];
static char error[NEEDS_ERROR];

static void read_cpuid(void *context, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    uint32_t regs[4];

    mock_cpuid(context, leaf, subleaf, regs);
    *out = (struct cpuid_regs){regs[0], regs[1], regs[2], regs[3]};
}

static struct cpu_has build(unsigned n, const char *model)
{
    struct cpuid_inputs in = {.tsc_hz = 2000000000,
                              .vcpus = 2,
                              .xcr0 = 7,
                              .physical_bits = 39,
                              .rdtscp = true,
                              .invpcid = true,
                              .xsaves = true,
                              .xsavec = true};

    cpu_load(&cpus[n], model);
    cpuid_build(&tables[n], &in, read_cpuid, &cpus[n]);
    return (struct cpu_has){.tsc_hz = in.tsc_hz, .fpu_size = 832, .cpuid = &tables[n]};
}

static size_t save(const struct cpu_has *has)
{
    struct state_writer w = {.data = data, .capacity = sizeof(data)};

    needs_save(has, &w);
    assert_true(w.used <= sizeof(data));
    return w.used;
}

static int check(const struct cpu_has *has, size_t size)
{
    struct state_reader r = {.data = data, .size = size};
    int result = needs_check(has, &r, error);

    assert_int_equal(result == 0, error[0] == 0);
    if (result == 0)
        assert_int_equal(r.position, size);
    return result;
}

static void refused(const struct cpu_has *has, size_t size, const char *why)
{
    assert_int_equal(check(has, size), -EBADMSG);
    if (!strstr(error, why))
        fail_msg("'%s' does not say '%s'", error, why);
}

static const char *const models[] = {"corei5_arrandale_m520",   "corei7_sandy_bridge_2600k",
                                     "corei7_ivy_bridge_3770k", "corei7_haswell_4770",
                                     "broadwell_ult",           "corei7_skylake_x",
                                     "corei7_icelake_u",        "tigerlake",
                                     "sapphire_rapids_bochs31", "ryzen"};

static void its_own(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++) {
        struct cpu_has has = build(0, models[i]);
        size_t size = save(&has);

        if (check(&has, size) < 0)
            fail_msg("%s: %s", models[i], error);
        /* Whatever its guest has done meanwhile. */
        cpuid_set_cr4(&tables[0], BIT(18) | BIT(22));
        cpuid_set_xcr0(&tables[0], 3, 0);
        cpuid_set_misc_enable(&tables[0], BIT(22) | BIT(34));
        cpuid_set_apic_enabled(&tables[0], false);
        assert_int_equal(check(&has, size), 0);
        assert_int_equal(check(&has, save(&has)), 0);
    }
}

static void another(void **state)
{
    struct cpu_has ivy = build(0, "corei7_ivy_bridge_3770k"), haswell = build(1, models[3]);

    assert_int_equal(check(&haswell, save(&ivy)), 0);
    refused(&ivy, save(&haswell), "CPUID 1.0 ECX, bits ");
    assert_non_null(strstr(error, "needs what this processor does not have"));
}

/* One feature after the other. */
static void each_feature(void **state)
{
    struct cpu_has has = build(0, "corei7_skylake_x"), less;
    size_t size = save(&has);
    struct cpuid_feature f;
    unsigned features = 0;

    for (unsigned n = 0; cpuid_next_feature(&tables[0], &n, &f);) {
        for (unsigned bit = 0; bit < 32; bit++) {
            if (!(f.bits >> bit & 1) || (f.leaf == 0x80000001 && bit == 20))
                continue; /* NX is looked for in EFER */
            tables[1] = tables[0];
            less = has;
            less.cpuid = &tables[1];
            struct cpuid_regs *r =
                &tables[1].regs[cpuid_slot(&tables[1], f.leaf)->first + f.subleaf];
            uint32_t *const reg[] = {&r->eax, &r->ebx, &r->ecx, &r->edx};
            *reg[f.reg] &= ~(1u << bit);
            refused(&less, size, f.words);
            features++;
        }
    }
    assert_true(features > 60);
}

static void all_else(void **state)
{
    const struct cpu_has has = build(0, "corei7_skylake_x");
    struct cpu_has other = has;
    size_t size = save(&has);

    other.cpuid = &tables[1];
    tables[1] = tables[0];
    tables[1].xcr0_mask = 3;
    refused(&other, size, "bits of XCR0 that this processor does not have: 4");
    tables[1] = tables[0];
    tables[1].cr4_valid &= ~BIT(20);
    refused(&other, size, "bits of CR4 that this processor does not have: 100000");
    tables[1] = tables[0];
    tables[1].efer_valid = 0;
    refused(&other, size, "EFER");
    tables[1] = tables[0];
    tables[1].physical_bits--;
    refused(&other, size, "needs physical addresses of 39 bits, and this processor has 38");
    tables[1] = tables[0];
    tables[1].regs[cpuid_slot(&tables[1], 0xd)->first + 2].ebx += 64;
    refused(&other, size, "has state 2 of the FPU with 256 bytes at 576");
    other = has;
    other.capabilities = 0x21;
    assert_int_equal(check(&other, size), 0); /* more promises than it knew of */
    size = save(&other);
    other.capabilities = 0x1;
    refused(&other, size, "bits of IA32_ARCH_CAPABILITIES that this processor does not have: 20");
    other.capabilities = 0x80004 | 0x21; /* RSBA and RRSBA promise nothing: they warn */
    size = save(&other);
    assert_int_equal(check(&other, size), 0);
    other.capabilities = 0x21;
    assert_int_equal(check(&other, size), 0);
    size = save(&other);
    other.capabilities = 0x80000 | 0x21;
    refused(&other, size,
            "not told of bits of IA32_ARCH_CAPABILITIES that this processor has: 80000");
    size = save(&has);
    other = has;
    other.fpu_size = 1024;
    refused(&other, size, "has 832 bytes of FPU, and this processor's has 1024");
    other = has;
    other.tsc_hz += other.tsc_hz / 1001;
    assert_int_equal(check(&other, size), 0);
    other.tsc_hz = 2002100000;
    refused(&other, size, "needs a TSC of 2000000 kHz, and this processor's has 2002100 kHz");
    other.tsc_hz = 1000;
    refused(&other, size, "TSC");
}

static void anything(void **state)
{
    const struct cpu_has has = build(0, "corei7_haswell_4770");
    size_t size = save(&has);

    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(check(&has, cut), -EBADMSG);
    for (size_t at = STATE_HEADER; at < size; at++) {
        uint8_t was = data[at];

        for (unsigned i = 0; i < 8; i++) {
            data[at] ^= (uint8_t)(1u << i);
            (void)!check(&has, size);
            data[at] = was;
        }
        data[at] = 0xff;
        (void)!check(&has, size);
        data[at] = was;
    }
    assert_int_equal(check(&has, size), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_own),  cmocka_unit_test(another),  cmocka_unit_test(each_feature),
        cmocka_unit_test(all_else), cmocka_unit_test(anything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
