/* The information: tags one after the other, each at a multiple of 8. */
#include "guest/load/multiboot2_info.h"
#include "arch/x86/lib/errno.h"
#include "guest/load/acpi_link.h"
#include "guest/load/entry.h"

#define HEADER_BYTES 8 /* its size, and zeros; the tags follow */
#define TAG_BYTES    8 /* type, size */

enum tag {
    TAG_END = 0,
    TAG_CMDLINE = 1,
    TAG_LOADER = 2,
    TAG_MODULE = 3,
    TAG_MEMORY = 4,
    TAG_MEMORY_MAP = 6,
    TAG_SCREEN = 8,
    TAG_SECTIONS = 9,
    TAG_RSDP_OLD = 14,
    TAG_RSDP_NEW = 15,
    TAG_BASE = 21,
};

#define RSDP_OLD_SIZE 20 /* of ACPI 1.0's */

struct memory_entry {
    uint64_t base, length;
    uint32_t type, reserved;
};

struct screen_tag {
    uint64_t address;
    uint32_t pitch, width, height;
    uint8_t depth, type;
    uint16_t reserved;
    struct {
        uint8_t position, bits;
    } PACKED red, green, blue;
} PACKED;
#define SCREEN_RGB 1

/* A tag's first bytes; rest: how many the caller appends. */
static void begin_tag(struct boot_info *b, enum tag type, const void *head, size_t size,
                      size_t rest)
{
    const uint32_t tag[] = {type, (uint32_t)(TAG_BYTES + size + rest)};

    info_put(b, tag, sizeof(tag));
    info_append(b, head, size);
}

/* The same with a text as info_text() has it behind it. */
static void text_tag(struct boot_info *b, enum tag type, const void *head, size_t size,
                     const char *a, size_t a_size, const char *t, size_t t_size)
{
    bool blank = a_size && t_size;

    begin_tag(b, type, head, size, a_size + blank + t_size + 1);
    info_append(b, a, a_size);
    info_append(b, " ", blank);
    info_append(b, t, t_size);
    info_append(b, "", 1);
}

static void tell_modules(struct boot_info *b, const struct placement *p)
{
    for (unsigned i = 0; i < p->modules; i++) {
        const struct guest_module *m = &p->module[i];
        const uint32_t place[] = {(uint32_t)p->module_gpa[i],
                                  (uint32_t)(p->module_gpa[i] + m->size)};

        text_tag(b, TAG_MODULE, place, sizeof(place), m->path, m->path_size, m->args, m->args_size);
    }
}

static void tell_memory(struct boot_info *b, const struct gpa_layout *layout)
{
    const uint32_t memory[] = {GPA_EBDA / KIB, (uint32_t)((layout->low_top - GPA_HIGH) / KIB)};
    struct e820_entry map[E820_ENTRIES];
    struct memory_entry list[E820_ENTRIES];
    unsigned count = e820_build(layout, map);
    const uint32_t form[] = {sizeof(list[0]), 0}; /* of an entry, and its version */

    for (unsigned i = 0; i < count; i++) {
        list[i] = (struct memory_entry){map[i].base, map[i].size, map[i].type, 0};
    }
    begin_tag(b, TAG_MEMORY, memory, sizeof(memory), 0);
    begin_tag(b, TAG_MEMORY_MAP, form, sizeof(form), count * sizeof(list[0]));
    info_append(b, list, count * sizeof(list[0]));
}

static void tell_screen(struct boot_info *b, const struct guest_screen *s)
{
    struct screen_tag tag = {.address = s->gpa,
                             .pitch = s->pitch,
                             .width = s->width,
                             .height = s->height,
                             .depth = s->depth,
                             .type = SCREEN_RGB,
                             .red = {16, 8},
                             .green = {8, 8},
                             .blue = {0, 8}};

    if (s->depth == 15 || s->depth == 16) {
        tag.red.position = s->depth == 16 ? 11 : 10;
        tag.green.position = 5;
        tag.green.bits = s->depth == 16 ? 6 : 5;
        tag.red.bits = tag.blue.bits = 5;
    }
    begin_tag(b, TAG_SCREEN, &tag, sizeof(tag), 0);
}

