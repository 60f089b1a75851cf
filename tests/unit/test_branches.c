/* links: arch/x86/branches.c */
/* Indirect branches that are patched: pieces of code are run as they are, by retpolines, and by
 * branches in a line's upper half. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include "arch/x86/branches.h"
#include "arch/x86/lib/errno.h"

#define SIZE  (64 * 1024)
#define STUBS 0x4000
#define TABLE 0x8000 /* of where to go: behind the text */

/* RDI points to a table of three targets, which return 1, 2 and 3. */
static const uint8_t target_code[3][6] = {
    {0xb8, 1, 0, 0, 0, 0xc3}, {0xb8, 2, 0, 0, 0, 0xc3}, {0xb8, 3, 0, 0, 0, 0xc3}};

/* What stands before the branch, the branch, and what comes behind a call. A displacement of 0x7777
 * and 0x7778 becomes the table's address, absolute or RIP-relative. */
static const struct piece {
    const char *name;
    uint8_t before[16], before_size, branch[16], branch_size, after[8], after_size;
    int result;
} pieces[] = {
    {"call rax", {0x48, 0x8b, 0x07}, 3, {0x2e, 0x2e, 0x2e, 0xff, 0xd0}, 5, {0xc3}, 1, 1},
    {"call r11", {0x4c, 0x8b, 0x5f, 8}, 4, {0x2e, 0x2e, 0x41, 0xff, 0xd3}, 5, {0xc3}, 1, 2},
    {"call [rdi]", {0x90}, 1, {0x2e, 0x2e, 0x2e, 0xff, 0x17}, 5, {0xc3}, 1, 1},
    {"call [rdi+8]", {0x90}, 1, {0x2e, 0x2e, 0xff, 0x57, 8}, 5, {0xc3}, 1, 2},
    {"call [rdi+10h], padded", {0}, 0, {0x2e, 0x2e, 0x2e, 0xff, 0x57, 16}, 6, {0xc3}, 1, 3},
    {"call [rdi+8], 32 bits", {0}, 0, {0xff, 0x97, 8, 0, 0, 0}, 6, {0xc3}, 1, 2},
    {"call [rax-8]", {0x48, 0x8d, 0x47, 8}, 4, {0x2e, 0x2e, 0xff, 0x50, 0xf8}, 5, {0xc3}, 1, 1},
    {"call [rdi+rcx*8]", {0xb9, 2, 0, 0, 0}, 5, {0x2e, 0x2e, 0xff, 0x14, 0xcf}, 5, {0xc3}, 1, 3},
    /* mov ecx, 1 */
    {"call [table+rcx*8]",
     {0xb9, 1, 0, 0, 0},
     5,
     {0xff, 0x14, 0xcd, 0x77, 0x77, 0, 0},
     7,
     {0xc3},
     1,
     2},
    {"call [rip+table]", {0}, 0, {0xff, 0x15, 0x78, 0x77, 0, 0}, 6, {0xc3}, 1, 1},
    /* push r12; mov r12, rdi; ...; pop r12; ret. R12 is encoded as RSP is, but for REX. */
    {"call [r12+8]",
     {0x41, 0x54, 0x49, 0x89, 0xfc},
     5,
     {0x41, 0xff, 0x54, 0x24, 8},
     5,
     {0x41, 0x5c, 0xc3},
     3,
     2},
    {"call [r12]",
     {0x41, 0x54, 0x49, 0x89, 0xfc},
     5,
     {0x2e, 0x41, 0xff, 0x14, 0x24},
     5,
     {0x41, 0x5c, 0xc3},
     3,
     1},
    {"call [r13]",
     {0x41, 0x55, 0x49, 0x89, 0xfd},
     5,
     {0x2e, 0x41, 0xff, 0x55, 0},
     5,
     {0x41, 0x5d, 0xc3},
     3,
     1},
    /* push [rdi]; push [rdi+8]; push [rdi+10h]; ...; add rsp, 24; ret */
    {"call [rsp+8]",
     {0xff, 0x37, 0xff, 0x77, 8, 0xff, 0x77, 16},
     8,
     {0x2e, 0xff, 0x54, 0x24, 8},
     5,
     {0x48, 0x83, 0xc4, 24, 0xc3},
     5,
     2},
    {"call [rsp]",
     {0xff, 0x37, 0xff, 0x77, 8, 0xff, 0x77, 16},
     8,
     {0x2e, 0x2e, 0xff, 0x14, 0x24},
     5,
     {0x48, 0x83, 0xc4, 24, 0xc3},
     5,
     3},
    {"call [rsp+10h], 32 bits",
     {0xff, 0x37, 0xff, 0x77, 8, 0xff, 0x77, 16},
     8,
     {0xff, 0x94, 0x24, 16, 0, 0, 0},
     7,
     {0x48, 0x83, 0xc4, 24, 0xc3},
     5,
     1},
    {"jmp rdx", {0x48, 0x8b, 0x57, 16}, 4, {0x2e, 0x2e, 0x2e, 0xff, 0xe2}, 5, {0xcc}, 1, 3},
    {"jmp [rdi+8]", {0}, 0, {0x2e, 0x2e, 0xff, 0x67, 8}, 5, {0xcc}, 1, 2},
    {"jmp [table+rcx*8]",
     {0xb9, 2, 0, 0, 0},
     5,
     {0xff, 0x24, 0xcd, 0x77, 0x77, 0, 0},
     7,
     {0xcc},
     1,
     3},
    {"jmp [rip+table]", {0}, 0, {0xff, 0x25, 0x78, 0x77, 0, 0}, 6, {0xcc}, 1, 1},
    /* push rdi; mov rdx, [rdi+8]; mov [rsp-18h], rdx: below the stack a jump finds it */
    {"jmp [rsp-18h]",
     {0x48, 0x8b, 0x57, 8, 0x48, 0x89, 0x54, 0x24, 0xe8},
     9,
     {0x2e, 0xff, 0x64, 0x24, 0xe8},
     5,
     {0xcc},
     1,
     2},
};
#define PIECES ARRAY_SIZE(pieces)

