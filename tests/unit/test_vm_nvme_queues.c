/* links: guest/devices/nvme/admin.c guest/devices/nvme/controller.c guest/devices/nvme/features.c guest/devices/nvme/identify.c guest/devices/nvme/io.c guest/devices/nvme/queues.c guest/devices/nvme/state.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c guest/board/msix.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* An NVMe controller of a VM: queues and doorbells, interrupts, events, features. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/nvme_driver.h"

/* --- queues --- */

static void test_making_queues(void **state)
{
    uint32_t result;

    enable();
    assert_int_equal(create_cq(0, IO_CQ, 8, 3), 0x101);
    assert_int_equal(create_cq(9, IO_CQ, 8, 3), 0x101);
    assert_int_equal(create_cq(0x1001, IO_CQ, 8, 3), 0x101);
    assert_int_equal(create_cq(1, IO_CQ, 1, 3), 0x102);
    assert_int_equal(create_cq(1, IO_CQ, 1025, 3), 0x102);
    assert_int_equal(create_cq(1, IO_CQ, 8, 2), 2); /* in pieces */
    assert_int_equal(create_cq(1, IO_CQ + 16, 8, 3), 0x13);
    assert_int_equal(create_cq(1, IO_CQ, 8, 9 << 16 | 3), 0x108);
    assert_int_equal(create_sq(1, IO_SQ, 8, 1 << 16 | 1), 0x100); /* its other half first */
    assert_int_equal(create_sq(1, IO_SQ, 8, 500 << 16 | 1), 0x100);
    assert_int_equal(create_sq(1, IO_SQ, 8, 1), 0x101);
    /* How many there may be is asked for before. */
    assert_int_equal(set_feature(7, 0xffff0000, NULL), 2);
    assert_int_equal(set_feature(7, 100 << 16 | 100, &result), 0);
    assert_int_equal(result, 0x70007);
    assert_int_equal(set_feature(7, 1 << 16 | 0, &result), 0);
    assert_int_equal(result, 0x10000);
    assert_int_equal(get_feature(7, 0, &result), 0);
    assert_int_equal(result, 0x10000);
    assert_int_equal(create_cq(3, IO_CQ, 8, 3), 0x101);
    assert_int_equal(create_cq(2, IO_CQ, 8, 3), 0);
    assert_int_equal(create_cq(2, IO_CQ, 8, 3), 0x101);
    assert_int_equal(create_sq(2, IO_SQ, 8, 2 << 16 | 1), 0x101);
    assert_int_equal(create_sq(1, IO_SQ, 8, 2 << 16 | 1), 0);
    assert_int_equal(set_feature(7, 0x70007, NULL), 0x0c);
    /* Away with them, in the other order. */
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_DELETE_CQ, .dw10 = 2}, NULL), 0x10c);
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_DELETE_SQ, .dw10 = 0}, NULL), 0x101);
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_DELETE_SQ, .dw10 = 2}, NULL), 0x101);
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_DELETE_SQ, .dw10 = 1}, NULL), 0);
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_DELETE_CQ, .dw10 = 2}, NULL), 0);
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_DELETE_CQ, .dw10 = 2}, NULL), 0x101);
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_DELETE_CQ, .dw10 = 0}, NULL), 0x101);
    assert_int_equal(set_feature(7, 0x70007, NULL), 0);
    /* Entries of other sizes than CC says. */
    out(REG_CC, 4, 0);
    out(REG_CC, 4, 1);
    forget_queue(0, ADMIN_SQ, ADMIN_CQ, ENTRIES);
    assert_int_equal(create_cq(1, IO_CQ, 8, 3), 0x102);
}

