/* links: guest/devices/nvme/admin.c guest/devices/nvme/controller.c guest/devices/nvme/features.c guest/devices/nvme/identify.c guest/devices/nvme/io.c guest/devices/nvme/queues.c guest/devices/nvme/state.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c guest/board/msix.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* An NVMe controller of a VM: its queues, its registers and its commands, by a driver that finds it
 * on the bus. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/nvme_driver.h"
#include "tests/unit/boots.h"

static void test_what_is_seen(void **state)
{
    assert_int_equal(config(0, 4), 0x00101b36);
    assert_int_equal(config(PCI_REVISION, 4) >> 8, 0x010802);
    assert_int_equal(config(PCI_BAR0, 4), BAR | 4);
    assert_int_equal(config(PCI_BAR0 + 4, 4), 0);
    assert_int_equal(config(PCI_INTERRUPT_PIN, 1), 1);
    assert_int_equal(config(config(PCI_CAPABILITIES, 1) + 2, 2), 8); /* nine messages */
    config_write(PCI_COMMAND, 2, 2);
    assert_true(in(REG_CAP, 8) == 0x20f00103ffull);
    assert_int_equal(in(REG_CAP + 4, 4), 0x20);
    assert_int_equal(in(8, 4), 0x10400);
    assert_int_equal(in(REG_CSTS, 4), 0);
    assert_int_equal(in(0x38, 8), 0); /* no memory buffers */
    assert_int_equal(in(0x1000, 4), 0);
    enable();
    assert_int_equal(in(REG_CC, 4), 0x460001);
    assert_int_equal(in(REG_ASQ, 8), ADMIN_SQ);
    out(REG_ACQ, 8, 0x9000); /* not while it is on */
    assert_int_equal(in(REG_ACQ, 4), ADMIN_CQ);
    out(REG_CC, 4, 0x460000);
    assert_int_equal(in(REG_CSTS, 4), 0);
    assert_int_equal(in(REG_AQA, 4), 0x70007); /* what a reset leaves */
    out(REG_ACQ, 8, 0x123456789fff);
    assert_true(in(REG_ACQ, 8) == 0x123456789000);
}

/* Page size, command set, sizes of queues that cannot be. */
static void test_cannot_be_enabled(void **state)
{
    static const uint32_t wrong[] = {0x460081, 0x460011, 0x460801};

    enable();
    for (unsigned i = 0; i < 3; i++) {
        out(REG_CC, 4, 0);
        out(REG_CC, 4, wrong[i]);
        assert_int_equal(in(REG_CSTS, 4), 2);
        out(0x1000, 4, 1);
        out(REG_CC, 4, 0);
        assert_int_equal(in(REG_CSTS, 4), 0);
    }
    out(REG_AQA, 4, 0x70000);
    out(REG_CC, 4, 0x460001);
    assert_int_equal(in(REG_CSTS, 4), 2);
    enable();
    assert_int_equal(identify(1, 0), 0);
}

static void test_identify_controller(void **state)
{
    enable();
    assert_int_equal(identify(1, 0), 0);
    assert_int_equal(peek(DATA, 4), 0x1af41b36);
    assert_memory_equal(board.memory + DATA + 4, "serial-1            ", 20);
    assert_memory_equal(board.memory + DATA + 24, "Corbel disk         ", 20);
    assert_int_equal(peek(DATA + 77, 1), 7);
    assert_int_equal(peek(DATA + 80, 4), 0x10400);
    assert_int_equal(peek(DATA + 111, 1), 1);
    assert_int_equal(peek(DATA + 256, 2), 0x100);
    assert_int_equal(peek(DATA + 512, 2), 0x4466);
    assert_int_equal(peek(DATA + 516, 4), 1);
    assert_int_equal(peek(DATA + 520, 2), 0x1c); /* Dataset Management, Write Zeroes, SELECT */
    assert_int_equal(peek(DATA + 525, 1), 7);
    assert_memory_equal(board.memory + DATA + 768, "nqn.2014-08.org.nvmexpress:uuid:", 32);
    assert_int_equal(strlen((char *)board.memory + DATA + 768), 32 + 36);
    block.has_flush = false;
    block.discard_sectors = block.write_zeroes_sectors = 0;
    assert_int_equal(identify(1, 0), 0);
    assert_int_equal(peek(DATA + 520, 2), 0x10);
    assert_int_equal(peek(DATA + 525, 1), 6);
    assert_int_equal(identify(6, 0), 2); /* of no later version */
    /* Across a page's end, by two PRPs. */
    assert_int_equal(
        ask(0,
            (struct sqe){
                .dw0 = AD_IDENTIFY, .prp1 = DATA + 0xf00, .prp2 = DATA + 0x3000, .dw10 = 1},
            NULL),
        0);
    assert_int_equal(peek(DATA + 0xf00, 4), 0x1af41b36);
    assert_memory_equal(board.memory + DATA + 0x3000 + 768 - 0x100, "nqn.", 4);
}

