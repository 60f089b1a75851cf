/* links: guest/monitor/disks.c guest/monitor/text.c guest/monitor/job.c guest/monitor/command.c drivers/disk.c drivers/disk_queue.c guest/vm/disks.c guest/vm/layers.c guest/storage/layer.c guest/storage/layer_restore.c guest/storage/past.c guest/storage/sources.c guest/storage/slice.c guest/storage/gpt.c guest/config/disk.c guest/config/config_text.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/crc32.c arch/x86/lib/format.c tests/unit/mock_heap.c */
/* The monitor's `disks`: two drives that a test counts for, and VMs that claim what is on them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/smp.h"
#include "arch/x86/tsc.h"
#include "drivers/drives.h"
#include "guest/devices/disk.h"
#include "guest/console/console.h"
#include "guest/monitor/commands.h"
#include "guest/run/run.h"
#include "guest/storage/ram.h"
#include "guest/storage/sources.h"
#include "guest/vm/control.h"
#include "guest/vm/disks.h"
#include "guest/vm/files.h"
#include "guest/vm/layers.h"
#include "mm/heap.h"

uint64_t tsc_hz = 1000000;
static uint64_t now;

uint64_t test_tsc(void)
{
    return now;
}

uint64_t tsc_to_ns(uint64_t ticks)
{
    return ticks * 1000;
}

/* --- the terminal --- */

static char said[20000];

void console_write(const char *text, size_t length)
{
    strncat(said, text, length);
}

/* --- drives --- */

static struct disk_unit units[2];
static struct disk drives[2];
static struct disk_table tables[2];
static struct gpt gpt;
static bool done_at_once;

static int start(struct disk_queue *q, unsigned slot)
{
    if (!done_at_once)
        return 0;
    now += 1500;
    disk_finish(q, slot, 0);
    return 0;
}

static void collect(struct disk_queue *q)
{
}

static int reset(struct disk_unit *u, bool begin)
{
    return -EAGAIN;
}

static void cut(struct disk_unit *u)
{
}

static const struct disk_ops ops = {start, collect, reset, cut};

void drives_init(void)
{
}

void drives_wait(void)
{
}

void tables_read(void (*wait)(void))
{
}

const struct disk_table *table_of(unsigned index)
{
    return &tables[index];
}

enum partition_use tables_use(const struct disk_table *t, const struct gpt_partition *p)
{
    return p->broken            ? PARTITION_BROKEN
           : gpt_is_esp(p)      ? PARTITION_ESP
           : p->label[0] == 'b' ? PARTITION_BOOT
                                : PARTITION_FREE;
}

const struct gpt_partition *tables_find(const char *text, size_t length, struct disk **disk,
                                        const char **why)
{
    *disk = &drives[0];
    for (uint32_t i = 0; i < gpt.count; i++)
        if (strlen(gpt.partitions[i].label) == length &&
            memcmp(gpt.partitions[i].label, text, length) == 0)
            return &gpt.partitions[i];
    *why = "no disk has a partition of this name or GUID";
    return NULL;
}

static void partition(const char *label, uint64_t first, uint64_t sectors)
{
    struct gpt_partition *p = &gpt.partitions[gpt.count++];

    *p = (struct gpt_partition){.first = first, .sectors = sectors, .number = gpt.count};
    memset(p->guid, 0x10 + (int)gpt.count, sizeof(p->guid));
    strcpy(p->label, label);
}

/* One that firmware starts from, of which Corbel's kind is told by its type. */
static const uint8_t esp[16] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
                                0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};

