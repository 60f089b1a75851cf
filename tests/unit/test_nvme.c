/* links: drivers/nvme.c drivers/disk.c drivers/disk_queue.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <asm/prctl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/percpu.h"
#include "arch/x86/tsc.h"
#include "drivers/nvme.h"
#include "tests/unit/dma_model.h"

#define RAM     (4 * MIB)
#define SECTORS 4096u
#define QUEUES  3 /* that the controller grants */

uint64_t tsc_hz = 1000000;
static uint64_t now;
static uint8_t ram[RAM] __attribute__((aligned(4096)));
static struct percpu cpu;

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

/* --- a model of a controller with two namespaces, one of which is used --- */

struct model_queue {
    bool made;
    uint64_t sq, cq;
    uint16_t head, tail, cq_tail;
    uint8_t phase;
};

static struct {
    uint32_t cc, csts, aqa;
    uint64_t cap, asq, acq;
    struct model_queue queue[QUEUES + 1];
    uint8_t medium[SECTORS][512];
    int64_t bad;
    unsigned mute, mute_admin; /* commands that are not answered */
    unsigned busy;             /* commands that are to be tried again */
    bool gone, twice, never_ready, waits, no_disable;
    uint32_t refused, silent; /* namespaces of which nothing is said, not even that */
    unsigned enables, flushes, commands, fua;
    uint8_t metadata, shift;
    uint64_t stale; /* an answer that comes after a reset */
} m;

static void complete(unsigned n, uint16_t id, uint32_t result, uint32_t status)
{
    struct model_queue *q = &m.queue[n];
    uint32_t *at = (uint32_t *)(ram + dma_reach(q->cq + q->cq_tail * 16, 16, DMA_WRITE));

    at[0] = result;
    at[2] = n << 16 | q->head;
    at[3] = id | status << 17 | (uint32_t)q->phase << 16;
    if (++q->cq_tail == NVME_DEPTH) {
        q->cq_tail = 0;
        q->phase ^= 1;
    }
}

static void identify(uint32_t what, uint32_t nsid, uint8_t *page)
{
    memset(page, 0, 4096);
    if (what == 1) {
        memcpy(page + 4, "SERIAL  7           ", 20);
        memcpy(page + 24, "A model                                 ", 40);
        page[77] = 5; /* 128 KiB at once */
        page[525] = 1;
    } else if (what == 2) {
        memcpy(page, ((uint32_t[]){1, 5}), 8);
    } else {
        uint64_t size = SECTORS >> (m.shift - 9);

        memcpy(page, &size, 8);
        page[26] = 1;
        page[128 + 4] = nsid == 5 ? 8 : m.metadata;
        page[128 + 6] = m.shift;
    }
}

static void admin(const uint32_t *c)
{
    uint16_t id = (uint16_t)(c[0] >> 16);
    uint64_t prp = c[6] | (uint64_t)c[7] << 32;
    unsigned n = c[10] & 0xffff;

    switch (c[0] & 0xff) {
    case 0x09:
        assert_int_equal(c[10], 7);
        complete(0, id, (QUEUES - 1) << 16 | (QUEUES - 1), 0);
        return;
    case 0x06:
        if (c[1] && c[1] == m.silent)
            return;
        if (c[1] && c[1] == m.refused) {
            complete(0, id, 0, 6);
            return;
        }
        identify(c[10], c[1], ram + dma_reach(prp, 4096, DMA_WRITE));
        break;
    case 0x05:
        assert_true(n >= 1 && n <= QUEUES && c[10] >> 16 == NVME_DEPTH - 1);
        assert_int_equal(c[11] & 3, 3);
        assert_int_equal(c[11] >> 16, n); /* its vector */
        m.queue[n].cq = prp;
        break;
    case 0x01:
        assert_true(n >= 1 && n <= QUEUES && m.queue[n].cq && c[11] == (n << 16 | 1));
        m.queue[n].sq = prp;
        m.queue[n].made = true;
        m.queue[n].phase = 1;
        break;
    default:
        fail_msg("admin command %x", c[0]);
    }
    complete(0, id, 0, 0);
}

