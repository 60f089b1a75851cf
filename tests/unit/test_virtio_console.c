/* links: guest/devices/virtio/console.c guest/devices/virtio/pci.c guest/devices/virtio/queue.c guest/board/msix.c guest/board/pci.c arch/x86/lib/format.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* virtio-console by a driver that finds it on the bus. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest/board/class.h"
#include "guest/board/pci.h"
#include "guest/devices/virtio/console.h"
#include "tests/unit/virtio_function.h"

#define QUEUES   8 /* of three ports; a driver uses the first six */
#define USED     6
#define RINGS(q) (0x1000u + 0x2000u * (q)) /* without tables */
#define DATA     0xe000u
#define TYPED    1024u
#define AT_ONCE  4096u
#define FULL     4800000u /* ticks of the mock's TSC: a five-hundredth of a second */

enum { IN0, OUT0, CONTROL_IN, CONTROL_OUT, IN1, OUT1 };
enum { READY, ADD, REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, OPEN, NAME };

extern const struct device_class virtio_console_class;

static struct device_list devices;
static struct device *console;
static struct driver v[USED];
static bool wanted;

/* What came out, and how much is taken. */
static char said[8][20000];
static size_t length[8], room;

static size_t put(void *context, unsigned port, const void *data, size_t size)
{
    size_t n = MIN(size, room);

    assert_ptr_equal(context, said);
    assert_true(port < 8 && length[port] + n <= sizeof(said[0]));
    memcpy(said[port] + length[port], data, n);
    length[port] += n;
    room -= n;
    return n;
}

static const char *line(void *context, const char *key, unsigned index, size_t *size,
                        uint32_t *number)
{
    assert_string_equal(key, "console");
    *size = 1;
    return wanted && index == 0 ? "3" : NULL;
}

/* --- the driver --- */

#define SIZE      1
#define MULTIPORT 2

static void start(uint64_t features)
{
    negotiate(features);
    for (unsigned q = 0; q < USED; q++) {
        driver_init(&v[q], &board, features & PACKED_RING, DRIVER_SIZE, RINGS(q));
        out(0x16, 2, q);
        out(0x18, 2, DRIVER_SIZE);
        out(0x20, 8, v[q].descriptors);
        out(0x28, 8, v[q].driver);
        out(0x30, 8, v[q].device);
        out(0x1c, 2, 1);
    }
    memset(board.memory + DATA, 0xee, MOCK_MEMORY - DATA);
    out(0x14, 1, 0xf);
    assert_int_equal(in(0x14, 1), 0xf);
    memset(length, 0, sizeof(length));
    room = 1000000;
}

static void kick(unsigned q)
{
    out(0x3000 + 4 * q, 2, q);
}

static int offer(unsigned q, uint64_t gpa, uint32_t size, bool writable)
{
    struct driver_segment s = {gpa, size, writable};

    return driver_offer(&v[q], &s, 1, false);
}

/* A number that the used ring gives back, and how much was written. */
static bool is_back(unsigned q, int id, uint32_t written)
{
    uint32_t w = 77;
    int taken = driver_take(&v[q], &w);

    if (taken < 0)
        return false;
    assert_int_equal(taken, id);
    assert_int_equal(w, written);
    return true;
}

static void say(unsigned q, const char *text)
{
    memcpy(board.memory + DATA, text, strlen(text));
    int id = offer(q, DATA, (uint32_t)strlen(text), false);
    kick(q);
    assert_true(is_back(q, id, 0));
}

static void expect_said(unsigned port, const char *text)
{
    assert_int_equal(length[port], strlen(text));
    assert_memory_equal(said[port], text, length[port]);
    length[port] = 0;
}

static void control(uint32_t port, uint16_t event, uint16_t value)
{
    driver_put(&v[0], DATA + 0x100, port | (uint64_t)event << 32 | (uint64_t)value << 48, 8);
    int id = offer(CONTROL_OUT, DATA + 0x100, 8, false);
    kick(CONTROL_OUT);
    mock_ticks(&board, 1);
    assert_true(is_back(CONTROL_OUT, id, 0));
}

/* The next message of the device's; buffers for it are there before. */
static int buffers[DRIVER_SIZE];
static unsigned first, after;

static void give_buffers(void)
{
    first = after = 0;
    for (unsigned i = 0; i < DRIVER_SIZE; i++)
        buffers[after++] = offer(CONTROL_IN, DATA + 0x200 + 0x20 * i, 0x20, true);
    kick(CONTROL_IN);
}

