/* links: guest/load/elf.c arch/x86/lib/format.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include "guest/load/elf.h"
#include "guest/load/image.h"
#include "tests/unit/elf_file.h"

static uint8_t file[ELF_FILE];
static struct elf elf;
static char error[LOAD_ERROR];

/* Parse the first size bytes, in memory that ends there. */
static int parse(uint64_t size)
{
    uint8_t *copy = malloc(size);
    int e;

    memcpy(copy, file, size);
    e = elf_parse(copy, size, &elf, error);
    free(copy);
    return e;
}

static void expect_bad(const char *sentence)
{
    assert_int_equal(parse(sizeof(file)), -EBADMSG);
    assert_string_equal(error, sentence);
}

static void test_both_classes(void **state)
{
    for (int is_64 = 0; is_64 < 2; is_64++) {
        uint64_t entry;

        elf_make(file, is_64);
        assert_int_equal(elf_parse(file, sizeof(file), &elf, error), 0);
        assert_int_equal(elf.is_64, is_64);
        assert_int_equal(elf.count, 2);
        assert_ptr_equal(elf.segment[0].data, file + 0x1000);
        assert_int_equal(elf.segment[0].paddr, 0x200000);
        assert_int_equal(elf.segment[0].file_size, 0x1000);
        assert_int_equal(elf.segment[0].memory_size, 0x1000);
        assert_ptr_equal(elf.segment[1].data, file + 0x2000);
        assert_int_equal(elf.segment[1].paddr, 0x202000);
        assert_int_equal(elf.segment[1].file_size, 0x800);
        assert_int_equal(elf.segment[1].memory_size, 0x2000);
        assert_false(elf.has_pvh);
        assert_int_equal(elf_entry(&elf, &entry, error), 0);
        assert_int_equal(entry, ELF_ENTRY);
        assert_true(elf_holds(&elf, 0x200000));
        assert_true(elf_holds(&elf, 0x200fff));
        assert_false(elf_holds(&elf, 0x1fffff));
        assert_false(elf_holds(&elf, 0x201000));
        assert_true(elf_holds(&elf, 0x203fff));
        assert_false(elf_holds(&elf, 0x204000));
    }
}

static void test_entry(void **state)
{
    uint64_t entry;

    elf_make(file, true);
    /* virtual, as a higher-half kernel has it */
    elf_ph_put(file, true, 0, PH_VADDR, 0xffffffff80200000);
    elf_put(file, 24, 0xffffffff80200123, 8);
    assert_int_equal(parse(sizeof(file)), 0);
    assert_int_equal(elf_entry(&elf, &entry, error), 0);
    assert_int_equal(entry, 0x200123);
    /* physical, as Linux has it */
    elf_put(file, 24, 0x200456, 8);
    assert_int_equal(parse(sizeof(file)), 0);
    assert_int_equal(elf_entry(&elf, &entry, error), 0);
    assert_int_equal(entry, 0x200456);
    /* neither */
    elf_put(file, 24, 0x201000, 8);
    assert_int_equal(parse(sizeof(file)), 0);
    assert_int_equal(elf_entry(&elf, &entry, error), -EBADMSG);
    assert_string_equal(error, "has its entry at 0x201000, outside of all that it loads");
}

static void test_headers(void **state)
{
    static const char other[] = "is an ELF file for another processor; x86-64 or i386 is needed";

    assert_false(elf_recognise("", 0));
    assert_false(elf_recognise("\x7f"
                               "EL",
                               3));
    for (int is_64 = 0; is_64 < 2; is_64++) {
        elf_make(file, is_64);
        assert_true(elf_recognise(file, 4));
        file[0] = 0;
        expect_bad("is not an ELF file");
        elf_make(file, is_64);
        elf_put(file, 18, 183, 2); /* AArch64 */
        expect_bad(other);
        elf_put(file, 18, is_64 ? 3 : 62, 2);
        expect_bad(is_64
                       ? "is an ELF file of 64 bits for i386, which cannot be"
                       : "is an ELF file of 32 bits for x86-64 (x32); link it for x86-64 or i386");
        elf_make(file, is_64);
        file[5] = 2;
        expect_bad(other);
        elf_make(file, is_64);
        file[4] = 3;
        expect_bad(other);
        elf_make(file, is_64);
        elf_put(file, 16, 1, 2);
        expect_bad("is an ELF file but no executable; link it");
        elf_put(file, 16, 3, 2);
        assert_int_equal(parse(sizeof(file)), 0);
        elf_put(file, 16, 4, 2);
        expect_bad("is an ELF file of type 4, which is no executable");
        elf_make(file, is_64);
        elf_headers(file, is_64, 0);
        expect_bad("is an ELF file without program headers, which say what to load; link it as an "
                   "executable");
        elf_make(file, is_64);
        elf_put(file, is_64 ? 54 : 42, 40, 2);
        expect_bad("is an ELF file without program headers, which say what to load; link it as an "
                   "executable");
        elf_make(file, is_64);
        elf_ph_put(file, is_64, 0, PH_TYPE, 2);
        elf_ph_put(file, is_64, 1, PH_MEMSZ, 0);
        expect_bad("is an ELF file with nothing to load; link it as an executable");
    }
}

