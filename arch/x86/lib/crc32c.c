#include "arch/x86/lib/crc32c.h"

#include "arch/x86/lib/string.h"

#define POLYNOMIAL 0x82f63b78u
#define SSE4_2     BIT(20) /* CPUID.1:ECX */

static bool has_instruction(void)
{
    static uint8_t known; /* 1: no, 2: yes; whoever asks first finds out, maybe twice */
    uint32_t a = 1, b, c = 0, d;

    if (UNLIKELY(!known)) {
        __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
        known = c & SSE4_2 ? 2 : 1;
    }
    return known == 2;
}

/* Of a CRC that is not turned over yet, as the instruction has it. */
static uint32_t bytes_plain(uint32_t crc, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
    }
    return crc;
}

uint32_t crc32c_plain(uint32_t crc, const void *data, size_t size)
{
    return ~bytes_plain(~crc, data, size);
}

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint64_t sum = ~crc, word;

    if (UNLIKELY(!has_instruction()))
        return crc32c_plain(crc, data, size);
    for (; size >= 8; size -= 8, bytes += 8) {
        memcpy(&word, bytes, 8);
        __asm__("crc32q %1, %0" : "+r"(sum) : "rm"(word));
    }
    return ~bytes_plain((uint32_t)sum, bytes, size);
}
