/*
 * A virtio device of the machine, as far as any is like any other: a model of its common
 * configuration and of its queues' notifications. It checks that its driver keeps to Virtio 1.2.
 */
#pragma once

#include <stdint.h>
#include <string.h>

#include "drivers/virtio.h"

#define COMMON 1
#define DEVICE 2
#define NOTIFY 3

enum { HOST_VIRTIO_QUEUES = 2 };

struct queue {
    uint16_t size, vector, enabled, seen, used, notified;
    uint64_t descriptors, available, used_ring;
};

static struct {
    uint8_t status;
    uint32_t select, driver_select;
    uint64_t offered, accepted;
    struct queue queue[HOST_VIRTIO_QUEUES];
    uint16_t queues, number, config_vector, biggest;
    unsigned resets, slow;
    bool refuses, no_reset, no_vectors;
} registers;

static inline void power_on(void)
{
    registers.status = 0;
    registers.accepted = 0;
    registers.config_vector = VIRTIO_NO_VECTOR;
    for (unsigned i = 0; i < registers.queues; i++)
        registers.queue[i] = (struct queue){.size = registers.biggest, .vector = VIRTIO_NO_VECTOR};
}

/* A device that firmware has used. */
static inline void host_virtio_begin(uint16_t queues, uint64_t offered)
{
    memset(&registers, 0, sizeof(registers));
    registers.queues = queues;
    registers.biggest = 256;
    registers.offered = offered;
    power_on();
    registers.status = 15;
}

/* Where its registers are, for its driver. */
static inline void host_virtio_place(struct virtio *v, uint32_t device_size)
{
    v->common = (struct io){.base = COMMON, .size = 0x38};
    v->device = (struct io){.base = DEVICE, .size = device_size};
    v->notify = (struct io){.base = NOTIFY, .size = 0x100};
    v->notify_multiplier = 4;
}

static inline uint64_t read_common(unsigned offset)
{
    const struct queue *q = &registers.queue[registers.number];

    switch (offset) {
    case 0x04:
        return registers.select < 2 ? (uint32_t)(registers.offered >> (32 * registers.select)) : 0;
    case 0x14:
        if (registers.slow) {
            registers.slow--;
            return 4;
        }
        return registers.status;
    case 0x18:
        return q->size;
    case 0x1a:
        return q->vector;
    case 0x1e:
        return registers.number + 3u;
    default:
        fail_msg("read of %x", offset);
    }
    return 0;
}

static inline void put_half(uint64_t *field, unsigned high, uint64_t value)
{
    *field = high ? (uint32_t)*field | value << 32 : (*field & ~0xffffffffull) | value;
}

static inline void set_status(uint8_t value)
{
    if (!value) {
        if (!registers.no_reset) {
            power_on();
            registers.resets++;
            registers.slow = 3;
        }
        return;
    }
    assert_true((value & 15) == 1 || (value & 15) == 3 || (value & 15) == 11 || (value & 15) == 15);
    assert_int_equal(registers.accepted & ~registers.offered, 0);
    registers.status = value;
    if (registers.refuses)
        registers.status &= (uint8_t)~8;
    for (unsigned i = 0; (value & 4) && i < registers.queues; i++)
        assert_true(registers.queue[i].enabled);
}

static inline void write_common(unsigned offset, uint64_t value)
{
    struct queue *q = &registers.queue[registers.number];

    switch (offset) {
    case 0x00:
        registers.select = (uint32_t)value;
        break;
    case 0x08:
        registers.driver_select = (uint32_t)value;
        break;
    case 0x0c:
        put_half(&registers.accepted, registers.driver_select, value);
        break;
    case 0x10:
        registers.config_vector = (uint16_t)value;
        break;
    case 0x14:
        set_status((uint8_t)value);
        break;
    case 0x16:
        assert_true(value < registers.queues);
        registers.number = (uint16_t)value;
        break;
    case 0x18:
        q->size = (uint16_t)value;
        break;
    case 0x1a:
        q->vector = registers.no_vectors ? VIRTIO_NO_VECTOR : (uint16_t)value;
        break;
    case 0x1c:
        q->enabled = (uint16_t)value;
        break;
    default:
        if (offset >= 0x20 && offset < 0x38) {
            uint64_t *field[] = {&q->descriptors, &q->available, &q->used_ring};

            put_half(field[(offset - 0x20) / 8], offset & 4, value);
        } else {
            fail_msg("write of %x", offset);
        }
    }
}

/* The queue that the driver tells of. */
static inline struct queue *write_notify(unsigned offset, unsigned size, uint64_t value)
{
    assert_true(size == 2 && value < registers.queues && offset == 4 * (value + 3));
    assert_true(registers.status & 4);
    registers.queue[value].notified++;
    return &registers.queue[value];
}
