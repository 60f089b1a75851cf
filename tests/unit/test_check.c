/* links: guest/check_text.c arch/x86/lib/cpu_id.c arch/x86/lib/format.c vmx/caps.c vmx/controls.c */
/* The report of `mode = check` for recorded CPUs. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "guest/check.h"
#include "tests/unit/cpu_files.h"

static struct cpu cpu;
static struct vmx_caps caps;
static struct check_facts facts;
static char report[8192];
static unsigned rows;

static void keep(void *ctx, const char *text)
{
    assert_ptr_equal(ctx, &facts);
    assert_uint_in_range(strlen(text), 1, CHECK_COLUMNS);
    strcat(report, text);
    strcat(report, "\n");
    rows++;
}

static bool make_report(void)
{
    report[0] = 0;
    rows = 0;
    bool runs = check_report(&facts, keep, &facts);
    if (rows > CHECK_ROWS)
        fail_msg("%u rows:\n%s", rows, report);
    return runs;
}

/* A machine around that CPU which lacks nothing. */
static void machine(const char *name)
{
    cpu_load(&cpu, name);
    cpu_probe(&cpu, &caps);
    facts = (struct check_facts){
        .caps = &caps,
        .microcode = 0x28,
        .processors = 8,
        .enabled = 4,
        .running = 4,
        .ram = 512 * MIB,
        .left = 500 * MIB,
        .free = 490 * MIB + 1,
        .tsc_hz = 3400012345,
        .tsc_source = "CPUID leaf 15h",
        .tsc_confirmed = "the 8254",
        .rsdp = true,
        .acpi = true,
        .iommu = IOMMU_ON_WITH_INTERRUPTS,
        .serial = true,
        .serial_interrupts = true,
        .screen_text = true,
        .screen_width = 800,
        .screen_height = 600,
    };
    cpu_identify(&facts.cpu, mock_cpuid, &cpu);
    facts.vmxon = check_obstacle(&caps) ? CHECK_VMXON_NOT_TRIED : CHECK_VMXON_WORKS;
}

static void expect_text(const char *text)
{
    if (!strstr(report, text))
        fail_msg("no '%s' in:\n%s", text, report);
}

static void expect_no(const char *text)
{
    if (strstr(report, text))
        fail_msg("'%s' in:\n%s", text, report);
}

static void test_haswell_as_a_whole(void **state)
{
    static const char expected[] =

        "What this machine has, and what Corbel would use (mode = check):\n"
        "processor     Intel(R) Core(TM) i7-4770 CPU @ 3.40GHz, by GenuineIntel\n"
        "              family 6h, model 3Ch, stepping 3, microcode 28h; 40-bit addresses\n"
        "processors    8, 4 of them enabled; all of these answer\n"
        "memory        512 MiB; firmware leaves 500 MiB, of which VMs can have 490 MiB\n"
        "clock         TSC at 3400.012 MHz by CPUID leaf 15h, confirmed by the 8254\n"
        "firmware      UEFI; ACPI tables: yes\n"
        "serial port   COM1 at 3F8h, 115200 baud, 8N1\n"
        "screen        800x600\n"
        "IOMMU         VT-d (DMAR table): yes, used; with interrupt remapping\n"
        "VT-x          there; firmware left the choice to Corbel; tried: VMXON works\n"
        "  EPT leaves up to                 1 GiB\n"
        "  virtual-processor identifiers    used\n"
        "  VMX-preemption timer             used\n"
        "  virtual NMIs                     used\n"
        "  TPR shadow                       used\n"
        "  virtual APIC page                used\n"
        "  x2APIC-mode virtualization       used\n"
        "  APIC-register virtualization     used\n"
        "  virtual-interrupt delivery       used\n"
        "  RDTSCP in guests                 used\n"
        "  INVPCID in guests                used\n"
        "  XSAVES in guests                 not there: hidden from guests\n"
        "  WBINVD exiting                   used\n"
        "  PAUSE-loop exiting               used\n"
        "  monitor trap flag                not there: gdb and 'watch' step by RFLAGS.TF\n"
        "  there, but not used yet          EPT accessed/dirty flags\n"
        "Corbel would run here.\n";

    machine("corei7_haswell_4770");
    assert_null(check_obstacle(&caps));
    assert_true(make_report());
    if (strcmp(report, expected)) {
        fputs(report, stderr);
        fail_msg("this is the report");
    }
}

static void test_penryn_lacks_ept(void **state)
{
    machine("core2_penryn_t9600");
    assert_false(make_report());
    expect_text("\nCorbel cannot run here: this CPU lacks unrestricted guest mode: Corbel needs a "
                "CPU from");
    expect_text("; 7 more such features are missing.\n");
    expect_text("EPT leaves up to                 there is no EPT\n");
    expect_text("VMX-preemption timer             not there: the local APIC's timer\n");
    expect_no("would run here");
    expect_no("VMXON works");
    expect_no("..");
}

static void test_without_vmx(void **state)
{
    machine("ryzen");
    assert_false(make_report());
    expect_text("by AuthenticAMD\n");
    expect_text("\nVT-x          none\n");
    expect_text("\nCorbel cannot run here: this is not an Intel CPU");
    expect_no("EPT");

    machine("corei7_haswell_4770");
    for (unsigned i = 0; i < cpu.cpuids; i++)
        if (cpu.cpuid[i].leaf == 1)
            cpu.cpuid[i].regs[2] &= ~BIT(5);
    cpu.msrs = 0; /* not one may be read */
    cpu_probe(&cpu, &caps);
    assert_false(make_report());
    expect_text("\nVT-x          none\n");
    expect_text("\nCorbel cannot run here: this CPU shows no VT-x (VMX): it has none, or");
    expect_text("enable Intel");
}

