/* links: guest/load/multiboot2.c guest/load/multiboot2_header.c guest/load/multiboot2_info.c guest/load/place.c guest/load/elf.c guest/load/entry.c guest/load/bios.c guest/load/e820.c arch/x86/lib/format.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include "guest/load/multiboot2.h"
#include "tests/unit/elf_file.h"
#include "tests/unit/mock_sink.h"

#define HEADER 0x1008 /* where it stands */

static uint8_t file[ELF_FILE];
static char error[LOAD_ERROR];
static struct guest_start start;
static struct guest_image image;
static uint8_t rsdp[36] = "RSD PTR 0123456789abcdefghijklmnopq";
static struct guest_screen asked;
static unsigned shows;

/* A display whose modes are 800 by 600 at most. */
static void show(void *ctx, struct guest_screen *screen)
{
    shows++;
    asked = *screen;
    screen->gpa = 0xc0000000;
    screen->width = MIN(screen->width, 800u);
    screen->height = MIN(screen->height, 600u);
    screen->pitch = 4096;
}

static const struct guest_display display = {.show = show};

static int load(uint64_t size, uint64_t memory)
{
    uint8_t *copy = malloc(size);
    int e;

    memcpy(copy, file, size);
    mock_sink_fresh(memory, GPA_HOLE_DEFAULT);
    image.kernel = copy;
    image.kernel_size = size;
    image.path = "kernel";
    image.path_size = 6;
    strcpy(error, "untouched");
    shows = 0;
    e = multiboot2_load(&image, &mock_layout, &mock_sink, &start, error);
    assert_true(e == 0 || (mock_writes == 0 && shows == 0) || mock_refuse_at != UINT64_MAX);
    free(copy);
    return e;
}

static void expect_bad(const char *sentence)
{
    assert_int_equal(load(ELF_FILE, 16 * MIB), -EBADMSG);
    assert_string_equal(error, sentence);
}

/* --- a header, tag by tag --- */

static unsigned header_end;

static void header_begin(unsigned at)
{
    elf_put(file, at, 0xe85250d6, 4);
    elf_put(file, at + 4, 0, 4);
    header_end = at + 16;
}

static void header_tag(unsigned type, unsigned flags, unsigned words, ...)
{
    va_list list;

    elf_put(file, header_end, type, 2);
    elf_put(file, header_end + 2, flags, 2);
    elf_put(file, header_end + 4, 8 + 4 * words, 4);
    va_start(list, words);
    for (unsigned i = 0; i < words; i++)
        elf_put(file, header_end + 8 + 4 * i, va_arg(list, unsigned), 4);
    va_end(list);
    header_end = ALIGN_UP(header_end + 8 + 4 * words, 8u);
}

static void header_sum(unsigned at)
{
    elf_put(file, at + 8, header_end - at, 4);
    elf_put(file, at + 12, 0u - 0xe85250d6 - (header_end - at), 4);
}

static void header_finish(unsigned at)
{
    header_tag(0, 0, 0);
    header_sum(at);
}

static void make(bool is_64)
{
    elf_make(file, is_64);
    header_begin(HEADER);
}

/* --- what it is told, tag by tag --- */

/* The n-th tag of that type; 0: there is none. All are walked over, up to the end. */
static uint64_t told(uint32_t type, unsigned n)
{
    uint64_t at = start.rbx + 8, end = start.rbx + mock_get(start.rbx, 4), found = 0;

    assert_int_equal(mock_get(start.rbx + 4, 4), 0);
    assert_true(start.rbx % 8 == 0 && end <= GPA_BOOT_INFO_TOP);
    for (;;) {
        uint32_t size = (uint32_t)mock_get(at + 4, 4);

        assert_true(size >= 8 && at + size <= end);
        if (mock_get(at, 4) == type && n-- == 0)
            found = at;
        if (mock_get(at, 4) == 0) {
            assert_true(size == 8 && at + 8 == end);
            return found;
        }
        at = ALIGN_UP(at + size, 8);
    }
}

