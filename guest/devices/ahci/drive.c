/* A SATA drive: ATA commands over a block device (ATA8-ACS, "Command descriptions"). */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/devices/ahci/ahci.h"

#define IN     BIT(0) /* data to the driver */
#define OUT    BIT(1)
#define EXT    BIT(2) /* addresses of 48 bits */
#define QUEUED BIT(3)
#define PIO    BIT(4)
#define FUA    BIT(5)
#define SLEEPS BIT(6) /* into standby */

#define DEVICE_LBA BIT(6)
#define DEVICE_FUA BIT(7) /* of a queued command */

#define LOG_QUEUE     0x10
#define TRIM          BIT(0)
#define ACTIVE        0xff /* "CHECK POWER MODE" */
#define MODE_UDMA     0x40
#define MODE_DEFAULT  (MODE_UDMA | 5)
#define RANGE_LBA(r)  ((r) & (BIT(48) - 1))
#define RANGE_SIZE(r) ((r) >> 48)

/* "SET FEATURES" */
enum {
    CACHE_ON = 0x02,
    TRANSFER_MODE = 0x03,
    LOOK_AHEAD_OFF = 0x55,
    KEEP_SETTINGS = 0x66,
    CACHE_OFF = 0x82,
    LOOK_AHEAD_ON = 0xaa,
    RESTORE_SETTINGS = 0xcc,
};

struct command {
    uint8_t code, flags;
    void (*run)(struct ahci_slot *s, uint8_t flags);
};

static uint32_t unit(const struct ahci_port *p)
{
    return p->source.block->logical_block / BLOCK_SECTOR;
}

/* --- data --- */

/* The sectors that it is about, or false: there are none such. */
static bool set_sectors(struct ahci_slot *s, uint8_t flags)
{
    const uint8_t *f = s->fis;
    const struct ahci_port *p = s->port;
    uint64_t blocks = p->source.block->sectors / unit(p);
    uint64_t lba = f[FIS_LBA] | f[FIS_LBA + 1] << 8 | f[FIS_LBA + 2] << 16;
    unsigned at = flags & QUEUED ? FIS_FEATURES : FIS_COUNT;
    uint32_t count = f[at], most = 0x100;

    if (flags & (EXT | QUEUED)) {
        lba |= (uint64_t)(f[FIS_LBA_EXT] | f[FIS_LBA_EXT + 1] << 8) << 24 |
               (uint64_t)f[FIS_LBA_EXT + 2] << 40;
        count |= (uint32_t)f[flags & QUEUED ? FIS_FEATURES_EXT : FIS_COUNT_EXT] << 8;
        most = 0x10000;
    } else {
        lba |= (uint64_t)(f[FIS_DEVICE] & 0xf) << 24;
    }
    if (count == 0)
        count = most;
    s->disk.sector = lba * unit(p);
    s->disk.sectors = count * unit(p);
    return (f[FIS_DEVICE] & DEVICE_LBA) && count <= blocks && lba <= blocks - count;
}

/* What the block device is never asked for. */
static void refuse(struct ahci_slot *s, uint8_t error)
{
    s->port->source.counts->errors++;
    ahci_fail(s, error);
}

static bool flush(struct ahci_slot *s)
{
    s->more = NULL;
    s->disk.op = BLOCK_FLUSH;
    s->disk.flags = 0;
    disk_submit(&s->port->disk, &s->disk);
    return true;
}

static void transfer(struct ahci_slot *s, uint8_t flags)
{
    struct ahci_port *p = s->port;
    const struct block_device *b = p->source.block;
    bool stable =
        flags & FUA || !p->write_cache || (flags & QUEUED && s->fis[FIS_DEVICE] & DEVICE_FUA);

    if (!set_sectors(s, flags)) {
        refuse(s, ATA_IDNF);
        return;
    }
    if (flags & OUT && p->source.read_only) {
        refuse(s, ATA_WP);
        return;
    }
    p->standby = false;
    s->disk.op = flags & OUT ? BLOCK_WRITE : BLOCK_READ;
    s->disk.flags = 0;
    if (flags & OUT && stable && b->has_flush) {
        if (b->has_fua)
            s->disk.flags = BLOCK_FUA;
        else
            s->more = flush;
    }
    if (ahci_map(s, s->disk.sectors * BLOCK_SECTOR))
        disk_submit(&p->disk, &s->disk);
}

static void multiple(struct ahci_slot *s, uint8_t flags)
{
    if (s->port->multiple)
        transfer(s, flags);
    else
        ahci_fail(s, ATA_ABRT);
}

/* What has been written is right, as far as anybody knows without a transfer. */
static void verify(struct ahci_slot *s, uint8_t flags)
{
    if (set_sectors(s, flags))
        ahci_complete(s);
    else
        ahci_fail(s, ATA_IDNF);
}

/* --- "DATA SET MANAGEMENT" --- */

