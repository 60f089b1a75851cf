/* links: guest/devices/vga/vga.c guest/devices/vga/registers.c guest/devices/vga/dispi.c guest/devices/vga/memory.c guest/devices/vga/picture.c guest/devices/vga/edid.c guest/devices/keyboard.c guest/devices/ps2/input.c guest/devices/ps2/keyboard.c guest/devices/ps2/mouse.c guest/devices/ps2/names.c guest/monitor/screen_stream.c guest/board/pci.c arch/x86/lib/format.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/*
 * The graphics card, keyboard and mouse of a VM with a display under a hostile guest: any access to
 * their ports, windows and BARs, wherever these are put, keys typed meanwhile, saved state, and
 * state of anybody's making. Whatever the screen shows has a size in bounds, each of its rows can
 * be drawn, and is sent in no more bytes than there is room for.
 */
#include <stdlib.h>
#include <string.h>

#include "guest/devices/keyboard.h"
#include "guest/devices/ps2/input.h"
#include "guest/devices/vga/vga.h"
#include "guest/monitor/screen_stream.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/require.h"
#include "tests/unit/shown.h"

#define ACTIONS 300
#define STATE   (1u << 20)
#define RELOADS 8 /* one run in so many saves state, once: that looks at all of the memory */
#define CLEARED (1u << 20) /* of the memory's two ends: what is between matters to nobody */

static struct board board;
static struct device_list list;
static struct device *vga, *input_device;
static struct bus_view view;
static bool reloads;

/* Once: its memory takes long to clear. */
static void build(void)
{
    if (vga)
        return;
    mock_init(&board);
    shown_init(&board);
    REQUIRE(device_list_add(&list, &keyboard_class, &board.setup) == 0);
    REQUIRE(device_list_add(&list, &input_class, &board.setup) == 0);
    REQUIRE(device_list_add(&list, &pci_class, &board.setup) == 0);
    REQUIRE(device_list_add(&list, &vga_class, &board.setup) == 0);
    vga = device_list_find(&list, &vga_class, 0);
    input_device = device_list_find(&list, &input_class, 0);
}

static uint16_t port(void)
{
    uint8_t n = next();

    return n < 0x30    ? (uint16_t)(0x3b0 + n)
           : n < 0x80  ? (uint16_t)(0x3c0 + n % 16)
           : n < 0xd0  ? (uint16_t)(0x1ce + n % 3)
           : n < 0xf0  ? (uint16_t)(n % 2 ? 0x60 : 0x64)
           : n == 0xff ? 0xcf8
                       : (uint16_t)(0xcfc + n % 4);
}

/* Somewhere in the windows, behind the BARs as they were first, or anywhere. */
static uint64_t address(void)
{
    uint32_t n = next32();

    switch (next() % 4) {
    case 0:
        return 0xa0000 + n % 0x20008;
    case 1:
        return 0xc1000000 + n % 0x1008;
    case 2:
        return 0xc0000000 + n % (VGA_MEMORY + 8);
    default:
        return n;
    }
}

/* A register of the function's, by its number. */
static void configure(void)
{
    static const uint8_t registers[] = {0x04, 0x10, 0x14, 0x18, 0x1c, 0x30, 0x3c};

    bus_port_write(&board.bus, 0xcf8, 4, 0x80000800 | registers[next() % sizeof(registers)]);
    bus_port_write(&board.bus, 0xcfc, 4, next32());
}

/* What a guest would have there can be written where it shows. */
static void touch(uint64_t gpa)
{
    const struct guest_memory_layer *l = shown_at(gpa);
    volatile uint8_t *byte;

    if (!l || l->shows != GUEST_LAYER_FRAMES)
        return;
    byte = (volatile uint8_t *)shown_from(gpa);
    if (l->writable)
        *byte = (uint8_t)gpa;
    (void)*byte;
}

