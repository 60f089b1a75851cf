#include "arch/x86/mce.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/msr.h"

/* Codes of the errors after which a guest can be ended in place of the machine: the others say
 * nothing of whose they are. */
#define CODE_DATA  0x134u /* a load: level 0 of the data cache */
#define CODE_FETCH 0x150u

#define ADDRESS_BITS 0x000fffffffffffffULL

/* IA32_MCi_MISC */
#define MISC_LSB(misc)  ((unsigned)(misc)&0x3f) /* the first bit of the address that is valid */
#define MISC_MODE(misc) ((unsigned)((misc) >> 6) & 7)
#define MODE_PHYSICAL   2

static bool has_page(const struct mce_bank *b)
{
    return b->status & MCI_STATUS_ADDRV && b->status & MCI_STATUS_MISCV &&
           MISC_MODE(b->misc) == MODE_PHYSICAL && MISC_LSB(b->misc) <= 12;
}

static uint64_t page_of(const struct mce_bank *b)
{
    return ALIGN_DOWN(b->addr & ADDRESS_BITS, PAGE_SIZE);
}

/* Without software error recovery, bits 56 and 55 are anything, and what is not corrected is fatal
 * (SDM, "Machine-Check Error Codes", "Recovery of Uncorrected Recoverable (UCR) Errors"). */
enum mce_kind mce_kind_of(uint64_t cap, const struct mce_bank *b)
{
    uint64_t s = b->status;
    unsigned code = s & MCI_STATUS_CODE;

    if (!(s & MCI_STATUS_VAL))
        return MCE_NONE;
    if (s & MCI_STATUS_PCC)
        return MCE_FATAL;
    if (!(s & MCI_STATUS_UC))
        return MCE_CORRECTED;
    if (!(cap & MCG_CAP_SER))
        return MCE_FATAL;
    if (!(s & MCI_STATUS_S) || !(s & MCI_STATUS_EN))
        return s & MCI_STATUS_AR ? MCE_FATAL : MCE_UNUSED;
    if (s & MCI_STATUS_OVER || !has_page(b))
        return MCE_FATAL;
    if (!(s & MCI_STATUS_AR))
        return MCE_OPTIONAL;
    return code == CODE_DATA || code == CODE_FETCH ? MCE_REQUIRED : MCE_FATAL;
}

static void add_optional(struct mce_result *r, uint64_t page)
{
    for (unsigned i = 0; i < r->optionals; i++)
        if (r->optional[i] == page)
            return;
    if (r->optionals == MCE_PAGES)
        r->stop = true;
    else
        r->optional[r->optionals++] = page;
}

/* The exception itself. One that was sent to all processors says here that it is somebody else's.
 */
static bool cannot_go_on(const struct mce_state *s, enum mce_where where,
                         const struct mce_result *r)
{
    bool required = r->required != MCE_NO_PAGE;
    uint64_t status = s->status;

    if (where == MCE_LOOK)
        return false;
    if (!(status & MCG_STATUS_MCIP))
        return true;
    if (status & MCG_STATUS_LMCE && !required && !r->optionals)
        return true; /* and nothing says what it was */
    /* Root mode goes on where it was; a guest only ends by an instruction of its own. */
    return !(status & MCG_STATUS_RIPV) && (where == MCE_IN_ROOT || !required);
}

static void take(struct mce_result *r, const struct mce_state *s, unsigned i, enum mce_where where)
{
    const struct mce_bank *b = &s->bank[i];
    unsigned count;

    r->clear |= BIT(i);
    switch (mce_kind_of(s->cap, b)) {
    case MCE_CORRECTED:
        count = MCI_STATUS_COUNT(b->status);
        r->corrected += count ? count : 1;
        break;
    case MCE_UNUSED:
        r->unused++;
        break;
    case MCE_OPTIONAL:
        if (where == MCE_LOOK)
            r->clear &= ~BIT(i); /* #MC is on its way */
        else
            add_optional(r, page_of(b));
        break;
    case MCE_REQUIRED:
        if (where == MCE_LOOK || !(s->status & MCG_STATUS_EIPV)) {
            r->clear &= ~BIT(i); /* another processor's, which is to find it there */
            break;
        }
        if (where == MCE_IN_ROOT || (r->required != MCE_NO_PAGE && r->required != page_of(b)))
            r->stop = true;
        r->required = page_of(b);
        break;
    case MCE_FATAL:
        r->stop |= where != MCE_LOOK;
        r->clear &= ~BIT(i); /* it may be the next start that tells of it */
        break;
    default:
        r->clear &= ~BIT(i);
    }
}

