/* links: guest/devices/ahci/hba.c guest/devices/ahci/port.c guest/devices/ahci/answer.c guest/devices/ahci/drive.c guest/devices/ahci/pages.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* The AHCI controller of VMs: errors of the guest's and of the drive, and how a driver gets over
 * them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/ahci_driver.h"

/* --- errors --- */

/* "Error Recovery": nothing goes on before PxCMD.ST was cleared, and the driver sees which command
 * it was. SeaBIOS asks thus whether it is a CD. */
static void test_unknown_command(void **state)
{
    start();
    prepare(4, IDENTIFY_PACKET, 0, 0, DATA, 512);
    issue(1 << 4);
    assert_int_equal(in(P(0) + TFD), 0x451);
    assert_int_equal(in(P(0) + CI), 1 << 4);
    assert_int_equal(in(P(0) + CMD) >> 8 & 31, 4);
    assert_int_equal(get(FIS + 0x40), 0x04514034);
    assert_int_equal(events(), DHRS | TFES);
    prepare(5, READ_EXT, 0, 1, DATA, 512);
    issue(1 << 5);
    assert_int_equal(submitted, 0);
    assert_int_equal(in(P(0) + CI), 3 << 4);
    recover();
    assert_int_equal(submitted, 0);
    assert_int_equal(in(P(0) + CMD) >> 8 & 31, 0);
    issue(1 << 5);
    assert_int_equal(events(), DHRS);
}

static void test_errors(void **state)
{
    static const struct {
        uint8_t command;
        uint64_t lba;
        int error;
        uint8_t says;
    } what[] = {{READ_EXT, MOCK_SECTORS - 1, 0, 0x10},
                {READ_EXT, UINT64_C(0xffffffffffff), 0, 0x10},
                {READ_EXT, 7, -EIO, 0x40},
                {WRITE_EXT, 7, -EIO, 0x04},
                {WRITE_EXT, MOCK_SECTORS, 0, 0x10},
                {0x42, MOCK_SECTORS - 1, 0, 0x10}};

    start();
    for (unsigned i = 0; i < ARRAY_SIZE(what); i++) {
        next_error = what[i].error;
        prepare(0, what[i].command, what[i].lba, 2, DATA, 1024);
        issue(1);
        assert_int_equal(in(P(0) + TFD), what[i].says << 8 | 0x51);
        assert_int_equal(events(), DHRS | TFES);
        recover();
    }
    /* Not by LBA; and the second part of a long one, whose first block is told. */
    fis(0, READ_EXT, 0, 1, 0);
    issue(1);
    assert_int_equal(in(P(0) + TFD), 0x1051);
    recover();
    at_once = false;
    prepare(0, READ_EXT, 0x10, 20, DATA, 20 * 512);
    issue(1);
    mock_back(0);
    assert_int_equal(holding, 1);
    next_error = -EIO;
    mock_back(0);
    assert_int_equal(in(P(0) + TFD), 0x4051);
    assert_int_equal(board.memory[FIS + 0x44], 0x20);
    /* What is no multiple of what the device takes. */
    recover();
    block.segment_align = 512;
    prepare(0, READ_EXT, 0, 1, DATA + 2, 512);
    issue(1);
    assert_int_equal(in(P(0) + TFD), 0x451);
}

/* Serial ATA 2.6: an error of a queued command ends all, and is in the log until that is read. */
static void test_queued_error(void **state)
{
    at_once = false;
    start();
    for (unsigned slot = 0; slot < 4; slot++)
        prepare_queued(slot, READ_Q, 0x123456 % MOCK_SECTORS + slot, 1, DATA + 512 * slot);
    issue_queued(0xf);
    mock_back(0);
    assert_int_equal(in(P(0) + SACT), 0xe);
    events();
    next_error = -EIO;
    mock_back(1); /* slot 2 */
    assert_int_equal(in(P(0) + TFD), 0x4051);
    assert_int_equal(in(P(0) + SACT), 0xe);
    assert_int_equal(get(FIS + 0x58), 0x405140a1);
    assert_int_equal(get(FIS + 0x5c), 0);
    assert_int_equal(events(), TFES);
    next_error = -EIO;
    mock_back(0); /* too late, and an error, too */
    assert_int_equal(in(P(0) + SACT), 0xe);
    assert_int_equal(events(), 0);
    next_error = -EIO;
    out(P(0) + CMD, FRE);
    assert_int_equal(in(P(0) + CMD) & CR, 0); /* asked, the last one comes back, */
    assert_int_equal(holding, 0);
    assert_int_equal(get(FIS + 0x5c), 0);
    assert_int_equal(events(), 0); /* and its error is nobody's any more */
    out(P(0) + CMD, FRE | ST);
    fis(0, FLUSH, 0, 0, 0);
    issue(1);
    assert_int_equal(in(P(0) + TFD), 0x451);
    recover();
    prepare_queued(5, READ_Q, 0, 1, DATA); /* it is refused as well, and the log is not about it */
    issue_queued(BIT(5));
    assert_int_equal(in(P(0) + TFD), 0x451);
    recover();
    at_once = true;
    read_page(READ_LOG, 0x10);
    assert_int_equal(board.memory[DATA], 2);
    assert_int_equal(get(DATA) >> 16, 0x4051);
    assert_int_equal(get(DATA + 4) & 0xffffff, 0x123456 % MOCK_SECTORS + 2);
    uint8_t sum = 0;
    for (unsigned i = 0; i < 512; i++)
        sum += board.memory[DATA + i];
    assert_int_equal(sum, 0);
    fis(0, FLUSH, 0, 0, 0);
    issue(1);
    assert_int_equal(events(), DHRS);
    read_page(READ_LOG, 0);
    assert_int_equal(word(0), 1);
    assert_int_equal(word(0x10), 1);
    assert_int_equal(word(0x11), 0);
    prepare(0, READ_LOG, 0x30, 1, DATA, 512);
    issue(1);
    assert_int_equal(in(P(0) + TFD), 0x451);
}