/* Over many rounds of queues of different lengths; answers in the order in which things end. */
static void test_phases(void **state)
{
    uint32_t seed = 1;
    struct cqe e;

    enable();
    forget_queue(1, IO_SQ, IO_CQ, 5);
    queue[1].cq_size = 3;
    assert_int_equal(create_cq(1, IO_CQ, 3, 3), 0);
    assert_int_equal(create_sq(1, IO_SQ, 5, 1 << 16 | 1), 0);
    for (unsigned i = 0; i < 100; i++) {
        seed = seed * 1103515245 + 12345;
        assert_int_equal(ask(1, io(OP_READ, seed >> 16 & 0xfff, 1, DATA, 0), NULL), 0);
        assert_memory_equal(board.memory + DATA, medium + (seed >> 16 & 0xfff) * 512, 512);
    }
    at_once = false;
    uint16_t first = put_command(1, io(OP_READ, 0, 1, DATA, 0));
    uint16_t second = put_command(1, io(OP_READ, 1, 1, DATA, 0));
    ring(1);
    assert_int_equal(holding, 2);
    struct block_request *r = held[0];
    held[0] = held[1];
    held[1] = r;
    one_back();
    assert_true(take(1, &e) && e.cid == second && e.sqhd == queue[1].tail);
    one_back();
    assert_true(take(1, &e) && e.cid == first);
    acknowledge(1);
}

/* No command is begun whose answer would have no place. */
static void test_completion_queue_full(void **state)
{
    uint16_t cid[7];
    struct cqe e;

    enable();
    forget_queue(1, IO_SQ, IO_CQ, 8);
    queue[1].cq_size = 4;
    assert_int_equal(create_cq(1, IO_CQ, 4, 3), 0);
    assert_int_equal(create_sq(1, IO_SQ, 8, 1 << 16 | 1), 0);
    submitted = 0;
    at_once = false;
    for (unsigned i = 0; i < 7; i++)
        cid[i] = put_command(1, io(OP_READ, i, 1, DATA + 512 * i, 0));
    ring(1);
    assert_int_equal(submitted, 3);
    while (holding)
        one_back();
    assert_int_equal(submitted, 3);
    assert_int_equal(peek(IO_CQ + 3 * 16 + 14, 2), 0);
    assert_true(take(1, &e) && e.cid == cid[0]);
    acknowledge(1);
    assert_int_equal(submitted, 4);
    at_once = true;
    one_back();
    for (unsigned i = 1; i < 7; i++) {
        assert_true(take(1, &e));
        assert_int_equal(e.cid, cid[i]);
        acknowledge(1);
    }
    assert_false(take(1, &e));
    assert_int_equal(submitted, 7);
    assert_memory_equal(board.memory + DATA, medium, 7 * 512);
}

/* A driver that puts in as much as it can keeps the processor a little at a time. */
static void test_budget(void **state)
{
    enable();
    forget_queue(1, IO_SQ, DATA, 64);
    assert_int_equal(create_cq(1, DATA, 64, 3), 0);
    assert_int_equal(create_sq(1, IO_SQ, 64, 1 << 16 | 1), 0);
    mock_ticks(&board, 1);
    for (unsigned i = 0; i < 63; i++)
        put_command(1, io(OP_READ, 1, 1, 0xf000, 0));
    submitted = 0;
    ring(1);
    ring(1);
    out(0x1004 + 8, 4, 0);
    assert_true(submitted <= 32);
    mock_ticks(&board, 1);
    assert_int_equal(submitted, 63);
    /* So do sectors: two of the largest, of 512 KiB each, and each of four after it. */
    for (unsigned i = 0; i < 512; i++)
        poke(LIST + 8 * i, 0xc000, 8);
    queue[1].head = 63;
    acknowledge(1);
    for (unsigned i = 0; i < 8; i++)
        put_command(1, io(OP_READ, 1, 1024, 0xc000, LIST));
    submitted = 0;
    ring(1);
    unsigned at_first = submitted;
    assert_true(at_first >= 4 * 64 && at_first < 6 * 64);
    mock_ticks(&board, 1);
    assert_int_equal(submitted, 8 * 64);
}

