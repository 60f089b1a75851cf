/* links: guest/vm/layers.c guest/storage/layer.c guest/storage/layer_restore.c guest/storage/past.c guest/storage/slice.c arch/x86/lib/format.c */
/* Layers of VMs' disks: what stays when a VM ends, who gets what is below, what is said. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/smp.h"
#include "guest/run/run.h"
#include "guest/storage/layer.h"
#include "guest/storage/sources.h"
#include "guest/vm/layers.h"
#include "guest/vm/vm.h"
#include "tests/unit/mock_frames.h"

#define SECTORS 800u

static struct vm vms[2];
static struct vm_config configs[2];
static uint8_t media[2][SECTORS][512];
static struct block_device drives[2];
static unsigned claims, attentions, calls;
static struct cpu_work *called; /* for processor 0 */
static uint64_t free_memory;
static uint64_t broken; /* a sector that cannot be written */
static bool flush_fails, holds, deaf;
static struct block_request *held[16];
static unsigned holding;

void spin_wait(struct spinlock *l, uint16_t ticket)
{
    fail_msg("a lock was left taken");
}

void run_attention(unsigned cpu)
{
    assert_int_equal(cpu, 0);
    attentions++;
}

bool cpu_call_async(unsigned cpu, struct cpu_work *work)
{
    assert_int_equal(cpu, 0);
    called = work;
    return true;
}

static void serve(void)
{
    struct cpu_work *work = called;

    called = NULL;
    if (work)
        work->fn(work->arg);
}

static void is_called(void)
{
    calls++;
}

void frame_stats(struct frame_stats *out)
{
    *out = (struct frame_stats){.free = free_memory};
}

paddr frame_alloc_below(unsigned order, uint16_t owner, paddr limit)
{
    return frame_alloc(order, owner);
}

/* --- two drives, "part:0" and "part:1" --- */

static void carry_out(struct block_device *d, struct block_request *r)
{
    uint64_t at = r->sector;
    int error = r->op == BLOCK_FLUSH && flush_fails ? -EIO : 0;

    if (r->op == BLOCK_WRITE && broken - r->sector < r->sectors)
        error = -EIO;
    for (unsigned i = 0; !error && i < r->count; i++) {
        uint8_t *data = phys_to_virt(r->segments[i].address), *place = media[d - drives][at];

        if (r->op == BLOCK_READ)
            memcpy(data, place, r->segments[i].length);
        else
            memcpy(place, data, r->segments[i].length);
        at += r->segments[i].length / 512;
    }
    r->done(r, error);
}

static void submit(struct block_device *d, struct block_request *r)
{
    if (holds)
        held[holding++] = r;
    else
        carry_out(d, r);
}

static void poll(struct block_device *d, const void *owner)
{
    while (!deaf && holding && held[0]->owner == owner) {
        struct block_request *r = held[0];

        memmove(held, held + 1, --holding * sizeof(held[0]));
        carry_out(d, r);
    }
}

static const struct block_ops ops = {.submit = submit, .poll = poll};

int source_claim(const struct source_wish *wish, struct source_claim *claim, char *why)
{
    unsigned n = (unsigned)(wish->text[5] - '0');

    if (n > 1) {
        strcpy(why, "there is none");
        return -ENOENT;
    }
    assert_int_equal(block_slice_init(&claim->slice, &drives[n], "part", 0, SECTORS), 0);
    claim->owner = wish->owner;
    claim->writes = true;
    claims++;
    return 0;
}

void source_release(struct source_claim *claim)
{
    claims--;
}

/* --- the VMs --- */

static struct vm_layer *opened[2];
static char said[LAYERS_ERROR];
static int errors;
static struct block_request requests[4];
static struct block_segment segment;
static paddr page;

static int open(unsigned vm, const char *text, struct vm_layer **out)
{
    const struct source_wish wish = {.text = text, .length = strlen(text), .owner = vms[vm].name};

    return vm_layer_open(&vms[vm], &wish, out, said);
}

static void done(struct block_request *r, int error)
{
    r->op = BLOCK_OPS;
    errors += error != 0;
}

