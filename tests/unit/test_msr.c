/* links: guest/cpu/msr.c guest/cpu/msr_policy.c guest/board/state.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "guest/cpu/msr_policy.h"

/* --- a vCPU made of variables
 * ------------------------------------------------------------------------------------- */

struct fake {
    uint64_t tsc, efer, debugctl, other, misc_enable;
    bool paging;
    uint32_t lapic_msr, cpu_msr;
    uint64_t lapic_value, pv_value;
    unsigned log_lines;
};

#define SPEC_CTRL_BITS 0x407ULL

static struct fake fake;
static struct msr_state state;
static struct msr_env env;

void log_line(enum log_level level, const char *fmt, ...)
{
    assert_int_equal(level, LOG_DEBUG);
    fake.log_lines++;
}

static int lapic_get(void *context, uint32_t msr, uint64_t *value)
{
    ((struct fake *)context)->lapic_msr = msr;
    *value = 0x1234;
    return msr == MSR_X2APIC + 0x04 ? -EINVAL : 0;
}

static int lapic_put(void *context, uint32_t msr, uint64_t value)
{
    ((struct fake *)context)->lapic_msr = msr;
    ((struct fake *)context)->lapic_value = value;
    return msr == MSR_X2APIC + 0x04 ? -EINVAL : 0;
}

static uint64_t tsc(void *context)
{
    return ((struct fake *)context)->tsc;
}

static void tsc_add(void *context, uint64_t delta)
{
    ((struct fake *)context)->tsc += delta;
}

static uint64_t *cpu_slot(struct fake *f, uint32_t msr)
{
    f->cpu_msr = msr;
    return msr == MSR_EFER ? &f->efer : msr == MSR_DEBUGCTL ? &f->debugctl : &f->other;
}

static int cpu_get(void *context, uint32_t msr, uint64_t *value)
{
    *value = *cpu_slot(context, msr);
    return 0;
}

static int cpu_put(void *context, uint32_t msr, uint64_t value)
{
    *cpu_slot(context, msr) = value;
    return 0;
}

static void misc_enable(void *context, uint64_t value)
{
    ((struct fake *)context)->misc_enable = value;
}

/* One value is refused. */
static int pv_get(void *context, uint32_t msr, uint64_t *value)
{
    *value = ((struct fake *)context)->pv_value + msr;
    return 0;
}

static int pv_put(void *context, uint32_t msr, uint64_t value)
{
    if (value == 2)
        return -EINVAL;
    ((struct fake *)context)->pv_value = value - msr;
    return 0;
}

static uint64_t spec_ctrl(void *context)
{
    return *cpu_slot(context, MSR_SPEC_CTRL);
}

static bool paging(void *context)
{
    return ((struct fake *)context)->paging;
}

static int fresh(void **unused)
{
    memset(&fake, 0, sizeof(fake));
    msr_reset(&state);
    env = (struct msr_env){
        .name = "test",
        .context = &fake,
        .features = {.rdtscp = true,
                     .xsaves = true,
                     .waitpkg = true,
                     .efer_valid = 0xd01,
                     .physical_bits = 40,
                     .microcode = 0x28},
        .lapic_read = lapic_get,
        .lapic_write = lapic_put,
        .tsc = tsc,
        .tsc_add = tsc_add,
        .cpu_read = cpu_get,
        .cpu_write = cpu_put,
        .paging = paging,
        .misc_enable = misc_enable,
        .pv_read = pv_get,
        .pv_write = pv_put,
        .spec_ctrl = spec_ctrl,
        .spec_write = cpu_put,
    };
    return 0;
}

static uint64_t get(uint32_t msr)
{
    uint64_t value = 0xdead;
    assert_int_equal(msr_read(&state, &env, msr, &value), 0);
    return value;
}

static void put(uint32_t msr, uint64_t value)
{
    if (msr_write(&state, &env, msr, value))
        fail_msg("WRMSR %x of %llx faults", msr, (unsigned long long)value);
}

static void put_faults(uint32_t msr, uint64_t value)
{
    if (msr_write(&state, &env, msr, value) != -EINVAL)
        fail_msg("WRMSR %x of %llx does not fault", msr, (unsigned long long)value);
}

static void get_faults(uint32_t msr)
{
    uint64_t value;
    if (msr_read(&state, &env, msr, &value) != -EINVAL)
        fail_msg("RDMSR %x does not fault", msr);
}

