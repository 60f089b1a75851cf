/* links: arch/x86/mce.c arch/x86/lib/format.c */
/* What is done about a machine check, over fake banks: every combination of a bank's flags, and of
 * whom it has struck. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/mce.h"
#include "arch/x86/msr.h"

#define VAL    MCI_STATUS_VAL
#define UC     MCI_STATUS_UC
#define EN     MCI_STATUS_EN
#define PCC    MCI_STATUS_PCC
#define S      MCI_STATUS_S
#define AR     MCI_STATUS_AR
#define OVER   MCI_STATUS_OVER
#define PLACED (MCI_STATUS_ADDRV | MCI_STATUS_MISCV)
#define SRAO   (VAL | UC | EN | S | PLACED | 0xc0)
#define SRAR   (SRAO | AR)
#define DATA   ((SRAR & ~UINT64_C(0xffff)) | 0x134)
#define FETCH  ((SRAR & ~UINT64_C(0xffff)) | 0x150)

#define PHYSICAL 0x86 /* a physical address, of a line */
#define PAGE     UINT64_C(0x12345000)

#define RIPV MCG_STATUS_RIPV
#define EIPV MCG_STATUS_EIPV
#define MCIP MCG_STATUS_MCIP
#define LMCE MCG_STATUS_LMCE

static struct mce_state state;
static struct mce_result r;

static void none(uint64_t status)
{
    state = (struct mce_state){.cap = MCG_CAP_SER, .status = status, .count = 4};
}

static void bank(unsigned number, uint64_t status)
{
    state.bank[number] =
        (struct mce_bank){.status = status, .addr = PAGE + 0x340, .misc = PHYSICAL};
}

static void decide(uint64_t global, uint64_t status, enum mce_where where)
{
    none(global);
    bank(2, status);
    r = mce_decide(&state, where);
}

/* --- a bank --- */

/* The SDM's table of classes, from the flags up. */
static enum mce_kind expected(uint64_t s, bool ser)
{
    if (!(s & VAL))
        return MCE_NONE;
    if (s & PCC)
        return MCE_FATAL;
    if (!(s & UC))
        return MCE_CORRECTED;
    if (!ser)
        return MCE_FATAL;
    if ((s & (S | EN)) != (S | EN))
        return s & AR ? MCE_FATAL : MCE_UNUSED;
    if (s & OVER || (s & PLACED) != PLACED)
        return MCE_FATAL;
    return s & AR ? MCE_REQUIRED : MCE_OPTIONAL;
}

static void all_flags(void **unused)
{
    static const uint64_t flags[] = {VAL, OVER, UC, EN, MCI_STATUS_MISCV, MCI_STATUS_ADDRV,
                                     PCC, S,    AR};

    for (unsigned mix = 0; mix < 1u << ARRAY_SIZE(flags); mix++) {
        struct mce_bank b = {.status = 0x134, .addr = PAGE, .misc = PHYSICAL};

        for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
            if (mix >> i & 1)
                b.status |= flags[i];
        assert_int_equal(mce_kind_of(MCG_CAP_SER, &b), expected(b.status, true));
        assert_int_equal(mce_kind_of(0, &b), expected(b.status, false));
    }
}

static enum mce_kind with(uint64_t status, uint64_t misc)
{
    return mce_kind_of(MCG_CAP_SER, &(struct mce_bank){.status = status, .misc = misc});
}

/* A page is known by a physical address that is exact enough. */
static void which_page(void **unused)
{
    assert_int_equal(with(SRAO, 0x80 | 12), MCE_OPTIONAL);
    assert_int_equal(with(SRAO, 0x80 | 13), MCE_FATAL);
    for (unsigned mode = 0; mode < 8; mode++)
        assert_int_equal(with(DATA, mode << 6 | 6), mode == 2 ? MCE_REQUIRED : MCE_FATAL);
}

/* An instruction that wants data or code: whoever else requires action is unknown. */
static void which_code(void **unused)
{
    assert_int_equal(with(DATA, PHYSICAL), MCE_REQUIRED);
    assert_int_equal(with(FETCH, PHYSICAL), MCE_REQUIRED);
    assert_int_equal(with(SRAR, PHYSICAL), MCE_FATAL);
    assert_int_equal(with((DATA & ~UINT64_C(0xffff)) | 0x17a, PHYSICAL), MCE_FATAL);
}

/* --- a processor --- */

static void corrected(void **unused)
{
    static const enum mce_where all[] = {MCE_IN_ROOT, MCE_IN_GUEST, MCE_LOOK};

    for (unsigned i = 0; i < 3; i++) {
        none(RIPV | MCIP);
        bank(0, VAL | UINT64_C(7) << 38);
        bank(3, VAL);
        r = mce_decide(&state, all[i]);
        assert_false(r.stop);
        assert_int_equal(r.corrected, 8);
        assert_int_equal(r.clear, 9);
        assert_int_equal(r.optionals, 0);
        assert_true(r.required == MCE_NO_PAGE);
    }
    decide(RIPV | MCIP, VAL | UC | EN | PLACED, MCE_LOOK);
    assert_int_equal(r.unused, 1);
    assert_int_equal(r.clear, 4);
    assert_false(r.stop);
}

