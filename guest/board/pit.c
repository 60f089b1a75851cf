/* See pit.h. Clocks below are the PIT's own, counted from TSC 0, so that every edge has an absolute
 * place in time. */
#include "guest/board/pit.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/clock.h"
#include "guest/board/ports.h"

#define PORT_PIT_CONTROL (PORT_PIT + 3)

#define CONTROL_BCD          0x01
#define READ_BACK            3
#define READ_BACK_STATUS_OFF 0x10 /* both active low */
#define READ_BACK_COUNT_OFF  0x20
#define STATUS_OUTPUT        0x80
#define STATUS_NULL          0x40

#define SYSTEM_B_GATE     0x01
#define SYSTEM_B_WRITABLE 0x0f /* with the speaker's gate and two parity checks of old */
#define SYSTEM_B_REFRESH  0x10
#define SYSTEM_B_OUTPUT   0x20

#define REFRESH_CLOCKS                                                                             \
    18 /* channel 1 of a PC requests a refresh each 15 us and toggles bit 4 of port 61h */
#define NEVER INT64_MAX

/* Modes: 0 interrupt on terminal count, 1 one-shot, 2 rate generator, 3 square wave, 4 software
 * strobe, 5 hardware strobe */
static bool periodic(const struct pit_channel *c)
{
    return c->mode == 2 || c->mode == 3;
}

static bool gate_triggered(const struct pit_channel *c)
{
    return c->mode == 1 || c->mode == 5;
}

static uint32_t modulus(const struct pit_channel *c)
{
    return c->bcd ? 10000 : 0x10000;
}

static uint64_t pit_clock(struct pit *p)
{
    return clock_ticks(device_now(&p->dev), device_tsc_hz(&p->dev), PIT_HZ);
}

/* Clocks since the count was loaded; negative while the load is still to come. */
static int64_t elapsed(const struct pit_channel *c, uint64_t clock)
{
    return c->counting ? (int64_t)(clock - c->start) : c->held;
}

/* --- the counter as a function of time --- */

/* In mode 3 the output is high for the first half, which is the longer one of an odd count. */
static uint32_t high_half(uint32_t count)
{
    return (count + 1) / 2;
}

static bool output(const struct pit_channel *c, uint64_t clock)
{
    int64_t t = elapsed(c, clock);
    uint32_t phase;

    if (!c->loaded || (gate_triggered(c) && !c->triggered))
        return c->mode != 0;
    if (c->mode == 0)
        return t >= c->count;
    if (t < 0 || (periodic(c) && !c->gate))
        return c->mode != 1;
    if (c->mode == 1)
        return t >= c->count;
    if (!periodic(c))
        return t != c->count; /* the strobe is one clock long */
    phase = (uint32_t)((uint64_t)t % c->count);
    return c->mode == 2 ? phase != c->count - 1 : phase < high_half(c->count);
}

static uint16_t to_bcd(uint32_t value)
{
    return (uint16_t)(value / 1000 % 10 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 |
                      value % 10);
}

static uint16_t counter(const struct pit_channel *c, uint64_t clock)
{
    int64_t t = MAX(elapsed(c, clock), 0);
    uint32_t value = c->count, phase;

    if (periodic(c)) {
        phase = (uint32_t)((uint64_t)t % c->count);
        if (c->mode == 2)
            value -= phase;
        else if (phase < high_half(c->count))
            value = (c->count & ~1u) - 2 * phase;
        else
            value = (c->count & ~1u) - 2 * (phase - high_half(c->count));
    } else if (!gate_triggered(c) || c->triggered) {
        /* These modes go on counting past zero. */
        value += modulus(c) - (uint32_t)((uint64_t)t % modulus(c));
    }
    value %= modulus(c);
    return c->bcd ? to_bcd(value) : (uint16_t)value;
}

/* How long after the load, beyond t, the output next rises; NEVER if it does not. */
static int64_t next_rise(const struct pit_channel *c, int64_t t)
{
    if (!c->loaded || !c->counting || (gate_triggered(c) && !c->triggered))
        return NEVER;
    if (periodic(c))
        return t < 0 ? c->count : (int64_t)(((uint64_t)t / c->count + 1) * c->count);
    if (c->mode == 4 || c->mode == 5)
        return t <= c->count ? (int64_t)c->count + 1 : NEVER;
    return t < c->count ? (int64_t)c->count : NEVER;
}

/* --- changes --- */

