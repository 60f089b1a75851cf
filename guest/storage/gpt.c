#include "guest/storage/gpt.h"

#include "arch/x86/lib/crc32.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

#define SECTOR       512u
#define HEADER_MIN   92
#define ENTRY_MIN    128
#define LABEL_OFFSET 56

/* The MBR (Legacy MBR). */
#define MBR_ENTRIES    446
#define MBR_ENTRY      16
#define MBR_TYPE       4 /* in an entry */
#define MBR_PROTECTIVE 0xee
#define MBR_SIGNATURE  510

struct PACKED header {
    char signature[8];
    uint32_t revision, size, crc, reserved;
    uint64_t own, alternate, first_usable, last_usable;
    uint8_t guid[16];
    uint64_t entries;
    uint32_t entry_count, entry_size, entries_crc;
};

struct PACKED entry {
    uint8_t type[16], guid[16];
    uint64_t first, last, attributes;
    uint16_t label[GPT_LABEL_UNITS];
};
_Static_assert(sizeof(struct header) == HEADER_MIN && sizeof(struct entry) == ENTRY_MIN, "GPT");

/* --- text --- */

/* The first 0 ends it. Pairs of surrogates, and what cannot be printed, become question marks. */
static void label_text(const uint8_t *raw, char *out)
{
    for (unsigned i = 0; i < GPT_LABEL_UNITS; i++) {
        unsigned c = raw[2 * i] | (unsigned)raw[2 * i + 1] << 8;

        if (!c)
            break;
        if (c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0xd800 && c < 0xe000) || c >= 0xfffe)
            c = '?';
        if (c < 0x80) {
            *out++ = (char)c;
        } else if (c < 0x800) {
            *out++ = (char)(0xc0 | c >> 6);
            *out++ = (char)(0x80 | (c & 0x3f));
        } else {
            *out++ = (char)(0xe0 | c >> 12);
            *out++ = (char)(0x80 | (c >> 6 & 0x3f));
            *out++ = (char)(0x80 | (c & 0x3f));
        }
    }
    *out = 0;
}

/* The first three fields are little-endian numbers. */
void gpt_guid_text(const uint8_t g[16], char out[GPT_GUID_TEXT])
{
    format(out, GPT_GUID_TEXT,
           "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", g[3], g[2], g[1],
           g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]);
}

bool gpt_guid_is(const uint8_t guid[16], const char *text, size_t length)
{
    char own[GPT_GUID_TEXT];

    if (length != GPT_GUID_TEXT - 1)
        return false;
    gpt_guid_text(guid, own);
    for (size_t i = 0; i < length; i++) {
        char c = text[i];

        if ((c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) != own[i])
            return false;
    }
    return true;
}

bool gpt_is_esp(const struct gpt_partition *p)
{
    static const uint8_t esp[16] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
                                    0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};

    return memcmp(p->type, esp, sizeof(esp)) == 0;
}

/* --- one of the two tables --- */

static int read_header(const struct gpt_source *s, uint64_t block, struct header *h)
{
    static const struct header none;
    uint32_t per_block = s->logical_block / SECTOR, crc;
    uint64_t last = s->sectors / per_block - 1;
    uint8_t data[GPT_READ];
    int error = s->read(s->ctx, block * per_block, data);

    if (error)
        return error;
    memcpy(h, data, sizeof(*h));
    if (memcmp(h->signature, "EFI PART", 8))
        return -ENOENT;
    if (h->size < HEADER_MIN || h->size > s->logical_block)
        return -EBADMSG;
    memset(data + offsetof(struct header, crc), 0, sizeof(none.crc));
    crc = crc32(0, data, h->size);
    if (crc != h->crc || h->own != block || h->first_usable > h->last_usable ||
        h->last_usable > last || h->entries > last || h->entries < 2)
        return -EBADMSG;
    if (h->entry_size < ENTRY_MIN || h->entry_size > GPT_READ ||
        (h->entry_size & (h->entry_size - 1)))
        return -EBADMSG;
    if (h->entry_count > GPT_MAX_ENTRIES)
        return -E2BIG;
    return 0;
}

/* Whether what the table calls usable holds the table itself at this place, or the MBR. */
static bool over_table(const struct header *h, uint64_t first, uint64_t last, uint32_t per_block)
{
    uint64_t size = (uint64_t)h->entry_count * h->entry_size;
    uint64_t entries_last = h->entries + (size - 1) / (per_block * SECTOR);

    return first == 0 || (first <= h->own && h->own <= last) ||
           (first <= entries_last && h->entries <= last);
}

