#include "vmx/dump.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "vmx/audit.h"
#include "vmx/cpu.h"
#include "vmx/exit_names.h"
#include "vmx/vmcs_access.h"

#define LINE 101 /* with its terminator */

struct dump {
    void (*line)(void *ctx, const char *text);
    void *ctx;
    unsigned zero; /* fields that are */
};

static void say(struct dump *d, const char *fmt, ...) PRINTF(2, 3);

static void say(struct dump *d, const char *fmt, ...)
{
    char text[LINE];
    va_list args;

    va_start(args, fmt);
    vformat(text, sizeof(text), fmt, args);
    va_end(args);
    d->line(d->ctx, text);
}

/* The names of the bits that are set, as many in a line as fit. */
static void say_bits(struct dump *d, enum vmx_word word, uint64_t value)
{
    char text[LINE] = "";
    size_t used = 0;

    for (unsigned bit = 0; bit < 32; bit++) {
        const char *name = vmx_control_name(word, bit);
        if (!(value & BIT(bit)) || !name)
            continue;
        if (used && used + strlen(name) + 2 >= sizeof(text)) {
            d->line(d->ctx, text);
            used = 0;
        }
        used +=
            (size_t)format(text + used, sizeof(text) - used, "%s%s", used ? ", " : "      ", name);
        used = MIN(used, sizeof(text) - 1);
    }
    if (used)
        d->line(d->ctx, text);
}

static const char *meaning(enum vmcs_field field, uint64_t value)
{
    static const char *const activity[] = {"active", "HLT", "shutdown", "wait for SIPI"};

    if (field == VMCS_EXIT_REASON)
        return vmx_exit_name(value & 0xffff);
    if (field == VMCS_GUEST_ACTIVITY && value < ARRAY_SIZE(activity))
        return activity[value];
    if (field == VMCS_INSTRUCTION_ERROR)
        return vmx_instruction_error((unsigned)value);
    return "";
}

static void say_field(struct dump *d, enum vmcs_field field, uint64_t value)
{
    static const int digits[] = {
        [VMCS_WIDTH_16] = 4, [VMCS_WIDTH_64] = 16, [VMCS_WIDTH_32] = 8, [VMCS_WIDTH_NATURAL] = 16};

    int width = digits[VMCS_FIELD_WIDTH(field)];
    const char *words = meaning(field, value);

    say(d, "  %-48s %*s%0*lx%s%s", vmcs_field_name(field), 16 - width, "", width, value,
        words[0] ? "  " : "", words);
    switch (field) {
    case VMCS_PIN_CONTROLS:
        say_bits(d, VMX_WORD_PIN, value);
        break;
    case VMCS_PRIMARY_CONTROLS:
        say_bits(d, VMX_WORD_PRIMARY, value);
        break;
    case VMCS_SECONDARY_CONTROLS:
        say_bits(d, VMX_WORD_SECONDARY, value);
        break;
    case VMCS_EXIT_CONTROLS:
        say_bits(d, VMX_WORD_EXIT, value);
        break;
    case VMCS_ENTRY_CONTROLS:
        say_bits(d, VMX_WORD_ENTRY, value);
        break;
    default:
        break;
    }
}

static void say_area(struct dump *d, enum vmcs_area area)
{
    enum vmcs_field field;
    uint64_t value;

    for (unsigned n = 0; vmcs_field_at(n, &field); n++) {
        if (VMCS_FIELD_AREA(field) != area || !vmcs_field_exists(&vmx_caps, field) ||
            !vmread_checked(field, &value))
            continue;
        if (value)
            say_field(d, field, value);
        else
            d->zero++;
    }
}

void vmx_dump_vmcs(void (*line)(void *ctx, const char *text), void *ctx)
{
    static const struct {
        enum vmcs_area area;
        const char *title;
    } areas[] = {{VMCS_AREA_READ_ONLY, "VM-exit information"},
                 {VMCS_AREA_CONTROL, "VMCS: controls"},
                 {VMCS_AREA_GUEST, "VMCS: guest state"},
                 {VMCS_AREA_HOST, "VMCS: host state"}};
    struct dump d = {.line = line, .ctx = ctx};

    for (unsigned i = 0; i < ARRAY_SIZE(areas); i++) {
        say(&d, "%s", areas[i].title);
        say_area(&d, areas[i].area);
    }
    say(&d, "%u more fields are 0", d.zero);
}
