/* links: guest/devices/ide/ide.c guest/devices/ide/channel.c guest/devices/ide/transfer.c guest/devices/ide/master.c guest/devices/ide/disk.c guest/devices/ide/identify.c guest/devices/ide/atapi.c guest/devices/ide/mmc.c guest/devices/ide/mmc_info.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* IDE disks by a driver that keeps to ATA/ATAPI-6. By the bus master: test_ide_dma.c. */
#include "tests/unit/ide_driver.h"
#include "tests/unit/boots.h"

static int setup(void **state)
{
    return setup_ide("ram:x,bus=ide", "ram:y,bus=ide", NULL);
}

static int setup_one(void **state)
{
    return setup_ide("ram:x,bus=ide", NULL);
}

static int setup_read_only(void **state)
{
    return setup_ide("ram:x,bus=ide,ro", NULL);
}

static int setup_wide(void **state)
{
    block.logical_block = 4096;
    return setup_ide("ram:x,bus=ide", NULL);
}

/* --- the function --- */

static void test_function(void **state)
{
    assert_int_equal(config(0, 4), 0x70108086);
    assert_int_equal(config(PCI_REVISION, 4) >> 8, 0x010180);
    assert_int_equal(config(PCI_INTERRUPT_PIN, 1), 0);
    assert_int_equal(config(PCI_COMMAND, 2), 1);
    assert_int_equal(config(0x20, 4), 0xc001);
    assert_int_equal(config(0x40, 4), 0x80008000);
    config_write(0x20, 4, 0xffffffff);
    assert_int_equal(config(0x20, 4), 0xfffffff1);
    config_write(0x20, 4, 0xd010);
    assert_int_equal(config(0x20, 4), 0xd011);
    master = 0xd010;
    out32(master + 4, 0x12345677);
    assert_int_equal(in32(master + 4), 0x12345674);
    out8(master + 5, 0xff);
    assert_int_equal(in32(master + 4), 0x1234ff74);
    assert_int_equal(in32(0xc004), 0xffffffff);
    assert_int_equal(in32(master + 12), 0); /* the other channel's */
    config_write(0x44, 1, 0x0b);
    assert_int_equal(config(0x44, 1), 0x0b);
}

/* "IDE decode enable", and the command register, switch the ports on and off. */
static void test_decoding(void **state)
{
    assert_int_equal(in8(0x1f7), READY);
    config_write(0x41, 1, 0);
    assert_int_equal(in8(0x1f7), 0xff);
    assert_int_equal(in8(0x3f6), 0xff);
    config_write(0x41, 1, 0x80);
    assert_int_equal(in8(0x3f6), READY);
    config_write(PCI_COMMAND, 2, 0);
    assert_int_equal(in8(0x1f7), 0xff);
    assert_int_equal(in8(0xc002), 0xff);
    bus_reset(&board.bus);
    assert_int_equal(in8(0x1f7), READY);
}

/* --- who is there --- */

static bool registers_keep(unsigned drive)
{
    out8(0x1f6, (uint8_t)(0xa0 | drive << 4));
    out8(0x1f2, 0x55);
    out8(0x1f3, 0xaa);
    out8(0x1f2, 0xaa);
    out8(0x1f3, 0x55);
    out8(0x1f2, 0x55);
    out8(0x1f3, 0xaa);
    return in8(0x1f2) == 0x55 && in8(0x1f3) == 0xaa;
}

/* A channel without drives floats; drive 0 answers for a drive 1 that is missing, with status 0
 * ("Single device configurations"). */
static void test_absent(void **state)
{
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(in8((uint16_t)(0x170 + i)), 0xff);
    assert_int_equal(in8(0x376), 0xff);
    assert_true(registers_keep(0));
    assert_int_equal(in8(0x1f6), 0xa0);
    assert_int_equal(in8(0x1f7), READY);
    assert_true(registers_keep(1));
    assert_int_equal(in8(0x1f1), 1); /* drive 0 has passed its diagnostic */
    assert_int_equal(in8(0x1f6), 0xb0);
    assert_int_equal(in8(0x1f7), 0);
    assert_int_equal(in8(0x3f6), 0);
    command(1, 0xec, 0, 0);
    assert_int_equal(in8(0x1f7), 0);
    assert_int_equal(in16(0x1f0), 0);
    assert_false(board.irq[14]);
    out8(0x1f6, 0xa0);
    assert_int_equal(in8(0x1f7), READY);
    assert_int_equal(submitted, 0);
}