/* Queues that are not in memory: the controller has failed, and says so, until it is reset. */
static void test_broken_queues(void **state)
{
    struct cqe e;

    enable();
    assert_int_equal(create_cq(1, IO_CQ, 8, 3), 0);
    assert_int_equal(create_sq(1, 0xfff000, 8, 1 << 16 | 1), 0);
    out(0x1008, 4, 1);
    assert_int_equal(in(REG_CSTS, 4), 3);
    put_command(0, (struct sqe){.dw0 = AD_IDENTIFY, .dw10 = 1, .prp1 = DATA});
    ring(0);
    assert_false(take(0, &e));
    out(REG_CC, 4, 0x460000);
    enable();
    assert_int_equal(create_cq(1, 0xfff000, 8, 3), 0);
    assert_int_equal(create_sq(1, IO_SQ, 8, 1 << 16 | 1), 0);
    forget_queue(1, IO_SQ, IO_CQ, 8);
    at_once = false;
    put_command(1, io(OP_READ, 0, 1, DATA, 0));
    put_command(1, io(OP_READ, 0, 1, DATA, 0));
    ring(1);
    one_back();
    assert_int_equal(in(REG_CSTS, 4), 3);
    out(REG_CC, 4, 0x460000);
    assert_int_equal(in(REG_CSTS, 4), 0);
    at_once = true;
    enable();
    make_pair(1, ENTRIES, 0);
    assert_int_equal(ask(1, io(OP_READ, 0, 1, DATA, 0), NULL), 0);
}

static void test_deletion_waits(void **state)
{
    uint16_t cid, read;
    struct cqe e;

    enable();
    make_pair(1, ENTRIES, 0);
    at_once = false;
    read = put_command(1, io(OP_READ, 0, 1, DATA, 0));
    ring(1);
    cid = put_command(0, (struct sqe){.dw0 = AD_DELETE_SQ, .dw10 = 1});
    ring(0);
    assert_false(take(0, &e));
    put_command(1, io(OP_READ, 0, 1, DATA, 0)); /* after that nothing begins */
    ring(1);
    assert_int_equal(holding, 1);
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_DELETE_CQ, .dw10 = 1}, NULL), 0x10c);
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_DELETE_SQ, .dw10 = 1}, NULL), 0x101);
    one_back();
    assert_true(take(1, &e) && e.cid == read && e.status >> 1 == 0);
    assert_true(take(0, &e) && e.cid == cid && e.status >> 1 == 0);
    acknowledge(0);
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_DELETE_CQ, .dw10 = 1}, NULL), 0);
}

/* --- doorbells and events --- */

static void test_bad_doorbells(void **state)
{
    uint16_t cid[3];
    struct cqe e;

    enable();
    make_pair(1, ENTRIES, 0);
    for (unsigned i = 0; i < 3; i++)
        cid[i] = put_command(0, (struct sqe){.dw0 = AD_EVENT});
    ring(0);
    assert_false(take(0, &e));
    out(0x1010, 4, 1); /* of no queue */
    expect_event(cid[0], 0x010000);
    out(0x1008, 4, 8); /* behind the queue's end */
    out(0x1008, 4, 1 << 16);
    assert_false(take(0, &e)); /* until the log has been read */
    assert_int_equal(read_log(1, 64, 0), 0);
    assert_int_equal(peek(DATA, 8), 3);
    assert_int_equal(peek(DATA + 8, 4), UINT32_MAX);
    out(0x100c, 4, 1); /* more than has been answered */
    expect_event(cid[1], 0x010100);
    assert_int_equal(
        ask(0, (struct sqe){.dw0 = AD_LOG, .prp1 = DATA, .dw10 = 15 << 16 | 1 << 15 | 1}, NULL), 0);
    out(0x1ff8, 4, 1);
    assert_false(take(0, &e)); /* it was to be kept */
    assert_int_equal(read_log(1, 64, 0), 0);
    out(0x1ffc, 4, 1);
    expect_event(cid[2], 0x010000);
    assert_int_equal(in(REG_CSTS, 4), 1);
    assert_int_equal(ask(1, io(OP_READ, 0, 1, DATA, 0), NULL), 0);
    /* Of other widths, or at no doorbell's address: nothing. */
    assert_int_equal(read_log(1, 64, 0), 0);
    uint64_t errors = peek(DATA, 8);
    out(0x1008, 2, 9);
    out(0x1008, 8, 9);
    out(0x1009, 4, 9);
    assert_int_equal(read_log(1, 64, 0), 0);
    assert_int_equal(peek(DATA, 8), errors);
}

