/*
 * Kernels that check what Corbel's loaders told them: built as Multiboot kernels (ELF of both
 * classes, and flat), for Multiboot 2, as an old Linux bzImage, as a PVH kernel, and, in 64 bits,
 * as a plain ELF64. tests/machine/kernels.py gives them a command line and two modules.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COM1        0x3f8
#define PM1_CONTROL 0x604

#define CMDLINE "a=b  c"
#define FIRST   "the first module"
#define ARGS    "with arguments"
#define SECOND  "another"

/* Multiboot Specification, "Boot information format". */
struct info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
    uint32_t mmap_length, mmap_addr, drives[2], config_table, boot_loader_name;
};

struct info_module {
    uint32_t start, end, string, reserved;
};

struct info_memory {
    uint32_t size;
    uint64_t base, length;
    uint32_t type;
} __attribute__((packed));

/* Multiboot2 Specification, "Boot information format"; word: what a tag holds. */
struct tag {
    uint32_t type, size, word[];
};

struct info2 {
    uint32_t size, reserved;
    struct tag first;
};

/* System V ABI, "Sections". */
struct section {
    uint32_t name, type, flags, address, offset, size, link, info, align, entry_size;
};

/* Xen, public/arch-x86/hvm/start_info.h. */
struct start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist, cmdline, rsdp, memmap;
    uint32_t memmap_entries, reserved;
};

struct start_module {
    uint64_t address, size, cmdline, reserved;
};

struct start_memory {
    uint64_t base, length;
    uint32_t type, reserved;
};

void told_by_multiboot(uint32_t magic, const struct info *info);
void told_by_multiboot2(uint32_t magic, const struct info2 *info);
void told_by_linux(const uint8_t *params, uint32_t ebx, uint32_t ebp, uint32_t edi);
void told_by_start_info(const struct start_info *info);

static volatile uint32_t initialised = 0x12345678; /* data came from the file ... */
static volatile uint32_t zero[1000];               /* ... and the rest is zero */

