/* links: guest/vm/moment.c mm/guest_copy.c mm/guest_memory.c mm/guest_layers.c mm/guest_ram.c mm/guest_balloon.c guest/storage/ram.c arch/x86/lib/format.c arch/x86/lib/log.c */
/* A VM's RAM and its disk in memory, kept and put back in pieces: every byte, whatever was written
 * and given back meanwhile; and what happens where memory is out. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "guest/cpu/vcpu.h"
#include "guest/run/run.h"
#include "guest/storage/ram.h"
#include "guest/vm/control.h"
#include "guest/vm/disks.h"
#include "guest/vm/layers.h"
#include "guest/vm/making.h"
#include "guest/vm/vm.h"
#include "tests/unit/mock_frames.h"
#include "tests/unit/unused.h"

#define RAM   (5 * MIB)
#define PAGES (RAM / PAGE_SIZE)
#define DISK  (3 * PAGE_SIZE + 1024)

static struct vm vm;
static struct vm_life life;
static struct board_front front;
static struct vcpu vcpu;
static struct vm_slot slot;
static struct vm_disk disks[2];
static unsigned disk_count;
static uint64_t now, tsc_step, free_memory;
static uint64_t free_at; /* with so many frames in use, each more takes of it; 0: none does */
static uint64_t random_state;
static unsigned in_flight, saves, loads, resets, moved;
static int load_result;
static char loads_as[32];
static uint8_t was[RAM], was_on_disk[4 * PAGE_SIZE];

uint64_t tsc_hz = 1000000;

/* --- what a moment asks of the rest --- */

uint64_t test_tsc(void)
{
    return now += tsc_step;
}

void spin_wait(struct spinlock *l, uint16_t ticket)
{
    fail_msg("a lock was left taken");
}

void frame_stats(struct frame_stats *out)
{
    uint64_t taken = free_at ? (mock_used - free_at) * PAGE_SIZE : 0;

    *out = (struct frame_stats){.free = free_memory - taken};
}

paddr frame_run_alloc(uint64_t pages, uint16_t owner)
{
    unsigned order = 0;

    while (BIT(order) < pages)
        order++;
    return frame_alloc(order, owner);
}

void frame_run_free(paddr base)
{
    frame_free(base, mock_order[base / PAGE_SIZE]);
}

paddr virt_to_phys(const void *va)
{
    return (paddr)((const uint8_t *)va - mock_memory);
}

const struct vm_disk *vm_disk(const struct vm *v, unsigned index)
{
    return index < disk_count ? &disks[index] : NULL;
}

bool bus_idle(struct bus *bus, bool over)
{
    assert_false(over);
    return !in_flight || !--in_flight;
}

void run_unload(void)
{
}

void vm_move_clock(struct vm *v, uint64_t delta)
{
    moved++;
}

void vm_reset(struct vm *v)
{
    resets++;
}

int slot_refuse(char *error, int result, const struct vm_slot *s, const char *why)
{
    snprintf(error, MOMENT_ERROR, "%s %s", s->name, why);
    return result;
}

int vm_stream_save(struct vm *v, struct vm_stream *out)
{
    assert_true(life.held);
    assert_int_equal(in_flight, 0);
    out->data = heap_alloc(8);
    out->size = 8;
    saves++;
    return out->data ? 0 : -ENOMEM;
}

void vm_stream_free(struct vm_stream *s)
{
    heap_free(s->data);
}

int vm_stream_load(struct vm *v, const struct vm_stream *s, char *error)
{
    assert_true(life.held);
    assert_int_equal(in_flight, 0);
    snprintf(error, VM_STREAM_ERROR, "%s", loads_as);
    loads++;
    return load_result;
}

int vm_stream_load_again(struct vm *v, const struct vm_stream *s, char *error)
{
    assert_int_equal(resets, loads / 2 + 1); /* behind the first time, and all pages */
    return vm_stream_load(v, s, error);
}

/* --- layers of disks of drives: what each has been asked for --- */

static struct {
    const void *kept[8]; /* of which there is something */
    unsigned given_up, stops;
    int possible, keeps, fits;
    bool waits;
    int answers[4]; /* of vm_layers_restore(), the next one first; 0 from the last on */
    bool writing;
    unsigned loads_before; /* of all else */
} layers;