/* Let a count that waits for the end of a period or half period take over if that has come. */
static void settle(struct pit_channel *c, uint64_t clock)
{
    if (c->next_count != 0 && periodic(c) && c->counting &&
        (int64_t)(clock - c->next_switch) >= 0) {
        c->count = c->next_count;
        c->start = c->next_start;
        c->next_count = 0;
    }
    if (c->loaded && c->next_count == 0 && elapsed(c, clock) >= 0)
        c->null_count = false;
}

/* Load the counter with the next clock. */
static void start(struct pit_channel *c, uint64_t clock)
{
    if (c->next_count != 0)
        c->count = c->next_count;
    c->next_count = 0;
    c->start = clock + 1;
    c->counting = true;
}

static uint32_t count_from(const struct pit_channel *c, uint16_t raw)
{
    uint32_t count = raw;

    if (c->bcd) {
        count = 0;
        for (int digit = 12; digit >= 0; digit -= 4)
            count = count * 10 + MIN(raw >> digit & 0xf, 9);
    }
    if (count == 0)
        return modulus(c);
    return count == 1 && periodic(c) ? 2 : count; /* 1 is illegal there */
}

static void load_count(struct pit_channel *c, uint16_t raw, uint64_t clock)
{
    bool first = !c->loaded;
    uint64_t phase;
    int64_t t;

    settle(c, clock);
    c->next_count = count_from(c, raw);
    c->null_count = true;
    c->loaded = true;
    if (gate_triggered(c))
        return;
    t = elapsed(c, clock);
    if (!periodic(c) || first || !c->counting || t < 0) {
        start(c, clock);
        if (!c->gate) {
            c->counting = false;
            c->held = 0;
        }
        return;
    }
    /* The running period ends first; in mode 3 the running half, and the new count begins with the
     * other half. */
    phase = (uint64_t)t % c->count;
    c->next_switch = c->next_start = clock - phase + c->count;
    if (c->mode == 3 && phase < high_half(c->count)) {
        c->next_switch = clock - phase + high_half(c->count);
        c->next_start = c->next_switch - high_half(c->next_count);
    }
}

static void set_gate(struct pit_channel *c, bool gate, uint64_t clock)
{
    if (gate == c->gate)
        return;
    settle(c, clock);
    c->gate = gate;
    if (!c->loaded)
        return;
    if (gate_triggered(c)) {
        if (gate) {
            c->triggered = true;
            start(c, clock);
        }
    } else if (!gate) {
        c->held = MAX(elapsed(c, clock), 0);
        c->counting = false;
    } else if (periodic(c)) {
        start(c, clock);
    } else {
        c->start = clock - (uint64_t)c->held;
        c->counting = true;
    }
}

static void drive_irq(struct pit *p, bool level)
{
    if (level == p->irq)
        return;
    p->irq = level;
    device_irq(&p->dev, GSI_PIT, level);
}

/* Show what channel 0's output has done so far, of which the timer shows its rising edges only. */
static void show_output(struct pit *p, uint64_t clock)
{
    if (device_now(&p->dev) >= p->dev.deadline[0]) {
        drive_irq(p, false);
        drive_irq(p, true);
    }
    settle(&p->channel[0], clock);
    drive_irq(p, output(&p->channel[0], clock));
}

/* Channel 0's output is interrupt line 0: wait for its next rising edge. */
static void set_timer(struct pit *p, uint64_t clock)
{
    struct pit_channel *c = &p->channel[0];
    uint64_t at, deadline = TIMER_OFF;
    int64_t rise;

    settle(c, clock);
    rise = next_rise(c, elapsed(c, clock));
    if (rise != NEVER) {
        at = c->start + (uint64_t)rise;
        if (c->next_count != 0 && (int64_t)(at - c->next_switch) > 0)
            at = c->next_start + c->next_count;
        deadline = clock_deadline(at, device_tsc_hz(&p->dev), PIT_HZ);
    }
    device_timer_set(&p->dev, 0, deadline);
}

static void pit_timer(struct device *d, unsigned timer, uint64_t now)
{
    struct pit *p = CONTAINER_OF(d, struct pit, dev);

    /* Nobody watches the low phase before the edge: showing it only now saves an exit in each
     * period. */
    drive_irq(p, false);
    drive_irq(p, true);
    set_timer(p, pit_clock(p));
}

/* --- registers --- */