static bool trim_next(struct ahci_slot *s)
{
    const struct ahci_port *p = s->port;

    while (s->range < ARRAY_SIZE(s->trimmed)) {
        uint64_t range = s->trimmed[s->range++];

        if (RANGE_SIZE(range) == 0)
            continue;
        s->disk.op = BLOCK_DISCARD;
        s->disk.flags = 0;
        s->disk.sector = RANGE_LBA(range) * unit(p);
        s->disk.sectors = (uint32_t)RANGE_SIZE(range) * unit(p);
        disk_submit(&s->port->disk, &s->disk);
        return true;
    }
    return false;
}

static void manage(struct ahci_slot *s, uint8_t flags)
{
    const struct ahci_port *p = s->port;
    uint8_t page[AHCI_PAGE];

    if (s->fis[FIS_FEATURES] != TRIM || s->fis[FIS_COUNT] != 1 || s->fis[FIS_COUNT_EXT] ||
        !p->source.block->discard_sectors || p->source.read_only) {
        refuse(s, ATA_ABRT);
        return;
    }
    if (!ahci_map(s, AHCI_PAGE) || !ahci_get_page(s, page))
        return;
    memcpy(s->trimmed, page, AHCI_PAGE);
    s->range = 0;
    s->more = trim_next;
    if (!trim_next(s))
        ahci_complete(s);
}

/* --- without data, or with a page of it --- */

static void put_page(struct ahci_slot *s, const void *page)
{
    if (ahci_map(s, AHCI_PAGE) && ahci_put_page(s, page))
        ahci_complete(s);
}

static void identify(struct ahci_slot *s, uint8_t flags)
{
    uint16_t words[AHCI_PAGE / 2];

    ahci_identify(s->port, words);
    put_page(s, words);
}

static void read_log(struct ahci_slot *s, uint8_t flags)
{
    uint8_t page[AHCI_PAGE], log = s->fis[FIS_LBA];
    uint16_t number = (uint16_t)(s->fis[FIS_LBA + 1] | s->fis[FIS_LBA_EXT + 1] << 8);

    if (s->fis[FIS_COUNT] != 1 || s->fis[FIS_COUNT_EXT] ||
        !ahci_log_page(s->port, log, number, page)) {
        ahci_fail(s, ATA_ABRT);
        return;
    }
    if (log == LOG_QUEUE)
        s->port->failed = false;
    put_page(s, page);
}

static void flush_cache(struct ahci_slot *s, uint8_t flags)
{
    if (flags & SLEEPS)
        s->port->standby = true;
    flush(s);
}

static void idle(struct ahci_slot *s, uint8_t flags)
{
    s->port->standby = false;
    ahci_complete(s);
}

static void check_power(struct ahci_slot *s, uint8_t flags)
{
    s->fis[FIS_COUNT] = s->port->standby ? 0 : ACTIVE;
    ahci_complete(s);
}

static void diagnose(struct ahci_slot *s, uint8_t flags)
{
    s->used = false;
    s->port->ci &= ~(uint32_t)BIT(s->number);
    s->port->current = AHCI_NO_SLOT;
    ahci_sign(s->port, true);
}

static void set_multiple(struct ahci_slot *s, uint8_t flags)
{
    uint8_t count = s->fis[FIS_COUNT];

    if (count > AHCI_MULTIPLE || (count & (count - 1))) {
        ahci_fail(s, ATA_ABRT);
        return;
    }
    s->port->multiple = count;
    ahci_complete(s);
}

static bool set_mode(struct ahci_port *p, uint8_t mode)
{
    unsigned kind = mode & 0xf8, most = kind == MODE_UDMA ? 5 : kind == 0x20 ? 2 : 4;

    if (kind != MODE_UDMA && kind != 0x20 && kind != 0x08 && mode > 1)
        return false;
    if (mode > 1 && (mode & 7u) > most)
        return false;
    if (kind == MODE_UDMA || kind == 0x20)
        p->mode = mode;
    return true;
}

static void set_features(struct ahci_slot *s, uint8_t flags)
{
    struct ahci_port *p = s->port;
    bool known = true;

    switch (s->fis[FIS_FEATURES]) {
    case CACHE_ON:
        known = p->source.block->has_flush;
        p->write_cache = known;
        break;
    case CACHE_OFF:
        p->write_cache = false;
        flush(s); /* what is in it */
        return;
    case TRANSFER_MODE:
        known = set_mode(p, s->fis[FIS_COUNT]);
        break;
    case LOOK_AHEAD_OFF:
    case LOOK_AHEAD_ON:
        p->look_ahead = s->fis[FIS_FEATURES] == LOOK_AHEAD_ON;
        break;
    case KEEP_SETTINGS:
    case RESTORE_SETTINGS:
        break;
    default:
        known = false;
    }
    if (known)
        ahci_complete(s);
    else
        ahci_fail(s, ATA_ABRT);
}

