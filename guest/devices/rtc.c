/* See rtc.h. */
#include "guest/devices/rtc.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/clock.h"
#include "guest/board/ports.h"
#include "guest/devices/calendar.h"

enum {
    SECONDS = 0,
    SECONDS_ALARM = 1,
    MINUTES = 2,
    MINUTES_ALARM = 3,
    HOURS = 4,
    HOURS_ALARM = 5,
    WEEKDAY = 6,
    DAY = 7,
    MONTH = 8,
    YEAR = 9,
    REG_A = 0x0a,
    REG_B = 0x0b,
    REG_C = 0x0c,
    REG_D = 0x0d,
    BASE_MEMORY = 0x15,     /* KiB, 16 bits */
    EXTENDED_MEMORY = 0x17, /* KiB above 1 MiB, 16 bits; again at 30h */
    CENTURY = RTC_CENTURY,
    MEMORY_ABOVE_16M = 0x34, /* in units of 64 KiB, 16 bits */
    MEMORY_ABOVE_4G = 0x5b,  /* in units of 64 KiB, 24 bits */
};

#define A_UIP     0x80
#define A_STOPPED 0x60 /* divider held in reset */
#define A_RATE    0x0f
#define B_SET     0x80
#define B_24H     0x02
#define B_BINARY  0x04
#define FLAG_P    0x40 /* the same bits enable in B and report in C */
#define FLAG_A    0x20
#define FLAG_U    0x10
#define FLAGS     (FLAG_P | FLAG_A | FLAG_U)
#define C_IRQ     0x80
#define D_VALID   0x80
#define PM        0x80
#define ANY       0xc0 /* from here on an alarm byte matches everything */

#define RTC_HZ 32768
#define SECOND 1000000LL
#define UIP_TIME                                                                                   \
    244 /* UIP stands this long before an update, so that a reader may start while it is off */
#define DAY_SECONDS 86400
#define NEVER       INT64_MAX
#define NO_TIME     60             /* neither hours nor minutes nor seconds */
#define LAST_SECOND 253402300799LL /* of the year 9999 */
#define CYCLE_DAYS  3652425LL      /* the years 0000 to 9999, which come round again */
#define CYCLE_START (-719528LL)    /* the first day of the year 0000 */
#define LONGEST_NAP (3600 * SECOND)

static bool divider_reset(const struct rtc *r)
{
    return (r->ram[REG_A] & A_STOPPED) == A_STOPPED;
}

static bool stopped(const struct rtc *r)
{
    return divider_reset(r) || (r->ram[REG_B] & B_SET);
}

static int64_t wall_microseconds(struct rtc *r)
{
    int64_t seconds;
    uint32_t microseconds;

    device_wall_clock(&r->dev, &seconds, &microseconds);
    seconds = MIN(MAX(seconds, 0), LAST_SECOND);
    return seconds * SECOND + MIN(microseconds, SECOND - 1);
}

static int64_t rtc_microseconds(struct rtc *r)
{
    return wall_microseconds(r) + r->offset;
}

static int64_t rtc_second(struct rtc *r)
{
    return rtc_microseconds(r) / SECOND;
}

/* --- the time's bytes --- */

