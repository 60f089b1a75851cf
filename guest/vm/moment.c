/* See moment.h. */
#include "guest/vm/moment.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "guest/cpu/vcpu.h"
#include "guest/run/run.h"
#include "guest/storage/ram.h"
#include "guest/vm/disks.h"
#include "guest/vm/layers.h"
#include "guest/vm/making.h"
#include "mm/heap.h"

#define PIECE_MS 5         /* in which processor 0 does nothing else */
#define AT_ONCE  64u       /* pages between two looks at the clock, and at what is free */
#define RESERVE  (4 * MIB) /* of the machine's memory, which is left to others */

_Static_assert(MOMENT_ERROR >= LAYERS_ERROR && CONTROL_ERROR >= LAYERS_ERROR, "their sentences");

/* --- whether it can be --- */

/* Registers that somebody watches are not what their guest thinks that they are. */
static bool is_watched(const struct vm *vm)
{
    bool watched = false;

    for (unsigned i = 0; i < vm->vcpu_count; i++)
        watched |= vm->vcpu[i]->hw.watched_cr || vm->vcpu[i]->hw.syscall_watched;
    return watched;
}

int moment_possible(const struct vm_slot *s, char *error)
{
    if (s->vm->debugged)
        return slot_refuse(error, -EBUSY, s, "is under a debugger: end that first");
    if (is_watched(s->vm))
        return slot_refuse(error, -EBUSY, s,
                           "has its control registers or system calls watched: unwatch them first");
    if (s->leaving)
        return slot_refuse(error, -EBUSY, s, "has a device that is just leaving: try again");
    return vm_layers_possible(s->vm, error);
}

/* --- pages: those of RAM, then those of its disks in memory --- */

/* 0: what is on it is no part of a moment. */
static uint64_t disk_pages(const struct vm_disk *d)
{
    if (d->config.kind != CONFIG_DISK_RAM || d->config.read_only)
        return 0;
    return (d->block->sectors * BLOCK_SECTOR + PAGE_SIZE - 1) / PAGE_SIZE;
}

/* NULL: it has no frame, and reads as zeroes. False: there are not so many. */
static bool page_at(const struct vm *vm, uint64_t number, uint64_t *gpa, void **page)
{
    uint64_t ram = vm->memory.size / PAGE_SIZE;
    const struct vm_disk *d;

    if (number < ram)
        return guest_memory_page(&vm->memory, number, gpa, page);
    number -= ram;
    for (unsigned i = 0; (d = vm_disk(vm, i)); i++) {
        if (number < disk_pages(d)) {
            *page = ram_disk_page(d->block, number);
            return true;
        }
        number -= disk_pages(d);
    }
    return false;
}

static uint64_t count_pages(const struct vm *vm)
{
    uint64_t count = vm->memory.size / PAGE_SIZE;
    const struct vm_disk *d;

    for (unsigned i = 0; (d = vm_disk(vm, i)); i++)
        count += disk_pages(d);
    return count;
}

/* --- how it ends --- */

void moment_destroy(struct vm_slot *s, struct moment *m)
{
    struct slot_moments *w = &s->moments;

    for (struct moment *other = w->kept; other; other = other->next)
        page_store_hand_over(&m->pages, &other->pages);
    if (w->work && w->work != m)
        page_store_hand_over(&m->pages, &w->work->pages);
    vm_layers_forget(m);
    vm_stream_free(&m->state);
    page_store_destroy(&m->pages);
    heap_free(m);
}

static void end(struct vm_slot *s)
{
    struct slot_moments *w = &s->moments;

    if (!w->back && w->said[0])
        moment_destroy(s, w->work);
    w->work = NULL;
    if (s->vm)
        s->vm->life->held = false;
}

static enum moment_result ends(struct vm_slot *s)
{
    end(s);
    return MOMENT_OVER;
}

void moment_drop(struct vm_slot *s, const char *why)
{
    struct slot_moments *w = &s->moments;

    format(w->said, sizeof(w->said), "%s %s", s->name, why);
    if (w->back && s->vm && vm_layers_stop(s->vm))
        log_error("%s: its disks are of two moments, as they were just being put back to '%s': "
                  "restore that once more",
                  s->name, w->work->name);
    end(s);
}

