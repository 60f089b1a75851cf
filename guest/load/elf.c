/* ELF headers, checked field by field: the file may say anything. */
#include "guest/load/elf.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/load/bytes.h"
#include "guest/load/image.h"

#define EI_DATA    5
#define DATA_LSB   1
#define E_TYPE     16
#define E_MACHINE  18
#define ET_REL     1
#define ET_EXEC    2
#define ET_DYN     3 /* position-independent: where its addresses say, it runs, too */
#define EM_386     3
#define EM_X86_64  62
#define PT_LOAD    1
#define PT_NOTE    4
#define SHT_NULL   0
#define SHT_NOBITS 8  /* zeros, which the file has not */
#define NOTE_PVH   18 /* XEN_ELFNOTE_PHYS32_ENTRY */
#define NOTE_NAME  4  /* "Xen" and its NUL */
#define NOTE_START 12

/* Where the two classes differ. */
static const struct elf_form {
    uint8_t header, phoff, entry, phentsize, phnum, word; /* offsets; bytes of an address */
    uint8_t phsize, offset, vaddr, paddr, filesz, memsz, align;
    uint8_t shoff, shentsize, shsize, sh_addr, sh_offset, sh_size;
} forms[] = {
    {52, 28, 24, 42, 44, 4, 32, 4, 8, 12, 16, 20, 28, 32, 46, 40, 12, 16, 20},
    {64, 32, 24, 54, 56, 8, 56, 8, 16, 24, 32, 40, 48, 40, 58, 64, 16, 24, 32},
};

struct reader {
    const uint8_t *file;
    uint64_t size;
    const struct elf_form *form;
    struct elf *elf;
    char *error;
};

static uint64_t get_word(const struct reader *r, const uint8_t *p)
{
    return r->form->word == 8 ? get64(p) : get32(p);
}

bool elf_recognise(const void *file, uint64_t size)
{
    static const uint8_t magic[] = {0x7f, 'E', 'L', 'F'};

    return size >= sizeof(magic) && memcmp(file, magic, sizeof(magic)) == 0;
}

static int truncated(const struct reader *r, const char *what)
{
    format(r->error, LOAD_ERROR, "is a truncated ELF file: %s after its %llu bytes; copy it again",
           what, (unsigned long long)r->size);
    return -EBADMSG;
}

static int check_header(struct reader *r)
{
    const uint8_t *f = r->file;
    const char *wrong = NULL;
    uint16_t machine, type;

    if (!elf_recognise(f, r->size)) {
        format(r->error, LOAD_ERROR, "is not an ELF file");
        return -EBADMSG;
    }
    if (r->size < forms[1].header) { /* whatever its class: one program header more is longer */
        return truncated(r, "its header ends");
    }
    r->form = &forms[f[ELF_CLASS] == ELF_CLASS_64];
    machine = get16(f + E_MACHINE);
    type = get16(f + E_TYPE);
    if (f[EI_DATA] != DATA_LSB || (f[ELF_CLASS] != ELF_CLASS_32 && f[ELF_CLASS] != ELF_CLASS_64) ||
        (machine != EM_X86_64 && machine != EM_386)) {
        wrong = "for another processor; x86-64 or i386 is needed";
    } else if (machine == EM_386 && f[ELF_CLASS] == ELF_CLASS_64) {
        wrong = "of 64 bits for i386, which cannot be";
    } else if (machine == EM_X86_64 && f[ELF_CLASS] == ELF_CLASS_32) {
        wrong = "of 32 bits for x86-64 (x32); link it for x86-64 or i386";
    } else if (type == ET_REL) {
        wrong = "but no executable; link it";
    } else if (type != ET_EXEC && type != ET_DYN) {
        format(r->error, LOAD_ERROR, "is an ELF file of type %u, which is no executable", type);
        return -EBADMSG;
    } else if (get16(f + r->form->phnum) == 0 || get16(f + r->form->phentsize) != r->form->phsize) {
        wrong = "without program headers, which say what to load; link it as an executable";
    }
    if (wrong) {
        format(r->error, LOAD_ERROR, "is an ELF file %s", wrong);
        return -EBADMSG;
    }
    return 0;
}

/* The part of the file that a program header names. */
static int segment_bytes(const struct reader *r, const uint8_t *ph, const uint8_t **data,
                         uint64_t *bytes)
{
    uint64_t offset = get_word(r, ph + r->form->offset);

    *bytes = get_word(r, ph + r->form->filesz);
    if (offset > r->size || *bytes > r->size - offset) {
        return truncated(r, "a segment of it lies");
    }
    *data = r->file + offset;
    return 0;
}

static int add_segment(const struct reader *r, const uint8_t *ph)
{
    struct elf_segment s = {
        .memory_size = get_word(r, ph + r->form->memsz),
        .vaddr = get_word(r, ph + r->form->vaddr),
        .paddr = get_word(r, ph + r->form->paddr),
    };

    if (s.memory_size == 0) {
        return 0;
    }
    if (segment_bytes(r, ph, &s.data, &s.file_size) < 0) {
        return -EBADMSG;
    }
    if (s.file_size > s.memory_size || s.paddr > UINT64_MAX - s.memory_size ||
        s.vaddr > UINT64_MAX - (s.memory_size - 1)) {
        format(r->error, LOAD_ERROR,
               "is a broken ELF file: a segment of %#llx bytes at %#llx (%#llx in the file) cannot "
               "be",
               (unsigned long long)s.memory_size, (unsigned long long)s.paddr,
               (unsigned long long)s.file_size);
        return -EBADMSG;
    }
    if (r->elf->count == ELF_SEGMENTS) {
        format(r->error, LOAD_ERROR, "has more than %u segments to load", ELF_SEGMENTS);
        return -EBADMSG;
    }
    r->elf->segment[r->elf->count++] = s;
    return 0;
}

