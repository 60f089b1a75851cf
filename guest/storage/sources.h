/*
 * What a VM's disk is: `part:NAME`, `part:GUID`, `disk:SERIAL`. A claim says who has it: of those
 * who write there is one for each sector, and what Corbel itself has nobody else reads. Processor 0
 * only.
 */
#pragma once

#include "guest/storage/slice.h"
#include "guest/storage/tables.h"

#define SOURCE_MESSAGE 160

struct source_claim {
    struct block_slice slice; /* the device that the VM gets is slice.device */
    const struct disk *disk;
    const char *owner; /* the VM's name, which lasts as long as the claim; NULL: Corbel */
    bool writes;
    bool kept; /* its VM has let go of it, but its snapshots have something of it */
    struct source_claim *next;
};

struct source_wish {
    const char *text; /* "part:root" */
    size_t length;
    const char *owner; /* as above */
    bool read_only;
    bool whole_allowed; /* a whole disk may be had */
};

/*
 * Take what the wish names. 0; -ENOENT, -EEXIST (two have that name), -EBUSY (somebody else writes
 * there), -EINVAL (never handed out), with a sentence in why[SOURCE_MESSAGE].
 */
int source_claim(const struct source_wish *wish, struct source_claim *claim, char *why) MUST_CHECK;
/* Who has something of those sectors: the first claim for NULL, then the next one after `after`;
 * NULL: no more. */
const struct source_claim *source_claims(const struct source_claim *after, const struct disk *d,
                                         uint64_t first, uint64_t sectors);
/* Give it back; nothing of it is under way any more. */
void source_release(struct source_claim *claim);