static void test_identify_namespace(void **state)
{
    uint8_t ids[3][16];

    enable();
    assert_int_equal(identify(0, 1), 0);
    for (unsigned at = 0; at < 24; at += 8)
        assert_int_equal(peek(DATA + at, 8), MOCK_SECTORS);
    assert_int_equal(peek(DATA + 24, 4), 0x10);
    assert_int_equal(peek(DATA + 64, 2), 7); /* what the drive writes at once */
    assert_int_equal(peek(DATA + 99, 1), 0);
    assert_int_equal(peek(DATA + 128, 4), 0x90000);
    memcpy(ids[0], board.memory + DATA + 120, 8);
    memcpy(ids[1], board.memory + DATA + 104, 16);
    assert_int_equal(identify(0, 2), 0x0b);
    assert_int_equal(identify(0, UINT32_MAX), 0x0b);
    assert_int_equal(identify(2, 0), 0);
    assert_int_equal(peek(DATA, 8), 1);
    assert_int_equal(identify(2, 1), 0);
    assert_int_equal(peek(DATA, 8), 0);
    assert_int_equal(identify(2, UINT32_MAX), 0x0b);
    assert_int_equal(identify(3, 1), 0);
    assert_int_equal(peek(DATA, 4), 0x0801);
    assert_memory_equal(board.memory + DATA + 4, ids[0], 8);
    assert_int_equal(peek(DATA + 12, 4), 0x1002);
    assert_memory_equal(board.memory + DATA + 16, ids[1], 16);
    assert_int_equal(peek(DATA + 32, 4), 0x1003);
    memcpy(ids[2], board.memory + DATA + 36, 16);
    assert_int_equal(ids[2][6] >> 4, 8);
    assert_int_equal(ids[2][8] >> 6, 2);
    assert_int_equal(ids[0][0] & 3, 2);
    assert_int_equal(peek(DATA + 52, 8), 0);
    /* The same disk in another life is the same; another one is not. */
    again("ram:x,bus=nvme");
    enable();
    assert_int_equal(identify(3, 1), 0);
    assert_memory_equal(board.memory + DATA + 36, ids[2], 16);
    mock_serial = "serial-2";
    again("ram:x,bus=nvme");
    enable();
    assert_int_equal(identify(3, 1), 0);
    assert_memory_not_equal(board.memory + DATA + 36, ids[2], 16);
    assert_memory_not_equal(board.memory + DATA + 4, ids[0], 8);
    mock_serial = "";
    again("ram:x,bus=nvme");
    enable();
    assert_int_equal(identify(1, 0), 0);
    assert_memory_equal(board.memory + DATA + 4, "corbel-1            ", 20);
}

/* Data where one PRP, two, and lists say; larger than the block device takes at once. */
static void test_transfers(void **state)
{
    enable();
    make_pair(1, ENTRIES, 0);
    assert_int_equal(ask(1, io(OP_READ, 3, 4, DATA + 0x10, 0), NULL), 0);
    assert_memory_equal(board.memory + DATA + 0x10, medium + 3 * 512, 4 * 512);
    assert_int_equal(ask(1, io(OP_READ, 5, 8, DATA + 0x804, 0xd000), NULL), 0);
    assert_memory_equal(board.memory + DATA + 0x804, medium + 5 * 512, 0x7fc);
    assert_memory_equal(board.memory + 0xd000, medium + 5 * 512 + 0x7fc, 0x804);
    poke(LIST + 0x18, 0xa000, 8);
    poke(LIST + 0x20, 0x9000, 8);
    poke(LIST + 0x28, 0xc000, 8);
    submitted = 0;
    assert_int_equal(ask(1, io(OP_READ, 100, 25, DATA + 0x200, LIST + 0x18), NULL), 0);
    assert_memory_equal(board.memory + DATA + 0x200, medium + 100 * 512, 0xe00);
    assert_memory_equal(board.memory + 0xa000, medium + 107 * 512, 0x1000);
    assert_memory_equal(board.memory + 0x9000, medium + 115 * 512, 0x1000);
    assert_memory_equal(board.memory + 0xc000, medium + 123 * 512, 0x400);
    assert_true(submitted >= 2);
    memset(board.memory + DATA, 0x42, 1024);
    assert_int_equal(ask(1, io(OP_WRITE, 10, 2, DATA, 0), NULL), 0);
    assert_memory_equal(medium + 10 * 512, board.memory + DATA, 1024);
    assert_true(medium[12 * 512] == (uint8_t)(12 * 7));
    assert_int_equal(board.pins, 0);
}

