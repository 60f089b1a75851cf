#include "guest/cpu/msr.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "guest/cpu/msr_policy.h"

#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)

/* IA32_MISC_ENABLE: branch trace store and PEBS are not there; what is kept of a write. */
#define MISC_FAST_STRINGS BIT(0)
#define MISC_FIXED        (BIT(11) | BIT(12))
#define MISC_KEPT         (MISC_FAST_STRINGS | MISC_ENABLE_LIMIT_CPUID | MISC_ENABLE_NO_XD)

#define DEBUGCTL_LBR BIT(0)
#define DEBUGCTL_BTF BIT(1)

#define MTRR_WB       6
#define MTRR_ENABLE   BIT(11)
#define MTRR_FIXED_ON BIT(10)
#define MTRR_VALID    BIT(11) /* in a PHYSMASK */

void msr_reset(struct msr_state *s)
{
    memset(s, 0, sizeof(*s));
    /* As firmware leaves them: everything write-back but the VGA window (A0000h-BFFFFh, the third
     * register). */
    s->misc_enable = MISC_FIXED | MISC_FAST_STRINGS;
    s->mtrr_def_type = MTRR_ENABLE | MTRR_FIXED_ON | MTRR_WB;
    for (unsigned i = 0; i < MTRR_FIXED; i++)
        s->mtrr_fixed[i] = i == 2 ? 0 : MTRR_WB * 0x0101010101010101ULL;
}

/* --- MTRRs (SDM, "Memory Type Range Registers") --- */

static uint64_t *mtrr(struct msr_state *s, uint32_t msr)
{
    if (msr >= MSR_MTRR_PHYSBASE0 && msr < MSR_MTRR_PHYSBASE0 + 2 * MTRR_VARIABLE)
        return &s->mtrr_variable[msr - MSR_MTRR_PHYSBASE0];
    if (msr == MSR_MTRR_FIX64K_00000)
        return &s->mtrr_fixed[0];
    if (msr == MSR_MTRR_FIX16K_80000 || msr == MSR_MTRR_FIX16K_A0000)
        return &s->mtrr_fixed[1 + (msr - MSR_MTRR_FIX16K_80000)];
    if (msr >= MSR_MTRR_FIX4K_C0000 && msr < MSR_MTRR_FIX4K_C0000 + 8)
        return &s->mtrr_fixed[3 + (msr - MSR_MTRR_FIX4K_C0000)];
    return &s->mtrr_def_type;
}

/* UC, WC, WT, WP, WB. */
static bool type_valid(uint64_t type)
{
    return type < 8 && (0x73 >> type & 1);
}

static bool mtrr_valid(const struct msr_features *f, uint32_t msr, uint64_t value)
{
    if (msr == MSR_MTRR_DEF_TYPE)
        return type_valid(value & 0xff) && !(value & ~(MTRR_ENABLE | MTRR_FIXED_ON | 0xff));
    if (msr >= MSR_MTRR_FIX64K_00000) {
        for (unsigned i = 0; i < 64; i += 8)
            if (!type_valid(value >> i & 0xff))
                return false;
        return true;
    }
    if (value >> f->physical_bits)
        return false;
    if (msr & 1)
        return !(value & 0x7ff);
    return !(value & 0xf00) && type_valid(value & 0xff);
}

/* --- reading --- */

/* A guest that probes every MSR fills the list once and is quiet from then on. */
static int fault(struct msr_state *s, const struct msr_env *env, uint32_t msr, bool write,
                 uint64_t value)
{
    for (unsigned i = 0; i < s->reported_count; i++)
        if (s->reported[i] == msr)
            return -EINVAL;
    if (s->reported_count == MSR_REPORTED)
        return -EINVAL;
    s->reported[s->reported_count++] = msr;
    if (write)
        log_debug("%s: WRMSR %#x of %#llx raises #GP", env->name, msr, (unsigned long long)value);
    else
        log_debug("%s: RDMSR %#x raises #GP", env->name, msr);
    return -EINVAL;
}

