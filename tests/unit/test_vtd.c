/* links: drivers/vtd.c drivers/vtd_tables.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/format.c */
/* A remapping unit by a model of it: what it is told, when, and what it knows still. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/tsc.h"
#include "drivers/vtd.h"
#include "tests/unit/mock_frames.h"

uint64_t tsc_hz = 1000000;
static uint64_t now;

uint64_t test_tsc(void)
{
    return now++;
}

/* --- the model --- */

#define CAP_LEVELS(n) (BIT((n) + 6)) /* in CAP's SAGAW */
#define MGAW_48       (47ull << 16)
#define FRO           0x200u
#define FAULTS        3u
#define IRO           0x100u
#define DOMAINS_256   2u
#define WBF           BIT(4)

#define TE    BIT(31)
#define SRTP  BIT(30)
#define QIE   BIT(26)
#define IRE   BIT(25)
#define SIRTP BIT(24)
#define CFI   BIT(23)

static struct {
    uint64_t cap, ecap, rtaddr, iqa, irta, ccmd, iotlb;
    uint32_t version, gsts, iqh, iqt, fsts, fectl, fedata, feaddr, feuaddr, pmen;
    struct vtd_entry fault[FAULTS];
    bool mute;      /* commands are not carried out */
    bool mute_ask;  /* nor what it is asked to forget */
    uint32_t error; /* of the queue, with the next thing that is asked */
    unsigned context_all, iotlb_all, iotlb_domain, interrupts_all, flushes;
    unsigned domain; /* that was forgotten last */
    paddr root;      /* that it uses */
    bool forgot_before_on;
} m;

void vtd_write_back(const void *from, size_t size)
{
}

static void forget(uint64_t low)
{
    switch (low & 0xf) {
    case 1:
        assert_int_equal(low, 0x11);
        m.context_all++;
        break;
    case 2:
        assert_int_equal(low & 0xc0, 0xc0); /* what is on its way has arrived */
        if ((low >> 4 & 3) == 1) {
            m.iotlb_all++;
        } else {
            assert_int_equal(low >> 4 & 3, 2);
            m.iotlb_domain++;
            m.domain = low >> 16 & 0xffff;
        }
        break;
    case 4:
        assert_int_equal(low, 4);
        m.interrupts_all++;
        break;
    default:
        fail_msg("the queue has %lx", low);
    }
}

static void work_queue(void)
{
    while (m.iqh != m.iqt) {
        struct vtd_entry e;

        memcpy(&e, phys_to_virt((m.iqa & ~0xfffull) + m.iqh), sizeof(e));
        m.iqh = (m.iqh + 16) % 4096;
        if (m.error) {
            m.fsts |= m.error;
            m.error = 0;
            return;
        }
        if ((e.low & 0xf) == 5) {
            uint32_t value = (uint32_t)(e.low >> 32);

            assert_int_equal(e.low & 0x70, 0x20);
            memcpy(phys_to_virt(e.high), &value, 4);
        } else {
            forget(e.low);
        }
    }
}

static void command(uint32_t value)
{
    uint32_t changed = (value ^ m.gsts) & (uint32_t)(TE | QIE | IRE | CFI);

    if (m.mute)
        return;
    assert_true((changed & (changed - 1)) == 0); /* one at a time */
    assert_true(!changed || !(value & (SRTP | SIRTP | BIT(27))));
    if (value & SRTP) {
        m.root = m.rtaddr;
        m.gsts |= (uint32_t)SRTP;
        m.context_all = m.iotlb_all = 0;
    }
    if (value & SIRTP) {
        m.gsts |= (uint32_t)SIRTP;
        m.interrupts_all = 0;
    }
    if (value & BIT(27))
        m.flushes++;
    if (changed & TE && value & TE)
        m.forgot_before_on = m.context_all && m.iotlb_all && m.root;
    if (changed & QIE && value & QIE) {
        assert_int_equal(m.iqt, 0);
        m.iqh = 0;
    }
    m.gsts ^= changed;
}

