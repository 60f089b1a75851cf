/* The APIC timer's one-shot and periodic modes count at the rate that CPUID 15h gives, by every
 * divisor. */
#include "guest.h"

static volatile unsigned count;

static void on_timer(struct frame *f)
{
    count++;
    lapic_eoi();
}

void test(void)
{
    static const uint8_t divide[8] = {0xb, 0, 1, 2, 3, 8, 9, 0xa}; /* 1, 2, 4 ... 128 */
    uint64_t ratio = tsc_hz() / apic_hz();
    for (unsigned mode = 0; mode < 2; mode++) {
        lapic_on(mode);
        handle(0x62, on_timer);
        sti();
        for (unsigned i = 0; i < 8; i++) {
            lapic_write(0x3e0, divide[i]);
            lapic_write(0x320, 0x62);
            count = 0;
            uint64_t start = rdtsc(), wait = ratio * (1000 >> (i / 2)) << i;
            lapic_write(0x380, 1000 >> (i / 2));
            CHECK(count || lapic_read(0x390) <= 1000u >> (i / 2), "the counter starts at %u",
                  lapic_read(0x390));
            while (!count && rdtsc() - start < 4 * wait + 100000)
                ;
            uint64_t took = rdtsc() - start;
            CHECK(count == 1 && took >= wait && took < wait + 50000,
                  "one-shot /%u: %u interrupts after %lu ticks, not %lu", 1u << i, count, took,
                  wait);
            CHECK(lapic_read(0x390) == 0, "one-shot /%u counts on", 1u << i);
        }
        delay_us(100);
        CHECK(count == 1, "one-shot came again");

        lapic_write(0x3e0, 0xb);
        lapic_write(0x320, 0x20062);
        count = 0;
        uint64_t start = rdtsc(), period = 100000;
        lapic_write(0x380, (uint32_t)(period / ratio));
        while (count < 20 && rdtsc() - start < 40 * period)
            ;
        uint64_t took = rdtsc() - start;
        CHECK(count == 20 && took > 19 * period && took < 22 * period, "%u periods of %lu took %lu",
              count, period, took);
        lapic_write(0x380, 0);
        unsigned stopped = count;
        delay_us(5000);
        CHECK(count <= stopped + 1, "the periodic timer does not stop");
        lapic_write(0x320, 0x10062); /* masked */
        count = 0;
        lapic_write(0x380, 100);
        delay_us(100);
        CHECK(count == 0, "a masked timer came");
        cli();
    }
}
