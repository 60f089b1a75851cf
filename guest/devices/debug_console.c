/*
 * The debug console of emulated PCs: a port that firmware and small kernels write text to, at 402h
 * (OVMF, SeaBIOS) and at E9h. Both read as E9h, by which they are recognised. Lines go to the VM's
 * log; a guest that says more of them than a person could read has the rest counted.
 */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "guest/board/class.h"
#include "guest/board/ports.h"

#define PRESENT          0xe9
#define LINE             120 /* a longer one is broken */
#define LINES_PER_SECOND 50

struct debug_console {
    struct device dev;
    void (*log)(void *context, const char *line);
    void *context;

    char line[LINE + 1]; /* so far */
    uint8_t length;
    /* In the guest's second `second`: lines that went to the log, and that did not. */
    uint64_t second;
    uint32_t logged, left_out;
};

static void say_left_out(struct debug_console *c)
{
    char text[40];

    if (!c->left_out)
        return;
    format(text, sizeof(text), "(%u lines are left out here)", c->left_out);
    c->left_out = 0;
    c->log(c->context, text);
}

static void end_line(struct debug_console *c)
{
    uint64_t hz = device_tsc_hz(&c->dev), second = device_now(&c->dev) / hz;

    if (second != c->second) {
        say_left_out(c);
        c->second = second;
        c->logged = 0;
    }
    c->line[c->length] = '\0';
    c->length = 0;
    if (c->logged < LINES_PER_SECOND) {
        c->logged++;
        c->log(c->context, c->line);
    } else if (!c->left_out++) {
        device_timer_set(&c->dev, 0, (second + 1) * hz);
    }
}

/* Nobody says more: what was left out is told all the same. */
static void debug_console_timer(struct device *d, unsigned timer, uint64_t now)
{
    say_left_out(CONTAINER_OF(d, struct debug_console, dev));
}

/* What it does to a terminal is not the guest's to say. */
static char harmless(uint8_t byte)
{
    return byte >= ' ' && byte <= '~' ? (char)byte : byte == '\t' ? ' ' : '?';
}

static uint32_t debug_console_read(struct device *d, uint16_t port, unsigned size)
{
    return PRESENT;
}

static void debug_console_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    struct debug_console *c = CONTAINER_OF(d, struct debug_console, dev);

    if (value == '\r')
        return;
    if (value != '\n')
        c->line[c->length++] = harmless((uint8_t)value);
    if ((value == '\n' && c->length) || c->length == LINE)
        end_line(c);
}

static void debug_console_reset(struct device *d)
{
    struct debug_console *c = CONTAINER_OF(d, struct debug_console, dev);

    c->length = 0;
    c->second = 0;
    c->logged = c->left_out = 0;
}

static void debug_console_save(struct device *d, struct state_writer *w)
{
    struct debug_console *c = CONTAINER_OF(d, struct debug_console, dev);

    state_put_u8(w, c->length);
    state_put(w, c->line, c->length);
    state_put_u64(w, c->second);
    state_put_u32(w, c->logged);
    state_put_u32(w, c->left_out);
}

static int debug_console_load(struct device *d, struct state_reader *r)
{
    struct debug_console *c = CONTAINER_OF(d, struct debug_console, dev);

    c->length = state_get_u8(r);
    if (c->length >= LINE) {
        debug_console_reset(d);
        return -EBADMSG;
    }
    for (unsigned i = 0; i < c->length; i++)
        c->line[i] = harmless(state_get_u8(r));
    c->second = state_get_u64(r);
    c->logged = state_get_u32(r);
    c->left_out = state_get_u32(r);
    return 0;
}

static int debug_console_create(struct device *d, struct device_setup *s)
{
    struct debug_console *c = CONTAINER_OF(d, struct debug_console, dev);

    c->log = s->host->log;
    c->context = s->host->context;
    return 0;
}

static const struct device_ops debug_console_ops = {
    .name = "debug-console",
    .version = 1,
    .port_width = 1,
    .port_read = debug_console_read,
    .port_write = debug_console_write,
    .timer = debug_console_timer,
    .reset = debug_console_reset,
    .save = debug_console_save,
    .load = debug_console_load,
};

const struct device_class debug_console_class = {
    .ops = &debug_console_ops,
    .size = sizeof(struct debug_console),
    .ports = {{PORT_DEBUG, 1}, {PORT_DEBUG_E9, 1}},
    .create = debug_console_create,
};
