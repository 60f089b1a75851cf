/* A string instruction's offsets wrap at its address size: in real mode at 64 KiB, with an
 * address-size prefix in 64-bit mode at 4 GiB. An element that reaches over the segment's limit
 * faults, and what was done before it stays done. */
#include "guest.h"

#define LOW     0x30000ULL
#define SCRATCH (COM1 + 7)
#define PCI     0xcf8

extern uint8_t wrap_code[], wrap_end[], wrap_input[], wrap_output[];

enum what { OUTSB, INSB, STD_OUTSB, STD_INSB, OUTSD, INSW, ES_OUTSB, A32_OUTSB, SS_OUTSW, OUTSW };

static struct input {
    uint32_t esi, edi, ecx, edx;
    uint16_t es, ds;
} in;
static struct {
    uint32_t esi, edi, ecx;
} out;

static int run(enum what what)
{
    int (*code)(unsigned) = (int (*)(unsigned))LOW;

    memcpy((void *)(LOW + (uint64_t)(wrap_input - wrap_code)), &in, sizeof(in));
    int vector = code(what);
    memcpy(&out, (void *)(LOW + (uint64_t)(wrap_output - wrap_code)), sizeof(out));
    return vector;
}

static uint8_t pattern(uint64_t address)
{
    return (uint8_t)(address * 5 + (address >> 8) * 3 + (address >> 16));
}

static void fill(void)
{
    for (uint64_t a = 0xf000; a < 0x22000; a++)
        *(volatile uint8_t *)a = pattern(a);
    outb(SCRATCH, 0xee);
}

/* Only these two ranges have changed, to the scratch register's value. */
static void check_written(const char *what, uint64_t a, uint64_t a_end, uint64_t b, uint64_t b_end)
{
    for (uint64_t i = 0xf000; i < 0x22000; i++) {
        bool inside = (i >= a && i < a_end) || (i >= b && i < b_end);
        uint8_t is = *(volatile uint8_t *)i, expected = inside ? 0xee : pattern(i);
        CHECK(is == expected, "%s: %lx is %x, not %x", what, i, is, expected);
    }
}

static void in_real_mode(void)
{
    fill();
    in = (struct input){.esi = 0xabcdfff8, .ecx = 0x77770010, .edx = SCRATCH, .ds = 0x1000};
    CHECK(run(OUTSB) == -1 && out.esi == 0xabcd0008 && out.ecx == 0x77770000,
          "rep outsb: esi %x, ecx %x", out.esi, out.ecx);
    CHECK(inb(SCRATCH) == pattern(0x10007), "rep outsb ended with %x, not %x", inb(SCRATCH),
          pattern(0x10007));
    in.esi = 7, in.ecx = 16;
    CHECK(run(STD_OUTSB) == -1 && out.esi == 0xfff7 && out.ecx == 0, "std; rep outsb: esi %x",
          out.esi);
    CHECK(inb(SCRATCH) == pattern(0x1fff8), "std; rep outsb ended with %x", inb(SCRATCH));
    in.esi = 0xfffc, in.ecx = 8, in.es = 0x1000, in.ds = 0x2000;
    CHECK(run(ES_OUTSB) == -1 && inb(SCRATCH) == pattern(0x10003), "es rep outsb ended with %x",
          inb(SCRATCH));

    outb(SCRATCH, 0xee);
    in = (struct input){.edi = 0xfff8, .ecx = 16, .edx = SCRATCH, .es = 0x1000};
    CHECK(run(INSB) == -1 && out.edi == 8 && out.ecx == 0, "rep insb: edi %x", out.edi);
    check_written("rep insb", 0x10000, 0x10008, 0x1fff8, 0x20000);
    fill();
    in.edi = 7, in.ecx = 16;
    CHECK(run(STD_INSB) == -1 && out.edi == 0xfff7, "std; rep insb: edi %x", out.edi);
    check_written("std; rep insb", 0x10000, 0x10008, 0x1fff8, 0x20000);

    /* more than one exit does */
    fill();
    in.edi = 0xf000, in.ecx = 0x1000 + 300;
    CHECK(run(INSB) == -1 && out.edi == 300, "a long rep insb: edi %x", out.edi);
    check_written("a long rep insb", 0x10000, 0x10000 + 300, 0x1f000, 0x20000);

    fill();
    *(volatile uint32_t *)0x10004 = 0x80000810;
    in = (struct input){.esi = 0xfff8, .ecx = 4, .edx = PCI, .ds = 0x1000};
    CHECK(run(OUTSD) == -1 && out.esi == 8, "rep outsd: esi %x", out.esi);
    CHECK(inl(PCI) == 0x80000810, "rep outsd ended with %x", inl(PCI));
}

