/* links: guest/vm/screen_begin.c guest/devices/vga/vga.c guest/devices/vga/registers.c guest/devices/vga/dispi.c guest/devices/vga/memory.c guest/devices/vga/picture.c guest/devices/vga/edid.c guest/board/pci.c arch/x86/lib/format.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* The graphics card as its drivers see it: ports, windows, the Bochs display, what is on the
 * screen. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/devices/vga/vga.h"
#include "guest/vm/screen_begin.h"
#include "tests/unit/shown.h"
#include "tests/unit/vga_modes.h"

#define DEVICE 1 /* of PCI */

static struct board board;
static struct device_list list;
static struct bus_view view;
static struct device *vga;

static int setup(void **state)
{
    mock_init(&board);
    shown_init(&board);
    view = (struct bus_view){0};
    board.setup.text = "vga";
    board.setup.length = 3;
    assert_int_equal(device_list_add(&list, &pci_class, &board.setup), 0);
    assert_int_equal(device_list_add(&list, &vga_class, &board.setup), 0);
    vga = device_list_find(&list, &vga_class, 0);
    bus_reset(&board.bus);
    return 0;
}

static bool same_layers(const struct guest_memory_layer *before, unsigned count)
{
    bool same = shown_count == count;

    for (unsigned i = 0; i < count && same; i++)
        same = shown[i].gpa == before[i].gpa && shown[i].size == before[i].size &&
               shown[i].from == before[i].from && shown[i].shows == before[i].shows &&
               shown[i].writable == before[i].writable;
    return same;
}

static int teardown(void **state)
{
    struct guest_memory_layer before[GUEST_MEMORY_LAYERS];
    unsigned count = shown_count;

    memcpy(before, shown, sizeof(before));
    assert_true(mock_round_trip(&board));
    assert_true(same_layers(before, count));
    mock_destroy(&board);
    device_list_destroy(&list);
    assert_int_equal(shown_runs, 0);
    return 0;
}

static void out16(uint16_t port, uint16_t value)
{
    bus_port_write(&board.bus, port, 2, value);
}

static void dispi(unsigned index, uint16_t value)
{
    out16(0x1ce, (uint16_t)index);
    out16(0x1cf, value);
}

static uint16_t dispi_get(unsigned index)
{
    out16(0x1ce, (uint16_t)index);
    return (uint16_t)bus_port_read(&board.bus, 0x1cf, 2);
}

static uint32_t config(unsigned reg)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000000 | DEVICE << 11 | reg);
    return bus_port_read(&board.bus, 0xcfc, 4);
}

static void set_config(unsigned reg, uint32_t value)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000000 | DEVICE << 11 | reg);
    bus_port_write(&board.bus, 0xcfc, 4, value);
}

static uint64_t read_at(uint64_t gpa, unsigned size)
{
    uint64_t value;

    assert_true(bus_mmio_read(&board.bus, &view, gpa, size, &value));
    return value;
}

static void write_at(uint64_t gpa, unsigned size, uint64_t value)
{
    assert_true(bus_mmio_write(&board.bus, &view, gpa, size, value));
}

static uint8_t *memory(void)
{
    return vga_chip_of(vga)->memory;
}

/* Registers as a list of modes has them, by ports. */
static void set_mode(const struct vga_mode *m)
{
    mock_out(&board, 0x3c2, m->misc);
    for (unsigned i = 0; i < VGA_SEQUENCER; i++)
        out16(0x3c4, (uint16_t)(i | m->sequencer[i] << 8));
    out16(0x3d4, 0x0011);
    for (unsigned i = 0; i < VGA_CRTC; i++)
        out16(0x3d4, (uint16_t)(i | m->crtc[i] << 8));
    for (unsigned i = 0; i < VGA_GRAPHICS; i++)
        out16(0x3ce, (uint16_t)(i | m->graphics[i] << 8));
    (void)mock_in(&board, 0x3da);
    for (unsigned i = 0; i < VGA_ATTRIBUTE; i++) {
        mock_out(&board, 0x3c0, (uint8_t)i);
        mock_out(&board, 0x3c0, m->attribute[i]);
    }
    mock_out(&board, 0x3c0, 0x20);
}

