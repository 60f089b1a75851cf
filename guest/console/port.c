#include "guest/console/port.h"

#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"
#include "guest/vm/vm_console.h"

void port_wait(size_t length)
{
    uint64_t limit = rdtsc() + tsc_hz / 50;

    while (serial_room(&com1) < length && rdtsc() < limit)
        (void)serial_poll(&com1);
}

bool port_input_taken(const struct vm *vm, int port, uint64_t *next)
{
    static uint64_t full_since;

    if (!vm || vm_console_takes(vm, port)) {
        full_since = 0;
        return true;
    }
    if (!full_since)
        full_since = rdtsc();
    if (rdtsc() - full_since > tsc_hz) {
        if (!serial_received(&com1, PORT_ESCAPE))
            return false;
        full_since = 0;
        return true;
    }
    *next = MIN(*next, full_since + tsc_hz + 1);
    return false;
}
