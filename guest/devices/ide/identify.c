/* What drives say of themselves (ATA/ATAPI-6 and 8, "IDENTIFY DEVICE", "IDENTIFY PACKET DEVICE").
 */
#include "arch/x86/lib/string.h"
#include "guest/devices/ide/ide.h"

#define DISK_MODEL "Corbel disk"
#define CD_MODEL   "Corbel CD-ROM"
#define REVISION   "1.0"

#define CYLINDERS 16383u /* at most, in words of 16 bits */
#define LBA28     0x0fffffffu

#define VALID 0x4000 /* bits 15-14 of the words that say so of themselves */

/* Words 82 and 85, 83 and 86. */
#define NOP_COMMAND      BIT(14)
#define RESET_COMMAND    BIT(9)
#define PACKETS          BIT(4)
#define WRITE_CACHE      BIT(5)
#define POWER_MANAGEMENT BIT(3)
#define FLUSH_EXT        BIT(13)
#define FLUSH            BIT(12)
#define LBA48            BIT(10)
#define WRITE_FUA        BIT(6) /* 84 and 87 */

void ide_text(uint16_t *words, unsigned count, const char *text)
{
    size_t length = strlen(text);

    for (unsigned i = 0; i < count; i++) {
        char high = 2 * i < length ? text[2 * i] : ' ';
        char low = 2 * i + 1 < length ? text[2 * i + 1] : ' ';
        words[i] = (uint16_t)((uint8_t)high << 8 | (uint8_t)low);
    }
}

static void put_dword(uint16_t *words, uint32_t value)
{
    words[0] = (uint16_t)value;
    words[1] = (uint16_t)(value >> 16);
}

static void put_geometry(const struct ide_drive *d, uint16_t *words, uint64_t blocks)
{
    uint32_t cylinders = (uint32_t)MIN(blocks / (16 * 63), CYLINDERS);
    uint32_t current = (uint32_t)MIN(blocks / (d->heads * d->sectors), UINT16_MAX);

    words[1] = (uint16_t)cylinders;
    words[3] = 16;
    words[6] = 63;
    words[54] = (uint16_t)current;
    words[55] = d->heads;
    words[56] = d->sectors;
    put_dword(words + 57, current * d->heads * d->sectors);
}

static void put_features(const struct ide_drive *d, uint16_t *words)
{
    bool cache = d->source.block->has_flush;

    words[82] = NOP_COMMAND | POWER_MANAGEMENT | (cache ? WRITE_CACHE : 0);
    words[83] = VALID | FLUSH_EXT | FLUSH | LBA48;
    words[84] = VALID | WRITE_FUA;
    words[85] = NOP_COMMAND | POWER_MANAGEMENT | (cache && d->write_cache ? WRITE_CACHE : 0);
    words[86] = FLUSH_EXT | FLUSH | LBA48;
    words[87] = VALID | WRITE_FUA;
}

static void put_block_sizes(const struct block_device *b, uint16_t *words)
{
    words[106] = VALID;
    if (b->physical_block > b->logical_block)
        words[106] |= (uint16_t)(BIT(13) | __builtin_ctz(b->physical_block / b->logical_block));
    if (b->logical_block > BLOCK_SECTOR) {
        words[106] |= BIT(12);
        put_dword(words + 117, b->logical_block / 2);
    }
}

static void put_common(const struct ide_drive *d, uint16_t *words, const char *model)
{
    ide_text(words + 23, 4, REVISION);
    ide_text(words + 27, 20, model);
    words[49] = BIT(11) | BIT(10) | BIT(9) | BIT(8);                    /* IORDY, LBA, DMA */
    words[53] = BIT(1);                                                 /* words 64-70 count */
    words[63] = (uint16_t)(BIT(d->transfer_mode - IDE_MWDMA0 + 8) | 7); /* multiword DMA 0-2 */
    words[64] = 3;                                                      /* PIO 3 and 4 */
    for (unsigned i = 65; i <= 68; i++)
        words[i] = 120; /* ns */
    words[80] = 0xf0;   /* ATA/ATAPI-4 to 7 */
}

void ide_disk_identify(const struct ide_drive *d, uint16_t words[256])
{
    const struct block_device *b = d->source.block;
    uint64_t blocks = b->sectors / (b->logical_block / BLOCK_SECTOR);

    memset(words, 0, 512);
    words[0] = BIT(6); /* not removable */
    put_geometry(d, words, blocks);
    ide_text(words + 10, 10, d->source.serial);
    put_common(d, words, DISK_MODEL);
    words[47] = 0x8000 | MIN(IDE_MULTIPLE, IDE_BUFFER / b->logical_block);
    words[48] = VALID;
    words[50] = VALID;
    words[51] = words[52] = 0x0200;
    words[53] |= BIT(0); /* words 54-58 count */
    words[59] = d->multiple ? BIT(8) | d->multiple : 0;
    put_dword(words + 60, (uint32_t)MIN(blocks, LBA28));
    put_features(d, words);
    words[93] = VALID | BIT(13) | BIT(0);
    put_dword(words + 100, (uint32_t)blocks);
    put_dword(words + 102, (uint32_t)(blocks >> 32));
    put_block_sizes(b, words);
}

void ide_cd_identify(const struct ide_drive *d, uint16_t words[256])
{
    memset(words, 0, 512);
    words[0] = 0x85c0; /* a CD-ROM, removable; DRQ follows at once; packets of 12 bytes */
    put_common(d, words, CD_MODEL);
    words[82] = words[85] = NOP_COMMAND | RESET_COMMAND | PACKETS | POWER_MANAGEMENT;
    words[83] = words[84] = words[87] = VALID;
    words[93] = VALID | BIT(13) | BIT(0);
}
