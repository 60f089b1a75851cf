/* links: guest/load/linux.c guest/load/entry.c guest/load/bios.c guest/load/e820.c arch/x86/lib/format.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include "guest/load/linux.h"
#include "tests/unit/bzimage.h"
#include "tests/unit/mock_sink.h"

static uint8_t kernel[BZ_SIZE];
static char error[LOAD_ERROR];
static struct guest_start start;

static struct guest_image image_of(const void *initrd, uint64_t initrd_size, const char *cmdline)
{
    return (struct guest_image){
        .kernel = kernel,
        .kernel_size = sizeof(kernel),
        .initrd = initrd,
        .initrd_size = initrd_size,
        .cmdline = cmdline,
        .cmdline_size = cmdline ? strlen(cmdline) : 0,
        .rsdp = 0xf0000,
    };
}

static int load(const struct guest_image *image, uint64_t size, uint64_t hole)
{
    mock_sink_fresh(size, hole);
    memset(&start, 0xa5, sizeof(start));
    strcpy(error, "untouched");
    return linux_load(image, &mock_layout, &mock_sink, &start, error);
}

/* Walk the guest's page tables as the CPU would. */
static uint64_t translate(uint64_t cr3, uint64_t va)
{
    uint64_t e = mock_get(cr3 + (va >> 39 & 511) * 8, 8);

    assert_true(e & 1);
    e = mock_get((e & ~0xfffULL) + (va >> 30 & 511) * 8, 8);
    assert_true(e & 1);
    e = mock_get((e & ~0xfffULL) + (va >> 21 & 511) * 8, 8);
    assert_int_equal(e & 0x83, 0x83);
    return (e & ~0x1fffffULL) + (va & 0x1fffff);
}

static void test_load(void **state)
{
    static uint8_t initrd[5000];
    struct guest_image image = image_of(initrd, sizeof(initrd), "console=ttyS0 quiet");
    struct linux_header header;
    uint64_t at;

    bz_make(kernel);
    for (size_t i = 0; i < sizeof(initrd); i++) {
        initrd[i] = (uint8_t)(i * 13);
    }
    assert_int_equal(load(&image, 64 * MIB, GPA_HOLE_DEFAULT), 0);
    /* the kernel, in one piece, at its preferred address */
    assert_memory_equal(mock_memory + 16 * MIB, kernel + BZ_SETUP, BZ_PAYLOAD);
    assert_true(mock_writes < 60);
    /* the start */
    assert_int_equal(start.rip, 16 * MIB + 0x200);
    assert_int_equal(start.rsi, GPA_BOOT_PARAMS);
    assert_true(start.mode == GUEST_LONG);
    assert_int_equal(start.cr0, 0x80010031);
    assert_int_equal(start.cr4, 0x20);
    assert_int_equal(start.efer, 0x500);
    assert_int_equal(start.code_selector, 0x10);
    assert_int_equal(start.data_selector, 0x18);
    assert_int_equal(start.gdt_limit, 0x1f);
    assert_int_equal(mock_get(start.gdt_base + 0x10, 8), 0x00af9b000000ffff);
    assert_int_equal(mock_get(start.gdt_base + 0x18, 8), 0x00cf93000000ffff);
    for (uint64_t va = 0; va < GPA_4G; va += 2 * MIB) {
        assert_int_equal(translate(start.cr3, va + 0x12345), va + 0x12345);
    }
    /* boot_params: the header, and what the loader adds to it */
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x202, 4), 0x53726448);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x206, 2), 0x020f);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x264, 4), 0x190);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x1ef, 1), 0); /* the sentinel */
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x1fa, 2), 0xffff);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x210, 1), 0xff);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x070, 8), 0xf0000);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x0c0, 8),
                     0); /* ext_ramdisk_image, ext_ramdisk_size */
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x0c8, 4), 0);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x1e8, 1), 5);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x2d0, 8), 0);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x2d0 + 3 * 20, 8), 0x100000);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x2d0 + 3 * 20 + 8, 8), 63 * MIB);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x2d0 + 3 * 20 + 16, 4), E820_RAM);
    /* the initrd, as high as possible */
    at = mock_get(GPA_BOOT_PARAMS + 0x218, 4);
    assert_int_equal(at, 64 * MIB - 2 * PAGE_SIZE);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x21c, 4), sizeof(initrd));
    assert_memory_equal(mock_memory + at, initrd, sizeof(initrd));
    /* the command line */
    assert_string_equal((char *)mock_memory + mock_get(GPA_BOOT_PARAMS + 0x228, 4),
                        "console=ttyS0 quiet");
    /* the BIOS data area */
    assert_int_equal(mock_get(0x40e, 2), 0x9fc0);
    assert_int_equal(mock_get(0x413, 2), 639);

    assert_int_equal(linux_parse(kernel, sizeof(kernel), &header, error), 0);
    assert_int_equal(header.version, 0x020f);
    assert_int_equal(header.load_address, 16 * MIB);
    assert_int_equal(header.init_size, 32 * MIB);
    assert_int_equal(header.payload_size, BZ_PAYLOAD);
}

