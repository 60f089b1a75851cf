#include "guest/cpu/cpuid.h"

#include "arch/x86/lib/string.h"

enum reg { EAX, EBX, ECX, EDX };

/* What happens to feature bits. Bits in no row are unknown to Corbel, and masked. */
enum treatment {
    PASSED,     /* as the host has it: needs nothing but the CPU and state that is switched */
    SET,        /* always there: Corbel emulates it */
    MASKED,     /* never there */
    XSAVE,      /* passed when XSAVE state can be managed at all */
    AVX,        /* passed when the guest may enable AVX state */
    AVX512,     /* passed when the guest may enable AVX-512 state */
    PKRU,       /* passed when the guest may enable PKRU state */
    RDTSCP,     /* passed when its VMX control is set: else the instruction is #UD in a guest */
    INVPCID,    /* likewise */
    XSAVES,     /* likewise */
    XSAVEC,     /* passed when it has been tried */
    USER_WAIT,  /* likewise */
    SPECULATION /* passed as far as its registers are offered */
};

struct feature_row {
    uint32_t leaf;
    uint8_t subleaf;
    uint8_t reg;
    uint8_t treatment;
    uint32_t bits;
    const char *reason;
};

#define B(n) (1u << (n))

static const struct feature_row features[] = {
    {1, 0, ECX, PASSED, B(0) | B(9) | B(19) | B(20), "SSE3, SSSE3, SSE4: plain instructions"},
    {1, 0, ECX, PASSED, B(1) | B(25), "PCLMULQDQ, AES: plain instructions"},
    {1, 0, ECX, MASKED, B(2) | B(4) | B(7), "DTES64, DS-CPL, EIST: no debug store, no P-states"},
    {1, 0, ECX, MASKED, B(3), "MONITOR/MWAIT: a waiting vCPU must leave the CPU; HLT does"},
    {1, 0, ECX, MASKED, B(5) | B(6), "VMX, SMX: not nested"},
    {1, 0, ECX, MASKED, B(8) | B(10) | B(11), "TM2, CNXT-ID, SDBG: model-specific MSRs"},
    {1, 0, ECX, AVX, B(12) | B(28) | B(29), "FMA, AVX, F16C: AVX state in XCR0"},
    {1, 0, ECX, PASSED, B(13) | B(22) | B(23), "CMPXCHG16B, MOVBE, POPCNT: plain instructions"},
    {1, 0, ECX, MASKED, B(14) | B(15) | B(18), "xTPR, PDCM, DCA: chipset and PMU"},
    {1, 0, ECX, PASSED, B(17), "PCID: the guest owns CR3 and CR4.PCIDE under EPT and VPID"},
    {1, 0, ECX, SET, B(21), "x2APIC: emulated"},
    {1, 0, ECX, SET, B(24), "TSC-deadline timer: emulated"},
    {1, 0, ECX, XSAVE, B(26), "XSAVE: XSETBV is checked, state switched with the vCPU"},
    {1, 0, ECX, PASSED, B(30), "RDRAND: not intercepted"},
    {1, 0, ECX, SET, B(31), "a hypervisor is present"},
    {1, 0, EDX, PASSED, B(0) | B(15) | B(19) | B(23) | B(24) | B(25) | B(26),
     "FPU, CMOV, CLFSH, MMX, FXSR, SSE, SSE2: plain instructions"},
    {1, 0, EDX, PASSED, B(1) | B(2) | B(3) | B(6) | B(13) | B(17),
     "VME, DE, PSE, PAE, PGE, PSE-36: the guest's CR4"},
    {1, 0, EDX, PASSED, B(4) | B(5) | B(8) | B(11), "TSC, MSR, CMPXCHG8B, SYSENTER"},
    {1, 0, EDX, SET, B(9), "APIC: emulated; mirrors IA32_APIC_BASE.EN"},
    {1, 0, EDX, PASSED, B(7) | B(14), "MCE, MCA: no banks"},
    {1, 0, EDX, SET, B(12), "MTRRs: kept, without effect beside the guest's PAT"},
    {1, 0, EDX, PASSED, B(16), "PAT: switched with the VMCS"},
    {1, 0, EDX, PASSED, B(27), "self-snoop: true of the host"},
    {1, 0, EDX, MASKED, B(18), "processor serial number: identifies the host"},
    {1, 0, EDX, MASKED, B(21), "debug store: not virtualised"},
    {1, 0, EDX, MASKED, B(22) | B(29) | B(31),
     "ACPI clock control, TM, PBE: thermal control is the host's"},

    {6, 0, EAX, SET, B(2), "ARAT: the emulated APIC timer never stops"},

    {7, 0, EBX, PASSED, B(0), "FSGSBASE: bases are in the VMCS"},
    {7, 0, EBX, SET, B(1), "IA32_TSC_ADJUST: emulated"},
    {7, 0, EBX, MASKED, B(2), "SGX: not virtualised"},
    {7, 0, EBX, PASSED, B(3) | B(8) | B(19), "BMI1, BMI2, ADX: plain instructions"},
    {7, 0, EBX, MASKED, B(4) | B(11), "HLE, RTM: withdrawn by microcode, and the way into TAA"},
    {7, 0, EBX, AVX, B(5), "AVX2"},
    {7, 0, EBX, PASSED, B(6) | B(13),
     "x87 pointer saving, no x87 CS/DS: how the host's FPU behaves"},
    {7, 0, EBX, PASSED, B(7) | B(20), "SMEP, SMAP: the guest's CR4"},
    {7, 0, EBX, PASSED, B(9) | B(18) | B(23) | B(24), "ERMS, RDSEED, CLFLUSHOPT, CLWB"},
    {7, 0, EBX, INVPCID, B(10), "INVPCID"},
    {7, 0, EBX, MASKED, B(12) | B(15), "RDT: not virtualised"},
    {7, 0, EBX, MASKED, B(14), "MPX: withdrawn, needs BNDCFGS"},
    {7, 0, EBX, AVX512, B(16) | B(17) | B(21) | B(26) | B(27) | B(28) | B(30) | B(31), "AVX-512"},
    {7, 0, EBX, MASKED, B(22), "PCOMMIT: withdrawn"},
    {7, 0, EBX, MASKED, B(25), "processor trace: writes to host-physical memory"},
    {7, 0, EBX, PASSED, B(29), "SHA"},
    {7, 0, ECX, PASSED, B(0) | B(8) | B(25) | B(27) | B(28),
     "PREFETCHWT1, GFNI, CLDEMOTE, MOVDIRI, MOVDIR64B: plain instructions"},
    {7, 0, ECX, AVX512, B(1) | B(6) | B(11) | B(12) | B(14),
     "AVX-512 VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ"},
    {7, 0, ECX, PASSED, B(2), "UMIP: the guest's CR4"},
    {7, 0, ECX, PKRU, B(3), "protection keys; OSPKE mirrors CR4.PKE"},
    {7, 0, ECX, USER_WAIT, B(5), "WAITPKG"},
    {7, 0, ECX, MASKED, B(7), "CET shadow stacks: not virtualised"},
    {7, 0, ECX, AVX, B(9) | B(10), "VAES, VPCLMULQDQ"},
    {7, 0, ECX, MASKED, B(13) | B(16) | B(23) | B(24) | B(29) | B(30) | B(31),
     "TME, LA57, key locker, bus-lock detect, ENQCMD, SGX launch control, PKS: not virtualised"},
    {7, 0, ECX, RDTSCP, B(22), "RDPID: under the same control as RDTSCP"},
    {7, 0, EDX, AVX512, B(2) | B(3) | B(8) | B(23), "AVX-512 4VNNIW, 4FMAPS, VP2INTERSECT, FP16"},
    {7, 0, EDX, PASSED, B(4) | B(14), "FSRM, SERIALIZE"},
    {7, 0, EDX, PASSED, B(10), "MD_CLEAR: VERW works in a guest as it does on the host"},
    {7, 0, EDX, MASKED, B(5) | B(15) | B(16) | B(18) | B(19) | B(20),
     "UINTR, hybrid, TSXLDTRK, PCONFIG, LBR, CET-IBT: not virtualised"},
    {7, 0, EDX, MASKED, B(22) | B(24) | B(25), "AMX: 8 KiB of state not switched"},
    {7, 0, EDX, SPECULATION, B(26) | B(27) | B(31),
     "IBRS/IBPB, STIBP, SSBD: SPEC_CTRL is switched at exits once the guest has written it"},
    {7, 0, EDX, SPECULATION, B(28), "L1D_FLUSH: FLUSH_CMD is passed"},
    {7, 0, EDX, SPECULATION, B(29), "ARCH_CAPABILITIES: what of it is so in a VM"},
    {7, 0, EDX, MASKED, B(30), "CORE_CAPABILITIES: MSR not virtualised"},
    {7, 1, EAX, AVX, B(4) | B(23), "AVX-VNNI, AVX-IFMA"},
    {7, 1, EAX, AVX512, B(5), "AVX-512 BF16"},
    {7, 1, EAX, PASSED, B(10) | B(11) | B(12), "fast short REP MOVSB, STOSB, CMPSB"},

    {7, 2, EDX, SPECULATION, B(0) | B(1) | B(2) | B(3) | B(4),
     "PSFD, IPRED_CTRL, RRSBA_CTRL, DDPD_U, BHI_CTRL: bits of SPEC_CTRL"},
    {7, 2, EDX, SPECULATION, B(5), "MCDT_NO: true of the host"},

    {0xd, 1, EAX, XSAVE, B(0) | B(2), "XSAVEOPT, XGETBV with ECX=1"},
    {0xd, 1, EAX, XSAVEC, B(1), "XSAVEC: unless it is wrong, as in Bochs 2.7"},
    {0xd, 1, EAX, XSAVES, B(3), "XSAVES: with no supervisor state component"},
    {0xd, 1, EAX, MASKED, B(4), "XFD: goes with AMX"},

    {0x80000001, 0, ECX, PASSED, B(0) | B(5) | B(8), "LAHF in 64-bit mode, LZCNT, PREFETCHW"},
    {0x80000001, 0, EDX, PASSED, B(11) | B(20) | B(26) | B(29),
     "SYSCALL, NX, 1 GiB pages, long mode"},
    {0x80000001, 0, EDX, RDTSCP, B(27), "RDTSCP"},
    {0x80000007, 0, EDX, PASSED, B(8), "invariant TSC: the guest's has the host's rate"},
};