static void plug_in(void)
{
    assert_int_equal(disk_unit_init(&units[0], &ops, 1, 1), 0);
    assert_int_equal(disk_unit_init(&units[1], &ops, 2, 64), 0);
    units[0].interrupting = true;
    drives[0] = (struct disk){.unit = &units[0],
                              .model = "Generic 1234",
                              .how = "IDE, bus-master DMA",
                              .block = {.name = "ata0",
                                        .serial = "BXHD00011",
                                        .sectors = 4096000,
                                        .logical_block = 512,
                                        .physical_block = 4096,
                                        .max_sectors = 256,
                                        .max_segments = 1,
                                        .segment_align = 1,
                                        .has_flush = true}};
    drives[1] = (struct disk){.unit = &units[1],
                              .how = "NVMe",
                              .block = {.name = "nvme0n1",
                                        .serial = "S7",
                                        .sectors = UINT64_C(1) << 31,
                                        .logical_block = 4096,
                                        .physical_block = 4096,
                                        .max_sectors = 256}};
    assert_int_equal(disk_add(&units[0], &drives[0]), 0);
    assert_int_equal(disk_add(&units[1], &drives[1]), 0);
    partition("Corbel", 2048, 131072);
    memcpy(gpt.partitions[0].type, esp, sizeof(esp));
    partition("data", 133120, 49152);
    partition("beside", 182272, 2048);
    partition("over", 182272, 4096);
    gpt.partitions[3].broken = true;
    partition("a label of thirty-six characters ...", 200000, 2048);
    tables[0].table = &gpt;
    tables[1].why = "it has no partition table (GPT)";
    tables[1].error = -ENOENT;
}

/* --- VMs --- */

#define VMS 3

static struct vm vms[VMS];
static struct vm_config configs[VMS];
static struct vm_slot slots[VMS] = {
    {.name = "debian"}, {.name = "a-name-of-thirty-one-characters"}, {.name = "third"}};
static struct device_disk opened[VMS][3];
static unsigned count;

unsigned control_count(void)
{
    return count;
}

struct vm_slot *control_slot(unsigned index)
{
    return &slots[index];
}

struct vm_slot *control_find(const char *name, size_t length)
{
    for (unsigned i = 0; i < count; i++)
        if (strlen(slots[i].name) == length && memcmp(slots[i].name, name, length) == 0)
            return &slots[i];
    return NULL;
}

bool cpu_call_async(unsigned cpu, struct cpu_work *work)
{
    return true;
}

void run_attention(unsigned cpu)
{
}

const char *files_status_text(int status)
{
    return "";
}

int files_find_one(struct config_span path, struct file *out)
{
    *out = (struct file){"corbel", 6};
    return 0;
}

static struct block_device ram = {.sectors = 32768, .logical_block = 512};

struct block_device *ram_disk_create(const void *file, uint64_t size, uint16_t owner)
{
    return &ram;
}

void ram_disk_destroy(struct block_device *d)
{
    assert_ptr_equal(d, &ram);
}

void frame_stats(struct frame_stats *out)
{
    *out = (struct frame_stats){0};
}

paddr frame_alloc_below(unsigned order, uint16_t owner, paddr limit)
{
    return FRAME_NONE;
}

void frame_free(paddr base, unsigned order)
{
}

void *phys_to_virt(paddr pa)
{
    return NULL;
}

static disk_observer controllers; /* tell it what happens */

void disk_set_observer(disk_observer observer)
{
    controllers = observer;
}

static void open(unsigned vm, unsigned disk, const char *text)
{
    char error[CONFIG_MESSAGE];

    slots[vm].vm = &vms[vm];
    vms[vm].config = &configs[vm];
    configs[vm].allow_whole_disk = true;
    strcpy(vms[vm].name, slots[vm].name);
    assert_int_equal(disk_open(&vms[vm], text, strlen(text), &opened[vm][disk], error), 0);
}

static void close_all(void)
{
    for (unsigned i = 0; i < VMS; i++)
        for (unsigned k = 0; k < 3; k++) {
            if (opened[i][k].close)
                opened[i][k].close(opened[i][k].block);
            opened[i][k].close = NULL;
        }
}

static struct device_disk_counts *counts(unsigned vm, unsigned disk)
{
    return opened[vm][disk].counts;
}

/* --- typing --- */

static struct job job;

static bool step(void)
{
    bool more = command_disks(&job);

    job.step++;
    return more;
}