static void test_events(void **state)
{
    uint16_t cid[4];
    uint32_t result;
    struct cqe e;

    enable();
    out(0x1010, 4, 1); /* before anybody waits for it */
    for (unsigned i = 0; i < 4; i++)
        cid[i] = put_command(0, (struct sqe){.dw0 = AD_EVENT});
    ring(0);
    expect_event(cid[0], 0x010000);
    cid[0] = put_command(0, (struct sqe){.dw0 = AD_EVENT});
    ring(0);
    assert_false(take(0, &e));
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_EVENT}, NULL), 0x105);
    /* One is called back. */
    put_command(0, (struct sqe){.dw0 = AD_ABORT, .dw10 = (uint32_t)cid[2] << 16});
    ring(0);
    assert_true(take(0, &e) && e.cid == cid[2] && e.status >> 1 == 7);
    assert_true(take(0, &e) && e.cid == next_cid && e.result == 0);
    acknowledge(0);
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_ABORT, .dw10 = (uint32_t)cid[2] << 16}, &result),
                     0);
    assert_int_equal(result, 1);
    /* Too warm, or too cold: told where that is wanted, and by the log. */
    assert_int_equal(set_feature(4, 298, NULL), 0);
    assert_false(take(0, &e));
    assert_int_equal(set_feature(0x0b, 0xff, NULL), 0);
    put_command(0, (struct sqe){.dw0 = AD_SET, .dw10 = 4, .dw11 = 1 << 20 | 298});
    ring(0);
    expect_event(cid[1], 0x020101);
    assert_true(take(0, &e) && e.cid == next_cid);
    acknowledge(0);
    assert_int_equal(get_feature(4, 1 << 20, &result), 0);
    assert_int_equal(result, 298);
    assert_int_equal(read_log(2, 512, 0), 0);
    assert_int_equal(peek(DATA, 1), 2);
    put_command(0, (struct sqe){.dw0 = AD_SET, .dw10 = 4, .dw11 = 1 << 20 | 200});
    ring(0);
    expect_event(cid[3], 0x020101); /* it is too warm still */
    assert_true(take(0, &e) && e.cid == next_cid);
    acknowledge(0);
}

/* With the smallest queues, where a request that waits for an event is in nobody's way. */
static void test_event_in_smallest_queue(void **state)
{
    uint16_t cid;

    config_write(PCI_COMMAND, 2, 6);
    forget_queue(0, ADMIN_SQ, ADMIN_CQ, 2);
    out(REG_AQA, 4, 1 << 16 | 1);
    out(REG_ASQ, 8, ADMIN_SQ);
    out(REG_ACQ, 8, ADMIN_CQ);
    out(REG_CC, 4, 0x460001);
    cid = put_command(0, (struct sqe){.dw0 = AD_EVENT});
    ring(0);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(identify(1, 0), 0);
    /* Something happens while the only place is taken. */
    put_command(0, (struct sqe){.dw0 = AD_IDENTIFY, .dw10 = 1, .prp1 = DATA});
    ring(0);
    out(0x1010, 4, 1);
    struct cqe e;
    assert_true(take(0, &e) && e.cid == next_cid);
    assert_false(take(0, &e));
    acknowledge(0);
    expect_event(cid, 0x010000);
}