/* Out of line, so that the others' way is what it was. */
static __attribute__((noinline)) int read_rare(struct msr_state *s, const struct msr_env *env,
                                               const struct msr_row *row, uint32_t msr,
                                               uint64_t *value)
{
    switch (row ? row->read : MSR_FAULT) {
    case MSR_SPECULATION:
        *value = env->spec_ctrl(env->context);
        return 0;
    case MSR_CAPABILITIES:
        *value = env->features.capabilities;
        return 0;
    default:
        return fault(s, env, msr, false, 0);
    }
}

int msr_read(struct msr_state *s, const struct msr_env *env, uint32_t msr, uint64_t *value)
{
    const struct msr_row *row = msr_find(&env->features, msr);

    switch (row ? row->read : MSR_FAULT) {
    case MSR_LAPIC:
        return env->lapic_read(env->context, msr, value);
    case MSR_CONSTANT:
        *value = row->value;
        return 0;
    case MSR_TIME:
        *value = msr == MSR_TSC ? env->tsc(env->context) : s->tsc_adjust;
        return 0;
    case MSR_MICROCODE:
        *value = (uint64_t)env->features.microcode << 32;
        return 0;
    case MSR_MTRR:
        *value = *mtrr(s, msr);
        return 0;
    case MSR_UMWAIT:
        *value = s->umwait_control;
        return 0;
    case MSR_ENABLES:
        *value = s->misc_enable;
        return 0;
    case MSR_PASS:
        if (msr == MSR_TSC) {
            *value = env->tsc(env->context);
            return 0;
        }
        return env->cpu_read(env->context, msr, value);
    case MSR_CPU:
        return env->cpu_read(env->context, msr, value);
    case MSR_PV:
        return env->pv_read(env->context, msr, value);
    default:
        return read_rare(s, env, row, msr, value);
    }
}

/* --- writing --- */

/* TSC_ADJUST holds the sum of all that was ever written on top of the TSC (SDM, "IA32_TSC_ADJUST
 * Register Support"). */
static int write_time(struct msr_state *s, const struct msr_env *env, uint32_t msr, uint64_t value)
{
    uint64_t delta = value - (msr == MSR_TSC ? env->tsc(env->context) : s->tsc_adjust);
    s->tsc_adjust += delta;
    env->tsc_add(env->context, delta);
    return 0;
}

/* SDM, "Extended Feature Enable Register": LME is fixed while paging is on; LMA is the processor's
 * to set. */
static int write_efer(const struct msr_state *s, const struct msr_env *env, uint64_t value)
{
    uint64_t old, valid = env->features.efer_valid;

    if (s->misc_enable & MISC_ENABLE_NO_XD)
        valid &= ~EFER_NXE;
    int error = env->cpu_read(env->context, MSR_EFER, &old);
    if (error)
        return error;
    if (value & ~valid)
        return -EINVAL;
    if (((value ^ old) & EFER_LME) && env->paging(env->context))
        return -EINVAL;
    return env->cpu_write(env->context, MSR_EFER, (value & ~EFER_LMA) | (old & EFER_LMA));
}

/*
 * SDM, "IA32_MISC_ENABLE": the limit of leaf 0 and NX's switch are there where there is something
 * to limit or to switch off; the former always is.
 */
static int write_misc_enable(struct msr_state *s, const struct msr_env *env, uint64_t value)
{
    if ((value & MISC_ENABLE_NO_XD) && !(env->features.efer_valid & EFER_NXE))
        return -EINVAL;
    s->misc_enable = MISC_FIXED | (value & MISC_KEPT);
    env->misc_enable(env->context, s->misc_enable);
    return 0;
}

/* The row is looked for again, so that the others' way is what it was. */
static __attribute__((noinline)) int write_rare(const struct msr_env *env, uint32_t msr,
                                                uint64_t value)
{
    if (msr_find(&env->features, msr)->write != MSR_SPECULATION)
        return -EINVAL;
    if (msr == MSR_SPEC_CTRL && (value & ~env->features.spec_ctrl))
        return -EINVAL;
    return env->spec_write(env->context, msr, value);
}