static void test_software_reset(void **state)
{
    command(1, 0xec, 0, 0);
    assert_true(board.irq[14]);
    out8(0x3f6, 4);
    assert_int_equal(in8(0x3f6), 0x80);
    assert_false(board.irq[14]);
    out8(0x1f2, 0x77); /* is not taken */
    out8(0x3f6, 0);
    for (unsigned drive = 0; drive < 2; drive++) {
        assert_int_equal(in8(0x1f6), drive ? 0xb0 : 0xa0); /* drive 0 is selected */
        assert_int_equal(in8(0x1f7), READY);
        assert_int_equal(in8(0x1f1), 1);
        assert_int_equal(in8(0x1f2), 1);
        assert_int_equal(in8(0x1f3), 1);
        assert_int_equal(in8(0x1f4), 0);
        assert_int_equal(in8(0x1f5), 0);
        out8(0x1f6, 0xb0);
    }
    assert_false(board.irq[14]);
}

static void test_diagnostic(void **state)
{
    command(1, 0x90, 0, 0);
    assert_true(board.irq[14]);
    assert_int_equal(in8(0x1f6), 0xa0);
    assert_int_equal(in8(0x1f1), 1);
    assert_int_equal(in8(0x1f2), 1);
    assert_int_equal(in8(0x1f7), READY);
    assert_false(board.irq[14]);
}

/* --- IDENTIFY DEVICE --- */

static void test_identify(void **state)
{
    uint16_t w[256];
    char text[41];

    identify(0, w);
    assert_int_equal(w[0], 0x40);
    assert_int_equal(w[1], SECTORS / (16 * 63));
    assert_int_equal(w[3], 16);
    assert_int_equal(w[6], 63);
    text_of(w + 10, 10, text);
    assert_string_equal(text, "serial-1            ");
    text_of(w + 27, 20, text);
    assert_memory_equal(text, "Corbel disk    ", 15);
    assert_int_equal(w[47], 0x8010);
    assert_int_equal(w[49], 0x0f00);
    assert_int_equal(w[53], 3);
    assert_int_equal(w[54], SECTORS / (16 * 63));
    assert_int_equal(w[57] | w[58] << 16, SECTORS / (16 * 63) * 16 * 63);
    assert_int_equal(w[59], 0x110);
    assert_int_equal(w[60] | w[61] << 16, SECTORS);
    assert_int_equal(w[63], 0x407);
    assert_int_equal(w[64], 3);
    assert_int_equal(w[82] & 0x20, 0x20);
    assert_int_equal(w[83], 0x7400);
    assert_int_equal(w[85] & 0x20, 0x20);
    assert_int_equal(w[86], 0x3400);
    assert_int_equal(w[100], SECTORS);
    assert_int_equal(w[101] | w[102] | w[103], 0);
    assert_int_equal(w[106], 0x6003); /* eight to a physical one */
    command(0, 0xef, 0, 0);
    out8(0x1f1, 0x82); /* no write cache */
    out8(0x1f7, 0xef);
    settle();
    set_features(0x03, 0x21);
    out8(0x1f6, 0xe0);
    out8(0x1f2, 8);
    out8(0x1f7, 0xc6);
    identify(0, w);
    assert_int_equal(w[85] & 0x20, 0);
    assert_int_equal(w[63], 0x207);
    assert_int_equal(w[59], 0x108);
    block.sectors = UINT64_C(0x123456789);
    identify(0, w);
    assert_int_equal(w[1], 16383);
    assert_int_equal(w[60] | w[61] << 16, 0x0fffffff);
    assert_int_equal(w[100] | w[101] << 16, 0x23456789);
    assert_int_equal(w[102], 1);
    block.sectors = SECTORS;
}

static void test_wide_blocks(void **state)
{
    uint16_t w[256];

    identify(0, w);
    assert_int_equal(w[60], SECTORS / 8);
    assert_int_equal(w[106], 0x5000);
    assert_int_equal(w[117] | w[118] << 16, 2048);
    assert_int_equal(w[47], 0x8004);
    command(0, READ_SECTORS, 2, 3);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(interrupted());
        assert_int_equal(in8(0x1f7), 0x58);
        read_data(buffer, 4096);
        assert_memory_equal(buffer, medium + (3 + i) * 4096, 4096);
    }
    assert_int_equal(in8(0x1f7), READY);
    command(0, READ_SECTORS, 1, SECTORS / 8);
    assert_int_equal(in8(0x1f7), 0x51);
    assert_int_equal(in8(0x1f1), 0x10);
}