struct builder {
    struct cpuid_table *t;
    const struct cpuid_inputs *in;
    cpuid_reader host;
    void *context;
    uint32_t max_basic, max_extended; /* the host's */
    uint64_t xcr0;                    /* what the guest may enable */
};

#define XCR0_X87          BIT(0)
#define XCR0_SSE          BIT(1)
#define XCR0_AVX          BIT(2)
#define XCR0_AVX512       (BIT(5) | BIT(6) | BIT(7))
#define XCR0_PKRU         BIT(9)
#define XSAVE_LEGACY_SIZE 576u /* the legacy region and the header */
#define XSAVE_COMPONENTS  10u  /* subleaves 0-9: PKRU is the highest that is passed */

static struct cpuid_regs host_leaf(const struct builder *b, uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_regs r = {0};
    uint32_t max = leaf & 0x80000000 ? b->max_extended : b->max_basic;
    if (leaf <= max)
        b->host(b->context, leaf, subleaf, &r);
    return r;
}

static bool treatment_allows(const struct builder *b, enum treatment treatment)
{
    switch (treatment) {
    case PASSED:
        return true;
    case XSAVE:
        return b->xcr0 != 0;
    case AVX:
        return b->xcr0 & XCR0_AVX;
    case AVX512:
        return b->xcr0 & BIT(5);
    case PKRU:
        return b->xcr0 & XCR0_PKRU;
    case RDTSCP:
        return b->in->rdtscp;
    case INVPCID:
        return b->in->invpcid;
    case XSAVES:
        return b->in->xsaves && b->xcr0 != 0;
    case XSAVEC:
        return b->in->xsavec && b->xcr0 != 0;
    case USER_WAIT:
        return b->in->user_wait;
    default:
        return false;
    }
}