static void expect_text(uint64_t tag, unsigned offset, const char *text)
{
    assert_int_not_equal(tag, 0);
    assert_string_equal((const char *)mock_memory + tag + offset, text);
    assert_int_equal(mock_get(tag + 4, 4), offset + strlen(text) + 1);
}

static void test_elf(void **state)
{
    static const uint8_t initrd[5000] = {1, 2, 3};

    for (int is_64 = 0; is_64 < 2; is_64++) {
        uint64_t map, module;

        make(is_64);
        header_tag(1, 0, 5, 1, 3, 6, 9, 21);
        header_tag(6, 0, 0); /* modules on pages */
        header_tag(7, 0, 0); /* for EFI, as the next two */
        header_tag(8, 0, 1, 0x1234);
        header_tag(9, 0, 1, 0x1234);
        header_tag(999, 1, 3, 1, 2, 3); /* a wish that nobody knows */
        header_finish(HEADER);
        image = (struct guest_image){
            .cmdline = "a=b  c",
            .cmdline_size = 6,
            .initrd = initrd,
            .initrd_size = sizeof(initrd),
            .initrd_path = "ram",
            .initrd_path_size = 3,
            .module = {{"two", 3, "m2", "a b", 2, 3}},
            .module_count = 1,
            .rsdp_copy = rsdp,
        };
        assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
        assert_int_equal(start.mode, GUEST_PROTECTED);
        assert_int_equal(start.rip, ELF_ENTRY);
        assert_int_equal(start.rax, 0x36d76289);
        assert_int_equal(start.cr0, 0x11);
        assert_memory_equal(mock_memory + 0x200000, file + 0x1000, 0x1000);
        assert_memory_equal(mock_memory + 0x202000, file + 0x2000, 0x800);
        expect_text(told(1, 0), 8, "kernel a=b  c");
        expect_text(told(2, 0), 8, "Corbel");
        module = told(3, 0);
        expect_text(module, 16, "ram");
        assert_int_equal(mock_get(module + 8, 4), 0x204000);
        assert_int_equal(mock_get(module + 12, 4), 0x204000 + 5000);
        assert_memory_equal(mock_memory + 0x204000, initrd, sizeof(initrd));
        module = told(3, 1);
        expect_text(module, 16, "m2 a b");
        assert_int_equal(mock_get(module + 8, 4), 0x206000);
        assert_int_equal(mock_get(module + 12, 4), 0x206003);
        assert_int_equal(told(3, 2), 0);
        assert_int_equal(mock_get(told(4, 0) + 8, 4), 639);
        assert_int_equal(mock_get(told(4, 0) + 12, 4), 15 * 1024);
        map = told(6, 0);
        assert_int_equal(mock_get(map + 4, 4), 16 + 5 * 24);
        assert_int_equal(mock_get(map + 8, 8), 24);
        assert_int_equal(mock_get(map + 16, 8), 0);
        assert_int_equal(mock_get(map + 24, 8), GPA_EBDA);
        assert_int_equal(mock_get(map + 32, 8), E820_RAM);
        assert_int_equal(mock_get(map + 16 + 72, 8), GPA_HIGH);
        assert_int_equal(mock_get(map + 24 + 72, 8), 15 * MIB);
        assert_memory_equal(mock_memory + told(14, 0) + 8, rsdp, 20);
        assert_int_equal(mock_get(told(14, 0) + 4, 4), 28);
        assert_memory_equal(mock_memory + told(15, 0) + 8, rsdp, 36);
        assert_int_equal(told(8, 0) | told(9, 0) | told(21, 0), 0);
    }
    /* as little as can be */
    make(false);
    header_finish(HEADER);
    image = (struct guest_image){0};
    assert_int_equal(load(ELF_FILE, 4 * MIB), 0);
    expect_text(told(1, 0), 8, "kernel");
    assert_int_equal(told(3, 0) | told(14, 0) | told(15, 0), 0);
}

