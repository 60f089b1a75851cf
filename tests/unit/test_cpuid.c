/* links: guest/cpu/cpuid.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "arch/x86/lib/string.h"
#include "guest/cpu/cpuid.h"

/* Every processor whose CPUID has been recorded; run from the top of the tree. */
static const char *const models[] = {
    "arrow_lake_bochs31",        "broadwell_ult",
    "core2_penryn_t9600",        "corei3_cnl",
    "corei5_arrandale_m520",     "corei5_lynnfield_750",
    "corei7_haswell_4770",       "corei7_haswell_4770_bochs30",
    "corei7_icelake_u",          "corei7_ivy_bridge_3770k",
    "corei7_sandy_bridge_2600k", "corei7_skylake_x",
    "corei7_skylake_x_bochs30",  "ryzen",
    "sapphire_rapids_bochs31",   "tigerlake",
};

struct recorded {
    unsigned count;
    struct {
        uint32_t leaf, subleaf;
        struct cpuid_regs r;
    } row[256];
};

static void read_model(const char *name, struct recorded *m)
{
    char path[256], line[256];
    snprintf(path, sizeof(path), "tests/unit/data/cpus/%s.txt", name);
    FILE *f = fopen(path, "r");
    if (!f) {
        print_error("%s cannot be read; run from the top of the tree\n", path);
        fail();
    }
    m->count = 0;
    while (fgets(line, sizeof(line), f)) {
        struct cpuid_regs r;
        uint32_t leaf, subleaf;
        if (sscanf(line, "cpuid %x %x = %x %x %x %x", &leaf, &subleaf, &r.eax, &r.ebx, &r.ecx,
                   &r.edx) != 6)
            continue;
        assert_true(m->count < ARRAY_SIZE(m->row));
        m->row[m->count].leaf = leaf;
        m->row[m->count].subleaf = subleaf;
        m->row[m->count++].r = r;
    }
    fclose(f);
    assert_true(m->count > 0);
}

/* The recordings stop at subleaf 2 of leaf 0Dh; the standard layout stands in for the rest. */
static const struct {
    unsigned component, size, offset;
} xsave_layout[] = {{5, 0x40, 0x440}, {6, 0x200, 0x480}, {7, 0x400, 0x680}, {9, 8, 0xa80}};

static void host_cpuid(void *context, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    const struct recorded *m = context;
    *out = (struct cpuid_regs){0};
    for (unsigned i = 0; i < m->count; i++)
        if (m->row[i].leaf == leaf && m->row[i].subleaf == subleaf)
            *out = m->row[i].r;
    if (leaf == 0xd)
        for (unsigned i = 0; i < ARRAY_SIZE(xsave_layout); i++)
            if (xsave_layout[i].component == subleaf)
                *out =
                    (struct cpuid_regs){.eax = xsave_layout[i].size, .ebx = xsave_layout[i].offset};
}

/* Every leaf says everything: what a future processor may look like. */
static void all_ones(void *context, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    *out = (struct cpuid_regs){~0u, ~0u, ~0u, ~0u};
    if (leaf == 0)
        out->eax = 0x40;
    if (leaf == 0x80000000)
        out->eax = 0x80000020;
    if (leaf == 0xd)
        *out = (struct cpuid_regs){0x40, 0x240 + 0x40 * subleaf, 2, 0};
}

static struct cpuid_inputs inputs(struct recorded *m)
{
    struct cpuid_regs r;
    host_cpuid(m, 0xd, 0, &r);
    return (struct cpuid_inputs){.tsc_hz = 100000000,
                                 .lapic_shift = 4,
                                 .vcpus = 1,
                                 .xcr0 = (uint64_t)r.edx << 32 | r.eax,
                                 .physical_bits = 46,
                                 .rdtscp = true,
                                 .invpcid = true,
                                 .xsaves = true,
                                 .xsavec = true,
                                 .user_wait = true};
}

/* --- what no guest may see, whatever the host is
 * -------------------------------------------------------------------- */

