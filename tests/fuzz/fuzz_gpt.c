/* links: guest/storage/gpt.c arch/x86/lib/crc32.c arch/x86/lib/format.c */
#include <stdint.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "guest/storage/gpt.h"
#include "tests/fuzz/require.h"

/*
 * The input's first byte says how large blocks are; the rest is the disk's beginning. Headers get
 * right sums when they are read, their own and that of their entries, which a fuzzer would never
 * find.
 */
static const uint8_t *disk;
static size_t size;
static unsigned reads;

static uint32_t crc(const uint8_t *p, size_t n)
{
    uint32_t c = UINT32_MAX;

    while (n--) {
        c ^= *p++;
        for (unsigned i = 0; i < 8; i++)
            c = c & 1 ? c >> 1 ^ 0xedb88320 : c >> 1;
    }
    return ~c;
}

/* Of the entries that a header names, unless they are very many. */
static void fix_entries(uint8_t *header, uint32_t block)
{
    static uint8_t entries[1 << 16];
    uint64_t table;
    uint32_t count, each, sum;

    memcpy(&table, header + 72, 8);
    memcpy(&count, header + 80, 4);
    memcpy(&each, header + 84, 4);
    if ((uint64_t)count * each > sizeof(entries))
        return;
    memset(entries, 0, sizeof(entries));
    if (table < size / block)
        memcpy(entries, disk + table * block, MIN(size - table * block, sizeof(entries)));
    sum = crc(entries, count * each);
    memcpy(header + 88, &sum, 4);
}

static int read(void *ctx, uint64_t sector, void *data)
{
    const struct gpt_source *s = ctx;
    uint8_t *to = data;
    uint32_t length, sum;

    REQUIRE(sector < s->sectors && sector % (s->logical_block / 512) == 0);
    REQUIRE(++reads < 3000);
    memset(data, 0, GPT_READ);
    if (sector * 512 < size)
        memcpy(data, disk + sector * 512, MIN(size - sector * 512, GPT_READ));
    memcpy(&length, to + 12, 4);
    if (memcmp(to, "EFI PART", 8) == 0 && length >= 92 && length <= GPT_READ) {
        fix_entries(to, s->logical_block);
        memset(to + 16, 0, 4);
        sum = crc(to, length);
        memcpy(to + 16, &sum, 4);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    static struct gpt g;
    struct gpt_source s = {.read = read, .ctx = &s};
    const char *why;
    int error;

    if (!length)
        return 0;
    s.logical_block = data[0] & 1 ? 4096 : 512;
    disk = data + 1;
    size = length - 1;
    reads = 0;
    s.sectors = size / 512 + data[0];
    error = gpt_read(&s, &g, &why);
    REQUIRE(error <= 0 && why);
    REQUIRE(g.count <= GPT_MAX && (!error || !g.count));
    for (uint32_t i = 0; i < g.count; i++) {
        const struct gpt_partition *p = &g.partitions[i];

        REQUIRE(strlen(p->label) < GPT_LABEL);
        if (p->broken)
            continue;
        REQUIRE(p->sectors && p->first < s.sectors && p->sectors <= s.sectors - p->first);
        for (uint32_t k = 0; k < i; k++)
            REQUIRE(g.partitions[k].broken ||
                    p->first >= g.partitions[k].first + g.partitions[k].sectors ||
                    g.partitions[k].first >= p->first + p->sectors);
    }
    return 0;
}
