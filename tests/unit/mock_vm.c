/* See mock_vm.h. */
#include "tests/unit/mock_vm.h"
#include <stdlib.h>
#include <string.h>
#include "arch/x86/lib/errno.h"
#include "guest/board/clock.h"

#define MOCK_MOMENTS                                                                               \
    100000 /* a device that asks for more timers than this in one step is broken                   \
            */

void mock_init(struct vm *vm)
{
    memset(vm, 0, sizeof(*vm));
    vm->hz = 2400000000;
    vm->wall_base = 1772366400LL * 1000000;
    bus_init(&vm->bus);
}

void mock_destroy(struct vm *vm)
{
    bus_destroy(&vm->bus);
}

unsigned mock_ticks(struct vm *vm, uint64_t ticks)
{
    uint64_t end = vm->now + ticks;
    unsigned moments = 0;

    while (vm->bus.next_deadline <= end) {
        vm->now = MAX(vm->now, vm->bus.next_deadline);
        bus_run_timers(&vm->bus, vm->now);
        if (++moments == MOCK_MOMENTS)
            abort();
    }
    vm->now = end;
    return moments;
}

unsigned mock_microseconds(struct vm *vm, uint64_t microseconds)
{
    return mock_ticks(vm, clock_deadline(microseconds, vm->hz, 1000000));
}

uint8_t mock_in(struct vm *vm, uint16_t port)
{
    return (uint8_t)bus_port_read(&vm->bus, port, 1);
}

void mock_out(struct vm *vm, uint16_t port, uint8_t value)
{
    bus_port_write(&vm->bus, port, 1, value);
}

bool mock_round_trip(struct vm *vm)
{
    static uint8_t before[65536], after[65536];
    struct state_writer w = {.data = before, .capacity = sizeof(before)};
    struct state_writer again = {.data = after, .capacity = sizeof(after)};
    struct state_reader r = {.data = before};
    bool irq[MOCK_GSIS];
    unsigned rises[MOCK_GSIS], falls[MOCK_GSIS], requests = vm->requests;

    memcpy(irq, vm->irq, sizeof(irq));
    memcpy(rises, vm->rises, sizeof(rises));
    memcpy(falls, vm->falls, sizeof(falls));
    bus_save(&vm->bus, &w);
    bus_reset(&vm->bus);
    r.size = w.used;
    if (w.used > w.capacity || bus_load(&vm->bus, &r) != 0 || r.position != r.size)
        return false;
    memcpy(vm->irq, irq, sizeof(irq));
    memcpy(vm->rises, rises, sizeof(rises));
    memcpy(vm->falls, falls, sizeof(falls));
    bus_save(&vm->bus, &again);
    return requests == vm->requests && again.used == w.used && memcmp(before, after, w.used) == 0;
}

/* --- guest/board/device.h --- */

void device_irq(struct device *d, unsigned gsi, bool level)
{
    if (gsi >= MOCK_GSIS)
        abort();
    if (level && !d->vm->irq[gsi])
        d->vm->rises[gsi]++;
    if (!level && d->vm->irq[gsi])
        d->vm->falls[gsi]++;
    d->vm->irq[gsi] = level;
}

uint64_t device_now(struct device *d)
{
    return d->vm->now;
}

uint64_t device_tsc_hz(struct device *d)
{
    return d->vm->hz;
}

void device_timer_set(struct device *d, unsigned timer, uint64_t deadline)
{
    if (timer >= DEVICE_TIMERS)
        abort();
    bus_timer_set(&d->vm->bus, d, timer, deadline);
}

int device_memory_read(struct device *d, uint64_t gpa, void *data, size_t size)
{
    if (gpa > MOCK_MEMORY || size > MOCK_MEMORY - gpa)
        return -EFAULT;
    memcpy(data, d->vm->memory + gpa, size);
    return 0;
}

int device_memory_write(struct device *d, uint64_t gpa, const void *data, size_t size)
{
    if (gpa > MOCK_MEMORY || size > MOCK_MEMORY - gpa)
        return -EFAULT;
    memcpy(d->vm->memory + gpa, data, size);
    return 0;
}

void device_vm_request(struct device *d, enum vm_request request, const char *why)
{
    d->vm->requests++;
    d->vm->request = request;
    d->vm->why = why;
}

void device_wall_clock(struct device *d, int64_t *seconds, uint32_t *microseconds)
{
    int64_t us = d->vm->wall_base + (int64_t)clock_ticks(d->vm->now, d->vm->hz, 1000000);

    *seconds = us / 1000000;
    *microseconds = (uint32_t)(us % 1000000);
}
