#include "vmx/controls.h"

#include "vmx/vmcs.h"

/*
 * REQUIRED: set, and the machine is refused without it. WANTED: set where the CPU has it. LATER:
 * left 0 here and set at run time; with a sentence, the CPU must have it. NEVER: must be 0; with a
 * sentence the machine is refused when the CPU insists on 1. A bit that no row names takes the
 * value the CPU insists on, else 0.
 */
enum need { REQUIRED, WANTED, LATER, NEVER };

struct control {
    uint32_t bit;
    enum need need;
    uint32_t without; /* switches that remove it */
    uint16_t feature; /* 1 + offset in struct vmx_features; 0: none */
    const char *name;
    const char *missing;
};

#define FEATURE(f)  (1 + offsetof(struct vmx_features, f))
#define CPU_LACKS   "this CPU lacks "
#define NEEDS(year) ": Corbel needs a CPU from " year " or later"
#define NEEDS_BASIC CPU_LACKS "a control that every VT-x CPU has: "
#define INSISTS     "this CPU insists on "
#define APICV       (VMX_WITHOUT_APICV | VMX_WITHOUT_TPR)

static const struct control pin_controls[] = {
    {PIN_EXTERNAL_INTERRUPT, REQUIRED, 0, 0, "external-interrupt exiting",
     NEEDS_BASIC "external-interrupt exiting"},
    {PIN_NMI, REQUIRED, 0, 0, "NMI exiting", NEEDS_BASIC "NMI exiting"},
    {PIN_VIRTUAL_NMI, WANTED, 0, FEATURE(virtual_nmi), "virtual NMIs", NULL},
    {PIN_PREEMPTION_TIMER, WANTED, VMX_WITHOUT_PREEMPT, FEATURE(preemption_timer),
     "VMX-preemption timer", NULL},
    {PIN_POSTED_INTERRUPTS, LATER, APICV | VMX_WITHOUT_VID, FEATURE(posted_interrupts),
     "process posted interrupts", NULL},
};

static const struct control primary_controls[] = {
    {CPU_INTERRUPT_WINDOW, LATER, 0, 0, "interrupt-window exiting",
     NEEDS_BASIC "interrupt-window exiting"},
    {CPU_TSC_OFFSETTING, REQUIRED, 0, 0, "use TSC offsetting", NEEDS_BASIC "TSC offsetting"},
    {CPU_HLT, REQUIRED, 0, 0, "HLT exiting", NEEDS_BASIC "HLT exiting"},
    {CPU_INVLPG, NEVER, 0, 0, "INVLPG exiting", NULL},
    {CPU_MWAIT, REQUIRED, 0, 0, "MWAIT exiting", NEEDS_BASIC "MWAIT exiting"},
    {CPU_RDPMC, REQUIRED, 0, 0, "RDPMC exiting", NEEDS_BASIC "RDPMC exiting"},
    {CPU_RDTSC, NEVER, 0, 0, "RDTSC exiting",
     INSISTS "RDTSC exiting, with which guests have no clock"},
    {CPU_CR3_LOAD, NEVER, 0, 0, "CR3-load exiting",
     INSISTS "CR3-load exiting (no TRUE control MSRs)" NEEDS("2008 (Nehalem)")},
    {CPU_CR3_STORE, NEVER, 0, 0, "CR3-store exiting",
     INSISTS "CR3-store exiting (no TRUE control MSRs)" NEEDS("2008 (Nehalem)")},
    {CPU_TERTIARY, NEVER, 0, 0, "activate tertiary controls", NULL},
    {CPU_CR8_LOAD, LATER, 0, 0, "CR8-load exiting", NEEDS_BASIC "CR8-load exiting"},
    {CPU_CR8_STORE, LATER, 0, 0, "CR8-store exiting", NEEDS_BASIC "CR8-store exiting"},
    {CPU_TPR_SHADOW, WANTED, VMX_WITHOUT_TPR, FEATURE(tpr_shadow), "use TPR shadow", NULL},
    {CPU_NMI_WINDOW, LATER, 0, 0, "NMI-window exiting", NULL},
    {CPU_MOV_DR, LATER, 0, 0, "MOV-DR exiting", NULL},
    {CPU_IO, NEVER, 0, 0, "unconditional I/O exiting", NULL},
    {CPU_IO_BITMAPS, REQUIRED, 0, 0, "use I/O bitmaps", NEEDS_BASIC "I/O bitmaps"},
    {CPU_MONITOR_TRAP_FLAG, LATER, VMX_WITHOUT_MTF, FEATURE(monitor_trap_flag), "monitor trap flag",
     NULL},
    {CPU_MSR_BITMAPS, REQUIRED, 0, 0, "use MSR bitmaps", NEEDS_BASIC "MSR bitmaps"},
    {CPU_MONITOR, REQUIRED, 0, 0, "MONITOR exiting", NEEDS_BASIC "MONITOR exiting"},
    {CPU_PAUSE, NEVER, 0, 0, "PAUSE exiting", NULL},
    {CPU_SECONDARY, REQUIRED, 0, 0, "activate secondary controls",
     CPU_LACKS "secondary VM-execution controls" NEEDS("2008 (Nehalem)")},
};

