/* A vCPU's state in words: for the log when a VM is killed, and for whoever asks. */
#include "arch/x86/cpu.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "guest/cpu/linear.h"

#define LINE 160

static void say(void (*line)(void *ctx, const char *text), void *ctx, const char *fmt, ...)
    PRINTF(3, 4);

static void say(void (*line)(void *ctx, const char *text), void *ctx, const char *fmt, ...)
{
    char text[LINE];
    va_list args;

    va_start(args, fmt);
    vformat(text, sizeof(text), fmt, args);
    va_end(args);
    line(ctx, text);
}

void vcpu_describe(struct vcpu *v, void (*line)(void *ctx, const char *text), void *ctx)
{
    static const char *const segment_name[] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
    const uint64_t *g = v->hw.gpr;
    uint64_t rip = vmx_rip();
    struct vmx_segment s;
    uint8_t code[16];
    char text[3 * sizeof(code) + 1] = "";

    say(line, ctx, "%s vcpu %u: %u-bit code, last exit: %s", v->vm->name, v->id, vcpu_code_width(v),
        vmx_exit_name(vmx_exit_reason() & 0xffff));
    say(line, ctx, "  rip %016lx rflags %lx cr0 %lx cr2 %lx cr3 %lx cr4 %lx efer %lx", rip,
        vmx_rflags(), vmx_get_cr0(), read_cr2(), vmx_get_cr3(), vmx_get_cr4(), vmx_get_efer());
    say(line, ctx, "  rax %016lx rbx %016lx rcx %016lx rdx %016lx", g[RAX], g[RBX], g[RCX], g[RDX]);
    say(line, ctx, "  rsi %016lx rdi %016lx rbp %016lx rsp %016lx", g[RSI], g[RDI], g[RBP],
        vmx_get_gpr(&v->hw, RSP));
    say(line, ctx, "  r8  %016lx r9  %016lx r10 %016lx r11 %016lx", g[R8], g[R9], g[R10], g[R11]);
    say(line, ctx, "  r12 %016lx r13 %016lx r14 %016lx r15 %016lx", g[R12], g[R13], g[R14], g[R15]);
    for (enum segment i = SEG_ES; i < SEG_COUNT; i++) {
        vmx_get_segment(i, &s);
        say(line, ctx, "  %-4s %04x base %lx limit %x access %x", segment_name[i], s.selector,
            s.base, s.limit, s.access);
    }
    size_t n = linear_fetch(v, vcpu_linear_rip(v), code, sizeof(code));
    for (size_t i = 0; i < n; i++)
        format(text + 3 * i, sizeof(text) - 3 * i, "%02x ", code[i]);
    say(line, ctx, "  code at rip: %s", n ? text : "(cannot be read)");
}

static void to_log(void *ctx, const char *text)
{
    log_error("%s", text);
}

void vcpu_dump(struct vcpu *v)
{
    vcpu_describe(v, to_log, NULL);
}
