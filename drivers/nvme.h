/* NVMe (NVM Express Base Specification 1.4 and later): a controller with queues and namespaces. */
#pragma once

#include "drivers/disk.h"

#define NVME_DEPTH      64   /* entries of a queue; one less may be under way */
#define NVME_NAMESPACES 16   /* that are used */
#define NVME_LIST       1024 /* bytes of a slot's list of pages */
#define NVME_MAX_PAGES  (NVME_LIST / 8)
#define NVME_VECTORS    (DISK_QUEUES + 1)

/* A pair of queues; the admin's is the first. */
struct nvme_queue {
    uint8_t *submissions; /* a page: NVME_DEPTH entries of 64 bytes */
    uint8_t *completions; /* a page: NVME_DEPTH entries of 16 bytes */
    uint8_t *lists;       /* NVME_DEPTH lists of pages; not the admin's */
    paddr submissions_at, completions_at, lists_at;
    uint16_t tail, head;
    uint8_t phase;
    uint8_t
        generation[NVME_DEPTH]; /* of each slot: with it an answer to an earlier command is known */
};

struct nvme_namespace {
    struct disk disk;
    bool present;
};

struct nvme {
    struct disk_unit unit;
    struct io registers;
    unsigned stride;   /* of doorbells */
    unsigned ready_ms; /* that starting and stopping may take */
    unsigned queues;   /* for I/O */
    bool vectors;      /* queue n interrupts by vector n */
    uint32_t max_sectors;
    bool has_cache;
    char model[DISK_MODEL_SIZE], serial[BLOCK_SERIAL];
    struct nvme_queue queue[NVME_VECTORS];
    uint8_t *page; /* for what IDENTIFY says */
    paddr page_at;
    struct nvme_namespace *namespaces[NVME_NAMESPACES];
    uint64_t step_until;
    uint8_t step;
    uint8_t making; /* the queue that is being made; low bit: its submissions' half */
};

/* It does nothing any more, or does not answer. */
void nvme_stop(const struct nvme *n);
/*
 * Start the controller, with as many queues as it grants of those that the caller has provided
 * (queue[0] is the admin's), and find its namespaces: 0 or an error. namespace_of provides memory
 * for one.
 */
int nvme_init(struct nvme *n, const char *name,
              struct nvme_namespace *(*namespace_of)(void)) MUST_CHECK;
