/* See acpi_link.h. Offsets of tables' fields: ACPI Specification, "ACPI Software Programming
 * Model". */
#include "guest/load/acpi_link.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/load/bytes.h"
#include "guest/load/layout.h"

#define TABLE_LENGTH   4
#define TABLE_CHECKSUM 9
#define TABLE_HEADER   36

#define RSDP_CHECKSUM          8
#define RSDP_CHECKED           20 /* bytes of it */
#define RSDP_RSDT              16
#define RSDP_XSDT              24
#define RSDP_EXTENDED_CHECKSUM 32

#define FADT_FACS   36
#define FADT_DSDT   40
#define FADT_X_DSDT 140

/* A command's fields, each kind's own behind the number. */
enum command { ALLOCATE = 1, ADD_POINTER = 2, ADD_CHECKSUM = 3 };
#define FILE_NAME      56
#define COMMAND_FILE   4
#define COMMAND_ALIGN  60 /* of ALLOCATE */
#define COMMAND_ZONE   64
#define COMMAND_SOURCE 60 /* of ADD_POINTER: to which file it points */
#define COMMAND_OFFSET 116
#define COMMAND_SIZE   120
#define COMMAND_RESULT 60 /* of ADD_CHECKSUM */
#define COMMAND_START  64
#define COMMAND_LENGTH 68
#define ZONE_HIGH      1
#define ZONE_BELOW_1M  2  /* where the RSDP is looked for */
#define ALIGNMENT      64 /* of the FACS */
#define RSDP_ALIGNMENT 16

struct linker {
    uint8_t *block;
    size_t size;
    uint8_t *script;
    unsigned count, max;
    bool bad;
};

static uint8_t *command(struct linker *l, enum command what, const char *file)
{
    static uint8_t dropped[ACPI_LINK_COMMAND];
    uint8_t *c = l->count < l->max ? l->script + (size_t)l->count * ACPI_LINK_COMMAND : dropped;

    l->count++;
    memset(c, 0, ACPI_LINK_COMMAND);
    put32(c, what);
    memcpy(c + COMMAND_FILE, file, strlen(file));
    return c;
}

static void allocate(struct linker *l, const char *file, uint32_t alignment, uint8_t zone)
{
    uint8_t *c = command(l, ALLOCATE, file);

    put32(c + COMMAND_ALIGN, alignment);
    c[COMMAND_ZONE] = zone;
}

/* Which file the block's byte at `at` is in, and where. */
static const char *file_of(uint32_t at, uint32_t *offset)
{
    *offset = at < ACPI_RSDP_SIZE ? at : at - ACPI_LINK_TABLES_AT;
    return at < ACPI_RSDP_SIZE ? ACPI_LINK_RSDP : ACPI_LINK_TABLES;
}

/* Where the table is that is pointed to from `at`, by 4 or 8 bytes; 0: from there to none. */
static uint32_t target(struct linker *l, uint32_t at, unsigned size)
{
    uint64_t address = size == 8 ? get64(l->block + at) : get32(l->block + at);

    if (address == 0)
        return 0;
    if (address < GPA_ACPI + ACPI_LINK_TABLES_AT || address > GPA_ACPI + l->size - TABLE_HEADER) {
        l->bad = true;
        return 0;
    }
    return (uint32_t)(address - GPA_ACPI);
}

/* The pointer there becomes an offset in the file of tables. */
static void link_pointer(struct linker *l, uint32_t at, unsigned size)
{
    uint32_t to = target(l, at, size), offset;

    if (to == 0)
        return;
    const char *file = file_of(at, &offset);
    uint8_t *c = command(l, ADD_POINTER, file);
    memcpy(c + COMMAND_SOURCE, ACPI_LINK_TABLES, sizeof(ACPI_LINK_TABLES) - 1);
    put32(c + COMMAND_OFFSET, offset);
    c[COMMAND_SIZE] = (uint8_t)size;
    put32(l->block + at, to - ACPI_LINK_TABLES_AT); /* an upper half is 0 */
}

static void link_checksum(struct linker *l, uint32_t at, uint32_t start, uint32_t length)
{
    uint32_t result, from;
    const char *file = file_of(at, &result);
    uint8_t *c = command(l, ADD_CHECKSUM, file);

    (void)file_of(start, &from);
    put32(c + COMMAND_RESULT, result);
    put32(c + COMMAND_START, from);
    put32(c + COMMAND_LENGTH, length);
    l->block[at] = 0; /* firmware adds it up with the rest */
}

/* The length of the table there; 0, that is none. */
static uint32_t table_length(struct linker *l, uint32_t at)
{
    uint32_t length = at ? get32(l->block + at + TABLE_LENGTH) : 0;

    if (length >= TABLE_HEADER && length <= l->size - at)
        return length;
    l->bad = true;
    return 0;
}

static void link_table(struct linker *l, uint32_t at)
{
    uint32_t length = table_length(l, at);

    if (length)
        link_checksum(l, at + TABLE_CHECKSUM, at, length);
}

static void link_fadt(struct linker *l, uint32_t at)
{
    uint32_t dsdt = target(l, at + FADT_DSDT, 4);

    link_pointer(l, at + FADT_FACS, 4);
    link_pointer(l, at + FADT_DSDT, 4);
    link_pointer(l, at + FADT_X_DSDT, 8);
    link_table(l, dsdt);
}

/* The tables that a root table lists; of two that list the same the first one is given. */
static void link_listed(struct linker *l, uint32_t root)
{
    uint32_t length = table_length(l, root);

    for (uint32_t entry = TABLE_HEADER; entry + 4 <= length && !l->bad; entry += 4) {
        uint32_t at = target(l, root + entry, 4);

        if (table_length(l, at) > FADT_X_DSDT + 8 && memcmp(l->block + at, "FACP", 4) == 0)
            link_fadt(l, at);
        link_table(l, at);
    }
}

static void link_root(struct linker *l, uint32_t root, unsigned size)
{
    uint32_t length = table_length(l, root);

    for (uint32_t entry = TABLE_HEADER; entry + size <= length; entry += size)
        link_pointer(l, root + entry, size);
    link_table(l, root);
}

int acpi_link(uint8_t *block, size_t size, uint8_t *script, unsigned max)
{
    struct linker l = {.block = block, .size = size, .script = script, .max = max};

    if (size < ACPI_LINK_TABLES_AT + TABLE_HEADER || size > GPA_ACPI_SIZE)
        return -EBADMSG;
    uint32_t rsdt = target(&l, RSDP_RSDT, 4), xsdt = target(&l, RSDP_XSDT, 8);

    allocate(&l, ACPI_LINK_TABLES, ALIGNMENT, ZONE_HIGH);
    allocate(&l, ACPI_LINK_RSDP, RSDP_ALIGNMENT, ZONE_BELOW_1M);
    link_listed(&l, rsdt);
    link_root(&l, rsdt, 4);
    link_root(&l, xsdt, 8);
    link_pointer(&l, RSDP_RSDT, 4);
    link_pointer(&l, RSDP_XSDT, 8);
    link_checksum(&l, RSDP_CHECKSUM, 0, RSDP_CHECKED);
    link_checksum(&l, RSDP_EXTENDED_CHECKSUM, 0, ACPI_RSDP_SIZE);
    return l.bad ? -EBADMSG : l.count > max ? -ENOSPC : (int)(l.count * ACPI_LINK_COMMAND);
}
