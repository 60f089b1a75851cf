/* links: guest/trace/ring.c guest/trace/wire.c guest/trace/text.c guest/trace/block.c guest/trace/view.c vmx/exit_names.c arch/x86/lib/crc32.c arch/x86/lib/format.c */
/* The trace's rings, packets and lines. That tools/trace understands them is
 * tests/machine/trace.py's to show. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "drivers/block.h"
#include "guest/trace/block.h"
#include "guest/trace/ring.h"
#include "guest/trace/text.h"
#include "guest/trace/view.h"
#include "guest/trace/wire.h"

#define SLOTS 8

static struct trace_record slots[SLOTS];
static struct trace_ring ring;
static uint8_t packet[TRACE_PACKET_MAX];

static int fresh(void **state)
{
    memset(slots, 0xee, sizeof(slots));
    trace_ring_init(&ring, slots, sizeof(slots) + 5);
    assert_int_equal(ring.size, SLOTS);
    return 0;
}

static void put(uint64_t n)
{
    const struct trace_record r = {.time = n, .a = ~n};

    trace_ring_put(&ring, &r);
}

static void expect_next(uint64_t n)
{
    struct trace_record r;

    assert_true(trace_ring_take(&ring, &r));
    assert_int_equal(r.time, n);
    assert_int_equal(r.a, ~n);
}

static void records_come_out_in_order(void **state)
{
    struct trace_record r;

    assert_false(trace_ring_take(&ring, &r));
    assert_false(trace_ring_waits(&ring));
    for (uint64_t n = 0; n < 5 * SLOTS; n++) {
        put(n);
        assert_true(trace_ring_waits(&ring));
        expect_next(n);
        assert_false(trace_ring_take(&ring, &r));
    }
    assert_int_equal(ring.lost, 0);
}

static void the_newest_push_out_the_oldest(void **state)
{
    struct trace_record r;

    for (uint64_t n = 0; n < SLOTS - 1; n++)
        put(n);
    expect_next(0); /* one slot is always the writer's */
    for (uint64_t n = SLOTS - 1; n < 3 * SLOTS; n++)
        put(n);
    assert_int_equal(ring.lost, 0);
    for (uint64_t n = 2 * SLOTS + 1; n < 3 * SLOTS; n++)
        expect_next(n);
    assert_int_equal(ring.lost, 2 * SLOTS);
    assert_false(trace_ring_take(&ring, &r));
    put(3 * SLOTS);
    expect_next(3 * SLOTS);
    assert_int_equal(ring.lost, 2 * SLOTS);
}

static void get_looks_without_taking(void **state)
{
    struct trace_record r;

    for (uint64_t n = 0; n < SLOTS + 3; n++)
        put(n);
    assert_int_equal(trace_ring_oldest(&ring), 4);
    assert_false(trace_ring_get(&ring, 3, &r));
    for (uint64_t n = 4; n < SLOTS + 3; n++) {
        assert_true(trace_ring_get(&ring, n, &r));
        assert_int_equal(r.time, n);
    }
    assert_false(trace_ring_get(&ring, SLOTS + 3, &r));
    assert_int_equal(ring.tail, 0);
}

static void a_view_merges_rings_by_time(void **state)
{
    static struct trace_record others[SLOTS];
    struct trace_ring other;
    struct trace_ring *const rings[] = {&ring, &other};
    struct trace_view view;
    struct trace_record r;
    unsigned which;

    trace_ring_init(&other, others, sizeof(others));
    trace_view_open(&view, rings, 2);
    (void)trace_view_back(&view, 100);
    assert_false(trace_view_next(&view, &r, &which));
    for (uint64_t n = 0; n < 10; n++) {
        const struct trace_record late = {.time = n * 2 + 1};
        put(n * 2);
        if (n < 5)
            trace_ring_put(&other, &late);
    }
    static const uint64_t newest[] = {7, 8, 9, 10, 12, 14, 16, 18};
    trace_view_open(&view, rings, 2);
    (void)trace_view_back(&view, ARRAY_SIZE(newest));
    for (unsigned i = 0; i < ARRAY_SIZE(newest); i++) {
        assert_true(trace_view_next(&view, &r, &which));
        assert_int_equal(r.time, newest[i]);
    }
    assert_false(trace_view_next(&view, &r, &which));
    trace_view_open(&view, rings, 2);
    (void)trace_view_back(&view, 100);
    unsigned seen = 0;
    uint64_t before = 0;
    while (trace_view_next(&view, &r, &which)) {
        assert_true(r.time >= before);
        assert_int_equal(r.time & 1, which);
        before = r.time;
        seen++;
    }
    assert_int_equal(seen, SLOTS - 1 + 5);
}

