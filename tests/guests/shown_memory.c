/* What a range of the bus shows (guest/board/device.h): ROM, RAM at another place, RAM whose writes
 * are a device's, and calls of the device, over RAM and beside it, switched and moved. On `make
 * debug`'s Corbel, whose tests/devices/memory.c does what is written to its ports. */
#include "guest.h"
#include "tests/devices/memory.h"

#define A    0x800000ULL /* RAM that nothing else is in */
#define B    0x900000ULL
#define C    0xa01000ULL
#define LOW  0xe0000ULL    /* beside the page tables' 2 MiB */
#define BAR  0xd0000000ULL /* no RAM */
#define BAR2 0xd0100000ULL
#define ROM  0x5a5a5a5au
#define SIZE (TEST_MEMORY_PAGES * 4096)

static void order(uint32_t what)
{
    outl(TEST_MEMORY_DO, what);
}

static void expect_done(const char *what)
{
    CHECK(inl(TEST_MEMORY_RESULT) == 0, "%s: %d", what, (int)inl(TEST_MEMORY_RESULT));
}

static void place(unsigned range, uint64_t gpa)
{
    outl(TEST_MEMORY_SELECT, range);
    outl(TEST_MEMORY_PAGE, (uint32_t)(gpa >> 12));
    order(TEST_MEMORY_PLACE);
    expect_done("bus_place");
}

static void show(unsigned range, uint32_t what, uint64_t from)
{
    outl(TEST_MEMORY_SELECT, range);
    outl(TEST_MEMORY_FROM, (uint32_t)(from >> 12));
    order(what);
    expect_done("bus_show");
}

static void withdraw(unsigned range)
{
    outl(TEST_MEMORY_SELECT, range);
    order(TEST_MEMORY_WITHDRAW);
}

static uint32_t calls; /* that have been made for writes */

/* A write that was one of the device's, and nothing else. */
static void expect_call(uint32_t offset, uint32_t value, const char *what)
{
    uint32_t writes = inl(TEST_MEMORY_WRITES);

    CHECK(writes == calls + 1, "%s: %u calls", what, writes - calls);
    CHECK(inl(TEST_MEMORY_OFFSET) == offset, "%s: offset %x", what, inl(TEST_MEMORY_OFFSET));
    CHECK(inl(TEST_MEMORY_RESULT) == value, "%s: value %x", what, inl(TEST_MEMORY_RESULT));
    calls = writes;
}

static void expect_no_call(const char *what)
{
    CHECK(inl(TEST_MEMORY_WRITES) == calls, "%s: the device was called", what);
}

/* The fewest ticks of an access; an exit costs more than a dozen. */
static uint64_t ticks(uint64_t gpa)
{
    uint64_t least = ~0ULL;

    for (unsigned i = 0; i < 20; i++) {
        uint64_t start = rdtsc();
        (void)read32(gpa);
        uint64_t spent = rdtsc() - start;
        least = spent < least ? spent : least;
    }
    return least;
}

static uint64_t cpuid_ticks(void)
{
    uint64_t least = ~0ULL;

    for (unsigned i = 0; i < 20; i++) {
        uint64_t start = rdtsc();
        (void)cpuid(0, 0);
        uint64_t spent = rdtsc() - start;
        least = spent < least ? spent : least;
    }
    return least;
}

