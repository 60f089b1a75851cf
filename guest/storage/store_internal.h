/* What the directory (store.c) and areas (store_area.c) of Corbel's own partition share. */
#pragma once

#include "guest/storage/store.h"

/* The sum that its head has to have. */
uint32_t store_sum(const struct store_head *h, size_t size);
/* Whether it is what it was when it was written; what its numbers say is not looked at. */
bool store_head_is_good(const struct store_head *h, size_t size, const char *magic);

/* Whether a follows b, of two sequence numbers. */
static inline bool store_follows(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) > 0;
}

/* One block, from or to store->page, waiting for it: 0 or an error. */
int store_transfer(struct store *s, enum block_op op, uint64_t block) MUST_CHECK;
int store_flush(struct store *s) MUST_CHECK;

/* Find out whether the area is empty, and how new it is. */
void store_area_look(struct store_area *a);
/* Let both copies of a new one say that it is empty. */
int store_area_make(struct store_area *a) MUST_CHECK;
void store_area_free(struct store_area *a);
