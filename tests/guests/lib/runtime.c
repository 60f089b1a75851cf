#include "guest.h"

volatile struct caught caught = {.vector = -1};
volatile uint64_t recover;
uint64_t idt[512] __attribute__((aligned(16)));
const uint8_t *boot_params;
extern const char test_name[];
static handler handlers[256];
static bool x2apic_mode;

#define DIFFERENCES 40 /* that a test may find before it is given up */

/* --- verdicts --- */

static void put(char c)
{
    for (unsigned i = 0; i < 1000000 && !(inb(COM1 + 5) & 0x20); i++)
        ;
    outb(COM1, (uint8_t)c);
}

static void put_text(const char *s)
{
    for (; *s; s++) {
        if (*s == '\n')
            put('\r');
        put(*s);
    }
}

void say(const char *fmt, ...)
{
    char line[200];
    va_list args;
    va_start(args, fmt);
    vformat(line, sizeof(line), fmt, args);
    va_end(args);
    put_text(line);
}

void power_off(void)
{
    for (unsigned i = 0; i < 1000000 && !(inb(COM1 + 5) & 0x40); i++)
        ; /* the last character leaves the shift register */
    outw(PM1_CONTROL, 5 << 10 | 1 << 13);
    outw(PM1_CONTROL, 0 << 10 | 1 << 13); /* QEMU's S5 */
    for (;;)
        asm volatile("cli; hlt");
}

static void fail_v(const char *fmt, va_list args) NORETURN;
static void fail_v(const char *fmt, va_list args)
{
    char line[200];
    cli();
    vformat(line, sizeof(line), fmt, args);
    say("FAIL %s: ", test_name);
    put_text(line);
    put_text("\n");
    power_off();
}

void fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fail_v(fmt, args);
}

void wrong(const char *fmt, ...)
{
    static unsigned count;
    char line[200];
    va_list args;
    va_start(args, fmt);
    if (cpuid(1, 0).ecx >> 31 || ++count == DIFFERENCES)
        fail_v(fmt, args);
    vformat(line, sizeof(line), fmt, args);
    va_end(args);
    say("DIFF %s: ", test_name);
    put_text(line);
    put_text("\n");
}

void pass(void)
{
    cli();
    say("PASS %s\n", test_name);
    power_off();
}

/* --- exceptions --- */

extern uint8_t trap_stubs[];

void set_gate(unsigned vector, uint64_t address, unsigned type, unsigned dpl, unsigned ist)
{
    idt[2 * vector] = (address & 0xffff) | 0x10 << 16 | (uint64_t)ist << 32 |
                      (uint64_t)(0x80 | dpl << 5 | type) << 40 | (address >> 16 & 0xffff) << 48;
    idt[2 * vector + 1] = address >> 32;
}

void load_idt(const void *base, uint16_t limit)
{
    struct {
        uint16_t limit;
        const void *base;
    } PACKED p = {limit, base};
    asm volatile("lidt %0" ::"m"(p) : "memory");
}

void handle(unsigned vector, handler h)
{
    handlers[vector] = h;
}

void runtime_trap(struct frame *f);
void runtime_trap(struct frame *f)
{
    if (handlers[f->vector]) {
        handlers[f->vector](f);
        return;
    }
    if (recover && f->vector < 32) {
        caught.vector = (int64_t)f->vector;
        caught.error = f->error;
        caught.rip = f->rip;
        caught.rflags = f->rflags;
        caught.cr2 = READ_CR(2);
        f->rip = recover;
        f->rflags &= ~BIT(8);
        recover = 0;
        return;
    }
    fail("unexpected vector %lu, error %lx at rip %lx, cr2 %lx", f->vector, f->error, f->rip,
         READ_CR(2));
}

int try_rdmsr(uint32_t msr, uint64_t *value)
{
    uint32_t low = 0, high = 0;
    int vector = TRY("rdmsr", : "+a"(low), "+d"(high) : "c"(msr) : "memory");
    *value = (uint64_t)high << 32 | low;
    return vector;
}

