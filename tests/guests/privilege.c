/* What user code may not do is refused before anything else: every privileged instruction at CPL 3,
 * those that exit among them. docs/ARCHITECTURE.md has the table. */
#include "guest.h"

#define RF BIT(16)

static uint8_t stack[4096] __attribute__((aligned(16)));

/* Back to CPL 0, where at_user() waits. */
static void to_kernel(struct frame *f)
{
    caught.vector = (int64_t)f->vector;
    caught.error = f->error;
    caught.rip = f->rip;
    caught.rflags = f->rflags;
    f->rip = recover;
    f->cs = 0x10;
    f->ss = 0x18;
    f->rsp = f->rbp;
    f->rflags = 2;
    recover = 0;
}

/* At CPL 3: the code, with these in RAX, RCX and RDX. Comes back by any exception. */
static int at_user(const uint8_t *code, uint64_t rax, uint64_t rcx, uint64_t rdx)
{
    uint64_t rsp = (uint64_t)stack + sizeof(stack) - 64;

    caught.vector = -1;
    asm volatile("movq $1f, recover\n\t"
                 "push %%rbx; push %%rbp\n\t"
                 "mov %%rsp, %%rbp\n\t"
                 "mov %%rsp, tss + 4\n\t"
                 "pushq $0x2b; push %4; pushfq; pushq $0x43; push %3\n\t"
                 "iretq\n"
                 "1:\tpop %%rbp; pop %%rbx"
                 : "+a"(rax), "+c"(rcx), "+d"(rdx)
                 : "S"(code), "D"(rsp)
                 : "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
    return (int)caught.vector;
}

static const struct {
    const char *what;
    uint8_t code[12];
    uint8_t vector;
    bool needs_xsave;
    uint64_t rax, rcx, rdx;
} rows[] = {
    {"XSETBV", {0x0f, 0x01, 0xd1}, GP, true, 1, 0, 0},
    {"XSETBV of a bad value", {0x0f, 0x01, 0xd1}, GP, true, 0, 0, 0},
    {"HLT", {0xf4}, GP, false, 0, 0, 0},
    {"INVD", {0x0f, 0x08}, GP, false, 0, 0, 0},
    {"WBINVD", {0x0f, 0x09}, GP, false, 0, 0, 0},
    {"RDMSR", {0x0f, 0x32}, GP, false, 0, 0x10, 0},
    {"WRMSR", {0x0f, 0x30}, GP, false, 0, 0x6e0, 0},
    {"WRMSR x2APIC", {0x0f, 0x30}, GP, false, 0, 0x80b, 0},
    {"RDMSR of one that is not", {0x0f, 0x32}, GP, false, 0, 0x12345678, 0},
    {"RDPMC", {0x0f, 0x33}, GP, false, 0, 0, 0},
    {"CLTS", {0x0f, 0x06}, GP, false, 0, 0, 0},
    {"LMSW", {0x0f, 0x01, 0xf0}, GP, false, 1, 0, 0},
    {"MOV to CR0", {0x0f, 0x22, 0xc0}, GP, false, 0x80000031, 0, 0},
    {"MOV from CR0", {0x0f, 0x20, 0xc0}, GP, false, 0, 0, 0},
    {"MOV to CR3", {0x0f, 0x22, 0xd8}, GP, false, PAGE_TABLES, 0, 0},
    {"MOV from CR3", {0x0f, 0x20, 0xd8}, GP, false, 0, 0, 0},
    {"MOV to CR4", {0x0f, 0x22, 0xe0}, GP, false, 0x620, 0, 0},
    {"MOV to CR8", {0x44, 0x0f, 0x22, 0xc0}, GP, false, 0, 0, 0},
    {"MOV from CR8", {0x44, 0x0f, 0x20, 0xc0}, GP, false, 0, 0, 0},
    {"MOV to DR7", {0x0f, 0x23, 0xf8}, GP, false, 0x400, 0, 0},
    {"MOV from DR6", {0x0f, 0x21, 0xf0}, GP, false, 0, 0, 0},
    {"IN", {0xe4, 0x80}, GP, false, 0, 0, 0},
    {"OUT", {0xe6, 0x80}, GP, false, 0, 0, 0},
    {"INSB", {0x6c}, GP, false, 0, 0, 0},
    {"OUTSB", {0x6e}, GP, false, 0, 0, 0},
    {"CLI", {0xfa}, GP, false, 0, 0, 0},
    {"STI", {0xfb}, GP, false, 0, 0, 0},
    {"INVLPG", {0x0f, 0x01, 0x38}, GP, false, 0, 0, 0},
    {"LGDT", {0x0f, 0x01, 0x10}, GP, false, 0, 0, 0},
    {"LIDT", {0x0f, 0x01, 0x18}, GP, false, 0, 0, 0},
    {"LLDT", {0x0f, 0x00, 0xd0}, GP, false, 0, 0, 0},
    {"LTR", {0x0f, 0x00, 0xd8}, GP, false, 0, 0, 0},
    {"VMXOFF", {0x0f, 0x01, 0xc4}, UD, false, 0, 0, 0},
    {"VMLAUNCH", {0x0f, 0x01, 0xc2}, UD, false, 0, 0, 0},
    {"VMREAD", {0x0f, 0x78, 0xc0}, UD, false, 0, 0, 0},
    {"GETSEC", {0x0f, 0x37}, UD, false, 0, 0, 0},
    {"MONITOR", {0x0f, 0x01, 0xc8}, UD, false, 0, 0, 0},
    {"MWAIT", {0x0f, 0x01, 0xc9}, UD, false, 0, 0, 0},
    {"UD2", {0x0f, 0x0b}, UD, false, 0, 0, 0},
};

void test(void)
{
    static uint8_t code[64] __attribute__((aligned(64)));
    static const uint8_t vectors[] = {UD, GP, SS, PF, AC, NP};
    bool xsave = cpuid(1, 0).ecx >> 26 & 1;

    for (unsigned i = 0; i < ARRAY_SIZE(vectors); i++)
        handle(vectors[i], to_kernel);
    /* the first 2 MiB pages are the user's, too */
    *(uint64_t *)PAGE_TABLES |= 4;
    *(uint64_t *)(PAGE_TABLES + 0x1000) |= 4;
    for (unsigned i = 0; i < 8; i++)
        *(uint64_t *)(PAGE_TABLES + 0x2000 + 8 * i) |= 4;
    WRITE_CR(3, READ_CR(3));
    if (xsave)
        WRITE_CR(4, READ_CR(4) | BIT(18));
    WRITE_CR(8, 5);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].needs_xsave && !xsave)
            continue;
        memset(code, 0xf4, sizeof(code)); /* HLT: should it go on */
        memcpy(code, rows[i].code, sizeof(rows[i].code));
        for (unsigned k = sizeof(rows[i].code); k && !code[k - 1]; k--)
            code[k - 1] = 0xf4;
        int vector = at_user(code, rows[i].rax, rows[i].rcx, rows[i].rdx);
        CHECK(vector == rows[i].vector && caught.rip == (uint64_t)code,
              "%s at CPL 3: vector %d at +%ld", rows[i].what, vector,
              (long)(caught.rip - (uint64_t)code));
        CHECK(vector != GP || caught.error == 0, "%s: error code %lx", rows[i].what, caught.error);
        CHECK(caught.rflags & RF, "%s: no RF in %lx", rows[i].what, caught.rflags);
    }
    CHECK(READ_CR(8) == 5, "CR8 is %lx", READ_CR(8));

    /* what user code may do goes on */
    static const uint8_t cpuid_code[] = {0x0f, 0xa2, 0xf3, 0x90, 0xf4}; /* cpuid; pause; hlt */
    memcpy(code, cpuid_code, sizeof(cpuid_code));
    int vector = at_user(code, 0, 0, 0);
    CHECK(vector == GP && caught.rip == (uint64_t)code + 4, "CPUID at CPL 3: vector %d at +%ld",
          vector, (long)(caught.rip - (uint64_t)code));

    /* alignment: OUTS and INS of two bytes at an odd address, under CR0.AM, RFLAGS.AC and IOPL 3 */
    WRITE_CR(0, READ_CR(0) | BIT(18));
    static const uint8_t odd[2][6] = {
        {0x48, 0x89, 0xce, 0x66, 0x6f, 0xf4},  /* mov rcx, rsi; outsw */
        {0x48, 0x89, 0xcf, 0x66, 0x6d, 0xf4}}; /* mov rcx, rdi; insw */
    for (unsigned i = 0; i < 2; i++) {
        memcpy(code, odd[i], sizeof(odd[i]));
        asm volatile("pushfq; orq $0x43000, (%%rsp); popfq" ::: "memory", "cc");
        vector = at_user(code, 0, (uint64_t)stack + 1, 0x80);
        asm volatile("pushfq; andq $~0x43000, (%%rsp); popfq" ::: "memory", "cc");
        CHECK(vector == AC && caught.error == 0 && caught.rip == (uint64_t)code + 3,
              "%s at an odd address: vector %d", i ? "INS" : "OUTS", vector);
    }
}
