/* links: drivers/disk.c drivers/disk_queue.c guest/storage/slice.c guest/devices/virtio/blk.c guest/devices/virtio/pci.c guest/devices/virtio/queue.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c guest/board/msix.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c guest/board/state.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
/*
 * Two VMs with a partition each of one drive, by threads that are processors: one runs each VM's
 * driver, two take the drive's interrupts, one looks after the drive. Requests come back wherever
 * they do, the drive is reset, drivers reset their disks, VMs are reset, saved and end. It is built
 * with the thread sanitizer (see Makefile), which tells of every access that no lock orders, and of
 * memory that is used after it was given back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <asm/prctl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/percpu.h"
#include "arch/x86/tsc.h"
#include "drivers/disk.h"
#include "guest/board/pci.h"
#include "guest/storage/slice.h"
#include "tests/unit/threads.h"
#include "tests/unit/virtq_driver.h"

enum { VMS = 2, QUEUES = 2, LIVES = 12, STEPS = 600, SECTORS = 64, DEPTH = 8 };
enum { CPU_WORK = VMS, CPU_INTERRUPTS, CPUS = CPU_INTERRUPTS + QUEUES };

#define RINGS  0x1000
#define HEADER 0x7000
#define STATUS 0x7f00
#define DATA   0x8000
#define BAR    0xc0000000u
#define V1     (UINT64_C(1) << 32)

extern const struct device_class virtio_blk_class;

/* --- processors --- */

uint64_t tsc_hz = UINT64_C(1) << 50; /* nothing takes too long */
static uint64_t tsc;
static bool all_done; /* atomic */

uint64_t test_tsc(void)
{
    return __atomic_add_fetch(&tsc, 16, __ATOMIC_RELAXED);
}

/* Threads may be more than processors; but who yields too often gets nowhere on a busy machine. */
static void relax(void)
{
    static __thread unsigned count;

    if (++count % 200 == 0)
        sched_yield();
}

static struct percpu cpus[CPUS];

static void become(unsigned n)
{
    cpus[n].self = &cpus[n];
    cpus[n].number = n;
    assert_int_equal(syscall(SYS_arch_prctl, ARCH_SET_GS, &cpus[n]), 0);
}

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*seed >> 33);
}

/* --- the drive --- */

static struct disk_unit unit;
static struct disk drive;
static uint8_t medium[VMS * SECTORS * 512];
static struct {
    uint64_t given, seed;
    unsigned finished;
} hardware[QUEUES];

static int start_slot(struct disk_queue *q, unsigned slot)
{
    hardware[q->number].given |= BIT(slot);
    return 0;
}

static void move(const struct block_request *r)
{
    uint8_t *at = medium + r->sector * 512;

    for (unsigned i = 0; i < r->count && r->op <= BLOCK_WRITE; i++) {
        uint8_t *memory = (uint8_t *)r->segments[i].address;
        memcpy(r->op == BLOCK_READ ? memory : at, r->op == BLOCK_READ ? at : memory,
               r->segments[i].length);
        at += r->segments[i].length;
    }
}

static void collect(struct disk_queue *q)
{
    uint64_t *given = &hardware[q->number].given, *seed = &hardware[q->number].seed;

    if (*given && hardware[q->number].finished >= 50) { /* so that it is never reset in vain */
        hardware[q->number].finished = 0;
        disk_want_reset(q, true);
        return;
    }
    for (unsigned slot = 0; slot < DEPTH; slot++)
        if (*given >> slot & 1 && next_random(seed) % 2) {
            *given &= ~BIT(slot);
            hardware[q->number].finished++;
            move(q->slots[slot].request);
            disk_finish(q, slot, 0);
        }
}

static int reset_unit(struct disk_unit *u, bool begin)
{
    for (unsigned i = 0; i < QUEUES; i++)
        hardware[i].given = 0;
    return 0;
}

static void cut(struct disk_unit *u)
{
}

