#include "guest/trace/wire.h"

#include "arch/x86/lib/crc32.h"
#include "arch/x86/lib/string.h"

/* What follows a record's kind in its first byte. */
#define SAME_VCPU 0x10
#define HAS_RIP   0x20
#define HAS_COST  0x40
#define HAS_B     0x80

#define VARINT_MAX 10
/* Kind, VM and vCPU, time, code, RIP, cost, a, b. */
#define RECORD_MAX (1 + 3 + 3 + VARINT_MAX + 5 + VARINT_MAX + 5 + VARINT_MAX + VARINT_MAX)

struct writer {
    uint8_t *at;
};

static void put_bytes(struct writer *w, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        *w->at++ = (uint8_t)(value >> (8 * i));
}

/* Seven bits a byte, the lowest first; the top bit says that more follow. */
static void put_varint(struct writer *w, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *w->at++ = (uint8_t)(value | 0x80);
    *w->at++ = (uint8_t)value;
}

/* A difference: small ones of either sign become small numbers. */
static void put_delta(struct writer *w, uint64_t value, uint64_t before)
{
    uint64_t delta = value - before;

    put_varint(w, delta << 1 ^ (delta >> 63 ? UINT64_MAX : 0));
}

static size_t finish(struct writer *w, enum trace_packet type, uint16_t sequence, uint8_t *out)
{
    struct writer header = {out};
    size_t length = (size_t)(w->at - out);

    put_bytes(&header, 'C', 1);
    put_bytes(&header, 'T', 1);
    put_bytes(&header, TRACE_VERSION, 1);
    put_bytes(&header, type, 1);
    put_bytes(&header, length - TRACE_HEADER_SIZE, 2);
    put_bytes(&header, sequence, 2);
    put_bytes(w, crc32(0, out, length), TRACE_CRC_SIZE);
    return length + TRACE_CRC_SIZE;
}

size_t trace_pack_info(const struct trace_info *info, size_t *next_name, uint16_t sequence,
                       uint8_t out[TRACE_PACKET_MAX])
{
    struct writer w = {out + TRACE_HEADER_SIZE};
    const uint8_t *end = out + TRACE_PACKET_MAX - TRACE_CRC_SIZE;

    put_bytes(&w, info->tsc_hz, 8);
    put_bytes(&w, info->now, 8);
    put_bytes(&w, info->start, 8);
    put_bytes(&w, info->events, 4);
    put_bytes(&w, info->cpus, 2);
    for (size_t n = 0; n < info->vm_count; n++) {
        if (*next_name >= info->vm_count)
            *next_name = 0;
        struct config_span name = info->vms[*next_name].name;
        if ((size_t)(end - w.at) < 3 + name.length)
            break;
        put_bytes(&w, *next_name, 2);
        put_bytes(&w, name.length, 1);
        memcpy(w.at, name.data, name.length);
        w.at += name.length;
        ++*next_name;
    }
    return finish(&w, TRACE_PACKET_INFO, sequence, out);
}

static void put_record(struct writer *w, const struct trace_record *r,
                       const struct trace_record *before)
{
    uint8_t *first = w->at++;

    *first = r->kind;
    if (r->vm == before->vm && r->vcpu == before->vcpu) {
        *first |= SAME_VCPU;
    } else {
        put_varint(w, (uint16_t)(r->vm + 1)); /* TRACE_NO_VM is 0 */
        put_varint(w, r->vcpu);
    }
    put_delta(w, r->time, before->time);
    put_varint(w, r->code);
    if (r->rip) {
        *first |= HAS_RIP;
        put_delta(w, r->rip, before->rip);
    }
    if (r->cost) {
        *first |= HAS_COST;
        put_varint(w, r->cost);
    }
    put_varint(w, r->a);
    if (r->b) {
        *first |= HAS_B;
        put_varint(w, r->b);
    }
}

size_t trace_pack_records(struct trace_ring *ring, uint16_t cpu, uint16_t sequence,
                          uint8_t out[TRACE_PACKET_MAX])
{
    struct writer w = {out + TRACE_HEADER_SIZE};
    const uint8_t *end = out + TRACE_PACKET_MAX - TRACE_CRC_SIZE;
    struct trace_record r, before = {.vm = TRACE_NO_VM};

    if (!trace_ring_take(ring, &r))
        return 0;
    put_bytes(&w, cpu, 2);
    put_bytes(&w, ring->lost, 4);
    put_bytes(&w, r.time, 8);
    before.time = r.time;
    uint64_t lost = ring->lost;
    for (;;) {
        uint64_t rip = before.rip;
        put_record(&w, &r, &before);
        before = r;
        if (!r.rip)
            before.rip = rip;
        /* A gap ends the packet: its header says what was lost before its first record. */
        if (end - w.at < RECORD_MAX || trace_ring_oldest(ring) > ring->tail || ring->lost != lost ||
            !trace_ring_take(ring, &r))
            break;
    }
    return finish(&w, TRACE_PACKET_RECORDS, sequence, out);
}
