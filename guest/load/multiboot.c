/* The Multiboot loader. Names and rules are those of the Multiboot Specification, "OS image
 * format", "Machine state" and "Boot information format". */
#include "guest/load/multiboot.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "guest/load/bios.h"
#include "guest/load/bytes.h"
#include "guest/load/entry.h"
#include "guest/load/place.h"

#define SEARCH       8192 /* the header lies within so many bytes, aligned to 4 */
#define HEADER_MAGIC 0x1badb002
#define HEADER_SHORT 12 /* up to the checksum; the addresses follow */
#define HEADER_LONG  32
#define LOADED_MAGIC 0x2badb002 /* in EAX */

/* The header's flags. Bits 0 to 15 are demands that a loader must know. */
#define HEADER_PAGE_ALIGN BIT(0)
#define HEADER_MEMORY     BIT(1)
#define HEADER_VIDEO      BIT(2) /* a wish; without video, the information says that there is none */
#define HEADER_DEMANDS    0xffff
#define HEADER_ADDRESSES  BIT(16)

struct header {
    uint32_t flags;
    struct load_flat flat; /* its offset always, the rest where the flags say so */
};

/* The information's flags. */
#define INFO_MEMORY      BIT(0)
#define INFO_CMDLINE     BIT(2)
#define INFO_MODULES     BIT(3)
#define INFO_MEMORY_MAP  BIT(6)
#define INFO_LOADER_NAME BIT(9)

struct info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
    uint32_t mmap_length, mmap_addr, drives[2], config_table, boot_loader_name, apm_table, vbe[4];
};

struct info_module {
    uint32_t mod_start, mod_end, string, reserved;
};

struct info_memory {
    uint32_t size; /* of what follows */
    uint64_t base, length;
    uint32_t type;
} PACKED;

/* --- the kernel's file --- */

static bool find_header(const uint8_t *k, uint64_t size, struct header *h)
{
    uint64_t end = MIN(size, (uint64_t)SEARCH);

    for (uint64_t at = 0; at + HEADER_SHORT <= end; at += 4) {
        uint32_t flags = get32(k + at + 4);

        if (get32(k + at) != HEADER_MAGIC || HEADER_MAGIC + flags + get32(k + at + 8) != 0) {
            continue;
        }
        *h = (struct header){.flags = flags, .flat.offset = at};
        if (flags & HEADER_ADDRESSES) {
            if (at + HEADER_LONG > end) {
                continue;
            }
            h->flat.header_addr = get32(k + at + 12);
            h->flat.load_addr = get32(k + at + 16);
            h->flat.load_end_addr = get32(k + at + 20);
            h->flat.bss_end_addr = get32(k + at + 24);
            h->flat.entry_addr = get32(k + at + 28);
        }
        return true;
    }
    return false;
}

static uint32_t unknown_demands(const struct header *h)
{
    return h->flags & HEADER_DEMANDS & ~(HEADER_PAGE_ALIGN | HEADER_MEMORY | HEADER_VIDEO);
}

static int place_kernel(struct placement *p, const struct guest_image *image, uint64_t *entry,
                        char *error)
{
    struct elf elf;
    struct header h;

    if (!find_header(image->kernel, image->kernel_size, &h)) {
        format(error, LOAD_ERROR, "has no Multiboot header");
        return -EBADMSG;
    }
    if (unknown_demands(&h)) {
        format(error, LOAD_ERROR, "demands what no loader knows: flags %#x of its Multiboot header",
               unknown_demands(&h));
        return -EBADMSG;
    }
    /* Its addresses count even in an ELF file. */
    if (h.flags & HEADER_ADDRESSES) {
        *entry = h.flat.entry_addr;
        return place_flat(p, image, &h.flat, error);
    }
    if (!elf_recognise(image->kernel, image->kernel_size)) {
        format(error, LOAD_ERROR,
               "has a Multiboot header without addresses (flag 16), and is not an ELF file");
        return -EBADMSG;
    }
    if (elf_parse(image->kernel, image->kernel_size, &elf, error) < 0 ||
        elf_entry(&elf, entry, error) < 0) {
        return -EBADMSG;
    }
    place_segments(p, &elf);
    return 0;
}

