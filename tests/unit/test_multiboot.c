/* links: guest/load/multiboot.c guest/load/place.c guest/load/elf.c guest/load/entry.c guest/load/bios.c guest/load/e820.c arch/x86/lib/format.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "guest/load/multiboot.h"
#include "tests/unit/elf_file.h"
#include "tests/unit/mock_sink.h"

static uint8_t file[ELF_FILE];
static char error[LOAD_ERROR];
static struct guest_start start;
static struct guest_image image;

/* Load the first size bytes, in memory that ends there. */
static int load(uint64_t size, uint64_t memory, uint64_t hole)
{
    uint8_t *copy = malloc(size);
    int e;

    memcpy(copy, file, size);
    mock_sink_fresh(memory, hole);
    image.kernel = copy;
    image.kernel_size = size;
    image.path = "boot/kernel";
    image.path_size = 11;
    strcpy(error, "untouched");
    e = multiboot_load(&image, &mock_layout, &mock_sink, &start, error);
    assert_true(e == 0 || mock_writes == 0 || mock_refuse_at != UINT64_MAX);
    free(copy);
    return e;
}

static void expect_bad(const char *sentence)
{
    assert_int_equal(load(ELF_FILE, 16 * MIB, GPA_HOLE_DEFAULT), -EBADMSG);
    assert_string_equal(error, sentence);
}

static void expect_text(uint64_t gpa, const char *text)
{
    assert_string_equal((const char *)mock_memory + gpa, text);
}

static void check_entry(uint64_t rip)
{
    assert_int_equal(start.mode, GUEST_PROTECTED);
    assert_int_equal(start.rip, rip);
    assert_int_equal(start.rax, 0x2badb002);
    assert_int_equal(start.cr0, 0x11);
    assert_int_equal(start.cr3 | start.cr4 | start.efer, 0);
    assert_int_equal(mock_get(start.gdt_base + start.code_selector, 8), 0x00cf9b000000ffff);
    assert_int_equal(mock_get(start.gdt_base + start.data_selector, 8), 0x00cf93000000ffff);
    assert_true(start.data_selector + 7u <= start.gdt_limit);
}