static void a_view_leaves_out_what_is_overwritten(void **state)
{
    struct trace_ring *const rings[] = {&ring};
    struct trace_view view;
    struct trace_record r;
    unsigned which;

    for (uint64_t n = 0; n < 6; n++)
        put(n);
    trace_view_open(&view, rings, 1);
    (void)trace_view_back(&view, 4);
    assert_true(trace_view_next(&view, &r, &which));
    assert_int_equal(r.time, 2);
    for (uint64_t n = 6; n < 12; n++)
        put(n);
    assert_true(trace_view_next(&view, &r, &which));
    assert_int_equal(r.time, 5);
    assert_false(trace_view_next(&view, &r, &which)); /* later ones are not part of it */
}

/* --- packets --- */

static uint64_t little(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

/* As the polynomial says, bit by bit. */
static uint32_t slow_crc(const uint8_t *data, size_t length)
{
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < 8 * length; i++) {
        bool bit = (crc ^ (data[i / 8] >> i % 8)) & 1;
        crc = crc >> 1 ^ (bit ? 0xedb88320 : 0);
    }
    return ~crc;
}

static void check_packet(size_t length, enum trace_packet type, uint16_t sequence)
{
    assert_uint_in_range(length, TRACE_HEADER_SIZE + TRACE_CRC_SIZE, TRACE_PACKET_MAX);
    assert_memory_equal(packet, "CT\1", 3);
    assert_int_equal(packet[3], type);
    assert_int_equal(little(packet + 4, 2), length - TRACE_HEADER_SIZE - TRACE_CRC_SIZE);
    assert_int_equal(little(packet + 6, 2), sequence);
    assert_int_equal(little(packet + length - TRACE_CRC_SIZE, 4),
                     slow_crc(packet, length - TRACE_CRC_SIZE));
}

static void a_packet_byte_by_byte(void **state)
{
    const struct trace_record exit = {.time = 1000,
                                      .rip = 0x1000,
                                      .a = 0x80,
                                      .cost = 5,
                                      .code = 10,
                                      .vm = 1,
                                      .vcpu = 2,
                                      .kind = TRACE_EXITS};
    const struct trace_record before = {.time = 999,
                                        .rip = 0xfff,
                                        .b = 1,
                                        .code = 300,
                                        .vm = 1,
                                        .vcpu = 2,
                                        .kind = TRACE_INJECTIONS};
    const struct trace_record host = {
        .time = 999, .code = 0x34, .vm = TRACE_NO_VM, .vcpu = 2, .kind = TRACE_INTERRUPTS};
    const uint8_t expected[] = {
        3,    0, 0,    0, 0,    0,    0xe8, 3, 0,    0, 0, 0, 0, 0, /* CPU 3, none lost, 1000 */
        0x60, 2, 2,    0, 10,   0x80, 0x40, 5, 0x80, 1, /* RIP 1000h as a difference: 2000h */
        0xb1, 1, 0xac, 2, 1,    0,    1,                /* one tick and one byte earlier */
        0x03, 0, 2,    0, 0x34, 0,
    };
    trace_ring_put(&ring, &exit);
    trace_ring_put(&ring, &before);
    trace_ring_put(&ring, &host);
    size_t length = trace_pack_records(&ring, 3, 0x1234, packet);
    check_packet(length, TRACE_PACKET_RECORDS, 0x1234);
    assert_int_equal(length - TRACE_HEADER_SIZE - TRACE_CRC_SIZE, sizeof(expected));
    assert_memory_equal(packet + TRACE_HEADER_SIZE, expected, sizeof(expected));
    assert_int_equal(trace_pack_records(&ring, 3, 0, packet), 0);
}