/* The bits of a leaf that the policy lets through or sets. */
static struct cpuid_regs filtered_leaf(const struct builder *b, uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_regs h = host_leaf(b, leaf, subleaf);
    uint32_t passed[4] = {0}, set[4] = {0}; /* by enum reg */

    for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
        const struct feature_row *f = &features[i];
        if (f->leaf != leaf || f->subleaf != subleaf)
            continue;
        if (f->treatment == SET)
            set[f->reg] |= f->bits;
        else if (f->treatment == SPECULATION)
            passed[f->reg] |= f->bits & (subleaf ? b->in->spec_controls : b->in->spec_features);
        else if (treatment_allows(b, f->treatment))
            passed[f->reg] |= f->bits;
    }
    return (struct cpuid_regs){(h.eax & passed[EAX]) | set[EAX], (h.ebx & passed[EBX]) | set[EBX],
                               (h.ecx & passed[ECX]) | set[ECX], (h.edx & passed[EDX]) | set[EDX]};
}

static struct cpuid_slot *slot_of(struct cpuid_table *t, uint32_t leaf)
{
    return &t->slots[(leaf >> 30) * 32 + (leaf & 31)];
}

/* Append an answer: the first for a slot opens it, later ones are its next subleaves. */
static void add(struct builder *b, struct cpuid_slot *slot, struct cpuid_regs r)
{
    struct cpuid_table *t = b->t;
    if (slot->first == 0)
        slot->first = (uint8_t)t->used;
    else
        slot->last++;
    t->regs[t->used++] = r;
}

