/* ELF kernels that take a struct hvm_start_info (Xen, public/arch-x86/hvm/start_info.h): PVH, by
 * the "x86/HVM direct boot ABI", and plain ELF64. */
#include "guest/load/pvh.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "guest/load/entry.h"
#include "guest/load/place.h"

#define START_MAGIC   0x336ec578
#define START_VERSION 1 /* the first with a memory map */

struct start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
    uint32_t memmap_entries, reserved;
};

struct start_module {
    uint64_t paddr, size, cmdline_paddr, reserved;
};

struct start_memory {
    uint64_t addr, size;
    uint32_t type, reserved;
};

bool pvh_recognise(const void *kernel, uint64_t size)
{
    struct elf elf;
    char error[LOAD_ERROR];

    return elf_parse(kernel, size, &elf, error) == 0 && elf.has_pvh;
}

bool elf64_recognise(const void *kernel, uint64_t size)
{
    const uint8_t *k = kernel;

    return elf_recognise(k, size) && size > ELF_CLASS && k[ELF_CLASS] == ELF_CLASS_64;
}

static uint64_t write_modules(struct boot_info *b, const struct placement *p)
{
    struct start_module list[LOAD_MODULES];

    for (unsigned i = 0; i < p->modules; i++) {
        const struct guest_module *m = &p->module[i];

        list[i] = (struct start_module){
            .paddr = p->module_gpa[i],
            .size = m->size,
            .cmdline_paddr = m->args_size ? info_text(b, m->args, m->args_size, NULL, 0) : 0,
        };
    }
    return p->modules ? info_put(b, list, p->modules * sizeof(list[0])) : 0;
}

static int write_info(const struct guest_sink *sink, const struct guest_image *image,
                      const struct gpa_layout *layout, const struct placement *p, uint64_t *at)
{
    struct boot_info b = {sink, GPA_BOOT_INFO, 0};
    struct e820_entry map[E820_ENTRIES];
    struct start_memory memory[E820_ENTRIES];
    struct start_info info = {
        .magic = START_MAGIC,
        .version = START_VERSION,
        .nr_modules = p->modules,
        .rsdp_paddr = image->rsdp,
        .memmap_entries = e820_build(layout, map),
    };

    for (unsigned i = 0; i < info.memmap_entries; i++) {
        memory[i] = (struct start_memory){map[i].base, map[i].size, map[i].type, 0};
    }
    info.modlist_paddr = write_modules(&b, p);
    info.cmdline_paddr = info_text(&b, image->cmdline, image->cmdline_size, NULL, 0);
    info.memmap_paddr = info_put(&b, memory, info.memmap_entries * sizeof(memory[0]));
    *at = info_put(&b, &info, sizeof(info));
    return b.error;
}

/* Everything but the entry. */
static int load(const struct guest_image *image, const struct elf *elf,
                const struct gpa_layout *layout, const struct guest_sink *sink, uint64_t *info,
                char *error)
{
    struct placement p;
    int e;

    place_segments(&p, elf);
    e = place(&p, image, layout, error);
    if (e) {
        return e;
    }
    e = place_write(&p, sink);
    e = e ? e : write_info(sink, image, layout, &p, info);
    if (e) {
        format(error, LOAD_ERROR, LOAD_NOT_COPIED, -e);
    }
    return e;
}

int pvh_load(const struct guest_image *image, const struct gpa_layout *layout,
             const struct guest_sink *sink, struct guest_start *start, char *error)
{
    struct elf elf;
    uint64_t info = 0;
    int e = elf_parse(image->kernel, image->kernel_size, &elf, error);

    if (e) {
        return e;
    }
    if (!elf.has_pvh || !elf_holds(&elf, elf.pvh_entry)) {
        format(error, LOAD_ERROR, "has its PVH entry at %#llx, outside of all that it loads",
               (unsigned long long)elf.pvh_entry);
        return -EBADMSG;
    }
    e = load(image, &elf, layout, sink, &info, error);
    if (e) {
        return e;
    }
    e = entry_protected_mode(sink, (uint32_t)elf.pvh_entry, start);
    start->rbx = info;
    if (e) {
        format(error, LOAD_ERROR, LOAD_NOT_COPIED, -e);
    }
    return e;
}

int elf64_load(const struct guest_image *image, const struct gpa_layout *layout,
               const struct guest_sink *sink, struct guest_start *start, char *error)
{
    struct elf elf;
    uint64_t entry, info = 0;
    int e = elf_parse(image->kernel, image->kernel_size, &elf, error);

    e = e ? e : elf_entry(&elf, &entry, error);
    e = e ? e : load(image, &elf, layout, sink, &info, error);
    if (e) {
        return e;
    }
    e = entry_long_mode(sink, entry, start);
    start->rdi = info;
    start->rsp = GPA_BOOT_STACK_TOP - 8; /* as behind a CALL */
    if (e) {
        format(error, LOAD_ERROR, LOAD_NOT_COPIED, -e);
    }
    return e;
}
