/* Synthetic ELF executables for the loaders' tests and fuzzer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ELF_FILE 0x3000

static inline void elf_put(uint8_t *f, uint64_t offset, uint64_t value, unsigned size)
{
    memcpy(f + offset, &value, size);
}

/* Where program header i lies, and its fields by class. */
static inline unsigned elf_ph(bool is_64, unsigned i)
{
    return is_64 ? 64 + i * 56 : 52 + i * 32;
}

enum elf_field { PH_TYPE, PH_OFFSET, PH_VADDR, PH_PADDR, PH_FILESZ, PH_MEMSZ, PH_ALIGN };

static inline void elf_ph_put(uint8_t *f, bool is_64, unsigned i, enum elf_field field,
                              uint64_t value)
{
    static const uint8_t at_64[] = {0, 8, 16, 24, 32, 40, 48}, at_32[] = {0, 4, 8, 12, 16, 20, 28};

    elf_put(f, elf_ph(is_64, i) + (is_64 ? at_64 : at_32)[field], value,
            field != PH_TYPE && is_64 ? 8 : 4);
}

static inline void elf_segment(uint8_t *f, bool is_64, unsigned i, unsigned type, uint64_t offset,
                               uint64_t paddr, uint64_t filesz, uint64_t memsz)
{
    elf_ph_put(f, is_64, i, PH_TYPE, type);
    elf_ph_put(f, is_64, i, PH_OFFSET, offset);
    elf_ph_put(f, is_64, i, PH_VADDR, paddr);
    elf_ph_put(f, is_64, i, PH_PADDR, paddr);
    elf_ph_put(f, is_64, i, PH_FILESZ, filesz);
    elf_ph_put(f, is_64, i, PH_MEMSZ, memsz);
    elf_ph_put(f, is_64, i, PH_ALIGN, 4);
}

#define ELF_ENTRY 0x200100

/* Two segments: 1000h bytes at 2 MiB, from the file's byte 1000h, and 800h bytes of 2000h at 2 MiB
 * + 2000h, from byte 2000h. The entry is in the first. Room for a third program header. */
static inline void elf_make(uint8_t f[ELF_FILE], bool is_64)
{
    for (unsigned i = 0; i < ELF_FILE; i++) {
        f[i] = (uint8_t)(i * 11 + i / 256);
    }
    memset(f, 0, 0x400);
    memcpy(f, "\x7f\x45\x4c\x46", 4);
    f[4] = is_64 ? 2 : 1;
    f[5] = f[6] = 1;
    elf_put(f, 16, 2, 2);              /* e_type: executable */
    elf_put(f, 18, is_64 ? 62 : 3, 2); /* e_machine */
    elf_put(f, 20, 1, 4);              /* e_version */
    elf_put(f, 24, ELF_ENTRY, 4);      /* e_entry */
    elf_put(f, is_64 ? 32 : 28, elf_ph(is_64, 0), 4);
    elf_put(f, is_64 ? 54 : 42, is_64 ? 56 : 32, 2);
    elf_put(f, is_64 ? 56 : 44, 2, 2);
    elf_segment(f, is_64, 0, 1, 0x1000, 0x200000, 0x1000, 0x1000);
    elf_segment(f, is_64, 1, 1, 0x2000, 0x202000, 0x800, 0x2000);
}

static inline void elf_headers(uint8_t *f, bool is_64, unsigned count)
{
    elf_put(f, is_64 ? 56 : 44, count, 2);
}

/* A third program header: notes at byte 300h, one of GNU's and then Xen's with the PVH entry. */
static inline void elf_add_pvh(uint8_t *f, bool is_64, uint64_t entry, unsigned entry_size)
{
    static const uint8_t gnu[] = {4,   0,   0,   0, 5, 0, 0, 0, 3, 0, 0, 0,
                                  'G', 'N', 'U', 0, 1, 2, 3, 4, 5, 0, 0, 0};
    static const uint8_t xen[] = {4, 0, 0, 0, 0, 0, 0, 0, 18, 0, 0, 0, 'X', 'e', 'n', 0};

    elf_headers(f, is_64, 3);
    memcpy(f + 0x300, gnu, sizeof(gnu));
    memcpy(f + 0x318, xen, sizeof(xen));
    f[0x318 + 4] = (uint8_t)entry_size;
    elf_put(f, 0x328, entry, entry_size);
    elf_segment(f, is_64, 2, 4, 0x300, 0, 0x28 + entry_size, 0x28 + entry_size);
}

/* A Multiboot header at a byte of the file. */
static inline void multiboot_put(uint8_t *f, unsigned offset, uint32_t flags)
{
    elf_put(f, offset, 0x1badb002, 4);
    elf_put(f, offset + 4, flags, 4);
    elf_put(f, offset + 8, 0u - 0x1badb002 - flags, 4);
}

/* And one of Multiboot 2: magic, architecture (i386), length, checksum, and the tag that ends it.
 */
static inline void multiboot2_put(uint8_t *f, unsigned offset)
{
    elf_put(f, offset, 0xe85250d6, 4);
    elf_put(f, offset + 4, 0, 4);
    elf_put(f, offset + 8, 24, 4);
    elf_put(f, offset + 12, 0u - 0xe85250d6 - 24, 4);
    elf_put(f, offset + 16, 0, 4);
    elf_put(f, offset + 20, 8, 4);
}

static inline void multiboot_addresses(uint8_t *f, unsigned offset, uint32_t header, uint32_t load,
                                       uint32_t load_end, uint32_t bss_end, uint32_t entry)
{
    elf_put(f, offset + 12, header, 4);
    elf_put(f, offset + 16, load, 4);
    elf_put(f, offset + 20, load_end, 4);
    elf_put(f, offset + 24, bss_end, 4);
    elf_put(f, offset + 28, entry, 4);
}
