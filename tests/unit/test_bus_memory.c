/* links: guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* The bus: ranges that move, and what memory they show. */
#include "tests/unit/bus_probe.h"

/* --- ranges that move --- */

static struct bus_range ranges[12]; /* which live as long as the bus */

static struct bus_range *movable(unsigned n, struct probe *p, enum bus_space space, uint64_t size)
{
    ranges[n] = (struct bus_range){.device = &p->dev, .space = (uint8_t)space, .size = size};
    return &ranges[n];
}

static void a_range_moves(void **state)
{
    struct bus_range *ports = movable(0, &a, BUS_PORTS, 8);
    struct bus_range *memory = movable(1, &a, BUS_MEMORY, 0x100);
    uint64_t value;

    assert_int_equal(bus_add_range(&board.bus, ports), 0);
    assert_int_equal(bus_add_range(&board.bus, memory), 0);
    assert_int_equal(bus_port_read(&board.bus, 0, 1), 0xff); /* it is nowhere yet */
    assert_false(bus_mmio_read(&board.bus, &view, 0, 1, &value));
    assert_int_equal(bus_place(&board.bus, ports, 0x2fc), 0);
    assert_int_equal(bus_port_read(&board.bus, 0x2fc, 4), 0x0f0e0d0c);
    assert_int_equal(bus_port_read(&board.bus, 0x303, 1), 0x13);
    assert_int_equal(bus_place(&board.bus, ports, 0x300), 0); /* over a part of where it was */
    assert_int_equal(bus_port_read(&board.bus, 0x2ff, 1), 0xff);
    assert_int_equal(bus_port_read(&board.bus, 0x307, 1), 0x17);
    bus_withdraw(&board.bus, ports);
    bus_withdraw(&board.bus, ports);
    assert_int_equal(bus_port_read(&board.bus, 0x300, 1), 0xff);

    assert_int_equal(bus_place(&board.bus, memory, 0xe0000000), 0);
    assert_true(bus_mmio_read(&board.bus, &view, 0xe0000010, 1, &value));
    assert_true(bus_view_covers(&board.bus, &view, 0xe00000ff));
    assert_int_equal(bus_place(&board.bus, memory, 0xe0000000), 0); /* no change */
    assert_true(bus_view_covers(&board.bus, &view, 0xe00000ff));
    assert_int_equal(bus_place(&board.bus, memory, 0xe0000080), 0);
    assert_false(bus_view_covers(&board.bus, &view, 0xe00000ff)); /* what was found is stale */
    assert_false(bus_mmio_read(&board.bus, &view, 0xe0000010, 1, &value));
    assert_true(bus_mmio_write(&board.bus, &view, 0xe0000090, 1, 5));
    assert_int_equal(a.where, 0x10);
    bus_withdraw(&board.bus, memory);
    assert_false(bus_mmio_write(&board.bus, &view, 0xe0000090, 1, 5));
}

static void a_range_does_not_go_everywhere(void **state)
{
    struct bus_range *ports = movable(0, &a, BUS_PORTS, 8);
    struct bus_range *memory = movable(1, &a, BUS_MEMORY, 0x1000);
    uint64_t value;

    assert_int_equal(bus_add_range(&board.bus, movable(2, &a, BUS_MEMORY, 0)), -EINVAL);
    assert_int_equal(bus_add_range(&board.bus, movable(3, &a, BUS_PORTS, 0x10001)), -EINVAL);
    assert_int_equal(bus_add_range(&board.bus, ports), 0);
    assert_int_equal(bus_add_range(&board.bus, memory), 0);
    assert_int_equal(bus_place(&board.bus, ports, 0xfff8), 0);
    assert_int_equal(bus_port_read(&board.bus, 0xffff, 1), 0x0f);
    assert_int_equal(bus_place(&board.bus, ports, 0xfff9), -EINVAL);
    assert_int_equal(bus_port_read(&board.bus, 0xffff, 1), 0xff); /* then it is nowhere */
    assert_int_equal(bus_place(&board.bus, ports, 0x10000), -EINVAL);
    assert_int_equal(bus_place(&board.bus, memory, UINT64_MAX - 0xfff), 0);
    assert_true(bus_mmio_read(&board.bus, &view, UINT64_MAX, 1, &value));
    assert_int_equal(bus_place(&board.bus, memory, UINT64_MAX - 0xffe), -EINVAL);
    assert_false(bus_mmio_read(&board.bus, &view, UINT64_MAX, 1, &value));
}

