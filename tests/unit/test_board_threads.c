/* links: guest/board/board.c guest/board/bus.c guest/board/bus_ranges.c guest/board/class.c guest/board/msi.c guest/board/pic.c guest/board/pit.c guest/board/ioapic.c guest/board/pci.c arch/x86/lib/format.c guest/board/lapic.c guest/board/lapic_ipi.c guest/board/lapic_irq.c guest/board/lapic_registers.c guest/board/lapic_timer.c guest/board/state.c guest/devices/uart.c guest/devices/rtc.c guest/devices/keyboard.c guest/devices/ps2/keyboard.c guest/devices/ps2/mouse.c guest/devices/acpi_pm.c guest/devices/reset.c tests/unit/mock_heap.c */
/*
 * A whole board, used by eight threads as eight vCPUs would: devices, timers and interrupts from
 * all sides at once, while ranges move. It is built with the thread sanitizer (see Makefile), which
 * tells of every access that no lock orders; and in the end the board has to agree with itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/tsc.h"
#include "guest/board/board_internal.h"
#include "guest/board/pci.h"
#include "guest/board/pit.h"
#include "guest/board/ports.h"
#include "guest/board/wall_clock.h"
#include "guest/devices/acpi_pm.h"
#include "guest/devices/keyboard.h"
#include "guest/devices/reset.h"
#include "guest/devices/rtc.h"
#include "guest/devices/uart.h"
#include "tests/unit/no_guest_memory.h"
#include "tests/unit/threads.h"

enum { THREADS = 8, STEPS = 500, CARD_SIZE = 0x1000, CARD_PORTS = 16 };

/* Where the card may be: two places that share a half. */
#define CARD_BASE(n) (0xe0000000 + (n) * (CARD_SIZE / 2ULL))
#define CARD_PORT(n) (uint16_t)(0xc010 + (n) * (CARD_PORTS / 2))

/* --- what stands for the rest of Corbel --- */

uint64_t tsc_hz = 2000000000;

void wall_clock_now(int64_t *seconds, uint32_t *microseconds)
{
    *seconds = 1800000000;
    *microseconds = 0;
}

int guest_memory_make_room(struct guest_memory *gm)
{
    return 0;
}

bool guest_memory_set_layers(struct guest_memory *gm, const struct guest_memory_layer *layers,
                             unsigned count)
{
    return false;
}

enum { TIMERS, NOTIFY, EVENT, EOI, REQUEST, KINDS };
static unsigned asked[KINDS]; /* atomic */

static void count(unsigned which)
{
    __atomic_fetch_add(&asked[which], 1, __ATOMIC_RELAXED);
}

static void timers(void *owner, bool earlier)
{
    count(TIMERS);
}

static void notify(struct lapic *l)
{
    count(NOTIFY);
}

static void event(struct lapic *l, enum apic_mode how, uint8_t vector)
{
    count(EVENT);
}

static void mode(struct lapic *l)
{
}

static void memory(void *owner, uint64_t gpa, uint64_t size)
{
}

static void eoi(void *owner)
{
    count(EOI);
}

static void request(void *owner, enum vm_request what, const char *why)
{
    count(REQUEST);
}

static const struct board_cpus wires = {.timers = timers,
                                        .notify = notify,
                                        .event = event,
                                        .mode = mode,
                                        .eoi = eoi,
                                        .memory = memory,
                                        .request = request};

/* --- the board --- */

static struct board *board;
static struct uart uart;
static struct pit pit;
static struct rtc rtc;
static struct acpi_pm acpi_pm;
static struct reset_control reset_control;
static struct keyboard keyboard;
static struct pci pci;
static struct lapic lapics[THREADS];
static uint32_t pages[THREADS][1024] __attribute__((aligned(4096)));
static uint32_t ioapic_page[1024];
static unsigned sent; /* bytes that the UART has put; its lock is what makes it right */

