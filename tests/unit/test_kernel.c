/* links: guest/load/kernel.c guest/load/linux.c guest/load/multiboot.c guest/load/multiboot2.c guest/load/multiboot2_header.c guest/load/multiboot2_info.c guest/load/pvh.c guest/load/sector.c guest/load/place.c guest/load/elf.c guest/load/entry.c guest/load/bios.c guest/load/e820.c arch/x86/lib/format.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "guest/load/kernel.h"
#include "tests/unit/bzimage.h"
#include "tests/unit/elf_file.h"
#include "tests/unit/mock_sink.h"

static uint8_t file[BZ_SIZE + ELF_FILE];
static char error[LOAD_ERROR];
static struct guest_start start;
static struct guest_image image;

static int load(uint64_t size)
{
    uint8_t *copy = malloc(size);
    int e;

    memcpy(copy, file, size);
    mock_sink_fresh(64 * MIB, GPA_HOLE_DEFAULT);
    image.kernel = copy;
    image.kernel_size = size;
    image.rsdp = GPA_ACPI;
    strcpy(error, "untouched");
    e = kernel_load(&image, &mock_layout, &mock_sink, &start, error);
    assert_true(e == 0 || mock_writes == 0 || mock_refuse_at != UINT64_MAX);
    free(copy);
    return e;
}

static void expect_kind(const char *kind, uint64_t size)
{
    const char *k = kernel_kind(file, size);

    if (kind) {
        assert_non_null(k);
        assert_string_equal(k, kind);
    } else {
        assert_null(k);
    }
}

static void expect_unknown(uint64_t size, const char *sentence)
{
    expect_kind(NULL, size);
    assert_int_equal(load(size), -EBADMSG);
    assert_string_equal(error, sentence);
}

#define NO_KERNEL "is not a kernel that Corbel can start: "

static void test_kinds(void **state)
{
    bz_make(file);
    expect_kind("a Linux bzImage", BZ_SIZE);
    multiboot_put(file, 0x1000, 0); /* what its payload holds does not matter */
    expect_kind("a Linux bzImage", BZ_SIZE);
    bz_put(file, 0x236, 0, 2);
    expect_kind("a Linux bzImage with a 32-bit entry only", BZ_SIZE);
    expect_kind("a Linux bzImage", BZ_SIZE / 2); /* so that its loader says what is wrong */
    elf_make(file, true);
    expect_kind("an ELF64 program", ELF_FILE);
    expect_kind("an ELF64 program", 5);
    elf_add_pvh(file, true, ELF_ENTRY, 4);
    expect_kind("a PVH kernel", ELF_FILE);
    multiboot2_put(file, 0x1200);
    expect_kind("a Multiboot 2 kernel", ELF_FILE);
    multiboot_put(file, 0x1000, 0);
    expect_kind("a Multiboot kernel", ELF_FILE);
    elf_make(file, false);
    elf_add_pvh(file, false, ELF_ENTRY, 4);
    expect_kind("a PVH kernel", ELF_FILE);
    memset(file, 0, sizeof(file));
    elf_put(file, 510, 0xaa55, 2);
    expect_kind("a boot sector", 512);
    expect_kind("a boot sector", sizeof(file));
    memcpy(file, "MZ", 2); /* code like any other */
    expect_kind("a boot sector", sizeof(file));
    file[0] = 0;
    expect_unknown(511, NO_KERNEL "it is neither a Linux bzImage, nor a Multiboot kernel, nor an "
                                  "ELF file, nor a boot sector (55h AAh at byte 510)");
}