static void the_higher_priority_is_seen(void **state)
{
    struct bus_range *bar = movable(0, &a, BUS_MEMORY, 0x1000);
    struct bus_range *over = movable(1, &b, BUS_MEMORY, 0x10);
    uint64_t value;

    over->priority = BUS_FIXED;
    assert_int_equal(bus_add_mmio(&board.bus, &b.dev, 0xfec00000, 0x20), 0);
    assert_int_equal(bus_add_range(&board.bus, over), 0);
    assert_int_equal(bus_add_range(&board.bus, bar), 0);
    assert_int_equal(bus_place(&board.bus, bar, 0xfebfff00), 0);
    assert_int_equal(bus_place(&board.bus, over, 0xfec00100), 0);
    assert_true(bus_mmio_read(&board.bus, &view, 0xfebfffff, 1, &value));
    assert_int_equal(a.where, 0xff);
    assert_true(bus_mmio_read(&board.bus, &view, 0xfec0001f, 1, &value));
    assert_int_equal(b.where, 0x1f); /* a BAR hides nothing of the board's */
    assert_true(bus_mmio_read(&board.bus, &view, 0xfec00020, 1, &value));
    assert_int_equal(a.where, 0x120); /* and goes on behind it, as if it were not interrupted */
    assert_true(bus_mmio_write(&board.bus, &view, 0xfec000fd, 4, 1)); /* leaves its piece */
    assert_int_equal(a.writes, 0);
    assert_true(bus_mmio_read(&board.bus, &view, 0xfec00105, 1, &value));
    assert_int_equal(b.where, 5);
    bus_withdraw(&board.bus, over);
    assert_true(bus_mmio_read(&board.bus, &view, 0xfec00105, 1, &value));
    assert_int_equal(a.where, 0x205);
}

static void one_byte_lies_beside_a_dword(void **state)
{
    struct bus_range *reset = movable(0, &b, BUS_PORTS, 1);

    reset->priority = BUS_OVER;
    reset->bytes_only = true;
    assert_int_equal(bus_add_ports(&board.bus, &a.dev, 0xcf8, 8), 0);
    assert_int_equal(bus_add_range(&board.bus, reset), 0);
    assert_int_equal(bus_place(&board.bus, reset, 0xcf9), 0);
    assert_int_equal(bus_port_read(&board.bus, 0xcf8, 4), 0x0b0a0908);
    assert_int_equal(bus_port_read(&board.bus, 0xcf9, 2), 0x0a09);
    assert_int_equal(a.reads, 2);
    assert_int_equal(bus_port_read(&board.bus, 0xcf9, 1), 0x79);
    assert_int_equal(bus_port_read(&board.bus, 0xcf8, 1), 0x08);
    bus_port_write(&board.bus, 0xcf7, 4, 0x44332211); /* nobody's at first: split into bytes */
    assert_int_equal(a.value, 0x2244);
    assert_int_equal(b.value, 0x33);
}

/* Ranges at random, and address by address who answers. */
static void what_is_seen_is_what_lies_on_top(void **state)
{
    enum { SPACE = 200, FIRST = 200 };
    static const uint64_t unit[] = {[BUS_PORTS] = 1, [BUS_MEMORY] = PAGE_SIZE};
    struct bus_range *r = ranges;
    unsigned seed = 7;

    for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++) {
        enum bus_space space = i & 1 ? BUS_PORTS : BUS_MEMORY;
        movable(i, i & 2 ? &a : &b, space, (1 + i * i % 37) * unit[space]);
        r[i].priority = (uint8_t)(i % 3);
        assert_int_equal(bus_add_range(&board.bus, &r[i]), 0);
    }
    for (unsigned step = 0; step < 3000; step++) {
        seed = seed * 1103515245 + 12345;
        struct bus_range *moved = &r[(seed >> 16) % ARRAY_SIZE(ranges)];
        seed = seed * 1103515245 + 12345;
        if (seed >> 30 == 0)
            bus_withdraw(&board.bus, moved);
        else
            assert_int_equal(
                bus_place(&board.bus, moved, (FIRST + (seed >> 16) % 100) * unit[moved->space]), 0);
        for (unsigned at = FIRST; at < FIRST + SPACE; at++) {
            const struct bus_range *top[2] = {NULL, NULL};
            uint64_t value;
            for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++) {
                const struct bus_range **t = &top[r[i].space];
                if (r[i].placed && at * unit[r[i].space] - r[i].base < r[i].size &&
                    (!*t || r[i].priority > (*t)->priority))
                    *t = &r[i];
            }
            uint8_t tag = top[BUS_PORTS] ? top[BUS_PORTS]->device == &a.dev ? 0x10 : 0x80 : 0;
            assert_int_equal(bus_port_read(&board.bus, (uint16_t)at, 1),
                             top[BUS_PORTS] ? (tag + at) & 0xff : 0xff);
            assert_int_equal(bus_mmio_read(&board.bus, &view, at * PAGE_SIZE, 1, &value),
                             !!top[BUS_MEMORY]);
            if (top[BUS_MEMORY]) {
                const struct device *d = top[BUS_MEMORY]->device;
                assert_int_equal(CONTAINER_OF(d, struct probe, dev)->where,
                                 at * PAGE_SIZE - top[BUS_MEMORY]->base);
                assert_int_equal(value, d == &a.dev ? 0x10 : 0x80);
            }
        }
    }
}