static void begin(const char *line)
{
    said[0] = '\0';
    job = (struct job){0};
    assert_true(words_cut(&job.words, line, strlen(line)));
}

/* All of it, without the returns; no line of it is wider than a terminal. */
static const char *end(void)
{
    static char text[sizeof(said)];
    size_t n = 0, width = 0;

    for (unsigned i = 0; step(); i++)
        assert_true(i < 200);
    heap_free(job.data);
    for (const char *s = said; *s; s++) {
        if (*s != '\r')
            text[n++] = *s;
        width = *s < ' ' ? 0 : width + 1;
        assert_true(width <= 80);
    }
    text[n] = '\0';
    return text;
}

static const char *type(const char *line)
{
    begin(line);
    return end();
}

static int teardown(void **state)
{
    close_all();
    for (unsigned i = 0; i < VMS; i++)
        slots[i].vm = NULL;
    count = 0;
    for (unsigned i = 0; i < 2; i++) {
        memset(drives[i].counts, 0, sizeof(drives[i].counts));
        drives[i].lost = false;
        units[i].state = DISK_RUNS;
    }
    return 0;
}

/* --- tests --- */

static const struct vm_config nobody;

static void test_without_drives(void **state)
{
    struct config config = {.vm_count = 1};
    struct vm_config wants = {.disks.count = 1};

    assert_string_equal(type("disks"),
                        "no drives are known: Corbel looks for them when a VM's config names one\n"
                        "\nno VM that is on has a disk\n");
    disks_begin(&config, &nobody);
    assert_false(disks_wanted());
    config.state = (struct config_span){"part:own", 8};
    disks_begin(&config, &nobody);
    assert_true(disks_wanted());
    config.state.data = NULL;
    wants.disks.item[0].text = (struct config_span){"part:data", 9};
    disks_begin(&config, &wants);
    assert_string_equal(type("disks"),
                        "there are no drives: Corbel drives IDE, AHCI, NVMe and virtio-blk\n"
                        "\nno VM that is on has a disk\n");
    assert_null(disks_choice(0));
    plug_in();
}

static void work(unsigned vm, unsigned op, uint64_t sector, uint32_t sectors);

static void test_all(void **state)
{
    count = VMS;
    open(0, 0, "part:data,serial=A-Disk-1");
    open(0, 1, "ram:scratch.img,ro");
    open(1, 0, "part:data,ro");
    done_at_once = true;
    work(0, BLOCK_READ, 0, 200);
    work(0, BLOCK_WRITE, 8, 8);
    work(0, BLOCK_FLUSH, 0, 0);
    *counts(0, 0) = (struct device_disk_counts){.reads = 123,
                                                .writes = 40,
                                                .flushes = 7,
                                                .others = 1,
                                                .errors = 2,
                                                .read_sectors = 6400,
                                                .written_sectors = 2048,
                                                .in_flight = 64};
    assert_string_equal(
        type("disks"),
        "DRIVE       SIZE  REQUESTS   READ  WRITTEN  IN FLIGHT     MEAN  LONGEST  ERRORS\n"
        "ata0        1.9G         3   100K       4K          0   1.5 ms   1.5 ms       0\n"
        "  Generic 1234, serial BXHD00011\n"
        "  IDE, bus-master DMA, with interrupts, 1 queue; 0 retries, 0 resets\n"
        "PARTITION  LABEL                  SIZE  WHO HAS IT\n"
        "        1  Corbel                  64M  nobody: an EFI system partition\n"
        "        2  data                    24M  debian writes\n"
        "                                        a-name-of-thirty-one-characters reads\n"
        "        3  beside                   1M  nobody: Corbel was started from it\n"
        "        4  over                     2M  nobody: not usable\n"
        "        5  a label of thirty-six characters ...     1M\n"
        "nvme0n1       1T         0      0        0          0     0 us     0 us       0\n"
        "  no name, serial S7\n"
        "  NVMe, polled, 2 queues; 0 retries, 0 resets\n"
        "  it has no partition table (GPT)\n"
        "\n"
        "DISK OF A VM         SIZE  REQUESTS   READ  WRITTEN  FLUSHES  IN FLIGHT  ERRORS\n"
        "debian\n"
        "  part:data           24M       173   3.1M       1M        7         64       2\n"
        "    serial A-Disk-1\n"
        "  ram:scratch.img     16M         0      0        0        0          0       0\n"
        "    read-only\n"
        "a-name-of-thirty-one-characters\n"
        "  part:data           24M         0      0        0        0          0       0\n"
        "    read-only\n");
}

