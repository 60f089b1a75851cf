/* One that a debugger follows over its resets; tests/machine/gdb_reset.py. What is to outlive them
 * is in CMOS RAM. Without a debugger it passes in its first life. */
#include "guest.h"

#define NOINLINE __attribute__((noinline, noclone))
#define TIMER    0x40
#define LATER    0x300000 /* where code comes to be only while it runs */
#define TICK_MS  10

static volatile uint32_t life, written;
static volatile bool stay, again, never, enough; /* the debugger's to set */

enum { LIVES = 0x50, NEVER, STAY }; /* in CMOS RAM */

NOINLINE static void born(uint32_t n)
{
    life = n;
}

NOINLINE static void visit(uint32_t n)
{
    written = n;
}

NOINLINE static void round(void)
{
    asm volatile("");
}

static void on_timer(struct frame *f)
{
    lapic_eoi();
}

static void sleep_ms(unsigned ms)
{
    for (unsigned i = 0; i < ms; i += TICK_MS) {
        lapic_write(0x380, (uint32_t)(apic_hz() / 1000 * TICK_MS));
        asm volatile("sti; hlt; cli" ::: "memory");
    }
}

static void copy_code(void)
{
    static const uint8_t code[] = {0x0f, 0x1f, 0x44, 0x33, 0x22, 0x90, 0x90, 0xc3}; /* nops, ret */

    for (unsigned i = 0; i < sizeof(code); i++)
        ((volatile uint8_t *)LATER)[i] = code[i];
}

void test(void)
{
    handle(TIMER, on_timer);
    lapic_on(false);
    lapic_write(0x3e0, 0xb); /* divide by 1 */
    lapic_write(0x320, TIMER);
    cmos_write(LIVES, (uint8_t)(cmos_read(LIVES) + 1));
    born(cmos_read(LIVES));
    visit(life);
    if (!cmos_read(NEVER)) {
        sleep_ms(100);
        copy_code();
        sleep_ms(100);
        ((void (*)(void))LATER)();
    }
    do {
        round();
        if (stay)
            cmos_write(STAY, 1);
        if (never)
            cmos_write(NEVER, 1); /* that code does not come to be in the next life */
        if (again)
            outb(0xcf9, 6);
        sleep_ms(TICK_MS);
    } while (cmos_read(STAY) && !enough);
    CHECK(written == life, "%u is not %u", written, life);
}
