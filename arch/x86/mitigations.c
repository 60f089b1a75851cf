#include "arch/x86/mitigations.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

#define STEP(symbol) ((uint32_t)BIT(MITIGATION_##symbol))
#define OPEN(symbol) ((uint32_t)BIT(OPENING_##symbol))

uint32_t mitigations_possible(const struct cpu_speculation *s)
{
    uint32_t possible = (uint32_t)BIT(MITIGATION_COUNT) - 1;

    if (!(s->features & FEATURE_IBRS))
        possible &= ~(STEP(IBRS) | STEP(EIBRS) | STEP(BHI_DIS) | STEP(IBPB));
    if (!(s->controls & CONTROL_BHI))
        possible &= ~STEP(BHI_DIS);
    if (!(s->features & FEATURE_L1D_FLUSH))
        possible &= ~STEP(L1D);
    if (!(s->capabilities & CAPABILITY_TSX_CTRL))
        possible &= ~STEP(TSX_OFF);
    return possible;
}

/* --- branches --- */

/*
 * What keeps a guest from choosing where the host's indirect branches go, for a moment. eIBRS keeps
 * the guest's predictions apart by itself, once it is on. Retpolines need nothing of the processor,
 * but where returns are predicted as other branches are (Skylake) they do not help; IBRS does.
 */
static void choose_branches(struct mitigations *m, const struct cpu_speculation *s, uint32_t errata,
                            uint32_t possible)
{
    if (!(errata & ERRATUM_SPECTRE_V2))
        return;
    if (s->capabilities & CAPABILITY_IBRS_ALL && possible & STEP(EIBRS)) {
        m->steps |= STEP(EIBRS);
    } else if (errata & ERRATUM_RETBLEED && possible & STEP(IBRS)) {
        m->steps |= STEP(IBRS);
    } else {
        m->steps |= STEP(RETPOLINE);
        if (errata & ERRATUM_RETBLEED)
            m->open |= OPEN(IBRS);
    }
    if (possible & STEP(IBPB))
        m->steps |= STEP(IBPB);
    else
        m->open |= OPEN(IBPB);
}

/*
 * Returns: what a guest has left in the return stack buffer the host does not use under eIBRS, but
 * for its first return where that is an erratum. Indirect branches behind eIBRS: the guest's branch
 * history still chooses among the host's own targets (BHI), and in the lower half of a line among
 * others, too (ITS). A retpoline does without either.
 */
static void choose_beyond(struct mitigations *m, uint32_t errata, uint32_t possible)
{
    if (!(errata & ERRATUM_SPECTRE_V2))
        return;
    if (!(m->steps & STEP(EIBRS))) {
        m->steps |= STEP(RSB_FILL);
        return;
    }
    if (errata & ERRATUM_BHI)
        m->steps |= possible & STEP(BHI_DIS) ? STEP(BHI_DIS) : STEP(BHI_CLEAR);
    if (errata & ERRATUM_ITS) {
        m->steps |= STEP(ALIGNED) | STEP(RSB_FILL);
        m->open |= OPEN(ITS);
    } else if (errata & ERRATUM_PBRSB) {
        m->steps |= STEP(RSB_ONE);
    }
}

/* --- data --- */

static bool stale_buffers(struct mitigations *m, bool affected, bool clearing, uint32_t open)
{
    if (affected && !clearing)
        m->open |= open;
    return affected && clearing;
}

/*
 * VERW clears buffers where the processor says that it does (for MMIO's also who has MD_CLEAR and
 * MDS), and so does flushing the L1D, but for the register file. Guests reach none of the machine's
 * MMIO, by which stale data would be read. They are not offered TSX: without it there is no TAA.
 */
static void choose_data(struct mitigations *m, const struct cpu_speculation *s, uint32_t errata,
                        uint32_t possible, bool mmio)
{
    bool md_clear = s->features & FEATURE_MD_CLEAR;
    bool fb_clear = s->capabilities & CAPABILITY_FB_CLEAR || (md_clear && errata & ERRATUM_MDS);
    bool buffers = false, registers;

    buffers |= stale_buffers(m, errata & ERRATUM_MDS, md_clear, OPEN(MDS));
    if (errata & ERRATUM_TAA && possible & STEP(TSX_OFF))
        m->steps |= STEP(TSX_OFF);
    else
        buffers |= stale_buffers(m, errata & ERRATUM_TAA, md_clear, OPEN(TAA));
    buffers |= stale_buffers(m, errata & ERRATUM_MMIO && mmio, fb_clear, OPEN(MMIO));
    registers = stale_buffers(m, errata & ERRATUM_RFDS, s->capabilities & CAPABILITY_RFDS_CLEAR,
                              OPEN(RFDS));
    if (errata & ERRATUM_L1TF && !(s->capabilities & CAPABILITY_SKIP_L1DFL)) {
        if (possible & STEP(L1D))
            m->steps |= STEP(L1D);
        else
            m->open |= OPEN(L1TF);
    }
    if (registers || (buffers && !(m->steps & STEP(L1D))))
        m->steps |= STEP(VERW);
}