static const struct disk_ops ops = {start_slot, collect, reset_unit, cut};

static void *interrupts(void *arg)
{
    unsigned n = (unsigned)(uintptr_t)arg;

    become(CPU_INTERRUPTS + n);
    while (!__atomic_load_n(&all_done, __ATOMIC_ACQUIRE)) {
        disk_interrupt(&unit.queues[n]);
        relax();
    }
    return NULL;
}

static void *look_after(void *arg)
{
    become(CPU_WORK);
    while (!__atomic_load_n(&all_done, __ATOMIC_ACQUIRE)) {
        (void)disks_work();
        relax();
    }
    return NULL;
}

/* --- what devices ask of a board --- */

static struct vm {
    struct board board;
    struct device_list devices;
    struct bus_view view;
    struct driver driver;
    struct block_slice slice;
    struct device_disk_counts counts;
    uint64_t seed, pin_seed;
    uint8_t expected[SECTORS];
    bool known[SECTORS];
    unsigned done, failed;
} vms[VMS];

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
    return test_tsc();
}

uint64_t device_tsc_hz(struct device *d)
{
    return 1000000;
}

void device_timer_set(struct device *d, unsigned timer, uint64_t deadline)
{
    (void)bus_timer_set(&d->board->bus, d, timer, deadline);
}

/* Who calls this is about to leave the device, which may be taken from under him if nobody knows.
 */
void device_timer_soon(struct device *d, unsigned timer)
{
    for (unsigned i = 0; i < 20; i++)
        sched_yield();
    device_timer_set(d, timer, device_now(d));
}

int device_memory_read(struct device *d, uint64_t gpa, void *data, size_t size)
{
    assert_true(gpa + size <= MOCK_MEMORY);
    memcpy(data, d->board->memory + gpa, size);
    return 0;
}

int device_memory_write(struct device *d, uint64_t gpa, const void *data, size_t size)
{
    assert_true(gpa + size <= MOCK_MEMORY);
    memcpy(d->board->memory + gpa, data, size);
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

/* Now and then others have it pinned as often as can be. */
int device_memory_pin(struct device *d, uint64_t gpa, uint64_t size, bool write, paddr *address,
                      uint64_t *length)
{
    struct vm *vm = CONTAINER_OF(d->board, struct vm, board);

    if (next_random(&vm->pin_seed) % 20 == 0) /* with the device's lock held */
        return -EAGAIN;
    *address = (paddr)d->board->memory + gpa;
    *length = MIN(size, PAGE_SIZE - gpa % PAGE_SIZE);
    __atomic_fetch_add(&d->board->pins, 1, __ATOMIC_RELAXED);
    return 0;
}

void device_memory_unpin(struct device *d, paddr address, uint64_t length)
{
    __atomic_fetch_sub(&d->board->pins, 1, __ATOMIC_RELAXED);
}

/* --- a VM --- */

static void close_block(struct block_device *b)
{
}

static int open_block(void *context, const char *text, size_t length, struct device_disk *out,
                      char *error)
{
    *out = (struct device_disk){.block = context,
                                .close = close_block,
                                .counts = &CONTAINER_OF(context, struct vm, slice.device)->counts};
    return 0;
}

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    *length = 5;
    return index == 0 ? "ram:x" : NULL;
}

static uint64_t in(struct vm *vm, uint32_t at, unsigned size)
{
    uint64_t value;

    assert_true(bus_mmio_read(&vm->board.bus, &vm->view, BAR + at, size, &value));
    return value;
}

static void out(struct vm *vm, uint32_t at, unsigned size, uint64_t value)
{
    assert_true(bus_mmio_write(&vm->board.bus, &vm->view, BAR + at, size, value));
}