static const struct {
    uint32_t leaf, subleaf;
    struct cpuid_regs never, always;
} rules[] = {
    /* MONITOR VMX SMX EST TM2 CNXT SDBG xTPR PDCM DCA DTES64 DS-CPL; x2APIC, TSC-deadline,
       hypervisor */
    {1, 0, {0, 0, 0x0005cdfc & ~0x200u, 0xe0640000 & ~0x02000000u}, {0, 0, 0x81200000, 0x1200}},
    {3, 0, {~0u, ~0u, ~0u, ~0u}, {0}},
    {5, 0, {~0u, ~0u, ~0u, ~0u}, {0}},
    {6, 0, {~4u, ~0u, ~0u, ~0u}, {4, 0, 0, 0}},
    /* SGX HLE RTM RDT MPX PT; TSC_ADJUST */
    {7, 0, {~1u, 0x0240d814 & ~0x02000000u, 0xe1812080, 0xff1f8020 & ~0x00044000u}, {0, 2, 0, 0}},
    {9, 0, {~0u, ~0u, ~0u, ~0u}, {0}},
    {0xa, 0, {~0u, ~0u, ~0u, ~0u}, {0}},
    {0xf, 0, {~0u, ~0u, ~0u, ~0u}, {0}},
    {0x10, 0, {~0u, ~0u, ~0u, ~0u}, {0}},
    {0x12, 0, {~0u, ~0u, ~0u, ~0u}, {0}},
    {0x14, 0, {~0u, ~0u, ~0u, ~0u}, {0}},
    {0x80000001, 0, {~0u, ~0u, ~0x121u, ~0x2c100800u}, {0}},
    {0x80000005, 0, {~0u, ~0u, ~0u, ~0u}, {0}},
    {0x80000007, 0, {~0u, ~0u, ~0u, ~0x100u}, {0}},
    {0x40000001, 0, {~0u, ~0u, ~0u, ~0u}, {0}},
    {0x40000101, 0, {~0u, ~0u, ~0u, ~0u}, {0}},
};

static void check_rules(const struct cpuid_table *t, const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
        struct cpuid_regs r = cpuid_lookup(t, rules[i].leaf, rules[i].subleaf);
        const uint32_t *value = &r.eax, *never = &rules[i].never.eax,
                       *always = &rules[i].always.eax;
        for (unsigned j = 0; j < 4; j++)
            if ((value[j] & never[j]) || (value[j] & always[j]) != always[j])
                fail_msg("%s: leaf %x register %u is %08x, never %08x, always %08x", name,
                         rules[i].leaf, j, value[j], never[j], always[j]);
    }
}

/* Leaf 0Dh, written down again from the SDM's description of the XSAVE area. */
static void check_xsave(struct cpuid_table *t, uint64_t xcr0, const char *name)
{
    cpuid_set_xcr0(t, xcr0, 0);
    uint32_t standard = 576, compact = 576, most = 576;
    for (unsigned i = 2; i < 63; i++) {
        struct cpuid_regs r = cpuid_lookup(t, 0xd, i);
        if (!(t->xcr0_mask >> i & 1)) {
            assert_int_equal(r.eax | r.ebx | r.ecx | r.edx, 0);
            continue;
        }
        if (r.eax == 0 || r.ebx < 576)
            fail_msg("%s: component %u has no place", name, i);
        most = MAX(most, r.ebx + r.eax);
        if (xcr0 >> i & 1) {
            standard = MAX(standard, r.ebx + r.eax);
            compact = (r.ecx & 2 ? (compact + 63) / 64 * 64 : compact) + r.eax;
        }
    }
    struct cpuid_regs r0 = cpuid_lookup(t, 0xd, 0), r1 = cpuid_lookup(t, 0xd, 1);
    assert_int_equal((uint64_t)r0.edx << 32 | r0.eax, t->xcr0_mask);
    assert_int_equal(r0.ebx, standard);
    assert_int_equal(r0.ecx, most);
    assert_int_equal(r1.ebx, r1.eax & 0xa ? compact : 0);
    assert_int_equal(r1.ecx | r1.edx, 0);
}