static void the_largest_records_fit(void **state)
{
    const struct trace_record large = {.time = UINT64_MAX,
                                       .rip = UINT64_MAX / 2,
                                       .a = UINT64_MAX,
                                       .b = UINT64_MAX,
                                       .cost = UINT32_MAX,
                                       .code = UINT32_MAX,
                                       .vm = 0xfffe,
                                       .vcpu = 0xffff,
                                       .kind = 15};
    size_t length;
    unsigned taken = 0;

    for (unsigned n = 0; n < SLOTS - 1; n++) {
        struct trace_record r = large;

        if (n & 1) {
            r.time = UINT64_MAX / 2;
            r.rip = 1;
            r.vm = 0;
        }
        trace_ring_put(&ring, &r);
    }
    while ((length = trace_pack_records(&ring, 0xffff, (uint16_t)taken, packet))) {
        check_packet(length, TRACE_PACKET_RECORDS, (uint16_t)taken);
        taken++;
    }
    assert_uint_in_range(taken, 2, SLOTS - 1);
    assert_int_equal(ring.lost, 0);
}

static void packets_end_in_time(void **state)
{
    static struct trace_record many[64];
    struct trace_ring r;
    const struct trace_record small = {.time = 1, .vm = TRACE_NO_VM};
    const struct trace_record large = {.time = UINT64_MAX / 2 + 2,
                                       .rip = UINT64_MAX / 2,
                                       .a = UINT64_MAX,
                                       .b = UINT64_MAX,
                                       .cost = UINT32_MAX,
                                       .code = UINT32_MAX,
                                       .vm = 0xfffe,
                                       .vcpu = 0xffff};

    for (unsigned before = 0; before < 60; before++) {
        trace_ring_init(&r, many, sizeof(many));
        for (unsigned i = 0; i < before; i++)
            trace_ring_put(&r, &small);
        trace_ring_put(&r, &large);
        for (size_t length; (length = trace_pack_records(&r, 0, 0, packet));)
            check_packet(length, TRACE_PACKET_RECORDS, 0);
    }
}

static void a_packet_tells_what_was_lost(void **state)
{
    for (uint64_t n = 0; n < SLOTS + 9; n++)
        put(n);
    assert_true(trace_pack_records(&ring, 0, 0, packet));
    assert_int_equal(little(packet + TRACE_HEADER_SIZE + 2, 4), 10);
    assert_int_equal(little(packet + TRACE_HEADER_SIZE + 6, 8), 10); /* the first that is there */
}

static void names_take_turns(void **state)
{
    static char names[40][CONFIG_MAX_NAME];
    struct vm_config vms[40] = {0};
    const struct trace_info info = {
        .tsc_hz = 1, .now = 2, .start = 3, .events = 4, .cpus = 5, .vms = vms, .vm_count = 40};
    bool seen[40] = {false};
    size_t next = 0;

    memset(names, 'n', sizeof(names));
    for (unsigned i = 0; i < 40; i++)
        vms[i].name = (struct config_span){names[i], 1 + i % CONFIG_MAX_NAME};
    for (unsigned i = 0; i < 8; i++) {
        size_t length = trace_pack_info(&info, &next, (uint16_t)i, packet), at = 38;

        check_packet(length, TRACE_PACKET_INFO, (uint16_t)i);
        while (at < length - TRACE_CRC_SIZE) {
            unsigned vm = (unsigned)little(packet + at, 2);
            assert_uint_in_range(vm, 0, 39);
            assert_int_equal(packet[at + 2], vms[vm].name.length);
            at += 3u + packet[at + 2];
            seen[vm] = true;
        }
        assert_int_equal(at, length - TRACE_CRC_SIZE);
    }
    for (unsigned i = 0; i < 40; i++)
        assert_true(seen[i]);
    assert_int_equal(little(packet + 8, 8), 1);
    assert_int_equal(little(packet + 16, 8), 2);
    assert_int_equal(little(packet + 24, 8), 3);
    assert_int_equal(little(packet + 32, 4), 4);
    assert_int_equal(little(packet + 36, 2), 5);
}