/* The page at which byte `at` of the transfer lies. */
static uint8_t *data_at(const uint32_t *c, uint64_t at, uint64_t size)
{
    uint64_t prp1 = c[6] | (uint64_t)c[7] << 32, prp2 = c[8] | (uint64_t)c[9] << 32;
    uint64_t offset = prp1 % 4096, page = (offset + at) / 4096,
             pages = (offset + size + 4095) / 4096;
    unsigned rights = (c[0] & 0xff) == 1 ? DMA_READ : DMA_WRITE;

    if (!page)
        return ram + dma_reach(prp1 + at, 4, rights);
    if (pages > 2)
        memcpy(&prp2, ram + dma_reach(prp2 + 8 * (page - 1), 8, DMA_READ), 8);
    assert_int_equal(prp2 % 4096, 0);
    return ram + dma_reach(prp2 + (offset + at) % 4096, 4, rights);
}

static uint32_t transfer(const uint32_t *c)
{
    uint64_t lba = c[10] | (uint64_t)c[11] << 32;
    uint64_t size = ((c[12] & 0xffff) + 1ull) << m.shift;

    lba <<= m.shift - 9;
    for (uint64_t at = 0; at < size; at += 4) {
        uint64_t sector = lba + at / 512;

        if ((int64_t)sector == m.bad)
            return 0x281; /* of the medium: unrecovered read error */
        assert_true(sector < SECTORS);
        if ((c[0] & 0xff) == 1)
            memcpy(&m.medium[sector][at % 512], data_at(c, at, size), 4);
        else
            memcpy(data_at(c, at, size), &m.medium[sector][at % 512], 4);
    }
    return 0;
}

static void io(unsigned n, const uint32_t *c)
{
    uint16_t id = (uint16_t)(c[0] >> 16);
    uint32_t status = 0;

    m.commands++;
    assert_int_equal(c[1], 1);
    if (m.mute) {
        m.mute--;
        m.stale = (uint64_t)n << 32 | id;
        return;
    }
    if (m.busy) {
        m.busy--;
        complete(n, id, 0, 6); /* internal error */
        return;
    }
    if ((c[0] & 0xff) == 0) {
        m.flushes++;
        status = m.bad == 7 ? 0x280 : 0;
    } else {
        m.fua += c[12] >> 30 & 1;
        status = transfer(c);
    }
    complete(n, id, 0, status);
    if (m.twice)
        complete(n, id, 0, status);
}

static void work(void)
{
    for (unsigned n = 0; n <= QUEUES && (m.csts & 1); n++) {
        struct model_queue *q = &m.queue[n];

        while (q->head != q->tail && !(m.waits && n)) {
            const uint32_t *c =
                (const uint32_t *)(ram + dma_reach(q->sq + q->head * 64, 64, DMA_READ));

            q->head = (uint16_t)((q->head + 1) % NVME_DEPTH);
            if (n)
                io(n, c);
            else if (m.mute_admin)
                m.mute_admin--;
            else
                admin(c);
        }
    }
}

uint64_t model_read(const struct io *r, unsigned offset, unsigned size)
{
    assert_int_equal(size, 4);
    if (m.gone)
        return UINT32_MAX;
    switch (offset) {
    case 0x00:
        return (uint32_t)m.cap;
    case 0x04:
        return m.cap >> 32;
    case 0x14:
        return m.cc;
    case 0x1c:
        return m.csts;
    default:
        fail_msg("read of %x", offset);
    }
    return 0;
}

static void enable(void)
{
    memset(m.queue, 0, sizeof(m.queue));
    m.queue[0] = (struct model_queue){true, m.asq, m.acq, 0, 0, 0, 1};
    m.csts = m.never_ready ? 0 : 1;
    m.enables++;
    assert_int_equal(m.aqa, 63 << 16 | 63);
    assert_int_equal(m.cc, 1 | 6 << 16 | 4 << 20);
}

void model_write(const struct io *r, unsigned offset, unsigned size, uint64_t value)
{
    uint32_t v = (uint32_t)value;

    assert_int_equal(size, 4);
    if (m.gone)
        return;
    if (offset >= 0x1000) {
        unsigned bell = (offset - 0x1000) / 8; /* the stride of this one */

        assert_int_equal(offset % 8, 0);
        assert_true(bell / 2 <= QUEUES && v < NVME_DEPTH);
        assert_true(m.queue[bell / 2].made);
        if (!(bell & 1))
            m.queue[bell / 2].tail = (uint16_t)v;
        work();
        return;
    }
    switch (offset) {
    case 0x14:
        if (m.no_disable && !(v & 1))
            break;
        m.cc = v;
        if (v & 1)
            enable();
        else
            m.csts = 0;
        break;
    case 0x24:
        assert_false(m.cc & 1);
        m.aqa = v;
        break;
    case 0x28:
        m.asq = (m.asq & ~0xffffffffull) | v;
        break;
    case 0x2c:
        m.asq = (uint32_t)m.asq | (uint64_t)v << 32;
        break;
    case 0x30:
        m.acq = (m.acq & ~0xffffffffull) | v;
        break;
    case 0x34:
        m.acq = (uint32_t)m.acq | (uint64_t)v << 32;
        break;
    default:
        fail_msg("write of %x", offset);
    }
}