static void test_without_initrd_and_cmdline(void **state)
{
    struct guest_image image = image_of(NULL, 0, NULL);

    bz_make(kernel);
    assert_int_equal(load(&image, 64 * MIB, GPA_HOLE_DEFAULT), 0);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x218, 8), 0);
    assert_int_equal(mock_get(GPA_CMDLINE, 1), 0);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x228, 4), GPA_CMDLINE);
}

static void test_memory_on_both_sides_of_the_hole(void **state)
{
    static const uint8_t initrd[100];
    struct guest_image image = image_of(initrd, sizeof(initrd), "");

    bz_make(kernel);
    assert_int_equal(load(&image, GIB, 64 * MIB), 0);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x1e8, 1), 6);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x2d0 + 5 * 20, 8), GPA_4G);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x2d0 + 5 * 20 + 8, 8), GIB - 64 * MIB);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x218, 4), 64 * MIB - PAGE_SIZE);
}

static void test_initrd_below_its_limit(void **state)
{
    static const uint8_t initrd[100];
    struct guest_image image = image_of(initrd, sizeof(initrd), "");

    bz_make(kernel);
    bz_put(kernel, 0x22c, 0x37ffffff, 4); /* 896 MiB, as old kernels have it */
    assert_int_equal(load(&image, GIB, GPA_HOLE_DEFAULT), 0);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x218, 4), 0x38000000 - PAGE_SIZE);
    bz_put(kernel, 0x22c, 0x37fffffe, 4); /* its last byte must not be the page's last */
    assert_int_equal(load(&image, GIB, GPA_HOLE_DEFAULT), 0);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x218, 4), 0x38000000 - 2 * PAGE_SIZE);
}

static void test_too_little_memory(void **state)
{
    uint8_t *initrd = calloc(1, 10 * MIB + 1);
    struct guest_image image = image_of(initrd, 10 * MIB + 1, "");
    struct linux_header header;

    bz_make(kernel);
    assert_int_equal(load(&image, 32 * MIB, GPA_HOLE_DEFAULT), -ENOMEM);
    assert_string_equal(
        error,
        "needs memory=59M at least (48M up to the end of the kernel, then the initrd); it has 32M");
    assert_int_equal(mock_writes, 0);
    assert_int_equal(load(&image, 58 * MIB, GPA_HOLE_DEFAULT), -ENOMEM);
    /* what the sentence names is enough */
    assert_int_equal(load(&image, 59 * MIB, GPA_HOLE_DEFAULT), 0);
    assert_true(mock_get(GPA_BOOT_PARAMS + 0x218, 4) >= 48 * MIB);
    assert_int_equal(load(&image, GIB, 32 * MIB), -ENOMEM);
    assert_string_equal(error,
                        "needs hole=60M at least, as kernel and initrd lie below it; it is 32M");
    assert_int_equal(load(&image, GIB, 60 * MIB), 0);
    image = image_of(NULL, 0, "");
    assert_int_equal(load(&image, 47 * MIB, GPA_HOLE_DEFAULT), -ENOMEM);
    assert_string_equal(error,
                        "needs memory=48M at least (48M up to the end of the kernel); it has 47M");
    assert_int_equal(load(&image, 48 * MIB, GPA_HOLE_DEFAULT), 0);
    assert_int_equal(load(&image, GIB, 32 * MIB), -ENOMEM);
    assert_string_equal(error, "needs hole=48M at least, as kernel lies below it; it is 32M");
    assert_int_equal(linux_parse(kernel, sizeof(kernel), &header, error), 0);
    assert_int_equal(linux_memory_needed(&header, 0), 48 * MIB);
    assert_int_equal(linux_memory_needed(&header, 1), 49 * MIB);
    assert_true(linux_memory_needed(&header, UINT64_MAX) > 1024 * GIB);
    free(initrd);
}

