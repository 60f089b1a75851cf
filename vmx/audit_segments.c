/* SDM volume 3, "Checks on Guest Segment Registers". */
#include "vmx/audit_internal.h"

#define ACCESS_TYPE(access) ((access)&15)
#define ACCESS_S            BIT(4)
#define ACCESS_DPL(access)  ((access) >> 5 & 3)
#define ACCESS_P            BIT(7)
#define ACCESS_L            BIT(13)
#define ACCESS_DB           BIT(14)
#define ACCESS_G            BIT(15)
#define SELECTOR_TI         BIT(2)

/* In the order of the VMCS encodings, which are 2 apart in each group. */
enum segment { ES, CS, SS, DS, FS, GS, LDTR, TR };

#define SELECTOR(s) ((enum vmcs_field)(VMCS_GUEST_ES_SELECTOR + 2 * (s)))
#define BASE(s)     ((enum vmcs_field)(VMCS_GUEST_ES_BASE + 2 * (s)))
#define LIMIT(s)    ((enum vmcs_field)(VMCS_GUEST_ES_LIMIT + 2 * (s)))
#define ACCESS(s)   ((enum vmcs_field)(VMCS_GUEST_ES_ACCESS + 2 * (s)))

static uint32_t access_of(const struct vmcs_audit *a, enum segment s)
{
    return (uint32_t)audit_get(a, ACCESS(s));
}

static bool usable(const struct vmcs_audit *a, enum segment s)
{
    return !(access_of(a, s) & SEGMENT_UNUSABLE);
}

static void check_virtual_8086(struct vmcs_audit *a)
{
    for (enum segment s = ES; s <= GS; s++) {
        CHECK(audit_get(a, BASE(s)) == audit_get(a, SELECTOR(s)) << 4, BASE(s),
              "in virtual-8086 mode it must be the selector times 16");
        CHECK(audit_get(a, LIMIT(s)) == 0xffff, LIMIT(s), "in virtual-8086 mode it must be 0xffff");
        CHECK(access_of(a, s) == 0xf3, ACCESS(s), "in virtual-8086 mode they must be 0xf3");
    }
}

static void check_bases(struct vmcs_audit *a)
{
    audit_canonical(a, BASE(FS));
    audit_canonical(a, BASE(GS));
    CHECK(audit_get(a, BASE(CS)) >> 32 == 0, BASE(CS), "bits 63:32 must be 0");
    for (enum segment s = ES; s <= DS; s++)
        if (s != CS && usable(a, s))
            CHECK(audit_get(a, BASE(s)) >> 32 == 0, BASE(s), "bits 63:32 must be 0");
}

static void check_granularity(struct vmcs_audit *a, enum segment s)
{
    uint64_t limit = audit_get(a, LIMIT(s));
    bool pages = access_of(a, s) & ACCESS_G;

    CHECK((limit & 0xfff) == 0xfff || !pages, ACCESS(s), "G must be 0 with limit 0x%x",
          (unsigned)limit);
    CHECK(limit >> 20 == 0 || pages, ACCESS(s), "G must be 1 with limit 0x%x", (unsigned)limit);
}

/* What holds for every usable segment register. */
static void check_common(struct vmcs_audit *a, enum segment s, bool system)
{
    uint32_t access = access_of(a, s);

    CHECK(!(access & ACCESS_S) == system, ACCESS(s), "S must be %d", !system);
    CHECK(access & ACCESS_P, ACCESS(s), "P must be 1");
    CHECK((access & 0xf00) == 0, ACCESS(s), "bits 11:8 must be 0");
    CHECK(access >> 17 == 0, ACCESS(s), "bits 31:17 must be 0");
    check_granularity(a, s);
}