static void test_header(void **state)
{
    image = (struct guest_image){0};
    elf_make(file, false);
    assert_false(multiboot2_has_header(file, sizeof(file)));
    assert_false(multiboot2_has_header("", 0));
    expect_bad("has no Multiboot 2 header");
    make(false);
    header_finish(HEADER);
    assert_true(multiboot2_has_header(file, sizeof(file)));
    assert_true(multiboot2_recognise(file, sizeof(file)));
    assert_true(multiboot2_has_header(file, header_end));
    assert_false(multiboot2_has_header(file, header_end - 1));
    assert_false(multiboot2_recognise(file, header_end)); /* its segments are cut off */
    file[HEADER + 4] = 4;                                 /* MIPS, with a good sum */
    elf_put(file, HEADER + 12, 0u - 0xe85250d6 - 4 - 24, 4);
    assert_false(multiboot2_has_header(file, sizeof(file)));
    make(false);
    header_finish(HEADER);
    file[HEADER + 12]++; /* the sum */
    assert_false(multiboot2_has_header(file, sizeof(file)));
    elf_make(file, false);
    header_begin(HEADER + 4);
    header_finish(HEADER + 4);
    assert_false(multiboot2_has_header(file, sizeof(file)));
    /* within 32768 bytes, all of it */
    uint8_t *large = calloc(1, 65536);
    make(false);
    header_finish(HEADER);
    memcpy(large + 32768 - 24, file + HEADER, 24);
    assert_true(multiboot2_has_header(large, 65536));
    memset(large, 0, 65536);
    memcpy(large + 32768 - 16, file + HEADER, 24);
    assert_false(multiboot2_has_header(large, 65536));
    free(large);
}

static void test_bad_headers(void **state)
{
    image = (struct guest_image){0};
    make(false);
    header_sum(HEADER); /* nothing but the first 16 bytes */
    expect_bad("has a broken Multiboot 2 header: its 16 bytes have no last tag");
    make(false);
    header_tag(6, 0, 0);
    header_tag(7, 0, 0);
    header_sum(HEADER);
    expect_bad("has a broken Multiboot 2 header: its 32 bytes have no last tag");
    for (unsigned type = 0; type < 12; type++) {
        static const uint8_t words[] = {0, 0, 4, 1, 1, 3, 0, 0, 1, 1, 4, 0};
        char sentence[LOAD_ERROR];

        make(false);
        header_tag(type, 1, words[type], 0x100000, 0x200000, 0x1000, 0);
        elf_put(file, HEADER + 20, 7 + 4 * words[type], 4); /* a byte less than it must have */
        header_finish(HEADER);
        snprintf(sentence, sizeof(sentence),
                 "has a broken Multiboot 2 header: its tag of type %u has %u bytes", type,
                 7 + 4 * words[type]);
        expect_bad(sentence);
        assert_false(multiboot2_recognise(file, sizeof(file)));
        elf_put(file, HEADER + 20, header_end - HEADER - 15, 4); /* and one more than there is */
        snprintf(sentence, sizeof(sentence),
                 "has a broken Multiboot 2 header: its tag of type %u has %u bytes", type,
                 header_end - HEADER - 15);
        expect_bad(sentence);
        elf_put(file, HEADER + 20, UINT32_MAX, 4);
        assert_int_equal(load(ELF_FILE, 16 * MIB), -EBADMSG);
    }
    make(false);
    header_tag(11, 0, 0);
    header_finish(HEADER);
    expect_bad("demands what no loader knows: a tag of type 11 in its Multiboot 2 header");
    make(false);
    header_tag(1, 0, 2, 21, 22);
    header_finish(HEADER);
    expect_bad("demands what no loader knows: information 22 by its Multiboot 2 header");
    make(false);
    header_tag(1, 1, 2, 21, 22); /* a wish */
    header_finish(HEADER);
    assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
    make(false);
    header_finish(HEADER);
    file[0] = 0;
    expect_bad("has a Multiboot 2 header without addresses, and is not an ELF file");
    make(false);
    header_tag(3, 0, 1, 0x100);
    header_finish(HEADER);
    expect_bad("has its entry at 0x100, outside of all that it loads");
    make(false);
    header_tag(3, 0, 1, 0x200004); /* in place of the ELF file's */
    header_finish(HEADER);
    assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
    assert_int_equal(start.rip, 0x200004);
}

