/* How a processor enters a guest's kernel: GDT, page tables and control registers per mode. */
#include "guest/load/entry.h"
#include "guest/load/layout.h"

#define SELECTOR_CODE32 0x08
#define SELECTOR_CODE64 0x10 /* this and the next are what Linux' boot protocols ask for */
#define SELECTOR_DATA   0x18

#define CODE32 0x00cf9b000000ffff
#define CODE64 0x00af9b000000ffff
#define DATA   0x00cf93000000ffff

static const uint64_t gdt[] = {0, CODE32, CODE64, DATA};

#define PAGE_PRESENT_WRITE 3ULL
#define PAGE_LARGE         BIT(7)
#define TABLE_ENTRIES      512u
#define DIRECTORIES        4u /* of 1 GiB each */

#define CR0_ET             0x00000010
#define CR0_PE_ET          0x00000011
#define CR0_PE_ET_NE_WP_PG 0x80010031
#define CR4_PAE            0x20
#define EFER_LME_LMA       0x500

int load_put(const struct guest_sink *sink, uint64_t gpa, const void *data, uint64_t size)
{
    return size ? sink->write(sink->ctx, gpa, data, size) : 0;
}

/* PML4, PDPT, then the page directories. */
static int write_page_tables(const struct guest_sink *sink)
{
    uint64_t entry[64];
    uint64_t directories = GPA_PAGE_TABLES + 2 * PAGE_SIZE;
    int e = sink->zero(sink->ctx, GPA_PAGE_TABLES, 2 * PAGE_SIZE);

    entry[0] = (GPA_PAGE_TABLES + PAGE_SIZE) | PAGE_PRESENT_WRITE;
    e = e ? e : load_put(sink, GPA_PAGE_TABLES, entry, sizeof(entry[0]));
    for (unsigned i = 0; i < DIRECTORIES; i++) {
        entry[i] = (directories + i * PAGE_SIZE) | PAGE_PRESENT_WRITE;
    }
    e = e ? e : load_put(sink, GPA_PAGE_TABLES + PAGE_SIZE, entry, DIRECTORIES * sizeof(entry[0]));
    for (unsigned i = 0; i < DIRECTORIES * TABLE_ENTRIES && !e; i += ARRAY_SIZE(entry)) {
        for (unsigned j = 0; j < ARRAY_SIZE(entry); j++) {
            entry[j] = (i + j) * 2 * MIB | PAGE_PRESENT_WRITE | PAGE_LARGE;
        }
        e = load_put(sink, directories + i * sizeof(entry[0]), entry, sizeof(entry));
    }
    return e;
}

int entry_long_mode(const struct guest_sink *sink, uint64_t rip, struct guest_start *start)
{
    int e = load_put(sink, GPA_GDT, gdt, sizeof(gdt));

    *start = (struct guest_start){
        .mode = GUEST_LONG,
        .rip = rip,
        .cr0 = CR0_PE_ET_NE_WP_PG,
        .cr3 = GPA_PAGE_TABLES,
        .cr4 = CR4_PAE,
        .efer = EFER_LME_LMA,
        .gdt_base = GPA_GDT,
        .gdt_limit = sizeof(gdt) - 1,
        .code_selector = SELECTOR_CODE64,
        .data_selector = SELECTOR_DATA,
    };
    return e ? e : write_page_tables(sink);
}

static int protected_mode(const struct guest_sink *sink, uint32_t eip, const uint64_t table[4],
                          uint16_t code, struct guest_start *start)
{
    *start = (struct guest_start){
        .mode = GUEST_PROTECTED,
        .rip = eip,
        .cr0 = CR0_PE_ET,
        .gdt_base = GPA_GDT,
        .gdt_limit = sizeof(gdt) - 1,
        .code_selector = code,
        .data_selector = SELECTOR_DATA,
    };
    return load_put(sink, GPA_GDT, table, sizeof(gdt));
}

int entry_protected_mode(const struct guest_sink *sink, uint32_t eip, struct guest_start *start)
{
    return protected_mode(sink, eip, gdt, SELECTOR_CODE32, start);
}

int entry_protected_mode_linux(const struct guest_sink *sink, uint32_t eip,
                               struct guest_start *start)
{
    static const uint64_t table[ARRAY_SIZE(gdt)] = {0, 0, CODE32, DATA};

    return protected_mode(sink, eip, table, SELECTOR_CODE64, start);
}

void entry_real_mode(uint16_t ip, struct guest_start *start)
{
    *start = (struct guest_start){.mode = GUEST_REAL, .rip = ip, .rsp = ip, .cr0 = CR0_ET};
}
