/*
 * GUID partition tables (UEFI Specification, "GUID Partition Table (GPT) Disk Layout"). Pure: who
 * reads is a callback. What a disk says is checked and bounded.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define GPT_LABEL_UNITS 36                        /* of UTF-16 */
#define GPT_LABEL       (3 * GPT_LABEL_UNITS + 1) /* the same in UTF-8, with the final 0 */
#define GPT_GUID_TEXT   37
#define GPT_MAX         128  /* partitions that are kept */
#define GPT_MAX_ENTRIES 4096 /* a longer table is refused */

struct gpt_partition {
    uint8_t type[16], guid[16];
    uint64_t first, sectors; /* in units of 512 bytes */
    uint32_t number;         /* from 1, as others count them */
    bool broken;             /* outside what the table covers, or over another one */
    char label[GPT_LABEL];
};

struct gpt {
    uint32_t count;
    bool from_backup; /* the primary table is damaged */
    bool no_backup;   /* the backup is */
    struct gpt_partition partitions[GPT_MAX];
};

struct gpt_source {
    uint64_t sectors; /* of 512 bytes, as everywhere here */
    uint32_t logical_block;
    /* 4 KiB that begin at a sector, which is a multiple of logical_block: 0 or -EIO. What lies
     * behind the disk's end reads as zeroes. */
    int (*read)(void *ctx, uint64_t sector, void *data);
    void *ctx;
};

#define GPT_READ 4096

/*
 * Read the table. Where the primary one is overwritten altogether the backup counts only if the MBR
 * is a protective one still. 0; -ENOENT: there is none; -EBADMSG: there is one, but it is damaged,
 * and so is its backup; -E2BIG: more entries or partitions than anybody needs; -EIO. *why then is a
 * sentence.
 */
int gpt_read(const struct gpt_source *s, struct gpt *out, const char **why) MUST_CHECK;

/* An EFI system partition. */
bool gpt_is_esp(const struct gpt_partition *p);
void gpt_guid_text(const uint8_t guid[16], char out[GPT_GUID_TEXT]);
/* Whether text is that GUID, in upper or lower case. */
bool gpt_guid_is(const uint8_t guid[16], const char *text, size_t length);
