/*
 * EPT violations and APIC-page accesses. RAM that was not there, or whose mapping was dropped,
 * comes; a device's page means decoding the instruction: MOV by the short way, everything else by
 * the emulator; nobody's address reads ones.
 */
#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "guest/insn/insn.h"
#include "guest/insn/string_io.h"
#include "guest/cpu/exit.h"
#include "guest/cpu/events.h"
#include "guest/cpu/timers.h"
#include "guest/cpu/linear.h"
#include "guest/cpu/walk.h"
#include "guest/cpu/probe.h"

static uint64_t device_read(struct vcpu *v, uint64_t gpa, unsigned size)
{
    uint64_t value;

    if (lapic_claims(&v->lapic, gpa))
        return lapic_mmio_read(&v->lapic, gpa & 0xfff, size);
    return bus_mmio_read(board_bus(v->board), &v->device, gpa, size, &value) ? value : ~0ULL;
}

static __attribute__((noinline)) void lapic_write(struct vcpu *v, uint64_t gpa, unsigned size,
                                                  uint64_t value)
{
    lapic_mmio_write(&v->lapic, gpa & 0xfff, size, value);
    vcpu_update_deadline(v);
    vcpu_ask(v, REQUEST_EVENT);
}

static void device_write(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t value)
{
    if (lapic_claims(&v->lapic, gpa))
        lapic_write(v, gpa, size, value);
    else
        bus_mmio_write(board_bus(v->board), &v->device, gpa, size, value);
}

/* --- the emulator's view of memory --- */

static uint64_t segment_base(void *opaque, enum insn_segment segment)
{
    struct vmx_segment s;

    vmx_get_segment((enum segment)segment, &s); /* both count in the encoding's order */
    return s.base;
}

static int emulated_access(struct vcpu *v, uint64_t linear, unsigned access, uint64_t *gpa)
{
    uint32_t error;

    if (linear_translate(v, linear, access | (vcpu_cpl() == 3 ? WALK_USER : 0), gpa, &error) == 0)
        return 0;
    if (!insn_canonical(linear, 1))
        vcpu_exception(v, VECTOR_GP, 0);
    else
        vcpu_page_fault(v, linear, error);
    return -EFAULT;
}

static int emulated_check(void *opaque, enum insn_segment segment, uint32_t offset, unsigned size,
                          bool write)
{
    struct vmx_segment s;

    vmx_get_segment((enum segment)segment, &s);
    const struct insn_limits limits = {
        .limit = s.limit, .access = s.access, .protected = vmx_get_cr0() & CR0_PE};
    if (insn_segment_allows(&limits, offset, size, write))
        return 0;
    vcpu_exception(opaque, segment == INSN_SS ? VECTOR_SS : VECTOR_GP, 0);
    return -EFAULT;
}

static int emulated_stack_fault(void *opaque)
{
    vcpu_exception(opaque, VECTOR_SS, 0);
    return -EFAULT;
}

static int emulated_read(void *opaque, uint64_t linear, unsigned size, uint64_t *value)
{
    struct vcpu *v = opaque;
    uint64_t gpa;

    *value = 0;
    if (emulated_access(v, linear, 0, &gpa) < 0)
        return -EFAULT;
    if (UNLIKELY(v->vm->watches))
        probes->touched(v, linear, gpa, size, false);
    if (lapic_claims(&v->lapic, gpa) ||
        guest_memory_read_operand(&v->vm->memory, gpa, size, value) < 0)
        *value = device_read(v, gpa, size);
    return 0;
}

static int emulated_write(void *opaque, uint64_t linear, unsigned size, uint64_t value)
{
    struct vcpu *v = opaque;
    uint64_t gpa;

    if (emulated_access(v, linear, WALK_WRITE, &gpa) < 0)
        return -EFAULT;
    if (UNLIKELY(v->vm->watches))
        probes->touched(v, linear, gpa, size, true);
    if (!lapic_claims(&v->lapic, gpa)) {
        int result = guest_memory_write_operand(&v->vm->memory, gpa, size, value);
        if (result == 0)
            return 0;
        if (UNLIKELY(result == -ENOMEM)) { /* it is carried out again when the VM goes on */
            vm_starve(v->vm);
            return -EFAULT;
        }
    }
    device_write(v, gpa, size, value);
    return 0;
}

static int emulated_probe(void *opaque, uint64_t linear, unsigned size)
{
    uint64_t gpa;

    return emulated_access(opaque, linear, WALK_WRITE, &gpa);
}