#define FLAT 0x100000u

static void flat(unsigned load_addr, unsigned load_end, unsigned bss_end)
{
    make(false);
    file[0] = 0;
    header_tag(2, 0, 4, FLAT + HEADER - 0x1000, load_addr, load_end, bss_end);
    header_tag(3, 0, 1, FLAT + 0x20);
    header_finish(HEADER);
}

static void test_flat(void **state)
{
    image = (struct guest_image){.initrd = "i", .initrd_size = 1};
    flat(FLAT, FLAT + 0x1000, FLAT + 0x3000);
    assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
    assert_int_equal(start.rip, FLAT + 0x20);
    assert_memory_equal(mock_memory + FLAT, file + 0x1000, 0x1000);
    assert_int_equal(mock_get(FLAT + 0x1000, 8), 0);
    assert_int_equal(mock_get(told(3, 0) + 8, 4), FLAT + 0x3000);
    assert_int_equal(load(0x1fff, 16 * MIB), -EBADMSG);
    assert_string_equal(error, "is truncated: it has 8191 bytes of 8192; copy it again");
    flat(FLAT, 0, 0);
    file[0] = 0x7f; /* an ELF file, too: they count */
    assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
    assert_memory_equal(mock_memory + FLAT, file + 0x1000, 0x2000);
    /* the file from its beginning */
    make(false);
    header_tag(2, 0, 4, FLAT + HEADER, UINT32_MAX, 0, 0);
    header_tag(3, 0, 1, FLAT + ELF_FILE - 1);
    header_finish(HEADER);
    assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
    assert_memory_equal(mock_memory + FLAT, file, ELF_FILE);
    make(false);
    header_tag(2, 0, 4, HEADER - 8, UINT32_MAX, 0, 0);
    header_tag(3, 0, 1, FLAT);
    header_finish(HEADER);
    assert_int_equal(load(ELF_FILE, 16 * MIB), -EBADMSG);
    make(false);
    header_tag(2, 0, 4, FLAT + HEADER, FLAT, 0, 0);
    header_finish(HEADER);
    expect_bad("has a Multiboot 2 header that says what to load, and no entry address");
    image = (struct guest_image){0};
}

static void relocatable(unsigned min, unsigned max, unsigned align, unsigned preference)
{
    make(false);
    header_tag(10, 0, 4, min, max, align, preference);
    header_finish(HEADER);
}

/* It is loaded from base on, and told so; it has 4000h bytes. */
static void expect_base(uint64_t base)
{
    assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
    assert_memory_equal(mock_memory + base, file + 0x1000, 0x1000);
    assert_memory_equal(mock_memory + base + 0x2000, file + 0x2000, 0x800);
    assert_int_equal(start.rip, base + ELF_ENTRY - 0x200000);
    assert_int_equal(mock_get(told(21, 0) + 8, 4), base);
    assert_int_equal(mock_get(told(21, 0) + 4, 4), 12);
}

