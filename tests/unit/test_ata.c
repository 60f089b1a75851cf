/* links: drivers/ata.c drivers/ata_identify.c drivers/disk.c drivers/disk_queue.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/tsc.h"
#include "drivers/ata.h"
#include "mm/heap.h"
#include "tests/unit/dma_model.h"

#define RAM     (1 * MIB)
#define SECTORS 1024u
#define PRDS_AT 0x1000

uint64_t tsc_hz = 1000000;
static uint64_t now;
static uint8_t ram[RAM];

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

/* --- a model of a channel with its drives --- */

struct drive {
    bool present, atapi;
    uint16_t id[256];
    uint8_t medium[SECTORS][512];
};

static struct {
    struct drive drives[2];
    bool no_master;
    uint8_t reg[8], high[8]; /* what was written, and the time before */
    uint8_t status, error, control;
    uint8_t master_command, master_status;
    uint32_t prds;
    /* The command under way. */
    uint8_t command;
    uint64_t lba;
    uint32_t left; /* sectors */
    uint16_t buffer[256];
    unsigned at;      /* words of the buffer that have been moved; 256: none is there */
    unsigned latency; /* reads of a status until a command is done */
    unsigned waits;
    unsigned drains, draining; /* looks for which it is busy behind the data of a DMA command */
    /* What it suffers from. */
    int64_t bad;         /* a sector that cannot be read or written; -1 */
    unsigned crc_errors; /* so many */
    bool mute, gone, stuck;
    bool short_pio, no_reset;
    unsigned resets, flushes, modes, commands;
    uint8_t mode;
    bool in_reset;
    bool touched_in_reset;
} m;

static struct drive *chosen(void)
{
    struct drive *d = &m.drives[m.reg[6] >> 4 & 1];

    return d->present ? d : NULL;
}

static bool wide(uint8_t command)
{
    return command == ATA_READ_EXT || command == ATA_READ_DMA_EXT || command == ATA_WRITE_EXT ||
           command == ATA_WRITE_DMA_EXT || command == ATA_WRITE_DMA_FUA_EXT;
}

static bool writes(uint8_t command)
{
    return command == ATA_WRITE || command == ATA_WRITE_EXT || command == ATA_WRITE_DMA ||
           command == ATA_WRITE_DMA_EXT || command == ATA_WRITE_DMA_FUA_EXT;
}

static bool by_dma(uint8_t command)
{
    return command == ATA_READ_DMA || command == ATA_READ_DMA_EXT || command == ATA_WRITE_DMA ||
           command == ATA_WRITE_DMA_EXT || command == ATA_WRITE_DMA_FUA_EXT;
}

static void fail_with(uint8_t error)
{
    m.status = 0x50 | ATA_ERR;
    m.error = error;
    m.command = 0;
    m.master_status |= 4;
}

static void begin(uint8_t command)
{
    struct drive *d = chosen();

    m.commands++;
    if (!d)
        return;
    if (m.stuck) {
        m.status = ATA_BSY;
        return;
    }
    m.command = command;
    m.at = 256;
    m.error = 0;
    m.waits = m.latency;
    m.status = ATA_BSY;
    m.lba = m.reg[3] | m.reg[4] << 8 | (uint64_t)m.reg[5] << 16;
    if (wide(command)) {
        m.lba |= (uint64_t)m.high[3] << 24 | (uint64_t)m.high[4] << 32;
        m.left = m.reg[2] | (uint32_t)m.high[2] << 8;
        m.left = m.left ? m.left : 65536;
    } else {
        m.lba |= (uint64_t)(m.reg[6] & 0xf) << 24;
        m.left = command == ATA_IDENTIFY ? 1 : m.reg[2] ? m.reg[2] : 256;
    }
}

static void end_dma(void)
{
    m.status = 0x50;
    m.command = 0;
    m.master_status |= 4;
}

