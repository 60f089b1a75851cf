/*
 * A CD-ROM drive as its channel sees it (ATA/ATAPI-6, "PACKET" and its protocols): packets come and
 * answers go, by PIO or DMA. What packets mean is mmc.c's.
 */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/devices/ide/ide.h"

#define READY     (IDE_DRDY | IDE_DSC)
#define SIGNATURE 0xeb14

/* PACKET's feature register. */
#define BY_DMA     BIT(0)
#define OVERLAPPED BIT(1)

/* "Interrupt reason", in the count register. */
#define REASON_COMMAND BIT(0)
#define REASON_TO_HOST BIT(1)

#define TRANSFER_MODE 0x03 /* of SET FEATURES */

/* Commands of the command register. */
enum {
    IDLE_IMMEDIATE_OLD = 0x94,
    SLEEP_OLD = 0x99,
    PACKET = 0xa0,
    IDENTIFY_PACKET = 0xa1,
    STANDBY_IMMEDIATE = 0xe0,
    CHECK_POWER = 0xe5,
    SLEEP = 0xe6,
    IDENTIFY = 0xec,
    SET_FEATURES = 0xef,
};

static void finish(struct ide_drive *d, uint8_t status, uint8_t error)
{
    d->cd.in_packet = false;
    d->registers.count[0] = REASON_COMMAND | REASON_TO_HOST;
    ide_complete(d, status, error, true);
}

void ide_cd_succeed(struct ide_drive *d)
{
    finish(d, READY, 0);
}

void ide_cd_fail(struct ide_drive *d, uint8_t key, uint16_t code)
{
    d->cd.key = key;
    d->cd.code = code;
    finish(d, READY | IDE_ERR, (uint8_t)(key << 4 | IDE_ABRT));
}

static void abort_command(struct ide_drive *d)
{
    ide_complete(d, READY | IDE_ERR, IDE_ABRT, true);
}

/* --- packets, and what moves for them --- */

static void packet_command(struct ide_drive *d)
{
    const struct ide_registers *r = &d->registers;
    uint32_t bytes = r->mid[0] | (uint32_t)r->high[0] << 8;

    if (r->feature[0] & OVERLAPPED) {
        abort_command(d);
        return;
    }
    d->cd.in_packet = true;
    d->cd.by_dma = r->feature[0] & BY_DMA;
    /* "Byte count limit": blocks are even, but for the last one. */
    d->cd.most = (uint16_t)(bytes < 2 ? IDE_BUFFER : MIN(bytes & ~1u, IDE_BUFFER));
    d->mode = IDE_PACKET;
    d->block = IDE_PACKET_BYTES;
    d->left = 0;
    ide_begin(d);
}

void ide_cd_reply(struct ide_drive *d, uint32_t bytes, uint32_t allocated)
{
    bytes = MIN(bytes, allocated);
    d->mode = d->cd.by_dma ? IDE_DMA_IN : IDE_PIO_IN;
    d->block = d->cd.most;
    ide_begin_reply(d, bytes);
}

void ide_cd_read(struct ide_drive *d, uint32_t block, uint32_t count)
{
    d->mode = d->cd.by_dma ? IDE_DMA_IN : IDE_PIO_IN;
    d->block = d->cd.most;
    d->sector = (uint64_t)block * IDE_CD_SECTORS;
    d->left = count * IDE_CD_SECTORS;
    d->flush = false;
    ide_begin(d);
}

static void offer(struct ide_drive *d, uint32_t bytes)
{
    struct ide_registers *r = &d->registers;

    if (!d->cd.in_packet)
        return;
    r->count[0] = d->mode == IDE_PACKET ? REASON_COMMAND : REASON_TO_HOST;
    r->mid[0] = (uint8_t)bytes;
    r->high[0] = (uint8_t)(bytes >> 8);
}

static void done(struct ide_drive *d, enum ide_mode mode, int error)
{
    if (!d->cd.in_packet)
        ide_complete(d, READY, 0, mode != IDE_PIO_IN);
    else if (error == 0)
        ide_cd_succeed(d);
    else
        ide_cd_unreadable(d);
}

