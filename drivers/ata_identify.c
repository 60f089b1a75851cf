/* What an ATA drive says about itself, and which command does what (ACS-4, "IDENTIFY DEVICE"). */
#include "drivers/ata.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define MODEL  27
#define SERIAL 10
#define LBA28  60
#define LBA48  100

/* Some words count only where their top bits say 01. */
static uint16_t valid(const uint16_t *words, unsigned n)
{
    return words[n] >> 14 == 1 ? words[n] : 0;
}

/* Two characters a word, the first in its upper half; without blanks at the ends. */
static void text(const uint16_t *words, unsigned first, unsigned size, char *out)
{
    unsigned end = 0, start = 0;

    for (unsigned i = 0; i < size; i++) {
        uint8_t c = (uint8_t)(i & 1 ? words[first + i / 2] : words[first + i / 2] >> 8);

        out[i] = (char)(c < 0x20 || c > 0x7e ? ' ' : c);
        if (out[i] != ' ')
            end = i + 1;
    }
    while (start < end && out[start] == ' ')
        start++;
    memmove(out, out + start, end - start);
    out[end - start] = 0;
}

/* The mode that is chosen: a bit of the upper half. */
static uint8_t chosen(uint16_t word, uint8_t first)
{
    for (unsigned i = 8; i--;)
        if (word >> (8 + i) & 1)
            return (uint8_t)(first | i);
    return 0;
}

int ata_identify(const uint16_t words[256], struct ata_identity *out)
{
    uint16_t sizes = valid(words, 106), sets = valid(words, 83);
    uint64_t blocks = words[LBA28] | (uint64_t)words[LBA28 + 1] << 16;

    memset(out, 0, sizeof(*out));
    text(words, MODEL, 40, out->model);
    text(words, SERIAL, 20, out->serial);
    if (!(words[49] & BIT(9)))
        return -ENOTSUP; /* cylinders and heads */
    out->lba48 = sets & BIT(10);
    if (out->lba48) {
        uint64_t wide = 0;

        for (unsigned i = 4; i--;)
            wide = wide << 16 | words[LBA48 + i];
        blocks = wide ? wide : blocks;
    }
    out->logical_block = BLOCK_SECTOR;
    if (sizes & BIT(12))
        out->logical_block = 2 * (words[117] | (uint32_t)words[118] << 16);
    if (out->logical_block != 512 && out->logical_block != 4096)
        return -ENOTSUP;
    out->physical_block = out->logical_block;
    if (sizes & BIT(13))
        out->physical_block <<= sizes & 7; /* of four bits: 128 blocks are enough for all */
    if (!blocks || blocks >= BIT(out->lba48 ? 48 : 28))
        return -ENOTSUP;
    out->sectors = blocks * (out->logical_block / BLOCK_SECTOR);
    out->dma = words[49] & BIT(8);
    out->flush = sets & BIT(12);
    out->flush_ext = out->lba48 && (sets & BIT(13));
    out->fua = out->lba48 && out->dma && (valid(words, 84) & BIT(6));
    if (words[53] & BIT(2))
        out->transfer_mode = chosen(words[88], 0x40);
    if (!out->transfer_mode)
        out->transfer_mode = chosen(words[63], 0x20);
    return 0;
}

void ata_describe(const struct ata_identity *id, struct disk *d)
{
    struct block_device *b = &d->block;

    memcpy(d->model, id->model, sizeof(d->model));
    memcpy(b->serial, id->serial, sizeof(b->serial));
    b->sectors = id->sectors;
    b->logical_block = id->logical_block;
    b->physical_block = id->physical_block;
    b->has_flush = id->flush || id->flush_ext;
    b->has_fua = id->fua;
    d->sector_shift = id->logical_block == 4096 ? 3 : 0;
}

void ata_task(const struct ata_identity *id, const struct block_request *r, unsigned sector_shift,
              bool dma, struct ata_task *out)
{
    uint64_t lba = r->sector >> sector_shift;
    uint32_t count = r->sectors >> sector_shift;
    bool write = r->op == BLOCK_WRITE;

    *out = (struct ata_task){.device = 0x40};
    if (r->op == BLOCK_FLUSH) {
        out->command = id->flush_ext ? ATA_FLUSH_EXT : ATA_FLUSH;
        return;
    }
    out->lba = lba;
    out->wide = id->lba48 && (lba + count > BIT(28) || count > 256 || (r->flags & BLOCK_FUA));
    out->count = (uint16_t)(out->wide ? count & 0xffff : count & 0xff);
    if (!dma)
        out->command =
            write ? (out->wide ? ATA_WRITE_EXT : ATA_WRITE) : (out->wide ? ATA_READ_EXT : ATA_READ);
    else if (out->wide)
        out->command = !write                   ? ATA_READ_DMA_EXT
                       : (r->flags & BLOCK_FUA) ? ATA_WRITE_DMA_FUA_EXT
                                                : ATA_WRITE_DMA_EXT;
    else
        out->command = write ? ATA_WRITE_DMA : ATA_READ_DMA;
    if (!out->wide)
        out->device |= (uint8_t)(lba >> 24 & 0xf);
}

int ata_outcome(uint8_t status, uint8_t error)
{
    if (status == 0xff)
        return -ENODEV;
    if (!(status & (ATA_ERR | ATA_DF)))
        return 0;
    return (status & ATA_ERR) && (error & ATA_ERROR_CRC) ? -EAGAIN : -EIO;
}
