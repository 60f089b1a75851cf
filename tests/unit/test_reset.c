/* links: vmx/reset.c */
/*
 * SDM, "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT", row by row with
 * its footnotes, for all three. x87, vector registers and XCR0, which the CPU holds, are the test
 * guest smp_reset's.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "vmx/vcpu.h"

#define DIRT 0x123456789abcdef0ULL

static uint64_t fields[0x7000];
static struct vmx_vcpu v;
static struct vmx_segment segments[SEG_COUNT];
static uint64_t cr0, cr3, cr4, efer, rip, rflags, table_base[2];
static uint16_t table_limit[2];

uint64_t vmread_any(enum vmcs_field field)
{
    return fields[field];
}

void vmwrite_any(enum vmcs_field field, uint64_t value)
{
    fields[field] = value;
}

void vmx_set_segment(enum segment s, const struct vmx_segment *in)
{
    segments[s] = *in;
}

uint64_t vmx_get_cr0(void)
{
    return cr0;
}

void vmx_set_cr0(struct vmx_vcpu *hw, uint64_t value)
{
    cr0 = value;
}

void vmx_set_cr3(struct vmx_vcpu *hw, uint64_t value)
{
    cr3 = value;
}

void vmx_set_cr4(struct vmx_vcpu *hw, uint64_t value)
{
    cr4 = value;
}

void vmx_set_efer(struct vmx_vcpu *hw, uint64_t value)
{
    efer = value;
}

void vmx_set_rip(uint64_t value)
{
    rip = value;
}

void vmx_set_rflags(uint64_t value)
{
    rflags = value;
}

void vmx_set_descriptor_table(bool idt, uint64_t base, uint16_t limit)
{
    table_base[idt] = base;
    table_limit[idt] = limit;
}

#define UNCHANGED DIRT
#define CACHING   (CR0_CD | CR0_NW)
#define FIELD(f)  &fields[f]
#define ALL(n)    n, n, n

struct row {
    const char *name;
    uint64_t *value;
    uint64_t after[3]; /* power-up, RESET, INIT */
};

static const struct row rows[] = {
    {"EFLAGS", &rflags, {ALL(2)}},
    {"EIP", &rip, {ALL(0xfff0)}},
    {"CR2", &v.cr2, {ALL(0)}},
    {"CR3", &cr3, {ALL(0)}},
    {"CR4", &cr4, {ALL(0)}},
    {"IA32_EFER", &efer, {ALL(0)}},
    {"EAX", &v.gpr[RAX], {ALL(0)}},
    {"EBX", &v.gpr[RBX], {ALL(0)}},
    {"ECX", &v.gpr[RCX], {ALL(0)}},
    {"ESI", &v.gpr[RSI], {ALL(0)}},
    {"EDI", &v.gpr[RDI], {ALL(0)}},
    {"EBP", &v.gpr[RBP], {ALL(0)}},
    {"ESP", FIELD(VMCS_GUEST_RSP), {ALL(0)}},
    {"R8", &v.gpr[R8], {ALL(0)}},
    {"R9", &v.gpr[R9], {ALL(0)}},
    {"R10", &v.gpr[R10], {ALL(0)}},
    {"R11", &v.gpr[R11], {ALL(0)}},
    {"R12", &v.gpr[R12], {ALL(0)}},
    {"R13", &v.gpr[R13], {ALL(0)}},
    {"R14", &v.gpr[R14], {ALL(0)}},
    {"R15", &v.gpr[R15], {ALL(0)}},
    {"GDTR base", &table_base[0], {ALL(0)}},
    {"IDTR base", &table_base[1], {ALL(0)}},
    {"DR0", &v.dr[0], {ALL(0)}},
    {"DR1", &v.dr[1], {ALL(0)}},
    {"DR2", &v.dr[2], {ALL(0)}},
    {"DR3", &v.dr[3], {ALL(0)}},
    {"DR6", &v.dr6, {ALL(0xffff0ff0)}},
    {"DR7", FIELD(VMCS_GUEST_DR7), {ALL(0x400)}},
    {"IA32_PAT", FIELD(VMCS_GUEST_PAT), {0x0007040600070406, 0x0007040600070406, UNCHANGED}},
    {"IA32_DEBUGCTL", FIELD(VMCS_GUEST_DEBUGCTL), {0, 0, UNCHANGED}},
    {"IA32_SYSENTER_CS", FIELD(VMCS_GUEST_SYSENTER_CS), {0, 0, UNCHANGED}},
    {"IA32_SYSENTER_ESP", FIELD(VMCS_GUEST_SYSENTER_ESP), {0, 0, UNCHANGED}},
    {"IA32_SYSENTER_EIP", FIELD(VMCS_GUEST_SYSENTER_EIP), {0, 0, UNCHANGED}},
    {"IA32_STAR", &v.shared_msr[SHARED_STAR], {0, 0, UNCHANGED}},
    {"IA32_LSTAR", &v.shared_msr[SHARED_LSTAR], {0, 0, UNCHANGED}},
    {"IA32_CSTAR", &v.shared_msr[SHARED_CSTAR], {0, 0, UNCHANGED}},
    {"IA32_FMASK", &v.shared_msr[SHARED_FMASK], {0, 0, UNCHANGED}},
    {"IA32_KERNEL_GS_BASE", &v.shared_msr[SHARED_KERNEL_GS_BASE], {0, 0, UNCHANGED}},
    {"IA32_TSC_AUX", &v.shared_msr[SHARED_TSC_AUX], {0, 0, UNCHANGED}},
    {"XCR0, by fpu_reset()", &v.xcr0, {UNCHANGED, UNCHANGED, UNCHANGED}},
    {"IA32_XSS, by fpu_reset()", &v.xss, {UNCHANGED, UNCHANGED, UNCHANGED}},
    {"TSC", FIELD(VMCS_TSC_OFFSET), {UNCHANGED, UNCHANGED, UNCHANGED}},
    {"activity", FIELD(VMCS_GUEST_ACTIVITY), {ALL(0)}},
    {"interruptibility", FIELD(VMCS_GUEST_INTERRUPTIBILITY), {ALL(0)}},
    {"pending debug exceptions", FIELD(VMCS_GUEST_PENDING_DEBUG), {ALL(0)}},
    {"event to be injected", FIELD(VMCS_ENTRY_INTR_INFO), {ALL(0)}},
};

