/* The exit path of a vCPU that is looked at: around vcpu_exit(), which does not know of it. */
#include "guest/cpu/probe.h"

int vcpu_exit_watched(struct vmx_vcpu *hw, uint64_t reason, uint64_t tsc)
{
    struct vcpu *v = (struct vcpu *)hw;
    int leave;

    if (LIKELY(v->trace) && LIKELY(!v->watch.needs && !v->step.users))
        return probes->traced_exit(v, reason, tsc);
    if (v->watch.needs && probes->before_exit(v, reason))
        return vcpu_exit_again(v, reason, tsc);
    leave = v->trace ? probes->traced_exit(v, reason, tsc) : vcpu_exit(hw, reason, tsc);
    if (UNLIKELY(v->step.users))
        step_exited(v);
    if (UNLIKELY(v->task.requests & REQUEST_LEAVE) && leave == VCPU_STAY)
        leave = VCPU_PREEMPTED;
    return leave;
}
