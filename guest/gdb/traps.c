/* What a debugger puts into a vCPU's VMCS, and the exits that come of it: on the processor that
 * runs the vCPU. */
#include "arch/x86/cpu.h"
#include "guest/gdb/gdb.h"
#include "guest/gdb/points.h"
#include "guest/run.h"
#include "guest/walk.h"
#include "vmx/cpu.h"
#include "vmx/debug.h"

#define QUALIFICATION_BS BIT(14) /* #DB: a single-step trap */

/* The VM stops: its vCPUs leave their processors, and processor 0 sees why. */
static void stop(struct vcpu *v, enum gdb_why why, uint64_t address)
{
    gdb_end_step(v);
    v->debug.why = (uint8_t)why;
    v->debug.address = address;
    run_leave(v->vm);
}

static uint64_t linear_rip(const struct vcpu *v)
{
    struct vmx_segment cs;

    if (vcpu_code_width(v) == 64)
        return vmx_rip();
    vmx_get_segment(SEG_CS, &cs);
    return (uint32_t)(cs.base + vmx_rip());
}

/* --- stepping --- */

enum { PUSHF = 0x9c, POPF = 0x9d, IRET = 0xcf, TWO_BYTES = 0x0f, SYSCALL = 0x05 };

static bool is_prefix(const struct vcpu *v, uint8_t byte)
{
    return byte == 0x66 || (vcpu_code_width(v) == 64 && (byte & 0xf0) == 0x40);
}

/* The instructions that save or load TF have to be known. */
static void note_opcode(struct vcpu *v)
{
    uint8_t code[4] = {0};
    unsigned at = 0;

    (void)linear_fetch(v, linear_rip(v), code, sizeof(code));
    while (at < 2 && is_prefix(v, code[at]))
        at++;
    v->debug.opcode[0] = code[at];
    v->debug.opcode[1] = code[at + 1];
}

/* TF: the guest must neither see nor lose it, and no shadow may be left, with which an entry would
 * want a pending trap. */
static void begin_step_by_tf(struct vcpu *v)
{
    uint64_t rflags = vmx_rflags();

    note_opcode(v);
    v->debug.guest_tf = rflags & RFLAGS_TF;
    vmx_end_shadow();
    vmx_set_rflags(rflags | RFLAGS_TF);
}

static void begin_step(struct vcpu *v)
{
    v->debug.stepping = true;
    v->debug.step_rip = vmx_rip();
    if (!vmx_features.monitor_trap_flag) {
        begin_step_by_tf(v);
        return;
    }
    vmx_set_monitor_trap(&v->hw, true);
    if (!v->halted)
        vmx_hold_interrupts();
}

void gdb_end_step(struct vcpu *v)
{
    if (!v->debug.stepping)
        return;
    v->debug.stepping = v->debug.step = false;
    if (vmx_features.monitor_trap_flag)
        vmx_set_monitor_trap(&v->hw, false);
    else if (!v->debug.guest_tf)
        vmx_set_rflags(vmx_rflags() & ~(uint64_t)RFLAGS_TF);
}

/* The instruction has been carried out under our TF: what it saved of RFLAGS is the guest's again,
 * and what it loaded is kept. */
static void hide_tf(struct vcpu *v)
{
    const uint8_t *opcode = v->debug.opcode;
    struct vmx_segment ss;
    uint8_t flags;

    if (opcode[0] == POPF || opcode[0] == IRET)
        v->debug.guest_tf = vmx_rflags() & RFLAGS_TF;
    if (v->debug.guest_tf)
        return;
    if (opcode[0] == TWO_BYTES && opcode[1] == SYSCALL)
        v->hw.gpr[R11] &= ~(uint64_t)RFLAGS_TF;
    if (opcode[0] != PUSHF)
        return;
    vmx_get_segment(SEG_SS, &ss);
    uint64_t at = vmx_get_gpr(&v->hw, RSP) + 1; /* RFLAGS' bits 15:8 */
    if (vcpu_code_width(v) != 64)
        at = (uint32_t)(at + ss.base);
    if (linear_read(v, at, &flags, 1) == 0) {
        flags &= (uint8_t) ~(RFLAGS_TF >> 8);
        (void)!linear_write(v, at, &flags, 1);
    }
}