static uint32_t half(uint64_t value, unsigned offset)
{
    return (uint32_t)(offset & 4 ? value >> 32 : value);
}

uint64_t model_read(const struct io *io, unsigned offset, unsigned size)
{
    assert_int_equal(size, 4);
    assert_true(offset < io->size);
    if (offset >= FRO && offset < FRO + 16 * FAULTS)
        return ((const uint32_t *)m.fault)[(offset - FRO) / 4];
    switch (offset) {
    case 0x00:
        return m.version;
    case 0x08:
    case 0x0c:
        return half(m.cap, offset);
    case 0x10:
    case 0x14:
        return half(m.ecap, offset ^ 0x10);
    case 0x1c:
        return m.gsts;
    case 0x2c:
        return half(m.ccmd, 4);
    case 0x34:
        return m.fsts;
    case 0x38:
        return m.fectl;
    case 0x64:
        return m.pmen;
    case IRO + 12:
        return half(m.iotlb, 4);
    default:
        fail_msg("read of %x", offset);
    }
    return 0;
}

static void put_half(uint64_t *field, unsigned offset, uint64_t value)
{
    *field = offset & 4 ? (uint32_t)*field | value << 32 : (*field & ~0xffffffffull) | value;
}

void model_write(const struct io *io, unsigned offset, unsigned size, uint64_t value)
{
    assert_int_equal(size, 4);
    if (offset >= FRO && offset < FRO + 16 * FAULTS) {
        assert_int_equal(offset % 16, 12);
        ((uint32_t *)m.fault)[(offset - FRO) / 4] &= ~(uint32_t)value;
        return;
    }
    switch (offset) {
    case 0x18:
        command((uint32_t)value);
        break;
    case 0x20:
    case 0x24:
        put_half(&m.rtaddr, offset, value);
        break;
    case 0x28:
    case 0x2c:
        assert_false(m.gsts & QIE);
        put_half(&m.ccmd, offset, value);
        if (offset & 4 && !m.mute_ask) {
            assert_int_equal(value, 0xa0000000);
            m.context_all++;
            m.ccmd &= ~BIT(63);
        }
        break;
    case IRO + 8:
    case IRO + 12:
        assert_false(m.gsts & QIE);
        put_half(&m.iotlb, offset ^ 8, value);
        if (offset & 4 && !m.mute_ask) {
            assert_int_equal(value >> 16 & 3, 3); /* drained */
            if (value >> 28 == 9)
                m.iotlb_all++;
            else
                m.iotlb_domain++, m.domain = value & 0xffff;
            m.iotlb &= ~BIT(63);
        }
        break;
    case 0x34:
        m.fsts &= ~(uint32_t)value;
        break;
    case 0x38:
        m.fectl = (uint32_t)value;
        break;
    case 0x3c:
        m.fedata = (uint32_t)value;
        break;
    case 0x40:
        m.feaddr = (uint32_t)value;
        break;
    case 0x44:
        m.feuaddr = (uint32_t)value;
        break;
    case 0x64:
        m.pmen = (uint32_t)value & BIT(31) ? 0x80000001 : 0;
        break;
    case 0x88:
        m.iqt = (uint32_t)value;
        if (m.gsts & QIE && !m.mute_ask)
            work_queue();
        break;
    case 0x8c:
        assert_int_equal(value, 0);
        break;
    case 0x90:
    case 0x94:
        assert_false(m.gsts & QIE);
        put_half(&m.iqa, offset ^ 0x10, value);
        break;
    case 0xb8:
    case 0xbc:
        put_half(&m.irta, offset ^ 8, value);
        break;
    default:
        fail_msg("write of %x", offset);
    }
}

/* --- the driver on it --- */

static struct vtd v;