static inline void outb(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static void say(const char *text)
{
    for (; *text; text++) {
        uint8_t status;

        do {
            __asm__ volatile("inb %1, %0" : "=a"(status) : "Nd"((uint16_t)(COM1 + 5)));
        } while (!(status & 0x20));
        outb(COM1, (uint8_t)*text);
    }
}

static void end(void)
{
    uint8_t status;

    do {
        __asm__ volatile("inb %1, %0" : "=a"(status) : "Nd"((uint16_t)(COM1 + 5)));
    } while (!(status & 0x40));
    __asm__ volatile("outw %0, %1" ::"a"((uint16_t)(5 << 10 | 1 << 13)),
                     "Nd"((uint16_t)PM1_CONTROL));
    for (;;)
        __asm__ volatile("cli; hlt");
}

static void check(bool good, const char *what)
{
    if (good)
        return;
    say("FAIL ");
    say(what);
    say("\r\n");
    end();
}

#define CHECK(condition) check(condition, #condition)

static const char *text_at(uint64_t address)
{
    return (const char *)(uintptr_t)address;
}

/* The length of b when a begins with it. */
static unsigned begins(const char *a, const char *b)
{
    unsigned n = 0;

    while (b[n] && a[n] == b[n])
        n++;
    return b[n] ? 0 : n;
}

static bool same(const char *a, const char *b)
{
    unsigned n = begins(a, b);

    return n && a[n] == '\0';
}

/* The text behind the first word. */
static const char *second_word(const char *a)
{
    while (*a && *a != ' ')
        a++;
    return *a ? a + 1 : a;
}

static void check_processor(void)
{
    uintptr_t flags, cr0;

    __asm__ volatile("pushf; pop %0" : "=r"(flags));
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    CHECK((flags & 0x200) == 0);
    CHECK((cr0 & 1) == 1);
    CHECK((cr0 >> 31) == (sizeof(void *) == 8));
    CHECK(initialised == 0x12345678);
    for (unsigned i = 0; i < sizeof(zero) / sizeof(zero[0]); i++)
        CHECK(zero[i] == 0);
}

static void check_modules(uint64_t first, uint64_t first_size, uint64_t second,
                          uint64_t second_size)
{
    CHECK(first_size == sizeof(FIRST) - 1 && begins(text_at(first), FIRST));
    CHECK(second_size == sizeof(SECOND) - 1 && begins(text_at(second), SECOND));
    CHECK((first & 0xfff) == 0 && (second & 0xfff) == 0 && first != second);
    CHECK(first >= (uintptr_t)(zero + 1000));
}

void told_by_multiboot(uint32_t magic, const struct info *info)
{
    const struct info_module *m = (const void *)(uintptr_t)info->mods_addr;
    const char *cmdline = text_at(info->cmdline);
    uint64_t high = 0;

    check_processor();
    CHECK(magic == 0x2badb002);
    CHECK(info->flags == 0x24d);
    CHECK(begins(cmdline, "multiboot") && same(second_word(cmdline), CMDLINE));
    CHECK(same(text_at(info->boot_loader_name), "Corbel"));
    CHECK(info->mods_count == 2);
    check_modules(m[0].start, m[0].end - m[0].start, m[1].start, m[1].end - m[1].start);
    CHECK(same(second_word(text_at(m[0].string)), ARGS));
    CHECK(begins(text_at(m[1].string), "two") == 3);
    for (uint32_t at = 0; at < info->mmap_length;) {
        const struct info_memory *e = (const void *)(uintptr_t)(info->mmap_addr + at);

        if (e->base == 0x100000 && e->type == 1)
            high = e->length;
        at += e->size + 4;
    }
    CHECK(high == 15 * 1024 * 1024 && high / 1024 == info->mem_upper);
    CHECK(info->mem_lower == 639);
    say("PASS multiboot\r\n");
    end();
}

#ifndef __x86_64__
/* The n-th tag of a type; NULL: there is none. */
static const struct tag *find_tag(const struct info2 *info, uint32_t type, unsigned n)
{
    const struct tag *t = &info->first;

    while (t->type && (t->type != type || n--))
        t = (const void *)((uintptr_t)t + ((t->size + 7) & ~7u));
    return t->type == type ? t : NULL;
}

static const struct tag *need_tag(const struct info2 *info, uint32_t type, unsigned n)
{
    const struct tag *t = find_tag(info, type, n);

    CHECK(t != NULL);
    return t;
}

/* The names of sections, which no segment holds, are in memory all the same. */
static void check_sections(const struct tag *t)
{
    const struct section *s = (const void *)&t->word[3];
    const char *names = text_at(s[t->word[2]].address);
    bool found = false;

    CHECK(t->word[1] == sizeof(*s) && t->word[2] < t->word[0]);
    CHECK(names != NULL);
    for (uint32_t i = 0; i < t->word[0]; i++)
        found |= same(names + s[i].name, ".bss") && s[i].type == 8;
    CHECK(found);
}

/* Points can be written, and stay. */
static void check_screen(const struct tag *t)
{
    volatile uint32_t *points = (void *)(uintptr_t)t->word[0];

    CHECK(t->word[1] == 0 && t->word[0] >= 0xc0000000);
    CHECK(t->word[2] == 3200 && t->word[3] == 800 && t->word[4] == 600);
    CHECK((t->word[5] & 0xffff) == (32 | 1 << 8));
    for (unsigned y = 0; y < 600; y += 100)
        points[y * 800] = 0x00ff00 + y;
    for (unsigned y = 0; y < 600; y += 100)
        CHECK(points[y * 800] == 0x00ff00 + y);
}

void told_by_multiboot2(uint32_t magic, const struct info2 *info)
{
    const struct tag *map = need_tag(info, 6, 0), *first = need_tag(info, 3, 0),
                     *second = need_tag(info, 3, 1), *screen = find_tag(info, 8, 0);
    const char *cmdline = text_at((uintptr_t)need_tag(info, 1, 0)->word);
    uint32_t high = 0;

    check_processor();
    CHECK(magic == 0x36d76289 && ((uintptr_t)info & 7) == 0 && info->reserved == 0);
    CHECK(begins(cmdline, "multiboot2") && same(second_word(cmdline), CMDLINE));
    CHECK(same(text_at((uintptr_t)need_tag(info, 2, 0)->word), "Corbel"));
    check_modules(first->word[0], first->word[1] - first->word[0], second->word[0],
                  second->word[1] - second->word[0]);
    CHECK(same(second_word(text_at((uintptr_t)&first->word[2])), ARGS));
    CHECK(begins(text_at((uintptr_t)&second->word[2]), "two") == 3);
    CHECK(find_tag(info, 3, 2) == NULL);
    CHECK(need_tag(info, 4, 0)->word[0] == 639 && need_tag(info, 4, 0)->word[1] == 15 * 1024);
    CHECK(map->word[0] == 24 && map->word[1] == 0);
    for (uint32_t i = 2; i < map->size / 4 - 2; i += 6)
        if (map->word[i] == 0x100000 && map->word[i + 4] == 1)
            high = map->word[i + 2];
    CHECK(high == 15 * 1024 * 1024);
    CHECK(begins(text_at((uintptr_t)need_tag(info, 14, 0)->word), "RSD PTR "));
    CHECK(begins(text_at((uintptr_t)need_tag(info, 15, 0)->word), "RSD PTR "));
    CHECK(need_tag(info, 15, 0)->size == 8 + 36);
    CHECK(need_tag(info, 21, 0)->word[0] == 0x200000);
    check_sections(need_tag(info, 9, 0));
    if (screen)
        check_screen(screen);
    say(screen ? "PASS multiboot2 with a screen\r\n" : "PASS multiboot2\r\n");
    end();
}

static uint32_t word_at(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The selectors are those of Linux' boot protocol, and the GDT has what belongs to them. */
static void check_selectors(void)
{
    uint32_t cs, ds, es, ss;

    __asm__ volatile("mov %%cs, %0; mov %%ds, %1; mov %%es, %2; mov %%ss, %3"
                     : "=r"(cs), "=r"(ds), "=r"(es), "=r"(ss));
    CHECK(cs == 0x10 && ds == 0x18 && es == 0x18 && ss == 0x18);
    __asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss; push %1; push $1f; lret; 1:"
                     :
                     : "r"(ds), "r"(cs)
                     : "memory");
}

void told_by_linux(const uint8_t *params, uint32_t ebx, uint32_t ebp, uint32_t edi)
{
    const uint8_t *e = params + 0x2d0;
    uint32_t high = 0, initrd = word_at(params + 0x218);

    check_processor();
    check_selectors();
    CHECK((ebx | ebp | edi) == 0);
    CHECK(word_at(params + 0x202) == 0x53726448);
    CHECK((word_at(params + 0x206) & 0xffff) == 0x0206);
    CHECK(params[0x210] == 0xff);
    CHECK(word_at(params + 0x214) == 0x200000);
    CHECK(word_at(params + 0x21c) == sizeof(FIRST) - 1 && begins(text_at(initrd), FIRST));
    CHECK(same(text_at(word_at(params + 0x228)), CMDLINE));
    for (unsigned i = 0x23c; i < 0x290; i++)
        CHECK(params[i] == 0);
    for (unsigned i = 0; i < params[0x1e8]; i++, e += 20)
        if (word_at(e) == 0x100000 && word_at(e + 16) == 1)
            high = word_at(e + 8);
    CHECK(high == 15 * 1024 * 1024);
    say("PASS linux32\r\n");
    end();
}
#endif

void told_by_start_info(const struct start_info *info)
{
    const struct start_module *m = (const void *)(uintptr_t)info->modlist;
    const struct start_memory *e = (const void *)(uintptr_t)info->memmap;
    uint64_t high = 0;

    check_processor();
    CHECK(info->magic == 0x336ec578 && info->version == 1 && info->flags == 0);
    CHECK(same(text_at(info->cmdline), CMDLINE));
    CHECK(begins(text_at(info->rsdp), "RSD PTR "));
    CHECK(info->nr_modules == 2);
    check_modules(m[0].address, m[0].size, m[1].address, m[1].size);
    CHECK(same(text_at(m[0].cmdline), ARGS));
    CHECK(m[1].cmdline == 0);
    for (uint32_t i = 0; i < info->memmap_entries; i++)
        if (e[i].base == 0x100000 && e[i].type == 1)
            high = e[i].length;
    CHECK(high == 15 * 1024 * 1024);
    say(sizeof(void *) == 8 ? "PASS elf64\r\n" : "PASS pvh\r\n");
    end();
}