static void done(struct block_request *r, int error)
{
}

static void work(unsigned vm, unsigned op, uint64_t sector, uint32_t sectors)
{
    static struct block_request r;

    r = (struct block_request){
        .op = (uint8_t)op, .sector = sector, .sectors = sectors, .count = 1, .done = done};
    block_submit(opened[vm][0].block, &r);
}

static void test_a_drive(void **state)
{
    static struct block_request waits[2];

    count = VMS;
    open(0, 0, "part:data");
    done_at_once = true;
    work(0, BLOCK_READ, 0, 256);
    work(0, BLOCK_WRITE, 0, 8);
    done_at_once = false;
    for (unsigned i = 0; i < 2; i++) {
        waits[i] = (struct block_request){.op = BLOCK_FLUSH, .done = done};
        block_submit(opened[0][0].block, &waits[i]);
    }
    drives[0].counts[0].errors = 4;
    drives[0].counts[0].retries = 5;
    units[0].resets = 6;
    units[0].queues[0].interrupts = 77;
    units[0].queues[0].strays = 1;
    assert_string_equal(
        type("disks ata0"),
        "ata0: 1.9G, blocks of 512 bytes, 4K on its medium\n"
        "  model       Generic 1234\n"
        "  serial      BXHD00011\n"
        "  driven by   IDE, bus-master DMA, with interrupts\n"
        "  state       works\n"
        "  cache       volatile, emptied by FLUSH\n"
        "  reads       1, 128K\n"
        "  writes      1, 4K\n"
        "  flushes     0\n"
        "  others      0 DISCARD, 0 WRITE ZEROES\n"
        "  in flight   1 at the drive, 1 wait\n"
        "  latency     500 us in the mean, 1.5 ms at most, from submission to the end\n"
        "  errors      4; 5 tried again, 6 resets\n"
        "QUEUE  DEPTH  AT DRIVE  WAITING  REQUESTS     MEAN  LONGEST  INTERRUPTS  STRAY\n"
        "    0      1         1        1         6   500 us   1.5 ms          77      1\n"
        "PARTITION  LABEL                  SIZE  WHO HAS IT\n"
        "        1  Corbel                  64M  nobody: an EFI system partition\n"
        "           from 1M on, GUID 11111111-1111-1111-1111-111111111111\n"
        "        2  data                    24M  debian writes\n"
        "           from 65M on, GUID 12121212-1212-1212-1212-121212121212\n"
        "        3  beside                   1M  nobody: Corbel was started from it\n"
        "           from 89M on, GUID 13131313-1313-1313-1313-131313131313\n"
        "        4  over                     2M  nobody: not usable\n"
        "           from 89M on, GUID 14141414-1414-1414-1414-141414141414\n"
        "        5  a label of thirty-six characters ...     1M\n"
        "           from 97.6M on, GUID 15151515-1515-1515-1515-151515151515\n");
    assert_null(strstr(said, "nvme"));
    assert_non_null(strstr(type("disks"), " 2   500 us"));
    done_at_once = true;
    spin_lock(&units[0].queues[0].lock);
    disk_finish(&units[0].queues[0], 0, 0);
    spin_unlock(&units[0].queues[0].lock);
    disk_interrupt(&units[0].queues[0]);
    assert_non_null(strstr(type("disks ata0"), "  flushes     2\n"));
    units[0].resets = 0;
}

