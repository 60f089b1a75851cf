/* AML: terms, blocks with their package lengths, and resource descriptors. */
#include "guest/load/aml.h"
#include "arch/x86/lib/string.h"

enum {
    AML_ZERO = 0x00,
    AML_ONE = 0x01,
    AML_NAME = 0x08,
    AML_BYTE = 0x0a,
    AML_WORD = 0x0b,
    AML_DWORD = 0x0c,
    AML_SCOPE = 0x10,
    AML_BUFFER = 0x11,
    AML_PACKAGE = 0x12,
    AML_METHOD = 0x14,
    AML_MULTI_NAME = 0x2f,
    AML_EXTENDED = 0x5b,
    AML_ROOT = 0x5c,
    AML_LOCAL0 = 0x60,
    AML_STORE = 0x70,
    AML_AND = 0x7b,
    AML_NOTIFY = 0x86,
    AML_IF = 0xa0,
    AML_EXTENDED_REGION = 0x80,
    AML_EXTENDED_FIELD = 0x81,
    AML_EXTENDED_DEVICE = 0x82,
};

void aml_u8(struct aml *a, uint8_t v)
{
    if (a->used < a->size) {
        a->data[a->used] = v;
    }
    a->used++;
}

void aml_u16(struct aml *a, uint16_t v)
{
    if (a->used + sizeof(v) <= a->size) {
        __builtin_memcpy(a->data + a->used, &v, sizeof(v));
    }
    a->used += sizeof(v);
}

void aml_u32(struct aml *a, uint32_t v)
{
    if (a->used + sizeof(v) <= a->size) {
        __builtin_memcpy(a->data + a->used, &v, sizeof(v));
    }
    a->used += sizeof(v);
}

/* --- blocks: the package length goes in front once it is known. It has one byte of room; what
 * follows moves up for more. --- */

#define PKG_LENGTH_MAX 4

static size_t block_open(struct aml *a)
{
    aml_u8(a, 0);
    return a->used - 1;
}

/* ACPI Specification, "Package Length Encoding": the length counts its own bytes. */
void aml_close(struct aml *a, size_t block)
{
    size_t body = a->used - block - 1, bytes = 1;
    uint8_t length[PKG_LENGTH_MAX];

    while (bytes < PKG_LENGTH_MAX && body + bytes >= (bytes == 1 ? BIT(6) : BIT(8 * bytes - 4))) {
        bytes++;
    }
    body += bytes;
    if (bytes == 1) {
        length[0] = (uint8_t)body;
    } else {
        length[0] = (uint8_t)((bytes - 1) << 6 | (body & 0xf));
        for (size_t i = 1; i < bytes; i++) {
            length[i] = (uint8_t)(body >> (8 * i - 4));
        }
    }
    a->used += bytes - 1;
    if (a->used <= a->size) {
        if (bytes > 1) {
            memmove(a->data + block + bytes, a->data + block + 1, body - bytes);
        }
        memcpy(a->data + block, length, bytes);
    }
}

static void name_segment(struct aml *a, const char *name)
{
    for (int i = 0; i < 4; i++) {
        aml_u8(a, (uint8_t)name[i]);
    }
}

size_t aml_scope(struct aml *a, const char *name)
{
    size_t block;

    aml_u8(a, AML_SCOPE);
    block = block_open(a);
    name_segment(a, name);
    return block;
}

size_t aml_device(struct aml *a, const char *name)
{
    size_t block;

    aml_u8(a, AML_EXTENDED);
    aml_u8(a, AML_EXTENDED_DEVICE);
    block = block_open(a);
    name_segment(a, name);
    return block;
}

size_t aml_package(struct aml *a, uint8_t elements)
{
    size_t block;

    aml_u8(a, AML_PACKAGE);
    block = block_open(a);
    aml_u8(a, elements);
    return block;
}

#define METHOD_SERIALIZED 8

size_t aml_method(struct aml *a, const char *name, unsigned arguments)
{
    size_t block;

    aml_u8(a, AML_METHOD);
    block = block_open(a);
    name_segment(a, name);
    aml_u8(a, (uint8_t)(arguments | METHOD_SERIALIZED));
    return block;
}

size_t aml_if_bit(struct aml *a, unsigned local, uint32_t bits)
{
    size_t block;

    aml_u8(a, AML_IF);
    block = block_open(a);
    aml_u8(a, AML_AND);
    aml_u8(a, (uint8_t)(AML_LOCAL0 + local));
    aml_integer(a, bits);
    aml_u8(a, AML_ZERO); /* no target */
    return block;
}

/* --- terms --- */

void aml_integer(struct aml *a, uint32_t v)
{
    if (v <= 1) {
        aml_u8(a, v ? AML_ONE : AML_ZERO);
    } else if (v <= UINT8_MAX) {
        aml_u8(a, AML_BYTE);
        aml_u8(a, (uint8_t)v);
    } else if (v <= UINT16_MAX) {
        aml_u8(a, AML_WORD);
        aml_u16(a, (uint16_t)v);
    } else {
        aml_u8(a, AML_DWORD);
        aml_u32(a, v);
    }
}

void aml_name(struct aml *a, const char *name)
{
    aml_u8(a, AML_NAME);
    name_segment(a, name);
}

void aml_name_integer(struct aml *a, const char *name, uint32_t v)
{
    aml_name(a, name);
    aml_integer(a, v);
}

/* ACPI Specification, "EISAID": five bits per letter, four per digit, most significant byte first.
 */
void aml_hid(struct aml *a, const char *id)
{
    uint32_t v = 0;

    for (int i = 0; i < 3; i++) {
        v = v << 5 | (uint32_t)(id[i] - '@');
    }
    for (int i = 3; i < 7; i++) {
        v = v << 4 | (uint32_t)(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10);
    }
    aml_name(a, "_HID");
    aml_integer(a, __builtin_bswap32(v));
}