static void test_features(void **state)
{
    static const struct {
        uint8_t id;
        uint32_t set, get, initial;
    } numbers[] = {
        {0x01, 0xffffffff, 0xffffff07, 0},
        {0x02, 0x20, 0x20, 0},
        {0x05, 0x1ffff, 0xffff, 0},
        {0x06, 0, 0, 1},
        {0x08, 0x1234, 0x1234, 0},
        {0x0a, 1, 1, 0},
        {0x0b, 0x1ff, 0xff, 0},
    };
    uint32_t result;

    enable();
    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
        assert_int_equal(get_feature(numbers[i].id, 0, &result), 0);
        assert_int_equal(result, numbers[i].initial);
        assert_int_equal(set_feature(numbers[i].id, numbers[i].set, NULL), 0);
        assert_int_equal(get_feature(numbers[i].id, 0, &result), 0);
        assert_int_equal(result, numbers[i].get);
        for (unsigned select = 1; select < 3; select++) {
            assert_int_equal(get_feature(select << 8 | numbers[i].id, 0, &result), 0);
            assert_int_equal(result, numbers[i].initial);
        }
        assert_int_equal(get_feature(3 << 8 | numbers[i].id, 0, &result), 0);
        assert_int_equal(result, numbers[i].id == 5 ? 6 : 4);
        assert_int_equal(get_feature(4 << 8 | numbers[i].id, 0, &result), 2);
    }
    assert_int_equal(set_feature(0x02, 1, NULL), 2);
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_SET, .dw10 = 1u << 31 | 1}, NULL), 0x10d);
    assert_int_equal(set_feature(0x09, 1 << 16 | 8, NULL), 0);
    assert_int_equal(get_feature(0x09, 8, &result), 0);
    assert_int_equal(result, 1 << 16 | 8);
    assert_int_equal(get_feature(0x09, 7, &result), 0);
    assert_int_equal(result, 7);
    assert_int_equal(set_feature(0x09, 9, NULL), 2);
    assert_int_equal(get_feature(0x09, 9, &result), 2);
    assert_int_equal(get_feature(4, 0, &result), 0);
    assert_int_equal(result, 343);
    assert_int_equal(set_feature(4, 1 << 16 | 300, NULL), 2); /* a sensor that is none */
    assert_int_equal(set_feature(4, 2 << 20, NULL), 2);
    assert_int_equal(get_feature(4, 2 << 20, NULL), 2);
    assert_int_equal(get_feature(0x7f, 0, NULL), 2);
    assert_int_equal(set_feature(0x7f, 0, NULL), 2);
    block.has_flush = false;
    assert_int_equal(set_feature(6, 1, NULL), 2);
    assert_int_equal(get_feature(6, 0, NULL), 2);
    /* A reset of the controller makes them what they were. */
    out(REG_CC, 4, 0);
    enable();
    assert_int_equal(get_feature(8, 0, &result), 0);
    assert_int_equal(result, 0);
}

/* --- interrupts --- */

static void test_pin(void **state)
{
    struct cqe e;
    bool *pin = &board.irq[10];

    config_write(PCI_COMMAND, 2, 6);
    for (unsigned i = 0; i < 24; i++)
        if (board.irq[i])
            fail();
    enable();
    put_command(0, (struct sqe){.dw0 = AD_IDENTIFY, .dw10 = 1, .prp1 = DATA});
    put_command(0, (struct sqe){.dw0 = AD_IDENTIFY, .dw10 = 1, .prp1 = DATA});
    ring(0);
    if (!*pin)
        pin = &board.irq[11];
    assert_true(*pin);
    assert_int_equal(config(PCI_STATUS, 2) & 8, 8);
    assert_true(take(0, &e));
    acknowledge(0);
    assert_true(*pin); /* one is left */
    out(REG_INTMS, 4, 1);
    assert_false(*pin);
    assert_int_equal(in(REG_INTMS, 4), 1);
    assert_int_equal(in(REG_INTMC, 4), 1);
    out(REG_INTMC, 4, 1);
    assert_true(*pin);
    assert_true(take(0, &e));
    acknowledge(0);
    assert_false(*pin);
    /* A queue of another vector, which is masked by its own bit; one without interrupts. */
    make_pair(1, ENTRIES, 2);
    put_command(1, io(OP_READ, 0, 1, DATA, 0));
    ring(1);
    assert_true(*pin);
    out(REG_INTMS, 4, 3);
    assert_true(*pin);
    out(REG_INTMS, 4, 4);
    assert_false(*pin);
    out(REG_INTMC, 4, 7);
    assert_true(*pin);
    config_write(PCI_COMMAND, 2, 0x406);
    assert_false(*pin);
    config_write(PCI_COMMAND, 2, 6);
    assert_true(*pin);
    out(REG_CC, 4, 0x460000);
    assert_false(*pin);
    assert_int_equal(in(REG_INTMS, 4), 0);
    enable();
    forget_queue(1, IO_SQ, IO_CQ, ENTRIES);
    assert_int_equal(create_cq(1, IO_CQ, 8, 1), 0);
    assert_int_equal(create_sq(1, IO_SQ, 8, 1 << 16 | 1), 0);
    put_command(1, io(OP_READ, 0, 1, DATA, 0));
    ring(1);
    assert_true(take(1, &e));
    assert_false(*pin);
}