/* The list's last entry in its page leads to the next page of it. */
static void test_chained_list(void **state)
{
    enable();
    make_pair(1, ENTRIES, 0);
    poke(LIST + 0xff0, 0xa000, 8);
    poke(LIST + 0xff8, 0xb000, 8); /* more entries follow there */
    poke(0xb000, 0xc000, 8);
    poke(0xb008, 0xd000, 8);
    assert_int_equal(ask(1, io(OP_READ, 50, 32, DATA, LIST + 0xff0), NULL), 0);
    assert_memory_equal(board.memory + DATA, medium + 50 * 512, 0x1000);
    assert_memory_equal(board.memory + 0xa000, medium + 58 * 512, 0x1000);
    assert_memory_equal(board.memory + 0xc000, medium + 66 * 512, 0x1000);
    assert_memory_equal(board.memory + 0xd000, medium + 74 * 512, 0x1000);
    poke(LIST + 0xff8, 0xe000, 8); /* here the page ends with the list */
    assert_int_equal(ask(1, io(OP_READ, 50, 24, DATA, LIST + 0xff0), NULL), 0);
    assert_memory_equal(board.memory + 0xe000, medium + 66 * 512, 0x1000);
    /* The largest transfer, all of it into two pages. */
    for (unsigned i = 0; i < 512; i++)
        poke(LIST + 8 * i, i % 2 ? 0xa000 : 0xc000, 8);
    assert_int_equal(ask(1, io(OP_READ, 0, 1024, DATA + 0x800, LIST), NULL), 0);
    assert_memory_equal(board.memory + 0xa000, medium + (1024 - 4) * 512, 0x800);
    assert_int_equal(ask(1, io(OP_READ, 0, 1025, DATA + 0x800, LIST), NULL), 2);
    assert_int_equal(board.pins, 0);
}

static void test_bad_prps(void **state)
{
    enable();
    make_pair(1, ENTRIES, 0);
    submitted = 0;
    assert_int_equal(ask(1, io(OP_READ, 0, 1, DATA + 2, 0), NULL), 0x13);
    assert_int_equal(ask(1, io(OP_READ, 0, 16, DATA, 0xa010), NULL), 0x13);
    assert_int_equal(ask(1, io(OP_READ, 0, 32, DATA, LIST + 4), NULL), 0x13);
    poke(LIST, 0xa000, 8);
    poke(LIST + 8, 0xb008, 8);
    assert_int_equal(ask(1, io(OP_READ, 0, 24, DATA, LIST), NULL), 0x13);
    /* A list that leads to itself, over and over. */
    poke(LIST + 0xff8, LIST + 0xff8, 8);
    assert_int_equal(ask(1, io(OP_READ, 0, 1024, DATA, LIST + 0xff8), NULL), 0x13);
    /* Not in memory: the list, its next page, the data. */
    assert_int_equal(ask(1, io(OP_READ, 0, 24, DATA, 0xfff000), NULL), 4);
    poke(LIST + 0xff8, 0xfff000, 8);
    assert_int_equal(ask(1, io(OP_READ, 0, 24, DATA, LIST + 0xff8), NULL), 4);
    assert_int_equal(ask(1, io(OP_READ, 0, 1, 0xffffffffffffff00, 0), NULL), 4);
    assert_int_equal(ask(1, io(OP_READ, 0, 16, DATA, 0xfffffffffffff000), NULL), 4);
    assert_int_equal(submitted, 0);
    assert_int_equal(board.pins, 0);
    /* Of an Identify as well. */
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_IDENTIFY, .prp1 = 0xfff000, .dw10 = 1}, NULL),
                     4);
    assert_int_equal(
        ask(0, (struct sqe){.dw0 = AD_IDENTIFY, .prp1 = DATA + 4, .prp2 = 0xa004, .dw10 = 1}, NULL),
        0x13);
    assert_int_equal(in(REG_CSTS, 4), 1);
}

