/* `mode = check`: which disks there are, what lies on them, and whether they do what they say. */
#include "guest/check.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "drivers/drives.h"
#include "drivers/iommu.h"
#include "guest/board/wall_clock.h"
#include "guest/storage/tables.h"
#include "mm/frame.h"

#define DEPTH        8   /* requests at once */
#define PIECE        128 /* sectors of each */
#define PROGRESS     60  /* seconds */
#define ROUND_READ   0
#define ROUND_WRITE  1
#define ROUND_VERIFY 2

struct piece {
    struct block_request request;
    struct block_segment segment;
    uint64_t *data;
    bool under_way, back;
    int error;
};

struct job {
    struct block_device *device;
    const char *name;
    unsigned round;
    uint64_t first, sectors, next, left; /* left: not back yet */
    uint64_t errors, first_error;        /* logical blocks */
    uint64_t wrong;                      /* sectors that hold something else than was written */
    uint64_t salt;                       /* another one in each run */
    uint64_t began, told;
    struct piece pieces[DEPTH];
};

static struct job job;

/* --- what there is --- */

static const char *arrival(const struct disk_unit *u)
{
    return u->interrupting ? "with interrupts" : "polled";
}

static void list_partition(const struct gpt_partition *p)
{
    char guid[GPT_GUID_TEXT];

    gpt_guid_text(p->guid, guid);
    if (p->broken)
        log_warn("  %u '%s': not usable: it leaves the disk, or lies over another partition",
                 p->number, p->label);
    else
        log_info("  %u '%s' %lu MiB from %lu MiB on, %s%s", p->number, p->label,
                 p->sectors * BLOCK_SECTOR / MIB, p->first * BLOCK_SECTOR / MIB, guid,
                 gpt_is_esp(p) ? ", an EFI system partition" : "");
}

static void list(const struct disk *d, const struct disk_table *t)
{
    const struct block_device *b = &d->block;

    log_info("disk %s: %lu MiB, %s%s%s, blocks of %u bytes; %s, %s", b->name,
             b->sectors * BLOCK_SECTOR / MIB, d->model[0] ? d->model : "no name",
             b->serial[0] ? ", serial " : "", b->serial, b->logical_block, d->how,
             arrival(d->unit));
    if (!t->table) {
        log_info("  %s", t->why);
        return;
    }
    if (t->table->from_backup)
        log_warn("  its partition table is damaged: this is the backup's");
    if (t->table->no_backup)
        log_warn("  the backup of its partition table is damaged");
    for (uint32_t i = 0; i < t->table->count; i++)
        list_partition(&t->table->partitions[i]);
}

/* --- reading and writing --- */

/*
 * What a sector holds that the test has written: every word of it is its own, and this run's. What
 * an earlier run has left is no proof of this one's writes.
 */
static uint64_t pattern(uint64_t sector, unsigned word)
{
    return ((sector * 64 + word + 1) * 0x9e3779b97f4a7c15) ^ job.salt;
}

static void fill(struct piece *p)
{
    for (uint32_t s = 0; s < p->request.sectors; s++)
        for (unsigned w = 0; w < BLOCK_SECTOR / 8; w++)
            p->data[s * (BLOCK_SECTOR / 8) + w] = pattern(p->request.sector + s, w);
}

static bool as_written(const struct piece *p, uint32_t s)
{
    for (unsigned w = 0; w < BLOCK_SECTOR / 8; w++)
        if (p->data[s * (BLOCK_SECTOR / 8) + w] != pattern(p->request.sector + s, w))
            return false;
    return true;
}

static void compare(const struct piece *p, uint32_t from, uint32_t sectors)
{
    for (uint32_t s = from; job.round == ROUND_VERIFY && s < from + sectors; s++)
        job.wrong += !as_written(p, s);
}

static bool lost(void)
{
    return disk_is_lost(CONTAINER_OF(job.device, struct disk, block));
}

static void done(struct block_request *r, int error)
{
    struct piece *p = CONTAINER_OF(r, struct piece, request);

    p->error = error;
    __atomic_store_n(&p->back, true, __ATOMIC_RELEASE);
}

static void note_error(uint64_t sector)
{
    job.first_error = job.errors++ ? MIN(job.first_error, sector) : sector;
}