static uint8_t *text;
static struct branch_text t;
static uint32_t sites[PIECES];
static size_t entry[PIECES];

static void put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4);
}

static void lay(const struct piece *p, size_t at, uint32_t *site)
{
    uint8_t *code = text + at;

    memcpy(code, p->before, p->before_size);
    *site = (uint32_t)(at + p->before_size);
    code += p->before_size;
    memcpy(code, p->branch, p->branch_size);
    for (unsigned i = 0; i + 4 <= p->branch_size; i++) {
        if (!memcmp(code + i, (uint8_t[]){0x77, 0x77, 0, 0}, 4))
            put32(code + i, (uint32_t)(uintptr_t)(text + TABLE));
        else if (!memcmp(code + i, (uint8_t[]){0x78, 0x77, 0, 0}, 4))
            put32(code + i, (uint32_t)(text + TABLE - (code + p->branch_size)));
    }
    memcpy(code + p->branch_size, p->after, p->after_size);
}

static int setup(void **state)
{
    /* The lowest 2 GiB, so that a displacement reaches the table. */
    text = mmap(NULL, SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    assert_true(text != MAP_FAILED);
    memset(text, 0xcc, SIZE);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t target = (uintptr_t)(text + 0x3000 + 16 * i);

        memcpy(text + 0x3000 + 16 * i, target_code[i], sizeof(target_code[i]));
        memcpy(text + TABLE + 8 * i, &target, 8);
    }
    for (unsigned i = 0; i < PIECES; i++) {
        entry[i] = 0x100 + 0x40 * i + 3 * i; /* in every place of a line */
        lay(&pieces[i], entry[i], &sites[i]);
    }
    t = (struct branch_text){text, (uintptr_t)text, TABLE, STUBS};
    return 0;
}

static int teardown(void **state)
{
    munmap(text, SIZE);
    return 0;
}

/* With everything that a callee has to keep looked at. */
static void run_all(const char *how)
{
    for (unsigned i = 0; i < PIECES; i++) {
        uint64_t before = 0, after = 1, rax;

        __asm__ volatile("subq $128, %%rsp\n\t" /* this function's own red zone */
                         "movq %%rsp, %[before]\n\t"
                         "call *%[code]\n\t"
                         "movq %%rsp, %[after]\n\t"
                         "addq $128, %%rsp"
                         : "=a"(rax), [before] "=&r"(before), [after] "=&r"(after)
                         : "D"(text + TABLE), [code] "r"(text + entry[i])
                         : "rcx", "rdx", "r11", "cc", "memory");
        if (before != after)
            fail_msg("%s, %s: the stack has moved", pieces[i].name, how);
        if (rax != (uint64_t)pieces[i].result)
            fail_msg("%s, %s: came to target %lu", pieces[i].name, how, (unsigned long)rax);
    }
}