/* --- memory that shows --- */

static struct guest_memory_layer shown[16];
static unsigned shown_count, tellings;
static uint64_t told_from, told_to; /* around all */

static int make_room(struct bus *bus)
{
    return 0;
}

static bool set_layers(struct bus *bus, const struct guest_memory_layer *layers, unsigned count)
{
    if (count == shown_count && memcmp(layers, shown, count * sizeof(*layers)) == 0)
        return false;
    assert_true(count <= ARRAY_SIZE(shown));
    memcpy(shown, layers, count * sizeof(*layers));
    shown_count = count;
    return true;
}

static void memory_changed(struct bus *bus, uint64_t gpa, uint64_t size)
{
    assert_true(size > 0 && (gpa | size) % PAGE_SIZE == 0);
    told_from = tellings ? MIN(told_from, gpa) : gpa;
    told_to = tellings ? MAX(told_to, gpa + size) : gpa + size;
    tellings++;
}

static void listen(void)
{
    board.bus.make_room = make_room;
    board.bus.set_layers = set_layers;
    board.bus.memory_changed = memory_changed;
    shown_count = tellings = 0;
}

static void expect_layer(unsigned n, uint64_t gpa, uint64_t size, uint64_t from, unsigned shows)
{
    assert_true(n < shown_count);
    assert_int_equal(shown[n].gpa, gpa);
    assert_int_equal(shown[n].size, size);
    assert_int_equal(shown[n].from, from);
    assert_int_equal(shown[n].shows, shows);
}

static void expect_told(unsigned times, uint64_t from, uint64_t to)
{
    assert_int_equal(tellings, times);
    assert_int_equal(told_from, from);
    assert_int_equal(told_to, to);
    tellings = 0;
}

