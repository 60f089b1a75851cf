#include "guest/cpu/ending.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "guest/run/run.h"
#include "guest/cpu/vcpu.h"

void vm_request(struct vm *vm, enum vm_request request, const char *why)
{
    struct ending *e = &vm->ending;

    if (__atomic_exchange_n(&e->wanted, true, __ATOMIC_SEQ_CST))
        return;
    e->request = request;
    format(e->why, sizeof(e->why), "%s", why);
    run_leave(&vm->tasks);
}

void vm_starve(struct vm *vm)
{
    __atomic_store_n(&vm->starved, true, __ATOMIC_SEQ_CST);
    run_leave(&vm->tasks); /* also again: who lets it go on may just have taken that back */
}

void vm_break(struct vm *vm, const char *why)
{
    struct ending *e = &vm->ending;

    if (__atomic_exchange_n(&e->broken, true, __ATOMIC_SEQ_CST))
        return;
    e->killed = true;
    e->wanted = false;
    log_error("%s: killed: %s", vm->name, why);
    vm_request(vm, VM_REQUEST_POWEROFF, why);
}

void vm_kill(struct vcpu *v, const char *why, ...)
{
    struct ending *e = &v->vm->ending;
    char text[sizeof(e->why)];
    va_list args;

    if (__atomic_exchange_n(&e->killed, true, __ATOMIC_SEQ_CST))
        return;
    e->wanted = false; /* a fault ends the VM whatever the guest had asked for */
    va_start(args, why);
    vformat(text, sizeof(text), why, args);
    va_end(args);
    log_error("%s: killed: %s", v->vm->name, text);
    vcpu_dump(v);
    vm_request(v->vm, VM_REQUEST_POWEROFF, text);
}