/* Snapshots have something of a disk whose VM is off. */
static void test_what_is_kept(void **state)
{
    static const char one;

    count = VMS;
    open(0, 0, "part:data");
    assert_int_equal(vm_layers_keep(slots[0].vm, &one), 0);
    assert_non_null(strstr(type("disks"), "data                    24M  debian writes\n"));
    close_all();
    assert_non_null(strstr(type("disks"), "data                    24M  debian has snapshots\n"));
    vm_layers_forget(&one);
    assert_null(strstr(type("disks"), "has snapshots"));
}

/* Who has all of it is told with its partitions, or where there are none. */
static void test_whole_drives(void **state)
{
    count = VMS;
    memset(gpt.partitions[0].type, 0, sizeof(esp)); /* else nobody gets all of it */
    open(0, 0, "disk:BXHD00011");
    open(1, 0, "disk:S7");
    open(2, 0, "disk:S7,ro");
    assert_non_null(strstr(type("disks ata0"), "beside                   1M  debian writes\n"));
    assert_non_null(strstr(said, "a label of thirty-six characters ...     1M\r\n"
                                 "                                        debian writes\r\n"));
    assert_non_null(
        strstr(type("disks nvme0n1"),
               "    1     64         0        0         0     0 us     0 us           0 "
               "     0\n"
               "  it has no partition table (GPT)\n"
               "  all of it: a-name-of-thirty-one-characters writes\n"
               "  all of it: third reads\n"));
}

static void test_how_a_drive_is(void **state)
{
    drives[1].block.serial[0] = '\0';
    assert_non_null(strstr(type("disks"), "\n  no name, no serial number\n  NVMe"));
    assert_non_null(strstr(type("disks nvme0n1"), "  serial      none\n"));
    drives[1].block.serial[0] = 'S';
    drives[1].lost = true;
    units[0].state = DISK_RESETS;
    assert_non_null(strstr(type("disks"), "2 queues; 0 retries, 0 resets; lost\n"));
    assert_non_null(
        strstr(type("disks nvme0n1"), "  state       lost: it does not answer, and all"));
    assert_non_null(strstr(type("disks ata0"), "  state       it is being reset: "));
    tables[0].table->from_backup = true;
    assert_non_null(strstr(type("disks ata0"), "damaged: this is the backup's\nPARTITION"));
    tables[0].table->from_backup = false;
    tables[0].table->no_backup = true;
    assert_non_null(strstr(type("disks ata0"), "the backup of its partition table is damaged\n"));
    tables[0].table->no_backup = false;
}

static void test_a_vm(void **state)
{
    count = VMS;
    open(0, 0, "part:data,serial=A-Disk-1");
    open(0, 1, "ram:scratch.img,ro");
    open(1, 0, "disk:S7");
    *counts(0, 0) = (struct device_disk_counts){
        1, 2, 3, 4, .read_sectors = 6, .written_sectors = 8, .errors = 5, .in_flight = 9};
    assert_string_equal(type("disks debian"),
                        "debian\n"
                        "  part:data: 24M, blocks of 512 bytes\n"
                        "    lies on     drive ata0, from 65M on\n"
                        "    serial      A-Disk-1\n"
                        "    reads       1, 3K\n"
                        "    writes      2, 4K\n"
                        "    flushes     3; 4 DISCARD or WRITE ZEROES\n"
                        "    in flight   9\n"
                        "    errors      5\n"
                        "  ram:scratch.img: 16M, blocks of 512 bytes, read-only\n"
                        "    lies in     memory: it is gone when the VM ends\n"
                        "    serial      none\n"
                        "    reads       0, 0\n"
                        "    writes      0, 0\n"
                        "    flushes     0; 0 DISCARD or WRITE ZEROES\n"
                        "    in flight   0\n"
                        "    errors      0\n");
    open(2, 0, "part:data,ro");
    assert_non_null(strstr(type("disks ata0"),
                           "        2  data                    24M  debian writes\n"
                           "                                        third reads\n"
                           "           from 65M on, GUID 12121212-1212-1212-1212-121212121212\n"
                           "        3  beside "));
    drives[0].lost = true;
    assert_non_null(strstr(type("disks debian"), "drive ata0, which is lost, from"));
}

