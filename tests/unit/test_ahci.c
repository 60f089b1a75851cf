/* links: drivers/ahci.c drivers/ata_identify.c drivers/disk.c drivers/disk_queue.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/tsc.h"
#include "drivers/ahci.h"
#include "tests/unit/dma_model.h"

#define RAM       (1 * MIB)
#define SECTORS   1024u
#define LISTS_AT  0x1000
#define TABLES_AT 0x8000

uint64_t tsc_hz = 1000000;
static uint64_t now;
static uint8_t ram[RAM] __attribute__((aligned(8)));

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

/* --- a model of a controller with one port --- */

static struct {
    uint32_t ghc, is, bohc;
    uint32_t clb, fb, pxis, pxie, cmd, tfd, sctl, ssts, sig, serr, ci;
    uint16_t id[256];
    uint8_t medium[SECTORS][512];
    int64_t bad;
    unsigned mute;         /* so many commands are never answered */
    bool gone, bios_stays; /* the controller reads as ones */
    bool stuck;            /* BSY until the link is reset */
    bool no_link;          /* for good, from the next reset of the link on */
    unsigned commands, link_resets, flushes, starts;
    uint32_t muted; /* slots */
    bool waits;     /* nothing is done before the test says so */
    bool clears_ci; /* of a command that has failed, too */
    bool goes_on;   /* with the next one behind it; PxCMD.CCS is 0 always */
} m;

static uint32_t get32(uint64_t at)
{
    uint32_t v;

    memcpy(&v, ram + at, 4);
    return v;
}

/* One command; false when it fails. */
static bool carry_out(unsigned slot)
{
    uint64_t header = m.clb + slot * 32, table = get32(header + 8);
    const uint8_t *fis = ram + table;
    uint32_t flags = get32(header), prds = flags >> 16, count = fis[12] | (uint32_t)fis[13] << 8;
    uint64_t lba = fis[4] | fis[5] << 8 | (uint64_t)fis[6] << 16;
    uint64_t prd = table + 0x80, at = 0;
    uint32_t left = 0;
    bool write = flags >> 6 & 1;

    m.commands++;
    (void)dma_reach(header, 32, DMA_READ | DMA_WRITE);
    (void)dma_reach(table, 0x80 + 16 * prds, DMA_READ);
    assert_int_equal(fis[0], 0x27);
    assert_int_equal(fis[1], 0x80);
    assert_int_equal(flags & 0x1f, 5);
    switch (fis[2]) {
    case ATA_FLUSH_EXT:
        m.flushes++;
        return m.bad != 7;
    case ATA_IDENTIFY:
        assert_int_equal(get32(prd + 12) + 1, 512);
        memcpy(ram + dma_reach(get32(prd), 512, DMA_WRITE), m.id, 512);
        return true;
    case ATA_READ_DMA_EXT:
    case ATA_WRITE_DMA_EXT:
    case ATA_WRITE_DMA_FUA_EXT:
        lba |= (uint64_t)fis[8] << 24;
        break;
    case ATA_READ_DMA:
    case ATA_WRITE_DMA:
        count = count ? count : 256;
        lba |= (uint64_t)(fis[7] & 0xf) << 24;
        break;
    default:
        fail_msg("command %x", fis[2]);
    }
    for (; count; count--, lba++) {
        if ((int64_t)lba == m.bad)
            return false;
        for (unsigned i = 0; i < 512; i += 2) {
            if (!left) {
                assert_true(prds-- > 0);
                at = get32(prd);
                left = get32(prd + 12) + 1;
                prd += 16;
            }
            if (write)
                memcpy(&m.medium[lba][i], ram + dma_reach(at, 2, DMA_READ), 2);
            else
                memcpy(ram + dma_reach(at, 2, DMA_WRITE), &m.medium[lba][i], 2);
            at += 2;
            left -= 2;
        }
    }
    assert_int_equal(prds, 0);
    assert_int_equal(left, 0);
    return true;
}

static void work(void)
{
    for (unsigned slot = 0; slot < 32 && !m.waits; slot++) {
        if (!(m.ci >> slot & 1) || (m.muted >> slot & 1) || !(m.cmd & 1) ||
            ((m.tfd & ATA_ERR) && !m.goes_on))
            continue;
        if (m.mute) {
            m.mute--;
            m.muted |= 1u << slot;
            continue;
        }
        if (carry_out(slot)) {
            m.ci &= ~(1u << slot);
            m.tfd = 0x50;
            m.pxis |= 1;
        } else {
            m.ci &= ~((uint32_t)m.clears_ci << slot);
            m.tfd = 0x40 << 8 | 0x51;
            m.pxis |= 1u << 30;
        }
        m.is |= 1;
    }
}

