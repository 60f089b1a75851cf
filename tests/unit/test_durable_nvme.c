/* links: guest/devices/nvme/admin.c guest/devices/nvme/controller.c guest/devices/nvme/features.c guest/devices/nvme/identify.c guest/devices/nvme/io.c guest/devices/nvme/queues.c guest/devices/nvme/state.c guest/board/msix.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c arch/x86/lib/log.c drivers/disk.c drivers/disk_queue.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* Durability and resets (durable.h) of NVMe: writes, FUA, Flush, the volatile write cache off. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "drivers/disk.h"
#include "tests/unit/nvme_driver.h"
#include "tests/unit/durable.h"

#define WRITE_CACHE 6 /* a feature */
#define FUA         (1u << 30)

static unsigned tags[64], in_flight;

static bool has_answered(void)
{
    struct cqe e;

    return take(0, &e);
}

static void start_nvme(bool stable)
{
    in_flight = 0;
    enable();
    make_pair(1, ENTRIES, 0);
    put_command(0, (struct sqe){.dw0 = AD_SET, .dw10 = WRITE_CACHE, .dw11 = !stable});
    ring(0);
    push_until(has_answered);
    acknowledge(0);
}

static bool put_io(struct sqe c, unsigned tag)
{
    if (in_flight == ENTRIES - 1)
        return false;
    in_flight++;
    tags[put_command(1, c) % 64] = tag;
    ring(1);
    return true;
}

static bool write_nvme(unsigned sector, bool stable)
{
    struct sqe c = io(OP_WRITE, sector, 1, DATA + 512 * sector, 0);

    c.dw12 |= stable ? FUA : 0;
    return put_io(c, sector);
}

static bool flush_nvme(void)
{
    return put_io((struct sqe){.dw0 = OP_FLUSH, .nsid = 1}, CUT_FLUSH);
}

static void collect_nvme(void)
{
    struct cqe e;

    while (take(1, &e)) {
        acknowledge(1);
        in_flight--;
        guest_told(tags[e.cid % 64], e.status >> 1 == 0);
    }
}

static void reset_nvme(void)
{
    out(REG_CC, 4, 0);
}

static bool is_reset_nvme(void)
{
    return !(in(REG_CSTS, 4) & 1);
}

static int come(void)
{
    return setup(NULL);
}

static void test_what_was_flushed_is_there(void **state)
{
    static const struct front nvme = {DATA,         start_nvme, write_nvme,   flush_nvme,
                                      collect_nvme, reset_nvme, is_reset_nvme};

    cut_front(&nvme, come);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_flushed_is_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