/* Its driver resets the disk, which takes as long as something is in flight, and starts it. */
static void start(struct vm *vm)
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

    bus_port_write(&vm->board.bus, 0xcf8, 4, 0x80000804);
    bus_port_write(&vm->board.bus, 0xcfc, 2, 6);
    out(vm, 0x14, 1, 0);
    while (in(vm, 0x14, 1))
        relax();
    driver_init(&vm->driver, &vm->board, false, DRIVER_SIZE, RINGS);
    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
        out(vm, steps[i].at, steps[i].size, steps[i].value);
    assert_int_equal(in(vm, 0x14, 1), 0xf);
}

/* Guest memory is what the device's lock guards here; a guest's would be atomic. */
static struct device *disk(struct vm *vm)
{
    return device_list_find(&vm->devices, &virtio_blk_class, 0);
}

/* Up to four requests, one sector each, and what has become of them. */
static void transfer(struct vm *vm)
{
    unsigned count = 1 + next_random(&vm->seed) % 4, sector[4], left = count, at[DRIVER_SIZE];
    bool write = next_random(&vm->seed) % 2;
    struct device *d = disk(vm);
    uint8_t value[4];
    uint32_t w;

    device_lock(d);
    for (unsigned i = 0; i < count; i++) {
        sector[i] = (next_random(&vm->seed) % (SECTORS / 4)) * 4 + i;
        value[i] = (uint8_t)next_random(&vm->seed);
        struct driver_segment s[3] = {
            {HEADER + 16 * i, 16, false}, {DATA + 512 * i, 512, !write}, {STATUS + i, 1, true}};
        driver_put(&vm->driver, HEADER + 16 * i, write, 8);
        driver_put(&vm->driver, HEADER + 16 * i + 8, sector[i], 8);
        memset(vm->board.memory + DATA + 512 * i, write ? value[i] : 0xdd, 512);
        vm->board.memory[STATUS + i] = 0xee;
        int id = driver_offer(&vm->driver, s, 3, false);
        assert_true(id >= 0);
        at[id] = i;
    }
    device_unlock(d);
    out(vm, 0x3000, 2, 0);
    if (next_random(&vm->seed) % 40 == 0) { /* and it is reset meanwhile */
        for (unsigned i = 0; i < count && write; i++)
            vm->known[sector[i]] = false;
        start(vm);
        return;
    }
    while (left) {
        int id;

        bus_run_timers(&vm->board.bus, test_tsc());
        device_lock(d);
        while ((id = driver_take(&vm->driver, &w)) >= 0) {
            unsigned i = at[id], s = sector[i];
            uint8_t status = vm->board.memory[STATUS + i];

            assert_true(status <= 1);
            vm->done++;
            vm->failed += status;
            if (status == 0 && !write && vm->known[s])
                for (unsigned n = 0; n < 512; n++)
                    assert_int_equal(vm->board.memory[DATA + 512 * i + n], vm->expected[s]);
            if (write) {
                vm->known[s] = status == 0;
                vm->expected[s] = value[i];
            }
            left--;
        }
        device_unlock(d);
        relax();
    }
}

static void save(struct vm *vm)
{
    static __thread uint8_t data[65536];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    struct state_reader r = {.data = data};

    while (!bus_idle(&vm->board.bus, false))
        relax();
    bus_save(&vm->board.bus, &w);
    while (!bus_idle(&vm->board.bus, true))
        relax();
    bus_reset(&vm->board.bus);
    r.size = w.used;
    assert_int_equal(bus_load(&vm->board.bus, &r), 0);
}

static void begin_life(struct vm *vm)
{
    static const struct device_class *const classes[] = {&pci_class, &virtio_blk_class};
    const struct device_host host = {
        .context = &vm->slice.device, .line = line, .disk = open_block};
    struct device_setup s = {.board = &vm->board, .bus = &vm->board.bus, .host = &host};

    bus_init(&vm->board.bus);
    vm->view = (struct bus_view){0};
    vm->devices = (struct device_list){0};
    assert_int_equal(device_list_fill(&vm->devices, classes, 2, &s), 0);
    bus_reset(&vm->board.bus);
    start(vm);
}