static void one_name_is_told_once(void **state)
{
    struct vm_config vm = {.name = {"debian", 6}};
    const struct trace_info info = {.vms = &vm, .vm_count = 1};
    const struct trace_info none = {0};
    size_t next = 0;

    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(trace_pack_info(&info, &next, 0, packet), 38 + 3 + 6 + TRACE_CRC_SIZE);
    assert_memory_equal(packet + 41, "debian", 6);
    assert_int_equal(trace_pack_info(&none, &next, 0, packet), 38 + TRACE_CRC_SIZE);
}

/* --- lines --- */

static void lines_say_what_happened(void **state)
{
    static const struct {
        struct trace_record r;
        const char *text;
    } rows[] = {
        {{.kind = TRACE_EXITS, .code = 30, .rip = 0x1000, .cost = 7, .a = 0x3f80000, .b = 0x41},
         "      1.000002 cpu3 a/0          exits       I/O instruction: out 3f8 <- 41  rip 1000  "
         "cost 7"},
        {{.kind = TRACE_EXITS, .code = 30, .a = 0x3fd0008, .b = 0x60},
         "      1.000002 cpu3 a/0          exits       I/O instruction: in 3fd -> 60"},
        {{.kind = TRACE_EXITS, .code = 48, .a = 2, .b = 0xfec00000, .vcpu = 9},
         "      1.000002 cpu3 a/9          exits       EPT violation: write fec00000"},
        {{.kind = TRACE_EXITS, .code = 32, .a = 0x6e0, .b = 5},
         "      1.000002 cpu3 a/0          exits       WRMSR: 6e0 <- 5"},
        {{.kind = TRACE_EXITS, .code = 10, .a = 7, .b = 1},
         "      1.000002 cpu3 a/0          exits       CPUID: 7:1"},
        {{.kind = TRACE_EXITS, .code = 1, .a = 0x80000034},
         "      1.000002 cpu3 a/0          exits       external interrupt: vector 34"},
        {{.kind = TRACE_EXITS, .code = 12}, "      1.000002 cpu3 a/0          exits       HLT"},
        {{.kind = TRACE_INJECTIONS, .code = 0xec},
         "      1.000002 cpu3 a/0          injections  interrupt ec"},
        {{.kind = TRACE_INJECTIONS, .code = 0xec | TRACE_INJECT_VIRTUAL},
         "      1.000002 cpu3 a/0          injections  virtual interrupt ec"},
        {{.kind = TRACE_INJECTIONS, .code = 0x10e},
         "      1.000002 cpu3 a/0          injections  reserved e"},
        {{.kind = TRACE_SCHEDULING, .code = TRACE_SCHED_HALTED},
         "      1.000002 cpu3 a/0          scheduling  halted"},
        {{.kind = TRACE_SCHEDULING, .code = 99},
         "      1.000002 cpu3 a/0          scheduling  unknown"},
        {{.kind = TRACE_INTERRUPTS, .code = 0x34, .vm = TRACE_NO_VM},
         "      1.000002 cpu3 -            interrupts  vector 34"},
        {{.kind = TRACE_DEVICES, .code = TRACE_DEVICE_LINE, .a = 4, .b = 1},
         "      1.000002 cpu3 a/0          devices     line 4 up"},
        {{.kind = TRACE_BLOCK, .code = 1 | TRACE_BLOCK_FUA, .a = 2048, .b = 8},
         "      1.000002 cpu3 a/0          block       disk 0 write FUA 2048+8"},
        {{.kind = TRACE_BLOCK, .code = 0x20010, .a = UINT64_MAX, .b = UINT32_MAX, .cost = 70},
         "      1.000002 cpu3 a/0          block       disk 2 read "
         "18446744073709551615+4294967295: "
         "done  cost 70"},
        {{.kind = TRACE_BLOCK, .code = 0x10512},
         "      1.000002 cpu3 a/0          block       disk 1 flush: error 5"},
        {{.kind = TRACE_BLOCK, .code = 14, .b = 1},
         "      1.000002 cpu3 a/0          block       disk 0 unknown 0+1"},
        {{.kind = 15, .code = 8}, "      1.000002 cpu3 a/0          unknown     kind 15 code 8"},
    };
    char out[TRACE_TEXT];

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(trace_text(out, &rows[i].r, 3, "a", 1000002), strlen(rows[i].text));
        assert_string_equal(out, rows[i].text);
    }
}