static void add_leaf(struct builder *b, uint32_t leaf, struct cpuid_regs r)
{
    add(b, slot_of(b->t, leaf), r);
}

/* Bits needed to tell n things apart. */
static unsigned bits_for(unsigned n)
{
    unsigned bits = 0;
    while ((1u << bits) < n)
        bits++;
    return bits;
}

/* Leaf 0: vendor passed; the highest leaf is Corbel's own, so that the clock leaves exist on every
 * model. */
static void leaf_vendor(struct builder *b, uint32_t leaf)
{
    struct cpuid_regs r = host_leaf(b, leaf, 0);
    r.eax = CPUID_MAX_BASIC;
    add_leaf(b, leaf, r);
}

/* Leaf 1: family, model, stepping, brand and cache-line size passed; topology by vCPUs; features
 * filtered. */
static void leaf_features(struct builder *b, uint32_t leaf)
{
    struct cpuid_regs r = host_leaf(b, leaf, 0), f = filtered_leaf(b, leaf, 0);
    unsigned ids = 1u << bits_for(b->in->vcpus);
    r.ebx = (r.ebx & 0xffff) | MIN(ids, 255u) << 16 | (b->in->apic_id & 0xff) << 24;
    r.ecx = f.ecx;
    r.edx = f.edx;
    if (b->in->vcpus > 1)
        r.edx |= B(28); /* HTT: EBX[23:16] is valid */
    add_leaf(b, leaf, r);
}

static void leaf_passed(struct builder *b, uint32_t leaf)
{
    add_leaf(b, leaf, host_leaf(b, leaf, 0));
}

static void leaf_filtered(struct builder *b, uint32_t leaf)
{
    add_leaf(b, leaf, filtered_leaf(b, leaf, 0));
}

