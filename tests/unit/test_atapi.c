/* links: guest/devices/ide/ide.c guest/devices/ide/channel.c guest/devices/ide/transfer.c guest/devices/ide/master.c guest/devices/ide/disk.c guest/devices/ide/identify.c guest/devices/ide/atapi.c guest/devices/ide/mmc.c guest/devices/ide/mmc_info.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* A CD-ROM drive by a driver that keeps to the PACKET protocols of ATA/ATAPI-6 and to MMC. */
#include "tests/unit/ide_driver.h"
#include "tests/unit/boots.h"

#define FAILED    0x51
#define BLOCKS    (SECTORS / 4)
#define MEDIA     0x10
#define NOT_ASKED 0

static struct device *controller;

static int finish_setup(int result)
{
    use_channel(1);
    controller = device_list_find(&devices, &ide_class, 0);
    return result;
}

static int setup(void **state)
{
    discs[0] = "a.iso";
    return finish_setup(setup_ide("ram:x,bus=ide", NULL));
}

static int setup_empty(void **state)
{
    discs[0] = "none";
    return finish_setup(setup_ide(NULL));
}

static int setup_later(void **state)
{
    int result = setup(state);

    at_once = false;
    slow = true;
    return result;
}

/* --- packets --- */

static const uint8_t *packet_of(const char *hex)
{
    static uint8_t bytes[12];
    unsigned n = 0, digits = 0, value = 0;

    memset(bytes, 0, sizeof(bytes));
    for (; *hex && n < 12; hex++) {
        if (*hex == ' ')
            continue;
        value = value * 16 + (unsigned)(*hex <= '9' ? *hex - '0' : *hex - 'a' + 10);
        if (++digits % 2 == 0) {
            bytes[n++] = (uint8_t)value;
            value = 0;
        }
    }
    return bytes;
}

/* PACKET, up to the packet's last byte. */
static void send(const char *hex, uint8_t feature, uint16_t most)
{
    out8(base + 6, 0xa0);
    out8(base + 1, feature);
    out8(base + 4, (uint8_t)most);
    out8(base + 5, (uint8_t)(most >> 8));
    out8(base + 7, 0xa0);
    assert_false(board.irq[15]);
    assert_int_equal(in8(base + 7) & 0x89, 0x08);
    assert_int_equal(in8(base + 2) & 7, 1);
    write_data(packet_of(hex), 12);
}

/* Take all that comes, block by block; how many bytes, and the status at the end. */
static unsigned receive(uint8_t *to, uint8_t *status)
{
    unsigned sum = 0;

    for (;;) {
        assert_true(board.irq[15]);
        *status = in8(base + 7);
        if (!(*status & 8))
            break;
        assert_int_equal(in8(base + 2) & 7, 2);
        unsigned bytes = in8(base + 4) | (unsigned)in8(base + 5) << 8;
        assert_true(bytes > 0 && sum + bytes <= sizeof(buffer));
        read_data(to + sum, bytes);
        sum += bytes;
    }
    assert_int_equal(in8(base + 2) & 7, 3);
    return sum;
}

static unsigned ask(const char *hex, uint8_t *status)
{
    memset(buffer, 0xee, sizeof(buffer));
    send(hex, 0, 0xfffe);
    return receive(buffer, status);
}

static void expect_reply(const char *hex, unsigned bytes)
{
    uint8_t status;

    assert_int_equal(ask(hex, &status), bytes);
    assert_int_equal(status, READY);
}

static void expect_failure(const char *hex, uint8_t key, unsigned code)
{
    uint8_t status;

    assert_int_equal(ask(hex, &status), 0);
    assert_int_equal(status, FAILED);
    assert_int_equal(in8(base + 1), key << 4 | 4);
    expect_reply("03 00 00 00 12", 18);
    assert_int_equal(buffer[0], 0x70);
    assert_int_equal(buffer[2], key);
    assert_int_equal(buffer[12] << 8 | buffer[13], code);
}