static void test_elf(void **state)
{
    static const uint8_t initrd[5000] = {1, 2, 3}, second[] = "module two";

    for (int is_64 = 0; is_64 < 2; is_64++) {
        uint64_t info, mods, map;

        elf_make(file, is_64);
        multiboot_put(file, 0x1ff4, 7);
        image = (struct guest_image){
            .cmdline = "root=/dev/x",
            .cmdline_size = 11,
            .initrd = initrd,
            .initrd_size = sizeof(initrd),
            .initrd_path = "ram",
            .initrd_path_size = 3,
            .module = {{second, sizeof(second), "m2", "a b", 2, 3}, {NULL, 0, "m3", NULL, 2, 0}},
            .module_count = 2,
        };
        assert_int_equal(load(0x2800, 16 * MIB, GPA_HOLE_DEFAULT), 0);
        check_entry(ELF_ENTRY);
        assert_memory_equal(mock_memory + 0x200000, file + 0x1000, 0x1000);
        assert_memory_equal(mock_memory + 0x202000, file + 0x2000, 0x800);
        assert_int_equal(mock_get(mock_get(4 * 0x15, 4), 1), 0x55); /* a BIOS that has nothing */
        info = start.rbx;
        assert_int_equal(mock_get(info, 4), 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
        assert_int_equal(mock_get(info + 4, 4), 639);
        assert_int_equal(mock_get(info + 8, 4), 15 * 1024);
        expect_text(mock_get(info + 16, 4), "boot/kernel root=/dev/x");
        expect_text(mock_get(info + 64, 4), "Corbel");
        /* modules: each from a page of its own behind the kernel, which ends at 204000h */
        assert_int_equal(mock_get(info + 20, 4), 3);
        mods = mock_get(info + 24, 4);
        assert_int_equal(mock_get(mods, 4), 0x204000);
        assert_int_equal(mock_get(mods + 4, 4), 0x204000 + 5000);
        expect_text(mock_get(mods + 8, 4), "ram");
        assert_memory_equal(mock_memory + 0x204000, initrd, sizeof(initrd));
        assert_int_equal(mock_get(mods + 16, 4), 0x206000);
        assert_int_equal(mock_get(mods + 20, 4), 0x206000 + sizeof(second));
        expect_text(mock_get(mods + 24, 4), "m2 a b");
        assert_memory_equal(mock_memory + 0x206000, second, sizeof(second));
        assert_int_equal(mock_get(mods + 32, 4), 0x207000);
        assert_int_equal(mock_get(mods + 36, 4), 0x207000);
        expect_text(mock_get(mods + 40, 4), "m3");
        assert_int_equal(mock_get(mods + 44, 4), 0);
        /* the memory map */
        assert_int_equal(mock_get(info + 44, 4), 5 * 24);
        map = mock_get(info + 48, 4);
        assert_int_equal(mock_get(map, 4), 20);
        assert_int_equal(mock_get(map + 4, 8), 0);
        assert_int_equal(mock_get(map + 12, 8), GPA_EBDA);
        assert_int_equal(mock_get(map + 20, 4), E820_RAM);
        assert_int_equal(mock_get(map + 72, 4), 20);
        assert_int_equal(mock_get(map + 72 + 4, 8), GPA_HIGH);
        assert_int_equal(mock_get(map + 72 + 12, 8), 15 * MIB);
    }
}

static void test_the_least(void **state)
{
    elf_make(file, false);
    multiboot_put(file, 0x1ff4, 0);
    image = (struct guest_image){0};
    assert_int_equal(load(ELF_FILE, 5 * MIB, 16 * MIB), 0);
    expect_text(mock_get(start.rbx + 16, 4), "boot/kernel");
    assert_int_equal(mock_get(start.rbx + 20, 4), 0);
}

/* The longest texts and the most modules that the config allows. */
static void test_the_most(void **state)
{
    static char text[2048];
    uint64_t mods;

    elf_make(file, false);
    multiboot_put(file, 0x1ff4, 0);
    memset(text, 'x', sizeof(text));
    image = (struct guest_image){.cmdline = text,
                                 .cmdline_size = 2047,
                                 .initrd = text,
                                 .initrd_size = 1,
                                 .initrd_path = text,
                                 .initrd_path_size = 511,
                                 .module_count = 16};
    for (unsigned i = 0; i < 16; i++) {
        image.module[i] = (struct guest_module){text, i, text, text, 511, 511};
    }
    assert_int_equal(load(ELF_FILE, 5 * MIB, GPA_HOLE_DEFAULT), 0);
    assert_true(start.rbx + 116 <= GPA_BOOT_INFO_TOP);
    mods = mock_get(start.rbx + 24, 4);
    assert_int_equal(strlen((char *)mock_memory + mock_get(mods + 16 * 16 + 8, 4)), 1023);
    assert_int_equal(mock_get(mods + 16 * 16 + 4, 4) - mock_get(mods + 16 * 16, 4), 15);
    /* what does not fit, however long, is an error and not memory that is somebody else's */
    image.cmdline_size = 0;
    for (unsigned i = 0; i < 16; i++) {
        image.module[i].args_size = 2047;
    }
    mock_refuse_at = GPA_BOOT_INFO_TOP;
    assert_int_equal(load(ELF_FILE, 5 * MIB, GPA_HOLE_DEFAULT), -ENOSPC);
    mock_refuse_at = UINT64_MAX;
}

static void test_header(void **state)
{
    image = (struct guest_image){0};
    elf_make(file, false);
    assert_false(multiboot_has_header(file, sizeof(file)));
    expect_bad("has no Multiboot header");
    assert_false(multiboot_has_header("", 0));
    /* all of it within the first 8192 bytes, at a multiple of 4 */
    multiboot_put(file, 8192 - 12, 3);
    assert_true(multiboot_has_header(file, sizeof(file)));
    assert_true(multiboot_has_header(file, 8192));
    assert_false(multiboot_has_header(file, 8191));
    elf_make(file, false);
    multiboot_put(file, 8192 - 8, 3);
    assert_false(multiboot_has_header(file, sizeof(file)));
    elf_make(file, false);
    multiboot_put(file, 0x1002, 3);
    assert_false(multiboot_has_header(file, sizeof(file)));
    elf_make(file, false);
    multiboot_put(file, 0x1004, 3);
    file[0x100c]++; /* the checksum */
    assert_false(multiboot_has_header(file, sizeof(file)));
    /* the addresses, too, lie within */
    elf_make(file, false);
    multiboot_put(file, 8192 - 28, 0x10000);
    assert_false(multiboot_has_header(file, sizeof(file)));
    multiboot_put(file, 8192 - 32, 0x10000);
    assert_true(multiboot_has_header(file, sizeof(file)));
    assert_false(multiboot_has_header(file, 8191));
    /* demands */
    elf_make(file, false);
    multiboot_put(file, 0x1000, 0xf);
    expect_bad("demands what no loader knows: flags 0x8 of its Multiboot header");
    assert_false(multiboot_recognise(file, sizeof(file)));
    multiboot_put(file, 0x1000, 0x8004);
    expect_bad("demands what no loader knows: flags 0x8000 of its Multiboot header");
    multiboot_put(file, 0x1000, 0xfffe0007); /* these are wishes */
    assert_int_equal(load(ELF_FILE, 16 * MIB, GPA_HOLE_DEFAULT), 0);
    assert_true(multiboot_recognise(file, sizeof(file)));
    file[0] = 0;
    assert_false(multiboot_recognise(file, sizeof(file)));
    expect_bad("has a Multiboot header without addresses (flag 16), and is not an ELF file");
}

#define FLAT 0x100000u

/* A header at byte 40h of the file that lies at 1 MiB + 20h. */
static void flat(uint32_t load_end, uint32_t bss_end, uint32_t entry)
{
    elf_make(file, false);
    file[0] = 0;
    multiboot_put(file, 0x40, 0x10003);
    multiboot_addresses(file, 0x40, FLAT + 0x20, FLAT, load_end, bss_end, entry);
}

static void test_flat(void **state)
{
    image = (struct guest_image){.initrd = "i", .initrd_size = 1};
    flat(FLAT + 0x1000, FLAT + 0x3000, FLAT + 0x24);
    assert_int_equal(load(ELF_FILE, 16 * MIB, GPA_HOLE_DEFAULT), 0);
    check_entry(FLAT + 0x24);
    assert_memory_equal(mock_memory + FLAT, file + 0x20, 0x1000);
    assert_int_equal(mock_get(FLAT + 0x1000, 8), 0);
    assert_int_equal(mock_get(mock_get(start.rbx + 24, 4), 4), FLAT + 0x3000);
    /* no end given: up to the file's */
    flat(0, 0, FLAT + 0x2fdf);
    assert_int_equal(load(ELF_FILE, 16 * MIB, GPA_HOLE_DEFAULT), 0);
    assert_memory_equal(mock_memory + FLAT, file + 0x20, ELF_FILE - 0x20);
    assert_int_equal(mock_get(mock_get(start.rbx + 24, 4), 4), FLAT + 0x3000);
    /* they count in an ELF file, too */
    flat(0, 0, FLAT + 0x24);
    file[0] = 0x7f;
    assert_int_equal(load(ELF_FILE, 16 * MIB, GPA_HOLE_DEFAULT), 0);
    check_entry(FLAT + 0x24);
    /* to the file's last byte, and one more */
    flat(FLAT + ELF_FILE - 0x20, 0, FLAT);
    assert_int_equal(load(ELF_FILE, 16 * MIB, GPA_HOLE_DEFAULT), 0);
    assert_int_equal(load(ELF_FILE - 1, 16 * MIB, GPA_HOLE_DEFAULT), -EBADMSG);
    assert_string_equal(error, "is truncated: it has 12287 bytes of 12288; copy it again");
    flat(0xfffffffc, 0, FLAT);
    expect_bad("is truncated: it has 12288 bytes of 4293918748; copy it again");
    image = (struct guest_image){0};
}

static void test_bad_addresses(void **state)
{
    flat(FLAT + 0x1000, FLAT + 0xfff, FLAT);
    expect_bad("has a Multiboot header whose addresses do not follow each other: 0x100000 up to "
               "0x101000, zeros to 0x100fff");
    flat(FLAT - 1, 0, FLAT);
    expect_bad("has a Multiboot header whose addresses do not follow each other: 0x100000 up to "
               "0xfffff, zeros to 0");
    flat(0, FLAT - 1, FLAT);
    expect_bad("has a Multiboot header whose addresses do not follow each other: 0x100000 up to 0, "
               "zeros to 0xfffff");
    flat(FLAT + 0x1000, FLAT + 0x2000, FLAT + 0x2000);
    expect_bad("has its entry at 0x102000, outside of all that it loads");
    flat(FLAT + 0x1000, FLAT + 0x2000, FLAT - 1);
    expect_bad("has its entry at 0xfffff, outside of all that it loads");
    flat(FLAT, 0, FLAT);
    expect_bad("has its entry at 0x100000, outside of all that it loads");
    flat(0, 0, FLAT);
    multiboot_addresses(file, 0x40, FLAT + 0x41, FLAT, 0, 0, FLAT); /* before the file's start */
    expect_bad("has a Multiboot header at byte 64 that cannot lie at 0x100041 when loading starts "
               "at 0x100000");
    multiboot_addresses(file, 0x40, FLAT - 4, FLAT, 0, 0, FLAT);
    expect_bad("has a Multiboot header at byte 64 that cannot lie at 0xffffc when loading starts "
               "at 0x100000");
}

/* What a kernel may want, and what it cannot have. */
static void test_places(void **state)
{
    static const struct {
        uint32_t at, size;
        bool good;
    } places[] = {
        {0x10000, 0x8fc00, true}, /* all of low memory */
        {0xffff, 0x1000, false},     {0x10000, 0x8fc01, false}, {0x9fbff, 2, false},
        {0xa0000, 1, false},         {0xe0000, 1, false},       {0xfffff, 2, false},
        {0x100000, 15 * MIB, true},  {0xdfffffff, 2, false},    {0xfec00000, 1, false},
        {0xffffffff, 0x2000, false},
    };

    image = (struct guest_image){0};
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        elf_make(file, false);
        multiboot_put(file, 0x1000, 0);
        elf_segment(file, false, 1, 1, 0x2000, places[i].at, 1, places[i].size);
        elf_ph_put(file, false, 0, PH_PADDR, places[i].at == 0x100000 ? 0x10000 : 0x200000);
        int e = load(ELF_FILE, 16 * MIB, GPA_HOLE_DEFAULT);
        assert_int_equal(e, places[i].good ? 0 : -EBADMSG);
        if (e) {
            assert_non_null(strstr(error, "it can have memory from 64K to 639K and from 1M"));
        }
    }
    elf_make(file, false);
    multiboot_put(file, 0x1000, 0);
    elf_ph_put(file, false, 1, PH_PADDR, 0x200fff);
    expect_bad("has segments that overlap, at 0x200000 and 0x200fff");
    elf_ph_put(file, false, 1, PH_PADDR, 0x1fe001);
    expect_bad("has segments that overlap, at 0x200000 and 0x1fe001");
    elf_ph_put(file, false, 1, PH_PADDR, 0x1fe000);
    assert_int_equal(load(ELF_FILE, 16 * MIB, GPA_HOLE_DEFAULT), 0);
    elf_ph_put(file, false, 1, PH_PADDR, 0x201000);
    assert_int_equal(load(ELF_FILE, 16 * MIB, GPA_HOLE_DEFAULT), 0);
}

