#include "vmx/cpu.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/msr.h"
#include "arch/x86/regs.h"
#include "arch/x86/smp.h"
#include "arch/x86/split_lock.h"
#include "vmx/ept.h"
#include "vmx/fpu.h"
#include "vmx/multihit.h"
#include "vmx/watch.h"

struct vmx_caps vmx_caps;
struct vmx_controls vmx_controls;
struct vmx_features vmx_features;
paddr vmx_io_bitmap;

static uint64_t probe_rdmsr(void *ctx, uint32_t msr)
{
    return rdmsr(msr);
}

static void report_missing(void *ctx, const char *sentence)
{
    log_error("%s", sentence);
}

void vmx_read_caps(void)
{
    const struct vmx_probe probe = {.rdmsr = probe_rdmsr, .cpuid = probe_cpuid};

    vmx_caps_read(&vmx_caps, &probe);
}

int vmx_probe(uint32_t without)
{
    const char *sentence;

    vmx_read_caps();
    if (vmx_check_firmware(&vmx_caps, &sentence) == VMX_FIRMWARE_OFF) {
        log_error("%s", sentence);
        return -ENOTSUP;
    }
    bool xsavec = fpu_xsavec_right();
    if (!xsavec) {
        log_warn("this processor's XSAVEC stores elsewhere than the SDM says: guests have neither "
                 "XSAVEC nor XSAVES");
        without |= VMX_WITHOUT_XSAVES;
    }
    if (vmx_choose_controls(&vmx_caps, without, &vmx_controls, &vmx_features, report_missing, NULL))
        return -ENOTSUP;
    vmx_features.xsavec = xsavec;
    vmx_features.split_lock = !vmx_features.bus_lock && vmx_features.monitor_trap_flag &&
                              !(without & VMX_WITHOUT_BUS_LOCK) && split_lock_present();
    /* Bochs looks at the byte behind a port's, too. Behind the page's last one it is in a page that
     * nobody else may have: a VM's APIC-access page would exit by it. */
    vmx_io_bitmap = frame_alloc(1, FRAME_KERNEL);
    if (vmx_io_bitmap == FRAME_NONE)
        return -ENOMEM;
    memset(phys_to_virt(vmx_io_bitmap), 0xff, 2 * PAGE_SIZE);
    return 0;
}

void vmx_choose_leaves(enum vmx_leaves leaves)
{
    const struct vmx_probe probe = {.rdmsr = probe_rdmsr, .cpuid = probe_cpuid};
    bool small = leaves == VMX_LEAVES_AUTO ? vmx_multihit(&probe) : leaves == VMX_LEAVES_SMALL;

    vmx_features.small_executable = small && vmx_features.ept_2m;
}

void vmx_log_features(void)
{
    const struct vmx_caps *c = &vmx_caps;
    const struct vmx_features *f = &vmx_features;

    log_debug("vmx: basic %lx misc %lx ept-vpid %lx feature-control %lx", c->basic, c->misc,
              c->ept_vpid, c->feature_control);
    log_debug("vmx: pin %lx primary %lx secondary %lx exit %lx entry %lx", c->pin, c->primary,
              c->secondary, c->exit, c->entry);
    log_debug("vmx: cr0 fixed %lx/%lx cr4 fixed %lx/%lx vmfunc %lx vmcs-enum %lx", c->cr0_fixed0,
              c->cr0_fixed1, c->cr4_fixed0, c->cr4_fixed1, c->vmfunc, c->vmcs_enum);
    log_info("vmx: EPT leaves up to %s, %s, guest APIC: %s, preemption by %s; guests have%s%s%s%s",
             f->ept_1g   ? "1 GiB"
             : f->ept_2m ? "2 MiB"
                         : "4 KiB",
             f->vpid ? "VPIDs" : "no VPIDs (TLB flushed on each entry)",
             f->vid             ? "virtual-interrupt delivery"
             : f->apic_register ? "APIC-register virtualization"
             : f->tpr_shadow    ? "TPR shadow"
                                : "in software",
             f->preemption_timer ? "VMX timer" : "APIC timer", f->rdtscp ? " RDTSCP" : "",
             f->invpcid ? " INVPCID" : "", f->xsaves ? " XSAVES" : "",
             f->rdtscp || f->invpcid || f->xsaves ? "" : " no RDTSCP, INVPCID or XSAVES");
    if (f->bus_lock || f->split_lock || f->notify)
        log_info("vmx: guests exit %s%s%s",
                 f->bus_lock     ? "behind bus locks"
                 : f->split_lock ? "before split locks"
                                 : "",
                 (f->bus_lock || f->split_lock) && f->notify ? ", and " : "",
                 f->notify ? "where they let no event in" : "");
    if (f->small_executable)
        log_info("vmx: what guests execute is in EPT leaves of 4 KiB (iTLB multihit)");
}

/* VMXON and VMPTRLD fail by CF (no current VMCS) or ZF (error number): success is "above". */
static bool vmxon(paddr region)
{
    bool ok;

    __asm__ volatile("vmxon %1" : "=@cca"(ok) : "m"(region) : "cc", "memory");
    return ok;
}