static void check_code(struct vmcs_audit *a, bool unrestricted)
{
    uint32_t access = access_of(a, CS), dpl = ACCESS_DPL(access),
             ss_dpl = ACCESS_DPL(access_of(a, SS));

    check_common(a, CS, false);
    switch (ACCESS_TYPE(access)) {
    case 3:
        CHECK(unrestricted, ACCESS(CS), "a data segment needs unrestricted guest");
        CHECK(dpl == 0, ACCESS(CS), "DPL of a data segment must be 0");
        break;
    case 9:
    case 11:
        CHECK(dpl == ss_dpl, ACCESS(CS), "DPL must equal SS.DPL, which is %u", ss_dpl);
        break;
    case 13:
    case 15:
        CHECK(dpl <= ss_dpl, ACCESS(CS), "DPL must not be above SS.DPL, which is %u", ss_dpl);
        break;
    default:
        audit_fail(a, ACCESS(CS), "type %u is no accessed code segment", ACCESS_TYPE(access));
    }
    if (audit_get(a, VMCS_ENTRY_CONTROLS) & ENTRY_IA32E_GUEST && access & ACCESS_L)
        CHECK(!(access & ACCESS_DB), ACCESS(CS), "D must be 0 in 64-bit mode");
}

static void check_stack(struct vmcs_audit *a, bool unrestricted)
{
    uint32_t access = access_of(a, SS), dpl = ACCESS_DPL(access), type = ACCESS_TYPE(access);

    if (usable(a, SS)) {
        check_common(a, SS, false);
        CHECK(type == 3 || type == 7, ACCESS(SS), "type %u is no accessed writable data segment",
              type);
    }
    CHECK(unrestricted || dpl == (audit_get(a, SELECTOR(SS)) & 3), ACCESS(SS),
          "DPL must equal the selector's RPL");
    if (ACCESS_TYPE(access_of(a, CS)) == 3 || !(audit_get(a, VMCS_GUEST_CR0) & CR0_PE))
        CHECK(dpl == 0, ACCESS(SS), "DPL must be 0 in real mode or with a data segment in CS");
}

static void check_data(struct vmcs_audit *a, enum segment s, bool unrestricted)
{
    uint32_t access = access_of(a, s), type = ACCESS_TYPE(access);

    if (!usable(a, s))
        return;
    check_common(a, s, false);
    CHECK(type & 1, ACCESS(s), "type %u is not accessed", type);
    CHECK(!(type & 8) || type & 2, ACCESS(s), "type %u is a code segment that cannot be read",
          type);
    if (!unrestricted && type < 12)
        CHECK(ACCESS_DPL(access) >= (audit_get(a, SELECTOR(s)) & 3), ACCESS(s),
              "DPL is below the selector's RPL");
}

static void check_task(struct vmcs_audit *a)
{
    uint32_t type = ACCESS_TYPE(access_of(a, TR));

    CHECK(!(audit_get(a, SELECTOR(TR)) & SELECTOR_TI), SELECTOR(TR), "TI must be 0");
    audit_canonical(a, BASE(TR));
    check_common(a, TR, true);
    CHECK(usable(a, TR), ACCESS(TR), "must be usable");
    if (audit_get(a, VMCS_ENTRY_CONTROLS) & ENTRY_IA32E_GUEST)
        CHECK(type == 11, ACCESS(TR), "type must be 11 (64-bit busy TSS)");
    else
        CHECK(type == 3 || type == 11, ACCESS(TR), "type must be 3 or 11 (busy TSS)");
}

static void check_local_table(struct vmcs_audit *a)
{
    if (!usable(a, LDTR))
        return;
    CHECK(!(audit_get(a, SELECTOR(LDTR)) & SELECTOR_TI), SELECTOR(LDTR), "TI must be 0");
    audit_canonical(a, BASE(LDTR));
    check_common(a, LDTR, true);
    CHECK(ACCESS_TYPE(access_of(a, LDTR)) == 2, ACCESS(LDTR), "type must be 2 (LDT)");
}

void audit_segments(struct vmcs_audit *a)
{
    bool unrestricted = audit_secondary(a) & SEC_UNRESTRICTED_GUEST;

    if (audit_get(a, VMCS_GUEST_RFLAGS) & BIT(17)) {
        check_virtual_8086(a);
    } else {
        CHECK(unrestricted || ((audit_get(a, SELECTOR(SS)) ^ audit_get(a, SELECTOR(CS))) & 3) == 0,
              SELECTOR(SS), "RPL must equal that of CS");
        check_bases(a);
        check_code(a, unrestricted);
        check_stack(a, unrestricted);
        for (enum segment s = ES; s <= GS; s++)
            if (s != CS && s != SS)
                check_data(a, s, unrestricted);
    }
    check_task(a);
    check_local_table(a);
}
