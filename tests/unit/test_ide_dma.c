/* links: guest/devices/ide/ide.c guest/devices/ide/channel.c guest/devices/ide/transfer.c guest/devices/ide/master.c guest/devices/ide/disk.c guest/devices/ide/identify.c guest/devices/ide/atapi.c guest/devices/ide/mmc.c guest/devices/ide/mmc_info.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* IDE disks by the bus master, what happens while a command is under way, and what is saved of it.
 */
#include "tests/unit/ide_driver.h"

static int setup(void **state)
{
    return setup_ide("ram:x,bus=ide", "ram:y,bus=ide", NULL);
}

static int setup_later(void **state)
{
    int result = setup_ide("ram:x,bus=ide", "ram:y,bus=ide", NULL);

    at_once = false;
    return result;
}

/* --- DMA --- */

static void test_dma(void **state)
{
    prd(0, DATA, 1024, false);
    prd(1, DATA + 0x2000, 512, true);
    dma(READ_DMA, 3, 8);
    assert_true(interrupted());
    assert_int_equal(in8(master + 2) & 7, 4);
    assert_int_equal(in8(0x1f7), READY);
    out8(master, 0);
    assert_memory_equal(board.memory + DATA, medium + 8 * 512, 1024);
    assert_memory_equal(board.memory + DATA + 0x2000, medium + 10 * 512, 512);
    assert_int_equal(in8(master + 2), 4);
    out8(master + 2, 0x64);
    assert_int_equal(in8(master + 2), 0x60);
    memset(board.memory + DATA, 0x42, 1024);
    prd(0, DATA, 1024, true);
    command48(0, 0x35, 2, 900);
    assert_int_equal(in8(0x3f6), 0x80);
    assert_int_equal(submitted, 1);
    start_master(false);
    assert_true(interrupted());
    assert_int_equal(in8(0x1f7), READY);
    assert_memory_equal(medium + 900 * 512, board.memory + DATA, 1024);
    /* Straight from the guest's memory. */
    assert_int_equal(last.segments[0].address, (paddr)board.memory + DATA);
}

/* The bus master may be started before the command. */
static void test_dma_started_first(void **state)
{
    prd(0, DATA, 512, true);
    start_master(true);
    assert_int_equal(in8(master + 2) & 7, 1);
    command(0, READ_DMA, 1, 8);
    assert_int_equal(in8(master + 2) & 7, 4);
    assert_memory_equal(board.memory + DATA, medium + 8 * 512, 512);
    /* The wrong way round nothing moves. */
    out8(master, 0);
    out8(master + 2, 6);
    start_master(true);
    command(0, WRITE_DMA, 1, 8);
    assert_int_equal(in8(0x3f6), 0x80);
    assert_int_equal(in8(master + 2) & 7, 1);
    soft_reset();
}

/* A table that is longer than the command leaves the master active; one that is shorter stops it,
 * and there is no interrupt ("Data synchronization", the table of status bits). */
static void test_dma_lengths(void **state)
{
    prd(0, DATA, 512, false);
    prd(1, DATA + 512, 512, true);
    dma(READ_DMA, 1, 8);
    assert_int_equal(in8(master + 2) & 7, 5);
    out8(master, 0);
    assert_int_equal(in8(master + 2) & 7, 4);
    out8(master + 2, 4);
    (void)in8(0x1f7);
    dma(READ_DMA, 3, 8);
    assert_int_equal(in8(master + 2) & 7, 0);
    assert_false(board.irq[14]);
    assert_int_equal(in8(0x3f6), 0x80);
    /* With another table it goes on. */
    prd(0, DATA + 0x1000, 512, true);
    out8(master, 0);
    start_master(true);
    assert_int_equal(in8(master + 2) & 7, 4);
    assert_true(interrupted());
    assert_memory_equal(board.memory + DATA + 0x1000, medium + 10 * 512, 512);
}

/* No memory there: the master says so, the drive does not interrupt. */
static void test_dma_nowhere(void **state)
{
    prd(0, 0x20000000, 512, true);
    dma(READ_DMA, 1, 8);
    assert_int_equal(in8(master + 2) & 7, 2);
    assert_int_equal(in8(0x3f6), 0x80);
    assert_false(board.irq[14]);
    soft_reset();
    assert_int_equal(in8(0x1f7), READY);
    out8(master, 0);
    out8(master + 2, 6);
    out32(master + 4, 0xfffffff0);
    command(0, READ_DMA, 1, 8);
    out8(master, 9);
    assert_int_equal(in8(master + 2) & 7, 2);
    soft_reset();
    out8(master, 0);
    out8(master + 2, 6);
    prd(0, 0xffffff00, 512, true); /* over 4 GiB */
    dma(READ_DMA, 1, 8);
    assert_int_equal(in8(master + 2) & 7, 2);
    soft_reset();
}

