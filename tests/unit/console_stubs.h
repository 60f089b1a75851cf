/* What the console stands on, in its test: two VMs, a serial port and a monitor that note what
 * reaches them. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <asm/prctl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/x86/cpu.h"
#include "arch/x86/smp.h"
#include "arch/x86/tsc.h"
#include "drivers/console.h"
#include "drivers/framebuffer.h"
#include "drivers/serial.h"
#include "guest/console/console.h"
#include "guest/console/kept.h"
#include "guest/console/port.h"
#include "guest/console/terminal.h"
#include "guest/vm/control.h"
#include "guest/run/run.h"
#include "guest/vm/vm.h"
#include "guest/vm/vm_console.h"
#include "mm/heap.h"

#define VMS   2
#define KEPTS 20000

static struct percpu cpu;
static struct vm vms[VMS];
static struct vm_slot slots[VMS];
static struct vm_config configs[VMS] = {{.console = 2}};
static bool awaited[VMS];

/* What has come where. */
#define PORTS 2 /* of VM 0, beside its serial one */
static unsigned to_guest[VMS], to_port[PORTS], to_monitor, prompts;
static unsigned again;              /* how often the loop was asked to come by */
static unsigned retries, questions; /* to a guest's UART, to the monitor */
static char screen[1 << 16];
static size_t shown, room;
static uint8_t typed[64];
static unsigned typed_head, typed_tail;
static bool stalls;   /* a guest's FIFO is full */
static size_t drains; /* bytes that the port sends when it is looked at */

/* --- what the console stands on --- */

uint64_t tsc_hz = 1000000000;
static uint64_t now;

uint64_t test_tsc(void)
{
    return now += 100; /* who waits for a moment does not wait for ever */
}

struct serial_port com1;

void spin_wait(struct spinlock *l, uint16_t ticket)
{
    fail(); /* there is nobody else */
}

void console_lock(void)
{
}

void console_unlock(void)
{
}

static void (*line_sink)(const char *line, size_t length);

void console_set_serial_line_sink(void (*fn)(const char *line, size_t length))
{
    line_sink = fn;
}

void framebuffer_write(const char *text, size_t length, uint32_t colour)
{
}

size_t serial_room(const struct serial_port *p)
{
    return room;
}

size_t serial_write(struct serial_port *p, const void *data, size_t size)
{
    size_t taken = MIN(size, MIN(room, sizeof(screen) - shown));

    memcpy(screen + shown, data, taken);
    shown += taken;
    room -= taken;
    return taken;
}

bool serial_sending(const struct serial_port *p)
{
    return room < SERIAL_TX_SIZE;
}

int serial_read(struct serial_port *p)
{
    return typed_head == typed_tail ? -1 : typed[typed_tail++ % sizeof(typed)];
}

bool serial_received(struct serial_port *p, uint8_t byte)
{
    for (unsigned i = typed_tail; i != typed_head; i++)
        if (typed[i % sizeof(typed)] == byte) {
            typed_tail = i;
            return true;
        }
    return false;
}

void serial_set_rx_handler(struct serial_port *p, void (*fn)(void))
{
}

bool serial_poll(struct serial_port *p)
{
    room += drains;
    return typed_head != typed_tail;
}

void serial_flush(struct serial_port *p)
{
    room = SERIAL_TX_SIZE;
}

void vcpu_again_at(uint64_t deadline)
{
    again++;
}

void run_attention(unsigned n)
{
}

void heap_free(void *p)
{
}

/* The console gives back nothing. */
void *heap_alloc(size_t size)
{
    static uint64_t memory[(VMS + PORTS + 1) * KEPTS / sizeof(uint64_t)];
    static size_t used;
    static bool again_begun;

    if (size < KEPTS / 2) { /* its two tables: all begins anew */
        again_begun = !again_begun;
        if (!again_begun)
            return memory + KEPTS / 2 / sizeof(uint64_t);
        memset(memory, 0, sizeof(memory));
        used = KEPTS / sizeof(uint64_t);
        return memory;
    }
    used += KEPTS / sizeof(uint64_t);
    assert_true(size <= KEPTS && used <= sizeof(memory) / sizeof(memory[0]));
    return memory + used - KEPTS / sizeof(uint64_t);
}

unsigned control_count(void)
{
    return VMS;
}

struct vm_slot *control_slot(unsigned index)
{
    return &slots[index];
}

bool control_awaits(const struct vm_slot *slot)
{
    return awaited[slot->id];
}

void vm_console_retry(struct vm *vm)
{
    retries++;
}

void vm_console_type(struct vm *vm, int port, uint8_t byte)
{
    if (port == VM_SERIAL)
        to_guest[vm->id]++;
    else
        to_port[port]++;
}

bool vm_console_takes(const struct vm *vm, int port)
{
    questions++;
    return !stalls;
}

static void monitor_enter(void)
{
    prompts++;
}

static void monitor_leave(void)
{
}

static void monitor_input(uint8_t byte)
{
    to_monitor++;
}

static bool permitted = true;
static unsigned keys;

static void monitor_typed(void)
{
    keys++;
}

static bool monitor_permits(void)
{
    return permitted;
}

static uint64_t monitor_work(void)
{
    questions++;
    return CONSOLE_NEVER;
}

static bool monitor_hide(void)
{
    return true;
}

static void monitor_show(void)
{
}

static const struct console_monitor prompt = {
    .enter = monitor_enter,
    .leave = monitor_leave,
    .input = monitor_input,
    .typed = monitor_typed,
    .permits = monitor_permits,
    .work = monitor_work,
    .hide = monitor_hide,
    .show = monitor_show,
};