/* As PAM over a flash over RAM: the first under the others. */
static void memory_shows_by_priority(void **state)
{
    static struct bus_range rom, pam, calls;

    listen();
    rom = (struct bus_range){.device = &a.dev,
                             .size = 0x20000,
                             .space = BUS_MEMORY,
                             .priority = BUS_OVER,
                             .shows = BUS_FRAMES,
                             .from = 0x7000000};
    pam = (struct bus_range){.device = &b.dev,
                             .size = 0x4000,
                             .space = BUS_MEMORY,
                             .priority = BUS_OVER + 1,
                             .shows = BUS_RAM,
                             .writable = true,
                             .from = 0xe4000};
    calls = (struct bus_range){
        .device = &b.dev, .size = 0x1000, .space = BUS_MEMORY, .priority = BUS_OVER + 2};
    assert_int_equal(bus_add_range(&board.bus, &rom), 0);
    assert_int_equal(bus_add_range(&board.bus, &pam), 0);
    assert_int_equal(bus_add_range(&board.bus, &calls), 0);
    assert_int_equal(tellings, 0);
    assert_int_equal(bus_place(&board.bus, &rom, 0xe0000), 0);
    expect_told(1, 0xe0000, 0x100000);
    assert_int_equal(shown_count, 1);
    expect_layer(0, 0xe0000, 0x20000, 0x7000000, GUEST_LAYER_FRAMES);
    assert_false(shown[0].writable);
    assert_true(shown[0].over_ram);
    assert_int_equal(bus_place(&board.bus, &pam, 0xe4000), 0);
    expect_told(1, 0xe4000, 0xe8000);
    assert_int_equal(shown_count, 3);
    expect_layer(0, 0xe0000, 0x4000, 0x7000000, GUEST_LAYER_FRAMES);
    expect_layer(1, 0xe4000, 0x4000, 0xe4000, GUEST_LAYER_RAM);
    assert_true(shown[1].writable);
    expect_layer(2, 0xe8000, 0x18000, 0x7008000, GUEST_LAYER_FRAMES);

    /* calls hide what is below */
    assert_int_equal(bus_place(&board.bus, &calls, 0xe8000), 0);
    expect_told(1, 0xe8000, 0xe9000);
    assert_int_equal(shown_count, 4);
    expect_layer(2, 0xe8000, 0x1000, 0, GUEST_LAYER_NOTHING);
    expect_layer(3, 0xe9000, 0x17000, 0x7009000, GUEST_LAYER_FRAMES);
    assert_int_equal(bus_place(&board.bus, &calls, 0xe4000), 0);
    expect_told(2, 0xe4000, 0xe9000);
    expect_layer(1, 0xe4000, 0x1000, 0, GUEST_LAYER_NOTHING);
    expect_layer(2, 0xe5000, 0x3000, 0xe5000, GUEST_LAYER_RAM);
    bus_withdraw(&board.bus, &calls);
    expect_told(1, 0xe4000, 0xe5000);

    /* what it shows changes in its place: read-only, and calls, as a flash that takes a command */
    assert_int_equal(bus_show(&board.bus, &pam, BUS_RAM, 0xe4000, false), 0);
    expect_told(1, 0xe4000, 0xe8000);
    assert_false(shown[1].writable);
    assert_int_equal(bus_show(&board.bus, &pam, BUS_RAM, 0xe4000, false), 0);
    assert_int_equal(tellings, 0);
    assert_int_equal(bus_show(&board.bus, &rom, BUS_CALLS, 0, false), 0);
    expect_told(1, 0xe0000, 0x100000);
    expect_layer(0, 0xe0000, 0x4000, 0, GUEST_LAYER_NOTHING);
    assert_int_equal(bus_show(&board.bus, &rom, BUS_FRAMES, 0x7000000, false), 0);
    expect_layer(0, 0xe0000, 0x4000, 0x7000000, GUEST_LAYER_FRAMES);
    tellings = 0;
    bus_withdraw(&board.bus, &pam);
    expect_told(1, 0xe4000, 0xe8000);
    bus_withdraw(&board.bus, &rom);
    assert_int_equal(shown_count, 0);
}

/* Writes are the device's, one by one: the next access there may be another one's. */
static void writes_to_read_only_memory_are_the_devices(void **state)
{
    static struct bus_range rom;
    struct bus_view v = {0};

    listen();
    rom = (struct bus_range){.device = &a.dev,
                             .size = 0x2000,
                             .space = BUS_MEMORY,
                             .priority = BUS_FIXED,
                             .shows = BUS_FRAMES,
                             .from = 0x7000000};
    assert_int_equal(bus_add_range(&board.bus, &rom), 0);
    assert_int_equal(bus_place(&board.bus, &rom, 0xffffe000), 0);
    assert_false(shown[0].over_ram);
    assert_true(bus_mmio_write(&board.bus, &v, 0xfffff010, 4, 0x1234));
    assert_int_equal(a.where, 0x1010);
    assert_int_equal(a.value, 0x1234);
    assert_false(bus_view_covers(&board.bus, &v, 0xfffff010));
    assert_int_equal(bus_show(&board.bus, &rom, BUS_CALLS, 0, false), 0);
    assert_int_equal(shown_count, 0); /* nothing to hide: RAM is over it */
    assert_true(bus_mmio_write(&board.bus, &v, 0xfffff010, 4, 0x1234));
    assert_true(bus_view_covers(&board.bus, &v, 0xfffff010));
    assert_int_equal(bus_show(&board.bus, &rom, BUS_FRAMES, 0x7000000, false), 0);
    assert_false(bus_view_covers(&board.bus, &v, 0xfffff010));
}

static uint64_t memory;

static uint64_t memory_read(struct device *d, uint64_t gpa, unsigned size)
{
    assert_int_equal(gpa, 0xe0010);
    return memory;
}

