#include "arch/x86/branches.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define PREFIX_CS 0x2e
#define OPCODE    0xff
#define REX_B     1
#define RIP       5 /* ModRM.rm with mod 0: RIP-relative */
#define SIB       4 /* ModRM.rm: a SIB byte follows; in it the base is RSP */
#define NEAR      5 /* bytes of a direct branch */
#define CODE      (BRANCH_STUB / 2)

enum group5 { GROUP5_CALL = 2, GROUP5_JMP = 4, GROUP5_PUSH = 6 };

/* One indirect branch, taken apart. */
struct branch {
    uint8_t prefixes; /* CS: */
    uint8_t length;   /* with them */
    bool call, relative, stack;
    uint8_t rex; /* 0: none */
    uint8_t mod, rm, sib;
    int32_t displacement;
};

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, 4);
    return v;
}

/* SDM, "Instruction Format": [prefixes] [REX] FF /2 or /4. Other prefixes are nobody's here. */
static int decode(const uint8_t *p, size_t size, struct branch *b)
{
    size_t n = 0, displacement;

    memset(b, 0, sizeof(*b));
    while (n < size && n < NEAR && p[n] == PREFIX_CS)
        n++;
    b->prefixes = (uint8_t)n;
    if (n < size && (p[n] & 0xf0) == 0x40)
        b->rex = p[n++];
    if (size - n < 2 || p[n++] != OPCODE)
        return -EINVAL;
    b->mod = p[n] >> 6;
    b->rm = p[n] & 7;
    if ((p[n] >> 3 & 7) != GROUP5_CALL && (p[n] >> 3 & 7) != GROUP5_JMP)
        return -EINVAL;
    b->call = (p[n++] >> 3 & 7) == GROUP5_CALL;
    displacement = b->mod == 1 ? 1 : b->mod == 2 ? 4 : 0;
    if (b->mod != 3 && b->rm == SIB) {
        if (n == size)
            return -EINVAL;
        b->sib = p[n++];
        b->stack = (b->sib & 7) == SIB && !(b->rex & REX_B);
        if (b->mod == 0 && (b->sib & 7) == RIP)
            displacement = 4;
    }
    b->relative = b->mod == 0 && b->rm == RIP;
    if (b->relative)
        displacement = 4;
    if (size - n < displacement)
        return -EINVAL;
    if (displacement == 1)
        b->displacement = (int8_t)p[n];
    else if (displacement == 4)
        b->displacement = (int32_t)get32(p + n);
    b->length = (uint8_t)(n + displacement);
    /* RSP itself is where nobody goes. */
    if (b->length < NEAR || (b->mod == 3 && b->rm == SIB && !(b->rex & REX_B)))
        return -EINVAL;
    return 0;
}

/*
 * The same operand for another instruction of the opcode's, at address `here`: on the stack
 * `pushed` bytes lie on top of what there was. Returns its length.
 */
static size_t put_operand(uint8_t *out, const struct branch *b, enum group5 what, uint64_t target,
                          uint64_t here, int32_t pushed)
{
    int32_t displacement = b->displacement + (b->stack ? pushed : 0);
    uint8_t mod = b->stack ? 2 : b->mod;
    size_t n = 0;

    if (b->rex)
        out[n++] = b->rex;
    out[n++] = OPCODE;
    out[n++] = (uint8_t)(mod << 6 | (uint8_t)what << 3 | b->rm);
    if (b->mod != 3 && b->rm == SIB)
        out[n++] = b->sib;
    if (b->relative)
        displacement = (int32_t)(target - (here + n + 4));
    if (mod == 1) {
        out[n++] = (uint8_t)displacement;
    } else if (mod == 2 || b->relative || (mod == 0 && b->rm == SIB && (b->sib & 7) == RIP)) {
        memcpy(out + n, &displacement, 4);
        n += 4;
    }
    return n;
}

/* Two branches for which one stub does; target: of a RIP-relative one. */
struct stub {
    struct branch b;
    uint64_t target;
};

static bool same_stub(const struct stub *x, const struct stub *y)
{
    return x->b.call == y->b.call && x->b.rex == y->b.rex && x->b.mod == y->b.mod &&
           x->b.rm == y->b.rm && x->b.sib == y->b.sib && x->b.relative == y->b.relative &&
           (x->b.relative ? x->target == y->target : x->b.displacement == y->b.displacement);
}

