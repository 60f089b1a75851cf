#include "arch/x86/errata.h"

#include "arch/x86/lib/cpu_id.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/msr.h"

#define CORE_TYPE_ATOM 0x20u

/*
 * Silicon has microcode, which firmware has loaded, or at least (without it) a clock that is a
 * multiple of another; below a hypervisor there is some silicon, too. An emulator has nothing of
 * that, as long as it does not mean to be mistaken for more.
 */
static bool is_emulated(const struct speculation_probe *probe, bool hypervisor)
{
    uint64_t info = 0;

    return !hypervisor && !probe->microcode &&
           (!probe->rdmsr(probe->ctx, MSR_PLATFORM_INFO, &info) || !(info >> 8 & 0xff));
}

/* Whether IA32_SPEC_CTRL keeps what is written: emulators may show its bits in CPUID, and lack it.
 */
static bool has_spec_ctrl(const struct speculation_probe *probe)
{
    uint64_t before, kept;

    return probe->rdmsr(probe->ctx, MSR_SPEC_CTRL, &before) &&
           probe->wrmsr(probe->ctx, MSR_SPEC_CTRL, before ^ SPEC_CTRL_IBRS) &&
           probe->rdmsr(probe->ctx, MSR_SPEC_CTRL, &kept) &&
           probe->wrmsr(probe->ctx, MSR_SPEC_CTRL, before) && kept == (before ^ SPEC_CTRL_IBRS);
}

/* Of what CPUID shows, that which is there. */
static void find_msrs(struct cpu_speculation *s, const struct speculation_probe *probe)
{
    if (s->features & FEATURE_IBRS &&
        (!has_spec_ctrl(probe) || !probe->wrmsr(probe->ctx, MSR_PRED_CMD, 0)))
        s->features &= ~(uint32_t)FEATURE_IBRS;
    if (s->features & FEATURE_L1D_FLUSH && !probe->wrmsr(probe->ctx, MSR_FLUSH_CMD, 0))
        s->features &= ~(uint32_t)FEATURE_L1D_FLUSH;
    if (s->features & FEATURE_ARCH_CAPABILITIES &&
        !probe->rdmsr(probe->ctx, MSR_ARCH_CAPABILITIES, &s->capabilities)) {
        s->capabilities = 0;
        s->features &= ~(uint32_t)FEATURE_ARCH_CAPABILITIES;
    }
    if (!(s->features & FEATURE_SRBDS_CTRL || s->capabilities & CAPABILITY_GDS_CTRL) ||
        !probe->rdmsr(probe->ctx, MSR_MCU_OPT_CTRL, &s->mcu_opt))
        s->mcu_opt = 0;
}

void speculation_read(struct cpu_speculation *s, const struct speculation_probe *probe)
{
    struct cpu_id id;
    uint32_t max[4], r[4];

    memset(s, 0, sizeof(*s));
    cpu_identify(&id, probe->cpuid, probe->ctx);
    s->intel = memcmp(id.vendor, "GenuineIntel", 12) == 0;
    s->family = id.family;
    s->model = id.model;
    s->stepping = id.stepping;
    probe->cpuid(probe->ctx, 0, 0, max);
    probe->cpuid(probe->ctx, 1, 0, r);
    s->random = r[2] & BIT(30);
    s->avx = r[2] & BIT(28);
    s->emulated = is_emulated(probe, r[2] & BIT(31));
    if (max[0] >= 7) {
        probe->cpuid(probe->ctx, 7, 0, r);
        s->random |= (r[1] & BIT(18)) != 0;
        s->tsx = r[1] & BIT(11);
        s->features = r[3];
        if (r[0] >= 2) {
            probe->cpuid(probe->ctx, 7, 2, r);
            s->controls = r[3];
        }
    }
    if (max[0] >= 0xb) {
        probe->cpuid(probe->ctx, 0xb, 0, r);
        s->thread_bits = r[0] & 31;
    }
    if (max[0] >= 0x1a) {
        probe->cpuid(probe->ctx, 0x1a, 0, r);
        s->small_core = r[0] >> 24 == CORE_TYPE_ATOM;
    }
    find_msrs(s, probe);
}

/* --- by model --- */

