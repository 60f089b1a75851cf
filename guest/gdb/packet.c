#include "guest/gdb/packet.h"

#define CTRL_C 3

static const char digits[] = "0123456789abcdef";

int gdb_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void begin(struct gdb_receiver *r)
{
    r->state = GDB_IN_PAYLOAD;
    r->length = 0;
    r->sum = 0;
    r->broken = false;
}

static void put(struct gdb_receiver *r, uint8_t byte)
{
    if (r->length < GDB_PAYLOAD)
        r->payload[r->length++] = (char)byte;
    else
        r->broken = true;
}

static enum gdb_input between(uint8_t byte)
{
    switch (byte) {
    case CTRL_C:
        return GDB_INTERRUPT;
    case '+':
        return GDB_ACK;
    case '-':
        return GDB_NAK;
    default:
        return GDB_NOTHING;
    }
}

static enum gdb_input end(struct gdb_receiver *r)
{
    r->state = GDB_BETWEEN;
    r->payload[r->length] = '\0';
    return r->broken || r->given != r->sum ? GDB_DAMAGED : GDB_PACKET;
}

enum gdb_input gdb_receive(struct gdb_receiver *r, uint8_t byte)
{
    int digit = gdb_digit((char)byte);

    if (byte == '$') {
        begin(r);
        return GDB_NOTHING;
    }
    switch (r->state) {
    case GDB_BETWEEN:
        return between(byte);
    case GDB_IN_PAYLOAD:
        if (byte == '#') {
            r->state = GDB_DIGIT_1;
            return GDB_NOTHING;
        }
        r->sum = (uint8_t)(r->sum + byte);
        if (byte == '}')
            r->state = GDB_ESCAPED;
        else
            put(r, byte);
        return GDB_NOTHING;
    case GDB_ESCAPED:
        r->sum = (uint8_t)(r->sum + byte);
        put(r, byte ^ 0x20);
        r->state = GDB_IN_PAYLOAD;
        return GDB_NOTHING;
    case GDB_DIGIT_1:
        r->broken |= digit < 0;
        r->given = (uint8_t)((unsigned)digit << 4);
        r->state = GDB_DIGIT_2;
        return GDB_NOTHING;
    case GDB_DIGIT_2:
        r->broken |= digit < 0;
        r->given |= (uint8_t)digit;
        return end(r);
    }
    return GDB_NOTHING;
}

size_t gdb_frame(char frame[GDB_FRAME], const char *payload, size_t length)
{
    size_t n = 0;
    uint8_t sum = 0;

    frame[n++] = '$';
    for (size_t i = 0; i < length && i < GDB_PAYLOAD; i++) {
        char c = payload[i];
        /* "*" would begin a run length. */
        if (c == '$' || c == '#' || c == '}' || c == '*') {
            frame[n++] = '}';
            c ^= 0x20;
        }
        frame[n++] = c;
    }
    for (size_t i = 1; i < n; i++)
        sum = (uint8_t)(sum + (uint8_t)frame[i]);
    frame[n++] = '#';
    gdb_put_hex(frame + n, &sum, 1);
    return n + 2;
}

void gdb_put_hex(char *out, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}

bool gdb_get_hex(const char *text, void *data, size_t size)
{
    uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++) {
        int high = gdb_digit(text[2 * i]), low = high < 0 ? -1 : gdb_digit(text[2 * i + 1]);
        if (low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool gdb_get_number(const char **text, const char *end, uint64_t *value)
{
    const char *at = *text;

    *value = 0;
    for (; at < end && gdb_digit(*at) >= 0; at++) {
        if (*value >> 60)
            return false;
        *value = *value << 4 | (unsigned)gdb_digit(*at);
    }
    if (at == *text)
        return false;
    *text = at;
    return true;
}
