/*
 * A vCPU's life in VMX: its VMCS from allocation to power-on state, the state that VMX leaves to
 * software while a CPU goes from one vCPU to another, and the way into the guest.
 */
#include "vmx/vcpu.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/percpu.h"
#include "arch/x86/trap.h"
#include "mm/heap.h"
#include "vmx/audit.h"
#include "vmx/cpu.h"
#include "vmx/debug.h"
#include "vmx/ept.h"
#include "vmx/exit_names.h"
#include "vmx/fpu.h"

/* entry.asm: VMCS_HOST_RIP */
void vmx_exit_entry(void);
void vmx_exit_entry_watched(void);
void vmx_exit_entry_wrapped(void);
void vmx_guarded_entry(void);
void vmx_guarded_entry_watched(void);
void vmx_guarded_entry_wrapped(void);

/* PAUSEs at most so many TSC ticks apart are a loop; one that goes on for so many exits: longer
 * than most locks are held. */
#define PLE_GAP    128
#define PLE_WINDOW 4096

/* A guest may keep its processor from taking any event for so many ticks, in microcode. The
 * processor adds what its longest instruction takes. */
#define NOTIFY_WINDOW BIT(17)

static const uint32_t shared_msr_number[SHARED_MSR_COUNT] = {
    [SHARED_STAR] = MSR_STAR,
    [SHARED_LSTAR] = MSR_LSTAR,
    [SHARED_CSTAR] = MSR_CSTAR,
    [SHARED_FMASK] = MSR_FMASK,
    [SHARED_KERNEL_GS_BASE] = MSR_KERNEL_GS_BASE,
    [SHARED_TSC_AUX] = MSR_TSC_AUX,
};

static bool has_shared_msr(enum vmx_shared_msr i)
{
    return i != SHARED_TSC_AUX || vmx_features.rdtscp;
}

uint64_t vmx_get_shared_msr(enum vmx_shared_msr i)
{
    return has_shared_msr(i) ? rdmsr(shared_msr_number[i]) : 0;
}

bool vmx_set_shared_msr(enum vmx_shared_msr i, uint64_t value)
{
    return !has_shared_msr(i) || wrmsr_safe(shared_msr_number[i], value);
}

/* --- VMCS instructions: success is CF = ZF = 0 --- */

static bool vmclear(paddr vmcs)
{
    bool ok;

    __asm__ volatile("vmclear %1" : "=@cca"(ok) : "m"(vmcs) : "cc", "memory");
    return ok;
}

static bool vmptrld(paddr vmcs)
{
    bool ok;

    __asm__ volatile("vmptrld %1" : "=@cca"(ok) : "m"(vmcs) : "cc", "memory");
    return ok;
}

void vmwrite_failed(enum vmcs_field field, uint64_t value)
{
    log_error("vmx: VMWRITE of %lx to %s was refused", value, vmcs_field_name(field));
}

/* --- life --- */

