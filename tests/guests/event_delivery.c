/* Delivering an event touches memory that nobody has touched before, or that faults: it arrives all
 * the same, once. */
#include "guest.h"

static volatile unsigned count;
static volatile uint64_t stack_seen;

static void on_interrupt(struct frame *f)
{
    count++;
    stack_seen = (uint64_t)f;
    lapic_eoi();
}

static void on_page_fault(struct frame *f)
{
    uint64_t *entry = page_entry(READ_CR(2));
    *entry |= 1;
    count += 100;
}

static void set_ist(unsigned n, uint64_t top)
{
    memcpy(tss + 0x1c + 8 * n, &top, 8);
}

void test(void)
{
    lapic_on(true);
    handle(0x50, on_interrupt);
    /* stacks on pages of their own in memory that the loader and this program have never touched */
    for (unsigned i = 0; i < 40; i++) {
        uint64_t top = 0x200000 + (i + 1) * 0x8000;
        set_ist(3, top);
        set_gate(0x50, (idt[0x50 * 2] & 0xffff) | (idt[0x50 * 2] >> 48 << 16), 0xe, 0, 3);
        lapic_self_ipi(0x50);
        asm volatile("sti; nop; nop; cli" ::: "memory");
        CHECK(count == i + 1, "interrupt %u came %u times", i, count - i);
        CHECK(stack_seen < top && stack_seen > top - 512, "stack at %lx, not below %lx", stack_seen,
              top);
    }
    /* a software interrupt onto such a stack, too */
    set_ist(3, 0x380000);
    count = 0;
    asm volatile("int $0x50" ::: "memory");
    CHECK(count == 1, "INT came %u times", count);

    /*
     * An IDT on a page that is not present. INT is a fault and runs again; an external interrupt
     * has been acknowledged when its gate is read, and is lost but for its bit in ISR.
     */
    handle(PF, on_page_fault);
    static uint8_t table[8192] __attribute__((aligned(4096)));
    uint8_t *base = table + 4096 - 16 * 0x50; /* vector 50h is the first on the second page */
    memcpy(base, idt, 4096);
    load_idt(base, 4095);
    for (unsigned external = 0; external < 2; external++) {
        *page_entry((uint64_t)table + 4096) &= ~1ULL;
        asm volatile("invlpg (%0)" ::"r"(table + 4096) : "memory");
        count = 0;
        if (external) {
            lapic_self_ipi(0x50);
            asm volatile("sti; nop; nop; cli" ::: "memory");
            CHECK(count == 100, "interrupt through a page that is not present: count %u, not 100",
                  count);
            CHECK(lapic_read(0x120) == BIT(0x50 - 0x40), "ISR is %x", lapic_read(0x120));
            lapic_eoi();
        } else {
            asm volatile("int $0x50" ::: "memory");
            CHECK(count == 101, "INT through a page that is not present: count %u, not 101", count);
        }
    }

    /* an exception whose handler's stack is bad: double fault on its own stack */
    load_idt(idt, 4095);
    handle(PF, NULL);
    set_ist(4, 0x8000000000);
    set_gate(UD, (idt[UD * 2] & 0xffff) | (idt[UD * 2] >> 48 << 16), 0xe, 0, 4);
    int vector = TRY("ud2", ::: "memory");
    CHECK(vector == PF, "#UD on a bad stack gives vector %d", vector);
    set_gate(GP, (idt[GP * 2] & 0xffff) | (idt[GP * 2] >> 48 << 16), 0xe, 0, 4);
    set_gate(PF, (idt[PF * 2] & 0xffff) | (idt[PF * 2] >> 48 << 16), 0xe, 0, 4);
    vector = TRY("movl $0, (%0)", ::"r"(0x8000000000000000ULL) : "memory");
    CHECK(vector == DF && caught.error == 0, "#GP, then #PF on a bad stack gives vector %d",
          vector);
}
