/* The loader of boot sectors. */
#include "guest/load/sector.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "guest/load/bios.h"
#include "guest/load/bytes.h"
#include "guest/load/entry.h"

#define SECTOR    512
#define SIGNATURE 0xaa55
#define ROOM      (GPA_EBDA - GPA_SECTOR)
#define DRIVE     0x80 /* in DL: the first hard disk, which INT 13h will not find */

bool sector_recognise(const void *kernel, uint64_t size)
{
    return size >= SECTOR && get16((const uint8_t *)kernel + SECTOR - 2) == SIGNATURE;
}

int sector_load(const struct guest_image *image, const struct gpa_layout *layout,
                const struct guest_sink *sink, struct guest_start *start, char *error)
{
    static const char none[] = "is a boot sector, which takes no %s";
    int e;

    if (image->module_count) {
        format(error, LOAD_ERROR, none, "modules");
        return -ENOTSUP;
    }
    if (image->initrd) {
        format(error, LOAD_ERROR, none, "initrd");
        return -ERANGE;
    }
    if (image->cmdline_size) {
        format(error, LOAD_ERROR, none, "command line");
        return -E2BIG;
    }
    if (image->kernel_size > ROOM) {
        format(error, LOAD_ERROR,
               "is a boot sector with %llu bytes; at most %llu fit from 7c00h to the end of base "
               "memory",
               (unsigned long long)image->kernel_size, (unsigned long long)ROOM);
        return -EBADMSG;
    }
    e = bios_write_services(sink);
    e = e ? e : load_put(sink, GPA_SECTOR, image->kernel, image->kernel_size);
    if (e) {
        format(error, LOAD_ERROR, LOAD_NOT_COPIED, -e);
        return e;
    }
    entry_real_mode(GPA_SECTOR, start);
    start->rdx = DRIVE;
    return 0;
}
