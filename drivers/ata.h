/*
 * ATA drives (INCITS 529, ACS-4): what IDENTIFY DEVICE says, for channels of IDE and ports of AHCI;
 * and IDE channels themselves, with bus-master DMA ("Programming Interface for Bus Master IDE
 * Controller") or without.
 */
#pragma once

#include "drivers/disk.h"

enum ata_command {
    ATA_READ = 0x20,
    ATA_READ_EXT = 0x24,
    ATA_READ_DMA_EXT = 0x25,
    ATA_WRITE = 0x30,
    ATA_WRITE_EXT = 0x34,
    ATA_WRITE_DMA_EXT = 0x35,
    ATA_WRITE_DMA_FUA_EXT = 0x3d,
    ATA_READ_DMA = 0xc8,
    ATA_WRITE_DMA = 0xca,
    ATA_FLUSH = 0xe7,
    ATA_FLUSH_EXT = 0xea,
    ATA_IDENTIFY = 0xec,
    ATA_SET_FEATURES = 0xef,
};

#define ATA_ERR 0x01u /* status */
#define ATA_DRQ 0x08u
#define ATA_DF  0x20u
#define ATA_BSY 0x80u

#define ATA_ERROR_CRC 0x80u /* on the way, not on the medium */

struct ata_identity {
    char model[41], serial[21];
    uint64_t sectors; /* of BLOCK_SECTOR bytes */
    uint32_t logical_block, physical_block;
    bool lba48, dma, fua, flush, flush_ext;
    uint8_t transfer_mode; /* as SET FEATURES takes it; 0: none by DMA */
};

/* -ENOTSUP for a drive without LBA, or whose blocks Corbel cannot use. */
int ata_identify(const uint16_t words[256], struct ata_identity *out) MUST_CHECK;
/* Fill in a disk by it; max_sectors and the limits of segments are the driver's. */
void ata_describe(const struct ata_identity *id, struct disk *d);

/* The command for a request, and its task file. */
struct ata_task {
    uint8_t command, device, feature;
    uint16_t count; /* of logical blocks; 0 stands for the most */
    uint64_t lba;
    bool wide; /* 48 bits: the registers are written twice */
};
void ata_task(const struct ata_identity *id, const struct block_request *r, unsigned sector_shift,
              bool dma, struct ata_task *out);
/* What a status and error register mean for disk_finish(). */
int ata_outcome(uint8_t status, uint8_t error);

/* --- an IDE channel --- */

#define ATA_PRDS 512

struct ata_drive {
    struct disk disk;
    struct ata_identity id;
    bool present;
};

struct ata_channel {
    struct disk_unit unit;
    struct io command, control; /* eight registers; the alternate status and control register */
    struct io master;           /* bus master's, of this channel; size 0: PIO only */
    struct ata_drive drives[2];
    uint64_t *prds; /* a page */
    paddr prds_at;
    uint32_t moved; /* PIO: bytes of the request that have been moved */
    bool by_dma;    /* the command under way */
    uint64_t reset_at;
};

/* Look for drives on a channel: 0, and they are known to disk_get(); -ENODEV without any. */
int ata_channel_init(struct ata_channel *c, unsigned number) MUST_CHECK;
