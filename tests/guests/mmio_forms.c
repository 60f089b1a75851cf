/* Instructions that compilers use on device memory, in all sizes, on the I/O APIC's and the local
 * APIC's registers. */
#include "guest.h"

#define SELECT (IOAPIC)
#define WINDOW (IOAPIC + 0x10)
/* The high half of redirection entry 20: bits 31:24 can be written. */
#define ENTRY 0x39

static uint64_t flags(void)
{
    uint64_t f;
    asm volatile("pushfq; pop %0" : "=r"(f)::"memory");
    return f;
}

static void window(uint32_t v)
{
    write32(SELECT, ENTRY);
    write32(WINDOW, v);
}

void test(void)
{
    uint64_t r;
    window(0xab000000);
    asm volatile("movl (%1), %k0" : "=r"(r) : "r"(WINDOW) : "memory");
    CHECK(r == 0xab000000, "mov r32, m: %lx", r);
    asm volatile("mov $-1, %0; movl (%1), %k0" : "=&r"(r) : "r"(WINDOW) : "memory");
    CHECK(r == 0xab000000, "mov r32, m keeps the upper half: %lx", r);
    asm volatile("movabs 0xfec00010, %%eax" : "=a"(r)::"memory");
    CHECK((uint32_t)r == 0xab000000, "mov eax, moffs: %lx", r);
    asm volatile("movl $0x12000000, (%0)" ::"r"(WINDOW) : "memory");
    CHECK(read32(WINDOW) == 0x12000000, "mov m, imm32: %x", read32(WINDOW));
    asm volatile("movl %0, (%1)" ::"r"(0x34000000), "r"(WINDOW) : "memory");
    CHECK(read32(WINDOW) == 0x34000000, "mov m, r32: %x", read32(WINDOW));
    asm volatile("movabs %%eax, 0xfec00010" ::"a"(0x35000000) : "memory");
    CHECK(read32(WINDOW) == 0x35000000, "mov moffs, eax: %x", read32(WINDOW));
    asm volatile("movl %0, 0x8(%1,%2,4)" ::"r"(0x36000000), "r"(IOAPIC), "r"(2ULL) : "memory");
    CHECK(read32(WINDOW) == 0x36000000, "mov m (base+index*4+disp), r32: %x", read32(WINDOW));
    asm volatile("mov %0, %%r13; mov $0x37000000, %%r9d; movl %%r9d, (%%r13)" ::"r"(WINDOW)
                 : "memory", "r9", "r13");
    CHECK(read32(WINDOW) == 0x37000000, "mov with REX registers: %x", read32(WINDOW));

    /* read-modify-write, and the flags */
    window(0x50000000);
    asm volatile("orl $0x0f000000, (%0)" ::"r"(WINDOW) : "memory");
    CHECK(read32(WINDOW) == 0x5f000000, "or m, imm: %x", read32(WINDOW));
    asm volatile("andl %0, (%1)" ::"r"(0xf3ffffff), "r"(WINDOW) : "memory");
    CHECK(read32(WINDOW) == 0x53000000, "and m, r: %x", read32(WINDOW));
    asm volatile("xorl %0, (%1)" ::"r"(0x01000000), "r"(WINDOW) : "memory");
    CHECK(read32(WINDOW) == 0x52000000, "xor m, r: %x", read32(WINDOW));
    asm volatile("addl $0x01000000, (%0)" ::"r"(WINDOW) : "memory");
    CHECK(read32(WINDOW) == 0x53000000, "add m, imm: %x", read32(WINDOW));
    uint8_t set;
    asm volatile("testl $0x01000000, (%1); setnz %0" : "=q"(set) : "r"(WINDOW) : "memory");
    CHECK(set == 1, "test m, imm: bit set, ZF");
    asm volatile("testl $0x80000000, (%1); setnz %0" : "=q"(set) : "r"(WINDOW) : "memory");
    CHECK(set == 0, "test m, imm: bit clear, not ZF");
    asm volatile("cmpl $0x53000000, (%1); sete %0" : "=q"(set) : "r"(WINDOW) : "memory");
    CHECK(set == 1, "cmp m, imm");
    asm volatile("cmpl (%1), %2; seta %0" : "=q"(set) : "r"(WINDOW), "r"(0x54000000) : "memory");
    CHECK(set == 1, "cmp r, m");
    asm volatile("btl $24, (%1); setc %0" : "=q"(set) : "r"(WINDOW) : "memory");
    CHECK(set == 1, "bt m, imm");
    r = 0x70000000;
    asm volatile("xchgl %k0, (%1)" : "+r"(r) : "r"(WINDOW) : "memory");
    CHECK(r == 0x53000000 && read32(WINDOW) == 0x70000000, "xchg: %lx, %x", r, read32(WINDOW));
    r = 1;
    asm volatile("orl (%1), %k0" : "+r"(r) : "r"(WINDOW) : "memory");
    CHECK(r == 0x70000001, "or r, m: %lx", r);
    asm volatile("movslq (%1), %0" : "=r"(r) : "r"(WINDOW) : "memory");
    CHECK(r == 0x70000000, "movsxd: %lx", r);
    window(0x80000000);
    asm volatile("movslq (%1), %0" : "=r"(r) : "r"(WINDOW) : "memory");
    CHECK(r == 0xffffffff80000000, "movsxd of a negative: %lx", r);

    /* the local APIC's id register, byte by byte and zero or sign extended */
    lapic_on(false);
    uint32_t version = read32(LAPIC + 0x30);
    asm volatile("movzbl (%1), %k0" : "=r"(r) : "r"(LAPIC + 0x30) : "memory");
    CHECK(r == (version & 0xff), "movzx r32, m8: %lx of %x", r, version);
    asm volatile("movzwl (%1), %k0" : "=r"(r) : "r"(LAPIC + 0x30) : "memory");
    CHECK(r == (version & 0xffff), "movzx r32, m16: %lx of %x", r, version);
    asm volatile("movb (%1), %b0" : "=q"(set) : "r"(LAPIC + 0x30) : "memory");
    CHECK(set == (version & 0xff), "mov r8, m8: %x of %x", set, version);

    /* interrupts' flag and direction are nobody's business here */
    CHECK(!(flags() & 0x600), "RFLAGS is %lx", flags());

    /* eight bytes, which a register of four does not really have */
    asm volatile("pushq (%1); pop %0" : "=r"(r) : "r"(WINDOW) : "memory");
    CHECK((uint32_t)r == 0x80000000, "push m: %lx", r);
}
