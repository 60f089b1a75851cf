/* links: guest/cpu/walk.c */
/* The page-table walk: every paging mode, every right, every reserved bit, and the error codes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/cpu/walk.h"

#define P    0x001ULL
#define W    0x002ULL
#define U    0x004ULL
#define PS   0x080ULL
#define NX   BIT(63)
#define RW_U (P | W | U)

#define PG   BIT(31)
#define WP   BIT(16)
#define PSE  BIT(4)
#define PAE  BIT(5)
#define LA57 BIT(12)
#define SMEP BIT(20)
#define SMAP BIT(21)
#define LMA  BIT(10)
#define NXE  BIT(11)
#define AC   BIT(18)

/* Tables lie in the first pages: root at 0x1000, then one page per level. */
#define ROOT 0x1000ULL
static uint64_t ram[8 * 512];
static struct walk_context c;

static int read_ram(void *opaque, uint64_t gpa, uint64_t *value)
{
    assert_int_equal(gpa & 7, 0);
    assert_ptr_equal(opaque, ram);
    if (gpa >= sizeof(ram))
        return -EFAULT;
    *value = ram[gpa / 8];
    return 0;
}

static void start(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    memset(ram, 0, sizeof(ram));
    c = (struct walk_context){.cr0 = cr0,
                              .cr3 = ROOT,
                              .cr4 = cr4,
                              .efer = efer,
                              .physical_bits = 40,
                              .opaque = ram,
                              .read = read_ram};
}

static uint64_t *entry(uint64_t table, unsigned index)
{
    return &ram[table / 8 + index];
}

/* 4-level: 0x1000 -> 0x2000 -> 0x3000 -> 0x4000 -> page, all for the same linear address. */
#define LINEAR 0x123456789abcULL
static uint64_t *chain[5];

static void start_long(unsigned levels, uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    start(PG | cr0, PAE | (levels == 5 ? LA57 : 0) | cr4, LMA | efer);
    for (unsigned i = 0; i < levels; i++) {
        unsigned shift = 12 + 9 * (levels - 1 - i);
        chain[i] = entry(ROOT + i * 0x1000, LINEAR >> shift & 511);
        *chain[i] = (i == levels - 1 ? 0x76543000ULL : ROOT + (i + 1) * 0x1000) | RW_U;
    }
}

static uint64_t translated(uint64_t linear, unsigned access)
{
    uint64_t gpa = ~0ULL;
    uint32_t error = 0x55;
    int result = guest_walk(&c, linear, access, &gpa, &error);
    if (result)
        fail_msg("%#lx faults with error code %#x", linear, error);
    return gpa;
}

static unsigned fault(uint64_t linear, unsigned access)
{
    uint64_t gpa = ~0ULL;
    uint32_t error = 0x55;
    assert_int_equal(guest_walk(&c, linear, access, &gpa, &error), -EFAULT);
    assert_int_equal(gpa, ~0ULL);
    return error;
}

static void test_paging_off(void **state)
{
    start(0, 0, 0);
    assert_int_equal(translated(0xfee00020, WALK_WRITE), 0xfee00020);
    assert_int_equal(translated(0x1fee00020, 0), 0xfee00020);
}

static void test_long_levels(void **state)
{
    for (unsigned levels = 4; levels <= 5; levels++) {
        start_long(levels, 0, 0, NXE);
        assert_int_equal(translated(LINEAR, WALK_USER | WALK_WRITE), 0x76543abc);
        c.cr3 |= BIT(63) | 0xfff; /* PCID and the no-flush bit are no part of the address */
        assert_int_equal(translated(LINEAR, WALK_USER | WALK_FETCH), 0x76543abc);
        for (unsigned i = 0; i < levels; i++) {
            *chain[i] ^= P;
            assert_int_equal(fault(LINEAR, 0), 0);
            assert_int_equal(fault(LINEAR, WALK_USER | WALK_WRITE), 6);
            assert_int_equal(fault(LINEAR, WALK_FETCH), 0x10);
            *chain[i] ^= P;
        }
        assert_int_equal(fault(LINEAR ^ BIT(63), 0), 0); /* not canonical */
        assert_int_equal(fault(LINEAR | BIT(levels == 4 ? 47 : 56), 0), 0);
        *chain[1] = 0x10000 | RW_U; /* a table outside RAM */
        assert_int_equal(fault(LINEAR, 0), 0);
    }
}

