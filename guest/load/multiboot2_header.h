/* The Multiboot 2 header in a kernel's file (Multiboot2 Specification, "OS image format"). */
#pragma once

#include "arch/x86/lib/types.h"
#include "guest/load/place.h"

enum multiboot2_preference { MULTIBOOT2_ANYWHERE, MULTIBOOT2_LOWEST, MULTIBOOT2_HIGHEST };

struct multiboot2_header {
    struct load_flat flat; /* with has_addresses; its offset and entry_addr always */
    bool has_addresses, has_entry;
    bool relocatable;
    uint32_t min_addr, max_addr, align, preference; /* align: a power of two */
    bool has_screen;                                /* it prefers a mode of points: */
    uint32_t width, height, depth;                  /* 0: whichever */
    bool insists_on_screen, insists_on_console;
};

/* Find it and read its tags. 0; -ENOENT: there is none; -EBADMSG: it is broken, or asks for what no
 * loader knows, and a sentence says so. */
int multiboot2_header(const uint8_t *k, uint64_t size, struct multiboot2_header *h,
                      char *error) MUST_CHECK;