static void expect_message(uint32_t port, uint16_t event, uint16_t value, const char *more,
                           uint32_t size)
{
    uint64_t at = DATA + 0x200 + 0x20 * first;

    assert_true(is_back(CONTROL_IN, buffers[first++], 8 + size));
    assert_int_equal(driver_get(&v[0], at, 4), port);
    assert_int_equal(driver_get(&v[0], at + 4, 2), event);
    assert_int_equal(driver_get(&v[0], at + 6, 2), value);
    assert_memory_equal(board.memory + at + 8, more, size);
    assert_int_equal(board.memory[at + 8 + size], 0xee);
}

static void expect_no_message(void)
{
    uint32_t w;

    assert_int_equal(driver_take(&v[CONTROL_IN], &w), -1);
}

/* As Linux does it: port 0 and port 1 are in use, port 0 is open. */
static void introduce(uint64_t features)
{
    start(V1 | MULTIPORT | SIZE | features);
    give_buffers();
    expect_no_message();
    control(UINT32_MAX, READY, 1); /* the port's number means nothing */
    for (unsigned i = 0; i < 3; i++)
        expect_message(i, ADD, 0, "", 0);
    control(0, PORT_READY, 1);
    expect_message(0, CONSOLE_PORT, 1, "", 0);
    expect_message(0, NAME, 1, "corbel.0", 8);
    expect_message(0, RESIZE, 1, "\x50\0\x18\0", 4);
    expect_message(0, OPEN, 1, "", 0);
    control(1, PORT_READY, 1);
    expect_message(1, NAME, 1, "corbel.1", 8);
    expect_message(1, OPEN, 1, "", 0);
    expect_no_message();
    control(0, OPEN, 1);
    memset(board.memory + DATA, 0xee, MOCK_MEMORY - DATA);
}

static struct vconsole_port look(unsigned port)
{
    struct vconsole_port p;

    vconsole_look(console, port, &p);
    return p;
}

static void type(unsigned port, const char *text)
{
    for (; *text; text++)
        vconsole_type(console, port, (uint8_t)*text);
}

static int setup_with(bool yes)
{
    static const struct device_class *const classes[] = {&pci_class, &virtio_console_class};
    static struct device_host host;
    struct device_setup s = {.board = &board, .bus = &board.bus, .host = &host};

    host = (struct device_host){.line = line, .port_put = put, .context = said};
    wanted = yes;
    mock_init(&board);
    view = (struct bus_view){0};
    devices = (struct device_list){0};
    if (device_list_fill(&devices, classes, 2, &s) < 0)
        return -1;
    bus_reset(&board.bus);
    console = device_list_find(&devices, &virtio_console_class, 0);
    return 0;
}

static int setup(void **state)
{
    return setup_with(true);
}

static int teardown(void **state)
{
    bool good = mock_round_trip(&board);

    mock_destroy(&board);
    device_list_destroy(&devices);
    return good ? 0 : -1;
}

/* --- */

static void what_is_seen(void **state)
{
    assert_int_equal(config(0, 4), 0x10431af4);
    assert_int_equal(config(PCI_REVISION, 4), 0x07800001);
    config_write(PCI_COMMAND, 2, 2);
    out(0, 4, 0);
    assert_int_equal(in(4, 4), 0x30000003);
    out(0, 4, 1);
    assert_int_equal(in(4, 4), 5);
    assert_int_equal(in(0x12, 2), QUEUES);
    assert_int_equal(in(0x2000, 4), 0x180050);
    assert_int_equal(in(0x2004, 4), 3);
    assert_int_equal(teardown(NULL), 0);
    assert_int_equal(setup_with(false), 0);
    assert_true(config(0, 4) == UINT32_MAX);
    assert_null(console);
}

static void both_ways(void **state)
{
    static const uint64_t kinds[] = {0, PACKED_RING, EVENT, PACKED_RING | EVENT};

    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        introduce(kinds[i]);
        say(OUT0, "login: ");
        expect_said(0, "login: ");
        say(OUT1, "data");
        expect_said(1, "data");
        int id = offer(IN0, DATA, 16, true);
        kick(IN0);
        assert_false(is_back(IN0, id, 0));
        type(0, "r");
        assert_true(is_back(IN0, id, 1));
        assert_int_equal(board.memory[DATA], 'r');
        type(0, "oot\n"); /* before there are buffers */
        assert_int_equal(look(0).typed, 4);
        assert_true(mock_round_trip(&board));
        id = offer(IN0, DATA, 3, true);
        int second = offer(IN0, DATA + 8, 3, true);
        kick(IN0);
        assert_true(is_back(IN0, id, 3));
        assert_true(is_back(IN0, second, 1));
        assert_memory_equal(board.memory + DATA, "oot", 3);
        assert_int_equal(board.memory[DATA + 8], '\n');
        assert_int_equal(look(0).typed, 0);
        assert_int_equal(mock_ticks(&board, FULL), 0); /* no timer without need */
    }
}

