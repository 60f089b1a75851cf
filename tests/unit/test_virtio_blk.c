/* links: drivers/virtio_blk.c drivers/virtio.c drivers/disk.c drivers/disk_queue.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/tsc.h"
#include "drivers/virtio_blk.h"
#include "tests/unit/dma_model.h"
#include "tests/unit/host_virtio.h"

#define RAM     (1 * MIB)
#define SECTORS 1024u

uint64_t tsc_hz = 1000000;
static uint64_t now;
static uint8_t ram[RAM] __attribute__((aligned(4096)));

uint64_t test_tsc(void)
{
    return now++;
}

void tsc_delay_us(uint64_t us)
{
    now += us;
}

void *phys_to_virt(paddr pa)
{
    assert_true(pa < RAM);
    return ram + pa;
}

/* --- a model of the device --- */

static struct {
    uint32_t block_size;
    uint64_t sectors;
    uint8_t medium[SECTORS][512];
    int64_t bad;
    unsigned mute, flushes;
    bool gone, twice, stray, waits, silent; /* silent: no status is written */
} m;

static struct queue *const q = &registers.queue[0];

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

static void give_back(uint16_t id)
{
    uint32_t element[2] = {id, 1};

    memcpy(ram + dma_reach(q->used_ring + 4 + q->used % q->size * 8, 8, DMA_WRITE), element, 8);
    q->used++;
    memcpy(ram + q->used_ring + 2, &q->used, 2);
}

static uint8_t data(const struct descriptor *d, unsigned count, uint64_t sector, bool write)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(d[i].flags & 2, write ? 0 : 2);
        for (uint32_t at = 0; at < d[i].length; at += 512, sector++) {
            if ((int64_t)sector == m.bad)
                return 1;
            assert_true(sector < SECTORS);
            if (write)
                memcpy(m.medium[sector], ram + dma_reach(d[i].address + at, 512, DMA_READ), 512);
            else
                memcpy(ram + dma_reach(d[i].address + at, 512, DMA_WRITE), m.medium[sector], 512);
        }
    }
    return 0;
}

static void carry_out(uint16_t id)
{
    struct descriptor ring, table[64];
    uint32_t type, count;
    uint64_t sector;
    uint8_t status = 0;

    memcpy(&ring, ram + q->descriptors + id * 16, 16);
    assert_int_equal(ring.flags, 4);
    count = ring.length / 16;
    assert_true(count >= 2 && count <= 62);
    memcpy(table, ram + dma_reach(ring.address, ring.length, DMA_READ), ring.length);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(table[i].flags & 1, i + 1 < count);
        if (i + 1 < count)
            assert_int_equal(table[i].next, i + 1);
    }
    assert_int_equal(table[0].length, 16);
    assert_int_equal(table[count - 1].length, 1);
    assert_int_equal(table[count - 1].flags, 2);
    memcpy(&type, ram + table[0].address, 4);
    memcpy(&sector, ram + table[0].address + 8, 8);
    if (type == 8)
        memcpy(ram + dma_reach(table[1].address, 20, DMA_WRITE), "SERIAL-7\0ignored....", 20);
    else if (type == 4)
        m.flushes++, status = m.bad == 7;
    else
        status = data(table + 1, count - 2, sector, type == 1);
    if (!m.silent)
        ram[dma_reach(table[count - 1].address, 1, DMA_WRITE)] = status;
    give_back(id);
    if (m.twice)
        give_back(id);
}

static void work(void)
{
    uint16_t index;

    if (!(registers.status & 4) || m.waits)
        return;
    memcpy(&index, ram + q->available + 2, 2);
    for (; q->seen != index; q->seen++) {
        uint16_t id;

        memcpy(&id, ram + q->available + 4 + q->seen % q->size * 2, 2);
        if (m.mute) {
            m.mute--;
            continue;
        }
        carry_out(id);
        if (m.stray) {
            give_back(0xfff0);
            give_back(63);
        }
    }
}

