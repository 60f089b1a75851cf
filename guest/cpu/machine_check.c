/*
 * Machine checks that strike while a guest runs, or on the way into it. A guest that wants data
 * which the machine has lost ends; who has lost data that nobody wanted yet is guest/vm/'s to find.
 */
#include "arch/x86/machine_check.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/panic.h"
#include "guest/cpu/exit.h"
#include "guest/run/run.h"

/* Its own memory, or a page of it that another of its vCPUs has found before. */
static bool is_its(const struct vm *vm, uint64_t page)
{
    uint16_t owner = frame_owner(page);

    return owner == FRAME_VM + vm->id || owner == FRAME_RETIRED;
}

/* Its registers and code are left alone: the code may be what is lost. */
static void lose(struct vm *vm, uint64_t page)
{
    char why[sizeof(vm->ending.why)];

    frame_retire(page);
    format(why, sizeof(why), "the machine has lost what was in its memory at host address %lx",
           page);
    vm_break(vm, why);
}

void vcpu_machine_check(struct vcpu *v, bool entered)
{
    struct mce_result r = machine_check_take(entered ? MCE_IN_GUEST : MCE_IN_ROOT);

    if (r.stop)
        panic("machine check %s %s: %s", entered ? "while it ran:" : "on the way into", v->vm->name,
              machine_check_text());
    if (r.required != MCE_NO_PAGE) {
        if (!is_its(v->vm, r.required))
            panic("machine check: %s wanted what was lost at %lx, which is not its own",
                  v->vm->name, r.required);
        lose(v->vm, r.required);
    }
    if (r.optionals)
        run_attention(0);
    vcpu_ask(v, REQUEST_RESCHEDULE);
}
