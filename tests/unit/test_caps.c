/* links: vmx/caps.c vmx/controls.c */
/* Capability arithmetic on what real and emulated CPUs report (tests/unit/data/cpus). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/unit/cpu_files.h"
#include "vmx/controls.h"
#include "vmx/vmcs.h"

static char sentences[2048];
static void note(void *ctx, const char *sentence)
{
    strcat(sentences, sentence);
    strcat(sentences, "\n");
}

static struct cpu cpu;
static struct vmx_caps caps;
static struct vmx_controls words;
static struct vmx_features f;

static int choose(const char *name, uint32_t without)
{
    cpu_load(&cpu, name);
    cpu_probe(&cpu, &caps);
    sentences[0] = 0;
    return vmx_choose_controls(&caps, without, &words, &f, note, NULL);
}

static int choose_again(void)
{
    cpu_probe(&cpu, &caps);
    sentences[0] = 0;
    return vmx_choose_controls(&caps, 0, &words, &f, note, NULL);
}

/* The CPU without some allowed-1 bits of one capability MSR, none of which is required. */
static void load_and_drop(const char *name, uint32_t msr, uint32_t bits)
{
    cpu_load(&cpu, name);
    *cpu_msr(&cpu, msr) &= ~((uint64_t)bits << 32);
    assert_int_equal(choose_again(), 0);
}

static void obeys(const char *what, uint32_t word, uint64_t capability)
{
    if (~word & (uint32_t)capability || word & ~(uint32_t)(capability >> 32))
        fail_msg("%s %08x against %016llx", what, word, (unsigned long long)capability);
}

static void obey(void)
{
    obeys("pin", words.pin, *cpu_msr(&cpu, 0x48d));
    obeys("primary", words.primary, *cpu_msr(&cpu, 0x48e));
    obeys("exit", words.exit, *cpu_msr(&cpu, 0x48f));
    obeys("entry", words.entry, *cpu_msr(&cpu, 0x490));
    obeys("secondary", words.secondary, *cpu_msr(&cpu, 0x48b));
}

struct expectation {
    const char *name;
    const char *lacks; /* a word of the sentence, NULL: usable */
    bool x2apic, apic_register, vid, preempt, vpid, ept_1g, ept_ad, invpcid, rdtscp, xsaves, pml,
        tsc_scaling, mtf, posted, mbec, exec_only;
    uint8_t shift;
};

static const struct expectation expectations[] = {
    {.name = "core2_penryn_t9600", .lacks = "EPT"},
    {.name = "corei5_lynnfield_750",
     .lacks = "unrestricted guest",
     .x2apic = 1,
     .preempt = 1,
     .vpid = 1,
     .exec_only = 1},
    {"corei5_arrandale_m520", NULL, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0},
    {"corei7_sandy_bridge_2600k", NULL, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0},
    {"corei7_ivy_bridge_3770k", NULL, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0},
    {"corei7_haswell_4770", NULL, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0},
    {"corei7_haswell_4770_bochs30", NULL, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0},
    {"broadwell_ult", NULL, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0},
    {"corei7_skylake_x", NULL, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0},
    {"corei7_skylake_x_bochs30", NULL, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0},
    {"corei3_cnl", NULL, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 1, 0},
    {"corei7_icelake_u", NULL, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 0},
    {"tigerlake", NULL, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 0},
    {"sapphire_rapids_bochs31", NULL, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0},
    {"arrow_lake_bochs31", NULL, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0},
    /* its file holds leaf 1 only, so what CPUID must show as well is off */
    {"nested_kvm_on_skylake_x", NULL, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 5},
};

static void every_cpu(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(expectations); i++) {
        const struct expectation *e = &expectations[i];
        int lacking = choose(e->name, 0);

        if (e->lacks) {
            assert_true(lacking > 0);
            assert_non_null(strstr(sentences, e->lacks));
        } else {
            if (lacking)
                fail_msg("%s: %s", e->name, sentences);
            obey();
        }
#define SAME(field, expected)                                                                      \
    if (f.field != e->expected)                                                                    \
    fail_msg("%s: " #field " is %d", e->name, f.field)
        if (e->lacks && strstr(e->lacks, "EPT"))
            continue;
        SAME(virtualize_x2apic, x2apic);
        SAME(apic_register, apic_register);
        SAME(vid, vid);
        SAME(preemption_timer, preempt);
        SAME(vpid, vpid);
        SAME(ept_1g, ept_1g);
        SAME(ept_ad, ept_ad);
        SAME(ept_execute_only, exec_only);
        SAME(invpcid, invpcid);
        SAME(xsaves, xsaves);
        SAME(pml, pml);
        SAME(tsc_scaling, tsc_scaling);
        SAME(monitor_trap_flag, mtf);
        SAME(posted_interrupts, posted);
        SAME(mode_based_execute, mbec);
        SAME(preemption_shift, shift);
        if (!e->lacks)
            SAME(rdtscp, rdtscp);
        assert_true(f.tpr_shadow && f.ept_2m && f.invept_single && f.virtual_nmi);
    }
}

