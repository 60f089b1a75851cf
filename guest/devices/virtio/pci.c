/* The transport: see virtio.h. Section names are those of Virtio 1.2. */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/devices/virtio/virtio.h"

#define VENDOR        0x1af4
#define DEVICE        0x1040 /* and the device's type */
#define SUBSYSTEM     0x1100
#define REVISION      1
#define CAPABILITY_ID 0x09 /* vendor specific */

/* What BAR 0 holds, in pages. MSI-X is there, too. */
#define BAR_SIZE      0x8000
#define COMMON        0x0000
#define ISR           0x1000
#define DEVICE_CONFIG 0x2000
#define NOTIFY        0x3000
#define MSIX_TABLE    0x4000
#define MSIX_PENDING  0x5000
#define REGION(o)     ((o) & ~0xfffULL)
#define MULTIPLIER    4u /* bytes between two queues' notification addresses */
/* BAR 2, of devices whose ops take ports: notifications of all queues, at one port. An access to it
 * costs less than one to memory, of which the instruction has to be decoded. */
#define DOORBELL_BAR  2
#define DOORBELL_SIZE 4

/* "Virtio Structure PCI Capabilities" */
enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_PCI };
struct capability {
    uint8_t id, next, length, type, bar, index, padding[2];
    uint32_t offset, size;
    uint32_t more; /* of CAP_NOTIFY: the multiplier; of CAP_PCI: data */
} PACKED;
#define CAPABILITY_SHORT 16 /* bytes of those without more */
#define WINDOW_DATA      16

/* "Common configuration structure layout" */
struct common {
    uint32_t device_feature_select, device_feature, driver_feature_select, driver_feature;
    uint16_t config_msix_vector, num_queues;
    uint8_t device_status, config_generation;
    uint16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
    uint64_t queue_desc, queue_driver, queue_device;
    uint16_t queue_notify_data, queue_reset;
} PACKED;
_Static_assert(sizeof(struct common) == 60, "Virtio: struct virtio_pci_common_cfg");

/* "Device Status Field" */
#define STATUS_DRIVER_OK   BIT(2)
#define STATUS_FEATURES_OK BIT(3)
#define STATUS_NEEDS_RESET BIT(6)
#define STATUS_DRIVERS     0x8fu /* bits that the driver sets */

#define ISR_QUEUE  BIT(0)
#define ISR_CONFIG BIT(1)

/* --- interrupts --- */

static void interrupt(struct virtio *v, uint16_t vector, uint8_t isr)
{
    if (msix_enabled(&v->msix)) {
        msix_send(&v->msix, vector);
        return;
    }
    v->isr |= isr;
    pci_intx(&v->function, true);
}

void virtio_config_changed(struct virtio *v)
{
    v->generation++;
    if (v->status & STATUS_DRIVER_OK)
        interrupt(v, v->config_vector, ISR_CONFIG);
}

void virtio_broken(struct virtio *v)
{
    if (v->status & STATUS_NEEDS_RESET)
        return;
    v->status |= STATUS_NEEDS_RESET;
    virtio_config_changed(v);
}

bool virtio_running(const struct virtio *v)
{
    return (v->status & (STATUS_DRIVER_OK | STATUS_NEEDS_RESET)) == STATUS_DRIVER_OK &&
           !v->resetting;
}

void virtio_interrupt(struct virtio *v, unsigned queue)
{
    interrupt(v, v->vector[queue], ISR_QUEUE);
}

void virtio_returned(struct virtio *v, unsigned queue)
{
    if (virtq_interrupts(&v->queue[queue]))
        virtio_interrupt(v, queue);
    if (v->queue[queue].broken)
        virtio_broken(v);
}

/* --- reset --- */

static void clear_queue(struct virtio *v, unsigned i)
{
    v->queue[i] = (struct virtq){.dev = &v->dev, .size = VIRTQ_MAX_SIZE};
    virtq_start(&v->queue[i]);
    v->vector[i] = MSIX_NO_VECTOR;
}

/* All that the driver can see, as at power-on. */
static void clear(struct virtio *v)
{
    v->accepted = 0;
    v->offered_select = v->accepted_select = 0;
    v->config_vector = MSIX_NO_VECTOR;
    v->queue_select = 0;
    v->status = v->generation = v->isr = 0;
    v->resetting = false;
    v->queue_resets = 0;
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
        clear_queue(v, i);
}

