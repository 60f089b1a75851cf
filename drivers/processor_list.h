/* Which processors of the hand-over's list to start: pure. */
#pragma once

#include "boot/handover.h"
#include "arch/x86/lib/types.h"

enum processor_verdict {
    PROCESSOR_START,
    PROCESSOR_SELF,        /* the boot processor */
    PROCESSOR_DISABLED,    /* by firmware */
    PROCESSOR_TWICE,       /* listed before: a second INIT would stop it */
    PROCESSOR_UNREACHABLE, /* an APIC id that cannot be sent to, or that means all */
};

/* What to do about list[index]; own is the calling CPU's APIC id. */
enum processor_verdict processor_verdict(const struct handover_cpu *list, uint32_t index,
                                         uint32_t own, bool x2apic);