static void test_every_model_is_coherent(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++) {
        static struct recorded m;
        struct cpuid_table t;
        read_model(models[i], &m);
        struct cpuid_inputs in = inputs(&m);
        cpuid_build(&t, &in, host_cpuid, &m);
        assert_true(t.used <= CPUID_ENTRIES);
        check_rules(&t, models[i]);

        struct cpuid_regs h, g = cpuid_lookup(&t, 0, 0);
        host_cpuid(&m, 0, 0, &h);
        assert_int_equal(g.eax, 0x16);
        assert_memory_equal(&g.ebx, &h.ebx, 12);
        host_cpuid(&m, 1, 0, &h);
        g = cpuid_lookup(&t, 1, 0);
        assert_int_equal(g.eax, h.eax);
        assert_int_equal(g.ebx & 0xffff, h.ebx & 0xffff);
        assert_int_equal(g.ecx & ~h.ecx & ~0x81200000, 0); /* nothing invented */
        assert_int_equal(g.edx & ~h.edx & ~0x1200, 0);
        for (unsigned leaf = 0x80000002; leaf <= 0x80000004; leaf++) {
            host_cpuid(&m, leaf, 0, &h);
            g = cpuid_lookup(&t, leaf, 0);
            assert_memory_equal(&g, &h, sizeof(g));
        }
        assert_int_equal(cpuid_lookup(&t, 0x80000000, 0).eax, 0x80000008);
        assert_int_equal(cpuid_lookup(&t, 0x80000008, 0).eax, 0x3028);

        /* features lean on each other */
        struct cpuid_regs one = cpuid_lookup(&t, 1, 0), seven = cpuid_lookup(&t, 7, 0);
        bool avx = t.xcr0_mask & 4, avx512 = t.xcr0_mask & 0x20;
        assert_true(avx == (one.ecx >> 28 & 1) || !avx);
        if (!avx) {
            assert_int_equal(one.ecx & 0x30001000, 0);
            assert_int_equal(seven.ebx & 0x20, 0);
        }
        if (!avx512)
            assert_int_equal(seven.ebx & 0xdc230000, 0);
        assert_int_equal((one.ecx >> 26 & 1), t.xcr0_mask != 0);
        assert_int_equal((seven.ecx >> 3 & 1), t.xcr0_mask >> 9 & 1);
        if (t.xcr0_mask) {
            check_xsave(&t, 1, models[i]);
            check_xsave(&t, 3, models[i]);
            check_xsave(&t, t.xcr0_mask & 7, models[i]);
            check_xsave(&t, t.xcr0_mask, models[i]);
        }
        assert_int_equal(t.efer_valid, 0xd01);
        assert_int_equal(t.cr4_valid >> 18 & 1, t.xcr0_mask != 0);
        assert_int_equal(t.cr4_valid >> 13 & 3, 0); /* VMXE, SMXE */
        assert_int_equal(t.cr4_valid >> 20 & 1, seven.ebx >> 7 & 1);
    }
}

static void test_unknown_bits_stay_hidden(void **state)
{
    struct cpuid_table t;
    struct cpuid_inputs in = {
        .tsc_hz = 3000000000, .vcpus = 255, .apic_id = 254, .xcr0 = ~0ULL, .physical_bits = 48};
    cpuid_build(&t, &in, all_ones, NULL);
    assert_true(t.used <= CPUID_ENTRIES);
    check_rules(&t, "all ones");
    assert_int_equal(t.xcr0_mask, 0x2e7);
    /* controls that VMX does not offer */
    assert_int_equal(cpuid_lookup(&t, 0x80000001, 0).edx & 1 << 27, 0);
    assert_int_equal(cpuid_lookup(&t, 7, 0).ebx & 1 << 10, 0);
    assert_int_equal(cpuid_lookup(&t, 7, 0).ecx & (1 << 5 | 1 << 22), 0);
    assert_int_equal(cpuid_lookup(&t, 0xd, 1).eax & 0xa, 0); /* XSAVES, XSAVEC */
    assert_int_equal(cpuid_lookup(&t, 7, 1).eax & ~0x00801c30u, 0);
    assert_int_equal(cpuid_lookup(&t, 0x80000008, 0).eax, 0x3030);
}

