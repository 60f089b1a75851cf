/* Placing kernels that choose their own addresses, their modules and what they are told. */
#include "guest/load/place.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "guest/load/bytes.h"
#include "guest/load/entry.h"

void place_segments(struct placement *p, const struct elf *elf)
{
    p->pieces = elf->count;
    for (unsigned i = 0; i < elf->count; i++) {
        const struct elf_segment *s = &elf->segment[i];

        p->piece[i] = (struct load_piece){s->paddr, s->memory_size, s->data, s->file_size};
    }
}

int place_flat(struct placement *p, const struct guest_image *image, const struct load_flat *flat,
               char *error)
{
    /* Bytes of the header from the image's start, in memory; wraps. */
    uint64_t before = flat->header_addr - (uint64_t)flat->load_addr;
    uint64_t offset = flat->offset - before, bytes, memory;

    if (before > flat->offset) {
        format(error, LOAD_ERROR,
               "has a Multiboot header at byte %llu that cannot lie at %#x when loading starts at "
               "%#x",
               (unsigned long long)flat->offset, flat->header_addr, flat->load_addr);
        return -EBADMSG;
    }
    bytes = flat->load_end_addr ? flat->load_end_addr - (uint64_t)flat->load_addr
                                : image->kernel_size - offset;
    memory = flat->bss_end_addr ? flat->bss_end_addr - (uint64_t)flat->load_addr : bytes;
    if ((flat->load_end_addr && flat->load_end_addr < flat->load_addr) || bytes > memory ||
        (flat->bss_end_addr && flat->bss_end_addr < flat->load_addr)) {
        format(error, LOAD_ERROR,
               "has a Multiboot header whose addresses do not follow each other: %#x up to %#x, "
               "zeros to %#x",
               flat->load_addr, flat->load_end_addr, flat->bss_end_addr);
        return -EBADMSG;
    }
    if (bytes > image->kernel_size - offset) {
        format(error, LOAD_ERROR, "is truncated: it has %llu bytes of %llu; copy it again",
               (unsigned long long)image->kernel_size, offset + (unsigned long long)bytes);
        return -EBADMSG;
    }
    if (flat->entry_addr < flat->load_addr ||
        flat->entry_addr - (uint64_t)flat->load_addr >= memory) {
        format(error, LOAD_ERROR, "has its entry at %#x, outside of all that it loads",
               flat->entry_addr);
        return -EBADMSG;
    }
    p->pieces = 1;
    p->piece[0] = (struct load_piece){flat->load_addr, memory,
                                      (const uint8_t *)image->kernel + offset, bytes};
    return 0;
}

static bool within(const struct load_piece *piece, uint64_t base, uint64_t top)
{
    return piece->gpa >= base && piece->gpa <= top && piece->memory_size <= top - piece->gpa;
}

static bool overlap(const struct load_piece *a, const struct load_piece *b)
{
    return a->gpa < b->gpa + b->memory_size && b->gpa < a->gpa + a->memory_size;
}

static int check_pieces(const struct placement *p, char *error)
{
    for (unsigned i = 0; i < p->pieces; i++) {
        const struct load_piece *piece = &p->piece[i];

        if (!within(piece, GPA_LOAD_LOW, GPA_EBDA) && !within(piece, GPA_HIGH, GPA_HOLE_MAX)) {
            format(error, LOAD_ERROR,
                   "wants %#llx bytes at %#llx: it can have memory from 64K to 639K and from 1M to "
                   "2816M; link it to there",
                   (unsigned long long)piece->memory_size, (unsigned long long)piece->gpa);
            return -EBADMSG;
        }
        for (unsigned j = 0; j < i; j++) {
            if (overlap(piece, &p->piece[j])) {
                format(error, LOAD_ERROR, "has segments that overlap, at %#llx and %#llx",
                       (unsigned long long)p->piece[j].gpa, (unsigned long long)piece->gpa);
                return -EBADMSG;
            }
        }
    }
    return 0;
}

