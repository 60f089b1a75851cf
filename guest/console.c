#include "guest/console.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "drivers/console.h"
#include "drivers/serial.h"
#include "guest/vm.h"

/* Corbel's lines that wait for the end of a guest's line. */
#define DEFERRED_SIZE 4096

static struct vm *attached;
static bool in_guest_line;
static char deferred[DEFERRED_SIZE];
static size_t deferred_length;
static unsigned deferred_lost;

/* Send all of it, waiting for the port as long as that makes progress. */
static void send_line(const char *line, size_t length)
{
    uint64_t limit = rdtsc() + tsc_hz;

    while (length && rdtsc() < limit) {
        size_t taken = serial_write(&com1, line, length);
        if (taken)
            limit = rdtsc() + tsc_hz;
        line += taken;
        length -= taken;
        if (length)
            serial_poll(&com1);
    }
}

static void flush_deferred(void)
{
    static const char lost[] =
        "corbel: warning: some lines were lost while the guest's line went on\r\n";

    send_line(deferred, deferred_length);
    deferred_length = 0;
    if (deferred_lost)
        send_line(lost, sizeof(lost) - 1);
    deferred_lost = 0;
}

static void corbel_line(const char *line, size_t length)
{
    if (!in_guest_line) {
        send_line(line, length);
    } else if (length <= DEFERRED_SIZE - deferred_length) {
        memcpy(deferred + deferred_length, line, length);
        deferred_length += length;
    } else {
        deferred_lost++;
    }
}

static void input_arrived(void)
{
    if (attached)
        vcpu_ask(attached->vcpu[0], REQUEST_CONSOLE);
}

void console_mux_init(void)
{
    console_set_serial_line_sink(corbel_line);
    serial_set_rx_handler(&com1, input_arrived);
}

void console_attach(struct vm *vm)
{
    console_lock();
    if (in_guest_line)
        send_line("\r\n", 2);
    in_guest_line = false;
    flush_deferred();
    attached = vm;
    console_unlock();
}

/*
 * The port's interrupt may be held back for as long as the guest runs with interrupts off (Bochs
 * does that): what waits to be sent is looked after at timer exits, too.
 */
static void watch_port(void)
{
    struct vcpu *v = attached->vcpu[0];

    v->console_waits = serial_sending(&com1);
    if (v->console_waits)
        v->next_exit = MIN(v->next_exit, rdtsc() + tsc_hz / CONSOLE_HZ);
}

bool console_put(void *context, uint8_t byte)
{
    if (context != attached)
        return true;
    console_lock();
    if (serial_write(&com1, &byte, 1) == 0) {
        console_unlock();
        return false;
    }
    in_guest_line = byte != '\n';
    if (UNLIKELY(!in_guest_line && (deferred_length || deferred_lost)))
        flush_deferred();
    console_unlock();
    if (!attached->vcpu[0]->console_waits)
        watch_port();
    return true;
}

void console_pump(void)
{
    int c;

    serial_poll(&com1);
    if (!attached) {
        while (serial_read(&com1) >= 0)
            ;
        return;
    }
    if (uart_output_waits(&attached->uart))
        uart_output_ready(&attached->uart);
    while (uart_receive_room(&attached->uart) && (c = serial_read(&com1)) >= 0) {
        uint8_t byte = (uint8_t)c;
        uart_receive(&attached->uart, &byte, 1);
    }
    watch_port();
}