static void test_messages(void **state)
{
    struct cqe e;

    enable();
    use_msix();
    make_pair(2, ENTRIES, 5);
    board.msis = 0;
    put_command(2, io(OP_READ, 0, 1, DATA, 0));
    put_command(2, io(OP_READ, 0, 1, DATA, 0));
    ring(2);
    assert_int_equal(board.msis, 1);
    assert_int_equal(board.msi_data, 0x35);
    assert_false(board.irq[10] || board.irq[11]);
    assert_true(take(2, &e) && take(2, &e));
    acknowledge(2);
    assert_int_equal(board.msis, 1);
    out(REG_INTMS, 4, 0x1ff); /* of no effect here */
    out(0x2000 + 16 * 5 + 12, 4, 1);
    put_command(2, io(OP_READ, 0, 1, DATA, 0));
    ring(2);
    assert_int_equal(board.msis, 1);
    assert_int_equal(in(0x3000, 8), 1 << 5);
    out(0x2000 + 16 * 5 + 12, 4, 0);
    assert_int_equal(board.msis, 2);
    /* Back to the pin: what has not been taken is told by it. */
    config_write(config(PCI_CAPABILITIES, 1) + 2, 2, 0);
    assert_false(board.irq[10] || board.irq[11]);
    out(REG_INTMC, 4, 0x1ff);
    assert_true(board.irq[10] || board.irq[11]);
    config_write(config(PCI_CAPABILITIES, 1) + 2, 2, 0x8000);
    assert_false(board.irq[10] || board.irq[11]);
}

/* --- shadow doorbells --- */

/* What a driver does in place of ring(): whether it has to write the register. */
static bool update(uint32_t offset, uint16_t value)
{
    uint16_t old = (uint16_t)peek(SHADOW + offset, 4), index = (uint16_t)peek(INDICES + offset, 4);

    poke(SHADOW + offset, value, 4);
    return (uint16_t)(value - index - 1) < (uint16_t)(value - old);
}

static void test_shadow(void **state)
{
    struct cqe e;

    enable();
    use_msix();
    make_pair(1, ENTRIES, 1);
    assert_int_equal(
        ask(0, (struct sqe){.dw0 = AD_SHADOW, .prp1 = SHADOW + 8, .prp2 = INDICES}, NULL), 2);
    assert_int_equal(ask(1, io(OP_READ, 0, 1, DATA, 0), NULL), 0);
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_SHADOW, .prp1 = SHADOW, .prp2 = INDICES}, NULL),
                     0);
    assert_int_equal(peek(SHADOW + 8, 8), 0x100000001ull); /* where they are now */
    assert_int_equal(peek(INDICES + 8, 4), 1);
    unsigned rung_back = 0;
    for (unsigned i = 0; i < 40; i++) {
        put_command(1, io(OP_READ, i, 1, DATA, 0));
        submitted = 0;
        assert_true(update(8, queue[1].tail)); /* the controller sleeps */
        ring(1);
        mock_ticks(&board, 1);
        assert_int_equal(submitted, 1);
        assert_true(take(1, &e));
        if (update(12, queue[1].head)) {
            rung_back++;
            acknowledge(1);
        }
    }
    assert_true(rung_back < 16); /* 40 without */
    /* While one is carried out another one comes, and no doorbell. */
    at_once = false;
    put_command(1, io(OP_READ, 1, 1, DATA, 0));
    assert_true(update(8, queue[1].tail));
    put_command(1, io(OP_READ, 2, 1, DATA, 0));
    assert_false(update(8, queue[1].tail));
    submitted = 0;
    ring(1);
    assert_int_equal(submitted, 2);
    while (holding)
        one_back();
    assert_true(take(1, &e) && take(1, &e));
    at_once = true;
    /* The admin's queues have their registers still. */
    assert_int_equal(identify(1, 0), 0);
    /* Behind the end: an event, and nothing is fetched. */
    submitted = 0;
    poke(SHADOW + 8, 8, 4);
    out(0x1008, 4, 1);
    assert_int_equal(submitted, 0);
    assert_int_equal(read_log(1, 64, 0), 0);
    assert_true(peek(DATA, 8) > 0);
    /* A driver that changes its mind for ever keeps nobody. */
    poke(SHADOW + 8, queue[1].tail, 4);
    board.flickers = SHADOW + 8;
    board.flicker = 1;
    out(0x1008, 4, queue[1].tail);
    assert_true(board.flicks < 200);
    board.flickers = 0;
    poke(SHADOW + 8, queue[1].tail, 4);
    out(REG_CC, 4, 0);
    /* The reset has switched them off. */
    poke(SHADOW + 8, 3, 4);
    enable();
    make_pair(1, ENTRIES, 1);
    submitted = 0;
    assert_int_equal(ask(1, io(OP_READ, 0, 1, DATA, 0), NULL), 0);
    assert_int_equal(submitted, 1);
}