/* In pieces, through the ring buffer's end, into chains of several descriptors. */
static void in_pieces(void **state)
{
    struct driver_segment s[] = {{DATA + 0x400, 9, false},
                                 {DATA, 100, true},
                                 {DATA + 0x100, 1, true},
                                 {DATA + 0x200, 600, true}};

    introduce(0);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 700; i++)
            vconsole_type(console, 0, (uint8_t)(i * 7 + round));
        int id = driver_offer(&v[IN0], s, 4, false);
        kick(IN0);
        assert_true(is_back(IN0, id, 700));
        for (unsigned i = 0; i < 700; i++)
            assert_int_equal(board.memory[i < 100    ? DATA + i
                                          : i == 100 ? DATA + 0x100
                                                     : DATA + 0x200 + i - 101],
                             (uint8_t)(i * 7 + round));
    }
    struct driver_segment text[] = {
        {DATA, 3, false}, {DATA + 0x10, 1, false}, {DATA + 3, 2, false}};
    memcpy(board.memory + DATA, "abcde", 5);
    board.memory[DATA + 0x10] = '-';
    int id = driver_offer(&v[OUT0], text, 3, false);
    kick(OUT0);
    assert_true(is_back(OUT0, id, 0));
    expect_said(0, "abc-de");
}

/* A driver that knows of one port. */
static void one_port(void **state)
{
    start(V1 | SIZE);
    assert_true(look(0).open);
    assert_false(look(1).open);
    say(OUT0, "hello");
    expect_said(0, "hello");
    int id = offer(IN0, DATA, 16, true);
    kick(IN0);
    type(0, "a");
    assert_true(is_back(IN0, id, 1));
    memcpy(board.memory + DATA, "text", 4);
    offer(OUT1, DATA, 4, false);
    kick(OUT1);
    expect_said(1, "");
    offer(CONTROL_OUT, DATA, 8, false);
    kick(CONTROL_OUT);
    uint32_t w;
    assert_int_equal(driver_take(&v[CONTROL_OUT], &w), -1);
    type(1, "nobody");
    assert_int_equal(look(1).dropped, 6);
    in(0x1000, 1);
    vconsole_resize(console, 132, 50);
    assert_int_equal(in(0x2000, 4), 50 << 16 | 132);
    assert_int_equal(in(0x1000, 1), 2);
}

/* --- ports that open and close --- */

static void open_and_closed(void **state)
{
    introduce(0);
    assert_true(look(0).there && look(0).open);
    assert_true(look(1).there && !look(1).open);
    assert_false(look(2).there);
    type(1, "abc"); /* to nobody */
    assert_int_equal(look(1).dropped, 3);
    assert_int_equal(look(1).typed, 0);
    assert_int_equal(vconsole_room(console, 1), TYPED); /* who types it is not held up */
    control(1, OPEN, 1);
    assert_true(look(1).open);
    int id = offer(IN1, DATA, 16, true);
    kick(IN1);
    type(1, "d");
    assert_true(is_back(IN1, id, 1));
    type(1, "unread");
    assert_int_equal(vconsole_room(console, 1), TYPED - 6);
    control(1, OPEN, 0);
    assert_int_equal(look(1).dropped, 9);
    control(1, OPEN, 1);
    offer(IN1, DATA, 16, true);
    kick(IN1);
    uint32_t w;
    assert_int_equal(driver_take(&v[IN1], &w), -1);
    out(0x14, 1, 0); /* reset: as at power-on */
    assert_false(look(0).there || look(0).open || look(1).open);
}

static void resized(void **state)
{
    introduce(0);
    in(0x1000, 1);
    vconsole_resize(console, 132, 50);
    expect_message(0, RESIZE, 1, "\x84\0\x32\0", 4);
    expect_no_message();
    assert_int_equal(in(0x2000, 4), 50 << 16 | 132);
    assert_int_equal(in(0x1000, 1), 3);
    start(V1 | MULTIPORT); /* one that does not want to know */
    give_buffers();
    control(0, READY, 1);
    for (unsigned i = 0; i < 3; i++)
        expect_message(i, ADD, 0, "", 0);
    control(0, PORT_READY, 1);
    expect_message(0, CONSOLE_PORT, 1, "", 0);
    expect_message(0, NAME, 1, "corbel.0", 8);
    expect_message(0, OPEN, 1, "", 0);
    vconsole_resize(console, 80, 25);
    expect_no_message();
}

