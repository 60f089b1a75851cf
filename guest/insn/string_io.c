#include "guest/insn/string_io.h"

#define ACCESS_WRITABLE    BIT(1) /* of data; of code: readable */
#define ACCESS_EXPAND_DOWN BIT(2)
#define ACCESS_CODE        BIT(3)
#define ACCESS_BIG         BIT(14)
#define ACCESS_UNUSABLE    BIT(16)

static unsigned address_size(unsigned mode, bool other)
{
    if (mode == 64)
        return other ? 4 : 8;
    return (mode == 32) != other ? 4 : 2;
}

bool insn_string_io_decode(const uint8_t *bytes, unsigned n, unsigned mode,
                           struct insn_string_io *out)
{
    bool other_size = false;
    uint8_t segment = INSN_DS;

    for (unsigned at = 0; at < MIN(n, INSN_BYTES); at++) {
        switch (bytes[at]) {
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
            if (mode != 64) /* there they are ignored and do not undo FS or GS */
                segment = bytes[at] >> 3 & 3;
            break;
        case 0x64:
            segment = INSN_FS;
            break;
        case 0x65:
            segment = INSN_GS;
            break;
        case 0x67:
            other_size = true;
            break;
        case 0x66:
        case 0xf2:
        case 0xf3:
            break;
        case 0x6c ... 0x6f:
            *out = (struct insn_string_io){.address_size = (uint8_t)address_size(mode, other_size),
                                           .segment = bytes[at] & 2 ? segment : INSN_ES};
            return true;
        default:
            if (mode == 64 && (bytes[at] & 0xf0) == 0x40)
                break;
            return false;
        }
    }
    return false;
}

bool insn_segment_allows(const struct insn_limits *s, uint32_t offset, unsigned size, bool write)
{
    uint64_t last = (uint64_t)offset + size - 1;

    if (s->access & ACCESS_UNUSABLE)
        return false;
    if (s->protected && ((s->access & ACCESS_CODE) || write) &&
        (!(s->access & ACCESS_WRITABLE) || ((s->access & ACCESS_CODE) && write)))
        return false;
    if ((s->access & (ACCESS_CODE | ACCESS_EXPAND_DOWN)) == ACCESS_EXPAND_DOWN)
        return offset > s->limit && last <= (s->access & ACCESS_BIG ? UINT32_MAX : 0xffff);
    return last <= s->limit;
}