static struct block_request *write(unsigned disk, unsigned n, uint64_t sector, uint8_t what)
{
    memset(phys_to_virt(page), what, 512);
    requests[n] = (struct block_request){.op = BLOCK_WRITE,
                                         .sector = sector,
                                         .sectors = 1,
                                         .segments = &segment,
                                         .count = 1,
                                         .done = done,
                                         .owner = requests};
    block_submit(&vm_layer_claim(opened[disk])->slice.device, &requests[n]);
    return &requests[n];
}

static bool is_over(const struct block_request *r)
{
    return r->op == BLOCK_OPS;
}

static int put_back(const void *of)
{
    unsigned steps = 0;
    int result;

    while ((result = vm_layers_restore(&vms[0], of, said)) == -EAGAIN)
        assert_true(steps++ < 1000);
    return result;
}

static int setup(void **state)
{
    mock_reset();
    for (unsigned i = 0; i < 2; i++) {
        vms[i] = (struct vm){.config = &configs[i], .memory.owner = (uint16_t)(FRAME_VM + i)};
        vms[i].name[0] = (char)('a' + i);
        configs[i].snapshot_memory = MIB;
        drives[i] = (struct block_device){.ops = &ops,
                                          .sectors = SECTORS,
                                          .logical_block = 512,
                                          .max_sectors = 64,
                                          .max_segments = 8,
                                          .segment_align = 1,
                                          .highest_address = UINT64_MAX,
                                          .has_flush = true};
        memset(media[i], 0x10 + (int)i, sizeof(media[i]));
        assert_int_equal(open(0, i ? "part:1" : "part:0", &opened[i]), 0);
    }
    free_memory = GIB;
    broken = UINT64_MAX;
    flush_fails = holds = deaf = false;
    attentions = calls = 0;
    called = NULL;
    vm_layers_set_attention(is_called);
    errors = 0;
    page = frame_alloc(0, FRAME_KERNEL);
    segment = (struct block_segment){page, 512};
    return 0;
}

static int teardown(void **state)
{
    for (unsigned i = 0; i < 2; i++)
        if (opened[i])
            vm_layer_close(opened[i]);
    frame_free(page, 0);
    assert_int_equal(claims, 0);
    assert_int_equal(mock_used, 0);
    return 0;
}

/* --- tests --- */

static void test_two_disks_of_one_moment(void **state)
{
    static const char one, two;

    assert_int_equal(vm_layers_possible(&vms[0], said), 0);
    assert_false(vm_layers_any(&vms[0]));
    assert_int_equal(vm_layers_keep(&vms[0], &one), 0);
    assert_true(vm_layers_any(&vms[0]));
    assert_false(vm_layers_any(&vms[1]));
    write(0, 0, 8, 0x77);
    write(1, 0, 16, 0x78);
    assert_true(vm_layers_size(&one) >= 2 * PAGE_SIZE);
    assert_int_equal(vm_layers_keep(&vms[0], &two), 0);
    write(0, 0, 8, 0x79);
    assert_int_equal(vm_layers_fit(&vms[0], &one, said), 0);
    assert_int_equal(put_back(&one), 0);
    assert_int_equal(media[0][8][0], 0x10);
    assert_int_equal(media[1][16][0], 0x11);
    assert_int_equal(put_back(&two), 0);
    assert_int_equal(media[0][8][0], 0x77);
    assert_int_equal(media[1][16][0], 0x78);
    vm_layers_forget(&one);
    vm_layers_forget(&two);
    assert_int_equal(vm_layers_size(&two), 0);
    /* Nothing is kept of a disk that another VM has. */
    assert_int_equal(vm_layers_keep(&vms[1], &one), 0);
    write(0, 0, 8, 0x79);
    assert_int_equal(vm_layers_size(&one), 0);
}

