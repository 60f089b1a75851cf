/* links: guest/devices/virtio/blk.c guest/devices/virtio/pci.c guest/devices/virtio/queue.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c guest/board/msix.c guest/board/pci.c guest/board/unplug.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c guest/board/state.c arch/x86/lib/format.c tests/unit/mock_heap.c */
/*
 * Disks come and go under the hands of a guest, by threads that are processors: one attaches and
 * detaches, one runs the driver of whatever disk it finds, one pokes wherever disks are or have
 * been and runs the devices' timers, and one is a drive that gives requests back. It is built with
 * the thread sanitizer (see Makefile), which tells of every access that no lock orders, and of
 * memory that is used after it was given back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <unistd.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/board/pci.h"
#include "guest/storage/block.h"
#include "tests/unit/virtq_driver.h"

#define SPIN_PAUSE() usleep(20)
#include "tests/unit/threads.h"

enum { CYCLES = 1000, VCPUS = 2, PLACES = 3, SECTORS = 64, HELD = 64 };

#define ECAM   0xb0000000u
#define RINGS  0x1000
#define HEADER 0x7000
#define STATUS 0x7f00
#define DATA   0x8000
#define V1     (UINT64_C(1) << 32)

extern const struct device_class virtio_blk_class;

/* --- processors --- */

static uint64_t tsc;              /* atomic */
static bool all_done;             /* atomic */
static unsigned elsewhere[VCPUS]; /* how often each has left all that it had in hand; atomic */

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*seed >> 33);
}

static bool is_over(void)
{
    return __atomic_load_n(&all_done, __ATOMIC_ACQUIRE);
}

/* Between two instructions of its guest. */
static void step(unsigned vcpu)
{
    __atomic_fetch_add(&elsewhere[vcpu], 1, __ATOMIC_SEQ_CST);
}

static void settle(void *context)
{
    for (unsigned i = 0; i < VCPUS; i++) {
        unsigned before = __atomic_load_n(&elsewhere[i], __ATOMIC_SEQ_CST);

        while (__atomic_load_n(&elsewhere[i], __ATOMIC_SEQ_CST) == before)
            usleep(20);
    }
}

/* --- what devices ask of a board; the VM's memory has a lock, which is the order of its accesses
 * --- */

static struct board board;
static struct device_list list;
static pthread_mutex_t memory = PTHREAD_MUTEX_INITIALIZER;
static unsigned pins; /* atomic */

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
    return __atomic_add_fetch(&tsc, 16, __ATOMIC_RELAXED);
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

static void copy(void *to, const void *from, size_t size)
{
    pthread_mutex_lock(&memory);
    memcpy(to, from, size);
    pthread_mutex_unlock(&memory);
}

int device_memory_read(struct device *d, uint64_t gpa, void *data, size_t size)
{
    if (gpa > MOCK_MEMORY || size > MOCK_MEMORY - gpa)
        return -EFAULT;
    copy(data, d->board->memory + gpa, size);
    return 0;
}

