/* links: vmx/audit*.c vmx/fields.c vmx/controls.c arch/x86/lib/format.c */
/*
 * Any VMCS content on any capabilities: the auditor ends, reads only fields that exist, and reports
 * as many sentences as it counts. Input: capability words, then {field number, value} pairs over a
 * good state.
 */
#include <stdlib.h>

#include "tests/unit/audit_state.h"

static struct vmx_caps caps;
static int reported;

static uint64_t read_field(void *ctx, enum vmcs_field field)
{
    if (!vmcs_field_exists(&caps, field))
        abort();
    return fields[field];
}

static void report(void *ctx, const char *sentence)
{
    if (!strstr(sentence, " is 0x") || strlen(sentence) > 223)
        abort();
    reported++;
}

static bool memory(void *ctx, uint64_t pa, void *data, size_t size)
{
    memset(data, (int)(pa >> 4), size);
    return !(pa & BIT(30));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmx_controls controls;
    struct vmx_features features;
    uint64_t *const words[] = {&caps.pin,    &caps.primary,   &caps.secondary, &caps.exit,
                               &caps.entry,  &caps.basic,     &caps.misc,      &caps.ept_vpid,
                               &caps.vmfunc, &caps.cr4_fixed1};

    if (size < sizeof(words) + 2)
        return 0;
    memset(&caps, 0, sizeof(caps));
    caps.physical_bits = (uint8_t)(32 + data[0] % 21);
    caps.linear_bits = data[0] & 128 ? 57 : 48;
    caps.cr0_fixed0 = 0x80000021;
    caps.cr0_fixed1 = 0xffffffff;
    enum audit_mode mode = data[1] % 4;
    data += 2;
    size -= 2;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (size < 8)
            return 0;
        memcpy(words[i], data, 8);
        data += 8;
        size -= 8;
    }
    if (vmx_choose_controls(&caps, 0, &controls, &features, NULL, NULL) < 0)
        abort();
    good_state(&controls, mode);
    for (; size >= 9; data += 9, size -= 9) {
        enum vmcs_field f;
        if (vmcs_field_at(data[0], &f))
            memcpy(&fields[f], data + 1, 8);
    }
    struct vmcs_audit a = {.caps = &caps, .read = read_field, .report = report, .memory = memory};
    reported = 0;
    if (audit_vmcs(&a) != reported)
        abort();
    return 0;
}
