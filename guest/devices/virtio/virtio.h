/*
 * A virtio device over PCI (Virtio 1.2, "Virtio Over PCI Bus"; modern only): what is the same for
 * all of them. Each has a struct virtio, whose device is the one on the bus, and struct virtio_ops.
 */
#pragma once

#include "guest/board/msix.h"
#include "guest/devices/virtio/queue.h"

#define VIRTIO_QUEUES      33
#define VIRTIO_CONFIG_SIZE 64

#define VIRTIO_F_VERSION_1  BIT(32)
#define VIRTIO_F_RING_RESET BIT(40) /* of devices whose ops have queue_reset */

struct virtio;

struct virtio_ops {
    uint8_t type;   /* "Device Types" */
    uint32_t class; /* of the PCI function: 24 bits */
    /* The driver has put chains into that queue, perhaps; it is enabled and the driver is ready. */
    void (*notify)(struct virtio *v, unsigned queue);
    /* NULL, or: the driver has written value to its configuration. */
    void (*config_write)(struct virtio *v, unsigned at, unsigned size, uint64_t value);
    /* The driver has reset the device: from now on no queue is used, and no memory of the guest's
     * but what hardware is busy with. */
    void (*stop)(struct virtio *v);
    /* NULL, or: the driver resets that queue, which is not enabled any more. Whether nothing of it
     * is used from now on; else it is asked again. */
    bool (*queue_reset)(struct virtio *v, unsigned queue);
    /* Nothing is in flight any more. May look whether something has come back. */
    bool (*idle)(struct virtio *v);
};

struct virtio {
    struct device dev; /* first */
    const struct virtio_ops *ops;
    struct pci_function function;
    struct bus_range range, doorbell;
    struct msix msix;

    uint64_t offered, accepted; /* features */
    uint32_t offered_select, accepted_select;
    uint16_t config_vector, queue_select;
    uint8_t status, generation, isr;
    bool resetting;        /* the driver has asked for it, and something is in flight yet */
    uint64_t queue_resets; /* queues for which the same is so: a bit each */
    unsigned queue_count;
    struct virtq queue[VIRTIO_QUEUES];
    uint16_t vector[VIRTIO_QUEUES];

    uint8_t
        config[VIRTIO_CONFIG_SIZE]; /* the device's own, as its section of the spec lays it out */
    unsigned config_size;
    unsigned window; /* where VIRTIO_PCI_CAP_PCI_CFG is in config space */
};

/* With ops, queue_count, offered, config and config_size set, and dev on the bus: put it at the
 * first free device of the PCI bus. 0 or an error. */
int virtio_attach(struct virtio *v, struct pci *pci) MUST_CHECK;
/* The driver has set DRIVER_OK, and neither reset it nor broken it since. */
bool virtio_running(const struct virtio *v);
/* What has been returned in that queue may be worth an interrupt. */
void virtio_returned(struct virtio *v, unsigned queue);
/* The same where virtq_interrupts() has said so already. */
void virtio_interrupt(struct virtio *v, unsigned queue);
/* What the driver reads of config is another one than before: it is to look. */
void virtio_config_changed(struct virtio *v);
/* A queue is broken, or a request means nothing: DEVICE_NEEDS_RESET. */
void virtio_broken(struct virtio *v);

/* For the device_ops of each. */
uint64_t virtio_mmio_read(struct device *d, uint64_t offset, unsigned size);
void virtio_mmio_write(struct device *d, uint64_t offset, unsigned size, uint64_t value);
/* Only where notifications come often: a device whose ops have these two has a port for them. */
uint32_t virtio_port_read(struct device *d, uint16_t port, unsigned size);
void virtio_port_write(struct device *d, uint16_t port, unsigned size, uint32_t value);
/* No queue is used any more, and nothing is in flight; waits for that, which is bounded, as all
 * that is in flight comes back. */
void virtio_end(struct virtio *v);
void virtio_reset(struct device *d);
bool virtio_idle(struct device *d, bool over);
void virtio_save(struct device *d, struct state_writer *w);
int virtio_load(struct device *d, struct state_reader *r);
