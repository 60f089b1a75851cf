/* SYSCALL and SYSRET carried out for a guest whose EFER.SCE is kept off, so that they raise #UD
 * (SDM, "SYSCALL - Fast System Call", "SYSRET - Return From Fast System Call"). */
#include "arch/x86/cpu.h"
#include "guest/cpu/linear.h"
#include "guest/watch/watch.h"
#include "vmx/watch.h"

#define FLAT_LIMIT      0xffffffff
#define KERNEL_CODE     (SEGMENT_CODE | SEGMENT_LONG | SEGMENT_PAGES)
#define KERNEL_DATA     (SEGMENT_DATA | SEGMENT_BIG | SEGMENT_PAGES)
#define USER_CODE       (KERNEL_CODE | SEGMENT_DPL_3)
#define USER_CODE_32    (SEGMENT_CODE | SEGMENT_BIG | SEGMENT_PAGES | SEGMENT_DPL_3)
#define USER_DATA       (KERNEL_DATA | SEGMENT_DPL_3)
#define RETURNED_RFLAGS 0x3c7fd7ULL

static bool is_prefix(uint8_t byte)
{
    switch (byte) {
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
    case 0x64 ... 0x67:
    case 0xf2:
    case 0xf3:
        return true;
    default:
        return false;
    }
}

enum syscall_kind syscall_at_rip(struct vcpu *v, unsigned *length)
{
    uint8_t code[15];
    size_t count = linear_fetch(v, vmx_rip(), code, sizeof(code)), at = 0;
    uint8_t rex = 0;

    if (vcpu_code_width(v) != 64 || !vmx_guest_syscall(&v->hw))
        return SYSCALL_NONE;
    while (at < count && is_prefix(code[at]))
        at++;
    if (at < count && (code[at] & 0xf0) == 0x40)
        rex = code[at++];
    if (at + 2 > count || code[at] != 0x0f)
        return SYSCALL_NONE;
    *length = (unsigned)at + 2;
    switch (code[at + 1]) {
    case 0x05:
        return SYSCALL_CALL;
    case 0x07:
        return rex & 8 ? SYSCALL_RETURN : SYSCALL_RETURN_32;
    default:
        return SYSCALL_NONE;
    }
}

static void set_flat(enum segment s, uint64_t selector, uint32_t access)
{
    const struct vmx_segment flat = {
        .selector = (uint16_t)selector, .limit = FLAT_LIMIT, .access = access};

    vmx_set_segment(s, &flat);
}

static void call(struct vcpu *v, unsigned length)
{
    uint64_t star = vmx_get_shared_msr(SHARED_STAR);
    uint64_t rflags = vmx_rflags() & ~(uint64_t)RFLAGS_RF; /* which #UD has set for itself */

    v->hw.gpr[RCX] = vmx_rip() + length;
    v->hw.gpr[R11] = rflags;
    set_flat(SEG_CS, star >> 32 & 0xfffc, KERNEL_CODE);
    set_flat(SEG_SS, (star >> 32 & 0xffff) + 8, KERNEL_DATA);
    vmx_set_rip(vmx_get_shared_msr(SHARED_LSTAR));
    vmx_set_rflags(rflags & ~vmx_get_shared_msr(SHARED_FMASK));
}

static void come_back(struct vcpu *v, bool wide)
{
    uint64_t star = vmx_get_shared_msr(SHARED_STAR) >> 48;
    uint64_t rip = v->hw.gpr[RCX];

    if (!wide)
        rip = (uint32_t)rip;
    if (vcpu_cpl() != 0 || (uint64_t)((int64_t)(rip << 16) >> 16) != rip) {
        vcpu_exception(v, VECTOR_GP, 0);
        return;
    }
    set_flat(SEG_CS, (star + (wide ? 16 : 0)) | 3, wide ? USER_CODE : USER_CODE_32);
    set_flat(SEG_SS, (star + 8) | 3, USER_DATA);
    vmx_set_rip(rip);
    vmx_set_rflags(v->hw.gpr[R11] & RETURNED_RFLAGS);
}

void syscall_carry_out(struct vcpu *v, enum syscall_kind kind, unsigned length)
{
    if (kind == SYSCALL_CALL)
        call(v, length);
    else
        come_back(v, kind == SYSCALL_RETURN);
    vmx_end_shadow();
}