/* Leaf 4: the host's caches; L1 and L2 belong to one vCPU, a last level to all. */
static void leaf_caches(struct builder *b, uint32_t leaf)
{
    for (unsigned i = 0; i < 6; i++) {
        struct cpuid_regs r = host_leaf(b, leaf, i);
        unsigned level = r.eax >> 5 & 7;
        if ((r.eax & 31) == 0)
            break;
        uint32_t last_id = (1u << bits_for(b->in->vcpus)) - 1;
        r.eax &= 0x3fff;
        r.eax |= (level >= 3 ? last_id : 0) << 14 | MIN(last_id, 63u) << 26;
        add_leaf(b, leaf, r);
    }
    add_leaf(b, leaf, (struct cpuid_regs){0});
}

/* Leaf 7: the highest subleaf is the last one that has anything to say. */
static void leaf_extended_features(struct builder *b, uint32_t leaf)
{
    struct cpuid_regs r = filtered_leaf(b, leaf, 0), next = {0}, third = {0};
    uint32_t max = host_leaf(b, leaf, 0).eax;
    if (max >= 1)
        next = filtered_leaf(b, leaf, 1);
    if (max >= 2)
        third = filtered_leaf(b, leaf, 2);
    r.eax = third.edx ? 2 : next.eax != 0;
    add_leaf(b, leaf, r);
    add_leaf(b, leaf, next);
    if (third.edx)
        add_leaf(b, leaf, third);
    add_leaf(b, leaf, (struct cpuid_regs){0});
}

/* Leaf 0Bh: one thread per core, all cores in one package. */
static void leaf_topology(struct builder *b, uint32_t leaf)
{
    uint32_t id = b->in->apic_id;
    add_leaf(b, leaf, (struct cpuid_regs){0, 1, 1 << 8, id});
    add_leaf(b, leaf, (struct cpuid_regs){bits_for(b->in->vcpus), b->in->vcpus, 2 << 8, id});
    add_leaf(b, leaf, (struct cpuid_regs){0, 0, 0, id});
    struct cpuid_slot *slot = slot_of(b->t, leaf);
    slot->echo = 0xff; /* the level asked for comes back */
    for (unsigned i = 0; i <= slot->last; i++)
        b->t->regs[slot->first + i].ecx |= i;
}

/* Leaf 0Dh: the state components that the guest may enable; cpuid_set_xcr0 fills in the sizes that
 * move. */
static void leaf_xsave(struct builder *b, uint32_t leaf)
{
    if (b->xcr0 == 0)
        return;
    add_leaf(b, leaf,
             (struct cpuid_regs){.eax = (uint32_t)b->xcr0, .edx = (uint32_t)(b->xcr0 >> 32)});
    add_leaf(b, leaf, (struct cpuid_regs){.eax = filtered_leaf(b, leaf, 1).eax});
    for (unsigned i = 2; i < XSAVE_COMPONENTS; i++) {
        struct cpuid_regs r = {0};
        if (b->xcr0 & BIT(i)) {
            r = host_leaf(b, leaf, i);
            r.ecx &= 2; /* aligned to 64 in the compacted format; XSS bit 0 is never set here */
            r.edx = 0;
        }
        add_leaf(b, leaf, r);
    }
    add_leaf(b, leaf, (struct cpuid_regs){0});
}

/* Leaf 15h: TSC = ECX * EBX / EAX with the APIC timer's clock as crystal, because Linux runs that
 * timer by ECX. */
static void leaf_tsc(struct builder *b, uint32_t leaf)
{
    uint64_t crystal = b->in->tsc_hz >> b->in->lapic_shift;
    uint32_t ecx = crystal > UINT32_MAX ? 0 : (uint32_t)crystal; /* 0: not enumerated */
    add_leaf(b, leaf, (struct cpuid_regs){1, 1u << b->in->lapic_shift, ecx, 0});
}

/* Leaf 16h: base, maximum and bus frequency in MHz; with it Linux does not calibrate against the
 * 8254. */
