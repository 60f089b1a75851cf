/* UART, RTC and I/O APIC used by all vCPUs at once, each device under a lock of the guest's own, so
 * that at any time several vCPUs are in several devices; and interrupts of two of them, which go
 * to another vCPU each time. Afterwards nothing is lost, and no line has stuck. */
#include "smp.h"

#define ROUNDS     40
#define VECTOR_RTC 0x51
#define VECTOR_TX  0x52
#define PIN_UART   4
#define PIN_RTC    8
#define PIN_OWN    10 /* and the next: each vCPU changes another one's entry */
#define PINS       24

static volatile uint32_t uart_lock, rtc_lock, ioapic_lock;
static volatile uint32_t done, ticks, sent, rerouted;
static unsigned count;

static void lock(volatile uint32_t *l)
{
    while (__atomic_exchange_n(l, 1, __ATOMIC_ACQUIRE))
        pause();
}

static void unlock(volatile uint32_t *l)
{
    __atomic_store_n(l, 0, __ATOMIC_RELEASE);
}

/* All of the guest's locks are held with interrupts off. */
static void on_rtc(struct frame *f)
{
    lock(&rtc_lock);
    cmos_read(0x0c);
    unlock(&rtc_lock);
    add(&ticks, 1);
    lapic_eoi();
}

static void on_transmitter(struct frame *f)
{
    lock(&uart_lock);
    if ((inb(COM1 + 2) & 0x0f) == 2) /* which withdraws it */
        add(&sent, 1);
    unlock(&uart_lock);
    lapic_eoi();
}

static void route(unsigned pin, unsigned vector, unsigned to)
{
    ioapic_write((uint8_t)(0x11 + 2 * pin), to << 24);
    ioapic_write((uint8_t)(0x10 + 2 * pin), vector);
}

static void use_uart(unsigned self, unsigned round)
{
    uint8_t value = (uint8_t)(self * 37 + round);

    lock(&uart_lock);
    outb(COM1 + 7, value);
    uint8_t read = inb(COM1 + 7);
    outb(COM1 + 1, 0); /* switched on again: the transmitter is empty, and says so */
    outb(COM1 + 1, 2);
    unlock(&uart_lock);
    CHECK(read == value, "vCPU %u reads %x from the UART, and wrote %x", self, read, value);
    inb(COM1 + 5);
}

static void use_rtc(unsigned self, unsigned round)
{
    uint8_t index = (uint8_t)(0x40 + self), value = (uint8_t)(self * 29 + round);

    lock(&rtc_lock);
    cmos_write(index, value);
    unlock(&rtc_lock);
    lock(&rtc_lock);
    uint8_t read = cmos_read(index);
    unlock(&rtc_lock);
    CHECK(read == value, "vCPU %u reads %x from CMOS, and wrote %x", self, read, value);
}

static void use_ioapic(unsigned self, unsigned round)
{
    unsigned pin = PIN_OWN + self % (PINS - PIN_OWN);
    uint32_t value = 0x10000 | ((self * 31 + round) & 0xff);

    lock(&ioapic_lock);
    ioapic_write((uint8_t)(0x10 + 2 * pin), value);
    uint32_t read = ioapic_read((uint8_t)(0x10 + 2 * pin));
    route(PIN_RTC, VECTOR_RTC, round % count);
    route(PIN_UART, VECTOR_TX, (round + 1) % count);
    unlock(&ioapic_lock);
    CHECK(read == value, "vCPU %u reads %x from the I/O APIC, and wrote %x", self, read, value);
}

static void work(unsigned self)
{
    uint32_t last = inl(PM_TIMER);

    for (unsigned round = 0; round < ROUNDS; round++) {
        switch ((round + self) % 3) {
        case 0:
            use_uart(self, round);
            break;
        case 1:
            use_rtc(self, round);
            break;
        default:
            use_ioapic(self, round);
            break;
        }
        uint32_t now = inl(PM_TIMER);
        CHECK((int32_t)(now - last) >= 0, "vCPU %u sees the PM timer go back from %x to %x", self,
              last, now);
        last = now;
        asm volatile("sti; nop; nop; cli" ::: "memory");
    }
    add(&done, 1);
    while (done != count || (self && !rerouted)) /* interrupts still come here */
        asm volatile("sti; pause; nop; cli" ::: "memory");
    asm volatile("sti; pause; nop; cli" ::: "memory"); /* also the last one */
}

/* Everything goes to the boot vCPU now. */
static void no_line_has_stuck(void)
{
    uint32_t before;

    route(PIN_RTC, VECTOR_RTC, 0);
    route(PIN_UART, VECTOR_TX, 0);
    rerouted = 1;
    sti();
    before = ticks;
    CHECK(smp_wait(&ticks, before + 1) || ticks > before, "the RTC interrupts no more");
    cli();
    cmos_write(0x0b, cmos_read(0x0b) & ~0x40);
    cmos_read(0x0c);
    lock(&uart_lock); /* another vCPU may have read IIR, and not yet have counted it */
    outb(COM1 + 1, 0);
    inb(COM1 + 2);
    before = sent;
    unlock(&uart_lock);
    sti();
    outb(COM1 + 1, 2);
    delay_us(1000);
    cli();
    CHECK(sent == before + 1, "the UART interrupts %u times, not once", sent - before);
    outb(COM1 + 1, 0);
}

void test(void)
{
    handle(VECTOR_RTC, on_rtc);
    handle(VECTOR_TX, on_transmitter);
    count = smp_count();
    lapic_on(true);
    route(PIN_RTC, VECTOR_RTC, 0); /* before the first edge, which would be lost */
    route(PIN_UART, VECTOR_TX, 0);
    outb(COM1 + 4, 0x0b);
    cmos_write(0x0a, 0x26); /* 1024 Hz */
    cmos_write(0x0b, cmos_read(0x0b) | 0x40);
    cmos_read(0x0c);
    smp_start(true, work);
    work(0);
    smp_finish(&done, count);
    sti();
    if (ticks == 0) /* all that may have taken less than a period */
        smp_wait(&ticks, 1);
    cli();
    CHECK(ticks > 0 && sent > 0, "%u interrupts of the RTC and %u of the UART", ticks, sent);
    no_line_has_stuck();
}