static void test_initrd_larger_than_the_vm(void **state)
{
    static const uint8_t initrd[1];
    struct guest_image image = image_of(initrd, 512 * MIB, ""); /* never read */

    bz_make(kernel);
    assert_int_equal(load(&image, 64 * MIB, GPA_HOLE_DEFAULT), -ENOMEM);
    assert_string_equal(error, "needs memory=560M at least (48M up to the end of the kernel, then "
                               "the initrd); it has 64M");
    image.initrd_size = 3 * GIB;
    assert_int_equal(load(&image, 64 * MIB, GPA_HOLE_DEFAULT), -ERANGE);
    assert_string_equal(error, "cannot use an initrd of 3072M: it must lie between 48M and 2048M");
    image.initrd_size = UINT64_MAX;
    assert_int_equal(load(&image, 64 * MIB, GPA_HOLE_DEFAULT), -ERANGE);
}

static void test_cmdline_too_long(void **state)
{
    char text[5000];
    struct guest_image image;

    memset(text, 'x', sizeof(text));
    text[256] = '\0';
    bz_make(kernel);
    bz_put(kernel, 0x238, 255, 4);
    image = image_of(NULL, 0, text);
    assert_int_equal(load(&image, 64 * MIB, GPA_HOLE_DEFAULT), -E2BIG);
    assert_string_equal(error, "takes a command line of at most 255 bytes; cmdline has 256");
    text[255] = '\0';
    image = image_of(NULL, 0, text);
    assert_int_equal(load(&image, 64 * MIB, GPA_HOLE_DEFAULT), 0);
    assert_string_equal((char *)mock_memory + GPA_CMDLINE, text);
    bz_put(kernel, 0x238, UINT32_MAX, 4); /* more than there is room for */
    memset(text, 'x', 255);
    image = image_of(NULL, 0, text);
    image.cmdline_size = 4096;
    assert_int_equal(load(&image, 64 * MIB, GPA_HOLE_DEFAULT), -E2BIG);
    image.cmdline_size = 4095;
    assert_int_equal(load(&image, 64 * MIB, GPA_HOLE_DEFAULT), 0);
}

static void test_the_sink_refuses(void **state)
{
    static const uint8_t initrd[1];
    struct guest_image image = image_of(initrd, 1, "x");
    static const uint64_t at[] = {0x40e,       GPA_GDT,  GPA_PAGE_TABLES + 0x3000, GPA_BOOT_PARAMS,
                                  GPA_CMDLINE, 16 * MIB, 64 * MIB - PAGE_SIZE};

    bz_make(kernel);
    for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
        mock_refuse_at = at[i];
        assert_int_equal(load(&image, 64 * MIB, GPA_HOLE_DEFAULT), -EFAULT);
        assert_string_equal(error, "could not be copied into the VM's memory (error 14)");
    }
    mock_refuse_at = UINT64_MAX;
}

/* A header with one field changed is refused with that sentence. */
static void expect_bad(unsigned offset, uint64_t value, unsigned size, const char *sentence)
{
    struct linux_header header;

    bz_make(kernel);
    bz_put(kernel, offset, value, size);
    assert_int_equal(linux_parse(kernel, sizeof(kernel), &header, error), -EBADMSG);
    assert_string_equal(error, sentence);
}

