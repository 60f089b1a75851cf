/* See mock_board.h. */
#include "tests/unit/mock_board.h"
#include <stdlib.h>
#include <string.h>
#include "arch/x86/lib/errno.h"
#include "guest/board/clock.h"

#define MOCK_MOMENTS                                                                               \
    100000 /* a device that asks for more timers than this in one step is broken                   \
            */

void mock_init(struct board *board)
{
    memset(board, 0, sizeof(*board));
    board->hz = 2400000000;
    board->wall_base = 1772366400LL * 1000000;
    bus_init(&board->bus);
    board->setup.board = board;
    board->setup.bus = &board->bus;
    board->setup.host = &board->host;
}

void mock_destroy(struct board *board)
{
    bus_destroy(&board->bus);
}

unsigned mock_ticks(struct board *board, uint64_t ticks)
{
    uint64_t end = board->now + ticks;
    unsigned moments = 0;

    while (board->bus.next_deadline <= end) {
        board->now = MAX(board->now, board->bus.next_deadline);
        bus_run_timers(&board->bus, board->now);
        if (++moments == MOCK_MOMENTS)
            abort();
    }
    board->now = end;
    return moments;
}

unsigned mock_microseconds(struct board *board, uint64_t microseconds)
{
    return mock_ticks(board, clock_deadline(microseconds, board->hz, 1000000));
}

uint8_t mock_in(struct board *board, uint16_t port)
{
    return (uint8_t)bus_port_read(&board->bus, port, 1);
}

void mock_out(struct board *board, uint16_t port, uint8_t value)
{
    bus_port_write(&board->bus, port, 1, value);
}

bool mock_round_trip(struct board *board)
{
    static uint8_t before[65536], after[65536];
    struct state_writer w = {.data = before, .capacity = sizeof(before)};
    struct state_writer again = {.data = after, .capacity = sizeof(after)};
    struct state_reader r = {.data = before};
    bool irq[MOCK_GSIS];
    unsigned rises[MOCK_GSIS], falls[MOCK_GSIS], requests = board->requests;

    memcpy(irq, board->irq, sizeof(irq));
    memcpy(rises, board->rises, sizeof(rises));
    memcpy(falls, board->falls, sizeof(falls));
    while (!bus_idle(&board->bus, false))
        ;
    bus_save(&board->bus, &w);
    while (!bus_idle(&board->bus, true))
        ;
    bus_reset(&board->bus);
    r.size = w.used;
    if (w.used > w.capacity || bus_load(&board->bus, &r) != 0 || r.position != r.size)
        return false;
    memcpy(board->irq, irq, sizeof(irq));
    memcpy(board->rises, rises, sizeof(rises));
    memcpy(board->falls, falls, sizeof(falls));
    bus_save(&board->bus, &again);
    return requests == board->requests && again.used == w.used &&
           memcmp(before, after, w.used) == 0;
}

/* --- guest/board/device.h --- */

void device_irq(struct device *d, unsigned gsi, bool level)
{
    if (gsi >= MOCK_GSIS)
        abort();
    if (level && !d->board->irq[gsi])
        d->board->rises[gsi]++;
    if (!level && d->board->irq[gsi])
        d->board->falls[gsi]++;
    d->board->irq[gsi] = level;
}

bool device_msi(struct device *d, uint64_t address, uint32_t data)
{
    d->board->msis++;
    d->board->msi_address = address;
    d->board->msi_data = data;
    return true;
}

uint64_t device_now(struct device *d)
{
    return d->board->now;
}

uint64_t device_tsc_hz(struct device *d)
{
    return d->board->hz;
}

void device_timer_set(struct device *d, unsigned timer, uint64_t deadline)
{
    if (timer >= DEVICE_TIMERS)
        abort();
    bus_timer_set(&d->board->bus, d, timer, deadline);
}

void device_timer_soon(struct device *d, unsigned timer)
{
    device_timer_set(d, timer, device_now(d));
}

int device_memory_read(struct device *d, uint64_t gpa, void *data, size_t size)
{
    if (gpa > MOCK_MEMORY || size > MOCK_MEMORY - gpa)
        return -EFAULT;
    memcpy(data, d->board->memory + gpa, size);
    return 0;
}