/* The first packet after power-on is told of that. */
static void power_on(void)
{
    expect_failure("00", 6, 0x2900);
}

static unsigned be32(const uint8_t *b)
{
    return (unsigned)b[0] << 24 | (unsigned)b[1] << 16 | (unsigned)b[2] << 8 | b[3];
}

/* --- who it is --- */

static void test_identify(void **state)
{
    uint16_t w[256];
    char text[41];

    out8(0x376, 4);
    out8(0x376, 0);
    assert_int_equal(in8(base + 7), 0);
    assert_int_equal(in8(base + 2), 1);
    assert_int_equal(in8(base + 4), 0x14);
    assert_int_equal(in8(base + 5), 0xeb);
    command(0, 0xec, 0, 0); /* IDENTIFY DEVICE is a disk's */
    assert_true(interrupted());
    assert_int_equal(in8(base + 7), FAILED);
    assert_int_equal(in8(base + 1), 4);
    assert_int_equal(in8(base + 4), 0x14);
    assert_int_equal(in8(base + 5), 0xeb);
    command(0, 0xa1, 0, 0);
    assert_true(interrupted());
    read_data((uint8_t *)w, 512);
    assert_false(board.irq[15]);
    assert_int_equal(in8(base + 7), READY);
    assert_int_equal(w[0], 0x85c0);
    assert_int_equal(w[49] & 0x300, 0x300);
    assert_int_equal(w[63], 0x407);
    assert_int_equal(w[82] & 0x210, 0x210);
    text_of(w + 27, 20, text);
    assert_memory_equal(text, "Corbel CD-ROM  ", 15);
    command(0, 0x20, 1, 0);
    assert_int_equal(in8(base + 7), FAILED);
    out8(base + 1, 3);
    out8(base + 2, 0x21);
    out8(base + 7, 0xef);
    assert_int_equal(in8(base + 7), READY);
    /* The disk is at the other channel. */
    assert_int_equal(in8(0x1f7), READY);
    assert_int_equal(in8(0x1f4), 0);
}

/* The transfer length of the packet and the byte count limit of the command cut what there is. */
static void test_blocks(void **state)
{
    uint8_t status;

    send("12 00 00 00 24", 0, 9); /* even: 8 */
    for (unsigned i = 0; i < 36; i += 8) {
        assert_true(interrupted());
        assert_int_equal(in8(base + 7) & 0x89, 8);
        assert_int_equal(in8(base + 4), MIN(8, 36 - i));
        assert_int_equal(in8(base + 5), 0);
        read_data(buffer + i, MIN(8, 36 - i));
    }
    assert_true(board.irq[15]);
    assert_int_equal(receive(buffer + 36, &status), 0);
    assert_int_equal(status, READY);
    assert_int_equal(buffer[0], 5);
    assert_int_equal(buffer[1], 0x80);
    assert_int_equal(buffer[3] & 0xf, 1);
    assert_int_equal(buffer[4], 31);
    assert_memory_equal(buffer + 8, "Corbel  CD-ROM          1.0 ", 28);
    expect_reply("12 00 00 00 05", 5);
    expect_reply("12 00 00 00 00", 0);
    expect_failure("12 01 80 00 24", 5, 0x2400);
    out8(base + 1, 2); /* overlapped */
    out8(base + 7, 0xa0);
    assert_int_equal(in8(base + 7), FAILED);
}

/* --- attention and sense --- */

static void test_attention(void **state)
{
    expect_reply("12 00 00 00 24", 36); /* which is told nobody */
    power_on();
    expect_reply("03 00 00 00 12", 18); /* sense is told once */
    assert_int_equal(buffer[2], 0);
    expect_failure("f7", 5, 0x2000);
    bus_reset(&board.bus);
    expect_reply("03 00 00 00 12", 18); /* may come before any failure */
    assert_int_equal(buffer[2], 6);
    assert_int_equal(buffer[12], 0x29);
    expect_reply("00", 0);
}

/* --- reading --- */

