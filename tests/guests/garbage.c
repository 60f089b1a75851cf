/* Executing pseudo-random bytes hurts nobody but this VM, whatever instructions they happen to be.
 */
#include "guest.h"

#define BYTE_OF_RUN 0x51
#define CODE        0x380000ULL
#define STACK       0x3f0000ULL
#define TRAP_STACK  0x300000ULL
#define NMI_STACK   0x308000ULL

static uint32_t seed;
static uint64_t until, own_tables;
static unsigned pieces;

/* What garbage sees: 16 MiB of RAM, of which the first 2 MiB, where this program lies, are
 * read-only. */
static uint64_t tables[3][512] __attribute__((aligned(4096)));

static uint32_t random32(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed ^ seed >> 16;
}

/* Every exception, and every millisecond an NMI for code that loops, leads to the next piece of
 * garbage. */
static void next_piece(struct frame *f)
{
    WRITE_CR(3, own_tables);
    WRITE_CR(0, 0x80010033);
    WRITE_CR(4, 0x620);
    WRITE_DR(7, 0x400);
    if ((int64_t)(rdtsc() - until) > 0) {
        say("%u pieces\n", pieces);
        pass();
    }
    pieces++;
    pit_start(2, 1193);
    for (unsigned i = 0; i < 256; i += 4) {
        uint32_t r = random32();
        memcpy((void *)(CODE + i), &r, 4);
    }
    memset((void *)(CODE + 256), 0xcc, 256);
    for (uint64_t *r = &f->r15; r <= &f->rax; r++)
        *r = 0x200000 + random32() % 0xc00000;
    f->rip = CODE;
    f->cs = 0x10;
    f->ss = 0x18;
    f->rsp = STACK;
    f->rflags = 2;
    WRITE_CR(3, tables[0]);
}

void test(void)
{
    uint8_t run = cmos_read(BYTE_OF_RUN);
    if (run > 0x43 || run < 0x40)
        run = 0x40;
    cmos_write(BYTE_OF_RUN, (uint8_t)(run + 1));
    if (run == 0x43) {
        say("%u restarts\n", run - 0x40);
        return;
    }
    seed = 12345u * run;
    tables[0][0] = (uint64_t)tables[1] | 3;
    tables[1][0] = (uint64_t)tables[2] | 3;
    for (uint64_t i = 0; i < 8; i++)
        tables[2][i] = i * 2 * MIB | (i ? 0xe3 : 0xe1);
    uint64_t top[2] = {NMI_STACK, TRAP_STACK};
    memcpy(tss + 0x24, top, sizeof(top));
    for (unsigned v = 0; v < 256; v++) {
        handle(v, next_piece);
        set_gate(v, (idt[2 * v] & 0xffff) | (idt[2 * v] >> 48 << 16), 0xe, 0, v == NMI ? 1 : 2);
    }
    lapic_on(false);
    ioapic_route(2, 0x400 | (uint64_t)(lapic_read(0x20) >> 24) << 56);
    own_tables = READ_CR(3);
    until = rdtsc() + tsc_hz() / 4;
    asm volatile("ud2" ::: "memory");
}
