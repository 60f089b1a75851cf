/* The controller as its driver finds it on the bus: registers, reset, shutdown; its life. */
#include "arch/x86/lib/string.h"
#include "guest/config/disk.h"
#include "guest/devices/nvme/nvme.h"
#include "mm/heap.h"

#define PCI_DEVICE 0x0010
#define CLASS      0x010802
#define REVISION   2

/* What BAR 0 holds. */
#define BAR_SIZE     0x4000
#define DOORBELLS    0x1000 /* 4 bytes each */
#define MSIX_TABLE   0x2000
#define MSIX_PENDING 0x3000

/* "Controller Registers" */
struct registers {
    uint64_t cap;
    uint32_t vs, intms, intmc, cc, reserved, csts, nssr, aqa;
    uint64_t asq, acq;
} PACKED;
_Static_assert(sizeof(struct registers) == 0x38, "NVMe: Controller Registers");
#define AT(register) offsetof(struct registers, register)

#define CAP                                                                                        \
    ((NVME_ENTRIES - 1) | BIT(16) /* queues are contiguous */ |                                    \
     240ull << 24 /* halves of a second that stopping may take: as long as a drive is silent */ |  \
     BIT(37) /* the NVM command set; pages of 4 KiB, doorbells of 4 bytes */)
#define VERSION 0x00010400

#define CC_ENABLE  BIT(0)
#define CC_ZERO    0x00003ff0u /* the first command set, 4 KiB, round robin */
#define CC_SHN(cc) ((cc) >> 14 & 3)
#define CSTS_READY BIT(0)
#define CSTS_FATAL BIT(1)
#define CSTS_SHST  2

static struct nvme_controller *controller_of(struct device *d)
{
    return CONTAINER_OF(d, struct nvme_controller, dev);
}

/* --- on and off --- */

void nvme_clear(struct nvme_controller *n)
{
    memset(n->sq, 0, sizeof(n->sq));
    memset(n->cq, 0, sizeof(n->cq));
    n->ready = n->fatal = n->resetting = false;
    n->shutdown = NVME_NO_SHUTDOWN;
    n->interrupt_mask = 0;
    n->shadowed = false;
    n->posted = n->waiting = 0;
    n->event_count = 0;
    memset(n->event_pending, 0, sizeof(n->event_pending));
    memset(n->event_masked, 0, sizeof(n->event_masked));
    nvme_reset_features(n);
}

static void end_reset(struct nvme_controller *n)
{
    nvme_clear(n);
    disk_stop(&n->disk, false);
    nvme_tell(n);
}

static void stop(struct nvme_controller *n)
{
    n->resetting = true;
    n->posted = n->waiting = 0;
    disk_stop(&n->disk, true);
    nvme_tell(n);
}

/* CC.EN falls. CSTS.RDY stays until nothing of the guest's memory is used any more. */
static void begin_reset(struct nvme_controller *n)
{
    stop(n);
    if (disk_idle(&n->disk))
        end_reset(n);
}

/* CC.EN rises. */
static void start(struct nvme_controller *n)
{
    unsigned submissions = (n->aqa & 0xfff) + 1, completions = (n->aqa >> 16) + 1;

    if ((n->cc & CC_ZERO) || submissions < 2 || completions < 2) {
        n->fatal = true;
        return;
    }
    /* Both have entries up to their registers' limit; those of I/O queues have CAP's. */
    n->sq[0] = (struct nvme_sq){.gpa = n->asq, .size = (uint16_t)submissions};
    n->cq[0] = (struct nvme_cq){
        .gpa = n->acq, .size = (uint16_t)completions, .phase = true, .interrupts = true};
    n->ready = true;
}

/* The medium has all that is in the cache before CSTS.SHST says so. */
static void begin_shutdown(struct nvme_controller *n)
{
    if (n->shutdown == NVME_SHUTDOWN_OCCURS)
        return;
    n->shutdown = NVME_SHUTDOWN_OCCURS;
    n->last_flush.op = BLOCK_FLUSH;
    n->last_flush.flags = 0;
    disk_submit(&n->disk, &n->last_flush);
}