static void kill_undecoded(struct vcpu *v, const struct insn_context *c, uint64_t gpa)
{
    char text[3 * INSN_BYTES + 1] = "";

    for (unsigned i = 0; i < c->count; i++)
        format(text + 3 * i, sizeof(text) - 3 * i, "%02x ", c->bytes[i]);
    vm_kill(v, "cannot emulate the instruction that accesses device memory at %lx: bytes %s", gpa,
            text);
}

/* The instruction's bytes end where a page does: the next one is not there for code, or is no
 * memory at all. */
static void fetch_fault(struct vcpu *v, uint64_t linear, uint64_t gpa)
{
    uint64_t at;
    uint32_t error;

    if (linear_translate(v, linear, WALK_FETCH | (vcpu_cpl() == 3 ? WALK_USER : 0), &at, &error) <
        0)
        vcpu_page_fault(v, linear, error);
    else
        vm_kill(v,
                "the instruction that accesses device memory at %lx goes on at %lx, where there is "
                "no memory",
                gpa, at);
}

static enum exit_result emulate(struct vcpu *v, struct insn_context *c, uint64_t linear,
                                uint64_t gpa)
{
    static const struct insn_memory_ops memory = {.read = emulated_read,
                                                  .write = emulated_write,
                                                  .probe_write = emulated_probe,
                                                  .check = emulated_check,
                                                  .stack_fault = emulated_stack_fault};
    uint64_t rflags = vmx_rflags();
    struct insn insn;

    c->gpr = v->hw.gpr;
    v->hw.gpr[RSP] = vmx_get_gpr(&v->hw, RSP);
    c->rflags = &rflags;
    c->opaque = v;
    c->segment_base = segment_base;
    c->stack = c->mode == 64 ? 64 : vmx_segment_access(SEG_SS) & BIT(14) ? 32 : 16;
    int result = insn_decode(c, &insn);
    if (result == -EAGAIN) {
        fetch_fault(v, linear_wrap(v, linear + c->count), gpa);
        return EXIT_RESUME;
    }
    if (result == -EBADMSG) {
        vcpu_exception(v, VECTOR_UD, 0);
        return EXIT_RESUME;
    }
    if (result > 0)
        result = insn_emulate(&insn, c, &memory);
    if (result == -EFAULT)
        return EXIT_RESUME;
    if (result < 0) {
        kill_undecoded(v, c, gpa);
        return EXIT_RESUME;
    }
    vmx_set_gpr(&v->hw, RSP, v->hw.gpr[RSP]);
    vmx_set_rflags(rflags);
    if (result == 1) /* one element of a repeated string instruction: interrupts may come next */
        vmx_end_repetition();
    else
        vmx_skip_bytes(insn.length);
    return EXIT_RESUME;
}

/* MOV has its own short way: one device access, one register. */
static void move(struct vcpu *v, const struct insn_mov *mov, uint64_t gpa)
{
    if (mov->write)
        device_write(v, gpa, mov->size, insn_mov_store_value(mov, v->hw.gpr));
    else
        insn_mov_load(mov, v->hw.gpr, device_read(v, gpa, mov->size));
    vmx_skip_bytes(mov->length);
}

static inline bool is_short(const struct insn_mov *mov, uint64_t gpa)
{
    return (gpa & 0xfff) + mov->size <= PAGE_SIZE && mov->reg != RSP;
}

static __attribute__((noinline)) enum exit_result slow_access(struct vcpu *v, uint64_t gpa)
{
    struct insn_context c = {.rip = vmx_rip(), .mode = (uint8_t)vcpu_code_width(v)};
    struct insn_mov mov;
    uint64_t linear = c.rip;

    if (c.mode != 64)
        linear = (uint32_t)(linear + segment_base(v, INSN_CS));
    c.count = (uint8_t)linear_fetch(v, linear, c.bytes, INSN_BYTES);
    if (!insn_fast_mov(c.bytes, c.count, c.mode, &mov) || !is_short(&mov, gpa))
        return emulate(v, &c, linear, gpa);
    move(v, &mov, gpa);
    return EXIT_RESUME;
}