static void test_as_they_are(void **state)
{
    run_all("as it is");
}

static void test_retpolines(void **state)
{
    assert_int_equal(branches_patch(&t, sites, PIECES, BRANCH_RETPOLINE), 0);
    run_all("by a retpoline");
}

static void test_aligned(void **state)
{
    assert_int_equal(branches_patch(&t, sites, PIECES, BRANCH_ALIGNED), 0);
    run_all("aligned");
}

/* A site is a direct branch into the upper half of a place, and what is behind it as it was. */
static void check_sites(void)
{
    for (unsigned i = 0; i < PIECES; i++) {
        const uint8_t *p = text + sites[i], *end = p + pieces[i].branch_size;
        bool call = pieces[i].after[0] != 0xcc;
        int32_t distance;

        while (*p == 0x2e)
            p++;
        assert_int_equal(*p, call ? 0xe8 : 0xe9);
        memcpy(&distance, p + 1, 4);
        size_t to = (size_t)(p + 5 - text) + (size_t)(ptrdiff_t)distance;
        assert_uint_in_range(to, STUBS, STUBS + BRANCH_STUBS * BRANCH_STUB - 1);
        assert_int_equal(to % 64, 32);
        if (call)
            assert_ptr_equal(p + 5, end); /* returns to where it did */
        assert_memory_equal(end, pieces[i].after, pieces[i].after_size);
    }
}

static void test_sites(void **state)
{
    assert_int_equal(branches_patch(&t, sites, PIECES, BRANCH_ALIGNED), 0);
    check_sites();
}

static void test_retpoline_code(void **state)
{
    assert_int_equal(branches_patch(&t, sites, 1, BRANCH_RETPOLINE), 0);
    /* call 1f; 0: pause; lfence; jmp 0b; 1: push rax; pop [rsp]; ret */
    static const uint8_t code[] = {0xe8, 7,    0,    0,    0,    0xf3, 0x90, 0x0f, 0xae, 0xe8,
                                   0xeb, 0xf9, 0xff, 0xf0, 0x8f, 0x04, 0x24, 0xc3, 0xcc};
    assert_memory_equal(text + STUBS + 32, code, sizeof(code));
}

/* What is the same goes to the same place; a call and a jump are not. */
static void test_shared(void **state)
{
    static const uint8_t call[] = {0x2e, 0x2e, 0x2e, 0xff, 0xd0};
    static const uint8_t jump[] = {0x2e, 0x2e, 0x2e, 0xff, 0xe0};
    static const uint8_t far[] = {0x2e, 0x2e, 0xff, 0x50, 8};
    static const uint32_t at[] = {0x2000, 0x2010, 0x2020, 0x2030, 0x2040};

    memcpy(text + at[0], call, 5);
    memcpy(text + at[1], jump, 5);
    memcpy(text + at[2], call, 5);
    memcpy(text + at[3], far, 5);
    memcpy(text + at[4], far, 5);
    text[at[4] + 4] = 16;
    assert_int_equal(branches_count(&t, at, 5), 4);
    assert_int_equal(branches_patch(&t, at, 5, BRANCH_RETPOLINE), 0);
    int32_t first, third;
    memcpy(&first, text + at[0] + 1, 4);
    memcpy(&third, text + at[2] + 1, 4);
    assert_int_equal(first, third + 0x20);
}

/* Two that name memory relative to RIP share a stub when it is the same memory. */
static void test_shared_relative(void **state)
{
    static const uint32_t at[] = {0x2000, 0x2010, 0x2020};

    for (unsigned i = 0; i < 3; i++) {
        memcpy(text + at[i], (uint8_t[]){0xff, 0x15}, 2);
        put32(text + at[i] + 2, i == 2 ? 0x20 : 0x1000 - at[i]);
    }
    assert_int_equal(branches_count(&t, at, 3), 2);
}