/* --- requests to disks --- */

static void a_request_begins_and_is_over(void **state)
{
    uint64_t begun = 12345; /* of whatever was there before */
    struct device_disk_event e = {.op = BLOCK_WRITE,
                                  .flags = BLOCK_FUA | BLOCK_UNMAP,
                                  .sector = 1ull << 40,
                                  .sectors = 24,
                                  .result = DEVICE_DISK_BEGINS,
                                  .begun = &begun};
    struct trace_record r = trace_block_record(1000, 500, 3, 2, &e);

    assert_int_equal(begun, 1000);
    assert_int_equal(r.kind, TRACE_BLOCK);
    assert_int_equal(r.time, 1000);
    assert_int_equal(r.vm, 3);
    assert_int_equal(r.code, 2 << 16 | 0x20 | BLOCK_WRITE);
    assert_int_equal(r.a, 1ull << 40);
    assert_int_equal(r.b, 24);
    assert_int_equal(r.cost, 0);

    e.result = 0;
    r = trace_block_record(1700, 500, 3, 2, &e);
    assert_int_equal(r.code, 2 << 16 | 0x30 | BLOCK_WRITE);
    assert_int_equal(r.cost, 700);
    e.result = -ETIMEDOUT;
    r = trace_block_record(1000 + (5ull << 32), 500, 3, 2, &e);
    assert_int_equal(r.code, 2 << 16 | ETIMEDOUT << 8 | 0x30 | BLOCK_WRITE);
    assert_int_equal(r.cost, UINT32_MAX);
}

static void what_began_before_has_no_cost(void **state)
{
    uint64_t begun = 499;
    struct device_disk_event e = {.op = BLOCK_FLUSH, .begun = &begun};

    assert_int_equal(trace_block_record(800, 500, 0, 0, &e).cost, 0);
    begun = 500;
    assert_int_equal(trace_block_record(800, 500, 0, 0, &e).cost, 300);
}

/* For tests/machine/trace.py: a disk with several requests under way, one of them refused, one not
 * over. */
static void write_disk_stream(const char *path)
{
    static const struct {
        uint16_t time;
        uint8_t of; /* a request */
        int16_t result;
    } events[] = {{100, 0, 1}, {150, 1, 1}, {250, 1, 0}, {260, 2, 1},    {300, 0, 0},
                  {400, 2, 0}, {450, 3, 1}, {460, 4, 1}, {500, 3, -EIO}, {600, 5, 1}};
    uint64_t begun[6] = {0};
    struct device_disk_event requests[6] = {
        {.op = BLOCK_WRITE, .sector = 2048, .sectors = 8},
        {.op = BLOCK_WRITE, .flags = BLOCK_FUA, .sector = 4096, .sectors = 256},
        {.op = BLOCK_FLUSH},
        {.op = BLOCK_READ, .sector = 7, .sectors = 1},
        {.op = BLOCK_WRITE_ZEROES, .sector = 1, .sectors = 1},
        {.op = BLOCK_DISCARD, .sector = 1ull << 33, .sectors = 1u << 31}};
    struct vm_config vm = {.name = {"one", 3}};
    const struct trace_info info = {
        .tsc_hz = 1000000, .now = 700, .events = 127, .cpus = 1, .vms = &vm, .vm_count = 1};
    static struct trace_record records[16];
    struct trace_ring disks;
    FILE *f = fopen(path, "wb");
    size_t length, next = 0;

    assert_non_null(f);
    trace_ring_init(&disks, records, sizeof(records));
    for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
        struct device_disk_event *e = &requests[events[i].of];
        e->result = events[i].result;
        e->begun = &begun[events[i].of];
        const struct trace_record r = trace_block_record(events[i].time, 0, 0, events[i].of / 3, e);
        trace_ring_put(&disks, &r);
    }
    fwrite(packet, trace_pack_info(&info, &next, 0, packet), 1, f);
    for (uint16_t sequence = 1; (length = trace_pack_records(&disks, 0, sequence, packet));
         sequence++)
        fwrite(packet, length, 1, f);
    fclose(f);
}

