/* links: guest/cpu/ending.c arch/x86/lib/format.c */
/* How a VM comes to leave its processors: once for an end, each time for memory. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/log.h"
#include "guest/cpu/vcpu.h"
#include "guest/run/run.h"

static struct vm vm = {.name = "a"};
static struct vcpu vcpu = {.vm = &vm};
static unsigned leaves, dumps, errors;

void run_leave(struct task_group *g)
{
    assert_ptr_equal(g, &vm.tasks);
    leaves++;
}

void vcpu_dump(struct vcpu *v)
{
    dumps++;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    errors += level == LOG_ERROR;
}

static int setup(void **state)
{
    vm.ending = (struct ending){0};
    vm.starved = false;
    leaves = dumps = errors = 0;
    return 0;
}

static void ends_once(void **state)
{
    vm_request(&vm, VM_REQUEST_RESET, "first");
    vm_request(&vm, VM_REQUEST_POWEROFF, "second");
    assert_int_equal(leaves, 1);
    assert_int_equal(vm.ending.request, VM_REQUEST_RESET);
    assert_string_equal(vm.ending.why, "first");
    vm_kill(&vcpu, "third %u", 3u);
    vm_kill(&vcpu, "fourth");
    assert_int_equal(leaves, 2);
    assert_int_equal(errors, 1);
    assert_int_equal(dumps, 1);
    assert_true(vm.ending.killed);
    assert_string_equal(vm.ending.why, "third 3");
}

/* Who lets it go on takes back that it is to leave, it may be after a device has found no memory:
 * the next that finds none has it leave all the same. */
static void starves_each_time(void **state)
{
    for (unsigned i = 1; i < 4; i++) {
        vm_starve(&vm);
        assert_true(vm.starved);
        assert_int_equal(leaves, i);
    }
    assert_false(vm.ending.wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(ends_once, setup),
        cmocka_unit_test_setup(starves_each_time, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