/* --- the table
 * ----------------------------------------------------------------------------------------------------
 */

static void show_speculation(void)
{
    env.features.spec_ctrl = SPEC_CTRL_BITS;
    env.features.flush = env.features.has_capabilities = true;
    env.features.capabilities = 0x2b;
}

static void test_rows_are_sorted_and_give_reasons(void **unused)
{
    for (unsigned i = 0; i < msr_row_count; i++) {
        assert_true(msr_rows[i].first <= msr_rows[i].last);
        assert_true(i == 0 || msr_rows[i - 1].last < msr_rows[i].first);
        assert_true(strlen(msr_rows[i].reason) > 3);
        assert_ptr_equal(msr_find(&env.features, msr_rows[i].first), &msr_rows[i]);
        assert_ptr_equal(msr_find(&env.features, msr_rows[i].last), &msr_rows[i]);
    }
    assert_null(msr_find(&env.features, 2));
    assert_null(msr_find(&env.features, 0xffffffff));
    env.features = (struct msr_features){0};
    assert_null(msr_find(&env.features, MSR_TSC_AUX));
    assert_null(msr_find(&env.features, MSR_XSS));
    assert_null(msr_find(&env.features, MSR_UMWAIT_CONTROL));
}

static void test_what_is_hidden_faults(void **unused)
{
    static const uint32_t hidden[] = {
        MSR_SPEC_CTRL,
        MSR_PRED_CMD,
        MSR_ARCH_CAPABILITIES,
        MSR_FLUSH_CMD,
        MSR_TSX_CTRL,
        MSR_MISC_FEATURES_ENABLES,
        MSR_MPERF,
        MSR_APERF,
        MSR_PERF_STATUS,
        MSR_PERF_CTL,
        MSR_THERM_STATUS,
        MSR_MCG_CTL,
        MSR_MC0_CTL,
        MSR_PERF_GLOBAL_CTRL,
        0xc1,
        0x186,
        0x309,
        0x345,
        0x480,
        0x48b,
        0x491,
        0x606,
        0x610,
        0x611,
        0x1c9,
        0x3f1,
        0x570,
        0x4b564d00,
        0x4b564d01,
        0xc0000104,
        0xc0010015,
        0xc0010140,
        0x40000000,
        0x2000,
        0xffffffff,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(hidden); i++) {
        get_faults(hidden[i]);
        put_faults(hidden[i], 0);
    }
    assert_true(fake.log_lines <= MSR_REPORTED);
    unsigned lines = fake.log_lines;
    get_faults(MSR_SPEC_CTRL); /* said before */
    assert_int_equal(fake.log_lines, lines);
}

static void test_every_msr_number_is_survived(void **unused)
{
    for (uint64_t msr = 0; msr < 0x2000; msr++)
        for (unsigned high = 0; high < 2; high++) {
            uint32_t number = (uint32_t)msr + (high ? 0xc0000000 : 0);
            uint64_t value = 0;
            int error = msr_read(&state, &env, number, &value);
            assert_true(error == 0 || error == -EINVAL);
            error = msr_write(&state, &env, number, value);
            assert_true(error == 0 || error == -EINVAL);
            error = msr_write(&state, &env, number, ~0ULL);
            assert_true(error == 0 || error == -EINVAL);
        }
    assert_true(fake.log_lines <= MSR_REPORTED);
}

/* --- single MSRs
 * --------------------------------------------------------------------------------------------------
 */

static void test_constants(void **unused)
{
    assert_int_equal(get(MSR_FEATURE_CONTROL), 1);
    put_faults(MSR_FEATURE_CONTROL, 1);
    assert_int_equal(get(MSR_MTRRCAP), 0x508);
    put_faults(MSR_MTRRCAP, 0);
    assert_int_equal(get(MSR_MCG_CAP), 0);
    put(MSR_MCG_STATUS, 0);
    put_faults(MSR_MCG_STATUS, 1);
    put(MSR_BIOS_SIGN_ID, 0);
    assert_int_equal(get(MSR_BIOS_SIGN_ID), 0x28ULL << 32);
    put(0x79, 0x1000);
    get_faults(0x79);
    assert_int_equal(get(0x34), 0);
}

