/* `disks`: the machine's drives, what lies on them and who has it, and what VMs do with theirs. */
#include "guest/monitor/commands.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "drivers/disk.h"
#include "guest/monitor/text.h"
#include "guest/storage/sources.h"
#include "guest/vm/control.h"
#include "guest/vm/disks.h"
#include "mm/heap.h"

/*
 * Where the list is. One line of it is written at a time, and VMs come and go in between: these are
 * numbers, which are looked up again each time.
 */
struct place {
    enum { DRIVES, VMS, END } part;
    unsigned at;   /* drive, or slot of a VM */
    unsigned item; /* of its partitions, or of its disks: those that come behind `line` */
    unsigned line; /* of the drive, or of the disk */
};

/* Of one alone; else it is the list of all. */
static bool in_detail(const struct job *job)
{
    return job->words.count > 1;
}

static void row(const struct column *columns, unsigned count, const char *const *cells)
{
    char text[TEXT_ROW];

    text_row(text, columns, count, cells);
    job_line("%s", text);
}

static char *sectors_text(char *cell, uint64_t sectors)
{
    return text_size(cell, sectors * BLOCK_SECTOR);
}

/* --- drives --- */

static const struct column drive_columns[] = {
    {"DRIVE", 9, false}, {"SIZE", 5, true},    {"REQUESTS", 8, true},
    {"READ", 5, true},   {"WRITTEN", 7, true}, {"IN FLIGHT", 9, true},
    {"MEAN", 7, true},   {"LONGEST", 7, true}, {"ERRORS", 6, true}};

static char *mean_text(char *cell, const struct disk_stats *s)
{
    return text_latency(cell, tsc_to_ns(s->counts.ticks / MAX(s->requests, 1)));
}

static void drive_row(const struct disk *d)
{
    char size[TEXT_CELL], requests[TEXT_CELL], read[TEXT_CELL], written[TEXT_CELL],
        flight[TEXT_CELL], mean[TEXT_CELL], longest[TEXT_CELL], errors[TEXT_CELL];
    struct disk_stats s;

    disk_stats(d, &s);
    const char *const cells[] = {d->block.name,
                                 sectors_text(size, d->block.sectors),
                                 text_number(requests, s.requests),
                                 sectors_text(read, s.counts.sectors[BLOCK_READ]),
                                 sectors_text(written, s.counts.sectors[BLOCK_WRITE]),
                                 text_number(flight, s.given + s.waiting),
                                 mean_text(mean, &s),
                                 text_latency(longest, tsc_to_ns(s.counts.longest)),
                                 text_number(errors, s.counts.errors)};
    row(drive_columns, ARRAY_SIZE(drive_columns), cells);
}

static const char *or_none(const char *text)
{
    return text[0] ? text : "none";
}

static const char *arrival(const struct disk_unit *u)
{
    return u->interrupting ? "with interrupts" : "polled";
}

static const char *state_text(const struct disk *d)
{
    if (disk_is_lost(d))
        return "lost: it does not answer, and all that is asked of it fails";
    return __atomic_load_n(&d->unit->state, __ATOMIC_RELAXED) == DISK_RESETS
               ? "it is being reset: what is asked of it waits"
               : "works";
}

/* Line n of what stands above its partitions in the list of all. */
static bool drive_line(const struct disk *d, unsigned n)
{
    const struct disk_unit *u = d->unit;
    struct disk_stats s;

    switch (n) {
    case 0:
        drive_row(d);
        return true;
    case 1:
        job_line("  %s, %s%s", d->model[0] ? d->model : "no name",
                 d->block.serial[0] ? "serial " : "no serial number", d->block.serial);
        return true;
    case 2:
        disk_stats(d, &s);
        job_line("  %s, %s, %u queue%s; %lu retries, %lu resets%s", d->how, arrival(u),
                 u->queue_count, u->queue_count == 1 ? "" : "s", s.counts.retries, u->resets,
                 disk_is_lost(d) ? "; lost" : "");
        return true;
    default:
        return false;
    }
}

static void requests_line(const char *what, uint64_t count, uint64_t sectors)
{
    char size[TEXT_CELL];

    job_line("  %-11s %lu, %s", what, count, sectors_text(size, sectors));
}

static const struct column queue_columns[] = {
    {"QUEUE", 5, true},   {"DEPTH", 5, true},       {"AT DRIVE", 8, true},
    {"WAITING", 7, true}, {"REQUESTS", 8, true},    {"MEAN", 7, true},
    {"LONGEST", 7, true}, {"INTERRUPTS", 10, true}, {"STRAY", 5, true}};

