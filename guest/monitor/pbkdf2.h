/* PBKDF2 (RFC 8018) with HMAC of BLAKE2s for its function and one block of output: what a password
 * is turned into, a few rounds at a time. Pure. */
#pragma once

#include "arch/x86/lib/types.h"

#include <blake2.h>

#define PBKDF2_SIZE     BLAKE2S_OUTBYTES
#define PBKDF2_PASSWORD BLAKE2S_BLOCKBYTES /* bytes at most */

struct pbkdf2 {
    blake2s_state inner, outer; /* of HMAC, after the password */
    uint8_t last[PBKDF2_SIZE];
    uint8_t sum[PBKDF2_SIZE]; /* at the end: the result */
    uint32_t left;            /* rounds */
};

/* rounds: at least 1. */
void pbkdf2_begin(struct pbkdf2 *p, const void *password, size_t length, const void *salt,
                  size_t salt_length, uint32_t rounds);
/* So many rounds more at most; whether that was the last. */
bool pbkdf2_work(struct pbkdf2 *p, uint32_t rounds);
/* Whether the result is that one; takes the same time whatever it is. */
bool pbkdf2_is(const struct pbkdf2 *p, const uint8_t hash[PBKDF2_SIZE]);
/* Forget secrets: unlike a last memset(), which a compiler leaves out. */
void pbkdf2_wipe(void *memory, size_t size);
