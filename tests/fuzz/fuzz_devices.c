/* links: guest/devices/uart.c guest/devices/debug_console.c arch/x86/lib/format.c guest/board/pic.c guest/board/pit.c guest/devices/rtc.c guest/devices/acpi_pm.c guest/devices/keyboard.c guest/devices/ps2/keyboard.c guest/devices/ps2/mouse.c guest/devices/reset.c guest/devices/lpc.c guest/devices/hotplug.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/*
 * Random traffic to all classic devices of two equal VMs, of which the second is saved, wiped and
 * loaded now and then: nobody may tell them apart. Saved state with a few bytes changed is loaded
 * too. The sanitizers watch.
 */
#include <stdlib.h>
#include <string.h>

#include "guest/devices/acpi_pm.h"
#include "guest/devices/keyboard.h"
#include "guest/board/pci.h"
#include "guest/board/pic.h"
#include "guest/board/pit.h"
#include "guest/board/ports.h"
#include "guest/devices/reset.h"
#include "guest/devices/rtc.h"
#include "guest/devices/uart.h"
#include "tests/unit/mock_board.h"

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

#define ACTIONS 200 /* of one run: longer ones find nothing new */

extern const struct device_class debug_console_class, lpc_class, hotplug_class;

struct machine {
    struct board board;
    struct uart uart;
    struct pic pic;
    struct pit pit;
    struct rtc rtc;
    struct acpi_pm acpi_pm;
    struct keyboard keyboard;
    struct reset_control reset_control;
    struct pci pci;
    struct pci_function other; /* so that the chipset's bridge is there */
    struct device_list more;   /* whose structs are nobody else's business */
    unsigned host_room, sent, logged;
    uint32_t let_go; /* devices of PCI */
    uint8_t last_sent;
    bool intr;
};

struct input {
    const uint8_t *data;
    size_t size;
};

static struct machine machines[2];
static bool tampered; /* deadlines may be anybody's */

static const uint16_t ports[] = {
    0x20,   0x21,   0xa0,   0xa1,   0x4d0, 0x4d1, 0x40,  0x41,  0x42,  0x43,  0x60,
    0x61,   0x64,   0x70,   0x71,   0x72,  0x73,  0x92,  0x3f8, 0x3f9, 0x3fa, 0x3fb,
    0x3fc,  0x3fd,  0x3fe,  0x3ff,  0xcf8, 0xcf9, 0xcfb, 0xcfc, 0xcfd, 0xcfe, 0xcff,
    0x600,  0x602,  0x604,  0x605,  0x608, 0x60a, 0x60b, 0x620, 0x622, 0x5ff, 0xb000,
    0xae00, 0xae04, 0xae08, 0xb008, 0xcf7, 0x3f7, 0x80,  0x402, 0xe9,
};

static uint8_t next(struct input *in)
{
    if (in->size == 0)
        return 0;
    in->size--;
    return *in->data++;
}

static uint32_t next32(struct input *in)
{
    uint32_t v = next(in);

    v |= (uint32_t)next(in) << 8;
    v |= (uint32_t)next(in) << 16;
    return v | (uint32_t)next(in) << 24;
}

static bool put(void *context, uint8_t byte)
{
    struct machine *m = context;

    if (m->host_room == 0)
        return false;
    m->host_room--;
    m->sent++;
    m->last_sent = byte;
    return true;
}

static void note(void *context, const char *line)
{
    ((struct machine *)context)->logged++;
}

static void let_go(void *context, uint32_t devices)
{
    ((struct machine *)context)->let_go |= devices;
}

static void on_intr(void *context, bool level)
{
    ((struct machine *)context)->intr = level;
}

static void build(struct machine *m, uint64_t hz)
{
    int error = 0;

    memset(m, 0, sizeof(*m));
    mock_init(&m->board);
    m->board.hz = hz;
    m->host_room = 20;
    m->board.host = (struct device_host){.context = m,
                                         .memory_below_4g = 256 * MIB,
                                         .serial_put = put,
                                         .log = note,
                                         .eject = let_go};
    error |= device_make(&uart_class, &m->uart.dev, &m->board.setup);
    pic_init(&m->pic, &m->board, on_intr, m);
    error |= pic_attach(&m->pic, &m->board.bus);
    error |= device_make(&pit_class, &m->pit.dev, &m->board.setup);
    error |= device_make(&rtc_class, &m->rtc.dev, &m->board.setup);
    error |= device_make(&acpi_pm_class, &m->acpi_pm.dev, &m->board.setup);
    error |= device_make(&keyboard_class, &m->keyboard.dev, &m->board.setup);
    error |= device_make(&reset_control_class, &m->reset_control.dev, &m->board.setup);
    error |= device_make(&pci_class, &m->pci.dev, &m->board.setup);
    pci_function_init(&m->other, NULL, 0x1af4, 0x1042, 0x018000);
    error |= pci_add_function(&m->pci, PCI_DEVFN(1, 0), &m->other);
    error |= device_list_add(&m->more, &lpc_class, &m->board.setup);
    error |= device_list_add(&m->more, &hotplug_class, &m->board.setup);
    error |= device_list_add(&m->more, &debug_console_class, &m->board.setup);
    CHECK(error == 0);
    bus_reset(&m->board.bus);
}