uint64_t model_read(const struct io *io, unsigned offset, unsigned size)
{
    if (m.gone)
        return UINT64_MAX;
    if (io->base == DEVICE)
        return offset == 0    ? m.sectors
               : offset == 12 ? 100
               : offset == 20 ? m.block_size
               : offset == 34 ? 1
                              : 0;
    assert_int_equal(io->base, COMMON);
    return read_common(offset);
}

void model_write(const struct io *io, unsigned offset, unsigned size, uint64_t value)
{
    if (m.gone)
        return;
    if (io->base == NOTIFY) {
        (void)write_notify(offset, size, value);
        work();
        return;
    }
    assert_int_equal(io->base, COMMON);
    write_common(offset, value);
    assert_int_equal(registers.config_vector, VIRTIO_NO_VECTOR);
}

/* --- the driver on it --- */

static struct virtio_blk devices[20], *v;
static unsigned used;

static int setup(void **state)
{
    memset(&m, 0, sizeof(m));
    memset(ram, 0xee, sizeof(ram));
    m.bad = -1;
    m.sectors = SECTORS;
    m.block_size = 512;
    host_virtio_begin(1,
                      BIT(2) | BIT(6) | BIT(9) | BIT(12) | BIT(28) | BIT(29) | BIT(32) | BIT(34));
    for (unsigned s = 0; s < SECTORS; s++)
        memset(m.medium[s], (int)(s * 3), 512);
    v = &devices[used++];
    host_virtio_place(&v->virtio, 0x40);
    v->vectors = true;
    v->queues = 1;
    v->queue[0].ring.ring = ram + 0x2000;
    v->queue[0].ring.ring_at = 0x2000;
    v->queue[0].tables = ram + 0x10000;
    v->queue[0].tables_at = 0x10000;
    v->unit.dma = &dma_of_model;
    dma_model_reset();
    dma_model_own(0x2000, 2 * PAGE_SIZE);
    dma_model_own(0x10000, DISK_SLOTS * VIRTIO_TABLE);
    return 0;
}

static void init(void)
{
    assert_int_equal(virtio_blk_init(v, "virtio0"), 0);
    registers.resets = 0;
}

static void wait(void)
{
    now += tsc_hz / 1000;
}

static int run(unsigned op, uint64_t sector, const struct block_segment *segments, unsigned count)
{
    struct block_request r = {
        .op = (uint8_t)op, .sector = sector, .count = (uint16_t)count, .segments = segments};
    int error;

    for (unsigned i = 0; i < count; i++)
        r.sectors += segments[i].length / 512;
    error = disk_do(&v->disk.block, &r, wait);
    dma_model_is_idle();
    return error;
}

static const struct block_segment pieces[] = {{0x30001, 1024}, {0x40203, 512}};

static void test_what_it_is(void **state)
{
    init();
    assert_string_equal(v->disk.block.serial, "SERIAL-7");
    assert_int_equal(v->disk.block.sectors, SECTORS);
    assert_true(v->disk.block.has_flush);
    assert_false(v->disk.block.read_only);
    assert_int_equal(v->disk.block.max_segments, VIRTIO_SEGMENTS);
    assert_int_equal(registers.accepted, BIT(2) | BIT(6) | BIT(9) | BIT(12) | BIT(28) | BIT(32));
    assert_int_equal(q->vector, 0);
}

static void test_reads_writes_flushes(void **state)
{
    init();
    for (unsigned i = 0; i < 300; i++) { /* more than once around */
        assert_int_equal(run(BLOCK_READ, 20, pieces, 2), 0);
        assert_int_equal(ram[0x30001], 60);
        assert_int_equal(ram[0x40203 + 511], 66);
        assert_int_equal(ram[0x40203 + 512], 0xee);
    }
    memset(ram + 0x40203, 0x33, 512);
    assert_int_equal(run(BLOCK_WRITE, 100, pieces, 2), 0);
    assert_int_equal(m.medium[102][511], 0x33);
    assert_int_equal(m.medium[103][0], (uint8_t)(103 * 3));
    assert_int_equal(run(BLOCK_FLUSH, 0, NULL, 0), 0);
    assert_int_equal(m.flushes, 1);
    assert_int_equal(registers.resets, 0);
}