static uint8_t encode(const struct rtc *r, unsigned value)
{
    return (uint8_t)(r->ram[REG_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static unsigned decode(const struct rtc *r, uint8_t byte)
{
    return r->ram[REG_B] & B_BINARY ? byte : (byte >> 4) * 10u + (byte & 0xf);
}

static uint8_t encode_hour(const struct rtc *r, unsigned hour)
{
    if (r->ram[REG_B] & B_24H)
        return encode(r, hour);
    return encode(r, hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? PM : 0);
}

static unsigned decode_hour(const struct rtc *r, uint8_t byte)
{
    if (r->ram[REG_B] & B_24H)
        return decode(r, byte);
    return decode(r, byte & ~PM) % 12 + (byte & PM ? 12 : 0);
}

static unsigned year_of(const struct rtc *r)
{
    return decode(r, r->ram[CENTURY]) % 100 * 100 + decode(r, r->ram[YEAR]) % 100;
}

static void set_date(struct rtc *r, int64_t days)
{
    unsigned year, month, day;

    date_from_days(days, &year, &month, &day);
    r->ram[DAY] = encode(r, day);
    r->ram[MONTH] = encode(r, month);
    r->ram[YEAR] = encode(r, year % 100);
    r->ram[CENTURY] = encode(r, year / 100);
}

static void bytes_from_time(struct rtc *r, int64_t seconds)
{
    unsigned of_day = (unsigned)(seconds % DAY_SECONDS);
    int64_t days = seconds / DAY_SECONDS;

    r->ram[SECONDS] = encode(r, of_day % 60);
    r->ram[MINUTES] = encode(r, of_day / 60 % 60);
    r->ram[HOURS] = encode_hour(r, of_day / 3600);
    r->ram[WEEKDAY] = encode(r, (unsigned)((days + 4) % 7) + 1); /* Sunday is 1 */
    set_date(r, days);
}

/* --- updates: what the guest wrote need not be a time, and stays until an update gets to it --- */

static unsigned time_of_day(const struct rtc *r)
{
    return MIN(decode_hour(r, r->ram[HOURS]), 23) * 3600 +
           MIN(decode(r, r->ram[MINUTES]), 59) * 60 + MIN(decode(r, r->ram[SECONDS]), 59);
}

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static void advance_days(struct rtc *r, int64_t count)
{
    unsigned weekday = MIN(MAX(decode(r, r->ram[WEEKDAY]), 1), 7) - 1;
    unsigned month = MIN(MAX(decode(r, r->ram[MONTH]), 1), 12), year = year_of(r);
    unsigned day = MIN(MAX(decode(r, r->ram[DAY]), 1), days_in_month(year, month));
    int64_t days = days_from_date(year, month, day) + count;

    weekday = (unsigned)(weekday + count - 7 * floor_divide(weekday + count, 7));
    r->ram[WEEKDAY] = encode(r, weekday + 1);
    set_date(r, days - CYCLE_DAYS * floor_divide(days - CYCLE_START, CYCLE_DAYS));
}

/* Seconds pass: each register changes when those before it carry. */
static void advance(struct rtc *r, int64_t count)
{
    unsigned before = time_of_day(r);
    int64_t after = before + count, days = floor_divide(after, DAY_SECONDS);
    unsigned of_day = (unsigned)(after - days * DAY_SECONDS);

    r->ram[SECONDS] = encode(r, of_day % 60);
    if (floor_divide(after, 60) != before / 60)
        r->ram[MINUTES] = encode(r, of_day / 60 % 60);
    if (floor_divide(after, 3600) != before / 3600)
        r->ram[HOURS] = encode_hour(r, of_day / 3600);
    if (days != 0)
        advance_days(r, days);
}

static bool is_time(unsigned index)
{
    return index == SECONDS || index == MINUTES || index == HOURS ||
           (index >= WEEKDAY && index <= YEAR) || index == CENTURY;
}

/* The bytes in the format of register B, from the one of b. */
static void convert(struct rtc *r, uint8_t b)
{
    uint8_t format = r->ram[REG_B];

    for (unsigned i = 0; i < sizeof(r->ram); i++) {
        unsigned value;

        if (!is_time(i))
            continue;
        r->ram[REG_B] = b;
        value = i == HOURS ? decode_hour(r, r->ram[i]) : decode(r, r->ram[i]);
        r->ram[REG_B] = format;
        r->ram[i] = i == HOURS ? encode_hour(r, value) : encode(r, value);
    }
}

/* --- flags, interrupts and timers --- */

/* What an alarm's byte stands for: it is compared with the time's as it is. */
static unsigned alarm_value(const struct rtc *r, unsigned index)
{
    uint8_t byte = r->ram[index];
    unsigned value = index == HOURS_ALARM ? decode_hour(r, byte) : decode(r, byte);
    uint8_t same = index == HOURS_ALARM ? encode_hour(r, value) : encode(r, value);

    return byte == same ? value : NO_TIME;
}

/* The first time of day, in seconds, at or after `from` that the alarm bytes match; NEVER if there
 * is none that day. */
static int64_t alarm_in_day(const struct rtc *r, unsigned from)
{
    bool any_hour = r->ram[HOURS_ALARM] >= ANY, any_minute = r->ram[MINUTES_ALARM] >= ANY;
    bool any_second = r->ram[SECONDS_ALARM] >= ANY;
    unsigned hour = alarm_value(r, HOURS_ALARM), minute = alarm_value(r, MINUTES_ALARM);
    unsigned second = any_second ? 0 : alarm_value(r, SECONDS_ALARM);

    if (second > 59)
        return NEVER;
    for (unsigned h = from / 3600; h < 24; h++) {
        if (!any_hour && h != hour)
            continue;
        for (unsigned m = h == from / 3600 ? from / 60 % 60 : 0; m < 60; m++) {
            unsigned start = h * 3600 + m * 60;

            if (!any_minute && m != minute)
                continue;
            if (start + second >= from)
                return start + second;
            if (any_second)
                return from; /* within this minute */
        }
    }
    return NEVER;
}

/* How many seconds after the last update the alarm goes off. */
static int64_t alarm_distance(const struct rtc *r)
{
    unsigned now = time_of_day(r);
    int64_t at = alarm_in_day(r, (now + 1) % DAY_SECONDS);

    if (at == NEVER)
        at = alarm_in_day(r, 0);
    if (at == NEVER)
        return NEVER;
    return at > now ? at - now : at + DAY_SECONDS - now;
}

/* Length of the periodic interrupt's period in ticks of RTC_HZ; 0 for none. */
static unsigned period_ticks(const struct rtc *r)
{
    unsigned rate = r->ram[REG_A] & A_RATE;

    if (rate == 0 || divider_reset(r))
        return 0;
    return 1u << ((rate <= 2 ? rate + 7 : rate) - 1);
}

static void update_irq(struct rtc *r)
{
    bool level = r->ram[REG_B] & r->ram[REG_C] & FLAGS;

    if (level == r->irq)
        return;
    r->irq = level;
    device_irq(&r->dev, GSI_RTC, level);
}

/* The updates since the last one. */
static void update(struct rtc *r)
{
    int64_t now = rtc_second(r), passed = now - r->updated;

    if (passed == 0)
        return;
    if (passed > 0)
        r->ram[REG_C] |= FLAG_U | (alarm_distance(r) <= passed ? FLAG_A : 0);
    advance(r, passed);
    r->updated = now;
}

/* Raise the flags of everything that has happened since somebody last looked, and the interrupt
 * before whatever comes next can lower it again. */
static void catch_up(struct rtc *r)
{
    unsigned ticks = period_ticks(r);

    if (ticks != 0) {
        uint64_t now = clock_ticks(device_now(&r->dev), device_tsc_hz(&r->dev), RTC_HZ) / ticks;

        if (now > r->periodic)
            r->ram[REG_C] |= FLAG_P;
        r->periodic = now;
    }
    if (!stopped(r))
        update(r);
    update_irq(r);
}

/* Have each enabled flag whose event is still to come raised in time. */
static void set_timers(struct rtc *r)
{
    uint8_t wanted = r->ram[REG_B] & ~r->ram[REG_C];
    uint64_t hz = device_tsc_hz(&r->dev), periodic = TIMER_OFF, update = TIMER_OFF;
    unsigned ticks = period_ticks(r);

    if ((wanted & FLAG_P) && ticks != 0)
        periodic = clock_deadline((r->periodic + 1) * ticks, hz, RTC_HZ);
    if ((wanted & (FLAG_U | FLAG_A)) && !stopped(r)) {
        int64_t now = rtc_microseconds(r), wait = wanted & FLAG_U ? 1 : alarm_distance(r);
        int64_t nap =
            wait == NEVER ? LONGEST_NAP : MIN((r->updated + wait) * SECOND - now, LONGEST_NAP);

        /* The wall clock may run unlike the TSC: whoever wakes early sleeps again. */
        update = device_now(&r->dev) + clock_deadline((uint64_t)MAX(nap, 1), hz, SECOND);
    }
    device_timer_set(&r->dev, 0, periodic);
    device_timer_set(&r->dev, 1, update);
}

static void rtc_timer(struct device *d, unsigned timer, uint64_t now)
{
    struct rtc *r = CONTAINER_OF(d, struct rtc, dev);

    catch_up(r);
    set_timers(r);
}

/* --- registers --- */

/* New values of the two control registers: either may stop the clock or let it go. */
static void set_control(struct rtc *r, uint8_t a, uint8_t b)
{
    bool was_stopped = stopped(r), was_reset = divider_reset(r);
    uint8_t format = r->ram[REG_B];
    unsigned ticks;

    catch_up(r);
    r->ram[REG_A] = a & ~A_UIP;
    r->ram[REG_B] = b & B_SET ? b & ~FLAG_U : b;
    if (!was_stopped && ((b ^ format) & (B_24H | B_BINARY)))
        convert(r, format);
    if (was_stopped && !stopped(r)) {
        /* After a reset of the divider the first update comes half a second later. */
        if (was_reset)
            r->offset = (SECOND + SECOND / 2 - wall_microseconds(r) % SECOND) % SECOND;
        r->updated = rtc_second(r);
    }
    ticks = period_ticks(r);
    if (ticks != 0)
        r->periodic = clock_ticks(device_now(&r->dev), device_tsc_hz(&r->dev), RTC_HZ) / ticks;
}

static uint8_t read_ram(struct rtc *r, unsigned index)
{
    uint8_t value;

    if (is_time(index) && !stopped(r)) {
        update(r);
        update_irq(r);
    }
    value = r->ram[index];
    if (index == REG_A && !stopped(r) && rtc_microseconds(r) % SECOND >= SECOND - UIP_TIME)
        value |= A_UIP;
    if (index == REG_C) {
        catch_up(r);
        value = r->ram[REG_C] | (r->ram[REG_B] & r->ram[REG_C] & FLAGS ? C_IRQ : 0);
        r->ram[REG_C] = 0;
        update_irq(r);
        set_timers(r);
    }
    return value;
}

static void write_ram(struct rtc *r, unsigned index, uint8_t value)
{
    switch (index) {
    case REG_A:
        set_control(r, value, r->ram[REG_B]);
        break;
    case REG_B:
        set_control(r, r->ram[REG_A], value);
        break;
    case REG_C:
    case REG_D:
        return;
    case SECONDS_ALARM:
    case MINUTES_ALARM:
    case HOURS_ALARM:
        catch_up(r);
        r->ram[index] = value;
        break;
    default:
        if (!is_time(index) || stopped(r)) {
            r->ram[index] = value;
            return;
        }
        catch_up(r);
        r->ram[index] = value;
        break;
    }
    update_irq(r);
    set_timers(r);
}

static uint32_t rtc_read(struct device *d, uint16_t port, unsigned size)
{
    struct rtc *r = CONTAINER_OF(d, struct rtc, dev);

    switch (port - PORT_RTC) {
    case 1:
        return read_ram(r, r->index);
    case 3:
        return r->extended[r->extended_index];
    default: /* the index registers cannot be read */
        return 0xff;
    }
}

static void rtc_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    struct rtc *r = CONTAINER_OF(d, struct rtc, dev);

    switch (port - PORT_RTC) {
    case 0: /* bit 7 masks NMIs, of which this platform has none */
        r->index = value & 0x7f;
        break;
    case 1:
        write_ram(r, r->index, (uint8_t)value);
        break;
    case 2:
        r->extended_index = value & 0x7f;
        break;
    default:
        r->extended[r->extended_index] = (uint8_t)value;
        break;
    }
}

/* The bytes in CMOS RAM from which firmware takes the size of memory below and above 4 GiB. */
static void set_memory(struct rtc *r, uint64_t below_4g, uint64_t above_4g)
{
    uint64_t base = MIN(below_4g / KIB, 640);
    uint64_t extended = below_4g > MIB ? MIN((below_4g - MIB) / KIB, 0xffff) : 0;
    uint64_t above_16m = below_4g > 16 * MIB ? MIN((below_4g - 16 * MIB) / (64 * KIB), 0xffff) : 0;
    uint64_t high = MIN(above_4g / (64 * KIB), 0xffffff);

    for (unsigned i = 0; i < 2; i++) {
        r->ram[BASE_MEMORY + i] = (uint8_t)(base >> (8 * i));
        r->ram[EXTENDED_MEMORY + i] = (uint8_t)(extended >> (8 * i));
        r->ram[0x30 + i] = (uint8_t)(extended >> (8 * i));
        r->ram[MEMORY_ABOVE_16M + i] = (uint8_t)(above_16m >> (8 * i));
    }
    for (unsigned i = 0; i < 3; i++)
        r->ram[MEMORY_ABOVE_4G + i] = (uint8_t)(high >> (8 * i));
}

/* --- life --- */

/* The battery keeps the time and the RAM. */
static void rtc_reset(struct device *d)
{
    struct rtc *r = CONTAINER_OF(d, struct rtc, dev);

    r->index = r->extended_index = 0;
    r->ram[REG_B] &= ~FLAGS;
    r->irq = false;
    set_control(r, 0x26, r->ram[REG_B] & (B_24H | B_BINARY));
    r->ram[REG_C] = 0;
}

static void rtc_save(struct device *d, struct state_writer *w)
{
    struct rtc *r = CONTAINER_OF(d, struct rtc, dev);

    state_put_u8(w, r->index);
    state_put_u8(w, r->extended_index);
    state_put(w, r->ram, sizeof(r->ram));
    state_put(w, r->extended, sizeof(r->extended));
    state_put_u64(w, (uint64_t)r->offset);
    state_put_u64(w, (uint64_t)r->updated);
    state_put_u64(w, r->periodic);
    state_put_u8(w, r->irq);
}

static int rtc_load(struct device *d, struct state_reader *reader)
{
    struct rtc *r = CONTAINER_OF(d, struct rtc, dev);

    r->index = state_get_u8(reader) & 0x7f;
    r->extended_index = state_get_u8(reader) & 0x7f;
    state_get(reader, r->ram, sizeof(r->ram));
    r->ram[REG_A] &= ~A_UIP;
    r->ram[REG_C] &= FLAGS;
    r->ram[REG_D] = D_VALID;
    state_get(reader, r->extended, sizeof(r->extended));
    r->offset = (int64_t)state_get_u64(reader);
    r->updated = (int64_t)state_get_u64(reader);
    r->periodic = state_get_u64(reader);
    r->irq = state_get_u8(reader) & 1;
    if (r->offset < 0 || r->offset >= SECOND || r->updated < 0 || r->updated > LAST_SECOND) {
        r->offset = 0;
        r->updated = rtc_second(r);
        return -EBADMSG;
    }
    return 0;
}

static const struct device_ops rtc_ops = {
    .name = "rtc",
    .version = 2,
    .port_width = 1,
    .port_read = rtc_read,
    .port_write = rtc_write,
    .timer = rtc_timer,
    .reset = rtc_reset,
    .save = rtc_save,
    .load = rtc_load,
};

static int rtc_create(struct device *d, struct device_setup *s)
{
    struct rtc *r = CONTAINER_OF(d, struct rtc, dev);

    r->ram[REG_A] = 0x26; /* running, periodic rate 1024 Hz */
    r->ram[REG_B] = B_24H;
    r->ram[REG_D] = D_VALID;
    r->updated = rtc_second(r);
    bytes_from_time(r, r->updated);
    r->periodic = UINT64_MAX; /* nothing has happened before the first look */
    set_memory(r, s->host->memory_below_4g, s->host->memory_above_4g);
    return 0;
}

const struct device_class rtc_class = {
    .ops = &rtc_ops,
    .size = sizeof(struct rtc),
    .ports = {{PORT_RTC, 4}},
    .create = rtc_create,
};