static const void **kept_by(const void *of)
{
    unsigned i = 0;

    while (i < 7 && layers.kept[i] != of)
        i++;
    return &layers.kept[i];
}

int vm_layers_possible(const struct vm *v, char *error)
{
    snprintf(error, LAYERS_ERROR, "blocks are too large");
    return layers.possible;
}

int vm_layers_keep(const struct vm *v, const void *of)
{
    assert_int_equal(in_flight, 0);
    if (!layers.keeps)
        *kept_by(NULL) = of;
    return layers.keeps;
}

void vm_layers_forget(const void *of)
{
    *kept_by(of) = NULL;
}

int vm_layers_fit(const struct vm *v, const void *of, char *error)
{
    snprintf(error, LAYERS_ERROR, "a has other disks");
    return layers.fits;
}

int vm_layers_restore(const struct vm *v, const void *of, char *error)
{
    int result = layers.answers[0];

    assert_true(life.held);
    assert_ptr_equal(*kept_by(of), of);
    layers.loads_before = loads;
    memmove(layers.answers, layers.answers + 1, sizeof(int) * 3);
    layers.answers[3] = 0;
    layers.writing = result == -EAGAIN;
    if (result == -EIO)
        snprintf(error, LAYERS_ERROR, "a: part:data is not put back");
    return result;
}

bool vm_layers_stop(const struct vm *v)
{
    bool wrote = layers.writing;

    layers.writing = false;
    layers.stops++;
    return wrote;
}

void vm_layers_give_up(const struct vm *v)
{
    layers.given_up++;
    layers.waits = false;
}

bool vm_layers_wait(const struct vm *v)
{
    return layers.waits;
}

/* --- the VM --- */

static uint64_t any(void)
{
    random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return random_state >> 33;
}

static void scribble(void)
{
    for (uint64_t i = 0; i < PAGES; i++) {
        uint64_t word = any() % 3 ? any() : 0;

        for (unsigned n = 0; n < PAGE_SIZE; n += 8)
            memcpy(was + i * PAGE_SIZE + n, &word, 8);
        if (any() % 4 == 0)
            was[i * PAGE_SIZE + any() % PAGE_SIZE] ^= 1; /* one byte of a page of zeroes, too */
    }
    assert_int_equal(guest_memory_write(&vm.memory, 0, was, RAM - MIB), 0);
    assert_int_equal(guest_memory_write(&vm.memory, 8 * MIB, was + RAM - MIB, MIB), 0);
    for (unsigned i = 0; i < 4; i++)
        memset(ram_disk_page(disks[0].block, i), (int)any(), i < 3 ? PAGE_SIZE : 1024);
}

static void remember(uint8_t *ram, uint8_t *disk)
{
    assert_int_equal(guest_memory_read(&vm.memory, 0, ram, RAM - MIB), 0);
    assert_int_equal(guest_memory_read(&vm.memory, 8 * MIB, ram + RAM - MIB, MIB), 0);
    for (unsigned i = 0; i < 4; i++)
        memcpy(disk + i * PAGE_SIZE, ram_disk_page(disks[0].block, i), i < 3 ? PAGE_SIZE : 1024);
}

static void as_it_was(void)
{
    static uint8_t is[RAM], on_disk[4 * PAGE_SIZE];

    remember(is, on_disk);
    assert_memory_equal(is, was, RAM);
    assert_memory_equal(on_disk, was_on_disk, DISK);
}

static int fresh(void **state)
{
    const struct guest_memory_region regions[] = {{0, RAM - MIB}, {8 * MIB, MIB}};
    static const uint8_t file[DISK] = {1};

    mock_reset();
    vm = (struct vm){.name = "a",
                     .life = &life,
                     .vcpu_count = 1,
                     .vcpu = {&vcpu},
                     .board = (struct board *)&front};
    life = (struct vm_life){0};
    vcpu.hw.watched_cr = 0;
    slot = (struct vm_slot){.name = "a", .vm = &vm};
    assert_int_equal(guest_memory_create(&vm.memory, FRAME_VM, regions, 2), 0);
    assert_int_equal(guest_memory_balloon(&vm.memory), 0);
    disks[0] = (struct vm_disk){.config = {.kind = CONFIG_DISK_RAM},
                                .block = ram_disk_create(file, DISK, FRAME_VM)};
    assert_non_null(disks[0].block);
    disk_count = 1;
    in_flight = saves = loads = resets = moved = 0;
    memset(&layers, 0, sizeof(layers));
    load_result = 0;
    tsc_step = 1000;
    free_memory = GIB;
    free_at = 0;
    random_state = 3;
    scribble();
    return 0;
}