/* Messages wait for buffers, and are not more for being asked for often. */
static void messages_wait(void **state)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        start(V1 | MULTIPORT | (packed ? PACKED_RING : 0));
        for (unsigned i = 0; i < 1000; i++)
            control(0, READY, 1);
        for (unsigned i = 0; i < 1000; i++)
            control(i % 5, PORT_READY, 1);
        assert_true(mock_round_trip(&board));
        give_buffers();
        expect_message(0, ADD, 0, "", 0);
        expect_message(0, CONSOLE_PORT, 1, "", 0);
        expect_message(0, NAME, 1, "corbel.0", 8);
        expect_message(0, OPEN, 1, "", 0);
        expect_message(1, ADD, 0, "", 0);
        expect_message(1, NAME, 1, "corbel.1", 8);
        expect_message(1, OPEN, 1, "", 0);
        expect_message(2, ADD, 0, "", 0);
        expect_message(2, NAME, 1, "corbel.2", 8);
        expect_message(2, OPEN, 1, "", 0);
        expect_no_message();
        mock_ticks(&board, 100 * FULL);
    }
}

/* Messages that mean nothing are passed by. */
static void odd_messages(void **state)
{
    introduce(0);
    for (unsigned event = 0; event < 300; event++) {
        control(3, (uint16_t)event, 1);
        control(UINT32_MAX, (uint16_t)(event + 1), 1);
        if (event != READY && event != PORT_READY && event != OPEN)
            control(1, (uint16_t)event, 1);
        if (event != OPEN)
            control(1, (uint16_t)event, 2);
    }
    int id = offer(CONTROL_OUT, DATA + 0x100, 7, false); /* none at all */
    kick(CONTROL_OUT);
    assert_true(is_back(CONTROL_OUT, id, 0));
    id = offer(CONTROL_OUT, DATA + 0x100, 8, true);
    kick(CONTROL_OUT);
    assert_true(is_back(CONTROL_OUT, id, 0));
    assert_false(look(1).open);
    assert_int_equal(in(0x14, 1), 0xf);
}

/* --- how much at once --- */

static void so_much_at_once(void **state)
{
    struct driver_segment s[4];

    for (unsigned packed = 0; packed < 2; packed++) {
        introduce(packed ? PACKED_RING : 0);
        for (unsigned i = 0; i < 0x1000; i++)
            board.memory[DATA + i] = (uint8_t)(i * 11);
        for (unsigned i = 0; i < 4; i++)
            s[i] = (struct driver_segment){DATA, 0x1000, false};
        int id = driver_offer(&v[OUT0], s, 4, false);
        kick(OUT0);
        assert_false(is_back(OUT0, id, 0));
        assert_uint_in_range(length[0], 1, AT_ONCE);
        size_t before = length[0];
        for (unsigned i = 0; i < 50; i++)
            kick(OUT0); /* that changes nothing */
        assert_int_equal(length[0], before);
        assert_true(mock_round_trip(&board));
        for (unsigned i = 0; i < 6; i++) {
            board.now++;
            bus_run_timers(&board.bus, board.now);
            assert_true(length[0] <= before + AT_ONCE);
            before = length[0];
        }
        assert_true(is_back(OUT0, id, 0));
        assert_int_equal(length[0], 0x4000);
        for (unsigned i = 0; i < 0x4000; i++)
            assert_int_equal((uint8_t)said[0][i], (uint8_t)(i % 0x1000 * 11));
        mock_ticks(&board, FULL);
        assert_int_equal(mock_ticks(&board, 10 * FULL), 0);
    }
}

/* Who does not take it holds up this port alone; nothing is lost or said twice. */
static void nobody_takes_it(void **state)
{
    introduce(0);
    room = 5;
    memcpy(board.memory + DATA, "0123456789", 10);
    int id = offer(OUT0, DATA, 10, false);
    kick(OUT0);
    assert_false(is_back(OUT0, id, 0));
    assert_int_equal(mock_ticks(&board, 3 * FULL), 3);
    room = 2;
    mock_ticks(&board, FULL);
    assert_true(mock_round_trip(&board));
    room = 100;
    control(1, OPEN, 1); /* the others go on */
    assert_true(look(1).open);
    mock_ticks(&board, FULL);
    assert_true(is_back(OUT0, id, 0));
    expect_said(0, "0123456789");
    assert_int_equal(mock_ticks(&board, 10 * FULL), 0);
}