static const struct control secondary_controls[] = {
    {SEC_VIRTUALIZE_APIC_ACCESSES, LATER, 0, FEATURE(virtualize_apic_accesses),
     "virtualize APIC accesses", NULL},
    {SEC_EPT, REQUIRED, 0, 0, "enable EPT",
     CPU_LACKS
     "EPT (extended page tables)" NEEDS("2008 (Nehalem; for unrestricted guest 2010, Westmere)")},
    {SEC_DESCRIPTOR_TABLE, LATER, 0, FEATURE(descriptor_table), "descriptor-table exiting", NULL},
    {SEC_RDTSCP, WANTED, VMX_WITHOUT_RDTSCP, FEATURE(rdtscp), "enable RDTSCP", NULL},
    {SEC_VIRTUALIZE_X2APIC, LATER, VMX_WITHOUT_X2APIC_VIRT | VMX_WITHOUT_TPR,
     FEATURE(virtualize_x2apic), "virtualize x2APIC mode", NULL},
    {SEC_VPID, WANTED, VMX_WITHOUT_VPID, FEATURE(vpid), "enable VPID", NULL},
    /* An unintercepted WBINVD would empty the caches of everybody on the package. */
    {SEC_WBINVD, WANTED, 0, FEATURE(wbinvd_exiting), "WBINVD exiting", NULL},
    {SEC_UNRESTRICTED_GUEST, REQUIRED, 0, 0, "unrestricted guest",
     CPU_LACKS "unrestricted guest mode" NEEDS("2010 (Westmere)")},
    {SEC_APIC_REGISTER, WANTED, APICV, FEATURE(apic_register), "APIC-register virtualization",
     NULL},
    {SEC_VIRTUAL_INTERRUPT, WANTED, APICV | VMX_WITHOUT_VID, FEATURE(vid),
     "virtual-interrupt delivery", NULL},
    {SEC_PAUSE_LOOP, LATER, 0, FEATURE(pause_loop), "PAUSE-loop exiting", NULL},
    {SEC_RDRAND, NEVER, 0, 0, "RDRAND exiting", NULL},
    {SEC_INVPCID, WANTED, VMX_WITHOUT_INVPCID, FEATURE(invpcid), "enable INVPCID", NULL},
    {SEC_VM_FUNCTIONS, NEVER, 0, 0, "enable VM functions", NULL},
    {SEC_VMCS_SHADOWING, NEVER, 0, 0, "VMCS shadowing", NULL},
    {SEC_ENCLS, NEVER, 0, 0, "enable ENCLS exiting", NULL},
    {SEC_RDSEED, NEVER, 0, 0, "RDSEED exiting", NULL},
    {SEC_PML, LATER, VMX_WITHOUT_PML | VMX_WITHOUT_EPT_AD, FEATURE(pml), "enable PML", NULL},
    {SEC_EPT_VIOLATION_VE, NEVER, 0, 0, "EPT-violation #VE", NULL},
    {SEC_CONCEAL_FROM_PT, NEVER, 0, 0, "conceal VMX from PT", NULL},
    {SEC_XSAVES, WANTED, VMX_WITHOUT_XSAVES, FEATURE(xsaves), "enable XSAVES/XRSTORS", NULL},
    {SEC_MODE_BASED_EXECUTE, LATER, 0, FEATURE(mode_based_execute),
     "mode-based execute control for EPT", NULL},
    {SEC_SUB_PAGE, NEVER, 0, 0, "sub-page write permissions for EPT", NULL},
    {SEC_PT_GUEST_PHYSICAL, NEVER, 0, 0, "Intel PT uses guest physical addresses", NULL},
    {SEC_TSC_SCALING, LATER, 0, FEATURE(tsc_scaling), "use TSC scaling", NULL},
    {SEC_USER_WAIT, LATER, 0, FEATURE(user_wait), "enable user wait and pause", NULL},
    {SEC_PCONFIG, NEVER, 0, 0, "enable PCONFIG", NULL},
    {SEC_ENCLV, NEVER, 0, 0, "enable ENCLV exiting", NULL},
    {SEC_BUS_LOCK, LATER, VMX_WITHOUT_BUS_LOCK, FEATURE(bus_lock), "VMM bus-lock detection", NULL},
    {SEC_NOTIFY, LATER, VMX_WITHOUT_NOTIFY, FEATURE(notify), "notify VM exiting", NULL},
};

