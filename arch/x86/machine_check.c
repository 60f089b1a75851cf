#include "arch/x86/machine_check.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/percpu.h"
#include "arch/x86/trap.h"

#define CPUID_1_EDX_MCE BIT(7)
#define CPUID_1_EDX_MCA BIT(14)

static const struct mce_msrs msrs = {.read = rdmsr, .write = wrmsr};

static bool present; /* on one processor is on all */
static bool (*spare_page)(uint64_t page);
static char text[MACHINE_CHECK_TEXT] = "no bank says what it was";
static bool text_taken;            /* atomic: by the first processor that stops */
static unsigned corrected, unused; /* atomic: in banks that #MC has emptied */

bool machine_check_present(void)
{
    return present;
}

void machine_check_set_keeper(bool (*spare)(uint64_t page))
{
    spare_page = spare;
}

const char *machine_check_text(void)
{
    return text;
}

/* --- start --- */

static void tell_left(unsigned number, const struct mce_bank *bank)
{
    char line[MACHINE_CHECK_TEXT];

    mce_describe(number, bank, line, sizeof(line));
    log_warn("machine check from before the start, processor %u: %s", this_cpu()->number, line);
}

/* Firmware decides whether errors may be one processor's alone. */
static void allow_local(uint64_t cap)
{
    uint64_t control;

    if (cap & MCG_CAP_LMCE && rdmsr_safe(MSR_FEATURE_CONTROL, &control) &&
        control & FEATURE_CONTROL_LOCK && control & FEATURE_CONTROL_LMCE)
        (void)!wrmsr_safe(MSR_MCG_EXT_CTL, 1);
}

/* An emulator may lack any of them, whatever CPUID says. */
void machine_check_start(void)
{
    const unsigned both = CPUID_1_EDX_MCE | CPUID_1_EDX_MCA;
    struct mce_state s;
    uint64_t cap, probe;

    if ((cpuid(1, 0).edx & both) != both || !rdmsr_safe(MSR_MCG_CAP, &cap) ||
        !(cap & MCG_CAP_BANKS) || !rdmsr_safe(MSR_MCG_STATUS, &probe))
        return;
    for (unsigned i = 0; i < MIN(cap & MCG_CAP_BANKS, MCE_BANKS); i++)
        if (!rdmsr_safe(MSR_MCI_STATUS(i), &probe))
            return;
    mce_read(&s, &msrs);
    if (cap & MCG_CAP_CTL)
        (void)!wrmsr_safe(MSR_MCG_CTL, UINT64_MAX);
    for (unsigned i = 0; i < s.count; i++) {
        if (s.bank[i].status & MCI_STATUS_VAL)
            tell_left(i, &s.bank[i]);
        (void)!wrmsr_safe(MSR_MCI_CTL(i), UINT64_MAX);
        (void)!wrmsr_safe(MSR_MCI_STATUS(i), 0);
    }
    allow_local(cap);
    present = true;
}

/* --- when one strikes --- */

static void note_end(const struct mce_state *s, const struct mce_result *r)
{
    if (__atomic_exchange_n(&text_taken, true, __ATOMIC_ACQ_REL))
        return;
    if (r->worst >= 0)
        mce_describe((unsigned)r->worst, &s->bank[r->worst], text, sizeof(text));
}

struct mce_result machine_check_take(enum mce_where where)
{
    struct mce_state s = {0};
    struct mce_result r = {.stop = true, .worst = -1, .required = MCE_NO_PAGE};

    if (present) {
        mce_read(&s, &msrs);
        r = mce_decide(&s, where);
    }
    for (unsigned i = 0; i < r.optionals && !r.stop; i++)
        r.stop = !spare_page || !spare_page(r.optional[i]);
    if (r.stop) {
        note_end(&s, &r);
        return r;
    }
    __atomic_add_fetch(&corrected, r.corrected, __ATOMIC_RELAXED);
    __atomic_add_fetch(&unused, r.unused, __ATOMIC_RELAXED);
    mce_clear(&r, where, &msrs);
    return r;
}

bool machine_check_trap(void)
{
    return !machine_check_take(MCE_IN_ROOT).stop;
}

/* --- those that do not --- */

void machine_check_look(struct machine_check_look *out)
{
    struct mce_state s;

    mce_read(&s, &msrs);
    const struct mce_result r = mce_decide(&s, MCE_LOOK);
    mce_clear(&r, MCE_LOOK, &msrs);
    out->text[0] = '\0';
    if (r.corrected || r.unused)
        mce_describe((unsigned)r.worst, &s.bank[r.worst], out->text, sizeof(out->text));
    out->corrected = r.corrected + __atomic_exchange_n(&corrected, 0, __ATOMIC_RELAXED);
    out->unused = r.unused + __atomic_exchange_n(&unused, 0, __ATOMIC_RELAXED);
}
