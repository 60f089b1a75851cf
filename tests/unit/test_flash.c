/* links: guest/devices/flash.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c arch/x86/lib/format.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* Firmware's memory at the top of 4 GiB, and its flash chip as OVMF's driver finds and uses it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "tests/unit/flash_chip.h"
#include "tests/unit/no_store.h"

static void make_file(bool variables)
{
    for (unsigned i = 0; i < SIZE; i++)
        file[i] = (uint8_t)(i * 7 + i / 4096);
    memset(file, 0, 16);
    if (variables)
        put_volume();
}

static int make(uint64_t size)
{
    int result = plug(size, NULL);

    if (result == 0)
        bus_reset(&board.bus);
    return result;
}

static int setup(void **state)
{
    make_file(true);
    assert_int_equal(make(SIZE), 0);
    return 0;
}

static int setup_rom(void **state)
{
    make_file(false);
    assert_int_equal(make(SIZE), 0);
    return 0;
}

static int teardown(void **state)
{
    assert_true(mock_round_trip(&board));
    mock_destroy(&board);
    device_list_destroy(&list);
    assert_int_equal(shown_runs, 0);
    return 0;
}

static bool is_memory(uint64_t offset)
{
    const struct guest_memory_layer *l = shown_at(START + offset);

    return l && l->shows == GUEST_LAYER_FRAMES && !l->writable;
}

static void expect_file(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        assert_int_equal(read(i), file[i]);
}

static void shows_the_file_up_to_4_gib(void **state)
{
    assert_int_equal(board.setup.rom_size, SIZE);
    for (uint32_t i = 0; i < SIZE; i += PAGE_SIZE)
        assert_true(is_memory(i));
    assert_null(shown_at(START - 1));
    assert_null(shown_at(4 * GIB));
    expect_file(0, SIZE);
}

static void rom_cannot_be_written(void **state)
{
    write(100, 0x40);
    write(100, 0);
    write(0, 0x70);
    assert_true(is_memory(0));
    expect_file(0, SIZE);
}

/* As OVMF looks for it at a byte that is none of the commands. */
static void is_found_by_its_status(void **state)
{
    write(100, 0x50);
    assert_int_equal(read(100), file[100]);
    write(100, 0x70);
    assert_int_equal(read(100), 0);
    assert_int_equal(read(VARIABLES - 1), 0);
    assert_true(is_memory(VARIABLES));
    write(100, 0xff);
    assert_int_equal(read(100), file[100]);
    assert_true(is_memory(0));
}

static void bytes_lose_bits(void **state)
{
    write(100, 0x10);
    write(100, 0x0f);
    assert_int_equal(read(100), 0x80);
    write(101, 0x40);
    write(101, 0xf0);
    write(0, 0xff);
    assert_int_equal(read(100), file[100] & 0x0f);
    assert_int_equal(read(101), file[101] & 0xf0);
    expect_file(0, 100);
    expect_file(102, SIZE);
    write(VARIABLES, 0x40); /* what is behind is ROM */
    write(VARIABLES, 0);
    expect_file(102, SIZE);
}

static void blocks_are_erased(void **state)
{
    write(0x1234, 0x20);
    write(0x1234, 0xd0);
    assert_int_equal(read(0), 0x80);
    write(0, 0xff);
    for (uint32_t i = 0x1000; i < 0x2000; i++)
        assert_int_equal(read(i), 0xff);
    expect_file(0, 0x1000);
    expect_file(0x2000, SIZE);
    write(0x1000, 0x40);
    write(0x1000, 0x5a);
    write(0, 0xff);
    assert_int_equal(read(0x1000), 0x5a);
    write(0x2000, 0x20);
    write(0x2000, 0x40); /* not what confirms it */
    assert_int_equal(read(0), 0xb0);
    write(0, 0x50);
    write(0, 0x70);
    assert_int_equal(read(0), 0);
    write(0, 0xff);
    expect_file(0x2000, SIZE);
}

