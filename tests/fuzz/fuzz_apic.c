/* links: guest/board/lapic*.c guest/board/ioapic.c guest/board/state.c */
/*
 * Random traffic on two local APICs and an I/O APIC: registers, MSRs, messages, timers, delivery by
 * software and by (played) hardware, save and load. After each step all vectors are evaluated bit
 * by bit and compared.
 */
#include "guest/board/lapic_internal.h"
#include "guest/board/ioapic.h"
#include "arch/x86/lib/string.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CPUS 2
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            __builtin_trap();                                                                      \
        }                                                                                          \
    } while (0)

static struct lapic lapics[CPUS];
static uint32_t pages[CPUS][PAGE_SIZE / 4];
static struct lapic *const all[CPUS] = {&lapics[0], &lapics[1]};
static struct ioapic io;
static uint64_t now;
static unsigned eois;

uint64_t lapic_now(struct lapic *l)
{
    return now;
}

void lapic_send(struct lapic *from, const struct apic_message *m)
{
    CHECK(m->mode != APIC_EXTINT && m->mode != APIC_RESERVED_MODE);
    CHECK(m->mode == APIC_FIXED || (m->shorthand != APIC_SELF && m->shorthand != APIC_ALL));
    apic_route(all, CPUS, from, m);
}

void lapic_notify(struct lapic *target)
{
    CHECK(target->posted.control & POSTED_ON);
}

void lapic_event(struct lapic *target, enum apic_mode mode, uint8_t vector)
{
    CHECK(mode >= APIC_SMI && mode != APIC_RESERVED_MODE && mode <= APIC_EXTINT);
}

void lapic_broadcast_eoi(struct lapic *l, uint8_t vector)
{
    eois++;
    ioapic_eoi(&io, vector);
}

void lapic_mode_changed(struct lapic *l)
{
}

bool ioapic_send(struct ioapic *from, const struct apic_message *m)
{
    CHECK(m->shorthand == APIC_NO_SHORTHAND);
    return apic_route(all, CPUS, NULL, m);
}

void ioapic_changed(struct ioapic *from)
{
}

/* --- the slow model --- */

static bool bit_of(const struct lapic *l, unsigned offset, int vector)
{
    return l->page[(offset + (unsigned)vector / 32 * 16) / 4] >> (vector % 32) & 1;
}

static int slow_highest(const struct lapic *l, unsigned offset)
{
    for (int vector = 255; vector >= 0; vector--) {
        if (bit_of(l, offset, vector)) {
            return vector;
        }
    }
    return -1;
}

static unsigned slow_ppr(const struct lapic *l)
{
    unsigned tpr = l->page[LAPIC_TPR / 4] & 0xff;
    int isr = slow_highest(l, LAPIC_ISR);
    unsigned isrv = isr < 0 ? 0 : (unsigned)isr;

    return (tpr & 0xf0) >= (isrv & 0xf0) ? tpr : isrv & 0xf0;
}

static int slow_pending(const struct lapic *l)
{
    int irr = slow_highest(l, LAPIC_IRR);

    return irr >= 0 && ((unsigned)irr & 0xf0) > (slow_ppr(l) & 0xf0) ? irr : -1;
}

static void check_vectors(struct lapic *l)
{
    int irr = slow_highest(l, LAPIC_IRR), isr = slow_highest(l, LAPIC_ISR);
    unsigned threshold = lapic_tpr_threshold(l);

    CHECK(lapic_highest_irr(l) == irr);
    CHECK(lapic_highest_isr(l) == isr);
    CHECK(lapic_update_ppr(l) == slow_ppr(l));
    CHECK(lapic_pending_vector(l) == slow_pending(l));
    CHECK(lapic_interrupt_status(l) == (MAX(isr, 0) << 8 | MAX(irr, 0)));
    /* What the VM entry checks; and a TPR just below the threshold is what lets the request
     * through. */
    CHECK(threshold <= lapic_tpr(l) >> 4);
    uint8_t tpr = lapic_tpr(l);
    if (threshold != 0) {
        CHECK(slow_pending(l) < 0);
        lapic_set_tpr(l, (uint8_t)((threshold - 1) << 4));
        CHECK(slow_pending(l) == irr);
        lapic_set_tpr(l, tpr);
    } else if (slow_pending(l) < 0) {
        lapic_set_tpr(l, 0);
        CHECK(slow_pending(l) < 0 || (isr >> 4) >= (irr >> 4));
        lapic_set_tpr(l, tpr);
    }
    CHECK(!(l->posted.pir[0] & 0xffff));
    for (unsigned offset = LAPIC_ISR; offset <= LAPIC_IRR; offset += 0x80) {
        CHECK(!(l->page[offset / 4] & 0xffff));
    }
}