static void test_queue_misused(void **state)
{
    at_once = false;
    start();
    prepare_queued(0, READ_Q, 0, 1, DATA);
    board.memory[table(0) + 12] = 1 << 3; /* another's tag */
    issue_queued(1);
    assert_int_equal(in(P(0) + TFD), 0x451);
    assert_int_equal(events(), TFES);
    recover();
    at_once = true;
    read_page(READ_LOG, 0x10);
    at_once = false;
    prepare_queued(0, READ_Q, 0, 1, DATA);
    issue_queued(1);
    fis(1, FLUSH, 0, 0, 0); /* what is not queued, among them */
    pieces(1, (struct piece[]){{0, 0}});
    issue(2);
    assert_int_equal(in(P(0) + TFD), 0x451);
    assert_int_equal(events(), DHRS | TFES);
    mock_back(0);
    recover();
    at_once = true;
    read_page(READ_LOG, 0x10);
    assert_int_equal(board.memory[DATA], 0x80);
    at_once = false;
    prepare_queued(0, READ_Q, 0, 1, DATA);
    issue_queued(1);
    issue_queued(1); /* once more */
    assert_int_equal(holding, 1);
    assert_int_equal(events(), IFS);
    mock_back(0);
    recover();
}

/* "PxIS.HBFS": lists, tables, FISes and data that are not in memory; then a command that is none.
 */
static void test_memory_that_is_none(void **state)
{
    static const uint32_t places[] = {CLB, FB, 0, 1, 2, 3};

    start();
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        prepare(0, i < 3 ? FLUSH : i == 3 ? IDENTIFY : READ_EXT, 0, 1, i < 3 ? DATA : NOWHERE, 512);
        if (i < 2)
            out(P(0) + places[i], NOWHERE);
        else if (i == 2)
            put(LIST + 8, UINT64_C(0xfffffffffffff000), 8);
        else if (i == 5)
            put(LIST + 8, MOCK_MEMORY - 0x80, 8); /* behind which the PRDT is */
        if (i == 5)
            memcpy(board.memory + MOCK_MEMORY - 0x80, board.memory + table(0), 20);
        issue(1);
        assert_int_equal(in(P(0) + CI), 1);
        assert_int_equal(events() & ~DHRS, HBFS);
        out(P(0) + CLB, LIST);
        out(P(0) + FB, FIS);
        /* It has not said that it is through with it. */
        out(P(0) + CMD, FRE);
        out(P(0) + CMD, FRE | CLO);
        assert_int_equal(in(P(0) + CMD) & CLO, 0);
        assert_int_equal(in(P(0) + TFD) & 0x88, 0);
        out(P(0) + CMD, FRE | ST);
    }
    assert_int_equal(board.pins, 0);
    /* Queued, what is not memory is seen when the data is to move. */
    prepare_queued(3, READ_Q, 0, 8, NOWHERE);
    issue_queued(8);
    assert_int_equal(events(), HBFS);
    assert_int_equal(in(P(0) + SACT), 8);
    recover();
    put(LIST, 4, 4); /* a FIS of 16 bytes */
    issue(1);
    assert_int_equal(events(), IFS);
    recover();
    fis(0, FLUSH, 0, 0, 0);
    put(LIST, 5, 4);
    put(LIST + 8, table(0), 8);
    board.memory[table(0)] = 0x34;
    issue(1);
    assert_int_equal(events(), IFS);
    recover();
    prepare(0, READ_EXT, 0, 3, DATA, 1024); /* less memory than data */
    issue(1);
    assert_int_equal(events(), OFS | IFS);
}

static void test_many_pieces(void **state)
{
    start();
    prepare(0, READ_EXT, 0, 1, DATA, 512);
    put(LIST + 8, 0x3000, 8);
    fis(0, READ_EXT, 0, 64, 0x40);
    memcpy(board.memory + 0x3000, board.memory + table(0), 20);
    put(LIST, 5 | 256 << 16, 4);
    for (unsigned i = 0; i < 300; i++) {
        put(0x3080 + 16 * i, DATA + 128 * (i % 256), 8);
        put(0x308c + 16 * i, 127, 4);
    }
    issue(1);
    assert_int_equal(events(), DHRS);
    assert_memory_equal(board.memory + DATA, medium, 64 * 512);
    put(LIST, 5 | 300u << 16, 4);
    board.memory[0x3000 + 12] = 73;
    issue(1); /* more than it keeps */
    assert_int_equal(in(P(0) + TFD), 0x451);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_unknown_command),     TEST(test_errors),
        TEST(test_queued_error),        TEST(test_queue_misused),
        TEST(test_memory_that_is_none), TEST(test_many_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
