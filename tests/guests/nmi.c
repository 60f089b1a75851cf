/* An NMI is delivered once; another one waits for IRET, and only one is kept. */
#include "guest.h"

static volatile unsigned count, nested, depth;

static void send_nmi(void)
{
    wrmsr(0x830, 0x400 | (uint64_t)lapic_read(0x20) << 32);
}

static void on_nmi(struct frame *f)
{
    nested += depth;
    depth++;
    if (++count == 1) {
        send_nmi();
        send_nmi();
        cpuid(0, 0); /* an exit while NMIs are blocked */
    }
    depth--;
}

void test(void)
{
    lapic_on(true);
    handle(NMI, on_nmi);
    send_nmi();
    cpuid(0, 0);
    CHECK(count == 2, "%u NMIs, not 2", count);
    CHECK(nested == 0, "NMIs nested");
    send_nmi();
    delay_us(10);
    CHECK(count == 3, "%u NMIs, not 3", count);
}