static void test_unknown_files(void **state)
{
    memset(file, 0, sizeof(file));
    expect_unknown(0, NO_KERNEL "it is empty");
    expect_unknown(sizeof(file),
                   NO_KERNEL "it is neither a Linux bzImage, nor a Multiboot kernel, nor an ELF "
                             "file, nor a boot sector (55h AAh at byte 510)");
    static const struct {
        const char *magic, *is;
    } others[] = {
        {"\x1f\x8b", "it is a gzip file; decompress it"},
        {"\xfd"
         "7zXZ",
         "it is an xz file; decompress it"},
        {"\x28\xb5\x2f\xfd", "it is a zstd file; decompress it"},
        {"\x04\x22\x4d\x18", "it is an lz4 file; decompress it"},
        {"\x02\x21\x4c\x18", "it is an lz4 file; decompress it"},
        {"BZh", "it is a bzip2 file; decompress it"},
        {"MZ", "it is a program for UEFI or Windows (PE), which only firmware can start (firmware "
               "= uefi)"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        char sentence[LOAD_ERROR] = NO_KERNEL;

        memset(file, 0, sizeof(file));
        strcpy((char *)file, others[i].magic);
        expect_unknown(sizeof(file), strcat(sentence, others[i].is));
        expect_unknown(1, NO_KERNEL "it is neither a Linux bzImage, nor a Multiboot kernel, nor an "
                                    "ELF file, nor a boot sector (55h AAh at byte 510)");
    }
    elf_make(file, false);
    expect_unknown(ELF_FILE, NO_KERNEL "it is an ELF file of 32 bits with neither a Multiboot "
                                       "header nor a PVH note");
    expect_unknown(100, "is a truncated ELF file: its program headers lie after its 100 bytes; "
                        "copy it again");
    memset(file, 0, sizeof(file));
    memcpy(file,
           "\x7f"
           "ELF",
           4);
    expect_unknown(4, "is a truncated ELF file: its header ends after its 4 bytes; copy it again");
    expect_unknown(sizeof(file), "is an ELF file for another processor; x86-64 or i386 is needed");
}

/* What a file holds by chance, or for others, does not keep a loader from it that can start it. */
static void test_magic_by_chance(void **state)
{
    image = (struct guest_image){0};
    /* a boot sector with Multiboot's magic: without addresses, with some that cannot be, with a
     * demand that no loader knows, and as Multiboot 2 */
    for (int i = 0; i < 4; i++) {
        memset(file, 0, sizeof(file));
        elf_put(file, 510, 0xaa55, 2);
        multiboot_put(file, 0x40, i == 0 ? 3 : i == 1 ? 0x10003 : 0x10008);
        if (i == 1) {
            multiboot_addresses(file, 0x40, 0x100041, 0x100000, 0, 0, 0x100000);
        } else if (i == 2) {
            multiboot_addresses(file, 0x40, 0x100040, 0x100000, 0, 0, 0x100000);
        } else if (i == 3) {
            multiboot2_put(file, 0x40);
        }
        expect_kind("a boot sector", 0x1000);
        assert_int_equal(load(0x1000), 0);
        assert_int_equal(start.mode, GUEST_REAL);
    }
    /* a good header counts, signature or not */
    multiboot_put(file, 0x40, 0x10003);
    multiboot_addresses(file, 0x40, 0x100040, 0x100000, 0, 0, 0x100000);
    expect_kind("a Multiboot kernel", 0x1000);
    assert_int_equal(load(0x1000), 0);
    assert_int_equal(start.mode, GUEST_PROTECTED);
    /* demands that are not known, in an ELF file with a PVH note */
    elf_make(file, true);
    elf_add_pvh(file, true, ELF_ENTRY, 4);
    multiboot_put(file, 0x1000, 8);
    expect_kind("a PVH kernel", ELF_FILE);
    assert_int_equal(load(ELF_FILE), 0);
    /* without another way in, Multiboot's loader says what is wrong */
    elf_make(file, false);
    multiboot_put(file, 0x1000, 8);
    expect_unknown(ELF_FILE, "demands what no loader knows: flags 0x8 of its Multiboot header");
    memset(file, 0, sizeof(file));
    multiboot_put(file, 0x1000, 0);
    expect_unknown(ELF_FILE, "has a Multiboot header without addresses (flag 16), and is not an "
                             "ELF file");
    /* Multiboot 2's magic alone is none of its headers */
    memset(file, 0, sizeof(file));
    elf_put(file, 0x1000, 0xe85250d6, 4);
    expect_unknown(ELF_FILE, NO_KERNEL "it is neither a Linux bzImage, nor a Multiboot kernel, nor "
                                       "an ELF file, nor a boot sector (55h AAh at byte 510)");
    /* an ELF64 file for Multiboot 2 is entered in 32-bit mode: not by its entry in 64-bit mode, not
     * even when its header is broken */
    elf_make(file, true);
    multiboot2_put(file, 0x1000);
    expect_kind("a Multiboot 2 kernel", ELF_FILE);
    assert_int_equal(load(ELF_FILE), 0);
    assert_int_equal(start.mode, GUEST_PROTECTED);
    file[0x1010] = 77;
    expect_unknown(ELF_FILE,
                   "demands what no loader knows: a tag of type 77 in its Multiboot 2 header");
    elf_add_pvh(file, true, ELF_ENTRY, 4);
    expect_kind("a PVH kernel", ELF_FILE);
}

static void test_bzimage(void **state)
{
    image = (struct guest_image){0};
    bz_make(file);
    assert_int_equal(load(BZ_SIZE), 0);
    assert_int_equal(start.mode, GUEST_LONG);
    assert_int_equal(start.rsi, GPA_BOOT_PARAMS);
    image.module_count = 1;
    assert_int_equal(load(BZ_SIZE), -ENOTSUP);
    assert_string_equal(error, "is a Linux bzImage, which takes an initrd but no modules");
    image.module_count = 0;
}

/* What hvm_start_info says, whoever gets it. */
static void check_start_info(uint64_t info)
{
    uint64_t list = mock_get(info + 16, 8), map = mock_get(info + 40, 8);

    assert_int_equal(mock_get(info, 4), 0x336ec578);
    assert_int_equal(mock_get(info + 4, 4), 1);
    assert_int_equal(mock_get(info + 8, 4), 0);
    assert_int_equal(mock_get(info + 12, 4), 2);
    assert_string_equal((char *)mock_memory + mock_get(info + 24, 8), "a=b c");
    assert_int_equal(mock_get(info + 32, 8), GPA_ACPI);
    assert_int_equal(mock_get(info + 48, 4), 5);
    assert_int_equal(mock_get(list, 8), 0x204000);
    assert_int_equal(mock_get(list + 8, 8), 3);
    assert_int_equal(mock_get(list + 16, 8), 0);
    assert_memory_equal(mock_memory + 0x204000, "ram", 3);
    assert_int_equal(mock_get(list + 32, 8), 0x205000);
    assert_int_equal(mock_get(list + 40, 8), 6);
    assert_string_equal((char *)mock_memory + mock_get(list + 48, 8), "args");
    assert_memory_equal(mock_memory + 0x205000, "module", 6);
    assert_int_equal(mock_get(map, 8), 0);
    assert_int_equal(mock_get(map + 8, 8), GPA_EBDA);
    assert_int_equal(mock_get(map + 16, 4), E820_RAM);
    assert_int_equal(mock_get(map + 72, 8), GPA_HIGH);
    assert_int_equal(mock_get(map + 72 + 8, 8), 63 * MIB);
}

static void test_elf_kernels(void **state)
{
    static const uint64_t places[] = {GPA_GDT, GPA_BOOT_INFO, 0x200000, 0x204000};

    for (int pvh = 0; pvh < 3; pvh++) { /* 0: ELF64, 1: PVH of 32 bits, 2: PVH of 64 bits */
        image = (struct guest_image){
            .cmdline = "a=b c",
            .cmdline_size = 5,
            .initrd = "ram",
            .initrd_size = 3,
            .module = {{"module", 6, "path", "args", 4, 4}},
            .module_count = 1,
        };
        elf_make(file, pvh != 1);
        if (pvh) {
            elf_add_pvh(file, pvh != 1, 0x200200, pvh == 1 ? 4 : 8);
        }
        assert_int_equal(load(ELF_FILE), 0);
        assert_memory_equal(mock_memory + 0x200000, file + 0x1000, 0x1000);
        check_start_info(pvh ? start.rbx : start.rdi);
        if (pvh) {
            assert_int_equal(start.mode, GUEST_PROTECTED);
            assert_int_equal(start.rip, 0x200200);
            assert_int_equal(start.cr0, 0x11);
            assert_int_equal(start.cr3 | start.cr4 | start.efer, 0);
            assert_int_equal(mock_get(start.gdt_base + start.code_selector, 8), 0x00cf9b000000ffff);
        } else {
            assert_int_equal(start.mode, GUEST_LONG);
            assert_int_equal(start.rip, ELF_ENTRY);
            assert_int_equal(start.rsp, 0xfff8); /* aligned as in a function that was called */
            assert_int_equal(start.efer, 0x500);
            assert_int_equal(start.cr3, GPA_PAGE_TABLES);
            assert_int_equal(mock_get(start.gdt_base + start.code_selector, 8), 0x00af9b000000ffff);
        }
        for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
            mock_refuse_at = places[i];
            assert_int_equal(load(ELF_FILE), -EFAULT);
            assert_string_equal(error, "could not be copied into the VM's memory (error 14)");
        }
        mock_refuse_at = UINT64_MAX;
        /* nothing but the kernel */
        image = (struct guest_image){0};
        assert_int_equal(load(ELF_FILE), 0);
        uint64_t info = pvh ? start.rbx : start.rdi;
        assert_int_equal(mock_get(info + 12, 4), 0);
        assert_int_equal(mock_get(info + 16, 8), 0);
        assert_int_equal(mock_get(mock_get(info + 24, 8), 1), 0);
        /* its memory */
        elf_ph_put(file, pvh != 1, 1, PH_PADDR, 80 * MIB);
        assert_int_equal(load(ELF_FILE), -ENOMEM);
        assert_string_equal(error, "needs memory=81M at least (81M up to the end of the kernel); "
                                   "it has 64M");
        elf_ph_put(file, pvh != 1, 1, PH_PADDR, 0xa0000);
        assert_int_equal(load(ELF_FILE), -EBADMSG);
    }
    /* an entry outside, of either kind */
    elf_make(file, true);
    elf_add_pvh(file, true, 0x100200200, 8);
    assert_int_equal(load(ELF_FILE), -EBADMSG);
    assert_string_equal(error, "has its PVH entry at 0x100200200, outside of all that it loads");
    elf_make(file, true);
    elf_put(file, 24, 0x1000, 8);
    assert_int_equal(load(ELF_FILE), -EBADMSG);
    assert_string_equal(error, "has its entry at 0x1000, outside of all that it loads");
    assert_int_equal(load(0x2000), -EBADMSG);
    assert_string_equal(error, "is a truncated ELF file: a segment of it lies after its 8192 "
                               "bytes; copy it again");
}