/* Carry out the instruction at RIP, which touches a device's memory at gpa. */
static enum exit_result device_access(struct vcpu *v, uint64_t gpa)
{
    if (UNLIKELY(vcpu_code_width(v) != 64 || !linear_fetch_quick(v, vmx_rip(), v->code) ||
                 !insn_fast_mov(v->code, INSN_BYTES, 64, &v->mov) || !is_short(&v->mov, gpa)))
        return slow_access(v, gpa);
    move(v, &v->mov, gpa);
    return EXIT_RESUME;
}

/* Once in so many seconds what a VM executes for the first time in a large leaf is the moment to
 * make large ones of what it has executed long ago. */
#define ENLARGE_SECONDS 60

static __attribute__((noinline)) void executed(struct vcpu *v)
{
    if (rights_enlarge(&v->vm->rights, rdtsc(), ENLARGE_SECONDS * tsc_hz))
        vcpu_ask(v, REQUEST_MEMORY);
    if (v->vm->watches)
        vcpu_ask(v, REQUEST_RESCHEDULE); /* a page that is open for it is so in an old view */
}

/*
 * Not where the last device access was: RAM that has no frame yet, whose mapping is gone or of
 * which somebody has taken rights, another device, or nobody's. Where no memory is left for it, the
 * VM stands still, and tries again when it goes on.
 */
static __attribute__((noinline)) bool ram_came_back(struct vcpu *v, const struct vm_exit *e)
{
    struct rights *rights = &v->vm->rights;
    uint64_t gpa = e->gpa;
    int result;

    if (lapic_claims(&v->lapic, gpa))
        return false;
    if (v->vm->watches && probes->ept_violation(v, e))
        return true;
    result = guest_memory_touch(&v->vm->memory, gpa);
    if (result == 0)
        result = rights_fault(rights, gpa, e->qualification & EPT_RWX);
    if (result == -EFAULT)
        return false;
    if (UNLIKELY(result)) {
        if (result > 0)
            executed(v);
        else if (result == -ENOMEM)
            vm_starve(v->vm);
    }
    if (UNLIKELY(v->watch.open)) /* for the instruction that is being stepped */
        (void)!rights_open(rights, &v->watch.window, gpa, 0);
    else
        vcpu_refresh_view(v);
    vcpu_no_progress(v, gpa);
    return true;
}

/* A device cannot hold page tables, code, or what an interrupt's delivery touches: a machine would
 * hang. */
static __attribute__((noinline)) void kill_misuse(struct vcpu *v, const struct vm_exit *e)
{
    if (e->interrupted.info & INTR_VALID)
        vm_kill(v, "delivering vector %u touches device memory at %lx",
                INTR_VECTOR(e->interrupted.info), e->gpa);
    else if (e->qualification & EPT_VIOLATION_FETCH)
        vm_kill(v, "executes at guest-physical %lx, where there is no memory", e->gpa);
    else
        vm_kill(v, "page tables at guest-physical %lx, where there is no memory%s", e->gpa,
                e->qualification & EPT_VIOLATION_READABLE ? " that could be written" : "");
}

enum exit_result exit_ept_violation(struct vcpu *v, struct vm_exit *e)
{
    const uint64_t plain = EPT_VIOLATION_GLA_FINAL;
    const uint64_t odd = EPT_VIOLATION_FETCH | QUALIFICATION_NMI_UNBLOCKING;

    if (LIKELY(bus_view_covers(board_bus(v->board), &v->device, e->gpa) &&
               !(e->interrupted.info & INTR_VALID) && (e->qualification & (plain | odd)) == plain))
        return device_access(v, e->gpa);
    if ((e->qualification & QUALIFICATION_NMI_UNBLOCKING) && !(e->interrupted.info & INTR_VALID))
        vmx_block_nmi();
    if (ram_came_back(v, e))
        return EXIT_RESUME;
    if ((e->interrupted.info & INTR_VALID) || (e->qualification & EPT_VIOLATION_FETCH) ||
        !(e->qualification & EPT_VIOLATION_GLA_FINAL)) {
        kill_misuse(v, e);
        return EXIT_RESUME;
    }
    return device_access(v, e->gpa);
}

/* Access type in bits 15:12: 0 linear read, 1 linear write, 2 fetch, 3 event delivery; physical
 * ones above. */
enum exit_result exit_apic_access(struct vcpu *v, struct vm_exit *e)
{
    unsigned type = (e->qualification >> 12) & 0xf;

    if (type > 1) {
        vm_kill(v, "uses the local APIC's page for something other than data (access type %u)",
                type);
        return EXIT_RESUME;
    }
    return device_access(v, v->lapic.claimed | (e->qualification & 0xfff));
}
