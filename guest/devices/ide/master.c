/* The bus master of a channel: its registers, and its way through the table of regions (PRDs). */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/devices/ide/ide.h"

#define COMMAND 0
#define STATUS  2
#define TABLE   4 /* four bytes */

#define START     0x01
#define TO_MEMORY 0x08

#define ACTIVE    0x01
#define ERROR     0x02
#define INTERRUPT 0x04
#define CAPABLE   0x60 /* of DMA, each drive: a note that software leaves to others */

struct region {
    uint32_t address, length; /* length: 16 bits, even, 0 is 64 KiB */
} PACKED;
#define REGION_LAST BIT(31)

static void write_command(struct ide_channel *c, uint8_t value)
{
    struct ide_master *m = &c->master;
    bool was = m->command & START;

    /* The direction does not change under way. */
    m->command = was && (value & START) ? m->command : value & (START | TO_MEMORY);
    if ((value & START) && !was) {
        m->next = m->table;
        m->left = 0;
        m->last = false;
        m->status |= ACTIVE;
        for (unsigned i = 0; i < IDE_DRIVES; i++)
            ide_run(&c->drive[i]);
    } else if (!(value & START) && !c->drive[0].under_way && !c->drive[1].under_way) {
        m->status &= (uint8_t)~ACTIVE; /* else when it is back */
    }
}

uint8_t ide_master_read(struct ide_channel *c, unsigned at)
{
    const struct ide_master *m = &c->master;

    switch (at) {
    case COMMAND:
        return m->command;
    case STATUS:
        return m->status;
    case TABLE ... TABLE + 3:
        return (uint8_t)(m->table >> 8 * (at - TABLE));
    default:
        return 0;
    }
}

void ide_master_write(struct ide_channel *c, unsigned at, uint8_t value)
{
    struct ide_master *m = &c->master;
    unsigned shift = 8 * (at - TABLE);

    switch (at) {
    case COMMAND:
        write_command(c, value);
        break;
    case STATUS:
        m->status &= (uint8_t) ~(value & (INTERRUPT | ERROR));
        m->status = (uint8_t)((m->status & ~CAPABLE) | (value & CAPABLE));
        break;
    case TABLE ... TABLE + 3:
        m->table = (m->table & ~(0xffu << shift)) | (uint32_t)value << shift;
        m->table &= ~3u;
        break;
    }
}

bool ide_master_moves(const struct ide_channel *c, bool to_memory)
{
    const struct ide_master *m = &c->master;

    return (m->command & START) && (m->status & ACTIVE) && !(m->command & TO_MEMORY) == !to_memory;
}

void ide_master_fail(struct ide_channel *c)
{
    c->master.status |= ERROR;
    c->master.status &= (uint8_t)~ACTIVE;
}

void ide_master_settle(struct ide_channel *c)
{
    struct ide_master *m = &c->master;

    if (!(m->command & START) || (m->last && m->left == 0))
        m->status &= (uint8_t)~ACTIVE;
}

void ide_master_interrupt(struct ide_channel *c)
{
    c->master.status |= INTERRUPT;
}

/* The next region; false: there is none. */
static bool fetch(struct ide_channel *c)
{
    struct ide_master *m = &c->master;
    struct region r;

    if (m->last) {
        m->status &= (uint8_t)~ACTIVE;
        return false;
    }
    if (device_memory_read(&c->ide->dev, m->next, &r, sizeof(r)) < 0) {
        ide_master_fail(c);
        return false;
    }
    m->next += sizeof(r);
    m->last = r.length & REGION_LAST;
    m->address = r.address & ~1u;
    m->left = r.length & 0xfffe ? r.length & 0xfffe : 0x10000;
    if (m->left > UINT32_MAX - m->address) {
        m->left = 0;
        ide_master_fail(c);
        return false;
    }
    return true;
}

static struct disk_segment take(struct ide_master *m, uint32_t most)
{
    struct disk_segment s = {.gpa = m->address, .length = MIN(m->left, most)};

    m->address += s.length;
    m->left -= s.length;
    return s;
}

uint32_t ide_master_gather(struct ide_channel *c, uint32_t bytes, struct disk_segment *out,
                           unsigned most, unsigned *count)
{
    uint32_t sum = 0;

    *count = 0;
    while (sum < bytes && *count < most) {
        if (c->master.left == 0 && ((sum && c->master.last) || !fetch(c)))
            break;
        out[*count] = take(&c->master, bytes - sum);
        sum += out[(*count)++].length;
    }
    return sum;
}

uint32_t ide_master_copy(struct ide_channel *c, uint8_t *data, uint32_t size, bool to_memory,
                         unsigned *regions)
{
    uint32_t sum = 0;

    for (*regions = 0; sum < size; (*regions)++) {
        if (c->master.left == 0 && ((sum && c->master.last) || !fetch(c)))
            break;
        struct disk_segment s = take(&c->master, size - sum);
        if ((to_memory ? device_memory_write(&c->ide->dev, s.gpa, data + sum, s.length)
                       : device_memory_read(&c->ide->dev, s.gpa, data + sum, s.length)) < 0) {
            ide_master_fail(c);
            break;
        }
        sum += s.length;
    }
    return sum;
}

/* --- power-on and saved state --- */

void ide_master_save(const struct ide_channel *c, struct state_writer *w)
{
    const struct ide_master *m = &c->master;

    state_put_u8(w, m->command);
    state_put_u8(w, m->status);
    state_put_u32(w, m->table);
    state_put_u32(w, m->next);
    state_put_u32(w, m->address);
    state_put_u32(w, m->left);
    state_put_u8(w, m->last);
}

bool ide_master_load(struct ide_channel *c, struct state_reader *r)
{
    struct ide_master *m = &c->master;

    m->command = state_get_u8(r) & (START | TO_MEMORY);
    m->status = state_get_u8(r) & (ACTIVE | ERROR | INTERRUPT | CAPABLE);
    m->table = state_get_u32(r) & ~3u;
    m->next = state_get_u32(r);
    m->address = state_get_u32(r);
    m->left = state_get_u32(r);
    m->last = state_get_u8(r) & 1;
    return m->left <= 0x10000 && m->left <= UINT32_MAX - m->address;
}