uint64_t model_read(const struct io *io, unsigned offset, unsigned size)
{
    offset += (unsigned)io->base;
    assert_int_equal(size, 4);
    if (m.gone)
        return UINT32_MAX;
    switch (offset) {
    case 0x00:
        return 0x80000000 | 31 << 8; /* 64 bits, 32 slots */
    case 0x04:
        return m.ghc;
    case 0x08:
        return m.is;
    case 0x0c:
        return 1;
    case 0x24:
        return 1;
    case 0x28:
        if ((m.bohc & 2) && !m.bios_stays)
            m.bohc &= ~1u;
        return m.bohc;
    case 0x100 + 0x10:
        return m.pxis;
    case 0x100 + 0x14:
        return m.pxie;
    case 0x100 + 0x18:
        return m.cmd | (m.cmd & 1 ? 0x8000 : 0) | (m.cmd & 0x10 ? 0x4000 : 0);
    case 0x100 + 0x20:
        return m.stuck ? 0x80 : m.tfd;
    case 0x100 + 0x24:
        return m.sig;
    case 0x100 + 0x28:
        return m.ssts;
    case 0x100 + 0x2c:
        return m.sctl;
    case 0x100 + 0x38:
        work();
        return m.ci;
    default:
        fail_msg("read of %x", offset);
    }
    return 0;
}

void model_write(const struct io *io, unsigned offset, unsigned size, uint64_t value)
{
    uint32_t v = (uint32_t)value;

    offset += (unsigned)io->base;
    assert_int_equal(size, 4);
    if (m.gone)
        return;
    switch (offset) {
    case 0x04:
        m.ghc = v;
        break;
    case 0x08:
        m.is &= ~v;
        if (m.pxis & m.pxie)
            m.is |= 1; /* and interrupts once more */
        break;
    case 0x28:
        m.bohc = v;
        break;
    case 0x100 + 0x00:
        assert_false(m.cmd & 0x11); /* nothing runs on the old one */
        m.clb = v;
        break;
    case 0x100 + 0x08:
        assert_false(m.cmd & 0x11);
        m.fb = v;
        break;
    case 0x100 + 0x04:
    case 0x100 + 0x0c:
        assert_int_equal(v, 0);
        break;
    case 0x100 + 0x10:
        m.pxis &= ~v;
        break;
    case 0x100 + 0x14:
        m.pxie = v;
        break;
    case 0x100 + 0x18:
        if (!(v & 1) && (m.cmd & 1)) {
            m.ci = m.muted = 0;
            m.tfd = 0x50;
        }
        if ((v & 1) && !(m.cmd & 1)) {
            assert_true(v & 0x10);
            assert_false(m.stuck);
            m.starts++;
        }
        m.cmd = v & ~0xc000u; /* which says what is running */
        break;
    case 0x100 + 0x2c:
        if ((m.sctl & 0xf) == 1 && (v & 0xf) == 0) {
            m.link_resets++;
            m.stuck = false;
            if (m.no_link)
                m.ssts = 0;
        }
        m.sctl = v;
        break;
    case 0x100 + 0x30:
        m.serr &= ~v;
        break;
    case 0x100 + 0x38:
        assert_true(m.cmd & 1);
        m.ci |= v;
        break;
    default:
        fail_msg("write of %x", offset);
    }
}

/* --- the driver on it --- */

static struct ahci a;
static struct ahci_port *p;
static struct ahci_port ports[40];
static unsigned used;

static int setup(void **state)
{
    memset(&m, 0, sizeof(m));
    memset(ram, 0xee, sizeof(ram));
    memset(ram + LISTS_AT, 0, 4096);
    memset(ram + TABLES_AT, 0, 32768);
    m.bad = -1;
    m.bohc = 1;
    m.cmd = 0x11; /* as firmware left it */
    m.tfd = 0x50;
    m.ssts = 0x113;
    m.sig = 0x101;
    m.id[49] = 0x300;
    m.id[60] = SECTORS;
    m.id[83] = 0x7400;
    m.id[84] = 0x4040;
    m.id[100] = SECTORS;
    for (unsigned s = 0; s < SECTORS; s++)
        memset(m.medium[s], (int)(s * 3), 512);
    a = (struct ahci){.registers = {.base = 0, .size = 0x1000}};
    p = &ports[used++];
    p->lists = ram + LISTS_AT;
    p->lists_at = LISTS_AT;
    p->tables = ram + TABLES_AT;
    p->tables_at = TABLES_AT;
    p->unit.dma = &dma_of_model;
    dma_model_reset();
    dma_model_own(LISTS_AT, 4096);
    dma_model_own(TABLES_AT, 32768);
    return 0;
}

