/* links: guest/devices/ahci/hba.c guest/devices/ahci/port.c guest/devices/ahci/answer.c guest/devices/ahci/drive.c guest/devices/ahci/pages.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* The AHCI controller of VMs: what a driver sees of it, and what its drives carry out. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/ahci_driver.h"
#include "tests/unit/boots.h"

/* --- what is seen --- */

static void test_the_function(void **state)
{
    unsigned cap = config(1, PCI_CAPABILITIES, 1);

    assert_int_equal(config(1, 0, 4), 0x29228086);
    assert_int_equal(config(1, PCI_REVISION, 4), 0x01060102);
    assert_int_equal(config(1, PCI_BAR0 + 20, 4), BAR);
    assert_int_equal(config(1, PCI_INTERRUPT_PIN, 1), 1);
    assert_int_equal(config(1, cap, 1), 5);
    assert_int_equal(config(1, 0x92, 2) & 0x3f, 1);
    config_write(PCI_COMMAND, 2, 2);
    assert_int_equal(in(0), 0xc1241f00 | 2 << 20 | 1 << 15);
    assert_int_equal(in(GHC), 0x80000000);
    assert_int_equal(in(0xc), 1);
    assert_int_equal(in(0x10), 0x10301);
    assert_int_equal(in(P(0) + SSTS), 0x123);
    assert_int_equal(in(P(0) + SIG), 0xffffffff);
    assert_int_equal(in(P(0) + TFD), 0x80); /* the signature waits */
    assert_int_equal(in(P(0) + PIS), PCS | 0x400000);
    assert_int_equal(in(P(1) + SSTS), 0);
    out(P(0) + FB, FIS);
    out(P(0) + CMD, FRE);
    assert_int_equal(in(P(0) + SIG), 0x101);
    assert_int_equal(in(P(0) + TFD), 0x150);
    assert_int_equal(get(FIS + 0x40), 0x01500034);
    assert_int_equal(in(P(0) + CMD) & ~6u, FRE | FR);
}

static void test_disks_and_ports(void **state)
{
    static const char *const seven[] = {"ram:one,bus=ahci",  "ram:2,bus=ahci",  "part:3",
                                        "ram:3,ro,bus=ahci", "ram:4,bus=ahci",  "ram:5,bus=ahci",
                                        "ram:6,bus=ahci",    "disk:7,bus=ahci", NULL};
    static const char *const bad[] = {"ram:one,bus=ahci", "ram:bad,bus=ahci", NULL};

    again_with(seven);
    config_write(PCI_COMMAND, 2, 2);
    assert_int_equal(opened, 7); /* that without a bus is another controller's */
    assert_int_equal(in(0xc), 0x3f);
    assert_int_equal(in(0) & 0x1f, 5);
    assert_int_equal(config(2, 0, 4), 0x29228086); /* one more HBA */
    assert_int_equal(config(3, 0, 4), UINT32_MAX);
    assert_int_equal(teardown(NULL), 0);
    assert_int_equal(setup_with(bad), -EINVAL);
    assert_int_equal(opened, closed);
    mock_destroy(&board);
    device_list_destroy(&devices);
    assert_int_equal(setup(NULL), 0);
}

