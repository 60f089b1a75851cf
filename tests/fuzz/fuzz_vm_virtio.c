/* links: guest/devices/virtio/balloon.c guest/devices/virtio/console.c guest/devices/virtio/pci.c guest/devices/virtio/queue.c guest/board/msix.c guest/board/pci.c arch/x86/lib/format.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/*
 * A balloon under a hostile driver: any access to its BAR, chains of any shape, memory that is
 * short or has no room, its owner's wishes, resets and saved state in between. No page is given
 * twice or comes back twice, none below 1 MiB is given; no exit does more than it may, and nothing
 * that was given is forgotten. Or, in its place, a console with three ports: no exit says more than
 * it may, ports that do not exist say nothing, and what is typed is bounded.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "guest/board/pci.h"
#include "guest/devices/virtio/balloon.h"
#include "guest/devices/virtio/console.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/require.h"
#include "tests/unit/mock_board.h"

extern const struct device_class virtio_balloon_class, virtio_console_class;

#define ACTIONS 400
#define BAR     0xc0000000u
#define AT_ONCE 1024u /* pages in one exit */
#define LOW     256u  /* pages below 1 MiB */
#define PORTS   3u
#define SAID    4096u /* bytes in one exit */

static struct board board;
static bool is_console;
static size_t said, room; /* bytes that came out, that are taken */

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    bool console = key[0] == 'c';

    *length = console ? 1 : 3;
    return index || console != is_console ? NULL : console ? "3" : "yes";
}

static size_t put_port(void *context, unsigned port, const void *data, size_t size)
{
    size_t n = MIN(size, room);

    REQUIRE(port < PORTS);
    said += n;
    room -= n;
    return n;
}

/* --- the driver --- */

static void write(struct bus_view *view, uint32_t at, unsigned size, uint64_t value)
{
    unsigned before = board.all_given;

    said = 0;
    bus_mmio_write(&board.bus, view, BAR + at, size, value);
    REQUIRE(said <= SAID);
    REQUIRE(board.all_given <= before + AT_ONCE && before <= board.all_given + AT_ONCE);
}

/* As far as DRIVER_OK, with one queue after the other 1000h apart from 1000h on. */
static void start(struct bus_view *view, uint8_t how)
{
    const uint64_t steps[][3] = {
        {0x14, 1, 0},   {0x14, 1, 3},
        {8, 4, 0},      {12, 4, 1u << 28 | (how & 1u) << 29 | (is_console ? how >> 5 & 3u : 7u)},
        {8, 4, 1},      {12, 4, how & 2 ? 5 : 1},
        {0x14, 1, 0xb},
    };

    bus_port_write(&board.bus, 0xcf8, 4, 0x80000804);
    bus_port_write(&board.bus, 0xcfc, 2, 6);
    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
        write(view, (uint32_t)steps[i][0], (unsigned)steps[i][1], steps[i][2]);
    for (unsigned q = 0; q < 4; q++) {
        write(view, 0x16, 2, q);
        write(view, 0x18, 2, 1u << (how >> 2 & 7));
        write(view, 0x20, 8, 0x1000 * (q + 1));
        write(view, 0x28, 8, 0x1000 * (q + 1) + 0x800);
        write(view, 0x30, 8, 0x1000 * (q + 1) + 0xc00);
        write(view, 0x1c, 2, 1);
    }
    write(view, 0x14, 1, 0xf);
}

static void put(uint64_t at, uint64_t value, unsigned size)
{
    memcpy(board.memory + at % (MOCK_MEMORY - 8), &value, size);
}

/* What its owner does. */
static void own(struct device *d)
{
    struct balloon_state state;
    struct vconsole_port port;

    if (is_console) {
        vconsole_resize(d, next(), next());
        for (unsigned i = next(); i > 0; i--)
            vconsole_type(d, i % PORTS, (uint8_t)i);
        vconsole_look(d, next() % PORTS, &port);
        REQUIRE(port.typed <= 1024);
    } else {
        balloon_set(d, next32());
        balloon_ask(d);
        balloon_look(d, &state);
    }
}

static void act(struct bus_view *view, struct device *d)
{
    static const uint8_t sizes[] = {1, 2, 4, 8};
    uint64_t value;
    uint32_t at;

    switch (next() % 14) {
    case 0:
        start(view, next());
        break;
    case 1:
        write(view, next32() % 0x8000, sizes[next() & 3], next32());
        break;
    case 2:
        bus_mmio_read(&board.bus, view, BAR + next32() % 0x8000, sizes[next() & 3], &value);
        break;
    case 3: /* common configuration, where the most is */
        at = next() & 0x3f;
        write(view, at, sizes[next() & 3], next32());
        break;
    case 4: /* a descriptor */
        at = 0x1000u * (1 + next() % 4) + 16u * (next() % 8);
        put(at, next() % 8 ? 0x5000 + next() * 64u : next32(), 8);
        put(at + 8, next() % 8 ? next() * 64u : next32(), 4);
        put(at + 12, next(), 2);
        put(at + 14, next() % 4 ? next() : next32(), 2);
        break;
    case 5: /* page numbers */
        at = 0x5000u + next() * 64u;
        value = next32() % (2 * MOCK_PAGES);
        for (unsigned i = 0, n = next(); i < n; i++)
            put(at + 4 * i, value + i, 4);
        break;
    case 6: /* the available ring */
        at = 0x1800u + 0x1000u * (next() % 4);
        put(at + next() % 64, next(), 2);
        put(at + 2, board.memory[at + 2] + next() % 4u, 2);
        break;
    case 7:
    case 8:
        write(view, 0x3000 + 4 * (next() % 8), 2, 0);
        break;
    case 9:
        mock_ticks(&board, next() % 4 ? 0 : next32());
        break;
    case 10:
        board.leaving_most = next();
        board.frames = next() % 4 ? next() : 100000;
        board.give_error = next() > 240 ? -EBUSY : 0;
        room = next() % 4 ? next() : 100000;
        break;
    case 11:
        own(d);
        break;
    case 12: /* statistics, or a control message */
        at = 0x5000u + next() * 64u;
        put(at, next() % 10, is_console ? 4 : 2);
        if (is_console)
            put(at + 4, next() % 9u | next() % 3u << 16, 4);
        else
            put(at + 2, next32(), 8);
        break;
    default:
        if (next() > 250) {
            REQUIRE(mock_round_trip(&board));
        } else if (next() > 250) {
            bus_reset(&board.bus);
        } else {
            put(next32(), next32(), 4);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct device_class *const classes[] = {&pci_class, &virtio_balloon_class,
                                                         &virtio_console_class};
    static const struct device_host host = {.line = line, .port_put = put_port};
    struct device_setup s = {.board = &board, .bus = &board.bus, .host = &host};
    struct device_list devices = {0};
    struct bus_view view = {0};
    unsigned given = 0;

    take_input(data, size);
    is_console = next() & 1;
    room = 100000;
    mock_init(&board);
    REQUIRE(device_list_fill(&devices, classes, 3, &s) == 0);
    bus_reset(&board.bus);
    for (unsigned i = 0; i < ACTIONS && left > 0; i++) {
        act(&view, device_list_find(&devices,
                                    is_console ? &virtio_console_class : &virtio_balloon_class, 0));
        REQUIRE(board.leaving == 0);
    }
    for (unsigned i = 0; i < MOCK_PAGES; i++) {
        given += board.given[i];
        REQUIRE(!board.given[i] || i >= LOW);
    }
    REQUIRE(given == board.all_given);
    bus_reset(&board.bus);
    mock_destroy(&board);
    device_list_destroy(&devices);
    return 0;
}