static void init(void)
{
    assert_int_equal(ahci_init(&a), 0);
    assert_true(m.ghc >> 31);
    assert_int_equal(a.ports, 1);
    assert_true(ahci_port_there(&a, 0));
    assert_int_equal(ahci_port_init(&a, 0, p, "sata0"), 0);
    m.commands = m.starts = 0;
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
    error = disk_do(&p->disk.block, &r, wait);
    dma_model_is_idle();
    return error;
}

static const struct block_segment pieces[] = {{0x20000, 1024}, {0x2fe00, 1024}, {0x40202, 512}};

static void check_read(void)
{
    for (unsigned i = 0; i < 1024; i++) {
        assert_int_equal(ram[0x20000 + i], (uint8_t)((20 + i / 512) * 3));
        assert_int_equal(ram[0x2fe00 + i], (uint8_t)((22 + i / 512) * 3));
    }
    assert_int_equal(ram[0x40202], 24 * 3);
    assert_int_equal(ram[0x40401], 24 * 3);
    assert_int_equal(ram[0x40402], 0xee);
}

static void test_reads_writes_flushes(void **state)
{
    init();
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3), 0);
    check_read();
    memset(ram + 0x40202, 0x33, 512);
    assert_int_equal(run(BLOCK_WRITE, 100, pieces, 3), 0);
    assert_int_equal(m.medium[104][511], 0x33);
    assert_int_equal(m.medium[105][0], (uint8_t)(105 * 3));
    assert_int_equal(run(BLOCK_FLUSH, 0, NULL, 0), 0);
    assert_int_equal(m.flushes, 1);
    assert_int_equal(m.starts, 0);
    assert_int_equal(m.commands, 3);
}

static void test_firmware_keeps_it(void **state)
{
    m.bios_stays = true;
    init();
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3), 0);
}

static void test_not_a_disk(void **state)
{
    assert_int_equal(ahci_init(&a), 0);
    m.sig = 0xeb140101;
    assert_int_equal(ahci_port_init(&a, 0, p, "sata0"), -ENODEV);
    assert_false(m.cmd & 0x11); /* what we hold is ours again */
    setup(NULL);
    m.ssts = 1;
    assert_int_equal(ahci_init(&a), 0);
    assert_false(ahci_port_there(&a, 0));
    assert_false(m.cmd & 0x11);
    m.gone = true;
    assert_int_equal(ahci_init(&a), -ENODEV);
}

static void test_limits(void **state)
{
    static struct block_segment many[AHCI_SEGMENTS + 1], odd = {0x20001, 512};

    init();
    for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
        many[i] = (struct block_segment){0x20000 + 512 * i, 512};
    assert_int_equal(run(BLOCK_READ, 20, many, AHCI_SEGMENTS + 1), -EINVAL);
    assert_int_equal(run(BLOCK_READ, 20, many, AHCI_SEGMENTS), 0);
    assert_int_equal(ram[0x20000 + 512 * AHCI_SEGMENTS - 1], (uint8_t)((19 + AHCI_SEGMENTS) * 3));
    assert_int_equal(run(BLOCK_READ, 20, &odd, 1), -EINVAL);
}

/* Whatever the unit still has to do: the next test's has the same registers. */
static void settle(void)
{
    for (unsigned i = 0; i < 10; i++) {
        disks_work();
        wait();
    }
    assert_int_equal(p->unit.state, DISK_RUNS);
}

static unsigned backs, good;

static void done(struct block_request *r, int error)
{
    backs++;
    good += !error;
}

/* Some of many fail: those alone come back with an error, the others behind restarts. */
static void many(int64_t bad)
{
    static struct block_request r[40];
    static struct block_segment s[40];

    init();
    m.bad = bad;
    m.waits = true;
    backs = good = 0;
    for (unsigned i = 0; i < 40; i++) {
        s[i] = (struct block_segment){0x20000 + 512 * i, 512};
        r[i] = (struct block_request){.op = BLOCK_READ,
                                      .sector = i,
                                      .sectors = 1,
                                      .count = 1,
                                      .segments = &s[i],
                                      .done = done};
        block_submit(&p->disk.block, &r[i]);
    }
    m.waits = false;
    for (unsigned i = 0; i < 100 && backs < 40; i++) {
        for (unsigned n = 0; n < 100 && (!n || m.is); n++)
            ahci_interrupt(&a);
        assert_int_equal(m.is, 0); /* or it would interrupt for ever */
        disks_work();
        wait();
    }
    assert_int_equal(backs, 40);
    assert_int_equal(good, 39);
    assert_int_equal(m.starts, 2);      /* together, and the one that fails once more, alone */
    assert_int_equal(m.link_resets, 1); /* nothing may be under way behind the first */
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(ram[0x20000 + 512 * i], i == bad ? 0xee : i * 3);
}