/* --- ports, and what methods do --- */

#define REGION_IO   1
#define FIELD_DWORD 3 /* accesses of 32 bits, no lock; there are no other bits to be kept */

void aml_ports(struct aml *a, const char *name, uint16_t port, uint8_t size)
{
    aml_u8(a, AML_EXTENDED);
    aml_u8(a, AML_EXTENDED_REGION);
    name_segment(a, name);
    aml_u8(a, REGION_IO);
    aml_integer(a, port);
    aml_integer(a, size);
}

void aml_port_fields(struct aml *a, const char *region, const char *const *names, unsigned count)
{
    size_t block;

    aml_u8(a, AML_EXTENDED);
    aml_u8(a, AML_EXTENDED_FIELD);
    block = block_open(a);
    name_segment(a, region);
    aml_u8(a, FIELD_DWORD);
    for (unsigned i = 0; i < count; i++) {
        name_segment(a, names[i]);
        aml_u8(a, 32); /* bits, encoded as a package length */
    }
    aml_close(a, block);
}

void aml_load(struct aml *a, unsigned local, const char *name)
{
    aml_u8(a, AML_STORE);
    name_segment(a, name);
    aml_u8(a, (uint8_t)(AML_LOCAL0 + local));
}

void aml_store(struct aml *a, const char *name, uint32_t v)
{
    aml_u8(a, AML_STORE);
    aml_integer(a, v);
    name_segment(a, name);
}

void aml_notify(struct aml *a, const char *name, uint32_t v)
{
    aml_u8(a, AML_NOTIFY);
    name_segment(a, name);
    aml_integer(a, v);
}

void aml_call(struct aml *a, const char *const *path, unsigned names)
{
    aml_u8(a, AML_ROOT);
    aml_u8(a, AML_MULTI_NAME);
    aml_u8(a, (uint8_t)names);
    for (unsigned i = 0; i < names; i++)
        name_segment(a, path[i]);
}

/* --- resource descriptors (ACPI Specification, "Resource Data Types for ACPI") --- */

enum {
    RESOURCE_IRQ = 0x22,
    RESOURCE_IO = 0x47,
    RESOURCE_END = 0x79,
    RESOURCE_MEMORY = 0x86,
    RESOURCE_DWORD = 0x87,
    RESOURCE_WORD = 0x88,
};
enum { SPACE_MEMORY, SPACE_IO, SPACE_BUS };
#define IO_DECODE_16     1
#define WINDOW_FIXED     0x0c /* both ends are fixed; positive decode; passed on rather than used */
#define IO_ENTIRE_RANGE  3
#define MEMORY_READWRITE 1 /* not cacheable */

/* The buffer's size is written as a word of fixed place, so that it can be filled in by closing. */
size_t aml_resources(struct aml *a)
{
    size_t block;

    aml_name(a, "_CRS");
    aml_u8(a, AML_BUFFER);
    block = block_open(a);
    aml_u8(a, AML_WORD);
    aml_u16(a, 0);
    return block;
}

void aml_close_resources(struct aml *a, size_t block)
{
    size_t length;

    aml_u8(a, RESOURCE_END);
    aml_u8(a, 0); /* no checksum */
    length = a->used - block - 4;
    if (a->used <= a->size) {
        a->data[block + 2] = (uint8_t)length;
        a->data[block + 3] = (uint8_t)(length >> 8);
    }
    aml_close(a, block);
}

void aml_io(struct aml *a, uint16_t port, uint8_t count)
{
    aml_u8(a, RESOURCE_IO);
    aml_u8(a, IO_DECODE_16);
    aml_u16(a, port);
    aml_u16(a, port);
    aml_u8(a, 1); /* alignment */
    aml_u8(a, count);
}

void aml_irq(struct aml *a, unsigned irq)
{
    aml_u8(a, RESOURCE_IRQ);
    aml_u16(a, (uint16_t)(1u << irq));
}

void aml_memory(struct aml *a, uint32_t first, uint32_t size)
{
    aml_u8(a, RESOURCE_MEMORY);
    aml_u16(a, 9); /* bytes that follow */
    aml_u8(a, MEMORY_READWRITE);
    aml_u32(a, first);
    aml_u32(a, size);
}

static void word_window(struct aml *a, uint8_t space, uint8_t flags, uint16_t first, uint16_t last)
{
    aml_u8(a, RESOURCE_WORD);
    aml_u16(a, 13); /* bytes that follow */
    aml_u8(a, space);
    aml_u8(a, WINDOW_FIXED);
    aml_u8(a, flags);
    aml_u16(a, 0); /* granularity */
    aml_u16(a, first);
    aml_u16(a, last);
    aml_u16(a, 0); /* translation */
    aml_u16(a, (uint16_t)(last - first + 1));
}

void aml_bus_window(struct aml *a, uint16_t first, uint16_t last)
{
    word_window(a, SPACE_BUS, 0, first, last);
}

void aml_io_window(struct aml *a, uint16_t first, uint16_t last)
{
    word_window(a, SPACE_IO, IO_ENTIRE_RANGE, first, last);
}

void aml_memory_window(struct aml *a, uint32_t first, uint32_t last)
{
    aml_u8(a, RESOURCE_DWORD);
    aml_u16(a, 23); /* bytes that follow */
    aml_u8(a, SPACE_MEMORY);
    aml_u8(a, WINDOW_FIXED);
    aml_u8(a, MEMORY_READWRITE);
    aml_u32(a, 0); /* granularity */
    aml_u32(a, first);
    aml_u32(a, last);
    aml_u32(a, 0); /* translation */
    aml_u32(a, last - first + 1);
}
