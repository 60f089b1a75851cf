/*
 * The Linux loader. Offsets and rules are those of Linux, Documentation/arch/x86/boot.rst ("The
 * Real-Mode Kernel Header", "32-bit Boot Protocol", "64-bit Boot Protocol") and
 * Documentation/arch/x86/zero-page.rst.
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

#define BOOT_FLAG     0xaa55
#define MAGIC_HDRS    0x53726448 /* "HdrS" */
#define LOADED_HIGH   BIT(0)     /* loadflags */
#define XLF_KERNEL_64 BIT(0)     /* xloadflags */
#define PE_MAGIC      0x5a4d     /* "MZ", the file's first bytes: it has an EFI stub */

/* The first boot protocols that know of: */
#define VERSION_CMDLINE      0x0202 /* a command line at any address; the oldest that is taken */
#define VERSION_INITRD_MAX   0x0203
#define VERSION_SYSSIZE      0x0204 /* as a size that large kernels have, too */
#define VERSION_CMDLINE_SIZE 0x0206
#define VERSION_INIT_SIZE    0x020a /* and the preferred address */
#define VERSION_XLOADFLAGS   0x020c /* the 64-bit entry */

#define LOADER_UNDEFINED 0xff /* type_of_loader: none that has a number */
#define VID_MODE_NORMAL  0xffff
#define SETUP_SECTS_OLD  4 /* what 0 means */
#define SECTOR           512
#define PARAGRAPH        16
#define ENTRY_64         0x200 /* of the 64-bit entry from the load address */

/* What holds where a header is too old to tell it. */
#define OLD_INITRD_MAX   0x37ffffff
#define OLD_CMDLINE_SIZE 255

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

/* What is wrong with a kernel that has neither entry in protected mode, such as iPXE's lkrn. */
static int no_entry(const uint8_t *k, char *error)
{
    if (get16(k) == PE_MAGIC) {
        format(error, LOAD_ERROR,
               "has neither a 64-bit nor a 32-bit entry, but an EFI stub, which only firmware can "
               "start (firmware = uefi)");
    } else {
        format(error, LOAD_ERROR,
               "has neither a 64-bit nor a 32-bit entry: it starts in real mode and needs a BIOS "
               "(firmware = bios, and a disk or CD with it)");
    }
    return -EBADMSG;
}

/* Whether it can be started at all, and by which entry. */
static int check_entry(const uint8_t *k, struct linux_header *header, char *error)
{
    header->version = get16(k + HDR_VERSION);
    if (!(k[HDR_LOADFLAGS] & LOADED_HIGH)) {
        format(error, LOAD_ERROR, "is a zImage, which is loaded below 1 MiB; a bzImage is needed");
        return -EBADMSG;
    }
    if (header->version < VERSION_CMDLINE) {
        format(error, LOAD_ERROR,
               "has boot protocol %u.%02u; one of 2.02 (Linux 2.4) or newer is needed",
               header->version >> 8, header->version & 0xff);
        return -EBADMSG;
    }
    header->is_64 =
        header->version >= VERSION_XLOADFLAGS && get16(k + HDR_XLOADFLAGS) & XLF_KERNEL_64;
    return header->is_64 || get32(k + HDR_CODE32_START) ? 0 : no_entry(k, error);
}

static int check_size(const uint8_t *k, uint64_t size, struct linux_header *header, char *error)
{
    uint64_t least, whole;

    header->setup_size =
        (uint64_t)(k[HDR_SETUP_SECTS] ? k[HDR_SETUP_SECTS] : SETUP_SECTS_OLD) * SECTOR + SECTOR;
    least = header->setup_size + (header->is_64 ? ENTRY_64 : 0) + 1;
    whole = header->version < VERSION_SYSSIZE
                ? least
                : header->setup_size + (uint64_t)get32(k + HDR_SYSSIZE) * PARAGRAPH;
    if (size < least || size + PARAGRAPH <= whole) {
        format(error, LOAD_ERROR, "is truncated: it has %llu bytes of %llu; copy it again",
               (unsigned long long)size, (unsigned long long)MAX(whole, least));
        return -EBADMSG;
    }
    header->payload_size = size - header->setup_size;
    return 0;
}

/*
 * Even a relocatable kernel never runs below its preferred address: loaded lower, it decompresses
 * itself to there. So this is the load address, and the memory that it takes is known. Older ones
 * are loaded where their 32-bit entry is to be, and do not tell what memory they take.
 */
static int check_place(const uint8_t *k, struct linux_header *header, char *error)
{
    bool told = header->version >= VERSION_INIT_SIZE;

    header->init_size = MAX(told ? get32(k + HDR_INIT_SIZE) : 0, header->payload_size);
    header->load_address = told && (header->is_64 || get64(k + HDR_PREF_ADDRESS))
                               ? get64(k + HDR_PREF_ADDRESS)
                               : get32(k + HDR_CODE32_START);
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

int linux_parse(const void *kernel, uint64_t size, struct linux_header *header, char *error)
{
    const uint8_t *k = kernel;

    *header = (struct linux_header){0};
    error[0] = '\0';
    if (size < HDR_END || !linux_recognise(k, size)) {
        format(error, LOAD_ERROR, "is not a Linux bzImage: it %s",
               size < HDR_END ? "is too short" : "has no setup header");
        return -EBADMSG;
    }
    if (check_entry(k, header, error) < 0 || check_size(k, size, header, error) < 0 ||
        check_place(k, header, error) < 0) {
        return -EBADMSG;
    }
    header->initrd_max =
        header->version < VERSION_INITRD_MAX ? OLD_INITRD_MAX : get32(k + HDR_INITRD_MAX);
    header->cmdline_size =
        header->version < VERSION_CMDLINE_SIZE ? OLD_CMDLINE_SIZE : get32(k + HDR_CMDLINE_SIZE);
    return 0;
}

bool linux_recognise_32(const void *kernel, uint64_t size)
{
    struct linux_header header;
    char error[LOAD_ERROR];

    return linux_parse(kernel, size, &header, error) == 0 && !header.is_64;
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
    /* A newer kernel's header may be longer than the fields known here, and the file than neither;
     * behind an older one's there is code. */
    uint64_t least = header->version < VERSION_XLOADFLAGS ? HDR_INITRD_MAX : HDR_END;
    uint64_t end = MIN(MAX((uint64_t)HDR_MAGIC + k[HDR_JUMP_OFFSET], least), (uint64_t)HDR_LIMIT);
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
    if (header.is_64) {
        e = e ? e : entry_long_mode(sink, header.load_address + ENTRY_64, start);
    } else {
        e = e ? e : entry_protected_mode_linux(sink, (uint32_t)header.load_address, start);
    }
    if (e) {
        format(error, LOAD_ERROR, LOAD_NOT_COPIED, -e);
        return e;
    }
    start->rsi = GPA_BOOT_PARAMS;
    start->rsp = GPA_STACK_TOP;
    return 0;
}