int vmx_vcpu_init(struct vmx_vcpu *v, const struct vmx_vcpu_setup *setup)
{
    memset(v, 0, sizeof(*v));
    v->vmcs = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
    v->fpu = heap_alloc(ALIGN_UP(fpu_size(), PAGE_SIZE));
    if (v->vmcs == FRAME_NONE || !v->fpu) {
        vmx_vcpu_destroy(v);
        return -ENOMEM;
    }
    v->msr_bitmap = setup->msr_bitmap;
    v->vpid = setup->vpid;
    uint32_t *region = phys_to_virt(v->vmcs);
    memset(region, 0, PAGE_SIZE);
    region[0] = VMX_REVISION(&vmx_caps);
    if (!vmclear(v->vmcs)) {
        log_error("vmx: VMCLEAR of a new VMCS was refused");
        vmx_vcpu_destroy(v);
        return -EIO;
    }
    fpu_reset(v);
    vmx_vcpu_load(v);

    const struct vmx_features *f = &vmx_features;
    v->primary = vmx_controls.primary;
    v->secondary =
        vmx_controls.secondary & ~(uint32_t)(SEC_VIRTUALIZE_X2APIC | SEC_VIRTUALIZE_APIC_ACCESSES |
                                             SEC_APIC_REGISTER | SEC_VIRTUAL_INTERRUPT);
    if (setup->pause_loop && f->pause_loop) {
        v->secondary |= SEC_PAUSE_LOOP;
        vmwrite32(VMCS_PLE_GAP, PLE_GAP);
        vmwrite32(VMCS_PLE_WINDOW, PLE_WINDOW);
    }
    if (f->bus_lock)
        v->secondary |= SEC_BUS_LOCK;
    if (f->notify) {
        v->secondary |= SEC_NOTIFY;
        vmwrite32(VMCS_NOTIFY_WINDOW, NOTIFY_WINDOW);
    }
    v->entry_controls = vmx_controls.entry;
    vmwrite32(VMCS_PIN_CONTROLS, vmx_controls.pin);
    vmwrite32(VMCS_PRIMARY_CONTROLS, v->primary);
    vmwrite32(VMCS_SECONDARY_CONTROLS, v->secondary);
    vmwrite32(VMCS_EXIT_CONTROLS, vmx_controls.exit);
    vmwrite32(VMCS_ENTRY_CONTROLS, v->entry_controls);
    vmwrite32(VMCS_EXCEPTION_BITMAP, VMX_EXCEPTIONS);
    vmwrite32(VMCS_PF_ERROR_MASK, 0);
    vmwrite32(VMCS_PF_ERROR_MATCH, 0);
    vmwrite32(VMCS_CR3_TARGET_COUNT, 0);
    vmwrite32(VMCS_EXIT_MSR_STORE_COUNT, 0);
    vmwrite32(VMCS_EXIT_MSR_LOAD_COUNT, 0);
    vmwrite32(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
    vmwrite32(VMCS_ENTRY_INTR_INFO, 0);
    vmwrite64(VMCS_IO_BITMAP_A, vmx_io_bitmap);
    vmwrite64(VMCS_IO_BITMAP_B, vmx_io_bitmap);
    vmwrite64(VMCS_MSR_BITMAP, setup->msr_bitmap);
    vmwrite64(VMCS_TSC_OFFSET, setup->tsc_offset);
    vmwrite64(VMCS_EPTP, ept_pointer(setup->ept));
    if (f->vpid)
        vmwrite16(VMCS_VPID, setup->vpid);
    if (f->xsaves)
        vmwrite64(VMCS_XSS_EXIT_BITMAP, 0);
    if (f->tpr_shadow) {
        vmwrite64(VMCS_VIRTUAL_APIC_ADDR, setup->virtual_apic_page);
        vmwrite32(VMCS_TPR_THRESHOLD, 0);
    }
    if (f->virtualize_apic_accesses)
        vmwrite64(VMCS_APIC_ACCESS_ADDR, setup->apic_access_page);
    if (f->vid) {
        vmwrite64(VMCS_EOI_EXIT_BITMAP0, 0);
        vmwrite64(VMCS_EOI_EXIT_BITMAP1, 0);
        vmwrite64(VMCS_EOI_EXIT_BITMAP2, 0);
        vmwrite64(VMCS_EOI_EXIT_BITMAP3, 0);
        vmwrite16(VMCS_GUEST_INTR_STATUS, 0);
    }
    /* The guest owns every CR0 bit but those that change how VMX runs it, and the CR4 bits it was
     * given. */
    vmwrite_natural(VMCS_CR0_MASK, ~(CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_WP | CR0_AM));
    vmwrite_natural(VMCS_CR4_MASK, ~setup->cr4_allowed);
    vmwrite64(VMCS_LINK_POINTER, ~0ULL);
    vmx_vcpu_reset(v, VMX_POWER_ON);
    vmx_vcpu_put(v);
    return 0;
}

void vmx_vcpu_destroy(struct vmx_vcpu *v)
{
    if (v->vmcs != FRAME_NONE && v->vmcs) {
        vmclear(v->vmcs);
        frame_free(v->vmcs, FRAME_ORDER_4K);
    }
    heap_free(v->fpu);
    v->vmcs = 0;
    v->fpu = NULL;
}

static void write_host_rip(const struct vmx_vcpu *v)
{
    static void (*const entry[2][3])(void) = {
        {vmx_exit_entry, vmx_exit_entry_watched, vmx_exit_entry_wrapped},
        {vmx_guarded_entry, vmx_guarded_entry_watched, vmx_guarded_entry_wrapped},
    };

    vmwrite_natural(VMCS_HOST_RIP, (uint64_t)entry[v->guarded][v->wrapped   ? 2
                                                               : v->watched ? 1
                                                                            : 0]);
}

/* Host state that differs from CPU to CPU; the rest of it never changes after vmx_cpu_start(). */
static void write_host_state(const struct vmx_vcpu *v)
{
    struct percpu *cpu = this_cpu();

    vmwrite16(VMCS_HOST_CS_SELECTOR, SELECTOR_CODE);
    vmwrite16(VMCS_HOST_SS_SELECTOR, SELECTOR_DATA);
    vmwrite16(VMCS_HOST_DS_SELECTOR, SELECTOR_DATA);
    vmwrite16(VMCS_HOST_ES_SELECTOR, SELECTOR_DATA);
    vmwrite16(VMCS_HOST_FS_SELECTOR, 0);
    vmwrite16(VMCS_HOST_GS_SELECTOR, 0);
    vmwrite16(VMCS_HOST_TR_SELECTOR, SELECTOR_TSS);
    vmwrite64(VMCS_HOST_PAT, rdmsr(MSR_PAT));
    vmwrite64(VMCS_HOST_EFER, rdmsr(MSR_EFER));
    vmwrite32(VMCS_HOST_SYSENTER_CS, 0);
    vmwrite_natural(VMCS_HOST_SYSENTER_ESP, 0);
    vmwrite_natural(VMCS_HOST_SYSENTER_EIP, 0);
    vmwrite_natural(VMCS_HOST_CR0, read_cr0());
    vmwrite_natural(VMCS_HOST_CR3, read_cr3());
    vmwrite_natural(VMCS_HOST_CR4, read_cr4());
    vmwrite_natural(VMCS_HOST_FS_BASE, 0);
    vmwrite_natural(VMCS_HOST_GS_BASE, (uint64_t)cpu);
    vmwrite_natural(VMCS_HOST_TR_BASE, (uint64_t)&cpu->tss);
    vmwrite_natural(VMCS_HOST_GDTR_BASE, read_gdtr().base);
    vmwrite_natural(VMCS_HOST_IDTR_BASE, read_idtr().base);
}

void vmx_watch_exits(struct vmx_vcpu *v, bool on)
{
    if (v->watched == on)
        return;
    v->watched = on;
    write_host_rip(v);
}

void vmx_wrap_exits(struct vmx_vcpu *v, bool on)
{
    if (v->wrapped == on)
        return;
    v->wrapped = on;
    write_host_rip(v);
}

void vmx_pass_spec_ctrl(struct vmx_vcpu *v, bool pass)
{
    v->spec_passed = pass;
    speculation_guard(v);
    write_host_rip(v);
}

static void load_shared_msrs(const struct vmx_vcpu *v)
{
    for (unsigned i = 0; i < SHARED_MSR_COUNT; i++)
        if (has_shared_msr(i))
            wrmsr(shared_msr_number[i], v->shared_msr[i]);
}

/* And CR2, which is like them. */
static void load_debug_registers(const struct vmx_vcpu *v)
{
    write_dr0(v->dr[0]);
    write_dr1(v->dr[1]);
    write_dr2(v->dr[2]);
    write_dr3(v->dr[3]);
    write_dr6(v->dr6);
    write_cr2(v->cr2);
}

void vmx_vcpu_load(struct vmx_vcpu *v)
{
    struct vmx_cpu *cpu = vmx_this_cpu();

    if (!vmptrld(v->vmcs))
        log_error("vmx: VMPTRLD was refused");
    v->cpu = cpu;
    cpu->current = v;
    v->host_rsp = 0;
    if (v->last_cpu != cpu) {
        write_host_state(v);
        speculation_guard(v);
        write_host_rip(v);
        vmx_flush_linear(v);
        if (UNLIKELY(v->own_ept))
            vmx_flush_eptp(v->own_ept);
        v->last_cpu = cpu;
    }
    load_shared_msrs(v);
    load_debug_registers(v);
    fpu_load(v);
}

void vmx_vcpu_put(struct vmx_vcpu *v)
{
    fpu_save(v);
    v->cr2 = read_cr2();
    v->dr[0] = read_dr0();
    v->dr[1] = read_dr1();
    v->dr[2] = read_dr2();
    v->dr[3] = read_dr3();
    v->dr6 = read_dr6();
    for (unsigned i = 0; i < SHARED_MSR_COUNT; i++)
        if (has_shared_msr(i))
            v->shared_msr[i] = rdmsr(shared_msr_number[i]);
    if (!vmclear(v->vmcs))
        log_error("vmx: VMCLEAR was refused");
    v->launched = 0;
    v->cpu->current = NULL;
    v->cpu = NULL;
}

void vmx_vcpu_reset(struct vmx_vcpu *v, enum vmx_reset kind)
{
    vmx_return_debug_registers(v);
    vmx_reset_state(v, kind);
    load_debug_registers(v);
    if (kind == VMX_INIT)
        return;
    v->spec_ctrl = 0;
    vmx_pass_spec_ctrl(v, false);
    load_shared_msrs(v);
    fpu_reset(v);
    fpu_load(v);
}

/* --- when VM entry fails --- */

/* Whether that entry was the VMCS's first is not known here, and a VMCS does not tell its launch
 * state: VMCLEAR makes it "clear" either way, and keeps the fields. */
void vmx_entry_failed(struct vmx_vcpu *v)
{
    if (!vmclear(v->vmcs) || !vmptrld(v->vmcs))
        log_error("vmx: VMCLEAR or VMPTRLD was refused");
    v->launched = 0;
}

static uint64_t audit_read(void *ctx, enum vmcs_field field)
{
    uint64_t value;

    vmread_checked(field, &value); /* a field that this CPU lacks reads 0 */
    return value;
}

static void audit_report(void *ctx, const char *sentence)
{
    log_error("vmx:   %s", sentence);
}

static bool audit_memory(void *ctx, uint64_t pa, void *data, size_t size)
{
    memcpy(data, phys_to_virt(pa), size); /* only addresses that we put into the VMCS ourselves */
    return true;
}

static struct vmcs_audit new_audit(void)
{
    return (struct vmcs_audit){
        .caps = &vmx_caps, .read = audit_read, .report = audit_report, .memory = audit_memory};
}

int vmx_report_no_progress(void)
{
    struct vmcs_audit audit = new_audit();

    return audit_progress(&audit);
}

void vmx_report_entry_failure(struct vmx_vcpu *v)
{
    uint32_t reason = vmread32(VMCS_EXIT_REASON);
    struct vmcs_audit audit = new_audit();

    if (reason & BIT(31))
        log_error("vmx: VM entry failed: %s, qualification %lx", vmx_exit_name(reason & 0xffff),
                  vmread_natural(VMCS_EXIT_QUALIFICATION));
    else
        log_error("vmx: VM entry failed: %s",
                  vmx_instruction_error(vmread32(VMCS_INSTRUCTION_ERROR)));
    if (audit_vmcs(&audit) == 0)
        log_error("vmx:   the auditor finds nothing wrong: a check it does not know");
}
