/*
 * What stands on Corbel's own partition: blocks of 4 KiB, little endian. Two copies of a directory,
 * at blocks 0 and 16, name areas, which lie from block 32 on and do not overlap. An area of
 * variables is two copies of its content, each a block that describes it and then the content.
 * Whoever reads checks all of it: what is on a drive may be anything.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define STORE_BLOCK   4096u
#define STORE_VERSION 1
#define STORE_NAME    32 /* with the final 0: a VM's name fits */

#define STORE_DIRECTORY_BLOCKS 4
#define STORE_SECOND           16 /* where the directory's other copy is */
#define STORE_FIRST            32 /* of the areas */
#define STORE_ENTRIES          255
#define STORE_MAPPED           504     /* blocks of content that one area can have */
#define STORE_ID_MAX           BIT(62) /* nobody gets there; what says more is damaged */

#define STORE_DIRECTORY_MAGIC "Corbel/D"
#define STORE_AREA_MAGIC      "Corbel/A"

enum store_kind {
    STORE_VARIABLES = 1, /* of a VM's firmware: what stands in its flash chip */
};

struct store_head {
    char magic[8];
    uint32_t crc; /* CRC-32 of the directory, or the block, with 0 here */
    uint32_t version;
    uint64_t sequence; /* of two copies the one that follows the other is newer */
    uint64_t id;       /* of an area: its entry's, so that nobody takes another one's for it; of a
                          directory: the last one that was given */
    uint32_t count;    /* of entries in use; or of blocks, 0: the area is empty */
    uint32_t reserved[7];
};

struct store_entry {
    char name[STORE_NAME];
    uint32_t kind; /* enum store_kind; what is unknown stays as it is */
    uint32_t reserved;
    uint64_t id;      /* no other area of this partition has or had it */
    uint64_t first;   /* block */
    uint32_t blocks;  /* that it takes */
    uint32_t content; /* blocks of content */
};

struct store_directory {
    struct store_head head;
    struct store_entry entry[STORE_ENTRIES];
};

/* The first block of each copy of an area. */
struct store_map {
    struct store_head head;
    struct {
        uint32_t crc; /* CRC-32 of that block of the content */
        uint32_t reserved;
    } block[STORE_MAPPED];
};

_Static_assert(sizeof(struct store_head) == 64 && sizeof(struct store_entry) == 64, "no gaps");
_Static_assert(sizeof(struct store_directory) == STORE_DIRECTORY_BLOCKS * STORE_BLOCK, "blocks");
_Static_assert(sizeof(struct store_map) == STORE_BLOCK, "one block");

/* That an area with so many blocks of content takes. */
static inline uint32_t store_blocks(uint32_t content)
{
    return 2 * (1 + content);
}