static void write_cc(struct nvme_controller *n, uint32_t value)
{
    uint32_t old = n->cc;

    n->cc = value & NVME_CC_BITS;
    if (n->resetting) {
        n->cc &= ~(uint32_t)CC_ENABLE;
        return;
    }
    if ((value & CC_ENABLE) && !(old & CC_ENABLE))
        start(n);
    if (CC_SHN(value) && !CC_SHN(old))
        begin_shutdown(n);
    if (!(value & CC_ENABLE) && (old & CC_ENABLE))
        begin_reset(n);
}

/* --- registers --- */

static uint32_t status(struct nvme_controller *n)
{
    if (n->resetting && disk_idle(&n->disk))
        end_reset(n);
    return (n->ready ? (uint32_t)CSTS_READY : 0) | (n->fatal ? (uint32_t)CSTS_FATAL : 0) |
           (uint32_t)n->shutdown << CSTS_SHST;
}

static uint64_t read_register(struct nvme_controller *n, uint64_t at, unsigned size)
{
    struct registers r = {
        .cap = CAP,
        .vs = VERSION,
        .intms = n->interrupt_mask,
        .intmc = n->interrupt_mask,
        .cc = n->cc,
        .csts = status(n),
        .aqa = n->aqa,
        .asq = n->asq,
        .acq = n->acq,
    };
    uint64_t value = 0;

    if (at + size <= sizeof(r))
        memcpy(&value, (const uint8_t *)&r + at, size);
    return value;
}

static void set_half(uint64_t *address, unsigned high, uint32_t value)
{
    memcpy((uint8_t *)address + 4 * high, &value, 4);
    *address = ALIGN_DOWN(*address, PAGE_SIZE);
}

static void write_register(struct nvme_controller *n, uint64_t at, uint32_t value)
{
    bool enabled = n->cc & CC_ENABLE;

    switch (at) {
    case AT(intms):
    case AT(intmc):
        if (at == AT(intms))
            n->interrupt_mask |= value & NVME_QUEUE_BITS;
        else
            n->interrupt_mask &= ~value;
        nvme_tell(n);
        break;
    case AT(cc):
        write_cc(n, value);
        break;
    case AT(aqa):
        if (!enabled)
            n->aqa = value & NVME_AQA_BITS;
        break;
    case AT(asq):
    case AT(asq) + 4:
        if (!enabled)
            set_half(&n->asq, at != AT(asq), value);
        break;
    case AT(acq):
    case AT(acq) + 4:
        if (!enabled)
            set_half(&n->acq, at != AT(acq), value);
        break;
    }
}

static uint64_t mmio_read(struct device *d, uint64_t offset, unsigned size)
{
    struct nvme_controller *n = controller_of(d);

    if (offset >= MSIX_PENDING)
        return msix_pending_read(&n->msix, offset - MSIX_PENDING, size);
    if (offset >= MSIX_TABLE)
        return msix_table_read(&n->msix, offset - MSIX_TABLE, size);
    return read_register(n, offset, size);
}

static void mmio_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
    struct nvme_controller *n = controller_of(d);
    unsigned index = (unsigned)(offset - DOORBELLS) / 4;

    if (offset >= MSIX_PENDING)
        return;
    if (offset >= MSIX_TABLE) {
        msix_table_write(&n->msix, offset - MSIX_TABLE, size, value);
    } else if (size < 4 || offset % 4) {
        return;
    } else if (offset >= DOORBELLS) {
        if (size == 4)
            nvme_doorbell(n, index / 2, index % 2, (uint32_t)value);
    } else {
        write_register(n, offset, (uint32_t)value);
        if (size == 8)
            write_register(n, offset + 4, (uint32_t)(value >> 32));
    }
}

/* --- what the block device and the bus tell --- */

static void settled(struct disk_io *d)
{
    nvme_go_on(CONTAINER_OF(d, struct nvme_controller, disk));
}

static void timer(struct device *d, unsigned number, uint64_t now)
{
    nvme_go_on(controller_of(d));
}

static bool idle(struct device *d, bool over)
{
    struct nvme_controller *n = controller_of(d);

    if (over)
        stop(n);
    if (!disk_idle(&n->disk))
        return false;
    if (n->resetting && !over)
        end_reset(n);
    nvme_tell(n);
    nvme_look_again(n);
    return true;
}

/* Nothing is in flight any more; waits for that, which is bounded, as all of it comes back. */
static void end(struct nvme_controller *n)
{
    stop(n);
    while (!disk_idle(&n->disk))
        ;
}