static void latch_count(struct pit_channel *c, uint64_t clock)
{
    if (c->latched != 0)
        return;
    settle(c, clock);
    c->latched_count = counter(c, clock);
    c->latched = c->access == 3 ? 2 : 1;
}

static void latch_status(struct pit_channel *c, uint64_t clock)
{
    if (c->status_latched)
        return;
    settle(c, clock);
    c->status =
        (uint8_t)((output(c, clock) ? STATUS_OUTPUT : 0) | (c->null_count ? STATUS_NULL : 0) |
                  c->access << 4 | c->mode << 1 | (c->bcd ? CONTROL_BCD : 0));
    c->status_latched = true;
}

static void read_back(struct pit *p, uint8_t value, uint64_t clock)
{
    for (unsigned i = 0; i < ARRAY_SIZE(p->channel); i++) {
        if (!(value & BIT(i + 1)))
            continue;
        if (!(value & READ_BACK_COUNT_OFF))
            latch_count(&p->channel[i], clock);
        if (!(value & READ_BACK_STATUS_OFF))
            latch_status(&p->channel[i], clock);
    }
}

static void write_control(struct pit *p, uint8_t value, uint64_t clock)
{
    struct pit_channel *c;
    uint8_t mode = value >> 1 & 7, access = value >> 4 & 3;

    if (value >> 6 == READ_BACK) {
        read_back(p, value, clock);
        return;
    }
    c = &p->channel[value >> 6];
    if (access == 0) {
        latch_count(c, clock);
        return;
    }
    c->mode = mode > 5 ? mode - 4 : mode; /* 6 and 7 are 2 and 3 */
    c->access = access;
    c->bcd = value & CONTROL_BCD;
    c->count = modulus(c);
    c->next_count = 0;
    c->held = 0;
    c->loaded = c->counting = c->triggered = false;
    c->null_count = true;
    c->write_high = c->read_high = c->status_latched = false;
    c->latched = 0;
}

static void write_count(struct pit_channel *c, uint8_t value, uint64_t clock)
{
    if (c->access == 3 && !c->write_high) {
        c->write_high = true;
        c->write_low = value;
        if (c->mode == 0) { /* the first byte stops the counter and lowers the output */
            settle(c, clock);
            c->held = MAX(elapsed(c, clock), 0);
            c->loaded = c->counting = false;
        }
        return;
    }
    if (c->access == 3)
        load_count(c, (uint16_t)(value << 8 | c->write_low), clock);
    else
        load_count(c, (uint16_t)(c->access == 2 ? value << 8 : value), clock);
    c->write_high = false;
}

static uint8_t read_count(struct pit_channel *c, uint64_t clock)
{
    uint16_t value;
    bool high;

    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    if (c->latched != 0) {
        high = c->access == 2 || (c->access == 3 && c->latched == 1);
        c->latched--;
        return (uint8_t)(high ? c->latched_count >> 8 : c->latched_count);
    }
    settle(c, clock);
    value = counter(c, clock);
    high = c->access == 2 || (c->access == 3 && c->read_high);
    c->read_high = c->access == 3 && !c->read_high;
    return (uint8_t)(high ? value >> 8 : value);
}

static uint32_t pit_read(struct device *d, uint16_t port, unsigned size)
{
    struct pit *p = CONTAINER_OF(d, struct pit, dev);
    uint64_t clock = pit_clock(p);

    if (port == PORT_SYSTEM_B) {
        settle(&p->channel[2], clock);
        return p->system_b | (clock / REFRESH_CLOCKS % 2 ? SYSTEM_B_REFRESH : 0) |
               (output(&p->channel[2], clock) ? SYSTEM_B_OUTPUT : 0);
    }
    if (port == PORT_PIT_CONTROL)
        return 0xff;
    return read_count(&p->channel[port - PORT_PIT], clock);
}

static void pit_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    struct pit *p = CONTAINER_OF(d, struct pit, dev);
    uint64_t clock = pit_clock(p);
    uint8_t byte = (uint8_t)value;
    bool channel0 = port == PORT_PIT || (port == PORT_PIT_CONTROL && byte >> 6 == 0 && byte >> 4);

    if (channel0)
        show_output(p, clock);
    if (port == PORT_SYSTEM_B) {
        p->system_b = byte & SYSTEM_B_WRITABLE;
        set_gate(&p->channel[2], byte & SYSTEM_B_GATE, clock);
    } else if (port == PORT_PIT_CONTROL) {
        write_control(p, byte, clock);
    } else {
        write_count(&p->channel[port - PORT_PIT], byte, clock);
    }
    if (!channel0)
        return;
    set_timer(p, clock);
    drive_irq(p, output(&p->channel[0], clock));
}

