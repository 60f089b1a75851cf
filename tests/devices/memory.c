/* See memory.h. Ranges 0 and 1 lie over RAM, 1 under 0; 2 and 3 are as BARs. */
#include "tests/devices/memory.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/class.h"

#define SIZE  (TEST_MEMORY_PAGES * PAGE_SIZE)
#define ORDER 2 /* of SIZE */

struct test_memory {
    struct device dev;
    struct bus *bus;
    struct bus_range range[TEST_MEMORY_RANGES];
    paddr frames;
    uint8_t selected;
    bool carries_out;
    uint32_t page, from, reads, writes, offset, result;
};

extern const struct device_class test_memory_class;

static struct test_memory *memory_of(struct device *d)
{
    return CONTAINER_OF(d, struct test_memory, dev);
}

static uint32_t test_memory_read(struct device *d, uint16_t port, unsigned size)
{
    const struct test_memory *m = memory_of(d);

    switch (port) {
    case TEST_MEMORY_READS:
        return m->reads;
    case TEST_MEMORY_WRITES:
        return m->writes;
    case TEST_MEMORY_OFFSET:
        return m->offset;
    case TEST_MEMORY_RESULT:
        return m->result;
    default:
        return UINT32_MAX;
    }
}

static int carry_out(struct test_memory *m, uint32_t what)
{
    struct bus_range *r = &m->range[m->selected];
    uint64_t from = (uint64_t)m->from * PAGE_SIZE, at = (uint64_t)m->page * PAGE_SIZE;

    switch (what) {
    case TEST_MEMORY_PLACE:
        return bus_place(m->bus, r, at);
    case TEST_MEMORY_WITHDRAW:
        bus_withdraw(m->bus, r);
        return 0;
    case TEST_MEMORY_CALLS:
        return bus_show(m->bus, r, BUS_CALLS, 0, false);
    case TEST_MEMORY_ROM:
    case TEST_MEMORY_FRAMES:
        return bus_show(m->bus, r, BUS_FRAMES, m->frames, what == TEST_MEMORY_FRAMES);
    case TEST_MEMORY_RAM:
    case TEST_MEMORY_READ_ONLY_RAM:
        return bus_show(m->bus, r, BUS_RAM, from, what == TEST_MEMORY_RAM);
    case TEST_MEMORY_CARRY_OUT:
    case TEST_MEMORY_DROP:
        m->carries_out = what == TEST_MEMORY_CARRY_OUT;
        return 0;
    case TEST_MEMORY_DMA:
        return device_memory_write(&m->dev, at, &(uint32_t){UINT32_MAX}, sizeof(uint32_t));
    default:
        return -EINVAL;
    }
}

static void test_memory_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    struct test_memory *m = memory_of(d);

    switch (port) {
    case TEST_MEMORY_SELECT:
        m->selected = value % TEST_MEMORY_RANGES;
        break;
    case TEST_MEMORY_PAGE:
        m->page = value;
        break;
    case TEST_MEMORY_FROM:
        m->from = value;
        break;
    case TEST_MEMORY_DO:
        m->result = (uint32_t)carry_out(m, value);
        break;
    }
}

static uint64_t test_memory_mmio_read(struct device *d, uint64_t offset, unsigned size)
{
    memory_of(d)->reads++;
    return 0xc0ffee;
}

/* Which of the ranges it was is not told: those that carry out are one at a time. */
static void test_memory_mmio_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
    struct test_memory *m = memory_of(d);
    const struct bus_range *r = &m->range[m->selected];

    m->writes++;
    m->offset = (uint32_t)offset;
    m->result = (uint32_t)value;
    if (m->carries_out && r->shows == BUS_RAM)
        (void)!device_ram_write(d, r->from + offset, &value, size);
}

static void fill(struct test_memory *m)
{
    static const uint8_t function[] = {0xb8, 0x78, 0x56, 0x34, 0x12, 0xc3}; /* mov eax, ..; ret */
    uint8_t *frames = phys_to_virt(m->frames);

    memset(frames, TEST_MEMORY_BYTE, SIZE);
    memcpy(frames, function, sizeof(function));
}