static int all_back(void **state)
{
    for (struct moment *m; (m = slot.moments.kept);) {
        slot.moments.kept = m->next;
        moment_destroy(&slot, m);
    }
    ram_disk_destroy(disks[0].block);
    guest_memory_destroy(&vm.memory);
    assert_int_equal(mock_used, 0);
    assert_int_equal(mock_heap_blocks, 0);
    for (unsigned i = 0; i < 8; i++)
        assert_null(layers.kept[i]);
    return 0;
}

/* How many steps it took. */
static unsigned go(enum moment_result *result)
{
    unsigned steps = 0;

    moment_begin(&slot);
    do {
        *result = moment_step(&slot);
        steps++;
        assert_int_equal(slot.moments.work != NULL,
                         *result == MOMENT_MORE || *result == MOMENT_LATER);
        assert_int_equal(life.held, slot.moments.work != NULL);
    } while (slot.moments.work);
    return steps;
}

static unsigned keep(void)
{
    enum moment_result result;
    unsigned steps;

    slot.moments.work = heap_alloc(sizeof(struct moment));
    slot.moments.back = false;
    steps = go(&result);
    assert_int_equal(result, MOMENT_OVER);
    return steps;
}

static enum moment_result put_back(struct moment *m)
{
    enum moment_result result;

    slot.moments.work = m;
    slot.moments.back = true;
    go(&result);
    return result;
}

static void all_comes_back(void **state)
{
    assert_int_equal(guest_memory_zero(&vm.memory, 7 * PAGE_SIZE, PAGE_SIZE), 0);
    assert_int_equal(guest_memory_write(&vm.memory, 8 * PAGE_SIZE - 1, "x", 1), 0);
    remember(was, was_on_disk);
    in_flight = 5;
    assert_true(keep() > 4 + PAGES / 64 / 5); /* in pieces of 5 ms */
    assert_string_equal(slot.moments.said, "");
    assert_int_equal(saves, 1);
    uint64_t frames = slot.moments.kept->pages.frames;
    assert_uint_in_range(frames, PAGES / 2, PAGES * 9 / 10); /* pages of zeroes take none */
    for (unsigned i = 0; i < 5; i++) {
        static uint8_t ram[RAM], disk[4 * PAGE_SIZE];

        memcpy(ram, was, RAM);
        memcpy(disk, was_on_disk, DISK);
        scribble();
        memcpy(was, ram, RAM);
        memcpy(was_on_disk, disk, DISK);
        in_flight = i;
        assert_int_equal(put_back(slot.moments.kept), MOMENT_OVER);
        assert_string_equal(slot.moments.said, "");
        as_it_was();
        assert_int_equal(loads, 2 * (i + 1)); /* tried first */
        assert_int_equal(resets, i + 1);
    }
    assert_int_equal(slot.moments.kept->pages.frames, frames);
    assert_null(slot.moments.kept->next);
}

