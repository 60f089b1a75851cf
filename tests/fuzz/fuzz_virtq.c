/* links: guest/devices/virtio/queue.c guest/board/state.c */
/*
 * A virtqueue in memory that a hostile driver fills with anything and changes while it is walked.
 * Every call has to end after a bounded number of accesses, what it returns is well formed, and
 * nothing is written but what the device's side of the rings is. Whether a ring moves on as it
 * should, test_virtq shows; here one that keeps to the rules at first has to give its chains, too.
 */
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "guest/devices/virtio/queue.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/require.h"

#define MEMORY      0x4000u
#define CALLS       300 /* of one run */
#define MOST_READS  (2 * VIRTQ_MAX_SIZE + VIRTQ_MAX_CHAIN + 8)
#define MOST_WRITES 4

static uint8_t memory[MEMORY];
static unsigned reads, writes;
static struct virtq q;
static struct device dev;

/* The driver writes, anywhere; mostly where it matters. */
static void meddle(void)
{
    static const uint16_t words[] = {0,      1,      2,      3,      4,  5, 0x80,
                                     0x8000, 0x8080, 0x7fff, 0xffff, 16, 32};
    uint16_t at = next16(), what = next();
    uint16_t value = what < 200 ? words[what % ARRAY_SIZE(words)] : next16();

    memcpy(memory + at % (MEMORY - 1), &value, sizeof(value));
}

static bool in_ram(uint64_t gpa, uint64_t size)
{
    return gpa <= MEMORY && size <= MEMORY - gpa;
}

int device_memory_read(struct device *d, uint64_t gpa, void *data, size_t size)
{
    REQUIRE(++reads <= MOST_READS);
    if (!in_ram(gpa, size))
        return -EFAULT;
    memcpy(data, memory + gpa, size);
    if (next() > 200)
        meddle();
    return 0;
}

int device_memory_write(struct device *d, uint64_t gpa, const void *data, size_t size)
{
    REQUIRE(++writes <= MOST_WRITES);
    REQUIRE(gpa - q.device < virtq_device_size(&q) ||
            (q.packed && gpa - q.descriptors < 16u * q.size));
    if (!in_ram(gpa, size))
        return -EFAULT;
    memcpy(memory + gpa, data, size);
    return 0;
}

int device_memory_load(struct device *d, uint64_t gpa, unsigned size, uint64_t *value)
{
    *value = 0;
    return gpa % size ? -EFAULT : device_memory_read(d, gpa, value, size);
}

int device_memory_store(struct device *d, uint64_t gpa, unsigned size, uint64_t value)
{
    return gpa % size ? -EFAULT : device_memory_write(d, gpa, &value, size);
}

static void check_chain(const struct virtq_chain *c)
{
    REQUIRE(c->count <= VIRTQ_MAX_CHAIN && c->readable <= c->count);
    REQUIRE(c->slots >= 1 && c->slots <= q.size);
    REQUIRE(q.packed || c->id < q.size);
    for (unsigned i = 0; i < c->count; i++)
        REQUIRE(c->segment[i].length > 0 && c->segment[i].gpa <= UINT64_MAX - c->segment[i].length);
}

static void set_up(void)
{
    uint8_t kind = next();

    q = (struct virtq){
        .dev = &dev,
        .size = (uint16_t)(1u << next() % 8),
        .enabled = true,
        .packed = kind & 1,
        .event_idx = kind & 2,
        .indirect = kind & 4,
        .descriptors = 0,
        .driver = 16 * VIRTQ_MAX_SIZE,
        .device = 32 * VIRTQ_MAX_SIZE,
    };
    if (q.packed)
        q.size = (uint16_t)(1 + next() % VIRTQ_MAX_SIZE);
    if (kind & 8) { /* anywhere, as far as the transport lets it */
        q.descriptors = (uint64_t)next16() * 16;
        q.driver = (uint64_t)next16() * 4;
        q.device = (uint64_t)next16() * 4;
    }
    virtq_start(&q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct virtq_chain held[VIRTQ_MAX_SIZE], chain;
    unsigned holding = 0;

    take_input(data, size);
    memset(memory, 0, sizeof(memory));
    set_up();
    for (unsigned call = 0; call < CALLS && left > 0; call++) {
        reads = writes = 0;
        switch (next() % 8) {
        case 0:
        case 1:
            if (virtq_next(&q, &chain) == 1) {
                REQUIRE(!q.broken);
                check_chain(&chain);
                if (holding < VIRTQ_MAX_SIZE)
                    held[holding++] = chain;
            }
            break;
        case 2:
            if (holding) {
                bool was = q.broken;
                virtq_return(&q, &held[--holding], next16());
                REQUIRE(!was || writes == 0);
            }
            break;
        case 3:
            (void)!virtq_interrupts(&q);
            break;
        case 4:
            virtq_silence(&q);
            break;
        case 5:
            (void)!virtq_listen(&q);
            break;
        case 6: {
            /* An indirect table, or one descriptor of it. */
            uint64_t at = next16() % (MEMORY - 16);
            memcpy(memory + at, &(uint64_t){next16()}, 8);
            memcpy(memory + at + 8, &(uint32_t){next()}, 4);
            memcpy(memory + at + 12, &(uint16_t){next()}, 2);
            memcpy(memory + at + 14, &(uint16_t){next16()}, 2);
            break;
        }
        default:
            meddle();
        }
        REQUIRE(!q.packed || (q.avail < q.size && q.used < q.size));
    }
    return 0;
}
