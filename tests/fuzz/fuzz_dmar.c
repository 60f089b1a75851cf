/* links: drivers/dmar.c */
/* The DMAR table, and configuration space that its scopes lead through: any bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/dmar.h"

static const uint8_t *bytes;
static size_t left;

/* The rest of the input is what bridges say. */
static uint32_t config(uint16_t address, unsigned offset)
{
    uint32_t value = 0;

    if (left < 4)
        return 0x00ff0100u + address;
    memcpy(&value, bytes + (address * 4u + offset) % (left - 3), 4);
    return value;
}

static void check(const struct dmar *d)
{
    if (d->unit_count > DMAR_UNITS || d->region_count > DMAR_REGIONS ||
        d->scope_count > DMAR_SCOPES)
        abort();
    for (unsigned i = 0; i < d->unit_count; i++)
        if (d->units[i].first + d->units[i].count > d->scope_count || !d->units[i].registers ||
            d->units[i].registers % PAGE_SIZE)
            abort();
    for (unsigned i = 0; i < d->region_count; i++)
        if (d->regions[i].first + d->regions[i].count > d->scope_count ||
            d->regions[i].end <= d->regions[i].base || d->regions[i].base % PAGE_SIZE)
            abort();
    for (unsigned i = 0; i < d->scope_count; i++)
        if (!d->scopes[i].hops || d->scopes[i].hops > DMAR_HOPS)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct dmar d;
    const struct dmar_unit *u;
    uint16_t address;
    uint8_t *copy;
    uint32_t length;

    if (size < 2)
        return 0;
    length = data[0] | (uint32_t)data[1] << 8;
    if (length > size - 2)
        length = (uint32_t)(size - 2);
    copy = malloc(length ? length : 1);
    memcpy(copy, data + 2, length);
    bytes = data + 2 + length;
    left = size - 2 - length;
    if (dmar_read(copy, length, &d) == 0) {
        check(&d);
        for (unsigned i = 0; i < 16; i++) {
            u = dmar_unit_of(&d, config, (uint16_t)(i * 0x1111));
            if (u && (u->segment || u < d.units || u >= d.units + d.unit_count))
                abort();
            (void)dmar_unit_of_ioapic(&d, config, i, &address);
        }
        for (unsigned i = 0; i < d.region_count; i++)
            (void)dmar_has(&d, d.regions[i].first, d.regions[i].count, config, 0x0010);
    }
    free(copy);
    return 0;
}
