/* See smbios.h. */
#include "guest/load/smbios.h"
#include "arch/x86/lib/string.h"

#define MAJOR 2
#define MINOR 8

struct structure {
    uint8_t type, length;
    uint16_t handle;
} PACKED;

struct system {
    struct structure h;
    uint8_t manufacturer, product, version, serial; /* numbers of strings */
    uint8_t uuid[16];
    uint8_t wake_up, sku, family;
} PACKED;
#define TYPE_SYSTEM   1
#define HANDLE_SYSTEM 0x100
#define WAKE_UP_POWER 6
#define TYPE_END      127
#define HANDLE_END    0x7f00
#define STRUCTURES    2

_Static_assert(sizeof(struct system) == 27, "SMBIOS: System Information");

/* DSP0134, "SMBIOS 2.1 (32-bit) Entry Point". Checksums and the address are firmware's. */
struct anchor {
    char signature[4];
    uint8_t checksum, length, major, minor;
    uint16_t longest;
    uint8_t revision, formatted[5];
    char intermediate[5];
    uint8_t intermediate_checksum;
    uint16_t tables_length;
    uint32_t tables;
    uint16_t count;
    uint8_t bcd_revision;
} PACKED;

_Static_assert(sizeof(struct anchor) == SMBIOS_ANCHOR_SIZE, "SMBIOS: entry point");

/* The same name gives the same one, on any machine (RFC 9562, "UUID Version 8": by a rule of our
 * own). FNV-1a over the name, with another start for each half. */
static void make_uuid(const char *name, uint8_t uuid[16])
{
    for (unsigned half = 0; half < 2; half++) {
        uint64_t hash = 0xcbf29ce484222325 + half;

        for (size_t i = 0; name[i]; i++)
            hash = (hash ^ (uint8_t)name[i]) * 0x100000001b3;
        memcpy(uuid + 8 * (size_t)half, &hash, sizeof(hash));
    }
    uuid[7] = (uint8_t)(0x80 | (uuid[7] & 0xf)); /* SMBIOS has the first three fields
                                                    little-endian */
    uuid[8] = (uint8_t)(0x80 | (uuid[8] & 0x3f));
}

static size_t put_string(uint8_t *to, const char *text)
{
    size_t length = MIN(strlen(text), (size_t)SMBIOS_NAME);

    memcpy(to, text, length);
    to[length] = 0;
    return length + 1;
}

size_t smbios_build(const char *name, uint8_t anchor[SMBIOS_ANCHOR_SIZE],
                    uint8_t tables[SMBIOS_MAX])
{
    struct system system = {.h = {TYPE_SYSTEM, sizeof(system), HANDLE_SYSTEM},
                            .manufacturer = 1,
                            .product = 2,
                            .serial = 3,
                            .wake_up = WAKE_UP_POWER};
    const struct structure end = {TYPE_END, sizeof(end), HANDLE_END};
    struct anchor a = {.length = sizeof(a),
                       .major = MAJOR,
                       .minor = MINOR,
                       .count = STRUCTURES,
                       .bcd_revision = MAJOR << 4 | MINOR};
    size_t used = sizeof(system);

    make_uuid(name, system.uuid);
    memcpy(tables, &system, sizeof(system));
    used += put_string(tables + used, "Corbel");
    used += put_string(tables + used, "Virtual machine");
    used += put_string(tables + used, name);
    tables[used++] = 0; /* a structure's strings end with an empty one */
    a.longest = (uint16_t)used;
    memcpy(tables + used, &end, sizeof(end));
    used += sizeof(end);
    tables[used++] = 0;
    tables[used++] = 0;
    a.tables_length = (uint16_t)used;
    memcpy(a.signature, "_SM_", sizeof(a.signature));
    memcpy(a.intermediate, "_DMI_", sizeof(a.intermediate));
    memcpy(anchor, &a, sizeof(a));
    return used;
}