static void test_time(void **unused)
{
    fake.tsc = 1000;
    assert_int_equal(get(MSR_TSC), 1000);
    assert_int_equal(get(MSR_TSC_ADJUST), 0);
    put(MSR_TSC, 600);
    assert_int_equal(fake.tsc, 600);
    assert_int_equal((int64_t)get(MSR_TSC_ADJUST), -400);
    put(MSR_TSC_ADJUST, 0);
    assert_int_equal(fake.tsc, 1000);
    put(MSR_TSC_ADJUST, 1ULL << 63);
    assert_true(fake.tsc == (1ULL << 63) + 1000);
    put(MSR_TSC, ~0ULL);
    assert_true(fake.tsc == ~0ULL);
    put(MSR_TSC_ADJUST, 0);
    assert_int_equal(fake.tsc, 1000);
}

/* Fast strings, the limit of leaf 0 and NX's switch are kept; what else is written is not. */
static void test_misc_enable(void **unused)
{
    static const uint64_t kept[] = {0, BIT(0), BIT(22), BIT(34), BIT(0) | BIT(22) | BIT(34)};

    assert_int_equal(get(MSR_MISC_ENABLE), 0x1801);
    for (unsigned i = 0; i < ARRAY_SIZE(kept); i++) {
        put(MSR_MISC_ENABLE, kept[i] | BIT(18) | BIT(16) | BIT(3) | BIT(63));
        assert_int_equal(get(MSR_MISC_ENABLE), kept[i] | 0x1800);
        assert_int_equal(fake.misc_enable, kept[i] | 0x1800);
    }
    put(MSR_EFER, 0x101); /* NX is off now */
    put_faults(MSR_EFER, 0x901);
    put(MSR_MISC_ENABLE, 1);
    put(MSR_EFER, 0x901);
    msr_reset(&state);
    assert_int_equal(get(MSR_MISC_ENABLE), 0x1801);
    env.features.efer_valid = 0x501; /* no NX, and no switch */
    put_faults(MSR_MISC_ENABLE, BIT(34) | 1);
    assert_int_equal(get(MSR_MISC_ENABLE), 0x1801);
}

static void test_efer(void **unused)
{
    put(MSR_EFER, 0x901);
    assert_int_equal(fake.efer, 0x901);
    put_faults(MSR_EFER, 0x1901); /* SVME */
    put_faults(MSR_EFER, 1ULL << 32);
    fake.efer = 0xd01;
    fake.paging = true;
    put_faults(MSR_EFER, 0x801); /* LME while paging */
    put(MSR_EFER, 0xd01);
    put(MSR_EFER, 0x101); /* LMA stays, NXE goes */
    assert_int_equal(fake.efer, 0x501);
    fake.paging = false;
    fake.efer = 0x100;
    put(MSR_EFER, 0x500); /* LMA is not software's */
    assert_int_equal(fake.efer, 0x100);
    env.features.efer_valid = 0x501; /* no NX */
    put_faults(MSR_EFER, 0x800);
}

static void test_debugctl(void **unused)
{
    put(MSR_DEBUGCTL, 3);
    assert_int_equal(fake.debugctl, 2);
    assert_int_equal(get(MSR_DEBUGCTL), 2);
    put_faults(MSR_DEBUGCTL, 1 << 6);
    assert_int_equal(get(0x1db), 0);
}

static void test_mtrrs(void **unused)
{
    assert_int_equal(get(MSR_MTRR_DEF_TYPE), 0xc06);
    assert_true(get(0x250) == 0x0606060606060606);
    assert_int_equal(get(0x259), 0);
    static const uint32_t fixed[] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                     0x26b, 0x26c, 0x26d, 0x26e, 0x26f};
    for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++) {
        put(fixed[i], 0x0001040506060606 + ((uint64_t)(i & 1) << 56));
        put_faults(fixed[i], 0x0200000000000000); /* type 2 is reserved */
        put_faults(fixed[i], 0x07);
        put_faults(fixed[i], 0x80);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++)
        assert_true(get(fixed[i]) == 0x0001040506060606 + ((uint64_t)(i & 1) << 56));
    for (uint32_t i = 0; i < 16; i += 2) {
        put(0x200 + i, 0xff00000006 + ((uint64_t)i << 20));
        put(0x201 + i, 0xffc0000800);
        put_faults(0x200 + i, 0x102);
        put_faults(0x200 + i, 0x106);
        put_faults(0x200 + i, 1ULL << 40);
        put_faults(0x201 + i, 1);
        put_faults(0x201 + i, 0xffc0000c00);
        put_faults(0x201 + i, 1ULL << 63);
    }
    for (uint32_t i = 0; i < 16; i += 2) {
        assert_true(get(0x200 + i) == 0xff00000006 + ((uint64_t)i << 20));
        assert_true(get(0x201 + i) == 0xffc0000800);
    }
    get_faults(0x210);
    put(MSR_MTRR_DEF_TYPE, 0);
    put_faults(MSR_MTRR_DEF_TYPE, 0x1000);
    put_faults(MSR_MTRR_DEF_TYPE, 0x02);
    put_faults(MSR_MTRR_DEF_TYPE, 0x306);
    assert_int_equal(get(MSR_MTRR_DEF_TYPE), 0);
}

