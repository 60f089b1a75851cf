#include "vmx/caps.h"

#define MSR_FEATURE_CONTROL 0x03a
#define MSR_BASIC           0x480
#define MSR_PIN             0x481
#define MSR_PRIMARY         0x482
#define MSR_EXIT            0x483
#define MSR_ENTRY           0x484
#define MSR_MISC            0x485
#define MSR_CR0_FIXED0      0x486
#define MSR_CR0_FIXED1      0x487
#define MSR_CR4_FIXED0      0x488
#define MSR_CR4_FIXED1      0x489
#define MSR_VMCS_ENUM       0x48a
#define MSR_SECONDARY       0x48b
#define MSR_EPT_VPID        0x48c
#define MSR_TRUE_PIN        0x48d
#define MSR_TRUE_PRIMARY    0x48e
#define MSR_TRUE_EXIT       0x48f
#define MSR_TRUE_ENTRY      0x490
#define MSR_VMFUNC          0x491
#define MSR_TERTIARY        0x492

enum { EAX, EBX, ECX, EDX };

static void read_cpuid(struct vmx_caps *caps, const struct vmx_probe *probe)
{
    uint32_t r[4];

    probe->cpuid(probe->ctx, 0, 0, r);
    uint32_t last = r[EAX];
    caps->intel = r[EBX] == 0x756e6547 && r[EDX] == 0x49656e69 && r[ECX] == 0x6c65746e;
    probe->cpuid(probe->ctx, 1, 0, r);
    caps->vmx = r[ECX] & BIT(5);
    caps->smx = r[ECX] & BIT(6);
    bool pae = r[EDX] & BIT(6);
    if (last >= 7) {
        probe->cpuid(probe->ctx, 7, 0, r);
        caps->invpcid = r[EBX] & BIT(10);
        caps->waitpkg = r[ECX] & BIT(5);
        caps->la57 = r[ECX] & BIT(16);
    }
    if (last >= 0xd) {
        probe->cpuid(probe->ctx, 0xd, 1, r);
        caps->xsaves = r[EAX] & BIT(3);
    }
    probe->cpuid(probe->ctx, 0x80000000, 0, r);
    uint32_t last_extended = r[EAX];
    if (last_extended >= 0x80000001) {
        probe->cpuid(probe->ctx, 0x80000001, 0, r);
        caps->nx = r[EDX] & BIT(20);
        caps->page_1g = r[EDX] & BIT(26);
        caps->rdtscp = r[EDX] & BIT(27);
    }
    caps->physical_bits = pae ? 36 : 32;
    caps->linear_bits = 48;
    if (last_extended >= 0x80000008) {
        probe->cpuid(probe->ctx, 0x80000008, 0, r);
        caps->physical_bits = (uint8_t)r[EAX];
        caps->linear_bits = (uint8_t)(r[EAX] >> 8);
    }
    caps->physical_bits = MIN(MAX(caps->physical_bits, 32), 52);
    caps->linear_bits = MIN(MAX(caps->linear_bits, 48), 57);
}

static bool may_be_1(uint64_t capability, unsigned bit)
{
    return capability >> 32 & BIT(bit);
}

void vmx_caps_read(struct vmx_caps *caps, const struct vmx_probe *probe)
{
    *caps = (struct vmx_caps){0};
    read_cpuid(caps, probe);
    if (!caps->vmx)
        return;

#define READ(msr) probe->rdmsr(probe->ctx, msr)
    caps->feature_control = READ(MSR_FEATURE_CONTROL);
    caps->basic = READ(MSR_BASIC);
    bool true_controls = caps->basic & VMX_BASIC_TRUE;
    caps->pin = READ(true_controls ? MSR_TRUE_PIN : MSR_PIN);
    caps->primary = READ(true_controls ? MSR_TRUE_PRIMARY : MSR_PRIMARY);
    caps->exit = READ(true_controls ? MSR_TRUE_EXIT : MSR_EXIT);
    caps->entry = READ(true_controls ? MSR_TRUE_ENTRY : MSR_ENTRY);
    caps->misc = READ(MSR_MISC);
    caps->cr0_fixed0 = READ(MSR_CR0_FIXED0);
    caps->cr0_fixed1 = READ(MSR_CR0_FIXED1);
    caps->cr4_fixed0 = READ(MSR_CR4_FIXED0);
    caps->cr4_fixed1 = READ(MSR_CR4_FIXED1);
    caps->vmcs_enum = READ(MSR_VMCS_ENUM);
    if (may_be_1(caps->primary, 31))
        caps->secondary = READ(MSR_SECONDARY);
    if (may_be_1(caps->primary, 17))
        caps->tertiary = READ(MSR_TERTIARY);
    if (may_be_1(caps->secondary, 1) || may_be_1(caps->secondary, 5))
        caps->ept_vpid = READ(MSR_EPT_VPID);
    if (may_be_1(caps->secondary, 13))
        caps->vmfunc = READ(MSR_VMFUNC);
#undef READ
}

enum vmx_firmware vmx_check_firmware(const struct vmx_caps *caps, const char **sentence)
{
    if (!caps->vmx) {
        *sentence =
            caps->intel
                ? "this CPU shows no VT-x (VMX): it has none, or firmware or an outer hypervisor "
                  "hides it: enable Intel Virtualization Technology in firmware setup, or nested "
                  "virtualization in the outer hypervisor"
                : "this is not an Intel CPU: Corbel needs Intel VT-x (VMX)";
        return VMX_FIRMWARE_OFF;
    }
    if (!(caps->feature_control & FEATURE_CONTROL_LOCK))
        return VMX_FIRMWARE_OPEN;
    if (caps->feature_control & FEATURE_CONTROL_VMX)
        return VMX_FIRMWARE_ON;
    *sentence = caps->feature_control & FEATURE_CONTROL_VMX_IN_SMX
                    ? "VT-x is locked by firmware to measured launch: enable Intel Virtualization "
                      "Technology "
                      "outside Trusted Execution (TXT) in firmware setup, then switch the machine "
                      "off and on"
                    : "VT-x is switched off and locked by firmware: enable Intel Virtualization "
                      "Technology in "
                      "firmware setup, then switch the machine off and on";
    return VMX_FIRMWARE_OFF;
}

uint64_t vmx_feature_control_value(const struct vmx_caps *caps)
{
    return caps->feature_control | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX;
}
