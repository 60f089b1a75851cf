#include "drivers/console.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/panic.h"
#include "arch/x86/spinlock.h"
#include "drivers/framebuffer.h"
#include "drivers/serial.h"

#define RING_SIZE 16384u
#define LINE_SIZE 320

/* Over the ring, the framebuffer, and whose turn it is on the serial port. */
static struct spinlock lock = SPINLOCK(RANK_LOG);
static char ring[RING_SIZE];
static unsigned ring_head; /* free-running */
static void (*serial_line_sink)(const char *line, size_t length);

static void ring_write(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        ring[ring_head++ % RING_SIZE] = text[i];
}

/* A line is never lost for want of room: wait for the transmitter instead. */
static void serial_line(const char *line, size_t length)
{
    if (serial_room(&com1) < length)
        serial_flush(&com1);
    serial_write(&com1, line, length);
}

static void sink(enum log_level level, const char *text, size_t length)
{
    static const struct {
        const char *prefix;
        enum framebuffer_color color;
    } levels[] = {
        [LOG_ERROR] = {"corbel: error: ", FB_RED},
        [LOG_WARN] = {"corbel: warning: ", FB_YELLOW},
        [LOG_INFO] = {"corbel: ", FB_WHITE},
        [LOG_DEBUG] = {"corbel: ", FB_GREY},
    };
    char line[LINE_SIZE];
    int used = format(line, sizeof(line) - 2, "%s%.*s", levels[level].prefix, (int)length, text);

    used = MIN(used, LINE_SIZE - 3);
    /* Text may come from a config or a guest: it must not steer the terminal, which may take bytes
     * above ASCII for control codes, or for text that runs the other way. */
    for (int i = 0; i < used; i++)
        if ((uint8_t)line[i] < ' ' || (uint8_t)line[i] > '~')
            line[i] = '?';
    line[used] = '\r';
    line[used + 1] = '\n';

    spin_lock(&lock);
    ring_write(line, (size_t)used);
    ring_write("\n", 1);
    framebuffer_write("\r\x1b[K", 4, FB_WHITE); /* the monitor's prompt may stand there */
    framebuffer_write(line, (size_t)used + 2, levels[level].color);
    if (serial_line_sink)
        serial_line_sink(line, (size_t)used + 2);
    else
        serial_line(line, (size_t)used + 2);
    spin_unlock(&lock);
}

/* Nothing may be waited for but the UART: interrupts may never come again. */
static void panic_write(const char *text, size_t length)
{
    static bool begun;

    ring_write(text, length);
    framebuffer_write(text, length, FB_RED);
    serial_flush(&com1);
    if (!begun)
        serial_write(&com1, "\x1b[m\r\n", 5); /* a guest's line may stand unfinished, in colour */
    begun = true;
    serial_write(&com1, text, length);
    serial_flush(&com1);
}

void console_init(void)
{
    log_set_sink(sink);
    panic_set_writer(panic_write);
}

void console_lock(void)
{
    spin_lock(&lock);
}

void console_unlock(void)
{
    spin_unlock(&lock);
}

void console_set_serial_line_sink(void (*fn)(const char *line, size_t length))
{
    serial_line_sink = fn;
}

size_t console_history(char *out, size_t size)
{
    unsigned length, start;

    spin_lock(&lock);
    length = MIN(ring_head, RING_SIZE);
    length = (unsigned)MIN((size_t)length, size);
    start = ring_head - length;
    for (unsigned i = 0; i < length; i++)
        out[i] = ring[(start + i) % RING_SIZE];
    spin_unlock(&lock);
    return length;
}