/* What microcode does by itself, where there is such. */
static void look_at_microcode(struct mitigations *m, const struct cpu_speculation *s,
                              uint32_t errata)
{
    if (errata & ERRATUM_SRBDS &&
        (!(s->features & FEATURE_SRBDS_CTRL) || s->mcu_opt & MCU_OPT_RNGDS_OFF))
        m->open |= OPEN(SRBDS);
    if (errata & ERRATUM_GDS &&
        (!(s->capabilities & CAPABILITY_GDS_CTRL) || s->mcu_opt & MCU_OPT_GDS_OFF))
        m->open |= OPEN(GDS);
}

/* What a step makes of IA32_SPEC_CTRL in root mode. */
static uint64_t spec_ctrl_of(uint32_t steps)
{
    return (steps & (STEP(IBRS) | STEP(EIBRS)) ? SPEC_CTRL_IBRS : 0) |
           (steps & STEP(BHI_DIS) ? SPEC_CTRL_BHI_DIS_S : 0);
}

void mitigations_choose(struct mitigations *m, const struct cpu_speculation *s,
                        const struct mitigation_use *use)
{
    uint32_t errata = speculation_errata(s), possible = mitigations_possible(s) & use->possible;

    memset(m, 0, sizeof(*m));
    choose_branches(m, s, errata, possible);
    choose_beyond(m, errata, possible);
    choose_data(m, s, errata, possible, use->mmio);
    look_at_microcode(m, s, errata);
    /* Predictors, caches and buffers are a core's. */
    if (use->threads && errata & (ERRATUM_SPECTRE_V2 | ERRATUM_L1TF | ERRATUM_MDS | ERRATUM_TAA))
        m->open |= OPEN(SMT);
    m->spec_ctrl = spec_ctrl_of(m->steps);
}

uint32_t mitigations_off(struct mitigations *m)
{
    uint32_t steps = m->steps;

    m->steps = 0;
    m->spec_ctrl = 0;
    return steps;
}

const char *mitigations_refuse(const struct cpu_speculation *s, uint32_t steps)
{
    uint32_t lacks = steps & ~mitigations_possible(s);

    if (lacks & (STEP(IBRS) | STEP(EIBRS) | STEP(IBPB)))
        return "ibrs, eibrs and ibpb need IA32_SPEC_CTRL and IA32_PRED_CMD, which this processor "
               "lacks";
    if (lacks & STEP(BHI_DIS))
        return "bhi-dis needs BHI_DIS_S in IA32_SPEC_CTRL, which this processor lacks";
    if (lacks & STEP(L1D))
        return "l1d needs IA32_FLUSH_CMD, which this processor lacks";
    if (lacks & STEP(TSX_OFF))
        return "tsx-off needs IA32_TSX_CTRL, which this processor lacks";
    if (steps & STEP(RETPOLINE) && steps & STEP(ALIGNED))
        return "retpoline and aligned exclude each other";
    return NULL;
}

void mitigations_force(struct mitigations *m, uint32_t steps)
{
    if (steps & (STEP(RETPOLINE) | STEP(ALIGNED)))
        m->steps &= ~(STEP(RETPOLINE) | STEP(ALIGNED));
    m->steps |= steps;
    m->spec_ctrl = spec_ctrl_of(m->steps);
}

/* --- words --- */

static void list(char *text, size_t size, const char *const *words, unsigned count, uint32_t set)
{
    int used = 0;

    format(text, size, "nothing");
    for (unsigned i = 0; i < count && (size_t)used < size; i++)
        if (set & BIT(i))
            used += format(text + used, size - (size_t)used, "%s%s", used ? ", " : "", words[i]);
}

void mitigations_text(char *text, size_t size, uint32_t steps)
{
#define MITIGATION_WORDS(symbol, words) words,
    static const char *const words[] = {MITIGATION_LIST(MITIGATION_WORDS)};

    list(text, size, words, ARRAY_SIZE(words), steps);
}

void openings_text(char *text, size_t size, uint32_t open)
{
#define OPENING_WORDS(symbol, words) words,
    static const char *const words[] = {OPENING_LIST(OPENING_WORDS)};

    list(text, size, words, ARRAY_SIZE(words), open);
}