static void check_registers(struct lapic *l)
{
    uint32_t svr = l->page[LAPIC_SVR / 4];

    CHECK(l->page[LAPIC_ID / 4] == (lapic_x2apic(l) ? l->id : l->id << 24));
    CHECK(l->page[LAPIC_VERSION / 4] == 0x00050014);
    CHECK(!lapic_x2apic(l) || l->page[LAPIC_LDR / 4] == 1u << l->id);
    for (unsigned n = 0; n < LVT_COUNT; n++) {
        uint32_t lvt = l->page[(LAPIC_LVT_TIMER + n * 16) / 4];
        CHECK(!(lvt & ~lapic_lvt_writable[n]));
        CHECK((svr & SVR_ENABLE) || (lvt & LVT_MASKED));
    }
    CHECK(l->timer_mode == (l->page[LAPIC_LVT_TIMER / 4] >> 17 & 3));
    CHECK(l->count_shift == l->bus_shift + lapic_divide_shift(l->page[LAPIC_TDCR / 4]));
    uint32_t tmcct = lapic_read_tmcct(l);
    CHECK(tmcct <= l->page[LAPIC_TMICT / 4]);
    lapic_run_timer(l, now);
    CHECK(l->timer_deadline > now);
}

static void check_ioapic(void)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t entry = io.entry[pin], bitmap[4] = {0};
        bool level = (entry & BIT(15)) && (entry >> 8 & 7) <= APIC_LOWEST_PRIORITY;
        CHECK(!(entry & ~0xff0000000001afffULL));
        ioapic_eoi_bitmap(&io, bitmap);
        if (io.remote_irr >> pin & 1) {
            CHECK(level);
            CHECK(bitmap[(uint8_t)entry / 64] >> (entry & 63) & 1);
        }
    }
    CHECK(!((io.asserted | io.remote_irr) >> IOAPIC_PINS));
}

/* --- save and load; damage: at which byte to change the stream --- */

static size_t save_all(uint8_t *buffer, size_t capacity)
{
    struct state_writer w = {.data = buffer, .capacity = capacity};

    for (unsigned i = 0; i < CPUS; i++) {
        lapic_save(&lapics[i], &w);
    }
    state_begin(&w, "ioapic", 1);
    io.device.ops->save(&io.device, &w);
    state_end(&w);
    CHECK(w.used <= capacity);
    return w.used;
}

static int load_all(const uint8_t *buffer, size_t size)
{
    struct state_reader r = {.data = buffer, .size = size};

    for (unsigned i = 0; i < CPUS; i++) {
        if (lapic_load(&lapics[i], &r) != 0) {
            return -1;
        }
    }
    if (state_enter(&r, "ioapic", 1) != 0 || io.device.ops->load(&io.device, &r) != 0) {
        return -1;
    }
    return state_leave(&r);
}

static void save_and_load(uint16_t damage, uint8_t value)
{
    uint8_t buffer[2048], again[2048];
    size_t size = save_all(buffer, sizeof(buffer));
    bool damaged = damage < size;

    if (damaged) {
        buffer[damage] ^= value;
    }
    for (unsigned i = 0; i < CPUS; i++) {
        bool virtual_delivery = lapics[i].virtual_delivery;
        memset(pages[i], 0xa5, sizeof(pages[i]));
        lapic_init(&lapics[i], pages[i], i, i == 0, 3 + i);
        lapic_set_virtual_delivery(&lapics[i], virtual_delivery);
    }
    if (load_all(buffer, size) != 0) {
        CHECK(damaged);
        return;
    }
    CHECK(save_all(again, sizeof(again)) == size);
    CHECK(memcmp(buffer, again, size) == 0);
}

