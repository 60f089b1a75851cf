/* links: drivers/iommu.c drivers/dmar.c drivers/vtd_tables.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/format.c */
/* Which function reaches what: claims, what firmware wants, units that do not work. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "drivers/acpi.h"
#include "drivers/iommu_internal.h"
#include "drivers/pci_driver.h"
#include "mm/space.h"
#include "tests/unit/mock_frames.h"

/* --- the machine: five functions, two of them behind a bridge that speaks for them --- */

static struct host_pci functions[] = {
    {.address = 0x0010}, {.address = 0x0018}, {.address = 0x0100},
    {.address = 0x0108}, {.address = 0x00fa},
};
static unsigned unquieted;

unsigned host_pci_find(void)
{
    return ARRAY_SIZE(functions);
}

struct host_pci *host_pci_get(unsigned index)
{
    return index < ARRAY_SIZE(functions) ? &functions[index] : NULL;
}

uint16_t host_pci_requester(const struct host_pci *p)
{
    return p->address >> 8 ? 0x0100 : p->address;
}

void host_pci_unquiet(const struct host_pci *p)
{
    unquieted++;
}

uint32_t host_pci_read_at(uint16_t address, unsigned offset)
{
    return UINT32_MAX;
}

static paddr memory_from, memory_to; /* that is ours */

uint16_t frame_owner(paddr frame)
{
    return frame >= memory_from && frame < memory_to ? FRAME_KERNEL : FRAME_RESERVED;
}

paddr frame_alloc_below(unsigned order, uint16_t owner, paddr limit)
{
    paddr at = frame_alloc(order, owner);

    assert_true(at == FRAME_NONE || at + (PAGE_SIZE << order) - 1 <= limit);
    return at;
}

/* --- firmware's table: two units, the second has the rest --- */

static struct {
    struct acpi_header header;
    uint8_t rest[512];
} table;
static unsigned length;
static bool described;

const struct acpi_header *acpi_find(const char signature[4])
{
    assert_memory_equal(signature, "DMAR", 4);
    table.header.length = length;
    return described ? &table.header : NULL;
}

static void put(uint64_t value, unsigned bytes)
{
    memcpy((uint8_t *)&table + length, &value, bytes);
    length += bytes;
}

static void endpoint(unsigned device, unsigned function)
{
    put(1 | 8 << 8, 6);
    put(device | function << 8, 2);
}

static void region(paddr base, paddr end, unsigned device)
{
    put(1 | 32u << 16, 4);
    put(0, 4);
    put(base, 8);
    put(end - 1, 8);
    endpoint(device, 0);
}

static void describe(void)
{
    length = 48;
    put(0 | 24u << 16, 4);
    put(0, 4);
    put(0xfed90000, 8);
    endpoint(2, 0);
    put(0 | 16u << 16, 4);
    put(1, 4);
    put(0xfed91000, 8);
}

/* --- the units --- */

static struct {
    unsigned attached, forgot, forgotten, domains;
    uint16_t address[8];
    const struct vtd_space *space[8];
    struct vtd *unit[8];
    bool bad, started[2], remembers_nothing, zero_reads;
    unsigned does_not_start; /* from 1 */
} m;

static unsigned number(const struct vtd *v)
{
    return (unsigned)(v - iommu_units);
}

void *map_mmio(paddr base, uint64_t size, enum cache cache)
{
    return (void *)base;
}

uint64_t model_read(const struct io *io, unsigned offset, unsigned size)
{
    return 0;
}

void model_write(const struct io *io, unsigned offset, unsigned size, uint64_t value)
{
}

void vtd_write_back(const void *from, size_t size)
{
}

uint64_t vtd_size(const struct io *registers)
{
    return 0x200;
}

const char *vtd_probe(struct vtd *v)
{
    v->levels = 3;
    v->coherent = true;
    return m.bad ? "it is bad" : NULL;
}

int vtd_prepare(struct vtd *v)
{
    static struct vtd_entry root;

    v->root = &root;
    return 0;
}