static enum moment_result fails(struct vm_slot *s, const char *why)
{
    moment_drop(s, why);
    return MOMENT_OVER;
}

static enum moment_result succeeds(struct vm_slot *s)
{
    struct slot_moments *w = &s->moments;
    struct moment **last = &w->kept;

    w->said[0] = '\0';
    while (!w->back && *last)
        last = &(*last)->next;
    if (!w->back)
        *last = w->work;
    return ends(s);
}

static enum moment_result no_memory(struct vm_slot *s)
{
    struct frame_stats f;

    frame_stats(&f);
    format(s->moments.said, sizeof(s->moments.said),
           "%s: there is no memory for it: %lu MiB were wanted so far, %lu MiB are free", s->name,
           s->moments.work->pages.frames * PAGE_SIZE / MIB, f.free / MIB);
    return ends(s);
}

/* --- the steps --- */

void moment_begin(struct vm_slot *s)
{
    struct slot_moments *w = &s->moments;

    s->vm->life->held = true;
    w->phase = MOMENT_DRAINS;
    w->page = 0;
}

/* Its clock has stood still until now. */
static void keep_time(struct vm_slot *s)
{
    uint64_t now = rdtsc();

    run_unload();
    vm_move_clock(s->vm, s->paused_at - now);
    s->paused_at = now;
}

static enum moment_result keep_state(struct vm_slot *s)
{
    struct moment *m = s->moments.work;

    keep_time(s);
    if (vm_stream_save(s->vm, &m->state) < 0 ||
        page_store_create(&m->pages, count_pages(s->vm), s->vm->memory.owner) < 0 ||
        vm_layers_keep(s->vm, m) < 0)
        return no_memory(s);
    m->taken = s->paused_at;
    return MOMENT_MORE;
}

/* how: vm_stream_load(), or vm_stream_load_again(). */
static enum moment_result
load(struct vm_slot *s, int (*how)(struct vm *vm, const struct vm_stream *state, char *error))
{
    char error[VM_STREAM_ERROR];
    int result;

    run_unload();
    result = how(s->vm, &s->moments.work->state, error);
    s->paused_at = rdtsc();
    if (result == 0)
        return MOMENT_MORE;
    format(s->moments.said, sizeof(s->moments.said), "%s: the saved state %s", s->name, error);
    end(s);
    return result == -EIO ? MOMENT_RUINED : MOMENT_OVER;
}

/* Whether its disks are those that it had, and there is memory for putting them back. */
static bool disks_fit(struct vm_slot *s)
{
    struct slot_moments *w = &s->moments;

    if (count_pages(s->vm) == w->work->pages.pages)
        return vm_layers_fit(s->vm, w->work, w->said) == 0;
    (void)slot_refuse(w->said, 0, s, "has other disks in memory than it had then");
    return false;
}

/* The last moment at which it can be refused. Then RAM, and its state once more: so no device
 * touches what is there before all of it is. */
static enum moment_result try_state(struct vm_slot *s)
{
    enum moment_result result;

    if (!disks_fit(s))
        return ends(s);
    keep_time(s);
    result = load(s, vm_stream_load);
    if (result == MOMENT_MORE)
        vm_reset(s->vm);
    return result;
}

/* What was kept last: most of it may be the same. */
static const struct page_store *newest(const struct slot_moments *w)
{
    const struct moment *m = w->kept;

    while (m && m->next)
        m = m->next;
    return m ? &m->pages : NULL;
}

/* From the one on whose turn it is, the first page with which something is to be done: what nobody
 * has touched costs nothing. */
static uint64_t next_page(const struct vm_slot *s)
{
    const struct slot_moments *w = &s->moments;
    uint64_t ram = s->vm->memory.size / PAGE_SIZE;

    if (w->page >= ram)
        return w->page;
    if (w->back && w->phase == MOMENT_ROOM)
        return MIN(page_store_next(&w->work->pages, w->page), ram);
    return guest_memory_next_page(&s->vm->memory, w->page);
}