/* --- PIO --- */

/* An interrupt for each block, none behind the last one. */
static void test_pio_read(void **state)
{
    command(0, READ_SECTORS, 3, 1000);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(board.irq[14]);
        assert_int_equal(in8(0x3f6), 0x58); /* which acknowledges nothing */
        assert_true(interrupted());
        assert_int_equal(in8(0x1f7), 0x58);
        read_data(buffer, 512);
        assert_memory_equal(buffer, medium + (1000 + i) * 512, 512);
    }
    assert_false(board.irq[14]);
    assert_int_equal(in8(0x1f7), READY);
    assert_int_equal(in16(0x1f0), 0);
    assert_int_equal(board.rises[14], 3);
    /* Four bytes at a time; 256 sectors are more than the drive's buffer takes. */
    command(0, READ_SECTORS, 0, 2000);
    for (unsigned i = 0; i < 256; i++) {
        assert_int_equal(in8(0x1f7), 0x58);
        for (unsigned j = 0; j < 512; j += 4) {
            uint32_t v = in32(0x1f0);
            memcpy(buffer + j, &v, 4);
        }
        assert_memory_equal(buffer, medium + (2000 + i) * 512, 512);
    }
    assert_int_equal(in8(0x1f7), READY);
}

/* No interrupt before the first block, one behind each. */
static void test_pio_write(void **state)
{
    command(1, WRITE_SECTORS, 2, 77);
    assert_false(board.irq[14]);
    assert_int_equal(in8(0x1f7), 0x58);
    memset(buffer, 0x5a, sizeof(buffer));
    write_data(buffer, 510);
    assert_false(board.irq[14]);
    assert_int_equal(submitted, 0);
    write_data(buffer, 2);
    assert_int_equal(submitted, 1);
    assert_true(interrupted());
    assert_int_equal(in8(0x1f7), 0x58);
    write_data(buffer, 512);
    assert_true(interrupted());
    assert_int_equal(in8(0x1f7), READY);
    assert_memory_equal(medium + 77 * 512, buffer, 1024);
    assert_int_equal(medium[79 * 512], (uint8_t)(79 * 7));
    assert_int_equal(last.op, BLOCK_WRITE);
}

static void test_multiple(void **state)
{
    out8(0x1f2, 4);
    out8(0x1f7, 0xc6);
    assert_int_equal(in8(0x1f7), READY);
    board.rises[14] = 0;
    command(0, 0xc4, 10, 5);
    for (unsigned i = 0; i < 10; i += 4) {
        assert_int_equal(in8(0x1f7), 0x58);
        read_data(buffer, MIN(4, 10 - i) * 512);
        assert_memory_equal(buffer, medium + (5 + i) * 512, MIN(4, 10 - i) * 512);
    }
    assert_int_equal(in8(0x1f7), READY);
    assert_int_equal(board.rises[14], 3);
    command48(0, 0x39, 6, 40);
    memset(buffer, 0x33, sizeof(buffer));
    write_data(buffer, 4 * 512);
    assert_true(interrupted());
    write_data(buffer, 2 * 512);
    assert_true(interrupted());
    assert_int_equal(in8(0x1f7), READY);
    assert_memory_equal(medium + 40 * 512, buffer, 6 * 512);
    for (unsigned i = 0; i < 4; i++) {
        static const uint8_t wrong[] = {3, 32, 255, 5};
        out8(0x1f2, wrong[i]);
        out8(0x1f7, 0xc6);
        assert_int_equal(in8(0x1f7), 0x51);
        assert_int_equal(in8(0x1f1), 4);
    }
    out8(0x1f2, 0); /* off */
    out8(0x1f7, 0xc6);
    command(0, 0xc4, 10, 5);
    assert_int_equal(in8(0x1f7), 0x51);
}

/* --- addresses --- */

