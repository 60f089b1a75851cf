/* A board that consists of nothing but what devices may ask of it, all of it in plain sight of a
 * test.
 */
#pragma once

#include "guest/board/class.h"

#define MOCK_GSIS   24
#define MOCK_MEMORY 0x10000
#define MOCK_PINS   1000

#define MOCK_FLICKS 10000u

#define MOCK_PAGES 0x1000 /* of RAM, for who gives pages back; without contents */

struct board {
    uint64_t now, hz;
    struct bus bus;
    struct device_host host;   /* empty, for the test to fill in */
    struct device_setup setup; /* with the two above */
    bool irq[MOCK_GSIS];
    unsigned rises[MOCK_GSIS], falls[MOCK_GSIS];
    unsigned msis; /* how many, and the last one */
    uint64_t msi_address;
    uint32_t msi_data;
    uint8_t memory[MOCK_MEMORY] __attribute__((aligned(PAGE_SIZE))); /* pages, as a guest's are */
    /* Another vCPU changes these bits of the byte at flickers before each load but the first, up
     * to MOCK_FLICKS times. 0: nobody does. */
    uint64_t flickers;
    uint8_t flicker;
    unsigned flicks;
    unsigned pins;          /* that stand; at most MOCK_PINS */
    bool given[MOCK_PAGES]; /* pages that were given back, */
    unsigned all_given;     /* how many, */
    unsigned leaving;       /* and of these not told by device_memory_given() yet, */
    uint64_t left, gone;    /* of all that has left, and of these settled: */
    bool unsettled;         /* not by device_memory_given() alone */
    unsigned told;          /* which was called so often */
    unsigned leaving_most;  /* 0: as many as there are */
    int give_error;         /* what device_memory_give() says, if it is not 0 */
    uint64_t frames;        /* that are left for them to come back */
    int64_t wall_base;      /* microseconds since 1970 at TSC 0 */
    unsigned requests;
    enum vm_request request; /* the last one, with its reason */
    const char *why;
};

/* A board at TSC 0 of 2.4 GHz, 2026-03-01 12:00:00 UTC, with an empty bus. */
void mock_init(struct board *board);
void mock_destroy(struct board *board);
/* Let that much time pass, running timers at their deadlines. Returns how many moments with a timer
 * there were. */
unsigned mock_ticks(struct board *board, uint64_t ticks);
unsigned mock_microseconds(struct board *board, uint64_t microseconds);
/* Byte accesses through the bus. */
uint8_t mock_in(struct board *board, uint16_t port);
void mock_out(struct board *board, uint16_t port, uint8_t value);
/*
 * Save all devices of the bus, wipe them with bus_reset(), load, and save again: true when both
 * streams are equal. Interrupt lines are left as they were.
 */
bool mock_round_trip(struct board *board);