static const struct control exit_controls[] = {
    {EXIT_SAVE_DEBUG, REQUIRED, 0, 0, "save debug controls", NEEDS_BASIC "save debug controls"},
    {EXIT_HOST_64BIT, REQUIRED, 0, 0, "host address-space size", CPU_LACKS "64-bit VMX hosts"},
    {EXIT_LOAD_PERF_GLOBAL, LATER, 0, FEATURE(perf_global), "load IA32_PERF_GLOBAL_CTRL (exit)",
     NULL},
    {EXIT_ACK_INTERRUPT, REQUIRED, 0, 0, "acknowledge interrupt on exit",
     NEEDS_BASIC "acknowledge interrupt on exit"},
    {EXIT_SAVE_PAT, REQUIRED, 0, 0, "save IA32_PAT",
     CPU_LACKS "saving IA32_PAT on VM exit" NEEDS("2008")},
    {EXIT_LOAD_PAT, REQUIRED, 0, 0, "load IA32_PAT (exit)",
     CPU_LACKS "loading IA32_PAT on VM exit" NEEDS("2008")},
    {EXIT_SAVE_EFER, REQUIRED, 0, 0, "save IA32_EFER",
     CPU_LACKS "saving IA32_EFER on VM exit" NEEDS("2008")},
    {EXIT_LOAD_EFER, REQUIRED, 0, 0, "load IA32_EFER (exit)",
     CPU_LACKS "loading IA32_EFER on VM exit" NEEDS("2008")},
    {EXIT_SAVE_PREEMPTION, NEVER, 0, 0, "save VMX-preemption timer value", NULL},
    {EXIT_CLEAR_BNDCFGS, NEVER, 0, 0, "clear IA32_BNDCFGS", NULL},
    {EXIT_CONCEAL_FROM_PT, NEVER, 0, 0, "conceal VMX from PT (exit)", NULL},
    {EXIT_LOAD_CET, NEVER, 0, 0, "load CET state (exit)", NULL},
    {EXIT_LOAD_PKRS, NEVER, 0, 0, "load PKRS (exit)", NULL},
};

