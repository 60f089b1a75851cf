/* links: guest/devices/fw_cfg.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* The firmware configuration device, as firmware asks it: by port and by DMA. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/devices/fw_cfg.h"
#include "tests/unit/mock_board.h"

#define KEY  0x510
#define DATA 0x511
#define DMA  0x514

#define RECORD 0x1000
#define BUFFER 0x2000

#define ERROR  0x01
#define READ   0x02
#define SKIP   0x04
#define SELECT 0x08
#define WRITE  0x10

static struct board board;
static struct fw_cfg device;
static const uint8_t first[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, cpus[] = {3, 0};

static const struct fw_cfg_item items[] = {
    {.name = "etc/first", .data = first, .size = sizeof(first)},
    {.key = FW_CFG_CPUS, .data = cpus, .size = sizeof(cpus)},
    {.name = "a/name/that/is/as/long/as/a/name/can/be/at/most/55/bytes", .data = first, .size = 1},
};

static int setup(void **state)
{
    mock_init(&board);
    assert_int_equal(device_make(&fw_cfg_class, &device.dev, &board.setup), 0);
    bus_reset(&board.bus);
    fw_cfg_set(&device, items, ARRAY_SIZE(items));
    return 0;
}

static int teardown(void **state)
{
    assert_true(mock_round_trip(&board));
    mock_destroy(&board);
    return 0;
}

static void select_key(uint16_t key)
{
    bus_port_write(&board.bus, KEY, 2, key);
}

static void expect_data(const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        assert_int_equal(mock_in(&board, DATA), ((const uint8_t *)data)[i]);
}

static uint32_t big(uint32_t value)
{
    return __builtin_bswap32(value);
}

static void put_record(uint64_t at, uint32_t control, uint32_t length, uint64_t address)
{
    const uint32_t record[] = {big(control), big(length), big((uint32_t)(address >> 32)),
                               big((uint32_t)address)};

    memcpy(board.memory + at, record, sizeof(record));
}

/* What became of the transfer: its record's control. */
static uint32_t dma(uint32_t control, uint32_t length, uint64_t address)
{
    uint32_t outcome;

    put_record(RECORD, control, length, address);
    bus_port_write(&board.bus, DMA + 4, 4, big(RECORD));
    memcpy(&outcome, board.memory + RECORD, sizeof(outcome));
    return big(outcome);
}

static void says_who_it_is(void **state)
{
    select_key(0);
    expect_data("QEMU\0\0", 6); /* and zeroes behind the end */
    select_key(1);
    expect_data("\3\0\0\0", 4);
    assert_int_equal(bus_port_read(&board.bus, DMA, 4), 0x554d4551);
    assert_int_equal(bus_port_read(&board.bus, DMA + 4, 4), 0x47464320);
    assert_int_equal(mock_in(&board, DMA + 7), 'G');
}

static void items_begin_anew_when_chosen(void **state)
{
    select_key(FW_CFG_CPUS);
    expect_data("\3", 1);
    select_key(FW_CFG_CPUS);
    expect_data("\3\0\0", 3);
    select_key(0x77);
    expect_data("\0\0", 2);
    select_key(FW_CFG_FILES);
    expect_data("\1\2", 2);
    assert_true(mock_round_trip(&board));
    bus_port_write(&board.bus, KEY, 1, 0); /* the key is there as a whole */
    expect_data("\3", 1);
    mock_out(&board, DATA, 99); /* and nothing of it is written */
    select_key(FW_CFG_FILES);
    expect_data(first, sizeof(first));
}

static void the_directory_names_files(void **state)
{
    uint8_t entry[64] = {0, 0, 0, sizeof(first), 0, 0x20};

    select_key(FW_CFG_DIRECTORY);
    expect_data("\0\0\0\2", 4);
    strcpy((char *)entry + 8, "etc/first");
    expect_data(entry, sizeof(entry));
    entry[3] = 1;
    entry[5] = 0x21;
    memset(entry + 8, 0, 56);
    memcpy(entry + 8, items[2].name, 55);
    expect_data(entry, sizeof(entry));
    expect_data("\0\0\0\0", 4);
}

