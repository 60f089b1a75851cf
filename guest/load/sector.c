/* The loader of boot sectors, and what stands in for the BIOS that they expect. */
#include "guest/load/sector.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "guest/load/bytes.h"
#include "guest/load/entry.h"

#define SECTOR         512
#define SIGNATURE      0xaa55
#define ROOM           (GPA_EBDA - GPA_SECTOR)
#define VECTORS        256
#define SERVICES_FIRST 0x10 /* INT 10h (video) to INT 1Ah (clock), and a few tables behind them */
#define SERVICES_LAST  0x1f
#define DRIVE          0x80 /* in DL: the first hard disk, which INT 13h will not find */

/* Where the interrupt vectors lead, at GPA_BIOS_STUBS. */
static const uint8_t stubs[] = {
    0xcf,                   /* 0: IRET */
    0x55,                   /* 1: PUSH BP */
    0x89, 0xe5,             /* MOV BP, SP */
    0x80, 0x4e, 0x06, 0x01, /* OR BYTE [BP+6], 1: CF in the flags on the stack */
    0x5d,                   /* POP BP */
    0xcf,                   /* IRET */
};
#define STUB_RETURN 0
#define STUB_FAILED 1

bool sector_recognise(const void *kernel, uint64_t size)
{
    return size >= SECTOR && get16((const uint8_t *)kernel + SECTOR - 2) == SIGNATURE;
}

static int write_bios(const struct guest_sink *sink)
{
    uint32_t vectors[VECTORS];
    int e = load_bios_data(sink);

    for (unsigned i = 0; i < VECTORS; i++) {
        bool service = i >= SERVICES_FIRST && i <= SERVICES_LAST;

        vectors[i] = GPA_BIOS_STUBS + (service ? STUB_FAILED : STUB_RETURN); /* segment 0 */
    }
    e = e ? e : load_put(sink, 0, vectors, sizeof(vectors));
    return e ? e : load_put(sink, GPA_BIOS_STUBS, stubs, sizeof(stubs));
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
    e = write_bios(sink);
    e = e ? e : load_put(sink, GPA_SECTOR, image->kernel, image->kernel_size);
    if (e) {
        format(error, LOAD_ERROR, LOAD_NOT_COPIED, -e);
        return e;
    }
    entry_real_mode(GPA_SECTOR, start);
    start->rdx = DRIVE;
    return 0;
}