/* A device whose ranges move, and which counts without any atomicity. */
static struct card {
    struct device dev;
    struct bus_range memory, ports;
    unsigned accesses;
} card;

static uint64_t card_mmio_read(struct device *d, uint64_t offset, unsigned size)
{
    card.accesses++;
    return offset;
}

static void card_mmio_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
    card.accesses++;
}

static uint32_t card_port_read(struct device *d, uint16_t port, unsigned size)
{
    card.accesses++;
    return port;
}

static void card_port_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    card.accesses++;
}

static void card_reset(struct device *d)
{
}

static void card_save(struct device *d, struct state_writer *w)
{
}

static int card_load(struct device *d, struct state_reader *r)
{
    return 0;
}

static const struct device_ops card_ops = {.name = "card",
                                           .version = 1,
                                           .port_width = 1,
                                           .port_read = card_port_read,
                                           .port_write = card_port_write,
                                           .mmio_read = card_mmio_read,
                                           .mmio_write = card_mmio_write,
                                           .reset = card_reset,
                                           .save = card_save,
                                           .load = card_load};

static bool put(void *context, uint8_t byte)
{
    sent++;
    return true;
}

static int set_up(void **state)
{
    assert_int_equal(board_create(&board, &wires, NULL, NULL, ioapic_page), 0);
    struct bus *bus = board_bus(board);
    struct device *devices[] = {&uart.dev,     &pit.dev,           &rtc.dev, &acpi_pm.dev,
                                &keyboard.dev, &reset_control.dev, &pci.dev};
    static const struct device_class *const classes[] = {
        &uart_class,     &pit_class,           &rtc_class, &acpi_pm_class,
        &keyboard_class, &reset_control_class, &pci_class};
    const struct device_host host = {.serial_put = put};
    struct device_setup setup = {.board = board, .bus = bus, .host = &host};
    for (unsigned i = 0; i < ARRAY_SIZE(devices); i++)
        assert_int_equal(device_make(classes[i], devices[i], &setup), 0);
    card.dev = (struct device){.ops = &card_ops, .board = board};
    assert_int_equal(bus_add_device(bus, &card.dev), 0);
    card.memory = (struct bus_range){.device = &card.dev, .space = BUS_MEMORY, .size = CARD_SIZE};
    card.ports = (struct bus_range){.device = &card.dev, .space = BUS_PORTS, .size = CARD_PORTS};
    assert_int_equal(bus_add_range(bus, &card.memory), 0);
    assert_int_equal(bus_add_range(bus, &card.ports), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        lapic_init(&lapics[i], pages[i], i, i == 0, 0);
        board_add_cpu(board, &lapics[i]);
        lapics[i].page[LAPIC_SVR / 4] = SVR_ENABLE | 0xff;
        if (i == 0)
            lapic_virtual_wire(&lapics[i]);
    }
    board_reset(board);
    for (unsigned i = 0; i < 2; i++) { /* the 8259s, all inputs open */
        static const uint16_t ports[] = {PORT_PIC_MASTER, PORT_PIC_SLAVE};
        static const uint8_t words[] = {0x20, 0x04, 0x01, 0x00};
        bus_port_write(bus, ports[i], 1, 0x11);
        for (unsigned n = 0; n < ARRAY_SIZE(words); n++)
            bus_port_write(bus, ports[i] + 1, 1, words[n]);
    }
    return 0;
}

static int teardown(void **state)
{
    board_destroy(board);
    return 0;
}

/* --- the threads --- */

struct guest {
    unsigned number, bytes, card_accesses, wrong;
    uint32_t seed;
    struct bus_view view;
};

static struct guest guests[THREADS];
static pthread_barrier_t together;

static uint32_t next(struct guest *g)
{
    g->seed = g->seed * 1103515245 + 12345;
    return g->seed >> 8;
}

static void out(uint16_t port, unsigned size, uint32_t value)
{
    bus_port_write(board_bus(board), port, size, value);
}

