/* links: guest/load/kernel.c guest/load/linux.c guest/load/multiboot.c guest/load/multiboot2.c guest/load/multiboot2_header.c guest/load/multiboot2_info.c guest/load/pvh.c guest/load/sector.c guest/load/place.c guest/load/elf.c guest/load/entry.c guest/load/bios.c guest/load/e820.c arch/x86/lib/format.c */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "guest/load/kernel.h"
#include "tests/fuzz/checked_ram.h"
#include "tests/unit/elf_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_tags(uint8_t *file, bool flat)
{
    static const uint32_t relocatable[] = {10, 24, 0, UINT32_MAX, 0x1000, 2};
    static const uint32_t screen[] = {5, 20, 640, 480, 32, 0};
    static const uint32_t request[] = {1, 16, 9, 21};
    static const uint32_t addresses[] = {2, 24, 0x100200, 0x100000, 0, 0};
    static const uint32_t entry[] = {3, 12, 0x100300, 0};
    const unsigned at = 0x200, length = 16 + 24 + 24 + 16 + (flat ? 24 + 16 : 0) + 8;
    uint8_t *tag = file + at + 16;

    multiboot2_put(file, at);
    elf_put(file, at + 8, length, 4);
    elf_put(file, at + 12, 0u - 0xe85250d6 - length, 4);
    tag = (uint8_t *)memcpy(tag, relocatable, 24) + 24;
    tag = (uint8_t *)memcpy(tag, screen, 24) + 24;
    tag = (uint8_t *)memcpy(tag, request, 16) + 16;
    if (flat) {
        tag = (uint8_t *)memcpy(tag, addresses, 24) + 24;
        tag = (uint8_t *)memcpy(tag, entry, 16) + 16;
    }
    memset(tag, 0, 8);
    tag[4] = 8;
    if (!flat) { /* a table of sections, of which two are in the file only */
        elf_put(file, 32, 0x380, 4);
        elf_put(file, 46, 40, 2);
        elf_put(file, 48, 3, 2);
        for (unsigned i = 1; i < 3; i++) {
            elf_put(file, 0x380 + 40 * i + 4, i, 4);
            elf_put(file, 0x380 + 40 * i + 16, 0x1000 * i, 4);
            elf_put(file, 0x380 + 40 * i + 20, 0x345, 4);
        }
    }
}

static void show(void *ctx, struct guest_screen *screen)
{
    REQUIRE(screen->width && screen->height && screen->depth);
    screen->gpa = 0xc0000000;
    ++*(unsigned *)ctx;
}

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
    case 4: /* Multiboot 2, that may lie anywhere and asks for a screen; ELF or flat */
        elf_make(file, false);
        put_tags(file, is_64);
        file[0] = is_64 ? 0 : file[0];
        return ELF_FILE;
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
    unsigned shows = 0;
    const struct guest_display display = {show, &shows};
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
    image.display = data[3] & 4 ? &display : NULL;
    image.rsdp_copy = data[3] & 8 ? text : NULL;
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
        REQUIRE(start.mode != GUEST_PROTECTED || start.rip < GPA_4G);
        REQUIRE(memory.writes > 0 && kernel_kind(exact, length));
    } else {
        REQUIRE(e == -EBADMSG || e == -ENOMEM || e == -E2BIG || e == -ERANGE || e == -ENOTSUP);
        REQUIRE(memory.writes == 0 && shows == 0);
        REQUIRE(strnlen(error, sizeof(error)) > 10 &&
                strnlen(error, sizeof(error)) < sizeof(error));
    }
    free(exact);
    return 0;
}