/* What was agreed on that is a queue's. */
static void set_up_queue(struct virtio *v, unsigned i)
{
    v->queue[i].packed = v->accepted & VIRTIO_F_RING_PACKED;
    v->queue[i].event_idx = v->accepted & VIRTIO_F_EVENT_IDX;
    v->queue[i].indirect = v->accepted & VIRTIO_F_INDIRECT_DESC;
}

/* "Virtqueue Reset": those that are not used any more are as after the features were agreed on. Out
 * of line: who notifies has no more to save for it. */
static __attribute__((noinline)) void end_queue_resets(struct virtio *v)
{
    for (uint64_t left = v->queue_resets; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctzll(left);

        if (!v->ops->queue_reset(v, i))
            continue;
        clear_queue(v, i);
        set_up_queue(v, i);
        v->queue_resets &= ~BIT(i);
    }
}

static __attribute__((noinline)) void reset_queue(struct virtio *v, unsigned i)
{
    if (!(v->accepted & VIRTIO_F_RING_RESET) || !v->queue[i].enabled || v->resetting)
        return;
    v->queue[i].enabled = false;
    v->queue_resets |= BIT(i);
    end_queue_resets(v);
}

static void end_reset(struct virtio *v)
{
    clear(v);
    pci_intx(&v->function, false);
}

static void stop(struct virtio *v)
{
    v->resetting = true;
    v->ops->stop(v);
}

/* "Device Status Field": the driver has written 0, and reads it back until it is 0. */
static void begin_reset(struct virtio *v)
{
    if (v->status == 0 && !v->resetting)
        return;
    stop(v);
    if (v->ops->idle(v))
        end_reset(v);
}

void virtio_end(struct virtio *v)
{
    stop(v);
    while (!v->ops->idle(v))
        ;
}

bool virtio_idle(struct device *d, bool over)
{
    struct virtio *v = CONTAINER_OF(d, struct virtio, dev);

    if (over)
        stop(v);
    if (!v->ops->idle(v))
        return false;
    if (v->resetting && !over)
        end_reset(v);
    end_queue_resets(v);
    return true;
}

/* --- common configuration --- */