static void test_bad_sector_among_many(void **state)
{
    for (int64_t bad = 0; bad < 32; bad += 31) {
        for (unsigned how = 0; how < 4; how++) {
            setup(NULL);
            m.clears_ci = how & 1;
            m.goes_on = how & 2;
            many(bad);
            settle();
        }
    }
}

/* Nothing is under way beside a FLUSH: it has failed, or it has not. */
static void test_flush_alone(void **state)
{
    static struct block_request r[4];
    static const unsigned ops[] = {BLOCK_READ, BLOCK_FLUSH, BLOCK_FLUSH, BLOCK_READ};
    static const struct block_segment s = {0x20000, 512};

    init();
    m.waits = true;
    backs = good = 0;
    for (unsigned i = 0; i < 4; i++) {
        r[i] = (struct block_request){.op = (uint8_t)ops[i], .done = done};
        if (ops[i] == BLOCK_READ) {
            r[i].sectors = r[i].count = 1;
            r[i].segments = &s;
        }
        block_submit(&p->disk.block, &r[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(m.ci, 1);
        assert_int_equal(backs, i);
        m.waits = false;
        work();
        m.waits = true;
        ahci_interrupt(&a);
    }
    assert_int_equal(good, 4);
    assert_int_equal(m.flushes, 2);
    settle();
}

/* Some clear a command's bit when it has failed, too: that is no success. */
static void test_bit_of_a_failed_command(void **state)
{
    init();
    m.clears_ci = true;
    m.bad = 7;
    assert_int_equal(run(BLOCK_FLUSH, 0, NULL, 0), -EIO);
    assert_int_equal(run(BLOCK_READ, 7, pieces, 1), -EIO);
    /* Also when the error is there before it is looked for. */
    m.waits = true;
    backs = good = 0;
    block_submit(&p->disk.block, &(struct block_request){.op = BLOCK_FLUSH, .done = done});
    m.waits = false;
    work();
    ahci_interrupt(&a);
    settle();
    assert_int_equal(backs, 1);
    assert_int_equal(good, 0);
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3), 0);
    check_read();
}

static void test_interrupts(void **state)
{
    init();
    assert_true(m.ghc & 2);
    assert_int_not_equal(m.pxie, 0);
    m.pxis = 0x40000001;
    m.is = 1;
    m.tfd = 0x51;
    ahci_interrupt(&a); /* nobody waits; the cause goes all the same */
    assert_int_equal(m.pxis, 0);
    assert_int_equal(m.is, 0);
    settle();
    assert_int_equal(m.starts, 1); /* it had stopped at an error */
}

static void test_answers_late(void **state)
{
    init();
    m.mute = 1;
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3), 0);
    check_read();
    assert_int_equal(m.link_resets, 1);
}

static void test_answers_never(void **state)
{
    init();
    m.mute = 1000;
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3), -ETIMEDOUT);
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3), -EIO);
    assert_true(p->disk.lost);
    assert_false(m.cmd & 0x11); /* it writes to no memory any more */
}

static void test_stuck(void **state)
{
    init();
    m.mute = 1;
    m.stuck = true;
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3), 0);
    check_read();
}

static void test_unplugged(void **state)
{
    init();
    m.mute = 1;
    m.no_link = true;
    m.ssts = 0;
    m.pxis = 1u << 22;
    m.is = 1;
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3), -EIO);
    assert_true(p->disk.lost);
    setup(NULL);
    init();
    m.gone = true;
    assert_int_equal(run(BLOCK_READ, 20, pieces, 3), -EIO);
    assert_true(p->disk.lost);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reads_writes_flushes),
        TEST(test_firmware_keeps_it),
        TEST(test_not_a_disk),
        TEST(test_limits),
        TEST(test_bad_sector_among_many),
        TEST(test_flush_alone),
        TEST(test_bit_of_a_failed_command),
        TEST(test_interrupts),
        TEST(test_answers_late),
        TEST(test_answers_never),
        TEST(test_stuck),
        TEST(test_unplugged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
