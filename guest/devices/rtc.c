/* See rtc.h. */
#include "guest/devices/rtc.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/clock.h"
#include "guest/board/ports.h"

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
#define LAST_SECOND 253402300799LL /* of the year 9999 */
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
    return MIN(MAX(wall_microseconds(r) + r->offset, 0), LAST_SECOND * SECOND);
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

/* Days from 1970-01-01 to a day of the Gregorian calendar, by years that begin in March, and back.
 */
static int64_t days_from_date(int64_t year, unsigned month, unsigned day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    unsigned day_of_year = (153 * (month + (month > 2 ? -3u : 9u)) + 2) / 5 + day;

    return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719469;
}

static void date_from_days(int64_t days, unsigned *year, unsigned *month, unsigned *day)
{
    unsigned era_day = (unsigned)((days + 719468) % 146097);
    unsigned era = (unsigned)((days + 719468) / 146097);
    unsigned y = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
    unsigned day_of_year = era_day - (365 * y + y / 4 - y / 100);
    unsigned m = (5 * day_of_year + 2) / 153;

    *day = day_of_year - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = era * 400 + y + (*month <= 2);
}

static void bytes_from_time(struct rtc *r, int64_t seconds)
{
    unsigned of_day = (unsigned)(seconds % DAY_SECONDS), year, month, day;
    int64_t days = seconds / DAY_SECONDS;

    date_from_days(days, &year, &month, &day);
    r->ram[SECONDS] = encode(r, of_day % 60);
    r->ram[MINUTES] = encode(r, of_day / 60 % 60);
    r->ram[HOURS] = encode_hour(r, of_day / 3600);
    r->ram[WEEKDAY] = encode(r, (unsigned)((days + 4) % 7) + 1); /* Sunday is 1 */
    r->ram[DAY] = encode(r, day);
    r->ram[MONTH] = encode(r, month);
    r->ram[YEAR] = encode(r, year % 100);
    r->ram[CENTURY] = encode(r, year / 100);
}

/* What the guest wrote need not be a date: anything is some moment, within the clock's range. */
static int64_t time_from_bytes(const struct rtc *r)
{
    unsigned month = MIN(MAX(decode(r, r->ram[MONTH]), 1), 12);
    int64_t year = decode(r, r->ram[CENTURY]) * 100 + decode(r, r->ram[YEAR]);
    int64_t days = days_from_date(year, month, decode(r, r->ram[DAY]));
    int64_t seconds = days * DAY_SECONDS + decode_hour(r, r->ram[HOURS]) * 3600 +
                      decode(r, r->ram[MINUTES]) * 60 + decode(r, r->ram[SECONDS]);

    return MIN(MAX(seconds, 0), LAST_SECOND);
}

static bool is_time(unsigned index)
{
    return index == SECONDS || index == MINUTES || index == HOURS ||
           (index >= WEEKDAY && index <= YEAR) || index == CENTURY;
}

/* The clock shows what the bytes say, the given part of a second later. */
static void set_time(struct rtc *r, int64_t microseconds)
{
    r->offset = time_from_bytes(r) * SECOND + microseconds - wall_microseconds(r);
    r->updated = rtc_microseconds(r) / SECOND;
}

/* --- flags, interrupts and timers --- */

/* The first time of day, in seconds, at or after `from` that the alarm bytes match; NEVER if there
 * is none that day. */
