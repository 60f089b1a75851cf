/* links: guest/cpu/exit_io.c guest/insn/string_io.c */
/* Port I/O: what one exit does of an instruction that repeats, and how long that takes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "guest/board/board.h"
#include "guest/cpu/exit.h"
#include "guest/cpu/linear.h"
#include "tests/unit/unused.h"
#include "vmx/cpu.h"

#define PORT     0x1cf
#define AT       0x1000 /* where the elements are */
#define ELEMENTS 1000

static struct vcpu vcpu, *const v = &vcpu;
static struct board_front front;
static uint64_t fields[0x7000]; /* of the VMCS */
static uint8_t memory[0x4000];
static uint64_t now, each; /* ticks that the device takes for an element */
static unsigned done, repetitions;
static uint64_t readable; /* memory from here on is not */
static uint64_t there;    /* memory from here on finds no frames any more */
static unsigned killed;

struct vmx_features vmx_features = {.ins_outs = true};
uint64_t tsc_hz = 1000000;

/* --- the processor, the guest's memory, and a device --- */

uint64_t test_tsc(void)
{
    return now++;
}

uint64_t vmread_any(enum vmcs_field field)
{
    return fields[field];
}

uint64_t vmx_get_cr0(void)
{
    return CR0_PE;
}

unsigned vcpu_code_width(const struct vcpu *of)
{
    return 64;
}

void vmx_end_repetition(void)
{
    repetitions++;
}

int linear_read(struct vcpu *of, uint64_t linear, void *data, size_t size)
{
    if (linear + size > readable)
        return -EFAULT;
    memcpy(data, memory + linear, size);
    return 0;
}

int linear_write(struct vcpu *of, uint64_t linear, const void *data, size_t size)
{
    if (linear + size > there)
        return -ENOMEM;
    memcpy(memory + linear, data, size);
    return 0;
}

void vm_kill(struct vcpu *of, const char *why, ...)
{
    assert_ptr_equal(of, v);
    killed++;
}

int linear_writable(struct vcpu *of, uint64_t linear, size_t size)
{
    return linear + size > readable ? -EFAULT : 0;
}

uint32_t bus_port_read(struct bus *bus, uint16_t port, unsigned size)
{
    assert_int_equal(port, PORT);
    now += each;
    return done++;
}

void bus_port_write(struct bus *bus, uint16_t port, unsigned size, uint32_t value)
{
    assert_int_equal(port, PORT);
    assert_int_equal(value, done * 3);
    now += each;
    done++;
}

UNUSED(size_t linear_fetch(struct vcpu *of, uint64_t linear, void *data, size_t size))
UNUSED(uint64_t vcpu_linear_rip(const struct vcpu *of))
UNUSED(unsigned vcpu_cpl(void))
UNUSED_VOID(void vcpu_exception(struct vcpu *of, unsigned vector, uint32_t error))
UNUSED_VOID(void vcpu_no_progress(struct vcpu *of, uint64_t what))
UNUSED_VOID(void vmx_get_segment(unsigned n, struct vmx_segment *out))

/* --- */

static int setup(void **state)
{
    memset(memory, 0, sizeof(memory));
    for (unsigned i = 0; i < ELEMENTS; i++)
        memory[AT + 2 * i] = (uint8_t)(3 * i), memory[AT + 2 * i + 1] = (uint8_t)(3 * i >> 8);
    v->board = (struct board *)&front;
    v->hw.gpr[RSI] = v->hw.gpr[RDI] = AT;
    v->hw.gpr[RCX] = ELEMENTS;
    fields[VMCS_EXIT_INSTRUCTION_INFO] = 2 << 7 | 3 << 15; /* 64 bits, DS */
    readable = there = sizeof(memory);
    killed = 0;
    now = each = 0;
    done = repetitions = 0;
    return 0;
}

/* Of two bytes each. */
static enum exit_result repeated(uint64_t in)
{
    struct vm_exit e = {.reason = EXIT_IO, .qualification = (uint64_t)PORT << 16 | 0x31 | in};

    return exit_io(v, &e);
}

static void in_pieces(void **state)
{
    for (unsigned n = 256; n < ELEMENTS; n += 256) {
        assert_int_equal(repeated(0), EXIT_RESUME);
        assert_int_equal(done, n);
        assert_int_equal(v->hw.gpr[RCX], ELEMENTS - n);
        assert_int_equal(v->hw.gpr[RSI], AT + 2 * n);
    }
    assert_int_equal(repetitions, 3);
    assert_int_equal(repeated(0), EXIT_SKIP);
    assert_int_equal(done, ELEMENTS);
    assert_int_equal(v->hw.gpr[RCX], 0);
}

static void a_slow_device_ends_a_piece(void **state)
{
    each = tsc_hz / 500;
    assert_int_equal(repeated(0), EXIT_RESUME);
    assert_int_equal(done, 1); /* one in any case */
    each = tsc_hz / 5000;
    assert_int_equal(repeated(0), EXIT_RESUME);
    assert_uint_in_range(done, 9, 12);
    assert_int_equal(v->hw.gpr[RCX], ELEMENTS - done);
    assert_int_equal(repetitions, 2);
}

static void a_fault_leaves_what_is_done(void **state)
{
    readable = AT + 20;
    assert_int_equal(repeated(0), EXIT_RESUME);
    assert_int_equal(done, 10);
    assert_int_equal(repetitions, 0);
    assert_int_equal(v->hw.gpr[RCX], ELEMENTS - 10);
    done = 0;
    assert_int_equal(repeated(IO_IN), EXIT_RESUME);
    assert_int_equal(done, 10);
    assert_int_equal(v->hw.gpr[RDI], AT + 20);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(memory[AT + 2 * i], i);
}

/* What the device has given away is lost: that is said, and not passed over. */
static void out_of_memory(void **state)
{
    there = AT + 20;
    assert_int_equal(repeated(IO_IN), EXIT_RESUME);
    assert_int_equal(done, 11);
    assert_int_equal(killed, 1);
    assert_int_equal(v->hw.gpr[RDI], AT + 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(in_pieces, setup),
        cmocka_unit_test_setup(out_of_memory, setup),
        cmocka_unit_test_setup(a_slow_device_ends_a_piece, setup),
        cmocka_unit_test_setup(a_fault_leaves_what_is_done, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
