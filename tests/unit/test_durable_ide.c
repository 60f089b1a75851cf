/* links: guest/devices/ide/ide.c guest/devices/ide/channel.c guest/devices/ide/transfer.c guest/devices/ide/master.c guest/devices/ide/disk.c guest/devices/ide/identify.c guest/devices/ide/atapi.c guest/devices/ide/mmc.c guest/devices/ide/mmc_info.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c arch/x86/lib/log.c drivers/disk.c drivers/disk_queue.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* Durability and resets (durable.h) of IDE: writes by DMA and PIO, FUA, FLUSH CACHE, the write
 * cache off. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "drivers/disk.h"
#include "tests/unit/ide_driver.h"
#include "tests/unit/durable.h"

#define CONTROL   (base + 0x206)
#define BSY       0x80
#define ERR       0x01
#define CACHE_ON  0x02
#define CACHE_OFF 0x82
#define NOTHING   UINT32_MAX

static unsigned asked = NOTHING; /* the tag of what it does */

static bool is_free(void)
{
    return !(in8(CONTROL) & BSY);
}

static void start_drive(bool stable)
{
    asked = NOTHING;
    out8(master, 0);
    set_features(stable ? CACHE_OFF : CACHE_ON, 0); /* a reset leaves that as it was */
    push_until(is_free);
    assert_int_equal(in8(base + 7), 0x50);
}

static bool write_drive(unsigned sector, bool stable)
{
    uint32_t at = DATA + 512 * sector;

    if (asked != NOTHING)
        return false;
    asked = sector;
    if (!stable && chance(2)) {
        command(0, 0x30, 1, sector);
        write_data(board.memory + at, 512);
        return true;
    }
    prd(0, at, 512, true);
    out8(master, 0);
    out32((uint16_t)(master + 4), TABLE);
    if (stable)
        command48(0, 0x3d, 1, sector);
    else
        command(0, 0xca, 1, sector);
    out8(master, 1);
    return true;
}

static bool flush_drive(void)
{
    if (asked != NOTHING)
        return false;
    asked = CUT_FLUSH;
    command(0, 0xe7, 0, 0);
    return true;
}

static void collect_drive(void)
{
    unsigned tag = asked;

    if (tag == NOTHING || !is_free())
        return;
    asked = NOTHING;
    guest_told(tag, !(in8(base + 7) & ERR));
}

static void reset_channel(void)
{
    out8(CONTROL, 4);
    out8(CONTROL, 0);
}

static int come(void)
{
    return setup_ide("ram:x,bus=ide", NULL);
}

static void test_what_was_flushed_is_there(void **state)
{
    static const struct front ide = {DATA,          start_drive,   write_drive, flush_drive,
                                     collect_drive, reset_channel, is_free};

    cut_front(&ide, come);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_flushed_is_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
