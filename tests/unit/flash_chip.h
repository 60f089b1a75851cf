/* A board with firmware whose variables are in a flash chip, and what its guest reads and writes.
 */
#pragma once

#include "tests/unit/shown.h"

#define SIZE      0x20000u
#define VARIABLES 0x8000u
#define START     (4 * GIB - SIZE)

extern const struct device_class flash_class;

static struct board board;
static struct device_list list;
static uint8_t file[SIZE];
static struct bus_view view;

/* The file begins with a volume of UEFI variables. */
static void put_volume(void)
{
    static const uint8_t guid[16] = {0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c,
                                     0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50};
    uint64_t length = VARIABLES;

    memcpy(file + 16, guid, sizeof(guid));
    memcpy(file + 32, &length, sizeof(length));
    memcpy(file + 40, "_FVH", 4);
}

/* So many bytes of the file. */
static int plug(uint64_t size, struct store_area *(*variables)(void *context, uint32_t size))
{
    mock_init(&board);
    shown_init(&board);
    board.host.firmware = file;
    board.host.firmware_size = size;
    board.host.variables = variables;
    view = (struct bus_view){0};
    return device_list_add(&list, &flash_class, &board.setup);
}

/* What the guest reads: memory where that stands, else the device is asked. */
static uint8_t read(uint64_t offset)
{
    const struct guest_memory_layer *l = shown_at(START + offset);
    uint64_t value;

    if (l && l->shows == GUEST_LAYER_FRAMES)
        return *(const uint8_t *)phys_to_virt(shown_from(START + offset));
    assert_true(bus_mmio_read(&board.bus, &view, START + offset, 1, &value));
    return (uint8_t)value;
}

static void write(uint64_t offset, uint8_t value)
{
    assert_true(bus_mmio_write(&board.bus, &view, START + offset, 1, value));
}
