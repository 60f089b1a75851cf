/* What tests/machine/research.py watches from outside. It passes whether somebody does or not:
 * nothing of it may be seen from here. */
#include "guest.h"

#define NOINLINE __attribute__((noinline, noclone))
#define EFER     0xc0000080
#define STAR     0xc0000081
#define LSTAR    0xc0000082
#define FMASK    0xc0000084
#define FS_BASE  0xc0000100

#define TIMER      0x40
#define ON_A_STACK 0x41
#define CALLS      25
#define WRITES     300
#define DELIVERIES 10 /* and as many of the local APIC's */

extern uint8_t code_page[], code_end[];
extern uint32_t code_function(void);
extern void syscall_entry(void), run_user(uint64_t calls);
extern void take_interrupts(const volatile void *stack_top), back(void);

uint64_t syscalls;
volatile uint64_t written[512] __attribute__((aligned(4096)));
volatile uint64_t was_read[512] __attribute__((aligned(4096)));
volatile uint64_t busy[1024] __attribute__((aligned(4096))); /* the second page: a stack */
volatile uint64_t gates[512] __attribute__((aligned(4096)));
static volatile unsigned ticks, wrong_flags;

static void on_timer(struct frame *f)
{
    ticks++;
    wrong_flags += (f->rflags & 0x300) != 0x200; /* TF is ours to set, and IF was on */
    lapic_eoi();
}

/* 10 plain ones, 3 locked, one of 16 bytes, 16 by a string instruction, one by Corbel. */
NOINLINE static void write_memory(void)
{
    volatile uint64_t *to = written;
    uint64_t low = 3, high = 3, count = 16;

    for (unsigned i = 0; i < 10; i++)
        written[i] = i;
    for (unsigned i = 0; i < 3; i++)
        asm volatile("lock incq %0" : "+m"(written[3])::"cc");
    low = 6;
    high = 4;
    asm volatile("lock cmpxchg16b %0"
                 : "+m"(*(volatile unsigned __int128 *)&written[4]), "+a"(low), "+d"(high)
                 : "b"(7ULL), "c"(8ULL)
                 : "cc", "memory");
    asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(0x5a) : "memory");
    outb(0x70, 0x50);
    uint8_t *into = (uint8_t *)&written[100];
    asm volatile("insb" : "+D"(into) : "d"((uint16_t)0x71) : "memory");
    CHECK(written[0] == 0x5a5a5a5a5a5a5a5a && written[2] == 2 && written[3] == 6,
          "memory is %lx %lx %lx", written[0], written[2], written[3]);
}

NOINLINE static void read_memory(void)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < 7; i++)
        sum += was_read[i];
    CHECK(sum == 0, "the sum is %lu", sum);
    was_read[9] = 1; /* is no read */
}

/* Interrupts come between instructions as ever. */
NOINLINE static void write_under_interrupts(void)
{
    handle(TIMER, on_timer);
    lapic_on(false);
    lapic_write(0x3e0, 0xb);
    lapic_write(0x320, 0x20000 | TIMER);
    lapic_write(0x380, 3000);
    sti();
    for (unsigned i = 0; i < WRITES; i++)
        busy[i] = i;
    for (unsigned i = 0; i < 100000 && !ticks; i++)
        asm volatile("pause");
    cli();
    lapic_write(0x320, 0x10000);
    CHECK(ticks, "no timer interrupts");
    CHECK(!wrong_flags, "%u of %u interrupts have found wrong flags", wrong_flags, ticks);
    CHECK(busy[WRITES - 1] == WRITES - 1, "the last write is lost");
}

/* A delivery reads the IDT and writes the stack: two pages in one go. */
NOINLINE static void deliver(void)
{
    set_gate(ON_A_STACK, (uint64_t)back, 0xe, 0, 0);
    for (unsigned i = 0; i < 512; i++)
        gates[i] = idt[i];
    load_idt((const void *)gates, sizeof(gates) - 1);
    for (unsigned i = 0; i < DELIVERIES; i++) {
        take_interrupts(busy + 1024);
        lapic_eoi();
    }
    load_idt(idt, sizeof(idt) - 1);
    CHECK(busy[1020] == 0x10, "CS on the stack is %lx", busy[1020]);
}

