/* links: guest/devices/flash.c guest/storage/store.c guest/storage/store_area.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c arch/x86/lib/crc32.c arch/x86/lib/log.c arch/x86/lib/format.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* What a VM's firmware writes into its flash chip outlasts the VM, and the machine's power. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <limits.h>

#include "guest/devices/flash.h"
#include "tests/unit/flash_chip.h"
#include "tests/unit/store_drive.h"

static struct store store;
static struct store_area *area;
static int loaded;

static void make_file(void)
{
    for (unsigned i = 0; i < SIZE; i++)
        file[i] = (uint8_t)(0x80 | (i * 7 + i / 4096));
    put_volume();
}

static struct store_area *variables(void *context, uint32_t size)
{
    assert_int_equal(size, VARIABLES);
    return area;
}

/* The machine is switched on, and the VM starts. */
static void start(void)
{
    const char *why;

    assert_int_equal(store_open(&store, &drive, drive_wait, &why), 0);
    area = store_variables(&store, "vm", VARIABLES / STORE_BLOCK);
    assert_non_null(area);
    assert_int_equal(store_save(&store), 0);
    loaded = store_area_load(area);
    assert_int_equal(plug(SIZE, variables), 0);
    bus_reset(&board.bus);
}

/* Its power goes. */
static void stop(void)
{
    cut();
    mock_destroy(&board);
    device_list_destroy(&list);
    store_close(&store);
}

static void start_again(void)
{
    stop();
    hold = false;
    start();
}

static int setup(void **state)
{
    drive_init();
    make_file();
    start();
    asked = 0;
    return 0;
}

static int teardown(void **state)
{
    hold = false;
    assert_true(mock_round_trip(&board));
    stop();
    assert_int_equal(shown_runs, 0);
    assert_int_equal(frames, 0);
    return 0;
}

static void program(uint64_t offset, uint8_t value)
{
    write(offset, 0x10);
    write(offset, value);
}

/* The VM ends: whether that is over. */
static bool kept(void)
{
    assert_true(bus_idle(&board.bus, true));
    return flash_kept(device_list_find(&list, &flash_class, 0));
}

static void all_back(void)
{
    while (holding)
        one_back();
}

static void a_file_says_how_many(void **state)
{
    assert_int_equal(flash_variables(file, SIZE), VARIABLES);
    assert_int_equal(flash_variables(file, VARIABLES - 1), 0); /* cut off */
    assert_int_equal(flash_variables(file, 40), 0);
    file[16]++;
    assert_int_equal(flash_variables(file, SIZE), 0);
    file[16]--;
}

static void nothing_is_written_unasked(void **state)
{
    write(100, 0x50);
    write(100, 0x70);
    write(100, 0xff);
    start_again();
    assert_int_equal(loaded, STORE_EMPTY);
    assert_int_equal(read(100), file[100]);
}

static void is_there_when_the_chip_shows_its_bytes(void **state)
{
    program(100, 0x0f);
    program(0x2345, 0x55);
    assert_int_equal(asked, 0);
    write(0, 0xff);
    assert_int_equal(asked, 2 * (VARIABLES / STORE_BLOCK + 2)); /* all of it, the first time */
    start_again();
    assert_int_equal(loaded, STORE_WHOLE);
    assert_int_equal(read(100), file[100] & 0x0f);
    assert_int_equal(read(0x2345), file[0x2345] & 0x55);
    assert_int_equal(read(0x2346), file[0x2346]);
    assert_int_equal(read(VARIABLES), file[VARIABLES]);
    asked = 0;
    write(0x3000, 0x20);
    write(0x3000, 0xd0);
    program(100, 0xff); /* nothing becomes another */
    write(0, 0xff);
    assert_int_equal(asked, 2 * (1 + 2));
    write(0, 0xff);
    assert_int_equal(asked, 6);
    start_again();
    assert_int_equal(read(0x3fff), 0xff);
    assert_int_equal(read(100), file[100] & 0x0f);
}

/* The guest is never kept; what comes meanwhile goes together. */
static void what_comes_meanwhile_goes_later(void **state)
{
    hold = true;
    program(0x1000, 0);
    write(0, 0xff);
    assert_int_equal(holding, 1);
    for (unsigned i = 1; i < 100; i++) {
        program(0x1000 + i, 0);
        write(0, 0xff);
    }
    assert_int_equal(holding, 1);
    assert_int_equal(read(0x1063), 0);
    mock_microseconds(&board, 20000);
    assert_int_equal(holding, 1);
    all_back();
    mock_microseconds(&board, 200000);
    assert_int_equal(holding, 1);
    asked = 0;
    all_back();
    assert_int_equal(asked, 2 * (1 + 2));
    start_again();
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(read(0x1000 + i), 0);
}

/* The drive is others', too; who ends is not kept for that. */
static void a_guest_without_end_has_few_writes(void **state)
{
    for (unsigned ms = 0; ms < 2050; ms++) {
        write(0x1000, 0x20);
        write(0x1000, 0xd0);
        program(0x1000, (uint8_t)ms);
        write(0, 0xff);
        mock_microseconds(&board, 1000);
    }
    assert_true(asked >= 15 * 6 && asked <= 21 * 6 + 2 * VARIABLES / STORE_BLOCK);
    program(0x1001, 0);
    write(0, 0xff);
    asked = 0;
    assert_true(kept());
    assert_int_equal(asked, 6);
    start_again();
    assert_int_equal(read(0x1001), 0);
}