int vtd_start(struct vtd *v)
{
    if (m.does_not_start == number(v) + 1)
        return -ETIMEDOUT;
    m.started[number(v)] = true;
    return 0;
}

void vtd_stop(struct vtd *v)
{
    m.started[number(v)] = false;
}

unsigned vtd_new_domain(struct vtd *v)
{
    return m.domains ? m.domains-- : 0;
}

int vtd_attach(struct vtd *v, uint16_t address, const struct vtd_space *s, unsigned domain)
{
    assert_true(m.attached < 8);
    m.unit[m.attached] = v;
    m.address[m.attached] = address;
    m.space[m.attached++] = s;
    return 0;
}

void vtd_forget(struct vtd *v, unsigned domain)
{
    m.forgot++;
    m.forgotten = domain;
}

unsigned vtd_address_bits(const struct vtd *v)
{
    return 39;
}

bool vtd_zero_reads(const struct vtd *v)
{
    return m.zero_reads;
}

bool vtd_can_snoop(const struct vtd *v)
{
    return false;
}

bool vtd_remembers_nothing(const struct vtd *v)
{
    return m.remembers_nothing;
}

void iommu_faults_init(void)
{
}

bool iommu_interrupts_init(void)
{
    return true;
}

/* --- setting up --- */

static char said[4096];

static void keep(enum log_level level, const char *line, size_t size)
{
    strncat(said, line, size);
    strcat(said, "\n");
}

static void expect_said(const char *text)
{
    if (!strstr(said, text))
        fail_msg("'%s' is not in:\n%s", text, said);
}

static int setup(void **state)
{
    mock_reset();
    memset(&m, 0, sizeof(m));
    memset(iommu_units, 0, sizeof(iommu_units));
    m.domains = 100;
    memory_from = memory_to = 0;
    unquieted = 0;
    said[0] = 0;
    described = true;
    describe();
    log_set_sink(keep);
    log_set_level(LOG_INFO);
    return 0;
}

static int teardown(void **state)
{
    struct iommu_domain *next;

    for (struct iommu_domain *d = iommu_first_domain(); d; d = next) {
        next = d->next;
        heap_free(d);
    }
    return 0;
}

static void strays(const struct host_pci *p)
{
}

/* --- tests --- */

static void test_which_state(void **state)
{
    described = false;
    iommu_init(true);
    assert_int_equal(iommu_state(), IOMMU_NONE);
    setup(NULL);
    iommu_init(false);
    assert_int_equal(iommu_state(), IOMMU_OFF);
    setup(NULL);
    length--;
    iommu_init(true);
    assert_int_equal(iommu_state(), IOMMU_BAD);
    expect_said("the DMAR table is damaged: devices reach all memory");
    setup(NULL);
    m.bad = true;
    iommu_init(true);
    assert_int_equal(iommu_state(), IOMMU_BAD);
    expect_said("the unit at fed90000 cannot be used: it is bad");
    setup(NULL);
    memory_from = 0xfed00000;
    memory_to = 0xff000000;
    iommu_init(true);
    assert_int_equal(iommu_state(), IOMMU_BAD);
    expect_said("its registers are in memory");
    setup(NULL);
    iommu_init(true);
    assert_int_equal(iommu_state(), IOMMU_ON_WITH_INTERRUPTS);
    assert_true(m.started[0] && m.started[1]);
    assert_int_equal(m.attached, 0); /* nobody reaches anything */
    expect_said("VT-d: 2 units; devices reach what their drivers map; interrupts are remapped");
}

/* Without an IOMMU all is within reach, and calls do nothing. */
static void test_none(void **state)
{
    struct dma *d;
    paddr at;

    described = false;
    iommu_init(true);
    d = dma_claim(&functions[0], "NVMe", strays);
    assert_null(d->ops);
    assert_int_equal(d->highest, UINT64_MAX);
    assert_non_null(dma_alloc(d, 0, UINT32_MAX, &at));
    assert_int_equal(dma_map(d, 0x5000, 1, DMA_READ), 0);
    dma_unmap(d, 0x5000, 1);
    dma_settle(d);
    dma_free(d, at, 0);
    assert_int_equal(mock_used, 0);
    assert_int_equal(m.forgot + m.attached, 0);
}