/*
 *         call    1f              one more on the stack of returns
 * 0:      pause                   where a prediction leads
 *         lfence
 *         jmp     0b
 * 1:      push    OPERAND
 *         pop     [rsp]           over the return address
 *         ret
 */
static void put_retpoline(uint8_t *out, const struct stub *s, uint64_t address)
{
    static const uint8_t before[] = {0xe8, 7, 0, 0, 0, 0xf3, 0x90, 0x0f, 0xae, 0xe8, 0xeb, 0xf9};
    static const uint8_t after[] = {0x8f, 0x04, 0x24, 0xc3};
    size_t n = sizeof(before);

    memcpy(out, before, sizeof(before));
    n += put_operand(out + n, &s->b, GROUP5_PUSH, s->target, address + n, s->b.call ? 16 : 8);
    memcpy(out + n, after, sizeof(after));
}

static void put_stub(const struct branch_text *t, unsigned place, const struct stub *s,
                     enum branch_kind kind)
{
    size_t offset = t->stubs + place * BRANCH_STUB + CODE;

    if (kind == BRANCH_RETPOLINE)
        put_retpoline(t->bytes + offset, s, t->address + offset);
    else
        (void)put_operand(t->bytes + offset, &s->b, GROUP5_JMP, s->target, t->address + offset,
                          s->b.call ? 8 : 0);
}

/* A direct branch of the same length, which returns to where the other one did. */
static void put_branch(const struct branch_text *t, uint32_t site, const struct branch *b,
                       unsigned place)
{
    uint8_t *p = t->bytes + site;
    size_t padding = b->call ? (size_t)(b->length - NEAR) : 0;
    uint32_t to = (uint32_t)(t->stubs + place * BRANCH_STUB + CODE);
    uint32_t distance = to - (uint32_t)(site + padding + NEAR);

    memset(p, PREFIX_CS, padding);
    p[padding] = b->call ? 0xe8 : 0xe9;
    memcpy(p + padding + 1, &distance, 4);
}

struct plan {
    struct stub stub[BRANCH_STUBS];
    unsigned used;
};

/* Which place the branch's stub has, or will have. */
static int place_of(struct plan *plan, const struct branch_text *t, uint32_t site, struct branch *b)
{
    struct stub s;

    if (site >= t->size || decode(t->bytes + site, t->size - site, b) < 0)
        return -EINVAL;
    s = (struct stub){*b, t->address + site + b->length + (uint64_t)(int64_t)b->displacement};
    for (unsigned i = 0; i < plan->used; i++)
        if (same_stub(&plan->stub[i], &s))
            return (int)i;
    if (plan->used == BRANCH_STUBS)
        return -ENOMEM;
    plan->stub[plan->used] = s;
    return (int)plan->used++;
}

/* Not on a stack of 16 KiB; used by one processor, once. */
static struct plan plan;

/* Branches in their order, none in another and none among the stubs. */
int branches_count(const struct branch_text *t, const uint32_t *sites, uint32_t count)
{
    size_t stubs_end = t->stubs + BRANCH_STUBS * BRANCH_STUB, end = 0;
    struct branch b;

    plan.used = 0;
    if (t->stubs % BRANCH_STUB || stubs_end > t->size)
        return -EINVAL;
    for (uint32_t i = 0; i < count; i++) {
        int place = place_of(&plan, t, sites[i], &b);

        if (place < 0)
            return place;
        if (sites[i] < end || (sites[i] + b.length > t->stubs && sites[i] < stubs_end))
            return -EINVAL;
        end = sites[i] + b.length;
    }
    return (int)plan.used;
}

int branches_patch(const struct branch_text *t, const uint32_t *sites, uint32_t count,
                   enum branch_kind kind)
{
    struct branch b;
    int used = branches_count(t, sites, count);

    if (used < 0)
        return used;
    for (unsigned i = 0; i < plan.used; i++)
        put_stub(t, i, &plan.stub[i], kind);
    for (uint32_t i = 0; i < count; i++)
        put_branch(t, sites[i], &b, (unsigned)place_of(&plan, t, sites[i], &b));
    return 0;
}

void branch_put_jump(const struct branch_text *t, size_t from, size_t to)
{
    uint32_t distance = (uint32_t)(to - (from + NEAR));

    t->bytes[from] = 0xe9;
    memcpy(t->bytes + from + 1, &distance, 4);
}
