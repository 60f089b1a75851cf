/* A disk in memory: what a file holds at first, and what was written since; gone with the VM. */
#pragma once

#include "guest/storage/block.h"

/*
 * A disk with a copy of that file (which may go afterwards), rounded up to whole sectors with
 * zeroes; its frames belong to owner. NULL when memory is out, or when the file is empty or of 2
 * TiB and more.
 */
struct block_device *ram_disk_create(const void *file, uint64_t size, uint16_t owner) MUST_CHECK;
/* What is in memory already, of so many whole sectors, and stays there: it can only be read. NULL
 * when memory is out. */
struct block_device *ram_disk_of(paddr file, uint64_t size) MUST_CHECK;
/* Nothing is under way any more. NULL is none. */
void ram_disk_destroy(struct block_device *d);
/* Its page number `number`, from 0 on; NULL: there are not so many. For who keeps what it holds,
 * while nothing is under way. */
void *ram_disk_page(struct block_device *d, uint64_t number);