/* About speculation the guest is shown what is offered, where the processor has it. */
static void test_speculation(void **state)
{
    static struct recorded m;
    struct cpuid_table t;
    struct cpuid_inputs in = {.tsc_hz = 3000000000, .vcpus = 1, .physical_bits = 48};

    in.spec_features = in.spec_controls = ~0u;
    cpuid_build(&t, &in, all_ones, NULL);
    assert_true(t.used <= CPUID_ENTRIES);
    assert_int_equal(cpuid_lookup(&t, 7, 0).edx >> 24, 0xbc); /* not CORE_CAPABILITIES */
    assert_int_equal(cpuid_lookup(&t, 7, 0).eax, 2);
    assert_int_equal(cpuid_lookup(&t, 7, 2).edx, 0x3f);
    assert_int_equal(cpuid_lookup(&t, 7, 2).eax | cpuid_lookup(&t, 7, 2).ebx, 0);
    assert_int_equal(cpuid_lookup(&t, 7, 3).edx, 0);
    in.spec_features = 1u << 29;
    in.spec_controls = 0;
    cpuid_build(&t, &in, all_ones, NULL);
    assert_int_equal(cpuid_lookup(&t, 7, 0).edx >> 24, 0x20);
    assert_int_equal(cpuid_lookup(&t, 7, 0).eax, 1);
    assert_int_equal(cpuid_lookup(&t, 7, 2).edx, 0);
    /* Nothing is invented: Haswell has none, Sapphire Rapids its own. */
    read_model("corei7_haswell_4770", &m);
    in = inputs(&m);
    in.spec_features = in.spec_controls = ~0u;
    cpuid_build(&t, &in, host_cpuid, &m);
    assert_int_equal(cpuid_lookup(&t, 7, 0).edx >> 26, 0);
    read_model("sapphire_rapids_bochs31", &m);
    in = inputs(&m);
    in.spec_features = in.spec_controls = ~0u;
    cpuid_build(&t, &in, host_cpuid, &m);
    struct cpuid_regs h, g = cpuid_lookup(&t, 7, 2);
    host_cpuid(&m, 7, 2, &h);
    assert_int_equal(g.edx, h.edx & 0x3f);
}

/* --- leaves that Corbel makes
 * ------------------------------------------------------------------------------------- */

static struct recorded haswell;
static struct cpuid_table table;

static int build_haswell(void **state)
{
    read_model("corei7_haswell_4770", &haswell);
    struct cpuid_inputs in = inputs(&haswell);
    cpuid_build(&table, &in, host_cpuid, &haswell);
    return 0;
}

static void test_signatures(void **state)
{
    struct cpuid_regs r = cpuid_lookup(&table, 0x40000000, 0);
    assert_int_equal(r.eax, 0x40000010);
    assert_memory_equal(&r.ebx, "CorbelCorbel", 12);
    r = cpuid_lookup(&table, 0x40000100, 7);
    assert_int_equal(r.eax, 0x40000101);
    assert_memory_equal(&r.ebx, "KVMKVMKVM\0\0\0", 12);
}

/* Below KVM's signature: what is offered of its interfaces, and no hints. */
static void test_paravirtual_features(void **state)
{
    struct cpuid_inputs in = inputs(&haswell);
    struct cpuid_table t;
    in.pv = 0x01000008;
    cpuid_build(&t, &in, host_cpuid, &haswell);
    for (uint32_t subleaf = 0; subleaf < 3; subleaf++) {
        struct cpuid_regs r = cpuid_lookup(&t, 0x40000101, subleaf);
        assert_int_equal(r.eax, 0x01000008);
        assert_int_equal(r.ebx | r.ecx | r.edx, 0);
    }
    assert_int_equal(cpuid_lookup(&t, 0x40000100, 0).eax, 0x40000101);
    assert_int_equal(cpuid_lookup(&t, 0x40000001, 0).eax, 0);
    assert_int_equal(cpuid_lookup(&t, 0x16, 0).eax, 100);
}