static void test_others(void **unused)
{
    put(MSR_UMWAIT_CONTROL, 0xfffffffd);
    put_faults(MSR_UMWAIT_CONTROL, 2);
    put_faults(MSR_UMWAIT_CONTROL, 1ULL << 32);
    assert_int_equal(get(MSR_UMWAIT_CONTROL), 0xfffffffd);
    put(MSR_XSS, 0);
    put_faults(MSR_XSS, 0x100);
    put(MSR_LSTAR, 0xffffffff81000000);
    assert_int_equal(fake.cpu_msr, MSR_LSTAR);
    assert_true(get(MSR_LSTAR) == 0xffffffff81000000);
    env.features.xsaves = env.features.rdtscp = env.features.waitpkg = false;
    put_faults(MSR_XSS, 0);
    put_faults(MSR_TSC_AUX, 0);
    get_faults(MSR_UMWAIT_CONTROL);
}

/* Each is there where CPUID shows it; what is reserved in the processor faults here, too. */
static void test_speculation(void **unused)
{
    show_speculation();
    for (unsigned i = 0; i < msr_spec_row_count; i++) {
        const struct msr_row *row = &msr_spec_rows[i];
        assert_int_equal(row->first, row->last);
        assert_true(strlen(row->reason) > 3);
        assert_ptr_equal(msr_find(&env.features, row->first), row);
    }
    fresh(NULL);
    env.features.spec_ctrl = SPEC_CTRL_BITS;
    put(MSR_SPEC_CTRL, SPEC_CTRL_BITS);
    assert_int_equal(fake.cpu_msr, MSR_SPEC_CTRL);
    assert_int_equal(get(MSR_SPEC_CTRL), SPEC_CTRL_BITS);
    for (unsigned bit = 0; bit < 64; bit++)
        if (!(SPEC_CTRL_BITS >> bit & 1))
            put_faults(MSR_SPEC_CTRL, BIT(bit));
    assert_int_equal(fake.other, SPEC_CTRL_BITS);
    put(MSR_PRED_CMD, 1);
    assert_int_equal(fake.cpu_msr, MSR_PRED_CMD);
    get_faults(MSR_PRED_CMD);
    put_faults(MSR_FLUSH_CMD, 1);
    get_faults(MSR_ARCH_CAPABILITIES);
    show_speculation();
    put(MSR_FLUSH_CMD, 1);
    assert_int_equal(fake.cpu_msr, MSR_FLUSH_CMD);
    get_faults(MSR_FLUSH_CMD);
    assert_int_equal(get(MSR_ARCH_CAPABILITIES), 0x2b);
    put_faults(MSR_ARCH_CAPABILITIES, 0x2b);
}

/* KVM's: each is there where its interface is offered, and never without an exit. */
static void test_paravirtual_msrs(void **unused)
{
    uint8_t bitmap[4096];

    for (unsigned i = 0; i < msr_pv_row_count; i++) {
        const struct msr_row *row = &msr_pv_rows[i];
        assert_true(row->first <= row->last && row->first >> 8 == 0x4b564d);
        assert_true(i == 0 || msr_pv_rows[i - 1].last < row->first);
        assert_true(strlen(row->reason) > 3);
        assert_int_equal(row->value & (row->value - 1), 0);
        env.features.pv = ~(uint32_t)row->value;
        assert_null(msr_find(&env.features, row->first));
        get_faults(row->last);
        put_faults(row->last, 0);
        env.features.pv = (uint32_t)row->value;
        for (uint32_t msr = row->first; msr <= row->last; msr++) {
            assert_ptr_equal(msr_find(&env.features, msr), row);
            put(msr, 0x123456);
            assert_int_equal(get(msr), 0x123456);
            put_faults(msr, 2);
        }
    }
    env.features.pv = ~0u;
    get_faults(0x4b564cff);
    get_faults(0x4b564d02); /* asynchronous page faults */
    get_faults(0x4b564d08);
    msr_bitmap_build(bitmap, &env.features);
    env.features.pv = 0;
    uint8_t without[4096];
    msr_bitmap_build(without, &env.features);
    assert_memory_equal(bitmap, without, sizeof(bitmap));
}

