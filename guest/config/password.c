/* See password.h. */
#include "guest/config/password.h"

#include "arch/x86/lib/errno.h"
#include "guest/config/config_text.h"

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_bytes(struct config_span text, uint8_t *out, size_t size)
{
    if (text.length != 2 * size)
        return false;
    for (size_t i = 0; i < size; i++) {
        int high = digit(text.data[2 * i]), low = digit(text.data[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

int config_password_parse(struct config_span text, struct config_password *out)
{
    struct config_span kind = text, rounds = config_cut(&kind, '$'), salt, hash;
    uint64_t n;

    if (!rounds.data || !config_span_is(kind, "pbkdf2-blake2s"))
        return -EINVAL;
    salt = config_cut(&rounds, '$');
    if (!salt.data)
        return -EINVAL;
    hash = config_cut(&salt, '$');
    if (!hash.data || !config_parse_number(rounds, &n) || n < CONFIG_PASSWORD_ROUNDS_MIN ||
        n > CONFIG_PASSWORD_ROUNDS_MAX)
        return -EINVAL;
    out->rounds = (uint32_t)n;
    return parse_bytes(salt, out->salt, sizeof(out->salt)) &&
                   parse_bytes(hash, out->hash, sizeof(out->hash))
               ? 0
               : -EINVAL;
}