static void test_read(void **state)
{
    uint8_t status;

    power_on();
    expect_reply("25", 8);
    assert_int_equal(be32(buffer), BLOCKS - 1);
    assert_int_equal(be32(buffer + 4), 2048);
    expect_reply("28 00 00 00 00 10 00 00 03 00", 3 * 2048);
    assert_memory_equal(buffer, medium + 16 * 2048, 3 * 2048);
    send("a8 00 00 00 00 11 00 00 00 02", 0, 2048);
    assert_int_equal(in8(base + 5), 8);
    assert_int_equal(receive(buffer, &status), 2 * 2048);
    assert_memory_equal(buffer, medium + 17 * 2048, 2 * 2048);
    expect_reply("be 00 00 00 00 12 00 00 01 10", 2048);
    assert_memory_equal(buffer, medium + 18 * 2048, 2048);
    expect_failure("be 00 00 00 00 12 00 00 01 f8", 5, 0x2400);
    expect_reply("28 00 00 00 00 10 00 00 00 00", 0);
    expect_failure("28 00 00 00 04 e1 00 00 02 00", 5, 0x2100);
    expect_failure("a8 00 ff ff ff ff 00 00 00 02", 5, 0x2100);
    fails_at = 16 * 4 + 5;
    send("28 00 00 00 00 10 00 00 03 00", 0, 2048);
    while (in8(base + 7) & 8)
        read_data(buffer, 2048);
    assert_int_equal(in8(base + 7), FAILED);
    expect_reply("03 00 00 00 12", 18);
    assert_int_equal(buffer[2], 3);
    assert_int_equal(buffer[12], 0x11);
}

static void test_dma(void **state)
{
    power_on();
    prd(0, DATA, 3 * 2048, true);
    out32((uint16_t)(master + 4), TABLE);
    out8(master, 8);
    send("28 00 00 00 00 10 00 00 03 00", 1, 0);
    assert_int_equal(in8(base + 7), 0x80);
    out8(master, 9);
    assert_true(interrupted());
    assert_int_equal(in8(master + 2) & 7, 4);
    assert_int_equal(in8(base + 7), READY);
    assert_int_equal(in8(base + 2) & 7, 3);
    assert_memory_equal(board.memory + DATA, medium + 16 * 2048, 3 * 2048);
    /* Answers, too, and in any pieces. */
    prd(0, DATA, 6, false);
    prd(1, DATA + 0x100, 64, true);
    out8(master, 0);
    out8(master + 2, 4);
    out8(master, 9);
    send("12 00 00 00 24", 1, 0);
    assert_true(interrupted());
    assert_int_equal(in8(master + 2) & 7, 5);
    assert_memory_equal(board.memory + DATA + 0x102, "Corbel", 6);
    out8(master, 0);
}

/* --- tables --- */

static void test_toc(void **state)
{
    power_on();
    expect_reply("43 00 00 00 00 00 00 00 ff 00", 20);
    assert_int_equal(buffer[1], 18);
    assert_int_equal(buffer[2] | buffer[3] << 8, 0x101);
    assert_int_equal(buffer[5], 0x14);
    assert_int_equal(buffer[6], 1);
    assert_int_equal(be32(buffer + 8), 0);
    assert_int_equal(buffer[14], 0xaa);
    assert_int_equal(be32(buffer + 16), BLOCKS);
    expect_reply("43 02 00 00 00 00 aa 00 ff 00", 12); /* by time */
    assert_int_equal(buffer[6], 0xaa);
    assert_int_equal(be32(buffer + 8), 0x00001232);    /* 18 seconds, 50 frames */
    expect_reply("43 00 00 00 00 00 00 00 0c 40", 12); /* sessions, the old way */
    assert_int_equal(buffer[1], 10);
    assert_int_equal(be32(buffer + 8), 0);
    expect_reply("43 02 02 00 00 00 00 00 ff 00", 48);
    assert_int_equal(buffer[7], 0xa0);
    expect_failure("43 00 00 00 00 00 02 00 ff 00", 5, 0x2400);
    expect_failure("43 00 05 00 00 00 00 00 ff 00", 5, 0x2400);
}

