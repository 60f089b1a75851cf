#include "arch/x86/panic.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/machine_check.h"
#include "arch/x86/percpu.h"
#include "arch/x86/smp.h"
#include "arch/x86/symbols.h"
#include "arch/x86/trap.h"

#define BACKTRACE_MAX 24

uintptr_t __stack_chk_guard = 0x7ad1f8b3c2e94500ULL;
NORETURN void __stack_chk_fail(void);

extern const uint8_t kernel_text_start[], kernel_text_end[];
extern const uint8_t kernel_symbols_start[], kernel_symbols_end[];

static void (*writer)(const char *text, size_t length);
static void (*action)(void);
static int depth;

void panic_set_writer(void (*fn)(const char *text, size_t length))
{
    writer = fn;
}

void panic_set_action(void (*fn)(void))
{
    action = fn;
}

const char *symbol_lookup(uint64_t address, uint64_t *offset)
{
    if (address < (uint64_t)kernel_text_start || address >= (uint64_t)kernel_text_end)
        return NULL;
    return symbol_find(kernel_symbols_start, (size_t)(kernel_symbols_end - kernel_symbols_start),
                       (uint32_t)address, offset);
}

static void print(const char *fmt, ...) PRINTF(1, 2);
static void print(const char *fmt, ...)
{
    char line[256];
    va_list args;
    int length;

    if (!writer)
        return;
    va_start(args, fmt);
    length = vformat(line, sizeof(line), fmt, args);
    va_end(args);
    writer(line, MIN((size_t)length, sizeof(line) - 1));
}

/* The calling CPU's stacks, by number; NULL behind the last. */
static const struct stack *own_stack(unsigned i)
{
    const struct percpu_stacks *stacks = &this_cpu()->stacks;

    return i == 0 ? &stacks->main : i <= IST_COUNT ? &stacks->ist[i - 1] : NULL;
}

static bool on_stack(uint64_t address)
{
    const struct stack *s;

    if (!IS_ALIGNED(address, 8))
        return false;
    for (unsigned i = 0; (s = own_stack(i)) != NULL; i++)
        if (address >= s->base && address + 16 <= s->top)
            return true;
    return false;
}

static bool below_stack(uint64_t address)
{
    const struct stack *s;

    for (unsigned i = 0; (s = own_stack(i)) != NULL; i++)
        if (address < s->base && s->base - address <= PAGE_SIZE)
            return true;
    return false;
}

static void print_address(uint64_t address)
{
    uint64_t offset;
    const char *name = symbol_lookup(address, &offset);

    if (name)
        print("corbel:   %016lx %s+0x%lx\r\n", address, name, offset);
    else
        print("corbel:   %016lx\r\n", address);
}

/* Follow the chain of frame pointers as long as it leads upwards on stacks that we know. */
static void print_backtrace(uint64_t rip, uint64_t rbp)
{
    print("corbel: at, called from:\r\n");
    print_address(rip);
    for (int i = 0; i < BACKTRACE_MAX && on_stack(rbp); i++) {
        const uint64_t *frame = (const uint64_t *)rbp;

        if (!frame[1])
            break;
        print_address(frame[1] - 1); /* within the call, not behind it */
        if (frame[0] <= rbp)
            break;
        rbp = frame[0];
    }
}

/*
 * A panic while panicking prints no more; the third does nothing but stop. With other CPUs stopped
 * nobody else writes, and depth is this CPU's alone.
 */
static bool enter(void)
{
    unsigned running;

    cpu_cli();
    running = smp_stop_others();
    if (++depth > 1)
        return false;
    if (running)
        print("corbel: %u of the other processors could not be stopped\r\n", running);
    return true;
}

/* Which CPU's panic it is matters when there are several. */
static void print_processor(void)
{
    if (smp_cpus > 1)
        print("corbel: on processor %u\r\n", this_cpu()->number);
}

static NORETURN void finish(void)
{
    if (action && depth < 3) {
        void (*fn)(void) = action;

        action = NULL;
        fn();
    }
    for (;;) {
        cpu_cli();
        cpu_hlt();
    }
}

void panic(const char *fmt, ...)
{
    if (enter()) {
        char message[200];
        va_list args;

        va_start(args, fmt);
        vformat(message, sizeof(message), fmt, args);
        va_end(args);
        print("corbel: panic: %s\r\n", message);
        print_processor();
        print_backtrace((uint64_t)__builtin_return_address(0) - 1,
                        *(const uint64_t *)__builtin_frame_address(0));
    }
    finish();
}

static void print_page_fault(uint64_t error, uint64_t address)
{
    const char *what = error & PF_FETCH ? "execute" : error & PF_WRITE ? "write" : "read";
    const char *why = error & PF_RESERVED  ? "reserved bit in a page table"
                      : error & PF_PRESENT ? "not allowed there"
                                           : "nothing is mapped there";

    print("corbel: %s at %016lx: %s\r\n", what, address, why);
}

void panic_exception(const struct trap_frame *f)
{
    if (enter()) {
        print("corbel: panic: %s in the microkernel, error code %lx\r\n",
              exception_name((unsigned)f->vector), f->error);
        print_processor();
        if (f->vector == VECTOR_MC)
            print("corbel: %s\r\n", machine_check_text());
        if (f->vector == VECTOR_PF)
            print_page_fault(f->error, read_cr2());
        if (f->vector == VECTOR_DF && below_stack(read_cr2()))
            print("corbel: the stack has overflowed into its guard page\r\n");
        print("corbel: rip %016lx rflags %08lx rsp %016lx cs %lx\r\n", f->rip, f->rflags, f->rsp,
              f->cs);
        print("corbel: rax %016lx rbx %016lx rcx %016lx rdx %016lx\r\n", f->rax, f->rbx, f->rcx,
              f->rdx);
        print("corbel: rsi %016lx rdi %016lx rbp %016lx r8  %016lx\r\n", f->rsi, f->rdi, f->rbp,
              f->r8);
        print("corbel: r9  %016lx r10 %016lx r11 %016lx r12 %016lx\r\n", f->r9, f->r10, f->r11,
              f->r12);
        print("corbel: r13 %016lx r14 %016lx r15 %016lx\r\n", f->r13, f->r14, f->r15);
        print("corbel: cr0 %08lx cr2 %016lx cr3 %016lx cr4 %08lx\r\n", read_cr0(), read_cr2(),
              read_cr3(), read_cr4());
        print_backtrace(f->rip, f->rbp);
    }
    finish();
}

__attribute__((no_stack_protector)) void stack_guard_init(void)
{
    uint64_t random;

    if (!cpu_random(&random))
        random = rdtsc() * 0x9e3779b97f4a7c15ULL ^ __stack_chk_guard;
    /* A zero byte in the lowest place stops string functions from copying the guard. */
    __stack_chk_guard = random << 8;
}

void __stack_chk_fail(void)
{
    panic("stack smashed: a local buffer was overrun in this function or one it called");
}