static void test_large_pages(void **state)
{
    start_long(4, 0, 0, 0);
    *chain[2] = 0x40200000 | PS | BIT(12) | RW_U; /* bit 12 is PAT */
    assert_int_equal(translated(LINEAR, 0), 0x40200000 | (LINEAR & 0x1fffff));
    *chain[2] |= BIT(13);
    assert_int_equal(fault(LINEAR, 0), 9);
    *chain[2] ^= BIT(13) | BIT(20);
    assert_int_equal(fault(LINEAR, WALK_WRITE | WALK_USER), 15);
    *chain[1] = 0x140000000 | PS | RW_U;
    assert_int_equal(translated(LINEAR, 0), 0x140000000 | (LINEAR & 0x3fffffff));
    *chain[1] |= BIT(29);
    assert_int_equal(fault(LINEAR, 0), 9);
    start_long(4, 0, 0, 0);
    *chain[3] |= PS; /* PAT in a 4 KiB page's entry */
    assert_int_equal(translated(LINEAR, 0), 0x76543abc);
    *chain[0] = PS | RW_U; /* there are no pages of 512 GiB */
    assert_int_equal(fault(LINEAR, 0), 9);
    start_long(5, 0, 0, 0);
    *chain[1] |= PS;
    assert_int_equal(fault(LINEAR, 0), 9);
}

static void test_reserved_bits(void **state)
{
    start_long(4, 0, 0, 0);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t good = *chain[i];
        for (unsigned bit = 40; bit < 64; bit++) {
            *chain[i] = good | BIT(bit);
            if (bit < 52 || bit == 63) /* without NXE, XD is reserved */
                assert_int_equal(fault(LINEAR, WALK_FETCH), 9);
            else
                assert_int_equal(translated(LINEAR, WALK_FETCH), 0x76543abc);
        }
        *chain[i] = good | BIT(40);
        c.physical_bits = 41;
        if (i == 3)
            assert_int_equal(translated(LINEAR, 0), 0x10076543abc);
        else
            assert_int_equal(fault(LINEAR, 0), 0); /* a table far away */
        c.physical_bits = 40;
        *chain[i] = good;
    }
    /* A reserved bit above comes before a missing entry below. */
    *chain[3] = 0;
    *chain[1] |= BIT(51);
    assert_int_equal(fault(LINEAR, 0), 9);
}

static void test_user_rights(void **state)
{
    for (unsigned i = 0; i < 4; i++) {
        start_long(4, 0, 0, NXE);
        *chain[i] &= ~U;
        assert_int_equal(fault(LINEAR, WALK_USER), 5);
        assert_int_equal(fault(LINEAR, WALK_USER | WALK_FETCH), 0x15);
        assert_int_equal(translated(LINEAR, WALK_WRITE), 0x76543abc);
        /* An implicit access of user code is a supervisor's. */
        assert_int_equal(translated(LINEAR, WALK_USER | WALK_IMPLICIT), 0x76543abc);
        *chain[i] |= U;
        *chain[i] &= ~W;
        assert_int_equal(fault(LINEAR, WALK_USER | WALK_WRITE), 7);
        assert_int_equal(translated(LINEAR, WALK_USER), 0x76543abc);
        assert_int_equal(translated(LINEAR, WALK_WRITE), 0x76543abc);
        c.cr0 |= WP;
        assert_int_equal(fault(LINEAR, WALK_WRITE), 3);
        *chain[i] |= W | NX;
        assert_int_equal(fault(LINEAR, WALK_USER | WALK_FETCH), 0x15);
        assert_int_equal(fault(LINEAR, WALK_FETCH), 0x11);
        assert_int_equal(translated(LINEAR, WALK_USER | WALK_WRITE), 0x76543abc);
    }
}

static void test_smep(void **state)
{
    start_long(4, 0, SMEP, 0);
    assert_int_equal(fault(LINEAR, WALK_FETCH), 0x11);
    assert_int_equal(translated(LINEAR, WALK_FETCH | WALK_USER), 0x76543abc);
    assert_int_equal(translated(LINEAR, 0), 0x76543abc);
    *chain[2] &= ~U; /* a supervisor page after all */
    assert_int_equal(translated(LINEAR, WALK_FETCH), 0x76543abc);
}

static void test_smap(void **state)
{
    start_long(4, WP, SMAP, 0);
    assert_int_equal(fault(LINEAR, 0), 1);
    assert_int_equal(fault(LINEAR, WALK_WRITE), 3);
    assert_int_equal(translated(LINEAR, WALK_FETCH), 0x76543abc);
    assert_int_equal(translated(LINEAR, WALK_USER), 0x76543abc);
    c.rflags = AC;
    assert_int_equal(translated(LINEAR, WALK_WRITE), 0x76543abc);
    assert_int_equal(fault(LINEAR, WALK_IMPLICIT), 1);
    *chain[3] &= ~W;
    assert_int_equal(fault(LINEAR, WALK_WRITE), 3);
    *chain[0] &= ~U;
    c.rflags = 0;
    assert_int_equal(translated(LINEAR, WALK_IMPLICIT), 0x76543abc);
}