/* Look for the PVH note: name "Xen", type 18, the entry's address in 4 or 8 bytes. Name and
 * descriptor are padded to a multiple of align; padding: there may be zeros between notes, too. */
static bool find_pvh(const struct reader *r, const uint8_t *n, uint64_t left, uint64_t align,
                     bool padding)
{
    bool found = false;

    while (left >= NOTE_START) {
        uint64_t name = get32(n), bytes = get32(n + 4);
        uint64_t at = ALIGN_UP(NOTE_START + name, align), next = ALIGN_UP(at + bytes, align);

        if (padding && name == 0) {
            next = align;
        } else if (at + bytes > left) {
            break;
        } else if (name == NOTE_NAME && memcmp(n + NOTE_START, "Xen", NOTE_NAME) == 0 &&
                   get32(n + 8) == NOTE_PVH && (bytes == 4 || bytes == 8)) {
            r->elf->pvh_entry = bytes == 8 ? get64(n + at) : get32(n + at);
            found = true;
        }
        if (next > left) {
            break;
        }
        n += next;
        left -= next;
    }
    return found;
}

/* A segment that is aligned to 8 should have its notes padded to 8. Linkers give it the largest
 * alignment among its sections, and leave notes that are packed by 4 as they are, behind zeros
 * where the next section begins. */
static int read_notes(const struct reader *r, const uint8_t *ph)
{
    uint64_t bytes, align = get_word(r, ph + r->form->align);
    const uint8_t *n;

    if (segment_bytes(r, ph, &n, &bytes) < 0) {
        return -EBADMSG;
    }
    if ((align > 4 && find_pvh(r, n, bytes, 8, false)) || find_pvh(r, n, bytes, 4, align > 4)) {
        r->elf->has_pvh = true;
    }
    return 0;
}

/* Nothing is loaded by it, so that a table that makes no sense is as good as none. */
static void find_sections(const struct reader *r)
{
    const uint8_t *h = r->file + r->form->shentsize; /* its size, how many, the names' */
    uint64_t table = get_word(r, r->file + r->form->shoff);
    unsigned size = get16(h), count = get16(h + 2), names = get16(h + 4);

    if (size == r->form->shsize && count && names < count && table <= r->size &&
        (uint64_t)count * size <= r->size - table) {
        r->elf->sections = r->file + table;
        r->elf->section_count = count;
        r->elf->section_size = size;
        r->elf->section_names = names;
    }
}

int elf_parse(const void *file, uint64_t size, struct elf *elf, char *error)
{
    struct reader r = {.file = file, .size = size, .elf = elf, .error = error};
    uint64_t table, count;

    *elf = (struct elf){0};
    if (check_header(&r) < 0) {
        return -EBADMSG;
    }
    elf->is_64 = r.form->word == 8;
    elf->entry = get_word(&r, r.file + r.form->entry);
    table = get_word(&r, r.file + r.form->phoff);
    count = get16(r.file + r.form->phnum);
    find_sections(&r);
    if (table > size || count * r.form->phsize > size - table) {
        return truncated(&r, "its program headers lie");
    }
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *ph = r.file + table + i * r.form->phsize;
        uint32_t type = get32(ph);

        if ((type == PT_LOAD && add_segment(&r, ph) < 0) ||
            (type == PT_NOTE && read_notes(&r, ph) < 0)) {
            return -EBADMSG;
        }
    }
    if (elf->count == 0) {
        format(error, LOAD_ERROR, "is an ELF file with nothing to load; link it as an executable");
        return -EBADMSG;
    }
    return 0;
}

bool elf_section(const struct elf *elf, const void *file, uint64_t size, unsigned i,
                 uint8_t header[ELF_SECTION_MAX], const uint8_t **data, uint64_t *bytes)
{
    const struct reader r = {.form = &forms[elf->is_64]};
    uint64_t offset;
    uint32_t type;

    memcpy(header, elf->sections + (uint64_t)i * elf->section_size, elf->section_size);
    type = get32(header + 4);
    offset = get_word(&r, header + r.form->sh_offset);
    *bytes = get_word(&r, header + r.form->sh_size);
    if (type == SHT_NULL || type == SHT_NOBITS || *bytes == 0 ||
        get_word(&r, header + r.form->sh_addr) || offset > size || *bytes > size - offset) {
        return false;
    }
    *data = (const uint8_t *)file + offset;
    return true;
}

void elf_section_place(const struct elf *elf, uint8_t *header, uint64_t address)
{
    memcpy(header + forms[elf->is_64].sh_addr, &address, forms[elf->is_64].word);
}

bool elf_holds(const struct elf *elf, uint64_t paddr)
{
    for (unsigned i = 0; i < elf->count; i++) {
        const struct elf_segment *s = &elf->segment[i];

        if (paddr >= s->paddr && paddr - s->paddr < s->memory_size) {
            return true;
        }
    }
    return false;
}

int elf_entry(const struct elf *elf, uint64_t *paddr, char *error)
{
    for (unsigned i = 0; i < elf->count; i++) {
        const struct elf_segment *s = &elf->segment[i];

        if (elf->entry >= s->vaddr && elf->entry - s->vaddr < s->memory_size) {
            *paddr = s->paddr + (elf->entry - s->vaddr);
            return 0;
        }
    }
    *paddr = elf->entry;
    if (!elf_holds(elf, elf->entry)) {
        format(error, LOAD_ERROR, "has its entry at %#llx, outside of all that it loads",
               (unsigned long long)elf->entry);
        return -EBADMSG;
    }
    return 0;
}