/* All of a DMA command at once. */
static void move_dma(struct drive *d)
{
    uint64_t prd = 0;
    uint32_t at = m.prds, in_prd = 0;

    for (; m.left; m.left--, m.lba++) {
        if ((int64_t)m.lba == m.bad) {
            fail_with(0x40);
            return;
        }
        for (unsigned i = 0; i < 512; i += 2) {
            if (!in_prd) {
                assert_false(prd >> 63);
                memcpy(&prd, ram + dma_reach(at, 8, DMA_READ), 8);
                at += 8;
                in_prd = prd >> 32 & 0xffff;
                in_prd = in_prd ? in_prd : 65536;
                assert_int_equal((prd & 0xffff) + in_prd > 65536, 0);
            }
            if (writes(m.command))
                memcpy(&d->medium[m.lba][i], ram + dma_reach((uint32_t)prd, 2, DMA_READ), 2);
            else
                memcpy(ram + dma_reach((uint32_t)prd, 2, DMA_WRITE), &d->medium[m.lba][i], 2);
            prd += 2;
            in_prd -= 2;
        }
    }
    assert_true(prd >> 63 && !in_prd);
    m.master_status &= (uint8_t)~1;
    m.draining = m.drains;
    if (!m.draining)
        end_dma();
}

static void next_block(struct drive *d)
{
    if (!m.left || (m.short_pio && m.left == 1)) {
        m.status = 0x50;
        m.command = 0;
        return;
    }
    if ((int64_t)m.lba == m.bad) {
        fail_with(0x40);
        return;
    }
    if (m.command == ATA_IDENTIFY)
        memcpy(m.buffer, d->id, 512);
    else
        memcpy(m.buffer, d->medium[m.lba], 512);
    m.at = 0;
    m.status = 0x58;
}

/* The time goes on with each look. */
static void advance(void)
{
    struct drive *d = chosen();

    if (!m.command || !d || m.mute || m.at < 256)
        return;
    if (m.waits) {
        m.waits--;
        return;
    }
    if (m.draining) {
        if (!--m.draining)
            end_dma();
        return;
    }
    if (d->atapi) {
        fail_with(4);
    } else if (m.command == ATA_FLUSH || m.command == ATA_FLUSH_EXT) {
        m.flushes++;
        m.status = 0x50;
        m.command = 0;
        if (m.bad == 7)
            fail_with(0x40);
    } else if (m.command == ATA_SET_FEATURES) {
        assert_int_equal(m.reg[1], 3);
        m.modes++;
        m.mode = m.reg[2];
        m.status = 0x50;
        m.command = 0;
    } else if (m.crc_errors && by_dma(m.command)) {
        m.crc_errors--;
        fail_with(0x84);
    } else if (by_dma(m.command)) {
        if (m.master_command & 1)
            move_dma(d);
    } else {
        next_block(d);
    }
}

static uint8_t read_status(void)
{
    if (m.gone)
        return 0xff;
    if (m.in_reset || m.no_reset) {
        m.touched_in_reset |= m.in_reset;
        return ATA_BSY;
    }
    if (!chosen())
        return 0;
    advance();
    return m.status;
}

uint64_t model_read(const struct io *io, unsigned offset, unsigned size)
{
    if (io->base == 0x3f6)
        return read_status();
    if (io->base == 0xc000)
        return offset == 2 ? m.master_status : offset == 0 ? m.master_command : 0;
    assert_int_equal(io->base, 0x1f0);
    if (m.gone)
        return 0xffff;
    switch (offset) {
    case 0: {
        uint16_t word = m.buffer[m.at++];

        assert_int_equal(size, 2);
        if (m.at == 256) {
            m.left--;
            m.lba++;
            m.status = ATA_BSY;
            m.waits = m.latency;
        }
        return word;
    }
    case 1:
        return m.error;
    case 7:
        return read_status();
    default:
        return chosen() ? m.reg[offset] : 0;
    }
}

void model_write(const struct io *io, unsigned offset, unsigned size, uint64_t value)
{
    if (io->base == 0x3f6) {
        if (m.control & 4 && !(value & 4)) {
            m.in_reset = false;
            m.status = 0x50;
            m.mode = 0;
        }
        if (value & 4) {
            m.in_reset = true;
            m.resets++;
            m.stuck = false;
            m.command = 0;
            m.at = 256;
        }
        m.control = (uint8_t)value;
        return;
    }
    if (io->base == 0xc000) {
        assert_false(m.no_master);
        if (offset == 0) {
            m.master_command = (uint8_t)value;
            m.master_status = (uint8_t)((m.master_status & ~1) | (value & 1));
        } else if (offset == 2) {
            m.master_status = (uint8_t)((m.master_status & ~(value & 6) & ~0x60) | (value & 0x60));
        } else {
            assert_int_equal(size, 4);
            m.prds = (uint32_t)value;
        }
        return;
    }
    assert_int_equal(io->base, 0x1f0);
    if (offset == 7) {
        begin((uint8_t)value);
    } else if (offset == 0) {
        assert_int_equal(size, 2);
        assert_true(m.at < 256);
        m.buffer[m.at++] = (uint16_t)value;
        if (m.at == 256) {
            memcpy(chosen()->medium[m.lba], m.buffer, 512);
            m.left--;
            m.lba++;
            m.status = ATA_BSY;
            m.waits = m.latency;
        }
    } else {
        m.high[offset] = m.reg[offset];
        m.reg[offset] = (uint8_t)value;
    }
}