static void refused(const uint32_t *at, uint32_t count, int error)
{
    uint8_t before[TABLE];

    memcpy(before, text, TABLE);
    assert_int_equal(branches_patch(&t, at, count, BRANCH_RETPOLINE), error);
    assert_memory_equal(text, before, TABLE);
}

static void test_refused(void **state)
{
    static const struct {
        uint8_t bytes[8];
    } wrong[] = {
        {{0xff, 0xd0}},                         /* too short: what is behind it would be lost */
        {{0x2e, 0x2e, 0xff, 0xd0}},             /* still */
        {{0x3e, 0x2e, 0x2e, 0xff, 0xd0}},       /* another prefix */
        {{0x65, 0xff, 0x90, 1, 0, 0, 0}},       /* another segment */
        {{0x2e, 0x2e, 0x2e, 0xff, 0xd4}},       /* RSP */
        {{0x2e, 0x2e, 0x2e, 0xff, 0xf0}},       /* a push */
        {{0x2e, 0x2e, 0x2e, 0xfe, 0xd0}},       /* something else */
        {{0xe8, 0, 0, 0, 0}},                   /* no indirect branch */
        {{0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e}}, /* prefixes for ever */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        const uint32_t at[] = {sites[0], 0x2000};

        memset(text + 0x2000, 0x90, 16);
        memcpy(text + 0x2000, wrong[i].bytes, 8);
        refused(at, 2, -EINVAL);
    }
    refused((uint32_t[]){sites[0], sites[0]}, 2, -EINVAL);
    refused((uint32_t[]){sites[1], sites[0]}, 2, -EINVAL);
    refused((uint32_t[]){TABLE}, 1, -EINVAL);
    refused((uint32_t[]){~0u}, 1, -EINVAL);
    memcpy(text + TABLE - 4, (uint8_t[]){0x2e, 0x2e, 0x2e, 0xff}, 4); /* cut off by the end */
    refused((uint32_t[]){TABLE - 4}, 1, -EINVAL);
    memcpy(text + STUBS + 64, (uint8_t[]){0x2e, 0x2e, 0x2e, 0xff, 0xd0}, 5);
    refused((uint32_t[]){STUBS + 64}, 1, -EINVAL);
    t.stubs = TABLE - 64; /* no room */
    refused(sites, PIECES, -EINVAL);
    t.stubs = STUBS + 32; /* not on a line */
    refused(sites, PIECES, -EINVAL);
}

/* The text ends anywhere in an instruction. */
static void test_cut_off(void **state)
{
    static const uint32_t at = 0x6000;

    for (unsigned i = 0; i < PIECES; i++) {
        memset(text + at, 0xcc, 32);
        memcpy(text + at, pieces[i].branch, pieces[i].branch_size);
        for (unsigned n = 0; n <= pieces[i].branch_size; n++) {
            const struct branch_text cut = {text, t.address, at + n, 0};

            assert_int_equal(branches_count(&cut, &at, 1), n < pieces[i].branch_size ? -EINVAL : 1);
        }
    }
}

static void test_too_many(void **state)
{
    static uint32_t at[BRANCH_STUBS + 1];

    t.size = STUBS + BRANCH_STUBS * BRANCH_STUB;
    for (unsigned i = 0; i <= BRANCH_STUBS; i++) {
        at[i] = 0x1000 + 8 * i;
        memcpy(text + at[i], (uint8_t[]){0xff, 0x90}, 2);
        put32(text + at[i] + 2, i);
    }
    assert_int_equal(branches_count(&t, at, BRANCH_STUBS), BRANCH_STUBS);
    refused(at, BRANCH_STUBS + 1, -ENOMEM);
    assert_int_equal(branches_patch(&t, at, BRANCH_STUBS, BRANCH_RETPOLINE), 0);
}

static void test_jump(void **state)
{
    memcpy(text + 0x2000, (uint8_t[]){0x90, 0x90, 0x90, 0x90, 0x90, 0xcc}, 6);
    branch_put_jump(&t, 0x2000, 0x3010);
    assert_int_equal(((int (*)(void))(uintptr_t)(text + 0x2000))(), 2);
    branch_put_jump(&t, 0x3800, 0x3000); /* backwards */
    assert_int_equal(((int (*)(void))(uintptr_t)(text + 0x3800))(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_as_they_are, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retpolines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_aligned, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sites, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retpoline_code, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shared, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shared_relative, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_jump, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
