/* links: drivers/iommu_faults.c arch/x86/lib/log.c arch/x86/lib/format.c */
/* What is told of faults, to whom, and how often. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/tsc.h"
#include "drivers/iommu_internal.h"
#include "drivers/pci_driver.h"

uint64_t tsc_hz = 1000000;
static uint64_t now;

uint64_t test_tsc(void)
{
    return now;
}

/* --- what is around it --- */

struct vtd iommu_units[DMAR_UNITS];
unsigned iommu_unit_count = 2;

static struct vtd_entry table;
static struct host_pci card = {.address = 0x0018}, behind = {.address = 0x0208};
static struct iommu_domain second, first;
static unsigned told_card, told_behind, recorded, attentions;
static struct vtd_fault pending;
static bool masked[2], overflow, no_vector;
static void (*handler)(void *);

enum iommu_state iommu_state(void)
{
    return IOMMU_ON;
}

struct iommu_domain *iommu_first_domain(void)
{
    return &first;
}

struct iommu_domain *iommu_domain_of(uint16_t address)
{
    return address == first.address ? &first : address == second.address ? &second : NULL;
}

int host_interrupt_message(void (*fn)(void *), void *arg, struct host_pci_message *m)
{
    handler = fn;
    *m = (struct host_pci_message){0xfee00000, 0x51};
    return no_vector ? -ENOSPC : 0;
}

void vtd_set_fault_message(struct vtd *v, uint64_t address, uint32_t data)
{
    assert_int_equal(address, 0xfee00000);
    assert_int_equal(data, 0x51);
    masked[v - iommu_units] = false;
}

void vtd_mask_faults(struct vtd *v, bool on)
{
    masked[v - iommu_units] = on;
}

/* The second unit has `recorded` of them. */
bool vtd_take_fault(struct vtd *v, struct vtd_fault *out, bool *lost)
{
    if (v == &iommu_units[0] || !recorded) {
        *lost = v != &iommu_units[0] && overflow;
        return false;
    }
    recorded--;
    *out = pending;
    return true;
}

const char *vtd_reason(unsigned reason)
{
    return "as it is";
}

bool vtd_is_interrupt(unsigned reason)
{
    return reason >= 0x20;
}

static void card_strays(const struct host_pci *p)
{
    assert_ptr_equal(p, &card);
    told_card++;
}

static void behind_strays(const struct host_pci *p)
{
    assert_ptr_equal(p, &behind);
    told_behind++;
}

static char said[4096];
static unsigned lines;

static void keep(enum log_level level, const char *line, size_t length)
{
    strncat(said, line, length);
    strcat(said, "\n");
    lines++;
}

static void call(void)
{
    attentions++;
}

static int setup(void **state)
{
    now += 100 * tsc_hz; /* the last test's lines are forgotten */
    memset(iommu_units, 0, sizeof(iommu_units));
    iommu_units[0].root = iommu_units[1].root = &table;
    first = (struct iommu_domain){
        .address = 0x0018, .driver = "NVMe", .fault = card_strays, .pci = &card, .next = &second};
    second = (struct iommu_domain){
        .address = 0x0200, .driver = "AHCI", .fault = behind_strays, .pci = &behind};
    recorded = told_card = told_behind = attentions = lines = 0;
    masked[0] = masked[1] = true;
    overflow = no_vector = false;
    said[0] = 0;
    log_set_sink(keep);
    iommu_set_attention(call);
    iommu_faults_init();
    assert_false(masked[0] || masked[1]);
    lines = 0;
    said[0] = 0;
    return 0;
}

static void comes(unsigned count, uint16_t source, unsigned reason, bool read)
{
    recorded = count;
    pending = (struct vtd_fault){source, (uint8_t)reason, read, 0x12345000};
    handler(NULL);
}

/* --- tests --- */

static void test_named(void **state)
{
    comes(1, 0x0018, 5, false);
    assert_string_equal(said, "VT-d: blocked: 00:03.0 (NVMe) writes 12345000: as it is\n");
    assert_int_equal(told_card, 1);
    said[0] = 0;
    comes(1, 0x0208, 6, true); /* it speaks for itself, though a bridge does so mostly */
    assert_string_equal(said, "VT-d: blocked: 02:01.0 (AHCI) reads 12345000: as it is\n");
    assert_int_equal(told_behind, 1);
    said[0] = 0;
    comes(1, 0xff07, 1, true);
    assert_string_equal(said, "VT-d: blocked: ff:00.7 (no driver) reads 12345000: as it is\n");
    said[0] = 0;
    comes(1, 0x0018, 0x22, false);
    assert_string_equal(said, "VT-d: blocked: interrupt 305418240 of 00:03.0 (NVMe): as it is\n");
    assert_int_equal(told_behind, 1);
    assert_int_equal(attentions, 0);
    assert_int_equal(iommu_work(), UINT64_MAX);
}

/* A device that does not stop costs a bounded time, and a bounded log. */
static void test_flood(void **state)
{
    comes(1000, 0x0018, 5, false);
    assert_int_equal(recorded, 992);
    assert_int_equal(told_card, 1);
    assert_int_equal(attentions, 1);
    assert_true(masked[1]);
    assert_false(masked[0]);
    assert_int_equal(iommu_work(), now + tsc_hz / 10);
    assert_int_equal(recorded, 992);
    for (unsigned i = 0; i < 50; i++) {
        now += tsc_hz / 10;
        (void)iommu_work();
        assert_true(masked[1]);
    }
    assert_int_equal(recorded, 592);
    assert_int_equal(lines, 8);
    now += 6 * tsc_hz;
    recorded = 1;
    assert_int_equal(iommu_work(), UINT64_MAX);
    assert_false(masked[1]);
    assert_int_equal(lines, 10); /* how many were not told, and the new one */
    assert_non_null(strstr(said, "400 more were blocked, and not told"));
}

static void test_without_an_interrupt(void **state)
{
    no_vector = true;
    iommu_faults_init();
    assert_non_null(strstr(said, "it is looked for each second"));
    recorded = 1;
    now += 2 * tsc_hz;
    assert_int_equal(iommu_work(), now + tsc_hz);
    assert_int_equal(recorded, 0);
    recorded = 1;
    assert_int_equal(iommu_work(), now + tsc_hz);
    assert_int_equal(recorded, 1);
    now += tsc_hz;
    overflow = true;
    (void)iommu_work();
    assert_int_equal(recorded, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_named, setup),
        cmocka_unit_test_setup(test_flood, setup),
        cmocka_unit_test_setup(test_without_an_interrupt, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