/* --- a channel of the driver's on it --- */

static struct ata_channel *c;
static unsigned first_disk, backs;
static int last_error;

static void make_id(struct drive *d)
{
    static const char model[] = "oMed loN7.                              ",
                      serial[] = " S2  3      ";

    memset(d->id, 0, sizeof(d->id));
    for (unsigned i = 0; i < 20; i++)
        d->id[27 + i] = (uint16_t)(model[2 * i] | model[2 * i + 1] << 8);
    for (unsigned i = 0; i < 10; i++)
        d->id[10 + i] = 0x2020;
    for (unsigned i = 0; i < 6; i++)
        d->id[10 + i] = (uint16_t)(serial[2 * i] | serial[2 * i + 1] << 8);
    d->id[49] = 0x300;
    d->id[53] = 6;
    d->id[60] = SECTORS;
    d->id[83] = 0x7400;
    d->id[84] = 0x4040;
    d->id[88] = 0x203f;
    d->id[100] = SECTORS;
}

static int setup(void **state)
{
    memset(&m, 0, sizeof(m));
    m.bad = -1;
    m.latency = 5;
    m.status = 0x50;
    m.master_status = 0x60;
    m.drives[0].present = true;
    make_id(&m.drives[0]);
    make_id(&m.drives[1]);
    for (unsigned d = 0; d < 2; d++)
        for (unsigned s = 0; s < SECTORS; s++)
            memset(m.drives[d].medium[s], (int)(s * 3 + d), 512);
    memset(ram, 0xee, sizeof(ram));
    c = heap_alloc(sizeof(*c));
    c->command = (struct io){.base = 0x1f0, .size = 8, .ports = true};
    c->control = (struct io){.base = 0x3f6, .size = 1, .ports = true};
    c->master = (struct io){.base = 0xc000, .size = 8, .ports = true};
    c->prds = phys_to_virt(PRDS_AT);
    c->prds_at = PRDS_AT;
    c->unit.dma = &dma_of_model;
    dma_model_reset();
    dma_model_own(PRDS_AT, PAGE_SIZE);
    for (first_disk = 0; disk_get(first_disk);)
        first_disk++;
    backs = 0;
    return 0;
}

static void init(void)
{
    assert_int_equal(ata_channel_init(c, 1), 0);
    assert_int_equal(m.control, 0);
}

static void done(struct block_request *r, int error)
{
    backs++;
    last_error = error;
}

static void wait(void)
{
    now += tsc_hz / 1000;
}

static int run(unsigned drive, unsigned op, uint64_t sector, const struct block_segment *segments,
               unsigned count)
{
    struct block_request r = {.op = (uint8_t)op,
                              .sector = sector,
                              .count = (uint16_t)count,
                              .segments = segments,
                              .done = done};
    int error;

    for (unsigned i = 0; i < count; i++)
        r.sectors += segments[i].length / 512;
    error = disk_do(&c->drives[drive].disk.block, &r, wait);
    dma_model_is_idle();
    return error;
}

/* Three pieces, one of them across 64 KiB and one at an odd word. */
static const struct block_segment pieces[] = {{0x20000, 1024}, {0x2fe00, 1024}, {0x40202, 512}};

static void check_read(void)
{
    for (unsigned i = 0; i < 1024; i++) {
        assert_int_equal(ram[0x20000 + i], (uint8_t)((20 + i / 512) * 3));
        assert_int_equal(ram[0x2fe00 + i], (uint8_t)((22 + i / 512) * 3));
    }
    assert_int_equal(ram[0x40202], 24 * 3);
    assert_int_equal(ram[0x40401], 24 * 3);
    assert_int_equal(ram[0x1ffff], 0xee);
    assert_int_equal(ram[0x20400], 0xee);
    assert_int_equal(ram[0x40201], 0xee);
    assert_int_equal(ram[0x40402], 0xee);
}

