/* The Gregorian calendar, of the years 0 to 9999. */
#pragma once

#include "arch/x86/lib/types.h"

/*
 * Days from 1970-01-01 to a day, and back, by years that begin in March; 400 of them are an era,
 * after which the calendar repeats. One era more keeps everything positive.
 */
#define CALENDAR_ERA   146097
#define CALENDAR_EPOCH (719468 + CALENDAR_ERA) /* 1970-01-01 */

static inline int64_t days_from_date(int64_t year, unsigned month, unsigned day)
{
    int64_t y = (month <= 2 ? year - 1 : year) + 400;
    unsigned day_of_year = (153 * (month + (month > 2 ? -3u : 9u)) + 2) / 5 + day - 1;

    return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - CALENDAR_EPOCH;
}

static inline void date_from_days(int64_t days, unsigned *year, unsigned *month, unsigned *day)
{
    unsigned era_day = (unsigned)((days + CALENDAR_EPOCH) % CALENDAR_ERA);
    unsigned era = (unsigned)((days + CALENDAR_EPOCH) / CALENDAR_ERA);
    unsigned y = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
    unsigned day_of_year = era_day - (365 * y + y / 4 - y / 100);
    unsigned m = (5 * day_of_year + 2) / 153;

    *day = day_of_year - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = era * 400 + y + (*month <= 2) - 400;
}

static inline unsigned days_in_month(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && leap);
}