static void use_uart(struct guest *g)
{
    uint32_t r = next(g);

    out(PORT_UART1 + 1, 1, r); /* interrupts on and off */
    out(PORT_UART1 + 4, 1, 0x08 | (r >> 8 & 3));
    out(PORT_UART1, 1, 'x');
    g->bytes++;
    (void)bus_port_read(board_bus(board), (uint16_t)(PORT_UART1 + (r >> 16) % 8), 1);
    if (g->number == 0)
        (void)uart_receive(&uart, (const uint8_t *)"ab", r % 3);
    if (g->number == 1 && uart_receive_room(&uart) > 0)
        uart_output_ready(&uart);
}

/* Any of the other chips, with any value. */
static void use_ports(struct guest *g)
{
    static const uint16_t ports[] = {0x20, 0x21,  0xa0,  0xa1,  0x4d0, 0x4d1, 0x40,  0x41,  0x42,
                                     0x43, 0x61,  0x60,  0x64,  0x70,  0x71,  0x72,  0x73,  0x92,
                                     0x80, 0x600, 0x602, 0x604, 0x620, 0x622, 0xcf8, 0xcfc, 0x608};
    uint16_t port = ports[next(g) % ARRAY_SIZE(ports)];
    unsigned size = port >= 0x600 ? 4u >> next(g) % 2 : 1;

    if (next(g) & 1) /* but not what initialises the 8259s */
        out(port, size, port == 0x20 || port == 0xa0 ? next(g) & ~0x10u : next(g));
    else
        (void)bus_port_read(board_bus(board), port, size);
}

static void use_rtc(struct guest *g)
{
    uint32_t r = next(g);

    out(PORT_RTC, 1, r & 1 ? 0x0a : 0x0b);
    out(PORT_RTC + 1, 1, r & 1 ? 0x20 | (r >> 4 & 15) : 0x02 | (r >> 4 & 0x70));
    out(PORT_RTC, 1, 0x0c);
    (void)bus_port_read(board_bus(board), PORT_RTC + 1, 1);
}

static void use_ioapic(struct guest *g)
{
    static const uint8_t pins[] = {1, 2, 4, 8, 9};
    unsigned pin = pins[next(g) % ARRAY_SIZE(pins)];
    uint32_t r = next(g), vector = 0x30 + pin;

    (void)bus_mmio_write(board_bus(board), &g->view, IOAPIC_BASE, 4, 0x10 + 2 * pin + (r & 1));
    (void)bus_mmio_write(board_bus(board), &g->view, IOAPIC_BASE + 0x10, 4,
                         r & 1 ? r << 24 : vector | (r & 0x1a100));
    lapic_broadcast_eoi(&lapics[g->number], (uint8_t)vector);
}

static void use_interrupts(struct guest *g)
{
    struct lapic *l = &lapics[g->number];
    uint64_t bitmap[4] = {0};

    lapic_sync(l);
    int vector = lapic_pending_vector(l);
    if (vector >= 0) {
        lapic_accept(l, (uint8_t)vector);
        lapic_eoi(l);
    }
    out(PORT_PIC_MASTER, 1, 0x20);
    out(PORT_PIC_SLAVE, 1, 0x20);
    for (unsigned i = 0; i < 4; i++) {
        (void)board_acknowledge(board, l);
        sched_yield(); /* others come in between */
    }
    board_eoi_bitmap(board, bitmap);
    bus_run_timers(board_bus(board), rdtsc() + board_front(board)->tsc_offset);
    if (g->number == 2)
        acpi_pm_power_button(&acpi_pm);
}

