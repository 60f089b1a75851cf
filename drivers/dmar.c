/* See dmar.h. */
#include "drivers/dmar.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define WIDTH      36
#define FLAGS      37
#define STRUCTURES 48

#define FLAG_INTERRUPTS 1u
#define FLAG_NO_X2APIC  2u

/* Structures. */
#define TYPE_UNIT   0
#define TYPE_REGION 1
#define HEADER      4 /* type and length */
#define SEGMENT     6
#define BASE        8
#define LIMIT       16 /* of a region */
#define UNIT_SIZE   16
#define REGION_SIZE 24
#define UNIT_REST   1u

#define SCOPE_SIZE 6

#define BUSES(value, shift) ((value) >> (shift)&0xff)
#define CONFIG_BUSES        0x18 /* of a bridge: primary, secondary, subordinate */
#define CONFIG_HEADER       0x0c
#define HEADER_BRIDGE       1

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t value;

    memcpy(&value, p, sizeof(value));
    return value;
}

/* --- the table --- */

static int read_scope(const uint8_t *p, unsigned length, struct dmar_scope *s)
{
    unsigned hops = (length - SCOPE_SIZE) / 2;

    if (length < SCOPE_SIZE + 2 || length % 2 || hops > DMAR_HOPS)
        return -EBADMSG;
    *s = (struct dmar_scope){.type = p[0], .id = p[4], .bus = p[5], .hops = (uint8_t)hops};
    for (unsigned i = 0; i < hops; i++) {
        unsigned device = p[SCOPE_SIZE + 2 * i], function = p[SCOPE_SIZE + 2 * i + 1];

        if (device > 31 || function > 7)
            return -EBADMSG;
        s->path[i] = (uint8_t)(device << 3 | function);
    }
    return 0;
}

/* All that fill [p, p + length). */
static int read_scopes(const uint8_t *p, unsigned length, struct dmar *out, uint16_t *first,
                       uint16_t *count)
{
    *first = (uint16_t)out->scope_count;
    while (length) {
        unsigned size = length < SCOPE_SIZE ? 0 : p[1];
        int error = size && size <= length ? 0 : -EBADMSG;

        if (!error && out->scope_count == DMAR_SCOPES)
            error = -ENOSPC;
        if (!error)
            error = read_scope(p, size, &out->scopes[out->scope_count]);
        if (error)
            return error;
        out->scope_count++;
        p += size;
        length -= size;
    }
    *count = (uint16_t)(out->scope_count - *first);
    return 0;
}

static int read_unit(const uint8_t *p, unsigned length, struct dmar *out)
{
    struct dmar_unit *u = &out->units[out->unit_count];

    if (length < UNIT_SIZE)
        return -EBADMSG;
    if (out->unit_count == DMAR_UNITS)
        return -ENOSPC;
    *u = (struct dmar_unit){
        .registers = get64(p + BASE), .segment = get16(p + SEGMENT), .rest = p[HEADER] & UNIT_REST};
    if (!u->registers || u->registers % PAGE_SIZE || u->registers >> 52)
        return -EBADMSG;
    for (unsigned i = 0; i < out->unit_count; i++)
        if (out->units[i].registers == u->registers)
            return -EBADMSG;
    out->unit_count++;
    return read_scopes(p + UNIT_SIZE, length - UNIT_SIZE, out, &u->first, &u->count);
}

static int read_region(const uint8_t *p, unsigned length, struct dmar *out)
{
    struct dmar_region *r = &out->regions[out->region_count];
    uint64_t last;

    if (length < REGION_SIZE)
        return -EBADMSG;
    if (out->region_count == DMAR_REGIONS)
        return -ENOSPC;
    last = get64(p + LIMIT);
    *r = (struct dmar_region){
        .base = get64(p + BASE), .end = last + 1, .segment = get16(p + SEGMENT)};
    if (r->base % PAGE_SIZE || r->end % PAGE_SIZE || last < r->base || last >> 52)
        return -EBADMSG;
    out->region_count++;
    return read_scopes(p + REGION_SIZE, length - REGION_SIZE, out, &r->first, &r->count);
}

int dmar_read(const uint8_t *table, uint32_t length, struct dmar *out)
{
    int error = 0;

    memset(out, 0, sizeof(*out));
    if (length < STRUCTURES)
        return -EBADMSG;
    out->address_bits = table[WIDTH] + 1u;
    out->remaps_interrupts = table[FLAGS] & FLAG_INTERRUPTS;
    out->no_x2apic = table[FLAGS] & FLAG_NO_X2APIC;
    for (uint32_t at = STRUCTURES; at < length && !error;) {
        const uint8_t *p = table + at;
        uint32_t left = length - at, size = left < HEADER ? 0 : get16(p + 2);

        if (size < HEADER || size > left)
            return -EBADMSG;
        if (get16(p) == TYPE_UNIT)
            error = read_unit(p, size, out);
        else if (get16(p) == TYPE_REGION)
            error = read_region(p, size, out);
        at += size;
    }
    if (error)
        return error;
    return out->unit_count ? 0 : -ENODEV;
}

/* --- what it means on this machine --- */

static bool is_bridge(dmar_config read, uint16_t address)
{
    return (read(address, CONFIG_HEADER) >> 16 & 0x7f) == HEADER_BRIDGE;
}

bool dmar_find(const struct dmar_scope *s, dmar_config read, uint16_t *address)
{
    uint16_t at = (uint16_t)(s->bus << 8 | s->path[0]);

    for (unsigned i = 1; i < s->hops; i++) {
        unsigned secondary = BUSES(read(at, CONFIG_BUSES), 8);

        if (!is_bridge(read, at) || secondary <= at >> 8)
            return false;
        at = (uint16_t)(secondary << 8 | s->path[i]);
    }
    *address = at;
    return true;
}

static bool covers(const struct dmar_scope *s, dmar_config read, uint16_t address)
{
    uint32_t buses;
    uint16_t at;

    if ((s->type != DMAR_ENDPOINT && s->type != DMAR_BRIDGE) || !dmar_find(s, read, &at))
        return false;
    if (at == address)
        return true;
    if (s->type != DMAR_BRIDGE || !is_bridge(read, at))
        return false;
    buses = read(at, CONFIG_BUSES);
    return BUSES(buses, 8) > at >> 8 && address >> 8 >= BUSES(buses, 8) &&
           address >> 8 <= BUSES(buses, 16);
}

bool dmar_has(const struct dmar *d, unsigned first, unsigned count, dmar_config read,
              uint16_t address)
{
    for (unsigned i = first; i < first + count; i++)
        if (covers(&d->scopes[i], read, address))
            return true;
    return false;
}

const struct dmar_unit *dmar_unit_of(const struct dmar *d, dmar_config read, uint16_t address)
{
    const struct dmar_unit *rest = NULL;

    for (unsigned i = 0; i < d->unit_count; i++) {
        const struct dmar_unit *u = &d->units[i];

        if (u->segment)
            continue;
        if (dmar_has(d, u->first, u->count, read, address))
            return u;
        if (u->rest)
            rest = u;
    }
    return rest;
}

const struct dmar_unit *dmar_unit_of_ioapic(const struct dmar *d, dmar_config read, unsigned id,
                                            uint16_t *address)
{
    for (unsigned i = 0; i < d->unit_count; i++) {
        const struct dmar_unit *u = &d->units[i];

        for (unsigned n = u->first; n < u->first + u->count && !u->segment; n++)
            if (d->scopes[n].type == DMAR_IOAPIC && d->scopes[n].id == id &&
                dmar_find(&d->scopes[n], read, address))
                return u;
    }
    return NULL;
}