static void test_out_of_range_gives_the_highest_basic_leaf(void **state)
{
    static const uint32_t beyond[] = {0x17,       0x1f,       0x20,       0x1000,
                                      0x40000011, 0x4000001f, 0x40000020, 0x40000102,
                                      0x40000200, 0x7fffffff, 0x80000009, 0x8000001f,
                                      0x80000020, 0x80860000, 0xc0000000, 0xffffffff};
    struct cpuid_regs top = cpuid_lookup(&table, 0x16, 0);
    assert_int_equal(top.eax, 100);
    for (unsigned i = 0; i < ARRAY_SIZE(beyond); i++)
        for (uint32_t subleaf = 0; subleaf < 3; subleaf++) {
            struct cpuid_regs r = cpuid_lookup(&table, beyond[i], subleaf);
            assert_memory_equal(&r, &top, sizeof(r));
        }
    /* a leaf without subleaves does not look at ECX */
    struct cpuid_regs a = cpuid_lookup(&table, 0, 0), b = cpuid_lookup(&table, 0, 0xdeadbeef);
    assert_memory_equal(&a, &b, sizeof(a));
    b = cpuid_lookup(&table, 4, 0xffffffff);
    assert_int_equal(b.eax | b.ebx | b.ecx | b.edx, 0);
}

static void test_clock(void **state)
{
    struct cpuid_regs r = cpuid_lookup(&table, 0x15, 0);
    assert_int_equal(r.eax, 1);
    assert_int_equal((uint64_t)r.ecx * r.ebx / r.eax, 100000000);
    assert_int_equal(r.ecx, 100000000 >> 4);
    r = cpuid_lookup(&table, 0x40000010, 0);
    assert_int_equal(r.eax, 100000);
    assert_int_equal(r.ebx, 6250);

    struct cpuid_inputs in = inputs(&haswell);
    in.tsc_hz = 5000000000;
    in.lapic_shift = 0; /* a crystal that 32 bits cannot say */
    struct cpuid_table t;
    cpuid_build(&t, &in, host_cpuid, &haswell);
    assert_int_equal(cpuid_lookup(&t, 0x15, 0).ecx, 0);
    assert_int_equal(cpuid_lookup(&t, 0x16, 0).eax, 5000);
}

static void test_topology(void **state)
{
    static const struct {
        unsigned vcpus, shift;
    } cases[] = {{1, 0}, {2, 1}, {3, 2}, {4, 2}, {5, 3}, {255, 8}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cpuid_inputs in = inputs(&haswell);
        struct cpuid_table t;
        in.vcpus = cases[i].vcpus;
        in.apic_id = cases[i].vcpus - 1;
        cpuid_build(&t, &in, host_cpuid, &haswell);
        struct cpuid_regs one = cpuid_lookup(&t, 1, 0), cache = cpuid_lookup(&t, 4, 0);
        assert_int_equal(one.ebx >> 24, in.apic_id);
        assert_int_equal(one.ebx >> 16 & 0xff, MIN(1u << cases[i].shift, 255u));
        assert_int_equal(one.edx >> 28 & 1, in.vcpus > 1);
        assert_int_equal(cache.eax >> 14 & 0xfff, 0); /* L1 is not shared */
        assert_int_equal(cache.eax >> 26, MIN((1u << cases[i].shift) - 1, 63u));
        cache = cpuid_lookup(&t, 4, 3);
        assert_int_equal(cache.eax >> 14 & 0xfff, (1u << cases[i].shift) - 1); /* L3 is */

        struct cpuid_regs smt = cpuid_lookup(&t, 0xb, 0), core = cpuid_lookup(&t, 0xb, 1);
        struct cpuid_regs none = cpuid_lookup(&t, 0xb, 0x107);
        assert_int_equal(smt.eax, 0);
        assert_int_equal(smt.ebx, 1);
        assert_int_equal(smt.ecx, 0x100);
        assert_int_equal(core.eax, cases[i].shift);
        assert_int_equal(core.ebx, in.vcpus);
        assert_int_equal(core.ecx, 0x201);
        assert_int_equal(none.eax | none.ebx, 0);
        assert_int_equal(none.ecx, 7);
        assert_int_equal(smt.edx, in.apic_id);
        assert_int_equal(none.edx, in.apic_id);
    }
}