static void config_written(struct pci_function *f, unsigned offset, unsigned size)
{
    struct nvme_controller *n = CONTAINER_OF(f, struct nvme_controller, function);

    device_lock(&n->dev);
    msix_written(&n->msix);
    if (size < sizeof(f->config)) /* else all of it is reset or loaded, and the pin with it */
        nvme_tell(n);
    device_unlock(&n->dev);
}

static const struct pci_function_ops function_ops = {.written = config_written};

/* --- power-on --- */

static void reset(struct device *d)
{
    struct nvme_controller *n = controller_of(d);

    end(n);
    n->cc = n->aqa = 0;
    n->asq = n->acq = 0;
    n->error_count = 0;
    n->sectors_read = n->sectors_written = n->reads = n->writes = n->media_errors = 0;
    memset(n->error, 0, sizeof(n->error));
    end_reset(n);
    msix_reset(&n->msix);
}

static const struct device_ops device_ops = {
    .name = "nvme",
    .version = 1,
    .mmio_read = mmio_read,
    .mmio_write = mmio_write,
    .timer = timer,
    .idle = idle,
    .reset = reset,
    .save = nvme_save,
    .load = nvme_load,
};

/* --- life --- */

static int attach(struct nvme_controller *n, struct pci *pci)
{
    struct pci_function *f = &n->function;
    uint16_t subsystem = NVME_SUBSYSTEM;
    int error;

    pci_function_init(f, &function_ops, NVME_VENDOR, PCI_DEVICE, CLASS);
    f->config[PCI_REVISION] = REVISION;
    f->config[PCI_INTERRUPT_PIN] = 1;
    memcpy(f->config + PCI_SUBSYSTEM_VENDOR_ID, &subsystem, sizeof(subsystem));
    memcpy(f->config + PCI_SUBSYSTEM_ID, &(uint16_t){0x1100}, 2);
    n->range = (struct bus_range){.device = &n->dev, .size = BAR_SIZE, .space = BUS_MEMORY};
    if ((error = msix_init(&n->msix, f, &n->dev, NVME_QUEUES, 0, MSIX_TABLE, MSIX_PENDING)) < 0 ||
        (error = pci_function_bar(f, 0, BAR_SIZE, PCI_BAR_64)) < 0 ||
        (error = pci_function_map(f, 0, pci->bus, &n->range)) < 0)
        return error;
    return pci_add_device(pci, f);
}

static int create(struct device *d, struct device_setup *s)
{
    struct nvme_controller *n = controller_of(d);
    int error = s->host->disk(s->host->context, s->text, s->length, &n->source, s->error);

    if (error < 0)
        return error;
    n->requests = heap_alloc(NVME_REQUESTS * sizeof(n->requests[0]));
    for (unsigned i = 0; n->requests && i < NVME_REQUESTS; i++) {
        n->requests[i].next_free = n->free;
        n->free = &n->requests[i];
    }
    n->shift = (unsigned)__builtin_ctz(n->source.block->logical_block);
    n->blocks = n->source.block->sectors / (n->source.block->logical_block / BLOCK_SECTOR);
    n->disk = (struct disk_io){.block = n->source.block,
                               .dev = d,
                               .counts = n->source.counts,
                               .finished = nvme_finished,
                               .settled = settled};
    error = n->requests ? attach(n, s->pci) : -ENOMEM;
    if (error < 0) {
        heap_free(n->requests);
        n->source.close(n->source.block);
        return error;
    }
    nvme_name(n);
    nvme_clear(n);
    nvme_go_on(n);
    return 0;
}

static void destroy(struct device *d)
{
    struct nvme_controller *n = controller_of(d);

    end(n);
    heap_free(n->requests);
    n->source.close(n->source.block);
}

static int check(const char *text, size_t length, char *error)
{
    return config_disk_is_at(CONFIG_DISK_NVME, text, length, error);
}

static bool boots(struct device *d, enum device_boot kind, unsigned index, char *path)
{
    if (kind != DEVICE_BOOT_DISK || index > 0)
        return false;
    pci_boot_path(&controller_of(d)->function, "nvme", "", path);
    return true;
}

const struct device_class nvme_class = {
    .ops = &device_ops,
    .size = sizeof(struct nvme_controller),
    .key = "disk",
    .check = check,
    .boots = boots,
    .create = create,
    .destroy = destroy,
};