/* --- played hardware: virtual-interrupt delivery as the SDM words it --- */

static void hardware_delivers(struct lapic *l)
{
    int vector = slow_pending(l);

    if (vector >= 0) {
        *vector_word(l, LAPIC_IRR, (unsigned)vector / 32) &= ~(1u << (vector % 32));
        *vector_word(l, LAPIC_ISR, (unsigned)vector / 32) |= 1u << (vector % 32);
    }
}

static void hardware_eoi(struct lapic *l)
{
    uint64_t bitmap[4] = {0};
    int vector = slow_highest(l, LAPIC_ISR);

    if (vector >= 0) {
        ioapic_eoi_bitmap(&io, bitmap);
        lapic_eoi_bitmap(l, bitmap);
        *vector_word(l, LAPIC_ISR, (unsigned)vector / 32) &= ~(1u << (vector % 32));
        if (bitmap[vector / 64] >> (vector % 64) & 1) {
            lapic_eoi_exit(l, (uint8_t)vector);
        }
    }
}

static void software_delivers(struct lapic *l)
{
    int vector = lapic_pending_vector(l);

    if (vector >= 0) {
        lapic_accept(l, (uint8_t)vector);
        CHECK(slow_highest(l, LAPIC_ISR) == vector && !bit_of(l, LAPIC_IRR, vector));
        CHECK(lapic_register(l, LAPIC_PPR) == slow_ppr(l));
    }
}

static void software_eoi(struct lapic *l)
{
    int vector = slow_highest(l, LAPIC_ISR);
    unsigned before = eois;
    bool level = vector >= 0 && bit_of(l, LAPIC_TMR, vector);

    lapic_eoi(l);
    CHECK(vector < 0 || !bit_of(l, LAPIC_ISR, vector));
    CHECK(eois - before == level);
}

static const uint16_t plain_offsets[] = {
    LAPIC_ID,        LAPIC_TPR,         LAPIC_EOI,      LAPIC_LDR,       LAPIC_DFR,
    LAPIC_SVR,       LAPIC_ESR,         LAPIC_ICR,      LAPIC_ICR_HIGH,  LAPIC_LVT_TIMER,
    LAPIC_LVT_TIMER, LAPIC_LVT_THERMAL, LAPIC_LVT_PERF, LAPIC_LVT_LINT0, LAPIC_LVT_LINT1,
    LAPIC_LVT_ERROR, LAPIC_TMICT,       LAPIC_TDCR,     LAPIC_SELF_IPI,
};

