#include "guest/gdb/inspect.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/gdb/isolation.h"
#include "guest/cpu/linear.h"
#include "vmx/debug.h"
#include "vmx/watch.h"

/* RFLAGS bits that may be changed: not VM, VIF, VIP, which decide what an entry accepts. */
#define RFLAGS_SETTABLE 0x257fd5ULL

/* The FXSAVE area in 64-bit mode. */
enum { FCW = 0, FSW = 2, FTW = 4, FOP = 6, FIP = 8, FDP = 16, MXCSR = 24, ST0 = 32, XMM0 = 160 };
/* gdb's words. */
enum { FCTRL, FSTAT, FTAG, FISEG, FIOFF, FOSEG, FOOFF, FOP_WORD };

/* --- x87 and SSE --- */

static uint32_t get(const uint8_t *area, unsigned at, unsigned size)
{
    uint32_t value = 0;

    memcpy(&value, area + at, size);
    return value;
}

/* FXSAVE has a bit for each register in use, gdb two, of which 3 means empty. */
static uint32_t tags_of(uint8_t in_use)
{
    uint32_t tags = 0;

    for (unsigned i = 0; i < 8; i++)
        tags |= in_use & BIT(i) ? 0 : 3u << 2 * i;
    return tags;
}

static uint8_t in_use_of(uint32_t tags)
{
    uint8_t in_use = 0;

    for (unsigned i = 0; i < 8; i++)
        in_use |= (uint8_t)((tags >> 2 * i & 3) != 3 ? BIT(i) : 0);
    return in_use;
}

static void get_fpu(struct vcpu *v, struct gdb_registers *r)
{
    uint8_t area[VMX_FXSAVE];

    vmx_get_fpu(&v->hw, area);
    r->fpu[FCTRL] = get(area, FCW, 2);
    r->fpu[FSTAT] = get(area, FSW, 2);
    r->fpu[FTAG] = tags_of(area[FTW]);
    r->fpu[FOP_WORD] = get(area, FOP, 2);
    r->fpu[FIOFF] = get(area, FIP, 4);
    r->fpu[FISEG] = get(area, FIP + 4, 4);
    r->fpu[FOOFF] = get(area, FDP, 4);
    r->fpu[FOSEG] = get(area, FDP + 4, 4);
    r->mxcsr = get(area, MXCSR, 4);
    for (unsigned i = 0; i < 8; i++)
        memcpy(r->st[i], area + ST0 + 16 * i, 10);
    memcpy(r->xmm, area + XMM0, sizeof(r->xmm));
}

static bool set_fpu(struct vcpu *v, const struct gdb_registers *r)
{
    uint8_t area[VMX_FXSAVE];

    vmx_get_fpu(&v->hw, area);
    memcpy(area + FCW, &r->fpu[FCTRL], 2);
    memcpy(area + FSW, &r->fpu[FSTAT], 2);
    area[FTW] = in_use_of(r->fpu[FTAG]);
    memcpy(area + FOP, &r->fpu[FOP_WORD], 2);
    memcpy(area + FIP, &r->fpu[FIOFF], 4);
    memcpy(area + FIP + 4, &r->fpu[FISEG], 4);
    memcpy(area + FDP, &r->fpu[FOOFF], 4);
    memcpy(area + FDP + 4, &r->fpu[FOSEG], 4);
    memcpy(area + MXCSR, &r->mxcsr, 4);
    for (unsigned i = 0; i < 8; i++)
        memcpy(area + ST0 + 16 * i, r->st[i], 10);
    memcpy(area + XMM0, r->xmm, sizeof(r->xmm));
    return vmx_set_fpu(&v->hw, area);
}

/* --- all of them --- */

void gdb_get_registers(struct vcpu *v, struct gdb_registers *r)
{
    static const enum segment order[] = {SEG_CS, SEG_SS, SEG_DS, SEG_ES, SEG_FS, SEG_GS};
    struct vmx_segment s;

    memset(r, 0, sizeof(*r));
    for (unsigned i = 0; i < GPR_COUNT; i++)
        r->gpr[i] = vmx_get_gpr(&v->hw, i);
    r->rip = vmx_rip();
    r->eflags = (uint32_t)vmx_rflags();
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
        vmx_get_segment(order[i], &s);
        r->selector[i] = s.selector;
        if (order[i] == SEG_FS)
            r->fs_base = s.base;
        if (order[i] == SEG_GS)
            r->gs_base = s.base;
    }
    vmx_get_segment(SEG_TR, &s);
    r->tr_base = s.base;
    r->gdt_base = vmx_descriptor_table(false).base;
    r->idt_base = vmx_descriptor_table(true).base;
    r->k_gs_base = vmx_get_shared_msr(SHARED_KERNEL_GS_BASE);
    r->cr0 = vmx_get_cr0();
    r->cr2 = read_cr2();
    r->cr3 = vmx_get_cr3();
    r->cr4 = vmx_get_cr4();
    r->cr8 = lapic_tpr(&v->lapic) >> 4;
    r->efer = vmx_get_efer();
    get_fpu(v, r);
}

static bool canonical(uint64_t address)
{
    return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

static void set_base(enum segment which, uint64_t base)
{
    struct vmx_segment s;

    vmx_get_segment(which, &s);
    s.base = base;
    vmx_set_segment(which, &s);
}

int gdb_set_registers(struct vcpu *v, const struct gdb_registers *r)
{
    bool wide = vcpu_code_width(v) == 64;
    uint64_t rflags = vmx_rflags();

    if (!canonical(r->fs_base) || !canonical(r->gs_base) || !canonical(r->rip) ||
        (!wide && r->rip >> 32) || !set_fpu(v, r))
        return -EINVAL;
    for (unsigned i = 0; i < GPR_COUNT; i++)
        vmx_set_gpr(&v->hw, i, r->gpr[i]);
    if (r->rip != vmx_rip()) {
        vmx_set_rip(r->rip);
        vmx_end_shadow();
        v->halted = false; /* it goes on elsewhere */
    }
    rflags = (rflags & ~RFLAGS_SETTABLE) | (r->eflags & RFLAGS_SETTABLE);
    if (vmx_injection_pending())
        rflags |= vmx_rflags() & RFLAGS_IF; /* an interrupt that has been accepted is taken */
    if (!(rflags & RFLAGS_IF))
        vmx_end_shadow();
    vmx_set_rflags(rflags);
    set_base(SEG_FS, r->fs_base);
    set_base(SEG_GS, r->gs_base);
    return 0;
}

static int read_table(void *opaque, uint64_t gpa, uint64_t *value)
{
    return guest_memory_read_u64(opaque, gpa, value);
}

int gdb_translate(const struct vcpu *v, const struct gdb_registers *r, uint64_t linear,
                  uint64_t *gpa)
{
    const struct walk_context c = {
        .cr0 = r->cr0,
        .cr3 = r->cr3,
        .cr4 = r->cr4,
        .efer = r->efer,
        .rflags = r->eflags,
        .physical_bits = v->cpuid.physical_bits,
        .opaque = &v->vm->memory,
        .read = read_table,
    };

    return gdb_walk(&c, linear, gpa);
}