static int write_row(struct msr_state *s, const struct msr_env *env, const struct msr_row *row,
                     uint32_t msr, uint64_t value)
{
    switch (row->write) {
    case MSR_IGNORED:
        return 0;
    case MSR_ZERO:
        return value ? -EINVAL : 0;
    case MSR_TIME:
        return write_time(s, env, msr, value);
    case MSR_ENABLES:
        return write_misc_enable(s, env, value);
    case MSR_MODE:
        return write_efer(s, env, value);
    case MSR_DEBUG:
        if (value & ~(DEBUGCTL_LBR | DEBUGCTL_BTF))
            return -EINVAL;
        return env->cpu_write(env->context, msr, value & DEBUGCTL_BTF);
    case MSR_XSAVE_STATES:
        if (value & ~env->features.xss_valid)
            return -EINVAL;
        return env->cpu_write(env->context, msr, value);
    case MSR_MTRR:
        if (!mtrr_valid(&env->features, msr, value))
            return -EINVAL;
        *mtrr(s, msr) = value;
        return 0;
    case MSR_UMWAIT:
        if (value & ~0xfffffffdULL) /* bit 1 and the upper half are reserved */
            return -EINVAL;
        s->umwait_control = value;
        return 0;
    case MSR_PASS:
        return env->cpu_write(env->context, msr, value);
    case MSR_PV:
        return env->pv_write(env->context, msr, value);
    default:
        return write_rare(env, msr, value);
    }
}

/* Out of line, so that the local APIC's registers, which are written most, save no registers for
 * it. */
static __attribute__((noinline)) int write_other(struct msr_state *s, const struct msr_env *env,
                                                 uint32_t msr, uint64_t value)
{
    const struct msr_row *row = msr_find(&env->features, msr);
    if (!row || write_row(s, env, row, msr, value) != 0)
        return fault(s, env, msr, true, value);
    return 0;
}

int msr_write(struct msr_state *s, const struct msr_env *env, uint32_t msr, uint64_t value)
{
    if (LIKELY(msr == MSR_TSC_DEADLINE || (msr & ~0xffu) == MSR_X2APIC || msr == MSR_APIC_BASE))
        return env->lapic_write(env->context, msr, value);
    return write_other(s, env, msr, value);
}

/* --- saved state: one section --- */

void msr_save(const struct msr_state *s, struct state_writer *w)
{
    state_begin(w, "msr", 2);
    state_put_u64(w, s->tsc_adjust);
    state_put_u64(w, s->umwait_control);
    state_put_u64(w, s->mtrr_def_type);
    for (unsigned i = 0; i < ARRAY_SIZE(s->mtrr_fixed); i++)
        state_put_u64(w, s->mtrr_fixed[i]);
    for (unsigned i = 0; i < ARRAY_SIZE(s->mtrr_variable); i++)
        state_put_u64(w, s->mtrr_variable[i]);
    state_put_u64(w, s->misc_enable);
    state_end(w);
}

int msr_load(struct msr_state *s, const struct msr_features *f, struct state_reader *r)
{
    static const uint32_t fixed[MTRR_FIXED] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                               0x26b, 0x26c, 0x26d, 0x26e, 0x26f};
    struct msr_state loaded = {0};
    if (state_enter(r, "msr", 2))
        return -EBADMSG;
    loaded.tsc_adjust = state_get_u64(r);
    loaded.umwait_control = state_get_u64(r);
    loaded.mtrr_def_type = state_get_u64(r);
    bool valid = mtrr_valid(f, MSR_MTRR_DEF_TYPE, loaded.mtrr_def_type) &&
                 !(loaded.umwait_control & ~0xfffffffdULL);
    for (unsigned i = 0; i < ARRAY_SIZE(loaded.mtrr_fixed); i++) {
        loaded.mtrr_fixed[i] = state_get_u64(r);
        valid = valid && mtrr_valid(f, fixed[i], loaded.mtrr_fixed[i]);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(loaded.mtrr_variable); i++) {
        loaded.mtrr_variable[i] = state_get_u64(r);
        valid = valid && mtrr_valid(f, MSR_MTRR_PHYSBASE0 + i, loaded.mtrr_variable[i]);
    }
    loaded.misc_enable = state_get_u64(r);
    valid = valid && (loaded.misc_enable & ~MISC_KEPT) == MISC_FIXED &&
            (!(loaded.misc_enable & MISC_ENABLE_NO_XD) || f->efer_valid & EFER_NXE);
    if (state_leave(r) || !valid)
        return -EBADMSG;
    *s = loaded;
    return 0;
}
