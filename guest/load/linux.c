/*
 * The Linux loader. Offsets and rules are those of Linux, Documentation/arch/x86/boot.rst ("The
 * Real-Mode Kernel Header", "64-bit Boot Protocol") and Documentation/arch/x86/zero-page.rst.
 */
#include "guest/load/linux.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/load/bios.h"
#include "guest/load/bytes.h"
#include "guest/load/entry.h"

/* Offsets of the setup header's fields, the same in the file and in boot_params. */
#define HDR_START         0x1f1
#define HDR_SETUP_SECTS   0x1f1
#define HDR_SYSSIZE       0x1f4
#define HDR_VID_MODE      0x1fa
#define HDR_BOOT_FLAG     0x1fe
#define HDR_JUMP_OFFSET   0x201
#define HDR_MAGIC         0x202 /* the header's length is told from here */
#define HDR_VERSION       0x206
#define HDR_LOADER_TYPE   0x210
#define HDR_LOADFLAGS     0x211
#define HDR_CODE32_START  0x214
#define HDR_RAMDISK_IMAGE 0x218
#define HDR_RAMDISK_SIZE  0x21c
#define HDR_CMDLINE       0x228
#define HDR_INITRD_MAX    0x22c
#define HDR_XLOADFLAGS    0x236
#define HDR_CMDLINE_SIZE  0x238
#define HDR_PREF_ADDRESS  0x258
#define HDR_INIT_SIZE     0x260
#define HDR_END           0x264 /* of the fields above */
#define HDR_LIMIT         0x290 /* boot_params has other fields from here on */

#define BOOT_FLAG        0xaa55
#define MAGIC_HDRS       0x53726448 /* "HdrS" */
#define VERSION_MIN      0x020c     /* the first that tells of the 64-bit entry */
#define LOADED_HIGH      BIT(0)     /* loadflags */
#define XLF_KERNEL_64    BIT(0)     /* xloadflags */
#define LOADER_UNDEFINED 0xff       /* type_of_loader: none that has a number */
#define VID_MODE_NORMAL  0xffff
#define SETUP_SECTS_OLD  4 /* what 0 means */
#define SECTOR           512
#define PARAGRAPH        16
#define ENTRY_64         0x200 /* of the 64-bit entry from the load address */

/* Fields of boot_params outside the setup header. */
#define BP_RSDP       0x070
#define BP_E820_COUNT 0x1e8
#define BP_E820       0x2d0

/* --- the kernel's file --- */

bool linux_recognise(const void *kernel, uint64_t size)
{
    const uint8_t *k = kernel;

    return size >= HDR_VERSION && get16(k + HDR_BOOT_FLAG) == BOOT_FLAG &&
           get32(k + HDR_MAGIC) == MAGIC_HDRS;
}