/* What snapshots have of a disk stays when its VM ends, and so does the claim. */
static void test_another_life(void **state)
{
    static const char one;

    assert_int_equal(vm_layers_keep(&vms[0], &one), 0);
    write(0, 0, 8, 0x77);
    vm_layer_close(opened[0]);
    assert_true(vm_layer_claim(opened[0])->kept);
    assert_string_equal(vm_layer_claim(opened[0])->owner, "a");
    assert_int_equal(claims, 2);
    assert_int_equal(vm_layers_fit(&vms[0], &one, said), -EINVAL);
    assert_string_equal(said, "a has other disks than it had then: part:0 has gone");
    struct vm_layer *before = opened[0], *others;
    assert_int_equal(open(1, "part:0", &others), 0); /* which sources.c refuses */
    assert_ptr_not_equal(others, before);
    vm_layer_close(others);
    assert_int_equal(open(0, "part:0", &opened[0]), 0);
    assert_ptr_equal(opened[0], before);
    assert_false(vm_layer_claim(opened[0])->kept);
    assert_int_equal(vm_layers_fit(&vms[0], &one, said), 0);
    assert_int_equal(put_back(&one), 0);
    assert_int_equal(media[0][8][0], 0x10);
    /* It is forgotten while the VM is off: then all goes. */
    vm_layer_close(opened[0]);
    vm_layer_close(opened[1]);
    assert_int_equal(claims, 2);
    vm_layers_forget(&one);
    assert_int_equal(claims, 0);
    opened[0] = opened[1] = NULL;
    assert_int_equal(open(0, "part:7", &opened[0]), -ENOENT);
    opened[0] = NULL;
    assert_string_equal(said, "there is none");
}

static void test_disks_that_come(void **state)
{
    static const char one;

    vm_layer_close(opened[1]);
    assert_int_equal(vm_layers_keep(&vms[0], &one), 0);
    assert_int_equal(open(0, "part:1", &opened[1]), 0);
    assert_int_equal(vm_layers_fit(&vms[0], &one, said), -EINVAL);
    assert_string_equal(said, "a has other disks than it had then: part:1 has come since");
    vm_layers_forget(&one);
}

static void test_large_blocks(void **state)
{
    vm_layer_close(opened[1]);
    drives[1].logical_block = 8192;
    assert_int_equal(open(0, "part:1", &opened[1]), 0);
    assert_int_equal(vm_layers_possible(&vms[0], said), -EINVAL);
    assert_non_null(strstr(said, "a writes to part:1, whose blocks of 8192 bytes are too large"));
    write(1, 0, 8, 0x77);
    assert_int_equal(media[1][8][0], 0x77);
}

/* One limit for all disks of a VM. */
static void test_memory_is_out(void **state)
{
    static const char one, two;
    struct block_request *r;

    configs[0].snapshot_memory = 64 * KIB;
    vm_layer_close(opened[1]);
    assert_int_equal(open(0, "part:1", &opened[1]), 0);
    assert_int_equal(vm_layers_keep(&vms[0], &one), 0);
    for (unsigned i = 0; i < 11; i++)
        assert_true(is_over(write(0, 0, i * 8, 0x77)));
    assert_int_equal(vm_layers_keep(&vms[0], &two), 0);
    for (unsigned i = 0; is_over(r = write(1, 0, i * 8, 0x78)); i++)
        assert_true(i < 5);
    assert_int_equal(attentions, 1);
    serve();
    assert_int_equal(calls, 1);
    assert_true(vm_layers_wait(&vms[0]));
    assert_false(vm_layers_starve(&vms[1], said));
    assert_true(vm_layers_starve(&vms[0], said));
    assert_non_null(strstr(said, "a stands still: it writes to part:1, and no memory is left"));
    assert_non_null(strstr(said, "`snapshot_memory` is 64 KiB). Forget a snapshot, then resume"));
    assert_false(vm_layers_starve(&vms[0], said)); /* once */
    vm_layers_go_on(&vms[0]);
    assert_true(vm_layers_starve(&vms[0], said)); /* and again when it has gone on */
    vm_layers_forget(&one);
    assert_false(is_over(r));
    vm_layers_go_on(&vms[0]);
    assert_true(is_over(r));
    assert_int_equal(errors, 0);
    /* What it takes to put an older one back is known beforehand. */
    assert_int_equal(vm_layers_keep(&vms[0], &one), 0);
    assert_int_equal(vm_layers_fit(&vms[0], &two, said), 0);
    free_memory = 4 * MIB + KIB;
    assert_int_equal(vm_layers_fit(&vms[0], &two, said), -ENOMEM);
    assert_non_null(strstr(said, "there is no memory for it"));
    assert_non_null(strstr(said, "1 KiB are left of them"));
    /* It is to end. */
    r = write(1, 0, 400, 0x78);
    assert_false(is_over(r));
    vm_layers_give_up(&vms[0]);
    assert_true(is_over(r));
    assert_int_equal(errors, 1);
    /* Or the machine is: nobody wants snapshots any more. */
    vm_layers_go_on(&vms[0]);
    r = write(1, 0, 400, 0x78);
    assert_false(is_over(r));
    vm_layers_lose(&vms[0]);
    assert_true(is_over(r));
    assert_int_equal(errors, 1);
    assert_false(vm_layers_any(&vms[0]));
}