static void test_relocatable(void **state)
{
    image = (struct guest_image){0};
    relocatable(0, UINT32_MAX, 0x1000, 0);
    expect_base(0x200000); /* where it was linked to */
    relocatable(0x200000, 0x204000, 0x200000, 0);
    expect_base(0x200000);
    relocatable(0x200001, UINT32_MAX, 0x1000, 0);
    expect_base(0x201000);
    relocatable(0, 0x203fff, 0x1000, 0);
    expect_base(0x100000);
    relocatable(0, UINT32_MAX, 0x400000, 0);
    expect_base(0x400000);
    relocatable(0, UINT32_MAX, 0, 1);
    expect_base(0x100000);
    relocatable(0x300010, UINT32_MAX, 16, 1);
    expect_base(0x300010);
    relocatable(0, UINT32_MAX, 0x10000, 2);
    expect_base(16 * MIB - 0x10000);
    relocatable(0, 0x800123, 0x1000, 2);
    expect_base(0x7fc000);
    /* "as high as possible" has its modules above it */
    image = (struct guest_image){.initrd = "i",
                                 .initrd_size = 1,
                                 .module = {{"m", 0x1001, "m", NULL, 1, 0}},
                                 .module_count = 1};
    relocatable(0, UINT32_MAX, 0x1000, 2);
    image.module[0].data = calloc(1, 0x1001);
    expect_base(16 * MIB - 0x3000 - 0x4000);
    free((void *)image.module[0].data);
    image = (struct guest_image){0};
    /* what cannot be */
    relocatable(0x300000, 0x303fff, 0x1000, 1);
    expect_bad("wants to lie between 0x300000 and 0x303fff, aligned to 0x1000, where its 0x4000 "
               "bytes have no room");
    relocatable(0, 0xfffff, 1, 0);
    assert_int_equal(load(ELF_FILE, 16 * MIB), -EBADMSG);
    relocatable(0, UINT32_MAX, 0x3000, 0);
    expect_bad("has a Multiboot 2 header that makes no sense of where it may lie: from 0 to "
               "0xffffffff, aligned to 0x3000, preference 0");
    relocatable(2, 1, 1, 0);
    assert_int_equal(load(ELF_FILE, 16 * MIB), -EBADMSG);
    relocatable(0, UINT32_MAX, 1, 3);
    assert_int_equal(load(ELF_FILE, 16 * MIB), -EBADMSG);
    relocatable(64 * MIB, UINT32_MAX, 1, 0);
    assert_int_equal(load(ELF_FILE, 16 * MIB), -ENOMEM);
    relocatable(0, UINT32_MAX, 1, 2);
    elf_ph_put(file, false, 1, PH_MEMSZ, 64 * MIB);
    assert_int_equal(load(ELF_FILE, 16 * MIB), -ENOMEM);
    relocatable(0, UINT32_MAX, 0x80000000, 2);
    assert_int_equal(load(ELF_FILE, 16 * MIB), -ENOMEM);
}

static void test_screen(void **state)
{
    static const char none[] = "demands a screen by its Multiboot 2 header, which this VM has not: "
                               "display = vga gives it one";

    image = (struct guest_image){0};
    make(false);
    header_tag(5, 1, 3, 640, 480, 16);
    header_finish(HEADER);
    assert_int_equal(load(ELF_FILE, 16 * MIB), 0); /* a wish */
    assert_int_equal(told(8, 0), 0);
    make(false);
    header_tag(5, 0, 3, 640, 480, 16);
    header_finish(HEADER);
    expect_bad(none);
    image.display = &display;
    assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
    assert_int_equal(shows, 1);
    uint64_t tag = told(8, 0);
    assert_int_equal(mock_get(tag + 4, 4), 38);
    assert_int_equal(mock_get(tag + 8, 8), 0xc0000000);
    assert_int_equal(mock_get(tag + 16, 4), 4096);
    assert_int_equal(mock_get(tag + 20, 4), 640);
    assert_int_equal(mock_get(tag + 24, 4), 480);
    assert_int_equal(mock_get(tag + 28, 4), 16 | 1 << 8);
    assert_int_equal(mock_get(tag + 32, 6), 0x05000605050bull);
    /* whatever it is; what is there */
    make(false);
    header_tag(5, 0, 3, 0, 0, 0);
    header_tag(4, 0, 1, 1);
    header_finish(HEADER);
    assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
    assert_true(asked.width == 1024 && asked.height == 768 && asked.depth == 32);
    tag = told(8, 0);
    assert_int_equal(mock_get(tag + 20, 4), 800);
    assert_int_equal(mock_get(tag + 24, 4), 600);
    assert_int_equal(mock_get(tag + 28, 4), 32 | 1 << 8);
    assert_int_equal(mock_get(tag + 32, 6), 0x080008080810ull);
    make(false);
    header_tag(5, 0, 3, 0, 0, 15);
    header_finish(HEADER);
    assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
    assert_int_equal(mock_get(told(8, 0) + 32, 6), 0x05000505050aull);
    make(false);
    header_tag(5, 0, 3, 0, 0, 8);
    header_finish(HEADER);
    assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
    assert_int_equal(asked.depth, 32);
    /* nobody asks */
    make(false);
    header_finish(HEADER);
    assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
    assert_int_equal(shows + told(8, 0), 0);
    /* a console of any kind, and one of text */
    make(false);
    header_tag(4, 0, 1, 3);
    header_finish(HEADER);
    expect_bad("demands a screen of text by its Multiboot 2 header, which takes a BIOS; only one "
               "of points is to be had");
    image.display = NULL;
    expect_bad(none);
    make(false);
    header_tag(4, 1, 1, 3);
    header_finish(HEADER);
    assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
    make(false);
    header_tag(4, 0, 1, 2);
    header_finish(HEADER);
    assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
}

