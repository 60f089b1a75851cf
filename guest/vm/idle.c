#include "guest/vm/idle.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/tsc.h"
#include "guest/vm/down.h"
#include "guest/vm/events.h"

#define READ_SECONDS 60

static const struct config *config;
static const char *why;
static uint64_t until; /* host TSC up to which a key is waited for; 0: none is */

static void finish(void)
{
    until = 0;
    if (config->when_idle == CONFIG_IDLE_POWEROFF) {
        down_begin(DOWN_POWEROFF, why);
        return;
    }
    log_info("%s: the machine stays on (when_idle = stay)", why);
    vm_events->stays_on();
}

void idle_begin(const struct config *c, const char *reason, const char *error)
{
    config = c;
    why = reason;
    if (!error || c->when_idle == CONFIG_IDLE_STAY) {
        finish();
        return;
    }
    log_error("%s: power off in %u s, at a key at once; Ctrl-] for the monitor", error,
              READ_SECONDS);
    until = rdtsc() + READ_SECONDS * tsc_hz;
    vm_events->ask_for_key();
}

uint64_t idle_work(void)
{
    if (!until || down_wanted())
        return UINT64_MAX;
    switch (vm_events->answer()) {
    case VM_NO_KEY:
        if (rdtsc() < until)
            return until;
        finish();
        break;
    case VM_KEY:
        finish();
        break;
    case VM_MONITOR_IN_USE:
        until = 0;
        log_info("somebody is at the monitor: the machine stays on");
        break;
    }
    return UINT64_MAX;
}