static void test_boot_sector(void **state)
{
    static uint8_t large[0x9fc00 - 0x7c00 + 1];
    static const uint8_t fails[] = {0x55, 0x89, 0xe5, 0x80, 0x4e, 0x06, 0x01, 0x5d, 0xcf};

    image = (struct guest_image){0};
    for (unsigned i = 0; i < sizeof(file); i++) {
        file[i] = (uint8_t)(i * 3);
    }
    elf_put(file, 510, 0xaa55, 2);
    assert_int_equal(load(sizeof(file)), 0);
    assert_int_equal(start.mode, GUEST_REAL);
    assert_int_equal(start.rip, 0x7c00);
    assert_int_equal(start.rsp, 0x7c00);
    assert_int_equal(start.rdx, 0x80);
    assert_int_equal(start.cr0, 0x10);
    assert_int_equal(start.code_selector | start.data_selector, 0);
    assert_memory_equal(mock_memory + 0x7c00, file, sizeof(file));
    for (unsigned i = 0; i < 256; i++) {
        uint64_t at = mock_get(4 * i, 2);

        assert_int_equal(mock_get(4 * i + 2, 2), 0);
        if (i >= 0x10 && i <= 0x1f) {
            assert_memory_equal(mock_memory + at, fails, sizeof(fails));
        } else {
            assert_int_equal(mock_get(at, 1), 0xcf);
        }
    }
    assert_int_equal(mock_get(0x400, 2), 0x3f8);
    assert_int_equal(mock_get(0x413, 2), 639);
    /* what it cannot be given */
    image.module_count = 1;
    assert_int_equal(load(sizeof(file)), -ENOTSUP);
    assert_string_equal(error, "is a boot sector, which takes no modules");
    image = (struct guest_image){.initrd = "i", .initrd_size = 1};
    assert_int_equal(load(sizeof(file)), -ERANGE);
    assert_string_equal(error, "is a boot sector, which takes no initrd");
    image = (struct guest_image){.cmdline = "c", .cmdline_size = 1};
    assert_int_equal(load(sizeof(file)), -E2BIG);
    assert_string_equal(error, "is a boot sector, which takes no command line");
    image = (struct guest_image){0};
    /* as large as may be */
    elf_put(large, 510, 0xaa55, 2);
    image.kernel = large;
    image.kernel_size = sizeof(large);
    mock_sink_fresh(2 * MIB, GPA_HOLE_DEFAULT);
    assert_int_equal(kernel_load(&image, &mock_layout, &mock_sink, &start, error), -EBADMSG);
    assert_string_equal(error, "is a boot sector with 622593 bytes; at most 622592 fit from 7c00h "
                               "to the end of base memory");
    image.kernel_size--;
    assert_int_equal(kernel_load(&image, &mock_layout, &mock_sink, &start, error), 0);
    mock_refuse_at = 0x7c00;
    assert_int_equal(load(sizeof(file)), -EFAULT);
    assert_string_equal(error, "could not be copied into the VM's memory (error 14)");
    mock_refuse_at = UINT64_MAX;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),       cmocka_unit_test(test_unknown_files),
        cmocka_unit_test(test_bzimage),     cmocka_unit_test(test_elf_kernels),
        cmocka_unit_test(test_boot_sector), cmocka_unit_test(test_magic_by_chance),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    free(mock_memory);
    return failed;
}