static void test_mirrored_bits(void **state)
{
    struct cpuid_table t = table;
    assert_int_equal(cpuid_lookup(&t, 1, 0).ecx >> 27 & 1, 0);
    cpuid_set_cr4(&t, 1 << 18 | 1 << 22);
    assert_int_equal(cpuid_lookup(&t, 1, 0).ecx >> 27 & 1, 1);
    assert_int_equal(cpuid_lookup(&t, 7, 0).ecx >> 4 & 1, 1);
    cpuid_set_cr4(&t, 0);
    assert_int_equal(cpuid_lookup(&t, 1, 0).ecx >> 27 & 1, 0);
    assert_int_equal(cpuid_lookup(&t, 7, 0).ecx >> 4 & 1, 0);
    cpuid_set_apic_enabled(&t, false);
    assert_int_equal(cpuid_lookup(&t, 1, 0).edx >> 9 & 1, 0);
    cpuid_set_apic_enabled(&t, true);
    assert_memory_equal(&t, &table, sizeof(t));
}

static void test_misc_enable(void **state)
{
    const struct cpuid_table before = table;
    uint32_t max = cpuid_lookup(&table, 0, 0).eax;

    assert_true(cpuid_lookup(&table, 0x80000001, 0).edx & 1 << 20);
    cpuid_set_misc_enable(&table, 1 << 22);
    assert_int_equal(cpuid_lookup(&table, 0, 0).eax, 2);
    assert_int_equal(cpuid_lookup(&table, 0, 0).ebx, cpuid_lookup(&before, 0, 0).ebx);
    assert_true(cpuid_lookup(&table, 0x80000001, 0).edx & 1 << 20);
    cpuid_set_misc_enable(&table, 1ULL << 34);
    assert_int_equal(cpuid_lookup(&table, 0, 0).eax, max);
    assert_false(cpuid_lookup(&table, 0x80000001, 0).edx & 1 << 20);
    cpuid_set_misc_enable(&table, 1);
    assert_memory_equal(&table, &before, sizeof(table));
    table.efer_valid &= ~0x800ULL; /* without NX it does not come back */
    table.regs[table.slots[65].first].edx &= ~(1u << 20);
    cpuid_set_misc_enable(&table, 1);
    assert_false(cpuid_lookup(&table, 0x80000001, 0).edx & 1 << 20);
}

static void test_xcr0_rules(void **state)
{
    struct cpuid_table t = {.xcr0_mask = 0x2e7};
    static const uint64_t good[] = {1, 3, 7, 0xe7, 0x201, 0x2e7},
                          bad[] = {0, 2, 5, 0xe3, 0x27, 0xc7, 0x1b, 0x407, 1ULL << 63 | 1};
    for (unsigned i = 0; i < ARRAY_SIZE(good); i++)
        assert_true(cpuid_xcr0_valid(&t, good[i]));
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(cpuid_xcr0_valid(&t, bad[i]));
    t.xcr0_mask = 0; /* no XSAVE */
    assert_false(cpuid_xcr0_valid(&t, 1));
}