static void a_guest_that_does_not_read(void **state)
{
    introduce(0);
    for (unsigned i = 0; i < 3000; i++)
        vconsole_type(console, 0, (uint8_t)i);
    assert_int_equal(vconsole_room(console, 0), 0);
    assert_int_equal(look(0).typed, TYPED);
    assert_int_equal(look(0).dropped, 3000 - TYPED);
    assert_int_equal(mock_ticks(&board, 10 * FULL), 0);
    int id = offer(IN0, DATA, 2000, true);
    kick(IN0);
    assert_true(is_back(IN0, id, TYPED));
    for (unsigned i = 0; i < TYPED; i++)
        assert_int_equal(board.memory[DATA + i], (uint8_t)i);
}

/* --- what means nothing --- */

static void expect_broken(void)
{
    assert_int_equal(in(0x14, 1), 0x4f);
    for (unsigned q = 0; q < USED; q++)
        kick(q);
    type(0, "x");
    vconsole_resize(console, 80, 24);
    mock_ticks(&board, 3 * FULL);
    introduce(0); /* nothing but reset helps, and it does */
    say(OUT0, "again");
    expect_said(0, "again");
}

static void broken(void **state)
{
    introduce(0);
    offer(IN0, DATA, 8, false); /* no place to write to */
    type(0, "x");
    expect_broken();
    offer(IN0, MOCK_MEMORY, 8, true);
    type(0, "x");
    expect_broken();
    offer(OUT0, MOCK_MEMORY - 8, 16, false);
    kick(OUT0);
    expect_said(0, "");
    expect_broken();
    offer(CONTROL_OUT, MOCK_MEMORY - 4, 8, false);
    kick(CONTROL_OUT);
    expect_broken();
    start(V1 | MULTIPORT);
    offer(CONTROL_IN, DATA, 7, true); /* too small for a message */
    control(0, READY, 1);
    expect_broken();
    for (unsigned q = 0; q < USED; q++) {
        if (q == CONTROL_IN) /* has buffers that have been seen: its index is not looked at */
            continue;
        driver_put(&v[q], v[q].driver + 2, 1000, 2); /* an index that jumps */
        if (q == IN0)
            type(0, "x");
        if (q == IN1) {
            control(1, OPEN, 1);
            type(1, "x");
        }
        kick(q);
        expect_broken();
    }
}

/* Another vCPU offers and takes back for ever: each exit comes to its end. */
static void flickers(void **state)
{
    for (unsigned q = 0; q < 4; q++) {
        introduce(0);
        board.flickers = v[q].driver + 2;
        board.flicker = 1;
        for (unsigned i = 0; i < 5; i++) {
            board.flicks = 0;
            kick(q);
            type(0, "x");
            vconsole_resize(console, 10, 10);
            board.now++;
            bus_run_timers(&board.bus, board.now);
            assert_true(board.flicks < MOCK_FLICKS);
        }
        board.flickers = 0;
        vconsole_resize(console, 80, 24);
    }
}

static void reset_in_between(void **state)
{
    introduce(0);
    room = 2;
    memcpy(board.memory + DATA, "abcdef", 6);
    offer(OUT0, DATA, 6, false);
    kick(OUT0);
    type(0, "typed");
    out(0x14, 1, 0);
    assert_int_equal(in(0x14, 1), 0);
    room = 100;
    assert_int_equal(mock_ticks(&board, 10 * FULL), 0);
    expect_said(0, "ab");
    introduce(0);
    say(OUT0, "abcdef");
    expect_said(0, "abcdef"); /* from its first byte on */
    assert_int_equal(look(0).typed, 0);
    assert_true(bus_idle(&board.bus, true));
    type(0, "x");
    memcpy(board.memory + DATA, "zz", 2);
    offer(OUT0, DATA, 2, false);
    kick(OUT0);
    expect_said(0, "");
    bus_reset(&board.bus);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_seen),
        TEST(both_ways),
        TEST(in_pieces),
        TEST(one_port),
        TEST(open_and_closed),
        TEST(resized),
        TEST(messages_wait),
        TEST(odd_messages),
        TEST(so_much_at_once),
        TEST(nobody_takes_it),
        TEST(a_guest_that_does_not_read),
        TEST(broken),
        TEST(flickers),
        TEST(reset_in_between),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