static void buffers_are_written_at_once(void **state)
{
    write(0x2000, 0x20);
    write(0x2000, 0xd0);
    write(0x2000, 0xe8);
    assert_int_equal(read(0x2000), 0x80);
    write(0x2000, 3);
    for (uint8_t i = 0; i < 4; i++)
        write(0x2010 + i, i);
    write(0x2000, 0xd0);
    write(0, 0xff);
    for (uint8_t i = 0; i < 4; i++)
        assert_int_equal(read(0x2010 + i), i);
    assert_int_equal(read(0x200f), 0xff);
    assert_int_equal(read(0x2014), 0xff);
    /* One that is not confirmed is not. */
    write(0x2000, 0xe8);
    write(0x2000, 0);
    write(0x2020, 0);
    write(0x2000, 0xff);
    assert_int_equal(read(0), 0xb0);
    write(0, 0xff);
    assert_int_equal(read(0x2020), 0xff);
    /* One at its very end, and one that reaches over it. */
    write(0, 0xe8);
    write(0, 255);
    for (unsigned i = 0; i < 256; i++)
        write(VARIABLES - 1, 0);
    write(0, 0xd0);
    write(0, 0xff);
    assert_int_equal(read(VARIABLES - 1), 0);
    expect_file(VARIABLES, SIZE);
}

/* It is in the middle of a command when its state is saved (see teardown). */
static void is_saved_between_two_writes(void **state)
{
    write(0x3000, 0xe8);
    write(0x3000, 7);
    write(0x3000, 0);
}

static void keeps_what_it_holds_at_reset(void **state)
{
    write(0x3000, 0x40);
    write(0x3000, 0);
    bus_reset(&board.bus);
    assert_true(is_memory(0));
    assert_int_equal(read(0x3000), 0);
    write(0x3000, 0x70); /* and expects a command */
    assert_int_equal(read(0x3000), 0);
    write(0x3000, 0xff);
    assert_int_equal(read(0x3001), file[0x3001]);
}

static int load(const uint8_t *data, size_t size)
{
    struct state_reader r = {.data = data, .size = size};
    struct device *d = list.item[0].device;

    assert_int_equal(state_enter(&r, "test", 1), 0);
    return d->ops->load(d, &r);
}

static void wrong_state_is_refused(void **state)
{
    static uint8_t data[65536];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    struct device *d = list.item[0].device;

    write(0x3000, 0x40);
    write(0x3000, 0);
    state_begin(&w, "test", 1);
    size_t begin = w.used;
    d->ops->save(d, &w);
    state_end(&w);
    assert_int_equal(load(data, w.used), 0);
    assert_int_equal(read(0x3000), 0x80);           /* its status */
    memset(data + w.used - PAGE_SIZE - 4, 0xff, 4); /* a block that is none */
    assert_int_equal(load(data, w.used), -EBADMSG);
    data[begin + 2] = 17; /* nothing that it could expect */
    assert_int_equal(load(data, w.used), -EBADMSG);
}

static void expect_refusal(uint64_t size, const char *sentence)
{
    assert_int_equal(make(size), -EINVAL);
    assert_string_equal(board.setup.error, sentence);
    mock_destroy(&board);
    assert_int_equal(list.count, 0);
    assert_int_equal(shown_runs, 0);
}

static void says_what_is_wrong_with_a_file(void **state)
{
#define ODD " bytes; firmware has a multiple of 64 KiB, up to 16 MiB: is all of it there?"
    make_file(true);
    expect_refusal(0, "firmware: the file has 0" ODD);
    expect_refusal(0x1ffff, "firmware: the file has 131071" ODD);
    expect_refusal(17 * MIB, "firmware: the file has 17825792" ODD);
    memset(file + SIZE - 16, 0xff, 16);
    expect_refusal(SIZE, "firmware: the file has no reset vector 16 bytes before its end");
    memset(file + SIZE - 16, 0, 16);
    expect_refusal(SIZE, "firmware: the file has no reset vector 16 bytes before its end");
    make_file(true);
    file[34] = 2; /* of 128 KiB and more */
    expect_refusal(0x10000, "firmware: the file is cut off: its first volume is longer than it");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(test)     cmocka_unit_test_setup_teardown(test, setup, teardown)
#define ROM_TEST(test) cmocka_unit_test_setup_teardown(test, setup_rom, teardown)
        TEST(shows_the_file_up_to_4_gib),
        ROM_TEST(shows_the_file_up_to_4_gib),
        ROM_TEST(rom_cannot_be_written),
        TEST(is_found_by_its_status),
        TEST(bytes_lose_bits),
        TEST(blocks_are_erased),
        TEST(buffers_are_written_at_once),
        TEST(is_saved_between_two_writes),
        TEST(keeps_what_it_holds_at_reset),
        TEST(wrong_state_is_refused),
        cmocka_unit_test(says_what_is_wrong_with_a_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
