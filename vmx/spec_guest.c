#include "vmx/spec_guest.h"

#include "arch/x86/lib/string.h"

/* True of the processor, and so of a VM on it. The others are about registers that guests do not
 * have, or about what guests cannot see. */
#define PASSED                                                                                     \
    (CAPABILITY_RDCL_NO | CAPABILITY_IBRS_ALL | CAPABILITY_RSBA | CAPABILITY_SKIP_L1DFL |          \
     CAPABILITY_SSB_NO | CAPABILITY_MDS_NO | CAPABILITY_PSCHANGE_NO | CAPABILITY_TAA_NO |          \
     CAPABILITY_SBDR_SSDP_NO | CAPABILITY_FBSDP_NO | CAPABILITY_PSDP_NO | CAPABILITY_FB_CLEAR |    \
     CAPABILITY_RRSBA | CAPABILITY_BHI_NO | CAPABILITY_PBRSB_NO | CAPABILITY_GDS_NO |              \
     CAPABILITY_RFDS_NO | CAPABILITY_RFDS_CLEAR | CAPABILITY_ITS_NO)

static uint64_t spec_ctrl_bits(const struct spec_guest *g)
{
    static const struct {
        uint32_t control;
        uint64_t bits;
    } rows[] = {
        {CONTROL_PSFD, SPEC_CTRL_PSFD},
        {CONTROL_IPRED, SPEC_CTRL_IPRED_DIS_U | SPEC_CTRL_IPRED_DIS_S},
        {CONTROL_RRSBA, SPEC_CTRL_RRSBA_DIS_U | SPEC_CTRL_RRSBA_DIS_S},
        {CONTROL_DDPD_U, SPEC_CTRL_DDPD_U},
        {CONTROL_BHI, SPEC_CTRL_BHI_DIS_S},
    };
    uint64_t bits = SPEC_CTRL_IBRS | SPEC_CTRL_STIBP; /* where there is no STIBP it does nothing */

    if (g->features & FEATURE_SSBD)
        bits |= SPEC_CTRL_SSBD;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        if (g->controls & rows[i].control)
            bits |= rows[i].bits;
    return bits;
}

/*
 * Who has to find out for himself whether microcode does its part would ask registers that guests
 * do not have; and a guest that sees a hypervisor takes it for one that may move it to another
 * model.
 */
static uint64_t known_to_be_done(const struct cpu_speculation *s, const struct mitigations *m)
{
    uint32_t errata = speculation_errata(s);
    uint64_t no = 0;

    if (!(errata & ERRATUM_GDS) || !(m->open & BIT(OPENING_GDS)))
        no |= CAPABILITY_GDS_NO;
    if (!(errata & ERRATUM_TAA) || m->steps & BIT(MITIGATION_TSX_OFF))
        no |= CAPABILITY_TAA_NO;
    if (!(errata & ERRATUM_ITS_INSIDE))
        no |= CAPABILITY_ITS_NO;
    return no;
}

void spec_guest_offer(struct spec_guest *g, const struct cpu_speculation *s,
                      const struct mitigations *m)
{
    memset(g, 0, sizeof(*g));
    g->features = s->features & SPEC_GUEST_FEATURES;
    if (g->features & FEATURE_IBRS) {
        g->controls = s->controls & SPEC_GUEST_CONTROLS;
        g->spec_ctrl = spec_ctrl_bits(g);
    } else { /* no register for what they are bits of */
        g->features &= ~(uint32_t)(FEATURE_STIBP | FEATURE_SSBD);
    }
    if (g->features & FEATURE_ARCH_CAPABILITIES)
        g->capabilities = (s->capabilities & PASSED) | known_to_be_done(s, m);
}

bool spec_guest_same(const struct spec_guest *a, const struct spec_guest *b)
{
    return a->features == b->features && a->controls == b->controls &&
           a->spec_ctrl == b->spec_ctrl && a->capabilities == b->capabilities;
}
