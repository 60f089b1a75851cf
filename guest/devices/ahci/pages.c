/* What a drive says of itself (ATA8-ACS, "IDENTIFY DEVICE", and "Log page definitions"). */
#include "arch/x86/lib/string.h"
#include "guest/devices/ahci/ahci.h"

#define MODEL    "Corbel disk"
#define REVISION "1.0"
#define LBA28    0x0fffffffu
#define VALID    0x4000u /* bits 15-14 of the words that say so of themselves */

/* Words 82 to 87. */
#define WRITE_CACHE BIT(5)
#define LOOK_AHEAD  BIT(6)
#define POWER       BIT(3)
#define FLUSH_EXT   BIT(13)
#define FLUSH       BIT(12)
#define LBA48       BIT(10)
#define WRITE_FUA   BIT(6)
#define LOGS        BIT(5)

#define LOG_DIRECTORY 0x00
#define LOG_QUEUE     0x10

static void put_text(uint16_t *words, unsigned count, const char *text)
{
    size_t length = strlen(text);

    for (unsigned i = 0; i < count; i++) {
        char high = 2 * i < length ? text[2 * i] : ' ';
        char low = 2 * i + 1 < length ? text[2 * i + 1] : ' ';
        words[i] = (uint16_t)((uint8_t)high << 8 | (uint8_t)low);
    }
}

static void put_number(uint16_t *words, unsigned count, uint64_t value)
{
    for (unsigned i = 0; i < count; i++, value >>= 16)
        words[i] = (uint16_t)value;
}

/* The last byte makes the sum of all zero. */
static void put_sum(void *page)
{
    uint8_t *bytes = page, sum = 0;

    for (unsigned i = 0; i < AHCI_PAGE - 1; i++)
        sum += bytes[i];
    bytes[AHCI_PAGE - 1] = (uint8_t)-sum;
}

static void put_features(const struct ahci_port *p, uint16_t *words)
{
    bool cache = p->source.block->has_flush;

    words[82] = LOOK_AHEAD | POWER | (cache ? WRITE_CACHE : 0);
    words[83] = VALID | FLUSH_EXT | FLUSH | LBA48;
    words[84] = VALID | WRITE_FUA | LOGS;
    words[85] =
        POWER | (p->look_ahead ? LOOK_AHEAD : 0) | (cache && p->write_cache ? WRITE_CACHE : 0);
    words[86] = FLUSH_EXT | FLUSH | LBA48;
    words[87] = VALID | WRITE_FUA | LOGS;
}

static void put_blocks(const struct block_device *b, uint16_t *words)
{
    uint64_t blocks = b->sectors / (b->logical_block / BLOCK_SECTOR);

    put_number(words + 60, 2, MIN(blocks, LBA28));
    put_number(words + 100, 4, blocks);
    words[106] = VALID;
    if (b->physical_block > b->logical_block)
        words[106] |= (uint16_t)(BIT(13) | __builtin_ctz(b->physical_block / b->logical_block));
    if (b->logical_block > BLOCK_SECTOR) {
        words[106] |= BIT(12);
        put_number(words + 117, 2, b->logical_block / 2);
    }
    words[209] = VALID;
}

void ahci_identify(const struct ahci_port *p, uint16_t words[AHCI_PAGE / 2])
{
    const struct block_device *b = p->source.block;

    memset(words, 0, AHCI_PAGE);
    words[0] = BIT(6); /* not removable */
    words[1] = 16383;  /* cylinders, heads and sectors of all that is larger */
    words[3] = 16;
    words[6] = 63;
    put_text(words + 10, 10, p->source.serial);
    put_text(words + 23, 4, REVISION);
    put_text(words + 27, 20, MODEL);
    words[47] = 0x8000 | AHCI_MULTIPLE;
    words[49] = BIT(11) | BIT(10) | BIT(9) | BIT(8); /* IORDY, LBA, DMA */
    words[50] = VALID;
    words[53] = BIT(2) | BIT(1); /* words 88 and 64-70 count */
    words[59] = p->multiple ? BIT(8) | p->multiple : 0;
    words[63] = 7; /* multiword DMA 0-2 */
    words[64] = 3; /* PIO 3 and 4 */
    for (unsigned i = 65; i <= 68; i++)
        words[i] = 120; /* ns */
    words[75] = AHCI_SLOTS - 1;
    words[76] = BIT(8) | BIT(2) | BIT(1); /* NCQ; 1.5 and 3 Gb/s */
    words[77] = 2 << 1;                   /* the latter now */
    words[80] = 0x1f0;                    /* ATA/ATAPI-4 to ATA8-ACS */
    put_features(p, words);
    words[88] = (uint16_t)(0x3f | (p->mode >= 0x40 ? BIT(8 + (p->mode & 7)) : 0)); /* Ultra DMA */
    put_blocks(b, words);
    if (b->discard_sectors && !p->source.read_only) {
        words[105] = 1; /* page of ranges */
        words[169] = 1;
    }
    words[217] = 1; /* it does not rotate */
    words[255] = 0xa5;
    put_sum(words);
}

bool ahci_log_page(const struct ahci_port *p, uint8_t log, uint16_t page, uint8_t bytes[AHCI_PAGE])
{
    memset(bytes, 0, AHCI_PAGE);
    if (page != 0)
        return false;
    switch (log) {
    case LOG_DIRECTORY:
        bytes[0] = 1; /* version */
        bytes[2 * LOG_QUEUE] = 1;
        return true;
    case LOG_QUEUE:
        memcpy(bytes, p->log, sizeof(p->log));
        put_sum(bytes);
        return true;
    default:
        return false;
    }
}