static void test_wrong_commands(void **state)
{
    struct sqe c = io(OP_READ, MOCK_SECTORS - 1, 2, DATA, 0);

    enable();
    make_pair(1, ENTRIES, 0);
    submitted = 0;
    assert_int_equal(ask(1, c, NULL), 0x80);
    c = io(OP_READ, UINT64_MAX, 1, DATA, 0);
    assert_int_equal(ask(1, c, NULL), 0x80);
    c = io(OP_ZEROES, 0, 65536, DATA, 0);
    assert_int_equal(ask(1, c, NULL), 0x80);
    c = io(OP_READ, 0, 1, DATA, 0);
    c.nsid = 2;
    assert_int_equal(ask(1, c, NULL), 0x0b);
    c.nsid = UINT32_MAX;
    assert_int_equal(ask(1, c, NULL), 0x0b);
    c.nsid = 1;
    c.dw0 |= 1 << 8; /* fused */
    assert_int_equal(ask(1, c, NULL), 2);
    c.dw0 = OP_READ | 1 << 14; /* an SGL */
    assert_int_equal(ask(1, c, NULL), 2);
    c.dw0 = 5; /* Compare */
    assert_int_equal(ask(1, c, NULL), 1);
    assert_int_equal(submitted, 0);
    assert_int_equal(ask(0, (struct sqe){.dw0 = 0x80}, NULL), 1);
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_IDENTIFY | 1 << 14, .dw10 = 1}, NULL), 2);
}

/* The most significant bit of what a command asks for: done when it is on the medium. */
static void test_durable(void **state)
{
    struct sqe w = io(OP_WRITE, 1, 1, DATA, 0), z = io(OP_ZEROES, 1, 1, 0, 0),
               r = io(OP_READ, 1, 1, DATA, 0);

    w.dw12 |= 1u << 30;
    z.dw12 |= 1u << 30;
    r.dw12 |= 1u << 30;
    enable();
    make_pair(1, ENTRIES, 0);
    assert_int_equal(ask(1, w, NULL), 0);
    assert_int_equal(before_last.op, BLOCK_WRITE);
    assert_int_equal(last.op, BLOCK_FLUSH);
    assert_int_equal(ask(1, z, NULL), 0);
    assert_int_equal(before_last.op, BLOCK_WRITE_ZEROES);
    assert_int_equal(last.op, BLOCK_FLUSH);
    assert_int_equal(ask(1, r, NULL), 0);
    assert_int_equal(before_last.op, BLOCK_FLUSH);
    assert_int_equal(last.op, BLOCK_READ);
    block.has_fua = true;
    assert_int_equal(ask(1, w, NULL), 0);
    assert_int_equal(last.op, BLOCK_WRITE);
    assert_int_equal(last.flags, BLOCK_FUA);
    w.dw12 &= ~(1u << 30);
    z.dw12 &= ~(1u << 30);
    assert_int_equal(ask(1, w, NULL), 0);
    assert_int_equal(last.flags, 0);
    /* With the cache off, each. */
    assert_int_equal(set_feature(6, 0, NULL), 0);
    assert_int_equal(ask(1, w, NULL), 0);
    assert_int_equal(last.flags, BLOCK_FUA);
    assert_int_equal(ask(1, z, NULL), 0);
    assert_int_equal(last.flags, BLOCK_FUA);
    block.has_fua = false;
    assert_int_equal(ask(1, w, NULL), 0);
    assert_int_equal(last.op, BLOCK_FLUSH);
    assert_int_equal(ask(1, io(OP_FLUSH, 0, 1, 0, 0), NULL), 0);
    struct sqe all = {.dw0 = OP_FLUSH, .nsid = UINT32_MAX};
    submitted = 0;
    assert_int_equal(ask(1, all, NULL), 0);
    assert_int_equal(submitted, 1);
    assert_int_equal(last.op, BLOCK_FLUSH);
    /* Answered when the flush is back, and with its error. */
    at_once = false;
    w.dw12 |= 1u << 30;
    put_command(1, w);
    ring(1);
    struct cqe e;
    assert_int_equal(last.op, BLOCK_WRITE);
    one_back();
    assert_int_equal(last.op, BLOCK_FLUSH);
    assert_false(take(1, &e));
    next_error = -EIO;
    one_back();
    assert_true(take(1, &e));
    assert_int_equal(e.status >> 1 & 0x7ff, 0x280);
    acknowledge(1);
}