/* --- the driver on it --- */

static struct nvme controllers[40], *n;
static struct nvme_namespace namespaces[80];
static unsigned used, namespaces_used;
static struct block_device *device;

static struct nvme_namespace *new_namespace(void)
{
    return &namespaces[namespaces_used++];
}

static struct nvme_namespace *one_namespace(void)
{
    return n->namespaces[0] ? NULL : new_namespace();
}

static paddr next_page;

static uint8_t *pages(unsigned count, paddr *at)
{
    *at = next_page;
    next_page += count * PAGE_SIZE;
    return ram + *at;
}

static int setup(void **state)
{
    cpu = (struct percpu){.self = &cpu};
    assert_int_equal(syscall(SYS_arch_prctl, ARCH_SET_GS, &cpu), 0);
    memset(&m, 0, sizeof(m));
    memset(ram, 0xee, sizeof(ram));
    m.bad = -1;
    m.shift = 9;
    m.cap = 1023 | 20 << 24 | 1ull << 32 | 1ull << 37;
    m.cc = 1; /* as firmware left it */
    m.csts = 1;
    for (unsigned s = 0; s < SECTORS; s++)
        memset(m.medium[s], (int)(s * 3), 512);
    n = &controllers[used++];
    n->registers = (struct io){.base = 1, .size = 0x4000};
    n->vectors = true;
    n->queues = 5;
    next_page = 0x1000;
    n->page = pages(1, &n->page_at);
    for (unsigned i = 0; i <= n->queues; i++) {
        n->queue[i].submissions = pages(1, &n->queue[i].submissions_at);
        n->queue[i].completions = pages(1, &n->queue[i].completions_at);
        n->queue[i].lists = pages(16, &n->queue[i].lists_at);
    }
    assert_true(next_page <= 0x200000);
    n->unit.dma = &dma_of_model;
    dma_model_reset();
    dma_model_own(0x1000, next_page - 0x1000);
    return 0;
}

static void init(void)
{
    assert_int_equal(nvme_init(n, "nvme0", new_namespace), 0);
    device = &n->namespaces[0]->disk.block;
    m.commands = m.enables = 0;
}

static void wait(void)
{
    now += tsc_hz / 1000;
}

static int run(unsigned op, uint64_t sector, const struct block_segment *segments, unsigned count,
               unsigned flags)
{
    struct block_request r = {.op = (uint8_t)op,
                              .flags = (uint8_t)flags,
                              .sector = sector,
                              .count = (uint16_t)count,
                              .segments = segments};
    int error;

    for (unsigned i = 0; i < count; i++)
        r.sectors += segments[i].length / 512;
    error = disk_do(device, &r, wait);
    dma_model_is_idle();
    return error;
}

/* From within a page, over two whole ones, to within one: a list. */
static const struct block_segment pieces[] = {{0x300e00, 512}, {0x310000, 8192}, {0x320000, 1024}};
/* Two pages in one piece. */
static const struct block_segment two[] = {{0x300e00, 1024}};

static void check_read(void)
{
    for (unsigned i = 0; i < 512; i++) {
        assert_int_equal(ram[0x300e00 + i], 60);
        assert_int_equal(ram[0x310000 + i], 63);
        assert_int_equal(ram[0x311e00 + i], 36 * 3);
        assert_int_equal(ram[0x320200 + i], 38 * 3);
    }
    assert_int_equal(ram[0x300dff], 0xee);
    assert_int_equal(ram[0x301000], 0xee);
    assert_int_equal(ram[0x320400], 0xee);
}