int linux_parse(const void *kernel, uint64_t size, struct linux_header *header, char *error)
{
    const uint8_t *k = kernel;
    uint64_t whole;

    *header = (struct linux_header){0};
    error[0] = '\0';
    if (size < HDR_END || !linux_recognise(k, size)) {
        format(error, LOAD_ERROR, "is not a Linux bzImage: it %s",
               size < HDR_END ? "is too short" : "has no setup header");
        return -EBADMSG;
    }
    header->version = get16(k + HDR_VERSION);
    if (!(k[HDR_LOADFLAGS] & LOADED_HIGH)) {
        format(error, LOAD_ERROR, "is a zImage, which is loaded below 1 MiB; a bzImage is needed");
        return -EBADMSG;
    }
    if (header->version < VERSION_MIN) {
        format(error, LOAD_ERROR,
               "has no 64-bit entry: its boot protocol, %u.%02u, knows none; one of 2.12 (Linux "
               "3.8) or newer does",
               header->version >> 8, header->version & 0xff);
        return -EBADMSG;
    }
    if (!(get16(k + HDR_XLOADFLAGS) & XLF_KERNEL_64)) {
        format(error, LOAD_ERROR,
               "has no 64-bit entry, as 32-bit kernels have none; a 64-bit one (Debian's amd64) is "
               "needed");
        return -EBADMSG;
    }
    header->setup_size =
        (uint64_t)(k[HDR_SETUP_SECTS] ? k[HDR_SETUP_SECTS] : SETUP_SECTS_OLD) * SECTOR + SECTOR;
    whole = header->setup_size + (uint64_t)get32(k + HDR_SYSSIZE) * PARAGRAPH;
    if (size <= header->setup_size + ENTRY_64 || size + PARAGRAPH <= whole) {
        format(error, LOAD_ERROR, "is truncated: it has %llu bytes of %llu; copy it again",
               (unsigned long long)size,
               (unsigned long long)MAX(whole, header->setup_size + ENTRY_64 + 1));
        return -EBADMSG;
    }
    header->payload_size = size - header->setup_size;
    header->init_size = MAX(get32(k + HDR_INIT_SIZE), header->payload_size);
    header->initrd_max = get32(k + HDR_INITRD_MAX);
    header->cmdline_size = get32(k + HDR_CMDLINE_SIZE);
    /*
     * Even a relocatable 64-bit kernel never runs below its preferred address: loaded lower, it
     * decompresses itself to there. So this is the load address, and the memory that it takes is
     * known.
     */
    header->load_address = get64(k + HDR_PREF_ADDRESS);
    if (header->load_address < GPA_HIGH || header->load_address >= GPA_HOLE_MAX ||
        !IS_ALIGNED(header->load_address, PAGE_SIZE)) {
        format(error, LOAD_ERROR,
               "asks to be loaded at %#llx; it must be a page from 1 MiB to 2816 MiB",
               (unsigned long long)header->load_address);
        return -EBADMSG;
    }
    if (header->init_size > GPA_HOLE_MAX - header->load_address) {
        format(error, LOAD_ERROR, "asks for %lluM from %lluM on; it must end below 2816 MiB",
               mib_up(header->init_size), header->load_address / (unsigned long long)MIB);
        return -EBADMSG;
    }
    return 0;
}

/* --- where things go --- */

static uint64_t kernel_end(const struct linux_header *header)
{
    return ALIGN_UP(header->load_address + header->init_size, PAGE_SIZE);
}

uint64_t linux_memory_needed(const struct linux_header *header, uint64_t initrd_size)
{
    return ALIGN_UP(kernel_end(header) + MIN(initrd_size, GPA_MEMORY_MAX), MIB); /* no overflow */
}

/* Find the initrd's address: as high as possible, so that it is out of the way of whatever the
 * kernel does first. */
static int place_initrd(const struct linux_header *header, const struct guest_image *image,
                        const struct gpa_layout *layout, uint64_t *address, char *error)
{
    uint64_t needed = linux_memory_needed(header, image->initrd_size);
    uint64_t limit = ALIGN_DOWN(MIN(header->initrd_max + 1, GPA_HOLE_MAX), PAGE_SIZE);

    if (image->initrd_size && image->initrd_size > limit - MIN(limit, kernel_end(header))) {
        format(error, LOAD_ERROR,
               "cannot use an initrd of %lluM: it must lie between %lluM and %lluM",
               mib_up(image->initrd_size), mib_up(kernel_end(header)),
               limit / (unsigned long long)MIB);
        return -ERANGE;
    }
    if (needed > layout->hole) {
        format(error, LOAD_ERROR, "needs hole=%lluM at least, as kernel%s below it; it is %lluM",
               mib_up(ALIGN_UP(needed, GPA_HOLE_ALIGN)),
               image->initrd_size ? " and initrd lie" : " lies", mib_up(layout->hole));
        return -ENOMEM;
    }
    if (needed > layout->memory) {
        format(error, LOAD_ERROR,
               "needs memory=%lluM at least (%lluM up to the end of the kernel%s); it has %lluM",
               mib_up(needed), mib_up(kernel_end(header)),
               image->initrd_size ? ", then the initrd" : "", mib_up(layout->memory));
        return -ENOMEM;
    }
    *address = ALIGN_DOWN(MIN(layout->low_top, limit) - image->initrd_size, PAGE_SIZE);
    return 0;
}