/* Regions of any even size and place, which the block device would not take. */
static void test_dma_in_bits(void **state)
{
    block.segment_align = 512;
    for (unsigned i = 0; i < 300; i++)
        prd(i, DATA + 6 * i + 2, i == 299 ? 2048 - 299 * 4 : 4, i == 299);
    dma(READ_DMA, 4, 8);
    assert_int_equal(in8(master + 2) & 7, 4);
    for (unsigned i = 0; i < 2048; i++)
        assert_int_equal(
            board.memory[DATA + (i < 1200 ? i / 4 * 6 + 2 + i % 4 : 300 * 6 - 4 + i - 1196)],
            medium[8 * 512 + i]);
    out8(master, 0);
    dma(WRITE_DMA, 4, 100);
    assert_int_equal(in8(master + 2) & 5, 4);
    assert_memory_equal(medium + 100 * 512, medium + 8 * 512, 2048);
    /* A table that ends in the middle of it all. */
    prd(0, DATA, 700, true);
    out8(master, 0);
    out8(master + 2, 4);
    (void)in8(0x1f7);
    memset(board.memory + DATA, 0x77, 1024);
    dma(WRITE_DMA, 2, 100);
    assert_int_equal(in8(master + 2) & 7, 0);
    prd(0, DATA + 700, 324, true);
    out8(master, 0);
    start_master(false);
    assert_int_equal(in8(master + 2) & 7, 4);
    assert_memory_equal(medium + 100 * 512, board.memory + DATA, 1024);
}

/* --- flush --- */

static void test_flush(void **state)
{
    command(0, 0xe7, 0, 0);
    assert_int_equal(in8(0x3f6), 0x80);
    assert_int_equal(last.op, BLOCK_FLUSH);
    one_back();
    assert_true(interrupted());
    assert_int_equal(in8(0x1f7), READY);
    command(0, 0xea, 0, 0);
    next_error = -EIO;
    assert_int_equal(counts.in_flight, 1);
    one_back();
    assert_true(interrupted());
    assert_int_equal(in8(0x1f7), 0x51);
    assert_int_equal(counts.in_flight, 0);
    assert_int_equal(counts.flushes, 1);
    assert_int_equal(counts.errors, 1);
    /* By default a write is not flushed, with FUA or without the write cache it is. */
    prd(0, DATA, 512, true);
    dma(WRITE_DMA, 1, 8);
    one_back();
    assert_int_equal(in8(0x1f7), READY);
    out8(master, 0);
    command48(0, 0x3d, 1, 8);
    start_master(false);
    one_back();
    assert_int_equal(in8(0x3f6), 0x80);
    assert_int_equal(last.op, BLOCK_FLUSH);
    one_back();
    assert_int_equal(in8(0x1f7), READY);
    set_features(0x82, 0);
    assert_int_equal(last.op, BLOCK_FLUSH);
    one_back();
    assert_int_equal(in8(0x1f7), READY);
    command(0, WRITE_SECTORS, 1, 8);
    write_data(buffer, 512);
    one_back();
    assert_int_equal(last.op, BLOCK_FLUSH);
    assert_false(board.irq[14]);
    one_back();
    assert_true(interrupted());
    assert_int_equal(in8(0x1f7), READY);
    set_features(0x02, 0);
    assert_int_equal(in8(0x1f7), READY);
    set_features(0x77, 0);
    assert_int_equal(in8(0x1f7), 0x51);
    set_features(0x03, 0x45);
    assert_int_equal(in8(0x1f7), 0x51);
    assert_int_equal(holding, 0);
}

/* --- in mid-I/O --- */

/* While a command is under way the registers are not the host's. */
static void test_busy(void **state)
{
    command(0, READ_SECTORS, 1, 8);
    assert_int_equal(in8(0x1f7), 0x80);
    out8(0x1f2, 0x99);
    out8(0x1f6, 0xb0);
    out8(0x1f7, 0xec);
    assert_int_equal(in16(0x1f0), 0);
    assert_int_equal(in8(0x1f6), 0xe0);
    assert_int_equal(in8(0x1f2), 1);
    one_back();
    assert_true(interrupted());
    assert_int_equal(in8(0x1f7), 0x58);
    out8(0x1f7, 0xec);
    read_data(buffer, 512);
    assert_memory_equal(buffer, medium + 8 * 512, 512);
    assert_int_equal(in8(0x1f7), READY);
}

/* A drive that is reset is busy until nothing of it can touch the guest any more. */
static void test_reset_in_flight(void **state)
{
    slow = true;
    prd(0, DATA, 0x4000, true);
    dma(READ_DMA, 32, 8);
    assert_int_equal(holding, 1);
    assert_true(board.pins > 0);
    out8(0x3f6, 4);
    out8(0x3f6, 0);
    assert_int_equal(in8(0x1f7), 0x80);
    out8(0x1f7, 0xec);
    assert_int_equal(in8(0x1f7), 0x80);
    one_back();
    assert_int_equal(holding, 0); /* the rest does not begin */
    assert_int_equal(board.pins, 0);
    assert_int_equal(in8(0x1f7), READY);
    assert_int_equal(in8(0x1f2), 1);
    assert_int_equal(board.rises[14], 0);
    at_once = true;
    command(0, READ_SECTORS, 1, 9);
    read_data(buffer, 512);
    assert_memory_equal(buffer, medium + 9 * 512, 512);
}