static uint32_t half(uint64_t features, uint32_t select)
{
    return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

/* FEATURES_OK stays clear for a set of features that the device cannot work with. */
static bool features_are_good(const struct virtio *v)
{
    return (v->accepted & VIRTIO_F_VERSION_1) && !(v->accepted & ~v->offered);
}

static void set_status(struct virtio *v, uint8_t value)
{
    uint8_t added = value & STATUS_DRIVERS & ~v->status;

    if (value == 0) {
        begin_reset(v);
        return;
    }
    if (v->resetting)
        return;
    if ((added & STATUS_FEATURES_OK) && !features_are_good(v))
        added &= ~STATUS_FEATURES_OK;
    v->status |= added;
    if (added & STATUS_FEATURES_OK) {
        for (unsigned i = 0; i < v->queue_count; i++)
            set_up_queue(v, i);
    }
    if (added & STATUS_DRIVER_OK)
        for (unsigned i = 0; i < v->queue_count; i++)
            if (virtio_running(v) && v->queue[i].enabled)
                v->ops->notify(v, i);
}

static void set_features(struct virtio *v, uint32_t value)
{
    unsigned shift = 32 * v->accepted_select;

    if (v->accepted_select < 2 && !(v->status & STATUS_FEATURES_OK))
        v->accepted = (v->accepted & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

static struct virtq *selected(struct virtio *v)
{
    return v->queue_select < v->queue_count ? &v->queue[v->queue_select] : NULL;
}

static void set_size(struct virtq *q, uint16_t size)
{
    if (size >= 1 && size <= VIRTQ_MAX_SIZE && (q->packed || (size & (size - 1)) == 0))
        q->size = size;
}

/* Rings where none can be make the device unusable, rather than the queue silently absent. */
static void enable(struct virtio *v, struct virtq *q)
{
    if (!(v->status & STATUS_FEATURES_OK) || v->resetting)
        return;
    virtq_start(q);
    q->enabled = true;
    if (q->descriptors % 16 || q->driver % (q->packed ? 4 : 2) || q->device % 4) {
        q->broken = true;
        virtio_broken(v);
    }
}

static uint16_t vector_or_none(const struct virtio *v, uint64_t value)
{
    return value < v->msix.vectors ? (uint16_t)value : MSIX_NO_VECTOR;
}

/* One 32-bit half of an address, or all of it. */
static void set_address(uint64_t *address, unsigned at, unsigned size, uint64_t value)
{
    memcpy((uint8_t *)address + at, &value, size);
}

static void common_write_queue(struct virtio *v, struct virtq *q, unsigned at, unsigned size,
                               uint64_t value)
{
    if (at == offsetof(struct common, queue_msix_vector) && size == 2)
        v->vector[v->queue_select] = vector_or_none(v, value);
    else if (at == offsetof(struct common, queue_reset) && size == 2 && value == 1)
        reset_queue(v, v->queue_select);
    else if (q->enabled || (v->queue_resets & BIT(v->queue_select))) /* the rest stays as it is */
        return;
    else if (at == offsetof(struct common, queue_size) && size == 2)
        set_size(q, (uint16_t)value);
    else if (at == offsetof(struct common, queue_enable) && size == 2 && value == 1)
        enable(v, q);
    else if (size >= 4 && at % 4 == 0 && at >= offsetof(struct common, queue_desc) &&
             at + size <= offsetof(struct common, queue_notify_data)) {
        unsigned which = (at - offsetof(struct common, queue_desc)) / 8;
        if (at % 8 + size <= 8)
            set_address(which == 0   ? &q->descriptors
                        : which == 1 ? &q->driver
                                     : &q->device,
                        at % 8, size, value);
    }
}

static void common_write(struct virtio *v, unsigned at, unsigned size, uint64_t value)
{
    struct virtq *q = selected(v);

    switch (at) {
    case offsetof(struct common, device_feature_select):
        v->offered_select = (uint32_t)value;
        break;
    case offsetof(struct common, driver_feature_select):
        v->accepted_select = (uint32_t)value;
        break;
    case offsetof(struct common, driver_feature):
        set_features(v, (uint32_t)value);
        break;
    case offsetof(struct common, config_msix_vector):
        v->config_vector = vector_or_none(v, value);
        break;
    case offsetof(struct common, device_status):
        set_status(v, (uint8_t)value);
        break;
    case offsetof(struct common, queue_select):
        v->queue_select = (uint16_t)value;
        break;
    default:
        if (q)
            common_write_queue(v, q, at, size, value);
    }
}

static uint8_t read_status(struct virtio *v)
{
    if (v->resetting && v->ops->idle(v))
        end_reset(v);
    return v->status;
}

static uint64_t read_bytes(const void *data, unsigned data_size, uint64_t at, unsigned size)
{
    uint64_t value = 0;

    if (at + size <= data_size)
        memcpy(&value, (const uint8_t *)data + at, size);
    return value;
}

static uint64_t common_read(struct virtio *v, uint64_t at, unsigned size)
{
    const struct virtq *q = selected(v);

    end_queue_resets(v);
    struct common c = {
        .device_feature_select = v->offered_select,
        .device_feature = half(v->offered, v->offered_select),
        .driver_feature_select = v->accepted_select,
        .driver_feature = half(v->accepted, v->accepted_select),
        .config_msix_vector = v->config_vector,
        .num_queues = (uint16_t)v->queue_count,
        .device_status = read_status(v),
        .config_generation = v->generation,
        .queue_select = v->queue_select,
    };

    if (q) {
        c.queue_size = q->size;
        c.queue_msix_vector = v->vector[v->queue_select];
        c.queue_enable = q->enabled;
        c.queue_notify_off = v->queue_select;
        c.queue_desc = q->descriptors;
        c.queue_driver = q->driver;
        c.queue_device = q->device;
        c.queue_reset = v->queue_resets >> v->queue_select & 1;
    }
    return read_bytes(&c, sizeof(c), at, size);
}

/* --- BAR 0 --- */

static uint8_t take_isr(struct virtio *v)
{
    uint8_t isr = v->isr;

    v->isr = 0;
    pci_intx(&v->function, false);
    return isr;
}

uint64_t virtio_mmio_read(struct device *d, uint64_t offset, unsigned size)
{
    struct virtio *v = CONTAINER_OF(d, struct virtio, dev);
    uint64_t at = offset & 0xfff;

    switch (REGION(offset)) {
    case COMMON:
        return common_read(v, at, size);
    case ISR:
        return at == 0 ? take_isr(v) : 0;
    case DEVICE_CONFIG:
        return read_bytes(v->config, v->config_size, at, size);
    case MSIX_TABLE:
        return msix_table_read(&v->msix, at, size);
    case MSIX_PENDING:
        return msix_pending_read(&v->msix, at, size);
    default:
        return 0;
    }
}

static void notified(struct virtio *v, uint64_t queue)
{
    if (queue < v->queue_count && virtio_running(v) && v->queue[queue].enabled)
        v->ops->notify(v, (unsigned)queue);
}

void virtio_mmio_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
    struct virtio *v = CONTAINER_OF(d, struct virtio, dev);
    uint64_t at = offset & 0xfff;

    switch (REGION(offset)) {
    case NOTIFY:
        notified(v, at / MULTIPLIER);
        break;
    case COMMON:
        common_write(v, (unsigned)at, size, value);
        break;
    case DEVICE_CONFIG:
        if (v->ops->config_write)
            v->ops->config_write(v, (unsigned)at, size, value);
        break;
    case MSIX_TABLE:
        msix_table_write(&v->msix, at, size, value);
        break;
    default:
        break;
    }
}

/* --- BAR 2 --- */

uint32_t virtio_port_read(struct device *d, uint16_t port, unsigned size)
{
    return 0;
}

void virtio_port_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    if (port % DOORBELL_SIZE == 0)
        notified(CONTAINER_OF(d, struct virtio, dev), (uint16_t)value);
}

/* --- config space: with its lock held, which comes before the device's --- */

/* "PCI configuration access capability": a window to BAR 0 for who cannot reach it. */
static bool window(const struct virtio *v, struct capability *c)
{
    memcpy(c, v->function.config + v->window, sizeof(*c));
    return c->bar == 0 && (c->size == 1 || c->size == 2 || c->size == 4) && c->offset < BAR_SIZE &&
           c->offset % c->size == 0;
}

static bool touches_window(const struct virtio *v, unsigned offset, unsigned size)
{
    unsigned data = v->window + WINDOW_DATA;

    return offset < data + 4 && offset + size > data;
}

static void config_reading(struct pci_function *f, unsigned offset, unsigned size)
{
    struct virtio *v = CONTAINER_OF(f, struct virtio, function);
    struct capability c;

    if (!touches_window(v, offset, size) || !window(v, &c))
        return;
    device_lock(&v->dev);
    uint32_t value = (uint32_t)virtio_mmio_read(&v->dev, c.offset, c.size);
    device_unlock(&v->dev);
    memcpy(f->config + v->window + WINDOW_DATA, &value, c.size);
}

static void config_written(struct pci_function *f, unsigned offset, unsigned size)
{
    struct virtio *v = CONTAINER_OF(f, struct virtio, function);
    struct capability c;

    device_lock(&v->dev);
    msix_written(&v->msix);
    if (size <= 4 && touches_window(v, offset, size) && window(v, &c))
        virtio_mmio_write(&v->dev, c.offset, c.size,
                          c.size == 4 ? c.more : c.more & ((1u << 8 * c.size) - 1));
    device_unlock(&v->dev);
}

static const struct pci_function_ops function_ops = {
    .written = config_written,
    .reading = config_reading,
};

static int add_capability(struct virtio *v, uint8_t type, uint8_t bar, uint32_t offset,
                          uint32_t size, uint32_t more)
{
    unsigned length =
        type == CAP_NOTIFY || type == CAP_PCI ? sizeof(struct capability) : CAPABILITY_SHORT;
    struct capability c = {.length = (uint8_t)length,
                           .type = type,
                           .bar = bar,
                           .offset = offset,
                           .size = size,
                           .more = more};
    int at = pci_function_capability(&v->function, CAPABILITY_ID, length);

    if (at >= 0)
        memcpy(v->function.config + at + 2, (uint8_t *)&c + 2, length - 2);
    return at;
}

/* Before the other of that type: drivers take the first that they can use. */
static int add_doorbell(struct virtio *v)
{
    int error;

    if (!v->dev.ops->port_write)
        return 0;
    error = pci_function_bar(&v->function, DOORBELL_BAR, DOORBELL_SIZE, PCI_BAR_IO);
    return error < 0 ? error : add_capability(v, CAP_NOTIFY, DOORBELL_BAR, 0, DOORBELL_SIZE, 0);
}

static int add_capabilities(struct virtio *v)
{
    uint8_t *writable = v->function.writable;
    int at;

    if ((at = msix_init(&v->msix, &v->function, &v->dev, v->queue_count + 1, 0, MSIX_TABLE,
                        MSIX_PENDING)) < 0 ||
        (at = add_capability(v, CAP_COMMON, 0, COMMON, sizeof(struct common), 0)) < 0 ||
        (at = add_doorbell(v)) < 0 ||
        (at = add_capability(v, CAP_NOTIFY, 0, NOTIFY, v->queue_count * MULTIPLIER, MULTIPLIER)) <
            0 ||
        (at = add_capability(v, CAP_ISR, 0, ISR, 1, 0)) < 0 ||
        (v->config_size &&
         (at = add_capability(v, CAP_DEVICE, 0, DEVICE_CONFIG, v->config_size, 0)) < 0) ||
        (at = add_capability(v, CAP_PCI, 0, 0, 0, 0)) < 0)
        return at;
    v->window = (unsigned)at;
    writable[at + offsetof(struct capability, bar)] = 0xff;
    memset(writable + at + offsetof(struct capability, offset), 0xff, 12);
    return 0;
}

int virtio_attach(struct virtio *v, struct pci *pci)
{
    struct pci_function *f = &v->function;
    uint32_t subsystem = SUBSYSTEM << 16 | VENDOR;
    int error;

    pci_function_init(f, &function_ops, VENDOR, DEVICE + v->ops->type, v->ops->class);
    f->config[PCI_REVISION] = REVISION;
    f->config[PCI_INTERRUPT_PIN] = 1;
    memcpy(f->config + PCI_SUBSYSTEM_VENDOR_ID, &subsystem, sizeof(subsystem));
    v->range = (struct bus_range){.device = &v->dev, .size = BAR_SIZE, .space = BUS_MEMORY};
    v->doorbell = (struct bus_range){.device = &v->dev, .size = DOORBELL_SIZE, .space = BUS_PORTS};
    if ((error = add_capabilities(v)) < 0 || (error = pci_function_bar(f, 0, BAR_SIZE, 0)) < 0 ||
        (error = pci_function_map(f, 0, pci->bus, &v->range)) < 0 ||
        (v->dev.ops->port_write &&
         (error = pci_function_map(f, DOORBELL_BAR, pci->bus, &v->doorbell)) < 0))
        return error;
    clear(v); /* before a vCPU can find it */
    return pci_add_device(pci, f);
}

/* --- power-on and saved state --- */

void virtio_reset(struct device *d)
{
    struct virtio *v = CONTAINER_OF(d, struct virtio, dev);

    virtio_end(v);
    end_reset(v);
    msix_reset(&v->msix);
}

void virtio_save(struct device *d, struct state_writer *w)
{
    struct virtio *v = CONTAINER_OF(d, struct virtio, dev);

    state_put_u64(w, v->accepted);
    state_put_u32(w, v->offered_select);
    state_put_u32(w, v->accepted_select);
    state_put_u16(w, v->config_vector);
    state_put_u16(w, v->queue_select);
    state_put_u8(w, v->status);
    state_put_u8(w, v->generation);
    state_put_u8(w, v->isr);
    msix_save(&v->msix, w);
    for (unsigned i = 0; i < v->queue_count; i++) {
        state_put_u16(w, v->vector[i]);
        virtq_save(&v->queue[i], w);
    }
}

int virtio_load(struct device *d, struct state_reader *r)
{
    struct virtio *v = CONTAINER_OF(d, struct virtio, dev);
    bool good = true;

    clear(v);
    v->accepted = state_get_u64(r);
    v->offered_select = state_get_u32(r);
    v->accepted_select = state_get_u32(r);
    v->config_vector = vector_or_none(v, state_get_u16(r));
    v->queue_select = state_get_u16(r);
    v->status = state_get_u8(r) & (STATUS_DRIVERS | STATUS_NEEDS_RESET);
    v->generation = state_get_u8(r);
    v->isr = state_get_u8(r) & (ISR_QUEUE | ISR_CONFIG);
    msix_load(&v->msix, r);
    for (unsigned i = 0; i < v->queue_count; i++) {
        set_up_queue(v, i);
        v->vector[i] = vector_or_none(v, state_get_u16(r));
        good = virtq_load(&v->queue[i], r) && good;
    }
    if (!good || ((v->status & STATUS_FEATURES_OK) && !features_are_good(v))) {
        clear(v);
        return -EBADMSG;
    }
    return 0;
}