/* A source that is too long for the table stands in a line of its own. */
static void test_long_sources(void **state)
{
    count = 1;
    open(0, 0, "part:a label of thirty-six characters ...");
    assert_non_null(strstr(
        type("disks"),
        "debian\n"
        "  part:a label of thirty-six characters ...\n"
        "                       1M         0      0        0        0          0       0\n"));
    assert_non_null(strstr(said, "...     1M\r\n                                        debian"));
}

static void test_what_is_not_there(void **state)
{
    count = VMS;
    open(0, 0, "part:data");
    slots[1].vm = &vms[1];
    assert_string_equal(type("disks ata7"),
                        "there is no drive and no VM 'ata7': disks and list show them\n");
    assert_string_equal(type("disks third"), "third is off\n");
    assert_string_equal(type("disks a-name-of-thirty-one-characters"),
                        "a-name-of-thirty-one-characters has no disk\n");
    assert_string_equal(type("disks ata"),
                        "there is no drive and no VM 'ata': disks and list show them\n");
}

/* A VM ends, and starts again, between two lines. */
static void test_in_between(void **state)
{
    for (unsigned at = 0; at < 30; at++) {
        count = VMS;
        open(0, 0, "part:data");
        open(0, 1, "ram:scratch.img");
        open(1, 0, "part:data,ro");
        begin("disks");
        for (unsigned i = 0; i < at; i++)
            if (!step())
                break;
        close_all();
        slots[0].vm = NULL;
        open(2, 0, "disk:S7,ro");
        (void)end();
        close_all();
    }
}

/* What it counts is its own life's: a VM that starts again begins at 0. */
static void test_counts_begin_anew(void **state)
{
    count = 1;
    open(0, 0, "part:data");
    counts(0, 0)->reads = 5;
    close_all();
    assert_null(vm_disk(&vms[0], 0));
    open(0, 0, "part:data");
    assert_non_null(strstr(type("disks debian"), "reads       0, 0\n"));
}

static const struct vm *seen_vm;
static unsigned seen_disk;
static const struct device_disk_event *seen;

static void see(const struct vm *vm, unsigned disk, const struct device_disk_event *event)
{
    seen_vm = vm;
    seen_disk = disk;
    seen = event;
}

static void expect_seen(unsigned vm, unsigned disk, unsigned number)
{
    const struct device_disk_event event = {.sector = vm};

    controllers(counts(vm, disk), &event);
    assert_ptr_equal(seen, &event);
    assert_ptr_equal(seen_vm, &vms[vm]);
    assert_int_equal(seen_disk, number);
}

/* Who looks on is told whose disk it is, and which: its number stays as long as it is there. */
static void test_who_looks_on(void **state)
{
    count = VMS;
    assert_null(controllers);
    vm_disks_set_observer(see);
    open(0, 0, "ram:a.img");
    open(1, 0, "part:data");
    open(0, 1, "ram:b.img");
    open(0, 2, "ram:c.img");
    expect_seen(0, 0, 0);
    expect_seen(0, 1, 1);
    expect_seen(0, 2, 2);
    expect_seen(1, 0, 0);
    vm_disks_set_observer(NULL);
    assert_null(controllers);
}

static void test_completion(void **state)
{
    count = VMS;
    assert_string_equal(disks_choice(0), "ata0");
    assert_string_equal(disks_choice(1), "nvme0n1");
    assert_string_equal(disks_choice(2), "debian");
    assert_string_equal(disks_choice(4), "third");
    assert_null(disks_choice(5));
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_without_drives), /* then there are some */
        TEST(test_all),
        TEST(test_a_drive),
        TEST(test_what_is_kept),
        TEST(test_whole_drives),
        TEST(test_how_a_drive_is),
        TEST(test_a_vm),
        TEST(test_long_sources),
        TEST(test_what_is_not_there),
        TEST(test_in_between),
        TEST(test_counts_begin_anew),
        TEST(test_who_looks_on),
        TEST(test_completion),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