static void test_identify(void **state)
{
    uint8_t sum = 0;

    start();
    read_page(IDENTIFY, 0);
    assert_int_equal(get(LIST + 4), 512);
    assert_memory_equal(board.memory + FIS + 0x20, "\x5f\x60\x58\0", 4);
    assert_int_equal(board.memory[FIS + 0x20 + 15], 0x50);
    assert_int_equal(get(FIS + 0x20 + 16), 512);
    assert_memory_equal(board.memory + DATA + 20, "esirla1-            ", 20);
    assert_memory_equal(board.memory + DATA + 54, "oCbrled si k", 12);
    assert_int_equal(word(0), 0x40);
    assert_int_equal(word(60), MOCK_SECTORS);
    assert_int_equal(word(100), MOCK_SECTORS);
    assert_int_equal(word(75), 31);
    assert_int_equal(word(76) & 0x100, 0x100);
    assert_int_equal(word(83), 0x7400);
    assert_int_equal(word(84), 0x4060);
    assert_int_equal(word(85) & 0x20, 0x20);
    assert_int_equal(word(88), 0x203f);
    assert_int_equal(word(106), 0x6003);
    assert_int_equal(word(169), 1);
    for (unsigned i = 0; i < 512; i++)
        sum += board.memory[DATA + i];
    assert_int_equal(sum, 0);
    /* To several places, the last of them longer than what is left. */
    memcpy(board.memory + DATA + 0x1000, board.memory + DATA, 512);
    pieces(3, (struct piece[]){{DATA + 2, 10}, {DATA + 0x100, 500}, {DATA + 0x800, 4096}, {0, 0}});
    fis(3, IDENTIFY, 0, 0, 0);
    issue(8);
    assert_memory_equal(board.memory + DATA + 2, board.memory + DATA + 0x1000, 10);
    assert_memory_equal(board.memory + DATA + 0x100, board.memory + DATA + 0x100a, 500);
    assert_memory_equal(board.memory + DATA + 0x800, board.memory + DATA + 0x11fe, 2);
    assert_int_equal(get(LIST + 32 * 3 + 4), 512);
}

static void test_identify_of_other_disks(void **state)
{
    static const char *const read_only[] = {"ram:3,ro,bus=ahci", NULL};

    again_with(read_only);
    block.logical_block = block.physical_block = 4096;
    block.has_flush = false;
    bus_reset(&board.bus);
    start();
    read_page(IDENTIFY, 0);
    assert_memory_equal(board.memory + DATA + 20, "ocbrle1- 0          ", 20);
    assert_int_equal(word(82) & 0x20, 0); /* no cache, no trim */
    assert_int_equal(word(85) & 0x20, 0);
    assert_int_equal(word(169), 0);
    assert_int_equal(word(106), 0x5000);
    assert_int_equal(word(117), 2048);
    assert_int_equal(word(100), MOCK_SECTORS / 8);
    prepare(0, WRITE_EXT, 0, 1, DATA, 4096);
    issue(1);
    assert_int_equal(in(P(0) + TFD), 0x4051);
    assert_int_equal(submitted, 0);
    assert_int_equal(counts.errors, 1);
    recover();
    prepare(0, READ_EXT, 3, 2, DATA, 8192);
    issue(1);
    assert_memory_equal(board.memory + DATA, medium + 3 * 4096, 8192);
    assert_int_equal(get(LIST + 4), 8192);
}

/* --- transfers --- */

static void test_transfers(void **state)
{
    start();
    pieces(0, (struct piece[]){{DATA + 0x10, 0x3000}, {DATA + 0x4000, 0x602}, {0, 0}});
    put(table(0) + 0x9c, 0x80000601, 4); /* with an interrupt behind it */
    fis(0, READ_EXT, 3, 27, 0x40);
    issue(1);
    assert_int_equal(in(P(0) + CI), 0);
    assert_int_equal(events(), DHRS | DPS);
    assert_memory_equal(board.memory + DATA + 0x10, medium + 3 * 512, 0x3000);
    assert_memory_equal(board.memory + DATA + 0x4000, medium + 3 * 512 + 0x3000, 0x600);
    assert_int_equal(get(LIST + 4), 27 * 512);
    assert_int_equal(get(FIS + 0x40), 0x00504034);
    assert_true(submitted >= 2);
    memset(board.memory + DATA, 0x42, 1024);
    prepare(1, WRITE_EXT, 10, 2, DATA, 1024);
    issue(2);
    assert_int_equal(events(), DHRS);
    assert_memory_equal(medium + 10 * 512, board.memory + DATA, 1024);
    assert_true(medium[12 * 512] == (uint8_t)(12 * 7));
    prepare(0, READ, 9, 3, DATA, 1536);
    issue(1);
    assert_int_equal(events(), PSS);
    assert_memory_equal(board.memory + DATA, medium + 9 * 512, 1536);
    fis(0, READ_28, 0x1388 - 256, 0, 0x40); /* 256 of them, to the last */
    pieces(0, (struct piece[]){
                  {DATA, 0x8000}, {DATA, 0x8000}, {DATA, 0x8000}, {DATA, 0x8000}, {0, 0}});
    issue(1);
    assert_int_equal(events(), DHRS);
    assert_int_equal(get(LIST + 4), 256 * 512);
    assert_int_equal(board.pins, 0);
}

