/* String instructions on device memory: both directions, with REP, backwards, from and to RAM. */
#include "guest.h"

void test(void)
{
    uint32_t ram[8] = {1, 2, 3, 4, 5, 6, 7, 8}, value;
    uint64_t rsi, rdi, rcx;

    write32(IOAPIC, 0x39);
    write32(IOAPIC + 0x10, 0xa5000000);
    rsi = IOAPIC + 0x10, rdi = (uint64_t)ram;
    asm volatile("movsl" : "+S"(rsi), "+D"(rdi)::"memory");
    CHECK(ram[0] == 0xa5000000 && rsi == IOAPIC + 0x14 && rdi == (uint64_t)&ram[1],
          "movsd: %x, rsi %lx", ram[0], rsi);
    rsi = IOAPIC + 0x10;
    asm volatile("lodsl" : "=a"(value), "+S"(rsi)::"memory");
    CHECK(value == 0xa5000000 && rsi == IOAPIC + 0x14, "lodsd: %x, rsi %lx", value, rsi);
    rdi = IOAPIC + 0x10;
    asm volatile("stosl" : "+D"(rdi) : "a"(0x3c000000) : "memory");
    CHECK(read32(IOAPIC + 0x10) == 0x3c000000 && rdi == IOAPIC + 0x14, "stosd: %x, rdi %lx",
          read32(IOAPIC + 0x10), rdi);
    rdi = IOAPIC + 0x10, rcx = 1;
    asm volatile("std; rep stosl; cld" : "+D"(rdi), "+c"(rcx) : "a"(0x5a000000) : "memory");
    CHECK(read32(IOAPIC + 0x10) == 0x5a000000 && rdi == IOAPIC + 0xc && rcx == 0,
          "std; rep stosd: rdi %lx, rcx %lx", rdi, rcx);
    lapic_on(false);
    uint32_t id = read32(LAPIC + 0x20), version = read32(LAPIC + 0x30);
    rsi = LAPIC + 0x20, rdi = (uint64_t)ram, rcx = 0;
    asm volatile("rep movsl" : "+S"(rsi), "+D"(rdi), "+c"(rcx)::"memory");
    CHECK(rsi == LAPIC + 0x20, "rep movsd of nothing moved");
    rdi = LAPIC + 0x30;
    uint8_t equal;
    asm volatile("scasl; sete %0" : "=q"(equal), "+D"(rdi) : "a"(version) : "memory");
    CHECK(equal && rdi == LAPIC + 0x34, "scasd: %u, rdi %lx", equal, rdi);
    rsi = LAPIC + 0x30, rdi = (uint64_t)&version;
    asm volatile("cmpsl; sete %0" : "=q"(equal), "+S"(rsi), "+D"(rdi)::"memory");
    CHECK(equal, "cmpsd");
    /* the local APIC's registers lie 16 bytes apart: four doublewords from each */
    rsi = LAPIC + 0x20, rdi = (uint64_t)ram, rcx = 5;
    asm volatile("rep movsl" : "+S"(rsi), "+D"(rdi), "+c"(rcx)::"memory");
    CHECK(rcx == 0 && rsi == LAPIC + 0x34, "rep movsd: rcx %lx, rsi %lx", rcx, rsi);
    CHECK(ram[0] == id && ram[4] == version, "rep movsd: %x and %x, not %x and %x", ram[0], ram[4],
          id, version);
}
