/* links: guest/devices/ahci/hba.c guest/devices/ahci/port.c guest/devices/ahci/answer.c guest/devices/ahci/drive.c guest/devices/ahci/pages.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* The AHCI controller of VMs: resets, interrupts, timers, saved state, and what may be asked of it
 * at all. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/ahci_driver.h"

/* --- resets --- */

static void test_comreset(void **state)
{
    at_once = false;
    start();
    prepare(0, READ_EXT, 0, 20, DATA, 20 * 512);
    issue(1);
    block.ops = &mock_unhurried;
    out(P(0) + CMD, FRE);
    assert_int_equal(in(P(0) + CMD) & CR, CR); /* not yet */
    assert_int_equal(in(P(0) + CI), 0);
    out(P(0) + SCTL, 0x301);
    assert_int_equal(in(P(0) + SSTS), 0);
    out(P(0) + SCTL, 0x300);
    assert_int_equal(in(P(0) + SSTS), 0); /* nor this */
    memset(board.memory + FIS, 0x55, 256);
    mock_back(0);
    assert_int_equal(holding, 0); /* its rest is not read any more */
    assert_int_equal(in(P(0) + SSTS), 0x123);
    assert_int_equal(in(P(0) + TFD), 0x150);
    assert_int_equal(in(P(0) + CMD) & CR, 0);
    assert_int_equal(get(FIS + 0x40), 0x01500034);
    assert_int_equal(in(P(0) + PIS), PCS | 0x400000);
    out(P(0) + SERR, UINT32_MAX);
    assert_int_equal(in(P(0) + PIS), 0);
    block.ops = &mock_block_ops;
    at_once = true;
    out(P(0) + CMD, FRE | ST);
    prepare(0, READ_EXT, 0, 20, DATA, 20 * 512);
    issue(1);
    assert_int_equal(events(), DHRS);
    /* Slower, or off. */
    out(P(0) + SCTL, 0x311);
    out(P(0) + SCTL, 0x310);
    assert_int_equal(in(P(0) + SSTS), 0x113);
    out(P(0) + SCTL, 0x304);
    assert_int_equal(in(P(0) + SSTS), 4);
    assert_int_equal(in(P(0) + TFD), 0x7f);
    issue(1);
    assert_int_equal(submitted, 3);
    out(P(0) + SCTL, 0x300);
    assert_int_equal(in(P(0) + SSTS), 0x123);
}

/* As Linux does it: two FISes that are no commands, without a look at the link. */
static void test_software_reset(void **state)
{
    at_once = false;
    start();
    prepare_queued(3, READ_Q, 0, 1, DATA);
    issue_queued(8);
    block.ops = &mock_unhurried;
    pieces(0, (struct piece[]){{0, 0}});
    fis(0, 0, 0, 0, 0);
    board.memory[table(0) + 1] = 0;
    board.memory[table(0) + 15] = 4;
    put(LIST, 5 | 1 << 8 | 1 << 10, 4);
    issue(1);
    assert_int_equal(in(P(0) + CI), 0);
    put(LIST, 5, 4);
    board.memory[table(0) + 15] = 0;
    memset(board.memory + FIS, 0, 256);
    issue(1);
    assert_int_equal(in(P(0) + CI), 1); /* something is in flight */
    mock_back(0);
    mock_microseconds(&board, 1000);
    assert_int_equal(in(P(0) + CI), 0);
    assert_int_equal(in(P(0) + TFD), 0x150);
    assert_int_equal(get(FIS + 0x40), 0x01500034);
    assert_int_equal(events(), 0);
    block.ops = &mock_block_ops;
    fis(0, FLUSH, 0, 0, 0);
    issue(1);
    mock_back(0);
    assert_int_equal(events(), DHRS);
}

static void test_hba_reset(void **state)
{
    at_once = false;
    start();
    prepare(0, READ_EXT, 0, 20, DATA, 20 * 512);
    issue(1);
    block.ops = &mock_unhurried;
    out(GHC, 0x80000003);
    assert_int_equal(in(GHC)&1, 1);
    out(P(0) + PIE, 1); /* not heard */
    memset(board.memory + FIS, 0x55, 256);
    mock_back(0);
    assert_int_equal(holding, 0);
    assert_int_equal(in(GHC), 0x80000000);
    assert_int_equal(in(P(0) + CLB), LIST); /* stays */
    assert_int_equal(in(P(0) + PIE), 0);
    assert_int_equal(in(P(0) + CMD) & (ST | FRE | CR | FR), 0);
    assert_int_equal(in(P(0) + CI), 0);
    assert_int_equal(get(FIS + 0x40), 0x55555555);
    assert_int_equal(board.pins, 0);
    block.ops = &mock_block_ops;
    at_once = true;
    start();
    read_page(IDENTIFY, 0);
}