static void dma_reads_and_skips(void **state)
{
    memset(board.memory + BUFFER, 0xee, 32);
    assert_int_equal(dma(FW_CFG_FILES << 16 | SELECT | READ, 4, BUFFER), 0);
    assert_memory_equal(board.memory + BUFFER, "\1\2\3\4\xee", 5);
    assert_int_equal(dma(SKIP, 2, 0), 0);
    assert_int_equal(dma(READ, 2, BUFFER), 0);
    assert_memory_equal(board.memory + BUFFER, "\7\10\3\4\xee", 5);
    expect_data("\11", 1); /* both ways go on where the other one was */
    assert_int_equal(dma(READ, 6, BUFFER), 0);
    assert_memory_equal(board.memory + BUFFER, "\12\0\0\0\0\0\xee", 7);
    assert_int_equal(dma(FW_CFG_CPUS << 16 | SELECT, 4, BUFFER), 0);
    expect_data("\3", 1);
    assert_int_equal(dma(SKIP, UINT32_MAX, 0), 0);
    expect_data("\0", 1);
}

static void dma_writes_nothing(void **state)
{
    assert_int_equal(dma(FW_CFG_FILES << 16 | SELECT | WRITE, 4, BUFFER), ERROR);
    select_key(FW_CFG_FILES);
    expect_data(first, sizeof(first));
}

static void dma_to_nowhere_fails(void **state)
{
    static uint8_t before[MOCK_MEMORY];

    assert_int_equal(dma(FW_CFG_FILES << 16 | SELECT | READ, 4, MOCK_MEMORY - 2), ERROR);
    assert_int_equal(dma(FW_CFG_FILES << 16 | SELECT | READ, 4, UINT64_MAX - 1), ERROR);
    expect_data("\1", 1); /* what was not brought is still to come */
    memset(board.memory + BUFFER, 0xee, 1);
    assert_int_equal(dma(0x77 << 16 | SELECT | READ, 0x20000, BUFFER), ERROR);
    assert_int_equal(board.memory[BUFFER], 0xee); /* it does not begin what has no end */
    assert_int_equal(dma(0x77 << 16 | SELECT | READ, UINT32_MAX, BUFFER), ERROR);
    memcpy(before, board.memory, MOCK_MEMORY);
    bus_port_write(&board.bus, DMA + 4, 4, big(MOCK_MEMORY - 8)); /* the record is half there */
    bus_port_write(&board.bus, DMA, 4, big(1));
    bus_port_write(&board.bus, DMA + 4, 4, big(RECORD)); /* or over 4 GiB */
    assert_memory_equal(board.memory, before, MOCK_MEMORY);
}

/* SeaBIOS never writes the upper half. */
static void the_upper_half_is_used_once(void **state)
{
    bus_port_write(&board.bus, DMA, 4, big(1));
    bus_port_write(&board.bus, DMA + 4, 4, big(RECORD));
    assert_int_equal(dma(FW_CFG_CPUS << 16 | SELECT | READ, 2, BUFFER), 0);
    assert_memory_equal(board.memory + BUFFER, cpus, 2);
    bus_port_write(&board.bus, DMA, 1, 1); /* halves are there as a whole */
    bus_port_write(&board.bus, DMA + 1, 2, 1);
    assert_int_equal(dma(FW_CFG_CPUS << 16 | SELECT | READ, 2, BUFFER), 0);
}

static void reset_chooses_the_signature(void **state)
{
    select_key(FW_CFG_CPUS);
    bus_port_write(&board.bus, DMA, 4, big(1));
    bus_reset(&board.bus);
    expect_data("QEMU", 4);
    assert_int_equal(dma(FW_CFG_CPUS << 16 | SELECT | READ, 2, BUFFER), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
        TEST(says_who_it_is),
        TEST(items_begin_anew_when_chosen),
        TEST(the_directory_names_files),
        TEST(dma_reads_and_skips),
        TEST(dma_writes_nothing),
        TEST(dma_to_nowhere_fails),
        TEST(the_upper_half_is_used_once),
        TEST(reset_chooses_the_signature),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
