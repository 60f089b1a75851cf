/* links: guest/devices/fw_cfg.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/*
 * A hostile guest at the firmware configuration device: any ports, any records. Items are in memory
 * of their own size, so that the sanitizers see a byte too much; state goes round now and then, and
 * what is loaded may be anything.
 */
#include <stdlib.h>
#include <string.h>

#include "guest/devices/fw_cfg.h"
#include "tests/fuzz/require.h"
#include "tests/unit/mock_board.h"

#define ACTIONS 100

static struct board board;
static struct fw_cfg device;

struct input {
    const uint8_t *data;
    size_t size;
};

static uint8_t next(struct input *in)
{
    if (in->size == 0)
        return 0;
    in->size--;
    return *in->data++;
}

static uint32_t next32(struct input *in)
{
    uint32_t v = next(in);

    v |= (uint32_t)next(in) << 8;
    v |= (uint32_t)next(in) << 16;
    return v | (uint32_t)next(in) << 24;
}

static void load_anything(struct input *in)
{
    uint8_t state[10];
    struct state_reader r = {.data = state, .size = sizeof(state), .section_end = sizeof(state)};

    for (unsigned i = 0; i < sizeof(state); i++)
        state[i] = next(in);
    (void)!fw_cfg_class.ops->load(&device.dev, &r);
}

static void act(struct input *in)
{
    static const uint8_t sizes[] = {1, 2, 4};
    uint8_t what = next(in);
    uint16_t port = (uint16_t)(0x50e + (what >> 4));
    unsigned size = sizes[what % 3];

    switch (what >> 2 & 3) {
    case 0:
        (void)bus_port_read(&board.bus, port, size);
        break;
    case 1:
        bus_port_write(&board.bus, port, size, next32(in));
        break;
    case 2: { /* a record somewhere, and its transfer */
        uint32_t at = next32(in) & 0x1ffff, words[4];
        for (unsigned i = 0; i < 4; i++)
            words[i] = next32(in);
        if (at + sizeof(words) <= MOCK_MEMORY)
            memcpy(board.memory + at, words, sizeof(words));
        bus_port_write(&board.bus, 0x518, 4, __builtin_bswap32(at));
        break;
    }
    default:
        if (what & 1)
            REQUIRE(mock_round_trip(&board));
        else
            load_anything(in);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    uint32_t one = next(&in), two = next(&in);
    uint8_t *first = malloc(one ? one : 1), *second = malloc(two ? two : 1);
    const struct fw_cfg_item items[] = {
        {.name = "first", .data = first, .size = one},
        {.name = "second", .data = second, .size = two},
        {.key = FW_CFG_CPUS, .data = first, .size = one < 2 ? one : 2},
    };

    memset(first, 1, one);
    memset(second, 2, two);
    mock_init(&board);
    REQUIRE(device_make(&fw_cfg_class, &device.dev, &board.setup) == 0);
    bus_reset(&board.bus);
    fw_cfg_set(&device, items, ARRAY_SIZE(items));
    for (unsigned i = 0; i < ACTIONS && in.size; i++)
        act(&in);
    mock_destroy(&board);
    free(first);
    free(second);
    return 0;
}