static void step(const uint8_t op[8])
{
    struct lapic *l = all[op[0] >> 7];
    uint32_t value;
    uint64_t wide = 0;
    unsigned offset = plain_offsets[op[1] % ARRAY_SIZE(plain_offsets)];

    memcpy(&value, op + 4, 4);
    if ((op[0] & 0x1f) < 3 && !lapic_claims_mmio(l)) {
        return;
    }
    switch (op[0] & 0x1f) {
    case 0:
        lapic_mmio_write(l, offset, 4, value);
        break;
    case 1: /* any access at all */
        lapic_mmio_write(l, (unsigned)(op[1] | op[2] << 8) & 0xfff, 1u << (op[3] & 3), value);
        break;
    case 2:
        lapic_mmio_read(l, (unsigned)(op[1] | op[2] << 8) & 0xfff, 1u << (op[3] & 3));
        break;
    case 3:
        (void)!lapic_msr_write(l, MSR_X2APIC_FIRST + offset / 16, value | (uint64_t)op[2] << 32);
        break;
    case 4:
        (void)!lapic_msr_write(l, MSR_X2APIC_FIRST + op[1], value | (uint64_t)op[2] << 56);
        break;
    case 5:
        (void)!lapic_msr_read(l, MSR_X2APIC_FIRST + op[1], &wide);
        break;
    case 6:
        (void)!lapic_msr_write(l, MSR_APIC_BASE,
                               LAPIC_BASE | (op[1] & 0xd) << 8 |
                                   (op[2] == 1   ? value
                                    : op[2] == 2 ? value << 12
                                                 : 0));
        break;
    case 7:
        (void)!lapic_msr_write(l, MSR_TSC_DEADLINE, op[1] & 1 ? now + value : value);
        break;
    case 8:
        (void)!lapic_msr_read(l, op[1] & 1 ? MSR_APIC_BASE : MSR_TSC_DEADLINE, &wide);
        break;
    case 9:
    case 10:
        lapic_post(l, op[1] | 0x10, op[2] & 1);
        break;
    case 11:
        lapic_raise(l, op[1] | 0x10);
        break;
    case 12:
    case 13:
        if (l->virtual_delivery) {
            hardware_delivers(l);
        } else {
            software_delivers(l);
        }
        break;
    case 14:
    case 15:
        if (l->virtual_delivery) {
            hardware_eoi(l);
        } else {
            software_eoi(l);
        }
        break;
    case 16:
        lapic_set_tpr(l, op[1]);
        break;
    case 17: /* time goes on: by a little, or by much */
        wide = (uint64_t)value << (op[1] % 24);
        now = now + wide < now ? now : now + wide;
        lapic_run_timer(all[0], now);
        lapic_run_timer(all[1], now);
        break;
    case 18: /* an APIC-write exit; hardware has stored the value already */
        if (offset == LAPIC_SELF_IPI || !lapic_x2apic(l)) {
            l->page[offset / 4] = value;
            lapic_after_write(l, offset);
        }
        break;
    case 19:
        lapic_after_write(l, (unsigned)(op[1] | op[2] << 8));
        break;
    case 20:
        lapic_set_lint(l, op[1], op[2] & 1);
        break;
    case 21:
        lapic_set_virtual_delivery(l, op[1] & 1);
        break;
    case 22: {
        const struct apic_message m = {
            .dest = op[1] & 1   ? value
                    : op[1] & 2 ? APIC_BROADCAST
                                : op[1] >> 4,
            .vector = op[2],
            .mode = op[3] & 7,
            .logical = op[3] & 8,
            .level = op[3] & 16,
        };
        apic_route(all, CPUS, NULL, &m);
        break;
    }
    case 23:
        ioapic_set_irq(&io, op[1] & 31, op[2] & 1);
        break;
    case 24:
    case 25:
        io.device.ops->mmio_write(&io.device, 0, 4, 0x10 + op[1] % 0x32u);
        io.device.ops->mmio_write(&io.device, 0x10, 4, value);
        break;
    case 26:
        io.device.ops->mmio_write(&io.device, op[1] & 0x7f, 1u << (op[2] & 3), value);
        break;
    case 27:
        io.device.ops->mmio_read(&io.device, op[1] & 0x7f, 1u << (op[2] & 3));
        break;
    case 28:
        save_and_load(op[1] & 1 ? (uint16_t)(op[2] | op[3] << 8) : 0xffff, op[4]);
        break;
    case 29:
        if (op[1] == 0) {
            lapic_reset(l);
        } else if (op[1] == 1) {
            lapic_init_reset(l);
        } else if (op[1] == 2) {
            lapic_virtual_wire(l);
        } else if (op[1] == 3) {
            io.device.ops->reset(&io.device);
        }
        break;
    case 30:
        lapic_tsc_moved(l, op[1] & 1 ? value : -(uint64_t)value);
        break;
    default:
        lapic_sync(l);
        CHECK(!l->posted.pir[0] && !l->posted.pir[1] && !l->posted.pir[2] && !l->posted.pir[3]);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    now = 1u << 30;
    for (unsigned i = 0; i < CPUS; i++) {
        lapic_init(&lapics[i], pages[i], i, i == 0, 3 + i);
        lapic_mmio_write(&lapics[i], LAPIC_SVR, 4, SVR_ENABLE | 0xff);
    }
    ioapic_init(&io, NULL, 2);
    for (unsigned steps = 0; size >= 8 && steps < 512; data += 8, size -= 8, steps++) {
        step(data);
        lapic_accepts_external(all[0]);
        for (unsigned i = 0; i < CPUS; i++) {
            check_registers(&lapics[i]);
            check_vectors(&lapics[i]);
        }
        check_ioapic();
    }
    return 0;
}