static int setup(void **state)
{
    mock_reset();
    memset(&m, 0, sizeof(m));
    m.version = 0x10;
    m.cap = DOMAINS_256 | CAP_LEVELS(4) | MGAW_48 | (uint64_t)(FRO / 16) << 24 |
            (uint64_t)(FAULTS - 1) << 40;
    m.ecap = BIT(1) | BIT(3) | (uint64_t)(IRO / 16) << 8; /* queue, interrupts */
    v = (struct vtd){.registers = {.base = 1, .size = 0x1000}};
    return 0;
}

static void start(void)
{
    assert_null(vtd_probe(&v));
    assert_int_equal(vtd_prepare(&v), 0);
    assert_int_equal(vtd_start(&v), 0);
    assert_true(m.gsts & TE);
    assert_int_equal(m.root, v.root_at);
    assert_true(m.forgot_before_on);
}

static void test_what_it_can(void **state)
{
    assert_null(vtd_probe(&v));
    assert_int_equal(v.levels, 4);
    assert_false(v.coherent);
    assert_true(v.queued);
    assert_int_equal(v.domains, 256);
    assert_int_equal(vtd_address_bits(&v), 48);
    assert_false(vtd_zero_reads(&v));
    assert_false(vtd_remembers_nothing(&v));
    assert_int_equal(vtd_size(&v.registers), FRO + 16 * FAULTS);
    setup(NULL);
    m.cap |= CAP_LEVELS(3) | CAP_LEVELS(5) | BIT(7) | BIT(22);
    m.ecap |= BIT(0) | BIT(7);
    assert_null(vtd_probe(&v));
    assert_int_equal(v.levels, 4);
    assert_true(v.coherent);
    assert_true(vtd_can_snoop(&v));
    assert_true(vtd_zero_reads(&v));
    assert_true(vtd_remembers_nothing(&v));
    setup(NULL);
    m.cap ^= CAP_LEVELS(4) | CAP_LEVELS(3) | 7;
    assert_null(vtd_probe(&v));
    assert_int_equal(v.levels, 3);
    assert_int_equal(vtd_address_bits(&v), 39);
    assert_int_equal(v.domains, 0x4000);
    setup(NULL);
    m.cap ^= CAP_LEVELS(4) | CAP_LEVELS(5);
    assert_null(vtd_probe(&v));
    assert_int_equal(v.levels, 5);
    setup(NULL);
    m.cap ^= CAP_LEVELS(4) | CAP_LEVELS(2);
    assert_non_null(vtd_probe(&v));
    m.version = UINT32_MAX;
    assert_non_null(vtd_probe(&v));
    m.version = 0;
    assert_non_null(vtd_probe(&v));
    setup(NULL);
    m.ecap = 0xffull << 8; /* beyond the page that was mapped */
    v.registers.size = 0xff0 + 15;
    assert_non_null(vtd_probe(&v));
    v.registers.size++;
    assert_null(vtd_probe(&v));
}

static void test_start(void **state)
{
    start();
    assert_int_equal(m.gsts, TE | SRTP | QIE);
    vtd_stop(&v);
    assert_false(m.gsts & TE);
}

static void test_start_by_registers(void **state)
{
    m.ecap &= ~BIT(1);
    start();
    assert_int_equal(m.gsts, TE | SRTP);
    assert_false(vtd_can_remap(&v, false));
    vtd_forget(&v, 7);
    assert_int_equal(m.iotlb_domain, 1);
    assert_int_equal(m.domain, 7);
    m.mute_ask = true;
    vtd_forget(&v, 7);
    assert_true(v.dead);
}

/* Firmware had it on: in between nothing passes that did not before. */
static void test_taken_over(void **state)
{
    m.gsts = (uint32_t)(TE | SRTP | QIE | IRE | SIRTP | CFI);
    m.iqt = 0x100;
    m.pmen = 0x80000001;
    m.fsts = 0x70;
    assert_null(vtd_probe(&v));
    assert_int_equal(vtd_prepare(&v), 0);
    assert_int_equal(vtd_start(&v), 0);
    assert_int_equal(m.gsts, TE | SRTP | QIE | SIRTP | CFI);
    assert_int_equal(m.root, v.root_at);
    assert_true(m.context_all && m.iotlb_all);
    assert_int_equal(m.pmen, 0);
    assert_int_equal(m.fsts, 0);
}