static void test_mode(void **state)
{
    power_on();
    expect_reply("5a 00 2a 00 00 00 00 00 80 00", 28);
    assert_int_equal(buffer[1], 26);
    assert_int_equal(buffer[2], 1);
    assert_int_equal(buffer[8], 0x2a);
    assert_int_equal(buffer[9], 18);
    assert_int_equal(buffer[14], 0x29);
    expect_reply("1a 00 2a 00 80", 24);
    assert_int_equal(buffer[0], 23);
    assert_int_equal(buffer[4], 0x2a);
    expect_reply("5a 00 3f 00 00 00 00 00 80 00", 36);
    expect_reply("5a 00 6a 00 00 00 00 00 80 00", 28); /* what can be changed: nothing */
    assert_int_equal(buffer[10], 0);
    expect_failure("5a 00 ea 00 00 00 00 00 80 00", 5, 0x3900);
    expect_failure("5a 00 0e 00 00 00 00 00 80 00", 5, 0x2400);
}

static void test_configuration(void **state)
{
    expect_reply("46 00 00 00 00 00 00 00 ff 00", 8 + 12 + 12 + 8 + 12 + 8 + 8);
    assert_int_equal(be32(buffer), 8 + 12 + 12 + 8 + 12 + 8 + 8 - 4);
    assert_int_equal(buffer[7], 8); /* a CD-ROM */
    assert_int_equal(buffer[11], 8);
    expect_reply("46 02 00 10 00 00 00 00 ff 00", 8 + 12);
    assert_int_equal(buffer[9], 0x10);
    assert_int_equal(buffer[10], 1);
    expect_reply("46 01 00 1e 00 00 00 00 ff 00", 8 + 8);
    block.sectors = 400000 * 4;
    expect_reply("46 02 00 1f 00 00 00 00 ff 00", 8 + 8);
    assert_int_equal(buffer[7], 0x10); /* a DVD-ROM */
    assert_int_equal(buffer[10], 1);
    block.sectors = SECTORS;
    power_on();
    expect_reply("51 00 00 00 00 00 00 00 ff 00", 34);
    assert_int_equal(buffer[2], 0x0e);
    expect_reply("bd 00 00 00 00 00 00 00 00 08", 8);
    assert_int_equal(buffer[1], 0);
}

/* --- the disc comes and goes --- */

static unsigned event(void)
{
    expect_reply("4a 01 00 00 10 00 00 00 08 00", 8);
    assert_int_equal(buffer[1], 6);
    assert_int_equal(buffer[2], 4);
    assert_int_equal(buffer[3], MEDIA);
    return buffer[4] & 0xf;
}

static void test_guest_ejects(void **state)
{
    power_on();
    assert_int_equal(event(), 0);
    assert_int_equal(buffer[5], 2);
    expect_reply("1e 00 00 00 01", 0);
    expect_failure("1b 00 00 00 02", 5, 0x5302);
    expect_reply("5a 00 2a 00 00 00 00 00 80 00", 28);
    assert_int_equal(buffer[14], 0x2b);
    expect_reply("1e 00 00 00 00", 0);
    expect_reply("1b 00 00 00 02", 0);
    assert_int_equal(event(), 3);
    assert_int_equal(buffer[5], 1);
    assert_int_equal(event(), 0);
    expect_failure("00", 2, 0x3a02);
    expect_failure("28 00 00 00 00 10 00 00 03 00", 2, 0x3a02);
    expect_failure("25", 2, 0x3a02);
    expect_reply("bd 00 00 00 00 00 00 00 00 08", 8);
    assert_int_equal(buffer[1], 0x10);
    bus_reset(&board.bus); /* a tray stays as it is */
    power_on();
    expect_failure("1b 00 00 00 01", 2, 0x3a02);
    expect_reply("1b 00 00 00 03", 0);
    expect_failure("00", 6, 0x2800);
    assert_int_equal(event(), 2);
    expect_reply("00", 0);
    expect_reply("28 00 00 00 00 10 00 00 01 00", 2048);
    /* Asked for nothing that there is. */
    expect_reply("4a 01 00 00 02 00 00 00 08 00", 4);
    assert_int_equal(buffer[2], 0x80);
    expect_failure("4a 00 00 00 10 00 00 00 08 00", 5, 0x2400);
}

