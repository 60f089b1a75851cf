/*
 * GDB's remote serial protocol, the line: packets "$payload#checksum" with their acknowledgements
 * and escapes, out of whatever else the line carries; hexadecimal digits. Pure.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define GDB_PAYLOAD 2048 /* bytes of a packet's payload at most; gdb is told */
/* Every byte escaped, and what is around them. */
#define GDB_FRAME (2 * GDB_PAYLOAD + 4)

enum gdb_input {
    GDB_NOTHING,   /* more bytes are needed */
    GDB_PACKET,    /* a whole one is in payload, terminated with a zero beside */
    GDB_DAMAGED,   /* its checksum is wrong, or it is too long: to be sent again */
    GDB_INTERRUPT, /* Ctrl-C */
    GDB_ACK,
    GDB_NAK, /* our last one was damaged */
};

struct gdb_receiver {
    enum { GDB_BETWEEN, GDB_IN_PAYLOAD, GDB_ESCAPED, GDB_DIGIT_1, GDB_DIGIT_2 } state;
    char payload[GDB_PAYLOAD + 1];
    size_t length;
    uint8_t sum, given;
    bool broken; /* this packet cannot become a good one */
};

/* Take one byte. A "$" always begins a packet: what was there before has been given up. */
enum gdb_input gdb_receive(struct gdb_receiver *r, uint8_t byte);
/* Frame a payload of at most GDB_PAYLOAD bytes; returns the frame's length. */
size_t gdb_frame(char frame[GDB_FRAME], const char *payload, size_t length);

/* 0 to 15, or -1. */
int gdb_digit(char c);
/* Digits of size bytes to out (2 * size); not terminated. */
void gdb_put_hex(char *out, const void *data, size_t size);
/* 2 * size digits at text to bytes; false when one is no digit. */
bool gdb_get_hex(const char *text, void *data, size_t size);
/* A number at *text, which ends at end; *text moves behind it. False: no digit, or more than 64
 * bits. */
bool gdb_get_number(const char **text, const char *end, uint64_t *value);