static void test_errors(void **state)
{
    enable();
    make_pair(1, ENTRIES, 0);
    next_error = -EIO;
    assert_int_equal(ask(1, io(OP_READ, 7, 1, DATA, 0), NULL), 0x281);
    next_error = -ETIMEDOUT;
    assert_int_equal(ask(1, io(OP_WRITE, 8, 1, DATA, 0), NULL), 0x280);
    next_error = -EROFS;
    assert_int_equal(ask(1, io(OP_WRITE, 9, 1, DATA, 0), NULL), 0x20);
    next_error = -EIO;
    assert_int_equal(ask(1, io(OP_FLUSH, 0, 1, 0, 0), NULL), 0x280);
    assert_int_equal(ask(1, io(OP_READ, 7, 9, DATA, 0xa000), NULL), 0);
    /* The newest first; of five the oldest is gone. */
    assert_int_equal(ask(1, io(OP_READ, MOCK_SECTORS, 1, DATA, 0), NULL), 0x80);
    assert_int_equal(read_log(1, 4096, 0), 0);
    assert_int_equal(peek(DATA, 8), 5);
    assert_int_equal(peek(DATA + 8, 2), 1);
    assert_int_equal(peek(DATA + 10, 2), next_cid - 1u);
    assert_int_equal(peek(DATA + 12, 2), 0x80 << 1);
    assert_int_equal(peek(DATA + 16, 8), MOCK_SECTORS);
    assert_int_equal(peek(DATA + 24, 4), 1);
    assert_int_equal(peek(DATA + 192, 8), 2);
    assert_int_equal(peek(DATA + 192 + 16, 8), 8);
    assert_int_equal(peek(DATA + 256, 1), 0xee);
    assert_int_equal(read_log(1, 64, 192), 0);
    assert_int_equal(peek(DATA, 8), 2);
    assert_int_equal(peek(DATA + 64, 1), 0xee);
    assert_int_equal(read_log(1, 64, 256), 2);
    assert_int_equal(read_log(2, 512, 0), 0);
    assert_int_equal(peek(DATA, 1), 0);
    assert_int_equal(peek(DATA + 1, 2), 298);
    assert_int_equal(peek(DATA + 32, 8), 1);
    assert_int_equal(peek(DATA + 64, 8), 1);
    assert_int_equal(peek(DATA + 80, 8), 0);
    assert_int_equal(peek(DATA + 160, 8), 3);
    assert_int_equal(peek(DATA + 176, 8), 5);
    assert_int_equal(read_log(3, 512, 0), 0);
    assert_int_equal(peek(DATA, 1), 1);
    assert_int_equal(read_log(5, 512, 0), 0x109);
    assert_int_equal(counts.errors, 5); /* what the monitor tells */
    assert_int_equal(counts.reads, 1);
    assert_int_equal(counts.read_sectors, 9);
    assert_int_equal(counts.in_flight, 0);
}

static void test_ranges(void **state)
{
    static const uint8_t zeroes[20 * 512];
    struct sqe c = {
        .dw0 = OP_DSM, .nsid = 1, .prp1 = DATA + 0xff8, .prp2 = 0xa000, .dw10 = 3, .dw11 = 4};

    enable();
    make_pair(1, ENTRIES, 0);
    /* The first of four lies on both sides of a page's end; one is empty. */
    poke(DATA + 0xffc, 12, 4);
    poke(0xa000, 20, 8);
    poke(0xa00c, 0, 4);
    poke(0xa01c, 1, 4);
    poke(0xa020, 40, 8);
    poke(0xa02c, 2, 4);
    poke(0xa030, MOCK_SECTORS - 2, 8);
    submitted = 0;
    assert_int_equal(ask(1, c, NULL), 0);
    assert_int_equal(submitted, 3 + 1 + 1);
    assert_memory_equal(medium + 20 * 512, zeroes, 12 * 512);
    assert_memory_equal(medium + 40 * 512, zeroes, 512);
    assert_memory_equal(medium + (MOCK_SECTORS - 2) * 512, zeroes, 1024);
    assert_true(medium[32 * 512 + 1] != 0 && medium[19 * 512 + 1] != 0);
    poke(0xa02c, 3, 4); /* the last one ends behind the end */
    assert_int_equal(ask(1, c, NULL), 0x80);
    poke(0xa02c, UINT32_MAX, 4);
    poke(0xa030, 0, 8);
    assert_int_equal(ask(1, c, NULL), 0x80);
    submitted = 0;
    c.dw11 = 3; /* hints */
    assert_int_equal(ask(1, c, NULL), 0);
    assert_int_equal(submitted, 0);
    c.dw11 = 4;
    next_error = -EIO;
    assert_int_equal(ask(1, c, NULL), 0x280);
    c.prp2 = 0xfff000;
    assert_int_equal(ask(1, c, NULL), 4);
    /* Write Zeroes, in parts, with leave to deallocate. */
    memset(medium, 1, 20 * 512);
    c = io(OP_ZEROES, 1, 16, 0, 0);
    submitted = 0;
    assert_int_equal(ask(1, c, NULL), 0);
    assert_int_equal(submitted, 3);
    assert_int_equal(last.flags, 0);
    assert_memory_equal(medium + 512, zeroes, 16 * 512);
    assert_true(medium[511] == 1 && medium[17 * 512] == 1);
    c.dw12 |= 1 << 25;
    assert_int_equal(ask(1, c, NULL), 0);
    assert_int_equal(last.flags, BLOCK_UNMAP);
    block.discard_sectors = block.write_zeroes_sectors = 0;
    assert_int_equal(ask(1, c, NULL), 1);
    c.dw0 = OP_DSM;
    assert_int_equal(ask(1, c, NULL), 1);
}

