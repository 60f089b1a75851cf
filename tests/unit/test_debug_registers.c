/* links: vmx/event.c vmx/fields.c vmx/debug.c arch/x86/lib/format.c */
/* A guest's #DB while a debugger has the debug registers: what the guest finds in its own. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "vmx/cpu.h"
#include "vmx/debug.h"
#include "vmx/event.h"
#include "vmx/fpu.h"

#define BS BIT(14)
#define GD BIT(13)

struct vmx_features vmx_features;
static uint64_t fields[0x7000];
static struct vmx_vcpu vcpu, *const v = &vcpu;

uint64_t vmread_any(enum vmcs_field field)
{
    return fields[field];
}

void vmwrite_any(enum vmcs_field field, uint64_t value)
{
    fields[field] = value;
}

void fpu_save(struct vmx_vcpu *hw)
{
    fail_msg("%s", __func__);
}

void fpu_load(struct vmx_vcpu *hw)
{
    fail_msg("%s", __func__);
}

/* Those of the processor are the debugger's: the test would fault at the first access to one. */
static int taken(void **state)
{
    v->debug_taken = true;
    v->guest_dr[6] = 0xffff0ff0;
    v->guest_dr[7] = 0x400 | GD;
    fields[VMCS_GUEST_DR7] = 0x10402;
    fields[VMCS_GUEST_RFLAGS] = RFLAGS_ONE | RFLAGS_TF;
    fields[VMCS_GUEST_DEBUGCTL] = BIT(1);
    return 0;
}

static void a_trap_is_told(void **state)
{
    vmx_debug_exception(v, BS);
    assert_int_equal(*vmx_taken_debug_register(v, 6), 0xffff0ff0 | BS);
    assert_int_equal(*vmx_taken_debug_register(v, 7), 0x400); /* its handler may touch them */
    assert_int_equal(fields[VMCS_GUEST_DR7], 0x10402);
    assert_int_equal(fields[VMCS_GUEST_DEBUGCTL], 0);
}

/* Bits of breakpoints that are not enabled may be set, and are the debugger's here. */
static void the_debuggers_are_not(void **state)
{
    v->guest_dr[6] |= 2;
    vmx_debug_exception(v, BS | 5);
    assert_int_equal(*vmx_taken_debug_register(v, 6), 0xffff0ff0 | BS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_trap_is_told, taken),
        cmocka_unit_test_setup(the_debuggers_are_not, taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
