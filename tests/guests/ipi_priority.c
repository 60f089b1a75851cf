/* Self-IPIs are delivered by priority, TPR holds lower classes back, and EOI lets the next one in.
 */
#include "guest.h"

static unsigned order[16], count, spurious;

static void on_interrupt(struct frame *f)
{
    if (count < ARRAY_SIZE(order))
        order[count++] = (unsigned)f->vector;
    lapic_eoi();
}

static void without_eoi(struct frame *f)
{
    order[count++] = (unsigned)f->vector;
}

static void on_spurious(struct frame *f)
{
    spurious++;
}

static void let_in(void)
{
    asm volatile("sti; nop; nop; nop; nop; cli" ::: "memory");
}

static void run(const char *mode)
{
    static const uint8_t vectors[] = {0x31, 0x42, 0x41, 0x95, 0x20, 0xfe, 0x67};
    static const unsigned sorted[] = {0xfe, 0x95, 0x67, 0x42, 0x41, 0x31, 0x20};
    count = 0;
    for (unsigned i = 0; i < sizeof(vectors); i++)
        lapic_self_ipi(vectors[i]);
    CHECK(lapic_read(0x210) & BIT(0x31 - 0x20), "%s: vector 31h is not in IRR: %x", mode,
          lapic_read(0x210));
    for (unsigned i = 0; i < 20; i++)
        let_in();
    CHECK(count == sizeof(vectors), "%s: %u interrupts of %u", mode, count,
          (unsigned)sizeof(vectors));
    for (unsigned i = 0; i < count; i++)
        CHECK(order[i] == sorted[i], "%s: interrupt %u is %x, not %x", mode, i, order[i],
              sorted[i]);

    /* TPR */
    count = 0;
    lapic_write(0x80, 0x40);
    lapic_self_ipi(0x42);
    let_in();
    CHECK(count == 0, "%s: TPR 40h let vector 42h in", mode);
    lapic_self_ipi(0x51);
    let_in();
    CHECK(count == 1 && order[0] == 0x51, "%s: TPR 40h held vector 51h back", mode);
    CHECK(lapic_read(0xa0) == 0x40, "%s: PPR is %x", mode, lapic_read(0xa0));
    asm volatile("sti; nop; mov %0, %%cr8; nop; nop; cli" ::"r"(3ULL) : "memory");
    CHECK(count == 2 && order[1] == 0x42, "%s: CR8 = 3 does not let vector 42h in", mode);
    CHECK(lapic_read(0x80) == 0x30, "%s: TPR is %x after CR8 = 3", mode, lapic_read(0x80));
    lapic_write(0x80, 0);

    /* in service: the same class waits for EOI, a higher one does not */
    handle(0x52, without_eoi);
    count = 0;
    lapic_self_ipi(0x52);
    let_in();
    CHECK(count == 1 && lapic_read(0x120) == BIT(0x52 - 0x40), "%s: ISR is %x", mode,
          lapic_read(0x120));
    CHECK(lapic_read(0xa0) == 0x50, "%s: PPR in service is %x", mode, lapic_read(0xa0));
    lapic_self_ipi(0x55);
    let_in();
    CHECK(count == 1, "%s: vector 55h came while 52h was in service", mode);
    lapic_self_ipi(0x61);
    let_in();
    CHECK(count == 2 && order[1] == 0x61, "%s: vector 61h did not come while 52h was in service",
          mode);
    asm volatile("sti" ::: "memory");
    lapic_eoi();
    asm volatile("nop; nop; cli" ::: "memory");
    CHECK(count == 3 && order[2] == 0x55, "%s: vector 55h did not come after EOI", mode);
    CHECK(lapic_read(0x120) == 0, "%s: ISR is %x at the end", mode, lapic_read(0x120));

    /* the same vector twice is one interrupt */
    count = 0;
    lapic_self_ipi(0x55);
    lapic_self_ipi(0x55);
    let_in();
    let_in();
    CHECK(count == 1, "%s: one request, %u interrupts", mode, count);

    /* sti; hlt takes what is pending */
    count = 0;
    lapic_self_ipi(0x77);
    asm volatile("sti; hlt; cli" ::: "memory");
    CHECK(count == 1, "%s: sti; hlt ended with %u interrupts", mode, count);
}

void test(void)
{
    for (unsigned v = 0x20; v < 0xff; v++)
        handle(v, on_interrupt);
    handle(0xff, on_spurious);
    lapic_on(false);
    run("xAPIC");
    handle(0x52, on_interrupt);
    lapic_on(true);
    run("x2APIC");
    CHECK(lapic_read(0x280) == 0, "ESR is %x", lapic_read(0x280));
    CHECK(spurious == 0, "%u spurious interrupts", spurious);
}