int device_memory_write(struct device *d, uint64_t gpa, const void *data, size_t size)
{
    if (gpa > MOCK_MEMORY || size > MOCK_MEMORY - gpa)
        return -EFAULT;
    memcpy(d->board->memory + gpa, data, size);
    return 0;
}

int device_ram_write(struct device *d, uint64_t gpa, const void *data, size_t size)
{
    return device_memory_write(d, gpa, data, size);
}

/* The memory's place in the host's is its own address. */
int device_memory_load(struct device *d, uint64_t gpa, unsigned size, uint64_t *value)
{
    *value = 0;
    if (gpa == d->board->flickers && d->board->flicks < MOCK_FLICKS)
        d->board->memory[gpa] ^= d->board->flicks++ > 0 ? d->board->flicker : 0;
    return gpa % size ? -EFAULT : device_memory_read(d, gpa, value, size);
}

int device_memory_store(struct device *d, uint64_t gpa, unsigned size, uint64_t value)
{
    return gpa % size ? -EFAULT : device_memory_write(d, gpa, &value, size);
}

/* Pieces end at each page, so that devices meet more than one. */
int device_memory_pin(struct device *d, uint64_t gpa, uint64_t size, bool write, paddr *address,
                      uint64_t *length)
{
    *length = MIN(size, PAGE_SIZE - gpa % PAGE_SIZE);
    *address = (paddr)d->board->memory + gpa;
    if (gpa >= MOCK_MEMORY || size == 0)
        return -EFAULT;
    if (d->board->pins == MOCK_PINS)
        return -EAGAIN;
    d->board->pins++;
    return 0;
}

void device_memory_unpin(struct device *d, paddr address, uint64_t length)
{
    if (d->board->pins-- == 0)
        abort();
}

int device_memory_give(struct device *d, uint64_t gpa)
{
    struct board *board = d->board;
    uint64_t page = gpa / PAGE_SIZE;

    if (gpa % PAGE_SIZE)
        abort();
    if (page >= MOCK_PAGES)
        return -EFAULT;
    if (board->give_error)
        return board->give_error;
    if (board->leaving_most && board->leaving == board->leaving_most)
        return -EAGAIN;
    if (board->given[page])
        return -ENOENT;
    board->given[page] = true;
    board->all_given++;
    board->leaving++;
    board->left++;
    return 0;
}

int device_memory_give_block(struct device *d, uint64_t gpa)
{
    struct board *board = d->board;
    uint64_t first = gpa / PAGE_SIZE;

    if (gpa % DEVICE_BLOCK)
        abort();
    if (first >= MOCK_PAGES)
        return -EFAULT;
    if (board->give_error)
        return board->give_error;
    if (board->leaving_most && board->leaving == board->leaving_most)
        return -EAGAIN;
    if (board->given[first])
        return -ENOENT;
    for (uint64_t i = first; i < first + DEVICE_BLOCK / PAGE_SIZE; i++)
        board->given[i] = true;
    board->all_given += DEVICE_BLOCK / PAGE_SIZE;
    board->leaving++;
    board->left++;
    return 0;
}

uint64_t device_memory_leaving(struct device *d)
{
    return d->board->left == d->board->gone ? 0 : d->board->left;
}

bool device_memory_settled(struct device *d, uint64_t leaving)
{
    return d->board->gone >= leaving;
}

void device_memory_given(struct device *d)
{
    d->board->frames += d->board->leaving;
    d->board->leaving = 0;
    d->board->told++;
    if (!d->board->unsettled)
        d->board->gone = d->board->left;
}

int device_memory_back(struct device *d, uint64_t gpa)
{
    struct board *board = d->board;
    uint64_t page = gpa / PAGE_SIZE;

    if (page >= MOCK_PAGES)
        return -EFAULT;
    if (!board->given[page])
        return 0;
    if (board->frames == 0)
        return -ENOMEM;
    board->frames--;
    board->given[page] = false;
    board->all_given--;
    return 0;
}

void device_vm_request(struct device *d, enum vm_request request, const char *why)
{
    d->board->requests++;
    d->board->request = request;
    d->board->why = why;
}

void device_wall_clock(struct device *d, int64_t *seconds, uint32_t *microseconds)
{
    int64_t us = d->board->wall_base + (int64_t)clock_ticks(d->board->now, d->board->hz, 1000000);

    *seconds = us / 1000000;
    *microseconds = (uint32_t)(us % 1000000);
}