static void found_in_time(void **unused)
{
    decide(RIPV | MCIP, SRAO, MCE_IN_ROOT);
    assert_false(r.stop);
    assert_int_equal(r.optionals, 1);
    assert_int_equal(r.optional[0], PAGE);
    assert_int_equal(r.clear, 4);
    decide(RIPV | MCIP, SRAO, MCE_IN_GUEST);
    assert_false(r.stop);
    /* what was interrupted cannot go on, and it is not known to want that page */
    decide(EIPV | MCIP, SRAO, MCE_IN_GUEST);
    assert_true(r.stop);
    assert_int_equal(r.clear, 0);
    decide(EIPV | MCIP, SRAO, MCE_IN_ROOT);
    assert_true(r.stop);
    decide(0, SRAO, MCE_LOOK); /* #MC is on its way, and is to find it */
    assert_int_equal(r.optionals + r.clear, 0);
    /* two banks of one page, and more pages than anybody remembers */
    none(RIPV | MCIP);
    bank(0, SRAO);
    bank(1, SRAO);
    r = mce_decide(&state, MCE_IN_ROOT);
    assert_int_equal(r.optionals, 1);
    state.count = MCE_PAGES + 1;
    for (unsigned i = 0; i <= MCE_PAGES; i++) {
        bank(i, SRAO);
        state.bank[i].addr = PAGE + i * PAGE_SIZE;
    }
    assert_true(mce_decide(&state, MCE_IN_ROOT).stop);
    state.count = MCE_PAGES;
    r = mce_decide(&state, MCE_IN_ROOT);
    assert_false(r.stop);
    assert_int_equal(r.optionals, MCE_PAGES);
}

static void wanted(void **unused)
{
    static const uint64_t codes[] = {DATA, FETCH};

    for (unsigned i = 0; i < 2; i++) {
        decide(EIPV | MCIP, codes[i], MCE_IN_GUEST);
        assert_false(r.stop);
        assert_int_equal(r.required, PAGE);
        assert_int_equal(r.clear, 4);
        decide(RIPV | EIPV | MCIP | LMCE, codes[i], MCE_IN_GUEST);
        assert_false(r.stop);
        assert_int_equal(r.required, PAGE);
        /* Corbel's own instruction */
        decide(RIPV | EIPV | MCIP, codes[i], MCE_IN_ROOT);
        assert_true(r.stop);
        /* not this thread's: the bank is left for the one whose it is */
        decide(RIPV | MCIP, codes[i], MCE_IN_GUEST);
        assert_false(r.stop);
        assert_true(r.required == MCE_NO_PAGE);
        assert_int_equal(r.clear, 0);
        decide(RIPV | MCIP, codes[i], MCE_IN_ROOT);
        assert_false(r.stop);
        decide(MCIP, codes[i], MCE_IN_GUEST);
        assert_true(r.stop);
        decide(EIPV, codes[i], MCE_LOOK);
        assert_false(r.stop);
        assert_int_equal(r.clear, 0);
    }
    /* by one instruction, two pages */
    none(EIPV | MCIP);
    bank(0, DATA);
    bank(1, DATA);
    assert_false(mce_decide(&state, MCE_IN_GUEST).stop);
    state.bank[1].addr += PAGE_SIZE;
    assert_true(mce_decide(&state, MCE_IN_GUEST).stop);
}

static void the_end(void **unused)
{
    static const uint64_t fatal[] = {DATA | PCC, SRAO | OVER, DATA | OVER, SRAO | PCC,
                                     VAL | UC | EN | AR};

    for (unsigned i = 0; i < ARRAY_SIZE(fatal); i++) {
        decide(RIPV | EIPV | MCIP, fatal[i], MCE_IN_GUEST);
        assert_true(r.stop);
        assert_int_equal(r.worst, 2);
        assert_int_equal(r.clear, 0); /* firmware may want to tell of it */
        decide(RIPV | EIPV | MCIP, fatal[i], MCE_IN_ROOT);
        assert_true(r.stop);
        decide(0, fatal[i], MCE_LOOK); /* #MC is on its way */
        assert_false(r.stop);
        assert_int_equal(r.clear, 0);
    }
    none(RIPV | MCIP); /* the worst one counts */
    bank(0, VAL);
    bank(1, SRAO);
    bank(3, SRAO | PCC);
    r = mce_decide(&state, MCE_IN_GUEST);
    assert_true(r.stop);
    assert_int_equal(r.worst, 3);
}