/* A full queue of answers is asked about in memory, and then by the register. */
static void test_shadow_of_full_queue(void **state)
{
    struct cqe e;

    enable();
    use_msix();
    forget_queue(1, IO_SQ, IO_CQ, 8);
    queue[1].cq_size = 3;
    assert_int_equal(create_cq(1, IO_CQ, 3, 3), 0);
    assert_int_equal(create_sq(1, IO_SQ, 8, 1 << 16 | 1), 0);
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_SHADOW, .prp1 = SHADOW, .prp2 = INDICES}, NULL),
                     0);
    submitted = 0;
    for (unsigned i = 0; i < 5; i++)
        put_command(1, io(OP_READ, i, 1, DATA, 0));
    assert_true(update(8, queue[1].tail));
    ring(1);
    assert_int_equal(submitted, 2);
    assert_true(take(1, &e));
    assert_true(update(12, queue[1].head));
    acknowledge(1);
    assert_int_equal(submitted, 3);
    assert_true(take(1, &e));
    assert_true(update(12, queue[1].head));
    assert_true(take(1, &e));
    update(12, queue[1].head);
    acknowledge(1);
    assert_int_equal(submitted, 5);
    assert_true(take(1, &e) && take(1, &e));
    update(12, queue[1].head);
    acknowledge(1);
    /* Where there is no memory: they are off. */
    assert_int_equal(
        ask(0, (struct sqe){.dw0 = AD_SHADOW, .prp1 = 0xfff000, .prp2 = INDICES}, NULL), 4);
    assert_int_equal(ask(1, io(OP_READ, 0, 1, DATA, 0), NULL), 0);
}

/* By the pin the register has to be written for each answer that is taken: else it stays up. */
static void test_shadow_and_pin(void **state)
{
    struct cqe e;

    enable();
    make_pair(1, ENTRIES, 0);
    assert_int_equal(ask(0, (struct sqe){.dw0 = AD_SHADOW, .prp1 = SHADOW, .prp2 = INDICES}, NULL),
                     0);
    for (unsigned i = 0; i < 30; i++) {
        put_command(1, io(OP_READ, i, 1, DATA, 0));
        assert_true(update(8, queue[1].tail));
        ring(1);
        mock_ticks(&board, 1);
        assert_true(board.irq[10] || board.irq[11]);
        assert_true(take(1, &e));
        assert_true(update(12, queue[1].head));
        acknowledge(1);
        assert_false(board.irq[10] || board.irq[11]);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_making_queues),
        TEST(test_phases),
        TEST(test_completion_queue_full),
        TEST(test_budget),
        TEST(test_broken_queues),
        TEST(test_deletion_waits),
        TEST(test_bad_doorbells),
        TEST(test_events),
        TEST(test_event_in_smallest_queue),
        TEST(test_features),
        TEST(test_pin),
        TEST(test_messages),
        TEST(test_shadow),
        TEST(test_shadow_of_full_queue),
        TEST(test_shadow_and_pin),
    };

    return cmocka_run_group_tests_name("vm_nvme_queues", tests, NULL, NULL);
}
