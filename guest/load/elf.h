/* ELF executables for x86 (System V ABI, "Object Files" and "Program Loading"): what a loader has
 * to know of one. */
#pragma once

#include "arch/x86/lib/types.h"

#define ELF_CLASS    4 /* offset of a byte: 32 or 64 bits */
#define ELF_CLASS_32 1
#define ELF_CLASS_64 2

#define ELF_SEGMENTS 32 /* more to load than any kernel has */

struct elf_segment {
    const uint8_t *data; /* in the file */
    uint64_t file_size;  /* at most memory_size; the rest is zero */
    uint64_t memory_size;
    uint64_t vaddr, paddr; /* neither wraps */
};

struct elf {
    bool is_64;
    uint64_t entry; /* as the header has it; see elf_entry() */
    unsigned count;
    struct elf_segment segment[ELF_SEGMENTS]; /* PT_LOAD, without empty ones */
    bool has_pvh;
    uint64_t pvh_entry; /* by the note XEN_ELFNOTE_PHYS32_ENTRY: a physical address */
    /* The table of sections as the file has it; 0: there is none in the file. */
    unsigned section_count, section_size, section_names; /* section_names: the number of one */
    const uint8_t *sections;
};

/* Whether a file begins as ELF does, whatever else is wrong with it. */
bool elf_recognise(const void *file, uint64_t size);

/* Read the headers of an executable for i386 or x86-64; what *elf points to lies in the file.
 * Returns 0 or -EBADMSG and a sentence in error[LOAD_ERROR]. */
int elf_parse(const void *file, uint64_t size, struct elf *elf, char *error) MUST_CHECK;

#define ELF_SECTION_MAX 64 /* bytes of a section's header */

/*
 * Header number i of a section, as the file has it. Returns whether what it describes is in the
 * file and no segment's, so that somebody who wants it in memory has to put it there: *data and
 * *bytes are that then.
 */
bool elf_section(const struct elf *elf, const void *file, uint64_t size, unsigned i,
                 uint8_t header[ELF_SECTION_MAX], const uint8_t **data, uint64_t *bytes);
/* Have a section's header say that it lies there. */
void elf_section_place(const struct elf *elf, uint8_t *header, uint64_t address);

/* Whether a segment holds the byte at a physical address. */
bool elf_holds(const struct elf *elf, uint64_t paddr);

/*
 * The physical address of the entry point: e_entry is virtual where it lies in a segment's virtual
 * addresses, else it must be physical already, as Linux' is. Returns 0, or -EBADMSG and a sentence
 * when no segment holds it.
 */
int elf_entry(const struct elf *elf, uint64_t *paddr, char *error) MUST_CHECK;
