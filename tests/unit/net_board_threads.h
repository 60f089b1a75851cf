/*
 * What network cards ask of a board whose processors are a test's threads. How its memory is read
 * and written (DRIVER_READ, DRIVER_WRITE) and pinned is the test's own.
 */
#pragma once

#include "arch/x86/tsc.h"
#include "tests/unit/net_guest.h"

static uint64_t ticks; /* atomic */

static uint64_t threads_now(void)
{
    return __atomic_add_fetch(&ticks, 10, __ATOMIC_RELAXED);
}

void mock_init(struct board *board)
{
    memset(board, 0, sizeof(*board));
    bus_init(&board->bus);
}

void mock_destroy(struct board *board)
{
    bus_destroy(&board->bus);
}

void device_irq(struct device *d, unsigned gsi, bool level)
{
    __atomic_store_n(&d->board->irq[gsi], level, __ATOMIC_RELAXED);
}

bool device_msi(struct device *d, uint64_t address, uint32_t data)
{
    return true;
}

uint64_t device_now(struct device *d)
{
    return threads_now();
}

uint64_t device_tsc_hz(struct device *d)
{
    return 1000000;
}

void device_timer_set(struct device *d, unsigned timer, uint64_t deadline)
{
    (void)bus_timer_set(&d->board->bus, d, timer, deadline);
}

void device_timer_soon(struct device *d, unsigned timer)
{
    device_timer_set(d, timer, device_now(d));
}

int device_memory_read(struct device *d, uint64_t gpa, void *data, size_t size)
{
    assert_true(gpa + size <= MOCK_MEMORY);
    DRIVER_READ(data, d->board->memory + gpa, size);
    return 0;
}

int device_memory_write(struct device *d, uint64_t gpa, const void *data, size_t size)
{
    assert_true(gpa + size <= MOCK_MEMORY);
    DRIVER_WRITE(d->board->memory + gpa, data, size);
    return 0;
}

int device_memory_load(struct device *d, uint64_t gpa, unsigned size, uint64_t *value)
{
    *value = 0;
    return device_memory_read(d, gpa, value, size);
}

int device_memory_store(struct device *d, uint64_t gpa, unsigned size, uint64_t value)
{
    return device_memory_write(d, gpa, &value, size);
}
