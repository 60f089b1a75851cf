/* What a CD-ROM drive says of itself and of its disc, which has one data track. */
#include "guest/devices/ide/mmc.h"

#define CD_BLOCKS  360000u /* 80 minutes; what is larger is a DVD */
#define LEAD_IN    150u    /* blocks before block 0, in minutes, seconds and frames */
#define LAST_TRACK 0xaa    /* the lead-out's number */
#define DATA_TRACK 0x14

void ide_cd_inquiry(struct ide_drive *d, const uint8_t *packet)
{
    uint8_t *out = d->buffer;

    if ((packet[1] & 1) || packet[2]) { /* pages of vital product data */
        illegal(d, BAD_FIELD);
        return;
    }
    memset(out, 0, 36);
    out[0] = 5;    /* a CD-ROM drive */
    out[1] = 0x80; /* removable */
    out[3] = 0x21; /* ATAPI */
    out[4] = 31;
    memcpy(out + 8, "Corbel  CD-ROM          1.0 ", 28);
    ide_cd_reply(d, 36, get16(packet + 3));
}

static uint32_t error_page(uint8_t *out)
{
    memset(out, 0, 8);
    out[0] = 0x01;
    out[1] = 6;
    return 8;
}

static uint32_t capabilities_page(const struct ide_drive *d, uint8_t *out)
{
    memset(out, 0, 20);
    out[0] = 0x2a;
    out[1] = 18;
    out[2] = 0x0b;                                     /* reads CD-R, CD-RW, DVD-ROM */
    out[4] = 0x70;                                     /* mode 2 forms 1 and 2, several sessions */
    out[6] = (uint8_t)(0x29 | (d->cd.locked ? 2 : 0)); /* a tray, which opens, and can be locked */
    put16(out + 8, 2816);                              /* 16 x 176 kB/s, at most and now */
    put16(out + 12, IDE_BUFFER / 1024);
    put16(out + 14, 2816);
    return 20;
}

void ide_cd_mode_sense(struct ide_drive *d, const uint8_t *packet)
{
    bool long_form = packet[0] == MODE_SENSE_10;
    uint32_t header = long_form ? 8 : 4, bytes = header;
    unsigned control = packet[2] >> 6, page = packet[2] & 0x3f;
    uint8_t *out = d->buffer;

    memset(out, 0, header);
    if (page == 0x01 || page == 0x3f)
        bytes += error_page(out + bytes);
    if (page == 0x2a || page == 0x3f)
        bytes += capabilities_page(d, out + bytes);
    if (bytes == header || control == 3) {
        illegal(d, bytes == header ? BAD_FIELD : NO_SAVED_VALUES);
        return;
    }
    if (control == 1) /* nothing can be changed */
        for (uint32_t at = header; at < bytes; at += out[at + 1] + 2u)
            memset(out + at + 2, 0, out[at + 1]);
    if (long_form)
        put16(out, bytes - 2);
    else
        out[0] = (uint8_t)(bytes - 1);
    out[long_form ? 2 : 1] = d->cd.open ? 0x71 : has_disc(d) ? 0x01 : 0x70;
    ide_cd_reply(d, bytes, long_form ? get16(packet + 7) : packet[4]);
}

/* --- the table of contents: one track --- */

static void put_address(uint8_t *out, uint32_t block, bool time)
{
    uint32_t frames = block + LEAD_IN;

    if (!time) {
        put32(out, block);
        return;
    }
    out[0] = 0;
    out[1] = (uint8_t)(frames / 75 / 60);
    out[2] = (uint8_t)(frames / 75 % 60);
    out[3] = (uint8_t)(frames % 75);
}

static uint32_t put_track(uint8_t *out, uint8_t track, uint32_t block, bool time)
{
    memset(out, 0, 4);
    out[1] = DATA_TRACK;
    out[2] = track;
    put_address(out + 4, block, time);
    return 8;
}

/* Of the "full" table: a point, and what stands in its minutes, seconds and frames. */
static uint32_t put_point(uint8_t *out, uint8_t point, uint32_t time)
{
    memset(out, 0, 11);
    out[0] = 1;
    out[1] = DATA_TRACK;
    out[3] = point;
    out[8] = (uint8_t)(time >> 16);
    out[9] = (uint8_t)(time >> 8);
    out[10] = (uint8_t)time;
    return 11;
}

