#include "guest/monitor/pbkdf2.h"

#include "arch/x86/lib/string.h"

static void hmac_begin(blake2s_state *s, const uint8_t *key, uint8_t pad)
{
    uint8_t block[PBKDF2_PASSWORD];

    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = key[i] ^ pad;
    blake2s_init(s, PBKDF2_SIZE);
    blake2s_update(s, block, sizeof(block));
    pbkdf2_wipe(block, sizeof(block));
}

/* What inner and outer have begun, over what inner was given since. */
static void hmac_end(blake2s_state *inner, const blake2s_state *outer, uint8_t *out)
{
    blake2s_state s = *outer;

    blake2s_final(inner, out, PBKDF2_SIZE);
    blake2s_update(&s, out, PBKDF2_SIZE);
    blake2s_final(&s, out, PBKDF2_SIZE);
}

static void add(struct pbkdf2 *p)
{
    for (unsigned i = 0; i < PBKDF2_SIZE; i++)
        p->sum[i] ^= p->last[i];
    p->left--;
}

void pbkdf2_begin(struct pbkdf2 *p, const void *password, size_t length, const void *salt,
                  size_t salt_length, uint32_t rounds)
{
    static const uint8_t first[] = {0, 0, 0, 1}; /* the block's number */
    uint8_t key[PBKDF2_PASSWORD] = {0};
    blake2s_state s;

    memcpy(key, password, MIN(length, sizeof(key)));
    hmac_begin(&p->inner, key, 0x36);
    hmac_begin(&p->outer, key, 0x5c);
    pbkdf2_wipe(key, sizeof(key));
    s = p->inner;
    blake2s_update(&s, salt, salt_length);
    blake2s_update(&s, first, sizeof(first));
    hmac_end(&s, &p->outer, p->last);
    memset(p->sum, 0, sizeof(p->sum));
    p->left = rounds;
    add(p);
}

bool pbkdf2_work(struct pbkdf2 *p, uint32_t rounds)
{
    for (; p->left && rounds; rounds--) {
        blake2s_state s = p->inner;

        blake2s_update(&s, p->last, sizeof(p->last));
        hmac_end(&s, &p->outer, p->last);
        add(p);
    }
    return !p->left;
}

bool pbkdf2_is(const struct pbkdf2 *p, const uint8_t hash[PBKDF2_SIZE])
{
    uint8_t differs = 0;

    for (unsigned i = 0; i < PBKDF2_SIZE; i++)
        differs |= p->sum[i] ^ hash[i];
    return !differs;
}

void pbkdf2_wipe(void *memory, size_t size)
{
    memset(memory, 0, size);
    asm volatile("" : : "r"(memory) : "memory");
}