static void test_errors(void **state)
{
    init();
    m.bad = 7;
    assert_int_equal(run(BLOCK_READ, 6, pieces, 2), -EIO);
    assert_int_equal(run(BLOCK_FLUSH, 0, NULL, 0), -EIO);
    m.bad = -1;
    m.silent = true;
    assert_int_equal(run(BLOCK_READ, 6, pieces, 2), -EIO);
    assert_int_equal(registers.resets, 0);
}

static void test_answers_that_nobody_waits_for(void **state)
{
    init();
    m.twice = m.stray = true;
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(run(BLOCK_READ, 20, pieces, 2), 0);
    disk_interrupt(&v->unit.queues[0]);
    assert_int_equal(v->unit.queues[0].strays, 600);
}

static unsigned backs;

static void done(struct block_request *r, int error)
{
    assert_int_equal(error, 0);
    backs++;
}

static void test_many(void **state)
{
    static struct block_request r[300];

    init();
    m.waits = true;
    backs = 0;
    for (unsigned i = 0; i < 300; i++) {
        r[i] = (struct block_request){.op = BLOCK_READ,
                                      .sector = i,
                                      .sectors = 3,
                                      .count = 2,
                                      .segments = pieces,
                                      .done = done};
        block_submit(&v->disk.block, &r[i]);
    }
    m.waits = false;
    for (unsigned i = 0; i < 20; i++) {
        work();
        disk_interrupt(&v->unit.queues[0]);
    }
    assert_int_equal(backs, 300);
}

static void test_answers_late_or_never(void **state)
{
    init();
    m.mute = 1;
    assert_int_equal(run(BLOCK_READ, 20, pieces, 2), 0);
    assert_int_equal(registers.resets, 1);
    m.mute = 1000;
    assert_int_equal(run(BLOCK_READ, 20, pieces, 2), -ETIMEDOUT);
    assert_int_equal(run(BLOCK_READ, 20, pieces, 2), -EIO);
    assert_true(v->disk.lost);
    assert_int_equal(registers.status, 0);
}

static void test_needs_reset(void **state)
{
    uint64_t before;

    init();
    before = now;
    m.mute = 1;
    registers.status |= 0x40;
    assert_int_equal(run(BLOCK_READ, 20, pieces, 2), 0);
    assert_int_equal(registers.resets, 1);
    assert_true(now - before < tsc_hz * 2);
}

static void test_gone(void **state)
{
    init();
    m.gone = true;
    assert_int_equal(run(BLOCK_READ, 20, pieces, 2), -EIO);
    assert_true(v->disk.lost);
}

static void test_devices_that_cannot_be_used(void **state)
{
    registers.offered &= ~BIT(32);
    assert_int_equal(virtio_blk_init(v, "virtio0"), -ENOTSUP);
    setup(NULL);
    registers.refuses = true;
    assert_int_equal(virtio_blk_init(v, "virtio0"), -ENOTSUP);
    setup(NULL);
    registers.no_reset = true;
    assert_int_equal(virtio_blk_init(v, "virtio0"), -EIO);
    setup(NULL);
    m.block_size = 1000;
    assert_int_equal(virtio_blk_init(v, "virtio0"), -ENOTSUP);
    setup(NULL);
    m.sectors = 0;
    assert_int_equal(virtio_blk_init(v, "virtio0"), -ENOTSUP);
    setup(NULL);
    m.mute = 1; /* not even its serial number: the first slot is the device's for good */
    assert_int_equal(virtio_blk_init(v, "virtio0"), -ETIMEDOUT);
    assert_int_equal(registers.status, 0);
    setup(NULL);
    v->virtio.notify.size = 13; /* its place is at 12 */
    assert_int_equal(virtio_blk_init(v, "virtio0"), -EIO);
    assert_int_equal(registers.status, 0);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_it_is),
        TEST(test_reads_writes_flushes),
        TEST(test_errors),
        TEST(test_answers_that_nobody_waits_for),
        TEST(test_many),
        TEST(test_answers_late_or_never),
        TEST(test_needs_reset),
        TEST(test_gone),
        TEST(test_devices_that_cannot_be_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
