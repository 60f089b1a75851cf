/* links: drivers/acpi.c arch/x86/lib/log.c arch/x86/lib/format.c */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/acpi.h"

#define MAPS_MAX 4096

/* The input is physical memory with the RSDP at 0x10. Each mapping is a copy of its own, so that
 * the sanitizer sees every step outside, and gets right signatures and checksums, which a fuzzer
 * would never find. */
static const uint8_t *memory;
static size_t memory_size;
static void *maps[MAPS_MAX];
static unsigned map_count;

static void fix(uint8_t *table, uint64_t size, unsigned at)
{
    uint8_t sum = 0;

    for (uint64_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + table[i]);
    table[at] = (uint8_t)(table[at] - sum);
}

static const void *map(uint64_t base, uint64_t size)
{
    uint8_t *copy;

    if (base > memory_size || size > memory_size - base || map_count == MAPS_MAX)
        return NULL;
    copy = malloc(size);
    maps[map_count++] = copy;
    memcpy(copy, memory + base, size);
    if (base == 0x10 && size >= 20) {
        memcpy(copy, "RSD PTR ", 8);
        fix(copy, 20, 8);
        if (size == 36)
            fix(copy, 36, 32);
    } else if (size >= 36) {
        fix(copy, size, 9);
    }
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct acpi_madt madt;
    struct acpi_power power;

    memory = data;
    memory_size = size;
    if (acpi_init(0x10, map) == 0) {
        (void)acpi_find("HPET");
        (void)acpi_read_madt(&madt);
        (void)acpi_read_power(&power);
    }
    while (map_count)
        free(maps[--map_count]);
    return 0;
}
