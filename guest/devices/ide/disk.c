/* What a disk does with commands (ATA/ATAPI-6, "Command descriptions"). */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/devices/ide/ide.h"

#define READY (IDE_DRDY | IDE_DSC)

/* What a command says of a transfer. */
#define WRITE    BIT(0)
#define DMA      BIT(1)
#define EXT      BIT(2) /* 48 bits of address, 16 of count */
#define MULTIPLE BIT(3)
#define VERIFY   BIT(4)
#define FUA      BIT(5)

#define DEFAULT_HEADS   16
#define DEFAULT_SECTORS 63

/* SET FEATURES' sub-commands. */
enum {
    CACHE_ON = 0x02,
    TRANSFER_MODE = 0x03,
    READ_AHEAD_OFF = 0x55,
    KEEP_OVER_RESET = 0x66,
    CACHE_OFF = 0x82,
    READ_AHEAD_ON = 0xaa,
    DEFAULTS_OVER_RESET = 0xcc,
};

static void succeed(struct ide_drive *d)
{
    ide_complete(d, READY, 0, true);
}

static void fail(struct ide_drive *d, uint8_t error)
{
    ide_complete(d, READY | IDE_ERR, error, true);
}

static uint32_t unit(const struct ide_drive *d)
{
    return d->source.block->logical_block / BLOCK_SECTOR;
}

/* --- addresses, in blocks --- */

static uint64_t lba(const struct ide_drive *d, bool wide)
{
    const struct ide_registers *r = &d->registers;
    uint64_t low = r->low[0] | (uint32_t)r->mid[0] << 8 | (uint32_t)r->high[0] << 16;

    if (!wide)
        return low | (uint32_t)(r->device & 0xf) << 24;
    return low | (uint64_t)(r->low[1] | (uint32_t)r->mid[1] << 8 | (uint32_t)r->high[1] << 16)
                     << 24;
}

/* By cylinder, head and sector: false where there is none. */
static bool chs(const struct ide_drive *d, uint64_t *block)
{
    const struct ide_registers *r = &d->registers;
    uint32_t cylinder = r->mid[0] | (uint32_t)r->high[0] << 8, head = r->device & 0xf;

    *block = ((uint64_t)cylinder * d->heads + head) * d->sectors + r->low[0] - 1;
    return head < d->heads && r->low[0] != 0 && r->low[0] <= d->sectors;
}

static bool address(const struct ide_drive *d, bool wide, uint64_t *block)
{
    if (!wide && !(d->registers.device & IDE_LBA))
        return chs(d, block);
    *block = lba(d, wide);
    return true;
}

/* The first block in error, as it was asked for. */
static void put_address(struct ide_drive *d, uint64_t block)
{
    struct ide_registers *r = &d->registers;
    uint64_t value = block;
    uint8_t top = block >> 24 & 0xf;

    if (!(r->device & IDE_LBA)) {
        value = block / d->sectors / d->heads << 8 | (block % d->sectors + 1);
        top = (uint8_t)(block / d->sectors % d->heads);
    }
    for (unsigned i = 0; i < 2; i++, value >>= 24) {
        r->low[i] = (uint8_t)value;
        r->mid[i] = (uint8_t)(value >> 8);
        r->high[i] = (uint8_t)(value >> 16);
    }
    r->device = (uint8_t)((r->device & 0xf0) | top);
}

/* --- data --- */

static uint8_t mode_of(unsigned how)
{
    if (how & VERIFY)
        return IDE_VERIFY;
    if (how & DMA)
        return how & WRITE ? IDE_DMA_OUT : IDE_DMA_IN;
    return how & WRITE ? IDE_PIO_OUT : IDE_PIO_IN;
}