/* Time passes; when too much happens in it, the rest of the timers come late. */
static void step(struct machine *m, uint64_t ticks)
{
    uint64_t end = m->board.now + ticks;

    for (unsigned i = 0; i < 64 && m->board.bus.next_deadline <= end; i++) {
        m->board.now = MAX(m->board.now, m->board.bus.next_deadline);
        bus_run_timers(&m->board.bus, m->board.now);
        CHECK(m->board.bus.next_deadline > m->board.now || tampered);
    }
    m->board.now = end;
    bus_run_timers(&m->board.bus, end);
    CHECK(m->board.bus.next_deadline > end || tampered);
}

/* Both machines load the first one's state with some bytes changed; what is refused ends in a
 * reset. */
static void tamper(struct input *in)
{
    static uint8_t data[8192];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    unsigned changes = next(in) % 8;
    int error[2];

    bus_save(&machines[0].board.bus, &w);
    CHECK(w.used <= w.capacity);
    for (unsigned i = 0; i < changes; i++) {
        size_t at = (next(in) | (size_t)next(in) << 8) % w.used;

        data[at] = next(in);
    }
    for (unsigned i = 0; i < 2; i++) {
        struct state_reader r = {.data = data, .size = w.used};

        error[i] = bus_load(&machines[i].board.bus, &r);
        CHECK((error[i] != 0) == (r.error != NULL));
        if (error[i])
            bus_reset(&machines[i].board.bus);
    }
    CHECK(error[0] == error[1]);
    tampered = true;
}

static void act(struct machine *m, const uint8_t *op, uint64_t *result)
{
    uint16_t port = op[1] < ARRAY_SIZE(ports) ? ports[op[1]] : (uint16_t)(op[1] << 8 | op[2]);
    unsigned size = 1u << op[3] % 3;
    uint32_t value = (uint32_t)op[4] | op[5] << 8 | op[6] << 16 | (uint32_t)op[7] << 24;

    switch (op[0]) {
    case 0:
        *result = bus_port_read(&m->board.bus, port, size);
        break;
    case 1:
        bus_port_write(&m->board.bus, port, size, value);
        break;
    case 2:
        step(m, (uint64_t)value << op[3] % 16);
        break;
    case 3:
        *result = uart_receive(&m->uart, op + 4, op[3] % 5);
        break;
    case 4:
        m->host_room = op[4];
        uart_output_ready(&m->uart);
        break;
    case 5:
        pic_set_irq(&m->pic, op[4] % 17, op[5] & 1);
        break;
    case 6:
        *result = m->intr || (op[4] & 1) ? (uint64_t)pic_acknowledge(&m->pic) : 0;
        break;
    default:
        acpi_pm_power_button(&m->acpi_pm);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    uint64_t hz = 1000000000ULL + next32(&in);
    unsigned actions = 0;

    tampered = false;
    for (unsigned i = 0; i < 2; i++)
        build(&machines[i], hz);
    while (in.size > 0 && actions < ACTIONS) {
        uint8_t op[8] = {next(&in)};
        uint64_t result[2] = {0};

        if (op[0] % 16 == 14) {
            CHECK(mock_round_trip(&machines[1].board));
            continue;
        }
        if (op[0] % 16 == 15) {
            tamper(&in);
            continue;
        }
        /* Every other choice is a port access, as in life. */
        op[0] = op[0] % 16 < 8 ? op[0] % 2 : op[0] % 16 - 6;
        op[1] = next(&in);
        op[2] = next(&in);
        op[3] = next(&in);
        for (unsigned i = 4; i < 8 && op[0] != 0; i++)
            op[i] = next(&in);
        if (++actions % 16 == 0)
            CHECK(mock_round_trip(&machines[1].board));
        for (unsigned i = 0; i < 2; i++)
            act(&machines[i], op, &result[i]);
        CHECK(result[0] == result[1]);
        CHECK(machines[0].sent == machines[1].sent);
        CHECK(machines[0].last_sent == machines[1].last_sent);
        CHECK(machines[0].logged == machines[1].logged);
        CHECK(machines[0].let_go == machines[1].let_go);
        CHECK(machines[0].intr == machines[1].intr);
        CHECK(machines[0].board.bus.next_deadline == machines[1].board.bus.next_deadline);
        CHECK(memcmp(machines[0].board.irq, machines[1].board.irq, sizeof(machines[0].board.irq)) ==
              0);
        CHECK(memcmp(machines[0].board.rises, machines[1].board.rises,
                     sizeof(machines[0].board.rises)) == 0);
        CHECK(machines[0].board.requests == machines[1].board.requests);
    }
    for (unsigned i = 0; i < 2; i++) {
        CHECK(mock_round_trip(&machines[i].board));
        mock_destroy(&machines[i].board);
        device_list_destroy(&machines[i].more);
    }
    return 0;
}