NOINLINE static void run_code(void)
{
    for (unsigned i = 0; i < 5; i++)
        CHECK(code_function() == 1, "the function is wrong");
    *(volatile uint32_t *)((uint8_t *)code_function + 1) = 42;
    CHECK(code_function() == 42, "the function does not change");
}

NOINLINE static void set_registers(void)
{
    uint64_t cr0 = READ_CR(0), cr3 = READ_CR(3), cr4 = READ_CR(4), v;

    WRITE_CR(0, cr0 | BIT(3));
    CHECK(READ_CR(0) == (cr0 | BIT(3)), "CR0 is %lx", READ_CR(0));
    asm volatile("clts" ::: "memory");
    CHECK(READ_CR(0) == cr0, "CR0 is %lx", READ_CR(0));
    for (unsigned i = 0; i < 4; i++)
        WRITE_CR(3, cr3);
    CHECK(TRY("mov %0, %%cr3", ::"r"(cr3 | BIT(62)) : "memory") == GP, "CR3 takes bit 62");
    WRITE_CR(4, cr4 ^ BIT(2));
    CHECK(READ_CR(4) == (cr4 ^ BIT(2)), "CR4 is %lx", READ_CR(4));
    WRITE_CR(4, cr4);
    for (unsigned i = 0; i < 3; i++)
        wrmsr(FS_BASE, i << 12);
    CHECK(try_wrmsr(FS_BASE, BIT(60)) == GP, "FS base takes what is not canonical");
    CHECK(try_rdmsr(FS_BASE, &v) == -1 && v == 2 << 12, "FS base is %lx", v);
    wrmsr(FS_BASE, 0);
}

struct __attribute__((packed)) table {
    uint16_t limit;
    uint64_t base;
};

NOINLINE static void load_tables(void)
{
    struct table gdt, idt_now, back;

    asm volatile("sgdt %0" : "=m"(gdt));
    asm volatile("sidt %0" : "=m"(idt_now));
    for (unsigned i = 0; i < 2; i++)
        asm volatile("lgdt %0" ::"m"(gdt) : "memory");
    for (unsigned i = 0; i < 3; i++)
        asm volatile("lidt %0" ::"m"(idt_now) : "memory");
    asm volatile("lldt %w0" ::"r"(0) : "memory");
    boot_gdt[6] &= ~(2ULL << 40); /* the TSS is not busy, so that it can be loaded */
    asm volatile("ltr %w0" ::"r"(0x30) : "memory");
    asm volatile("sgdt %0" : "=m"(back));
    CHECK(back.base == gdt.base && back.limit == gdt.limit, "GDTR is %lx", back.base);
    asm volatile("sidt %0" : "=m"(back));
    CHECK(back.base == idt_now.base && back.limit == idt_now.limit, "IDTR is %lx", back.base);
}

NOINLINE static void call_system(void)
{
    uint64_t efer = rdmsr(EFER);

    for (uint64_t *entry = (uint64_t *)PAGE_TABLES; entry < (uint64_t *)(PAGE_TABLES + 0x6000);
         entry++)
        *entry |= *entry & 1 ? 4 : 0; /* for ring 3, too */
    WRITE_CR(3, READ_CR(3));
    CHECK(TRY("syscall", ::: "rcx", "r11", "memory") == UD, "SYSCALL while it is off");
    wrmsr(STAR, 0x0030001000000000);
    wrmsr(LSTAR, (uint64_t)syscall_entry);
    wrmsr(FMASK, 0x200);
    wrmsr(EFER, efer | 1);
    CHECK(rdmsr(EFER) == (efer | 1), "EFER is %lx", rdmsr(EFER));
    run_user(CALLS);
    CHECK(syscalls == CALLS, "%lu system calls", syscalls);
    CHECK(TRY("ud2", ::: "memory") == UD, "UD2 does not raise #UD");
    wrmsr(EFER, efer);
    CHECK(TRY("syscall", ::: "rcx", "r11", "memory") == UD, "SYSCALL when it is off again");
}

void test(void)
{
    write_memory();
    read_memory();
    write_under_interrupts();
    deliver();
    run_code();
    set_registers();
    load_tables();
    call_system();
}