int try_wrmsr(uint32_t msr, uint64_t value)
{
    return TRY("wrmsr", ::"c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

void runtime_start(const uint8_t *params);
void runtime_start(const uint8_t *params)
{
    boot_params = params;
    for (unsigned v = 0; v < 256; v++)
        set_gate(v, (uint64_t)trap_stubs + 16 * v, 0xe, 0, v == NMI ? 1 : v == DF ? 2 : 0);
    load_idt(idt, sizeof(idt) - 1);
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
    outb(COM1 + 3, 3);
    test();
    pass();
}

/* --- time --- */

static bool clock_leaf(struct regs *r)
{
    *r = cpuid(0x15, 0);
    return cpuid(0, 0).eax >= 0x15 && r->eax && r->ecx;
}

uint64_t tsc_hz(void)
{
    struct regs r;
    return clock_leaf(&r) ? (uint64_t)r.ecx * r.ebx / r.eax : 100000000;
}

uint64_t apic_hz(void)
{
    struct regs r;
    return clock_leaf(&r) ? r.ecx : tsc_hz();
}

void delay_us(uint64_t us)
{
    uint64_t end = rdtsc() + tsc_hz() / 1000000 * us;
    while ((int64_t)(rdtsc() - end) < 0)
        ;
}

/* --- interrupt controllers --- */

uint32_t lapic_read(unsigned offset)
{
    return x2apic_mode ? (uint32_t)rdmsr(0x800 + offset / 16) : read32(LAPIC + offset);
}

void lapic_write(unsigned offset, uint32_t value)
{
    if (x2apic_mode)
        wrmsr(0x800 + offset / 16, value);
    else
        write32(LAPIC + offset, value);
}

void lapic_on(bool x2apic)
{
    uint64_t base = rdmsr(0x1b);
    wrmsr(0x1b, base | BIT(11));
    if (x2apic)
        wrmsr(0x1b, base | BIT(11) | BIT(10));
    x2apic_mode = rdmsr(0x1b) & BIT(10);
    lapic_write(0xf0, 0x1ff);
    lapic_write(0x320, 0x10000);
    lapic_write(0x350, 0x10000);
    lapic_write(0x360, 0x10000);
    lapic_write(0x80, 0);
}

void lapic_self_ipi(uint8_t vector)
{
    if (x2apic_mode)
        wrmsr(0x83f, vector);
    else
        lapic_write(0x300, 0x40000 | vector);
}

void lapic_eoi(void)
{
    lapic_write(0xb0, 0);
}

void ioapic_write(uint8_t reg, uint32_t value)
{
    write32(IOAPIC, reg);
    write32(IOAPIC + 0x10, value);
}

uint32_t ioapic_read(uint8_t reg)
{
    write32(IOAPIC, reg);
    return read32(IOAPIC + 0x10);
}

void ioapic_route(unsigned pin, uint64_t entry)
{
    ioapic_write((uint8_t)(0x10 + 2 * pin), 0x10000);
    ioapic_write((uint8_t)(0x11 + 2 * pin), (uint32_t)(entry >> 32));
    ioapic_write((uint8_t)(0x10 + 2 * pin), (uint32_t)entry);
}

void pic_init(uint8_t base)
{
    outb(0x20, 0x11);
    outb(0xa0, 0x11);
    outb(0x21, base);
    outb(0xa1, (uint8_t)(base + 8));
    outb(0x21, 4);
    outb(0xa1, 2);
    outb(0x21, 1);
    outb(0xa1, 1);
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
}

void pit_start(unsigned mode, uint16_t count)
{
    outb(0x43, (uint8_t)(0x30 | mode << 1));
    outb(0x40, (uint8_t)count);
    outb(0x40, (uint8_t)(count >> 8));
}

uint8_t cmos_read(uint8_t index)
{
    outb(0x70, index);
    return inb(0x71);
}

void cmos_write(uint8_t index, uint8_t value)
{
    outb(0x70, index);
    outb(0x71, value);
}

/* --- paging --- */

uint64_t *page_entry(uint64_t address)
{
    static uint64_t tables[16][512] __attribute__((aligned(4096)));
    static unsigned used;
    uint64_t *directory = (uint64_t *)(PAGE_TABLES + 0x2000 + (address >> 30) * 4096);
    uint64_t *large = &directory[address >> 21 & 511];
    if (*large & 0x80) {
        uint64_t base = *large & ~0x1fffffULL, flags = *large & 0x7f;
        uint64_t *table = tables[used++ & 15];
        for (unsigned i = 0; i < 512; i++)
            table[i] = (base + i * 4096ULL) | (flags & ~0x60ULL);
        *large = (uint64_t)table | 7;
        WRITE_CR(3, READ_CR(3));
    }
    return &((uint64_t *)(*large & ~0xfffULL))[address >> 12 & 511];
}