/* Of RAM that nobody has touched nothing is looked at, nothing kept, and nothing put back. */
static void looked_at_no_more(void **state)
{
    static const uint64_t at[] = {0, 40 * GIB, 64 * GIB - PAGE_SIZE};
    const struct guest_memory_region region = {0, 64 * GIB};
    uint8_t byte;

    guest_memory_destroy(&vm.memory);
    assert_int_equal(guest_memory_create(&vm.memory, FRAME_VM, &region, 1), 0);
    assert_int_equal(guest_memory_balloon(&vm.memory), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
        assert_int_equal(guest_memory_write(&vm.memory, at[i], "x", 1), 0);
    assert_uint_in_range(keep(), 1, 12);
    assert_string_equal(slot.moments.said, "");
    assert_uint_in_range(slot.moments.kept->pages.frames, 2 * 3,
                         2 * 3 + 4 + 1); /* with the disk's */
    assert_int_equal(guest_memory_write(&vm.memory, 20 * GIB, "y", 1), 0);
    assert_int_equal(guest_memory_write(&vm.memory, 40 * GIB, "z", 1), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(put_back(slot.moments.kept), MOMENT_OVER);
        for (unsigned n = 0; n < ARRAY_SIZE(at); n++) {
            assert_int_equal(guest_memory_read(&vm.memory, at[n], &byte, 1), 0);
            assert_int_equal(byte, 'x');
        }
        assert_int_equal(guest_memory_read(&vm.memory, 20 * GIB, &byte, 1), 0);
        assert_int_equal(byte, 0);
        assert_int_equal(guest_memory_there(&vm.memory), (i ? 3 : 4) * 512);
        uint32_t done = 0; /* a reset */
        while (guest_memory_clear_some(&vm.memory, &done))
            ;
    }
}

/* --- several moments: what they have in common is there once --- */

static struct moment *number(unsigned n)
{
    struct moment *m = slot.moments.kept;

    while (n--)
        m = m->next;
    return m;
}

/* Whoever believes that a frame that is free is his finds something else there. */
static void use_free_frames(void)
{
    static paddr frames[600];

    for (unsigned i = 0; i < ARRAY_SIZE(frames); i++) {
        frames[i] = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
        memset(phys_to_virt(frames[i]), 0xee, PAGE_SIZE);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(frames); i++)
        frame_free(frames[i], FRAME_ORDER_4K);
}

static void forget(unsigned n)
{
    struct moment *m = number(n), **at = &slot.moments.kept;

    while (*at != m)
        at = &(*at)->next;
    *at = m->next;
    moment_destroy(&slot, m);
    use_free_frames();
}

static void in_common(void **state)
{
    static uint8_t ram[4][RAM], disk[4][4 * PAGE_SIZE];
    static const uint8_t orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 0, 3, 2}, {2, 0, 1, 3}};

    for (unsigned o = 0; o < ARRAY_SIZE(orders); o++) {
        uint64_t used = mock_used, all = 0;
        bool there[4] = {true, true, true, true};
        struct moment *m[4];

        for (unsigned n = 0; n < 4; n++) {
            for (unsigned i = 0; i < 40; i++) { /* a few pages are others */
                uint64_t at = any() % PAGES * PAGE_SIZE;
                uint64_t value = any() % 4;
                at += at >= RAM - MIB ? 8 * MIB - (RAM - MIB) : 0;
                assert_int_equal(guest_memory_write(&vm.memory, at, &value, 8), 0);
            }
            remember(ram[n], disk[n]);
            keep();
            assert_string_equal(slot.moments.said, "");
            m[n] = number(n);
            if (n)
                assert_uint_in_range(m[n]->pages.frames, 1, 50);
            all += m[n]->pages.frames;
        }
        for (unsigned k = 0; k < 4; k++) {
            for (unsigned n = 0; n < 4; n++) {
                if (!there[n])
                    continue;
                scribble();
                assert_int_equal(put_back(m[n]), MOMENT_OVER);
                memcpy(was, ram[n], RAM);
                memcpy(was_on_disk, disk[n], DISK);
                as_it_was();
            }
            unsigned place = 0;
            for (unsigned n = 0; n < orders[o][k]; n++)
                place += there[n];
            forget(place);
            there[orders[o][k]] = false;
        }
        assert_int_equal(mock_used, used);
        assert_true(all < 2 * PAGES);
    }
}

/* The one that it has much in common with is forgotten while it is being kept. */
static void forgotten_meanwhile(void **state)
{
    static uint8_t ram[RAM], disk[4 * PAGE_SIZE];

    keep();
    remember(ram, disk);
    slot.moments.work = heap_alloc(sizeof(struct moment));
    slot.moments.back = false;
    moment_begin(&slot);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(moment_step(&slot), MOMENT_MORE);
    forget(0);
    while (slot.moments.work)
        (void)moment_step(&slot);
    scribble();
    memcpy(was, ram, RAM);
    memcpy(was_on_disk, disk, DISK);
    assert_int_equal(put_back(slot.moments.kept), MOMENT_OVER);
    as_it_was();
}