static void haswell_words(void **state)
{
    assert_int_equal(choose("corei7_haswell_4770", 0), 0);
    assert_int_equal(words.pin, 0x16 | PIN_EXTERNAL_INTERRUPT | PIN_NMI | PIN_VIRTUAL_NMI |
                                    PIN_PREEMPTION_TIMER);
    assert_int_equal(words.primary, 0x04006172 | CPU_TSC_OFFSETTING | CPU_HLT | CPU_MWAIT |
                                        CPU_RDPMC | CPU_TPR_SHADOW | CPU_IO_BITMAPS |
                                        CPU_MSR_BITMAPS | CPU_MONITOR | CPU_SECONDARY);
    assert_int_equal(words.secondary, SEC_EPT | SEC_RDTSCP | SEC_VPID | SEC_WBINVD |
                                          SEC_UNRESTRICTED_GUEST | SEC_APIC_REGISTER |
                                          SEC_VIRTUAL_INTERRUPT | SEC_INVPCID);
    assert_int_equal(words.exit, 0x36dfb | EXIT_SAVE_DEBUG | EXIT_HOST_64BIT | EXIT_ACK_INTERRUPT |
                                     EXIT_SAVE_PAT | EXIT_LOAD_PAT | EXIT_SAVE_EFER |
                                     EXIT_LOAD_EFER);
    assert_int_equal(words.entry, 0x11fb | ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER);
    assert_int_equal(f.physical_bits, 40);
    assert_true(f.hlt_activity && f.ia32e_stored && f.wbinvd_exiting);
}