static void check_written(void)
{
    memset(ram + 0x20000, 0x11, 1024);
    memset(ram + 0x2fe00, 0x22, 1024);
    memset(ram + 0x40202, 0x33, 512);
    assert_int_equal(run(0, BLOCK_WRITE, 100, pieces, 3), 0);
    for (unsigned i = 0; i < 512; i++) {
        assert_int_equal(m.drives[0].medium[99][i], (uint8_t)(99 * 3));
        assert_int_equal(m.drives[0].medium[101][i], 0x11);
        assert_int_equal(m.drives[0].medium[102][i], 0x22);
        assert_int_equal(m.drives[0].medium[104][i], 0x33);
        assert_int_equal(m.drives[0].medium[105][i], (uint8_t)(105 * 3));
    }
}

static void test_identity(void **state)
{
    struct ata_identity id;
    uint16_t w[256];

    memcpy(w, m.drives[0].id, sizeof(w));
    assert_int_equal(ata_identify(w, &id), 0);
    assert_string_equal(id.model, "Model No.7");
    assert_string_equal(id.serial, "S  23");
    assert_int_equal(id.sectors, SECTORS);
    assert_true(id.lba48 && id.dma && id.fua && id.flush && id.flush_ext);
    assert_int_equal(id.transfer_mode, 0x45);
    w[100] = 0;
    w[102] = 0x10;
    assert_int_equal(ata_identify(w, &id), 0);
    assert_int_equal(id.sectors, 0x1000000000);
    w[106] = 0x6003; /* eight logical blocks a physical one */
    assert_int_equal(ata_identify(w, &id), 0);
    assert_int_equal(id.physical_block, 4096);
    w[106] = 0x5000;
    w[117] = 2048;
    assert_int_equal(ata_identify(w, &id), 0);
    assert_int_equal(id.logical_block, 4096);
    assert_int_equal(id.sectors, 0x8000000000);
    w[117] = 260; /* 520 bytes */
    assert_int_equal(ata_identify(w, &id), -ENOTSUP);
    w[106] = 0xd000; /* the word does not count */
    assert_int_equal(ata_identify(w, &id), 0);
    assert_int_equal(id.logical_block, 512);
    w[103] = 0xffff;
    assert_int_equal(ata_identify(w, &id), -ENOTSUP);
    w[103] = 0;
    w[49] = 0;
    assert_int_equal(ata_identify(w, &id), -ENOTSUP);
    memset(w, 0xff, sizeof(w));
    assert_int_equal(ata_identify(w, &id), -ENOTSUP);
    heap_free(c);
}

static void test_tasks(void **state)
{
    const struct ata_identity old = {.flush = true}, new = {.lba48 = true, .flush_ext = true};
    struct ata_task t;

    ata_task(&old, &(struct block_request){.op = BLOCK_READ, .sector = 0x1234567, .sectors = 256},
             0, true, &t);
    assert_int_equal(t.command, ATA_READ_DMA);
    assert_int_equal(t.device, 0x41);
    assert_int_equal(t.count, 0);
    ata_task(&new, &(struct block_request){.op = BLOCK_WRITE, .sector = 0xfffffff, .sectors = 1}, 0,
             true, &t);
    assert_int_equal(t.command, ATA_WRITE_DMA); /* the last one that 28 bits reach */
    ata_task(&new, &(struct block_request){.op = BLOCK_WRITE, .sector = 0xfffffff, .sectors = 2}, 0,
             true, &t);
    assert_int_equal(t.command, ATA_WRITE_DMA_EXT);
    assert_int_equal(t.device, 0x40);
    ata_task(&new, &(struct block_request){.op = BLOCK_READ, .sector = 8, .sectors = 16}, 3, false,
             &t);
    assert_int_equal(t.command, ATA_READ);
    assert_int_equal(t.lba, 1);
    assert_int_equal(t.count, 2);
    ata_task(&new, &(struct block_request){.op = BLOCK_WRITE, .flags = BLOCK_FUA, .sectors = 8}, 0,
             true, &t);
    assert_int_equal(t.command, ATA_WRITE_DMA_FUA_EXT);
    ata_task(&new, &(struct block_request){.op = BLOCK_FLUSH}, 0, true, &t);
    assert_int_equal(t.command, ATA_FLUSH_EXT);
    ata_task(&old, &(struct block_request){.op = BLOCK_FLUSH}, 0, true, &t);
    assert_int_equal(t.command, ATA_FLUSH);
    heap_free(c);
}