/* A VM that ends: nothing new begins, and nothing of the guest's is touched. */
static void test_idle_before_the_end(void **state)
{
    at_once = false;
    start();
    for (unsigned slot = 0; slot < 3; slot++)
        prepare_queued(slot, READ_Q, 0, 40, DATA);
    prepare(4, READ_EXT, 0, 1, DATA, 512);
    issue_queued(7);
    assert_int_equal(submitted, 3);
    block.ops = &mock_unhurried;
    memset(board.memory + FIS, 0x55, 256);
    for (unsigned i = 0; i < 3; i++) {
        assert_false(bus_idle(&board.bus, true));
        issue(8);
        mock_back(0);
    }
    assert_true(bus_idle(&board.bus, true));
    mock_microseconds(&board, 2000);
    (void)in(P(0) + CMD);
    out(P(0) + CMD, FRE);
    out(P(0) + CMD, FRE | ST);
    issue(1 << 4);
    assert_int_equal(submitted, 3);
    assert_int_equal(get(FIS + 0x58), 0x55555555);
    block.ops = &mock_block_ops;
    bus_reset(&board.bus);
    config_write(PCI_COMMAND, 2, 6);
    assert_int_equal(in(P(0) + SACT), 0);
}

/* --- interrupts, timers, saved state --- */

static void test_interrupts(void **state)
{
    unsigned cap = config(1, PCI_CAPABILITIES, 1);

    start();
    prepare(0, READ_EXT, 0, 1, DATA, 512);
    issue(1);
    assert_true(board.irq[10]);
    assert_int_equal(in(IS), 1);
    out(IS, 1); /* before its cause: it stays */
    assert_int_equal(in(IS), 1);
    out(P(0) + PIS, DHRS);
    assert_true(board.irq[10]);
    out(IS, 1);
    assert_false(board.irq[10]);
    out(P(0) + PIE, PSS);
    issue(1);
    assert_int_equal(in(IS), 0);
    out(P(0) + PIE, DHRS);
    assert_int_equal(in(IS), 1);
    assert_true(board.irq[10]);
    out(GHC, 0x80000000);
    assert_false(board.irq[10]);
    out(GHC, 0x80000002);
    assert_true(board.irq[10]);
    config_write(cap + 4, 4, 0xfee01003);
    config_write(cap + 8, 2, 0x4055);
    config_write(cap + 2, 2, 1);
    assert_false(board.irq[10]);
    assert_int_equal(board.msis, 1); /* what was pending */
    assert_int_equal(board.msi_address, 0xfee01000);
    assert_int_equal(board.msi_data, 0x4055);
    assert_int_equal(events(), DHRS);
    assert_int_equal(board.msis, 1);
    issue(1);
    issue(1);
    assert_int_equal(board.msis, 2); /* IS has not been cleared */
    out(IS, 1);
    assert_int_equal(board.msis, 3); /* and now it has, but not its cause */
    events();
    assert_int_equal(board.msis, 3);
}

/* One message for all ports: none of them is lost while another's is cleared. */
static void test_interrupts_of_two_ports(void **state)
{
    static const char *const two[] = {"ram:one,bus=ahci", "ram:2,bus=ahci", NULL};
    unsigned before;

    again_with(two);
    start();
    config_write(config(1, PCI_CAPABILITIES, 1) + 2, 2, 1);
    prepare(0, READ_EXT, 0, 1, DATA, 512);
    out(P(1) + CLB, LIST);
    out(P(1) + FB, FIS + 0x100);
    out(P(1) + CMD, FRE);
    out(P(1) + SERR, UINT32_MAX);
    out(P(1) + PIE, DHRS);
    out(P(1) + CMD, FRE | ST);
    issue(1);
    before = board.msis;
    out(P(0) + PIS, DHRS);
    out(P(1) + CI, 1);
    assert_int_equal(board.msis, before + 1);
    out(IS, 1);
    assert_int_equal(board.msis, before + 2);
    assert_int_equal(in(IS), 2);
    out(P(1) + PIS, DHRS);
    out(IS, 2);
    assert_int_equal(board.msis, before + 2);
}

static struct device *hba(void)
{
    return device_list_find(&devices, &ahci_class, 0);
}

static void test_back_while_it_is_run(void **state)
{
    at_once = false;
    start();
    prepare_queued(0, READ_Q, 0, 1, DATA);
    issue_queued(1);
    device_lock(hba());
    mock_back(0);
    device_unlock(hba());
    assert_int_equal(in(P(0) + SACT), 1);
    mock_ticks(&board, 0);
    assert_int_equal(in(P(0) + SACT), 0);
    assert_true(board.irq[10]);
    assert_int_equal(board.bus.next_deadline, TIMER_OFF);
}

