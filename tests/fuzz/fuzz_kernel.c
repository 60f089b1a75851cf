/* links: guest/load/kernel.c guest/load/linux.c guest/load/multiboot.c guest/load/pvh.c guest/load/sector.c guest/load/place.c guest/load/elf.c guest/load/entry.c guest/load/bios.c guest/load/e820.c arch/x86/lib/format.c */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "guest/load/kernel.h"
#include "tests/fuzz/checked_ram.h"
#include "tests/unit/elf_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A good file of some kind, for the input to change; 0: none. */
static size_t make(uint8_t *file, unsigned kind)
{
    bool is_64 = kind & 1;

    memset(file, 0, ELF_FILE);
    switch (kind >> 1) {
    case 0:
        elf_make(file, is_64);
        return ELF_FILE;
    case 1:
        elf_make(file, is_64);
        elf_add_pvh(file, is_64, ELF_ENTRY, is_64 ? 8 : 4);
        return ELF_FILE;
    case 2:
        elf_make(file, is_64);
        multiboot_put(file, 0x200, 3);
        return ELF_FILE;
    case 3:
        multiboot_put(file, 0x40, 0x10003);
        multiboot_addresses(file, 0x40, 0x100020, 0x100000, 0x101000, 0x103000, 0x100024);
        return ELF_FILE - (is_64 ? 0x1fe0 : 0);
    default:
        return 0;
    }
}

/*
 * Byte 0 chooses the file, bytes 1 and 2 the VM's size, byte 3 what goes with the kernel. The rest
 * is the file itself, or changes bytes of a good one: offset (two bytes: the first 1024), value.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t file[ELF_FILE];
    static const char text[2048] = "text";
    struct gpa_layout layout;
    struct checked_ram memory = {.layout = &layout};
    struct guest_sink sink = {sink_write, sink_zero, &memory};
    struct guest_image image = {.rsdp = GPA_ACPI, .path = text, .path_size = 4};
    struct guest_start start = {0};
    char error[LOAD_ERROR];
    uint8_t *exact;
    size_t length;
    int e;

    if (size < 4 ||
        gpa_layout_init(&layout, (2 + data[1]) * MIB, (8 + (uint64_t)data[2]) * 2 * MIB)) {
        return 0;
    }
    image.cmdline = text;
    image.cmdline_size = data[3] & 1 ? sizeof(text) - 1 : 0;
    image.initrd = data[3] & 2 ? text : NULL;
    image.initrd_size = data[3] & 2 ? 1000 : 0;
    image.module_count = data[3] >> 4;
    for (unsigned i = 0; i < image.module_count; i++) {
        image.module[i] = (struct guest_module){text, i * 100, text, text, 511, 511};
    }
    length = make(file, data[0] & 15);
    if (length == 0) {
        length = size - 4;
        exact = malloc(length);
        memcpy(exact, data + 4, length);
    } else {
        for (size_t i = 4; i + 2 < size; i += 3) {
            file[(data[i] | data[i + 1] << 8) % 1024] = data[i + 2];
        }
        length -= data[0] >> 4;
        exact = malloc(length);
        memcpy(exact, file, length);
    }
    image.kernel = exact;
    image.kernel_size = length;
    memset(error, 0xa5, sizeof(error));
    e = kernel_load(&image, &layout, &sink, &start, error);
    if (e == 0) {
        REQUIRE(gpa_layout_is_ram(&layout, start.rip, 1));
        REQUIRE(memory.writes > 0 && kernel_kind(exact, length));
    } else {
        REQUIRE(e == -EBADMSG || e == -ENOMEM || e == -E2BIG || e == -ERANGE || e == -ENOTSUP);
        REQUIRE(memory.writes == 0);
        REQUIRE(strnlen(error, sizeof(error)) > 10 &&
                strnlen(error, sizeof(error)) < sizeof(error));
    }
    free(exact);
    return 0;
}