static void packet(struct ide_drive *d)
{
    uint8_t bytes[IDE_PACKET_BYTES];

    memcpy(bytes, d->buffer, sizeof(bytes));
    ide_cd_packet(d, bytes);
}

/* --- other commands --- */

static void identify(struct ide_drive *d)
{
    uint16_t words[256];

    ide_cd_identify(d, words);
    memcpy(d->buffer, words, sizeof(words));
    d->mode = IDE_PIO_IN;
    d->block = sizeof(words);
    ide_begin_reply(d, sizeof(words));
}

static void set_features(struct ide_drive *d)
{
    bool known =
        d->registers.feature[0] == TRANSFER_MODE && ide_set_transfer_mode(d, d->registers.count[0]);

    if (known)
        ide_complete(d, READY, 0, true);
    else
        abort_command(d);
}

/* Aborted, and the registers say why: this is no disk. */
static void not_a_disk(struct ide_drive *d)
{
    ide_sign(d);
    abort_command(d);
}

static void command(struct ide_drive *d, uint8_t code)
{
    switch (code) {
    case PACKET:
        packet_command(d);
        break;
    case IDENTIFY_PACKET:
        identify(d);
        break;
    case IDENTIFY:
        not_a_disk(d);
        break;
    case SET_FEATURES:
        set_features(d);
        break;
    case CHECK_POWER:
        d->registers.count[0] = 0xff;
        ide_complete(d, READY, 0, true);
        break;
    case IDLE_IMMEDIATE_OLD ... SLEEP_OLD:
    case STANDBY_IMMEDIATE ... CHECK_POWER - 1:
    case SLEEP:
        ide_complete(d, READY, 0, true);
        break;
    default:
        abort_command(d);
    }
}

/* --- power-on and saved state --- */

static void reset(struct ide_drive *d)
{
    bool open = d->cd.open;

    d->transfer_mode = IDE_MWDMA2;
    d->cd = (struct ide_cd){.open = open, .attention = IDE_CD_POWER_ON};
}

static void save(const struct ide_drive *d, struct state_writer *w)
{
    const struct ide_cd *cd = &d->cd;

    state_put_u8(w, d->transfer_mode);
    state_put_u8(w, cd->key);
    state_put_u16(w, cd->code);
    state_put_u16(w, cd->attention);
    state_put_u16(w, cd->most);
    state_put_u8(w, cd->event);
    state_put_u8(w, cd->in_packet);
    state_put_u8(w, cd->by_dma);
    state_put_u8(w, cd->locked);
    state_put_u8(w, cd->open);
    state_put(w, d->source.serial, DEVICE_SERIAL);
}

static bool load(struct ide_drive *d, struct state_reader *r)
{
    struct ide_cd *cd = &d->cd;
    char disc[DEVICE_SERIAL];

    d->transfer_mode = state_get_u8(r);
    cd->key = state_get_u8(r) & 0xf;
    cd->code = state_get_u16(r);
    cd->attention = state_get_u16(r);
    cd->most = state_get_u16(r);
    cd->event = state_get_u8(r) & 0xf;
    cd->in_packet = state_get_u8(r) & 1;
    cd->by_dma = state_get_u8(r) & 1;
    cd->locked = state_get_u8(r) & 1;
    cd->open = state_get_u8(r) & 1;
    state_get(r, disc, sizeof(disc));
    d->disk.block = cd->open ? NULL : d->source.block;
    if (!cd->open && memcmp(disc, d->source.serial, sizeof(disc)) != 0)
        ide_cd_changed(d);
    return d->mode != IDE_PIO_OUT && d->mode != IDE_DMA_OUT && d->mode != IDE_VERIFY &&
           (d->mode != IDE_PACKET || cd->in_packet) &&
           (!cd->in_packet || (cd->most >= 2 && cd->most % 2 == 0 && cd->most <= IDE_BUFFER)) &&
           ide_is_dma_mode(d->transfer_mode);
}

const struct ide_kind ide_cd = {
    .signature = SIGNATURE,
    .command = command,
    .offer = offer,
    .packet = packet,
    .done = done,
    .reset = reset,
    .save = save,
    .load = load,
};