/* In VMX root operation a processor does not take INIT (SDM, "Restrictions on VMX Operation"), by
 * which some machines restart. */
static void leave(void)
{
    if (!this_cpu()->vmx)
        return;
    __asm__ volatile("vmxoff" ::: "cc");
    write_cr4(read_cr4() & ~CR4_VMXE);
    this_cpu()->vmx = NULL;
}

int vmx_cpu_start(struct vmx_cpu *cpu)
{
    struct vmx_caps own = vmx_caps;
    const char *sentence;

    memset(cpu, 0, sizeof(*cpu));
    /* Each processor has its own switch, and firmware may have forgotten some of them. */
    own.feature_control = rdmsr(MSR_FEATURE_CONTROL);
    switch (vmx_check_firmware(&own, &sentence)) {
    case VMX_FIRMWARE_OPEN:
        wrmsr(MSR_FEATURE_CONTROL, vmx_feature_control_value(&own));
        log_debug("vmx: feature control was left open by firmware: set and locked");
        break;
    case VMX_FIRMWARE_ON:
        break;
    case VMX_FIRMWARE_OFF:
        log_error("processor %u: %s", this_cpu()->number, sentence);
        return -ENOTSUP;
    }
    cpu->vmxon_region = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
    if (cpu->vmxon_region == FRAME_NONE)
        return -ENOMEM;
    uint32_t *region = phys_to_virt(cpu->vmxon_region);
    memset(region, 0, PAGE_SIZE);
    region[0] = VMX_REVISION(&vmx_caps);

    /* FIXED0 bits must be set and FIXED1's zeros clear, CR0.NE above all: some firmware leaves it
     * 0. */
    write_cr0((read_cr0() | vmx_caps.cr0_fixed0) & vmx_caps.cr0_fixed1);
    write_cr4(((read_cr4() | CR4_VMXE) | vmx_caps.cr4_fixed0) & vmx_caps.cr4_fixed1);
    if (!vmxon(cpu->vmxon_region)) {
        log_error("vmx: VMXON was refused: cr0 %lx cr4 %lx feature control %lx", read_cr0(),
                  read_cr4(), rdmsr(MSR_FEATURE_CONTROL));
        write_cr4(read_cr4() & ~CR4_VMXE);
        frame_free(cpu->vmxon_region, FRAME_ORDER_4K);
        return -ENOTSUP;
    }
    if (vmx_caps.xsaves)
        cpu->host_xss = rdmsr(MSR_XSS);
    if (read_cr4() & CR4_OSXSAVE)
        cpu->host_xcr0 = xgetbv(0);
    speculation_look(&cpu->speculation, cpu_microcode(vmx_caps.intel));
    if (vmx_features.split_lock)
        split_lock_detect(true);
    this_cpu()->vmx = cpu;
    smp_leave = leave;
    vmx_flush_all();
    return 0;
}

void vmx_cpu_stop(struct vmx_cpu *cpu)
{
    leave();
    frame_free(cpu->vmxon_region, FRAME_ORDER_4K);
}

/* --- TLB --- */

enum invalidation { INV_ADDRESS, INV_SINGLE, INV_ALL, INV_SINGLE_KEEP_GLOBAL };

struct invalidation_descriptor {
    uint64_t first, second;
};

static void invept(enum invalidation type, uint64_t eptp)
{
    struct invalidation_descriptor d = {.first = eptp};

    __asm__ volatile("invept %0, %1" ::"m"(d), "r"((uint64_t)type) : "cc", "memory");
}

static void invvpid(enum invalidation type, uint16_t vpid)
{
    struct invalidation_descriptor d = {.first = vpid};

    __asm__ volatile("invvpid %0, %1" ::"m"(d), "r"((uint64_t)type) : "cc", "memory");
}

void vmx_flush_linear(struct vmx_vcpu *v)
{
    if (!vmx_features.vpid)
        return; /* without VPID every entry and exit flushes */
    if (vmx_features.invvpid_single)
        invvpid(INV_SINGLE, v->vpid);
    else if (vmx_features.invvpid_all)
        invvpid(INV_ALL, 0);
}

void vmx_flush_eptp(uint64_t eptp)
{
    if (vmx_features.invept_single)
        invept(INV_SINGLE, eptp);
    else
        invept(INV_ALL, 0);
}

void vmx_set_own_ept(struct vmx_vcpu *v, uint64_t own, const struct ept *shared)
{
    v->own_ept = own;
    vmwrite64(VMCS_EPTP, own ? own : ept_pointer(shared));
    if (own)
        vmx_flush_eptp(own);
}

void vmx_flush_current(struct vmx_vcpu *v)
{
    vmx_flush_linear(v);
    vmx_flush_eptp(vmread64(VMCS_EPTP));
}

void vmx_flush_all(void)
{
    if (vmx_features.invept_all)
        invept(INV_ALL, 0);
    if (vmx_features.vpid && vmx_features.invvpid_all)
        invvpid(INV_ALL, 0);
}
