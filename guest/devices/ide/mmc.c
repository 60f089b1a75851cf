/*
 * What packets ask of a CD-ROM drive (SCSI Primary Commands; MultiMedia Commands, the profiles
 * CD-ROM and DVD-ROM): a disc with one data track, which the guest may eject, and whoever owns the
 * VM may change.
 */
#include "arch/x86/lib/errno.h"
#include "guest/devices/ide/mmc.h"

#define BLOCK 2048u

/* "Media events". */
enum { EVENT_NONE, EVENT_EJECT, EVENT_NEW, EVENT_REMOVED };

/* --- the disc --- */

static void no_disc(struct ide_drive *d)
{
    ide_cd_fail(d, NOT_READY, d->cd.open ? NO_DISC_OPEN : NO_DISC);
}

void ide_cd_unreadable(struct ide_drive *d)
{
    if (has_disc(d))
        ide_cd_fail(d, MEDIUM_ERROR, UNRECOVERED);
    else
        no_disc(d);
}

void ide_cd_changed(struct ide_drive *d)
{
    d->cd.attention = has_disc(d) ? NEW_DISC : 0;
    d->cd.event = has_disc(d) ? EVENT_NEW : EVENT_REMOVED;
}

static void closed(struct ide_drive *d)
{
    d->cd.open = false;
    d->disk.block = d->source.block;
    if (has_disc(d))
        ide_cd_changed(d);
}

static void opened(struct ide_drive *d)
{
    if (has_disc(d))
        d->cd.event = EVENT_REMOVED;
    d->cd.open = true;
    d->disk.block = NULL;
    d->cd.attention = 0;
}

int ide_cd_eject(struct ide_drive *d, bool now)
{
    if (d->under_way)
        return -EAGAIN;
    if (d->cd.locked && !now && !d->cd.open) {
        d->cd.event = EVENT_EJECT;
        return -EBUSY;
    }
    d->cd.locked = false;
    if (!d->cd.open)
        opened(d);
    return 0;
}

int ide_cd_insert(struct ide_drive *d, const struct device_disk *disc, struct device_disk *old)
{
    if (!d->cd.open && d->source.block && disc)
        return -EEXIST;
    if (disc) {
        *old = d->source;
        d->source = *disc;
    }
    if (d->cd.open || disc)
        closed(d);
    return 0;
}

static void start_stop(struct ide_drive *d, const uint8_t *packet)
{
    bool eject = packet[4] & BIT(1), start = packet[4] & BIT(0);

    if (packet[4] >> 4) { /* a power condition */
        ide_cd_succeed(d);
    } else if (eject && !start && d->cd.locked) {
        illegal(d, REMOVAL_PREVENTED);
    } else if (!eject && start && !has_disc(d)) {
        no_disc(d);
    } else {
        if (eject && !start && !d->cd.open)
            opened(d);
        else if (eject && start && d->cd.open)
            closed(d);
        ide_cd_succeed(d);
    }
}

/* --- reading --- */

static void read_blocks(struct ide_drive *d, uint32_t block, uint32_t count)
{
    if (!has_disc(d))
        no_disc(d);
    else if (block > blocks(d) || count > blocks(d) - block)
        illegal(d, BAD_BLOCK);
    else if (count == 0)
        ide_cd_succeed(d);
    else
        ide_cd_read(d, block, count);
}

/* Of READ CD what READ can: the 2048 bytes of data. */
static void read_cd(struct ide_drive *d, const uint8_t *packet)
{
    uint32_t count = (uint32_t)packet[6] << 16 | get16(packet + 7);

    if ((packet[9] & 0xf8) == 0x10)
        read_blocks(d, get32(packet + 2), count);
    else if ((packet[9] & 0xf8) == 0)
        ide_cd_succeed(d);
    else
        illegal(d, BAD_FIELD);
}

static void read_capacity(struct ide_drive *d)
{
    put32(d->buffer, blocks(d) - 1);
    put32(d->buffer + 4, BLOCK);
    ide_cd_reply(d, 8, 8);
}

/* --- what the drive says of itself --- */