static void test_pae(void **state)
{
    uint64_t linear = 0xc0605123;
    start(PG | WP, PAE, NXE);
    c.cr3 = 0xffffffff00001020;         /* aligned to 32 bytes; only 32 bits count */
    *entry(0x1000, 4 + 3) = 0x2000 | P; /* rights are not in the root */
    *entry(0x2000, 3) = 0x3000 | RW_U;
    *entry(0x3000, 5) = 0xff12345000 | RW_U;
    assert_int_equal(translated(linear, WALK_USER | WALK_WRITE), 0xff12345123);
    assert_int_equal(translated(linear | 0xabcd00000000, 0), 0xff12345123);
    *entry(0x3000, 5) |= NX;
    assert_int_equal(fault(linear, WALK_FETCH), 0x11);
    *entry(0x3000, 5) |= BIT(55); /* ignored by 4-level paging, reserved here */
    assert_int_equal(fault(linear, 0), 9);
    *entry(0x2000, 3) = 0xff00400000 | PS | P | W;
    assert_int_equal(translated(linear, WALK_WRITE), 0xff00405123);
    assert_int_equal(fault(linear, WALK_USER), 5);
    for (unsigned bit = 1; bit < 64; bit++) {
        *entry(0x1000, 7) = 0x2000 | P | BIT(bit);
        if (bit == 1 || bit == 2 || (bit >= 5 && bit <= 8) || bit >= 40)
            assert_int_equal(fault(linear, 0), 9);
    }
    *entry(0x1000, 7) = 0;
    assert_int_equal(fault(linear, WALK_FETCH), 0x10);
}

static void test_32_bit(void **state)
{
    uint64_t linear = 0xc0c05123;
    uint32_t *directory = (uint32_t *)entry(0x1000, 0), *table = (uint32_t *)entry(0x2000, 0);
    start(PG | WP, PSE, NXE);
    directory[0x303] = 0x2000 | RW_U;
    table[5] = 0xfec00000 | P | W;
    assert_int_equal(translated(linear, WALK_WRITE), 0xfec00123);
    assert_int_equal(fault(linear, WALK_USER), 5);
    assert_int_equal(fault(linear, WALK_USER | WALK_FETCH),
                     5); /* no NX, no SMEP: fetches are reads */
    c.cr4 |= SMEP;
    assert_int_equal(fault(linear, WALK_USER | WALK_FETCH), 0x15);
    table[5] = 0xfec00000 | P | U;
    assert_int_equal(fault(linear, WALK_USER | WALK_WRITE), 7);
    table[5] = 0;
    assert_int_equal(fault(linear, 0), 0);
    table[6] = 0x7000 | RW_U; /* an even and an odd entry */
    assert_int_equal(translated(linear + 0x1000, 0), 0x7123);

    directory[0x303] = 0x00c00000 | 0x80 << 13 | PS | RW_U; /* PSE-36: bit 20 is address bit 39 */
    assert_int_equal(translated(linear, 0), 0x8000000000 | 0xc05123);
    c.physical_bits = 36;
    assert_int_equal(fault(linear, 0), 9);
    directory[0x303] = 0x00c00000 | 1 << 17 | PS | RW_U;
    assert_int_equal(fault(linear, 0), 9);
    directory[0x303] = 0x00c00000 | 1 << 16 | PS | RW_U;
    assert_int_equal(translated(linear, 0), 0x800000000 | 0xc05123);
    directory[0x303] = 0x00c00000 | 1 << 21 | PS | RW_U;
    assert_int_equal(fault(linear, WALK_WRITE), 11);
    c.cr4 &= ~PSE; /* then PS is ignored */
    directory[0x303] = 0x2000 | PS | RW_U;
    assert_int_equal(translated(linear + 0x1000, 0), 0x7123);
    c.physical_bits = 0; /* nonsense must not hurt */
    assert_int_equal(translated(linear + 0x1000, 0), 0x7123);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paging_off),  cmocka_unit_test(test_long_levels),
        cmocka_unit_test(test_large_pages), cmocka_unit_test(test_reserved_bits),
        cmocka_unit_test(test_user_rights), cmocka_unit_test(test_smep),
        cmocka_unit_test(test_smap),        cmocka_unit_test(test_pae),
        cmocka_unit_test(test_32_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