static void leaf_frequency(struct builder *b, uint32_t leaf)
{
    uint32_t mhz = (uint32_t)((b->in->tsc_hz + 500000) / 1000000) & 0xffff;
    add_leaf(b, leaf, (struct cpuid_regs){mhz, mhz, 100, 0});
}

static void leaf_extended_max(struct builder *b, uint32_t leaf)
{
    add_leaf(b, leaf, (struct cpuid_regs){.eax = CPUID_MAX_EXTENDED});
}

/* Leaf 80000006h: the host's L2; everything else there is reserved on Intel. */
static void leaf_l2(struct builder *b, uint32_t leaf)
{
    add_leaf(b, leaf, (struct cpuid_regs){.ecx = host_leaf(b, leaf, 0).ecx});
}

/* Leaf 80000008h: no more physical bits than EPT can map, 48 linear ones (no 5-level paging). */
static void leaf_address_sizes(struct builder *b, uint32_t leaf)
{
    b->t->physical_bits = MIN(host_leaf(b, leaf, 0).eax & 0xff, b->in->physical_bits);
    if (b->t->physical_bits < 36)
        b->t->physical_bits = 36; /* SDM: assume 36 where the leaf is not there */
    add_leaf(b, leaf, (struct cpuid_regs){.eax = 48 << 8 | b->t->physical_bits});
}

static void leaf_signature(struct builder *b, uint32_t leaf)
{
    struct cpuid_regs r = {.eax = CPUID_MAX_HYPERVISOR};
    memcpy(&r.ebx, "CorbelCorbel", 12);
    add_leaf(b, leaf, r);
}

/* Leaf 40000010h: frequencies of the TSC and the APIC timer in kHz, as several hypervisors report
 * them. */
static void leaf_timing(struct builder *b, uint32_t leaf)
{
    add_leaf(b, leaf,
             (struct cpuid_regs){.eax = (uint32_t)(b->in->tsc_hz / 1000),
                                 .ebx = (uint32_t)((b->in->tsc_hz >> b->in->lapic_shift) / 1000)});
}

/* Leaves that no row names are zero within the ranges. */
static const struct leaf_row {
    uint32_t leaf;
    void (*build)(struct builder *b, uint32_t leaf);
    const char *reason;
} leaves[] = {
    {0, leaf_vendor, "vendor passed: guests know Intel's errata and quirks by it"},
    {1, leaf_features, "model passed, features filtered"},
    {2, leaf_passed, "cache descriptors passed"},
    {4, leaf_caches, "caches passed, sharing by vCPUs"},
    /* 3: serial number; 5: no MONITOR: zero */
    {6, leaf_filtered, "no thermal and power management but an APIC timer that never stops"},
    {7, leaf_extended_features, "features filtered"},
    /* 9: DCA; 0Ah: no performance monitoring: zero */
    {0xb, leaf_topology, "one thread per core, vCPUs are cores"},
    {0xd, leaf_xsave, "only state that Corbel switches"},
    /* 0Fh, 10h: RDT; 12h: SGX; 14h: processor trace: zero */
    {0x15, leaf_tsc, "the clock, on every model"},
    {0x16, leaf_frequency, "the clock, on every model"},
    {0x80000000, leaf_extended_max, "the extended range"},
    {0x80000001, leaf_filtered, "features filtered"},
    {0x80000002, leaf_passed, "brand string passed"},
    {0x80000003, leaf_passed, "brand string passed"},
    {0x80000004, leaf_passed, "brand string passed"},
    {0x80000006, leaf_l2, "L2 cache passed"},
    {0x80000007, leaf_filtered, "invariant TSC"},
    {0x80000008, leaf_address_sizes, "what EPT can map"},
    {0x40000000, leaf_signature, "names Corbel"},
    {0x40000010, leaf_timing, "the clock for guests that do not read 15h"},
};

/* Components that the guest may enable: known ones, AVX-512 whole or not at all, each with a place
 * in the area. */
