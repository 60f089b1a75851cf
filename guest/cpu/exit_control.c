/* Control registers, XCR0 and hardware task switches: the exits that change how the guest's CPU
 * works. */
#include "arch/x86/cpu.h"
#include "arch/x86/lib/log.h"
#include "guest/cpu/exit.h"
#include "guest/cpu/linear.h"

enum cr_access { CR_MOV_TO, CR_MOV_FROM, CR_CLTS, CR_LMSW };

#define CR0_DEFINED                                                                                \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD |     \
     CR0_PG)

/* PAE paging: the four PDPTEs are loaded when it is switched on, and reserved bits in them fault.
 */
static bool load_pdptes(struct vcpu *v, uint64_t cr3)
{
    uint64_t pdpte[4];
    uint64_t reserved = ~(BIT(v->cpuid.physical_bits) - 1) | 0x1e6;

    for (unsigned i = 0; i < 4; i++) {
        if (guest_memory_read_u64(&v->vm->memory, (cr3 & 0xffffffe0) + 8 * i, &pdpte[i]) < 0)
            pdpte[i] = 0;
        if ((pdpte[i] & 1) && (pdpte[i] & reserved))
            return false;
    }
    vmx_set_pdptes(pdpte);
    return true;
}

static bool pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LME);
}

/* SDM, "Control Registers" and "Processor-Mode Switching": what MOV to CR0 refuses with #GP(0). */
static bool guest_write_cr0(struct vcpu *v, uint64_t cr0)
{
    uint64_t old = vmx_get_cr0(), cr4 = vmx_get_cr4(), efer = vmx_get_efer();
    bool paging_on = (cr0 & CR0_PG) && !(old & CR0_PG);

    if (cr0 >> 32)
        return false;
    cr0 = (cr0 & CR0_DEFINED) | CR0_ET;
    if (((cr0 & CR0_PG) && !(cr0 & CR0_PE)) || ((cr0 & CR0_NW) && !(cr0 & CR0_CD)))
        return false;
    if (paging_on && (efer & EFER_LME)) {
        /* A 16-bit TSS has no place in IA-32e mode (type 3: busy; 11 is the larger one). */
        if (!(cr4 & CR4_PAE) || (vmx_segment_access(SEG_CS) & BIT(13)) ||
            (vmx_segment_access(SEG_TR) & 0xf) != 11)
            return false;
    }
    if (!(cr0 & CR0_PG) && (old & CR0_PG) && ((cr4 & CR4_PCIDE) || vcpu_code_width(v) == 64))
        return false;
    if (pae_paging(cr0, cr4, efer) && ((old ^ cr0) & (CR0_PG | CR0_CD | CR0_NW)) &&
        !load_pdptes(v, vmx_get_cr3()))
        return false;
    vmx_set_cr0(&v->hw, cr0);
    return true;
}

static bool guest_write_cr4(struct vcpu *v, uint64_t cr4)
{
    uint64_t old = vmx_get_cr4(), cr0 = vmx_get_cr0(), efer = vmx_get_efer();

    if (cr4 & ~v->cpuid.cr4_valid)
        return false;
    if ((efer & EFER_LMA) && !(cr4 & CR4_PAE))
        return false;
    if ((cr4 & CR4_PCIDE) && !(old & CR4_PCIDE) && (!(efer & EFER_LMA) || (vmx_get_cr3() & 0xfff)))
        return false;
    if (pae_paging(cr0, cr4, efer) && ((old ^ cr4) & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) &&
        !load_pdptes(v, vmx_get_cr3()))
        return false;
    vmx_set_cr4(&v->hw, cr4);
    if ((old ^ cr4) & (CR4_OSXSAVE | CR4_PKE))
        cpuid_set_cr4(&v->cpuid, cr4);
    return true;
}

/* Exits only while somebody watches it. Bit 63 says that the PCID's translations may stay; here
 * they go. */
static bool guest_write_cr3(struct vcpu *v, uint64_t cr3)
{
    uint64_t efer = vmx_get_efer(), cr4 = vmx_get_cr4();

    if ((efer & EFER_LMA) && (cr4 & CR4_PCIDE))
        cr3 &= ~BIT(63);
    if ((efer & EFER_LMA) && cr3 >> v->cpuid.physical_bits)
        return false;
    if (pae_paging(vmx_get_cr0(), cr4, efer) && !load_pdptes(v, cr3))
        return false;
    vmx_set_cr3(&v->hw, cr3);
    return true;
}

static bool mov_to_cr(struct vcpu *v, unsigned cr, uint64_t value)
{
    switch (cr) {
    case 0:
        return guest_write_cr0(v, value);
    case 3:
        return guest_write_cr3(v, value);
    case 4:
        return guest_write_cr4(v, value);
    case 8:
        if (value & ~0xfULL)
            return false;
        lapic_set_tpr(&v->lapic, (uint8_t)(value << 4));
        vcpu_ask(v, REQUEST_EVENT);
        return true;
    default:
        return false;
    }
}

enum exit_result exit_cr_access(struct vcpu *v, struct vm_exit *e)
{
    unsigned cr = e->qualification & 0xf;
    enum gpr reg = (e->qualification >> 8) & 0xf;
    bool ok = true;

    switch ((e->qualification >> 4) & 3) {
    case CR_MOV_TO: {
        uint64_t value = vmx_get_gpr(&v->hw, reg);
        ok = mov_to_cr(v, cr, vcpu_code_width(v) == 64 ? value : (uint32_t)value);
        break;
    }
    case CR_MOV_FROM:
        vmx_set_gpr(&v->hw, reg, cr == 3 ? vmx_get_cr3() : lapic_tpr(&v->lapic) >> 4);
        break;
    case CR_CLTS:
        vmx_set_cr0(&v->hw, vmx_get_cr0() & ~CR0_TS);
        break;
    case CR_LMSW: {
        /* Sets PE but cannot clear it. */
        uint64_t msw = (e->qualification >> 16) & 0xf, cr0 = vmx_get_cr0();
        ok = guest_write_cr0(v, (cr0 & ~0xeULL) | msw | (cr0 & CR0_PE));
        break;
    }
    }
    if (!ok) {
        vcpu_exception(v, VECTOR_GP, 0);
        return EXIT_RESUME;
    }
    return EXIT_SKIP;
}

/* XCR0 is the hardware's: root mode uses no state that it switches. #UD comes before the exit, and
 * CPL (SDM, "Relative Priority of Faults and VM Exits") on silicon, too; Bochs looks at
 * CPL behind the exit. */
enum exit_result exit_xsetbv(struct vcpu *v, struct vm_exit *e)
{
    uint64_t value = v->hw.gpr[RDX] << 32 | (uint32_t)v->hw.gpr[RAX];

    if (vcpu_cpl() != 0 || (uint32_t)v->hw.gpr[RCX] != 0 || !cpuid_xcr0_valid(&v->cpuid, value)) {
        vcpu_exception(v, VECTOR_GP, 0);
        return EXIT_RESUME;
    }
    xsetbv(0, value);
    cpuid_set_xcr0(&v->cpuid, value, v->hw.xss);
    return EXIT_SKIP;
}

/*
 * VMX has no task switching: the guest's TSS would have to be interpreted in software. No system of
 * the last twenty years uses it, so the VM ends with a sentence instead.
 */
enum exit_result exit_task_switch(struct vcpu *v, struct vm_exit *e)
{
    vm_kill(v, "hardware task switch to selector %lx: Corbel does not emulate those",
            e->qualification & 0xffff);
    return EXIT_RESUME;
}
