/* The local APIC's registers move to where IA32_APIC_BASE points (SDM "Relocating the Local APIC
 * Registers"): to where nothing was, onto RAM, onto the I/O APIC. They work there; what was there
 * is there again afterwards, and where they were before nobody answers. */
#include "guest.h"

#define EN      0x800u
#define EXTD    0x400u
#define VECTOR  0x50
#define NOBODY  0xfd000000ULL
#define PAGE    4096u
#define PATTERN 0x5a000000u

static uint8_t page[PAGE] __attribute__((aligned(PAGE)));
static uint64_t directory[512] __attribute__((aligned(PAGE)));
static volatile unsigned interrupts;
static uint64_t at; /* where the registers are */
static uint32_t version, io_version;

static void on_interrupt(struct frame *f)
{
    interrupts++;
    write32(at + 0xb0, 0);
}

static void move(uint64_t to)
{
    wrmsr(0x1b, (rdmsr(0x1b) & 0xfff) | to);
    CHECK((rdmsr(0x1b) & ~0xfffULL) == to, "IA32_APIC_BASE, set to %lx, is %lx", to, rdmsr(0x1b));
    at = to;
}

static void wait_for(unsigned count, const char *what, const char *where)
{
    for (unsigned i = 0; i < 1000 && interrupts < count; i++)
        delay_us(10);
    CHECK(interrupts == count, "%s %s: %u interrupts, not %u", where, what, interrupts, count);
    interrupts = 0;
}

/* Registers, forms of access, interrupts. */
static void works(const char *where)
{
    uint32_t value = 0xf0, copy[2];

    CHECK(read32(at + 0x30) == version, "%s the version is %x", where, read32(at + 0x30));
    write32(at + 0x80, 0x20);
    asm volatile("orl %1, %0" : "+m"(*(volatile uint32_t *)(at + 0x80)) : "r"(0x11) : "memory");
    CHECK(read32(at + 0x80) == 0x31, "%s TPR is %x", where, read32(at + 0x80));
    asm volatile("xchgl %0, %1" : "+m"(*(volatile uint32_t *)(at + 0x80)), "+r"(value)::"memory");
    CHECK(value == 0x31, "%s XCHG gives %x", where, value);
    uint64_t from = at + 0x80, to = (uint64_t)copy, count = 1;
    asm volatile("rep movsl" : "+S"(from), "+D"(to), "+c"(count)::"memory");
    CHECK(copy[0] == 0xf0, "%s MOVS gives %x", where, copy[0]);
    write32(at + 0x80, 0);
    sti();
    write32(at + 0x300, 0x40000 | VECTOR); /* to itself */
    wait_for(1, "IPI", where);
    write32(at + 0x3e0, 0xb);
    write32(at + 0x320, VECTOR);
    write32(at + 0x380, (uint32_t)(apic_hz() / 10000));
    wait_for(1, "timer", where);
    cli();
}

static void nobody_at(uint64_t address, const char *when)
{
    CHECK(read32(address + 0x30) == 0xffffffff, "%s %lx reads %x", when, address + 0x30,
          read32(address + 0x30));
    write32(address + 0x80, 0x70);
    CHECK(read32(address + 0x80) == 0xffffffff, "%s %lx keeps what is written", when,
          address + 0x80);
    CHECK(read32(at + 0x80) == 0, "%s a write to %lx reaches the APIC", when, address + 0x80);
}

static void ram_is_as_it_was(const char *when)
{
    for (unsigned i = 0; i < PAGE; i += 4)
        CHECK(read32((uint64_t)page + i) == PATTERN + i, "%s RAM at offset %x is %x", when, i,
              read32((uint64_t)page + i));
}

void test(void)
{
    unsigned bits = cpuid(0x80000008, 0).eax & 0xff;
    uint64_t high = 5ULL << 30, ram = (uint64_t)page;

    lapic_on(false);
    handle(VECTOR, on_interrupt);
    version = read32(LAPIC + 0x30);
    io_version = ioapic_read(1);
    for (unsigned i = 0; i < PAGE; i += 4)
        write32(ram + i, PATTERN + i);
    at = LAPIC;
    works("at power-on's address");

    move(NOBODY);
    works("where nothing was");
    nobody_at(LAPIC, "after a move");

    move(ram);
    works("on RAM");
    nobody_at(NOBODY, "after a second move");

    move(IOAPIC);
    ram_is_as_it_was("after the APIC has left");
    works("on the I/O APIC");

    /* above 4 GiB, by a page directory of our own */
    for (unsigned i = 0; i < 512; i++)
        directory[i] = (high + (uint64_t)i * (2 << 20)) | 0x83;
    *(volatile uint64_t *)(PAGE_TABLES + PAGE + 5 * 8) = (uint64_t)directory | 3;
    move(high + 0x7000);
    CHECK(ioapic_read(1) == io_version, "the I/O APIC's version is %x, was %x", ioapic_read(1),
          io_version);
    works("above 4 GiB");
    nobody_at(NOBODY, "above 4 GiB");

    CHECK(try_wrmsr(0x1b, rdmsr(0x1b) | 1ULL << bits) == GP, "bit %u is taken", bits);
    CHECK(try_wrmsr(0x1b, rdmsr(0x1b) | 0x200) == GP, "bit 9 is taken");
    works("after a refused move");

    move(ram);
    wrmsr(0x1b, rdmsr(0x1b) | EXTD);
    ram_is_as_it_was("in x2APIC mode");
    CHECK(rdmsr(0x803) == version, "x2APIC: the version is %lx", rdmsr(0x803));
}