/* --- the function --- */

static void is_a_vga_on_pci(void **state)
{
    assert_int_equal(config(0x00), 0x11111234);
    assert_int_equal(config(0x08), 0x03000002);
    assert_int_equal(config(0x2c), 0x11001af4);
    set_config(0x10, UINT32_MAX);
    assert_int_equal(config(0x10), 0xff000008);
    set_config(0x18, UINT32_MAX);
    assert_int_equal(config(0x18), 0xfffff000);
    assert_int_equal(config(0x14), 0);
    assert_int_equal(config(0x1c), 0);
}

/* The frame buffer is memory of the card's wherever it is, and shows nothing where RAM would lie
 * over it: it is below. */
static void the_frame_buffer_is_memory(void **state)
{
    const struct guest_memory_layer *l;

    set_config(0x10, 0xd0000000);
    assert_null(shown_at(0xd0000000));
    set_config(0x04, 2);
    l = shown_at(0xd0000000);
    assert_non_null(l);
    assert_true(l->gpa == 0xd0000000 && l->size == 16 * MIB && l->writable && !l->over_ram);
    assert_int_equal(l->shows, GUEST_LAYER_FRAMES);
    assert_ptr_equal((void *)shown_from(0xd0001000), memory() + 0x1000);
    set_config(0x10, 0x01000000); /* RAM: nothing lies over that */
    assert_null(shown_at(0xd0000000));
    assert_false(shown_at(0x01000000)->over_ram);
    set_config(0x10, 0xff000000); /* over everything that a board has there */
    set_config(0x10, 0);
    assert_null(shown_at(0));
    set_config(0x04, 0);
}

static void registers_are_in_memory(void **state)
{
    uint8_t sum = 0;

    set_config(0x18, 0xd1000000);
    set_config(0x04, 2);
    for (unsigned i = 0; i < 128; i++)
        sum += (uint8_t)read_at(0xd1000000 + i, 1);
    assert_int_equal(sum, 0);
    assert_int_equal(read_at(0xd1000000, 8), 0x00ffffffffffff00);
    assert_int_equal(read_at(0xd1000036, 2), 6500); /* 1024x768 comes first */
    assert_int_equal(read_at(0xd1000080, 4), 0);
    write_at(0xd1000500, 2, 0xb0c2);
    assert_int_equal(read_at(0xd1000500, 2), 0xb0c2);
    assert_int_equal(dispi_get(DISPI_ID), 0xb0c2);
    write_at(0xd1000502, 2, 800);
    write_at(0xd1000504, 4, 600 | 32 << 16);
    assert_int_equal(dispi_get(DISPI_WIDTH), 800);
    assert_int_equal(dispi_get(DISPI_HEIGHT), 600);
    assert_int_equal(dispi_get(DISPI_BITS), 32);
    assert_int_equal(read_at(0xd1000514, 2), 256);
    write_at(0xd1000402, 1, 0x67); /* 3C2h */
    assert_int_equal(read_at(0xd100040c, 1), 0x67);
    assert_int_equal(mock_in(&board, 0x3cc), 0x67);
    assert_int_equal(read_at(0xd1000600, 4), 8);
    assert_int_equal(read_at(0xd1000604, 4), 0x1e1e1e1e);
    assert_int_equal(read_at(0xd1000ffc, 4), UINT32_MAX);
    for (unsigned i = 0; i < 0x1000; i += 8) { /* whatever is written, wherever */
        (void)read_at(0xd1000000 + i, 8);
        write_at(0xd1000000 + i, 8, UINT64_MAX);
    }
    for (unsigned i = 0; i < 0xff9; i += 7)
        write_at(0xd1000000 + i, 7, 0);
    bus_reset(&board.bus);
}

/* --- the ports --- */