static void test_what_it_is(void **state)
{
    init();
    assert_int_equal(n->queues, QUEUES);
    assert_string_equal(device->name, "nvme0n1");
    assert_string_equal(device->serial, "SERIAL  7");
    assert_string_equal(n->namespaces[0]->disk.model, "A model");
    assert_int_equal(device->sectors, SECTORS);
    assert_int_equal(device->max_sectors, 256);
    assert_true(device->has_flush && device->has_fua && device->no_gaps);
    assert_false(n->namespaces[1]->present); /* it has metadata */
}

static void test_reads_writes_flushes(void **state)
{
    init();
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3, 0), 0);
    check_read();
    memset(ram + 0x300e00, 0x33, 1024);
    assert_int_equal(run(BLOCK_WRITE, 100, two, 1, BLOCK_FUA), 0);
    assert_int_equal(m.medium[100][0], 0x33);
    assert_int_equal(m.medium[101][511], 0x33);
    assert_int_equal(m.medium[102][0], (uint8_t)(102 * 3));
    assert_int_equal(m.fua, 1);
    assert_int_equal(run(BLOCK_FLUSH, 0, NULL, 0, 0), 0);
    assert_int_equal(m.flushes, 1);
    assert_int_equal(m.commands, 3);
    assert_int_equal(m.enables, 0);
}

static void test_blocks_of_4_kib(void **state)
{
    static const struct block_segment page = {0x310000, 4096};

    m.shift = 12;
    init();
    assert_int_equal(device->logical_block, 4096);
    assert_int_equal(device->sectors, SECTORS);
    assert_int_equal(run(BLOCK_READ, 16, &page, 1, 0), 0);
    assert_int_equal(ram[0x310000], 48);
    assert_int_equal(ram[0x310fff], 23 * 3);
    assert_int_equal(run(BLOCK_READ, 17, &page, 1, 0), -EINVAL);
}

static void test_gaps_are_refused(void **state)
{
    static const struct block_segment gap[] = {{0x300000, 512}, {0x310000, 512}},
                                      odd[] = {{0x300002, 512}};

    init();
    assert_int_equal(run(BLOCK_READ, 20, gap, 2, 0), -EINVAL);
    assert_int_equal(run(BLOCK_READ, 20, odd, 1, 0), -EINVAL);
    assert_int_equal(m.commands, 0);
}

static unsigned backs, good;

static void done(struct block_request *r, int error)
{
    backs++;
    good += !error;
}

/* Many from several processors: around the ends of all rings, and more than have room. */
static void test_many(void **state)
{
    static struct block_request r[1000];

    init();
    m.bad = 7;
    backs = good = 0;
    for (unsigned i = 0; i < 1000; i++) {
        cpu.number = i % 7;
        m.waits = i % 200 != 199;
        r[i] = (struct block_request){
            .op = BLOCK_READ, .sector = i, .sectors = 2, .count = 1, .segments = two, .done = done};
        block_submit(device, &r[i]);
        if (!m.waits)
            for (unsigned k = 0; k < 20; k++) {
                work();
                for (unsigned q = 0; q < QUEUES; q++)
                    disk_interrupt(&n->unit.queues[q]);
            }
    }
    m.waits = false;
    for (unsigned k = 0; k < 20 && backs < 1000; k++) {
        work();
        disks_work();
    }
    assert_int_equal(backs, 1000);
    assert_int_equal(good, 998);
    assert_int_equal(m.enables, 0);
    assert_int_equal(n->unit.queues[0].strays, 0);
}

static void test_errors(void **state)
{
    init();
    m.busy = 2;
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3, 0), 0);
    assert_int_equal(m.commands, 3);
    m.busy = 3;
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3, 0), -EIO);
    m.bad = 7;
    m.commands = 0;
    assert_int_equal(run(BLOCK_READ, 7, two, 1, 0), -EIO);
    assert_int_equal(run(BLOCK_FLUSH, 0, NULL, 0, 0), -EIO);
    assert_int_equal(m.commands, 2);
}

static void test_answers_twice(void **state)
{
    init();
    m.twice = true;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(run(BLOCK_READ, 20, two, 1, 0), 0);
    assert_true(n->unit.queues[0].strays >= 99);
    assert_int_equal(m.enables, 0);
}

