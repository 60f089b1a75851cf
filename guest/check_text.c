/* The text of `mode = check`: from facts to lines, nothing else. */
#include "guest/check.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "vmx/vmcs.h"

#define LABEL   14 /* columns of the labels */
#define FEATURE 35 /* columns of the features' names */
#define TEXT    512

struct report {
    void (*line)(void *ctx, const char *text);
    void *ctx;
};

/* Where to end a line that has room for `room` characters of text: at the last blank, if there is
 * one. */
static size_t break_at(const char *text, size_t room)
{
    size_t length = strlen(text), end = room;

    if (length <= room)
        return length;
    while (end && text[end] != ' ')
        end--;
    return end ? end : room;
}

/* A label, and beside it text that goes on below itself where a line is too short for it. */
static void put(struct report *r, size_t column, const char *label, const char *fmt, ...)
    PRINTF(4, 5);
static void put(struct report *r, size_t column, const char *label, const char *fmt, ...)
{
    char text[TEXT], line[CHECK_COLUMNS + 1];
    const char *rest = text;
    va_list args;

    va_start(args, fmt);
    vformat(text, sizeof(text), fmt, args);
    va_end(args);
    do {
        size_t n = break_at(rest, CHECK_COLUMNS - column);

        format(line, sizeof(line), "%-*s%.*s", (int)column, label, (int)n, rest);
        r->line(r->ctx, line);
        label = "";
        rest += n;
        while (*rest == ' ')
            rest++;
    } while (*rest);
}

/* --- the machine --- */

static void put_processor(struct report *r, const struct check_facts *f)
{
    char microcode[32] = "";

    if (f->microcode)
        format(microcode, sizeof(microcode), ", microcode %lXh", (unsigned long)f->microcode);
    put(r, LABEL, "processor", "%s, by %s", f->cpu.name, f->cpu.vendor);
    put(r, LABEL, "", "family %Xh, model %Xh, stepping %u%s; %u-bit addresses", f->cpu.family,
        f->cpu.model, f->cpu.stepping, microcode, f->caps->physical_bits);
    if (f->running == f->enabled)
        put(r, LABEL, "processors", "%u, %u of them enabled; all of these answer", f->processors,
            f->enabled);
    else
        put(r, LABEL, "processors", "%u, %u of them enabled; only %u of these answer",
            f->processors, f->enabled, f->running);
}

static const char *const iommu_texts[] = {
    [IOMMU_NONE] = "no: devices reach all memory",
    [IOMMU_OFF] = "yes; off, as the config wants it: devices reach all memory",
    [IOMMU_BAD] = "yes, but it cannot be used: the log says why",
    [IOMMU_ON] = "yes, used; without interrupt remapping",
    [IOMMU_ON_WITH_INTERRUPTS] = "yes, used; with interrupt remapping",
};

static void put_machine(struct report *r, const struct check_facts *f)
{
    put(r, LABEL, "memory", "%lu MiB; firmware leaves %lu MiB, of which VMs can have %lu MiB",
        (unsigned long)(f->ram / MIB), (unsigned long)(f->left / MIB),
        (unsigned long)(f->free / MIB));
    put(r, LABEL, "clock", "TSC at %lu.%03lu MHz by %s%s%s", (unsigned long)(f->tsc_hz / 1000000),
        (unsigned long)(f->tsc_hz / 1000 % 1000), f->tsc_source,
        f->tsc_confirmed ? ", confirmed by " : "", f->tsc_confirmed ? f->tsc_confirmed : "");
    put(r, LABEL, "firmware", "UEFI; ACPI tables: %s",
        f->acpi   ? "yes"
        : f->rsdp ? "damaged; what every PC has is used instead"
                  : "none; what every PC has is used instead");
    put(r, LABEL, "serial port", "%s",
        !f->serial ? "none at 3F8h: no terminal for guests, and Corbel's lines on the screen only"
        : f->serial_interrupts ? "COM1 at 3F8h, 115200 baud, 8N1"
                               : "COM1 at 3F8h, 115200 baud, 8N1; without interrupts: polled");
    if (!f->screen_width)
        put(r, LABEL, "screen", "none that firmware set up: see the serial port");
    else
        put(r, LABEL, "screen", "%ux%u%s", f->screen_width, f->screen_height,
            f->screen_text ? "" : ", of a kind that Corbel shows no text on");
    put(r, LABEL, "IOMMU", "VT-d (DMAR table): %s", iommu_texts[f->iommu]);
}

/* --- VT-x --- */

struct feature {
    const char *name;
    uint16_t offset; /* in struct vmx_features */
    const char *instead;
};

#define ROW(field, name, instead)                                                                  \
    {                                                                                              \
        name, offsetof(struct vmx_features, field), instead                                        \
    }

static const struct feature features[] = {
    ROW(vpid, "virtual-processor identifiers", "the TLB is emptied on each VM entry and exit"),
    ROW(preemption_timer, "VMX-preemption timer", "the local APIC's timer"),
    ROW(virtual_nmi, "virtual NMIs", "a guest's NMI may wait for its next VM exit"),
    ROW(tpr_shadow, "TPR shadow", "each access to CR8 exits"),
    ROW(virtualize_apic_accesses, "virtual APIC page", "the guest's APIC by emulation"),
    ROW(virtualize_x2apic, "x2APIC-mode virtualization", "accesses to an x2APIC exit"),
    ROW(apic_register, "APIC-register virtualization", "reads of its APIC exit"),
    ROW(vid, "virtual-interrupt delivery", "Corbel injects each interrupt"),
    ROW(rdtscp, "RDTSCP in guests", "hidden from guests"),
    ROW(invpcid, "INVPCID in guests", "hidden from guests"),
    ROW(xsaves, "XSAVES in guests", "hidden from guests"),
    ROW(wbinvd_exiting, "WBINVD exiting", "a guest's WBINVD empties the machine's caches"),
    ROW(pause_loop, "PAUSE-loop exiting", "a vCPU that spins keeps its processor"),
    ROW(monitor_trap_flag, "monitor trap flag", "gdb and 'watch' step by RFLAGS.TF"),
};