static void test_queued(void **state)
{
    at_once = false;
    start();
    for (unsigned slot = 0; slot < 32; slot++)
        prepare_queued(slot, READ_Q, 100 + slot, 1, DATA + 512 * slot);
    issue_queued(UINT32_MAX);
    assert_int_equal(holding, 32);
    assert_int_equal(in(P(0) + CI), 0); /* accepted */
    assert_int_equal(in(P(0) + SACT), UINT32_MAX);
    assert_int_equal(in(P(0) + TFD), 0x50);
    assert_int_equal(events(), 0);
    mock_back(7);
    assert_int_equal(in(P(0) + SACT), ~(1u << 7));
    assert_int_equal(get(FIS + 0x58), 0x005040a1);
    assert_int_equal(get(FIS + 0x5c), 1 << 7);
    assert_int_equal(events(), SDBS);
    assert_memory_equal(board.memory + DATA + 7 * 512, medium + 107 * 512, 512);
    memset(board.memory + DATA + 0x6000, 0x77, 1024);
    prepare_queued(7, WRITE_Q, 500, 2, DATA + 0x6000);
    issue_queued(1 << 7);
    assert_int_equal(holding, 32);
    while (holding)
        mock_back(holding / 2);
    assert_int_equal(in(P(0) + SACT), 0);
    assert_int_equal(events(), SDBS);
    assert_memory_equal(medium + 500 * 512, board.memory + DATA + 0x6000, 1024);
    for (unsigned slot = 0; slot < 32; slot++)
        if (slot != 7)
            assert_memory_equal(board.memory + DATA + 512 * slot, medium + (100 + slot) * 512, 512);
}

/* Commands that are not queued are carried out one after the other, from that behind the last. */
static void test_one_at_a_time(void **state)
{
    at_once = false;
    start();
    for (unsigned slot = 0; slot < 3; slot++)
        prepare(slot, READ_EXT, slot, 1, DATA + 512 * slot, 512);
    issue(2);
    issue(5);
    assert_int_equal(holding, 1);
    assert_int_equal(in(P(0) + TFD) & 0xff, 0x80);
    assert_int_equal(in(P(0) + CI), 7);
    assert_int_equal(in(P(0) + CMD) >> 8 & 31, 1);
    mock_back(0);
    assert_int_equal(in(P(0) + CI), 5);
    assert_int_equal(in(P(0) + CMD) >> 8 & 31, 2);
    mock_back(0);
    assert_int_equal(in(P(0) + CI), 1);
    mock_back(0);
    assert_int_equal(in(P(0) + CI), 0);
    assert_int_equal(in(P(0) + TFD), 0x50);
    assert_memory_equal(board.memory + DATA, medium, 1536);
}

static void test_flush_and_stable_writes(void **state)
{
    static const uint8_t commands[] = {FLUSH, FLUSH_EXT, STANDBY};

    start();
    for (unsigned i = 0; i < 3; i++) {
        fis(0, commands[i], 0, 0, 0);
        submitted = 0;
        issue(1);
        assert_int_equal(events(), DHRS);
        assert_int_equal(submitted, 1);
        assert_int_equal(last.op, BLOCK_FLUSH);
    }
    fis(0, POWER, 0, 0, 0);
    issue(1);
    assert_int_equal(board.memory[FIS + 0x4c], 0);
    for (unsigned fua = 0; fua < 2; fua++) {
        block.has_fua = fua;
        prepare(0, WRITE_FUA, 1, 1, DATA, 512);
        submitted = 0;
        issue(1);
        assert_int_equal(submitted, 2 - fua);
        assert_int_equal((fua ? last : before_last).flags, fua ? BLOCK_FUA : 0);
        assert_true(fua || last.op == BLOCK_FLUSH);
        prepare_queued(0, WRITE_Q, 1, 1, DATA);
        board.memory[table(0) + 7] = 0xc0;
        submitted = 0;
        issue_queued(1);
        assert_int_equal(submitted, 2 - fua);
        assert_int_equal(in(P(0) + SACT), 0);
    }
    fis(0, POWER, 0, 0, 0);
    issue(1);
    assert_int_equal(board.memory[FIS + 0x4c], 0xff);
    /* Without its write cache, which is flushed first, each write is stable. */
    fis(0, FEATURES, 0, 0, 0);
    board.memory[table(0) + 3] = 0x82;
    submitted = 0;
    issue(1);
    assert_int_equal(last.op, BLOCK_FLUSH);
    prepare(0, WRITE_EXT, 1, 1, DATA, 512);
    submitted = 0;
    issue(1);
    assert_int_equal(last.flags, BLOCK_FUA);
    read_page(IDENTIFY, 0);
    assert_int_equal(word(85) & 0x20, 0);
    next_error = -EIO;
    fis(0, FLUSH, 0, 0, 0);
    issue(1);
    assert_int_equal(in(P(0) + TFD), 0x451);
}