static void test_answers_late(void **state)
{
    init();
    m.mute = 1;
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3, 0), 0);
    check_read();
    assert_int_equal(m.enables, 1);
    /* What was asked before the reset is answered now. */
    complete((unsigned)(m.stale >> 32), (uint16_t)m.stale, 0, 0);
    disk_interrupt(&n->unit.queues[0]);
    assert_int_equal(n->unit.queues[0].strays, 1);
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3, 0), 0);
    /* Or when the same slot has something else to do. */
    backs = good = 0;
    m.waits = true;
    block_submit(device, &(struct block_request){.op = BLOCK_FLUSH, .done = done});
    complete((unsigned)(m.stale >> 32), (uint16_t)m.stale, 0, 0);
    disk_interrupt(&n->unit.queues[0]);
    assert_int_equal(n->unit.queues[0].strays, 2);
    assert_int_equal(backs, 0);
    m.waits = false;
    work();
    disk_interrupt(&n->unit.queues[0]);
    assert_int_equal(good, 1);
}

static void test_answers_never(void **state)
{
    init();
    m.mute = 1000;
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3, 0), -ETIMEDOUT);
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3, 0), -EIO);
    assert_true(n->namespaces[0]->disk.lost);
    assert_false(m.cc & 1);
}

static void test_fatal(void **state)
{
    init();
    m.mute = 1;
    m.csts |= 2;
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3, 0), 0);
    assert_int_equal(m.enables, 1);
    assert_true(now < 1000000000);
}

static void test_unplugged(void **state)
{
    init();
    m.mute = 1;
    m.gone = true;
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3, 0), -EIO);
    assert_true(n->namespaces[0]->disk.lost);
}

/* The first is looked after though there is no more to know of the second. */
static void check_the_first(struct nvme_namespace *(*namespace_of)(void))
{
    assert_int_equal(nvme_init(n, "nvme0", namespace_of), 0);
    device = &n->namespaces[0]->disk.block;
    m.enables = 0;
    m.mute = 1;
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3, 0), 0);
    check_read();
    assert_int_equal(m.enables, 1);
    assert_null(n->namespaces[1]);
    setup(NULL);
}

static void test_namespaces_that_say_nothing(void **state)
{
    m.refused = 5;
    check_the_first(new_namespace);
    m.silent = 5;
    check_the_first(new_namespace);
    check_the_first(one_namespace);
    m.refused = 1;
    assert_int_equal(nvme_init(n, "nvme0", new_namespace), 0);
    assert_null(n->namespaces[0]);
    assert_false(n->namespaces[1]->present);
    setup(NULL);
    m.silent = 1; /* it may answer yet: nothing else is asked */
    assert_int_equal(nvme_init(n, "nvme0", new_namespace), 0);
    assert_null(n->namespaces[0]);
    assert_null(n->namespaces[1]);
}

/* Doorbells so far apart that the last ones are not mapped. */
static void test_doorbells_out_of_reach(void **state)
{
    m.cap |= 10ull << 32; /* every 8 KiB */
    assert_int_equal(nvme_init(n, "nvme0", new_namespace), -ENOTSUP);
    setup(NULL);
    n->registers.size = 0x1000 + 12 * 8; /* the admin's and five more */
    init();
    setup(NULL);
    n->registers.size = 0x1000 + 12 * 8 - 4;
    assert_int_equal(nvme_init(n, "nvme0", new_namespace), -ENOTSUP);
}

static void test_controllers_that_do_not_start(void **state)
{
    m.never_ready = true;
    assert_int_equal(nvme_init(n, "nvme0", new_namespace), -EIO);
    setup(NULL);
    m.no_disable = true;
    assert_int_equal(nvme_init(n, "nvme0", new_namespace), -EIO);
    setup(NULL);
    m.mute_admin = 1;
    assert_int_equal(nvme_init(n, "nvme0", new_namespace), -EIO);
    setup(NULL);
    m.cap |= 1ull << 48; /* pages of 8 KiB at least */
    assert_int_equal(nvme_init(n, "nvme0", new_namespace), -ENOTSUP);
    setup(NULL);
    m.gone = true;
    assert_int_equal(nvme_init(n, "nvme0", new_namespace), -ENODEV);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_it_is),
        TEST(test_reads_writes_flushes),
        TEST(test_blocks_of_4_kib),
        TEST(test_gaps_are_refused),
        TEST(test_many),
        TEST(test_errors),
        TEST(test_answers_twice),
        TEST(test_answers_late),
        TEST(test_answers_never),
        TEST(test_fatal),
        TEST(test_unplugged),
        TEST(test_namespaces_that_say_nothing),
        TEST(test_doorbells_out_of_reach),
        TEST(test_controllers_that_do_not_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