static void memory_write(struct device *d, uint64_t gpa, unsigned size, uint64_t value)
{
    assert_int_equal(gpa, 0xe0010);
    memory = value;
}

/* The device's range goes while the exit of an access to it is handled: that is memory's then. */
static void memory_is_there_again(void **state)
{
    static const struct device_ops ops = {.mmio_read = memory_read, .mmio_write = memory_write};
    struct device otherwise = {.ops = &ops, .lock = &otherwise.own};
    struct bus_range *r = movable(0, &a, BUS_MEMORY, 0x1000);
    uint64_t value;

    spin_init(&otherwise.own, RANK_DEVICE);
    board.bus.otherwise = &otherwise;
    memory = 0x55;
    r->priority = BUS_OVER;
    assert_int_equal(bus_add_range(&board.bus, r), 0);
    assert_int_equal(bus_place(&board.bus, r, 0xe0000), 0);
    for (unsigned i = 0; i < 2; i++) { /* also where the last access was */
        assert_true(bus_mmio_write(&board.bus, &view, 0xe0010, 4, 0x1234));
        assert_true(bus_mmio_read(&board.bus, &view, 0xe0010, 4, &value));
    }
    assert_int_equal(memory, 0x55);
    assert_int_equal(a.writes, 2);
    bus_withdraw(&board.bus, r);
    assert_true(bus_mmio_read(&board.bus, &view, 0xe0010, 4, &value));
    assert_int_equal(value, 0x55);
    assert_true(bus_mmio_write(&board.bus, &view, 0xe0010, 4, 0x1234));
    assert_int_equal(memory, 0x1234);
    assert_int_equal(a.writes, 2);
    assert_false(bus_view_covers(&board.bus, &view, 0xe0010)); /* each is looked at */
    assert_int_equal(bus_place(&board.bus, r, 0xe0000), 0);
    assert_true(bus_mmio_write(&board.bus, &view, 0xe0010, 4, 5));
    assert_int_equal(a.writes, 3);
}

static void memory_shows_in_whole_pages(void **state)
{
    static struct bus_range r;

    listen();
    r = (struct bus_range){.device = &a.dev,
                           .size = 0x1800,
                           .space = BUS_MEMORY,
                           .priority = BUS_MOVABLE,
                           .shows = BUS_FRAMES,
                           .from = 0x7000000};
    assert_int_equal(bus_add_range(&board.bus, &r), -EINVAL);
    r.size = 0x2000;
    r.from = 0x7000800;
    assert_int_equal(bus_add_range(&board.bus, &r), -EINVAL);
    r.from = 0x7000000;
    assert_int_equal(bus_add_range(&board.bus, &r), 0);
    assert_int_equal(bus_place(&board.bus, &r, 0x80000000), 0);
    assert_int_equal(bus_place(&board.bus, &r, 0x80000800), -EINVAL);
    assert_int_equal(shown_count, 0);
    assert_int_equal(bus_place(&board.bus, &r, 0x80000000), 0);
    assert_int_equal(bus_show(&board.bus, &r, BUS_RAM, 0x10, true), -EINVAL);
    expect_layer(0, 0x80000000, 0x2000, 0x7000000, GUEST_LAYER_FRAMES);
    /* where no guest can map it nothing shows, and nobody is told of more than there is */
    assert_int_equal(bus_place(&board.bus, &r, GUEST_MEMORY_END - 0x1000), 0);
    expect_layer(0, GUEST_MEMORY_END - 0x1000, 0x1000, 0x7000000, GUEST_LAYER_FRAMES);
    tellings = 0;
    assert_int_equal(bus_place(&board.bus, &r, UINT64_MAX - 0x1fff), 0);
    expect_told(1, GUEST_MEMORY_END - 0x1000, GUEST_MEMORY_END);
    assert_int_equal(shown_count, 0);
    /* pages that it shares with calls show nothing */
    assert_int_equal(bus_add_mmio(&board.bus, &b.dev, 0x80000f80, 0x90), 0);
    assert_int_equal(bus_place(&board.bus, &r, 0x7ffff000), 0);
    assert_int_equal(shown_count, 1);
    expect_layer(0, 0x7ffff000, 0x1000, 0x7000000, GUEST_LAYER_FRAMES);
    assert_int_equal(bus_place(&board.bus, &r, 0x80000000), 0);
    assert_int_equal(shown_count, 0);
    assert_int_equal(bus_place(&board.bus, &r, 0x80001000), 0);
    assert_int_equal(shown_count, 1);
    expect_layer(0, 0x80002000, 0x1000, 0x7001000, GUEST_LAYER_FRAMES);
}