static void queue_row(const struct disk *d, unsigned n)
{
    char number[TEXT_CELL], depth[TEXT_CELL], given[TEXT_CELL], waiting[TEXT_CELL],
        requests[TEXT_CELL], mean[TEXT_CELL], longest[TEXT_CELL], interrupts[TEXT_CELL],
        strays[TEXT_CELL];
    const struct disk_queue *q = &d->unit->queues[n];
    struct disk_stats s;

    disk_queue_stats(d, n, &s);
    const char *const cells[] = {text_number(number, n),
                                 text_number(depth, q->depth),
                                 text_number(given, s.given),
                                 text_number(waiting, s.waiting),
                                 text_number(requests, s.requests),
                                 mean_text(mean, &s),
                                 text_latency(longest, tsc_to_ns(s.counts.longest)),
                                 text_number(interrupts, q->interrupts),
                                 text_number(strays, q->strays)};
    row(queue_columns, ARRAY_SIZE(queue_columns), cells);
}

/* The same in detail: what it is, then what it has done, then a line for each queue. */
static bool drive_detail(const struct disk *d, unsigned n)
{
    const struct block_device *b = &d->block;
    char size[TEXT_CELL], physical[TEXT_CELL], mean[TEXT_CELL], longest[TEXT_CELL];
    struct disk_stats s;

    if (n == 0) {
        job_line("%s: %s, blocks of %u bytes, %s on its medium%s", b->name,
                 sectors_text(size, b->sectors), b->logical_block,
                 text_size(physical, b->physical_block), b->read_only ? ", read-only" : "");
        job_line("  model       %s", or_none(d->model));
        job_line("  serial      %s", or_none(b->serial));
        job_line("  driven by   %s, %s", d->how, arrival(d->unit));
        job_line("  state       %s", state_text(d));
        job_line("  cache       %s", b->has_flush ? "volatile, emptied by FLUSH"
                                                  : "none that FLUSH would have to empty");
        return true;
    }
    if (n == 1) {
        disk_stats(d, &s);
        requests_line("reads", s.counts.done[BLOCK_READ], s.counts.sectors[BLOCK_READ]);
        requests_line("writes", s.counts.done[BLOCK_WRITE], s.counts.sectors[BLOCK_WRITE]);
        job_line("  flushes     %lu", s.counts.done[BLOCK_FLUSH]);
        job_line("  others      %lu DISCARD, %lu WRITE ZEROES", s.counts.done[BLOCK_DISCARD],
                 s.counts.done[BLOCK_WRITE_ZEROES]);
        job_line("  in flight   %u at the drive, %u wait", s.given, s.waiting);
        job_line("  latency     %s in the mean, %s at most, from submission to the end",
                 mean_text(mean, &s), text_latency(longest, tsc_to_ns(s.counts.longest)));
        job_line("  errors      %lu; %lu tried again, %lu resets", s.counts.errors,
                 s.counts.retries, d->unit->resets);
        row(queue_columns, ARRAY_SIZE(queue_columns), NULL);
        return true;
    }
    if (n - 2 >= d->unit->queue_count)
        return false;
    queue_row(d, n - 2);
    return true;
}

/* --- partitions --- */

static const struct column partition_columns[] = {
    {"PARTITION", 9, true}, {"LABEL", 20, false}, {"SIZE", 5, true}, {"WHO HAS IT", 10, false}};

static void partition_row(const struct gpt_partition *p, const char *who)
{
    char number[TEXT_CELL], size[TEXT_CELL];
    const char *const cells[] = {p ? text_number(number, p->number) : "", p ? p->label : "",
                                 p ? sectors_text(size, p->sectors) : "", who};

    row(partition_columns, ARRAY_SIZE(partition_columns), cells);
}

/* The claim number n of those sectors; NULL: there are not so many. */
static const struct source_claim *claim(const struct disk *d, uint64_t first, uint64_t sectors,
                                        unsigned n)
{
    const struct source_claim *c = NULL;

    do
        c = source_claims(c, d, first, sectors);
    while (c && n--);
    return c;
}

static void who_text(char *text, size_t size, const struct source_claim *c)
{
    if (c->owner)
        format(text, size, "%s %s", c->owner,
               c->kept     ? "has snapshots"
               : c->writes ? "writes"
                           : "reads");
    else
        format(text, size, "Corbel: `state` in [host]");
}

/* Itself, with the first who has it: where its label is too long for the table, below. */
static void partition_lines(const struct gpt_partition *p, const char *who)
{
    bool wide = strlen(p->label) > partition_columns[1].width;

    partition_row(p, wide ? "" : who);
    if (wide && who[0])
        partition_row(NULL, who);
}

