/* A vCPU's state in words, for the log when a VM is killed. */
#include "arch/x86/cpu.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "guest/vm.h"

void vcpu_dump(struct vcpu *v)
{
    static const char *const segment_name[] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
    const uint64_t *g = v->hw.gpr;
    uint64_t rip = vmx_rip();
    struct vmx_segment s;
    uint8_t code[16];
    char text[3 * sizeof(code) + 1] = "";

    log_error("%s vcpu %u: %u-bit code, last exit: %s", v->vm->name, v->id, vcpu_code_width(v),
              vmx_exit_name(vmx_exit_reason() & 0xffff));
    log_error("  rip %016lx rflags %lx cr0 %lx cr2 %lx cr3 %lx cr4 %lx efer %lx", rip, vmx_rflags(),
              vmx_get_cr0(), read_cr2(), vmx_get_cr3(), vmx_get_cr4(), vmx_get_efer());
    log_error("  rax %016lx rbx %016lx rcx %016lx rdx %016lx", g[RAX], g[RBX], g[RCX], g[RDX]);
    log_error("  rsi %016lx rdi %016lx rbp %016lx rsp %016lx", g[RSI], g[RDI], g[RBP],
              vmx_get_gpr(&v->hw, RSP));
    log_error("  r8  %016lx r9  %016lx r10 %016lx r11 %016lx", g[R8], g[R9], g[R10], g[R11]);
    log_error("  r12 %016lx r13 %016lx r14 %016lx r15 %016lx", g[R12], g[R13], g[R14], g[R15]);
    for (enum segment i = SEG_ES; i < SEG_COUNT; i++) {
        vmx_get_segment(i, &s);
        log_error("  %-4s %04x base %lx limit %x access %x", segment_name[i], s.selector, s.base,
                  s.limit, s.access);
    }
    vmx_get_segment(SEG_CS, &s);
    size_t n = linear_fetch(v, vcpu_code_width(v) == 64 ? rip : s.base + rip, code, sizeof(code));
    for (size_t i = 0; i < n; i++)
        format(text + 3 * i, sizeof(text) - 3 * i, "%02x ", code[i]);
    log_error("  code at rip: %s", n ? text : "(cannot be read)");
}