static void transfer(struct ide_drive *d, unsigned how)
{
    const struct ide_registers *r = &d->registers;
    uint64_t block, blocks = d->source.block->sectors / unit(d);
    uint32_t count = r->count[0] ? r->count[0] : 256;

    if (how & EXT) {
        count = r->count[0] | (uint32_t)r->count[1] << 8;
        count = count ? count : 65536;
    }
    if (((how & WRITE) && d->source.read_only) || ((how & MULTIPLE) && !d->multiple)) {
        fail(d, IDE_ABRT);
        return;
    }
    if (!address(d, how & EXT, &block) || block > blocks || count > blocks - block) {
        fail(d, IDE_IDNF);
        return;
    }
    d->mode = mode_of(how);
    d->sector = block * unit(d);
    d->left = count * unit(d);
    d->block = d->source.block->logical_block * (how & MULTIPLE ? d->multiple : 1);
    d->flush = (how & WRITE) && d->source.block->has_flush && ((how & FUA) || !d->write_cache);
    ide_begin(d);
}

static void identify(struct ide_drive *d)
{
    uint16_t words[256];

    ide_disk_identify(d, words);
    memcpy(d->buffer, words, sizeof(words));
    d->mode = IDE_PIO_IN;
    d->block = sizeof(words);
    ide_begin_reply(d, sizeof(words));
}

/* Nothing but what the drive's cache holds. */
static void flush(struct ide_drive *d)
{
    d->mode = IDE_PIO_OUT;
    d->left = 0;
    d->flush = true;
    ide_begin(d);
}

static void done(struct ide_drive *d, enum ide_mode mode, int error)
{
    if (error == 0) {
        ide_complete(d, READY, 0, mode != IDE_PIO_IN);
        return;
    }
    put_address(d, d->sector / unit(d));
    fail(d, mode == IDE_PIO_OUT || mode == IDE_DMA_OUT ? IDE_ABRT : IDE_UNC);
}

/* --- settings --- */

bool ide_set_transfer_mode(struct ide_drive *d, uint8_t mode)
{
    bool pio = mode <= 0x01 || (mode >= 0x08 && mode <= 0x0c);

    if (!pio && !ide_is_dma_mode(mode))
        return false;
    if (!pio)
        d->transfer_mode = mode;
    return true;
}

static void set_features(struct ide_drive *d)
{
    bool known = true;

    switch (d->registers.feature[0]) {
    case CACHE_ON:
        d->write_cache = true;
        break;
    case CACHE_OFF:
        d->write_cache = false;
        flush(d);
        return;
    case TRANSFER_MODE:
        known = ide_set_transfer_mode(d, d->registers.count[0]);
        break;
    case READ_AHEAD_ON:
    case READ_AHEAD_OFF:
    case KEEP_OVER_RESET:
    case DEFAULTS_OVER_RESET:
        break;
    default:
        known = false;
    }
    if (known)
        succeed(d);
    else
        fail(d, IDE_ABRT);
}

static void set_multiple(struct ide_drive *d)
{
    uint8_t n = d->registers.count[0];

    if (n > IDE_MULTIPLE || (n & (n - 1)) || n * d->source.block->logical_block > IDE_BUFFER) {
        fail(d, IDE_ABRT);
        return;
    }
    d->multiple = n;
    succeed(d);
}

/* INITIALIZE DEVICE PARAMETERS: the translation of addresses by cylinder, head and sector. */
static void set_geometry(struct ide_drive *d)
{
    if (d->registers.count[0] == 0) {
        fail(d, IDE_ABRT);
        return;
    }
    d->sectors = d->registers.count[0];
    d->heads = (d->registers.device & 0xf) + 1;
    succeed(d);
}

static void seek(struct ide_drive *d)
{
    uint64_t block;

    if (address(d, false, &block) && block < d->source.block->sectors / unit(d))
        succeed(d);
    else
        fail(d, IDE_IDNF);
}