static void expect_no_bzimage(const void *data, size_t size, const char *sentence)
{
    struct linux_header header;
    void *copy = malloc(size);

    memcpy(copy, data, size);
    assert_int_equal(linux_parse(copy, size, &header, error), -EBADMSG);
    assert_string_equal(error, sentence);
    free(copy);
}

static void test_bad_kernels(void **state)
{
    static uint8_t zeros[4096];

    expect_no_bzimage("", 0, "is not a Linux bzImage: it is too short");
    expect_no_bzimage(zeros, 611, "is not a Linux bzImage: it is too short");
    expect_no_bzimage(zeros, sizeof(zeros), "is not a Linux bzImage: it has no setup header");
    assert_false(linux_recognise("", 0));
    assert_false(linux_recognise(zeros, sizeof(zeros)));
    bz_make(kernel);
    assert_true(linux_recognise(kernel, sizeof(kernel)));
    assert_true(linux_recognise(kernel, 0x206));
    assert_false(linux_recognise(kernel, 0x205));
    expect_bad(0x1fe, 0, 2, "is not a Linux bzImage: it has no setup header");
    expect_bad(0x202, 0, 4, "is not a Linux bzImage: it has no setup header");
    expect_bad(0x206, 0x201, 2,
               "has boot protocol 2.01; one of 2.02 (Linux 2.4) or newer is needed");
    expect_bad(0x211, 0, 1, "is a zImage, which is loaded below 1 MiB; a bzImage is needed");
    expect_bad(0x1f4, BZ_PAYLOAD / 16 + 1, 4,
               "is truncated: it has 14848 bytes of 14864; copy it again");
    expect_bad(0x1f1, 255, 1, "is truncated: it has 14848 bytes of 143360; copy it again");
    expect_bad(0x258, 0, 8, "asks to be loaded at 0; it must be a page from 1 MiB to 2816 MiB");
    expect_bad(0x258, 0xfffffffffffff000, 8,
               "asks to be loaded at 0xfffffffffffff000; it must be a page from 1 MiB to 2816 MiB");
    expect_bad(0x258, 0x1000001, 8,
               "asks to be loaded at 0x1000001; it must be a page from 1 MiB to 2816 MiB");
    expect_bad(0x260, 0xffffffff, 4, "asks for 4096M from 16M on; it must end below 2816 MiB");
}

/* A header with only what version knows: what would be newer fields is the setup's code. */
static void make_old(uint16_t version)
{
    static const uint8_t ends[] = {[2] = 0x2a, [3] = 0x2e, [4] = 0x2e, [5] = 0x34, [6] = 0x3a,
                                   [7] = 0x46, [8] = 0x4e, [9] = 0x56, [10] = 0x62};
    unsigned end = 0x202 + ends[version & 0xff];

    bz_make(kernel);
    bz_put(kernel, 0x206, version, 2);
    bz_put(kernel, 0x201, end - 0x202, 1);
    memset(kernel + end, 0xcc, 0x300 - end);
}

