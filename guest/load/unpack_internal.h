/* What the kinds of packed files share. */
#pragma once

#include "guest/load/unpack.h"

struct packer {
    const char *name;
    uint8_t magic_size;
    const char *magic;
    /* The next piece, as unpack_some(). out is NULL until it has asked for room. */
    int (*some)(struct unpack *u, char *error);
};

struct unpack {
    const struct packer *packer;
    const uint8_t *in;
    uint64_t size, at; /* of the file, and how far it has been read */
    uint64_t most, room, done;
    uint8_t *out;
    void *state; /* the packer's; NULL at first */
    uint8_t *work;
    size_t work_used;
};

extern const struct packer unpack_gzip, unpack_xz, unpack_zstd;

#define UNPACK_PIECE (256 * KIB) /* what comes out of one piece, or is checked in one */

/* Some of the working memory, zeroed, aligned to 16; NULL: there is no more. */
void *unpack_alloc(struct unpack *u, size_t size);

/* The errors, with their sentences. */
int unpack_damaged(const struct unpack *u, char *error);   /* what is there cannot be */
int unpack_truncated(const struct unpack *u, char *error); /* the file ends too soon */
int unpack_too_much(const struct unpack *u, char *error);  /* more than `most` would come out */
int unpack_unknown(const struct unpack *u, char *error, const char *what);
/* Zeros at the end of a file belong to nothing; something else is an error. */
int unpack_check_rest(const struct unpack *u, char *error);