static void test_lba48(void **state)
{
    uint32_t value;

    command48(0, 0x24, 0x0100, 0x0102);
    assert_int_equal(in8(0x1f7), 0x58);
    read_data(buffer, 512);
    assert_memory_equal(buffer, medium + 0x0102 * 512, 512);
    assert_int_equal(last.sector, 0x0112);
    soft_reset();
    /* What was written before the last time is read with HOB, until the next write. */
    out8(0x1f2, 0x12);
    out8(0x1f2, 0x34);
    out8(0x1f4, 0x56);
    out8(0x1f4, 0x78);
    out8(0x3f6, 0x80);
    value = in8(0x1f2);
    assert_int_equal(value, 0x12);
    assert_int_equal(in8(0x1f4), 0x56);
    out8(0x1f6, 0xa0);
    assert_int_equal(in8(0x1f2), 0x34);
    assert_int_equal(in8(0x1f4), 0x78);
    command48(0, 0x24, 1, UINT64_C(0x123456789a));
    assert_int_equal(in8(0x1f7), 0x51);
    assert_int_equal(in8(0x1f1), 0x10);
    command48(0, 0x24, 0, 0); /* 65536 are more than there are */
    assert_int_equal(in8(0x1f1), 0x10);
}

static void chs(uint8_t code, unsigned cylinder, unsigned head, unsigned sector)
{
    out8(0x1f6, (uint8_t)(0xa0 | head));
    out8(0x1f2, 1);
    out8(0x1f3, (uint8_t)sector);
    out8(0x1f4, (uint8_t)cylinder);
    out8(0x1f5, (uint8_t)(cylinder >> 8));
    out8(0x1f7, code);
}

static void test_chs(void **state)
{
    uint16_t w[256];

    chs(READ_SECTORS, 1, 2, 3);
    assert_int_equal(in8(0x1f7), 0x58);
    assert_int_equal(last.sector, (1 * 16 + 2) * 63 + 2);
    soft_reset();
    for (unsigned i = 0; i < 3; i++) {
        chs(i == 2 ? 0x70 : READ_SECTORS, i == 2 ? 100 : 1, 0, i == 1 ? 64 : i == 0 ? 0 : 1);
        assert_int_equal(in8(0x1f7), 0x51);
        assert_int_equal(in8(0x1f1), 0x10);
    }
    chs(0x70, 1, 1, 1);
    assert_int_equal(in8(0x1f7), READY);
    out8(0x1f2, 20);
    out8(0x1f6, 0xa7);
    out8(0x1f7, 0x91);
    assert_int_equal(in8(0x1f7), READY);
    identify(0, w);
    assert_int_equal(w[54], SECTORS / 160);
    assert_int_equal(w[55], 8);
    assert_int_equal(w[56], 20);
    assert_int_equal(w[3], 16);
    chs(READ_SECTORS, 3, 7, 20);
    assert_int_equal(last.sector, (3 * 8 + 7) * 20 + 19);
    soft_reset();
    chs(READ_SECTORS, 3, 8, 20);
    assert_int_equal(in8(0x1f1), 0x10);
    out8(0x1f2, 0);
    out8(0x1f7, 0x91);
    assert_int_equal(in8(0x1f7), 0x51);
}

/* --- errors --- */

static void test_errors(void **state)
{
    fails_at = 1005;
    command(0, READ_SECTORS, 1, 1005);
    assert_true(interrupted());
    assert_int_equal(in8(0x1f7), 0x51);
    assert_int_equal(in8(0x1f1), 0x40);
    assert_int_equal(address(), 1005);
    command(0, WRITE_SECTORS, 3, 1004);
    write_data(buffer, 512);
    assert_int_equal(in8(0x1f7), 0x58);
    write_data(buffer, 512);
    assert_true(interrupted());
    assert_int_equal(in8(0x1f7), 0x51);
    assert_int_equal(in8(0x1f1), 4);
    assert_int_equal(address(), 1005);
    command(0, 0x40, 20, 1000); /* READ VERIFY */
    assert_int_equal(in8(0x1f7), 0x51);
    fails_at = 1020; /* in the second part that the block device gets */
    prd(0, DATA, 40 * 512, true);
    dma(READ_DMA, 40, 1000);
    assert_int_equal(in8(0x1f7), 0x51);
    assert_int_equal(address(), 1016);
    out8(master, 0);
    fails_at = -1;
    command(0, 0x40, 20, 1000);
    assert_true(interrupted());
    assert_int_equal(in8(0x1f7), READY);
    command(0, READ_SECTORS, 2, SECTORS - 1);
    assert_int_equal(in8(0x1f1), 0x10);
    for (unsigned i = 0; i < 3; i++) { /* NOP, what is none, a CD-ROM's */
        static const uint8_t unknown[] = {0x00, 0x0f, 0xa1};
        command(0, unknown[i], 1, 0);
        assert_true(interrupted());
        assert_int_equal(in8(0x1f7), 0x51);
        assert_int_equal(in8(0x1f1), 4);
    }
    command(0, 0xe5, 0, 0);
    assert_int_equal(in8(0x1f2), 0xff);
    assert_int_equal(in8(0x1f7), READY);
}

