/*
 * Pages that are kept beside what they were copied from: a VM's RAM at one moment, or a disk in
 * memory. Pages of zeroes take nothing, but for their place.
 */
#pragma once

#include "mm/guest_memory.h"

struct page_store {
    paddr *table;    /* each of a frame of words: 0, or the page's address, and see guest_copy.c */
    uint64_t pages;  /* that there is room for */
    uint64_t frames; /* of its own, tables included */
    uint16_t owner;  /* whose frames those are */
};

/* Room for so many pages, all of which are zeroes as yet. -ENOMEM. */
int page_store_create(struct page_store *s, uint64_t pages, uint16_t owner) MUST_CHECK;
/* Safe on a zeroed struct. */
void page_store_destroy(struct page_store *s);
/* Keep what page number `number` is; it is put once. Where another store (NULL: there is none) has
 * the same there, that is not kept twice. -ENOMEM: not kept. */
int page_store_put(struct page_store *s, uint64_t number, const void *page,
                   const struct page_store *like) MUST_CHECK;
/* What `to` has of s belongs to `to` from now on: for each that may have, before s is destroyed. */
void page_store_hand_over(struct page_store *s, struct page_store *to);
/* Whether it is anything but zeroes. */
bool page_store_has(const struct page_store *s, uint64_t number);
/* The first from that one on that is; `pages` or more: none. */
uint64_t page_store_next(const struct page_store *s, uint64_t number);
/* Copy it back. */
void page_store_get(const struct page_store *s, uint64_t number, void *page);

/*
 * The pages of a VM's RAM by number, from 0 on without gaps: where the one stands that a guest
 * finds at *gpa where nothing lies over it, or NULL: it has no frame, and reads as zeroes.
 * False: there are not so many.
 */
bool guest_memory_page(const struct guest_memory *gm, uint64_t number, uint64_t *gpa, void **page);
/* The first from that one on that has a frame; how many there are: none. */
uint64_t guest_memory_next_page(const struct guest_memory *gm, uint64_t number);
