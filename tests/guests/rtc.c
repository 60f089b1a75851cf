/* The RTC: update-in-progress comes and goes, seconds advance once a second, formats, alarms'
 * flags, CMOS RAM, and registers that keep what a running clock is told. */
#include "guest.h"

static unsigned from_bcd(unsigned v)
{
    return (v >> 4) * 10 + (v & 15);
}

/* 10 February 2024 with another day and then another month: no date on the way is corrected. */
static void registers_keep_what_is_written(void)
{
    uint8_t year = cmos_read(9), month = cmos_read(8), day = cmos_read(7);

    while (cmos_read(4) == 0x23 && cmos_read(2) == 0x59) /* no midnight meanwhile */
        ;
    cmos_write(9, 0x24);
    cmos_write(8, 0x02);
    cmos_write(7, 0x31);
    CHECK(cmos_read(7) == 0x31, "the day, set to 31, is %x", cmos_read(7));
    cmos_write(8, 0x03);
    CHECK(cmos_read(8) == 0x03 && cmos_read(7) == 0x31, "month 3, day 31 reads %x-%x", cmos_read(8),
          cmos_read(7));
    cmos_write(9, 0x60);
    CHECK(cmos_read(9) == 0x60, "year 60 reads %x", cmos_read(9));
    cmos_write(9, year);
    cmos_write(8, month);
    cmos_write(7, day);
}

void test(void)
{
    uint8_t b = cmos_read(0xb);
    CHECK(cmos_read(0xd) & 0x80, "the battery is empty");
    unsigned second = cmos_read(0), month = cmos_read(8), year = cmos_read(9);
    if (!(b & 4)) {
        second = from_bcd(second);
        month = from_bcd(month);
        year = from_bcd(year);
    }
    CHECK(second < 60 && month >= 1 && month <= 12 && year < 100,
          "date: second %u month %u year %u", second, month, year);
    uint64_t start = rdtsc(), limit = 2 * tsc_hz();
    while (!(cmos_read(0xa) & 0x80) && rdtsc() - start < limit)
        ;
    CHECK(rdtsc() - start < limit, "no update in 2 s");
    uint8_t before = cmos_read(0);
    uint64_t rising = rdtsc();
    while ((cmos_read(0xa) & 0x80) && rdtsc() - rising < limit)
        ;
    uint64_t us = (rdtsc() - rising) * 1000000 / tsc_hz();
    CHECK(us < 3000, "update in progress for %lu us", us);
    CHECK(cmos_read(0) != before || us == 0, "the update did not change the second %x", before);
    start = rdtsc();
    while (!(cmos_read(0xa) & 0x80) && rdtsc() - start < limit)
        ;
    us = (rdtsc() - rising) * 1000000 / tsc_hz();
    CHECK(us > 990000 && us < 1010000, "from update to update %lu us", us);
    cmos_write(0x40, 0xa5);
    cmos_write(0x41, 0x5a);
    CHECK(cmos_read(0x40) == 0xa5 && cmos_read(0x41) == 0x5a, "CMOS RAM does not keep bytes");
    /* binary format: the same second */
    cmos_write(0xb, b | 4);
    unsigned binary = cmos_read(0);
    CHECK(binary < 60, "in binary the second is %u", binary);
    cmos_write(0xb, b);
    registers_keep_what_is_written();
}