static void ports_keep_what_they_get(void **state)
{
    mock_out(&board, 0x3c2, 0x67);
    assert_int_equal(mock_in(&board, 0x3cc), 0x67);
    out16(0x3c4, 0x0f02);
    assert_int_equal(mock_in(&board, 0x3c5), 0x0f);
    out16(0x3c4, 0xff09);
    assert_int_equal(mock_in(&board, 0x3c5), 0);
    out16(0x3d4, 0x2a13);
    assert_int_equal(mock_in(&board, 0x3d5), 0x2a);
    out16(0x3d4, 0x8011); /* protects the first eight, */
    out16(0x3d4, 0x5500);
    assert_int_equal(mock_in(&board, 0x3d5), 0);
    out16(0x3d4, 0xff07); /* but for one bit */
    assert_int_equal(mock_in(&board, 0x3d5), 0x10);
    assert_int_equal(mock_in(&board, 0x3b5), 0xff);
    mock_out(&board, 0x3c2, 0x66); /* monochrome */
    mock_out(&board, 0x3b4, 0x13);
    assert_int_equal(mock_in(&board, 0x3b5), 0x2a);
    assert_int_equal(mock_in(&board, 0x3d5), 0xff);
    mock_out(&board, 0x3c8, 1);
    for (unsigned i = 0; i < 6; i++)
        mock_out(&board, 0x3c9, (uint8_t)(0xc0 | i));
    assert_int_equal(mock_in(&board, 0x3c8), 3);
    mock_out(&board, 0x3c7, 1);
    assert_int_equal(mock_in(&board, 0x3c7), 3);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(mock_in(&board, 0x3c9), i);
    (void)mock_in(&board, 0x3ba);
    mock_out(&board, 0x3c0, 0x12);
    mock_out(&board, 0x3c0, 0x0f);
    mock_out(&board, 0x3c0, 0x32);
    assert_int_equal(mock_in(&board, 0x3c1), 0x0f);
    assert_int_equal(mock_in(&board, 0x3c0), 0x32);
    (void)mock_in(&board, 0x3ba);
    mock_out(&board, 0x3c0, 0x11);
    assert_int_equal(mock_in(&board, 0x3c0), 0x11);
}

/* Who waits for the retrace sees it come and go. */
static void the_beam_moves(void **state)
{
    unsigned changes = 0, retraces = 0;
    uint8_t before = 0;

    mock_out(&board, 0x3c2, 1);
    for (unsigned i = 0; i < 100000; i += 7) {
        uint8_t now = mock_in(&board, 0x3da);
        changes += now != before;
        retraces += (now & 8) && !(before & 8);
        before = now;
        mock_microseconds(&board, 7);
    }
    assert_true(retraces == 6 || retraces == 7);
    assert_true(changes > 100);
}

/* --- the windows --- */

static uint8_t *shown_bytes(uint64_t gpa)
{
    const struct guest_memory_layer *l = shown_at(gpa);

    return l && l->shows == GUEST_LAYER_FRAMES && l->writable ? (uint8_t *)shown_from(gpa) : NULL;
}

/* As vgabios puts its letters into plane 2. */
static void load_font(void)
{
    out16(0x3c4, 0x0402);
    out16(0x3c4, 0x0704);
    out16(0x3ce, 0x0204);
    out16(0x3ce, 0x0005);
    out16(0x3ce, 0x0406);
    assert_null(shown_bytes(0xa0000));
    for (unsigned i = 0; i < 8192; i++)
        write_at(0xa0000 + i, 1, i);
    assert_int_equal(read_at(0xa0000 + 77, 1), 77);
    out16(0x3c4, 0x0302);
    out16(0x3c4, 0x0304);
    out16(0x3ce, 0x0004);
    out16(0x3ce, 0x1005);
    out16(0x3ce, 0x0e06);
}

static void expect_text(const char *text, unsigned row)
{
    struct picture p = picture_of(vga_chip_of(vga));
    char out[PICTURE_COLUMNS + 1] = "";

    assert_int_equal(p.kind, PICTURE_TEXT);
    assert_int_equal(p.width, 80);
    assert_int_equal(p.height, 25);
    picture_text(vga_chip_of(vga), &p, row, out);
    out[strlen(text)] = '\0';
    assert_string_equal(out, text);
}

