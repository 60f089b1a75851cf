/*
 * A builder of AML, the byte code of ACPI's DSDT (ACPI Specification, "ACPI Machine Language (AML)
 * Specification"), as far as describing fixed devices, and methods that poke a few ports, takes.
 * Bytes past the buffer's end are counted and dropped: check used <= size.
 */
#pragma once

#include "arch/x86/lib/types.h"

struct aml {
    uint8_t *data;
    size_t size;
    size_t used;
};

void aml_u8(struct aml *a, uint8_t v);
void aml_u16(struct aml *a, uint16_t v);
void aml_u32(struct aml *a, uint32_t v);

/* Open a block; its handle closes it. Names are of four characters. */
size_t aml_scope(struct aml *a, const char *name);
size_t aml_device(struct aml *a, const char *name);
size_t aml_package(struct aml *a, uint8_t elements);
size_t aml_method(struct aml *a, const char *name, unsigned arguments); /* serialized */
size_t aml_if_bit(struct aml *a, unsigned local, uint32_t bits);        /* If (LocalN & bits) { */
size_t aml_resources(struct aml *a); /* Name(_CRS, ResourceTemplate() { */
void aml_close(struct aml *a, size_t block);
void aml_close_resources(struct aml *a, size_t block);

void aml_integer(struct aml *a, uint32_t v);
void aml_name(struct aml *a, const char *name); /* Name(name, ...: the value follows */
void aml_name_integer(struct aml *a, const char *name, uint32_t v);
/* Name(_HID, EisaId(id)): three letters, four hexadecimal digits. */
void aml_hid(struct aml *a, const char *id);

/* Ports as an OperationRegion, and its fields of 32 bits from the start; names of four each. */
void aml_ports(struct aml *a, const char *name, uint16_t port, uint8_t size);
void aml_port_fields(struct aml *a, const char *region, const char *const *names, unsigned count);
void aml_load(struct aml *a, unsigned local, const char *name); /* LocalN = name */
void aml_store(struct aml *a, const char *name, uint32_t v);    /* name = v */
void aml_notify(struct aml *a, const char *name, uint32_t v);
/* Call a method without arguments; path is a number of names, from the root. */
void aml_call(struct aml *a, const char *const *path, unsigned names);

/* Resource descriptors, between aml_resources() and aml_close_resources(). */
void aml_io(struct aml *a, uint16_t port, uint8_t count);
void aml_irq(struct aml *a, unsigned irq); /* 0-15, edge triggered, active high */
void aml_memory(struct aml *a, uint32_t first, uint32_t size); /* that a device uses */
/* Windows that a bridge passes on, both ends included. */
void aml_bus_window(struct aml *a, uint16_t first, uint16_t last);
void aml_io_window(struct aml *a, uint16_t first, uint16_t last);
void aml_memory_window(struct aml *a, uint32_t first, uint32_t last);
