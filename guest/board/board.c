#include "guest/board/board_internal.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/tsc.h"
#include "guest/board/ports.h"
#include "guest/board/wall_clock.h"
#include "mm/heap.h"

static board_observer observer;

void board_set_observer(board_observer fn)
{
    observer = fn;
}

/* --- what devices ask (guest/board/device.h) --- */

/* ISA interrupts reach the 8259s and the I/O APIC; the 8254's comes in at pin 2 there, as the MADT
 * says. */
static void set_line(struct board *board, unsigned gsi, bool level)
{
    __atomic_store_n(&board->irq_lines, board->irq_lines ^ 1u << gsi, __ATOMIC_RELAXED);
    if (UNLIKELY(observer))
        observer(board->owner, gsi, level);
    if (gsi < 16)
        pic_set_irq(&board->pic, gsi, level);
    ioapic_set_irq(&board->ioapic, gsi == GSI_PIT ? 2 : gsi, level);
}

void device_irq(struct device *d, unsigned gsi, bool level)
{
    struct board *board = d->board;

    /* Only who drives the line changes its level: it cannot become another one meanwhile. */
    if (((__atomic_load_n(&board->irq_lines, __ATOMIC_RELAXED) >> gsi) & 1) == level)
        return;
    if (d->lock == &board->lock) { /* held already: one of the chips */
        set_line(board, gsi, level);
        return;
    }
    spin_lock(&board->lock);
    set_line(board, gsi, level);
    spin_unlock(&board->lock);
}

bool device_msi(struct device *d, uint64_t address, uint32_t data)
{
    struct apic_message m;

    return apic_message_of_msi(&m, address, data) &&
           apic_route(d->board->lapic, d->board->cpu_count, NULL, &m);
}

uint64_t device_now(struct device *d)
{
    return rdtsc() + d->board->front.tsc_offset;
}

uint64_t device_tsc_hz(struct device *d)
{
    return tsc_hz;
}

void device_timer_set(struct device *d, unsigned timer, uint64_t deadline)
{
    struct board *board = d->board;
    enum bus_timer_change change = bus_timer_set(&board->front.bus, d, timer, deadline);

    if (change != BUS_TIMER_SAME)
        board->cpus->timers(board->owner, change == BUS_TIMER_EARLIER);
}

void device_timer_soon(struct device *d, unsigned timer)
{
    device_timer_set(d, timer, device_now(d));
}

int device_memory_read(struct device *d, uint64_t gpa, void *data, size_t size)
{
    return guest_memory_read(d->board->memory, gpa, data, size);
}

int device_memory_write(struct device *d, uint64_t gpa, const void *data, size_t size)
{
    return guest_memory_write(d->board->memory, gpa, data, size);
}

int device_ram_write(struct device *d, uint64_t gpa, const void *data, size_t size)
{
    return guest_memory_write_ram(d->board->memory, gpa, data, size);
}

int device_memory_load(struct device *d, uint64_t gpa, unsigned size, uint64_t *value)
{
    return guest_memory_load(d->board->memory, gpa, size, value);
}

int device_memory_store(struct device *d, uint64_t gpa, unsigned size, uint64_t value)
{
    return guest_memory_store(d->board->memory, gpa, size, value);
}

int device_memory_pin(struct device *d, uint64_t gpa, uint64_t size, bool write, paddr *address,
                      uint64_t *length)
{
    return guest_memory_pin(d->board->memory, gpa, size, write, address, length);
}

void device_memory_unpin(struct device *d, paddr address, uint64_t length)
{
    guest_memory_unpin(address, length);
}

int device_memory_give(struct device *d, uint64_t gpa)
{
    return d->board->cpus->give(d->board->owner, gpa, PAGE_SIZE);
}

int device_memory_give_block(struct device *d, uint64_t gpa)
{
    return d->board->cpus->give(d->board->owner, gpa, DEVICE_BLOCK);
}

uint64_t device_memory_leaving(struct device *d)
{
    return guest_memory_leaving(d->board->memory);
}

bool device_memory_settled(struct device *d, uint64_t leaving)
{
    return guest_memory_settled(d->board->memory, leaving);
}

void device_memory_given(struct device *d)
{
    d->board->cpus->given(d->board->owner);
}

int device_memory_back(struct device *d, uint64_t gpa)
{
    return guest_memory_back(d->board->memory, gpa);
}

void device_vm_request(struct device *d, enum vm_request request, const char *why)
{
    d->board->cpus->request(d->board->owner, request, why);
}

void device_wall_clock(struct device *d, int64_t *seconds, uint32_t *microseconds)
{
    wall_clock_now(seconds, microseconds);
}

/* --- what the bus asks --- */

static int make_room(struct bus *bus)
{
    return guest_memory_make_room(CONTAINER_OF(bus, struct board, front.bus)->memory);
}

static bool set_layers(struct bus *bus, const struct guest_memory_layer *layers, unsigned count)
{
    return guest_memory_set_layers(CONTAINER_OF(bus, struct board, front.bus)->memory, layers,
                                   count);
}

static void memory_changed(struct bus *bus, uint64_t gpa, uint64_t size)
{
    struct board *board = CONTAINER_OF(bus, struct board, front.bus);

    board->cpus->memory(board->owner, gpa, size);
}