/* Four sections: none, one that a segment holds, one that only the file has, and zeros. */
static void sections(bool is_64, unsigned at)
{
    unsigned size = is_64 ? 64 : 40;
    static const uint32_t words[4][4] = {/* type, address, offset, size */
                                         {0, 0, 0, 0},
                                         {1, 0x200000, 0x1000, 0x100},
                                         {2, 0, 0x2900, 0x123},
                                         {8, 0, 0x2900, 0x123}};

    elf_put(file, is_64 ? 40 : 32, at, 4);
    elf_put(file, is_64 ? 58 : 46, size, 2);
    elf_put(file, is_64 ? 60 : 48, 4, 2);
    elf_put(file, is_64 ? 62 : 50, 2, 2);
    for (unsigned i = 0; i < 4; i++) {
        memset(file + at + i * size, 0, size);
        elf_put(file, at + i * size + 4, words[i][0], 4);
        elf_put(file, at + i * size + (is_64 ? 16 : 12), words[i][1], 4);
        elf_put(file, at + i * size + (is_64 ? 24 : 16), words[i][2], 4);
        elf_put(file, at + i * size + (is_64 ? 32 : 20), words[i][3], 4);
    }
}

static void test_sections(void **state)
{
    image = (struct guest_image){.initrd = "i", .initrd_size = 1};
    for (int is_64 = 0; is_64 < 2; is_64++) {
        unsigned size = is_64 ? 64 : 40, address = is_64 ? 16 : 12;
        uint64_t tag;

        make(is_64);
        header_finish(HEADER);
        sections(is_64, ELF_FILE - 4 * size);
        assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
        tag = told(9, 0);
        assert_int_equal(mock_get(tag + 4, 4), 20 + 4 * size);
        assert_int_equal(mock_get(tag + 8, 4), 4);
        assert_int_equal(mock_get(tag + 12, 4), size);
        assert_int_equal(mock_get(tag + 16, 4), 2);
        tag += 20;
        assert_memory_equal(mock_memory + tag, file + ELF_FILE - 4 * size, 2 * size);
        assert_memory_equal(mock_memory + tag + 3 * size, file + ELF_FILE - size, size);
        /* behind the module */
        assert_int_equal(mock_get(tag + 2 * size + address, 4), 0x205000);
        assert_memory_equal(mock_memory + 0x205000, file + 0x2900, 0x123);
        mock_refuse_at = 0x205000;
        assert_int_equal(load(ELF_FILE, 16 * MIB), -EFAULT);
        mock_refuse_at = UINT64_MAX;
        /* no room for what is in the file: its header tells no address */
        assert_int_equal(load(ELF_FILE, 2 * MIB + 0x5000), 0);
        assert_memory_equal(mock_memory + told(9, 0) + 20, file + ELF_FILE - 4 * size, 4 * size);
        assert_int_equal(load(ELF_FILE, 2 * MIB + 0x6000), 0);
        assert_int_equal(mock_get(told(9, 0) + 20 + 2 * size + address, 4), 0x205000);
        /* what lies outside of the file is not there either */
        elf_put(file, ELF_FILE - 2 * size + (is_64 ? 32 : 20), ELF_FILE, 4);
        assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
        assert_memory_equal(mock_memory + told(9, 0) + 20, file + ELF_FILE - 4 * size, 4 * size);
        elf_put(file, ELF_FILE - 2 * size + (is_64 ? 24 : 16), ELF_FILE + 1, 4);
        assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
        /* nor are sections that lie over each other, of a file that would be copied many times */
        sections(is_64, ELF_FILE - 4 * size);
        elf_put(file, ELF_FILE - 3 * size + address, 0, 4);
        elf_put(file, ELF_FILE - 3 * size + (is_64 ? 24 : 16), 0, 4);
        elf_put(file, ELF_FILE - 3 * size + (is_64 ? 32 : 20), ELF_FILE - 0x122, 4);
        assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
        assert_memory_equal(mock_memory + told(9, 0) + 20, file + ELF_FILE - 4 * size, 4 * size);
        elf_put(file, ELF_FILE - 3 * size + (is_64 ? 32 : 20), ELF_FILE - 0x123, 4);
        assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
        assert_int_equal(mock_get(told(9, 0) + 20 + size + address, 4), 0x205000);
        /* tables that make no sense are none */
        elf_put(file, is_64 ? 40 : 32, ELF_FILE - 4 * size + 1, 4);
        assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
        assert_int_equal(told(9, 0), 0);
        sections(is_64, ELF_FILE - 4 * size);
        elf_put(file, is_64 ? 62 : 50, 4, 2); /* the names' is not one of them */
        assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
        assert_int_equal(told(9, 0), 0);
        sections(is_64, ELF_FILE - 4 * size);
        elf_put(file, is_64 ? 58 : 46, size + 8, 2);
        assert_int_equal(load(ELF_FILE, 16 * MIB), 0);
        assert_int_equal(told(9, 0), 0);
    }
    image = (struct guest_image){0};
}