static void partition_detail(const struct gpt_partition *p)
{
    char guid[GPT_GUID_TEXT], from[TEXT_CELL];

    gpt_guid_text(p->guid, guid);
    job_line("           from %s on, GUID %s", sectors_text(from, p->first), guid);
}

/* Line n of a partition: itself, then who has it beside the first, then what else is known of it.
 */
static bool partition_line(const struct disk *d, const struct disk_table *t,
                           const struct gpt_partition *p, unsigned n, bool detail)
{
    static const char *const never[] = {[PARTITION_FREE] = "",
                                        [PARTITION_BROKEN] = "nobody: not usable",
                                        [PARTITION_ESP] = "nobody: an EFI system partition",
                                        [PARTITION_BOOT] = "nobody: Corbel was started from it"};
    const struct source_claim *c = claim(d, p->first, p->sectors, n);
    bool last = detail && n && (n == 1 || claim(d, p->first, p->sectors, n - 1));
    char text[CONFIG_MAX_NAME + 16];

    if (c)
        who_text(text, sizeof(text), c);
    if (n == 0)
        partition_lines(p, c ? text : never[tables_use(t, p)]);
    else if (c)
        partition_row(NULL, text);
    else if (last)
        partition_detail(p);
    return c || n == 0 || last;
}

/* The table as a whole, before its partitions; or that there is none. */
static void table_line(const struct disk_table *t)
{
    if (!t->table)
        job_line("  %s", t->why);
    else if (!t->table->count)
        job_line("  its partition table is empty");
    else if (t->table->from_backup)
        job_line("  its partition table is damaged: this is the backup's");
    else if (t->table->no_backup)
        job_line("  the backup of its partition table is damaged");
}

/* The next line of a drive; false: there are no more. */
static bool drive_next(const struct job *job, struct place *p)
{
    const struct disk *d = disk_get(p->at);
    const struct disk_table *t = table_of(p->at);
    uint32_t count = t->table ? t->table->count : 0;
    char text[CONFIG_MAX_NAME + 16];

    if (p->item == 0) { /* what stands before its partitions */
        if (in_detail(job) ? drive_detail(d, p->line) : drive_line(d, p->line)) {
            p->line++;
            return true;
        }
        p->item = 1;
        p->line = 0;
        table_line(t);
        if (count)
            row(partition_columns, ARRAY_SIZE(partition_columns), NULL);
        return true;
    }
    for (; p->item <= count; p->item++, p->line = 0)
        if (partition_line(d, t, &t->table->partitions[p->item - 1], p->line, in_detail(job))) {
            p->line++;
            return true;
        }
    /* Without partitions it is had as a whole. */
    const struct source_claim *c = count ? NULL : claim(d, 0, d->block.sectors, p->line++);
    if (c) {
        who_text(text, sizeof(text), c);
        job_line("  all of it: %s", text);
    }
    return c;
}

/* --- disks of VMs --- */

static const struct column disk_columns[] = {
    {"DISK OF A VM", 18, false}, {"SIZE", 5, true},    {"REQUESTS", 8, true},  {"READ", 5, true},
    {"WRITTEN", 7, true},        {"FLUSHES", 7, true}, {"IN FLIGHT", 9, true}, {"ERRORS", 6, true}};

static void disk_row(const char *name, const struct vm_disk *v)
{
    char size[TEXT_CELL], requests[TEXT_CELL], read[TEXT_CELL], written[TEXT_CELL],
        flushes[TEXT_CELL], flight[TEXT_CELL], errors[TEXT_CELL];
    const struct device_disk_counts *c = &v->counts;
    const char *const cells[] = {
        name,
        sectors_text(size, v->block->sectors),
        text_number(requests, c->reads + c->writes + c->flushes + c->others + c->errors),
        sectors_text(read, c->read_sectors),
        sectors_text(written, c->written_sectors),
        text_number(flushes, c->flushes),
        text_number(flight, c->in_flight),
        text_number(errors, c->errors)};

    row(disk_columns, ARRAY_SIZE(disk_columns), cells);
}

static bool is_read_only(const struct vm_disk *v)
{
    return v->config.read_only || v->block->read_only;
}

/* In the list of all: what it is, where that is too long for the table in a line of its own. */
static void disk_lines(const struct vm_disk *v)
{
    const char *serial = v->config.serial;
    char name[32];

    format(name, sizeof(name), "  %.*s", (int)MIN(v->config.source.length, sizeof(name) - 3),
           v->config.source.data);
    if (v->config.source.length > disk_columns[0].width - 2u) {
        job_line("  %.*s", (int)v->config.source.length, v->config.source.data);
        name[0] = '\0';
    }
    disk_row(name, v);
    if (is_read_only(v) || serial[0])
        job_line("    %s%s%s%s", is_read_only(v) ? "read-only" : "",
                 is_read_only(v) && serial[0] ? ", " : "", serial[0] ? "serial " : "", serial);
}