/* An instruction that exits is carried out by Corbel, and the monitor trap flag would only show
 * behind the next one. */
bool gdb_stepped(struct vcpu *v)
{
    if (!vmx_features.monitor_trap_flag || vmx_rip() == v->debug.step_rip)
        return false;
    stop(v, GDB_STEPPED, 0);
    return true;
}

enum exit_result exit_monitor_trap(struct vcpu *v, struct vm_exit *e)
{
    if (v->debug.stepping)
        stop(v, GDB_STEPPED, 0);
    return EXIT_RESUME;
}

/* --- before a stay in the guest --- */

void gdb_arm(struct vcpu *v)
{
    bool on = v->vm->debugged;
    uint64_t dr[4], dr7;

    v->debug.armed = on;
    vmx_intercept_breakpoints(on);
    if (on && points_debug_registers(dr, &dr7))
        vmx_take_debug_registers(&v->hw, dr, dr7);
    else
        vmx_return_debug_registers(&v->hw);
    if (on && v->debug.step && !v->debug.stepping)
        begin_step(v);
}

/* --- what exits --- */

void gdb_breakpoint(struct vcpu *v, struct vm_exit *e)
{
    struct vmx_event own = {.info = e->intr & ~(uint32_t)INTR_NMI_UNBLOCKING,
                            .length = vmx_exit_instruction_length()};
    uint64_t gpa;
    uint32_t error;

    /* RIP is still that of the INT3. */
    if (linear_translate(v, linear_rip(v), WALK_FETCH, &gpa, &error) == 0 && points_planted(gpa)) {
        stop(v, GDB_SOFTWARE_BREAK, 0);
        return;
    }
    v->event = own;
    vcpu_ask(v, REQUEST_EVENT);
}

bool gdb_debug_exception(struct vcpu *v, struct vm_exit *e)
{
    const struct gdb_point *p = v->hw.debug_taken ? points_hit(e->qualification) : NULL;

    if (p) {
        stop(v,
             p->kind == GDB_POINT_HARDWARE ? GDB_HARDWARE_BREAK
             : p->kind == GDB_POINT_WRITE  ? GDB_WATCH_WRITE
                                           : GDB_WATCH_ACCESS,
             p->address);
        return true;
    }
    if (!v->debug.stepping || vmx_features.monitor_trap_flag ||
        !(e->qualification & QUALIFICATION_BS))
        return false;
    hide_tf(v);
    stop(v, GDB_STEPPED, 0);
    return true;
}

/* MOV DR while the debugger has the registers: the guest's are values in memory. Qualification:
 * bits 2:0 the register, 4 from it, 11:8 the general register (SDM, "Exit Qualification for MOV
 * DR"). */
enum exit_result exit_dr_access(struct vcpu *v, struct vm_exit *e)
{
    unsigned n = e->qualification & 7;
    enum gpr reg = (e->qualification >> 8) & 15;
    uint64_t value, *dr;

    if ((n == 4 || n == 5) && (vmx_get_cr4() & CR4_DE)) {
        vcpu_exception(v, VECTOR_UD, 0);
        return EXIT_RESUME;
    }
    dr = vmx_taken_debug_register(&v->hw, n == 4 || n == 5 ? n + 2 : n);
    if (e->qualification & BIT(4)) {
        vmx_set_gpr(&v->hw, reg, *dr);
        return EXIT_SKIP;
    }
    value = vmx_get_gpr(&v->hw, reg);
    if (vcpu_code_width(v) != 64)
        value = (uint32_t)value;
    if (n >= 4 && value >> 32) {
        vcpu_exception(v, VECTOR_GP, 0);
        return EXIT_RESUME;
    }
    if (n >= 4 && (n & 1))
        value = (value & 0xffff2bff) | BIT(10); /* DR7 */
    else if (n >= 4)
        value = (value & 0xe00f) | 0xffff0ff0; /* DR6 */
    *dr = value;
    return EXIT_SKIP;
}