static void test_pinned_by_others(void **state)
{
    start();
    board.pins = MOCK_PINS;
    prepare(0, READ_EXT, 0, 40, DATA, 40 * 512);
    issue(1);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(mock_microseconds(&board, 1000), 1); /* looks again, now and then */
    assert_int_equal(submitted, 0);
    out(P(0) + CMD, FRE); /* does not wait for them */
    assert_int_equal(in(P(0) + CMD) & CR, 0);
    out(P(0) + CMD, FRE | ST);
    issue(1);
    board.pins = 0;
    mock_microseconds(&board, 1000);
    assert_int_equal(events(), DHRS);
}

/* What one exit may ask of the processor: the rest is begun by the timer. */
static void test_what_one_exit_may_ask(void **state)
{
    start();
    for (unsigned slot = 0; slot < 32; slot++) {
        fis(slot, READ_Q, 0, (uint16_t)(slot << 3), 0x40);
        board.memory[table(slot) + 3] = 0xff; /* 255 sectors, of which there is room for 8 KiB */
        pieces(slot, (struct piece[]){
                         {DATA, 0x7f80}, {DATA, 0x7f80}, {DATA, 0x7f80}, {DATA, 0x7f80}, {0, 0}});
    }
    issue_queued(UINT32_MAX);
    assert_uint_in_range(submitted, 4096 / 16, 4096 / 8);
    assert_true(in(P(0) + SACT) != 0);
    mock_ticks(&board, 1);
    assert_int_equal(in(P(0) + SACT), 0);
}

static void test_saved_in_flight(void **state)
{
    at_once = false;
    start();
    for (unsigned slot = 0; slot < 3; slot++)
        prepare(slot, READ_EXT, slot, 1, DATA + 512 * slot, 512);
    issue(7);
    assert_int_equal(holding, 1);
    assert_true(mock_round_trip(&board)); /* the others are not begun before that */
    at_once = true;
    mock_ticks(&board, 1);
    assert_int_equal(in(P(0) + CI), 0);
    assert_int_equal(events(), DHRS);
    assert_memory_equal(board.memory + DATA, medium, 1536);
    at_once = false;
    prepare_queued(5, READ_Q, 9, 40, DATA);
    issue_queued(1 << 5);
    assert_true(mock_round_trip(&board));
    assert_int_equal(in(P(0) + SACT), 0);
    assert_int_equal(events(), SDBS);
    /* A reset that the driver waits for is over. */
    prepare(0, READ_EXT, 0, 40, DATA, 40 * 512);
    issue(1);
    block.ops = &mock_unhurried;
    out(GHC, 0x80000003);
    block.ops = &mock_block_ops;
    assert_true(mock_round_trip(&board));
    assert_int_equal(in(GHC), 0x80000000);
    assert_int_equal(holding, 0);
    /* An error stays one. */
    at_once = true;
    start();
    fis(0, IDENTIFY_PACKET, 0, 0, 0);
    issue(1);
    assert_true(mock_round_trip(&board));
    issue(2);
    assert_int_equal(in(P(0) + CI), 3);
    assert_int_equal(in(P(0) + TFD), 0x451);
    recover();
}

static void test_any_access(void **state)
{
    uint64_t value;

    start();
    assert_true(bus_mmio_read(&board.bus, &view, BAR, 8, &value));
    assert_true(value == (in(0) | (uint64_t)in(4) << 32));
    assert_true(bus_mmio_read(&board.bus, &view, BAR + 3, 1, &value));
    assert_int_equal(value & 0xff, 0xc1);
    assert_true(
        bus_mmio_write(&board.bus, &view, BAR + P(0) + CLB, 8, UINT64_C(0x123456789abcdef)));
    assert_int_equal(in(P(0) + CLB), 0x89abcc00);
    assert_int_equal(in(P(0) + CLB + 4), 0x1234567);
    assert_true(bus_mmio_write(&board.bus, &view, BAR + P(0) + CLB, 1, 0));
    assert_int_equal(in(P(0) + CLB), 0x89abcc00);
    for (uint32_t at = 0; at < 0x1000; at += 4)
        if (at != GHC && at != P(0) + CI && at != P(0) + CMD) {
            out(at, 0xffffffff);
            (void)in(at);
        }
    assert_int_equal(in(0x10), 0x10301);
    assert_int_equal(in(P(0) + PIE), 0x7dc000ff);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_comreset),
        TEST(test_software_reset),
        TEST(test_hba_reset),
        TEST(test_idle_before_the_end),
        TEST(test_interrupts),
        TEST(test_interrupts_of_two_ports),
        TEST(test_back_while_it_is_run),
        TEST(test_pinned_by_others),
        TEST(test_what_one_exit_may_ask),
        TEST(test_saved_in_flight),
        TEST(test_any_access),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
