/* The guest-physical layout and the E820 map that tells the guest about it. */
#include "guest/load/e820.h"
#include "arch/x86/lib/errno.h"
#include "guest/board/ports.h"

static void add_ram(struct gpa_layout *layout, uint64_t from, uint64_t to)
{
    if (from < to) {
        layout->ram[layout->count++] = (struct gpa_range){from, to - from};
    }
}

int gpa_layout_init(struct gpa_layout *layout, uint64_t memory, uint64_t hole)
{
    if (memory < GPA_MEMORY_MIN || memory > GPA_MEMORY_MAX || !IS_ALIGNED(memory, PAGE_SIZE) ||
        hole < GPA_HOLE_MIN || hole > GPA_HOLE_MAX || !IS_ALIGNED(hole, GPA_HOLE_ALIGN)) {
        return -EINVAL;
    }
    *layout = (struct gpa_layout){.memory = memory, .hole = hole};
    layout->low_top = MIN(memory, hole);
    layout->high_top = GPA_4G + (memory - layout->low_top);
    add_ram(layout, 0, GPA_VGA_HOLE);
    add_ram(layout, GPA_BIOS, layout->low_top);
    add_ram(layout, GPA_4G, layout->high_top);
    return 0;
}

bool gpa_layout_is_ram(const struct gpa_layout *layout, uint64_t gpa, uint64_t size)
{
    for (unsigned i = 0; i < layout->count; i++) {
        const struct gpa_range *r = &layout->ram[i];

        if (gpa >= r->base && gpa - r->base <= r->size && size <= r->size - (gpa - r->base)) {
            return true;
        }
    }
    return false;
}

uint64_t gpa_layout_ram(const struct gpa_layout *layout)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < layout->count; i++) {
        sum += layout->ram[i].size;
    }
    return sum;
}

unsigned e820_build(const struct gpa_layout *layout, struct e820_entry entries[E820_ENTRIES])
{
    unsigned n = 0;

    entries[n++] = (struct e820_entry){0, GPA_EBDA, E820_RAM};
    entries[n++] = (struct e820_entry){GPA_EBDA, GPA_VGA_HOLE - GPA_EBDA, E820_RESERVED};
    entries[n++] = (struct e820_entry){GPA_BIOS, GPA_HIGH - GPA_BIOS, E820_RESERVED};
    entries[n++] = (struct e820_entry){GPA_HIGH, layout->low_top - GPA_HIGH, E820_RAM};
    /* Linux uses what the MCFG table tells only where this map reserves it. */
    entries[n++] = (struct e820_entry){GPA_ECAM, GPA_ECAM_SIZE, E820_RESERVED};
    if (layout->high_top > GPA_4G) {
        entries[n++] = (struct e820_entry){GPA_4G, layout->high_top - GPA_4G, E820_RAM};
    }
    return n;
}