/* page: NULL, it has no frame. */
static int one_page(struct vm_slot *s, uint64_t gpa, void *page)
{
    struct slot_moments *w = &s->moments;
    struct page_store *pages = &w->work->pages;

    if (!w->back)
        return page ? page_store_put(pages, w->page, page, newest(w)) : 0;
    if (w->phase == MOMENT_PAGES && page)
        page_store_get(pages, w->page, page);
    if (w->phase == MOMENT_ROOM && !page && page_store_has(pages, w->page))
        return guest_memory_back(&s->vm->memory, gpa);
    return 0;
}

/* What pages may take would leave too little for others. */
static bool takes_too_much(const struct slot_moments *w)
{
    struct frame_stats f;

    frame_stats(&f);
    return f.free < RESERVE && (!w->back || w->phase == MOMENT_ROOM);
}

/* As many pages as there is time for. MOMENT_OVER: that was all of them. */
static enum moment_result some_pages(struct vm_slot *s)
{
    struct slot_moments *w = &s->moments;
    uint64_t until = rdtsc() + tsc_hz / 1000 * PIECE_MS, gpa = 0;
    void *page;

    do {
        if (takes_too_much(w))
            return no_memory(s);
        for (unsigned i = 0; i < AT_ONCE; i++, w->page++) {
            w->page = next_page(s);
            if (!page_at(s->vm, w->page, &gpa, &page))
                return MOMENT_OVER;
            if (one_page(s, gpa, page) < 0)
                return no_memory(s);
        }
    } while (rdtsc() < until);
    return MOMENT_MORE;
}

static enum moment_result next_phase(struct vm_slot *s)
{
    struct slot_moments *w = &s->moments;
    enum moment_result result = MOMENT_MORE;

    w->page = 0;
    /* Its vCPUs were on their way out when that was asked first. */
    if (w->phase == MOMENT_DRAINS && moment_possible(s, w->said) < 0)
        return ends(s);
    if (w->phase == MOMENT_DRAINS) {
        w->phase = w->back ? MOMENT_ROOM : MOMENT_PAGES;
        return w->back ? MOMENT_MORE : keep_state(s);
    }
    if (w->phase == MOMENT_ROOM) {
        w->phase = MOMENT_PAGES;
        return try_state(s);
    }
    if (w->back) {
        result = load(s, vm_stream_load_again);
        rights_fill(&s->vm->rights); /* what had no frame before */
    }
    if (result != MOMENT_MORE)
        return MOMENT_RUINED;
    w->phase = MOMENT_DISKS;
    return w->back ? MOMENT_MORE : succeeds(s);
}

/* Where that fails nothing may go on that believes in its disks. */
static enum moment_result put_disks_back(struct vm_slot *s)
{
    struct slot_moments *w = &s->moments;
    int result = vm_layers_restore(s->vm, w->work, w->said);

    if (result == -EAGAIN)
        return MOMENT_LATER;
    if (result == 0)
        return succeeds(s);
    log_error("%s", w->said);
    w->at_end = true;
    return ends(s);
}

/* What is in flight has come back, or will not: of what is put back no write needs to be made, if
 * it can be put back. */
static enum moment_result drain(struct vm_slot *s)
{
    if (bus_idle(board_bus(s->vm->board), false))
        return next_phase(s);
    if (!vm_layers_wait(s->vm))
        return MOMENT_LATER;
    if (!s->moments.back)
        return fails(s, "waits for memory to keep what is on its disk: forget a snapshot first");
    if (moment_possible(s, s->moments.said) < 0 || !disks_fit(s))
        return ends(s);
    vm_layers_give_up(s->vm);
    return MOMENT_LATER;
}

enum moment_result moment_step(struct vm_slot *s)
{
    struct slot_moments *w = &s->moments;
    enum moment_result result;

    if (w->given_up && !w->back)
        return fails(s, "is not kept: that was given up");
    if (w->phase == MOMENT_DRAINS)
        return drain(s);
    if (w->phase == MOMENT_DISKS)
        return put_disks_back(s);
    result = some_pages(s);
    return result == MOMENT_OVER && w->work ? next_phase(s) : result;
}

unsigned moment_progress(const struct vm_slot *s)
{
    const struct slot_moments *w = &s->moments;
    uint64_t all = w->work && w->phase == MOMENT_PAGES ? w->work->pages.pages : 0;

    return all ? (unsigned)(w->page * 100 / all) : w->phase == MOMENT_DISKS ? 100 : 0;
}