static void test_claims(void **state)
{
    struct dma *d, *other, *same;
    const uint8_t *memory;
    paddr at;

    iommu_init(true);
    d = dma_claim(&functions[0], "NVMe", strays);
    other = dma_claim(&functions[1], "AHCI", strays);
    assert_ptr_not_equal(d, other);
    assert_ptr_equal(m.unit[0], &iommu_units[0]);
    assert_ptr_equal(m.unit[1], &iommu_units[1]);
    assert_int_equal(m.address[0], 0x0010);
    assert_int_equal(d->highest, BIT(39) - 1);
    memory = dma_alloc(d, 1, UINT64_MAX, &at);
    for (unsigned i = 0; i < 2 * PAGE_SIZE; i++)
        assert_int_equal(memory[i], 0);
    assert_int_equal(vtd_rights(m.space[0], at), VTD_READ | VTD_WRITE);
    assert_int_equal(vtd_rights(m.space[0], at + PAGE_SIZE), VTD_READ | VTD_WRITE);
    assert_int_equal(vtd_rights(m.space[0], at + 2 * PAGE_SIZE), 0);
    assert_int_equal(vtd_rights(m.space[1], at), 0);
    /* Two that nobody can tell from each other; what each of them calls itself counts, too. */
    same = dma_claim(&functions[2], "IDE", strays);
    assert_int_equal(m.attached, 3);
    assert_ptr_equal(dma_claim(&functions[3], "virtio-blk", strays), same);
    assert_int_equal(m.attached, 4);
    assert_int_equal(m.address[2], 0x0100);
    assert_int_equal(m.address[3], 0x0108);
    assert_ptr_equal(m.space[3], m.space[2]);
    assert_string_equal(iommu_domain_of(0x0100)->driver, "virtio-blk");
    m.domains = 0;
    assert_null(dma_claim(&functions[4], "e1000", strays));
    expect_said("e1000: 00:1f.2 is not used");
}

static void test_maps(void **state)
{
    struct dma *d;
    unsigned forgot;

    iommu_init(true);
    d = dma_claim(&functions[0], "NVMe", strays);
    forgot = m.forgot;
    assert_int_equal(dma_map(d, 0x5000, 512, DMA_READ), 0);
    assert_int_equal(vtd_rights(m.space[0], 0x5000), VTD_READ);
    assert_int_equal(dma_map(d, 0x6000, 512, DMA_WRITE), 0);
    assert_int_equal(vtd_rights(m.space[0], 0x6000), VTD_READ | VTD_WRITE); /* reads of nothing */
    m.zero_reads = true;
    assert_int_equal(dma_map(d, 0x7000, 512, DMA_WRITE), 0);
    assert_int_equal(vtd_rights(m.space[0], 0x7000), VTD_WRITE);
    dma_settle(d);
    assert_int_equal(m.forgot, forgot); /* there is nothing to forget */
    dma_unmap(d, 0x6000, 512);
    assert_int_equal(m.forgot, forgot);
    dma_settle(d);
    assert_int_equal(m.forgot, ++forgot);
    assert_int_equal(m.forgotten, 100);
    assert_int_equal(vtd_rights(m.space[0], 0x6000), 0);
    assert_int_equal(dma_map(d, 0x5800, 512, DMA_WRITE), 0); /* one right more */
    assert_int_equal(m.forgot, ++forgot);
    m.remembers_nothing = true;
    assert_int_equal(dma_map(d, 0x8000, 512, DMA_WRITE), 0);
    assert_int_equal(m.forgot, ++forgot);
    dma_unmap(d, 0x9000, 512);
    expect_said("NVMe: memory at 9000 was to be taken from its device, which never had it");
    assert_int_equal(dma_map(d, BIT(39), 1, DMA_READ), -ERANGE);
    iommu_test_forget(true);
    assert_int_equal(dma_map(d, 0xa000, 512, DMA_WRITE), 0);
    assert_int_equal(vtd_rights(m.space[0], 0xa000), 0);
    dma_unmap(d, 0xa000, 512);
    iommu_test_forget(false);
    assert_int_equal(dma_map(d, 0xa000, 512, DMA_WRITE), 0);
    assert_int_equal(vtd_rights(m.space[0], 0xa000), VTD_WRITE);
}