static void test_does_not_start(void **state)
{
    assert_null(vtd_probe(&v));
    assert_int_equal(vtd_prepare(&v), 0);
    m.mute = true;
    assert_int_equal(vtd_start(&v), -ETIMEDOUT);
    setup(NULL);
    assert_null(vtd_probe(&v));
    assert_int_equal(vtd_prepare(&v), 0);
    m.mute_ask = true;
    assert_int_equal(vtd_start(&v), -ETIMEDOUT);
    assert_false(m.gsts & TE);
    setup(NULL);
    assert_null(vtd_probe(&v));
    mock_limit = mock_used + 1;
    assert_int_equal(vtd_prepare(&v), -ENOMEM);
}

static struct vtd_entry entry(paddr table, unsigned n)
{
    struct vtd_entry e;

    memcpy(&e, phys_to_virt(table + n * sizeof(e)), sizeof(e));
    return e;
}

static void test_devices(void **state)
{
    struct vtd_space space = {.root = 0x777000, .levels = 4};
    struct vtd_entry root;

    start();
    for (unsigned bus = 0; bus < 256; bus++)
        assert_int_equal(entry(m.root, bus).low, 0); /* nobody reaches anything */
    m.context_all = 0;
    assert_int_equal(vtd_attach(&v, 0x1234, &space, 5), 0);
    assert_int_equal(m.context_all, 1);
    root = entry(m.root, 0x12);
    assert_int_equal(root.low & 0xfff, 1);
    assert_int_equal(entry(root.low & ~0xfffull, 0x34).low, 0x777001);
    assert_int_equal(entry(root.low & ~0xfffull, 0x34).high, 0x502);
    for (unsigned i = 0; i < 256; i++)
        if (i != 0x34)
            assert_int_equal(entry(root.low & ~0xfffull, i).low, 0);
    assert_int_equal(vtd_attach(&v, 0x1235, &space, 6), 0);
    assert_int_equal(entry(m.root, 0x12).low, root.low);
    mock_limit = mock_used;
    assert_int_equal(vtd_attach(&v, 0x1300, &space, 6), -ENOMEM);
    assert_int_equal(entry(m.root, 0x13).low, 0);
    for (unsigned i = 1; i < 256; i++)
        assert_int_equal(vtd_new_domain(&v), i);
    assert_int_equal(vtd_new_domain(&v), 0);
}

/* What firmware wants devices to reach is there before the unit is on, which is not asked yet. */
static void test_devices_before_the_start(void **state)
{
    struct vtd_space space = {.root = 0x777000, .levels = 4};

    assert_null(vtd_probe(&v));
    assert_int_equal(vtd_prepare(&v), 0);
    assert_int_equal(vtd_attach(&v, 0x0010, &space, vtd_new_domain(&v)), 0);
    vtd_forget(&v, 1);
    assert_int_equal(m.context_all + m.iotlb_domain, 0);
    assert_false(v.dead);
    assert_int_equal(vtd_start(&v), 0);
    assert_true(m.forgot_before_on);
    assert_int_equal(entry(entry(m.root, 0).low & ~0xfffull, 0x10).low, 0x777001);
}

/* More than the queue has room for, one behind the other. */
static void test_forgets(void **state)
{
    uint64_t before;

    m.cap |= WBF;
    start();
    for (unsigned i = 1; i < 1000; i++) {
        vtd_forget(&v, i & 0xff);
        assert_int_equal(m.iotlb_domain, i);
        assert_int_equal(m.domain, i & 0xff);
    }
    assert_true(m.flushes >= 999);
    assert_false(v.dead);
    m.error = 0x10;
    vtd_forget(&v, 1);
    assert_true(v.dead);
    before = now; /* it is not waited for once more */
    vtd_forget(&v, 1);
    assert_int_equal(now, before);
}

