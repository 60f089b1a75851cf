/* A device that lets guests choose what its ranges of memory show: only `make debug`'s Corbel has
 * it. All ports are for dwords. */
#pragma once

#define TEST_MEMORY_PORT 0xe00 /* and 15 more */

#define TEST_MEMORY_RANGES 4
#define TEST_MEMORY_PAGES  4    /* size of each */
#define TEST_MEMORY_BYTE   0x5a /* what its frames hold, behind a function at their start */
#define TEST_MEMORY_RETURN 0x12345678

/* Written: which range, an address's page, the page from which RAM shows, and what to do. */
#define TEST_MEMORY_SELECT (TEST_MEMORY_PORT + 0)
#define TEST_MEMORY_PAGE   (TEST_MEMORY_PORT + 4)
#define TEST_MEMORY_FROM   (TEST_MEMORY_PORT + 8)
#define TEST_MEMORY_DO     (TEST_MEMORY_PORT + 12)
/* Read: how often it has been called for reads and for writes, the last write's offset, and the
 * result of what was done last, or the last value written. */
#define TEST_MEMORY_READS  (TEST_MEMORY_PORT + 0)
#define TEST_MEMORY_WRITES (TEST_MEMORY_PORT + 4)
#define TEST_MEMORY_OFFSET (TEST_MEMORY_PORT + 8)
#define TEST_MEMORY_RESULT (TEST_MEMORY_PORT + 12)

enum {
    TEST_MEMORY_PLACE,    /* the range at the page */
    TEST_MEMORY_WITHDRAW, /* the range */
    TEST_MEMORY_CALLS,    /* the range shows: */
    TEST_MEMORY_ROM,
    TEST_MEMORY_FRAMES, /* that can be written */
    TEST_MEMORY_RAM,
    TEST_MEMORY_READ_ONLY_RAM,
    TEST_MEMORY_CARRY_OUT, /* from now on, writes to RAM that is read-only; */
    TEST_MEMORY_DROP,      /* and no longer */
    TEST_MEMORY_DMA,       /* a dword of ones to the page */
};