static int take_entry(const struct header *h, const uint8_t *raw, uint32_t number,
                      uint32_t per_block, struct gpt *out)
{
    static const uint8_t unused[16];
    struct gpt_partition *p = &out->partitions[out->count];
    struct entry e;

    memcpy(&e, raw, sizeof(e));
    if (memcmp(e.type, unused, sizeof(unused)) == 0)
        return 0;
    if (out->count == GPT_MAX)
        return -E2BIG;
    out->count++;
    memset(p, 0, sizeof(*p));
    memcpy(p->type, e.type, sizeof(p->type));
    memcpy(p->guid, e.guid, sizeof(p->guid));
    p->number = number;
    label_text(raw + LABEL_OFFSET, p->label);
    if (e.first < h->first_usable || e.last > h->last_usable || e.first > e.last ||
        over_table(h, e.first, e.last, per_block)) {
        p->broken = true;
        return 0;
    }
    p->first = e.first * per_block;
    p->sectors = (e.last - e.first + 1) * per_block;
    return 0;
}

static int read_entries(const struct gpt_source *s, const struct header *h, struct gpt *out)
{
    uint32_t per_block = s->logical_block / SECTOR, crc = 0;
    uint64_t sector = h->entries * per_block;
    uint8_t data[GPT_READ];

    out->count = 0;
    for (uint32_t i = 0; i < h->entry_count;) {
        int error = sector < s->sectors ? s->read(s->ctx, sector, data) : -EBADMSG;

        if (error)
            return error;
        sector += GPT_READ / SECTOR;
        for (uint32_t at = 0; at < GPT_READ && i < h->entry_count; at += h->entry_size, i++) {
            crc = crc32(crc, data + at, h->entry_size);
            error = take_entry(h, data + at, i + 1, per_block, out);
            if (error)
                return error;
        }
    }
    return crc == h->entries_crc ? 0 : -EBADMSG;
}

static int read_table(const struct gpt_source *s, uint64_t block, struct gpt *out, uint64_t *other)
{
    struct header h;
    int error = read_header(s, block, &h);

    if (error)
        return error;
    *other = h.alternate;
    return read_entries(s, &h, out);
}

/* 0: sector 0 says that the disk has a GPT (UEFI, "Protective MBR"); -ENOENT: it does not. */
static int read_mbr(const struct gpt_source *s)
{
    uint8_t data[GPT_READ];
    int error = s->read(s->ctx, 0, data);

    if (error)
        return error;
    if (data[MBR_SIGNATURE] != 0x55 || data[MBR_SIGNATURE + 1] != 0xaa)
        return -ENOENT;
    for (unsigned at = MBR_ENTRIES; at < MBR_SIGNATURE; at += MBR_ENTRY)
        if (data[at + MBR_TYPE] == MBR_PROTECTIVE)
            return 0;
    return -ENOENT;
}

/* The backup alone says little: it outlives what is written over the disk's beginning. */
static int read_backup(const struct gpt_source *s, int primary, uint64_t block, struct gpt *out)
{
    int error = primary == -ENOENT ? read_mbr(s) : 0;
    uint64_t unused;

    return error ? error : read_table(s, block, out, &unused);
}

/* Partitions that share a sector: nobody knows whose it is. */
static void mark_overlaps(struct gpt *g)
{
    for (uint32_t i = 0; i < g->count; i++)
        for (uint32_t k = i + 1; k < g->count; k++) {
            struct gpt_partition *a = &g->partitions[i], *b = &g->partitions[k];

            if (a->sectors && b->sectors && a->first < b->first + b->sectors &&
                b->first < a->first + a->sectors)
                a->broken = b->broken = true;
        }
}

int gpt_read(const struct gpt_source *s, struct gpt *out, const char **why)
{
    uint32_t per_block = s->logical_block / SECTOR;
    uint64_t last, other = 0;
    struct header h;
    int error, second;

    memset(out, 0, offsetof(struct gpt, partitions));
    *why = "it has no partition table (GPT)";
    if (s->sectors / per_block < 6)
        return -ENOENT;
    last = s->sectors / per_block - 1;
    error = read_table(s, 1, out, &other);
    if (!error) {
        /* The backup may lie before the end: the disk has grown since. */
        out->no_backup = other > last || read_header(s, other, &h) != 0;
        mark_overlaps(out);
        return 0;
    }
    second = read_backup(s, error, last, out);
    if (!second) {
        out->from_backup = true;
        mark_overlaps(out);
        return 0;
    }
    out->count = 0;
    /* Of two errors the one that says more. */
    if (error == -ENOENT && second != -EIO)
        error = second;
    if (error == -E2BIG)
        *why = "its partition table has more entries than Corbel reads";
    else if (error == -EBADMSG)
        *why = "its partition table (GPT) is damaged, and so is the backup";
    else if (error == -EIO)
        *why = "its partition table cannot be read";
    return error;
}