static void test_32_bit_entry(void **state)
{
    static const uint8_t initrd[100] = {1};
    static const struct {
        uint16_t version;
        uint32_t load_address, cmdline, initrd_top;
    } all[] = {
        {0x202, 0x100000, 255, 0x38000000}, {0x203, 0x100000, 255, 0x3f000000},
        {0x205, 0x100000, 255, 64 * MIB},   {0x206, 0x100000, 2047, 64 * MIB},
        {0x209, 0x100000, 2047, 64 * MIB},  {0x20a, 0x1000000, 2047, 64 * MIB},
    };

    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        struct guest_image image = image_of(initrd, sizeof(initrd), "quiet");
        struct linux_header header;
        unsigned end;

        make_old(all[i].version);
        end = 0x202 + kernel[0x201];
        if (all[i].version >= 0x203) {
            bz_put(kernel, 0x22c, 0x3effffff, 4);
        }
        assert_true(linux_recognise_32(kernel, sizeof(kernel)));
        assert_int_equal(linux_parse(kernel, sizeof(kernel), &header, error), 0);
        assert_false(header.is_64);
        assert_int_equal(header.cmdline_size, all[i].cmdline);
        assert_int_equal(load(&image, i < 2 ? GIB : 64 * MIB, GPA_HOLE_DEFAULT), 0);
        assert_int_equal(start.mode, GUEST_PROTECTED);
        assert_int_equal(start.rip, all[i].load_address);
        assert_memory_equal(mock_memory + start.rip, kernel + BZ_SETUP, BZ_PAYLOAD);
        assert_int_equal(start.rsi, GPA_BOOT_PARAMS);
        assert_int_equal(start.rbx | start.rdi | start.cr3 | start.cr4 | start.efer, 0);
        assert_int_equal(start.cr0, 0x11);
        assert_int_equal(start.code_selector, 0x10);
        assert_int_equal(start.data_selector, 0x18);
        assert_int_equal(mock_get(start.gdt_base + 0x10, 8), 0x00cf9b000000ffff);
        assert_int_equal(mock_get(start.gdt_base + 0x18, 8), 0x00cf93000000ffff);
        /* the header as far as it goes, and nothing of what lies behind it */
        assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x206, 2), all[i].version);
        assert_int_equal(mock_get(GPA_BOOT_PARAMS + end, 8), 0);
        assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x214, 4), all[i].load_address);
        assert_string_equal((char *)mock_memory + mock_get(GPA_BOOT_PARAMS + 0x228, 4), "quiet");
        assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x218, 4), all[i].initrd_top - PAGE_SIZE);
        assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x1e8, 1), 5);
    }
    /* a new 32-bit kernel */
    struct guest_image image = image_of(NULL, 0, NULL);
    struct linux_header header;

    bz_make(kernel);
    assert_false(linux_recognise_32(kernel, sizeof(kernel)));
    bz_put(kernel, 0x236, 0x7e, 2);
    assert_true(linux_recognise_32(kernel, sizeof(kernel)));
    assert_int_equal(load(&image, 48 * MIB, GPA_HOLE_DEFAULT), 0);
    assert_int_equal(start.rip, 16 * MIB);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x264, 4), 0x190);
    assert_int_equal(load(&image, 47 * MIB, GPA_HOLE_DEFAULT), -ENOMEM);
    mock_refuse_at = GPA_GDT;
    assert_int_equal(load(&image, 48 * MIB, GPA_HOLE_DEFAULT), -EFAULT);
    mock_refuse_at = UINT64_MAX;
    bz_put(kernel, 0x258, 0, 8); /* it prefers none */
    assert_int_equal(linux_parse(kernel, sizeof(kernel), &header, error), 0);
    assert_int_equal(header.load_address, 0x100000);
    /* the size that a header of 2.03 tells has 16 bits, and is none for large kernels */
    make_old(0x203);
    bz_put(kernel, 0x1f4, 0xcccccccc, 4);
    assert_int_equal(linux_parse(kernel, BZ_SETUP + 1, &header, error), 0);
    assert_int_equal(header.payload_size, 1);
    assert_int_equal(linux_parse(kernel, BZ_SETUP, &header, error), -EBADMSG);
    assert_string_equal(error, "is truncated: it has 2560 bytes of 2561; copy it again");
    make_old(0x204);
    assert_int_equal(linux_parse(kernel, sizeof(kernel) - 16, &header, error), -EBADMSG);
    bz_put(kernel, 0x214, 0x100800, 4);
    assert_int_equal(linux_parse(kernel, sizeof(kernel), &header, error), -EBADMSG);
    assert_string_equal(error,
                        "asks to be loaded at 0x100800; it must be a page from 1 MiB to 2816 MiB");
}