static uint64_t guest_xcr0(const struct builder *b)
{
    uint64_t xcr0 = b->in->xcr0 & (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512 | XCR0_PKRU);
    if (!(host_leaf(b, 1, 0).ecx & B(26)) || b->max_basic < 0xd || !(xcr0 & XCR0_X87))
        return 0;
    for (unsigned i = 2; i < XSAVE_COMPONENTS; i++)
        if ((xcr0 & BIT(i)) && host_leaf(b, 0xd, i).eax == 0)
            xcr0 &= ~BIT(i);
    if (!(xcr0 & XCR0_SSE))
        xcr0 &= ~XCR0_AVX;
    if (!(xcr0 & XCR0_AVX) || (xcr0 & XCR0_AVX512) != XCR0_AVX512)
        xcr0 &= ~XCR0_AVX512;
    if (!(host_leaf(b, 7, 0).ecx & B(3)))
        xcr0 &= ~XCR0_PKRU;
    return xcr0;
}

/* CR4 and EFER bits exist as CPUID says. */
static void derive_registers(struct cpuid_table *t)
{
    static const struct {
        uint8_t leaf, reg, feature, cr4;
    } rows[] = {
        {1, EDX, 1, 0},   {1, EDX, 1, 1},   {1, EDX, 4, 2},  {1, EDX, 2, 3},   {1, EDX, 3, 4},
        {1, EDX, 6, 5},   {1, EDX, 7, 6},   {1, EDX, 13, 7}, {1, EDX, 5, 8},   {1, EDX, 24, 9},
        {1, EDX, 25, 10}, {7, ECX, 2, 11},  {7, EBX, 0, 16}, {1, ECX, 17, 17}, {1, ECX, 26, 18},
        {7, EBX, 7, 20},  {7, EBX, 20, 21}, {7, ECX, 3, 22},
    };
    t->cr4_valid = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cpuid_regs r = cpuid_lookup(t, rows[i].leaf, 0);
        const uint32_t value[] = {r.eax, r.ebx, r.ecx, r.edx};
        if (value[rows[i].reg] >> rows[i].feature & 1)
            t->cr4_valid |= BIT(rows[i].cr4);
    }
    uint32_t extended = cpuid_lookup(t, 0x80000001, 0).edx;
    t->efer_valid = (extended & B(11) ? BIT(0) : 0) | (extended & B(29) ? BIT(8) | BIT(10) : 0) |
                    (extended & B(20) ? BIT(11) : 0);
}

void cpuid_build(struct cpuid_table *t, const struct cpuid_inputs *in, cpuid_reader host,
                 void *context)
{
    struct builder b = {.t = t, .in = in, .host = host, .context = context};
    struct cpuid_regs r;

    memset(t, 0, sizeof(*t));
    t->used = 1; /* entry 0 is all zero, for leaves with nothing to say */
    host(context, 0, 0, &r);
    b.max_basic = r.eax;
    host(context, 0x80000000, 0, &r);
    b.max_extended = r.eax & 0x80000000 ? r.eax : 0;
    b.xcr0 = guest_xcr0(&b);
    t->xcr0_mask = b.xcr0;

    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++)
        leaves[i].build(&b, leaves[i].leaf);

    r = (struct cpuid_regs){.eax = CPUID_KVM_BASE + 1};
    memcpy(&r.ebx, "KVMKVMKVM\0\0\0", 12);
    add(&b, &t->slots[CPUID_KVM_SLOT], r);
    if (in->pv) /* else the next leaf says so: it is zero */
        add(&b, &t->slots[CPUID_KVM_SLOT + 1], (struct cpuid_regs){.eax = in->pv});

    struct cpuid_slot highest = t->slots[CPUID_MAX_BASIC];
    for (unsigned i = 0; i < 32; i++) {
        if (i > CPUID_MAX_BASIC)
            t->slots[i] = highest;
        if (i > (CPUID_MAX_HYPERVISOR & 31))
            t->slots[32 + i] = highest;
        if (i > (CPUID_MAX_EXTENDED & 31))
            t->slots[64 + i] = highest;
        t->slots[96 + i] = highest;
    }

    cpuid_set_xcr0(t, XCR0_X87, 0);
    derive_registers(t);
}

