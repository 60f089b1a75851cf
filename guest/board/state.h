/*
 * Saving and loading device and vCPU state: a stream of sections {name, version, length, bytes},
 * little endian. The reader trusts nothing: a short, long, unknown or newer section is an error and
 * leaves a sentence behind.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define STATE_NAME   16                /* bytes, with the terminator */
#define STATE_HEADER (STATE_NAME + 8u) /* bytes in front of a section's own */

struct state_writer {
    uint8_t *data;
    size_t capacity;
    size_t used; /* goes on counting past capacity, so that a first pass with capacity 0 measures */
    size_t section;    /* where the open section's length field lies */
    unsigned sections; /* how many have been ended */
};

struct state_reader {
    const uint8_t *data;
    size_t size;
    size_t position;
    size_t section_end;
    const char *error; /* NULL, or the first thing that was wrong, in the section of this name */
    char name[STATE_NAME];
};

/* What stands in front of a section's bytes. */
struct state_section {
    char name[STATE_NAME];
    bool good; /* it could be what state_begin() writes */
    uint16_t version;
    uint32_t length; /* of the bytes that follow */
};

/* Writing: begin a section (name of at most 15 characters), put values, end it. Never fails; check
 * used <= capacity. */
void state_begin(struct state_writer *w, const char *name, uint16_t version);
void state_end(struct state_writer *w);
void state_put(struct state_writer *w, const void *data, size_t size);
void state_put_u8(struct state_writer *w, uint8_t v);
void state_put_u16(struct state_writer *w, uint16_t v);
void state_put_u32(struct state_writer *w, uint32_t v);
void state_put_u64(struct state_writer *w, uint64_t v);

/* Reading: enter the section of that name and version, get values (0 after an error), leave it. */
int state_enter(struct state_reader *r, const char *name, uint16_t version);
/* 0, or -EBADMSG when anything was wrong or bytes of the section are left. */
int state_leave(struct state_reader *r);
void state_get(struct state_reader *r, void *data, size_t size);
uint8_t state_get_u8(struct state_reader *r);
uint16_t state_get_u16(struct state_reader *r);
uint32_t state_get_u32(struct state_reader *r);
uint64_t state_get_u64(struct state_reader *r);

/* The header of STATE_HEADER bytes, which may be anything; its name is printable. */
void state_section(const void *header, struct state_section *out);