static const struct control entry_controls[] = {
    {ENTRY_LOAD_DEBUG, REQUIRED, 0, 0, "load debug controls", NEEDS_BASIC "load debug controls"},
    {ENTRY_IA32E_GUEST, LATER, 0, 0, "IA-32e mode guest", CPU_LACKS "64-bit VMX guests"},
    {ENTRY_SMM, NEVER, 0, 0, "entry to SMM", NULL},
    {ENTRY_DEACTIVATE_DUAL, NEVER, 0, 0, "deactivate dual-monitor treatment", NULL},
    {ENTRY_LOAD_PERF_GLOBAL, LATER, 0, FEATURE(perf_global), "load IA32_PERF_GLOBAL_CTRL (entry)",
     NULL},
    {ENTRY_LOAD_PAT, REQUIRED, 0, 0, "load IA32_PAT (entry)",
     CPU_LACKS "loading IA32_PAT on VM entry" NEEDS("2008")},
    {ENTRY_LOAD_EFER, REQUIRED, 0, 0, "load IA32_EFER (entry)",
     CPU_LACKS "loading IA32_EFER on VM entry" NEEDS("2008")},
    {ENTRY_LOAD_BNDCFGS, NEVER, 0, 0, "load IA32_BNDCFGS", NULL},
    {ENTRY_CONCEAL_FROM_PT, NEVER, 0, 0, "conceal VMX from PT (entry)", NULL},
    {ENTRY_LOAD_CET, NEVER, 0, 0, "load CET state (entry)", NULL},
    {ENTRY_LOAD_PKRS, NEVER, 0, 0, "load PKRS (entry)", NULL},
};

static const struct {
    const struct control *rows;
    size_t count;
} tables[] = {
    [VMX_WORD_PIN] = {pin_controls, ARRAY_SIZE(pin_controls)},
    [VMX_WORD_PRIMARY] = {primary_controls, ARRAY_SIZE(primary_controls)},
    [VMX_WORD_SECONDARY] = {secondary_controls, ARRAY_SIZE(secondary_controls)},
    [VMX_WORD_EXIT] = {exit_controls, ARRAY_SIZE(exit_controls)},
    [VMX_WORD_ENTRY] = {entry_controls, ARRAY_SIZE(entry_controls)},
};

const char *vmx_control_name(enum vmx_word word, unsigned bit)
{
    if ((unsigned)word >= ARRAY_SIZE(tables) || bit > 31)
        return NULL;
    for (size_t i = 0; i < tables[word].count; i++)
        if (tables[word].rows[i].bit == BIT(bit))
            return tables[word].rows[i].name;
    return NULL;
}

struct choice {
    struct vmx_features *features;
    uint32_t without;
    int lacking;
    void (*missing)(void *ctx, const char *sentence);
    void *ctx;
};

static void lack(struct choice *c, const char *sentence)
{
    c->lacking++;
    if (c->missing)
        c->missing(c->ctx, sentence);
}

/* capability: low half must be 1, high half may be 1 (SDM, "VMX Controls"). */
static uint32_t choose_word(struct choice *c, enum vmx_word word, uint64_t capability)
{
    uint32_t must = (uint32_t)capability, may = (uint32_t)(capability >> 32), result = must;

    for (size_t i = 0; i < tables[word].count; i++) {
        const struct control *row = &tables[word].rows[i];
        bool usable = may & row->bit;
        bool wanted = usable && !(row->without & c->without);

        if (row->need == REQUIRED || (row->need == WANTED && wanted))
            result |= row->bit;
        if (row->missing && ((row->need == NEVER) ? (must & row->bit) != 0 : !usable))
            lack(c, row->missing);
        if (row->feature)
            *((bool *)c->features + row->feature - 1) = wanted;
    }
    return result & may;
}

/* What hangs on something else than its own control bit. */
static void apply_dependencies(const struct vmx_caps *caps, struct vmx_controls *w,
                               struct vmx_features *f)
{
    uint32_t off = 0;

    /* Without the shadow every one of these must be 0 (SDM, "VM-Execution Control Fields" of the
     * entry checks). */
    f->virtualize_x2apic &= f->tpr_shadow;
    f->apic_register &= f->tpr_shadow;
    f->vid &= f->tpr_shadow;
    f->posted_interrupts &= f->vid;
    if (!f->apic_register)
        off |= SEC_APIC_REGISTER;
    if (!f->vid)
        off |= SEC_VIRTUAL_INTERRUPT;
    if (!f->tpr_shadow)
        w->primary |= CPU_CR8_LOAD | CPU_CR8_STORE;