int device_memory_write(struct device *d, uint64_t gpa, const void *data, size_t size)
{
    if (gpa > MOCK_MEMORY || size > MOCK_MEMORY - gpa)
        return -EFAULT;
    copy(d->board->memory + gpa, data, size);
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

int device_memory_pin(struct device *d, uint64_t gpa, uint64_t size, bool write, paddr *address,
                      uint64_t *length)
{
    if (gpa >= MOCK_MEMORY || size == 0)
        return -EFAULT;
    *address = (paddr)d->board->memory + gpa;
    *length = MIN(size, PAGE_SIZE - gpa % PAGE_SIZE);
    __atomic_fetch_add(&pins, 1, __ATOMIC_RELAXED);
    return 0;
}

void device_memory_unpin(struct device *d, paddr address, uint64_t length)
{
    __atomic_fetch_sub(&pins, 1, __ATOMIC_RELAXED);
}

/* --- a drive --- */

static pthread_mutex_t drive = PTHREAD_MUTEX_INITIALIZER;
static struct block_request *held[HELD];
static unsigned holding, opened, closed, moved;

static void submit(struct block_device *d, struct block_request *r)
{
    pthread_mutex_lock(&drive);
    assert_true(holding < HELD);
    held[holding++] = r;
    pthread_mutex_unlock(&drive);
}

/* One of owner's, or of anybody's; NULL: there is none. */
static struct block_request *take(const void *owner, uint32_t random)
{
    struct block_request *r = NULL;

    pthread_mutex_lock(&drive);
    for (unsigned n = 0; n < holding && !r; n++) {
        unsigned i = (random + n) % holding;

        if (owner && held[i]->owner != owner)
            continue;
        r = held[i];
        held[i] = held[--holding];
        moved++;
    }
    pthread_mutex_unlock(&drive);
    return r;
}

static void give_back(struct block_request *r)
{
    pthread_mutex_lock(&memory);
    for (unsigned i = 0; i < r->count && r->op == BLOCK_READ; i++)
        memset((void *)r->segments[i].address, 0x5a, r->segments[i].length);
    pthread_mutex_unlock(&memory);
    r->done(r, 0);
}

static void poll(struct block_device *d, const void *owner)
{
    struct block_request *r;

    while ((r = take(owner, 0)))
        give_back(r);
}

static const struct block_ops waiting_ops = {.submit = submit},
                              polled_ops = {.submit = submit, .poll = poll};

static void close_block(struct block_device *b)
{
    free(b);
    closed++;
}

static int open_block(void *context, const char *text, size_t length, struct device_disk *out,
                      char *error)
{
    struct block_device *b = calloc(1, sizeof(*b));

    *b = (struct block_device){.ops = opened++ % 2 ? &polled_ops : &waiting_ops,
                               .sectors = SECTORS,
                               .logical_block = 512,
                               .physical_block = 512,
                               .max_sectors = 8,
                               .max_segments = 4,
                               .segment_align = 1,
                               .highest_address = UINT64_MAX};
    *out = (struct device_disk){.block = b, .close = close_block};
    return 0;
}

static void *run_drive(void *arg)
{
    struct block_request *r;
    uint64_t seed = 77;

    while (!is_over()) {
        if (next_random(&seed) % 4 == 0 && (r = take(NULL, next_random(&seed))))
            give_back(r);
        else
            usleep(20);
    }
    return NULL;
}

/* --- the guest --- */

static uint64_t in(struct bus_view *view, uint64_t gpa, unsigned size)
{
    uint64_t value;

    return bus_mmio_read(&board.bus, view, gpa, size, &value) ? value
                                                              : UINT64_MAX >> (64 - 8 * size);
}

static void out(struct bus_view *view, uint64_t gpa, unsigned size, uint64_t value)
{
    (void)bus_mmio_write(&board.bus, view, gpa, size, value);
}

static unsigned started, answered; /* of vCPU 0 */

/* The driver of whatever disk there is: it may go at any moment. */
static void drive_it(struct bus_view *view, uint64_t config, uint64_t *seed)
{
    static const struct {
        uint32_t at, size;
        uint64_t value;
    } steps[] = {
        {0x14, 1, 1},
        {0x14, 1, 3},
        {8, 4, 1},
        {12, 4, V1 >> 32},
        {0x14, 1, 0xb},
        {0x16, 2, 0},
        {0x18, 2, DRIVER_SIZE},
        {0x20, 8, RINGS},
        {0x28, 8, RINGS + 0x1000},
        {0x30, 8, RINGS + 0x1800},
        {0x1c, 2, 1},
        {0x14, 1, 0xf},
    };
    struct driver driver;
    uint32_t written;
    uint64_t bar;

    out(view, config + PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    bar = in(view, config + PCI_BAR0, 4);
    out(view, bar + 0x14, 1, 0);
    while (in(view, bar + 0x14, 1) - 1 < 0xfe) /* neither reset nor gone */
        step(0);
    pthread_mutex_lock(&memory);
    driver_init(&driver, &board, false, DRIVER_SIZE, RINGS);
    pthread_mutex_unlock(&memory);
    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        out(view, bar + steps[i].at, steps[i].size, steps[i].value);
        step(0);
    }
    started += in(view, bar + 0x14, 1) == 0xf;
    for (unsigned round = next_random(seed) % 8; round > 0; round--) {
        pthread_mutex_lock(&memory);
        for (unsigned i = 0; i < 4; i++) {
            struct driver_segment s[3] = {
                {HEADER + 16 * i, 16, false}, {DATA + 512 * i, 512, true}, {STATUS + i, 1, true}};
            driver_put(&driver, HEADER + 16 * i, 0, 8);
            driver_put(&driver, HEADER + 16 * i + 8, i, 8);
            (void)driver_offer(&driver, s, 3, false);
        }
        pthread_mutex_unlock(&memory);
        out(view, bar + 0x3000, 2, 0);
        for (unsigned i = 0; i < 4; i++) {
            step(0);
            usleep(20);
            pthread_mutex_lock(&memory);
            while (driver_take(&driver, &written) >= 0)
                answered++;
            pthread_mutex_unlock(&memory);
        }
        if (in(view, config, 4) == UINT32_MAX)
            break;
    }
    /* It stays as it is now and then, with its rings in the device's hand. */
    if (next_random(seed) % 2)
        out(view, bar + 0x14, 1, 0);
    while (in(view, bar + 0x14, 1) - 1 < 0xfe && in(view, config, 4) != UINT32_MAX)
        step(0);
}

static void *run_driver(void *arg)
{
    struct bus_view view = {0};
    uint64_t seed = 3;

    while (!is_over()) {
        unsigned device = 1 + next_random(&seed) % PLACES;
        uint64_t config = ECAM + (PCI_DEVFN(device, 0) << 12);

        if (in(&view, config, 4) == 0x10421af4)
            drive_it(&view, config, &seed);
        step(0);
        usleep(20);
    }
    step(0);
    return NULL;
}

/* Wherever disks are or have been; and this vCPU looks after timers. */
static void *run_prober(void *arg)
{
    struct bus_view view[2] = {{0}};
    uint64_t seed = 5;

    while (!is_over()) {
        unsigned device = 1 + next_random(&seed) % PLACES, what = next_random(&seed) % 16;
        uint64_t config = ECAM + (PCI_DEVFN(device, 0) << 12);
        uint64_t bar = 0xc0000000u + 0x8000 * (next_random(&seed) % PLACES);

        if (what < 1)
            (void)in(&view[0], config + 4 * (next_random(&seed) % 64), 4);
        else if (what < 8)
            (void)in(&view[1], bar + (next_random(&seed) % 8 << 12), 4);
        else if (what < 10)
            out(&view[1], bar + 0x3000, 2, 0);
        else
            bus_run_timers(&board.bus, __atomic_load_n(&tsc, __ATOMIC_RELAXED) + 1000);
        step(1);
        if (next_random(&seed) % 16 == 0)
            usleep(20);
    }
    step(1);
    return NULL;
}

/* --- who attaches and detaches --- */

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    return NULL;
}