static void test_local_apic_msrs_reach_it(void **unused)
{
    static const uint32_t its[] = {MSR_APIC_BASE, MSR_TSC_DEADLINE, 0x800, 0x80b, 0x830, 0x83f,
                                   0x8ff};
    for (unsigned i = 0; i < ARRAY_SIZE(its); i++) {
        fake.lapic_msr = 0;
        put(its[i], 77 + i);
        assert_int_equal(fake.lapic_msr, its[i]);
        assert_int_equal(fake.lapic_value, 77 + i);
        fake.lapic_msr = 0;
        assert_int_equal(get(its[i]), 0x1234);
        assert_int_equal(fake.lapic_msr, its[i]);
    }
    put_faults(0x804, 0);
    get_faults(0x804);
    get_faults(0x900);
    put_faults(0x7ff, 0);
}

/* --- saved state
 * --------------------------------------------------------------------------------------------------
 */

static void test_save_and_load(void **unused)
{
    uint8_t data[1024];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    put(MSR_TSC_ADJUST, 42);
    put(0x204, 0x80000001);
    put(0x26f, 0x0505050505050505);
    put(MSR_UMWAIT_CONTROL, 0x100);
    put(MSR_MISC_ENABLE, BIT(22));
    msr_save(&state, &w);
    assert_true(w.used <= sizeof(data));

    struct msr_state loaded, before;
    memset(&loaded, 0x55, sizeof(loaded));
    struct state_reader r = {.data = data, .size = w.used};
    assert_int_equal(msr_load(&loaded, &env.features, &r), 0);
    assert_memory_equal(&loaded, &state, sizeof(state));

    /* A load that fails leaves things as they were: cut short at every length, and with values that
     * the registers do not take. */
    before = loaded;
    for (size_t size = 0; size < w.used; size++) {
        uint8_t *cut = malloc(size);
        assert_true(cut || size == 0);
        if (size)
            memcpy(cut, data, size);
        r = (struct state_reader){.data = cut, .size = size};
        assert_int_equal(msr_load(&loaded, &env.features, &r), -EBADMSG);
        free(cut);
    }
    /* a type that is none in each kind of MTRR, a mask's reserved bit, a bit of UMWAIT_CONTROL, two
     * of MISC_ENABLE */
    static const struct {
        uint8_t at, value;
    } bad[] = {{16, 0x02},  {24, 0x02},  {24 + 8 * 10 + 7, 0x07},
               {112, 0x02}, {120, 0x01}, {8, 0x02},
               {241, 0x10}, {242, 0x04}};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        uint8_t good = data[24 + bad[i].at];
        data[24 + bad[i].at] = bad[i].value;
        r = (struct state_reader){.data = data, .size = w.used};
        assert_int_equal(msr_load(&loaded, &env.features, &r), -EBADMSG);
        assert_memory_equal(&loaded, &before, sizeof(before));
        data[24 + bad[i].at] = good;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_rows_are_sorted_and_give_reasons, fresh),
        cmocka_unit_test_setup(test_what_is_hidden_faults, fresh),
        cmocka_unit_test_setup(test_every_msr_number_is_survived, fresh),
        cmocka_unit_test_setup(test_constants, fresh),
        cmocka_unit_test_setup(test_time, fresh),
        cmocka_unit_test_setup(test_misc_enable, fresh),
        cmocka_unit_test_setup(test_efer, fresh),
        cmocka_unit_test_setup(test_debugctl, fresh),
        cmocka_unit_test_setup(test_mtrrs, fresh),
        cmocka_unit_test_setup(test_others, fresh),
        cmocka_unit_test_setup(test_speculation, fresh),
        cmocka_unit_test_setup(test_paravirtual_msrs, fresh),
        cmocka_unit_test_setup(test_local_apic_msrs_reach_it, fresh),
        cmocka_unit_test_setup(test_save_and_load, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