static void test_read_only(void **state)
{
    command(0, WRITE_SECTORS, 1, 0);
    assert_int_equal(in8(0x1f7), 0x51);
    assert_int_equal(in8(0x1f1), 4);
    prd(0, DATA, 512, true);
    dma(WRITE_DMA, 1, 0);
    assert_int_equal(in8(0x1f7), 0x51);
    assert_int_equal(submitted, 0);
}

/* --- interrupts --- */

static void test_no_interrupt(void **state)
{
    out8(0x3f6, 2);
    command(0, 0xe5, 0, 0);
    assert_false(board.irq[14]);
    assert_int_equal(in8(master + 2) & 4, 0);
    out8(0x3f6, 0); /* it is still pending */
    assert_true(board.irq[14]);
    assert_int_equal(in8(master + 2) & 4, 4);
    out8(0x1f6, 0xb0); /* the other drive's line does not drive it */
    assert_false(board.irq[14]);
    assert_int_equal(in8(master + 2) & 4, 4);
    out8(0x1f6, 0xa0);
    assert_true(board.irq[14]);
    (void)in8(0x1f7);
    assert_false(board.irq[14]);
    out8(master + 2, 4);
    assert_int_equal(in8(master + 2) & 4, 0);
    command(0, 0xe5, 0, 0);
    assert_true(board.irq[14]);
    out8(0x1f7, 0xe5); /* as does the next command */
    assert_int_equal(board.falls[14], 3);
    (void)in8(0x1f7);
}

/* --- how many --- */

static void test_too_many(void **state)
{
    assert_int_equal(
        setup_ide("ram:a,bus=ide", "ram:b,bus=ide", "ram:c,bus=ide", "ram:d,bus=ide", NULL), 0);
    for (unsigned i = 0; i < 2; i++) {
        out8(0x176, (uint8_t)(0xa0 | i << 4));
        assert_int_equal(in8(0x177), READY);
    }
    out8(0x177, 0xe5);
    assert_true(board.irq[15]);
    assert_false(board.irq[14]);
    assert_int_equal(in8(master + 10) & 4, 4);
    teardown(NULL);
    assert_int_equal(setup_ide("ram:a,bus=ide", "ram:b,bus=ide", "ram:c,bus=ide", "ram:d,bus=ide",
                               "ram:e,bus=ide", NULL),
                     -1);
    assert_string_equal(said, "IDE has 4 drives at most");
    assert_int_equal(closed, 4);
    mock_destroy(&board);
    device_list_destroy(&devices);
}

static void test_where_it_starts_from(void **state)
{
    expect_boots(&devices, &ide_class, DEVICE_BOOT_DISK, 0, "/pci@i0cf8/ide@1/drive@0/disk@0");
    expect_boots(&devices, &ide_class, DEVICE_BOOT_DISK, 1, "/pci@i0cf8/ide@1/drive@0/disk@1");
    expect_boots(&devices, &ide_class, DEVICE_BOOT_DISK, 2, NULL);
    expect_boots(&devices, &ide_class, DEVICE_BOOT_CD, 0, NULL);
    expect_boots(&devices, &ide_class, DEVICE_BOOT_NET, 0, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_where_it_starts_from, setup, teardown),
        cmocka_unit_test_setup_teardown(test_function, setup, teardown),
        cmocka_unit_test_setup_teardown(test_decoding, setup, teardown),
        cmocka_unit_test_setup_teardown(test_absent, setup_one, teardown),
        cmocka_unit_test_setup_teardown(test_software_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_diagnostic, setup, teardown),
        cmocka_unit_test_setup_teardown(test_identify, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wide_blocks, setup_wide, teardown),
        cmocka_unit_test_setup_teardown(test_pio_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pio_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_multiple, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lba48, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_only, setup_read_only, teardown),
        cmocka_unit_test_setup_teardown(test_no_interrupt, setup, teardown),
        cmocka_unit_test(test_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
