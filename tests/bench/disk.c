/*
 * What a disk request costs outside of the guest, where the TSC counts instructions (Bochs) and one
 * processor runs everything: virtio-blk without a driver in between, polled. Interrupts are on,
 * though none comes: with them off Bochs keeps the host's own to itself as well, and a drive would
 * be noticed at the end of a slice. A run is the ticks from the notification to the last used
 * element, less the guest's own, which are known: those of the loop that waits for the used index,
 * and those of the same lines with nothing to wait for. The command line says what and how often:
 * "KIND RUNS". Prints "disk KIND LEAST MEDIAN MOST" per run, and "disk KIND mean MEAN" over all
 * runs. What is on the disk is lost.
 *
 * Runs in any hypervisor that has virtio-blk by virtio 1.x on the PCI bus 0, by PVH as well.
 */
#include "bench.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define BAR_SPACE      0xc0000000u /* for BARs that nobody has placed */
#define QUEUE_SIZE     128u
#define DEPTH_MAX      32u
#define SECTOR         512u
#define AREA           (4u << 20) /* of the disk, which a bench with a depth walks */

/* virtio 1.2, "Virtio Structure PCI Capabilities", "Common configuration structure layout" */
enum { CAP_COMMON = 1, CAP_NOTIFY = 2 };
enum { STATUS_ACKNOWLEDGE = 1, STATUS_DRIVER = 2, STATUS_DRIVER_OK = 4, STATUS_FEATURES_OK = 8 };
#define VERSION_1 1u /* bit 32: the first of the second word */
#define BLK_FLUSH (1u << 9)
enum { BLK_IN = 0, BLK_OUT = 1, BLK_FLUSH_OP = 4 };
enum { DESC_NEXT = 1, DESC_WRITE = 2 };
#define AVAIL_NO_INTERRUPT 1

struct common {
    uint32_t device_feature_select, device_feature, driver_feature_select, driver_feature;
    uint16_t msix_config, num_queues;
    uint8_t device_status, config_generation;
    uint16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
    uint32_t queue_desc[2], queue_driver[2], queue_device[2];
};

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

static struct {
    struct desc desc[QUEUE_SIZE];
    struct {
        uint16_t flags, idx, ring[QUEUE_SIZE + 1];
    } avail;
    struct {
        uint16_t flags, idx;
        struct {
            uint32_t id, len;
        } ring[QUEUE_SIZE];
        uint16_t event;
    } used __attribute__((aligned(4)));
} queue __attribute__((aligned(4096)));

static struct {
    struct {
        uint32_t type, reserved;
        uint64_t sector;
    } header;
    uint8_t status;
} request[DEPTH_MAX] __attribute__((aligned(64)));

static uint8_t data[DEPTH_MAX * 4096] __attribute__((aligned(4096)));

static const struct kind {
    const char *name;
    uint32_t type, length;
    unsigned depth;
} kinds[] = {
    {"read_1", BLK_IN, 4096, 1},         {"write_1", BLK_OUT, 4096, 1},
    {"read_32", BLK_IN, 4096, 32},       {"write_32", BLK_OUT, 4096, 32},
    {"read_128k", BLK_IN, 128 << 10, 1}, {"write_128k", BLK_OUT, 128 << 10, 1},
    {"flush", BLK_FLUSH_OP, 0, 1},
};

static uint32_t function; /* of config space's addresses */
static volatile uint16_t *doorbell, nowhere;
static uint16_t port; /* where that is the doorbell */

/* --- finding it --- */

static uint32_t config_read(unsigned at)
{
    outl(CONFIG_ADDRESS, function | (at & ~3u));
    return inl(CONFIG_DATA) >> (8 * (at & 3));
}

static void config_write(unsigned at, uint32_t value)
{
    outl(CONFIG_ADDRESS, function | at);
    outl(CONFIG_DATA, value);
}

static uint64_t bar(unsigned n)
{
    unsigned at = 0x10 + 4 * n;
    uint32_t low = config_read(at);

    if (low & 1)
        return low & ~3u;
    if ((low & ~0xfu) == 0)
        config_write(at, BAR_SPACE);
    low = config_read(at);
    if ((low & 6) == 4 && config_read(at + 4) != 0)
        fail("BAR %u is above 4 GiB", n);
    return low & ~0xfu;
}

/* Where a structure is; its capability's place in *at. */
static uint64_t structure(unsigned type, unsigned *at)
{
    for (*at = config_read(0x34) & 0xfc; *at; *at = config_read(*at + 1) & 0xfc)
        if ((config_read(*at) & 0xff) == 9 && (config_read(*at + 3) & 0xff) == type)
            return bar(config_read(*at + 4) & 0xff) + config_read(*at + 8);
    fail("no virtio structure %u", type);
}

static void find(void)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        function = 0x80000000u | slot << 11;
        if (config_read(0) == 0x10421af4)
            return;
    }
    fail("no virtio-blk function on bus 0");
}