/* Pages that its guest has given back before, or since. */
static void balloon(void **state)
{
    static const uint64_t given[] = {0, PAGE_SIZE, MIB, 8 * MIB};
    paddr frame;

    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(guest_memory_give(&vm.memory, given[i], &frame), 0);
        guest_memory_leave(&vm.memory, frame, PAGE_SIZE);
    }
    remember(was, was_on_disk);
    keep();
    assert_int_equal(guest_memory_back(&vm.memory, given[0]), 0);
    assert_int_equal(guest_memory_write(&vm.memory, given[0], "x", 1), 0);
    for (unsigned i = 2; i < 4; i++) {
        assert_int_equal(guest_memory_write(&vm.memory, given[i], "x", 1), 0);
        assert_int_equal(guest_memory_give(&vm.memory, given[i], &frame), 0);
        guest_memory_leave(&vm.memory, frame, PAGE_SIZE);
    }
    assert_int_equal(guest_memory_given(&vm.memory), 3);
    assert_int_equal(put_back(slot.moments.kept), MOMENT_OVER);
    as_it_was();
    assert_uint_in_range(guest_memory_given(&vm.memory), 1, 3);
}

static unsigned filled;

void rights_fill(struct rights *r)
{
    assert_ptr_equal(r, &vm.rights);
    filled++;
}

static void untouch(void)
{
    uint32_t done = 0;

    while (guest_memory_clear_some(&vm.memory, &done))
        ;
    assert_int_equal(guest_memory_there(&vm.memory), 0);
}

/* Memory that nobody has touched when it is kept, or when it is put back. */
static void untouched(void **state)
{
    uint8_t zero[PAGE_SIZE] = {0};

    keep(); /* all of it is there */
    untouch();
    uint64_t used = mock_used;
    assert_int_equal(guest_memory_write(&vm.memory, MIB, "x", 1), 0);
    remember(was, was_on_disk);
    keep();
    assert_uint_in_range(number(1)->pages.frames, 1, 10);
    scribble();
    assert_int_equal(put_back(number(1)), MOMENT_OVER);
    memset(was, 0, RAM);
    was[MIB] = 'x';
    as_it_was();
    untouch();
    filled = 0;
    assert_int_equal(put_back(number(1)), MOMENT_OVER);
    assert_int_equal(filled, 1); /* its guest finds it in EPT, too */
    as_it_was();
    assert_int_equal(guest_memory_there(&vm.memory), 512); /* what was zeroes takes nothing */
    assert_true(mock_used > used);
    assert_int_equal(guest_memory_read(&vm.memory, 0, zero, 1), 0);
    assert_int_equal(put_back(number(0)), MOMENT_OVER);
}

static void no_memory(void **state)
{
    uint64_t used = mock_used;

    for (uint64_t limit = 0; limit < 2000; limit += limit < 10 ? 1 : 97) {
        mock_limit = used + limit;
        keep();
        if (!slot.moments.said[0])
            break;
        assert_non_null(strstr(slot.moments.said, "there is no memory for it"));
        assert_null(slot.moments.kept);
        assert_int_equal(mock_used, used);
    }
    assert_non_null(slot.moments.kept);
    mock_limit = MOCK_FRAMES;
    free_memory = 3 * MIB; /* of which others are to have something */
    keep();
    assert_string_equal(slot.moments.said,
                        "a: there is no memory for it: 0 MiB were wanted so far, 3 MiB are free");
    for (long left = 0; left < 3; left++) {
        mock_heap_left = 1000;
        slot.moments.work = heap_alloc(sizeof(struct moment));
        mock_heap_left = left;
        slot.moments.back = false;
        free_memory = GIB;
        enum moment_result result;
        go(&result);
        assert_int_equal(slot.moments.said[0] != 0, left < 2);
    }
    mock_heap_left = 1000;
}

/* However much a processor copies in its 5 ms. */
static void others_have_memory_left(void **state)
{
    tsc_step = 0;
    free_memory = 5 * MIB;
    free_at = mock_used;
    keep();
    assert_string_equal(slot.moments.said,
                        "a: there is no memory for it: 1 MiB were wanted so far, 3 MiB are free");
    assert_null(slot.moments.kept);
}

