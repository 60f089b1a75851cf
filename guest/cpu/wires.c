/* What a board asks of its vCPUs (guest/board/board.h). */
#include "guest/cpu/wires.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/percpu.h"
#include "guest/cpu/events.h"
#include "guest/cpu/timers.h"

static struct vcpu *vcpu_of(struct lapic *l)
{
    return CONTAINER_OF(l, struct vcpu, lapic);
}

static void timers(void *owner, bool earlier)
{
    struct vm *vm = owner;
    struct vcpu *v = this_cpu()->current;

    if (v && v->vm == vm)
        vcpu_keep_time(v);
    else if (earlier && vm->vcpu_count) /* else there is nobody yet */
        vcpu_tell_timekeeper(vm);
}

static void notify(struct lapic *l)
{
    vcpu_notify(vcpu_of(l), REQUEST_EVENT);
}

static void event(struct lapic *target, enum apic_mode how, uint8_t vector)
{
    struct vcpu *v = vcpu_of(target);

    switch (how) {
    case APIC_NMI:
        vcpu_nmi(v);
        break;
    case APIC_INIT:
        /* The boot processor after INIT would run the firmware's reset vector, and there may be no
         * firmware. */
        if ((target->base & APIC_BASE_BSP) && !v->vm->config->firmware.data) {
            vm_request(v->vm, VM_REQUEST_RESET, "INIT to the boot processor");
            break;
        }
        __atomic_fetch_and(&v->task.requests, ~(uint32_t)REQUEST_STARTUP, __ATOMIC_SEQ_CST);
        __atomic_store_n(&v->accepts_startup, true, __ATOMIC_SEQ_CST);
        vcpu_notify(v, REQUEST_INIT);
        break;
    case APIC_STARTUP:
        /* The first after an INIT counts, which the vCPU may not have seen yet. */
        if (!__atomic_exchange_n(&v->accepts_startup, false, __ATOMIC_SEQ_CST))
            break;
        __atomic_store_n(&v->startup_vector, vector, __ATOMIC_SEQ_CST);
        vcpu_notify(v, REQUEST_STARTUP);
        break;
    default: /* SMI: no SMM; ExtINT: the 8259s are asked by themselves */
        break;
    }
}

static void mode(struct lapic *l)
{
    vcpu_apic_mode(vcpu_of(l));
}

static void eoi(void *owner)
{
    struct vm *vm = owner;

    for (unsigned i = 0; i < vm->vcpu_count; i++)
        vcpu_notify(vm->vcpu[i], REQUEST_EOI_EXITS);
}

/* Other translations than before: processors forget them before who is the cause goes on. */
static void settle_soon(struct vm *vm)
{
    struct vcpu *v = this_cpu()->current;

    /* Before who did it has settled, another one may hear of it from the device, whose lock we
     * hold: that has left its guest for it, and need not be made to. */
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        vcpu_ask(vm->vcpu[i], REQUEST_VIEW | REQUEST_FLUSH);
    if (vm->vcpu_count) /* else nothing has ever run */
        vcpu_notify(v && v->vm == vm ? v : vm->vcpu[0], REQUEST_MEMORY);
}

static void memory(void *owner, uint64_t gpa, uint64_t size)
{
    struct vm *vm = owner;

    rights_refresh(&vm->rights, gpa, size);
    settle_soon(vm);
}

/* Whoever looks on keeps it where it is. */
static int give(void *owner, uint64_t gpa, uint64_t size)
{
    struct vm *vm = owner;
    paddr base;

    if (vm->debugged || rights_reasons(&vm->rights, gpa, size))
        return -EBUSY;
    int result = size == PAGE_SIZE ? guest_memory_give(&vm->memory, gpa, &base)
                                   : guest_memory_give_block(&vm->memory, gpa, &base);
    if (result < 0)
        return result;
    rights_withdraw(&vm->rights, gpa, size);
    guest_memory_leave(&vm->memory, base, size);
    return 0;
}

static void given(void *owner)
{
    struct vm *vm = owner;

    if (guest_memory_leaving(&vm->memory))
        settle_soon(vm);
}

static void request(void *owner, enum vm_request what, const char *why)
{
    vm_request(owner, what, why);
}

const struct board_cpus vcpu_wires = {
    .timers = timers,
    .notify = notify,
    .event = event,
    .mode = mode,
    .eoi = eoi,
    .memory = memory,
    .give = give,
    .given = given,
    .request = request,
};