static void move_card(struct guest *g)
{
    uint32_t r = next(g);

    device_lock(&card.dev);
    if (r % 8 == 0)
        bus_withdraw(board_bus(board), &card.memory);
    else
        g->wrong += bus_place(board_bus(board), &card.memory, CARD_BASE(r & 1)) != 0;
    if (r % 8 == 1)
        bus_withdraw(board_bus(board), &card.ports);
    else
        g->wrong += bus_place(board_bus(board), &card.ports, CARD_PORT(r & 1)) != 0;
    device_unlock(&card.dev);
}

static void use_card(struct guest *g)
{
    uint64_t gpa = CARD_BASE(0) + next(g) % (CARD_SIZE + CARD_SIZE / 2), value;
    uint16_t port = (uint16_t)(CARD_PORT(0) + next(g) % (CARD_PORTS + CARD_PORTS / 2));

    if (bus_mmio_read(board_bus(board), &g->view, gpa, 1, &value) &&
        g->view.piece.device == &card.dev) { /* else it was nobody's, memory's that is */
        g->card_accesses++;
        g->wrong +=
            value != ((gpa - CARD_BASE(0)) & 0xff) && value != ((gpa - CARD_BASE(1)) & 0xff);
    }
    g->card_accesses +=
        bus_mmio_write(board_bus(board), &g->view, gpa, 1, 0) && g->view.piece.device == &card.dev;
    value = bus_port_read(board_bus(board), port, 1);
    if (value == (port & 0xff)) /* none of its ports is FFh */
        g->card_accesses++;
    else
        g->wrong += value != 0xff;
    device_lock(&card.dev);
    (void)device_msi(&card.dev, 0xfee00000 | (uint64_t)(next(g) % THREADS) << 12,
                     0x60 | (g->number & 7));
    device_unlock(&card.dev);
}

static void *run(void *arg)
{
    static void (*const use[])(struct guest *) = {use_uart,       use_ports, use_rtc,  use_ioapic,
                                                  use_interrupts, use_card,  use_card, move_card};
    struct guest *g = arg;

    pthread_barrier_wait(&together);
    for (unsigned i = 0; i < STEPS; i++)
        use[next(g) % ARRAY_SIZE(use)](g);
    return NULL;
}

/* --- what has to be so afterwards --- */

static bool line(unsigned gsi)
{
    return board->irq_lines >> gsi & 1;
}

static void eight_at_once(void **state)
{
    pthread_t threads[THREADS];
    unsigned bytes = 0, card_accesses = 0;
    uint64_t earliest = TIMER_OFF;

    pthread_barrier_init(&together, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        guests[i] = (struct guest){.number = i, .seed = i};
        assert_int_equal(pthread_create(&threads[i], NULL, run, &guests[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        bytes += guests[i].bytes;
        card_accesses += guests[i].card_accesses;
        assert_int_equal(guests[i].wrong, 0);
    }
    assert_int_equal(__atomic_load_n(&reports, __ATOMIC_SEQ_CST), 0);
    assert_int_equal(sent, bytes);
    assert_int_equal(card.accesses, card_accesses);
    assert_int_equal(line(GSI_UART1), uart.irq);
    assert_int_equal(line(GSI_SCI), acpi_pm.irq);
    for (unsigned gsi = 1; gsi < 16; gsi++) {
        assert_int_equal(line(gsi), board->ioapic.asserted >> gsi & 1 & (gsi != 2));
        assert_int_equal(line(gsi), board->pic.chip[gsi / 8].lines >> gsi % 8 & 1 & (gsi != 2));
    }
    assert_int_equal(line(GSI_PIT), board->ioapic.asserted >> 2 & 1);
    for (unsigned i = 0; i < board_bus(board)->timed_count; i++)
        for (unsigned t = 0; t < DEVICE_TIMERS; t++)
            earliest = MIN(earliest, board_bus(board)->timed[i]->deadline[t]);
    assert_true(board_bus(board)->next_deadline == earliest);
    assert_true(asked[TIMERS] && asked[NOTIFY] && asked[EOI]); /* all of it has been used */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(eight_at_once, set_up, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