bool multiboot_recognise(const void *kernel, uint64_t size)
{
    const struct guest_image image = {.kernel = kernel, .kernel_size = size};
    char error[LOAD_ERROR];
    struct placement p;
    uint64_t entry;

    return place_kernel(&p, &image, &entry, error) == 0;
}

bool multiboot_has_header(const void *kernel, uint64_t size)
{
    struct header h;

    return find_header(kernel, size, &h);
}

/* --- the information --- */

static uint64_t write_modules(struct boot_info *b, const struct placement *p)
{
    struct info_module list[LOAD_MODULES];

    for (unsigned i = 0; i < p->modules; i++) {
        const struct guest_module *m = &p->module[i];

        list[i] = (struct info_module){
            .mod_start = (uint32_t)p->module_gpa[i],
            .mod_end = (uint32_t)(p->module_gpa[i] + m->size),
            .string = (uint32_t)info_text(b, m->path, m->path_size, m->args, m->args_size),
        };
    }
    return info_put(b, list, p->modules * sizeof(list[0]));
}

static uint64_t write_memory_map(struct boot_info *b, const struct gpa_layout *layout,
                                 uint32_t *length)
{
    struct e820_entry map[E820_ENTRIES];
    struct info_memory list[E820_ENTRIES];
    unsigned count = e820_build(layout, map);

    for (unsigned i = 0; i < count; i++) {
        list[i] = (struct info_memory){sizeof(list[0]) - sizeof(list[0].size), map[i].base,
                                       map[i].size, map[i].type};
    }
    *length = count * sizeof(list[0]);
    return info_put(b, list, *length);
}

static int write_info(const struct guest_sink *sink, const struct guest_image *image,
                      const struct gpa_layout *layout, const struct placement *p, uint64_t *at)
{
    static const char name[] = "Corbel";
    struct boot_info b = {sink, GPA_BOOT_INFO, 0};
    struct info info = {
        .flags = INFO_MEMORY | INFO_CMDLINE | INFO_MODULES | INFO_MEMORY_MAP | INFO_LOADER_NAME,
        .mem_lower = GPA_EBDA / KIB,
        .mem_upper = (uint32_t)((layout->low_top - GPA_HIGH) / KIB),
        .mods_count = p->modules,
    };

    info.cmdline =
        (uint32_t)info_text(&b, image->path, image->path_size, image->cmdline, image->cmdline_size);
    info.boot_loader_name = (uint32_t)info_text(&b, name, sizeof(name) - 1, NULL, 0);
    info.mods_addr = (uint32_t)write_modules(&b, p);
    info.mmap_addr = (uint32_t)write_memory_map(&b, layout, &info.mmap_length);
    *at = info_put(&b, &info, sizeof(info));
    return b.error;
}

int multiboot_load(const struct guest_image *image, const struct gpa_layout *layout,
                   const struct guest_sink *sink, struct guest_start *start, char *error)
{
    struct placement p;
    uint64_t entry, info;
    int e = place_kernel(&p, image, &entry, error);

    e = e ? e : place(&p, image, layout, error);
    if (e) {
        return e;
    }
    e = bios_write_services(sink); /* some call it before they look at what they are told */
    e = e ? e : place_write(&p, sink);
    e = e ? e : write_info(sink, image, layout, &p, &info);
    e = e ? e : entry_protected_mode(sink, (uint32_t)entry, start);
    if (e) {
        format(error, LOAD_ERROR, LOAD_NOT_COPIED, -e);
        return e;
    }
    start->rax = LOADED_MAGIC;
    start->rbx = info;
    return 0;
}