/* AVX's component, and then one that has to begin at a multiple of 64, as ZMM's do on some CPUs. */
static void odd_sizes(void *context, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    all_ones(context, leaf, subleaf, out);
    if (leaf == 0xd && subleaf == 1)
        out->eax = 0xf; /* XSAVEC among them */
    if (leaf == 0xd && subleaf >= 2)
        *out = (struct cpuid_regs){0x48, 0x240 + 0x80 * subleaf, subleaf & 1 ? 2 : 0, 0};
}

static void test_compacted_size(void **state)
{
    struct cpuid_inputs in = {.tsc_hz = 1000000000,
                              .vcpus = 1,
                              .xcr0 = 0x2e7,
                              .physical_bits = 39,
                              .xsaves = true,
                              .xsavec = true};
    struct cpuid_table t;
    cpuid_build(&t, &in, odd_sizes, NULL);
    assert_int_equal(t.xcr0_mask, 0x2e7);
    cpuid_set_xcr0(&t, 7, 0);
    assert_int_equal(cpuid_lookup(&t, 0xd, 1).ebx, 576 + 0x48);
    cpuid_set_xcr0(&t, 0xe7, 0); /* 2, 5 aligned, 6, 7 aligned */
    assert_int_equal(cpuid_lookup(&t, 0xd, 1).ebx, 576 + 0x80 + 0x48 + 0x48 + 0x30 + 0x48);
    assert_int_equal(cpuid_lookup(&t, 0xd, 0).ebx, 0x240 + 0x80 * 7 + 0x48);
}

/* A processor whose XSAVEC lays things out wrongly: the guest is not told that it has one. */
static void test_xsavec_is_hidden_where_it_errs(void **state)
{
    struct cpuid_inputs in = {
        .tsc_hz = 1000000000, .vcpus = 1, .xcr0 = 7, .physical_bits = 39, .xsavec = true};
    struct cpuid_table t;
    cpuid_build(&t, &in, odd_sizes, NULL);
    assert_true(cpuid_lookup(&t, 0xd, 1).eax & BIT(1));
    in.xsavec = false;
    cpuid_build(&t, &in, odd_sizes, NULL);
    assert_false(cpuid_lookup(&t, 0xd, 1).eax & BIT(1));
}

static void test_partial_avx512_is_none(void **state)
{
    struct cpuid_inputs in = {.tsc_hz = 1000000000, .vcpus = 1, .xcr0 = 0x67, .physical_bits = 39};
    struct cpuid_table t;
    cpuid_build(&t, &in, all_ones, NULL);
    assert_int_equal(t.xcr0_mask, 7);
    assert_int_equal(cpuid_lookup(&t, 7, 0).ebx & 0xdc230000, 0);
    in.xcr0 = 5; /* AVX without SSE */
    cpuid_build(&t, &in, all_ones, NULL);
    assert_int_equal(t.xcr0_mask, 1);
    in.xcr0 = 0;
    cpuid_build(&t, &in, all_ones, NULL);
    assert_int_equal(cpuid_lookup(&t, 0xd, 0).eax, 0);
    assert_int_equal(cpuid_lookup(&t, 1, 0).ecx & 0x34001000, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_model_is_coherent),
        cmocka_unit_test(test_unknown_bits_stay_hidden),
        cmocka_unit_test(test_speculation),
        cmocka_unit_test_setup(test_signatures, build_haswell),
        cmocka_unit_test_setup(test_paravirtual_features, build_haswell),
        cmocka_unit_test_setup(test_out_of_range_gives_the_highest_basic_leaf, build_haswell),
        cmocka_unit_test_setup(test_clock, build_haswell),
        cmocka_unit_test_setup(test_topology, build_haswell),
        cmocka_unit_test_setup(test_mirrored_bits, build_haswell),
        cmocka_unit_test_setup(test_misc_enable, build_haswell),
        cmocka_unit_test(test_xcr0_rules),
        cmocka_unit_test(test_compacted_size),
        cmocka_unit_test(test_xsavec_is_hidden_where_it_errs),
        cmocka_unit_test(test_partial_avx512_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