/* Bytes of sections that are to be put into memory, each from a multiple of 16. A file's sections
 * do not overlap: where they have more bytes than the file, UINT64_MAX, which fits nowhere. */
static uint64_t sections_size(const struct multiboot2_told *t)
{
    uint8_t header[ELF_SECTION_MAX];
    const uint8_t *data;
    uint64_t sum = 0, bytes, left = t->image->kernel_size;

    for (unsigned i = 0; i < t->elf->section_count; i++) {
        if (!elf_section(t->elf, t->image->kernel, t->image->kernel_size, i, header, &data,
                         &bytes)) {
            continue;
        }
        if (bytes > left) {
            return UINT64_MAX;
        }
        left -= bytes;
        sum = ALIGN_UP(sum, 16ull) + bytes;
    }
    return sum;
}

/* The table of sections, where it fits: with what is not in memory put there, if that fits. */
static void tell_sections(struct boot_info *b, const struct multiboot2_told *t)
{
    const struct elf *elf = t->elf;
    const uint32_t form[] = {elf->section_count, elf->section_size, elf->section_names};
    uint64_t table = (uint64_t)elf->section_count * elf->section_size;
    uint64_t at = ALIGN_UP(t->placement->end, PAGE_SIZE), top = t->layout->low_top;
    uint64_t room = GPA_BOOT_INFO_TOP - MIN(ALIGN_UP(b->next, 8ull), GPA_BOOT_INFO_TOP);
    bool fits;

    if (TAG_BYTES + sizeof(form) + table + TAG_BYTES + TAG_BYTES > room) {
        return;
    }
    fits = at <= top && sections_size(t) <= top - at;
    begin_tag(b, TAG_SECTIONS, form, sizeof(form), table);
    for (unsigned i = 0; i < elf->section_count && !b->error; i++) {
        uint8_t header[ELF_SECTION_MAX];
        const uint8_t *data;
        uint64_t bytes;

        if (elf_section(elf, t->image->kernel, t->image->kernel_size, i, header, &data, &bytes) &&
            fits) {
            at = ALIGN_UP(at, 16ull);
            b->error = load_put(b->sink, at, data, bytes);
            elf_section_place(elf, header, at);
            at += bytes;
        }
        info_append(b, header, elf->section_size);
    }
}

int multiboot2_tell(const struct multiboot2_told *t, uint64_t *info)
{
    static const char name[] = "Corbel";
    const struct guest_image *image = t->image;
    struct boot_info b = {t->sink, GPA_BOOT_INFO + HEADER_BYTES, 0};

    text_tag(&b, TAG_CMDLINE, NULL, 0, image->path, image->path_size, image->cmdline,
             image->cmdline_size);
    text_tag(&b, TAG_LOADER, NULL, 0, name, sizeof(name) - 1, NULL, 0);
    tell_modules(&b, t->placement);
    tell_memory(&b, t->layout);
    if (t->screen) {
        tell_screen(&b, t->screen);
    }
    if (image->rsdp_copy) {
        begin_tag(&b, TAG_RSDP_OLD, image->rsdp_copy, RSDP_OLD_SIZE, 0);
        begin_tag(&b, TAG_RSDP_NEW, image->rsdp_copy, ACPI_RSDP_SIZE, 0);
    }
    if (t->relocated) {
        uint32_t base = (uint32_t)t->placement->piece[0].gpa;

        for (unsigned i = 1; i < t->placement->pieces; i++) {
            base = MIN(base, (uint32_t)t->placement->piece[i].gpa);
        }
        begin_tag(&b, TAG_BASE, &base, sizeof(base), 0);
    }
    if (t->elf && t->elf->section_count) {
        tell_sections(&b, t);
    }
    begin_tag(&b, TAG_END, NULL, 0, 0);
    const uint32_t header[HEADER_BYTES / 4] = {(uint32_t)(b.next - GPA_BOOT_INFO), 0};
    *info = GPA_BOOT_INFO;
    return b.error ? b.error : load_put(t->sink, GPA_BOOT_INFO, header, sizeof(header));
}