/* No byte behind the file's end is read, whatever it says. */
static void test_truncated(void **state)
{
    for (int is_64 = 0; is_64 < 2; is_64++) {
        elf_make(file, is_64);
        elf_add_pvh(file, is_64, ELF_ENTRY, 4);
        for (uint64_t size = 4; size < 0x2800; size += size < 0x400 ? 1 : 0x55) {
            assert_int_equal(parse(size), -EBADMSG);
            assert_non_null(strstr(error, "is a truncated ELF file: "));
            assert_non_null(strstr(error, "; copy it again"));
        }
        assert_int_equal(parse(0x2800), 0);
        assert_true(elf.has_pvh);
        elf_put(file, is_64 ? 32 : 28, ELF_FILE - elf_ph(is_64, 3) + elf_ph(is_64, 0) + 1, 4);
        expect_bad("is a truncated ELF file: its program headers lie after its 12288 bytes; copy "
                   "it again");
        elf_put(file, is_64 ? 32 : 28, UINT64_MAX, is_64 ? 8 : 4);
        expect_bad("is a truncated ELF file: its program headers lie after its 12288 bytes; copy "
                   "it again");
    }
}

static void test_segments(void **state)
{
    static const char outside[] =
        "is a truncated ELF file: a segment of it lies after its 12288 bytes; copy it again";

    for (int is_64 = 0; is_64 < 2; is_64++) {
        uint64_t most = is_64 ? UINT64_MAX : UINT32_MAX;

        elf_make(file, is_64);
        elf_ph_put(file, is_64, 1, PH_OFFSET, 0x2801);
        expect_bad(outside);
        elf_ph_put(file, is_64, 1, PH_OFFSET, most);
        expect_bad(outside);
        elf_make(file, is_64);
        elf_ph_put(file, is_64, 1, PH_FILESZ, most);
        expect_bad(outside);
        elf_make(file, is_64);
        elf_ph_put(file, is_64, 1, PH_MEMSZ, 0x7ff);
        expect_bad("is a broken ELF file: a segment of 0x7ff bytes at 0x202000 (0x800 in the file) "
                   "cannot be");
    }
    elf_make(file, true);
    elf_ph_put(file, true, 1, PH_PADDR, UINT64_MAX - 0x1fff);
    assert_int_equal(parse(sizeof(file)), -EBADMSG);
    elf_ph_put(file, true, 1, PH_PADDR, UINT64_MAX - 0x2000);
    assert_int_equal(parse(sizeof(file)), 0);
    elf_ph_put(file, true, 1, PH_VADDR, UINT64_MAX - 0x1fff); /* up to the last byte */
    assert_int_equal(parse(sizeof(file)), 0);
    elf_ph_put(file, true, 1, PH_VADDR, UINT64_MAX - 0x1ffe);
    assert_int_equal(parse(sizeof(file)), -EBADMSG);
    /* as many as there is room for */
    elf_make(file, true);
    for (unsigned i = 0; i < ELF_SEGMENTS + 1; i++) {
        elf_segment(file, true, i, 1, 0x1000, 0x200000 + i * 0x1000, 1, 1);
    }
    elf_headers(file, true, ELF_SEGMENTS);
    assert_int_equal(parse(sizeof(file)), 0);
    assert_int_equal(elf.count, ELF_SEGMENTS);
    elf_headers(file, true, ELF_SEGMENTS + 1);
    expect_bad("has more than 32 segments to load");
}