static unsigned said;

static void count_lines(enum log_level level, const char *line, size_t size)
{
    said++;
}

/* What processors have written does not come to memory: it is not asked to forget what it could
 * read anew from there, and that is said. */
static void test_write_buffer_stays(void **state)
{
    m.cap |= WBF;
    start();
    log_set_sink(count_lines);
    said = 0;
    m.gsts |= BIT(27);
    vtd_forget(&v, 1);
    vtd_forget(&v, 1);
    log_set_sink(NULL);
    assert_true(v.dead);
    assert_int_equal(said, 1);
    assert_int_equal(m.iotlb_domain, 0);
}

static void test_interrupts(void **state)
{
    start();
    assert_true(vtd_can_remap(&v, false));
    assert_false(vtd_can_remap(&v, true));
    m.gsts |= (uint32_t)CFI;
    assert_int_equal(vtd_remap(&v, 0x9000, false), 0);
    assert_int_equal(m.irta, 0x9007);
    assert_int_equal(m.gsts, TE | SRTP | QIE | SIRTP | IRE);
    assert_int_equal(m.interrupts_all, 1);
    vtd_forget_interrupts(&v);
    assert_int_equal(m.interrupts_all, 2);
    setup(NULL);
    m.ecap |= BIT(4);
    start();
    assert_true(vtd_can_remap(&v, true));
    assert_int_equal(vtd_remap(&v, 0x9000, true), 0);
    assert_int_equal(m.irta, 0x9807);
}

static void test_faults(void **state)
{
    struct vtd_fault f;
    bool lost = false;

    start();
    vtd_set_fault_message(&v, 0xfee00000, 0x51);
    assert_int_equal(m.feaddr, 0xfee00000);
    assert_int_equal(m.fedata, 0x51);
    assert_int_equal(m.fectl, 0);
    vtd_mask_faults(&v, true);
    assert_int_equal(m.fectl, 0x80000000);
    assert_false(vtd_take_fault(&v, &f, &lost));
    assert_false(lost);
    m.fault[1] = (struct vtd_entry){0x12345abc, BIT(63) | BIT(62) | 6ull << 32 | 0x00fa};
    m.fault[2] = (struct vtd_entry){7ull << 48 | 0xabc, BIT(63) | 0x22ull << 32 | 0x0100};
    m.fsts = 3;
    assert_true(vtd_take_fault(&v, &f, &lost));
    assert_int_equal(f.source, 0x00fa);
    assert_int_equal(f.reason, 6);
    assert_true(f.read);
    assert_int_equal(f.address, 0x12345000);
    assert_false(vtd_is_interrupt(f.reason));
    assert_false(m.fault[1].high >> 63);
    assert_true(vtd_take_fault(&v, &f, &lost));
    assert_int_equal(f.source, 0x0100);
    assert_int_equal(f.address, 7);
    assert_false(f.read);
    assert_true(vtd_is_interrupt(f.reason));
    assert_false(lost);
    assert_false(vtd_take_fault(&v, &f, &lost));
    assert_true(lost);
    assert_int_equal(m.fsts & 1, 0);
    m.fault[0].high = UINT64_MAX; /* it has gone */
    assert_false(vtd_take_fault(&v, &f, &lost));
    for (unsigned i = 0; i < 256; i++)
        assert_non_null(vtd_reason(i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_what_it_can, setup),
        cmocka_unit_test_setup(test_start, setup),
        cmocka_unit_test_setup(test_start_by_registers, setup),
        cmocka_unit_test_setup(test_taken_over, setup),
        cmocka_unit_test_setup(test_does_not_start, setup),
        cmocka_unit_test_setup(test_devices, setup),
        cmocka_unit_test_setup(test_devices_before_the_start, setup),
        cmocka_unit_test_setup(test_forgets, setup),
        cmocka_unit_test_setup(test_write_buffer_stays, setup),
        cmocka_unit_test_setup(test_interrupts, setup),
        cmocka_unit_test_setup(test_faults, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
