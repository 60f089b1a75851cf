/*
 * Corbel's own partition (`[host] state`): areas with names, each of bounded size, that outlast the
 * machine's power. Whatever moment the power goes at, an area holds what it held before the write
 * that was under way, or after it. Pure, above a block device. store_format.h has what stands
 * there.
 *
 * Opening, adding and loading wait for the drive, before any VM runs. From then on only areas are
 * written, each by itself, while the machine goes on.
 */
#pragma once

#include "guest/storage/block.h"
#include "guest/storage/store_format.h"

#define STORE_LEAST MIB /* of a partition */

struct store_area;

struct store {
    struct block_device *device;
    void (*wait)(void);                /* called while the drive takes its time */
    uint64_t blocks;                   /* of the partition */
    struct store_directory *directory; /* as it is to be, */
    bool changed;                      /* and is not yet */
    unsigned older;                    /* copy of it, the one to be written first */
    paddr page;                        /* for one block on its way */
    struct store_area *first;          /* of all areas of variables */
};

/*
 * Read the directory, or make one where the partition is blank. 0; or -ENOSPC (it is too small),
 * -EROFS, -ENOMEM, -EIO, -EBADMSG (damaged), -EEXIST (it holds something else), -ENOTSUP (a later
 * version's), with *why a sentence, and nothing has been written.
 */
int store_open(struct store *s, struct block_device *device, void (*wait)(void),
               const char **why) MUST_CHECK;
/* Nothing is under way. */
void store_close(struct store *s);

/*
 * The area with these variables; one that is not there is added. Areas that are empty, and that
 * nobody has asked for, may make room for it. NULL: there is none.
 */
struct store_area *store_variables(struct store *s, const char *name, uint32_t content);
/* Write the directory, and what it says of new areas, where it has changed. 0 or -EIO; then areas
 * that were added are none. */
int store_save(struct store *s) MUST_CHECK;
/* Blocks that are in no area. */
uint64_t store_free(const struct store *s);

/* --- areas; after store_save() --- */

struct store_area {
    struct store *store;
    struct store_area *next;
    struct store_entry entry;
    bool fresh;            /* store_save() has not written it yet, */
    bool wanted;           /* somebody has asked for it, */
    bool empty;            /* and nothing is in it on the drive */
    uint64_t sequence;     /* of its newest copy, or the write that is under way */
    uint8_t *content;      /* as it is, or is to be, on the drive; NULL: it has not been loaded */
    bool filled;           /* content is something */
    struct store_map *map; /* of it */
    /* Of each copy the blocks that are not what content is, and whether all of it is what content
     * was once, over a power cut, too. */
    uint64_t stale[2][STORE_MAPPED / 64 + 1];
    bool good[2];
    bool changed;   /* since it was written */
    bool read_only; /* each copy may have what the other one lacks, and the drive takes no writes */

    /* A write: */
    bool under_way; /* atomic; the rest is his who goes on with it */
    bool failed;    /* the last one has, which has been said */
    uint8_t copy, copies_left, step;
    int error;
    uint32_t at;    /* block that comes next */
    uint32_t phase; /* atomic: where the request is */
    paddr page;     /* what it writes */
    struct block_segment segment;
    struct block_request request;
};

enum store_loaded {
    STORE_EMPTY,    /* nothing has been written, or it was forgotten */
    STORE_WHOLE,    /* there it is */
    STORE_REPAIRED, /* the same, but one copy was not, or a write had been cut off: that one is
                       written anew from now on */
    STORE_DAMAGED,  /* neither copy is whole: as if it was empty */
};
/*
 * Read it, waiting for the drive, and keep its content in memory from now on. Or -ENOMEM; or -EIO:
 * its content is there, but the drive does not take what has to be written first. Then nothing of
 * it is written any more, and what is put ends with the machine.
 */
int store_area_load(struct store_area *a) MUST_CHECK;

/* What is in it: entry.content blocks; NULL: nothing. */
const uint8_t *store_area_content(const struct store_area *a);
/* Whether its last write is over. Looks whether the drive is done with it. */
bool store_area_idle(struct store_area *a);
/* What a block is to hold from now on. When nothing was in it, all blocks are put before the next
 * write. This and what follows only while it is idle. */
void store_area_put(struct store_area *a, uint32_t block, const void *data);
/* Begin to write what has been put; nothing if all of it has been written. */
void store_area_write(struct store_area *a);
/* Empty it, and begin to write that. 0 or -ENOMEM. */
int store_area_forget(struct store_area *a) MUST_CHECK;