static void rom_over(uint64_t gpa)
{
    uint32_t reads = inl(TEST_MEMORY_READS);

    write32(gpa + 0x100, 0x11111111);
    write32(gpa + SIZE, 0x22222222);
    place(0, gpa);
    show(0, TEST_MEMORY_ROM, 0);
    CHECK(read32(gpa + 0x100) == ROM, "ROM reads %x", read32(gpa + 0x100));
    CHECK(read32(gpa + SIZE - 4) == ROM, "its end reads %x", read32(gpa + SIZE - 4));
    CHECK(read32(gpa + SIZE) == 0x22222222, "behind it is %x", read32(gpa + SIZE));
    CHECK(((uint32_t(*)(void))gpa)() == TEST_MEMORY_RETURN, "a function in ROM");
    uint64_t rom = ticks(gpa + 0x100), exit = cpuid_ticks();
    CHECK(2 * rom < exit, "reading ROM takes %lu ticks, an exit %lu", rom, exit);
    CHECK(inl(TEST_MEMORY_READS) == reads, "reads of ROM call the device");

    calls = inl(TEST_MEMORY_WRITES);
    write32(gpa + 0x100, 7);
    expect_call(0x100, 7, "mov to ROM");
    asm volatile("addl $1, (%0)" ::"r"(gpa + 0x1104) : "memory");
    expect_call(0x1104, ROM + 1, "add to ROM");
    asm volatile("movb $3, (%0)" ::"r"(gpa + SIZE - 1) : "memory");
    expect_call(SIZE - 1, 3, "mov of a byte to ROM");
    CHECK(read32(gpa + 0x100) == ROM && read32(gpa + 0x1104) == ROM, "ROM was written");
    outl(TEST_MEMORY_PAGE, (uint32_t)(gpa >> 12));
    order(TEST_MEMORY_DMA);
    CHECK((int)inl(TEST_MEMORY_RESULT) < 0, "a device writes into ROM");
    expect_no_call("DMA to ROM");

    /* a flash that takes a command, and back */
    show(0, TEST_MEMORY_CALLS, 0);
    CHECK(read32(gpa + 0x100) == 0xc0ffee, "calls read %x", read32(gpa + 0x100));
    write32(gpa + 0x200, 9);
    expect_call(0x200, 9, "mov to the device");
    show(0, TEST_MEMORY_ROM, 0);
    CHECK(read32(gpa + 0x100) == ROM, "ROM again reads %x", read32(gpa + 0x100));

    /* frames that can be written */
    show(0, TEST_MEMORY_FRAMES, 0);
    write32(gpa + 0x300, 0x33333333);
    expect_no_call("mov to frames");
    show(0, TEST_MEMORY_ROM, 0);
    CHECK(read32(gpa + 0x300) == 0x33333333, "what was written reads %x", read32(gpa + 0x300));
    show(0, TEST_MEMORY_FRAMES, 0);
    write32(gpa + 0x300, ROM);

    withdraw(0);
    CHECK(read32(gpa + 0x100) == 0x11111111, "RAM below ROM was %x", read32(gpa + 0x100));
    write32(gpa + 0x100, 0x44444444);
    CHECK(read32(gpa + 0x100) == 0x44444444, "RAM again");
    expect_no_call("mov to RAM");
}

static void ram_elsewhere(void)
{
    place(0, B);
    show(0, TEST_MEMORY_RAM, C);
    write32(B + 0x1010, 1);
    CHECK(read32(C + 0x1010) == 1, "written there, here is %x", read32(C + 0x1010));
    write32(C + 0x1010, 2);
    CHECK(read32(B + 0x1010) == 2, "written here, there is %x", read32(B + 0x1010));
    asm volatile("lock incl (%0)" ::"r"(B + 0x1010) : "memory");
    CHECK(read32(C + 0x1010) == 3, "counted up there, here is %x", read32(C + 0x1010));
    outl(TEST_MEMORY_PAGE, B >> 12);
    order(TEST_MEMORY_DMA);
    expect_done("DMA to RAM");
    CHECK(read32(C) == ~0u, "a device wrote there, here is %x", read32(C));
    show(0, TEST_MEMORY_READ_ONLY_RAM, C);
    write32(B + 0x1010, 4);
    expect_call(0x1010, 4, "mov to read-only RAM");
    CHECK(read32(C + 0x1010) == 3, "read-only RAM is %x", read32(C + 0x1010));
    write32(C + 0x1010, 5);
    CHECK(read32(B + 0x1010) == 5, "its own place can be written: %x", read32(B + 0x1010));
    expect_no_call("mov to its own place");
    withdraw(0);
}

