/* The Multiboot 2 loader. Names and rules are those of the Multiboot2 Specification, "OS image
 * format", "Machine state" and "Boot information format". */
#include "guest/load/multiboot2.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "guest/load/bios.h"
#include "guest/load/bytes.h"
#include "guest/load/entry.h"
#include "guest/load/multiboot2_header.h"
#include "guest/load/multiboot2_info.h"
#include "guest/load/place.h"

#define LOADED_MAGIC 0x36d76289 /* in EAX */

/* Whatever the specification does not say of the screen. */
#define WIDTH  1024
#define HEIGHT 768
#define DEPTH  32

struct kernel {
    struct multiboot2_header header;
    struct placement p;
    struct elf elf; /* without header.has_addresses */
    uint64_t entry;
};

/* --- the kernel's file --- */

static int take_flat(struct kernel *k, const struct guest_image *image, char *error)
{
    struct load_flat flat = k->header.flat;

    if (!k->header.has_entry) {
        format(error, LOAD_ERROR,
               "has a Multiboot 2 header that says what to load, and no entry address");
        return -EBADMSG;
    }
    if (flat.load_addr == UINT32_MAX) { /* the file from its beginning */
        flat.load_addr = (uint32_t)(flat.header_addr - flat.offset);
    }
    k->entry = flat.entry_addr;
    return place_flat(&k->p, image, &flat, error);
}

static int take_elf(struct kernel *k, const struct guest_image *image, char *error)
{
    if (!elf_recognise(image->kernel, image->kernel_size)) {
        format(error, LOAD_ERROR,
               "has a Multiboot 2 header without addresses, and is not an ELF file");
        return -EBADMSG;
    }
    if (elf_parse(image->kernel, image->kernel_size, &k->elf, error) < 0) {
        return -EBADMSG;
    }
    k->entry = k->header.flat.entry_addr;
    if (!k->header.has_entry && elf_entry(&k->elf, &k->entry, error) < 0) {
        return -EBADMSG;
    }
    if (!elf_holds(&k->elf, k->entry)) {
        format(error, LOAD_ERROR, "has its entry at %#llx, outside of all that it loads",
               (unsigned long long)k->entry);
        return -EBADMSG;
    }
    place_segments(&k->p, &k->elf);
    return 0;
}

static int take(struct kernel *k, const struct guest_image *image, char *error)
{
    if (multiboot2_header(image->kernel, image->kernel_size, &k->header, error) < 0) {
        return -EBADMSG;
    }
    /* Addresses count even in an ELF file. */
    return k->header.has_addresses ? take_flat(k, image, error) : take_elf(k, image, error);
}

bool multiboot2_recognise(const void *kernel, uint64_t size)
{
    const struct guest_image image = {.kernel = kernel, .kernel_size = size};
    char error[LOAD_ERROR];
    struct kernel k;

    return take(&k, &image, error) == 0;
}

bool multiboot2_has_header(const void *kernel, uint64_t size)
{
    struct multiboot2_header h;
    char error[LOAD_ERROR];

    return multiboot2_header(kernel, size, &h, error) != -ENOENT;
}

/* --- what it asks for --- */

static uint64_t modules_size(const struct guest_image *image)
{
    uint64_t sum = ALIGN_UP(MIN(image->initrd_size, GPA_MEMORY_MAX), PAGE_SIZE);

    for (unsigned i = 0; i < image->module_count; i++) {
        sum += ALIGN_UP(MIN(image->module[i].size, GPA_MEMORY_MAX), PAGE_SIZE);
    }
    return sum;
}

/*
 * Move all pieces to where a relocatable kernel prefers to be: by default where it was linked to,
 * if that will do. "As high as possible" leaves room for its modules, which lie above it.
 */