/* A piece with an error in it, block by block. */
static void look_closely(struct piece *p)
{
    uint32_t step = job.device->logical_block / BLOCK_SECTOR;

    for (uint32_t s = 0; s < p->request.sectors && !lost(); s += step) {
        struct block_segment segment = {p->segment.address + s * BLOCK_SECTOR, step * BLOCK_SECTOR};
        struct block_request r = {.op = p->request.op,
                                  .sector = p->request.sector + s,
                                  .sectors = step,
                                  .count = 1,
                                  .segments = &segment};

        if (disk_do(job.device, &r, drives_wait))
            note_error(r.sector);
        else
            compare(p, s, step);
    }
}

static void finish(struct piece *p)
{
    p->under_way = false;
    job.left -= p->request.sectors;
    if (p->error)
        look_closely(p);
    else
        compare(p, 0, p->request.sectors);
}

static void begin(struct piece *p)
{
    p->request = (struct block_request){
        .op = job.round == ROUND_WRITE ? BLOCK_WRITE : BLOCK_READ,
        .sector = job.next,
        .sectors = (uint32_t)MIN((uint64_t)MIN(PIECE, job.device->max_sectors),
                                 job.first + job.sectors - job.next),
        .count = 1,
        .segments = &p->segment,
        .done = done};
    p->segment.length = p->request.sectors * BLOCK_SECTOR;
    job.next += p->request.sectors;
    p->back = false;
    p->under_way = true;
    if (job.round == ROUND_WRITE)
        fill(p);
    else
        memset(p->data, 0xdb, p->segment.length);
    block_submit(job.device, &p->request);
}

static void tell_progress(void)
{
    if (rdtsc() - job.told < PROGRESS * tsc_hz)
        return;
    job.told = rdtsc();
    log_info("disk %s: %lu of %lu MiB", job.name, (job.sectors - job.left) * BLOCK_SECTOR / MIB,
             job.sectors * BLOCK_SECTOR / MIB);
}

/* All of [first, first + sectors) once, unless the drive is lost meanwhile. */
static void go(unsigned round)
{
    unsigned under_way;

    job.round = round;
    job.next = job.first;
    job.left = job.sectors;
    job.errors = 0;
    job.began = job.told = rdtsc();
    do {
        bool any = false;

        under_way = 0;
        for (unsigned i = 0; i < DEPTH; i++) {
            struct piece *p = &job.pieces[i];

            if (p->under_way && __atomic_load_n(&p->back, __ATOMIC_ACQUIRE)) {
                finish(p);
                any = true;
            }
            if (!p->under_way && job.next < job.first + job.sectors && !lost()) {
                begin(p);
                any = true;
            }
            under_way += p->under_way;
        }
        tell_progress();
        (void)disks_work();
        if (!any)
            drives_wait();
    } while (under_way);
}

static void tell(const char *what)
{
    uint64_t ms = tsc_to_ns(rdtsc() - job.began) / 1000000,
             size = (job.sectors - job.left) * BLOCK_SECTOR;

    if (lost())
        log_error("disk %s: given up: the drive is lost after %lu of %lu MiB", job.name, size / MIB,
                  job.sectors * BLOCK_SECTOR / MIB);
    else
        log_info("disk %s: %s %lu MiB in %lu.%03lu s, %lu KiB/s", job.name, what, size / MIB,
                 ms / 1000, ms % 1000, ms ? size / KIB * 1000 / ms : 0);
    if (job.errors)
        log_error("disk %s: %lu blocks cannot be %s; the first is at sector %lu", job.name,
                  job.errors, what, job.first_error);
}

static bool get_buffers(const struct block_device *d)
{
    for (unsigned i = 0; i < DEPTH; i++) {
        struct piece *p = &job.pieces[i];

        if (p->data)
            continue;
        p->segment.address = frame_alloc_below(4, FRAME_KERNEL, UINT32_MAX);
        if (p->segment.address == FRAME_NONE)
            return false;
        p->data = phys_to_virt(p->segment.address);
    }
    return true;
}

/* The TSC alone may tell two runs the same: in an emulator it counts what has been carried out. */
static uint64_t new_salt(void)
{
    uint32_t microseconds;
    int64_t seconds;

    wall_clock_now(&seconds, &microseconds);
    return ((uint64_t)seconds * 1000000 + microseconds) * 0x9e3779b97f4a7c15 ^ rdtsc();
}

static bool prepare(struct block_device *d, const char *name, uint64_t first, uint64_t sectors)
{
    if (!get_buffers(d)) {
        log_error("disk %s: no memory for a test", name);
        return false;
    }
    job.device = d;
    job.name = name;
    job.first = first;
    job.sectors = sectors;
    job.wrong = 0;
    job.salt = new_salt();
    return true;
}

