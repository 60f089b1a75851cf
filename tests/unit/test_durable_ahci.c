/* links: guest/devices/ahci/hba.c guest/devices/ahci/port.c guest/devices/ahci/answer.c guest/devices/ahci/drive.c guest/devices/ahci/pages.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c arch/x86/lib/log.c drivers/disk.c drivers/disk_queue.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* Durability and resets (durable.h) of AHCI: queued writes, FUA, FLUSH CACHE EXT, the write cache
 * off. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "drivers/disk.h"
#include "tests/unit/ahci_driver.h"
#include "tests/unit/durable.h"

#define FLUSH_SLOT 31u

static uint32_t asked; /* slots */

static bool is_through(void)
{
    return in(P(0) + CI) == 0;
}

static void start_port(bool stable)
{
    asked = 0;
    start();
    pieces(FLUSH_SLOT, (struct piece[]){{0, 0}});
    if (!stable)
        return;
    pieces(0, (struct piece[]){{0, 0}});
    fis(0, FEATURES, 0, 0, 0);
    board.memory[table(0) + 3] = 0x82;
    issue(1);
    push_until(is_through);
    assert_int_equal(in(P(0) + TFD), 0x50);
    events();
}

static bool write_port(unsigned sector, bool stable)
{
    if (asked >> FLUSH_SLOT)
        return false;
    prepare_queued(sector, WRITE_Q, sector, 1, DATA + 512 * sector);
    board.memory[table(sector) + 7] = stable ? 0xc0 : 0x40;
    asked |= 1u << sector;
    issue_queued(1u << sector);
    return true;
}

/* Not among queued commands. */
static bool flush_port(void)
{
    if (asked)
        return false;
    fis(FLUSH_SLOT, FLUSH_EXT, 0, 0, 0x40);
    asked = 1u << FLUSH_SLOT;
    issue(asked);
    return true;
}

static void tell(uint32_t slots, bool good)
{
    for (unsigned i = 0; i < 32; i++)
        if (slots >> i & 1)
            guest_told(i == FLUSH_SLOT ? CUT_FLUSH : i, good);
    asked &= ~slots;
}

static bool is_stopped(void)
{
    return !(in(P(0) + CMD) & CR);
}

static void collect_port(void)
{
    uint32_t left = in(P(0) + SACT) | in(P(0) + CI);
    bool failed = in(P(0) + PIS) & TFES;

    tell(asked & ~left, true);
    if (!failed)
        return;
    tell(asked, false);
    out(P(0) + CMD, FRE);
    push_until(is_stopped);
    recover();
    prepare(0, READ_LOG, 0x10, 1, DATA + 0x3000, 512);
    issue(1);
    assert_int_equal(in(P(0) + CI), 0);
    events();
}

static void reset_hba(void)
{
    out(GHC, 0x80000001);
}

static bool is_reset_hba(void)
{
    return !(in(GHC)&1);
}

static int come(void)
{
    return setup(NULL);
}

static void test_what_was_flushed_is_there(void **state)
{
    static const struct front port = {DATA,         start_port, write_port,  flush_port,
                                      collect_port, reset_hba,  is_reset_hba};

    cut_front(&port, come);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_flushed_is_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