/* For tests/machine/trace.py: what a busy machine might send. */
static void write_stream(const char *path)
{
    struct vm_config vms[2] = {{.name = {"one", 3}}, {.name = {"two", 3}}};
    struct trace_info info = {
        .tsc_hz = 1000000000, .events = 63, .cpus = 2, .vms = vms, .vm_count = 2};
    static struct trace_record records[2][64];
    struct trace_ring rings[2];
    FILE *f = fopen(path, "wb");
    size_t next = 0;
    uint16_t sequence = 0;

    assert_non_null(f);
    srand(1);
    for (unsigned i = 0; i < 2; i++)
        trace_ring_init(&rings[i], records[i], sizeof(records[i]));
    for (uint64_t n = 0; n < 3000; n++) {
        unsigned cpu = (unsigned)rand() % 2;
        const struct trace_record r = {
            .time = 1000 * n,
            .rip = rand() % 2 ? 0xffffffff81000000 + (uint64_t)rand() % 0x1000000 : 0,
            .a = n,
            .b = rand() % 2 ? (uint64_t)rand() << 32 : 0,
            .cost = rand() % 2 ? (uint32_t)rand() % 900 : 0,
            .code = (uint32_t)n % 57,
            .vm = (uint16_t)(rand() % 3 - 1),
            .vcpu = (uint16_t)(rand() % 2),
            .kind = TRACE_EXITS,
        };
        trace_ring_put(&rings[cpu], &r);
        if (n % 500 == 0) {
            info.now = r.time;
            fwrite(packet, trace_pack_info(&info, &next, sequence++, packet), 1, f);
        }
        /* At first the line keeps up, then it does not. */
        if (n % (n < 1500 ? 5 : 100) == 0)
            for (unsigned i = 0; i < 2; i++) {
                size_t length = trace_pack_records(&rings[i], (uint16_t)i, sequence, packet);
                sequence += length != 0;
                fwrite(packet, length, 1, f);
            }
    }
    for (unsigned i = 0; i < 2; i++) {
        size_t length;
        while ((length = trace_pack_records(&rings[i], (uint16_t)i, sequence, packet))) {
            sequence++;
            fwrite(packet, length, 1, f);
        }
    }
    printf("lost %lu %lu\n", (unsigned long)rings[0].lost, (unsigned long)rings[1].lost);
    fclose(f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(records_come_out_in_order, fresh),
        cmocka_unit_test_setup(the_newest_push_out_the_oldest, fresh),
        cmocka_unit_test_setup(get_looks_without_taking, fresh),
        cmocka_unit_test_setup(a_view_merges_rings_by_time, fresh),
        cmocka_unit_test_setup(a_view_leaves_out_what_is_overwritten, fresh),
        cmocka_unit_test_setup(a_packet_byte_by_byte, fresh),
        cmocka_unit_test_setup(the_largest_records_fit, fresh),
        cmocka_unit_test(packets_end_in_time),
        cmocka_unit_test_setup(a_packet_tells_what_was_lost, fresh),
        cmocka_unit_test(names_take_turns),
        cmocka_unit_test(one_name_is_told_once),
        cmocka_unit_test(lines_say_what_happened),
        cmocka_unit_test(a_request_begins_and_is_over),
        cmocka_unit_test(what_began_before_has_no_cost),
    };

    if (argc == 3 && strcmp(argv[1], "--stream") == 0) {
        write_stream(argv[2]);
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "--disk-stream") == 0) {
        write_disk_stream(argv[2]);
        return 0;
    }
    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
