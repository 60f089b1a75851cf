/*
 * What a PC with firmware has between 640 KiB and 1 MiB, as its host bridge is told: nothing, the
 * end of firmware's memory, or RAM that can be written or not (Intel 3 Series Express Chipset
 * Family, "PAM0" to "PAM6" and "SMRAM" of D0:F0). There is no system-management mode: SMRAM is RAM
 * when it is open, and otherwise out of reach.
 */
#include "arch/x86/lib/errno.h"
#include "guest/board/class.h"
#include "guest/board/pci.h"

#define PAM      0x90 /* PAM0: its upper half is of the last segment; PAM1 to PAM6 of two each */
#define PAM_LAST 0x96
#define PAM_BITS 0x33
#define SMRAM    0x9d
#define ESMRAMC  0x9e

#define PAM_READ  BIT(0) /* reads are of RAM, or else of what lies over it */
#define PAM_WRITE BIT(1)

#define SMRAM_INITIAL 0x02 /* SMRAM is A0000h-BFFFFh */
#define SMRAM_ENABLED BIT(3)
#define SMRAM_CLOSED  BIT(5)
#define SMRAM_OPEN    BIT(6)
#define SMRAM_BITS    (SMRAM_ENABLED | SMRAM_CLOSED | SMRAM_OPEN)
#define ESMRAMC_FIXED 0x38 /* its caching bits; no TSEG, no high SMRAM */

#define FIRST      0xa0000u
#define END        0x100000u
#define PAM_FIRST  0xc0000u
#define PAM_SIZE   0x4000u
#define LAST_BEGIN 0xf0000u
#define ALIAS_MAX  0x20000u /* of firmware's memory, at END */

enum { WINDOW, EXPANSION, LAST = 13, SEGMENTS };

struct shadow {
    struct device dev;
    struct bus *bus;
    /* All begin at FIRST, so that offsets are alike; each shows where those before it have ended.
     */
    struct bus_range segment[SEGMENTS];
    struct bus_range open;     /* SMRAM while it is open: over what a graphics card has there */
    uint8_t setting[SEGMENTS]; /* PAM_ bits */
    paddr rom;                 /* its last ALIAS_MAX bytes are at END - ALIAS_MAX */
    uint32_t alias;            /* or so many */
};

static struct shadow *shadow_of(struct device *d)
{
    return CONTAINER_OF(d, struct shadow, dev);
}

static uint32_t end_of(unsigned segment)
{
    return segment == WINDOW ? PAM_FIRST
           : segment == LAST ? END
                             : PAM_FIRST + (segment - EXPANSION + 1) * PAM_SIZE;
}

static uint32_t begin_of(unsigned segment)
{
    return segment ? end_of(segment - 1) : FIRST;
}

static void show(struct shadow *s, unsigned segment)
{
    uint8_t setting = s->setting[segment];
    bool alias = begin_of(segment) >= END - s->alias;
    enum bus_shows what = setting & PAM_READ ? BUS_RAM : alias ? BUS_FRAMES : BUS_CALLS;
    uint64_t from = what == BUS_RAM ? FIRST : what == BUS_FRAMES ? s->rom - (END - FIRST) : 0;

    (void)!bus_show(s->bus, &s->segment[segment], what, from,
                    what == BUS_RAM && (setting & PAM_WRITE));
}

static uint8_t setting_of(const uint8_t *config, unsigned segment)
{
    unsigned n = segment - EXPANSION;

    if (segment == WINDOW)
        return (config[SMRAM] & SMRAM_ENABLED) && (config[SMRAM] & SMRAM_OPEN)
                   ? PAM_READ | PAM_WRITE
                   : 0;
    if (segment == LAST)
        return config[PAM] >> 4 & (PAM_READ | PAM_WRITE);
    return config[PAM + 1 + n / 2] >> (n % 2 ? 4 : 0) & (PAM_READ | PAM_WRITE);
}

static void follow(struct device *d, const uint8_t *config)
{
    struct shadow *s = shadow_of(d);

    device_lock(d);
    for (unsigned i = 0; i < SEGMENTS; i++) {
        uint8_t setting = setting_of(config, i);

        if (setting == s->setting[i])
            continue;
        s->setting[i] = setting;
        show(s, i);
    }
    if (!s->setting[WINDOW])
        bus_withdraw(s->bus, &s->open);
    else
        (void)!bus_place(s->bus, &s->open, FIRST);
    device_unlock(d);
}

/* --- what is no memory --- */

static uint8_t setting_at(const struct shadow *s, uint64_t offset)
{
    unsigned segment = WINDOW;

    while (segment < LAST && FIRST + offset >= end_of(segment))
        segment++;
    return s->setting[segment];
}

static uint64_t shadow_read(struct device *d, uint64_t offset, unsigned size)
{
    uint64_t value = UINT64_MAX;

    /* It has become memory since. */
    if (setting_at(shadow_of(d), offset) & PAM_READ)
        (void)!device_memory_read(d, FIRST + offset, &value, size);
    return value;
}

static void shadow_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
    if (setting_at(shadow_of(d), offset) & PAM_WRITE)
        (void)!device_ram_write(d, FIRST + offset, &value, size);
}

/* --- life: what is set is in the host bridge's config space --- */

static void shadow_reset(struct device *d)
{
}

static void shadow_save(struct device *d, struct state_writer *w)
{
}

static int shadow_load(struct device *d, struct state_reader *r)
{
    return 0;
}

static const struct device_ops shadow_ops = {
    .name = "shadow",
    .version = 1,
    .mmio_read = shadow_read,
    .mmio_write = shadow_write,
    .reset = shadow_reset,
    .save = shadow_save,
    .load = shadow_load,
};

static int shadow_create(struct device *d, struct device_setup *s)
{
    struct shadow *shadow = shadow_of(d);
    uint8_t value[ESMRAMC - PAM + 1] = {0}, writable[ESMRAMC - PAM + 1] = {0};
    int result = 0;

    shadow->bus = s->bus;
    shadow->rom = s->rom + s->rom_size;
    shadow->alias = (uint32_t)MIN(s->rom_size, (uint64_t)ALIAS_MAX);
    for (unsigned i = 0; i < SEGMENTS && result == 0; i++) {
        shadow->segment[i] = (struct bus_range){
            .device = d, .size = end_of(i) - FIRST, .space = BUS_MEMORY, .priority = BUS_OVER};
        result = bus_add_range(s->bus, &shadow->segment[i]);
        if (result == 0)
            result = bus_place(s->bus, &shadow->segment[i], FIRST);
        if (result == 0)
            show(shadow, i);
    }
    shadow->open = (struct bus_range){.device = d,
                                      .size = PAM_FIRST - FIRST,
                                      .space = BUS_MEMORY,
                                      .priority = BUS_OVER + 2,
                                      .shows = BUS_RAM,
                                      .writable = true,
                                      .from = FIRST};
    if (result == 0)
        result = bus_add_range(s->bus, &shadow->open);
    for (unsigned i = PAM; i <= PAM_LAST; i++)
        writable[i - PAM] = i == PAM ? PAM_BITS & 0xf0 : PAM_BITS;
    value[SMRAM - PAM] = SMRAM_INITIAL;
    writable[SMRAM - PAM] = SMRAM_BITS;
    value[ESMRAMC - PAM] = ESMRAMC_FIXED;
    pci_bridge_registers(s->pci, PAM, value, writable, sizeof(value), follow, d);
    return result;
}

const struct device_class shadow_class = {
    .ops = &shadow_ops,
    .size = sizeof(struct shadow),
    .key = "firmware",
    .create = shadow_create,
};
