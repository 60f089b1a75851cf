/* What a `password =` says: pbkdf2-blake2s$ROUNDS$SALT$HASH, as `make password` makes it. */
#pragma once

#include "guest/config/config.h"

#define CONFIG_PASSWORD_SALT 16
#define CONFIG_PASSWORD_HASH 32
/* A password with less work behind it is tried too fast, with more nobody waits for it. */
#define CONFIG_PASSWORD_ROUNDS_MIN 1000
#define CONFIG_PASSWORD_ROUNDS_MAX 10000000

struct config_password {
    uint32_t rounds;
    uint8_t salt[CONFIG_PASSWORD_SALT];
    uint8_t hash[CONFIG_PASSWORD_HASH];
};

/* 0 or -EINVAL. */
int config_password_parse(struct config_span text, struct config_password *out) MUST_CHECK;