static void text_is_memory(void **state)
{
    static const char words[] = "Corbel\xb3\xc4\xdb ok";
    uint8_t *cells;

    assert_null(shown_bytes(0xb8000));
    assert_int_equal(picture_of(vga_chip_of(vga)).kind, PICTURE_BLANK);
    set_mode(&vga_text_mode);
    cells = shown_bytes(0xb8000);
    assert_non_null(cells);
    assert_null(shown_bytes(0xb0000));
    assert_ptr_equal(shown_bytes(0xbf000), cells + 0x7000);
    for (unsigned i = 0; i < sizeof(words) - 1; i++) {
        cells[2 * (80 * 2 + i)] = (uint8_t)words[i];
        cells[2 * (80 * 2 + i) + 1] = 7;
    }
    expect_text("Corbel|-# ok", 2);
    assert_true(mock_round_trip(&board));
    expect_text("Corbel|-# ok", 2);
    load_font(); /* what is in the other planes stays */
    assert_ptr_equal(shown_bytes(0xb8000), cells);
    assert_int_equal(cells[2 * 80 * 2], 'C');
    expect_text("Corbel|-# ok", 2);
    assert_int_equal(memory()[4 * 77 + 2], 77);
    out16(0x3d4, 80 * 2 << 8 | 0x0d); /* the screen begins with the third row */
    expect_text("Corbel|-# ok", 0);
    out16(0x3d4, 0x3f0c); /* or at the end of the memory: it is round */
    out16(0x3d4, 0xb00d);
    expect_text("Corbel|-# ok", 3);
    (void)mock_in(&board, 0x3da);
    mock_out(&board, 0x3c0, 0); /* off */
    assert_int_equal(picture_of(vga_chip_of(vga)).kind, PICTURE_BLANK);
}

/* What was text is not to be seen when points begin. */
static void points_begin_black(void **state)
{
    set_mode(&vga_text_mode);
    memset(shown_bytes(0xb8000), 0x77, VGA_TEXT);
    dispi(DISPI_WIDTH, 640);
    dispi(DISPI_HEIGHT, 480);
    dispi(DISPI_BITS, 8);
    dispi(DISPI_ENABLE, DISPI_ON);
    for (unsigned i = 0; i < 640 * 480; i++)
        assert_int_equal(memory()[i], 0);
    dispi(DISPI_ENABLE, 0);
}

/* Planes 0 and 1 hold the same letters, however one looks. */
static void text_is_in_the_planes(void **state)
{
    uint8_t *cells;

    set_mode(&vga_text_mode);
    cells = shown_bytes(0xb8000);
    for (unsigned i = 0; i < VGA_TEXT; i++)
        cells[i] = (uint8_t)(i * 7 + (i >> 8));
    out16(0x3c4, 0x0704); /* no odd and even */
    out16(0x3ce, 0x0005);
    out16(0x3ce, 0x0406);
    for (unsigned p = 0; p < 2; p++) {
        out16(0x3ce, (uint16_t)(p << 8 | 4));
        for (unsigned i = 0; i < VGA_TEXT; i += 2)
            assert_int_equal(read_at(0xa0000 + i, 1), (uint8_t)((i + p) * 7 + (i >> 8)));
    }
    out16(0x3c4, 0x0202); /* plane 1 */
    write_at(0xa0010, 1, 0x5a);
    out16(0x3c4, 0x0302);
    out16(0x3c4, 0x0304);
    out16(0x3ce, 0x0004);
    out16(0x3ce, 0x1005);
    out16(0x3ce, 0x0e06);
    assert_ptr_equal(shown_bytes(0xb8000), cells);
    assert_int_equal(cells[0x11], 0x5a);
    assert_int_equal(cells[0x10], (uint8_t)(0x10 * 7));
    out16(0x3ce, 0x0a06); /* at B0000h */
    assert_null(shown_bytes(0xb8000));
    assert_ptr_equal(shown_bytes(0xb0000), cells);
    assert_int_equal(cells[0x11], 0x5a);
    assert_int_equal(read_at(0xb8000, 1), 0xff); /* no window is there */
    write_at(0xb8000, 4, 0);
    memset(memory(), 0, VGA_MEMORY);
    memset(vga_chip_of(vga)->text, 0, VGA_TEXT);
}