static void request_sense(struct ide_drive *d, const uint8_t *packet)
{
    uint8_t *out = d->buffer;
    struct ide_cd *cd = &d->cd;

    if (cd->key == 0 && cd->attention) {
        cd->key = UNIT_ATTENTION;
        cd->code = cd->attention;
        cd->attention = 0;
    }
    memset(out, 0, 18);
    out[0] = 0x70;
    out[2] = cd->key;
    out[7] = 10;
    put16(out + 12, cd->code);
    cd->key = 0;
    cd->code = 0;
    ide_cd_reply(d, 18, packet[4]);
}

/* --- events, the mechanism --- */

static void get_event(struct ide_drive *d, const uint8_t *packet)
{
    uint8_t *out = d->buffer;
    bool media = packet[4] & BIT(4);

    if (!(packet[1] & 1)) { /* to be told later: there is no such queue */
        illegal(d, BAD_FIELD);
        return;
    }
    memset(out, 0, 8);
    put16(out, media ? 6 : 2);
    out[2] = media ? 4 : 0x80;
    out[3] = BIT(4);
    if (media) {
        out[4] = d->cd.event;
        out[5] = (uint8_t)((has_disc(d) ? 2 : 0) | (d->cd.open ? 1 : 0));
        d->cd.event = EVENT_NONE;
    }
    ide_cd_reply(d, media ? 8 : 4, get16(packet + 7));
}

static void mechanism_status(struct ide_drive *d, const uint8_t *packet)
{
    memset(d->buffer, 0, 8);
    d->buffer[1] = d->cd.open ? 0x10 : 0;
    ide_cd_reply(d, 8, get16(packet + 8));
}

/* --- */

/* What an attention does not keep from being answered. */
static bool is_always_answered(uint8_t operation)
{
    return operation == INQUIRY || operation == REQUEST_SENSE || operation == GET_CONFIGURATION ||
           operation == GET_EVENT;
}

static bool needs_disc(uint8_t operation)
{
    return operation == TEST_UNIT_READY || operation == READ_CAPACITY || operation == SEEK_10 ||
           operation == READ_TOC || operation == READ_DISC_INFORMATION;
}

void ide_cd_packet(struct ide_drive *d, const uint8_t *packet)
{
    if (packet[0] != REQUEST_SENSE) {
        d->cd.key = 0;
        d->cd.code = 0;
    }
    if (d->cd.attention && !is_always_answered(packet[0])) {
        uint16_t code = d->cd.attention;
        d->cd.attention = 0;
        ide_cd_fail(d, UNIT_ATTENTION, code);
        return;
    }
    if (needs_disc(packet[0]) && !has_disc(d)) {
        no_disc(d);
        return;
    }
    switch (packet[0]) {
    case TEST_UNIT_READY:
    case SEEK_10:
    case SET_SPEED:
        ide_cd_succeed(d);
        break;
    case REQUEST_SENSE:
        request_sense(d, packet);
        break;
    case INQUIRY:
        ide_cd_inquiry(d, packet);
        break;
    case MODE_SENSE_6:
    case MODE_SENSE_10:
        ide_cd_mode_sense(d, packet);
        break;
    case START_STOP:
        start_stop(d, packet);
        break;
    case PREVENT_ALLOW:
        d->cd.locked = packet[4] & 1;
        ide_cd_succeed(d);
        break;
    case READ_CAPACITY:
        read_capacity(d);
        break;
    case READ_10:
        read_blocks(d, get32(packet + 2), get16(packet + 7));
        break;
    case READ_12:
        read_blocks(d, get32(packet + 2), get32(packet + 6));
        break;
    case READ_CD:
        read_cd(d, packet);
        break;
    case READ_TOC:
        ide_cd_toc(d, packet);
        break;
    case GET_CONFIGURATION:
        ide_cd_configuration(d, packet);
        break;
    case GET_EVENT:
        get_event(d, packet);
        break;
    case READ_DISC_INFORMATION:
        ide_cd_disc_information(d, packet);
        break;
    case MECHANISM_STATUS:
        mechanism_status(d, packet);
        break;
    default:
        illegal(d, BAD_OPERATION);
    }
}