static void not_in_the_middle_of_a_command(void **state)
{
    hold = true;
    program(0x1000, 0);
    write(0, 0xff);
    program(0x1001, 0);
    write(0, 0xff);
    write(0x2000, 0x20);
    write(0x2000, 0xd0);
    all_back();
    mock_microseconds(&board, 200000);
    assert_int_equal(holding, 0);
    write(0, 0xff);
    assert_int_equal(holding, 1);
    all_back();
    start_again();
    assert_int_equal(read(0x1001), 0);
    assert_int_equal(read(0x2000), 0xff);
}

/* Whatever it was doing. */
static void who_ends_waits(void **state)
{
    unsigned n = 0;

    hold = true;
    program(0x1000, 0);
    write(0, 0xff);
    program(0x1001, 0);
    assert_true(bus_idle(&board.bus, false)); /* that it is saved waits for nothing */
    while (!kept())
        assert_true(++n < 1000);
    assert_true(n > 10);
    assert_int_equal(holding, 0);
    start_again();
    assert_int_equal(read(0x1000), 0);
    assert_int_equal(read(0x1001), 0);
}

/* The chip stays, and so does the drive, which may take its time. */
static void who_is_reset_does_not_wait(void **state)
{
    hold = true;
    program(0x1000, 0);
    write(0, 0xff);
    program(0x1001, 0);
    assert_true(bus_idle(&board.bus, true));
    bus_reset(&board.bus);
    assert_int_equal(holding, 1);
    assert_int_equal(read(0x1001), 0);
    all_back();
    mock_microseconds(&board, 200000);
    assert_int_equal(holding, 1);
    all_back();
    start_again();
    assert_int_equal(read(0x1000), 0);
    assert_int_equal(read(0x1001), 0);
}

/* One that a chip before it, or nobody, has begun. */
static void who_starts_does_not_wait(void **state)
{
    program(0x1000, 0);
    write(0, 0xff);
    assert_true(kept());
    hold = true;
    assert_int_equal(store_area_forget(area), 0);
    assert_true(kept());
    assert_int_equal(holding, 1);
    device_list_destroy(&list);
    mock_destroy(&board);
    assert_int_equal(plug(SIZE, variables), 0);
    assert_true(kept());
    bus_reset(&board.bus);
    assert_int_equal(holding, 1);
    assert_int_equal(read(0x1000), file[0x1000]);
    all_back();
}

static void a_drive_that_fails_keeps_nobody(void **state)
{
    next_error = -EIO;
    program(0x1000, 0);
    write(0, 0xff);
    assert_true(area->failed);
    assert_true(kept());
    assert_int_equal(read(0x1000), 0);
    program(0x2000, 0);
    write(0, 0xff);
    mock_microseconds(&board, 200000);
    start_again();
    assert_int_equal(read(0x1000), 0);
    assert_int_equal(read(0x2000), 0);
}

/* State that is loaded is what is to be there, too. */
static void what_is_loaded_is_kept(void **state)
{
    static uint8_t data[65536];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    struct state_reader r = {.data = data};

    program(0x1000, 0x80);
    write(0, 0xff);
    bus_save(&board.bus, &w);
    r.size = w.used;
    program(0x1000, 0);
    program(0x4000, 0);
    write(0, 0xff);
    mock_microseconds(&board, 200000);
    assert_int_equal(bus_load(&board.bus, &r), 0);
    assert_int_equal(read(0x4000), file[0x4000]);
    start_again();
    assert_int_equal(read(0x1000), 0x80);
    assert_int_equal(read(0x4000), file[0x4000]);
}

/* What stands there then is neither the one nor the other. */
static void what_cannot_be_loaded_is_not_kept(void **state)
{
    static uint8_t data[65536];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    struct state_reader r = {.data = data};

    program(0x1000, 0x80);
    write(0, 0xff);
    bus_save(&board.bus, &w);
    data[w.used - STORE_BLOCK - 1] = 0xff; /* of its one block's number */
    r.size = w.used;
    asked = 0;
    assert_int_equal(bus_load(&board.bus, &r), -EBADMSG);
    assert_int_equal(asked, 0);
    data[w.used - STORE_BLOCK - 1] = 0;
    r = (struct state_reader){.data = data, .size = w.used};
    assert_int_equal(bus_load(&board.bus, &r), 0);
    assert_int_equal(asked, 0); /* it is there */
}

/* The firmware's own again, though the chip held more. */
static void what_is_forgotten_is_not_there(void **state)
{
    program(0x1000, 0);
    write(0, 0xff);
    assert_int_equal(store_area_forget(area), 0);
    start_again();
    assert_int_equal(loaded, STORE_EMPTY);
    assert_int_equal(read(0x1000), file[0x1000]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
        TEST(a_file_says_how_many),
        TEST(nothing_is_written_unasked),
        TEST(is_there_when_the_chip_shows_its_bytes),
        TEST(what_comes_meanwhile_goes_later),
        TEST(a_guest_without_end_has_few_writes),
        TEST(not_in_the_middle_of_a_command),
        TEST(who_ends_waits),
        TEST(who_is_reset_does_not_wait),
        TEST(who_starts_does_not_wait),
        TEST(a_drive_that_fails_keeps_nobody),
        TEST(what_is_loaded_is_kept),
        TEST(what_cannot_be_loaded_is_not_kept),
        TEST(what_is_forgotten_is_not_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