static void a_cycle(struct device_setup *s, uint64_t *seed)
{
    if (list.count <= PLACES) {
        assert_int_equal(device_list_add(&list, &virtio_blk_class, s), 0);
        struct device *d = list.item[list.count - 1].device;
        device_lock(d);
        d->ops->reset(d);
        device_unlock(d);
    }
    for (unsigned i = next_random(seed) % 20; i > 0; i--)
        usleep(20);
    if (list.count == 1)
        return;
    struct device_item *item = &list.item[1 + next_random(seed) % (list.count - 1)];
    for (unsigned patience = next_random(seed) % 3 * 20; patience > 0; patience--)
        if (device_item_stop(item))
            break;
    device_item_unplug(item, s);
    while (!device_list_remove(&list, item, s))
        usleep(20);
}

static void disks_come_and_go(void **state)
{
    static const struct device_class *const classes[] = {&pci_class, &virtio_blk_class};
    static void *(*const runs[])(void *) = {run_driver, run_prober, run_drive};
    struct device_host host = {.line = line, .disk = open_block};
    struct device_setup s = {.board = &board, .bus = &board.bus, .host = &host};
    pthread_t threads[ARRAY_SIZE(runs)];
    uint64_t seed = 1;

    bus_init(&board.bus);
    assert_int_equal(device_list_fill(&list, classes, ARRAY_SIZE(classes), &s), 0);
    bus_reset(&board.bus);
    s.pci->places = ((1u << PLACES) - 1) << 1;
    s.text = "ram:x";
    s.length = 5;
    for (unsigned i = 0; i < PLACES; i++) /* so that timed_count, which is no atomic, stays */
        assert_int_equal(device_list_add(&list, &virtio_blk_class, &s), 0);
    while (list.count > 1) {
        device_item_unplug(&list.item[1], &s);
        assert_true(device_list_remove(&list, &list.item[1], &s));
    }
    host.settle = settle;
    for (unsigned i = 0; i < ARRAY_SIZE(runs); i++)
        pthread_create(&threads[i], NULL, runs[i], NULL);
    for (unsigned i = 0; i < CYCLES; i++)
        a_cycle(&s, &seed);
    while (list.count > 1) {
        device_item_unplug(&list.item[1], &s);
        while (!device_list_remove(&list, &list.item[1], &s))
            usleep(20);
    }
    __atomic_store_n(&all_done, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < ARRAY_SIZE(runs); i++)
        pthread_join(threads[i], NULL);
    assert_true(started > CYCLES / 10);
    assert_true(answered > 0 && moved > answered);
    assert_int_equal(opened, closed);
    assert_int_equal(holding, 0);
    assert_int_equal(pins, 0);
    assert_int_equal(reports, 0);
    bus_destroy(&board.bus);
    device_list_destroy(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(disks_come_and_go)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