/* --- life --- */

static void pit_reset(struct device *d)
{
    struct pit *p = CONTAINER_OF(d, struct pit, dev);

    memset(p->channel, 0, sizeof(p->channel));
    for (unsigned i = 0; i < ARRAY_SIZE(p->channel); i++) {
        p->channel[i].access = 3;
        p->channel[i].count = modulus(&p->channel[i]);
        p->channel[i].gate = i != 2;
    }
    p->system_b = 0;
    p->irq = false;
}

static void pit_save(struct device *d, struct state_writer *w)
{
    struct pit *p = CONTAINER_OF(d, struct pit, dev);

    for (unsigned i = 0; i < ARRAY_SIZE(p->channel); i++) {
        struct pit_channel *c = &p->channel[i];

        state_put_u8(w, c->mode);
        state_put_u8(w, c->access);
        state_put_u8(w, c->bcd);
        state_put_u8(w, c->gate);
        state_put_u8(w, c->loaded);
        state_put_u8(w, c->counting);
        state_put_u8(w, c->triggered);
        state_put_u8(w, c->null_count);
        state_put_u8(w, c->write_high);
        state_put_u8(w, c->read_high);
        state_put_u8(w, c->status_latched);
        state_put_u8(w, c->latched);
        state_put_u8(w, c->status);
        state_put_u8(w, c->write_low);
        state_put_u16(w, c->latched_count);
        state_put_u32(w, c->count);
        state_put_u32(w, c->next_count);
        state_put_u64(w, c->next_switch);
        state_put_u64(w, c->next_start);
        state_put_u64(w, c->start);
        state_put_u64(w, (uint64_t)c->held);
    }
    state_put_u8(w, p->system_b);
    state_put_u8(w, p->irq);
}

static bool load_channel(struct pit_channel *c, struct state_reader *r)
{
    uint32_t least;

    c->mode = state_get_u8(r);
    c->access = state_get_u8(r);
    c->bcd = state_get_u8(r) & 1;
    c->gate = state_get_u8(r) & 1;
    c->loaded = state_get_u8(r) & 1;
    c->counting = state_get_u8(r) & 1;
    c->triggered = state_get_u8(r) & 1;
    c->null_count = state_get_u8(r) & 1;
    c->write_high = state_get_u8(r) & 1;
    c->read_high = state_get_u8(r) & 1;
    c->status_latched = state_get_u8(r) & 1;
    c->latched = state_get_u8(r);
    c->status = state_get_u8(r);
    c->write_low = state_get_u8(r);
    c->latched_count = state_get_u16(r);
    c->count = state_get_u32(r);
    c->next_count = state_get_u32(r);
    c->next_switch = state_get_u64(r);
    c->next_start = state_get_u64(r);
    c->start = state_get_u64(r);
    c->held = (int64_t)state_get_u64(r);
    if (c->mode > 5 || c->access < 1 || c->access > 3 || c->latched > 2 || c->held < 0)
        return false;
    least = periodic(c) ? 2 : 1;
    return c->count >= least && c->count <= modulus(c) &&
           (c->next_count == 0 || (c->next_count >= least && c->next_count <= modulus(c)));
}

static int pit_load(struct device *d, struct state_reader *r)
{
    struct pit *p = CONTAINER_OF(d, struct pit, dev);

    for (unsigned i = 0; i < ARRAY_SIZE(p->channel); i++) {
        if (!load_channel(&p->channel[i], r)) {
            pit_reset(d);
            return -EBADMSG;
        }
    }
    p->system_b = state_get_u8(r) & SYSTEM_B_WRITABLE;
    p->irq = state_get_u8(r) & 1;
    return 0;
}

static const struct device_ops pit_ops = {
    .name = "pit",
    .version = 1,
    .port_width = 1,
    .lock = DEVICE_CHIPS,
    .port_read = pit_read,
    .port_write = pit_write,
    .timer = pit_timer,
    .reset = pit_reset,
    .save = pit_save,
    .load = pit_load,
};

const struct device_class pit_class = {
    .ops = &pit_ops,
    .size = sizeof(struct pit),
    .ports = {{PORT_PIT, 4}, {PORT_SYSTEM_B, 1}},
};