static void test_no_memory(void **state)
{
    struct dma *d;
    paddr at;

    iommu_init(true);
    d = dma_claim(&functions[0], "NVMe", strays);
    mock_limit = mock_used + 1; /* for it, and not for its tables */
    assert_null(dma_alloc(d, 0, UINT64_MAX, &at));
    mock_limit = mock_used;
    assert_null(dma_alloc(d, 0, UINT64_MAX, &at));
    assert_null(dma_claim(&functions[1], "AHCI", strays));
    mock_heap_left = 0;
    assert_null(dma_claim(&functions[1], "AHCI", strays));
}

/* What firmware wants a device to reach, it reaches from the first moment on, and with a driver. */
static void test_regions(void **state)
{
    struct dma *d;

    region(0x7f800000, 0x7f802000, 2);
    region(0x7f900000, 0x7f901000, 9); /* nobody is there */
    memory_from = 0x100000;
    memory_to = 0x7f000000;
    iommu_init(true);
    assert_int_equal(iommu_state(), IOMMU_ON_WITH_INTERRUPTS);
    assert_int_equal(m.attached, 1);
    assert_int_equal(m.address[0], 0x0010);
    assert_int_equal(vtd_rights(m.space[0], 0x7f801000), VTD_READ | VTD_WRITE);
    assert_int_equal(vtd_rights(m.space[0], 0x7f802000), 0);
    assert_int_equal(unquieted, 1);
    expect_said("VT-d: 00:02.0 may reach 7f800000-7f801fff, as firmware wants it");
    d = dma_claim(&functions[0], "NVMe", strays);
    assert_int_equal(m.attached, 1);
    assert_ptr_equal(d, &iommu_domain_of(0x0010)->dma);
    assert_int_equal(vtd_rights(m.space[0], 0x7f801000), VTD_READ | VTD_WRITE);
}

static void test_regions_refused(void **state)
{
    region(0x7efff000, 0x7f001000, 2); /* its first page is ours */
    region(0x80000000, 0xc0000000, 2); /* too large to be true */
    memory_from = 0x100000;
    memory_to = 0x7f000000;
    iommu_init(true);
    assert_int_equal(iommu_state(), IOMMU_ON_WITH_INTERRUPTS);
    assert_int_equal(m.attached, 0);
    assert_int_equal(unquieted, 0);
    expect_said("firmware wants 00:02.0 to reach 7efff000-7f000fff, which is not its: refused");
    expect_said("firmware wants 00:02.0 to reach 80000000-bfffffff, which is not its: refused");
}

/* One that does not come up: then none is on, and nobody waits for what nobody does. */
static void test_does_not_come_up(void **state)
{
    region(0x7f800000, 0x7f802000, 2);
    m.does_not_start = 2;
    iommu_init(true);
    assert_int_equal(iommu_state(), IOMMU_BAD);
    assert_false(m.started[0] || m.started[1]);
    expect_said("the unit at fed91000 does not come up: devices reach all memory");
    assert_null(dma_claim(&functions[0], "NVMe", strays)->ops);
    assert_null(dma_claim(&functions[1], "AHCI", strays)->ops);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_which_state),     TEST(test_none),
        TEST(test_claims),          TEST(test_maps),
        TEST(test_no_memory),       TEST(test_regions),
        TEST(test_regions_refused), TEST(test_does_not_come_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