    f->rdtscp &= caps->rdtscp;
    f->invpcid &= caps->invpcid;
    f->xsaves &= caps->xsaves;
    f->user_wait &= caps->waitpkg;
    if (!f->rdtscp)
        off |= SEC_RDTSCP;
    if (!f->invpcid)
        off |= SEC_INVPCID;
    if (!f->xsaves)
        off |= SEC_XSAVES;

    f->invvpid_address = caps->ept_vpid & BIT(40);
    f->invvpid_single = caps->ept_vpid & BIT(41);
    f->invvpid_all = caps->ept_vpid & BIT(42);
    f->invvpid_single_keep_global = caps->ept_vpid & BIT(43);
    /* A VPID whose translations cannot be dropped is of no use. */
    f->vpid &= (caps->ept_vpid & BIT(32)) && (f->invvpid_single || f->invvpid_all);
    if (!f->vpid)
        off |= SEC_VPID;
    w->secondary &= ~off | (uint32_t)caps->secondary;
}

static void choose_ept(struct choice *c, const struct vmx_caps *caps)
{
    struct vmx_features *f = c->features;
    uint64_t cap = caps->ept_vpid;

    f->ept_execute_only = cap & BIT(0);
    f->ept_wb = cap & BIT(14);
    f->ept_2m = cap & BIT(16) && !(c->without & VMX_WITHOUT_EPT_2M);
    f->ept_1g = cap & BIT(17) && f->ept_2m && !(c->without & VMX_WITHOUT_EPT_1G);
    f->invept = cap & BIT(20);
    f->ept_ad = cap & BIT(21) && !(c->without & VMX_WITHOUT_EPT_AD);
    f->ept_exit_qualification = cap & BIT(22);
    f->ept_supervisor_shadow = cap & BIT(23);
    f->invept_single = f->invept && cap & BIT(25);
    f->invept_all = f->invept && cap & BIT(26);
    f->pml &= f->ept_ad;
    if (!(caps->secondary >> 32 & SEC_EPT))
        return;
    if (!(cap & BIT(6)))
        lack(c, CPU_LACKS "EPT with four levels");
    if (!(cap & (BIT(8) | BIT(14))))
        lack(c, CPU_LACKS "a usable memory type for EPT paging structures");
    if (!f->invept_single && !f->invept_all)
        lack(c, CPU_LACKS "INVEPT: enable it in the outer hypervisor if there is one");
}

int vmx_choose_controls(const struct vmx_caps *caps, uint32_t without,
                        struct vmx_controls *controls, struct vmx_features *features,
                        void (*missing)(void *ctx, const char *sentence), void *ctx)
{
    struct choice c = {features, without, 0, missing, ctx};

    *features = (struct vmx_features){0};
    /* The perf-global feature is in two words: the entry word, chosen after the exit word, may only
     * take it away. */
    controls->exit = choose_word(&c, VMX_WORD_EXIT, caps->exit);
    bool exit_perf_global = features->perf_global;
    controls->entry = choose_word(&c, VMX_WORD_ENTRY, caps->entry);
    features->perf_global &= exit_perf_global;
    controls->pin = choose_word(&c, VMX_WORD_PIN, caps->pin);
    controls->primary = choose_word(&c, VMX_WORD_PRIMARY, caps->primary);
    controls->secondary = choose_word(&c, VMX_WORD_SECONDARY, caps->secondary);
    choose_ept(&c, caps);
    apply_dependencies(caps, controls, features);

    features->preemption_shift = caps->misc & 31;
    features->ia32e_stored = caps->misc & BIT(5);
    features->hlt_activity = caps->misc & BIT(6);
    features->zero_length_injection = caps->misc & BIT(30);
    features->ins_outs = (caps->basic & VMX_BASIC_INS_OUTS) && !(without & VMX_WITHOUT_INS_OUTS);
    features->no_error_code = caps->basic & VMX_BASIC_NO_ERROR;
    features->cr0_fixed0 = caps->cr0_fixed0;
    features->cr0_fixed1 = caps->cr0_fixed1;
    features->cr4_fixed0 = caps->cr4_fixed0;
    features->cr4_fixed1 = caps->cr4_fixed1;
    features->physical_bits = caps->physical_bits;
    return c.lacking;
}