static void test_notes(void **state)
{
    for (int is_64 = 0; is_64 < 2; is_64++) {
        for (unsigned size = 1; size <= 8; size++) {
            elf_make(file, is_64);
            elf_add_pvh(file, is_64, 0x200123, size);
            assert_int_equal(parse(sizeof(file)), 0);
            assert_int_equal(elf.has_pvh, size == 4 || size == 8);
            assert_int_equal(elf.pvh_entry, elf.has_pvh ? 0x200123 : 0);
        }
        /* cut off, byte by byte */
        for (unsigned left = 0; left < 0x28 + 4; left++) {
            elf_make(file, is_64);
            elf_add_pvh(file, is_64, 0x200123, 4);
            memmove(file + ELF_FILE - left, file + 0x300, left);
            elf_ph_put(file, is_64, 2, PH_OFFSET, ELF_FILE - left);
            elf_ph_put(file, is_64, 2, PH_FILESZ, left);
            assert_int_equal(parse(sizeof(file)), 0);
            assert_false(elf.has_pvh);
        }
        /* another's note of the same type; a name or descriptor that goes beyond all bounds */
        elf_make(file, is_64);
        elf_add_pvh(file, is_64, 0x200123, 4);
        memcpy(file + 0x324, "Yen", 3);
        assert_int_equal(parse(sizeof(file)), 0);
        assert_false(elf.has_pvh);
        for (unsigned field = 0; field < 8; field += 4) {
            elf_make(file, is_64);
            elf_add_pvh(file, is_64, 0x200123, 4);
            elf_put(file, 0x300 + field, UINT32_MAX, 4);
            assert_int_equal(parse(sizeof(file)), 0);
            assert_false(elf.has_pvh);
        }
        /* a segment of notes outside the file */
        elf_make(file, is_64);
        elf_add_pvh(file, is_64, 0x200123, 4);
        elf_ph_put(file, is_64, 2, PH_OFFSET, ELF_FILE - 0x2b);
        assert_int_equal(parse(sizeof(file)), -EBADMSG);
    }
    /* padding to 8 bytes: the first note's 5 bytes end at 15h */
    elf_make(file, true);
    elf_add_pvh(file, true, 0x200123, 8);
    elf_ph_put(file, true, 2, PH_ALIGN, 8);
    assert_int_equal(parse(sizeof(file)), 0);
    assert_int_equal(elf.pvh_entry, 0x200123);
    elf_put(file, 0x304, 9, 4); /* 25 bytes: 28 or 32 with their padding */
    memmove(file + 0x320, file + 0x318, 0x18);
    elf_ph_put(file, true, 2, PH_FILESZ, 0x38);
    assert_int_equal(parse(sizeof(file)), 0);
    assert_int_equal(elf.pvh_entry, 0x200123);
    elf_ph_put(file, true, 2, PH_ALIGN, 4);
    assert_int_equal(parse(sizeof(file)), 0);
    assert_false(elf.has_pvh);
}

/* One note of the given name and bytes at f; what it takes, packed by 4. */
static unsigned put_note(uint8_t *f, const char *name, unsigned type, uint64_t value, unsigned size)
{
    unsigned name_size = (unsigned)strlen(name) + 1, at = (12 + name_size + 3) & ~3u;

    elf_put(f, 0, name_size, 4);
    elf_put(f, 4, size, 4);
    elf_put(f, 8, type, 4);
    strcpy((char *)f + 12, name);
    memset(f + at, 0x5a, size);
    elf_put(f, at, value, size < 8 ? size : 8);
    return (at + size + 3) & ~3u;
}

/* What linkers make of notes in a segment whose p_align is 8 or more: each input section keeps its
 * own padding, and most are packed by 4. */
static void test_notes_packed_by_4(void **state)
{
    for (unsigned align = 8; align <= 4096; align *= 8) {
        for (int layout = 0; layout < 4; layout++) {
            unsigned at = 0x300;

            elf_make(file, true);
            elf_add_pvh(file, true, 0, 4);
            memset(file + 0x300, 0, 0x100);
            if (layout == 0) { /* 14h, then the PVH note at 14h */
                at += put_note(file + at, "Xen", 6, 0x11223344, 4);
            } else if (layout == 1) { /* a build ID of 24h bytes, then at 24h */
                at += put_note(file + at, "GNU", 3, 0, 20);
            } else if (layout == 2) { /* padded to 8 in between, and packed behind */
                at += put_note(file + at, "GNU", 3, 0, 20);
                at += 4;
                at += put_note(file + at, "GNU", 5, 0, 16);
                at += put_note(file + at, "Xen", 6, 0, 4);
            } else { /* names that are padded to 8, too */
                at += put_note(file + at, "Linux", 256, 0, 4);
                at += put_note(file + at, "Linux", 257, 0, 4);
            }
            at += put_note(file + at, "Xen", 18, 0x200123, 4);
            elf_segment(file, true, 2, 4, 0x300, 0, at - 0x300, at - 0x300);
            elf_ph_put(file, true, 2, PH_ALIGN, align);
            assert_int_equal(parse(sizeof(file)), 0);
            assert_true(elf.has_pvh);
            assert_int_equal(elf.pvh_entry, 0x200123);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_classes),      cmocka_unit_test(test_entry),
        cmocka_unit_test(test_headers),           cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_segments),          cmocka_unit_test(test_notes),
        cmocka_unit_test(test_notes_packed_by_4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
