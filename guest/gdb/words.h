/*
 * The words of gdb's protocol: what a packet's payload says, piece by piece, and what is put into
 * the answer. Pure.
 */
#pragma once

#include "guest/gdb/stub.h"

/* What has not been read yet. */
struct gdb_cursor {
    const char *at, *end;
};

/* Move behind what is expected; false, and nothing moves, when it is not there. */
bool gdb_skip(struct gdb_cursor *c, char what);
bool gdb_skip_word(struct gdb_cursor *c, const char *word);
bool gdb_number(struct gdb_cursor *c, uint64_t *value);

/* A thread of the protocol: -1 is all of them, 0 any, n the thread n - 1. */
enum { GDB_ALL_THREADS = -1 };
bool gdb_thread_id(struct gdb_stub *s, struct gdb_cursor *c, int *thread);

/* Put behind what the answer has already; what does not fit is left out. */
void gdb_answer(struct gdb_stub *s, const char *fmt, ...) PRINTF(2, 3);
void gdb_answer_hex(struct gdb_stub *s, const void *data, size_t size);
/* "OK", or "E" with a negative errno value's number, which gdb shows. */
void gdb_answer_result(struct gdb_stub *s, int result);

/* Answer one that reads or writes memory, behind its letter; binary: "x" and "X". memory.c. */
void gdb_read_memory(struct gdb_stub *s, struct gdb_cursor *c, bool binary);
void gdb_write_memory(struct gdb_stub *s, struct gdb_cursor *c, bool binary);
/* Answer a packet "q..." and one "Q...": query.c. */
void gdb_question(struct gdb_stub *s, struct gdb_cursor *c);
void gdb_setting(struct gdb_stub *s, struct gdb_cursor *c);
