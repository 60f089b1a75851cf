/* links: guest/cpu/machine_check.c guest/vm/lost_memory.c arch/x86/lib/format.c */
/* Whom a machine check ends: the VM that has lost memory, and no other. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/machine_check.h"
#include "arch/x86/panic.h"
#include "arch/x86/smp.h"
#include "guest/cpu/exit.h"
#include "guest/run/run.h"
#include "guest/vm/control.h"
#include "guest/vm/lost_memory.h"

#define KERNEL_PAGE UINT64_C(0x1000)
#define VM_PAGE     UINT64_C(0x40000) /* of VM 2, and so are those behind it */
#define NEIGHBOUR   UINT64_C(0x80000) /* of VM 1 */

uint64_t tsc_hz = 1000;
unsigned smp_cpus = 2;

static uint64_t now;
static struct mce_result result;
static bool (*keeper)(uint64_t page);
static uint16_t owner[256];
static unsigned retired, broken, attention, kills[4], looks, lines, present;
static struct machine_check_look found[2];
static enum mce_where where;
static jmp_buf stopped;
static char said[400];
static struct vm vm = {.id = 2, .name = "two"};
static struct vcpu vcpu, *const v = &vcpu;
static struct vm_slot slots[4];

uint64_t test_tsc(void)
{
    return now;
}

struct mce_result machine_check_take(enum mce_where from)
{
    where = from;
    for (unsigned i = 0; i < result.optionals; i++)
        result.stop |= !keeper(result.optional[i]);
    return result;
}

bool machine_check_present(void)
{
    return present;
}

void machine_check_set_keeper(bool (*spare)(uint64_t page))
{
    keeper = spare;
}

const char *machine_check_text(void)
{
    return "bank 3";
}

void machine_check_look(struct machine_check_look *out)
{
    *out = found[looks++ % 2];
}

uint16_t frame_owner(paddr frame)
{
    return owner[frame / PAGE_SIZE];
}

void frame_retire(paddr frame)
{
    owner[frame / PAGE_SIZE] = FRAME_RETIRED;
    retired++;
}

void vm_break(struct vm *of, const char *why)
{
    assert_ptr_equal(of, &vm);
    snprintf(said, sizeof(said), "%s", why);
    broken++;
}

void run_attention(unsigned n)
{
    assert_int_equal(n, 0);
    attention++;
}

void cpu_call(unsigned n, void (*fn)(void *arg), void *arg)
{
    fn(arg);
}

unsigned control_count(void)
{
    return 4;
}

struct vm_slot *control_slot(unsigned index)
{
    assert_true(index < 4);
    return &slots[index];
}

int control_kill(struct vm_slot *slot, const char *why, char *error)
{
    snprintf(said, sizeof(said), "%s", why);
    kills[slot - slots]++;
    return 0;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    lines++;
}

NORETURN void panic(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(said, sizeof(said), fmt, args);
    va_end(args);
    longjmp(stopped, 1);
}

static int setup(void **state)
{
    memset(owner, 0, sizeof(owner));
    memset(kills, 0, sizeof(kills));
    memset(found, 0, sizeof(found));
    memset(&vcpu, 0, sizeof(vcpu));
    owner[KERNEL_PAGE / PAGE_SIZE] = FRAME_KERNEL;
    for (unsigned i = 0; i < 20; i++)
        owner[VM_PAGE / PAGE_SIZE + i] = FRAME_VM + 2;
    owner[NEIGHBOUR / PAGE_SIZE] = FRAME_VM + 1;
    v->vm = &vm;
    result = (struct mce_result){.worst = -1, .required = MCE_NO_PAGE};
    retired = broken = attention = looks = lines = 0;
    said[0] = 0;
    present = true;
    now = 0;
    lost_memory_init();
    (void)lost_memory_work();
    return 0;
}

static bool stops(bool entered)
{
    if (setjmp(stopped))
        return true;
    vcpu_machine_check(v, entered);
    return false;
}