static void trapped_writes(void)
{
    for (unsigned i = 0; i < 64; i++)
        write32(A + 4 * i, i);
    place(0, A);
    show(0, TEST_MEMORY_READ_ONLY_RAM, A);
    order(TEST_MEMORY_CARRY_OUT);
    write32(A + 8, 0x77);
    expect_call(8, 0x77, "a trapped write");
    CHECK(read32(A + 8) == 0x77, "carried out: %x", read32(A + 8));
    uint64_t to = A + 0x40, count = 8;
    asm volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(0x88) : "memory");
    CHECK(inl(TEST_MEMORY_WRITES) == calls + 8, "%u calls for 8 stores",
          inl(TEST_MEMORY_WRITES) - calls);
    calls = inl(TEST_MEMORY_WRITES);
    for (unsigned i = 0; i < 8; i++)
        CHECK(read32(A + 0x40 + 4 * i) == 0x88, "store %u: %x", i, read32(A + 0x40 + 4 * i));
    CHECK(read32(A + 0x60) == 0x18, "behind them: %x", read32(A + 0x60));
    order(TEST_MEMORY_DROP);
    write32(A + 8, 0x99);
    expect_call(8, 0x99, "a write that is dropped");
    CHECK(read32(A + 8) == 0x77, "dropped: %x", read32(A + 8));
    withdraw(0);
}

static void beside_ram(void)
{
    place(2, BAR);
    show(2, TEST_MEMORY_ROM, 0);
    CHECK(read32(BAR + 0x100) == ROM, "beside RAM reads %x", read32(BAR + 0x100));
    place(2, BAR2);
    CHECK(read32(BAR + 0x100) == ~0u, "where it was reads %x", read32(BAR + 0x100));
    CHECK(read32(BAR2 + 0x100) == ROM, "where it is reads %x", read32(BAR2 + 0x100));
    place(2, A);
    CHECK(read32(A + 0x3ffc) != ROM, "RAM is over a BAR");
    CHECK(read32(BAR2 + 0x100) == ~0u, "where it was then reads %x", read32(BAR2 + 0x100));
    place(2, BAR);
    CHECK(((uint32_t(*)(void))BAR)() == TEST_MEMORY_RETURN, "a function beside RAM");
    withdraw(2);
    CHECK(read32(BAR + 0x100) == ~0u, "withdrawn reads %x", read32(BAR + 0x100));
}

static void one_over_the_other(void)
{
    for (unsigned i = 0; i < 8; i++)
        write32(A + 0x1000 * i + 0x100, i);
    place(1, A);
    show(1, TEST_MEMORY_ROM, 0);
    place(0, A + 0x2000);
    show(0, TEST_MEMORY_RAM, A + 0x2000);
    CHECK(read32(A + 0x1100) == ROM, "ROM below RAM: %x", read32(A + 0x1100));
    CHECK(read32(A + 0x2100) == 2, "RAM over ROM: %x", read32(A + 0x2100));
    withdraw(0);
    CHECK(read32(A + 0x2100) == ROM, "ROM again: %x", read32(A + 0x2100));
    place(0, A + 0x1000);
    show(0, TEST_MEMORY_CALLS, 0);
    CHECK(read32(A + 0x100) == ROM, "ROM below the device: %x", read32(A + 0x100));
    CHECK(read32(A + 0x1100) == 0xc0ffee, "the device over ROM: %x", read32(A + 0x1100));
    CHECK(read32(A + 0x4100) == 0xc0ffee, "the device over RAM: %x", read32(A + 0x4100));
    CHECK(read32(A + 0x5100) == 5, "RAM beside the device: %x", read32(A + 0x5100));
    withdraw(1);
    CHECK(read32(A + 0x100) == 0, "RAM: %x", read32(A + 0x100));
    withdraw(0);
    CHECK(read32(A + 0x1100) == 1, "RAM: %x", read32(A + 0x1100));
}

void test(void)
{
    calls = inl(TEST_MEMORY_WRITES);
    rom_over(A);
    rom_over(LOW);
    ram_elsewhere();
    trapped_writes();
    beside_ram();
    one_over_the_other();
}
