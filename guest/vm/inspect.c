/* What can be seen of a VM without changing anything. */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "guest/vm/making.h"
#include "guest/vm/vm.h"

const char *control_state_text(const struct vm_slot *slot)
{
    static const char *const states[SLOT_STATES] = {
        [SLOT_MAKING] = "starting",  [SLOT_RUNNING] = "running",     [SLOT_PAUSING] = "pausing",
        [SLOT_PAUSED] = "paused",    [SLOT_AT_START] = "paused",     [SLOT_AT_END] = "paused",
        [SLOT_WAITING] = "restarts", [SLOT_RESETTING] = "resetting", [SLOT_KILLING] = "ending",
        [SLOT_KEEPING] = "kept"};
    static const char *const ends[] = {[SLOT_NEVER_RAN] = "not started",
                                       [SLOT_POWERED_OFF] = "powered off",
                                       [SLOT_CRASHED] = "crashed",
                                       [SLOT_KILLED] = "killed",
                                       [SLOT_FAILED] = "did not start"};

    if (slot->state == SLOT_PAUSED && slot->vm->starved)
        return "out of memory";
    return slot->state == SLOT_OFF ? ends[slot->ended] : states[slot->state];
}

unsigned control_progress(const struct vm_slot *s)
{
    uint64_t done = s->vm ? s->vm->life->cleared * GUEST_CHUNK : 0;

    return (unsigned)(MIN(done, s->config->memory) * 100 / MAX(s->config->memory, 1));
}

int control_inspect(struct vm_slot *s, unsigned vcpu, void (*fn)(struct vcpu *v, void *arg),
                    void *arg, char *error)
{
    if (!s->vm)
        return slot_refuse(error, -EBUSY, s, "is off");
    if (vcpu >= s->vm->vcpu_count) {
        format(error, CONTROL_ERROR, "%s has no vCPU %u", s->name, vcpu);
        return -EINVAL;
    }
    if (vcpu_inspect(s->vm->vcpu[vcpu], fn, arg) < 0)
        return slot_refuse(error, -EBUSY, s, "does not hold still; try again");
    return 0;
}
