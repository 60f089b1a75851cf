/* Multiboot 2 headers, checked tag by tag: what has the magic by chance is none. */
#include "guest/load/multiboot2_header.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "guest/load/bytes.h"

#define SEARCH       32768 /* the header lies within so many bytes, aligned to 8 */
#define MAGIC        0xe85250d6
#define HEADER_BYTES 16 /* magic, architecture, length, checksum; the tags follow */
#define TAG_BYTES    8  /* type, flags, size */
#define TAG_ALIGN    8
#define I386         0 /* the architecture: 32-bit protected mode */
#define TAG_OPTIONAL BIT(0)

enum tag {
    TAG_END,
    TAG_REQUEST,
    TAG_ADDRESSES,
    TAG_ENTRY,
    TAG_CONSOLE,
    TAG_SCREEN,
    TAG_ALIGN_MODULES, /* all modules lie on pages of their own */
    TAG_EFI_SERVICES,  /* this and the next two are for EFI's loaders */
    TAG_EFI_ENTRY_32,
    TAG_EFI_ENTRY_64,
    TAG_RELOCATABLE,
    TAGS
};

static const uint8_t tag_bytes[TAGS] = {
    [TAG_END] = 8,           [TAG_REQUEST] = 8,      [TAG_ADDRESSES] = 24,
    [TAG_ENTRY] = 12,        [TAG_CONSOLE] = 12,     [TAG_SCREEN] = 20,
    [TAG_ALIGN_MODULES] = 8, [TAG_EFI_SERVICES] = 8, [TAG_EFI_ENTRY_32] = 12,
    [TAG_EFI_ENTRY_64] = 12, [TAG_RELOCATABLE] = 24};

#define CONSOLE_REQUIRED BIT(0)
#define INFO_LAST        21 /* the last kind of information that the specification has */

/* Its bytes in the file; 0: there is none. */
static uint64_t find(const uint8_t *k, uint64_t size, uint64_t *offset)
{
    uint64_t end = MIN(size, (uint64_t)SEARCH);

    for (uint64_t at = 0; at + HEADER_BYTES <= end; at += TAG_ALIGN) {
        uint32_t architecture = get32(k + at + 4), length = get32(k + at + 8);

        if (get32(k + at) == MAGIC && MAGIC + architecture + length + get32(k + at + 12) == 0 &&
            architecture == I386 && length >= HEADER_BYTES && length <= end - at) {
            *offset = at;
            return length;
        }
    }
    return 0;
}

/* Every kind of information is known that the specification has; what a VM has not is not told. */
static int check_requests(const uint8_t *tag, uint32_t size, char *error)
{
    for (uint32_t i = TAG_BYTES; i + 4 <= size; i += 4) {
        if (get32(tag + i) > INFO_LAST) {
            format(error, LOAD_ERROR,
                   "demands what no loader knows: information %u by its Multiboot 2 header",
                   get32(tag + i));
            return -EBADMSG;
        }
    }
    return 0;
}

static int read_relocatable(const uint8_t *tag, struct multiboot2_header *h, char *error)
{
    h->relocatable = true;
    h->min_addr = get32(tag + 8);
    h->max_addr = get32(tag + 12);
    h->align = MAX(get32(tag + 16), 1u);
    h->preference = get32(tag + 20);
    if ((h->align & (h->align - 1)) != 0 || h->min_addr > h->max_addr ||
        h->preference > MULTIBOOT2_HIGHEST) {
        format(error, LOAD_ERROR,
               "has a Multiboot 2 header that makes no sense of where it may lie: from %#x to %#x, "
               "aligned to %#x, preference %u",
               h->min_addr, h->max_addr, h->align, h->preference);
        return -EBADMSG;
    }
    return 0;
}

static int read_tag(const uint8_t *tag, uint32_t size, struct multiboot2_header *h, char *error)
{
    bool optional = get16(tag + 2) & TAG_OPTIONAL;

    switch (get16(tag)) {
    case TAG_REQUEST:
        return optional ? 0 : check_requests(tag, size, error);
    case TAG_ADDRESSES:
        h->has_addresses = true;
        h->flat.header_addr = get32(tag + 8);
        h->flat.load_addr = get32(tag + 12);
        h->flat.load_end_addr = get32(tag + 16);
        h->flat.bss_end_addr = get32(tag + 20);
        return 0;
    case TAG_ENTRY:
        h->has_entry = true;
        h->flat.entry_addr = get32(tag + 8);
        return 0;
    case TAG_CONSOLE:
        h->insists_on_console = !optional && get32(tag + 8) & CONSOLE_REQUIRED;
        return 0;
    case TAG_SCREEN:
        h->has_screen = true;
        h->insists_on_screen = !optional;
        h->width = get32(tag + 8);
        h->height = get32(tag + 12);
        h->depth = get32(tag + 16);
        return 0;
    case TAG_RELOCATABLE:
        return read_relocatable(tag, h, error);
    default:
        return 0;
    }
}

static int read_tags(const uint8_t *header, uint64_t length, struct multiboot2_header *h,
                     char *error)
{
    for (uint64_t at = HEADER_BYTES; at + TAG_BYTES <= length;) {
        const uint8_t *tag = header + at;
        uint16_t type = get16(tag);
        uint32_t size = get32(tag + 4);

        if (type >= TAGS && !(get16(tag + 2) & TAG_OPTIONAL)) {
            format(error, LOAD_ERROR,
                   "demands what no loader knows: a tag of type %u in its Multiboot 2 header",
                   type);
            return -EBADMSG;
        }
        if (size < (type < TAGS ? tag_bytes[type] : TAG_BYTES) || size > length - at) {
            format(error, LOAD_ERROR,
                   "has a broken Multiboot 2 header: its tag of type %u has %u bytes", type, size);
            return -EBADMSG;
        }
        if (type == TAG_END) {
            return 0;
        }
        if (type < TAGS && read_tag(tag, size, h, error) < 0) {
            return -EBADMSG;
        }
        at += ALIGN_UP((uint64_t)size, TAG_ALIGN);
    }
    format(error, LOAD_ERROR, "has a broken Multiboot 2 header: its %llu bytes have no last tag",
           (unsigned long long)length);
    return -EBADMSG;
}

int multiboot2_header(const uint8_t *k, uint64_t size, struct multiboot2_header *h, char *error)
{
    uint64_t length;

    *h = (struct multiboot2_header){0};
    length = find(k, size, &h->flat.offset);
    if (length == 0) {
        format(error, LOAD_ERROR, "has no Multiboot 2 header");
        return -ENOENT;
    }
    return read_tags(k + h->flat.offset, length, h, error);
}