/* #MC goes to all processors, most of which find nothing. */
static void nothing_here(void **unused)
{
    for (enum mce_where where = MCE_IN_ROOT; where <= MCE_IN_GUEST; where++) {
        decide(RIPV | MCIP, 0, where);
        assert_false(r.stop);
        assert_int_equal(r.worst, -1);
        decide(MCIP, 0, where);
        assert_true(r.stop);
        decide(RIPV, 0, where); /* no #MC at all */
        assert_true(r.stop);
        decide(RIPV | MCIP | LMCE, 0, where); /* to nobody else, then whose is it? */
        assert_true(r.stop);
    }
}

/* --- registers --- */

static uint64_t fake[0x500];
static unsigned writes;

static uint64_t fake_read(uint32_t msr)
{
    unsigned number = (msr - 0x400) / 4, field = msr % 4;

    assert_true(msr < ARRAY_SIZE(fake));
    if (msr >= 0x400 && field == 2)
        assert_true(fake[MSR_MCI_STATUS(number)] & MCI_STATUS_ADDRV); /* else #GP */
    if (msr >= 0x400 && field == 3)
        assert_true(fake[MSR_MCI_STATUS(number)] & MCI_STATUS_MISCV);
    return fake[msr];
}

static void fake_write(uint32_t msr, uint64_t value)
{
    assert_int_equal(value, 0);
    fake[msr] = 0;
    writes++;
}

static const struct mce_msrs msrs = {fake_read, fake_write};

static void registers(void **unused)
{
    memset(fake, 0, sizeof(fake));
    fake[MSR_MCG_CAP] = MCG_CAP_SER | 3;
    fake[MSR_MCG_STATUS] = RIPV | MCIP;
    fake[MSR_MCI_STATUS(0)] = VAL | UC | EN;
    fake[MSR_MCI_STATUS(1)] = SRAO;
    fake[MSR_MCI_ADDR(1)] = PAGE;
    fake[MSR_MCI_MISC(1)] = PHYSICAL;
    fake[MSR_MCI_STATUS(2)] = SRAO & ~VAL;
    fake[MSR_MCI_STATUS(3)] = SRAO | PCC; /* behind the last one */
    mce_read(&state, &msrs);
    assert_int_equal(state.count, 3);
    assert_int_equal(state.bank[1].addr, PAGE);
    assert_int_equal(state.bank[1].misc, PHYSICAL);
    r = mce_decide(&state, MCE_IN_ROOT);
    assert_false(r.stop);
    mce_clear(&r, MCE_LOOK, &msrs);
    assert_int_equal(writes, 2);
    assert_int_equal(fake[MSR_MCG_STATUS], RIPV | MCIP);
    mce_clear(&r, MCE_IN_ROOT, &msrs);
    assert_int_equal(fake[MSR_MCI_STATUS(0)] | fake[MSR_MCI_STATUS(1)], 0);
    assert_int_equal(fake[MSR_MCG_STATUS], 0);
    assert_true(fake[MSR_MCI_STATUS(3)]);
    /* the end keeps all of it */
    fake[MSR_MCG_STATUS] = MCIP;
    mce_read(&state, &msrs);
    r = mce_decide(&state, MCE_IN_ROOT);
    assert_true(r.stop);
    mce_clear(&r, MCE_IN_ROOT, &msrs);
    assert_int_equal(fake[MSR_MCG_STATUS], MCIP);
    fake[MSR_MCG_CAP] = 0xff; /* more than we keep */
    mce_read(&state, &msrs);
    assert_int_equal(state.count, MCE_BANKS);
}

static void words(void **unused)
{
    static const struct {
        uint64_t status;
        const char *text;
    } rows[] = {
        {DATA, "bank 7: not corrected: data in a cache (status bd80000000000134), wanted by the "
               "instruction, address 12345340, misc 86"},
        {FETCH, "code in a cache"},
        {SRAO, "memory, found by scrubbing"},
        {VAL | 0x9f, "bank 7: corrected: memory (status 800000000000009f)"},
        {VAL | 0x17a, "cache"},
        {VAL | 0x1136, "cache"},
        {VAL | 0x14, "TLB"},
        {VAL | 0x400, "internal timer"},
        {VAL | 0xe0b, "input and output"},
        {VAL | 0xc0f, "bus or interconnect"},
        {VAL | 0x285, "memory used as a cache"},
        {VAL | 5, "the processor itself"},
        {VAL | UC | PCC | OVER | 5, "processor context corrupt, others lost"},
    };
    char out[160], small[20];

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        bank(0, rows[i].status);
        mce_describe(7, &state.bank[0], out, sizeof(out));
        if (!strstr(out, rows[i].text))
            fail_msg("%s: %s", rows[i].text, out);
    }
    mce_describe(7, &(struct mce_bank){.status = DATA}, small, sizeof(small));
    assert_string_equal(small, "bank 7: not correct");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_flags), cmocka_unit_test(which_page),    cmocka_unit_test(which_code),
        cmocka_unit_test(corrected), cmocka_unit_test(found_in_time), cmocka_unit_test(wanted),
        cmocka_unit_test(the_end),   cmocka_unit_test(nothing_here),  cmocka_unit_test(registers),
        cmocka_unit_test(words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