static void look(void)
{
    static uint8_t row[2][3 * VGA_WIDTH_MAX], record[SCREEN_STREAM_ROW(VGA_WIDTH_MAX)];
    static char text[PICTURE_COLUMNS];
    const struct vga_chip *c = vga_chip_of(vga);
    struct picture p = picture_of(c);

    if (p.kind == PICTURE_BLANK)
        return;
    REQUIRE(p.width > 0 && p.height > 0);
    if (p.kind == PICTURE_TEXT) {
        REQUIRE(p.width <= PICTURE_COLUMNS && p.height <= PICTURE_ROWS);
        for (unsigned y = 0; y < p.height; y++) {
            picture_text(c, &p, y, text);
            for (unsigned x = 0; x < p.width; x++)
                REQUIRE(text[x] >= ' ' && text[x] <= '~');
        }
        return;
    }
    REQUIRE(p.width <= VGA_WIDTH_MAX && p.height <= VGA_HEIGHT_MAX);
    for (unsigned i = 0, y = 0; i < 3; i++, y = i == 2 ? p.height - 1 : next32() % p.height) {
        picture_row(c, &p, y, row[i % 2]);
        REQUIRE(screen_stream_row(record, 1, y, p.width, row[i % 2], row[!(i % 2)]) <=
                SCREEN_STREAM_ROW(p.width));
    }
}

/* Its state comes back; or what has become of it is refused or taken, and does no harm. */
static void reload(bool tampered)
{
    static uint8_t before[STATE], after[STATE];
    struct state_writer w = {.data = before, .capacity = STATE};
    struct state_writer again = {.data = after, .capacity = STATE};

    if (!reloads)
        return;
    reloads = false;
    bus_save(&board.bus, &w);
    if (w.used > w.capacity)
        return;
    for (unsigned i = next() % 8; tampered && i > 0; i--) {
        size_t at = next32() % w.used;
        before[at] = next();
    }
    bus_reset(&board.bus);
    struct state_reader r = {.data = before, .size = w.used};
    if (bus_load(&board.bus, &r) != 0) {
        REQUIRE(tampered);
        bus_reset(&board.bus);
        return;
    }
    bus_save(&board.bus, &again);
    REQUIRE(tampered || (w.used == again.used && memcmp(before, after, w.used) == 0));
}

static void type(void)
{
    uint16_t keys[3];

    for (unsigned i = 0; i < 3; i++)
        keys[i] = (uint16_t)next32();
    (void)!input_type(input_device, keys, next() % 4);
    input_mouse(input_device, (int)next32(), (int)next32(), next() & 7);
}

static void act(void)
{
    unsigned size = 1u << next() % 4;
    uint64_t gpa, value;
    uint16_t at;

    switch (next() % 16) {
    case 0 ... 5:
        at = port();
        bus_port_write(&board.bus, at, MIN(size, 4u), next32());
        break;
    case 6:
        (void)bus_port_read(&board.bus, port(), MIN(size, 4u));
        break;
    case 7 ... 8:
        gpa = address();
        (void)bus_mmio_write(&board.bus, &view, gpa, size, next32() * UINT64_C(0x100000001));
        break;
    case 9:
        (void)bus_mmio_read(&board.bus, &view, address(), size, &value);
        break;
    case 10:
        configure();
        break;
    case 11:
        touch(address());
        break;
    case 12:
        board.now += next32();
        bus_run_timers(&board.bus, board.now);
        break;
    case 13:
        type();
        break;
    case 14:
        reload(next() % 2);
        break;
    default:
        look();
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    take_input(data, size);
    build();
    reloads = size % RELOADS == 0;
    memset(vga_chip_of(vga)->memory, 0, CLEARED);
    memset(vga_chip_of(vga)->memory + VGA_MEMORY - CLEARED, 0, CLEARED);
    memset(vga_chip_of(vga)->text, 0, VGA_TEXT);
    bus_reset(&board.bus);
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000804);
    bus_port_write(&board.bus, 0xcfc, 4, 2);
    for (unsigned i = 0; i < ACTIONS && left > 0; i++)
        act();
    look();
    return 0;
}