static void test_read_only(void **state)
{
    uint8_t old[512];

    memcpy(old, medium, 512);
    again("ram:x,ro,bus=nvme");
    enable();
    make_pair(1, ENTRIES, 0);
    assert_int_equal(identify(0, 1), 0);
    assert_int_equal(peek(DATA + 99, 1), 1);
    submitted = 0;
    assert_int_equal(ask(1, io(OP_WRITE, 0, 1, DATA, 0), NULL), 0x20);
    assert_int_equal(ask(1, io(OP_ZEROES, 0, 1, 0, 0), NULL), 0x20);
    assert_int_equal(ask(1, (struct sqe){.dw0 = OP_DSM, .nsid = 1, .prp1 = DATA, .dw11 = 4}, NULL),
                     0x20);
    assert_int_equal(submitted, 0);
    assert_int_equal(ask(1, io(OP_READ, 0, 1, DATA, 0), NULL), 0);
    assert_memory_equal(board.memory + DATA, old, 512);
}

/* A drive with blocks of 4 KiB. */
static void test_large_blocks(void **state)
{
    block.logical_block = 4096;
    block.sectors = MOCK_SECTORS / 8 * 8;
    block.discard_sectors = 8;
    again("ram:x,bus=nvme");
    enable();
    make_pair(1, ENTRIES, 0);
    assert_int_equal(identify(0, 1), 0);
    assert_int_equal(peek(DATA, 8), MOCK_SECTORS / 8);
    assert_int_equal(peek(DATA + 128, 4), 0xc0000);
    assert_int_equal(peek(DATA + 24, 1), 0);
    assert_int_equal(ask(1, io(OP_READ, 3, 2, DATA, 0xa000), NULL), 0);
    assert_memory_equal(board.memory + DATA, medium + 24 * 512, 4096);
    assert_memory_equal(board.memory + 0xa000, medium + 32 * 512, 4096);
    assert_int_equal(ask(1, io(OP_READ, MOCK_SECTORS / 8, 1, DATA, 0), NULL), 0x80);
    poke(DATA + 4, 3, 4);
    poke(DATA + 8, 2, 8);
    submitted = 0;
    assert_int_equal(ask(1, (struct sqe){.dw0 = OP_DSM, .nsid = 1, .prp1 = DATA, .dw11 = 4}, NULL),
                     0);
    assert_int_equal(submitted, 3);
    assert_int_equal(last.sector, 32);
}

static void test_where_it_starts_from(void **state)
{
    expect_boots(&devices, &nvme_class, DEVICE_BOOT_DISK, 0, "/pci@i0cf8/nvme@1");
    expect_boots(&devices, &nvme_class, DEVICE_BOOT_DISK, 1, NULL);
    expect_boots(&devices, &nvme_class, DEVICE_BOOT_NET, 0, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_where_it_starts_from),
        TEST(test_what_is_seen),
        TEST(test_cannot_be_enabled),
        TEST(test_identify_controller),
        TEST(test_identify_namespace),
        TEST(test_transfers),
        TEST(test_chained_list),
        TEST(test_bad_prps),
        TEST(test_wrong_commands),
        TEST(test_durable),
        TEST(test_errors),
        TEST(test_ranges),
        TEST(test_read_only),
        TEST(test_large_blocks),
    };

    return cmocka_run_group_tests_name("vm_nvme", tests, NULL, NULL);
}