static void test_ejected(void **state)
{
    struct device_disk other = {.block = &block, .close = close_block, .read_only = true};

    power_on();
    assert_int_equal(cdrom_insert(controller, &other), -EEXIST);
    expect_reply("1e 00 00 00 01", 0);
    assert_int_equal(cdrom_eject(controller, false), -EBUSY);
    assert_int_equal(event(), 1); /* the guest is asked */
    assert_int_equal(cdrom_eject(controller, true), 0);
    assert_int_equal(event(), 3);
    expect_failure("00", 2, 0x3a02);
    assert_int_equal(closed, 0);
    opened++;
    assert_int_equal(cdrom_insert(controller, &other), 0);
    assert_int_equal(closed, 1);
    expect_failure("00", 6, 0x2800);
    expect_reply("28 00 00 00 00 10 00 00 01 00", 2048);
    assert_int_equal(cdrom_eject(controller, false), 0);
    assert_int_equal(cdrom_eject(controller, false), 0);
    assert_int_equal(cdrom_insert(controller, NULL), 0);
    expect_failure("00", 6, 0x2800);
    expect_reply("00", 0);
    /* In the middle of reading. */
    send("28 00 00 00 00 00 00 00 20 00", 0, 2048);
    read_data(buffer, 2048);
    assert_int_equal(cdrom_eject(controller, true), 0);
    while (in8(base + 7) & 8)
        read_data(buffer, 2048);
    assert_int_equal(in8(base + 7), FAILED);
    expect_reply("03 00 00 00 12", 18);
    assert_int_equal(buffer[2], 2);
    assert_int_equal(buffer[12], 0x3a);
}

static void test_ejected_while_reading(void **state)
{
    uint8_t status;

    send("00", 0, 0);
    (void)in8(base + 7);
    send("28 00 00 00 00 00 00 00 01 00", 0, 2048);
    assert_int_equal(holding, 1);
    assert_int_equal(cdrom_eject(controller, true), -EAGAIN);
    one_back();
    assert_int_equal(receive(buffer, &status), 2048);
    assert_int_equal(status, READY);
    assert_int_equal(cdrom_eject(controller, true), 0);
}

static void test_empty(void **state)
{
    struct device_disk disc = {.block = &block, .close = close_block, .read_only = true};

    assert_int_equal(in8(0x1f7), 0xff);
    power_on();
    expect_failure("00", 2, 0x3a01);
    expect_failure("28 00 00 00 00 10 00 00 03 00", 2, 0x3a01);
    expect_failure("43 00 00 00 00 00 00 00 ff 00", 2, 0x3a01);
    expect_reply("46 00 00 00 00 00 00 00 08 00", 8);
    assert_int_equal(buffer[7], 0);
    opened++;
    assert_int_equal(cdrom_insert(controller, &disc), 0);
    expect_failure("00", 6, 0x2800);
    expect_reply("28 00 00 00 00 10 00 00 01 00", 2048);
}

/* --- resets and saved state --- */