static void sum_up(const struct disk *d)
{
    const struct disk_unit *u = d->unit;
    struct disk_stats stats;
    uint64_t interrupts = 0;

    disk_stats(d, &stats);
    for (unsigned i = 0; i < u->queue_count; i++)
        interrupts += u->queues[i].interrupts;
    log_info("disk %s: %lu errors, %lu retries, %lu resets; %lu interrupts", d->block.name,
             stats.counts.errors, stats.counts.retries, u->resets, interrupts);
}

static void read_all(void)
{
    struct disk *d;

    for (unsigned i = 0; (d = disk_get(i)); i++) {
        if (!prepare(&d->block, d->block.name, 0, d->block.sectors))
            continue;
        go(ROUND_READ);
        tell("read");
        sum_up(d);
    }
}

static void write_and_verify(struct block_device *d)
{
    struct block_request flush = {.op = BLOCK_FLUSH};
    uint64_t unwritten;
    int error;

    go(ROUND_WRITE);
    tell("written");
    if (lost())
        return;
    unwritten = job.errors;
    error = disk_do(d, &flush, drives_wait);
    if (error)
        log_error("disk %s: it could not be flushed (error %d)", job.name, -error);
    go(ROUND_VERIFY);
    tell("read");
    if (job.wrong)
        log_error("disk %s: %lu sectors hold something else than was written", job.name, job.wrong);
    else if (!job.errors && !unwritten && !error && !lost())
        log_info("disk %s: what was written and flushed is there", job.name);
}

/*
 * For tests: the drive is given an address that nobody has mapped for it. What lies there stays as
 * it is where an IOMMU stands before it.
 */
static void let_stray(struct disk *d)
{
    struct piece *p = &job.pieces[0];
    struct block_request r = {.op = BLOCK_READ,
                              .sectors = d->block.logical_block / BLOCK_SECTOR,
                              .count = 1,
                              .segments = &p->segment};
    uint64_t until;
    bool changed = false;
    int error;

    if (!prepare(&d->block, d->block.name, 0, r.sectors))
        return;
    p->segment.length = d->block.logical_block;
    memset(p->data, 0xdb, p->segment.length);
    iommu_test_forget(true);
    error = disk_do(&d->block, &r, drives_wait);
    iommu_test_forget(false);
    until = rdtsc() + tsc_hz / 10;
    for (uint32_t i = 0; i < p->segment.length; i++)
        changed |= ((const uint8_t *)p->data)[i] != 0xdb;
    log_info("disk %s: test_dma: error %d; what lay there %s", d->block.name, -error,
             changed ? "has changed" : "is as it was");
    while (rdtsc() < until) {
        (void)disks_work();
        drives_wait();
    }
}

/* What Corbel itself keeps: `state = part:NAME`, or nothing. */
static bool is_state(const struct gpt_partition *p, struct config_span state)
{
    const char *why;
    struct disk *d;

    return state.data && tables_find(state.data + 5, state.length - 5, &d, &why) == p;
}

static void write_partition(const char *label, size_t length, struct config_span state)
{
    const struct gpt_partition *p;
    const char *why;
    struct disk *d;

    p = tables_find(label, length, &d, &why);
    if (p && is_state(p, state)) {
        p = NULL;
        why = "Corbel keeps its own things there: `state` in [host] names it";
    }
    if (!p) {
        log_error("check_disks: '%.*s' is not written to: %s", (int)length, label, why);
        return;
    }
    if (!prepare(&d->block, d->block.name, p->first, p->sectors))
        return;
    log_info("disk %s: writing to partition %u, '%s', with salt %016lx", d->block.name, p->number,
             p->label, job.salt);
    write_and_verify(&d->block);
    sum_up(d);
}

void check_disks(struct config_span how, struct config_span state, bool stray)
{
    struct disk *d;

    drives_init();
    tables_read(drives_wait);
    for (unsigned i = 0; (d = disk_get(i)); i++)
        list(d, table_of(i));
    if (!disk_get(0))
        log_info("no disks: Corbel drives IDE, AHCI, NVMe and virtio-blk");
    for (unsigned i = 0; stray && (d = disk_get(i)); i++)
        let_stray(d);
    if (how.length == 4 && memcmp(how.data, "read", 4) == 0)
        read_all();
    else if (how.length > 6)
        write_partition(how.data + 6, how.length - 6, state); /* behind "write:" */
}