struct mce_result mce_decide(const struct mce_state *s, enum mce_where where)
{
    struct mce_result r = {.worst = -1, .required = MCE_NO_PAGE};
    enum mce_kind worst = MCE_NONE;

    for (unsigned i = 0; i < s->count; i++) {
        enum mce_kind kind = mce_kind_of(s->cap, &s->bank[i]);

        if (kind > worst) {
            worst = kind;
            r.worst = (int)i;
        }
        take(&r, s, i, where);
    }
    r.stop |= cannot_go_on(s, where, &r);
    if (r.stop)
        r.clear = 0;
    return r;
}

/* --- registers --- */

void mce_read(struct mce_state *s, const struct mce_msrs *m)
{
    s->cap = m->read(MSR_MCG_CAP);
    s->status = m->read(MSR_MCG_STATUS);
    s->count = MIN((unsigned)s->cap & MCG_CAP_BANKS, MCE_BANKS);
    for (unsigned i = 0; i < s->count; i++) {
        struct mce_bank *b = &s->bank[i];

        *b = (struct mce_bank){.status = m->read(MSR_MCI_STATUS(i))};
        if (!(b->status & MCI_STATUS_VAL))
            continue; /* the others may not be there, nor be meant */
        if (b->status & MCI_STATUS_ADDRV)
            b->addr = m->read(MSR_MCI_ADDR(i));
        if (b->status & MCI_STATUS_MISCV)
            b->misc = m->read(MSR_MCI_MISC(i));
    }
}

void mce_clear(const struct mce_result *r, enum mce_where where, const struct mce_msrs *m)
{
    for (unsigned i = 0; i < MCE_BANKS; i++)
        if (r->clear & BIT(i))
            m->write(MSR_MCI_STATUS(i), 0);
    if (where != MCE_LOOK && !r->stop)
        m->write(MSR_MCG_STATUS, 0); /* the next #MC before that would be the machine's end */
}

/* --- in words --- */

static const char *code_text(unsigned code)
{
    code &= ~0x1000u; /* F: corrected errors are not all told */
    if (code & 0x800)
        return code & 0xc00 && code == 0xe0b ? "input and output" : "bus or interconnect";
    if ((code & 0xff80) == 0x280)
        return "memory used as a cache";
    if (code & 0x100)
        return code == CODE_DATA    ? "data in a cache"
               : code == CODE_FETCH ? "code in a cache"
                                    : "cache";
    if (code & 0x80)
        return (code & 0x70) == 0x40 ? "memory, found by scrubbing" : "memory";
    if (code == 0x400)
        return "internal timer";
    if (code & 0x10)
        return "TLB";
    if ((code & 0xc) == 0xc)
        return "cache";
    return "the processor itself";
}

static const struct {
    uint64_t bit;
    const char *text;
} flags[] = {
    {MCI_STATUS_PCC, ", processor context corrupt"},
    {MCI_STATUS_OVER, ", others lost"},
    {MCI_STATUS_AR, ", wanted by the instruction"},
};

void mce_describe(unsigned number, const struct mce_bank *bank, char *out, size_t size)
{
    uint64_t s = bank->status;
    size_t at = 0;

    at += (size_t)format(out, size, "bank %u: %s: %s (status %lx)", number,
                         s & MCI_STATUS_UC ? "not corrected" : "corrected",
                         code_text(s & MCI_STATUS_CODE), (unsigned long)s);
    for (unsigned i = 0; i < ARRAY_SIZE(flags) && at < size; i++)
        if (s & flags[i].bit)
            at += (size_t)format(out + at, size - at, "%s", flags[i].text);
    if (s & MCI_STATUS_ADDRV && at < size)
        at += (size_t)format(out + at, size - at, ", address %lx", (unsigned long)bank->addr);
    if (s & MCI_STATUS_MISCV && at < size)
        format(out + at, size - at, ", misc %lx", (unsigned long)bank->misc);
}