static void chained_planes_are_memory(void **state)
{
    set_mode(&vga_256_mode);
    assert_ptr_equal(shown_bytes(0xa0000), memory());
    assert_null(shown_bytes(0xb0000));
    out16(0x3ce, 0x0f08); /* not through a mask */
    assert_null(shown_bytes(0xa0000));
    out16(0x3ce, 0xff08);
    assert_ptr_equal(shown_bytes(0xa0000), memory());
    mock_out(&board, 0x3c2, 0x61); /* its memory is off */
    assert_null(shown_bytes(0xa0000));
    assert_int_equal(read_at(0xa0000, 4), UINT32_MAX);
}

/* --- the data path, bit by bit --- */

static uint32_t seed = 1;

static unsigned random_below(unsigned n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

static unsigned bit_of(unsigned value, unsigned i)
{
    return value >> i & 1;
}

static unsigned function_of(unsigned f, unsigned a, unsigned b)
{
    return f == 0 ? a : f == 1 ? (a && b) : f == 2 ? (a || b) : a != b;
}

/* Bit i of plane p after a write of `value`, where it was old and the latch's is l. */
static unsigned model_bit(const uint8_t *g, unsigned p, unsigned i, unsigned value, unsigned l)
{
    unsigned mode = g[5] & 3, mask = bit_of(g[8], i);
    unsigned turned = bit_of(value, (i + (g[3] & 7)) % 8), set = bit_of(g[0], p), from;

    if (mode == 1)
        return l;
    if (mode == 0)
        from = bit_of(g[1], p) ? set : turned;
    else if (mode == 2)
        from = bit_of(value, p);
    else
        from = set;
    if (mode == 3)
        mask = mask && turned;
    return mask ? function_of(g[3] >> 3 & 3, from, l) : l;
}

static void the_data_path_is_the_models(void **state)
{
    static uint8_t bytes[VGA_MEMORY], planes[4][VGA_BANK];
    struct vga_chip c = {.memory = bytes, .misc = 3};
    uint8_t latch[4] = {0};

    c.graphics[6] = 4;
    for (unsigned n = 0; n < 200000; n++) {
        uint32_t at = random_below(16);
        unsigned value = random_below(256), mask = c.sequencer[2];

        switch (random_below(4)) {
        case 0:
            c.graphics[random_below(9)] = (uint8_t)random_below(256);
            c.graphics[6] = 4;
            c.graphics[5] &= ~0x10;
            break;
        case 1:
            c.sequencer[2] = (uint8_t)random_below(16);
            c.sequencer[4] = random_below(3) ? 4 : 0; /* or addresses are odd and even */
            break;
        case 2: {
            unsigned same = 0xff;

            for (unsigned p = 0; p < 4; p++) {
                latch[p] = planes[p][at];
                if (bit_of(c.graphics[7], p))
                    same &= ~(latch[p] ^ (bit_of(c.graphics[2], p) ? 0xff : 0));
            }
            assert_int_equal(vga_memory_read(&c, at),
                             c.graphics[5] & 8 ? same : latch[c.graphics[4] & 3]);
            break;
        }
        default:
            vga_memory_write(&c, at, (uint8_t)value);
            if (!(c.sequencer[4] & 4)) {
                mask &= at & 1 ? 10 : 5;
                at &= ~1u;
            }
            for (unsigned p = 0; p < 4; p++) {
                unsigned byte = 0;
                for (unsigned i = 0; i < 8; i++)
                    byte |= model_bit(c.graphics, p, i, value, bit_of(latch[p], i)) << i;
                if (bit_of(mask, p))
                    planes[p][at] = (uint8_t)byte;
            }
            break;
        }
        for (unsigned p = 0; p < 4; p++)
            for (unsigned a = 0; a < 16; a++)
                assert_int_equal(bytes[4 * a + p], planes[p][a]);
    }
}

/* --- the Bochs display --- */

static void the_display_says_what_it_can(void **state)
{
    assert_int_equal(dispi_get(DISPI_ID), 0xb0c5);
    dispi(DISPI_ID, 0xb0c0);
    assert_int_equal(dispi_get(DISPI_ID), 0xb0c0);
    dispi(DISPI_ID, 0xb0c6);
    dispi(DISPI_ID, 0);
    assert_int_equal(dispi_get(DISPI_ID), 0xb0c0);
    assert_int_equal(dispi_get(DISPI_MEMORY), 256);
    dispi(DISPI_ENABLE, DISPI_MOST);
    assert_int_equal(dispi_get(DISPI_WIDTH), 2560);
    assert_int_equal(dispi_get(DISPI_HEIGHT), 2048);
    assert_int_equal(dispi_get(DISPI_BITS), 32);
    dispi(DISPI_ENABLE, 0);
    assert_int_equal(dispi_get(DISPI_WIDTH), 0);
    assert_int_equal(dispi_get(11), 0);
    dispi(11, 5);
    dispi(0xffff, 5);
    assert_int_equal(dispi_get(0xffff), 0);
}

static void mode(unsigned width, unsigned height, unsigned bits, unsigned flags)
{
    dispi(DISPI_ENABLE, 0);
    dispi(DISPI_WIDTH, (uint16_t)width);
    dispi(DISPI_HEIGHT, (uint16_t)height);
    dispi(DISPI_BITS, (uint16_t)bits);
    dispi(DISPI_ENABLE, (uint16_t)(DISPI_ON | DISPI_LINEAR | flags));
    mock_out(&board, 0x3c2, 0x67);
    (void)mock_in(&board, 0x3da);
    mock_out(&board, 0x3c0, 0x20);
}

static void expect_shape(unsigned width, unsigned height)
{
    struct picture p = picture_of(vga_chip_of(vga));

    assert_int_equal(p.kind, PICTURE_PIXELS);
    assert_int_equal(p.width, width);
    assert_int_equal(p.height, height);
}

static void expect_point(unsigned x, unsigned y, uint32_t rgb)
{
    struct picture p = picture_of(vga_chip_of(vga));
    uint8_t *row = malloc((size_t)p.width * 3); /* to the byte, so that who writes more is seen */

    picture_row(vga_chip_of(vga), &p, y, row);
    assert_int_equal(row[3 * x] << 16 | row[3 * x + 1] << 8 | row[3 * x + 2], rgb);
    free(row);
}

static void modes_have_their_points(void **state)
{
    uint8_t *m = memory();

    memset(m, 0xee, 1 << 20);
    mode(640, 480, 32, 0);
    expect_shape(640, 480);
    assert_int_equal(m[640 * 480 * 4 - 1], 0);
    memcpy(m + (640 * 100 + 3) * 4, "\x11\x22\x33", 3);
    expect_point(3, 100, 0x332211);
    mode(640, 480, 24, DISPI_NO_CLEAR);
    memcpy(m + (640 * 100 + 3) * 3, "\x44\x55\x66", 3);
    expect_point(3, 100, 0x665544);
    mode(640, 480, 16, 0);
    memcpy(m + (640 * 479 + 639) * 2, "\x1f\xf8", 2);
    expect_point(639, 479, 0xff00ff);
    mode(640, 480, 15, 0);
    memcpy(m + (640 * 2 + 1) * 2, "\xe0\x03", 2);
    expect_point(1, 2, 0x00ff00);
    mode(640, 480, 8, 0);
    mock_out(&board, 0x3c8, 9);
    for (unsigned i = 1; i < 4; i++)
        mock_out(&board, 0x3c9, (uint8_t)(i * 0x10));
    m[640 * 5] = 9;
    expect_point(0, 5, 0x4182c3);
    mode(640, 480, 8, DISPI_DAC_8);
    mock_out(&board, 0x3c8, 9);
    for (unsigned i = 1; i < 4; i++)
        mock_out(&board, 0x3c9, (uint8_t)(i * 0x40));
    m[640 * 5] = 9;
    expect_point(0, 5, 0x4080c0);
    dispi(DISPI_ENABLE, DISPI_ON);
    dispi(DISPI_VIRTUAL_WIDTH, 1024); /* a wider picture, of which the screen is a part */
    dispi(DISPI_X, 17);
    dispi(DISPI_Y, 7);
    m[1024 * 8 + 17 + 2] = 9;
    mock_out(&board, 0x3c8, 9);
    for (unsigned i = 0; i < 3; i++)
        mock_out(&board, 0x3c9, 0x3f);
    expect_point(2, 1, 0xffffff);
    expect_point(1, 1, 0);
}

static void what_cannot_be_is_brought_into_range(void **state)
{
    mode(1, 1, 32, 0);
    expect_shape(8, 1);
    assert_int_equal(dispi_get(DISPI_WIDTH), 8);
    mode(32000, 32000, 32, 0);
    expect_shape(2560, VGA_MEMORY / (2560 * 4));
    expect_point(2559, VGA_MEMORY / (2560 * 4) - 1, 0);
    dispi(DISPI_VIRTUAL_WIDTH, 0xffff); /* so wide that memory has few rows */
    expect_shape(2560, VGA_MEMORY / (16000 * 4));
    expect_point(2559, VGA_MEMORY / (16000 * 4) - 1, 0);
    for (unsigned bits = 0; bits < 40; bits++) {
        unsigned rows = bits == 32 ? VGA_MEMORY / (2560 * 4) : 2048;

        mode(0xffff, 0xffff, bits, 0);
        dispi(DISPI_X, 0xffff);
        dispi(DISPI_Y, 0xffff);
        expect_shape(2560, rows);
        expect_point(2559, rows - 1, 0);
        dispi(DISPI_Y, 0);
        expect_point(2559, rows - 1, 0);
    }
    mode(2048, 2048, 32, 0); /* the largest of OVMF's */
    expect_shape(2048, 2048);
    mode(0, 0, 0, 0);
    expect_shape(8, 1);
    memset(memory() + VGA_MEMORY - 64, 0x77, 64);
    mode(64, 64, 32, DISPI_NO_CLEAR); /* the start is as far behind as can be, and one further */
    dispi(DISPI_Y, VGA_MEMORY / 256 - 64 > 0xffff ? 0xffff : VGA_MEMORY / 256 - 64);
    expect_point(63, 63, 0x777777);
    dispi(DISPI_Y, 0xffff);
    expect_point(63, 63, 0);
    memset(memory(), 0, VGA_MEMORY);
}

static void the_window_shows_a_bank(void **state)
{
    mode(1024, 768, 32, 0);
    assert_ptr_equal(shown_bytes(0xa0000), memory());
    dispi(DISPI_BANK, 3);
    assert_ptr_equal(shown_bytes(0xa0000), memory() + 3 * VGA_BANK);
    dispi(DISPI_BANK, 0xffff);
    assert_ptr_equal(shown_bytes(0xaf000), memory() + VGA_MEMORY - 0x1000);
    assert_null(shown_bytes(0xb8000));
    mode(800, 600, 4, 0); /* planes */
    assert_null(shown_bytes(0xa0000));
    dispi(DISPI_BANK, 0xffff);
    out16(0x3c4, 0x0f02);
    out16(0x3c4, 0x0604);
    out16(0x3ce, 0xff08);
    for (unsigned i = 0; i < VGA_BANK; i += 4096) {
        write_at(0xa0000 + i, 8, UINT64_MAX);
        assert_int_equal(read_at(0xa0000 + i, 8), UINT64_MAX);
    }
    dispi(DISPI_ENABLE, 0);
    assert_null(shown_bytes(0xa0000));
    memset(memory(), 0, VGA_MEMORY);
}

/* --- the VGA's own modes --- */

static void set_colours(void)
{
    mock_out(&board, 0x3c6, 0xff);
    mock_out(&board, 0x3c8, 0);
    for (unsigned i = 0; i < 768; i++)
        mock_out(&board, 0x3c9, i % 3 == 0 ? (uint8_t)(i / 3 % 64) : 0);
}

#define RED(n) ((uint32_t)((n) << 2 | (n) >> 4) << 16)

static void planes_have_their_points(void **state)
{
    set_mode(&vga_16_mode);
    set_colours();
    expect_shape(640, 480);
    for (unsigned p = 0; p < 4; p++) {
        out16(0x3c4, (uint16_t)(1u << p << 8 | 2));
        write_at(0xa0000 + 80 * 9 + 1, 1, p == 1 ? 0 : 0x20); /* colour 13 */
    }
    expect_point(10, 9, RED(13));
    expect_point(11, 9, 0);
    out16(0x3d4, 0x500d); /* a row later */
    expect_point(10, 8, RED(13));
    out16(0x3d4, 0xff0c); /* the memory is round */
    expect_point(0, 479, 0);
}

static void bytes_have_their_points(void **state)
{
    set_mode(&vga_256_mode);
    set_colours();
    expect_shape(320, 200);
    shown_bytes(0xa0000)[320 * 150 + 20] = 33;
    expect_point(20, 150, RED(33));
    out16(0x3c4, 0x0604); /* unchained, as games have it: the same planes, one byte after another */
    out16(0x3d4, 0x0014);
    out16(0x3d4, 0xe317);
    expect_point(20, 150, RED(33));
    out16(0x3c4, 0x0202);
    write_at(0xa0000 + (320 * 10 + 21) / 4, 1, 7);
    expect_point(21, 10, RED(7));
}

static void a_cgas_rows_are_apart(void **state)
{
    set_mode(&vga_cga_mode);
    set_colours();
    expect_shape(320, 200);
    assert_non_null(shown_bytes(0xb8000));            /* two planes, as text has them */
    shown_bytes(0xb8000)[0x2000 + 80 * 4 + 1] = 0x1b; /* row 9: colours 0, 1, 2, 3 */
    for (unsigned i = 0; i < 4; i++)
        expect_point(4 + i, 9, RED(i));
    expect_point(7, 8, 0);
}

/* The mode that is nearest to what a kernel asks for, its memory where it can be written to. */
static void a_kernel_gets_its_screen(void **state)
{
    static const struct {
        uint32_t width, height, got_width, got_height, pitch;
        uint8_t depth, got_depth;
    } all[] = {
        {1024, 768, 1024, 768, 4096, 32, 32},
        {640, 480, 640, 480, 1280, 16, 16},
        {803, 600, 800, 600, 2400, 24, 24},
        {UINT32_MAX, UINT32_MAX, 2560, 1638, 10240, 32, 32},
        {65536 + 640, 1, 2560, 1, 5120, 15, 15},
    };

    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        struct guest_screen s = {
            .width = all[i].width, .height = all[i].height, .depth = all[i].depth};
        struct picture p;

        screen_begin(&board.bus, &s);
        p = picture_of(vga_chip_of(vga));
        assert_int_equal(p.kind, PICTURE_PIXELS);
        assert_int_equal(p.width, all[i].got_width);
        assert_int_equal(p.height, all[i].got_height);
        assert_int_equal(s.width, all[i].got_width);
        assert_int_equal(s.height, all[i].got_height);
        assert_int_equal(s.depth, all[i].got_depth);
        assert_int_equal(s.pitch, all[i].pitch);
        assert_int_equal(s.gpa, config(0x10) & ~0xfu);
        assert_int_equal(config(4) & 3, 3);
        bool there = false;
        for (unsigned j = 0; j < shown_count; j++)
            there |= shown[j].gpa == s.gpa && shown[j].writable;
        assert_true(there);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_a_vga_on_pci, setup, teardown),
        cmocka_unit_test_setup_teardown(the_frame_buffer_is_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(registers_are_in_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(ports_keep_what_they_get, setup, teardown),
        cmocka_unit_test_setup_teardown(the_beam_moves, setup, teardown),
        cmocka_unit_test_setup_teardown(text_is_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(points_begin_black, setup, teardown),
        cmocka_unit_test_setup_teardown(text_is_in_the_planes, setup, teardown),
        cmocka_unit_test_setup_teardown(chained_planes_are_memory, setup, teardown),
        cmocka_unit_test(the_data_path_is_the_models),
        cmocka_unit_test_setup_teardown(the_display_says_what_it_can, setup, teardown),
        cmocka_unit_test_setup_teardown(modes_have_their_points, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_is_brought_into_range, setup, teardown),
        cmocka_unit_test_setup_teardown(the_window_shows_a_bank, setup, teardown),
        cmocka_unit_test_setup_teardown(planes_have_their_points, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_have_their_points, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cgas_rows_are_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kernel_gets_its_screen, setup, teardown),
    };

    return cmocka_run_group_tests_name("vga", tests, NULL, NULL);
}