static void set_up(void)
{
    volatile struct common *c;
    uint64_t notify;
    unsigned at;

    find();
    c = (volatile struct common *)structure(CAP_COMMON, &at);
    notify = structure(CAP_NOTIFY, &at);
    config_write(4, 0x407); /* ports, memory, bus master, no INTx */
    c->device_status = 0;
    while (c->device_status)
        ;
    c->device_status = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
    c->device_feature_select = 0;
    c->driver_feature_select = 0;
    c->driver_feature = c->device_feature & BLK_FLUSH;
    c->driver_feature_select = 1;
    c->driver_feature = VERSION_1;
    c->device_status = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK;
    CHECK(c->device_status & STATUS_FEATURES_OK, "the device refuses the features");
    c->queue_select = 0;
    CHECK(c->queue_size >= QUEUE_SIZE, "a queue of %u", c->queue_size);
    c->queue_size = QUEUE_SIZE;
    c->queue_msix_vector = 0xffff;
    c->queue_desc[0] = (uint32_t)(uint64_t)queue.desc;
    c->queue_driver[0] = (uint32_t)(uint64_t)&queue.avail;
    c->queue_device[0] = (uint32_t)(uint64_t)&queue.used;
    c->queue_desc[1] = c->queue_driver[1] = c->queue_device[1] = 0;
    c->queue_enable = 1;
    notify += c->queue_notify_off * config_read(at + 16);
    if (config_read(0x10 + 4 * (config_read(at + 4) & 0xff)) & 1)
        port = (uint16_t)notify;
    else
        doorbell = (volatile uint16_t *)notify;
    queue.avail.flags = AVAIL_NO_INTERRUPT;
    c->device_status = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK;
}

/* --- requests --- */

/* Three descriptors of each, or two where there is no data. */
static void describe(const struct kind *k)
{
    for (unsigned i = 0; i < k->depth; i++) {
        struct desc *d = &queue.desc[3 * i];

        d[0] = (struct desc){(uint64_t)&request[i].header, 16, DESC_NEXT,
                             (uint16_t)(3 * i + (k->length ? 1 : 2))};
        d[1] =
            (struct desc){(uint64_t)data + i * k->length, k->length,
                          DESC_NEXT | (k->type == BLK_IN ? DESC_WRITE : 0), (uint16_t)(3 * i + 2)};
        d[2] = (struct desc){(uint64_t)&request[i].status, 1, DESC_WRITE, 0};
        request[i].header.type = k->type;
    }
}

static void offer(const struct kind *k, unsigned run)
{
    for (unsigned i = 0; i < k->depth; i++) {
        uint64_t at = (uint64_t)(run * k->depth + i) * k->length % AREA;

        request[i].header.sector = at / SECTOR;
        request[i].status = 0xff;
        queue.avail.ring[(uint16_t)(queue.avail.idx + i) % QUEUE_SIZE] = (uint16_t)(3 * i);
    }
    __atomic_store_n(&queue.avail.idx, (uint16_t)(queue.avail.idx + k->depth), __ATOMIC_RELEASE);
}

/* Ring, and wait for the used index; what of it passed elsewhere than in the loop of three. A store
 * and an OUT are one instruction each. */
static __attribute__((noinline, aligned(64))) uint64_t ring_and_wait(volatile uint16_t *bell,
                                                                     uint16_t until)
{
    uint64_t loops = 0, start = ticks();

    asm volatile("	test %[bell], %[bell]\n"
                 "	jz 2f\n"
                 "	movw %w[zero], (%[bell])\n"
                 "1:	incq %[loops]\n"
                 "	cmpw %[until], %[used]\n"
                 "	jne 1b\n"
                 "	.subsection 1\n"
                 "2:	outw %w[zero], %w[port]\n"
                 "	jmp 1b\n"
                 "	.previous\n"
                 : [loops] "+r"(loops)
                 : [bell] "r"(bell), [zero] "a"(0), [port] "d"(port), [until] "r"(until),
                   [used] "m"(queue.used.idx)
                 : "memory", "cc");
    return ticks() - start - 3 * loops;
}

static uint64_t run(const struct kind *k, unsigned n)
{
    uint64_t own = ring_and_wait(&nowhere, queue.used.idx), cost;

    offer(k, n);
    cost = ring_and_wait(doorbell, queue.avail.idx);
    for (unsigned i = 0; i < k->depth; i++)
        CHECK(request[i].status == 0, "status %u", request[i].status);
    return cost - MIN(own, cost);
}

/* --- what is asked --- */

static const struct kind *kind(const char *text, unsigned *runs)
{
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        size_t n = strlen(kinds[i].name);

        if (strncmp(text, kinds[i].name, n) != 0 || text[n] != ' ')
            continue;
        *runs = 0;
        for (text += n + 1; *text >= '0' && *text <= '9'; text++)
            *runs = 10 * *runs + (unsigned)(*text - '0');
        return &kinds[i];
    }
    fail("the command line is '%s'", text);
}

void test(void)
{
    static struct samples samples;
    unsigned runs;
    const struct kind *k =
        kind((const char *)(uint64_t) * (const uint32_t *)(boot_params + 0x228), &runs);
    uint64_t total = 0;

    set_up();
    asm volatile("sti");
    describe(k);
    run(k, 0); /* what is made when it is first used */
    delay_us(DRAIN_US);
    for (unsigned n = 1; n <= runs; n++) {
        uint64_t cost = run(k, n);

        total += cost;
        sample(&samples, cost);
    }
    say("disk %s mean %lu\n", k->name, total / MAX(runs, 1u));
    say_samples(k->name, &samples);
}