static int64_t alarm_in_day(const struct rtc *r, unsigned from)
{
    bool any_hour = r->ram[HOURS_ALARM] >= ANY, any_minute = r->ram[MINUTES_ALARM] >= ANY;
    bool any_second = r->ram[SECONDS_ALARM] >= ANY;
    unsigned hour = decode_hour(r, r->ram[HOURS_ALARM]), minute = decode(r, r->ram[MINUTES_ALARM]);
    unsigned second = any_second ? 0 : decode(r, r->ram[SECONDS_ALARM]);

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

/* The first second after `after` at which the alarm goes off. */
static int64_t next_alarm(const struct rtc *r, int64_t after)
{
    int64_t day = (after + 1) / DAY_SECONDS * DAY_SECONDS;
    int64_t of_day = alarm_in_day(r, (unsigned)(after + 1 - day));

    if (of_day == NEVER) {
        day += DAY_SECONDS;
        of_day = alarm_in_day(r, 0);
    }
    return of_day == NEVER ? NEVER : day + of_day;
}

/* Length of the periodic interrupt's period in ticks of RTC_HZ; 0 for none. */
static unsigned period_ticks(const struct rtc *r)
{
    unsigned rate = r->ram[REG_A] & A_RATE;

    if (rate == 0 || divider_reset(r))
        return 0;
    return 1u << ((rate <= 2 ? rate + 7 : rate) - 1);
}

/* Raise the flags of everything that has happened since somebody last looked. */
static void catch_up(struct rtc *r)
{
    unsigned ticks = period_ticks(r);

    if (ticks != 0) {
        uint64_t now = clock_ticks(device_now(&r->dev), device_tsc_hz(&r->dev), RTC_HZ) / ticks;

        if (now > r->periodic)
            r->ram[REG_C] |= FLAG_P;
        r->periodic = now;
    }
    if (!stopped(r)) {
        int64_t now = rtc_microseconds(r) / SECOND;

        if (now > r->updated) {
            r->ram[REG_C] |= FLAG_U;
            if (next_alarm(r, r->updated) <= now)
                r->ram[REG_C] |= FLAG_A;
        }
        r->updated = now;
    }
}

static void update_irq(struct rtc *r)
{
    bool level = r->ram[REG_B] & r->ram[REG_C] & FLAGS;

    if (level == r->irq)
        return;
    r->irq = level;
    device_irq(&r->dev, GSI_RTC, level);
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
        int64_t now = rtc_microseconds(r);
        int64_t next = wanted & FLAG_U ? r->updated + 1 : next_alarm(r, r->updated);
        int64_t nap = next > LAST_SECOND ? LONGEST_NAP : MIN(next * SECOND - now, LONGEST_NAP);

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
    update_irq(r);
    set_timers(r);
}

/* --- registers --- */

/* New values of the two control registers: either may stop the clock or let it go. */
static void set_control(struct rtc *r, uint8_t a, uint8_t b)
{
    bool was_stopped = stopped(r), was_reset = divider_reset(r);
    int64_t now = rtc_microseconds(r);
    unsigned ticks;

    catch_up(r);
    r->ram[REG_A] = a & ~A_UIP;
    /* The bytes stop in the format that is in force from here on. */
    r->ram[REG_B] = b & B_SET ? b & ~FLAG_U : b;
    if (!was_stopped && stopped(r))
        bytes_from_time(r, now / SECOND);
    /* After a reset of the divider the first update comes half a second later. */
    if (was_stopped && !stopped(r))
        set_time(r, was_reset ? SECOND / 2 : now % SECOND);
    ticks = period_ticks(r);
    if (ticks != 0)
        r->periodic = clock_ticks(device_now(&r->dev), device_tsc_hz(&r->dev), RTC_HZ) / ticks;
}

static uint8_t read_ram(struct rtc *r, unsigned index)
{
    uint8_t value;

    if (is_time(index) && !stopped(r))
        bytes_from_time(r, rtc_microseconds(r) / SECOND);
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
    int64_t now;

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
        now = rtc_microseconds(r);
        bytes_from_time(r, now / SECOND);
        r->ram[index] = value;
        set_time(r, now % SECOND);
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

void rtc_set_memory(struct rtc *r, uint64_t below_4g, uint64_t above_4g)
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
    set_control(r, 0x26, r->ram[REG_B] & (B_24H | B_BINARY));
    r->ram[REG_C] = 0;
    r->irq = false;
}

static void rtc_save(struct device *d, struct state_writer *w)
{
    struct rtc *r = CONTAINER_OF(d, struct rtc, dev);

    /* While the clock runs its bytes are worked out anew by each read: what they held last means
     * nothing. */
    if (!stopped(r))
        bytes_from_time(r, 0);
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
    if (r->offset > (LAST_SECOND + 1) * SECOND || r->offset < -(LAST_SECOND + 1) * SECOND ||
        r->updated < 0 || r->updated > LAST_SECOND) {
        r->offset = r->updated = 0;
        return -EBADMSG;
    }
    return 0;
}

static const struct device_ops rtc_ops = {
    .name = "rtc",
    .version = 1,
    .port_width = 1,
    .port_read = rtc_read,
    .port_write = rtc_write,
    .timer = rtc_timer,
    .reset = rtc_reset,
    .save = rtc_save,
    .load = rtc_load,
};

void rtc_init(struct rtc *r, struct vm *vm)
{
    memset(r, 0, sizeof(*r));
    r->dev.ops = &rtc_ops;
    r->dev.vm = vm;
    r->dev.deadline[0] = r->dev.deadline[1] = TIMER_OFF;
    r->ram[REG_A] = 0x26; /* running, periodic rate 1024 Hz */
    r->ram[REG_B] = B_24H;
    r->ram[REG_D] = D_VALID;
    /* Nothing has happened before the first look. */
    r->updated = LAST_SECOND;
    r->periodic = UINT64_MAX;
}

int rtc_attach(struct rtc *r, struct bus *bus)
{
    int error = bus_add_device(bus, &r->dev);

    return error ? error : bus_add_ports(bus, &r->dev, PORT_RTC, 4);
}
