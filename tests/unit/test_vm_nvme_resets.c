/* links: guest/devices/nvme/admin.c guest/devices/nvme/controller.c guest/devices/nvme/features.c guest/devices/nvme/identify.c guest/devices/nvme/io.c guest/devices/nvme/queues.c guest/devices/nvme/state.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c guest/board/msix.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* An NVMe controller of a VM: what becomes of commands under way when it is reset, shut down or
 * saved. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/nvme_driver.h"

static const struct block_ops no_poll = {.submit = mock_submit};

static void test_reset_waits(void **state)
{
    struct cqe e;

    enable();
    make_pair(1, ENTRIES, 0);
    at_once = false;
    put_command(1, io(OP_READ, 0, 100, DATA, 0));
    poke(LIST, 0, 8);
    put_command(1, io(OP_WRITE, 0, 1, DATA, 0));
    ring(1);
    assert_true(holding > 0 && board.pins > 0);
    block.ops = &no_poll;
    out(REG_CC, 4, 0x460000);
    assert_int_equal(in(REG_CSTS, 4), 1); /* its memory is in use yet */
    out(REG_CC, 4, 0x460001);
    assert_int_equal(in(REG_CSTS, 4), 1);
    ring(1);
    out(REG_CC, 4, 0x460000);
    memset(board.memory + IO_CQ, 0, 0x1000);
    while (holding)
        one_back();
    assert_int_equal(in(REG_CSTS, 4), 0);
    assert_int_equal(board.pins, 0);
    for (unsigned at = 0; at < 0x1000; at += 8)
        assert_int_equal(peek(IO_CQ + at, 8), 0);
    block.ops = &mock_block_ops;
    at_once = true;
    enable();
    make_pair(1, ENTRIES, 0);
    assert_false(take(1, &e));
    assert_int_equal(ask(1, io(OP_READ, 0, 1, DATA, 0), NULL), 0);
}

/* The VM is reset while something is in flight, or ends. */
static void test_reset_of_the_machine(void **state)
{
    enable();
    make_pair(1, ENTRIES, 0);
    at_once = false;
    for (unsigned i = 0; i < 5; i++)
        put_command(1, io(OP_READ, 0, 8, DATA, 0));
    ring(1);
    assert_true(holding > 0);
    while (!bus_idle(&board.bus, true))
        ;
    bus_reset(&board.bus);
    assert_int_equal(holding, 0);
    assert_int_equal(board.pins, 0);
    config_write(PCI_COMMAND, 2, 6);
    assert_int_equal(in(REG_CSTS, 4), 0);
    assert_int_equal(in(REG_ASQ, 8), 0);
    at_once = true;
    enable();
    assert_int_equal(identify(1, 0), 0);
}

/* What is saved comes back while requests wait, queues are half full, an event is waited for. */
static void test_saved_in_between(void **state)
{
    uint16_t cid, event;
    struct cqe e;

    enable();
    use_msix();
    make_pair(1, ENTRIES, 3);
    assert_int_equal(set_feature(8, 0x1234, NULL), 0);
    event = put_command(0, (struct sqe){.dw0 = AD_EVENT});
    ring(0);
    at_once = false;
    cid = put_command(1, io(OP_READ, 9, 1, DATA, 0));
    ring(1);
    assert_true(mock_round_trip(&board));
    assert_true(take(1, &e) && e.cid == cid && e.status >> 1 == 0);
    assert_memory_equal(board.memory + DATA, medium + 9 * 512, 512);
    acknowledge(1);
    at_once = true;
    assert_int_equal(ask(1, io(OP_READ, 0, 1, DATA, 0), NULL), 0);
    out(0x1ffc, 4, 0);
    expect_event(event, 0x010000);
    uint32_t result;
    assert_int_equal(get_feature(8, 0, &result), 0);
    assert_int_equal(result, 0x1234);
}

static void test_shutdown(void **state)
{
    enable();
    make_pair(1, ENTRIES, 0);
    assert_int_equal(ask(1, io(OP_WRITE, 0, 1, DATA, 0), NULL), 0);
    at_once = false;
    submitted = 0;
    out(REG_CC, 4, 0x464001);
    assert_int_equal(last.op, BLOCK_FLUSH);
    assert_int_equal(in(REG_CSTS, 4) & 0xc, 4);
    out(REG_CC, 4, 0x460001);
    out(REG_CC, 4, 0x464001);
    assert_int_equal(submitted, 1);
    one_back();
    assert_int_equal(in(REG_CSTS, 4), 9);
    out(REG_CC, 4, 0x464000);
    assert_int_equal(in(REG_CSTS, 4), 0);
    /* Where the drive does not write what is in its cache it is not said that it has. */
    at_once = true;
    enable();
    next_error = -EIO;
    out(REG_CC, 4, 0x464001);
    assert_int_equal(in(REG_CSTS, 4), 7);
    out(REG_CC, 4, 0x460000);
    assert_int_equal(in(REG_CSTS, 4), 0);
}

/* Guest memory is pinned by others: it is tried again. */
static void test_pinned_by_others(void **state)
{
    struct cqe e;

    enable();
    make_pair(1, ENTRIES, 0);
    board.pins = MOCK_PINS;
    put_command(1, io(OP_READ, 0, 1, DATA, 0));
    ring(1);
    assert_false(take(1, &e));
    board.pins = 0;
    mock_microseconds(&board, 2000);
    assert_true(take(1, &e) && e.status >> 1 == 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_reset_waits), TEST(test_reset_of_the_machine), TEST(test_saved_in_between),
        TEST(test_shutdown),    TEST(test_pinned_by_others),
    };

    return cmocka_run_group_tests_name("vm_nvme_resets", tests, NULL, NULL);
}