#define SPECTRE  ERRATUM_SPECTRE_V2
#define RETB     ERRATUM_RETBLEED
#define ITS      (ERRATUM_ITS | ERRATUM_ITS_INSIDE)
#define ITSI     ERRATUM_ITS_INSIDE
#define PBRSB    ERRATUM_PBRSB
#define L1TF     ERRATUM_L1TF
#define MDS      ERRATUM_MDS
#define MMIO     ERRATUM_MMIO
#define RFDS     ERRATUM_RFDS
#define SRBDS    ERRATUM_SRBDS
#define GDS      ERRATUM_GDS
#define SSB      ERRATUM_SSB
#define VMS      ERRATUM_VMSCAPE
#define IN_ORDER (SPECTRE | PBRSB | L1TF | MDS | SSB | ERRATUM_TAA | ERRATUM_BHI)

/*
 * Family 6. Some errata are of the models that are listed with them, all others of every model that
 * does not deny them in IA32_ARCH_CAPABILITIES, but for those that are listed as being without. The
 * first row that fits counts. MMIO rows: with RDRAND or RDSEED some of them have the shared-buffer
 * variant, which SRBDS' microcode sees to as well.
 */
static const struct model_row {
    uint8_t model, last_stepping;
    bool small_core; /* only these of a hybrid */
    uint32_t has, lacks;
} models[] = {
    /* in order: nothing is speculated */
    {0x1c, 15, false, 0, IN_ORDER}, /* Bonnell */
    {0x26, 15, false, 0, IN_ORDER},
    {0x27, 15, false, 0, IN_ORDER}, /* Saltwell */
    {0x35, 15, false, 0, IN_ORDER},
    {0x36, 15, false, 0, IN_ORDER},
    /* Silvermont, Airmont, Knights */
    {0x37, 15, false, 0, SSB | L1TF},
    {0x4a, 15, false, 0, SSB | L1TF},
    {0x4d, 15, false, 0, SSB | L1TF},
    {0x4c, 15, false, 0, SSB | L1TF},
    {0x5a, 15, false, 0, L1TF},
    {0x75, 15, false, 0, L1TF},
    {0x57, 15, false, 0, SSB | L1TF},
    {0x85, 15, false, 0, SSB | L1TF},
    /* Goldmont, Goldmont Plus, Tremont, Gracemont, Crestmont */
    {0x5c, 15, false, RFDS, MDS | L1TF},
    {0x5f, 15, false, RFDS, MDS | L1TF},
    {0x7a, 15, false, RFDS, MDS | L1TF | PBRSB},
    {0x86, 15, false, MMIO | RFDS, PBRSB},
    {0x96, 15, false, MMIO | SRBDS | RFDS, PBRSB},
    {0x9c, 15, false, MMIO | SRBDS | RFDS, PBRSB},
    {0xbe, 15, false, RFDS | VMS, 0},
    {0xaf, 15, false, VMS, 0},
    /* Sandy Bridge, Ivy Bridge, Haswell, Broadwell; Nehalem and Westmere are with the others */
    {0x2a, 15, false, VMS, 0},
    {0x2d, 15, false, VMS, 0},
    {0x3a, 15, false, SRBDS | VMS, 0},
    {0x3e, 15, false, VMS, 0},
    {0x3c, 15, false, SRBDS | VMS, 0},
    {0x45, 15, false, SRBDS | VMS, 0},
    {0x46, 15, false, SRBDS | VMS, 0},
    {0x3f, 15, false, MMIO | VMS, 0},
    {0x3d, 15, false, SRBDS | VMS, 0},
    {0x47, 15, false, SRBDS | VMS, 0},
    {0x4f, 15, false, MMIO | VMS, 0},
    {0x56, 15, false, MMIO | VMS, 0},
    /* Skylake, Cascade Lake (from stepping 6 on), Kaby and Coffee Lake, Cannon Lake, Comet Lake */
    {0x55, 5, false, MMIO | RETB | GDS | VMS, 0},
    {0x55, 15, false, MMIO | RETB | GDS | ITS | VMS, 0},
    {0x4e, 15, false, MMIO | RETB | GDS | SRBDS | VMS, 0},
    {0x5e, 15, false, MMIO | RETB | GDS | SRBDS | VMS, 0},
    {0x8e, 11, false, MMIO | RETB | GDS | SRBDS | VMS, 0},
    {0x8e, 15, false, MMIO | RETB | GDS | SRBDS | ITS | VMS, 0},
    {0x9e, 12, false, MMIO | RETB | GDS | SRBDS | VMS, 0},
    {0x9e, 15, false, MMIO | RETB | GDS | SRBDS | ITS | VMS, 0},
    {0x66, 15, false, RETB | VMS, 0},
    {0xa5, 15, false, MMIO | RETB | GDS | SRBDS | ITS | VMS, 0},
    {0xa6, 0, false, MMIO | RETB | ITS | VMS, 0},
    {0xa6, 15, false, MMIO | RETB | GDS | SRBDS | ITS | VMS, 0},
    /* Ice Lake, Tiger Lake, Rocket Lake, Lakefield: their ITS does not cross VM exits */
    {0x7e, 15, false, MMIO | RETB | GDS | SRBDS | ITSI, 0},
    {0x6a, 15, false, MMIO | GDS | ITSI, 0},
    {0x6c, 15, false, MMIO | GDS | ITSI, 0},
    {0x8c, 15, false, GDS | ITSI, 0},
    {0x8d, 15, false, GDS | ITSI, 0},
    {0xa7, 15, false, MMIO | RETB | GDS | ITSI, 0},
    {0x8a, 15, false, MMIO | RETB | SRBDS, 0},
    /* Alder Lake, Raptor Lake, Meteor Lake, Arrow Lake, Lunar Lake */
    {0x97, 15, true, RFDS | VMS, 0},
    {0x97, 15, false, VMS, 0},
    {0x9a, 15, false, RFDS | VMS, 0},
    {0xb7, 15, true, RFDS | VMS, 0},
    {0xb7, 15, false, VMS, 0},
    {0xba, 15, false, RFDS | VMS, 0},
    {0xbf, 15, false, RFDS | VMS, 0},
    {0xaa, 15, false, VMS, 0},
    {0xc5, 15, false, VMS, 0},
    {0xc6, 15, false, VMS, 0},
    {0xb5, 15, false, VMS, 0},
    {0xbd, 15, false, VMS, 0},
    /* Sapphire Rapids, Emerald Rapids, Granite Rapids */
    {0x8f, 15, false, VMS, 0},
    {0xcf, 15, false, VMS, 0},
    {0xad, 15, false, VMS, 0},
};