static void test_locked_by_firmware(void **state)
{
    machine("corei7_haswell_4770");
    *cpu_msr(&cpu, 0x3a) = 1;
    cpu_probe(&cpu, &caps);
    facts.vmxon = CHECK_VMXON_NOT_TRIED;
    assert_false(make_report());
    expect_text("\nVT-x          there, but locked by firmware: off\n");
    expect_text("\nCorbel cannot run here: VT-x is switched off and locked by firmware: enable");
    expect_text("  TPR shadow                       used\n"); /* what it would use */

    *cpu_msr(&cpu, 0x3a) = 5;
    cpu_probe(&cpu, &caps);
    assert_null(check_obstacle(&caps));
    facts.vmxon = CHECK_VMXON_WORKS;
    assert_true(make_report());
    expect_text("\nVT-x          there, and on; tried: VMXON works\n");
    facts.vmxon = CHECK_VMXON_REFUSED;
    assert_false(make_report());
    expect_text("\nVT-x          there, and on\n");
    expect_text("\nCorbel cannot run here: VMXON was refused");
}

static void test_switched_off_is_not_missing(void **state)
{
    machine("corei7_skylake_x");
    facts.without = VMX_WITHOUT_TPR | VMX_WITHOUT_EPT_1G;
    assert_true(make_report());
    expect_text("TPR shadow                       switched off by 'without': each access to CR8");
    expect_text("virtual-interrupt delivery       switched off by 'without': Corbel injects");
    expect_text(
        "EPT leaves up to                 2 MiB; larger ones are switched off by 'without'\n");
    expect_no("not there: each access to CR8");
}

static void test_a_poor_machine(void **state)
{
    machine("corei5_arrandale_m520");
    facts.microcode = 0;
    facts.acpi = facts.serial = facts.screen_text = false;
    facts.iommu = IOMMU_NONE;
    facts.tsc_confirmed = NULL;
    assert_true(make_report());
    expect_no("microcode");
    expect_text("ACPI tables: damaged");
    expect_text("VT-d (DMAR table): no: devices reach all memory\n");
    expect_text("serial port   none at 3F8h");
    expect_text("800x600, of a kind that Corbel shows no text on\n");
    expect_text("by CPUID leaf 15h\n");
    facts.rsdp = false;
    facts.screen_width = facts.screen_height = 0;
    facts.serial = true;
    facts.serial_interrupts = false;
    assert_true(make_report());
    expect_text("ACPI tables: none");
    expect_text("screen        none");
    expect_text("without interrupts: polled\n");
}

/* Every CPU's report fits on the screen, with the longest of everything else. */
static void test_fits_everywhere(void **state)
{
    static const char *const names[] = {"arrow_lake_bochs31",      "broadwell_ult",
                                        "core2_penryn_t9600",      "corei3_cnl",
                                        "corei5_lynnfield_750",    "corei7_icelake_u",
                                        "corei7_ivy_bridge_3770k", "corei7_sandy_bridge_2600k",
                                        "nested_kvm_on_skylake_x", "ryzen",
                                        "sapphire_rapids_bochs31", "tigerlake"};

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        machine(names[i]);
        facts.ram = facts.left = facts.free = 64 * 1024 * GIB - 1;
        facts.processors = facts.enabled = 4096;
        facts.running = 4095;
        facts.microcode = UINT32_MAX;
        facts.serial = facts.acpi = facts.screen_text = false;
        facts.iommu = IOMMU_OFF;
        facts.screen_width = facts.screen_height = 16384;
        facts.tsc_source = "the hypervisor's CPUID leaf 40000010h";
        facts.without = UINT32_MAX;
        (void)make_report();
        assert_non_null(strstr(report, " run here"));
    }
}

static void test_family_and_model(void **state)
{
    struct cpu_id id;

    memset(&cpu, 0, sizeof(cpu));
    cpu.cpuids = 1;
    cpu.cpuid[0].leaf = 1;
    cpu.cpuid[0].regs[0] = 0x00a20f12; /* Zen 3 */
    cpu_identify(&id, mock_cpuid, &cpu);
    assert_int_equal(id.family, 0x19);
    assert_int_equal(id.model, 0x21);
    assert_int_equal(id.stepping, 2);
    assert_string_equal(id.name, "unnamed");
    cpu.cpuid[0].regs[0] = 0x000f0542; /* neither 6 nor Fh: the extended model is not its */
    cpu_identify(&id, mock_cpuid, &cpu);
    assert_int_equal(id.family, 5);
    assert_int_equal(id.model, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_haswell_as_a_whole),
        cmocka_unit_test(test_penryn_lacks_ept),
        cmocka_unit_test(test_without_vmx),
        cmocka_unit_test(test_locked_by_firmware),
        cmocka_unit_test(test_switched_off_is_not_missing),
        cmocka_unit_test(test_a_poor_machine),
        cmocka_unit_test(test_fits_everywhere),
        cmocka_unit_test(test_family_and_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