static void test_stopped_in_flight(void **state)
{
    prd(0, DATA, 512, true);
    dma(READ_DMA, 1, 8);
    out8(master, 0);
    assert_int_equal(in8(master + 2) & 7, 1); /* memory may still be written */
    one_back();
    assert_int_equal(in8(master + 2) & 1, 0);
    soft_reset();
    dma(READ_DMA, 1, 8);
    while (!bus_idle(&board.bus, true))
        ;
    bus_reset(&board.bus);
    assert_int_equal(holding, 0);
    assert_int_equal(in8(0x1f7), READY);
    assert_int_equal(in8(master + 2), 0);
}

/* What comes back while somebody has the controller's lock is looked at later. */
static void test_back_while_locked(void **state)
{
    struct device *d = device_list_find(&devices, &ide_class, 0);

    command(0, READ_SECTORS, 1, 8);
    device_lock(d);
    one_back();
    device_unlock(d);
    assert_int_equal(in8(0x1f7), 0x80);
    mock_ticks(&board, 1);
    assert_true(interrupted());
    assert_int_equal(in8(0x1f7), 0x58);
    soft_reset();
}

/* Guest memory is pinned by others: it waits, and tries again. */
static void test_pinned(void **state)
{
    prd(0, DATA, 512, true);
    board.pins = MOCK_PINS;
    dma(READ_DMA, 1, 8);
    assert_int_equal(in8(0x3f6), 0x80);
    mock_microseconds(&board, 5000);
    assert_int_equal(submitted, 0);
    board.pins = 0;
    mock_microseconds(&board, 5000);
    assert_int_equal(in8(master + 2) & 7, 4);
}

/* One exit keeps the processor for a while only, whatever is asked for. */
static void test_bound(void **state)
{
    for (unsigned i = 0; i < 200; i++)
        prd(i, DATA, 0x4000, i == 199);
    command48(0, 0x25, 4999, 0);
    start_master(true);
    assert_int_equal(in8(0x3f6), 0x80);
    assert_true(submitted <= 4096 / 16 + 1);
    mock_microseconds(&board, 1);
    assert_int_equal(in8(0x1f7), READY);
    /* Regions count, too. */
    block.segment_align = 512;
    for (unsigned i = 0; i < 1536; i++)
        prd(i, DATA + 0x8000, 2, i == 1535);
    submitted = 0;
    for (unsigned i = 0; i < 100 && in8(0x3f6) != 0x80; i++) {
        out8(master, 0);
        dma(READ_DMA, 6, 0);
    }
    assert_int_equal(in8(0x3f6), 0x80);
    assert_true(submitted >= 2 && submitted <= 5);
    mock_microseconds(&board, 1);
    assert_int_equal(in8(0x1f7), READY);
}

/* --- saved state --- */

static void test_saved(void **state)
{
    command(0, READ_SECTORS, 2, 8);
    read_data(buffer, 100);
    assert_true(mock_round_trip(&board));
    read_data(buffer + 100, 412);
    assert_memory_equal(buffer, medium + 8 * 512, 512);
    assert_int_equal(in8(0x1f7), 0x58);
    soft_reset();
    command(1, WRITE_SECTORS, 1, 9);
    memset(buffer, 0x12, 512);
    write_data(buffer, 300);
    assert_true(mock_round_trip(&board));
    write_data(buffer, 212);
    assert_memory_equal(medium + 9 * 512, buffer, 512);
    soft_reset();
    command(0, READ_DMA, 1, 8);
    assert_true(mock_round_trip(&board));
    prd(0, DATA, 512, true);
    start_master(true);
    assert_memory_equal(board.memory + DATA, medium + 8 * 512, 512);
}

static void test_saved_is_checked(void **state)
{
    static uint8_t good[20000], bad[20000];
    struct state_writer w = {.data = good, .capacity = sizeof(good)};

    command(0, READ_SECTORS, 2, 8);
    bus_save(&board.bus, &w);
    for (unsigned i = 0; i < w.used; i++) {
        for (unsigned bit = 0; bit < 8; bit += 3) {
            struct state_reader r = {.data = bad, .size = w.used};
            memcpy(bad, good, w.used);
            bad[i] ^= (uint8_t)(1 << bit);
            bus_reset(&board.bus);
            if (bus_load(&board.bus, &r) == 0) {
                read_data(buffer, 600);
                (void)in8(0x1f7);
                mock_ticks(&board, 100);
            } else {
                assert_true(mock_round_trip(&board)); /* nothing of it is left */
            }
        }
    }
    soft_reset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_dma, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dma_started_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dma_lengths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dma_nowhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dma_in_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flush, setup_later, teardown),
        cmocka_unit_test_setup_teardown(test_busy, setup_later, teardown),
        cmocka_unit_test_setup_teardown(test_reset_in_flight, setup_later, teardown),
        cmocka_unit_test_setup_teardown(test_stopped_in_flight, setup_later, teardown),
        cmocka_unit_test_setup_teardown(test_back_while_locked, setup_later, teardown),
        cmocka_unit_test_setup_teardown(test_pinned, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saved, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saved_is_checked, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
