/* See needs.h. */
#include "guest/cpu/needs.h"

#include "arch/x86/errata.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

#define SECTION "cpu"
#define VERSION 2

/* Of IA32_ARCH_CAPABILITIES: all others promise something. */
#define WARNINGS (uint64_t)(CAPABILITY_RSBA | CAPABILITY_RRSBA)

#define FEATURES_MAX 256u /* words of features in a stream */
#define COMPONENTS   64u  /* of XCR0 */
#define PART_PER     1000 /* so many parts of a TSC's rate make none a difference */

void needs_save(const struct cpu_has *has, struct state_writer *w)
{
    const struct cpuid_table *t = has->cpuid;
    struct cpuid_feature f;
    uint32_t count = 0;

    for (unsigned n = 0; cpuid_next_feature(t, &n, &f);)
        count++;
    state_begin(w, SECTION, VERSION);
    state_put_u64(w, has->tsc_hz);
    state_put_u32(w, (uint32_t)has->fpu_size);
    state_put_u32(w, t->physical_bits);
    state_put_u64(w, t->xcr0_mask);
    state_put_u64(w, t->cr4_valid);
    state_put_u64(w, t->efer_valid);
    state_put_u64(w, has->capabilities);
    state_put_u32(w, count);
    for (unsigned n = 0; cpuid_next_feature(t, &n, &f);) {
        state_put_u32(w, f.leaf);
        state_put_u8(w, f.subleaf);
        state_put_u8(w, f.reg);
        state_put_u32(w, f.bits);
    }
    for (unsigned i = 2; i < COMPONENTS; i++) {
        if (!(t->xcr0_mask >> i & 1))
            continue;
        struct cpuid_regs r = cpuid_lookup(t, 0xd, i);
        state_put_u32(w, r.eax);
        state_put_u32(w, r.ebx);
    }
    state_end(w);
}

static int lacks(char *error, const char *fmt, ...) PRINTF(2, 3);

/* The first thing counts. */
static int lacks(char *error, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    if (!error[0])
        vformat(error, NEEDS_ERROR, fmt, args);
    va_end(args);
    return -EBADMSG;
}

static void check_bits(const char *what, uint64_t wanted, uint64_t has, char *error)
{
    if (wanted & ~has)
        (void)lacks(error, "needs bits of %s that this processor does not have: %lx", what,
                    wanted & ~has);
}

static bool same_register(const struct cpuid_feature *a, const struct cpuid_feature *b)
{
    return a->leaf == b->leaf && a->subleaf == b->subleaf && a->reg == b->reg;
}

static void check_feature(const struct cpuid_table *t, const struct cpuid_feature *wanted,
                          char *error)
{
    static const char *const regs[] = {"EAX", "EBX", "ECX", "EDX"};
    struct cpuid_regs r = cpuid_lookup(t, wanted->leaf, wanted->subleaf);
    const uint32_t value[] = {r.eax, r.ebx, r.ecx, r.edx};
    const char *words = "unknown to this Corbel";
    uint32_t missing = wanted->bits;
    struct cpuid_feature f;

    if (wanted->reg > 3) {
        (void)lacks(error, "names a register that CPUID does not have");
        return;
    }
    if (cpuid_slot(t, wanted->leaf)->last >= wanted->subleaf)
        missing &= ~value[wanted->reg];
    if (!missing) /* nearly always */
        return;
    for (unsigned n = 0; cpuid_next_feature(t, &n, &f);)
        if (same_register(&f, wanted))
            missing &= ~f.bits;
    for (unsigned n = 0; missing && cpuid_next_feature(t, &n, &f);)
        if (same_register(&f, wanted) && (f.row & missing))
            words = f.words;
    if (missing)
        (void)lacks(error, "needs what this processor does not have: CPUID %x.%u %s, bits %x (%s)",
                    wanted->leaf, wanted->subleaf, regs[wanted->reg], missing, words);
}

static void check_features(const struct cpuid_table *t, struct state_reader *r, char *error)
{
    uint32_t count = state_get_u32(r);

    if (count > FEATURES_MAX)
        (void)lacks(error, "names more of a processor than there can be");
    for (uint32_t i = 0; i < MIN(count, FEATURES_MAX); i++) {
        struct cpuid_feature f = {.leaf = state_get_u32(r)};

        f.subleaf = state_get_u8(r);
        f.reg = state_get_u8(r);
        f.bits = state_get_u32(r);
        check_feature(t, &f, error);
    }
}

/* Where each state is in an XSAVE area, the guest has been told. */
static void check_layout(const struct cpuid_table *t, uint64_t xcr0, struct state_reader *r,
                         char *error)
{
    for (unsigned i = 2; i < COMPONENTS; i++) {
        if (!(xcr0 >> i & 1))
            continue;
        struct cpuid_regs here = cpuid_lookup(t, 0xd, i);
        uint32_t size = state_get_u32(r), offset = state_get_u32(r);
        if (here.eax != size || here.ebx != offset)
            (void)lacks(error,
                        "has state %u of the FPU with %u bytes at %u, which this processor has "
                        "with %u at %u",
                        i, size, offset, here.eax, here.ebx);
    }
}

int needs_check(const struct cpu_has *has, struct state_reader *r, char *error)
{
    const struct cpuid_table *t = has->cpuid;
    uint64_t hz, xcr0, cr4, efer, capabilities, apart;
    uint32_t fpu, bits;

    error[0] = '\0';
    if (state_enter(r, SECTION, VERSION) < 0)
        return lacks(error, "does not say what processor it needs");
    hz = state_get_u64(r);
    fpu = state_get_u32(r);
    bits = state_get_u32(r);
    xcr0 = state_get_u64(r);
    cr4 = state_get_u64(r);
    efer = state_get_u64(r);
    capabilities = state_get_u64(r);
    check_features(t, r, error);
    check_bits("XCR0", xcr0, t->xcr0_mask, error);
    check_bits("CR4", cr4, t->cr4_valid, error);
    check_bits("EFER", efer, t->efer_valid, error);
    check_bits("IA32_ARCH_CAPABILITIES", capabilities & ~WARNINGS, has->capabilities, error);
    if (has->capabilities & ~capabilities & WARNINGS)
        (void)lacks(error,
                    "was not told of bits of IA32_ARCH_CAPABILITIES that this processor has: %lx",
                    has->capabilities & ~capabilities & WARNINGS);
    check_layout(t, xcr0, r, error);
    if (bits > t->physical_bits)
        (void)lacks(error, "needs physical addresses of %u bits, and this processor has %u", bits,
                    t->physical_bits);
    if (fpu != has->fpu_size)
        (void)lacks(error, "has %u bytes of FPU, and this processor's has %lu", fpu, has->fpu_size);
    apart = hz > has->tsc_hz ? hz - has->tsc_hz : has->tsc_hz - hz;
    if (apart > has->tsc_hz / PART_PER)
        (void)lacks(error, "needs a TSC of %lu kHz, and this processor's has %lu kHz", hz / 1000,
                    has->tsc_hz / 1000);
    if (state_leave(r) < 0)
        return lacks(error, "does not say as it should what processor it needs");
    return error[0] ? -EBADMSG : 0;
}