static void test_too_little_memory(void **state)
{
    static uint8_t module[3 * MIB];

    image = (struct guest_image){.module = {{module, sizeof(module), "m", "", 1, 0}},
                                 .module_count = 1};
    elf_make(file, false);
    multiboot_put(file, 0x1000, 0);
    assert_int_equal(load(ELF_FILE, 5 * MIB, GPA_HOLE_DEFAULT), -ENOMEM);
    assert_string_equal(error, "needs memory=6M at least (3M up to the end of the kernel, then its "
                               "modules); it has 5M");
    assert_int_equal(load(ELF_FILE, 6 * MIB, GPA_HOLE_DEFAULT), 0);
    image.module_count = 0;
    assert_int_equal(load(ELF_FILE, 2 * MIB, GPA_HOLE_DEFAULT), -ENOMEM);
    assert_string_equal(error,
                        "needs memory=3M at least (3M up to the end of the kernel); it has 2M");
    assert_int_equal(load(ELF_FILE, 2 * MIB + 0x4000, GPA_HOLE_DEFAULT), 0);
    assert_int_equal(load(ELF_FILE, 2 * MIB + 0x3000, GPA_HOLE_DEFAULT), -ENOMEM);
    elf_ph_put(file, false, 1, PH_MEMSZ, 0x1000000);
    assert_int_equal(load(ELF_FILE, 64 * MIB, 16 * MIB), -ENOMEM);
    assert_string_equal(error, "needs hole=20M at least, as kernel lies below it; it "
                               "is 16M");
    assert_int_equal(load(ELF_FILE, 64 * MIB, 18 * MIB), -ENOMEM);
    image.module_count = 1;
    assert_int_equal(load(ELF_FILE, 64 * MIB, 18 * MIB), -ENOMEM);
    assert_string_equal(error, "needs hole=22M at least, as kernel and modules lie below it; it "
                               "is 18M");
    image.module_count = 0;
    image.initrd = module;
    image.initrd_size = MIB;
    assert_int_equal(load(ELF_FILE, 64 * MIB, 18 * MIB), -ENOMEM);
    assert_string_equal(error, "needs hole=20M at least, as kernel and initrd lie below it; it "
                               "is 18M");
    assert_int_equal(load(ELF_FILE, 19 * MIB, GPA_HOLE_DEFAULT), -ENOMEM);
    assert_string_equal(error, "needs memory=20M at least (19M up to the end of the kernel, then "
                               "its initrd); it has 19M");
    image.initrd = NULL;
    assert_int_equal(load(ELF_FILE, 64 * MIB, 20 * MIB), 0);
    /* what no memory helps */
    image.module_count = 2;
    image.module[0].size = 1800 * MIB; /* never read */
    image.module[1] = image.module[0];
    assert_int_equal(load(ELF_FILE, 64 * MIB, GPA_HOLE_DEFAULT), -ENOTSUP);
    assert_string_equal(error, "cannot take 3600M of modules: they must lie between 19M and 2816M");
    image.module[0].size = UINT64_MAX;
    image.module[1].size = UINT64_MAX;
    assert_int_equal(load(ELF_FILE, 64 * MIB, GPA_HOLE_DEFAULT), -ENOTSUP);
    image = (struct guest_image){.initrd = module, .initrd_size = 4000 * MIB};
    assert_int_equal(load(ELF_FILE, 64 * MIB, GPA_HOLE_DEFAULT), -ERANGE);
    image = (struct guest_image){0};
}

static void test_a_sink_that_refuses(void **state)
{
    static const uint64_t places[] = {GPA_GDT, GPA_BOOT_INFO, 0x200000, 0x202000, 0x204000};

    image = (struct guest_image){.initrd = "i", .initrd_size = 1};
    elf_make(file, false);
    multiboot_put(file, 0x1000, 0);
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        mock_refuse_at = places[i];
        assert_int_equal(load(ELF_FILE, 16 * MIB, GPA_HOLE_DEFAULT), -EFAULT);
        assert_string_equal(error, "could not be copied into the VM's memory (error 14)");
    }
    mock_refuse_at = UINT64_MAX;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elf),
        cmocka_unit_test(test_the_least),
        cmocka_unit_test(test_the_most),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_flat),
        cmocka_unit_test(test_bad_addresses),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_too_little_memory),
        cmocka_unit_test(test_a_sink_that_refuses),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    free(mock_memory);
    return failed;
}