/* Those that are asked most first. */
static const struct command commands[] = {
    {0x60, IN | QUEUED, transfer},     /* READ FPDMA QUEUED */
    {0x61, OUT | QUEUED, transfer},    /* WRITE FPDMA QUEUED */
    {0x25, IN | EXT, transfer},        /* READ DMA EXT */
    {0x35, OUT | EXT, transfer},       /* WRITE DMA EXT */
    {0xc8, IN, transfer},              /* READ DMA */
    {0xca, OUT, transfer},             /* WRITE DMA */
    {0xea, 0, flush_cache},            /* FLUSH CACHE EXT */
    {0xe7, 0, flush_cache},            /* FLUSH CACHE */
    {0x3d, OUT | EXT | FUA, transfer}, /* WRITE DMA FUA EXT */
    {0x06, OUT, manage},               /* DATA SET MANAGEMENT */
    {0x20, IN | PIO, transfer},        /* READ SECTOR(S) */
    {0x24, IN | EXT | PIO, transfer},  /* READ SECTOR(S) EXT */
    {0x29, IN | EXT | PIO, multiple},  /* READ MULTIPLE EXT */
    {0x2f, IN | PIO, read_log},        /* READ LOG EXT */
    {0x30, OUT | PIO, transfer},       /* WRITE SECTOR(S) */
    {0x34, OUT | EXT | PIO, transfer}, /* WRITE SECTOR(S) EXT */
    {0x39, OUT | EXT | PIO, multiple}, /* WRITE MULTIPLE EXT */
    {0x40, 0, verify},                 /* READ VERIFY SECTOR(S) */
    {0x42, EXT, verify},               /* READ VERIFY SECTOR(S) EXT */
    {0x90, 0, diagnose},               /* EXECUTE DEVICE DIAGNOSTIC */
    {0xc4, IN | PIO, multiple},        /* READ MULTIPLE */
    {0xc5, OUT | PIO, multiple},       /* WRITE MULTIPLE */
    {0xc6, 0, set_multiple},           /* SET MULTIPLE MODE */
    {0xe0, SLEEPS, flush_cache},       /* STANDBY IMMEDIATE */
    {0xe1, 0, idle},                   /* IDLE IMMEDIATE */
    {0xe2, SLEEPS, flush_cache},       /* STANDBY */
    {0xe3, 0, idle},                   /* IDLE */
    {0xe5, 0, check_power},            /* CHECK POWER MODE */
    {0xe6, SLEEPS, flush_cache},       /* SLEEP */
    {0xec, IN | PIO, identify},        /* IDENTIFY DEVICE */
    {0xef, 0, set_features},           /* SET FEATURES */
};

static const struct command *find(uint8_t code)
{
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
        if (commands[i].code == code)
            return &commands[i];
    return NULL;
}

/* Whether queued commands are under way besides this one. */
static bool others_queued(const struct ahci_slot *s)
{
    for (unsigned i = 0; i < AHCI_SLOTS; i++)
        if (s->port->slot[i].used && &s->port->slot[i] != s)
            return true;
    return false;
}

void ahci_drive_execute(struct ahci_slot *s)
{
    const struct command *c = find(s->fis[FIS_COMMAND]);
    bool queued = c && c->flags & QUEUED;

    if (queued && !ahci_accept(s))
        return;
    /* Serial ATA 2.6, "Native Command Queuing": an error, or what is not queued, ends all that is;
     * and after an error nothing is heard before its log was read. */
    if (!c || (!queued && others_queued(s)) || (s->port->failed && c->run != read_log) ||
        (queued && s->fis[FIS_COUNT] >> 3 != s->number)) {
        ahci_fail(s, ATA_ABRT);
        return;
    }
    s->pio = (c->flags & (PIO | IN)) == (PIO | IN);
    c->run(s, c->flags);
}

uint8_t ahci_drive_error(struct ahci_slot *s, int error)
{
    const struct disk_request *r = &s->disk;
    uint64_t lba = (r->sector + r->done) / unit(s->port);

    if (r->op != BLOCK_READ || error == -EINVAL)
        return ATA_ABRT;
    for (unsigned i = 0; i < 3; i++) {
        s->fis[FIS_LBA + i] = (uint8_t)(lba >> 8 * i);
        s->fis[FIS_LBA_EXT + i] = (uint8_t)(lba >> (24 + 8 * i));
    }
    return ATA_UNC;
}

void ahci_drive_reset(struct ahci_port *p, bool power_on)
{
    p->failed = p->held = p->standby = false;
    memset(p->log, 0, sizeof(p->log));
    p->log[0] = 0x80; /* of no queued command */
    if (!power_on)
        return;
    p->write_cache = p->source.block->has_flush;
    p->look_ahead = true;
    p->multiple = 0;
    p->mode = MODE_DEFAULT;
}
