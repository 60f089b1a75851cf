/* links: guest/load/linux.c guest/load/entry.c guest/load/bios.c guest/load/e820.c arch/x86/lib/format.c */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "guest/load/linux.h"
#include "tests/fuzz/checked_ram.h"
#include "tests/unit/bzimage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * The first bytes choose the VM's size; bit 0 of the first whether the rest is the file itself or
 * overwrites the fields of a good header, pair by pair of (offset, value).
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t kernel[BZ_SIZE], initrd[20000];
    struct gpa_layout layout;
    struct checked_ram memory = {.layout = &layout};
    struct guest_sink sink = {sink_write, sink_zero, &memory};
    struct guest_image image = {.initrd = initrd, .rsdp = 0xf0000};
    struct guest_start start = {0};
    char error[LOAD_ERROR];
    uint8_t *exact;
    int e;

    if (size < 6 ||
        gpa_layout_init(&layout, (2 + data[1]) * MIB, (8 + (uint64_t)data[2]) * 2 * MIB)) {
        return 0;
    }
    image.initrd_size = (data[3] | (uint64_t)data[4] << 8) % sizeof(initrd);
    image.cmdline_size = data[5];
    image.cmdline = (const char *)initrd;
    if (data[0] & 1) {
        image.kernel_size = size - 6;
        exact = malloc(image.kernel_size);
        memcpy(exact, data + 6, image.kernel_size);
    } else {
        bz_make(kernel);
        for (size_t i = 6; i + 1 < size; i += 2) {
            kernel[0x1f1 + data[i] % 0x90] = data[i + 1];
        }
        image.kernel_size = sizeof(kernel) - data[0] / 2;
        exact = malloc(image.kernel_size);
        memcpy(exact, kernel, image.kernel_size);
    }
    image.kernel = exact;
    memset(error, 0xa5, sizeof(error));
    e = linux_load(&image, &layout, &sink, &start, error);
    if (e == 0) {
        bool is_64 = !linux_recognise_32(exact, image.kernel_size);

        REQUIRE(start.mode == (is_64 ? GUEST_LONG : GUEST_PROTECTED));
        REQUIRE(gpa_layout_is_ram(&layout, start.rip, 1) && start.rip < GPA_4G);
        REQUIRE(memory.writes > (is_64 ? 30 : 5));
    } else {
        REQUIRE(e == -EBADMSG || e == -ENOMEM || e == -E2BIG || e == -ERANGE);
        REQUIRE(memory.writes == 0);
        REQUIRE(strnlen(error, sizeof(error)) > 10 &&
                strnlen(error, sizeof(error)) < sizeof(error));
    }
    free(exact);
    return 0;
}