static void test_no_entry_in_protected_mode(void **state)
{
    struct linux_header header;

    make_old(0x207); /* iPXE's lkrn, of whatever year */
    bz_put(kernel, 0x214, 0, 4);
    assert_false(linux_recognise_32(kernel, sizeof(kernel)));
    assert_int_equal(linux_parse(kernel, sizeof(kernel), &header, error), -EBADMSG);
    assert_string_equal(error, "has neither a 64-bit nor a 32-bit entry: it starts in real mode "
                               "and needs a BIOS (firmware = bios, and a disk or CD with it)");
    bz_make(kernel);
    bz_put(kernel, 0x214, 0, 4);
    assert_int_equal(linux_parse(kernel, sizeof(kernel), &header, error), 0); /* by the other */
    bz_put(kernel, 0x236, 0x0c, 2); /* handed over to by EFI only */
    memcpy(kernel, "MZ", 2);
    assert_int_equal(linux_parse(kernel, sizeof(kernel), &header, error), -EBADMSG);
    assert_string_equal(error, "has neither a 64-bit nor a 32-bit entry, but an EFI stub, which "
                               "only firmware can start (firmware = uefi)");
}

/* Every length of a truncated kernel is refused, and nothing past its end is read. */
static void test_truncation(void **state)
{
    struct linux_header header;

    bz_make(kernel);
    for (size_t size = 0; size < sizeof(kernel) - 16; size += size < 0x300 ? 1 : 61) {
        uint8_t *copy = malloc(size);

        memcpy(copy, kernel, size);
        assert_int_equal(linux_parse(copy, size, &header, error), -EBADMSG);
        free(copy);
    }
}

/* setup_sects 0 means 4; a short header is taken only up to its end. */
static void test_old_habits(void **state)
{
    struct guest_image image = image_of(NULL, 0, "");
    struct linux_header header;

    bz_make(kernel);
    bz_put(kernel, 0x1f1, 0, 1);
    assert_int_equal(linux_parse(kernel, sizeof(kernel), &header, error), 0);
    assert_int_equal(header.setup_size, BZ_SETUP);
    bz_put(kernel, 0x201, 0x62, 1); /* ends at 264h */
    assert_int_equal(load(&image, 64 * MIB, GPA_HOLE_DEFAULT), 0);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x264, 4), 0);
    bz_put(kernel, 0x201, 0xff, 1); /* longer than boot_params has room for */
    memset(kernel + 0x290, 0xee, 0x100);
    assert_int_equal(load(&image, 64 * MIB, GPA_HOLE_DEFAULT), 0);
    assert_int_equal(mock_get(GPA_BOOT_PARAMS + 0x290, 8), 0);
}

/* Debian's own kernel, where the build has fetched one. */
static void test_debian_kernel(void **state)
{
    glob_t found;
    uint8_t *file = malloc(64 * MIB);
    struct guest_image image = image_of(NULL, 0, "console=ttyS0");
    struct linux_header header;
    FILE *f;

    if (glob("build/default/vmlinuz*", 0, NULL, &found) != 0) {
        free(file);
        skip();
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        f = fopen(found.gl_pathv[i], "rb");
        assert_non_null(f);
        image.kernel = file;
        image.kernel_size = fread(file, 1, 64 * MIB, f);
        fclose(f);
        assert_int_equal(linux_parse(image.kernel, image.kernel_size, &header, error), 0);
        assert_int_equal(load(&image, linux_memory_needed(&header, 0), GPA_HOLE_DEFAULT), 0);
        assert_int_equal(start.rip, header.load_address + 0x200);
        assert_memory_equal(mock_memory + header.load_address, file + header.setup_size,
                            header.payload_size);
        assert_int_equal(linux_parse(image.kernel, image.kernel_size / 2, &header, error),
                         -EBADMSG);
    }
    globfree(&found);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_without_initrd_and_cmdline),
        cmocka_unit_test(test_memory_on_both_sides_of_the_hole),
        cmocka_unit_test(test_initrd_below_its_limit),
        cmocka_unit_test(test_too_little_memory),
        cmocka_unit_test(test_initrd_larger_than_the_vm),
        cmocka_unit_test(test_cmdline_too_long),
        cmocka_unit_test(test_the_sink_refuses),
        cmocka_unit_test(test_bad_kernels),
        cmocka_unit_test(test_32_bit_entry),
        cmocka_unit_test(test_no_entry_in_protected_mode),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_old_habits),
        cmocka_unit_test(test_debian_kernel),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    free(mock_memory);
    return failed;
}
