/* What a bus lets stand in guest memory, for tests: its layers, kept. Frames are at their own
 * addresses. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "mm/frame.h"
#include "tests/unit/mock_board.h"

static struct guest_memory_layer shown[GUEST_MEMORY_LAYERS];
static unsigned shown_count, shown_runs;

static int shown_make_room(struct bus *bus)
{
    return 0;
}

static bool shown_set(struct bus *bus, const struct guest_memory_layer *layers, unsigned count)
{
    memcpy(shown, layers, count * sizeof(*layers));
    shown_count = count;
    return true;
}

static void shown_changed(struct bus *bus, uint64_t gpa, uint64_t size)
{
}

static void shown_init(struct board *board)
{
    shown_count = 0;
    board->setup.text = "file"; /* of a line `firmware =` */
    board->setup.length = 4;
    board->bus.make_room = shown_make_room;
    board->bus.set_layers = shown_set;
    board->bus.memory_changed = shown_changed;
}

/* The layer over gpa; NULL: none. */
static const struct guest_memory_layer *shown_at(uint64_t gpa)
{
    for (unsigned i = 0; i < shown_count; i++)
        if (gpa - shown[i].gpa < shown[i].size)
            return &shown[i];
    return NULL;
}

/* Where what is seen at gpa comes from. */
static uint64_t shown_from(uint64_t gpa)
{
    const struct guest_memory_layer *l = shown_at(gpa);

    return l ? l->from + (gpa - l->gpa) : 0;
}

paddr frame_run_alloc(uint64_t pages, uint16_t owner)
{
    shown_runs++;
    return (paddr)aligned_alloc(PAGE_SIZE, pages * PAGE_SIZE);
}

void frame_run_free(paddr base)
{
    shown_runs--;
    free((void *)base);
}

void *phys_to_virt(paddr pa)
{
    return (void *)pa;
}
