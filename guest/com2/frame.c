#include "guest/com2/frame.h"

#include "arch/x86/lib/crc32.h"
#include "arch/x86/lib/string.h"

#define SYNC_1 0xa5
#define SYNC_2 0xc2

/* Where what is, from the frame's beginning. */
#define CHANNEL  2
#define SEQUENCE 3
#define LENGTH   5
#define CHECK    7

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get(const uint8_t *at, unsigned bytes)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value |= (uint32_t)at[i] << (8 * i);
    return value;
}

/* A wrong length would have the reader wait for bytes that do not come: so the header has a check
 * of its own. */
static uint8_t header_check(const uint8_t *frame)
{
    return (uint8_t)crc32(0, frame, CHECK);
}

size_t com2_frame_pack(const struct com2_frame *f, uint8_t out[COM2_FRAME_MAX])
{
    size_t length = MIN(f->length, COM2_PAYLOAD), end = COM2_HEADER_SIZE + length;

    out[0] = SYNC_1;
    out[1] = SYNC_2;
    out[CHANNEL] = f->channel;
    put(out + SEQUENCE, f->sequence, 2);
    put(out + LENGTH, length, 2);
    out[CHECK] = header_check(out);
    if (length)
        memcpy(out + COM2_HEADER_SIZE, f->payload, length);
    put(out + end, crc32(0, out, end), COM2_CRC_SIZE);
    return end + COM2_CRC_SIZE;
}

static void drop(struct com2_receiver *r, size_t bytes)
{
    r->used -= bytes;
    memmove(r->bytes, r->bytes + bytes, r->used);
}

/* Whether a frame may begin with these bytes. */
static bool may_begin(const uint8_t *b, size_t size)
{
    return b[0] == SYNC_1 && (size < 2 || b[1] == SYNC_2) &&
           (size < COM2_HEADER_SIZE ||
            (b[CHECK] == header_check(b) && get(b + LENGTH, 2) <= COM2_PAYLOAD));
}

/* With its first byte no frame begins. */
static void skip(struct com2_receiver *r)
{
    size_t bytes = 1;

    while (bytes < r->used && !may_begin(r->bytes + bytes, r->used - bytes))
        bytes++;
    drop(r, bytes);
    r->skipped += bytes;
}

static void drop_taken(struct com2_receiver *r)
{
    if (!r->taken)
        return;
    drop(r, r->taken);
    r->taken = 0;
    if (r->used && !may_begin(r->bytes, r->used))
        skip(r);
}

void com2_receiver_put(struct com2_receiver *r, uint8_t byte)
{
    drop_taken(r);
    if (r->used == sizeof(r->bytes)) /* com2_receiver_next() was not called */
        skip(r);
    r->bytes[r->used++] = byte;
    if (r->used <= COM2_HEADER_SIZE && !may_begin(r->bytes, r->used))
        skip(r);
}

bool com2_receiver_next(struct com2_receiver *r, struct com2_frame *f)
{
    drop_taken(r);
    while (r->used >= COM2_HEADER_SIZE) {
        size_t length = get(r->bytes + LENGTH, 2), end = COM2_HEADER_SIZE + length;

        if (r->used < end + COM2_CRC_SIZE)
            return false;
        if (crc32(0, r->bytes, end) == get(r->bytes + end, COM2_CRC_SIZE)) {
            *f = (struct com2_frame){.channel = r->bytes[CHANNEL],
                                     .sequence = (uint16_t)get(r->bytes + SEQUENCE, 2),
                                     .length = length,
                                     .payload = r->bytes + COM2_HEADER_SIZE};
            r->taken = end + COM2_CRC_SIZE;
            return true;
        }
        r->damaged++;
        skip(r);
    }
    return false;
}

bool com2_receiver_give_up(struct com2_receiver *r)
{
    if (!r->used)
        return false;
    skip(r);
    return true;
}