static void test_finds_drives(void **state)
{
    m.drives[1].present = true;
    init();
    assert_ptr_equal(disk_get(first_disk), &c->drives[0].disk);
    assert_string_equal(disk_get(first_disk)->block.name, "ata2");
    assert_string_equal(disk_get(first_disk + 1)->block.name, "ata3");
    assert_null(disk_get(first_disk + 2));
    assert_true(disk_get(first_disk)->block.has_fua);
}

static void test_finds_none(void **state)
{
    m.drives[0].present = false;
    assert_int_equal(ata_channel_init(c, 0), -ENODEV);
    m.drives[0].present = true;
    m.drives[0].atapi = true;
    assert_int_equal(ata_channel_init(c, 0), -ENODEV);
    m.gone = true;
    assert_int_equal(ata_channel_init(c, 0), -ENODEV);
    m.gone = false;
    m.mute = true;
    assert_int_equal(ata_channel_init(c, 0), -ENODEV);
    assert_null(disk_get(first_disk));
    heap_free(c); /* the others have units, which are never forgotten */
}

static void test_dma(void **state)
{
    init();
    m.commands = 0;
    assert_int_equal(run(0, BLOCK_READ, 20, pieces, 3), 0);
    check_read();
    check_written();
    assert_int_equal(run(0, BLOCK_FLUSH, 0, NULL, 0), 0);
    assert_int_equal(m.flushes, 1);
    assert_int_equal(m.commands, 3);
    assert_int_equal(m.master_status, 0x60); /* firmware's note stays */
    assert_int_equal(m.resets, 0);
}

static void test_pio(void **state)
{
    m.no_master = true;
    c->master.size = 0;
    init();
    assert_false(c->drives[0].disk.block.has_fua);
    assert_int_equal(run(0, BLOCK_READ, 20, pieces, 3), 0);
    check_read();
    check_written();
    assert_int_equal(run(0, BLOCK_FLUSH, 0, NULL, 0), 0);
    assert_int_equal(m.flushes, 1);
}

static void test_second_drive(void **state)
{
    m.drives[1].present = true;
    init();
    assert_int_equal(run(1, BLOCK_READ, 20, pieces, 1), 0);
    assert_int_equal(ram[0x20000], 61);
    assert_int_equal(run(0, BLOCK_READ, 20, pieces, 1), 0);
    assert_int_equal(ram[0x20000], 60);
}

static void test_much_at_once(void **state)
{
    const struct block_segment one = {0x80000 - 512, 128 * 1024};

    init();
    assert_int_equal(run(0, BLOCK_READ, 0, &one, 1), 0);
    assert_int_equal(ram[0x80000 - 512 + 255 * 512], (uint8_t)(255 * 3));
    assert_int_equal(c->prds[2] >> 63, 1); /* 512 bytes, 64 KiB, the rest */
    assert_int_equal(c->prds[1] >> 32, 0);
}

/* Memory that the controller cannot address: whoever asks for it has not looked at the limits. */
static void test_memory_out_of_reach(void **state)
{
    static const struct block_segment high = {4 * GIB, 512}, odd = {0x20001, 512};

    init();
    m.commands = 0;
    assert_int_equal(run(0, BLOCK_READ, 0, &high, 1), -EINVAL);
    assert_int_equal(run(0, BLOCK_READ, 0, &odd, 1), -EINVAL);
    assert_int_equal(m.commands, 0);
}

static void test_bad_sector(void **state)
{
    init();
    m.bad = 22;
    assert_int_equal(run(0, BLOCK_READ, 20, pieces, 3), -EIO);
    assert_int_equal(run(0, BLOCK_READ, 23, pieces, 3), 0);
    c->master.size = 0;
    assert_int_equal(run(0, BLOCK_READ, 20, pieces, 3), -EIO);
    assert_int_equal(run(0, BLOCK_READ, 23, pieces, 3), 0);
    assert_int_equal(m.resets, 0);
    m.bad = 7;
    assert_int_equal(run(0, BLOCK_FLUSH, 0, NULL, 0), -EIO);
}

