/* links: guest/devices/virtio/blk.c guest/devices/virtio/pci.c guest/devices/virtio/queue.c guest/board/msix.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c arch/x86/lib/log.c drivers/disk.c drivers/disk_queue.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* Durability and resets (durable.h) of virtio-blk: with and without VIRTIO_BLK_F_FLUSH, in rings of
 * either kind. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "drivers/disk.h"
#include "tests/unit/blk_driver.h"
#include "tests/unit/durable.h"

#define BLK_FLUSH (UINT64_C(1) << 9)

static unsigned tags[DRIVER_SIZE];

static void start_blk(bool stable)
{
    start(V1 | INDIRECT | (stable ? 0 : BLK_FLUSH) | (chance(2) ? PACKED_RING : 0));
}

static bool put_request(uint32_t type, unsigned tag, bool has_data)
{
    struct driver_segment s[3] = {{HEADER + 16 * tag, 16, false}};
    unsigned n = 1;
    int id;

    driver_put(&v, HEADER + 16 * tag, type, 8);
    driver_put(&v, HEADER + 16 * tag + 8, has_data ? tag : 0, 8);
    if (has_data)
        s[n++] = (struct driver_segment){DATA + 512 * tag, 512, false};
    s[n++] = (struct driver_segment){STATUS + tag, 1, true};
    id = driver_offer(&v, s, n, true);
    if (id < 0)
        return false;
    tags[id] = tag;
    kick();
    return true;
}

/* It has no writes that are stable by themselves. */
static bool write_blk(unsigned sector, bool stable)
{
    guest.stable[sector] = false;
    return put_request(1, sector, true);
}

static bool flush_blk(void)
{
    return put_request(4, CUT_FLUSH, false);
}

static void collect_blk(void)
{
    uint32_t w;
    int id;

    while ((id = driver_take(&v, &w)) >= 0)
        guest_told(tags[id], board.memory[STATUS + tags[id]] == 0);
}

static void reset_blk(void)
{
    out(0x14, 1, 0);
}

static bool is_reset_blk(void)
{
    return in(0x14, 1) == 0;
}

static int come(void)
{
    return setup(NULL);
}

static void test_what_was_flushed_is_there(void **state)
{
    static const struct front blk = {DATA,        start_blk, write_blk,   flush_blk,
                                     collect_blk, reset_blk, is_reset_blk};

    cut_front(&blk, come);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_flushed_is_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
