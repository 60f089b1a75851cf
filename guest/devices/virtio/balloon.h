/* virtio-balloon, as the VM's owner sees it. */
#pragma once

#include "guest/board/device.h"

/* What its driver tells, by tag ("Memory Statistics Tags"). */
enum balloon_stat {
    BALLOON_SWAP_IN,
    BALLOON_SWAP_OUT,
    BALLOON_MAJOR_FAULTS,
    BALLOON_MINOR_FAULTS,
    BALLOON_FREE,
    BALLOON_TOTAL,
    BALLOON_AVAILABLE,
    BALLOON_CACHES,
    BALLOON_STATS
};

struct balloon_state {
    uint32_t target, actual; /* pages in it, as they are to be and as the driver says */
    bool running;            /* its driver is there */
    bool starved;            /* pages that it wants back wait for memory of the machine's */
    uint64_t kept;           /* pages that were given, but whose frames had to stay */
    uint64_t stat[BALLOON_STATS];
    uint32_t known;   /* of them: a bit each */
    unsigned updates; /* how often the driver has told them */
};

/* All with no device's lock held, on any processor. */
void balloon_look(struct device *d, struct balloon_state *out);
/* So many pages are to be in it, over resets, too. */
void balloon_set(struct device *d, uint32_t pages);
/* Let the driver tell its statistics again; `updates` counts up when it has. */
void balloon_ask(struct device *d);