/* DEVICE RESET is taken at any time, and ends what is under way. */
static void test_device_reset(void **state)
{
    out8(base + 7, 0xa0);
    assert_int_equal(in8(base + 7) & 0x88, 8);
    out8(base + 7, 0xa1); /* is not */
    assert_int_equal(in8(base + 2) & 7, 1);
    out8(base + 7, 0x08);
    assert_int_equal(in8(base + 7), 0);
    assert_int_equal(in8(base + 4), 0x14);
    send("00", 0, 0);
    (void)in8(base + 7);
    send("28 00 00 00 00 00 00 00 01 00", 0, 2048);
    assert_int_equal(in8(base + 7), 0x80);
    out8(base + 7, 0x08);
    assert_int_equal(in8(base + 7), 0x80);
    one_back();
    assert_int_equal(in8(base + 7), 0);
    assert_false(board.irq[15]);
    /* A disk knows no such command. */
    use_channel(0);
    command(0, 0x08, 0, 0);
    assert_int_equal(in8(base + 7), FAILED);
}

static void test_saved(void **state)
{
    uint8_t status;

    power_on();
    out8(base + 4, 0);
    out8(base + 5, 8);
    out8(base + 7, 0xa0);
    write_data(packet_of("28 00 00 00 00 10 00 00 03 00"), 4);
    assert_true(mock_round_trip(&board));
    write_data(packet_of("28 00 00 00 00 10 00 00 03 00") + 4, 8);
    assert_true(interrupted());
    read_data(buffer, 1000);
    assert_true(mock_round_trip(&board));
    read_data(buffer + 1000, 1048);
    assert_int_equal(receive(buffer + 2048, &status), 2 * 2048);
    assert_memory_equal(buffer, medium + 16 * 2048, 3 * 2048);
    expect_reply("1b 00 00 00 02", 0);
    assert_true(mock_round_trip(&board));
    expect_failure("00", 2, 0x3a02);
}

/* What is loaded knows of another disc than the one that is there, or of none. */
static void test_other_disc_since(void **state)
{
    static uint8_t data[2][262144];
    struct device_disk other = {
        .block = &block, .close = close_block, .read_only = true, .serial = "other"};
    struct state_writer w[2] = {{.data = data[0], .capacity = sizeof(data[0])},
                                {.data = data[1], .capacity = sizeof(data[1])}};

    power_on();
    for (unsigned i = 0; i < 2; i++) {
        bus_save(&board.bus, &w[i]);
        assert_true(w[i].used <= w[i].capacity);
        if (i == 1)
            break;
        assert_int_equal(cdrom_eject(controller, true), 0);
        opened++;
        assert_int_equal(cdrom_insert(controller, &other), 0);
        expect_failure("00", 6, 0x2800);
        assert_int_equal(event(), 2);
    }
    for (unsigned i = 0; i < 4; i++) { /* it is the other one that is there */
        struct state_reader r = {.data = data[i % 2], .size = w[i % 2].used};

        bus_reset(&board.bus);
        assert_int_equal(bus_load(&board.bus, &r), 0);
        if (i % 2 == 0) {
            assert_int_equal(event(), 2);
            expect_failure("00", 6, 0x2800);
        }
        assert_int_equal(event(), 0);
        expect_reply("00", 0);
        assert_true(mock_round_trip(&board));
    }
}

static void test_where_it_starts_from(void **state)
{
    expect_boots(&devices, &ide_class, DEVICE_BOOT_DISK, 0, "/pci@i0cf8/ide@1/drive@0/disk@0");
    expect_boots(&devices, &ide_class, DEVICE_BOOT_CD, 0, "/pci@i0cf8/ide@1/drive@1/disk@0");
    expect_boots(&devices, &ide_class, DEVICE_BOOT_CD, 1, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_where_it_starts_from, setup, teardown),
        cmocka_unit_test_setup_teardown(test_identify, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_attention, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dma, setup, teardown),
        cmocka_unit_test_setup_teardown(test_toc, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mode, setup, teardown),
        cmocka_unit_test_setup_teardown(test_configuration, setup, teardown),
        cmocka_unit_test_setup_teardown(test_guest_ejects, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ejected, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ejected_while_reading, setup_later, teardown),
        cmocka_unit_test_setup_teardown(test_empty, setup_empty, teardown),
        cmocka_unit_test_setup_teardown(test_device_reset, setup_later, teardown),
        cmocka_unit_test_setup_teardown(test_saved, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_disc_since, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