static void disk_detail(const struct vm_disk *v)
{
    const struct device_disk_counts *c = &v->counts;
    char size[TEXT_CELL], at[TEXT_CELL];

    job_line("  %.*s: %s, blocks of %u bytes%s", (int)v->config.source.length,
             v->config.source.data, sectors_text(size, v->block->sectors), v->block->logical_block,
             is_read_only(v) ? ", read-only" : "");
    if (v->drive)
        job_line("    lies on     drive %s%s, from %s on", v->drive->block.name,
                 disk_is_lost(v->drive) ? ", which is lost" : "", sectors_text(at, v->first));
    else
        job_line("    lies in     memory: it is gone when the VM ends");
    job_line("    serial      %s", or_none(v->config.serial));
    job_line("    reads       %lu, %s", c->reads, sectors_text(size, c->read_sectors));
    job_line("    writes      %lu, %s", c->writes, sectors_text(size, c->written_sectors));
    job_line("    flushes     %lu; %lu DISCARD or WRITE ZEROES", c->flushes, c->others);
    job_line("    in flight   %u", c->in_flight);
    job_line("    errors      %lu", c->errors);
}

/* Its next disk; false: there are no more. */
static bool vm_next(const struct job *job, const struct vm_slot *slot, struct place *p)
{
    const struct vm_disk *v = slot->vm ? vm_disk(slot->vm, p->item) : NULL;

    if (!v)
        return false;
    if (p->item++ == 0)
        job_line("%s", slot->name);
    if (in_detail(job))
        disk_detail(v);
    else
        disk_lines(v);
    return true;
}

/* --- the command --- */

static bool is_asked_for(const struct job *job, const char *name)
{
    return job->words.count == 1 || word_is(job->words.word[1], name);
}

/* The next drive or VM. */
static void next(struct place *p)
{
    p->at++;
    p->item = p->line = 0;
}

static bool any_disk(void)
{
    for (unsigned i = 0; i < control_count(); i++)
        if (control_slot(i)->vm && vm_disk(control_slot(i)->vm, 0))
            return true;
    return false;
}

/* What stands before drives, and before VMs' disks, in the list of all. */
static void drives_title(void)
{
    if (disk_get(0))
        row(drive_columns, ARRAY_SIZE(drive_columns), NULL);
    else if (disks_wanted())
        job_line("there are no drives: Corbel drives IDE, AHCI, NVMe and virtio-blk");
    else
        job_line("no drives are known: Corbel looks for them when a VM's config names one");
}

static void disks_title(void)
{
    job_line("%s", "");
    if (any_disk())
        row(disk_columns, ARRAY_SIZE(disk_columns), NULL);
    else
        job_line("no VM that is on has a disk");
}

static bool drives_step(const struct job *job, struct place *p)
{
    for (; disk_get(p->at); next(p))
        if (is_asked_for(job, disk_get(p->at)->block.name) && drive_next(job, p))
            return true;
    *p = (struct place){.part = VMS};
    if (!in_detail(job))
        disks_title();
    return true;
}

static bool vms_step(const struct job *job, struct place *p)
{
    for (; p->at < control_count(); next(p))
        if (is_asked_for(job, control_slot(p->at)->name) && vm_next(job, control_slot(p->at), p))
            return true;
    return false;
}

/* Whether the argument names something that there is more to say of. */
static bool check_name(const struct job *job)
{
    struct word w = job->words.word[1];
    const struct vm_slot *slot = control_find(w.text, w.length);

    for (unsigned i = 0; disk_get(i); i++)
        if (word_is(w, disk_get(i)->block.name))
            return true;
    if (!slot)
        job_line("there is no drive and no VM '%.*s': disks and list show them",
                 (int)MIN(w.length, 40), w.text);
    else if (!slot->vm)
        job_line("%s is off", slot->name);
    else if (!vm_disk(slot->vm, 0))
        job_line("%s has no disk", slot->name);
    else
        return true;
    return false;
}

bool command_disks(struct job *job)
{
    struct place *p = job->data;

    if (job->step == 0) {
        job->data = p = heap_alloc(sizeof(*p));
        if (!p) {
            job_line("there is no memory for it");
            return false;
        }
        if (in_detail(job))
            return check_name(job);
        drives_title();
        return true;
    }
    return p->part == DRIVES ? drives_step(job, p) : vms_step(job, p);
}

const char *disks_choice(unsigned n)
{
    for (unsigned i = 0; disk_get(i); i++)
        if (n-- == 0)
            return disk_get(i)->block.name;
    return n < control_count() ? control_slot(n)->name : NULL;
}
