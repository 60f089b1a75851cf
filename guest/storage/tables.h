/* The partition tables of all disks, read once, and what is called how in them. */
#pragma once

#include "drivers/disk.h"
#include "guest/storage/gpt.h"

struct disk_table {
    struct gpt *table; /* NULL: there is none that can be used */
    const char *why;   /* then: a sentence */
    int error; /* then: -ENOENT where there is none at all; else what is on it is not known */
    bool boot; /* the machine was started from it */
};

/*
 * Never hand out what the machine was started from, and no disk that it is on, whatever its type
 * is. By GUID: the partition's in its GPT; else the first four bytes are the disk's signature in
 * its MBR. Before tables_read().
 */
void tables_set_boot(bool by_guid, const uint8_t signature[16]);
/* Read them all; `wait` is called while a disk takes its time. */
void tables_read(void (*wait)(void));
/* Of disk_get(index). */
const struct disk_table *table_of(unsigned index);

enum partition_use {
    PARTITION_FREE,   /* it may be handed out */
    PARTITION_BROKEN, /* it leaves its disk, or lies over another one */
    PARTITION_ESP,    /* an EFI system partition */
    PARTITION_BOOT,   /* the machine was started from it, or from its disk */
};
enum partition_use tables_use(const struct disk_table *t, const struct gpt_partition *p);

/*
 * The one partition with that name or GUID that may be handed out, and its disk; else NULL and why.
 * Never an EFI system partition, one that is broken, or one of several with that name.
 */
const struct gpt_partition *tables_find(const char *text, size_t length, struct disk **disk,
                                        const char **why);