static const struct model_row *find_model(const struct cpu_speculation *s)
{
    static const struct model_row other;

    for (unsigned i = 0; s->intel && s->family == 6 && i < ARRAY_SIZE(models); i++) {
        const struct model_row *m = &models[i];

        if (m->model == s->model && s->stepping <= m->last_stepping &&
            (!m->small_core || s->small_core))
            return m;
    }
    return &other;
}

/* --- by what it says --- */

#define MMIO_NO (CAPABILITY_SBDR_SSDP_NO | CAPABILITY_FBSDP_NO | CAPABILITY_PSDP_NO)

/* Of what every model could have, that which it does not deny. */
static uint32_t not_denied(const struct cpu_speculation *s)
{
    uint64_t c = s->capabilities;
    uint32_t has = SPECTRE;

    if (!(c & CAPABILITY_SSB_NO))
        has |= SSB;
    if (!s->intel)
        return has;
    if (!(c & CAPABILITY_RDCL_NO))
        has |= L1TF;
    if (!(c & CAPABILITY_MDS_NO))
        has |= MDS;
    if (!(c & CAPABILITY_TAA_NO) && (s->tsx || c & CAPABILITY_TSX_CTRL))
        has |= ERRATUM_TAA;
    if ((c & CAPABILITY_IBRS_ALL) && !(c & CAPABILITY_PBRSB_NO))
        has |= PBRSB;
    if ((c & CAPABILITY_IBRS_ALL) && !(c & CAPABILITY_BHI_NO))
        has |= ERRATUM_BHI;
    if (c & CAPABILITY_RSBA)
        has |= RETB;
    if (c & CAPABILITY_RFDS_CLEAR)
        has |= RFDS;
    return has;
}

/* Of what it is listed with, that which it denies. */
static uint32_t denied(const struct cpu_speculation *s)
{
    uint64_t c = s->capabilities;
    uint32_t lacks = 0;

    if ((c & MMIO_NO) == MMIO_NO)
        lacks |= MMIO;
    if (c & CAPABILITY_RFDS_NO)
        lacks |= RFDS;
    if (c & CAPABILITY_GDS_NO || !s->avx)
        lacks |= GDS;
    if (!s->random)
        lacks |= SRBDS;
    /* Who has BHI_DIS_S was made after ITS had been known. */
    if (c & CAPABILITY_ITS_NO || s->controls & CONTROL_BHI)
        lacks |= ITS;
    return lacks;
}

uint32_t speculation_errata(const struct cpu_speculation *s)
{
    const struct model_row *m = find_model(s);

    if (s->emulated)
        return 0;
    return ((not_denied(s) & ~m->lacks) | m->has) & ~denied(s);
}