static void its_own(void **state)
{
    result.required = VM_PAGE;
    assert_false(stops(true));
    assert_int_equal(where, MCE_IN_GUEST);
    assert_int_equal(broken, 1);
    assert_int_equal(retired, 1);
    assert_non_null(strstr(said, "at host address 40000"));
    assert_int_equal(v->task.requests, REQUEST_RESCHEDULE);
    /* another of its vCPUs wants it, too, before all have left */
    assert_false(stops(true));
    assert_int_equal(broken, 2);
}

static void not_its_own(void **state)
{
    static const uint64_t pages[] = {KERNEL_PAGE, NEIGHBOUR, 0};

    for (unsigned i = 0; i < 3; i++) {
        result.required = pages[i];
        assert_true(stops(true));
        assert_int_equal(broken + retired, 0);
    }
    result.required = MCE_NO_PAGE;
    result.stop = true;
    assert_true(stops(true));
    assert_non_null(strstr(said, "two: bank 3"));
    assert_true(stops(false));
    assert_int_equal(where, MCE_IN_ROOT);
}

/* Nobody has used it yet: whose it is ends, on processor 0. */
static void somebodys(void **state)
{
    result.optional[0] = NEIGHBOUR;
    result.optionals = 1;
    assert_false(stops(true));
    assert_int_equal(attention, 1);
    assert_int_equal(broken, 0);
    assert_true(keeper(NEIGHBOUR)); /* another processor has heard of it, too */
    (void)lost_memory_work();
    assert_int_equal(kills[1], 1);
    assert_int_equal(kills[2], 0);
    assert_int_equal(retired, 1);
    assert_non_null(strstr(said, "at 80000"));
    assert_true(keeper(NEIGHBOUR)); /* later still */
    (void)lost_memory_work();
    assert_int_equal(kills[1], 1);
}

static void nobodys(void **state)
{
    result.optional[0] = KERNEL_PAGE;
    result.optionals = 1;
    assert_true(stops(true));
    assert_false(keeper(0));
    assert_false(keeper(0x30000)); /* free */
    /* one whose VM has ended before processor 0 came to it */
    assert_true(keeper(VM_PAGE));
    owner[VM_PAGE / PAGE_SIZE] = FRAME_FREE;
    (void)lost_memory_work();
    assert_int_equal(retired + kills[2], 0);
}

static void too_many(void **state)
{
    for (unsigned i = 0; i < 16; i++)
        assert_true(keeper(VM_PAGE + i * PAGE_SIZE));
    assert_true(keeper(VM_PAGE));
    assert_false(keeper(VM_PAGE + 16 * PAGE_SIZE));
    (void)lost_memory_work();
    assert_int_equal(kills[2], 16);
    assert_true(keeper(VM_PAGE + 16 * PAGE_SIZE));
    (void)lost_memory_work();
    assert_int_equal(kills[2], 17);
}

/* A look each minute, a line for each processor that has something to tell. */
static void looked_at(void **state)
{
    assert_int_equal(lost_memory_work(), 60 * tsc_hz);
    assert_int_equal(looks, 0);
    now = 60 * tsc_hz;
    assert_int_equal(lost_memory_work(), 120 * tsc_hz);
    assert_int_equal(looks, 2);
    assert_int_equal(lines, 0);
    found[1].corrected = 70000;
    now = 120 * tsc_hz;
    (void)lost_memory_work();
    assert_int_equal(lines, 1);
    found[0].unused = 1;
    now = 500 * tsc_hz;
    (void)lost_memory_work();
    assert_int_equal(lines, 3);
    present = false;
    lost_memory_init();
    assert_true(lost_memory_work() == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(its_own, setup),   cmocka_unit_test_setup(not_its_own, setup),
        cmocka_unit_test_setup(somebodys, setup), cmocka_unit_test_setup(nobodys, setup),
        cmocka_unit_test_setup(too_many, setup),  cmocka_unit_test_setup(looked_at, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