static const struct feature unused[] = {
    ROW(posted_interrupts, "posted interrupts", NULL),
    ROW(ept_ad, "EPT accessed/dirty flags", NULL),
    ROW(pml, "PML", NULL),
    ROW(tsc_scaling, "TSC scaling", NULL),
    ROW(mode_based_execute, "mode-based execute control", NULL),
    ROW(user_wait, "user wait", NULL),
};

static bool has(const struct vmx_features *f, const struct feature *row)
{
    return *((const bool *)f + row->offset);
}

static const char *leaf(const struct vmx_caps *caps, const struct vmx_features *f)
{
    if (!(caps->secondary >> 32 & SEC_EPT))
        return "there is no EPT";
    return f->ept_1g ? "1 GiB" : f->ept_2m ? "2 MiB" : "4 KiB";
}

static void put_features(struct report *r, const struct check_facts *f)
{
    struct vmx_controls controls;
    struct vmx_features there, used;
    char list[TEXT] = "";
    int at = 0;

    (void)!vmx_choose_controls(f->caps, 0, &controls, &there, NULL, NULL);
    (void)!vmx_choose_controls(f->caps, f->without, &controls, &used, NULL, NULL);
    put(r, FEATURE, "  EPT leaves up to", "%s%s", leaf(f->caps, &used),
        leaf(f->caps, &used) == leaf(f->caps, &there)
            ? ""
            : "; larger ones are switched off by 'without'");
    for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
        char name[FEATURE + 1];

        format(name, sizeof(name), "  %s", features[i].name);
        if (has(&used, &features[i]))
            put(r, FEATURE, name, "used");
        else
            put(r, FEATURE, name, "%s: %s",
                has(&there, &features[i]) ? "switched off by 'without'" : "not there",
                features[i].instead);
    }
    for (size_t i = 0; i < ARRAY_SIZE(unused); i++)
        if (has(&there, &unused[i]))
            at += format(list + at, sizeof(list) - (size_t)at, "%s%s", at ? ", " : "",
                         unused[i].name);
    put(r, FEATURE, "  there, but not used yet", "%s", at ? list : "nothing");
}

static const char *vtx_state(const struct check_facts *f)
{
    const char *sentence;

    if (!f->caps->vmx)
        return "none";
    switch (vmx_check_firmware(f->caps, &sentence)) {
    case VMX_FIRMWARE_OFF:
        return "there, but locked by firmware: off";
    case VMX_FIRMWARE_OPEN:
        return f->vmxon == CHECK_VMXON_WORKS
                   ? "there; firmware left the choice to Corbel; tried: VMXON works"
                   : "there; firmware left the choice to Corbel";
    default:
        return f->vmxon == CHECK_VMXON_WORKS ? "there, and on; tried: VMXON works"
                                             : "there, and on";
    }
}

/* --- what stands against it --- */

struct obstacles {
    const char *headline;
    unsigned count;
};

/* Later sentences of vmx_choose_controls() are about younger features: they say most. */
static void note(void *ctx, const char *sentence)
{
    struct obstacles *o = ctx;

    o->headline = sentence;
    o->count++;
}

static void find_obstacles(const struct vmx_caps *caps, struct obstacles *o)
{
    struct vmx_controls controls;
    struct vmx_features chosen;
    const char *locked = NULL;

    *o = (struct obstacles){0};
    if (caps->vmx)
        (void)!vmx_choose_controls(caps, 0, &controls, &chosen, note, o);
    if (vmx_check_firmware(caps, &locked) == VMX_FIRMWARE_OFF)
        note(o, locked);
}

const char *check_obstacle(const struct vmx_caps *caps)
{
    struct obstacles o;

    find_obstacles(caps, &o);
    return o.headline;
}

bool check_report(const struct check_facts *f, void (*line)(void *ctx, const char *text), void *ctx)
{
    struct report r = {line, ctx};
    struct obstacles o;

    find_obstacles(f->caps, &o);
    if (!o.count && f->vmxon == CHECK_VMXON_REFUSED)
        note(&o, "VMXON was refused, and nobody said why: a report, please (docs/HARDWARE.md)");
    put(&r, 0, "", "What this machine has, and what Corbel would use (mode = check):");
    put_processor(&r, f);
    put_machine(&r, f);
    put(&r, LABEL, "VT-x", "%s", vtx_state(f));
    if (f->caps->vmx)
        put_features(&r, f);
    if (!o.count) {
        put(&r, 0, "", "Corbel would run here.");
        return true;
    }
    if (o.count == 1)
        put(&r, 0, "", "Corbel cannot run here: %s.", o.headline);
    else
        put(&r, 0, "", "Corbel cannot run here: %s; %u more such features are missing.", o.headline,
            o.count - 1);
    return false;
}