/* Where no device is: memory, or nothing. */
static uint64_t memory_read(struct device *d, uint64_t gpa, unsigned size)
{
    uint64_t value;

    return guest_memory_read_operand(d->board->memory, gpa, size, &value) < 0 ? UINT64_MAX : value;
}

static void memory_write(struct device *d, uint64_t gpa, unsigned size, uint64_t value)
{
    (void)!guest_memory_write_operand(d->board->memory, gpa, size, value);
}

static const struct device_ops memory_ops = {
    .name = "memory", .mmio_read = memory_read, .mmio_write = memory_write};

/* --- what local APICs ask (guest/board/lapic.h) --- */

uint64_t lapic_now(struct lapic *l)
{
    return rdtsc() + l->tsc_offset;
}

void lapic_send(struct lapic *from, const struct apic_message *m)
{
    apic_route(from->board->lapic, from->board->cpu_count, from, m);
}

void lapic_notify(struct lapic *target)
{
    target->board->cpus->notify(target);
}

void lapic_event(struct lapic *target, enum apic_mode mode, uint8_t vector)
{
    target->board->cpus->event(target, mode, vector);
}

void lapic_broadcast_eoi(struct lapic *l, uint8_t vector)
{
    struct board *board = l->board;

    spin_lock(&board->lock);
    ioapic_eoi(&board->ioapic, vector);
    spin_unlock(&board->lock);
}

void lapic_mode_changed(struct lapic *l)
{
    l->board->cpus->mode(l);
}

/* --- what the I/O APIC asks (guest/board/ioapic.h) --- */

bool ioapic_send(struct ioapic *io, const struct apic_message *m)
{
    struct board *board = io->device.board;

    return apic_route(board->lapic, board->cpu_count, NULL, m);
}

void ioapic_changed(struct ioapic *io)
{
    io->device.board->cpus->eoi(io->device.board->owner);
}

/* INTR is wired to LINT0 of all processors. Whoever lets it through to an idle one takes it. */
static void pic_intr(void *context, bool level)
{
    struct board *board = context;

    for (unsigned i = 0; i < board->cpu_count; i++) {
        lapic_set_lint(board->lapic[i], 0, level);
        if (level && lapic_accepts_external(board->lapic[i]))
            board->cpus->notify(board->lapic[i]);
    }
}

int board_acknowledge(struct board *board, struct lapic *l)
{
    int vector = -1;

    spin_lock(&board->lock);
    if (pic_output(&board->pic))
        vector = pic_acknowledge(&board->pic);
    else
        lapic_set_lint(l, 0, false);
    spin_unlock(&board->lock);
    return vector;
}

void board_eoi_bitmap(struct board *board, uint64_t bitmap[4])
{
    spin_lock(&board->lock);
    ioapic_eoi_bitmap(&board->ioapic, bitmap);
    spin_unlock(&board->lock);
}

/* --- life --- */

int board_create(struct board **out, const struct board_cpus *cpus, void *owner,
                 struct guest_memory *memory, void *read_page)
{
    struct board *board = heap_alloc(sizeof(*board));
    int result;

    if (!board)
        return -ENOMEM;
    struct bus *bus = &board->front.bus;
    board->front.tsc_offset = -rdtsc();
    board->cpus = cpus;
    board->owner = owner;
    board->memory = memory;
    spin_init(&board->lock, RANK_BOARD);
    bus_init(bus);
    bus->chips = &board->lock;
    bus->make_room = make_room;
    bus->set_layers = set_layers;
    bus->memory_changed = memory_changed;
    board->otherwise =
        (struct device){.ops = &memory_ops, .board = board, .lock = &board->otherwise.own};
    spin_init(&board->otherwise.own, RANK_DEVICE);
    bus->otherwise = &board->otherwise;
    pic_init(&board->pic, board, pic_intr, board);
    ioapic_init(&board->ioapic, board, 0);
    ioapic_set_read_page(&board->ioapic, read_page);
    if ((result = pic_attach(&board->pic, bus)) < 0 ||
        (result = bus_add_device(bus, &board->ioapic.device)) < 0 ||
        (result = bus_add_mmio(bus, &board->ioapic.device, IOAPIC_BASE, IOAPIC_SIZE)) < 0 ||
        (result = bus_add_mmio(bus, &bus->nobody, LAPIC_BASE, PAGE_SIZE)) < 0) {
        board_destroy(board);
        return result;
    }
    *out = board;
    return 0;
}

void board_destroy(struct board *board)
{
    bus_destroy(&board->front.bus);
    heap_free(board);
}

void board_add_cpu(struct board *board, struct lapic *l)
{
    l->board = board;
    l->tsc_offset = board->front.tsc_offset;
    board->lapic[board->cpu_count++] = l;
}

void board_reset(struct board *board)
{
    spin_lock(&board->lock);
    __atomic_store_n(&board->irq_lines, 0, __ATOMIC_RELAXED);
    spin_unlock(&board->lock);
    bus_reset(&board->front.bus);
}

uint32_t board_lines(const struct board *board)
{
    return __atomic_load_n(&board->irq_lines, __ATOMIC_RELAXED);
}

void board_load_lines(struct board *board, uint32_t lines)
{
    __atomic_store_n(&board->irq_lines, lines & (BIT(IOAPIC_PINS) - 1), __ATOMIC_RELAXED);
}