static void each_switch(void **state)
{
    static const struct {
        uint32_t bit;
        size_t feature;
        uint32_t secondary; /* bits that must be gone */
    } rows[] = {
        {VMX_WITHOUT_VID, offsetof(struct vmx_features, vid), SEC_VIRTUAL_INTERRUPT},
        {VMX_WITHOUT_APICV, offsetof(struct vmx_features, apic_register),
         SEC_VIRTUAL_INTERRUPT | SEC_APIC_REGISTER},
        {VMX_WITHOUT_X2APIC_VIRT, offsetof(struct vmx_features, virtualize_x2apic),
         SEC_VIRTUALIZE_X2APIC},
        {VMX_WITHOUT_TPR, offsetof(struct vmx_features, tpr_shadow),
         SEC_VIRTUAL_INTERRUPT | SEC_APIC_REGISTER | SEC_VIRTUALIZE_X2APIC},
        {VMX_WITHOUT_PREEMPT, offsetof(struct vmx_features, preemption_timer), 0},
        {VMX_WITHOUT_VPID, offsetof(struct vmx_features, vpid), SEC_VPID},
        {VMX_WITHOUT_EPT_1G, offsetof(struct vmx_features, ept_1g), 0},
        {VMX_WITHOUT_EPT_2M, offsetof(struct vmx_features, ept_2m), 0},
        {VMX_WITHOUT_EPT_AD, offsetof(struct vmx_features, ept_ad), 0},
        {VMX_WITHOUT_INVPCID, offsetof(struct vmx_features, invpcid), SEC_INVPCID},
        {VMX_WITHOUT_RDTSCP, offsetof(struct vmx_features, rdtscp), SEC_RDTSCP},
        {VMX_WITHOUT_XSAVES, offsetof(struct vmx_features, xsaves), SEC_XSAVES},
        {VMX_WITHOUT_MTF, offsetof(struct vmx_features, monitor_trap_flag), 0},
        {VMX_WITHOUT_PML, offsetof(struct vmx_features, pml), SEC_PML},
        {VMX_WITHOUT_INS_OUTS, offsetof(struct vmx_features, ins_outs), 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(choose("corei7_skylake_x_bochs30", 0), 0);
        assert_true(*((bool *)&f + rows[i].feature));
        assert_int_equal(choose("corei7_skylake_x_bochs30", rows[i].bit), 0);
        assert_false(*((bool *)&f + rows[i].feature));
        assert_int_equal(words.secondary & rows[i].secondary, 0);
        obey();
    }
    assert_int_equal(choose("corei7_skylake_x_bochs30", VMX_WITHOUT_TPR), 0);
    assert_true(words.primary & CPU_CR8_LOAD && words.primary & CPU_CR8_STORE);
    assert_false(f.vid || f.posted_interrupts || words.primary & CPU_TPR_SHADOW);
    assert_int_equal(choose("corei7_skylake_x_bochs30", VMX_WITHOUT_EPT_2M), 0);
    assert_false(f.ept_1g);
    assert_int_equal(choose("corei7_skylake_x_bochs30", VMX_WITHOUT_PREEMPT), 0);
    assert_false(words.pin & PIN_PREEMPTION_TIMER);
    assert_int_equal(choose("corei7_skylake_x_bochs30", ~0u), 0);
    obey();
}

/* Take one allowed-1 bit away from a good CPU: either nothing needs it, or a sentence says what is
 * missing. */
static void each_missing_bit(void **state)
{
    static const uint32_t msrs[] = {0x48d, 0x48e, 0x48b, 0x48f, 0x490};
    static const uint32_t required[] = {
        PIN_EXTERNAL_INTERRUPT | PIN_NMI,
        CPU_INTERRUPT_WINDOW | CPU_TSC_OFFSETTING | CPU_HLT | CPU_MWAIT | CPU_RDPMC |
            CPU_IO_BITMAPS | CPU_MSR_BITMAPS | CPU_MONITOR | CPU_SECONDARY | CPU_CR8_LOAD |
            CPU_CR8_STORE,
        SEC_EPT | SEC_UNRESTRICTED_GUEST,
        EXIT_SAVE_DEBUG | EXIT_HOST_64BIT | EXIT_ACK_INTERRUPT | EXIT_SAVE_PAT | EXIT_LOAD_PAT |
            EXIT_SAVE_EFER | EXIT_LOAD_EFER,
        ENTRY_LOAD_DEBUG | ENTRY_IA32E_GUEST | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER,
    };
    for (size_t w = 0; w < ARRAY_SIZE(msrs); w++) {
        for (unsigned bit = 0; bit < 32; bit++) {
            cpu_load(&cpu, "corei7_skylake_x_bochs30");
            uint64_t *msr = cpu_msr(&cpu, msrs[w]);
            if (*msr & BIT(bit))
                continue; /* must be 1 */
            *msr &= ~BIT(bit + 32);
            cpu_probe(&cpu, &caps);
            sentences[0] = 0;
            int lacking = vmx_choose_controls(&caps, 0, &words, &f, note, NULL);
            if (required[w] & BIT(bit))
                assert_true(lacking > 0 && strlen(sentences) > 20);
            else if (lacking)
                fail_msg("word %zu bit %u: %s", w, bit, sentences);
            if (!lacking)
                obey();
        }
    }
}

static void insists(void **state)
{
    cpu_load(&cpu, "corei7_haswell_4770");
    *cpu_msr(&cpu, 0x480) &= ~BIT(55); /* no TRUE MSRs: CR3 exiting is stuck at 1 */
    cpu_probe(&cpu, &caps);
    sentences[0] = 0;
    assert_int_equal(vmx_choose_controls(&caps, 0, &words, &f, note, NULL), 2);
    assert_non_null(strstr(sentences, "CR3-load exiting"));
    assert_non_null(strstr(sentences, "CR3-store exiting"));

    cpu_load(&cpu, "corei7_haswell_4770");
    *cpu_msr(&cpu, 0x48c) &= ~BIT(6);
    cpu_probe(&cpu, &caps);
    assert_int_equal(vmx_choose_controls(&caps, 0, &words, &f, NULL, NULL), 1);

    cpu_load(&cpu, "corei7_haswell_4770");
    *cpu_msr(&cpu, 0x48c) &= ~BIT(32); /* VPID, but no INVVPID */
    cpu_probe(&cpu, &caps);
    assert_int_equal(vmx_choose_controls(&caps, 0, &words, &f, NULL, NULL), 0);
    assert_false(f.vpid || words.secondary & SEC_VPID);

    cpu_load(&cpu, "corei7_haswell_4770");
    *cpu_msr(&cpu, 0x48c) &= ~(BIT(41) | BIT(42)); /* INVVPID of single addresses only */
    assert_int_equal(choose_again(), 0);
    assert_false(f.vpid || words.secondary & SEC_VPID);

    cpu_load(&cpu, "corei7_haswell_4770");
    *cpu_msr(&cpu, 0x48e) |= CPU_RDTSC;
    assert_int_equal(choose_again(), 1);
    assert_non_null(strstr(sentences, "insists on RDTSC exiting"));

    /* What the CPU insists on stays, although CPUID does not show the instruction. */
    cpu_load(&cpu, "corei7_skylake_x_bochs30");
    *cpu_msr(&cpu, 0x48b) |= SEC_XSAVES;
    cpu_probe(&cpu, &caps);
    caps.xsaves = false;
    assert_int_equal(vmx_choose_controls(&caps, 0, &words, &f, note, NULL), 0);
    assert_false(f.xsaves);
    obey();
}

/* Features that hang on another one, or on CPUID. */
static void dependencies(void **state)
{
    static const char *const model = "corei7_skylake_x_bochs30";

    load_and_drop(model, 0x48e, CPU_TPR_SHADOW);
    assert_false(f.tpr_shadow || f.virtualize_x2apic || f.apic_register || f.vid ||
                 f.posted_interrupts);
    assert_int_equal(words.secondary & (SEC_APIC_REGISTER | SEC_VIRTUAL_INTERRUPT), 0);
    assert_true(words.primary & CPU_CR8_LOAD);
    load_and_drop(model, 0x48b, SEC_VIRTUAL_INTERRUPT);
    assert_true(f.apic_register && !f.vid && !f.posted_interrupts);
    load_and_drop(model, 0x48f, EXIT_LOAD_PERF_GLOBAL);
    assert_false(f.perf_global);
    load_and_drop(model, 0x490, ENTRY_LOAD_PERF_GLOBAL);
    assert_false(f.perf_global);
    load_and_drop(model, 0x490, 0);
    assert_true(f.perf_global);

    cpu_load(&cpu, model);
    *cpu_msr(&cpu, 0x48c) &= ~BIT(21); /* no accessed and dirty flags */
    choose_again();
    assert_false(f.pml || f.ept_ad);

    choose(model, 0);
    caps.rdtscp = caps.invpcid = caps.xsaves = false; /* CPUID does not show them */
    assert_int_equal(vmx_choose_controls(&caps, 0, &words, &f, note, NULL), 0);
    assert_false(f.rdtscp || f.invpcid || f.xsaves);
    assert_int_equal(words.secondary & (SEC_RDTSCP | SEC_INVPCID | SEC_XSAVES), 0);

    assert_int_equal(choose("sapphire_rapids_bochs31", 0), 0);
    assert_true(f.user_wait && caps.waitpkg);
    caps.waitpkg = false;
    assert_int_equal(vmx_choose_controls(&caps, 0, &words, &f, note, NULL), 0);
    assert_false(f.user_wait);
}

static void unusable_ept(void **state)
{
    cpu_load(&cpu, "corei7_haswell_4770");
    *cpu_msr(&cpu, 0x48c) &= ~(BIT(8) | BIT(14));
    assert_int_equal(choose_again(), 1);
    assert_non_null(strstr(sentences, "memory type"));
    cpu_load(&cpu, "corei7_haswell_4770");
    *cpu_msr(&cpu, 0x48c) &= ~(BIT(25) | BIT(26));
    assert_int_equal(choose_again(), 1);
    assert_non_null(strstr(sentences, "INVEPT"));
}

static void facts(void **state)
{
    assert_int_equal(choose("sapphire_rapids_bochs31", 0), 0);
    assert_true(caps.intel && !caps.smx && caps.la57 && caps.nx && caps.page_1g);
    assert_int_equal(caps.physical_bits, 40);
    assert_int_equal(caps.linear_bits, 57);
    assert_true(caps.cr0_fixed0 == 0x80000021 && f.cr0_fixed0 == caps.cr0_fixed0);
    assert_true(caps.cr0_fixed1 == 0xffffffff && f.cr0_fixed1 == caps.cr0_fixed1);
    assert_true(caps.cr4_fixed0 == 0x2000 && f.cr4_fixed0 == caps.cr4_fixed0);
    assert_true(caps.cr4_fixed1 == 0x3f73fff && f.cr4_fixed1 == caps.cr4_fixed1);
    assert_true(caps.vmcs_enum == 0x54 && caps.vmfunc == 1 && caps.tertiary == 0);
    assert_true(f.ept_wb && f.ept_exit_qualification && f.ept_supervisor_shadow && f.invept_all);
    assert_true(f.invvpid_address && f.invvpid_single && f.invvpid_all &&
                f.invvpid_single_keep_global);
    assert_true(f.no_error_code && f.zero_length_injection && f.ins_outs);
    caps.basic &= ~BIT(54); /* as under old outer hypervisors */
    assert_int_equal(vmx_choose_controls(&caps, 0, &words, &f, note, NULL), 0);
    assert_false(f.ins_outs);
    assert_int_equal(choose("corei7_haswell_4770", 0), 0);
    assert_true(!caps.la57 && !f.no_error_code && !f.zero_length_injection &&
                !f.ept_supervisor_shadow);
    assert_int_equal(caps.linear_bits, 48);
    assert_true(choose("core2_penryn_t9600", 0) > 0);
    assert_true(caps.smx);
    assert_int_equal(choose("nested_kvm_on_skylake_x", 0), 0); /* no leaf 80000008h */
    assert_int_equal(caps.linear_bits, 48);
    assert_int_equal(caps.physical_bits, 32);
}

static void firmware(void **state)
{
    const char *s = NULL;

    cpu_load(&cpu, "corei7_haswell_4770");
    cpu_probe(&cpu, &caps);
    assert_int_equal(vmx_check_firmware(&caps, &s), VMX_FIRMWARE_OPEN);
    assert_int_equal(vmx_feature_control_value(&caps), 5);
    *cpu_msr(&cpu, 0x3a) = 5;
    cpu_probe(&cpu, &caps);
    assert_int_equal(vmx_check_firmware(&caps, &s), VMX_FIRMWARE_ON);
    assert_null(s);
    *cpu_msr(&cpu, 0x3a) = 1;
    cpu_probe(&cpu, &caps);
    assert_int_equal(vmx_check_firmware(&caps, &s), VMX_FIRMWARE_OFF);
    assert_non_null(strstr(s, "locked by firmware: enable Intel Virtualization Technology"));
    *cpu_msr(&cpu, 0x3a) = 3;
    cpu_probe(&cpu, &caps);
    assert_int_equal(vmx_check_firmware(&caps, &s), VMX_FIRMWARE_OFF);
    assert_non_null(strstr(s, "measured launch"));

    cpu_load(&cpu, "ryzen"); /* no MSR may be read */
    cpu_probe(&cpu, &caps);
    assert_int_equal(vmx_check_firmware(&caps, &s), VMX_FIRMWARE_OFF);
    assert_non_null(strstr(s, "not an Intel CPU"));

    cpu_load(&cpu, "corei7_haswell_4770");
    for (unsigned i = 0; i < cpu.cpuids; i++)
        if (cpu.cpuid[i].leaf == 1)
            cpu.cpuid[i].regs[2] &= ~BIT(5);
    cpu.msrs = 0;
    cpu_probe(&cpu, &caps);
    assert_int_equal(vmx_check_firmware(&caps, &s), VMX_FIRMWARE_OFF);
    assert_non_null(strstr(s, "nested virtualization"));
}

static void control_names(void **state)
{
    assert_string_equal(vmx_control_name(VMX_WORD_PRIMARY, 7), "HLT exiting");
    assert_string_equal(vmx_control_name(VMX_WORD_SECONDARY, 1), "enable EPT");
    assert_null(vmx_control_name(VMX_WORD_PRIMARY, 0));
    assert_null(vmx_control_name(VMX_WORD_PIN, 32));
    assert_null(vmx_control_name(9, 0));
}

/* What no emulator has: a recorded processor with the two bits of those that do. */
static void guests_that_hurt_others(void **state)
{
    assert_int_equal(choose("sapphire_rapids_bochs31", 0), 0);
    assert_false(f.bus_lock || f.notify);
    *cpu_msr(&cpu, 0x48b) |= (uint64_t)(SEC_BUS_LOCK | SEC_NOTIFY) << 32;
    assert_int_equal(choose_again(), 0);
    assert_true(f.bus_lock && f.notify);
    assert_int_equal(words.secondary & (SEC_BUS_LOCK | SEC_NOTIFY), 0); /* a vCPU's are set */
    assert_int_equal(vmx_choose_controls(&caps, VMX_WITHOUT_BUS_LOCK, &words, &f, NULL, NULL), 0);
    assert_true(!f.bus_lock && f.notify);
    assert_int_equal(vmx_choose_controls(&caps, VMX_WITHOUT_NOTIFY, &words, &f, NULL, NULL), 0);
    assert_true(f.bus_lock && !f.notify);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cpu),        cmocka_unit_test(haswell_words),
        cmocka_unit_test(each_switch),      cmocka_unit_test(guests_that_hurt_others),
        cmocka_unit_test(each_missing_bit), cmocka_unit_test(insists),
        cmocka_unit_test(firmware),         cmocka_unit_test(dependencies),
        cmocka_unit_test(unusable_ept),     cmocka_unit_test(facts),
        cmocka_unit_test(control_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