static void test_errors_on_the_cable(void **state)
{
    init();
    m.crc_errors = 2;
    assert_int_equal(run(0, BLOCK_READ, 20, pieces, 3), 0);
    check_read();
    m.crc_errors = 3;
    assert_int_equal(run(0, BLOCK_READ, 20, pieces, 3), -EIO);
}

static void test_answers_never(void **state)
{
    init();
    m.mute = true;
    assert_int_equal(run(0, BLOCK_READ, 20, pieces, 3), -EIO);
    assert_int_equal(m.resets, 4); /* and one that it is left in */
    assert_true(c->drives[0].disk.lost);
    assert_true(m.control & 4); /* it is held in reset */
}

static void test_comes_back_after_a_reset(void **state)
{
    init();
    m.stuck = true;
    assert_int_equal(run(0, BLOCK_READ, 20, pieces, 3), 0);
    check_read();
    assert_int_equal(m.resets, 1);
    assert_int_equal(m.mode, 0x45); /* it has forgotten, and is told again */
    assert_false(m.touched_in_reset);
}

static void test_reset_never_ends(void **state)
{
    init();
    m.no_reset = true;
    assert_int_equal(run(0, BLOCK_WRITE, 20, pieces, 3), -EIO);
    assert_true(c->drives[0].disk.lost);
}

static void test_unplugged(void **state)
{
    init();
    m.gone = true;
    assert_int_equal(run(0, BLOCK_READ, 20, pieces, 3), -EIO);
    assert_true(c->drives[0].disk.lost);
    assert_int_equal(m.resets, 0);
}

/* Less than was asked for. */
static void test_short_pio(void **state)
{
    c->master.size = 0;
    init();
    m.short_pio = true;
    assert_int_equal(run(0, BLOCK_READ, 20, pieces, 3), -EIO);
    assert_true(m.resets > 0);
    m.short_pio = false;
    assert_int_equal(run(0, BLOCK_READ, 20, pieces, 3), 0);
    check_read();
}

/* It has the data, and writes yet: the bus master's work is done before the command is. */
static void test_busy_behind_the_data(void **state)
{
    init();
    m.drains = 50;
    assert_int_equal(run(0, BLOCK_WRITE, 100, pieces, 3), 0);
    assert_int_equal(m.draining, 0);
    assert_int_equal(m.resets, 0);
}

static void test_stray_interrupt(void **state)
{
    init();
    m.master_status |= 4;
    disk_interrupt(&c->unit.queues[0]);
    assert_false(m.master_status & 4);
    assert_int_equal(backs, 0);
}

/* The machine has room for one more of the two: that one works. The last test: no room is left. */
static void test_more_than_there_is_room_for(void **state)
{
    static struct disk others[DISKS_MAX];
    static struct disk_unit nobodys;

    for (unsigned i = first_disk; i < DISKS_MAX - 1; i++)
        assert_int_equal(disk_add(&nobodys, &others[i]), 0);
    m.drives[1].present = true;
    init();
    assert_ptr_equal(disk_get(DISKS_MAX - 1), &c->drives[0].disk);
    assert_true(c->drives[0].present);
    assert_false(c->drives[1].present);
    assert_int_equal(run(0, BLOCK_READ, 20, pieces, 3), 0);
    check_read();
    setup(NULL);
    assert_int_equal(ata_channel_init(c, 1), -ENOSPC);
    heap_free(c);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_identity),
        TEST(test_tasks),
        TEST(test_finds_drives),
        TEST(test_finds_none),
        TEST(test_dma),
        TEST(test_pio),
        TEST(test_second_drive),
        TEST(test_much_at_once),
        TEST(test_memory_out_of_reach),
        TEST(test_bad_sector),
        TEST(test_errors_on_the_cable),
        TEST(test_answers_never),
        TEST(test_comes_back_after_a_reset),
        TEST(test_reset_never_ends),
        TEST(test_unplugged),
        TEST(test_short_pio),
        TEST(test_busy_behind_the_data),
        TEST(test_stray_interrupt),
        TEST(test_more_than_there_is_room_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