/* --- writing guest memory --- */

static int write_boot_params(const struct guest_sink *sink, const struct guest_image *image,
                             const struct linux_header *header, const struct gpa_layout *layout,
                             uint64_t initrd)
{
    const uint8_t *k = image->kernel;
    uint8_t hdr[HDR_LIMIT] = {0}; /* what boot_params has up to the header's end */
    struct e820_entry map[E820_ENTRIES];
    unsigned count = e820_build(layout, map);
    /* A newer kernel's header may be longer than the fields known here, and the file than neither.
     */
    uint64_t end =
        MIN(MAX((uint64_t)HDR_MAGIC + k[HDR_JUMP_OFFSET], (uint64_t)HDR_END), (uint64_t)HDR_LIMIT);
    int e;

    memcpy(hdr + HDR_START, k + HDR_START, MIN(end, image->kernel_size) - HDR_START);
    memcpy(hdr + BP_RSDP, &image->rsdp, sizeof(image->rsdp));
    hdr[BP_E820_COUNT] = (uint8_t)count;
    hdr[HDR_LOADER_TYPE] = LOADER_UNDEFINED;
    hdr[HDR_VID_MODE] = VID_MODE_NORMAL & 0xff;
    hdr[HDR_VID_MODE + 1] = VID_MODE_NORMAL >> 8;
    put32(hdr + HDR_CODE32_START, (uint32_t)header->load_address);
    put32(hdr + HDR_RAMDISK_IMAGE, image->initrd_size ? (uint32_t)initrd : 0);
    put32(hdr + HDR_RAMDISK_SIZE, (uint32_t)image->initrd_size);
    put32(hdr + HDR_CMDLINE, GPA_CMDLINE);
    e = sink->zero(sink->ctx, GPA_BOOT_PARAMS, PAGE_SIZE);
    e = e ? e : load_put(sink, GPA_BOOT_PARAMS, hdr, sizeof(hdr));
    return e ? e : load_put(sink, GPA_BOOT_PARAMS + BP_E820, map, count * sizeof(map[0]));
}

static int write_all(const struct guest_sink *sink, const struct guest_image *image,
                     const struct linux_header *header, const struct gpa_layout *layout,
                     uint64_t initrd)
{
    int e = bios_write_data(sink);

    e = e ? e : write_boot_params(sink, image, header, layout, initrd);
    e = e ? e : load_put(sink, GPA_CMDLINE, image->cmdline, image->cmdline_size);
    e = e ? e : load_put(sink, GPA_CMDLINE + image->cmdline_size, "", 1);
    e = e ? e
          : load_put(sink, header->load_address,
                     (const uint8_t *)image->kernel + header->setup_size, header->payload_size);
    return e ? e : load_put(sink, initrd, image->initrd, image->initrd_size);
}

int linux_load(const struct guest_image *image, const struct gpa_layout *layout,
               const struct guest_sink *sink, struct guest_start *start, char *error)
{
    struct linux_header header;
    uint64_t initrd = 0;
    int e = linux_parse(image->kernel, image->kernel_size, &header, error);

    if (e) {
        return e;
    }
    if (image->cmdline_size > MIN(header.cmdline_size, PAGE_SIZE - 1)) {
        format(error, LOAD_ERROR, "takes a command line of at most %u bytes; cmdline has %zu",
               (unsigned)MIN(header.cmdline_size, PAGE_SIZE - 1), image->cmdline_size);
        return -E2BIG;
    }
    if (image->module_count) {
        format(error, LOAD_ERROR, "is a Linux bzImage, which takes an initrd but no modules");
        return -ENOTSUP;
    }
    e = place_initrd(&header, image, layout, &initrd, error);
    if (e) {
        return e;
    }
    e = write_all(sink, image, &header, layout, initrd);
    e = e ? e : entry_long_mode(sink, header.load_address + ENTRY_64, start);
    if (e) {
        format(error, LOAD_ERROR, LOAD_NOT_COPIED, -e);
        return e;
    }
    start->rsi = GPA_BOOT_PARAMS;
    start->rsp = GPA_STACK_TOP;
    return 0;
}