static void command(struct ide_drive *d, uint8_t code)
{
    switch (code) {
    case 0x10 ... 0x1f: /* RECALIBRATE */
    case 0x95:          /* IDLE IMMEDIATE, as it was */
    case 0x97:          /* IDLE */
    case 0xe1:
    case 0xe3:
        succeed(d);
        break;
    case 0x20 ... 0x21:
        transfer(d, 0);
        break;
    case 0x24:
        transfer(d, EXT);
        break;
    case 0x25:
        transfer(d, EXT | DMA);
        break;
    case 0x29:
        transfer(d, EXT | MULTIPLE);
        break;
    case 0x30 ... 0x31:
        transfer(d, WRITE);
        break;
    case 0x34:
        transfer(d, WRITE | EXT);
        break;
    case 0x35:
        transfer(d, WRITE | EXT | DMA);
        break;
    case 0x39:
        transfer(d, WRITE | EXT | MULTIPLE);
        break;
    case 0x3d:
        transfer(d, WRITE | EXT | DMA | FUA);
        break;
    case 0x40 ... 0x41:
        transfer(d, VERIFY);
        break;
    case 0x42:
        transfer(d, VERIFY | EXT);
        break;
    case 0x70 ... 0x7f:
        seek(d);
        break;
    case 0x91:
        set_geometry(d);
        break;
    case 0x94: /* STANDBY IMMEDIATE, as it was, STANDBY, SLEEP */
    case 0x96:
    case 0x99:
    case 0xe0:
    case 0xe2:
    case 0xe6:
    case 0xe7: /* FLUSH CACHE (EXT) */
    case 0xea:
        flush(d);
        break;
    case 0x98: /* CHECK POWER MODE: active */
    case 0xe5:
        d->registers.count[0] = 0xff;
        succeed(d);
        break;
    case 0xc4:
        transfer(d, MULTIPLE);
        break;
    case 0xc5:
        transfer(d, WRITE | MULTIPLE);
        break;
    case 0xc6:
        set_multiple(d);
        break;
    case 0xc8 ... 0xc9:
        transfer(d, DMA);
        break;
    case 0xca ... 0xcb:
        transfer(d, WRITE | DMA);
        break;
    case 0xce:
        transfer(d, WRITE | EXT | MULTIPLE | FUA);
        break;
    case 0xec:
        identify(d);
        break;
    case 0xef:
        set_features(d);
        break;
    default: /* NOP among them */
        fail(d, IDE_ABRT);
    }
}

/* --- power-on and saved state --- */

static uint8_t largest_multiple(const struct ide_drive *d)
{
    return (uint8_t)MIN(IDE_MULTIPLE, IDE_BUFFER / d->source.block->logical_block);
}

static void reset(struct ide_drive *d)
{
    d->heads = DEFAULT_HEADS;
    d->sectors = DEFAULT_SECTORS;
    d->multiple = largest_multiple(d);
    d->transfer_mode = IDE_MWDMA2;
    d->write_cache = true;
}

static void save(const struct ide_drive *d, struct state_writer *w)
{
    state_put_u8(w, d->heads);
    state_put_u8(w, d->sectors);
    state_put_u8(w, d->multiple);
    state_put_u8(w, d->transfer_mode);
    state_put_u8(w, d->write_cache);
}

static bool load(struct ide_drive *d, struct state_reader *r)
{
    d->heads = state_get_u8(r);
    d->sectors = state_get_u8(r);
    d->multiple = state_get_u8(r);
    d->transfer_mode = state_get_u8(r);
    d->write_cache = state_get_u8(r) & 1;
    return d->heads >= 1 && d->heads <= 16 && d->sectors >= 1 &&
           !(d->multiple & (d->multiple - 1)) && d->multiple <= largest_multiple(d) &&
           d->mode != IDE_PACKET && ide_is_dma_mode(d->transfer_mode);
}

const struct ide_kind ide_disk = {
    .ready = READY,
    .command = command,
    .done = done,
    .reset = reset,
    .save = save,
    .load = load,
};
