/* Port I/O: IN and OUT straight to the bus; INS and OUTS element by element through the guest's
 * memory. */
#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/tsc.h"
#include "guest/insn/string_io.h"
#include "guest/cpu/exit.h"
#include "guest/cpu/linear.h"
#include "vmx/cpu.h"

/* Exit qualification for I/O instructions */
#define IO_SIZE(q) (((unsigned)(q)&7) + 1)
#define IO_STRING  BIT(4)
#define IO_REP     BIT(5)
#define IO_PORT(q) ((uint16_t)((q) >> 16))

/* Elements done by one exit, so that interrupts get in between; fewer where devices take their time
 * with what goes out to them: a display may clear its memory for each. */
#define STRING_BATCH 256
#define STRING_HZ    500

/* INS or OUTS: where its elements lie. */
struct string_io {
    unsigned size;
    bool in;
    bool wide; /* 64-bit mode */
    unsigned address_size;
    enum segment segment;
    uint64_t base;
    struct insn_limits limits;
};

static uint64_t add_masked(uint64_t value, uint64_t delta, unsigned size)
{
    /* 16-bit registers keep their upper part, 32-bit ones lose it. */
    if (size == 8)
        return value + delta;
    if (size == 4)
        return (uint32_t)(value + delta);
    return (value & ~0xffffULL) | ((value + delta) & 0xffff);
}

/* The instruction itself, where the processor does not tell of it (IA32_VMX_BASIC, bit 54). False:
 * its bytes are others by now. */
static bool decode(struct vcpu *v, struct string_io *s)
{
    uint8_t bytes[INSN_BYTES];
    struct insn_string_io insn;
    unsigned count = (unsigned)linear_fetch(v, vcpu_linear_rip(v), bytes, sizeof(bytes));

    if (!insn_string_io_decode(bytes, count, vcpu_code_width(v), &insn))
        return false;
    s->address_size = insn.address_size;
    s->segment = (enum segment)insn.segment; /* both count in the encoding's order */
    return true;
}

/* The instruction by what the exit says of it, and its segment. */
static bool locate(struct vcpu *v, struct vm_exit *e, struct string_io *s)
{
    struct vmx_segment segment;

    if (LIKELY(vmx_features.ins_outs)) {
        vmx_decode_exit(e, NEED_INSTRUCTION);
        s->address_size = MIN(2u << (e->instruction >> 7 & 3), 8u);
        s->segment = s->in ? SEG_ES : (enum segment)(e->instruction >> 15 & 7);
    } else if (!decode(v, s)) {
        return false;
    }
    s->wide = s->address_size == 8 || vcpu_code_width(v) == 64;
    s->base = 0;
    if (s->wide && s->segment < SEG_FS)
        return true;
    vmx_get_segment(s->segment, &segment);
    s->base = segment.base;
    s->limits = (struct insn_limits){
        .limit = segment.limit, .access = segment.access, .protected = vmx_get_cr0() & CR0_PE};
    return true;
}

/* The exit comes before the checks of the element in memory (SDM, "Relative Priority of Faults and
 * VM Exits"). */
static bool element_allowed(struct vcpu *v, const struct string_io *s, uint64_t offset,
                            uint64_t linear, uint64_t rflags)
{
    if (s->wide ? !insn_canonical(linear, s->size)
                : !insn_segment_allows(&s->limits, (uint32_t)offset, s->size, s->in)) {
        vcpu_exception(v, s->segment == SEG_SS && !s->wide ? VECTOR_SS : VECTOR_GP, 0);
        return false;
    }
    if (UNLIKELY((rflags & RFLAGS_AC) && (linear & (s->size - 1)) && vcpu_cpl() == 3 &&
                 (vmx_get_cr0() & CR0_AM))) {
        vcpu_exception(v, VECTOR_AC, 0);
        return false;
    }
    return true;
}

/* INS and OUTS, element by element: each offset wraps at the address size. Out of line: IN and OUT
 * are short without it. */
static __attribute__((noinline)) enum exit_result string_io(struct vcpu *v, struct vm_exit *e)
{
    struct string_io s = {.size = IO_SIZE(e->qualification), .in = e->qualification & IO_IN};
    bool rep = e->qualification & IO_REP;

    if (UNLIKELY(!locate(v, e, &s))) {
        vcpu_no_progress(v, e->qualification);
        return EXIT_RESUME;
    }
    uint64_t mask = s.address_size == 8 ? ~0ULL : BIT(8 * s.address_size) - 1;
    uint64_t left = rep ? v->hw.gpr[RCX] & mask : 1, rflags = vmx_rflags();
    uint64_t step = rflags & RFLAGS_DF ? -(uint64_t)s.size : s.size;
    uint64_t *pointer = &v->hw.gpr[s.in ? RDI : RSI];
    uint64_t until = s.in ? UINT64_MAX : rdtsc() + tsc_hz / STRING_HZ;
    unsigned batch = rflags & RFLAGS_TF ? 1 : STRING_BATCH; /* each repetition traps */

    for (unsigned n = 0; left && n < batch && (s.in || n == 0 || rdtsc() < until); n++) {
        uint64_t linear = s.base + (*pointer & mask);
        uint32_t value = 0;
        if (!s.wide)
            linear = (uint32_t)linear;
        if (!element_allowed(v, &s, *pointer & mask, linear, rflags))
            return EXIT_RESUME;
        if (s.in) {
            /* Where it goes is found out first: a device gives a byte away only once. */
            if (linear_writable(v, linear, s.size) < 0)
                return EXIT_RESUME;
            value = bus_port_read(board_bus(v->board), IO_PORT(e->qualification), s.size);
            int result = linear_write(v, linear, &value, s.size);
            if (result < 0) {
                if (result == -ENOMEM)
                    vm_kill(v, "no memory is left for what it has read from port %x",
                            IO_PORT(e->qualification));
                return EXIT_RESUME;
            }
        } else {
            if (linear_read(v, linear, &value, s.size) < 0)
                return EXIT_RESUME;
            bus_port_write(board_bus(v->board), IO_PORT(e->qualification), s.size, value);
        }
        left--;
        *pointer = add_masked(*pointer, step, s.address_size);
        if (rep)
            v->hw.gpr[RCX] = add_masked(v->hw.gpr[RCX], (uint64_t)-1, s.address_size);
    }
    if (!left)
        return EXIT_SKIP;
    vmx_end_repetition();
    return EXIT_RESUME;
}

enum exit_result exit_io(struct vcpu *v, struct vm_exit *e)
{
    uint64_t q = e->qualification;
    unsigned size = IO_SIZE(q);

    if (UNLIKELY(q & IO_STRING))
        return string_io(v, e);
    if (q & IO_IN) {
        uint32_t value = bus_port_read(board_bus(v->board), IO_PORT(q), size);
        if (size == 4)
            v->hw.gpr[RAX] = value;
        else if (size == 1)
            v->hw.gpr[RAX] = (v->hw.gpr[RAX] & ~0xffULL) | (uint8_t)value;
        else
            v->hw.gpr[RAX] = (v->hw.gpr[RAX] & ~0xffffULL) | (uint16_t)value;
    } else {
        uint32_t value = (uint32_t)v->hw.gpr[RAX];
        bus_port_write(board_bus(v->board), IO_PORT(q), size,
                       size == 4 ? value : value & ((1u << size * 8) - 1));
    }
    return EXIT_SKIP;
}