/* What lies over RAM hides whole pages of it: part of one would be neither's. */
static void ram_is_hidden_in_whole_pages(void **state)
{
    static struct bus_range r;

    listen();
    r = (struct bus_range){
        .device = &a.dev, .size = 0x100, .space = BUS_MEMORY, .priority = BUS_OVER};
    assert_int_equal(bus_add_range(&board.bus, &r), -EINVAL);
    r.size = 0x1000;
    assert_int_equal(bus_add_range(&board.bus, &r), 0);
    assert_int_equal(bus_place(&board.bus, &r, 0xe0000), 0);
    expect_layer(0, 0xe0000, 0x1000, 0, GUEST_LAYER_NOTHING);
    assert_int_equal(bus_place(&board.bus, &r, 0xe0f00), -EINVAL);
    assert_int_equal(shown_count, 0);
}

/* Where nothing is to be: nothing answers, and no BAR shows there. */
static void nobodys_memory(void **state)
{
    static struct bus_range r;
    uint64_t value;

    listen();
    r = (struct bus_range){.device = &a.dev,
                           .size = 0x4000,
                           .space = BUS_MEMORY,
                           .priority = BUS_MOVABLE,
                           .shows = BUS_FRAMES,
                           .from = 0x7000000};
    assert_int_equal(bus_add_mmio(&board.bus, &board.bus.nobody, 0xfee00000, 0x1000), 0);
    assert_int_equal(bus_add_range(&board.bus, &r), 0);
    assert_int_equal(bus_place(&board.bus, &r, 0xfedff000), 0);
    assert_int_equal(shown_count, 2);
    expect_layer(0, 0xfedff000, 0x1000, 0x7000000, GUEST_LAYER_FRAMES);
    expect_layer(1, 0xfee01000, 0x2000, 0x7002000, GUEST_LAYER_FRAMES);
    assert_int_equal(bus_show(&board.bus, &r, BUS_CALLS, 0, false), 0);
    assert_true(bus_mmio_read(&board.bus, &view, 0xfee00020, 4, &value));
    assert_int_equal(value, UINT32_MAX);
    assert_true(bus_mmio_write(&board.bus, &view, 0xfee00020, 4, 1));
    assert_int_equal(a.reads + a.writes, 0);
}

/* It is nowhere since it could not be placed: what it shows is aligned to nothing. */
static void what_is_nowhere_shows_what_it_likes(void **state)
{
    static struct bus_range r;

    listen();
    r = (struct bus_range){.device = &a.dev,
                           .size = 0x2000,
                           .space = BUS_MEMORY,
                           .priority = BUS_MOVABLE,
                           .shows = BUS_FRAMES,
                           .from = 0x7000000};
    assert_int_equal(bus_add_range(&board.bus, &r), 0);
    assert_int_equal(bus_place(&board.bus, &r, 0x80000000), 0);
    assert_int_equal(bus_place(&board.bus, &r, 0x80000800), -EINVAL);
    assert_int_equal(bus_show(&board.bus, &r, BUS_FRAMES, 0x7100000, false), 0);
    bus_withdraw(&board.bus, &r); /* as at a reset */
    assert_int_equal(bus_show(&board.bus, &r, BUS_FRAMES, 0x7200000, false), 0);
    assert_int_equal(bus_place(&board.bus, &r, 0x80000000), 0);
    expect_layer(0, 0x80000000, 0x2000, 0x7200000, GUEST_LAYER_FRAMES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_range_moves, setup, teardown),
        cmocka_unit_test_setup_teardown(a_range_does_not_go_everywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(the_higher_priority_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(one_byte_lies_beside_a_dword, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_seen_is_what_lies_on_top, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_shows_by_priority, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_to_read_only_memory_are_the_devices, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(memory_is_there_again, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_shows_in_whole_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(ram_is_hidden_in_whole_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(nobodys_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_nowhere_shows_what_it_likes, setup, teardown),
    };

    return cmocka_run_group_tests_name("bus_memory", tests, NULL, NULL);
}