/* What lies behind the kernel, for a sentence. */
static const char *modules_text(const struct guest_image *image)
{
    return image->module_count ? "modules" : "initrd";
}

static void list_modules(struct placement *p, const struct guest_image *image)
{
    p->modules = 0;
    if (image->initrd) {
        p->module[p->modules++] = (struct guest_module){
            .data = image->initrd,
            .size = image->initrd_size,
            .path = image->initrd_path,
            .path_size = image->initrd_path_size,
        };
    }
    for (unsigned i = 0; i < image->module_count; i++) {
        p->module[p->modules++] = image->module[i];
    }
}

int place(struct placement *p, const struct guest_image *image, const struct gpa_layout *layout,
          char *error)
{
    uint64_t kernel_end = GPA_HIGH, end;

    if (check_pieces(p, error) < 0) {
        return -EBADMSG;
    }
    for (unsigned i = 0; i < p->pieces; i++) {
        kernel_end = MAX(kernel_end, p->piece[i].gpa + p->piece[i].memory_size);
    }
    list_modules(p, image);
    end = kernel_end;
    for (unsigned i = 0; i < p->modules; i++) {
        p->module_gpa[i] = ALIGN_UP(end, PAGE_SIZE);
        end = p->module_gpa[i] + MIN(p->module[i].size, GPA_MEMORY_MAX); /* no overflow */
    }
    p->end = end;
    if (end > GPA_HOLE_MAX) {
        format(error, LOAD_ERROR, "cannot take %lluM of %s: they must lie between %lluM and 2816M",
               mib_up(end - kernel_end), modules_text(image), mib_up(kernel_end));
        return image->module_count ? -ENOTSUP : -ERANGE;
    }
    if (end > layout->hole) {
        format(error, LOAD_ERROR,
               "needs hole=%lluM at least, as kernel%s%s lie%s below it; it is %lluM",
               mib_up(ALIGN_UP(end, GPA_HOLE_ALIGN)), p->modules ? " and " : "",
               p->modules ? modules_text(image) : "", p->modules ? "" : "s", mib_up(layout->hole));
        return -ENOMEM;
    }
    if (end > layout->memory) {
        format(error, LOAD_ERROR,
               "needs memory=%lluM at least (%lluM up to the end of the kernel%s%s); it has %lluM",
               mib_up(end), mib_up(kernel_end), p->modules ? ", then its " : "",
               p->modules ? modules_text(image) : "", layout->memory / (unsigned long long)MIB);
        return -ENOMEM;
    }
    return 0;
}

int place_write(const struct placement *p, const struct guest_sink *sink)
{
    int e = 0;

    for (unsigned i = 0; i < p->pieces && !e; i++) {
        e = load_put(sink, p->piece[i].gpa, p->piece[i].data, p->piece[i].file_size);
    }
    for (unsigned i = 0; i < p->modules && !e; i++) {
        e = load_put(sink, p->module_gpa[i], p->module[i].data, p->module[i].size);
    }
    return e;
}

/* --- what a kernel is told --- */

void info_append(struct boot_info *b, const void *data, size_t size)
{
    if (!b->error && size > GPA_BOOT_INFO_TOP - b->next) {
        b->error = -ENOSPC;
    }
    if (!b->error) {
        b->error = load_put(b->sink, b->next, data, size);
        b->next += size;
    }
}

uint64_t info_put(struct boot_info *b, const void *data, size_t size)
{
    uint64_t at = b->next = ALIGN_UP(b->next, 8);

    info_append(b, data, size);
    return at;
}

uint64_t info_text(struct boot_info *b, const char *a, size_t a_size, const char *t, size_t t_size)
{
    uint64_t at = info_put(b, a, a_size);

    info_append(b, " ", a_size && t_size);
    info_append(b, t, t_size);
    info_append(b, "", 1);
    return at;
}