/* What cannot be put back leaves all as it is. */
static void put_back_for_want_of_memory(void **state)
{
    paddr frame;

    assert_int_equal(guest_memory_write(&vm.memory, MIB, "x", 1), 0);
    keep();
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(guest_memory_give(&vm.memory, MIB + i * PAGE_SIZE, &frame), 0);
        guest_memory_leave(&vm.memory, frame, PAGE_SIZE);
    }
    scribble();
    remember(was, was_on_disk);
    for (unsigned i = 0; i < 10; i++) { /* scribbling has brought them back */
        assert_int_equal(guest_memory_write(&vm.memory, MIB + i * PAGE_SIZE, was, 1), 0);
        assert_int_equal(guest_memory_give(&vm.memory, MIB + i * PAGE_SIZE, &frame), 0);
        guest_memory_leave(&vm.memory, frame, PAGE_SIZE);
    }
    remember(was, was_on_disk);
    mock_limit = mock_used + 2;
    assert_int_equal(put_back(slot.moments.kept), MOMENT_OVER);
    assert_non_null(strstr(slot.moments.said, "there is no memory for it"));
    assert_int_equal(loads, 0);
    as_it_was();
    mock_limit = MOCK_FRAMES;
    load_result = -EBADMSG;
    snprintf(loads_as, sizeof(loads_as), "is damaged");
    assert_int_equal(put_back(slot.moments.kept), MOMENT_OVER);
    assert_string_equal(slot.moments.said, "a: the saved state is damaged");
    assert_int_equal(resets, 0);
    as_it_was();
    load_result = -EIO;
    assert_int_equal(put_back(slot.moments.kept), MOMENT_RUINED);
    load_result = 0;
    disk_count = 0;
    assert_int_equal(put_back(slot.moments.kept), MOMENT_OVER);
    assert_string_equal(slot.moments.said, "a has other disks in memory than it had then");
    disk_count = 1;
}

static void given_up(void **state)
{
    uint64_t used = mock_used;

    slot.moments.work = heap_alloc(sizeof(struct moment));
    slot.moments.back = false;
    moment_begin(&slot);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(moment_step(&slot), MOMENT_MORE);
    assert_uint_in_range(moment_progress(&slot), 1, 99);
    assert_true(mock_used > used);
    slot.moments.given_up = true;
    assert_int_equal(moment_step(&slot), MOMENT_OVER);
    assert_non_null(strstr(slot.moments.said, "given up"));
    assert_int_equal(mock_used, used);
    assert_null(slot.moments.kept);
    assert_false(life.held);
}

static void not_possible(void **state)
{
    char error[MOMENT_ERROR];

    assert_int_equal(moment_possible(&slot, error), 0);
    layers.possible = -EINVAL;
    assert_int_equal(moment_possible(&slot, error), -EINVAL);
    assert_string_equal(error, "blocks are too large");
    layers.possible = 0;
    vm.debugged = true;
    assert_int_equal(moment_possible(&slot, error), -EBUSY);
    vm.debugged = false;
    vcpu.hw.watched_cr = BIT(4);
    assert_int_equal(moment_possible(&slot, error), -EBUSY);
    assert_non_null(strstr(error, "unwatch"));
    vcpu.hw.watched_cr = 0;
    slot.leaving = 1;
    assert_int_equal(moment_possible(&slot, error), -EBUSY);
    slot.leaving = 0;
}

/* A watch, or a device that leaves, that came while its vCPUs were on their way out. */
static void not_possible_any_more(void **state)
{
    enum moment_result result;

    keep();
    for (unsigned i = 0; i < 4; i++) {
        slot.moments.back = i % 2;
        slot.moments.work =
            slot.moments.back ? slot.moments.kept : heap_alloc(sizeof(struct moment));
        in_flight = 1;
        vcpu.hw.watched_cr = i < 2 ? BIT(4) : 0;
        slot.leaving = i < 2 ? 0 : 1;
        go(&result);
        assert_int_equal(result, MOMENT_OVER);
        assert_non_null(strstr(slot.moments.said, i < 2 ? "unwatch" : "is just leaving"));
    }
    assert_int_equal(saves, 1);
    assert_int_equal(loads, 0);
    assert_null(slot.moments.kept->next);
}

static void forget_all(void)
{
    while (slot.moments.kept)
        forget(0);
}