static void test_a_drive_that_fails(void **state)
{
    static const char one;

    assert_int_equal(vm_layers_keep(&vms[0], &one), 0);
    write(0, 0, 8, 0x77);
    write(1, 0, 300, 0x78);
    broken = 300;
    assert_int_equal(put_back(&one), -EIO);
    assert_string_equal(said, "a: part:1 is not put back: the drive failed at sectors 296 to 303. "
                              "The VM's disks are of two moments now; nothing of the snapshot is "
                              "lost: restore it again");
    broken = UINT64_MAX;
    flush_fails = true;
    assert_int_equal(put_back(&one), -EIO);
    assert_non_null(strstr(said, "part:0 is not put back: the drive could not flush it"));
    flush_fails = false;
    mock_limit = mock_used;
    assert_int_equal(put_back(&one), -ENOMEM);
    assert_non_null(strstr(said, "no memory is left"));
    mock_limit = MOCK_FRAMES;
    assert_int_equal(put_back(&one), 0);
    assert_int_equal(media[0][8][0], 0x10);
    assert_int_equal(media[1][300][0], 0x11);
    vm_layers_forget(&one);
}

/* Whoever has one disk of then and another of now has neither, whatever becomes of its VM. */
static void test_torn_disks(void **state)
{
    static const char one, two;

    assert_int_equal(vm_layers_keep(&vms[0], &one), 0);
    write(0, 0, 8, 0x77);
    write(1, 0, 8, 0x77);
    assert_int_equal(vm_layers_keep(&vms[0], &two), 0);
    mock_limit = mock_used;
    assert_int_equal(put_back(&one), -ENOMEM);
    assert_non_null(strstr(said, "Nothing was written to the VM's disks; nothing of"));
    assert_false(vm_layers_torn(&vms[0]));
    mock_limit = MOCK_FRAMES;
    broken = 8;
    assert_int_equal(put_back(&one), -EIO);
    assert_true(vm_layers_torn(&vms[0]));
    assert_false(vm_layers_torn(&vms[1]));
    broken = UINT64_MAX;
    assert_int_equal(put_back(&two), 0);
    assert_false(vm_layers_torn(&vms[0]));
    broken = 8;
    assert_int_equal(put_back(&one), -EIO);
    vm_layers_forget(&one);
    for (unsigned i = 0; i < 2; i++)
        vm_layer_close(opened[i]);
    assert_true(vm_layers_torn(&vms[0])); /* it is another one of its name */
    vm_layers_forget(&two);
    assert_false(vm_layers_torn(&vms[0]));
    opened[0] = opened[1] = NULL;
}

/* Its VM is killed meanwhile: nobody waits for a drive that does not answer. */
static void test_stopped(void **state)
{
    static const char one;

    assert_int_equal(vm_layers_keep(&vms[0], &one), 0);
    assert_false(vm_layers_stop(&vms[0]));
    write(0, 0, 8, 0x77);
    holds = deaf = true;
    assert_int_equal(vm_layers_restore(&vms[0], &one, said), -EAGAIN);
    assert_int_equal(holding, 1);
    assert_true(vm_layers_stop(&vms[0]));
    assert_int_equal(holding, 1);
    assert_false(vm_layers_quiet(&vms[0]));
    deaf = false;
    assert_true(vm_layers_quiet(&vms[0]));
    assert_int_equal(holding, 0);
    assert_false(vm_layers_stop(&vms[0]));
    assert_true(vm_layers_torn(&vms[0]));
    holds = false;
    vm_layer_close(opened[0]);
    assert_int_equal(open(0, "part:0", &opened[0]), 0);
    assert_int_equal(put_back(&one), 0);
    vm_layers_forget(&one);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_two_disks_of_one_moment),
        TEST(test_another_life),
        TEST(test_disks_that_come),
        TEST(test_large_blocks),
        TEST(test_memory_is_out),
        TEST(test_a_drive_that_fails),
        TEST(test_torn_disks),
        TEST(test_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