static void set_bit(uint32_t *reg, unsigned bit, bool on)
{
    *reg = on ? *reg | B(bit) : *reg & ~B(bit);
}

void cpuid_set_cr4(struct cpuid_table *t, uint64_t cr4)
{
    set_bit(&t->regs[t->slots[1].first].ecx, 27, cr4 & BIT(18));
    set_bit(&t->regs[t->slots[7].first].ecx, 4, cr4 & BIT(22));
}

void cpuid_set_misc_enable(struct cpuid_table *t, uint64_t misc_enable)
{
    bool limit = misc_enable & BIT(22), nx = !(misc_enable & BIT(34));

    t->regs[t->slots[0].first].eax = limit ? 2 : CPUID_MAX_BASIC;
    set_bit(&t->regs[slot_of(t, 0x80000001)->first].edx, 20, nx && (t->efer_valid & BIT(11)));
}

void cpuid_set_apic_enabled(struct cpuid_table *t, bool enabled)
{
    set_bit(&t->regs[t->slots[1].first].edx, 9, enabled);
}

/* Bytes of an XSAVE area for these components (SDM, "XSAVE Area"). */
static uint32_t area_size(const struct cpuid_regs *subleaf, uint64_t components, bool compacted)
{
    uint32_t size = XSAVE_LEGACY_SIZE;
    for (unsigned i = 2; i < XSAVE_COMPONENTS; i++) {
        if (!(components & BIT(i)))
            continue;
        if (compacted)
            size = ((subleaf[i].ecx & 2) ? ALIGN_UP(size, 64u) : size) + subleaf[i].eax;
        else
            size = MAX(size, subleaf[i].ebx + subleaf[i].eax);
    }
    return size;
}

void cpuid_set_xcr0(struct cpuid_table *t, uint64_t xcr0, uint64_t xss)
{
    if (t->xcr0_mask == 0)
        return;
    struct cpuid_regs *subleaf = &t->regs[t->slots[0xd].first];
    subleaf[0].ebx = area_size(subleaf, xcr0 & t->xcr0_mask, false);
    subleaf[0].ecx = area_size(subleaf, t->xcr0_mask, false);
    if (subleaf[1].eax & (B(1) | B(3)))
        subleaf[1].ebx = area_size(subleaf, (xcr0 | xss) & t->xcr0_mask, true);
}

bool cpuid_xcr0_valid(const struct cpuid_table *t, uint64_t value)
{
    if ((value & ~t->xcr0_mask) || !(value & XCR0_X87))
        return false;
    if ((value & XCR0_AVX) && !(value & XCR0_SSE))
        return false;
    uint64_t avx512 = value & XCR0_AVX512;
    return avx512 == 0 || (avx512 == XCR0_AVX512 && (value & XCR0_AVX));
}

bool cpuid_next_feature(const struct cpuid_table *t, unsigned *n, struct cpuid_feature *out)
{
    while (*n < ARRAY_SIZE(features)) {
        const struct feature_row *f = &features[(*n)++];
        struct cpuid_regs r = cpuid_lookup(t, f->leaf, f->subleaf);

        if (f->leaf == 0x80000001 && (t->efer_valid & BIT(11)))
            r.edx |= B(20); /* NX, which the guest itself may hide */
        const uint32_t value[] = {r.eax, r.ebx, r.ecx, r.edx};

        if (f->treatment == SET || f->treatment == MASKED ||
            cpuid_slot(t, f->leaf)->last < f->subleaf)
            continue;
        *out = (struct cpuid_feature){f->leaf, f->subleaf, f->reg, value[f->reg] & f->bits,
                                      f->bits, f->reason};
        return true;
    }
    return false;
}