/* Disks of drives: from the moment on that all else is of, and put back behind all else. */
static void disks_of_drives(void **state)
{
    static const int takes_its_time[4] = {-EAGAIN, -EAGAIN};
    struct moment *m;

    keep();
    m = slot.moments.kept;
    assert_ptr_equal(layers.kept[0], m);
    assert_int_equal(layers.given_up, 0);
    memcpy(layers.answers, takes_its_time, sizeof(layers.answers));
    assert_int_equal(put_back(m), MOMENT_OVER);
    assert_string_equal(slot.moments.said, "");
    assert_false(layers.writing);
    assert_int_equal(layers.loads_before, 2);
    assert_int_equal(layers.given_up, 0);
    /* They are others, or memory is out: all is as it was. */
    loads = resets = 0;
    layers.fits = -EINVAL;
    assert_int_equal(put_back(m), MOMENT_OVER);
    assert_string_equal(slot.moments.said, "a has other disks");
    assert_int_equal(loads + resets, 0);
    layers.fits = 0;
    /* Nothing may believe in them when the drive fails, until they have been put back. */
    slot.moments.at_end = false;
    layers.answers[0] = -EAGAIN;
    layers.answers[1] = -EIO;
    assert_int_equal(put_back(m), MOMENT_OVER);
    assert_string_equal(slot.moments.said, "a: part:data is not put back");
    assert_true(slot.moments.at_end);
    assert_ptr_equal(layers.kept[0], m);
    loads = resets = 0;
    assert_int_equal(put_back(m), MOMENT_OVER);
    assert_string_equal(slot.moments.said, "");
    forget_all();
    assert_null(layers.kept[0]);
    layers.keeps = -ENOMEM;
    keep();
    assert_non_null(strstr(slot.moments.said, "there is no memory for it"));
    assert_null(slot.moments.kept);
}

/* What is in flight will not come back before there is memory. */
static void disks_that_wait(void **state)
{
    enum moment_result result;

    in_flight = 1000000;
    layers.waits = true;
    slot.moments.work = heap_alloc(sizeof(struct moment));
    slot.moments.back = false;
    go(&result);
    assert_int_equal(result, MOMENT_OVER);
    assert_non_null(strstr(slot.moments.said, "waits for memory"));
    in_flight = 0;
    layers.waits = false;
    /* Where it is put back nobody needs that write, unless it is refused. */
    keep();
    in_flight = 5;
    layers.waits = true;
    layers.fits = -EINVAL;
    assert_int_equal(put_back(slot.moments.kept), MOMENT_OVER);
    assert_string_equal(slot.moments.said, "a has other disks");
    assert_int_equal(layers.given_up, 0);
    layers.fits = 0;
    slot.leaving = 1;
    assert_int_equal(put_back(slot.moments.kept), MOMENT_OVER);
    assert_non_null(strstr(slot.moments.said, "is just leaving"));
    assert_int_equal(layers.given_up, 0);
    slot.leaving = 0;
    assert_int_equal(put_back(slot.moments.kept), MOMENT_OVER);
    assert_string_equal(slot.moments.said, "");
    assert_int_equal(layers.given_up, 1);
}

/* Its VM ends meanwhile. */
static void dropped_while_disks_are_written(void **state)
{
    keep();
    slot.moments.work = slot.moments.kept;
    slot.moments.back = true;
    for (unsigned i = 0; i < 4; i++)
        layers.answers[i] = -EAGAIN;
    moment_begin(&slot);
    while (!layers.writing)
        (void)moment_step(&slot);
    assert_int_equal(moment_step(&slot), MOMENT_LATER);
    assert_int_equal(moment_progress(&slot), 100);
    moment_drop(&slot, "ends");
    assert_string_equal(slot.moments.said, "a ends");
    assert_int_equal(layers.stops, 1);
    assert_null(slot.moments.work);
    assert_ptr_equal(layers.kept[0], slot.moments.kept);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh, all_back)
    const struct CMUnitTest tests[] = {
        TEST(all_comes_back),
        TEST(in_common),
        TEST(forgotten_meanwhile),
        TEST(untouched),
        TEST(looked_at_no_more),
        TEST(balloon),
        TEST(no_memory),
        TEST(others_have_memory_left),
        TEST(put_back_for_want_of_memory),
        TEST(given_up),
        TEST(not_possible),
        TEST(not_possible_any_more),
        TEST(disks_of_drives),
        TEST(disks_that_wait),
        TEST(dropped_while_disks_are_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
