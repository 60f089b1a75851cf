/* links: guest/capture/packets.c guest/capture/pcapng.c guest/capture/filter.c guest/net/switch.c guest/net/lane.c guest/net/table.c guest/net/finish.c arch/x86/spinlock.c arch/x86/lib/format.c tests/unit/mock_heap.c */
/*
 * A filter of any text, and frames of any contents, in any pieces, at cards that come and go, on a
 * line of any speed. Whatever comes out is a capture file; each packet in it is a frame that was
 * there, in their order; and what is not in it was counted as lost.
 */
#include <stdlib.h>
#include <string.h>

#include "guest/capture/packets.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/require.h"
#include "tests/unit/pcapng_reader.h"

enum { PORTS = 3, ACTIONS = 400, FRAMES = 4096 };

static struct net_switch sw = {.name = "x"};
static struct net_port ports[PORTS];
static struct packets packets;
static uint64_t now;

/* What was seen, to be found in the file: the sum of what is kept of each frame that matched. */
static struct {
    unsigned count, read;
    uint64_t lost;
    struct {
        uint32_t length, kept, sum, flags;
    } of[FRAMES];
} seen;

static uint32_t sum_of(const uint8_t *data, size_t size)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + data[i];
    return sum;
}

static void begin(void)
{
    char text[200], error[FILTER_ERROR] = "";
    size_t length = next() % sizeof(text);
    struct filter f;

    packets_init(&packets, now);
    packets.keep = PACKETS_KEEP_LEAST + next16() % (PACKETS_KEEP_MOST - PACKETS_KEEP_LEAST + 1);
    strcpy(packets.about, "fuzz");
    memset(&seen, 0, sizeof(seen));
    for (size_t i = 0; i < length; i++)
        text[i] = (char)next();
    char *exact = malloc(length + !length);
    memcpy(exact, text, length);
    if (filter_parse(exact, length, &f, error) == 0)
        packets.filter = f;
    else
        REQUIRE(error[0]);
    REQUIRE(f.count <= FILTER_TERMS && strnlen(error, FILTER_ERROR) < FILTER_ERROR);
    free(exact);
}

/* One of a few names, so that some are the same. */
static void rename_port(struct net_port *p)
{
    uint8_t what = next();

    memset(&p->what, 0, sizeof(p->what));
    p->on = &sw;
    memset(p->what.name, 'a' + what % 3, what & 64 ? sizeof(p->what.name) - 1 : 3);
    p->what.mac[5] = what >> 2 & 31;
    p->what.vlan = what & 128 ? 4094 : 0;
}

static void see(struct net_port *port)
{
    uint8_t how = next();
    uint32_t length = 1 + next16() % (how & 1 ? 200 : NET_MAX_FRAME), at = 0,
             first = MIN(length, how & 2 ? NET_HEAD : NET_HEAD / 2);
    uint8_t *data = malloc(length), *head = malloc(first);
    struct net_piece piece[4];
    struct net_frame f = {.piece = piece, .length = length};
    struct packets_frame p = {.port = port, .frame = &f, .sent = how & 4, .time = now};
    uint64_t matched = 0, lost = 0;

    memset(data, how, length);
    for (uint32_t i = 0; i < first && left > 0; i++)
        data[i] = i < 12 && how & 8 ? 2 : next();
    if (length > 14 && how & 16) {
        static const uint8_t types[][2] = {{8, 0}, {8, 6}, {0x86, 0xdd}, {0x81, 0}};
        memcpy(data + 12, types[how >> 5 & 3], 2);
        data[14] = how & 32 ? 0x60 : 0x45;
    }
    memcpy(head, data, first);
    piece[f.count++] = (struct net_piece){head, first};
    for (at = first; at < length; at += piece[f.count++].length)
        piece[f.count] =
            (struct net_piece){data + at, f.count < 3 ? (length - at + 1) / 2 : length - at};
    f.offload.checksum = how & 64;
    f.offload.gso = how & 128 ? NET_GSO_TCP4 : 0;
    p.why = (enum net_drop)(next() % NET_DROPS);
    for (unsigned i = 0; i < packets.count; i++) {
        matched += packets.interface[i].matched;
        lost += packets.interface[i].lost;
    }
    uint64_t beyond = packets.beyond;
    packets_see(&packets, &p);
    bool match = filter_match(&packets.filter, head, first, port->what.vlan);
    for (unsigned i = 0; i < packets.count; i++) {
        matched -= packets.interface[i].matched;
        lost -= packets.interface[i].lost;
    }
    REQUIRE(matched == (match && packets.beyond == beyond ? UINT64_MAX : 0));
    REQUIRE(lost == 0 || (lost == UINT64_MAX && matched == UINT64_MAX));
    seen.lost += lost != 0;
    if (matched && !lost && seen.count < FRAMES) {
        uint32_t kept = MIN(length, packets.keep);

        seen.of[seen.count].length = length;
        seen.of[seen.count].kept = kept;
        seen.of[seen.count].flags =
            (uint32_t)((how & 4 ? 2 : 1) | (how & 64 ? BIT(9) : 0) | (how & 128 ? BIT(11) : 0));
        seen.of[seen.count++].sum = sum_of(data, kept);
    }
    free(data);
    free(head);
}

static struct reader reader;

static void read_block(void)
{
    uint8_t *out = malloc(PACKETS_BLOCK);
    size_t size = packets_next(&packets, out, now);

    REQUIRE(size <= PACKETS_BLOCK);
    if (size > 0) {
        reader.bytes = out;
        reader.size = size;
        reader.at = 0;
        int64_t type = reader_next(&reader);
        REQUIRE(type > 0 && reader.at == size && reader.described <= PACKETS_INTERFACES);
        if (type == 6) {
            const struct read_packet *p = &reader.packet;

            REQUIRE(seen.read < seen.count);
            REQUIRE(p->length == seen.of[seen.read].length && p->kept == seen.of[seen.read].kept);
            REQUIRE(p->flags == seen.of[seen.read].flags);
            REQUIRE(sum_of(p->data, p->kept) == seen.of[seen.read++].sum);
        }
    }
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    take_input(bytes, size);
    now = UINT64_C(1764547200000000000);
    memset(&reader, 0, sizeof(reader));
    begin();
    for (unsigned i = 0; i < PORTS; i++)
        rename_port(&ports[i]);
    for (unsigned i = 0; i < ACTIONS && left > 0; i++) {
        uint8_t what = next();

        now += next();
        if (what < 160)
            see(&ports[what % PORTS]);
        else if (what < 220)
            for (unsigned n = what % 16; n > 0; n--)
                read_block();
        else if (what < 230)
            now += PACKETS_AGAIN(packets.count);
        else if (what < 240)
            packets_again(&packets);
        else
            rename_port(&ports[what % PORTS]);
        REQUIRE(packets.used <= PACKETS_RING && packets.held <= seen.count);
    }
    packets_end(&packets);
    for (unsigned i = 0; i < FRAMES + 1000 && !packets_over(&packets); i++)
        read_block();
    REQUIRE(packets_over(&packets) && seen.read == seen.count && packets.used == 0);
    uint64_t lost = 0;
    for (unsigned i = 0; i < reader.described; i++)
        lost += reader.interface[i].lost;
    REQUIRE(lost == seen.lost && reader.described == packets.count);
    return 0;
}