static void make_dirty(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        *rows[i].value = DIRT;
    v.gpr[RDX] = DIRT;
    memset(segments, 0xcc, sizeof(segments));
    memset(table_limit, 0, sizeof(table_limit));
    cr0 = CR0_PG | CR0_PE | CR0_NE | CR0_WP | CR0_TS | CR0_EM | CR0_MP | CR0_AM;
}

static void check_segment(enum segment s, uint16_t selector, uint64_t base, uint32_t access)
{
    const struct vmx_segment *is = &segments[s];

    if (is->selector != selector || is->base != base || is->limit != 0xffff || is->access != access)
        fail_msg("segment %u: %x, base %llx limit %x access %x", s, is->selector,
                 (unsigned long long)is->base, is->limit, is->access);
}

static void check(enum vmx_reset kind)
{
    static const char *const name[] = {"power-up", "RESET", "INIT"};

    make_dirty();
    vmx_reset_state(&v, kind);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        if (*rows[i].value != rows[i].after[kind])
            fail_msg("%s after %s: %llx, not %llx", rows[i].name, name[kind],
                     (unsigned long long)*rows[i].value, (unsigned long long)rows[i].after[kind]);
    assert_int_equal(v.gpr[RDX], cpuid(1, 0).eax); /* footnote: family, model, stepping */
    check_segment(SEG_CS, 0xf000, 0xffff0000, 0x9b);
    for (enum segment s = SEG_ES; s <= SEG_GS; s++)
        if (s != SEG_CS)
            check_segment(s, 0, 0, 0x93);
    check_segment(SEG_LDTR, 0, 0, 0x82);
    check_segment(SEG_TR, 0, 0, 0x8b);
    assert_int_equal(table_limit[0], 0xffff);
    assert_int_equal(table_limit[1], 0xffff);
}

static void every_row(void **state)
{
    check(VMX_POWER_ON);
    check(VMX_RESET);
    check(VMX_INIT);
}

/* 60000010h; the footnote: INIT leaves CD and NW, sets bit 4, clears the rest. */
static void cr0_after(void **state)
{
    static const uint64_t before[] = {0, CR0_CD, CR0_CD | CR0_NW};

    for (unsigned i = 0; i < ARRAY_SIZE(before); i++) {
        make_dirty();
        cr0 |= before[i];
        vmx_reset_state(&v, VMX_INIT);
        assert_int_equal(cr0, CR0_ET | before[i]);
        cr0 = ~CACHING | before[i];
        vmx_reset_state(&v, VMX_RESET);
        assert_int_equal(cr0, 0x60000010);
        cr0 = before[i];
        vmx_reset_state(&v, VMX_POWER_ON);
        assert_int_equal(cr0, 0x60000010);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row),
        cmocka_unit_test(cr0_after),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