static void test_trim(void **state)
{
    static const uint8_t zeroes[120 * 512];

    start();
    prepare(0, TRIM, 0, 1, DATA, 512);
    board.memory[table(0) + 3] = 1;
    memset(board.memory + DATA, 0, 512);
    put(DATA, 20 | UINT64_C(120) << 48, 8);
    put(DATA + 16, 200 | UINT64_C(3) << 48, 8);
    put(DATA + 504, 300 | UINT64_C(1) << 48, 8);
    issue(1);
    assert_int_equal(events(), DHRS);
    assert_int_equal(submitted, 5);
    assert_memory_equal(medium + 20 * 512, zeroes, 120 * 512);
    assert_memory_equal(medium + 200 * 512, zeroes, 3 * 512);
    assert_memory_equal(medium + 300 * 512, zeroes, 512);
    assert_true(medium[140 * 512 + 1] && medium[203 * 512 + 1] && medium[19 * 512 + 1]);
    put(DATA + 16, MOCK_SECTORS | UINT64_C(3) << 48, 8);
    issue(1);
    assert_int_equal(in(P(0) + TFD), 0x451);
    recover();
    memset(board.memory + DATA, 0, 512); /* nothing at all */
    issue(1);
    assert_int_equal(events(), DHRS);
}

static void test_features(void **state)
{
    static const struct {
        uint8_t feature, count;
        bool good;
    } what[] = {{3, 0x45, true},  {3, 0x46, false}, {3, 0x0c, true}, {3, 0x22, true},
                {3, 0x23, false}, {3, 0x90, false}, {2, 0, true},    {0x55, 0, true},
                {0xaa, 0, true},  {0x66, 0, true},  {0x10, 2, false}};

    start();
    for (unsigned i = 0; i < ARRAY_SIZE(what); i++) {
        fis(0, FEATURES, 0, what[i].count, 0);
        board.memory[table(0) + 3] = what[i].feature;
        issue(1);
        assert_int_equal(in(P(0) + TFD), what[i].good ? 0x50 : 0x451);
        if (!what[i].good)
            recover();
    }
    fis(0, 0xc6, 0, 8, 0);
    issue(1);
    read_page(IDENTIFY, 0);
    assert_int_equal(word(59), 0x108);
    prepare(0, 0xc4, 5, 9, DATA, 9 * 512);
    issue(1);
    assert_int_equal(events(), PSS);
    fis(0, 0x90, 0, 0, 0); /* EXECUTE DEVICE DIAGNOSTIC */
    issue(1);
    assert_int_equal(in(P(0) + CI), 0);
    assert_int_equal(in(P(0) + TFD), 0x150);
    assert_int_equal(events(), DHRS);
}

static void test_where_it_starts_from(void **state)
{
    expect_boots(&devices, &ahci_class, DEVICE_BOOT_DISK, 0,
                 "/pci@i0cf8/pci8086,2922@1/drive@0/disk@0");
    expect_boots(&devices, &ahci_class, DEVICE_BOOT_DISK, 1, NULL);
    expect_boots(&devices, &ahci_class, DEVICE_BOOT_CD, 0, NULL);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_where_it_starts_from),
        TEST(test_the_function),
        TEST(test_disks_and_ports),
        TEST(test_identify),
        TEST(test_identify_of_other_disks),
        TEST(test_transfers),
        TEST(test_queued),
        TEST(test_one_at_a_time),
        TEST(test_flush_and_stable_writes),
        TEST(test_trim),
        TEST(test_features),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