/* The longest texts and the most modules that the config allows, and more. */
static void test_the_most(void **state)
{
    static char text[2048];

    make(false);
    header_finish(HEADER);
    memset(text, 'x', sizeof(text));
    image = (struct guest_image){.cmdline = text,
                                 .cmdline_size = 2047,
                                 .initrd = text,
                                 .initrd_size = 1,
                                 .initrd_path = text,
                                 .initrd_path_size = 511,
                                 .module_count = 16,
                                 .rsdp_copy = rsdp};
    for (unsigned i = 0; i < 16; i++)
        image.module[i] = (struct guest_module){text, i, text, text, 511, 511};
    assert_int_equal(load(ELF_FILE, 5 * MIB), 0);
    assert_int_equal(mock_get(told(3, 16) + 4, 4), 16 + 1024);
    assert_int_equal(told(3, 17), 0);
    for (unsigned i = 0; i < 16; i++)
        image.module[i].args_size = 2047;
    mock_refuse_at = GPA_BOOT_INFO_TOP;
    assert_int_equal(load(ELF_FILE, 5 * MIB), -ENOSPC);
    mock_refuse_at = UINT64_MAX;
    image = (struct guest_image){0};
}

static void test_a_sink_that_refuses(void **state)
{
    static const uint64_t places[] = {GPA_GDT, GPA_BOOT_INFO, GPA_BOOT_INFO + 8, 0x200000,
                                      0x204000};

    image = (struct guest_image){.initrd = "i", .initrd_size = 1};
    make(false);
    header_finish(HEADER);
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        mock_refuse_at = places[i];
        assert_int_equal(load(ELF_FILE, 16 * MIB), -EFAULT);
        assert_string_equal(error, "could not be copied into the VM's memory (error 14)");
    }
    mock_refuse_at = UINT64_MAX;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elf),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_flat),
        cmocka_unit_test(test_relocatable),
        cmocka_unit_test(test_screen),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_the_most),
        cmocka_unit_test(test_a_sink_that_refuses),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    free(mock_memory);
    return failed;
}