static void at_the_limit(void)
{
    fill();
    in = (struct input){.esi = 0xfffd, .ecx = 3, .edx = 0x80, .ds = 0x1000, .es = 0x1000};
    CHECK(run(OUTSW) == GP && out.esi == 0xffff && out.ecx == 2,
          "outsw over the limit: esi %x, ecx %x", out.esi, out.ecx);
    in.esi = 0xffff;
    int vector = run(SS_OUTSW);
    CHECK(vector == SS && out.esi == 0xffff && out.ecx == 3,
          "ss outsw over the limit: vector %d, esi %x, ecx %x", vector, out.esi, out.ecx);
    in.edi = 0xffff;
    vector = run(INSW);
    CHECK(vector == GP && out.edi == 0xffff && out.ecx == 3,
          "insw over the limit: vector %d, "
          "edi %x, ecx %x",
          vector, out.edi, out.ecx);
    check_written("insw over the limit", 0, 0, 0, 0);
    in.esi = 0xfff8, in.ecx = 16, in.edx = SCRATCH;
    vector = run(A32_OUTSB);
    CHECK(vector == GP && out.esi == 0x10000 && out.ecx == 8,
          "a32 rep outsb over the limit: vector %d, esi %x, ecx %x", vector, out.esi, out.ecx);
    CHECK(inb(SCRATCH) == pattern(0x1ffff), "a32 rep outsb ended with %x", inb(SCRATCH));
}

/* The last page below 4 GiB is RAM of ours, the first is RAM anyway. */
static void with_32_bits(void)
{
    static uint8_t top[4096] __attribute__((aligned(4096)));
    uint8_t kept[16], *first = (uint8_t *)0;
    uint64_t rsi, rdi, rcx;

    asm volatile("" : "+r"(first));
    memcpy(kept, first, sizeof(kept));
    *page_entry(0xfffff000) = (uint64_t)top | 3;
    asm volatile("invlpg (%0)" ::"r"(0xfffff000ULL) : "memory");
    for (unsigned i = 0; i < 16; i++) {
        first[i] = (uint8_t)(0x40 + i);
        top[4080 + i] = (uint8_t)(0x80 + i);
    }
    rsi = 0x5fffffffcULL, rcx = 0x700000008ULL;
    asm volatile("addr32 rep outsb" : "+S"(rsi), "+c"(rcx) : "d"(SCRATCH) : "memory");
    CHECK(rsi == 4 && rcx == 0 && inb(SCRATCH) == 0x43,
          "addr32 rep outsb: rsi %lx, rcx %lx, ended with %x", rsi, rcx, inb(SCRATCH));
    rsi = 3, rcx = 8;
    asm volatile("std; addr32 rep outsb; cld" : "+S"(rsi), "+c"(rcx) : "d"(SCRATCH) : "memory");
    CHECK(rsi == 0xfffffffb && inb(SCRATCH) == 0x8c,
          "std; addr32 rep outsb: rsi %lx, ended with %x", rsi, inb(SCRATCH));
    rdi = 0xfffffffc, rcx = 8;
    outb(SCRATCH, 0xee);
    asm volatile("addr32 rep insb" : "+D"(rdi), "+c"(rcx) : "d"(SCRATCH) : "memory");
    CHECK(rdi == 4 && first[0] == 0xee && first[3] == 0xee && first[4] == 0x44 &&
              top[4092] == 0xee && top[4091] == 0x8b,
          "addr32 rep insb: rdi %lx", rdi);
    /* device memory on the other side */
    write32(IOAPIC, 0x39);
    write32(IOAPIC + 0x10, 0xa5000000);
    rdi = 0xfffffffc, rcx = 2;
    asm volatile("1: mov %2, %%rsi; addr32 movsl; dec %1; jnz 1b"
                 : "+D"(rdi), "+c"(rcx)
                 : "r"(IOAPIC + 0x10)
                 : "rsi", "memory", "cc");
    CHECK(rdi == 4 && first[3] == 0xa5 && top[4095] == 0xa5 && first[4] == 0x44,
          "addr32 movsd from a device: rdi %lx", rdi);
    memcpy(first, kept, sizeof(kept));
}

void test(void)
{
    memcpy((void *)LOW, wrap_code, (size_t)(wrap_end - wrap_code));
    in_real_mode();
    at_the_limit();
    with_32_bits();
}