static uint32_t as_time(uint32_t block)
{
    uint8_t a[4];

    put_address(a, block, true);
    return (uint32_t)a[1] << 16 | (uint32_t)a[2] << 8 | a[3];
}

void ide_cd_toc(struct ide_drive *d, const uint8_t *packet)
{
    /* The format's place was another one once. */
    unsigned format = packet[2] & 0xf ? packet[2] & 0xf : packet[9] >> 6;
    bool time = packet[1] & BIT(1);
    uint8_t *out = d->buffer;
    uint32_t bytes = 4;

    out[2] = out[3] = 1; /* first and last track, or session */
    switch (format) {
    case 0:
        if (packet[6] > 1 && packet[6] != LAST_TRACK) {
            illegal(d, BAD_FIELD);
            return;
        }
        if (packet[6] <= 1)
            bytes += put_track(out + bytes, 1, 0, time);
        bytes += put_track(out + bytes, LAST_TRACK, blocks(d), time);
        break;
    case 1:
        bytes += put_track(out + bytes, 1, 0, time);
        break;
    case 2:
        bytes += put_point(out + bytes, 0xa0, 0x010000);
        bytes += put_point(out + bytes, 0xa1, 0x010000);
        bytes += put_point(out + bytes, 0xa2, as_time(blocks(d)));
        bytes += put_point(out + bytes, 0x01, as_time(0));
        break;
    default:
        illegal(d, BAD_FIELD);
        return;
    }
    put16(out, bytes - 2);
    ide_cd_reply(d, bytes, get16(packet + 7));
}

/* --- profiles --- */

static unsigned profile(const struct ide_drive *d)
{
    return !has_disc(d) ? 0 : blocks(d) > CD_BLOCKS ? 0x10 : 0x08;
}

static uint32_t put_feature(uint8_t *out, unsigned code, bool current, const uint8_t *data,
                            unsigned length)
{
    put16(out, code);
    out[2] = current ? 1 : 0;
    out[3] = (uint8_t)length;
    memcpy(out + 4, data, length);
    return 4 + length;
}

void ide_cd_configuration(struct ide_drive *d, const uint8_t *packet)
{
    const unsigned now = profile(d), from = get16(packet + 2), which = packet[1] & 3;
    const uint8_t profiles[] = {0, 0x10, now == 0x10, 0, 0, 0x08, now == 0x08, 0};
    static const uint8_t core[] = {0, 0, 0, 2, 0, 0, 0, 0}; /* ATAPI */
    static const uint8_t removable[] = {0x29, 0, 0, 0};
    static const uint8_t readable[] = {0, 0, 8, 0, 0, 1, 0, 0}; /* blocks of 2048 bytes */
    static const uint8_t reads[] = {0, 0, 0, 0};
    const struct {
        uint16_t code;
        bool current;
        uint8_t length;
        const uint8_t *data;
    } features[] = {
        {0x00, true, sizeof(profiles), profiles},   {0x01, true, sizeof(core), core},
        {0x03, true, sizeof(removable), removable}, {0x10, now, sizeof(readable), readable},
        {0x1e, now == 0x08, sizeof(reads), reads},  {0x1f, now == 0x10, sizeof(reads), reads},
    };
    uint32_t bytes = 8;

    memset(d->buffer, 0, 8);
    for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
        if (features[i].code >= from && (which != 2 || features[i].code == from) &&
            (which != 1 || features[i].current))
            bytes += put_feature(d->buffer + bytes, features[i].code, features[i].current,
                                 features[i].data, features[i].length);
    put32(d->buffer, bytes - 4);
    put16(d->buffer + 6, now);
    ide_cd_reply(d, bytes, get16(packet + 7));
}

void ide_cd_disc_information(struct ide_drive *d, const uint8_t *packet)
{
    uint8_t *out = d->buffer;

    memset(out, 0, 34);
    put16(out, 32);
    out[2] = 0x0e; /* complete, as is its last session */
    out[3] = out[4] = out[5] = out[6] = 1;
    out[7] = 0x20;             /* for unrestricted use */
    memset(out + 16, 0xff, 8); /* nothing can be added */
    ide_cd_reply(d, 34, get16(packet + 7));
}