static void test_memory_reset(struct device *d)
{
    struct test_memory *m = memory_of(d);

    for (unsigned i = 0; i < TEST_MEMORY_RANGES; i++) {
        bus_withdraw(m->bus, &m->range[i]);
        (void)!bus_show(m->bus, &m->range[i], BUS_CALLS, 0, false);
    }
    fill(m);
    m->selected = 0;
    m->carries_out = false;
    m->page = m->from = m->reads = m->writes = m->offset = m->result = 0;
}

static void test_memory_save(struct device *d, struct state_writer *w)
{
    const struct test_memory *m = memory_of(d);

    for (unsigned i = 0; i < TEST_MEMORY_RANGES; i++) {
        const struct bus_range *r = &m->range[i];
        state_put_u8(w, r->placed);
        state_put_u64(w, r->placed ? r->base : 0);
        state_put_u8(w, r->shows);
        state_put_u8(w, r->writable);
        state_put_u64(w, r->shows == BUS_RAM ? r->from : 0);
    }
    state_put_u8(w, m->selected);
    state_put_u8(w, m->carries_out);
    state_put_u32(w, m->page);
    state_put_u32(w, m->from);
    state_put_u32(w, m->reads);
    state_put_u32(w, m->writes);
    state_put_u32(w, m->offset);
    state_put_u32(w, m->result);
    state_put(w, phys_to_virt(m->frames), SIZE);
}

static int load_range(struct test_memory *m, struct bus_range *r, struct state_reader *s)
{
    bool placed = state_get_u8(s) & 1;
    uint64_t base = state_get_u64(s);
    unsigned shows = state_get_u8(s);
    bool writable = state_get_u8(s) & 1;
    uint64_t from = state_get_u64(s);
    int result;

    if (shows > BUS_RAM)
        return -EBADMSG;
    result = bus_show(m->bus, r, shows, shows == BUS_FRAMES ? m->frames : from, writable);
    if (result == 0 && placed)
        result = bus_place(m->bus, r, base);
    else
        bus_withdraw(m->bus, r);
    return result ? -EBADMSG : 0;
}

static int test_memory_load(struct device *d, struct state_reader *r)
{
    struct test_memory *m = memory_of(d);

    for (unsigned i = 0; i < TEST_MEMORY_RANGES; i++)
        if (load_range(m, &m->range[i], r) < 0)
            return -EBADMSG;
    m->selected = state_get_u8(r) % TEST_MEMORY_RANGES;
    m->carries_out = state_get_u8(r) & 1;
    m->page = state_get_u32(r);
    m->from = state_get_u32(r);
    m->reads = state_get_u32(r);
    m->writes = state_get_u32(r);
    m->offset = state_get_u32(r);
    m->result = state_get_u32(r);
    state_get(r, phys_to_virt(m->frames), SIZE);
    return 0;
}

static int test_memory_create(struct device *d, struct device_setup *s)
{
    static const uint8_t priority[TEST_MEMORY_RANGES] = {BUS_OVER + 1, BUS_OVER, BUS_MOVABLE,
                                                         BUS_MOVABLE};
    struct test_memory *m = memory_of(d);
    int result = 0;

    m->bus = s->bus;
    m->frames = frame_alloc(ORDER, FRAME_KERNEL);
    if (m->frames == FRAME_NONE)
        return -ENOMEM;
    for (unsigned i = 0; i < TEST_MEMORY_RANGES && result == 0; i++) {
        m->range[i] = (struct bus_range){
            .device = d, .size = SIZE, .space = BUS_MEMORY, .priority = priority[i]};
        result = bus_add_range(m->bus, &m->range[i]);
    }
    if (result < 0)
        frame_free(m->frames, ORDER);
    return result;
}

static void test_memory_destroy(struct device *d)
{
    frame_free(memory_of(d)->frames, ORDER);
}

static const struct device_ops test_memory_ops = {
    .name = "test-memory",
    .version = 1,
    .port_read = test_memory_read,
    .port_write = test_memory_write,
    .mmio_read = test_memory_mmio_read,
    .mmio_write = test_memory_mmio_write,
    .reset = test_memory_reset,
    .save = test_memory_save,
    .load = test_memory_load,
};

const struct device_class test_memory_class = {
    .ops = &test_memory_ops,
    .size = sizeof(struct test_memory),
    .ports = {{TEST_MEMORY_PORT, 16}},
    .create = test_memory_create,
    .destroy = test_memory_destroy,
};
