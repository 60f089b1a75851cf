#include <elf.h>
#include "boot/loader.h"
#include "boot/paging.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

/* The microkernel's ELF, put into this file by boot/embed.asm. */
extern const uint8_t kernel_elf[] __attribute__((visibility("hidden")));
extern const uint8_t kernel_elf_end[] __attribute__((visibility("hidden")));

#define KERNEL_BOTTOM 0xffffffff80000000ULL
#define KERNEL_MAX    (256 * MIB)

static const Elf64_Ehdr *elf_header(void)
{
    return (const Elf64_Ehdr *)kernel_elf;
}

static const Elf64_Phdr *segment(unsigned i)
{
    return (const Elf64_Phdr *)(kernel_elf + elf_header()->e_phoff) + i;
}

/* The link addresses that the segments span. */
static int extent(uint64_t *low, uint64_t *high)
{
    const Elf64_Ehdr *e = elf_header();
    size_t size = (size_t)(kernel_elf_end - kernel_elf);

    *low = UINT64_MAX;
    *high = 0;
    if (size < sizeof(*e) || memcmp(e->e_ident, ELFMAG, SELFMAG) != 0 ||
        e->e_machine != EM_X86_64 || e->e_phentsize != sizeof(Elf64_Phdr) || e->e_phoff > size ||
        e->e_phnum > (size - e->e_phoff) / sizeof(Elf64_Phdr))
        return -EBADMSG;
    for (unsigned i = 0; i < e->e_phnum; i++) {
        const Elf64_Phdr *p = segment(i);

        if (p->p_type != PT_LOAD || !p->p_memsz)
            continue;
        if (p->p_vaddr < KERNEL_BOTTOM || p->p_memsz > KERNEL_MAX ||
            p->p_vaddr - KERNEL_BOTTOM > KERNEL_MAX || p->p_offset > size ||
            p->p_filesz > size - p->p_offset || p->p_filesz > p->p_memsz ||
            !IS_ALIGNED(p->p_vaddr, PAGE_SIZE) || ((p->p_flags & PF_W) && (p->p_flags & PF_X)))
            return -EBADMSG;
        *low = MIN(*low, p->p_vaddr);
        *high = MAX(*high, ALIGN_UP(p->p_vaddr + p->p_memsz, PAGE_SIZE));
    }
    return *high > *low ? 0 : -EBADMSG;
}

int kernel_load(struct handover *h, uint64_t *entry)
{
    uint64_t low, high;
    uint8_t *image;

    if (extent(&low, &high) < 0) {
        say("the microkernel inside this file is damaged: write the boot disk again.");
        return -EBADMSG;
    }
    image = memory_allocate(high - low);
    if (!image) {
        say("no %u KiB of memory in one piece for the microkernel: the machine needs more memory.",
            (unsigned)((high - low) / KIB));
        return -ENOMEM;
    }
    for (unsigned i = 0; i < elf_header()->e_phnum; i++)
        if (segment(i)->p_type == PT_LOAD)
            memcpy(image + (segment(i)->p_vaddr - low), kernel_elf + segment(i)->p_offset,
                   segment(i)->p_filesz);
    h->kernel_base = (uintptr_t)image;
    h->kernel_size = high - low;
    *entry = elf_header()->e_entry;
    return 0;
}

/* RAM and everything else below 4 GiB, then each later range that is not MMIO or reserved. */
static int map_memory(struct paging *p)
{
    struct memory_map map = {0};
    int status = memory_map(&map);

    if (status == 0)
        status = paging_map(p, 0, 0, 4 * GIB, PTE_WRITABLE | PTE_NX);
    for (UINTN at = 0; at + map.step <= map.size && status == 0; at += map.step) {
        const EFI_MEMORY_DESCRIPTOR *d = (const EFI_MEMORY_DESCRIPTOR *)(map.at + at);
        uint64_t from = ALIGN_DOWN(d->PhysicalStart, 2 * MIB);
        uint64_t to = ALIGN_UP(d->PhysicalStart + d->NumberOfPages * PAGE_SIZE, 2 * MIB);

        if (d->Type == EfiReservedMemoryType || d->Type == EfiUnusableMemory ||
            d->Type >= EfiMemoryMappedIO)
            continue;
        from = MAX(from, 4 * GIB);
        if (from < to)
            status = paging_map(p, from, from, to - from, PTE_WRITABLE | PTE_NX);
    }
    memory_map_free(&map);
    return status;
}

int kernel_map(struct handover *h, uint64_t trampoline)
{
    struct paging p = {.root = memory_page(), .page = memory_page};
    uint64_t low, high;
    int status;

    if (!p.root)
        return -ENOMEM;
    h->page_table = (uintptr_t)p.root;
    status = map_memory(&p);
    if (status)
        return status;
    /* The direct map is the identity map seen through the upper half: the same tables. */
    for (unsigned i = 0; i < 255; i++)
        p.root[256 + i] = p.root[i];
    status = paging_map(&p, trampoline, trampoline, PAGE_SIZE, 0);
    (void)extent(&low, &high);
    for (unsigned i = 0; i < elf_header()->e_phnum && status == 0; i++) {
        const Elf64_Phdr *s = segment(i);

        if (s->p_type == PT_LOAD && s->p_memsz)
            status = paging_map(&p, s->p_vaddr, h->kernel_base + (s->p_vaddr - low),
                                ALIGN_UP(s->p_memsz, PAGE_SIZE),
                                (s->p_flags & PF_W ? PTE_WRITABLE : 0) |
                                    (s->p_flags & PF_X ? 0 : PTE_NX));
    }
    return status;
}