static int relocate(struct kernel *k, const struct guest_image *image,
                    const struct gpa_layout *layout, char *error)
{
    const struct multiboot2_header *h = &k->header;
    uint64_t low = UINT64_MAX, high = 0, modules = modules_size(image), size, from, to, base, top;

    for (unsigned i = 0; i < k->p.pieces; i++) {
        low = MIN(low, k->p.piece[i].gpa);
        high = MAX(high, k->p.piece[i].gpa + k->p.piece[i].memory_size);
    }
    size = high - low;
    from = MAX((uint64_t)h->min_addr, GPA_HIGH);
    to = h->max_addr;
    base = ALIGN_UP(from, (uint64_t)h->align);
    if (base > to || size > to - base) {
        format(error, LOAD_ERROR,
               "wants to lie between %#llx and %#x, aligned to %#x, where its %#llx bytes have no "
               "room",
               (unsigned long long)from, h->max_addr, h->align, (unsigned long long)size);
        return -EBADMSG;
    }
    top = MIN(to, layout->low_top - MIN(modules, layout->low_top));
    if (h->preference == MULTIBOOT2_ANYWHERE && low >= from && high <= to &&
        IS_ALIGNED(low, (uint64_t)h->align)) {
        base = low;
    } else if (h->preference == MULTIBOOT2_HIGHEST && size <= top) {
        base = MAX(base, ALIGN_DOWN(top - size, (uint64_t)h->align));
    }
    for (unsigned i = 0; i < k->p.pieces; i++) {
        k->p.piece[i].gpa += base - low;
    }
    k->entry += base - low;
    return 0;
}

static int check_screen(const struct multiboot2_header *h, const struct guest_image *image,
                        char *error)
{
    if (!image->display && (h->insists_on_screen || h->insists_on_console)) {
        format(error, LOAD_ERROR,
               "demands a screen by its Multiboot 2 header, which this VM has not: display = vga "
               "gives it one");
        return -EBADMSG;
    }
    if (h->insists_on_console && !h->has_screen) {
        format(error, LOAD_ERROR,
               "demands a screen of text by its Multiboot 2 header, which takes a BIOS; only one "
               "of points is to be had");
        return -EBADMSG;
    }
    return 0;
}

static void show_screen(const struct multiboot2_header *h, const struct guest_image *image,
                        struct guest_screen *screen)
{
    bool known = h->depth == 15 || h->depth == 16 || h->depth == 24;

    *screen = (struct guest_screen){.width = h->width ? h->width : WIDTH,
                                    .height = h->height ? h->height : HEIGHT,
                                    .depth = known ? (uint8_t)h->depth : DEPTH};
    image->display->show(image->display->ctx, screen);
}

/* --- loading --- */

int multiboot2_load(const struct guest_image *image, const struct gpa_layout *layout,
                    const struct guest_sink *sink, struct guest_start *start, char *error)
{
    struct kernel k = {0};
    struct guest_screen screen;
    bool shows;
    uint64_t info;
    int e = take(&k, image, error);

    e = e ? e : check_screen(&k.header, image, error);
    if (!e && k.header.relocatable) {
        e = relocate(&k, image, layout, error);
    }
    e = e ? e : place(&k.p, image, layout, error);
    if (e) {
        return e;
    }
    shows = image->display && k.header.has_screen;
    if (shows) {
        show_screen(&k.header, image, &screen);
    }
    const struct multiboot2_told told = {
        .sink = sink,
        .image = image,
        .layout = layout,
        .placement = &k.p,
        .elf = k.header.has_addresses ? NULL : &k.elf,
        .screen = shows ? &screen : NULL,
        .relocated = k.header.relocatable,
    };
    e = bios_write_services(sink); /* as for Multiboot 1 */
    e = e ? e : place_write(&k.p, sink);
    e = e ? e : multiboot2_tell(&told, &info);
    e = e ? e : entry_protected_mode(sink, (uint32_t)k.entry, start);
    if (e) {
        format(error, LOAD_ERROR, LOAD_NOT_COPIED, -e);
        return e;
    }
    start->rax = LOADED_MAGIC;
    start->rbx = info;
    return 0;
}