/* Whatever is in flight. */
static void end_life(struct vm *vm)
{
    while (!bus_idle(&vm->board.bus, true))
        relax();
    bus_reset(&vm->board.bus);
    assert_int_equal(__atomic_load_n(&vm->board.pins, __ATOMIC_RELAXED), 0);
    bus_destroy(&vm->board.bus);
    device_list_destroy(&vm->devices);
}

/* Requests that nobody takes back: the VM ends. */
static void leave_some(struct vm *vm)
{
    struct device *d = disk(vm);

    device_lock(d);
    for (unsigned i = 0; i < 4; i++) {
        struct driver_segment s[3] = {{HEADER, 16, false}, {DATA, 512, true}, {STATUS, 1, true}};
        driver_put(&vm->driver, HEADER, 0, 8);
        driver_put(&vm->driver, HEADER + 8, 0, 8);
        assert_true(driver_offer(&vm->driver, s, 3, false) >= 0);
    }
    device_unlock(d);
    out(vm, 0x3000, 2, 0);
}

static void *run(void *arg)
{
    struct vm *vm = arg;

    become((unsigned)(vm - vms));
    for (unsigned life = 0; life < LIVES; life++) {
        begin_life(vm);
        for (unsigned i = 0; i < STEPS / LIVES; i++) {
            transfer(vm);
            if (next_random(&vm->seed) % 20 == 0)
                save(vm);
        }
        leave_some(vm);
        end_life(vm);
    }
    return NULL;
}

static void test_two_vms_and_a_drive(void **state)
{
    uint64_t sectors[2] = {0, 0};
    pthread_t threads[CPUS];
    struct disk_stats stats;

    assert_int_equal(disk_unit_init(&unit, &ops, QUEUES, DEPTH), 0);
    unit.interrupting = true;
    drive.block = (struct block_device){.sectors = VMS * SECTORS,
                                        .logical_block = 512,
                                        .physical_block = 512,
                                        .max_sectors = 16,
                                        .max_segments = 4,
                                        .segment_align = 1,
                                        .highest_address = UINT64_MAX,
                                        .has_flush = true};
    assert_int_equal(disk_add(&unit, &drive), 0);
    disk_unit_add(&unit);
    for (unsigned i = 0; i < VMS; i++) {
        vms[i].seed = i + 1;
        assert_int_equal(
            block_slice_init(&vms[i].slice, &drive.block, "part", i * SECTORS, SECTORS), 0);
    }
    for (unsigned i = 0; i < CPUS; i++)
        pthread_create(&threads[i], NULL,
                       i < VMS         ? run
                       : i == CPU_WORK ? look_after
                                       : interrupts,
                       i < VMS ? (void *)&vms[i] : (void *)(uintptr_t)(i - CPU_INTERRUPTS));
    for (unsigned i = 0; i < VMS; i++)
        pthread_join(threads[i], NULL);
    __atomic_store_n(&all_done, true, __ATOMIC_RELEASE);
    for (unsigned i = VMS; i < CPUS; i++)
        pthread_join(threads[i], NULL);
    disk_stats(&drive, &stats);
    assert_int_equal(stats.given + stats.waiting, 0);
    for (unsigned i = 0; i < VMS; i++) {
        const struct device_disk_counts *c = &vms[i].counts;

        assert_int_equal(c->in_flight, 0);
        sectors[0] += c->read_sectors;
        sectors[1] += c->written_sectors;
        assert_true(c->reads + c->writes + c->errors >= vms[i].done);
        assert_true(vms[i].done > STEPS / 2);
        assert_true(vms[i].failed < vms[i].done / 10);
    }
    assert_true(unit.resets > 0);
    assert_false(drive.lost);
    assert_int_equal(__atomic_load_n(&reports, __ATOMIC_SEQ_CST), 0);
    free(unit.queues);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_vms_and_a_drive)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
